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

#endif
