/* large.c - the store alone with very many names, at its API.  Run by
 * tests/bench/store, and by Filled.pm to fill the store of a node.
 *
 *	large build STORE NAMES [KEY] so many delegations, as a bulk load puts them; with the
 *	                              file of a node's key into the zone tld. of its store
 *	large start STORE NAMES       how long from opening it to the first answer
 *	large tail STORE NAMES        changes 9 million names and leaves them behind the last
 *	                              checkpoint, as if killed
 *	large look STORE NAMES SECS   random names, uniformly, in batches of 32: a row a
 *	                              tenth of the time, and one of it all */
#include "store/writer.h"
#include "tests/bench/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define BATCH  32u
#define STEP   1000000u /* names under one commit */
#define TAIL   9000000u

/* of a new store the first instance */
static struct store_zone zone = { .inst = 1, .labels = 1, .name = "\3tld", .state = ZONE_SERVING };
static const char *key_file;
static uint8_t meta[STORE_META];
static uint64_t begun;

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static double since(uint64_t t) { return (double)(compact_clock() - t) / 1e9; }
static uint64_t xorshift(uint64_t *s) { *s ^= *s << 13; *s ^= *s >> 7; return *s ^= *s << 17; }

static struct store *reopen(const char *path)
{
	char err[400];
	struct store_conf c = { .path = path, .fd = -1 };
	int fd = key_file ? open(key_file, O_RDONLY) : -1;
	struct key *k = key_file ? key_read(fd) : key_from((const uint8_t *)"a key for measuring, 32 octets..");
	struct store *st = k ? store_open(&c, k, err, sizeof err) : NULL;
	if (!st) {
		fprintf(stderr, "%s\n", err);
		exit(1);
	}
	return st;
}

static void name(uint64_t i, uint8_t out[static NAME_MAX_LEN])
{
	out[0] = (uint8_t)letters(i, out + 1);
	memcpy(out + 1 + out[0], "\3tld", 5);
}

/* Two name servers of one of 4,000 providers. */
static uint32_t body(uint64_t i, uint8_t out[static 256])
{
	char ns[48];
	struct wr w = wr_init(out, 256);
	unsigned n = (unsigned)snprintf(ns, sizeof ns, "\3ns1.provider%u\7example", (unsigned)(i % 4000)) + 1;
	ns[4] = (char)(n - 4 - 1 - 9); /* the label's length */
	wr_u16(&w, T_NS);
	wr_u32(&w, 86400);
	wr_u16(&w, 2);
	wr_u16(&w, 0);
	wr_u32(&w, 2 * (2 + n));
	for (ns[3] = '1'; ns[3] <= '2'; ns[3]++) {
		wr_u16(&w, n);
		wr_bytes(&w, ns, n);
	}
	return (uint32_t)wr_len(&w);
}

static void put(struct store *st, uint64_t seq, uint64_t i, uint64_t value, bool fresh)
{
	uint8_t owner[NAME_MAX_LEN], b[256];
	name(i, owner);
	if (store_put(st, seq, FRAG_NAME, &zone, owner, NODE_CUT, 2, b, body(value, b), fresh) != 0)
		die("put");
}

/* Housekeeping, too, when a quarter has come to what there was: as journal/bulk.c. */
static void commit(struct store *st, uint64_t seq, uint64_t names)
{
	static uint64_t kept;
	bool due = names >= kept + kept / 4;
	if (store_commit(st, seq, meta) != 0 || (due && store_tick(st) < 0))
		die("commit");
	kept = due ? names : kept;
}

/* A new instance of the zone that the hub has sent: with what is at and below its
 * apex, under the last sequence. */
static uint64_t renew(struct store *st)
{
	static const char *const own[] = { "\3tld", "\3nic\3tld", "\3ns1\3nic\3tld" };
	struct scratch s;
	struct frag f;
	if (scratch_new(&s, 4u << 20) != 0 || store_zone_get(st, (const uint8_t *)own[0], &zone) != STORE_FOUND)
		die("zone tld.");
	uint32_t was = zone.inst;
	zone.inst = store_new_instance(st);
	memcpy(meta, store_meta(st), sizeof meta);
	for (unsigned i = 0; i < sizeof own / sizeof *own; i++)
		if (store_newest(st, FRAG_NAME, was, (const uint8_t *)own[i], &s, &f) != STORE_FOUND ||
		    store_put(st, store_seq(st), FRAG_NAME, &zone, (const uint8_t *)own[i], f.flags, f.cut, f.body, f.len, true) != 0)
			die(own[i] + 1);
	scratch_free(&s);
	return store_seq(st);
}

static void build(struct store *st, uint64_t names)
{
	struct store_stats s;
	struct rusage u;
	uint64_t seq = key_file ? renew(st) : 1;
	if (!key_file && store_new_instance(st) != zone.inst)
		die("not a new store");
	for (uint64_t i = 0; i < names; i++) {
		put(st, seq, i, i, true);
		if (i % STEP == STEP - 1)
			commit(st, seq, i);
		if (names >= 10 && i % (names / 10) == names / 10 - 1)
			fprintf(stderr, "%llu names after %.1f s\n", (unsigned long long)i + 1, since(begun));
	}
	if (store_zone_put(st, seq, &zone) != 0)
		die("zone");
	commit(st, seq, names);
	store_stats_get(st, &s);
	if (store_close(st) != 0)
		die("close");
	getrusage(RUSAGE_SELF, &u);
	double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
	printf("build names=%llu seconds=%.1f names_per_s=%.0f cpu_ns=%.0f log_per_name=%.1f index_per_name=%.2f "
	       "index_mib=%llu file_mib=%llu checkpoints=%llu written_mib=%ld\n",
	       (unsigned long long)names, since(begun), (double)names / since(begun), cpu / (double)names * 1e9,
	       (double)s.live_bytes / (double)names, (double)s.index_bytes / (double)names,
	       (unsigned long long)s.index_bytes >> 20, (unsigned long long)s.file_bytes >> 20,
	       (unsigned long long)s.checkpoints, u.ru_oublock / 2048);
}

static unsigned look_batch(const struct store_map *m, uint64_t names, struct scratch *s, uint64_t *rng)
{
	static uint8_t owner[BATCH][NAME_MAX_LEN];
	struct probe p[BATCH];
	struct store_view v;
	struct frag f;
	uint8_t b[256];
	uint64_t i[BATCH];
	unsigned right = 0;
	s->used = 0;
	store_view_take(m, &v);
	for (unsigned k = 0; k < BATCH; k++) {
		name(i[k] = xorshift(rng) % names, owner[k]);
		store_begin(m, p + k, FRAG_NAME, zone.inst, owner[k], v.visible);
	}
	for (unsigned k = 0; k < BATCH; k++)
		store_seek(m, p + k);
	for (unsigned k = 0; k < BATCH; k++)
		store_fetch(m, p + k);
	for (unsigned k = 0; k < BATCH; k++)
		right += store_take(m, p + k, s, &f) == STORE_FOUND && f.flags == NODE_CUT && f.len == body(i[k], b);
	return right;
}

static void look(struct store *st, uint64_t names, double seconds)
{
	struct scratch s;
	uint64_t rng = 88172645463325252ull, n = 0, wrong = 0, part = 0, parts = 1, from = compact_clock();
	if (scratch_new(&s, 4u << 20) != 0)
		die("no memory");
	while (since(from) < seconds) {
		wrong += BATCH - look_batch(store_reader(st), names, &s, &rng);
		n += BATCH;
		if (since(from) >= seconds / 10 * (double)parts) {
			printf("look names=%llu after_s=%.1f per_s=%.0f\n", (unsigned long long)names, since(from),
			       (double)(n - part) / (seconds / 10));
			fflush(stdout);
			part = n;
			parts++;
		}
	}
	double t = since(from);
	printf("look names=%llu all_s=%.1f per_s=%.0f ns=%.0f wrong=%llu\n", (unsigned long long)names, t, (double)n / t,
	       t / (double)n * 1e9, (unsigned long long)wrong);
	scratch_free(&s);
	if (wrong)
		exit(1);
}

static void tail(struct store *st, uint64_t names)
{
	uint64_t rng = 1234567, seq = store_seq(st);
	for (uint64_t i = 0; i < TAIL; i++) {
		uint64_t n = xorshift(&rng) % names;
		put(st, seq, n, n, false);
		if (i % STEP == STEP - 1 && store_commit(st, seq++, meta) != 0)
			die("commit");
	}
	_exit(0);
}

int main(int argc, char **argv)
{
	begun = compact_clock();
	if (argc < 4 || crypto_init() < 0) {
		fprintf(stderr, "large build STORE NAMES [KEY], large start|tail STORE NAMES, large look STORE NAMES SECONDS\n");
		return 2;
	}
	if (argc > 4 && strcmp(argv[1], "build") == 0)
		key_file = argv[4];
	struct store *st = reopen(argv[2]);
	uint64_t names = strtoull(argv[3], NULL, 10), rng = 1;
	struct scratch s;
	if (strcmp(argv[1], "build") == 0) {
		build(st, names);
		return 0;
	}
	if (strcmp(argv[1], "look") == 0)
		look(st, names, atof(argv[4]));
	else if (strcmp(argv[1], "tail") == 0)
		tail(st, names);
	else if (scratch_new(&s, 4u << 20) != 0 || look_batch(store_reader(st), names, &s, &rng) == 0)
		die("no answer");
	else
		printf("start names=%llu seconds=%.3f\n", (unsigned long long)names, since(begun));
	return store_close(st) == 0 ? 0 : 1;
}
