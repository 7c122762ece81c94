/* compact.c - the log kept short: extents full of garbage are emptied.
 *
 * An extent is chosen by what it has live, its fragments are looked at one by
 * one, and those that someone needs are sealed again at the log's end, like any
 * change: so a recovery replays the copies in order with the changes, and each
 * was a copy of the newest version when it was made.  Slots of tombstones that
 * hide nothing and of instances that are gone (instance.c) are given up; that
 * is not logged, as it can be done again.  The emptied extent waits for the next
 * checkpoint, and then for the readers, before it is used again (space.c).
 *
 * Work is done in small shares: after changes, in proportion to what they
 * wrote, and in ticks, by the clock.  What the open group replaces is no garbage
 * before its commit, as readers need it: so one large change is soon seen, and
 * paid for by ticks and by the groups behind it.
 *
 * What is needed of a key: the newest version; every older one that a pinned
 * sequence or a reader's view may see.  A fragment found damaged, or a chain
 * that can't be followed, keeps its extent from being freed.
 * Threat: the disk, as for all readers (read.c). */
#include "store/writer.h"

#include <errno.h>
#include <time.h>

#define KEPT_MAX   512u /* versions of one key that may be needed at a time */
#define LONG_CHAIN 32u  /* steps that are worth a copy */
#define SCAN_COST  4u   /* looking at so many units costs as much as copying one */
#define TURN       16u  /* fragments between two looks at the clock */

uint64_t compact_clock(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct version { uint64_t unit, seq, older; bool gone; };

/* A key's versions, the newest first, as far as someone needs them. */
struct chain {
	struct version kept[KEPT_MAX];
	unsigned n;
	unsigned steps;
	bool here; /* one of those passed lies in the extent being emptied */
};

enum done { DONE, LATER, DAMAGED, FAILED };

static struct extent *find_extent(const struct store *st, uint32_t block)
{
	for (size_t i = 0; i < st->nextents; i++)
		if (st->extents[i].block == block)
			return st->extents + i;
	return NULL;
}

static bool in_victim(const struct store *st, uint64_t unit)
{
	return st->log[unit / BLOCK_UNITS].first == st->compact.block;
}

/* ---- one key ---- */

enum why { NEWEST, PINNED, IN_USE };

/* Copies one version to the log's end, its link going to `older`. */
static enum done copy(struct store *st, const struct probe *p, const struct raw *r, uint64_t older, enum why why,
                      uint64_t *to)
{
	struct laid at;
	struct change c = { (enum frag_kind)r->kind, r->f.seq, r->f.inst, (uint16_t)(r->f.flags | (r->gone ? FRAG_GONE : 0)),
		            r->f.cut, r->f.owner, r->keylen, r->f.body, r->f.len, false, r->packed };
	if (log_append(st, &c, older, &at) != 0 || log_settle(st) != 0)
		return FAILED;
	*to = at.unit;
	st->compact.moved += at.units;
	if (why == NEWEST) {
		struct pending *w = store_pending(st, p->hash);
		if (w)
			w->unit = *to;
		else if (store_pending_add(st, p->hash, *to, r->unit) != 0)
			return FAILED;
		if (!r->gone) {
			log_live(st, r->unit, -(int64_t)r->units);
			log_live(st, *to, (int64_t)at.units);
		}
	} else if (why == PINNED) {
		st->log[st->log[*to / BLOCK_UNITS].first].held += (uint32_t)at.units;
		st->held_units += at.units;
	} else {
		log_replace(st, *to, at.units);
	}
	return DONE;
}

/* The same of a version that has to be read first. */
static enum done copy_from(struct store *st, const struct probe *p, uint64_t from, uint64_t older, enum why why,
                           uint64_t *to)
{
	struct raw r;
	size_t mark = st->scratch.used;
	if (frag_open(&st->map, st->root, from, &st->scratch, &r) != STORE_FOUND)
		return DAMAGED;
	enum done d = copy(st, p, &r, older, why, to);
	st->scratch.used = mark;
	return d;
}

/* Nobody looks for this key any more. */
static enum done forget(struct store *st, const struct probe *p, uint64_t unit, const struct raw *r)
{
	if (segment_unset(st, p->hash, unit) != 0)
		return errno == EBADMSG ? DAMAGED : FAILED;
	if (r && !r->gone) {
		log_live(st, unit, -(int64_t)r->units);
		st->names -= r->kind == FRAG_NAME;
	}
	return DONE;
}

static enum done follow(struct store *st, const struct probe *p, const struct raw *head, struct chain *c)
{
	struct version v = { head->unit, head->f.seq, head->older, head->gone };
	c->kept[0] = v;
	c->n = 1;
	c->steps = 0;
	c->here = in_victim(st, v.unit);
	while (v.older && view_below(st, v.seq)) {
		struct raw r;
		size_t mark = st->scratch.used;
		if (frag_open(&st->map, st->root, v.older, &st->scratch, &r) != STORE_FOUND || r.f.seq >= v.seq ||
		    r.kind != p->kind || r.f.inst != p->inst || r.keylen != p->keylen ||
		    memcmp(r.f.owner, p->key, p->keylen) != 0)
			return DAMAGED;
		st->scratch.used = mark;
		c->steps++;
		c->here |= in_victim(st, r.unit);
		if (view_needs(st, r.f.seq, v.seq)) {
			if (c->n == KEPT_MAX)
				return LATER;
			c->kept[c->n++] = (struct version){ r.unit, r.f.seq, r.older, r.gone };
		}
		v = (struct version){ r.unit, r.f.seq, r.older, r.gone };
	}
	return DONE;
}

/* Copies of a chain's needed versions where they lie in the extent or link to
 * something that moves or is left out; the oldest first. */
static enum done relink(struct store *st, const struct probe *p, const struct chain *c)
{
	uint64_t below = 0, to;
	for (unsigned i = c->n; i-- > 0;) {
		const struct version *v = c->kept + i;
		/* a tombstone above nothing is as good as nothing */
		if (v->gone && below == 0) {
			if (i > 0)
				continue;
			if (!store_pending(st, p->hash))
				return forget(st, p, v->unit, NULL);
		}
		bool wrong = v->older != below && view_below(st, v->seq);
		if (!wrong && !in_victim(st, v->unit)) {
			below = v->unit;
			continue;
		}
		enum why why = i == 0 ? NEWEST : view_pinned(st, v->seq, v[-1].seq) ? PINNED : IN_USE;
		enum done d = copy_from(st, p, v->unit, below, why, &to);
		if (d != DONE)
			return d;
		below = to;
	}
	return DONE;
}

/* The key of a fragment in the extent: whatever of it is needed leaves. */
static enum done rescue(struct store *st, const struct probe *p)
{
	static struct chain c;
	struct raw head;
	size_t mark = st->scratch.used;
	enum store_found was = store_head(st, p, &st->scratch, &head);
	st->scratch.used = mark;
	if (was != STORE_FOUND)
		return was == STORE_ABSENT ? DONE : DAMAGED;
	enum done d = follow(st, p, &head, &c);
	if (d != DONE || (!c.here && c.steps < LONG_CHAIN))
		return d;
	return relink(st, p, &c);
}

/* ---- one extent ---- */

/* Some fragments in a row, all read before the first is dealt with: so the
 * index is in the cache when it is asked. */
struct found { struct raw r; struct probe p; };

/* The next of them.  False: damage. */
static bool look(struct store *st, uint64_t unit, struct found *f)
{
	if (frag_open(&st->map, st->root, unit, &st->scratch, &f->r) != STORE_FOUND)
		return false;
	if (f->r.kind == FRAG_COMMIT || f->r.kind == FRAG_NEXT)
		return true;
	probe_init(&st->map, &f->p, (enum frag_kind)f->r.kind, f->r.f.inst, f->r.f.owner, f->r.keylen, UINT64_MAX);
	segment_touch(st, f->p.hash);
	return true;
}

static enum done settle(struct store *st, const struct found *f)
{
	const struct raw *r = &f->r;
	uint64_t to;
	if (r->kind == FRAG_COMMIT || r->kind == FRAG_NEXT)
		return DONE;
	bool gone = inst_gone(st, r->f.inst);
	if (!gone && st->compact.sweep)
		return DONE;
	bool newest = segment_has(st, f->p.hash, r->unit) && !store_pending(st, f->p.hash);
	if (gone)
		return newest ? forget(st, &f->p, r->unit, r) : DONE;
	if (!newest || view_below(st, r->f.seq))
		return rescue(st, &f->p);
	return r->gone ? forget(st, &f->p, r->unit, NULL) : copy(st, &f->p, r, 0, NEWEST, &to);
}

static int leave(struct store *st)
{
	struct extent *e = find_extent(st, st->compact.block);
	struct logmeta *m = st->log + e->block;
	st->compact.emptied++;
	st->compact.drift += m->live;
	st->live_units -= m->live;
	st->held_units -= m->held < st->held_units ? m->held : st->held_units;
	st->replaced_units -= log_replaced(st, m);
	m->live = m->held = m->replaced = 0;
	for (uint32_t i = 0; i < e->nblocks; i++)
		if (space_retire(&st->ckpt_wait, e->block + i, 0) != 0)
			return -1;
	st->log_waiting += e->nblocks;
	st->log_blocks -= e->nblocks;
	memmove(e, e + 1, (size_t)(st->extents + st->nextents - (e + 1)) * sizeof *e);
	st->nextents--;
	st->compact.block = 0;
	return 0;
}

/* ---- choosing ---- */

/* What an extent has that is no garbage. */
static uint64_t kept_units(const struct store *st, const struct logmeta *m)
{
	return (uint64_t)m->live + m->held + log_replaced(st, m);
}

static uint64_t garbage(const struct store *st)
{
	const struct extent *last = st->extents + st->nextents - 1;
	uint64_t have = (st->log_blocks - last->nblocks) * BLOCK_UNITS;
	uint64_t full = st->live_units + st->held_units + st->replaced_units;
	uint64_t here = kept_units(st, st->log + last->block);
	full -= here < full ? here : full;
	return have > full ? have - full : 0;
}

/* How much garbage there is beyond what may be, in percent of what is live. */
static uint64_t excess(const struct store *st)
{
	uint64_t g = garbage(st), floor = (uint64_t)st->tune.floor * BLOCK_UNITS;
	uint64_t full = st->live_units + st->held_units, may = full * st->tune.start / 100;
	may = may > floor ? may : floor;
	return g > may ? (g - may) * 100 / (full + floor) + 1 : 0;
}

static void enter(struct store *st, const struct extent *e, bool sweep)
{
	st->compact.block = e->block;
	st->compact.sweep = sweep;
	st->compact.again = false;
	st->compact.unit = (uint64_t)e->block * BLOCK_UNITS;
	st->compact.end = e + 1 < st->extents + st->nextents ? e->end : st->at;
}

/* The extent that gives most room for the least copying. */
static bool choose_victim(struct store *st)
{
	const struct extent *best = NULL;
	uint64_t least = 90; /* percent: from there on it is not worth it */
	for (size_t i = 0; i + 1 < st->nextents; i++) {
		const struct extent *e = st->extents + i;
		const struct logmeta *m = st->log + e->block;
		uint64_t full = kept_units(st, m) * 100 / (e->nblocks * (uint64_t)BLOCK_UNITS);
		if (!e->bad && full < least) {
			least = full;
			best = e;
		}
	}
	if (best)
		enter(st, best, false);
	return best != NULL;
}

static bool choose(struct store *st)
{
	if (excess(st) && choose_victim(st))
		return true;
	for (size_t i = 0; st->insts.ready && i < st->nextents; i++)
		if (st->extents[i].suspect && !st->extents[i].bad) {
			enter(st, st->extents + i, true);
			return true;
		}
	return false;
}

/* ---- the work ---- */

/* Behind the last fragment. */
static int finish(struct store *st)
{
	if (!st->compact.sweep)
		return leave(st);
	find_extent(st, st->compact.block)->suspect = st->compact.again;
	st->compact.block = 0;
	return 0;
}

static void spoilt(struct store *st)
{
	find_extent(st, st->compact.block)->bad = true;
	st->compact.block = 0;
	atomic_fetch_add_explicit(st->map.damaged, 1, memory_order_relaxed);
}

/* Deals with those found.  Stops at one that can't be dealt with, or not now. */
static enum done settle_all(struct store *st, const struct found *f, unsigned n, uint64_t *cost)
{
	for (unsigned i = 0; i < n; i++) {
		enum done d = settle(st, f + i);
		if (d != DONE)
			return d;
		st->compact.unit += f[i].r.units;
		*cost += f[i].r.units / SCAN_COST + 1;
	}
	return DONE;
}

/* Some fragments.  *cost: in units; 0: nothing to do, or not now. */
static int turn(struct store *st, uint64_t *cost)
{
	static struct found f[TURN];
	uint64_t moved = st->compact.moved;
	size_t mark = st->scratch.used;
	unsigned n = 0;
	*cost = 0;
	if (!st->compact.block && !choose(st))
		return 0;
	bool sound = true;
	for (uint64_t unit = st->compact.unit; n < TURN && unit < st->compact.end; n++) {
		/* the longest fragments come alone: the scratch has room for a few */
		if (st->scratch.size - st->scratch.used < 4 * (size_t)FRAG_PLAIN_MAX)
			break;
		sound = look(st, unit, f + n);
		if (!sound)
			break;
		unit += f[n].r.units;
	}
	enum done d = settle_all(st, f, n, cost);
	st->scratch.used = mark;
	if (d == FAILED)
		return -1;
	*cost += st->compact.moved - moved;
	if (d == LATER) /* a reader sees the past: perhaps no more at the next tick */
		return 0;
	*cost += 1;
	if (d == DAMAGED || !sound)
		spoilt(st);
	else if (st->compact.unit >= st->compact.end)
		return finish(st);
	return 0;
}

/* Room for what a share may copy: a full disk must not fail the store here. */
static bool room(struct store *st) { return space_reserve(st, EXTENT_BLOCKS + 8) == 0; }

int compact_pay(struct store *st, uint64_t units)
{
	uint64_t cost = 1, over = excess(st);
	if (over == 0) {
		st->compact.owed = 0;
		return 0;
	}
	/* the more garbage, the harder; balance is found at a few percent beyond */
	st->compact.owed += units * (over < 8 ? over : 8);
	if (st->compact.owed < st->tune.slice)
		return 0;
	if (log_settle(st) != 0)
		return -1;
	view_advance(st);
	while (st->compact.owed && cost && room(st)) {
		if (turn(st, &cost) != 0)
			return store_fail(st);
		st->compact.owed -= cost < st->compact.owed ? cost : st->compact.owed;
	}
	st->compact.owed = 0;
	return 0;
}

bool compact_much(const struct store *st) { return st->changes == 0 && excess(st) > st->tune.much; }

int compact_run(struct store *st, uint64_t until_ns, bool *more)
{
	uint64_t cost = 1;
	*more = st->compact.block || excess(st) || !st->insts.ready;
	while (cost && compact_clock() < until_ns && room(st))
		if (turn(st, &cost) != 0)
			return -1;
	*more = *more && cost;
	return 0;
}
