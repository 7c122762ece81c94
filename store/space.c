/* space.c - which blocks are free, and when a used one may be again.
 *
 * A block's use stands in the root's info array.  A block that is replaced is
 * retired: one made since the last checkpoint waits for the readers only; one
 * that a checkpoint refers to also until neither superblock does. */
#include "store/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXTENT_SMALL 4u /* blocks; fewer only when the disk is full */

static bool is_free(const struct store *st, uint32_t block)
{
	uint64_t info = atomic_load_explicit(root_info(st->root) + block, memory_order_relaxed);
	return info_use(info) == USE_FREE && !(st->avoid && st->avoid[block >> 3] & 1u << (block & 7));
}

void space_use(struct store *st, uint32_t block, uint32_t n, uint64_t info)
{
	for (uint32_t i = 0; i < n; i++) {
		_Atomic uint64_t *at = root_info(st->root) + block + i;
		bool was = info_use(atomic_load_explicit(at, memory_order_relaxed)) != USE_FREE;
		st->used += (uint32_t)(info_use(info) != USE_FREE) - (uint32_t)was;
		atomic_store_explicit(at, info, memory_order_release);
	}
}

/* Fills [off, off + n) where the file system can't reserve space. */
static int fill(int fd, uint64_t off, uint64_t n)
{
	static const uint8_t zero[65536];
	for (; n; off += sizeof zero, n -= sizeof zero) {
		ssize_t w = io_write(fd, zero, sizeof zero, off);
		if (w != (ssize_t)sizeof zero) {
			errno = w < 0 ? errno : ENOSPC;
			return -1;
		}
	}
	return 0;
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

static int grow(struct store *st, uint32_t n, uint32_t *out)
{
	uint64_t have = atomic_load_explicit(&st->root->blocks, memory_order_relaxed);
	if (space_whole(st) != 0)
		return -1;
	if ((st->fixed_size && !st->check) || have + n > st->root->nblocks) {
		errno = ENOSPC;
		return -1;
	}
	if (!st->check && io_allocate(st->fd, have * BLOCK, (uint64_t)n * BLOCK) != 0 &&
	    (errno != EOPNOTSUPP || fill(st->fd, have * BLOCK, (uint64_t)n * BLOCK) != 0)) {
		if (errno == EFBIG || errno == EDQUOT) /* a limit is as good as a full disk */
			errno = ENOSPC;
		return -1;
	}
	atomic_store_explicit(&st->root->blocks, have + n, memory_order_release);
	*out = (uint32_t)have;
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

/* A run of n free blocks that the file has already, or 0. */
static uint32_t find(struct store *st, uint32_t n)
{
	uint32_t blocks = (uint32_t)atomic_load_explicit(&st->root->blocks, memory_order_relaxed);
	uint32_t b = free_run(st, st->cursor, blocks, n);
	if (b)
		return b;
	/* the cursor makes the search cheap; go round once it has run out */
	space_collect(st);
	return free_run(st, 1, blocks, n);
}

static void take(struct store *st, uint32_t b, uint32_t n, enum block_use use)
{
	st->cursor = b + n;
	space_use(st, b, n, info_make(0, 0, use));
}

int space_alloc(struct store *st, uint32_t n, enum block_use use, uint32_t *out)
{
	*out = find(st, n);
	if (!*out && grow(st, n, out) != 0)
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
		if (*out || (growing && grow(st, n, out) == 0))
			return n;
		if (n <= least || (growing && errno != ENOSPC))
			return 0;
	}
}

int space_extent(struct store *st, uint32_t least, uint32_t *out, uint32_t *n)
{
	/* what restarts have left over before the file grows; a few blocks at
	 * a time only when it can't */
	*n = try_sizes(st, EXTENT_BLOCKS, least > EXTENT_SMALL ? least : EXTENT_SMALL, false, out);
	if (*n == 0)
		*n = try_sizes(st, EXTENT_BLOCKS, least, true, out);
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
	if (have - st->used < n)
		space_collect(st);
	if (have - st->used >= n)
		return 0;
	return grow(st, n - (uint32_t)(have - st->used), &block);
}

void space_free(struct store *st, uint32_t block)
{
	space_use(st, block, 1, info_make(0, 0, USE_FREE));
	if (block < st->cursor)
		st->cursor = block;
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

/* The oldest epoch a reader may still be in. */
static uint64_t readers_epoch(const struct store *st)
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
	uint64_t low = readers_epoch(st);
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

void space_checkpointed(struct store *st)
{
	uint64_t epoch = atomic_fetch_add(&st->root->epoch, 1);
	for (size_t i = 0; i < st->ckpt_prev.n; i++)
		space_retire(&st->epoch_wait, st->ckpt_prev.at[i].block, epoch);
	struct retire_list empty = st->ckpt_prev;
	empty.n = 0;
	st->ckpt_prev = st->ckpt_now;
	st->ckpt_now = empty;
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
