/* zone.c - the catalog of zones, and the chains that denial is read from.
 *
 * The catalog lies in instance 0 of the store itself, so it is encrypted,
 * versioned and recovered like all else.  Every suffix of a zone's name has a
 * FRAG_ZONE fragment, the zone's own and bare markers alike:
 *   flags 8 (1: a zone) | enclosing 8 | below 32 | instance 32 | serial 32 |
 *   expire 32 | state 8 | hold 8
 * enclosing: 1 + labels of the longest zone at or above this name, 0 = none;
 * below: zones at or below it.  So the longest marker of a name is found by
 * binary search over label counts, and it tells the zone.  The tree
 * (0, CHAIN_CATALOG) lists the zones in order. */
#include "store/writer.h"

#include <errno.h>

#define MARKER_LEN 20
#define CATALOG    0u /* instance */

struct marker {
	bool zone;
	uint8_t enclosing; /* 1 + labels, 0 none */
	uint32_t below;
	struct store_zone z;
};

static bool marker_read(const struct frag *f, struct marker *out)
{
	struct rd r = rd_init(f->body, f->len);
	struct marker m = { .zone = rd_u8(&r) & 1 };
	m.enclosing = rd_u8(&r);
	m.below = rd_u32(&r);
	m.z.inst = rd_u32(&r);
	m.z.serial = rd_u32(&r);
	m.z.expire = rd_u32(&r);
	m.z.state = rd_u8(&r);
	m.z.hold = rd_u8(&r);
	if (r.bad || rd_left(&r) || m.z.hold > STORE_HOLDS)
		return false;
	m.z.labels = (uint8_t)name_labels(f->owner);
	memcpy(m.z.name, f->owner, name_len(f->owner));
	*out = m;
	return true;
}

/* ---- reading ---- */

static enum store_found marker_get(const struct store_map *m, const uint8_t *name, uint64_t seq,
                                   struct scratch *s, struct marker *out)
{
	struct frag f;
	size_t mark = s->used;
	enum store_found r = store_get(m, FRAG_ZONE, CATALOG, name, seq, s, &f);
	if (r == STORE_FOUND && !marker_read(&f, out))
		r = STORE_DAMAGED;
	s->used = mark;
	return r;
}

/* The longest suffix of name that has a marker, by binary search. */
static enum store_found longest_marker(const struct store_map *m, const struct store_view *v,
                                       const uint8_t *name, unsigned n, struct scratch *s,
                                       unsigned *labels, struct marker *out)
{
	unsigned low = 0, high = n; /* suffixes of `low` labels or fewer exist */
	bool have = false;
	struct marker mk;
	while (low <= high) {
		unsigned mid = (low + high) / 2;
		enum store_found r = marker_get(m, name_skip(name, n - mid), v->visible, s, &mk);
		if (r == STORE_DAMAGED)
			return r;
		if (r == STORE_FOUND) {
			*out = mk;
			*labels = mid;
			have = true;
			low = mid + 1;
		} else if (mid == 0) {
			break;
		} else {
			high = mid - 1;
		}
	}
	return have ? STORE_FOUND : STORE_ABSENT;
}

enum store_found store_zone_find(const struct store_map *m, const struct store_view *v,
                                 const uint8_t *name, unsigned nlabels, bool above,
                                 struct scratch *s, struct store_zone *out)
{
	struct marker mk;
	unsigned labels = 0;
	if (above && nlabels == 0)
		return STORE_ABSENT;
	if (above) {
		name = name_skip(name, 1);
		nlabels--;
	}
	enum store_found r = longest_marker(m, v, name, nlabels, s, &labels, &mk);
	if (r != STORE_FOUND)
		return r;
	if (mk.enclosing == 0)
		return STORE_ABSENT;
	if (mk.enclosing - 1u != labels) {
		if (mk.enclosing - 1u > labels)
			return STORE_DAMAGED;
		r = marker_get(m, name_skip(name, nlabels - (mk.enclosing - 1u)), v->visible, s, &mk);
		if (r != STORE_FOUND)
			return STORE_DAMAGED;
	}
	if (!mk.zone)
		return STORE_DAMAGED;
	*out = mk.z;
	out->leaf = mk.below == 1;
	out->seq = mk.z.hold && v->hold[mk.z.hold - 1] ? v->hold[mk.z.hold - 1] : v->visible;
	return STORE_FOUND;
}

size_t zone_key(const uint8_t *owner, unsigned zone_labels, uint8_t out[static NAME_KEY_MAX])
{
	return name_key_below(owner, zone_labels, out);
}

bool zone_owner(const struct store_zone *z, const uint8_t *key, size_t n, uint8_t out[static NAME_MAX_LEN])
{
	size_t below = name_from_key(key, n, out), zone = name_len(z->name);
	if (below == 0 || below - 1 + zone > NAME_MAX_LEN)
		return false;
	copy_short(out + below - 1, z->name, zone);
	return true;
}

enum store_found store_nsec(const struct store_map *m, const struct store_zone *z, const uint8_t *name,
                            struct scratch *s, struct frag *out, bool *exact)
{
	uint8_t key[NAME_KEY_MAX], got[TREE_KEY_MAX], owner[NAME_MAX_LEN];
	size_t gotn, n = zone_key(name, z->labels, key);
	enum store_found r = tree_find(m, z->inst, CHAIN_NSEC, z->seq, key, n, s, got, &gotn, exact);
	if (r != STORE_FOUND)
		return r;
	if (!zone_owner(z, got, gotn, owner))
		return STORE_DAMAGED;
	/* what the chain names must be there */
	r = store_get(m, FRAG_NAME, z->inst, owner, z->seq, s, out);
	return r == STORE_ABSENT ? STORE_DAMAGED : r;
}

enum store_found store_nsec3(const struct store_map *m, const struct store_zone *z,
                             const struct nsec3_params *p, const uint8_t hash[static 20],
                             struct scratch *s, uint8_t owner[static NAME_MAX_LEN], bool *exact)
{
	uint8_t got[TREE_KEY_MAX];
	size_t gotn;
	enum store_found r = tree_find(m, z->inst, tree_nsec3_chain(m, p), z->seq, hash, 20, s, got,
	                               &gotn, exact);
	if (r == STORE_FOUND && !nsec3_owner(got, gotn, z->name, owner))
		return STORE_DAMAGED;
	return r;
}

/* ---- writing ---- */

static enum store_found marker_now(struct store *st, const uint8_t *name, struct marker *out)
{
	struct frag f;
	size_t mark = st->scratch.used;
	enum store_found r = store_get_newest(st, FRAG_ZONE, CATALOG, name, name_len(name), &st->scratch, &f);
	if (r == STORE_FOUND && !marker_read(&f, out)) {
		errno = EBADMSG;
		r = STORE_DAMAGED;
	}
	st->scratch.used = mark;
	if (r == STORE_ABSENT)
		memset(out, 0, sizeof *out);
	return r;
}

static int marker_put(struct store *st, uint64_t seq, const uint8_t *name, const struct marker *m)
{
	static const struct store_zone catalog = { .inst = CATALOG };
	uint8_t body[MARKER_LEN];
	if (!m->zone && m->below == 0)
		return store_delete(st, seq, FRAG_ZONE, &catalog, name);
	struct wr w = wr_init(body, sizeof body);
	wr_u8(&w, m->zone);
	wr_u8(&w, m->enclosing);
	wr_u32(&w, m->below);
	wr_u32(&w, m->z.inst);
	wr_u32(&w, m->z.serial);
	wr_u32(&w, m->z.expire);
	wr_u8(&w, m->z.state);
	wr_u8(&w, m->z.hold);
	return store_put(st, seq, FRAG_ZONE, &catalog, name, 0, 0, body, sizeof body, false);
}

enum store_found store_zone_get(struct store *st, const uint8_t *name, struct store_zone *out)
{
	struct marker m;
	enum store_found r = marker_now(st, name, &m);
	if (r != STORE_FOUND)
		return r;
	if (!m.zone)
		return STORE_ABSENT;
	*out = m.z;
	out->seq = UINT64_MAX;
	return STORE_FOUND;
}

static enum store_found catalog_after(struct store *st, const uint8_t *key, size_t n,
                                      uint8_t got[static TREE_KEY_MAX], size_t *gotn)
{
	struct store_guard g;
	enum store_found r;
	store_guard_enter(&st->map, &g);
	if (sigsetjmp(g.to, 0) == 0)
		r = tree_after(&st->map, CATALOG, CHAIN_CATALOG, UINT64_MAX, key, n, &st->scratch, got, gotn);
	else
		r = STORE_DAMAGED;
	store_guard_leave(&g);
	return r;
}

/* The catalog's tree sees committed zones and what was flushed since; within a
 * group the changed nodes lie in the cache, so they are written out first. */
static enum store_found zone_after(struct store *st, const uint8_t *key, size_t n,
                                   uint8_t name[static NAME_MAX_LEN])
{
	uint8_t got[TREE_KEY_MAX];
	size_t gotn;
	if (st->group && (tree_flush(st->trees, st->last_seq) != 0 || log_flush(st, false) != 0))
		return STORE_DAMAGED;
	enum store_found r = catalog_after(st, key, n, got, &gotn);
	if (r == STORE_FOUND && !name_from_key(got, gotn, name))
		return STORE_DAMAGED;
	return r;
}

enum store_found store_zone_next(struct store *st, const uint8_t *after, struct store_zone *out)
{
	uint8_t key[NAME_KEY_MAX], name[NAME_MAX_LEN];
	size_t n = after ? name_key(after, key) : 0;
	enum store_found r = zone_after(st, after ? key : NULL, n, name);
	return r == STORE_FOUND ? store_zone_get(st, name, out) : r;
}

enum store_found store_zone_of(struct store *st, uint32_t inst, struct store_zone *out)
{
	enum store_found r = store_zone_next(st, NULL, out);
	while (r == STORE_FOUND && out->inst != inst)
		r = store_zone_next(st, out->name, out);
	return r;
}

enum store_found store_catalog_look(struct store *st)
{
	struct store_zone z;
	struct marker m;
	enum store_found r = store_zone_next(st, NULL, &z);
	for (; r == STORE_FOUND; r = store_zone_next(st, z.name, &z))
		for (unsigned k = 1; k <= z.labels; k++)
			if (marker_now(st, name_skip(z.name, k), &m) != STORE_FOUND)
				return STORE_DAMAGED;
	return r == STORE_DAMAGED ? r : STORE_FOUND;
}

/* The markers between a new (or dropped) zone and the zones below it name
 * another enclosing zone from now on. */
static int update_below(struct store *st, uint64_t seq, const uint8_t *zone, uint8_t from, uint8_t to)
{
	uint8_t key[NAME_KEY_MAX], name[NAME_MAX_LEN];
	unsigned labels = name_labels(zone);
	size_t n = name_key(zone, key);
	enum store_found r;
	while ((r = zone_after(st, key, n, name)) == STORE_FOUND && name_below(name, zone)) {
		unsigned have = name_labels(name);
		for (unsigned k = labels + 1; k <= have; k++) {
			struct marker m;
			const uint8_t *suffix = name_skip(name, have - k);
			r = marker_now(st, suffix, &m);
			if (r != STORE_FOUND)
				return -1;
			if (m.enclosing != from)
				break; /* another zone begins here, or done already */
			m.enclosing = to;
			if (marker_put(st, seq, suffix, &m) != 0)
				return -1;
		}
		n = name_key(name, key);
	}
	return r == STORE_DAMAGED ? -1 : 0;
}

/* Counts a zone in (or out) at every suffix; gives new markers their enclosing zone. */
static int count_suffixes(struct store *st, uint64_t seq, const uint8_t *name, int by)
{
	unsigned n = name_labels(name);
	uint8_t enclosing = 0;
	for (unsigned k = 0; k <= n; k++) {
		struct marker m;
		const uint8_t *suffix = name_skip(name, n - k);
		enum store_found r = marker_now(st, suffix, &m);
		if (r == STORE_DAMAGED)
			return -1;
		if (r == STORE_ABSENT)
			m.enclosing = enclosing;
		enclosing = m.enclosing;
		m.below += (uint32_t)by;
		if (marker_put(st, seq, suffix, &m) != 0)
			return -1;
	}
	return 0;
}

int zone_replayed(struct store *st, const struct raw *was, const struct raw *now)
{
	struct marker a, b = { 0 };
	if (!marker_read(&was->f, &a) || (!now->gone && !marker_read(&now->f, &b))) {
		errno = EBADMSG;
		return -1;
	}
	return a.zone && a.z.inst != b.z.inst ? inst_dropped(st, a.z.inst, now->f.seq) : 0;
}

int store_zone_put(struct store *st, uint64_t seq, const struct store_zone *z)
{
	uint8_t key[NAME_KEY_MAX], name[NAME_MAX_LEN];
	struct marker m;
	name_lower(name, z->name);
	enum store_found r = marker_now(st, name, &m);
	if (r == STORE_DAMAGED)
		return store_fail(st);
	bool fresh = r == STORE_ABSENT || !m.zone;
	bool others_below = fresh && m.below > 0;
	uint8_t own = (uint8_t)(name_labels(name) + 1), was;
	if (fresh && count_suffixes(st, seq, name, 1) != 0)
		return -1;
	if (marker_now(st, name, &m) == STORE_DAMAGED)
		return store_fail(st);
	was = m.enclosing;
	if (inst_named(st, z->inst) != 0 || (m.zone && m.z.inst != z->inst && inst_dropped(st, m.z.inst, seq) != 0))
		return store_fail(st);
	defer_named(st, z->inst);
	m.zone = true;
	m.enclosing = own;
	m.z = *z;
	if (marker_put(st, seq, name, &m) != 0)
		return -1;
	if (!fresh)
		return 0;
	if (tree_insert(st->trees, CATALOG, CHAIN_CATALOG, key, name_key(name, key)) != 0)
		return store_fail(st);
	return others_below ? update_below(st, seq, name, was, own) : 0;
}

int store_zone_drop(struct store *st, uint64_t seq, const uint8_t *zone)
{
	uint8_t key[NAME_KEY_MAX], name[NAME_MAX_LEN];
	struct marker m, parent = { 0 };
	name_lower(name, zone);
	enum store_found r = marker_now(st, name, &m);
	if (r == STORE_DAMAGED)
		return store_fail(st);
	if (r == STORE_ABSENT || !m.zone)
		return 0;
	if (name_labels(name) && marker_now(st, name_skip(name, 1), &parent) == STORE_DAMAGED)
		return store_fail(st);
	uint8_t own = m.enclosing;
	uint32_t below = m.below;
	if (inst_dropped(st, m.z.inst, seq) != 0)
		return store_fail(st);
	m.zone = false;
	m.enclosing = parent.enclosing;
	memset(&m.z, 0, sizeof m.z);
	if (marker_put(st, seq, name, &m) != 0 || count_suffixes(st, seq, name, -1) != 0)
		return -1;
	if (tree_remove(st->trees, CATALOG, CHAIN_CATALOG, key, name_key(name, key)) != 0)
		return store_fail(st);
	return below > 1 ? update_below(st, seq, name, own, parent.enclosing) : 0;
}
