/* tcp.c - a worker's connections.
 *
 *   READING: queries are answered as they complete, several to a send()
 *   WRITING: the socket is full; what is left waits in a buffer of the pool and
 *            nothing more is read until it is gone (RFC 7766)
 *
 * Threat: everyone.  No stranger's action allocates, logs or waits; work is
 * bounded a turn: one read of TCP_IN octets a connection, ACCEPTS new ones.
 * Who comes when the pool is full takes the place of the connection that
 * completed no query for the longest time; only whole queries count. */
#include "dns/worker.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define ACCEPTS   16
#define NS_PER_MS 1000000u

static void out_release(struct conn *c)
{
	struct worker *w = c->w;
	if (!c->out)
		return;
	w->out_owner[(size_t)(c->out - w->out) / TCP_OUT] = NULL;
	c->out = NULL;
}

static void conn_close(struct conn *c, bool ours)
{
	struct worker *w = c->w;
	loop_del(&w->loop, &c->src);
	close(c->src.fd);
	out_release(c);
	c->open = false;
	c->next = w->free;
	w->free = c;
	count(&w->stats->tcp_open, (uint64_t)-1);
	if (ours)
		count(&w->stats->tcp_closed, 1);
}

/* Which connection completed no query for the longest time? */
static struct conn *longest_idle(struct worker *w, bool writing)
{
	struct conn *found = NULL;
	for (unsigned i = 0; i < w->conf->tcp_max; i++) {
		struct conn *c = &w->conns[i];
		if (c->open && (!writing || c->out) && (!found || c->src.due_ns < found->src.due_ns))
			found = c;
	}
	return found;
}

static uint8_t *out_take(struct conn *c)
{
	struct worker *w = c->w;
	for (unsigned again = 0; again < 2; again++) {
		for (unsigned i = 0; i < w->nout; i++)
			if (!w->out_owner[i]) {
				w->out_owner[i] = c;
				return w->out + (size_t)i * TCP_OUT;
			}
		struct conn *other = longest_idle(w, true); /* every buffer has an owner */
		if (!other)
			break;
		conn_close(other, true);
	}
	return NULL;
}

/* Sends what is gathered; what the socket does not take moves to a buffer of
 * the pool.  False: the connection is gone. */
static bool conn_send(struct conn *c, size_t n)
{
	struct worker *w = c->w;
	ssize_t sent = send(c->src.fd, w->gather, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		conn_close(c, false);
		return false;
	}
	size_t done = sent > 0 ? (size_t)sent : 0;
	if (done == n)
		return true;
	c->out = out_take(c);
	if (!c->out || loop_want(&w->loop, &c->src, EPOLLOUT) < 0) {
		conn_close(c, true);
		return false;
	}
	memcpy(c->out, w->gather + done, n - done);
	c->out_len = (uint32_t)(n - done);
	c->out_at = 0;
	return true;
}

/* Answers one query into out (length and all); returns the octets written. */
static size_t answer_one(struct conn *c, const uint8_t *pkt, size_t n, uint8_t *out)
{
	struct worker *w = c->w;
	struct answer_job *j = &w->job[0];
	j->kind = query_parse(pkt, n, &j->q);
	if (j->kind == QUERY_DROP) {
		count(&w->stats->dropped, 1);
		return 0;
	}
	j->peer = c->peer;
	j->peer_len = c->v6 ? 16 : 4;
	count(&w->stats->queries[1][c->v6], 1);
	answer_begin(&w->answer, j);
	answer_fetch(&w->answer, j);
	size_t len = answer_finish(&w->answer, j, out + 2, answer_limit(&w->answer, &j->q, true));
	put_u16(out, (uint32_t)len);
	tally(w);
	return 2 + len;
}

/* Answers the whole queries in c->in and sends; stops when the socket is full.
 * False: the connection is gone. */
static bool conn_answer(struct conn *c, uint64_t now_ns)
{
	struct worker *w = c->w;
	size_t at = 0, out = 0;
	bool more = true;
	enter_store(w);
	while (more && !c->out && w->tcp_left > 0) {
		size_t left = c->in_len - at, len = left >= 2 ? get_u16(c->in + at) : 0;
		more = left >= 2 && left - 2 >= len;
		if (more) {
			size_t n = answer_one(c, c->in + at + 2, len, w->gather + out);
			out += n;
			w->tcp_left -= n < w->tcp_left ? n : w->tcp_left;
			at += 2 + len;
		}
		if (out > 0 && (!more || TCP_OUT - out < TCP_MSG || w->tcp_left == 0)) {
			if (!conn_send(c, out))
				return false;
			out = 0;
		}
	}
	c->again = more && !c->out;
	if (at == 0 && !c->again)
		return true;
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len = (uint16_t)(c->in_len - at);
	loop_due(&w->loop, &c->src, c->again ? now_ns : now_ns + (uint64_t)w->conf->tcp_idle_ms * NS_PER_MS);
	return true;
}

static void conn_read(struct conn *c, uint64_t now_ns)
{
	ssize_t n = recv(c->src.fd, c->in + c->in_len, sizeof c->in - c->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		conn_close(c, false);
		return;
	}
	c->in_len = (uint16_t)(c->in_len + n);
	if (!conn_answer(c, now_ns))
		return;
	/* no room for the rest of a query: it is none we would answer */
	if (!c->out && !c->again && c->in_len == sizeof c->in)
		conn_close(c, true);
}

static void conn_write(struct conn *c, uint64_t now_ns)
{
	ssize_t n = send(c->src.fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		conn_close(c, false);
		return;
	}
	c->out_at += (uint32_t)n;
	if (c->out_at < c->out_len)
		return;
	out_release(c);
	if (loop_want(&c->w->loop, &c->src, EPOLLIN) < 0)
		conn_close(c, true);
	else
		conn_answer(c, now_ns); /* queries that waited in c->in */
}

static void conn_wake(struct src *s, uint32_t got, uint64_t now_ns)
{
	struct conn *c = (struct conn *)(void *)((char *)s - offsetof(struct conn, src));
	if (c->again)
		conn_answer(c, now_ns);
	else if (got == 0)
		conn_close(c, true); /* idle */
	else if (c->out)
		conn_write(c, now_ns);
	else
		conn_read(c, now_ns);
}

static void conn_open(struct worker *w, int fd, const struct sockaddr_storage *peer, bool v6, uint64_t now_ns)
{
	const uint8_t *address;
	int one = 1;
	struct conn *oldest = w->free ? NULL : longest_idle(w, false);
	if (oldest)
		conn_close(oldest, true);
	struct conn *c = w->free;
	if (!c) {
		close(fd);
		return;
	}
	w->free = c->next;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->src = (struct src){ fd, EPOLLIN, now_ns + (uint64_t)w->conf->tcp_idle_ms * NS_PER_MS,
		               conn_wake, NULL, NULL };
	c->w = w;
	c->out = NULL;
	c->in_len = 0;
	c->again = false;
	c->v6 = v6;
	uint8_t len = address_of(peer, v6, &address);
	memcpy(c->peer, address, len);
	c->open = true;
	count(&w->stats->tcp_accepted, 1);
	count(&w->stats->tcp_open, 1);
	if (loop_add(&w->loop, &c->src) < 0) {
		c->src.due_ns = LOOP_NEVER; /* it is in no list */
		conn_close(c, true);
	}
}

void tcp_accept(struct src *s, uint32_t got, uint64_t now_ns)
{
	struct listener *l = (struct listener *)(void *)((char *)s - offsetof(struct listener, src));
	struct worker *w = l->w;
	(void)got;
	for (unsigned i = 0; i < ACCEPTS; i++) {
		struct sockaddr_storage peer;
		socklen_t len = sizeof peer;
		int fd = accept4(s->fd, (struct sockaddr *)(void *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			conn_open(w, fd, &peer, l->v6, now_ns);
			continue;
		}
		if (errno == ECONNABORTED || errno == EINTR)
			continue;
		/* no descriptors or memory: the longest idle has to give its own */
		struct conn *c = errno == EAGAIN ? NULL : longest_idle(w, false);
		if (!c)
			return;
		conn_close(c, true);
	}
}

void tcp_init(struct worker *w)
{
	w->free = NULL;
	for (unsigned i = w->conf->tcp_max; i-- > 0;) {
		w->conns[i].open = false;
		w->conns[i].next = w->free;
		w->free = &w->conns[i];
	}
}

void tcp_end(struct worker *w)
{
	for (unsigned i = 0; i < w->conf->tcp_max; i++)
		if (w->conns[i].open)
			conn_close(&w->conns[i], true);
}
