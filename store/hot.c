/* hot.c - keys that change over and over inside one group: a zone's serial, its SOA.
 *
 * Nobody ever sees a version of a group but its last.  So from the second change
 * of a key on, its newest version waits here in the clear, and is sealed into the
 * log once, when the group ends or another key takes its place.  What the log
 * holds of the key meanwhile is as uncommitted as this is. */
#include "store/writer.h"

#include <stdlib.h>

#define HOTS     64u
#define HOT_BODY 4096u

struct hot {
	bool used;
	uint64_t hash[2];
	struct change c; /* its key and body point to: */
	uint8_t key[FRAG_KEY_MAX], body[HOT_BODY];
};

static struct hot *place(struct store *st, const uint64_t hash[static 2])
{
	return st->hot ? st->hot + hash[1] % HOTS : NULL;
}

static struct hot *find(struct store *st, const uint64_t hash[static 2])
{
	struct hot *h = place(st, hash);
	return h && h->used && h->hash[0] == hash[0] && h->hash[1] == hash[1] ? h : NULL;
}

bool hot_get(struct store *st, const struct probe *p, struct raw *out)
{
	const struct hot *h = find(st, p->hash);
	if (!h)
		return false;
	const struct change *c = &h->c;
	*out = (struct raw){
		.f = { c->seq, c->inst, (uint16_t)(c->flags & ~FRAG_GONE), c->cut, h->key, h->body, c->len },
		.kind = (uint8_t)c->kind, .keylen = (uint8_t)c->keylen, .gone = c->flags & FRAG_GONE,
	};
	return true;
}

/* To the log. */
static int put_out(struct store *st, struct hot *h)
{
	h->used = false;
	return store_append(st, &h->c, h->hash);
}

int hot_put(struct store *st, const struct change *c, const struct probe *p, bool *taken)
{
	struct hot *h;
	*taken = c->len <= HOT_BODY;
	if (!*taken) {
		h = find(st, p->hash);
		return h ? put_out(st, h) : 0;
	}
	if (!st->hot && !(st->hot = calloc(HOTS, sizeof *st->hot)))
		return -1;
	h = place(st, p->hash);
	if (h->used && h != find(st, p->hash) && put_out(st, h) != 0)
		return -1;
	h->used = true;
	memcpy(h->hash, p->hash, sizeof h->hash);
	h->c = *c;
	memcpy(h->key, c->key, c->keylen);
	if (c->len)
		memmove(h->body, c->body, c->len);
	h->c.key = h->key;
	h->c.body = h->body;
	return 0;
}

int hot_flush(struct store *st)
{
	for (unsigned i = 0; st->hot && i < HOTS; i++)
		if (st->hot[i].used && put_out(st, st->hot + i) != 0)
			return -1;
	return 0;
}

void hot_free(struct store *st)
{
	if (st->hot)
		crypto_wipe(st->hot, HOTS * sizeof *st->hot);
	free(st->hot);
	st->hot = NULL;
}
