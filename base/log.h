/* log.h - one line a matter, for people; to stderr. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_NOTICE };

/* Who speaks (the process's name), in front of each line. */
void log_name(const char *name);
/* In front of each line, for a terminal on which something else stands; NULL: nothing. */
void log_before(const char *text);
#define LOG_LINE 400 /* octets of a line that is kept, newline and NUL included */
/* Each line goes to this descriptor too, if it takes it at once; -1: to none. */
void log_copy(int fd);
/* Lines from the other end of it; the last ones are kept. */
void log_keep(int fd);
/* The i-th of them, oldest first; false: there are no more. */
bool log_kept(unsigned i, char out[static LOG_LINE]);
/* "time name: text".  Never for what a stranger can cause. */
__attribute__((format(printf, 2, 3))) void log_say(enum log_level level, const char *fmt, ...);
/* The same for what others can cause: at most a handful a minute; what was
 * left out is counted and said later. */
__attribute__((format(printf, 2, 3))) void log_limited(enum log_level level, const char *fmt, ...);
/* Our own bug: says where, and aborts. */
#define bug(text) log_bug(__FILE__, __LINE__, text)
_Noreturn void log_bug(const char *file, int line, const char *text);

#endif
