/* walk.c - the list of all names of a zone: the tree CHAIN_NAMES, kept by a
 * store that is `ordered`.
 *
 * A key there is the owner's in the zone (zone_key), then 00 (no label
 * follows: a name comes before what is below it), then the kind (a name and
 * its NSEC3 twin are two).  Only the hub asks for the list; the node's link
 * leaves out all but names_key. */
#include "store/internal.h"

size_t names_key(const uint8_t *owner, unsigned zone_labels, enum frag_kind kind,
                 uint8_t out[static NAMES_KEY_MAX])
{
	size_t n = zone_key(owner, zone_labels, out);
	out[n++] = 0;
	out[n++] = (uint8_t)kind;
	return n;
}

bool names_owner(const struct store_zone *z, const uint8_t *key, size_t n, enum frag_kind *kind,
                 uint8_t out[static NAME_MAX_LEN])
{
	if (n < 2 || n > NAMES_KEY_MAX || key[n - 2] != 0)
		return false;
	*kind = (enum frag_kind)key[n - 1];
	return zone_owner(z, key, n - 2, out);
}

enum store_found store_walk_run(const struct store_map *m, const struct store_zone *z, uint64_t seq,
                                const uint8_t *key, size_t n, struct scratch *s, struct wr *run)
{
	return tree_run(m, z->inst, CHAIN_NAMES, seq, key, n, s, run);
}
