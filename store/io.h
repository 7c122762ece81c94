/* io.h - every effect of the store on its file, so that a test can put a disk
 * of its own in their place: one that tears, forgets, reorders and refuses
 * (STORE_FAULT, tests/faultdisk.c).  Here they are the plain calls.
 *
 * The index is changed through the file's mapping, without a call; io_mapped
 * tells where this will happen from now on, until the next checkpoint. */
#ifndef STORE_IO_H
#define STORE_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef STORE_FAULT

ssize_t io_read(int fd, void *p, size_t n, uint64_t off);
ssize_t io_write(int fd, const void *p, size_t n, uint64_t off);
ssize_t io_write_synced(int fd, const void *p, size_t n, uint64_t off, bool *synced);
int io_sync(int fd);
int io_allocate(int fd, uint64_t off, uint64_t n);
int io_truncate(int fd, uint64_t n);
void io_mapped(int fd, uint64_t off, uint64_t n);
int io_sync_mapped(int fd, void *p, size_t n, uint64_t off);
static inline void io_begin(int fd, uint64_t off, uint64_t n) { (void)fd, (void)off, (void)n; }
int io_resident(const uint8_t *p, size_t n, unsigned char *in);
static inline void io_soon(const uint8_t *p, size_t n) { (void)p, (void)n; }
void io_fetch(const uint8_t *p, size_t n, size_t page);
static inline void io_touch(void *p, size_t n) { (void)p, (void)n; }
/* All happens in one row there. */
static inline bool io_beside(void) { return false; }
/* That disk has no holes. */
static inline int io_punch(int fd, uint64_t off, uint64_t n) { (void)fd, (void)off, (void)n; return -1; }

#else

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* linux/mman.h */
#endif
#ifndef RWF_DSYNC
#define RWF_DSYNC 2 /* linux/fs.h; older C libraries don't have it */
#endif

static inline ssize_t io_read(int fd, void *p, size_t n, uint64_t off) { return pread(fd, p, n, (off_t)off); }

static inline ssize_t io_write(int fd, const void *p, size_t n, uint64_t off)
{
	return pwrite(fd, p, n, (off_t)off);
}

/* A write that is synced by itself if that is possible; *synced tells.  It
 * syncs its own pages only. */
static inline ssize_t io_write_synced(int fd, const void *p, size_t n, uint64_t off, bool *synced)
{
#ifdef SYS_pwritev2
	struct iovec v = { (void *)(uintptr_t)p, n };
	uint32_t high = sizeof(long) > 4 ? 0 : (uint32_t)(off >> 32);
	ssize_t r = syscall(SYS_pwritev2, fd, &v, 1, (unsigned long)off, high, RWF_DSYNC);
	*synced = true;
	if (r >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS))
		return r;
#endif
	*synced = false;
	return pwrite(fd, p, n, (off_t)off);
}

static inline int io_sync(int fd) { return fdatasync(fd); }

static inline int io_allocate(int fd, uint64_t off, uint64_t n) { return fallocate(fd, 0, (off_t)off, (off_t)n); }

static inline int io_truncate(int fd, uint64_t n) { return ftruncate(fd, (off_t)n); }

static inline int io_punch(int fd, uint64_t off, uint64_t n)
{
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)n);
}

/* May a helper write, too? */
static inline bool io_beside(void) { return true; }

static inline void io_mapped(int fd, uint64_t off, uint64_t n) { (void)fd, (void)off, (void)n; }

/* What was changed through the mapping at p (the file's octets from off on) is
 * durable on return. */
static inline int io_sync_mapped(int fd, void *p, size_t n, uint64_t off)
{
	(void)fd, (void)off;
	return msync(p, n, MS_SYNC);
}

/* The same is asked for soon: a hint. */
static inline void io_begin(int fd, uint64_t off, uint64_t n)
{
	sync_file_range(fd, (off_t)off, (off_t)n, SYNC_FILE_RANGE_WRITE);
}

/* Of pages of the mapping: which of them are in memory (bit 0 of an octet each)?
 * -1 with errno. */
static inline int io_resident(const uint8_t *p, size_t n, unsigned char *in)
{
	return mincore((void *)(uintptr_t)p, n, in);
}

/* They, and no others, will be read: the disk may begin.  A hint. */
static inline void io_soon(const uint8_t *p, size_t n) { madvise((void *)(uintptr_t)p, n, MADV_WILLNEED); }

/* Reads them, by nothing but a touch: it is the same on every kernel. */
static inline void io_fetch(const uint8_t *p, size_t n, size_t page)
{
	for (size_t i = 0; i < n; i += page)
		(void)*(const volatile uint8_t *)(p + i);
}

/* Memory of the mapping will be written: one call for all its pages.  A hint. */
static inline void io_touch(void *p, size_t n) { madvise(p, n, MADV_POPULATE_WRITE); }

#endif
#endif
