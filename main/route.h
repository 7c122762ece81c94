/* route.h - encdns-route: what it is told (configuration), what it tells (its
 * page), and its rooms: speaker.c, the sockets of BGP and BFD; probe.c, the
 * questions to ourselves; health.c, what follows from it all. */
#ifndef MAIN_ROUTE_H
#define MAIN_ROUTE_H

#include "base/conf.h"
#include "base/loop.h"
#include "bgp.h"

/* ---- configuration: the keys bgp-... ---- */

struct route_peer {
	struct bgp_peer_conf bgp;
	char dev[16];            /* the interface of a link-local neighbour; else "" */
	uint16_t port;           /* where we connect to */
	uint8_t ttl;             /* of what we send; 0: the system's */
	bool gtsm;               /* TTL 255 both ways, RFC 5082 */
	int md5;                 /* descriptor that the secret comes by, or -1 */
	struct bgp_addr source;  /* our address; family 0: the system chooses */
	enum { BFD_OFF, BFD_ONE_HOP, BFD_MULTIHOP } bfd;
	uint32_t bfd_tx_ms, bfd_rx_ms, bfd_mult;
};

struct route_conf {
	uint64_t as, port, drain, stale;
	struct bgp_addr id;      /* family 0, until route_check(): none is configured */
	bool loopback;
	struct route_prefixes { unsigned n; struct bgp_prefix at[BGP_PREFIXES]; } prefixes;
	struct route_peers { unsigned n; struct route_peer at[BGP_PEERS]; } peers;
};

/* For the table of keys. */
int take_bgp_id(const struct conf_key *k, void *at, const char *v, char *err, size_t n);     /* struct bgp_addr */
int take_bgp_prefix(const struct conf_key *k, void *at, const char *v, char *err, size_t n); /* struct route_prefixes */
int take_bgp_peer(const struct conf_key *k, void *at, const char *v, char *err, size_t n);   /* struct route_peers */
/* What the keys mean together; fills in what neighbours have in common.  The
 * number of mistakes, each said. */
int route_check(struct route_conf *c, const struct conf_addrs *service, const char *path,
                const struct conf_say *say);

#define ADDR_TEXT 64 /* with an interface behind it */
/* An address for people; returns out. */
const char *bgp_addr_text(const struct bgp_addr *a, char out[static ADDR_TEXT]);
bool bgp_addr_same(const struct bgp_addr *a, const struct bgp_addr *b);
bool bgp_addr_link_local(const struct bgp_addr *a);
/* A neighbour's address with its interface, as the configuration has it. */
const char *route_peer_text(const struct route_peer *p, char out[static ADDR_TEXT]);
/* The addresses of ours beside `local` on the link that it shares with `peer`, for the next
 * hop; family 0: none.  dev: the link where local is link-local. */
void route_link(const char *dev, const struct bgp_addr *local, const struct bgp_addr *peer, struct bgp_addr *global,
                struct bgp_addr *link_local);

/* ---- the speaker ---- */

struct node;
/* What the supervisor opens before it forks: listeners, BFD's receivers. */
struct route_socket {
	int fd;
	enum { ROUTE_LISTEN, ROUTE_BFD, ROUTE_BFD_MULTIHOP } what;
};
#define ROUTE_SOCKETS (4 * BGP_PEERS)
#define MD5_MAX 80 /* octets of a secret, as the kernel has it */
struct route_secret { uint8_t len, key[MD5_MAX]; };

/* Secrets of neighbours, then their sockets; 0, or 1 and it is said why not. */
int route_read_secrets(struct node *n);
int route_open(struct node *n);
void route_close_sockets(struct node *n);

struct speaker;
struct speaker *speaker_new(struct loop *l, struct node *n); /* NULL: errno */
void speaker_start(struct speaker *s, uint64_t now);
/* All prefixes, to all neighbours. */
void speaker_announce(struct speaker *s, uint64_t now, enum bgp_level level);
void speaker_drain(struct speaker *s, uint64_t now, uint64_t wait_ns, const char *why);
bool speaker_over(const struct speaker *s);
/* Withdrawn and over when this returns. */
void speaker_stop(struct speaker *s, uint64_t now, const char *why);
/* Once over: so that no neighbour takes our end for a dead path. */
void speaker_stop_bfd(struct speaker *s, uint64_t now);

/* ---- what it tells: a page of shared memory, only this process writes ---- */

struct route_peer_told {
	/* last: the last NOTIFICATION in words; trouble: how the last connection was lost without one */
	char peer[ADDR_TEXT], state[16], agreed[160], last[BGP_WORDS], trouble[160], bfd[96];
	uint32_t as, announced;  /* announced: prefixes that it has been told */
	uint64_t since;          /* Established, or without a session, seconds since 1970 */
	bool up;                 /* Established */
	bool no_queries;         /* Established and told, but nobody asks */
};
struct route_told {
	uint32_t npeers, nprefixes, flaps;
	uint8_t level;           /* enum bgp_level */
	bool leaving;
	uint64_t since, wait_s;  /* the level's; until it may be announced again */
	char why[240];
	char prefix[BGP_PREFIXES][ADDR_TEXT + 4];
	struct route_peer_told peer[BGP_PEERS];
};
/* version is odd while `told` is being written. */
struct route_page {
	_Atomic uint64_t beats;
	_Atomic uint32_t version;
	struct route_told told;
};
void speaker_tell(const struct speaker *s, struct route_told *out);

#endif
