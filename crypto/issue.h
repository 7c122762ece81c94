/* issue.h - writing certificates and keys: for the operator's CA (hub/ca.c), for
 * a machine's own identity (identity.c) and the tests.  The profile stands in
 * cert.h. */
#ifndef CRYPTO_ISSUE_H
#define CRYPTO_ISSUE_H

#include "crypto/cert.h"

struct issue {
	enum cert_kind kind;
	enum cert_role role;  /* of a leaf or an issuing CA */
	const char *name;     /* of a leaf; a root's CN */
	int64_t from, until;  /* seconds since 1970, from 2000 to 9999 */
	uint8_t serial[CERT_SERIAL]; /* filled by issue_serial */
};

/* 16 random octets, positive and of full length as a DER INTEGER. */
void issue_serial(uint8_t serial[static CERT_SERIAL]);
/* A certificate for the key `pub`, signed by `by`, whose certificate is
 * `issuer` (NULL for a root: it signs itself).  Its length; 0 when it cannot
 * be made. */
size_t issue_cert(uint8_t out[static CERT_MAX], const struct issue *i,
                  const uint8_t pub[static SIGN_PUB], const struct signer *by,
                  const struct cert *issuer);
/* The private key as PEM (EC PRIVATE KEY), to the descriptor; the text lies in
 * the pool meanwhile. */
int issue_key_write(const struct signer *s, int fd);
/* The other way: the first private key in a PEM file.  NULL: EINVAL. */
struct signer *issue_key_read(int fd);
/* Both with a passphrase (ENCRYPTED PRIVATE KEY, pbes.h) or, NULL, without one.
 * NULL with EACCES: it wants one; EKEYREJECTED: another one. */
int issue_key_seal(const struct signer *s, const struct pass *pass, int fd);
struct signer *issue_key_open(int fd, const struct pass *pass);

#endif
