/* rdata_internal.h - what the rooms of rdata share; nobody else includes it:
 *
 *   rdata.c        the table of types and their fields; fields from text
 *   rdata_check.c  fields as octets; which of them count as lower case
 *   rdata_svcb.c   the keys of SVCB and HTTPS, as text and as octets
 *   rdata_rare.c   fields that only one type has, rarely seen: as text and as octets
 *
 * A field of text is put: words are read, octets written; false leaves the reason
 * in `why`.  A field of octets is checked: stepped over; NULL is well so far, and
 * a short read shows in r->bad. */
#ifndef HUB_RDATA_INTERNAL_H
#define HUB_RDATA_INTERNAL_H

#include "hub/rdata.h"

/* The fields of each type, a letter a field, as rdata.c explains them; NULL: unknown. */
extern const char *const rdata_layouts[T_IPN + 1];
static inline const char *layout_of(uint16_t type)
{
	if (type == T_TA || type == T_DLV)
		return rdata_layouts[T_DS];
	return type <= T_IPN ? rdata_layouts[type] : NULL;
}

/* ---- rdata.c: fields from text ---- */

/* Of one record. */
struct parse {
	struct lex *x;
	const uint8_t *origin;
	struct wr w;
	char *why;           /* WHY_MAX octets */
};

/* Says why; always false. */
__attribute__((format(printf, 2, 3))) bool rdata_fail(struct parse *p, const char *fmt, ...);
/* The word at hand is not what it should be; always false. */
bool rdata_wrong(struct parse *p, const char *what);

/* The next word; one must be there. */
static inline bool want(struct parse *p, const char *what)
{
	switch (lex_next(p->x)) {
	case LEX_WORD:
	case LEX_QUOTED: return true;
	case LEX_BAD: return rdata_fail(p, "%s", p->x->why);
	default: return rdata_fail(p, "the record ends where %s should be", what);
	}
}

/* Is there another word?  Leaves the end of the entry to be read again. */
static inline bool another(struct parse *p)
{
	enum lex_kind k = lex_next(p->x);
	lex_back(p->x);
	return k != LEX_END && k != LEX_EOF;
}

/* A digit's value, -1: it is none. */
static inline int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The octet of two digits, -1: they are none. */
static inline int hex_pair(const char *s)
{
	int hi = hex_value(s[0]), lo = hex_value(s[1]);
	return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

/* Words that stand for numbers; { 0 } is the end. */
struct mnemonic { const char *text; unsigned value; };
/* NULL: it is none of them.  names may be NULL. */
const struct mnemonic *rdata_mnemonic(const struct mnemonic *names, const char *word, size_t n);

/* The next word, which is a number up to max. */
bool rdata_want_number(struct parse *p, uint64_t max, const char *what, uint64_t *out);
/* A number of so many octets (1, 2, 4), or one of the names, which may be NULL. */
bool rdata_put_number(struct parse *p, unsigned octets, const struct mnemonic *names, const char *what);
bool rdata_put_name(struct parse *p);
bool rdata_put_ip4(struct parse *p);
bool rdata_put_ip6(struct parse *p);
/* Base64 in any number of words, up to the end of the entry. */
bool rdata_put_base64(struct parse *p, bool may_be_empty);

/* ---- rdata_svcb.c ---- */

bool rdata_put_svcb(struct parse *p);
const char *rdata_check_svcb(struct rd *r);

/* ---- rdata_rare.c ---- */

/* The field of that letter. */
bool rdata_put_rare(struct parse *p, char f);
const char *rdata_check_rare(struct rd *r, char f);

#endif
