/* segment.c - changes to the index: shadow copies, inserts, splits.
 *
 * States of a segment's block: fresh (made since the last checkpoint's cut:
 * changed under the readers' eyes, see index.c), frozen (that checkpoint, perhaps
 * still under way, refers to it: never written), retired.  Splits and merges make
 * new segments that the directory then points to; the old ones stay until no reader
 * can be in them. */
#include "store/writer.h"

#include <errno.h>

/* Fill from which a full pair of buckets means a split, not a rearrangement: of
 * 32512 at most.  The last names cost half a microsecond more, hardly any comes to
 * the overflow, and a name takes 11.9 octets of index. */
#define SPLIT_FILL 31750u

uint32_t segment_count(const struct store *st)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < DIR_SIZE; n++)
		i += 1u << (DIR_BITS - st->seg[atomic_load(&st->root->dir[i])].depth);
	return n;
}

static uint64_t *seg_at(const struct store *st, uint32_t block)
{
	return (uint64_t *)(void *)(st->base + (uint64_t)block * BLOCK);
}

void segment_depth(struct store *st, unsigned depth)
{
	if (depth > atomic_load_explicit(&st->root->depth, memory_order_relaxed))
		atomic_store_explicit(&st->root->depth, depth, memory_order_release);
}

static void dir_point(struct store *st, uint32_t index, unsigned depth, uint32_t block)
{
	uint32_t span = 1u << (DIR_BITS - depth), first = index & ~(span - 1);
	segment_depth(st, depth);
	for (uint32_t i = 0; i < span; i++)
		atomic_store_explicit(&st->root->dir[first + i], block, memory_order_release);
}

/* The directory no longer points to a block: who may free it, and when? */
static int retire(struct store *st, uint32_t block)
{
	uint64_t epoch = atomic_fetch_add(&st->root->epoch, 1);
	return space_retire(segment_fresh(st, block) ? &st->epoch_wait : &st->ckpt_wait, block, epoch);
}

int segment_new(struct store *st, uint8_t depth, uint32_t *block)
{
	if (space_alloc(st, 1, USE_SEGMENT, block) != 0)
		return -1;
	io_touch(seg_at(st, *block), BLOCK);
	memset(root_macs(st->root) + *block, 0, sizeof(struct segmac));
	st->seg[*block] = (struct segmeta){ .cut = st->cuts, .depth = depth, .counted = true };
	io_mapped(st->fd, (uint64_t)*block * BLOCK, BLOCK);
	return 0;
}

/* Entries of a segment: counted once, when it was not made in this run. */
static uint16_t count(struct store *st, uint32_t block)
{
	struct segmeta *sm = st->seg + block;
	if (!sm->counted)
		sm->count = (uint16_t)index_count(seg_at(st, block));
	sm->counted = true;
	return sm->count;
}

/* A writable copy that no reader sees yet. */
static int copy(struct store *st, uint32_t from, uint32_t *to)
{
	if (!segment_verify(&st->map, st->root, from)) {
		errno = EBADMSG;
		return -1;
	}
	if (segment_new(st, st->seg[from].depth, to) != 0)
		return -1;
	memcpy(seg_at(st, *to), seg_at(st, from), BLOCK);
	st->seg[*to].count = count(st, from);
	return 0;
}

/* The segment of a directory entry, fit for plain changes. */
static int writable(struct store *st, uint32_t index, uint32_t *block)
{
	uint32_t old = atomic_load_explicit(&st->root->dir[index], memory_order_relaxed);
	*block = old;
	if (segment_fresh(st, old))
		return 0;
	if (copy(st, old, block) != 0)
		return -1;
	dir_point(st, index, st->seg[old].depth, *block);
	return retire(st, old);
}

static int split(struct store *st, uint32_t index, uint32_t block)
{
	uint8_t depth = st->seg[block].depth;
	uint32_t half[2];
	for (unsigned i = 0; i < 2; i++) {
		if (segment_new(st, depth + 1, &half[i]) != 0)
			return -1;
		memset(seg_at(st, half[i]), 0, BLOCK);
	}
	index_split(seg_at(st, block), depth, seg_at(st, half[0]), seg_at(st, half[1]));
	for (unsigned i = 0; i < 2; i++)
		st->seg[half[i]].count = (uint16_t)index_count(seg_at(st, half[i]));
	uint32_t span = 1u << (DIR_BITS - depth), first = index & ~(span - 1);
	dir_point(st, first, depth + 1u, half[0]);
	dir_point(st, first + span / 2, depth + 1u, half[1]);
	return retire(st, block);
}

/* Makes one of two half-segments that have become nearly empty.  1: done. */
static int merge(struct store *st, uint32_t index)
{
	uint32_t block = atomic_load_explicit(&st->root->dir[index], memory_order_relaxed), to;
	unsigned depth = st->seg[block].depth;
	if (depth == 0)
		return 0;
	uint32_t span = 1u << (DIR_BITS - depth), first = index & ~(2 * span - 1);
	uint32_t other = atomic_load_explicit(&st->root->dir[index ^ span], memory_order_relaxed);
	if (st->seg[other].depth != depth)
		return 0;
	if (!segment_verify(&st->map, st->root, other)) {
		errno = EBADMSG;
		return -1;
	}
	unsigned n = (unsigned)count(st, block) + count(st, other);
	if (n > SPLIT_FILL / 2)
		return 0;
	if (segment_new(st, (uint8_t)(depth - 1), &to) != 0)
		return -1;
	memset(seg_at(st, to), 0, BLOCK);
	if (!index_gather(seg_at(st, block), seg_at(st, to)) || !index_gather(seg_at(st, other), seg_at(st, to))) {
		space_free(st, to);
		return 0;
	}
	st->seg[to].count = (uint16_t)n;
	dir_point(st, first, depth - 1, to);
	return retire(st, block) != 0 || retire(st, other) != 0 ? -1 : 1;
}

void segment_touch(const struct store *st, const uint64_t hash[static 2])
{
	struct place p = place_of(hash[0]);
	uint32_t depth = atomic_load_explicit(&st->root->depth, memory_order_relaxed);
	uint32_t block = atomic_load_explicit(dir_entry(st->root, &p, depth), memory_order_relaxed);
	__builtin_prefetch(seg_at(st, block) + (size_t)p.home * SLOTS);
}

bool segment_has(const struct store *st, const uint64_t hash[static 2], uint64_t unit)
{
	struct place p = place_of(hash[0]);
	uint32_t block = atomic_load_explicit(&st->root->dir[dir_index(&p)], memory_order_relaxed);
	return segment_verify(&st->map, st->root, block) && index_slot(seg_at(st, block), &p, unit);
}

int segment_unset(struct store *st, const uint64_t hash[static 2], uint64_t unit)
{
	struct place p = place_of(hash[0]);
	uint32_t index = dir_index(&p), block;
	if (writable(st, index, &block) != 0)
		return -1;
	uint64_t *slot = index_slot(seg_at(st, block), &p, unit);
	if (!slot) {
		errno = EBADMSG;
		return -1;
	}
	slot_store(slot, SLOT_GIVEN_UP);
	int r = 0;
	/* now and then: counting a neighbour takes a while */
	if (--st->seg[block].count <= SPLIT_FILL / 4 && st->seg[block].count % 512 == 0)
		while ((r = merge(st, index)) > 0)
			;
	return r;
}

int segment_set(struct store *st, const uint64_t hash[static 2], uint64_t unit, uint64_t old_unit)
{
	struct place p = place_of(hash[0]);
	uint32_t index = dir_index(&p), block;
	if (writable(st, index, &block) != 0)
		return -1;
	if (old_unit) {
		uint64_t *slot = index_slot(seg_at(st, block), &p, old_unit);
		if (!slot) {
			errno = EBADMSG;
			return -1;
		}
		slot_store(slot, slot_make(unit, slot_displaced(slot_load(slot)), p.tag));
		return 0;
	}
	for (;;) {
		block = atomic_load_explicit(&st->root->dir[index], memory_order_relaxed);
		bool move = st->seg[block].count < SPLIT_FILL || st->seg[block].depth == DIR_BITS;
		if (index_insert(seg_at(st, block), &p, unit, move) == INDEX_OK) {
			st->seg[block].count++;
			return 0;
		}
		if (st->seg[block].depth == DIR_BITS) {
			errno = EOVERFLOW;
			return -1;
		}
		if (split(st, index, block) != 0)
			return -1;
	}
}
