/* bulk.c - the bulk path, at its API: a master file into a hub, the hub's
 * snapshot into a node's store.  Run by tests/bench/store.
 *
 *	bulk import DIR ORIGIN=FILE [MIB]  into the hub in DIR, read in so much memory
 *	bulk stream DIR >FILE              its snapshot, as a node without a tunnel reads it
 *	bulk apply STORE <PIPE             a stream into a new store
 *	bulk start STORE                   how long from opening it to the first answer
 *	bulk tail STORE                    leaves a million names behind the last
 *	                                   checkpoint, as if killed */
#include "base/log.h"
#include "hub/hub.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MEMORY 512 /* MiB to read a zone in */

static struct timespec begun;
static FILE *rows;

static void die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static double since(const struct timespec *t)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - t->tv_sec) + 1e-9 * (double)(now.tv_nsec - t->tv_nsec);
}

/* What it took so far. */
struct took { double seconds; struct rusage u; };
static struct took took(void)
{
	struct took t = { .seconds = since(&begun) };
	getrusage(RUSAGE_SELF, &t.u);
	return t;
}

/* One row: what, names, seconds, names a second, processor time a name, memory. */
static void row_of(const char *what, uint64_t names, struct took t)
{
	double user = (double)t.u.ru_utime.tv_sec + 1e-6 * (double)t.u.ru_utime.tv_usec;
	double sys = (double)t.u.ru_stime.tv_sec + 1e-6 * (double)t.u.ru_stime.tv_usec;
	fprintf(rows, "%s names=%llu seconds=%.2f names_per_s=%.0f user_ns=%.0f sys_ns=%.0f max_rss_mib=%ld\n", what,
	        (unsigned long long)names, t.seconds, (double)names / t.seconds, user / (double)names * 1e9, sys / (double)names * 1e9,
	        t.u.ru_maxrss >> 10);
}

static void row(const char *what, uint64_t names) { row_of(what, names, took()); }

static struct key *fixed_key(void)
{
	static const uint8_t octets[32] = "a key for measuring";
	return key_from(octets);
}

static void report(void *ctx, bool error, const char *file, unsigned line, const char *text)
{
	(void)ctx;
	if (error)
		fprintf(stderr, "%s:%u: %s\n", file ? file : "zone", line, text);
}

static void open_hub(struct hub *h, const char *dir)
{
	char err[1400];
	mkdir(dir, 0700);
	if (loop_init(&h->loop) != 0 || hub_open(h, dir, fixed_key(), err, sizeof err) != 0)
		die(err);
}

static void import(const char *dir, char *arg, size_t mib)
{
	static struct hub h;
	struct import_result r;
	struct zone_report rep = { report, NULL, NULL };
	char err[1400], *eq = strchr(arg, '=');
	uint8_t origin[NAME_MAX_LEN];
	if (!eq || !name_parse(arg, (size_t)(eq - arg), NULL, origin))
		die("ORIGIN=FILE is wanted");
	open_hub(&h, dir);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	struct zone *z = zone_load_within(origin, eq + 1, mib << 20, dir, &rep);
	if (!z)
		die("the zone can't be read");
	struct took read = took(); /* how many names it has is known later */
	if (hub_import(&h, z, true, &r, err, sizeof err) != 0)
		die(err);
	uint64_t names = zone_names(z);
	row_of("read", names, read);
	row("journal", names);
	if (hub_commit(&h, err, sizeof err) != 0)
		die(err);
	row("import", names);
	zone_free(z);
	hub_close(&h);
}

static void stream(const char *dir)
{
	static struct hub h;
	struct store_stats s;
	char err[1400];
	rows = stderr;
	open_hub(&h, dir);
	store_stats_get(h.store, &s);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	if (feed_plain(&h, 1, err, sizeof err) != 0)
		die(err);
	row("stream", s.names);
	hub_close(&h);
}

/* ---- the node's side ---- */

static _Atomic bool stop;
static void committed(void *owner, uint64_t seq, const uint8_t chain[static CHAIN_LEN])
{
	(void)owner, (void)seq, (void)chain;
	stop = true;
}
static void broken(void *owner, const char *why)
{
	(void)owner;
	die(why);
}
static void ended(void *owner) { (void)owner; }
static void harmed(void *owner, uint32_t inst) { (void)owner, (void)inst; }
static void repair(void *owner, const uint8_t *zone, bool done, const char *why)
{
	(void)owner, (void)zone, (void)done, (void)why;
}

static void apply(const char *path)
{
	static const struct journal_calls calls = { committed, broken, ended, harmed, repair, NULL };
	struct journal_conf jc = { .plain_fd = 0 };
	struct store_conf sc = { .path = path, .fd = -1 };
	struct store_stats s;
	struct loop loop;
	char err[400];
	struct key *k = fixed_key();
	clock_gettime(CLOCK_MONOTONIC, &begun);
	struct store *st = store_open(&sc, k, err, sizeof err);
	if (!st)
		die(err);
	struct journal *j = loop_init(&loop) == 0 ? journal_new(&loop, st, &jc, &calls, NULL) : NULL;
	if (!j || loop_run(&loop, &stop) != 0)
		die(strerror(errno));
	store_stats_get(st, &s);
	row("apply", s.names);
	journal_free(j);
	if (store_close(st) != 0)
		die("close");
	row("apply_close", s.names);
	printf("space log_per_name=%.1f index_per_name=%.1f file_per_name=%.1f checkpoints=%llu\n",
	        (double)s.log_bytes / (double)s.names, (double)s.index_bytes / (double)s.names,
	        (double)s.file_bytes / (double)s.names, (unsigned long long)s.checkpoints);
}

static struct store *reopen(const char *path, struct store_zone *z)
{
	struct store_conf sc = { .path = path, .fd = -1 };
	struct scratch s;
	struct frag f;
	char err[400];
	scratch_new(&s, 4u << 20);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	struct store *st = store_open(&sc, fixed_key(), err, sizeof err);
	if (!st)
		die(err);
	if (store_zone_next(st, NULL, z) != STORE_FOUND ||
	    store_get(store_reader(st), FRAG_NAME, z->inst, z->name, store_seq(st), &s, &f) != STORE_FOUND)
		die("the zone is not there");
	printf("start seconds=%.3f\n", since(&begun));
	fflush(stdout);
	return st;
}

static void start(const char *path)
{
	struct store_zone z;
	if (store_close(reopen(path, &z)) != 0)
		die("close");
}

static void tail(const char *path)
{
	uint8_t owner[NAME_MAX_LEN], meta[STORE_META];
	char text[64];
	struct store_zone z;
	struct store *st = reopen(path, &z);
	memcpy(meta, store_meta(st), sizeof meta);
	uint32_t inst = store_new_instance(st);
	struct store_zone t = { .inst = inst, .labels = z.labels };
	for (unsigned i = 0; i < 1000000; i++) {
		snprintf(text, sizeof text, "tail%u", i);
		if (!name_parse(text, strlen(text), z.name, owner) ||
		    store_put(st, store_seq(st), FRAG_NAME, &t, owner, 0, 0, owner, 8, true) != 0)
			die("put");
	}
	if (store_commit(st, store_seq(st), meta) != 0)
		die("commit");
	_exit(0);
}

int main(int argc, char **argv)
{
	rows = stdout;
	if (crypto_init() != 0)
		die("no memory for keys");
	if ((argc == 4 || argc == 5) && strcmp(argv[1], "import") == 0)
		import(argv[2], argv[3], argc == 5 ? strtoul(argv[4], NULL, 10) : MEMORY);
	else if (argc == 3 && strcmp(argv[1], "stream") == 0)
		stream(argv[2]);
	else if (argc == 3 && strcmp(argv[1], "apply") == 0)
		apply(argv[2]);
	else if (argc == 3 && strcmp(argv[1], "tail") == 0)
		tail(argv[2]);
	else if (argc == 3 && strcmp(argv[1], "start") == 0)
		start(argv[2]);
	else
		die("bulk import DIR ORIGIN=FILE [MIB] | stream DIR >FILE | apply STORE <PIPE | start STORE | tail STORE");
	return 0;
}
