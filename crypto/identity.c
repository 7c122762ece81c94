/* identity.c - a machine's key and certificate, made, read and replaced.
 *
 * A file is written beside its place, flushed and renamed: whenever the power goes
 * there is the old one or the new one.  The key comes first; a key without a
 * certificate gets one at the next start. */
#include "crypto/identity.h"
#include "base/io.h"
#include "crypto/cred.h"
#include "crypto/gate.h"
#include "crypto/internal.h"
#include "crypto/issue.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEY  "identity.key"
#define CERT "identity.pem"
#define ROOT "root.pem"
#define FILE_MAX 8192u /* octets of PEM */
/* Of a certificate that the machine signs itself: its clock may be wrong, so the
 * dates say nothing. */
#define OWN_FROM  1767225600   /* 2026-01-01 */
#define OWN_UNTIL 253402300799 /* 9999-12-31, RFC 5280's for "never" */

void machine_id(const uint8_t pub[static SIGN_PUB], uint8_t out[static MACHINE_ID])
{
	uint8_t hash[32];

	sha256(pub, SIGN_PUB, hash);
	memcpy(out, hash, MACHINE_ID);
}

void machine_id_text(const uint8_t id[static MACHINE_ID], char out[static 3 * MACHINE_ID])
{
	char hex[2 * MACHINE_ID + 1], *o = out;
	hex_text(hex, id, MACHINE_ID);
	for (unsigned i = 0; i < 2 * MACHINE_ID; i++) {
		if (i && i % 4 == 0)
			*o++ = ' ';
		*o++ = hex[i];
	}
	*o = 0;
}

static int fail(char *err, size_t n, const char *file, const char *why)
{
	if (n > 0)
		snprintf(err, n, "%s: %s", file, why);
	return -1;
}

/* ---- writing ---- */

static int put_file(int dir, const char *name, const struct wr *text, mode_t mode)
{
	return io_save_at(dir, name, text->start, wr_len(text), mode);
}

static int put_certs(int dir, const struct rd *certs, size_t n)
{
	uint8_t text[FILE_MAX];
	struct wr w = wr_init(text, sizeof text);

	for (size_t i = 0; i < n; i++)
		pem_put(&w, "CERTIFICATE", certs[i].p, rd_left(&certs[i]));
	return w.bad ? (errno = EMSGSIZE, -1) : put_file(dir, CERT, &w, 0644);
}

static size_t certify_own(const struct signer *key, uint8_t der[static CERT_MAX])
{
	uint8_t id[MACHINE_ID];
	char name[2 * MACHINE_ID + 1];
	struct issue i = { CERT_LEAF, ROLE_MACHINE, name, OWN_FROM, OWN_UNTIL, { 0 } };

	machine_id(key->pub, id);
	hex_text(name, id, sizeof id);
	issue_serial(i.serial);
	return issue_cert(der, &i, key->pub, key, NULL);
}

static struct signer *read_key(int dir)
{
	int fd = openat(dir, KEY, O_RDONLY | O_CLOEXEC);
	struct key *seed = fd >= 0 ? key_read(fd) : NULL;
	struct signer *s = seed ? signer_from(seed) : NULL;
	int e = errno;

	if (fd >= 0)
		close(fd);
	key_free(seed);
	errno = e;
	return s;
}

/* A new seed, on the disk; its pair, or NULL. */
static struct signer *make_key(int dir)
{
	struct key *seed = key_random();
	struct signer *s = seed ? signer_from(seed) : NULL;
	char text[66];
	struct wr w = wr_init(text, sizeof text);

	if (s) {
		hex_text(text, seed->b, sizeof seed->b);
		text[64] = '\n';
		wr_take(&w, 65);
		if (put_file(dir, KEY, &w, 0600) != 0) {
			signer_free(s);
			s = NULL;
		}
		crypto_wipe(text, sizeof text);
	}
	key_free(seed);
	return s;
}

static const char *key_error(void)
{
	return errno == EINVAL ? "it is not 64 hex digits" : strerror(errno);
}

int identity_make(int dir, char *err, size_t n)
{
	uint8_t der[CERT_MAX];
	struct signer *key = read_key(dir);
	bool made = !key && errno == ENOENT;
	int rc = 0;

	if (!key && !made)
		return fail(err, n, KEY, key_error());
	if (made && !(key = make_key(dir)))
		rc = fail(err, n, KEY, strerror(errno));
	if (rc == 0 && (made || (faccessat(dir, CERT, F_OK, 0) != 0 && errno == ENOENT))) {
		struct rd own = rd_init(der, certify_own(key, der));

		if (rd_left(&own) == 0)
			rc = fail(err, n, CERT, "it can't be made");
		else if (put_certs(dir, &own, 1) != 0)
			rc = fail(err, n, CERT, strerror(errno));
	}
	signer_free(key);
	return rc == 0 ? made : rc;
}

int identity_certify(int dir, const struct gate_identity *i, char *err, size_t n)
{
	struct rd certs[2] = { i->leaf, i->issuing };

	return put_certs(dir, certs, 2) == 0 ? 0 : fail(err, n, CERT, strerror(errno));
}

/* ---- reading ---- */

/* The certificates of a file to their places in c; NULL or what is wrong. */
static const char *read_certs(int dir, const char *name, struct cred *c)
{
	uint8_t text[FILE_MAX], der[CERT_MAX];
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC), got;
	ssize_t len = fd >= 0 ? crypto_read_all(fd, text, sizeof text) : -1;
	const char *why = len < 0 ? strerror(errno) : NULL;
	char label[32];

	if (fd >= 0)
		close(fd);
	struct rd r = rd_init(text, len > 0 ? (size_t)len : 0);
	while (!why) {
		struct wr w = wr_init(der, sizeof der);
		struct cert parsed;

		if ((got = pem_next(&r, label, &w)) <= 0)
			return got < 0 ? "a PEM block in it is damaged" : NULL;
		size_t n = wr_len(&w);
		if (cert_parse(der, n, &parsed, &why) != 0)
			return why;
		if (c->der_len[parsed.kind])
			return "there is one certificate too many";
		memcpy(c->der[parsed.kind], der, n);
		c->der_len[parsed.kind] = n;
		cert_parse(c->der[parsed.kind], n, &c->cert[parsed.kind], &why);
		why = NULL;
	}
	return why;
}

static const char *check_root(const struct cred *c)
{
	if (!c->der_len[CERT_ROOT] || c->der_len[CERT_LEAF] || c->der_len[CERT_ISSUING])
		return "there must be the operator's root certificate in it and nothing else";
	return cert_signed_by(&c->cert[CERT_ROOT], &c->cert[CERT_ROOT]) ? NULL : "it is damaged";
}

static const char *check_leaf(const struct cred *c)
{
	const struct cert *leaf = &c->cert[CERT_LEAF];

	if (!c->der_len[CERT_LEAF])
		return "there is no certificate of a machine in it";
	if (memcmp(leaf->pub, c->key->pub, SIGN_PUB) != 0)
		return "it is not the certificate of " KEY;
	if (leaf->role != ROLE_MACHINE)
		return "it is not a machine's";
	if (!c->der_len[CERT_ISSUING])
		return cert_signed_by(leaf, leaf) ? NULL : "its issuing certificate is missing";
	/* At the time it begins: whether it has ended is of no matter. */
	const char *why = cert_judge(leaf, &c->cert[CERT_ISSUING], &c->cert[CERT_ROOT], ROLE_MACHINE, 0);
	if (!why)
		cert_seen(leaf->from);
	return why;
}

static int read_all(int dir, struct cred *c, char *err, size_t n)
{
	const char *why = read_certs(dir, ROOT, c);

	if (why || (why = check_root(c)))
		return fail(err, n, ROOT, why);
	if (!(c->key = read_key(dir)))
		return fail(err, n, KEY, key_error());
	if ((why = read_certs(dir, CERT, c)) || (why = check_leaf(c)))
		return fail(err, n, CERT, why);
	return 0;
}

struct cred *identity_read(int dir, char *err, size_t n)
{
	struct cred *c = pool_alloc(sizeof *c);

	if (!c) {
		fail(err, n, KEY, strerror(errno));
		return NULL;
	}
	if (read_all(dir, c, err, n) != 0) {
		cred_free(c);
		errno = EINVAL;
		return NULL;
	}
	return c;
}

bool identity_enrolled(const struct cred *c)
{
	return c->der_len[CERT_ISSUING] != 0;
}
