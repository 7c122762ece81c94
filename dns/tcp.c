/* tcp.c - a worker's connections.
 *
 *   READING: queries are answered as they complete, several to a send()
 *   AGAIN:   whole queries are there, but this turn's share is used up; it is
 *            the next turn's, first come first served
 *   WRITING: the socket is full; what is left waits in a buffer of the pool and
 *            nothing more is read until it is gone (RFC 7766)
 *   PARKED:  its next query waits for the disk (dns/park.c); nothing more is read
 *   LEAVING: the client has said his last word, or what is no query, and we have
 *            said ours, but he has not read all; ends when he has
 *
 * Time: a connection lives as long as no tcp_idle_ms pass without progress.
 * Progress is a query that came whole and was answered, and a buffer that was
 * read to its end; single octets, either way, are none.  So all have the same
 * time, the ring `idle` is in the order of their ends, and its first is both
 * the next to expire and the one to go when room is needed: no timers.
 *
 * Room: tcp_max connections, and of one client (an IPv4 address, an IPv6 /56)
 * tcp_per_client.  A client is not refused for its limit; its own longest idle
 * connection makes room, and nobody else's: who has lost connections to a
 * restart or a NAT is not locked out by his dead ones (RFC 7766 section 6.2.2
 * asks of clients no more than a few, and section 10 of servers to be much
 * looser).  Not an IPv4 /24, where neighbours have nothing to do with each
 * other; an IPv6 /56 is what one household gets.  When the pool is full the
 * longest idle of all goes.
 *
 * Threat: everyone.  No stranger's action allocates, logs or waits; memory is
 * laid out at the start; each step is bounded a turn: one read of TCP_IN octets
 * a connection, ACCEPTS new ones, CLOSES that are late, TURN octets of answers
 * to those who come and as many to those who waited.  Every choice of a victim
 * takes the same few steps however many there are. */
#include "dns/worker.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ACCEPTS   16
#define CLOSES    64
#define TURN      TCP_MSG
#define TCP_IN    4096      /* a longer query ends its connection */
#define OUT_MAX   64        /* buffers for WRITING at most: 8 MiB */
#define NS_PER_MS 1000000u

/* Who has connections; one that has none is free. */
struct client {
	struct client *next;    /* in its bucket, or free */
	uint64_t prefix;
	unsigned n, nout;       /* connections; how many of them are WRITING */
	struct ring conns;      /* longest idle first */
};

struct conn {
	struct src src;
	struct worker *w;
	struct client *client;
	struct ring idle;       /* tcp.idle, or tcp.free */
	struct ring own;        /* client->conns */
	struct ring turn;       /* AGAIN: tcp.again; WRITING: tcp.writers; else in none */
	uint64_t since_ns;      /* of its last progress */
	struct parked *parked;  /* PARKED: where, else NULL */
	unsigned tries;         /* how often its next query was parked */
	bool lost;              /* and the disk does not give what that lacks */
	uint8_t *out;           /* WRITING: a buffer of the pool, else NULL */
	uint32_t out_len, out_at;
	uint16_t in_len;
	bool v6;
	bool again, leaving;
	uint8_t peer[16];       /* the client's address */
	uint8_t in[TCP_IN];
};

/* ---- memory ---- */

/* A quarter of the connections may have unsent answers. */
static unsigned out_buffers(const struct dns_conf *c)
{
	return c->tcp_max / 4 < OUT_MAX ? c->tcp_max / 4 + 1 : OUT_MAX;
}

static unsigned buckets(const struct dns_conf *c)
{
	unsigned n = 1;
	while (n < c->tcp_max)
		n *= 2;
	return n;
}

size_t tcp_lay_out(struct worker *w, const struct dns_conf *c, uint8_t *base)
{
	struct piece part[] = {
		{ TCP_OUT, NULL },
		{ c->tcp_max * sizeof(struct conn), NULL },
		{ c->tcp_max * sizeof(struct client), NULL },
		{ buckets(c) * sizeof(struct client *), NULL },
		{ out_buffers(c) * sizeof(uint8_t *), NULL },
		{ out_buffers(c) * (size_t)TCP_OUT, NULL },
	};
	size_t at = pieces_deal(part, sizeof part / sizeof *part, base);
	if (!base)
		return at;
	struct tcp *t = &w->tcp;
	t->gather = part[0].at;
	t->conns = (struct conn *)(void *)part[1].at;
	t->clients = (struct client *)(void *)part[2].at;
	t->bucket = (struct client **)(void *)part[3].at;
	t->nbuckets = buckets(c);
	t->free_out = (uint8_t **)(void *)part[4].at;
	t->out = part[5].at;
	t->nout = out_buffers(c);
	return at;
}

void tcp_init(struct worker *w)
{
	struct tcp *t = &w->tcp;
	ring_init(&t->free);
	ring_init(&t->idle);
	ring_init(&t->again);
	ring_init(&t->writers);
	t->nfree = w->conf->tcp_max;
	t->touched = t->touched_clients = 0;
	t->free_clients = NULL;
	memset(t->bucket, 0, t->nbuckets * sizeof *t->bucket);
	for (t->nfree_out = 0; t->nfree_out < t->nout; t->nfree_out++)
		t->free_out[t->nfree_out] = t->out + (size_t)(t->nout - 1 - t->nfree_out) * TCP_OUT;
	sip_random(&t->hash_key);
	t->job.tcp = true;
	w->stats->tcp_open = 0; /* a dead predecessor's are gone */
}

/* ---- clients ---- */

/* IPv4: the address; IPv6: its first 56 bits, which no IPv4 address looks like. */
static uint64_t prefix_of(const uint8_t *address, bool v6)
{
	return v6 ? get_u64(address) >> 8 : 1ull << 63 | get_u32(address);
}

static struct client **bucket_of(struct tcp *t, uint64_t prefix)
{
	uint8_t in[8];
	put_u64(in, prefix);
	return t->bucket + (sip64(&t->hash_key, in, sizeof in) & (t->nbuckets - 1));
}

static struct client *client_find(struct tcp *t, uint64_t prefix)
{
	struct client *k = *bucket_of(t, prefix);
	while (k && k->prefix != prefix)
		k = k->next;
	return k;
}

/* Never fails when a connection is free: each client has one at least. */
static struct client *client_get(struct tcp *t, uint64_t prefix)
{
	struct client *k = client_find(t, prefix), **b = bucket_of(t, prefix);
	if (k)
		return k;
	k = t->free_clients;
	if (k)
		t->free_clients = k->next;
	else
		k = &t->clients[t->touched_clients++];
	*k = (struct client){ .next = *b, .prefix = prefix };
	ring_init(&k->conns);
	*b = k;
	return k;
}

static void client_drop(struct tcp *t, struct client *k)
{
	struct client **at = bucket_of(t, k->prefix);
	while (*at != k)
		at = &(*at)->next;
	*at = k->next;
	k->next = t->free_clients;
	t->free_clients = k;
}

/* ---- a connection's ends ---- */

static void progress(struct conn *c, uint64_t now_ns)
{
	c->since_ns = now_ns;
	ring_to_end(&c->w->tcp.idle, &c->idle);
	ring_to_end(&c->client->conns, &c->own);
}

static void out_release(struct conn *c)
{
	struct tcp *t = &c->w->tcp;
	if (!c->out)
		return;
	t->free_out[t->nfree_out++] = c->out;
	c->out = NULL;
	c->client->nout--;
	ring_del(&c->turn);
}

static void conn_close(struct conn *c)
{
	struct tcp *t = &c->w->tcp;
	struct client *k = c->client;
	loop_del(&c->w->loop, &c->src);
	close(c->src.fd);
	out_release(c);
	if (c->parked)
		park_leave(c->parked);
	ring_del(&c->turn);
	ring_del(&c->own);
	ring_del(&c->idle);
	if (--k->n == 0)
		client_drop(t, k);
	/* the first to be used again, its memory is there */
	ring_add(t->free.next, &c->idle);
	t->nfree++;
	count(&c->w->stats->tcp_open, (uint64_t)-1);
}

/* Are answers on their way that the client has not acknowledged?  (The end of
 * the stream counts as one octet.) */
static bool unread(const struct conn *c)
{
	int n = 0;
	return c->out || (ioctl(c->src.fd, TIOCOUTQ, &n) == 0 && n > 0);
}

/* By our own decision.  A socket closed with answers unread would keep them in
 * the kernel's memory, beyond all our limits, for minutes: it is reset. */
static void conn_end(struct conn *c)
{
	struct linger at_once = { 1, 0 };
	if (unread(c))
		setsockopt(c->src.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	count(&c->w->stats->tcp_closed, 1);
	conn_close(c);
}

/* The client sends no more.  Answers he has not read are still his, and count
 * as long as they are there. */
static void conn_leave(struct conn *c)
{
	if (!unread(c)) {
		conn_close(c);
		return;
	}
	c->leaving = true;
	shutdown(c->src.fd, SHUT_WR);
	if (loop_want(&c->w->loop, &c->src, EPOLLET) < 0) /* wakes when all is acknowledged */
		conn_end(c);
}

/* ---- answers ---- */

/* How many buffers one client may hold: the others' share is never his. */
static unsigned out_share(const struct tcp *t) { return t->nout > 4 ? t->nout / 4 : 1; }

/* NULL: c is not to have one. */
static uint8_t *out_take(struct conn *c)
{
	struct tcp *t = &c->w->tcp;
	if (c->client->nout >= out_share(t))
		return NULL;
	if (t->nfree_out == 0) /* who has had one for the longest time */
		conn_end(RING_OWNER(t->writers.next, struct conn, turn));
	c->client->nout++;
	ring_add(&t->writers, &c->turn);
	return t->free_out[--t->nfree_out];
}

/* Sends what is gathered; what the socket does not take moves to a buffer of
 * the pool.  False: the connection is gone. */
static bool conn_send(struct conn *c, size_t n)
{
	struct worker *w = c->w;
	ssize_t sent = send(c->src.fd, w->tcp.gather, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && errno != EAGAIN && errno != EINTR) {
		conn_close(c);
		return false;
	}
	size_t done = sent > 0 ? (size_t)sent : 0;
	if (done == n)
		return true;
	c->out = out_take(c);
	if (!c->out || loop_want(&w->loop, &c->src, EPOLLOUT) < 0) {
		conn_end(c);
		return false;
	}
	memcpy(c->out, w->tcp.gather + done, n - done);
	c->out_len = (uint32_t)(n - done);
	c->out_at = 0;
	return true;
}

/* The idle time in units of 100 ms; 0, go when you are done, while there is
 * little room (RFC 7828 section 3.3.2). */
static uint16_t keepalive(const struct worker *w)
{
	uint32_t t = w->conf->tcp_idle_ms / 100;
	if (w->tcp.nfree < w->conf->tcp_max / 8)
		return 0;
	return t < 0xffff ? (uint16_t)t : 0xffff;
}

/* Answers one query into out (length and all); returns the octets written, 0
 * when it was no query, COLD when it has to wait for the disk. */
#define COLD SIZE_MAX
static size_t answer_one(struct conn *c, const uint8_t *pkt, size_t n, uint8_t *out)
{
	struct worker *w = c->w;
	struct answer_job *j = &w->tcp.job;
	j->kind = query_parse(pkt, n, &j->q);
	if (j->kind == QUERY_DROP)
		return 0;
	if (j->q.keepalive == KEEPALIVE_BAD)
		j->kind = query_malformed(&j->q);
	j->peer = c->peer;
	j->peer_len = c->v6 ? 16 : 4;
	j->keepalive = keepalive(w);
	j->lost = c->lost;
	w->answer.scratch.patient = c->tries == PARK_TRIES;
	size_t len = answer_alone(w, j, out + 2, answer_limit(&w->answer, &j->q, true));
	w->answer.scratch.patient = false;
	if (is_cold(w))
		return COLD;
	c->tries = 0;
	c->lost = false;
	put_u16(out, (uint32_t)len);
	count(&w->stats->queries[1][c->v6], 1);
	tally(w);
	return 2 + len;
}

/* Is there a whole message at `at`, *n octets behind its length? */
static bool whole(const struct conn *c, size_t at, size_t *n)
{
	size_t left = c->in_len - at;
	if (left < 2)
		return false;
	*n = get_u16(c->in + at);
	return *n <= left - 2;
}

/* What came last is no query, or there is no room to keep it: he is no client any
 * more.  But n octets of answers are gathered to what he sent before it, and these
 * are his. */
static void conn_refuse(struct conn *c, size_t n)
{
	if (n > 0 && !conn_send(c, n))
		return;
	if (c->out) {
		conn_end(c);
		return;
	}
	count(&c->w->stats->tcp_closed, 1);
	conn_leave(c);
}

/* What came first in c->in is cold, and n octets are gathered to what came before.
 * When the socket is full it is asked again once that has changed. */
static bool conn_park(struct conn *c, size_t n)
{
	if (n > 0 && !conn_send(c, n))
		return false;
	if (c->out)
		return true;
	c->parked = park_conn(c->w, c);
	if (!c->parked) {
		conn_refuse(c, 0);
		return false;
	}
	c->tries++;
	if (loop_want(&c->w->loop, &c->src, 0) == 0)
		return true;
	conn_end(c);
	return false;
}

/* Answers the whole queries in c->in and sends; stops when the socket is full,
 * the round's share is used up or a query is cold.  False: the connection is gone. */
static bool conn_answer(struct conn *c, uint64_t now_ns)
{
	struct tcp *t = &c->w->tcp;
	size_t at = 0, out = 0, len;
	c->again = false;
	if (!whole(c, 0, &len))
		return true; /* an octet costs no more than this */
	enter_store(c->w);
	while (!c->out && !c->parked && t->left > 0 && whole(c, at, &len)) {
		size_t n = answer_one(c, c->in + at + 2, len, t->gather + out);
		if (n == COLD) {
			if (!conn_park(c, out))
				return false;
			break;
		}
		if (n == 0) {
			count(&c->w->stats->dropped, 1);
			conn_refuse(c, out);
			return false;
		}
		out += n;
		at += 2 + len;
		t->left -= n < t->left ? n : t->left;
		if (TCP_OUT - out < TCP_MSG || t->left == 0 || !whole(c, at, &len)) {
			if (!conn_send(c, out))
				return false;
			out = 0;
		}
	}
	if (at > 0) {
		memmove(c->in, c->in + at, c->in_len - at);
		c->in_len = (uint16_t)(c->in_len - at);
		progress(c, now_ns);
	}
	c->again = !c->out && !c->parked && whole(c, 0, &len);
	if (c->again)
		ring_to_end(&t->again, &c->turn);
	return true;
}

static void conn_read(struct conn *c, uint64_t now_ns)
{
	ssize_t n = recv(c->src.fd, c->in + c->in_len, sizeof c->in - c->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 0) {
		conn_leave(c);
		return;
	}
	if (n < 0) {
		conn_close(c);
		return;
	}
	c->in_len = (uint16_t)(c->in_len + n);
	if (!conn_answer(c, now_ns))
		return;
	/* longer than any query */
	if (c->in_len >= 2 && get_u16(c->in) > TCP_IN - 2 && !c->out)
		conn_refuse(c, 0);
}

static void conn_write(struct conn *c, uint64_t now_ns)
{
	ssize_t n = send(c->src.fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		conn_close(c);
		return;
	}
	c->out_at += (uint32_t)n;
	if (c->out_at < c->out_len)
		return;
	out_release(c);
	progress(c, now_ns);
	if (loop_want(&c->w->loop, &c->src, EPOLLIN) < 0)
		conn_end(c);
	else
		conn_answer(c, now_ns); /* queries that waited in c->in */
}

static void conn_wake(struct src *s, uint32_t got, uint64_t now_ns)
{
	struct conn *c = SRC_OWNER(s, struct conn, src);
	if (c->again)
		return; /* its turn comes */
	if (c->parked) {
		if (got & (EPOLLERR | EPOLLHUP)) /* nobody is there */
			conn_close(c);
	} else if (c->leaving) {
		if ((got & EPOLLERR) || !unread(c))
			conn_close(c);
	} else if (c->out)
		conn_write(c, now_ns);
	else
		conn_read(c, now_ns);
}

void tcp_resume(struct conn *c, bool lost, uint64_t now_ns)
{
	c->parked = NULL;
	c->lost = lost;
	if (loop_want(&c->w->loop, &c->src, EPOLLIN) < 0)
		conn_end(c);
	else
		conn_answer(c, now_ns);
}

/* ---- newcomers ---- */

/* Whose place does a newcomer take?  NULL: there is room. */
static struct conn *in_its_way(struct worker *w, uint64_t prefix)
{
	struct client *k = client_find(&w->tcp, prefix);
	if (k && k->n >= w->conf->tcp_per_client)
		return RING_OWNER(k->conns.next, struct conn, own);
	if (w->tcp.nfree == 0)
		return RING_OWNER(w->tcp.idle.next, struct conn, idle);
	return NULL;
}

/* There is one. */
static struct conn *conn_take(struct worker *w)
{
	struct tcp *t = &w->tcp;
	t->nfree--;
	if (!ring_empty(&t->free))
		return RING_OWNER(t->free.next, struct conn, idle);
	struct conn *c = &t->conns[t->touched++];
	ring_init(&c->idle);
	return c;
}

static void conn_open(struct worker *w, int fd, const struct sockaddr_storage *peer, bool v6, uint64_t now_ns)
{
	const uint8_t *address;
	int one = 1;
	uint8_t len = address_of(peer, v6, &address);
	uint64_t prefix = prefix_of(address, v6);
	struct conn *other = in_its_way(w, prefix);
	if (other)
		conn_end(other);
	struct conn *c = conn_take(w);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->src = (struct src){ fd, EPOLLIN, LOOP_NEVER, conn_wake, NULL, NULL };
	c->w = w;
	c->out = NULL;
	c->parked = NULL;
	c->tries = 0;
	c->lost = false;
	c->in_len = 0;
	c->again = c->leaving = false;
	c->v6 = v6;
	memcpy(c->peer, address, len);
	c->client = client_get(&w->tcp, prefix);
	c->client->n++;
	ring_init(&c->own);
	ring_init(&c->turn);
	progress(c, now_ns);
	count(&w->stats->tcp_accepted, 1);
	count(&w->stats->tcp_open, 1);
	if (loop_add(&w->loop, &c->src) < 0)
		conn_end(c);
}

void tcp_accept(struct src *s, uint32_t got, uint64_t now_ns)
{
	struct listener *l = SRC_OWNER(s, struct listener, src);
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
		if (errno == EAGAIN || ring_empty(&w->tcp.idle))
			return;
		conn_end(RING_OWNER(w->tcp.idle.next, struct conn, idle));
	}
}

/* ---- turns ---- */

/* The connection that is late; NULL: none. */
static struct conn *late(const struct worker *w, uint64_t now_ns)
{
	if (ring_empty(&w->tcp.idle))
		return NULL;
	struct conn *c = RING_OWNER(w->tcp.idle.next, struct conn, idle);
	return c->since_ns + (uint64_t)w->conf->tcp_idle_ms * NS_PER_MS <= now_ns ? c : NULL;
}

bool tcp_waiting(const struct worker *w, uint64_t now_ns)
{
	return !ring_empty(&w->tcp.again) || late(w, now_ns);
}

void tcp_turn(struct worker *w, uint64_t now_ns)
{
	struct tcp *t = &w->tcp;
	struct conn *c;
	for (unsigned i = 0; i < CLOSES && (c = late(w, now_ns)); i++)
		conn_end(c);
	t->left = TURN;
	while (t->left > 0 && !ring_empty(&t->again)) {
		c = RING_OWNER(t->again.next, struct conn, turn);
		ring_del(&c->turn);
		conn_answer(c, now_ns);
	}
	t->left = TURN;
}

void tcp_end(struct worker *w)
{
	while (!ring_empty(&w->tcp.idle))
		conn_end(RING_OWNER(w->tcp.idle.next, struct conn, idle));
}
