/* test_gate.c - the messages of port 22 (crypto/gate.h): each comes through as it
 * was put, none comes through altered, cut, replayed, late, or for another machine
 * or connection; a machine and an operator over TLS; a machine's identity. */
#include "crypto/gate.c" /* for what waits in its buffers */
#include "crypto/tls.c"  /* for the master secret */

#include "crypto/gate.h"
#include "crypto/identity.h"
#include "tests/minica.h"
#include "tests/pump.h"
#include "tests/tap.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECOND 1000000000ull

static struct minica ca, foreign;
static struct cred *machine, *fresh, *operator, *node;
static struct gate_buf *buf;
static uint8_t exporter[32] = { 1, 2, 3 }, id[MACHINE_ID];
static const char INVENTORY[] = "cpu.count 4\ndisk-serial.sda X1\n~address.eth0 192.0.2.1/24\n";

static bool told(const char *why, const char *what) { return why && strstr(why, what); }

/* Takes the only frame that waits out of buf, into msg; its length. */
static uint8_t msg[GATE_FRAME_MAX];
static size_t sent(enum gate_type want)
{
	enum gate_type type;
	uint8_t *p;
	size_t n, len;

	if (gate_next(buf, &type, &p, &len) != 1 || type != want) {
		ok(false, "a frame of type %d is there", want);
		abort();
	}
	memcpy(msg, p, len);
	if (gate_next(buf, &type, &p, &n) != 0)
		abort();
	return len;
}

/* ---- keys and nonces ---- */

static bool key_is(struct key *k, const char *hex)
{
	char text[65];

	hex_text(text, k->b, 32);
	key_free(k);
	return strcmp(text, hex) == 0;
}

static void test_keys(void)
{
	uint8_t b[132];

	for (unsigned i = 0; i < sizeof b; i++)
		b[i] = (uint8_t)i;
	struct key *master = key_from(b);
	ok(key_is(gate_key_system(master, b + 32, b + 64),
	          "a23bc2596f2fc407741f5e5bded281b42602500d0638f09de4f2f08dff5ed46f"),
	   "K_system as another implementation has it");
	ok(key_is(gate_key_data(master, b + 32, b + 64, b + 100),
	          "0b735f213107f29f3c93ebada15eafc8e275c8db9a274c8bb167141ea70fa593"),
	   "K_data as another implementation has it");
	key_free(master);
}

static void test_nonces(void)
{
	struct gate_nonce a, b, n;
	uint64_t made = 5 * SECOND;

	gate_nonce_make(&a, made);
	gate_nonce_make(&b, made);
	ok(a.fresh && memcmp(a.v, b.v, sizeof a.v) != 0, "two nonces differ");
	n = a;
	ok(!gate_nonce_take(&n, a.v, 10, made) && told(gate_nonce_take(&n, a.v, 10, made), "without"), "a nonce is good once");
	n = a;
	ok(told(gate_nonce_take(&n, b.v, 10, made), "another") && gate_nonce_take(&n, a.v, 10, made),
	   "a wrong one uses the right one up");
	n = a;
	ok(!gate_nonce_take(&n, a.v, 10, made + 10 * SECOND), "it is good to the end of its life");
	n = a;
	ok(told(gate_nonce_take(&n, a.v, 10, made + 11 * SECOND), "late"), "and not a second longer");
	n = a;
	ok(gate_nonce_take(&n, a.v, 10, made - 1), "nor before it was made");
}

/* ---- frames ---- */

static void feed(const void *p, size_t n)
{
	size_t room;
	uint8_t *to = room_in(buf, &room);

	if (n > room)
		abort();
	memcpy(to, p, n);
	added(buf, n);
}

static void test_frames(void)
{
	struct gate_result r = { .code = GATE_DONE, .text = "well\n", .text_len = 5 };
	enum gate_type type;
	uint8_t *p, whole[64];
	size_t n;

	gate_put_result(buf, &r);
	r.code = GATE_FAILED;
	gate_put_result(buf, &r);
	size_t len = buf->len;
	memcpy(whole, buf->b, sizeof whole);
	gone(buf, len);
	ok(len == 2 * (4 + 34 + 5), "two frames lie one behind the other");
	unsigned early = 0;
	for (size_t i = 0; i < 43; i++) {
		early += gate_next(buf, &type, &p, &n) != 0;
		feed(whole + i, 1);
	}
	ok(early == 0 && gate_next(buf, &type, &p, &n) == 1 && type == GATE_RESULT && n == 39,
	   "a frame that comes octet by octet is there when its last one is");
	ok(gate_next(buf, &type, &p, &n) == 0 && p[0] == 0 && p[38] == 0, "behind it nothing, and it is wiped");
	feed("\0\0\1\7x", 5);
	ok(gate_next(buf, &type, &p, &n) == -1, "an unknown type is refused");
	gone(buf, 5);
	feed("\0\1\77\4", 4);
	ok(gate_next(buf, &type, &p, &n) == -1, "a longer AUTH than there is is refused before it comes");
	gone(buf, 4);
	feed("\377\377\377\1", 4);
	ok(gate_next(buf, &type, &p, &n) == -1, "and so is a HELLO of 16 MiB");
	gone(buf, 4);
}

/* ---- damage, for all signed messages ---- */

typedef const char *reader(uint8_t *p, size_t n);

/* Every cut and every bit of a message turned over; a copy of exact size each time. */
static void test_damage(const char *what, const uint8_t *p, size_t n, reader *rd)
{
	unsigned cut = 0, flipped = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t *b = malloc(i ? i : 1);

		memcpy(b, p, i);
		cut += rd(b, i) == NULL;
		free(b);
	}
	for (size_t bit = 0; bit < 8 * n; bit++) {
		uint8_t *b = malloc(n);

		memcpy(b, p, n);
		b[bit / 8] ^= (uint8_t)(1 << bit % 8);
		flipped += rd(b, n) == NULL;
		free(b);
	}
	uint8_t *b = malloc(n + 1);
	memcpy(b, p, n);
	b[n] = 0;
	bool longer = rd(b, n + 1) == NULL;
	free(b);
	ok(cut == 0 && !longer, "%s: none of %zu cuts is taken, nor one octet more", what, n);
	ok(flipped == 0, "%s: none of %zu single bits turned over is taken", what, 8 * n);
}

/* ---- HELLO ---- */

static struct gate_hello hello(void)
{
	struct gate_hello h = { .state = GATE_WAITING, .boots = 7, .generation = 3, .clock = 1700000000,
		                .store = true, .inventory = INVENTORY, .inventory_len = strlen(INVENTORY) };

	memcpy(h.id, id, sizeof id);
	memset(h.nonce, 0x11, sizeof h.nonce);
	memset(h.salt, 0x22, sizeof h.salt);
	memset(h.image, 0x33, sizeof h.image);
	memset(h.ticket, 0x44, sizeof h.ticket);
	return h;
}

static const char *read_hello(uint8_t *p, size_t n)
{
	struct gate_hello out;

	return gate_read_hello(p, n, machine->key->pub, exporter, &out);
}

static const char *hello_with(const struct gate_hello *h)
{
	if (!gate_put_hello(buf, h, machine, exporter))
		abort();
	size_t n = sent(GATE_HELLO);
	return read_hello(msg, n);
}

static void test_hello(void)
{
	struct gate_hello h = hello(), out = { 0 };
	uint8_t other[32] = { 9 }, *p = msg;

	ok(gate_put_hello(buf, &h, machine, exporter), "HELLO is put");
	size_t n = sent(GATE_HELLO);
	ok(!gate_read_hello(p, n, machine->key->pub, exporter, &out) && out.state == GATE_WAITING &&
	           memcmp(out.id, id, 20) == 0 && out.nonce[31] == 0x11 && out.boots == 7 && out.salt[31] == 0x22 &&
	           out.image[0] == 0x33 && out.ticket[31] == 0x44 && out.generation == 3 &&
	           out.clock == 1700000000 && out.store && out.inventory_len == strlen(INVENTORY) &&
	           memcmp(out.inventory, INVENTORY, out.inventory_len) == 0,
	   "and comes through");
	ok(told(gate_read_hello(p, n, machine->key->pub, other, &out), "signature"), "not on another connection");
	ok(told(gate_read_hello(p, n, node->key->pub, exporter, &out), "signature"), "nor of another key");
	test_damage("HELLO", p, n, read_hello);
	h.id[0] ^= 1;
	ok(told(hello_with(&h), "id"), "a machine can't take another's id");
	h = hello();
	h.inventory = "b 1\na 1\n", h.inventory_len = 8;
	ok(told(hello_with(&h), "inventory"), "an inventory out of order is refused");
	h.inventory = "a \033[2J\n", h.inventory_len = 7;
	ok(told(hello_with(&h), "inventory"), "and one that would write to the operator's terminal");
	h = hello();
	h.inventory = "", h.inventory_len = 0, h.clock = UINT64_MAX, h.boots = UINT64_MAX;
	ok(!hello_with(&h), "an empty one is taken, and any clock");
}

/* A HELLO of 32 KiB, and one octet more. */
static void test_long_hello(void)
{
	static char text[GATE_INVENTORY + 1];
	struct gate_hello h = hello();

	for (unsigned i = 0; i < GATE_INVENTORY / 64; i++)
		memset(text + 64 * i, 'x', 63), text[64 * i + 1] = ' ', text[64 * i + 63] = '\n';
	h.inventory = text;
	h.inventory_len = GATE_INVENTORY;
	ok(!hello_with(&h), "an inventory of 32 KiB comes through");
	h.inventory_len = GATE_INVENTORY + 1;
	ok(!gate_put_hello(buf, &h, machine, exporter), "one octet more is not sent");
}

/* ---- AUTH ---- */

static struct gate_nonce offered;
static struct gate_terms terms = { .exporter = exporter, .id = id, .nonce = &offered, .now_ns = 100 * SECOND };

static struct gate_auth auth(void)
{
	struct gate_auth a = { .issued = 1700000000, .expiry = 1700000060, .time = 1700000001, .seq = 12,
		               .generation = 3, .flags = GATE_TICKET_WRONG };
	uint8_t k1[32] = { 0xaa, 1 }, k2[32] = { 0xbb, 2 };

	memcpy(a.id, id, sizeof id);
	memcpy(a.nonce, offered.v, sizeof a.nonce);
	memset(a.chain, 0x55, sizeof a.chain);
	memset(a.ticket, 0x66, sizeof a.ticket);
	a.k_system = key_from(k1);
	a.k_data = key_from(k2);
	return a;
}

/* Each attempt with the offer as good as new. */
static const char *read_auth_again(uint8_t *p, size_t n)
{
	struct gate_auth out;

	offered.fresh = true;
	const char *why = gate_read_auth(p, n, &terms, &out);
	bool left = offered.fresh;
	for (size_t i = 0; i < n; i++)
		left |= p[i] != 0;
	if (!why)
		gate_auth_free(&out);
	return left ? NULL : why; /* it must be wiped and the offer used up in any case */
}

static const char *auth_with(struct gate_auth *a)
{
	return gate_put_auth(buf, a, operator, exporter) ? read_auth_again(msg, sent(GATE_AUTH)) : "not sent";
}

static void test_auth(void)
{
	struct gate_auth a = auth(), out = { 0 };
	uint8_t copy[512];

	ok(gate_put_auth(buf, &a, operator, exporter), "AUTH is put");
	size_t n = sent(GATE_AUTH);
	memcpy(copy, msg, n);
	ok(!gate_read_auth(msg, n, &terms, &out) && memcmp(&out, &a, offsetof(struct gate_auth, k_system)) == 0 &&
	           memcmp(out.k_system->b, a.k_system->b, 32) == 0 && memcmp(out.k_data->b, a.k_data->b, 32) == 0,
	   "and comes through, with both keys");
	gate_auth_free(&out);
	ok(!out.k_system && out.seq == 0, "what came is wiped afterwards");
	memcpy(msg, copy, n);
	ok(told(gate_read_auth(msg, n, &terms, &out), "without an offer"), "the same AUTH again is refused");
	gate_nonce_make(&offered, 100 * SECOND);
	memcpy(msg, copy, n);
	ok(told(gate_read_auth(msg, n, &terms, &out), "another offer"), "and refused when there is a new offer");
	ok(!offered.fresh && !out.k_system, "which is used up by that; nothing came out");
	memcpy(offered.v, a.nonce, sizeof a.nonce);
	test_damage("AUTH", copy, n, read_auth_again);
	gate_auth_free(&a);
}

/* Each by somebody who may sign. */
static void test_auth_refused(void)
{
	struct gate_auth a = auth();
	uint8_t other[32] = { 9 };

	terms.exporter = other;
	ok(told(auth_with(&a), "signature"), "an AUTH of another connection is refused");
	terms.exporter = exporter;
	terms.pub = node->key->pub;
	ok(told(auth_with(&a), "signature"), "and another's than TLS has judged");
	terms.pub = operator->key->pub;
	a.id[19] ^= 1;
	ok(told(auth_with(&a), "another machine"), "and another machine's");
	a.id[19] ^= 1;
	terms.now_ns = (100 + 60) * SECOND;
	ok(!auth_with(&a), "it is good for as long as it says");
	terms.now_ns += SECOND;
	ok(told(auth_with(&a), "too late"), "and not a second longer");
	terms.now_ns = 100 * SECOND;
	a.flags = 4;
	ok(auth_with(&a), "unknown flags are not sent");
	a.flags = 0;
	a.expiry = a.issued + GATE_LIFE_MAX + 1;
	ok(auth_with(&a), "nor a longer life than is allowed");
	a.expiry = a.issued - 1;
	ok(auth_with(&a), "nor one that ends before it begins");
	a.expiry = a.issued + 10, a.time = a.issued + 11;
	ok(auth_with(&a), "nor a time outside of it");
	a.issued = a.time = 315532800, a.expiry = a.issued + 60;
	ok(!auth_with(&a), "an operator's clock of 1980 is no matter: the nonce says when");
	a.issued = a.time = 4070908800, a.expiry = a.issued + 60;
	ok(!auth_with(&a), "nor is one of 2099");
	gate_auth_free(&a);
}

/* Signs msg[0..n) anew, as the operator. */
static void sign_again(enum gate_type type, size_t n)
{
	struct part part[] = { { form[type].label, strlen(form[type].label) }, { exporter, 32 }, { msg, n - SIGN_SIG } };

	signer_sign_parts(operator->key, part, 3, msg + n - SIGN_SIG);
}

/* What our own writer refuses to send is refused by the reader too. */
static void test_auth_forged(void)
{
	static const struct { size_t at; uint8_t to; const char *what; } change[] = {
		{ 20 + 32 + 8 * 4 + 32 + 8 + 32, 4, "an unknown flag" },
		{ 20 + 32 + 8, 0xff, "an expiry in a far future" },
		{ 20 + 32 + 16, 0xff, "a time in a far future" },
		{ 20 + 32, 0xff, "an issue after its expiry" },
	};
	struct gate_auth a = auth();

	for (size_t i = 0; i < sizeof change / sizeof change[0]; i++) {
		gate_put_auth(buf, &a, operator, exporter);
		size_t n = sent(GATE_AUTH);

		msg[change[i].at] = change[i].to;
		sign_again(GATE_AUTH, n);
		const char *why = read_auth_again(msg, n);
		ok(why && !told(why, "signature"), "%s is refused though it is signed: %s", change[i].what, why);
	}
	gate_auth_free(&a);
}

/* ---- COMMAND ---- */

static struct gate_command command(int argc, char **argv)
{
	struct gate_command c = { .issued = 1700000000, .argc = argc };

	memcpy(c.nonce, offered.v, sizeof c.nonce);
	for (int i = 0; i < argc && i <= (int)GATE_WORD_MAX; i++)
		c.argv[i] = argv[i];
	return c;
}

static const char *read_command_again(uint8_t *p, size_t n)
{
	struct gate_command out;

	offered.fresh = true;
	const char *why = gate_read_command(p, n, &terms, &out);
	return offered.fresh ? NULL : why;
}

static void test_command(void)
{
	char *words[] = { "restart", "dns", "now please" }, long_word[GATE_WORDS + 1], *one[] = { long_word };
	char *empty[] = { "" }, *odd[] = { "a\n" }, *many[GATE_WORD_MAX + 1];
	struct gate_command c = command(3, words), out = { 0 };

	ok(gate_put_command(buf, &c, operator, exporter), "COMMAND is put");
	size_t n = sent(GATE_COMMAND);
	offered.fresh = true;
	ok(!gate_read_command(msg, n, &terms, &out) && out.argc == 3 && out.issued == 1700000000 &&
	           strcmp(out.argv[0], "restart") == 0 && strcmp(out.argv[1], "dns") == 0 &&
	           strcmp(out.argv[2], "now please") == 0 && !out.argv[3],
	   "and comes through");
	ok(told(gate_read_command(msg, n, &terms, &out), "without an offer"), "once");
	test_damage("COMMAND", msg, n, read_command_again);
	c = command(0, words);
	ok(!gate_put_command(buf, &c, operator, exporter), "one without words is not sent");
	c = command(1, empty);
	ok(!gate_put_command(buf, &c, operator, exporter), "nor one with an empty word");
	c = command(1, odd);
	ok(!gate_put_command(buf, &c, operator, exporter), "nor one with a newline in it");
	memset(long_word, 'x', GATE_WORDS);
	long_word[GATE_WORDS] = 0;
	c = command(1, one);
	ok(!gate_put_command(buf, &c, operator, exporter), "nor 1 KiB and a NUL");
	long_word[GATE_WORDS - 1] = 0;
	ok(gate_put_command(buf, &c, operator, exporter) && !read_command_again(msg, sent(GATE_COMMAND)),
	   "1 KiB comes through");
	for (unsigned i = 0; i <= GATE_WORD_MAX; i++)
		many[i] = "x";
	c = command(GATE_WORD_MAX, many);
	ok(gate_put_command(buf, &c, operator, exporter) && !read_command_again(msg, sent(GATE_COMMAND)),
	   "16 words come through");
	c.argc++;
	ok(!gate_put_command(buf, &c, operator, exporter), "17 do not");
}

static void test_command_forged(void)
{
	static const struct { const char *words, *what; } bad[] = {
		{ "abc", "a word without its NUL" },
		{ "\0ab", "an empty word first" },
		{ "a\033\0", "an octet for terminals" },
	};
	char *words[] = { "xx" };

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct gate_command c = command(1, words);

		gate_put_command(buf, &c, operator, exporter);
		size_t n = sent(GATE_COMMAND);
		memcpy(msg + GATE_NONCE + 8, bad[i].words, 3);
		sign_again(GATE_COMMAND, n);
		const char *why = read_command_again(msg, n);
		ok(why && !told(why, "signature"), "%s is refused though it is signed: %s", bad[i].what, why);
	}
}

/* A signature over one message is none over another, whatever the octets. */
static void test_labels(void)
{
	struct gate_auth a = auth();

	gate_put_auth(buf, &a, operator, exporter);
	size_t n = sent(GATE_AUTH);
	ok(told(read_command_again(msg, n), "signature"), "an AUTH is no COMMAND");
	gate_auth_free(&a);
}

/* ---- RESULT, IDENTITY, BUNDLE ---- */

static void test_result(void)
{
	struct gate_result r = { .code = GATE_FAILED, .nonce = { 5 }, .more = true, .text = "a\tb\n\033[0m\377\0z",
		                 .text_len = 11 }, out = { 0 };

	ok(gate_put_result(buf, &r), "RESULT is put");
	size_t n = sent(GATE_RESULT);
	ok(!gate_read_result(msg, n, &out) && out.code == GATE_FAILED && out.more && out.nonce[0] == 5 &&
	           out.text_len == 11 && memcmp(out.text, "a\tb\n?[0m??z", 11) == 0,
	   "and comes through; what a terminal would obey is a question mark");
	msg[n - 1] = 27;
	ok(told(gate_read_result(msg, n, &out), "terminal"), "one with such octets is refused");
	ok(!gate_read_result(msg, 34, &out) && out.text_len == 0 && gate_read_result(msg, 33, &out),
	   "an empty text is one, a cut head is not");
	msg[0] = 3;
	ok(gate_read_result(msg, 34, &out) != NULL, "an unknown code is refused");
}

static struct gate_identity identity_of(const struct cred *c)
{
	return (struct gate_identity){ rd_init(c->der[CERT_LEAF], c->der_len[CERT_LEAF]),
		                       rd_init(c->der[CERT_ISSUING], c->der_len[CERT_ISSUING]) };
}

/* Of the fresh machine, by this CA, to this day. */
static struct cred *certified(struct minica *m, enum cert_role role, int64_t until)
{
	struct cred *c = minica_party(m, role, "m1", MINICA_FROM, until);

	minica_leaf(m, c, role, "m1", fresh->key->pub, MINICA_FROM, until);
	return c;
}

static const char *identity_with(const struct cred *c, int64_t now)
{
	struct gate_identity i = identity_of(c), out;

	gate_put_identity(buf, &i);
	size_t n = sent(GATE_IDENTITY);
	return gate_read_identity(msg, n, fresh, now, &out);
}

static void test_identity_message(void)
{
	struct cred *good = certified(&ca, ROLE_MACHINE, MINICA_UNTIL - 86400);
	struct cred *as_node = certified(&ca, ROLE_NODE, MINICA_UNTIL - 86400);
	struct cred *elsewhere = certified(&foreign, ROLE_MACHINE, MINICA_UNTIL - 86400);
	int64_t now = 1800000000;

	ok(!identity_with(good, now), "IDENTITY comes through");
	ok(!identity_with(good, 315532800), "also where it is 1980");
	ok(told(identity_with(good, 4070908801), "expired"), "not where it is 2099");
	ok(told(identity_with(machine, now), "another machine"), "nor another machine's");
	ok(told(identity_with(as_node, now), "role"), "nor a node's certificate");
	ok(identity_with(elsewhere, now) != NULL, "nor another root's");
	struct denials *list = minica_deny(&ca, good);
	cred_deny(fresh, list);
	ok(told(identity_with(good, now), "denied"), "nor a denied one");
	cred_deny(fresh, NULL);
	denials_free(list);
	struct gate_identity i = identity_of(good), out;
	unsigned cut = 0;
	gate_put_identity(buf, &i);
	size_t n = sent(GATE_IDENTITY);
	for (size_t j = 0; j < n; j++)
		cut += !gate_read_identity(msg, j, fresh, now, &out);
	ok(cut == 0, "none of its cuts is taken");
	cred_free(good);
	cred_free(as_node);
	cred_free(elsewhere);
}

static void test_chunks(void)
{
	static uint8_t data[GATE_CHUNK + 1];
	struct gate_chunk c = { true, false, rd_init(data, GATE_CHUNK) }, out;

	ok(gate_put_chunk(buf, &c), "32 KiB of a bundle are put");
	size_t n = sent(GATE_BUNDLE);
	ok(!gate_read_chunk(msg, n, &out) && out.first && !out.last && rd_left(&out.data) == GATE_CHUNK,
	   "and come through");
	ok(gate_read_chunk(msg, 1, &out) && gate_read_chunk(msg, 0, &out), "a piece of nothing is refused");
	msg[0] = 4;
	ok(gate_read_chunk(msg, n, &out) != NULL, "and so is an unknown flag");
	c.data = rd_init(data, GATE_CHUNK + 1);
	ok(!gate_put_chunk(buf, &c), "one octet more is not sent");
}

/* ---- over TLS ---- */

/* Is this pair one that gets to talk?  why: the machine's words, or the operator's. */
static bool meets(const struct cred *m, const struct cred *o, const uint8_t *pin, const char **why)
{
	struct tls *s = tls_server(m, ROLE_OPERATOR), *c = tls_client_machine(o, pin);
	static const char *both;

	pump(c, s, 0, SIZE_MAX);
	both = tls_error(s) && !strstr(tls_error(s), "refused our") ? tls_error(s) : tls_error(c);
	*why = both;
	bool good = tls_ready(s) && tls_ready(c);
	tls_free(s);
	tls_free(c);
	return good;
}

static void test_meetings(void)
{
	struct cred *late = minica_party(&ca, ROLE_OPERATOR, "late", MINICA_FROM, 1750000000);
	struct cred *stranger = minica_party(&foreign, ROLE_OPERATOR, "stranger", MINICA_FROM, MINICA_UNTIL);
	const char *why;

	ok(meets(fresh, operator, NULL, &why), "a fresh machine and an operator meet");
	ok(meets(fresh, operator, fresh->key->pub, &why), "also when he knows its key");
	ok(meets(machine, operator, machine->key->pub, &why), "an enrolled machine is known by its key");
	ok(!meets(machine, operator, fresh->key->pub, &why) && told(why, "another key"), "not by another: %s", why);
	ok(!meets(fresh, operator, machine->key->pub, &why) && told(why, "another key"), "in no order: %s", why);
	ok(!meets(machine, operator, NULL, &why) && told(why, "enrolled already"), "nor without one: %s", why);
	ok(!meets(node, operator, node->key->pub, &why) && told(why, "not a machine"), "a node is no machine: %s", why);
	ok(!meets(machine, node, machine->key->pub, &why) && told(why, "role"), "nor an operator: %s", why);
	ok(!meets(machine, machine, machine->key->pub, &why) && told(why, "role"), "a machine is none either: %s", why);
	ok(!meets(machine, fresh, machine->key->pub, &why) && why, "least of all a fresh one: %s", why);
	ok(!meets(machine, late, machine->key->pub, &why) && told(why, "expired"), "an operator whose year is over: %s", why);
	ok(!meets(machine, stranger, machine->key->pub, &why) && why, "another root's: %s", why);
	cred_free(late);
	cred_free(stranger);
}

/* RFC 5705 by its own words: PRF(master secret, label, client's | server's random). */
static void test_exporter(struct tls *s, struct tls *c)
{
	uint8_t a[32], b[32], want[32];
	br_ssl_session_parameters par;

	ok(tls_export(s, GATE_EXPORT, a) == 0 && tls_export(c, GATE_EXPORT, b) == 0 && memcmp(a, b, 32) == 0,
	   "both ends of a connection export the same");
	br_ssl_engine_get_session_parameters(s->eng, &par);
	br_tls_prf_seed_chunk seed[2] = { { s->eng->client_random, 32 }, { s->eng->server_random, 32 } };
	br_tls12_sha384_prf(want, sizeof want, par.master_secret, sizeof par.master_secret, GATE_EXPORT, 2, seed);
	ok(memcmp(a, want, 32) == 0, "and it is what RFC 5705 says");
	ok(tls_export(s, "EXPERIMENTAL-encdns-other", b) == 0 && memcmp(a, b, 32) != 0, "another label, other octets");
}

static void carry(struct gate_buf *from, struct tls *a, struct gate_buf *to, struct tls *b)
{
	for (bool empty = false; !empty;) {
		empty = gate_buf_give(from, a);
		pump(a, b, 0, SIZE_MAX);
		gate_buf_take(to, b);
	}
}

/* HELLO, three pieces of a bundle, AUTH, RESULT. */
static void test_dialogue(void)
{
	static uint8_t piece[GATE_CHUNK];
	struct tls *s = tls_server(machine, ROLE_OPERATOR), *c = tls_client_machine(operator, machine->key->pub);
	struct gate_buf *out = gate_buf_new();
	struct gate_hello h = hello(), seen;
	enum gate_type type;
	uint8_t *p, x[32];
	size_t n;

	ok(tls_export(s, GATE_EXPORT, x) == -1 && !tls_peer(s), "before the handshake there is nothing to export");
	pump(c, s, 0, SIZE_MAX);
	ok(tls_ready(s) && tls_peer(s)->role == ROLE_OPERATOR && strcmp(tls_peer(s)->name, "alice") == 0 &&
	           memcmp(tls_peer(s)->pub, operator->key->pub, SIGN_PUB) == 0 && !tls_peer(s)->own &&
	           memcmp(tls_peer(s)->serial, operator->cert[CERT_LEAF].serial.p, CERT_SERIAL) == 0,
	   "the machine knows the operator");
	ok(tls_peer(c)->role == ROLE_MACHINE && memcmp(tls_peer(c)->pub, machine->key->pub, SIGN_PUB) == 0,
	   "and he the machine");
	test_exporter(s, c);
	tls_export(s, GATE_EXPORT, x);
	gate_nonce_make(&offered, 100 * SECOND);
	memcpy(h.nonce, offered.v, sizeof h.nonce);
	gate_put_hello(out, &h, machine, x);
	carry(out, s, buf, c);
	ok(gate_next(buf, &type, &p, &n) == 1 && type == GATE_HELLO &&
	           !gate_read_hello(p, n, tls_peer(c)->pub, x, &seen),
	   "HELLO gets to the operator");
	struct gate_auth a = auth(), got;
	memcpy(a.nonce, seen.nonce, sizeof a.nonce);
	gate_next(buf, &type, &p, &n);
	unsigned whole = 0;
	for (int i = 0; i < 3; i++) {
		struct gate_chunk k = { i == 0, i == 2, rd_init(piece, sizeof piece) };

		gate_put_chunk(out, &k);
		carry(out, c, buf, s);
		whole += gate_next(buf, &type, &p, &n) == 1 && type == GATE_BUNDLE && !gate_read_chunk(p, n, &k) &&
		         k.first == (i == 0) && k.last == (i == 2) && rd_left(&k.data) == sizeof piece;
	}
	ok(whole == 3, "three pieces get to the machine");
	gate_put_auth(out, &a, operator, x);
	carry(out, c, buf, s);
	struct gate_terms t = terms;
	t.exporter = x;
	t.pub = tls_peer(s)->pub;
	ok(gate_next(buf, &type, &p, &n) == 1 && type == GATE_AUTH && !gate_read_auth(p, n, &t, &got),
	   "and so does AUTH");
	gate_auth_free(&got);
	gate_auth_free(&a);
	gate_next(buf, &type, &p, &n);
	gate_buf_free(out);
	tls_free(s);
	tls_free(c);
}

/* ---- the identity's files ---- */

static int dir;

static unsigned mode_of(const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, 0) == 0 ? (unsigned)st.st_mode & 0777 : 0;
}

static void put_root(const struct minica *m)
{
	uint8_t text[4096];
	struct wr w = wr_init(text, sizeof text);
	const struct cred *c = &m->base[ROLE_HUB];
	int fd = openat(dir, "root.pem", O_WRONLY | O_CREAT | O_TRUNC, 0644);

	pem_put(&w, "CERTIFICATE", c->der[CERT_ROOT], c->der_len[CERT_ROOT]);
	if (write(fd, text, wr_len(&w)) != (ssize_t)wr_len(&w))
		abort();
	close(fd);
}

static bool reads(const char *wrong)
{
	char err[200] = "";
	struct cred *c = identity_read(dir, err, sizeof err);

	cred_free(c);
	return wrong ? !c && strstr(err, wrong) : c != NULL;
}

static void test_identity_files(void)
{
	char path[] = "/tmp/encdns-gate-XXXXXX", err[200];
	uint8_t pub[SIGN_PUB], mid[MACHINE_ID];
	char name[2 * MACHINE_ID + 1];

	dir = mkdtemp(path) ? open(path, O_RDONLY | O_DIRECTORY) : -1;
	ok(identity_make(dir, err, sizeof err) == 1 && mode_of("identity.key") == 0600, "an identity is made, its key 0600");
	ok(identity_make(dir, err, sizeof err) == 0, "and kept from then on");
	ok(reads("root.pem: "), "without the operator's root it is of no use");
	put_root(&ca);
	struct cred *c = identity_read(dir, err, sizeof err);
	ok(c && !identity_enrolled(c) && cred_role(c) == ROLE_MACHINE, "with it, it is a machine not enrolled yet");
	signer_pub(cred_signer(c), pub);
	machine_id(pub, mid);
	hex_text(name, mid, sizeof mid);
	ok(strcmp(cred_name(c), name) == 0, "whose name is its id");
	unlinkat(dir, "identity.pem", 0);
	ok(reads("identity.pem: ") && identity_make(dir, err, sizeof err) == 0 && reads(NULL),
	   "a lost certificate is made again for the same key");
	/* enrolled, with a certificate that ended long ago */
	struct cred *by_ca = minica_party(&ca, ROLE_MACHINE, "fra1", MINICA_FROM, MINICA_UNTIL);
	minica_leaf(&ca, by_ca, ROLE_MACHINE, "fra1", pub, MINICA_FROM, MINICA_FROM + 86400);
	struct gate_identity i = identity_of(by_ca);
	ok(identity_certify(dir, &i, err, sizeof err) == 0, "the CA's certificate takes its place");
	cred_free(c);
	c = identity_read(dir, err, sizeof err);
	ok(c && identity_enrolled(c) && strcmp(cred_name(c), "fra1") == 0, "and names the machine, also when it has ended");
	const char *why = "it is not there";
	ok(c && meets(c, operator, pub, &why), "the operator knows it by its key: %s", why ? why : "well");
	put_root(&foreign);
	ok(reads("identity.pem: "), "under another root it is refused");
	put_root(&ca);
	i = identity_of(machine);
	identity_certify(dir, &i, err, sizeof err);
	ok(reads("not the certificate of identity.key"), "and so is another key's certificate");
	cred_free(by_ca);
	cred_free(c);
	unlinkat(dir, "identity.pem", 0);
	unlinkat(dir, "identity.key", 0);
	unlinkat(dir, "root.pem", 0);
	close(dir);
	rmdir(path);
}

int main(void)
{
	if (crypto_init() != 0)
		return 1;
	minica_init(&ca, 1);
	minica_init(&foreign, 2);
	machine = minica_party(&ca, ROLE_MACHINE, "fra1", MINICA_FROM, MINICA_UNTIL);
	node = minica_party(&ca, ROLE_NODE, "fra1", MINICA_FROM, MINICA_UNTIL);
	operator = minica_party(&ca, ROLE_OPERATOR, "alice", MINICA_FROM, MINICA_UNTIL);
	fresh = minica_fresh(&ca);
	buf = gate_buf_new();
	machine_id(machine->key->pub, id);
	terms.pub = operator->key->pub;
	test_keys();
	test_nonces();
	test_frames();
	test_hello();
	test_long_hello();
	gate_nonce_make(&offered, 100 * SECOND);
	test_auth();
	test_auth_refused();
	test_auth_forged();
	test_command();
	test_command_forged();
	test_labels();
	test_result();
	test_identity_message();
	test_chunks();
	test_meetings();
	test_dialogue();
	test_identity_files();
	return tap_done();
}
