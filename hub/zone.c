/* zone.c - one zone, sorted and checked.  Contract in zone.h.
 *
 * States: adding (zone_add), then finished; cursors point into the arena, so it
 * moves only while adding.
 *
 * A zone that would take more memory than it may (zone_bound) is spilled: each
 * time the arena is full its records are sorted and go to a run on the disk.
 * From then on the arena is a *window*: the runs are merged into it, piece by
 * piece, in order, as often as the zone is walked.  What is asked of a name may
 * depend on what comes behind it ("*.name"), so a walk leaves the end of a window
 * for the next one (`safe`).  A helper sorts one run while the next is read, and
 * merges the next piece while this one is walked; what it works on is the *twin*,
 * a zone with nothing but records. */
#include "hub/zone_internal.h"
#include "hub/spill.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "crypto.h"

#define ARENA_MIN (64u << 10)
#define REC_COST  (sizeof(uint64_t) + sizeof(struct item) * 3 / 2) /* beside the arena, while sorting */
#define IN_ORDER_FROM 20000u /* records: fewer stay in the processor's caches anyway */

/* What sorting needs of a record at hand: the first octets of its owner's order
 * (as name_key() has it, the origin left off). */
struct item { uint64_t key, off; };

/* A run's next record, in the run's own memory. */
struct source { uint64_t key; const uint8_t *rec; };

/* ---- adding ---- */

/* Room for `need` more octets in a mapping of *size, `used` of them taken. */
static void *grow(void *map, size_t *size, size_t used, size_t need)
{
	size_t want = *size ? *size : ARENA_MIN;
	while (want - used < need)
		want *= 2;
	if (want == *size)
		return map;
	void *to = *size ? mremap(map, *size, want, MREMAP_MAYMOVE)
	                 : mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED)
		return NULL;
	*size = want;
	return to;
}

bool zone_reserve(struct zone *z, size_t octets, size_t records)
{
	void *p;
	if (z->size - z->used < octets) {
		p = grow(z->arena, &z->size, z->used, octets);
		if (!p)
			return false;
		z->arena = p;
	}
	if (z->cap - z->n < records) {
		size_t size = z->cap * sizeof *z->recs;
		p = grow(z->recs, &size, z->n * sizeof *z->recs, records * sizeof *z->recs);
		if (!p)
			return false;
		z->recs = p;
		z->cap = size / sizeof *z->recs;
	}
	return true;
}

struct zone *zone_new(const uint8_t *origin)
{
	struct zone *z = calloc(1, sizeof *z);
	if (!z)
		return NULL;
	z->origin_len = name_lower(z->origin, origin);
	z->origin_labels = name_labels(origin);
	return z;
}

void zone_drop_arena(struct zone *z)
{
	if (z->size)
		munmap(z->arena, z->size);
	if (z->cap)
		munmap(z->recs, z->cap * sizeof *z->recs);
	z->n = z->used = z->safe = z->size = z->cap = 0;
}

void zone_free(struct zone *z)
{
	if (!z)
		return;
	helper_end(&z->helper);
	zone_drop_arena(z);
	if (z->twin)
		zone_drop_arena(z->twin);
	free(z->twin);
	for (unsigned i = 0; i < z->nfiles; i++)
		free(z->files[i]);
	spill_free(z->spill);
	free(z->sources);
	free(z->heap);
	free(z);
}

void zone_bound(struct zone *z, size_t memory, const char *dir)
{
	z->memory = memory;
	z->window = memory / 4 < WINDOW ? memory / 4 + 1 : WINDOW;
	z->dir = dir;
}

/* The number of a file's name; FILES_MAX when it has none, or there are too many. */
static unsigned file_number(struct zone *z, const char *file)
{
	if (!file)
		return FILES_MAX;
	for (unsigned i = z->nfiles; i-- > 0;)
		if (!strcmp(z->files[i], file))
			return i;
	if (z->nfiles == FILES_MAX || !(z->files[z->nfiles] = strdup(file)))
		return FILES_MAX;
	return z->nfiles++;
}

bool zone_append(struct zone *z, const uint8_t *owner, size_t len, bool same, const struct master_rr *rr, unsigned file)
{
	if (!zone_reserve(z, len + REC_HEAD + rr->len, 1))
		return false;
	/* back is 32 bits: after 4 GiB of one owner it is written again */
	if (!same || z->used - z->owner_off > UINT32_MAX) {
		z->owner_off = z->used;
		z->owner_len = len;
		memcpy(z->arena + z->used, owner, len);
		z->used += len;
	}
	uint8_t *r = z->arena + z->used;
	put_u16(r, rr->type);
	put_u32(r + 2, rr->ttl);
	put_u16(r + 6, rr->len);
	put_u32(r + 8, (uint32_t)(z->used - z->owner_off));
	put_u32(r + 12, rr->line);
	r[16] = (uint8_t)file;
	memcpy(r + REC_HEAD, rr->rdata, rr->len);
	z->recs[z->n++] = z->used;
	z->used += REC_HEAD + rr->len;
	return true;
}

const char *zone_add(struct zone *z, const struct master_rr *rr, bool check)
{
	uint8_t owner[NAME_MAX_LEN] RAW;
	size_t len = name_lower(owner, rr->owner);
	const char *fault = check ? rdata_fault(rr->type, rr->rdata, rr->len) : NULL;
	if (fault)
		return fault;
	bool same = same_as_last(z, owner, len);
	if (!same && !below(owner, len, z->origin, z->origin_len))
		return "the owner is outside the zone";
	if (rr->type == T_SOA && len != z->origin_len)
		return "an SOA elsewhere than at the apex";
	if (!rdata_storable(rr->type))
		return "no zone can hold records of this type";
	/* half of it is the twin's */
	if (z->memory && z->n && z->used + rr->len + z->n * REC_COST > z->memory / 2) {
		if (zone_spill_behind(z) != 0)
			return "no room on the hub's disk to sort a zone that is larger than import-memory";
		same = false;
	}
	z->records++;
	return zone_append(z, owner, len, same, rr, file_number(z, rr->file)) ? NULL : "out of memory";
}

/* ---- order ---- */

/* Rdata in canonical order (RFC 4034 section 6.3), names folded where 6.2 says. */
static int rdata_cmp(uint16_t type, const uint8_t *a, size_t an, const uint8_t *b, size_t bn)
{
	size_t af, at, bf, bt, n = an < bn ? an : bn;
	rdata_fold_span(type, a, an, &af, &at);
	if (at == af) {
		int d = memcmp(a, b, n);
		return d ? d : (an > bn) - (an < bn);
	}
	rdata_fold_span(type, b, bn, &bf, &bt);
	for (size_t i = 0; i < n; i++) {
		int x = i >= af && i < at ? name_fold(a[i]) : a[i];
		int y = i >= bf && i < bt ? name_fold(b[i]) : b[i];
		if (x != y)
			return x - y;
	}
	return (an > bn) - (an < bn);
}

int zone_rec_cmp(const uint8_t *a, const uint8_t *b)
{
	int d = rec_set(a) - rec_set(b);
	if (d == 0)
		d = rec_is_sig(a) - rec_is_sig(b);
	return d ? d : rdata_cmp(rec_type(a), rec_rdata(a), rec_len(a), rec_rdata(b), rec_len(b));
}

uint64_t zone_key_of(const struct zone *z, const uint8_t *owner)
{
	uint8_t key[8] = { 0 };
	size_t at = 0;
	for (unsigned left = name_labels(owner) - z->origin_labels; left-- > 0 && at < sizeof key;) {
		const uint8_t *l = name_skip(owner, left);
		for (unsigned i = 1; i <= *l && at < sizeof key; i++) {
			if (l[i] <= 1) {
				key[at++] = 1;
				if (at < sizeof key)
					key[at++] = l[i] + 1;
			} else {
				key[at++] = l[i];
			}
		}
		at++;
	}
	return get_u64(key);
}

int zone_rec_order(const uint8_t *ra, const uint8_t *rb)
{
	const uint8_t *oa = rec_owner(ra), *ob = rec_owner(rb);
	int d = same_owner(oa, ob) ? 0 : name_cmp(oa, ob);
	return d ? d : zone_rec_cmp(ra, rb);
}

static int item_cmp(const struct zone *z, const struct item *a, const struct item *b)
{
	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return zone_rec_order(z->arena + a->off, z->arena + b->off);
}

/* Merge sort: stable, and quick on what is almost in order; tmp holds n / 2. */
static void sort_items(const struct zone *z, struct item *a, size_t n, struct item *tmp)
{
	if (n <= 12) {
		for (size_t i = 1; i < n; i++) {
			struct item it = a[i];
			size_t j = i;
			for (; j && item_cmp(z, &a[j - 1], &it) > 0; j--)
				a[j] = a[j - 1];
			a[j] = it;
		}
		return;
	}
	size_t half = n / 2;
	sort_items(z, a, half, tmp);
	sort_items(z, a + half, n - half, tmp);
	if (item_cmp(z, &a[half - 1], &a[half]) <= 0)
		return;
	memcpy(tmp, a, half * sizeof *a);
	size_t l = 0, r = half, to = 0;
	while (l < half && r < n)
		a[to++] = item_cmp(z, &tmp[l], &a[r]) <= 0 ? tmp[l++] : a[r++];
	memcpy(a + to, tmp + l, (half - l) * sizeof *a);
}

static bool in_order(const struct zone *z)
{
	struct item last = { 0 };
	for (size_t i = 0; i < z->n; i++) {
		struct item it = { zone_key_of(z, owner_at(z, i)), z->recs[i] };
		if (i && item_cmp(z, &last, &it) > 0)
			return false;
		last = it;
	}
	return true;
}

int zone_sort(struct zone *z)
{
	if (in_order(z))
		return 0;
	size_t size = (z->n + z->n / 2 + 1) * sizeof(struct item);
	struct item *items = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (items == MAP_FAILED)
		return -1;
	for (size_t i = 0; i < z->n; i++)
		items[i] = (struct item){ zone_key_of(z, owner_at(z, i)), z->recs[i] };
	sort_items(z, items, z->n, items + z->n);
	for (size_t i = 0; i < z->n; i++)
		z->recs[i] = items[i].off;
	munmap(items, size);
	return 0;
}

void zone_lay_in_order(struct zone *z)
{
	size_t size = 0, used = 0, last = 0, last_len = 0;
	if (z->n < IN_ORDER_FROM || (z->memory && 2 * z->used + z->n * sizeof *z->recs > z->memory))
		return;
	uint8_t *to = grow(NULL, &size, 0, z->used);
	if (!to)
		return;
	for (size_t i = 0; i < z->n; i++) {
		const uint8_t *r = rec_at(z, i), *owner = rec_owner(r);
		size_t len = name_len(owner), n = REC_HEAD + (size_t)rec_len(r);
		fetch_ahead(z, i);
		/* an owner's name stands there once, as before: it can only get shorter */
		if (i == 0 || len != last_len || !same_short(owner, to + last, len) || used - last > UINT32_MAX) {
			last = used;
			last_len = len;
			copy_short(to + used, owner, len);
			used += len;
		}
		memcpy(to + used, r, n);
		put_u32(to + used + 8, (uint32_t)(used - last));
		z->recs[i] = used;
		used += n;
	}
	munmap(z->arena, z->size);
	z->arena = to;
	z->size = size;
	z->used = used;
}

/* ---- spilling ---- */

/* An item of a run is a record behind its owner's name. */
static int spill_run(struct zone *z)
{
	uint8_t head[NAME_MAX_LEN + REC_HEAD];
	if (zone_sort(z) != 0 || spill_begin(z->spill) != 0)
		return -1;
	for (size_t i = 0; i < z->n; i++) {
		const uint8_t *r = rec_at(z, i);
		size_t n = name_len(rec_owner(r));
		fetch_ahead(z, i);
		memcpy(head, rec_owner(r), n);
		memcpy(head + n, r, REC_HEAD);
		put_u32(head + n + 8, (uint32_t)n);
		if (spill_put(z->spill, head, n + REC_HEAD, rec_rdata(r), rec_len(r)) != 0)
			return -1;
	}
	z->n = z->used = 0;
	return spill_end(z->spill);
}

static void spill_work(void *p)
{
	struct zone *twin = p;
	errno = 0;
	twin->failed = spill_run(twin) != 0 ? errno ? errno : EIO : 0;
}

/* Waits for the helper.  -1: errno, its work has failed. */
static int twin_wait(struct zone *z)
{
	helper_wait(&z->helper);
	errno = z->twin->failed;
	return z->twin->failed ? -1 : 0;
}

static void swap_records(struct zone *a, struct zone *b)
{
	struct zone was = *a;
	a->arena = b->arena, a->used = b->used, a->size = b->size;
	a->recs = b->recs, a->n = b->n, a->cap = b->cap;
	b->arena = was.arena, b->used = was.used, b->size = was.size;
	b->recs = was.recs, b->n = was.n, b->cap = was.cap;
}

/* For the first run. */
static int spill_open(struct zone *z)
{
	z->spill = spill_new(z->dir);
	z->twin = z->spill ? zone_new(z->origin) : NULL;
	if (!z->twin)
		return -1;
	z->twin->spill = z->spill;
	helper_begin(&z->helper);
	return 0;
}

int zone_spill_behind(struct zone *z)
{
	if ((!z->twin && spill_open(z) != 0) || twin_wait(z) != 0)
		return -1;
	swap_records(z, z->twin);
	helper_give(&z->helper, spill_work, z->twin);
	return 0;
}

static bool before(const struct zone *z, unsigned a, unsigned b)
{
	const struct source *x = z->sources + a, *y = z->sources + b;
	if (x->key != y->key)
		return x->key < y->key;
	int d = zone_rec_order(x->rec, y->rec);
	return d ? d < 0 : a < b;
}

/* Lets the heap's entry i sink to its place. */
static void sink(struct zone *z, unsigned i)
{
	unsigned *h = z->heap, moving = h[i];
	for (unsigned kid; (kid = 2 * i + 1) < z->nheap; i = kid) {
		if (kid + 1 < z->nheap && before(z, h[kid + 1], h[kid]))
			kid++;
		if (!before(z, h[kid], moving))
			break;
		h[i] = h[kid];
	}
	h[i] = moving;
}

/* The run's next record becomes its source's: 1, 0 at its end, -1. */
static int advance(struct zone *z, unsigned run)
{
	const uint8_t *p;
	size_t n;
	int r = spill_next(z->spill, run, &p, &n);
	if (r == 1)
		z->sources[run] = (struct source){ zone_key_of(z, p), p + name_len(p) };
	return r;
}

/* The next records in order go to the twin. */
static int merge_some(struct zone *z)
{
	struct zone *t = z->twin;
	while (z->nheap && t->used < z->window) {
		unsigned run = z->heap[0];
		const uint8_t *r = z->sources[run].rec, *owner = rec_owner(r);
		size_t len = name_len(owner);
		struct master_rr rr = { .rdata = rec_rdata(r), .ttl = rec_ttl(r), .line = rec_line(r), .type = rec_type(r),
			                .len = rec_len(r) };
		if (!zone_append(t, owner, len, same_as_last(t, owner, len), &rr, r[16]))
			return -1;
		int got = advance(z, run);
		if (got < 0)
			return -1;
		if (got == 0)
			z->heap[0] = z->heap[--z->nheap];
		if (z->nheap)
			sink(z, 0);
	}
	return 0;
}

static void merge_work(void *p)
{
	struct zone *z = p;
	errno = 0;
	z->twin->failed = merge_some(z) != 0 ? errno ? errno : EIO : 0;
}

static void merge_start(struct zone *z)
{
	z->coming = z->nheap > 0;
	if (z->coming)
		helper_give(&z->helper, merge_work, z);
}

static int merge_begin(struct zone *z)
{
	helper_wait(&z->helper);
	unsigned runs = spill_runs(z->spill);
	if (!z->sources)
		z->sources = calloc(runs, sizeof *z->sources);
	if (!z->heap)
		z->heap = calloc(runs, sizeof *z->heap);
	if (!z->sources || !z->heap || spill_rewind(z->spill) != 0)
		return -1;
	z->n = z->used = z->safe = 0;
	z->twin->n = z->twin->used = 0;
	z->nheap = 0;
	for (unsigned i = 0; i < runs; i++) {
		int r = advance(z, i);
		if (r < 0)
			return -1;
		if (r > 0)
			z->heap[z->nheap++] = i;
	}
	for (unsigned i = z->nheap / 2; i-- > 0;)
		sink(z, i);
	merge_start(z);
	return 0;
}

/* All of the twin's records go behind ours. */
static int take_twin(struct zone *z)
{
	struct zone *t = z->twin;
	if (!zone_reserve(z, t->used, t->n))
		return -1;
	memcpy(z->arena + z->used, t->arena, t->used);
	for (size_t i = 0; i < t->n; i++)
		z->recs[z->n++] = z->used + t->recs[i];
	z->used += t->used;
	t->n = t->used = 0;
	return 0;
}

/* Records in order, until the window holds so many octets. */
static int merge_fill(struct zone *z, size_t window)
{
	while (z->coming && z->used < window) {
		if (twin_wait(z) != 0 || take_twin(z) != 0)
			return -1;
		merge_start(z);
	}
	return 0;
}

/* What was not walked yet moves to the front. */
static void keep_rest(struct zone *z)
{
	size_t start = z->safe < z->n ? (size_t)(owner_at(z, z->safe) - z->arena) : z->used;
	memmove(z->arena, z->arena + start, z->used - start);
	for (size_t i = z->safe; i < z->n; i++)
		z->recs[i - z->safe] = z->recs[i] - start;
	z->n -= z->safe;
	z->used -= start;
	z->safe = 0;
}

/* ---- finding ---- */

size_t zone_find_from(const struct zone *z, size_t from, const uint8_t *name)
{
	size_t step = 1, lo = from;
	while (lo + step < z->n && name_cmp(owner_at(z, lo + step), name) < 0) {
		lo += step;
		step *= 2;
	}
	size_t hi = step < z->n - lo ? lo + step : z->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (name_cmp(owner_at(z, mid), name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Does the owner whose first record is i have a record of this type? */
static bool owner_has(const struct zone *z, size_t i, uint16_t type)
{
	const uint8_t *owner = i < z->n ? owner_at(z, i) : NULL;
	for (; i < z->n && same_owner(owner_at(z, i), owner); i++)
		if (rec_type(rec_at(z, i)) == type)
			return true;
	return false;
}

static bool name_has(const struct zone *z, const uint8_t *lower, uint16_t type)
{
	size_t i = zone_find_from(z, 0, lower);
	return i < z->n && same_owner(owner_at(z, i), lower) && owner_has(z, i, type);
}

/* Does "*.name" exist, by itself or by what is below it?  at: no record before it
 * can be the one. */
static bool has_wildcard(const struct zone *z, size_t at, const uint8_t *name)
{
	uint8_t star[NAME_MAX_LEN + 2] RAW;
	size_t n = name_len(name);
	if (at >= z->n || n + 2 > NAME_MAX_LEN)
		return false;
	const uint8_t *next = owner_at(z, at);
	if (!below(next, name_len(next), name, n))
		return false;
	name_wildcard(name, star);
	for (size_t i = zone_find_from(z, at, star); i < z->n; i++) {
		const uint8_t *owner = owner_at(z, i);
		if (!below(owner, name_len(owner), star, n + 2))
			return false;
		if (rec_set(rec_at(z, i)) != T_NSEC3)
			return true;
	}
	return false;
}

/* ---- walking ---- */

/* Which of an owner's records a node shows. */
enum view { SEE_ALL, SEE_CUT, SEE_GLUE, SEE_NSEC3 };

static bool visible(enum view v, const uint8_t *r)
{
	uint16_t set = rec_set(r);
	bool address = (set == T_A || set == T_AAAA) && !rec_is_sig(r);
	switch (v) {
	case SEE_ALL: return set != T_NSEC3;
	case SEE_CUT: return address || rec_type(r) == T_NS || set == T_DS || set == T_NSEC;
	case SEE_GLUE: return address;
	case SEE_NSEC3: return set == T_NSEC3;
	}
	return false;
}

static void write_set(struct wr *w, const struct zone *z, size_t from, size_t to)
{
	uint8_t *head = wr_take(w, SET_HEAD);
	uint16_t nrr = 0, nsig = 0;
	if (!head)
		return;
	for (size_t i = from; i < to; i++) {
		const uint8_t *r = rec_at(z, i);
		if (rec_is_sig(r))
			nsig++;
		else
			nrr++;
		wr_u16(w, rec_len(r));
		wr_bytes(w, rec_rdata(r), rec_len(r));
	}
	put_u16(head, rec_set(rec_at(z, from)));
	put_u32(head + 2, rec_ttl(rec_at(z, from)));
	put_u16(head + 6, nrr);
	head[8] = (uint8_t)nsig;
	head[9] = 0;
	put_u32(head + 10, (uint32_t)(w->p - head - SET_HEAD));
}

/* Returns the body's length, counts what the view leaves out. */
static size_t write_body(struct zone_cursor *c, enum view v, size_t from, size_t to)
{
	const struct zone *z = c->z;
	struct wr w = wr_init(c->body, c->room);
	if (c->bare && (v == SEE_ALL || v == SEE_NSEC3)) /* nor is anything left out */
		return 0;
	while (from < to) {
		uint16_t set = rec_set(rec_at(z, from));
		size_t end = from, first = 0, past = 0; /* a view shows one run of a set */
		for (; end < to && rec_set(rec_at(z, end)) == set; end++) {
			if (!visible(v, rec_at(z, end))) {
				if (v != SEE_ALL && set != T_NSEC3)
					count_some(rec_is_sig(rec_at(z, end)) ? &c->sigs : &c->occluded, rec_at(z, end), 1);
				continue;
			}
			if (!past)
				first = end;
			past = end + 1;
		}
		if (past && !c->bare)
			write_set(&w, z, first, past);
		from = end;
	}
	return wr_len(&w);
}

/* Labels that two lower-case names share, counted from the root. */
static unsigned labels_shared(const uint8_t *a, const uint8_t *b)
{
	unsigned la = name_labels(a), lb = name_labels(b), n = la < lb ? la : lb;
	a = name_skip(a, la - n);
	b = name_skip(b, lb - n);
	unsigned shared = n;
	for (unsigned left = n; left > 0; left--) {
		if (*a != *b || memcmp(a, b, *a + 1u) != 0)
			shared = left - 1;
		a += *a + 1;
		b += *b + 1;
	}
	return shared;
}

static bool node_ent(struct zone_cursor *c, const uint8_t *name, bool glue, struct zone_node *out)
{
	*out = (struct zone_node){ .owner = name, .body = c->body, .flags = NODE_ENT };
	if (glue) {
		out->flags |= NODE_GLUE;
		out->cut = c->cut_labels;
	} else if (has_wildcard(c->z, c->at, name)) {
		out->flags |= NODE_WILD;
	}
	c->last = name;
	return true;
}

/* The ordinary node of an owner that is not below a cut. */
static void node_plain(struct zone_cursor *c, const struct owner *o, struct zone_node *out)
{
	bool apex = name_len(o->name) == c->z->origin_len, cut = o->ns && !apex;
	out->flags = (uint16_t)((apex ? NODE_APEX : 0) | (cut ? NODE_CUT : 0) | (o->nsec ? NODE_NSEC : 0) |
	                        (o->dname && !cut ? NODE_DNAME : 0));
	if (cut || o->dname) {
		c->cut = o->name;
		c->cut_dname = !cut;
		c->cut_labels = out->cut = (uint8_t)name_labels(o->name);
	} else if (has_wildcard(c->z, o->to, o->name)) {
		out->flags |= NODE_WILD;
	}
	out->len = write_body(c, cut ? SEE_CUT : SEE_ALL, o->from, o->to);
}

/* The next owner's ordinary node, or an empty non-terminal above it; false: the
 * owner has none to show, and is passed over. */
static bool owner_node(struct zone_cursor *c, const struct owner *o, struct zone_node *out)
{
	if (c->cut && !below(o->name, name_len(o->name), c->cut, name_len(c->cut)))
		c->cut = NULL;
	bool glue = c->cut && !c->cut_dname;
	bool shows = o->ordinary && (!c->cut || (glue && o->address));
	if (shows && c->last) {
		unsigned above = labels_shared(c->last, o->name) + 1, mine = name_labels(o->name);
		if (above < mine)
			return node_ent(c, name_skip(o->name, mine - above), glue, out);
	}
	c->from = o->from;
	c->at = o->to;
	/* an NSEC3 below a cut is lost with the rest; below the apex's DNAME it is not */
	if (o->nsec3 && (!c->cut || (c->cut_dname && c->cut_labels == c->z->origin_labels))) {
		c->n3 = o->n3;
		c->n3_to = o->n3_to;
	}
	if (!shows) {
		if (o->ordinary || c->n3 == c->n3_to)
			count_some(&c->occluded, rec_at(c->z, o->from), o->to - o->from - (c->n3_to - c->n3));
		return false;
	}
	c->last = o->name;
	*out = (struct zone_node){ .owner = o->name, .body = c->body };
	if (glue) {
		out->flags = NODE_GLUE;
		out->cut = c->cut_labels;
		out->len = write_body(c, SEE_GLUE, o->from, o->to);
	} else {
		node_plain(c, o, out);
	}
	return true;
}

/* ---- checking ---- */

static const char *file_name(const struct zone *z, unsigned n) { return n < z->nfiles ? z->files[n] : NULL; }
static const char *rec_file(const struct zone *z, const uint8_t *r) { return file_name(z, r[16]); }

static const char *const kind_text[W_KINDS] = {
	[W_TTL] = "the TTLs of a set differ: the lowest is used",
	[W_GLUE] = "a name server inside the zone has no address",
	[W_ALIAS] = "a name server is an alias (CNAME)",
	[W_EXPIRED] = "a signature has expired",
	[W_ORPHAN] = "a signature without the set it covers",
	[W_OCCLUDED] = "records below a delegation or DNAME, or beside it, are not served",
	[W_DS] = "DS without a delegation",
	[W_SIGS] = "signatures of a delegation's NS, or of glue, are not served",
};

__attribute__((format(printf, 3, 4))) static void refuse(struct check *k, const uint8_t *rec, const char *fmt, ...)
{
	char text[NAME_TEXT_MAX + 128];
	va_list ap;
	k->refused = true;
	if (!k->report || k->errors++ >= MASTER_ERRORS)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	k->report->say(k->report->ctx, true, rec ? rec_file(k->z, rec) : NULL, rec ? rec_line(rec) : 0, text);
}

static void note(struct check *k, enum kind kind, const uint8_t *rec)
{
	count_some(&k->seen[kind], rec, 1);
}

static void tell_notes(struct check *k)
{
	char text[NAME_TEXT_MAX + 192], owner[NAME_TEXT_MAX];
	for (unsigned i = 0; i < W_KINDS; i++) {
		const struct zone_some *s = &k->seen[i];
		if (s->n == 0 || !k->report)
			continue;
		int len = snprintf(text, sizeof text, "%s: %s", name_text(s->owner, owner), kind_text[i]);
		if (s->n > 1)
			snprintf(text + len, sizeof text - (size_t)len, " (the first of %llu)",
			         (unsigned long long)s->n);
		k->report->say(k->report->ctx, false, file_name(k->z, s->file), s->line, text);
	}
	if (k->unlooked && k->report) {
		snprintf(text, sizeof text, "%s: larger than import-memory: %llu name servers were not looked up for addresses in it",
		         name_text(k->z->origin, owner), (unsigned long long)k->unlooked);
		k->report->say(k->report->ctx, false, NULL, 0, text);
	}
}

void zone_drop_duplicates(struct check *k)
{
	struct zone *z = k->z;
	size_t to = 0;
	for (size_t i = 0; i < z->n; i++) {
		fetch_ahead(z, i);
		uint8_t *r = z->arena + z->recs[i], *last = to ? z->arena + z->recs[to - 1] : NULL;
		if (!last || zone_rec_cmp(last, r) != 0 || !same_owner(rec_owner(last), rec_owner(r))) {
			z->recs[to++] = z->recs[i];
			continue;
		}
		if (rec_ttl(last) != rec_ttl(r) && !rec_is_sig(r))
			note(k, W_TTL, r);
		if (rec_ttl(r) < rec_ttl(last))
			put_u32(last + 2, rec_ttl(r));
	}
	z->n = to;
}

/* One set's records [from, to), signatures last; returns its octets in a body. */
static size_t check_set(struct check *k, size_t from, size_t to)
{
	struct zone *z = k->z;
	char owner[NAME_TEXT_MAX] RAW, buf[12];
	const uint8_t *first = rec_at(z, from);
	size_t nrr = 0, octets = SET_HEAD, message = 12 + name_len(rec_owner(first)) + 4;
	uint32_t ttl = rec_ttl(first);
	for (size_t i = from; i < to; i++) {
		const uint8_t *r = rec_at(z, i);
		octets += 2u + rec_len(r);
		if (rec_is_sig(r)) {
			if (rec_len(r) >= 12 && (int32_t)(get_u32(rec_rdata(r) + 8) - (uint32_t)k->now) < 0)
				note(k, W_EXPIRED, r);
			continue;
		}
		if (rec_ttl(r) != ttl)
			note(k, W_TTL, r);
		if (rec_ttl(r) < ttl)
			ttl = rec_ttl(r);
		message += 12u + rec_len(r);
		nrr++;
	}
	for (size_t i = from; i < from + nrr; i++)
		put_u32(z->arena + z->recs[i] + 2, ttl);
	if (nrr == 0)
		note(k, W_ORPHAN, first);
	if (message > 65535 || nrr > 65535)
		refuse(k, first, "%s %s: the set takes %zu octets, more than any message holds",
		       name_text(rec_owner(first), owner), rr_type_text(rec_set(first), buf), message);
	if (to - from - nrr > 255)
		refuse(k, first, "%s %s: over 255 signatures", name_text(rec_owner(first), owner),
		       rr_type_text(rec_set(first), buf));
	if (nrr > 1 && (rec_type(first) == T_CNAME || rec_type(first) == T_DNAME || rec_type(first) == T_SOA))
		refuse(k, rec_at(z, from + 1), "%s: several %s records", name_text(rec_owner(first), owner),
		       rr_type_text(rec_type(first), buf));
	return octets;
}

/* RFC 1034 section 3.6.2, RFC 2181 section 10.1, RFC 4035 section 2.5. */
static void check_alias(struct check *k, const struct owner *o)
{
	const uint8_t *cname = NULL, *other = NULL;
	char owner[NAME_TEXT_MAX] RAW, buf[12];
	for (size_t i = o->from; i < o->to; i++) {
		const uint8_t *r = rec_at(k->z, i);
		uint16_t t = rec_type(r);
		if (t == T_CNAME)
			cname = r;
		else if (t != T_RRSIG && t != T_NSEC && t != T_KEY && t != T_SIG && t != T_NXT && t != T_NSEC3)
			other = r;
	}
	if (cname && other)
		refuse(k, rec_line(other) > rec_line(cname) ? other : cname, "%s: CNAME beside other data (%s)",
		       name_text(o->name, owner), rr_type_text(rec_type(other), buf));
}

static void check_owner(struct check *k, const struct owner *o)
{
	struct zone *z = k->z;
	char owner[NAME_TEXT_MAX] RAW;
	size_t octets = 0;
	for (size_t i = o->from, end; i < o->to; i = end) {
		uint16_t set = rec_set(rec_at(z, i));
		for (end = i + 1; end < o->to && rec_set(rec_at(z, end)) == set;)
			end++;
		octets += check_set(k, i, end);
		if (set == T_DS && !o->ns)
			note(k, W_DS, rec_at(z, i));
	}
	if (octets > BODY_MAX)
		refuse(k, rec_at(z, o->from), "%s: its records take %zu octets, over %u", name_text(o->name, owner),
		       octets, BODY_MAX);
	if (octets > z->body_max)
		z->body_max = octets;
	check_alias(k, o);
}

void zone_check_owners(struct check *k)
{
	struct owner o;
	for (size_t i = 0; i < k->z->safe; i = o.to) {
		look_at_owner(k->z, i, &o);
		check_owner(k, &o);
	}
}

/* Apex: SOA and NS.  The SOA's place was checked when it was added. */
static void check_apex(struct check *k)
{
	struct zone *z = k->z;
	char owner[NAME_TEXT_MAX];
	name_text(z->origin, owner);
	const uint8_t *soa = NULL;
	bool ns = false;
	for (size_t i = 0; i < z->n && same_owner(owner_at(z, i), z->origin); i++) {
		const uint8_t *r = rec_at(z, i);
		if (rec_type(r) == T_SOA && !soa)
			soa = r;
		ns |= rec_type(r) == T_NS;
	}
	if (!soa)
		refuse(k, NULL, "%s: no SOA", owner);
	if (!ns)
		refuse(k, NULL, "%s: no NS at the apex", owner);
	if (soa) {
		z->serial = get_u32(rec_rdata(soa) + rec_len(soa) - 20);
		z->serial_line = rec_line(soa);
	}
}

/* The topmost cut at or above a name inside the zone; NULL: none. */
static const uint8_t *cut_above(const struct zone *z, const uint8_t *name)
{
	unsigned mine = name_labels(name);
	for (unsigned labels = z->origin_labels + 1; labels <= mine; labels++)
		if (name_has(z, name_skip(name, mine - labels), T_NS))
			return name_skip(name, mine - labels);
	return NULL;
}

/* Could a wildcard answer for a name inside the zone? */
static bool wild_above(const struct zone *z, const uint8_t *name)
{
	uint8_t star[NAME_MAX_LEN + 2] RAW;
	for (const uint8_t *p = name; name_labels(p) > z->origin_labels;) {
		p += *p + 1;
		name_wildcard(p, star);
		size_t i = zone_find_from(z, 0, star);
		if (i < z->n && same_owner(owner_at(z, i), star))
			return true;
	}
	return false;
}

/* A name server of the apex or of a cut: when inside the zone, it needs addresses
 * here, unless another delegation is answerable for them. */
static void check_server(struct check *k, const uint8_t *rec)
{
	const struct zone *z = k->z;
	uint8_t target[NAME_MAX_LEN] RAW;
	size_t n = name_lower(target, rec_rdata(rec));
	if (!below(target, n, z->origin, z->origin_len))
		return;
	size_t i = zone_find_from(z, 0, target);
	/* in a spilled zone only what is near is looked at; below the owner itself
	 * nearly all are */
	if (z->spill && (i == 0 || i == z->n || !below(target, n, rec_owner(rec), name_len(rec_owner(rec))))) {
		k->unlooked++;
		return;
	}
	if (i < z->n && same_owner(owner_at(z, i), target)) {
		if (owner_has(z, i, T_A) || owner_has(z, i, T_AAAA))
			return;
		if (owner_has(z, i, T_CNAME)) {
			note(k, W_ALIAS, rec);
			return;
		}
	}
	const uint8_t *cut = cut_above(z, target);
	if (cut ? same_owner(cut, rec_owner(rec)) : !wild_above(z, target))
		note(k, W_GLUE, rec);
}

/* ---- windows ---- */

/* How far may a window be walked?  Behind a name X whose "*.X" may still be to
 * come stands nothing but what is below X: so to the topmost X, if any, that
 * the last owner at hand is or is below. */
static size_t safe_end(const struct zone *z)
{
	if (!z->coming || z->n == 0)
		return z->n;
	const uint8_t *last = owner_at(z, z->n - 1), *x = last;
	for (unsigned left = name_labels(last) - z->origin_labels; left > 0; left--) {
		const uint8_t *label = name_skip(last, left - 1);
		if (label[1] < '*') {
			x = name_skip(last, left);
			break;
		}
	}
	return zone_find_from(z, 0, x);
}

int zone_window_next(struct check *k)
{
	struct zone *z = k->z;
	keep_rest(z);
	for (size_t window = z->window;; window *= 2) {
		if (merge_fill(z, window) != 0)
			return -1;
		zone_drop_duplicates(k);
		z->safe = safe_end(z);
		if (z->safe > 0 || !z->coming)
			break;
		if (window >= z->memory && window >= WINDOW) { /* more than fits between a name and its wildcard */
			errno = EFBIG;
			return -1;
		}
	}
	zone_check_owners(k);
	k->records += z->safe;
	return 0;
}

int zone_windows_begin(struct check *k)
{
	if (!k->z->spill)
		return 0;
	return merge_begin(k->z) != 0 ? -1 : zone_window_next(k);
}

int zone_spill_finish(struct check *k)
{
	struct zone *z = k->z;
	if (twin_wait(z) != 0 || (z->n && spill_run(z) != 0))
		return -1;
	zone_drop_arena(z);
	zone_drop_arena(z->twin);
	z->body_max = BODY_MAX;
	return zone_windows_begin(k);
}

/* ---- cursors ---- */

int zone_cursor_open(struct zone_cursor *c, struct zone *z)
{
	*c = (struct zone_cursor){ .z = z, .check = z->due ? &z->check : NULL, .room = z->body_max };
	c->body = malloc(c->room + 1);
	return c->body ? 0 : -1;
}

int zone_open(struct zone_cursor *c, struct zone *z)
{
	struct check silent = { .z = z }, *k = &z->check;
	if (z->due) {
		*k = (struct check){ .z = z, .report = k->report, .now = k->now };
		z->names = 0;
	}
	if (zone_windows_begin(z->due ? k : &silent) != 0)
		return -1;
	return zone_cursor_open(c, z);
}

void zone_close(struct zone_cursor *c)
{
	free(c->body);
	c->body = NULL;
}

/* The window's records go: what the cursor still needs of them becomes its own. */
static bool cursor_on(struct zone_cursor *c)
{
	struct check silent = { .z = c->z };
	if (c->last)
		c->last = memmove(c->names[0], c->last, name_len(c->last));
	if (c->cut)
		c->cut = memmove(c->names[1], c->cut, name_len(c->cut));
	c->bad = zone_window_next(c->check ? c->check : &silent) != 0;
	c->from = c->at = 0;
	return !c->bad;
}

static bool next_node(struct zone_cursor *c, struct zone_node *out)
{
	while (!c->bad) {
		if (c->n3 < c->n3_to) {
			*out = (struct zone_node){ .owner = owner_at(c->z, c->n3), .body = c->body,
				                   .flags = NODE_NSEC3 };
			out->len = write_body(c, SEE_NSEC3, c->n3, c->n3_to);
			c->n3 = c->n3_to = 0;
			return true;
		}
		if (c->at == c->z->safe) {
			if (!more_windows(c->z) || !cursor_on(c))
				return false;
			continue;
		}
		struct owner o;
		look_at_owner(c->z, c->at, &o);
		if (owner_node(c, &o, out))
			return true;
	}
	return false;
}

void zone_check_node(const struct zone_cursor *c, const struct zone_node *n)
{
	struct check *k = c->check;
	k->z->names++;
	if (!(n->flags & (NODE_APEX | NODE_CUT)))
		return;
	for (size_t i = c->from; i < c->at; i++)
		if (rec_type(rec_at(k->z, i)) == T_NS && same_owner(owner_at(k->z, i), n->owner))
			check_server(k, rec_at(k->z, i));
}

static void refuse_unread(struct check *k)
{
	refuse(k, NULL, "it can't be sorted and checked: %s",
	       errno == EFBIG ? "too many names between one and its wildcard; raise import-memory" : strerror(errno));
}

void zone_check_end(struct zone_cursor *c)
{
	struct check *k = c->check;
	struct zone *z = c->z;
	if (c->bad)
		refuse_unread(k);
	if (c->occluded.n)
		k->seen[W_OCCLUDED] = c->occluded;
	if (c->sigs.n)
		k->seen[W_SIGS] = c->sigs;
	z->records = z->spill ? k->records : z->n;
	tell_notes(k);
	c->refused = z->due = k->refused;
	c->check = NULL;
}

bool zone_next(struct zone_cursor *c, struct zone_node *out)
{
	bool more = next_node(c, out);
	if (!c->check)
		return more;
	if (!more) {
		zone_check_end(c);
		return false;
	}
	zone_check_node(c, out);
	c->refused = c->check->refused;
	return true;
}

/* ---- ZONEMD (RFC 8976) ---- */

/* RFC 8976 section 3.3.1, RFC 4034 section 6.2. */
static void digest_record(struct sha *s, const uint8_t *r)
{
	uint8_t head[NAME_MAX_LEN + 10], name[2 * NAME_MAX_LEN];
	const uint8_t *rdata = rec_rdata(r);
	size_t n = name_len(rec_owner(r)), from, to;
	memcpy(head, rec_owner(r), n);
	put_u16(head + n, rec_type(r));
	put_u16(head + n + 2, 1);
	put_u32(head + n + 4, rec_ttl(r));
	put_u16(head + n + 8, rec_len(r));
	sha_update(s, head, n + 10);
	rdata_fold_span(rec_type(r), rdata, rec_len(r), &from, &to);
	sha_update(s, rdata, from);
	for (size_t i = from; i < to; i++)
		name[i - from] = name_fold(rdata[i]);
	sha_update(s, name, to - from);
	sha_update(s, rdata + to, rec_len(r) - to);
}

/* All records in canonical order, an RRSIG at its own type's place. */
static void digest_owner(const struct zone *z, struct sha *s, size_t from, size_t to)
{
	bool apex = same_owner(owner_at(z, from), z->origin);
	for (unsigned pass = 0; pass < 3; pass++)
		for (size_t i = from; i < to; i++) {
			const uint8_t *r = rec_at(z, i);
			uint16_t t = rec_type(r);
			unsigned when = t < T_RRSIG ? 0 : t == T_RRSIG ? 1 : 2;
			if (when == pass && !(apex && rec_set(r) == T_ZONEMD))
				digest_record(s, r);
		}
}

/* All of the zone, window by window; the first is there again afterwards. 0: errno. */
static size_t digest_zone(struct zone *z, unsigned hash, uint8_t out[static 64])
{
	struct sha s;
	struct check silent = { .z = z };
	if (hash == 1)
		sha384_init(&s);
	else
		sha512_init(&s);
	if (zone_windows_begin(&silent) != 0)
		return 0;
	for (;;) {
		for (size_t i = 0, end; i < z->safe; i = end) {
			const uint8_t *owner = owner_at(z, i);
			for (end = i + 1; end < z->safe && same_owner(owner_at(z, end), owner); end++)
				fetch_ahead(z, end);
			digest_owner(z, &s, i, end);
		}
		if (!more_windows(z))
			break;
		if (zone_window_next(&silent) != 0)
			return 0;
	}
	sha_out(&s, out);
	if (zone_windows_begin(&silent) != 0)
		return 0;
	return hash == 1 ? 48 : 64;
}

/* RFC 8976 section 4: one digest of a scheme and hash we know must fit.  -1: errno. */
static int check_zonemd(struct check *k)
{
	struct zone *z = k->z;
	uint8_t digest[64];
	size_t known = SIZE_MAX;
	const char *why = "the digest does not fit";
	unsigned count[3] = { 0 };
	size_t to = 0;
	for (; to < z->n && same_owner(owner_at(z, to), z->origin); to++) {
		const uint8_t *r = rec_at(z, to), *d = rec_rdata(r);
		if (rec_type(r) == T_ZONEMD && rec_len(r) > 6 && d[4] == 1 && (d[5] == 1 || d[5] == 2))
			count[d[5]]++;
	}
	for (size_t i = 0; i < to; i++) {
		const uint8_t *r = rec_at(z, i), *d = rec_rdata(r);
		if (rec_type(r) != T_ZONEMD || d[4] != 1 || d[5] < 1 || d[5] > 2)
			continue;
		known = i;
		if (get_u32(d) != z->serial) {
			why = "its serial is not the SOA's";
			continue;
		}
		if (count[d[5]] > 1) {
			why = "several digests of one scheme and hash";
			continue;
		}
		size_t n = digest_zone(z, d[5], digest);
		if (n == 0)
			return -1;
		r = rec_at(z, i); /* it may have moved */
		if (rec_len(r) == 6 + n && !memcmp(digest, rec_rdata(r) + 6, n))
			return 0;
		why = "the digest does not fit";
	}
	if (known != SIZE_MAX)
		refuse(k, rec_at(z, known), "ZONEMD: %s", why);
	return 0;
}

/* ---- the whole ---- */

/* Sorted and checked owner by owner: all of it, or a spilled zone's first window. */
static int first_look(struct check *k)
{
	struct zone *z = k->z;
	if (z->spill)
		return zone_spill_finish(k);
	if (zone_sort(z) != 0)
		return -1;
	zone_lay_in_order(z);
	zone_drop_duplicates(k);
	z->safe = z->n;
	zone_check_owners(k);
	return 0;
}

/* Walks the zone as it will be served, for its check's sake alone. */
static void check_nodes(struct check *k)
{
	struct zone_cursor c;
	struct zone_node node;
	if (zone_cursor_open(&c, k->z) != 0) {
		refuse_unread(k);
		return;
	}
	c.bare = true;
	while (zone_next(&c, &node))
		continue;
	zone_close(&c);
}

int zone_finish(struct zone *z, int64_t now, const struct zone_report *report)
{
	struct check *k = &z->check;
	*k = (struct check){ .z = z, .report = report, .now = now };
	z->due = true;
	errno = ENOMEM;
	int rc = first_look(k);
	if (rc == 0)
		check_apex(k);
	if (rc == 0 && !k->refused)
		rc = check_zonemd(k);
	if (rc != 0)
		refuse_unread(k);
	if (k->refused)
		tell_notes(k);
	else if (!z->spill)
		check_nodes(k);
	return k->refused ? -1 : 0;
}

static const char *add_rr(void *ctx, const struct master_rr *rr) { return zone_add(ctx, rr, false); }

/* What loading has in common: rc is the reader's. */
static struct zone *finish_load(struct zone *z, int rc, const struct zone_report *report)
{
	if (rc == 0 && zone_finish(z, (int64_t)time(NULL), report) == 0)
		return z;
	zone_free(z);
	return NULL;
}

struct zone *zone_load_within(const uint8_t *origin, const char *path, size_t memory, const char *dir,
                              const struct zone_report *report)
{
	struct zone *z = zone_new(origin);
	struct master_sink sink = { .emit = add_rr, .ctx = z, .report = report };
	if (!z)
		return NULL;
	zone_bound(z, memory, dir);
	return finish_load(z, master_read(path, origin, &sink), report);
}

struct zone *zone_load(const uint8_t *origin, const char *path, const struct zone_report *report)
{
	return zone_load_within(origin, path, 0, NULL, report);
}

struct zone *zone_load_text(const uint8_t *origin, const char *text, size_t n,
                            const struct zone_report *report)
{
	struct zone *z = zone_new(origin);
	struct master_sink sink = { .emit = add_rr, .ctx = z, .report = report };
	return z ? finish_load(z, master_read_text(text, n, "(memory)", origin, &sink), report) : NULL;
}

const uint8_t *zone_origin(const struct zone *z) { return z->origin; }
uint32_t zone_serial(const struct zone *z) { return z->serial; }
unsigned zone_serial_line(const struct zone *z) { return z->serial_line; }
uint64_t zone_records(const struct zone *z) { return z->records; }
uint64_t zone_names(const struct zone *z) { return z->names; }
