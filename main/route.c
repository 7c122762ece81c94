/* route.c - encdns-route: tells the neighbours to send traffic here, only while
 * this node really answers.
 *
 * It holds no store, no key of zones or of the hub, and waits for nobody: what it
 * knows comes by messages, from mapped memory and from its own questions.
 * When it dies its connections close, and the neighbours drop the route.
 * States: leading (announcing what health says) -> leaving (SIGTERM: graceful
 * shutdown, withdrawn, farewell) -> over; or -> over at once (we are denied).
 * Threat: neighbours and strangers at their port (speaker.c), and the other
 * processes, who may be taken over: what they say is bounded, and at worst
 * withdraws us. */
#include "main/node.h"

#include "base/log.h"
#include "base/sandbox.h"
#include "main/probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS  100000000ull
#define QUIET_NS 60000000000ull /* without a question from outside: is anything sent here? */

struct route {
	struct node *node;
	struct loop loop;
	struct src sup, signals, tick;
	struct speaker *speaker;
	struct route_page *page;
	struct health health;
	struct health_memory remembered; /* as told last */
	struct probe *probe;
	bool leaving;
	enum bgp_level level, said; /* said: as logged last */
	uint64_t since_wall, announced_ns;
	char why[240];           /* as logged last */
	_Atomic bool stop;
	int code;
};

/* ---- what others see ---- */

/* Told to a neighbour for a while, but nobody asks: it doesn't use what we tell. */
static void note_quiet(struct route *r, struct route_told *t, uint64_t now)
{
	uint64_t last = r->health.foreign_ns[0] > r->health.foreign_ns[1] ? r->health.foreign_ns[0]
	                                                                  : r->health.foreign_ns[1];
	bool quiet =
	    r->level != BGP_SILENT && now - r->announced_ns > QUIET_NS && r->health.felt_ns - last > QUIET_NS;
	for (uint32_t i = 0; i < t->npeers; i++)
		t->peer[i].no_queries = quiet && t->peer[i].up && t->peer[i].announced;
}

static void tell(struct route *r, uint64_t now)
{
	struct route_told *t = &r->page->told;
	uint32_t v = atomic_load_explicit(&r->page->version, memory_order_relaxed);
	atomic_store_explicit(&r->page->version, v + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	speaker_tell(r->speaker, t);
	t->level = (uint8_t)r->level;
	t->leaving = r->leaving;
	t->since = r->since_wall;
	t->flaps = r->health.memory.flaps;
	t->wait_s = health_wait_s(&r->health);
	snprintf(t->why, sizeof t->why, "%s", r->health.why);
	note_quiet(r, t, now);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&r->page->version, v + 2, memory_order_relaxed);
	atomic_fetch_add_explicit(&r->page->beats, 1, memory_order_relaxed);
}

static void remember(struct route *r)
{
	uint8_t p[MEMORY_LEN];
	const struct health_memory *m = &r->health.memory;
	const struct health_memory *old = &r->remembered;
	if (m->flaps == old->flaps && m->announced == old->announced &&
	    memcmp(m->flap_s, old->flap_s, sizeof m->flap_s) == 0)
		return;
	memory_pack(m, p);
	if (msg_send(r->sup.fd, MSG_MEMORY, p, sizeof p, -1) == 0)
		r->remembered = *m;
}

/* ---- what is seen, and what follows ---- */

static uint64_t counter(const _Atomic uint64_t *n) { return atomic_load_explicit(n, memory_order_relaxed); }

static void look_at_workers(struct route *r)
{
	uint64_t damaged = 0;
	for (unsigned i = 0; i < r->node->conf.workers; i++) {
		const struct dns_stats *s = &worker_page(r->node, i)->stats;
		health_beats(&r->health, i, counter(&s->beats));
		damaged += counter(&s->damaged);
	}
	health_damage(&r->health, damaged);
}

/* Between two rounds of questions. */
static void look_at_answers(void *owner)
{
	struct route *r = owner;
	for (unsigned tcp = 0; tcp < 2; tcp++) {
		uint64_t n = 0;
		for (unsigned i = 0; i < r->node->conf.workers; i++) {
			const struct dns_stats *s = &worker_page(r->node, i)->stats;
			n += counter(&s->queries[tcp][0]) + counter(&s->queries[tcp][1]);
		}
		health_answers(&r->health, tcp, n);
	}
}

static void say(struct route *r)
{
	static const char *const words[] = { [BGP_SILENT] = "nothing is announced",
		                             [BGP_LESS] = "announced as second choice",
		                             [BGP_FULL] = "announced" };
	bool changed = r->said != r->level;
	if (!changed && strcmp(r->why, r->health.why) == 0)
		return;
	r->said = r->level;
	snprintf(r->why, sizeof r->why, "%s", r->health.why);
	uint64_t wait = health_wait_s(&r->health);
	char more[60] = "";
	if (wait)
		snprintf(more, sizeof more, " (for %llu s more at least)", (unsigned long long)wait);
	if (changed) /* the policy limits how often */
		log_say(LOG_NOTICE, "%s: %s%s", words[r->level], r->why, more);
	else
		log_limited(LOG_NOTICE, "%s: %s%s", words[r->level], r->why, more);
}

/* Neighbours first; whoever reads the log or the file has time. */
static void judge(struct route *r, uint64_t now)
{
	enum bgp_level level = health_judge(&r->health, now);
	if (level != r->level) {
		speaker_announce(r->speaker, now, level);
		if (r->level == BGP_SILENT)
			r->announced_ns = now;
		r->level = level;
		r->since_wall = (uint64_t)time(NULL);
	}
	say(r);
	remember(r);
}

static void hear_child(struct route *r, enum node_child which, bool alive)
{
	if (which == CONTROL)
		r->health.control_alive = alive;
	if (which != DNS)
		return;
	health_dns(&r->health, alive);
	probe_anew(r->probe);
}

static void from_super(struct src *s, uint32_t got, uint64_t now)
{
	struct route *r = SRC_OWNER(s, struct route, sup);
	struct msg m;
	(void)got;
	if (msg_recv(s->fd, &m) != 0) {
		r->stop = true;
		return;
	}
	if (m.type == MSG_CHILD && m.n == 2 && m.p[0] < CHILDREN) {
		hear_child(r, (enum node_child)m.p[0], m.p[1] != 0);
	} else if (m.type == MSG_HELD && m.n == 1) {
		r->health.held = m.p[0] != 0;
	} else if (m.type == MSG_DENIED) {
		r->leaving = r->health.planned = true;
		r->health.memory.announced = false;
		speaker_stop(r->speaker, now, "planned stop");
		r->stop = true;
	} else if (m.type == MSG_PULSE && m.n == PULSE_LEN) {
		health_pulse(&r->health, get_u64(m.p), m.p[8] != 0, get_u32(m.p + 9));
	} else if (m.type == MSG_ZONES && m.fd >= 0) {
		if (probe_zones(r->probe, m.fd) != 0)
			log_limited(LOG_WARNING, "encdns-control has sent no list of zones");
		m.fd = -1;
	}
	judge(r, now);
	msg_end(&m);
}

static void on_signal(struct src *s, uint32_t got, uint64_t now)
{
	struct route *r = SRC_OWNER(s, struct route, signals);
	(void)got;
	loop_del(&r->loop, s); /* once is enough */
	r->leaving = r->health.planned = true;
	log_say(LOG_NOTICE, "leaving: neighbours are asked to send traffic elsewhere");
	speaker_drain(r->speaker, now, r->node->conf.route.drain * BGP_SEC, "planned stop");
}

static void on_tick(struct src *s, uint32_t got, uint64_t now)
{
	struct route *r = SRC_OWNER(s, struct route, tick);
	(void)got;
	if (r->leaving && speaker_over(r->speaker)) {
		speaker_stop_bfd(r->speaker, now);
		r->health.memory.announced = false; /* an end in order */
		r->stop = true;
	}
	look_at_workers(r);
	judge(r, now);
	tell(r, now);
	loop_due(&r->loop, s, now + TICK_NS);
}

/* ---- life ---- */

/* Memory that stays, and a place in front: nobody else tells the neighbours. */
static void go_first(const struct route *r)
{
	if (mlockall(MCL_CURRENT | MCL_ONFAULT) != 0)
		crypto_lock(r->node->route_secrets, r->node->conf.route.peers.n * sizeof *r->node->route_secrets, "keys");
	setpriority(PRIO_PROCESS, 0, -10);
}

static int start(struct route *r)
{
	r->sup.want = r->signals.want = EPOLLIN;
	r->sup.due_ns = r->signals.due_ns = LOOP_NEVER;
	r->sup.wake = from_super;
	r->signals.fd = loop_signals(0);
	r->signals.wake = on_signal;
	r->tick = (struct src){ .fd = -1, .due_ns = loop_now(), .wake = on_tick };
	r->page = mmap(NULL, sizeof *r->page, PROT_READ | PROT_WRITE, MAP_SHARED, r->node->route_fd, 0);
	if (r->page == MAP_FAILED || r->signals.fd < 0 || loop_init(&r->loop) != 0 ||
	    loop_add(&r->loop, &r->sup) != 0 || loop_add(&r->loop, &r->signals) != 0 ||
	    loop_add(&r->loop, &r->tick) != 0)
		return -1;
	close(r->node->route_fd);
	health_init(&r->health, loop_now(), (uint64_t)time(NULL), &r->node->health,
	            (unsigned)r->node->conf.workers, r->node->conf.route.stale);
	r->remembered = r->node->health;
	r->speaker = speaker_new(&r->loop, r->node);
	r->probe = probe_new(&r->loop, &r->node->conf.service, &r->health, look_at_answers, r);
	return r->speaker && r->probe ? 0 : -1;
}

int route_main(struct node *n, int sup)
{
	static struct route r;
	r.node = n;
	r.sup.fd = sup;
	if (start(&r) != 0) {
		log_say(LOG_ERROR, "can't begin: %s", strerror(errno));
		return 1;
	}
	go_first(&r);
	sandbox_enter(&(struct sandbox){ .who = SANDBOX_ROUTE });
	say_not_locked();
	speaker_start(r.speaker, loop_now());
	if (loop_run(&r.loop, &r.stop) == 0)
		return 0;
	log_say(LOG_ERROR, "waiting for events: %s", strerror(errno));
	return 1;
}
