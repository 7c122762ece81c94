/* bulk.c - what a long load leaves in the store, so that a crash does not throw
 * it back to its beginning.
 *
 * The names of a new instance carry a sequence that is committed already: nobody
 * sees them before the catalog names the instance.  So the load may commit on its
 * way, at that sequence, and with each such commit it leaves *notes*:
 *   0: what 8 (enum bulk_what) | journal id 16 | sequence 64 | chain 32 | time 64 |
 *      first instance 32 | parts 32 | zones 32 | notes 32 |
 *      instance 32 (0: between two zones) | zone's name | kind 8 of the last name, 0: none | its owner
 *   1..: parts' hashes 32 | SHA-256 of each | zones that have ended, each
 *      instance 32 | serial 32 | expire 32 | name
 * Parts are chunks of a snapshot, or parts of a transaction; the ended zones wait
 * for the end, as the catalog must change with everything else.
 * States: none -> under way -> done (the notes go with the commit that shows it
 * all) or dropped.  Notes are authenticated like all else; still a note that does
 * not parse is no load, and it begins anew. */
#include "journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NOTE_MAX (NAME_MAX_LEN * 2 + 256)

int bulk_begin(struct bulk *l, struct store *st, enum bulk_what what, const uint8_t id[static JOURNAL_ID],
               const struct head *at, uint32_t first_inst)
{
	l->st = st;
	if (bulk_forget(l) != 0)
		return -1;
	l->what = what;
	memcpy(l->id, id, JOURNAL_ID);
	l->at = *at;
	l->first_inst = first_inst;
	l->parts = l->zones = 0;
	l->since = l->all = l->kept = 0;
	return 0;
}

static void zone_put(struct buf *b, const struct store_zone *z)
{
	uint8_t head[12];
	put_u32(head, z->inst);
	put_u32(head + 4, z->serial);
	put_u32(head + 8, z->expire);
	buf_put(b, head, sizeof head);
	buf_put(b, z->name, name_len(z->name));
}

static bool zone_read(struct rd *r, struct store_zone *z)
{
	*z = (struct store_zone){ .inst = rd_u32(r), .state = ZONE_SERVING };
	z->serial = rd_u32(r);
	z->expire = rd_u32(r);
	z->labels = name_read(r, z->name) ? (uint8_t)name_labels(z->name) : 0;
	return !r->bad;
}

void bulk_zone(struct bulk *l, const struct store_zone *z) { zone_put(&l->ended, z); }

/* ---- leaving notes ---- */

static size_t state_write(const struct bulk *l, const struct applier *a, uint8_t out[static NOTE_MAX])
{
	struct wr w = wr_init(out, NOTE_MAX);
	wr_u8(&w, l->what);
	wr_bytes(&w, l->id, JOURNAL_ID);
	wr_u64(&w, l->at.seq);
	wr_bytes(&w, l->at.chain, CHAIN_LEN);
	wr_u64(&w, l->at.time);
	wr_u32(&w, l->first_inst);
	wr_u32(&w, l->parts);
	wr_u32(&w, a->zones);
	wr_u32(&w, l->notes);
	wr_u32(&w, a->have_zone ? a->zone.inst : 0);
	wr_bytes(&w, a->have_zone ? a->zone.name : (const uint8_t *)"", a->have_zone ? name_len(a->zone.name) : 1);
	wr_u8(&w, a->fresh ? a->last_kind : 0);
	if (a->fresh && a->last_kind)
		wr_bytes(&w, a->last, name_len(a->last));
	return wr_len(&w);
}

/* May it commit here, between two parts? */
static bool can_commit(const struct bulk *l, const struct applier *a)
{
	/* an existing instance's changes, or the catalog's, can't be half committed */
	return (!a->have_zone || a->made) && store_last_seq(l->st) == store_seq(l->st);
}

/* Checkpoints at growing distances: each writes the whole index. */
static int housekeep(struct bulk *l)
{
	if (l->all - l->kept < 8 * BULK_STEP || l->all - l->kept < l->all / 4)
		return 0;
	l->kept = l->all;
	return store_tick(l->st) < 0 ? -1 : 0;
}

int bulk_part(struct bulk *l, const struct applier *a, const uint8_t *hash, size_t octets)
{
	uint8_t state[NOTE_MAX], meta[STORE_META], head[4];
	uint64_t seq = store_seq(l->st);
	if (l->what == BULK_NONE)
		return 0;
	l->parts++;
	if (hash)
		buf_put(&l->hashes, hash, 32);
	l->since += octets;
	l->all += octets;
	if (l->since < (l->step ? l->step : BULK_STEP) || !can_commit(l, a))
		return 0;
	struct buf note = { 0 };
	put_u32(head, (uint32_t)(l->hashes.n / 32));
	buf_put(&note, head, sizeof head);
	buf_put(&note, l->hashes.p, l->hashes.n);
	buf_put(&note, l->ended.p, l->ended.n);
	l->notes++;
	memcpy(meta, store_meta(l->st), sizeof meta);
	int r = -1;
	if (note.bad || l->hashes.bad || l->ended.bad)
		errno = ENOMEM;
	else if (note.n > BODY_MAX) /* very many zones: all of them later, or none of it */
		r = 1;
	else if (store_note(l->st, seq, l->notes, note.p, (uint32_t)note.n) == 0 &&
	         store_note(l->st, seq, 0, state, (uint32_t)state_write(l, a, state)) == 0)
		r = store_commit(l->st, seq, meta) != 0 || housekeep(l) != 0 ? -1 : 0;
	buf_free(&note);
	l->since = 0;
	if (r == 0)
		l->hashes.n = l->ended.n = 0;
	else
		l->notes--;
	return r < 0 ? -1 : 0;
}

/* ---- and taking them up ---- */

static bool state_read(struct bulk *l, const struct frag *f)
{
	struct rd r = rd_init(f->body, f->len);
	struct bulk b = *l;
	b.what = (enum bulk_what)rd_u8(&r);
	rd_copy(&r, b.id, JOURNAL_ID);
	b.at.seq = rd_u64(&r);
	rd_copy(&r, b.at.chain, CHAIN_LEN);
	b.at.time = rd_u64(&r);
	b.first_inst = rd_u32(&r);
	b.parts = rd_u32(&r);
	b.zones = rd_u32(&r);
	b.notes = rd_u32(&r);
	b.zone.inst = rd_u32(&r);
	if (!name_read(&r, b.zone.name))
		return false;
	b.zone.labels = (uint8_t)name_labels(b.zone.name);
	b.last_kind = rd_u8(&r);
	b.last[0] = 0;
	if (b.last_kind)
		name_read(&r, b.last);
	if (r.bad || rd_left(&r))
		return false;
	*l = b;
	return true;
}

/* A note: its hashes go behind `hashes`, its zones to each(). */
static int note_read(struct bulk *l, uint32_t number, struct buf *hashes, int (*each)(struct bulk *, struct store_zone *))
{
	struct frag f;
	struct store_zone z;
	struct scratch s;
	if (scratch_new(&s, BODY_MAX + 4096) != 0)
		return -1;
	int r = store_note_get(l->st, number, &s, &f) == STORE_FOUND ? 0 : -1;
	struct rd in = rd_init(f.body, r == 0 ? f.len : 0);
	const uint8_t *h = rd_take(&in, (size_t)rd_u32(&in) * 32);
	if (h && hashes)
		buf_put(hashes, h, (size_t)(in.p - h));
	while (r == 0 && rd_left(&in))
		r = zone_read(&in, &z) ? each(l, &z) : -1;
	scratch_free(&s);
	return in.bad ? -1 : r;
}

static int keep(struct bulk *l, struct store_zone *z) { return store_keep_instance(l->st, z->inst); }

bool bulk_take_up(struct bulk *l, struct store *st, struct buf *hashes)
{
	struct frag f;
	struct scratch s;
	l->st = st;
	if (scratch_new(&s, NOTE_MAX * 4) != 0)
		return false;
	bool good = store_note_get(st, 0, &s, &f) == STORE_FOUND && state_read(l, &f);
	scratch_free(&s);
	for (uint32_t i = 1; good && i <= l->notes; i++)
		good = note_read(l, i, hashes, keep) == 0;
	if (good && l->zone.inst)
		good = store_keep_instance(st, l->zone.inst) == 0;
	if (good && (hashes == NULL || (!hashes->bad && hashes->n == l->parts * 32ull)))
		return true;
	l->what = BULK_NONE;
	return false;
}

void bulk_resume(struct bulk *l, struct applier *a)
{
	a->zones = l->zones;
	a->have_zone = a->made = l->zone.inst != 0;
	a->base = store_seq(l->st);
	if (!a->have_zone)
		return;
	a->zone = l->zone;
	a->fresh = l->last_kind != 0;
	a->last_kind = l->last_kind;
	memcpy(a->last, l->last, sizeof a->last);
}

/* ---- its end ---- */

static int show(struct bulk *l, struct store_zone *z) { return store_zone_put(l->st, l->at.seq, z); }

int bulk_end(struct bulk *l)
{
	struct rd r = rd_init(l->ended.p, l->ended.n);
	struct store_zone z;
	if (l->ended.bad) {
		errno = ENOMEM;
		return -1;
	}
	for (uint32_t i = 1; i <= l->notes; i++)
		if (note_read(l, i, NULL, show) != 0)
			return -1;
	while (rd_left(&r))
		if (!zone_read(&r, &z) || show(l, &z) != 0)
			return -1;
	return bulk_forget(l);
}

int bulk_forget(struct bulk *l)
{
	int r = 0;
	for (uint32_t i = 0; l->notes && i <= l->notes && r == 0; i++)
		r = store_note(l->st, store_last_seq(l->st), i, NULL, 0);
	l->what = BULK_NONE;
	l->hashes.n = l->ended.n = l->notes = 0;
	return r;
}

void bulk_free(struct bulk *l)
{
	buf_free(&l->hashes);
	buf_free(&l->ended);
}
