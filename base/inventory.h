/* inventory.h - what a machine says it is made of, as text, and how two such texts
 * differ.  Pure.
 *
 *   KEY VALUE            sorted by octets, one line each, printable ASCII; other
 *   ~KEY VALUE           octets and the backslash as \xNN.  A KEY may come more than once.
 *
 * A line with ~ is volatile: it may change from start to start (addresses, devices
 * without hardware) and says nothing about tampering.  It is shown, not judged. */
#ifndef BASE_INVENTORY_H
#define BASE_INVENTORY_H

#include <stdbool.h>
#include <stddef.h>

#define INVENTORY_MAX  32768u /* octets of text */
#define INVENTORY_LINE 512u   /* octets of a line, newline included */

/* Is it in that form? */
bool inventory_valid(const char *text, size_t n);

enum inventory_kind { INVENTORY_ADDED, INVENTORY_REMOVED, INVENTORY_CHANGED };
struct inventory_diff {
	enum inventory_kind kind;
	bool is_volatile;
	const char *key, *was, *is; /* NUL-ended, until the call-back returns; was or is NULL when there is none */
};
/* Calls back for each difference, in the order of keys; how many were not volatile:
 * 0 means `unchanged`.  found may be NULL.  -1: one of both is not valid. */
int inventory_compare(const char *was, size_t nwas, const char *is, size_t nis,
                      void (*found)(void *owner, const struct inventory_diff *d), void *owner);

/* ---- writing ---- */
/* Takes lines in any order; sorts and cuts in the end. */
struct inventory {
	char text[2 * INVENTORY_MAX]; /* lines, each ended by a NUL */
	size_t n;
	const char *at[2048];
	unsigned lines;
	unsigned lost[2]; /* lines that found no room: others, volatile ones */
};
/* name: a device, put behind the key and a dot; NULL: none.  Escapes; leaves out
 * white space around the value and lines without one. */
void inventory_put(struct inventory *i, bool is_volatile, const char *key, const char *name,
                   const void *value, size_t n);
/* The whole text, sorted, and its length.  What had no room (volatile lines first)
 * stands as a number of lines behind the key `lost`. */
size_t inventory_write(struct inventory *i, char out[static INVENTORY_MAX]);

#endif
