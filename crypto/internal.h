/* internal.h - what the rooms of crypto share; nobody else includes it. */
#ifndef CRYPTO_INTERNAL_H
#define CRYPTO_INTERNAL_H

#include "crypto.h"

#include <bearssl.h>
#include <sys/types.h>

/* ---- pool.c: the pages in which secrets lie ---- */
int pool_init(void);
/* Zeroed, 64-byte aligned memory; NULL with ENOMEM. */
void *pool_alloc(size_t n);
/* Wipes and gives back; n as it was asked for.  NULL is fine. */
void pool_free(void *p, size_t n);

/* ---- aead.c, aead_x86.c ---- */
enum aead_impl {
	AEAD_PORTABLE, /* BearSSL's constant-time code */
	AEAD_BEARSSL,  /* BearSSL over AES-NI and PCLMULQDQ */
	AEAD_NATIVE,   /* our own AES-NI and PCLMULQDQ, both in one pass */
	AEAD_IMPLS
};
/* As aead_new with the implementation named; NULL with ENOTSUP. */
struct aead *aead_new_impl(const struct key *k, enum aead_impl impl);

/* Precomputed for the native way: round keys and H^1..H^8, bit-reflected. */
struct aead_x86 {
	_Alignas(16) uint8_t rk[15][16];
	_Alignas(16) uint8_t h[8][16];
};
bool aead_x86_usable(void);
void aead_x86_init(struct aead_x86 *a, const uint8_t key[static 32]);
/* Encrypts or decrypts in to out (may be the same), gives the whole tag. */
void aead_x86_seal(const struct aead_x86 *a, const uint8_t *nonce, const uint8_t *aad, size_t aadn,
                   uint8_t *buf, size_t n, uint8_t tag[static 16]);
/* The tag that `in` must have, then, when it is right, the plain text. */
bool aead_x86_open(const struct aead_x86 *a, const uint8_t *nonce, const uint8_t *aad, size_t aadn,
                   const uint8_t *in, size_t n, const uint8_t *tag, size_t taglen, uint8_t *out);

/* ---- crypto.c ---- */
struct key {
	uint8_t b[32];
};
struct signer {
	uint8_t x[32]; /* the secret scalar, 1..n-1 */
	uint8_t pub[SIGN_PUB];
};
struct der;
struct pass {
	size_t (*open)(const void *der, size_t n, const struct pass *pass, uint8_t *plain); /* pbes_get */
	void (*put)(struct der *d, const struct pass *pass, const void *plain, size_t n);   /* pbes_put */
	size_t n;
	uint8_t b[PASS_MAX + 2]; /* with room for the end of a line */
};
/* P-256 only: no other curve can be negotiated or certified. */
const br_ec_impl *crypto_ec(void);
/* A pair from its secret scalar; NULL with EINVAL when it is 0 or >= n. */
struct signer *signer_from_scalar(const uint8_t x[static 32]);
/* The best SHA-256 for this processor, from crypto_init on. */
const br_hash_class *crypto_sha256(void);
const br_hash_class *sha256_x86_class(void); /* sha_x86.c; NULL: cannot */
const br_hash_class *sha1_x86_class(void);
/* Reads to the end of file; -1 on an error, with EINVAL when there is more than n. */
ssize_t crypto_read_all(int fd, uint8_t *p, size_t n);
/* Overwrites the part of the stack that BearSSL's last call worked on. */
void crypto_burn_stack(void);

#endif
