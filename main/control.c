/* control.c - encdns-control: the tunnel, the journal, the writing half of the
 * store, the control socket.
 *
 * A crash costs lag and nothing else: encdns-dns serves on, the supervisor
 * starts a successor with the same keys, which opens the store anew beside the
 * living readers.  An error that leaves the store half-way ends the process on
 * purpose for the same cure.
 * Threat: the hub's tunnel (journal.c), local users of the control socket
 * (ctl.c), and encdns-dns, who may be taken over: it is only believed that it
 * has moved. */
#include "main/node.h"

#include "base/ctl.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "crypto/denial.h"
#include "main/gate.h"
#include "main/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS  1000000000ull
#define PULSE_NS 250000000ull

struct control {
	struct node *node;
	struct loop loop;
	struct store *st;
	struct journal *journal;
	struct key *key;
	struct cred *cred;
	struct denied denied;
	struct ctl *ctl;
	struct gate *gate;   /* NULL: keys came by descriptors */
	const struct store_beat *beats[WORKERS_MAX]; /* the workers' announcements */
	struct src sup, dns, signals, tick, pulse, log;
	struct zone_list zones;
	_Atomic bool stop;
	bool level4, moved, given; /* given: dns has our root; moved: its readers use it */
	int code;
	struct repair repair;
	uint64_t started;
};

/* ---- dns ---- */

static void lose_dns(struct control *c)
{
	if (c->dns.fd < 0)
		return;
	loop_del(&c->loop, &c->dns);
	close(c->dns.fd);
	c->dns.fd = -1;
	c->moved = c->given = false;
}

/* Nothing is served below what the operator has named: dns gets no root, answers
 * nothing, and so nothing is announced. */
static bool caught_up(const struct control *c) { return store_seq(c->st) >= c->node->least_seq; }

static void give_root(struct control *c)
{
	if (c->given || c->dns.fd < 0 || !caught_up(c))
		return;
	c->given = true;
	if (msg_send(c->dns.fd, MSG_KEYS, NULL, 0, -1) != 0 || store_keys_send(c->st, c->dns.fd) != 0 ||
	    msg_send(c->dns.fd, MSG_ROOT, NULL, 0, store_root_fd(c->st)) != 0) {
		log_say(LOG_ERROR, "encdns-dns did not take its keys: %s", strerror(errno));
		lose_dns(c);
	}
}

static void enter_level4(struct control *c)
{
	struct journal_status j;
	journal_status_get(c->journal, &j);
	if (c->level4 || !c->moved || (j.seq == 0 && j.state != JOURNAL_STREAMING))
		return;
	c->level4 = true;
	c->repair.filling = false; /* the readers have it */
	log_say(LOG_NOTICE, "Entering run level 4: serving at sequence %llu", (unsigned long long)j.seq);
}

static void from_dns(struct src *s, uint32_t got, uint64_t now)
{
	struct control *c = SRC_OWNER(s, struct control, dns);
	struct msg m;
	(void)got;
	(void)now;
	if (msg_recv(s->fd, &m) != 0) {
		lose_dns(c);
		return;
	}
	if (m.type == MSG_MOVED) {
		c->moved = true;
		store_old_root_done(c->st);
		msg_send(c->sup.fd, MSG_MOVED, NULL, 0, -1);
		enter_level4(c);
	}
	msg_end(&m);
}

/* ---- the supervisor ---- */

static void remember(const struct control *c, const struct msg *m)
{
	struct health_memory h;
	if (c->node->dir && memory_unpack(m->p, m->n, &h) && memory_write(c->node->dir, &h) != 0)
		log_say(LOG_WARNING, "%s/route can't be written: %s", c->node->dir, strerror(errno));
}

static void from_super(struct src *s, uint32_t got, uint64_t now)
{
	struct control *c = SRC_OWNER(s, struct control, sup);
	struct msg m;
	(void)got;
	(void)now;
	if (msg_recv(s->fd, &m) != 0) {
		c->stop = true;
		return;
	}
	if (m.type == MSG_PEER && m.fd >= 0) {
		lose_dns(c);
		c->dns = (struct src){ .fd = m.fd, .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = from_dns };
		m.fd = -1;
		if (loop_add(&c->loop, &c->dns) == 0)
			give_root(c);
		else
			lose_dns(c);
	} else if (m.type == MSG_MEMORY) {
		remember(c, &m);
	}
	msg_end(&m);
}

/* ---- route ---- */

/* How we are, and which zones there are: through the supervisor, who keeps the
 * newest for a successor of route. */
static void on_pulse(struct src *s, uint32_t got, uint64_t now)
{
	struct control *c = SRC_OWNER(s, struct control, pulse);
	struct journal_status j;
	uint8_t p[PULSE_LEN];
	(void)got;
	int fd = zone_list_look(&c->zones, c->st, now);
	if (fd >= 0) {
		msg_send(c->sup.fd, MSG_ZONES, NULL, 0, fd);
		close(fd);
	}
	journal_status_get(c->journal, &j);
	put_u64(p, j.head_time);
	p[8] = c->zones.seq == store_seq(c->st);
	put_u32(p + 9, c->zones.looks);
	msg_send(c->sup.fd, MSG_PULSE, p, sizeof p, -1);
	loop_due(&c->loop, s, now + PULSE_NS);
}

/* ---- the journal ---- */

static void committed(void *owner, uint64_t seq, const uint8_t chain[static CHAIN_LEN])
{
	struct control *c = owner;
	uint8_t p[8 + CHAIN_LEN];
	put_u64(p, seq);
	memcpy(p + 8, chain, CHAIN_LEN);
	msg_send(c->sup.fd, MSG_COMMITTED, p, sizeof p, -1);
	if (!c->given && !c->node->filling)
		give_root(c);
	if (!c->level4)
		enter_level4(c);
}

static void broken(void *owner, const char *why)
{
	struct control *c = owner;
	log_say(LOG_ERROR, "journal: %s", why);
	if (c->node->ad_hoc)
		msg_send(c->sup.fd, MSG_END, NULL, 0, -1);
	struct journal_status j;
	journal_status_get(c->journal, &j);
	if (c->code == 0)
		c->code = j.full ? EXIT_FULL : 1;
	c->stop = true;
}

static void ended(void *owner)
{
	struct control *c = owner;
	enter_level4(c);
}

/* What is being applied met damage: our successor hears where. */
static void harmed(void *owner, uint32_t inst)
{
	struct control *c = owner;
	uint8_t p[4];
	put_u32(p, inst);
	msg_send(c->sup.fd, MSG_HARMED, p, sizeof p, -1);
	if (!inst)
		c->code = EXIT_HARMED;
}

static void repair(void *owner, const uint8_t *zone, bool done, const char *why)
{
	struct control *c = owner;
	repair_event(&c->repair, zone, done, why, loop_now());
}

/* The supervisor first: neighbours are to hear of it before a disk does. */
static void stop_denied(struct control *c)
{
	msg_send(c->sup.fd, MSG_DENIED, NULL, 0, -1);
	log_say(LOG_ERROR,
	        "this node's certificate is denied (list %llu): withdrawing, stopping, wiping all keys",
	        (unsigned long long)denials_number(c->denied.list));
	c->code = EXIT_DENIED;
	c->stop = true;
}

static void denials(void *owner, const uint8_t *p, size_t n)
{
	struct control *c = owner;
	char err[200];
	int r = denied_take(&c->denied, p, n, err, sizeof err);
	if (r < 0)
		log_limited(LOG_ERROR, "the hub's denial list is not taken: %s", err);
	if (r <= 0)
		return;
	if (c->node->machine)
		cred_deny(c->node->machine->cred, c->denied.list);
	if (cred_denied(c->cred))
		stop_denied(c);
	else
		log_say(LOG_NOTICE, "denial list %llu is in force: %u certificates",
		        (unsigned long long)denials_number(c->denied.list), denials_count(c->denied.list));
	if (denied_save(&c->denied) != 0)
		log_say(LOG_ERROR, "%s/denials: %s", c->node->dir, strerror(errno));
}

/* False: we are on it. */
static bool open_denials(struct control *c)
{
	char err[300];
	if (!c->cred)
		return true; /* ad hoc */
	if (denied_open(&c->denied, c->node->dir, c->cred, err, sizeof err) != 0)
		log_say(LOG_ERROR, "%s; it is replaced by the hub's", err);
	if (!cred_denied(c->cred))
		return true;
	stop_denied(c);
	return false;
}

static const struct journal_calls journal_calls = { committed, broken, ended, harmed, repair, denials };

/* ---- status ---- */

static const char *state_text(const struct store_zone *z)
{
	static const char *const text[] = { "failed", "serving", "loading", "failed", "expired" };
	return z->hold ? "held" : z->state <= ZONE_EXPIRED ? text[z->state] : "failed";
}

/* A name inside a JSON string. */
static const char *json_name(const uint8_t *name, char out[static 2 * NAME_TEXT_MAX])
{
	char text[NAME_TEXT_MAX], *o = out;
	for (const char *p = name_text(name, text); *p; p++) {
		if (*p == '\\' || *p == '"')
			*o++ = '\\';
		*o++ = *p;
	}
	*o = 0;
	return out;
}

static uint64_t sum(const struct control *c, size_t off)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < c->node->conf.workers; i++) {
		const void *at = (const char *)&worker_page(c->node, i)->stats + off;
		n += atomic_load_explicit((const _Atomic uint64_t *)at, memory_order_relaxed);
	}
	return n;
}

struct counter { const char *name; size_t off; };
#define STAT(name, field) { name, offsetof(struct dns_stats, field) }
static const struct counter counters[] = {
	STAT("udp4", queries[0][0]), STAT("udp6", queries[0][1]), STAT("tcp4", queries[1][0]),
	STAT("tcp6", queries[1][1]), STAT("noerror", rcode[0]), STAT("formerr", rcode[1]),
	STAT("servfail", rcode[2]), STAT("nxdomain", rcode[3]), STAT("notimp", rcode[4]),
	STAT("refused", rcode[5]), STAT("yxdomain", rcode[6]), STAT("notauth", rcode[9]),
	STAT("badvers", rcode[16]), STAT("badcookie", rcode[17]), STAT("truncated", truncated),
	STAT("dropped", dropped), STAT("rrl_dropped", rrl_dropped), STAT("rrl_slipped", rrl_slipped),
	STAT("damaged", damaged), STAT("faults", faults), STAT("parked", parked), STAT("parked_now", parked_now),
	STAT("parked_full", parked_full), STAT("fetched", fetched), STAT("tcp_open", tcp_open), STAT("tcp_accepted", tcp_accepted),
	STAT("tcp_closed", tcp_closed),
};

static void print_zones(struct control *c, struct ctl_conn *conn, bool json)
{
	char text[2 * NAME_TEXT_MAX];
	struct store_zone z;
	const char *sep = "";
	enum store_found r = store_zone_next(c->st, NULL, &z);
	for (; r == STORE_FOUND; r = store_zone_next(c->st, z.name, &z)) {
		if (json)
			ctl_print(conn, CTL_OUT, "%s{\"name\":\"%s\",\"serial\":%u,\"state\":\"%s\"}", sep,
			          json_name(z.name, text), z.serial, state_text(&z));
		else
			ctl_print(conn, CTL_OUT, "zone %s serial %u %s\n", name_text(z.name, text), z.serial,
			          state_text(&z));
		sep = ",";
	}
}

static void status_json(struct control *c, struct ctl_conn *conn, const struct journal_status *j,
                        const struct store_stats *s)
{
	char chain[CHAIN_LEN * 2 + 1];
	hex_text(chain, j->chain, CHAIN_LEN);
	ctl_print(conn, CTL_OUT,
	          "{\"sequence\":%llu,\"chain\":\"%s\",\"run_level\":%d,\"journal\":{\"state\":\"%s\","
	          "\"hub\":\"%s\",\"origin_sequence\":%llu,\"head_time\":%llu},\"minimum\":%llu,\"denials\":%llu,",
	          (unsigned long long)j->seq, chain, c->level4 ? 4 : 2, journal_state_text(j->state), j->hub,
	          (unsigned long long)j->origin_seq, (unsigned long long)j->head_time,
	          (unsigned long long)c->node->least_seq, (unsigned long long)denials_number(c->denied.list));
	repair_print(&c->repair, conn, true);
	ctl_print(conn, CTL_OUT,
	          "\"store\":{\"names\":%llu,\"file_bytes\":%llu,\"log_bytes\":%llu,\"index_bytes\":%llu,"
	          "\"damaged\":%llu},\"queries\":{",
	          (unsigned long long)s->names, (unsigned long long)s->file_bytes,
	          (unsigned long long)s->log_bytes, (unsigned long long)s->index_bytes,
	          (unsigned long long)s->damaged);
	for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
		ctl_print(conn, CTL_OUT, "%s\"%s\":%llu", i ? "," : "", counters[i].name,
		          (unsigned long long)sum(c, counters[i].off));
	ctl_print(conn, CTL_OUT, "},");
	told_json(c->node, conn);
	ctl_print(conn, CTL_OUT, "\"zones\":[");
	print_zones(c, conn, true);
	ctl_print(conn, CTL_OUT, "]}\n");
}

static void status_text(struct control *c, struct ctl_conn *conn, const struct journal_status *j,
                        const struct store_stats *s)
{
	ctl_print(conn, CTL_OUT, "run level %d, journal %s%s%s, sequence %llu", c->level4 ? 4 : 2,
	          journal_state_text(j->state), *j->hub ? " with hub " : "", j->hub,
	          (unsigned long long)j->seq);
	if (j->head_time)
		ctl_print(conn, CTL_OUT, ", last head %lld s ago",
		          (long long)time(NULL) - (long long)j->head_time);
	char chain[CHAIN_LEN * 2 + 1];
	hex_text(chain, j->chain, CHAIN_LEN);
	if (!caught_up(c))
		ctl_print(conn, CTL_OUT, "\nnot answering below sequence %llu, which the operator has named",
		          (unsigned long long)c->node->least_seq);
	if (c->denied.list)
		ctl_print(conn, CTL_OUT, "\ndenial list %llu: %u certificates",
		          (unsigned long long)denials_number(c->denied.list), denials_count(c->denied.list));
	ctl_print(conn, CTL_OUT, "\nchain %s\nstore: %llu names, %llu MiB\nqueries:", chain,
	          (unsigned long long)s->names, (unsigned long long)s->file_bytes >> 20);
	bool any = false;
	for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
		if (sum(c, counters[i].off)) {
			ctl_print(conn, CTL_OUT, " %s %llu", counters[i].name,
			          (unsigned long long)sum(c, counters[i].off));
			any = true;
		}
	ctl_print(conn, CTL_OUT, "%s\n", any ? "" : " none yet");
	repair_print(&c->repair, conn, false);
	told_text(c->node, conn);
	print_zones(c, conn, false);
}

/* who: the operator at port 22, NULL: it came by the control socket. */
static void command(void *owner, struct ctl_conn *conn, int argc, char **argv, const char *who)
{
	struct control *c = owner;
	struct journal_status j;
	struct store_stats s;
	struct remote r = { c->node, c->sup.fd, c->journal, c->st, who };
	if (remote_command(&r, conn, argc, argv))
		return;
	if (strcmp(argv[0], "status") != 0) {
		ctl_print(conn, CTL_ERR, "unknown command %s%s%s (encdns-hub node --help lists them)\n",
		          argv[0], argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
		ctl_done(conn, 2);
		return;
	}
	journal_status_get(c->journal, &j);
	store_stats_get(c->st, &s);
	s.damaged += sum(c, offsetof(struct dns_stats, damaged));
	if (argc > 1 && strcmp(argv[1], "json") == 0)
		status_json(c, conn, &j, &s);
	else
		status_text(c, conn, &j, &s);
	ctl_done(conn, 0);
}

static void local_command(void *owner, struct ctl_conn *conn, int argc, char **argv)
{
	command(owner, conn, argc, argv, NULL);
}

/* ---- life ---- */

static void on_signal(struct src *s, uint32_t got, uint64_t now)
{
	struct control *c = SRC_OWNER(s, struct control, signals);
	(void)got;
	(void)now;
	c->stop = true;
}

static void on_tick(struct src *s, uint32_t got, uint64_t now)
{
	struct control *c = SRC_OWNER(s, struct control, tick);
	(void)got;
	int ms = store_tick(c->st);
	if (ms < 0) {
		log_say(LOG_ERROR, "store: %s", strerror(errno));
		c->code = 1;
		c->stop = true;
	}
	if (!c->node->ad_hoc && !c->stop && !repair_look(&c->repair, c->st, c->journal, c->node, now)) {
		log_say(LOG_ERROR, "store: the catalog of zones is damaged");
		c->code = EXIT_HARMED;
		c->stop = true;
	}
	loop_due(&c->loop, s, ms < 0 ? now + TICK_NS : now + (uint64_t)ms * 1000000u);
}

/* Of this machine and key?  Another one's may be dropped, if the operator says so. */
static bool is_ours(struct control *c)
{
	struct node *n = c->node;
	char err[PATH_MAX + 200];
	if (!n->machine || n->filling ||
	    store_whose(n->store_rw, n->conf.store, c->key, err, sizeof err) != STORE_STRANGE)
		return true;
	if (n->machine->refill)
		c->code = EXIT_STRANGE;
	log_say(LOG_ERROR, "%s%s", err,
	        n->machine->refill ? "" : "; authorise with --refill to have it filled again from the hub");
	return false;
}

/* The history in the store is the one that the operator has named, as far as that
 * can be told. */
static bool is_known(struct control *c)
{
	static const uint8_t none[CHAIN_LEN];
	struct node *n = c->node;
	struct journal_meta m;
	if (n->filling || store_seq(c->st) != n->least_seq || memcmp(n->least_chain, none, CHAIN_LEN) == 0)
		return true;
	meta_read(store_meta(c->st), &m);
	if (memcmp(m.chain, n->least_chain, CHAIN_LEN) == 0)
		return true;
	log_say(LOG_ERROR,
	        "ALARM: the store's history at sequence %llu is not the one that the operator has named",
	        (unsigned long long)n->least_seq);
	c->code = EXIT_STRANGE;
	return false;
}

static int open_store(struct control *c)
{
	struct node *n = c->node;
	char err[400];
	struct store_conf sc = { .path = n->ad_hoc ? NULL : n->conf.store, .fd = n->store_rw,
		                 .reserve = n->conf.store_reserve, .old_roots = n->roots,
		                 .nold_roots = n->nroots, .beats = c->beats,
		                 .nbeats = (unsigned)n->conf.workers };
	if (!is_ours(c))
		return -1;
	for (unsigned i = 0; i < sc.nbeats; i++)
		c->beats[i] = &worker_page(n, i)->beat;
	c->st = store_open(&sc, c->key, err, sizeof err);
	if (!c->st) {
		if (errno == ESTALE)
			c->code = EXIT_DOUBT;
		else if (errno == EBADMSG)
			c->code = EXIT_HARMED;
		else if (errno == ENOSPC)
			c->code = EXIT_FULL;
		log_say(LOG_ERROR, "%s", err);
		return -1;
	}
	if (store_seq(c->st) < n->seq && !n->filling) {
		log_say(LOG_ERROR,
		        "the store stands at sequence %llu, but %llu was acknowledged: an older store was "
		        "put in its place?",
		        (unsigned long long)store_seq(c->st), (unsigned long long)n->seq);
		return -1;
	}
	if (!is_known(c))
		return -1;
	if (!caught_up(c))
		log_say(LOG_WARNING,
		        "the store stands at sequence %llu, below the %llu that the operator has named: "
		        "nothing is answered until it is caught up",
		        (unsigned long long)store_seq(c->st), (unsigned long long)n->least_seq);
	if (msg_send(c->sup.fd, MSG_ROOT, NULL, 0, store_root_fd(c->st)) == 0)
		return 0;
	log_say(LOG_ERROR, "the supervisor does not take the root: %s", strerror(errno));
	return -1;
}

static void on_log(struct src *s, uint32_t got, uint64_t now)
{
	(void)got;
	(void)now;
	log_keep(s->fd);
}

static int add_sources(struct control *c)
{
	c->log = (struct src){ .fd = c->node->log_in, .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = on_log };
	c->sup.want = c->signals.want = EPOLLIN;
	c->sup.due_ns = c->signals.due_ns = LOOP_NEVER;
	c->sup.wake = from_super;
	c->signals.fd = loop_signals(0);
	c->signals.wake = on_signal;
	c->tick = (struct src){ .fd = -1, .due_ns = loop_now() + TICK_NS, .wake = on_tick };
	if (c->signals.fd >= 0 && loop_init(&c->loop) == 0 && loop_add(&c->loop, &c->sup) == 0 &&
	    loop_add(&c->loop, &c->signals) == 0 && loop_add(&c->loop, &c->tick) == 0 &&
	    (c->log.fd < 0 || loop_add(&c->loop, &c->log) == 0))
		return 0;
	log_say(LOG_ERROR, "no event loop: %s", strerror(errno));
	return -1;
}

static const struct gate_calls gate_calls = { .command = command };

/* The port at which we were unlocked takes commands from now on. */
static int open_port(struct control *c)
{
	struct node *n = c->node;
	struct gate_conf gc = { .machine = n->machine, .socks = n->unlock, .nsocks = n->nunlock,
		                .running = true, .store = true };
	if (!n->machine)
		return 0;
	if (machine_reopen(n->machine) != 0)
		return -1;
	cred_deny(n->machine->cred, c->denied.list);
	if ((c->gate = gate_new(&c->loop, &gc, &gate_calls, c)) != NULL)
		return 0;
	log_say(LOG_ERROR, "the port for operators can't be served: %s", strerror(errno));
	return -1;
}

static int start(struct control *c, int key_fd, int cred_fd)
{
	struct node *n = c->node;
	char err[300];
	struct journal_conf jc = { .plain_fd = n->ad_hoc ? 0 : -1, .damaged = n->damaged };
	if (add_sources(c) != 0)
		return -1;
	c->key = key_recv(key_fd);
	close(key_fd);
	if (!c->key) {
		log_say(LOG_ERROR, "the supervisor gave no key");
		return -1;
	}
	if (open_store(c) != 0)
		return -1;
	if (cred_fd >= 0) {
		c->cred = cred_read(cred_fd, err, sizeof err);
		close(cred_fd);
		if (!c->cred) {
			log_say(LOG_ERROR, "credentials: %s", err);
			return -1;
		}
	}
	if (!open_denials(c))
		return -1;
	jc.cred = c->cred;
	jc.least_seq = n->least_seq;
	jc.least_chain = n->least_chain;
	repair_init(&c->repair, n);
	for (unsigned i = 0; i < n->conf.hub.n && i < JOURNAL_HUBS; i++)
		jc.hub[jc.nhubs++] = n->conf.hub.at[i];
	c->journal = journal_new(&c->loop, c->st, &jc, &journal_calls, c);
	if (!c->journal) {
		log_say(LOG_ERROR, "no memory for the journal");
		return -1;
	}
	c->pulse = (struct src){ .fd = -1, .due_ns = n->route_page ? loop_now() : LOOP_NEVER,
		                 .wake = on_pulse };
	loop_add(&c->loop, &c->pulse); /* a timer alone can't fail */
	if (n->dir && !(c->ctl = ctl_listen(&c->loop, n->dir, local_command, c, err, sizeof err))) {
		log_say(LOG_ERROR, "%s", err);
		return -1;
	}
	return open_port(c);
}

int control_main(struct node *n, int sup, int key_fd, int cred_fd)
{
	static struct control c;
	sandbox_enter(&(struct sandbox){ .who = SANDBOX_CONTROL, .dir = n->dir });
	c.node = n;
	c.sup.fd = sup;
	c.dns.fd = -1;
	if (start(&c, key_fd, cred_fd) != 0 && c.code == 0)
		c.code = 1;
	say_not_locked();
	if (c.code == 0 && loop_run(&c.loop, &c.stop) != 0) {
		log_say(LOG_ERROR, "waiting for events: %s", strerror(errno));
		c.code = 1;
	}
	ctl_close(c.ctl);
	if (c.code == EXIT_DENIED) { /* the store is left as after a crash: no time for more */
		crypto_end();
		return c.code;
	}
	gate_free(c.gate);
	buf_free(&c.zones.last);
	journal_free(c.journal);
	if (c.st && store_close(c.st) != 0 && c.code == 0)
		c.code = 1;
	cred_free(c.cred);
	key_free(c.key);
	return c.code;
}
