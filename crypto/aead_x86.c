/* aead_x86.c - AES-256-GCM on AES-NI and PCLMULQDQ, for short messages.
 *
 * CTR: eight blocks at a time; the first eight are the mask of the tag and
 * seven blocks of key stream, so a message of up to 112 octets is one round
 * trip through the AES unit.
 *
 * GHASH: computed as POLYVAL on reversed octets (RFC 8452, appendix A), with
 * the key multiplied by x once beforehand: no bit shifts per block.  Up to
 * eight products are added before one reduction, which takes H^1..H^8.
 *
 * The tag is compared before a single octet of plain text is written. */
#include "base/wire.h"
#include "crypto/internal.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>
#include <string.h>

#define X86 __attribute__((target("aes,pclmul,ssse3,sse4.1")))
#define WIDE 8u /* blocks of key stream, and of GHASH, at a time */

bool aead_x86_usable(void)
{
	unsigned a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d))
		return false;
	return (c & bit_AES) && (c & bit_PCLMUL) && (c & bit_SSSE3) && (c & bit_SSE4_1);
}

X86 static inline __m128i load(const void *p)
{
	return _mm_loadu_si128(p);
}

X86 static inline void store(void *p, __m128i v)
{
	_mm_storeu_si128(p, v);
}

X86 static inline __m128i reverse(__m128i v)
{
	return _mm_shuffle_epi8(v, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/* ---- AES ---- */

/* The next round key from the one before the last and `assist`, the last
 * one's substituted word in every lane. */
X86 static inline __m128i next_key(__m128i k, __m128i assist)
{
	k = _mm_xor_si128(k, _mm_slli_si128(k, 4));
	k = _mm_xor_si128(k, _mm_slli_si128(k, 8));
	return _mm_xor_si128(k, assist);
}

X86 static void expand(uint8_t rk[15][16], const uint8_t key[static 32])
{
	__m128i a = load(key), b = load(key + 16);
	unsigned n = 0;

	store(rk[n++], a);
	store(rk[n++], b);
	/* The constant is part of the instruction, hence no loop. */
#define ROUND(rcon)                                                                           \
	a = next_key(a, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(b, rcon), 0xff));          \
	store(rk[n++], a);                                                                     \
	if (n < 15) {                                                                          \
		b = next_key(b, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(a, 0), 0xaa));     \
		store(rk[n++], b);                                                             \
	}
	ROUND(0x01)
	ROUND(0x02)
	ROUND(0x04)
	ROUND(0x08)
	ROUND(0x10)
	ROUND(0x20)
	ROUND(0x40)
#undef ROUND
}

/* `count` (4 or 8, known when compiled) blocks of key stream from `counter`. */
X86 static inline __attribute__((always_inline)) void
stream(const struct aead_x86 *a, __m128i nonce, uint32_t counter, unsigned count, uint8_t *ks)
{
	__m128i b[WIDE] RAW, k = load(a->rk[0]);

#pragma GCC unroll 8
	for (unsigned i = 0; i < count; i++)
		b[i] = _mm_xor_si128(
		        k, _mm_insert_epi32(nonce, (int)__builtin_bswap32(counter + i), 3));
#pragma GCC unroll 14
	for (unsigned r = 1; r < 14; r++) {
		k = load(a->rk[r]);
#pragma GCC unroll 8
		for (unsigned i = 0; i < count; i++)
			b[i] = _mm_aesenc_si128(b[i], k);
	}
	k = load(a->rk[14]);
#pragma GCC unroll 8
	for (unsigned i = 0; i < count; i++)
		store(ks + (size_t)16 * i, _mm_aesenclast_si128(b[i], k));
}

/* Key stream for the next `left` octets (at most WIDE blocks of it). */
X86 static inline void stream_for(const struct aead_x86 *a, __m128i nonce, uint32_t counter,
                                  size_t left, uint8_t *ks)
{
	if (left <= 64)
		stream(a, nonce, counter, 4, ks);
	else
		stream(a, nonce, counter, WIDE, ks);
}

X86 static void mix(uint8_t *out, const uint8_t *in, const uint8_t *ks, size_t n)
{
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		store(out + i, _mm_xor_si128(load(in + i), load(ks + i)));
	for (; i < n; i++)
		out[i] = in[i] ^ ks[i];
}

/* The message past its first 7 blocks, whose key stream came with the mask. */
X86 static void crypt_rest(const struct aead_x86 *a, __m128i nonce, uint8_t *out,
                           const uint8_t *in, size_t n, uint8_t ks[static 16 * WIDE])
{
	uint32_t counter = 1 + WIDE;

	while (n > 0) {
		size_t now = n < 16 * WIDE ? n : 16 * WIDE;

		stream_for(a, nonce, counter, now, ks);
		mix(out, in, ks, now);
		out += now, in += now, n -= now;
		counter += WIDE;
	}
}

/* ---- GHASH ---- */

/* The 256 bits hi:lo divided by x^128 modulo the polynomial. */
X86 static inline __m128i reduce(__m128i lo, __m128i hi)
{
	const __m128i poly = _mm_set_epi64x(0, (long long)0xc200000000000000u);
	__m128i t = _mm_xor_si128(_mm_shuffle_epi32(lo, 0x4e), _mm_clmulepi64_si128(lo, poly, 0));

	t = _mm_xor_si128(_mm_shuffle_epi32(t, 0x4e), _mm_clmulepi64_si128(t, poly, 0));
	return _mm_xor_si128(t, hi);
}

struct sum {
	__m128i lo, mid, hi; /* a product, not yet reduced */
};

X86 static inline void add_product(struct sum *s, __m128i x, __m128i h)
{
	s->lo = _mm_xor_si128(s->lo, _mm_clmulepi64_si128(x, h, 0x00));
	s->hi = _mm_xor_si128(s->hi, _mm_clmulepi64_si128(x, h, 0x11));
	s->mid = _mm_xor_si128(s->mid, _mm_xor_si128(_mm_clmulepi64_si128(x, h, 0x01),
	                                             _mm_clmulepi64_si128(x, h, 0x10)));
}

X86 static inline __m128i sum_reduce(const struct sum *s)
{
	return reduce(_mm_xor_si128(s->lo, _mm_slli_si128(s->mid, 8)),
	              _mm_xor_si128(s->hi, _mm_srli_si128(s->mid, 8)));
}

X86 static inline __m128i load_part(const uint8_t *p, size_t n)
{
	uint8_t b[16] = { 0 };

	if (n >= 16)
		return load(p);
	copy_short(b, p, n);
	return load(b);
}

/* y after n octets of data, padded with zeros, and after one more block
 * `lengths` when `last` says so. */
X86 static inline __m128i ghash(const struct aead_x86 *a, __m128i y, const uint8_t *p, size_t n,
                                __m128i lengths, bool last)
{
	size_t blocks = (n + 15) / 16 + last;

	while (blocks > 0) {
		unsigned group = blocks < WIDE ? (unsigned)blocks : WIDE;
		struct sum s = { _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128() };

		for (unsigned i = 0; i < group; i++) {
			__m128i x = lengths;

			if (n >= 16) {
				x = reverse(load(p));
				p += 16, n -= 16;
			} else if (n > 0) {
				x = reverse(load_part(p, n));
				n = 0;
			}
			if (i == 0)
				x = _mm_xor_si128(x, y);
			add_product(&s, x, load(a->h[group - 1 - i]));
		}
		y = sum_reduce(&s);
		blocks -= group;
	}
	return y;
}

X86 static inline __m128i tag_of(const struct aead_x86 *a, const uint8_t *aad, size_t aadn,
                                 const uint8_t *c, size_t n, __m128i mask)
{
	__m128i lengths = _mm_set_epi64x((long long)((uint64_t)aadn * 8), (long long)((uint64_t)n * 8));
	__m128i y = ghash(a, _mm_setzero_si128(), aad, aadn, _mm_setzero_si128(), false);

	return _mm_xor_si128(reverse(ghash(a, y, c, n, lengths, true)), mask);
}

/* ---- */

X86 static inline __m128i load_nonce(const uint8_t *nonce)
{
	int last;

	/* Not by way of memory: a wide load of narrow stores stalls. */
	memcpy(&last, nonce + 8, 4);
	return _mm_insert_epi32(_mm_loadl_epi64((const void *)nonce), last, 2);
}

X86 static inline __m128i load_tag(const uint8_t *tag, size_t n)
{
	if (n == 8)
		return _mm_loadl_epi64((const void *)tag);
	return load_part(tag, n);
}

X86 void aead_x86_init(struct aead_x86 *a, const uint8_t key[static 32])
{
	__m128i h, carry;

	expand(a->rk, key);
	h = load(a->rk[0]); /* H = E(0) */
	for (unsigned r = 1; r < 14; r++)
		h = _mm_aesenc_si128(h, load(a->rk[r]));
	h = reverse(_mm_aesenclast_si128(h, load(a->rk[14])));
	/* times x: all 128 bits left by one, what falls out comes back */
	carry = _mm_srli_epi64(h, 63);
	h = _mm_or_si128(_mm_slli_epi64(h, 1), _mm_slli_si128(carry, 8));
	carry = _mm_sub_epi64(_mm_setzero_si128(), _mm_srli_si128(carry, 8));
	carry = _mm_unpacklo_epi64(carry, carry);
	h = _mm_xor_si128(h, _mm_and_si128(carry, _mm_set_epi64x((long long)0xc200000000000000u, 1)));
	store(a->h[0], h);
	for (unsigned i = 1; i < WIDE; i++) {
		struct sum s = { _mm_setzero_si128(), _mm_setzero_si128(), _mm_setzero_si128() };

		add_product(&s, load(a->h[i - 1]), h);
		store(a->h[i], sum_reduce(&s));
	}
}

X86 void aead_x86_seal(const struct aead_x86 *a, const uint8_t *nonce, const uint8_t *aad,
                       size_t aadn, uint8_t *buf, size_t n, uint8_t tag[static 16])
{
	uint8_t ks[16 * WIDE] RAW;
	size_t first = n < 16 * (WIDE - 1) ? n : 16 * (WIDE - 1);
	__m128i iv = load_nonce(nonce), mask;

	stream_for(a, iv, 1, 16 + first, ks);
	mask = load(ks);
	mix(buf, buf, ks + 16, first);
	crypt_rest(a, iv, buf + first, buf + first, n - first, ks);
	store(tag, tag_of(a, aad, aadn, buf, n, mask));
	crypto_wipe(ks, sizeof ks);
}

X86 bool aead_x86_open(const struct aead_x86 *a, const uint8_t *nonce, const uint8_t *aad,
                       size_t aadn, const uint8_t *in, size_t n, const uint8_t *tag,
                       size_t taglen, uint8_t *out)
{
	uint8_t ks[16 * WIDE] RAW;
	size_t first = n < 16 * (WIDE - 1) ? n : 16 * (WIDE - 1);
	__m128i iv = load_nonce(nonce), diff;

	stream_for(a, iv, 1, 16 + first, ks);
	diff = _mm_xor_si128(tag_of(a, aad, aadn, in, n, load(ks)), load_tag(tag, taglen));
	unsigned same = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(diff, _mm_setzero_si128()));
	bool ok = (same | 0xffffu << taglen) == (0xffffu | 0xffffu << taglen);
	if (ok) {
		mix(out, in, ks + 16, first);
		crypt_rest(a, iv, out + first, in + first, n - first, ks);
	}
	crypto_wipe(ks, sizeof ks);
	return ok;
}

#else

#include <stdlib.h>

bool aead_x86_usable(void)
{
	return false;
}

/* Never called where it is not usable. */
void aead_x86_init(struct aead_x86 *a, const uint8_t key[static 32])
{
	(void)a, (void)key;
	abort();
}

void aead_x86_seal(const struct aead_x86 *a, const uint8_t *nonce, const uint8_t *aad, size_t aadn,
                   uint8_t *buf, size_t n, uint8_t tag[static 16])
{
	(void)a, (void)nonce, (void)aad, (void)aadn, (void)buf, (void)n, (void)tag;
	abort();
}

bool aead_x86_open(const struct aead_x86 *a, const uint8_t *nonce, const uint8_t *aad, size_t aadn,
                   const uint8_t *in, size_t n, const uint8_t *tag, size_t taglen, uint8_t *out)
{
	(void)a, (void)nonce, (void)aad, (void)aadn, (void)in, (void)n, (void)tag, (void)taglen,
	        (void)out;
	abort();
}

#endif
