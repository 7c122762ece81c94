/* dns.h - the service: queries in, answers out, over UDP and TCP. */
#ifndef DNS_H
#define DNS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto.h"
#include "dns/rrl.h"
#include "store.h"

#define DNS_UDP_MAX 4096 /* the largest udp_size */

struct dns_conf {
	unsigned workers;     /* threads that call dns_run() */
	uint16_t udp_size;    /* EDNS size: 512 to DNS_UDP_MAX; 1232 is usual */
	unsigned tcp_max;     /* connections of one worker */
	unsigned tcp_per_client; /* of these, for one IPv4 address or IPv6 /56 */
	unsigned tcp_idle_ms; /* without a whole query, or with answers unread */
	const char *identity, *version; /* told who asks, 63 octets at most; NULL: not told */
	struct sip cookie_keys[2];      /* current, previous; the same on all nodes of an address */
	unsigned ncookie_keys;          /* 0: no cookies */
	bool need_cookie;               /* over UDP, of clients that send one */
	struct rrl_conf rrl;            /* over UDP; its rate 0: off */
};

/* A service socket of one worker: bound to a specific address (so that answers
 * leave from it) with SO_REUSEPORT, non-blocking; TCP: listening. */
struct dns_socket {
	int fd;
	bool tcp;
};

#define DAMAGED_CATALOG (1ull << 32)

/* What a worker counts.  One writer each; readers see whole numbers. */
struct dns_stats {
	_Alignas(64) _Atomic uint64_t beats; /* turns of the worker: it is alive */
	_Atomic uint64_t queries[2][2];      /* [tcp][v6] */
	_Atomic uint64_t rcode[18];          /* answers by code; 16: BADVERS, 17: BADCOOKIE */
	_Atomic uint64_t truncated;          /* answers with TC */
	_Atomic uint64_t dropped;            /* not answered: no query, or not sent */
	_Atomic uint64_t rrl_dropped;        /* too many of a kind, not answered */
	_Atomic uint64_t rrl_slipped;        /* too many of a kind, answered by TC or BADCOOKIE */
	_Atomic uint64_t damaged;            /* SERVFAIL because of the store */
	_Atomic uint64_t faults;             /* of these: the disk did not give a page */
	_Atomic uint64_t damaged_where;      /* of the last of them: the zone's instance, or DAMAGED_CATALOG; 0: none */
	_Atomic uint64_t parked;             /* queries that had to wait for the disk, */
	_Atomic uint64_t parked_now;         /* wait now, */
	_Atomic uint64_t parked_full;        /* found no room to wait: TC; over TCP: closed */
	_Atomic uint64_t fetched;            /* ranges of the store brought in for them */
	_Atomic uint64_t tcp_open;           /* connections now */
	_Atomic uint64_t tcp_accepted;
	_Atomic uint64_t tcp_closed;         /* by us: idle, to make room, malformed */
};

/* Memory that a worker works in (anonymous, touched as needed).  NULL: errno. */
void *dns_memory_map(const struct dns_conf *c);

/* One worker's loop, until *stop.  mem comes from dns_memory_map(); nothing
 * else is allocated.  0, or -1 with errno when it cannot start or epoll fails. */
int dns_run(struct store_map *m, const struct dns_conf *c, unsigned worker, const struct dns_socket *s,
            size_t n, void *mem, struct dns_stats *stats, const _Atomic bool *stop);

#endif
