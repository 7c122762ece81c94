/* index.c - one segment of the hash index: pure work on its memory.
 * States of a slot and the invariant: format.h.  Threat: none of its own; a
 * segment is verified before it comes here.
 *
 * A reader looks into the home bucket, then the other, then the overflow, and
 * may do so at any moment.  So a slot takes a value from empty or given up; or
 * another of the same name; or another name's, once its own lies in its other
 * bucket too (its home stays full, so whoever misses it here looks there); or
 * is given up. */
#include "store/internal.h"

static uint64_t *bucket(uint64_t *seg, uint32_t b) { return seg + (size_t)b * SLOTS; }

static uint64_t *free_slot(uint64_t *b)
{
	uint64_t *given_up = NULL;
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t v = slot_load(b + i);
		if (v == 0)
			return b + i;
		if (slot_unit(v) == 0)
			given_up = b + i;
	}
	return given_up;
}

/* Makes room in bucket b by moving one of its home residents to its other
 * bucket; depth: 1 when that one may in turn move one of its own.  (Deeper
 * would need care: a longer chain may come back to b.) */
static uint64_t *make_room(uint64_t *seg, uint32_t b, unsigned depth)
{
	uint64_t *s = bucket(seg, b);
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t v = slot_load(s + i);
		if (slot_displaced(v) || slot_unit(v) == 0)
			continue;
		uint32_t to = other_bucket(slot_tag(v), b);
		if (to == b)
			continue;
		uint64_t *room = free_slot(bucket(seg, to));
		if (!room && depth)
			room = make_room(seg, to, depth - 1);
		if (room) {
			slot_store(room, slot_make(slot_unit(v), true, slot_tag(v)));
			return s + i;
		}
	}
	return NULL;
}

static enum index_result insert_overflow(uint64_t *seg, const struct place *p, uint64_t unit)
{
	uint64_t *o = bucket(seg, BUCKETS);
	for (unsigned i = 0; i < OVERFLOWS; i++, o += 2) {
		uint64_t v = slot_load(o);
		if (v && !slot_given_up(v))
			continue;
		slot_store(o + 1, p->home);
		slot_store(o, slot_make(unit, false, p->tag));
		return INDEX_OK;
	}
	return INDEX_FULL;
}

/* Into a bucket, without moving anything. */
static bool insert_plain(uint64_t *seg, const struct place *p, uint64_t unit)
{
	uint64_t *home = free_slot(bucket(seg, p->home));
	uint64_t *s = home ? home : free_slot(bucket(seg, p->other));
	if (!s)
		return false;
	slot_store(s, slot_make(unit, !home, p->tag));
	return true;
}

enum index_result index_insert(uint64_t *seg, const struct place *p, uint64_t unit, bool move)
{
	if (insert_plain(seg, p, unit))
		return INDEX_OK;
	if (!move)
		return INDEX_FULL;
	uint64_t *s = make_room(seg, p->home, 1);
	bool displaced = !s;
	if (!s)
		s = make_room(seg, p->other, 1);
	if (!s)
		return insert_overflow(seg, p, unit);
	slot_store(s, slot_make(unit, displaced, p->tag));
	return INDEX_OK;
}

static void split_put(uint64_t *to, uint32_t home, uint64_t v)
{
	uint32_t tag = slot_tag(v);
	struct place p = { tag, home, other_bucket(tag, home) };
	if (!insert_plain(to, &p, slot_unit(v)))
		insert_overflow(to, &p, slot_unit(v)); /* has room: it had in the parent */
}

void index_split(const uint64_t *seg, unsigned bit, uint64_t *zero, uint64_t *one)
{
	uint32_t mask = 1u << (TAG_BITS - 1 - bit);
	/* residents of their home first, so that the displaced find what is left */
	for (unsigned pass = 0; pass < 2; pass++)
		for (uint32_t b = 0; b < BUCKETS; b++)
			for (unsigned i = 0; i < SLOTS; i++) {
				uint64_t v = slot_load(seg + (size_t)b * SLOTS + i);
				if (slot_unit(v) == 0 || slot_displaced(v) != (pass == 1))
					continue;
				uint32_t home = pass ? other_bucket(slot_tag(v), b) : b;
				split_put(slot_tag(v) & mask ? one : zero, home, v);
			}
	const uint64_t *o = seg + (size_t)BUCKETS * SLOTS;
	for (unsigned i = 0; i < OVERFLOWS; i++, o += 2) {
		uint64_t v = slot_load(o);
		if (slot_unit(v))
			split_put(slot_tag(v) & mask ? one : zero, (uint32_t)slot_load(o + 1), v);
	}
}

bool index_gather(const uint64_t *seg, uint64_t *to)
{
	for (unsigned pass = 0; pass < 2; pass++)
		for (uint32_t b = 0; b < BUCKETS; b++)
			for (unsigned i = 0; i < SLOTS; i++) {
				uint64_t v = slot_load(seg + (size_t)b * SLOTS + i);
				if (slot_unit(v) == 0 || slot_displaced(v) != (pass == 1))
					continue;
				uint32_t tag = slot_tag(v), home = pass ? other_bucket(tag, b) : b;
				struct place p = { tag, home, other_bucket(tag, home) };
				if (index_insert(to, &p, slot_unit(v), true) != INDEX_OK)
					return false;
			}
	const uint64_t *o = seg + (size_t)BUCKETS * SLOTS;
	for (unsigned i = 0; i < OVERFLOWS; i++, o += 2) {
		uint64_t v = slot_load(o);
		uint32_t tag = slot_tag(v), home = (uint32_t)slot_load(o + 1);
		struct place p = { tag, home, other_bucket(tag, home) };
		if (slot_unit(v) && index_insert(to, &p, slot_unit(v), true) != INDEX_OK)
			return false;
	}
	return true;
}

unsigned index_count(const uint64_t *seg)
{
	unsigned n = 0;
	for (size_t i = 0; i < (size_t)BUCKETS * SLOTS; i++)
		n += slot_unit(slot_swap(seg[i])) != 0;
	for (size_t i = 0; i < OVERFLOWS; i++)
		n += slot_unit(slot_swap(seg[(size_t)BUCKETS * SLOTS + i * 2])) != 0;
	return n;
}

uint64_t *index_slot(uint64_t *seg, const struct place *p, uint64_t unit)
{
	uint64_t want = slot_make(unit, false, p->tag);
	uint64_t *s = bucket(seg, p->home);
	for (unsigned i = 0; i < SLOTS; i++)
		if (slot_load(s + i) == want)
			return s + i;
	want = slot_make(unit, true, p->tag);
	s = bucket(seg, p->other);
	for (unsigned i = 0; i < SLOTS; i++)
		if (slot_load(s + i) == want)
			return s + i;
	want = slot_make(unit, false, p->tag);
	s = bucket(seg, BUCKETS);
	for (unsigned i = 0; i < OVERFLOWS; i++, s += 2)
		if (slot_load(s) == want && slot_load(s + 1) == p->home)
			return s;
	return NULL;
}
