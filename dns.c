/* dns.c - the service: a worker's sockets and batches.
 *
 *   UDP   recvmmsg -> parse all -> begin all -> fetch all -> finish all
 *         -> limit all (dns/rrl.c) -> sendmmsg
 *   TCP   dns/tcp.c
 *
 * A query whose part of the store is not in memory is parked (dns/park.c) and goes
 * through all this again later; the rest of its batch does not wait.  Where there is
 * no room to park, it is answered by TC.
 *
 * A worker owns one piece of memory and its sockets, and shares nothing with
 * other workers but the store it reads.
 * Threat: everyone.  No stranger's action allocates, logs or waits; work is
 * bounded a turn: BATCHES batches a UDP socket; TCP has its bounds too. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "dns/worker.h"

#define GROUP    16        /* go through the stages together: their memory stays in the nearest cache */
#define BATCHES  4         /* of one socket in one turn */
#define UDP_IN   4096      /* a longer query is cut, and so malformed */
#define WAIT_NS  100000000 /* *stop is seen within this */

#ifndef SYS_recvmmsg /* 32-bit machines; without a time-out both are the same */
#define SYS_recvmmsg SYS_recvmmsg_time64
#endif

/* ---- memory ---- */

size_t pieces_deal(struct piece *piece, size_t n, uint8_t *base)
{
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		if (base)
			piece[i].at = base + at;
		at += (piece[i].size + 4095) & ~(size_t)4095;
	}
	return at;
}

/* Deals out the octets at base (NULL: only counts them); returns how many, and
 * in *udp and *tcp, which hold what was decrypted, how many there are up to the
 * end of each. */
static size_t lay_out(struct worker *w, const struct dns_conf *c, uint8_t *base, size_t *udp, size_t *tcp)
{
	struct piece part[] = {
		{ sizeof *w, NULL },
		{ BATCH * UDP_IN, NULL },
		{ BATCH * (size_t)c->udp_size, NULL },
		{ ANSWER_SCRATCH, NULL },
		{ sizeof(struct store_memo), NULL },
		{ tcp_lay_out(w, c, NULL), NULL },
		{ rrl_memory(&c->rrl), NULL },
		{ park_size(), NULL },
	};
	*udp = pieces_deal(part, 5, NULL);
	*tcp = pieces_deal(part, 6, NULL);
	size_t at = pieces_deal(part, sizeof part / sizeof *part, base);
	if (!base)
		return at;
	w->rx_buf = part[1].at;
	w->tx_buf = part[2].at;
	w->answer.scratch.mem = part[3].at;
	w->answer.scratch.memo = (struct store_memo *)(void *)part[4].at;
	tcp_lay_out(w, c, part[5].at);
	w->accounts = part[6].at;
	w->park.slot = (struct parked *)(void *)part[7].at;
	return at;
}

void *dns_memory_map(const struct dns_conf *c)
{
	size_t udp, tcp, all = lay_out(NULL, c, NULL, &udp, &tcp);
	uint8_t *p = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	crypto_lock(p, udp, "answers in the making");
	crypto_lock(p + udp, tcp - udp, "answers over TCP");
	return p;
}

/* ---- UDP ---- */

/* Answer i, to the sender of query q, leaves as number k. */
static void post(struct worker *w, unsigned k, unsigned i, unsigned q)
{
	w->tx[k].msg_hdr.msg_iov = &w->tx_iov[i];
	w->tx[k].msg_hdr.msg_name = &w->peer[q];
	w->tx[k].msg_hdr.msg_namelen = w->rx[q].msg_hdr.msg_namelen;
}

/* What the answer just made is counted by.  TC for want of room: by the network
 * alone, as who forges senders may ask for any name in any zone. */
static enum rrl_class classify(const struct answer *a, const struct answer_job *j, bool full,
                               const uint8_t **what, size_t *n)
{
	*what = j->q.qname;
	*n = 0;
	if (j->kind == QUERY_CHAOS && a->rcode == RCODE_NOERROR) {
		*n = j->q.qname_len;
		return RRL_NAME;
	}
	if (j->kind != QUERY_OK || j->zone_found != STORE_FOUND || full)
		return RRL_ERROR;
	if (a->rcode == RCODE_NOERROR && a->have_extra && a->cut) {
		*what = a->cut;
		*n = name_len(a->cut);
		return RRL_REFERRAL;
	}
	/* below a DNAME are as many names as below a wildcard */
	const uint8_t *many = a->ndnames ? a->dname[0] : a->wild;
	if (a->rcode == RCODE_NOERROR && many) {
		*what = many;
		*n = name_len(many);
		return RRL_WILDCARD;
	}
	if (a->rcode == RCODE_NOERROR && (a->c.count[SEC_ANSWER] > 0 || a->flags & FLAG_TC)) {
		*n = j->q.qname_len;
		if (j->q.qtype == T_ANY || j->q.qtype == T_RRSIG)
			return RRL_ANY;
		return j->q.qtype == T_DNSKEY ? RRL_DNSKEY : RRL_NAME;
	}
	*what = (const uint8_t *)&j->zone->inst;
	*n = sizeof j->zone->inst;
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
	enum rrl_class class = classify(&w->answer, j, p->full, &what, &n);
	rrl_find(&w->rrl, class, j->peer, j->peer_len, what, n, &p->account);
}

/* Of an answer over its limit TC or BADCOOKIE is left (for want of room it is TC
 * already, and stays no longer than the query); or nothing at all: false. */
static bool slip(struct worker *w, unsigned i)
{
	struct answer_job *j = &w->job[i];
	if (!rrl_slip(&w->rrl)) {
		count(&w->stats->rrl_dropped, 1);
		return false;
	}
	count(&w->stats->rrl_slipped, 1);
	if (w->pending[i].full)
		return true;
	size_t max = answer_limit(&w->answer, &j->q, false);
	w->tx_iov[i].iov_len = answer_slip(&w->answer, j, w->tx_iov[i].iov_base, max);
	w->pending[i].outcome = outcome_of(&w->answer);
	return true;
}

/* Leaves out or cuts down what is too many of a kind; returns how many answers
 * are left of m. */
static unsigned limit(struct worker *w, unsigned m, const unsigned *from, uint32_t now)
{
	unsigned k = 0;
	for (unsigned i = 0; i < m; i++) {
		struct pending *p = &w->pending[i];
		const struct answer_job *j = &w->job[i];
		if (p->parked)
			continue;
		if (!p->exempt && !rrl_take(&w->rrl, &p->account, now) &&
		    !rrl_allowed(&w->rrl, j->peer, j->peer_len) && !slip(w, i))
			continue;
		tally_as(w, p->outcome);
		post(w, k++, i, from[i]);
	}
	return k;
}

/* The answer to job i, from query q, is made and so long. */
static void made(struct worker *w, unsigned i, size_t len, unsigned q)
{
	w->tx_iov[i].iov_len = len;
	if (w->conf->rrl.rate) {
		weigh(w, &w->pending[i], &w->job[i]);
	} else {
		tally_as(w, outcome_of(&w->answer));
		post(w, w->posted++, i, q);
	}
}

/* The same, or its query is cold. */
static void finished(struct worker *w, unsigned i, size_t len, const unsigned *from)
{
	struct pending *p = &w->pending[i];
	struct answer_job *j = &w->job[i];
	bool cold = is_cold(w);
	p->parked = cold && park_query(w, from[i]);
	p->full = cold && !p->parked;
	if (p->full)
		len = answer_tc(&w->answer, j, w->tx_iov[i].iov_base, answer_limit(&w->answer, &j->q, false));
	if (!p->parked)
		made(w, i, len, from[i]);
	w->done = i + 1;
}

static uint8_t *buffer(const struct worker *w, unsigned i) { return w->tx_buf + i * (size_t)w->conf->udp_size; }

/* Answers jobs first to first + n - 1 into the buffers of tx, stage by stage. */
static void answer_group(struct worker *w, unsigned first, unsigned n, const unsigned *from)
{
	for (unsigned i = first; i < first + n; i++)
		answer_begin(&w->answer, &w->job[i]);
	for (unsigned i = first; i < first + n; i++)
		answer_seek(&w->answer, &w->job[i]);
	for (unsigned i = first; i < first + n; i++)
		answer_fetch(&w->answer, &w->job[i]);
	for (unsigned i = first; i < first + n; i++) {
		size_t max = answer_limit(&w->answer, &w->job[i].q, false);
		finished(w, i, answer_finish(&w->answer, &w->job[i], buffer(w, i), max), from);
	}
}

size_t answer_alone(struct worker *w, struct answer_job *j, uint8_t *out, size_t max)
{
	store_guard_enter(w->map, &w->guard);
	if (sigsetjmp(w->guard.to, 0) == 0) {
		answer_begin(&w->answer, j);
		answer_seek(&w->answer, j);
		answer_fetch(&w->answer, j);
	} else {
		count(&w->stats->faults, 1);
		answer_spoil(j);
	}
	size_t n = answer_finish(&w->answer, j, out, max);
	store_guard_leave(&w->guard);
	return n;
}

/* A page can't be read: the group's other queries shall not suffer for it. */
static void answer_singly(struct worker *w, unsigned end, const unsigned *from)
{
	while (w->done < end) {
		unsigned i = w->done;
		size_t max = answer_limit(&w->answer, &w->job[i].q, false);
		finished(w, i, answer_alone(w, &w->job[i], buffer(w, i), max), from);
	}
}

/* Answers the jobs from w->done on, group by group; false: in the group at
 * w->done a page can't be read. */
static bool answer_groups(struct worker *w, unsigned m, const unsigned *from)
{
	store_guard_enter(w->map, &w->guard);
	bool sound = sigsetjmp(w->guard.to, 0) == 0;
	while (sound && w->done < m)
		answer_group(w, w->done, m - w->done < GROUP ? m - w->done : GROUP, from);
	store_guard_leave(&w->guard);
	return sound;
}

static void answer_all(struct worker *w, unsigned m, const unsigned *from)
{
	w->done = w->posted = 0;
	while (!answer_groups(w, m, from)) {
		unsigned end = w->done - w->done % GROUP + GROUP;
		answer_singly(w, end < m ? end : m, from);
	}
}

/* Was its query parked until the disk failed? */
static bool is_lost(const struct worker *w, unsigned i) { return w->again && park_failed(w->rerun[i]); }

/* Answers n queries; returns how many answers there are in tx. */
static unsigned answer_batch(struct worker *w, unsigned n, bool v6, uint64_t now_ns)
{
	unsigned from[BATCH] RAW, m = 0;
	for (unsigned i = 0; i < n; i++) {
		struct answer_job *j = &w->job[m];
		j->kind = query_parse(w->rx_iov[i].iov_base, w->rx[i].msg_len, &j->q);
		if (j->kind == QUERY_DROP)
			continue;
		j->peer_len = address_of(&w->peer[i], v6, &j->peer);
		j->lost = is_lost(w, i);
		from[m++] = i;
	}
	if (!w->again)
		count(&w->stats->queries[0][v6], m);
	count(&w->stats->dropped, n - m);
	enter_store(w);
	w->answer.need_cookie = w->conf->need_cookie;
	answer_all(w, m, from);
	w->answer.need_cookie = false;
	return w->conf->rrl.rate ? limit(w, m, from, rrl_ticks(now_ns)) : w->posted;
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

void serve_batch(struct worker *w, const struct listener *l, unsigned n, uint64_t now_ns)
{
	w->asked = l;
	send_batch(w, l->src.fd, answer_batch(w, n, l->v6, now_ns));
}

static void udp_wake(struct src *s, uint32_t got, uint64_t now_ns)
{
	struct listener *l = SRC_OWNER(s, struct listener, src);
	struct worker *w = l->w;
	(void)got;
	for (unsigned i = 0; i < BATCHES; i++) {
		for (unsigned k = 0; k < BATCH; k++)
			w->rx[k].msg_hdr.msg_namelen = sizeof w->peer[k];
		long n = syscall(SYS_recvmmsg, s->fd, w->rx, BATCH, MSG_DONTWAIT, NULL);
		if (n <= 0)
			return; /* errors are some earlier answer's ICMP */
		serve_batch(w, l, (unsigned)n, now_ns);
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
		l->src = (struct src){ s[i].fd, EPOLLIN, LOOP_NEVER, s[i].tcp ? tcp_accept : udp_wake,
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
	size_t udp, tcp;
	lay_out(w, c, (uint8_t *)w, &udp, &tcp);
	answer_init(&w->answer, m, w->answer.scratch.mem, ANSWER_SCRATCH, w->answer.scratch.memo,
	            c->udp_size);
	w->answer.identity = c->identity;
	w->answer.version = c->version;
	w->answer.cookie_keys = c->cookie_keys;
	w->answer.ncookie_keys = c->ncookie_keys;
	rrl_init(&w->rrl, &c->rrl, w->accounts);
	batch_init(w);
	tcp_init(w);
}

static int turns(struct worker *w, const _Atomic bool *stop)
{
	uint64_t now = loop_now();
	while (!atomic_load_explicit(stop, memory_order_relaxed)) {
		store_idle(w->map, w->id);
		if (loop_wait(&w->loop, tcp_waiting(w, now) ? now : now + WAIT_NS) < 0)
			return -1;
		now = loop_now();
		count(&w->stats->beats, 1);
		park_turn(w, now);
		tcp_turn(w, now);
		loop_wake(&w->loop);
	}
	return 0;
}

int dns_run(struct store_map *m, const struct dns_conf *c, unsigned worker, const struct dns_socket *s,
            size_t n, void *mem, struct dns_stats *stats, const _Atomic bool *stop)
{
	struct worker *w = mem;
	if (c->tcp_max == 0 || c->tcp_per_client == 0 || c->udp_size < 512 || c->udp_size > DNS_UDP_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (loop_init(&w->loop) < 0)
		return -1;
	worker_init(w, m, c, worker, stats);
	int r = listen_all(w, s, n);
	if (r == 0)
		r = park_init(w);
	if (r == 0)
		r = turns(w, stop);
	int e = errno;
	store_idle(m, worker);
	tcp_end(w);
	park_end(w);
	loop_close(&w->loop);
	errno = e;
	return r;
}
