/* test_compact.c - compaction against a model: random changes of names and
 * zones, pins, readers with old views, crashes, reopened stores, and ticks all
 * the while; then space: what it needs, and what it gives back. */
#include "store/writer.h"
#include "tests/tap.h"
#include "tests/zones.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZONES   5
#define NAMES   400
#define VIEWS   3 /* pins, and as many readers */

struct zone { uint32_t inst; uint32_t value[NAMES]; }; /* inst 0: no such zone; value 0: absent */
struct model { uint64_t seq; struct zone zone[ZONES]; };

static struct key *k;
static char dir[64], err[256];
static struct scratch scratch;
static struct store_beat beats[VIEWS];

static const char *at(const char *name)
{
	static char path[2][128];
	static unsigned turn;
	char *p = path[turn++ & 1];
	snprintf(p, sizeof path[0], "%s/%s", dir, name);
	return p;
}

/* Small extents of garbage matter here, and checkpoints come often. */
static struct store *open_at(const char *path, bool readers)
{
	static const struct store_beat *const b[VIEWS] = { beats, beats + 1, beats + 2 };
	struct store_conf c = { .path = path, .fd = -1, .reserve = 8ull << 30, .beats = b, .nbeats = readers ? VIEWS : 0 };
	struct store *st = store_open(&c, k, err, sizeof err);
	if (st)
		st->tune = (struct tune){ .tick_ns = 300000, .slice = 1024, .start = 10, .floor = 2, .slack = 16,
			                  .tail_least = 1u << 20 };
	return st;
}

static uint32_t rnd(uint32_t n) { return (uint32_t)rand() % n; }

static void owner(unsigned zone, unsigned i, uint8_t out[static NAME_MAX_LEN])
{
	char text[64];
	snprintf(text, sizeof text, "name-%u.zone-%u.", i, zone);
	name_parse(text, strlen(text), NULL, out);
}

/* Some octets that tell a value. */
static uint32_t body(uint32_t value, uint8_t out[static 8192])
{
	uint32_t len = 4 + value % 701 * 8;
	for (uint32_t i = 0; i < len; i += 4)
		put_u32(out + i, value ^ i);
	return len;
}

static int set(struct store *st, struct model *mo, unsigned zone, unsigned i, uint32_t value)
{
	uint8_t o[NAME_MAX_LEN], b[8192];
	struct store_zone z = zone_of(zone, mo->zone[zone].inst);
	owner(zone, i, o);
	mo->zone[zone].value[i] = value;
	return value ? store_put(st, mo->seq, FRAG_NAME, &z, o, NODE_NSEC, 0, b, body(value, b), false)
	             : store_delete(st, mo->seq, FRAG_NAME, &z, o);
}

static bool right(const struct store_map *m, const struct model *mo, unsigned zone, unsigned i)
{
	uint8_t o[NAME_MAX_LEN], b[8192];
	struct frag f;
	uint32_t want = mo->zone[zone].value[i];
	owner(zone, i, o);
	scratch.used = 0;
	enum store_found r = store_get(m, FRAG_NAME, mo->zone[zone].inst, o, mo->seq, &scratch, &f);
	return want ? r == STORE_FOUND && f.len == body(want, b) && memcmp(b, f.body, f.len) == 0
	            : r == STORE_ABSENT;
}

/* The zone's NSEC chain has exactly its names, in order. */
static bool chain_right(const struct store_map *m, const struct model *mo, unsigned zone)
{
	uint8_t key[TREE_KEY_MAX], next[TREE_KEY_MAX];
	size_t n = 0, nn, count = 0, want = 0;
	for (unsigned i = 0; i < NAMES; i++)
		want += mo->zone[zone].value[i] != 0;
	enum store_found r = tree_after(m, mo->zone[zone].inst, CHAIN_NSEC, mo->seq, NULL, 0, &scratch, key, &n);
	for (; r == STORE_FOUND; count++) {
		r = tree_after(m, mo->zone[zone].inst, CHAIN_NSEC, mo->seq, key, n, &scratch, next, &nn);
		if (r == STORE_FOUND && memcmp(key, next, n < nn ? n : nn) > 0)
			return false;
		memcpy(key, next, nn);
		n = nn;
	}
	return r == STORE_ABSENT && count == want;
}

static unsigned wrong(const struct store_map *m, const struct model *mo)
{
	unsigned bad = 0;
	for (unsigned z = 0; z < ZONES; z++) {
		bad += zone_wrong(m, mo->seq, z, mo->zone[z].inst, &scratch);
		if (!mo->zone[z].inst)
			continue;
		for (unsigned i = 0; i < NAMES; i++)
			bad += !right(m, mo, z, i);
		bad += !chain_right(m, mo, z);
	}
	return bad;
}

static uint64_t names_in(const struct model *mo)
{
	uint64_t n = 0;
	for (unsigned z = 0; z < ZONES; z++)
		for (unsigned i = 0; mo->zone[z].inst && i < NAMES; i++)
			n += mo->zone[z].value[i] != 0;
	return n;
}

/* ---- the steps ---- */

static unsigned load(struct store *st, struct model *mo, unsigned zone)
{
	unsigned bad = 0;
	struct zone *z = mo->zone + zone;
	*z = (struct zone){ .inst = store_new_instance(st) };
	for (unsigned i = 0; i < NAMES; i++)
		if (rnd(4))
			bad += set(st, mo, zone, i, 1 + (uint32_t)rand()) != 0;
	struct store_zone put = zone_of(zone, z->inst);
	return bad + (store_zone_put(st, mo->seq, &put) != 0);
}

static unsigned group(struct store *st, struct model *mo)
{
	unsigned bad = 0, zone = rnd(ZONES);
	mo->seq++;
	if (rnd(12) == 0) { /* a new load beside the old one, or a new zone */
		bad += load(st, mo, zone);
	} else if (rnd(20) == 0 && mo->zone[zone].inst) {
		bad += store_zone_drop(st, mo->seq, zone_of(zone, 0).name) != 0;
		mo->zone[zone].inst = 0;
		memset(mo->zone[zone].value, 0, sizeof mo->zone[zone].value);
	}
	for (unsigned n = rnd(120); n > 0; n--) {
		zone = rnd(ZONES);
		/* some names change all the time */
		unsigned i = rnd(3) ? rnd(NAMES) : rnd(8);
		if (mo->zone[zone].inst)
			bad += set(st, mo, zone, i, rnd(5) ? 1 + (uint32_t)rand() : 0) != 0;
	}
	return bad;
}

static int commit(struct store *st, const struct model *mo)
{
	uint8_t meta[STORE_META] = { 0 };
	return store_commit(st, mo->seq, meta);
}

static void copy_file(const char *from, const char *to)
{
	char cmd[300];
	snprintf(cmd, sizeof cmd, "cp --sparse=always %s %s", from, to);
	if (system(cmd) != 0)
		exit(1);
}

/* As after a power cut: what was committed is there, and goes on. */
static unsigned crash(const char *path, const struct model *mo)
{
	char to[128];
	struct model m = *mo;
	snprintf(to, sizeof to, "%s", at("crashed"));
	copy_file(path, to);
	struct store *st = open_at(to, false);
	if (!st)
		return 1;
	unsigned bad = (store_seq(st) != m.seq) + wrong(store_reader(st), &m);
	for (unsigned i = 0; i < 30; i++) {
		bad += group(st, &m) + (commit(st, &m) != 0);
		bad += store_tick(st) < 0;
	}
	bad += wrong(store_reader(st), &m) + (st->compact.drift != 0);
	store_close(st);
	st = open_at(to, false);
	bad += !st || wrong(store_reader(st), &m);
	if (st)
		store_close(st);
	return bad;
}

struct view { struct model m; bool used; int pin; };

/* A reader that announced, took a view and is still at its batch. */
static void reader(struct store *st, struct view *v, unsigned i, const struct model *mo)
{
	v->used = rnd(3) != 0;
	v->m = *mo;
	atomic_store(&beats[i].epoch, v->used ? atomic_load(&st->root->epoch) : 0);
}

static void pin(struct store *st, struct view *v, const struct model *mo)
{
	if (v->used)
		store_unpin(st, v->pin);
	v->used = rnd(2);
	v->m = *mo;
	if (v->used)
		v->pin = store_pin(st, mo->seq);
}

static int until_idle(struct store *st)
{
	for (unsigned i = 0; i < 100000; i++) {
		int r = store_tick(st);
		if (r < 0)
			return -1;
		if (r >= 1000 && !st->compact.block)
			return 0;
	}
	return -1;
}

static void test_model(unsigned rounds)
{
	static struct model mo, done; /* done: the last commit */
	static struct view pins[VIEWS], readers[VIEWS];
	char path[128];
	unsigned bad = 0, pinned = 0, seen = 0, crashed = 0, drift = 0;
	uint64_t emptied = 0;
	snprintf(path, sizeof path, "%s", at("a"));
	struct store *st = open_at(path, true);
	for (unsigned round = 0; round < rounds && st; round++) {
		bad += group(st, &mo);
		bad += rnd(3) == 0 && store_tick(st) < 0; /* inside a group */
		if (round % 40 == 17)
			crashed += crash(path, &done);
		bad += commit(st, &mo) != 0;
		done = mo;
		for (unsigned i = rnd(4); i > 0; i--)
			bad += store_tick(st) < 0;
		unsigned i = rnd(VIEWS);
		if (rnd(5) == 0)
			reader(st, readers + i, i, &mo);
		if (rnd(8) == 0)
			pin(st, pins + i, &mo);
		if (round % 7 == 3) {
			bad += wrong(store_reader(st), &mo);
			for (i = 0; i < VIEWS; i++) {
				pinned += pins[i].used ? wrong(store_reader(st), &pins[i].m) : 0;
				seen += readers[i].used ? wrong(store_reader(st), &readers[i].m) : 0;
			}
		}
		if (round % 60 == 59) {
			for (i = 0; i < VIEWS; i++) {
				pins[i].used = readers[i].used = false;
				atomic_store(&beats[i].epoch, 0);
			}
			emptied += st->compact.emptied;
			drift += st->compact.drift != 0;
			bad += store_close(st) != 0;
			st = open_at(path, true);
			bad += !st || wrong(store_reader(st), &mo);
		}
	}
	ok(st != NULL && bad == 0, "%u groups with compaction: every name, zone and chain as the model says (%u wrong)", rounds, bad);
	ok(pinned == 0, "pinned sequences stay readable (%u wrong)", pinned);
	ok(seen == 0, "so do the views that readers are at (%u wrong)", seen);
	ok(crashed == 0, "a crash at any time leaves the last commit (%u wrong)", crashed);
	if (!st)
		return;
	emptied += st->compact.emptied;
	drift += st->compact.drift != 0;
	ok(emptied > rounds / 21 - 1 && drift == 0, "%llu extents emptied, all that was live in them counted right", (unsigned long long)emptied);

	for (unsigned i = 0; i < VIEWS; i++) {
		if (pins[i].used)
			store_unpin(st, pins[i].pin);
		atomic_store(&beats[i].epoch, 0);
	}
	bad = until_idle(st) != 0;
	struct store_stats s;
	store_stats_get(st, &s);
	ok(bad == 0 && s.names == names_in(&mo), "dropped zones' names are no more counted: %llu of %llu",
	   (unsigned long long)s.names, (unsigned long long)names_in(&mo));

	/* all zones go */
	mo.seq++;
	for (unsigned z = 0; z < ZONES; z++)
		bad += mo.zone[z].inst && store_zone_drop(st, mo.seq, zone_of(z, 0).name) != 0;
	memset(mo.zone, 0, sizeof mo.zone);
	bad += commit(st, &mo) != 0 || until_idle(st) != 0 || checkpoint_write(st) != 0 || until_idle(st) != 0;
	store_stats_get(st, &s);
	unsigned slots = 0;
	for (uint32_t i = 0; i < DIR_SIZE; i += 1u << (DIR_BITS - st->seg[st->root->dir[i]].depth))
		slots += index_count((const uint64_t *)(const void *)(st->base + (uint64_t)st->root->dir[i] * BLOCK));
	ok(bad == 0 && s.names == 0 && slots < 20, "nothing is left of dropped zones: %llu names, %u slots",
	   (unsigned long long)s.names, slots);
	ok(s.file_bytes <= (16u + 16u + 16u) * (uint64_t)BLOCK, "and their space is given back: the file has %llu KiB",
	   (unsigned long long)s.file_bytes >> 10);
	ok(st->nsalts <= 4, "salts that nothing is under are forgotten (%zu left)", st->nsalts);
	store_close(st);
}

/* ---- space ---- */

#define MANY 250000u

static int put_many(struct store *st, uint64_t seq, unsigned i, uint32_t value)
{
	static const struct store_zone z = { .inst = 1u << 20, .labels = 0 };
	uint8_t o[NAME_MAX_LEN], b[200];
	char text[32];
	snprintf(text, sizeof text, "n%u.many.", i);
	name_parse(text, strlen(text), NULL, o);
	for (unsigned x = 0; x < sizeof b; x += 4)
		put_u32(b + x, value);
	return store_put(st, seq, FRAG_NAME, &z, o, 0, 0, b, sizeof b, false);
}

/* Ten times the data's size in random updates. */
static void test_space(void)
{
	uint8_t meta[STORE_META] = { 0 };
	struct store_conf c = { .path = at("space"), .fd = -1, .reserve = 8ull << 30 };
	struct store *st = store_open(&c, k, err, sizeof err);
	struct store_stats s;
	unsigned bad = 0;
	uint64_t seq = 1, most = 0;
	for (unsigned i = 0; i < MANY; i++)
		bad += put_many(st, seq, i, i) != 0;
	bad += store_commit(st, seq, meta) != 0;
	bad += checkpoint_write(st) != 0;
	for (unsigned n = 0; n < 10 * MANY; n++) {
		if (n % 1000 == 0) {
			bad += n && store_commit(st, seq, meta) != 0;
			seq++;
		}
		if (n % 2000 == 0) {
			bad += store_tick(st) < 0;
			store_stats_get(st, &s);

			most = s.file_bytes > most ? s.file_bytes : most;
		}
		bad += put_many(st, seq, rnd(MANY), n) != 0;
	}
	bad += store_commit(st, seq, meta) != 0;
	store_stats_get(st, &s);
	uint64_t live = s.live_bytes + s.index_bytes;
	ok(bad == 0 && most * 2 <= live * 3, "ten times its size in random updates: at most %.2f times what is live (%llu MiB)",
	   (double)most / (double)live, (unsigned long long)live >> 20);
	printf("# %.2f octets moved for one written, %llu checkpoints\n", (double)s.moved_bytes / (10.0 * (double)s.live_bytes),
	     (unsigned long long)s.checkpoints);
	store_close(st);

	/* starts cost nothing that stays */
	for (unsigned i = 0; i < 60; i++) {
		st = store_open(&c, k, err, sizeof err);
		bad += !st || put_many(st, ++seq, i, i) != 0 || store_commit(st, seq, meta) != 0 || store_tick(st) < 0;
		store_close(st);
	}
	st = store_open(&c, k, err, sizeof err);
	bad += until_idle(st) != 0;
	store_stats_get(st, &s);
	ok(bad == 0 && s.file_bytes * 2 <= live * 3, "nor do 60 starts leave anything: %.2f times", (double)s.file_bytes / (double)live);
	store_close(st);
}

/* Changes n names in one group, with ticks; what compaction moved meanwhile, and how
 * long the log was at most. */
static int one_group(struct store *st, uint64_t seq, unsigned from, unsigned n, uint64_t *moved, uint64_t *log)
{
	uint8_t meta[STORE_META] = { 0 };
	uint64_t before = st->compact.moved;
	int bad = 0;
	*log = 0;
	for (unsigned i = 0; i < n; i++) {
		bad += put_many(st, seq, (from + i) * 7919u % MANY, (uint32_t)seq) != 0;
		bad += i % 1000 == 0 && store_tick(st) < 0;
		*log = st->log_blocks > *log ? st->log_blocks : *log;
	}
	*moved = st->compact.moved - before;
	return bad + (store_commit(st, seq, meta) != 0);
}

/* A group that changes much is not held up by compaction; ticks make up for it. */
static void test_burst(void)
{
	uint8_t meta[STORE_META] = { 0 };
	struct store_conf c = { .path = at("burst"), .fd = -1, .reserve = 8ull << 30 };
	struct store *st = store_open(&c, k, err, sizeof err);
	uint64_t seq = 1, moved, most = 0, log, live;
	int bad = 0;
	for (unsigned i = 0; i < MANY; i++)
		bad += put_many(st, seq, i, i) != 0;
	bad += store_commit(st, seq, meta) != 0;
	for (unsigned round = 0; round < 5; round++) {
		bad += until_idle(st) != 0;
		bad += one_group(st, ++seq, round * (MANY / 10), MANY / 10, &moved, &log) != 0;
		most = moved > most ? moved : most;
	}
	ok(bad == 0 && most == 0, "a tenth changed at a time: %llu octets are moved meanwhile", (unsigned long long)most * UNIT);
	uint64_t before = st->compact.moved;
	bad += until_idle(st) != 0;
	live = st->live_units / BLOCK_UNITS;
	ok(bad == 0 && st->compact.moved > before && st->log_blocks * 100 <= live * (100 + st->tune.start + 8),
	   "and afterwards: the log is %.2f times what is live", (double)st->log_blocks / (double)live);

	/* changed again and again in one group: there is a bound */
	bad += one_group(st, ++seq, 0, 3 * MANY, &moved, &log) != 0;
	ok(bad == 0 && moved > 0 && log * 100 <= live * (200 + st->tune.start + 45),
	   "three times all in one group: at most %.2f times what is live", (double)log / (double)live);

	/* group upon group: what one makes due the next ones pay */
	before = st->compact.moved;
	most = 0;
	for (unsigned i = 0; i < 100; i++) {
		bad += one_group(st, ++seq, i * (MANY / 50), MANY / 50, &moved, &log) != 0;
		most = i > 50 && log > most ? log : most;
	}
	ok(bad == 0 && st->compact.moved > before && most * 100 <= live * (100 + st->tune.start + 12),
	   "group upon group: at most %.2f times", (double)most / (double)live);
	store_close(st);
}

int main(int argc, char **argv)
{
	unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : 7;
	snprintf(dir, sizeof dir, "/tmp/compact-test-XXXXXX");
	if (crypto_init() != 0 || !mkdtemp(dir))
		return 1;
	srand(seed);
	k = key_random();
	scratch_new(&scratch, 16u << 20);
	test_model(argc > 2 ? (unsigned)atoi(argv[2]) : 420);
	test_space();
	test_burst();
	scratch_free(&scratch);
	key_free(k);
	char cmd[100];
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	if (system(cmd) != 0)
		return 1;
	return tap_done();
}
