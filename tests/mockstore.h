/* mockstore.h - the reading half of store.h over a list in memory, so that
 * answers can be tested and fuzzed without a store. */
#ifndef TESTS_MOCKSTORE_H
#define TESTS_MOCKSTORE_H

#include "hub/zone.h"
#include "store.h"

struct store_map *mock_new(void);
void mock_free(struct store_map *m);
/* Adds a zone and returns its instance. */
uint32_t mock_zone(struct store_map *m, const uint8_t *name, enum zone_state state);
/* Adds a fragment; all are copied. */
void mock_put(struct store_map *m, uint32_t inst, enum frag_kind kind, const uint8_t *owner,
              uint16_t flags, uint8_t cut, const uint8_t *body, size_t len);
/* Adds all of a zone that was read; returns its instance, 0 when there is none. */
uint32_t mock_load(struct store_map *m, struct zone *z);
/* Look-ups of this owner are STORE_DAMAGED from now on. */
void mock_damage(struct store_map *m, const uint8_t *owner);
/* Fragments are handed out where they lie, each in memory of its exact size,
 * and not copied to the scratch: for address sanitizers. */
void mock_in_place(struct store_map *m);

#endif
