/* test_bgp.c - the octets of BGP, against vectors written out by hand from the
 * RFCs' figures, and every truncation of every message. */
#include "tests/bgphex.h"
#include "tests/tap.h"

/* ---- the frame ---- */

struct row { const char *what; uint8_t type; uint16_t len, have; uint8_t mark; int want; };
static const struct row rows[] = {
	{ "KEEPALIVE", BGP_KEEPALIVE, 19, 19, 0xff, 0 },
	{ "a KEEPALIVE with a body", BGP_KEEPALIVE, 20, 20, 0xff, BGP_ERR(1, 2) },
	{ "OPEN of the least length", BGP_OPEN, 29, 29, 0xff, 0 },
	{ "OPEN too short", BGP_OPEN, 28, 28, 0xff, BGP_ERR(1, 2) },
	{ "UPDATE, another message behind it", BGP_UPDATE, 23, 60, 0xff, 0 },
	{ "UPDATE not yet whole", BGP_UPDATE, 60, 59, 0xff, -1 },
	{ "a broken marker", BGP_KEEPALIVE, 19, 19, 0xfe, BGP_ERR(1, 1) },
	{ "a length below the header's", BGP_UPDATE, 18, 30, 0xff, BGP_ERR(1, 2) },
	{ "a length above 4096", BGP_UPDATE, 4097, 60, 0xff, BGP_ERR(1, 2) },
	{ "an unknown type", 9, 19, 19, 0xff, BGP_ERR(1, 3) },
	{ "type 0", 0, 19, 19, 0xff, BGP_ERR(1, 3) },
};

static void test_frame(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint8_t b[64];
		memset(b, rows[i].mark, 16);
		put_u16(b + 16, rows[i].len);
		b[18] = rows[i].type;
		struct rd r = rd_init(b, rows[i].have);
		struct bgp_message m;
		int got = bgp_take_message(&r, &m);
		bool moved = r.p != b;
		ok(got == rows[i].want && moved == (got == 0), "%s", rows[i].what);
		if (got == 0)
			ok(m.type == rows[i].type && rd_left(&m.body) == rows[i].len - 19u,
			   "its type and body");
	}
}

/* ---- vectors ---- */

static bool same_hex(const struct wr *w, const char *hex)
{
	uint8_t b[BGP_MAX];
	size_t n = unhex(b, hex);
	bool good = !w->bad && n == wr_len(w) && memcmp(b, w->start, n) == 0;
	if (!good) {
		printf("# got  ");
		for (uint8_t *p = w->start; p < w->p; p++)
			printf("%02x", *p);
		printf("\n# want %s\n", hex);
	}
	return good;
}

/* Every truncation of a message in b waits for more. */
static bool cuts_wait(const uint8_t *b, size_t n)
{
	struct bgp_message m;
	for (size_t cut = 0; cut < n; cut++) {
		struct rd r = rd_init(b, cut);
		if (bgp_take_message(&r, &m) != -1 || r.p != b)
			return false;
	}
	struct rd r = rd_init(b, n);
	return bgp_take_message(&r, &m) == 0 && rd_left(&r) == 0;
}

static uint8_t buf[BGP_MAX];
static struct wr fresh(void) { return wr_init(buf, sizeof buf); }

static const struct bgp_route plain_route = { .as = 65001, .external = true, .as4 = true, .times = 1,
	                                      .next_hop = { .family = BGP_V4, .b = { 198, 51, 100, 1 } } };

static bool update_is(const struct bgp_route *r, struct bgp_prefix p, const char *hex)
{
	struct wr w = fresh();
	bgp_write_update(&w, r, &p, 1);
	return same_hex(&w, hex) && cuts_wait(buf, wr_len(&w));
}

static void test_write_update(void)
{
	struct bgp_prefix four = prefix(v4(192, 0, 2, 0), 24), six = prefix(v6(0x20010db8, 0), 32);
	struct bgp_route r = plain_route;

	ok(update_is(&r, four, "M 002f 02 0000 0014 40010100 400206 0201 0000fde9 400304 c6336401 18c00002"),
	   "UPDATE: IPv4, four octets an AS");
	r.in_mp = true;
	ok(update_is(&r, four, "M 0034 02 0000 001d 800e0d 0001 01 04c6336401 00 18c00002 40010100"
	                       "400206 0201 0000fde9"),
	   "UPDATE: IPv4 in MP_REACH_NLRI");
	r.link_local = v6(0xfe800000, 1);
	ok(update_is(&r, four, "M 0034 02 0000 001d 800e0d 0001 01 04c6336401 00 18c00002 40010100"
	                       "400206 0201 0000fde9"),
	   "UPDATE: no link-local address behind an IPv4 next hop");
	r = plain_route;
	r.external = false;
	r.local_pref = 200;
	ok(update_is(&r, four,
	   "M 0030 02 0000 0015 40010100 400200 400304 c6336401 400504 000000c8 18c00002"),
	   "UPDATE: iBGP has an empty path and LOCAL_PREF");
	r = plain_route;
	r.next_hop = v6(0x20010db8, 1);
	ok(update_is(&r, four,
	   "M 0040 02 0000 0029 800e19 0001 01 10 20010db8000000000000000000000001 00 18c00002"
	                       "40010100 400206 0201 0000fde9"),
	   "UPDATE: IPv4 with an IPv6 next hop (RFC 8950)");
	r.link_local = v6(0xfe800000, 1);
	ok(update_is(&r, six, "M 0051 02 0000 003a 800e2a 0002 01 20 20010db8000000000000000000000001"
	                      "fe800000000000000000000000000001 00 2020010db8 40010100 400206 0201 0000fde9"),
	   "UPDATE: IPv6, global and link-local next hop");

	r = plain_route;
	r.as = 4200000001u;
	r.as4 = false;
	r.times = 3;
	r.has_med = r.shutting_down = true;
	r.med = 100;
	r.ncommunities = r.nlarge = 1;
	r.community[0] = 0xfde90001;
	r.large[0] = (struct bgp_large){ 65001, 1, 2 };
	ok(update_is(&r, four, "M 0063 02 0000 0048 40010100 400208 0203 5ba0 5ba0 5ba0 400304 c6336401"
	                       "800404 00000064 c00808 fde90001 ffff0000"
	                       "c0110e 0203 fa56ea01 fa56ea01 fa56ea01 c0200c 0000fde9 00000001 00000002 18c00002"),
	   "UPDATE: AS_TRANS and AS4_PATH, prepended, MED, communities, graceful shutdown, large");
	r = plain_route;
	r.as4 = false;
	r.only_to_customer = 65001;
	ok(update_is(&r, four,
	   "M 0034 02 0000 0019 40010100 400204 0201 fde9 400304 c6336401 c02304 0000fde9 18c00002"),
	   "UPDATE: no AS4_PATH for an AS of two octets; only to customers");
	r = plain_route;
	ok(update_is(&r, prefix(v4(192, 0, 2, 128), 25),
	             "M 0030 02 0000 0014 40010100 400206 0201 0000fde9 400304 c6336401 19c0000280") &&
	           update_is(&r, prefix(v4(0, 0, 0, 0), 0),
	                     "M 002c 02 0000 0014 40010100 400206 0201 0000fde9 400304 c6336401 00"),
	   "UPDATE: prefixes of 25 bits and of none");
}

static void test_write_rest(void)
{
	struct bgp_prefix four = prefix(v4(192, 0, 2, 0), 24), six = prefix(v6(0x20010db8, 0), 32);
	struct wr w = fresh();

	bgp_write_withdraw(&w, &four, 1, false);
	ok(same_hex(&w, "M 001b 02 0004 18c00002 0000"), "withdrawal: IPv4");
	w = fresh();
	bgp_write_withdraw(&w, &four, 1, true);
	ok(same_hex(&w, "M 0021 02 0000 000a 800f07 0001 01 18c00002"),
	   "withdrawal: IPv4 in MP_UNREACH_NLRI");
	w = fresh();
	bgp_write_withdraw(&w, &six, 1, false);
	ok(same_hex(&w, "M 0022 02 0000 000b 800f08 0002 01 2020010db8"), "withdrawal: IPv6");
	w = fresh();
	bgp_write_end_of_rib(&w, BGP_V4);
	ok(same_hex(&w, "M 0017 02 0000 0000"), "End-of-RIB: IPv4");
	w = fresh();
	bgp_write_end_of_rib(&w, BGP_V6);
	ok(same_hex(&w, "M 001d 02 0000 0006 800f03 0002 01"), "End-of-RIB: IPv6");
	w = fresh();
	bgp_write_keepalive(&w);
	ok(same_hex(&w, "M 0013 04"), "KEEPALIVE");
	w = fresh();
	bgp_write_refresh(&w, BGP_V6, BGP_REFRESH_BEGIN);
	ok(same_hex(&w, "M 0017 05 0002 01 01") && cuts_wait(buf, wr_len(&w)), "ROUTE-REFRESH, begin");
	w = fresh();
	bgp_write_notification(&w, BGP_ERR(4, 0), NULL, 0);
	ok(same_hex(&w, "M 0015 03 0400"), "NOTIFICATION without data");
	w = fresh();
	bgp_write_cease(&w, BGP_SHUTDOWN, "bye");
	ok(same_hex(&w, "M 0019 03 0602 03627965") && cuts_wait(buf, wr_len(&w)), "Cease with a reason");
	w = fresh();
	bgp_write_cease(&w, BGP_SHUTDOWN, NULL);
	ok(same_hex(&w, "M 0015 03 0602"), "Cease without");
}

/* The most that the limits allow has to fit. */
static void test_largest(void)
{
	struct bgp_route r = { .as = 4200000001u, .external = true, .times = BGP_TIMES_MAX, .has_med = true };
	struct bgp_prefix p[BGP_PREFIXES];
	r.only_to_customer = 1;
	r.ncommunities = BGP_COMMUNITIES - 1;
	r.nlarge = BGP_COMMUNITIES;
	r.shutting_down = true;
	r.next_hop = r.link_local = v6(0xfe800000, 1);
	for (unsigned i = 0; i < BGP_PREFIXES; i++)
		p[i] = prefix(v6(0x20010db8, i), 128);
	uint8_t exact[BGP_UPDATE_MAX];
	struct wr w = wr_init(exact, sizeof exact);
	bgp_write_update(&w, &r, p, BGP_PREFIXES);
	ok(!w.bad && cuts_wait(exact, wr_len(&w)), "the largest UPDATE, %zu octets, is below the limit",
	   wr_len(&w));
	struct bgp_reading s = { true, false, false, BGP_V6 };
	struct bgp_seen seen;
	struct rd in = wr_len(&w) ? rd_init(exact + BGP_HEAD, wr_len(&w) - BGP_HEAD) : (struct rd){ 0 }, data;
	ok(bgp_check_update(in, &s, &seen, &data) == 0 && seen.verdict == BGP_FINE &&
	   seen.announced == BGP_PREFIXES,
	   "and reads as it should");
	w = wr_init(exact, sizeof exact);
	bgp_write_withdraw(&w, p, BGP_PREFIXES, true);
	in = rd_init(exact + BGP_HEAD, wr_len(&w) - BGP_HEAD);
	ok(!w.bad && bgp_check_update(in, &s, &seen, &data) == 0 && seen.withdrawn == BGP_PREFIXES &&
	   !seen.end_of_rib,
	   "as does the largest withdrawal");
}

/* ---- OPEN ---- */

static void test_open_written(void)
{
	struct bgp_open o = { .as = 65001, .id = 0xc0000201, .hold = 90, .families = BGP_V4 | BGP_V6,
	   .role = BGP_NO_ROLE };
	o.refresh = o.enhanced_refresh = o.as4 = true;
	struct wr w = fresh();
	bgp_write_open(&w, &o);
	ok(same_hex(&w,
	   "M 0035 01 04 fde9 005a c0000201 18 0216 010400010001 010400020001 0200 41040000fde9 4600") &&
	           cuts_wait(buf, wr_len(&w)),
	   "OPEN: two families, refresh, AS of four octets");
	struct bgp_open back;
	ok(bgp_parse_open(rd_init(buf + BGP_HEAD, wr_len(&w) - BGP_HEAD), &back) == 0 && back.as == 65001 &&
	           back.families == (BGP_V4 | BGP_V6) && back.refresh && back.enhanced_refresh && back.as4 &&
	           back.hold == 90 && back.id == 0xc0000201 && back.role == BGP_NO_ROLE && !back.v4_by_v6,
	   "and read again");
	o = (struct bgp_open){ .as = 4200000001u, .id = 1, .families = BGP_V4, .role = BGP_CUSTOMER };
	o.refresh = o.v4_by_v6 = o.as4 = true;
	w = fresh();
	bgp_write_open(&w, &o);
	ok(same_hex(&w,
	   "M 0038 01 04 5ba0 0000 00000001 1b 0219 010400010001 0200 0506000100010002 090103 4104fa56ea01"),
	   "OPEN: AS_TRANS, a role, IPv4 by IPv6 next hops");
	ok(bgp_parse_open(rd_init(buf + BGP_HEAD, wr_len(&w) - BGP_HEAD), &back) == 0 &&
	   back.as == 4200000001u &&
	           back.v4_by_v6 && back.role == BGP_CUSTOMER && !back.role_clash && !back.plain,
	   "and read again");
	o.plain = true;
	o.as = 65001;
	w = fresh();
	bgp_write_open(&w, &o);
	ok(same_hex(&w, "M 001d 01 04 fde9 0000 00000001 00"), "OPEN without parameters");
}

struct open_row { const char *what, *body; int want; };
static const struct open_row opens[] = {
	{ "no parameters: IPv4", "04 fde9 005a c0000201 00", 0 },
	{ "version 3", "03 fde9 005a c0000201 00", BGP_ERR(2, 1) },
	{ "version 5, and nothing else right", "05 0000 0001 00000000 ff", BGP_ERR(2, 1) },
	{ "AS 0", "04 0000 005a c0000201 00", BGP_ERR(2, 2) },
	{ "identifier 0", "04 fde9 005a 00000000 00", BGP_ERR(2, 3) },
	{ "hold time 0", "04 fde9 0000 c0000201 00", 0 },
	{ "hold time 1", "04 fde9 0001 c0000201 00", BGP_ERR(2, 6) },
	{ "hold time 2", "04 fde9 0002 c0000201 00", BGP_ERR(2, 6) },
	{ "hold time 3", "04 fde9 0003 c0000201 00", 0 },
	{ "hold time 65535", "04 fde9 ffff c0000201 00", 0 },
	{ "parameters longer than the message", "04 fde9 005a c0000201 01", BGP_ERR(2, 0) },
	{ "octets behind the parameters", "04 fde9 005a c0000201 00 00", BGP_ERR(2, 0) },
	{ "half a parameter", "04 fde9 005a c0000201 01 02", BGP_ERR(2, 0) },
	{ "a parameter beyond its field", "04 fde9 005a c0000201 02 0201", BGP_ERR(2, 0) },
	{ "authentication (RFC 4271 has none)", "04 fde9 005a c0000201 03 0101 00", BGP_ERR(2, 4) },
	{ "an unknown parameter", "04 fde9 005a c0000201 02 0700", BGP_ERR(2, 4) },
	{ "a capability beyond its parameter", "04 fde9 005a c0000201 04 0202 0201", BGP_ERR(2, 0) },
	{ "half a capability", "04 fde9 005a c0000201 03 0201 02", BGP_ERR(2, 0) },
	{ "MP of three octets", "04 fde9 005a c0000201 07 0205 0103000100", BGP_ERR(2, 0) },
	{ "refresh with a value", "04 fde9 005a c0000201 05 0203 020100", BGP_ERR(2, 0) },
	{ "an AS of three octets", "04 fde9 005a c0000201 07 0205 4103000001", BGP_ERR(2, 0) },
	{ "an AS of 0 by capability", "04 fde9 005a c0000201 08 0206 410400000000", BGP_ERR(2, 2) },
	{ "the AS twice and different", "04 fde9 005a c0000201 08 0206 41040000fdea", BGP_ERR(2, 2) },
	{ "AS_TRANS and an AS of two octets", "04 5ba0 005a c0000201 08 0206 41040000fdea", 0 },
	{ "a role of two octets", "04 fde9 005a c0000201 06 0204 09020303", BGP_ERR(2, 0) },
	{ "an unknown capability", "04 fde9 005a c0000201 06 0204 ff020303", 0 },
	{ "capabilities in several parameters", "04 fde9 005a c0000201 10 0206 010400020001 0206 010400010001", 0 },
	{ "graceful restart", "04 fde9 005a c0000201 06 0204 40020078", 0 },
	{ "half of a next hop's encoding", "04 fde9 005a c0000201 09 0207 0505 0001000100", BGP_ERR(2, 0) },
	{ "extended parameters (RFC 9072)", "04 fde9 005a c0000201 ff ff 0009 02 0006 010400020001", 0 },
	{ "extended, the short length ignored", "04 fde9 005a c0000201 01 ff 0009 02 0006 010400020001", 0 },
	{ "extended, too long", "04 fde9 005a c0000201 ff ff 000a 02 0006 010400020001", BGP_ERR(2, 0) },
	{ "extended, cut", "04 fde9 005a c0000201 ff ff 00", BGP_ERR(2, 0) },
	{ "an extended parameter too long", "04 fde9 005a c0000201 ff ff 0009 02 0007 010400020001", BGP_ERR(2, 0) },
};

static void test_open_read(void)
{
	for (size_t i = 0; i < sizeof opens / sizeof *opens; i++) {
		uint8_t b[64];
		struct bgp_open o;
		memset(&o, 0xee, sizeof o);
		struct bgp_open before = o;
		int got = bgp_parse_open(rd_init(b, unhex(b, opens[i].body)), &o);
		bool kept = memcmp(&o, &before, sizeof o) == 0;
		ok(got == opens[i].want && kept == (got != 0), "OPEN: %s (%d/%d)", opens[i].what, got >> 8,
		   got & 255);
	}
	uint8_t b[64];
	struct bgp_open o;
	size_t n = unhex(b, "04 5ba0 005a c0000201 18 0216 010400010001 010400020001 0200 41040000fde9 4600");
	bool all = true;
	for (size_t cut = 0; cut < n; cut++)
		all &= bgp_parse_open(rd_init(b, cut), &o) > 0;
	ok(all && bgp_parse_open(rd_init(b, n), &o) == 0, "OPEN: every truncation is refused");
	bgp_parse_open(rd_init(b, unhex(b, opens[0].body)), &o);
	ok(o.families == BGP_V4 && o.plain, "OPEN: no MP capability means IPv4");
	bgp_parse_open(rd_init(b, unhex(b, "04 fde9 005a c0000201 08 0206 010400190041")), &o);
	ok(o.families == 0 && !o.plain, "OPEN: only foreign families mean none");
	bgp_parse_open(rd_init(b, unhex(b, "04 fde9 005a c0000201 08 0206 090100 090103")), &o);
	ok(o.role_clash, "OPEN: two roles");
	bgp_parse_open(rd_init(b, unhex(b, "04 fde9 005a c0000201 08 0206 090103 090103")), &o);
	ok(!o.role_clash && o.role == BGP_CUSTOMER, "OPEN: one role twice");
}

static void test_roles(void)
{
	static const char fit[5][6] = { "...c.", "..r..", ".s...", "p....", "....=" };
	bool all = true;
	for (uint8_t a = 0; a < 5; a++)
		for (uint8_t b = 0; b < 5; b++)
			all &= bgp_roles_fit(a, b) == (fit[a][b] != '.');
	ok(all && !bgp_roles_fit(BGP_NO_ROLE, BGP_NO_ROLE) && !bgp_roles_fit(3, 7),
	   "roles: RFC 9234, table 2");
}

/* ---- UPDATE, read ---- */

#define FINE    "40010100 400206 0201 0000fde9 "
#define HOP     "400304 c6336401 "
#define NLRI    "18c00002"
#define GLOBAL  "20010db8000000000000000000000001"

struct update_row { const char *what, *gone, *attr, *nlri; int err; enum bgp_verdict verdict; unsigned announced, withdrawn; };
#define F BGP_FINE
#define D BGP_ATTRIBUTE_DISCARDED
#define W BGP_TREAT_AS_WITHDRAW
static const struct update_row updates[] = {
	{ "End-of-RIB", "", "", "", 0, F, 0, 0 },
	{ "one prefix", "", FINE HOP, NLRI, 0, F, 1, 0 },
	{ "a withdrawal and two prefixes", "18c00002", FINE HOP, "18c0000318c00004", 0, F, 2, 1 },
	{ "a withdrawn prefix of 33 bits", "21c000020000", "", "", BGP_ERR(3, 10), 0, 0, 0 },
	{ "a withdrawn prefix cut", "18c000", "", "", BGP_ERR(3, 10), 0, 0, 0 },
	{ "a prefix of 33 bits", "", FINE HOP, "21c000020000", BGP_ERR(3, 10), 0, 0, 0 },
	{ "a prefix cut", "", FINE HOP, "18c000", BGP_ERR(3, 10), 0, 0, 0 },
	{ "no ORIGIN", "", "400206 0201 0000fde9" HOP, NLRI, 0, W, 0, 1 },
	{ "no AS_PATH", "", "40010100" HOP, NLRI, 0, W, 0, 1 },
	{ "no NEXT_HOP", "", FINE, NLRI, 0, W, 0, 1 },
	{ "ORIGIN 3", "", "40010103 400206 0201 0000fde9" HOP, NLRI, 0, W, 0, 1 },
	{ "ORIGIN of two octets", "", "4001020000 400206 0201 0000fde9" HOP, NLRI, 0, W, 0, 1 },
	{ "ORIGIN of none", "", "400100 400206 0201 0000fde9" HOP, NLRI, 0, W, 0, 1 },
	{ "ORIGIN optional", "", "c0010100 400206 0201 0000fde9" HOP, NLRI, 0, W, 0, 1 },
	{ "an empty AS_PATH", "", "40010100 400200" HOP, NLRI, 0, F, 1, 0 },
	{ "a segment of type 0", "", "40010100 400206 0001 0000fde9" HOP, NLRI, 0, W, 0, 1 },
	{ "a segment of type 5", "", "40010100 400206 0501 0000fde9" HOP, NLRI, 0, W, 0, 1 },
	{ "an AS_SET", "", "40010100 400206 0101 0000fde9" HOP, NLRI, 0, F, 1, 0 },
	{ "a segment of no AS", "", "40010100 400202 0200" HOP, NLRI, 0, W, 0, 1 },
	{ "a segment too long", "", "40010100 400206 0202 0000fde9" HOP, NLRI, 0, W, 0, 1 },
	{ "one octet behind a segment", "", "40010100 400207 0201 0000fde9 02" HOP, NLRI, 0, W, 0, 1 },
	{ "NEXT_HOP of five octets", "", FINE "400305 c633640100", NLRI, 0, W, 0, 1 },
	{ "MED of three octets", "", FINE HOP "800403 000000", NLRI, 0, W, 0, 1 },
	{ "MED well-known", "", FINE HOP "400404 00000000", NLRI, 0, W, 0, 1 },
	{ "LOCAL_PREF from outside", "", FINE HOP "400504 00000064", NLRI, 0, D, 1, 0 },
	{ "LOCAL_PREF from outside, malformed", "", FINE HOP "400501 00", NLRI, 0, D, 1, 0 },
	{ "ORIGINATOR_ID from outside", "", FINE HOP "800904 00000064", NLRI, 0, D, 1, 0 },
	{ "CLUSTER_LIST from outside", "", FINE HOP "800a04 00000064", NLRI, 0, D, 1, 0 },
	{ "ATOMIC_AGGREGATE", "", FINE HOP "400600", NLRI, 0, F, 1, 0 },
	{ "ATOMIC_AGGREGATE with a value", "", FINE HOP "40060100", NLRI, 0, D, 1, 0 },
	{ "AGGREGATOR of eight octets", "", FINE HOP "c00708 0000fde9c0000201", NLRI, 0, F, 1, 0 },
	{ "AGGREGATOR of six", "", FINE HOP "c00706 fde9c0000201", NLRI, 0, D, 1, 0 },
	{ "communities", "", FINE HOP "c00808 fde90001fde90002", NLRI, 0, F, 1, 0 },
	{ "communities of seven octets", "", FINE HOP "c00807 fde90001fde900", NLRI, 0, W, 0, 1 },
	{ "communities of none", "", FINE HOP "c00800", NLRI, 0, W, 0, 1 },
	{ "communities, partial", "", FINE HOP "e00804 fde90001", NLRI, 0, F, 1, 0 },
	{ "extended communities of nine octets", "", FINE HOP "c01009 000000000000000000", NLRI, 0, W, 0, 1 },
	{ "large communities", "", FINE HOP "c0200c 0000fde90000000100000002", NLRI, 0, F, 1, 0 },
	{ "large communities of eleven octets", "", FINE HOP "c0200b 0000fde900000001000000", NLRI, 0, W, 0, 1 },
	{ "only to customers of three octets", "", FINE HOP "c02303 0000fd", NLRI, 0, W, 0, 1 },
	{ "AS4_PATH where paths have four octets", "", FINE HOP "c01106 0201 0000fde9", NLRI, 0, D, 1, 0 },
	{ "an unknown optional attribute", "", FINE HOP "c0fe01 00", NLRI, 0, F, 1, 0 },
	{ "an unknown well-known attribute", "", FINE HOP "40fe01 00", NLRI, BGP_ERR(3, 2), 0, 0, 0 },
	{ "MED twice", "", FINE HOP "800404 00000000 800404 00000001", NLRI, 0, D, 1, 0 },
	{ "an extended length", "", FINE HOP "90040004 00000000", NLRI, 0, F, 1, 0 },
	{ "an attribute beyond the field", "", FINE HOP "800405 00000000", NLRI, 0, W, 0, 1 },
	{ "half a header of an attribute", "", FINE HOP "8004", NLRI, 0, W, 0, 1 },
	{ "half an extended header", "", FINE HOP "900400", NLRI, 0, W, 0, 1 },
	{ "IPv6", "", FINE "800e1a 0002 01 10" GLOBAL "00 20 20010db8", "", 0, F, 1, 0 },
	{ "IPv6, both next hops", "", FINE "800e2a 0002 01 20" GLOBAL GLOBAL "00 20 20010db8", "", 0, F, 1, 0 },
	{ "IPv6 without ORIGIN", "", "400206 0201 0000fde9 800e1a 0002 01 10" GLOBAL "00 20 20010db8", "", 0, W, 0, 1 },
	{ "IPv6 with an IPv4 next hop", "", FINE "800e0e 0002 01 04c6336401 00 20 20010db8", "", BGP_ERR(3, 9), 0, 0, 0 },
	{ "IPv6, a prefix of 129 bits", "", FINE "800e27 0002 01 10" GLOBAL "00 81" GLOBAL "80", "", BGP_ERR(3, 9), 0, 0, 0 },
	{ "IPv6, a prefix cut", "", FINE "800e19 0002 01 10" GLOBAL "00 20 20010d", "", BGP_ERR(3, 9), 0, 0, 0 },
	{ "IPv6, the next hop cut", "", FINE "800e06 0002 01 10 2001", "", BGP_ERR(3, 9), 0, 0, 0 },
	{ "MP_REACH_NLRI of two octets", "", FINE "800e02 0002", "", BGP_ERR(3, 9), 0, 0, 0 },
	{ "MP_REACH_NLRI beyond the field", "", FINE "800e20 0002 01 10", "", BGP_ERR(3, 1), 0, 0, 0 },
	{ "MP_REACH_NLRI twice", "", FINE "800e05 0002 80 00 00 800e05 0002 80 00 00", "", BGP_ERR(3, 1), 0, 0, 0 },
	{ "MP_UNREACH_NLRI twice", "", "800f03 0002 01 800f03 0002 01", "", BGP_ERR(3, 1), 0, 0, 0 },
	{ "a family that nobody agreed on", "", FINE "800e0a 4004 47 04 00000000 00 ff", "", 0, F, 0, 0 },
	{ "its withdrawal", "", "800f04 4004 47 ff", "", 0, F, 0, 0 },
	{ "a withdrawal of IPv6", "", "800f08 0002 01 20 20010db8", "", 0, F, 0, 1 },
	{ "a withdrawal of IPv6, cut", "", "800f07 0002 01 20 20010d", "", BGP_ERR(3, 9), 0, 0, 0 },
	{ "MP_UNREACH_NLRI of two octets", "", "800f02 0002", "", BGP_ERR(3, 9), 0, 0, 0 },
	{ "IPv4 in MP_REACH_NLRI", "", FINE "800e0d 0001 01 04c6336401 00 18c00002", "", 0, F, 1, 0 },
	{ "IPv4 by an IPv6 next hop, not agreed", "", FINE "800e19 0001 01 10" GLOBAL "00 18c00002", "", BGP_ERR(3, 9), 0, 0, 0 },
};

static size_t update_body(uint8_t *b, const struct update_row *u)
{
	size_t n = 2, len = unhex(b + n, u->gone);
	put_u16(b, (uint32_t)len);
	n += len + 2;
	len = unhex(b + n, u->attr);
	put_u16(b + n - 2, (uint32_t)len);
	n += len;
	return n + unhex(b + n, u->nlri);
}

static void test_read_update(void)
{
	struct bgp_reading s = { true, true, false, BGP_V4 | BGP_V6 };
	for (size_t i = 0; i < sizeof updates / sizeof *updates; i++) {
		const struct update_row *u = &updates[i];
		uint8_t b[256];
		struct bgp_seen seen = { 0 };
		struct rd data;
		size_t n = update_body(b, u);
		int got = bgp_check_update(rd_init(b, n), &s, &seen, &data);
		bool right = got == u->err;
		if (got == 0)
			right &= seen.verdict == u->verdict && seen.announced == u->announced &&
			         seen.withdrawn == u->withdrawn;
		/* the attribute at fault is the data of 3/2 and 3/9 */
		bool attribute = got == BGP_ERR(3, 2) || got == BGP_ERR(3, 9);
		right &= (rd_left(&data) != 0) == attribute;
		ok(right, "UPDATE: %s (%d/%d, verdict %d, %u, %u)", u->what, got >> 8, got & 255,
		   (int)seen.verdict,
		   seen.announced, seen.withdrawn);
		bool sane = true;
		for (size_t cut = 0; cut < n; cut++) {
			uint8_t *exact = malloc(cut ? cut : 1);
			memcpy(exact, b, cut);
			got = bgp_check_update(rd_init(exact, cut), &s, &seen, &data);
			sane &= got == 0 || got >> 8 == 3;
			if (cut < 4)
				sane &= got == BGP_ERR(3, 1);
			free(exact);
		}
		if (!sane)
			ok(false, "UPDATE: its truncations");
	}
}

static int check(const char *attr, const char *nlri, const struct bgp_reading *s, struct bgp_seen *seen)
{
	uint8_t b[256];
	struct rd data;
	struct update_row u = { .gone = "", .attr = attr, .nlri = nlri };
	return bgp_check_update(rd_init(b, update_body(b, &u)), s, seen, &data);
}

static void test_reading(void)
{
	struct bgp_seen seen;
	struct bgp_reading in = { false, true, true, BGP_V4 | BGP_V6 };
	struct bgp_reading two = { true, false, false, BGP_V4 };

	ok(check(FINE HOP "400501 00", NLRI, &in, &seen) == 0 && seen.verdict == W,
	   "iBGP: a malformed LOCAL_PREF");
	ok(check(FINE HOP "400504 00000001 800904 00000001 800a04 00000001", NLRI, &in, &seen) == 0 &&
	           seen.verdict == F,
	   "iBGP: attributes of a route reflector");
	ok(check(FINE HOP "800a05 0000000100", NLRI, &in, &seen) == 0 && seen.verdict == W,
	   "iBGP: a malformed CLUSTER_LIST");
	ok(check(FINE "800e19 0001 01 10" GLOBAL "00 18c00002", "", &in, &seen) == 0 && seen.announced == 1,
	   "IPv4 by an IPv6 next hop, agreed");
	ok(check("40010100 400204 0201 fde9" HOP "c01106 0201 0000fde9 c01208 0000fde9c0000201 c00706 fde9c0000201",
	         NLRI, &two, &seen) == 0 && seen.verdict == F,
	   "paths of two octets, AS4_PATH and AS4_AGGREGATOR");
	ok(check("40010100 400204 0201 fde9" HOP "c01106 0202 0000fde9", NLRI, &two, &seen) == 0 &&
	   seen.verdict == D,
	   "a malformed AS4_PATH");
	ok(check("40010100 400206 0201 0000fde9" HOP, NLRI, &two, &seen) == 0 && seen.verdict == W,
	   "a path of four octets where two were agreed");
	ok(check(FINE "800e1a 0002 01 10" GLOBAL "00 20 20010db8", "", &two, &seen) == 0 &&
	   seen.announced == 0,
	   "IPv6 that was not agreed is ignored");
	ok(check("", "", &two, &seen) == 0 && seen.end_of_rib == BGP_V4, "End-of-RIB of IPv4");
	ok(check("800f03 0002 01", "", &in, &seen) == 0 && seen.end_of_rib == BGP_V6, "End-of-RIB of IPv6");
	ok(check("800f03 0002 01 40010100", "", &in, &seen) == 0 && !seen.end_of_rib,
	   "but not with attributes");
	ok(check("800f03 0002 01", NLRI, &in, &seen) == 0 && !seen.end_of_rib, "nor with prefixes");
}

/* ---- ROUTE-REFRESH and NOTIFICATION ---- */

static void test_refresh(void)
{
	uint8_t b[16];
	struct bgp_refresh r = { 9, 9 };
	size_t n = unhex(b, "0002 00 01");
	bool all = true;
	for (size_t cut = 0; cut < n; cut++)
		all &= bgp_parse_refresh(rd_init(b, cut), &r) == BGP_ERR(7, 1) && r.family == 9;
	ok(all && bgp_parse_refresh(rd_init(b, n), &r) == 0 && r.family == BGP_V6 &&
	   r.what == BGP_REFRESH_ASK,
	   "ROUTE-REFRESH, and its truncations");
	ok(bgp_parse_refresh(rd_init(b, unhex(b, "0002 00 80")), &r) == 0 && r.family == 0,
	   "of a foreign family");
	ok(bgp_parse_refresh(rd_init(b, unhex(b, "0002 01 01 00")), &r) == BGP_ERR(7, 1),
	   "begin, too long (RFC 7313)");
	ok(bgp_parse_refresh(rd_init(b, unhex(b, "0001 00 01 00 00")), &r) == 0, "with filters (RFC 5291)");
}

struct words_row { const char *body, *words; };
static const struct words_row words[] = {
	{ "0602", "Cease, Administrative Shutdown" },
	{ "0602 03 627965", "Cease, Administrative Shutdown: \"bye\"" },
	{ "0604 05 c3a9 f09f9098", "Cease, Administrative Reset: \"\xc3\xa9?\?\?\"" },
	{ "0604 06 c3a9 f09f9098", "Cease, Administrative Reset: \"\xc3\xa9\xf0\x9f\x90\x98\"" },
	{ "0602 05 627965", "Cease, Administrative Shutdown" },
	{ "0602 00", "Cease, Administrative Shutdown" },
	{ "0602 06 1b5b 6d 7f c29b", "Cease, Administrative Shutdown: \"?[m??\?\"" },
	{ "0602 08 c080 eda080 fe 0a 20", "Cease, Administrative Shutdown: \"?\?\?\?\?\?? \"" },
	{ "0603 03 627965", "Cease, Peer De-configured" },
	{ "0607", "Cease, Connection Collision Resolution" },
	{ "060a", "Cease, BFD Down" },
	{ "06ff", "Cease, subcode 255" },
	{ "0400", "Hold Timer Expired" },
	{ "0202 0000", "OPEN Message Error, Bad Peer AS" },
	{ "0207 010400010001", "OPEN Message Error, Unsupported Capability" },
	{ "020b", "OPEN Message Error, Role Mismatch" },
	{ "030b", "UPDATE Message Error, Malformed AS_PATH" },
	{ "0503 01", "Finite State Machine Error, Unexpected Message in Established State" },
	{ "0701", "ROUTE-REFRESH Message Error, Invalid Message Length" },
	{ "0800", "Send Hold Timer Expired" },
	{ "2a07", "error 42, subcode 7" },
	{ "0000", "error 0" },
};

static void test_notification(void)
{
	uint8_t b[300];
	struct bgp_note n;
	char out[BGP_WORDS];
	ok(!bgp_parse_notification(rd_init(b, 0), &n) && !bgp_parse_notification(rd_init(b, 1), &n),
	   "NOTIFICATION: too short to say anything");
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		bool good = bgp_parse_notification(rd_init(b, unhex(b, words[i].body)), &n);
		bgp_note_words(out, sizeof out, &n);
		ok(good && strcmp(out, words[i].words) == 0, "%s", out);
	}
	/* the longest reason, in every size of memory */
	unhex(b, "0602 ff");
	for (size_t i = 3; i < 258; i++)
		b[i] = i % 2 ? 0xc3 : 0xa9;
	bool all = bgp_parse_notification(rd_init(b, 258), &n);
	for (size_t room = 1; room <= sizeof out; room++) {
		char *exact = malloc(room);
		bgp_note_words(exact, room, &n);
		all &= strlen(exact) < room && (room < 40 || strlen(exact) >= room - 3 || room > 290);
		free(exact);
	}
	ok(all, "words of the longest reason, cut at every length");
	/* a reason too long is cut at a character's edge */
	char why[300];
	for (size_t i = 0; i < sizeof why - 1; i++)
		why[i] = (char)(i % 2 ? 0xa9 : 0xc3);
	why[sizeof why - 1] = 0;
	struct wr w = fresh();
	bgp_write_cease(&w, BGP_SHUTDOWN, why);
	ok(wr_len(&w) == BGP_HEAD + 3 + 254 && buf[BGP_HEAD + 2] == 254,
	   "a reason of 299 octets is cut to 254");
	memset(why, 'a', 255);
	why[255] = 0;
	w = fresh();
	bgp_write_cease(&w, BGP_SHUTDOWN, why);
	ok(wr_len(&w) == BGP_HEAD + 3 + 255, "one of 255 is not");
}

int main(void)
{
	test_frame();
	test_write_update();
	test_write_rest();
	test_largest();
	test_open_written();
	test_open_read();
	test_roles();
	test_read_update();
	test_reading();
	test_refresh();
	test_notification();
	return tap_done();
}
