/* denial.c - proofs that something is not there: which NSEC (RFC 4035 section
 * 3.1.3) or NSEC3 (RFC 5155 section 7.2) records an answer takes.
 *
 * Links are collected while the name is worked on and written when the answer
 * section is complete; each appears once.  A link's set is moved to the front
 * of what its look-up took of the scratch, so that whole nodes don't pile up.
 *
 * A zone's apex and "*" below it come in nearly all its proofs: their links are
 * kept from one query to the next (struct known).
 *
 * Threat: work.  A proof takes at most one look-up for each label between the
 * name and its zone and two more, each at most NSEC3_ITERATIONS_MAX + 1 hashes.
 * An answer has one for each of its names (CHAIN_MAX) and, at a service, one
 * for each target (EXTRA_TARGETS). */
#include "dns/answer.h"

/* The parameters in use: hash algorithm 1, no flags (RFC 5155 section 4.1.2). */
static bool params_find(const struct rrset *s, struct nsec3_params *out)
{
	const uint8_t *rr = s->rrs;
	for (unsigned i = 0; i < s->nrr; i++, rr = rr_next(rr)) {
		struct nsec3_params p;
		if (!nsec3_params_read(rr + 2, get_u16(rr), &p) || p.alg != 1 || p.flags != 0 ||
		    p.iterations > NSEC3_ITERATIONS_MAX)
			continue;
		*out = p;
		return true;
	}
	return false;
}

/* How this zone denies; false: damaged. */
static bool mode_find(struct answer *a)
{
	if (a->mode != DENIAL_UNKNOWN)
		return true;
	if (a->known && a->known->mode != DENIAL_UNKNOWN) {
		a->mode = a->known->mode;
		a->n3 = &a->known->n3;
		return true;
	}
	const struct frag *apex = answer_apex(a);
	struct rrset s;
	if (!apex)
		return false;
	struct nsec3_params *n3 = a->known ? &a->known->n3 : &a->n3_here;
	a->n3 = n3;
	a->mode = DENIAL_NONE;
	if (set_find(apex, T_NSEC3PARAM, &s) && params_find(&s, n3))
		a->mode = DENIAL_NSEC3;
	else if (set_find(apex, T_NSEC, &s))
		a->mode = DENIAL_NSEC;
	if (a->known)
		a->known->mode = a->mode;
	return true;
}

static void link_add(struct answer *a, const uint8_t *owner, const struct rrset *s)
{
	for (unsigned i = 0; i < a->nlinks; i++)
		if (name_equal(a->link[i].owner, owner))
			return;
	if (a->nlinks < LINKS_MAX)
		a->link[a->nlinks++] = (struct link){ owner, *s };
}

/* ---- kept links ---- */

/* The place of a name's link: of the zone's own name and of "*" below it. */
static struct kept_link *kept_place(struct answer *a, const uint8_t *name)
{
	if (!a->known)
		return NULL;
	size_t zone = name_len(a->zone->name), n = name_len(name);
	if (n == zone)
		return &a->known->top[0];
	return n == zone + 2 && name[1] == '*' ? &a->known->top[1] : NULL;
}

/* Keeps the link that was collected last. */
static void kept_put(struct kept_link *k, const struct link *l, bool exact)
{
	size_t n = name_len(l->owner), len = (size_t)(l->set.end - l->set.start);
	if (n + len > sizeof k->mem)
		return;
	memcpy(k->mem, l->owner, n);
	memcpy(k->mem + n, l->set.start, len);
	struct rd r = rd_init(k->mem + n, len);
	k->link.owner = k->mem;
	k->exact = exact;
	k->have = rrset_next(&r, &k->link.set);
}

/* Takes over a link that a look-up left in the scratch from `mark` on. */
static bool link_keep(struct answer *a, size_t mark, const struct frag *f, uint16_t type)
{
	struct rrset s;
	if (!set_find(f, type, &s))
		return false;
	uint8_t owner[NAME_MAX_LEN] RAW;
	size_t n = name_lower(owner, f->owner), len = (size_t)(s.end - s.start);
	uint8_t *to = a->scratch.mem + mark;
	if (len + n > a->scratch.size - mark)
		return false;
	memmove(to + n, s.start, len); /* they may overlap */
	memcpy(to, owner, n);
	a->scratch.used = mark + n + len;
	struct rd r = rd_init(to + n, len);
	if (!rrset_next(&r, &s))
		return false;
	link_add(a, to, &s);
	return true;
}

/* The node's own NSEC; false: it has none. */
static bool own_nsec(struct answer *a, const struct frag *node)
{
	struct rrset s;
	if (!set_find(node, T_NSEC, &s))
		return false;
	link_add(a, node->owner, &s);
	return true;
}

/* The NSEC that matches or covers a name. */
static bool add_nsec(struct answer *a, const uint8_t *name)
{
	size_t mark = a->scratch.used;
	unsigned before = a->nlinks;
	struct frag f;
	bool exact;
	struct kept_link *k = kept_place(a, name);
	if (k && k->have) {
		link_add(a, k->link.owner, &k->link.set);
		return true;
	}
	switch (store_nsec(a->map, a->zone, name, &a->scratch, &f, &exact)) {
	case STORE_FOUND:
		if (!link_keep(a, mark, &f, T_NSEC))
			return false;
		if (k && a->nlinks > before)
			kept_put(k, &a->link[before], exact);
		return true;
	case STORE_ABSENT:
		return true; /* a broken chain: serve what there is */
	default:
		return false;
	}
}

/* RFC 5155 section 5; name is lower case. */
static void nsec3_hash(const struct nsec3_params *p, const uint8_t *name, uint8_t out[static 20])
{
	struct sha s;
	sha1_init(&s);
	sha_update(&s, name, name_len(name));
	sha_update(&s, p->salt, p->saltlen);
	sha_out(&s, out);
	for (unsigned i = 0; i < p->iterations; i++) {
		sha1_init(&s);
		sha_update(&s, out, 20);
		sha_update(&s, p->salt, p->saltlen);
		sha_out(&s, out);
	}
}

void denial_guess(struct answer *a, struct answer_job *job, const struct known *k)
{
	struct guess *g = &job->guess;
	const struct store_zone *z = job->zone;
	const struct query *q = &job->q;
	uint8_t hash[20];
	g->begun = false;
	g->name = q->dnssec_ok && q->labels > z->labels ? name_skip(q->qname, q->labels - z->labels - 1u) : NULL;
	if (!g->name || !k || k->guesses <= 0 || k->mode != DENIAL_NSEC3 || k->n3.iterations > 0)
		return;
	nsec3_hash(&k->n3, g->name, hash);
	if (store_nsec3(a->map, z, &k->n3, hash, &a->scratch, g->owner, &g->exact) != STORE_FOUND)
		return; /* what is damaged will be said when it is needed */
	store_begin(a->map, &g->probe, FRAG_NSEC3, z->inst, g->owner, z->seq);
	g->begun = true;
}

enum n3_take {
	N3_ANY,   /* the link, whether it matches or covers */
	N3_MATCH, /* only if it matches */
};

/* The link that matches or covers a name; it must be there when its chain names it. */
static enum store_found nsec3_any(struct answer *a, const uint8_t *name, struct frag *f, bool *exact)
{
	const struct guess *g = a->guess;
	uint8_t hash[20], owner[NAME_MAX_LEN] RAW;
	bool guessed = g && g->name == name;
	enum store_found r = STORE_FOUND;
	a->guess_right |= guessed;
	if (guessed && g->begun) {
		*exact = g->exact;
		r = store_take(a->map, &g->probe, &a->scratch, f);
		return r == STORE_ABSENT ? STORE_DAMAGED : r;
	}
	nsec3_hash(a->n3, name, hash);
	r = store_nsec3(a->map, a->zone, a->n3, hash, &a->scratch, owner, exact);
	if (r != STORE_FOUND)
		return r;
	r = store_get(a->map, FRAG_NSEC3, a->zone->inst, owner, a->zone->seq, &a->scratch, f);
	return r == STORE_ABSENT ? STORE_DAMAGED : r;
}

/* The link of a name.  One that has to match needs no look at the chain's order. */
static enum store_found find_nsec3(struct answer *a, const uint8_t *name, enum n3_take take, struct frag *f,
                                   bool *exact)
{
	uint8_t hash[20], owner[NAME_MAX_LEN] RAW;
	if (take == N3_ANY)
		return nsec3_any(a, name, f, exact);
	*exact = true;
	nsec3_hash(a->n3, name, hash);
	if (!nsec3_owner(hash, sizeof hash, a->zone->name, owner))
		return STORE_ABSENT;
	return store_get(a->map, FRAG_NSEC3, a->zone->inst, owner, a->zone->seq, &a->scratch, f);
}

/* Adds a name's link, whatever is wanted of it; *exact: it matches. */
static bool add_nsec3(struct answer *a, const uint8_t *name, enum n3_take take, bool *exact)
{
	size_t mark = a->scratch.used;
	unsigned before = a->nlinks;
	struct frag f;
	struct kept_link *k = kept_place(a, name);
	*exact = k && k->have && k->exact;
	if (k && k->have && (take == N3_ANY || k->exact)) {
		link_add(a, k->link.owner, &k->link.set);
		return true;
	}
	switch (find_nsec3(a, name, take, &f, exact)) {
	case STORE_FOUND:
		if (!link_keep(a, mark, &f, T_NSEC3))
			return false;
		if (k && a->nlinks > before)
			kept_put(k, &a->link[before], *exact);
		return true;
	case STORE_ABSENT:
		*exact = false;
		return true;
	default:
		return false;
	}
}

/* Closest encloser proof (RFC 5155 section 7.2.1), from *ce labels up to the
 * first that has a matching NSEC3: with opt-out it may be further up.  On
 * return *ce is that one. */
static bool prove_encloser(struct answer *a, const uint8_t *name, unsigned n, unsigned *ce)
{
	bool exact;
	for (unsigned l = *ce;; l--) {
		if (!add_nsec3(a, name_skip(name, n - l), N3_MATCH, &exact))
			return false;
		*ce = l;
		if (exact || l <= a->zone->labels)
			break;
	}
	return *ce >= n || add_nsec3(a, name_skip(name, n - *ce - 1), N3_ANY, &exact);
}

bool denial_nxdomain(struct answer *a, const uint8_t *name, unsigned n, unsigned ce)
{
	uint8_t wild[NAME_MAX_LEN + 2] RAW;
	bool exact;
	if (!a->q->dnssec_ok)
		return true;
	if (!mode_find(a))
		return false;
	switch (a->mode) {
	case DENIAL_NSEC:
		name_wildcard(name_skip(name, n - ce), wild);
		return add_nsec(a, name) && add_nsec(a, wild);
	case DENIAL_NSEC3:
		if (!prove_encloser(a, name, n, &ce))
			return false;
		name_wildcard(name_skip(name, n - ce), wild);
		return add_nsec3(a, wild, N3_ANY, &exact);
	default:
		return true;
	}
}

/* RFC 5155 sections 7.2.3 and 7.2.4: a match, or, for what lies in an opt-out
 * span, the closest provable encloser. */
static bool nodata3(struct answer *a, const uint8_t *name, unsigned n)
{
	bool exact;
	unsigned before = a->nlinks;
	if (n <= a->zone->labels)
		return add_nsec3(a, name, N3_MATCH, &exact);
	/* what does not match covers the next closer name, if the one above matches */
	if (!add_nsec3(a, name, N3_ANY, &exact))
		return false;
	if (exact)
		return true;
	if (!add_nsec3(a, name_skip(name, 1), N3_MATCH, &exact))
		return false;
	if (exact || n - 1 <= a->zone->labels)
		return true;
	a->nlinks = before;
	unsigned ce = n - 2;
	return prove_encloser(a, name, n, &ce);
}

bool denial_nodata(struct answer *a, const uint8_t *name, unsigned n, const struct frag *node)
{
	if (!a->q->dnssec_ok)
		return true;
	if (!mode_find(a))
		return false;
	switch (a->mode) {
	case DENIAL_NSEC:
		return own_nsec(a, node) || add_nsec(a, name);
	case DENIAL_NSEC3:
		return nodata3(a, name, n);
	default:
		return true;
	}
}

bool denial_wildcard(struct answer *a, const uint8_t *name, unsigned n, unsigned ce)
{
	bool exact;
	if (!a->q->dnssec_ok)
		return true;
	if (!mode_find(a))
		return false;
	switch (a->mode) {
	case DENIAL_NSEC:
		return add_nsec(a, name);
	case DENIAL_NSEC3: /* the next closer name; section 7.2.6 */
		return add_nsec3(a, name_skip(name, n - ce - 1), N3_ANY, &exact);
	default:
		return true;
	}
}

bool denial_wildcard_nodata(struct answer *a, const uint8_t *name, unsigned n, unsigned ce,
                            const struct frag *wild)
{
	if (!a->q->dnssec_ok)
		return true;
	if (!mode_find(a))
		return false;
	switch (a->mode) {
	case DENIAL_NSEC:
		return (own_nsec(a, wild) || add_nsec(a, wild->owner)) && add_nsec(a, name);
	case DENIAL_NSEC3: { /* section 7.2.5; in an opt-out span the wildcard may have no link */
		bool exact;
		return prove_encloser(a, name, n, &ce) && add_nsec3(a, wild->owner, N3_MATCH, &exact);
	}
	default:
		return true;
	}
}

bool denial_referral(struct answer *a, const uint8_t *cut, unsigned n, const struct frag *node)
{
	if (!a->q->dnssec_ok || own_nsec(a, node))
		return true;
	if (!mode_find(a))
		return false;
	return a->mode != DENIAL_NSEC3 || nodata3(a, cut, n);
}

enum composed denial_write(struct answer *a, enum section sec, unsigned from)
{
	for (unsigned i = from; i < a->nlinks; i++) {
		const struct link *l = &a->link[i];
		enum composed r = compose_set(&a->c, sec, l->owner, &l->set, l->set.ttl, true);
		if (r != COMPOSED)
			return r;
	}
	return COMPOSED;
}
