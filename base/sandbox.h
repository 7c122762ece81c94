/* sandbox.h - what a process gives up before it listens to anybody. */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>

enum sandbox_process { SANDBOX_SUPER, SANDBOX_CONTROL, SANDBOX_DNS, SANDBOX_ROUTE, SANDBOX_HUB, SANDBOX_UNLOCK };

struct sandbox {
	enum sandbox_process who;
	const char *dir;  /* the node's or hub's; NULL: none.  Control may open no other's files,
	                   * and who waits at port 22 (unlock) may write no other's */
	bool addresses;   /* super: it has addresses to take from the loopback interface at the end */
	bool init;        /* super: and the machine to start anew or switch off */
};

/* For good: no rights by exec, no capability but what the process needs, no
 * file but DIR's; for this thread and those it starts. */
void sandbox_rights(const struct sandbox *s);
/* No system call but those of the process's list; another one ends the process
 * (SIGSYS).  For all its threads, those that run already included. */
void sandbox_calls(const struct sandbox *s);
/* Both.  What the kernel does not offer is said in a line of the log, and done
 * without. */
void sandbox_enter(const struct sandbox *s);

#endif
