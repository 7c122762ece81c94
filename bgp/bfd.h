/* bfd.h - one BFD session (RFC 5880) in asynchronous mode: is the path to the
 * neighbour alive?  Pure: the UDP sockets, their TTL (RFC 5881 section 5: 255, both ways),
 * ports and the clock are the owner's.
 *
 * Not here: echo (we tell the neighbour so by a required interval of 0),
 * authentication (a packet that has it is discarded), demand mode of our own.  A
 * neighbour's own demand mode is granted as section 6.6 says: it gets answers to
 * its polls. */
#ifndef BGP_BFD_H
#define BGP_BFD_H

#include "base/wire.h"

#define BFD_NEVER UINT64_MAX
#define BFD_LEN   24 /* octets of what we send */

/* Section 4.1, as on the wire. */
enum bfd_state { BFD_ADMIN_DOWN, BFD_DOWN, BFD_INIT, BFD_UP };
enum bfd_diag { BFD_NO_DIAG, BFD_EXPIRED = 1, BFD_NEIGHBOR_DOWN = 3, BFD_BY_ADMIN = 7 };

struct bfd_packet {
	uint8_t diag;
	enum bfd_state state;
	bool poll, final, independent, demand;
	uint8_t mult;
	uint32_t mine, yours;               /* discriminators, the sender's view */
	uint32_t min_tx, min_rx, min_echo;  /* microseconds */
};

void bfd_write(struct wr *w, const struct bfd_packet *p);
/* Section 6.8.6, all that needs no session.  False: to be discarded. */
bool bfd_parse(const uint8_t *b, size_t n, struct bfd_packet *out);

struct bfd_conf {
	uint32_t discriminator; /* not 0, unique on this node; better not guessable */
	uint32_t min_tx_us;     /* what we should like to send at once Up, >= 1000 */
	uint32_t min_rx_us;     /* what we can take, >= 1000 */
	uint8_t mult;           /* so many missing packets mean down: 1 to 50; 3 is usual */
	bool multihop;          /* RFC 5883: no check of the TTL */
	bool passive;           /* says nothing before the neighbour does */
};

/* What an event has done to the session. */
enum bfd_event {
	BFD_NOTHING,
	BFD_WENT_UP,
	BFD_FAILED,       /* was Up; the path is dead: routes must go */
	BFD_CLOSED,       /* was Up; the neighbour took BFD down on purpose: no sign of
	                     a dead path (RFC 5882 section 3.2) */
};

struct bfd {
	struct bfd_conf conf;
	enum bfd_state state, remote_state;
	enum bfd_diag diag, remote_diag;
	uint32_t remote;                    /* discriminator; 0: not known */
	bool remote_demand;
	bool polling;                       /* our Poll Sequence is under way */
	bool poll_again;                    /* the intervals have changed within it */
	bool answer;                        /* a Final is due */
	uint32_t min_tx, min_rx;            /* ours as told; microseconds */
	uint32_t old_tx, old_rx;            /* in force until a Poll Sequence has ended */
	uint32_t remote_min_tx, remote_min_rx;
	uint8_t remote_mult;
	uint64_t last_tx_ns, next_tx_ns;
	uint64_t dead_ns;                   /* the detection time's end */
	uint64_t random;
	uint64_t in, out, discarded, failures; /* counters */
};

/* The session is AdminDown until bfd_start(). */
void bfd_init(struct bfd *s, const struct bfd_conf *c, uint64_t random);
void bfd_start(struct bfd *s, uint64_t now_ns);
/* AdminDown; the owner goes on with output for a detection time or so, that
 * the neighbour hears it. */
void bfd_stop(struct bfd *s, uint64_t now_ns);
/* Other intervals, by a Poll Sequence if Up (section 6.8.3). */
void bfd_change(struct bfd *s, uint64_t now_ns, uint32_t min_tx_us, uint32_t min_rx_us);

/* A packet that is this session's: chosen by `yours`, or, where that is 0, by the
 * addresses it came by.  ttl: what it arrived with. */
enum bfd_event bfd_receive(struct bfd *s, uint64_t now_ns, const uint8_t *b, size_t n, unsigned ttl);
enum bfd_event bfd_tick(struct bfd *s, uint64_t now_ns);
/* The packet that is due now: BFD_LEN, or 0.  Again until 0: a Final may come
 * beside the periodic one. */
size_t bfd_output(struct bfd *s, uint64_t now_ns, uint8_t out[static BFD_LEN]);
/* When tick or output has something to do. */
uint64_t bfd_due(const struct bfd *s);

/* As negotiated. */
uint64_t bfd_interval_ns(const struct bfd *s);  /* between our packets, before jitter */
uint64_t bfd_detection_ns(const struct bfd *s); /* 0: nothing is known yet */
const char *bfd_state_name(enum bfd_state st);
const char *bfd_diag_words(unsigned diag);

#endif
