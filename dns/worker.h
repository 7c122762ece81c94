/* worker.h - what the rooms of a worker share: its memory, sockets and counters. */
#ifndef DNS_WORKER_H
#define DNS_WORKER_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include "base/loop.h"
#include "base/ring.h"
#include "dns.h"
#include "dns/answer.h"

#define BATCH    JOBS_MAX  /* queries over UDP that are answered together */
#define TCP_MSG  (2 + 65535)
#define TCP_OUT  (2 * TCP_MSG) /* answers gathered for one send() */
#define SOCKETS  64        /* of one worker */

struct worker;
struct conn;

/* What became of a query, for the counters. */
struct outcome {
	uint16_t rcode;
	bool truncated, damaged;
	uint32_t inst; /* damaged: where */
};

/* An answer over UDP that the limiter has not seen. */
struct pending {
	struct rrl_account account;
	struct outcome outcome;
	bool exempt;
	bool parked; /* there is none */
	bool full;   /* it is TC: there was no room to park */
};

struct listener {
	struct src src;
	struct worker *w;
	bool v6;
};

/* Queries of one worker that wait for the disk; park.c's. */
struct parked;
struct park {
	struct src src;         /* some have what they lacked */
	struct parked *slot;    /* PARKED of them */
	struct parked *free;    /* used before */
	unsigned touched;       /* how many were ever used: no memory behind them */
	unsigned udp;           /* how many wait over UDP, */
	uint16_t crowd[256];    /* and from where: by a hash of the sender's network, */
	struct sip key;         /* under a random key, so that nobody can choose who shares a place */
	uint64_t looked_ns;     /* at the count of our faults: */
	long faults;
};

/* Connections of one worker; tcp.c's. */
struct tcp {
	struct conn *conns;        /* tcp_max of them */
	unsigned touched;          /* how many were ever used: no memory behind them */
	struct ring free, idle;    /* of conns: used before; in use, longest idle first */
	struct ring again;         /* of conns: whole queries wait for the next turn */
	struct ring writers;       /* of conns: with a buffer of `out`, in the order they got it */
	unsigned nfree;            /* not in use, used before or not */
	struct client *clients;    /* who is connected: at most tcp_max */
	unsigned touched_clients;
	struct client *free_clients;
	struct client **bucket;    /* nbuckets, a power of two: clients by hash */
	unsigned nbuckets;
	struct sip hash_key;       /* so that nobody can choose who shares a bucket */
	uint8_t *gather;           /* TCP_OUT: answers on their way out */
	uint8_t *out;              /* nout buffers of TCP_OUT */
	unsigned nout, nfree_out;
	uint8_t **free_out;        /* the last given back is the next to be used */
	size_t left;               /* octets that may still be answered in this round */
	struct answer_job job;
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
	unsigned done;             /* of job: answered, or parked */
	unsigned posted;           /* answers in tx (without limiter) */
	const struct listener *asked; /* where this batch came from */
	bool again;                /* it was parked: */
	struct parked *rerun[BATCH]; /* by number in rx; NULL: parked once more */
	struct store_guard guard;  /* against pages that can't be read */
	struct rrl rrl;
	void *accounts;            /* the limiter's */
	uint8_t *rx_buf, *tx_buf;  /* BATCH x UDP_IN, BATCH x udp_size */

	struct tcp tcp;
	struct park park;
};

static inline void count(_Atomic uint64_t *n, uint64_t by)
{
	/* one writer: no locked instruction */
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + by, memory_order_relaxed);
}

/* From here to the end of the batch the store's memory stays in place. */
static inline void enter_store(struct worker *w)
{
	store_announce(w->map, w->id);
	answer_view(&w->answer);
	w->answer.now_s = (uint32_t)time(NULL); /* cookies */
}

static inline struct outcome outcome_of(const struct answer *a)
{
	return (struct outcome){ (uint16_t)a->rcode, a->flags & FLAG_TC, a->damaged, a->damaged_inst };
}

static inline void tally_as(struct worker *w, struct outcome o)
{
	unsigned rcode = o.rcode == RCODE_BADCOOKIE ? 17 : o.rcode <= 16 ? o.rcode : RCODE_SERVFAIL;
	count(&w->stats->rcode[rcode], 1);
	if (o.truncated)
		count(&w->stats->truncated, 1);
	if (o.damaged) {
		atomic_store_explicit(&w->stats->damaged_where, o.inst ? o.inst : DAMAGED_CATALOG, memory_order_relaxed);
		count(&w->stats->damaged, 1);
	}
}

static inline void tally(struct worker *w) { tally_as(w, outcome_of(&w->answer)); }

/* The answer just made is none: its query has to wait for the disk. */
static inline bool is_cold(const struct worker *w) { return w->answer.scratch.cold.len != 0; }

/* dns.c: answers one query; what can't be read is SERVFAIL. */
size_t answer_alone(struct worker *w, struct answer_job *j, uint8_t *out, size_t max);
/* Answers the first n queries of rx, which came to l, and sends the answers. */
void serve_batch(struct worker *w, const struct listener *l, unsigned n, uint64_t now_ns);

/* The address in a socket's address; how many octets. */
static inline uint8_t address_of(const struct sockaddr_storage *s, bool v6, const uint8_t **out)
{
	*out = v6 ? ((const struct sockaddr_in6 *)(const void *)s)->sin6_addr.s6_addr
	          : (const uint8_t *)&((const struct sockaddr_in *)(const void *)s)->sin_addr;
	return v6 ? 16 : 4;
}

/* A piece of a worker's memory: its octets and, once dealt out, where it lies. */
struct piece { size_t size; uint8_t *at; };
/* Deals out the octets at base in whole pages (NULL: only counts them); returns
 * how many. */
size_t pieces_deal(struct piece *piece, size_t n, uint8_t *base);

/* ---- park.c ---- */

#define PARK_TRIES 64 /* that a query is parked; then it is answered however long it takes */
size_t park_size(void);
bool park_failed(const struct parked *p); /* the disk does not give what it lacks */
int park_init(struct worker *w);
/* At the start of each turn. */
void park_turn(struct worker *w, uint64_t now_ns);
/* The query number q of rx is cold.  False: there is no room. */
bool park_query(struct worker *w, unsigned q);
/* A connection's next query is; NULL: there is no room. */
struct parked *park_conn(struct worker *w, struct conn *c);
/* It is closed. */
void park_leave(struct parked *p);
void park_end(struct worker *w);

/* ---- tcp.c ---- */

/* Deals out the octets at base (NULL: only counts them); returns how many. */
size_t tcp_lay_out(struct worker *w, const struct dns_conf *c, uint8_t *base);
/* Before the first turn: all connections are free. */
void tcp_init(struct worker *w);
/* A listener's wake(). */
void tcp_accept(struct src *s, uint32_t got, uint64_t now_ns);
/* At the start of each turn: closes who is late, answers who waited. */
void tcp_turn(struct worker *w, uint64_t now_ns);
/* Is there something to do without waiting? */
bool tcp_waiting(const struct worker *w, uint64_t now_ns);
/* What a connection's next query lacked is there, or can't be read. */
void tcp_resume(struct conn *c, bool lost, uint64_t now_ns);
/* Closes what is open. */
void tcp_end(struct worker *w);

#endif
