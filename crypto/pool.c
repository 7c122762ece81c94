/* pool.c - the pages in which secrets lie.
 *
 * Regions of pages, mapped apart from everything else: locked against
 * swapping, left out of core dumps, not inherited by fork.  A region is cut
 * into slots of 64 octets; an allocation is a run of slots, first fit.  Which
 * slots are taken stands outside the region, so a stray write in a secret
 * cannot turn the map over.  Regions stay until the process ends.
 *
 * Locking may be refused (RLIMIT_MEMLOCK): that is remembered and told by
 * crypto_locked(); the pool works all the same. */
#include "crypto/internal.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SLOT 64u
#define FIRST_REGION (256u << 10) /* some 400 AEAD keys without another system call */
#define NEXT_REGION (1u << 20)
#define MAX_REGIONS 512

struct region {
	uint8_t *base;
	size_t slots;
	size_t free;    /* slots */
	uint8_t *taken; /* one octet a slot */
};

static struct {
	atomic_flag busy;
	struct region region[MAX_REGIONS];
	size_t regions;
	atomic_bool unlocked; /* some region could not be locked */
} pool;

static void lock(void)
{
	while (atomic_flag_test_and_set_explicit(&pool.busy, memory_order_acquire))
		sched_yield();
}

static void unlock(void)
{
	atomic_flag_clear_explicit(&pool.busy, memory_order_release);
}

static void *map(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static struct region *grow(size_t n)
{
	size_t size = pool.regions ? NEXT_REGION : FIRST_REGION;

	while (size < n)
		size *= 2;
	if (pool.regions == MAX_REGIONS) {
		errno = ENOMEM;
		return NULL;
	}
	struct region r = { .slots = size / SLOT, .free = size / SLOT };
	r.base = map(size);
	r.taken = map(r.slots);
	if (!r.base || !r.taken) {
		if (r.base)
			munmap(r.base, size);
		if (r.taken)
			munmap(r.taken, r.slots);
		errno = ENOMEM;
		return NULL;
	}
	/* A kernel that cannot keep a secret out of a child or a dump gets none. */
	if (madvise(r.base, size, MADV_DONTFORK) != 0 ||
	    madvise(r.base, size, MADV_DONTDUMP) != 0) {
		munmap(r.base, size);
		munmap(r.taken, r.slots);
		return NULL;
	}
	if (mlock(r.base, size) != 0)
		atomic_store(&pool.unlocked, true);
	pool.region[pool.regions] = r;
	return &pool.region[pool.regions++];
}

int pool_init(void)
{
	/* In a child of fork the parent's regions are not there any more, only
	 * their maps are; the lock may have been held by a thread that is not. */
	for (size_t i = 0; i < pool.regions; i++)
		munmap(pool.region[i].taken, pool.region[i].slots);
	pool.regions = 0;
	atomic_flag_clear(&pool.busy);
	atomic_store(&pool.unlocked, false);
	return grow(FIRST_REGION) ? 0 : -1;
}

static void *take_run(struct region *r, size_t want)
{
	size_t run = 0;

	if (r->free < want)
		return NULL;
	for (size_t i = 0; i < r->slots; i++) {
		run = r->taken[i] ? 0 : run + 1;
		if (run == want) {
			size_t at = i + 1 - want;
			memset(r->taken + at, 1, want);
			r->free -= want;
			return r->base + at * SLOT;
		}
	}
	return NULL;
}

void *pool_alloc(size_t n)
{
	size_t want = n ? (n + SLOT - 1) / SLOT : 1;
	void *p = NULL;

	lock();
	for (size_t i = 0; i < pool.regions && !p; i++)
		p = take_run(&pool.region[i], want);
	if (!p) {
		struct region *r = grow(want * SLOT);
		if (r)
			p = take_run(r, want);
	}
	unlock();
	return p;
}

void pool_free(void *p, size_t n)
{
	size_t count = n ? (n + SLOT - 1) / SLOT : 1;

	if (!p)
		return;
	crypto_wipe(p, n);
	lock();
	struct region *r = pool.region, *end = pool.region + pool.regions;
	while (r < end && (uintptr_t)p - (uintptr_t)r->base >= r->slots * SLOT)
		r++;
	/* Freed twice, or another process's: a bug of ours. */
	size_t at = r < end ? ((uintptr_t)p - (uintptr_t)r->base) / SLOT : 0;
	if (r == end || !r->taken[at])
		abort();
	memset(r->taken + at, 0, count);
	r->free += count;
	unlock();
}

void crypto_end(void)
{
	lock();
	for (size_t i = 0; i < pool.regions; i++)
		crypto_wipe(pool.region[i].base, pool.region[i].slots * SLOT);
	unlock();
}

bool crypto_locked(void)
{
	return !atomic_load(&pool.unlocked);
}
