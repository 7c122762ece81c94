/* name.h - DNS names as octets.
 *
 * A name is its uncompressed wire form (RFC 1035 section 3.1): labels, each a
 * length octet and up to 63 octets, ended by the root's zero octet; 255 octets
 * at most.  Functions that take a bare `const uint8_t *` expect a name that
 * name_read(), name_parse() or the store has checked.  "Lower" means A-Z
 * folded to a-z, other octets untouched (RFC 4343). */
#ifndef DNS_NAME_H
#define DNS_NAME_H

#include "base/wire.h"

#define NAME_MAX_LEN   255                   /* octets, root's zero included */
#define NAME_MAX_LABELS 127                  /* root not counted */
#define NAME_TEXT_MAX  (NAME_MAX_LEN * 4 + 1) /* text form with its NUL */

static inline uint8_t name_fold(uint8_t c) { return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 32) : c; }

/* Length in octets, the root's zero included. */
static inline size_t name_len(const uint8_t *name)
{
	const uint8_t *p = name;
	while (*p)
		p += *p + 1;
	return (size_t)(p - name) + 1;
}
/* Number of labels, the root not counted: 0 for ".", 2 for "example.org.". */
static inline unsigned name_labels(const uint8_t *name)
{
	unsigned n = 0;
	for (; *name; name += *name + 1)
		n++;
	return n;
}
/* The name without its first n labels; n <= name_labels(name). */
static inline const uint8_t *name_skip(const uint8_t *name, unsigned n)
{
	while (n--)
		name += *name + 1;
	return name;
}

/* Octets of the uncompressed name at p, of which n may be read; 0: there is none. */
static inline size_t name_measure(const uint8_t *p, size_t n)
{
	size_t at = 0;
	while (at < n && at < NAME_MAX_LEN) {
		if (p[at] == 0)
			return at + 1;
		if (p[at] > 63)
			return 0;
		at += p[at] + 1u;
	}
	return 0;
}
/* "*" below a name: the wildcard that stands for what is not there. */
void name_wildcard(const uint8_t *name, uint8_t out[static NAME_MAX_LEN + 2]);

/* Takes an uncompressed name from a reader and copies it as it stands to out.
 * Returns its length, or 0 (and r->bad) when it is no name. */
size_t name_read(struct rd *r, uint8_t out[static NAME_MAX_LEN]);
/* Takes a name from inside a whole message msg[0..len), at *off; compression
 * pointers must point strictly backward.  Moves *off behind the name and
 * returns its length, or returns 0 and leaves *off alone. */
size_t name_unpack(const uint8_t *msg, size_t len, size_t *off, uint8_t out[static NAME_MAX_LEN]);

/* Lower-case copy; returns the length.  dst may be src. */
size_t name_lower(uint8_t *dst, const uint8_t *src);
/* Case-insensitive equality. */
bool name_equal(const uint8_t *a, const uint8_t *b);
/* RFC 4034 section 6.1 canonical order: <0, 0, >0. */
int name_cmp(const uint8_t *a, const uint8_t *b);
/* Is name at or below zone? */
bool name_below(const uint8_t *name, const uint8_t *zone);
/* Canonical-order key: a byte string whose memcmp order (a shorter key that is
 * a prefix sorts first) is name_cmp order.  Labels from the root down, folded,
 * each ended by 00; octets 00 and 01 are escaped as 01 01 and 01 02.
 * Returns its length, at most NAME_KEY_MAX. */
#define NAME_KEY_MAX 512
size_t name_key(const uint8_t *name, uint8_t out[static NAME_KEY_MAX]);
/* The same without the name's topmost `above` labels (it has so many): the end
 * of its key. */
size_t name_key_below(const uint8_t *name, unsigned above, uint8_t out[static NAME_KEY_MAX]);
/* The way back: the (lower-case) name of a key.  Returns its length, or 0 when
 * the bytes are no key. */
size_t name_from_key(const uint8_t *key, size_t len, uint8_t out[static NAME_MAX_LEN]);

/* Text (RFC 1035 section 5.1: \. \DDD escapes) to wire, case kept.  A name
 * without a final dot is completed by origin (NULL: taken as absolute); "@"
 * alone is not special here.  Returns the length, or 0 when it is no name. */
size_t name_parse(const char *text, size_t n, const uint8_t *origin, uint8_t out[static NAME_MAX_LEN]);
/* Wire to text with the final dot, specials escaped.  Returns out. */
char *name_text(const uint8_t *name, char out[static NAME_TEXT_MAX]);

#endif
