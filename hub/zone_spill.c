/* zone_spill.c - a zone that is larger than its memory.  Contract in zone_internal.h.
 *
 * A zone that would take more memory than it may (zone_bound) is spilled: each
 * time the arena is full its records are sorted and go to a run on the disk.
 * From then on the arena is a *window*: the runs are merged into it, piece by
 * piece, in order, as often as the zone is walked.  What is asked of a name may
 * depend on what comes behind it ("*.name"), so a walk leaves the end of a window
 * for the next one (`safe`).  A helper sorts one run while the next is read, and
 * merges the next piece while this one is walked; what it works on is the *twin*,
 * a zone with nothing but records.
 * States: writing runs (zone_spill_behind), then reading them; between the two
 * zone_spill_finish.
 * Withstands a disk that is full, fails or was changed (spill.h): errno says so, and
 * the zone is refused; and more names between one and its wildcard than the memory
 * takes: EFBIG. */
#include "hub/zone_internal.h"
#include "hub/spill.h"

#include <errno.h>
#include <stdlib.h>

/* A run's next record, in the run's own memory. */
struct source { uint64_t key; const uint8_t *rec; };

/* ---- runs ---- */

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
