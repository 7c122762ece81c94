/* Parsing queries: the accepted, the refused, the dropped, every truncation. */
#include "dns/query.h"
#include "tests/tap.h"

#include <stdlib.h>

#define Q "\3wWw\2ex\4test\0\0\1\0\1"
#define OPT "\0\0\x29\x04\xd0\0\0\0\0\0\0"
#define OPT_DO "\0\0\x29\x10\0\0\0\x80\0\0\0"
#define REC "\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3\4"
/* key "key.", algorithm "hm.", a MAC of 4 octets */
#define TSIG "\3KEY\0\0\xfa\0\xff\0\0\0\0\0\x18\2hm\0\0\0\0\0\0\7\1\x2c\0\4MACM\0\1\0\0\0\0"

/* Labels: of 61 and 63 octets, and eight of one each */
#define L61 "\x3d" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define L63 "\x3f" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define EIGHT "\1a\1b\1c\1d\1e\1f\1g\1h"

/* Header (flags, counts) and what follows; n: octets that follow. */
struct one {
	const char *what;
	unsigned flags, qd, an, ns, ar;
	const char *body;
	size_t n;
	enum query_kind kind;
	unsigned rcode;
};
#define B(s) s, sizeof(s) - 1

static const struct one table[] = {
	{ "plain", 0x0100, 1, 0, 0, 0, B(Q), QUERY_OK, 0 },
	{ "all flags but QR and opcode", 0x07ff, 1, 0, 0, 0, B(Q), QUERY_OK, 0 },
	{ "with OPT", 0, 1, 0, 0, 1, B(Q OPT), QUERY_OK, 0 },
	{ "with OPT and DO", 0, 1, 0, 0, 1, B(Q OPT_DO), QUERY_OK, 0 },
	{ "unknown option", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\6\xff\1\0\2ab"), QUERY_OK, 0 },
	{ "another additional record", 0, 1, 0, 0, 2, B(Q REC OPT), QUERY_OK, 0 },
	{ "the root", 0, 1, 0, 0, 0, B("\0\0\2\0\1"), QUERY_OK, 0 },
	{ "class ANY", 0, 1, 0, 0, 0, B("\0\0\2\0\xff"), QUERY_OK, 0 },
	{ "a response", 0x8000, 1, 0, 0, 0, B(Q), QUERY_DROP, 0 },
	{ "NOTIFY", 4 << 11, 1, 0, 0, 0, B(Q), QUERY_ERROR, RCODE_REFUSED },
	{ "UPDATE", 5 << 11, 1, 0, 0, 0, B(Q), QUERY_ERROR, RCODE_REFUSED },
	{ "STATUS", 2 << 11, 1, 0, 0, 0, B(Q), QUERY_ERROR, RCODE_NOTIMP },
	{ "opcode 15", 15 << 11, 0, 0, 0, 0, B(""), QUERY_ERROR, RCODE_NOTIMP },
	{ "no question", 0, 0, 0, 0, 0, B(""), QUERY_ERROR, RCODE_FORMERR },
	{ "no question, but OPT", 0, 0, 0, 0, 1, B(OPT), QUERY_ERROR, RCODE_FORMERR },
	{ "no question, but a cookie", 0, 0, 0, 0, 1, B("\0\0\x29\2\0\0\0\0\0\0\x0c\0\x0a\0\10abcdefgh"), QUERY_ERROR,
	  RCODE_NOERROR },
	{ "no question, a cookie, TSIG", 0, 0, 0, 0, 2, B("\0\0\x29\2\0\0\0\0\0\0\x0c\0\x0a\0\10abcdefgh" TSIG),
	  QUERY_ERROR, RCODE_FORMERR },
	{ "no question, a cookie, EDNS version 1", 0, 0, 0, 0, 1,
	  B("\0\0\x29\2\0\0\1\0\0\0\x0c\0\x0a\0\10abcdefgh"), QUERY_ERROR, RCODE_FORMERR },
	{ "no question, a cookie, octets behind", 0, 0, 0, 0, 1,
	  B("\0\0\x29\2\0\0\0\0\0\0\x0c\0\x0a\0\10abcdefghx"), QUERY_ERROR, RCODE_FORMERR },
	{ "two questions", 0, 2, 0, 0, 0, B(Q Q), QUERY_ERROR, RCODE_FORMERR },
	{ "answer record", 0, 1, 1, 0, 0, B(Q REC), QUERY_ERROR, RCODE_FORMERR },
	{ "authority record", 0, 1, 0, 1, 0, B(Q REC), QUERY_ERROR, RCODE_FORMERR },
	{ "octets behind", 0, 1, 0, 0, 0, B(Q "x"), QUERY_ERROR, RCODE_FORMERR },
	{ "octets behind OPT", 0, 1, 0, 0, 1, B(Q OPT "x"), QUERY_ERROR, RCODE_FORMERR },
	{ "missing record", 0, 1, 0, 0, 1, B(Q), QUERY_ERROR, RCODE_FORMERR },
	{ "too many records", 0, 1, 0, 0, 17,
	  B(Q REC REC REC REC REC REC REC REC REC REC REC REC REC REC REC REC REC), QUERY_ERROR,
	  RCODE_FORMERR },
	{ "two OPT", 0, 1, 0, 0, 2, B(Q OPT OPT), QUERY_ERROR, RCODE_FORMERR },
	{ "OPT of a name", 0, 1, 0, 0, 1, B(Q "\1x" OPT), QUERY_ERROR, RCODE_FORMERR },
	{ "option beyond OPT", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\4\xff\1\0\1"), QUERY_ERROR,
	  RCODE_FORMERR },
	{ "EDNS version 1", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\1\0\0\0\0"), QUERY_ERROR, RCODE_BADVERS },
	{ "TSIG", 0, 1, 0, 0, 1, B(Q TSIG), QUERY_ERROR, RCODE_NOTAUTH },
	{ "OPT and TSIG", 0, 1, 0, 0, 2, B(Q OPT TSIG), QUERY_ERROR, RCODE_NOTAUTH },
	{ "TSIG not last", 0, 1, 0, 0, 2, B(Q TSIG OPT), QUERY_ERROR, RCODE_FORMERR },
	{ "class CH", 0, 1, 0, 0, 0, B("\0\0\2\0\3"), QUERY_CHAOS, RCODE_REFUSED },
	{ "NSID and a cookie", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\x10\0\3\0\0\0\x0a\0\10abcdefgh"),
	  QUERY_OK, 0 },
	{ "cookie of 7", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\x0b\0\x0a\0\7abcdefg"), QUERY_ERROR,
	  RCODE_FORMERR },
	{ "cookie of 12", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\x10\0\x0a\0\x0c" "abcdefghijkl"), QUERY_ERROR,
	  RCODE_FORMERR },
	{ "cookie of 16", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\x14\0\x0a\0\x10" "abcdefghijklmnop"), QUERY_OK, 0 },
	{ "cookie of 41", 0, 1, 0, 0, 1,
	  B(Q "\0\0\x29\2\0\0\0\0\0\0\x2d\0\x0a\0\x29" "abcdefghijklmnopqrstuvwxyzabcdefghijklmno"), QUERY_ERROR,
	  RCODE_FORMERR },
	{ "no cookie", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\4\0\x0a\0\0"), QUERY_ERROR, RCODE_FORMERR },
	{ "ZONEVERSION", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\4\0\x13\0\0"), QUERY_OK, 0 },
	{ "ZONEVERSION that says one", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\5\0\x13\0\1\0"), QUERY_ERROR,
	  RCODE_FORMERR },
	{ "keepalive", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\4\0\x0b\0\0"), QUERY_OK, 0 },
	{ "keepalive with a time", 0, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\6\0\x0b\0\2\0\5"), QUERY_OK, 0 },
	{ "AXFR", 0, 1, 0, 0, 0, B("\0\0\xfc\0\1"), QUERY_ERROR, RCODE_REFUSED },
	{ "NXNAME", 0, 1, 0, 0, 0, B("\0\0\x80\0\1"), QUERY_ERROR, RCODE_FORMERR },
	{ "IXFR with its SOA", 0, 1, 0, 1, 0,
	  B("\0\0\xfb\0\1\0\0\6\0\1\0\0\0\0\0\x16\0\0aaaabbbbccccddddeeee"), QUERY_ERROR, RCODE_REFUSED },
	{ "opcode 1, IQUERY", 1 << 11, 1, 0, 0, 0, B(Q), QUERY_ERROR, RCODE_NOTIMP },
	{ "opcode 3", 3 << 11, 1, 0, 0, 0, B(Q), QUERY_ERROR, RCODE_NOTIMP },
	{ "opcode 6, stateful operations", 6 << 11, 0, 0, 0, 0, B(""), QUERY_ERROR, RCODE_NOTIMP },
	{ "class HS", 0, 1, 0, 0, 0, B("\0\0\2\0\4"), QUERY_ERROR, RCODE_REFUSED },
	{ "class NONE", 0, 1, 0, 0, 0, B("\0\0\2\0\xfe"), QUERY_ERROR, RCODE_REFUSED },
	{ "two questions said, one there", 0, 2, 0, 0, 0, B(Q), QUERY_ERROR, RCODE_FORMERR },
	{ "65535 questions", 0, 65535, 0, 0, 0, B(Q), QUERY_ERROR, RCODE_FORMERR },
	{ "none said, one there", 0, 0, 0, 0, 0, B(Q), QUERY_ERROR, RCODE_FORMERR },
	{ "name of 255 octets", 0, 1, 0, 0, 0, B(L63 L63 L63 L61 "\0\0\1\0\1"), QUERY_OK, 0 },
	{ "name of 257 octets", 0, 1, 0, 0, 0, B(L63 L63 L63 L63 "\0\0\1\0\1"), QUERY_ERROR, RCODE_FORMERR },
	{ "name of 256 octets", 0, 1, 0, 0, 0, B(L63 L63 L61 L61 "\2ab" "\0\0\1\0\1"), QUERY_ERROR, RCODE_FORMERR },
	{ "name of 127 labels", 0, 1, 0, 0, 0,
	  B(EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT
	    "\1a\1b\1c\1d\1e\1f\1g" "\0\0\1\0\1"), QUERY_OK, 0 },
	{ "name of 128 labels", 0, 1, 0, 0, 0,
	  B(EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT EIGHT
	    "\0\0\1\0\1"), QUERY_ERROR, RCODE_FORMERR },
	{ "question name that ends in a pointer", 0, 1, 0, 0, 0, B("\3www\xc0\0\0\1\0\1"), QUERY_ERROR, RCODE_FORMERR },
	{ "question name in a loop", 0, 1, 0, 0, 0, B("\3www\xc0\x0c\0\1\0\1"), QUERY_ERROR, RCODE_FORMERR },
	{ "question name by a pointer forward", 0, 1, 0, 0, 0, B("\xc0\x12\0\1\0\1" "\3www\0"), QUERY_ERROR,
	  RCODE_FORMERR },
	{ "label of type 01", 0, 1, 0, 0, 0, B("\x41" "a\0\0\1\0\1"), QUERY_ERROR, RCODE_FORMERR },
	{ "label of type 10", 0, 1, 0, 0, 0, B("\x81" "a\0\0\1\0\1"), QUERY_ERROR, RCODE_FORMERR },
	{ "owner by a pointer forward", 0, 1, 0, 0, 1, B(Q "\xc0\x27\0\1\0\1\0\0\0\1\0\1\0"), QUERY_ERROR,
	  RCODE_FORMERR },
	{ "owner in a loop", 0, 1, 0, 0, 1, B(Q "\1a\xc0\x1d\0\1\0\1\0\0\0\1\0\0"), QUERY_ERROR,
	  RCODE_FORMERR },
	{ "owner by two pointers backward", 0, 1, 0, 0, 2, B(Q REC "\xc0\x1d\0\1\0\1\0\0\0\1\0\0"), QUERY_OK, 0 },
	{ "owner that gets too long by a pointer", 0, 1, 0, 0, 1,
	  B(L63 L63 L63 L61 "\0\0\1\0\1" "\1a\xc0\x0c\0\1\0\1\0\0\0\1\0\0"), QUERY_ERROR, RCODE_FORMERR },
	{ "question name by pointer", 0, 1, 0, 0, 0, B("\xc0\0\0\1\0\1"), QUERY_ERROR, RCODE_FORMERR },
	{ "label of 64", 0, 1, 0, 0, 0,
	  B("\x40" "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\0\0\1\0\1"), QUERY_ERROR,
	  RCODE_FORMERR },
	{ "pointer to itself", 0, 1, 0, 0, 1, B(Q "\xc0\x1d\0\1\0\1\0\0\0\1\0\0"), QUERY_ERROR,
	  RCODE_FORMERR },
};

static size_t build(const struct one *t, uint8_t *out)
{
	struct wr w = wr_init(out, 1024);
	wr_u16(&w, 0xabcd);
	wr_u16(&w, t->flags);
	wr_u16(&w, t->qd);
	wr_u16(&w, t->an);
	wr_u16(&w, t->ns);
	wr_u16(&w, t->ar);
	wr_bytes(&w, t->body, t->n);
	return wr_len(&w);
}

/* In memory of its exact size, so that a sanitizer sees a read beyond. */
static enum query_kind parse(const uint8_t *pkt, size_t n, struct query *q)
{
	uint8_t *p = malloc(n ? n : 1);
	if (n)
		memcpy(p, pkt, n);
	enum query_kind k = query_parse(p, n, q);
	q->question = NULL;
	free(p);
	return k;
}

static void test_table(void)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		const struct one *t = &table[i];
		uint8_t pkt[1024];
		struct query q;
		size_t n = build(t, pkt);
		enum query_kind k = parse(pkt, n, &q);
		ok(k == t->kind && (k != QUERY_ERROR || q.rcode == t->rcode), "%s", t->what);
	}
}

/* No proper prefix of a good message is good: each is an error or dropped. */
static void test_truncations(void)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		const struct one *t = &table[i];
		uint8_t pkt[1024];
		size_t n = build(t, pkt);
		bool good = true;
		if (strncmp(t->what, "octets", 6) == 0)
			continue; /* what is cut off there is what is wrong */
		for (size_t cut = 0; cut < n; cut++) {
			struct query q;
			enum query_kind k = parse(pkt, cut, &q);
			good &= k != QUERY_OK && k != QUERY_CHAOS && (cut >= DNS_HEAD || k == QUERY_DROP);
		}
		ok(good, "every truncation of: %s", t->what);
	}
}

static void test_fields(void)
{
	static const struct one t = { "", 0x0110, 1, 0, 0, 1, B(Q OPT_DO), QUERY_OK, 0 };
	uint8_t pkt[1024];
	struct query q;
	size_t n = build(&t, pkt);
	query_parse(pkt, n, &q);
	ok(q.id == 0xabcd && q.flags == 0x0110, "id and flags");
	ok(q.qtype == T_A && q.qclass == CLASS_IN, "type and class");
	ok(q.labels == 3 && q.qname_len == 13 && !memcmp(q.qname, "\3www\2ex\4test", 13), "name in lower case");
	ok(q.question == pkt + DNS_HEAD && q.question_len == 17, "question as it stands");
	ok(q.edns && q.dnssec_ok && q.udp_size == 4096, "EDNS");

	static const struct one small = { "", 0, 1, 0, 0, 1, B(Q "\0\0\x29\0\x64\0\0\0\0\0\0"), QUERY_OK, 0 };
	n = build(&small, pkt);
	query_parse(pkt, n, &q);
	ok(q.edns && q.udp_size == 512, "a size below 512 counts as 512");

	static const struct one opts = { "", 0, 1, 0, 0, 1,
		B(Q "\0\0\x29\2\0\0\0\0\0\0\x17\0\x0a\0\10abcdefgh\0\3\0\0\0\x0a\0\3xyz"), QUERY_OK, 0 };
	n = build(&opts, pkt);
	ok(query_parse(pkt, n, &q) == QUERY_OK && q.nsid && q.cookie_len == 8 && !memcmp(q.cookie, "abcdefgh", 8),
	   "NSID, and of several cookies the first");
	pkt[n - 23 - 5] = 1; /* EDNS version */
	ok(query_parse(pkt, n, &q) == QUERY_ERROR && q.rcode == RCODE_BADVERS && !q.nsid && !q.cookie_len,
	   "options of another EDNS version are not read");

	ok(q.keepalive == KEEPALIVE_NONE, "no keepalive");
	for (unsigned i = 0; i < 4; i++) { /* once, with a time, once more in either order */
		static const struct { const char *options; size_t n; enum keepalive is; } kept[4] = {
			{ B("\0\x0b\0\0"), KEEPALIVE_ASKED }, { B("\0\x0b\0\2\0\5"), KEEPALIVE_BAD },
			{ B("\0\x0b\0\2\0\5\0\x0b\0\0"), KEEPALIVE_BAD }, { B("\0\x0b\0\0\0\x0b\0\1x"), KEEPALIVE_BAD } };
		static const struct one plain = { "", 0, 1, 0, 0, 1, B(Q OPT), QUERY_OK, 0 };
		n = build(&plain, pkt);
		put_u16(pkt + n - 2, (uint32_t)kept[i].n);
		memcpy(pkt + n, kept[i].options, kept[i].n);
		ok(query_parse(pkt, n + kept[i].n, &q) == QUERY_OK && q.keepalive == kept[i].is, "keepalive %u", i);
	}
	ok(query_malformed(&q) == QUERY_ERROR && q.rcode == RCODE_FORMERR && q.edns && q.keepalive == KEEPALIVE_NONE,
	   "one that can't be accepted over TCP: FORMERR");

	static const struct one bad = { "", 0, 1, 0, 0, 2, B(Q OPT OPT), QUERY_ERROR, 0 };
	n = build(&bad, pkt);
	query_parse(pkt, n, &q);
	ok(q.edns && q.question_len == 17, "FORMERR repeats the question and has an OPT");

	static const struct one full[] = {
		{ "", 0, 1, 1, 0, 1, B(Q REC OPT_DO), QUERY_ERROR, 0 }, { "", 0, 1, 0, 1, 1, B(Q REC OPT_DO), QUERY_ERROR, 0 } };
	for (unsigned i = 0; i < 2; i++) {
		n = build(&full[i], pkt);
		ok(query_parse(pkt, n, &q) == QUERY_ERROR && q.rcode == RCODE_FORMERR && q.edns && q.dnssec_ok,
		   "FORMERR because of a record in front of the OPT has an OPT, too");
	}

	static const struct one cut = { "", 0, 1, 0, 0, 1,
		B(Q "\0\0\x29\2\0\0\0\x80\0\0\x10\0\3\0\0\0\x0a\0\x0c" "abcdefgh"), QUERY_ERROR, 0 };
	n = build(&cut, pkt);
	ok(query_parse(pkt, n, &q) == QUERY_ERROR && q.rcode == RCODE_FORMERR && q.edns && q.dnssec_ok && !q.nsid &&
	   !q.cookie_len, "an option beyond its OPT: the answer has an OPT without options");
	pkt[n - 16 - 5] = 1; /* EDNS version */
	pkt[n - 16 - 1] = 16;
	ok(query_parse(pkt, n, &q) == QUERY_ERROR && q.rcode == RCODE_BADVERS && q.edns,
	   "options that only another version understands: BADVERS");

	static const struct one early = { "", 0, 1, 0, 0, 2, B(Q "\xc0" OPT), QUERY_ERROR, 0 };
	n = build(&early, pkt);
	query_parse(pkt, n, &q);
	ok(!q.edns, "no OPT where none was found");

	static const struct one tsig = { "", 0, 1, 0, 0, 1, B(Q TSIG), QUERY_ERROR, 0 };
	n = build(&tsig, pkt);
	query_parse(pkt, n, &q);
	ok(q.tsig_name_len == 5 && q.tsig_alg_len == 4 && !memcmp(q.tsig_name, "\3key", 5) &&
	   !memcmp(q.tsig_time, "\0\0\0\0\0\7\1\x2c", 8), "TSIG names and times are kept for BADKEY");
}

/* The answer to a message of another opcode has the question and, if there was
 * one, an OPT (RFC 6891 section 6.1.1). */
static void test_other_opcodes(void)
{
	static const struct { struct one t; bool question, edns, nsid; } others[] = {
		{ { "NOTIFY with OPT", 4 << 11, 1, 0, 0, 1, B(Q OPT), QUERY_ERROR, RCODE_REFUSED }, true, true, false },
		{ { "NOTIFY with its SOA, OPT", 4 << 11, 1, 1, 0, 1, B(Q REC OPT), QUERY_ERROR, RCODE_REFUSED }, true, true, false },
		{ { "UPDATE with OPT", 5 << 11, 1, 0, 1, 1, B(Q REC OPT), QUERY_ERROR, RCODE_REFUSED }, true, true, false },
		{ { "STATUS with NSID", 2 << 11, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\4\0\3\0\0"), QUERY_ERROR,
		    RCODE_NOTIMP }, true, true, true },
		{ { "opcode 15 without OPT", 15 << 11, 1, 0, 0, 0, B(Q), QUERY_ERROR, RCODE_NOTIMP }, true, false, false },
		{ { "NOTIFY, EDNS version 1", 4 << 11, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\1\0\0\0\0"), QUERY_ERROR,
		    RCODE_BADVERS }, true, true, false },
		{ { "NOTIFY signed with TSIG", 4 << 11, 1, 0, 0, 2, B(Q OPT TSIG), QUERY_ERROR, RCODE_REFUSED }, true, true, false },
		{ { "UPDATE, octets behind NSID", 5 << 11, 1, 0, 0, 1, B(Q "\0\0\x29\2\0\0\0\0\0\0\4\0\3\0\0x"), QUERY_ERROR,
		    RCODE_REFUSED }, true, true, false },
		{ { "stateful operations", 6 << 11, 0, 0, 0, 0, B("\0\1\0\4\0\0\0\0"), QUERY_ERROR, RCODE_NOTIMP },
		  false, false, false },
		{ { "opcode 3, no name", 3 << 11, 1, 0, 0, 0, B("\xff\xff"), QUERY_ERROR, RCODE_NOTIMP }, false, false, false },
	};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		uint8_t pkt[1024];
		struct query q;
		enum query_kind k = parse(pkt, build(&others[i].t, pkt), &q);
		ok(k == QUERY_ERROR && q.rcode == others[i].t.rcode && (q.question_len == 17) == others[i].question &&
		   q.edns == others[i].edns && q.nsid == others[i].nsid && q.tsig_name_len == 0, "%s", others[i].t.what);
	}
}

int main(void)
{
	test_table();
	test_truncations();
	test_fields();
	test_other_opcodes();
	return tap_done();
}
