/* cert.h - our certificates: what they look like, reading and judging them.
 *
 * One profile, and nothing else is accepted (DER, X.509 v3, P-256 keys as
 * uncompressed points, ecdsa-with-SHA256):
 *
 *   root     O=encdns, OU=root, CN=16 hex digits      CA, pathlen 1, self-signed
 *   issuing  O=encdns, OU=ROLE, CN=ROLE issuing CA    CA, pathlen 0, by the root
 *   leaf     O=encdns, OU=ROLE, CN=NAME               by the issuing CA of ROLE,
 *            SAN URI encdns:ROLE:NAME                 digitalSignature only
 *   serial numbers have 16 octets
 *
 * A chain is leaf, issuing, root; never shorter, never longer.  The role is
 * said four times (issuer's OU, own OU, SAN, and which key signed); all must
 * agree.  An unknown critical extension is refused, an unknown other one is
 * passed over. */
#ifndef CRYPTO_CERT_H
#define CRYPTO_CERT_H

#include "crypto.h"
#include "base/wire.h"

#define CERT_MAX 1024u /* octets of DER; ours have about 600 */
#define CERT_NAME 64   /* a NAME and its NUL */
#define CERT_SERIAL 16 /* octets of a serial number: positive, of full length */
#define CERT_ID 20     /* key identifier: SHA-256 of the point, cut (RFC 7093) */

enum cert_kind { CERT_LEAF, CERT_ISSUING, CERT_ROOT };

/* A parsed certificate; the views point into the DER, which must stay. */
struct cert {
	enum cert_kind kind;
	enum cert_role role;      /* 0 for a root */
	char name[CERT_NAME];     /* a leaf's NAME, a root's CN; empty for an issuing CA */
	struct rd tbs;            /* what is signed, header included */
	struct rd serial;         /* CERT_SERIAL octets */
	struct rd issuer, subject; /* DER names, compared octet by octet */
	struct rd sig;            /* Ecdsa-Sig-Value */
	int64_t from, until;      /* seconds since 1970, both inclusive */
	const uint8_t *pub;       /* SIGN_PUB octets */
};

/* 0 and *out, or -1 and *why in words; out is untouched then. */
int cert_parse(const void *der, size_t n, struct cert *out, const char **why);
/* Did the holder of by's key sign c, and is c's issuer by's subject? */
bool cert_signed_by(const struct cert *c, const struct cert *by);
/* Judges leaf, issuing and root at `now`; NULL when all is well, else why not.
 * The root is the one the caller trusts already. */
const char *cert_judge(const struct cert *leaf, const struct cert *issuing,
                       const struct cert *root, enum cert_role want, int64_t now);
/* The clock as certificates see it: never before the build, and never before
 * the own certificate was made.  (A peer's newer certificate moves the clock
 * only for its own judgement: ours are never post-dated, and one that is by
 * accident must not age all others.) */
int64_t cert_now(void);
/* The same from the system's clock and what is known not to lie ahead: a clock that is
 * decades off is a dead one, and locks nobody out. */
int64_t cert_clock(int64_t system, int64_t least);
/* An operator's clock, in place of the system's from now on; before there are threads. */
void cert_told(int64_t now);
/* The own certificate is valid from then on: so it is later now. */
void cert_seen(int64_t from);
/* [a-zA-Z0-9._-]{1,63} */
bool cert_name_ok(const char *name, size_t n);
bool cert_role_parse(const void *p, size_t n, enum cert_role *out);

/* The next DER element: its contents when the tag is the one; else latches bad. */
struct rd der_get(struct rd *r, uint8_t tag);
bool der_next_is(const struct rd *r, uint8_t tag);

/* ---- pem.c ---- */
/* The next PEM block of text: decodes into der, its label into label[32].
 * 1, 0 at the end of the text, -1 on a damaged or unterminated block. */
int pem_next(struct rd *text, char label[static 32], struct wr *der);
/* One block of PEM; latches w->bad when there is no room. */
void pem_put(struct wr *w, const char *label, const void *der, size_t n);
/* The secret scalar in a SEC1 (RFC 5915) or PKCS#8 key for P-256. */
int pem_scalar(const char *label, const void *der, size_t n, uint8_t x[static 32]);
/* The same, or one under a passphrase; pass may be NULL.  -1: EINVAL: no key of
 * ours; EACCES: it wants a passphrase; EKEYREJECTED: another one. */
int pem_key(const char *label, const void *der, size_t n, const struct pass *pass, uint8_t x[static 32]);

#endif
