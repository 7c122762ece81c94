/* apply.c - operations into a store.
 *
 * What is applied is invisible until the store commits; an error leaves the
 * store to be opened again, without the unfinished group.
 * Threat: operations come before the head that proves them, so each is checked
 * for what could confuse the store; the signature decides whether they count. */
#include "journal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define APPLY_SCRATCH (3u << 20) /* two bodies and their heads */

int applier_init(struct applier *a, struct store *st)
{
	memset(a, 0, sizeof *a);
	a->st = st;
	a->body = malloc(BODY_MAX);
	if (a->body && scratch_new(&a->scratch, APPLY_SCRATCH) == 0)
		return 0;
	applier_free(a);
	return -1;
}

void applier_free(struct applier *a)
{
	if (a->body)
		crypto_wipe(a->body, BODY_MAX);
	free(a->body);
	a->body = NULL;
	scratch_free(&a->scratch);
}

void applier_begin(struct applier *a, uint64_t seq)
{
	a->seq = seq;
	a->have_zone = a->fresh = a->made = a->skipping = a->have_turn = false;
	a->zones = 0;
	a->harm = HARM_NONE;
}

static int say(char *err, size_t n, const struct applier *a, const char *what)
{
	char text[NAME_TEXT_MAX];
	if (a->have_zone)
		snprintf(err, n, "transaction %llu, zone %s: %s", (unsigned long long)a->seq,
		         name_text(a->zone.name, text), what);
	else
		snprintf(err, n, "transaction %llu: %s", (unsigned long long)a->seq, what);
	return -1;
}

/* A change was refused: in what is damaged, the instance at hand, or something
 * that a new instance needs too? */
static void blame(struct applier *a, bool zone)
{
	if (errno == EBADMSG)
		a->harm = zone && !a->made ? HARM_ZONE : HARM_STORE;
}

static const char *store_trouble(void)
{
	if (errno == ENOSPC)
		return "the disk is full";
	return errno == EBADMSG ? "the store is damaged" : strerror(errno);
}

static int select_zone(struct applier *a, const struct op_view *o)
{
	uint8_t name[NAME_MAX_LEN];
	name_lower(name, o->name);
	enum store_found r = store_zone_get(a->st, name, &a->zone);
	if (r == STORE_DAMAGED) {
		blame(a, false);
		return -1;
	}
	if (r == STORE_ABSENT) {
		memset(&a->zone, 0, sizeof a->zone);
		memcpy(a->zone.name, name, name_len(name));
		a->zone.labels = (uint8_t)name_labels(name);
	}
	a->have_zone = true;
	a->fresh = a->made = false;
	a->skipping = a->skip && a->zone.inst == a->skip;
	return 0;
}

/* The next edit's type; -1 at the end. */
static int edit_type(struct rd r)
{
	uint8_t what = rd_u8(&r);
	if (what == EDIT_REMOVE)
		return rd_u16(&r);
	return what == EDIT_PUT && rd_left(&r) >= 2 ? (int)rd_u16(&r) : -1;
}

/* Old sets and edits, both in order of type, into one body. */
static bool merge(struct rd old, struct rd edits, struct wr *out)
{
	struct rrset have, put;
	bool left = rrset_next(&old, &have);
	int type;
	while ((type = edit_type(edits)) >= 0) {
		for (; left && have.type < type; left = rrset_next(&old, &have))
			wr_bytes(out, have.start, (size_t)(have.end - have.start));
		if (left && have.type == type)
			left = rrset_next(&old, &have);
		if (rd_u8(&edits) == EDIT_REMOVE) {
			rd_u16(&edits);
			continue;
		}
		if (!rrset_next(&edits, &put))
			return false;
		wr_bytes(out, put.start, (size_t)(put.end - put.start));
	}
	for (; left; left = rrset_next(&old, &have))
		wr_bytes(out, have.start, (size_t)(have.end - have.start));
	return !old.bad && !edits.bad && !out->bad;
}

static enum store_found old_body(struct applier *a, const struct op_view *o, struct rd *out)
{
	struct frag f;
	a->scratch.used = 0;
	*out = rd_init(a->body, 0);
	if (a->fresh)
		return STORE_ABSENT;
	enum store_found r = store_newest(a->st, (enum frag_kind)o->kind, a->zone.inst, o->name, &a->scratch, &f);
	if (r == STORE_FOUND)
		*out = rd_init(f.body, f.len);
	return r;
}

/* In a new instance names that come in rising order can't be there already; the
 * first that does not ends that certainty. */
static void check_order(struct applier *a, const struct op_view *o)
{
	if (!a->fresh)
		return;
	int order = a->last_kind ? name_cmp(a->last, o->name) : -1;
	a->fresh = order < 0 || (order == 0 && a->last_kind < o->kind);
	memcpy(a->last, o->name, name_len(o->name));
	a->last_kind = o->kind;
}

/* The sequence of a name's change. */
static uint64_t seq_of(const struct applier *a) { return a->made ? a->base : a->seq; }

static int edit(struct applier *a, struct op_view *o, char *err, size_t n)
{
	struct rd old;
	struct wr w = wr_init(a->body, BODY_MAX);
	name_lower(o->name, o->name);
	if (!name_below(o->name, a->zone.name))
		return say(err, n, a, "a name outside the zone");
	check_order(a, o);
	if (old_body(a, o, &old) == STORE_DAMAGED) {
		blame(a, true);
		return say(err, n, a, store_trouble());
	}
	if (!merge(old, o->edits, &w))
		return say(err, n, a, "a name's records are too many or malformed");
	if (store_put(a->st, seq_of(a), (enum frag_kind)o->kind, &a->zone, o->name, o->flags & 0xff, o->cut,
	              a->body, (uint32_t)wr_len(&w), a->fresh) != 0) {
		blame(a, true);
		return say(err, n, a, store_trouble());
	}
	a->names++;
	return 0;
}

static int delete(struct applier *a, struct op_view *o, char *err, size_t n)
{
	name_lower(o->name, o->name);
	if (!name_below(o->name, a->zone.name))
		return say(err, n, a, "a name outside the zone");
	if (store_delete(a->st, seq_of(a), (enum frag_kind)o->kind, &a->zone, o->name) != 0) {
		blame(a, true);
		return say(err, n, a, store_trouble());
	}
	a->names++;
	return 0;
}

static int end_zone(struct applier *a, const struct op_view *o, char *err, size_t n)
{
	int r = 0;
	if (o->op == OP_SERIAL) {
		a->zone.serial = o->serial;
		a->zone.expire = o->expire;
		a->zone.state = ZONE_SERVING;
		if (a->only) {
			a->turn = a->zone;
			a->have_turn = true;
		} else if (a->bulk && a->made) {
			bulk_zone(a->bulk, &a->zone);
		} else {
			r = store_zone_put(a->st, a->seq, &a->zone);
		}
	} else {
		r = store_zone_drop(a->st, a->seq, a->zone.name);
	}
	if (r != 0) {
		blame(a, false);
		return say(err, n, a, store_trouble());
	}
	a->zones++;
	a->have_zone = a->fresh = false;
	return 0;
}

static int apply(struct applier *a, struct op_view *o, char *err, size_t n)
{
	if (o->op == OP_ZONE)
		return select_zone(a, o) == 0 ? 0 : say(err, n, a, store_trouble());
	if (o->op > OP_DELETE)
		return say(err, n, a, "an operation that this version does not know: a newer encdns is needed");
	if (!a->have_zone)
		return say(err, n, a, "an operation without a zone");
	if (a->only && (!name_equal(a->zone.name, a->only) || o->op == OP_DROP || (!a->made && o->op != OP_ADD)))
		return say(err, n, a, "more than the zone that was to come again");
	if (a->skipping && o->op != OP_ADD && o->op != OP_DROP) {
		a->skipped = true;
		a->have_zone = o->op != OP_SERIAL;
		a->zones += o->op == OP_SERIAL;
		return 0;
	}
	if (o->op == OP_ADD) {
		a->skipping = false; /* what is damaged goes */
		a->made = true;
		a->zone.inst = store_new_instance(a->st);
		a->base = store_last_seq(a->st);
		a->zone.hold = 0;
		a->fresh = true;
		a->last_kind = 0;
		return 0;
	}
	if (a->zone.inst == 0)
		return o->op == OP_DROP ? 0 : say(err, n, a, "a change to a zone that is not here");
	if (o->op == OP_EDIT)
		return edit(a, o, err, n);
	return o->op == OP_DELETE ? delete(a, o, err, n) : end_zone(a, o, err, n);
}

int applier_ops(struct applier *a, const uint8_t *p, size_t n, char *err, size_t errn)
{
	struct rd r = rd_init(p, n);
	struct op_view o;
	while (op_next(&r, &o))
		if (apply(a, &o, err, errn) != 0)
			return -1;
	return r.bad ? say(err, errn, a, "a malformed operation") : 0;
}

void applier_soon(struct applier *a, const uint8_t *p, size_t n)
{
	struct rd r = rd_init(p, n);
	uint8_t name[NAME_MAX_LEN];
	uint32_t inst = 0;
	while (rd_left(&r)) {
		uint8_t op = rd_u8(&r);
		struct rd in = rd_sub(&r, rd_u24(&r));
		if (in.bad)
			return;
		if (op == OP_ZONE)
			inst = name_read(&in, name) && name_equal(name, a->zone.name) ? a->zone.inst : 0;
		if ((op != OP_EDIT && op != OP_DELETE) || !inst)
			continue;
		uint8_t kind = rd_u8(&in);
		if (op == OP_EDIT)
			rd_take(&in, 3);
		if (name_read(&in, name))
			store_soon(a->st, (enum frag_kind)kind, inst, name);
	}
}

int applier_turn(struct applier *a)
{
	if (!a->have_turn) {
		errno = EINVAL;
		return -1;
	}
	a->have_turn = false;
	if (store_zone_put(a->st, a->seq, &a->turn) == 0)
		return 0;
	blame(a, false);
	return -1;
}
