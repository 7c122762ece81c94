/* worker.h - what the rooms of a worker share: its memory, sockets and counters. */
#ifndef DNS_WORKER_H
#define DNS_WORKER_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include "base/loop.h"
#include "dns.h"
#include "dns/answer.h"

#define BATCH    64        /* queries over UDP that are answered together */
#define TCP_IN   4096      /* a longer query ends its connection */
#define TCP_MSG  (2 + 65535)
#define TCP_OUT  (2 * TCP_MSG) /* answers gathered for one send() */
#define SOCKETS  64        /* of one worker */

struct worker;

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

	uint8_t *rx_buf, *tx_buf;  /* BATCH x UDP_IN, BATCH x udp_size */
	size_t tcp_left;           /* octets TCP may still answer in this turn */
	uint8_t *gather;           /* TCP_OUT: answers on their way out */
	struct conn *conns, *free; /* tcp_max of them */
	uint8_t *out;              /* pool: nout buffers of TCP_OUT */
	unsigned nout;
	struct conn **out_owner;   /* nout; NULL: free */
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

static inline void tally(struct worker *w)
{
	const struct answer *a = &w->answer;
	count(&w->stats->rcode[a->rcode <= 16 ? a->rcode : RCODE_SERVFAIL], 1);
	if (a->flags & FLAG_TC)
		count(&w->stats->truncated, 1);
	if (a->damaged)
		count(&w->stats->damaged, 1);
}

/* The address in a socket's address; how many octets. */
static inline uint8_t address_of(const struct sockaddr_storage *s, bool v6, const uint8_t **out)
{
	*out = v6 ? ((const struct sockaddr_in6 *)(const void *)s)->sin6_addr.s6_addr
	          : (const uint8_t *)&((const struct sockaddr_in *)(const void *)s)->sin_addr;
	return v6 ? 16 : 4;
}

/* ---- tcp.c ---- */

/* Before the first turn: all connections are free. */
void tcp_init(struct worker *w);
/* A listener's wake(). */
void tcp_accept(struct src *s, uint32_t got, uint64_t now_ns);
/* Closes what is open. */
void tcp_end(struct worker *w);

#endif
