/* zone_check.c - what is wrong with a zone, and how it is said.  Contract in zone.h.
 *
 * A check looks at every set and owner once they are sorted, then at the nodes as they
 * will be served.  States: begun by zone_finish(); `due` until a walk with a cursor has
 * come to the end and refused nothing: the one that zone_finish() makes or, of a spilled
 * zone, the first of somebody else's.
 * Withstands a zone full of faults: an error is said MASTER_ERRORS times at most, a
 * warning once a kind; nothing is allocated for them. */
#include "hub/zone_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "crypto.h"

/* ---- words ---- */

static const char *file_name(const struct zone *z, unsigned n) { return n < z->nfiles ? z->files[n] : NULL; }
static const char *rec_file(const struct zone *z, const uint8_t *r) { return file_name(z, r[16]); }

static const char *const kind_text[W_KINDS] = {
	[W_TTL] = "the TTLs of a set differ: the lowest is used",
	[W_GLUE] = "a name server inside the zone has no address",
	[W_ALIAS] = "a name server is an alias (CNAME)",
	[W_EXPIRED] = "a signature has expired",
	[W_ORPHAN] = "a signature without the set it covers",
	[W_OCCLUDED] = "records below a delegation or DNAME, or beside it, are not served",
	[W_DS] = "DS without a delegation",
	[W_SIGS] = "signatures of a delegation's NS, or of glue, are not served",
};

__attribute__((format(printf, 3, 4))) static void refuse(struct check *k, const uint8_t *rec, const char *fmt, ...)
{
	char text[NAME_TEXT_MAX + 128];
	va_list ap;
	k->refused = true;
	if (!k->report || k->errors++ >= MASTER_ERRORS)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	k->report->say(k->report->ctx, true, rec ? rec_file(k->z, rec) : NULL, rec ? rec_line(rec) : 0, text);
}

static void note(struct check *k, enum kind kind, const uint8_t *rec)
{
	count_some(&k->seen[kind], rec, 1);
}

static void tell_notes(struct check *k)
{
	char text[NAME_TEXT_MAX + 192], owner[NAME_TEXT_MAX];
	for (unsigned i = 0; i < W_KINDS; i++) {
		const struct zone_some *s = &k->seen[i];
		if (s->n == 0 || !k->report)
			continue;
		int len = snprintf(text, sizeof text, "%s: %s", name_text(s->owner, owner), kind_text[i]);
		if (s->n > 1)
			snprintf(text + len, sizeof text - (size_t)len, " (the first of %llu)",
			         (unsigned long long)s->n);
		k->report->say(k->report->ctx, false, file_name(k->z, s->file), s->line, text);
	}
	if (k->unlooked && k->report) {
		snprintf(text, sizeof text, "%s: larger than import-memory: %llu name servers were not looked up for addresses in it",
		         name_text(k->z->origin, owner), (unsigned long long)k->unlooked);
		k->report->say(k->report->ctx, false, NULL, 0, text);
	}
}

/* ---- sets and owners ---- */

void zone_drop_duplicates(struct check *k)
{
	struct zone *z = k->z;
	size_t to = 0;
	for (size_t i = 0; i < z->n; i++) {
		fetch_ahead(z, i);
		uint8_t *r = z->arena + z->recs[i], *last = to ? z->arena + z->recs[to - 1] : NULL;
		if (!last || zone_rec_cmp(last, r) != 0 || !same_owner(rec_owner(last), rec_owner(r))) {
			z->recs[to++] = z->recs[i];
			continue;
		}
		if (rec_ttl(last) != rec_ttl(r) && !rec_is_sig(r))
			note(k, W_TTL, r);
		if (rec_ttl(r) < rec_ttl(last))
			put_u32(last + 2, rec_ttl(r));
	}
	z->n = to;
}

/* One set's records [from, to), signatures last; returns its octets in a body. */
static size_t check_set(struct check *k, size_t from, size_t to)
{
	struct zone *z = k->z;
	char owner[NAME_TEXT_MAX] RAW, buf[12];
	const uint8_t *first = rec_at(z, from);
	size_t nrr = 0, octets = SET_HEAD, message = 12 + name_len(rec_owner(first)) + 4;
	uint32_t ttl = rec_ttl(first);
	for (size_t i = from; i < to; i++) {
		const uint8_t *r = rec_at(z, i);
		octets += 2u + rec_len(r);
		if (rec_is_sig(r)) {
			if (rec_len(r) >= 12 && (int32_t)(get_u32(rec_rdata(r) + 8) - (uint32_t)k->now) < 0)
				note(k, W_EXPIRED, r);
			continue;
		}
		if (rec_ttl(r) != ttl)
			note(k, W_TTL, r);
		if (rec_ttl(r) < ttl)
			ttl = rec_ttl(r);
		message += 12u + rec_len(r);
		nrr++;
	}
	for (size_t i = from; i < from + nrr; i++)
		put_u32(z->arena + z->recs[i] + 2, ttl);
	if (nrr == 0)
		note(k, W_ORPHAN, first);
	if (message > 65535 || nrr > 65535)
		refuse(k, first, "%s %s: the set takes %zu octets, more than any message holds",
		       name_text(rec_owner(first), owner), rr_type_text(rec_set(first), buf), message);
	if (to - from - nrr > 255)
		refuse(k, first, "%s %s: over 255 signatures", name_text(rec_owner(first), owner),
		       rr_type_text(rec_set(first), buf));
	if (nrr > 1 && (rec_type(first) == T_CNAME || rec_type(first) == T_DNAME || rec_type(first) == T_SOA))
		refuse(k, rec_at(z, from + 1), "%s: several %s records", name_text(rec_owner(first), owner),
		       rr_type_text(rec_type(first), buf));
	return octets;
}

/* RFC 1034 section 3.6.2, RFC 2181 section 10.1, RFC 4035 section 2.5. */
static void check_alias(struct check *k, const struct owner *o)
{
	const uint8_t *cname = NULL, *other = NULL;
	char owner[NAME_TEXT_MAX] RAW, buf[12];
	for (size_t i = o->from; i < o->to; i++) {
		const uint8_t *r = rec_at(k->z, i);
		uint16_t t = rec_type(r);
		if (t == T_CNAME)
			cname = r;
		else if (t != T_RRSIG && t != T_NSEC && t != T_KEY && t != T_SIG && t != T_NXT && t != T_NSEC3)
			other = r;
	}
	if (cname && other)
		refuse(k, rec_line(other) > rec_line(cname) ? other : cname, "%s: CNAME beside other data (%s)",
		       name_text(o->name, owner), rr_type_text(rec_type(other), buf));
}

static void check_owner(struct check *k, const struct owner *o)
{
	struct zone *z = k->z;
	char owner[NAME_TEXT_MAX] RAW;
	size_t octets = 0;
	for (size_t i = o->from, end; i < o->to; i = end) {
		uint16_t set = rec_set(rec_at(z, i));
		for (end = i + 1; end < o->to && rec_set(rec_at(z, end)) == set;)
			end++;
		octets += check_set(k, i, end);
		if (set == T_DS && !o->ns)
			note(k, W_DS, rec_at(z, i));
	}
	if (octets > BODY_MAX)
		refuse(k, rec_at(z, o->from), "%s: its records take %zu octets, over %u", name_text(o->name, owner),
		       octets, BODY_MAX);
	if (octets > z->body_max)
		z->body_max = octets;
	check_alias(k, o);
}

void zone_check_owners(struct check *k)
{
	struct owner o;
	for (size_t i = 0; i < k->z->safe; i = o.to) {
		look_at_owner(k->z, i, &o);
		check_owner(k, &o);
	}
}

/* ---- apex, servers, nodes ---- */

/* Does the owner whose first record is i have a record of this type? */
static bool owner_has(const struct zone *z, size_t i, uint16_t type)
{
	const uint8_t *owner = i < z->n ? owner_at(z, i) : NULL;
	for (; i < z->n && same_owner(owner_at(z, i), owner); i++)
		if (rec_type(rec_at(z, i)) == type)
			return true;
	return false;
}

static bool name_has(const struct zone *z, const uint8_t *lower, uint16_t type)
{
	size_t i = zone_find_from(z, 0, lower);
	return i < z->n && same_owner(owner_at(z, i), lower) && owner_has(z, i, type);
}

/* Apex: SOA and NS.  The SOA's place was checked when it was added. */
static void check_apex(struct check *k)
{
	struct zone *z = k->z;
	char owner[NAME_TEXT_MAX];
	name_text(z->origin, owner);
	const uint8_t *soa = NULL;
	bool ns = false;
	for (size_t i = 0; i < z->n && same_owner(owner_at(z, i), z->origin); i++) {
		const uint8_t *r = rec_at(z, i);
		if (rec_type(r) == T_SOA && !soa)
			soa = r;
		ns |= rec_type(r) == T_NS;
	}
	if (!soa)
		refuse(k, NULL, "%s: no SOA", owner);
	if (!ns)
		refuse(k, NULL, "%s: no NS at the apex", owner);
	if (soa) {
		z->serial = get_u32(rec_rdata(soa) + rec_len(soa) - 20);
		z->serial_line = rec_line(soa);
	}
}

/* The topmost cut at or above a name inside the zone; NULL: none. */
static const uint8_t *cut_above(const struct zone *z, const uint8_t *name)
{
	unsigned mine = name_labels(name);
	for (unsigned labels = z->origin_labels + 1; labels <= mine; labels++)
		if (name_has(z, name_skip(name, mine - labels), T_NS))
			return name_skip(name, mine - labels);
	return NULL;
}

/* Could a wildcard answer for a name inside the zone? */
static bool wild_above(const struct zone *z, const uint8_t *name)
{
	uint8_t star[NAME_MAX_LEN + 2] RAW;
	for (const uint8_t *p = name; name_labels(p) > z->origin_labels;) {
		p += *p + 1;
		name_wildcard(p, star);
		size_t i = zone_find_from(z, 0, star);
		if (i < z->n && same_owner(owner_at(z, i), star))
			return true;
	}
	return false;
}

/* A name server of the apex or of a cut: when inside the zone, it needs addresses
 * here, unless another delegation is answerable for them. */
static void check_server(struct check *k, const uint8_t *rec)
{
	const struct zone *z = k->z;
	uint8_t target[NAME_MAX_LEN] RAW;
	size_t n = name_lower(target, rec_rdata(rec));
	if (!below(target, n, z->origin, z->origin_len))
		return;
	size_t i = zone_find_from(z, 0, target);
	/* in a spilled zone only what is near is looked at; below the owner itself
	 * nearly all are */
	if (z->spill && (i == 0 || i == z->n || !below(target, n, rec_owner(rec), name_len(rec_owner(rec))))) {
		k->unlooked++;
		return;
	}
	if (i < z->n && same_owner(owner_at(z, i), target)) {
		if (owner_has(z, i, T_A) || owner_has(z, i, T_AAAA))
			return;
		if (owner_has(z, i, T_CNAME)) {
			note(k, W_ALIAS, rec);
			return;
		}
	}
	const uint8_t *cut = cut_above(z, target);
	if (cut ? same_owner(cut, rec_owner(rec)) : !wild_above(z, target))
		note(k, W_GLUE, rec);
}

void zone_check_node(const struct zone_cursor *c, const struct zone_node *n)
{
	struct check *k = c->check;
	k->z->names++;
	if (!(n->flags & (NODE_APEX | NODE_CUT)))
		return;
	for (size_t i = c->from; i < c->at; i++)
		if (rec_type(rec_at(k->z, i)) == T_NS && same_owner(owner_at(k->z, i), n->owner))
			check_server(k, rec_at(k->z, i));
}

static void refuse_unread(struct check *k)
{
	refuse(k, NULL, "it can't be sorted and checked: %s",
	       errno == EFBIG ? "too many names between one and its wildcard; raise import-memory" : strerror(errno));
}

void zone_check_end(struct zone_cursor *c)
{
	struct check *k = c->check;
	struct zone *z = c->z;
	if (c->bad)
		refuse_unread(k);
	if (c->occluded.n)
		k->seen[W_OCCLUDED] = c->occluded;
	if (c->sigs.n)
		k->seen[W_SIGS] = c->sigs;
	z->records = z->spill ? k->records : z->n;
	tell_notes(k);
	c->refused = z->due = k->refused;
	c->check = NULL;
}

/* ---- ZONEMD (RFC 8976) ---- */

/* RFC 8976 section 3.3.1, RFC 4034 section 6.2. */
static void digest_record(struct sha *s, const uint8_t *r)
{
	uint8_t head[NAME_MAX_LEN + 10], name[2 * NAME_MAX_LEN];
	const uint8_t *rdata = rec_rdata(r);
	size_t n = name_len(rec_owner(r)), from, to;
	memcpy(head, rec_owner(r), n);
	put_u16(head + n, rec_type(r));
	put_u16(head + n + 2, 1);
	put_u32(head + n + 4, rec_ttl(r));
	put_u16(head + n + 8, rec_len(r));
	sha_update(s, head, n + 10);
	rdata_fold_span(rec_type(r), rdata, rec_len(r), &from, &to);
	sha_update(s, rdata, from);
	for (size_t i = from; i < to; i++)
		name[i - from] = name_fold(rdata[i]);
	sha_update(s, name, to - from);
	sha_update(s, rdata + to, rec_len(r) - to);
}

/* All records in canonical order, an RRSIG at its own type's place. */
static void digest_owner(const struct zone *z, struct sha *s, size_t from, size_t to)
{
	bool apex = same_owner(owner_at(z, from), z->origin);
	for (unsigned pass = 0; pass < 3; pass++)
		for (size_t i = from; i < to; i++) {
			const uint8_t *r = rec_at(z, i);
			uint16_t t = rec_type(r);
			unsigned when = t < T_RRSIG ? 0 : t == T_RRSIG ? 1 : 2;
			if (when == pass && !(apex && rec_set(r) == T_ZONEMD))
				digest_record(s, r);
		}
}

/* All of the zone, window by window; the first is there again afterwards. 0: errno. */
static size_t digest_zone(struct zone *z, unsigned hash, uint8_t out[static 64])
{
	struct sha s;
	struct check silent = { .z = z };
	if (hash == 1)
		sha384_init(&s);
	else
		sha512_init(&s);
	if (zone_windows_begin(&silent) != 0)
		return 0;
	for (;;) {
		for (size_t i = 0, end; i < z->safe; i = end) {
			const uint8_t *owner = owner_at(z, i);
			for (end = i + 1; end < z->safe && same_owner(owner_at(z, end), owner); end++)
				fetch_ahead(z, end);
			digest_owner(z, &s, i, end);
		}
		if (!more_windows(z))
			break;
		if (zone_window_next(&silent) != 0)
			return 0;
	}
	sha_out(&s, out);
	if (zone_windows_begin(&silent) != 0)
		return 0;
	return hash == 1 ? 48 : 64;
}

/* RFC 8976 section 4: one digest of a scheme and hash we know must fit.  -1: errno. */
static int check_zonemd(struct check *k)
{
	struct zone *z = k->z;
	uint8_t digest[64];
	size_t known = SIZE_MAX;
	const char *why = "the digest does not fit";
	unsigned count[3] = { 0 };
	size_t to = 0;
	for (; to < z->n && same_owner(owner_at(z, to), z->origin); to++) {
		const uint8_t *r = rec_at(z, to), *d = rec_rdata(r);
		if (rec_type(r) == T_ZONEMD && rec_len(r) > 6 && d[4] == 1 && (d[5] == 1 || d[5] == 2))
			count[d[5]]++;
	}
	for (size_t i = 0; i < to; i++) {
		const uint8_t *r = rec_at(z, i), *d = rec_rdata(r);
		if (rec_type(r) != T_ZONEMD || d[4] != 1 || d[5] < 1 || d[5] > 2)
			continue;
		known = i;
		if (get_u32(d) != z->serial) {
			why = "its serial is not the SOA's";
			continue;
		}
		if (count[d[5]] > 1) {
			why = "several digests of one scheme and hash";
			continue;
		}
		size_t n = digest_zone(z, d[5], digest);
		if (n == 0)
			return -1;
		r = rec_at(z, i); /* it may have moved */
		if (rec_len(r) == 6 + n && !memcmp(digest, rec_rdata(r) + 6, n))
			return 0;
		why = "the digest does not fit";
	}
	if (known != SIZE_MAX)
		refuse(k, rec_at(z, known), "ZONEMD: %s", why);
	return 0;
}

/* ---- the whole ---- */

/* Sorted and checked owner by owner: all of it, or a spilled zone's first window. */
static int first_look(struct check *k)
{
	struct zone *z = k->z;
	if (z->spill)
		return zone_spill_finish(k);
	if (zone_sort(z) != 0)
		return -1;
	zone_lay_in_order(z);
	zone_drop_duplicates(k);
	z->safe = z->n;
	zone_check_owners(k);
	return 0;
}

/* Walks the zone as it will be served, for its check's sake alone. */
static void check_nodes(struct check *k)
{
	struct zone_cursor c;
	struct zone_node node;
	if (zone_cursor_open(&c, k->z) != 0) {
		refuse_unread(k);
		return;
	}
	c.bare = true;
	while (zone_next(&c, &node))
		continue;
	zone_close(&c);
}

int zone_finish(struct zone *z, int64_t now, const struct zone_report *report)
{
	struct check *k = &z->check;
	*k = (struct check){ .z = z, .report = report, .now = now };
	z->due = true;
	errno = ENOMEM;
	int rc = first_look(k);
	if (rc == 0)
		check_apex(k);
	if (rc == 0 && !k->refused)
		rc = check_zonemd(k);
	if (rc != 0)
		refuse_unread(k);
	if (k->refused)
		tell_notes(k);
	else if (!z->spill)
		check_nodes(k);
	return k->refused ? -1 : 0;
}
