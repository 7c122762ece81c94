/* helper.c - contract in helper.h.  States of a helper: idle -> working -> idle,
 * and at last gone.  All signals are blocked in its thread, but for those that
 * its own doing raises. */
#include "base/helper.h"

#include <signal.h>
#include <stddef.h>

#define STACK (256u << 10) /* musl's own default is small */

static void *run(void *p)
{
	struct helper *h = p;
	pthread_mutex_lock(&h->lock);
	for (;;) {
		while (!h->work && !h->end)
			pthread_cond_wait(&h->turn, &h->lock);
		if (!h->work)
			break;
		pthread_mutex_unlock(&h->lock);
		h->work(h->arg);
		pthread_mutex_lock(&h->lock);
		h->work = NULL;
		pthread_cond_broadcast(&h->turn);
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

void helper_begin(struct helper *h)
{
	static const int ours[] = { SIGBUS, SIGSEGV, SIGILL, SIGFPE };
	pthread_attr_t attr;
	sigset_t all, before;
	*h = (struct helper){ 0 };
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->turn, NULL);
	sigfillset(&all);
	for (unsigned i = 0; i < sizeof ours / sizeof *ours; i++)
		sigdelset(&all, ours[i]);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	h->alive = pthread_create(&h->thread, &attr, run, h) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
}

void helper_wait(struct helper *h)
{
	if (!h->alive)
		return;
	pthread_mutex_lock(&h->lock);
	while (h->work)
		pthread_cond_wait(&h->turn, &h->lock);
	pthread_mutex_unlock(&h->lock);
}

void helper_give(struct helper *h, void (*work)(void *), void *arg)
{
	if (!h->alive) {
		work(arg);
		return;
	}
	pthread_mutex_lock(&h->lock);
	while (h->work)
		pthread_cond_wait(&h->turn, &h->lock);
	h->work = work;
	h->arg = arg;
	pthread_cond_broadcast(&h->turn);
	pthread_mutex_unlock(&h->lock);
}

void helper_end(struct helper *h)
{
	if (!h->alive)
		return;
	pthread_mutex_lock(&h->lock);
	h->end = true;
	pthread_cond_broadcast(&h->turn);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	h->alive = false;
}
