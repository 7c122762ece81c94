/* test_crypto.c - units of crypto: published vectors, damaged certificates,
 * TLS sessions in memory with honest, wrong and tampering peers. */
#include "crypto/cred.h"
#include "crypto/internal.h"
#include "crypto/issue.h"
#include "hub/ca.h"
#include "tests/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN
#endif
#endif

static unsigned tests, failed;

__attribute__((format(printf, 2, 3))) static void ok(bool good, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	printf("%sok %u - ", good ? "" : "not ", ++tests);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
	fflush(stdout);
	failed += !good;
}

/* Hex to octets; the number of octets. */
static size_t unhex(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned v;

	for (; hex[0] && hex[1] && sscanf(hex, "%2x", &v) == 1; hex += 2)
		out[n++] = (uint8_t)v;
	return n;
}

static bool is_hex(const void *p, const char *hex)
{
	uint8_t want[512];
	size_t n = unhex(hex, want);

	return memcmp(p, want, n) == 0;
}

static struct key *key_hex(const char *hex)
{
	uint8_t b[32] = { 0 };

	unhex(hex, b);
	return key_from(b);
}

static int pipe_with(const void *p, size_t n)
{
	int fd[2];

	if (pipe(fd) != 0 || write(fd[1], p, n) != (ssize_t)n)
		abort();
	close(fd[1]);
	return fd[0];
}

/* ---- hashes and keys ---- */

static void test_hashes(void)
{
	static const struct {
		void (*init)(struct sha *);
		const char *name, *hex;
	} c[] = {
		{ sha1_init, "SHA-1", "a9993e364706816aba3e25717850c26c9cd0d89d" },
		{ sha256_init, "SHA-256",
		  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ sha384_init, "SHA-384",
		  "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
		  "8086072ba1e7cc2358baeca134c825a7" },
		{ sha512_init, "SHA-512",
		  "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
		  "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f" },
	};

	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		struct sha s, copy;
		uint8_t out[64];

		c[i].init(&s);
		sha_update(&s, "a", 1);
		sha_out(&s, out); /* the hash so far does not end it */
		copy = s;
		sha_update(&copy, "", 0);
		sha_update(&copy, "bc", 2);
		sha_out(&copy, out);
		ok(is_hex(out, c[i].hex), "%s of abc, in parts and by a copy (FIPS 180-4)", c[i].name);
	}
}

/* The processor's SHA-1 against BearSSL's, in one piece and in two. */
static bool sha1_agrees(const uint8_t *in, size_t n)
{
	uint8_t want[20], got[20];
	br_sha1_context c;
	struct sha s;

	br_sha1_init(&c);
	br_sha1_update(&c, in, n);
	br_sha1_out(&c, want);
	sha1_init(&s);
	sha_update(&s, in, n * 7 % (n + 1));
	sha_update(&s, in + n * 7 % (n + 1), n - n * 7 % (n + 1));
	sha_out(&s, got);
	return memcmp(want, got, 20) == 0;
}

/* SHA-256 likewise. */
static void test_sha_agree(void)
{
	uint8_t in[300], want[32], got[32];
	bool same = true, same1 = true;

	crypto_random(in, sizeof in);
	for (size_t n = 0; n <= sizeof in; n++) {
		br_sha256_context c;
		struct sha s;

		br_sha256_init(&c);
		br_sha256_update(&c, in, n);
		br_sha256_out(&c, want);
		sha256(in, n, got);
		same = same && memcmp(want, got, 32) == 0;
		sha256_init(&s);
		sha_update(&s, in, n * 7 % (n + 1));
		sha_update(&s, in + n * 7 % (n + 1), n - n * 7 % (n + 1));
		sha_out(&s, got);
		same = same && memcmp(want, got, 32) == 0;
		same1 = same1 && sha1_agrees(in, n);
	}
	ok(same1, "SHA-1 agrees with BearSSL's, 0 to 300 octets%s", sha1_x86_class() ? "" : " # SKIP no SHA extensions");
	ok(same, "SHA-256 agrees with BearSSL's, 0 to 300 octets%s",
	   sha256_x86_class() ? "" : " # SKIP no SHA extensions");
}

static void test_mac(void)
{
	uint8_t out[32];
	struct key *k = key_hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
	const struct part p[] = { { "Hi ", 3 }, { NULL, 0 }, { "There", 5 } };

	key_mac(k, p, 3, out);
	ok(is_hex(out, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
	   "HMAC-SHA256, RFC 4231 case 1, in parts");
	key_free(k);
	k = key_from((const uint8_t[32]){ 'J', 'e', 'f', 'e' });
	const struct part q[] = { { "what do ya want for nothing?", 28 } };
	key_mac(k, q, 1, out);
	ok(is_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
	   "HMAC-SHA256, RFC 4231 case 2");
	key_free(k);
}

static void test_derive(void)
{
	uint8_t salt[5] = { 0xa0, 0xa1, 0xa2, 0xa3, 0xa4 }, ikm[22], info[10], okm[42];
	struct key *k = key_hex("000102030405060708090a0b0c0d0e0f"
	                        "101112131415161718191a1b1c1d1e1f");
	struct key *a = key_derive(k, "frag", salt, sizeof salt);
	struct key *b = key_derive(k, "frag", NULL, 0);
	br_hkdf_context h;

	ok(is_hex(a->b, "2363d94b5aca1e104e32618ac10427be856b79c636f9c3003c1503e04f9e1e15"),
	   "key_derive as another implementation has it");
	ok(is_hex(b->b, "a1e197e4e66016321d4762b23c850fcd1a7ba39a55d878f88f61eef8d714555d"),
	   "key_derive without salt as another implementation has it");
	memset(ikm, 0x0b, sizeof ikm);
	unhex("f0f1f2f3f4f5f6f7f8f9", info);
	uint8_t s[13];
	unhex("000102030405060708090a0b0c", s);
	br_hkdf_init(&h, &br_sha256_vtable, s, sizeof s);
	br_hkdf_inject(&h, ikm, sizeof ikm);
	br_hkdf_flip(&h);
	br_hkdf_produce(&h, info, sizeof info, okm, sizeof okm);
	ok(is_hex(okm, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
	               "34007208d5b887185865"),
	   "HKDF below it, RFC 5869 case 1");
	key_free(a);
	key_free(b);
	key_free(k);
	a = key_from_passphrase("passwd", 6, (const uint8_t *)"salt", 4, 1);
	ok(is_hex(a->b, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
	   "PBKDF2-HMAC-SHA256, 1 round (RFC 7914)");
	key_free(a);
	a = key_from_passphrase("Password", 8, (const uint8_t *)"NaCl", 4, 80000);
	ok(is_hex(a->b, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"),
	   "PBKDF2-HMAC-SHA256, 80000 rounds (RFC 7914)");
	key_free(a);
}

static struct key *read_text(const char *text, size_t n)
{
	int fd = pipe_with(text, n);
	struct key *k = key_read(fd);

	close(fd);
	return k;
}

static void test_key_read(void)
{
	static const char HEX[] = "000102030405060708090a0b0c0d0e0f"
	                          "101112131415161718191A1B1c1d1e1f";
	char text[400];
	struct key *k;
	uint8_t raw[32];

	unhex(HEX, raw);
	k = read_text((const char *)raw, 32);
	ok(k && memcmp(k->b, raw, 32) == 0, "key_read: 32 octets");
	key_free(k);
	snprintf(text, sizeof text, " \n%s\r\n", HEX);
	k = read_text(text, strlen(text));
	ok(k && memcmp(k->b, raw, 32) == 0, "key_read: 64 digits and white space");
	key_free(k);
	bool all = true;
	for (size_t n = 0; n < 64; n++) {
		errno = 0;
		k = read_text(HEX, n);
		/* 32 digits are 32 octets: that one is a key */
		if (n != 32 && (k || errno != EINVAL))
			all = false;
		key_free(k);
	}
	ok(all, "key_read: too few digits are refused");
	snprintf(text, sizeof text, "%.63sg", HEX);
	k = read_text(text, 64);
	ok(!k && errno == EINVAL, "key_read: a digit that is none is refused");
	memset(text, ' ', sizeof text);
	k = read_text(text, sizeof text);
	ok(!k && errno == EINVAL, "key_read: a long file is refused");
	ok(!key_read(-1) && errno == EBADF, "key_read: no descriptor");
}

static void test_key_send(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	struct key *k = key_random(), *got;
	int s[2];

	for (size_t i = 0; i < 3; i++) {
		if (socketpair(AF_UNIX, types[i], 0, s) != 0)
			abort();
		int rc = key_send(k, s[0]);
		got = key_recv(s[1]);
		ok(rc == 0 && got && memcmp(got->b, k->b, 32) == 0, "a key over a socket pair (%zu)", i);
		key_free(got);
		close(s[0]);
		if (types[i] == SOCK_STREAM)
			ok(!key_recv(s[1]) && errno == EBADMSG, "no key from a closed stream");
		close(s[1]);
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) != 0)
		abort();
	uint8_t longer[33] = { 0 };
	(void)!write(s[0], longer, sizeof longer);
	ok(!key_recv(s[1]) && errno == EBADMSG, "a message of 33 octets is no key");
	close(s[1]);
	ok(key_send(k, s[0]) == -1 && errno == EPIPE, "a closed peer is an error, not a signal");
	close(s[0]);
	key_free(k);
}

/* ---- the pool ---- */

/* Does the mapping that holds p carry all of these flags (see proc(5))? */
static int has_flags(const void *p, const char *const *flags)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[1024];
	unsigned long from, to;
	bool here = false;
	int got = -1;

	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (unsigned long)(uintptr_t)p >= from && (unsigned long)(uintptr_t)p < to;
		else if (here && strncmp(line, "VmFlags:", 8) == 0) {
			got = 1;
			for (; *flags; flags++)
				got = got && strstr(line, *flags);
			break;
		}
	}
	if (f)
		fclose(f);
	return got;
}

static bool in_child(bool (*check)(void *), void *p)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(check(p) ? 0 : 1);
	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool is_gone(void *p)
{
	unsigned char v;
	uintptr_t page = (uintptr_t)p & ~(uintptr_t)4095;

	return mincore((void *)page, 1, &v) == -1 && errno == ENOMEM;
}

static bool starts_again(void *p)
{
	(void)p;
	if (crypto_init() != 0)
		return false;
	struct key *k = key_random();
	struct aead *a = k ? aead_new(k) : NULL;
	aead_free(a);
	key_free(k);
	return a != NULL;
}

/* ---- as the pool stands in a child ---- */

#ifndef ASAN /* it makes mlock do nothing */
static bool locks_little(void *p)
{
	struct rlimit little = { 64 << 10, 64 << 10 };
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { { 0, 0, 0 } };
	char what[80];
	static char scratch[8192];

	(void)p;
	if (setrlimit(RLIMIT_MEMLOCK, &little) != 0 || syscall(SYS_capset, &head, none) != 0)
		return false;
	if (crypto_init() != 0)
		return false;
	struct key *k = key_random();
	bool keys = k && crypto_not_locked(what, sizeof what) && strcmp(what, "keys") == 0;
	crypto_lock(scratch, sizeof scratch, "scratch"); /* that fits */
	return keys && crypto_not_locked(what, sizeof what) && strcmp(what, "keys") == 0;
}
#endif

/* The first key of a fresh pool stands at its beginning. */
static uint8_t *first_slot(void)
{
	if (crypto_init() != 0)
		_exit(1);
	return (uint8_t *)key_random();
}
static bool touch_below(void *p)
{
	(void)p;
	first_slot()[-1] = 1;
	return false;
}
static bool touch_with_handler(void *p)
{
	crypto_wipe_on_crash(true);
	return touch_below(p);
}
static bool touch_above(void *p)
{
	(void)p;
	first_slot()[256 << 10] = 1;
	return false;
}
static bool ended_by(bool (*how)(void *), void *p)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		_exit(how(p) ? 0 : 1);
	}
	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static bool ends_clean(void *p)
{
	static const uint8_t zero[32];

	(void)p;
	uint8_t *k = first_slot();
	bool was = memcmp(k, zero, 32) != 0;
	crypto_end();
	return was && memcmp(k, zero, 32) == 0;
}

/* What it leaves is looked at by a handler of our own, in place of the end. */
static uint8_t *left;
static void look(int sig)
{
	static const uint8_t zero[32];

	_exit(sig == SIGABRT && memcmp(left, zero, 32) == 0 ? 0 : 1);
}
static bool crashes_clean(void *p)
{
	struct sigaction ours, crash;

	(void)p;
	left = first_slot();
	crypto_wipe_on_crash(true);
	sigaction(SIGSEGV, NULL, &crash);
	memset(&ours, 0, sizeof ours);
	ours.sa_handler = look;
	sigaction(SIGABRT, &ours, NULL);
	crash.sa_handler(SIGABRT);
	return false;
}

static bool secret_memory(void)
{
	int fd = (int)syscall(447, 0); /* memfd_secret */

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}
static bool is_secret(void *p)
{
	uint8_t out[32];

	(void)p;
	uint8_t *k = first_slot();
	int fd = open("/proc/self/mem", O_RDONLY);
	return fd < 0 || pread(fd, out, sizeof out, (off_t)(uintptr_t)k) != sizeof out;
}

static void test_pool(void)
{
	static const char *const hidden[] = { " dd", " dc", NULL }, *const locked[] = { " lo", NULL };
	static const uint8_t zero[32];
	struct key *k = key_random(), *many[3000];
	bool apart = true;

	ok(memcmp(k->b, zero, 32) != 0 && (uintptr_t)k % 64 == 0, "a random key, aligned");
	if (has_flags(k, hidden) < 0) {
		ok(true, "# SKIP no /proc/self/smaps");
	} else {
		ok(has_flags(k, hidden) == 1, "keys stay out of core dumps and children");
#ifdef ASAN /* it makes mlock do nothing */
		ok(true, "crypto_locked # SKIP under the address sanitizer");
		(void)locked;
#else
		char what[80];
		const char *not = crypto_not_locked(what, sizeof what);
		ok((has_flags(k, locked) == 0) == (not && strstr(not, "keys")), "crypto_not_locked tells the truth: %s",
		   not ? not : "all is locked");
#endif
	}
#ifndef ASAN
	ok(in_child(locks_little, NULL), "with a limit of 64 KiB it works, and says what is not locked");
#endif
	ok(ended_by(touch_below, NULL) && ended_by(touch_above, NULL), "what stands around the pool can't be touched");
	ok(in_child(ends_clean, NULL), "crypto_end leaves zeros");
	ok(in_child(crashes_clean, NULL), "so does a crash");
	ok(ended_by(touch_with_handler, NULL), "and its signal stays what it was");
	if (secret_memory())
		ok(in_child(is_secret, NULL), "keys can't be read by way of /proc");
	else
		ok(true, "keys can't be read by way of /proc # SKIP no memfd_secret");
	ok(in_child(is_gone, k), "a child does not inherit the pool");
	ok(in_child(starts_again, NULL), "a child makes its own pool");
	key_free(k);
	ok(memcmp(k, zero, 32) == 0, "a freed key is wiped");
	key_free(NULL);
	for (size_t i = 0; i < 3000; i++) {
		uint8_t b[32] = { (uint8_t)i, (uint8_t)(i >> 8), 1 };
		many[i] = key_from(b);
	}
	/* Free every third and fill the holes and more with larger ones. */
	for (size_t i = 0; i < 3000; i += 3)
		key_free(many[i]);
	uint8_t *large[40];
	for (size_t i = 0; i < 40; i++) {
		large[i] = pool_alloc(40000);
		apart = apart && large[i] && large[i][0] == 0 && large[i][39999] == 0;
		if (large[i])
			memset(large[i], 0xff, 40000);
	}
	for (size_t i = 0; i < 3000; i++)
		if (i % 3)
			apart = apart && many[i]->b[0] == (uint8_t)i && many[i]->b[2] == 1;
	ok(apart, "allocations of all sizes are apart, and zeroed");
	for (size_t i = 0; i < 3000; i++)
		if (i % 3)
			key_free(many[i]);
	for (size_t i = 0; i < 40; i++)
		pool_free(large[i], 40000);
}

/* ---- AES-256-GCM ---- */

static const struct {
	const char *name, *key, *nonce, *aad, *plain, *cipher, *tag;
} gcm[] = {
	{ "13", "0000000000000000000000000000000000000000000000000000000000000000",
	  "000000000000000000000000", "", "", "", "530f8afbc74536b9a963b4f1c4cb738b" },
	{ "14", "0000000000000000000000000000000000000000000000000000000000000000",
	  "000000000000000000000000", "", "00000000000000000000000000000000",
	  "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919" },
	{ "15", "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
	  "cafebabefacedbaddecaf888", "",
	  "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
	  "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255",
	  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
	  "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
	  "b094dac5d93471bdec1a502270e3cc6c" },
	{ "16", "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
	  "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
	  "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
	  "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
	  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
	  "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
	  "76fc6ece0f4e1768cddf8853bb2d551b" },
};
static const char *const impl_text[] = { "portable", "BearSSL's instructions", "our own" };

static void test_gcm_vectors(enum aead_impl impl)
{
	for (size_t i = 0; i < sizeof gcm / sizeof gcm[0]; i++) {
		struct key *k = key_hex(gcm[i].key);
		struct aead *a = aead_new_impl(k, impl);
		uint8_t nonce[12], aad[64], b[64], tag[16], plain[64];

		key_free(k);
		if (!a) {
			ok(errno == ENOTSUP, "GCM case %s # SKIP no such instructions", gcm[i].name);
			continue;
		}
		unhex(gcm[i].nonce, nonce);
		size_t aadn = unhex(gcm[i].aad, aad), n = unhex(gcm[i].plain, plain);
		memcpy(b, plain, sizeof b);
		aead_seal(a, nonce, aad, aadn, b, n, tag, 16);
		bool good = is_hex(b, gcm[i].cipher) && is_hex(tag, gcm[i].tag) &&
		            aead_open(a, nonce, aad, aadn, b, n, tag, 16, b) &&
		            memcmp(b, plain, n) == 0;
		ok(good, "AES-256-GCM, GCM specification's case %s, %s", gcm[i].name, impl_text[impl]);
		aead_free(a);
	}
}

/* All implementations agree, and none opens what was changed. */
static void test_gcm_agree(void)
{
	struct key *k = key_random();
	struct aead *a[AEAD_IMPLS];
	uint8_t plain[700], aad[40], nonce[12], c[AEAD_IMPLS][700], tag[AEAD_IMPLS][16], out[700];
	bool same = true, opens = true, refuses = true, zeroed = true;

	crypto_random(plain, sizeof plain);
	crypto_random(aad, sizeof aad);
	for (int i = 0; i < AEAD_IMPLS; i++)
		a[i] = aead_new_impl(k, (enum aead_impl)i);
	for (size_t n = 0; n <= 700; n += n < 300 ? 1 : 13) {
		size_t aadn = n * 7 % 41, taglen = 8 + n % 9, at = n ? n * 5 % n : 0;

		crypto_random(nonce, sizeof nonce);
		for (int i = 0; i < AEAD_IMPLS; i++) {
			if (!a[i])
				continue;
			memcpy(c[i], plain, n);
			aead_seal(a[i], nonce, aad, aadn, c[i], n, tag[i], 16);
			same = same && memcmp(c[i], c[0], n) == 0 && memcmp(tag[i], tag[0], 16) == 0;
			opens = opens && aead_open(a[i], nonce, aad, aadn, c[0], n, tag[0], taglen, out) &&
			        memcmp(out, plain, n) == 0;
			tag[i][n % taglen] ^= 0x10;
			memset(out, 1, n);
			refuses = refuses &&
			          !aead_open(a[i], nonce, aad, aadn, c[i], n, tag[i], taglen, out);
			tag[i][n % taglen] ^= 0x10;
			for (size_t j = 0; j < n; j++)
				zeroed = zeroed && out[j] == 0;
			if (n > 0) {
				c[i][at] ^= 1;
				refuses = refuses && !aead_open(a[i], nonce, aad, aadn, c[i], n, tag[i],
				                                taglen, out);
				c[i][at] ^= 1;
			}
			if (aadn > 0)
				refuses = refuses && !aead_open(a[i], nonce, aad, aadn - 1, c[i], n,
				                                tag[i], taglen, out);
			nonce[11] ^= 1;
			refuses = refuses &&
			          !aead_open(a[i], nonce, aad, aadn, c[i], n, tag[i], taglen, out);
			nonce[11] ^= 1;
		}
	}
	ok(same, "all implementations give the same octets");
	ok(opens, "all open what any has sealed, tags of 8 to 16 octets");
	ok(refuses, "none opens a changed tag, text, nonce or length of associated data");
	ok(zeroed, "what did not open is zeroed");
	ok(!aead_open(a[0], nonce, NULL, 0, c[0], 0, tag[0], 0, out), "a tag of no octets opens nothing");
	for (int i = 0; i < AEAD_IMPLS; i++)
		if (a[i])
			aead_free(a[i]);
	key_free(k);
}

static void test_sip(void)
{
	static const struct {
		size_t n;
		const char *hex;
	} c[] = {
		{ 0, "a3817f04ba25a8e66df67214c7550293" },  { 1, "da87c1d86b99af44347659119b22fc45" },
		{ 2, "8177228da4a45dc7fca38bdef60affe4" },  { 3, "9c70b60c5267a94e5f33b6b02985ed51" },
		{ 7, "a1f1ebbed8dbc153c0b84aa61ff08239" },  { 8, "3b62a9ba6258f5610f83e264f31497b4" },
		{ 15, "5493e99933b0a8117e08ec0f97cfc3d9" }, { 24, "2db479ae78bd50d8882a8a178a6132ad" },
		{ 63, "5150d1772f50834a503e069a973fbd7c" },
	};
	struct key *k = key_hex("000102030405060708090a0b0c0d0e0f");
	struct sip s;
	uint8_t in[64], out[16];
	uint64_t got[2];

	sip_key(k, &s);
	key_free(k);
	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof c / sizeof c[0]; i++) {
		sip128(&s, in, c[i].n, got);
		for (size_t j = 0; j < 16; j++)
			out[j] = (uint8_t)(got[j / 8] >> (8 * (j % 8)));
		ok(is_hex(out, c[i].hex), "SipHash-2-4-128 of %zu octets (reference vectors)", c[i].n);
	}
}

/* The reference implementation's vectors: key 00..0f, input 00, 01, ... */
static void test_sip64(void)
{
	static const struct { size_t n; uint64_t want; } c[] = {
		{ 0, 0x726fdb47dd0e0e31 }, { 1, 0x74f839c593dc67fd }, { 7, 0xab0200f58b01d137 },
		{ 8, 0x93f5f5799a932462 }, { 15, 0xa129ca6149be45e5 }, { 63, 0x958a324ceb064572 },
	};
	struct sip s = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	uint8_t in[64];
	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof c / sizeof *c; i++)
		ok(sip64(&s, in, c[i].n) == c[i].want, "SipHash-2-4 of %zu octets (reference vectors)", c[i].n);
}

static void test_sip_read(void)
{
#define K "000102030405060708090a0b0c0d0e0f"
#define L "ffffffffffffffffffffffffffffffff"
	static const struct { const char *text; int want; } c[] = {
		{ K "\n", 1 }, { K, 1 }, { " " K "\n" L "\n", 2 }, { K " " L, 2 }, { "", -1 }, { "\n", -1 }, { K L, -1 },
		{ K "\n" L "\n" L "\n", -1 }, { K "0\n", -1 }, { "x" K, -1 }, { K "\nx", -1 },
		{ "000102030405060708090a0b0c0d0e0", -1 }, { "000102030405060708090a0b0c0d0e0g", -1 },
	};
	for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
		struct sip s[2] = { { 0, 0 }, { 0, 0 } };
		int p[2];
		if (pipe(p) != 0 || write(p[1], c[i].text, strlen(c[i].text)) != (ssize_t)strlen(c[i].text))
			abort();
		close(p[1]);
		int n = sip_read(p[0], s, 2);
		close(p[0]);
		ok(n == c[i].want && (n < 1 || (s[0].k0 == 0x0706050403020100 && s[0].k1 == 0x0f0e0d0c0b0a0908)) &&
		   (n < 2 || s[1].k0 == UINT64_MAX) && (n > 0 || s[0].k0 == 0), "cookie secret, text %zu", i);
	}
#undef K
#undef L
}

/* ---- signatures ---- */

static void test_sign(void)
{
	uint8_t x[32], pub[SIGN_PUB], sig[SIGN_SIG], other[SIGN_PUB];
	struct signer *s;

	unhex("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721", x);
	s = signer_from_scalar(x);
	signer_pub(s, pub);
	ok(is_hex(pub, "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
	               "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299"),
	   "P-256 public point (RFC 6979 A.2.5)");
	ok(signer_sign(s, "sample", 6, sig) == 0 &&
	           is_hex(sig, "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
	                       "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"),
	   "ECDSA P-256 with SHA-256 of sample (RFC 6979 A.2.5)");
	ok(sign_verify(pub, "sample", 6, sig), "it verifies");
	ok(!sign_verify(pub, "sampl3", 6, sig), "another message does not");
	sig[40] ^= 1;
	ok(!sign_verify(pub, "sample", 6, sig), "another signature does not");
	sig[40] ^= 1;
	memcpy(other, pub, sizeof other);
	other[10] ^= 1;
	ok(sign_verify(pub, "sample", 6, sig) && !sign_verify(other, "sample", 6, sig),
	   "a point off the curve does not");
	memset(sig, 0, sizeof sig);
	ok(!sign_verify(pub, "sample", 6, sig), "r = s = 0 does not");
	signer_free(s);
	memset(x, 0, 32);
	ok(!signer_from_scalar(x) && errno == EINVAL, "0 is no private key");
	unhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", x);
	ok(!signer_from_scalar(x) && errno == EINVAL, "the group's order is no private key");
	x[31]--;
	s = signer_from_scalar(x);
	ok(s != NULL, "one less is");
	signer_free(s);

	struct key *seed = key_random();
	struct signer *a = signer_from(seed), *b = signer_from(seed), *c = signer_new();
	ok(memcmp(a->pub, b->pub, SIGN_PUB) == 0 && memcmp(a->pub, c->pub, SIGN_PUB) != 0,
	   "the same seed gives the same pair");
	ok(signer_sign(c, "x", 1, sig) == 0 && sign_verify(c->pub, "x", 1, sig) &&
	           !sign_verify(a->pub, "x", 1, sig),
	   "a fresh pair signs for itself alone");
	signer_free(a);
	signer_free(b);
	signer_free(c);
	key_free(seed);
}

/* ---- a CA in a directory of its own ---- */

static char base[64];

static const char *path_of(const char *name)
{
	static char p[2][160]; /* good until the next but one call */
	static unsigned i;

	char *to = p[i++ % 2];
	snprintf(to, sizeof p[0], "%s/%s", base, name);
	return to;
}

static size_t slurp(const char *name, uint8_t *out, size_t n)
{
	int fd = open(path_of(name), O_RDONLY);
	ssize_t got = fd < 0 ? -1 : read(fd, out, n);

	if (fd >= 0)
		close(fd);
	return got < 0 ? 0 : (size_t)got;
}

static struct cred *cred_of(const char *name)
{
	char err[200] = "";
	int fd = open(path_of(name), O_RDONLY);
	struct cred *c = cred_read(fd, err, sizeof err);

	if (fd >= 0)
		close(fd);
	if (!c)
		printf("# %s: %s\n", name, err);
	return c;
}

static unsigned mode_of(const char *name)
{
	struct stat st;

	return stat(path_of(name), &st) == 0 ? st.st_mode & 07777 : 0;
}

static int issue(const char *dir, enum cert_role role, const char *name, const char *out, char err[static 300])
{
	return ca_issue(dir, NULL, &(struct ca_order){ .role = role, .name = name, .outfile = out }, err, 300);
}

static void test_ca(void)
{
	char err[300] = "";
	uint8_t before[300], after[300];
	char dir[160];

	snprintf(dir, sizeof dir, "%s", path_of("ca"));
	ok(ca_init(dir, NULL, NULL, err, sizeof err) == 0, "ca_init %s", err);
	ok(mode_of("ca") == 0700 && mode_of("ca/root.key") == 0600 && mode_of("ca/hub.key") == 0600 &&
	           mode_of("ca/node.pem") && mode_of("ca/operator.pem"),
	   "its files and their modes");
	size_t n = slurp("ca/root.key", before, sizeof before);
	ok(ca_init(dir, NULL, NULL, err, sizeof err) == -1 && slurp("ca/root.key", after, sizeof after) == n &&
	           memcmp(before, after, n) == 0,
	   "a second ca_init changes nothing: %s", err);
	err[0] = 0;
	ok(ca_init(path_of("other"), NULL, NULL, err, sizeof err) == 0, "another CA %s", err);
	ok(issue(dir, ROLE_HUB, "hub1", NULL, err) == 0 &&
	           issue(dir, ROLE_NODE, "fra1.example", NULL, err) == 0 &&
	           issue(dir, ROLE_OPERATOR, "alice", path_of("alice.pem"), err) == 0 &&
	           issue(path_of("other"), ROLE_HUB, "hub1", NULL, err) == 0,
	   "ca_issue for each role %s", err);
	ok(mode_of("ca/issued/hub-hub1.pem") == 0600 && mode_of("alice.pem") == 0600,
	   "credentials have mode 0600");
	static const char *const bad[] = { "", "a b", "../x", "a/b", "a\n", "caf\xc3\xa9",
		                           ("0123456789012345678901234567890123456789"
		                            "012345678901234567890123") };
	bool all = true;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		all = all && issue(dir, ROLE_NODE, bad[i], NULL, err) == -1;
	ok(all, "names that are none are refused");
	ok(issue(path_of("none"), ROLE_NODE, "x", NULL, err) == -1, "no CA: %s", err);
	uint8_t reg[2000];
	n = slurp("ca/register", reg, sizeof reg - 1);
	reg[n] = 0;
	ok(strstr((char *)reg, " hub hub1 ") && strstr((char *)reg, " node fra1.example ") &&
	           strstr((char *)reg, " operator alice "),
	   "the register has them");
}

/* A certificate for a key of the machine's own; a CA from before there were any. */
static void test_ca_machine(void)
{
	static struct ca_chain chain;
	struct cert c[3];
	struct signer *key = signer_new();
	const struct ca_order m1 = { .role = ROLE_MACHINE, .name = "m1", .days = 30 };
	char err[300] = "", dir[160];
	uint8_t pub[SIGN_PUB];
	const char *why;
	unsigned added = 9;
	bool good = true;

	snprintf(dir, sizeof dir, "%s", path_of("ca"));
	signer_pub(key, pub);
	unlink(path_of("ca/machine.key"));
	ok(ca_init(dir, NULL, &added, err, sizeof err) == -1 && added == 0, "half an issuing CA is not mended: %s", err);
	unlink(path_of("ca/machine.pem"));
	ok(ca_certify(dir, NULL, &m1, pub, &chain, err, sizeof err) == -1 && strstr(err, "ca init"),
	   "a CA of an earlier version: %s", err);
	ok(ca_init(dir, NULL, &added, err, sizeof err) == 0 && added == 1, "ca_init adds what it lacks %s", err);
	ok(ca_certify(dir, NULL, &m1, pub, &chain, err, sizeof err) == 0, "ca_certify %s", err);
	for (int k = CERT_LEAF; k <= CERT_ROOT; k++)
		good = good && cert_parse(chain.der[k], chain.len[k], &c[k], &why) == 0;
	ok(good && memcmp(c[0].pub, pub, SIGN_PUB) == 0 && strcmp(c[0].name, "m1") == 0 &&
	           !cert_judge(&c[0], &c[1], &c[2], ROLE_MACHINE, cert_now()),
	   "its certificate is for the key that was given");
	ok(cert_judge(&c[0], &c[1], &c[2], ROLE_NODE, cert_now()) != NULL, "and opens no tunnel");
	ok(issue(dir, ROLE_MACHINE, "m1", NULL, err) == -1, "no key is made for a machine: %s", err);
	signer_free(key);
}

static void test_ca_main(void)
{
	char dir[160], out[200];
	snprintf(dir, sizeof dir, "%s", path_of("cli"));
	snprintf(out, sizeof out, "--out=%s", path_of("cli.pem"));
	char ca[] = "ca", init[] = "init", issue[] = "issue", node[] = "node", x[] = "x",
	     d[] = "--dir", days[] = "--days", ten[] = "10", none[] = "0", help[] = "--help", plain[] = "--no-passphrase";
	char *a_init[] = { ca, init, d, dir, plain, NULL };
	char *a_issue[] = { ca, issue, node, x, d, dir, days, ten, out, NULL };
	char *a_bad[] = { ca, issue, node, x, d, dir, days, none, NULL };
	char *a_usage[] = { ca, issue, x, x, d, dir, NULL };
	char *a_nodir[] = { ca, init, NULL };
	char *a_help[] = { ca, help, NULL };
	int quiet = open("/dev/null", O_WRONLY), out1 = dup(1), out2 = dup(2);

	fflush(stdout);
	dup2(quiet, 1);
	dup2(quiet, 2);
	int rc[7] = { ca_main(5, a_init), ca_main(5, a_init), ca_main(9, a_issue), ca_main(8, a_bad),
		      ca_main(6, a_usage), ca_main(2, a_nodir), ca_main(2, a_help) };
	fflush(stdout);
	dup2(out1, 1);
	dup2(out2, 2);
	close(quiet), close(out1), close(out2);
	ok(rc[0] == 0 && rc[1] == 1 && rc[2] == 0 && rc[3] == 2 && rc[4] == 2 && rc[5] == 2 &&
	           rc[6] == 0,
	   "encdns-hub ca: exit statuses");
	struct cred *c = cred_of("cli.pem");
	ok(c && c->cert[CERT_LEAF].until - cert_now() <= 10 * 86400, "--days is kept");
	cred_free(c);
}

/* ---- certificates ---- */

/* BearSSL's own validator must take what ours does. */
static unsigned second_opinion(const struct cred *c)
{
	br_x509_minimal_context m;
	uint8_t dn[256], q[SIGN_PUB], der[2][CERT_MAX];
	size_t n = rd_left(&c->cert[CERT_ROOT].subject);

	memcpy(dn, c->cert[CERT_ROOT].subject.p, n);
	memcpy(q, c->cert[CERT_ROOT].pub, sizeof q);
	br_x509_trust_anchor ta = { { dn, n }, BR_X509_TA_CA, { BR_KEYTYPE_EC, { .ec = { BR_EC_secp256r1, q, sizeof q } } } };
	br_x509_minimal_init(&m, &br_sha256_vtable, &ta, 1);
	br_x509_minimal_set_hash(&m, br_sha256_ID, &br_sha256_vtable);
	br_x509_minimal_set_ecdsa(&m, crypto_ec(), br_ecdsa_i31_vrfy_asn1);
	int64_t now = cert_now();
	br_x509_minimal_set_time(&m, (uint32_t)(now / 86400) + 719528, (uint32_t)(now % 86400));
	m.vtable->start_chain(&m.vtable, NULL);
	for (int i = 0; i < 2; i++) {
		memcpy(der[i], c->der[i], c->der_len[i]);
		m.vtable->start_cert(&m.vtable, (uint32_t)c->der_len[i]);
		m.vtable->append(&m.vtable, der[i], c->der_len[i]);
		m.vtable->end_cert(&m.vtable);
	}
	return m.vtable->end_chain(&m.vtable);
}

static void test_cred(void)
{
	struct cred *c = cred_of("ca/issued/node-fra1.example.pem");
	char err[200] = "";

	ok(c && strcmp(cred_name(c), "fra1.example") == 0 && cred_role(c) == ROLE_NODE,
	   "cred_read: name and role");
	ok(second_opinion(c) == 0, "BearSSL's own validator accepts the chain");
	cred_free(c);

	uint8_t text[6000];
	size_t n = slurp("ca/issued/node-fra1.example.pem", text, sizeof text);
	bool all = true, words = true;
	for (size_t cut = 0; cut + 1 < n; cut++) {
		int fd = pipe_with(text, cut);

		err[0] = 0;
		c = cred_read(fd, err, sizeof err);
		close(fd);
		all = all && !c;
		words = words && err[0];
		cred_free(c);
	}
	ok(all && words, "cred_read: every truncation is refused in words (last: %s)", err);
	/* The key of another party beside our certificates */
	uint8_t mixed[6000];
	size_t m = slurp("ca/issued/hub-hub1.pem", mixed, sizeof mixed);
	uint8_t *k1 = memmem(text, n, "-----BEGIN EC", 13), *k2 = memmem(mixed, m, "-----BEGIN EC", 13);
	size_t keylen = (size_t)(mixed + m - k2);
	memcpy(k1, k2, keylen);
	int fd = pipe_with(text, (size_t)(k1 - text) + keylen);
	c = cred_read(fd, err, sizeof err);
	close(fd);
	ok(!c, "cred_read: the wrong key: %s", err);
	cred_free(c);
	/* openssl's form: any order, PKCS#8 */
	n = slurp("ca/issued/hub-hub1.pem", text, sizeof text);
	k1 = memmem(text, n, "-----BEGIN EC", 13);
	size_t certs = (size_t)(k1 - text);
	memmove(mixed, k1, n - certs);
	memcpy(mixed + n - certs, text, certs);
	fd = pipe_with(mixed, n);
	c = cred_read(fd, err, sizeof err);
	close(fd);
	ok(c != NULL, "cred_read: the key first");
	cred_free(c);
}

static void test_pkcs8(void)
{
	/* openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256, of the
	 * key of RFC 6979 A.2.5 */
	uint8_t der[200], x[32];
	size_t n = unhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"
	                 "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"
	                 "a14403420004"
	                 "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
	                 "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
	                 der);
	bool all = true;

	ok(pem_scalar("PRIVATE KEY", der, n, x) == 0 && is_hex(x, "c9afa9d845ba7516"), "a PKCS#8 key");
	for (size_t i = 0; i < n; i++)
		all = all && pem_scalar("PRIVATE KEY", der, i, x) != 0;
	ok(all, "every truncation of it is refused");
	der[25] ^= 1; /* another curve */
	ok(pem_scalar("PRIVATE KEY", der, n, x) != 0, "another curve is refused");
}

static void test_cert_damage(void)
{
	struct cred *c = cred_of("ca/issued/node-fra1.example.pem");
	uint8_t der[CERT_MAX];
	struct cert got;
	const char *why;
	bool cut = true, same = true;

	for (int k = 0; k < 3; k++)
		for (size_t n = 0; n < c->der_len[k]; n++) {
			struct cert had = { .role = ROLE_HUB, .from = 7 };

			got = had;
			/* a copy of its own, so that the sanitizer sees each overrun */
			uint8_t *exact = malloc(n ? n : 1);
			memcpy(exact, c->der[k], n);
			cut = cut && cert_parse(exact, n, &got, &why) == -1;
			same = same && got.role == ROLE_HUB && got.from == 7;
			free(exact);
		}
	ok(cut && same, "every truncation of every certificate is refused, nothing is written");
	unsigned good = 0;
	for (size_t i = 0; i < c->der_len[CERT_LEAF]; i++) {
		memcpy(der, c->der[CERT_LEAF], sizeof der);
		der[i] ^= (uint8_t)(1 << i % 8);
		if (cert_parse(der, c->der_len[CERT_LEAF], &got, &why) == 0 &&
		    !cert_judge(&got, &c->cert[1], &c->cert[2], ROLE_NODE, cert_now()))
			good++;
	}
	ok(good == 0, "no changed octet of a certificate passes");
	memcpy(der, c->der[CERT_LEAF], sizeof der);
	ok(cert_parse(der, c->der_len[CERT_LEAF] + 1, &got, &why) == -1, "nor one octet more");
	const struct cert *leaf = &c->cert[0], *ca = &c->cert[1], *root = &c->cert[2];
	ok(!cert_judge(leaf, ca, root, ROLE_NODE, leaf->until), "good on its last second");
	why = cert_judge(leaf, ca, root, ROLE_NODE, leaf->until + 1);
	ok(why != NULL, "not a second later: %s", why);
	ok(!cert_judge(leaf, ca, root, ROLE_NODE, 0), "a clock that is far behind locks nobody out");
	ok(cert_judge(leaf, ca, root, ROLE_HUB, cert_now()) != NULL &&
	           cert_judge(leaf, ca, root, ROLE_OPERATOR, cert_now()) != NULL,
	   "good for its role only");
	cred_free(c);
}

/* Certificates that a CA of ours would sign only if it were misused. */
/* A clock without a battery, one that is decades ahead, and one that can be right. */
static void test_cert_clock(void)
{
	const int64_t built = 1790000000, year = 365 * 86400;
	ok(cert_clock(315532800, built) == built, "1980 is not before the build");
	ok(cert_clock(4070908800, built) == built, "2099 is no clock to go by");
	ok(cert_clock(built + 3 * year, built) == built + 3 * year, "three years later may be true");
	ok(cert_clock(built - 1, built + 5) == built + 5, "what is known not to lie ahead counts");
}

static void test_cert_misuse(void)
{
	struct signer *rs = signer_new(), *is = signer_new(), *ls = signer_new();
	uint8_t root[CERT_MAX], ca[CERT_MAX], leaf[CERT_MAX], sub[CERT_MAX];
	struct cert cr, cc, cl, cs;
	const char *why;
	int64_t now = cert_now();
	struct issue i = { CERT_ROOT, 0, "0011223344556677", now - 10, 2600000000, { 0 } };

	issue_serial(i.serial);
	bool made = cert_parse(root, issue_cert(root, &i, rs->pub, rs, NULL), &cr, &why) == 0;
	i.kind = CERT_ISSUING, i.role = ROLE_NODE;
	made = made && cert_parse(ca, issue_cert(ca, &i, is->pub, rs, &cr), &cc, &why) == 0;
	i.kind = CERT_LEAF, i.name = "n1";
	made = made && cert_parse(leaf, issue_cert(leaf, &i, ls->pub, is, &cc), &cl, &why) == 0;
	ok(made && !cert_judge(&cl, &cc, &cr, ROLE_NODE, now), "years to 2052 (GeneralizedTime)");
	ok(cl.until == 2600000000 && cl.from == now - 10, "times are read as they were written");
	i.role = ROLE_HUB; /* the node CA certifies a hub */
	cert_parse(leaf, issue_cert(leaf, &i, ls->pub, is, &cc), &cl, &why);
	why = cert_judge(&cl, &cc, &cr, ROLE_HUB, now);
	ok(why != NULL, "a hub by the nodes' CA: %s", why);
	i.role = ROLE_NODE; /* a party acts as a CA */
	cert_parse(leaf, issue_cert(leaf, &i, ls->pub, is, &cc), &cl, &why);
	cert_parse(sub, issue_cert(sub, &i, is->pub, ls, &cl), &cs, &why);
	why = cert_judge(&cs, &cl, &cr, ROLE_NODE, now);
	ok(why != NULL, "a certificate by a party: %s", why);
	cert_parse(sub, issue_cert(sub, &i, ls->pub, rs, &cr), &cs, &why);
	ok(cert_judge(&cs, &cr, &cr, ROLE_NODE, now) != NULL, "a certificate by the root itself");
	signer_free(rs);
	signer_free(is);
	signer_free(ls);
}

/* ---- TLS in memory ---- */

static size_t say(struct tls *t, const void *p, size_t n)
{
	size_t room;
	uint8_t *b = tls_app_in(t, &room);

	if (!b)
		return 0;
	if (n > room)
		n = room;
	memcpy(b, p, n);
	tls_app_in_done(t, n);
	return n;
}

static size_t hear(struct tls *t, uint8_t *p, size_t n)
{
	size_t have;
	const uint8_t *b = tls_app_out(t, &have);

	if (!b)
		return 0;
	if (n > have)
		n = have;
	memcpy(p, b, n);
	tls_app_out_done(t, n);
	return n;
}

static void test_tls_good(const struct cred *hub, const struct cred *node)
{
	struct tls *s = tls_server(hub, ROLE_NODE), *c = tls_client(node, ROLE_HUB);
	uint8_t b[100];
	size_t n;

	ok(!tls_ready(s) && !tls_ready(c) && !tls_peer_name(s) && !tls_app_in(c, &n) && n == 0,
	   "before the handshake nothing is ready");
	pump(c, s, 0, SIZE_MAX);
	ok(tls_ready(s) && tls_ready(c) && !tls_error(s) && !tls_error(c), "the handshake goes through");
	ok(strcmp(tls_peer_name(s), "fra1.example") == 0 && strcmp(tls_peer_name(c), "hub1") == 0,
	   "both know the other's name");
	n = say(c, "question", 8);
	pump(c, s, 0, SIZE_MAX);
	ok(n == 8 && hear(s, b, sizeof b) == 0, "nothing leaves before the flush");
	tls_flush(c);
	pump(c, s, 0, SIZE_MAX);
	ok(hear(s, b, sizeof b) == 8 && memcmp(b, "question", 8) == 0, "octets arrive at the server");
	say(s, "answer", 6);
	tls_flush(s);
	pump(c, s, 1, SIZE_MAX);
	ok(hear(c, b, sizeof b) == 6 && memcmp(b, "answer", 6) == 0, "octets arrive at the client");

	static uint8_t big[300000], got[300000];
	size_t sent = 0, had = 0;
	crypto_random(big, sizeof big);
	while (had < sizeof big && !tls_closed(s)) {
		sent += say(c, big + sent, sizeof big - sent);
		tls_flush(c);
		pump(c, s, 0, SIZE_MAX);
		had += hear(s, got + had, sizeof got - had);
	}
	ok(had == sizeof big && memcmp(big, got, had) == 0, "300,000 octets arrive whole");
	tls_close(c);
	pump(c, s, 0, SIZE_MAX);
	ok(tls_closed(c) && tls_closed(s) && !tls_error(c) && !tls_error(s), "a close is no error");
	tls_free(c);
	tls_free(s);
}

static void refused(const struct cred *client, enum cert_role want_server,
                    const struct cred *server, enum cert_role want_client, const char *what)
{
	struct tls *c = tls_client(client, want_server), *s = tls_server(server, want_client);

	pump(c, s, 0, SIZE_MAX);
	const char *why = tls_error(s) ? tls_error(s) : tls_error(c);
	ok(!(tls_ready(c) && tls_ready(s)) && (tls_closed(c) || tls_closed(s)) && why, "%s: %s", what,
	   why ? why : "accepted");
	ok(!(tls_error(s) && tls_ready(s)) && !(tls_error(c) && tls_ready(c)),
	   "who refused is not ready");
	tls_free(c);
	tls_free(s);
}

/* A client that is not ours: BearSSL's defaults, without a certificate. */
static void test_tls_bare(const struct cred *hub)
{
	static br_ssl_client_context cc;
	static br_x509_knownkey_context known;
	static uint8_t io[BR_SSL_BUFSIZE_BIDI];
	br_x509_minimal_context unused;
	uint8_t q[SIGN_PUB];
	br_ec_public_key pk = { BR_EC_secp256r1, q, sizeof q };
	struct tls *s = tls_server(hub, ROLE_NODE);

	memcpy(q, hub->cert[CERT_LEAF].pub, sizeof q);
	br_ssl_client_init_full(&cc, &unused, NULL, 0);
	br_x509_knownkey_init_ec(&known, &pk, BR_KEYTYPE_SIGN | BR_KEYTYPE_KEYX);
	br_ssl_engine_set_x509(&cc.eng, &known.vtable);
	br_ssl_engine_set_buffer(&cc.eng, io, sizeof io, 1);
	br_ssl_client_reset(&cc, NULL, 0);
	for (bool moved = true; moved;) {
		size_t have, room;
		const uint8_t *p;
		uint8_t *to;

		moved = false;
		p = br_ssl_engine_sendrec_buf(&cc.eng, &have);
		to = tls_wire_in(s, &room);
		if (p && to) {
			size_t n = have < room ? have : room;
			memcpy(to, p, n);
			br_ssl_engine_sendrec_ack(&cc.eng, n);
			tls_wire_in_done(s, n);
			moved = true;
		}
		p = tls_wire_out(s, &have);
		to = br_ssl_engine_recvrec_buf(&cc.eng, &room);
		if (p && to) {
			size_t n = have < room ? have : room;
			memcpy(to, p, n);
			tls_wire_out_done(s, n);
			br_ssl_engine_recvrec_ack(&cc.eng, n);
			moved = true;
		}
	}
	ok(!tls_ready(s) && tls_closed(s), "a client without a certificate: %s", tls_error(s));
	tls_free(s);
}

static void test_tls_tamper(const struct cred *hub, const struct cred *node)
{
	bool held = true, said = true;
	unsigned runs = 0;
	struct tls *s = tls_server(hub, ROLE_NODE), *c = tls_client(node, ROLE_HUB);
	size_t total = pump(c, s, 0, SIZE_MAX);

	tls_free(c);
	tls_free(s);
	for (size_t at = 0; at < total; at += 41, runs++) {
		s = tls_server(hub, ROLE_NODE);
		c = tls_client(node, ROLE_HUB);
		pump(c, s, 0, at);
		if (tls_ready(c) && tls_ready(s))
			held = false;
		if (!tls_ready(c) && !tls_ready(s) && (tls_closed(c) || tls_closed(s)))
			said = said && (tls_error(c) || tls_error(s));
		tls_free(c);
		tls_free(s);
	}
	ok(held, "no handshake survives a changed octet (%u of %zu)", runs, total);
	ok(said, "and the one who noticed says so");
	s = tls_server(hub, ROLE_NODE);
	c = tls_client(node, ROLE_HUB);
	pump(c, s, 1, SIZE_MAX);
	ok(tls_ready(c) && tls_ready(s), "a handshake octet by octet");
	uint8_t b[16];
	say(c, "secret", 6);
	tls_flush(c);
	pump(c, s, 0, 20);
	ok(hear(s, b, sizeof b) == 0 && tls_closed(s) && tls_error(s), "a changed record: %s",
	   tls_error(s));
	tls_free(c);
	tls_free(s);
	s = tls_server(hub, ROLE_NODE);
	size_t room;
	uint8_t *q = tls_wire_in(s, &room);
	memcpy(q, "GET / HTTP/1.0\r\n\r\n", room < 18 ? room : 18);
	tls_wire_in_done(s, room < 18 ? room : 18);
	ok(tls_closed(s) && tls_error(s), "plain HTTP: %s", tls_error(s));
	tls_free(s);
}

static void test_tls(void)
{
	struct cred *hub = cred_of("ca/issued/hub-hub1.pem");
	struct cred *node = cred_of("ca/issued/node-fra1.example.pem");
	struct cred *alice = cred_of("alice.pem"), *foreign = cred_of("other/issued/hub-hub1.pem");

	ok(hub && node && alice && foreign, "credentials for the sessions");
	if (!hub || !node || !alice || !foreign)
		return;
	test_tls_good(hub, node);
	refused(node, ROLE_HUB, node, ROLE_NODE, "a node as the hub");
	refused(alice, ROLE_HUB, hub, ROLE_NODE, "an operator as a node");
	refused(hub, ROLE_HUB, hub, ROLE_NODE, "a hub as a node");
	refused(node, ROLE_NODE, node, ROLE_OPERATOR, "a node as an operator");
	refused(node, ROLE_HUB, foreign, ROLE_NODE, "a hub of another root");
	refused(foreign, ROLE_HUB, hub, ROLE_HUB, "a client of another root");
	test_tls_bare(hub);
	test_tls_tamper(hub, node);
	cred_free(hub);
	cred_free(node);
	cred_free(alice);
	cred_free(foreign);
}

static void clean(void)
{
	char cmd[128];

	snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
	if (system(cmd) != 0)
		printf("# %s stays\n", base);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(base, sizeof base, "%.40s/encdns.XXXXXX", tmp ? tmp : "/tmp");
	if (crypto_init() != 0 || !mkdtemp(base))
		return 1;
	ok(true, "crypto_init; AES by the processor: %s", crypto_fast_aes() ? "yes" : "no");
	test_hashes();
	test_sha_agree();
	test_mac();
	test_derive();
	test_key_read();
	test_key_send();
	test_pool();
	for (int i = 0; i < AEAD_IMPLS; i++)
		test_gcm_vectors((enum aead_impl)i);
	test_gcm_agree();
	test_sip();
	test_sip64();
	test_sip_read();
	test_sign();
	test_ca();
	test_ca_machine();
	test_ca_main();
	test_cred();
	test_pkcs8();
	test_cert_damage();
	test_cert_misuse();
	test_cert_clock();
	test_tls();
	clean();
	printf("1..%u\n", tests);
	return failed ? 1 : 0;
}
