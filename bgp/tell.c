/* tell.c - what one neighbour is told: prefixes at their levels, with the attributes
 * and next hops of its session, and again when it asks.  What it knows is kept (told),
 * and what it ought to know (want): the difference is sent, withdrawals first, as
 * far as there is room.  Contract in machine.h. */
#include "bgp/machine.h"

#define REFRESH_NS BGP_SEC /* between two answers to a refresh */

/* ---- writing ---- */

struct wr bgp_conn_writer(struct bgp_conn *c)
{
	if (c->out_at) {
		memmove(c->out, c->out + c->out_at, c->out_len - c->out_at);
		c->out_len -= c->out_at;
		c->out_at = 0;
	}
	return wr_init(c->out + c->out_len, sizeof c->out - c->out_len);
}

void bgp_conn_written(struct bgp_peer *p, struct bgp_conn *c, const struct wr *w, enum bgp_type type)
{
	if (w->bad)
		return;
	c->out_len += (unsigned)wr_len(w);
	p->counts.out[type]++;
}

bool bgp_conn_room(const struct bgp_conn *c, size_t n)
{
	return sizeof c->out - (c->out_len - c->out_at) >= n + BGP_MAX;
}

/* ---- next hops ---- */

static bool is_link_local(const struct bgp_addr *a)
{
	return a->family == BGP_V6 && a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

/* Our IPv6 next hop: as configured, or our own address on the session, but rather
 * a global one of the same link than a link-local one. */
static struct bgp_addr hop6_of(const struct bgp_peer *p, const struct bgp_conn *c)
{
	if (p->conf->hop6.family || c->local.family != BGP_V6)
		return p->conf->hop6;
	return is_link_local(&c->local) && p->link_global.family ? p->link_global : c->local;
}

/* RFC 2545 section 3: the link-local one goes along where the neighbour shares the
 * link of the global one. */
static struct bgp_addr link_local_of(const struct bgp_peer *p, const struct bgp_conn *c, const struct bgp_addr *v6)
{
	static const struct bgp_addr none;
	if (p->conf->link_local.family)
		return p->conf->link_local;
	if (is_link_local(v6)) /* no global one: the same twice, which everyone reads */
		return *v6;
	if (p->conf->hop6.family || c->local.family != BGP_V6)
		return none;
	return is_link_local(&c->local) ? c->local : p->link_local;
}

/* The next hops of a session. */
static void choose_hops(struct bgp_peer *p, const struct bgp_conn *c)
{
	const struct bgp_peer_conf *k = p->conf;
	struct bgp_addr none = { 0 }, v6 = hop6_of(p, c);
	struct bgp_addr v4 = k->hop4.family ? k->hop4 : c->local.family == BGP_V4 ? c->local : none;
	if (!v4.family && c->agreed.v4_by_v6)
		v4 = v6;
	p->hop[BGP_V4] = c->agreed.families & BGP_V4 ? v4 : none;
	p->hop[BGP_V6] = c->agreed.families & BGP_V6 ? v6 : none;
	p->hop_link_local = link_local_of(p, c, &v6);
}

bool bgp_tell_v4_in_mp(const struct bgp_peer *p) { return p->hop[BGP_V4].family == BGP_V6; }

/* ---- the table ---- */

static bool same_prefix(const struct bgp_prefix *a, const struct bgp_prefix *b)
{
	return a->family == b->family && a->len == b->len && memcmp(a->b, b->b, sizeof a->b) == 0;
}

static void forget_gone(struct bgp_peer *p)
{
	unsigned n = 0;
	for (unsigned i = 0; i < p->ntold; i++)
		if (p->told[i].listed || p->told[i].told != BGP_SILENT)
			p->told[n++] = p->told[i];
	p->ntold = n;
}

static struct bgp_told *find_told(struct bgp_peer *p, const struct bgp_prefix *x)
{
	for (unsigned i = 0; i < p->ntold; i++)
		if (same_prefix(&p->told[i].prefix, x))
			return &p->told[i];
	return NULL;
}

/* There is always room: a prefix is told only when nothing waits to be withdrawn,
 * so no more than BGP_PREFIXES are told, and as many are listed. */
void bgp_tell_set(struct bgp_peer *p, const struct bgp_set *set)
{
	for (unsigned i = 0; i < p->ntold; i++) {
		p->told[i].listed = false;
		p->told[i].want = BGP_SILENT;
	}
	forget_gone(p);
	for (unsigned i = 0; i < set->n; i++) {
		struct bgp_told *t = find_told(p, &set->prefix[i]);
		if (!t && p->ntold == sizeof p->told / sizeof *p->told)
			break; /* never */
		if (!t) {
			t = &p->told[p->ntold++];
			*t = (struct bgp_told){ .prefix = set->prefix[i] };
		}
		t->listed = true;
		t->want = set->level[i];
	}
}

/* ---- messages ---- */

/* The level that the prefix ought to have now. */
static uint8_t level_of(const struct bgp_peer *p, const struct bgp_told *t)
{
	static const uint8_t most[] = { BGP_FULL, BGP_LEAVING, BGP_SILENT }; /* by enum bgp_drain */
	if (!p->hop[t->prefix.family].family)
		return BGP_SILENT;
	return t->want < most[p->drain] ? t->want : most[p->drain];
}

static void route_of(const struct bgp_peer *p, const struct bgp_conn *c, uint8_t family, uint8_t level,
                     struct bgp_route *r)
{
	const struct bgp_peer_conf *k = p->conf;
	*r = (struct bgp_route){ .as = k->as, .external = bgp_peer_external(p), .as4 = c->agreed.as4 };
	r->times = (uint8_t)(1 + k->prepend + (level == BGP_LESS ? k->less_prepend : 0));
	r->has_med = k->has_med;
	r->med = k->med;
	r->local_pref = level == BGP_LESS ? k->less_local_pref : level == BGP_LEAVING ? 0 : k->local_pref;
	r->shutting_down = level == BGP_LEAVING;
	r->next_hop = p->hop[family];
	r->link_local = p->hop_link_local;
	/* RFC 9234 section 5: what goes down or sideways must not come up again */
	if (r->external && (k->role == BGP_PROVIDER || k->role == BGP_PEER || k->role == BGP_ROUTE_SERVER))
		r->only_to_customer = k->as;
	r->ncommunities = k->ncommunities;
	r->nlarge = k->nlarge;
	memcpy(r->community, k->community, sizeof r->community);
	memcpy(r->large, k->large, sizeof r->large);
}

/* Takes up to BGP_PREFIXES of the family that are to change to this level. */
static unsigned take_changes(struct bgp_peer *p, uint8_t family, uint8_t level, struct bgp_prefix *out)
{
	unsigned n = 0;
	for (unsigned i = 0; i < p->ntold && n < BGP_PREFIXES; i++) {
		struct bgp_told *t = &p->told[i];
		if (t->prefix.family != family || level_of(p, t) != level)
			continue;
		if (t->told == level && !t->again)
			continue;
		t->told = level;
		t->again = false;
		out[n++] = t->prefix;
	}
	return n;
}

static bool say_withdrawals(struct bgp_peer *p, struct bgp_conn *c, uint8_t family)
{
	struct bgp_prefix x[BGP_PREFIXES];
	unsigned n = take_changes(p, family, BGP_SILENT, x);
	if (n == 0)
		return false;
	struct wr w = bgp_conn_writer(c);
	bgp_write_withdraw(&w, x, n, bgp_tell_v4_in_mp(p));
	bgp_conn_written(p, c, &w, BGP_UPDATE);
	return true;
}

static bool say_routes(struct bgp_peer *p, struct bgp_conn *c, uint8_t family, uint8_t level)
{
	struct bgp_prefix x[BGP_PREFIXES];
	struct bgp_route r;
	unsigned n = take_changes(p, family, level, x);
	if (n == 0)
		return false;
	struct wr w = bgp_conn_writer(c);
	route_of(p, c, family, level, &r);
	bgp_write_update(&w, &r, x, n);
	bgp_conn_written(p, c, &w, BGP_UPDATE);
	return true;
}

/* The frame around what is told again, where the neighbour knows it (RFC 7313). */
static bool say_refresh(struct bgp_peer *p, struct bgp_conn *c, uint8_t family, uint8_t what)
{
	if (!c->agreed.enhanced_refresh)
		return true;
	struct wr w = bgp_conn_writer(c);
	bgp_write_refresh(&w, family, what);
	bgp_conn_written(p, c, &w, BGP_ROUTE_REFRESH);
	return true;
}

static bool begin_refresh(struct bgp_peer *p, struct bgp_conn *c, uint8_t family)
{
	p->may_refresh &= (uint8_t)~family;
	p->refreshing |= family;
	for (unsigned i = 0; i < p->ntold; i++)
		if (p->told[i].prefix.family == family)
			p->told[i].again = p->told[i].told != BGP_SILENT;
	return say_refresh(p, c, family, BGP_REFRESH_BEGIN);
}

static bool say_end_of_rib(struct bgp_peer *p, struct bgp_conn *c, uint8_t family)
{
	struct wr w = bgp_conn_writer(c);
	bgp_write_end_of_rib(&w, family);
	bgp_conn_written(p, c, &w, BGP_UPDATE);
	p->ended |= family;
	return true;
}

/* The next message for a family; false: it knows all. */
static bool say_one(struct bgp_peer *p, struct bgp_conn *c, uint8_t family)
{
	if ((p->may_refresh & family) && !(p->refreshing & family))
		return begin_refresh(p, c, family);
	for (uint8_t level = BGP_LEAVING; level <= BGP_FULL; level++)
		if (say_routes(p, c, family, level))
			return true;
	if (p->refreshing & family) {
		p->refreshing &= (uint8_t)~family;
		return say_refresh(p, c, family, BGP_REFRESH_END);
	}
	if (c->agreed.end_of_rib && !(p->ended & family))
		return say_end_of_rib(p, c, family);
	return false;
}

/* Withdrawals of either family first. */
static bool say_next(struct bgp_peer *p, struct bgp_conn *c)
{
	for (uint8_t f = BGP_V4; f <= BGP_V6; f++)
		if ((c->agreed.families & f) && say_withdrawals(p, c, f))
			return true;
	for (uint8_t f = BGP_V4; f <= BGP_V6; f++)
		if ((c->agreed.families & f) && say_one(p, c, f))
			return true;
	return false;
}

void bgp_tell_begin(struct bgp_peer *p, const struct bgp_conn *c)
{
	p->refresh = p->may_refresh = p->refreshing = p->ended = 0;
	for (unsigned i = 0; i < p->ntold; i++)
		p->told[i].again = false;
	choose_hops(p, c);
}

void bgp_tell_end(struct bgp_peer *p)
{
	for (unsigned i = 0; i < p->ntold; i++)
		p->told[i].told = BGP_SILENT;
	forget_gone(p);
}

bool bgp_tell(struct bgp_peer *p, struct bgp_conn *c, uint64_t now)
{
	bool any = false;
	if (p->refresh && now >= p->refresh_ns) {
		p->may_refresh |= p->refresh;
		p->refresh = 0;
		p->refresh_ns = now + REFRESH_NS;
	}
	while (bgp_conn_room(c, BGP_UPDATE_MAX) && say_next(p, c))
		any = true;
	forget_gone(p);
	return any;
}
