/* zones.h - zones of the store told apart by their number. */
#ifndef TESTS_ZONES_H
#define TESTS_ZONES_H

#include "store.h"

#include <stdio.h>
#include <string.h>

static inline struct store_zone zone_of(unsigned i, uint32_t inst)
{
	char text[32];
	struct store_zone z = { .inst = inst, .labels = 1, .state = ZONE_SERVING };
	snprintf(text, sizeof text, "zone-%u.", i);
	name_parse(text, strlen(text), NULL, z.name);
	return z;
}

/* Does a reader at this sequence find zone i with that instance (0: not at all)?  1: no. */
static inline unsigned zone_wrong(const struct store_map *m, uint64_t seq, unsigned i, uint32_t inst, struct scratch *s)
{
	struct store_view v = { .visible = seq };
	struct store_zone want = zone_of(i, inst), got;
	s->used = 0;
	enum store_found r = store_zone_find(m, &v, want.name, 1, false, s, &got);
	return inst ? r != STORE_FOUND || got.inst != inst : r != STORE_ABSENT;
}

#endif
