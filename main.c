/* main.c - encdns: the command line, the supervisor, the run levels.
 *
 * `encdns run` becomes encdns-super.  It reads the configuration and the keys,
 * opens the store's descriptors and all sockets, forks encdns-control,
 * encdns-dns and (with neighbours) encdns-route and starts each again when it
 * dies.  It parses nothing from the network.
 *
 * States of a child: running -> dead -> running, after a pause that grows while
 * it dies before it was of use.  A dns that stands still for 3 s is killed.  A
 * control that can't even begin at the very first start ends the node.
 * Stop: TERM to route, which leaves its neighbours in order; once it has gone (or
 * at the second signal, or too late) TERM to all, KILL after 5 s.  Denied: all of
 * that within a second, keys wiped, EXIT_DENIED.
 * Threat: the children, who may be taken over: what they say is only believed
 * to be a sequence, a descriptor or a wish to stop. */
#include "main/node.h"

#include "base/addr.h"
#include "base/ctl.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sandbox.h"
#include "crypto/cert.h"
#include "crypto/denial.h"
#include "main/inventory.h"
#include "main/remote.h"
#include "main/unlock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "0.1"
#endif

#define STOP_NS        5000000000ull
#define DENIED_NS      300000000ull  /* the same when we are denied; before that as long for route */
#define ANSWER_NS      200000000ull
#define WATCH_NS       500000000ull
#define STILL_LOOKS    6
#define PAUSE_MIN_NS   20000000ull
#define PAUSE_MAX_NS   5000000000ull

static const char usage[] =
	"encdns: an authoritative DNS server that keeps its zones encrypted\n"
	"\n"
	"  encdns run --dir DIR                          run a node in the foreground: it waits for an\n"
	"                operator (encdns-hub authorise) at the addresses of DIR/boot, who sends keys\n"
	"  encdns run --dir DIR --conf FILE --key fd:N   the same, with keys from descriptors\n"
	"  encdns run --ad-hoc [--port PORT]             answer from a stream on stdin, in memory:\n"
	"                encdns-hub stream ORIGIN=ZONEFILE... | encdns run --ad-hoc --port 5300\n"
	"  encdns status --dir DIR [--json]              where a running node stands\n"
	"  encdns check --dir DIR | --store PATH --key fd:N [--json]\n"
	"                is the store of a stopped node sound? 0: yes, 1: damaged, 2: it can't be told\n"
	"  encdns checkconf FILE                         is this configuration right?\n"
	"  encdns --help keys|boot                       what a configuration file, or DIR/boot, may say\n"
	"  encdns --version\n"
	"\n"
	"The key is 64 hex digits or 32 octets, read from the descriptor to its end.\n";

static int wrong_usage(const char *what)
{
	fprintf(stderr, "encdns: %s\nTry: encdns --help\n", what);
	return 2;
}

/* ---- the supervisor ---- */

struct super;
struct child {
	struct src src;          /* its channel */
	struct super *super;
	const char *name;
	pid_t pid;               /* 0: not running */
	bool ready;              /* it has done something useful since it was born */
	bool ordered;            /* that it is started anew, */
	char by[MSG_MAX];        /* by this operator */
	uint64_t pause_ns, again; /* again: when to start it, 0: it runs */
};

struct super {
	struct node node;
	struct loop loop;
	struct child child[CHILDREN];
	struct src signals, timer;
	struct key *key;
	struct blob *cred;
	struct src watch;
	uint64_t turns[WORKERS_MAX]; /* of the workers, when last looked at */
	uint64_t route_turns;
	unsigned route_still;
	int zones_fd;            /* the newest list of zones, for a new route; -1: none */
	bool remember;           /* node.health is news */
	unsigned still;          /* looks in a row at which a worker had not moved */
	bool begun;              /* control has opened its store at least once */
	struct fill fill;
	bool held;               /* withdrawn by an operator */
	bool reboot, off;        /* stopping: and then the machine */
	enum order order;        /* that ends control: once it has answered, at order_at; 0: none */
	char order_by[MSG_MAX];  /* whose it is */
	uint64_t order_at;
	uint64_t kill_at;        /* stopping: when patience ends */
	_Atomic bool stop;
	bool stopping, leaving;  /* leaving: route says good-bye, then we stop */
	int code;
};

static int make_route_page(struct node *n)
{
	n->route_fd = -1;
	if (n->conf.route.peers.n == 0)
		return 0;
	n->route_fd = memfd_create("encdns-route", MFD_CLOEXEC);
	if (n->route_fd < 0 || ftruncate(n->route_fd, sizeof *n->route_page) != 0)
		return node_complain("encdns-route's page can't be made: %s", strerror(errno));
	n->route_page = mmap(NULL, sizeof *n->route_page, PROT_READ, MAP_SHARED, n->route_fd, 0);
	if (n->route_page != MAP_FAILED)
		return 0;
	return node_complain("encdns-route's page can't be mapped: %s", strerror(errno));
}

static int channel(int out[2])
{
	struct timeval patience = { 2, 0 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, out) != 0)
		return -1;
	for (int i = 0; i < 2; i++) /* a stuck reader must not stop the other */
		setsockopt(out[i], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	return 0;
}

/* A channel from one child to the other, an end to each. */
static void introduce(struct super *s)
{
	int pair[2];
	if (!s->child[CONTROL].pid || !s->child[DNS].pid || s->node.filling || channel(pair) != 0)
		return;
	for (int i = CONTROL; i <= DNS; i++) {
		msg_send(s->child[i].src.fd, MSG_PEER, NULL, 0, pair[i]);
		close(pair[i]);
	}
}

static void to_route(struct super *s, enum node_msg type, const void *p, size_t n, int pass)
{
	if (s->child[ROUTE].pid)
		msg_send(s->child[ROUTE].src.fd, type, p, n, pass);
}

/* To route: does this child live? */
static void tell_route(struct super *s, enum node_child which)
{
	uint8_t p[2] = { (uint8_t)which, s->child[which].pid != 0 };
	to_route(s, MSG_CHILD, p, sizeof p, -1);
}

/* All that its predecessor knew. */
static void introduce_route(struct super *s)
{
	to_route(s, MSG_HELD, &(uint8_t){ s->held }, 1, -1);
	tell_route(s, CONTROL);
	if (s->zones_fd >= 0)
		to_route(s, MSG_ZONES, NULL, 0, s->zones_fd);
	tell_route(s, DNS);
}

static void tell_memory(struct super *s)
{
	uint8_t p[MEMORY_LEN];
	memory_pack(&s->node.health, p);
	if (s->child[CONTROL].pid)
		msg_send(s->child[CONTROL].src.fd, MSG_MEMORY, p, sizeof p, -1);
}

/* Keeps the newest `keep` roots only. */
static void forget_roots(struct node *n, unsigned keep)
{
	while (n->nroots > keep) {
		close(n->roots[0]);
		memmove(n->roots, n->roots + 1, --n->nroots * sizeof *n->roots);
	}
}

/* In the child: nothing of the supervisor's that it has no business with. */
static void become(struct super *s, int which, pid_t parent)
{
	process_begin(s->child[which].name, parent);
	close(s->loop.ep);
	close(s->signals.fd);
	if (s->zones_fd >= 0)
		close(s->zones_fd);
	for (int i = 0; i < CHILDREN; i++)
		if (s->child[i].src.fd >= 0)
			close(s->child[i].src.fd);
	if (which != ROUTE) {
		crypto_wipe(s->node.route_secrets,
		            s->node.conf.route.peers.n * sizeof *s->node.route_secrets);
		route_close_sockets(&s->node);
		close(s->node.route_fd);
	}
	for (unsigned i = 0; which != CONTROL && i < s->node.nunlock; i++)
		close(s->node.unlock[i]);
	if (which != CONTROL && s->node.log_in >= 0)
		close(s->node.log_in);
	if (which != CONTROL) {
		close(s->node.store_rw);
		s->node.store_rw = -1;
		forget_roots(&s->node, 0);
		if (s->node.ad_hoc)
			close(0);
	}
	if (which == DNS) {
		munmap((void *)(uintptr_t)s->node.pages, s->node.conf.workers * WORKER_STEP);
	} else {
		if (s->node.filling)
			forget_roots(&s->node, 0); /* of another file */
		close(s->node.pages_fd);
		close(s->node.store_ro);
		s->node.store_ro = -1;
		crypto_wipe(s->node.cookie_keys, sizeof s->node.cookie_keys);
		for (size_t i = 0; i < s->node.nsockets; i++)
			close(s->node.sockets[i].fd);
	}
	for (size_t i = 0; i < s->node.nsilent; i++)
		close(s->node.silent[i]);
	if (crypto_init() != 0)
		_exit(1);
	lock_memory(&s->node);
	if (which != ROUTE) /* they have threads */
		crypto_wipe_on_crash(false);
}

static void from_child(struct src *src, uint32_t got, uint64_t now);

static int give_secrets(struct super *s, int key_fd, int cred_fd)
{
	if (key_send(s->key, key_fd) != 0)
		return -1;
	return cred_fd >= 0 ? blob_send(s->cred, cred_fd) : 0;
}

static void close_pair(const int p[2])
{
	for (int i = 0; i < 2; i++)
		if (p[i] >= 0)
			close(p[i]);
}

/* The next try comes ever later. */
static void put_off(struct child *c, uint64_t now)
{
	c->again = now + c->pause_ns;
	c->pause_ns = c->pause_ns * 2 + PAUSE_MIN_NS;
	if (c->pause_ns > PAUSE_MAX_NS)
		c->pause_ns = PAUSE_MAX_NS;
}

static _Noreturn void leave_child(struct node *n, int code)
{
	wipe_memory(n);
	_exit(code);
}

static void start(struct super *s, int which, uint64_t now)
{
	struct child *c = s->child + which;
	int up[2] = { -1, -1 }, key[2] = { -1, -1 }, cred[2] = { -1, -1 };
	bool control = which == CONTROL;
	pid_t self = getpid(), pid = -1;
	if (channel(up) == 0 && (!control || channel(key) == 0) &&
	    (!control || !s->cred || pipe2(cred, O_CLOEXEC) == 0))
		pid = fork();
	if (pid < 0) {
		log_say(LOG_ERROR, "%s can't be started: %s", c->name, strerror(errno));
		put_off(c, now);
		close_pair(up);
		close_pair(key);
		close_pair(cred);
		return;
	}
	if (pid == 0) {
		become(s, which, self);
		close(up[0]);
		if (!control)
			leave_child(&s->node, which == DNS ? service_main(&s->node, up[1])
			                                   : route_main(&s->node, up[1]));
		close(key[0]);
		if (cred[1] >= 0)
			close(cred[1]);
		leave_child(&s->node, control_main(&s->node, up[1], key[1], cred[0]));
	}
	close(up[1]);
	c->src = (struct src){ .fd = up[0], .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = from_child };
	c->pid = pid;
	c->again = 0;
	c->ready = false;
	if (loop_add(&s->loop, &c->src) != 0) {
		log_say(LOG_ERROR, "%s can't be heard: %s", c->name, strerror(errno));
		kill(pid, SIGKILL); /* and started again */
	}
	if (control) {
		close(key[1]);
		if (cred[0] >= 0)
			close(cred[0]);
		if (give_secrets(s, key[0], cred[1]) != 0)
			log_say(LOG_ERROR, "%s did not take its keys", c->name);
		close(key[0]);
		if (cred[1] >= 0)
			close(cred[1]);
	}
	if (which == ROUTE) {
		introduce_route(s);
	} else {
		tell_route(s, (enum node_child)which);
		introduce(s);
	}
	if (control && s->remember)
		tell_memory(s);
}

static void begin_stop(struct super *s, uint64_t now)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->leaving = false;
	s->kill_at = now + (s->code == EXIT_DENIED ? DENIED_NS : STOP_NS);
	for (int i = 0; i < CHILDREN; i++)
		if (s->child[i].pid)
			kill(s->child[i].pid, SIGTERM);
	loop_due(&s->loop, &s->timer, s->kill_at);
}

/* Our certificate is denied: nobody is to be sent here, then nothing is answered,
 * and nothing is started any more. */
static void denied(struct super *s, uint64_t now)
{
	struct node *n = &s->node;
	if (s->code == EXIT_DENIED)
		return;
	s->code = EXIT_DENIED;
	crypto_end();
	crypto_wipe(n->cookie_keys, sizeof n->cookie_keys);
	if (n->route_secrets)
		crypto_wipe(n->route_secrets, n->conf.route.peers.n * sizeof *n->route_secrets);
	for (int i = 0; i < CHILDREN; i++)
		s->child[i].again = 0;
	to_route(s, MSG_DENIED, NULL, 0, -1);
	if (!s->stopping && s->child[ROUTE].pid)
		s->leaving = true;
	else
		begin_stop(s, now);
	s->kill_at = now + DENIED_NS;
	loop_due(&s->loop, &s->timer, s->kill_at);
}

/* The planned stop: first nobody is sent here any more, then nothing is answered. */
static void leave(struct super *s, uint64_t now)
{
	if (s->stopping || s->leaving || !s->child[ROUTE].pid) {
		begin_stop(s, now);
		return;
	}
	s->leaving = true;
	s->kill_at = now + s->node.conf.route.drain * 1000000000ull + STOP_NS;
	kill(s->child[ROUTE].pid, SIGTERM);
	loop_due(&s->loop, &s->timer, s->kill_at);
}

static void restart_dns(struct super *s)
{
	if (s->child[DNS].pid)
		kill(s->child[DNS].pid, SIGKILL);
	forget_roots(&s->node, 0);
}

/* The new store stands where the damaged one stood. */
static void filled(struct super *s)
{
	struct node *n = &s->node;
	bool other = fill_done(&s->fill, n);
	forget_roots(n, 0);
	if (s->fill.root >= 0)
		n->roots[n->nroots++] = s->fill.root;
	s->fill.root = -1;
	log_say(LOG_NOTICE, "a new store was filled from the hub and is in use");
	if (other && s->child[DNS].pid)
		/* what it has begun to answer goes out; its successor has the new file */
		kill(s->child[DNS].pid, SIGTERM);
	else
		introduce(s);
}

/* A store that can't be mended in its place; true: control is to be started on
 * another one. */
static bool refill(struct super *s, int status, uint64_t now)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	if (s->node.filling && code == EXIT_FULL && s->fill.beside)
		fill_full(&s->fill, &s->node);
	else if (!s->node.filling && code == EXIT_STRANGE)
		fill_strange(&s->fill, &s->node);
	else if (s->node.filling || (code != EXIT_HARMED && code != STORE_EXIT_DAMAGED) ||
	         !fill_begin(&s->fill, &s->node, now))
		return false;
	if (s->fill.dropped && s->child[DNS].pid)
		kill(s->child[DNS].pid, SIGKILL);
	return true;
}

static void start_anew(struct child *c, const char *who)
{
	kill(c->pid, SIGTERM);
	c->ordered = true;
	snprintf(c->by, sizeof c->by, "%s", who);
}

/* What has to wait until control has answered the operator. */
static void obey_late(struct super *s, uint64_t now)
{
	enum order o = s->order;
	s->order = 0;
	if (o == ORDER_RESTART_CONTROL && s->child[CONTROL].pid) {
		start_anew(&s->child[CONTROL], s->order_by);
	} else if ((o == ORDER_REBOOT || o == ORDER_POWEROFF) && s->node.init) {
		s->reboot = true;
		s->off = o == ORDER_POWEROFF;
		log_say(LOG_NOTICE, "the machine is %s: operator %s",
		        s->off ? "switched off" : "started anew", s->order_by);
		leave(s, now);
	}
}

/* What an operator has ordered, by way of control, which says who. */
static void obey(struct super *s, const struct msg *m, uint64_t now)
{
	enum order o = (enum order)m->p[0];
	char who[MSG_MAX] = "";
	memcpy(who, m->p + 1, m->n - 1);
	for (char *p = who; *p; p++)
		if (*p <= ' ' || *p > '~')
			*p = '?';
	if (o == ORDER_WITHDRAW || o == ORDER_ANNOUNCE) {
		s->held = o == ORDER_WITHDRAW;
		to_route(s, MSG_HELD, &(uint8_t){ s->held }, 1, -1);
	} else if (o == ORDER_RESTART_DNS && s->child[DNS].pid) {
		start_anew(&s->child[DNS], who);
	} else if (o == ORDER_RESTART_CONTROL || o == ORDER_REBOOT || o == ORDER_POWEROFF) {
		s->order = o;
		memcpy(s->order_by, who, sizeof who);
		s->order_at = now + ANSWER_NS;
		loop_due(&s->loop, &s->timer, s->order_at);
	}
}

/* False: nothing that control has to say. */
static bool hear_control(struct super *s, struct msg *m, uint64_t now)
{
	struct node *n = &s->node;
	if (m->type == MSG_COMMITTED && m->n == 8 + CHAIN_LEN) {
		if (n->filling && get_u64(m->p) < n->seq)
			return true; /* not where the old one stood */
		if (n->filling)
			filled(s);
		n->seq = get_u64(m->p);
		n->damaged = 0; /* control's store remembers what it has to */
		memcpy(n->chain, m->p + 8, CHAIN_LEN);
	} else if (m->type == MSG_ROOT && m->fd >= 0 && n->filling) {
		if (s->fill.root >= 0)
			close(s->fill.root);
		s->fill.root = m->fd;
		m->fd = -1;
	} else if (m->type == MSG_ROOT && m->fd >= 0) {
		if (n->nroots == ROOTS_MAX) /* dns takes no new ones: it is stuck */
			restart_dns(s);
		n->roots[n->nroots++] = m->fd;
		m->fd = -1;
	} else if (m->type == MSG_MOVED) {
		s->child[DNS].ready = true;
		forget_roots(n, 1);
	} else if (m->type == MSG_HARMED && m->n == 4) {
		n->damaged = get_u32(m->p);
	} else if (m->type == MSG_ZONES && m->fd >= 0) {
		to_route(s, MSG_ZONES, NULL, 0, m->fd);
		if (s->zones_fd >= 0)
			close(s->zones_fd);
		s->zones_fd = m->fd;
		m->fd = -1;
	} else if (m->type == MSG_PULSE && m->n == PULSE_LEN) {
		to_route(s, MSG_PULSE, m->p, m->n, -1);
	} else if (m->type == MSG_ORDER && m->n >= 1) {
		obey(s, m, now);
	} else if (m->type == MSG_DENIED) {
		denied(s, now);
	} else if (m->type == MSG_END && n->ad_hoc) {
		s->code = 1;
		begin_stop(s, now);
	} else {
		return false;
	}
	return true;
}

static void hear_route(struct super *s, const struct msg *m)
{
	s->child[ROUTE].ready = true;
	if (m->type != MSG_MEMORY || !memory_unpack(m->p, m->n, &s->node.health))
		return;
	s->remember = true;
	tell_memory(s);
}

static void from_child(struct src *src, uint32_t got, uint64_t now)
{
	struct child *c = SRC_OWNER(src, struct child, src);
	struct super *s = c->super;
	struct msg m;
	(void)got;
	if (msg_recv(src->fd, &m) != 0) { /* dying, or not ours any more: SIGCHLD tells the rest */
		loop_del(&s->loop, src);
		kill(c->pid, SIGKILL);
		return;
	}
	if (c == &s->child[ROUTE])
		hear_route(s, &m);
	else if (c == &s->child[CONTROL] && hear_control(s, &m, now))
		c->ready = s->begun = true; /* it speaks only when its store is open */
	msg_end(&m);
}

static void buried(struct super *s, struct child *c, int status, uint64_t now)
{
	c->pid = 0;
	loop_del(&s->loop, &c->src);
	close(c->src.fd);
	c->src.fd = -1;
	if (s->stopping)
		return;
	tell_route(s, (enum node_child)(c - s->child));
	if (s->leaving && c == &s->child[ROUTE]) {
		begin_stop(s, now);
		return;
	}
	if (c == &s->child[CONTROL] && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DENIED)
		denied(s, now);
	if (s->code == EXIT_DENIED)
		return;
	if (c->ready) /* a crash in service is mended at once; who can't begin waits ever longer */
		c->pause_ns = PAUSE_MIN_NS;
	bool again = c == &s->child[CONTROL] && refill(s, status, now);
	if (!s->begun && !again && c == &s->child[CONTROL] && WIFEXITED(status)) {
		/* a mistake of the operator's, not a crash: it has said what */
		log_say(LOG_ERROR, "nothing was started");
		s->code = 1;
		begin_stop(s, now);
		return;
	}
	put_off(c, now);
	s->still = 0;
	if (c == &s->child[DNS])
		forget_roots(&s->node, s->child[CONTROL].pid ? 1 : 0);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DOUBT)
		restart_dns(s);
	if (c->ordered && (!WIFSIGNALED(status) || WTERMSIG(status) == SIGTERM))
		log_say(LOG_NOTICE, "%s is started anew: operator %s", c->name,
		        *c->by ? c->by : "at the control socket");
	else if (WIFSIGNALED(status))
		log_say(LOG_WARNING, "%s was ended by signal %d%s; starting it again", c->name,
		        WTERMSIG(status),
		        WTERMSIG(status) == SIGSYS ? " (a system call that it may not make)" : "");
	else
		log_say(LOG_WARNING, "%s ended with status %d; starting it again", c->name,
		        WEXITSTATUS(status));
	c->ordered = false;
}

/* A store is dropped when its readers are gone and before its writer comes. */
static void start_one(struct super *s, int which, uint64_t now)
{
	if (s->fill.dropped && (which == DNS || s->child[DNS].pid || !fill_drop(&s->fill, &s->node)))
		put_off(&s->child[which], now);
	else
		start(s, which, now);
}

/* Starts what is due; when everything has stopped, ends. */
static void look_after(struct super *s, uint64_t now)
{
	bool alive = false;
	if (s->order && now >= s->order_at)
		obey_late(s, now);
	if (s->leaving && now >= s->kill_at)
		begin_stop(s, now);
	uint64_t due = s->stopping || s->leaving ? s->kill_at : LOOP_NEVER;
	for (int i = 0; i < CHILDREN; i++) {
		struct child *c = s->child + i;
		if (!s->stopping && c->again && c->again <= now)
			start_one(s, i, now);
		if (!s->stopping && c->again && c->again < due)
			due = c->again;
		alive |= c->pid != 0;
		if (s->stopping && c->pid && now >= s->kill_at)
			kill(c->pid, SIGKILL);
	}
	if (s->stopping && !alive)
		s->stop = true;
	if (s->stopping && now >= s->kill_at)
		due = now + STOP_NS;
	if (s->order && s->order_at < due)
		due = s->order_at;
	loop_due(&s->loop, &s->timer, due);
}

/* It turns ten times a second; standing still it would keep the neighbours
 * believing in us. */
static void watch_route(struct super *s)
{
	struct child *c = &s->child[ROUTE];
	if (!c->pid)
		return;
	uint64_t turns = atomic_load_explicit(&s->node.route_page->beats, memory_order_relaxed);
	s->route_still = turns == s->route_turns ? s->route_still + 1 : 0;
	s->route_turns = turns;
	if (s->route_still < STILL_LOOKS)
		return;
	log_say(LOG_ERROR, "%s stands still: starting it again", c->name);
	kill(c->pid, SIGKILL);
	s->route_still = 0;
}

/* A worker turns at least ten times a second; one that stands still for long
 * serves nobody and keeps space from being freed. */
static void on_watch(struct src *src, uint32_t got, uint64_t now)
{
	struct super *s = SRC_OWNER(src, struct super, watch);
	struct child *c = &s->child[DNS];
	bool still = false;
	(void)got;
	for (unsigned i = 0; i < s->node.conf.workers; i++) {
		const struct dns_stats *stats = &worker_page(&s->node, i)->stats;
		uint64_t turns = atomic_load_explicit(&stats->beats, memory_order_relaxed);
		still |= turns == s->turns[i];
		s->turns[i] = turns;
	}
	s->still = still && c->pid && c->ready ? s->still + 1 : 0;
	if (s->still >= STILL_LOOKS) {
		log_say(LOG_ERROR, "a worker of %s stands still: starting it again", c->name);
		kill(c->pid, SIGKILL);
		s->still = 0;
	}
	watch_route(s);
	loop_due(&s->loop, src, now + WATCH_NS);
}

static void on_timer(struct src *src, uint32_t got, uint64_t now)
{
	(void)got;
	look_after(SRC_OWNER(src, struct super, timer), now);
}

static void on_signal(struct src *src, uint32_t got, uint64_t now)
{
	struct super *s = SRC_OWNER(src, struct super, signals);
	struct signalfd_siginfo si;
	int status;
	pid_t pid;
	(void)got;
	while (read(src->fd, &si, sizeof si) == sizeof si)
		if (si.ssi_signo != SIGCHLD)
			leave(s, now);
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < CHILDREN; i++)
			if (s->child[i].pid == pid)
				buried(s, s->child + i, status, now);
	look_after(s, now);
}

static int supervise(struct super *s)
{
	static const char *const names[] = { "encdns-control", "encdns-dns", "encdns-route" };
	s->signals = (struct src){ .fd = loop_signals(SIGCHLD), .want = EPOLLIN, .due_ns = LOOP_NEVER,
		                   .wake = on_signal };
	s->watch = (struct src){ .fd = -1, .due_ns = loop_now() + WATCH_NS, .wake = on_watch };
	s->timer = (struct src){ .fd = -1, .due_ns = LOOP_NEVER, .wake = on_timer };
	if (s->signals.fd < 0 || loop_init(&s->loop) != 0 || loop_add(&s->loop, &s->signals) != 0 ||
	    loop_add(&s->loop, &s->timer) != 0 || loop_add(&s->loop, &s->watch) != 0)
		return node_complain("signals and timers can't be waited for: %s", strerror(errno));
	for (int i = 0; i < CHILDREN; i++)
		s->child[i] = (struct child){ .src = { .fd = -1 }, .super = s, .name = names[i],
			                      .again = loop_now() };
	if (!s->node.route_page)
		s->child[ROUTE].again = 0; /* never */
	log_say(LOG_NOTICE, "Entering run level 2");
	look_after(s, loop_now());
	if (loop_run(&s->loop, &s->stop) != 0)
		return node_complain("what happens can't be waited for: %s", strerror(errno));
	loopback_remove(&s->node);
	log_say(LOG_NOTICE, "stopped");
	if (s->reboot && machine_reboot(s->off) != 0)
		log_say(LOG_ERROR, "the machine can't be %s: %s", s->off ? "switched off" : "started anew",
		        strerror(errno));
	return s->code;
}

struct args { const char *dir, *conf, *store; int key, handed; uint64_t port; bool ad_hoc, json; };

static void ad_hoc_conf(struct super *s, uint16_t port)
{
	static const char *const hosts[] = { "127.0.0.1", "::1" };
	struct conf_addrs *l = &s->node.conf.service;
	for (unsigned i = 0; i < 2; i++) {
		snprintf(l->at[i].host, sizeof l->at[i].host, "%s", hosts[i]);
		l->at[i].port = port;
	}
	l->n = 2;
	s->node.conf.rrl = LIMIT_NOBODY; /* nobody else is to be had by asking from the loopback */
}

/* ---- run level 1 ---- */

/* What all processes say from now on can be read by control, who keeps the last of it. */
static void keep_log(struct node *n)
{
	int pair[2];
	n->log_in = n->log_out = -1;
	if (!n->machine || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return;
	n->log_in = pair[0];
	n->log_out = pair[1];
	log_copy(pair[1]);
}

static int open_port(struct node *n)
{
	const struct conf_addrs *l = &n->machine->boot.unlock;
	for (unsigned i = 0; i < l->n; i++) {
		int fd = addr_open(&l->at[i], SOCK_STREAM, ADDR_V6ONLY);
		if (fd < 0) {
			fprintf(stderr, "encdns: %s/boot: unlock %s@%u: %s; nothing was started\n", n->dir,
			        l->at[i].host, l->at[i].port, strerror(errno));
			return 1;
		}
		n->unlock[n->nunlock++] = fd;
	}
	return 0;
}

/* The operator's clock: for certificates, and for a machine that is ours alone. */
static void take_time(int64_t now)
{
	struct timespec t = { .tv_sec = (time_t)now };
	int64_t off = now - (int64_t)time(NULL);
	cert_told(now);
	if (off > -2 && off < 2)
		return;
	log_say(LOG_WARNING, "this machine's clock is off by %lld s", (long long)-off);
	if (getpid() == 1 && clock_settime(CLOCK_REALTIME, &t) != 0)
		log_say(LOG_WARNING, "the clock can't be set: %s", strerror(errno));
}

/* Takes what an operator has sent; the configuration and its secrets then come
 * from the bundle. */
static int take_unlocked(struct super *s, struct unlocked *u)
{
	struct node *n = &s->node;
	s->key = u->k_data;
	u->k_data = NULL;
	n->least_seq = u->seq;
	memcpy(n->least_chain, u->chain, CHAIN_LEN);
	n->machine->refill = u->refill || n->machine->boot.refill;
	take_time((int64_t)u->time);
	if (unlocked_conf(u->bundle, &n->conf, &conf_say_stderr) == 0)
		return 0;
	return node_complain("nothing was started");
}

/* 0; -1: stopped; 1: it is said why not. */
static int wait_for_operator(struct super *s, const struct args *a)
{
	static struct machine m;
	struct unlocked u = { .k_system = NULL };
	struct node *n = &s->node;
	n->machine = &m;
	inventory_image(m.image); /* zeros: it can't be told */
	crypto_harden();
	if (machine_open(&m, n->dir, a->handed < 0) != 0)
		return 1;
	if (a->handed >= 0) {
		if (unlock_take(&m, a->handed, n->unlock, &n->nunlock, &u) != 0)
			return 1;
	} else {
		int over = open_port(n) != 0 ? 1 : unlock_wait(&m, n->unlock, n->nunlock, &u);
		if (over)
			return over;
		unlock_become(&m, n->unlock, n->nunlock, &u);
	}
	int r = take_unlocked(s, &u);
	unlocked_wipe(&u);
	return r;
}

static int run(const struct args *a, char **argv)
{
	static struct super s;
	s.zones_fd = -1;
	s.node.ad_hoc = a->ad_hoc;
	s.node.dir = a->dir ? strdup(a->dir) : NULL; /* argv is written over */
	process_titles(argv);
	crypto_wipe_on_crash(true);
	lock_memory(&s.node);
	bool machine = a->dir && !a->conf;
	if (machine) {
		process_name("encdns-super");
		int over = wait_for_operator(&s, a);
		if (over)
			return over > 0;
	} else if (node_conf_read(a->conf, &s.node.conf) != 0) {
		return node_complain("nothing was started");
	}
	if (a->ad_hoc)
		ad_hoc_conf(&s, (uint16_t)a->port);
	/* by way of /proc/self, which is closed to an undumpable process */
	if (a->ad_hoc && node_open_store(&s.node) != 0)
		return 1;
	crypto_harden();
	int wrong = node_read_secrets(&s.node, a->key, &s.key, &s.cred);
	if (wrong)
		return wrong;
	if (a->dir && mkdir(s.node.dir, 0700) != 0 && errno != EEXIST) {
		fprintf(stderr, "encdns: %s: %s\n", s.node.dir, strerror(errno));
		return 1;
	}
	node_fit_descriptors(&s.node.conf);
	if (a->dir && s.node.conf.route.peers.n)
		memory_read(s.node.dir, &s.node.health);
	if (node_make_pages(&s.node) != 0 || make_route_page(&s.node) != 0 || route_open(&s.node) != 0 ||
	    loopback_add(&s.node) != 0)
		return 1;
	if (node_open_sockets(&s.node) != 0 || admin_open(&s.node) != 0 ||
	    (!a->ad_hoc && node_open_store(&s.node) != 0)) {
		loopback_remove(&s.node);
		return 1;
	}
	process_name("encdns-super");
	s.node.init = getpid() == 1;
	keep_log(&s.node);
	say_not_locked();
	if (s.node.machine) /* port 22 tells it */
		machine_look(s.node.machine);
	sandbox_enter(&(struct sandbox){ .who = SANDBOX_SUPER, .dir = s.node.dir,
	                                 .addresses = s.node.lent != 0,
	                                 .init = s.node.init });
	int code = supervise(&s);
	wipe_memory(&s.node);
	return code;
}

/* argv[0] becomes the process's name by starting anew under it, once. */
static void rename_process(char **argv)
{
	static const char name[] = "encdns-super";
	if (strcmp(argv[0], name) == 0)
		return;
	char *old = argv[0];
	argv[0] = (char *)(uintptr_t)name;
	execv("/proc/self/exe", argv);
	argv[0] = old; /* no /proc: go on as we are */
}

/* ---- the command line ---- */

static const struct conf_key options[] = {
	{ .key = "--dir", .parse = option_word, .off = offsetof(struct args, dir) },
	{ .key = "--conf", .parse = option_word, .off = offsetof(struct args, conf) },
	{ .key = "--store", .parse = option_word, .off = offsetof(struct args, store) },
	{ .key = "--key", .parse = conf_fd, .off = offsetof(struct args, key) },
	/* from ourselves: unlock_become() */
	{ .key = "--handed", .parse = conf_fd, .off = offsetof(struct args, handed) },
	{ .key = "--port", .parse = conf_number, .off = offsetof(struct args, port), .min = 1, .max = 65535 },
	{ .key = "--ad-hoc", .off = offsetof(struct args, ad_hoc) },
	{ .key = "--json", .off = offsetof(struct args, json) },
};

static int parse_args(int argc, char **argv, struct args *out)
{
	char err[200];
	*out = (struct args){ .key = -1, .handed = -1, .port = 5300 };
	if (options_help(argc, argv)) {
		fputs(usage, stdout);
		exit(0);
	}
	int words = options_read(argc, argv, options, sizeof options / sizeof *options, out, err, sizeof err);
	if (words > 0)
		snprintf(err, sizeof err, "no word is wanted here: %.80s", argv[0]);
	return words ? wrong_usage(err) : 0;
}

static int command_run(int argc, char **argv)
{
	struct args a;
	int r = parse_args(argc - 2, argv + 2, &a);
	if (r != 0)
		return r;
	if (a.ad_hoc ? a.dir || a.conf || a.key >= 0 : !a.dir || !a.conf != (a.key < 0))
		return wrong_usage("run wants --dir DIR, or --dir DIR --conf FILE --key fd:N, or --ad-hoc "
		                   "[--port PORT]");
	if (a.ad_hoc && isatty(0))
		return wrong_usage("--ad-hoc reads a stream from stdin: encdns-hub stream ORIGIN=FILE | "
		                   "encdns run --ad-hoc");
	rename_process(argv);
	return run(&a, argv);
}

static int command_status(int argc, char **argv)
{
	struct args a;
	int r = parse_args(argc - 2, argv + 2, &a);
	if (r != 0)
		return r;
	if (!a.dir)
		return wrong_usage("status wants --dir DIR");
	char *words[] = { "status", a.json ? "json" : "plain" };
	return ctl_call(a.dir, 2, words);
}

static int command_check(int argc, char **argv)
{
	struct args a;
	char path[PATH_MAX];
	int r = parse_args(argc - 2, argv + 2, &a);
	if (r != 0)
		return r;
	if (!a.dir == !a.store || a.key < 0)
		return wrong_usage("check wants --dir DIR or --store PATH, and --key fd:N");
	crypto_harden();
	struct key *key = key_read(a.key);
	if (!key) {
		node_complain("--key: 64 hex digits or 32 octets are wanted on that descriptor");
		return 2;
	}
	close(a.key);
	snprintf(path, sizeof path, a.dir ? "%.4000s/store" : "%.4000s", a.dir ? a.dir : a.store);
	r = check_main(path, key, a.json);
	key_free(key);
	return r;
}

/* Whatever it is called, it may be there. */
static int any_bundle(const char *name)
{
	(void)name;
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int command_checkconf(int argc, char **argv)
{
	static struct node_conf c;
	if (argc != 3 || argv[2][0] == '-')
		return wrong_usage("checkconf wants one FILE");
	conf_bundle = any_bundle;
	if (node_conf_read(argv[2], &c) != 0)
		return 1;
	printf("%s: all is right\n", argv[2]);
	return 0;
}

static int unknown(const char *what)
{
	char text[120];
	snprintf(text, sizeof text, "there is no \"%.80s\"", what);
	return wrong_usage(text);
}

static int help(const char *topic)
{
	if (!topic)
		return fputs(usage, stdout) < 0;
	if (strcmp(topic, "keys") != 0 && strcmp(topic, "boot") != 0)
		return unknown(topic);
	*topic == 'k' ? conf_help(node_keys, node_nkeys) : conf_help(boot_keys, boot_nkeys);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "--help";
	if (crypto_init() != 0)
		return node_complain("no memory for keys");
	signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is an error like a full disk */
	if (strcmp(verb, "run") == 0)
		return command_run(argc, argv);
	if (strcmp(verb, "status") == 0)
		return command_status(argc, argv);
	if (strcmp(verb, "check") == 0)
		return command_check(argc, argv);
	if (strcmp(verb, "checkconf") == 0)
		return command_checkconf(argc, argv);
	if (strcmp(verb, "--version") == 0) {
		printf("encdns " VERSION "\n");
		return 0;
	}
	if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0 || strcmp(verb, "help") == 0)
		return help(argc > 2 ? argv[2] : NULL);
	return unknown(verb);
}
