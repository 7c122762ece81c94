/* checkpoint.c - what recovery starts from: the whole state but the log.
 *
 * A checkpoint is of one moment, its cut (struct checkpoint).  It is written
 * beside the last one, in slices, and becomes the truth when its first superblock
 * is durable; the blocks of the old one stay until the second is too.  A recovery
 * replays the log from the cut on, so commits need not wait for it.
 * Nothing is synced but what belongs to it: segments that take changes meanwhile
 * are not dragged along.
 * What it holds, all sealed (bare numbers count bits):
 *   sequence 64 | the journal's: 128 octets | next instance 32 | next serial 40 |
 *   names 64 | log position: unit 40 |
 *   tag of the last commit: 16 octets |
 *   number of salts 16, each  { id 16 | 32 octets } |
 *   number of segments 32, each  { directory index 16 | depth 8 | block 32 |
 *                                  salt id 16 | serial 48 | MAC: 16 octets } |
 *   number of extents 32, each  { block 32 | blocks 8 | serial 40 | salt id 16 |
 *       units filled 32 | units live 32 | instances 64 | flags 8 }
 * live: see struct logmeta; instances: a bit for each (inst_bit); flag 1: some
 * of them may be gone.  The last extent is the one being filled. */
#include "store/writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static const uint8_t magic[8] = "encdns-s";

int salt_add(struct store *st, uint16_t id, const uint8_t octets[static 32])
{
	struct salt *s = realloc(st->salts, (st->nsalts + 1) * sizeof *s);
	if (!s)
		return -1;
	st->salts = s;
	s += st->nsalts++;
	s->id = id;
	memcpy(s->octets, octets, 32);
	struct key *f = key_derive(st->key, "frag", octets, 32);
	struct key *g = key_derive(st->key, "segment", octets, 32);
	st->map.salt[id].frag = f ? aead_new(f) : NULL;
	st->map.salt[id].seg = g ? aead_new(g) : NULL;
	key_free(f);
	key_free(g);
	return st->map.salt[id].frag && st->map.salt[id].seg ? 0 : -1;
}

static int table_key(struct store *st, const uint8_t octets[static 32])
{
	struct key *k = key_derive(st->key, "table", octets, 32);
	aead_free(st->table_key);
	st->table_key = k ? aead_new(k) : NULL;
	key_free(k);
	return st->table_key ? 0 : -1;
}

int salt_fresh(struct store *st)
{
	uint8_t octets[32];
	/* rising, so that a reader with older keys meets no id twice; 0 marks
	 * blocks that are no log */
	uint32_t id = st->salt_id, tries = 0;
	do
		id = id + 1 < SALTS ? id + 1 : 1;
	while (st->map.salt[id].frag && ++tries < SALTS);
	if (tries == SALTS) {
		errno = EOVERFLOW;
		return -1;
	}
	crypto_random(octets, sizeof octets);
	st->salt_id = (uint16_t)id;
	return salt_add(st, (uint16_t)id, octets) != 0 || table_key(st, octets) != 0 ? -1 : 0;
}

/* Forgets salts under which nothing is left. */
void salt_prune(struct store *st)
{
	size_t kept = 0;
	uint8_t used[SALTS / 8] = { 0 };
	used[st->salt_id >> 3] |= (uint8_t)(1u << (st->salt_id & 7));
	for (size_t x = 0; x < st->nextents; x++)
		used[st->extents[x].salt >> 3] |= (uint8_t)(1u << (st->extents[x].salt & 7));
	for (uint32_t i = 0; i < DIR_SIZE;) {
		uint32_t block = atomic_load(&st->root->dir[i]);
		uint16_t id = root_macs(st->root)[block].salt;
		used[id >> 3] |= (uint8_t)(1u << (id & 7));
		i += 1u << (DIR_BITS - st->seg[block].depth);
	}
	for (size_t i = 0; i < st->nsalts; i++) {
		uint16_t id = st->salts[i].id;
		if (used[id >> 3] >> (id & 7) & 1) {
			st->salts[kept++] = st->salts[i];
			continue;
		}
		aead_free(st->map.salt[id].frag);
		aead_free(st->map.salt[id].seg);
		st->map.salt[id] = (struct salt_keys){ 0 };
	}
	st->nsalts = kept;
}

static const uint8_t *salt_octets(const struct store *st, uint16_t id)
{
	for (size_t i = 0; i < st->nsalts; i++)
		if (st->salts[i].id == id)
			return st->salts[i].octets;
	return NULL;
}

/* ---- writing ---- */

/* In the directory's order, each once.  The MACs of those made since the cut
 * before are blank for now. */
static void put_segments(struct store *st, struct wr *w, struct checkpoint *c)
{
	static const uint8_t blank[16];
	wr_u32(w, segment_count(st));
	for (uint32_t i = 0; i < DIR_SIZE;) {
		uint32_t block = atomic_load(&st->root->dir[i]);
		const struct segmeta *sm = st->seg + block;
		const struct segmac *mac = root_macs(st->root) + block;
		bool made = segment_fresh(st, block);
		wr_u16(w, i);
		wr_u8(w, sm->depth);
		wr_u32(w, block);
		wr_u16(w, made ? st->salt_id : mac->salt);
		wr_u48(w, made ? c->serial : mac->serial);
		if (made)
			c->made[c->nmade++] = (struct made){ block, (uint32_t)wr_len(w) };
		wr_bytes(w, made ? blank : mac->mac, 16);
		i += 1u << (DIR_BITS - sm->depth);
	}
}

static int put_state(struct store *st, struct checkpoint *c)
{
	struct wr out = wr_init(c->state, c->room), *w = &out;
	wr_u64(w, st->seq);
	wr_bytes(w, st->meta, STORE_META);
	wr_u32(w, st->next_inst);
	wr_u40(w, st->next_serial);
	wr_u64(w, st->names);
	wr_u40(w, st->at);
	wr_bytes(w, st->commit_tag, TAG_LONG);
	wr_u16(w, (uint32_t)st->nsalts);
	for (size_t i = 0; i < st->nsalts; i++) {
		wr_u16(w, st->salts[i].id);
		wr_bytes(w, st->salts[i].octets, 32);
	}
	put_segments(st, w, c);
	uint64_t pending = inst_pending(st);
	wr_u32(w, (uint32_t)st->nextents);
	for (size_t i = 0; i < st->nextents; i++) {
		const struct extent *e = st->extents + i;
		wr_u32(w, e->block);
		wr_u8(w, e->nblocks);
		wr_u40(w, e->serial);
		wr_u16(w, e->salt);
		wr_u32(w, (uint32_t)((i + 1 < st->nextents ? e->end : st->at) - (uint64_t)e->block * BLOCK_UNITS));
		wr_u32(w, st->log[e->block].live);
		wr_u64(w, e->insts);
		wr_u8(w, e->suspect || (e->insts & pending) != 0);
	}
	c->len = wr_len(w);
	errno = EOVERFLOW;
	return w->bad ? -1 : 0;
}

static size_t state_size(const struct store *st)
{
	return 512 + st->nsalts * 34 + segment_count(st) * 31ull + st->nextents * 29;
}

/* ---- the cut ---- */

static int made_cmp(const void *a, const void *b)
{
	const struct made *x = a, *y = b;
	return (x->block > y->block) - (x->block < y->block);
}

static void forget(struct checkpoint *c)
{
	if (c->state)
		crypto_wipe(c->state, c->room);
	free(c->state);
	free(c->made);
	free(c->blocks);
	*c = (struct checkpoint){ .wait = c->wait };
}

void checkpoint_free(struct store *st)
{
	forget(&st->ckpt);
	free(st->ckpt.wait.at);
}

static size_t table_blocks(size_t len) { return (len + TABLE_ROOM - 1) / TABLE_ROOM; }

/* Memory and blocks for what is there now. */
static int provide(struct store *st, struct checkpoint *c)
{
	c->room = state_size(st);
	c->state = malloc(c->room);
	c->made = malloc(segment_count(st) * sizeof *c->made);
	c->blocks = calloc(table_blocks(c->room), sizeof *c->blocks);
	if (!c->state || !c->made || !c->blocks)
		return -1;
	for (; c->nblocks < table_blocks(c->room); c->nblocks++)
		if (space_alloc(st, 1, USE_TABLE, &c->blocks[c->nblocks]) != 0)
			return -1;
	return 0;
}

static void unuse(struct store *st, struct checkpoint *c, size_t from)
{
	while (c->nblocks > from)
		space_free(st, c->blocks[--c->nblocks]);
}

int checkpoint_cut(struct store *st)
{
	struct checkpoint *c = &st->ckpt;
	/* behind a commit it is synced already, but not what a recovery wrote anew */
	if (log_settle(st) != 0 || defer_settle(st) != 0 || log_sync(st) != 0)
		return -1;
	salt_prune(st);
	c->serial = st->ckpt_serial + 1;
	if (provide(st, c) != 0 || put_state(st, c) != 0) {
		int e = errno;
		unuse(st, c, 0);
		forget(c);
		errno = e;
		return -1;
	}
	unuse(st, c, table_blocks(c->len));
	/* neighbours on the disk are synced in one go */
	qsort(c->made, c->nmade, sizeof *c->made, made_cmp);
	c->phase = CKPT_SEGMENTS;
	st->cuts++;
	st->tail_ops = st->tail_bytes = 0;
	st->cut_live = st->live_units;
	space_cut(st);
	return 0;
}

/* ---- the slices ---- */

#define AHEAD 16u /* segments that are on their way to the disk */
#define RUN   4u  /* at most so many are waited for at a time */

static void mac_segment(struct store *st, struct checkpoint *c, const struct made *m)
{
	struct segmac *mac = root_macs(st->root) + m->block;
	segment_mac(st->map.salt[st->salt_id].seg, st->base + (uint64_t)m->block * BLOCK, m->block, c->serial, mac->mac);
	memcpy(c->state + m->at, mac->mac, 16);
	/* a reader verifies what was out of our sight; salt before serial */
	mac->salt = st->salt_id;
	__atomic_store_n(&mac->serial, c->serial, __ATOMIC_RELEASE);
	if (!st->memory)
		io_begin(st->fd, (uint64_t)m->block * BLOCK, BLOCK);
}

static int step_segments(struct store *st, struct checkpoint *c)
{
	if (c->ahead < c->nmade && c->ahead - c->done < AHEAD) {
		mac_segment(st, c, c->made + c->ahead++);
		return 0;
	}
	const struct made *m = c->made + c->done;
	uint64_t n = 1, off;
	while (c->done + n < c->ahead && n < RUN && m[n].block == m->block + n)
		n++;
	off = (uint64_t)m->block * BLOCK;
	c->done += n;
	return st->memory ? 0 : io_sync_mapped(st->fd, st->base + off, n * BLOCK, off);
}

/* A write that is durable on return. */
static int write_synced(struct store *st, const uint8_t *p, size_t n, uint64_t off)
{
	bool synced = true;
	ssize_t w = st->memory ? io_write(st->fd, p, n, off) : io_write_synced(st->fd, p, n, off, &synced);
	if (w >= 0 && w != (ssize_t)n)
		errno = ENOSPC;
	return w != (ssize_t)n || (!synced && io_sync(st->fd) != 0) ? -1 : 0;
}

/* One block of the table. */
static int step_table(struct store *st, struct checkpoint *c)
{
	uint8_t nonce[12], *b = calloc(1, BLOCK);
	size_t i = c->done++, at = i * TABLE_ROOM, n = c->len - at < TABLE_ROOM ? c->len - at : TABLE_ROOM;
	if (!b)
		return -1;
	put_u32(b, i + 1 < c->nblocks ? c->blocks[i + 1] : 0);
	put_u32(b + 4, (uint32_t)n);
	memcpy(b + 8, c->state + at, n);
	put_u48(nonce, c->serial);
	put_u48(nonce + 6, i);
	aead_seal(st->table_key, nonce, NULL, 0, b, BLOCK - 16, b + BLOCK - 16, 16);
	int r = write_synced(st, b, BLOCK, (uint64_t)c->blocks[i] * BLOCK);
	free(b);
	return r;
}

static int put_super(struct store *st, unsigned which, const struct checkpoint *c)
{
	uint8_t s[SUPER_SIZE] = { 0 }, mac[32];
	struct wr w = wr_init(s, sizeof s);
	wr_bytes(&w, magic, 8);
	wr_u32(&w, STORE_VERSION);
	wr_u32(&w, st->ordered);
	wr_bytes(&w, st->id, 16);
	wr_u64(&w, c->serial);
	wr_u16(&w, st->salt_id);
	wr_bytes(&w, salt_octets(st, st->salt_id), 32);
	wr_u32(&w, c->blocks[0]);
	wr_u32(&w, (uint32_t)c->nblocks);
	struct part p = { s, SUPER_BODY };
	key_mac(st->super_key, &p, 1, mac);
	wr_bytes(&w, mac, 16);
	return write_synced(st, s, sizeof s, which * SUPER_SIZE);
}

/* Both superblocks name it. */
static void complete(struct store *st, struct checkpoint *c)
{
	for (size_t i = 0; i < st->ntable; i++)
		space_retire(&c->wait, st->table[i], 0);
	free(st->table);
	st->table = c->blocks;
	st->ntable = c->nblocks;
	c->blocks = NULL;
	st->ckpt_serial = c->serial;
	st->checkpoints++;
	space_checkpointed(st);
	forget(c);
}

static int slice(struct store *st, struct checkpoint *c)
{
	int r;
	switch (c->phase) {
	case CKPT_SEGMENTS:
		r = c->nmade ? step_segments(st, c) : 0;
		if (r == 0 && c->done == c->nmade)
			c->phase = CKPT_TABLE, c->done = 0;
		return r;
	case CKPT_TABLE:
		r = step_table(st, c);
		if (r == 0 && c->done == c->nblocks)
			c->phase = CKPT_SUPERS, c->done = 0;
		return r;
	default:
		/* the one that is no use, or older, first */
		r = put_super(st, st->super ^ (unsigned)c->done++, c);
		if (r == 0 && c->done == 2)
			complete(st, c);
		return r;
	}
}

int checkpoint_step(struct store *st)
{
	return log_settle(st) != 0 || space_whole(st) != 0 || slice(st, &st->ckpt) != 0 ? store_fail(st) : 0;
}

int checkpoint_run(struct store *st, uint64_t until_ns)
{
	while (checkpoint_going(st)) {
		if (checkpoint_step(st) != 0)
			return -1;
		if (compact_clock() >= until_ns)
			break;
	}
	return 0;
}

int checkpoint_write(struct store *st)
{
	/* one that is under way is of an earlier moment */
	if (checkpoint_run(st, UINT64_MAX) != 0)
		return -1;
	return checkpoint_cut(st) != 0 ? store_fail(st) : checkpoint_run(st, UINT64_MAX);
}

/* ---- when ---- */

/* So many octets that are there for the last one's sake make one due. */
static uint64_t waste_due(const struct store *st)
{
	uint64_t bytes = st->live_units * UNIT / TAIL_PART;
	bytes = bytes < TAIL_BYTES ? bytes : TAIL_BYTES;
	return bytes > st->tune.tail_least ? bytes : st->tune.tail_least;
}

/* So many octets of log do: what only grows, as in a bulk load, wastes nothing, and
 * each checkpoint writes the whole index. */
static uint64_t tail_due(const struct store *st)
{
	uint64_t grown = st->live_units > st->cut_live ? (st->live_units - st->cut_live) * UNIT : 0;
	uint64_t bytes = waste_due(st) + grown;
	return bytes < TAIL_BYTES ? bytes : TAIL_BYTES;
}

/* By the log's tail, and when much of the log is only kept for the last one. */
bool checkpoint_due(const struct store *st)
{
	return !checkpoint_going(st) && (st->tail_ops >= TAIL_OPS || st->tail_bytes >= tail_due(st) ||
	                                 (uint64_t)st->log_waiting * BLOCK >= waste_due(st));
}

/* Is it less far than if it were to be done when such a part of the log is there
 * that makes the next one due? */
static bool behind(const struct store *st, unsigned part)
{
	const struct checkpoint *c = &st->ckpt;
	size_t all = 2 * c->nmade + c->nblocks + 2, done = c->done;
	done += c->phase == CKPT_SEGMENTS ? c->ahead : 2 * c->nmade + (c->phase == CKPT_SUPERS ? c->nblocks : 0);
	return checkpoint_going(st) && done * (tail_due(st) / part) < all * st->tail_bytes;
}

int checkpoint_pay(struct store *st)
{
	uint64_t until = 0;
	/* until it is done all that was retired takes its space: on a slow disk the
	 * clock counts no more when half of the way to the next is gone */
	while (behind(st, 8)) {
		uint64_t now = compact_clock();
		until = until ? until : now + st->tune.tick_ns;
		if (now >= until && !behind(st, 2))
			break;
		if (checkpoint_step(st) != 0)
			return -1;
	}
	return 0;
}

/* ---- reading ---- */

struct super {
	uint32_t version, flags, first, nblocks;
	uint64_t serial;
	uint16_t salt_id;
	uint8_t id[16], salt[32];
	enum { SUPER_NONE, SUPER_FOREIGN, SUPER_BAD, SUPER_OK } state;
};

static void get_super(struct store *st, unsigned which, struct super *out)
{
	uint8_t s[SUPER_SIZE], mac[32];
	memset(out, 0, sizeof *out);
	if (io_read(st->fd, s, sizeof s, which * SUPER_SIZE) != SUPER_SIZE)
		return;
	struct rd r = rd_init(s + 8, sizeof s - 8);
	out->version = rd_u32(&r);
	out->flags = rd_u32(&r);
	rd_copy(&r, out->id, 16);
	out->serial = rd_u64(&r);
	out->salt_id = rd_u16(&r);
	rd_copy(&r, out->salt, 32);
	out->first = rd_u32(&r);
	out->nblocks = rd_u32(&r);
	struct part p = { s, SUPER_BODY };
	key_mac(st->super_key, &p, 1, mac);
	if (memcmp(s, magic, 8) != 0) {
		static const uint8_t zero[SUPER_SIZE];
		out->state = memcmp(s, zero, SUPER_SIZE) == 0 ? SUPER_NONE : SUPER_FOREIGN;
	} else {
		out->state = crypto_equal(mac, s + SUPER_BODY, 16) ? SUPER_OK : SUPER_BAD;
	}
}

/* Which of the two counts. */
static unsigned newer_super(const struct super s[static 2])
{
	return s[1].state > s[0].state || (s[1].state == s[0].state && s[1].serial > s[0].serial);
}

/* Of us, with this key?  Else err says what is wrong. */
static enum store_owner judge_super(const struct super *s, const char *name, char *err, size_t n)
{
	if (s->state == SUPER_FOREIGN || s->state == SUPER_NONE) {
		snprintf(err, n, "%s: is no encdns store; nothing was changed", name);
		return STORE_OTHER;
	}
	if (s->version != STORE_VERSION) {
		snprintf(err, n, "%s: store of version %u, this program reads version %u; nothing was changed", name, s->version,
		         STORE_VERSION);
		return STORE_STRANGE;
	}
	if (s->state == SUPER_OK)
		return STORE_OURS;
	snprintf(err, n, "%s: the key does not fit (another machine's store, or its first blocks are damaged); nothing was changed", name);
	return STORE_STRANGE;
}

enum store_owner store_whose(int fd, const char *name, const struct key *k, char *err, size_t n)
{
	struct stat sb;
	struct super s[2];
	struct store *st = calloc(1, sizeof *st);
	enum store_owner r = STORE_OTHER;
	if (fstat(fd, &sb) != 0) {
		snprintf(err, n, "%s: can't be looked at: %s", name, strerror(errno));
		free(st);
		return r;
	}
	snprintf(err, n, "%s: no memory for keys", name);
	if (st && (st->super_key = key_derive(k, "super", NULL, 0)) != NULL) {
		bool file = S_ISREG(sb.st_mode);
		st->fd = fd;
		get_super(st, 0, &s[0]);
		get_super(st, 1, &s[1]);
		if (s[0].state == SUPER_NONE && s[1].state == SUPER_NONE && (!file || sb.st_size <= UNBORN_MAX) &&
		    (!file || sb.st_size == 0 || sb.st_size >= BLOCK))
			r = STORE_NOBODYS;
		else if (file && sb.st_size < BLOCK)
			snprintf(err, n, "%s: is no encdns store, or cut short; nothing was changed", name);
		else
			r = judge_super(&s[newer_super(s)], name, err, n);
		key_free(st->super_key);
	}
	free(st);
	return r;
}

/* All octets of a table; its blocks are listed.  NULL: damaged. */
static uint8_t *get_table(struct store *st, const struct super *s, size_t *len, uint32_t *blocks)
{
	uint64_t have = atomic_load(&st->root->blocks);
	uint32_t block = s->first;
	uint8_t *all = malloc((size_t)s->nblocks * BLOCK);
	if (!all || table_key(st, s->salt) != 0) {
		free(all);
		return NULL;
	}
	*len = 0;
	for (uint32_t i = 0; i < s->nblocks; i++) {
		uint8_t nonce[12], *b = all + *len;
		put_u48(nonce, s->serial);
		put_u48(nonce + 6, i);
		uint8_t tag[16];
		if (block == 0 || block >= have ||
		    io_read(st->fd, b, BLOCK - 16, (uint64_t)block * BLOCK) != (ssize_t)BLOCK - 16 ||
		    io_read(st->fd, tag, 16, (uint64_t)block * BLOCK + BLOCK - 16) != 16 ||
		    !aead_open(st->table_key, nonce, NULL, 0, b, BLOCK - 16, tag, 16, b) ||
		    get_u32(b + 4) > TABLE_ROOM) {
			free(all);
			return NULL;
		}
		blocks[i] = block;
		block = get_u32(b);
		size_t n = get_u32(b + 4);
		memmove(b, b + 8, n);
		*len += n;
	}
	return all;
}

static bool block_ok(const struct store *st, uint32_t block, uint32_t n)
{
	return block > 0 && n > 0 && (uint64_t)block + n <= atomic_load(&st->root->blocks);
}

static bool get_salts(struct store *st, struct rd *r)
{
	for (unsigned n = rd_u16(r); n > 0; n--) {
		uint16_t id = rd_u16(r);
		const uint8_t *o = rd_take(r, 32);
		if (!o || id == 0 || salt_add(st, id, o) != 0)
			return false;
	}
	return true;
}

static bool get_segments(struct store *st, struct rd *r)
{
	uint32_t at = 0;
	for (uint32_t n = rd_u32(r); n > 0; n--) {
		uint32_t index = rd_u16(r);
		uint8_t depth = rd_u8(r);
		uint32_t block = rd_u32(r);
		struct segmac m = { .salt = rd_u16(r) };
		m.serial = rd_u48(r);
		rd_copy(r, m.mac, 16);
		if (r->bad || depth > DIR_BITS || index != at || !block_ok(st, block, 1))
			return false;
		space_use(st, block, 1, info_make(0, 0, USE_SEGMENT));
		uint32_t span = 1u << (DIR_BITS - depth);
		at += span;
		if (at > DIR_SIZE)
			return false;
		segment_depth(st, depth);
		for (uint32_t i = 0; i < span; i++)
			atomic_store(&st->root->dir[index + i], block);
		root_macs(st->root)[block] = m;
		st->seg[block] = (struct segmeta){ .depth = depth };
	}
	return at == DIR_SIZE;
}

static bool get_extents(struct store *st, struct rd *r)
{
	for (uint32_t n = rd_u32(r); n > 0; n--) {
		struct extent e = { 0 };
		e.block = rd_u32(r);
		e.nblocks = rd_u8(r);
		e.serial = rd_u40(r);
		e.salt = rd_u16(r);
		uint32_t filled = rd_u32(r), live = rd_u32(r);
		e.insts = rd_u64(r);
		e.suspect = rd_u8(r) & 1;
		e.end = (uint64_t)e.block * BLOCK_UNITS + filled;
		if (r->bad || !block_ok(st, e.block, e.nblocks) || e.nblocks > EXTENT_BLOCKS ||
		    filled > e.nblocks * BLOCK_UNITS || live > filled || log_extent_add(st, e) != 0)
			return false;
		log_live(st, (uint64_t)e.block * BLOCK_UNITS, live);
	}
	return true;
}

static bool get_state(struct store *st, const uint8_t *state, size_t len)
{
	struct rd r = rd_init(state, len);
	uint64_t seq = rd_u64(&r);
	const uint8_t *meta = rd_take(&r, STORE_META);
	uint32_t inst = rd_u32(&r);
	uint64_t serial = rd_u40(&r), names = rd_u64(&r), at = rd_u40(&r);
	const uint8_t *tag = rd_take(&r, TAG_LONG);
	if (r.bad || !get_salts(st, &r) || !get_segments(st, &r) || !get_extents(st, &r) || r.bad || rd_left(&r))
		return false;
	st->seq = seq;
	memcpy(st->meta, meta, STORE_META);
	st->next_inst = inst;
	st->next_serial = serial;
	st->names = names;
	st->at = at;
	memcpy(st->commit_tag, tag, TAG_LONG);
	return st->nextents > 0;
}

static int load_from(struct store *st, const struct super *s)
{
	size_t len;
	/* the table's length is authenticated; still it must fit the file */
	if (s->nblocks == 0 || s->nblocks > atomic_load(&st->root->blocks))
		return -1;
	uint32_t *blocks = calloc(s->nblocks, sizeof *blocks);
	uint8_t *state = blocks ? get_table(st, s, &len, blocks) : NULL;
	bool ok = state && get_state(st, state, len);
	if (state)
		crypto_wipe(state, len);
	free(state);
	for (uint32_t i = 0; ok && i < s->nblocks; i++)
		space_use(st, blocks[i], 1, info_make(0, 0, USE_TABLE));
	if (ok) {
		st->table = blocks;
		st->ntable = s->nblocks;
		return 0;
	}
	free(blocks);
	return -1;
}

int checkpoint_load(struct store *st, char *err, size_t n)
{
	struct super s[2];
	get_super(st, 0, &s[0]);
	get_super(st, 1, &s[1]);
	unsigned newer = newer_super(s);
	const struct super *best = &s[newer];
	if (judge_super(best, st->name, err, n) != STORE_OURS)
		return -1;
	if (st->check)
		st->ordered = best->flags & 1;
	if (best->flags != st->ordered) {
		snprintf(err, n, "%s: is the store of a %s, not of a %s; nothing was changed", st->name,
		         best->flags ? "hub" : "node", st->ordered ? "hub" : "node");
		return -1;
	}
	memcpy(st->id, best->id, 16);
	st->ours = true;
	st->older_lost = s[!newer].state == SUPER_BAD || s[!newer].state == SUPER_FOREIGN;
	/* what only the other refers to is free: it is overwritten first */
	if (load_from(st, best) != 0) {
		snprintf(err, n, "%s: the last checkpoint is damaged; load the store again from the hub", st->name);
		return -1;
	}
	st->super = !newer;
	st->ckpt_serial = best->serial;
	st->salt_id = best->salt_id;
	st->cut_live = st->live_units;
	return 0;
}
