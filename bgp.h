/* bgp.h - the BGP speaker: our prefixes, told to all neighbours.
 *
 * Its rooms: bgp/codec.h, the messages; bgp/fsm.h, one neighbour; bgp/bfd.h, the
 * liveness of the path to it.  None of them has a socket or a clock: those are
 * their owner's, who drives each peer as bgp/fsm.h says. */
#ifndef BGP_H
#define BGP_H

#include "bgp/bfd.h"
#include "bgp/codec.h"
#include "bgp/fsm.h"

#define BGP_PEERS 64

struct bgp {
	struct bgp_set set;
	unsigned npeers;
	struct bgp_peer_conf conf[BGP_PEERS];
	struct bgp_peer peer[BGP_PEERS];
};

void bgp_init(struct bgp *b);
/* A prefix, at first silent.  Before bgp_start.  NULL, or what is wrong. */
const char *bgp_add_prefix(struct bgp *b, const struct bgp_prefix *p);
/* A neighbour; the configuration is copied.  Before bgp_start.  NULL, or what is
 * wrong. */
const char *bgp_add_peer(struct bgp *b, const struct bgp_peer_conf *c, uint64_t random);

void bgp_start(struct bgp *b, uint64_t now_ns);
/* One prefix (its place in the set) goes to another level, at every neighbour. */
void bgp_announce(struct bgp *b, uint64_t now_ns, unsigned prefix, enum bgp_level level);
void bgp_announce_all(struct bgp *b, uint64_t now_ns, enum bgp_level level);
/* The planned stop, bgp_peer_drain() for each; bgp_over() says when it is done. */
void bgp_drain(struct bgp *b, uint64_t now_ns, uint64_t wait_ns, const char *why);
bool bgp_over(const struct bgp *b);
/* All is withdrawn and every session ended, now: Cease, Administrative Shutdown. */
void bgp_stop(struct bgp *b, uint64_t now_ns, const char *why);

/* The neighbour with this address, or NULL: for who connects to us. */
struct bgp_peer *bgp_find_peer(struct bgp *b, const struct bgp_addr *a);

void bgp_tick(struct bgp *b, uint64_t now_ns);
uint64_t bgp_due(const struct bgp *b);

#endif
