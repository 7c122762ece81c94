/* walk.c - listing a zone's names from the store's ordered list. */
#include "hub/walk.h"

void walk_begin(struct walk *w, const struct store_map *m, const struct store_zone *z, uint64_t seq)
{
	memset(w, 0, sizeof *w);
	w->m = m;
	w->zone = *z;
	w->seq = seq;
}

static enum store_found next(struct walk *w, struct scratch *s, struct walk_name *out)
{
	enum store_found r;
	s->used = 0;
	if (rd_left(&w->ahead) == 0) {
		struct wr run = wr_init(w->run, sizeof w->run);
		r = store_walk_run(w->m, &w->zone, w->seq, w->begun ? w->key : NULL, w->keylen, s, &run);
		if (r != STORE_FOUND)
			return r;
		w->ahead = rd_init(w->run, wr_len(&run));
		w->begun = true;
	}
	w->keylen = rd_u16(&w->ahead);
	if (w->keylen > sizeof w->key)
		return STORE_DAMAGED;
	rd_copy(&w->ahead, w->key, w->keylen);
	if (!names_owner(&w->zone, w->key, w->keylen, &out->kind, out->owner))
		return STORE_DAMAGED;
	r = store_get(w->m, out->kind, w->zone.inst, out->owner, w->seq, s, &out->frag);
	return r == STORE_ABSENT ? STORE_DAMAGED : r;
}

enum store_found walk_next(struct walk *w, struct scratch *s, struct walk_name *out)
{
	struct store_guard g;
	enum store_found r;
	store_guard_enter(w->m, &g);
	if (sigsetjmp(g.to, 0) == 0)
		r = next(w, s, out);
	else
		r = STORE_DAMAGED;
	store_guard_leave(&g);
	return r;
}
