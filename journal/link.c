/* link.c - frames over TLS on TCP, or over a plain descriptor.
 *
 * States: handshake (TLS only) -> open -> closed.  Octets wait in two growing
 * buffers; before the peer is certified only the TLS context's own, fixed
 * buffers are used, so a stranger costs no more than that.
 * Threat: whoever connects.  A frame is bounded by FRAME_MAX; a silent peer is
 * given up after LINK_DEAD_NS. */
#include "journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD       4
#define IN_CHUNK   65536
#define LOW_WATER  (256u << 10)
#define TURN_BYTES (1u << 20) /* read in one turn, for fairness */
#define AHEAD      32u        /* frames that are looked at before it is their turn, */
#define AHEAD_MAX  4096u      /* small ones */

struct link {
	struct src src;
	struct loop *loop;
	struct tls *tls;
	const struct link_calls *calls;
	void *owner;
	bool keepalive, open, dead;
	bool lost;               /* a frame could not be queued: the next turn ends the link */
	bool full;               /* the queue was above LOW_WATER: room() is due */
	unsigned busy;           /* inside call-backs: freed when it falls to 0 */
	uint64_t heard_ns, said_ns, timed_ns;
	uint8_t *in;
	size_t in_len, in_room;
	struct buf out;
	size_t out_at;
	char why[160];
};

static void link_free(struct link *l)
{
	loop_del(l->loop, &l->src);
	close(l->src.fd);
	tls_free(l->tls);
	free(l->in);
	buf_free(&l->out);
	free(l);
}

static void enter(struct link *l) { l->busy++; }

/* Leaves a call-back; false: the link is gone. */
static bool leave(struct link *l)
{
	if (--l->busy == 0 && l->dead) {
		link_free(l);
		return false;
	}
	return !l->dead;
}

void link_close(struct link *l)
{
	if (l->dead)
		return;
	l->dead = true;
	if (l->busy == 0)
		link_free(l);
}

void link_fail(struct link *l, const char *why)
{
	if (l->dead)
		return;
	l->dead = true;
	snprintf(l->why, sizeof l->why, "%s", why);
	l->busy++;
	l->calls->closed(l, l->why);
	leave(l);
}

void *link_owner(const struct link *l) { return l->owner; }
const struct tls *link_tls(const struct link *l) { return l->tls; }
size_t link_queued(const struct link *l) { return l->out.n - l->out_at; }

/* ---- sending ---- */

/* Moves queued octets into TLS, and TLS's into the socket, as far as they go. */
static int pump_tls_out(struct link *l)
{
	for (bool moved = true; moved;) {
		size_t n;
		moved = false;
		uint8_t *to = l->out_at < l->out.n ? tls_app_in(l->tls, &n) : NULL;
		if (to) {
			if (n > l->out.n - l->out_at)
				n = l->out.n - l->out_at;
			memcpy(to, l->out.p + l->out_at, n);
			tls_app_in_done(l->tls, n);
			l->out_at += n;
			if (l->out_at == l->out.n)
				tls_flush(l->tls);
			moved = true;
		}
		const uint8_t *wire;
		while ((wire = tls_wire_out(l->tls, &n)) != NULL) {
			ssize_t w = send(l->src.fd, wire, n, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (w < 0 && errno == EINTR)
				continue;
			if (w < 0)
				return errno == EAGAIN ? 0 : -1;
			tls_wire_out_done(l->tls, (size_t)w);
			moved = true;
		}
	}
	return 0;
}

static int pump_plain_out(struct link *l)
{
	while (l->out_at < l->out.n) {
		ssize_t w = write(l->src.fd, l->out.p + l->out_at, l->out.n - l->out_at);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return errno == EAGAIN ? 0 : -1;
		l->out_at += (size_t)w;
	}
	return 0;
}

/* A frame is missing from the row: what follows would make no sense. */
static bool lose(struct link *l)
{
	l->lost = true;
	loop_due(l->loop, &l->src, loop_now());
	return false;
}

/* What is left to be sent wants EPOLLOUT. */
static void set_want(struct link *l)
{
	size_t n;
	bool out = l->out_at < l->out.n || (l->tls && tls_wire_out(l->tls, &n));
	/* queued octets that TLS can't take before its handshake wait for the peer */
	if (l->tls && !l->open && !tls_wire_out(l->tls, &n))
		out = false;
	uint32_t want = EPOLLIN | (out ? (uint32_t)EPOLLOUT : 0u);
	if (want != l->src.want)
		loop_want(l->loop, &l->src, want);
}

static int pump_out(struct link *l)
{
	int r = l->tls ? pump_tls_out(l) : pump_plain_out(l);
	if (l->out_at == l->out.n)
		l->out.n = l->out_at = 0;
	return r;
}

bool link_send(struct link *l, uint8_t type, const struct part *parts, size_t n)
{
	uint8_t head[HEAD];
	size_t len = 0;
	if (l->dead || l->lost)
		return false;
	for (size_t i = 0; i < n; i++)
		len += parts[i].n;
	if (len > FRAME_MAX)
		return lose(l);
	if (l->out_at > l->out.room / 2) { /* sent octets make room */
		memmove(l->out.p, l->out.p + l->out_at, l->out.n - l->out_at);
		l->out.n -= l->out_at;
		l->out_at = 0;
	}
	put_u24(head, (uint32_t)len);
	head[3] = type;
	buf_put(&l->out, head, sizeof head);
	for (size_t i = 0; i < n; i++)
		buf_put(&l->out, parts[i].p, parts[i].n);
	if (l->out.bad)
		return lose(l);
	l->said_ns = loop_now();
	if (l->open && pump_out(l) != 0)
		return false; /* the next turn finds the socket closed */
	l->full |= link_queued(l) >= LOW_WATER;
	set_want(l);
	return true;
}

void link_ping(struct link *l)
{
	if (l->open && !l->dead)
		link_send(l, FRAME_PING, NULL, 0);
}

/* ---- receiving ---- */

static bool grow_in(struct link *l, size_t room)
{
	if (room <= l->in_room)
		return true;
	uint8_t *p = realloc(l->in, room);
	if (!p)
		return false;
	l->in = p;
	l->in_room = room;
	return true;
}

/* Frames that are here but not yet their turn: the next to be looked at, and how
 * many have been. */
struct ahead { size_t at; unsigned n; };

static void look_ahead(struct link *l, struct ahead *a)
{
	while (l->calls->ahead && a->n < AHEAD && l->in_len - a->at >= HEAD) {
		const uint8_t *p = l->in + a->at;
		size_t len = get_u24(p);
		if (len > AHEAD_MAX || l->in_len - a->at < HEAD + len)
			break;
		l->calls->ahead(l, p[3], p + HEAD, len);
		a->at += HEAD + len;
		a->n++;
	}
}

/* Hands over whole frames; false: the link is gone. */
static bool deliver(struct link *l, uint64_t now)
{
	size_t at = 0;
	struct ahead ahead = { 0, 0 };
	while (l->in_len - at >= HEAD) {
		size_t len = get_u24(l->in + at);
		if (len > FRAME_MAX) {
			link_fail(l, "a frame too large");
			return false;
		}
		if (l->in_len - at < HEAD + len) {
			if (!grow_in(l, HEAD + len + IN_CHUNK)) {
				link_fail(l, "no memory");
				return false;
			}
			break;
		}
		look_ahead(l, &ahead);
		uint8_t type = l->in[at + 3];
		const uint8_t *p = l->in + at + HEAD;
		at += HEAD + len;
		if (ahead.n)
			ahead.n--;
		else
			ahead.at = at;
		if (type == FRAME_PING)
			continue;
		enter(l);
		l->calls->frame(l, type, p, len, now);
		if (!leave(l))
			return false;
	}
	memmove(l->in, l->in + at, l->in_len - at);
	l->in_len -= at;
	return true;
}

static ssize_t take_plain(struct link *l)
{
	if (!grow_in(l, l->in_len + IN_CHUNK))
		return -1;
	ssize_t n = read(l->src.fd, l->in + l->in_len, l->in_room - l->in_len);
	if (n > 0)
		l->in_len += (size_t)n;
	return n;
}

/* Octets of the wire into TLS, plain ones out of it. */
static ssize_t take_tls(struct link *l)
{
	size_t room, n;
	uint8_t *to = tls_wire_in(l->tls, &room);
	ssize_t got = 0;
	if (to) {
		got = recv(l->src.fd, to, room, MSG_DONTWAIT);
		if (got > 0)
			tls_wire_in_done(l->tls, (size_t)got);
	}
	const uint8_t *p;
	while ((p = tls_app_out(l->tls, &n)) != NULL) {
		if (!grow_in(l, l->in_len + n + 1))
			return -1;
		memcpy(l->in + l->in_len, p, n);
		l->in_len += n;
		tls_app_out_done(l->tls, n);
		if (got <= 0)
			got = (ssize_t)n;
	}
	if (!to && got == 0) { /* TLS is busy sending: nothing to take now */
		errno = EAGAIN;
		return -1;
	}
	return got;
}

/* The handshake may have ended; false: the link is gone. */
static bool check_tls(struct link *l)
{
	if (!l->tls)
		return true;
	if (!l->open && tls_ready(l->tls)) {
		l->open = true;
		enter(l);
		if (l->calls->ready)
			l->calls->ready(l);
		if (!leave(l))
			return false;
	}
	if (tls_closed(l->tls)) {
		const char *e = tls_error(l->tls);
		link_fail(l, e ? e : "the other side ended it");
		return false;
	}
	return true;
}

static bool receive(struct link *l, uint64_t now)
{
	for (size_t taken = 0; taken < TURN_BYTES;) {
		ssize_t n = l->tls ? take_tls(l) : take_plain(l);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n > 0) {
			l->heard_ns = now;
			taken += (size_t)n;
		}
		if (!check_tls(l) || (l->in_len && !deliver(l, now)))
			return false;
		if (n == 0) {
			link_fail(l, "the other side closed the connection");
			return false;
		}
		if (n < 0) {
			link_fail(l, strerror(errno));
			return false;
		}
		if (l->tls && pump_out(l) != 0)
			break;
	}
	return true;
}

static bool timers(struct link *l, uint64_t now)
{
	if (!l->keepalive)
		return true;
	/* when we ourselves were held up, the peer was not silent: we were deaf */
	if (now - l->timed_ns > LINK_PING_NS)
		l->heard_ns = now;
	l->timed_ns = now;
	/* either may lie ahead of now: what this turn has sent read the clock itself */
	if (now >= l->heard_ns + LINK_DEAD_NS) {
		link_fail(l, "silent for 10 s");
		return false;
	}
	if (l->open && now >= l->said_ns + LINK_PING_NS)
		link_send(l, FRAME_PING, NULL, 0);
	loop_due(l->loop, &l->src, now + LINK_PING_NS / 3);
	return true;
}

static void wake(struct src *s, uint32_t got, uint64_t now)
{
	struct link *l = SRC_OWNER(s, struct link, src);
	if (got & (EPOLLIN | EPOLLHUP | EPOLLERR) && !receive(l, now))
		return;
	if (l->lost) {
		link_fail(l, "a frame can't be sent: no memory, or too large");
		return;
	}
	if (pump_out(l) != 0) {
		link_fail(l, strerror(errno));
		return;
	}
	if (!check_tls(l) || !timers(l, now))
		return;
	if (l->open && l->calls->room && l->full && link_queued(l) < LOW_WATER) {
		l->full = false;
		enter(l);
		l->calls->room(l);
		if (!leave(l))
			return;
	}
	set_want(l);
}

struct link *link_new(struct loop *loop, int fd, struct tls *tls, bool keepalive,
                      const struct link_calls *calls, void *owner)
{
	struct link *l = calloc(1, sizeof *l);
	if (l) {
		l->loop = loop;
		l->tls = tls;
		l->calls = calls;
		l->owner = owner;
		l->keepalive = keepalive;
		l->open = !tls;
		l->heard_ns = l->said_ns = l->timed_ns = loop_now();
		l->src = (struct src){ .fd = fd, .want = EPOLLIN | (tls ? (uint32_t)EPOLLOUT : 0u), .wake = wake,
			               .due_ns = keepalive ? l->heard_ns + LINK_PING_NS / 3 : LOOP_NEVER };
		if (loop_add(loop, &l->src) == 0)
			return l;
	}
	int e = errno;
	free(l);
	close(fd);
	tls_free(tls);
	errno = e;
	return NULL;
}
