/* test_fault.c - the store on a disk that fails (tests/faultdisk.h), against a
 * model: what was acknowledged is there, what was begun is there whole or not
 * at all, and no key and nonce seals two texts.
 *
 * A *scenario* is a row of lives of the writer on one disk, told by a seed; a
 * life ends cleanly, by SIGKILL, by power loss or by an I/O error.  "every"
 * lets one life end at each of its effects in turn, in each way; "walk" is
 * random throughout.
 *
 * test_fault [--long]          thousands of lives; --long or LONG=1: many more
 * test_fault --replay KIND SEED AT HOW     one scenario, as a failure names it */
#include "store/writer.h"
#include "tests/faultdisk.h"
#include "tests/tap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMES 96u
#define ZONES 5u
#define LONGEST 50000u

static const char *const zone_names[ZONES] = { ".", "org.", "a.org.", "x.y.a.org.", "com." };

/* What a commit stands for. */
struct model {
	uint64_t seq;
	uint32_t inst;           /* the highest instance given out */
	uint32_t value[NAMES];   /* 0: absent */
	uint32_t zone[ZONES];    /* serial; 0: no such zone */
};

/* How a life ends: after the effect `at` (0: it ends by itself). */
enum { END_KILL = (int)LOSS_MODES, END_EIO, END_ENOSPC, END_FULL, ENDINGS };

struct world {
	struct rng rng;
	struct disk *d;
	struct key *k;
	struct store_zone load;    /* an instance that is being loaded, in this life; its `expire` counts its names */
	struct model acked, begun; /* begun.seq == acked.seq: nothing between */
	char wrong[300];           /* the first thing that was */
	uint64_t lives;
};

static struct scratch scratch;
static const struct store_zone zone = { .inst = 1u << 30 /* none that the store gives out, and sweeps when no zone has it */, .labels = 1 };
static char err[256];
static struct disk *the_disk;

static bool wrong(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct world *w, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (!w->wrong[0])
		vsnprintf(w->wrong, sizeof w->wrong, fmt, ap);
	va_end(ap);
	return false;
}

/* ---- names and bodies ---- */

static void owner(uint32_t i, uint8_t out[static NAME_MAX_LEN])
{
	char text[64];
	snprintf(text, sizeof text, "n%u.%sexample.", i, i % 3 ? "" : "sub.");
	name_parse(text, strlen(text), NULL, out);
}

static uint32_t body_len(uint32_t value)
{
	return value % 16 == 0 ? 4 + value / 16 % LONGEST : 4 + value / 16 % 300;
}

static uint32_t body(uint32_t value, uint8_t *out)
{
	struct rng r = { value };
	uint32_t n = body_len(value);
	put_u32(out, value);
	for (uint32_t i = 4; i < n; i++)
		out[i] = i % 64 == 4 ? (uint8_t)rng_next(&r) : out[i - 1];
	return n;
}

/* 0 absent, else the value; UINT32_MAX damaged or nonsense. */
static uint32_t value_at(const struct store_map *m, uint32_t i, uint64_t seq)
{
	static uint8_t b[LONGEST + 400];
	uint8_t o[NAME_MAX_LEN];
	struct frag f;
	owner(i, o);
	scratch.used = 0;
	enum store_found r = store_get(m, FRAG_NAME, zone.inst, o, seq, &scratch, &f);
	if (r == STORE_ABSENT)
		return 0;
	if (r != STORE_FOUND || f.len < 4)
		return UINT32_MAX;
	uint32_t v = get_u32(f.body);
	return v && f.len == body(v, b) && memcmp(b, f.body, f.len) == 0 ? v : UINT32_MAX;
}

/* ---- is it what the model says? ---- */

static bool chain_is(struct world *w, const struct store_map *m, const struct model *mo)
{
	uint8_t key[TREE_KEY_MAX], next[TREE_KEY_MAX], o[NAME_MAX_LEN];
	size_t n = 0, nn;
	uint32_t count = 0, want = 0;
	enum store_found r = tree_after(m, zone.inst, CHAIN_NSEC, mo->seq, NULL, 0, &scratch, key, &n);
	for (; r == STORE_FOUND && count <= NAMES; count++) {
		r = tree_after(m, zone.inst, CHAIN_NSEC, mo->seq, key, n, &scratch, next, &nn);
		if (r == STORE_FOUND)
			memcpy(key, next, n = nn);
	}
	for (uint32_t i = 0; i < NAMES; i++) {
		uint8_t k[NAME_KEY_MAX];
		bool exact = false;
		owner(i, o);
		size_t kn = zone_key(o, zone.labels, k);
		enum store_found f = tree_find(m, zone.inst, CHAIN_NSEC, mo->seq, k, kn, &scratch, key, &n, &exact);
		if (f == STORE_DAMAGED || exact != (mo->value[i] != 0))
			return wrong(w, "name %u in the chain: found %d, exact %d", i, f, exact);
		want += mo->value[i] != 0;
	}
	return (r == STORE_ABSENT && count == want) || wrong(w, "the chain has %u names, not %u", count, want);
}

/* What is loaded into an instance, all of it new: a link of no chain, by its kind. */
static uint32_t load_body(uint32_t inst, uint32_t i, uint8_t *out) { return body((inst << 20 | i << 4) + 1, out); }

static int load(struct world *w, struct store *st, uint64_t seq, uint32_t n)
{
	uint8_t o[NAME_MAX_LEN], b[400];
	for (; n > 0; n--) {
		owner(w->load.expire, o);
		uint32_t len = load_body(w->load.inst, w->load.expire++, b);
		if (store_put(st, seq, FRAG_NSEC3, &w->load, o, 0, 0, b, len, true) != 0)
			return -1;
	}
	return 0;
}

/* A zone shows all that was loaded for it, and no more. */
static bool load_is(struct world *w, const struct store_map *m, const struct store_zone *z, uint64_t seq)
{
	uint8_t o[NAME_MAX_LEN], b[400];
	struct frag f;
	for (uint32_t i = 0; i <= z->expire; i++) {
		owner(i, o);
		scratch.used = 0;
		enum store_found r = store_get(m, FRAG_NSEC3, z->inst, o, seq, &scratch, &f);
		if (i == z->expire ? r != STORE_ABSENT
		                   : r != STORE_FOUND || f.len != load_body(z->inst, i, b) || memcmp(b, f.body, f.len) != 0)
			return wrong(w, "name %u of %u that were loaded: found %d", i, z->expire, r);
	}
	return true;
}

static bool zones_are(struct world *w, const struct store_map *m, const struct model *mo)
{
	struct store_view v;
	store_view_take(m, &v);
	v.visible = mo->seq;
	for (uint32_t i = 0; i < ZONES; i++) {
		uint8_t n[NAME_MAX_LEN];
		struct store_zone z;
		name_parse(zone_names[i], strlen(zone_names[i]), NULL, n);
		scratch.used = 0;
		enum store_found r = store_zone_find(m, &v, n, name_labels(n), false, &scratch, &z);
		bool have = r == STORE_FOUND && z.labels == name_labels(n);
		if (r == STORE_DAMAGED || have != (mo->zone[i] != 0) || (have && z.serial != mo->zone[i]))
			return wrong(w, "zone %s: found %d, serial %u for %u", zone_names[i], r, have ? z.serial : 0, mo->zone[i]);
		if (have && !load_is(w, m, &z, mo->seq))
			return false;
	}
	return true;
}

static bool values_are(struct world *w, const struct store_map *m, const struct model *mo, const char *when)
{
	for (uint32_t i = 0; i < NAMES; i++) {
		uint32_t v = value_at(m, i, mo->seq);
		if (v != mo->value[i])
			return wrong(w, "%s, sequence %llu: name %u is %x for %x", when, (unsigned long long)mo->seq, i, v,
			             mo->value[i]);
	}
	return true;
}

static bool check(struct world *w, struct store *st, const struct model *mo, const char *when)
{
	uint32_t names = 0;
	struct store_stats s;
	for (uint32_t i = 0; i < NAMES; i++)
		names += mo->value[i] != 0;
	store_stats_get(st, &s);
	const struct store_map *m = store_reader(st);
	if (!values_are(w, m, mo, when) || !zones_are(w, m, mo) || !chain_is(w, m, mo))
		return false;
	if (s.names != names)
		return wrong(w, "%s: %llu names counted, not %u", when, (unsigned long long)s.names, names);
	return true;
}

/* ---- one life ---- */

static struct store *open_it(struct world *w)
{
	struct store_conf c = { .path = "faultdisk", .fd = disk_fd(w->d), .reserve = 64u << 20 };
	err[0] = 0;
	struct store *st = store_open(&c, w->k, err, sizeof err);
	if (st) { /* a list of 16 slots, so that it is full now and then */
		st->tune.late_least = 0;
		st->tune.late_part = 1024;
	}
	w->load = (struct store_zone){ 0 };
	return st;
}

/* Some slices of the checkpoint that is under way, at any time. */
static int slices(struct world *w, struct store *st, unsigned most)
{
	int r = 0;
	for (unsigned n = rng_below(&w->rng, most + 1); n > 0 && r == 0 && checkpoint_going(st); n--)
		r = checkpoint_step(st);
	return r;
}

/* Some transactions that end in one commit. Returns what the store said. */
static int group(struct world *w, struct store *st, struct model *mo)
{
	static uint8_t b[LONGEST + 400];
	uint32_t transactions = 1 + rng_below(&w->rng, 3);
	for (; transactions > 0; transactions--) {
		mo->seq++;
		for (uint32_t n = rng_below(&w->rng, rng_below(&w->rng, 8) ? 12 : 60); n > 0; n--) {
			uint32_t i = rng_below(&w->rng, NAMES), v = rng_below(&w->rng, 4) ? (uint32_t)rng_next(&w->rng) | 1u << 31 : 0;
			uint8_t o[NAME_MAX_LEN];
			if (v == UINT32_MAX)
				v--;
			if (rng_below(&w->rng, 16) == 0 && slices(w, st, 1) != 0)
				return -1;
			owner(i, o);
			if (!v ? store_delete(st, mo->seq, FRAG_NAME, &zone, o)
			       : store_put(st, mo->seq, FRAG_NAME, &zone, o, NODE_NSEC, 0, b, body(v, b), false))
				return -1;
			mo->value[i] = v;
		}
		if (!w->load.inst) {
			w->load.inst = store_new_instance(st);
			if (w->load.inst <= mo->inst && !disk_dead(w->d))
				wrong(w, "instance %u is given twice", w->load.inst);
			mo->inst = w->load.inst;
		}
		if (load(w, st, mo->seq, rng_below(&w->rng, 12)) != 0)
			return -1;
		if (rng_below(&w->rng, 4) == 0) {
			uint32_t i = rng_below(&w->rng, ZONES);
			struct store_zone z = w->load;
			z.state = ZONE_SERVING;
			name_parse(zone_names[i], strlen(zone_names[i]), NULL, z.name);
			z.labels = (uint8_t)name_labels(z.name);
			z.serial = mo->zone[i] && rng_below(&w->rng, 2) ? 0 : 1 + rng_below(&w->rng, 1000000);
			if (z.serial)
				w->load = (struct store_zone){ 0 };
			if (z.serial ? store_zone_put(st, mo->seq, &z) : store_zone_drop(st, mo->seq, z.name))
				return -1;
			mo->zone[i] = z.serial;
		}
	}
	uint8_t meta[STORE_META] = { 0 };
	put_u64(meta, mo->seq);
	w->begun = *mo;
	return store_commit(st, mo->seq, meta);
}

/* Opened: at what was acknowledged, or what was begun, and from here on that. */
static bool arrive(struct world *w, struct store *st)
{
	uint64_t seq = store_seq(st);
	if (seq == w->begun.seq)
		w->acked = w->begun;
	w->begun = w->acked;
	if (seq != w->acked.seq || (seq && get_u64(store_meta(st)) != seq))
		return wrong(w, "opened at sequence %llu, acknowledged was %llu, begun %llu", (unsigned long long)seq,
		             (unsigned long long)w->acked.seq, (unsigned long long)w->begun.seq);
	return check(w, st, &w->acked, "opened");
}

/* A store that said no stays at its last commit and takes nothing more. */
static void refuses(struct world *w, struct store *st)
{
	struct model mo = w->acked;
	if (!store_failed(st)) {
		wrong(w, "a change was refused (%s) and the store goes on", strerror(errno));
		return;
	}
	values_are(w, store_reader(st), &mo, "after the failure");
	disk_plan(w->d, (struct plan){ 0 });
	struct model keep = w->begun;
	if (group(w, st, &mo) == 0)
		wrong(w, "a failed store takes a commit");
	w->begun = keep;
	if (store_tick(st) >= 0)
		wrong(w, "a failed store does its housekeeping");
}

static void groups(struct world *w, struct store *st, unsigned n)
{
	struct model pinned = { 0 };
	int pin = -1;
	for (; n > 0 && !w->wrong[0]; n--) {
		struct model mo = w->acked;
		int r = group(w, st, &mo);
		if (r == 0 && !disk_dead(w->d))
			w->acked = mo;
		if (r == 0 && rng_below(&w->rng, 8) == 0)
			r = checkpoint_write(st);
		if (r == 0 && rng_below(&w->rng, 3) == 0 && !checkpoint_going(st))
			checkpoint_cut(st); /* refused for want of room it does no harm */
		if (r == 0)
			r = slices(w, st, 4);
		if (disk_dead(w->d))
			return;
		if (r != 0 && disk_failed(w->d) < 0)
			wrong(w, "a change was refused without a cause: %s", strerror(errno));
		if (r != 0)
			refuses(w, st);
		if (r != 0)
			return;
		if (disk_failed(w->d) == OP_SYNC)
			wrong(w, "a sync failed and nobody was told");
		if (pin >= 0 && rng_below(&w->rng, 3) == 0) {
			values_are(w, store_reader(st), &pinned, "pinned");
			store_unpin(st, pin);
			pin = -1;
		} else if (pin < 0 && rng_below(&w->rng, 3) == 0) {
			pinned = w->acked;
			pin = store_pin(st, pinned.seq);
		}
		if (rng_below(&w->rng, 4) == 0)
			check(w, st, &w->acked, "committed");
		if (store_tick(st) < 0 && disk_failed(w->d) < 0 && !disk_dead(w->d))
			wrong(w, "housekeeping fails without a cause: %s", strerror(errno));
	}
	if (pin >= 0)
		values_are(w, store_reader(st), &pinned, "pinned");
}

static void end_life(struct world *w, unsigned how)
{
	if (how < END_KILL)
		disk_power_loss(w->d, (enum loss)how);
	else
		disk_killed(w->d);
}

/* at 0: nothing goes wrong. Returns the number of effects it had. */
static uint64_t life(struct world *w, unsigned ngroups, uint64_t at, unsigned how)
{
	static const int errors[] = { [END_EIO] = EIO, [END_ENOSPC] = ENOSPC, [END_FULL] = ENOSPC };
	struct plan p = { .what = at == 0 ? PLAN_NONE : how > END_KILL ? PLAN_ERROR : PLAN_DIE, .at = at };
	if (how > END_KILL)
		p.error = errors[how];
	p.lasting = how == END_FULL;
	disk_plan(w->d, p);
	w->lives++;
	struct store *st = open_it(w);
	if (!st && !disk_dead(w->d) && disk_failed(w->d) < 0)
		wrong(w, "refused: %s", err);
	if (st && !disk_dead(w->d) && disk_failed(w->d) == OP_SYNC)
		wrong(w, "a sync failed and the store opened");
	if (st && !disk_dead(w->d) && arrive(w, st))
		groups(w, st, ngroups);
	if (st)
		store_close(st);
	uint64_t ops = disk_ops(w->d);
	if (seals_reused())
		wrong(w, "a nonce was used twice");
	/* an error's aftermath: the process ends, and perhaps the power goes, too */
	end_life(w, how <= END_KILL ? how : rng_below(&w->rng, 2) ? (unsigned)END_KILL : rng_below(&w->rng, LOSS_MODES));
	return ops;
}

static void world_begin(struct world *w, uint64_t seed, uint64_t salt)
{
	uint8_t k[32] = "a key for the test";
	memset(w, 0, sizeof *w);
	w->rng.s = seed;
	put_u64(k + 24, seed);
	w->k = key_from(k);
	w->d = the_disk;
	disk_use(w->d);
	disk_clear(w->d, seed + salt);
	fault_seed((seed << 20) + salt);
	seals_clear();
}

/* ---- scenarios ---- */

/* The life that is cut off is the first (making the store), or the second
 * (recovery), by the seed. Returns its effects. */
static uint64_t every(struct world *w, uint64_t seed, uint64_t at, unsigned how)
{
	world_begin(w, seed, at * ENDINGS + (uint64_t)how + 1);
	if (seed % 2) {
		uint64_t cut = 12 + rng_below(&w->rng, 60);
		life(w, 6, cut, rng_below(&w->rng, END_KILL + 1));
	}
	uint64_t ops = life(w, 5, at, how);
	/* what was found is acknowledged by that: it survives a power loss */
	if (!w->wrong[0])
		life(w, rng_below(&w->rng, 2), 0, how % 2 ? (unsigned)LOSS_ALL : (unsigned)END_KILL);
	if (!w->wrong[0])
		life(w, 1, 0, END_KILL);
	key_free(w->k);
	return ops;
}

static void walk(struct world *w, uint64_t seed)
{
	world_begin(w, seed, 0);
	for (unsigned i = 0; i < 7 && !w->wrong[0]; i++) {
		uint64_t at = rng_below(&w->rng, 5) ? 1 + rng_below(&w->rng, rng_below(&w->rng, 2) ? 12 : 120) : 0;
		life(w, 1 + rng_below(&w->rng, 8), at, rng_below(&w->rng, ENDINGS));
	}
	if (!w->wrong[0])
		life(w, 1, 0, LOSS_ALL);
	if (!w->wrong[0])
		life(w, 0, 0, END_KILL);
	key_free(w->k);
}

static bool tell(const struct world *w, const char *kind, uint64_t seed, uint64_t at, unsigned how)
{
	if (w->wrong[0])
		printf("# %s\n# again: build/tests/test_fault --replay %s %llu %llu %u\n", w->wrong, kind,
		       (unsigned long long)seed, (unsigned long long)at, how);
	fflush(stdout);
	return w->wrong[0];
}

struct result { uint64_t lives, failed, seals; };

static void every_of(uint64_t seed, struct result *r)
{
	static struct world w;
	uint64_t ops = every(&w, seed, 0, END_KILL);
	for (uint64_t at = 1; at <= ops && r->failed < 5; at++)
		for (unsigned how = 0; how < ENDINGS; how++) {
			uint64_t had = seals_count();
			every(&w, seed, at, how);
			r->lives += w.lives;
			r->seals += seals_count() > had ? seals_count() - had : 0;
			r->failed += tell(&w, "every", seed, at, how);
		}
}

static void walk_of(uint64_t seed, struct result *r)
{
	static struct world w;
	uint64_t had = seals_count();
	walk(&w, seed);
	r->lives += w.lives;
	r->seals += seals_count() > had ? seals_count() - had : 0;
	r->failed += tell(&w, "walk", seed, 0, 0);
}

static void start(void)
{
	if (crypto_init() != 0 || scratch_new(&scratch, 1u << 20) != 0)
		abort();
	the_disk = disk_new();
}

/* Seeds first.. first + n - 1 of a kind, by two processes in turn. */
static void both(const char *text, void (*one)(uint64_t, struct result *), uint64_t first, unsigned n)
{
	struct result *r = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid[2];
	bool good = true;
	if (r == MAP_FAILED)
		abort();
	fflush(stdout);
	for (unsigned p = 0; p < 2; p++) {
		pid[p] = fork();
		if (pid[p] == 0) {
			start();
			for (uint64_t s = first + p; s < first + n && r[p].failed < 5; s += 2)
				one(s, r + p);
			_exit(0);
		}
	}
	for (unsigned p = 0; p < 2; p++) {
		int status;
		good = pid[p] > 0 && waitpid(pid[p], &status, 0) == pid[p] && status == 0 && good;
	}
	ok(good && r[0].failed + r[1].failed == 0 && r[0].lives + r[1].lives >= n, "%s: %llu lives, %llu seals, %llu wrong%s", text,
	   (unsigned long long)(r[0].lives + r[1].lives), (unsigned long long)(r[0].seals + r[1].seals),
	   (unsigned long long)(r[0].failed + r[1].failed), good ? "" : ", and a process died");
	munmap(r, 4096);
}

/* ---- does the harness see anything? ---- */

static void test_liar(void)
{
	static struct world w;
	unsigned seen = 0;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		world_begin(&w, seed, 1u << 19);
		life(&w, 1, 0, END_KILL);
		disk_lies(w.d, true);
		life(&w, 3, 0, LOSS_SECTORS);
		disk_lies(w.d, false);
		if (!w.wrong[0])
			life(&w, 1, 0, END_KILL);
		seen += w.wrong[0] != 0;
		key_free(w.k);
	}
	ok(seen >= 15, "a disk that lies about syncs is found out (%u of 20)", seen);
}

static int replay(char **v)
{
	static struct world w;
	uint64_t seed = strtoull(v[1], NULL, 10), at = strtoull(v[2], NULL, 10);
	start();
	if (v[0][0] == 'w')
		walk(&w, seed);
	else
		every(&w, seed, at, (unsigned)strtoul(v[3], NULL, 10));
	printf("# %s\n", w.wrong[0] ? w.wrong : "nothing is wrong");
	return w.wrong[0] != 0;
}

int main(int argc, char **argv)
{
	bool lots = getenv("LONG") || (argc > 1 && strcmp(argv[1], "--long") == 0);
	if (argc == 6 && strcmp(argv[1], "--replay") == 0)
		return replay(argv + 2);
	both("cut off at each effect, in each way", every_of, 1, lots ? 40 : 2);
	both("random lives", walk_of, lots ? (uint64_t)time(NULL) << 20 : 1, lots ? 20000 : 140);
	start();
	test_liar();
	scratch_free(&scratch);
	return tap_done();
}
