/* test_jfile.c - the hub's journal on disk: transactions written and read
 * back, restarts, torn tails at every octet, changed octets, aborts; no nonce
 * twice; and what is left when the power goes behind syncs that never were, or
 * failed. */
#include "hub/jfile.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TXS 400

static char dir[64], err[600];
static struct key *k;
static uint64_t state = 88172645463325252u;

static uint32_t dice(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % n;
}

/* What the journal should hold: the operations' octets are told by a seed. */
struct tx { uint32_t seed, pieces, each; uint64_t time; uint8_t chain[CHAIN_LEN]; };
static struct tx model[TXS + 1]; /* by sequence */
static uint64_t last;

static void octets(const struct tx *t, uint32_t piece, uint8_t *out)
{
	for (uint32_t i = 0; i < t->each; i++)
		out[i] = (uint8_t)((t->seed + piece * 31 + i) * 2654435761u >> 24);
}

static const char *path(const char *j, unsigned file)
{
	static char p[200];
	snprintf(p, sizeof p, "%s/%s/journal/%08u", dir, j, file);
	return p;
}

static struct jfile *open_at(const char *name, const struct key *key)
{
	char p[128];
	snprintf(p, sizeof p, "%s/%s", dir, name);
	mkdir(p, 0700);
	*err = 0;
	return jfile_open(p, key, err, sizeof err);
}

static void copy(const char *from, const char *to)
{
	char cmd[300];
	snprintf(cmd, sizeof cmd, "rm -rf %s/%s && cp -r %s/%s %s/%s", dir, to, dir, from, dir, to);
	if (system(cmd) != 0)
		exit(1);
}

static int put(struct jfile *j, const struct tx *t)
{
	static uint8_t b[2u << 20];
	if (jfile_begin(j, t->time) != 0)
		return -1;
	for (uint32_t i = 0; i < t->pieces; i++) {
		octets(t, i, b);
		if (jfile_ops(j, b, t->each) != 0)
			return -1;
	}
	return 0;
}

static int append(struct jfile *j, uint32_t pieces, uint32_t each)
{
	static uint8_t b[2u << 20];
	struct tx *t = model + last + 1;
	struct sha s;
	*t = (struct tx){ .seed = dice(1u << 30), .pieces = pieces, .each = each, .time = 1000 + last };
	if (put(j, t) != 0 || jfile_end(j) != 0) {
		jfile_abort(j);
		return -1;
	}
	tx_chain_begin(&s, model[last].chain, last + 1, t->time);
	for (uint32_t i = 0; i < pieces; i++) {
		octets(t, i, b);
		sha_update(&s, b, each);
	}
	sha_out(&s, t->chain);
	last++;
	return 0;
}

/* Reads one transaction from where the reader is. */
static unsigned read_wrong(struct jfile *j, struct jreader *r, uint64_t seq)
{
	static uint8_t want[2u << 20];
	const struct tx *t = model + seq;
	struct tx_part part = { .flags = 0 };
	struct sha have, sum;
	uint8_t a[32], b[32];
	const uint8_t *p;
	size_t n;
	bool first = true;
	sha256_init(&have);
	sha256_init(&sum);
	for (; !(part.flags & PART_LAST); first = false) {
		if (jfile_read(j, r, &part, &p, &n) != 1 || !(part.flags & PART_FIRST) == first)
			return 1;
		if (first && (part.seq != seq || part.time != t->time))
			return 1;
		sha_update(&have, part.ops, part.len);
	}
	for (uint32_t i = 0; i < t->pieces; i++) {
		octets(t, i, want);
		sha_update(&sum, want, t->each);
	}
	sha_out(&have, a);
	sha_out(&sum, b);
	return memcmp(a, b, 32) != 0 || memcmp(part.chain, t->chain, CHAIN_LEN) != 0;
}

/* All that is in it, in one go. */
static unsigned wrong(struct jfile *j)
{
	struct jreader r = { .fd = -1 };
	struct tx_part t;
	const uint8_t *p;
	size_t n;
	unsigned bad = jfile_first(j) != 1 || jfile_last(j) != last ||
	               memcmp(jfile_chain(j), model[last].chain, CHAIN_LEN) != 0 ||
	               (last && jfile_time(j) != model[last].time) || jfile_seek(j, 1, &r) != 0;
	for (uint64_t s = 1; s <= last && bad == 0; s++)
		bad += read_wrong(j, &r, s);
	bad += bad == 0 && jfile_read(j, &r, &t, &p, &n) != 0;
	jreader_free(&r);
	return bad;
}

static void test_rows(void)
{
	static const struct { uint32_t pieces, each; } sizes[] = {
		{ 0, 0 }, { 1, 0 }, { 1, 1 }, { 3, 50 }, { 1, PART_MAX - 40 }, { 1, PART_MAX }, { 1, PART_MAX + 1 },
		{ 1, 1500000 }, { 2, PART_MAX / 2 }, { 40, 20000 }, { 5, PART_MAX }, { 300, 3000 }, { 1, 5 },
	};
	struct jfile *j = open_at("a", k);
	unsigned bad = !j, opens = 0;
	ok(j && jfile_last(j) == 0 && jfile_first(j) == 1 && wrong(j) == 0, "a new journal is empty (%s)", err);
	uint8_t id[JOURNAL_ID];
	memcpy(id, jfile_id(j), sizeof id);
	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			bad += append(j, sizes[i].pieces, sizes[i].each) != 0 || jfile_sync(j) != 0;
			if ((i + round) % 4)
				continue;
			jfile_close(j);
			j = open_at("a", k);
			bad += !j || memcmp(id, jfile_id(j), sizeof id) != 0 || wrong(j) != 0;
			opens++;
		}
	bad += wrong(j);
	ok(bad == 0, "%llu transactions of all sizes, %u restarts (%u wrong)", (unsigned long long)last, opens, bad);
	for (uint64_t s = 1; s <= last; s++) {
		struct jreader r = { .fd = -1 };
		bad += jfile_seek(j, s, &r) != 0;
		for (uint64_t x = s; x <= last && x < s + 3; x++)
			bad += read_wrong(j, &r, x);
		jreader_free(&r);
	}
	ok(bad == 0, "read from every sequence (%u wrong)", bad);
	uint8_t chain[CHAIN_LEN];
	for (uint64_t s = 0; s <= last; s++)
		bad += !jfile_chain_at(j, s, chain) || memcmp(chain, model[s].chain, CHAIN_LEN) != 0;
	bad += jfile_chain_at(j, last + 1, chain) || jfile_chain_at(j, UINT64_MAX, chain);
	ok(bad == 0, "the chain hash behind every sequence (%u wrong)", bad);
	struct jreader r = { .fd = -1 };
	ok(jfile_seek(j, 0, &r) == -1 && errno == ENOENT, "what is not kept is not found");
	struct jfile *twice = open_at("a", k);
	bad += append(j, 1, 10) != 0;
	ok(!twice && *err, "a second writer is refused: %s", err);
	jfile_close(twice);
	jfile_close(j);
	j = open_at("a", k);
	ok(j && wrong(j) == 0, "and has done no harm (%s)", err);
	jfile_close(j);
}

/* Readers that wait at the end. */
static void test_readers(void)
{
	struct jfile *j = open_at("a", k);
	struct jreader wait = { .fd = -1 }, moved = { .fd = -1 };
	struct tx_part t;
	const uint8_t *p;
	size_t n;
	unsigned bad = jfile_seek(j, last + 1, &wait) != 0;
	for (unsigned i = 0; i < 20; i++) {
		bad += jfile_read(j, &wait, &t, &p, &n) != 0;
		bad += i > 1 && (jfile_seek(j, last - 1, &moved) != 0 || jfile_read(j, &moved, &t, &p, &n) != 1);
		bad += jfile_seek(j, last + 1, &moved) != 0 || jfile_read(j, &moved, &t, &p, &n) != 0;
		if (i % 5 == 3) { /* the writer goes on in another file */
			bad += jfile_begin(j, 1) != 0 || jfile_ops(j, (uint8_t[PART_MAX]){ 0 }, PART_MAX) != 0 ||
			       jfile_ops(j, (uint8_t[1]){ 0 }, 1) != 0;
			bad += jfile_read(j, &wait, &t, &p, &n) != 0;
			jfile_abort(j);
		}
		bad += append(j, i % 3, 200000) != 0;
		bad += read_wrong(j, &wait, last) + read_wrong(j, &moved, last);
	}
	ok(bad == 0, "readers at the end see what comes, and no unfinished transaction (%u wrong)", bad);
	jreader_free(&wait);
	jreader_free(&moved);
	bad = wrong(j);
	jfile_close(j);
	j = open_at("a", k);
	ok(bad == 0 && j && wrong(j) == 0, "aborted transactions have left no trace (%s)", err);
	jfile_close(j);
}

static off_t size_of(const char *p)
{
	struct stat sb;
	return stat(p, &sb) == 0 ? sb.st_size : -1;
}

/* The last transaction cut at every octet. */
static void test_torn(void)
{
	struct tx keep;
	uint64_t was = last;
	unsigned bad = 0, cuts = 0;
	last = 0;
	struct jfile *j = open_at("torn", k);
	for (unsigned i = 0; i < 4; i++)
		append(j, 2, 30);
	off_t from = size_of(path("torn", 1));
	append(j, 3, 100);
	off_t to = size_of(path("torn", 1));
	jfile_close(j);
	keep = model[5];
	for (off_t at = from; at <= to; at++, cuts++) {
		copy("torn", "cut");
		last = at == to ? 5 : 4;
		model[5] = keep;
		if (truncate(path("cut", 1), at) != 0 || !(j = open_at("cut", k))) {
			printf("# %lld: %s\n", (long long)at, err);
			bad++;
			continue;
		}
		bad += wrong(j) + (append(j, 2, 40) != 0) + (jfile_sync(j) != 0) + wrong(j);
		bad += size_of(path("cut", 1)) != at || size_of(path("cut", 2)) < 200;
		jfile_close(j);
		j = open_at("cut", k);
		bad += !j || wrong(j);
		jfile_close(j);
	}
	ok(bad == 0, "a tail torn at each of %u octets: it goes on behind the transaction before (%u wrong)", cuts, bad);
	/* a file that was being made */
	last = 5;
	model[5] = keep;
	copy("torn", "half");
	jfile_close(open_at("half", k));
	to = size_of(path("half", 2));
	for (off_t at = bad = 0; at <= to; at++) {
		copy("half", "cut");
		last = 5;
		if (truncate(path("cut", 2), at) != 0 || !(j = open_at("cut", k))) {
			printf("# %lld: %s\n", (long long)at, err);
			bad++;
			continue;
		}
		bad += wrong(j) + (append(j, 1, 10) != 0);
		jfile_close(j);
		j = open_at("cut", k);
		if (!j || wrong(j)) {
			printf("# %lld: %s\n", (long long)at, err);
			bad++;
		}
		jfile_close(j);
	}
	ok(bad == 0, "a crash at each octet while a file is made (%u wrong)", bad);
	/* the very first one */
	copy("half", "cut");
	unlink(path("cut", 2));
	ok(truncate(path("cut", 1), 30) == 0 && (j = open_at("cut", k)) && jfile_last(j) == 0, "even the first");
	jfile_close(j);
	j = open_at("cut", k);
	ok(j && jfile_last(j) == 0, "and it opens again (%s)", err);
	jfile_close(j);
	last = was;
}

static void change(const char *p, off_t at, uint8_t by)
{
	uint8_t b;
	int fd = open(p, O_RDWR);
	if (pread(fd, &b, 1, at) == 1) {
		b ^= by;
		if (pwrite(fd, &b, 1, at) != 1)
			exit(1);
	}
	close(fd);
}

static void test_changed(void)
{
	uint64_t was = last;
	unsigned bad = 0, n = 0;
	last = 0;
	model[0] = (struct tx){ 0 };
	for (unsigned file = 1; file <= 3; file++) {
		struct jfile *j = open_at("older", k);
		for (unsigned i = 0; i < 3; i++)
			append(j, 2, 40);
		jfile_close(j);
	}
	off_t size = size_of(path("older", 2));
	copy("older", "changed");
	for (off_t at = 0; at < 2 * size; at++, n++) {
		unsigned file = 1 + (unsigned)(at / size);
		uint8_t by = (uint8_t)(1 + dice(255));
		change(path("changed", file), at % size, by);
		struct jfile *j = open_at("changed", k);
		if (j || !strstr(err, "journal/0000000")) {
			printf("# %u at %lld: %s\n", file, (long long)(at % size), j ? "opened" : err);
			bad++;
		}
		bad += access(path("changed", 4), F_OK) == 0;
		jfile_close(j);
		change(path("changed", file), at % size, by);
	}
	ok(bad == 0, "each of %u octets of older files changed: refused (%s)", n, err);
	for (unsigned file = 1; file <= 2; file++) {
		copy("older", "changed");
		unlink(path("changed", file));
		struct jfile *j = open_at("changed", k);
		/* what is left of the front is a journal of its own: files go from there first */
		ok(file == 1 ? j && jfile_first(j) == 4 : !j && strstr(err, "journal/0000000"), "file %u is missing (%s)", file, err);
		jfile_close(j);
	}
	struct key *other = key_random();
	struct jfile *j = open_at("older", other);
	ok(!j && strstr(err, "key"), "another key is refused: %s", err);
	ok(access(path("older", 4), F_OK) != 0, "and nothing was written");
	key_free(other);
	last = 9;
	j = open_at("older", k);
	ok(j && wrong(j) == 0, "the right one still opens it");
	jfile_close(j);
	last = was;
}

/* ---- nonces ---- */

/* Each (salt, number of record) ever seen, with its first octets. */
static struct seen { uint8_t salt[8], text[12]; uint32_t record; } *seen;
static size_t nseen;

static unsigned note(const uint8_t *salt, uint32_t record, const uint8_t *text)
{
	for (size_t i = nseen; i-- > 0;)
		if (seen[i].record == record && memcmp(seen[i].salt, salt, 8) == 0)
			return memcmp(seen[i].text, text, 12) != 0;
	seen = realloc(seen, (nseen + 1) * sizeof *seen);
	memcpy(seen[nseen].salt, salt, 8);
	memcpy(seen[nseen].text, text, 12);
	seen[nseen++].record = record;
	return 0;
}

static unsigned scan(const char *name)
{
	unsigned bad = 0;
	for (unsigned file = 1;; file++) {
		uint8_t head[44], rec[16];
		off_t at = sizeof head;
		int fd = open(path(name, file), O_RDONLY);
		if (fd < 0)
			return bad;
		if (pread(fd, head, sizeof head, 0) == sizeof head)
			for (uint32_t n = 0; pread(fd, rec, 16, at) == 16; n++) {
				bad += note(head + 12, n, rec + 4);
				at += 4 + get_u32(rec) + 16;
			}
		close(fd);
	}
}

static void test_nonces(void)
{
	struct rlimit was, lim;
	uint64_t last_was = last;
	unsigned bad = 0, aborts = 0, full = 0;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	last = 0;
	struct jfile *j = open_at("nonce", k);
	for (unsigned i = 0; i < 150 && j; i++) {
		struct tx t = { .seed = dice(1000000), .pieces = dice(4), .each = dice(3) ? 100 : PART_MAX };
		switch (dice(5)) {
		case 0: /* given up */
			bad += put(j, &t) != 0 || scan("nonce") != 0;
			jfile_abort(j);
			aborts++;
			break;
		case 1: /* no room, somewhere */
			lim = was;
			lim.rlim_cur = dice(3u * PART_MAX);
			setrlimit(RLIMIT_FSIZE, &lim);
			errno = ENOENT;
			if (append(j, t.pieces, t.each) != 0)
				bad += errno != EFBIG || ++full == 0;
			setrlimit(RLIMIT_FSIZE, &was);
			break;
		case 2:
			if (dice(3))
				break;
			jfile_close(j);
			j = open_at("nonce", k);
			bad += !j;
			break;
		default:
			bad += append(j, t.pieces, t.each) != 0;
		}
		bad += scan("nonce");
		if (bad)
			printf("# %u: wrong now (%s, %s)\n", i, err, strerror(errno));
	}
	bad += !j || wrong(j) != 0;
	ok(bad == 0, "%zu records, %u aborts, %u times no room: no nonce twice, nothing lost (%u wrong)", nseen, aborts, full, bad);
	jfile_close(j);
	j = open_at("nonce", k);
	ok(j && wrong(j) == 0, "and all is read again (%s)", err);
	jfile_close(j);
	free(seen);
	last = last_was;
}

/* ---- power ---- */

/* A disk: octets written are dirty until a sync puts them to where they are safe, or
 * fails and forgets them.  These take the place of the library's. */
static struct dirty { ino_t file; off_t at; size_t n; } dirty[64];
static unsigned ndirty;
static bool disk, failing;

static ino_t file_of(int fd)
{
	struct stat sb;
	return fstat(fd, &sb) == 0 ? sb.st_ino : 0;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (disk && ndirty < sizeof dirty / sizeof *dirty)
		dirty[ndirty++] = (struct dirty){ file_of(fd), at, n };
	return syscall(SYS_pwrite64, fd, p, n, at);
}

/* From a file to its namesake on the disk. */
static void save(int fd, const struct dirty *d)
{
	static uint8_t b[1u << 20];
	char from[64], to[200];
	snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
	snprintf(to, sizeof to, "%s/disk/%llu", dir, (unsigned long long)d->file);
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT, 0600);
	if (d->n > sizeof b || pread(in, b, d->n, d->at) != (ssize_t)d->n ||
	    syscall(SYS_pwrite64, out, b, d->n, d->at) != (ssize_t)d->n)
		exit(1);
	close(in);
	close(out);
}

int fdatasync(int fd)
{
	unsigned left = 0;
	ino_t file = file_of(fd);
	for (unsigned i = 0; i < ndirty; i++)
		if (dirty[i].file != file)
			dirty[left++] = dirty[i];
		else if (!failing)
			save(fd, dirty + i);
	ndirty = left;
	if (!failing)
		return 0;
	errno = EIO;
	return -1;
}

/* The power is back: `to` is what the disk has of `from`. */
static void power(const char *from, const char *to)
{
	char cmd[500];
	struct stat sb;
	copy(from, to);
	for (unsigned file = 1; stat(path(from, file), &sb) == 0; file++) {
		snprintf(cmd, sizeof cmd, "cp %s/disk/%llu %s", dir, (unsigned long long)sb.st_ino, path(to, file));
		if (system(cmd) != 0)
			exit(1);
	}
	ndirty = 0;
}

/* Killed, begun again, the power lost: how far does the journal go? */
static uint64_t after(uint64_t settled)
{
	struct jfile *j = open_at("power", k);
	if (!j || jfile_settle(j, settled) != 0 || wrong(j) != 0)
		return UINT64_MAX;
	jfile_close(j);
	power("power", "lost");
	j = open_at("lost", k);
	uint64_t n = j && wrong(j) == 0 ? jfile_last(j) : 0;
	jfile_close(j);
	return n;
}

static void test_power(void)
{
	uint64_t was = last;
	char p[100];
	snprintf(p, sizeof p, "%s/disk", dir);
	mkdir(p, 0700);
	last = 0;
	model[0] = (struct tx){ 0 };
	disk = true;
	struct jfile *j = open_at("power", k);
	unsigned bad = !j;
	for (unsigned i = 0; i < 3; i++)
		bad += append(j, 3, 100) != 0;
	bad += jfile_sync(j) != 0;
	for (unsigned i = 0; i < 2; i++)
		bad += append(j, 3, 100) != 0;
	jfile_close(j);
	ok(bad == 0 && after(3) == last, "killed before a sync: what the next start has found stays (%s)", err);
	j = open_at("power", k);
	bad += append(j, 2, 50) != 0 || jfile_sync(j) != 0 || append(j, 2, 60) != 0;
	failing = true;
	bad += jfile_sync(j) == 0;
	failing = false;
	bad += jfile_sync(j) == 0;
	jfile_close(j);
	ok(bad == 0 && after(last - 1) == last, "a sync failed, and fails for good; the next start writes it anew (%s)", err);
	j = open_at("power", k);
	bad += append(j, 2, 70) != 0;
	failing = true; /* given up, it begins a new file */
	bad += jfile_begin(j, 1) != 0 || jfile_ops(j, (uint8_t[PART_MAX]){ 0 }, PART_MAX) != 0 || jfile_ops(j, (uint8_t[1]){ 0 }, 1) != 0;
	jfile_abort(j);
	failing = false;
	bad += jfile_begin(j, 1) == 0 || jfile_sync(j) == 0;
	jfile_close(j);
	ok(bad == 0 && after(0) == last, "the same where the next file is made (%s)", err);
	j = open_at("power", k);
	failing = true;
	ok(j && jfile_settle(j, 0) == -1 && errno == EIO, "a disk that still can't is told");
	failing = disk = false;
	jfile_close(j);
	last = was;
}

static void test_limits(void)
{
	static uint8_t big[FRAME_MAX + 1];
	uint64_t was = last;
	last = 0;
	struct jfile *j = open_at("limits", k);
	append(j, 1, 10);
	bool good = jfile_begin(j, 1) == 0 && jfile_ops(j, big, sizeof big) == -1;
	jfile_abort(j);
	good = good && append(j, 1, 20) == 0;
	jfile_close(j);
	j = open_at("limits", k);
	ok(good && j && wrong(j) == 0, "an operation that fits no frame is refused");
	unsigned bad = 0;
	while (access(path("limits", 4), F_OK) != 0 && bad == 0 && last < 100)
		bad += append(j, 1, 1800000) != 0;
	bad += append(j, 1, 10) != 0 || wrong(j) != 0;
	off_t size = size_of(path("limits", 3));
	jfile_close(j);
	j = open_at("limits", k);
	ok(bad == 0 && j && wrong(j) == 0, "a file of %lld octets is full: the next one takes over", (long long)size);
	jfile_close(j);
	last = was;
}

int main(void)
{
	snprintf(dir, sizeof dir, "/tmp/jfile-test-XXXXXX");
	if (crypto_init() != 0 || !mkdtemp(dir))
		return 1;
	k = key_random();
	test_rows();
	test_readers();
	test_torn();
	test_changed();
	test_nonces();
	test_power();
	test_limits();
	key_free(k);
	char cmd[100];
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	if (system(cmd) != 0)
		return 1;
	return tap_done();
}
