/* test_bundle.c - the sealed bundle (crypto/bundle.h): opens for its machine, with
 * its key, from an operator of the root, and for nobody else nor altered. */
#include "crypto/bundle.h"
#include "tests/minica.h"
#include "tests/tap.h"

#include <errno.h>

#define SEALED 1800000000 /* 2027 */

static struct minica ca, foreign;
static struct cred *operator, *machine;
static struct key *k_system, *other_key;
static uint8_t id[MACHINE_ID] = { 7, 7, 7 };
static const struct bundle_head head = { { 7, 7, 7 }, 5, SEALED };
static const struct bundle_file files[] = {
	{ "conf", "service 192.0.2.53\n", 19 },
	{ "cookie-secret", "", 0 },
	{ "bgp-password-1", "\0\1\2", 3 },
};
enum { FILES = sizeof files / sizeof files[0] };
static uint8_t sealed[8192];
static size_t sealed_len;

static struct bundle_terms terms(void)
{
	return (struct bundle_terms){ .k_system = k_system, .id = id, .least = 5, .cred = machine };
}

/* Does it open?  `why`: what the console says. */
static bool opens(const void *p, size_t n, const struct bundle_terms *t, const char **why)
{
	struct bundle *b = bundle_open(p, n, t, why);

	bundle_free(b);
	return b != NULL;
}

static void refused(const void *p, size_t n, const struct bundle_terms *t, const char *want, const char *what)
{
	const char *why = NULL;
	bool good = opens(p, n, t, &why);

	ok(!good && why && strstr(why, want), "%s is refused: %s", what, why ? why : "no, it opens");
}

/* Seals the same files otherwise, into `out`. */
static size_t seal_as(uint8_t *out, const struct bundle_head *h, const struct cred *by)
{
	if (bundle_seal(out, h, k_system, files, FILES, by) != 0)
		abort();
	return bundle_size(files, FILES, by);
}

static bool holds(const struct bundle *b, const struct bundle_file *want)
{
	struct bundle_file f;

	return bundle_find(b, want->name, &f) && f.n == want->n && memcmp(f.p, want->p, f.n) == 0;
}

static void test_round(void)
{
	struct bundle_terms t = terms();
	struct bundle_head h = { { 0 }, 0, 0 };
	struct bundle_file f;
	const char *why;

	sealed_len = bundle_size(files, FILES, operator);
	ok(sealed_len > 0 && sealed_len < sizeof sealed &&
	           bundle_seal(sealed, &head, k_system, files, FILES, operator) == 0, "three files are sealed");
	ok(bundle_peek(sealed, sealed_len, &h) && h.generation == 5 && h.sealed_at == SEALED &&
	           memcmp(h.id, id, sizeof id) == 0, "whose it is can be read without a key");
	ok(!bundle_peek(sealed, BUNDLE_HEAD - 1, &h), "not of a piece of its head");
	ok(!memmem(sealed, sealed_len, "service", 7) && !memmem(sealed, sealed_len, "conf", 4),
	   "what is in it can't, nor the names");
	struct bundle *b = bundle_open(sealed, sealed_len, &t, &why);
	ok(b && !why && holds(b, &files[0]) && holds(b, &files[1]) && holds(b, &files[2]) &&
	           !bundle_find(b, "con", &f), "it opens, and all is there");
	ok(bundle_at(b, 1, &f) && strcmp(f.name, "cookie-secret") == 0 && !bundle_at(b, 3, &f), "in order");
	bundle_free(b);
}

static void test_refused(void)
{
	static uint8_t b[8192];
	uint8_t mine[MACHINE_ID] = { 8 };
	struct bundle_terms t = terms();
	struct bundle_head h = head;
	const char *why;

	t.least = 6;
	refused(sealed, sealed_len, &t, "older", "a generation below the least one");
	t.least = 1;
	ok(opens(sealed, sealed_len, &t, &why), "one above it is taken");
	t.id = mine;
	refused(sealed, sealed_len, &t, "another machine", "another machine's bundle");
	t = terms();
	t.k_system = other_key;
	refused(sealed, sealed_len, &t, "key", "with another K_system it");
	t = terms();
	memcpy(h.id, mine, sizeof mine);
	size_t n = seal_as(b, &h, operator);
	refused(b, n, &t, "another machine", "one sealed with our key, but in another machine's name,");
	h = head;
	h.generation = UINT64_MAX;
	n = seal_as(b, &h, operator);
	ok(opens(b, n, &t, &why), "the last generation of all opens");
}

static void by(enum cert_role role, struct minica *m, int64_t from, int64_t until, uint64_t at, const char *want,
               const char *what)
{
	static uint8_t b[8192];
	struct bundle_terms t = terms();
	struct bundle_head h = head;
	struct cred *c = minica_party(m, role, "bob", from, until);
	const char *why;

	h.sealed_at = at;
	size_t n = seal_as(b, &h, c);
	if (want)
		refused(b, n, &t, want, what);
	else
		ok(opens(b, n, &t, &why), "%s opens", what);
	cred_free(c);
}

static void test_operators(void)
{
	struct bundle_terms t = terms();
	const char *why;

	by(ROLE_OPERATOR, &ca, MINICA_FROM, MINICA_UNTIL, SEALED, NULL, "another operator's of our root");
	by(ROLE_OPERATOR, &foreign, MINICA_FROM, MINICA_UNTIL, SEALED, "root", "another root's");
	by(ROLE_NODE, &ca, MINICA_FROM, MINICA_UNTIL, SEALED, "role", "a node's");
	by(ROLE_HUB, &ca, MINICA_FROM, MINICA_UNTIL, SEALED, "role", "a hub's");
	by(ROLE_MACHINE, &ca, MINICA_FROM, MINICA_UNTIL, SEALED, "role", "a machine's");
	by(ROLE_OPERATOR, &ca, MINICA_FROM, SEALED - 1, SEALED, "expired", "sealed after the operator's year, one");
	by(ROLE_OPERATOR, &ca, MINICA_FROM, SEALED, SEALED, NULL, "sealed in its last second, one");
	by(ROLE_OPERATOR, &ca, MINICA_FROM, 1750000000, 1740000000, NULL, "one whose operator's year is over by now");
	by(ROLE_OPERATOR, &ca, MINICA_FROM, MINICA_UNTIL, 315532800, NULL, "one sealed where it is 1980");
	by(ROLE_OPERATOR, &ca, MINICA_FROM, MINICA_UNTIL, 4090000000, "expired", "one sealed where it is 2099");
	struct denials *alice = minica_deny(&ca, operator), *other = minica_deny(&ca, machine);
	cred_deny(machine, alice);
	refused(sealed, sealed_len, &t, "denied", "a denied operator's");
	cred_deny(machine, other);
	ok(opens(sealed, sealed_len, &t, &why), "another's denial is no matter");
	cred_deny(machine, NULL);
	denials_free(alice);
	denials_free(other);
}

/* ---- altered ---- */

static void test_damage(void)
{
	struct bundle_terms t = terms();
	unsigned cut = 0, flipped = 0;
	const char *why;

	for (size_t i = 0; i <= sealed_len; i++) {
		/* memory of its exact size, so that a sanitizer sees each overrun */
		size_t n = i < sealed_len ? i : sealed_len + 1;
		uint8_t *b = malloc(n + !n);

		memset(b, 0, n + !n);
		memcpy(b, sealed, i);
		cut += opens(b, n, &t, &why);
		free(b);
	}
	ok(cut == 0, "none of %zu cuts opens, nor one octet more", sealed_len);
	uint8_t *b = malloc(sealed_len);
	memcpy(b, sealed, sealed_len);
	for (size_t bit = 0; bit < 8 * sealed_len; bit++) {
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		flipped += opens(b, sealed_len, &t, &why);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	ok(flipped == 0, "nor with any of %zu bits turned over", 8 * sealed_len);
	ok(opens(b, sealed_len, &t, &why), "as it was it does");
	free(b);
}

/* Signed by a true operator, who hasn't the machine's key, or writes nonsense. */
static void test_forged(void)
{
	static uint8_t b[8192];
	struct bundle_terms t = terms();
	unsigned taken = 0;
	const char *why;

	for (size_t at = 28; at < BUNDLE_HEAD + 40; at++) {
		memcpy(b, sealed, sealed_len);
		b[at] ^= 0x10;
		signer_sign(operator->key, b, sealed_len - SIGN_SIG, b + sealed_len - SIGN_SIG);
		taken += opens(b, sealed_len, &t, &why);
	}
	ok(taken == 0, "octets changed and signed again: the key finds it out");
}

/* A whole bundle around this plain text. */
static bool plain_opens(const void *plain, size_t n, const char **why)
{
	static uint8_t b[8192];
	const struct bundle_terms t = terms();
	uint8_t salt[16] = { 1 }, nonce[12] = { 0 }, tag[16], sig[SIGN_SIG];
	struct wr w = wr_init(b, sizeof b);
	struct key *k = key_derive(k_system, "bundle/v1", salt, sizeof salt);
	struct aead *a = aead_new(k);

	wr_bytes(&w, "encdnsB\1", 8);
	wr_bytes(&w, id, sizeof id);
	wr_u64(&w, 5);
	wr_u64(&w, SEALED);
	wr_bytes(&w, salt, sizeof salt);
	wr_u32(&w, (uint32_t)n);
	uint8_t *cipher = wr_take(&w, n);
	memcpy(cipher, plain, n);
	aead_seal(a, nonce, b, BUNDLE_HEAD, cipher, n, tag, sizeof tag);
	wr_bytes(&w, tag, sizeof tag);
	for (enum cert_kind c = CERT_LEAF; c <= CERT_ISSUING; c++) {
		wr_u16(&w, (uint32_t)operator->der_len[c]);
		wr_bytes(&w, operator->der[c], operator->der_len[c]);
	}
	signer_sign(operator->key, b, wr_len(&w), sig);
	wr_bytes(&w, sig, sizeof sig);
	aead_free(a);
	key_free(k);
	return opens(b, wr_len(&w), &t, why);
}

static void test_plain(void)
{
	static const struct { const char *p; size_t n; const char *what; } bad[] = {
		{ "\4conf\0\0\0\2a", 10, "a file longer than the rest" },
		{ "\4con", 4, "a name longer than the rest" },
		{ "\4conf\0\0\0", 8, "half a length" },
		{ "\0\0\0\0\0", 5, "a file without a name" },
		{ "\3a/b\0\0\0\0", 8, "a name with a slash" },
		{ "\1a\0\0\0\0\1a\0\0\0\0", 12, "a name twice" },
		{ "\4conf\377\377\377\377a", 10, "a length of 4 GiB" },
	};
	const char *why;
	uint8_t many[33 * 7];

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ok(!plain_opens(bad[i].p, bad[i].n, &why) && strstr(why, "files"), "%s is refused: %s", bad[i].what, why);
	for (int i = 0; i < 33; i++)
		memcpy(many + 7 * i, (uint8_t[7]){ 2, 'a', (uint8_t)('A' + i), 0, 0, 0, 0 }, 7);
	for (int i = 26; i < 33; i++)
		many[7 * i + 2] = (uint8_t)('a' + i - 26);
	ok(plain_opens(many, 32 * 7, &why), "32 files are not too many");
	ok(!plain_opens(many, 33 * 7, &why), "33 are");
}

/* ---- what can't be sealed ---- */

static void test_unsealable(void)
{
	struct bundle_file f[BUNDLE_FILES + 1] = { { "a", "x", 1 }, { "a", "y", 1 } };
	struct bundle_head h = head;
	static char names[BUNDLE_FILES + 1][8];

	ok(bundle_size(f, 0, operator) == 0, "no files make no bundle");
	ok(bundle_size(f, 2, operator) == 0 && bundle_seal(sealed, &h, k_system, f, 2, operator) == -1 && errno == EINVAL,
	   "nor does a name twice");
	f[1].name = "a b";
	ok(bundle_size(f, 2, operator) == 0, "nor a name with a blank");
	f[1].name = "b", f[1].n = BUNDLE_MAX;
	ok(bundle_size(f, 2, operator) == 0, "nor 16 MiB and more");
	for (unsigned i = 0; i <= BUNDLE_FILES; i++) {
		snprintf(names[i], sizeof names[i], "f%u", i);
		f[i] = (struct bundle_file){ names[i], "", 0 };
	}
	ok(bundle_size(f, BUNDLE_FILES, operator) && !bundle_size(f, BUNDLE_FILES + 1, operator), "nor more than 32 files");
	h.generation = 0;
	ok(bundle_seal(sealed, &h, k_system, files, FILES, operator) == -1, "generations begin at 1");
}

static void test_large(void)
{
	enum { LARGE = 3000000 };
	struct bundle_terms t = terms();
	uint8_t *exe = malloc(LARGE);
	struct bundle_file f[2] = { { "encdns", exe, LARGE }, files[0] };
	const char *why;

	for (size_t i = 0; i < LARGE; i++)
		exe[i] = (uint8_t)(i * 7 >> 3);
	size_t n = bundle_size(f, 2, operator);
	uint8_t *p = malloc(n);
	ok(bundle_seal(p, &head, k_system, f, 2, operator) == 0, "an executable of 3 MB is sealed");
	struct bundle *b = bundle_open(p, n, &t, &why);
	ok(b && holds(b, &f[0]) && holds(b, &f[1]), "and comes out");
	bundle_free(b);
	free(p);
	free(exe);
}

int main(void)
{
	uint8_t a[32] = { 1 }, b[32] = { 2 };

	if (crypto_init() != 0)
		return 1;
	minica_init(&ca, 1);
	minica_init(&foreign, 2);
	operator = minica_party(&ca, ROLE_OPERATOR, "alice", MINICA_FROM, MINICA_UNTIL);
	machine = minica_party(&ca, ROLE_MACHINE, "fra1", MINICA_FROM, MINICA_UNTIL);
	k_system = key_from(a);
	other_key = key_from(b);
	test_round();
	test_refused();
	test_operators();
	test_damage();
	test_forged();
	test_plain();
	test_large();
	test_unsealable();
	return tap_done();
}
