/* cold.c - pages of the store that are not in memory are brought in by helpers,
 * threads that do nothing else, so that who answers never waits for the disk.
 *
 * What is known to be in memory is kept by a bit a page, for all workers of the
 * process.  Where no bit is set the kernel is asked (mincore: less than a
 * microsecond, and unlike a read with RWF_NOWAIT it begins nothing), and sets it.
 * A bit is believed for ever where nothing is brought in, and where something is,
 * perhaps in the place of other pages, for BELIEVED_NS; and until some worker has
 * waited for the disk all the same, which its count of faults tells.  Then all go.
 *
 * States of an errand: waiting -> a helper's -> back; or recalled, while it waits.
 * Errands lie in their owners' memory and so are as many as these have room for.
 *
 * A helper decrypts nothing, believes nothing, and needs no epoch: what it touches
 * is an address within the mapping, whatever lies there by now. */
#include "store/internal.h"
#include "store/io.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define HELPERS 4u
#define AHEAD   8u           /* errands that a helper tells the disk of before it waits */
#define STACK   (64u << 10)
#define LOOK    64u          /* pages a call */
#define BELIEVED_NS 1000000000u

struct store_cold {
	pthread_mutex_t lock;
	pthread_cond_t turn;         /* for helpers: an errand, forget, end */
	pthread_cond_t change;       /* for others: a helper is up, an errand is back */
	struct ring waiting;
	struct {
		struct ring back;
		unsigned out;        /* sent, not back */
		int fd;              /* an eventfd: readable while there are some in back */
	} worker[STORE_WORKERS];
	unsigned workers, helpers, up;
	pthread_t thread[HELPERS];
	_Atomic uint64_t top;        /* words of map.known that ever had a bit */
	_Atomic uint64_t brought;    /* errands since we forgot; written under the lock */
	uint64_t forgot_ns;          /* when that was */
	bool forget, end;
	struct store_map *map;
};

/* ---- what is in memory ---- */

static void remember(const struct store_map *m, uint64_t page)
{
	uint64_t word = page / 64, top = atomic_load_explicit(&m->cold->top, memory_order_relaxed);
	while (word >= top && !atomic_compare_exchange_weak(&m->cold->top, &top, word + 1))
		;
	atomic_fetch_or_explicit(&m->known[word], 1ull << page % 64, memory_order_relaxed);
}

/* Are all of n pages there? */
static bool resident(const struct store_map *m, uint64_t page, unsigned n)
{
	unsigned char in[LOOK];
	bool all = true;
	if (io_resident(m->base + (page << m->page_bits), (size_t)n << m->page_bits, in) != 0)
		return true; /* it can't be told */
	for (unsigned i = 0; i < n; i++) {
		if (in[i] & 1)
			remember(m, page + i);
		all &= in[i] & 1;
	}
	return all;
}

/* Where all is in memory, as behind a restart, a look at a page learns of those
 * around it too: else each of millions would cost a call of its own. */
static void look_around(const struct store_map *m, uint64_t page)
{
	if (atomic_load_explicit(&m->cold->brought, memory_order_relaxed) == 0)
		resident(m, page / LOOK * LOOK, LOOK);
}

/* The first of these pages that is not known to be there; end: they all are. */
static uint64_t first_unknown(const struct store_map *m, uint64_t page, uint64_t end)
{
	while (page < end && page_known(m, page << m->page_bits))
		page++;
	return page;
}

bool cold_look(const struct store_map *m, uint64_t at, size_t n, struct scratch *s)
{
	uint64_t page = at >> m->page_bits, end = ((at + n - 1) >> m->page_bits) + 1;
	bool all = true;
	if (s->patient || (page = first_unknown(m, page, end)) == end)
		return true;
	look_around(m, page);
	for (page = first_unknown(m, page, end); page < end; page += LOOK)
		all &= resident(m, page, end - page < LOOK ? (unsigned)(end - page) : LOOK);
	if (!all)
		s->cold = (struct store_range){ at, (uint32_t)n };
	return all;
}

static void forget(struct store_cold *c)
{
	uint64_t top = atomic_load_explicit(&c->top, memory_order_relaxed);
	for (uint64_t i = 0; i < top; i++)
		atomic_store_explicit(&c->map->known[i], 0, memory_order_relaxed);
}

void store_cold_age(const struct store_map *m, bool faulted, uint64_t now_ns)
{
	struct store_cold *c = m->cold;
	pthread_mutex_lock(&c->lock);
	if (faulted || (c->brought > 0 && now_ns - c->forgot_ns >= BELIEVED_NS)) {
		c->brought = 0;
		c->forgot_ns = now_ns;
		c->forget = true;
		pthread_cond_signal(&c->turn);
	}
	pthread_mutex_unlock(&c->lock);
}

/* ---- helpers ---- */

static struct store_errand *errand_of(struct ring *r) { return RING_OWNER(r, struct store_errand, link); }

/* The pages of a range. */
static const uint8_t *pages_of(const struct store_map *m, const struct store_range *r, size_t *n)
{
	uint64_t first = r->at >> m->page_bits << m->page_bits;
	*n = (size_t)(r->at + r->len - first);
	return m->base + first;
}

static void fetch(const struct store_map *m, struct store_errand *e)
{
	struct store_guard g;
	size_t n;
	const uint8_t *p = pages_of(m, &e->range, &n);
	store_guard_enter(m, &g);
	if (sigsetjmp(g.to, 0) == 0)
		io_fetch(p, n, (size_t)1 << m->page_bits);
	else
		e->failed = true; /* as sent, it is not */
	store_guard_leave(&g);
}

static void bring_back(struct store_cold *c, struct store_errand *e)
{
	uint64_t one = 1;
	ssize_t n = 0;
	pthread_mutex_lock(&c->lock);
	struct ring *back = &c->worker[e->worker].back;
	if (ring_empty(back))
		n = write(c->worker[e->worker].fd, &one, sizeof one); /* it is never full */
	(void)n;
	ring_add(back, &e->link);
	c->worker[e->worker].out--;
	c->brought++;
	pthread_cond_broadcast(&c->change);
	pthread_mutex_unlock(&c->lock);
}

/* What waits, up to AHEAD of it; the lock is held. */
static unsigned take(struct store_cold *c, struct store_errand **out)
{
	unsigned n = 0;
	while (n < AHEAD && !ring_empty(&c->waiting)) {
		out[n] = errand_of(c->waiting.next);
		ring_del(&out[n++]->link);
	}
	return n;
}

/* Names lie anywhere: what is around a page is not worth what it would push out.  So
 * the disk is told of the very pages, and the touch finds them under way; by itself
 * it would read 128 KiB.  (MADV_RANDOM would prevent that too, but then the kernel
 * takes no touch for a use, and what is asked most goes like all else.) */
static void work(struct store_cold *c, struct store_errand **e, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		size_t len;
		const uint8_t *p = pages_of(c->map, &e[i]->range, &len);
		io_soon(p, len);
	}
	for (unsigned i = 0; i < n; i++) {
		fetch(c->map, e[i]);
		bring_back(c, e[i]);
	}
}

static void *help(void *p)
{
	struct store_cold *c = p;
	prctl(PR_SET_NAME, "encdns-fetch");
	pthread_mutex_lock(&c->lock);
	c->up++;
	pthread_cond_broadcast(&c->change);
	while (!c->end) {
		struct store_errand *e[AHEAD];
		bool clear = c->forget;
		unsigned n = take(c, e);
		c->forget = false;
		if (!clear && n == 0) {
			pthread_cond_wait(&c->turn, &c->lock);
			continue;
		}
		pthread_mutex_unlock(&c->lock);
		if (clear)
			forget(c);
		work(c, e, n);
		pthread_mutex_lock(&c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* ---- the workers' side ---- */

int store_cold_fd(const struct store_map *m, unsigned worker)
{
	return m->cold && worker < m->cold->workers ? m->cold->worker[worker].fd : -1;
}

void store_cold_send(const struct store_map *m, struct store_errand *e)
{
	struct store_cold *c = m->cold;
	e->failed = false;
	pthread_mutex_lock(&c->lock);
	ring_add(&c->waiting, &e->link);
	c->worker[e->worker].out++;
	pthread_cond_signal(&c->turn);
	pthread_mutex_unlock(&c->lock);
}

unsigned store_cold_back(const struct store_map *m, unsigned worker, struct store_errand **out, unsigned n)
{
	struct store_cold *c = m->cold;
	struct ring *back = &c->worker[worker].back;
	uint64_t all;
	unsigned i = 0;
	pthread_mutex_lock(&c->lock);
	for (; i < n && !ring_empty(back); i++) {
		out[i] = errand_of(back->next);
		ring_del(&out[i]->link);
	}
	if (ring_empty(back) && read(c->worker[worker].fd, &all, sizeof all) < 0)
		errno = 0; /* nothing was there */
	pthread_mutex_unlock(&c->lock);
	return i;
}

void store_cold_recall(const struct store_map *m, unsigned worker)
{
	struct store_cold *c = m->cold;
	struct store_errand *e[AHEAD];
	if (store_cold_fd(m, worker) < 0)
		return;
	pthread_mutex_lock(&c->lock);
	for (struct ring *r = c->waiting.next, *next; r != &c->waiting; r = next) {
		next = r->next;
		if (errand_of(r)->worker == worker) {
			ring_del(r);
			c->worker[worker].out--;
		}
	}
	while (c->worker[worker].out > 0)
		pthread_cond_wait(&c->change, &c->lock);
	pthread_mutex_unlock(&c->lock);
	while (store_cold_back(m, worker, e, AHEAD) > 0)
		;
}

/* ---- beginning and end ---- */

/* Does the kernel tell us, who can't write to the file, the truth?  Who is not its
 * owner hears that all is there: even what lies behind the file's end. */
static bool kernel_tells(const struct store_map *m)
{
	unsigned char in = 1;
	size_t page = (size_t)1 << m->page_bits;
	return io_resident(m->base + (m->reserve - page), page, &in) == 0 && !(in & 1);
}

static size_t known_size(const struct store_map *m) { return (size_t)((m->reserve >> m->page_bits) / 8 + 8); }

/* Threads with all signals blocked but that of their own doing.  One is enough. */
static int start(struct store_cold *c)
{
	pthread_attr_t attr;
	sigset_t all, before;
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int r = 0;
	while (c->helpers < HELPERS && (r = pthread_create(&c->thread[c->helpers], &attr, help, c)) == 0)
		c->helpers++;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	/* what they do first may soon be forbidden */
	pthread_mutex_lock(&c->lock);
	while (c->up < c->helpers)
		pthread_cond_wait(&c->change, &c->lock);
	pthread_mutex_unlock(&c->lock);
	errno = r;
	return c->helpers > 0 ? 0 : -1;
}

static int open_fds(struct store_cold *c, unsigned workers)
{
	for (; c->workers < workers; c->workers++) {
		int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (fd < 0)
			return -1;
		c->worker[c->workers].fd = fd;
		ring_init(&c->worker[c->workers].back);
	}
	return 0;
}

int store_cold_begin(struct store_map *m, unsigned workers)
{
	long page = sysconf(_SC_PAGESIZE);
	for (m->page_bits = 0; 1l << m->page_bits < page;)
		m->page_bits++;
	if (!kernel_tells(m)) {
		errno = ENOTSUP;
		return -1;
	}
	struct store_cold *c = calloc(1, sizeof *c);
	if (!c)
		return -1;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->turn, NULL);
	pthread_cond_init(&c->change, NULL);
	ring_init(&c->waiting);
	c->map = m;
	m->cold = c;
	m->known = map_zeros(known_size(m));
	if (m->known && open_fds(c, workers) == 0 && start(c) == 0)
		return 0;
	int e = errno;
	cold_end(m);
	errno = e;
	return -1;
}

void cold_end(struct store_map *m)
{
	struct store_cold *c = m->cold;
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->end = true;
	pthread_cond_broadcast(&c->turn);
	pthread_mutex_unlock(&c->lock);
	while (c->helpers > 0)
		pthread_join(c->thread[--c->helpers], NULL);
	while (c->workers > 0)
		close(c->worker[--c->workers].fd);
	if (m->known)
		munmap(m->known, known_size(m));
	m->known = NULL;
	m->cold = NULL;
	free(c);
}
