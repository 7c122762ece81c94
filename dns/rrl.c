/* rrl.c - response rate limiting.  Contract in rrl.h.
 *
 * An account is a network (all that a spoofer's victim has, or a resolver with
 * its neighbours) and what is said: NSD's classes, because Knot's one account
 * for each network would stop a large resolver that asks for many names, and
 * the limiter is on by default.  What has as many names as a stranger can think
 * of is counted by what the answers have in common: the zone, the wildcard, the
 * DNAME, the cut.  Against somebody who goes through a large zone name by name
 * there is the total, which the operator has to set.
 *
 * An account is one number (GCRA, ITU-T I.371): the time at which it will be
 * empty again.  Each answer moves that by its price, 1/rate; it may be a burst
 * ahead of the clock.  What is refused is not counted: who asks too often gets
 * the rate, not nothing (as in Knot), and with cookies or TCP all.
 * Each worker has accounts of its own.  Prices are multiplied by the number of
 * workers, so that the node gives the rate when a client's ports spread over
 * all; the burst, one second's worth of the whole rate, is not divided, as a
 * client that keeps to one port meets only one worker.
 *
 * A set is a cache line of eight accounts, found by a keyed hash.  A newcomer
 * takes the place of the account that is least ahead: most often one that is
 * behind the clock, from which nothing is lost.
 *
 *    0      4            32     36            64
 *   +------+-----+------+------+-----+-------+
 *   | tag  | ... | tag  | due  | ... | due   |    one set
 *   +------+-----+------+------+-----+-------+
 *
 * Threat: who spoofs addresses.  He can't aim at a set, as he does not know the
 * key.  A flood of single queries from everywhere pushes out only each other:
 * an account over its limit is a burst ahead, and to push it out takes seven
 * others of the same set as far ahead.  A newcomer begins at nothing, so that
 * nobody is refused for what others did; only accounts equal in set and 32 bits
 * of tag would be taken for one.  The clock wraps after five hours: then for
 * two bursts an account may look used that was not, and be refused so long. */
#include "dns/rrl.h"

#include <string.h>

#include "base/wire.h"

#define WAYS 8
#define SECOND 244141 /* ticks */

struct rrl_set {
	_Alignas(64) uint32_t tag[WAYS]; /* 0: free */
	uint32_t due[WAYS];
};

static uint32_t sets(const struct rrl_conf *c)
{
	uint32_t n = 1;
	while (n < UINT32_C(1) << 24 && n * WAYS < c->accounts)
		n *= 2;
	return n;
}

size_t rrl_memory(const struct rrl_conf *c)
{
	return c->rate ? sets(c) * sizeof(struct rrl_set) : 0;
}

static uint32_t price_of(const struct rrl_conf *c, unsigned rate)
{
	return (uint32_t)(((uint64_t)c->workers * SECOND + rate - 1) / rate);
}

static uint64_t mask(unsigned bits) { return ~UINT64_C(0) << (64 - bits); }

void rrl_init(struct rrl *r, const struct rrl_conf *c, void *mem)
{
	memset(r, 0, sizeof *r);
	if (!c->rate)
		return;
	r->key = c->key;
	r->dice = c->key.k0 ^ c->key.k1;
	r->mask4 = mask(c->bits4);
	r->mask6 = mask(c->bits6);
	r->set = mem;
	r->last = sets(c) - 1;
	r->burst = c->workers * SECOND;
	for (unsigned i = 0; i < RRL_TOTAL; i++)
		r->price[i] = price_of(c, i < RRL_WILDCARD ? c->rate : c->zone_rate);
	r->price[RRL_TOTAL] = c->total_rate ? price_of(c, c->total_rate) : 0;
	r->slip = c->slip;
	r->allow = c->allow;
	r->nallow = c->nallow;
	r->loopback = c->loopback;
}

/* SipHash-1-3 over words, as Knot does it: nobody sees its results, they only
 * must not be foreseen.  crypto.c's 2-4 takes twice as long. */
struct hash { uint64_t a, b, c, d; };

static inline uint64_t turn(uint64_t x, unsigned n) { return x << n | x >> (64 - n); }

static inline void mix(struct hash *h)
{
	h->a += h->b, h->c += h->d;
	h->b = turn(h->b, 13) ^ h->a, h->d = turn(h->d, 16) ^ h->c;
	h->a = turn(h->a, 32);
	h->c += h->b, h->a += h->d;
	h->b = turn(h->b, 17) ^ h->c, h->d = turn(h->d, 21) ^ h->a;
	h->c = turn(h->c, 32);
}

static inline void feed(struct hash *h, uint64_t word)
{
	h->d ^= word;
	mix(h);
	h->a ^= word;
}

static inline uint64_t finish(struct hash *h)
{
	h->c ^= 0xff;
	mix(h), mix(h), mix(h);
	return h->a ^ h->b ^ h->c ^ h->d;
}

static inline void locate(const struct rrl *r, struct rrl_account *a, unsigned i, uint64_t h)
{
	a->set[i] = r->set + (h >> 32 & r->last);
	a->tag[i] = (uint32_t)h ? (uint32_t)h : 1;
	__builtin_prefetch(a->set[i], 1);
}

void rrl_find(const struct rrl *r, enum rrl_class class, const uint8_t *ip, size_t iplen, const uint8_t *what,
              size_t n, struct rrl_account *out)
{
	struct hash h = { r->key.k0 ^ 0x736f6d6570736575, r->key.k1 ^ 0x646f72616e646f6d,
		          r->key.k0 ^ 0x6c7967656e657261, r->key.k1 ^ 0x7465646279746573 };
	bool six = iplen == 16;
	feed(&h, six ? get_u64(ip) & r->mask6 : (uint64_t)get_u32(ip) << 32 & r->mask4);
	out->class = class;
	out->set[1] = NULL;
	if (r->price[RRL_TOTAL]) {
		struct hash all = h;
		feed(&all, (uint64_t)RRL_TOTAL << 1 | six);
		locate(r, out, 1, finish(&all));
	}
	/* one octet: up to seven more push nothing out */
	uint64_t last = (uint64_t)class << 1 | six;
	size_t at = 0;
	for (; n - at >= 8; at += 8)
		feed(&h, get_u64(what + at));
	for (; at < n; at++)
		last = last << 8 | what[at];
	feed(&h, last);
	locate(r, out, 0, finish(&h));
}

/* How far an account is ahead of the clock.  None is further than two bursts:
 * what seems to be is long behind it. */
static uint32_t ahead(const struct rrl *r, uint32_t due, uint32_t now)
{
	return due - now <= 2 * r->burst ? due - now : 0;
}

/* The account's place in its set: its own, or whose it takes. */
static unsigned place(const struct rrl *r, const struct rrl_set *s, uint32_t tag, uint32_t now)
{
	unsigned at = 0;
	uint32_t least = UINT32_MAX;
	for (unsigned i = 0; i < WAYS; i++)
		if (s->tag[i] == tag)
			return i;
	for (unsigned i = 0; i < WAYS; i++) {
		uint32_t d = ahead(r, s->due[i], now);
		if (d < least) {
			least = d;
			at = i;
		}
	}
	return at;
}

static bool take(const struct rrl *r, struct rrl_set *s, uint32_t tag, uint32_t price, uint32_t now)
{
	unsigned i = place(r, s, tag, now);
	uint32_t d = s->tag[i] == tag ? ahead(r, s->due[i], now) : 0;
	if (d + price > r->burst)
		return false;
	s->tag[i] = tag;
	s->due[i] = now + d + price;
	return true;
}

bool rrl_take(struct rrl *r, const struct rrl_account *a, uint32_t now)
{
	return take(r, a->set[0], a->tag[0], r->price[a->class], now) &&
	       (!a->set[1] || take(r, a->set[1], a->tag[1], r->price[RRL_TOTAL], now));
}

/* By dice: who asks in step with others must not always be the one dropped. */
bool rrl_slip(struct rrl *r)
{
	r->dice = r->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return r->slip && (r->dice >> 33) % r->slip == 0;
}

static bool inside(const struct rrl_net *n, const uint8_t *ip, size_t iplen)
{
	unsigned whole = n->bits / 8, rest = n->bits % 8;
	if (n->len != iplen || memcmp(n->ip, ip, whole) != 0)
		return false;
	return rest == 0 || ((n->ip[whole] ^ ip[whole]) & (0xff00 >> rest & 0xff)) == 0;
}

static bool is_loopback(const uint8_t *ip, size_t iplen)
{
	static const uint8_t one[16] = { [15] = 1 };
	return iplen == 4 ? ip[0] == 127 : memcmp(ip, one, sizeof one) == 0;
}

bool rrl_allowed(const struct rrl *r, const uint8_t *ip, size_t iplen)
{
	if (!r->loopback && is_loopback(ip, iplen))
		return true;
	for (unsigned i = 0; i < r->nallow; i++)
		if (inside(&r->allow[i], ip, iplen))
			return true;
	return false;
}
