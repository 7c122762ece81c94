/* options.h - the words of a command line, by a table like a configuration's.
 *
 * A key's `key` is the option ("--dir"), its value the next word or what stands behind
 * '=' (--dir=DIR); parse NULL: it has none, and sets a bool.  The last one counts. */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include "base/conf.h"

/* Puts what options say into *out.  How many other words there are: they stand at the
 * front of argv then; -1 and why in err. */
int options_read(int argc, char **argv, const struct conf_key *table, size_t n, void *out, char *err,
                 size_t errn);
/* Do these words ask for help? */
bool options_help(int argc, char **argv);

/* const char *: the word itself; an empty one, as a shell makes of what is not set, is refused. */
int option_word(const struct conf_key *k, void *at, const char *v, char *err, size_t n);

#endif
