/* behind.c - what is appended goes to the file behind the writer's back: a
 * helper seals it, writes it and sets its slots, while the writer fills another
 * buffer.
 *
 * Slots of new names that nobody can ask for yet may be left to a list (defer.c),
 * which is the helper's as the index is.
 *
 * States: idle -> given (a full buffer is the helper's, with the fragments whose
 * slots it sets) -> idle, by log_wait.  While it is given the writer only appends:
 * whatever changes space waits first, and whatever looks at index or log settles
 * (log_settle), so that nothing here needs a lock and all else is as if there were
 * no helper.
 *
 * In the buffer being filled, what was appended in bulk is plain from
 * `plain_from` on, and sealed by the helper or when somebody looks. */
#include "store/writer.h"

#include <errno.h>

/* Seals a fragment that lies in p as it will lie at `unit`.  Its length in units. */
static uint64_t seal_at(const struct store *st, uint8_t *p, uint64_t serial, uint64_t unit)
{
	uint8_t nonce[12];
	uint32_t plain = get_u24(p + 1);
	frag_nonce(nonce, serial, unit);
	aead_seal(st->map.salt[st->salt_id].frag, nonce, p, FRAG_CLEAR, p + FRAG_CLEAR, plain, p + FRAG_CLEAR + plain,
	          frag_taglen(p[0]));
	return frag_units(p[0], plain);
}

static void seal_from(const struct store *st, const struct filled *f, uint32_t at)
{
	while (at < f->len)
		at += (uint32_t)(seal_at(st, f->buf + at, f->serial, f->unit + at / UNIT) * UNIT);
}

void log_seal(struct store *st)
{
	seal_from(st, &st->fill, st->plain_from);
	st->plain_from = st->fill.len;
}

int log_sync(struct store *st)
{
	if (st->unsynced && !st->memory && io_sync(st->fd) != 0)
		return store_fail(st);
	st->unsynced = false;
	return 0;
}

/* Writes it at its place; sure: all is durable on return.  A single write syncs
 * its own pages only: the index, which a commit doesn't need, is not dragged along;
 * so what is written inside a group is synced, too, where that is possible: else
 * its commit would have to sync the whole file. */
static int write_out(struct store *st, const struct filled *f, bool sure)
{
	uint64_t off = f->unit * UNIT;
	size_t done = 0;
	if (space_whole(st) != 0)
		return -1;
	while (done < f->len) {
		bool synced = !st->unsynced && !st->memory;
		const uint8_t *p = f->buf + done;
		ssize_t n = synced ? io_write_synced(st->fd, p, f->len - done, off + done, &synced)
		                   : io_write(st->fd, p, f->len - done, off + done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		st->unsynced |= !synced;
		done += (size_t)n;
	}
	return sure ? log_sync(st) : 0;
}

static int set_slots(struct store *st, const struct filled *f)
{
	bool later = defer_open(st, f);
	for (size_t i = 0; i < f->npend; i++) {
		if (later && f->pend[i].late) {
			if (defer_add(st, f->pend + i) != 0)
				return -1;
			continue;
		}
		if (i + SLOTS_AHEAD < f->npend)
			segment_touch(st, f->pend[i + SLOTS_AHEAD].hash);
		if (segment_set(st, f->pend[i].hash, f->pend[i].unit, f->pend[i].old_unit) != 0)
			return -1;
	}
	return 0;
}

/* An empty buffer, for what lies from `unit` on. */
static void begin_fill(struct store *st, uint64_t unit)
{
	st->fill.unit = st->map.pending_unit = unit;
	st->fill.len = st->plain_from = 0;
	st->fill.npend = 0;
	st->fill.late = 0;
	st->map.pending = st->fill.buf;
	st->map.pending_units = 0;
	memset(st->pend_line, 0, sizeof st->pend_line);
}

/* ---- the helper ---- */

static void work(void *p)
{
	struct store *st = p;
	struct filled *g = &st->given;
	errno = 0;
	seal_from(st, g, st->given_plain);
	bool good = write_out(st, g, false) == 0 && set_slots(st, g) == 0;
	st->behind_errno = good ? 0 : errno ? errno : EIO;
}

int log_wait(struct store *st)
{
	if (!st->behind)
		return 0;
	helper_wait(&st->helper);
	st->behind = false;
	if (!st->behind_errno)
		return 0;
	errno = st->behind_errno;
	return store_fail(st);
}

int log_settle(struct store *st)
{
	log_seal(st);
	return log_wait(st);
}

void log_hand_over(struct store *st, uint64_t next)
{
	struct filled full = st->fill;
	st->fill = st->given;
	st->given = full;
	st->given_plain = st->plain_from;
	begin_fill(st, next);
}

void log_behind(struct store *st)
{
	st->behind = true;
	/* not before it is wanted: our process has given up its rights by then */
	if (!st->helper.alive && io_beside()) {
		helper_begin(&st->helper);
		if (st->helper.alive)
			crypto_lock_thread(st->helper.thread); /* it seals */
	}
	helper_give(&st->helper, work, st);
}

int log_flush(struct store *st, bool sync)
{
	if (log_settle(st) != 0)
		return -1;
	if (write_out(st, &st->fill, sync) != 0 || set_slots(st, &st->fill) != 0)
		return store_fail(st);
	begin_fill(st, st->fill.unit + st->fill.len / UNIT);
	return 0;
}
