/* bgp.c - the speaker: a fixed set of prefixes, each at one level for all, and a
 * fixed number of neighbours, each a machine of its own (bgp/fsm.c).  There is no
 * RIB: what neighbours announce is checked and forgotten.  Nothing is allocated.
 * Until a process owns one a node announces nothing, and no command or key
 * claims it does.
 * Threat: see bgp/codec.c and bgp/fsm.c; neighbours reach each other in nothing. */
#include "bgp.h"

void bgp_init(struct bgp *b)
{
	b->set.n = 0;
	b->npeers = 0;
}

static unsigned bits_of(uint8_t family) { return family == BGP_V4 ? 32 : family == BGP_V6 ? 128 : 0; }

/* Is everything beyond its length zero? */
static bool bare(const struct bgp_prefix *p)
{
	for (unsigned bit = p->len; bit < 128; bit++)
		if (p->b[bit / 8] & (0x80 >> bit % 8))
			return false;
	return true;
}

const char *bgp_add_prefix(struct bgp *b, const struct bgp_prefix *p)
{
	if (bits_of(p->family) == 0 || p->len > bits_of(p->family))
		return "no prefix";
	if (!bare(p))
		return "a prefix with bits beyond its length";
	if (b->set.n == BGP_PREFIXES)
		return "too many prefixes";
	for (unsigned i = 0; i < b->set.n; i++) {
		const struct bgp_prefix *q = &b->set.prefix[i];
		if (q->family == p->family && q->len == p->len && memcmp(q->b, p->b, sizeof q->b) == 0)
			return "a prefix twice";
	}
	b->set.level[b->set.n] = BGP_SILENT;
	b->set.prefix[b->set.n++] = *p;
	return NULL;
}

struct bgp_peer *bgp_find_peer(struct bgp *b, const struct bgp_addr *a)
{
	for (unsigned i = 0; i < b->npeers; i++) {
		const struct bgp_addr *x = &b->conf[i].addr;
		if (x->family == a->family && x->link == a->link && memcmp(x->b, a->b, a->family == BGP_V4 ? 4 : 16) == 0)
			return &b->peer[i];
	}
	return NULL;
}

const char *bgp_add_peer(struct bgp *b, const struct bgp_peer_conf *c, uint64_t random)
{
	const char *wrong = bgp_conf_wrong(c);
	if (wrong)
		return wrong;
	if (b->npeers == BGP_PEERS)
		return "too many neighbours";
	if (bits_of(c->addr.family) == 0)
		return "a neighbour without an address";
	if (bgp_find_peer(b, &c->addr))
		return "a neighbour twice";
	unsigned i = b->npeers++;
	b->conf[i] = *c;
	bgp_peer_init(&b->peer[i], &b->conf[i], random);
	return NULL;
}

/* After each change of the set. */
static void tell_all(struct bgp *b, uint64_t now)
{
	for (unsigned i = 0; i < b->npeers; i++)
		bgp_peer_set(&b->peer[i], now, &b->set);
}

void bgp_start(struct bgp *b, uint64_t now)
{
	tell_all(b, now);
	for (unsigned i = 0; i < b->npeers; i++)
		bgp_peer_start(&b->peer[i], now);
}

void bgp_announce(struct bgp *b, uint64_t now, unsigned prefix, enum bgp_level level)
{
	b->set.level[prefix] = (uint8_t)level;
	tell_all(b, now);
}

void bgp_announce_all(struct bgp *b, uint64_t now, enum bgp_level level)
{
	memset(b->set.level, (int)level, b->set.n);
	tell_all(b, now);
}

void bgp_drain(struct bgp *b, uint64_t now, uint64_t wait_ns, const char *why)
{
	for (unsigned i = 0; i < b->npeers; i++)
		bgp_peer_drain(&b->peer[i], now, wait_ns, why);
}

void bgp_stop(struct bgp *b, uint64_t now, const char *why)
{
	bgp_announce_all(b, now, BGP_SILENT);
	for (unsigned i = 0; i < b->npeers; i++)
		bgp_peer_stop(&b->peer[i], now, BGP_SHUTDOWN, why);
}

bool bgp_over(const struct bgp *b)
{
	for (unsigned i = 0; i < b->npeers; i++)
		if (!bgp_peer_over(&b->peer[i]))
			return false;
	return true;
}

void bgp_tick(struct bgp *b, uint64_t now)
{
	for (unsigned i = 0; i < b->npeers; i++)
		if (now >= bgp_peer_due(&b->peer[i]))
			bgp_peer_tick(&b->peer[i], now);
}

uint64_t bgp_due(const struct bgp *b)
{
	uint64_t due = BGP_NEVER;
	for (unsigned i = 0; i < b->npeers; i++) {
		uint64_t d = bgp_peer_due(&b->peer[i]);
		if (d < due)
			due = d;
	}
	return due;
}
