/* defer.c - slots that a bulk load sets later, in the index's own order.
 *
 * New names come in any order of their hashes, so each slot of theirs is set in
 * another page of the index.  Where the index is larger than what the kernel lets
 * be dirty, each page goes to the disk again and again.  So the slots of names
 * that nobody can ask for yet wait in a list in memory; when it is full it is
 * sorted, and they are set segment after segment, some for each that comes: those
 * that come lie where others have left.
 *
 * Who waits: new names of an instance that is being loaded (struct defer).  The
 * catalog does not name it, so no reader asks for them; the writer has the list put
 * in before it looks for one (store_head), before a checkpoint's cut, and with the
 * commit that shows the instance.  Compaction looks for what it doesn't find, too.
 * What is lost with the process is replayed from the log: it lies behind the last cut.
 * States: none -> filling -> full: sorted, being put in while it fills -> filling;
 * and from each, when all are put in, its memory is given back -> none.
 * The list belongs to whom the index belongs: to the helper while it is at work.
 *
 * Threat: who chooses the names.  Their hashes are keyed, so none of his choices
 * makes the sort slow; how long the list may be is bounded by the index and by the
 * machine's memory, and without memory slots are set as they come. */
#include "store/writer.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>

#define MEMORY_PART 16u          /* the list takes such a part of the machine's memory at most */
#define WAYS        DEFER_WAYS
#define DIGIT       8u           /* bits of the hash by which one pass sorts: WAYS values */
#define FIRST       (64 - DIGIT) /* the first digit's shift */
#define PACE        2u           /* so many are set for each that comes */
#define FEW         512u         /* fewer than these are not sorted */
#define QUIET_NS    10000000000u /* a load that has stood still so long may not go on */

void defer_instance(struct store *st, uint32_t inst)
{
	struct defer *d = &st->defer;
	d->loading[d->next++ % DEFER_LOADS] = inst;
}

void defer_named(struct store *st, uint32_t inst)
{
	struct defer *d = &st->defer;
	for (unsigned i = 0; i < DEFER_LOADS; i++)
		if (d->loading[i] == inst)
			d->loading[i] = 0;
	d->named |= inst_bit(inst);
}

/* Of the kinds that a bulk load brings by the million. */
static bool is_kind(enum frag_kind kind) { return kind == FRAG_NAME || kind == FRAG_NSEC3; }

static bool is_loading(const struct store *st, uint32_t inst)
{
	for (unsigned i = 0; i < DEFER_LOADS; i++)
		if (inst && st->defer.loading[i] == inst)
			return true;
	return false;
}

void defer_mark(struct store *st, const struct change *c)
{
	struct filled *f = &st->fill;
	if (!c->fresh || !is_kind(c->kind) || !is_loading(st, c->inst))
		return;
	f->pend[f->npend - 1].late = true;
	f->late |= inst_bit(c->inst);
}

/* ---- the list put in ---- */

static int set(struct store *st, const struct late *at, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t hash[2] = { at[i].hash }, soon[2] = { at[i + SLOTS_AHEAD < n ? i + SLOTS_AHEAD : i].hash };
		segment_touch(st, soon);
		if (segment_set(st, hash, at[i].unit, 0) != 0)
			return -1;
	}
	return 0;
}

/* One pass of an American flag sort (in place, not stable), by the digit at `shift`;
 * end[w]: behind those whose digit is w. */
static void flag_sort(struct late *at, size_t n, unsigned shift, size_t end[static WAYS])
{
	size_t next[WAYS], sum = 0;
	memset(end, 0, WAYS * sizeof *end);
	for (size_t i = 0; i < n; i++)
		end[at[i].hash >> shift & (WAYS - 1)]++;
	for (unsigned w = 0; w < WAYS; w++) {
		next[w] = sum;
		end[w] = sum += end[w];
	}
	for (unsigned w = 0; w < WAYS; w++)
		while (next[w] < end[w]) {
			struct late v = at[next[w]];
			for (unsigned b; (b = v.hash >> shift & (WAYS - 1)) != w;) {
				struct late *to = at + next[b]++, was = *to;
				*to = v;
				v = was;
			}
			at[next[w]++] = v;
		}
}

/* Sorts them by the digit at `shift` and those below it, and sets them.  Below the
 * directory's bits there is no need: they lie in one segment. */
static int put_in(struct store *st, struct late *at, size_t n, unsigned shift)
{
	size_t end[WAYS], from = 0;
	if (n < FEW || shift < 64 - DIR_BITS)
		return set(st, at, n);
	flag_sort(at, n, shift, end);
	for (unsigned w = 0; w < WAYS; from = end[w++])
		if (put_in(st, at + from, end[w] - from, shift - DIGIT) != 0)
			return -1;
	return 0;
}

void defer_free(struct store *st)
{
	struct defer *d = &st->defer;
	if (d->at)
		munmap(d->at, d->room * sizeof *d->at);
	d->at = NULL;
	d->n = d->done = d->sorted = d->room = 0;
	d->insts = 0;
}

int defer_settle(struct store *st)
{
	struct defer *d = &st->defer;
	size_t left = d->sorted - d->done;
	if (!d->at)
		return 0;
	errno = EIO;
	if (st->failed) /* perhaps half way through it */
		return -1;
	memmove(d->at + d->n, d->at + d->done, left * sizeof *d->at);
	if (put_in(st, d->at, d->n + left, FIRST) != 0)
		return store_fail(st);
	defer_free(st);
	return 0;
}

int defer_look(struct store *st, enum frag_kind kind, uint32_t inst)
{
	return is_kind(kind) && st->defer.insts & inst_bit(inst) ? defer_settle(st) : 0;
}

int defer_show(struct store *st)
{
	bool shown = st->defer.insts & st->defer.named;
	st->defer.named = 0;
	return shown ? defer_settle(st) : 0;
}

int defer_tick(struct store *st, uint64_t now_ns)
{
	/* the tick may be of a moment before: it waits for the helper, too */
	return st->defer.at && now_ns > st->defer.grown_ns + QUIET_NS ? defer_settle(st) : 0;
}

/* ---- the list filled ---- */

/* How many it may hold, as large as the index is now. */
static size_t room(const struct store *st)
{
	struct sysinfo s;
	uint64_t index = (uint64_t)segment_count(st) * BLOCK, most = index / st->tune.late_part, memory;
	if (index < st->tune.late_least || sysinfo(&s) != 0)
		return 0;
	memory = (uint64_t)s.totalram * s.mem_unit / MEMORY_PART;
	return (size_t)((most < memory ? most : memory) / sizeof(struct late));
}

/* A list as long as it may be.  Where memory is short it stays as it is. */
static void fit(struct store *st)
{
	struct defer *d = &st->defer;
	size_t n = room(st);
	if (n <= d->room)
		return;
	struct late *at = d->at ? mremap(d->at, d->room * sizeof *at, n * sizeof *at, MREMAP_MAYMOVE)
	                        : map_zeros(n * sizeof *at);
	if (!at || at == MAP_FAILED)
		return;
	madvise(at, n * sizeof *at, MADV_HUGEPAGE); /* a hint: it is gone through at random */
	d->at = at;
	d->room = n;
}

/* The next part of those sorted: of one first digit. */
static int put_part(struct store *st)
{
	struct defer *d = &st->defer;
	size_t from = d->done;
	d->done = d->end[d->part++];
	return put_in(st, d->at + from, d->done - from, FIRST - DIGIT);
}

bool defer_open(struct store *st, const struct filled *f)
{
	struct defer *d = &st->defer;
	if (!f->late || !st->tune.late_part)
		return false;
	if (!d->at)
		fit(st);
	d->insts |= d->at ? f->late : 0;
	d->grown_ns = compact_clock();
	return d->at != NULL;
}

int defer_add(struct store *st, const struct pending *p)
{
	struct defer *d = &st->defer;
	while (d->done < d->sorted && d->n * PACE >= d->done)
		if (put_part(st) != 0)
			return -1;
	d->at[d->n++] = (struct late){ p->hash[0], p->unit };
	if (d->n == d->room) /* and nothing is left of the others */
		fit(st);
	if (d->n < d->room)
		return 0;
	flag_sort(d->at, d->n, FIRST, d->end);
	d->sorted = d->n;
	d->n = d->done = d->part = 0;
	return 0;
}
