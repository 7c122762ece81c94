/* snapshot.c - all zones at one sequence, or one of them, as operations, with a signed
 * manifest at the end.  A pin in the store keeps that sequence readable while
 * the world moves on. */
#include "hub/hub.h"
#include "hub/walk.h"

#include <errno.h>
#include <stdlib.h>

#define SCRATCH (3u << 20)

/* A zone as it was when the snapshot began. */
struct entry { uint32_t inst, serial, expire; size_t name; };

struct snapshot {
	struct hub *h;
	int pin;
	struct head at;          /* what it is a snapshot of */
	struct entry *zone;
	size_t nzones, room, next;
	bool alone;              /* one zone */
	struct buf names;        /* of the zones */
	struct walk walk;
	bool walking;
	struct buf hashes;
	uint8_t kind;            /* of the last name in this zone, 0: none yet */
	uint8_t owner[NAME_MAX_LEN]; /* and its owner, when a chunk began or ended behind it */
	struct buf places;       /* see put_place */
	struct scratch scratch;
};

static int list_zone(struct snapshot *s, const struct store_zone *z)
{
	if (s->nzones == s->room) {
		size_t room = s->room ? s->room * 2 : 256;
		struct entry *e = realloc(s->zone, room * sizeof *e);
		if (!e)
			return -1;
		s->zone = e;
		s->room = room;
	}
	s->zone[s->nzones++] = (struct entry){ z->inst, z->serial, z->expire, s->names.n };
	buf_put(&s->names, z->name, name_len(z->name));
	return s->names.bad ? -1 : 0;
}

static int list_zones(struct snapshot *s, const uint8_t *only)
{
	struct store_zone z;
	if (only)
		return store_zone_get(s->h->store, only, &z) == STORE_FOUND ? list_zone(s, &z) : -1;
	enum store_found r = store_zone_next(s->h->store, NULL, &z);
	for (; r == STORE_FOUND; r = store_zone_next(s->h->store, z.name, &z))
		if (list_zone(s, &z) != 0)
			return -1;
	return r == STORE_ABSENT ? 0 : -1;
}

struct snapshot *snapshot_begin(struct hub *h, const uint8_t *only)
{
	struct snapshot *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->h = h;
	s->alone = only != NULL;
	s->at = (struct head){ .seq = h->seq, .time = h->time };
	memcpy(s->at.chain, h->chain, CHAIN_LEN);
	s->pin = store_pin(h->store, store_seq(h->store));
	if (s->pin >= 0 && scratch_new(&s->scratch, SCRATCH) == 0 && list_zones(s, only) == 0)
		return s;
	snapshot_end(s);
	return NULL;
}

void snapshot_end(struct snapshot *s)
{
	if (!s)
		return;
	if (s->pin >= 0)
		store_unpin(s->h->store, s->pin);
	scratch_free(&s->scratch);
	free(s->zone);
	buf_free(&s->names);
	buf_free(&s->hashes);
	buf_free(&s->places);
	crypto_wipe(&s->walk, sizeof s->walk);
	free(s);
}

uint64_t snapshot_seq(const struct snapshot *s) { return s->at.seq; }

void snapshot_header(const struct snapshot *s, uint8_t out[static 8 + CHAIN_LEN + 8])
{
	put_u64(out, s->at.seq);
	memcpy(out + 8, s->at.chain, CHAIN_LEN);
	put_u64(out + 8 + CHAIN_LEN, s->at.time);
}

static void enter_zone(struct snapshot *s)
{
	const struct entry *e = s->zone + s->next;
	struct store_zone z = { .inst = e->inst };
	memcpy(z.name, s->names.p + e->name, name_len(s->names.p + e->name));
	z.labels = (uint8_t)name_labels(z.name);
	walk_begin(&s->walk, store_reader(s->h->store), &z, store_pin_seq(s->h->store, s->pin));
	s->walking = true;
	s->kind = 0;
}

/* The next name or turn of a zone into out; 0 at the very end. */
static int step(struct snapshot *s, struct buf *out)
{
	struct walk_name n;
	if (s->next == s->nzones)
		return 0;
	const struct entry *e = s->zone + s->next;
	if (!s->walking) {
		enter_zone(s);
		op_zone(out, s->walk.zone.name);
		op_plain(out, OP_ADD);
		return 1;
	}
	enum store_found r = walk_next(&s->walk, &s->scratch, &n);
	if (r == STORE_DAMAGED) {
		errno = EBADMSG;
		return -1;
	}
	if (r == STORE_FOUND) {
		op_edit_body(out, (uint8_t)n.kind, n.frag.flags, n.frag.cut, n.owner, n.frag.body, n.frag.len);
		s->kind = (uint8_t)n.kind;
		if (out->n >= PART_MAX)
			memcpy(s->owner, n.owner, name_len(n.owner));
		return 1;
	}
	op_serial(out, e->serial, e->expire);
	s->walking = false;
	s->next++;
	return 1;
}

/* ---- going back: zone 32 | walking 8 | kind 8 of the last name, 0: none | its owner |
 * length 16, of each chunk's beginning ---- */

static void put_place(struct snapshot *s)
{
	uint8_t p[6 + NAME_MAX_LEN + 2];
	struct wr w = wr_init(p, sizeof p);
	wr_u32(&w, (uint32_t)s->next);
	wr_u8(&w, s->walking);
	wr_u8(&w, s->walking ? s->kind : 0);
	if (s->walking && s->kind)
		wr_bytes(&w, s->owner, name_len(s->owner));
	wr_u16(&w, (uint32_t)wr_len(&w));
	buf_put(&s->places, p, wr_len(&w));
}

/* The last place goes, and is where we stand. */
static void take_place(struct snapshot *s)
{
	size_t n = get_u16(s->places.p + s->places.n - 2);
	s->places.n -= n + 2;
	struct rd r = rd_init(s->places.p + s->places.n, n);
	s->next = rd_u32(&r);
	s->walking = rd_u8(&r);
	uint8_t kind = rd_u8(&r);
	if (!s->walking)
		return;
	enter_zone(s);
	s->kind = kind;
	if (kind && name_read(&r, s->owner))
		walk_behind(&s->walk, (enum frag_kind)kind, s->owner);
}

bool snapshot_back(struct snapshot *s, uint32_t chunks)
{
	if (s->hashes.n < chunks * 32ull)
		return false;
	while (s->hashes.n > chunks * 32ull) {
		take_place(s);
		s->hashes.n -= 32;
	}
	return true;
}

int snapshot_next(struct snapshot *s, struct buf *out)
{
	uint8_t hash[32];
	int r = 1;
	size_t places = s->places.n;
	out->n = 0;
	put_place(s);
	while (out->n < PART_MAX && r == 1)
		r = step(s, out);
	if (r < 0 || out->bad || out->n == 0)
		s->places.n = places;
	if (r < 0 || out->bad)
		return -1;
	if (out->n) {
		sha256(out->p, out->n, hash);
		buf_put(&s->hashes, hash, sizeof hash);
		return s->hashes.bad || s->places.bad ? -1 : 1;
	}
	struct manifest m = { .seq = s->at.seq, .time = s->at.time, .zones = (uint32_t)s->nzones,
		              .chunks = (uint32_t)(s->hashes.n / 32) };
	sha256(s->hashes.p, s->hashes.n, m.sum);
	memcpy(m.chain, s->at.chain, CHAIN_LEN);
	if (s->alone)
		m.zone = s->names.p;
	return manifest_sign(s->h->signer, s->h->id, &m, out);
}
