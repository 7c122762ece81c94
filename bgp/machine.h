/* machine.h - between the rooms of one neighbour: fsm.c, its states and timers; tell.c,
 * what it is told. */
#ifndef BGP_MACHINE_H
#define BGP_MACHINE_H

#include "bgp/fsm.h"

static inline bool bgp_peer_external(const struct bgp_peer *p) { return p->conf->as != p->conf->peer_as; }

/* ---- what is to be written to a connection ---- */

/* For the next message, behind what still waits. */
struct wr bgp_conn_writer(struct bgp_conn *c);
/* What was written becomes due; all or nothing. */
void bgp_conn_written(struct bgp_peer *p, struct bgp_conn *c, const struct wr *w, enum bgp_type type);
/* Room for n octets beside the last NOTIFICATION? */
bool bgp_conn_room(const struct bgp_conn *c, size_t n);

/* ---- what the neighbour is told ---- */

void bgp_tell_set(struct bgp_peer *p, const struct bgp_set *set);
/* The session is Established, or has ended: then the neighbour knows nothing. */
void bgp_tell_begin(struct bgp_peer *p, const struct bgp_conn *c);
void bgp_tell_end(struct bgp_peer *p);
/* All that it ought to hear now, as far as there is room.  True: something. */
bool bgp_tell(struct bgp_peer *p, struct bgp_conn *c, uint64_t now);
/* IPv4 goes in MP_REACH_NLRI, as its next hop is IPv6. */
bool bgp_tell_v4_in_mp(const struct bgp_peer *p);

#endif
