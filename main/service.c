/* service.c - encdns-dns: reads the store, answers queries.
 *
 * One thread a worker (dns.c) and this one, which takes keys and roots from
 * control.  Before the first root nothing is answered.  When control dies the
 * workers go on with the root they have.
 * Holds read keys only; its store is open for reading only.  Of what it shares it
 * may write a page for each worker and nothing else.
 * Threat: strangers' queries (dns.c), and control, who may be taken over: it is
 * believed its keys and roots, and lost at the first message that is neither. */
#include "main/node.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct worker {
	pthread_t thread;
	struct service *s;
	unsigned number;
	struct worker_page *page;
	struct dns_socket *sockets;
	size_t n;
	void *mem;
};

struct service {
	struct node *node;
	struct store_map *map;
	struct dns_conf conf;
	struct worker *workers;
	unsigned running; /* threads that were started */
	pthread_mutex_t gate; /* closed to the workers until there is a root to read */
	bool open;
	_Atomic bool stop, failed;
	int sup, control;
};

/* One processor for each worker, of those that the node was given; when there
 * are too few the kernel knows better. */
static void pin(const struct worker *w, unsigned workers)
{
	cpu_set_t all, one;
	if (sched_getaffinity(0, sizeof all, &all) != 0 || (unsigned)CPU_COUNT(&all) < workers)
		return;
	int cpu = -1;
	for (unsigned left = w->number + 1; left > 0; left -= CPU_ISSET(cpu, &all) != 0)
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	pthread_setaffinity_np(w->thread, sizeof one, &one); /* unpinned it works too */
}

static void *work(void *p)
{
	struct worker *w = p;
	struct service *s = w->s;
	pthread_mutex_lock(&s->gate);
	pthread_mutex_unlock(&s->gate);
	if (!s->stop && dns_run(s->map, &s->conf, w->number, w->sockets, w->n, w->mem, &w->page->stats, &s->stop) != 0) {
		log_say(LOG_ERROR, "worker %u: %s", w->number, strerror(errno));
		s->failed = true;
	}
	return NULL;
}

static int prepare(struct service *s)
{
	struct node *n = s->node;
	s->workers = calloc(s->conf.workers, sizeof *s->workers);
	if (!s->workers)
		return -1;
	for (unsigned i = 0; i < s->conf.workers; i++) {
		struct worker *w = s->workers + i;
		w->s = s;
		w->number = i;
		w->mem = dns_memory_map(&s->conf);
		w->sockets = calloc(n->nsockets, sizeof *w->sockets);
		w->page = mmap(NULL, sizeof *w->page, PROT_READ | PROT_WRITE, MAP_SHARED, n->pages_fd,
		               (off_t)i * WORKER_STEP);
		if (!w->mem || !w->sockets || w->page == MAP_FAILED)
			return -1;
		store_map_worker(s->map, i, &w->page->beat);
		for (size_t x = 0; x < n->nsockets; x++)
			if (n->sockets[x].worker == i)
				w->sockets[w->n++] = (struct dns_socket){ n->sockets[x].fd, n->sockets[x].tcp };
	}
	close(n->pages_fd);
	return 0;
}

static void open_gate(struct service *s)
{
	if (!s->open)
		pthread_mutex_unlock(&s->gate);
	s->open = true;
}

/* Before anybody is listened to: later the filter of system calls lets no thread
 * start.  They wait at the gate. */
static int start_workers(struct service *s)
{
	sigset_t all, old;
	int r = 0;
	pthread_mutex_init(&s->gate, NULL);
	pthread_mutex_lock(&s->gate);
	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* blocked it would kill: the store's guards want it */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (s->running < s->conf.workers && r == 0) {
		struct worker *w = &s->workers[s->running];
		r = pthread_create(&w->thread, NULL, work, w);
		if (r == 0)
			crypto_lock_thread(w->thread);
		if (r == 0 && s->node->conf.pin)
			pin(w, s->conf.workers);
		s->running += r == 0;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		return 0;
	log_say(LOG_ERROR, "worker %u can't be started: %s", s->running, strerror(r));
	return -1;
}

static void lose_control(struct service *s)
{
	if (s->control >= 0)
		close(s->control);
	s->control = -1;
}

/* A new root: the workers move to it, then control hears so. */
static int take_root(struct service *s, int fd)
{
	char err[200];
	if (store_map_root(s->map, fd, err, sizeof err) != 0) {
		log_say(LOG_ERROR, "%s", err);
		return -1;
	}
	if (store_map_ready(s->map))
		open_gate(s);
	return msg_send(s->control, MSG_MOVED, NULL, 0, -1);
}

static void from_control(struct service *s)
{
	struct msg m;
	int r = -1;
	if (msg_recv(s->control, &m) == 0) {
		if (m.type == MSG_KEYS)
			r = store_keys_recv(s->map, s->control);
		else if (m.type == MSG_ROOT && m.fd >= 0)
			r = take_root(s, m.fd);
		msg_end(&m);
	}
	if (r != 0)
		lose_control(s); /* the supervisor brings the next one */
}

static bool from_super(struct service *s)
{
	struct msg m;
	if (msg_recv(s->sup, &m) != 0)
		return false;
	if (m.type == MSG_PEER && m.fd >= 0) {
		lose_control(s);
		s->control = m.fd;
		m.fd = -1;
	}
	msg_end(&m);
	return true;
}

static int loop(struct service *s)
{
	int sig = loop_signals(0);
	if (sig < 0) {
		log_say(LOG_ERROR, "signals: %s", strerror(errno));
		return 1;
	}
	while (!s->failed) {
		struct pollfd p[3] = { { s->sup, POLLIN, 0 }, { s->control, POLLIN, 0 }, { sig, POLLIN, 0 } };
		if (poll(p, 3, 1000) < 0) {
			if (errno == EINTR)
				continue;
			log_say(LOG_ERROR, "poll: %s", strerror(errno));
			return 1;
		}
		if (p[2].revents)
			return 0;
		if (p[1].revents)
			from_control(s);
		if (p[0].revents && !from_super(s))
			return 0;
	}
	return 1;
}

/* The limiter's key is random at each start. */
static struct rrl_conf limits(const struct node_conf *c)
{
	struct rrl_conf r = {
		.rate = c->rrl != LIMIT_NOBODY ? (unsigned)c->rrl_rate : 0,
		.zone_rate = (unsigned)c->rrl_zone_rate,
		.total_rate = (unsigned)c->rrl_total_rate, .slip = (unsigned)c->rrl_slip,
		.bits4 = (uint8_t)c->rrl_bits4, .bits6 = (uint8_t)c->rrl_bits6,
		.accounts = (unsigned)c->rrl_accounts, .workers = (unsigned)c->workers,
		.loopback = c->rrl == LIMIT_ALL, .allow = c->rrl_allow.at, .nallow = c->rrl_allow.n,
	};
	sip_random(&r.key);
	return r;
}

int service_main(struct node *n, int sup)
{
	static struct service s;
	static const struct sandbox box = { .who = SANDBOX_DNS };
	char err[200];
	sandbox_rights(&box);
	s.node = n;
	s.sup = sup;
	s.control = -1;
	s.conf = (struct dns_conf){
		.workers = (unsigned)n->conf.workers,
		.udp_size = (uint16_t)n->conf.udp_size,
		.tcp_max = (unsigned)n->conf.tcp_connections,
		.tcp_per_client = (unsigned)n->conf.tcp_per_client,
		.tcp_idle_ms = (unsigned)n->conf.tcp_idle * 1000,
		.identity = *n->conf.identity ? n->conf.identity : NULL,
		.version = *n->conf.version ? n->conf.version : NULL,
		.cookie_keys = { n->cookie_keys[0], n->cookie_keys[1] },
		.ncookie_keys = n->ncookie_keys,
		.need_cookie = n->conf.need_cookie,
		.rrl = limits(&n->conf),
	};
	crypto_lock(&s.conf, sizeof s.conf, "keys");
	s.map = store_map_new(n->store_ro, n->conf.store_reserve, err, sizeof err);
	if (!s.map) {
		log_say(LOG_ERROR, "%s", err);
		return 1;
	}
	if (prepare(&s) != 0) {
		log_say(LOG_ERROR, "no memory for the workers");
		return 1;
	}
	if (store_cold_begin(s.map, s.conf.workers) != 0)
		log_say(LOG_WARNING, "a query for what is not in memory makes others wait: %s",
		        errno == ENOTSUP ? "the kernel does not tell this user what of the store is" : strerror(errno));
	int code = start_workers(&s) != 0;
	if (code == 0) {
		say_not_locked();
		sandbox_calls(&box);
		code = loop(&s);
	}
	s.stop = true;
	open_gate(&s);
	for (unsigned i = 0; i < s.running; i++)
		pthread_join(s.workers[i].thread, NULL);
	store_map_free(s.map);
	crypto_wipe(s.conf.cookie_keys, sizeof s.conf.cookie_keys);
	return code;
}
