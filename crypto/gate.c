/* gate.c - the codec of port 22 (gate.h). */
#include "crypto/gate.h"
#include "base/inventory.h"
#include "crypto/cred.h"
#include "crypto/denial.h"
#include "crypto/internal.h"

#include <string.h>

#define SECOND_NS 1000000000ull
#define HEAD 4u /* of a frame */
#define HELLO_FIXED (1 + 1 + MACHINE_ID + GATE_NONCE + 8 + GATE_SALT + 32 + 32 + 8 + 8 + 1 + 2 + SIGN_SIG)
#define AUTH_LEN (MACHINE_ID + GATE_NONCE + 8 * 4 + 32 + 8 + GATE_TICKET + 1 + 32 + 32 + SIGN_SIG)
#define COMMAND_FIXED (GATE_NONCE + 8 + SIGN_SIG)
#define RESULT_FIXED (1 + GATE_NONCE + 1)

static const struct { const char *label; size_t max; } form[] = {
	[GATE_HELLO] = { "encdns gate hello v1", HELLO_FIXED + GATE_INVENTORY },
	[GATE_IDENTITY] = { NULL, 2 * (2 + CERT_MAX) },
	[GATE_BUNDLE] = { NULL, 1 + GATE_CHUNK },
	[GATE_AUTH] = { "encdns gate auth v1", AUTH_LEN },
	[GATE_COMMAND] = { "encdns gate command v1", COMMAND_FIXED + GATE_WORDS },
	[GATE_RESULT] = { NULL, RESULT_FIXED + GATE_TEXT },
};
_Static_assert(HELLO_FIXED + GATE_INVENTORY <= GATE_FRAME_MAX, "the longest frame");
_Static_assert(GATE_INVENTORY == INVENTORY_MAX, "one limit");

static const char ODD[] = "it is not of the form we know";
static const char FORGED[] = "its signature is not the certificate's, or for another connection";

const char *gate_state_text(enum gate_state s)
{
	return s == GATE_NEW ? "new" : s == GATE_WAITING ? "waiting" : "running";
}

/* ---- keys ---- */

struct key *gate_key_system(const struct key *master, const uint8_t salt[static GATE_SALT],
                            const uint8_t id[static MACHINE_ID])
{
	uint8_t info[64];
	struct wr w = wr_init(info, sizeof info);

	wr_bytes(&w, "system/v1", 9);
	wr_bytes(&w, id, MACHINE_ID);
	return key_expand(master, info, wr_len(&w), salt, GATE_SALT);
}

struct key *gate_key_data(const struct key *master, const uint8_t salt[static GATE_SALT],
                          const uint8_t id[static MACHINE_ID], const uint8_t epoch[static GATE_EPOCH])
{
	uint8_t info[64];
	struct wr w = wr_init(info, sizeof info);

	wr_bytes(&w, "data/v1", 7);
	wr_bytes(&w, id, MACHINE_ID);
	wr_bytes(&w, epoch, GATE_EPOCH);
	return key_expand(master, info, wr_len(&w), salt, GATE_SALT);
}

/* ---- nonces ---- */

void gate_nonce_make(struct gate_nonce *n, uint64_t now_ns)
{
	crypto_random(n->v, sizeof n->v);
	n->made_ns = now_ns;
	n->fresh = true;
}

const char *gate_nonce_take(struct gate_nonce *n, const uint8_t v[static GATE_NONCE], uint64_t life_s,
                            uint64_t now_ns)
{
	bool fresh = n->fresh;

	n->fresh = false;
	if (!fresh)
		return "it comes without an offer of ours";
	if (!crypto_equal(n->v, v, GATE_NONCE))
		return "it answers another offer than our last";
	if (now_ns < n->made_ns || (now_ns - n->made_ns) / SECOND_NS > life_s)
		return "it came too late";
	return NULL;
}

/* ---- frames ---- */

struct gate_buf {
	size_t len;   /* octets that are there */
	size_t given; /* of the first frame, which somebody is looking at */
	uint8_t b[2 * (HEAD + GATE_FRAME_MAX)];
};

struct gate_buf *gate_buf_new(void)
{
	return pool_alloc(sizeof(struct gate_buf));
}

void gate_buf_free(struct gate_buf *b)
{
	pool_free(b, sizeof *b);
}

/* Room at the end; then how much of it was filled. */
static uint8_t *room_in(struct gate_buf *b, size_t *n)
{
	*n = sizeof b->b - b->len;
	return b->b + b->len;
}

static void added(struct gate_buf *b, size_t n)
{
	b->len += n;
}

/* The first n octets are of no use any more. */
static void gone(struct gate_buf *b, size_t n)
{
	memmove(b->b, b->b + n, b->len - n);
	crypto_wipe(b->b + b->len - n, n);
	b->len -= n;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

void gate_buf_take(struct gate_buf *in, struct tls *t)
{
	const uint8_t *p;
	size_t n, room;

	while ((p = tls_app_out(t, &n)) && n > 0) {
		uint8_t *to = room_in(in, &room);

		if (room == 0)
			return;
		n = least(n, room);
		memcpy(to, p, n);
		added(in, n);
		tls_app_out_done(t, n);
	}
}

bool gate_buf_give(struct gate_buf *out, struct tls *t)
{
	uint8_t *p;
	size_t n;
	bool any = false;

	while (out->len > 0 && (p = tls_app_in(t, &n)) && n > 0) {
		n = least(n, out->len);
		memcpy(p, out->b, n);
		tls_app_in_done(t, n);
		gone(out, n);
		any = true;
	}
	if (any)
		tls_flush(t);
	return out->len == 0;
}

int gate_next(struct gate_buf *in, enum gate_type *type, uint8_t **p, size_t *n)
{
	gone(in, in->given);
	in->given = 0;
	if (in->len < HEAD)
		return 0;
	size_t len = get_u24(in->b);
	uint8_t t = in->b[3];
	if (t < GATE_HELLO || t > GATE_RESULT || len > form[t].max)
		return -1;
	if (in->len < HEAD + len)
		return 0;
	in->given = HEAD + len;
	*type = t;
	*p = in->b + HEAD;
	*n = len;
	return 1;
}

static struct wr begin(struct gate_buf *out)
{
	size_t room;
	uint8_t *p = room_in(out, &room);
	struct wr w = wr_init(p, room);

	wr_take(&w, HEAD);
	return w;
}

static bool end(struct gate_buf *out, struct wr *w, enum gate_type type)
{
	size_t n = wr_len(w);

	if (w->bad || n - HEAD > form[type].max) {
		crypto_wipe(w->start, n);
		return false;
	}
	put_u24(w->start, (uint32_t)(n - HEAD));
	w->start[3] = type;
	added(out, n);
	return true;
}

/* ---- signatures ---- */

static bool end_signed(struct gate_buf *out, struct wr *w, enum gate_type type, const struct cred *by,
                       const uint8_t exporter[static 32])
{
	uint8_t sig[SIGN_SIG];
	struct part part[] = { { form[type].label, strlen(form[type].label) },
		               { exporter, 32 },
		               { w->start + HEAD, wr_len(w) - HEAD } };

	if (!w->bad && signer_sign_parts(by->key, part, 3, sig) != 0)
		w->bad = true;
	wr_bytes(w, sig, sizeof sig);
	return end(out, w, type);
}

/* What is before the signature, when that is right; else bad. */
static struct rd open_signed(const uint8_t *p, size_t n, enum gate_type type,
                             const uint8_t pub[static SIGN_PUB], const uint8_t exporter[static 32])
{
	if (n < SIGN_SIG)
		return (struct rd){ .bad = true };
	size_t body = n - SIGN_SIG;
	struct part part[] = { { form[type].label, strlen(form[type].label) }, { exporter, 32 }, { p, body } };
	struct rd r = rd_init(p, body);
	r.bad = !sign_verify_parts(pub, part, 3, p + body);
	return r;
}

/* ---- HELLO ---- */

bool gate_put_hello(struct gate_buf *out, const struct gate_hello *h, const struct cred *machine,
                    const uint8_t exporter[static 32])
{
	struct wr w = begin(out);

	if (h->inventory_len > GATE_INVENTORY)
		w.bad = true;
	wr_u8(&w, GATE_VERSION);
	wr_u8(&w, h->state);
	wr_bytes(&w, h->id, MACHINE_ID);
	wr_bytes(&w, h->nonce, GATE_NONCE);
	wr_u64(&w, h->boots);
	wr_bytes(&w, h->salt, GATE_SALT);
	wr_bytes(&w, h->image, sizeof h->image);
	wr_bytes(&w, h->ticket, sizeof h->ticket);
	wr_u64(&w, h->generation);
	wr_u64(&w, h->clock);
	wr_u8(&w, h->store);
	wr_u16(&w, (uint32_t)h->inventory_len);
	wr_bytes(&w, h->inventory, h->inventory_len);
	return end_signed(out, &w, GATE_HELLO, machine, exporter);
}

const char *gate_read_hello(const uint8_t *p, size_t n, const uint8_t pub[static SIGN_PUB],
                            const uint8_t exporter[static 32], struct gate_hello *out)
{
	struct gate_hello h = { 0 };
	uint8_t id[MACHINE_ID];

	if (n < 1 || p[0] != GATE_VERSION)
		return "the machine speaks another version of the protocol";
	struct rd r = open_signed(p, n, GATE_HELLO, pub, exporter);
	if (r.bad)
		return FORGED;
	rd_u8(&r);
	uint8_t state = rd_u8(&r);
	rd_copy(&r, h.id, sizeof h.id);
	rd_copy(&r, h.nonce, sizeof h.nonce);
	h.boots = rd_u64(&r);
	rd_copy(&r, h.salt, sizeof h.salt);
	rd_copy(&r, h.image, sizeof h.image);
	rd_copy(&r, h.ticket, sizeof h.ticket);
	h.generation = rd_u64(&r);
	h.clock = rd_u64(&r);
	uint8_t store = rd_u8(&r);
	h.inventory_len = rd_u16(&r);
	h.inventory = (const char *)rd_take(&r, h.inventory_len);
	if (r.bad || rd_left(&r) || state < GATE_NEW || state > GATE_RUNNING || store > 1)
		return ODD;
	if (!inventory_valid(h.inventory, h.inventory_len))
		return "the machine's inventory is not of the form we know";
	machine_id(pub, id);
	if (memcmp(id, h.id, sizeof id) != 0)
		return "the machine's id is not its key's";
	h.state = state;
	h.store = store;
	*out = h;
	return NULL;
}

/* ---- IDENTITY ---- */

static void put_der(struct wr *w, const struct rd *der)
{
	if (rd_left(der) > CERT_MAX)
		w->bad = true;
	wr_u16(w, (uint32_t)rd_left(der));
	wr_bytes(w, der->p, rd_left(der));
}

bool gate_put_identity(struct gate_buf *out, const struct gate_identity *i)
{
	struct wr w = begin(out);

	put_der(&w, &i->leaf);
	put_der(&w, &i->issuing);
	return end(out, &w, GATE_IDENTITY);
}

const char *gate_read_identity(const uint8_t *p, size_t n, const struct cred *machine, int64_t now,
                               struct gate_identity *out)
{
	struct rd r = rd_init(p, n);
	struct gate_identity i;
	struct cert leaf, issuing;
	const char *why;

	size_t len = rd_u16(&r);
	i.leaf = rd_sub(&r, len);
	len = rd_u16(&r);
	i.issuing = rd_sub(&r, len);
	if (r.bad || rd_left(&r))
		return ODD;
	if (cert_parse(i.leaf.p, rd_left(&i.leaf), &leaf, &why) != 0 ||
	    cert_parse(i.issuing.p, rd_left(&i.issuing), &issuing, &why) != 0 ||
	    (why = cert_judge(&leaf, &issuing, &machine->cert[CERT_ROOT], ROLE_MACHINE, now)))
		return why;
	if (memcmp(leaf.pub, machine->key->pub, SIGN_PUB) != 0)
		return "the certificate is for another machine's key";
	if (denials_have(machine->denied, leaf.serial.p))
		return "the certificate is denied";
	*out = i;
	return NULL;
}

/* ---- BUNDLE ---- */

bool gate_put_chunk(struct gate_buf *out, const struct gate_chunk *c)
{
	struct wr w = begin(out);

	wr_u8(&w, (unsigned)c->first | (unsigned)c->last << 1);
	wr_bytes(&w, c->data.p, rd_left(&c->data));
	return end(out, &w, GATE_BUNDLE);
}

const char *gate_read_chunk(const uint8_t *p, size_t n, struct gate_chunk *out)
{
	struct rd r = rd_init(p, n);
	uint8_t flags = rd_u8(&r);

	if (r.bad || flags > 3 || rd_left(&r) == 0 || rd_left(&r) > GATE_CHUNK)
		return ODD;
	*out = (struct gate_chunk){ flags & 1, flags >> 1, r };
	return NULL;
}

/* ---- AUTH ---- */

static const char *auth_wrong(const struct gate_auth *a)
{
	if (a->flags & ~(GATE_TICKET_WRONG | GATE_STORE_REFILL))
		return ODD;
	if (a->issued > a->time || a->time > a->expiry)
		return "its times contradict each other";
	if (a->expiry - a->issued > GATE_LIFE_MAX)
		return "it claims to be valid for too long";
	return NULL;
}

bool gate_put_auth(struct gate_buf *out, const struct gate_auth *a, const struct cred *operator,
                   const uint8_t exporter[static 32])
{
	struct wr w = begin(out);

	if (auth_wrong(a))
		w.bad = true;
	wr_bytes(&w, a->id, sizeof a->id);
	wr_bytes(&w, a->nonce, sizeof a->nonce);
	wr_u64(&w, a->issued);
	wr_u64(&w, a->expiry);
	wr_u64(&w, a->time);
	wr_u64(&w, a->seq);
	wr_bytes(&w, a->chain, sizeof a->chain);
	wr_u64(&w, a->generation);
	wr_bytes(&w, a->ticket, sizeof a->ticket);
	wr_u8(&w, a->flags);
	wr_bytes(&w, a->k_system->b, sizeof a->k_system->b);
	wr_bytes(&w, a->k_data->b, sizeof a->k_data->b);
	return end_signed(out, &w, GATE_AUTH, operator, exporter);
}

static const char *read_auth(const uint8_t *p, size_t n, const struct gate_terms *t, struct gate_auth *a)
{
	if (n != AUTH_LEN)
		return ODD;
	struct rd r = open_signed(p, n, GATE_AUTH, t->pub, t->exporter);
	if (r.bad)
		return FORGED;
	rd_copy(&r, a->id, sizeof a->id);
	rd_copy(&r, a->nonce, sizeof a->nonce);
	a->issued = rd_u64(&r);
	a->expiry = rd_u64(&r);
	a->time = rd_u64(&r);
	a->seq = rd_u64(&r);
	rd_copy(&r, a->chain, sizeof a->chain);
	a->generation = rd_u64(&r);
	rd_copy(&r, a->ticket, sizeof a->ticket);
	a->flags = rd_u8(&r);
	const uint8_t *keys = rd_take(&r, 64);
	if (r.bad || rd_left(&r))
		return ODD;
	if (memcmp(a->id, t->id, sizeof a->id) != 0)
		return "it is meant for another machine";
	const char *why = auth_wrong(a);
	if (!why)
		why = gate_nonce_take(t->nonce, a->nonce, a->expiry - a->issued, t->now_ns);
	if (why)
		return why;
	a->k_system = key_from(keys);
	a->k_data = key_from(keys + 32);
	return a->k_system && a->k_data ? NULL : "no memory for keys";
}

const char *gate_read_auth(uint8_t *p, size_t n, const struct gate_terms *t, struct gate_auth *out)
{
	struct gate_auth a = { 0 };
	const char *why = read_auth(p, n, t, &a);

	t->nonce->fresh = false;
	crypto_wipe(p, n);
	if (why)
		gate_auth_free(&a);
	else
		*out = a;
	return why;
}

void gate_auth_free(struct gate_auth *a)
{
	key_free(a->k_system);
	key_free(a->k_data);
	crypto_wipe(a, sizeof *a);
}

/* ---- COMMAND ---- */

static bool printable(char c)
{
	return c >= ' ' && c <= '~';
}

/* A word to its NUL. */
static bool word_ok(const char *w)
{
	size_t n = 0;

	while (printable(w[n]))
		n++;
	return n > 0 && w[n] == 0;
}

bool gate_put_command(struct gate_buf *out, const struct gate_command *c, const struct cred *operator,
                      const uint8_t exporter[static 32])
{
	struct wr w = begin(out);

	if (c->argc < 1 || c->argc > (int)GATE_WORD_MAX)
		w.bad = true;
	wr_bytes(&w, c->nonce, sizeof c->nonce);
	wr_u64(&w, c->issued);
	for (int i = 0; i < c->argc && !w.bad; i++) {
		if (!word_ok(c->argv[i]))
			w.bad = true;
		wr_bytes(&w, c->argv[i], strlen(c->argv[i]) + 1);
	}
	return end_signed(out, &w, GATE_COMMAND, operator, exporter);
}

/* text[0..n) ends with a NUL. */
static bool split(char *text, size_t n, struct gate_command *c)
{
	while (n > 0) {
		if (c->argc == (int)GATE_WORD_MAX || !word_ok(text))
			return false;
		size_t len = strlen(text) + 1;
		c->argv[c->argc++] = text;
		text += len;
		n -= len;
	}
	return true;
}

static const char *read_command(uint8_t *p, size_t n, const struct gate_terms *t, struct gate_command *c)
{
	struct rd r = open_signed(p, n, GATE_COMMAND, t->pub, t->exporter);

	if (r.bad)
		return FORGED;
	rd_copy(&r, c->nonce, sizeof c->nonce);
	c->issued = rd_u64(&r);
	size_t len = rd_left(&r);
	if (r.bad || len == 0 || len > GATE_WORDS || r.end[-1] != 0)
		return ODD;
	if (!split((char *)p + GATE_NONCE + 8, len, c))
		return "its words are not of the form we know";
	return gate_nonce_take(t->nonce, c->nonce, GATE_LIFE_MAX, t->now_ns);
}

const char *gate_read_command(uint8_t *p, size_t n, const struct gate_terms *t, struct gate_command *out)
{
	struct gate_command c = { 0 };
	const char *why = read_command(p, n, t, &c);

	t->nonce->fresh = false;
	if (!why)
		*out = c;
	return why;
}

/* ---- RESULT ---- */

static bool shows(char c)
{
	return printable(c) || c == '\n' || c == '\t';
}

bool gate_put_result(struct gate_buf *out, const struct gate_result *r)
{
	struct wr w = begin(out);

	wr_u8(&w, r->code);
	wr_bytes(&w, r->nonce, sizeof r->nonce);
	wr_u8(&w, r->more);
	char *text = (char *)wr_take(&w, r->text_len);
	for (size_t i = 0; text && i < r->text_len; i++)
		text[i] = shows(r->text[i]) ? r->text[i] : '?';
	return end(out, &w, GATE_RESULT);
}

const char *gate_read_result(const uint8_t *p, size_t n, struct gate_result *out)
{
	struct rd r = rd_init(p, n);
	struct gate_result res = { 0 };
	uint8_t code = rd_u8(&r);

	rd_copy(&r, res.nonce, sizeof res.nonce);
	uint8_t more = rd_u8(&r);
	res.text_len = rd_left(&r);
	res.text = (const char *)r.p;
	if (r.bad || code > GATE_FAILED || more > 1 || res.text_len > GATE_TEXT)
		return ODD;
	for (size_t i = 0; i < res.text_len; i++)
		if (!shows(res.text[i]))
			return "there are octets in the answer that a terminal should not see";
	res.code = code;
	res.more = more;
	*out = res;
	return NULL;
}
