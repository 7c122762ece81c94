/* cafile.c - the files of the operator's private CA.
 * Threat: a crash half-way, and an operator who mixes folders up: a file is put
 * in its place in one step, and what is read is checked for belonging there. */
#include "hub/cafile.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int ca_fail(struct said err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (err.n > 0)
		vsnprintf(err.text, err.n, fmt, ap);
	va_end(ap);
	return -1;
}

int ca_path(char out[static PATH_MAX], const char *dir, const char *name, const char *suffix)
{
	int n = snprintf(out, PATH_MAX, "%s/%s%s", dir, name, suffix);

	if (n < 0 || n >= PATH_MAX)
		return errno = ENAMETOOLONG, -1;
	return 0;
}

const char *ca_file(unsigned role) { return role ? cert_role_text((enum cert_role)role) : "root"; }

/* ---- writing ---- */

int ca_draft_open(struct ca_draft *d, const char *path)
{
	char folder[PATH_MAX], beside[256];
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	uint8_t r[4];

	crypto_random(r, sizeof r);
	if (snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1,
	             slash ? path : ".") >= PATH_MAX ||
	    snprintf(beside, sizeof beside, "%s.%02x%02x%02x%02x", name, r[0], r[1], r[2], r[3]) >=
	            (int)sizeof beside)
		return errno = ENAMETOOLONG, -1;
	d->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->folder < 0)
		return -1;
	if (draft_open(&d->file, d->folder, name, beside, 0600) == 0)
		return 0;
	int e = errno;
	close(d->folder);
	errno = e;
	return -1;
}

int ca_draft_end(struct ca_draft *d, int rc, bool replace)
{
	rc = draft_end(&d->file, rc, replace);
	int e = errno;
	close(d->folder);
	errno = e;
	return rc;
}

int ca_write_cert(int fd, const uint8_t *der, size_t n)
{
	uint8_t text[CERT_MAX * 2];
	struct wr w = wr_init(text, sizeof text);

	pem_put(&w, "CERTIFICATE", der, n);
	if (w.bad)
		return errno = ENOSPC, -1;
	return io_write_all(fd, text, wr_len(&w));
}

/* ---- reading ---- */

/* NULL or what is wrong. */
static const char *read_cert(const char *path, struct ca *ca)
{
	uint8_t text[CERT_MAX * 2];
	char label[32];
	const char *why;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
	int e = errno;

	if (fd >= 0)
		close(fd);
	errno = e;
	if (n < 0)
		return strerror(errno);
	struct rd r = rd_init(text, (size_t)n);
	struct wr w = wr_init(ca->der, sizeof ca->der);
	errno = EBADMSG;
	if (pem_next(&r, label, &w) != 1 || strcmp(label, "CERTIFICATE") != 0)
		return "it is not a certificate in PEM";
	ca->len = wr_len(&w);
	return cert_parse(ca->der, ca->len, &ca->cert, &why) == 0 ? NULL : why;
}

bool ca_lacks(const char *dir, unsigned role)
{
	char path[PATH_MAX];
	struct stat st;

	for (int i = 0; i < 2; i++)
		if (ca_path(path, dir, ca_file(role), i ? ".key" : ".pem") != 0 ||
		    lstat(path, &st) == 0)
			return false;
	return true;
}

int ca_load(const char *dir, unsigned role, struct ca *ca, struct said err)
{
	char path[PATH_MAX];

	if (ca_path(path, dir, ca_file(role), ".pem") != 0)
		return ca_fail(err, "%s: %s", dir, strerror(errno));
	const char *why = read_cert(path, ca);
	if (why && errno == ENOENT && role && ca_lacks(dir, role) && !ca_lacks(dir, 0))
		return ca_fail(err, "the CA in %s does not issue for %ss yet: `encdns-hub ca init --dir %s` "
		               "adds that", dir, ca_file(role), dir);
	if (why && errno == ENOENT)
		return ca_fail(err,
		               "no CA lies in %s: there is no %s (`encdns-hub ca init` makes one; a station "
		               "ST has its own in ST/ca)",
		               dir, path);
	if (why)
		return ca_fail(err, "cannot read %s: %s", path, why);
	if (role ? ca->cert.kind != CERT_ISSUING || ca->cert.role != role : ca->cert.kind != CERT_ROOT)
		return ca_fail(err, "%s is not the certificate that `ca init` wrote there", path);
	return 0;
}

static const char *key_words(int e)
{
	return e == EINVAL       ? "it is not a private key of ours" :
	       e == EACCES       ? "it is under a passphrase" :
	       e == EKEYREJECTED ? "it is another passphrase that it is under" :
	                           strerror(e);
}

int ca_load_key(const char *dir, const struct pass *pass, unsigned role, struct ca *ca, struct said err)
{
	char path[PATH_MAX];
	uint8_t pub[SIGN_PUB];
	int fd = ca_path(path, dir, ca_file(role), ".key") == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return ca_fail(err, "cannot read %s: %s", path, strerror(errno));
	ca->key = issue_key_open(fd, pass);
	int e = errno;
	close(fd);
	if (!ca->key) {
		ca_fail(err, "cannot read %s: %s", path, key_words(e));
		errno = e;
		return -1;
	}
	signer_pub(ca->key, pub);
	if (memcmp(pub, ca->cert.pub, SIGN_PUB) == 0)
		return 0;
	signer_free(ca->key);
	ca->key = NULL;
	ca_fail(err, "%s is not the key of the certificate beside it", path);
	errno = EBADMSG;
	return -1;
}

/* ---- another passphrase ---- */

#define CREDENTIALS_MAX 16384u /* octets of PEM */

/* The key in a file, under whichever it is.  NULL with errno. */
static struct signer *open_key(int fd, const struct pass *pass, const struct pass *next)
{
	struct signer *s = issue_key_open(fd, pass);

	if (!s && next && lseek(fd, 0, SEEK_SET) == 0)
		s = issue_key_open(fd, next);
	return s;
}

/* Everything but the key as it is. */
static int write_resealed(int fd, struct rd text, const struct signer *key, const struct pass *next)
{
	uint8_t der[CERT_MAX];
	char label[32];
	int got;

	for (;;) {
		struct wr w = wr_init(der, sizeof der);
		if ((got = pem_next(&text, label, &w)) <= 0)
			break;
		if (strcmp(label, "CERTIFICATE") == 0 && ca_write_cert(fd, der, wr_len(&w)) != 0)
			return -1;
	}
	crypto_wipe(der, sizeof der); /* a key in clear was there, too */
	return got < 0 ? (errno = EINVAL, -1) : issue_key_seal(key, next, fd);
}

int ca_reseal(const char *path, const struct pass *pass, const struct pass *next, bool clear, struct said err)
{
	static const char sealed[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
	uint8_t text[CREDENTIALS_MAX];
	struct ca_draft d;
	struct signer *key = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = -1;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);

	if (n < 0)
		ca_fail(err, "cannot read %s: %s", path, strerror(errno));
	else if (!clear && !memmem(text, (size_t)n, sealed, sizeof sealed - 1))
		rc = 0;
	else if (lseek(fd, 0, SEEK_SET) != 0 || !(key = open_key(fd, pass, next)))
		ca_fail(err, "cannot read %s: %s", path, key_words(errno));
	else if (ca_draft_open(&d, path) != 0 ||
	         ca_draft_end(&d, write_resealed(d.file.fd, rd_init(text, (size_t)n), key, next), true) != 0)
		ca_fail(err, "cannot write %s: %s", path, strerror(errno));
	else
		rc = 0;
	signer_free(key);
	if (fd >= 0)
		close(fd);
	crypto_wipe(text, sizeof text);
	return rc;
}
