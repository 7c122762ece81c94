/* route.c - encdns-route: tells the neighbours to send traffic here, only while
 * this node really answers.
 *
 * It holds no store, no key of zones or of the hub, and waits for nobody: what it
 * knows comes by messages, from mapped memory and from its own questions.
 * When it dies its connections close, and the neighbours drop the route.
 * States: leading (announcing what health says) -> leaving (SIGTERM: graceful
 * shutdown, withdrawn, farewell) -> over.
 * Threat: neighbours and strangers at their port (speaker.c), and the other
 * processes, who may be taken over: what they say is bounded, and at worst
 * withdraws us. */
#include "main/node.h"

#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define TICK_NS 100000000ull

struct route {
	struct node *node;
	struct loop loop;
	struct src sup, signals, tick;
	struct speaker *speaker;
	struct route_page *page;
	bool alive[CHILDREN];
	bool leaving;
	enum bgp_level level;
	uint64_t since_wall;
	_Atomic bool stop;
	int code;
};

/* ---- what others see ---- */

static void tell(struct route *r)
{
	struct route_told *t = &r->page->told;
	uint32_t v = atomic_load_explicit(&r->page->version, memory_order_relaxed);
	atomic_store_explicit(&r->page->version, v + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	speaker_tell(r->speaker, t);
	t->level = (uint8_t)r->level;
	t->draining = r->leaving;
	t->since = r->since_wall;
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&r->page->version, v + 2, memory_order_relaxed);
	atomic_fetch_add_explicit(&r->page->beats, 1, memory_order_relaxed);
}

/* ---- what follows ---- */

static void judge(struct route *r, uint64_t now)
{
	enum bgp_level level = r->alive[DNS] ? BGP_FULL : BGP_SILENT;
	if (level == r->level)
		return;
	log_limited(LOG_NOTICE, "%s", level == BGP_FULL ? "announcing" : "withdrawn");
	r->level = level;
	r->since_wall = (uint64_t)time(NULL);
	speaker_announce(r->speaker, now, level);
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
		r->alive[m.p[0]] = m.p[1] != 0;
		judge(r, now);
	}
	msg_end(&m);
}

static void on_signal(struct src *s, uint32_t got, uint64_t now)
{
	struct route *r = SRC_OWNER(s, struct route, signals);
	(void)got;
	loop_del(&r->loop, s); /* once is enough */
	r->leaving = true;
	log_say(LOG_NOTICE, "leaving: neighbours are asked to send traffic elsewhere");
	speaker_drain(r->speaker, now, r->node->conf.route.drain * BGP_SEC, "planned stop");
}

static void on_tick(struct src *s, uint32_t got, uint64_t now)
{
	struct route *r = SRC_OWNER(s, struct route, tick);
	(void)got;
	if (r->leaving && speaker_over(r->speaker)) {
		speaker_stop_bfd(r->speaker, now);
		r->stop = true;
	}
	judge(r, now);
	tell(r);
	loop_due(&r->loop, s, now + TICK_NS);
}

/* ---- life ---- */

/* Memory that stays, and a place in front: nobody else tells the neighbours. */
static void go_first(void)
{
	mlockall(MCL_CURRENT | MCL_ONFAULT); /* where the limits allow it */
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
	if (r->page == MAP_FAILED || r->signals.fd < 0 || loop_init(&r->loop) != 0 || loop_add(&r->loop, &r->sup) != 0 ||
	    loop_add(&r->loop, &r->signals) != 0 || loop_add(&r->loop, &r->tick) != 0)
		return -1;
	close(r->node->route_fd);
	r->speaker = speaker_new(&r->loop, r->node);
	return r->speaker ? 0 : -1;
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
	go_first();
	speaker_start(r.speaker, loop_now());
	if (loop_run(&r.loop, &r.stop) == 0)
		return 0;
	log_say(LOG_ERROR, "waiting for events: %s", strerror(errno));
	return 1;
}
