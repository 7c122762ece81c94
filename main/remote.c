/* remote.c - an operator's commands.  Contract in remote.h; `status` is control.c's.
 * No shell, no file: a fixed list of words.
 * Threat: an operator's key in wrong hands can stop this node, as it could have
 * refused to start it; it can read nothing of a zone. */
#include "main/remote.h"

#include "base/log.h"
#include "main/node.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void done(struct ctl_conn *c, int code, const char *text)
{
	ctl_print(c, code ? CTL_ERR : CTL_OUT, "%s\n", text);
	ctl_done(c, code);
}

static void order(struct remote *r, struct ctl_conn *c, enum order o, const char *text)
{
	uint8_t p[MSG_MAX];
	struct wr w = wr_init(p, sizeof p);
	wr_u8(&w, o);
	wr_bytes(&w, r->who ? r->who : "", r->who ? strlen(r->who) : 0);
	if (!w.bad && msg_send(r->sup, MSG_ORDER, p, wr_len(&w), -1) == 0)
		done(c, 0, text);
	else
		done(c, 1, strerror(errno));
}

static void route_order(struct remote *r, struct ctl_conn *c, enum order o, const char *text)
{
	if (r->node->route_page)
		order(r, c, o, text);
	else
		done(c, 1, "this node has no BGP neighbours: nothing is announced");
}

static void power(struct remote *r, struct ctl_conn *c, enum order o)
{
	if (r->node->init)
		order(r, c, o, o == ORDER_REBOOT ? "the machine starts anew" : "the machine is switched off");
	else
		done(c, 1, "encdns is not this machine's init: whoever started it has to do that");
}

static void send_log(struct remote *r, struct ctl_conn *c)
{
	char line[LOG_LINE];
	for (unsigned i = 0; log_kept(i, line); i++)
		ctl_print(c, CTL_OUT, "%s", line);
	ctl_done(c, 0);
	(void)r;
}

static void reconnect(struct remote *r, struct ctl_conn *c)
{
	if (journal_reconnect(r->journal))
		done(c, 0, "the connection to the hub is made anew");
	else
		done(c, 1, "a group of transactions is on its way: try again");
}

/* The catalog is read whole, and what readers and writer have met is told. */
static void check(struct remote *r, struct ctl_conn *c)
{
	struct store_stats s;
	uint64_t met = 0;
	bool whole = store_catalog_look(r->store) == STORE_FOUND;
	store_stats_get(r->store, &s);
	for (unsigned i = 0; i < r->node->conf.workers; i++)
		met += atomic_load_explicit(&worker_page(r->node, i)->stats.damaged, memory_order_relaxed);
	ctl_print(c, CTL_OUT,
	          "catalog %s, %llu names, damage met %llu times since the start (encdns check looks at "
	          "everything, in a node that has stopped)\n",
	          whole ? "sound" : "damaged", (unsigned long long)s.names,
	          (unsigned long long)(s.damaged + met));
	ctl_done(c, whole && s.damaged + met == 0 ? 0 : 1);
}

bool remote_command(struct remote *r, struct ctl_conn *c, int argc, char **argv)
{
	const char *what = argv[0], *which = argc > 1 ? argv[1] : "";
	if (strcmp(what, "withdraw") == 0)
		route_order(r, c, ORDER_WITHDRAW,
		            "withdrawn, until an operator says announce or the node is authorised anew");
	else if (strcmp(what, "announce") == 0)
		route_order(r, c, ORDER_ANNOUNCE, "announced as soon as all is well");
	else if (strcmp(what, "restart") == 0 && strcmp(which, "dns") == 0)
		order(r, c, ORDER_RESTART_DNS, "encdns-dns is started anew");
	else if (strcmp(what, "restart") == 0 && strcmp(which, "control") == 0)
		order(r, c, ORDER_RESTART_CONTROL, "encdns-control is started anew");
	else if (strcmp(what, "reboot") == 0)
		power(r, c, ORDER_REBOOT);
	else if (strcmp(what, "poweroff") == 0)
		power(r, c, ORDER_POWEROFF);
	else if (strcmp(what, "log") == 0)
		send_log(r, c);
	else if (strcmp(what, "reconnect") == 0)
		reconnect(r, c);
	else if (strcmp(what, "check") == 0)
		check(r, c);
	else
		return false;
	return true;
}
