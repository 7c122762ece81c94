/* spill.h - what a zone does not keep in memory: sorted rows of octets in a file
 * that nobody else can read and that no crash leaves behind.
 *
 * The file lies in the hub's folder but has no name there; it is sealed under a
 * random key that is never written anywhere.  It holds runs, each a row of
 * items written one behind the other and read so; runs are read side by side. */
#ifndef HUB_SPILL_H
#define HUB_SPILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPILL_ITEM (100u << 10) /* the longest item */

struct spill;
struct spill *spill_new(const char *dir); /* NULL: errno */
void spill_free(struct spill *s);         /* NULL is fine */

/* Writing: a run is begun, takes items, is ended.  -1: errno. */
int spill_begin(struct spill *s);
int spill_put(struct spill *s, const void *head, size_t headn, const void *rest, size_t restn);
int spill_end(struct spill *s);
unsigned spill_runs(const struct spill *s);

/* Reading: from the first item of every run. */
int spill_rewind(struct spill *s);
/* The run's next item, valid until the one after it is asked for: 1, 0 at the
 * end, -1: errno. */
int spill_next(struct spill *s, unsigned run, const uint8_t **p, size_t *n);

#endif
