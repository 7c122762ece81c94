/* space.c - which blocks are free, and when a used one may be again.
 *
 * A block's use stands in the root's info array.  A block that is replaced is
 * retired: a segment made since the last checkpoint's cut waits for the readers
 * only; all else, also what a recovery from that checkpoint would replay, until
 * one that was cut later is durable, and then for the readers.
 * What is free keeps its space in the file system until a lot is free; then it
 * is a hole, and space is got again before it is used: a write into a mapped
 * hole on a full disk would be SIGBUS. */
#include "store/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXTENT_SMALL 4u /* blocks; fewer only when the disk is full */
#define EXTENT_PART  32u  /* an extent is such a part of the log, at most EXTENT_BLOCKS */
#define GROW_PART    64u  /* the file grows by this part of itself, */
#define GROW_MAX     256u /* but by so many blocks at most */

static bool is_free(const struct store *st, uint32_t block)
{
	uint64_t info = atomic_load_explicit(root_info(st->root) + block, memory_order_relaxed);
	return use_free(info_use(info)) && !(st->avoid && st->avoid[block >> 3] & 1u << (block & 7));
}

static bool is_hole(const struct store *st, uint32_t block)
{
	return info_use(atomic_load_explicit(root_info(st->root) + block, memory_order_relaxed)) == USE_HOLE;
}

void space_use(struct store *st, uint32_t block, uint32_t n, uint64_t info)
{
	for (uint32_t i = 0; i < n; i++) {
		_Atomic uint64_t *at = root_info(st->root) + block + i;
		enum block_use was = info_use(atomic_load_explicit(at, memory_order_relaxed)), now = info_use(info);
		st->used += (uint32_t)!use_free(now) - (uint32_t)!use_free(was);
		st->holes += (uint32_t)(now == USE_HOLE) - (uint32_t)(was == USE_HOLE);
		atomic_store_explicit(at, info, memory_order_release);
	}
}

/* Fills [off, off + n) where the file system can't reserve space. */
static int fill(int fd, uint64_t off, uint64_t n)
{
	static uint8_t zero[65536]; /* not const: it would lie in the executable */
	for (; n; off += sizeof zero, n -= sizeof zero) {
		ssize_t w = io_write(fd, zero, sizeof zero, off);
		if (w != (ssize_t)sizeof zero) {
			errno = w < 0 ? errno : ENOSPC;
			return -1;
		}
	}
	return 0;
}

static int allocate(struct store *st, uint64_t block, uint32_t n)
{
	if (st->check)
		return 0;
	if (io_allocate(st->fd, block * BLOCK, (uint64_t)n * BLOCK) == 0 ||
	    (errno == EOPNOTSUPP && fill(st->fd, block * BLOCK, (uint64_t)n * BLOCK) == 0))
		return 0;
	if (errno == EFBIG || errno == EDQUOT) /* a limit is as good as a full disk */
		errno = ENOSPC;
	return -1;
}

int space_whole(const struct store *st)
{
	struct stat sb;
	if (st->memory || st->fixed_size || st->check)
		return 0;
	if (fstat(st->fd, &sb) == 0 && (uint64_t)sb.st_size >= atomic_load_explicit(&st->root->blocks, memory_order_relaxed) * BLOCK)
		return 0;
	errno = EIO;
	return -1;
}

/* Blocks at the end of the file: n at least, more when it is large, so that
 * growing is rare; not in memory, where new space is zeroed at once. */
static int grow(struct store *st, uint32_t n, uint32_t *out)
{
	uint64_t have = atomic_load_explicit(&st->root->blocks, memory_order_relaxed);
	if (space_whole(st) != 0)
		return -1;
	if ((st->fixed_size && !st->check) || have + n > st->root->nblocks) {
		errno = ENOSPC;
		return -1;
	}
	uint64_t step = st->memory ? 0 : have / GROW_PART < GROW_MAX ? have / GROW_PART : GROW_MAX;
	if (step <= n || have + step > st->root->nblocks || allocate(st, have, (uint32_t)step) != 0) {
		step = n;
		if (allocate(st, have, n) != 0)
			return -1;
	}
	atomic_store_explicit(&st->root->blocks, have + step, memory_order_release);
	*out = (uint32_t)have;
	return 0;
}

/* Space behind those of n free blocks that have none. */
static int secure(struct store *st, uint32_t b, uint32_t n)
{
	bool hole = false;
	for (uint32_t i = 0; i < n && !hole; i++)
		hole = is_hole(st, b + i);
	if (!hole)
		return 0;
	if (allocate(st, b, n) != 0)
		return -1;
	space_use(st, b, n, info_make(0, 0, USE_FREE));
	return 0;
}

/* First run of n free blocks from `from` on, or 0. */
static uint32_t free_run(const struct store *st, uint32_t from, uint32_t to, uint32_t n)
{
	uint32_t run = 0;
	for (uint32_t b = from; b < to; b++) {
		run = is_free(st, b) ? run + 1 : 0;
		if (run == n)
			return b + 1 - n;
	}
	return 0;
}

/* A run of n free blocks that the file has already, or 0.  Single ones are
 * taken from the front, so that they don't break up the rest. */
static uint32_t find(struct store *st, uint32_t n)
{
	uint32_t blocks = (uint32_t)atomic_load_explicit(&st->root->blocks, memory_order_relaxed);
	uint32_t b = free_run(st, n == 1 ? st->low : st->cursor, blocks, n);
	if (b)
		return b;
	/* the cursor makes the search cheap; go round once it has run out */
	space_collect(st);
	return free_run(st, 1, blocks, n);
}

static void take(struct store *st, uint32_t b, uint32_t n, enum block_use use)
{
	if (n == 1)
		st->low = b + 1;
	else
		st->cursor = b + n;
	space_use(st, b, n, info_make(0, 0, use));
}

int space_alloc(struct store *st, uint32_t n, enum block_use use, uint32_t *out)
{
	*out = find(st, n);
	if ((!*out || secure(st, *out, n) != 0) && grow(st, n, out) != 0)
		return -1;
	take(st, *out, n, use);
	return 0;
}

/* A run of `most` blocks, or of half as many and so on, at last of `least`.
 * Returns how many; 0: none (growing: errno). */
static uint32_t try_sizes(struct store *st, uint32_t most, uint32_t least, bool growing, uint32_t *out)
{
	for (uint32_t n = most;; n = n / 2 > least ? n / 2 : least) {
		*out = find(st, n);
		if ((*out && secure(st, *out, n) == 0) || (growing && grow(st, n, out) == 0))
			return n;
		if (n <= least || (growing && errno != ENOSPC))
			return 0;
	}
}

int space_extent(struct store *st, uint32_t least, uint32_t *out, uint32_t *n)
{
	/* a small store has small ones, so that it can choose what to empty */
	uint32_t most = EXTENT_BLOCKS;
	while (most > EXTENT_SMALL && most / 2 >= least && most > st->log_blocks / EXTENT_PART)
		most /= 2;
	/* what is free already before the file grows; a few blocks at a time
	 * only when it can't */
	*n = try_sizes(st, most, least > EXTENT_SMALL ? least : EXTENT_SMALL, false, out);
	if (*n == 0)
		*n = try_sizes(st, most, least, true, out);
	if (*n == 0)
		return -1;
	take(st, *out, *n, USE_LOG);
	return 0;
}

int space_reserve(struct store *st, uint32_t n)
{
	uint64_t have = atomic_load_explicit(&st->root->blocks, memory_order_relaxed);
	uint32_t block;
	/* blocks that an old root's reader may be using count as free: soon they are */
	if (have - st->used - st->holes < n)
		space_collect(st);
	for (uint32_t b = 1; st->holes && have - st->used - st->holes < n && b < have; b++) {
		uint32_t run = 0, most = n - (uint32_t)(have - st->used - st->holes);
		while (run < most && b + run < have && is_hole(st, b + run))
			run++;
		if (run && secure(st, b, run) != 0)
			break;
	}
	if (have - st->used - st->holes >= n)
		return 0;
	return grow(st, n - (uint32_t)(have - st->used - st->holes), &block);
}

void space_doubt(struct store *st)
{
	for (uint32_t b = 1; !st->fixed_size && b < atomic_load(&st->root->blocks); b++)
		if (info_use(atomic_load(root_info(st->root) + b)) == USE_FREE)
			space_use(st, b, 1, info_make(0, 0, USE_HOLE));
}

/* The end of the file, as far as it is free; at most `most` blocks that have space. */
static int cut_tail(struct store *st, uint32_t most)
{
	uint64_t have = atomic_load_explicit(&st->root->blocks, memory_order_relaxed), to = have;
	while (to > 1 && is_free(st, (uint32_t)to - 1)) {
		if (!is_hole(st, (uint32_t)to - 1) && most-- == 0)
			break;
		to--;
	}
	if (have - to < EXTENT_BLOCKS)
		return 0;
	space_use(st, (uint32_t)to, (uint32_t)(have - to), info_make(0, 0, USE_FREE));
	atomic_store_explicit(&st->root->blocks, to, memory_order_release);
	if (st->cursor > to)
		st->cursor = 1;
	return io_truncate(st->fd, to * BLOCK);
}

/* One run of free blocks from the end on becomes a hole.  Returns its length. */
static uint32_t punch(struct store *st, uint32_t most)
{
	uint32_t b = (uint32_t)atomic_load_explicit(&st->root->blocks, memory_order_relaxed), n = 0;
	while (--b > 0 && n < most) {
		if (is_free(st, b) && !is_hole(st, b))
			n++;
		else if (n)
			break;
	}
	b++;
	if (n == 0)
		return 0;
	if (io_punch(st->fd, (uint64_t)b * BLOCK, (uint64_t)n * BLOCK) != 0) {
		st->no_holes = true;
		return 0;
	}
	space_use(st, b, n, info_make(0, 0, USE_HOLE));
	return n;
}

int space_give_back(struct store *st)
{
	uint32_t have = (uint32_t)atomic_load_explicit(&st->root->blocks, memory_order_relaxed);
	uint32_t spare = have - st->used - st->holes, least = st->tune.slack / 2;
	uint32_t keep = st->used / 10 > least ? st->used / 10 : least;
	/* readers of an old root may be in blocks that look free; a load has reserved them */
	if (st->fixed_size || st->avoid || st->defer.at || spare < st->tune.slack || spare < st->used / 8)
		return 0;
	if (cut_tail(st, spare - keep) != 0)
		return -1;
	have = (uint32_t)atomic_load_explicit(&st->root->blocks, memory_order_relaxed);
	spare = have - st->used - st->holes;
	if (spare > keep && !st->no_holes)
		punch(st, spare - keep < GROW_MAX ? spare - keep : GROW_MAX);
	return 0;
}

void space_free(struct store *st, uint32_t block)
{
	space_use(st, block, 1, info_make(0, 0, USE_FREE));
	if (block < st->cursor)
		st->cursor = block;
	if (block < st->low)
		st->low = block;
}

int space_retire(struct retire_list *l, uint32_t block, uint64_t epoch)
{
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 64;
		struct retired *at = realloc(l->at, room * sizeof *at);
		if (!at)
			return -1;
		l->at = at;
		l->room = room;
	}
	l->at[l->n++] = (struct retired){ block, epoch };
	return 0;
}

uint64_t space_epoch(const struct store *st)
{
	uint64_t low = UINT64_MAX;
	for (unsigned i = 0; i < st->nbeats; i++) {
		uint64_t e = atomic_load_explicit(&st->beats[i]->epoch, memory_order_seq_cst);
		if (e && e < low)
			low = e;
	}
	return low;
}

void space_collect(struct store *st)
{
	uint64_t low = space_epoch(st);
	size_t kept = 0;
	for (size_t i = 0; i < st->epoch_wait.n; i++) {
		struct retired r = st->epoch_wait.at[i];
		if (r.epoch < low)
			space_free(st, r.block);
		else
			st->epoch_wait.at[kept++] = r;
	}
	st->epoch_wait.n = kept;
}

void space_cut(struct store *st)
{
	struct retire_list none = st->ckpt.wait; /* empty, with its memory */
	st->ckpt.wait = st->ckpt_wait;
	st->ckpt_wait = none;
	st->log_waiting = 0;
}

void space_checkpointed(struct store *st)
{
	uint64_t epoch = atomic_fetch_add(&st->root->epoch, 1);
	for (size_t i = 0; i < st->ckpt.wait.n; i++)
		space_retire(&st->epoch_wait, st->ckpt.wait.at[i].block, epoch);
	st->ckpt.wait.n = 0;
	space_collect(st);
}

int space_root(struct store *st, uint64_t nblocks, char *err, size_t n)
{
	size_t size = (size_t)root_bytes(nblocks);
	int fd = memfd_create("encdns-root", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *p = MAP_FAILED;
	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED) {
		snprintf(err, n, "no shared memory: %s", strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
#ifdef F_SEAL_FUTURE_WRITE
	/* nobody maps it for writing from here on */
	fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
#endif
	st->root = p;
	st->root_fd = fd;
	st->root->nblocks = nblocks;
	atomic_store(&st->root->epoch, 1);
	st->map.root = st->root;
	st->map.root_size = size;
	return 0;
}
