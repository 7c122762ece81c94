/* store.c - the store alone, at its API: a stream of small durable transactions
 * with a reader beside it, single ones, how long the writer stands still, and
 * how much space it all takes.  Run by tests/bench/store. */
#include "store/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BODY  40 /* octets: with the rest of it a fragment of a delegation */
#define BATCH 32
#define GROUP 4096 /* transactions under one commit */

static uint64_t now(void) { return compact_clock(); }
static uint64_t state = 88172645463325252ull;
static uint64_t xorshift(uint64_t *s) { *s ^= *s << 13; *s ^= *s >> 7; return *s ^= *s << 17; }

/* Times in buckets, four for each doubling. */
struct hist { uint64_t n[256], count, max; };
static unsigned bucket(uint64_t ns) { return ns ? (unsigned)(4 * log2((double)ns)) : 0; }
static void note(struct hist *h, uint64_t ns)
{
	h->n[bucket(ns)]++;
	h->count++;
	h->max = ns > h->max ? ns : h->max;
}
static double quantile(const struct hist *h, double q) /* us */
{
	uint64_t want = (uint64_t)((double)h->count * q), seen = 0;
	for (unsigned i = 0; i < 256; i++)
		if ((seen += h->n[i]) > want)
			return exp2((i + 0.5) / 4) / 1000;
	return (double)h->max / 1000;
}
static void show(const char *what, const struct hist *h)
{
	printf("%-28s %10llu  p50 %9.1f  p99 %9.1f  p99.9 %9.1f  max %9.1f us\n", what, (unsigned long long)h->count,
	       quantile(h, 0.5), quantile(h, 0.99), quantile(h, 0.999), (double)h->max / 1000);
}
static void show_all(const char *what, const struct hist *h)
{
	static const double edge[] = { 100, 250, 500, 1000, 2000, 5000, 10000, 50000, 1e12 };
	uint64_t n[9] = { 0 };
	for (unsigned i = 0; i < 256; i++)
		for (unsigned e = 0; e < 9; e++)
			if (exp2((i + 0.5) / 4) / 1000 <= edge[e]) {
				n[e] += h->n[i];
				break;
			}
	printf("%s, by length:", what);
	for (unsigned e = 0; e < 9; e++)
		e < 8 ? printf(" <%g us %llu,", edge[e], (unsigned long long)n[e]) : printf(" more %llu\n", (unsigned long long)n[e]);
}

/* The fragment a name has: what changes is in its body only. */
static size_t owner(uint64_t i, uint8_t out[static NAME_MAX_LEN])
{
	uint8_t *p = out;
	uint64_t h = i * 0x9e3779b97f4a7c15ull;
	*p++ = 14;
	for (unsigned x = 0; x < 14; x++, h >>= 4)
		*p++ = (uint8_t)('a' + (h & 15));
	memcpy(p, "\003tld", 5);
	return (size_t)(p + 5 - out);
}

static const struct store_zone zone = { .inst = 1u << 30, .labels = 1 };
static struct hist put_time, commit_time, tick_time, group_time;

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void put(struct store *st, uint64_t seq, uint64_t i, uint64_t value, bool fresh)
{
	uint8_t o[NAME_MAX_LEN], b[BODY];
	owner(i, o);
	for (unsigned x = 0; x < BODY; x += 8)
		put_u64(b + x, value);
	uint64_t t = now();
	if (store_put(st, seq, FRAG_NAME, &zone, o, 0, 0, b, sizeof b, fresh) != 0)
		die("put");
	note(&put_time, now() - t);
}

static void commit(struct store *st, uint64_t seq)
{
	uint8_t meta[STORE_META] = { 0 };
	uint64_t t = now();
	if (store_commit(st, seq, meta) != 0)
		die("commit");
	note(&commit_time, now() - t);
}

static int tick(struct store *st)
{
	uint64_t t = now();
	int ms = store_tick(st);
	if (ms < 0)
		die("tick");
	note(&tick_time, now() - t);
	return ms;
}

/* ---- a reader, with mapping and keys of its own ---- */

static struct store_beat beat;
static struct reader {
	struct store_map *m;
	uint64_t names;
	_Atomic int phase; /* whose histogram; -1: end */
	struct hist time[3];
	uint64_t wrong;
} rd;

static void batch(struct scratch *s, uint64_t *rng)
{
	struct store_view v;
	struct probe p[BATCH];
	uint8_t o[BATCH][NAME_MAX_LEN];
	struct frag f;
	s->used = 0;
	store_announce(rd.m, 0);
	store_view_take(rd.m, &v);
	for (unsigned i = 0; i < BATCH; i++) {
		owner(xorshift(rng) % rd.names, o[i]);
		store_begin(rd.m, p + i, FRAG_NAME, zone.inst, o[i], v.visible);
	}
	for (unsigned i = 0; i < BATCH; i++)
		store_seek(rd.m, p + i);
	for (unsigned i = 0; i < BATCH; i++)
		store_fetch(rd.m, p + i);
	for (unsigned i = 0; i < BATCH; i++)
		rd.wrong += store_take(rd.m, p + i, s, &f) != STORE_FOUND;
}

static void *read_all(void *arg)
{
	struct scratch s;
	uint64_t rng = 1234567;
	(void)arg;
	scratch_new(&s, 4u << 20);
	for (int phase; (phase = atomic_load(&rd.phase)) >= 0;) {
		uint64_t t = now();
		batch(&s, &rng);
		note(&rd.time[phase], now() - t);
		store_idle(rd.m, 0);
		usleep(300); /* half a core at most: the writer has the other */
	}
	scratch_free(&s);
	return NULL;
}

static void reader_start(struct store *st, const char *path, uint64_t names, pthread_t *t)
{
	char err[200];
	int sv[2], fd = open(path, O_RDONLY);
	rd.names = names;
	rd.m = store_map_new(fd, 0, err, sizeof err);
	if (!rd.m || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv) != 0)
		die("reader");
	store_map_worker(rd.m, 0, &beat);
	if (store_keys_send(st, sv[0]) != 0 || store_keys_recv(rd.m, sv[1]) != 0 ||
	    store_map_root(rd.m, dup(store_root_fd(st)), err, sizeof err) != 0)
		die("reader's keys");
	if (pthread_create(t, NULL, read_all, NULL) != 0)
		die("thread");
}

/* ---- the parts ---- */

static void load(struct store *st, uint64_t names)
{
	uint64_t t = now(), due = 0;
	for (uint64_t i = 0; i < names; i++) {
		put(st, 1, i, i, true);
		if (now() > due)
			due = now() + 1000000ull * (uint64_t)tick(st);
	}
	commit(st, 1);
	if (checkpoint_write(st) != 0)
		die("checkpoint");
	printf("load: %.2f s\n", (double)(now() - t) / 1e9);
}

static uint64_t seq = 1;

/* Transactions of one name each, as many as go; ticks as they are asked for.
 * Returns how many a second; *cpu: microseconds of it for each. */
static double stream(struct store *st, uint64_t names, double seconds, double *worst_space, double *cpu)
{
	struct timespec a, b;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	uint64_t t = now(), due = t, end = t + (uint64_t)(seconds * 1e9), n = 0, looked = t;
	struct store_stats s;
	while (now() < end) {
		uint64_t from = now();
		for (unsigned i = 0; i < GROUP; i++, seq++)
			put(st, seq + 1, xorshift(&state) % names, seq, false);
		commit(st, seq);
		note(&group_time, now() - from);
		n += GROUP;
		if (now() >= due)
			due = now() + 1000000ull * (uint64_t)tick(st);
		if (now() - looked > 20000000) {
			store_stats_get(st, &s);
			double r = (double)s.file_bytes / (double)(s.live_bytes + s.index_bytes);
			*worst_space = r > *worst_space ? r : *worst_space;
			looked = now();
		}
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	*cpu = ((double)(b.tv_sec - a.tv_sec) * 1e6 + (double)(b.tv_nsec - a.tv_nsec) / 1e3) / (double)n;
	return (double)n / ((double)(now() - t) / 1e9);
}

static struct hist single_time, bare_time;
/* One at a time, beside a bare synced write of a block. */
static void singles(struct store *st, uint64_t names, const char *dir)
{
	char path[300];
	uint8_t block[4096] = { 1 };
	snprintf(path, sizeof path, "%s/bare", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_DSYNC, 0600);
	if (fd < 0 || fallocate(fd, 0, 0, 64 << 20) != 0)
		die(path);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t t = now();
		put(st, seq + 1, xorshift(&state) % names, seq, false);
		commit(st, ++seq);
		note(&single_time, now() - t);
		t = now();
		if (pwrite(fd, block, sizeof block, (off_t)i * 4096) != sizeof block)
			die(path);
		note(&bare_time, now() - t);
		if (i % 20 == 0)
			tick(st);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	uint64_t names = 1000000;
	double seconds = 5, space = 0, cpu;
	const char *dir = "/tmp";
	char path[300], err[300];
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "names") == 0)
			names = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "seconds") == 0)
			seconds = atof(argv[i + 1]);
		else if (strcmp(argv[i], "dir") == 0)
			dir = argv[i + 1];
	}
	if (crypto_init() != 0)
		return 1;
	struct key *k = key_random();
	static const struct store_beat *const beats[] = { &beat };
	snprintf(path, sizeof path, "%s/store", dir);
	struct store_conf c = { .path = path, .fd = -1, .beats = beats, .nbeats = 1 };
	struct store *st = store_open(&c, k, err, sizeof err);
	if (!st) {
		fprintf(stderr, "%s\n", err);
		return 1;
	}
	load(st, names);
	show_all("puts, loading", &put_time);
	memset(&put_time, 0, sizeof put_time);
	memset(&tick_time, 0, sizeof tick_time);
	memset(&commit_time, 0, sizeof commit_time);

	pthread_t t;
	reader_start(st, path, names, &t);
	usleep(200000);
	atomic_store(&rd.phase, 1);
	for (uint64_t end = now() + (uint64_t)(seconds * 5e8); now() < end;)
		usleep(10000);
	atomic_store(&rd.phase, 2);
	double rate = stream(st, names, seconds, &space, &cpu);
	atomic_store(&rd.phase, 0);
	show("batch of 32 reads, idle", &rd.time[1]);
	show("batch of 32 reads, updates", &rd.time[2]);
	show("put", &put_time);
	show("commit", &commit_time);
	show("tick", &tick_time);
	show("group of 4096, whole", &group_time);
	show_all("puts", &put_time);
	show_all("ticks", &tick_time);
	struct hist puts = put_time, ticks = tick_time;
	singles(st, names, dir);
	show("single, durable", &single_time);
	show("bare write of 4096, synced", &bare_time);
	atomic_store(&rd.phase, -1);
	pthread_join(t, NULL);
	struct store_stats s;
	store_stats_get(st, &s);
	printf("update names=%llu tx_per_s=%.0f cpu_us=%.2f single_p50_us=%.1f single_p99_us=%.1f bare_p50_us=%.1f bare_p99_us=%.1f "
	       "put_p999_us=%.1f put_max_us=%.1f tick_p99_us=%.1f tick_max_us=%.1f read_idle_p99_us=%.1f read_busy_p99_us=%.1f "
	       "wrong=%llu space=%.3f moved=%.2f checkpoints=%llu\n",
	       (unsigned long long)names, rate, cpu, quantile(&single_time, 0.5), quantile(&single_time, 0.99),
	       quantile(&bare_time, 0.5), quantile(&bare_time, 0.99), quantile(&puts, 0.999), (double)puts.max / 1000,
	       quantile(&ticks, 0.99), (double)ticks.max / 1000, quantile(&rd.time[1], 0.99), quantile(&rd.time[2], 0.99),
	       (unsigned long long)rd.wrong, space, (double)s.moved_bytes / ((double)(seq - 1) * 96),
	       (unsigned long long)s.checkpoints);
	store_map_free(rd.m);
	store_close(st);
	key_free(k);
	return rd.wrong != 0;
}
