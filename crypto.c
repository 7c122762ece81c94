/* crypto.c - random octets, hashes, keys and signatures.
 *
 * The door of the module; the rooms are crypto/pool.c (the pages that hold
 * secrets), crypto/aead.c and crypto/aead_x86.c (AES-256-GCM),
 * crypto/sha_x86.c (SHA-256 and SHA-1 by the processor), crypto/cert.c and
 * crypto/pem.c (reading certificates), crypto/pass.c and crypto/pbes.c
 * (passphrases, and keys under them), crypto/cred.c (chain and key of one
 * party), crypto/tls.c (the profile), crypto/issue.c (writing certificates:
 * the operator's CA, and a machine for itself), crypto/identity.c (a machine's
 * key on port 22), crypto/gate.c (what is said there), crypto/bundle.c (what a
 * machine needs to run, sealed).
 *
 * Threat: whoever gets the disk, a core dump, the swap partition or a child
 * process.  So a secret lies in the pool or, while a function works on it, on
 * that function's stack, which it wipes on every way out. */
#include "crypto/internal.h"

#include "base/io.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static const br_hash_class *sha256_class = &br_sha256_vtable, *sha1_class = &br_sha1_vtable;

const br_hash_class *crypto_sha256(void)
{
	return sha256_class;
}

int crypto_init(void)
{
	if (sha256_x86_class())
		sha256_class = sha256_x86_class();
	if (sha1_x86_class())
		sha1_class = sha1_x86_class();
	return pool_init();
}

void crypto_random(void *out, size_t n)
{
	uint8_t *p = out;

	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort(); /* nothing here is safe without random octets */
		p += got;
		n -= (size_t)got;
	}
}

void crypto_wipe(void *p, size_t n)
{
	if (n > 0)
		memset(p, 0, n);
	__asm__ volatile("" : : "r"(p) : "memory");
}

__attribute__((noinline)) void crypto_burn_stack(void)
{
	uint8_t b[4096];

	crypto_wipe(b, sizeof b);
}

bool crypto_equal(const void *a, const void *b, size_t n)
{
	const volatile uint8_t *x = a, *y = b;
	unsigned diff = 0;

	for (size_t i = 0; i < n; i++)
		diff |= (unsigned)(x[i] ^ y[i]);
	return diff == 0;
}

bool crypto_fast_aes(void)
{
	return br_aes_x86ni_ctr_get_vtable() && br_ghash_pclmul_get();
}

/* ---- hashes ---- */

_Static_assert(sizeof(br_hash_compat_context) <= sizeof(struct sha), "struct sha is too small");

void sha256_init(struct sha *s) { sha256_class->init((void *)s); }
void sha384_init(struct sha *s) { br_sha384_init((void *)s); }
void sha512_init(struct sha *s) { br_sha512_init((void *)s); }
void sha1_init(struct sha *s) { sha1_class->init((void *)s); }

/* Every context of BearSSL begins with the pointer to its functions. */
static const br_hash_class *sha_class(const struct sha *s)
{
	const br_hash_class *c;

	memcpy(&c, s, sizeof c);
	return c;
}

void sha_update(struct sha *s, const void *p, size_t n)
{
	if (n > 0)
		sha_class(s)->update((void *)s, p, n);
}

void sha_out(const struct sha *s, void *out)
{
	sha_class(s)->out((const void *)s, out);
}

void sha256(const void *p, size_t n, uint8_t out[static 32])
{
	br_sha256_context c;

	sha256_class->init(&c.vtable);
	if (n > 0)
		c.vtable->update(&c.vtable, p, n);
	c.vtable->out(&c.vtable, out);
}

/* ---- keys ---- */

struct key *key_random(void)
{
	struct key *k = pool_alloc(sizeof *k);

	if (k)
		crypto_random(k->b, sizeof k->b);
	return k;
}

struct key *key_from(const uint8_t octets[static 32])
{
	struct key *k = pool_alloc(sizeof *k);

	if (k)
		memcpy(k->b, octets, sizeof k->b);
	return k;
}

void key_free(struct key *k)
{
	pool_free(k, sizeof *k);
}

/* 0..15, or -1; no table, so no address depends on the digit. */
static int hex_digit(unsigned c)
{
	if (c - '0' <= 9)
		return (int)(c - '0');
	c |= 0x20;
	return c - 'a' <= 5 ? (int)(c - 'a') + 10 : -1;
}

static bool is_space(uint8_t c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool hex_key(const uint8_t *p, size_t n, uint8_t out[static 32])
{
	while (n > 0 && is_space(p[n - 1]))
		n--;
	while (n > 0 && is_space(*p))
		p++, n--;
	if (n != 64)
		return false;
	for (size_t i = 0; i < 32; i++) {
		int hi = hex_digit(p[2 * i]), lo = hex_digit(p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

ssize_t crypto_read_all(int fd, uint8_t *p, size_t n)
{
	size_t have = 0;

	for (;;) {
		uint8_t extra;
		ssize_t got = have < n ? read(fd, p + have, n - have) : read(fd, &extra, 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			return (ssize_t)have;
		if (have == n)
			return errno = EINVAL, -1;
		have += (size_t)got;
	}
}

struct key *key_read(int fd)
{
	enum { MAX = 256 };
	uint8_t *text = pool_alloc(MAX);
	struct key *k = pool_alloc(sizeof *k);
	ssize_t n = text && k ? crypto_read_all(fd, text, MAX) : -1;
	bool ok = n >= 0;

	if (n == 32)
		memcpy(k->b, text, 32);
	else if (n >= 0 && !hex_key(text, (size_t)n, k->b)) {
		errno = EINVAL;
		ok = false;
	}
	int e = errno;
	pool_free(text, MAX);
	if (!ok) {
		key_free(k);
		k = NULL;
	}
	errno = e;
	return k;
}

struct key *key_from_passphrase(const char *pass, size_t n, const uint8_t *salt, size_t saltn,
                                unsigned iterations)
{
	static const uint8_t one[4] = { 0, 0, 0, 1 };
	br_hmac_key_context kc;
	br_hmac_context h;
	uint8_t u[32];
	struct key *k = pool_alloc(sizeof *k);

	if (!k)
		return NULL;
	br_hmac_key_init(&kc, sha256_class, pass, n);
	br_hmac_init(&h, &kc, 0);
	br_hmac_update(&h, salt, saltn);
	br_hmac_update(&h, one, sizeof one); /* the key is one block long */
	br_hmac_out(&h, u);
	memcpy(k->b, u, 32);
	for (unsigned i = 1; i < iterations; i++) {
		br_hmac_init(&h, &kc, 0);
		br_hmac_update(&h, u, 32);
		br_hmac_out(&h, u);
		for (size_t j = 0; j < 32; j++)
			k->b[j] ^= u[j];
	}
	crypto_wipe(&kc, sizeof kc);
	crypto_wipe(&h, sizeof h);
	crypto_wipe(u, sizeof u);
	crypto_burn_stack();
	return k;
}

struct key *key_derive(const struct key *from, const char *label, const void *salt, size_t n)
{
	return key_expand(from, label, strlen(label), salt, n);
}

struct key *key_expand(const struct key *from, const void *info, size_t ninfo, const void *salt,
                       size_t n)
{
	br_hkdf_context h;
	struct key *k = pool_alloc(sizeof *k);

	if (!k)
		return NULL;
	br_hkdf_init(&h, sha256_class, salt, n);
	br_hkdf_inject(&h, from->b, sizeof from->b);
	br_hkdf_flip(&h);
	br_hkdf_produce(&h, info, ninfo, k->b, sizeof k->b);
	crypto_wipe(&h, sizeof h);
	crypto_burn_stack();
	return k;
}

int key_send(const struct key *k, int fd)
{
	size_t sent = 0;

	while (sent < sizeof k->b) {
		ssize_t n = send(fd, k->b + sent, sizeof k->b - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		sent += (size_t)n;
	}
	return 0;
}

/* A message of another length than 32 is refused: EBADMSG. */
static int recv_octets(int fd, uint8_t *p, size_t n)
{
	size_t have = 0;

	while (have < n) {
		struct iovec v = { p + have, n - have };
		struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
		ssize_t got = recvmsg(fd, &m, MSG_WAITALL);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0 || (m.msg_flags & MSG_TRUNC))
			return errno = EBADMSG, -1;
		have += (size_t)got;
	}
	return 0;
}

struct key *key_recv(int fd)
{
	struct key *k = pool_alloc(sizeof *k);

	if (k && recv_octets(fd, k->b, sizeof k->b) != 0) {
		int e = errno;

		key_free(k);
		errno = e;
		return NULL;
	}
	return k;
}

void key_mac(const struct key *k, const struct part *parts, size_t nparts, uint8_t out[static 32])
{
	br_hmac_key_context kc;
	br_hmac_context h;

	br_hmac_key_init(&kc, sha256_class, k->b, sizeof k->b);
	br_hmac_init(&h, &kc, 0);
	for (size_t i = 0; i < nparts; i++)
		if (parts[i].n > 0)
			br_hmac_update(&h, parts[i].p, parts[i].n);
	br_hmac_out(&h, out);
	crypto_wipe(&kc, sizeof kc);
	crypto_wipe(&h, sizeof h);
}

/* ---- SipHash-2-4, 64 or 128 bits out ---- */

static inline uint64_t le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	v = __builtin_bswap64(v);
#endif
	return v;
}

static inline uint64_t rotl(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

/* The state lies in registers: everything that takes it is inlined. */
struct sip_state { uint64_t a, b, c, d; };
#define INLINED static inline __attribute__((always_inline))

INLINED void sip_rounds(struct sip_state *v, unsigned n)
{
	while (n-- > 0) {
		v->a += v->b, v->b = rotl(v->b, 13) ^ v->a, v->a = rotl(v->a, 32);
		v->c += v->d, v->d = rotl(v->d, 16) ^ v->c;
		v->a += v->d, v->d = rotl(v->d, 21) ^ v->a;
		v->c += v->b, v->b = rotl(v->b, 17) ^ v->c, v->c = rotl(v->c, 32);
	}
}

void sip_key(const struct key *k, struct sip *out)
{
	out->k0 = le64(k->b);
	out->k1 = le64(k->b + 8);
}

void sip_random(struct sip *out)
{
	crypto_random(out, sizeof *out);
}

/* One key at the front of what is left of a text; the octets it took, 0: none. */
static size_t take_sip(const uint8_t *p, size_t n, struct sip *out)
{
	uint64_t k[2] = { 0 };

	if (n < 32 || (n > 32 && !is_space(p[32])))
		return 0;
	for (unsigned i = 0; i < 32; i++) {
		int d = hex_digit(p[i]);

		if (d < 0)
			return 0;
		k[i / 16] |= (uint64_t)d << (8 * (i % 16 / 2) + (i & 1 ? 0 : 4));
	}
	*out = (struct sip){ k[0], k[1] };
	crypto_wipe(k, sizeof k);
	return 32;
}

int sip_read(int fd, struct sip *out, unsigned max)
{
	enum { MAX = 256 };
	uint8_t *text = pool_alloc(MAX);
	ssize_t n = text ? crypto_read_all(fd, text, MAX) : -1;
	unsigned keys = 0;
	size_t at = 0, took = 1;

	while (n >= 0 && took) {
		while (at < (size_t)n && is_space(text[at]))
			at++;
		took = at < (size_t)n && keys < max ? take_sip(text + at, (size_t)n - at, out + keys) : 0;
		keys += took != 0;
		at += took;
	}
	int e = errno;
	bool good = n >= 0 && at == (size_t)n && keys > 0;
	pool_free(text, MAX);
	if (good)
		return (int)keys;
	crypto_wipe(out, max * sizeof *out);
	errno = n < 0 ? e : EINVAL;
	return -1;
}

INLINED void sip_word(struct sip_state *v, uint64_t m)
{
	v->d ^= m;
	sip_rounds(v, 2);
	v->a ^= m;
}

/* Both variants differ in a start value (wide: 0, or 0xee for 128 bits) and in
 * what comes after this. */
INLINED struct sip_state sip_absorb(const struct sip *s, const uint8_t *b, size_t n, unsigned wide)
{
	struct sip_state v = { s->k0 ^ 0x736f6d6570736575, s->k1 ^ 0x646f72616e646f6d ^ wide,
		               s->k0 ^ 0x6c7967656e657261, s->k1 ^ 0x7465646279746573 };
	uint64_t last = (uint64_t)n << 56;
	size_t left = n;

	for (; left >= 8; left -= 8, b += 8)
		sip_word(&v, le64(b));
	if (left > 0 && n >= 8)
		last |= le64(b + left - 8) >> 8 * (8 - left);
	else
		for (size_t i = 0; i < left; i++)
			last |= (uint64_t)b[i] << 8 * i;
	sip_word(&v, last);
	return v;
}

INLINED uint64_t sip_fold(const struct sip_state *v) { return v->a ^ v->b ^ v->c ^ v->d; }

uint64_t sip64(const struct sip *s, const void *p, size_t n)
{
	struct sip_state v = sip_absorb(s, p, n, 0);

	v.c ^= 0xff;
	sip_rounds(&v, 4);
	return sip_fold(&v);
}

void sip128(const struct sip *s, const void *p, size_t n, uint64_t out[static 2])
{
	struct sip_state v = sip_absorb(s, p, n, 0xee);

	v.c ^= 0xee;
	sip_rounds(&v, 4);
	out[0] = sip_fold(&v);
	v.b ^= 0xdd;
	sip_rounds(&v, 4);
	out[1] = sip_fold(&v);
}

/* ---- ECDSA P-256 with SHA-256 ---- */

const br_ec_impl *crypto_ec(void)
{
	return &br_ec_p256_m31;
}

/* Is 0 < x < n, the order of P-256?  Constant time. */
static bool scalar_ok(const uint8_t x[static 32])
{
	static const uint8_t order[32] = { 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00,
		                           0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		                           0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84,
		                           0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51 };
	unsigned borrow = 0, any = 0;

	for (size_t i = 32; i-- > 0;) {
		borrow = ((unsigned)x[i] - order[i] - borrow) >> 31;
		any |= x[i];
	}
	return borrow && any;
}

struct signer *signer_from_scalar(const uint8_t x[static 32])
{
	struct signer *s;

	if (!scalar_ok(x))
		return errno = EINVAL, NULL;
	s = pool_alloc(sizeof *s);
	if (!s)
		return NULL;
	memcpy(s->x, x, sizeof s->x);
	br_ec_private_key sk = { BR_EC_secp256r1, s->x, sizeof s->x };
	br_ec_compute_pub(crypto_ec(), NULL, s->pub, &sk);
	crypto_burn_stack();
	return s;
}

struct signer *signer_new(void)
{
	struct key *seed = key_random();
	struct signer *s = seed ? signer_from(seed) : NULL;

	key_free(seed);
	return s;
}

struct signer *signer_from(const struct key *seed)
{
	/* A scalar out of range has odds of 2^-32; the next is asked for. */
	for (uint8_t again = 0;; again++) {
		struct key *x = key_derive(seed, "p256", &again, 1);
		struct signer *s = NULL;

		if (!x)
			return NULL;
		s = signer_from_scalar(x->b);
		key_free(x);
		if (s || errno != EINVAL)
			return s;
	}
}

void signer_pub(const struct signer *s, uint8_t out[static SIGN_PUB])
{
	memcpy(out, s->pub, SIGN_PUB);
}

/* The parts may be secret, so their running hash is wiped. */
static void hash_parts(const struct part *parts, size_t n, uint8_t out[static 32])
{
	br_sha256_context c;

	sha256_class->init(&c.vtable);
	for (size_t i = 0; i < n; i++)
		if (parts[i].n > 0)
			c.vtable->update(&c.vtable, parts[i].p, parts[i].n);
	c.vtable->out(&c.vtable, out);
	crypto_wipe(&c, sizeof c);
	crypto_burn_stack();
}

int signer_sign_parts(const struct signer *s, const struct part *parts, size_t n,
                      uint8_t out[static SIGN_SIG])
{
	uint8_t hash[32], x[32];
	br_ec_private_key sk = { BR_EC_secp256r1, x, sizeof x };

	memcpy(x, s->x, sizeof x); /* BearSSL's type is not const */
	hash_parts(parts, n, hash);
	size_t len = br_ecdsa_i31_sign_raw(crypto_ec(), sha256_class, hash, &sk, out);
	crypto_wipe(x, sizeof x);
	crypto_burn_stack();
	return len == SIGN_SIG ? 0 : (errno = EIO, -1);
}

int signer_sign(const struct signer *s, const void *msg, size_t n, uint8_t out[static SIGN_SIG])
{
	return signer_sign_parts(s, &(struct part){ msg, n }, 1, out);
}

void signer_free(struct signer *s)
{
	pool_free(s, sizeof *s);
}

bool sign_verify_parts(const uint8_t pub[static SIGN_PUB], const struct part *parts, size_t n,
                       const uint8_t sig[static SIGN_SIG])
{
	uint8_t hash[32], q[SIGN_PUB];
	br_ec_public_key pk = { BR_EC_secp256r1, q, sizeof q };

	memcpy(q, pub, sizeof q);
	hash_parts(parts, n, hash);
	return br_ecdsa_i31_vrfy_raw(crypto_ec(), hash, sizeof hash, &pk, sig, SIGN_SIG) == 1;
}

bool sign_verify(const uint8_t pub[static SIGN_PUB], const void *msg, size_t n,
                 const uint8_t sig[static SIGN_SIG])
{
	return sign_verify_parts(pub, &(struct part){ msg, n }, 1, sig);
}

void crypto_harden(void)
{
	struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

/* ---- secret octets of any kind ---- */

struct blob {
	size_t n, room;
	uint8_t p[];
};

struct blob *blob_read(int fd, size_t max)
{
	struct blob *b = pool_alloc(sizeof *b + max);
	ssize_t n = b ? crypto_read_all(fd, b->p, max) : -1;
	if (n >= 0) {
		b->n = (size_t)n;
		b->room = max;
		return b;
	}
	int e = errno;
	pool_free(b, sizeof *b + max);
	errno = e;
	return NULL;
}

int blob_send(const struct blob *b, int fd) { return io_write_all(fd, b->p, b->n); }

void blob_free(struct blob *b)
{
	if (b)
		pool_free(b, sizeof *b + b->room);
}
