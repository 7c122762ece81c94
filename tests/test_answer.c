/* Answers over a mock store: the examples of RFC 4035 appendix B and RFC 5155
 * appendix B, a zone of odd cases, sizes, damage. */
#include "dns/answer.h"
#include "tests/mockstore.h"
#include "tests/rfc5155.h"
#include "tests/tap.h"

#include <stdlib.h>

#define SIG(type) "  RRSIG " type " 5 1 3600 20400509183619 20040409183619 38519 example. AAAA\n"

/* RFC 4035 appendix A */
static const char nsec_zone[] =
	"$ORIGIN example.\n$TTL 3600\n"
	"@ SOA ns1 bugs.x.w 1081539377 3600 300 3600000 300\n" SIG("SOA")
	"  NS ns1\n  NS ns2\n" SIG("NS") "  MX 1 xx\n" SIG("MX")
	"  NSEC a NS SOA MX RRSIG NSEC DNSKEY\n" SIG("NSEC")
	"a NS ns1.a\n NS ns2.a\n DS 57855 5 1 B6DCD485719ADCA18E5F3D48A2331627FDD3636B\n" SIG("DS")
	"  NSEC ai NS DS RRSIG NSEC\n" SIG("NSEC")
	"ns1.a A 192.0.2.5\nns2.a A 192.0.2.6\n"
	"ai A 192.0.2.9\n" SIG("A") "  AAAA 2001:db8::f00:baa9\n" SIG("AAAA")
	"  NSEC b A AAAA RRSIG NSEC\n" SIG("NSEC")
	"b NS ns1.b\n NS ns2.b\n NSEC ns1 NS RRSIG NSEC\n" SIG("NSEC")
	"ns1.b A 192.0.2.7\nns2.b A 192.0.2.8\n"
	"ns1 A 192.0.2.1\n" SIG("A") "  NSEC ns2 A RRSIG NSEC\n" SIG("NSEC")
	"ns2 A 192.0.2.2\n" SIG("A") "  NSEC *.w A RRSIG NSEC\n" SIG("NSEC")
	"*.w MX 1 ai\n" SIG("MX") "  NSEC x.w MX RRSIG NSEC\n" SIG("NSEC")
	"x.w MX 1 xx\n" SIG("MX") "  NSEC x.y.w MX RRSIG NSEC\n" SIG("NSEC")
	"x.y.w MX 1 xx\n" SIG("MX") "  NSEC xx MX RRSIG NSEC\n" SIG("NSEC")
	"xx A 192.0.2.10\n" SIG("A") "  NSEC @ A RRSIG NSEC\n" SIG("NSEC");

/* Sixty octets of a label */
#define L60 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const char odd_zone[] =
	"$ORIGIN odd.test.\n$TTL 3600\n"
	"@ SOA ns hostmaster 1 1 1 1 60\n NS ns\n NS ns.elsewhere.test.\nns A 192.0.2.1\n AAAA 2001:db8::1\n"
	"www A 192.0.2.2\nc1 CNAME c2\nc2 CNAME www\nnx CNAME nothing\nout CNAME www.kid.test.\n"
	"loop1 CNAME loop2\nloop2 CNAME loop1\ninto CNAME x.cut\n"
	"deep.er.ent TXT x\n*.wild A 192.0.2.3\nx.*.wild TXT x\n*.wcname CNAME www\n*.wns NS ns\n"
	"dn DNAME tree\n TXT here\nleaf.tree A 192.0.2.4\ndout DNAME kid.test.\ngrow DNAME more.grow\n"
	"long DNAME " L60 "." L60 "." L60 "\n"
	"cut NS ns.cut\n NS ns.sib\n NS ns\nns.cut A 192.0.2.5\nx.ent.cut A 192.0.2.6\n"
	"sib NS ns.sib\nns.sib A 192.0.2.7\n"
	"mx MX 5 ns\n MX 10 ns\n MX 15 wild\n MX 20 any.wild\n MX 30 .\nsrv SRV 0 0 1 www\n"
	"svc HTTPS 1 alias\nalias HTTPS 1 . alpn=h2\n A 192.0.2.8\n";

struct env {
	struct store_map *m;
	struct answer a;
	void *mem;
};

static void say(void *ctx, bool error, const char *file, unsigned line, const char *text)
{
	(void)ctx, (void)file;
	if (error)
		printf("# zone: line %u: %s\n", line, text);
}
static const struct zone_report report = { say, NULL, NULL };

static void add_zone(struct env *e, const char *origin, const char *text, size_t n)
{
	uint8_t name[NAME_MAX_LEN];
	name_parse(origin, strlen(origin), NULL, name);
	if (!mock_load(e->m, zone_load_text(name, text, n, &report)))
		ok(false, "zone %s is read", origin);
}

static void setup(struct env *e)
{
	e->m = mock_new();
	e->mem = malloc(ANSWER_SCRATCH);
	answer_init(&e->a, e->m, e->mem, ANSWER_SCRATCH, NULL, 1232);
	answer_view(&e->a);
}

static void teardown(struct env *e)
{
	mock_free(e->m);
	free(e->mem);
}

enum { DO = 1, EDNS = 2, TCP = 4 };

static size_t make_query(const char *name, uint16_t type, unsigned how, unsigned size, uint8_t *pkt)
{
	uint8_t wire[NAME_MAX_LEN];
	size_t len = name_parse(name, strlen(name), NULL, wire);
	struct wr w = wr_init(pkt, 512);
	bool edns = how & (DO | EDNS);
	wr_bytes(&w, "\0\7\0\0\0\1\0\0\0\0\0", 11);
	wr_u8(&w, edns);
	wr_bytes(&w, wire, len);
	wr_u16(&w, type);
	wr_u16(&w, CLASS_IN);
	if (edns) {
		wr_u8(&w, 0);
		wr_u16(&w, T_OPT);
		wr_u16(&w, size);
		wr_u32(&w, how & DO ? 0x8000 : 0);
		wr_u16(&w, 0);
	}
	return wr_len(&w);
}

/* Asks and returns the response's length; out is of its limit's exact size. */
static size_t ask(struct env *e, const uint8_t *pkt, size_t n, bool tcp, uint8_t **out)
{
	static struct answer_job job;
	job.kind = query_parse(pkt, n, &job.q);
	answer_view(&e->a);
	answer_begin(&e->a, &job);
	answer_fetch(&e->a, &job);
	size_t max = answer_limit(&e->a, &job.q, tcp);
	*out = malloc(max);
	return answer_finish(&e->a, &job, *out, max);
}

/* ---- responses as text ---- */

static size_t print_name(const uint8_t *msg, size_t len, size_t off, char *out, size_t n)
{
	uint8_t name[NAME_MAX_LEN];
	char text[NAME_TEXT_MAX];
	if (!name_unpack(msg, len, &off, name))
		return (size_t)snprintf(out, n, " BADNAME");
	return (size_t)snprintf(out, n, " %s", name_text(name, text));
}

/* " owner TYPE detail"; false when it is no record. */
static bool print_rr(const uint8_t *msg, size_t len, size_t *off, char *out, size_t room, size_t *n)
{
	size_t start = *off;
	uint8_t name[NAME_MAX_LEN];
	char text[12];
	if (!name_unpack(msg, len, off, name))
		return false;
	struct rd r = rd_init(msg + *off, len - *off);
	uint16_t type = rd_u16(&r);
	uint16_t class = rd_u16(&r);
	rd_take(&r, 4);
	size_t rdlen = rd_u16(&r), at = *off + 10;
	if (!rd_take(&r, rdlen) || (class != CLASS_IN && type != T_OPT))
		return false;
	*off = at + rdlen;
	if (type == T_OPT)
		return true;
	*n += print_name(msg, len, start, out + *n, room - *n);
	*n += (size_t)snprintf(out + *n, room - *n, " %s", rr_type_text(type, text));
	if (type == T_NS || type == T_CNAME || type == T_DNAME || type == T_NSEC)
		*n += print_name(msg, len, at, out + *n, room - *n);
	else if (type == T_A)
		*n += (size_t)snprintf(out + *n, room - *n, " .%u", msg[at + 3]);
	else if (type == T_RRSIG)
		*n += (size_t)snprintf(out + *n, room - *n, "(%s)", rr_type_text(get_u16(msg + at), text));
	return true;
}

/* "RCODE [aa] [tc] | answer | authority | additional"; "MALFORMED" if it is. */
static const char *render(const uint8_t *msg, size_t len)
{
	static char out[65536];
	static const char *const rcodes[] = { "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP",
		                              "REFUSED", "YXDOMAIN" };
	unsigned flags = get_u16(msg + 2);
	size_t n = (size_t)snprintf(out, sizeof out, "%s%s%s", (flags & 15) < 7 ? rcodes[flags & 15] : "?",
	                            flags & FLAG_AA ? " aa" : "", flags & FLAG_TC ? " tc" : "");
	size_t off = DNS_HEAD;
	uint8_t name[NAME_MAX_LEN];
	if (get_u16(msg + 4) && !name_unpack(msg, len, &off, name))
		return "MALFORMED";
	off += get_u16(msg + 4) ? 4 : 0;
	for (unsigned sec = 1; sec <= 3; sec++) {
		n += (size_t)snprintf(out + n, sizeof out - n, " |");
		for (unsigned i = get_u16(msg + 4 + 2 * sec); i > 0; i--)
			if (!print_rr(msg, len, &off, out, sizeof out, &n))
				return "MALFORMED";
	}
	return off == len ? out : "MALFORMED";
}

struct want {
	const char *name;
	uint16_t type;
	unsigned how;
	const char *text;
};

static void check(struct env *e, const char *from, const struct want *w)
{
	uint8_t pkt[512], *out;
	size_t n = make_query(w->name, w->type, w->how, 1232, pkt);
	n = ask(e, pkt, n, w->how & TCP, &out);
	const char *got = render(out, n);
	char type[12];
	if (!ok(strcmp(got, w->text) == 0, "%s: %s %s", from, w->name, rr_type_text(w->type, type)))
		printf("# want %s\n# got  %s\n", w->text, got);
	free(out);
}

#define SOA_SIG " example. SOA example. RRSIG(SOA)"
#define NSEC(owner, next) " " owner "example. NSEC " next "example. " owner "example. RRSIG(NSEC)"

static void test_nsec(void)
{
	static const struct want table[] = {
		{ "x.w.example.", T_MX, DO,
		  "NOERROR aa | x.w.example. MX x.w.example. RRSIG(MX) | | xx.example. A .10 xx.example. RRSIG(A)" },
		{ "ml.example.", T_A, DO,
		  "NXDOMAIN aa | |" SOA_SIG NSEC("b.", "ns1.") NSEC("", "a.") " |" },
		{ "ml.example.", T_A, EDNS, "NXDOMAIN aa | | example. SOA |" },
		{ "ns1.example.", T_MX, DO, "NOERROR aa | |" SOA_SIG NSEC("ns1.", "ns2.") " |" },
		{ "mc.a.example.", T_MX, DO,
		  "NOERROR | | a.example. NS ns1.a.example. a.example. NS ns2.a.example. a.example. DS"
		  " a.example. RRSIG(DS) | ns1.a.example. A .5 ns2.a.example. A .6" },
		{ "mc.b.example.", T_MX, DO,
		  "NOERROR | | b.example. NS ns1.b.example. b.example. NS ns2.b.example." NSEC("b.", "ns1.")
		  " | ns1.b.example. A .7 ns2.b.example. A .8" },
		{ "a.z.w.example.", T_MX, DO,
		  "NOERROR aa | a.z.w.example. MX a.z.w.example. RRSIG(MX) |" NSEC("x.y.w.", "xx.")
		  " | ai.example. A .9 ai.example. RRSIG(A) ai.example. AAAA ai.example. RRSIG(AAAA)" },
		{ "a.z.w.example.", T_AAAA, DO,
		  "NOERROR aa | |" SOA_SIG NSEC("*.w.", "x.w.") NSEC("x.y.w.", "xx.") " |" },
		{ "example.", T_DS, DO, "NOERROR aa | |" SOA_SIG NSEC("", "a.") " |" },
		{ "w.example.", T_A, DO, "NOERROR aa | |" SOA_SIG NSEC("ns2.", "*.w.") " |" },
		{ "a.example.", T_DS, DO, "NOERROR aa | a.example. DS a.example. RRSIG(DS) | |" },
		{ "b.example.", T_DS, DO, "NOERROR aa | |" SOA_SIG NSEC("b.", "ns1.") " |" },
		{ "xx.example.", T_RRSIG, DO, "NOERROR aa | xx.example. RRSIG(A) | |" },
		{ "xx.example.", T_ANY, DO, "NOERROR aa | xx.example. A .10 xx.example. RRSIG(A) | |" },
		{ "ns1.example.", T_NSEC, 0, "NOERROR aa | ns1.example. NSEC ns2.example. | |" },
	};
	struct env e;
	setup(&e);
	add_zone(&e, "example.", nsec_zone, sizeof nsec_zone - 1);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		check(&e, "NSEC", &table[i]);
	teardown(&e);
}

#define H(h) " " h ".example. NSEC3 " h ".example. RRSIG(NSEC3)"
#define H_APEX H("0p9mhaveqvm6t7vbl5lop2u3t2rp3tom")

static void test_nsec3(void)
{
	static const struct want table[] = {
		{ "a.c.x.w.example.", T_MX, DO,
		  "NXDOMAIN aa | |" SOA_SIG H("b4um86eghhds6nea196smvmlo4ors995") H_APEX
		  H("35mthgpgcu1qg68fab165klnsnk3dpvl") " |" },
		{ "ns1.example.", T_MX, DO, "NOERROR aa | |" SOA_SIG H("2t7b4g4vsa5smi47k61mv5bv1a22bojr") " |" },
		{ "y.w.example.", T_A, DO, "NOERROR aa | |" SOA_SIG H("ji6neoaepv8b5o6k4ev33abha8ht9fgc") " |" },
		{ "mc.c.example.", T_MX, DO,
		  "NOERROR | | c.example. NS ns1.c.example. c.example. NS ns2.c.example."
		  H("35mthgpgcu1qg68fab165klnsnk3dpvl") H_APEX " | ns1.c.example. A .7 ns2.c.example. A .8" },
		{ "c.example.", T_DS, DO,
		  "NOERROR aa | |" SOA_SIG H("35mthgpgcu1qg68fab165klnsnk3dpvl") H_APEX " |" },
		{ "mc.a.example.", T_MX, DO,
		  "NOERROR | | a.example. NS ns1.a.example. a.example. NS ns2.a.example. a.example. DS"
		  " a.example. RRSIG(DS) | ns1.a.example. A .5 ns2.a.example. A .6" },
		{ "a.z.w.example.", T_MX, DO,
		  "NOERROR aa | a.z.w.example. MX a.z.w.example. RRSIG(MX) |"
		  H("q04jkcevqvmu85r014c7dkba38o0ji5r") " | ai.example. A .9 ai.example. RRSIG(A)" },
		{ "a.z.w.example.", T_AAAA, DO,
		  "NOERROR aa | |" SOA_SIG H("k8udemvp1j2f7eg6jebps17vp3n8i58h")
		  H("q04jkcevqvmu85r014c7dkba38o0ji5r") H("r53bq7cc2uvmubfu5ocmm6pers9tk9en") " |" },
		{ "example.", T_DS, DO, "NOERROR aa | |" SOA_SIG H_APEX " |" },
		{ "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom.example.", T_NSEC3, EDNS, "NXDOMAIN aa | | example. SOA |" },
		{ "2t7b4g4vsa5smi47k61mv5bv1a22bojr.example.", T_A, EDNS,
		  "NOERROR aa | 2t7b4g4vsa5smi47k61mv5bv1a22bojr.example. A .127 | |" },
	};
	struct env e;
	setup(&e);
	add_zone(&e, "example.", nsec3_zone, sizeof nsec3_zone - 1);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		check(&e, "NSEC3", &table[i]);
	teardown(&e);
}

#define ODD_SOA " odd.test. SOA"

static const char kid_zone[] = "$ORIGIN kid.test.\n$TTL 60\n@ SOA @ @ 1 1 1 1 1\n NS ns\nns A 192.0.2.66\n";

static void setup_odd(struct env *e)
{
	setup(e);
	add_zone(e, "odd.test.", odd_zone, sizeof odd_zone - 1);
	add_zone(e, "kid.test.", kid_zone, sizeof kid_zone - 1);
}

static void test_odd(void)
{
	static const struct want table[] = {
		{ "www.odd.test.", T_A, 0, "NOERROR aa | www.odd.test. A .2 | |" },
		{ "WwW.oDD.test.", T_A, 0, "NOERROR aa | WwW.oDD.test. A .2 | |" },
		{ "www.odd.test.", T_MX, 0, "NOERROR aa | |" ODD_SOA " |" },
		{ "odd.test.", T_NS, 0,
		  "NOERROR aa | odd.test. NS ns.odd.test. odd.test. NS ns.elsewhere.test. |"
		  " | ns.odd.test. A .1 ns.odd.test. AAAA" },
		{ "elsewhere.", T_A, 0, "REFUSED | | |" },
		{ ".", T_NS, 0, "REFUSED | | |" },
		{ "c1.odd.test.", T_A, 0,
		  "NOERROR aa | c1.odd.test. CNAME c2.odd.test. c2.odd.test. CNAME www.odd.test. www.odd.test. A .2 | |" },
		{ "c1.odd.test.", T_CNAME, 0, "NOERROR aa | c1.odd.test. CNAME c2.odd.test. | |" },
		{ "nx.odd.test.", T_A, 0,
		  "NXDOMAIN aa | nx.odd.test. CNAME nothing.odd.test. |" ODD_SOA " |" },
		{ "out.odd.test.", T_A, 0, "NOERROR aa | out.odd.test. CNAME www.kid.test. | |" },
		{ "loop1.odd.test.", T_A, 0,
		  "NOERROR aa | loop1.odd.test. CNAME loop2.odd.test. loop2.odd.test. CNAME loop1.odd.test. | |" },
		{ "into.odd.test.", T_A, 0,
		  "NOERROR aa | into.odd.test. CNAME x.cut.odd.test. |"
		  " cut.odd.test. NS ns.cut.odd.test. cut.odd.test. NS ns.odd.test. cut.odd.test. NS ns.sib.odd.test."
		  " | ns.cut.odd.test. A .5 ns.odd.test. A .1 ns.odd.test. AAAA ns.sib.odd.test. A .7" },
		{ "ent.odd.test.", T_A, 0, "NOERROR aa | |" ODD_SOA " |" },
		{ "er.ent.odd.test.", T_A, 0, "NOERROR aa | |" ODD_SOA " |" },
		{ "x.ent.odd.test.", T_A, 0, "NXDOMAIN aa | |" ODD_SOA " |" },
		{ "a.b.wild.odd.test.", T_A, 0, "NOERROR aa | a.b.wild.odd.test. A .3 | |" },
		{ "wild.odd.test.", T_A, 0, "NOERROR aa | |" ODD_SOA " |" },
		{ "*.wild.odd.test.", T_A, 0, "NOERROR aa | *.wild.odd.test. A .3 | |" },
		{ "y.*.wild.odd.test.", T_A, 0, "NXDOMAIN aa | |" ODD_SOA " |" },
		{ "x.wcname.odd.test.", T_A, 0,
		  "NOERROR aa | x.wcname.odd.test. CNAME www.odd.test. www.odd.test. A .2 | |" },
		{ "x.wns.odd.test.", T_A, 0, "NOERROR aa | |" ODD_SOA " |" },
		{ "dn.odd.test.", T_A, 0, "NOERROR aa | |" ODD_SOA " |" },
		{ "leaf.dn.odd.test.", T_A, 0,
		  "NOERROR aa | dn.odd.test. DNAME tree.odd.test. leaf.dn.odd.test. CNAME leaf.tree.odd.test."
		  " leaf.tree.odd.test. A .4 | |" },
		{ "no.dn.odd.test.", T_A, 0,
		  "NXDOMAIN aa | dn.odd.test. DNAME tree.odd.test. no.dn.odd.test. CNAME no.tree.odd.test. |"
		  ODD_SOA " |" },
		{ "x.dout.odd.test.", T_A, 0,
		  "NOERROR aa | dout.odd.test. DNAME kid.test. x.dout.odd.test. CNAME x.kid.test. | |" },
		{ "x.grow.odd.test.", T_A, 0,
		  "NOERROR aa | grow.odd.test. DNAME more.grow.odd.test."
		  " x.grow.odd.test. CNAME x.more.grow.odd.test. | |" },
		{ "xx" L60 ".long.odd.test.", T_A, 0,
		  "YXDOMAIN aa | long.odd.test. DNAME " L60 "." L60 "." L60 ".odd.test. | |" },
		{ "ns.cut.odd.test.", T_A, 0,
		  "NOERROR | | cut.odd.test. NS ns.cut.odd.test. cut.odd.test. NS ns.odd.test."
		  " cut.odd.test. NS ns.sib.odd.test."
		  " | ns.cut.odd.test. A .5 ns.odd.test. A .1 ns.odd.test. AAAA ns.sib.odd.test. A .7" },
		{ "ent.cut.odd.test.", T_A, 0,
		  "NOERROR | | cut.odd.test. NS ns.cut.odd.test. cut.odd.test. NS ns.odd.test."
		  " cut.odd.test. NS ns.sib.odd.test."
		  " | ns.cut.odd.test. A .5 ns.odd.test. A .1 ns.odd.test. AAAA ns.sib.odd.test. A .7" },
		{ "cut.odd.test.", T_DS, 0, "NOERROR aa | |" ODD_SOA " |" },
		{ "mx.odd.test.", T_MX, 0,
		  "NOERROR aa | mx.odd.test. MX mx.odd.test. MX mx.odd.test. MX mx.odd.test. MX mx.odd.test. MX |"
		  " | ns.odd.test. A .1 ns.odd.test. AAAA any.wild.odd.test. A .3" },
		{ "srv.odd.test.", T_SRV, 0, "NOERROR aa | srv.odd.test. SRV | | www.odd.test. A .2" },
		{ "svc.odd.test.", T_HTTPS, 0,
		  "NOERROR aa | svc.odd.test. HTTPS | | alias.odd.test. A .8 alias.odd.test. HTTPS" },
		{ "kid.test.", T_DS, 0, "NOERROR aa | | kid.test. SOA |" },
		{ "www.odd.test.", T_AXFR, 0, "REFUSED | | |" },
	};
	struct env e;
	setup_odd(&e);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		check(&e, "odd", &table[i]);
	teardown(&e);
}

/* What surrounds an answer, in small zones of its own. */
static const char around_zone[] =
	"$ORIGIN o.\n$TTL 60\n@ SOA @ @ 1 1 1 1 60\n NS ns.far.\n NSEC dn NS SOA NSEC\n"
	"dn DNAME ns.far.\n NSEC svc DNAME NSEC\nsvc HTTPS 1 dn\n NSEC @ HTTPS NSEC\n";

/* The only thing below e is an insecure delegation: e and *.e have no NSEC3. */
static const char optout_zone[] =
	"$ORIGIN o.\n$TTL 60\n@ SOA @ @ 1 1 1 1 60\n NS ns.far.\n NSEC3PARAM 1 0 0 -\n"
	"n5 A 192.0.2.1\nx.*.e NS ns.far.\n"
	"p6lfjai8cog9iir6cm5janu1p5cp3b2d NSEC3 1 1 0 - q05pr38vp6825hs5dvdo1d9ltsu42s72 A\n"
	"q05pr38vp6825hs5dvdo1d9ltsu42s72 NSEC3 1 1 0 - p6lfjai8cog9iir6cm5janu1p5cp3b2d NS SOA NSEC3PARAM\n";

static void test_around(void)
{
	static const struct want service = { "svc.o.", T_HTTPS, DO,
		"NOERROR aa | svc.o. HTTPS | | dn.o. NSEC svc.o." };
	static const struct want wild = { "a.e.o.", T_A, DO,
		"NOERROR aa | | o. SOA q05pr38vp6825hs5dvdo1d9ltsu42s72.o. NSEC3 |" };
	struct env e;
	setup(&e);
	add_zone(&e, "o.", around_zone, sizeof around_zone - 1);
	check(&e, "a DNAME has no addresses and can prove it", &service);
	teardown(&e);
	setup(&e);
	add_zone(&e, "o.", optout_zone, sizeof optout_zone - 1);
	check(&e, "an empty wildcard in an opt-out span", &wild);
	teardown(&e);
}

/* Batches over leaf zones, which are remembered, and one above them, which is found
 * anew for each job: each is answered from its own. */
static void test_batches(void)
{
	enum { ZONES = 4 }; /* the last has the others below it */
	static struct answer_job jobs[JOBS_MAX];
	static uint8_t pkt[JOBS_MAX][512], out[4096];
	struct env e;
	setup(&e);
	for (unsigned i = 0; i < ZONES; i++) {
		char origin[32], text[128];
		snprintf(origin, sizeof origin, i < ZONES - 1 ? "z%u.test." : "test.", i);
		int n = snprintf(text, sizeof text, "$ORIGIN %s\n$TTL 60\n@ SOA @ @ 1 1 1 1 1\n NS ns.far.\nw A 192.0.2.%u\n", origin, i);
		add_zone(&e, origin, text, (size_t)n);
	}
	answer_view(&e.a);
	unsigned wrong = 0, seed = 1, of[JOBS_MAX];
	for (unsigned round = 0; round < 500; round++) {
		for (unsigned k = 0; k < JOBS_MAX; k++) {
			char name[32];
			seed = seed * 1103515245u + 12345u;
			of[k] = (seed >> 16) % 8 == 0 ? (seed >> 20) % (ZONES - 1) : ZONES - 1;
			snprintf(name, sizeof name, of[k] < ZONES - 1 ? "x.z%u.test." : "x.test.", of[k]);
			size_t n = make_query(name, T_A, 0, 512, pkt[k]);
			jobs[k].kind = query_parse(pkt[k], n, &jobs[k].q);
			answer_begin(&e.a, &jobs[k]);
		}
		for (unsigned k = 0; k < JOBS_MAX; k++)
			answer_fetch(&e.a, &jobs[k]);
		for (unsigned k = 0; k < JOBS_MAX; k++) {
			answer_finish(&e.a, &jobs[k], out, 512);
			/* NXDOMAIN with the SOA of what follows "x" */
			wrong += (out[3] & 15) != RCODE_NXDOMAIN || get_u16(out + 8) != 1 ||
			         get_u16(out + DNS_HEAD + jobs[k].q.question_len) != (0xc000 | (DNS_HEAD + 2));
		}
	}
	if (!ok(wrong == 0, "500 batches over leaf zones and their parent"))
		printf("# %u answers from another zone\n", wrong);
	teardown(&e);
}

/* Every name that is there once is pointed to, that of a service included. */
static void test_compression(void)
{
	static const struct { const char *name; uint16_t type; size_t len; } table[] = {
		{ "c1.odd.test.", T_A, 12 + 17 + (12 + 5) + (12 + 6) + (12 + 4) },
		{ "srv.odd.test.", T_SRV, 12 + 18 + (12 + 6 + 14) + (12 + 4) },
		{ "svc.odd.test.", T_HTTPS, 12 + 18 + (12 + 2 + 16) + (12 + 4) + (12 + 2 + 1 + 4 + 3) },
	};
	struct env e;
	setup_odd(&e);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		uint8_t pkt[512], *out;
		size_t n = make_query(table[i].name, table[i].type, 0, 512, pkt);
		n = ask(&e, pkt, n, false, &out);
		if (!ok(n == table[i].len, "compression: %s", table[i].name))
			printf("# %zu octets, not %zu\n", n, table[i].len);
		free(out);
	}
	teardown(&e);
}

static void test_damage(void)
{
	static const struct want table[] = {
		{ "www.odd.test.", T_A, EDNS, "SERVFAIL | | |" },
		{ "c1.odd.test.", T_A, EDNS, "SERVFAIL | | |" }, /* in the midst of a chain */
		{ "x.www.odd.test.", T_A, EDNS, "SERVFAIL | | |" }, /* never "absent" */
		{ "mx.odd.test.", T_MX, EDNS, "SERVFAIL | | |" },
		{ "x.wild.odd.test.", T_A, EDNS, "SERVFAIL | | |" },
		{ "leaf.tree.odd.test.", T_A, EDNS, "NOERROR aa | leaf.tree.odd.test. A .4 | |" },
	};
	static const char *const owners[] = { "www.odd.test.", "ns.odd.test.", "*.wild.odd.test." };
	struct env e;
	setup_odd(&e);
	for (size_t i = 0; i < sizeof owners / sizeof *owners; i++) {
		uint8_t name[NAME_MAX_LEN];
		name_parse(owners[i], strlen(owners[i]), NULL, name);
		mock_damage(e.m, name);
	}
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		check(&e, "damaged", &table[i]);
	teardown(&e);
}

static void test_state(void)
{
	static const enum zone_state states[] = { ZONE_LOADING, ZONE_FAILED, ZONE_EXPIRED };
	static const struct want w = { "x.down.test.", T_A, 0, "SERVFAIL | | |" };
	for (size_t i = 0; i < 3; i++) {
		struct env e;
		setup(&e);
		mock_zone(e.m, (const uint8_t *)"\4down\4test", states[i]);
		check(&e, "not serving", &w);
		teardown(&e);
	}
}

/* A delegation with much glue, asked for at every size: all of it, or TC. */
static void test_sizes(void)
{
	char text[4096] = "$ORIGIN big.\n$TTL 60\n@ SOA @ @ 1 1 1 1 1\n NS ns.far.\n", line[128];
	for (unsigned i = 0; i < 12; i++) {
		snprintf(line, sizeof line, "cut NS ns%u.cut\nns%u.cut A 192.0.2.%u\n AAAA 2001:db8::%u\n", i, i, i, i);
		strcat(text, line);
	}
	struct env e;
	setup(&e);
	add_zone(&e, "big.", text, strlen(text));
	bool fits = true, whole = true, well = true;
	unsigned with_tc = 0, without = 0;
	for (unsigned size = 500; size <= 1300; size++) {
		uint8_t pkt[512], *out;
		size_t n = make_query("x.cut.big.", T_A, EDNS, size, pkt);
		n = ask(&e, pkt, n, false, &out);
		unsigned limit = size < 512 ? 512 : size > 1232 ? 1232 : size;
		bool tc = get_u16(out + 2) & FLAG_TC;
		fits &= n <= limit;
		whole &= tc || get_u16(out + 10) == 24 + 1;
		well &= strcmp(render(out, n), "MALFORMED") != 0;
		*(tc ? &with_tc : &without) += 1;
		free(out);
	}
	ok(fits, "no response is longer than agreed");
	ok(whole, "a referral has all its in-domain glue or TC");
	ok(well, "every truncated referral is well-formed");
	ok(with_tc > 0 && without > 0, "both happened");
	teardown(&e);
}

/* Answers of every RFC example at every small limit stay well-formed. */
static void test_limits(void)
{
	static const struct { const char *name; uint16_t type; } table[] = {
		{ "a.c.x.w.example.", T_MX }, { "a.z.w.example.", T_MX }, { "mc.a.example.", T_MX },
		{ "example.", T_NS }, { "a.z.w.example.", T_AAAA },
	};
	struct env e;
	setup(&e);
	add_zone(&e, "example.", nsec3_zone, sizeof nsec3_zone - 1);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		bool good = true;
		for (unsigned size = 512; size <= 1232; size++) {
			uint8_t pkt[512], *out;
			size_t n = make_query(table[i].name, table[i].type, DO, size, pkt);
			n = ask(&e, pkt, n, false, &out);
			good &= n <= size && strcmp(render(out, n), "MALFORMED") != 0;
			free(out);
		}
		ok(good, "%s at every size", table[i].name);
	}
	teardown(&e);
}

static void test_header(void)
{
	struct env e;
	setup_odd(&e);
	uint8_t pkt[512], *out;
	size_t n = make_query("www.odd.test.", T_A, DO, 4096, pkt);
	put_u16(pkt + 2, 0x07f0 & ~0x0200); /* AA, RD, RA, Z, AD, CD */
	n = ask(&e, pkt, n, false, &out);
	ok(get_u16(out) == 7 && get_u16(out + 2) == 0x8500, "QR, AA and RD; the rest is clear");
	ok(n > 11 && !memcmp(out + n - 11, "\0\0\x29\4\xd0\0\0\x80\0\0\0", 11), "OPT: our size, DO as asked");
	free(out);

	n = make_query("www.odd.test.", T_A, DO, 4096, pkt);
	pkt[n - 5] = 1; /* the version */
	n = ask(&e, pkt, n, false, &out);
	ok((get_u16(out + 2) & 15) == 0 && !memcmp(out + n - 11, "\0\0\x29\4\xd0\1\0\x80\0\0\0", 11), "BADVERS");
	free(out);

	n = make_query("www.odd.test.", T_A, 0, 0, pkt);
	put_u16(pkt + 2, 2 << 11 | 0x0100); /* STATUS, RD */
	n = ask(&e, pkt, n, false, &out);
	ok(get_u16(out + 2) == (0x8000 | 2 << 11 | 0x0100 | RCODE_NOTIMP), "NOTIMP: opcode and RD as they came");
	free(out);

	n = make_query("www.odd.test.", T_A, DO, 4096, pkt);
	memcpy(pkt + n - 2, "\0\6\0\x0a\0\2ab", 8); /* a cookie of 2 octets */
	n = ask(&e, pkt, n + 6, false, &out);
	ok((get_u16(out + 2) & 15) == RCODE_FORMERR && get_u16(out + 10) == 1 &&
	   !memcmp(out + n - 11, "\0\0\x29\4\xd0\0\0\x80\0\0\0", 11), "FORMERR because of the OPT: with an OPT");
	free(out);

	n = make_query("www.odd.test.", T_A, 0, 0, pkt);
	struct wr w = wr_init(pkt + n, sizeof pkt - n);
	wr_bytes(&w, "\3KEY\0\0\xfa\0\xff\0\0\0\0\0\x18\2hm\0\0\0\0\0\0\7\1\x2c\0\4MACM\0\1\0\0\0\0", 39);
	pkt[11] = 1;
	n = ask(&e, pkt, n + 39, false, &out);
	ok((get_u16(out + 2) & 15) == RCODE_NOTAUTH && get_u16(out + 10) == 1 && get_u16(out + 6) == 0,
	   "TSIG: NOTAUTH");
	ok(!memcmp(out + n - 35, "\3key\0\0\xfa\0\xff\0\0\0\0\0\x14\2hm\0\0\0\0\0\0\7\1\x2c\0\0\0\7\0\x11\0\0", 35),
	   "TSIG: BADKEY, unsigned");
	free(out);

	n = make_query("www.odd.test.", T_A, 0, 0, pkt);
	put_u16(pkt + n - 2, CLASS_ANY);
	n = ask(&e, pkt, n, false, &out);
	ok(get_u16(out + 2) == 0x8000 && get_u16(out + 6) == 1, "class ANY: answered, not authoritative");
	free(out);
	teardown(&e);
}

/* The options of the answer to a query with NSID and a cookie, at the message's end. */
static size_t ask_options(struct env *e, const char *name, uint16_t type, uint16_t class, uint8_t **out)
{
	static const uint8_t ip[4] = { 198, 51, 100, 100 };
	static struct answer_job job;
	uint8_t pkt[600];
	size_t n = make_query(name, type, EDNS, 512, pkt);
	put_u16(pkt + n - 13, class);
	put_u16(pkt + n - 2, 16);
	memcpy(pkt + n, "\0\3\0\0\0\x0a\0\10abcdefgh", 16);
	job.kind = query_parse(pkt, n + 16, &job.q);
	job.peer = ip;
	job.peer_len = 4;
	answer_begin(&e->a, &job);
	answer_fetch(&e->a, &job);
	*out = malloc(512);
	return answer_finish(&e->a, &job, *out, 512);
}

static bool has_error(const uint8_t *out, size_t n, unsigned code)
{
	return get_u16(out + n - 6) == OPTION_ERROR && get_u16(out + n - 4) == 2 && get_u16(out + n - 2) == code;
}

static void test_options(void)
{
	static const struct sip key = { 1, 2 };
	static const char id[] = "0123456789012345678901234567890123456789012345678901234567890ab";
	struct env e;
	setup(&e);
	add_zone(&e, "odd.test.", odd_zone, sizeof odd_zone - 1);
	uint8_t *out, cookie[COOKIE_LEN];
	size_t n = ask_options(&e, "www.odd.test.", T_A, CLASS_IN, &out);
	ok(!memcmp(out + n - 11, "\0\0\x29\4\xd0\0\0\0\0\0\0", 11), "neither identity nor cookie unless set");
	free(out);
	n = ask_options(&e, "id.server.", T_TXT, CLASS_CH, &out);
	ok((get_u16(out + 2) & 15) == RCODE_REFUSED && get_u16(out + 6) == 0, "id.server: REFUSED unless set");
	free(out);

	e.a.identity = id;
	e.a.version = "v";
	e.a.cookie_keys = &key;
	e.a.ncookie_keys = 1;
	e.a.now_s = 1000;
	cookie_answer(&key, 1, (const uint8_t *)"abcdefgh", 8, (const uint8_t *)"\xc6\x33\x64\x64", 4, 1000, cookie);
	n = ask_options(&e, "www.odd.test.", T_A, CLASS_IN, &out);
	ok(!memcmp(out + n - 106, "\0\0\x29\4\xd0\0\0\0\0\0\x5f\0\3\0\x3f", 15) && !memcmp(out + n - 91, id, 63) &&
	   !memcmp(out + n - 28, "\0\x0a\0\x18", 4) && !memcmp(out + n - 24, cookie, 24), "NSID and cookie");
	ok(get_u16(out + 6) == 1 && get_u16(out + 10) == 1, "and the answer");
	free(out);
	n = ask_options(&e, L60 "." L60 "." L60 "." L60 ".x.", T_A, CLASS_IN, &out);
	ok(has_error(out, n, 20) && get_u16(out + n - 103) == 101, "not authoritative, behind a long question");
	free(out);
	n = ask_options(&e, "odd.test.", T_AXFR, CLASS_IN, &out);
	ok((get_u16(out + 2) & 15) == RCODE_REFUSED && has_error(out, n, 18), "transfer: prohibited");
	free(out);
	n = ask_options(&e, "odd.test.", T_NXNAME, CLASS_IN, &out);
	ok((get_u16(out + 2) & 15) == RCODE_FORMERR && has_error(out, n, 30), "NXNAME: invalid query type");
	free(out);
	n = ask_options(&e, "ID.server.", T_TXT, CLASS_CH, &out);
	ok(get_u16(out + 2) == (0x8000 | FLAG_AA) && get_u16(out + 6) == 1 &&
	   !memcmp(out + 27, "\xc0\x0c\0\x10\0\3\0\0\0\0\0\x40\x3f", 13) && !memcmp(out + 40, id, 63), "id.server");
	free(out);
	n = ask_options(&e, "version.bind.", T_TXT, CLASS_CH, &out);
	ok(get_u16(out + 6) == 1, "version.bind");
	free(out);
	n = ask_options(&e, "authors.bind.", T_TXT, CLASS_CH, &out);
	ok((get_u16(out + 2) & 15) == RCODE_REFUSED, "another name of class CH");
	free(out);
	n = ask_options(&e, "www.odd.test.", T_A, 4, &out);
	ok((get_u16(out + 2) & 15) == RCODE_REFUSED && has_error(out, n, 21), "class HS: not supported");
	free(out);
	mock_zone(e.m, (const uint8_t *)"\2up\4test", ZONE_LOADING);
	mock_zone(e.m, (const uint8_t *)"\3old\4test", ZONE_EXPIRED);
	n = ask_options(&e, "x.up.test.", T_A, CLASS_IN, &out);
	ok((get_u16(out + 2) & 15) == RCODE_SERVFAIL && has_error(out, n, 14), "a zone that is still loaded: not ready");
	free(out);
	n = ask_options(&e, "x.old.test.", T_A, CLASS_IN, &out);
	ok((get_u16(out + 2) & 15) == RCODE_SERVFAIL && has_error(out, n, 24), "an expired zone: invalid data");
	free(out);
	/* every size of question, so every place of the end: the answer is TC, never longer */
	unsigned good = 0;
	for (unsigned i = 1; i < 60; i++) {
		char name[400];
		snprintf(name, sizeof name, "%.*s." L60 "." L60 ".wild.odd.test.", (int)i, L60);
		n = ask_options(&e, name, T_A, CLASS_IN, &out);
		good += n <= 512 && !memcmp(out + n - 24, cookie, 24);
		free(out);
	}
	ok(good == 59, "room for the options under every question");
	mock_damage(e.m, (const uint8_t *)"\3www\3odd\4test");
	n = ask_options(&e, "www.odd.test.", T_A, CLASS_IN, &out);
	ok((get_u16(out + 2) & 15) == RCODE_SERVFAIL && has_error(out, n, 24), "damage: invalid data");
	free(out);
	teardown(&e);
}

/* RFC 9660: labels and serial of the zone that the answer is from, -1 without. */
static long version_of(struct env *e, const char *name, uint16_t type)
{
	uint8_t pkt[600], *out;
	size_t n = make_query(name, type, EDNS, 1232, pkt);
	put_u16(pkt + n - 2, 4);
	memcpy(pkt + n, "\0\x13\0\0", 4);
	n = ask(e, pkt, n + 4, false, &out);
	/* behind it at most an extended error */
	if (n > 16 && has_error(out, n, 24))
		n -= 6;
	long r = -1;
	if (get_u32(out + n - 10) == 0x00130006 && out[n - 5] == 0)
		r = out[n - 6] * 100000L + get_u32(out + n - 4);
	free(out);
	return r;
}

static void test_version(void)
{
	struct env e;
	setup_odd(&e); /* serials: 1001 and 1002 */
	mock_zone(e.m, (const uint8_t *)"\2up\4test", ZONE_LOADING);
	mock_damage(e.m, (const uint8_t *)"\3svc\3odd\4test");
	static const struct { const char *what, *name; uint16_t type; long want; } t[] = {
		{ "an answer", "www.odd.test.", T_A, 201001 }, { "the zone's own name", "kid.test.", T_SOA, 201002 },
		{ "NODATA", "www.odd.test.", T_MX, 201001 }, { "NXDOMAIN", "no.odd.test.", T_A, 201001 },
		{ "a referral: the zone that refers", "x.cut.odd.test.", T_A, 201001 },
		{ "a CNAME that leads to another zone", "out.odd.test.", T_A, 201001 },
		{ "SERVFAIL of a zone that is served", "svc.odd.test.", T_HTTPS, 201001 },
		{ "REFUSED", "elsewhere.", T_A, -1 }, { "a transfer", "odd.test.", T_AXFR, -1 },
		{ "a zone that is not served yet", "x.up.test.", T_A, -1 },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		long got = version_of(&e, t[i].name, t[i].type);
		ok(got == t[i].want, "ZONEVERSION: %s (%ld)", t[i].what, got);
	}
	static const char sub[] = "$ORIGIN sub.odd.test.\n@ 60 SOA @ @ 1 1 1 1 1\n@ 60 NS ns.x.\n";
	add_zone(&e, "sub.odd.test.", sub, sizeof sub - 1);
	ok(version_of(&e, "sub.odd.test.", T_DS) == 201001, "ZONEVERSION: DS is the parent's");
	ok(version_of(&e, "sub.odd.test.", T_NS) == 301004, "ZONEVERSION: NS is the child's");
	/* its parent, cut.odd.test, is not here: the child says "no data" */
	static const char deep[] = "$ORIGIN sub.cut.odd.test.\n@ 60 SOA @ @ 1 1 1 1 1\n@ 60 NS ns.x.\n";
	add_zone(&e, "sub.cut.odd.test.", deep, sizeof deep - 1);
	ok(version_of(&e, "sub.cut.odd.test.", T_DS) == 401005, "ZONEVERSION: DS is the child's where the parent is not served");
	teardown(&e);
}

/* What is said to a query that there is no room for: never more than it said. */
static void test_tc(void)
{
	static const struct sip key = { 1, 2 };
	static const size_t lens[] = { 0, 8, 16, COOKIE_LEN, COOKIE_LEN, 40 };
	static struct answer_job job;
	struct env e;
	uint8_t pkt[600], out[1232], cookie[40] = "abcdefgh";
	setup_odd(&e);
	e.a.identity = "node";
	e.a.cookie_keys = &key;
	e.a.ncookie_keys = 1;
	e.a.now_s = 1000;
	size_t plain = make_query("www.odd.test.", T_ANY, 0, 512, pkt);
	job.kind = query_parse(pkt, plain, &job.q);
	answer_begin(&e.a, &job);
	ok(answer_tc(&e.a, &job, out, 512) == plain && get_u16(out + 2) == (0x8000 | FLAG_TC) && get_u32(out + 6) == 0 && get_u16(out + 10) == 0 &&
	   memcmp(out + 12, pkt + 12, plain - 12) == 0, "TC alone: as long as the query");
	job.peer = (const uint8_t *)"\1\2\3\4";
	job.peer_len = 4;
	for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
		bool good = i == 3, has = lens[i] >= COOKIE_LEN;
		size_t n = make_query("www.odd.test.", T_ANY, EDNS, 1232, pkt), opts = lens[i] ? 12 + lens[i] : 8, opt = n - 11;
		put_u16(pkt + n - 2, (uint32_t)opts);
		memcpy(pkt + n, "\0\3\0\0\0\x13\0\0\0\x0a\0", 11); /* who answers, and which version? */
		pkt[n + 11] = (uint8_t)lens[i];
		if (good)
			cookie_answer(&key, 1, cookie, 8, job.peer, 4, 1000, cookie);
		memcpy(pkt + n + 12, cookie, lens[i]);
		memset(cookie + 8, 0, sizeof cookie - 8);
		n += opts;
		job.kind = query_parse(pkt, n, &job.q);
		answer_begin(&e.a, &job);
		answer_fetch(&e.a, &job);
		size_t len = answer_tc(&e.a, &job, out, 512);
		ok(job.kind == QUERY_OK && len <= n && len == opt + 11 + (has ? 28 : 0) && get_u16(out + 2) == (0x8000 | FLAG_TC) &&
		   get_u32(out + 6) == 0 && get_u16(out + 10) == 1 && get_u32(out + opt + 5) == 0 && e.a.cookie_good == good,
		   "TC with a cookie of %zu octets%s: %zu to a query of %zu", lens[i], good ? ", ours" : "", len, n);
		if (has)
			ok(get_u32(out + opt + 11) == 0x000a0018 && memcmp(out + opt + 15, "abcdefgh", 8) == 0 && get_u64(out + opt + 31) != 0,
			   "with ours, as there is room for it");
	}
	teardown(&e);
}

/* What the limiter lets through, and what has to come with a cookie. */
static void test_slip(void)
{
	static const struct sip key = { 1, 2 };
	static struct answer_job job;
	static const char *const names[] = { "www.odd.test.", "odd.test.", "no.odd.test.", "x.cut.odd.test.", "elsewhere." };
	struct env e;
	uint8_t pkt[600], out[1232], cookie[COOKIE_LEN];
	setup_odd(&e);
	e.a.identity = "node";
	for (size_t i = 0; i < 5; i++)
		for (unsigned how = 0; how <= EDNS; how += EDNS) {
			size_t n = make_query(names[i], T_ANY, how, 1232, pkt);
			job.kind = query_parse(pkt, n, &job.q);
			answer_begin(&e.a, &job);
			answer_fetch(&e.a, &job);
			size_t len = answer_slip(&e.a, &job, out, 512);
			ok(len == n && get_u16(out + 2) == (0x8000 | FLAG_TC) && get_u32(out + 6) == 0 && get_u32(out + 4) == 0x10000 &&
			   get_u16(out + 10) == (how ? 1 : 0), "slip: TC, as long as the query (%s)", names[i]);
		}
	for (unsigned op = 1; op < 16; op++) { /* an UPDATE must not look done */
		size_t n = make_query("www.odd.test.", T_SOA, 0, 512, pkt);
		pkt[2] |= (uint8_t)(op << 3);
		job.kind = query_parse(pkt, n, &job.q);
		answer_begin(&e.a, &job);
		answer_fetch(&e.a, &job);
		answer_slip(&e.a, &job, out, 512);
		unsigned want = op == 4 || op == 5 ? RCODE_REFUSED : RCODE_NOTIMP;
		ok((get_u16(out + 2) & 15) == want && !(get_u16(out + 2) & FLAG_TC), "slip: opcode %u is refused all the same", op);
	}
	e.a.cookie_keys = &key;
	e.a.ncookie_keys = 1;
	e.a.now_s = 1000;
	cookie_answer(&key, 1, (const uint8_t *)"abcdefgh", 8, (const uint8_t *)"\1\2\3\4", 4, 1000, cookie);
	for (unsigned good = 0; good < 2; good++) {
		size_t n = make_query("www.odd.test.", T_A, EDNS, 1232, pkt), clen = good ? COOKIE_LEN : 8;
		put_u16(pkt + n - 2, (uint32_t)clen + 12);
		memcpy(pkt + n, "\0\3\0\0\0\x13\0\0\0\x0a\0", 11);
		pkt[n + 11] = (uint8_t)clen;
		memcpy(pkt + n + 12, good ? cookie : (const uint8_t *)"abcdefgh", clen);
		n += 12 + clen;
		job.kind = query_parse(pkt, n, &job.q);
		job.peer = (const uint8_t *)"\1\2\3\4";
		job.peer_len = 4;
		size_t len = answer_slip(&e.a, &job, out, 512), opt = len - 28 - 11;
		bool bad = !good;
		ok((get_u16(out + 2) & 15) == (bad ? 7 : 0) && out[opt + 5] == (bad ? 1 : 0) && !(out[2] & 2) == bad &&
		   get_u16(out + opt + 9) == 28 && get_u32(out + len - 28) == 0x000a0018 && !memcmp(out + len - 24, cookie, 24),
		   "slip with a cookie that is %s: %s, the cookie and nothing else", good ? "ours" : "new", good ? "TC" : "BADCOOKIE");
		e.a.need_cookie = true;
		answer_begin(&e.a, &job);
		answer_fetch(&e.a, &job);
		answer_finish(&e.a, &job, out, 1232);
		ok(e.a.rcode == (bad ? RCODE_BADCOOKIE : RCODE_NOERROR) && get_u16(out + 6) == (bad ? 0 : 1) && e.a.cookie_good == !bad,
		   "cookies required: %s", bad ? "BADCOOKIE" : "answered");
		e.a.need_cookie = false;
	}
	e.a.need_cookie = true;
	size_t n = make_query("www.odd.test.", T_A, EDNS, 1232, pkt);
	job.kind = query_parse(pkt, n, &job.q);
	answer_begin(&e.a, &job);
	answer_fetch(&e.a, &job);
	answer_finish(&e.a, &job, out, 1232);
	ok(e.a.rcode == RCODE_NOERROR && get_u16(out + 6) == 1, "but not of those who send none");
	static const struct { const char *what; size_t n; unsigned rcode; uint8_t change; } asked[] = {
		{ "none of ours", 8, RCODE_NOERROR, 0 }, { "ours", COOKIE_LEN, RCODE_NOERROR, 0 },
		{ "a bad one", COOKIE_LEN, RCODE_BADCOOKIE, 1 },
	};
	for (size_t i = 0; i < 3; i++) {
		uint8_t q[64] = "\0\7\0\0\0\0\0\0\0\0\0\1\0\0\x29\4\xd0\0\0\0\0\0\0\0\x0a\0";
		q[22] = (uint8_t)(asked[i].n + 4);
		q[26] = (uint8_t)asked[i].n;
		memcpy(q + 27, cookie, COOKIE_LEN);
		q[27 + 20] ^= asked[i].change;
		job.kind = query_parse(q, 27 + asked[i].n, &job.q);
		answer_begin(&e.a, &job);
		answer_fetch(&e.a, &job);
		size_t len = answer_finish(&e.a, &job, out, 512);
		ok(len == 12 + 11 + 28 && e.a.rcode == asked[i].rcode && get_u32(out + 4) == 0 && !memcmp(out + len - 24, cookie, 24),
		   "no question, a cookie that is %s: code %u and the cookie", asked[i].what, e.a.rcode);
	}
	e.a.ncookie_keys = 0;
	answer_finish(&e.a, &job, out, 512);
	ok(e.a.rcode == RCODE_FORMERR, "without cookies: FORMERR");
	teardown(&e);
}

/* Over TCP a set of any size goes through; over UDP it is TC and empty. */
static void test_tcp(void)
{
	static char text[80000];
	size_t at = (size_t)snprintf(text, sizeof text, "$ORIGIN big.\n$TTL 60\n@ SOA @ @ 1 1 1 1 1\n NS ns.far.\n");
	for (unsigned i = 0; i < 1000; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "many MX %u host%u.many\n", i, i);
	struct env e;
	setup(&e);
	add_zone(&e, "big.", text, at);
	uint8_t pkt[512], *out;
	size_t n = make_query("many.big.", T_MX, EDNS, 1232, pkt);
	size_t len = ask(&e, pkt, n, true, &out);
	ok(get_u16(out + 6) == 1000 && !(get_u16(out + 2) & FLAG_TC), "TCP: 1000 records");
	ok(strcmp(render(out, len), "MALFORMED") != 0, "TCP: well-formed");
	free(out);
	len = ask(&e, pkt, n, false, &out);
	ok(get_u16(out + 6) == 0 && (get_u16(out + 2) & FLAG_TC) && len == n, "UDP: TC and nothing of it");
	free(out);
	teardown(&e);
}

int main(void)
{
	if (crypto_init() < 0)
		return 1;
	test_nsec();
	test_nsec3();
	test_odd();
	test_around();
	test_batches();
	test_compression();
	test_damage();
	test_state();
	test_sizes();
	test_limits();
	test_header();
	test_options();
	test_version();
	test_tc();
	test_slip();
	test_tcp();
	return tap_done();
}
