/* test_tamper.c - someone changes the file while the store is closed: each
 * look-up afterwards gives the model's answer or STORE_DAMAGED, or the store is
 * refused with a message; never another answer, never "absent" for a name that
 * is there.
 *
 * What can't be told from a crash before the last commit was durable, or from
 * an older copy of the whole file, is no damage: a log whose last groups are
 * gone, or whose newest-of-all marks (block 0) are older.  Then the store is at
 * that older sequence, whole, and says so to the hub, which sends the rest.
 *
 * test_tamper [--long]   10,000 random changes and 1,000 crafted ones; or more
 * test_tamper --replay random|crafted SEED */
#include "store/writer.h"
#include "tests/faultdisk.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMES  300u
#define TAIL   3u /* groups behind the checkpoint in `torn` */
#define STATES 4u /* of the same store, each later than the one before */

struct model { uint32_t value[NAMES]; uint32_t zone; uint64_t seq; };
struct image { uint8_t *p; uint64_t n; struct model mo; };

static struct image state[STATES], torn, other; /* torn: with a tail to replay */
static struct model history[64]; /* of the store, by sequence */
static struct key *k, *k2;
static struct disk *d;
static struct scratch scratch;
static const struct store_zone zone = { .inst = 7, .labels = 1 };
static char err[256], wrong[300];

static void owner(uint32_t i, uint8_t out[static NAME_MAX_LEN])
{
	char text[64];
	snprintf(text, sizeof text, "t%u.example.", i);
	name_parse(text, strlen(text), NULL, out);
}

static uint32_t body(uint32_t value, uint8_t out[static 2048])
{
	uint32_t n = 4 + value % 50 * (value % 7 ? 4 : 40);
	for (uint32_t i = 0; i < n; i += 4)
		put_u32(out + i, value);
	return n;
}

/* ---- the images ---- */

static struct store *open_it(const struct key *key)
{
	struct store_conf c = { .path = "store", .fd = disk_fd(d), .reserve = 64u << 20 };
	err[0] = 0;
	return store_open(&c, key, err, sizeof err);
}

static void group(struct store *st, struct model *mo, struct rng *r)
{
	uint8_t o[NAME_MAX_LEN], b[2048], meta[STORE_META] = { 0 };
	int bad = 0;
	mo->seq++;
	for (unsigned n = 0; n < 120; n++) {
		uint32_t i = rng_below(r, NAMES), v = rng_below(r, 5) ? (uint32_t)rng_next(r) | 1 : 0;
		owner(i, o);
		bad |= v ? store_put(st, mo->seq, FRAG_NAME, &zone, o, NODE_NSEC, 0, b, body(v, b), false)
		         : store_delete(st, mo->seq, FRAG_NAME, &zone, o);
		mo->value[i] = v;
	}
	struct store_zone z = { .inst = 7, .serial = ++mo->zone, .state = ZONE_SERVING, .labels = 1 };
	name_parse("example.", 8, NULL, z.name);
	bad |= store_zone_put(st, mo->seq, &z);
	if (bad || store_commit(st, mo->seq, meta) != 0)
		abort();
}

static void keep(struct image *to, const struct model *mo)
{
	const uint8_t *p = disk_octets(d, &to->n);
	to->p = malloc(to->n);
	if (!to->p)
		abort();
	memcpy(to->p, p, to->n);
	to->mo = *mo;
}

static void make_images(void)
{
	struct model mo = { .seq = 0 };
	struct rng r = { 5 };
	disk_clear(d, 1);
	for (unsigned s = 0; s < STATES; s++) {
		struct store *st = open_it(k);
		for (unsigned i = 0; st && i < 6; i++) {
			group(st, &mo, &r);
			history[mo.seq] = mo;
			if (i == 5 - TAIL && checkpoint_write(st) != 0)
				abort();
			if (s == STATES - 1 && i == 5)
				keep(&torn, &mo);
		}
		if (!st || store_close(st) != 0)
			abort();
		keep(&state[s], &mo);
	}
	struct model om = { .seq = 0 };
	disk_clear(d, 2);
	struct store *st = open_it(k);
	for (unsigned i = 0; st && i < 9; i++)
		group(st, &om, &r);
	if (!st || store_close(st) != 0)
		abort();
	keep(&other, &om);
	disk_lies(d, true); /* no power is lost from here on: saves its work */
}

static uint8_t *restore(const struct image *i)
{
	uint64_t n;
	disk_resize(d, i->n);
	uint8_t *p = disk_octets(d, &n);
	memcpy(p, i->p, i->n);
	return p;
}

/* ---- the judge ---- */

static bool not_so(const char *what, uint32_t i, uint64_t seq)
{
	snprintf(wrong, sizeof wrong, "%s (%u) at sequence %llu", what, i, (unsigned long long)seq);
	return false;
}

struct count { uint64_t openings, refused, older, damaged, answers; };

static bool names_right(const struct store_map *m, const struct model *mo, uint64_t seq, struct count *c)
{
	for (uint32_t i = 0; i < NAMES; i++) {
		uint8_t o[NAME_MAX_LEN], b[2048], key[NAME_KEY_MAX], got[TREE_KEY_MAX];
		struct frag f;
		size_t gotn;
		bool exact = false;
		owner(i, o);
		scratch.used = 0;
		enum store_found r = store_get(m, FRAG_NAME, zone.inst, o, seq, &scratch, &f);
		c->damaged += r == STORE_DAMAGED;
		c->answers += r != STORE_DAMAGED;
		if (r == STORE_ABSENT && mo->value[i])
			return not_so("a name is said to be absent", i, seq);
		if (r == STORE_FOUND && (!mo->value[i] || f.len != body(mo->value[i], b) || memcmp(b, f.body, f.len) != 0))
			return not_so("another answer", i, seq);
		if (i % 8)
			continue;
		size_t n = zone_key(o, zone.labels, key);
		r = tree_find(m, zone.inst, CHAIN_NSEC, seq, key, n, &scratch, got, &gotn, &exact);
		if (r == STORE_ABSENT || (r == STORE_FOUND && exact != (mo->value[i] != 0)))
			return not_so("another link of the chain", i, seq);
	}
	return true;
}

static bool right(struct store *st, const struct model *mo, struct count *c)
{
	const struct store_map *m = store_reader(st);
	struct store_view v;
	struct store_zone z;
	uint8_t n[NAME_MAX_LEN];
	store_view_take(m, &v);
	if (!names_right(m, mo, v.visible, c))
		return false;
	name_parse("t1.example.", 11, NULL, n);
	scratch.used = 0;
	enum store_found r = store_zone_find(m, &v, n, name_labels(n), false, &scratch, &z);
	if (r == STORE_ABSENT || (r == STORE_FOUND && z.serial != mo->zone))
		return not_so("another zone", mo->zone, v.visible);
	return true;
}

/* Opens what was tampered with.  also: another state that it may be, whole;
 * lost: how many of the last groups may be gone. */
static bool judge(const struct key *key, const struct model *mo, const struct model *also, uint64_t lost, struct count *c)
{
	uint64_t was = mo->seq;
	struct store *st = open_it(key);
	c->openings++;
	if (!st) {
		c->refused++;
		return strlen(err) > 10 || not_so("refused without a word", 0, 0);
	}
	if (also && store_seq(st) == also->seq)
		mo = also;
	else if (store_seq(st) < mo->seq && store_seq(st) + lost >= mo->seq)
		mo = &history[store_seq(st)];
	c->older += store_seq(st) < was;
	bool good = right(st, mo, c);
	store_fail(st); /* closing writes nothing then */
	store_close(st);
	return good;
}

/* ---- random changes ---- */

static uint64_t place(struct rng *r, const struct image *i)
{
	uint64_t at;
	if (rng_below(r, 10) == 0)
		return rng_below(r, 4) ? rng_below(r, 128) + rng_below(r, 4) * 4096u : rng_below(r, 16384);
	for (unsigned tries = 0;; tries++) { /* where something is, mostly */
		at = rng_next(r) % i->n;
		if (i->p[at] || tries > 200)
			return at;
	}
}

static unsigned random_case(uint64_t seed, struct count *c)
{
	struct rng r = { seed * 0x9e3779b97f4a7c15ull };
	const struct image *i = rng_below(&r, 2) ? &torn : &state[STATES - 1];
	uint8_t *p = restore(i);
	unsigned n = rng_below(&r, 2) ? 1 : 1 + rng_below(&r, 3);
	fault_seed(seed);
	for (unsigned x = 0; x < n; x++) {
		uint64_t at = place(&r, i);
		p[at] = (uint8_t)(p[at] ^ (rng_below(&r, 2) ? 1u << rng_below(&r, 8) : 1 + rng_below(&r, 255)));
	}
	/* a commit behind a bad one tells that the bad one was no torn tail */
	judge(k, &i->mo, NULL, i == &torn ? n : 0, c);
	return n;
}

/* ---- crafted changes ---- */

static void swap(uint8_t *a, uint8_t *b, size_t n)
{
	for (; n > 0; n--, a++, b++) {
		uint8_t x = *a;
		*a = *b;
		*b = x;
	}
}

static uint64_t block(struct rng *r, uint64_t n) { return (1 + rng_below(r, (uint32_t)(n / BLOCK - 1))) * BLOCK; }

static void crafted_case(uint64_t seed, struct count *c)
{
	struct rng r = { seed * 0xd1342543de82ef95ull };
	const struct image *i = rng_below(&r, 2) ? &torn : &state[STATES - 1];
	const struct image *old = &state[rng_below(&r, STATES - 1)];
	const struct model *also = NULL;
	const struct key *key = k;
	uint8_t *p = restore(i);
	uint64_t both = old->n < i->n ? old->n : i->n, a = block(&r, both), b = block(&r, both), at;
	fault_seed(seed);
	switch (seed % 16) {
	case 0: /* two slots change places; a block may be a segment or not */
		swap(p + a + rng_below(&r, BUCKETS * SLOTS) * 8, p + a + rng_below(&r, BUCKETS * SLOTS) * 8, 8);
		break;
	case 1: /* taken out of a segment: would be a false NXDOMAIN */
		for (at = a; at < a + BLOCK; at += 8)
			if (rng_below(&r, 3) == 0)
				memset(p + at, 0, 8);
		break;
	case 2: /* buckets change places */
		swap(p + a + rng_below(&r, BUCKETS) * 64, p + a + rng_below(&r, BUCKETS) * 64, 64);
		break;
	case 3: /* an older block: a segment, an extent's, a table */
		memcpy(p + a, old->p + a, BLOCK);
		break;
	case 4: /* an older page */
		at = a + rng_below(&r, BLOCK / 4096) * 4096;
		memcpy(p + at, old->p + at, 4096);
		break;
	case 5: /* older pages from some place on: a tail from before */
		at = a + rng_below(&r, BLOCK / 4096) * 4096;
		memcpy(p + at, old->p + at, both - at);
		break;
	case 6: /* all but block 0 from before */
		memcpy(p + BLOCK, old->p + BLOCK, both - BLOCK);
		break;
	case 7: /* extents change places */
		swap(p + a, p + b, BLOCK);
		break;
	case 8: /* one superblock from before, or both */
		for (unsigned s = rng_below(&r, 3), x = 0; x < 2; x++)
			if (s == 2 || s == x)
				memcpy(p + x * SUPER_SIZE, old->p + x * SUPER_SIZE, SUPER_SIZE);
		break;
	case 9: /* a superblock in the other's place, and one gone */
		memcpy(p + (seed / 16 & 1) * SUPER_SIZE, p + (~seed / 16 & 1) * SUPER_SIZE, SUPER_SIZE);
		break;
	case 10: /* one superblock gone, or the other, or both */
		for (unsigned s = rng_below(&r, 3), x = 0; x < 2; x++)
			if (s == 2 || s == x)
				memset(p + x * SUPER_SIZE, 0, SUPER_SIZE);
		break;
	case 11: /* cut short */
		at = rng_next(&r) % i->n;
		if (at >= BLOCK && rng_below(&r, 2))
			at = at / BLOCK * BLOCK;
		disk_resize(d, at + !at); /* an empty file is a new store, without any zone */
		break;
	case 12: /* another store's, of the same key */
		a = block(&r, other.n < i->n ? other.n : i->n);
		at = rng_below(&r, 4) ? a : 0;
		memcpy(p + at, other.p + at, BLOCK);
		if (at == 0) /* and its checkpoint: then it is that store, or none */
			also = &other.mo;
		break;
	case 13: /* another store's file, of another key */
		restore(&other);
		key = k2;
		also = NULL;
		break;
	case 14: /* a fragment in another one's place */
		memcpy(p + a + rng_below(&r, 8000) * UNIT, p + b + rng_below(&r, 8000) * UNIT, 64 + rng_below(&r, 2000));
		break;
	case 15: /* block 0 from before: everything that says what is newest. That is
	          * an older copy of the store, which the hub will notice; but whole. */
		memcpy(p, old->p, BLOCK);
		also = &old->mo;
		break;
	}
	judge(key, &i->mo, also, i == &torn ? TAIL : 0, c);
	if (seed % 16 == 13 && !strstr(err, "key does not fit"))
		not_so("another key opens it", 0, 0);
}

/* ---- by two processes ---- */

struct result { struct count c; uint64_t changes, wrong; };

static void cases(bool crafted, uint64_t first, uint64_t n, struct result *r)
{
	for (uint64_t s = first; r->changes < n && r->wrong < 5; s += 2) {
		wrong[0] = 0;
		if (crafted) {
			crafted_case(s, &r->c);
			r->changes++;
		} else {
			r->changes += random_case(s, &r->c);
		}
		r->wrong += wrong[0] != 0;
		if (wrong[0])
			printf("# %s\n# again: build/tests/test_tamper --replay %s %llu\n", wrong,
			       crafted ? "crafted" : "random", (unsigned long long)s);
		fflush(stdout);
	}
}

static void start(void)
{
	static const uint8_t one[32] = "one key", two[32] = "two keys";
	if (crypto_init() != 0 || scratch_new(&scratch, 1u << 20) != 0)
		abort();
	d = disk_new();
	fault_seed(~0ull);
	k = key_from(one);
	k2 = key_from(two);
	make_images();
}

static void both(bool crafted, uint64_t n)
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
			cases(crafted, p, n / 2, r + p);
			_exit(0);
		}
	}
	for (unsigned p = 0; p < 2; p++) {
		int status;
		good = pid[p] > 0 && waitpid(pid[p], &status, 0) == pid[p] && status == 0 && good;
	}
	ok(good && r[0].wrong + r[1].wrong == 0 && r[0].changes + r[1].changes >= n,
	   "%llu %s changes, %llu openings: %llu refused, %llu at an older sequence, %llu look-ups damaged, %llu right, %llu wrong%s",
	   (unsigned long long)(r[0].changes + r[1].changes), crafted ? "crafted" : "random",
	   (unsigned long long)(r[0].c.openings + r[1].c.openings), (unsigned long long)(r[0].c.refused + r[1].c.refused),
	   (unsigned long long)(r[0].c.older + r[1].c.older),
	   (unsigned long long)(r[0].c.damaged + r[1].c.damaged), (unsigned long long)(r[0].c.answers + r[1].c.answers),
	   (unsigned long long)(r[0].wrong + r[1].wrong), good ? "" : ", and a process died");
	munmap(r, 4096);
}

int main(int argc, char **argv)
{
	uint64_t times = getenv("LONG") || (argc > 1 && strcmp(argv[1], "--long") == 0) ? 50 : 1;
	struct count c = { 0 };
	if (argc == 4 && strcmp(argv[1], "--replay") == 0) {
		uint64_t seed = strtoull(argv[3], NULL, 10);
		start();
		if (argv[2][0] == 'c')
			crafted_case(seed, &c);
		else
			random_case(seed, &c);
		printf("# %s; %s\n", wrong[0] ? wrong : "nothing is wrong", err);
		return wrong[0] != 0;
	}
	start();
	restore(&torn);
	ok(judge(k, &torn.mo, NULL, 0, &c) && c.refused == 0 && c.damaged == 0, "untouched: all right, with a tail to replay");
	restore(&state[STATES - 1]);
	ok(judge(k, &state[STATES - 1].mo, NULL, 0, &c) && c.refused == 0 && c.damaged == 0, "untouched: all right, closed cleanly");
	both(false, 10000 * times);
	both(true, 1000 * times);
	return tap_done();
}
