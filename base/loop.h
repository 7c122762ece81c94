/* loop.h - the only epoll: descriptors and timers of one thread. */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#define LOOP_EVENTS 64 /* sources woken in one turn; the others wait for the next */
#define LOOP_NEVER  UINT64_MAX

/* A source of events, embedded in its owner; the loop owns no memory.  fd is
 * -1 for a timer alone.  wake() gets what epoll saw (0: the time has come);
 * it may add, change and remove any source, and free those it removed. */
struct src {
	int fd;
	uint32_t want;    /* EPOLLIN, EPOLLOUT or 0; changed by loop_want() */
	uint64_t due_ns;  /* LOOP_NEVER: no timer; changed by loop_due() */
	void (*wake)(struct src *s, uint32_t got, uint64_t now_ns);
	struct src *next, *prev; /* the loop's: sources with a timer, soonest first */
};
/* The owner of a source that is its `member`. */
#define SRC_OWNER(s, type, member) ((type *)(void *)((char *)(s) - offsetof(type, member)))

struct loop {
	int ep;
	int nready, at;             /* of this turn: how many, how far */
	struct src *first, *last;
	struct epoll_event ready[LOOP_EVENTS];
};

/* Monotonic time.  Read for every wake(): what another source has noted in the
 * same turn is never later than the time it is handed. */
uint64_t loop_now(void);

int loop_init(struct loop *l); /* 0, or -1 with errno */
void loop_close(struct loop *l); /* the sources stay their owners' */

/* s->fd, want, due_ns (LOOP_NEVER or a time) and wake are set.  0, or -1 with
 * errno and nothing added. */
int loop_add(struct loop *l, struct src *s);
int loop_want(struct loop *l, struct src *s, uint32_t want);
void loop_due(struct loop *l, struct src *s, uint64_t due_ns);
/* Before the descriptor is closed.  Nothing of it is woken any more. */
void loop_del(struct loop *l, struct src *s);

/* A turn in two halves, for owners that have to do something in between:
 * waits until a source is ready, a timer is due, a signal arrived or until_ns;
 * then wakes what is due.  loop_wait returns 0, or -1 with errno (not EINTR).
 * A wake() that takes long may have turns within it, so that others need not wait: the
 * turn around it goes on where they end.  Its owner must stay until it returns. */
int loop_wait(struct loop *l, uint64_t until_ns);
void loop_wake(struct loop *l);

/* From now on SIGTERM, SIGINT and `more` (0: none) come by the descriptor that is
 * returned (struct signalfd_siginfo; not blocking), and a broken pipe is an
 * error only.  -1 with errno. */
int loop_signals(int more);

/* Turns until *stop; looks at it at least every 100 ms. */
int loop_run(struct loop *l, const _Atomic bool *stop);

#endif
