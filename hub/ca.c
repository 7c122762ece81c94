/* ca.c - the operator's private CA: making it, issuing by it.  Contract and files
 * in ca.h; what the certificates look like stands in crypto/cert.h.
 *
 * A certificate enters the register before it leaves: nothing is out there
 * that the register does not know. */
#include "hub/ca.h"
#include "hub/cafile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BACKDATE 3600 /* for clocks of others that are behind */
#define DAY      86400

bool ca_locked(const char *dir, unsigned role)
{
	static const char want[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
	char path[PATH_MAX], text[sizeof want - 1];
	int fd = ca_path(path, dir, ca_file(role), ".key") == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof text);
	close(fd);
	return n == (ssize_t)sizeof text && memcmp(text, want, sizeof text) == 0;
}

/* ---- making a CA ---- */

static int write_key(const char *dir, const char *name, const struct signer *key, const struct pass *pass,
                     bool replace, struct said err)
{
	char path[PATH_MAX];
	struct ca_draft d;

	if (ca_path(path, dir, name, ".key") == 0 && ca_draft_open(&d, path) == 0 &&
	    ca_draft_end(&d, issue_key_seal(key, pass, d.file.fd), replace) == 0)
		return 0;
	if (errno == EEXIST)
		return ca_fail(err, "%s is there already: it stays as it is", path);
	return ca_fail(err, "cannot write %s: %s", path, strerror(errno));
}

static int make_ca(const char *dir, const struct pass *pass, struct issue *i, const struct ca *root,
                   struct ca *ca, struct said err)
{
	char path[PATH_MAX];
	uint8_t pub[SIGN_PUB];
	struct ca_draft d;
	const char *why, *name = ca_file(i->role);

	ca->key = signer_new();
	if (!ca->key)
		return ca_fail(err, "no memory for keys");
	signer_pub(ca->key, pub);
	issue_serial(i->serial);
	ca->len = issue_cert(ca->der, i, pub, root ? root->key : ca->key, root ? &root->cert : NULL);
	if (cert_parse(ca->der, ca->len, &ca->cert, &why) != 0)
		return ca_fail(err, "cannot make the certificate of %s: %s", name, why);
	if (write_key(dir, name, ca->key, pass, false, err) != 0)
		return -1;
	if (ca_path(path, dir, name, ".pem") != 0 || ca_draft_open(&d, path) != 0 ||
	    ca_draft_end(&d, ca_write_cert(d.file.fd, ca->der, ca->len), false) != 0)
		return ca_fail(err, "cannot write %s: %s", path, strerror(errno));
	return 0;
}

static int make_dir(const char *dir, struct said err)
{
	char path[PATH_MAX];
	struct stat st;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return ca_fail(err, "cannot make %s: %s", dir, strerror(errno));
	for (unsigned i = 0; i < 2 * (ROLE_LAST + 1); i++) {
		if (ca_path(path, dir, ca_file(i / 2), i % 2 ? ".key" : ".pem") != 0)
			return ca_fail(err, "%s: %s", dir, strerror(errno));
		if (lstat(path, &st) == 0)
			return ca_fail(err, "there is a CA in %s already: it stays as it is", dir);
	}
	if (chmod(dir, 0700) != 0)
		return ca_fail(err, "cannot close %s to others: %s", dir, strerror(errno));
	return 0;
}

/* An issuing CA below the root. */
static int make_issuing(const char *dir, const struct pass *pass, enum cert_role role, const struct ca *root,
                        struct said err)
{
	int64_t now = cert_now();
	struct issue i = { .kind = CERT_ISSUING, .role = role, .from = now - BACKDATE,
		           .until = now + (int64_t)CA_DAYS * DAY };
	struct ca ca = { 0 };

	if (i.from < root->cert.from)
		i.from = root->cert.from;
	if (i.until > root->cert.until)
		i.until = root->cert.until;
	int rc = make_ca(dir, pass, &i, root, &ca, err);
	signer_free(ca.key);
	return rc;
}

static int make_root(const char *dir, const struct pass *pass, struct ca *root, struct said err)
{
	char cn[17];
	uint8_t id[8];
	int64_t now = cert_now();
	struct issue i = { .kind = CERT_ROOT, .name = cn, .from = now - BACKDATE,
		           .until = now + (int64_t)CA_DAYS * DAY };

	crypto_random(id, sizeof id);
	hex_text(cn, id, sizeof id);
	return make_ca(dir, pass, &i, NULL, root, err);
}

/* What an earlier version did not know of, or one that was broken off did not come to. */
static int complete(const char *dir, const struct pass *pass, unsigned *added, struct said err)
{
	struct ca root = { 0 };
	int rc = ca_load(dir, 0, &root, err) == 0 ? ca_load_key(dir, pass, 0, &root, err) : -1;

	for (enum cert_role r = ROLE_HUB; rc == 0 && r <= ROLE_LAST; r++)
		if (ca_lacks(dir, r) && (rc = make_issuing(dir, pass, r, &root, err)) == 0)
			++*added;
	signer_free(root.key);
	return rc;
}

int ca_init(const char *dir, const struct pass *pass, unsigned *added, char *errtext, size_t n)
{
	struct said err = { errtext, n };
	struct ca root = { 0 };
	unsigned count = 0;
	bool some = false;

	for (enum cert_role r = ROLE_HUB; r <= ROLE_LAST; r++)
		some |= ca_lacks(dir, r);
	if (added)
		*added = 0;
	if (some && !ca_lacks(dir, 0)) {
		int rc = complete(dir, pass, &count, err);

		if (added)
			*added = count;
		return rc;
	}
	if (make_dir(dir, err) != 0)
		return -1;
	int rc = make_root(dir, pass, &root, err);
	for (enum cert_role r = ROLE_HUB; rc == 0 && r <= ROLE_LAST; r++)
		rc = make_issuing(dir, pass, r, &root, err);
	signer_free(root.key);
	return rc;
}

/* One key; what is under the next passphrase already stays. */
static int change_key(const char *dir, unsigned role, const struct pass *pass, const struct pass *next,
                      struct said err)
{
	struct ca ca = { 0 };
	char unused[200];

	if (ca_load(dir, role, &ca, err) != 0)
		return -1;
	int rc = ca_load_key(dir, pass, role, &ca, err);
	if (rc == 0)
		rc = write_key(dir, ca_file(role), ca.key, next, true, err);
	else if (next)
		rc = ca_load_key(dir, next, role, &ca, (struct said){ unused, sizeof unused });
	if (rc != 0 && errno == EKEYREJECTED)
		ca_fail(err, "neither the old passphrase nor the new one opens %s/%s.key (if a change was "
		             "broken off: once more, with the same new one)", dir, ca_file(role));
	signer_free(ca.key);
	return rc;
}

int ca_passphrase(const char *dir, const struct pass *pass, const struct pass *next, char *errtext, size_t n)
{
	struct said err = { errtext, n };
	char path[PATH_MAX];
	struct stat st;

	for (unsigned role = 0; role <= ROLE_LAST; role++) {
		if (role && ca_lacks(dir, role))
			continue;
		/* a key that lies elsewhere is changed where it lies */
		if (ca_path(path, dir, ca_file(role), ".key") == 0 && lstat(path, &st) != 0 &&
		    errno == ENOENT)
			continue;
		if (change_key(dir, role, pass, next, err) != 0)
			return -1;
	}
	return 0;
}

/* ---- issuing ---- */

static int write_chain(const char *path, const struct ca_chain *chain, const struct signer *key,
                       const struct pass *pass)
{
	struct ca_draft d;
	int rc = 0;

	if (ca_draft_open(&d, path) != 0)
		return -1;
	for (int k = CERT_LEAF; rc == 0 && k <= CERT_ROOT; k++)
		rc = ca_write_cert(d.file.fd, chain->der[k], chain->len[k]);
	if (rc == 0 && key)
		rc = issue_key_seal(key, pass, d.file.fd);
	return ca_draft_end(&d, rc, true);
}

static int issued_path(const char *dir, const struct ca_order *o, char out[static PATH_MAX], struct said err)
{
	char file[CERT_NAME + 24];

	if (ca_path(out, dir, "issued", "") != 0 || (mkdir(out, 0700) != 0 && errno != EEXIST))
		return ca_fail(err, "cannot make %s/issued: %s", dir, strerror(errno));
	snprintf(file, sizeof file, "issued/%s-%s", cert_role_text(o->role), o->name);
	if (ca_path(out, dir, file, ".pem") != 0)
		return ca_fail(err, "%s: %s", dir, strerror(errno));
	return 0;
}

static void put_chain(struct ca_chain *out, enum cert_kind k, const uint8_t *der, size_t n)
{
	memcpy(out->der[k], der, n);
	out->len[k] = n;
}

static int certify(const char *dir, struct issue *i, const uint8_t pub[static SIGN_PUB],
                   const struct ca *root, const struct ca *by, struct ca_chain *out, struct said err)
{
	struct entry e = { .role = i->role };

	if (!cert_signed_by(&by->cert, &root->cert))
		return ca_fail(err, "the certificates in %s do not belong together", dir);
	if (i->until > by->cert.until)
		i->until = by->cert.until;
	if (i->from < by->cert.from)
		i->from = by->cert.from;
	if (i->until <= cert_now())
		return ca_fail(err, "the CA in %s has expired", dir);
	issue_serial(i->serial);
	out->len[CERT_LEAF] = issue_cert(out->der[CERT_LEAF], i, pub, by->key, &by->cert);
	if (out->len[CERT_LEAF] == 0)
		return ca_fail(err, "cannot make the certificate");
	put_chain(out, CERT_ISSUING, by->der, by->len);
	put_chain(out, CERT_ROOT, root->der, root->len);
	memcpy(e.serial, i->serial, sizeof e.serial);
	snprintf(e.name, sizeof e.name, "%s", i->name);
	e.from = i->from;
	e.until = i->until;
	if (register_add(dir, &e) != 0)
		return ca_fail(err, "cannot write %s/register: %s", dir, strerror(errno));
	return 0;
}

int ca_certify(const char *dir, const struct pass *pass, const struct ca_order *o,
               const uint8_t pub[static SIGN_PUB], struct ca_chain *out, char *errtext, size_t n)
{
	struct said err = { errtext, n };
	struct ca root = { 0 }, by = { 0 };
	char path[PATH_MAX];
	int64_t now = cert_now();
	unsigned days = o->days ? o->days : CA_LEAF_DAYS;
	struct issue i = { .kind = CERT_LEAF, .role = o->role, .name = o->name, .from = now - BACKDATE,
		           .until = now + (int64_t)days * DAY };
	int rc = -1;

	if (!cert_name_ok(o->name, strlen(o->name)))
		return ca_fail(err, "%.80s: a name has 1 to 63 letters, digits, dots, dashes "
		                    "or underscores", o->name);
	if (days > CA_DAYS)
		return ca_fail(err, "the days are from 1 to %d", CA_DAYS);
	if (ca_load(dir, 0, &root, err) == 0 && ca_load(dir, o->role, &by, err) == 0 &&
	    ca_load_key(dir, pass, o->role, &by, err) == 0)
		rc = certify(dir, &i, pub, &root, &by, out, err);
	signer_free(by.key);
	if (rc == 0 && o->role == ROLE_MACHINE && (rc = issued_path(dir, o, path, err)) == 0 &&
	    write_chain(path, out, NULL, NULL) != 0)
		rc = ca_fail(err, "cannot write %s: %s", path, strerror(errno));
	return rc;
}

int ca_issue(const char *dir, const struct pass *pass, const struct ca_order *o, char *errtext, size_t n)
{
	struct said err = { errtext, n };
	char issued[PATH_MAX];
	const char *path = o->outfile ? o->outfile : issued;
	uint8_t pub[SIGN_PUB];
	struct ca_chain chain;

	if (o->role == ROLE_MACHINE)
		return ca_fail(err, "a machine makes its key itself, and gets its certificate when "
		                    "it is enrolled");
	struct signer *key = signer_new();
	if (!key)
		return ca_fail(err, "no memory for keys");
	signer_pub(key, pub);
	int rc = ca_certify(dir, pass, o, pub, &chain, errtext, n);
	if (rc == 0 && !o->outfile)
		rc = issued_path(dir, o, issued, err);
	if (rc == 0 && write_chain(path, &chain, key, o->pass) != 0)
		rc = ca_fail(err, "cannot write %s: %s", path, strerror(errno));
	signer_free(key);
	return rc;
}

/* ---- renewing ---- */

/* Has he a certificate that may be renewed? */
static int find_renewable(const char *dir, const struct ca_order *o, struct said err)
{
	unsigned issued, good;

	if (ca_count(dir, o->role, o->name, &issued, &good, err.text, err.n) != 0)
		return -1;
	if (good)
		return 0;
	return ca_fail(err, issued ? "%s %s is denied: `ca issue` makes a certificate under that name anew"
	                           : "%s %s has no certificate: `ca issue` makes one",
	               cert_role_text(o->role), o->name);
}

/* The key of a machine, from the certificate it got last. */
static int known_pub(const char *dir, const struct ca_order *o, uint8_t pub[static SIGN_PUB], struct said err)
{
	char path[PATH_MAX], label[32];
	uint8_t text[CERT_MAX * 6], der[CERT_MAX];
	struct cert c;
	const char *why = "there is no certificate in it";

	if (issued_path(dir, o, path, err) != 0)
		return -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
	if (n < 0)
		why = strerror(errno);
	if (fd >= 0)
		close(fd);
	struct rd r = rd_init(text, n < 0 ? 0 : (size_t)n);
	struct wr w = wr_init(der, sizeof der);
	if (n < 0 || pem_next(&r, label, &w) != 1 || cert_parse(der, wr_len(&w), &c, &why) != 0)
		return ca_fail(err, "cannot read %s: %s", path, why);
	memcpy(pub, c.pub, SIGN_PUB);
	return 0;
}

int ca_renew(const char *dir, const struct pass *pass, const struct ca_order *o, char *errtext, size_t n)
{
	struct said err = { errtext, n };
	uint8_t pub[SIGN_PUB];
	struct ca_chain chain;

	if (find_renewable(dir, o, err) != 0)
		return -1;
	if (o->role != ROLE_MACHINE)
		return ca_issue(dir, pass, o, errtext, n);
	if (known_pub(dir, o, pub, err) != 0)
		return -1;
	return ca_certify(dir, pass, o, pub, &chain, errtext, n);
}
