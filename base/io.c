/* io.c - whole writes.  Contract in io.h.
 * Threat: whoever may write to the folder, and a power that goes at any time. */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

int io_write_all(int fd, const void *p, size_t n)
{
	const uint8_t *b = p;
	while (n > 0) {
		ssize_t w = write(fd, b, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w == 0)
			errno = ENOSPC;
		if (w <= 0)
			return -1;
		b += w;
		n -= (size_t)w;
	}
	return 0;
}

/* ---- a file in its place, whole or not at all ---- */

int draft_open(struct draft *d, int folder, const char *name, const char *beside, unsigned mode)
{
	int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
	d->folder = folder;
	if (snprintf(d->name, sizeof d->name, "%s", name) >= (int)sizeof d->name ||
	    snprintf(d->beside, sizeof d->beside, beside ? "%s" : "%s.new", beside ? beside : name) >=
	            (int)sizeof d->beside)
		return errno = ENAMETOOLONG, -1;
	d->fd = openat(folder, d->beside, flags | (beside ? O_EXCL : O_TRUNC), mode);
	return d->fd < 0 ? -1 : 0;
}

int io_sync_dir(int folder)
{
	return fsync(folder) == 0 || errno == EINVAL ? 0 : -1; /* EINVAL: a file system without */
}

/* To its place; what is there stays when it is not to be replaced. */
static int put(const struct draft *d, bool replace)
{
	if (!replace) {
		int rc = linkat(d->folder, d->beside, d->folder, d->name, 0);
		if (rc == 0)
			unlinkat(d->folder, d->beside, 0);
		if (rc == 0 || errno != EPERM)
			return rc;
		/* a file system without links */
		if (faccessat(d->folder, d->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return errno = EEXIST, -1;
	}
	return renameat(d->folder, d->beside, d->folder, d->name);
}

int draft_end(struct draft *d, int rc, bool replace)
{
	int e = errno;
	if (rc == 0 && fsync(d->fd) != 0)
		rc = -1, e = errno;
	if (close(d->fd) != 0 && rc == 0)
		rc = -1, e = errno;
	if (rc == 0 && put(d, replace) == 0)
		return io_sync_dir(d->folder);
	e = rc == 0 ? errno : e;
	unlinkat(d->folder, d->beside, 0);
	errno = e;
	return -1;
}

int io_save_at(int folder, const char *name, const void *p, size_t n, unsigned mode)
{
	struct draft d;
	return draft_open(&d, folder, name, NULL, mode) == 0 ? draft_end(&d, io_write_all(d.fd, p, n), true)
	                                                     : -1;
}

int io_save(const char *dir, const char *name, const void *p, size_t n, unsigned mode)
{
	int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return -1;
	int rc = io_save_at(folder, name, p, n, mode);
	int e = errno;
	close(folder);
	errno = e;
	return rc;
}
