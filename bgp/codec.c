/* codec.c - the octets of BGP.  Pure; layouts are those of the RFCs that codec.h
 * names, drawn where they are read.
 * Threat: a router, or whoever sits between: every length is checked before it
 * is believed, a part never runs into its neighbour, and words from a peer
 * reach a terminal only as printable text. */
#include "bgp/codec.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- the frame ---- */

static const uint8_t marker[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	                            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* The least length of each type, header included. */
static unsigned least(unsigned type)
{
	static const uint8_t len[] = { 0, 29, 23, 21, BGP_HEAD, 23 };
	return type < sizeof len ? len[type] : 0;
}

int bgp_take_message(struct rd *in, struct bgp_message *out)
{
	struct rd r = *in;
	const uint8_t *m = rd_take(&r, sizeof marker);
	unsigned len = rd_u16(&r), type = rd_u8(&r);
	if (r.bad)
		return -1;
	if (memcmp(m, marker, sizeof marker) != 0)
		return BGP_ERR(1, 1);
	if (len < BGP_HEAD || len > BGP_MAX)
		return BGP_ERR(1, 2);
	if (least(type) == 0)
		return BGP_ERR(1, 3);
	if (len < least(type) || (type == BGP_KEEPALIVE && len != BGP_HEAD))
		return BGP_ERR(1, 2);
	struct rd body = rd_sub(&r, len - BGP_HEAD);
	if (body.bad)
		return -1;
	*in = r;
	*out = (struct bgp_message){ (enum bgp_type)type, body };
	return 0;
}

uint8_t *bgp_begin_message(struct wr *w, enum bgp_type type)
{
	uint8_t *start = w->p;
	wr_bytes(w, marker, sizeof marker);
	wr_u16(w, 0);
	wr_u8(w, type);
	return start;
}

void bgp_end_message(struct wr *w, uint8_t *start)
{
	if (!w->bad)
		put_u16(start + sizeof marker, (uint32_t)(w->p - start));
}

void bgp_write_keepalive(struct wr *w) { bgp_end_message(w, bgp_begin_message(w, BGP_KEEPALIVE)); }

/* ---- OPEN ----
 *
 * version 4 (1) | AS (2) | hold (2) | identifier (4) | length (1) | parameters
 * parameter: type (1) | length (1) | value; type 2 holds capabilities:
 * code (1) | length (1) | value
 * RFC 9072: when the first type is 255, a length (2) follows it, and then
 * parameters whose lengths have two octets. */

enum { SAFI_UNICAST = 1 };
enum { PARAM_CAPABILITIES = 2, PARAM_EXTENDED = 255 };
enum { CAP_MP = 1, CAP_REFRESH = 2, CAP_NEXT_HOP = 5, CAP_ROLE = 9, CAP_RESTART = 64, CAP_AS4 = 65,
       CAP_ENHANCED_REFRESH = 70 };

static void write_capability(struct wr *w, uint8_t code, uint8_t len)
{
	wr_u8(w, code);
	wr_u8(w, len);
}

void bgp_write_families(struct wr *w, uint8_t families)
{
	for (unsigned f = BGP_V4; f <= BGP_V6; f++) {
		if (!(families & f))
			continue;
		write_capability(w, CAP_MP, 4);
		wr_u16(w, f);
		wr_u16(w, SAFI_UNICAST); /* a reserved octet first */
	}
}

static void write_capabilities(struct wr *w, const struct bgp_open *o)
{
	bgp_write_families(w, o->families);
	if (o->refresh)
		write_capability(w, CAP_REFRESH, 0);
	if (o->v4_by_v6) {
		write_capability(w, CAP_NEXT_HOP, 6);
		wr_u16(w, BGP_V4);
		wr_u16(w, SAFI_UNICAST);
		wr_u16(w, BGP_V6);
	}
	if (o->role != BGP_NO_ROLE) {
		write_capability(w, CAP_ROLE, 1);
		wr_u8(w, o->role);
	}
	if (o->as4) {
		write_capability(w, CAP_AS4, 4);
		wr_u32(w, o->as);
	}
	if (o->enhanced_refresh)
		write_capability(w, CAP_ENHANCED_REFRESH, 0);
}

void bgp_write_open(struct wr *w, const struct bgp_open *o)
{
	uint8_t caps[64];
	struct wr c = wr_init(caps, sizeof caps);
	if (!o->plain)
		write_capabilities(&c, o);

	uint8_t *start = bgp_begin_message(w, BGP_OPEN);
	wr_u8(w, 4);
	wr_u16(w, o->as > 65535 ? BGP_AS_TRANS : o->as);
	wr_u16(w, o->hold);
	wr_u32(w, o->id);
	if (wr_len(&c)) {
		wr_u8(w, (unsigned)wr_len(&c) + 2);
		wr_u8(w, PARAM_CAPABILITIES);
		wr_u8(w, (unsigned)wr_len(&c));
		wr_bytes(w, caps, wr_len(&c));
	} else {
		wr_u8(w, 0);
	}
	bgp_end_message(w, start);
}

static uint8_t family_of(unsigned afi, unsigned safi)
{
	return safi == SAFI_UNICAST && (afi == BGP_V4 || afi == BGP_V6) ? (uint8_t)afi : 0;
}

/* RFC 8950 section 4: a list of family, sub-family, next hop's family. */
static void read_next_hops(struct rd *v, struct bgp_open *o)
{
	while (rd_left(v)) {
		unsigned afi = rd_u16(v), safi = rd_u16(v), by = rd_u16(v);
		if (afi == BGP_V4 && safi == SAFI_UNICAST && by == BGP_V6 && !v->bad)
			o->v4_by_v6 = true;
	}
}

/* One capability.  False: its length is not what its kind has. */
static bool read_capability(uint8_t code, struct rd v, struct bgp_open *o, uint32_t *as4)
{
	switch (code) {
	case CAP_MP: {
		unsigned afi = rd_u16(&v), safi = (rd_u8(&v), rd_u8(&v));
		o->families |= family_of(afi, safi);
		break;
	}
	case CAP_REFRESH:
		o->refresh = true;
		break;
	case CAP_NEXT_HOP:
		read_next_hops(&v, o);
		break;
	case CAP_ROLE: {
		uint8_t role = rd_u8(&v);
		o->role_clash |= o->role != BGP_NO_ROLE && o->role != role;
		o->role = role;
		break;
	}
	case CAP_RESTART:
		o->restart = true;
		return true;
	case CAP_AS4:
		*as4 = rd_u32(&v);
		o->as4 = true;
		break;
	case CAP_ENHANCED_REFRESH:
		o->enhanced_refresh = true;
		break;
	default:
		return true; /* not ours to know, RFC 5492 section 3 */
	}
	return !v.bad && rd_left(&v) == 0;
}

struct open_reading {
	struct bgp_open o;
	uint32_t as4;
	bool mp; /* it has named families, ours or not */
};

static int read_capabilities(struct rd caps, struct open_reading *x)
{
	while (rd_left(&caps)) {
		uint8_t code = rd_u8(&caps);
		uint8_t len = rd_u8(&caps);
		struct rd v = rd_sub(&caps, len);
		if (v.bad || !read_capability(code, v, &x->o, &x->as4))
			return BGP_ERR(2, 0);
		x->mp |= code == CAP_MP;
	}
	return 0;
}

/* `wide`: lengths of two octets. */
static int read_parameters(struct rd opt, bool wide, struct open_reading *x)
{
	while (rd_left(&opt)) {
		uint8_t type = rd_u8(&opt);
		unsigned len = wide ? rd_u16(&opt) : rd_u8(&opt);
		struct rd v = rd_sub(&opt, len);
		if (v.bad)
			return BGP_ERR(2, 0);
		if (type != PARAM_CAPABILITIES)
			return BGP_ERR(2, 4);
		int err = read_capabilities(v, x);
		if (err)
			return err;
	}
	return 0;
}

/* The parameters in either form.  RFC 9072 section 2: the short length counts
 * for nothing once the type says "extended". */
static int read_optional(struct rd *r, struct open_reading *x)
{
	unsigned len = rd_u8(r);
	x->o.plain = len == 0;
	bool wide = len && rd_left(r) && *r->p == PARAM_EXTENDED;
	if (wide) {
		rd_u8(r);
		len = rd_u16(r);
	}
	struct rd opt = rd_sub(r, len);
	if (opt.bad || rd_left(r))
		return BGP_ERR(2, 0);
	return read_parameters(opt, wide, x);
}

int bgp_parse_open(struct rd r, struct bgp_open *out)
{
	struct open_reading x = { .o.role = BGP_NO_ROLE };
	uint8_t version = rd_u8(&r);
	uint16_t as = rd_u16(&r);
	x.o.hold = rd_u16(&r);
	x.o.id = rd_u32(&r);
	if (r.bad)
		return BGP_ERR(1, 2);
	if (version != 4)
		return BGP_ERR(2, 1);
	int err = read_optional(&r, &x);
	if (err)
		return err;
	/* RFC 7607, and RFC 6793 section 4.1: the two octets say the same or AS_TRANS */
	x.o.as = x.o.as4 ? x.as4 : as;
	if (x.o.as == 0 || as == 0 || (as != x.o.as && as != BGP_AS_TRANS))
		return BGP_ERR(2, 2);
	if (x.o.id == 0)
		return BGP_ERR(2, 3);
	if (x.o.hold == 1 || x.o.hold == 2)
		return BGP_ERR(2, 6);
	if (!x.mp)
		x.o.families = BGP_V4;
	*out = x.o;
	return 0;
}

bool bgp_roles_fit(uint8_t mine, uint8_t theirs)
{
	switch (mine) {
	case BGP_PROVIDER:     return theirs == BGP_CUSTOMER;
	case BGP_CUSTOMER:     return theirs == BGP_PROVIDER;
	case BGP_ROUTE_SERVER: return theirs == BGP_RS_CLIENT;
	case BGP_RS_CLIENT:    return theirs == BGP_ROUTE_SERVER;
	case BGP_PEER:         return theirs == BGP_PEER;
	default:               return false;
	}
}

/* ---- UPDATE, written ----
 *
 * length (2) | withdrawn prefixes | length (2) | attributes | prefixes
 * prefix: bits (1) | as many octets as they need
 * attribute: flags (1) | type (1) | length (1, or 2 with EXTENDED) | value */

enum { OPTIONAL = 0x80, TRANSITIVE = 0x40, EXTENDED = 0x10 };
enum { ORIGIN = 1, AS_PATH, NEXT_HOP, MED, LOCAL_PREF, ATOMIC_AGGREGATE, AGGREGATOR, COMMUNITY,
       ORIGINATOR_ID, CLUSTER_LIST, MP_REACH = 14, MP_UNREACH, EXT_COMMUNITY, AS4_PATH, AS4_AGGREGATOR,
       LARGE_COMMUNITY = 32, ONLY_TO_CUSTOMER = 35 };
enum { AS_SET = 1, AS_SEQUENCE, AS_CONFED_SEQUENCE, AS_CONFED_SET };

static size_t prefix_octets(unsigned bits) { return (bits + 7) / 8; }

static void write_prefixes(struct wr *w, const struct bgp_prefix *p, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		wr_u8(w, p[i].len);
		wr_bytes(w, p[i].b, prefix_octets(p[i].len));
	}
}

static size_t prefixes_len(const struct bgp_prefix *p, unsigned n)
{
	size_t len = 0;
	for (unsigned i = 0; i < n; i++)
		len += 1 + prefix_octets(p[i].len);
	return len;
}

static void write_attribute(struct wr *w, unsigned flags, uint8_t type, size_t len)
{
	wr_u8(w, len > 255 ? flags | EXTENDED : flags);
	wr_u8(w, type);
	if (len > 255)
		wr_u16(w, (uint32_t)len);
	else
		wr_u8(w, (unsigned)len);
}

/* One AS_SEQUENCE of the own AS. */
static void write_path(struct wr *w, unsigned flags, uint8_t type, uint32_t as, unsigned times, bool wide)
{
	write_attribute(w, flags, type, 2 + times * (wide ? 4u : 2u));
	wr_u8(w, AS_SEQUENCE);
	wr_u8(w, times);
	for (unsigned i = 0; i < times; i++) {
		if (wide)
			wr_u32(w, as);
		else
			wr_u16(w, as > 65535 ? BGP_AS_TRANS : as);
	}
}

static size_t addr_len(const struct bgp_addr *a) { return a->family == BGP_V4 ? 4 : 16; }

/* RFC 4760 section 3: family (2), sub-family (1), next hop's length (1), next hop,
 * reserved (1), prefixes.  RFC 2545 section 3: a link-local address behind the
 * global one. */
static void write_mp_reach(struct wr *w, const struct bgp_route *r, const struct bgp_prefix *p, unsigned n)
{
	bool both = r->next_hop.family == BGP_V6 && r->link_local.family == BGP_V6;
	size_t hop = both ? 32 : addr_len(&r->next_hop);
	write_attribute(w, OPTIONAL, MP_REACH, 5 + hop + prefixes_len(p, n));
	wr_u16(w, p->family);
	wr_u8(w, SAFI_UNICAST);
	wr_u8(w, (unsigned)hop);
	wr_bytes(w, r->next_hop.b, addr_len(&r->next_hop));
	if (both)
		wr_bytes(w, r->link_local.b, 16);
	wr_u8(w, 0);
	write_prefixes(w, p, n);
}

static void write_communities(struct wr *w, const struct bgp_route *r)
{
	unsigned n = r->ncommunities + r->shutting_down;
	if (n)
		write_attribute(w, OPTIONAL | TRANSITIVE, COMMUNITY, n * 4);
	for (unsigned i = 0; i < r->ncommunities; i++)
		wr_u32(w, r->community[i]);
	if (r->shutting_down)
		wr_u32(w, BGP_GRACEFUL_SHUTDOWN);
}

static void write_large(struct wr *w, const struct bgp_route *r)
{
	if (r->nlarge)
		write_attribute(w, OPTIONAL | TRANSITIVE, LARGE_COMMUNITY, r->nlarge * 12u);
	for (unsigned i = 0; i < r->nlarge; i++) {
		wr_u32(w, r->large[i].admin);
		wr_u32(w, r->large[i].one);
		wr_u32(w, r->large[i].two);
	}
}

/* In the order of their types, but MP_REACH_NLRI first (RFC 7606 section 5.1). */
static void write_attributes(struct wr *w, const struct bgp_route *r, const struct bgp_prefix *p, unsigned n,
                             bool in_mp)
{
	if (in_mp)
		write_mp_reach(w, r, p, n);
	write_attribute(w, TRANSITIVE, ORIGIN, 1);
	wr_u8(w, 0); /* IGP */
	if (r->external)
		write_path(w, TRANSITIVE, AS_PATH, r->as, r->times, r->as4);
	else
		write_attribute(w, TRANSITIVE, AS_PATH, 0); /* RFC 4271 section 5.1.2 */
	if (!in_mp) {
		write_attribute(w, TRANSITIVE, NEXT_HOP, 4);
		wr_bytes(w, r->next_hop.b, 4);
	}
	if (r->has_med) {
		write_attribute(w, OPTIONAL, MED, 4);
		wr_u32(w, r->med);
	}
	if (!r->external) {
		write_attribute(w, TRANSITIVE, LOCAL_PREF, 4);
		wr_u32(w, r->local_pref);
	}
	write_communities(w, r);
	/* RFC 6793 section 4.2.2: only for a path that two octets have spoiled */
	if (r->external && !r->as4 && r->as > 65535)
		write_path(w, OPTIONAL | TRANSITIVE, AS4_PATH, r->as, r->times, true);
	write_large(w, r);
	if (r->only_to_customer) {
		write_attribute(w, OPTIONAL | TRANSITIVE, ONLY_TO_CUSTOMER, 4);
		wr_u32(w, r->only_to_customer);
	}
}

void bgp_write_update(struct wr *w, const struct bgp_route *r, const struct bgp_prefix *p, unsigned n)
{
	bool in_mp = r->in_mp || p->family == BGP_V6 || r->next_hop.family == BGP_V6;
	uint8_t *start = bgp_begin_message(w, BGP_UPDATE);
	wr_u16(w, 0);
	uint8_t *len = wr_take(w, 2);
	write_attributes(w, r, p, n, in_mp);
	if (len && !w->bad)
		put_u16(len, (uint32_t)(w->p - len - 2));
	if (!in_mp)
		write_prefixes(w, p, n);
	bgp_end_message(w, start);
}

static void write_mp_unreach(struct wr *w, uint8_t family, const struct bgp_prefix *p, unsigned n)
{
	size_t len = 3 + prefixes_len(p, n);
	wr_u16(w, 0);
	wr_u16(w, (uint32_t)(len > 255 ? len + 4 : len + 3));
	write_attribute(w, OPTIONAL, MP_UNREACH, len);
	wr_u16(w, family);
	wr_u8(w, SAFI_UNICAST);
	write_prefixes(w, p, n);
}

void bgp_write_withdraw(struct wr *w, const struct bgp_prefix *p, unsigned n, bool in_mp)
{
	uint8_t *start = bgp_begin_message(w, BGP_UPDATE);
	if (in_mp || p->family == BGP_V6) {
		write_mp_unreach(w, p->family, p, n);
	} else {
		wr_u16(w, (uint32_t)prefixes_len(p, n));
		write_prefixes(w, p, n);
		wr_u16(w, 0);
	}
	bgp_end_message(w, start);
}

void bgp_write_end_of_rib(struct wr *w, uint8_t family)
{
	uint8_t *start = bgp_begin_message(w, BGP_UPDATE);
	if (family == BGP_V4) {
		wr_u16(w, 0);
		wr_u16(w, 0);
	} else {
		write_mp_unreach(w, family, NULL, 0);
	}
	bgp_end_message(w, start);
}

/* ---- UPDATE, read ----
 *
 * Nothing is kept, so "treat as withdraw" and "discard the attribute" need no
 * deed; they are told apart for the counters.  RFC 7606 asks for the end of the session
 * only where prefixes can't be found for sure. */

struct update_reading {
	const struct bgp_reading *s;
	struct bgp_seen seen;
	uint64_t types;    /* bit t: attribute t < 64 was there */
	bool reach;        /* MP_REACH_NLRI of a family that we speak */
	uint8_t ended;     /* an MP_UNREACH_NLRI without prefixes */
	unsigned count;    /* of attributes */
};

static void judge(struct update_reading *x, enum bgp_verdict v)
{
	if (v > x->seen.verdict)
		x->seen.verdict = v;
}

/* False: a length beyond the family's, or beyond the field. */
static bool count_prefixes(struct rd r, unsigned max, unsigned *n)
{
	while (rd_left(&r)) {
		unsigned bits = rd_u8(&r);
		if (bits > max)
			return false;
		rd_take(&r, prefix_octets(bits));
		if (r.bad)
			return false;
		(*n)++;
	}
	return !r.bad;
}

static unsigned bits_of(uint8_t family) { return family == BGP_V4 ? 32 : 128; }

static bool hop_fits(const struct update_reading *x, uint8_t family, unsigned len)
{
	if (family == BGP_V4 && !x->s->v4_by_v6)
		return len == 4;
	return len == 16 || len == 32 || (family == BGP_V4 && len == 4);
}

/* RFC 7606 sections 5.3 and 7.11. */
static bool check_mp_reach(struct update_reading *x, struct rd v)
{
	unsigned afi = rd_u16(&v), safi = rd_u8(&v), hop = rd_u8(&v);
	uint8_t family = family_of(afi, safi);
	rd_take(&v, hop);
	rd_u8(&v);
	if (v.bad)
		return false;
	if (!(family & x->s->families))
		return true; /* RFC 4760 section 7 lets us ignore it */
	x->reach = true;
	return hop_fits(x, family, hop) && count_prefixes(v, bits_of(family), &x->seen.announced);
}

static bool check_mp_unreach(struct update_reading *x, struct rd v)
{
	unsigned afi = rd_u16(&v), safi = rd_u8(&v);
	uint8_t family = family_of(afi, safi);
	if (v.bad)
		return false;
	if (!(family & x->s->families))
		return true;
	if (rd_left(&v) == 0)
		x->ended = family;
	return count_prefixes(v, bits_of(family), &x->seen.withdrawn);
}

/* RFC 7606 section 7.2. */
static bool path_ok(struct rd v, bool as4)
{
	while (rd_left(&v)) {
		unsigned type = rd_u8(&v), n = rd_u8(&v);
		rd_take(&v, n * (as4 ? 4u : 2u));
		if (v.bad || n == 0 || type < AS_SET || type > AS_CONFED_SET)
			return false;
	}
	return !v.bad;
}

static bool many_of(size_t len, size_t unit) { return len && len % unit == 0; }

/* What RFC 7606 section 7, RFC 6793, 8092 and 9234 say of one attribute's value. */
static enum bgp_verdict value_verdict(const struct bgp_reading *s, uint8_t type, struct rd v)
{
	size_t n = rd_left(&v);
	bool fine = true;
	switch (type) {
	case ORIGIN:
		fine = n == 1 && *v.p <= 2;
		break;
	case AS_PATH:
		fine = path_ok(v, s->as4);
		break;
	case NEXT_HOP:
	case MED:
	case ONLY_TO_CUSTOMER:
		fine = n == 4;
		break;
	case LOCAL_PREF:
	case ORIGINATOR_ID:
		if (s->external)
			return BGP_ATTRIBUTE_DISCARDED;
		fine = n == 4;
		break;
	case CLUSTER_LIST:
		if (s->external)
			return BGP_ATTRIBUTE_DISCARDED;
		fine = many_of(n, 4);
		break;
	case ATOMIC_AGGREGATE:
		return n == 0 ? BGP_FINE : BGP_ATTRIBUTE_DISCARDED;
	case AGGREGATOR:
		return n == (s->as4 ? 8u : 6u) ? BGP_FINE : BGP_ATTRIBUTE_DISCARDED;
	case AS4_PATH:
		return !s->as4 && n && path_ok(v, true) ? BGP_FINE : BGP_ATTRIBUTE_DISCARDED;
	case AS4_AGGREGATOR:
		return !s->as4 && n == 8 ? BGP_FINE : BGP_ATTRIBUTE_DISCARDED;
	case COMMUNITY:
		fine = many_of(n, 4);
		break;
	case EXT_COMMUNITY:
		fine = many_of(n, 8);
		break;
	case LARGE_COMMUNITY:
		fine = many_of(n, 12);
		break;
	default:
		break;
	}
	return fine ? BGP_FINE : BGP_TREAT_AS_WITHDRAW;
}

/* The two flags that a type known to us must have; -1: we don't know it. */
static int flags_of(uint8_t type)
{
	switch (type) {
	case ORIGIN:
	case AS_PATH:
	case NEXT_HOP:
	case LOCAL_PREF:
	case ATOMIC_AGGREGATE:
		return TRANSITIVE;
	case MED:
	case ORIGINATOR_ID:
	case CLUSTER_LIST:
	case MP_REACH:
	case MP_UNREACH:
		return OPTIONAL;
	case AGGREGATOR:
	case COMMUNITY:
	case EXT_COMMUNITY:
	case AS4_PATH:
	case AS4_AGGREGATOR:
	case LARGE_COMMUNITY:
	case ONLY_TO_CUSTOMER:
		return OPTIONAL | TRANSITIVE;
	default:
		return -1;
	}
}

/* 0 or the NOTIFICATION whose data is the attribute. */
static int check_attribute(struct update_reading *x, uint8_t flags, uint8_t type, struct rd v)
{
	uint64_t bit = type < 64 ? UINT64_C(1) << type : 0;
	bool again = x->types & bit, mp = type == MP_REACH || type == MP_UNREACH;
	int want = flags_of(type);
	x->types |= bit;
	if (again && mp)
		return BGP_ERR(3, 1); /* RFC 7606 section 3 (g) */
	if (want < 0)
		return flags & OPTIONAL ? 0 : BGP_ERR(3, 2);
	if (again) {
		judge(x, BGP_ATTRIBUTE_DISCARDED);
		return 0;
	}
	if ((flags & (OPTIONAL | TRANSITIVE)) != want)
		judge(x, BGP_TREAT_AS_WITHDRAW);
	if (type == MP_REACH)
		return check_mp_reach(x, v) ? 0 : BGP_ERR(3, 9);
	if (type == MP_UNREACH)
		return check_mp_unreach(x, v) ? 0 : BGP_ERR(3, 9);
	judge(x, value_verdict(x->s, type, v));
	return 0;
}

static int check_attributes(struct update_reading *x, struct rd a, struct rd *data)
{
	while (rd_left(&a)) {
		const uint8_t *start = a.p;
		uint8_t flags = rd_u8(&a);
		uint8_t type = rd_u8(&a);
		unsigned len = flags & EXTENDED ? rd_u16(&a) : rd_u8(&a);
		struct rd v = rd_sub(&a, len);
		if (v.bad) { /* RFC 7606 section 4: the total length still holds */
			judge(x, BGP_TREAT_AS_WITHDRAW);
			/* ... but not where it may have hidden prefixes */
			return type == MP_REACH || type == MP_UNREACH ? BGP_ERR(3, 1) : 0;
		}
		x->count++;
		int err = check_attribute(x, flags, type, v);
		if (err) {
			if (err != BGP_ERR(3, 1))
				*data = rd_init(start, (size_t)(a.p - start));
			return err;
		}
	}
	return 0;
}

static bool has(const struct update_reading *x, uint8_t type) { return x->types >> type & 1; }

/* RFC 7606 section 3 (d). */
static void check_mandatory(struct update_reading *x, bool classic)
{
	if ((classic || x->reach) && !(has(x, ORIGIN) && has(x, AS_PATH)))
		judge(x, BGP_TREAT_AS_WITHDRAW);
	if (classic && !has(x, NEXT_HOP))
		judge(x, BGP_TREAT_AS_WITHDRAW);
}

int bgp_check_update(struct rd r, const struct bgp_reading *s, struct bgp_seen *out, struct rd *data)
{
	struct update_reading x = { .s = s };
	unsigned gone_len = rd_u16(&r);
	struct rd gone = rd_sub(&r, gone_len);
	unsigned attr_len = rd_u16(&r);
	struct rd attr = rd_sub(&r, attr_len);
	*data = (struct rd){ 0 };
	if (r.bad)
		return BGP_ERR(3, 1);
	bool empty = !gone_len && !attr_len && !rd_left(&r);
	if (!count_prefixes(gone, 32, &x.seen.withdrawn))
		return BGP_ERR(3, 10);
	int err = check_attributes(&x, attr, data);
	if (err)
		return err;
	check_mandatory(&x, rd_left(&r) != 0);
	if (!count_prefixes(r, 32, &x.seen.announced))
		return BGP_ERR(3, 10);
	if (empty)
		x.seen.end_of_rib = BGP_V4;
	else if (x.ended && x.count == 1 && !gone_len && !rd_left(&r))
		x.seen.end_of_rib = x.ended;
	if (x.seen.verdict == BGP_TREAT_AS_WITHDRAW) {
		x.seen.withdrawn += x.seen.announced;
		x.seen.announced = 0;
	}
	*out = x.seen;
	return 0;
}

/* ---- ROUTE-REFRESH ---- family (2) | what (1) | sub-family (1) */

void bgp_write_refresh(struct wr *w, uint8_t family, uint8_t what)
{
	uint8_t *start = bgp_begin_message(w, BGP_ROUTE_REFRESH);
	wr_u16(w, family);
	wr_u8(w, what);
	wr_u8(w, SAFI_UNICAST);
	bgp_end_message(w, start);
}

int bgp_parse_refresh(struct rd r, struct bgp_refresh *out)
{
	unsigned afi = rd_u16(&r);
	uint8_t what = rd_u8(&r);
	unsigned safi = rd_u8(&r);
	/* more behind it belongs to filters (RFC 5291) that we have not offered */
	if (r.bad || (rd_left(&r) && (what == BGP_REFRESH_BEGIN || what == BGP_REFRESH_END)))
		return BGP_ERR(7, 1);
	*out = (struct bgp_refresh){ family_of(afi, safi), what };
	return 0;
}

/* ---- NOTIFICATION ---- code (1) | subcode (1) | data */

void bgp_write_notification(struct wr *w, unsigned err, const void *data, size_t n)
{
	uint8_t *start = bgp_begin_message(w, BGP_NOTIFICATION);
	wr_u16(w, err);
	if (n)
		wr_bytes(w, data, n);
	bgp_end_message(w, start);
}

/* The length of the UTF-8 character at p, or 0 when there is none that may be
 * shown: not UTF-8 (RFC 3629), or a control character. */
static size_t shown_len(const uint8_t *p, size_t n)
{
	static const uint32_t first[] = { 0, 0, 0xa0, 0x800, 0x10000 };
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3
	             : p[0] < 0xf5 ? 4 : 0;
	if (len == 0 || len > n)
		return 0;
	if (len == 1)
		return p[0] >= 0x20 && p[0] != 0x7f;
	uint32_t c = p[0] & (0xffu >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	bool bad = c < first[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000);
	return bad ? 0 : len;
}

void bgp_write_cease(struct wr *w, unsigned sub, const char *why)
{
	uint8_t data[256];
	size_t n = why ? strnlen(why, 256) : 0;
	if (n > 255)
		for (n = 255; n && ((uint8_t)why[n] & 0xc0) == 0x80;)
			n--;
	data[0] = (uint8_t)n;
	if (n)
		memcpy(data + 1, why, n);
	bgp_write_notification(w, BGP_ERR((unsigned)BGP_CEASE, sub), data, n ? n + 1 : 0);
}

bool bgp_parse_notification(struct rd r, struct bgp_note *out)
{
	unsigned err = rd_u16(&r);
	if (r.bad)
		return false;
	*out = (struct bgp_note){ err, r };
	return true;
}

/* IANA's names. */
static const char *const codes[] = { NULL, "Message Header Error", "OPEN Message Error",
   "UPDATE Message Error",
	"Hold Timer Expired", "Finite State Machine Error", "Cease", "ROUTE-REFRESH Message Error",
	"Send Hold Timer Expired" };

#define SUBCODES 12
static const char *const subcodes[][SUBCODES] = {
	[1] = { NULL, "Connection Not Synchronized", "Bad Message Length", "Bad Message Type" },
	[2] = { NULL, "Unsupported Version Number", "Bad Peer AS", "Bad BGP Identifier",
	        "Unsupported Optional Parameter", NULL, "Unacceptable Hold Time", "Unsupported Capability",
	        [11] = "Role Mismatch" },
	[3] = { NULL, "Malformed Attribute List", "Unrecognized Well-known Attribute",
	        "Missing Well-known Attribute", "Attribute Flags Error", "Attribute Length Error",
	        "Invalid ORIGIN Attribute", NULL, "Invalid NEXT_HOP Attribute", "Optional Attribute Error",
	        "Invalid Network Field", "Malformed AS_PATH" },
	[5] = { NULL, "Unexpected Message in OpenSent State", "Unexpected Message in OpenConfirm State",
	        "Unexpected Message in Established State" },
	[6] = { NULL, "Maximum Number of Prefixes Reached", "Administrative Shutdown", "Peer De-configured",
	        "Administrative Reset", "Connection Rejected", "Other Configuration Change",
	        "Connection Collision Resolution", "Out of Resources", "Hard Reset", "BFD Down" },
	[7] = { NULL, "Invalid Message Length" },
};

/* Adds text; what has no room is cut. */
__attribute__((format(printf, 2, 3))) static void say(struct wr *w, const char *fmt, ...)
{
	char b[96];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(b, sizeof b, fmt, ap);
	va_end(ap);
	for (int i = 0; i < n && i < (int)sizeof b - 1 && wr_room(w); i++)
		wr_u8(w, (uint8_t)b[i]);
}

/* The peer's reason, between quotes: what may not be shown becomes '?'. */
static void say_reason(struct wr *w, struct rd data)
{
	uint8_t len = rd_u8(&data);
	struct rd t = rd_sub(&data, len);
	if (t.bad || len == 0)
		return;
	say(w, ": \"");
	while (rd_left(&t)) {
		size_t n = shown_len(t.p, rd_left(&t));
		if (wr_room(w) <= n)
			break;
		if (n)
			wr_bytes(w, rd_take(&t, n), n);
		else
			wr_u8(w, (rd_u8(&t), '?'));
	}
	say(w, "\"");
}

void bgp_note_words(char *out, size_t room, const struct bgp_note *n)
{
	unsigned code = n->err >> 8, sub = n->err & 255;
	struct wr w = wr_init(out, room - 1);
	const char *c = code < sizeof codes / sizeof *codes ? codes[code] : NULL;
	const char *s = code < sizeof subcodes / sizeof *subcodes &&
	   sub < SUBCODES ? subcodes[code][sub] : NULL;
	if (c)
		say(&w, "%s", c);
	else
		say(&w, "error %u", code);
	if (s)
		say(&w, ", %s", s);
	else if (sub)
		say(&w, ", subcode %u", sub);
	if (code == BGP_CEASE && (sub == BGP_SHUTDOWN || sub == BGP_RESET))
		say_reason(&w, n->data);
	*w.p = 0;
}
