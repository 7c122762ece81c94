/* answer.c - from a parsed query to a response (RFC 1034 section 4.3.2 as
 * changed by RFC 2308, 4035, 4592, 5155, 6672, 8482 and 9471).
 *
 *   name -> its node, or the closest encloser
 *        -> at or below a cut:   referral
 *        -> below a DNAME:       DNAME, made-up CNAME, follow
 *        -> a node, or "*":      the set | CNAME, follow | NODATA
 *        -> neither:             NXDOMAIN
 *
 * CNAMEs are followed inside the zone the question fell into; what other zones
 * we serve say is for the resolver to ask (their data would not be believed
 * from here, RFC 5452 section 6).  A wildcard's NS and DNAME mean nothing for
 * the names it stands for (RFC 4592 sections 4.2 and 4.4).
 *
 * Threat: the question is a stranger's and the bodies are authenticated but not
 * believed.  Work is bounded: CHAIN_MAX names, a dozen look-ups for each, then
 * what denial.c bounds; as many glue look-ups as NS records fit the message,
 * EXTRA_TARGETS otherwise. */
#include "dns/answer.h"

/* How a step ended. */
enum step {
	STEP_DONE,
	STEP_FOLLOW, /* name[nnames - 1] comes next */
	STEP_CHILD,  /* the child zone has the answer to a DS query */
	STEP_FULL,   /* the message: TC */
	STEP_BAD,    /* the store or a body is damaged: SERVFAIL */
};

/* A name's node, or that of its closest encloser. */
struct place {
	struct frag node;
	unsigned labels;
};

static enum step step_of(enum composed r)
{
	return r == COMPOSED ? STEP_DONE : r == COMPOSE_FULL ? STEP_FULL : STEP_BAD;
}

static enum store_found get(struct answer *a, const uint8_t *owner, struct frag *out)
{
	return store_get(a->map, FRAG_NAME, a->zone->inst, owner, a->zone->seq, &a->scratch, out);
}

/* Keeps the apex for the zone's next queries, if there is room for it. */
static void keep_apex(struct known *k, const struct frag *apex)
{
	size_t n = name_len(apex->owner);
	if (n + apex->len > sizeof k->apex_mem)
		return;
	k->apex = *apex;
	k->apex.owner = k->apex_mem;
	k->apex.body = k->apex_mem + n;
	memcpy(k->apex_mem, apex->owner, n);
	memcpy(k->apex_mem + n, apex->body, apex->len);
	k->have_apex = true;
}

const struct frag *answer_apex(struct answer *a)
{
	const uint8_t *name = a->name[0];
	if (a->known && a->known->have_apex)
		return &a->known->apex;
	if (!a->have_apex) {
		unsigned above = name_labels(name) - a->zone->labels;
		if (get(a, name_skip(name, above), &a->apex) != STORE_FOUND)
			return NULL; /* every zone has one */
		a->have_apex = true;
		if (a->known)
			keep_apex(a->known, &a->apex);
	}
	return &a->apex;
}

/* Finds the place of a name that is not there itself.  Existence is monotone
 * along a name: binary search between the zone's apex and the name. */
static bool locate_encloser(struct answer *a, const uint8_t *name, unsigned n, struct place *out)
{
	unsigned lo = a->zone->labels, hi = n - 1;
	struct frag f;
	bool have = false;
	while (lo < hi) {
		unsigned mid = (lo + hi + 1) / 2;
		switch (get(a, name_skip(name, n - mid), &f)) {
		case STORE_FOUND:
			lo = mid;
			out->node = f;
			have = true;
			break;
		case STORE_ABSENT:
			hi = mid - 1;
			break;
		default:
			return false;
		}
	}
	if (!have) {
		const struct frag *apex = answer_apex(a);
		if (!apex)
			return false;
		out->node = *apex;
	}
	out->labels = lo;
	return true;
}

/* Does the name right below the zone's settle where a longer one lies?  If it is
 * not there, nothing below it is; if it is a cut or has a DNAME, that is the
 * place.  Else *r says that the whole name is to be looked up. */
static bool settled(struct answer *a, unsigned labels, enum store_found *r, struct place *out)
{
	out->labels = labels;
	if (*r == STORE_FOUND)
		return out->node.cut != 0;
	if (*r == STORE_DAMAGED)
		return true;
	const struct frag *apex = answer_apex(a);
	*r = apex ? STORE_FOUND : STORE_DAMAGED;
	if (apex)
		*out = (struct place){ *apex, a->zone->labels };
	return true;
}

/* job: its probe was begun and fetched for this name; or NULL.  False: damaged. */
static bool locate(struct answer *a, const uint8_t *name, unsigned n, const struct answer_job *job,
                   struct place *out)
{
	enum store_found r = job ? store_take(a->map, &job->probe, &a->scratch, &out->node) : STORE_ABSENT;
	if (job && job->probed < n && settled(a, job->probed, &r, out))
		return r == STORE_FOUND;
	if (!job || job->probed < n)
		r = get(a, name, &out->node);
	out->labels = n;
	if (r == STORE_ABSENT && n > a->zone->labels)
		return locate_encloser(a, name, n, out);
	return r == STORE_FOUND;
}

/* ---- what follows an answer ---- */

/* Octets in front of the name whose addresses go along; -1: none do. */
static int extra_offset(uint16_t type)
{
	switch (type) {
	case T_NS:
		return 0;
	case T_MX:
	case T_SVCB:
	case T_HTTPS:
		return 2;
	case T_SRV:
		return 6;
	default:
		return -1;
	}
}

static void want_extra(struct answer *a, const struct rrset *s, const uint8_t *cut)
{
	a->extra = *s;
	a->cut = cut;
	a->have_extra = extra_offset(s->type) >= 0;
}

/* A service binding brings its target's bindings along, and the proof for what
 * the target has not (RFC 9460 section 4.1). */
static bool is_binding(uint16_t type) { return type == T_SVCB || type == T_HTTPS; }

/* Adds a node's addresses.  Those below a cut have no signatures.  exact: the
 * node is the owner's own, no wildcard's. */
static enum step put_addresses(struct answer *a, const uint8_t *owner, const struct frag *f, bool exact)
{
	uint16_t types[] = { T_A, T_AAAA, a->extra.type };
	bool binding = is_binding(a->extra.type), missing = false;
	unsigned n = binding && !name_equal(owner, a->name[a->nnames - 1]) ? 3 : 2;
	for (unsigned i = 0; i < n; i++) {
		struct rrset s;
		if (a->only && types[i] != a->only)
			continue;
		if (!set_find(f, types[i], &s)) {
			missing = true;
			continue;
		}
		enum composed r = compose_set(&a->c, SEC_ADDITIONAL, owner, &s, s.ttl, a->q->dnssec_ok);
		if (r != COMPOSED)
			return step_of(r);
	}
	if (!binding || !missing || !exact || (f->flags & (NODE_CUT | NODE_GLUE)))
		return STEP_DONE;
	unsigned from = a->nlinks;
	if (!denial_nodata(a, owner, name_labels(owner), f))
		return STEP_BAD;
	enum step step = step_of(denial_write(a, SEC_ADDITIONAL, from));
	a->nlinks = from; /* what they point to is the group's */
	return step;
}

/* Addresses of a target that is not there: maybe a wildcard's. */
static enum step put_wild_addresses(struct answer *a, const uint8_t *name)
{
	uint8_t wild[NAME_MAX_LEN + 2] RAW;
	struct place p;
	struct frag f;
	unsigned n = name_labels(name);
	if (n <= a->zone->labels || !locate_encloser(a, name, n, &p))
		return STEP_DONE;
	if (p.node.cut || !(p.node.flags & NODE_WILD))
		return STEP_DONE;
	name_wildcard(name_skip(name, n - p.labels), wild);
	if (get(a, wild, &f) != STORE_FOUND || (f.flags & NODE_CUT))
		return STEP_DONE;
	return put_addresses(a, name, &f, false);
}

/* A group of targets, begun together so that their cache misses overlap. */
static enum step put_group(struct answer *a, unsigned n, bool glue)
{
	size_t mark = a->scratch.used;
	enum step step = STEP_DONE;
	for (unsigned i = 0; i < n; i++)
		store_begin(a->map, &a->probe[i], FRAG_NAME, a->zone->inst, a->target[i], a->zone->seq);
	for (unsigned i = 0; i < n; i++)
		store_seek(a->map, &a->probe[i]);
	for (unsigned i = 0; i < n; i++)
		store_fetch(a->map, &a->probe[i]);
	for (unsigned i = 0; i < n && step == STEP_DONE; i++) {
		struct frag f;
		a->scratch.used = mark;
		switch (store_take(a->map, &a->probe[i], &a->scratch, &f)) {
		case STORE_FOUND:
			step = put_addresses(a, a->target[i], &f, true);
			break;
		case STORE_ABSENT:
			if (!glue)
				step = put_wild_addresses(a, a->target[i]);
			break;
		default:
			step = STEP_BAD;
		}
	}
	a->scratch.used = mark;
	return step;
}

/* A record's target, or NULL: there is none to look up.  "." is none (RFC 7505,
 * RFC 2782, RFC 9460 section 2.5.1), but for a binding of a priority it is the
 * owner itself (section 2.5.2). */
static const uint8_t *extra_target(const struct answer *a, const uint8_t *rr)
{
	size_t len = get_u16(rr), at = (size_t)extra_offset(a->extra.type);
	const uint8_t *target = rr + 2 + at;
	if (len <= at || !name_measure(target, len - at))
		return NULL;
	if (*target != 0)
		return target;
	return is_binding(a->extra.type) && get_u16(rr + 2) != 0 ? a->name[a->nnames - 1] : NULL;
}

/* The same target in an earlier record (MX, SRV: other preference)? */
static bool seen_before(const struct answer *a, unsigned k, const uint8_t *target)
{
	const uint8_t *rr = a->extra.rrs;
	for (unsigned i = 0; i < k; i++, rr = rr_next(rr)) {
		const uint8_t *other = extra_target(a, rr);
		if (other && name_equal(other, target))
			return true;
	}
	return false;
}

enum extra_pass {
	PASS_GLUE,    /* at or below the cut: has to be there (RFC 9471) */
	PASS_SIBLING, /* elsewhere in the zone */
	PASS_ALL,
};

static bool wanted(const struct answer *a, enum extra_pass pass, const uint8_t *target)
{
	if (!name_below(target, a->zone->name))
		return false;
	return pass == PASS_ALL || name_below(target, a->cut) == (pass == PASS_GLUE);
}

static enum step put_extra(struct answer *a, enum extra_pass pass)
{
	const uint8_t *rr = a->extra.rrs;
	bool glue = pass == PASS_GLUE;
	/* an NS set that fits the message bounds the glue */
	unsigned n = 0, max = glue || a->extra.nrr < EXTRA_TARGETS ? a->extra.nrr : EXTRA_TARGETS;
	enum step step = STEP_DONE;
	for (unsigned k = 0; k < max && step == STEP_DONE; k++, rr = rr_next(rr)) {
		const uint8_t *t = extra_target(a, rr);
		if (!t || !wanted(a, pass, t) || (!glue && seen_before(a, k, t)))
			continue;
		name_lower(a->target[n], t);
		if (++n == GLUE_GROUP) {
			step = put_group(a, n, glue);
			n = 0;
		}
	}
	return n > 0 && step == STEP_DONE ? put_group(a, n, glue) : step;
}

/* Only glue is worth a TC; the rest goes when it does not fit. */
static enum step put_additional(struct answer *a)
{
	enum step step = STEP_DONE;
	if (!a->have_extra)
		return STEP_DONE;
	if (a->cut) {
		step = put_extra(a, PASS_GLUE);
		if (step != STEP_DONE)
			return step;
	}
	/* When not all of it fits, IPv4 addresses come first, as in NSD. */
	enum extra_pass pass = a->cut ? PASS_SIBLING : PASS_ALL;
	struct compose_mark before = compose_mark(&a->c);
	step = put_extra(a, pass);
	if (step != STEP_FULL || is_binding(a->extra.type))
		return step == STEP_FULL ? STEP_DONE : step;
	compose_back(&a->c, &before);
	a->only = T_A;
	step = put_extra(a, pass);
	a->only = T_AAAA;
	if (step == STEP_DONE)
		step = put_extra(a, pass);
	a->only = 0;
	return step == STEP_FULL ? STEP_DONE : step;
}

/* ---- the cases ---- */

/* The SOA of a negative answer (RFC 2308 section 3). */
static enum step put_soa(struct answer *a)
{
	const struct frag *apex = answer_apex(a);
	struct rrset s;
	if (!apex || !set_find(apex, T_SOA, &s) || get_u16(s.rrs) < 22)
		return STEP_BAD;
	uint32_t minimum = get_u32(s.rrs + 2 + get_u16(s.rrs) - 4);
	uint32_t ttl = s.ttl < minimum ? s.ttl : minimum;
	return step_of(compose_set(&a->c, SEC_AUTHORITY, apex->owner, &s, ttl, a->q->dnssec_ok));
}

/* Takes up the name a CNAME leads to; its end when it leads nowhere we go. */
static enum step follow(struct answer *a, const uint8_t *target, size_t len)
{
	if (a->nnames > CHAIN_MAX || name_measure(target, len) != len)
		return a->nnames > CHAIN_MAX ? STEP_DONE : STEP_BAD;
	uint8_t *name = a->target_name[a->nnames - 1];
	name_lower(name, target);
	for (unsigned i = 0; i < a->nnames; i++)
		if (name_equal(a->name[i], name))
			return STEP_DONE; /* a loop */
	if (!name_below(name, a->zone->name))
		return STEP_DONE;
	a->name[a->nnames++] = name;
	return STEP_FOLLOW;
}

static enum step refer(struct answer *a, const uint8_t *cut, unsigned n, const struct frag *node)
{
	struct rrset ns, ds;
	if (!set_find(node, T_NS, &ns))
		return STEP_BAD;
	if (a->nnames == 1)
		a->flags &= ~(unsigned)FLAG_AA;
	enum composed r = compose_set(&a->c, SEC_AUTHORITY, cut, &ns, ns.ttl, false);
	if (r != COMPOSED)
		return step_of(r);
	want_extra(a, &ns, cut);
	if (!a->q->dnssec_ok)
		return STEP_DONE;
	if (set_find(node, T_DS, &ds)) /* unsigned it would mean nothing */
		return ds.nsig == 0 ? STEP_DONE
		                    : step_of(compose_set(&a->c, SEC_AUTHORITY, cut, &ds, ds.ttl, true));
	return denial_referral(a, cut, n, node) ? STEP_DONE : STEP_BAD;
}

/* RFC 6672 section 3.  owner is a proper suffix of name. */
static enum step substitute(struct answer *a, const uint8_t *name, const uint8_t *owner,
                            const struct frag *node)
{
	struct rrset s;
	uint8_t target[2 * NAME_MAX_LEN] RAW;
	if (!set_find(node, T_DNAME, &s) || name_measure(s.rrs + 2, get_u16(s.rrs)) != get_u16(s.rrs))
		return STEP_BAD;
	bool shown = false;
	for (unsigned i = 0; i < a->ndnames; i++)
		shown |= name_equal(a->dname[i], owner);
	if (!shown) {
		enum composed r = compose_set(&a->c, SEC_ANSWER, owner, &s, s.ttl, a->q->dnssec_ok);
		if (r != COMPOSED)
			return step_of(r);
		a->dname[a->ndnames++] = owner; /* one a name followed at most */
	}
	size_t front = (size_t)(owner - name);
	memcpy(target, name, front);
	size_t len = front + name_lower(target + front, s.rrs + 2);
	if (len > NAME_MAX_LEN) {
		a->rcode = RCODE_YXDOMAIN;
		return STEP_DONE;
	}
	enum composed r = compose_cname(&a->c, name, s.ttl, target);
	if (r != COMPOSED)
		return step_of(r);
	/* a target below its owner would only grow */
	if (a->q->qtype == T_CNAME || name_below(target + front, owner))
		return STEP_DONE;
	return follow(a, target, len);
}

/* RFC 8482 section 4.1: any one set, the NSEC only where there is nothing
 * else; for RRSIG, one set's signatures. */
static bool pick(const struct frag *node, bool signature, struct rrset *out)
{
	struct rd r = rd_init(node->body, node->len);
	struct rrset s;
	bool have = false;
	while (rrset_next(&r, &s)) {
		if (signature ? s.nsig == 0 : s.nrr == 0)
			continue;
		*out = s;
		have = true;
		if (signature || s.type != T_NSEC)
			break;
	}
	return have;
}

/* The set asked for, or the CNAME that stands for it. */
static bool choose(const struct frag *node, uint16_t qtype, struct rrset *out)
{
	switch (qtype) {
	case T_ANY:
		return pick(node, false, out);
	case T_RRSIG:
		return pick(node, true, out);
	case T_NSEC: /* may stand beside a CNAME (RFC 4035 section 2.5): not the target's */
		return set_find(node, qtype, out);
	default:
		return set_find(node, qtype, out) || set_find(node, T_CNAME, out);
	}
}

static enum step no_data(struct answer *a, const uint8_t *name, unsigned n, const struct frag *node,
                         int wild_ce)
{
	enum step step = put_soa(a);
	if (step != STEP_DONE)
		return step;
	bool ok = wild_ce < 0 ? denial_nodata(a, name, n, node)
	                      : denial_wildcard_nodata(a, name, n, (unsigned)wild_ce, node);
	return ok ? STEP_DONE : STEP_BAD;
}

/* Answers from a node; wild_ce >= 0: the node is "*" below the closest
 * encloser of so many labels, and stands for name. */
static enum step from_node(struct answer *a, const uint8_t *name, unsigned n, const struct frag *node,
                           int wild_ce)
{
	uint16_t qtype = a->q->qtype;
	struct rrset s;
	enum composed r;
	if (!choose(node, qtype, &s))
		return no_data(a, name, n, node, wild_ce);
	if (qtype == T_RRSIG)
		r = compose_sigs(&a->c, SEC_ANSWER, name, &s);
	else
		r = compose_set(&a->c, SEC_ANSWER, name, &s, s.ttl, a->q->dnssec_ok);
	if (r != COMPOSED)
		return step_of(r);
	if (wild_ce >= 0 && !denial_wildcard(a, name, n, (unsigned)wild_ce))
		return STEP_BAD;
	if (s.type == T_CNAME && qtype != T_CNAME && qtype != T_ANY && qtype != T_RRSIG)
		return follow(a, s.rrs + 2, get_u16(s.rrs));
	if (qtype == s.type || (qtype == T_ANY && !is_binding(s.type)))
		want_extra(a, &s, NULL);
	return STEP_DONE;
}

static enum step from_wildcard(struct answer *a, const uint8_t *name, unsigned n, unsigned ce)
{
	uint8_t wild[NAME_MAX_LEN + 2] RAW;
	struct frag f;
	a->wild = name_skip(name, n - ce);
	name_wildcard(a->wild, wild);
	if (get(a, wild, &f) != STORE_FOUND)
		return STEP_BAD; /* its encloser says there is one */
	return from_node(a, name, n, &f, (int)ce);
}

static enum step no_name(struct answer *a, const uint8_t *name, unsigned n, unsigned ce)
{
	a->rcode = RCODE_NXDOMAIN;
	enum step step = put_soa(a);
	if (step != STEP_DONE)
		return step;
	return denial_nxdomain(a, name, n, ce) ? STEP_DONE : STEP_BAD;
}

/* The topmost cut or DNAME at or above a place; the place itself if there is
 * none. */
static bool topmost(struct answer *a, const uint8_t *name, unsigned n, const struct place *p,
                    struct place *top)
{
	*top = *p;
	if (p->node.cut == 0 || p->node.cut == p->labels)
		return true;
	if (p->node.cut > p->labels || p->node.cut < a->zone->labels)
		return false;
	top->labels = p->node.cut;
	return get(a, name_skip(name, n - top->labels), &top->node) == STORE_FOUND &&
	       (top->node.flags & (NODE_CUT | NODE_DNAME));
}

/* Where names of this zone end decides which look-up comes first. */
static void learn(struct answer *a, unsigned n, const struct place *p, const struct place *top)
{
	unsigned first = a->zone->labels + 1u;
	if (!a->known || n <= first)
		return;
	bool short_way = p->labels < first || (top->labels == first && top->node.cut);
	int *cuts = &a->known->cuts;
	*cuts += short_way ? *cuts < CUTS_SURE : -(*cuts > -CUTS_SURE);
}

/* Whether links below the zone are worth a guess. */
static void learn_guess(struct answer *a)
{
	if (!a->known || !a->guess || !a->guess->name || a->mode == DENIAL_NSEC)
		return;
	int *n = &a->known->guesses;
	*n += a->guess_right ? *n < CUTS_SURE : -(*n > -CUTS_SURE);
}

/* job: the probe for this name is its; child: a zone of this name serves too. */
static enum step answer_name(struct answer *a, const uint8_t *name, const struct answer_job *job, bool child)
{
	struct place p, top;
	unsigned n = name_labels(name);
	if (!locate(a, name, n, job, &p) || !topmost(a, name, n, &p, &top))
		return STEP_BAD;
	learn(a, n, &p, &top);
	const uint8_t *owner = name_skip(name, n - top.labels);
	bool below = top.labels < n;
	/* DS is the parent's (RFC 4035 section 3.1.4.1) */
	if ((top.node.flags & NODE_CUT) && (below || a->q->qtype != T_DS))
		return child ? STEP_CHILD : refer(a, owner, top.labels, &top.node);
	if ((top.node.flags & NODE_DNAME) && below)
		return substitute(a, name, owner, &top.node);
	if (p.labels == n)
		return from_node(a, name, n, &p.node, -1);
	if (p.node.flags & NODE_WILD)
		return from_wildcard(a, name, n, p.labels);
	return no_name(a, name, n, p.labels);
}

/* ---- the stages ---- */

void answer_init(struct answer *a, const struct store_map *m, void *mem, size_t size,
                 struct store_memo *memo, unsigned udp_size)
{
	memset(a, 0, sizeof *a);
	a->map = m;
	a->scratch = (struct scratch){ .mem = mem, .size = size, .memo = memo };
	a->udp_size = udp_size;
	compose_init(&a->c);
}

static void forget_zone(struct known *k)
{
	k->zone = NULL;
	k->cuts = k->guesses = 0;
	k->have_apex = k->top[0].have = k->top[1].have = false;
	k->mode = DENIAL_UNKNOWN;
}

void answer_view(struct answer *a)
{
	struct store_view v;
	store_view_take(a->map, &v);
	if (memcmp(&v, &a->view, sizeof v) == 0)
		return;
	a->view = v;
	for (unsigned i = 0; i < RECENT_ZONES; i++)
		forget_zone(&a->recent[i]);
}

size_t answer_limit(const struct answer *a, const struct query *q, bool tcp)
{
	if (tcp)
		return 65535;
	return q->udp_size < a->udp_size ? q->udp_size : a->udp_size;
}

/* A name at or below a zone that has none below it needs no look at the catalog. */
static const struct store_zone *recent_zone(const struct answer *a, const struct query *q)
{
	for (unsigned i = 0; i < RECENT_ZONES; i++) {
		const struct store_zone *z = a->recent[i].zone;
		if (z && z->labels <= q->labels && name_below(q->qname, z->name))
			return z;
	}
	return NULL;
}

static enum store_found zone_find(struct answer *a, const struct query *q, bool above,
                                  const struct store_zone **out)
{
	const struct store_zone *recent = above ? NULL : recent_zone(a, q);
	if (recent) {
		*out = recent;
		return STORE_FOUND;
	}
	/* A zone is forgotten long before its place is taken: a job of this very
	 * batch may point to it, and the others find two each. */
	struct store_zone *z = &a->zones[a->next_zone];
	const struct store_zone *old = &a->zones[(a->next_zone + 2 * JOBS_MAX) % ZONES_KEPT];
	for (unsigned i = 0; i < RECENT_ZONES; i++)
		if (a->recent[i].zone == old)
			forget_zone(&a->recent[i]);
	a->scratch.used = 0;
	enum store_found r = store_zone_find(a->map, &a->view, q->qname, q->labels, above, &a->scratch, z);
	if (r != STORE_FOUND)
		return r;
	*out = z;
	a->next_zone = (a->next_zone + 1) % ZONES_KEPT;
	if (!above && z->leaf) {
		struct known *k = &a->recent[a->next_recent++ % RECENT_ZONES];
		forget_zone(k);
		k->zone = z;
	}
	return STORE_FOUND;
}

static struct known *known_of(struct answer *a, const struct store_zone *z)
{
	for (unsigned i = 0; i < RECENT_ZONES; i++)
		if (z && a->recent[i].zone == z)
			return &a->recent[i];
	return NULL;
}

/* The zone that names are looked up in from now on. */
static void answer_in(struct answer *a, const struct store_zone *z)
{
	a->guess = NULL;
	a->zone = z;
	a->known = known_of(a, z);
	a->have_apex = false;
	a->mode = DENIAL_UNKNOWN;
}

/* The look-up that is to settle where the name lies: of the whole name, or of
 * the one right below the zone's where that is a cut as a rule. */
static void begin_name(struct answer *a, struct answer_job *job)
{
	const struct query *q = &job->q;
	const struct known *k = known_of(a, job->zone);
	unsigned n = q->labels;
	if (k && k->cuts > 0 && n > job->zone->labels + 1u)
		n = job->zone->labels + 1u;
	job->probed = (uint8_t)n;
	const uint8_t *name = name_skip(q->qname, q->labels - n);
	store_begin(a->map, &job->probe, FRAG_NAME, job->zone->inst, name, job->zone->seq);
	a->scratch.used = 0;
	denial_guess(a, job, k);
}

void answer_begin(struct answer *a, struct answer_job *job)
{
	const struct query *q = &job->q;
	job->spoiled = 0;
	job->cold.len = a->scratch.cold.len = 0;
	job->zone_found = STORE_DAMAGED; /* until it is known: a page may be missing */
	if (job->kind != QUERY_OK)
		return;
	job->zone_found = zone_find(a, q, false, &job->zone);
	job->child = NULL;
	if (job->zone_found == STORE_FOUND && q->qtype == T_DS && job->zone->labels == q->labels) {
		const struct store_zone *parent;
		enum store_found r = zone_find(a, q, true, &parent);
		if (r == STORE_FOUND) {
			job->child = job->zone->state == ZONE_SERVING ? job->zone : NULL;
			job->zone = parent;
		} else if (r == STORE_DAMAGED)
			job->zone_found = r;
	}
	if (job->zone_found == STORE_FOUND && job->zone->labels > q->labels)
		job->zone_found = STORE_DAMAGED;
	job->cold = a->scratch.cold;
	if (job->lost)
		answer_spoil(job);
	if (job->zone_found == STORE_FOUND && job->zone->state == ZONE_SERVING)
		begin_name(a, job);
}

/* Is a look-up under way for it? */
static bool is_sought(const struct answer_job *job)
{
	return job->kind == QUERY_OK && job->zone_found == STORE_FOUND && job->zone->state == ZONE_SERVING;
}

void answer_seek(struct answer *a, struct answer_job *job)
{
	if (!is_sought(job))
		return;
	store_seek(a->map, &job->probe);
	if (job->guess.begun)
		store_seek(a->map, &job->guess.probe);
}

void answer_fetch(struct answer *a, struct answer_job *job)
{
	if (!is_sought(job))
		return;
	store_fetch(a->map, &job->probe);
	if (job->guess.begun)
		store_fetch(a->map, &job->guess.probe);
}

static void tell_version(struct answer *a, const struct store_zone *z)
{
	a->options.zone_labels = z->labels;
	a->options.zone_serial = z->serial;
}

/* What the OPT of the answer says whatever the answer is. */
static void choose_options(struct answer *a, const struct answer_job *job)
{
	const struct query *q = &job->q;
	a->options.nsid = q->nsid ? a->identity : NULL;
	a->options.keepalive = job->tcp && q->keepalive ? job->keepalive : -1;
	a->options.error = -1;
	a->options.have_cookie = q->cookie_len && a->ncookie_keys && job->peer_len;
	a->cookie_good = a->options.have_cookie &&
	                 cookie_answer(a->cookie_keys, a->ncookie_keys, q->cookie, q->cookie_len, job->peer,
	                               job->peer_len, a->now_s, a->options.cookie);
	/* of the zone that the answer is from, even when that is SERVFAIL (RFC 9660 section 3.2) */
	a->options.have_version = q->version && job->kind == QUERY_OK && job->zone_found == STORE_FOUND &&
	                          job->zone->state == ZONE_SERVING;
	if (a->options.have_version)
		tell_version(a, job->zone);
}

static void reset(struct answer *a, const struct answer_job *job)
{
	a->q = &job->q;
	answer_in(a, job->zone_found == STORE_FOUND ? job->zone : NULL);
	a->guess = &job->guess;
	a->guess_right = false;
	a->scratch.used = 0;
	a->scratch.cold.len = 0;
	a->flags = 0;
	a->rcode = RCODE_NOERROR;
	a->damaged = a->have_extra = false;
	a->wild = NULL;
	a->nnames = a->ndnames = a->nlinks = 0;
}

/* The zone above the one whose DS is asked for is not its parent: that one lies
 * between them and is not here.  "No data" from the child then, no referral
 * (RFC 4035 section 3.1.4.1). */
static enum step to_child(struct answer *a, const struct store_zone *child)
{
	answer_in(a, child);
	tell_version(a, child);
	return answer_name(a, a->name[0], NULL, false);
}

static void work(struct answer *a, const struct answer_job *job)
{
	enum step step;
	a->flags = job->q.qclass == CLASS_ANY ? 0 : FLAG_AA; /* RFC 1035 section 6.2 */
	a->name[a->nnames++] = job->q.qname;
	step = answer_name(a, a->name[0], job, job->child != NULL);
	if (step == STEP_CHILD)
		step = to_child(a, job->child);
	while (step == STEP_FOLLOW) /* nnames <= CHAIN_MAX + 1 */
		step = answer_name(a, a->name[a->nnames - 1], NULL, false);
	if (step == STEP_DONE)
		step = step_of(denial_write(a, SEC_AUTHORITY, 0));
	if (step == STEP_DONE)
		step = put_additional(a);
	if (step == STEP_FULL)
		a->flags |= FLAG_TC;
	learn_guess(a);
	if (step != STEP_BAD)
		return;
	compose_clear(&a->c, a->q);
	a->flags = 0;
	a->rcode = RCODE_SERVFAIL;
	a->damaged = true;
	a->damaged_inst = a->zone->inst;
}

void answer_spoil(struct answer_job *job)
{
	job->spoiled = job->kind == QUERY_OK && job->zone_found == STORE_FOUND ? job->zone->inst : 0;
	job->zone_found = STORE_DAMAGED;
	job->cold.len = 0;
}

/* RFC 4892, and what BIND calls the same.  Anything else of class CH: REFUSED. */
static void answer_chaos(struct answer *a)
{
	static const struct { const char *name; bool version; } known[] = {
		{ "\2id\6server", false }, { "\10hostname\4bind", false },
		{ "\7version\4bind", true }, { "\7version\6server", true },
	};
	a->rcode = RCODE_REFUSED;
	if (a->q->qtype != T_TXT && a->q->qtype != T_ANY)
		return;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		const char *text = known[i].version ? a->version : a->identity;
		if (!text || !name_equal(a->q->qname, (const uint8_t *)known[i].name))
			continue;
		a->flags = FLAG_AA;
		a->rcode = RCODE_NOERROR;
		if (compose_chaos(&a->c, text) == COMPOSE_FULL)
			a->flags |= FLAG_TC;
		return;
	}
}

/* RFC 8914 section 4: why there is no answer; -1: the rcode says it all. */
static int extended_error(const struct answer *a, const struct answer_job *job)
{
	uint16_t type = job->q.qtype;
	if (a->rcode == RCODE_REFUSED && job->kind == QUERY_OK)
		return 20; /* Not Authoritative */
	if (a->rcode == RCODE_REFUSED && (type == T_AXFR || type == T_IXFR))
		return 18; /* Prohibited */
	if (a->rcode == RCODE_FORMERR && type == T_NXNAME)
		return 30; /* Invalid Query Type */
	if (a->rcode == RCODE_REFUSED)
		return 21; /* Not Supported: the class or the opcode */
	if (a->rcode != RCODE_SERVFAIL)
		return -1;
	/* Not Ready; else Invalid Data: damaged, refused or expired */
	return !a->damaged && job->zone->state == ZONE_LOADING ? 14 : 24;
}

/* RFC 7873 section 5.4: no question, only a cookie. */
static unsigned cookie_query(const struct answer *a)
{
	if (!a->options.have_cookie)
		return RCODE_FORMERR;
	return a->cookie_good || a->q->cookie_len == 8 ? RCODE_NOERROR : RCODE_BADCOOKIE;
}

/* Not even the zone could be read; or not yet. */
static void spoilt(struct answer *a, const struct answer_job *job)
{
	a->rcode = RCODE_SERVFAIL;
	a->damaged = true;
	a->damaged_inst = job->spoiled;
	a->scratch.cold = job->cold;
}

size_t answer_finish(struct answer *a, struct answer_job *job, uint8_t *out, size_t max)
{
	reset(a, job);
	choose_options(a, job);
	compose_begin(&a->c, out, max, &job->q, &a->options);
	if (job->kind == QUERY_ERROR && job->q.rcode == RCODE_NOERROR)
		a->rcode = cookie_query(a);
	else if (a->need_cookie && a->options.have_cookie && !a->cookie_good)
		a->rcode = RCODE_BADCOOKIE;
	else if (job->kind == QUERY_CHAOS)
		answer_chaos(a);
	else if (job->kind != QUERY_OK)
		a->rcode = job->q.rcode;
	else if (job->zone_found == STORE_ABSENT)
		a->rcode = RCODE_REFUSED;
	else if (job->zone_found == STORE_DAMAGED)
		spoilt(a, job);
	else if (job->zone->state != ZONE_SERVING)
		a->rcode = RCODE_SERVFAIL;
	else
		work(a, job);
	a->options.error = extended_error(a, job);
	return compose_end(&a->c, &job->q, a->flags, a->rcode, a->udp_size);
}

/* What every answer without an answer has of options: a cookie. */
static void reset_short(struct answer *a, const struct answer_job *job)
{
	reset(a, job);
	choose_options(a, job);
	a->options.nsid = NULL;
	a->options.have_version = false;
}

size_t answer_tc(struct answer *a, struct answer_job *job, uint8_t *out, size_t max)
{
	reset_short(a, job);
	a->options.have_cookie = a->options.have_cookie && job->q.cookie_len >= COOKIE_LEN;
	compose_begin(&a->c, out, max, &job->q, &a->options);
	a->flags = FLAG_TC;
	return compose_end(&a->c, &job->q, a->flags, a->rcode, a->udp_size);
}

size_t answer_slip(struct answer *a, struct answer_job *job, uint8_t *out, size_t max)
{
	reset_short(a, job);
	compose_begin(&a->c, out, max, &job->q, &a->options);
	if (a->options.have_cookie && !a->cookie_good)
		a->rcode = RCODE_BADCOOKIE;
	else if (job->kind == QUERY_ERROR && job->q.rcode != RCODE_NOERROR) /* no longer than TC; an UPDATE must not look done */
		a->rcode = job->q.rcode;
	else
		a->flags = FLAG_TC;
	return compose_end(&a->c, &job->q, a->flags, a->rcode, a->udp_size);
}
