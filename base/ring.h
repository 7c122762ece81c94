/* ring.h - a doubly linked list whose head is one of its links.  The links lie
 * in their owners, which take themselves out without knowing the head. */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stdbool.h>
#include <stddef.h>

struct ring { struct ring *next, *prev; };
#define RING_OWNER(r, type, member) ((type *)(void *)((char *)(r) - offsetof(type, member)))

/* An empty list, or a link that is in none. */
static inline void ring_init(struct ring *r) { r->next = r->prev = r; }
static inline bool ring_empty(const struct ring *r) { return r->next == r; }

/* r, in no list, becomes the last. */
static inline void ring_add(struct ring *head, struct ring *r)
{
	r->prev = head->prev;
	r->next = head;
	head->prev->next = r;
	head->prev = r;
}

/* Out of its list, if it is in one. */
static inline void ring_del(struct ring *r)
{
	r->prev->next = r->next;
	r->next->prev = r->prev;
	ring_init(r);
}

static inline void ring_to_end(struct ring *head, struct ring *r)
{
	ring_del(r);
	ring_add(head, r);
}

#endif
