/* unlock.h - run level 1: waiting for an operator. */
#ifndef MAIN_UNLOCK_H
#define MAIN_UNLOCK_H

#include "main/machine.h"

/* What an operator has sent: good until the machine stops. */
struct unlocked {
	struct key *k_system, *k_data;
	struct bundle *bundle;
	uint64_t time;        /* the operator's clock, seconds since 1970 */
	uint64_t seq;         /* not to be served below it */
	uint8_t chain[32];    /* of that sequence; zero: not said */
	uint64_t generation;  /* of the bundle, at least */
	bool refill;          /* a foreign store may be dropped */
};

/* The supervisor's: a child waits at the sockets, and is started again when it
 * dies, until an operator has unlocked the machine.  0; -1: a signal has stopped it;
 * 1: it is said why not. */
int unlock_wait(struct machine *m, const int *socks, unsigned nsocks, struct unlocked *out);
/* The same from a predecessor that has become us: by a descriptor. */
int unlock_take(struct machine *m, int fd, int *socks, unsigned *nsocks, struct unlocked *out);
/* The bundle holds another executable than the one that runs: becomes that one,
 * which goes on with what it is handed.  Returns when there is none, or it is said why not. */
void unlock_become(const struct machine *m, const int *socks, unsigned nsocks, const struct unlocked *u);
void unlocked_wipe(struct unlocked *u);
/* The bundle's configuration; its secret settings are pipes then.  The number of
 * mistakes, each said. */
struct node_conf;
int unlocked_conf(const struct bundle *b, struct node_conf *c, const struct conf_say *say);

#endif
