/* aead.c - AES-256-GCM, one key made once and used many times.
 *
 * The round keys and the hash key H are computed when the key is made; a
 * message then costs CTR and GHASH and nothing else.  Three implementations
 * give the same octets: BearSSL's constant-time code, BearSSL over the
 * processor's instructions, and aead_x86.c, which runs both halves in one
 * pass.  The best usable one is chosen when the key is made.
 *
 * A struct aead is never written after aead_new, so threads share it. */
#include "crypto/internal.h"
#include "base/wire.h"

#include <errno.h>
#include <string.h>

/* Up to here a message is worked on as a copy on the stack: one CTR call and
 * one GHASH call, which for names in the index is all there is. */
#define SMALL 512u

struct aead {
	enum aead_impl impl;
	br_ghash ghash;
	const br_block_ctr_class *ctr;
	uint8_t h[16];
	union {
		br_aes_gen_ctr_keys br;
		struct aead_x86 x86;
	} k;
};

static bool choose(struct aead *a, enum aead_impl impl)
{
	a->impl = impl;
	switch (impl) {
	case AEAD_PORTABLE:
		a->ctr = sizeof(void *) == 8 ? &br_aes_ct64_ctr_vtable : &br_aes_ct_ctr_vtable;
		a->ghash = sizeof(void *) == 8 ? br_ghash_ctmul64 : br_ghash_ctmul32;
		return true;
	case AEAD_BEARSSL:
		a->ctr = br_aes_x86ni_ctr_get_vtable();
		a->ghash = br_ghash_pclmul_get();
		return a->ctr && a->ghash;
	case AEAD_NATIVE:
		return aead_x86_usable();
	default:
		return false;
	}
}

struct aead *aead_new_impl(const struct key *k, enum aead_impl impl)
{
	struct aead *a = pool_alloc(sizeof *a);

	if (!a)
		return NULL;
	if (!choose(a, impl)) {
		pool_free(a, sizeof *a);
		return errno = ENOTSUP, NULL;
	}
	if (impl == AEAD_NATIVE) {
		aead_x86_init(&a->k.x86, k->b);
	} else {
		uint8_t zero[12] = { 0 };

		a->ctr->init(&a->k.br.vtable, k->b, sizeof k->b);
		a->ctr->run(&a->k.br.vtable, zero, 0, a->h, sizeof a->h);
	}
	crypto_burn_stack();
	return a;
}

struct aead *aead_new(const struct key *k)
{
	struct aead *a = NULL;

	for (enum aead_impl i = AEAD_IMPLS; !a && i-- > 0;) {
		a = aead_new_impl(k, i);
		if (!a && errno != ENOTSUP)
			break;
	}
	return a;
}

void aead_free(struct aead *a)
{
	pool_free(a, sizeof *a);
}

static void run(const struct aead *a, const uint8_t *nonce, uint32_t counter, void *p, size_t n)
{
	a->ctr->run(&a->k.br.vtable, nonce, counter, p, n);
}

static size_t pad16(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

/* GHASH of aad and cipher text, into y. */
static void hash(const struct aead *a, const void *aad, size_t aadn, const void *c, size_t n,
                 uint8_t y[static 16])
{
	uint8_t b[SMALL + 48];
	size_t aadpad = pad16(aadn), pad = pad16(n), len = 0;

	memset(y, 0, 16);
	if (aadpad + pad <= SMALL) {
		if (aadn > 0)
			memcpy(b, aad, aadn);
		memset(b + aadn, 0, aadpad - aadn);
		if (n > 0)
			memcpy(b + aadpad, c, n);
		memset(b + aadpad + n, 0, pad - n);
		len = aadpad + pad;
	} else {
		a->ghash(y, a->h, aad, aadn);
		a->ghash(y, a->h, c, n);
	}
	put_u64(b + len, (uint64_t)aadn * 8);
	put_u64(b + len + 8, (uint64_t)n * 8);
	a->ghash(y, a->h, b, len + 16);
}

static void xor16(uint8_t *y, const uint8_t *m)
{
	for (size_t i = 0; i < 16; i++)
		y[i] ^= m[i];
}

static void seal_br(const struct aead *a, const uint8_t *nonce, const void *aad, size_t aadn,
                    void *buf, size_t n, uint8_t full[static 16])
{
	uint8_t mask[16] = { 0 };

	run(a, nonce, 1, mask, sizeof mask);
	run(a, nonce, 2, buf, n);
	hash(a, aad, aadn, buf, n, full);
	xor16(full, mask);
}

void aead_seal(const struct aead *a, const uint8_t nonce[static 12], const void *aad, size_t aadn,
               void *buf, size_t n, uint8_t *tag, size_t taglen)
{
	uint8_t full[16];

	if (a->impl == AEAD_NATIVE)
		aead_x86_seal(&a->k.x86, nonce, aad, aadn, buf, n, full);
	else
		seal_br(a, nonce, aad, aadn, buf, n, full);
	memcpy(tag, full, taglen <= sizeof full ? taglen : sizeof full);
}

/* Block 1 of the key stream masks the tag, the message starts at block 2: for
 * a small message one call makes both. */
static bool open_small(const struct aead *a, const uint8_t *nonce, const void *aad, size_t aadn,
                       const void *in, size_t n, const uint8_t *tag, size_t taglen, void *out)
{
	uint8_t b[16 + SMALL], full[16];

	memset(b, 0, 16);
	if (n > 0)
		memcpy(b + 16, in, n);
	hash(a, aad, aadn, in, n, full);
	run(a, nonce, 1, b, 16 + n);
	xor16(full, b);
	bool ok = crypto_equal(full, tag, taglen);
	if (n > 0 && ok)
		memcpy(out, b + 16, n);
	crypto_wipe(b, 16 + n);
	return ok;
}

static bool open_large(const struct aead *a, const uint8_t *nonce, const void *aad, size_t aadn,
                       const void *in, size_t n, const uint8_t *tag, size_t taglen, void *out)
{
	uint8_t mask[16] = { 0 }, full[16];

	hash(a, aad, aadn, in, n, full);
	run(a, nonce, 1, mask, sizeof mask);
	xor16(full, mask);
	if (!crypto_equal(full, tag, taglen))
		return false;
	if (in != out)
		memmove(out, in, n);
	run(a, nonce, 2, out, n);
	return true;
}

bool aead_open(const struct aead *a, const uint8_t nonce[static 12], const void *aad, size_t aadn,
               const void *in, size_t n, const uint8_t *tag, size_t taglen, void *out)
{
	bool ok = false;

	/* A tag of another length would be a bug of ours: nothing opens. */
	if (taglen < 8 || taglen > 16)
		ok = false;
	else if (a->impl == AEAD_NATIVE)
		ok = aead_x86_open(&a->k.x86, nonce, aad, aadn, in, n, tag, taglen, out);
	else if (n <= SMALL)
		ok = open_small(a, nonce, aad, aadn, in, n, tag, taglen, out);
	else
		ok = open_large(a, nonce, aad, aadn, in, n, tag, taglen, out);
	if (!ok && n > 0)
		memset(out, 0, n);
	return ok;
}
