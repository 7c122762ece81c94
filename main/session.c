/* session.c - an operator's session.  Contract in session.h.
 * Threat: a certified operator who is not what he seems, or plays back what he has
 * recorded: nonce, exporter and signature decide (crypto/gate.c); whoever is refused
 * hears that and nothing else.  What he sends is bounded. */
#include "main/session.h"

#include "base/io.h"
#include "base/log.h"
#include "journal.h"
#include "main/inventory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX (4u << 20) /* octets of a command's answer */

struct session {
	struct session_conf conf;
	void *conn;
	struct tls *tls;
	struct gate_buf *in, *out;
	struct gate_nonce nonce;
	uint8_t exporter[32];
	char who[160];
	int bundle_fd;       /* the bundle that is coming, -1: none */
	uint64_t bundle_n;
	bool bundle_whole;
	struct ctl_conn *job; /* the command at work */
	bool answering;      /* a RESULT is on its way, perhaps in pieces */
	bool answered;       /* its text is whole */
	bool cut;            /* it did not fit: the command has failed */
	enum gate_code code;
	struct buf text;
	size_t text_at;
	uint64_t since_ns;   /* session_since() */
	bool ending, failed, unlocked;
};

uint64_t session_since(const struct session *s) { return s->since_ns; }
bool session_ending(const struct session *s) { return s->ending; }
bool session_failed(const struct session *s) { return s->failed; }
bool session_unlocked(const struct session *s) { return s->unlocked; }
const char *session_who(const struct session *s) { return s->who; }
const struct tls_peer *session_peer(const struct session *s) { return tls_peer(s->tls); }

static struct machine *machine_of(const struct session *s) { return s->conf.gate->machine; }

/* ---- answering ---- */

static void answer(struct session *s, enum gate_code code, const char *text)
{
	s->text.n = s->text_at = 0;
	buf_put(&s->text, text, strlen(text));
	s->code = code;
	s->answering = s->answered = true;
}

static void refuse(struct session *s, const char *why)
{
	log_say(LOG_WARNING, "%s: refused: %s", s->who, why); /* a few in a minute: then he has to wait */
	answer(s, GATE_NO, GATE_REFUSED);
	s->failed = s->ending = true;
}

void session_turn_away(struct session *s, const char *text)
{
	answer(s, GATE_NO, text);
	s->ending = true;
}

/* Pieces of the text, as far as there is room. */
static void push(struct session *s, uint64_t now)
{
	while (s->answering) {
		size_t n = s->text.n - s->text_at;
		bool cut = n > GATE_TEXT - 1;
		struct gate_result r = { .code = s->code, .more = cut, .text = (char *)s->text.p + s->text_at,
			                 .text_len = cut ? GATE_TEXT - 1 : n };
		if (!s->answered && !cut)
			return;
		if (!r.more) {
			gate_nonce_make(&s->nonce, now);
			memcpy(r.nonce, s->nonce.v, GATE_NONCE);
		}
		if (!gate_put_result(s->out, &r))
			return;
		s->text_at += r.text_len;
		s->answering = r.more;
		s->since_ns = now;
	}
	s->answered = s->cut = false;
	s->text.n = s->text_at = 0;
}

static void job_out(void *owner, int stream, const char *p, size_t n)
{
	struct session *s = owner;
	(void)stream;
	s->cut |= s->text.n + n > ANSWER_MAX;
	if (!s->cut)
		buf_put(&s->text, p, n);
	s->conf.wake(s->conn);
}

static void job_done(void *owner, int code)
{
	struct session *s = owner;
	s->job = NULL;
	s->code = code == 0 && !s->cut && !s->text.bad ? GATE_DONE : GATE_FAILED;
	s->answered = true;
	s->conf.wake(s->conn);
}

static const struct ctl_sink job_sink = { job_out, job_done };

/* ---- HELLO ---- */

static uint64_t generation_of(const struct machine *m)
{
	struct bundle_head h;
	size_t n;
	const uint8_t *p = machine_map(m, "bundle", &n);
	uint64_t g = p && bundle_peek(p, n, &h) ? h.generation : 0;
	machine_unmap(p, n);
	return g;
}

static bool put_hello(struct session *s, uint64_t now)
{
	const struct machine *m = machine_of(s);
	char *inventory = m->inventory ? m->inventory : malloc(INVENTORY_MAX);
	uint8_t ticket[GATE_TICKET];
	struct gate_hello h = { .boots = m->boots,
		                .clock = (uint64_t)time(NULL),
		                .store = s->conf.gate->store,
		                .generation = generation_of(m),
		                .inventory = inventory };
	if (!inventory)
		return false;
	h.state = s->conf.gate->running        ? GATE_RUNNING
	          : identity_enrolled(m->cred) ? GATE_WAITING
	                                       : GATE_NEW;
	memcpy(h.id, m->id, sizeof h.id);
	memcpy(h.salt, m->salt, sizeof h.salt);
	memcpy(h.image, m->image, sizeof h.image);
	if (machine_read_hex(m, "ticket", ticket))
		sha256(ticket, sizeof ticket, h.ticket);
	gate_nonce_make(&s->nonce, now);
	memcpy(h.nonce, s->nonce.v, sizeof h.nonce);
	h.inventory_len = m->inventory ? m->inventory_len : inventory_collect("", m->image, inventory);
	bool good = gate_put_hello(s->out, &h, m->cred, s->exporter);
	if (!m->inventory)
		free(inventory);
	return good;
}

/* ---- what comes ---- */

static void on_identity(struct session *s, const uint8_t *p, size_t n)
{
	struct gate_identity id;
	struct machine *m = machine_of(s);
	char err[300];
	const char *why = gate_read_identity(p, n, m->cred, cert_now(), &id);
	if (why) {
		refuse(s, why);
	} else if (identity_certify(m->dir, &id, err, sizeof err) != 0) {
		log_say(LOG_ERROR, "%s: %s", m->path, err);
		answer(s, GATE_FAILED, err);
		s->ending = true;
	} else {
		log_say(LOG_NOTICE, "%s: this machine's identity is certified", s->who);
	}
}

static void bundle_failed(struct session *s)
{
	char text[200];
	snprintf(text, sizeof text, "the bundle can't be written: %s", strerror(errno));
	log_say(LOG_ERROR, "%s/bundle.new: %s", machine_of(s)->path, strerror(errno));
	answer(s, GATE_FAILED, text);
	s->ending = true;
}

/* Straight to the disk: nothing of it is believed before it is opened. */
static void on_chunk(struct session *s, const uint8_t *p, size_t n)
{
	struct gate_chunk c;
	const char *why = gate_read_chunk(p, n, &c);
	if (!why && (c.first != (s->bundle_fd < 0)))
		why = "a bundle's pieces out of order";
	if (!why && s->bundle_n + rd_left(&c.data) > BUNDLE_MAX)
		why = "a bundle too large";
	if (why) {
		refuse(s, why);
		return;
	}
	if (c.first) {
		s->bundle_n = 0;
		s->bundle_whole = false;
		s->bundle_fd = openat(machine_of(s)->dir, "bundle.new",
		                      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	}
	if (s->bundle_fd < 0 || io_write_all(s->bundle_fd, c.data.p, rd_left(&c.data)) != 0) {
		bundle_failed(s);
		return;
	}
	s->bundle_n += rd_left(&c.data);
	if (!c.last)
		return;
	bool good = fsync(s->bundle_fd) == 0;
	good &= close(s->bundle_fd) == 0;
	s->bundle_fd = -1;
	s->bundle_whole = good;
	if (!good)
		bundle_failed(s);
}

static void on_auth(struct session *s, const struct gate_terms *t, uint8_t *p, size_t n)
{
	struct gate_auth a;
	bool failed = false;
	const char *why = gate_read_auth(p, n, t, &a);
	if (why) {
		refuse(s, why);
		return;
	}
	const char *bundle = s->bundle_whole ? "bundle.new" : "bundle";
	why = s->conf.calls->unlock(s->conf.owner, &a, bundle, s->who, &failed);
	gate_auth_free(&a);
	if (why && !failed) {
		refuse(s, why);
	} else if (why) {
		/* he has the right keys; of many lines the first, the others were said */
		log_say(LOG_WARNING, "%s: not unlocked: %.*s", s->who, (int)strcspn(why, "\n"), why);
		answer(s, GATE_FAILED, why);
	} else {
		answer(s, GATE_DONE, "");
		s->unlocked = s->ending = true;
	}
}

static void on_command(struct session *s, const struct gate_terms *t, uint8_t *p, size_t n)
{
	struct gate_command c;
	const char *why = gate_read_command(p, n, t, &c);
	if (why) {
		refuse(s, why);
		return;
	}
	s->job = ctl_sink_new(&job_sink, s);
	if (!s->job) {
		answer(s, GATE_FAILED, "no memory");
		return;
	}
	s->answering = true;
	bool asks = strcmp(c.argv[0], "status") == 0 ||
	            strcmp(c.argv[0], "log") == 0; /* what acts, no stranger hides */
	(asks ? log_limited : log_say)(LOG_NOTICE, "%s: %s%s%s", s->who, c.argv[0], c.argc > 1 ? " " : "",
	                               c.argc > 1 ? c.argv[1] : "");
	s->conf.calls->command(s->conf.owner, s->job, c.argc, c.argv, session_peer(s)->name);
}

static void on_frame(struct session *s, enum gate_type type, uint8_t *p, size_t n, uint64_t now)
{
	bool running = s->conf.gate->running;
	struct gate_terms t = { .pub = tls_peer(s->tls)->pub, .exporter = s->exporter,
		                .id = machine_of(s)->id, .nonce = &s->nonce, .now_ns = now };
	if (tls_peer_denied(s->tls)) /* since the handshake */
		refuse(s, "the operator's certificate is denied");
	else if (type == GATE_IDENTITY && !running)
		on_identity(s, p, n);
	else if (type == GATE_BUNDLE && !running)
		on_chunk(s, p, n);
	else if (type == GATE_AUTH && !running)
		on_auth(s, &t, p, n);
	else if (type == GATE_COMMAND && running)
		on_command(s, &t, p, n);
	else
		refuse(s, running ? "it runs already: commands only" : "it is not unlocked: no commands");
}

/* ---- life ---- */

bool session_turn(struct session *s, uint64_t now)
{
	enum gate_type type;
	uint8_t *p;
	size_t n;
	int r = 1;
	gate_buf_take(s->in, s->tls);
	/* an answer first, as the message's content is in use until then */
	while (!s->ending && !s->answering && !s->job && (r = gate_next(s->in, &type, &p, &n)) == 1) {
		s->since_ns = now;
		on_frame(s, type, p, n, now);
		push(s, now);
		gate_buf_take(s->in, s->tls);
	}
	if (r < 0)
		refuse(s, "what it sends is no message of ours");
	push(s, now);
	bool given = gate_buf_give(s->out, s->tls);
	return given && !s->answering;
}

struct session *session_new(const struct session_conf *c, struct tls *t, const char *from, void *conn,
                            uint64_t now)
{
	struct session *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->conf = *c;
	s->tls = t;
	s->conn = conn;
	s->since_ns = now;
	s->bundle_fd = -1;
	s->in = gate_buf_new();
	s->out = gate_buf_new();
	snprintf(s->who, sizeof s->who, "operator %s from %s", tls_peer_name(t), from);
	if (s->in && s->out && tls_export(t, GATE_EXPORT, s->exporter) == 0 && put_hello(s, now))
		return s;
	session_free(s);
	return NULL;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	if (s->job)
		ctl_sink_lost(s->job);
	if (s->bundle_fd >= 0)
		close(s->bundle_fd);
	gate_buf_free(s->in);
	gate_buf_free(s->out);
	buf_free(&s->text);
	crypto_wipe(s, sizeof *s);
	free(s);
}
