/* test_denial.c - the denial list: its octets, who may follow whom, what it does to
 * sessions; private keys under passphrases. */
#include "crypto/cred.h"
#include "crypto/denial.h"
#include "crypto/internal.h"
#include "crypto/issue.h"
#include "crypto/pbes.h"
#include "tests/pump.h"
#include "tests/tap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct signer *root;
static uint8_t pub[SIGN_PUB];

static struct denial deny(uint8_t first, const char *name)
{
	struct denial d = { .role = ROLE_NODE, .serial = { first, 7 }, .time = 1700000000u + first };

	snprintf(d.name, sizeof d.name, "%s", name);
	return d;
}

/* A list of certificates whose serials begin with these octets. */
static struct denials *list_of(const uint8_t *first, size_t n, uint64_t number)
{
	static uint8_t p[DENIALS_BYTES];
	struct denial d[8];
	const char *why;

	for (size_t i = 0; i < n; i++)
		d[i] = deny(first[i], "n");
	return denials_read(p, denials_write(p, d, n, number, 5, root), pub, &why);
}

static void test_octets(void)
{
	static uint8_t p[DENIALS_BYTES + 1], q[DENIALS_BYTES];
	const struct denial d[3] = { deny(9, "late"), deny(1, "early"), deny(5, "a-name.of.63.octets.is.the.longest.there.may.be.in.a.list.ofours") };
	const char *why = NULL;
	struct denials_at at = { 0 };
	struct denial e;
	size_t n = denials_write(p, d, 3, 4, 77, root), len;
	struct denials *l = denials_read(p, n, pub, &why);

	ok(l && denials_number(l) == 4 && denials_count(l) == 3, "a list is read as it was written");
	ok(memcmp(denials_octets(l, &len), p, n) == 0 && len == n, "its octets are kept");
	ok(denials_next(l, &at, &e) && strcmp(e.name, "early") == 0 && e.role == ROLE_NODE && e.time == 1700000001u &&
	           denials_next(l, &at, &e) && strlen(e.name) == 63 && denials_next(l, &at, &e) &&
	           strcmp(e.name, "late") == 0 && !denials_next(l, &at, &e),
	   "in the order of serials");
	ok(denials_have(l, d[0].serial) && denials_have(l, d[1].serial) && !denials_have(l, deny(2, "x").serial) &&
	           !denials_have(NULL, d[0].serial),
	   "it knows whom it denies");

	bool cut = true, changed = true;
	for (size_t i = 0; i < n; i++) {
		uint8_t *exact = malloc(i ? i : 1); /* so that a sanitizer sees each overrun */
		memcpy(exact, p, i);
		cut = cut && !denials_read(exact, i, pub, &why) && why;
		free(exact);
		memcpy(q, p, n);
		q[i] ^= (uint8_t)(1 << i % 8);
		changed = changed && !denials_read(q, n, pub, &why);
	}
	ok(cut, "every truncation is refused");
	ok(changed, "every changed octet is noticed");
	ok(!denials_read(p, n + 1, pub, &why), "an octet more is refused");
	struct signer *other = signer_new();
	size_t m = denials_write(q, d, 3, 4, 77, other);
	ok(m && !denials_read(q, m, pub, &why) && strstr(why, "root"), "signed by another key");
	ok(denials_write(q, (struct denial[]){ d[0], d[0] }, 2, 4, 77, root) == 0, "nobody is denied twice");
	m = denials_write(q, d, 1, 0, 77, root);
	ok(!denials_read(q, m, pub, &why), "there is no list 0");
	m = denials_write(q, NULL, 0, 1, 77, root);
	struct denials *none = denials_read(q, m, pub, &why);
	ok(none && denials_count(none) == 0, "a list may be empty");
	struct denial *many = calloc(DENIALS_MAX + 1, sizeof *many);
	for (unsigned i = 0; i <= DENIALS_MAX; i++) {
		many[i] = d[2];
		put_u32(many[i].serial, 0x40000000u + i);
	}
	m = denials_write(q, many, DENIALS_MAX, 9, 77, root);
	struct denials *full = denials_read(q, m, pub, &why);
	ok(m == DENIALS_BYTES && full && denials_have(full, many[DENIALS_MAX - 1].serial), "the longest list: %zu octets", m);
	unsigned found = 0;
	for (unsigned i = 0; full && i < DENIALS_MAX; i++) {
		struct denial one;
		found += denials_find(full, many[i].serial, &one) && memcmp(&one, &many[i], sizeof e) == 0;
	}
	ok(found == DENIALS_MAX, "each is found in it: %u", found);
	ok(!denials_have(full, many[DENIALS_MAX].serial) && !denials_have(full, (uint8_t[CERT_SERIAL]){ 1 }) && !denials_have(none, many[0].serial) &&
	           !denials_have(NULL, many[0].serial), "and nobody else");
	ok(denials_write(q, many, DENIALS_MAX + 1, 9, 77, root) == 0, "one more is too many");
	free(many);
	denials_free(l);
	denials_free(none);
	denials_free(full);
	signer_free(other);
}

static void test_follow(void)
{
	struct denials *a = list_of((uint8_t[]){ 2, 4 }, 2, 3), *b = list_of((uint8_t[]){ 1, 2, 4, 6 }, 4, 4),
		       *c = list_of((uint8_t[]){ 2, 5, 6 }, 3, 5), *same = list_of((uint8_t[]){ 2, 4, 6 }, 3, 3);

	ok(a && b && c && same && !denials_follow(NULL, a) && !denials_follow(a, b), "a longer and newer list follows");
	ok(denials_follow(b, a) && strstr(denials_follow(b, a), "older"), "an older one does not");
	ok(denials_follow(a, c) && strstr(denials_follow(a, c), "lacks"), "nor one that has forgotten somebody");
	ok(denials_follow(a, same) && strstr(denials_follow(a, same), "two stations"), "nor another one of the same number");
	denials_free(a);
	denials_free(b);
	denials_free(c);
	denials_free(same);
}

/* ---- a chain, and what a list does to it ---- */

static uint8_t der[3][CERT_MAX];
static size_t der_len[3];

/* Credentials of a party below our root, as from a file. */
static struct cred *party(enum cert_role role, const char *name, uint8_t serial[static CERT_SERIAL])
{
	struct signer *by = signer_new(), *own = signer_new();
	struct issue i = { CERT_ROOT, 0, "0011223344556677", 1780000000, 2600000000, { 0 } };
	struct cert cr, cc;
	const char *why = NULL;
	char err[200] = "";
	int p[2];

	memset(i.serial, 0x41, sizeof i.serial);
	der_len[CERT_ROOT] = issue_cert(der[CERT_ROOT], &i, pub, root, NULL);
	cert_parse(der[CERT_ROOT], der_len[CERT_ROOT], &cr, &why);
	i.kind = CERT_ISSUING, i.role = role;
	uint8_t q[SIGN_PUB];
	signer_pub(by, q);
	der_len[CERT_ISSUING] = issue_cert(der[CERT_ISSUING], &i, q, root, &cr);
	cert_parse(der[CERT_ISSUING], der_len[CERT_ISSUING], &cc, &why);
	i.kind = CERT_LEAF, i.name = name;
	issue_serial(i.serial);
	memcpy(serial, i.serial, CERT_SERIAL);
	signer_pub(own, q);
	der_len[CERT_LEAF] = issue_cert(der[CERT_LEAF], &i, q, by, &cc);
	uint8_t text[6000];
	struct wr w = wr_init(text, sizeof text);
	for (int k = 0; k < 3; k++)
		pem_put(&w, "CERTIFICATE", der[k], der_len[k]);
	struct cred *c = NULL;
	if (pipe(p) == 0) {
		if (write(p[1], text, wr_len(&w)) == (ssize_t)wr_len(&w) && issue_key_write(own, p[1]) == 0) {
			close(p[1]);
			c = cred_read(p[0], err, sizeof err);
		}
		close(p[0]);
	}
	if (!c)
		printf("# %s: %s\n", name, err);
	signer_free(by);
	signer_free(own);
	return c;
}

static void test_sessions(void)
{
	static uint8_t p[DENIALS_BYTES];
	uint8_t hub_serial[CERT_SERIAL], node_serial[CERT_SERIAL];
	struct cred *hub = party(ROLE_HUB, "hub1", hub_serial), *node = party(ROLE_NODE, "node1", node_serial);
	struct denial d = deny(1, "x");
	const char *why;

	memcpy(d.serial, node_serial, CERT_SERIAL);
	struct denials *l = denials_read(p, denials_write(p, &d, 1, 1, 5, root), pub, &why);
	struct tls *s = tls_server(hub, ROLE_NODE), *c = tls_client(node, ROLE_HUB);
	pump(c, s, 0, SIZE_MAX);
	ok(l && tls_ready(s) && tls_ready(c) && !tls_peer_denied(s), "a session without a list");
	cred_deny(hub, l);
	ok(tls_peer_denied(s) && !tls_peer_denied(c), "its peer is denied from then on");
	ok(!cred_denied(hub), "the hub itself is not");
	cred_deny(node, l);
	ok(cred_denied(node), "a node sees that it is");
	cred_deny(node, NULL);
	tls_free(s);
	tls_free(c);

	s = tls_server(hub, ROLE_NODE), c = tls_client(node, ROLE_HUB);
	pump(c, s, 0, SIZE_MAX);
	ok(!tls_ready(s) && tls_closed(s) && tls_error(s), "a new session is refused: %s", tls_error(s));
	tls_free(s);
	tls_free(c);

	s = tls_server(hub, ROLE_NODE), c = tls_client(node, ROLE_HUB);
	tls_admit_denied(s);
	pump(c, s, 0, SIZE_MAX);
	ok(tls_ready(s) && tls_ready(c) && tls_peer_denied(s), "unless it is admitted to be told");
	tls_free(s);
	tls_free(c);

	memcpy(d.serial, hub_serial, CERT_SERIAL);
	denials_free(l);
	l = denials_read(p, denials_write(p, &d, 1, 1, 5, root), pub, &why);
	cred_deny(hub, NULL);
	cred_deny(node, l);
	s = tls_server(hub, ROLE_NODE), c = tls_client(node, ROLE_HUB);
	pump(c, s, 0, SIZE_MAX);
	ok(!tls_ready(c) && tls_error(c), "a node refuses a denied hub: %s", tls_error(c));
	tls_free(s);
	tls_free(c);
	denials_free(l);
	cred_free(hub);
	cred_free(node);
}

/* ---- DIR/denials ---- */

static void test_file(void)
{
	char dir[] = "/tmp/encdns-denied.XXXXXX", path[80], err[200] = "x";
	uint8_t serial[CERT_SERIAL];
	struct cred *c = party(ROLE_NODE, "node1", serial);
	struct denied d;
	size_t n, m;

	if (!mkdtemp(dir) || !c)
		return;
	snprintf(path, sizeof path, "%s/denials", dir);
	struct denials *a = list_of((uint8_t[]){ 2 }, 1, 1), *b = list_of((uint8_t[]){ 2, 3 }, 2, 2);
	const void *p = denials_octets(a, &n), *q = denials_octets(b, &m);
	ok(denied_open(&d, dir, c, err, sizeof err) == 0 && !d.list, "there is none in the beginning");
	ok(denied_take(&d, q, m, err, sizeof err) == 1 && denials_number(d.list) == 2 && denied_save(&d) == 0, "one is taken");
	ok(denied_take(&d, q, m, err, sizeof err) == 0, "the same again is no news");
	ok(denied_take(&d, p, n, err, sizeof err) == -1 && denials_number(d.list) == 2, "an older one: %s", err);
	denied_close(&d);
	ok(denied_open(&d, dir, c, err, sizeof err) == 0 && denials_number(d.list) == 2, "it is there the next time");
	denied_close(&d);
	ok(truncate(path, (off_t)m - 1) == 0 && denied_open(&d, dir, c, err, sizeof err) == -1 && !d.list, "a damaged one: %s", err);
	ok(denied_take(&d, q, m, err, sizeof err) == 1 && denied_save(&d) == 0, "is replaced by the next that comes");
	denied_close(&d);
	unlink(path);
	rmdir(dir);
	ok(denied_open(&d, dir, c, err, sizeof err) == 0, "no folder, no list");
	ok(denied_take(&d, q, m, err, sizeof err) == 1 && denied_save(&d) == -1 && denials_number(d.list) == 2,
	   "what can't be written is in force all the same: %s", strerror(errno));
	denied_close(&d);
	denials_free(a);
	denials_free(b);
	cred_free(c);
}

/* ---- private keys under passphrases ---- */

static struct pass *pass_of(const char *text, size_t n)
{
	int p[2];
	struct pass *out = NULL;

	if (pipe(p) != 0)
		return NULL;
	if (write(p[1], text, n) == (ssize_t)n) {
		close(p[1]);
		out = pass_read(p[0]);
	}
	int e = errno;
	close(p[0]);
	errno = e;
	return out;
}

static void test_pass(void)
{
	static char text[PASS_MAX + 3];
	struct key *a, *b;
	struct pass *p = pass_of("secret\n", 7), *q = pass_of("secret", 6), *r = pass_of("secret\r\n", 8);

	a = pass_key(p, (const uint8_t *)"salt", 4, 2);
	b = key_from_passphrase("secret", 6, (const uint8_t *)"salt", 4, 2);
	ok(p && q && r && memcmp(a, b, 32) == 0, "the end of the line is not part of a passphrase");
	key_free(a);
	a = pass_key(r, (const uint8_t *)"salt", 4, 2);
	ok(memcmp(a, b, 32) == 0, "of whatever kind it is");
	key_free(a);
	key_free(b);
	pass_free(p);
	pass_free(q);
	pass_free(r);
	memset(text, 'x', sizeof text);
	p = pass_of(text, PASS_MAX);
	ok(p != NULL, "the longest passphrase");
	pass_free(p);
	ok(!pass_of(text, PASS_MAX + 1) && errno == EMSGSIZE, "one octet more");
	ok(!pass_of(text, PASS_MAX + 3) && errno == EMSGSIZE, "or more than that");
	ok(!pass_of("two\nlines\n", 10) && errno == EMSGSIZE, "two lines");
	ok(!pass_of("\n", 1) && errno == ENODATA, "an empty line");
}

static void test_locked_key(void)
{
	struct signer *s = signer_new(), *t;
	struct pass *p = pass_of("secret", 6), *q = pass_of("secreT", 6);
	char path[] = "/tmp/encdns-key.XXXXXX";
	int fd = mkstemp(path);
	uint8_t text[600], box[400], plain[400], x[32];
	char label[32];

	ok(issue_key_seal(s, p, fd) == 0, "a key is put under a passphrase");
	ssize_t n = pread(fd, text, sizeof text, 0);
	lseek(fd, 0, SEEK_SET);
	t = issue_key_open(fd, p);
	ok(t && memcmp(t, s, sizeof *s) == 0, "and read again");
	signer_free(t);
	lseek(fd, 0, SEEK_SET);
	ok(!issue_key_open(fd, q) && errno == EKEYREJECTED, "not by another passphrase");
	lseek(fd, 0, SEEK_SET);
	ok(!issue_key_read(fd) && errno == EACCES, "nor without one");
	close(fd);
	unlink(path);
	struct rd r = rd_init(text, (size_t)n);
	struct wr w = wr_init(box, sizeof box);
	ok(pem_next(&r, label, &w) == 1 && !memmem(box, wr_len(&w), s->x, 32), "the key is not in it");
	bool cut = true;
	for (size_t i = 0; i < wr_len(&w); i++) {
		uint8_t *exact = malloc(i ? i : 1);
		memcpy(exact, box, i);
		cut = cut && pbes_get(exact, i, p, plain) == 0 && errno == EINVAL;
		free(exact);
	}
	ok(cut, "every truncation is refused before the rounds begin");
	uint8_t *rounds = memmem(box, wr_len(&w), "\x02\x03\x09\x27\xc0", 5);
	ok(rounds != NULL, "600,000 rounds");
	rounds[1] = 1; /* the length no longer fits */
	ok(pbes_get(box, wr_len(&w), p, plain) == 0 && errno == EINVAL, "damaged rounds");
	rounds[1] = 3, rounds[2] = 0, rounds[3] = 0, rounds[4] = 9;
	ok(pem_key("ENCRYPTED PRIVATE KEY", box, wr_len(&w), p, x) != 0 && errno == EKEYREJECTED, "other rounds, another key");
	signer_free(s);
	pass_free(p);
	pass_free(q);
}

/* What a process does that stops because it is denied. */
static void test_end(void)
{
	static const uint8_t zeros[32];
	struct key *k = key_random(), *none;
	struct signer *s = signer_new();
	const struct part text = { "text", 4 };
	uint8_t before[32], after[32], nothing[32];

	key_mac(k, &text, 1, before);
	crypto_end();
	key_mac(k, &text, 1, after);
	none = key_from(zeros);
	key_mac(none, &text, 1, nothing);
	ok(memcmp(before, after, 32) != 0 && memcmp(after, nothing, 32) == 0 && memcmp(s->x, zeros, 32) == 0,
	   "every key is wiped, whoever holds it");
	key_free(k);
	key_free(none);
	signer_free(s);
}

int main(void)
{
	if (crypto_init() != 0)
		return 1;
	root = signer_new();
	signer_pub(root, pub);
	test_octets();
	test_follow();
	test_sessions();
	test_file();
	test_pass();
	test_locked_key();
	test_end(); /* the last: no key is good after it */
	signer_free(root);
	return tap_done();
}
