/* helper.h - one piece of work at a time done beside our own, by another
 * processor. */
#ifndef BASE_HELPER_H
#define BASE_HELPER_H

#include <pthread.h>
#include <stdbool.h>

struct helper {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t turn;
	void (*work)(void *); /* what is to be done, or being done; NULL: idle */
	void *arg;
	bool alive, end;
};
/* Its thread begins here and now; without one, work is done when it is given. */
void helper_begin(struct helper *h);
/* Gives it a piece of work, when the one before is done. */
void helper_give(struct helper *h, void (*work)(void *), void *arg);
/* Waits until it is idle: what it wrote is there. */
void helper_wait(struct helper *h);
void helper_end(struct helper *h); /* waits first; a zeroed one is fine */

#endif
