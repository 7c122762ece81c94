/* zone_cursor.c - a zone's nodes in canonical order.  Contract in zone.h.
 *
 * Owns the body of the node at hand, nothing else: names point into the arena.
 * States: a cursor stands before an owner (`at`), or between its ordinary node and
 * its NSEC3 one (`n3`); empty non-terminals come before the owner that they are above.
 * Withstands any nesting of cuts, DNAMEs and wildcards: the topmost cut counts, and
 * names that outlive their window are the cursor's own. */
#include "hub/zone_internal.h"

#include <stdlib.h>

/* ---- nodes ---- */

/* Does "*.name" exist, by itself or by what is below it?  at: no record before it
 * can be the one. */
static bool has_wildcard(const struct zone *z, size_t at, const uint8_t *name)
{
	uint8_t star[NAME_MAX_LEN + 2] RAW;
	size_t n = name_len(name);
	if (at >= z->n || n + 2 > NAME_MAX_LEN)
		return false;
	const uint8_t *next = owner_at(z, at);
	if (!below(next, name_len(next), name, n))
		return false;
	name_wildcard(name, star);
	for (size_t i = zone_find_from(z, at, star); i < z->n; i++) {
		const uint8_t *owner = owner_at(z, i);
		if (!below(owner, name_len(owner), star, n + 2))
			return false;
		if (rec_set(rec_at(z, i)) != T_NSEC3)
			return true;
	}
	return false;
}

/* Which of an owner's records a node shows. */
enum view { SEE_ALL, SEE_CUT, SEE_GLUE, SEE_NSEC3 };

static bool visible(enum view v, const uint8_t *r)
{
	uint16_t set = rec_set(r);
	bool address = (set == T_A || set == T_AAAA) && !rec_is_sig(r);
	switch (v) {
	case SEE_ALL: return set != T_NSEC3;
	case SEE_CUT: return address || rec_type(r) == T_NS || set == T_DS || set == T_NSEC;
	case SEE_GLUE: return address;
	case SEE_NSEC3: return set == T_NSEC3;
	}
	return false;
}

static void write_set(struct wr *w, const struct zone *z, size_t from, size_t to)
{
	uint8_t *head = wr_take(w, SET_HEAD);
	uint16_t nrr = 0, nsig = 0;
	if (!head)
		return;
	for (size_t i = from; i < to; i++) {
		const uint8_t *r = rec_at(z, i);
		if (rec_is_sig(r))
			nsig++;
		else
			nrr++;
		wr_u16(w, rec_len(r));
		wr_bytes(w, rec_rdata(r), rec_len(r));
	}
	put_u16(head, rec_set(rec_at(z, from)));
	put_u32(head + 2, rec_ttl(rec_at(z, from)));
	put_u16(head + 6, nrr);
	head[8] = (uint8_t)nsig;
	head[9] = 0;
	put_u32(head + 10, (uint32_t)(w->p - head - SET_HEAD));
}

/* Returns the body's length, counts what the view leaves out. */
static size_t write_body(struct zone_cursor *c, enum view v, size_t from, size_t to)
{
	const struct zone *z = c->z;
	struct wr w = wr_init(c->body, c->room);
	if (c->bare && (v == SEE_ALL || v == SEE_NSEC3)) /* nor is anything left out */
		return 0;
	while (from < to) {
		uint16_t set = rec_set(rec_at(z, from));
		size_t end = from, first = 0, past = 0; /* a view shows one run of a set */
		for (; end < to && rec_set(rec_at(z, end)) == set; end++) {
			if (!visible(v, rec_at(z, end))) {
				if (v != SEE_ALL && set != T_NSEC3)
					count_some(rec_is_sig(rec_at(z, end)) ? &c->sigs : &c->occluded, rec_at(z, end), 1);
				continue;
			}
			if (!past)
				first = end;
			past = end + 1;
		}
		if (past && !c->bare)
			write_set(&w, z, first, past);
		from = end;
	}
	return wr_len(&w);
}

/* Labels that two lower-case names share, counted from the root. */
static unsigned labels_shared(const uint8_t *a, const uint8_t *b)
{
	unsigned la = name_labels(a), lb = name_labels(b), n = la < lb ? la : lb;
	a = name_skip(a, la - n);
	b = name_skip(b, lb - n);
	unsigned shared = n;
	for (unsigned left = n; left > 0; left--) {
		if (*a != *b || memcmp(a, b, *a + 1u) != 0)
			shared = left - 1;
		a += *a + 1;
		b += *b + 1;
	}
	return shared;
}

static bool node_ent(struct zone_cursor *c, const uint8_t *name, bool glue, struct zone_node *out)
{
	*out = (struct zone_node){ .owner = name, .body = c->body, .flags = NODE_ENT };
	if (glue) {
		out->flags |= NODE_GLUE;
		out->cut = c->cut_labels;
	} else if (has_wildcard(c->z, c->at, name)) {
		out->flags |= NODE_WILD;
	}
	c->last = name;
	return true;
}

/* The ordinary node of an owner that is not below a cut. */
static void node_plain(struct zone_cursor *c, const struct owner *o, struct zone_node *out)
{
	bool apex = name_len(o->name) == c->z->origin_len, cut = o->ns && !apex;
	out->flags = (uint16_t)((apex ? NODE_APEX : 0) | (cut ? NODE_CUT : 0) | (o->nsec ? NODE_NSEC : 0) |
	                        (o->dname && !cut ? NODE_DNAME : 0));
	if (cut || o->dname) {
		c->cut = o->name;
		c->cut_dname = !cut;
		c->cut_labels = out->cut = (uint8_t)name_labels(o->name);
	} else if (has_wildcard(c->z, o->to, o->name)) {
		out->flags |= NODE_WILD;
	}
	out->len = write_body(c, cut ? SEE_CUT : SEE_ALL, o->from, o->to);
}

/* The next owner's ordinary node, or an empty non-terminal above it; false: the
 * owner has none to show, and is passed over. */
static bool owner_node(struct zone_cursor *c, const struct owner *o, struct zone_node *out)
{
	if (c->cut && !below(o->name, name_len(o->name), c->cut, name_len(c->cut)))
		c->cut = NULL;
	bool glue = c->cut && !c->cut_dname;
	bool shows = o->ordinary && (!c->cut || (glue && o->address));
	if (shows && c->last) {
		unsigned above = labels_shared(c->last, o->name) + 1, mine = name_labels(o->name);
		if (above < mine)
			return node_ent(c, name_skip(o->name, mine - above), glue, out);
	}
	c->from = o->from;
	c->at = o->to;
	/* an NSEC3 below a cut is lost with the rest; below the apex's DNAME it is not */
	if (o->nsec3 && (!c->cut || (c->cut_dname && c->cut_labels == c->z->origin_labels))) {
		c->n3 = o->n3;
		c->n3_to = o->n3_to;
	}
	if (!shows) {
		if (o->ordinary || c->n3 == c->n3_to)
			count_some(&c->occluded, rec_at(c->z, o->from), o->to - o->from - (c->n3_to - c->n3));
		return false;
	}
	c->last = o->name;
	*out = (struct zone_node){ .owner = o->name, .body = c->body };
	if (glue) {
		out->flags = NODE_GLUE;
		out->cut = c->cut_labels;
		out->len = write_body(c, SEE_GLUE, o->from, o->to);
	} else {
		node_plain(c, o, out);
	}
	return true;
}

/* ---- cursors ---- */

int zone_cursor_open(struct zone_cursor *c, struct zone *z)
{
	*c = (struct zone_cursor){ .z = z, .check = z->due ? &z->check : NULL, .room = z->body_max };
	c->body = malloc(c->room + 1);
	return c->body ? 0 : -1;
}

int zone_open(struct zone_cursor *c, struct zone *z)
{
	struct check silent = { .z = z }, *k = &z->check;
	if (z->due) {
		*k = (struct check){ .z = z, .report = k->report, .now = k->now };
		z->names = 0;
	}
	if (zone_windows_begin(z->due ? k : &silent) != 0)
		return -1;
	return zone_cursor_open(c, z);
}

void zone_close(struct zone_cursor *c)
{
	free(c->body);
	c->body = NULL;
}

/* The window's records go: what the cursor still needs of them becomes its own. */
static bool cursor_on(struct zone_cursor *c)
{
	struct check silent = { .z = c->z };
	if (c->last)
		c->last = memmove(c->names[0], c->last, name_len(c->last));
	if (c->cut)
		c->cut = memmove(c->names[1], c->cut, name_len(c->cut));
	c->bad = zone_window_next(c->check ? c->check : &silent) != 0;
	c->from = c->at = 0;
	return !c->bad;
}

static bool next_node(struct zone_cursor *c, struct zone_node *out)
{
	while (!c->bad) {
		if (c->n3 < c->n3_to) {
			*out = (struct zone_node){ .owner = owner_at(c->z, c->n3), .body = c->body,
				                   .flags = NODE_NSEC3 };
			out->len = write_body(c, SEE_NSEC3, c->n3, c->n3_to);
			c->n3 = c->n3_to = 0;
			return true;
		}
		if (c->at == c->z->safe) {
			if (!more_windows(c->z) || !cursor_on(c))
				return false;
			continue;
		}
		struct owner o;
		look_at_owner(c->z, c->at, &o);
		if (owner_node(c, &o, out))
			return true;
	}
	return false;
}

bool zone_next(struct zone_cursor *c, struct zone_node *out)
{
	bool more = next_node(c, out);
	if (!c->check)
		return more;
	if (!more) {
		zone_check_end(c);
		return false;
	}
	zone_check_node(c, out);
	c->refused = c->check->refused;
	return true;
}
