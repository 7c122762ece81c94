/* check.c - `encdns check`: is a store sound?  Reads it and changes nothing.
 *
 * Exit status: 0 it is sound, 1 it is damaged, 2 it can't be told (it is in use,
 * can't be read, is no store, the key does not fit, or the command is wrong). */
#include "main/node.h"

#include "base/loop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SOUND, DAMAGED, CANT_TELL };

struct view {
	const char *path;
	bool json, terminal;
	unsigned said;
	uint64_t shown_ns;
};

/* A string's inside for JSON. */
static void put_json(const char *s)
{
	for (; *s; s++) {
		if (*s == '\\' || *s == '"')
			putchar('\\');
		if ((unsigned char)*s >= ' ')
			putchar(*s);
	}
}

static void clear_line(const struct view *v)
{
	if (v->terminal && v->shown_ns)
		fputs("\r\033[K", stderr);
}

static void on_fault(void *owner, const char *what)
{
	struct view *v = owner;
	clear_line(v);
	if (v->json) {
		printf("%s\"", v->said ? "," : "");
		put_json(what);
		putchar('"');
	} else {
		printf("%s: %s\n", v->path, what);
	}
	v->said++;
}

static void on_progress(void *owner, const char *doing, uint64_t done, uint64_t all)
{
	struct view *v = owner;
	uint64_t now = v->terminal ? loop_now() : 0;
	if (!v->terminal || now - v->shown_ns < 200000000)
		return;
	v->shown_ns = now;
	if (all)
		fprintf(stderr, "\r\033[Kchecking: %s, %llu %%", doing, (unsigned long long)(done * 100 / all));
	else
		fprintf(stderr, "\r\033[Kchecking: %s, %llu", doing, (unsigned long long)done);
}

static const struct store_check_calls calls = { on_fault, on_progress };

static int cant_tell(const struct view *v, const char *why)
{
	if (v->json) {
		printf("{\"result\":\"unknown\",\"reason\":\"");
		put_json(why);
		printf("\"}\n");
	}
	fprintf(stderr, "encdns: %s\n", why);
	return CANT_TELL;
}

/* Ours, and so broken that it can't even be opened. */
static int cant_open(const struct view *v, const char *why)
{
	if (v->json) {
		printf("{\"result\":\"damaged\",\"faults\":[\"");
		put_json(why);
		printf("\"]}\n");
	} else {
		printf("%s\n%s: damaged; nothing was changed\n", why, v->path);
	}
	return DAMAGED;
}

static void tell(const struct view *v, const struct store_report *r, int64_t faults)
{
	if (v->json)
		printf("],\"result\":\"%s\",\"found\":%lld,\"sequence\":%llu,\"zones\":%llu,\"names\":%llu,\"segments\":%llu,\"slots\":%llu,"
		       "\"extents\":%llu,\"fragments\":%llu,\"commits\":%llu,\"trees\":%llu,\"keys\":%llu,\"older\":%llu}\n",
		       faults ? "damaged" : "sound", (long long)faults, (unsigned long long)r->seq, (unsigned long long)r->zones,
		       (unsigned long long)r->names, (unsigned long long)r->segments, (unsigned long long)r->slots,
		       (unsigned long long)r->extents, (unsigned long long)r->fragments, (unsigned long long)r->commits,
		       (unsigned long long)r->trees, (unsigned long long)r->keys, (unsigned long long)r->older);
	else
		printf("%s: sequence %llu, %llu zones, %llu names; looked at %llu segments of the index with %llu slots, %llu extents of the log "
		       "with %llu fragments and %llu commits, %llu trees with %llu keys\n%s: %s\n",
		       v->path, (unsigned long long)r->seq, (unsigned long long)r->zones, (unsigned long long)r->names,
		       (unsigned long long)r->segments, (unsigned long long)r->slots, (unsigned long long)r->extents,
		       (unsigned long long)r->fragments, (unsigned long long)r->commits, (unsigned long long)r->trees,
		       (unsigned long long)r->keys, v->path,
		       faults ? "damaged; nothing was changed; a running node fetches from the hub what it can't read" : "sound");
}

int check_main(const char *path, const struct key *key, bool json)
{
	struct view v = { .path = path, .json = json, .terminal = isatty(2) };
	struct store_conf c = { .path = path, .fd = -1, .check = true };
	struct store_report report;
	char err[400];
	struct store *st = store_open(&c, key, err, sizeof err);
	if (!st)
		return errno == EBADMSG ? cant_open(&v, err) : cant_tell(&v, err);
	if (json)
		printf("{\"faults\":[");
	int64_t faults = store_check(st, &calls, &v, &report);
	clear_line(&v);
	store_close(st);
	if (faults < 0) { /* an output that is begun stays no JSON: who reads it sees the status */
		fprintf(stderr, "encdns: %s: %s\n", path, strerror(errno));
		return CANT_TELL;
	}
	tell(&v, &report, faults);
	return faults ? DAMAGED : SOUND;
}
