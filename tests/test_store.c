/* test_store.c - the store against a model: random changes, commits, pins,
 * crashes (a copy of the file opened again), wrong keys, changed octets. */
#include "store/writer.h"
#include "tests/records.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES 4000
struct model { uint32_t value[NAMES]; uint64_t seq; }; /* value 0: absent */

static struct key *k;
static char dir[64], err[256];
static struct scratch scratch;
static const struct store_zone zone = { .inst = 7, .labels = 1 };

static const char *at(const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static struct store *open_at(const char *path, const struct key *key)
{
	struct store_conf c = { .path = path, .fd = -1, .reserve = 8ull << 30 };
	return store_open(&c, key, err, sizeof err);
}

/* A body of some length that tells its value. */
static uint32_t body(uint32_t value, uint8_t *out)
{
	uint32_t len = 4 + value % 97 * 4;
	struct wr w = wr_init(out, 1024);
	wr_u16(&w, T_TXT);
	wr_u32(&w, 60);
	wr_u16(&w, 1);
	wr_u16(&w, 0);
	wr_u32(&w, len + 2);
	wr_u16(&w, len);
	for (uint32_t i = 0; i < len; i += 4)
		wr_u32(&w, value);
	return (uint32_t)wr_len(&w);
}

static int set(struct store *st, uint64_t seq, unsigned i, uint32_t value, bool fresh)
{
	uint8_t o[NAME_MAX_LEN], b[1024], o2[NAME_MAX_LEN];
	numbered_name(i, o);
	memcpy(o2, o, sizeof o);
	if (!value)
		return store_delete(st, seq, FRAG_NAME, &zone, o);
	return store_put(st, seq, FRAG_NAME, &zone, o2, NODE_NSEC, 0, b, body(value, b), fresh);
}

/* 0 absent, else the value; UINT32_MAX damaged or nonsense */
static uint32_t value_at(const struct store_map *m, unsigned i, uint64_t seq)
{
	uint8_t o[NAME_MAX_LEN], b[1024];
	struct frag f;
	numbered_name(i, o);
	scratch.used = 0;
	enum store_found r = store_get(m, FRAG_NAME, zone.inst, o, seq, &scratch, &f);
	if (r == STORE_ABSENT)
		return 0;
	if (r != STORE_FOUND || f.len < SET_HEAD + 6)
		return UINT32_MAX;
	uint32_t v = get_u32(f.body + SET_HEAD + 2);
	return f.len == body(v, b) && memcmp(b, f.body, f.len) == 0 ? v : UINT32_MAX;
}

static unsigned differences(const struct store_map *m, const struct model *mo)
{
	unsigned bad = 0;
	for (unsigned i = 0; i < NAMES; i++)
		bad += value_at(m, i, mo->seq) != mo->value[i];
	return bad;
}

static int commit(struct store *st, struct model *mo)
{
	uint8_t meta[STORE_META] = { 0 };
	put_u64(meta, mo->seq);
	return store_commit(st, mo->seq, meta);
}

static void copy_file(const char *from, const char *to)
{
	char cmd[300];
	snprintf(cmd, sizeof cmd, "cp --sparse=never %s %s", from, to);
	if (system(cmd) != 0)
		exit(1);
}

static void random_group(struct store *st, struct model *mo, unsigned n)
{
	mo->seq++;
	for (unsigned i = 0; i < n; i++) {
		unsigned name = (unsigned)rand() % NAMES;
		uint32_t v = rand() % 5 ? (uint32_t)rand() + 1u : 0;
		mo->value[name] = v;
		if (set(st, mo->seq, name, v, false) != 0)
			mo->value[name] = UINT32_MAX; /* shows up as a difference */
	}
}

/* Every name of the model is found in the NSEC tree, in order, and no other. */
static bool chain_ok(const struct store_map *m, const struct model *mo)
{
	uint8_t key[TREE_KEY_MAX], next[TREE_KEY_MAX], o[NAME_MAX_LEN], want[NAME_KEY_MAX];
	size_t n = 0, count = 0, present = 0;
	enum store_found r = tree_after(m, zone.inst, CHAIN_NSEC, mo->seq, NULL, 0, &scratch, key, &n);
	while (r == STORE_FOUND) {
		count++;
		size_t nn;
		r = tree_after(m, zone.inst, CHAIN_NSEC, mo->seq, key, n, &scratch, next, &nn);
		if (r == STORE_FOUND && memcmp(key, next, n < nn ? n : nn) > 0)
			return false;
		memcpy(key, next, nn);
		n = nn;
	}
	for (unsigned i = 0; i < NAMES; i++) {
		bool exact;
		size_t wn;
		if (!mo->value[i])
			continue;
		present++;
		numbered_name(i, o);
		wn = zone_key(o, zone.labels, want);
		if (tree_find(m, zone.inst, CHAIN_NSEC, mo->seq, want, wn, &scratch, key, &n, &exact) !=
		    STORE_FOUND || !exact)
			return false;
	}
	return r == STORE_ABSENT && count == present;
}

static void test_model(void)
{
	struct model mo = { .seq = 0 }, pinned;
	struct store *st = open_at(at("a"), k);
	ok(st != NULL, "a new store opens (%s)", err);
	if (!st)
		return;
	unsigned bad = 0, pin_bad = 0, chain_bad = 0, crash_bad = 0;
	for (unsigned round = 0; round < 60; round++) {
		random_group(st, &mo, 1 + (unsigned)rand() % 400);
		if (commit(st, &mo) != 0)
			bad++;
		if (round % 3 == 1) /* what follows changes copies of its segments */
			bad += checkpoint_write(st) != 0;
		bad += differences(store_reader(st), &mo);
		if (round % 10 == 0)
			chain_bad += !chain_ok(store_reader(st), &mo);
		if (round % 10 == 5) {
			pinned = mo;
			int pin = store_pin(st, mo.seq);
			for (unsigned i = 0; i < 3; i++) {
				random_group(st, &mo, 300);
				commit(st, &mo);
				pin_bad += differences(store_reader(st), &pinned);
				pin_bad += !chain_ok(store_reader(st), &pinned);
			}
			store_unpin(st, pin);
		}
		if (round % 15 == 7) { /* a crash in the middle of a group */
			struct model before = mo;
			random_group(st, &mo, 200);
			copy_file(at("a"), "/dev/null");
			char a[128], b[128];
			snprintf(a, sizeof a, "%s", at("a"));
			snprintf(b, sizeof b, "%s", at("crashed"));
			copy_file(a, b);
			struct store *again = open_at(b, k);
			crash_bad += !again || store_seq(again) != before.seq ||
			             differences(store_reader(again), &before) != 0 ||
			             !chain_ok(store_reader(again), &before);
			if (again) {
				random_group(again, &before, 100);
				crash_bad += commit(again, &before) != 0 || differences(store_reader(again), &before) != 0;
				store_close(again);
			}
			commit(st, &mo);
		}
		if (round % 20 == 19) { /* a clean restart */
			store_close(st);
			st = open_at(at("a"), k);
			if (!st) {
				bad++;
				break;
			}
			bad += store_seq(st) != mo.seq || get_u64(store_meta(st)) != mo.seq;
			bad += differences(store_reader(st), &mo);
		}
	}
	ok(bad == 0, "60 groups: every name as the model says (%u differ)", bad);
	ok(pin_bad == 0, "a pinned sequence stays readable (%u differ)", pin_bad);
	ok(chain_bad == 0, "the ordered chain holds exactly the names");
	ok(crash_bad == 0, "a crash inside a group leaves the group before it (%u wrong)", crash_bad);
	store_close(st);
}

static void test_refusals(void)
{
	char a[128], b[128];
	struct key *other = key_random();
	snprintf(a, sizeof a, "%s", at("a"));
	ok(!open_at(a, other) && strstr(err, "key does not fit"), "another key is refused: %s", err);
	key_free(other);
	snprintf(b, sizeof b, "%s", at("foreign"));
	FILE *f = fopen(b, "w");
	for (unsigned i = 0; i < 300000; i++)
		fputc('x', f);
	fclose(f);
	ok(!open_at(b, k) && strstr(err, "no encdns store"), "a foreign file is refused: %s", err);
	struct stat s;
	ok(stat(b, &s) == 0 && s.st_size == 300000, "and left as it was");
	struct store *one = open_at(a, k);
	ok(!open_at(a, k) && strstr(err, "another process"), "a second writer is refused: %s", err);
	store_close(one);
}

/* A changed octet anywhere leads to damage or refusal, never to another value. */
static void test_tamper(void)
{
	char a[128], b[128];
	struct model mo = { .seq = 0 };
	snprintf(a, sizeof a, "%s", at("t"));
	struct store *st = open_at(a, k);
	random_group(st, &mo, 2000);
	commit(st, &mo);
	store_close(st);
	snprintf(b, sizeof b, "%s", at("t2"));
	struct stat s;
	stat(a, &s);
	unsigned wrong = 0, damaged = 0, refused = 0;
	for (unsigned i = 0; i < 60; i++) {
		copy_file(a, b);
		int fd = open(b, O_RDWR);
		uint8_t octets[256];
		/* a quarter of them in the superblocks, the rest anywhere */
		off_t off = i % 4 ? (off_t)((uint64_t)rand() * 4096 % (uint64_t)(s.st_size - 256)) : rand() % 8000;
		if (pread(fd, octets, sizeof octets, off) != sizeof octets)
			wrong++;
		for (unsigned x = 0; x < sizeof octets; x++)
			octets[x] ^= (uint8_t)(1 + rand() % 255);
		if (pwrite(fd, octets, sizeof octets, off) != sizeof octets)
			wrong++;
		close(fd);
		st = open_at(b, k);
		if (!st) {
			refused++;
			continue;
		}
		for (unsigned n = 0; n < NAMES; n++) {
			uint32_t v = value_at(store_reader(st), n, mo.seq);
			damaged += v == UINT32_MAX;
			wrong += v != UINT32_MAX && v != mo.value[n];
		}
		store_close(st);
	}
	ok(wrong == 0, "60 changed places: no wrong answer (%u damaged names, %u refusals)", damaged, refused);
}

static void test_zones(void)
{
	static const char *names[] = { "org.", "a.org.", "b.a.org.", "x.y.b.a.org.", ".", "com.", "q.com." };
	struct store_conf c = { .fd = -1, .path = at("z"), .reserve = 8ull << 30 };
	struct store *st = store_open(&c, k, err, sizeof err);
	uint8_t meta[STORE_META] = { 0 }, n[NAME_MAX_LEN];
	bool have[7] = { false };
	unsigned bad = 0, lists = 0;
	uint64_t seq = 0;
	for (unsigned round = 0; round < 200; round++) {
		unsigned i = (unsigned)rand() % 7;
		seq++;
		name_parse(names[i], strlen(names[i]), NULL, n);
		if (have[i]) {
			store_zone_drop(st, seq, n);
		} else {
			struct store_zone z = { .inst = i + 100, .state = ZONE_SERVING, .labels = (uint8_t)name_labels(n) };
			memcpy(z.name, n, sizeof z.name);
			store_zone_put(st, seq, &z);
		}
		have[i] = !have[i];
		store_commit(st, seq, meta);
		struct store_view v;
		store_view_take(store_reader(st), &v);
		static const char *ask[] = { "www.x.y.b.a.org.", "y.b.a.org.", "a.org.", "org.", ".", "z.com.", "w.q.com.", "net." };
		for (unsigned q = 0; q < 8; q++)
			for (unsigned above = 0; above < 2; above++) {
				name_parse(ask[q], strlen(ask[q]), NULL, n);
				struct store_zone got;
				int best = -1;
				for (int x = 0; x < 7; x++) {
					uint8_t zn[NAME_MAX_LEN];
					name_parse(names[x], strlen(names[x]), NULL, zn);
					if (have[x] && name_below(n, zn) && !(above && name_equal(n, zn)) &&
					    (best < 0 || strlen(names[x]) > strlen(names[best]) || names[best][0] == '.'))
						best = x;
				}
				scratch.used = 0;
				enum store_found r = store_zone_find(store_reader(st), &v, n, name_labels(n), above, &scratch, &got);
				bad += best < 0 ? r != STORE_ABSENT : r != STORE_FOUND || got.inst != (unsigned)best + 100;
			}
		unsigned count = 0, want = 0;
		struct store_zone z;
		for (enum store_found r = store_zone_next(st, NULL, &z); r == STORE_FOUND; count++)
			r = store_zone_next(st, z.name, &z);
		for (unsigned x = 0; x < 7; x++)
			want += have[x];
		lists += count != want;
	}
	ok(bad == 0, "200 adds and drops: the closest zone is always found (%u wrong)", bad);
	ok(lists == 0, "the catalog lists exactly the zones (%u wrong)", lists);
	store_close(st);
}

static void test_many(void)
{
	struct store *st = open_at(at("m"), k);
	uint8_t meta[STORE_META] = { 0 };
	unsigned bad = 0, n = 200000;
	for (unsigned i = 0; i < n; i++)
		bad += set(st, 1, i, i + 1, true) != 0;
	bad += store_commit(st, 1, meta) != 0;
	for (unsigned i = 0; i < n; i++)
		bad += value_at(store_reader(st), i, 1) != i + 1;
	for (unsigned i = n; i < n + 1000; i++)
		bad += value_at(store_reader(st), i, 1) != 0;
	struct store_stats s;
	store_stats_get(st, &s);
	ok(bad == 0, "200,000 names over split segments (%u wrong)", bad);
	ok(s.names == n, "and counted; index %.1f octets a name", (double)s.index_bytes / n);
	store_close(st);
}

/* A pinned version is found however many came since (one at a time in the scratch). */
static void test_long_chain(void)
{
	struct store_conf c = { .fd = memfd_create("chain", 0), .reserve = 8ull << 30 };
	struct store *st = store_open(&c, k, err, sizeof err);
	uint8_t meta[STORE_META] = { 0 };
	unsigned wrong = 0;
	set(st, 1, 0, 96, false); /* the longest body */
	store_commit(st, 1, meta);
	int pin = store_pin(st, 1);
	scratch.size = 1 << 20;
	for (unsigned i = 2; i < 8000; i++) {
		wrong += set(st, i, 0, i * 97 + 96, false) != 0 || store_commit(st, i, meta) != 0;
		if (i % 1000 == 0)
			wrong += value_at(store_reader(st), 0, 1) != 96;
	}
	wrong += value_at(store_reader(st), 0, 1) != 96 || value_at(store_reader(st), 0, 7999) != 7999 * 97 + 96;
	ok(wrong == 0, "a pinned version behind 8,000 newer ones (%u wrong)", wrong);
	store_unpin(st, pin);
	store_close(st);
	close(c.fd);
}

/* Acknowledged groups over several extents, then one bit of the log's tail is
 * turned: never less than what was acknowledged, without a word. */
static void test_lost_tail(void)
{
	char a[128], b[128];
	struct model mo = { .seq = 0 };
	snprintf(a, sizeof a, "%s", at("tail"));
	snprintf(b, sizeof b, "%s", at("tail2"));
	struct store *st = open_at(a, k);
	uint64_t last = 0;
	for (unsigned i = 0; i < 40; i++) {
		last = st->at;
		random_group(st, &mo, 2500);
		commit(st, &mo);
	}
	/* the last group alone may look as if it had never been finished */
	uint64_t end = st->at;
	copy_file(a, b); /* as after a crash */
	struct stat s;
	stat(b, &s);
	unsigned silent = 0, refused = 0, tries = 0;
	for (off_t off = 6 * (off_t)BLOCK; off < s.st_size - (off_t)BLOCK; off += s.st_size / 23) {
		uint8_t o;
		if ((uint64_t)off >= last * UNIT && (uint64_t)off < end * UNIT)
			continue;
		tries++;
		copy_file(a, b);
		int fd = open(b, O_RDWR);
		bool used = pread(fd, &o, 1, off) == 1;
		o ^= 1;
		used = used && pwrite(fd, &o, 1, off) == 1;
		close(fd);
		struct store *again = open_at(b, k);
		refused += !again;
		silent += again && store_seq(again) != mo.seq;
		if (again)
			store_close(again);
	}
	ok(silent == 0, "one bit turned in %u places of a crashed log: %u refused, %u lost what was acknowledged",
	   tries, refused, silent);
	store_close(st);
}

/* A start that was cut off while it made the store is made good by the next. */
static void test_unborn(void)
{
	char a[128];
	snprintf(a, sizeof a, "%s", at("unborn"));
	int fd = open(a, O_RDWR | O_CREAT, 0600);
	struct store *st = ftruncate(fd, 5 * BLOCK) == 0 ? open_at(a, k) : NULL;
	ok(st != NULL, "a store of zeros is made anew");
	if (st)
		store_close(st);
	snprintf(a, sizeof a, "%s", at("lost"));
	close(fd);
	fd = open(a, O_RDWR | O_CREAT, 0600);
	ok(ftruncate(fd, 200 * (off_t)BLOCK) == 0 && !open_at(a, k), "a large one of zeros is not: %s", err);
	close(fd);
}

/* A tail of commits with nothing in them: more than recovery's memory could hold. */
static void test_empty_groups(void)
{
	static const uint8_t meta[STORE_META];
	struct store_conf c = { .path = "empty groups", .fd = memfd_create("test", MFD_CLOEXEC), .reserve = 1ull << 30 };
	struct store *st = store_open(&c, k, err, sizeof err);
	st->tune.tail_least = 1ull << 30; /* no checkpoint comes between */
	size_t n = st->scratch.size / COMMIT_LEN, done = 1;
	bool good = set(st, 1, 1, 5, false) == 0;
	while (good && done <= n && store_commit(st, done, meta) == 0)
		done++;
	st->failed = true; /* killed */
	store_close(st);
	st = store_open(&c, k, err, sizeof err);
	ok(st && done > n && store_seq(st) == n && value_at(store_reader(st), 1, n) == 5,
	   "%zu groups without a change are replayed%s%s", n, st ? "" : ": ", st ? "" : err);
	if (st)
		store_close(st);
	close(c.fd);
}

int main(void)
{
	snprintf(dir, sizeof dir, "/tmp/store-test-XXXXXX");
	if (crypto_init() != 0 || !mkdtemp(dir))
		return 1;
	srand(4);
	k = key_random();
	scratch.size = 16u << 20;
	scratch.mem = malloc(scratch.size);
	test_model();
	test_refusals();
	test_tamper();
	test_zones();
	test_many();
	test_long_chain();
	test_lost_tail();
	test_unborn();
	test_empty_groups();
	free(scratch.mem);
	key_free(k);
	char cmd[100];
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	if (system(cmd) != 0)
		return 1;
	return tap_done();
}
