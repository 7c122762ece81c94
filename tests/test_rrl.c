/* Response rate limiting under a simulated clock: rates, bursts, what shares an
 * account and what does not, floods from spoofed addresses, the clock's wrap. */
#include "dns/rrl.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MS 1000000ull
#define S  1000000000ull

static const struct rrl_conf usual = {
	.key = { 0x0123456789abcdef, 0xfedcba9876543210 },
	.rate = 200, .zone_rate = 1000, .slip = 2, .bits4 = 24, .bits6 = 56, .accounts = 8192, .workers = 1,
};

static void *begin(struct rrl *r, const struct rrl_conf *c)
{
	size_t n = rrl_memory(c);
	void *mem = n ? aligned_alloc(64, n) : NULL;
	if (mem)
		memset(mem, 0, n);
	rrl_init(r, c, mem);
	return mem;
}

static bool ask(struct rrl *r, enum rrl_class class, const char *ip, size_t iplen, const char *what, uint64_t ns)
{
	struct rrl_account a;
	rrl_find(r, class, (const uint8_t *)ip, iplen, (const uint8_t *)what, strlen(what) + 1, &a);
	return rrl_take(r, &a, rrl_ticks(ns));
}

#define V4(s) s, 4
#define V6(s) s, 16
#define HOST "\xc0\0\2\1"
#define SIX "\x20\1\x0d\xb8\0\0\0\1\0\0\0\0\0\0\0\1"

/* Asks `rate` times a second for a time; returns how often that was granted. */
static unsigned ask_for(struct rrl *r, enum rrl_class class, const char *what, unsigned rate, uint64_t from, uint64_t ns)
{
	unsigned got = 0;
	for (uint64_t t = 0; t < ns; t += S / rate)
		got += ask(r, class, V4(HOST), what, from + t);
	return got;
}

static void test_rate(void)
{
	static const unsigned rates[] = { 1, 7, 200, 1000, 99999 };
	struct rrl r;
	for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
		struct rrl_conf c = usual;
		unsigned n = rates[i], got;
		c.rate = n;
		void *mem = begin(&r, &c);
		for (got = 0; ask(&r, RRL_NAME, V4(HOST), "x", 5 * S); got++)
			;
		ok(got <= n && got + n / 2 + 1 > n, "rate %u: %u at once", n, got);
		got = ask_for(&r, RRL_NAME, "x", 4 * n, 5 * S, 10 * S);
		ok(got <= 10 * n && got + 5 * n + 1 > 10 * n, "and %u in ten seconds of four times as many", got);
		free(mem);
	}
	void *mem = begin(&r, &usual);
	ok(ask_for(&r, RRL_NAME, "x", 195, 5 * S, 60 * S) >= 60 * 195, "195 a second for a minute: all");
	unsigned first = 0;
	for (unsigned i = 0; i < 2000; i++)
		first += ask(&r, RRL_NAME, V4(HOST), "flood", 100 * S);
	ok(first >= 199 && first <= 200, "a burst is a second's worth: %u", first);
	ok(!ask(&r, RRL_NAME, V4(HOST), "flood", 100 * S + MS / 10), "nothing a little later");
	ok(ask(&r, RRL_NAME, V4(HOST), "flood", 100 * S + 6 * MS), "one after six: what was refused does not count");
	free(mem);
	struct rrl_conf off = usual;
	off.rate = 0;
	ok(rrl_memory(&off) == 0, "without a rate no memory");
}

/* Is b refused when a has used up its account? */
static bool shared(enum rrl_class ca, const char *ipa, const char *a, enum rrl_class cb, const char *ipb, const char *b,
                   size_t iplen)
{
	struct rrl r;
	void *mem = begin(&r, &usual);
	while (ask(&r, ca, ipa, iplen, a, S))
		;
	bool refused = !ask(&r, cb, ipb, iplen, b, S);
	free(mem);
	return refused;
}

static void test_accounts(void)
{
	static const struct {
		const char *what;
		enum rrl_class ca;
		const char *ipa, *a;
		enum rrl_class cb;
		const char *ipb, *b;
		size_t n;
		bool shared;
	} t[] = {
		{ "the same", RRL_NAME, HOST, "x", RRL_NAME, HOST, "x", 4, true },
		{ "another name", RRL_NAME, HOST, "x", RRL_NAME, HOST, "y", 4, false },
		{ "a name that goes on", RRL_NAME, HOST, "x", RRL_NAME, HOST, "xx", 4, false },
		{ "another class", RRL_NAME, HOST, "x", RRL_ANY, HOST, "x", 4, false },
		{ "NXDOMAIN and NODATA", RRL_NXDOMAIN, HOST, "z", RRL_NODATA, HOST, "z", 4, false },
		{ "a neighbour in the /24", RRL_NAME, HOST, "x", RRL_NAME, "\xc0\0\2\xff", "x", 4, true },
		{ "the next /24", RRL_NAME, HOST, "x", RRL_NAME, "\xc0\0\3\1", "x", 4, false },
		{ "a neighbour in the /56", RRL_NAME, SIX, "x", RRL_NAME, "\x20\1\x0d\xb8\0\0\0\xff\1\1\1\1\1\1\1\1", "x", 16, true },
		{ "the next /56", RRL_NAME, SIX, "x", RRL_NAME, "\x20\1\x0d\xb8\0\0\1\1\0\0\0\0\0\0\0\1", "x", 16, false },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		ok(shared(t[i].ca, t[i].ipa, t[i].a, t[i].cb, t[i].ipb, t[i].b, t[i].n) == t[i].shared,
		   "%s: %s account", t[i].what, t[i].shared ? "the same" : "its own");
	struct rrl r;
	unsigned wrong = 0;
	for (unsigned n = 1; n <= 16; n++) { /* names of any length */
		char name[17] = "";
		memset(name, 'x', n);
		void *mem = begin(&r, &usual);
		while (ask(&r, RRL_NAME, V4("\x20\1\x0d\0"), name, S))
			;
		wrong += !ask(&r, RRL_NAME, V6("\x20\1\x0d\0\0\0\0\0\0\0\0\0\0\0\0\0"), name, S);
		free(mem);
	}
	ok(wrong == 0, "IPv4 and IPv6 that begin alike: each its own");
}

static void test_classes(void)
{
	for (enum rrl_class c = RRL_NAME; c < RRL_TOTAL; c++) {
		struct rrl r;
		void *mem = begin(&r, &usual);
		unsigned got = 0, want = c < RRL_WILDCARD ? 200 : 1000;
		while (ask(&r, c, V4(HOST), "x", S))
			got++;
		ok(got <= want && got + want / 50 >= want, "class %d: %u at once", c, got);
		free(mem);
	}
}

/* Prefixes of every length: the first bit outside is shared, the last inside is not. */
static void test_prefixes(void)
{
	unsigned wrong = 0;
	for (unsigned six = 0; six < 2; six++)
		for (unsigned bits = 1; bits <= (six ? 64 : 32); bits++) {
			struct rrl_conf c = usual;
			struct rrl r;
			char ip[16] = HOST, in[16], out[16];
			*(six ? &c.bits6 : &c.bits4) = (uint8_t)bits;
			void *mem = begin(&r, &c);
			memcpy(in, ip, 16);
			memcpy(out, ip, 16);
			in[bits / 8 % 16] ^= (char)(0x80 >> bits % 8); /* of /32: beyond the address */
			out[(bits - 1) / 8] ^= (char)(0x80 >> (bits - 1) % 8);
			while (ask(&r, RRL_NAME, ip, six ? 16 : 4, "x", S))
				;
			wrong += ask(&r, RRL_NAME, in, six ? 16 : 4, "x", S);
			wrong += !ask(&r, RRL_NAME, out, six ? 16 : 4, "x", S);
			free(mem);
		}
	ok(wrong == 0, "networks of 1 to 32 and 1 to 64 bits");
}

/* What spreads over all workers gets the node's rate, not that many times it. */
static void test_workers(void)
{
	struct rrl_conf c = usual;
	struct rrl r[4];
	void *mem[4];
	unsigned first = 0, then = 0, one = 0;
	c.workers = 4;
	for (unsigned i = 0; i < 4; i++)
		mem[i] = begin(&r[i], &c);
	for (uint64_t t = 0; t < 20 * S; t += S / 10000) {
		bool got = ask(&r[rand() % 4], RRL_NAME, V4(HOST), "x", 9 * S + t);
		*(t < 10 * S ? &first : &then) += got;
	}
	ok(first <= 4 * 200 + 2000, "the first ten seconds: a burst from each, %u", first);
	ok(then >= 1900 && then <= 2000, "the next ten: %u at 200 a second", then);
	one = ask_for(&r[0], RRL_NAME, "y", 100, 9 * S, 3 * S);
	ok(one == 300, "one port at half the rate for three seconds: all");
	for (unsigned i = 0; i < 4; i++)
		free(mem[i]);
}

static void test_total(void)
{
	struct rrl_conf c = usual;
	struct rrl r;
	c.total_rate = 500;
	void *mem = begin(&r, &c);
	unsigned got = 0, other = 0;
	for (unsigned i = 0; i < 5000; i++) {
		char name[16];
		snprintf(name, sizeof name, "name%u", i);
		got += ask(&r, RRL_NAME, V4(HOST), name, S);
		other += ask(&r, RRL_NAME, V4("\xc0\0\x63\1"), "x", S + i * MS * 10);
	}
	ok(got >= 499 && got <= 500, "a total of 500: %u of 5000 names", got);
	ok(other == 5000, "another network has its own total");
	free(mem);
}

static void test_slip(void)
{
	for (unsigned slip = 0; slip < 11; slip++) {
		struct rrl_conf c = usual;
		struct rrl r;
		unsigned n = 0;
		c.slip = slip;
		void *mem = begin(&r, &c);
		for (unsigned i = 0; i < 10000; i++)
			n += rrl_slip(&r);
		unsigned want = slip ? 10000 / slip : 0;
		ok(n <= want + want / 10 && n + want / 10 >= want, "slip %u: %u of 10000", slip, n);
		free(mem);
	}
}

static void test_allow(void)
{
	static const struct rrl_net nets[] = {
		{ "\x0a", 4, 8 }, { "\xc0\0\2\x80", 4, 25 }, { HOST, 4, 32 }, { "\x20\1\x0d\xb8", 16, 33 },
	};
	static const struct { const char *ip; size_t n; bool in; } t[] = {
		{ "\x0a\1\2\3", 4, true }, { "\x0b\1\2\3", 4, false }, { "\xc0\0\2\xfe", 4, true },
		{ "\xc0\0\2\1", 4, true }, { "\xc0\0\2\2", 4, false }, { SIX, 16, true },
		{ "\x20\1\x0d\xb8\x7f\xff\0\0\0\0\0\0\0\0\0\0", 16, true },
		{ "\x20\1\x0d\xb8\x80\0\0\0\0\0\0\0\0\0\0\0", 16, false }, { "\x0a\1\2\3\0\0\0\0\0\0\0\0\0\0\0\0", 16, false },
	};
	static const struct rrl_net all = { "", 4, 0 };
	struct rrl_conf c = usual;
	struct rrl r;
	c.allow = nets;
	c.nallow = 4;
	void *mem = begin(&r, &c);
	for (size_t i = 0; i < sizeof t / sizeof *t; i++)
		ok(rrl_allowed(&r, (const uint8_t *)t[i].ip, t[i].n) == t[i].in, "allow-list %zu", i);
	free(mem);
	c.allow = &all;
	c.nallow = 1;
	mem = begin(&r, &c);
	ok(rrl_allowed(&r, (const uint8_t *)HOST, 4) && !rrl_allowed(&r, (const uint8_t *)SIX, 16), "0.0.0.0/0");
	free(mem);
}

static uint64_t noise(void)
{
	static uint64_t x = 88172645463325252ull;
	x ^= x << 13;
	x ^= x >> 7;
	return x ^= x << 17;
}

/* A million spoofed queries a second, from everywhere, through 8192 accounts:
 * who asks little is never refused, who is over the limit stays there. */
static void test_flood(void)
{
	struct rrl r;
	void *mem = begin(&r, &usual);
	unsigned refused = 0, asked = 0, strangers = 0, got[3] = { 0 };
	static const unsigned over[3] = { 1000, 5000, 50000 };
	for (uint64_t us = 0; us < 4000000; us++) {
		uint64_t now = 50 * S + us * 1000, x = noise();
		char ip[4] = { (char)x, (char)(x >> 8), (char)(x >> 16), (char)(x >> 24) };
		strangers += !ask(&r, RRL_NAME, V4(ip), "flood", now);
		if (us % 1000 == 0) { /* 100 resolvers, 10 queries a second each */
			char good[4] = { 1, 1, (char)(us / 1000 % 100), 1 };
			refused += !ask(&r, RRL_NAME, V4(good), "x", now);
			asked++;
		}
		for (unsigned i = 0; i < 3; i++)
			if (us % (1000000 / over[i]) == 0) {
				char victim[4] = { 2, 2, (char)i, 1 };
				got[i] += ask(&r, RRL_NAME, V4(victim), "x", now);
			}
	}
	ok(refused == 0, "%u queries of innocents in the flood: none refused", asked);
	ok(strangers == 0, "nor a stranger's first");
	for (unsigned i = 0; i < 3; i++) /* a burst and four seconds: 1000 */
		ok(got[i] <= 1100, "a victim asked for %u times a second in the flood: %u answers in 4 s", over[i], got[i]);
	free(mem);
}

/* A set full of accounts over their limits: they stay when newcomers come, and
 * a newcomer is answered. */
static void test_full_set(void)
{
	struct rrl_conf c = usual;
	struct rrl r;
	c.accounts = 8; /* one set */
	void *mem = begin(&r, &c);
	char ip[4] = { 9, 9, 0, 9 };
	for (ip[2] = 0; ip[2] < 7; ip[2]++)
		while (ask(&r, RRL_NAME, V4(ip), "x", S))
			;
	unsigned newcomers = 0, back = 0;
	for (unsigned i = 0; i < 100000; i++) {
		uint64_t x = noise();
		char other[4] = { 8, (char)x, (char)(x >> 8), 1 };
		newcomers += ask(&r, RRL_NAME, V4(other), "x", S);
	}
	for (ip[2] = 0; ip[2] < 7; ip[2]++)
		back += ask(&r, RRL_NAME, V4(ip), "x", S);
	ok(newcomers == 100000, "newcomers take the last place, and are answered");
	ok(back == 0, "seven over their limits are still there");
	free(mem);
}

static void test_wrap(void)
{
	struct rrl r;
	const uint64_t wrap = UINT64_C(1) << 44; /* of the ticks, in ns */
	unsigned got = 0;
	void *mem = begin(&r, &usual);
	while (ask(&r, RRL_NAME, V4(HOST), "x", wrap - 100 * MS))
		;
	for (uint64_t t = 0; t < 200 * MS; t += MS)
		got += ask(&r, RRL_NAME, V4(HOST), "x", wrap - 100 * MS + t);
	ok(got >= 39 && got <= 41, "over the clock's wrap at 200 a second: %u in 0.2 s", got);
	ok(ask_for(&r, RRL_NAME, "x", 190, wrap + 10 * S, 10 * S) >= 1900, "and the account is good again");
	ok(ask(&r, RRL_NAME, V4(HOST), "x", wrap + wrap / 2), "hours later");
	free(mem);
}

static void measure(void)
{
	enum { N = 2000000 };
	struct rrl_conf c = usual;
	struct rrl r;
	c.accounts = 131072;
	void *mem = begin(&r, &c);
	struct rrl_account a[64];
	struct timespec t[2];
	unsigned got = 0;
	clock_gettime(CLOCK_MONOTONIC, &t[0]);
	for (unsigned i = 0; i < N; i += 64) {
		for (unsigned k = 0; k < 64; k++) {
			uint32_t ip = (i + k) * 2654435761u;
			rrl_find(&r, RRL_NAME, (uint8_t *)&ip, 4, (const uint8_t *)"\3www\7example\3org", 17, &a[k]);
		}
		for (unsigned k = 0; k < 64; k++)
			got += rrl_take(&r, &a[k], rrl_ticks(S + i));
	}
	clock_gettime(CLOCK_MONOTONIC, &t[1]);
	double ns = (double)(t[1].tv_sec - t[0].tv_sec) * 1e9 + (double)(t[1].tv_nsec - t[0].tv_nsec);
	printf("# %.1f ns an answer, %u accounts, 64 at a time\n", ns / N, c.accounts);
	ok(got == N, "nobody asked for more than a burst: all answered");
	free(mem);
}

int main(void)
{
	test_rate();
	test_accounts();
	test_classes();
	test_prefixes();
	test_workers();
	test_total();
	test_slip();
	test_allow();
	test_flood();
	test_full_set();
	test_wrap();
	measure();
	return tap_done();
}
