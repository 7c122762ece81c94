/* log.c - the log: fragments appended, groups committed, the tail replayed.
 *
 * A fragment goes to a buffer; its slot in the index is set when its octets are
 * in the file (behind.c); it becomes visible when its group's commit is durable.
 * Threat: a crash at any instant, and the disk.  Recovery believes a group
 * only with its commit, a commit only behind the one before it. */
#include "store/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int store_fail(struct store *st)
{
	st->failed = true;
	return -1;
}

static struct extent *extent(const struct store *st) { return st->extents + st->nextents - 1; }

void log_live(struct store *st, uint64_t unit, int64_t units)
{
	struct logmeta *m = st->log + st->log[unit / BLOCK_UNITS].first;
	m->live = (uint32_t)((int64_t)m->live + units);
	st->live_units = (uint64_t)((int64_t)st->live_units + units);
}

void log_replace(struct store *st, uint64_t unit, uint64_t units)
{
	struct logmeta *m = st->log + st->log[unit / BLOCK_UNITS].first;
	m->replaced = log_replaced(st, m) + (uint32_t)units;
	m->commit = st->commits;
	st->replaced_units += units;
}

int log_extent_add(struct store *st, struct extent e)
{
	if (st->nextents == st->extent_room) {
		size_t room = st->extent_room ? st->extent_room * 2 : 64;
		struct extent *x = realloc(st->extents, room * sizeof *x);
		if (!x)
			return -1;
		st->extents = x;
		st->extent_room = room;
	}
	st->extents[st->nextents++] = e;
	for (uint32_t i = 0; i < e.nblocks; i++)
		st->log[e.block + i] = (struct logmeta){ .first = e.block };
	st->log_blocks += e.nblocks;
	space_use(st, e.block, e.nblocks, info_make(e.serial, e.salt, USE_LOG));
	return 0;
}

int log_extent(struct store *st)
{
	uint32_t block, n;
	if (space_extent(st, 1, &block, &n) != 0)
		return -1;
	struct extent e = { .block = block, .nblocks = n, .serial = st->next_serial++, .salt = st->salt_id };
	if (log_extent_add(st, e) != 0)
		return -1;
	st->at = st->fill.unit = st->map.pending_unit = (uint64_t)block * BLOCK_UNITS;
	st->fill.serial = e.serial;
	return 0;
}

static uint64_t extent_end(const struct extent *e)
{
	return (uint64_t)(e->block + e->nblocks) * BLOCK_UNITS;
}

/* Puts a fragment at st->at, which has room. */
static struct laid put(struct store *st, const struct change *c, uint64_t older)
{
	uint8_t *p = st->fill.buf + st->fill.len;
	uint32_t plain = (uint32_t)frag_pack(c, older, p + FRAG_CLEAR);
	size_t used = FRAG_CLEAR + plain + frag_taglen((uint8_t)c->kind);
	struct laid at = { st->at, frag_units((uint8_t)c->kind, plain) };
	p[0] = (uint8_t)c->kind;
	put_u24(p + 1, plain);
	memset(p + used, 0, at.units * UNIT - used);
	st->at += at.units;
	st->fill.len += (uint32_t)(at.units * UNIT);
	st->map.pending_units = st->fill.len / UNIT;
	if (!c->fresh)
		log_seal(st);
	st->tail_bytes += at.units * UNIT;
	extent(st)->insts |= inst_bit(c->inst);
	return at;
}

/* What waits in the buffer goes to the file while others are appended. */
static void hand_over(struct store *st)
{
	log_hand_over(st, st->at);
	st->fill.serial = extent(st)->serial;
	log_behind(st);
}

/* The log goes on in a new extent with room for so many units: the last
 * fragment of the old one says so. */
static int next_extent(struct store *st, uint64_t units)
{
	uint8_t body[NEXT_LEN];
	uint32_t block, n;
	if (log_wait(st) != 0 ||
	    space_extent(st, (uint32_t)((units + BLOCK_UNITS - 1) / BLOCK_UNITS), &block, &n) != 0)
		return -1;
	struct extent e = { .block = block, .nblocks = n, .serial = st->next_serial++, .salt = st->salt_id };
	struct wr w = wr_init(body, sizeof body);
	wr_u32(&w, e.block);
	wr_u16(&w, e.nblocks);
	wr_u40(&w, e.serial);
	put(st, &(struct change){ .kind = FRAG_NEXT, .body = body, .len = sizeof body, .fresh = true }, 0);
	extent(st)->end = st->at;
	if (log_extent_add(st, e) != 0)
		return -1;
	st->at = (uint64_t)block * BLOCK_UNITS;
	hand_over(st);
	return 0;
}

int log_append(struct store *st, const struct change *c, uint64_t older, struct laid *at)
{
	uint64_t need = frag_units((uint8_t)c->kind, FRAG_HEAD_MAX + c->keylen + c->len) +
	                frag_units(FRAG_NEXT, FRAG_HEAD_MAX + NEXT_LEN);
	if (st->at + need > extent_end(extent(st)) && next_extent(st, need) != 0)
		return -1;
	/* the buffer always has room for one more fragment: it is full far below its size */
	if (st->fill.len >= LOG_FLUSH) {
		if (log_wait(st) != 0)
			return -1;
		hand_over(st);
	}
	*at = put(st, c, older);
	if (c->kind != FRAG_COMMIT)
		st->group++;
	st->tail_ops++;
	return 0;
}

/* ---- how far the log has durably come (format.h) ---- */

static void reached_mac(const struct store *st, const uint8_t serial[static 8], uint8_t out[static 32])
{
	struct part p[] = { { "reached", 8 }, { st->id, sizeof st->id }, { serial, 8 } };
	key_mac(st->super_key, p, 3, out);
}

static int reached_write(struct store *st)
{
	uint8_t b[8 + 32];
	bool synced;
	uint64_t serial = extent(st)->serial;
	put_u64(b, serial);
	reached_mac(st, b, b + 8);
	if (io_write_synced(st->fd, b, REACHED_LEN, REACHED_AT + (serial & 1) * SUPER_SIZE, &synced) != REACHED_LEN ||
	    (!synced && io_sync(st->fd) != 0))
		return -1;
	st->reached = serial;
	return 0;
}

static uint64_t reached_read(const struct store *st)
{
	uint64_t most = 0;
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *b = st->base + REACHED_AT + i * SUPER_SIZE;
		uint8_t mac[32];
		reached_mac(st, b, mac);
		if (crypto_equal(mac, b + 8, 16) && get_u64(b) > most)
			most = get_u64(b);
	}
	return most;
}

bool log_reached_sound(const struct store *st, unsigned which)
{
	const uint8_t *b = st->base + REACHED_AT + which * SUPER_SIZE;
	uint8_t mac[32], any = 0;
	for (unsigned i = 0; i < REACHED_LEN; i++)
		any |= b[i];
	reached_mac(st, b, mac);
	return !any || crypto_equal(mac, b + 8, 16);
}

int log_commit(struct store *st, uint64_t seq, const uint8_t meta[static STORE_META])
{
	uint8_t body[COMMIT_LEN];
	struct laid at;
	struct wr w = wr_init(body, sizeof body);
	wr_u64(&w, seq);
	wr_bytes(&w, st->commit_tag, TAG_LONG);
	wr_u32(&w, st->group);
	wr_u32(&w, st->next_inst);
	wr_bytes(&w, meta, STORE_META);
	struct change c = { .kind = FRAG_COMMIT, .seq = seq, .body = body, .len = sizeof body };
	if (log_append(st, &c, 0, &at) != 0)
		return store_fail(st);
	const uint8_t *sealed = st->fill.buf + (at.unit - st->fill.unit) * UNIT;
	memcpy(st->commit_tag, sealed + FRAG_CLEAR + get_u24(sealed + 1), TAG_LONG);
	if (log_flush(st, true) != 0 || defer_show(st) != 0)
		return -1;
	if (!st->memory && extent(st)->serial > st->reached && reached_write(st) != 0)
		return store_fail(st);
	st->group = st->changes = 0;
	st->replaced_units = 0;
	st->commits++;
	st->seq = seq;
	memcpy(st->meta, meta, STORE_META);
	return 0;
}

/* ---- recovery ---- */

struct commit { uint64_t seq; uint8_t before[TAG_LONG]; uint32_t group, next_inst; const uint8_t *meta; };

static bool commit_parse(const struct raw *r, struct commit *out)
{
	struct rd b = rd_init(r->f.body, r->f.len);
	struct commit c;
	c.seq = rd_u64(&b);
	rd_copy(&b, c.before, TAG_LONG);
	c.group = rd_u32(&b);
	c.next_inst = rd_u32(&b);
	c.meta = rd_take(&b, STORE_META);
	if (b.bad || rd_left(&b))
		return false;
	*out = c;
	return true;
}

static bool next_parse(const struct store *st, const struct raw *r, struct extent *out)
{
	struct rd b = rd_init(r->f.body, r->f.len);
	struct extent e = { .salt = extent(st)->salt };
	e.block = rd_u32(&b);
	e.nblocks = rd_u16(&b);
	e.serial = rd_u40(&b);
	if (b.bad || rd_left(&b) || e.nblocks == 0 || e.nblocks > EXTENT_BLOCKS || e.block == 0 ||
	    (uint64_t)e.block + e.nblocks > atomic_load(&st->root->blocks))
		return false;
	*out = e;
	return true;
}

/* Reads one fragment of the tail; false: nothing (more) that belongs to it. */
static bool tail_read(struct store *st, uint64_t unit, struct raw *out)
{
	const uint8_t *c = st->base + unit * UNIT;
	if (unit >= extent_end(extent(st)) || c[0] < FRAG_NAME || c[0] > FRAG_NEXT)
		return false;
	if (unit + frag_units(c[0], get_u24(c + 1)) > extent_end(extent(st)))
		return false;
	st->scratch.used = 0;
	return frag_open(&st->map, st->root, unit, &st->scratch, out) == STORE_FOUND;
}

static const uint8_t *tail_tag(const struct store *st, const struct raw *r)
{
	const uint8_t *c = st->base + r->unit * UNIT;
	return c + FRAG_CLEAR + get_u24(c + 1);
}

/* Behind a gap: a commit that doesn't follow our last one was acknowledged
 * once, so the gap is damage and no torn tail. */
static bool commit_behind(struct store *st, uint64_t unit)
{
	struct raw r;
	struct commit c;
	for (; unit < extent_end(extent(st)); unit++)
		if (st->base[unit * UNIT] == FRAG_COMMIT && tail_read(st, unit, &r) && commit_parse(&r, &c) &&
		    memcmp(c.before, st->commit_tag, TAG_LONG) != 0)
			return true;
	return false;
}

struct tail { uint64_t end; size_t extents; uint64_t count; };

/* First pass: how far do whole groups go?  Registers the extents on the way. */
static int tail_scan(struct store *st, struct tail *t, char *err, size_t n)
{
	uint64_t unit = st->at;
	uint32_t group = 0;
	struct raw r;
	struct commit c;
	struct extent e;
	*t = (struct tail){ unit, st->nextents, 0 };
	while (tail_read(st, unit, &r)) {
		unit += r.units;
		if (r.kind == FRAG_NEXT) {
			if (!next_parse(st, &r, &e))
				break;
			extent(st)->end = unit;
			if (log_extent_add(st, e) != 0)
				break;
			unit = (uint64_t)e.block * BLOCK_UNITS;
			if (e.serial >= st->next_serial)
				st->next_serial = e.serial + 1;
		} else if (r.kind != FRAG_COMMIT) {
			group++;
		} else {
			if (!commit_parse(&r, &c) || memcmp(c.before, st->commit_tag, TAG_LONG) != 0 ||
			    c.group != group)
				break;
			memcpy(st->commit_tag, tail_tag(st, &r), TAG_LONG);
			memcpy(st->meta, c.meta, STORE_META);
			st->seq = c.seq;
			st->next_inst = c.next_inst;
			*t = (struct tail){ unit, st->nextents, t->count + group + 1 };
			group = 0;
		}
	}
	st->reached = reached_read(st);
	if (commit_behind(st, unit) || st->extents[t->extents - 1].serial < st->reached) {
		snprintf(err, n, "%s: damaged at octet %llu: later transactions follow; load it again from the hub",
		         st->name, (unsigned long long)(unit * UNIT));
		return -1;
	}
	return 0;
}

/* Writes [unit, end) of the log where it lies once more.  When the writer
 * before us met a failed sync, its pages may be clean in memory and yet not on
 * the disk; only written anew are they part of what the next sync promises. */
static int tail_rewrite(struct store *st, uint64_t unit, uint64_t end)
{
	while (unit < end) {
		uint64_t n = (end - unit) * UNIT < LOG_BUFFER ? (end - unit) * UNIT : LOG_BUFFER;
		memcpy(st->fill.buf, st->base + unit * UNIT, n); /* idle: nothing waits in it yet */
		ssize_t w = io_write(st->fd, st->fill.buf, n, unit * UNIT);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < (ssize_t)UNIT) {
			errno = w < 0 ? errno : ENOSPC;
			return -1;
		}
		unit += (uint64_t)w / UNIT;
		st->unsynced = true;
	}
	return 0;
}

/* Fragments of the tail on their way to the index: a few at a time, so that what
 * the index has of their keys is on its way, too. */
#define TAIL_AHEAD 32u
struct ahead { unsigned n; struct { struct raw r; struct probe p; } at[TAIL_AHEAD]; };

/* Second pass: one fragment into the index. */
static int tail_apply(struct store *st, const struct raw *r, const struct probe *p)
{
	struct raw old;
	size_t mark = st->scratch.used;
	enum store_found was = frag_find(&st->map, st->root, p, &st->scratch, &old);
	if (was == STORE_DAMAGED) {
		errno = EBADMSG;
		return -1;
	}
	bool had = was == STORE_FOUND && !old.gone;
	if (r->kind == FRAG_NAME)
		st->names += (uint64_t)!r->gone - (uint64_t)had;
	if (had)
		log_live(st, old.unit, -(int64_t)old.units);
	if (!r->gone)
		log_live(st, r->unit, (int64_t)r->units);
	if (r->kind == FRAG_ZONE && had && zone_replayed(st, &old, r) != 0)
		return -1;
	st->scratch.used = mark;
	return segment_set(st, p->hash, r->unit, was == STORE_FOUND ? old.unit : 0);
}

static int tail_apply_all(struct store *st, struct ahead *a)
{
	int r = 0;
	for (unsigned i = 0; i < a->n; i++)
		store_fetch(&st->map, &a->at[i].p);
	for (unsigned i = 0; i < a->n && r == 0; i++)
		r = tail_apply(st, &a->at[i].r, &a->at[i].p);
	a->n = 0;
	st->scratch.used = 0;
	return r;
}

static int tail_take(struct store *st, struct ahead *a, const struct raw *r)
{
	struct probe *p = &a->at[a->n].p;
	a->at[a->n++].r = *r;
	probe_init(&st->map, p, (enum frag_kind)r->kind, r->f.inst, r->f.owner, r->keylen, UINT64_MAX);
	segment_touch(st, p->hash);
	/* the longest come alone: the scratch has room for a few */
	bool full = a->n == TAIL_AHEAD || st->scratch.size - st->scratch.used < 4 * (size_t)FRAG_PLAIN_MAX;
	return full ? tail_apply_all(st, a) : 0;
}

/* The second pass; it begins in extent x. */
static int tail_replay(struct store *st, const struct tail *t, size_t x, char *err, size_t n)
{
	struct ahead ahead RAW;
	struct raw r;
	uint64_t unit = st->at, from = unit;
	ahead.n = 0;
	st->scratch.used = 0;
	while (unit != t->end) {
		size_t mark = st->scratch.used;
		if (frag_open(&st->map, st->root, unit, &st->scratch, &r) != STORE_FOUND) {
			snprintf(err, n, "%s: can't be read", st->name);
			return -1;
		}
		unit += r.units;
		if (!st->check && (r.kind == FRAG_NEXT || unit == t->end) && tail_rewrite(st, from, unit) != 0) {
			snprintf(err, n, "%s: the log can't be written: %s", st->name, strerror(errno));
			return -1;
		}
		int bad = 0;
		if (r.kind == FRAG_NEXT || r.kind == FRAG_COMMIT)
			st->scratch.used = mark; /* nothing of it is looked at again */
		if (r.kind == FRAG_NEXT) {
			from = unit = (uint64_t)st->extents[++x].block * BLOCK_UNITS;
		} else if (r.kind != FRAG_COMMIT) {
			st->extents[x].insts |= inst_bit(r.f.inst);
			bad = tail_take(st, &ahead, &r);
		}
		if (unit == t->end && !bad)
			bad = tail_apply_all(st, &ahead);
		if (bad) {
			snprintf(err, n, "%s: the index can't be brought up to date: %s", st->name,
			         strerror(errno));
			return -1;
		}
	}
	return 0;
}

/* Extents of an unfinished group, and what the last one has left, go back. */
static void tail_cut(struct store *st, const struct tail *t)
{
	for (size_t i = t->extents; i < st->nextents; i++) {
		space_use(st, st->extents[i].block, st->extents[i].nblocks, info_make(0, 0, USE_FREE));
		st->log_blocks -= st->extents[i].nblocks;
	}
	st->nextents = t->extents;
	struct extent *last = extent(st);
	uint32_t used = (uint32_t)((t->end + BLOCK_UNITS - 1) / BLOCK_UNITS) - last->block;
	space_use(st, last->block + used, last->nblocks - used, info_make(0, 0, USE_FREE));
	st->log_blocks -= last->nblocks - used;
	last->nblocks = used;
	last->end = t->end;
	if (used == 0)
		st->nextents--;
	st->at = t->end;
}

int log_recover(struct store *st, char *err, size_t n)
{
	struct tail t;
	size_t x = st->nextents - 1;
	if (tail_scan(st, &t, err, n) != 0 || tail_replay(st, &t, x, err, n) != 0)
		return -1;
	tail_cut(st, &t);
	return 0;
}
