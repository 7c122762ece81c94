/* conf.h - configuration: lines of KEY VALUE, one table for all there is to
 * know about a key.
 *
 *   # a line of its own, or behind a value and a blank
 *   service 192.0.2.53@53
 *
 * The table is behind the file, `checkconf` and `--help keys` alike. */
#ifndef BASE_CONF_H
#define BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conf_key {
	const char *key;
	/* Puts the value at `at` (the structure + off); -1 and why in err. */
	int (*parse)(const struct conf_key *k, void *at, const char *value, char *err, size_t n);
	size_t off;
	const char *dflt;  /* in the file's own words; NULL: none, "" for an empty list */
	const char *unit;  /* what a value looks like */
	const char *help;
	uint64_t min, max; /* for numbers */
	bool many;         /* may come more than once */
};

/* Whom to tell. */
struct conf_say {
	/* A mistake; line 0: of no one line. */
	void (*line)(void *ctx, const char *path, unsigned line, const char *text);
	/* No mistake, but perhaps not what was meant; NULL: nobody listens. */
	void (*note)(void *ctx, const char *path, const char *text);
	void *ctx;
};
/* A mistake of no one line; always 1. */
int conf_wrong(const struct conf_say *say, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void conf_note(const struct conf_say *say, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Sets the defaults, then reads.  path NULL: defaults only.  Every mistake is
 * said (path:line: text); returns how many there were, -1 of a file that can't be read. */
int conf_read(const char *path, const struct conf_key *table, size_t n, void *out, const struct conf_say *say);
int conf_read_text(const char *text, size_t len, const char *path, const struct conf_key *table, size_t n,
                   void *out, const struct conf_say *say);
extern const struct conf_say conf_say_stderr;
/* The table for people, to stdout. */
void conf_help(const struct conf_key *table, size_t n);

/* An address with a port, "192.0.2.1@53" or "2001:db8::1@53". */
struct conf_addr { char host[64]; uint16_t port; };
#define CONF_ADDRS 64
struct conf_addrs { struct conf_addr at[CONF_ADDRS]; unsigned n; };

/* A number at the beginning of v, digits only; *end: what stands behind it.  -1: there is
 * none, or it is too large. */
int conf_digits(const char *v, uint64_t *out, const char **end);

int conf_number(const struct conf_key *k, void *at, const char *v, char *err, size_t n);  /* uint64_t */
int conf_size(const struct conf_key *k, void *at, const char *v, char *err, size_t n);    /* uint64_t, K M G T */
int conf_yes(const struct conf_key *k, void *at, const char *v, char *err, size_t n);     /* bool */
int conf_text(const struct conf_key *k, void *at, const char *v, char *err, size_t n);    /* char[max] */
int conf_addr(const struct conf_key *k, void *at, const char *v, char *err, size_t n);    /* struct conf_addrs */
int conf_fd(const struct conf_key *k, void *at, const char *v, char *err, size_t n);      /* int, "fd:N" or "bundle:NAME" */

/* Where the files of the sealed bundle come from: a descriptor to read one from, or
 * -1 with errno.  NULL: there is no bundle. */
extern int (*conf_bundle)(const char *name);
/* The descriptor of "fd:N" or "bundle:NAME"; -1 and why in err. */
int conf_source(const char *key, const char *v, char *err, size_t n);

#endif
