/* test_journal.c - the journal's octets, and its operations into a store
 * against a model. */
#include "hub/walk.h"
#include "journal.h"
#include "tests/tap.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define NAMES 40
#define TYPES 6
#define ZONES 4

static uint64_t state = 88172645463325252u;
static struct key *k;
static struct scratch scratch;
static char err[1300];

static uint32_t dice(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % n;
}

/* One RRset of one TXT-like record that tells its value. */
static size_t set(uint16_t type, uint32_t value, uint8_t *out)
{
	uint32_t len = 4 + value % 50;
	struct wr w = wr_init(out, 256);
	wr_u16(&w, type);
	wr_u32(&w, value);
	wr_u16(&w, 1);
	wr_u16(&w, 0);
	wr_u32(&w, len + 2);
	wr_u16(&w, len);
	for (uint32_t i = 0; i < len; i++)
		wr_u8(&w, value + i);
	return wr_len(&w);
}

/* ---- octets ---- */

static bool same(const void *a, uint8_t octet, size_t n)
{
	const uint8_t *p = a;
	while (n > 0 && p[n - 1] == octet)
		n--;
	return n == 0;
}

/* Parses all in memory of the exact size; how many operations, -1 when bad. */
static int count_ops(const uint8_t *p, size_t n, struct op_view *o)
{
	uint8_t *exact = malloc(n ? n : 1);
	memcpy(exact, p, n);
	struct rd r = rd_init(exact, n);
	int count = 0;
	while (op_next(&r, o))
		count++;
	free(exact);
	return r.bad ? -1 : count;
}

static unsigned cut_everywhere(const struct buf *b)
{
	unsigned bad = 0;
	for (size_t n = 0; n <= b->n; n++) {
		struct op_view o;
		memset(&o, 0xa5, sizeof o);
		int r = count_ops(b->p, n, &o);
		bad += n == b->n ? r != 1 : r != (n ? -1 : 0) || !same(&o, 0xa5, sizeof o);
	}
	return bad;
}

static void test_ops(void)
{
	static const uint8_t name[] = "\3WwW\7example";
	uint8_t s[256];
	struct buf b = { 0 };
	struct op_view o;
	unsigned bad = 0;
	op_zone(&b, name);
	bad += cut_everywhere(&b) + (count_ops(b.p, b.n, &o) != 1) + (o.op != OP_ZONE || memcmp(o.name, name, sizeof name) != 0);
	for (enum op op = OP_ADD; op <= OP_DROP; op++) {
		b.n = 0;
		op_plain(&b, op);
		bad += cut_everywhere(&b) + (count_ops(b.p, b.n, &o) != 1) + (o.op != op);
	}
	b.n = 0;
	op_serial(&b, 0xdeadbeef, 604800);
	bad += cut_everywhere(&b) + (count_ops(b.p, b.n, &o) != 1) + (o.op != OP_SERIAL || o.serial != 0xdeadbeef || o.expire != 604800);
	b.n = 0;
	op_delete(&b, FRAG_NSEC3, name);
	bad += cut_everywhere(&b) + (count_ops(b.p, b.n, &o) != 1) + (o.op != OP_DELETE || o.kind != FRAG_NSEC3 || !name_equal(o.name, name));
	b.n = 0;
	size_t at = op_edit_begin(&b, FRAG_NAME, NODE_CUT | NODE_NSEC, 3, name);
	op_edit_remove(&b, 0);
	op_edit_put(&b, s, set(T_A, 7, s));
	op_edit_remove(&b, T_NS);
	op_edit_put(&b, s, set(65535, 9, s));
	op_edit_end(&b, at);
	bad += cut_everywhere(&b);
	struct rd r = rd_init(b.p, b.n);
	bad += !op_next(&r, &o) || o.op != OP_EDIT || o.kind != FRAG_NAME || o.flags != (NODE_CUT | NODE_NSEC) || o.cut != 3 ||
	       !name_equal(o.name, name) || rd_left(&o.edits) != b.n - 4 - 4 - sizeof name || op_next(&r, &o) || r.bad;
	ok(bad == 0, "operations come back; each truncation is refused, nothing is touched (%u wrong)", bad);
	buf_free(&b);
}

static void test_bad_ops(void)
{
	static const struct { const char *what, *p; size_t n; } table[] = {
#define ROW(what, p) { what, p, sizeof p - 1 }
		ROW("operation 0", "\0\0\0\0"),
		ROW("operation 11", "\13\0\0\0"),
		ROW("operation 255", "\377\0\0\0"),
		ROW("a zone without a name", "\1\0\0\0"),
		ROW("a zone and an octet", "\1\0\0\4\1a\0x"),
		ROW("a compressed name", "\1\0\0\2\300\0"),
		ROW("an add with content", "\2\0\0\1x"),
		ROW("a drop with content", "\3\0\0\1x"),
		ROW("a short serial", "\4\0\0\10abcdefgh"),
		ROW("an edit of kind 0", "\5\0\0\5\0\0\0\0\0"),
		ROW("an edit of a tree's node", "\5\0\0\5\3\0\0\0\0"),
		ROW("an unknown edit", "\5\0\0\10\1\0\0\0\0\3\0\1"),
		ROW("half a removal", "\5\0\0\7\1\0\0\0\0\2\0"),
		ROW("a type twice", "\5\0\0\13\1\0\0\0\0\2\0\1\2\0\1"),
		ROW("types falling", "\5\0\0\13\1\0\0\0\0\2\0\2\2\0\1"),
		ROW("a put of nothing", "\5\0\0\6\1\0\0\0\0\1"),
		ROW("a set that runs over", "\5\0\0\24\1\0\0\0\0\1\0\1\0\0\0\0\0\1\0\0\0\0\0\1"),
		ROW("a deletion of kind 5", "\6\0\0\2\5\0"),
		ROW("a deletion and an octet", "\6\0\0\3\1\0x"),
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		struct op_view o;
		memset(&o, 0xa5, sizeof o);
		ok(count_ops((const uint8_t *)table[i].p, table[i].n, &o) == -1 && same(&o, 0xa5, sizeof o),
		   "refused: %s", table[i].what);
	}
}

static void test_parts(void)
{
	unsigned bad = 0;
	for (unsigned flags = 0; flags < 256; flags++)
		for (size_t n = 0; n < 80; n++) {
			uint8_t p[80];
			struct tx_part t;
			memset(&t, 0xa5, sizeof t);
			for (size_t i = 0; i < n; i++)
				p[i] = (uint8_t)(i * 7 + 1);
			p[0] = (uint8_t)flags;
			size_t head = flags & PART_FIRST ? 17 : 1, tail = flags & PART_LAST ? CHAIN_LEN : 0;
			uint8_t *exact = malloc(n ? n : 1);
			memcpy(exact, p, n);
			bool want = flags < 4 && n >= head + tail, got = tx_part_parse(exact, n, &t);
			bad += want != got;
			if (got)
				bad += t.flags != flags || t.len != n - head - tail || t.ops != exact + head ||
				       t.chain != (tail ? exact + n - tail : NULL) ||
				       (flags & PART_FIRST ? t.seq != get_u64(p + 1) || t.time != get_u64(p + 9) : t.seq || t.time);
			else
				bad += !same(&t, 0xa5, sizeof t);
			free(exact);
		}
	ok(bad == 0, "parts of transactions, all flags and lengths (%u wrong)", bad);
}

static void test_heads(void)
{
	uint8_t id[JOURNAL_ID], other[JOURNAL_ID], p[HEAD_LEN + 1] = { 0 }, pub[SIGN_PUB], pub2[SIGN_PUB];
	struct signer *s = signer_new(), *s2 = signer_new();
	struct head h = { .term = 3, .seq = 1ull << 40, .time = 1700000000 }, out;
	unsigned bad = 0;
	signer_pub(s, pub);
	signer_pub(s2, pub2);
	crypto_random(id, sizeof id);
	crypto_random(other, sizeof other);
	crypto_random(h.chain, CHAIN_LEN);
	ok(head_sign(s, id, &h, p) == 0 && head_open(pub, id, p, HEAD_LEN, &out) && out.term == h.term && out.seq == h.seq &&
	   out.time == h.time && memcmp(out.chain, h.chain, CHAIN_LEN) == 0, "a head comes back");
	memset(&out, 0xa5, sizeof out);
	for (size_t n = 0; n <= HEAD_LEN + 1; n++)
		bad += n != HEAD_LEN && head_open(pub, id, p, n, &out);
	for (size_t i = 0; i < HEAD_LEN; i++) {
		p[i] ^= (uint8_t)(1 + dice(255));
		uint8_t was = p[i];
		bad += head_open(pub, id, p, HEAD_LEN, &out);
		p[i] = was;
		head_sign(s, id, &h, p);
	}
	bad += head_open(pub2, id, p, HEAD_LEN, &out) || head_open(pub, other, p, HEAD_LEN, &out);
	ok(bad == 0 && same(&out, 0xa5, sizeof out), "cut, longer, changed in any octet, another key or journal: refused");
	/* a head's octets as a manifest's: the label tells them apart */
	struct manifest m;
	bad = manifest_open(pub, id, NULL, p, HEAD_LEN, &m);
	ok(bad == 0, "and it is no manifest");
	signer_free(s);
	signer_free(s2);
}

static void test_manifests(void)
{
	uint8_t id[JOURNAL_ID], other[JOURNAL_ID] = { 1 }, pub[SIGN_PUB];
	struct signer *s = signer_new();
	signer_pub(s, pub);
	crypto_random(id, sizeof id);
	for (uint32_t chunks = 0; chunks <= 300000; chunks += 300000) {
		struct manifest m = { .seq = 77, .time = 1700000000, .zones = 5, .chunks = chunks }, out;
		struct buf b = { 0 };
		unsigned bad = 0;
		memset(m.chain, 9, CHAIN_LEN);
		crypto_random(m.sum, sizeof m.sum);
		bad += manifest_sign(s, id, &m, &b) != 0 || !manifest_open(pub, id, NULL, b.p, b.n, &out) || out.seq != 77 ||
		       out.time != m.time || out.zones != 5 || out.chunks != chunks || memcmp(out.chain, m.chain, CHAIN_LEN) != 0 ||
		       memcmp(out.sum, m.sum, sizeof m.sum) != 0;
		ok(bad == 0, "a manifest of %u chunks comes back", chunks);
		memset(&out, 0xa5, sizeof out);
		for (size_t n = 0; n < b.n; n++) {
			uint8_t *exact = malloc(n ? n : 1);
			memcpy(exact, b.p, n);
			bad += manifest_open(pub, id, NULL, exact, n, &out);
			free(exact);
		}
		for (size_t i = 0; i < b.n; i++) {
			uint8_t was = b.p[i];
			b.p[i] ^= (uint8_t)(1 + dice(255));
			bad += manifest_open(pub, id, NULL, b.p, b.n, &out);
			b.p[i] = was;
		}
		bad += manifest_open(pub, other, NULL, b.p, b.n, &out);
		ok(bad == 0 && same(&out, 0xa5, sizeof out), "cut or changed anywhere: refused");
		static const uint8_t zone[] = "\1a", zone2[] = "\1b";
		struct buf z = { 0 };
		ok(!manifest_open(pub, id, zone, b.p, b.n, &out), "one of all zones is none of a single one");
		m.zone = zone;
		ok(manifest_sign(s, id, &m, &z) == 0 && manifest_open(pub, id, zone, z.p, z.n, &out) && !manifest_open(pub, id, NULL, z.p, z.n, &out) &&
		   !manifest_open(pub, id, zone2, z.p, z.n, &out), "one of a single zone is of that one alone, never of all");
		bad = 0;
		for (size_t n = 0; n < z.n; n++)
			bad += manifest_open(pub, id, zone, z.p, n, &out);
		ok(bad == 0, "cut: refused");
		buf_free(&z);
		buf_put(&b, "x", 1);
		ok(!manifest_open(pub, id, NULL, b.p, b.n, &out), "longer: refused");
		buf_free(&b);
	}
	signer_free(s);
}

static void test_meta(void)
{
	struct journal_meta m, out;
	uint8_t p[STORE_META];
	crypto_random(&m, sizeof m);
	memset(p, 0xff, sizeof p);
	meta_write(&m, p);
	meta_read(p, &out);
	ok(memcmp(m.id, out.id, JOURNAL_ID) == 0 && memcmp(m.chain, out.chain, CHAIN_LEN) == 0 &&
	   memcmp(m.pub, out.pub, SIGN_PUB) == 0 && m.time == out.time && m.behind == out.behind, "what a store keeps comes back");
	ok(same(p + JOURNAL_ID + CHAIN_LEN + SIGN_PUB + 12, 0, STORE_META - JOURNAL_ID - CHAIN_LEN - SIGN_PUB - 12), "the rest is zero");
}

/* ---- a store against a model ---- */

struct model_name { bool here; uint8_t flags, cut; uint32_t value[TYPES]; };
struct model_zone { bool here; uint32_t serial; struct model_name name[NAMES]; };
struct model { struct model_zone zone[ZONES]; };
static const char *const zone_text[ZONES] = { "Example.", "Sub.example.", "ORG.", "." };
static const uint16_t types[TYPES] = { T_A, T_NS, T_TXT, T_AAAA, T_CAA, 65000 };

static void zone_name(unsigned z, uint8_t out[static NAME_MAX_LEN]) { name_parse(zone_text[z], strlen(zone_text[z]), NULL, out); }

static enum frag_kind owner(unsigned z, unsigned i, uint8_t out[static NAME_MAX_LEN])
{
	uint8_t origin[NAME_MAX_LEN];
	char text[64];
	zone_name(z, origin);
	/* the last ones are NSEC3 twins of others */
	unsigned n = i >= NAMES - 5 ? i - 10 : i;
	snprintf(text, sizeof text, n % 2 ? "Name%u" : "x.name%u", n);
	if (n == 0)
		memcpy(out, origin, NAME_MAX_LEN);
	else
		name_parse(text, strlen(text), origin, out);
	return i >= NAMES - 5 ? FRAG_NSEC3 : FRAG_NAME;
}

static void random_edit(struct buf *b, struct model *m, unsigned z, unsigned i)
{
	struct model_name *n = &m->zone[z].name[i];
	uint8_t o[NAME_MAX_LEN], s[256];
	enum frag_kind kind = owner(z, i, o);
	n->here = true;
	n->flags = (uint8_t)(dice(256) & (NODE_APEX | NODE_CUT | NODE_ENT | NODE_WILD));
	n->cut = (uint8_t)dice(4);
	size_t at = op_edit_begin(b, (uint8_t)kind, n->flags, n->cut, o);
	for (unsigned t = 0; t < TYPES; t++) {
		if (dice(3) == 0)
			continue;
		n->value[t] = dice(2) ? 1 + dice(1000000) : 0;
		if (n->value[t])
			op_edit_put(b, s, set(types[t], n->value[t], s));
		else
			op_edit_remove(b, types[t]);
	}
	op_edit_end(b, at);
}

static void random_zone(struct buf *b, struct model *m, unsigned z)
{
	uint8_t name[NAME_MAX_LEN], o[NAME_MAX_LEN];
	struct model_zone *mz = &m->zone[z];
	zone_name(z, name);
	op_zone(b, name);
	if (dice(8) == 0) {
		op_plain(b, OP_DROP);
		memset(mz, 0, sizeof *mz);
		return;
	}
	if (!mz->here || dice(8) == 0) {
		op_plain(b, OP_ADD);
		memset(mz, 0, sizeof *mz);
		mz->here = true;
	}
	for (unsigned n = dice(30); n > 0; n--) {
		unsigned i = dice(NAMES);
		if (dice(4)) {
			random_edit(b, m, z, i);
			continue;
		}
		op_delete(b, (uint8_t)owner(z, i, o), o);
		memset(&mz->name[i], 0, sizeof mz->name[i]);
	}
	mz->serial = dice(1u << 30);
	op_serial(b, mz->serial, mz->serial / 2);
}

static unsigned zone_wrong(struct store *st, const struct model_zone *mz, unsigned z)
{
	uint8_t name[NAME_MAX_LEN], o[NAME_MAX_LEN], body[TYPES * 256];
	struct store_zone have;
	struct walk w;
	struct walk_name wn;
	unsigned bad = 0, names = 0;
	zone_name(z, name);
	name_lower(name, name);
	enum store_found r = store_zone_get(st, name, &have);
	if (!mz->here)
		return r != STORE_ABSENT;
	if (r != STORE_FOUND || have.serial != mz->serial || have.expire != mz->serial / 2 || have.state != ZONE_SERVING)
		return 1;
	for (unsigned i = 0; i < NAMES; i++) {
		const struct model_name *n = &mz->name[i];
		struct frag f;
		size_t len = 0;
		enum frag_kind kind = owner(z, i, o);
		name_lower(o, o);
		scratch.used = 0;
		r = store_get(store_reader(st), kind, have.inst, o, store_seq(st), &scratch, &f);
		bad += r != (n->here ? STORE_FOUND : STORE_ABSENT);
		if (!n->here || r != STORE_FOUND)
			continue;
		names++;
		for (unsigned t = 0; t < TYPES; t++)
			if (n->value[t])
				len += set(types[t], n->value[t], body + len);
		bad += f.flags != n->flags || f.cut != n->cut || f.len != len || memcmp(f.body, body, len) != 0;
	}
	walk_begin(&w, store_reader(st), &have, store_seq(st));
	while ((r = walk_next(&w, &scratch, &wn)) == STORE_FOUND)
		names--;
	return bad + (names != 0) + (r != STORE_ABSENT);
}

static unsigned model_wrong(struct store *st, const struct model *m)
{
	unsigned bad = 0;
	for (unsigned z = 0; z < ZONES; z++)
		bad += zone_wrong(st, &m->zone[z], z);
	return bad;
}

static struct store *open_fd(int fd)
{
	struct store_conf c = { .fd = fd, .reserve = 8ull << 30, .ordered = true };
	return store_open(&c, k, err, sizeof err);
}

/* Operations in pieces, as parts of a transaction bring them. */
static int apply(struct applier *a, const struct buf *b)
{
	struct rd r = rd_init(b->p, b->n);
	struct op_view o;
	const uint8_t *from = b->p;
	while (op_next(&r, &o))
		if (dice(20) == 0) {
			if (applier_ops(a, from, (size_t)(r.p - from), err, sizeof err) != 0)
				return -1;
			from = r.p;
		}
	return applier_ops(a, from, (size_t)(r.p - from), err, sizeof err);
}

static const uint8_t meta[STORE_META];

static void test_model(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct store *st = open_fd(fd);
	struct applier a;
	static struct model m;
	struct buf b = { 0 };
	unsigned bad = 0, twice = 0, lost = 0;
	uint64_t seq = 0;
	if (!ok(st && applier_init(&a, st) == 0, "a store in memory opens"))
		return;
	for (unsigned round = 0; round < 300; round++) {
		struct model before = m;
		for (unsigned tx = 1 + dice(3); tx > 0; tx--) {
			b.n = 0;
			for (unsigned n = 1 + dice(3), first = dice(ZONES); n > 0; n--)
				random_zone(&b, &m, (first + n) % ZONES);
			applier_begin(&a, ++seq);
			if (apply(&a, &b) != 0) {
				printf("# round %u: %s\n", round, err);
				bad++;
			}
		}
		if (round % 25 == 24) { /* the head never came */
			applier_free(&a);
			store_close(st);
			m = before;
			st = open_fd(fd);
			if (!st || applier_init(&a, st) != 0)
				break;
			seq = store_seq(st);
			lost += model_wrong(st, &m);
			continue;
		}
		bad += store_commit(st, seq, meta) != 0;
		unsigned w = model_wrong(st, &m);
		if (w)
			printf("# round %u: %u wrong\n", round, w);
		bad += w;
		if (round % 5 == 0) {
			applier_begin(&a, ++seq);
			twice += apply(&a, &b) != 0 || store_commit(st, seq, meta) != 0 || model_wrong(st, &m) != 0;
		}
	}
	ok(bad == 0, "300 groups of transactions: the store is the model (%u wrong)", bad);
	ok(twice == 0, "a transaction that comes twice changes nothing (%u wrong)", twice);
	ok(st && lost == 0, "what no head covered is gone after a restart (%u wrong)", lost);
	buf_free(&b);
	applier_free(&a);
	store_close(st);
	close(fd);
}

/* A refusal says why, and leaves what was committed. */
static void test_refusals(void)
{
	static uint8_t s[700000];
	static const uint8_t zone[] = "\3org", in[] = "\1a\3org", outside[] = "\1a\3com", absent[] = "\3net";
	enum { NO_ZONE_EDIT, NO_ZONE_DELETE, NO_ZONE_SERIAL, NO_ZONE_ADD, NO_ZONE_DROP, AFTER_SERIAL, ABSENT_EDIT, ABSENT_DELETE, ABSENT_SERIAL,
		OUTSIDE_EDIT, OUTSIDE_DELETE, ABOVE, CONF, STAGE, UNKNOWN, CUT_SHORT, TOO_MUCH, CASES };
	static const char *const want[CASES] = { "without a zone", "without a zone", "without a zone", "without a zone", "without a zone",
		"without a zone", "not here", "not here", "not here", "outside", "outside", "outside", "newer", "newer", "malformed",
		"malformed", "too many" };
	int fd = memfd_create("test", MFD_CLOEXEC);
	for (unsigned i = 0; i < CASES; i++) {
		struct store *st = open_fd(fd);
		struct applier a;
		struct buf b = { 0 };
		uint64_t seq = store_seq(st);
		size_t at;
		bool good = applier_init(&a, st) == 0;
		if (i == 0) { /* what must stay */
			applier_begin(&a, ++seq);
			op_zone(&b, zone);
			op_plain(&b, OP_ADD);
			op_edit_end(&b, op_edit_begin(&b, FRAG_NAME, 0, 0, in));
			op_serial(&b, 4711, 1);
			good = good && applier_ops(&a, b.p, b.n, err, sizeof err) == 0 && store_commit(st, seq, meta) == 0;
			b.n = 0;
		}
		applier_begin(&a, seq + 1);
		if (i > NO_ZONE_DROP)
			op_zone(&b, i >= ABSENT_EDIT && i <= ABSENT_SERIAL ? absent : zone);
		switch (i) {
		case AFTER_SERIAL:
			op_serial(&b, 4712, 1);
			/* fall through */
		case NO_ZONE_EDIT: case ABSENT_EDIT:
			op_edit_end(&b, op_edit_begin(&b, FRAG_NAME, 0, 0, in));
			break;
		case NO_ZONE_DELETE: case ABSENT_DELETE: op_delete(&b, FRAG_NAME, in); break;
		case NO_ZONE_SERIAL: case ABSENT_SERIAL: op_serial(&b, 4712, 1); break;
		case NO_ZONE_ADD: op_plain(&b, OP_ADD); break;
		case NO_ZONE_DROP: op_plain(&b, OP_DROP); break;
		case OUTSIDE_EDIT: op_edit_end(&b, op_edit_begin(&b, FRAG_NAME, 0, 0, outside)); break;
		case OUTSIDE_DELETE: op_delete(&b, FRAG_NAME, outside); break;
		case ABOVE: op_delete(&b, FRAG_NAME, zone + 4); break;
		case CONF: buf_put(&b, "\7\0\0\0", 4); break;
		case STAGE: buf_put(&b, "\10\0\0\1x", 5); break;
		case UNKNOWN: buf_put(&b, "\63\0\0\0", 4); break;
		case CUT_SHORT: buf_put(&b, "\5\0\1", 3); break;
		case TOO_MUCH:
			for (uint16_t type = 100; type < 102; type++) {
				struct wr w = wr_init(s, sizeof s);
				wr_u16(&w, type);
				wr_u32(&w, 0);
				wr_u16(&w, 10);
				wr_u16(&w, 0);
				wr_u32(&w, 10 * 60002);
				for (unsigned n = 0; n < 10; n++, wr_take(&w, 60000))
					wr_u16(&w, 60000);
				at = op_edit_begin(&b, FRAG_NAME, 0, 0, in);
				op_edit_put(&b, s, wr_len(&w));
				op_edit_end(&b, at);
			}
			break;
		}
		*err = 0;
		good = good && applier_ops(&a, b.p, b.n, err, sizeof err) == -1 && strstr(err, want[i]);
		applier_free(&a);
		store_close(st);
		struct store_zone have;
		struct frag f;
		st = open_fd(fd);
		scratch.used = 0;
		good = good && store_seq(st) == seq && store_zone_get(st, zone, &have) == STORE_FOUND && have.serial == 4711 &&
		       store_get(store_reader(st), FRAG_NAME, have.inst, in, seq, &scratch, &f) == STORE_FOUND && f.len == 0;
		store_close(st);
		ok(good, "refused: %s", err);
		buf_free(&b);
	}
	close(fd);
}

int main(void)
{
	if (crypto_init() != 0)
		return 1;
	k = key_random();
	scratch.size = 4u << 20;
	scratch.mem = malloc(scratch.size);
	test_ops();
	test_bad_ops();
	test_parts();
	test_heads();
	test_manifests();
	test_meta();
	test_model();
	test_refusals();
	free(scratch.mem);
	key_free(k);
	return tap_done();
}
