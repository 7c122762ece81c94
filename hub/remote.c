/* remote.c - a session with a machine.  Contract in remote.h.
 * Threat: a machine in strange hands, or somebody in its place: TLS takes its own key
 * only, what it sends is bounded, and nobody waits for it for long. */
#include "hub/remote.h"

#include "base/loop.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STEP_MS   15000           /* patience with each answer */
#define STAYS_MS  90000           /* a machine hangs up on who says nothing for two minutes */
#define ANSWER_MS 150000          /* with all pieces of an answer */
#define HELLO_MS  5000            /* and with the first: a crowded port loses some */
#define MS        1000000ull

static int fail(struct remote *r, const char *why)
{
	if (!*r->err)
		snprintf(r->err, sizeof r->err, "%s", why);
	return -1;
}

static int cannot(struct remote *r, const char *what, const char *why)
{
	char text[sizeof r->err];
	snprintf(text, sizeof text, "%s (%s)", why, what);
	return fail(r, text);
}

/* What a machine says that will hear no more. */
static int read_refusal(struct remote *r, uint8_t *p, size_t n)
{
	struct gate_result res;
	char text[200];
	if (gate_read_result(p, n, &res) != NULL)
		return fail(r, "it speaks another language");
	snprintf(text, sizeof text, "it says: %.*s", (int)(res.text_len < 150 ? res.text_len : 150),
	         res.text);
	return fail(r, text);
}

/* ---- the wire ---- */

static int send_wire(struct remote *r)
{
	const uint8_t *p;
	size_t n;
	while ((p = tls_wire_out(r->tls, &n)) != NULL) {
		ssize_t w = send(r->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return errno == EAGAIN ? 0 : fail(r, strerror(errno));
		tls_wire_out_done(r->tls, (size_t)w);
	}
	return 0;
}

static int take_wire(struct remote *r)
{
	size_t room;
	uint8_t *to = tls_wire_in(r->tls, &room);
	if (!to)
		return 0;
	ssize_t n = recv(r->fd, to, room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return fail(r, n < 0 ? strerror(errno) : "it has closed the connection");
	tls_wire_in_done(r->tls, (size_t)n);
	return 0;
}

/* Waits for the wire once, and moves what can be moved. */
static int turn(struct remote *r, uint64_t until)
{
	size_t n;
	if (send_wire(r) != 0)
		return -1;
	if (tls_closed(r->tls)) {
		const char *why = tls_error(r->tls);
		return fail(r, why ? why : "it has ended the session");
	}
	uint64_t now = loop_now();
	if (now >= until)
		return fail(r, "it does not answer");
	struct pollfd p = {
		r->fd,
		(short)((tls_wire_in(r->tls, &n) ? POLLIN : 0) | (tls_wire_out(r->tls, &n) ? POLLOUT : 0)), 0
	};
	if (poll(&p, 1, (int)((until - now) / MS + 1)) < 0 && errno != EINTR)
		return fail(r, strerror(errno));
	if (p.revents & (POLLHUP | POLLERR) && !tls_wire_in(r->tls, &n))
		return fail(r, "it has closed the connection"); /* before all it had sent was taken */
	return p.revents & (POLLIN | POLLHUP | POLLERR) ? take_wire(r) : 0;
}

/* The next message that has come: 1, 0: none is whole yet, -1: it is none. */
static int take(struct remote *r, enum gate_type *type, uint8_t **p, size_t *n)
{
	gate_buf_take(r->in, r->tls);
	int got = gate_next(r->in, type, p, n);
	return got < 0 ? fail(r, "it speaks another language") : got;
}

/* A message that comes before ours is out says why the machine won't hear it. */
static int interrupted(struct remote *r)
{
	enum gate_type type;
	uint8_t *p;
	size_t n;
	int got = take(r, &type, &p, &n);
	if (got > 0)
		return type == GATE_RESULT ? read_refusal(r, p, n) : fail(r, "it speaks out of turn");
	return got;
}

/* The connection is broken on our way out: what it said before may still lie here. */
static int broken(struct remote *r)
{
	char why[sizeof r->err];
	size_t n;
	memcpy(why, r->err, sizeof why);
	*r->err = 0;
	for (uint8_t *to; interrupted(r) == 0 && (to = tls_wire_in(r->tls, &n)) != NULL;) {
		ssize_t got = recv(r->fd, to, n, MSG_DONTWAIT);
		if (got <= 0)
			break;
		tls_wire_in_done(r->tls, (size_t)got);
	}
	return fail(r, why);
}

static int flush(struct remote *r)
{
	uint64_t until = loop_now() + STEP_MS * MS;
	size_t n;
	for (;;) {
		if (interrupted(r) != 0)
			return -1;
		bool given = gate_buf_give(r->out, r->tls);
		if (send_wire(r) != 0)
			return broken(r);
		if (given && !tls_wire_out(r->tls, &n))
			return 0;
		if (!tls_wire_out(r->tls, &n) && !tls_closed(r->tls)) /* there is room now for what waits */
			continue;
		if (turn(r, until) != 0)
			return broken(r);
	}
}

static int next(struct remote *r, unsigned ms, enum gate_type *type, uint8_t **p, size_t *n)
{
	uint64_t until = loop_now() + ms * MS;
	int got;
	while ((got = take(r, type, p, n)) == 0)
		if (turn(r, until) != 0)
			return -1;
	return got > 0 ? 0 : -1;
}

/* ---- connecting ---- */

static int dial(struct remote *r, const char *host, const char *port)
{
	struct addrinfo hint = { .ai_socktype = SOCK_STREAM }, *a;
	int one = 1;
	int e = getaddrinfo(host, port, &hint, &a);
	if (e != 0)
		return cannot(r, "no address is found for it",
		              e == EAI_SYSTEM ? strerror(errno) : gai_strerror(e));
	r->fd = -1;
	for (struct addrinfo *i = a; i && r->fd < 0; i = i->ai_next) {
		struct timeval patience = { 5, 0 };
		r->fd = socket(i->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (r->fd < 0)
			continue;
		setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		setsockopt(r->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* for connect() */
		if (connect(r->fd, i->ai_addr, i->ai_addrlen) != 0) {
			int why = errno == EINPROGRESS ? ETIMEDOUT : errno;
			close(r->fd);
			r->fd = -1;
			errno = why;
		}
	}
	e = errno;
	freeaddrinfo(a);
	return r->fd < 0 ? cannot(r, "is encdns run at work there, and is this its `unlock` in DIR/boot?",
	                          strerror(e))
	                 : 0;
}

static int handshake(struct remote *r)
{
	uint64_t until = loop_now() + HELLO_MS * MS;
	while (!tls_ready(r->tls))
		if (turn(r, until) != 0)
			return -1;
	memcpy(r->pub, tls_peer(r->tls)->pub, SIGN_PUB);
	if (tls_export(r->tls, GATE_EXPORT, r->exporter) != 0)
		return fail(r, "its session yields no key of its own");
	return 0;
}

static int hear_hello(struct remote *r)
{
	enum gate_type type;
	uint8_t *p;
	size_t n;
	if (next(r, HELLO_MS, &type, &p, &n) != 0)
		return -1;
	if (type == GATE_RESULT)
		return read_refusal(r, p, n);
	const char *why = type == GATE_HELLO ? gate_read_hello(p, n, r->pub, r->exporter, &r->hello)
	                                     : "it speaks out of turn";
	if (why)
		return fail(r, why);
	r->inventory.n = 0;
	buf_put(&r->inventory, r->hello.inventory, r->hello.inventory_len);
	memcpy(r->nonce, r->hello.nonce, GATE_NONCE);
	return 0;
}

static void hang_up(struct remote *r)
{
	if (r->fd >= 0)
		close(r->fd);
	r->fd = -1;
	tls_free(r->tls);
	gate_buf_free(r->in);
	gate_buf_free(r->out);
	r->tls = NULL;
	r->in = r->out = NULL;
}

/* One try; 0, or -1: *final: another one would end alike. */
static int attempt(struct remote *r, const char *host, const char *port, const uint8_t *pub, bool *final)
{
	*r->err = 0;
	*final = false;
	if (dial(r, host, port) != 0)
		return -1;
	r->tls = tls_client_machine(r->cred, pub);
	r->in = gate_buf_new();
	r->out = gate_buf_new();
	*final = true;
	if (!r->tls || !r->in || !r->out)
		return fail(r, "no memory for keys");
	if (handshake(r) != 0) {
		*final = tls_error(r->tls) != NULL;
		return -1;
	}
	*final = false;
	return hear_hello(r);
}

int remote_open(struct remote *r, const char *host, const struct cred *c, const uint8_t *pub, unsigned wait_s)
{
	char name[256], port[8];
	bool final;
	uint64_t begun = loop_now(), until = begun + wait_s * 1000 * MS, pause_ms = 2;
	*r = (struct remote){ .fd = -1, .cred = c };
	if (!host_split(host, name, port))
		return station_complain("%s: is no HOST or HOST@PORT", host);
	while (attempt(r, name, port, pub, &final) != 0) {
		hang_up(r);
		if (final || loop_now() >= until)
			return station_complain("%s: %s", host, r->err);
		usleep((useconds_t)pause_ms * 1000);
		/* a machine that is just starting is not to be kept waiting */
		pause_ms = loop_now() - begun < 2000 * MS ? 5 : pause_ms < 200 ? pause_ms * 2 : 200;
	}
	r->opened_ns = loop_now();
	return 0;
}

/* What an operator has looked at is what it says again. */
static bool same_hello(const struct remote *a, const struct remote *b)
{
	const struct gate_hello *x = &a->hello, *y = &b->hello;
	return x->state == y->state && x->boots == y->boots && x->generation == y->generation &&
	       x->store == y->store && memcmp(x->id, y->id, sizeof x->id) == 0 &&
	       memcmp(x->salt, y->salt, sizeof x->salt) == 0 &&
	       memcmp(x->image, y->image, sizeof x->image) == 0 &&
	       memcmp(x->ticket, y->ticket, sizeof x->ticket) == 0 && a->inventory.n == b->inventory.n &&
	       memcmp(a->inventory.p, b->inventory.p, a->inventory.n) == 0;
}

int remote_resume(struct remote *r, const char *host, unsigned wait_s)
{
	struct remote again;
	if (loop_now() - r->opened_ns < STAYS_MS * MS)
		return 0;
	if (remote_open(&again, host, r->cred, r->pub, wait_s) != 0)
		return 1;
	bool same = same_hello(r, &again);
	remote_close(r);
	*r = again;
	return same ? 0 : station_complain("%s: it says something else than before: look again", host);
}

void remote_close(struct remote *r)
{
	if (r->tls) {
		tls_close(r->tls);
		send_wire(r);
	}
	hang_up(r);
	buf_free(&r->inventory);
	crypto_wipe(r->exporter, sizeof r->exporter);
}

/* ---- messages ---- */

static int said(struct remote *r)
{
	return station_complain("the machine: %s", r->err);
}

int remote_flush(struct remote *r) { return flush(r) == 0 ? 0 : said(r); }

int remote_put_bundle(struct remote *r, const void *p, size_t n)
{
	for (size_t at = 0; at < n;) {
		size_t len = n - at < GATE_CHUNK ? n - at : GATE_CHUNK;
		struct gate_chunk c = { at == 0, at + len == n, rd_init((const uint8_t *)p + at, len) };
		if (!gate_put_chunk(r->out, &c) || flush(r) != 0)
			return fail(r, "a message can't be made"), said(r);
		at += len;
	}
	return 0;
}

int remote_result(struct remote *r, enum gate_code *code, struct buf *text)
{
	struct gate_result res;
	enum gate_type type;
	uint64_t until = loop_now() + ANSWER_MS * MS;
	uint8_t *p;
	size_t n;
	do {
		if (next(r, STEP_MS, &type, &p, &n) != 0)
			return said(r);
		const char *why =
			type == GATE_RESULT ? gate_read_result(p, n, &res) : "it speaks out of turn";
		if (!why && (text->n + res.text_len > REMOTE_TEXT || loop_now() > until))
			why = "its answer has no end";
		if (why)
			return fail(r, why), said(r);
		buf_put(text, res.text, res.text_len);
	} while (res.more);
	buf_put(text, "", 1);
	memcpy(r->nonce, res.nonce, GATE_NONCE);
	*code = res.code;
	return text->bad ? station_complain("no memory") : 0;
}
