/* dns.c - the service: a worker's sockets, batches and connections.
 *
 *   UDP   recvmmsg -> parse all -> begin all -> fetch all -> finish all
 *         -> limit all (dns/rrl.c) -> sendmmsg
 *   TCP   READING: queries are answered as they complete, several to a send()
 *         WRITING: the socket is full; what is left waits in a buffer of the
 *                  pool and nothing more is read until it is gone (RFC 7766)
 *
 * A worker owns one piece of memory and its sockets, and shares nothing with
 * other workers but the store it reads.
 * Threat: everyone.  No stranger's action allocates, logs or waits; work is
 * bounded a turn: BATCHES batches a UDP socket, one read of TCP_IN octets a
 * connection, ACCEPTS new ones.  Who comes when the pool is full takes the
 * place of the connection that completed no query for the longest time; only
 * whole queries count. */
#include "dns.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/loop.h"
#include "dns/answer.h"

#define BATCH    64
#define BATCHES  4         /* of one socket in one turn */
#define UDP_IN   4096      /* a longer query is cut, and so malformed */
#define ACCEPTS  16
#define TCP_IN   4096      /* a longer query ends its connection */
#define TCP_MSG  (2 + 65535)
#define TCP_OUT  (2 * TCP_MSG) /* answers gathered for one send() */
#define TCP_TURN (2 * TCP_MSG) /* answered over TCP in one turn, then UDP has its turn again */
#define SOCKETS  64        /* of one worker */
#define WAIT_NS  100000000 /* *stop is seen within this */
#define NS_PER_MS 1000000u

#ifndef SYS_recvmmsg /* 32-bit machines; without a time-out both are the same */
#define SYS_recvmmsg SYS_recvmmsg_time64
#endif

struct worker;

/* What became of a query, for the counters. */
struct outcome {
	uint16_t rcode;
	bool truncated, damaged;
};

/* An answer over UDP that the limiter has not seen. */
struct pending {
	struct rrl_account account;
	struct outcome outcome;
	bool exempt;
};

struct listener {
	struct src src;
	struct worker *w;
	bool v6;
};

struct conn {
	struct src src;
	struct worker *w;
	struct conn *next;      /* free list */
	uint8_t *out;           /* WRITING: a buffer of the pool, else NULL */
	uint32_t out_len, out_at;
	uint16_t in_len;
	bool v6, open;
	bool again;             /* whole queries wait in `in` for the next turn */
	uint8_t peer[16];       /* the client's address */
	uint8_t in[TCP_IN];
};

/* What a worker's memory begins with; the arrays behind it are laid out by
 * lay_out(). */
struct worker {
	struct loop loop;
	struct store_map *map;
	const struct dns_conf *conf;
	struct dns_stats *stats;
	unsigned id;
	struct listener listen[SOCKETS];
	struct answer answer;

	struct mmsghdr rx[BATCH], tx[BATCH];
	struct iovec rx_iov[BATCH], tx_iov[BATCH];
	struct sockaddr_storage peer[BATCH];
	struct answer_job job[BATCH];
	struct pending pending[BATCH];
	struct rrl rrl;
	void *accounts;            /* the limiter's */

	uint8_t *rx_buf, *tx_buf;  /* BATCH x UDP_IN, BATCH x udp_size */
	size_t tcp_left;           /* octets TCP may still answer in this turn */
	uint8_t *gather;           /* TCP_OUT: answers on their way out */
	struct conn *conns, *free; /* tcp_max of them */
	uint8_t *out;              /* pool: nout buffers of TCP_OUT */
	unsigned nout;
	struct conn **out_owner;   /* nout; NULL: free */
};

static void count(_Atomic uint64_t *n, uint64_t by)
{
	/* one writer: no locked instruction */
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by, memory_order_relaxed);
}

/* ---- memory ---- */

/* A quarter of the connections may have unsent answers. */
static unsigned out_buffers(const struct dns_conf *c)
{
	return c->tcp_max / 4 + 1;
}

static size_t page_up(size_t n) { return (n + 4095) & ~(size_t)4095; }

/* Deals out the octets at base (NULL: only counts them); returns how many. */
static size_t lay_out(struct worker *w, const struct dns_conf *c, uint8_t *base)
{
	struct { size_t size; uint8_t *at; } part[] = {
		{ sizeof *w, NULL },
		{ BATCH * UDP_IN, NULL },
		{ BATCH * (size_t)c->udp_size, NULL },
		{ TCP_OUT, NULL },
		{ c->tcp_max * sizeof(struct conn), NULL },
		{ out_buffers(c) * sizeof(struct conn *), NULL },
		{ out_buffers(c) * (size_t)TCP_OUT, NULL },
		{ ANSWER_SCRATCH, NULL },
		{ rrl_memory(&c->rrl), NULL },
	};
	size_t at = 0;
	for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
		if (base)
			part[i].at = base + at;
		at += page_up(part[i].size);
	}
	if (!base)
		return at;
	w->rx_buf = part[1].at;
	w->tx_buf = part[2].at;
	w->gather = part[3].at;
	w->conns = (struct conn *)(void *)part[4].at;
	w->out_owner = (struct conn **)(void *)part[5].at;
	w->out = part[6].at;
	w->nout = out_buffers(c);
	w->answer.scratch.mem = part[7].at;
	w->accounts = part[8].at;
	return at;
}

void *dns_memory_map(const struct dns_conf *c)
{
	void *p = mmap(NULL, lay_out(NULL, c, NULL), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

/* ---- both ---- */

/* From here to the end of the batch the store's memory stays in place. */
static void enter_store(struct worker *w)
{
	store_announce(w->map, w->id);
	answer_view(&w->answer);
	w->answer.now_s = (uint32_t)time(NULL); /* cookies */
}

static struct outcome outcome_of(const struct answer *a)
{
	return (struct outcome){ (uint16_t)a->rcode, a->flags & FLAG_TC, a->damaged };
}

static void tally(struct worker *w, struct outcome o)
{
	unsigned rcode = o.rcode == RCODE_BADCOOKIE ? 17 : o.rcode <= 16 ? o.rcode : RCODE_SERVFAIL;
	count(&w->stats->rcode[rcode], 1);
	if (o.truncated)
		count(&w->stats->truncated, 1);
	if (o.damaged)
		count(&w->stats->damaged, 1);
}

/* The address in a socket's address; how many octets. */
static uint8_t address_of(const struct sockaddr_storage *s, bool v6, const uint8_t **out)
{
	*out = v6 ? ((const struct sockaddr_in6 *)(const void *)s)->sin6_addr.s6_addr
	          : (const uint8_t *)&((const struct sockaddr_in *)(const void *)s)->sin_addr;
	return v6 ? 16 : 4;
}

/* ---- UDP ---- */

/* Answer i, to the sender of query q, leaves as number k. */
static void post(struct worker *w, unsigned k, unsigned i, unsigned q)
{
	w->tx[k].msg_hdr.msg_iov = &w->tx_iov[i];
	w->tx[k].msg_hdr.msg_name = &w->peer[q];
	w->tx[k].msg_hdr.msg_namelen = w->rx[q].msg_hdr.msg_namelen;
}

/* What the answer just made is counted by. */
static enum rrl_class classify(const struct answer *a, const struct answer_job *j, const uint8_t **what, size_t *n)
{
	*what = j->q.qname;
	*n = 0;
	if (j->kind == QUERY_ERROR ||
	    (a->rcode != RCODE_NOERROR && (j->kind != QUERY_OK || j->zone_found != STORE_FOUND)))
		return RRL_ERROR;
	if (a->rcode == RCODE_NOERROR && a->have_extra && a->cut) {
		*what = a->cut;
		*n = name_len(a->cut);
		return RRL_REFERRAL;
	}
	if (a->rcode == RCODE_NOERROR && a->wild) {
		*what = a->wild;
		*n = name_len(a->wild);
		return RRL_WILDCARD;
	}
	if (a->rcode == RCODE_NOERROR && (a->c.count[SEC_ANSWER] > 0 || a->flags & FLAG_TC)) {
		*n = j->q.qname_len;
		return j->q.qtype == T_ANY || j->q.qtype == T_RRSIG ? RRL_ANY : j->q.qtype == T_DNSKEY ? RRL_DNSKEY : RRL_NAME;
	}
	*what = (const uint8_t *)&j->zone.inst;
	*n = sizeof j->zone.inst;
	return a->rcode == RCODE_NXDOMAIN ? RRL_NXDOMAIN : a->rcode == RCODE_NOERROR ? RRL_NODATA : RRL_ERROR;
}

static void weigh(struct worker *w, struct pending *p, const struct answer_job *j)
{
	const uint8_t *what;
	size_t n;
	p->outcome = outcome_of(&w->answer);
	p->exempt = w->answer.cookie_good;
	if (p->exempt)
		return;
	enum rrl_class class = classify(&w->answer, j, &what, &n);
	rrl_find(&w->rrl, class, j->peer, j->peer_len, what, n, &p->account);
}

/* Leaves out or cuts down what is too many of a kind; returns how many answers
 * are left of m. */
static unsigned limit(struct worker *w, unsigned m, const unsigned *from, uint32_t now)
{
	unsigned k = 0;
	for (unsigned i = 0; i < m; i++) {
		struct pending *p = &w->pending[i];
		struct answer_job *j = &w->job[i];
		if (!p->exempt && !rrl_take(&w->rrl, &p->account, now) && !rrl_allowed(&w->rrl, j->peer, j->peer_len)) {
			if (!rrl_slip(&w->rrl)) {
				count(&w->stats->rrl_dropped, 1);
				continue;
			}
			w->tx_iov[i].iov_len = answer_slip(&w->answer, j, w->tx_iov[i].iov_base, answer_limit(&w->answer, &j->q, false));
			p->outcome = outcome_of(&w->answer);
			count(&w->stats->rrl_slipped, 1);
		}
		tally(w, p->outcome);
		post(w, k++, i, from[i]);
	}
	return k;
}

/* Answers n queries; returns how many answers there are in tx. */
static unsigned answer_batch(struct worker *w, unsigned n, bool v6, uint64_t now_ns)
{
	unsigned from[BATCH], m = 0, size = w->conf->udp_size;
	bool limited = w->conf->rrl.rate != 0;
	for (unsigned i = 0; i < n; i++) {
		struct answer_job *j = &w->job[m];
		j->kind = query_parse(w->rx_iov[i].iov_base, w->rx[i].msg_len, &j->q);
		if (j->kind == QUERY_DROP)
			continue;
		j->peer_len = address_of(&w->peer[i], v6, &j->peer);
		from[m++] = i;
	}
	count(&w->stats->queries[0][v6], m);
	count(&w->stats->dropped, n - m);
	enter_store(w);
	w->answer.need_cookie = w->conf->need_cookie;
	for (unsigned i = 0; i < m; i++)
		answer_begin(&w->answer, &w->job[i]);
	for (unsigned i = 0; i < m; i++)
		answer_fetch(&w->answer, &w->job[i]);
	for (unsigned i = 0; i < m; i++) {
		size_t max = answer_limit(&w->answer, &w->job[i].q, false);
		uint8_t *out = w->tx_buf + i * (size_t)size;
		w->tx_iov[i].iov_len = answer_finish(&w->answer, &w->job[i], out, max);
		if (limited) {
			weigh(w, &w->pending[i], &w->job[i]);
		} else {
			tally(w, outcome_of(&w->answer));
			post(w, i, i, from[i]);
		}
	}
	w->answer.need_cookie = false;
	return limited ? limit(w, m, from, rrl_ticks(now_ns)) : m;
}

static void send_batch(struct worker *w, int fd, unsigned n)
{
	unsigned at = 0;
	while (at < n) {
		/* the system call itself: musl's sendmmsg() loops over sendmsg() */
		long sent = syscall(SYS_sendmmsg, fd, w->tx + at, n - at, MSG_DONTWAIT);
		if (sent > 0) {
			at += (unsigned)sent;
			continue;
		}
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN) {
			count(&w->stats->dropped, n - at);
			return;
		}
		count(&w->stats->dropped, 1); /* this one cannot be sent (port 0, no route) */
		at++;
	}
}

static void udp_wake(struct src *s, uint32_t got, uint64_t now_ns)
{
	struct listener *l = (struct listener *)(void *)((char *)s - offsetof(struct listener, src));
	struct worker *w = l->w;
	(void)got;
	for (unsigned i = 0; i < BATCHES; i++) {
		for (unsigned k = 0; k < BATCH; k++)
			w->rx[k].msg_hdr.msg_namelen = sizeof w->peer[k];
		long n = syscall(SYS_recvmmsg, s->fd, w->rx, BATCH, MSG_DONTWAIT, NULL);
		if (n <= 0)
			return; /* errors are some earlier answer's ICMP */
		send_batch(w, s->fd, answer_batch(w, (unsigned)n, l->v6, now_ns));
		if (n < BATCH)
			return;
	}
}

/* Everything that never changes; padding included (musl puts some between the
 * lengths, which the kernel reads as their upper halves). */
static void batch_init(struct worker *w)
{
	memset(w->rx, 0, sizeof w->rx);
	memset(w->tx, 0, sizeof w->tx);
	for (unsigned i = 0; i < BATCH; i++) {
		w->rx_iov[i] = (struct iovec){ w->rx_buf + i * (size_t)UDP_IN, UDP_IN };
		w->tx_iov[i] = (struct iovec){ w->tx_buf + i * (size_t)w->conf->udp_size, 0 };
		w->rx[i].msg_hdr.msg_name = &w->peer[i];
		w->rx[i].msg_hdr.msg_iov = &w->rx_iov[i];
		w->rx[i].msg_hdr.msg_iovlen = 1;
		w->tx[i].msg_hdr.msg_iov = &w->tx_iov[i];
		w->tx[i].msg_hdr.msg_iovlen = 1;
	}
}

/* ---- TCP ---- */

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
	tally(w, outcome_of(&w->answer));
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

static void accept_wake(struct src *s, uint32_t got, uint64_t now_ns)
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

/* ---- the worker ---- */

static bool is_v6(int fd)
{
	struct sockaddr_storage a = { .ss_family = AF_UNSPEC };
	socklen_t n = sizeof a;
	return getsockname(fd, (struct sockaddr *)(void *)&a, &n) == 0 && a.ss_family == AF_INET6;
}

static int listen_all(struct worker *w, const struct dns_socket *s, size_t n)
{
	if (n > SOCKETS) {
		errno = ENOBUFS;
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		struct listener *l = &w->listen[i];
		l->w = w;
		l->v6 = is_v6(s[i].fd);
		l->src = (struct src){ s[i].fd, EPOLLIN, LOOP_NEVER, s[i].tcp ? accept_wake : udp_wake,
			               NULL, NULL };
		if (loop_add(&w->loop, &l->src) < 0)
			return -1;
	}
	return 0;
}

static void worker_init(struct worker *w, struct store_map *m, const struct dns_conf *c, unsigned id,
                        struct dns_stats *stats)
{
	w->map = m;
	w->conf = c;
	w->stats = stats;
	w->id = id;
	w->free = NULL;
	lay_out(w, c, (uint8_t *)w);
	answer_init(&w->answer, m, w->answer.scratch.mem, ANSWER_SCRATCH, c->udp_size);
	w->answer.identity = c->identity;
	w->answer.version = c->version;
	w->answer.cookie_keys = c->cookie_keys;
	w->answer.ncookie_keys = c->ncookie_keys;
	rrl_init(&w->rrl, &c->rrl, w->accounts);
	batch_init(w);
	for (unsigned i = c->tcp_max; i-- > 0;) {
		w->conns[i].open = false;
		w->conns[i].next = w->free;
		w->free = &w->conns[i];
	}
}

static int turns(struct worker *w, const _Atomic bool *stop)
{
	while (!atomic_load_explicit(stop, memory_order_relaxed)) {
		store_idle(w->map, w->id);
		if (loop_wait(&w->loop, loop_now() + WAIT_NS) < 0)
			return -1;
		count(&w->stats->beats, 1);
		w->tcp_left = TCP_TURN;
		loop_wake(&w->loop);
	}
	return 0;
}

int dns_run(struct store_map *m, const struct dns_conf *c, unsigned worker, const struct dns_socket *s,
            size_t n, void *mem, struct dns_stats *stats, const _Atomic bool *stop)
{
	struct worker *w = mem;
	if (c->tcp_max == 0 || c->udp_size < 512 || c->udp_size > DNS_UDP_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (loop_init(&w->loop) < 0)
		return -1;
	worker_init(w, m, c, worker, stats);
	int r = listen_all(w, s, n);
	if (r == 0)
		r = turns(w, stop);
	int e = errno;
	store_idle(m, worker);
	for (unsigned i = 0; i < c->tcp_max; i++)
		if (w->conns[i].open)
			conn_close(&w->conns[i], true);
	loop_close(&w->loop);
	errno = e;
	return r;
}
