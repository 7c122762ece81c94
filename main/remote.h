/* remote.h - what encdns-control does when an operator says so, at port 22. */
#ifndef MAIN_REMOTE_H
#define MAIN_REMOTE_H

#include "base/ctl.h"
#include "journal.h"

/* To the supervisor, in MSG_ORDER: order 8 | the operator's name, to the end. */
enum order { ORDER_WITHDRAW = 1, ORDER_ANNOUNCE, ORDER_RESTART_DNS, ORDER_RESTART_CONTROL, ORDER_REBOOT, ORDER_POWEROFF };

struct remote {
	struct node *node;
	int sup;                /* the channel to the supervisor */
	struct journal *journal;
	struct store *store;
	const char *who;        /* the operator; NULL: somebody at the control socket */
};
/* Answers, and true; false: none of its commands. */
bool remote_command(struct remote *r, struct ctl_conn *c, int argc, char **argv);

#endif
