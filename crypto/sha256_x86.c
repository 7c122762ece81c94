/* sha256_x86.c - SHA-256 by the processor's SHA extensions, as a hash of
 * BearSSL's kind: so HMAC, HKDF, PBKDF2, ECDSA and TLS all run on it. */
#include "crypto/internal.h"

#if defined(__x86_64__)

#include "base/wire.h"

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

#define X86 __attribute__((target("sha,ssse3,sse4.1")))

static const _Alignas(16) uint32_t K[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* Whole blocks.  The instructions want the state as ABEF and CDGH. */
X86 static void compress(uint32_t val[static 8], const uint8_t *p, size_t blocks)
{
	const __m128i swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
	__m128i t = _mm_shuffle_epi32(_mm_loadu_si128((const void *)val), 0xb1);
	__m128i cdgh = _mm_shuffle_epi32(_mm_loadu_si128((const void *)(val + 4)), 0x1b);
	__m128i abef = _mm_alignr_epi8(t, cdgh, 8);

	cdgh = _mm_blend_epi16(cdgh, t, 0xf0);
	for (; blocks > 0; blocks--, p += 64) {
		__m128i w[4], abef0 = abef, cdgh0 = cdgh;

#pragma GCC unroll 16
		for (unsigned i = 0; i < 16; i++) {
			__m128i *now = &w[i % 4], last = w[(i + 3) % 4];

			if (i < 4) {
				*now = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(p + 16 * i)), swap);
			} else {
				t = _mm_alignr_epi8(last, w[(i + 2) % 4], 4);
				t = _mm_add_epi32(_mm_sha256msg1_epu32(*now, w[(i + 1) % 4]), t);
				*now = _mm_sha256msg2_epu32(t, last);
			}
			t = _mm_add_epi32(*now, _mm_load_si128((const void *)(K + 4 * i)));
			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, t);
			abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(t, 0x0e));
		}
		abef = _mm_add_epi32(abef, abef0);
		cdgh = _mm_add_epi32(cdgh, cdgh0);
	}
	t = _mm_shuffle_epi32(abef, 0x1b);
	cdgh = _mm_shuffle_epi32(cdgh, 0xb1);
	_mm_storeu_si128((void *)val, _mm_blend_epi16(t, cdgh, 0xf0));
	_mm_storeu_si128((void *)(val + 4), _mm_alignr_epi8(cdgh, t, 8));
}

static void init(const br_hash_class **ctx);

static void update(const br_hash_class **ctx, const void *data, size_t n)
{
	br_sha256_context *c = (void *)ctx;
	const uint8_t *p = data;
	size_t have = (size_t)c->count & 63;

	if (n == 0)
		return;
	c->count += n;
	if (have > 0) {
		size_t now = n < 64 - have ? n : 64 - have;

		memcpy(c->buf + have, p, now);
		p += now, n -= now;
		if (have + now < 64)
			return;
		compress(c->val, c->buf, 1);
	}
	compress(c->val, p, n / 64);
	if (n % 64)
		memcpy(c->buf, p + n / 64 * 64, n % 64);
}

static void put_state(const uint32_t val[static 8], uint8_t *out)
{
	for (size_t i = 0; i < 8; i++)
		put_u32(out + 4 * i, val[i]);
}

static void out(const br_hash_class *const *ctx, void *dst)
{
	const br_sha256_context *c = (const void *)ctx;
	size_t have = (size_t)c->count & 63, blocks = have < 56 ? 1 : 2;
	uint8_t b[128] = { 0 };
	uint32_t val[8];

	memcpy(b, c->buf, have);
	b[have] = 0x80;
	put_u64(b + 64 * blocks - 8, c->count << 3);
	memcpy(val, c->val, sizeof val);
	compress(val, b, blocks);
	put_state(val, dst);
}

static uint64_t state(const br_hash_class *const *ctx, void *dst)
{
	const br_sha256_context *c = (const void *)ctx;

	put_state(c->val, dst);
	return c->count;
}

static void set_state(const br_hash_class **ctx, const void *stb, uint64_t count)
{
	br_sha256_context *c = (void *)ctx;
	const uint8_t *p = stb;

	for (size_t i = 0; i < 8; i++)
		c->val[i] = get_u32(p + 4 * i);
	c->count = count;
}

static const br_hash_class CLASS = {
	sizeof(br_sha256_context),
	BR_HASHDESC_ID(br_sha256_ID) | BR_HASHDESC_OUT(32) | BR_HASHDESC_STATE(32) |
	        BR_HASHDESC_LBLEN(6) | BR_HASHDESC_MD_PADDING | BR_HASHDESC_MD_PADDING_BE,
	init,
	update,
	out,
	state,
	set_state,
};

static void init(const br_hash_class **ctx)
{
	br_sha256_init((void *)ctx);
	*ctx = &CLASS;
}

const br_hash_class *sha256_x86_class(void)
{
	unsigned a, b, c, d, b7;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1))
		return NULL;
	if (!__get_cpuid_count(7, 0, &a, &b7, &c, &d) || !(b7 & bit_SHA))
		return NULL;
	return &CLASS;
}

#else

const br_hash_class *sha256_x86_class(void)
{
	return NULL;
}

#endif
