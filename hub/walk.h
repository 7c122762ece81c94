/* walk.h - listing what a store holds.  Only the hub can: the node has no such
 * code, and its link map shows it. */
#ifndef HUB_WALK_H
#define HUB_WALK_H

#include "store.h"

/* All names of a zone at a sequence, in canonical order; of one name, its
 * NSEC3 twin comes second.  The store was opened as `ordered`. */
#define WALK_AHEAD 32 /* names whose fragments are on their way from memory */
struct walk {
	const struct store_map *m;
	struct store_zone zone;
	uint64_t seq;
	uint8_t key[NAMES_KEY_MAX];    /* of the last name read ahead */
	size_t keylen;
	bool begun;
	uint8_t run[STORE_RUN_MAX];    /* keys read ahead */
	struct rd ahead;
	struct { uint8_t owner[NAME_MAX_LEN]; struct probe p; } soon[WALK_AHEAD];
	unsigned next, nsoon;
};
struct walk_name {
	enum frag_kind kind;
	const uint8_t *owner;
	struct frag frag; /* in the scratch given to walk_next */
};
void walk_begin(struct walk *w, const struct store_map *m, const struct store_zone *z, uint64_t seq);
/* Goes on behind a name. */
void walk_behind(struct walk *w, enum frag_kind kind, const uint8_t *owner);
/* STORE_ABSENT at the end.  The scratch is emptied first; the name is good until
 * the next call. */
enum store_found walk_next(struct walk *w, struct scratch *s, struct walk_name *out);

#endif
