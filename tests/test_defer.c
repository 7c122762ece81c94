/* test_defer.c - slots that a bulk load sets later, against a model: zones that are
 * loaded beside those that are served, by many small groups, with look-ups, changes,
 * checkpoints, compaction, ticks, crashes and reopened stores in between, and a list
 * so short that it is often full. */
#include "store/writer.h"
#include "tests/tap.h"
#include "tests/zones.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ZONES 4u
#define NAMES 500u

/* What an instance holds; inst 0: there is none, value 0: absent. */
struct content { uint32_t inst, value[NAMES]; };
struct model { uint64_t seq; struct content served[ZONES], loading[ZONES]; };

static struct key *k;
static char dir[64], err[256];
static struct scratch scratch;

static const char *at(const char *name)
{
	static char path[2][128];
	static unsigned turn;
	char *p = path[turn++ & 1];
	snprintf(p, sizeof path[0], "%s/%s", dir, name);
	return p;
}

static uint32_t rnd(uint32_t n) { return (uint32_t)rand() % n; }

static struct store *open_at(const char *path, uint32_t late_part)
{
	struct store_conf c = { .path = path, .fd = -1, .reserve = 4ull << 30 };
	struct store *st = store_open(&c, k, err, sizeof err);
	if (st)
		st->tune = (struct tune){ .tick_ns = 300000, .slice = 1024, .start = 10, .floor = 2, .slack = 16,
			                  .tail_least = 1u << 20, .late_part = late_part };
	return st;
}

/* A list of 2, 16 or 128 slots in a store whose index is one segment (256 KiB). */
static struct store *open_any(const char *path)
{
	static const uint32_t part[] = { 8192, 1024, 128 };
	return open_at(path, part[rnd(3)]);
}

/* Name 0 is the apex. */
static void owner(unsigned zone, unsigned i, uint8_t out[static NAME_MAX_LEN])
{
	char text[64];
	if (i)
		snprintf(text, sizeof text, "name-%u.zone-%u.", i, zone);
	else
		snprintf(text, sizeof text, "zone-%u.", zone);
	name_parse(text, strlen(text), NULL, out);
}

static enum frag_kind kind_of(unsigned i) { return i % 5 == 4 ? FRAG_NSEC3 : FRAG_NAME; }

/* Some octets that tell a value. */
static uint32_t body(uint32_t value, uint8_t out[static 4096])
{
	uint32_t len = 4 + value % 301 * 8;
	for (uint32_t i = 0; i < len; i += 4)
		put_u32(out + i, value ^ i);
	return len;
}

/* 0: what the model says was found. */
static unsigned differs(enum store_found r, const struct frag *f, uint32_t want)
{
	uint8_t b[4096];
	if (!want)
		return r != STORE_ABSENT;
	return r != STORE_FOUND || f->len != body(want, b) || memcmp(b, f->body, f->len) != 0;
}

/* ---- what readers see ---- */

static unsigned content_wrong(const struct store_map *m, const struct content *c, unsigned zone, uint64_t seq)
{
	uint8_t o[NAME_MAX_LEN];
	struct frag f;
	unsigned bad = 0;
	for (unsigned i = 0; c->inst && i < NAMES; i++) {
		owner(zone, i, o);
		scratch.used = 0;
		enum store_found r = store_get(m, kind_of(i), c->inst, o, seq, &scratch, &f);
		bad += differs(r, &f, c->value[i]);
	}
	return bad;
}

static unsigned served_wrong(const struct store_map *m, const struct model *mo)
{
	unsigned bad = 0;
	for (unsigned z = 0; z < ZONES; z++) {
		bad += zone_wrong(m, mo->seq, z, mo->served[z].inst, &scratch);
		bad += content_wrong(m, mo->served + z, z, mo->seq);
	}
	return bad;
}

/* ---- what the writer does ---- */

static unsigned set(struct store *st, const struct model *mo, struct content *c, unsigned zone, unsigned i,
                    uint32_t value, bool fresh)
{
	uint8_t o[NAME_MAX_LEN], b[4096];
	struct store_zone z = zone_of(zone, c->inst);
	owner(zone, i, o);
	c->value[i] = value;
	int r = value ? store_put(st, mo->seq, kind_of(i), &z, o, NODE_NSEC, 0, b, body(value, b), fresh)
	              : store_delete(st, mo->seq, kind_of(i), &z, o);
	return r != 0;
}

static unsigned look(struct store *st, const struct content *c, unsigned zone, unsigned i)
{
	uint8_t o[NAME_MAX_LEN];
	struct frag f;
	owner(zone, i, o);
	scratch.used = 0;
	enum store_found r = store_newest(st, kind_of(i), c->inst, o, &scratch, &f);
	return differs(r, &f, c->value[i]);
}

/* The apex never goes. */
static uint32_t any_value(unsigned i) { return i == 0 || rnd(6) ? 1 + (uint32_t)rand() : 0; }

/* New names in a row, as they come in a bulk load. */
static unsigned more(struct store *st, struct model *mo, unsigned zone)
{
	struct content *c = mo->loading + zone;
	unsigned bad = 0, i = rnd(NAMES), n = rnd(200);
	for (; n > 0; n--, i = (i + 1) % NAMES)
		if (!c->value[i])
			bad += set(st, mo, c, zone, i, 1 + (uint32_t)rand(), true);
	return bad;
}

/* In an instance that is being loaded: a deleted name is not new any more, so what
 * was ever there is changed by a look-up. */
static unsigned load(struct store *st, struct model *mo, unsigned zone, bool show)
{
	struct content *c = mo->loading + zone;
	unsigned bad = 0;
	if (!c->inst) {
		*c = (struct content){ .inst = store_new_instance(st) };
		return c->inst == 0;
	}
	bad += more(st, mo, zone);
	if (rnd(4) == 0)
		bad += look(st, c, zone, rnd(NAMES));
	if (rnd(6) == 0)
		bad += set(st, mo, c, zone, rnd(NAMES), 1 + (uint32_t)rand(), false);
	if (!show)
		return bad;
	if (!c->value[0])
		bad += set(st, mo, c, zone, 0, 1, true);
	struct store_zone z = zone_of(zone, c->inst);
	bad += store_zone_put(st, mo->seq, &z) != 0;
	mo->served[zone] = *c;
	*c = (struct content){ 0 };
	return bad;
}

/* A committed sequence may only be filled up, where nobody looks. */
static unsigned group(struct store *st, struct model *mo)
{
	bool next = rnd(3) != 0;
	unsigned bad = 0;
	mo->seq += next;
	for (unsigned n = 1 + rnd(20); n > 0; n--) {
		unsigned z = rnd(ZONES);
		struct content *c = mo->served + z;
		unsigned i = rnd(NAMES);
		if (rnd(10) == 0)
			bad += load(st, mo, z, next && rnd(5) == 0);
		if (next && c->inst)
			bad += set(st, mo, c, z, i, any_value(i), false);
		if (c->inst)
			bad += look(st, c, z, rnd(NAMES));
		if (next && c->inst && rnd(100) == 0) {
			bad += store_zone_drop(st, mo->seq, zone_of(z, 0).name) != 0;
			*c = (struct content){ 0 };
		}
		if (rnd(20) == 0)
			bad += store_tick(st) < 0;
	}
	return bad;
}

static int commit(struct store *st, const struct model *mo)
{
	uint8_t meta[STORE_META] = { 0 };
	return store_commit(st, mo->seq, meta);
}

/* Opened again: all that was committed is in the index, also what nobody sees. */
static struct store *again(const char *path, const struct model *mo, unsigned *bad)
{
	struct store *st = open_any(path);
	*bad += !st || store_seq(st) != mo->seq || served_wrong(store_reader(st), mo);
	for (unsigned z = 0; st && z < ZONES; z++) {
		*bad += content_wrong(store_reader(st), mo->loading + z, z, mo->seq);
		if (mo->loading[z].inst)
			*bad += store_keep_instance(st, mo->loading[z].inst) != 0;
	}
	return st;
}

static unsigned crash(const char *path, const struct model *mo)
{
	static struct model m;
	char to[128], cmd[300];
	unsigned bad = 0;
	m = *mo;
	snprintf(to, sizeof to, "%s", at("crashed"));
	snprintf(cmd, sizeof cmd, "cp --sparse=always %s %s", path, to);
	if (system(cmd) != 0)
		exit(1);
	struct store *st = again(to, &m, &bad);
	for (unsigned i = 0; st && i < 10; i++)
		bad += group(st, &m) + (commit(st, &m) != 0) + served_wrong(store_reader(st), &m);
	bad += st && store_close(st) != 0;
	st = st ? again(to, &m, &bad) : NULL;
	return bad + (!st || store_close(st) != 0);
}

static void fault(void *owner, const char *what)
{
	(void)owner;
	printf("# %s\n", what);
}

static void progress(void *owner, const char *doing, uint64_t done, uint64_t all)
{
	(void)owner, (void)doing, (void)done, (void)all;
}

static int64_t faults(const char *path)
{
	static const struct store_check_calls calls = { .fault = fault, .progress = progress };
	struct store_conf c = { .path = path, .fd = -1, .check = true, .reserve = 4ull << 30 };
	struct store_report r;
	struct store *st = store_open(&c, k, err, sizeof err);
	int64_t n = st ? store_check(st, &calls, NULL, &r) : -1;
	if (st)
		store_close(st);
	return n;
}

static void test_model(unsigned rounds)
{
	static struct model mo, done; /* done: the last commit */
	char path[128];
	unsigned bad = 0, crashed = 0, listed = 0, moved = 0;
	snprintf(path, sizeof path, "%s", at("model"));
	struct store *st = open_any(path);
	for (unsigned round = 0; round < rounds && st; round++) {
		bad += group(st, &mo);
		if (round % 40 == 17)
			crashed += crash(path, &done);
		bad += commit(st, &mo) != 0;
		done = mo;
		listed += st->defer.n > 0;
		if (rnd(6) == 0)
			bad += checkpoint_write(st) != 0;
		if (rnd(6) == 0 && !checkpoint_going(st))
			bad += checkpoint_cut(st) != 0 || st->defer.n;
		if (rnd(2))
			bad += store_tick(st) < 0;
		if (round % 40 == 27)
			crashed += crash(path, &done);
		bad += served_wrong(store_reader(st), &mo);
		if (round % 100 == 99) {
			moved += st->compact.emptied > 0;
			bad += store_close(st) != 0;
			st = again(path, &mo, &bad);
		}
	}
	ok(st && bad == 0, "%u groups: every name as the model says, for the writer and for readers (%u wrong)",
	   rounds, bad);
	ok(crashed == 0, "a crash leaves the last commit, and what was loaded by then (%u wrong)", crashed);
	ok(listed > rounds / 8 && moved > 0, "slots were waiting after %u commits, and extents were emptied", listed);
	if (st)
		store_close(st);
}

/* ---- a large load ---- */

#define MANY 400000u

static unsigned put_many(struct store *st, uint64_t seq, const struct store_zone *z, unsigned from, unsigned to)
{
	uint8_t o[NAME_MAX_LEN], b[4];
	unsigned bad = 0;
	for (unsigned i = from; i < to; i++) {
		owner(z->inst - 1, i, o);
		put_u32(b, i);
		bad += store_put(st, seq, FRAG_NAME, z, o, NODE_CUT, 1, b, sizeof b, true) != 0;
	}
	return bad;
}

static unsigned many_wrong(struct store *st, const struct store_zone *z)
{
	uint8_t o[NAME_MAX_LEN];
	struct frag f;
	unsigned bad = 0;
	for (unsigned i = 0; i < MANY; i++) {
		owner(z->inst - 1, i, o);
		scratch.used = 0;
		enum store_found r = store_get(store_reader(st), FRAG_NAME, z->inst, o, store_seq(st), &scratch, &f);
		bad += r != STORE_FOUND || f.len != 4 || get_u32(f.body) != i;
	}
	return bad;
}

static void test_many(void)
{
	uint8_t meta[STORE_META] = { 0 };
	struct store *st = open_at(at("many"), 2);
	struct store_zone z = zone_of(0, st ? store_new_instance(st) : 0);
	unsigned bad = !st, full = 0;
	size_t before = 0, longest = 0;
	for (unsigned i = 0; st && i < MANY; i += 4000) {
		bad += put_many(st, 1, &z, i, i + 4000) + (store_commit(st, 1, meta) != 0);
		full += st->defer.n < before;
		before = st->defer.n;
		longest = before > longest ? before : longest;
	}
	if (!st)
		return;
	ok(bad == 0 && full > 10 && longest > 60000, "%u names: a list of %zu slots at most was full %u times",
	   MANY, longest, full);
	bad = store_zone_put(st, 2, &z) != 0 || st->defer.n == 0 || store_commit(st, 2, meta) != 0;
	ok(bad == 0 && !st->defer.at && many_wrong(st, &z) == 0,
	   "the commit that shows the zone shows all of them, and gives the memory back");
	double fill = (double)segment_count(st) * BLOCK / MANY;
	ok(fill < 13, "and the index is as small as ever: %.2f octets a name", fill);
	ok(store_close(st) == 0 && faults(at("many")) == 0, "the file is sound");
}

/* ---- who has the list put in, and who does not ---- */

static void test_who(void)
{
	uint8_t meta[STORE_META] = { 0 }, o[NAME_MAX_LEN];
	struct store *st = open_at(at("who"), 8);
	struct frag f;
	struct store_zone z = zone_of(0, st ? store_new_instance(st) : 0), other = zone_of(1, z.inst + 1), got;
	bool good = st && store_new_instance(st) == other.inst && store_zone_put(st, 1, &other) == 0;
	good = good && put_many(st, 1, &other, 0, 10) == 0 && store_commit(st, 1, meta) == 0;
	ok(good && st->defer.n == 0, "in a zone that is served no slot waits");
	good = good && put_many(st, 1, &z, 0, 100) == 0 && store_commit(st, 1, meta) == 0;
	ok(good && st->defer.n == 100, "in one that is being loaded they do, beyond a commit");
	owner(other.inst - 1, 1, o);
	scratch.used = 0;
	good = good && store_note(st, 1, 1, o, 4) == 0 && store_note_get(st, 1, &scratch, &f) == STORE_FOUND &&
	       store_zone_get(st, other.name, &got) == STORE_FOUND && store_zone_next(st, NULL, &got) == STORE_FOUND &&
	       store_newest(st, FRAG_NAME, other.inst, o, &scratch, &f) == STORE_FOUND &&
	       store_zone_put(st, 2, &other) == 0 && store_commit(st, 2, meta) == 0 && store_tick(st) >= 0;
	ok(good && st->defer.n == 100, "notes, the catalog and other zones' names don't disturb them");
	owner(z.inst - 1, 1, o);
	good = good && store_newest(st, FRAG_NAME, z.inst, o, &scratch, &f) == STORE_FOUND;
	ok(good && !st->defer.at, "a look-up of one of them sets all");
	good = good && put_many(st, 2, &z, 100, 200) == 0 && store_commit(st, 2, meta) == 0 && st->defer.n == 100;
	if (good)
		st->defer.grown_ns -= 60000000000u;
	ok(good && store_tick(st) >= 0 && !st->defer.at, "a load that stands still keeps no memory");
	good = good && put_many(st, 2, &z, 200, 300) == 0 && st->defer.n == 0 && store_zone_put(st, 3, &z) == 0 &&
	       put_many(st, 3, &z, 300, 400) == 0 && store_commit(st, 3, meta) == 0;
	ok(good && !st->defer.at, "what came before the zone was shown, and after it, is set by that commit");
	good = good && put_many(st, 4, &z, 400, 500) == 0 && store_commit(st, 4, meta) == 0;
	ok(good && !st->defer.at, "and from then on nothing waits");
	if (st)
		ok(store_close(st) == 0 && faults(at("who")) == 0, "the file is sound");
}

/* Nothing of it is left after some ticks, and the file is sound. */
static bool is_swept(struct store *st, const char *path)
{
	struct store_stats s;
	bool good = st != NULL;
	for (unsigned i = 0; good && i < 1000; i++)
		good = store_tick(st) >= 0;
	if (good)
		store_stats_get(st, &s);
	return good && s.names == 0 && store_close(st) == 0 && faults(path) == 0;
}

/* A load that comes to nothing. */
static void test_forgotten(void)
{
	uint8_t meta[STORE_META] = { 0 };
	char cmd[300];
	struct store *st = open_at(at("forgotten"), 8);
	struct store_zone z = zone_of(0, st ? store_new_instance(st) : 0);
	bool good = st && put_many(st, 1, &z, 0, 2000) == 0 && store_commit(st, 1, meta) == 0 && st->defer.n == 2000;
	good = good && store_forget_instance(st, z.inst) == 0 && store_commit(st, 1, meta) == 0;
	ok(good && !st->defer.at, "the slots of an instance that is forgotten are set");
	good = good && store_checkpoint(st) == 0;
	snprintf(cmd, sizeof cmd, "cp %s %s", at("forgotten"), at("killed"));
	ok(good && system(cmd) == 0 && is_swept(st, at("forgotten")), "and swept, all of them");
	ok(is_swept(open_at(at("killed"), 8), at("killed")), "the same after a crash behind the next checkpoint");
}

/* A name that is changed when what it waits in is handed over. */
static void test_again(void)
{
	static uint8_t b[60000], o[NAME_MAX_LEN];
	uint8_t meta[STORE_META] = { 0 };
	struct store *st = open_at(at("again"), 8);
	struct store_zone z = zone_of(0, st ? store_new_instance(st) : 0);
	struct frag f;
	bool good = st != NULL;
	unsigned i = 0;
	for (; good && st->fill.len < LOG_FLUSH; i++) {
		owner(0, i, o);
		crypto_random(b, sizeof b);
		good = store_put(st, 1, FRAG_NAME, &z, o, NODE_CUT, 1, b, sizeof b, true) == 0;
	}
	b[0] ^= 1;
	good = good && store_put(st, 1, FRAG_NAME, &z, o, NODE_CUT, 1, b, sizeof b, false) == 0 && st->fill.len < LOG_FLUSH &&
	       store_commit(st, 1, meta) == 0;
	ok(good, "a new name is changed when its slot has just come to the list");
	scratch.used = 0;
	ok(good && store_newest(st, FRAG_NAME, z.inst, o, &scratch, &f) == STORE_FOUND && f.len == sizeof b && memcmp(f.body, b, sizeof b) == 0,
	   "and is what it became");
	/* a tick that had to wait for the helper took the time before */
	good = good && put_many(st, 1, &z, 1000, 1100) == 0 && store_commit(st, 1, meta) == 0 && st->defer.n == 100;
	if (good)
		st->defer.grown_ns = compact_clock() + 60000000000u;
	ok(good && store_tick(st) >= 0 && st->defer.n == 100, "a list that has just grown is no load that stands still");
	if (st)
		ok(store_close(st) == 0 && faults(at("again")) == 0, "the file is sound");
}

int main(int argc, char **argv)
{
	bool lots = getenv("LONG") || (argc > 1 && strcmp(argv[1], "--long") == 0);
	snprintf(dir, sizeof dir, "/tmp/test_defer-XXXXXX");
	if (!mkdtemp(dir) || crypto_init() < 0 || scratch_new(&scratch, 1u << 20) != 0)
		return 1;
	k = key_random();
	test_who();
	test_forgotten();
	test_again();
	test_model(lots ? 6000 : 600);
	test_many();
	static const char *const files[] = { "model", "crashed", "many", "who", "forgotten", "killed", "again" };
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
		unlink(at(files[i]));
	rmdir(dir);
	key_free(k);
	scratch_free(&scratch);
	return tap_done();
}
