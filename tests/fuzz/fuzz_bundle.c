/* fuzz_bundle.c - sealed bundles from anyone's disk.
 *
 * Signatures hold here, certificates are judged good, and the ciphertext is the
 * plain text, so that what lies behind them is reached. */
#include "crypto/cert.h"
#include "crypto.h"

static bool any_verify(const uint8_t *pub, const void *p, size_t n, const uint8_t *sig)
{
	(void)pub, (void)p, (void)n, (void)sig;
	return true;
}

static bool no_open(const struct aead *a, const uint8_t *nonce, const void *aad, size_t aadn, const void *in,
                    size_t n, const uint8_t *tag, size_t taglen, void *out)
{
	(void)a, (void)nonce, (void)aad, (void)aadn, (void)tag, (void)taglen;
	memcpy(out, in, n);
	return true;
}

#define sign_verify any_verify
#define aead_open no_open
#define cert_judge(leaf, issuing, root, want, now) ((void)(issuing), (now) > 300000000000 ? "late" : NULL)
#include "crypto/bundle.c"
#undef sign_verify
#undef aead_open
#undef cert_judge

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct key *k;

/* Each file lies within, has a name of its own, and is found by it. */
static void look(const struct bundle *b)
{
	struct bundle_file f, same;
	unsigned i;

	for (i = 0; bundle_at(b, i, &f); i++) {
		const uint8_t *p = f.p;

		if (p < b->plain || p + f.n > b->plain + b->n || !cert_name_ok(f.name, strlen(f.name)) ||
		    !bundle_find(b, f.name, &same) || same.p != f.p || same.n != f.n)
			abort();
	}
	if (i > BUNDLE_FILES || bundle_find(b, "", &f))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint8_t octets[32], id[MACHINE_ID] = { 7, 7, 7 };
	static const struct cred nobody;
	struct bundle_terms t = { .id = id, .least = 2, .cred = &nobody };
	struct bundle_head h;
	const char *why = NULL;

	if (!k && (crypto_init() != 0 || !(k = key_from(octets))))
		abort();
	t.k_system = k;
	bool head = bundle_peek(data, n, &h);
	struct bundle *b = bundle_open(data, n, &t, &why);
	if (!b == !why || (b && (!head || h.generation < t.least || memcmp(h.id, id, sizeof id) != 0)))
		abort();
	if (b)
		look(b);
	bundle_free(b);
	return 0;
}
