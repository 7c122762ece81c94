/* fsm.h - one neighbour: the state machine of RFC 4271 section 8 and what it is
 * told of our prefixes.  Pure: sockets and the clock are the owner's.
 *
 * The owner feeds events in (functions with `now_ns`, a clock that never goes
 * back), and after each one
 *   - asks bgp_peer_next() until it says BGP_NOTHING, and does what it says,
 *   - writes what bgp_peer_out() has for either connection, as far as its
 *     socket takes it, and says so by bgp_peer_sent(),
 *   - arranges bgp_peer_tick() for bgp_peer_due().
 * There are two connections at most: slot 0, which we open, and slot 1, which the
 * neighbour opens.  The owner keeps a slot's socket until BGP_DO_CLOSE, also
 * when the socket has failed. */
#ifndef BGP_FSM_H
#define BGP_FSM_H

#include "bgp/codec.h"

#define BGP_NEVER UINT64_MAX
#define BGP_SEC   UINT64_C(1000000000)

/* In the order of RFC 4271 section 8.2.2; a greater one is further. */
enum bgp_state { BGP_IDLE, BGP_CONNECT, BGP_ACTIVE, BGP_OPENSENT, BGP_OPENCONFIRM, BGP_ESTABLISHED };

/* How loudly a prefix is told; a lower one always wins. */
enum bgp_level {
	BGP_SILENT,  /* not at all */
	BGP_LEAVING, /* with the community of graceful shutdown, RFC 8326 */
	BGP_LESS,    /* as a second choice: longer path or lower preference */
	BGP_FULL,
};

struct bgp_set {
	unsigned n;
	struct bgp_prefix prefix[BGP_PREFIXES]; /* no two alike */
	uint8_t level[BGP_PREFIXES];            /* enum bgp_level */
};

enum { BGP_DIAL = 1, BGP_LISTEN = 2 }; /* bits: who may open the connection */

struct bgp_peer_conf {
	struct bgp_addr addr;     /* the neighbour's */
	uint32_t as, peer_as;     /* not 0; alike: iBGP */
	uint32_t id;              /* our BGP Identifier, not 0 */
	uint16_t hold_s;          /* 0: none; at least 3; 90 is usual */
	uint16_t send_hold_s;     /* 0: as RFC 9687 has it: 8 minutes or twice the hold time */
	uint16_t retry_s;         /* the first pause after a failure, at least 1; 5 is usual */
	uint16_t retry_max_s;     /* it doubles up to this (while nobody answers: 30 s); 120 is usual */
	uint8_t mode;             /* BGP_DIAL | BGP_LISTEN */
	uint8_t families;         /* BGP_V4 | BGP_V6 */
	bool v4_by_v6;            /* offer RFC 8950 */
	uint8_t role;             /* ours, RFC 9234; BGP_NO_ROLE; not looked at in iBGP */
	bool role_strict;         /* the neighbour must tell its own */

	/* what it is told */
	uint8_t prepend;          /* own AS so often more than once */
	uint8_t less_prepend;     /* and so often more for BGP_LESS; together < BGP_TIMES_MAX */
	bool has_med;
	uint32_t med;
	uint32_t local_pref, less_local_pref; /* iBGP only */
	struct bgp_addr hop4, hop6;           /* next hops; family 0: the session's own address */
	struct bgp_addr link_local;           /* on the neighbour's link; family 0: none */
	uint8_t ncommunities, nlarge;
	uint32_t community[BGP_COMMUNITIES];
	struct bgp_large large[BGP_COMMUNITIES];
};
/* NULL, or what is wrong with it. */
const char *bgp_conf_wrong(const struct bgp_peer_conf *c);

/* What both OPENs together allow. */
struct bgp_agreed {
	uint8_t families;
	bool as4, refresh, enhanced_refresh, v4_by_v6, end_of_rib;
	uint16_t hold_s;
};

#define BGP_OUT (BGP_MAX + 3 * BGP_UPDATE_MAX)

/* A connection; the machine's own. */
struct bgp_conn {
	enum bgp_state state;    /* BGP_IDLE: the slot is free; never BGP_ACTIVE */
	bool closing;            /* `out` is the last that we have to say */
	bool plain;              /* our OPEN was without capabilities */
	struct bgp_addr local;
	uint64_t hold_ns, keepalive_ns, stuck_ns, close_ns, since_ns;
	uint32_t id;             /* the neighbour's, from BGP_OPENCONFIRM on */
	struct bgp_agreed agreed;
	unsigned in_len;
	unsigned out_at, out_len;
	uint8_t in[BGP_MAX];
	uint8_t out[BGP_OUT];
};

/* A prefix as this neighbour knows it. */
struct bgp_told {
	struct bgp_prefix prefix;
	uint8_t want, told; /* enum bgp_level */
	bool listed;        /* in the set */
	bool again;         /* a refresh asks for it */
};

enum bgp_phase { BGP_STOPPED, BGP_RESTING /* Idle after an error */, BGP_TRYING };
enum bgp_drain { BGP_STAYING, BGP_LEAVING_SOON, BGP_WITHDRAWN };

struct bgp_counts { /* since bgp_peer_init */
	uint64_t in[6], out[6];   /* messages by type */
	uint64_t established;     /* how often */
	uint64_t attempts;        /* connections asked for */
	uint64_t announced, withdrawn; /* prefixes heard, and not kept */
	uint64_t mended;          /* UPDATEs with an error that RFC 7606 forgives */
};

struct bgp_peer {
	const struct bgp_peer_conf *conf; /* the owner's; outlives the peer */
	enum bgp_phase phase;
	enum bgp_drain drain;
	bool want_connect;       /* BGP_DO_CONNECT is due */
	bool told_up;            /* BGP_WENT_UP was given out */
	bool plain;              /* the next OPEN goes without capabilities, RFC 5492 section 3 */
	unsigned failures;       /* of connections in a row: doubles the pause */
	unsigned misses;         /* attempts in a row without a connection: doubles theirs */
	uint64_t retry_ns;       /* the pause's end, or the time given to a connection attempt */
	uint64_t asked_ns;       /* the last attempt, for one a second */
	uint64_t drain_ns;
	uint64_t refresh_ns;     /* when a refresh may be answered next */
	uint64_t random;
	/* the owner's to set before the next connection: further IPv6 addresses of ours on
	 * a link that we share with the neighbour; family 0: none */
	struct bgp_addr link_global, link_local;
	struct bgp_conn conn[2];
	struct bgp_addr hop[3], hop_link_local; /* next hops of the session, by family */
	/* families: asked again; to be told again; being told again; End-of-RIB sent */
	uint8_t refresh, may_refresh, refreshing, ended;
	unsigned ntold;
	struct bgp_told told[2 * BGP_PREFIXES]; /* room for those that are still to be withdrawn */
	struct bgp_counts counts;
	char why_stop[256];      /* the reason that a drain ends with */
	char last[BGP_WORDS];    /* the last NOTIFICATION, "sent: " or "received: " and words; "" */
	const char *trouble;     /* how the last connection was lost without one; NULL */
};

/* The table of prefixes is empty, the peer stopped.  random: any number, better
 * not the same for two peers. */
void bgp_peer_init(struct bgp_peer *p, const struct bgp_peer_conf *conf, uint64_t random);

/* ---- events ---- */

void bgp_peer_start(struct bgp_peer *p, uint64_t now_ns);
/* Ends all with a Cease: sub is BGP_SHUTDOWN, ...; why (NULL: none) goes with
 * BGP_SHUTDOWN and BGP_RESET (RFC 9003). */
void bgp_peer_stop(struct bgp_peer *p, uint64_t now_ns, unsigned sub, const char *why);
/* The planned stop: everything with the community of RFC 8326 for wait_ns, then
 * withdrawn, then bgp_peer_stop(BGP_SHUTDOWN, why). */
void bgp_peer_drain(struct bgp_peer *p, uint64_t now_ns, uint64_t wait_ns, const char *why);
/* RFC 5882 section 4.3, 9384: the path is dead; ends the session, and tries again. */
void bgp_peer_bfd_down(struct bgp_peer *p, uint64_t now_ns);

/* The attempt of BGP_DO_CONNECT has succeeded; local: our address on it. */
void bgp_peer_connected(struct bgp_peer *p, uint64_t now_ns, const struct bgp_addr *local);
/* The neighbour (address checked) has connected.  False: the owner closes the
 * socket at once; else it is slot 1. */
bool bgp_peer_incoming(struct bgp_peer *p, uint64_t now_ns, const struct bgp_addr *local);
/* The slot's transport is gone, or the attempt has failed. */
void bgp_peer_failed(struct bgp_peer *p, uint64_t now_ns, unsigned slot);
/* Octets, as they come: takes all. */
void bgp_peer_received(struct bgp_peer *p, uint64_t now_ns, unsigned slot, const uint8_t *b, size_t n);
void bgp_peer_tick(struct bgp_peer *p, uint64_t now_ns);
/* The prefixes or their levels have changed. */
void bgp_peer_set(struct bgp_peer *p, uint64_t now_ns, const struct bgp_set *set);

/* ---- what is to be done ---- */

enum bgp_do {
	BGP_NOTHING,
	BGP_DO_CONNECT,  /* slot 0: open a connection, then call connected or failed */
	BGP_DO_CLOSE,    /* the slot's socket; what was still to be said has been written or is void */
	BGP_WENT_UP,     /* for the owner's information */
	BGP_WENT_DOWN,
};
enum bgp_do bgp_peer_next(struct bgp_peer *p, unsigned *slot);

/* What is to be written to the slot's socket; 0: nothing. */
size_t bgp_peer_out(const struct bgp_peer *p, unsigned slot, const uint8_t **b);
/* The socket has taken n of these. */
void bgp_peer_sent(struct bgp_peer *p, uint64_t now_ns, unsigned slot, size_t n);

/* When bgp_peer_tick() has something to do; BGP_NEVER. */
uint64_t bgp_peer_due(const struct bgp_peer *p);

/* ---- what there is to know ---- */

enum bgp_state bgp_peer_state(const struct bgp_peer *p);
const char *bgp_state_name(enum bgp_state s); /* as RFC 4271 has it */
/* Stopped, and both sockets closed. */
bool bgp_peer_over(const struct bgp_peer *p);
/* Prefixes that the neighbour has been told and that are not withdrawn. */
unsigned bgp_peer_announced(const struct bgp_peer *p);
/* The established connection, or NULL; since_ns is when it became so. */
const struct bgp_conn *bgp_peer_session(const struct bgp_peer *p);
/* "IPv4, IPv6, 4-octet AS, route refresh, hold 90 s", or "" without a session;
 * names a wanted family that the neighbour lacks or that has no next hop. */
void bgp_peer_words(const struct bgp_peer *p, char *out, size_t room);

#endif
