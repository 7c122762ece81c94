/* DNS cookies: the examples of RFC 9018 appendix A, ages, keys, every change of an octet. */
#include "dns/cookie.h"
#include "tests/tap.h"

#include <string.h>

static size_t unhex(const char *s, uint8_t *out)
{
	size_t n = strlen(s) / 2;
	for (size_t i = 0; i < n; i++) {
		unsigned x;
		sscanf(s + 2 * i, "%2x", &x);
		out[i] = (uint8_t)x;
	}
	return n;
}

static struct sip secret(const char *hex)
{
	uint8_t b[16];
	struct sip s = { 0, 0 };
	unhex(hex, b);
	for (unsigned i = 8; i-- > 0;) {
		s.k0 = s.k0 << 8 | b[i];
		s.k1 = s.k1 << 8 | b[8 + i];
	}
	return s;
}

#define OLD "dd3bdf9344b678b185a6f5cb60fca715"
#define NEW "445536bcd2513298075a5d379663c962"
#define A1  "e5e973e5a6b2a43f48e7dc849e37bfcf"

static void test_examples(void)
{
	static const struct {
		const char *what, *key, *previous, *ip, *in, *out;
		uint32_t now;
		bool good;
	} t[] = {
		{ "A.1, a first cookie", A1, OLD, "c6336464", "2464c4abcf10c957",
		  "2464c4abcf10c957010000005cf79f111f8130c3eee29480", 0x5cf79f11, false },
		{ "A.2, renewed", A1, OLD, "c6336464", "2464c4abcf10c957010000005cf79f111f8130c3eee29480",
		  "2464c4abcf10c957010000005cf7a871d4a564a1442aca77", 0x5cf7a871, true },
		{ "A.3, too old by our clock", A1, OLD, "cb0071cb", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
		  "fc93fc62807ddb86010000005cf7a9acf73a7810aca2381e", 0x5cf7a9ac, false },
		{ "A.3, reserved octets are kept", A1, OLD, "cb0071cb", "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5",
		  "fc93fc62807ddb8601abcdef5cf78f71a314227b6679ebf5", 0x5cf78f71, true },
		{ "A.4, IPv6, the previous secret", NEW, OLD, "20010db80220000159ded0f4876982b8",
		  "22681ab97d52c298010000005cf7c57926556bd0934c72f8",
		  "22681ab97d52c298010000005cf7c609a6bb79d16625507a", 0x5cf7c609, true },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct sip key[2] = { secret(t[i].key), secret(t[i].previous) };
		uint8_t in[40], ip[16], want[COOKIE_LEN], out[COOKIE_LEN];
		size_t len = unhex(t[i].in, in), iplen = unhex(t[i].ip, ip);
		unhex(t[i].out, want);
		bool good = cookie_answer(key, 2, in, len, ip, iplen, t[i].now, out);
		ok(good == t[i].good && memcmp(out, want, COOKIE_LEN) == 0, "RFC 9018 %s", t[i].what);
	}
}

static void test_ages(void)
{
	static const struct { int age; bool good, same; } t[] = {
		{ 0, true, true }, { 1800, true, true }, { 1801, true, false }, { 3600, true, false },
		{ 3601, false, false }, { -300, true, true }, { -301, false, false }, { 0x40000000, false, false },
	};
	static const uint32_t born[] = { 0x5cf79f11, 10, 0xfffffff0 };
	struct sip key = secret(A1);
	uint8_t first[COOKIE_LEN], out[COOKIE_LEN];
	for (unsigned k = 0; k < 3; k++)
		for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
			cookie_answer(&key, 1, (const uint8_t *)"abcdefgh", 8, (const uint8_t *)"\1\2\3\4", 4, born[k], first);
			bool good = cookie_answer(&key, 1, first, COOKIE_LEN, (const uint8_t *)"\1\2\3\4", 4,
			                          born[k] + (uint32_t)t[i].age, out);
			ok(good == t[i].good && (memcmp(first, out, COOKIE_LEN) == 0) == t[i].same, "made at %x, %d s old",
			   born[k], t[i].age);
		}
}

/* A change of any octet, another address, another length: not ours, but answered. */
static void test_forged(void)
{
	struct sip key = secret(A1);
	uint8_t c[40] = { 0 }, out[COOKIE_LEN];
	const uint8_t *ip = (const uint8_t *)"\1\2\3\4";
	unsigned good = 0, kept = 0;
	cookie_answer(&key, 1, (const uint8_t *)"abcdefgh", 8, ip, 4, 1000000, c);
	for (unsigned i = 0; i < COOKIE_LEN; i++) {
		c[i] ^= 1;
		good += cookie_answer(&key, 1, c, COOKIE_LEN, ip, 4, 1000000, out);
		kept += memcmp(out, c, 8) == 0 && cookie_answer(&key, 1, out, COOKIE_LEN, ip, 4, 1000000, out);
		c[i] ^= 1;
	}
	ok(good == 0 && kept == COOKIE_LEN, "any octet changed: a fresh one");
	ok(!cookie_answer(&key, 1, c, COOKIE_LEN, (const uint8_t *)"\1\2\3\5", 4, 1000000, out), "another address");
	for (size_t len = 16; len <= 40; len++)
		good += len != COOKIE_LEN && cookie_answer(&key, 1, c, len, ip, 4, 1000000, out);
	ok(good == 0, "other lengths");
}

int main(void)
{
	if (crypto_init() < 0)
		return 1;
	test_examples();
	test_ages();
	test_forged();
	return tap_done();
}
