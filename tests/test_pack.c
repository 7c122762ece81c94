/* test_pack.c - fragments packed and unpacked again: random bodies of all types
 * come back octet by octet, cut and changed ones do no harm, a delegation is small. */
#include "store/writer.h"
#include "tests/tap.h"

#include <stdlib.h>

#define ROUNDS 200000u

static struct scratch scratch;
static uint32_t state = 7;

static uint32_t rnd(uint32_t below)
{
	state = state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)state * below >> 32);
}

/* Few labels, so that names share their ends, in both cases. */
static void put_name(struct wr *w)
{
	static const char *const labels[] = { "a", "b", "ns1", "NS1", "example", "tld", "provider", "x-long-label-of-some-length" };
	for (unsigned n = rnd(5); n; n--) {
		const char *l = labels[rnd(8)];
		wr_u8(w, (unsigned)strlen(l));
		wr_bytes(w, l, strlen(l));
	}
	wr_u8(w, 0);
}

static void put_octets(struct wr *w, unsigned n)
{
	while (n--)
		wr_u8(w, rnd(256));
}

/* As its type tells, and now and then anything. */
static void put_rdata(struct wr *w, uint16_t type)
{
	uint8_t *len = wr_take(w, 2), *from = w->p;
	const char *f = rnd(8) ? rr_type_names(type) : NULL;
	for (; f && *f; f++)
		if (*f >= 'A' && *f != 's')
			put_name(w);
		else
			put_octets(w, *f == 's' ? 1 : (unsigned)(*f - '0'));
	if (!f || rnd(2))
		put_octets(w, rnd(2) ? 4 : rnd(200));
	if (len && !w->bad)
		put_u16(len, (uint32_t)(w->p - from));
}

static void put_set(struct wr *w, uint16_t type)
{
	static const uint32_t ttls[] = { 0, 300, 3601, 65535, 65536, 86400, 0x7fffffff, 0xffffffff };
	unsigned nrr = rnd(16) ? rnd(5) : rnd(300), nsig = rnd(3) ? 0 : rnd(6);
	wr_u16(w, type);
	wr_u32(w, ttls[rnd(8)]);
	wr_u16(w, nrr);
	wr_u8(w, nsig);
	wr_u8(w, rnd(4) ? 0 : rnd(256));
	uint8_t *len = wr_take(w, 4), *from = w->p;
	while (nrr--)
		put_rdata(w, type);
	while (nsig--)
		put_rdata(w, T_RRSIG);
	if (len && !w->bad)
		put_u32(len, (uint32_t)(w->p - from));
}

static uint32_t random_body(uint8_t *out, size_t room)
{
	struct wr w = wr_init(out, room);
	uint16_t type = 0;
	for (unsigned n = rnd(4); n; n--)
		put_set(&w, type = (uint16_t)(type + 1 + (rnd(4) ? rnd(70) : rnd(20000))));
	if (!w.bad && rnd(16) == 0)
		put_octets(&w, rnd(40)); /* no row of sets */
	return (uint32_t)wr_len(&w);
}

static bool back(const struct change *c, uint64_t older, const uint8_t *plain, size_t n)
{
	struct raw r;
	scratch.used = 0;
	return frag_unpack(plain, n, &scratch, &r) && r.f.seq == c->seq && r.older == older && r.f.inst == c->inst &&
	       r.f.flags == (c->flags & ~FRAG_GONE) && r.gone == (c->flags >> 15) && r.f.cut == c->cut &&
	       r.keylen == c->keylen && !memcmp(r.f.owner, c->key, c->keylen) && r.f.len == c->len &&
	       (c->len == 0 || !memcmp(r.f.body, c->body, c->len));
}

/* Moved without a look into its body, with another link. */
static bool moved(const struct change *c, uint64_t older, const uint8_t *plain, size_t n, uint8_t *room)
{
	struct raw r;
	if (!frag_head(plain, n, &r))
		return false;
	struct change m = { (enum frag_kind)c->kind, r.f.seq, r.f.inst, (uint16_t)(r.f.flags | (r.gone ? FRAG_GONE : 0)), r.f.cut,
		            r.f.owner, r.keylen, r.f.body, r.f.len, false, r.packed };
	return back(c, older, room, frag_pack(&m, older, room));
}

/* In memory of its exact size, so that a sanitizer sees each overrun. */
static void harmless(const uint8_t *plain, size_t n)
{
	uint8_t *exact = malloc(n ? n : 1);
	struct raw r;
	memcpy(exact, plain, n);
	scratch.used = 0;
	if (frag_unpack(exact, n, &scratch, &r) && r.f.len > n && r.f.len > 4096)
		ok(false, "a body of %u octets came out of %zu", r.f.len, n);
	free(exact);
}

static void random_change(struct change *c, uint8_t *key, uint8_t *body, size_t room)
{
	static const enum frag_kind kinds[] = { FRAG_NAME, FRAG_NAME, FRAG_NSEC3, FRAG_TREE, FRAG_ZONE };
	struct wr w = wr_init(key, NAME_MAX_LEN);
	put_name(&w);
	*c = (struct change){ .kind = kinds[rnd(5)], .seq = (uint64_t)rnd(1u << 31) << rnd(34) >> rnd(31), .inst = rnd(1u << 31) >> rnd(31),
		              .flags = (uint16_t)(rnd(3) ? rnd(300) : rnd(65536)), .cut = (uint8_t)rnd(7), .key = key,
		              .body = body };
	if (c->kind == FRAG_TREE)
		put_octets(&w, 9);
	c->keylen = wr_len(&w);
	c->len = random_body(body, room);
}

static void test_random(void)
{
	static uint8_t body[9000], plain[FRAG_HEAD_MAX + NAME_MAX_LEN + sizeof body];
	static uint8_t again[sizeof plain];
	unsigned same = 0, packed = 0, as_is = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint8_t key[NAME_MAX_LEN];
		struct change c;
		random_change(&c, key, body, rnd(8) ? 300 : sizeof body);
		uint64_t older = rnd(2) ? 0 : 1 + ((uint64_t)rnd(1u << 31) << rnd(9));
		size_t n = frag_pack(&c, older, plain);
		same += n <= FRAG_HEAD_MAX + c.keylen + c.len && back(&c, older, plain, n);
		packed += n < c.keylen + c.len;
		as_is += moved(&c, rnd(2), plain, n, again);
		harmless(plain, rnd((uint32_t)n + 1));
		plain[rnd((uint32_t)n)] ^= (uint8_t)(1 + rnd(255));
		harmless(plain, n);
	}
	ok(same == ROUNDS, "%u of %u random fragments come back as they were", same, ROUNDS);
	ok(as_is == ROUNDS, "%u when they were moved as they are", as_is);
	ok(packed > ROUNDS / 10, "%u of them were packed", packed);
}

static uint32_t ns_body(uint8_t *out, const uint8_t *const target[], unsigned n)
{
	struct wr w = wr_init(out, 512);
	size_t len = 0;
	for (unsigned i = 0; i < n; i++)
		len += 2 + name_len(target[i]);
	wr_u16(&w, T_NS);
	wr_u32(&w, 86400);
	wr_u16(&w, n);
	wr_u16(&w, 0);
	wr_u32(&w, (uint32_t)len);
	for (unsigned i = 0; i < n; i++) {
		wr_u16(&w, (uint32_t)name_len(target[i]));
		wr_bytes(&w, target[i], name_len(target[i]));
	}
	return (uint32_t)wr_len(&w);
}

/* As the format tells, so that nobody changes it without a new version. */
static void test_octets(void)
{
	static const uint8_t want[] = "\x40\x05" "\x09" "\x02" "\x0d" "\7example\3tld\0" "\2\x22\x2a" "\3ns1\1p\x48" "\3ns2\x54";
	static const uint8_t key[] = "\7example\3tld";
	const uint8_t *const ns[] = { (const uint8_t *)"\3ns1\1p\3tld", (const uint8_t *)"\3ns2\1p\3tld" };
	uint8_t body[512], plain[512];
	struct change c = { FRAG_NAME, 9, 2, NODE_CUT, 2, key, sizeof key, body, ns_body(body, ns, 2), false, false };
	size_t n = frag_pack(&c, 0, plain);
	ok(n == sizeof want - 1 && !memcmp(plain, want, n), "an unsigned delegation takes %zu octets instead of %zu", n,
	   19 + c.keylen + c.len);
	ok(back(&c, 0, plain, n), "and comes back");
}

int main(void)
{
	if (crypto_init() < 0 || scratch_new(&scratch, 1 << 20) != 0)
		return 1;
	test_random();
	test_octets();
	scratch_free(&scratch);
	return tap_done();
}
