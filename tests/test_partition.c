/* test_partition.c - a store on a raw partition: a loop device.  Made and opened
 * again, killed, filled up, too small, someone else's, read-only, and cut short
 * below so that reading it is an I/O error.  Needs root and loop devices. */
#include "store/writer.h"
#include "tests/records.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define NAMES 20000u

static struct key *k;
static struct scratch scratch;
static char dir[64], device[64], err[1200];
static const struct store_zone zone = { .inst = 7, .labels = 1 };

static void command(char *out, size_t n, const char *fmt, ...)
{
	char text[400];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	FILE *p = popen(text, "r");
	if (out && (!p || !fgets(out, (int)n, p)))
		out[0] = 0;
	if (out)
		out[strcspn(out, "\n")] = 0;
	if (p)
		pclose(p);
}

static bool attach(unsigned mib, const char *how)
{
	command(NULL, 0, "truncate -s %uM %s/disk", mib, dir);
	command(device, sizeof device, "losetup -f --show %s %s/disk 2>/dev/null", how, dir);
	return device[0] == '/';
}

static void detach(void)
{
	command(NULL, 0, "losetup -d %s", device);
	command(NULL, 0, "rm -f %s/disk", dir);
}

static struct store *open_it(void)
{
	struct store_conf c = { .path = device, .fd = -1, .reserve = 1ull << 30 };
	return store_open(&c, k, err, sizeof err);
}

static int set(struct store *st, uint64_t seq, unsigned i, uint32_t value)
{
	uint8_t o[NAME_MAX_LEN], b[100];
	numbered_name(i, o);
	for (unsigned x = 0; x < sizeof b; x += 4)
		put_u32(b + x, value);
	return store_put(st, seq, FRAG_NAME, &zone, o, 0, 0, b, sizeof b, false);
}

static int commit(struct store *st, uint64_t seq)
{
	static const uint8_t meta[STORE_META];
	return store_commit(st, seq, meta);
}

/* How many of the names don't have this value; *damaged: of these, not readable. */
static unsigned wrong(struct store *st, uint32_t value, unsigned *damaged)
{
	unsigned bad = 0;
	for (unsigned i = 0; i < NAMES; i++) {
		uint8_t o[NAME_MAX_LEN];
		struct frag f;
		numbered_name(i, o);
		scratch.used = 0;
		enum store_found r = store_newest(st, FRAG_NAME, zone.inst, o, &scratch, &f);
		*damaged += r == STORE_DAMAGED;
		bad += r != STORE_FOUND || f.len != 100 || get_u32(f.body) != value;
	}
	return bad;
}

static bool fill(struct store *st, uint64_t seq, uint32_t value)
{
	for (unsigned i = 0; i < NAMES; i++)
		if (set(st, seq, i, value) != 0)
			return false;
	return commit(st, seq) == 0;
}

/* A writer that ends without a word, its last group not committed. */
static void killed(uint64_t seq, uint32_t value)
{
	struct store *st = open_it();
	ok(st && fill(st, seq, value) && set(st, seq + 1, 0, 99) == 0, "a writer commits, and dies in the next group");
	if (st)
		st->failed = true; /* nothing more is written */
	store_close(st);
}

static void test_life(void)
{
	unsigned damaged = 0;
	attach(64, "");
	struct store *st = open_it();
	ok(st != NULL, "a store is made on a partition%s%s", st ? "" : ": ", st ? "" : err);
	ok(st && fill(st, 1, 1) && store_close(st) == 0, "filled and closed");
	st = open_it();
	ok(st && wrong(st, 1, &damaged) == 0, "opened again: all is there");
	store_close(st);
	killed(2, 2);
	st = open_it();
	ok(st && wrong(st, 2, &damaged) == 0 && store_seq(st) == 2, "and after a kill what was committed, no more");
	uint64_t seq = 3;
	while (seq < 60 && store_reserve(st, 4u << 20) == 0 && fill(st, seq, (uint32_t)seq) && store_tick(st) >= 0)
		seq++;
	ok(!store_failed(st) && seq == 60 && wrong(st, 59, &damaged) == 0,
	   "what is replaced goes: 57 times its content in 64 MiB (%llu)", (unsigned long long)seq);
	struct store_stats s;
	store_stats_get(st, &s);
	ok(s.file_bytes <= 64u << 20, "it tells no more than there is");
	store_close(st);
}

static void test_full(void)
{
	struct store *st = open_it();
	unsigned i = 0, damaged = 0;
	uint64_t seq = store_seq(st);
	uint8_t o[NAME_MAX_LEN], big[60000] = { 0 };
	while (store_reserve(st, 8u << 20) == 0) {
		for (unsigned n = 0; n < 50; n++, seq++) {
			numbered_name(NAMES + i++, o);
			if (store_put(st, seq + 1, FRAG_NAME, &zone, o, 0, 0, big, sizeof big, true) != 0)
				break;
		}
		if (commit(st, seq) != 0)
			break;
	}
	ok(errno == ENOSPC && !store_failed(st), "full: told before anything is changed");
	ok(wrong(st, 59, &damaged) == 0 && damaged == 0, "and all is still served");
	ok(set(st, seq + 1, 1, 59) == 0 && commit(st, seq + 1) == 0, "a small change still finds room");
	store_close(st);
	st = open_it();
	ok(st && wrong(st, 59, &damaged) == 0, "opened again");
	store_close(st);
}

/* Reading behind the end of what is below is an I/O error. */
static void test_error(void)
{
	unsigned damaged = 0;
	struct store *st = open_it();
	command(NULL, 0, "sync; truncate -s 1M %s/disk; echo 3 >/proc/sys/vm/drop_caches", dir);
	unsigned bad = wrong(st, 59, &damaged);
	ok(bad == damaged && damaged > 0, "an I/O error is damage, never another answer (%u of %u names)", damaged, NAMES);
	store_close(st);
	st = open_it();
	ok(st == NULL && strstr(err, device) && strstr(err, "load it again"), "opening it says so: %s", err);
	detach();
}

static void test_refused(void)
{
	attach(8, "");
	ok(open_it() == NULL && strstr(err, "too small"), "too small: %s", err);
	detach();
	attach(32, "");
	command(NULL, 0, "dd if=/dev/urandom of=%s bs=4096 count=8 conv=fsync 2>/dev/null; cp %s %s/before", device, device, dir);
	ok(open_it() == NULL, "what is no store: %s", err);
	char same[8];
	command(same, sizeof same, "cmp %s %s/before && echo same", device, dir);
	ok(strcmp(same, "same") == 0, "and is not overwritten");
	detach();
	attach(32, "-r");
	ok(open_it() == NULL && strstr(err, "is read-only"), "read-only: %s", err);
	detach();
}

int main(void)
{
	snprintf(dir, sizeof dir, "/tmp/encdns-partition-%d", getpid());
	command(NULL, 0, "mkdir -p %s", dir);
	if (geteuid() != 0 || !attach(64, "")) {
		command(NULL, 0, "rm -rf %s", dir);
		printf("1..0 # SKIP no loop devices here\n");
		return 0;
	}
	detach();
	if (crypto_init() < 0 || !(k = key_random()) || scratch_new(&scratch, 4u << 20) != 0)
		return 1;
	test_life();
	test_full();
	test_error();
	test_refused();
	command(NULL, 0, "rm -rf %s", dir);
	key_free(k);
	scratch_free(&scratch);
	return tap_done();
}
