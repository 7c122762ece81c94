/* register.c - the CA's register.  Contract and form in register.h.
 * Threat: mistakes only: the folder is the operator's. */
#include "hub/register.h"
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

void register_time(int64_t at, char out[static 32])
{
	time_t t = (time_t)at;
	struct tm tm;

	out[0] = 0;
	if (gmtime_r(&t, &tm))
		strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static bool parse_time(const char *text, int64_t *out)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);

	*out = (int64_t)timegm(&tm);
	return end && *end == 0;
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool register_serial(const char *text, uint8_t out[static CERT_SERIAL])
{
	for (size_t i = 0; i < 2 * CERT_SERIAL; i++) {
		int v = hex_value(text[i]);

		if (v < 0)
			return false;
		out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] << 4 | v : v);
	}
	return text[2 * CERT_SERIAL] == 0;
}

/* Appends one line and waits until it is on the disk. */
static int append(const char *dir, const char *file, const char *line, size_t n)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path)
		return errno = ENAMETOOLONG, -1;
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	int rc = flock(fd, LOCK_EX);
	if (rc == 0)
		rc = io_write_all(fd, line, n);
	if (rc == 0)
		rc = fsync(fd);
	int e = errno;
	close(fd);
	errno = e;
	return rc;
}

int register_add(const char *dir, const struct entry *e)
{
	char line[256], from[32], until[32], serial[2 * CERT_SERIAL + 1];

	hex_text(serial, e->serial, CERT_SERIAL);
	register_time(e->from, from);
	register_time(e->until, until);
	int n = snprintf(line, sizeof line, "%s %s %s %s %s\n", serial, cert_role_text(e->role), e->name, from, until);
	return append(dir, "register", line, (size_t)n);
}

int register_add_reason(const char *dir, const uint8_t serial[static CERT_SERIAL], int64_t at, const char *reason)
{
	char line[REASON_MAX + 100], time[32], hex[2 * CERT_SERIAL + 1];

	hex_text(hex, serial, CERT_SERIAL);
	register_time(at, time);
	int n = snprintf(line, sizeof line, "%s %s %.*s\n", hex, time, REASON_MAX, reason);
	return append(dir, "reasons", line, (size_t)n);
}

static bool parse_line(char *line, struct entry *e)
{
	char *word[5], *save = NULL;

	for (int i = 0; i < 5; i++, line = NULL)
		if (!(word[i] = strtok_r(line, " \n", &save)))
			return false;
	if (strtok_r(NULL, " \n", &save) || !register_serial(word[0], e->serial) ||
	    !cert_role_parse(word[1], strlen(word[1]), &e->role) || !cert_name_ok(word[2], strlen(word[2])))
		return false;
	snprintf(e->name, sizeof e->name, "%s", word[2]);
	return parse_time(word[3], &e->from) && parse_time(word[4], &e->until);
}

static FILE *open_file(const char *dir, const char *file)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%.4000s/%s", dir, file);
	return fopen(path, "re");
}

/* One more; false: no memory. */
static bool keep(struct entry **all, size_t *n, const struct entry *e)
{
	if ((*n & (*n - 1)) == 0) { /* a power of two, or none: it is full */
		struct entry *more = realloc(*all, (*n ? *n * 2 : 1) * sizeof *more);

		if (!more)
			return false;
		*all = more;
	}
	(*all)[(*n)++] = *e;
	return true;
}

int register_read(const char *dir, struct entry **out, size_t *n, char *err, size_t errn)
{
	char line[256];
	unsigned at = 0;
	const char *wrong = NULL;
	FILE *f = open_file(dir, "register");

	*out = NULL;
	*n = 0;
	if (!f && errno == ENOENT)
		return 0; /* nothing was issued yet */
	if (!f) {
		snprintf(err, errn, "%s/register: %s", dir, strerror(errno));
		return -1;
	}
	while (!wrong && fgets(line, sizeof line, f)) {
		struct entry e = { .role = ROLE_HUB };

		at++;
		if (!parse_line(line, &e))
			wrong = "is not a line that we wrote";
		else if (!keep(out, n, &e))
			wrong = "no memory";
	}
	if (!wrong && ferror(f))
		wrong = strerror(errno);
	fclose(f);
	if (!wrong)
		return 0;
	snprintf(err, errn, "%s/register:%u: %s", dir, at, wrong);
	free(*out);
	*out = NULL;
	return -1;
}

void register_reasons(const char *dir, void (*each)(void *owner, const uint8_t *serial, const char *text),
                      void *owner)
{
	char line[REASON_MAX + 100];
	uint8_t serial[CERT_SERIAL];
	FILE *f = open_file(dir, "reasons");

	while (f && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		char *text = hex_read(serial, line, sizeof serial) && line[2 * CERT_SERIAL] == ' '
		                     ? strchr(line + 2 * CERT_SERIAL + 1, ' ')
		                     : NULL;
		if (text)
			each(owner, serial, text + 1);
	}
	if (f)
		fclose(f);
}
