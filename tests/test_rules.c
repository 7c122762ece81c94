/* test_rules.c - the store's rules that no answer shows until it is too late:
 * what a reader may be looking at stays put, nothing useless is linked, the checkpoint
 * before the last stays whole, and one under way is of one moment. */
#include "store/writer.h"
#include "tests/tap.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAMES 70000u

static struct key *k;
static char err[256];
static struct scratch scratch;
static const struct store_zone zone = { .inst = 5, .labels = 1 };
static uint64_t seq;
static const uint8_t meta[STORE_META];

static void owner(uint32_t i, uint8_t out[static NAME_MAX_LEN])
{
	char text[64];
	snprintf(text, sizeof text, "u%u.example.", i);
	name_parse(text, strlen(text), NULL, out);
}

static int set(struct store *st, uint32_t i, uint32_t value)
{
	uint8_t o[NAME_MAX_LEN], b[4];
	owner(i, o);
	put_u32(b, value);
	return store_put(st, seq, FRAG_NAME, &zone, o, 0, 0, b, sizeof b, false);
}

static uint32_t get(const struct store_map *m, uint32_t i, uint64_t at)
{
	uint8_t o[NAME_MAX_LEN];
	struct frag f;
	owner(i, o);
	scratch.used = 0;
	enum store_found r = store_get(m, FRAG_NAME, zone.inst, o, at, &scratch, &f);
	return r == STORE_FOUND && f.len == 4 ? get_u32(f.body) : r == STORE_ABSENT ? 0 : UINT32_MAX;
}

static int range(struct store *st, uint32_t from, uint32_t to, uint32_t step, uint32_t value)
{
	int r = 0;
	seq++;
	for (uint32_t i = from; i < to; i += step)
		r |= set(st, i, value);
	return r | store_commit(st, seq, meta);
}

static struct store *open_fd(int fd, const struct store_beat *const *beats, unsigned n)
{
	struct store_conf c = { .fd = fd, .path = "rules", .reserve = 1u << 30, .beats = beats, .nbeats = n };
	return store_open(&c, k, err, sizeof err);
}

/* ---- slots and epochs ---- */

#define SEGS 64u
static struct { uint32_t block; bool clean; uint64_t word[BLOCK / 8]; } was[SEGS];
static unsigned nwas;

static const uint64_t *segment(const struct store *st, uint32_t block)
{
	return (const uint64_t *)(const void *)(st->map.base + (uint64_t)block * BLOCK);
}

/* What a reader that has just announced may come to. */
static void remember(const struct store *st)
{
	nwas = 0;
	for (uint32_t i = 0; i < DIR_SIZE && nwas < SEGS; nwas++) {
		uint32_t b = atomic_load(&st->root->dir[i]);
		was[nwas].block = b;
		was[nwas].clean = !segment_fresh(st, b);
		memcpy(was[nwas].word, segment(st, b), BLOCK);
		i += 1u << (DIR_BITS - st->seg[b].depth);
	}
}

/* A name that gave its place in bucket b to another: it lies in its other bucket,
 * and b is full, so that who misses it in b goes on there. */
static bool moved_on(const uint64_t *now, uint32_t b, uint64_t v)
{
	bool there = false, full = true;
	if (slot_displaced(v))
		return false;
	const uint64_t *to = now + (size_t)other_bucket(slot_tag(v), b) * SLOTS;
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t x = slot_swap(to[i]);
		there |= slot_displaced(x) && slot_tag(x) == slot_tag(v);
		full &= now[(size_t)b * SLOTS + i] != 0;
	}
	return there && full;
}

/* empty -> value, or value -> value of the same name. */
static bool slot_may(uint64_t a, uint64_t b)
{
	uint64_t name = (2ull << TAG_BITS) - 1; /* tag and displaced */
	return a == b || a == 0 || (b != 0 && (a & name) == (b & name));
}

static unsigned breaches(const struct store *st)
{
	unsigned bad = 0;
	for (unsigned s = 0; s < nwas; s++) {
		const uint64_t *now = segment(st, was[s].block), *then = was[s].word;
		bad += info_use(atomic_load(root_info(st->root) + was[s].block)) != USE_SEGMENT;
		if (was[s].clean) {
			bad += memcmp(now, then, BLOCK) != 0;
			continue;
		}
		for (uint32_t i = 0; i < BUCKETS * SLOTS; i++)
			bad += !slot_may(slot_swap(then[i]), slot_swap(now[i])) &&
			       !moved_on(now, i / SLOTS, slot_swap(then[i]));
		for (uint32_t i = BUCKETS * SLOTS; i < BLOCK / 8; i += 2)
			bad += !slot_may(slot_swap(then[i]), slot_swap(now[i])) || (then[i] && then[i + 1] != now[i + 1]);
	}
	return bad;
}

static unsigned still_used(const struct store *st)
{
	unsigned n = 0;
	for (unsigned s = 0; s < nwas; s++)
		n += info_use(atomic_load(root_info(st->root) + was[s].block)) == USE_SEGMENT;
	return n;
}

static void test_slots(void)
{
	struct store_beat beat = { 0 };
	const struct store_beat *beats[] = { &beat };
	int fd = memfd_create("slots", 0);
	struct store *st = open_fd(fd, beats, 1);
	unsigned bad = 0, fails = 0, splits = 0, clean = 0;
	uint32_t done = 0;
	if (!ok(st != NULL, "a store opens %s", err))
		return;
	for (unsigned round = 0; done < NAMES; round++) {
		atomic_store(&beat.epoch, atomic_load(&st->root->epoch)); /* a reader comes and stays */
		remember(st);
		uint32_t had = segment_count(st);
		for (unsigned i = 0; i < 6; i++) {
			fails += range(st, done, done + 1200, 1, done + 1) != 0;       /* new names: splits, overflows */
			fails += range(st, 0, done, 7 + round % 5, done + i + 2) != 0; /* old names */
			done += 1200;
			if ((round + i) % 4 == 0)
				fails += round % 2 ? checkpoint_write(st) != 0 : !checkpoint_going(st) && checkpoint_cut(st) != 0;
			fails += checkpoint_going(st) && checkpoint_step(st) != 0;
			bad += breaches(st);
		}
		for (unsigned s = 0; s < nwas; s++)
			clean += was[s].clean;
		splits += segment_count(st) - had;
		atomic_store(&beat.epoch, 0);
	}
	ok(bad == 0 && fails == 0 && splits > 1 && clean > 3,
	   "what a reader may look at changes only as the rule of slots has it, %u splits (%u breaches)", splits, bad);
	atomic_store(&beat.epoch, atomic_load(&st->root->epoch));
	remember(st);
	for (unsigned i = 0; i < 4; i++)
		fails += range(st, 0, done, 50, i + 9) != 0 || checkpoint_write(st) != 0 || store_tick(st) < 0;
	unsigned before = still_used(st);
	atomic_store(&beat.epoch, 0);
	fails += store_tick(st) < 0;
	ok(fails == 0 && before == nwas && still_used(st) < nwas, "no block goes free under a reader; %u of %u do after it",
	   nwas - still_used(st), nwas);
	store_close(st);
	close(fd);
}

/* ---- chains ---- */

static unsigned versions(struct store *st, uint32_t i)
{
	uint8_t o[NAME_MAX_LEN];
	struct probe p;
	struct raw r;
	unsigned n = 1;
	owner(i, o);
	scratch.used = 0;
	probe_init(&st->map, &p, FRAG_NAME, zone.inst, o, name_len(o), UINT64_MAX);
	if (frag_find(&st->map, st->root, &p, &scratch, &r) != STORE_FOUND)
		return UINT32_MAX;
	for (; r.older; n++) {
		scratch.used = 0;
		if (frag_open(&st->map, st->root, r.older, &scratch, &r) != STORE_FOUND)
			return UINT32_MAX;
	}
	return n;
}

/* Versions that no view can ask for are left out: all of a group but the last. */
static void test_chain(void)
{
	int fd = memfd_create("chain", 0);
	struct store *st = open_fd(fd, NULL, 0);
	unsigned bad = 0, most = 0;
	uint32_t v = 0;
	bad += !st || range(st, 0, 2, 1, ++v) != 0;
	int pin = st ? store_pin(st, seq) : -1;
	for (unsigned i = 0; st && i < 40; i++) {
		unsigned had = versions(st, 0);
		for (unsigned x = 0; x < 50; x++) { /* 50 transactions, one commit */
			seq++;
			bad += set(st, 0, ++v) != 0;
		}
		bad += store_commit(st, seq, meta) != 0;
		unsigned n = versions(st, 0) - had;
		most = n > most ? n : most;
		bad += get(store_reader(st), 0, seq) != v || get(store_reader(st), 0, store_pin_seq(st, pin)) != 1;
	}
	ok(bad == 0 && most == 1, "50 versions in a group lengthen a chain by one (%u)", most);
	if (st)
		store_close(st);
	close(fd);
}

/* A name that changes over and over in a group goes to the log at most twice: as
 * soon as it changes, and as it is in the end. */
static void test_hot(void)
{
	int fd = memfd_create("hot", 0);
	struct store *st = open_fd(fd, NULL, 0);
	unsigned bad = !st || range(st, 0, 100, 1, 1) != 0;
	uint64_t from = st ? st->at : 0, most = 0;
	for (uint32_t v = 2; st && v < 1002; v++) {
		seq++;
		bad += set(st, 7, v) != 0 || set(st, v % 3 + 10, v) != 0;
	}
	uint8_t o[NAME_MAX_LEN];
	struct frag f;
	owner(7, o);
	bad += !st || store_newest(st, FRAG_NAME, zone.inst, o, &scratch, &f) != STORE_FOUND || get_u32(f.body) != 1001;
	bad += st && get(store_reader(st), 7, st->seq) != 1;
	bad += !st || store_commit(st, seq, meta) != 0;
	most = st ? (st->at - from) * UNIT : 0;
	for (uint32_t i = 0; st && i < 100; i++)
		bad += get(store_reader(st), i, seq) != (i == 7 ? 1001 : i >= 10 && i < 13 ? 999 + (i - 10 + 3 - 999 % 3) % 3 : 1);
	ok(bad == 0 && most < 1500, "2,000 changes of four names in a group take %llu octets of log (%u wrong)", (unsigned long long)most, bad);
	if (st)
		store_close(st);
	close(fd);
}

/* ---- the checkpoint before ---- */

/* The newest superblock is lost: from the one before, all that was acknowledged
 * is found, so nothing that it refers to has been reused. */
static void test_older_checkpoint(void)
{
	unsigned bad = 0, opened = 0;
	for (unsigned round = 0; round < 12; round++) {
		int fd = memfd_create("a", 0), copy = memfd_create("b", 0);
		struct store *st = open_fd(fd, NULL, 0);
		uint32_t value = 0;
		bad += !st || range(st, 0, 3000, 1, 1) != 0;
		for (unsigned i = 0; st && i < 3 + round; i++) {
			bad += range(st, 0, 3000, 3, value = i + 2) != 0 || checkpoint_write(st) != 0;
			bad += range(st, 1, 3000, 3, i + 2) != 0;
		}
		uint64_t serial = st ? st->ckpt_serial : 0;
		static uint8_t b[BLOCK];
		static const uint8_t zero[SUPER_SIZE];
		for (off_t at = 0; pread(fd, b, BLOCK, at) == (ssize_t)BLOCK; at += BLOCK)
			bad += pwrite(copy, b, BLOCK, at) != (ssize_t)BLOCK;
		bad += pwrite(copy, zero, sizeof zero, (off_t)(serial & 1) * SUPER_SIZE) != (ssize_t)sizeof zero;
		struct store *again = open_fd(copy, NULL, 0);
		opened += again != NULL;
		for (uint32_t i = 0; again && i < 3000; i++)
			bad += get(store_reader(again), i, seq) != (i % 3 == 2 ? 1 : value);
		bad += again && store_seq(again) != seq;
		if (again)
			store_close(again);
		if (st)
			store_close(st);
		close(fd);
		close(copy);
	}
	ok(bad == 0 && opened == 12, "without its newest superblock the store opens as it was (%u of 12, %u wrong)", opened, bad);
}

/* ---- a checkpoint under way ---- */

#define MANY 40000u /* names: more than one segment */
static uint32_t model[MANY];

static int some(struct store *st, uint32_t from, uint32_t step, uint32_t value)
{
	for (uint32_t i = from; i < MANY; i += step)
		model[i] = value;
	return range(st, from, MANY, step, value);
}

/* Were the writer killed now: how many names would come back wrong? */
static unsigned lost(int fd)
{
	static uint8_t b[BLOCK];
	int copy = memfd_create("copy", 0);
	unsigned bad = 0;
	for (off_t at = 0; pread(fd, b, BLOCK, at) == (ssize_t)BLOCK; at += BLOCK)
		bad += pwrite(copy, b, BLOCK, at) != (ssize_t)BLOCK;
	struct store *st = open_fd(copy, NULL, 0);
	bad += !st || store_seq(st) != seq;
	for (uint32_t i = 0; st && i < MANY; i++)
		bad += get(store_reader(st), i, seq) != model[i];
	if (st)
		store_close(st);
	close(copy);
	return bad;
}

/* Commits go on between the slices of a checkpoint, and what it refers to stays as
 * it was at the cut. */
static void test_slices(void)
{
	int fd = memfd_create("slices", 0);
	struct store *st = open_fd(fd, NULL, 0);
	unsigned bad = !st || some(st, 0, 1, 1) != 0, moved = 0, wrong = 0, slices = 0, opened = 0;
	for (uint32_t round = 0; st && round < 4; round++) {
		bad += some(st, round, 3, 2 + round) != 0 || checkpoint_run(st, UINT64_MAX) != 0 || checkpoint_cut(st) != 0;
		uint64_t serial = st->ckpt.serial;
		remember(st);
		while (st->ckpt.serial == serial && bad == 0) {
			bad += some(st, slices % 5, 400 + slices % 4, 100 + slices) != 0;
			moved += st->ckpt.serial == serial ? breaches(st) : 0;
			bad += st->ckpt.serial == serial && checkpoint_step(st) != 0;
			if (slices++ % 3 == 0 && ++opened)
				wrong += lost(fd);
		}
		bad += st->ckpt_serial < serial;
	}
	ok(bad == 0 && moved == 0 && slices > 12, "between %u slices of checkpoints commits go on, and what was there at the cut stays (%u moved)",
	   slices, moved);
	ok(wrong == 0 && opened > 4, "killed between two of them, all that was committed is there (%u times, %u wrong)", opened, wrong);
	if (st)
		store_close(st);
	close(fd);
}

/* The next begins when it is due, at a commit, and is done by the ticks that follow. */
static void test_due(void)
{
	int fd = memfd_create("due", 0);
	struct store *st = open_fd(fd, NULL, 0);
	unsigned bad = !st, commits = 0, ticks = 0;
	uint64_t had = st ? st->checkpoints : 0;
	for (; st && !checkpoint_going(st) && commits < 10000; commits++)
		bad += some(st, commits % 100, 100, commits + 1) != 0;
	for (; st && checkpoint_going(st) && ticks < 1000; ticks++)
		bad += store_tick(st) < 0;
	ok(bad == 0 && commits > 1 && commits < 10000 && ticks >= 1 && ticks < 1000 && st->checkpoints == had + 1,
	   "a checkpoint begins at the commit that makes it due (%u) and is done by ticks (%u)", commits, ticks);
	had = st ? st->checkpoints : 0;
	for (commits = 0; st && st->checkpoints < had + 3 && commits < 30000; commits++)
		bad += some(st, commits % 100, 100, commits + 1) != 0;
	ok(bad == 0 && commits < 30000, "where no tick comes, commits do their share (%u)", commits);
	if (st)
		store_close(st);
	close(fd);
}

int main(void)
{
	static const uint8_t octets[32] = "rules";
	if (crypto_init() != 0 || scratch_new(&scratch, 1u << 20) != 0)
		return 1;
	k = key_from(octets);
	test_slots();
	test_chain();
	test_hot();
	test_older_checkpoint();
	test_slices();
	test_due();
	scratch_free(&scratch);
	key_free(k);
	return tap_done();
}
