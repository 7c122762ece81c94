/* walk.c - listing a zone's names from the ordered tree CHAIN_NAMES. */
#include "hub/walk.h"

#include "store/internal.h"

void walk_begin(struct walk *w, const struct store_map *m, const struct store_zone *z, uint64_t seq)
{
	memset(w, 0, sizeof *w);
	w->m = m;
	w->zone = *z;
	w->seq = seq;
}

size_t walk_key(const struct store_zone *z, enum frag_kind kind, const uint8_t *owner,
                uint8_t out[static NAME_KEY_MAX + 2])
{
	size_t n = zone_key(owner, z->labels, out);
	out[n++] = 0;
	out[n++] = (uint8_t)kind;
	return n;
}

/* The way back from a tree's key. */
static bool name_of(const struct walk *w, struct walk_name *out)
{
	uint8_t full[2 * NAME_KEY_MAX];
	if (w->keylen < 2 || w->key[w->keylen - 2] != 0)
		return false;
	out->kind = (enum frag_kind)w->key[w->keylen - 1];
	size_t n = name_key(w->zone.name, full);
	memcpy(full + n, w->key, w->keylen - 2);
	return name_from_key(full, n + w->keylen - 2, out->owner) != 0;
}

enum store_found walk_next(struct walk *w, struct scratch *s, struct walk_name *out)
{
	enum store_found r;
	s->used = 0;
	if (rd_left(&w->ahead) == 0) {
		struct wr run = wr_init(w->run, sizeof w->run);
		r = tree_run(w->m, w->zone.inst, CHAIN_NAMES, w->seq, w->begun ? w->key : NULL, w->keylen, s, &run);
		if (r != STORE_FOUND)
			return r;
		w->ahead = rd_init(w->run, wr_len(&run));
		w->begun = true;
	}
	w->keylen = rd_u16(&w->ahead);
	if (w->keylen > sizeof w->key)
		return STORE_DAMAGED;
	rd_copy(&w->ahead, w->key, w->keylen);
	if (!name_of(w, out))
		return STORE_DAMAGED;
	r = store_get(w->m, out->kind, w->zone.inst, out->owner, w->seq, s, &out->frag);
	return r == STORE_ABSENT ? STORE_DAMAGED : r;
}
