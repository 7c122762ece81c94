/* io.c - whole writes.  Contract in io.h.  Threat: none of its own. */
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

static int save_at(int folder, const char *beside, const char *name, const void *p, size_t n, unsigned mode)
{
	int fd = openat(folder, beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return -1;
	int rc = io_write_all(fd, p, n) == 0 && fsync(fd) == 0 ? 0 : -1;
	int e = errno;
	if (close(fd) != 0 && rc == 0)
		rc = -1, e = errno;
	if (rc == 0 && renameat(folder, beside, folder, name) == 0)
		return fsync(folder);
	e = rc == 0 ? errno : e;
	unlinkat(folder, beside, 0);
	errno = e;
	return -1;
}

int io_save(const char *dir, const char *name, const void *p, size_t n, unsigned mode)
{
	char beside[256];
	if (snprintf(beside, sizeof beside, "%s.new", name) >= (int)sizeof beside)
		return errno = ENAMETOOLONG, -1;
	int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return -1;
	int rc = save_at(folder, beside, name, p, n, mode);
	int e = errno;
	close(folder);
	errno = e;
	return rc;
}
