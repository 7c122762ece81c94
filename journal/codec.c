/* codec.c - the octets of the journal: operations, transactions, heads,
 * manifests.  Pure.  Layouts are in journal.h.
 * Threat: a hub taken over, a relay, a damaged file: every length is checked,
 * and nothing counts before its signature or chain hash does. */
#include "journal.h"

#include <stdlib.h>

/* ---- writing ---- */

void buf_put(struct buf *b, const void *p, size_t n)
{
	if (b->bad)
		return;
	if (b->room - b->n < n) {
		size_t room = b->room ? b->room : 4096;
		while (room - b->n < n)
			room *= 2;
		uint8_t *q = realloc(b->p, room);
		if (!q) {
			b->bad = true;
			return;
		}
		b->p = q;
		b->room = room;
	}
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

void buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ 0 };
}

static size_t op_begin(struct buf *b, enum op op)
{
	uint8_t head[4] = { (uint8_t)op };
	size_t at = b->n;
	buf_put(b, head, sizeof head);
	return at;
}

static void op_end(struct buf *b, size_t at)
{
	if (!b->bad)
		put_u24(b->p + at + 1, (uint32_t)(b->n - at - 4));
}

void op_zone(struct buf *b, const uint8_t *name)
{
	size_t at = op_begin(b, OP_ZONE);
	buf_put(b, name, name_len(name));
	op_end(b, at);
}

void op_plain(struct buf *b, enum op op) { op_end(b, op_begin(b, op)); }

void op_serial(struct buf *b, uint32_t serial, uint32_t expire)
{
	uint8_t p[8 + 32] = { 0 };
	size_t at = op_begin(b, OP_SERIAL);
	put_u32(p, serial);
	put_u32(p + 4, expire);
	buf_put(b, p, sizeof p);
	op_end(b, at);
}

void op_delete(struct buf *b, uint8_t kind, const uint8_t *owner)
{
	size_t at = op_begin(b, OP_DELETE);
	buf_put(b, &kind, 1);
	buf_put(b, owner, name_len(owner));
	op_end(b, at);
}

size_t op_edit_begin(struct buf *b, uint8_t kind, uint16_t flags, uint8_t cut, const uint8_t *owner)
{
	size_t at = op_begin(b, OP_EDIT);
	uint8_t p[4] = { kind };
	put_u16(p + 1, flags);
	p[3] = cut;
	buf_put(b, p, sizeof p);
	buf_put(b, owner, name_len(owner));
	return at;
}

void op_edit_put(struct buf *b, const uint8_t *set, size_t n)
{
	buf_put(b, &(uint8_t){ EDIT_PUT }, 1);
	buf_put(b, set, n);
}

void op_edit_remove(struct buf *b, uint16_t type)
{
	uint8_t p[3] = { EDIT_REMOVE };
	put_u16(p + 1, type);
	buf_put(b, p, sizeof p);
}

void op_edit_end(struct buf *b, size_t at) { op_end(b, at); }

void op_edit_body(struct buf *b, uint8_t kind, uint16_t flags, uint8_t cut, const uint8_t *owner,
                  const uint8_t *body, size_t n)
{
	struct rd r = rd_init(body, n);
	struct rrset s;
	size_t at = op_edit_begin(b, kind, flags, cut, owner);
	while (rrset_next(&r, &s))
		op_edit_put(b, s.start, (size_t)(s.end - s.start));
	op_edit_end(b, at);
}

/* ---- reading ---- */

/* Edits: whole sets, in rising order of type. */
static bool edits_ok(struct rd r)
{
	int last = -1;
	while (rd_left(&r)) {
		struct rrset s;
		uint8_t what = rd_u8(&r);
		uint16_t type = 0;
		if (what == EDIT_REMOVE)
			type = rd_u16(&r);
		else if (what == EDIT_PUT && rrset_next(&r, &s))
			type = s.type;
		else
			return false;
		if ((int)type <= last)
			return false;
		last = type;
	}
	return !r.bad;
}

static bool kind_ok(uint8_t kind) { return kind == FRAG_NAME || kind == FRAG_NSEC3; }

bool op_next(struct rd *r, struct op_view *out)
{
	if (rd_left(r) == 0)
		return false;
	struct op_view o RAW; /* a name is long, and most of it is not looked at */
	o.kind = o.cut = 0;
	o.flags = 0;
	o.name[0] = 0;
	o.serial = o.expire = 0;
	o.edits = (struct rd){ 0 };
	uint8_t op = rd_u8(r);
	struct rd in = rd_sub(r, rd_u24(r));
	bool good = !in.bad;
	o.op = (enum op)op;
	switch (op) {
	case OP_ZONE:
		good = name_read(&in, o.name) && rd_left(&in) == 0;
		break;
	case OP_ADD:
	case OP_DROP:
		good = good && rd_left(&in) == 0;
		break;
	case OP_SERIAL:
		o.serial = rd_u32(&in);
		o.expire = rd_u32(&in);
		rd_take(&in, 32);
		good = !in.bad && rd_left(&in) == 0;
		break;
	case OP_EDIT:
		o.kind = rd_u8(&in);
		o.flags = rd_u16(&in);
		o.cut = rd_u8(&in);
		name_read(&in, o.name);
		o.edits = in;
		good = !in.bad && kind_ok(o.kind) && edits_ok(in);
		break;
	case OP_DELETE:
		o.kind = rd_u8(&in);
		good = name_read(&in, o.name) && kind_ok(o.kind) && rd_left(&in) == 0;
		break;
	case OP_CONF:
	case OP_STAGE:
	case OP_ACTIVATE:
	case OP_UNSTAGE:
		break; /* the applier says that it can't */
	default:
		good = false;
	}
	r->bad |= !good;
	if (good)
		*out = o;
	return good;
}

bool tx_part_parse(const uint8_t *p, size_t n, struct tx_part *out)
{
	struct rd r = rd_init(p, n);
	struct tx_part t = { .flags = rd_u8(&r) };
	if (t.flags & PART_FIRST) {
		t.seq = rd_u64(&r);
		t.time = rd_u64(&r);
	}
	size_t tail = t.flags & PART_LAST ? CHAIN_LEN : 0;
	if (r.bad || t.flags > 3 || rd_left(&r) < tail)
		return false;
	t.len = rd_left(&r) - tail;
	t.ops = rd_take(&r, t.len);
	t.chain = tail ? rd_take(&r, tail) : NULL;
	*out = t;
	return true;
}

void tx_chain_begin(struct sha *s, const uint8_t before[static CHAIN_LEN], uint64_t seq, uint64_t time)
{
	uint8_t p[16];
	put_u64(p, seq);
	put_u64(p + 8, time);
	sha256_init(s);
	sha_update(s, before, CHAIN_LEN);
	sha_update(s, p, sizeof p);
}

/* ---- what the origin signs ---- */

/* A signed message is a label, the journal's id, a zone's name if it is about one
 * alone, and the octets. */
static void signed_hash(const char *label, const uint8_t id[static JOURNAL_ID], const uint8_t *zone, const void *p,
                        size_t n, uint8_t out[static 32])
{
	struct sha s;
	sha256_init(&s);
	sha_update(&s, label, strlen(label) + 1);
	sha_update(&s, id, JOURNAL_ID);
	if (zone)
		sha_update(&s, zone, name_len(zone));
	sha_update(&s, p, n);
	sha_out(&s, out);
}

static const char head_label[] = "encdns head v1", manifest_label[] = "encdns manifest v1";
static const char zone_label[] = "encdns zone manifest v1";

int head_sign(const struct signer *s, const uint8_t id[static JOURNAL_ID], const struct head *h,
              uint8_t out[static HEAD_LEN])
{
	uint8_t hash[32];
	struct wr w = wr_init(out, HEAD_LEN - SIGN_SIG);
	wr_u32(&w, h->term);
	wr_u64(&w, h->seq);
	wr_bytes(&w, h->chain, CHAIN_LEN);
	wr_u64(&w, h->time);
	signed_hash(head_label, id, NULL, out, wr_len(&w), hash);
	return signer_sign(s, hash, sizeof hash, out + wr_len(&w));
}

bool head_open(const uint8_t pub[static SIGN_PUB], const uint8_t id[static JOURNAL_ID],
               const uint8_t *p, size_t n, struct head *out)
{
	uint8_t hash[32];
	struct head h;
	struct rd r = rd_init(p, n);
	h.term = rd_u32(&r);
	h.seq = rd_u64(&r);
	rd_copy(&r, h.chain, CHAIN_LEN);
	h.time = rd_u64(&r);
	const uint8_t *sig = rd_take(&r, SIGN_SIG);
	if (!sig || rd_left(&r))
		return false;
	signed_hash(head_label, id, NULL, p, n - SIGN_SIG, hash);
	if (!sign_verify(pub, hash, sizeof hash, sig))
		return false;
	*out = h;
	return true;
}

int manifest_sign(const struct signer *s, const uint8_t id[static JOURNAL_ID], const struct manifest *m,
                  struct buf *out)
{
	uint8_t p[8 + CHAIN_LEN + 8 + 4 + 4 + 32], hash[32], sig[SIGN_SIG];
	size_t at = out->n;
	struct wr w = wr_init(p, sizeof p);
	wr_u64(&w, m->seq);
	wr_bytes(&w, m->chain, CHAIN_LEN);
	wr_u64(&w, m->time);
	wr_u32(&w, m->zones);
	wr_u32(&w, m->chunks);
	wr_bytes(&w, m->sum, sizeof m->sum);
	buf_put(out, p, sizeof p);
	if (out->bad)
		return -1;
	signed_hash(m->zone ? zone_label : manifest_label, id, m->zone, out->p + at, out->n - at, hash);
	if (signer_sign(s, hash, sizeof hash, sig) != 0)
		return -1;
	buf_put(out, sig, sizeof sig);
	return out->bad ? -1 : 0;
}

bool manifest_open(const uint8_t pub[static SIGN_PUB], const uint8_t id[static JOURNAL_ID], const uint8_t *zone,
                   const uint8_t *p, size_t n, struct manifest *out)
{
	uint8_t hash[32];
	struct manifest m = { .zone = zone };
	struct rd r = rd_init(p, n);
	m.seq = rd_u64(&r);
	rd_copy(&r, m.chain, CHAIN_LEN);
	m.time = rd_u64(&r);
	m.zones = rd_u32(&r);
	m.chunks = rd_u32(&r);
	rd_copy(&r, m.sum, sizeof m.sum);
	const uint8_t *sig = rd_take(&r, SIGN_SIG);
	if (!sig || rd_left(&r))
		return false;
	signed_hash(zone ? zone_label : manifest_label, id, zone, p, n - SIGN_SIG, hash);
	if (!sign_verify(pub, hash, sizeof hash, sig))
		return false;
	*out = m;
	return true;
}

void meta_write(const struct journal_meta *m, uint8_t out[static STORE_META])
{
	struct wr w = wr_init(out, STORE_META);
	memset(out, 0, STORE_META);
	wr_bytes(&w, m->id, JOURNAL_ID);
	wr_bytes(&w, m->chain, CHAIN_LEN);
	wr_bytes(&w, m->pub, SIGN_PUB);
	wr_u64(&w, m->time);
	wr_u32(&w, m->behind);
}

void meta_read(const uint8_t in[static STORE_META], struct journal_meta *m)
{
	struct rd r = rd_init(in, STORE_META);
	rd_copy(&r, m->id, JOURNAL_ID);
	rd_copy(&r, m->chain, CHAIN_LEN);
	rd_copy(&r, m->pub, SIGN_PUB);
	m->time = rd_u64(&r);
	m->behind = rd_u32(&r);
}
_Static_assert(JOURNAL_ID + CHAIN_LEN + SIGN_PUB + 8 + 4 <= STORE_META, "it fits beside a commit");
