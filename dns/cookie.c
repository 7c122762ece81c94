/* cookie.c - DNS cookies.  Contract in cookie.h.
 *
 *    0                8         9          12          16         24
 *   +----------------+---------+----------+-----------+----------+
 *   | client's part  | 1       | reserved | time      | hash     |  RFC 9018
 *   +----------------+---------+----------+-----------+----------+  section 4
 *
 * hash: SipHash-2-4 over all before it and the client's address.  Nothing is
 * remembered: every node that has the secret knows the cookies of all.
 * Threat: a stranger's octets; a hash that is wrong is found in constant time. */
#include "dns/cookie.h"

#include <string.h>

#include "base/wire.h"

#define HASH_AT   16
#define TIME_AT   12
#define AGE_MAX   3600
#define AGE_RENEW 1800
#define AHEAD_MAX 300 /* of a node whose clock is ahead of ours */

static void hash(const struct sip *key, const uint8_t *head, const uint8_t *ip, size_t iplen,
                 uint8_t out[static 8])
{
	uint8_t in[HASH_AT + 16];
	memcpy(in, head, HASH_AT);
	memcpy(in + HASH_AT, ip, iplen);
	uint64_t h = sip64(key, in, HASH_AT + iplen);
	for (unsigned i = 0; i < 8; i++)
		out[i] = (uint8_t)(h >> 8 * i);
}

/* Whose key made it?  n: nobody's. */
static unsigned maker(const struct sip *key, unsigned n, const uint8_t *cookie, const uint8_t *ip, size_t iplen)
{
	uint8_t want[8];
	unsigned found = n;
	for (unsigned i = n; i-- > 0;) {
		hash(key + i, cookie, ip, iplen, want);
		if (crypto_equal(want, cookie + HASH_AT, 8))
			found = i;
	}
	return found;
}

bool cookie_answer(const struct sip *key, unsigned n, const uint8_t *cookie, size_t len, const uint8_t *ip,
                   size_t iplen, uint32_t now_s, uint8_t out[static COOKIE_LEN])
{
	bool good = false;
	if (len == COOKIE_LEN && cookie[8] == 1) {
		unsigned by = maker(key, n, cookie, ip, iplen);
		/* serial numbers: times go round (RFC 9018 section 4.3) */
		uint32_t ahead = get_u32(cookie + TIME_AT) - now_s + AGE_MAX;
		good = by < n && ahead <= AGE_MAX + AHEAD_MAX;
		if (good && by == 0 && ahead >= AGE_MAX - AGE_RENEW) {
			memcpy(out, cookie, COOKIE_LEN);
			return true;
		}
	}
	memcpy(out, cookie, 8);
	memcpy(out + 8, "\1\0\0", 4);
	put_u32(out + TIME_AT, now_s);
	hash(key, out, ip, iplen, out + HASH_AT);
	return good;
}
