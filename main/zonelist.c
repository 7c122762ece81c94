/* zonelist.c - which zones there are and with which serials, for encdns-route,
 * who may not read the store: sealed memory, made anew when something has changed.
 * Looking costs a look-up for each zone, so that it is done once a second at most, and
 * for very many zones less often. */
#include "main/node.h"

#include "base/io.h"
#include "base/loop.h"
#include "main/probe.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LOOK_NS    1000000000ull
#define SHARE      20 /* at most one part in so many of our time */

static uint8_t state_of(const struct store_zone *z)
{
	if (z->hold || z->state == ZONE_LOADING)
		return ZONE_LIST_OTHER;
	return z->state == ZONE_SERVING ? ZONE_LIST_SERVED : ZONE_LIST_FAILED;
}

static bool make(struct store *st, struct buf *out)
{
	uint8_t head[ZONE_LIST_HEAD] = { 1 }, each[ZONE_LIST_EACH_MAX];
	struct store_zone z;
	uint32_t n = 0;
	buf_put(out, head, sizeof head);
	enum store_found r = store_zone_next(st, NULL, &z);
	for (; r == STORE_FOUND; r = store_zone_next(st, z.name, &z)) {
		struct wr w = wr_init(each, sizeof each);
		zone_list_put(&w, state_of(&z), z.serial, z.name);
		buf_put(out, each, wr_len(&w));
		n++;
	}
	if (out->bad)
		return false;
	put_u32(out->p + 1, n);
	return true;
}

static int seal(const struct buf *b)
{
	int fd = memfd_create("encdns-zones", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -1;
	if (io_write_all(fd, b->p, b->n) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0)
		return fd;
	close(fd);
	return -1;
}

int zone_list_look(struct zone_list *l, struct store *st, uint64_t now)
{
	struct buf b = { 0 };
	uint64_t pause = l->cost_ns * SHARE > LOOK_NS ? l->cost_ns * SHARE : LOOK_NS;
	if (l->last.n <= ZONE_LIST_HEAD)
		pause = 0; /* everybody waits for the first zones */
	if (l->built_ns && now - l->built_ns < pause)
		return -1;
	uint64_t seq = store_seq(st), begun = loop_now();
	bool good = make(st, &b);
	l->built_ns = now;
	l->cost_ns = loop_now() - begun;
	bool same = good && l->last.n == b.n && memcmp(l->last.p, b.p, b.n) == 0;
	int fd = good && !same ? seal(&b) : -1;
	if (same || fd >= 0)
		l->seq = seq;
	l->looks += same || fd >= 0;
	if (fd >= 0) {
		buf_free(&l->last);
		l->last = b;
	} else {
		buf_free(&b);
	}
	return fd;
}
