/* store.c - the fragment store's door: opening, changing, committing.
 *
 * The story: a change is sealed into the log (log.c), its slot set in the
 * index (segment.c), its group made durable by a commit and then visible by
 * one store of the root's `visible` word.  Readers (read.c) never wait for the
 * writer and never see half a group.  Now and then a checkpoint
 * (checkpoint.c) bounds what a recovery has to replay.  space.c knows which
 * blocks are free, tree.c keeps what needs order.
 *
 * States: open -> (failed) -> closed.  The first failure of a write is final:
 * nothing more is taken, nothing was acknowledged; opening again recovers.
 * Threat: crashes at any instant; a disk read, copied, rolled back or changed
 * by others.  It holds nothing readable and is believed nowhere unchecked. */
#include "store/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>


#ifndef BLKGETSIZE64
#define BLKGETSIZE64 _IOR(0x12, 114, size_t) /* linux/fs.h */
#endif
#ifndef BLKROGET
#define BLKROGET     _IO(0x12, 94)
#endif

/* ---- opening ---- */

static int open_file(struct store *st, const struct store_conf *c, uint64_t *size, char *err, size_t n)
{
	struct stat sb;
	snprintf(st->name, sizeof st->name, "%s", c->path ? c->path : "memory");
	st->fd = c->fd >= 0 ? fcntl(c->fd, F_DUPFD_CLOEXEC, 0)
	                    : open(c->path, (c->check ? O_RDONLY : O_RDWR | O_CREAT) | O_CLOEXEC, 0600);
	if (st->fd < 0 || fstat(st->fd, &sb) != 0) {
		snprintf(err, n, "%s: %s", st->name, strerror(errno));
		return -1;
	}
	if (!c->path) {
		st->memory = true;
	} else if (flock(st->fd, (c->check ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
		snprintf(err, n, errno == EWOULDBLOCK ? "%s: another process is using it" : "%s: can't be locked", st->name);
		return -1;
	}
	*size = (uint64_t)sb.st_size;
	if (S_ISBLK(sb.st_mode)) {
		int read_only = 0;
		st->fixed_size = true;
		if (ioctl(st->fd, BLKGETSIZE64, size) != 0 || *size < 64u * BLOCK) {
			snprintf(err, n, "%s: the partition is too small (16 MiB at least)", st->name);
			return -1;
		}
		if (!c->check && ioctl(st->fd, BLKROGET, &read_only) == 0 && read_only) {
			snprintf(err, n, "%s: the partition is read-only", st->name);
			return -1;
		}
	} else if (!S_ISREG(sb.st_mode)) {
		snprintf(err, n, "%s: is neither a file nor a partition", st->name);
		return -1;
	}
	return 0;
}

static int derive_keys(struct store *st)
{
	struct key *k = key_derive(st->key, "index", NULL, 0);
	if (!k)
		return -1;
	crypto_lock(&st->map.sip, sizeof st->map.sip, "keys");
	sip_key(k, &st->map.sip);
	key_free(k);
	st->super_key = key_derive(st->key, "super", NULL, 0);
	return st->super_key ? 0 : -1;
}

/* Behind the file's end a check needs memory too: for what the log's tail
 * changes in the index. */
static int map_behind(struct store *st, uint64_t size)
{
	uint64_t at = (size + BLOCK - 1) / BLOCK * BLOCK;
	if (at >= st->map.reserve)
		return -1;
	void *p = mmap(st->base + at, (size_t)(st->map.reserve - at), PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	return p == MAP_FAILED ? -1 : 0;
}

static int open_memory(struct store *st, const struct store_conf *c, uint64_t size, char *err, size_t n)
{
	st->map.reserve = c->check ? (size / BLOCK + 256) * 2 * BLOCK : c->reserve;
	st->beats = c->beats;
	st->nbeats = c->nbeats;
	st->base = map_open(&st->map, st->fd, c->check ? MAP_CHECK : MAP_WRITER, err, n);
	if (!st->base)
		return -1;
	if (c->check && map_behind(st, size) != 0) {
		snprintf(err, n, "%s: not enough addresses to check it", st->name);
		return -1;
	}
	uint64_t nblocks = st->map.reserve / BLOCK;
	st->seg = map_zeros(nblocks * sizeof *st->seg);
	st->log = map_zeros(nblocks * sizeof *st->log);
	st->fill.buf = map_zeros(LOG_BUFFER);
	st->given.buf = map_zeros(LOG_BUFFER);
	st->trees = tree_cache_new(st);
	if (!st->seg || !st->log || !st->fill.buf || !st->given.buf || !st->trees || scratch_new(&st->scratch, 16u << 20) != 0) {
		snprintf(err, n, "no memory");
		return -1;
	}
	st->map.pending = st->fill.buf;
	return space_root(st, nblocks, err, n);
}

/* Blocks that readers of an earlier root can reach stay untouched. */
static int heed_old_root(struct store *st, int fd)
{
	struct stat sb;
	if (fstat(fd, &sb) != 0 || (size_t)sb.st_size < sizeof(struct store_root))
		return -1;
	const struct store_root *old = mmap(NULL, (size_t)sb.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (old == MAP_FAILED)
		return -1;
	bool sound = old->magic == ROOT_MAGIC && root_bytes(old->nblocks) <= (size_t)sb.st_size;
	uint64_t blocks = sound ? atomic_load(&old->blocks) : 0;
	for (uint64_t b = 0; b < blocks && b < st->root->nblocks; b++)
		if (!use_free(info_use(atomic_load(root_info(old) + b))))
			st->avoid[b >> 3] |= (uint8_t)(1u << (b & 7));
	/* readers' announcements must not look old under the new root */
	uint64_t epoch = atomic_load(&old->epoch) + 1;
	if (sound && epoch > atomic_load(&st->root->epoch))
		atomic_store(&st->root->epoch, epoch);
	munmap((void *)(uintptr_t)old, (size_t)sb.st_size);
	return sound ? 0 : -1;
}

/* *doubt: it can't be told what the readers use. */
static int heed_old_roots(struct store *st, const struct store_conf *c, bool *doubt, char *err, size_t n)
{
	if (c->nold_roots == 0)
		return 0;
	st->avoid = map_zeros(st->root->nblocks / 8 + 1);
	if (!st->avoid) {
		snprintf(err, n, "no memory");
		return -1;
	}
	for (unsigned i = 0; i < c->nold_roots; i++)
		if (heed_old_root(st, c->old_roots[i]) != 0) {
			snprintf(err, n, "%s: what the living readers use can't be told", st->name);
			*doubt = true;
			return -1;
		}
	return 0;
}

static int create(struct store *st, char *err, size_t n)
{
	uint32_t block;
	int r = 0;
	crypto_random(st->id, sizeof st->id);
	st->next_inst = 1;
	st->next_serial = 1;
	/* block 0, the superblocks, is nobody's to allocate */
	space_use(st, 0, 1, info_make(0, 0, USE_TABLE));
	if (!st->fixed_size) {
		r = io_truncate(st->fd, 0) != 0 || io_allocate(st->fd, 0, BLOCK) != 0;
		if (r && errno == EOPNOTSUPP)
			r = io_truncate(st->fd, BLOCK);
		atomic_store(&st->root->blocks, 1);
	}
	if (r == 0)
		r = salt_fresh(st) != 0 || segment_new(st, 0, &block) != 0;
	if (r == 0) {
		memset(st->base + (uint64_t)block * BLOCK, 0, BLOCK);
		for (uint32_t i = 0; i < DIR_SIZE; i++)
			atomic_store(&st->root->dir[i], block);
		r = log_extent(st) != 0 || checkpoint_write(st) != 0;
	}
	if (r != 0) {
		snprintf(err, n, "%s: can't be created: %s", st->name, strerror(errno));
		if (!st->fixed_size && io_truncate(st->fd, 0) != 0)
			return -1; /* the next start finds zeros, and takes them as empty */
	}
	return r ? -1 : 0;
}

static int recover(struct store *st, char *err, size_t n)
{
	struct store_guard g;
	int r;
	space_use(st, 0, 1, info_make(0, 0, USE_TABLE));
	errno = 0;
	store_guard_enter(&st->map, &g);
	if (sigsetjmp(g.to, 0) == 0)
		r = checkpoint_load(st, err, n) != 0 || log_recover(st, err, n) != 0 ? -1 : 0;
	else
		r = -1, snprintf(err, n, "%s: a part of it can't be read (cut short, or a failing disk); load it again from the hub", st->name);
	store_guard_leave(&g);
	/* for want of room or memory nothing is damaged */
	st->hurt = r != 0 && st->ours && errno != ENOSPC && errno != ENOMEM;
	return r;
}

/* A new writer: recovered, then a salt and an extent of its own, made durable
 * by a checkpoint before first use. */
static int reopen(struct store *st, char *err, size_t n)
{
	if (recover(st, err, n) != 0)
		return -1;
	space_doubt(st);
	if (st->check)
		return 0;
	salt_prune(st);
	if (salt_fresh(st) != 0 || log_extent(st) != 0 || checkpoint_write(st) != 0) {
		snprintf(err, n, "%s: can't be opened for writing: %s", st->name, strerror(errno));
		return -1;
	}
	return 0;
}

/* A store whose making was cut off: zeros where its superblocks belong and no
 * sign of a commit, and no longer than a new one.  (Another file has lost them:
 * that is damage.) */
static bool unborn(int fd)
{
	uint8_t b[REACHED_AT + 2 * SUPER_SIZE];
	if (io_read(fd, b, sizeof b, 0) != sizeof b)
		return false;
	for (size_t i = 0; i < sizeof b; i++)
		if (b[i])
			return false;
	return true;
}

static int open_all(struct store *st, const struct store_conf *c, bool *doubt, char *err, size_t n)
{
	uint64_t size;
	if (open_file(st, c, &size, err, n) != 0 || open_memory(st, c, size, err, n) != 0)
		return -1;
	if (derive_keys(st) != 0) {
		snprintf(err, n, "no room for keys");
		return -1;
	}
	if (heed_old_roots(st, c, doubt, err, n) != 0)
		return -1;
	bool empty = size == 0 || ((st->fixed_size || size <= UNBORN_MAX) && unborn(st->fd));
	if (!empty && size < BLOCK) {
		snprintf(err, n, "%s: is no encdns store, or cut short; nothing was changed", st->name);
		return -1;
	}
	atomic_store(&st->root->blocks, size / BLOCK < st->root->nblocks ? size / BLOCK : st->root->nblocks);
	if (empty && st->check) {
		snprintf(err, n, "%s: is empty: no store was ever made in it", st->name);
		return -1;
	}
	if ((empty ? create(st, err, n) : reopen(st, err, n)) != 0)
		return -1;
	st->last_seq = st->insts.opened = st->seq;
	st->need_low = UINT64_MAX;
	st->insts.since = st->next_inst;
	atomic_store(&st->root->visible, st->seq);
	__atomic_store_n(&st->root->magic, ROOT_MAGIC, __ATOMIC_RELEASE);
	/* who is in the midst of a batch goes on under this root with a view of the old one,
	 * however far back: view_low is 0 until we know of nobody */
	view_advance(st);
	return 0;
}

static void release(struct store *st)
{
	uint64_t nblocks = st->map.reserve / BLOCK;
	helper_end(&st->helper);
	tree_cache_free(st->trees);
	scratch_free(&st->scratch);
	if (st->fill.buf)
		munmap(st->fill.buf, LOG_BUFFER);
	if (st->given.buf)
		munmap(st->given.buf, LOG_BUFFER);
	if (st->seg)
		munmap(st->seg, nblocks * sizeof *st->seg);
	if (st->log)
		munmap(st->log, nblocks * sizeof *st->log);
	if (st->avoid)
		munmap(st->avoid, nblocks / 8 + 1);
	map_close(&st->map); /* and with it the root */
	if (st->root_fd >= 0)
		close(st->root_fd);
	if (st->fd >= 0)
		close(st->fd);
	aead_free(st->table_key);
	key_free(st->super_key);
	if (st->salts)
		crypto_wipe(st->salts, st->nsalts * sizeof *st->salts);
	free(st->salts);
	free(st->extents);
	free(st->fill.pend);
	free(st->given.pend);
	free(st->table);
	free(st->epoch_wait.at);
	free(st->ckpt_wait.at);
	checkpoint_free(st);
	defer_free(st);
	hot_free(st);
	inst_free(st);
	crypto_wipe(st, sizeof *st);
	free(st);
}

/* A tick of 1.5 ms every ten, while there is something to do, is about a seventh
 * of a core, and a quarter when there is much; 64 KiB of moved log between two
 * changes half a millisecond. */
static const struct tune tune = {
	.tick_ns = 1500000, .slice = 4096, .start = 13, .much = 3, .floor = 28, .slack = 32, .tail_least = 2u << 20,
	.late_least = 16u << 20, .late_part = 8,
};

struct store *store_open(const struct store_conf *c, const struct key *k, char *err, size_t n)
{
	bool doubt = false;
	struct store *st = calloc(1, sizeof *st);
	if (!st) {
		snprintf(err, n, "no memory");
		errno = 0;
		return NULL;
	}
	st->fd = st->root_fd = -1;
	st->key = k;
	st->ordered = c->ordered;
	st->tune = tune;
	st->cursor = st->low = st->cuts = 1;
	st->check = c->check;
	if (open_all(st, c, &doubt, err, n) == 0)
		return st;
	int e = doubt ? ESTALE : st->hurt ? EBADMSG : errno == ENOSPC ? ENOSPC : 0;
	release(st);
	errno = e;
	return NULL;
}

/* Commits what compaction alone has written. */
static int settle(struct store *st)
{
	uint8_t meta[STORE_META];
	memcpy(meta, st->meta, sizeof meta);
	return st->group ? log_commit(st, st->seq, meta) : 0;
}

int store_close(struct store *st)
{
	int r = 0;
	/* an unfinished group is dropped: reopening wouldn't have it either */
	if (!st->check && !st->failed && st->changes == 0)
		r = settle(st) != 0 || checkpoint_write(st) != 0 ? -1 : 0;
	release(st);
	return r;
}

/* ---- what others need to know ---- */

const struct store_map *store_reader(struct store *st) { return &st->map; }
int store_settle(struct store *st) { return log_settle(st); }
uint64_t store_seq(const struct store *st) { return st->seq; }
uint64_t store_last_seq(const struct store *st) { return st->last_seq; }
const uint8_t *store_meta(const struct store *st) { return st->meta; }
int store_root_fd(const struct store *st) { return st->root_fd; }
bool store_failed(const struct store *st) { return st->failed; }

void store_old_root_done(struct store *st)
{
	if (!st->avoid || log_settle(st) != 0)
		return;
	munmap(st->avoid, st->root->nblocks / 8 + 1);
	st->avoid = NULL;
	st->cursor = st->low = 1;
}

/* One salt's id and keys. */
static int send_salt(struct store *st, int fd, const struct salt *s)
{
	uint8_t id[2];
	struct key *f = key_derive(st->key, "frag", s->octets, 32);
	struct key *g = key_derive(st->key, "segment", s->octets, 32);
	put_u16(id, s->id);
	int r = f && g && write(fd, id, 2) == 2 && key_send(f, fd) == 0 ? key_send(g, fd) : -1;
	key_free(f);
	key_free(g);
	return r;
}

int store_keys_send(struct store *st, int fd)
{
	static const uint8_t end[2];
	struct key *k = key_derive(st->key, "index", NULL, 0);
	int r = k ? key_send(k, fd) : -1;
	key_free(k);
	for (size_t i = 0; i < st->nsalts && r == 0; i++)
		r = send_salt(st, fd, st->salts + i);
	return r == 0 && write(fd, end, 2) == 2 ? 0 : -1;
}

void store_stats_get(struct store *st, struct store_stats *out)
{
	struct stat sb;
	log_settle(st);
	*out = (struct store_stats){
		.names = st->names,
		.log_bytes = st->log_blocks * BLOCK,
		.live_bytes = st->live_units * UNIT,
		.index_bytes = (uint64_t)segment_count(st) * BLOCK,
		.file_bytes = atomic_load(&st->root->blocks) * BLOCK,
		.checkpoints = st->checkpoints,
		.damaged = atomic_load(st->map.damaged),
		.moved_bytes = st->compact.moved * UNIT,
	};
	if (!st->fixed_size && fstat(st->fd, &sb) == 0)
		out->file_bytes = (uint64_t)sb.st_blocks * 512;
}

/* ---- the newest version ---- */

struct pending *store_pending(struct store *st, const uint64_t hash[static 2])
{
	struct pending *p = st->fill.pend;
	for (uint32_t i = st->pend_line[hash[1] % PENDING_LINES]; i; i = p[i - 1].next)
		if (p[i - 1].hash[0] == hash[0] && p[i - 1].hash[1] == hash[1])
			return p + i - 1;
	return NULL;
}

int store_pending_add(struct store *st, const uint64_t hash[static 2], uint64_t unit, uint64_t old)
{
	struct filled *f = &st->fill;
	if (f->npend == f->room) {
		size_t room = f->room ? f->room * 2 : 4096;
		struct pending *p = realloc(f->pend, room * sizeof *p);
		if (!p)
			return -1;
		f->pend = p;
		f->room = room;
	}
	uint32_t *line = &st->pend_line[hash[1] % PENDING_LINES];
	f->pend[f->npend] = (struct pending){ { hash[0], hash[1] }, unit, old, *line, false };
	*line = (uint32_t)++f->npend;
	return 0;
}

/* A key as it is now, uncommitted changes included.  STORE_DAMAGED: errno. */
enum store_found store_head(struct store *st, const struct probe *p, struct scratch *s, struct raw *f)
{
	if (log_settle(st) != 0 || defer_look(st, (enum frag_kind)p->kind, p->inst) != 0)
		return STORE_DAMAGED;
	struct pending *w = store_pending(st, p->hash);
	struct store_guard g;
	enum store_found r;
	store_guard_enter(&st->map, &g);
	if (sigsetjmp(g.to, 0) == 0)
		r = w ? frag_open(&st->map, st->root, w->unit, s, f) : frag_find(&st->map, st->root, p, s, f);
	else
		r = STORE_DAMAGED;
	store_guard_leave(&g);
	if (r == STORE_DAMAGED)
		errno = EBADMSG;
	return r;
}

/* With its body. */
static enum store_found whole_head(struct store *st, const struct probe *p, struct scratch *s, struct raw *f)
{
	enum store_found r = store_head(st, p, s, f);
	if (r == STORE_FOUND && !frag_unpack_body(s, f)) {
		errno = EBADMSG;
		return STORE_DAMAGED;
	}
	return r;
}

static void probe_make(struct store *st, struct probe *p, enum frag_kind kind, uint32_t inst, const uint8_t *key,
                       size_t n)
{
	struct hashed *h = st->hashed + kind;
	if (h->n == n && h->inst == inst && same_short(h->key, key, n)) {
		*p = (struct probe){ .hash = { h->hash[0], h->hash[1] }, .seq = UINT64_MAX, .inst = inst,
			             .keylen = (uint32_t)n, .key = key, .kind = (uint8_t)kind };
		return;
	}
	probe_init(&st->map, p, kind, inst, key, n, UINT64_MAX);
	h->inst = inst;
	h->n = n;
	copy_short(h->key, key, n);
	memcpy(h->hash, p->hash, sizeof h->hash);
}

/* Of a plain name: nothing but what lies in its head is asked for again. */
static void keep_head(struct store *st, const struct probe *p, const struct raw *f)
{
	struct head *h = &st->head;
	h->known = true;
	memcpy(h->hash, p->hash, sizeof h->hash);
	h->r = *f;
	h->r.f.owner = h->r.f.body = NULL;
}

static bool same_head(const struct store *st, const struct probe *p)
{
	return st->head.known && st->head.hash[0] == p->hash[0] && st->head.hash[1] == p->hash[1];
}

enum store_found store_get_newest(struct store *st, enum frag_kind kind, uint32_t inst,
                                  const uint8_t *key, size_t keylen, struct scratch *s,
                                  struct frag *out)
{
	struct probe p;
	struct raw f;
	probe_make(st, &p, kind, inst, key, keylen);
	enum store_found r = hot_get(st, &p, &f) ? STORE_FOUND : whole_head(st, &p, s, &f);
	if (r == STORE_FOUND && kind == FRAG_NAME && f.unit)
		keep_head(st, &p, &f);
	if (r == STORE_FOUND && f.gone)
		return STORE_ABSENT;
	if (r == STORE_FOUND)
		*out = f.f;
	return r;
}

enum store_found store_newest(struct store *st, enum frag_kind kind, uint32_t inst,
                              const uint8_t *owner, struct scratch *s, struct frag *out)
{
	return store_get_newest(st, kind, inst, owner, name_len(owner), s, out);
}

void store_soon(struct store *st, enum frag_kind kind, uint32_t inst, const uint8_t *owner)
{
	struct probe *half = st->soon + (st->nsoon + SOON / 2) % SOON, *p = st->soon + st->nsoon++ % SOON;
	struct store_guard g;
	if (half->keylen)
		store_seek(&st->map, half);
	store_guard_enter(&st->map, &g);
	if (sigsetjmp(g.to, 0) == 0 && p->keylen)
		store_fetch(&st->map, p);
	store_guard_leave(&g);
	store_begin(&st->map, p, kind, inst, owner, UINT64_MAX);
	p->key = NULL;
}

/* ---- views: who may still read which version ---- */

bool view_pinned(const struct store *st, uint64_t from, uint64_t to)
{
	for (unsigned i = 0; i < st->nneed; i++)
		if (from <= st->need[i] && st->need[i] < to)
			return true;
	return false;
}

bool view_needs(const struct store *st, uint64_t from, uint64_t to)
{
	return (from <= st->seq && to > st->view_low && from < to) || view_pinned(st, from, to);
}

bool view_below(const struct store *st, uint64_t seq) { return st->view_low < seq || st->need_low < seq; }

static void view_refresh(struct store *st)
{
	st->nneed = 0;
	st->need_low = UINT64_MAX;
	for (unsigned i = 0; i < PINS; i++) {
		if (st->unpinned[i] && space_epoch(st) >= st->unpinned[i])
			st->pins[i] = st->unpinned[i] = 0;
		if (!st->pins[i])
			continue;
		uint64_t seq = st->pins[i] - 1;
		st->need[st->nneed++] = seq;
		st->need_low = seq < st->need_low ? seq : st->need_low;
	}
}

/* Whoever announces the epoch that this returns, or a later one, has seen all
 * that the writer has done. */
static uint64_t view_mark(struct store *st) { return atomic_fetch_add(&st->root->epoch, 1) + 1; }

void view_advance(struct store *st)
{
	if (!st->mark_epoch && st->view_low != st->seq) {
		st->mark_seq = st->seq;
		st->mark_epoch = view_mark(st);
	}
	/* who announced the mark's epoch took his view after it was set */
	if (st->mark_epoch && space_epoch(st) >= st->mark_epoch) {
		st->view_low = st->mark_seq;
		st->mark_epoch = 0;
	}
	view_refresh(st);
}

/* Counts a version at its extent, and the one that it replaces no more. */
static void count_versions(struct store *st, const struct change *c, const struct laid *at, bool had,
                           const struct raw *old)
{
	if (had && !old->gone) {
		log_live(st, old->unit, -(int64_t)old->units);
		if (st->nneed && view_pinned(st, old->f.seq, c->seq)) {
			st->log[st->log[old->unit / BLOCK_UNITS].first].held += old->units;
			st->held_units += old->units;
		} else if (old->f.seq <= st->seq) {
			log_replace(st, old->unit, old->units);
		}
	}
	if (!(c->flags & FRAG_GONE))
		log_live(st, at->unit, (int64_t)at->units);
}

/* ---- changes ---- */

/* Appends a version and remembers its slot.  was: the one before (or absent). */
static int append(struct store *st, const struct change *c, const struct probe *p,
                  enum store_found was, const struct raw *old)
{
	uint64_t older = 0;
	struct laid at;
	if (was == STORE_FOUND)
		older = view_needs(st, old->f.seq, c->seq) ? old->unit : old->older;
	if (log_append(st, c, older, &at) != 0)
		return store_fail(st);
	st->changes++;
	count_versions(st, c, &at, was == STORE_FOUND, old);
	/* appending may have handed over what was pending */
	struct pending *w = was == STORE_FOUND ? store_pending(st, p->hash) : NULL;
	if (was == STORE_FOUND && !w && (log_wait(st) != 0 || defer_look(st, c->kind, c->inst) != 0))
		return store_fail(st);
	if (w)
		w->unit = at.unit;
	else if (store_pending_add(st, p->hash, at.unit, was == STORE_FOUND ? old->unit : 0) != 0)
		return store_fail(st);
	defer_mark(st, c);
	if (c->seq > st->last_seq)
		st->last_seq = c->seq;
	return 0;
}

int store_append(struct store *st, const struct change *c, const uint64_t hash[static 2])
{
	struct raw old = { 0 };
	struct probe p = { .seq = UINT64_MAX, .inst = c->inst, .kind = (uint8_t)c->kind, .keylen = (uint32_t)c->keylen,
		           .key = c->key };
	memcpy(p.hash, hash, sizeof p.hash);
	size_t mark = st->scratch.used;
	enum store_found was = store_head(st, &p, &st->scratch, &old);
	st->scratch.used = mark;
	if (was == STORE_DAMAGED)
		return store_fail(st);
	if (c->flags & FRAG_GONE && (was == STORE_ABSENT || old.gone))
		return 0;
	return append(st, c, &p, was, &old);
}

int store_append_tree(struct store *st, uint64_t seq, uint32_t inst, const uint8_t *key, size_t keylen,
                      const uint8_t *body, uint32_t len)
{
	struct change c = { FRAG_TREE, seq, inst, body ? 0 : FRAG_GONE, 0, key, keylen, body, len, false, false };
	uint64_t hash[2];
	frag_hash(&st->map, FRAG_TREE, inst, key, keylen, hash);
	return store_append(st, &c, hash);
}

/* The chain a fragment is a link of, and its key there. False: of none. */
static bool chain_of(const struct store *st, enum frag_kind kind, uint8_t zone_labels, const uint8_t *owner,
                     uint16_t flags, const uint8_t *body, size_t len, uint32_t *chain,
                     uint8_t key[static NAME_KEY_MAX], size_t *n)
{
	struct rrset s;
	struct nsec3_params p;
	if (kind == FRAG_NSEC3) {
		if (!rrset_find(body, len, T_NSEC3, &s) || !nsec3_params_read(s.rrs + 2, get_u16(s.rrs), &p))
			return false;
		*chain = tree_nsec3_chain(&st->map, &p);
		*n = base32hex_decode(owner + 1, owner[0], key);
		return *n > 0;
	}
	*chain = CHAIN_NSEC;
	if (!(flags & NODE_NSEC))
		return false;
	*n = zone_key(owner, zone_labels, key);
	return true;
}

/* Keeps the ordered trees in step with a fragment that comes or goes. */
static int trees_follow(struct store *st, const struct change *c, uint8_t zone_labels,
                        enum store_found was, const struct raw *old)
{
	uint32_t oldc = 0, newc = 0;
	uint8_t oldk[NAME_KEY_MAX] RAW, newk[NAMES_KEY_MAX] RAW;
	size_t oldn = 0, newn = 0;
	const struct frag *f = &old->f;
	bool had = was == STORE_FOUND && !old->gone;
	bool has = !(c->flags & FRAG_GONE);
	if (st->ordered && had != has) {
		size_t n = names_key(c->key, zone_labels, c->kind, newk);
		if ((has ? tree_insert : tree_remove)(st->trees, c->inst, CHAIN_NAMES, newk, n) != 0)
			return -1;
	}
	had = had && chain_of(st, c->kind, zone_labels, c->key, f->flags, f->body, f->len, &oldc, oldk, &oldn);
	has = has && chain_of(st, c->kind, zone_labels, c->key, c->flags, c->body, c->len, &newc, newk, &newn);
	if (had && has && oldc == newc)
		return 0;
	if (had && tree_remove(st->trees, c->inst, oldc, oldk, oldn) != 0)
		return -1;
	return has ? tree_insert(st->trees, c->inst, newc, newk, newn) : 0;
}

static enum store_found newest(struct store *st, const struct probe *p, struct raw *old)
{
	if (hot_get(st, p, old))
		return STORE_FOUND;
	if (!same_head(st, p)) /* of a name the trees ask for no more than the flags */
		return (p->kind == FRAG_NAME ? store_head : whole_head)(st, p, &st->scratch, old);
	*old = st->head.r;
	return STORE_FOUND;
}

/* To the log, or where it waits for the group's end. */
static int record(struct store *st, const struct change *c, const struct probe *p, enum store_found was,
                  const struct raw *old)
{
	bool taken, hot = was == STORE_FOUND && old->unit == 0;
	if (!hot && (was != STORE_FOUND || old->f.seq <= st->seq))
		return append(st, c, p, was, old);
	if (hot_put(st, c, p, &taken) != 0)
		return store_fail(st);
	if (taken) {
		st->last_seq = c->seq;
		return 0;
	}
	return hot ? store_append(st, c, p->hash) : append(st, c, p, was, old);
}

static int change(struct store *st, struct change *c, uint8_t zone_labels)
{
	if (st->failed || c->seq < st->last_seq) {
		errno = st->failed ? EIO : EINVAL;
		return -1;
	}
	struct probe p;
	struct raw old = { 0 };
	size_t mark = st->scratch.used;
	uint64_t before = st->tail_bytes;
	probe_make(st, &p, c->kind, c->inst, c->key, c->keylen);
	enum store_found was = c->fresh ? STORE_ABSENT : newest(st, &p, &old);
	st->head.known = false;
	if (was == STORE_DAMAGED)
		return store_fail(st);
	bool had = was == STORE_FOUND && !old.gone, has = !(c->flags & FRAG_GONE);
	int r = 0;
	if (had || has) {
		if (c->kind == FRAG_NAME || c->kind == FRAG_NSEC3)
			r = trees_follow(st, c, zone_labels, was, &old);
		if (r != 0)
			store_fail(st);
		else
			r = record(st, c, &p, was, &old);
		if (c->kind == FRAG_NAME)
			st->names += (uint64_t)has - (uint64_t)had;
	}
	st->scratch.used = mark;
	uint64_t units = (st->tail_bytes - before) / UNIT + 1;
	return r != 0 || tree_trim(st->trees, c->seq) != 0 || compact_pay(st, units) != 0 ? -1 : 0;
}

int store_put(struct store *st, uint64_t seq, enum frag_kind kind, const struct store_zone *z,
              const uint8_t *owner, uint16_t flags, uint8_t cut, const uint8_t *body, uint32_t len,
              bool fresh)
{
	struct change c = { kind, seq, z->inst, flags, cut, owner, name_len(owner), body, len, fresh, false };
	if (len > BODY_MAX || name_labels(owner) < z->labels) {
		errno = EINVAL;
		return -1;
	}
	return change(st, &c, z->labels);
}

int store_delete(struct store *st, uint64_t seq, enum frag_kind kind, const struct store_zone *z,
                 const uint8_t *owner)
{
	struct change c = { kind, seq, z->inst, FRAG_GONE, 0, owner, name_len(owner), NULL, 0, false, false };
	if (name_labels(owner) < z->labels) {
		errno = EINVAL;
		return -1;
	}
	return change(st, &c, z->labels);
}

uint32_t store_new_instance(struct store *st)
{
	/* one that can't be remembered as being loaded would be swept away */
	if (inst_named(st, st->next_inst) != 0)
		return 0;
	defer_instance(st, st->next_inst);
	return st->next_inst++;
}

int store_keep_instance(struct store *st, uint32_t inst)
{
	defer_instance(st, inst);
	return inst_named(st, inst);
}

int store_checkpoint(struct store *st)
{
	return log_settle(st) != 0 || checkpoint_write(st) != 0 ? -1 : 0;
}

int store_forget_instance(struct store *st, uint32_t inst)
{
	defer_named(st, inst); /* what is swept has its slots */
	return inst_dropped(st, inst, st->seq);
}

static size_t note_key(uint8_t out[static 4], uint32_t number)
{
	put_u32(out, number);
	return 4;
}

int store_note(struct store *st, uint64_t seq, uint32_t number, const uint8_t *body, uint32_t len)
{
	uint8_t key[4];
	if (st->failed || seq < st->last_seq || len > BODY_MAX) {
		errno = st->failed ? EIO : EINVAL;
		return -1;
	}
	return store_append_tree(st, seq, 0, key, note_key(key, number), body, len);
}

enum store_found store_note_get(struct store *st, uint32_t number, struct scratch *s, struct frag *out)
{
	uint8_t key[4];
	return store_get_newest(st, FRAG_TREE, 0, key, note_key(key, number), s, out);
}

int store_commit(struct store *st, uint64_t seq, const uint8_t meta[static STORE_META])
{
	if (st->failed || seq < st->last_seq) {
		errno = st->failed ? EIO : EINVAL;
		return -1;
	}
	st->head.known = false;
	if (hot_flush(st) != 0 || tree_flush(st->trees, seq) != 0 || checkpoint_pay(st) != 0 || log_commit(st, seq, meta) != 0)
		return store_fail(st);
	st->last_seq = seq;
	atomic_store_explicit(&st->root->visible, seq, memory_order_release);
	/* here, as a tick may always find a group half done */
	if (checkpoint_due(st))
		checkpoint_cut(st);
	return 0;
}

void store_turn(struct store *st)
{
	atomic_fetch_add_explicit(&st->root->turns, 1, memory_order_release);
}

int store_reserve(struct store *st, uint64_t bytes)
{
	if (log_settle(st) != 0)
		return -1;
	/* a change of one set rewrites its fragment, trees grow, and each segment of the
	 * index is copied at most once; slots that wait (defer.c) make the index grow, too,
	 * and may touch all of it */
	uint64_t late = st->defer.room * sizeof *st->defer.at, log = bytes + bytes / 2 + late;
	uint64_t index = (uint64_t)segment_count(st) * BLOCK, copied = late || index < log ? index : log;
	return space_reserve(st, (uint32_t)((log + copied) / BLOCK) + EXTENT_BLOCKS + 8);
}

int store_pin(struct store *st, uint64_t seq)
{
	view_refresh(st);
	for (unsigned i = 0; i < PINS; i++)
		if (!st->pins[i]) {
			st->pins[i] = seq + 1;
			view_refresh(st);
			return (int)i;
		}
	errno = EBUSY;
	return -1;
}

void store_unpin(struct store *st, int pin)
{
	/* a reader may be about to use it */
	st->unpinned[pin] = view_mark(st);
	view_refresh(st);
	for (size_t i = 0; i < st->nextents; i++)
		st->log[st->extents[i].block].held = 0;
	st->held_units = 0;
}
uint64_t store_pin_seq(const struct store *st, int pin) { return st->pins[pin] - 1; }

/* Until the next tick, in ms: when there is much to compact, anything to do, nothing. */
#define TICK_MUCH 4
#define TICK_BUSY 10
#define TICK_IDLE 1000

int store_tick(struct store *st)
{
	if (st->failed) {
		errno = EIO;
		return -1;
	}
	bool more = false;
	st->head.known = false;
	uint64_t begin = compact_clock(), until = begin + st->tune.tick_ns;
	if (log_settle(st) != 0 || defer_tick(st, begin) != 0)
		return -1;
	space_collect(st);
	view_advance(st);
	if (inst_tick(st, until) != 0 || checkpoint_run(st, begin + st->tune.tick_ns / 2) != 0 ||
	    compact_run(st, until, &more) != 0)
		return store_fail(st);
	if (st->changes == 0) {
		bool due = checkpoint_due(st);
		/* copies wait for a commit of the owner's, but not forever */
		if ((due || st->fill.len >= LOG_FLUSH / 4 || !more) && settle(st) != 0)
			return -1;
		if (due)
			checkpoint_cut(st); /* or there is no room for it yet */
	}
	if (space_give_back(st) != 0)
		return store_fail(st);
	if (more && compact_much(st))
		return TICK_MUCH;
	return more || checkpoint_going(st) ? TICK_BUSY : TICK_IDLE;
}
