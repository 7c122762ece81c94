/* memory.c - memcpy(), memmove() and memcmp() for what DNS is made of: a few
 * octets at a time.
 *
 * musl's on x86-64 start a string instruction for any length, and compare octet
 * by octet; either costs more than all else that is done to a name.  These come
 * first in the link and so replace them.  Other machines, and glibc, have good
 * ones of their own; the sanitizers need theirs. */
#include <features.h>

#if defined(__x86_64__) && !defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)

#include <emmintrin.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LARGE 1024 /* from here on the string instruction is quicker */

typedef uint64_t __attribute__((may_alias, aligned(1))) word8;
typedef uint32_t __attribute__((may_alias, aligned(1))) word4;
typedef uint16_t __attribute__((may_alias, aligned(1))) word2;

static inline __m128i load(const uint8_t *p) { return _mm_loadu_si128((const void *)p); }
static inline void store(uint8_t *p, __m128i v) { _mm_storeu_si128((void *)p, v); }

/* Up to 32 octets: all are read before any is written, from both ends. */
static inline void copy_32(uint8_t *t, const uint8_t *f, size_t n)
{
	if (n >= 16) {
		__m128i a = load(f), b = load(f + n - 16);
		store(t, a);
		store(t + n - 16, b);
	} else if (n >= 8) {
		uint64_t a = *(const word8 *)f, b = *(const word8 *)(f + n - 8);
		*(word8 *)t = a;
		*(word8 *)(t + n - 8) = b;
	} else if (n >= 4) {
		uint32_t a = *(const word4 *)f, b = *(const word4 *)(f + n - 4);
		*(word4 *)t = a;
		*(word4 *)(t + n - 4) = b;
	} else if (n >= 2) {
		uint16_t a = *(const word2 *)f, b = *(const word2 *)(f + n - 2);
		*(word2 *)t = a;
		*(word2 *)(t + n - 2) = b;
	} else if (n == 1) {
		*t = *f;
	}
}

static inline void copy_string(void *to, const void *from, size_t n)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

/* Rising; over 32 octets.  The end is read first: where the two overlap it would
 * be written over. */
static inline void copy_up(uint8_t *t, const uint8_t *f, size_t n)
{
	__m128i a = load(f + n - 32), b = load(f + n - 16);
	uint8_t *end = t + n;
	for (; n > 32; n -= 32, t += 32, f += 32) {
		__m128i x = load(f), y = load(f + 16);
		store(t, x);
		store(t + 16, y);
	}
	store(end - 32, a);
	store(end - 16, b);
}

/* Falling, likewise. */
static inline void copy_down(uint8_t *t, const uint8_t *f, size_t n)
{
	__m128i a = load(f), b = load(f + 16);
	for (; n > 32; n -= 32) {
		__m128i x = load(f + n - 16), y = load(f + n - 32);
		store(t + n - 16, x);
		store(t + n - 32, y);
	}
	store(t, a);
	store(t + 16, b);
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	if (n <= 32)
		copy_32(to, from, n);
	else if (n < LARGE)
		copy_up(to, from, n);
	else
		copy_string(to, from, n);
	return to;
}

void *memmove(void *to, const void *from, size_t n)
{
	uintptr_t t = (uintptr_t)to, f = (uintptr_t)from;
	if (n <= 32)
		copy_32(to, from, n);
	else if (t - f < n) /* it begins within what is to be read */
		copy_down(to, from, n);
	else if (n < LARGE || f - t < n)
		copy_up(to, from, n);
	else
		copy_string(to, from, n);
	return to;
}

/* Big-endian words compare as their octets do. */
static inline int order(uint64_t x, uint64_t y)
{
	x = __builtin_bswap64(x);
	y = __builtin_bswap64(y);
	return (x > y) - (x < y);
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *p = a, *q = b;
	for (; n >= 8; n -= 8, p += 8, q += 8) {
		uint64_t x = *(const word8 *)p, y = *(const word8 *)q;
		if (x != y)
			return order(x, y);
	}
	for (; n > 0; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

#else

typedef int nothing_here; /* a translation unit may not be empty */

#endif
