/* sha_x86.c - SHA-256 and SHA-1 by the processor's SHA extensions, as hashes of
 * BearSSL's kind: so HMAC, HKDF, PBKDF2, ECDSA and TLS all run on them, and the
 * owners of NSEC3. */
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
X86 static void compress256(uint32_t val[static 8], const uint8_t *p, size_t blocks)
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

/* Four rounds, the i-th of twenty such groups, with the function of rounds
 * 20 * f and on.  before: the state in front of the last group. */
#define ROUNDS(i, f) do { \
		__m128i *now = &w[(i) % 4]; \
		if ((i) < 4) \
			*now = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(p + 16 * (i))), swap); \
		else \
			*now = _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32(*now, w[((i) + 1) % 4]), \
			                                        w[((i) + 2) % 4]), w[((i) + 3) % 4]); \
		e = (i) == 0 ? _mm_add_epi32(e, *now) : _mm_sha1nexte_epu32(before, *now); \
		before = abcd; \
		abcd = _mm_sha1rnds4_epu32(abcd, e, f); \
	} while (0)
#define FIVE(f) ROUNDS(5 * (f), f); ROUNDS(5 * (f) + 1, f); ROUNDS(5 * (f) + 2, f); \
	ROUNDS(5 * (f) + 3, f); ROUNDS(5 * (f) + 4, f)

X86 static void compress1(uint32_t val[static 5], const uint8_t *p, size_t blocks)
{
	const __m128i swap = _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	__m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const void *)val), 0x1b);
	__m128i e = _mm_set_epi32((int)val[4], 0, 0, 0);

	for (; blocks > 0; blocks--, p += 64) {
		__m128i w[4], before = abcd, abcd0 = abcd, e0 = e;

		FIVE(0);
		FIVE(1);
		FIVE(2);
		FIVE(3);
		e = _mm_sha1nexte_epu32(before, e0);
		abcd = _mm_add_epi32(abcd, abcd0);
	}
	_mm_storeu_si128((void *)val, _mm_shuffle_epi32(abcd, 0x1b));
	val[4] = (uint32_t)_mm_extract_epi32(e, 3);
}

/* What BearSSL's two contexts have in common: all but the size of the state. */
static void update(uint8_t buf[static 64], uint64_t *count, uint32_t *val,
                   void (*compress)(uint32_t *, const uint8_t *, size_t), const uint8_t *p, size_t n)
{
	size_t have = (size_t)*count & 63;

	if (n == 0)
		return;
	*count += n;
	if (have > 0) {
		size_t now = n < 64 - have ? n : 64 - have;

		memcpy(buf + have, p, now);
		p += now, n -= now;
		if (have + now < 64)
			return;
		compress(val, buf, 1);
	}
	compress(val, p, n / 64);
	if (n % 64)
		memcpy(buf, p + n / 64 * 64, n % 64);
}

static void put_state(const uint32_t *val, size_t words, uint8_t *out)
{
	for (size_t i = 0; i < words; i++)
		put_u32(out + 4 * i, val[i]);
}

static void get_state(uint32_t *val, size_t words, const uint8_t *p)
{
	for (size_t i = 0; i < words; i++)
		val[i] = get_u32(p + 4 * i);
}

/* val is a copy of the state. */
static void finish(const uint8_t buf[static 64], uint64_t count, uint32_t *val, size_t words,
                   void (*compress)(uint32_t *, const uint8_t *, size_t), uint8_t *out)
{
	size_t have = (size_t)count & 63, blocks = have < 56 ? 1 : 2;
	uint8_t b[128] = { 0 };

	memcpy(b, buf, have);
	b[have] = 0x80;
	put_u64(b + 64 * blocks - 8, count << 3);
	compress(val, b, blocks);
	put_state(val, words, out);
}

#define HASH(NAME, CONTEXT, INIT, ID, WORDS, COMPRESS) \
	static void NAME##_init(const br_hash_class **ctx); \
	static void NAME##_update(const br_hash_class **ctx, const void *p, size_t n) \
	{ \
		CONTEXT *c = (void *)ctx; \
		update(c->buf, &c->count, c->val, COMPRESS, p, n); \
	} \
	static void NAME##_out(const br_hash_class *const *ctx, void *dst) \
	{ \
		const CONTEXT *c = (const void *)ctx; \
		uint32_t val[WORDS]; \
		memcpy(val, c->val, sizeof val); \
		finish(c->buf, c->count, val, WORDS, COMPRESS, dst); \
	} \
	static uint64_t NAME##_state(const br_hash_class *const *ctx, void *dst) \
	{ \
		const CONTEXT *c = (const void *)ctx; \
		put_state(c->val, WORDS, dst); \
		return c->count; \
	} \
	static void NAME##_set_state(const br_hash_class **ctx, const void *p, uint64_t count) \
	{ \
		CONTEXT *c = (void *)ctx; \
		get_state(c->val, WORDS, p); \
		c->count = count; \
	} \
	static const br_hash_class NAME##_class = { \
		sizeof(CONTEXT), \
		BR_HASHDESC_ID(ID) | BR_HASHDESC_OUT(4 * (WORDS)) | BR_HASHDESC_STATE(4 * (WORDS)) | \
		        BR_HASHDESC_LBLEN(6) | BR_HASHDESC_MD_PADDING | BR_HASHDESC_MD_PADDING_BE, \
		NAME##_init, NAME##_update, NAME##_out, NAME##_state, NAME##_set_state, \
	}; \
	static void NAME##_init(const br_hash_class **ctx) \
	{ \
		INIT((void *)ctx); \
		*ctx = &NAME##_class; \
	}

HASH(fast256, br_sha256_context, br_sha256_init, br_sha256_ID, 8, compress256)
HASH(fast1, br_sha1_context, br_sha1_init, br_sha1_ID, 5, compress1)

static bool can(void)
{
	unsigned a, b, c, d, b7;

	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSSE3) && (c & bit_SSE4_1) &&
	       __get_cpuid_count(7, 0, &a, &b7, &c, &d) && (b7 & bit_SHA);
}

const br_hash_class *sha256_x86_class(void) { return can() ? &fast256_class : NULL; }
const br_hash_class *sha1_x86_class(void) { return can() ? &fast1_class : NULL; }

#else

const br_hash_class *sha256_x86_class(void) { return NULL; }
const br_hash_class *sha1_x86_class(void) { return NULL; }

#endif
