/* process.c - what every process of a node begins with: its name, its end with its
 * parent's. */
#include "main/node.h"

#include "base/log.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <unistd.h>

static char *title;      /* argv's memory */
static size_t title_len;

void process_titles(char **argv)
{
	title = argv[0];
	title_len = 0;
	for (char **p = argv; *p; p++) /* the words lie in a row */
		if (*p == title + title_len)
			title_len += strlen(*p) + 1;
}

void process_name(const char *name)
{
	prctl(PR_SET_NAME, name, 0, 0, 0);
	log_name(name);
}

void process_begin(const char *name, pid_t parent)
{
	sigset_t none;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (title) {
		memset(title, 0, title_len);
		snprintf(title, title_len, "%s", name);
	}
	process_name(name);
}

int machine_reboot(bool off)
{
	if (getpid() != 1)
		return -1;
	sync();
	return reboot(off ? RB_POWER_OFF : RB_AUTOBOOT);
}
