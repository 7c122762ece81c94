/* check.c - everything in a store is looked at, nothing is changed.
 *
 *   log       every extent from its first fragment on: tags, commits, their chain
 *   index     every segment's MAC; every slot: a fragment that is whole, of a name
 *             that belongs into this very bucket; the versions behind it
 *   catalog   every zone in order, with its apex; their number
 *   trees     every key in order; as many as there are names in the chain
 *
 * What lies in the log and no slot leads to (old versions, what a crash left
 * half written) can't harm; a gap there with whole fragments behind it is said
 * all the same, as it tells of a bad disk.
 * Threat: the disk.  Where a page can't be read, a guard leads on to the next. */
#include "store/writer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SAID_MAX 20 /* faults of one kind that are said one by one */

enum fault_kind { FAULT_FILE, FAULT_LOG, FAULT_SEGMENT, FAULT_SLOT, FAULT_VERSION, FAULT_ZONE, FAULT_TREE, FAULT_COUNT, FAULTS };
static const char *const plural[] = { "faults of the file", "faults of the log", "damaged segments", "damaged names in the index",
	"damaged older versions", "faults of zones", "faults of ordered trees", "wrong counts" };

/* What the slots of an instance amount to. */
struct tally { uint32_t inst; uint64_t names, nsec, nsec3; };
struct root { uint32_t inst, chain; };

struct check {
	struct store *st;
	const struct store_check_calls *calls;
	void *owner;
	struct store_report *out;
	uint64_t faults[FAULTS];
	struct tally *tally;   /* by instance, a hash table */
	size_t ntally, room;   /* room: a power of two */
	struct root *roots;    /* of trees */
	size_t nroots, roots_room;
	struct scratch scratch;
	uint8_t last_commit[TAG_LONG];
	bool have_commit;
	bool no_memory;
};

__attribute__((format(printf, 3, 4))) static void fault(struct check *c, enum fault_kind kind, const char *fmt, ...)
{
	char text[1400];
	va_list ap;
	if (c->faults[kind]++ >= SAID_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	c->calls->fault(c->owner, text);
}

static void progress(struct check *c, const char *doing, uint64_t done, uint64_t all)
{
	c->calls->progress(c->owner, doing, done, all);
}

/* ---- reading, guarded ---- */

static enum store_found open_at(struct check *c, uint64_t unit, struct raw *r)
{
	struct store_guard g;
	enum store_found f = STORE_DAMAGED;
	c->scratch.used = 0;
	store_guard_enter(&c->st->map, &g);
	if (sigsetjmp(g.to, 0) == 0)
		f = frag_open(&c->st->map, c->st->root, unit, &c->scratch, r);
	else
		f = STORE_DAMAGED;
	store_guard_leave(&g);
	return f == STORE_FOUND && !frag_unpack_body(&c->scratch, r) ? STORE_DAMAGED : f;
}

/* The four clear octets of a fragment; false: they can't be read or make none. */
static bool head_at(struct check *c, uint64_t unit, uint8_t *kind, uint64_t *units)
{
	struct store_guard g;
	bool good = false;
	store_guard_enter(&c->st->map, &g);
	if (sigsetjmp(g.to, 0) == 0) {
		const uint8_t *p = c->st->base + unit * UNIT;
		*kind = p[0];
		*units = frag_units(p[0], get_u24(p + 1));
		good = p[0] >= FRAG_NAME && p[0] <= FRAG_NEXT;
	} else {
		good = false;
	}
	store_guard_leave(&g);
	return good;
}

static bool segment_sound(struct check *c, uint32_t block)
{
	struct store_guard g;
	bool good;
	store_guard_enter(&c->st->map, &g);
	if (sigsetjmp(g.to, 0) == 0)
		good = segment_verify(&c->st->map, c->st->root, block);
	else
		good = false;
	store_guard_leave(&g);
	return good;
}

/* ---- what was counted ---- */

static struct tally *tally_find(struct tally *t, size_t room, uint32_t inst)
{
	size_t at = inst * 0x9e3779b1u;
	while (t[at & (room - 1)].inst != inst && t[at & (room - 1)].inst != UINT32_MAX)
		at++;
	return &t[at & (room - 1)];
}

static bool tally_grow(struct check *c)
{
	size_t room = c->room ? c->room * 2 : 1024;
	struct tally *t = malloc(room * sizeof *t);
	if (!t)
		return false;
	for (size_t i = 0; i < room; i++)
		t[i] = (struct tally){ .inst = UINT32_MAX };
	for (size_t i = 0; i < c->room; i++)
		if (c->tally[i].inst != UINT32_MAX)
			*tally_find(t, room, c->tally[i].inst) = c->tally[i];
	free(c->tally);
	c->tally = t;
	c->room = room;
	return true;
}

static struct tally *tally_of(struct check *c, uint32_t inst)
{
	if (c->ntally * 2 >= c->room && !tally_grow(c)) {
		c->no_memory = true;
		return NULL;
	}
	struct tally *t = tally_find(c->tally, c->room, inst);
	if (t->inst == UINT32_MAX) {
		t->inst = inst;
		c->ntally++;
	}
	return t;
}

static void add_root(struct check *c, uint32_t inst, uint32_t chain)
{
	if (c->nroots == c->roots_room) {
		size_t room = c->roots_room ? c->roots_room * 2 : 256;
		struct root *r = realloc(c->roots, room * sizeof *r);
		if (!r) {
			c->no_memory = true;
			return;
		}
		c->roots = r;
		c->roots_room = room;
	}
	c->roots[c->nroots++] = (struct root){ inst, chain };
}

/* A live fragment that the index leads to. */
static void count_live(struct check *c, const struct raw *r)
{
	struct tally *t = tally_of(c, r->f.inst);
	if (!t)
		return;
	if (r->kind == FRAG_NAME) {
		t->names++;
		t->nsec += (r->f.flags & NODE_NSEC) != 0;
		c->out->names++;
	} else if (r->kind == FRAG_NSEC3) {
		t->nsec3++;
	} else if (r->kind == FRAG_TREE && r->keylen == 9 && get_u40(r->f.owner + 4) == 0) {
		add_root(c, r->f.inst, get_u32(r->f.owner));
	}
}

/* ---- the log ---- */

static uint64_t octet(uint64_t unit) { return unit * UNIT; }

static void check_commit(struct check *c, const struct raw *r)
{
	c->out->commits++;
	if (r->f.len != COMMIT_LEN) {
		fault(c, FAULT_LOG, "log, octet %llu: a commit of a wrong length", (unsigned long long)octet(r->unit));
		return;
	}
	if (c->have_commit && !crypto_equal(r->f.body + 8, c->last_commit, TAG_LONG))
		fault(c, FAULT_LOG, "log, octet %llu: a commit that does not follow the one before it", (unsigned long long)octet(r->unit));
	/* its tag follows what it seals */
	const uint8_t *p = c->st->base + r->unit * UNIT;
	memcpy(c->last_commit, p + FRAG_CLEAR + get_u24(p + 1), TAG_LONG);
	c->have_commit = true;
}

/* The next whole fragment behind a gap, or end. */
static uint64_t behind_gap(struct check *c, uint64_t unit, uint64_t end)
{
	struct raw r;
	uint8_t kind;
	uint64_t units;
	for (; unit < end; unit++)
		if (head_at(c, unit, &kind, &units) && unit + units <= end && open_at(c, unit, &r) == STORE_FOUND)
			return unit;
	return end;
}

static void check_extent(struct check *c, const struct extent *e)
{
	uint64_t unit = (uint64_t)e->block * BLOCK_UNITS, end = unit + (uint64_t)e->nblocks * BLOCK_UNITS, units;
	struct raw r;
	uint8_t kind;
	c->have_commit = false; /* extents go free one by one: the chain is looked at within each */
	while (unit < end) {
		if (head_at(c, unit, &kind, &units) && unit + units <= end && open_at(c, unit, &r) == STORE_FOUND) {
			c->out->fragments++;
			if (r.kind == FRAG_COMMIT)
				check_commit(c, &r);
			unit += units;
			if (r.kind == FRAG_NEXT)
				return;
			continue;
		}
		uint64_t next = behind_gap(c, unit + 1, end);
		if (next == end)
			return; /* unused, or what a crash left; what counts of it, the index tells */
		fault(c, FAULT_LOG, "log, octets %llu to %llu: damaged", (unsigned long long)octet(unit), (unsigned long long)octet(next) - 1);
		c->have_commit = false;
		unit = next;
	}
}

static void check_log(struct check *c)
{
	struct store *st = c->st;
	for (size_t i = 0; i < st->nextents; i++) {
		progress(c, "log", i, st->nextents);
		if (!st->map.salt[st->extents[i].salt].frag)
			fault(c, FAULT_LOG, "log, extent at octet %llu: its salt is missing", (unsigned long long)st->extents[i].block * BLOCK);
		else
			check_extent(c, st->extents + i);
	}
	c->out->extents = st->nextents;
}

/* ---- the index ---- */

/* Where in its segment an owner's slot may stand. */
static bool in_place(const struct place *p, uint32_t bucket, uint32_t overflow_home, bool displaced)
{
	if (bucket == BUCKETS)
		return overflow_home == p->home;
	return displaced ? bucket == p->other : bucket == p->home;
}

/* Has the version that the fragment at `from` links to gone with its extent?  None
 * that is needed does (compact.c), and what lies there now is newer. */
static bool has_gone(const struct check *c, uint64_t from, uint64_t to)
{
	const _Atomic uint64_t *info = root_info(c->st->root);
	if (to / BLOCK_UNITS >= atomic_load(&c->st->root->blocks))
		return false;
	uint64_t here = atomic_load(info + to / BLOCK_UNITS);
	return info_use(here) != USE_LOG || info_serial(here) > info_serial(atomic_load(info + from / BLOCK_UNITS));
}

static void check_older(struct check *c, const struct raw *newest)
{
	struct raw r = *newest;
	uint8_t key[FRAG_KEY_MAX];
	uint64_t seq = newest->f.seq, first = newest->unit;
	memcpy(key, newest->f.owner, newest->keylen);
	while (r.older && !has_gone(c, r.unit, r.older)) {
		uint64_t unit = r.older;
		c->out->older++;
		if (open_at(c, unit, &r) != STORE_FOUND || r.f.seq > seq || r.f.inst != newest->f.inst || r.kind != newest->kind ||
		    r.keylen != newest->keylen || memcmp(r.f.owner, key, r.keylen) != 0) {
			fault(c, FAULT_VERSION, "log, octet %llu: an older version of the name at octet %llu is damaged (only who reads at an older sequence needs it)",
			      (unsigned long long)octet(unit), (unsigned long long)octet(first));
			return;
		}
		if (r.f.seq == seq && r.older)
			return; /* can't be from us; and no loop */
		seq = r.f.seq;
	}
}

static void check_slot(struct check *c, uint32_t index, uint32_t span, uint32_t bucket, uint32_t home, uint64_t v)
{
	struct probe p;
	struct raw r;
	c->out->slots++;
	if (open_at(c, slot_unit(v), &r) != STORE_FOUND) {
		fault(c, FAULT_SLOT, "log, octet %llu: the fragment of a name is damaged", (unsigned long long)octet(slot_unit(v)));
		return;
	}
	probe_init(&c->st->map, &p, (enum frag_kind)r.kind, r.f.inst, r.f.owner, r.keylen, UINT64_MAX);
	struct place at = place_of(p.hash[0]);
	if (at.tag != slot_tag(v) || dir_index(&at) - index >= span || !in_place(&at, bucket, home, slot_displaced(v))) {
		fault(c, FAULT_SLOT, "log, octet %llu: a name that its slot in the index does not fit", (unsigned long long)octet(r.unit));
		return;
	}
	if (!r.gone)
		count_live(c, &r);
	if (r.older)
		check_older(c, &r);
}

static void check_segment(struct check *c, uint32_t index, uint32_t block, uint32_t span)
{
	struct store_guard g;
	const uint64_t *seg = (const uint64_t *)(const void *)(c->st->base + (uint64_t)block * BLOCK);
	if (!segment_sound(c, block)) {
		fault(c, FAULT_SEGMENT, "index, segment at octet %llu: damaged; one of %u of all names can't be looked up",
		      (unsigned long long)block * BLOCK, DIR_SIZE / span);
		return;
	}
	uint64_t *copy = malloc(BLOCK);
	if (!copy) {
		c->no_memory = true;
		return;
	}
	store_guard_enter(&c->st->map, &g);
	if (sigsetjmp(g.to, 0) == 0)
		memcpy(copy, seg, BLOCK);
	else
		memset(copy, 0, BLOCK);
	store_guard_leave(&g);
	for (uint32_t b = 0; b < BUCKETS; b++)
		for (unsigned i = 0; i < SLOTS; i++) {
			uint64_t v = slot_load(copy + (size_t)b * SLOTS + i);
			if (slot_unit(v))
				check_slot(c, index, span, b, 0, v);
		}
	const uint64_t *o = copy + (size_t)BUCKETS * SLOTS;
	for (unsigned i = 0; i < OVERFLOWS; i++, o += 2)
		if (slot_unit(slot_load(o)))
			check_slot(c, index, span, BUCKETS, (uint32_t)slot_load(o + 1), slot_load(o));
	free(copy);
}

static void check_index(struct check *c)
{
	struct store *st = c->st;
	for (uint32_t i = 0; i < DIR_SIZE && !c->no_memory;) {
		uint32_t block = atomic_load(&st->root->dir[i]), span = 1u << (DIR_BITS - st->seg[block].depth);
		progress(c, "index", i, DIR_SIZE);
		check_segment(c, i, block, span);
		c->out->segments++;
		i += span;
	}
}

/* ---- catalog and trees ---- */

static enum store_found guarded_run(struct check *c, const struct root *t, const uint8_t *key, size_t n, struct wr *run)
{
	struct store_guard g;
	enum store_found r;
	c->scratch.used = 0;
	store_guard_enter(&c->st->map, &g);
	if (sigsetjmp(g.to, 0) == 0)
		r = tree_run(&c->st->map, t->inst, t->chain, UINT64_MAX, key, n, &c->scratch, run);
	else
		r = STORE_DAMAGED;
	store_guard_leave(&g);
	return r;
}

/* Walks a tree; false: it is damaged.  *keys: how many. */
static bool walk_tree(struct check *c, const struct root *t, uint64_t *keys)
{
	uint8_t last[TREE_KEY_MAX], mem[STORE_RUN_MAX];
	size_t n = 0;
	bool begun = false;
	enum store_found r;
	*keys = 0;
	for (;;) {
		struct wr w = wr_init(mem, sizeof mem);
		r = guarded_run(c, t, begun ? last : NULL, n, &w);
		if (r != STORE_FOUND)
			return r == STORE_ABSENT;
		for (struct rd run = rd_init(mem, wr_len(&w)); rd_left(&run); begun = true) {
			size_t len = rd_u16(&run);
			const uint8_t *key = rd_take(&run, len);
			if (!key || len > sizeof last)
				return false;
			int order = begun ? memcmp(last, key, n < len ? n : len) : -1;
			if (order > 0 || (order == 0 && n >= len))
				return false;
			memcpy(last, key, len);
			n = len;
			++*keys;
		}
	}
}

static void zone_fault(struct check *c, const struct store_zone *z, const char *what)
{
	char text[NAME_TEXT_MAX];
	fault(c, FAULT_ZONE, "zone %s: %s", name_text(z->name, text), what);
}

static void tree_fault(struct check *c, const struct store_zone *z, const char *tree, uint64_t have, uint64_t want)
{
	char text[NAME_TEXT_MAX];
	if (have != want)
		fault(c, FAULT_TREE, "zone %s: its %s has %llu entries for %llu names", name_text(z->name, text), tree,
		      (unsigned long long)have, (unsigned long long)want);
}

static int by_inst(const void *a, const void *b)
{
	const struct root *x = a, *y = b;
	return x->inst != y->inst ? (x->inst > y->inst) - (x->inst < y->inst) : (x->chain > y->chain) - (x->chain < y->chain);
}

static void check_trees(struct check *c, const struct store_zone *z)
{
	size_t low = 0, high = c->nroots;
	const struct tally *t = tally_of(c, z->inst);
	uint64_t n, nsec = 0, nsec3 = 0, names = 0;
	bool sound = true;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (c->roots[mid].inst < z->inst)
			low = mid + 1;
		else
			high = mid;
	}
	for (; t && low < c->nroots && c->roots[low].inst == z->inst; low++) {
		const struct root *r = c->roots + low;
		c->out->trees++;
		if (!walk_tree(c, r, &n)) {
			zone_fault(c, z, r->chain == CHAIN_NAMES ? "the list of its names is damaged or out of order" : "its chain of denial is damaged or out of order");
			sound = false;
		}
		c->out->keys += n;
		*(r->chain == CHAIN_NSEC ? &nsec : r->chain == CHAIN_NAMES ? &names : &nsec3) += n;
	}
	if (!t || !sound || c->faults[FAULT_SLOT] || c->faults[FAULT_SEGMENT])
		return; /* what is damaged would not be counted right */
	tree_fault(c, z, "NSEC chain", nsec, t->nsec);
	tree_fault(c, z, "NSEC3 chain", nsec3, t->nsec3);
	if (c->st->ordered)
		tree_fault(c, z, "list of names", names, t->names + t->nsec3);
}

static void check_zone(struct check *c, const struct store_zone *z)
{
	struct frag f;
	c->scratch.used = 0;
	if (z->inst == 0 || z->inst >= c->st->next_inst)
		zone_fault(c, z, "its instance was never given");
	else if (store_newest(c->st, FRAG_NAME, z->inst, z->name, &c->scratch, &f) != STORE_FOUND)
		zone_fault(c, z, "its apex is missing or damaged");
	check_trees(c, z);
}

static void check_catalog(struct check *c)
{
	struct store_zone z;
	if (c->nroots)
		qsort(c->roots, c->nroots, sizeof *c->roots, by_inst);
	enum store_found r = store_zone_next(c->st, NULL, &z);
	for (; r == STORE_FOUND && !c->no_memory; r = store_zone_next(c->st, z.name, &z)) {
		progress(c, "zones", c->out->zones, 0);
		c->out->zones++;
		check_zone(c, &z);
	}
	if (r == STORE_DAMAGED)
		fault(c, FAULT_ZONE, "the catalog of zones is damaged; %llu zones can be read", (unsigned long long)c->out->zones);
	const struct tally *catalog = tally_of(c, 0);
	uint64_t keys;
	if (catalog && !walk_tree(c, &(struct root){ 0, CHAIN_CATALOG }, &keys))
		fault(c, FAULT_ZONE, "the list of zones is damaged or out of order");
}

/* ---- all ---- */

static void check_counts(struct check *c)
{
	if (c->faults[FAULT_SLOT] || c->faults[FAULT_SEGMENT])
		return;
	if (c->out->names != c->st->names)
		fault(c, FAULT_COUNT, "%llu names are in the index, the checkpoint counts %llu", (unsigned long long)c->out->names,
		      (unsigned long long)c->st->names);
}

static bool mark_sound(struct check *c, unsigned which)
{
	struct store_guard g;
	bool good;
	store_guard_enter(&c->st->map, &g);
	if (sigsetjmp(g.to, 0) == 0)
		good = log_reached_sound(c->st, which);
	else
		good = false;
	store_guard_leave(&g);
	return good;
}

static void check_file(struct check *c)
{
	if (c->st->older_lost)
		fault(c, FAULT_FILE, "the older of the two checkpoints can't be read (torn by a crash, or changed); the next one replaces it");
	for (unsigned i = 0; i < 2; i++)
		if (!mark_sound(c, i))
			fault(c, FAULT_FILE, "octet %u: the mark of how far the log has come is damaged", REACHED_AT + i * SUPER_SIZE);
}

static int64_t sum_up(struct check *c)
{
	char text[200];
	int64_t all = 0;
	for (unsigned i = 0; i < FAULTS; i++) {
		all += (int64_t)c->faults[i];
		if (c->faults[i] <= SAID_MAX)
			continue;
		snprintf(text, sizeof text, "... and %llu more %s", (unsigned long long)c->faults[i] - SAID_MAX, plural[i]);
		c->calls->fault(c->owner, text);
	}
	return all;
}

int64_t store_check(struct store *st, const struct store_check_calls *calls, void *owner, struct store_report *out)
{
	struct check c = { .st = st, .calls = calls, .owner = owner, .out = out };
	*out = (struct store_report){ .seq = st->seq };
	if (scratch_new(&c.scratch, 16u << 20) != 0)
		return -1;
	check_file(&c);
	check_log(&c);
	check_index(&c);
	check_catalog(&c);
	check_counts(&c);
	int64_t r = c.no_memory ? -1 : sum_up(&c);
	scratch_free(&c.scratch);
	free(c.tally);
	free(c.roots);
	if (r < 0)
		errno = ENOMEM;
	return r;
}
