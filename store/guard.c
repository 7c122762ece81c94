/* guard.c - pages of the store that the disk does not give.
 *
 * Reading the mapping where the disk fails, or behind the end of a file that was
 * cut, is SIGBUS.  A thread that reads keeps a guard: the signal leads back to
 * it, and it says STORE_DAMAGED.  The writer guards its look-ups; in the midst
 * of a change there is no way back: the process ends with STORE_EXIT_DAMAGED, as
 * after any other failed write, and its successor starts from the last commit.
 * Any other SIGBUS is fatal as always.
 * Threat: the disk.  The handler believes nothing but the address. */
#include "store/internal.h"

#include <signal.h>
#include <unistd.h>

static _Thread_local struct store_guard *current;
static const struct store_map *_Atomic writer; /* the one this process changes */

static bool is_in(const struct store_map *m, const uint8_t *p)
{
	return m && p >= m->base && (uint64_t)(p - m->base) < m->reserve;
}

static void end_writer(void)
{
	static const char why[] = "store: input/output error under a change, or the file was cut short; starting anew from the last commit\n";
	ssize_t n = write(2, why, sizeof why - 1);
	(void)n;
	_exit(STORE_EXIT_DAMAGED);
}

static void on_bus(int sig, siginfo_t *si, void *context)
{
	struct store_guard *g = current;
	const uint8_t *p = si->si_addr;
	(void)context;
	bool fault = si->si_code > 0; /* of the processor's, not somebody's kill() */
	if (fault && g && is_in(g->map, p)) {
		atomic_fetch_add_explicit(g->map->damaged, 1, memory_order_relaxed);
		siglongjmp(g->to, 1);
	}
	if (fault && is_in(atomic_load_explicit(&writer, memory_order_relaxed), p))
		end_writer();
	signal(sig, SIG_DFL);
	if (!fault)
		raise(sig); /* else it comes again by itself */
}

void guard_map(const struct store_map *m, bool writes)
{
	struct sigaction a;
	memset(&a, 0, sizeof a);
	a.sa_sigaction = on_bus;
	/* not blocked meanwhile: the way out is a jump that leaves the mask alone */
	a.sa_flags = SA_SIGINFO | SA_NODEFER;
	sigaction(SIGBUS, &a, NULL);
	if (writes)
		atomic_store(&writer, m);
}

void guard_unmap(const struct store_map *m)
{
	const struct store_map *mine = m;
	atomic_compare_exchange_strong(&writer, &mine, NULL);
}

void store_guard_enter(const struct store_map *m, struct store_guard *g)
{
	g->map = m;
	g->outer = current;
	/* what follows in this thread follows in memory too: the handler is its own */
	atomic_signal_fence(memory_order_seq_cst);
	current = g;
}

void store_guard_leave(struct store_guard *g)
{
	atomic_signal_fence(memory_order_seq_cst);
	current = g->outer;
}
