/* denied.c - the denial list that a process goes by: in force first, then on the
 * disk, and never an older one. */
#include "crypto/denial.h"
#include "base/io.h"
#include "crypto/cred.h"
#include "crypto/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The file's content, for free(); NULL with errno. */
static uint8_t *read_file(const char *dir, size_t *n)
{
	int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = folder < 0 ? -1 : openat(folder, "denials", O_RDONLY | O_CLOEXEC);
	uint8_t *p = fd < 0 ? NULL : malloc(DENIALS_BYTES);
	ssize_t got = p ? crypto_read_all(fd, p, DENIALS_BYTES) : -1;
	int e = errno;

	if (fd >= 0)
		close(fd);
	if (folder >= 0)
		close(folder);
	if (got < 0) {
		free(p);
		p = NULL;
	}
	*n = got < 0 ? 0 : (size_t)got;
	errno = e;
	return p;
}

int denials_load(const char *dir, const uint8_t root[static SIGN_PUB], struct denials **out, const char **why)
{
	size_t len;
	uint8_t *p = read_file(dir, &len);

	*out = NULL;
	if (!p && errno == ENOENT)
		return 0;
	*why = strerror(errno);
	if (p)
		*out = denials_read(p, len, root, why);
	free(p);
	return *out ? 0 : -1;
}

int denied_open(struct denied *d, const char *dir, struct cred *cred, char *err, size_t n)
{
	const char *why;

	*d = (struct denied){ .dir = dir, .cred = cred };
	int rc = denials_load(dir, cred->cert[CERT_ROOT].pub, &d->list, &why);
	cred_deny(cred, d->list);
	if (rc != 0)
		snprintf(err, n, "%s/denials: %s", dir, why);
	return rc;
}

int denied_take(struct denied *d, const void *p, size_t n, char *err, size_t errn)
{
	const char *why;
	size_t len;
	const void *have = denials_octets(d->list, &len);

	if (have && len == n && memcmp(have, p, n) == 0)
		return 0;
	struct denials *next = denials_read(p, n, d->cred->cert[CERT_ROOT].pub, &why);
	if (next)
		why = denials_follow(d->list, next);
	if (!next || why) {
		denials_free(next);
		snprintf(err, errn, "%s", why);
		return -1;
	}
	cred_deny(d->cred, next);
	denials_free(d->list);
	d->list = next;
	return 1;
}

int denied_save(const struct denied *d)
{
	size_t n;
	const void *p = denials_octets(d->list, &n);

	return p ? io_save(d->dir, "denials", p, n, 0644) : 0;
}

void denied_close(struct denied *d)
{
	if (d->cred)
		cred_deny(d->cred, NULL);
	denials_free(d->list);
	d->list = NULL;
}
