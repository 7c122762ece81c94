/* test_check.c - store_check against stores that are known to be sound, and
 * against the same ones with an octet changed, a part cut off or exchanged: every
 * octet that means something is seen, and the file is never written. */
#include "store/writer.h"
#include "tests/records.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES 2000
#define FLIPS 400

static struct key *k;
static char dir[64], err[512], said[2000];

static const char *at(const char *name)
{
	static char path[4][128];
	static unsigned i;
	snprintf(path[++i % 4], sizeof *path, "%s/%s", dir, name);
	return path[i % 4];
}

static void name_of(const char *text, uint8_t out[static NAME_MAX_LEN])
{
	name_parse(text, strlen(text), NULL, out);
}

static int put(struct store *st, uint64_t seq, const struct store_zone *z, const char *owner, uint32_t value)
{
	uint8_t o[NAME_MAX_LEN], b[64];
	name_of(owner, o);
	return store_put(st, seq, FRAG_NAME, z, o, NODE_NSEC, 0, b, address_body(value, b, sizeof b), false);
}

static int commit(struct store *st, uint64_t seq)
{
	uint8_t meta[STORE_META] = { 0 };
	return store_commit(st, seq, meta);
}

/* Two zones, changed names, dropped names; closed cleanly or as a crash leaves it. */
static void make(const char *path, bool ordered, bool clean)
{
	struct store_conf c = { .path = path, .fd = -1, .reserve = 1ull << 30, .ordered = ordered };
	struct store *st = store_open(&c, k, err, sizeof err);
	struct store_zone z[2] = { { .inst = store_new_instance(st), .labels = 1, .state = ZONE_SERVING, .serial = 1 },
		{ .inst = store_new_instance(st), .labels = 2, .state = ZONE_SERVING, .serial = 1 } };
	char owner[64];
	uint8_t o[NAME_MAX_LEN];
	int r = 0;
	name_of("example.", z[0].name);
	name_of("sub.example.", z[1].name);
	r |= put(st, 1, &z[0], "example.", 0) | put(st, 1, &z[1], "sub.example.", 0);
	for (unsigned i = 0; i < NAMES; i++) {
		snprintf(owner, sizeof owner, "name-%u.%s", i, i % 3 ? "example." : "sub.example.");
		r |= put(st, 1, &z[i % 3 == 0], owner, i);
	}
	r |= store_zone_put(st, 1, &z[0]) | store_zone_put(st, 1, &z[1]) | commit(st, 1);
	for (uint64_t seq = 2; seq < 12; seq++) {
		for (unsigned i = 0; i < 20; i++) {
			unsigned n = (unsigned)seq * 50 + i;
			snprintf(owner, sizeof owner, "name-%u.%s", n, n % 3 ? "example." : "sub.example.");
			name_of(owner, o);
			r |= i % 4 ? put(st, seq, &z[n % 3 == 0], owner, n + 1) : store_delete(st, seq, FRAG_NAME, &z[n % 3 == 0], o);
		}
		r |= commit(st, seq);
	}
	if (!clean) { /* what a crash leaves: the file as it is now */
		char cmd[300];
		snprintf(cmd, sizeof cmd, "cp --sparse=never %s %s.crash", path, path);
		r |= system(cmd);
	}
	r |= store_close(st);
	if (!clean)
		r |= rename(at("crashed.crash"), path);
	ok(r == 0, "%s store, %s", ordered ? "a hub's" : "a node's", clean ? "closed cleanly" : "as a crash leaves it");
}

static void on_fault(void *owner, const char *what)
{
	(void)owner;
	if (!*said)
		snprintf(said, sizeof said, "%s", what);
}

static void on_progress(void *owner, const char *doing, uint64_t done, uint64_t all) { (void)owner, (void)doing, (void)done, (void)all; }

/* Faults, -1: it can't be opened but is ours, -2: it is not. */
static int64_t look(const char *path, struct store_report *r)
{
	static const struct store_check_calls calls = { on_fault, on_progress };
	struct store_conf c = { .path = path, .fd = -1, .check = true };
	struct store_report mine;
	*said = 0;
	struct store *st = store_open(&c, k, err, sizeof err);
	if (!st)
		return errno == EBADMSG ? -1 : -2;
	int64_t n = store_check(st, &calls, NULL, r ? r : &mine);
	store_close(st);
	return n;
}

static uint8_t *slurp(const char *path, size_t *n)
{
	struct stat sb;
	int fd = open(path, O_RDONLY);
	fstat(fd, &sb);
	uint8_t *p = malloc((size_t)sb.st_size);
	*n = (size_t)sb.st_size;
	if (read(fd, p, *n) != (ssize_t)*n)
		exit(1);
	close(fd);
	return p;
}

static void spurt(const char *path, const uint8_t *p, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (write(fd, p, n) != (ssize_t)n)
		exit(1);
	close(fd);
}

static void test_sound(const char *path)
{
	struct store_report r;
	size_t n, n2;
	uint8_t *before = slurp(path, &n);
	chmod(path, 0400);
	int64_t faults = look(path, &r);
	ok(faults == 0, "it is sound (%lld: %s%s)", (long long)faults, said, faults < 0 ? err : "");
	ok(r.zones == 2 && r.names == NAMES + 2 - 50 && r.seq == 11 && r.commits >= 11 && r.trees >= 2,
	   "%llu zones, %llu names, sequence %llu, %llu commits, %llu trees", (unsigned long long)r.zones, (unsigned long long)r.names,
	   (unsigned long long)r.seq, (unsigned long long)r.commits, (unsigned long long)r.trees);
	chmod(path, 0600);
	uint8_t *after = slurp(path, &n2);
	ok(n == n2 && memcmp(before, after, n) == 0, "and the same, to the octet");
	free(before);
	free(after);
}

/* A dropped zone whose names compaction has swept away. */
static void test_swept(void)
{
	struct store_conf c = { .path = at("swept"), .fd = -1, .reserve = 1ull << 30 };
	uint8_t n[NAME_MAX_LEN];
	make(c.path, false, true);
	struct store *st = store_open(&c, k, err, sizeof err);
	name_of("sub.example.", n);
	bool good = st && store_zone_drop(st, 12, n) == 0 && commit(st, 12) == 0;
	for (unsigned i = 0; i < 1000 && good; i++)
		good = store_tick(st) >= 0;
	good = good && store_close(st) == 0;
	int64_t faults = look(c.path, NULL);
	ok(good && faults == 0, "slots that were given up are no fault (%lld: %s)", (long long)faults, said);
}

static void poke(const char *path, size_t at_octet, uint8_t v)
{
	int fd = open(path, O_WRONLY);
	if (pwrite(fd, &v, 1, (off_t)at_octet) != 1)
		exit(1);
	close(fd);
}

/* What the store uses of its file: the rest may hold what it likes. */
static uint8_t *used_map(const char *path, size_t n)
{
	struct store_conf c = { .path = path, .fd = -1, .check = true };
	uint8_t *used = calloc(1, n / UNIT + 1);
	struct store *st = store_open(&c, k, err, sizeof err);
	for (size_t u = 0; st && u < n / UNIT; u++) {
		enum block_use use = info_use(atomic_load(root_info(st->root) + u / BLOCK_UNITS));
		used[u] = u < BLOCK_UNITS || use == USE_SEGMENT || use == USE_TABLE;
	}
	for (size_t i = 0; st && i < st->nextents; i++) {
		const struct extent *e = st->extents + i;
		for (uint64_t u = (uint64_t)e->block * BLOCK_UNITS; u < e->end && u < n / UNIT; u++)
			used[u] = 1;
	}
	if (st)
		store_close(st);
	return used;
}

/* After a crash the segments made since the last checkpoint mean nothing: they
 * are made again from the log. */
static void test_changed(const char *path, bool clean)
{
	size_t n;
	uint8_t *p = slurp(path, &n);
	unsigned missed = 0, opened = 0, tried = 0;
	size_t first = 0;
	uint64_t blocks = 0; /* in which something was missed */
	uint8_t *used = used_map(path, n);
	spurt(at("changed"), p, n);
	while (tried < FLIPS) {
		/* three of four in the first pages of a block: there is more there */
		size_t i = (size_t)rand() % n;
		if (rand() % 4)
			i = i / BLOCK * BLOCK + (size_t)rand() % 16384;
		if (i >= n || p[i] == 0 || (clean && !used[i / UNIT]))
			continue;
		tried++;
		poke(at("changed"), i, p[i] ^ (uint8_t)(1u << rand() % 8));
		int64_t r = look(at("changed"), NULL);
		opened += r > 0;
		if (r == 0 && !missed++)
			first = i;
		if (r == 0)
			blocks |= 1ull << i / BLOCK;
		poke(at("changed"), i, p[i]);
	}
	if (clean) {
		ok(missed == 0, "each of %u changed octets is seen (%u missed, the first at %zu; %u in stores that open)", tried, missed, first, opened);
		ok(opened > FLIPS / 20, "not only by a refusal to open it");
	} else {
		ok((blocks & (blocks - 1)) == 0, "of %u changed octets all are seen but those of one segment that the log makes again (%u)", tried, missed);
	}
	free(used);
	missed = 0;
	for (unsigned i = 0; i < 40; i++) {
		size_t len = (size_t)rand() % n;
		spurt(at("changed"), p, len);
		missed += look(at("changed"), NULL) == 0;
	}
	ok(missed == 0, "cut short anywhere, it is not sound");
	free(p);
}

/* Whole blocks of an older state in the place of newer ones: each is sound by itself. */
static void test_exchanged(const char *path)
{
	size_t n, m;
	struct store_conf c = { .path = path, .fd = -1, .reserve = 1ull << 30 };
	uint8_t *p = slurp(path, &n);
	struct store *st = store_open(&c, k, err, sizeof err);
	struct store_zone z;
	uint8_t o[NAME_MAX_LEN];
	name_of("example.", o);
	int r = store_zone_get(st, o, &z) != STORE_FOUND;
	for (unsigned i = 0; i < 500; i++) {
		char owner[64];
		snprintf(owner, sizeof owner, "later-%u.example.", i);
		r |= put(st, 12, &z, owner, i);
	}
	r |= commit(st, 12) | store_close(st);
	uint8_t *q = slurp(path, &m);
	ok(r == 0 && look(path, NULL) == 0, "500 names more, and still sound (%s)", said);
	unsigned same = 0, seen = 0, unseen = 0;
	uint8_t *used = used_map(path, m);
	for (size_t b = BLOCK; b + BLOCK <= n && b + BLOCK <= m; b += BLOCK) {
		if (!used[b / UNIT])
			continue;
		uint8_t *now = malloc(m);
		memcpy(now, q, m);
		memcpy(now + b, p + b, BLOCK);
		same += memcmp(p + b, q + b, BLOCK) == 0;
		spurt(at("changed"), now, m);
		int64_t f = look(at("changed"), NULL);
		*(f ? &seen : &unseen) += memcmp(p + b, q + b, BLOCK) != 0;
		free(now);
	}
	free(used);
	ok(seen > 0 && unseen == 0, "an older block in a newer store is seen (%u seen, %u not, %u are the same)", seen, unseen, same);
	free(p);
	free(q);
}

static void test_refused(const char *path)
{
	struct store_conf c = { .path = path, .fd = -1, .reserve = 1ull << 30 };
	struct store *st = store_open(&c, k, err, sizeof err);
	ok(st && look(path, NULL) == -2 && strstr(err, "another process is using it"), "not while it is open: %s", err);
	store_close(st);
	struct key *mine = k;
	k = key_random();
	ok(look(path, NULL) == -2 && strstr(err, "key does not fit"), "with another key it can't be told: %s", err);
	key_free(k);
	k = mine;
	spurt(at("changed"), (const uint8_t *)"", 0);
	ok(look(at("changed"), NULL) == -2, "an empty file: %s", err);
	ok(look(at("nothere"), NULL) == -2, "no file: %s", err);
	ok(access(at("nothere"), F_OK) != 0, "and none is made");
}

/* Versions that nobody needs have gone with their extents; who came after them still
 * has a link to there. */
static void test_gone_versions(void)
{
	enum { MANY = 40000 };
	struct store_conf c = { .path = at("gone"), .fd = -1, .reserve = 1ull << 30 };
	struct store *st = store_open(&c, k, err, sizeof err);
	struct store_zone z = { .inst = store_new_instance(st), .labels = 1, .state = ZONE_SERVING, .serial = 1 };
	struct store_report report;
	char name[64];
	int r = 0;
	st->tune = (struct tune){ .tick_ns = 300000, .slice = 1024, .start = 2, .floor = 1, .slack = 16, .tail_least = 1u << 20 };
	name_of("example.", z.name);
	r |= put(st, 1, &z, "example.", 0);
	for (uint64_t seq = 1; seq < 8; seq++) {
		for (unsigned i = 0; i < MANY; i++) {
			snprintf(name, sizeof name, "name-%u.example.", i);
			if (seq == 1 || (i + seq) % 8 < 5)
				r |= put(st, seq, &z, name, i + (unsigned)seq);
		}
		r |= store_zone_put(st, seq, &z) | commit(st, seq);
		for (unsigned i = 0; i < 300; i++)
			r |= store_tick(st) < 0;
	}
	uint64_t emptied = st->compact.emptied;
	r |= store_close(st);
	long long faults = look(at("gone"), &report);
	ok(r == 0 && emptied > 0, "%llu extents were emptied", (unsigned long long)emptied);
	ok(faults == 0, "what went with them is no damage (%lld faults: %s)", faults, said);
}

int main(void)
{
	if (crypto_init() != 0)
		return 1;
	const char *seed = getenv("SEED");
	srand(seed ? (unsigned)atoi(seed) : 20);
	k = key_random();
	snprintf(dir, sizeof dir, "/tmp/encdns-check-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	make(at("node"), false, true);
	test_sound(at("node"));
	test_changed(at("node"), true);
	make(at("hub"), true, true);
	test_sound(at("hub"));
	test_swept();
	test_gone_versions();
	make(at("crashed"), false, false);
	test_sound(at("crashed"));
	test_changed(at("crashed"), false);
	test_exchanged(at("node"));
	test_refused(at("node"));
	static const char *const files[] = { "node", "hub", "crashed", "changed", "swept", "gone" };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		unlink(at(files[i]));
	rmdir(dir);
	return tap_done();
}
