/* cred.c - the credentials of one party: its certificate, the issuing CA's,
 * the root that judges peers, and its private key. */
#include "crypto/cred.h"
#include "crypto/denial.h"
#include "crypto/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX 16384u /* octets of PEM: ours have about 3,000 */

static void say(char *err, size_t n, const char *text)
{
	if (n > 0)
		snprintf(err, n, "%s", text);
}

/* Puts one certificate where it belongs; NULL or what is wrong. */
static const char *take_cert(struct cred *c, const uint8_t *der, size_t n)
{
	struct cert parsed;
	const char *why;

	if (cert_parse(der, n, &parsed, &why) != 0)
		return why;
	if (c->der_len[parsed.kind])
		return parsed.kind == CERT_LEAF    ? "there are two certificates of parties in it" :
		       parsed.kind == CERT_ISSUING ? "there are two issuing certificates in it" :
		                                     "there are two roots in it";
	memcpy(c->der[parsed.kind], der, n);
	c->der_len[parsed.kind] = n;
	/* Again, so that the views point to what stays. */
	cert_parse(c->der[parsed.kind], n, &c->cert[parsed.kind], &why);
	return NULL;
}

static const char *take_block(struct cred *c, const char *label, const uint8_t *der, size_t n,
                              const struct pass *pass)
{
	uint8_t x[32];
	const char *wrong = NULL;

	if (strcmp(label, "CERTIFICATE") == 0)
		return take_cert(c, der, n);
	if (strcmp(label, "EC PARAMETERS") == 0)
		return NULL; /* openssl writes it before the key */
	if (c->key)
		return "there are two private keys in it";
	if (pem_key(label, der, n, pass, x) != 0)
		return errno == EACCES       ? "its private key is under a passphrase" :
		       errno == EKEYREJECTED ? "it is another passphrase that its private key is under" :
		       errno == ENOMEM       ? "no memory for keys" :
		                               "there is something in it that is neither a certificate nor a P-256 key";
	c->key = signer_from_scalar(x);
	if (!c->key)
		wrong = errno == EINVAL ? "its private key is out of range" : strerror(errno);
	crypto_wipe(x, sizeof x);
	return wrong;
}

static const char *check(struct cred *c)
{
	const struct cert *leaf = &c->cert[CERT_LEAF];

	if (!c->der_len[CERT_LEAF])
		return "the party's own certificate is missing";
	if (!c->der_len[CERT_ISSUING])
		return "the issuing certificate is missing";
	if (!c->der_len[CERT_ROOT])
		return "the root certificate is missing";
	if (!c->key)
		return "the private key is missing";
	if (memcmp(c->key->pub, leaf->pub, SIGN_PUB) != 0)
		return "the private key is not the certificate's";
	if (!cert_signed_by(&c->cert[CERT_ROOT], &c->cert[CERT_ROOT]))
		return "the root certificate is damaged";
	cert_seen(leaf->from);
	return cert_judge(leaf, &c->cert[CERT_ISSUING], &c->cert[CERT_ROOT], leaf->role,
	                  cert_now());
}

const char *cred_parse(struct cred *c, const void *text, size_t n, const struct pass *pass, uint8_t *scratch)
{
	struct rd r = rd_init(text, n);
	char label[32];

	errno = EINVAL;
	for (;;) {
		struct wr w = wr_init(scratch, CERT_MAX);
		int got = pem_next(&r, label, &w);

		if (got < 0)
			return "a PEM block in it is damaged, too long or not terminated";
		if (got == 0)
			return check(c);
		const char *wrong = take_block(c, label, scratch, wr_len(&w), pass);
		if (wrong)
			return wrong;
	}
}

struct cred *cred_read(int fd, char *err, size_t errn) { return cred_read_pass(fd, NULL, err, errn); }

struct cred *cred_read_pass(int fd, const struct pass *pass, char *err, size_t errn)
{
	struct cred *c = pool_alloc(sizeof *c);
	uint8_t *text = pool_alloc(FILE_MAX + CERT_MAX);
	const char *wrong = "no memory for keys";

	if (c && text) {
		ssize_t n = crypto_read_all(fd, text, FILE_MAX);

		if (n < 0)
			wrong = errno == EINVAL ? "it is too long for a credentials file" :
			                          strerror(errno);
		else
			wrong = cred_parse(c, text, (size_t)n, pass, text + FILE_MAX);
	}
	int e = errno == EACCES ? EACCES : EINVAL;
	pool_free(text, FILE_MAX + CERT_MAX);
	if (wrong) {
		say(err, errn, wrong);
		cred_free(c);
		errno = e;
		return NULL;
	}
	return c;
}

void cred_free(struct cred *c)
{
	if (!c)
		return;
	signer_free(c->key);
	pool_free(c, sizeof *c);
}

const char *cred_name(const struct cred *c)
{
	return c->cert[CERT_LEAF].name;
}

enum cert_role cred_role(const struct cred *c)
{
	return c->cert[CERT_LEAF].role;
}

void cred_deny(struct cred *c, const struct denials *list) { c->denied = list; }

bool cred_denied(const struct cred *c)
{
	return c->der_len[CERT_LEAF] && denials_have(c->denied, c->cert[CERT_LEAF].serial.p);
}

const struct signer *cred_signer(const struct cred *c)
{
	return c->key;
}
