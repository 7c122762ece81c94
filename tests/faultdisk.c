/* faultdisk.c - the disk of faultdisk.h, and the record of seals. */
#include "tests/faultdisk.h"
#include "crypto.h"
#include "store/io.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DISK_MAX (64u << 20)
#define PAGE     4096u
#define SECTOR   512u
#define PAGES    (DISK_MAX / PAGE)

void fault_seal(const struct aead *a, const uint8_t nonce[static 12], const void *aad, size_t aadn, void *buf,
                size_t n, uint8_t *tag, size_t taglen);

/* ---- chance ---- */

uint64_t rng_next(struct rng *r) /* splitmix64 */
{
	uint64_t z = r->s += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

uint32_t rng_below(struct rng *r, uint32_t n) { return n ? (uint32_t)(rng_next(r) % n) : 0; }

static struct rng salts;

void fault_seed(uint64_t seed) { salts.s = seed * 0xd1342543de82ef95ull + 1; }

void fault_random(void *out, size_t n)
{
	for (uint8_t *p = out; n > 0; n--)
		*p++ = (uint8_t)(rng_next(&salts) >> 32);
}

/* ---- the disk ---- */

int (*fault_resident)(const uint8_t *p, size_t n, unsigned char *in);
void (*fault_fetch)(const uint8_t *p, size_t n);

int io_resident(const uint8_t *p, size_t n, unsigned char *in)
{
	return fault_resident ? fault_resident(p, n, in) : mincore((void *)(uintptr_t)p, n, in);
}

void io_fetch(const uint8_t *p, size_t n, size_t page)
{
	if (fault_fetch)
		fault_fetch(p, n);
	for (size_t i = 0; i < n; i += page)
		(void)*(const volatile uint8_t *)(p + i);
}

struct disk {
	int fd;
	uint8_t *cache, *believed, *disk; /* DISK_MAX each */
	uint8_t *frozen;                  /* the cache at the moment of death */
	uint64_t size, disk_size, frozen_size;
	bool written[PAGES];              /* since it was last synced */
	struct rng rng;
	struct plan plan;
	uint64_t ops;
	bool dead, lies, failing;
	int failed;
};

static struct disk *cur;

static uint8_t *zeros(void)
{
	void *p = mmap(NULL, DISK_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		abort();
	return p;
}

struct disk *disk_new(void)
{
	struct disk *d = calloc(1, sizeof *d);
	if (!d || (d->fd = memfd_create("faultdisk", MFD_CLOEXEC)) < 0)
		abort();
	d->cache = mmap(NULL, DISK_MAX, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
	if (d->cache == MAP_FAILED)
		abort();
	d->believed = zeros();
	d->disk = zeros();
	d->frozen = zeros();
	cur = d;
	disk_clear(d, 0);
	return d;
}

void disk_use(struct disk *d) { cur = d; }
int disk_fd(const struct disk *d) { return d->fd; }
uint64_t disk_ops(const struct disk *d) { return d->ops; }
bool disk_dead(const struct disk *d) { return d->dead; }
int disk_failed(const struct disk *d) { return d->failed; }
void disk_lies(struct disk *d, bool lies) { d->lies = lies; }

void disk_resize(struct disk *d, uint64_t n)
{
	if (n > DISK_MAX || ftruncate(d->fd, (off_t)n) != 0)
		abort();
	d->size = n;
}

uint8_t *disk_octets(struct disk *d, uint64_t *n)
{
	*n = d->size;
	return d->cache;
}

void disk_plan(struct disk *d, struct plan p)
{
	d->plan = p;
	d->ops = 0;
	d->dead = d->failing = false;
	d->failed = -1;
}

void disk_clear(struct disk *d, uint64_t seed)
{
	disk_resize(d, 0);
	madvise(d->believed, DISK_MAX, MADV_DONTNEED);
	madvise(d->disk, DISK_MAX, MADV_DONTNEED);
	memset(d->written, 0, sizeof d->written);
	d->disk_size = 0;
	d->lies = false;
	d->rng.s = seed ^ 0x5851f42d4c957f2dull;
	disk_plan(d, (struct plan){ 0 });
}

static uint32_t pages(uint64_t size) { return (uint32_t)((size + PAGE - 1) / PAGE); }

/* Millions of times, and not every memcmp is fast. */
static bool differ(const uint8_t *a, const uint8_t *b)
{
	const uint64_t *x = (const uint64_t *)(const void *)a, *y = (const uint64_t *)(const void *)b;
	uint64_t d = 0;
	for (size_t i = 0; i < PAGE / 8 && !d; i += 8)
		for (size_t j = i; j < i + 8; j++)
			d |= x[j] ^ y[j];
	return d != 0;
}

static bool dirty(const struct disk *d, uint32_t p)
{
	size_t at = (size_t)p * PAGE;
	return d->written[p] || differ(d->cache + at, d->believed + at);
}

/* Written back; lost: the kernel believes so, but the disk refused. */
static void clean(struct disk *d, uint32_t p, bool lost)
{
	size_t at = (size_t)p * PAGE;
	memcpy(d->believed + at, d->cache + at, PAGE);
	if (!lost)
		memcpy(d->disk + at, d->cache + at, PAGE);
	d->written[p] = false;
}

static void clean_range(struct disk *d, uint64_t off, uint64_t n)
{
	for (uint32_t p = (uint32_t)(off / PAGE); p < pages(off + n); p++)
		if (dirty(d, p))
			clean(d, p, false);
	if (d->disk_size < d->size)
		d->disk_size = d->size;
}

/* A failed sync: each page may have reached the disk or not, and none is dirty
 * any more (as Linux has it). */
static void fail_range(struct disk *d, uint64_t off, uint64_t n)
{
	uint32_t p = (uint32_t)(off / PAGE), how = rng_below(&d->rng, 3);
	for (; p < pages(off + n); p++)
		if (dirty(d, p))
			clean(d, p, how == 0 || (how == 1 && rng_below(&d->rng, 2)));
}

/* The kernel writes back when it likes. */
static void write_back_some(struct disk *d)
{
	if (d->lies || rng_below(&d->rng, 24))
		return;
	uint32_t of = 1 + rng_below(&d->rng, 8);
	for (uint32_t p = 0; p < pages(d->size); p++)
		if (rng_below(&d->rng, of) == 0 && dirty(d, p))
			clean(d, p, false);
}

static void die(struct disk *d)
{
	d->dead = true;
	memcpy(d->frozen, d->cache, d->size);
	d->frozen_size = d->size;
}

/* What this effect meets: 0, or the errno it fails with.  A write that is cut
 * off may have done its first *part octets. */
static int gate(struct disk *d, enum disk_op op, size_t n, size_t *part)
{
	*part = 0;
	if (d->dead)
		return EIO;
	d->ops++;
	if (op != OP_READ)
		write_back_some(d);
	bool now = d->plan.what != PLAN_NONE && d->ops == d->plan.at;
	if (now && op == OP_WRITE && rng_below(&d->rng, 2))
		*part = rng_below(&d->rng, (uint32_t)n);
	if (now && d->plan.what == PLAN_ERROR) {
		d->failed = op;
		d->failing = d->plan.lasting;
		return op == OP_SYNC || op == OP_READ ? EIO : d->plan.error;
	}
	if (d->failing && (op == OP_WRITE || op == OP_ALLOCATE))
		return d->plan.error;
	return now ? -1 : 0;
}

static void put(struct disk *d, const void *p, size_t n, uint64_t off)
{
	if (n == 0)
		return;
	if (off + n > d->size)
		disk_resize(d, off + n);
	memcpy(d->cache + off, p, n);
	for (uint32_t x = (uint32_t)(off / PAGE); x < pages(off + n); x++)
		d->written[x] = true;
}

static int refuse(struct disk *d, int e)
{
	if (e < 0)
		die(d);
	errno = e < 0 ? EIO : e;
	return -1;
}

ssize_t io_read(int fd, void *p, size_t n, uint64_t off)
{
	struct disk *d = cur;
	size_t part;
	int e = gate(d, OP_READ, n, &part);
	(void)fd;
	if (e)
		return refuse(d, e);
	if (off >= d->size)
		return 0;
	n = d->size - off < n ? (size_t)(d->size - off) : n;
	memcpy(p, d->cache + off, n);
	return (ssize_t)n;
}

ssize_t io_write(int fd, const void *p, size_t n, uint64_t off)
{
	struct disk *d = cur;
	size_t part;
	int e = gate(d, OP_WRITE, n, &part);
	(void)fd;
	if (!e) {
		put(d, p, n, off);
		return (ssize_t)n;
	}
	if (d->dead)
		return refuse(d, EIO);
	put(d, p, part, off);
	if (e == ENOSPC && part) /* a full disk writes what fits, and fails the next time */
		return (ssize_t)part;
	return refuse(d, e);
}

ssize_t io_write_synced(int fd, const void *p, size_t n, uint64_t off, bool *synced)
{
	struct disk *d = cur;
	size_t part;
	/* some file systems can't */
	*synced = rng_below(&d->rng, 8) != 0;
	if (!*synced)
		return io_write(fd, p, n, off);
	int e = gate(d, OP_WRITE, n, &part);
	if (d->dead)
		return refuse(d, EIO);
	if (e > 0 || (e < 0 && part)) { /* written, perhaps; not synced */
		put(d, p, e > 0 && rng_below(&d->rng, 2) ? n : part, off);
		if (e > 0)
			fail_range(d, off, n);
		if (e > 0)
			d->failed = OP_SYNC;
		return refuse(d, e);
	}
	if (e == 0 || rng_below(&d->rng, 2)) {
		put(d, p, n, off);
		if (!d->lies)
			clean_range(d, off, n);
	}
	return e ? refuse(d, e) : (ssize_t)n; /* cut off behind it: done, and nobody was told */
}

int io_sync(int fd)
{
	struct disk *d = cur;
	size_t part;
	int e = gate(d, OP_SYNC, 0, &part);
	(void)fd;
	if (e == 0 && !d->lies)
		clean_range(d, 0, d->size);
	if (e > 0 && !d->dead)
		fail_range(d, 0, d->size);
	return e ? refuse(d, e) : 0;
}

int io_sync_mapped(int fd, void *p, size_t n, uint64_t off)
{
	struct disk *d = cur;
	size_t part;
	int e = gate(d, OP_SYNC, 0, &part);
	(void)fd, (void)p;
	if (e == 0 && !d->lies)
		clean_range(d, off, n);
	if (e > 0 && !d->dead)
		fail_range(d, off, n);
	return e ? refuse(d, e) : 0;
}

int io_allocate(int fd, uint64_t off, uint64_t n)
{
	struct disk *d = cur;
	size_t part;
	int e = gate(d, OP_ALLOCATE, 0, &part);
	(void)fd;
	if (e)
		return refuse(d, e);
	if (off + n > DISK_MAX) {
		errno = ENOSPC;
		return -1;
	}
	if (off + n > d->size)
		disk_resize(d, off + n);
	return 0;
}

int io_truncate(int fd, uint64_t n)
{
	struct disk *d = cur;
	size_t part;
	int e = gate(d, OP_TRUNCATE, 0, &part);
	(void)fd;
	if (e)
		return refuse(d, e);
	disk_resize(d, n);
	return 0;
}

void io_mapped(int fd, uint64_t off, uint64_t n)
{
	struct disk *d = cur;
	size_t part;
	int e = gate(d, OP_MAPPED, 0, &part);
	(void)fd;
	if (e < 0)
		die(d);
	for (uint32_t x = (uint32_t)(off / PAGE); x < pages(off + n); x++)
		d->written[x] = true;
}

/* ---- what is left ---- */

void disk_killed(struct disk *d)
{
	if (d->dead) { /* what the process did since, it did not do */
		disk_resize(d, d->frozen_size);
		memcpy(d->cache, d->frozen, d->frozen_size);
	}
	disk_plan(d, (struct plan){ 0 });
}

static void reach(struct disk *d, size_t at, size_t n) { memcpy(d->disk + at, d->cache + at, n); }

void disk_power_loss(struct disk *d, enum loss how)
{
	static uint32_t list[PAGES];
	static const uint32_t chances[] = { 2, 8, 3 };
	uint32_t n = 0, one, of = chances[rng_below(&d->rng, 3)];
	disk_killed(d);
	for (uint32_t p = 0; p < pages(d->size); p++)
		if (dirty(d, p))
			list[n++] = p;
	one = rng_below(&d->rng, n);
	for (uint32_t i = 0; i < n; i++) {
		size_t at = (size_t)list[i] * PAGE;
		if (how == LOSS_NOTHING || (how == LOSS_PAGES && rng_below(&d->rng, of)) ||
		    (how == LOSS_ONE_PAGE && i != one) || (how == LOSS_ALL_BUT_ONE_PAGE && i == one))
			reach(d, at, PAGE);
		for (uint32_t s = 0; (how == LOSS_SECTORS || (how == LOSS_ONE_SECTOR && i == one)) && s < PAGE; s += SECTOR)
			if (rng_below(&d->rng, 2))
				reach(d, at + s, SECTOR);
		if (how == LOSS_ONE_SECTOR && i != one)
			reach(d, at, PAGE);
	}
	uint64_t size = d->disk_size;
	if (how == LOSS_NOTHING || (how != LOSS_ALL && rng_below(&d->rng, 2)))
		size = d->size;
	disk_resize(d, 0); /* zeros behind the end */
	disk_resize(d, size);
	memcpy(d->cache, d->disk, size);
	memcpy(d->believed, d->cache, size);
	if (size < DISK_MAX) {
		madvise(d->disk + (size + PAGE - 1) / PAGE * PAGE, DISK_MAX - (size + PAGE - 1) / PAGE * PAGE, MADV_DONTNEED);
		madvise(d->believed + (size + PAGE - 1) / PAGE * PAGE, DISK_MAX - (size + PAGE - 1) / PAGE * PAGE, MADV_DONTNEED);
	}
	memset(d->written, 0, sizeof d->written);
	d->disk_size = size;
}

/* ---- seals ---- */

#define SEALS (1u << 20)
struct seal { uint64_t use, text; };
static struct seal seals[SEALS];
static uint64_t nseals, reused;

/* The MACs of segments are sealings of nothing; one counts when it went into a
 * checkpoint, as every look at a segment computes one. */
#define PENDING 4096u
static struct { uint64_t use, text; uint8_t mac[16]; } pend[PENDING];
static uint32_t npend;

void seals_clear(void)
{
	if (nseals > SEALS / 4) {
		memset(seals, 0, sizeof seals);
		nseals = 0;
	}
	reused = npend = 0;
}
uint64_t seals_count(void) { return nseals; }
uint64_t seals_reused(void) { return reused; }

static uint64_t digest(const void *a, size_t an, const void *b, size_t bn)
{
	static const struct sip k = { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull };
	uint64_t x[2] = { sip64(&k, a, an), sip64(&k, b, bn) };
	return sip64(&k, x, sizeof x);
}

static void record(uint64_t use, uint64_t text)
{
	if (nseals >= SEALS / 4 * 3) {
		fprintf(stderr, "# too many seals to remember\n");
		abort();
	}
	use += use == 0;
	for (uint32_t i = (uint32_t)use;; i++) {
		struct seal *s = seals + i % SEALS;
		if (s->use == use) {
			reused += s->text != text;
			return;
		}
		if (s->use == 0) {
			*s = (struct seal){ use, text };
			nseals++;
			return;
		}
	}
}

static void publish(const uint8_t *table, size_t n)
{
	for (uint32_t i = 0; i < npend;) {
		if (memmem(table, n, pend[i].mac, 16)) {
			record(pend[i].use, pend[i].text);
			pend[i] = pend[--npend];
		} else {
			i++;
		}
	}
	if (memcmp(table, "\0\0\0", 4) == 0) /* the table's last block */
		npend = 0;
}

void fault_seal(const struct aead *a, const uint8_t nonce[static 12], const void *aad, size_t aadn, void *buf,
                size_t n, uint8_t *tag, size_t taglen)
{
	static const uint8_t none[12] = "which key is";
	uint8_t key[16], b;
	/* the key, by what it makes of a nonce that the store never takes */
	aead_seal(a, none, NULL, 0, &b, 0, key, 16);
	uint64_t use = digest(key, 16, nonce, 12), text = digest(aad, aadn, buf, n);
	if (n > 0)
		record(use, text);
	if (n >= 200000 && aadn == 0)
		publish(buf, n);
	aead_seal(a, nonce, aad, aadn, buf, n, tag, taglen);
	if (n == 0) {
		for (uint32_t i = 0; i < npend; i++)
			if (pend[i].use == use && memcmp(pend[i].mac, tag, 16) == 0)
				return;
		if (npend == PENDING)
			abort();
		pend[npend].use = use;
		pend[npend].text = text;
		memcpy(pend[npend++].mac, tag, 16);
	}
}
