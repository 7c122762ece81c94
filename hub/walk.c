/* walk.c - listing a zone's names from the store's ordered list. */
#include "hub/walk.h"

void walk_begin(struct walk *w, const struct store_map *m, const struct store_zone *z, uint64_t seq)
{
	memset(w, 0, sizeof *w);
	w->m = m;
	w->zone = *z;
	w->seq = seq;
}

void walk_behind(struct walk *w, enum frag_kind kind, const uint8_t *owner)
{
	w->keylen = names_key(owner, w->zone.labels, kind, w->key);
	w->begun = true;
}

/* The next keys of the tree, when those at hand are used up. */
static enum store_found read_run(struct walk *w, struct scratch *s)
{
	if (rd_left(&w->ahead))
		return STORE_FOUND;
	struct wr run = wr_init(w->run, sizeof w->run);
	enum store_found r = store_walk_run(w->m, &w->zone, w->seq, w->begun ? w->key : NULL, w->keylen, s, &run);
	if (r == STORE_FOUND) {
		w->ahead = rd_init(w->run, wr_len(&run));
		w->begun = true;
	}
	return r;
}

/* Some names more: first all buckets are asked for, then all fragments, so that
 * their ways from memory overlap. */
static enum store_found look_ahead(struct walk *w, struct scratch *s)
{
	enum store_found r = read_run(w, s);
	w->next = w->nsoon = 0;
	while (r == STORE_FOUND && w->nsoon < WALK_AHEAD && rd_left(&w->ahead)) {
		enum frag_kind kind;
		uint8_t *owner = w->soon[w->nsoon].owner;
		w->keylen = rd_u16(&w->ahead);
		if (w->keylen > sizeof w->key)
			return STORE_DAMAGED;
		rd_copy(&w->ahead, w->key, w->keylen);
		if (!names_owner(&w->zone, w->key, w->keylen, &kind, owner))
			return STORE_DAMAGED;
		store_begin(w->m, &w->soon[w->nsoon++].p, kind, w->zone.inst, owner, w->seq);
	}
	for (unsigned i = 0; i < w->nsoon; i++)
		store_seek(w->m, &w->soon[i].p);
	for (unsigned i = 0; i < w->nsoon; i++)
		store_fetch(w->m, &w->soon[i].p);
	return r;
}

static enum store_found next(struct walk *w, struct scratch *s, struct walk_name *out)
{
	enum store_found r = STORE_FOUND;
	s->used = 0;
	if (w->next == w->nsoon)
		r = look_ahead(w, s);
	if (r != STORE_FOUND)
		return r;
	const struct probe *p = &w->soon[w->next].p;
	out->owner = w->soon[w->next++].owner;
	out->kind = (enum frag_kind)p->kind;
	r = store_take(w->m, p, s, &out->frag);
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
