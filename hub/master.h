/* master.h - reader of master files (RFC 1035 section 5, RFC 2308 section 4,
 * RFC 3597; $GENERATE as BIND has it). */
#ifndef HUB_MASTER_H
#define HUB_MASTER_H

#include "hub/rdata.h"

/* Where words for people go.  file is NULL and line 0 when there is none.  An
 * error means refusal, anything else is a warning. */
struct zone_report {
	void (*say)(void *ctx, bool error, const char *file, unsigned line, const char *text);
	void *ctx;
	const _Atomic bool *quit; /* NULL, or becomes true: no more need be read, it is refused */
};

/* One record; all of it is valid during the call only. */
struct master_rr {
	const uint8_t *owner;  /* case kept; may be outside the zone */
	const uint8_t *rdata;  /* valid for its type, case kept */
	const char *file;
	uint32_t ttl;          /* < 2^31 */
	unsigned line;
	uint16_t type, len;
};

struct master_sink {
	/* Takes a record; NULL, or why it is refused (counted as an error there). */
	const char *(*emit)(void *ctx, const struct master_rr *rr);
	void *ctx;
	const struct zone_report *report; /* NULL: silent */
};

#define MASTER_ERRORS   20        /* the reader gives up after so many */
#define MASTER_DEPTH    16        /* $INCLUDE within $INCLUDE */
#define MASTER_GENERATE (1u << 24) /* records of one $GENERATE */

/* Reads a file to its end; origin is the first $ORIGIN.  After an error it goes
 * on with the next entry, so that people see more than one.  Returns 0, or -1
 * when there was any error (all are reported). */
int master_read(const char *path, const uint8_t *origin, const struct master_sink *sink);
/* The same for text in memory, called `name` in messages; $INCLUDE is refused. */
int master_read_text(const char *text, size_t n, const char *name, const uint8_t *origin,
                     const struct master_sink *sink);

#endif
