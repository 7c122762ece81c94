/* conf.c - configuration lines by table.  Contract in conf.h.
 * Nothing takes effect before all is read: the caller counts the mistakes.
 * Threat: none beyond mistakes, as the file is the operator's; still lines and
 * file are bounded, and a number that does not fit is refused. */
#include "base/conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (1u << 20)
#define KEYS_MAX 64

int conf_digits(const char *v, uint64_t *out, const char **end)
{
	uint64_t x = 0;
	const char *p = v;
	for (; *p >= '0' && *p <= '9'; p++) {
		if (x > (UINT64_MAX - 9) / 10)
			return -1;
		x = x * 10 + (uint64_t)(*p - '0');
	}
	*out = x;
	*end = p;
	return p == v ? -1 : 0;
}

static int in_range(const struct conf_key *k, uint64_t x, char *err, size_t n)
{
	if (x >= k->min && x <= k->max)
		return 0;
	snprintf(err, n, "%s must be from %llu to %llu", k->key, (unsigned long long)k->min,
	         (unsigned long long)k->max);
	return -1;
}

int conf_number(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	uint64_t x;
	const char *end;
	if (conf_digits(v, &x, &end) != 0 || *end) {
		snprintf(err, n, "%s wants a number, not \"%s\"", k->key, v);
		return -1;
	}
	if (in_range(k, x, err, n) != 0)
		return -1;
	memcpy(at, &x, sizeof x);
	return 0;
}

int conf_size(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	static const char units[] = "KMGT";
	uint64_t x;
	const char *end, *u;
	if (conf_digits(v, &x, &end) != 0 ||
	    (*end && (*end == ' ' || !(u = strchr(units, *end & ~32)) || end[1]))) {
		snprintf(err, n, "%s wants a size such as 512M or 2G, not \"%s\"", k->key, v);
		return -1;
	}
	unsigned shift = *end ? 10 * (unsigned)(u - units + 1) : 0;
	if (x > UINT64_MAX >> shift) {
		snprintf(err, n, "%s: %s is too large", k->key, v);
		return -1;
	}
	x <<= shift;
	if (in_range(k, x, err, n) != 0)
		return -1;
	memcpy(at, &x, sizeof x);
	return 0;
}

int conf_yes(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	bool on = strcmp(v, "on") == 0 || strcmp(v, "yes") == 0;
	if (!on && strcmp(v, "off") != 0 && strcmp(v, "no") != 0) {
		snprintf(err, n, "%s wants on or off, not \"%s\"", k->key, v);
		return -1;
	}
	memcpy(at, &on, sizeof on);
	return 0;
}

int conf_text(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	if (strlen(v) >= k->max) {
		snprintf(err, n, "%s is longer than %llu characters", k->key, (unsigned long long)k->max - 1);
		return -1;
	}
	memcpy(at, v, strlen(v) + 1);
	return 0;
}

int conf_addr(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	struct conf_addrs *l = at;
	struct conf_addr a = { .port = 0 };
	uint8_t raw[16];
	uint64_t port;
	const char *sep = strchr(v, '@'), *end;
	if (*v == 0) { /* the default: an empty list */
		l->n = 0;
		return 0;
	}
	size_t len = sep ? (size_t)(sep - v) : sizeof a.host;
	if (len < sizeof a.host) {
		memcpy(a.host, v, len);
		a.host[len] = 0;
	}
	if (len >= sizeof a.host ||
	    (inet_pton(AF_INET, a.host, raw) != 1 && inet_pton(AF_INET6, a.host, raw) != 1) ||
	    conf_digits(sep + 1, &port, &end) != 0 || *end || port < 1 || port > 65535) {
		snprintf(err, n, "%s wants ADDRESS@PORT with an IPv4 or IPv6 address, not \"%s\"", k->key, v);
		return -1;
	}
	a.port = (uint16_t)port;
	if (l->n == k->max) {
		snprintf(err, n, "%s: no more than %llu of them", k->key, (unsigned long long)k->max);
		return -1;
	}
	l->at[l->n++] = a;
	return 0;
}

int (*conf_bundle)(const char *name);

int conf_source(const char *key, const char *v, char *err, size_t n)
{
	uint64_t x;
	const char *end;
	if (strncmp(v, "bundle:", 7) == 0) {
		int fd = conf_bundle ? conf_bundle(v + 7) : -1;
		if (!conf_bundle)
			snprintf(err, n, "%s: \"%.80s\" is for a sealed bundle, and there is none: fd:N", key,
			         v);
		else if (fd < 0)
			snprintf(err, n, "%s: the bundle's file \"%.64s\": %s", key, v + 7, strerror(errno));
		return fd;
	}
	if (strncmp(v, "fd:", 3) == 0 && conf_digits(v + 3, &x, &end) == 0 && !*end && x <= 65535)
		return (int)x;
	snprintf(err, n, "%s comes by a descriptor, fd:N%s (never from a file), not \"%.80s\"", key,
	         conf_bundle ? ", or from the bundle, bundle:NAME" : "", v);
	return -1;
}

int conf_fd(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	int fd = *v ? conf_source(k->key, v, err, n) : -1;
	if (*v && fd < 0)
		return -1;
	memcpy(at, &fd, sizeof fd);
	return 0;
}

/* ---- the file ---- */

static void say_stderr(void *ctx, const char *path, unsigned line, const char *text)
{
	(void)ctx;
	if (line)
		fprintf(stderr, "%s:%u: %s\n", path, line, text);
	else
		fprintf(stderr, "%s: %s\n", path, text);
}

static void note_stderr(void *ctx, const char *path, const char *text)
{
	(void)ctx;
	fprintf(stderr, "%s: note: %s\n", path, text);
}
const struct conf_say conf_say_stderr = { say_stderr, note_stderr, NULL };

#define SAID_MAX 400 /* octets of what is not about one line */

int conf_wrong(const struct conf_say *say, const char *path, const char *fmt, ...)
{
	char text[SAID_MAX];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	say->line(say->ctx, path, 0, text);
	return 1;
}

void conf_note(const struct conf_say *say, const char *path, const char *fmt, ...)
{
	char text[SAID_MAX];
	va_list ap;
	if (!say->note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	say->note(say->ctx, path, text);
}

static const struct conf_key *find(const struct conf_key *t, size_t n, const char *key)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(t[i].key, key) == 0)
			return t + i;
	return NULL;
}

static char *trim(char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	char *end = s + strlen(s);
	while (end > s && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		*--end = 0;
	return s;
}

/* One line; 1 when it was wrong. */
static int take_line(char *line, const struct conf_key *t, size_t n, void *out, unsigned *seen, char *err,
                     size_t errn)
{
	char *key = trim(line);
	if (*key == 0 || *key == '#')
		return 0;
	for (char *c = key; (c = strchr(c, '#')) != NULL; c++)
		if (c[-1] == ' ' || c[-1] == '\t') { /* a comment behind the value */
			*c = 0;
			trim(key);
			break;
		}
	char *value = key + strcspn(key, " \t");
	if (*value)
		*value++ = 0;
	value = trim(value);
	const struct conf_key *k = find(t, n, key);
	if (!k) {
		snprintf(err, errn, "unknown key \"%s\" (see: --help keys)", key);
		return 1;
	}
	if (*value == 0) {
		snprintf(err, errn, "%s has no value", key);
		return 1;
	}
	if (seen[k - t]++ && !k->many) {
		snprintf(err, errn, "%s comes a second time", key);
		return 1;
	}
	/* the first of a list replaces the default */
	if (k->many && seen[k - t] == 1 && k->dflt)
		k->parse(k, (char *)out + k->off, "", err, errn);
	return k->parse(k, (char *)out + k->off, value, err, errn) != 0;
}

int conf_read_text(const char *text, size_t len, const char *path, const struct conf_key *table, size_t n,
                   void *out, const struct conf_say *say)
{
	unsigned seen[KEYS_MAX] = { 0 }, line = 0;
	char err[256], buf[1024];
	int wrong = 0;
	for (size_t i = 0; i < n; i++)
		if (table[i].dflt && table[i].parse(table + i, (char *)out + table[i].off, table[i].dflt, err,
		                                    sizeof err) != 0) {
			say->line(say->ctx, "default", 0, err);
			wrong++;
		}
	for (const char *p = text, *end = text + len; p < end;) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		size_t m = (size_t)((nl ? nl : end) - p);
		line++;
		snprintf(err, sizeof err, "the line is too long");
		bool bad = m >= sizeof buf;
		if (memchr(p, 0, m)) {
			snprintf(err, sizeof err, "the line has a NUL octet");
			bad = true;
		}
		if (!bad) {
			memcpy(buf, p, m);
			buf[m] = 0;
			bad = take_line(buf, table, n, out, seen, err, sizeof err);
		}
		if (bad) {
			say->line(say->ctx, path, line, err);
			wrong++;
		}
		p += m + 1;
	}
	return wrong;
}

int conf_read(const char *path, const struct conf_key *table, size_t n, void *out, const struct conf_say *say)
{
	if (!path)
		return conf_read_text("", 0, "", table, n, out, say);
	char *text = malloc(FILE_MAX);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = -1;
	if (fd >= 0 && text) {
		size_t have = 0;
		while ((len = read(fd, text + have, FILE_MAX - have)) > 0)
			have += (size_t)len;
		if (have == FILE_MAX)
			errno = EFBIG;
		len = len == 0 && have < FILE_MAX ? (ssize_t)have : -1;
	}
	int wrong = -1;
	if (len >= 0)
		wrong = conf_read_text(text, (size_t)len, path, table, n, out, say);
	else
		say->line(say->ctx, path, 0, strerror(errno));
	if (fd >= 0)
		close(fd);
	free(text);
	return wrong;
}

void conf_help(const struct conf_key *table, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct conf_key *k = table + i;
		printf("%s %s\n    %s\n", k->key, k->unit, k->help);
		if (k->many)
			printf("    May come more than once.\n");
		if (k->dflt && *k->dflt)
			printf("    Default: %s\n", k->dflt);
	}
}
