/* ca.c - the operator's private CA: files, register, command line.  What the
 * certificates look like stands in crypto/cert.h.
 *
 * Every file is written beside its place, synced, and put there in one step.
 * A certificate enters the register before it leaves: nothing is out there
 * that the register does not know. */
#include "hub/ca.h"
#include "base/io.h"
#include "crypto/issue.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BACKDATE 3600 /* for clocks of others that are behind */

struct said {
	char *text;
	size_t n;
};

/* One line for people; always -1. */
__attribute__((format(printf, 2, 3))) static int fail(struct said err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (err.n > 0)
		vsnprintf(err.text, err.n, fmt, ap);
	va_end(ap);
	return -1;
}

static int join(char out[static PATH_MAX], const char *dir, const char *name, const char *suffix)
{
	int n = snprintf(out, PATH_MAX, "%s/%s%s", dir, name, suffix);

	if (n < 0 || n >= PATH_MAX)
		return errno = ENAMETOOLONG, -1;
	return 0;
}

static int sync_dir_of(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (n >= sizeof dir)
		return errno = ENAMETOOLONG, -1;
	memcpy(dir, path, n);
	dir[n] = 0;
	int fd = open(n ? dir : slash ? "/" : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	int rc = fsync(fd);
	close(fd);
	return rc;
}

/* A file on its way to its place. */
struct draft {
	char tmp[PATH_MAX];
	const char *path;
	int fd;
};

static int draft_open(struct draft *d, const char *path)
{
	uint8_t r[4];

	crypto_random(r, sizeof r);
	int n = snprintf(d->tmp, sizeof d->tmp, "%s.%02x%02x%02x%02x", path, r[0], r[1], r[2],
	                 r[3]);
	if (n < 0 || n >= PATH_MAX)
		return errno = ENAMETOOLONG, -1;
	d->path = path;
	d->fd = open(d->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return d->fd < 0 ? -1 : 0;
}

/* Puts it in its place when rc is 0, drops it otherwise. */
static int draft_end(struct draft *d, int rc, bool replace)
{
	int e = errno;

	if (rc == 0 && fsync(d->fd) != 0)
		rc = -1, e = errno;
	if (close(d->fd) != 0 && rc == 0)
		rc = -1, e = errno;
	if (rc == 0) {
		rc = replace ? rename(d->tmp, d->path) : link(d->tmp, d->path);
		if (rc != 0 && errno == EPERM) /* a file system without links */
			rc = rename(d->tmp, d->path);
		e = errno;
	}
	unlink(d->tmp); /* gone already when it was renamed */
	if (rc == 0) {
		rc = sync_dir_of(d->path);
		e = errno;
	}
	errno = e;
	return rc;
}

static int write_cert(int fd, const uint8_t *der, size_t n)
{
	uint8_t text[CERT_MAX * 2];
	struct wr w = wr_init(text, sizeof text);

	pem_put(&w, "CERTIFICATE", der, n);
	if (w.bad)
		return errno = ENOSPC, -1;
	return io_write_all(fd, text, wr_len(&w));
}

/* ---- reading a CA ---- */

struct ca {
	uint8_t der[CERT_MAX];
	size_t len;
	struct cert cert; /* views into der */
	struct signer *key;
};

static int load_cert(const char *path, struct ca *ca)
{
	uint8_t text[CERT_MAX * 2];
	char label[32];
	const char *why;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	ssize_t n = read(fd, text, sizeof text);
	close(fd);
	if (n < 0)
		return -1;
	struct rd r = rd_init(text, (size_t)n);
	struct wr w = wr_init(ca->der, sizeof ca->der);
	errno = EBADMSG;
	if (pem_next(&r, label, &w) != 1 || strcmp(label, "CERTIFICATE") != 0)
		return -1;
	ca->len = wr_len(&w);
	return cert_parse(ca->der, ca->len, &ca->cert, &why);
}

static int load_key(const char *path, struct ca *ca)
{
	uint8_t pub[SIGN_PUB];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	ca->key = issue_key_read(fd);
	close(fd);
	if (!ca->key)
		return -1;
	signer_pub(ca->key, pub);
	if (memcmp(pub, ca->cert.pub, SIGN_PUB) != 0)
		return errno = EBADMSG, -1;
	return 0;
}

/* ---- making a CA ---- */

static int make_ca(const char *dir, const char *name, struct issue *i, const struct ca *root,
                   struct ca *ca, struct said err)
{
	char path[PATH_MAX];
	uint8_t pub[SIGN_PUB];
	struct draft d;
	const char *why = "no memory for keys";

	ca->key = signer_new();
	if (!ca->key)
		return fail(err, "%s", why);
	signer_pub(ca->key, pub);
	issue_serial(i->serial);
	ca->len = issue_cert(ca->der, i, pub, root ? root->key : ca->key, root ? &root->cert : NULL);
	if (cert_parse(ca->der, ca->len, &ca->cert, &why) != 0)
		return fail(err, "cannot make the certificate of %s: %s", name, why);
	if (join(path, dir, name, ".key") != 0 || draft_open(&d, path) != 0 ||
	    draft_end(&d, issue_key_write(ca->key, d.fd), false) != 0) {
		if (errno == EEXIST)
			return fail(err, "%s is there already: it stays as it is", path);
		return fail(err, "cannot write %s: %s", path, strerror(errno));
	}
	if (join(path, dir, name, ".pem") != 0 || draft_open(&d, path) != 0 ||
	    draft_end(&d, write_cert(d.fd, ca->der, ca->len), false) != 0)
		return fail(err, "cannot write %s: %s", path, strerror(errno));
	return 0;
}

/* Names of files; role 0 is the root. */
static const char *file_of(unsigned role) { return role ? cert_role_text((enum cert_role)role) : "root"; }

static int make_dir(const char *dir, struct said err)
{
	char path[PATH_MAX];
	struct stat st;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return fail(err, "cannot make %s: %s", dir, strerror(errno));
	for (unsigned i = 0; i < 2 * (ROLE_LAST + 1); i++) {
		if (join(path, dir, file_of(i / 2), i % 2 ? ".key" : ".pem") != 0)
			return fail(err, "%s: %s", dir, strerror(errno));
		if (lstat(path, &st) == 0)
			return fail(err, "there is a CA in %s already: it stays as it is", dir);
	}
	if (chmod(dir, 0700) != 0)
		return fail(err, "cannot close %s to others: %s", dir, strerror(errno));
	return 0;
}

/* An issuing CA below the root. */
static int make_issuing(const char *dir, enum cert_role role, const struct ca *root, struct said err)
{
	int64_t now = cert_now();
	struct issue i = { .kind = CERT_ISSUING, .role = role, .from = now - BACKDATE,
		           .until = now + (int64_t)CA_DAYS * 86400 };
	struct ca ca = { 0 };

	if (i.from < root->cert.from)
		i.from = root->cert.from;
	if (i.until > root->cert.until)
		i.until = root->cert.until;
	int rc = make_ca(dir, cert_role_text(role), &i, root, &ca, err);
	signer_free(ca.key);
	return rc;
}

static int make_root(const char *dir, struct ca *root, struct said err)
{
	char cn[17];
	uint8_t id[8];
	int64_t now = cert_now();
	struct issue i = { .kind = CERT_ROOT, .name = cn, .from = now - BACKDATE,
		           .until = now + (int64_t)CA_DAYS * 86400 };

	crypto_random(id, sizeof id);
	hex_text(cn, id, sizeof id);
	return make_ca(dir, "root", &i, NULL, root, err);
}

/* Has this CA neither key nor certificate for the role? */
static bool lacks(const char *dir, enum cert_role role)
{
	char path[PATH_MAX];
	struct stat st;

	for (int i = 0; i < 2; i++)
		if (join(path, dir, cert_role_text(role), i ? ".key" : ".pem") != 0 || lstat(path, &st) == 0)
			return false;
	return true;
}

static int load_ca(const char *dir, unsigned role, bool key, struct ca *ca, struct said err)
{
	char path[PATH_MAX];
	const struct cert *c = &ca->cert;

	if (join(path, dir, file_of(role), ".pem") == 0 && load_cert(path, ca) == 0 &&
	    (!key || (join(path, dir, file_of(role), ".key") == 0 && load_key(path, ca) == 0))) {
		if (role ? c->kind == CERT_ISSUING && c->role == role : c->kind == CERT_ROOT)
			return 0;
		errno = EBADMSG;
	}
	if (errno == ENOENT && role && lacks(dir, (enum cert_role)role) && !lacks(dir, ROLE_HUB))
		return fail(err, "the CA in %s does not issue for %ss yet: `encdns-hub ca init --dir %s` adds that",
		            dir, file_of(role), dir);
	return fail(err, "cannot read %s: %s", path,
	            errno == EBADMSG || errno == EINVAL ? "it is not what `ca init` wrote" : strerror(errno));
}

/* What an earlier version did not know of. */
static int complete(const char *dir, unsigned *added, struct said err)
{
	struct ca root = { 0 };
	int rc = load_ca(dir, 0, true, &root, err);

	for (enum cert_role r = ROLE_HUB; rc == 0 && r <= ROLE_LAST; r++)
		if (lacks(dir, r) && (rc = make_issuing(dir, r, &root, err)) == 0)
			++*added;
	signer_free(root.key);
	return rc;
}

int ca_init(const char *dir, unsigned *added, char *errtext, size_t n)
{
	struct said err = { errtext, n };
	struct ca root = { 0 };
	unsigned count = 0;
	bool some = false;

	for (enum cert_role r = ROLE_HUB; r <= ROLE_LAST; r++)
		some |= lacks(dir, r);
	if (added)
		*added = 0;
	if (some && !lacks(dir, ROLE_HUB)) {
		int rc = complete(dir, &count, err);

		if (added)
			*added = count;
		return rc;
	}
	if (make_dir(dir, err) != 0)
		return -1;
	int rc = make_root(dir, &root, err);
	for (enum cert_role r = ROLE_HUB; rc == 0 && r <= ROLE_LAST; r++)
		rc = make_issuing(dir, r, &root, err);
	signer_free(root.key);
	return rc;
}

/* ---- issuing ---- */

static void time_text(int64_t at, char out[static 32])
{
	time_t t = (time_t)at;
	struct tm tm;

	out[0] = 0;
	if (gmtime_r(&t, &tm))
		strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

/* Appends one line and waits until it is on the disk. */
static int enter(const char *dir, const struct issue *i)
{
	char path[PATH_MAX], line[256], from[32], until[32], serial[33];

	hex_text(serial, i->serial, 16);
	time_text(i->from, from);
	time_text(i->until, until);
	int n = snprintf(line, sizeof line, "%s %s %s %s %s\n", serial, cert_role_text(i->role),
	                 i->name, from, until);
	if (n < 0 || n >= (int)sizeof line || join(path, dir, "register", "") != 0)
		return -1;
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	int rc = flock(fd, LOCK_EX);
	if (rc == 0)
		rc = io_write_all(fd, line, (size_t)n);
	if (rc == 0)
		rc = fsync(fd);
	close(fd);
	return rc;
}

static int write_bundle(const char *path, const struct ca_chain *chain, const struct signer *key)
{
	struct draft d;
	int rc = 0;

	if (draft_open(&d, path) != 0)
		return -1;
	for (int k = CERT_LEAF; rc == 0 && k <= CERT_ROOT; k++)
		rc = write_cert(d.fd, chain->der[k], chain->len[k]);
	if (rc == 0)
		rc = issue_key_write(key, d.fd);
	return draft_end(&d, rc, true);
}

static int issued_path(const char *dir, enum cert_role role, const char *name, char out[static PATH_MAX],
                       struct said err)
{
	char file[CERT_NAME + 24];

	if (join(out, dir, "issued", "") != 0 || (mkdir(out, 0700) != 0 && errno != EEXIST))
		return fail(err, "cannot make %s/issued: %s", dir, strerror(errno));
	snprintf(file, sizeof file, "issued/%s-%s", cert_role_text(role), name);
	if (join(out, dir, file, ".pem") != 0)
		return fail(err, "%s: %s", dir, strerror(errno));
	return 0;
}

static void put_chain(struct ca_chain *out, enum cert_kind k, const uint8_t *der, size_t n)
{
	memcpy(out->der[k], der, n);
	out->len[k] = n;
}

static int certify(const char *dir, struct issue *i, const uint8_t pub[static SIGN_PUB], const struct ca *root,
                   const struct ca *by, struct ca_chain *out, struct said err)
{
	if (!cert_signed_by(&by->cert, &root->cert))
		return fail(err, "the certificates in %s do not belong together", dir);
	if (i->until > by->cert.until)
		i->until = by->cert.until;
	if (i->from < by->cert.from)
		i->from = by->cert.from;
	if (i->until <= cert_now())
		return fail(err, "the CA in %s has expired", dir);
	issue_serial(i->serial);
	out->len[CERT_LEAF] = issue_cert(out->der[CERT_LEAF], i, pub, by->key, &by->cert);
	if (out->len[CERT_LEAF] == 0)
		return fail(err, "cannot make the certificate");
	put_chain(out, CERT_ISSUING, by->der, by->len);
	put_chain(out, CERT_ROOT, root->der, root->len);
	if (enter(dir, i) != 0)
		return fail(err, "cannot write %s/register: %s", dir, strerror(errno));
	return 0;
}

int ca_certify(const char *dir, enum cert_role role, const char *name, const uint8_t pub[static SIGN_PUB],
               unsigned days, struct ca_chain *out, char *errtext, size_t n)
{
	struct said err = { errtext, n };
	struct ca root = { 0 }, by = { 0 };
	int64_t now = cert_now();
	struct issue i = { .kind = CERT_LEAF, .role = role, .name = name, .from = now - BACKDATE,
		           .until = now + (int64_t)days * 86400 };
	int rc = -1;

	if (!cert_name_ok(name, strlen(name)))
		return fail(err, "%.80s: a name has 1 to 63 letters, digits, dots, dashes or "
		                 "underscores", name);
	if (days < 1 || days > CA_DAYS)
		return fail(err, "the days are from 1 to %d", CA_DAYS);
	if (load_ca(dir, 0, false, &root, err) == 0 && load_ca(dir, role, true, &by, err) == 0)
		rc = certify(dir, &i, pub, &root, &by, out, err);
	signer_free(by.key);
	return rc;
}

int ca_issue_days(const char *dir, enum cert_role role, const char *name, const char *outfile,
                  unsigned days, char *errtext, size_t n)
{
	struct said err = { errtext, n };
	char issued[PATH_MAX];
	uint8_t pub[SIGN_PUB];
	struct ca_chain chain;
	struct stat st;

	if (role == ROLE_MACHINE)
		return fail(err, "a machine makes its key itself, and gets its certificate when it is enrolled");
	if (stat(dir, &st) != 0)
		return fail(err, "%s: %s", dir, strerror(errno));
	struct signer *key = signer_new();
	if (!key)
		return fail(err, "no memory for keys");
	signer_pub(key, pub);
	int rc = ca_certify(dir, role, name, pub, days, &chain, errtext, n);
	if (rc == 0 && !outfile) {
		rc = issued_path(dir, role, name, issued, err);
		outfile = issued;
	}
	if (rc == 0 && write_bundle(outfile, &chain, key) != 0)
		rc = fail(err, "cannot write %s: %s", outfile, strerror(errno));
	signer_free(key);
	return rc;
}

int ca_issue(const char *dir, enum cert_role role, const char *name, const char *outfile,
             char *err, size_t n)
{
	return ca_issue_days(dir, role, name, outfile, CA_LEAF_DAYS, err, n);
}

/* ---- the command line ---- */

static const char USAGE[] =
        "usage: encdns-hub ca init --dir DIR\n"
        "       encdns-hub ca issue hub|node|operator NAME --dir DIR [--out FILE] [--days N]\n"
        "\n"
        "init   makes a private CA in DIR: a root, and issuing CAs for hubs, nodes, operators and\n"
        "       machines.  A CA that is there already stays as it is, but gets what it lacks.\n"
        "issue  makes a key and a certificate for NAME and writes both, with the certificates\n"
        "       above, to FILE (default DIR/issued/ROLE-NAME.pem).  Valid for N days (365).\n"
        "\n"
        "DIR holds the keys of the whole fleet: keep it at the operator's station.\n";

struct args {
	const char *dir, *out, *days;
	const char *word[3]; /* what is not an option */
	int words;
};

static bool take_option(struct args *a, int argc, char **argv, int *at, bool *ok)
{
	static const char *const names[] = { "--dir", "--out", "--days" };
	const char **to[] = { &a->dir, &a->out, &a->days };

	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(names[i]);
		const char *s = argv[*at];

		if (strncmp(s, names[i], n) != 0 || (s[n] != 0 && s[n] != '='))
			continue;
		if (s[n] == '=')
			*to[i] = s + n + 1;
		else if (*at + 1 < argc)
			*to[i] = argv[++*at];
		else
			*ok = false;
		return true;
	}
	return false;
}

/* 0, 2 on wrong usage (said), -1 when help was asked for (given). */
static int parse_args(int argc, char **argv, struct args *a)
{
	bool ok = true;

	for (int i = 1; i < argc && ok; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			fputs(USAGE, stdout);
			return -1;
		}
		if (take_option(a, argc, argv, &i, &ok))
			continue;
		if (argv[i][0] == '-' || a->words == 3)
			ok = false;
		else
			a->word[a->words++] = argv[i];
	}
	if (ok && a->words > 0 && a->dir)
		return 0;
	fputs(USAGE, stderr);
	return 2;
}

static unsigned parse_days(const char *text)
{
	char *end;

	if (!text)
		return CA_LEAF_DAYS;
	unsigned long v = strtoul(text, &end, 10);
	return *text < '0' || *text > '9' || *end || v > CA_DAYS ? 0 : (unsigned)v;
}

int ca_main(int argc, char **argv)
{
	struct args a = { 0 };
	char err[PATH_MAX + 256];
	enum cert_role role;
	int rc = parse_args(argc, argv, &a);

	if (rc != 0)
		return rc < 0 ? 0 : rc;
	if (strcmp(a.word[0], "init") == 0 && a.words == 1 && !a.out && !a.days) {
		unsigned added;

		rc = ca_init(a.dir, &added, err, sizeof err);
		if (rc == 0 && added)
			printf("the CA in %s issues for all roles now\n", a.dir);
		else if (rc == 0)
			printf("a new CA lies in %s\n", a.dir);
	} else if (strcmp(a.word[0], "issue") == 0 && a.words == 3 &&
	           cert_role_parse(a.word[1], strlen(a.word[1]), &role)) {
		rc = ca_issue_days(a.dir, role, a.word[2], a.out, parse_days(a.days), err,
		                   sizeof err);
		if (rc == 0 && a.out)
			printf("%s\n", a.out);
		else if (rc == 0)
			printf("%s/issued/%s-%s.pem\n", a.dir, cert_role_text(role), a.word[2]);
	} else {
		fputs(USAGE, stderr);
		return 2;
	}
	if (rc != 0)
		fprintf(stderr, "encdns-hub: ca: %s\n", err);
	return rc == 0 ? 0 : 1;
}
