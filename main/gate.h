/* gate.h - port 22: where operators authorise a machine, and command it afterwards.
 *
 * The same port before and after: run level 1's process lets itself be unlocked,
 * encdns-control takes commands.  The messages are in crypto/gate.h. */
#ifndef MAIN_GATE_H
#define MAIN_GATE_H

#include "base/ctl.h"
#include "base/loop.h"
#include "main/machine.h"

struct gate;

struct gate_calls {
	/* Waiting: an AUTH that is signed, for us and fresh.  Takes the keys it keeps out of
	 * it.  NULL, or why not, for the own console; *failed: the operator may read it too. */
	const char *(*unlock)(void *owner, struct gate_auth *a, const char *bundle, const char *who, bool *failed);
	/* The answer is out, or will never be: nothing more is taken. */
	void (*unlocked)(void *owner);
	/* Running: a command, of the operator with that name. */
	void (*command)(void *owner, struct ctl_conn *c, int argc, char **argv, const char *who);
	/* Something that is no operator's program spoke to the port; NULL: it is said, no more. */
	void (*stranger)(void *owner);
};

struct gate_conf {
	struct machine *machine;
	const int *socks; /* listening; stay the caller's */
	unsigned nsocks;
	bool running;
	bool store;       /* there is one */
};
/* NULL: errno. */
struct gate *gate_new(struct loop *l, const struct gate_conf *c, const struct gate_calls *calls, void *owner);
void gate_free(struct gate *g); /* NULL is fine */

#endif
