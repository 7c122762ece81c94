/* instance.c - which instances of zones are gone, so that what is left of them
 * can be swept (compact.c).
 *
 * An instance lives from store_new_instance (or, in a store that was opened
 * again, from its place in the catalog) until the catalog names another for its
 * zone, or none, and no view sees the catalog of before.  A set of bits in
 * memory knows those alive; after opening, the catalog is read step by step as
 * soon as no reader sees less than the writer before has left, and until its end
 * nothing of an earlier run is called gone.  What an earlier run gave out and the
 * catalog does not name is gone then: dropped zones, and loads that were never
 * finished. */
#include "store/writer.h"

#include <errno.h>
#include <stdlib.h>

#define PAGE_BITS 65536u

static uint8_t *page_of(const struct store *st, uint32_t inst)
{
	return st->insts.page ? st->insts.page[inst / PAGE_BITS] : NULL;
}

static bool alive(const struct store *st, uint32_t inst)
{
	const uint8_t *p = page_of(st, inst);
	return p && p[inst % PAGE_BITS >> 3] >> (inst & 7) & 1;
}

int inst_named(struct store *st, uint32_t inst)
{
	if (!st->insts.page && !(st->insts.page = calloc(PAGE_BITS, sizeof *st->insts.page)))
		return -1;
	uint8_t **p = st->insts.page + inst / PAGE_BITS;
	if (!*p && !(*p = calloc(PAGE_BITS / 8, 1)))
		return -1;
	(*p)[inst % PAGE_BITS >> 3] |= (uint8_t)(1u << (inst & 7));
	return 0;
}

bool inst_gone(const struct store *st, uint32_t inst)
{
	return inst != 0 && inst < st->next_inst && (inst >= st->insts.since || st->insts.ready) &&
	       !alive(st, inst);
}

int inst_dropped(struct store *st, uint32_t inst, uint64_t seq)
{
	struct instances *x = &st->insts;
	if (x->n == x->room) {
		size_t room = x->room ? x->room * 2 : 64;
		struct dropped *q = realloc(x->queue, room * sizeof *q);
		if (!q)
			return -1;
		x->queue = q;
		x->room = room;
	}
	x->queue[x->n++] = (struct dropped){ inst, seq };
	return inst_named(st, inst); /* alive for those who still see it */
}

uint64_t inst_pending(const struct store *st)
{
	uint64_t bits = 0;
	for (size_t i = st->insts.head; i < st->insts.n; i++)
		bits |= inst_bit(st->insts.queue[i].inst);
	return bits;
}

/* Extents that may have something of them are suspect from here on. */
static void bury(struct store *st)
{
	struct instances *x = &st->insts;
	uint64_t bits = 0;
	for (; x->head < x->n && !view_below(st, x->queue[x->head].seq); x->head++) {
		uint32_t inst = x->queue[x->head].inst;
		uint8_t *p = page_of(st, inst);
		p[inst % PAGE_BITS >> 3] &= (uint8_t)~(1u << (inst & 7));
		bits |= inst_bit(inst);
	}
	if (x->head == x->n)
		x->head = x->n = 0;
	for (size_t i = 0; bits && i < st->nextents; i++)
		st->extents[i].suspect |= (st->extents[i].insts & bits) != 0;
	st->compact.again |= bits != 0;
}

/* Reads on in the catalog.  1: there is more. */
static int read_on(struct store *st)
{
	struct instances *x = &st->insts;
	struct store_zone z;
	enum store_found r = store_zone_next(st, x->begun ? x->after : NULL, &z);
	if (r == STORE_DAMAGED)
		return 0; /* nothing is swept in a damaged store */
	if (r == STORE_ABSENT) {
		x->ready = true;
		return 0;
	}
	memcpy(x->after, z.name, sizeof x->after);
	x->begun = true;
	return inst_named(st, z.inst) == 0 ? 1 : -1;
}

int inst_tick(struct store *st, uint64_t until_ns)
{
	int r = 1;
	if (st->insts.head < st->insts.n)
		bury(st);
	/* within a group the catalog's tree may be half changed */
	bool may = st->changes == 0 && st->view_low >= st->insts.opened;
	while (may && !st->insts.ready && r == 1 && compact_clock() < until_ns)
		r = read_on(st);
	return r < 0 ? -1 : 0;
}

void inst_free(struct store *st)
{
	for (size_t i = 0; st->insts.page && i < PAGE_BITS; i++)
		free(st->insts.page[i]);
	free(st->insts.page);
	free(st->insts.queue);
}
