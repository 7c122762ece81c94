/* ctl.h - the control socket: DIR/control, for commands of the local operator.
 *
 * A request is a list of NUL-ended words, then end of file; the answer is rows
 * of {stream 8 (1 out, 2 err), length 32, text}, ended by {0, exit code 32}.
 * Who may use it is decided by the folder's and the socket's mode (0600). */
#ifndef BASE_CTL_H
#define BASE_CTL_H

#include "base/loop.h"

#include <stdarg.h>

struct ctl;
struct ctl_conn;
/* Answers now or later, with ctl_print() as often as it likes and one
 * ctl_done().  argv[argc] is NULL; the words live until ctl_done(). */
typedef void ctl_handler(void *owner, struct ctl_conn *c, int argc, char **argv);

struct ctl *ctl_listen(struct loop *loop, const char *dir, ctl_handler *h, void *owner, char *err, size_t n);
void ctl_close(struct ctl *c); /* removes the socket; NULL is fine */

enum { CTL_OUT = 1, CTL_ERR = 2 };
__attribute__((format(printf, 3, 4))) void ctl_print(struct ctl_conn *c, int stream, const char *fmt, ...);
void ctl_done(struct ctl_conn *c, int code);

/* A connection without a socket, for a handler that is called by other means: what
 * it prints goes to out(), its end to done(), within the calls that say so. */
struct ctl_sink {
	void (*out)(void *owner, int stream, const char *p, size_t n);
	void (*done)(void *owner, int code);
};
struct ctl_conn *ctl_sink_new(const struct ctl_sink *s, void *owner); /* NULL: no memory */
void ctl_sink_lost(struct ctl_conn *c); /* nobody listens any more; the handler ends as it likes */

/* The client: sends, prints what comes, returns the exit code (1 with a
 * message when nobody answers at DIR/control). */
int ctl_call(const char *dir, int argc, char **argv);
/* The same with what comes handed to got(). */
int ctl_ask(const char *dir, int argc, char **argv, void (*got)(void *owner, int stream, const char *p, size_t n),
            void *owner);

#endif
