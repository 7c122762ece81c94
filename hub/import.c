/* import.c - a zone against what the hub holds: the difference becomes one
 * transaction.
 *
 * Both sides are read in canonical order, so the whole is one merge in constant
 * memory.  Operations go to the journal as they are found; the hub's own store
 * follows when the journal is synced (hub_commit), so a transaction that fails
 * half-way leaves no trace.
 *
 * A large new zone has nothing to be compared with, and takes two ways at once
 * (take_ahead): a helper walks it and writes the journal, and touches nothing else;
 * this thread reads the journal behind it, part by part, and puts the names into the
 * store (hub_follow).  There they are a new instance's, which nobody sees before
 * hub_commit; should it come to nothing, it is forgotten (hub_forsake). */
#include "base/helper.h"
#include "hub/hub.h"
#include "hub/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define SCRATCH    (3u << 20)
#define AHEAD_FROM 200000u      /* records from which a zone is large */
#define AHEAD_ROOM (8u << 20)   /* octets of operations for which the store makes room at a time */

/* ---- where operations go ---- */

struct writer {
	struct hub *h;
	struct buf ops;     /* of one name */
	struct import_result *res;
	bool begun;
	uint64_t bytes;     /* of operations */
	const uint8_t *origin;
	bool add;           /* the zone is new here, */
	bool ahead;         /* and large: operations are written by a helper */
	_Atomic bool quit;  /* it need not go on */
	char *err;
	size_t errn;
};

static int complain(char *err, size_t n, const char *what)
{
	snprintf(err, n, "%s: %s", what, errno == ENOSPC ? "the disk is full; nothing was changed" : strerror(errno));
	return -1;
}

static int fail(struct writer *w, const char *what) { return complain(w->err, w->errn, what); }

/* Nobody waits for what is half done any more? */
static bool leaving(const struct hub *h, char *err, size_t n)
{
	if (!hub_leaving(h))
		return false;
	snprintf(err, n, "the hub is stopping; nothing was changed");
	return true;
}

static int write_ops(struct writer *w)
{
	if (w->ops.bad) {
		errno = ENOMEM;
		return fail(w, "import");
	}
	int r = 0;
	if (!w->h->jfile) /* ad hoc: straight into the store */
		r = applier_ops(&w->h->applier, w->ops.p, w->ops.n, w->err, w->errn);
	else if (jfile_ops(w->h->jfile, w->ops.p, w->ops.n) != 0)
		r = fail(w, "journal");
	w->bytes += w->ops.n;
	w->ops.n = 0;
	return r;
}

/* The first operation opens the transaction. */
static int begin(struct writer *w)
{
	struct hub *h = w->h;
	if (w->begun)
		return 0;
	w->begun = true;
	if (!h->jfile)
		applier_begin(&h->applier, h->seq + 1);
	else if (jfile_begin(h->jfile, hub_now()) != 0)
		return fail(w, "journal");
	struct buf ops = { 0 };
	op_zone(&ops, w->origin);
	if (w->add)
		op_plain(&ops, OP_ADD);
	buf_put(&ops, w->ops.p, w->ops.n);
	buf_free(&w->ops);
	w->ops = ops;
	return 0;
}

static int flush(struct writer *w) { return begin(w) != 0 ? -1 : write_ops(w); }

static int end(struct writer *w)
{
	struct hub *h = w->h;
	w->res->changed = true;
	if (!h->jfile) {
		w->res->seq = ++h->seq; /* no chain to keep */
		return 0;
	}
	/* room for it in the store now, or it is refused while it still can be */
	uint64_t there = h->replay.under_way ? h->replay.octets : 0;
	if (store_reserve(h->store, h->uncommitted + w->bytes - there) != 0)
		return fail(w, "store");
	if (jfile_end(h->jfile) != 0)
		return fail(w, "journal");
	h->uncommitted += w->bytes;
	w->res->seq = jfile_last(h->jfile);
	return 0;
}

static void undo(struct writer *w)
{
	struct hub *h = w->h;
	char why[sizeof h->why];
	if (!w->begun || !h->jfile)
		return;
	jfile_abort(h->jfile);
	if (!h->failed && h->replay.under_way && hub_forsake(h, why, sizeof why) != 0)
		hub_fail(h, why);
}

/* ---- one name ---- */

static enum frag_kind kind_of(const struct zone_node *n)
{
	return n->flags & NODE_NSEC3 ? FRAG_NSEC3 : FRAG_NAME;
}

static int put_all(struct writer *w, const struct zone_node *n)
{
	op_edit_body(&w->ops, kind_of(n), n->flags, n->cut, n->owner, n->body, n->len);
	w->res->puts++;
	return flush(w);
}

static int delete(struct writer *w, enum frag_kind kind, const uint8_t *owner)
{
	op_delete(&w->ops, (uint8_t)kind, owner);
	w->res->deletes++;
	return flush(w);
}

static bool same_set(const struct rrset *a, const struct rrset *b)
{
	return a->end - a->start == b->end - b->start && memcmp(a->start, b->start, (size_t)(a->end - a->start)) == 0;
}

/* Only the sets that differ travel. */
static int put_changes(struct writer *w, const struct zone_node *n, const struct walk_name *old)
{
	struct rd a = rd_init(old->frag.body, old->frag.len), b = rd_init(n->body, n->len);
	struct rrset have, want;
	bool left = rrset_next(&a, &have), right = rrset_next(&b, &want);
	size_t at = op_edit_begin(&w->ops, (uint8_t)old->kind, n->flags, n->cut, n->owner);
	while (left || right) {
		if (!right || (left && have.type < want.type)) {
			op_edit_remove(&w->ops, have.type);
			left = rrset_next(&a, &have);
			continue;
		}
		bool both = left && have.type == want.type;
		if (!both || !same_set(&have, &want))
			op_edit_put(&w->ops, want.start, (size_t)(want.end - want.start));
		if (both)
			left = rrset_next(&a, &have);
		right = rrset_next(&b, &want);
	}
	op_edit_end(&w->ops, at);
	w->res->puts++;
	return flush(w);
}

static bool unchanged(const struct zone_node *n, const struct walk_name *old)
{
	return n->flags == old->frag.flags && n->cut == old->frag.cut && n->len == old->frag.len &&
	       (n->len == 0 || memcmp(n->body, old->frag.body, n->len) == 0);
}

/* ---- a zone ---- */

static uint32_t soa_field(const struct zone_node *apex, unsigned which)
{
	struct rrset s;
	if (!rrset_find(apex->body, apex->len, T_SOA, &s) || get_u16(s.rrs) < 20)
		return 0;
	return get_u32(s.rrs + 2 + get_u16(s.rrs) - 20 + which * 4);
}

/* Merges the two; only_ask: stops at the first difference and says so by 1. */
static int merge(struct writer *w, struct zone *z, struct walk *old, struct scratch *s, bool only_ask)
{
	struct zone_cursor c;
	struct zone_node n;
	struct walk_name o;
	uint8_t nk[NAMES_KEY_MAX], ok[NAMES_KEY_MAX];
	if (zone_open(&c, z) != 0)
		return fail(w, "import");
	unsigned labels = name_labels(zone_origin(z));
	enum store_found left = old ? walk_next(old, s, &o) : STORE_ABSENT;
	bool right = zone_next(&c, &n);
	int r = 0;
	for (unsigned names = 0; r == 0 && (left == STORE_FOUND || right); names++) {
		if (w->quit)
			return zone_close(&c), -1;
		if (names % 4096 == 0 && !w->ahead) {
			hub_breathe(w->h);
			if (leaving(w->h, w->err, w->errn))
				return zone_close(&c), -1;
		}
		if (c.refused) { /* only to hear what else is wrong */
			if (!right)
				break;
			right = zone_next(&c, &n);
			continue;
		}
		int order = left != STORE_FOUND ? 1 : -1;
		if (left == STORE_FOUND && right) {
			size_t nn = names_key(n.owner, labels, kind_of(&n), nk);
			size_t on = names_key(o.owner, labels, o.kind, ok);
			order = memcmp(ok, nk, on < nn ? on : nn);
			order = order ? order : (on > nn) - (on < nn);
		}
		if (only_ask && (order || !unchanged(&n, &o)))
			r = 1;
		else if (order < 0)
			r = delete(w, o.kind, o.owner);
		else if (order > 0)
			r = put_all(w, &n);
		else if (!unchanged(&n, &o))
			r = put_changes(w, &n, &o);
		if (order <= 0)
			left = walk_next(old, s, &o);
		if (order >= 0)
			right = zone_next(&c, &n);
	}
	zone_close(&c);
	if (c.refused) {
		*w->err = 0; /* the zone's report has said it */
		return -1;
	}
	if (c.bad)
		return fail(w, "import");
	if (left == STORE_DAMAGED) {
		snprintf(w->err, w->errn, "the hub's store is damaged");
		return -1;
	}
	return r;
}

/* ---- a large new zone ---- */

struct taking { struct writer *w; struct zone *z; struct scratch *s; int r; _Atomic bool done; };

static void take_work(void *p)
{
	struct taking *t = p;
	t->r = merge(t->w, t->z, NULL, t->s, false);
	t->done = true;
}

/* What the helper has written goes into the store, until it has written all.  -1: err. */
static int follow(struct writer *w, const _Atomic bool *done, char *err, size_t n)
{
	struct hub *h = w->h;
	uint64_t room = 0; /* for operations up to here */
	int got = 0;
	for (bool last = false; got > 0 || !last;) {
		last = *done; /* what is not there now won't come */
		if (leaving(h, err, n))
			return -1;
		if (h->replay.octets + FRAME_MAX > room) {
			if (store_reserve(h->store, AHEAD_ROOM + FRAME_MAX) != 0)
				return complain(err, n, "store");
			room = h->replay.octets + AHEAD_ROOM + FRAME_MAX;
		}
		got = hub_follow(h, err, n);
		if (got < 0)
			return hub_fail(h, err); /* the store may take no more */
		if (got == 0 && !last)
			hub_pause(h);
	}
	return 0;
}

static int take_ahead(struct writer *w, struct zone *z, struct scratch *s)
{
	struct taking t = { w, z, s, 0, false };
	struct helper helper;
	char err[400]; /* ours: w->err is the helper's meanwhile */
	if (begin(w) != 0 || hub_follow_begin(w->h, w->err, w->errn) != 0)
		return -1;
	helper_begin(&helper);
	helper_give(&helper, take_work, &t);
	int r = follow(w, &t.done, err, sizeof err);
	w->quit = r != 0;
	helper_end(&helper);
	if (r != 0)
		snprintf(w->err, w->errn, "%s", err);
	return r != 0 ? r : t.r;
}

static bool is_large(const struct hub *h, const struct zone *z)
{
	return h->jfile && zone_records(z) >= (h->ahead_from ? h->ahead_from : AHEAD_FROM);
}

static int take_all(struct writer *w, struct zone *z, struct walk *old, struct scratch *s, uint32_t expire)
{
	if ((w->ahead ? take_ahead(w, z, s) : merge(w, z, old, s, false)) != 0)
		return -1;
	op_serial(&w->ops, w->res->serial, expire);
	return flush(w) != 0 ? -1 : end(w);
}

/* What the old serial allows: 0 go on, 1 nothing to do, -1 refused. */
static int check_serial(struct writer *w, struct zone *z, const struct store_zone *have,
                        struct walk *old, struct scratch *s, bool force)
{
	uint32_t forward = w->res->serial - have->serial; /* RFC 1982 */
	if (force || (forward && forward < 0x80000000u))
		return 0;
	struct walk again;
	walk_begin(&again, store_reader(w->h->store), have, old->seq);
	int differs = forward ? 1 : merge(w, z, &again, s, true);
	if (differs <= 0)
		return differs == 0 ? 1 : -1;
	snprintf(w->err, w->errn,
	         "the content has changed but the serial (%u) does not go forward from %u: raise it, or use --force",
	         w->res->serial, have->serial);
	return -1;
}

int hub_import(struct hub *h, struct zone *z, bool force, struct import_result *out, char *err, size_t n)
{
	struct store_zone have;
	struct walk old;
	struct zone_cursor c;
	struct zone_node apex;
	struct scratch s;
	struct writer w = { .h = h, .res = out, .origin = zone_origin(z), .err = err, .errn = n };
	memset(out, 0, sizeof *out);
	out->serial = zone_serial(z);
	out->seq = h->jfile ? jfile_last(h->jfile) : h->seq;
	uint32_t expire = 0;
	scratch_new(&s, SCRATCH);
	if (zone_open(&c, z) != 0) {
		scratch_free(&s);
		return fail(&w, "import");
	}
	if (zone_next(&c, &apex))
		expire = soa_field(&apex, 3);
	zone_close(&c);
	enum store_found r = store_zone_get(h->store, w.origin, &have);
	int done = -1;
	if (!s.mem || r == STORE_DAMAGED) {
		snprintf(err, n, "%s", s.mem ? "the hub's store is damaged" : "no memory");
	} else if (r == STORE_ABSENT) {
		w.add = true;
		w.ahead = is_large(h, z);
		if (!w.ahead || hub_commit(h, err, n) == 0) /* the store has seen all before it */
			done = take_all(&w, z, NULL, &s, expire);
	} else {
		walk_begin(&old, store_reader(h->store), &have, store_seq(h->store));
		done = check_serial(&w, z, &have, &old, &s, force);
		if (done == 0)
			done = take_all(&w, z, &old, &s, expire);
		else if (done > 0)
			done = 0;
	}
	if (done != 0)
		undo(&w);
	else if (w.ahead)
		done = hub_commit(h, err, n);
	scratch_free(&s);
	buf_free(&w.ops);
	return done;
}

int hub_drop(struct hub *h, const uint8_t *origin, struct import_result *out, char *err, size_t n)
{
	struct store_zone have;
	struct writer w = { .h = h, .res = out, .origin = origin, .err = err, .errn = n };
	memset(out, 0, sizeof *out);
	if (store_zone_get(h->store, origin, &have) != STORE_FOUND) {
		snprintf(err, n, "is not held here");
		return -1;
	}
	op_plain(&w.ops, OP_DROP);
	int r = flush(&w) != 0 ? -1 : end(&w);
	if (r != 0)
		undo(&w);
	buf_free(&w.ops);
	return r;
}
