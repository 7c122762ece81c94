/* pack.c - what a fragment's plain octets look like in the log: a short head, and
 * the RRsets in few octets.  Pure functions; layout in format.h.
 *
 * Packing gives back every body octet by octet or does not begin: one that is no
 * row of RRsets (rrset.h), or is long, is kept as it is.
 * Threat: a fragment has passed its tag when it comes here, but every length is
 * checked before it is followed, and nothing is longer than PACK_MAX. */
#include "store/writer.h"

#define PACK_MAX 4096u /* octets of a body that is packed */

/* TTLs that take one octet, in rising order.  Part of the format. */
static const uint32_t ttls[] = {
	0, 1, 5, 10, 15, 20, 30, 60, 90, 120, 180, 240, 300, 360, 600, 720, 900, 1200, 1500, 1800, 2400,
	2700, 3000, 3600, 5400, 7200, 9000, 10800, 12600, 14400, 16200, 18000, 21600, 25200, 28800, 36000,
	38400, 43200, 54000, 57600, 64800, 72000, 86400, 100000, 108000, 129600, 172800, 180000, 216000,
	259200, 345600, 360000, 432000, 518400, 604800, 864000, 1209600, 1728000, 1814400, 2419200, 2592000,
	3600000, 31536000, 2147483647,
};
#define TTLS      (sizeof ttls / sizeof *ttls)
#define TTL_SHORT 254u /* 16 bits follow */
#define TTL_LONG  255u /* 32 bits follow */

/* ---- names: one whose end has stood before points back to it ---- */

/* Where a name goes on that has no more labels of its own: at an offset from the
 * key's first octet, behind which the body's follow. */
#define REF_SHORT 64u  /* + offset, below 128 */
#define REF_LONG  192u /* its upper 6 bits, the lower 8 follow */

/* Ends of names that stand in the key or the packed body, for the packer; he who
 * unpacks needs no more than the offset. */
#define SUFFIXES 64u
struct suffixes {
	const uint8_t *base; /* the key */
	unsigned n;
	const uint8_t *at[SUFFIXES];
	uint16_t off[SUFFIXES];
	uint8_t len[SUFFIXES];
};

/* Those of a name of so many octets that begin before `stop`; it stands at `here`. */
static void suffixes_add(struct suffixes *t, const uint8_t *name, const uint8_t *stop, size_t len,
                         const uint8_t *here)
{
	for (const uint8_t *p = name; p < stop && t->n < SUFFIXES; p += *p + 1, t->n++) {
		t->at[t->n] = p;
		t->len[t->n] = (uint8_t)(len - (size_t)(p - name));
		t->off[t->n] = (uint16_t)(here - t->base + (p - name));
	}
}

static void suffixes_begin(struct suffixes *t, const uint8_t *key, size_t len)
{
	t->base = key;
	t->n = 0;
	if (name_measure(key, len) == len)
		suffixes_add(t, key, key + len - 1, len, key);
}

static unsigned suffix_find(const struct suffixes *t, const uint8_t *p, size_t len)
{
	unsigned i = 0;
	while (i < t->n && (t->len[i] != len || !same_short(t->at[i], p, len)))
		i++;
	return i;
}

static void pack_name(struct wr *w, struct suffixes *t, const uint8_t *name, size_t len)
{
	const uint8_t *p = name, *end = name + len - 1, *here = w->p;
	unsigned known = t->n;
	while (p < end && (known = suffix_find(t, p, (size_t)(end - p) + 1)) == t->n)
		p += *p + 1;
	wr_bytes(w, name, (size_t)(p - name));
	if (p == end)
		wr_u8(w, 0);
	else if (t->off[known] < REF_LONG - REF_SHORT)
		wr_u8(w, REF_SHORT + t->off[known]);
	else
		wr_u16(w, REF_LONG << 8 | t->off[known]);
	suffixes_add(t, name, p, len, here);
}

/* Labels stand as they are in a name, so what stands together is copied in one go. */
static void unpack_name(struct rd *r, const uint8_t *base, struct wr *w)
{
	const uint8_t *p = r->p, *next = NULL; /* behind the name */
	uint8_t *to = w->p;
	size_t room = (size_t)(w->end - w->p) < NAME_MAX_LEN ? (size_t)(w->end - w->p) : NAME_MAX_LEN;
	for (;;) {
		const uint8_t *from = p;
		while (p < r->end && *p - 1u < REF_SHORT - 1 && *p < r->end - p)
			p += *p + 1;
		size_t n = (size_t)(p - from);
		if (p == r->end || (*p && *p < REF_SHORT) || (*p >= REF_LONG && p + 1 == r->end) || n >= room)
			break;
		copy_short(to, from, n);
		to += n;
		room -= n;
		uint8_t c = *p++;
		size_t off = c < REF_LONG ? c - REF_SHORT : (size_t)(c & 63) << 8 | *p++;
		next = next ? next : p;
		if (c == 0) {
			*to = 0;
			wr_take(w, (size_t)(to - w->p) + 1);
			r->p = next;
			return;
		}
		if (off >= (size_t)(from - base)) /* always further back */
			break;
		p = base + off;
	}
	r->bad = true;
}

/* ---- rdata ---- */

/* How the rdata of a set's records are told. */
enum form {
	FORM_PLAIN, /* each with its length */
	FORM_EQUAL, /* all of one length, told once */
	FORM_NAMES, /* fields and names as rr_type_names() tells, and nothing behind them */
	FORM_TAIL,  /* the same, and more with its length behind them */
};

/* Fields that can be told apart without looking into them: of all but one. */
static const char *fields(uint16_t type) { return type == T_NAPTR ? NULL : rr_type_names(type); }

static void put_len(struct wr *w, size_t n)
{
	if (n < 128)
		wr_u8(w, (unsigned)n);
	else
		wr_u16(w, (uint32_t)(0x8000 | n));
}

static size_t take_len(struct rd *r)
{
	uint8_t c = rd_u8(r);
	return c < 128 ? c : (size_t)(c & 127) << 8 | rd_u8(r);
}

static bool has_fields(struct rd *r, const char *f)
{
	for (; *f && !r->bad; f++) {
		size_t n = *f < 'A' ? (size_t)(*f - '0') : name_measure(r->p, rd_left(r));
		r->bad |= n == 0;
		rd_take(r, n);
	}
	return !r->bad;
}

/* The form in which n records can be told. */
static enum form form_of(const uint8_t *rr, unsigned n, const char *f)
{
	bool tail = false, equal = n > 1;
	for (unsigned i = 0; i < n; i++, rr = rr_next(rr)) {
		struct rd r = rd_init(rr + 2, get_u16(rr));
		if (f && !has_fields(&r, f))
			f = NULL;
		tail |= rd_left(&r) > 0;
		equal &= i + 1 == n || get_u16(rr) == get_u16(rr_next(rr));
	}
	return f ? (tail ? FORM_TAIL : FORM_NAMES) : equal ? FORM_EQUAL : FORM_PLAIN;
}

static void pack_fields(struct wr *w, struct suffixes *t, struct rd *r, const char *f)
{
	for (; *f; f++) {
		bool name = *f >= 'A';
		size_t n = name ? name_measure(r->p, rd_left(r)) : (size_t)(*f - '0');
		const uint8_t *p = rd_take(r, n);
		if (name)
			pack_name(w, t, p, n);
		else
			wr_bytes(w, p, n);
	}
}

static void pack_rrs(struct wr *w, struct suffixes *t, const uint8_t *rr, unsigned n, enum form form,
                     const char *f)
{
	if (form == FORM_EQUAL)
		put_len(w, get_u16(rr));
	for (; n; n--, rr = rr_next(rr)) {
		struct rd r = rd_init(rr + 2, get_u16(rr));
		if (form >= FORM_NAMES)
			pack_fields(w, t, &r, f);
		if (form == FORM_PLAIN || form == FORM_TAIL)
			put_len(w, rd_left(&r));
		wr_bytes(w, r.p, rd_left(&r));
	}
}

static void unpack_fields(struct rd *r, const uint8_t *base, struct wr *w, const char *f)
{
	for (; *f && !r->bad; f++) {
		size_t n = (size_t)(*f - '0');
		const uint8_t *p;
		if (*f >= 'A')
			unpack_name(r, base, w);
		else if ((p = rd_take(r, n)) != NULL)
			wr_bytes(w, p, n);
	}
}

static void unpack_rrs(struct rd *r, const uint8_t *base, struct wr *w, unsigned n, enum form form,
                       const char *f)
{
	size_t len = form == FORM_EQUAL ? take_len(r) : 0;
	for (; n && !r->bad && !w->bad; n--) {
		uint8_t *head = wr_take(w, 2), *from = w->p;
		if (form >= FORM_NAMES)
			unpack_fields(r, base, w, f);
		if (form == FORM_PLAIN || form == FORM_TAIL)
			len = take_len(r);
		const uint8_t *p = rd_take(r, len);
		if (p)
			wr_bytes(w, p, len);
		if (head)
			put_u16(head, (uint32_t)(w->p - from));
	}
}

/* ---- sets ---- */

/* The octet behind a set's type. */
#define SET_FORM(o)  ((enum form)((o) & 3))
#define SET_SIGS     4u  /* signatures as FORM_TAIL, else FORM_PLAIN */
#define SET_FLAGS    8u  /* flags follow */
#define SET_NRR(o)   ((o) >> 4 & 3) /* 1 to 3 records; 0: their number, 16 bits, follows */
#define SET_NSIG(o)  ((o) >> 6)     /* 0 to 2 signatures; 3: their number, 8 bits, follows */
#define TYPE_LONG    255u /* 16 bits follow */

static void pack_ttl(struct wr *w, uint32_t ttl)
{
	unsigned low = 0, n = TTLS; /* it lies in low .. low + n - 1, or nowhere */
	for (; n > 1; n -= n / 2)
		low += ttls[low + n / 2] <= ttl ? n / 2 : 0;
	if (ttls[low] == ttl) {
		wr_u8(w, low);
		return;
	}
	wr_u8(w, ttl < 65536 ? TTL_SHORT : TTL_LONG);
	if (ttl < 65536)
		wr_u16(w, ttl);
	else
		wr_u32(w, ttl);
}

static uint32_t unpack_ttl(struct rd *r)
{
	uint8_t c = rd_u8(r);
	if (c < TTLS)
		return ttls[c];
	r->bad |= c < TTL_SHORT;
	return c == TTL_SHORT ? rd_u16(r) : rd_u32(r);
}

static void pack_set(struct wr *w, struct suffixes *t, const struct rrset *s)
{
	const char *f = fields(s->type), *sigf = fields(T_RRSIG);
	enum form form = form_of(s->rrs, s->nrr, f);
	bool sigs = s->nsig && form_of(s->sigs, s->nsig, sigf) == FORM_TAIL;
	unsigned nrr = s->nrr < 4 ? s->nrr : 0, nsig = s->nsig < 3 ? s->nsig : 3;
	if (s->type < TYPE_LONG) {
		wr_u8(w, s->type);
	} else {
		wr_u8(w, TYPE_LONG);
		wr_u16(w, s->type);
	}
	wr_u8(w, (unsigned)form | (sigs ? SET_SIGS : 0) | (s->flags ? SET_FLAGS : 0) | nrr << 4 | nsig << 6);
	pack_ttl(w, s->ttl);
	if (!nrr)
		wr_u16(w, s->nrr);
	if (nsig == 3)
		wr_u8(w, s->nsig);
	if (s->flags)
		wr_u8(w, s->flags);
	pack_rrs(w, t, s->rrs, s->nrr, form, f);
	if (s->nsig)
		pack_rrs(w, t, s->sigs, s->nsig, sigs ? FORM_TAIL : FORM_PLAIN, sigf);
}

static void unpack_set(struct rd *r, const uint8_t *base, struct wr *w)
{
	uint16_t type = rd_u8(r);
	if (type == TYPE_LONG)
		type = rd_u16(r);
	uint8_t o = rd_u8(r);
	uint32_t ttl = unpack_ttl(r);
	unsigned nrr = SET_NRR(o) ? SET_NRR(o) : rd_u16(r), nsig = SET_NSIG(o) < 3 ? SET_NSIG(o) : rd_u8(r);
	uint8_t *head = wr_take(w, SET_HEAD), *from = w->p;
	const char *f = SET_FORM(o) >= FORM_NAMES ? fields(type) : "";
	if (!head || !f) {
		r->bad = true;
		return;
	}
	put_u16(head, type);
	put_u32(head + 2, ttl);
	put_u16(head + 6, nrr);
	head[8] = (uint8_t)nsig;
	head[9] = o & SET_FLAGS ? rd_u8(r) : 0;
	unpack_rrs(r, base, w, nrr, SET_FORM(o), f);
	if (nsig)
		unpack_rrs(r, base, w, nsig, o & SET_SIGS ? FORM_TAIL : FORM_PLAIN, fields(T_RRSIG));
	put_u32(head + 10, (uint32_t)(w->p - from));
}

/* False: it can't be packed, or that gains nothing. */
static bool pack_body(struct wr *w, const struct change *c)
{
	struct suffixes t RAW;
	struct rrset s;
	struct rd r = rd_init(c->body, c->len);
	struct wr to = wr_init(w->p, c->len);
	if (c->len > PACK_MAX)
		return false;
	suffixes_begin(&t, w->p - c->keylen, c->keylen);
	while (rrset_next(&r, &s))
		pack_set(&to, &t, &s);
	if (r.bad || to.bad || wr_len(&to) >= c->len)
		return false;
	wr_take(w, wr_len(&to));
	return true;
}

bool frag_unpack_body(struct scratch *s, struct raw *out)
{
	if (!out->packed)
		return true;
	size_t room = s->size - s->used;
	struct wr w = wr_init(s->mem + s->used, room < PACK_MAX ? room : PACK_MAX);
	struct rd r = rd_init(out->f.body, out->f.len);
	while (rd_left(&r) && !w.bad)
		unpack_set(&r, out->f.owner, &w);
	out->packed = false;
	out->f.body = w.start;
	out->f.len = (uint32_t)wr_len(&w);
	scratch_take(s, wr_len(&w));
	return !r.bad && !w.bad;
}

/* ---- the head ---- */

/* Its first octet, */
#define HEAD_SEQ(o)  (((o) & 7) + 1)      /* octets of the sequence */
#define HEAD_OLDER   8u                   /* the unit of the older version follows */
#define HEAD_INST(o) (((o) >> 4 & 3) + 1) /* octets of the instance */
#define HEAD_PACKED  64u                  /* the body is packed */
#define HEAD_GONE    128u                 /* a tombstone */
/* and the second: */
enum head_cut { CUT_NONE, CUT_OWNER, CUT_TOLD };          /* bits 0 and 1: at the owner itself */
enum head_flags { FLAGS_NONE, FLAGS_CUT, FLAGS_8, FLAGS_16 }; /* bits 2 and 3: only NODE_CUT */

static unsigned octets_of(uint64_t v)
{
	unsigned n = 1;
	while (v >>= 8)
		n++;
	return n;
}

static void put_uint(struct wr *w, uint64_t v, unsigned octets)
{
	while (octets--)
		wr_u8(w, (unsigned)(v >> 8 * octets & 255));
}

static uint64_t take_uint(struct rd *r, unsigned octets)
{
	uint64_t v = 0;
	while (octets--)
		v = v << 8 | rd_u8(r);
	return v;
}

/* Labels of a key that is a name; 0: it is none. */
static unsigned key_labels(const uint8_t *key, size_t n)
{
	return n && name_measure(key, n) == n ? name_labels(key) : 0;
}

static bool has_rrsets(enum frag_kind k) { return k == FRAG_NAME || k == FRAG_NSEC3; }

size_t frag_pack(const struct change *c, uint64_t older, uint8_t *out)
{
	struct wr w = wr_init(out, FRAG_HEAD_MAX + c->keylen + c->len);
	uint16_t flags = c->flags & (uint16_t)~FRAG_GONE;
	unsigned seq = octets_of(c->seq), inst = octets_of(c->inst);
	unsigned cut = !c->cut ? CUT_NONE : c->cut == key_labels(c->key, c->keylen) ? CUT_OWNER : CUT_TOLD;
	unsigned fl = !flags ? FLAGS_NONE : flags == NODE_CUT ? FLAGS_CUT : flags < 256 ? FLAGS_8 : FLAGS_16;
	wr_u8(&w, (seq - 1) | (older ? HEAD_OLDER : 0) | (inst - 1) << 4 |
	          (c->flags & FRAG_GONE ? HEAD_GONE : 0));
	wr_u8(&w, cut | fl << 2);
	put_uint(&w, c->seq, seq);
	if (older)
		wr_u40(&w, older);
	put_uint(&w, c->inst, inst);
	if (fl >= FLAGS_8)
		put_uint(&w, flags, fl - FLAGS_8 + 1);
	if (cut == CUT_TOLD)
		wr_u8(&w, c->cut);
	wr_u8(&w, (unsigned)c->keylen);
	wr_bytes(&w, c->key, c->keylen);
	if (!c->packed && has_rrsets(c->kind) && pack_body(&w, c)) {
		out[0] |= HEAD_PACKED;
	} else {
		out[0] |= c->packed ? HEAD_PACKED : 0;
		wr_bytes(&w, c->body, c->len);
	}
	return wr_len(&w);
}

bool frag_head(const uint8_t *p, size_t n, struct raw *out)
{
	struct rd r = rd_init(p, n);
	uint8_t o = rd_u8(&r), o2 = rd_u8(&r);
	unsigned cut = o2 & 3, fl = o2 >> 2 & 3;
	out->f.seq = take_uint(&r, HEAD_SEQ(o));
	out->older = o & HEAD_OLDER ? rd_u40(&r) : 0;
	out->f.inst = (uint32_t)take_uint(&r, HEAD_INST(o));
	out->gone = o & HEAD_GONE;
	out->f.flags = fl >= FLAGS_8 ? (uint16_t)take_uint(&r, fl - FLAGS_8 + 1) : fl ? NODE_CUT : 0;
	out->f.cut = cut == CUT_TOLD ? rd_u8(&r) : 0;
	out->keylen = rd_u8(&r);
	out->f.owner = rd_take(&r, out->keylen);
	if (r.bad || o2 >> 4 || cut > CUT_TOLD)
		return false;
	if (cut == CUT_OWNER)
		out->f.cut = (uint8_t)key_labels(out->f.owner, out->keylen);
	out->f.body = r.p;
	out->f.len = (uint32_t)rd_left(&r);
	out->packed = o & HEAD_PACKED;
	return true;
}
