/* checkpoint.c - what recovery starts from: the whole state but the log.
 *
 * A checkpoint is written beside the last one and becomes the truth when its
 * first superblock is durable; the blocks of the old one stay until the second
 * is too.  What it holds, all sealed (bare numbers count bits):
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

/* In the directory's order, each once. */
static void put_segments(struct store *st, struct wr *w, uint64_t serial)
{
	wr_u32(w, segment_count(st));
	for (uint32_t i = 0; i < DIR_SIZE;) {
		uint32_t block = atomic_load(&st->root->dir[i]);
		struct segmeta *sm = st->seg + block;
		struct segmac *mac = root_macs(st->root) + block, made;
		if (sm->dirty) {
			made.serial = serial;
			made.salt = st->salt_id;
			segment_mac(st->map.salt[st->salt_id].seg, st->base + (uint64_t)block * BLOCK, block,
			            serial, made.mac);
			mac = &made;
		}
		wr_u16(w, i);
		wr_u8(w, sm->depth);
		wr_u32(w, block);
		wr_u16(w, mac->salt);
		wr_u48(w, mac->serial);
		wr_bytes(w, mac->mac, 16);
		if (sm->dirty && !w->bad) {
			/* readers have no need to verify what was never out of our sight,
			 * but the next checkpoint needs the MAC; salt before serial */
			mac = root_macs(st->root) + block;
			memcpy(mac->mac, made.mac, 16);
			mac->salt = made.salt;
			__atomic_store_n(&mac->serial, made.serial, __ATOMIC_RELEASE);
		}
		i += 1u << (DIR_BITS - sm->depth);
	}
}

static void put_state(struct store *st, struct wr *w, uint64_t serial)
{
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
	put_segments(st, w, serial);
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
}

static size_t state_size(const struct store *st)
{
	return 512 + st->nsalts * 34 + segment_count(st) * 31ull + st->nextents * 29;
}

/* The state in sealed blocks; fills blocks[]. */
static int put_table(struct store *st, const uint8_t *state, size_t len, uint64_t serial,
                     uint32_t *blocks, size_t nblocks)
{
	uint8_t *b = malloc(BLOCK);
	if (!b)
		return -1;
	for (size_t i = 0; i < nblocks; i++)
		if (space_alloc(st, 1, USE_TABLE, &blocks[i]) != 0) {
			free(b);
			return -1;
		}
	int r = 0;
	for (size_t i = 0; i < nblocks && r == 0; i++) {
		size_t n = len < TABLE_ROOM ? len : TABLE_ROOM;
		uint8_t nonce[12];
		memset(b, 0, BLOCK);
		put_u32(b, i + 1 < nblocks ? blocks[i + 1] : 0);
		put_u32(b + 4, (uint32_t)n);
		memcpy(b + 8, state, n);
		put_u48(nonce, serial);
		put_u48(nonce + 6, i);
		aead_seal(st->table_key, nonce, NULL, 0, b, BLOCK - 16, b + BLOCK - 16, 16);
		if (io_write(st->fd, b, BLOCK, (uint64_t)blocks[i] * BLOCK) != (ssize_t)BLOCK)
			r = -1;
		state += n;
		len -= n;
	}
	free(b);
	return r;
}

static int put_super(struct store *st, unsigned which, uint64_t serial, uint32_t first, size_t nblocks)
{
	uint8_t s[SUPER_SIZE] = { 0 }, mac[32];
	struct wr w = wr_init(s, sizeof s);
	wr_bytes(&w, magic, 8);
	wr_u32(&w, STORE_VERSION);
	wr_u32(&w, st->ordered);
	wr_bytes(&w, st->id, 16);
	wr_u64(&w, serial);
	wr_u16(&w, st->salt_id);
	wr_bytes(&w, salt_octets(st, st->salt_id), 32);
	wr_u32(&w, first);
	wr_u32(&w, (uint32_t)nblocks);
	struct part p = { s, SUPER_BODY };
	key_mac(st->super_key, &p, 1, mac);
	wr_bytes(&w, mac, 16);
	return io_write(st->fd, s, sizeof s, which * SUPER_SIZE) == SUPER_SIZE ? 0 : -1;
}

static int sync_all(struct store *st) { return st->memory ? 0 : io_sync(st->fd); }

static int put_supers(struct store *st, uint64_t serial, uint32_t first, size_t nblocks)
{
	/* the one that is no use, or older, first */
	for (unsigned i = 0; i < 2; i++)
		if (put_super(st, st->super ^ i, serial, first, nblocks) != 0 || sync_all(st) != 0)
			return -1;
	return 0;
}

int checkpoint_write(struct store *st)
{
	salt_prune(st);
	uint64_t serial = st->ckpt_serial + 1;
	size_t room = state_size(st);
	size_t nblocks = (room + TABLE_ROOM - 1) / TABLE_ROOM;
	uint8_t *state = malloc(room);
	uint32_t *blocks = calloc(nblocks, sizeof *blocks);
	if (!state || !blocks) {
		free(state);
		free(blocks);
		return -1;
	}
	struct wr w = wr_init(state, room);
	int r = space_whole(st);
	if (r == 0)
		put_state(st, &w, serial);
	nblocks = (wr_len(&w) + TABLE_ROOM - 1) / TABLE_ROOM;
	if (r == 0)
		r = w.bad ? -1 : put_table(st, state, wr_len(&w), serial, blocks, nblocks);
	if (r == 0)
		r = sync_all(st) != 0 || put_supers(st, serial, blocks[0], nblocks) != 0;
	crypto_wipe(state, room);
	free(state);
	if (r != 0) {
		free(blocks);
		return store_fail(st);
	}
	/* all segments are clean now: the next change copies them */
	for (uint32_t i = 0; i < DIR_SIZE;) {
		struct segmeta *sm = st->seg + atomic_load(&st->root->dir[i]);
		sm->dirty = false;
		i += 1u << (DIR_BITS - sm->depth);
	}
	for (size_t i = 0; i < st->ntable; i++)
		space_retire(&st->ckpt_wait, st->table[i], 0);
	free(st->table);
	st->table = blocks;
	st->ntable = nblocks;
	st->ckpt_serial = serial;
	st->checkpoints++;
	st->tail_ops = st->tail_bytes = 0;
	space_checkpointed(st);
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
	snprintf(err, n, "%s: no memory for keys", name);
	if (st && fstat(fd, &sb) == 0 && (st->super_key = key_derive(k, "super", NULL, 0)) != NULL) {
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
	return 0;
}
