/* The RFCs' examples over a mock store: the answering code alone. */
#include "tests/mockstore.h"
#include "tests/rfc.h"

static struct store_map *map;

static const struct store_map *served_new(void) { return map = mock_new(); }
static bool served_add(struct zone *z) { return mock_load(map, z) != 0; }
static void served_free(void) { mock_free(map); }

int main(void) { return crypto_init() < 0 ? 1 : rfc_examples(); }
