/* compose.c - writing a DNS message.  Contract in compose.h.
 *
 * Compression (RFC 1035 section 4.1.4): a small open-addressed table holds the
 * offsets of name suffixes already in the message, hashed with case folded.
 * Slots are given back in the reverse order they were taken, so probe
 * sequences stay whole.  A hit is compared in the message itself, label by
 * label; offsets only ever lead to names we wrote.
 *
 * Threat: bodies are authenticated but not believed: rdata names are measured
 * before they are followed, sets were checked by rrset_next(). */
#include "dns/compose.h"

#define OPT_LEN 11
#define ERROR_LEN 6
#define VERSION_LEN 6
#define POINTER_MAX 0x4000 /* offsets beyond don't fit a pointer */

void compose_init(struct compose *c)
{
	memset(c->slot, 0, sizeof c->slot);
	c->nused = 0;
}

/* Gives slots back until n are in use. */
static void forget(struct compose *c, unsigned n)
{
	while (c->nused > n)
		c->slot[c->used[--c->nused]] = 0;
}

/* Bit 5 set folds letters, and a few other octets with them, which same_name()
 * tells apart. */
static uint64_t mix(uint64_t h, uint64_t word)
{
	h = (h ^ (word | 0x2020202020202020u)) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 32;
}

static uint64_t word_at(const uint8_t *p)
{
	uint64_t w;
	memcpy(&w, p, 8);
	return w;
}

/* The last 1 to 8 octets of a label, the same number for the same octets: put
 * together without a store, which the next load would have to wait for. */
static uint64_t last_word(const uint8_t *p, unsigned n)
{
	uint32_t first, last;
	if (n == 8)
		return word_at(p);
	if (n < 4)
		return n == 0 ? 0 : p[0] | (uint64_t)p[n / 2] << 8 | (uint64_t)p[n - 1] << 16;
	memcpy(&first, p, 4);
	memcpy(&last, p + n - 4, 4);
	return first | (uint64_t)last << 32;
}

/* A suffix's hash from that of the suffix behind its first label. */
static uint32_t hash_label(uint32_t rest, const uint8_t *label)
{
	unsigned n = *label++;
	uint64_t h = (uint64_t)rest << 8 | n;
	for (; n > 8; n -= 8, label += 8)
		h = mix(h, word_at(label));
	return (uint32_t)mix(h, last_word(label, n));
}
#define HASH_START 2166136261u

/* A slot: the upper half of the hash, then the offset. */
static uint32_t tag_of(uint32_t hash) { return hash & 0xffff0000u; }

/* Is the rest of a name, at `at`, the name that the table has at `rest` (0: the
 * root)?  Each name is in the table once, with all its suffixes, so mostly one
 * comparison of offsets tells; only a name that had to be written whole
 * (put_name) has a suffix of its own that the table has elsewhere. */
static bool same_rest(const uint8_t *msg, size_t at, size_t rest)
{
	for (;;) {
		if (msg[at] >= 0xc0)
			at = get_u16(msg + at) & 0x3fffu;
		if (rest && msg[rest] >= 0xc0)
			rest = get_u16(msg + rest) & 0x3fffu;
		if (at == rest)
			return true;
		if (rest == 0 || msg[rest] == 0)
			return msg[at] == 0;
		if (msg[at] != msg[rest])
			return false;
		for (unsigned i = msg[at]; i > 0; i--)
			if (name_fold(msg[at + i]) != name_fold(msg[rest + i]))
				return false;
		at += msg[at] + 1u;
		rest += msg[rest] + 1u;
	}
}

/* Does the name at off begin with this label and go on with the name that the
 * table has at `rest` (0: the root)? */
static bool same_name(const struct compose *c, size_t off, const uint8_t *label, unsigned rest)
{
	const uint8_t *msg = c->w.start;
	unsigned n = *label;
	if (msg[off] != n)
		return false;
	for (unsigned i = 1; i <= n; i++)
		if (name_fold(msg[off + i]) != name_fold(label[i]))
			return false;
	return same_rest(msg, off + n + 1, rest);
}

static unsigned slot_of(uint32_t hash) { return (hash ^ hash >> 15) % COMPOSE_SLOTS; }

/* The offset of a name in the message, or 0. */
static unsigned find(const struct compose *c, uint32_t hash, const uint8_t *label, unsigned rest)
{
	/* half of the slots are always free: this ends */
	for (unsigned i = slot_of(hash); c->slot[i]; i = (i + 1) % COMPOSE_SLOTS)
		if (tag_of(c->slot[i]) == tag_of(hash) && same_name(c, c->slot[i] & 0xffff, label, rest))
			return c->slot[i] & 0xffff;
	return 0;
}

/* Offers a name the table does not have. */
static void remember(struct compose *c, uint32_t hash, size_t off)
{
	unsigned i = slot_of(hash);
	if (off >= POINTER_MAX || c->nused == COMPOSE_SLOTS / 2)
		return;
	while (c->slot[i])
		i = (i + 1) % COMPOSE_SLOTS;
	c->slot[i] = tag_of(hash) | (uint32_t)off;
	c->used[c->nused++] = (uint8_t)i;
}

/* A name's labels, and the hash of the suffix that begins with each. */
struct parts {
	unsigned n;
	const uint8_t *label[NAME_MAX_LABELS + 1]; /* label[n]: the root */
	uint32_t hash[NAME_MAX_LABELS];
};

static void take_apart(struct parts *s, const uint8_t *name)
{
	unsigned n = 0;
	for (; *name; name += *name + 1)
		s->label[n++] = name;
	s->label[n] = name;
	s->n = n;
	uint32_t h = HASH_START;
	while (n-- > 0)
		h = s->hash[n] = hash_label(h, s->label[n]);
}

/* Writes a name.  The longest suffix that the message has is found from the
 * root down and pointed to; the labels before it are written, and each offers
 * the name it begins, shorter ones first: a name is only in the table with all
 * its suffixes.  The root itself is never pointed to.  whole: nothing is pointed
 * to, but what is new is offered all the same. */
static void put_name(struct compose *c, const uint8_t *name, bool whole)
{
	struct parts s RAW;
	take_apart(&s, name);
	unsigned first = s.n, to = 0, at;
	while (first > 0 && (at = find(c, s.hash[first - 1], s.label[first - 1], to)) != 0) {
		to = at;
		first--;
	}
	size_t off = wr_len(&c->w);
	wr_bytes(&c->w, name, (size_t)(s.label[whole ? s.n : first] - name));
	if (to && !whole)
		wr_u16(&c->w, 0xc000 | to);
	else
		wr_u8(&c->w, 0);
	if (c->w.bad)
		return;
	for (unsigned i = first; i-- > 0;)
		remember(c, s.hash[i], off + (size_t)(s.label[i] - name));
}

/* The rdata of one record; false when a name in it is none. */
static bool put_rdata(struct compose *c, const char *names, const uint8_t *rdata, size_t len)
{
	size_t at = 0;
	for (; names && *names; names++) {
		size_t n;
		if (*names == 'n' || *names == 'N') {
			n = name_measure(rdata + at, len - at);
			if (n == 0)
				return false;
			put_name(c, rdata + at, *names == 'N');
		} else {
			n = (size_t)(*names - '0');
			if (n > len - at)
				return false;
			wr_bytes(&c->w, rdata + at, n);
		}
		at += n;
	}
	wr_bytes(&c->w, rdata + at, len - at);
	return true;
}

/* Where an rdata has names that matter here; other formats are opaque.  Those that
 * compress are all in RFC 1035 (RFC 3597 section 4).  The target of a service is
 * written whole (RFC 2782, RFC 9460 section 2.2) and pointed to by its addresses. */
static const char *names_of(uint16_t type)
{
	if (type <= T_MX)
		return type == T_A ? NULL : rr_type_names(type);
	return type == T_SRV || type == T_SVCB || type == T_HTTPS ? rr_type_names(type) : NULL;
}

/* An owner's second and further appearances are a pointer. */
struct owner {
	const uint8_t *name;
	uint16_t pointer; /* 0: to be written */
};

/* The owner of most sets is a suffix of the name asked for, and given as a
 * pointer into the query: it needs no search. */
static struct owner owner_of(const struct compose *c, const uint8_t *name)
{
	uintptr_t at = (uintptr_t)name - (uintptr_t)c->q->qname;
	bool asked = at < c->q->qname_len && *name != 0;
	return (struct owner){ name, asked ? (uint16_t)(0xc000 | (DNS_HEAD + at)) : 0 };
}

static void put_owner(struct compose *c, struct owner *o)
{
	if (o->pointer || *o->name == 0) {
		if (o->pointer)
			wr_u16(&c->w, o->pointer);
		else
			wr_u8(&c->w, 0);
		return;
	}
	size_t off = wr_len(&c->w);
	put_name(c, o->name, false);
	if (c->w.bad)
		return;
	if (c->w.start[off] >= 0xc0)
		o->pointer = get_u16(c->w.start + off);
	else if (off < POINTER_MAX)
		o->pointer = (uint16_t)(0xc000 | off);
}

/* n records of one type in a row; false when an rdata is damaged. */
static bool put_rrs(struct compose *c, struct owner *o, uint16_t type, uint32_t ttl, const uint8_t *rr,
                    unsigned n)
{
	const char *names = names_of(type);
	for (; n > 0; n--, rr = rr_next(rr)) {
		put_owner(c, o);
		uint8_t *head = wr_take(&c->w, 10);
		if (!head)
			return true; /* full */
		put_u16(head, type);
		put_u16(head + 2, CLASS_IN);
		put_u32(head + 4, ttl);
		if (!put_rdata(c, names, rr + 2, get_u16(rr)))
			return false;
		put_u16(head + 8, (uint32_t)(c->w.p - head - 10));
	}
	return true;
}

struct compose_mark compose_mark(const struct compose *c)
{
	struct compose_mark m = { c->w.p, c->nused, { 0 } };
	memcpy(m.count, c->count, sizeof m.count);
	return m;
}

void compose_back(struct compose *c, const struct compose_mark *m)
{
	c->w.p = m->p;
	c->w.bad = false;
	memcpy(c->count, m->count, sizeof c->count);
	forget(c, m->nused);
}

/* Ends what began at m: counts it, or takes it back. */
static enum composed settle(struct compose *c, struct compose_mark m, enum section sec, unsigned n, bool sound)
{
	if (sound && !c->w.bad && n <= 0xffffu - c->count[sec]) {
		c->count[sec] = (uint16_t)(c->count[sec] + n);
		return COMPOSED;
	}
	compose_back(c, &m);
	return sound ? COMPOSE_FULL : COMPOSE_BAD;
}

enum composed compose_set(struct compose *c, enum section sec, const uint8_t *owner,
                          const struct rrset *s, uint32_t ttl, bool sigs)
{
	struct compose_mark m = compose_mark(c);
	struct owner o = owner_of(c, owner);
	bool sound = put_rrs(c, &o, s->type, ttl, s->rrs, s->nrr);
	if (sound && sigs)
		put_rrs(c, &o, T_RRSIG, ttl, s->sigs, s->nsig);
	return settle(c, m, sec, s->nrr + (sigs ? s->nsig : 0u), sound);
}

enum composed compose_sigs(struct compose *c, enum section sec, const uint8_t *owner,
                           const struct rrset *s)
{
	struct compose_mark m = compose_mark(c);
	struct owner o = owner_of(c, owner);
	put_rrs(c, &o, T_RRSIG, s->ttl, s->sigs, s->nsig);
	return settle(c, m, sec, s->nsig, true);
}

enum composed compose_cname(struct compose *c, const uint8_t *owner, uint32_t ttl, const uint8_t *target)
{
	uint8_t rr[2 + NAME_MAX_LEN] RAW;
	size_t n = name_len(target);
	put_u16(rr, (uint32_t)n);
	memcpy(rr + 2, target, n);
	struct compose_mark m = compose_mark(c);
	struct owner o = owner_of(c, owner);
	bool sound = put_rrs(c, &o, T_CNAME, ttl, rr, 1);
	return settle(c, m, SEC_ANSWER, 1, sound);
}

enum composed compose_chaos(struct compose *c, const char *text)
{
	struct compose_mark m = compose_mark(c);
	size_t n = strlen(text);
	wr_u16(&c->w, 0xc000 | DNS_HEAD);
	wr_u16(&c->w, T_TXT);
	wr_u16(&c->w, CLASS_CH);
	wr_u32(&c->w, 0);
	wr_u16(&c->w, (uint32_t)n + 1);
	wr_u8(&c->w, (uint32_t)n);
	wr_bytes(&c->w, text, n);
	return settle(c, m, SEC_ANSWER, 1, true);
}

/* The question's name offers itself and its suffixes for compression. */
static void offer_question(struct compose *c, const struct query *q)
{
	struct parts s RAW;
	take_apart(&s, q->question);
	for (unsigned i = s.n; i-- > 0;)
		remember(c, s.hash[i], DNS_HEAD + (size_t)(s.label[i] - q->question));
}

static size_t tsig_len(const struct query *q)
{
	return q->tsig_name_len ? q->tsig_name_len + 10u + q->tsig_alg_len + 16u : 0;
}

static size_t options_len(const struct options *o)
{
	return (o->nsid ? 4 + strlen(o->nsid) : 0) + (o->have_cookie ? 4 + COOKIE_LEN : 0) +
	       (o->have_version ? 4 + VERSION_LEN : 0) + (o->keepalive >= 0 ? 6 : 0);
}

/* With a TSIG there may be no room for options in 512 octets. */
static bool with_options(const struct query *q) { return q->edns && !q->tsig_name_len; }

void compose_begin(struct compose *c, uint8_t *buf, size_t max, const struct query *q,
                   const struct options *o)
{
	forget(c, 0);
	memset(c->count, 0, sizeof c->count);
	c->q = q;
	c->options = o;
	c->reserved = (q->edns ? OPT_LEN : 0) + (with_options(q) ? options_len(o) : 0) + tsig_len(q);
	c->w = wr_init(buf, max - c->reserved);
	memset(wr_take(&c->w, DNS_HEAD), 0, DNS_HEAD);
	if (q->question_len) {
		wr_bytes(&c->w, q->question, q->question_len);
		offer_question(c, q);
	}
}

void compose_clear(struct compose *c, const struct query *q)
{
	c->w.p = c->w.start + DNS_HEAD + q->question_len;
	c->w.bad = false;
	memset(c->count, 0, sizeof c->count);
	forget(c, 0);
}

static void put_options(struct wr *w, const struct options *o)
{
	if (o->nsid) {
		wr_u16(w, OPTION_NSID);
		wr_u16(w, (uint32_t)strlen(o->nsid));
		wr_bytes(w, o->nsid, strlen(o->nsid));
	}
	if (o->have_cookie) {
		wr_u16(w, OPTION_COOKIE);
		wr_u16(w, COOKIE_LEN);
		wr_bytes(w, o->cookie, COOKIE_LEN);
	}
	if (o->have_version) {
		wr_u16(w, OPTION_VERSION);
		wr_u16(w, VERSION_LEN);
		wr_u8(w, o->zone_labels);
		wr_u8(w, 0); /* SOA-SERIAL */
		wr_u32(w, o->zone_serial);
	}
	if (o->keepalive >= 0) {
		wr_u16(w, OPTION_KEEPALIVE);
		wr_u16(w, 2);
		wr_u16(w, (uint32_t)o->keepalive);
	}
	if (o->error >= 0) {
		wr_u16(w, OPTION_ERROR);
		wr_u16(w, 2);
		wr_u16(w, (uint32_t)o->error);
	}
}

static void put_opt(struct wr *w, const struct query *q, const struct options *o, unsigned rcode,
                    unsigned our_size)
{
	size_t len = with_options(q) ? options_len(o) + (o->error >= 0 ? ERROR_LEN : 0) : 0;
	wr_u8(w, 0);
	wr_u16(w, T_OPT);
	wr_u16(w, our_size);
	wr_u8(w, rcode >> 4);
	wr_u8(w, 0); /* version */
	wr_u16(w, q->dnssec_ok ? 0x8000 : 0);
	wr_u16(w, (uint32_t)len);
	if (len)
		put_options(w, o);
}

/* RFC 8945 section 5.2.1: a key we don't know; the answer is not signed. */
static void put_tsig(struct wr *w, const struct query *q)
{
	wr_bytes(w, q->tsig_name, q->tsig_name_len);
	wr_u16(w, T_TSIG);
	wr_u16(w, CLASS_ANY);
	wr_u32(w, 0);
	wr_u16(w, q->tsig_alg_len + 16u);
	wr_bytes(w, q->tsig_alg, q->tsig_alg_len);
	wr_bytes(w, q->tsig_time, 8);
	wr_u16(w, 0);     /* MAC */
	wr_u16(w, q->id);
	wr_u16(w, 17);    /* BADKEY */
	wr_u16(w, 0);     /* other data */
}

size_t compose_end(struct compose *c, const struct query *q, unsigned flags, unsigned rcode,
                   unsigned our_size)
{
	/* compose_begin() kept the room */
	c->w.end += c->reserved;
	if (q->edns)
		put_opt(&c->w, q, c->options, rcode, our_size);
	if (q->tsig_name_len)
		put_tsig(&c->w, q);
	uint8_t *h = c->w.start;
	put_u16(h, q->id);
	/* QR, opcode and RD as they came; AD, CD and RA clear (RFC 4035 section
	 * 3.1.6: CD has no meaning in an authoritative answer) */
	put_u16(h + 2, 0x8000u | (q->flags & 0x7900u) | flags | (rcode & 15));
	put_u16(h + 4, q->question_len ? 1 : 0);
	put_u16(h + 6, c->count[SEC_ANSWER]);
	put_u16(h + 8, c->count[SEC_AUTHORITY]);
	put_u16(h + 10, c->count[SEC_ADDITIONAL] + (q->edns ? 1u : 0u) + (q->tsig_name_len ? 1u : 0u));
	return wr_len(&c->w);
}
