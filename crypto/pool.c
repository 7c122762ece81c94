/* pool.c - the pages in which secrets lie.
 *
 * Regions of pages, mapped apart from everything else between two that can't be
 * touched: left out of core dumps, not inherited by fork.  Where the kernel has
 * memfd_secret they are such memory, which nobody but this process can read, not
 * even root by way of /proc or a debugger, and which the kernel wipes when the
 * process ends, however it does; elsewhere they are locked against swapping.  A
 * region is cut into slots of 64 octets; an allocation is a run of slots, first
 * fit.  Which slots are taken stands outside the region, so a stray write in a
 * secret cannot turn the map over.  Regions stay until the process ends.
 *
 * Locking may be refused (RLIMIT_MEMLOCK): that is remembered and told by
 * crypto_not_locked(); the pool works all the same. */
#include "crypto/internal.h"

#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define SLOT 64u
#define GUARD 65536u /* a page of any machine */
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

/* ---- what could not be locked ---- */

#define KINDS 8
static _Atomic(const char *) unlocked[KINDS];

static void note_unlocked(const char *what)
{
	for (unsigned i = 0; i < KINDS; i++) {
		const char *was = NULL;
		if (atomic_compare_exchange_strong(&unlocked[i], &was, what) || strcmp(was, what) == 0)
			return;
	}
}

const char *crypto_not_locked(char *out, size_t n)
{
	size_t at = 0;
	out[0] = 0;
	for (unsigned i = 0; i < KINDS && at < n; i++) {
		const char *what = atomic_load(&unlocked[i]);
		if (what)
			at += (size_t)snprintf(out + at, n - at, "%s%s", at ? ", " : "", what);
	}
	return at ? out : NULL;
}

void crypto_lock(const void *p, size_t n, const char *what)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)p & ~(page - 1);
	size_t size = (((uintptr_t)p + n + page - 1) & ~(page - 1)) - from;

	if (n == 0)
		return;
	/* what was never touched takes no memory; older kernels know only all */
	bool done = mlock2((void *)from, size, MLOCK_ONFAULT) == 0 ||
	            (errno == ENOSYS && mlock((void *)from, size) == 0);
	madvise((void *)from, size, MADV_DONTDUMP);
	if (!done)
		note_unlocked(what);
}

__attribute__((noinline)) void crypto_lock_stack(void)
{
	uint8_t below[STACK_LOCKED];

	crypto_wipe(below, sizeof below); /* so that it is there */
	crypto_lock(below, sizeof below, "stacks");
}

void crypto_lock_thread(pthread_t t)
{
	pthread_attr_t a;
	void *stack;
	size_t n;

	if (pthread_getattr_np(t, &a) != 0)
		return;
	if (pthread_attr_getstack(&a, &stack, &n) == 0)
		crypto_lock(stack, n, "stacks");
	pthread_attr_destroy(&a);
}

/* ---- regions ---- */

static void *map(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

/* Memory that the kernel itself has not mapped, in the place at `at`. */
static bool map_secret(void *at, size_t n)
{
	int fd = (int)syscall(SYS_memfd_secret, O_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd < 0)
		return false;
	if (ftruncate(fd, (off_t)n) == 0)
		p = mmap(at, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	close(fd);
	return p != MAP_FAILED;
}

static bool map_locked(void *at, size_t n)
{
	if (mmap(at, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return false;
	if (mlock(at, n) != 0)
		note_unlocked("keys");
	return true;
}

static uint8_t *map_region(size_t n)
{
	uint8_t *p = mmap(NULL, n + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if ((map_secret(p + GUARD, n) || map_locked(p + GUARD, n)) &&
	    /* a kernel that cannot keep a secret out of a child or a dump gets none */
	    madvise(p + GUARD, n, MADV_DONTFORK) == 0 && madvise(p + GUARD, n, MADV_DONTDUMP) == 0)
		return p + GUARD;
	munmap(p, n + 2 * GUARD);
	return NULL;
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
	r.taken = map(r.slots);
	r.base = r.taken ? map_region(size) : NULL;
	if (!r.base) {
		if (r.taken)
			munmap(r.taken, r.slots);
		errno = ENOMEM;
		return NULL;
	}
	pool.region[pool.regions] = r;
	return &pool.region[pool.regions++];
}

/* As much as we may lock. */
static void raise_limit(void)
{
	struct rlimit most = { RLIM_INFINITY, RLIM_INFINITY }, l;

	if (setrlimit(RLIMIT_MEMLOCK, &most) == 0 || getrlimit(RLIMIT_MEMLOCK, &l) != 0)
		return;
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_MEMLOCK, &l);
}

int pool_init(void)
{
	raise_limit();
	/* In a child of fork the parent's regions are not there any more, only
	 * their maps are, and what stood around them; the lock may have been held by
	 * a thread that is not. */
	for (size_t i = 0; i < pool.regions; i++) {
		const struct region *r = &pool.region[i];
		munmap(r->taken, r->slots);
		munmap(r->base - GUARD, GUARD);
		munmap(r->base + r->slots * SLOT, GUARD);
	}
	pool.regions = 0;
	atomic_flag_clear(&pool.busy);
	for (unsigned i = 0; i < KINDS; i++)
		atomic_store(&unlocked[i], NULL);
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
	for (size_t i = 0; i < pool.regions; i++)
		crypto_wipe(pool.region[i].base, pool.region[i].slots * SLOT);
}

/* The handler is set back by then: what has harmed us does so again. */
static void on_crash(int sig)
{
	crypto_end();
	raise(sig);
}

void crypto_wipe_on_crash(bool on)
{
	static const int fatal[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP };
	struct sigaction a = { .sa_handler = on ? on_crash : SIG_DFL, .sa_flags = (int)SA_RESETHAND };

	for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
		sigaction(fatal[i], &a, NULL);
}
