/* lex.h - the words of a master file, and what a single one says.
 *
 * `struct lex` cuts text into words (RFC 1035 section 5.1): it knows
 * parentheses, comments, quotes, escapes and line ends, and nothing of records. */
#ifndef HUB_LEX_H
#define HUB_LEX_H

#include "base/wire.h"
#include "dns/name.h"

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

static inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
/* A number in decimal, at most max.  False: it is none. */
bool text_number(const char *text, size_t n, uint64_t max, uint64_t *out);
/* A TTL or another time in seconds: "3600", "1h30m", "1w2d".  False: it is none,
 * or it is over 2^32-1. */
bool ttl_parse(const char *text, size_t n, uint32_t *out);
/* Undoes escapes (\X, \DDD).  Returns the octets written, or -1: a bad escape,
 * or over max. */
int text_unescape(const char *text, size_t n, uint8_t *out, size_t max);
/* A domain name; "@" is the origin.  Returns its length, 0: it is none. */
size_t text_name(const char *text, size_t n, const uint8_t *origin, uint8_t out[static NAME_MAX_LEN]);
/* Addresses.  False: it is none. */
bool text_ip4(const char *text, size_t n, uint8_t out[static 4]);
bool text_ip6(const char *text, size_t n, uint8_t out[static 16]);
/* Base64, which may be in pieces: begun as zeroes, fed, ended; octets go to w.
 * False: it is none. */
struct base64 { uint32_t acc; unsigned digits, pads; };
bool text_base64(struct base64 *b, const char *text, size_t n, struct wr *w);
bool text_base64_end(struct base64 *b, struct wr *w);
/* Is the word that text, in upper or lower case? */
bool text_same(const char *word, size_t n, const char *text);
/* A word as it may be shown to people: printable, cut, in quotes. */
const char *text_show(const char *text, size_t n, char out[static 64]);

#endif
