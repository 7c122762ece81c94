/* log.c - contract in log.h.  A line is written by one write(), so lines of
 * several processes on one descriptor don't mix. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_BURST  10u /* lines */
#define LIMIT_EACH_S 6   /* seconds that earn one more */

#define KEPT 200 /* lines */

static int copy = -1;
static struct { char line[KEPT][LOG_LINE]; unsigned n, at; } kept; /* at: where the next one goes */
static const char *who = "encdns", *before = "";

void log_name(const char *name) { who = name; }
void log_before(const char *text) { before = text ? text : ""; }

void log_copy(int fd) { copy = fd; }

void log_keep(int fd)
{
	ssize_t n;
	while ((n = read(fd, kept.line[kept.at], LOG_LINE - 2)) > 0) {
		char *end = kept.line[kept.at] + n;
		if (end[-1] != '\n')
			*end++ = '\n';
		*end = 0;
		kept.at = (kept.at + 1) % KEPT;
		kept.n += kept.n < KEPT;
	}
}

bool log_kept(unsigned i, char out[static LOG_LINE])
{
	if (i >= kept.n)
		return false;
	memcpy(out, kept.line[(kept.at + KEPT - kept.n + i) % KEPT], LOG_LINE);
	return true;
}

static void emit(enum log_level level, const char *text)
{
	static const char *const words[] = { "error: ", "warning: ", "" };
	char line[1600], stamp[32];
	struct timespec t;
	struct tm tm;
	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &tm);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
	int n = snprintf(line, sizeof line - 1, "%s%s.%03dZ %s[%d]: %s%s", before, stamp,
	                 (int)(t.tv_nsec / 1000000), who, (int)getpid(), words[level], text);
	if (n > (int)sizeof line - 2)
		n = (int)sizeof line - 2;
	line[n++] = '\n';
	size_t skip = strlen(before);
	if (copy >= 0 && write(copy, line + skip, (size_t)n - skip) < 0)
		errno = 0; /* nobody takes it */
	if (write(2, line, (size_t)n) < 0)
		return; /* nobody left to tell */
}

void log_say(enum log_level level, const char *fmt, ...)
{
	char text[1400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	emit(level, text);
}

void log_limited(enum log_level level, const char *fmt, ...)
{
	static unsigned tokens = LIMIT_BURST, left_out;
	static time_t last;
	char text[1400];
	va_list ap;
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	time_t earned = (t.tv_sec - last) / LIMIT_EACH_S;
	if (earned > 0) {
		tokens = tokens + (unsigned long)earned < LIMIT_BURST ? tokens + (unsigned)earned
		                                                      : LIMIT_BURST;
		last = t.tv_sec;
	}
	if (tokens == 0) {
		left_out++;
		return;
	}
	tokens--;
	if (left_out) {
		log_say(level, "%u lines of others' making were left out", left_out);
		left_out = 0;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	emit(level, text);
}

_Noreturn void log_bug(const char *file, int line, const char *text)
{
	log_say(LOG_ERROR, "bug at %s:%d: %s", file, line, text);
	abort();
}
