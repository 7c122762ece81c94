/* rdata.h - the words of a master file, and rdata from text to octets.
 *
 * `struct lex` cuts text into words (RFC 1035 section 5.1): it knows
 * parentheses, comments, quotes, escapes and line ends, and nothing of records.
 * rdata_parse() turns the words of one entry into the octets of its rdata;
 * rdata_fault() judges octets that came from elsewhere by the same tables. */
#ifndef HUB_RDATA_H
#define HUB_RDATA_H

#include "dns/rrset.h"

#define RDATA_MAX 65535
#define WHY_MAX   256 /* octets of a message for people, its NUL included */

enum lex_kind {
	LEX_WORD,   /* a bare word */
	LEX_QUOTED, /* a string in quotes, the quotes taken off */
	LEX_END,    /* end of an entry */
	LEX_EOF,    /* end of the text; the last entry was ended before */
	LEX_BAD,    /* no word; `why` tells */
};

/* Owned by the caller; owns nothing. */
struct lex {
	const char *p, *end;      /* text at hand, not yet read */
	/* Brings more text behind `end`; keeps [p, end) but may move it, and then
	 * sets both.  False: there is no more.  NULL: all is at hand. */
	bool (*more)(struct lex *x);
	void *io;                 /* for more() */
	const char *word;         /* the last word, escapes not undone; valid until the */
	size_t n;                 /* next call */
	const char *why;          /* LEX_BAD: the reason */
	unsigned line;            /* of p, from 1 */
	unsigned word_line;       /* of the last word */
	unsigned depth;           /* parentheses open */
	unsigned open_line;       /* where the outermost was opened */
	enum lex_kind kind;       /* what the last call returned */
	bool esc;                 /* the last word has escapes in it */
	bool blank;               /* this entry's line began with white space: no owner */
	bool pairs;               /* key="a value" is one word (RFC 9460 section 2.1) */
	bool back;                /* the last word is to be read again */
	bool mid;                 /* some word of this entry was returned */
	bool bol;                 /* at the very beginning of a line */
};

/* Over text in memory, which must outlive it; line is the first line's number. */
void lex_init(struct lex *x, const char *text, size_t n, unsigned line);
/* The next word.  Empty lines are passed over. */
enum lex_kind lex_next(struct lex *x);
/* The next lex_next() returns the same word again. */
static inline void lex_back(struct lex *x) { x->back = true; }
/* Moves behind the end of the entry, if it is not already there. */
void lex_skip(struct lex *x);

/* A TTL or another time in seconds: "3600", "1h30m", "1w2d".  False: it is none,
 * or it is over 2^32-1. */
bool ttl_parse(const char *text, size_t n, uint32_t *out);
/* Undoes escapes (\X, \DDD).  Returns the octets written, or -1: a bad escape,
 * or over max. */
int text_unescape(const char *text, size_t n, uint8_t *out, size_t max);
/* A domain name; "@" is the origin.  Returns its length, 0: it is none. */
size_t text_name(const char *text, size_t n, const uint8_t *origin, uint8_t out[static NAME_MAX_LEN]);
/* A word as it may be shown to people: printable, cut, in quotes. */
const char *text_show(const char *text, size_t n, char out[static 64]);

/* Reads the rdata of an entry up to and including its end, in the type's own
 * form or as \# (RFC 3597), and writes it to out, names uncompressed, case kept.
 * Returns its length, or -1 with a reason in why; lex_skip() then goes on. */
int rdata_parse(struct lex *x, uint16_t type, const uint8_t *origin, uint8_t out[static RDATA_MAX],
                char why[static WHY_MAX]);
/* Is this the uncompressed rdata of that type?  NULL if so, else the reason.
 * Types without a table entry are always fine. */
const char *rdata_fault(uint16_t type, const uint8_t *rdata, size_t n);
/* Can records of this type be in a zone (is it no QTYPE or meta type)? */
bool rdata_storable(uint16_t type);
/* RFC 4034 section 6.2, corrected by RFC 6840 section 5.1: the octets of the
 * rdata whose letters count as lower case, as [*from, *to); empty if none are.
 * The rdata is valid. */
void rdata_fold_span(uint16_t type, const uint8_t *rdata, size_t n, size_t *from, size_t *to);

#endif
