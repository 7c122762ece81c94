/* bgphex.h - what the BGP tests share: octets from hexadecimal text. */
#ifndef TESTS_BGPHEX_H
#define TESTS_BGPHEX_H

#include "bgp.h"

#include <stdlib.h>

static inline int hex_digit(char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

/* Spaces are skipped; a leading 'M' stands for the marker. */
static inline size_t unhex(uint8_t *out, const char *s)
{
	size_t n = 0;
	if (*s == 'M') {
		memset(out, 0xff, 16);
		n = 16;
		s++;
	}
	while (*s) {
		if (*s == ' ') {
			s++;
			continue;
		}
		out[n++] = (uint8_t)(hex_digit(s[0]) << 4 | hex_digit(s[1]));
		s += 2;
	}
	return n;
}

/* "192.0.2.1" and "2001:db8::1" without the C library's help: tests need few forms. */
static inline struct bgp_addr v4(unsigned a, unsigned b, unsigned c, unsigned d)
{
	return (struct bgp_addr){ .family = BGP_V4, .b = { (uint8_t)a, (uint8_t)b, (uint8_t)c, (uint8_t)d } };
}
static inline struct bgp_addr v6(unsigned high, unsigned low)
{
	struct bgp_addr a = { .family = BGP_V6 };
	put_u32(a.b, high);
	put_u32(a.b + 12, low);
	return a;
}
static inline struct bgp_prefix prefix(struct bgp_addr a, uint8_t len)
{
	struct bgp_prefix p = { a.family, len, { 0 } };
	memcpy(p.b, a.b, sizeof p.b);
	return p;
}

/* xorshift, the same in each run */
static inline uint32_t roll(uint32_t n)
{
	static uint64_t dice = 88172645463325252u;
	dice ^= dice << 13;
	dice ^= dice >> 7;
	dice ^= dice << 17;
	return (uint32_t)(dice >> 32) % n;
}

#endif
