/* cred.h - what tls.c and the fuzzer see of credentials. */
#ifndef CRYPTO_CRED_H
#define CRYPTO_CRED_H

#include "crypto/cert.h"

struct cred {
	uint8_t der[3][CERT_MAX]; /* by enum cert_kind */
	size_t der_len[3];        /* 0: not there (yet); a machine's may lack the issuing one */
	struct cert cert[3];      /* views into der */
	struct signer *key;
	const struct denials *denied; /* NULL: nobody; its owner frees it */
};

/* Fills a zeroed *c from PEM text; scratch has CERT_MAX octets; pass may be NULL.
 * NULL or what is wrong (errno EACCES: a passphrase is wanted); c->key is the
 * caller's to free either way. */
const char *cred_parse(struct cred *c, const void *text, size_t n, const struct pass *pass, uint8_t *scratch);

#endif
