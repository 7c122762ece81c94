/* loop.c - the only epoll.  Contract in loop.h.
 *
 * Level-triggered.  Timers are a list, soonest first; a new one is put in from
 * the end, as most are set one idle time from now.  Sources removed in the
 * midst of a turn are struck from what is still to be woken.  A turn within a
 * turn takes over its list: what it doesn't reach is ready again at the next. */
#include "base/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_MS 1000000u

uint64_t loop_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int loop_init(struct loop *l)
{
	*l = (struct loop){ .ep = epoll_create1(EPOLL_CLOEXEC) };
	return l->ep < 0 ? -1 : 0;
}

void loop_close(struct loop *l)
{
	close(l->ep);
	l->ep = -1;
}

static void timer_take(struct loop *l, struct src *s)
{
	if (s->due_ns == LOOP_NEVER)
		return;
	*(s->prev ? &s->prev->next : &l->first) = s->next;
	*(s->next ? &s->next->prev : &l->last) = s->prev;
	s->next = s->prev = NULL;
}

static void timer_put(struct loop *l, struct src *s)
{
	s->next = s->prev = NULL;
	if (s->due_ns == LOOP_NEVER)
		return;
	struct src *before = l->last;
	while (before && before->due_ns > s->due_ns)
		before = before->prev;
	s->prev = before;
	s->next = before ? before->next : l->first;
	*(s->prev ? &s->prev->next : &l->first) = s;
	*(s->next ? &s->next->prev : &l->last) = s;
}

static int control(struct loop *l, int op, struct src *s)
{
	struct epoll_event e = { .events = s->want, .data.ptr = s };
	return epoll_ctl(l->ep, op, s->fd, &e);
}

int loop_add(struct loop *l, struct src *s)
{
	if (s->fd >= 0 && control(l, EPOLL_CTL_ADD, s) < 0)
		return -1;
	timer_put(l, s);
	return 0;
}

int loop_want(struct loop *l, struct src *s, uint32_t want)
{
	if (want == s->want)
		return 0;
	s->want = want;
	return control(l, EPOLL_CTL_MOD, s);
}

void loop_due(struct loop *l, struct src *s, uint64_t due_ns)
{
	timer_take(l, s);
	s->due_ns = due_ns;
	timer_put(l, s);
}

void loop_del(struct loop *l, struct src *s)
{
	if (s->fd >= 0)
		epoll_ctl(l->ep, EPOLL_CTL_DEL, s->fd, NULL);
	timer_take(l, s);
	s->due_ns = LOOP_NEVER;
	for (int i = l->at; i < l->nready; i++)
		if (l->ready[i].data.ptr == s)
			l->ready[i].data.ptr = NULL;
}

int loop_wait(struct loop *l, uint64_t until_ns)
{
	uint64_t now = loop_now();
	uint64_t due = l->first && l->first->due_ns < until_ns ? l->first->due_ns : until_ns;
	int ms = -1;
	if (due <= now)
		ms = 0;
	else if (due - now < (uint64_t)INT32_MAX * NS_PER_MS)
		ms = (int)((due - now + NS_PER_MS - 1) / NS_PER_MS);
	else if (due != LOOP_NEVER)
		ms = INT32_MAX;
	l->at = 0;
	l->nready = epoll_wait(l->ep, l->ready, LOOP_EVENTS, ms);
	if (l->nready >= 0)
		return 0;
	l->nready = 0;
	return errno == EINTR ? 0 : -1;
}

void loop_wake(struct loop *l)
{
	uint64_t turn = loop_now();
	while (l->at < l->nready) {
		struct epoll_event *e = &l->ready[l->at++];
		struct src *s = e->data.ptr;
		if (s)
			s->wake(s, e->events, loop_now());
	}
	/* a source that sets itself due at once waits for the next turn */
	for (unsigned n = 0; n < LOOP_EVENTS && l->first && l->first->due_ns <= turn; n++) {
		struct src *s = l->first;
		loop_due(l, s, LOOP_NEVER);
		s->wake(s, 0, loop_now());
	}
}

int loop_signals(int more)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (more)
		sigaddset(&set, more);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int loop_run(struct loop *l, const _Atomic bool *stop)
{
	while (!atomic_load_explicit(stop, memory_order_relaxed)) {
		if (loop_wait(l, loop_now() + 100 * (uint64_t)NS_PER_MS) < 0)
			return -1;
		loop_wake(l);
	}
	return 0;
}
