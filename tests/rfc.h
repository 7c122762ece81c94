/* rfc.h - answers judged by the RFCs' own examples: tests/rfc, one file an RFC.
 * Who includes it says what the zones are served from.
 *
 *   == zone NAME        a zone that is served, as a master file; the first one
 *                       behind a question begins with a new, empty server
 *   == TITLE            a question and the whole response, as the RFCs write it:
 *   ;; Header: WORDS    of the response: QR AA TC RD AD CD DO EDNS RCODE=n
 *   ;; Query: WORDS     of the query, if it is not plain: RD AD CD TCP SIZE=n;
 *                       it has DO or EDNS when the response has
 *   ;; Question         one line: NAME CLASS TYPE
 *   ;; Answer, ;; Authority, ;; Additional
 *                       records as in a master file; a section is a set
 *   ;; Left out         what the RFC shows in its response and we never send
 *
 * Names are relative to the last zone's, TTLs are 3600 unless they are written.
 * Compared are the whole header, the question, and of each record owner, type,
 * class, TTL and uncompressed rdata.  The name asked for keeps its case wherever
 * it is an owner. */
#ifndef TESTS_RFC_H
#define TESTS_RFC_H

#include "dns/answer.h"
#include "hub/zone.h"
#include "tests/tap.h"

#include <stdlib.h>

/* ---- of the one who includes this ---- */
static const struct store_map *served_new(void);  /* nothing is served yet */
static bool served_add(struct zone *z);           /* frees it; NULL: false */
static void served_free(void);

#define RECORDS 256
#define TEXT_MAX (1u << 20)

enum { QUESTION, ANSWER, AUTHORITY, ADDITIONAL, LEFT_OUT, NSECTIONS };

/* A piece of the file. */
struct piece { const char *p; size_t n; };

struct example {
	char title[256];
	struct piece header, query, section[NSECTIONS];
	bool have; /* a question */
};

/* A record as octets: owner, type16, class16, ttl32, rdata. */
struct rec { uint8_t *p; size_t n; };
struct set { struct rec rec[RECORDS]; size_t n; };

struct server {
	struct answer a;
	void *mem;
	uint8_t origin[NAME_MAX_LEN];
	bool asked;
};

static void server_new(struct server *s)
{
	s->mem = malloc(ANSWER_SCRATCH);
	s->asked = false;
	answer_init(&s->a, served_new(), s->mem, ANSWER_SCRATCH, calloc(1, sizeof(struct store_memo)), 4096);
}

static void server_free(struct server *s)
{
	served_free();
	free(s->a.scratch.memo);
	free(s->mem);
}

/* ---- sets of records ---- */

/* Names that may be compressed may have lost their case: their octets are then
 * those of an earlier name (RFC 1035 section 4.1.4). */
static void fold(uint16_t type, uint8_t *rdata)
{
	for (const char *f = rr_type_names(type); f && *f && *f != 's' && *f != 'N'; f++)
		rdata += *f == 'n' ? name_lower(rdata, rdata) : (size_t)(*f - '0');
}

static void set_add(struct set *s, const uint8_t *owner, uint16_t type, uint16_t class, uint32_t ttl,
                    const uint8_t *rdata, size_t n)
{
	size_t own = name_len(owner);
	uint8_t *p = malloc(own + 8 + n);
	if (!p || s->n == RECORDS)
		abort();
	name_lower(p, owner);
	put_u16(p + own, type);
	put_u16(p + own + 2, class);
	put_u32(p + own + 4, ttl);
	memcpy(p + own + 8, rdata, n);
	fold(type, p + own + 8);
	s->rec[s->n++] = (struct rec){ p, own + 8 + n };
}

static void set_free(struct set *s)
{
	while (s->n)
		free(s->rec[--s->n].p);
}

static int rec_cmp(const void *a, const void *b)
{
	const struct rec *x = a, *y = b;
	int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
	return c ? c : (x->n > y->n) - (x->n < y->n);
}

static bool set_equal(struct set *a, struct set *b)
{
	qsort(a->rec, a->n, sizeof *a->rec, rec_cmp);
	qsort(b->rec, b->n, sizeof *b->rec, rec_cmp);
	bool same = a->n == b->n;
	for (size_t i = 0; same && i < a->n; i++)
		same = rec_cmp(&a->rec[i], &b->rec[i]) == 0;
	return same;
}

/* The records of a that are not in b. */
static void set_show(const char *what, const struct set *a, const struct set *b)
{
	for (size_t i = 0; i < a->n; i++) {
		bool in = false;
		for (size_t k = 0; k < b->n; k++)
			in |= rec_cmp(&a->rec[i], &b->rec[k]) == 0;
		if (in)
			continue;
		char text[NAME_TEXT_MAX], type[12];
		const uint8_t *p = a->rec[i].p, *q = p + name_len(p);
		printf("# %s: %s %u CLASS%u %s", what, name_text(p, text), get_u32(q + 4), get_u16(q + 2),
		       rr_type_text(get_u16(q), type));
		for (q += 8; q < p + a->rec[i].n && q < p + 60; q++)
			printf(" %02x", *q);
		putchar('\n');
	}
}

static const char *take_wanted(void *ctx, const struct master_rr *rr)
{
	set_add(ctx, rr->owner, rr->type, CLASS_IN, rr->ttl, rr->rdata, rr->len);
	return NULL;
}

static void say(void *ctx, bool error, const char *file, unsigned line, const char *text)
{
	(void)ctx, (void)file;
	if (error)
		printf("# line %u: %s\n", line, text);
}
static const struct zone_report report = { say, NULL, NULL };

/* Text with the TTL of all examples in front, on the same line. */
static size_t with_ttl(struct piece t, char *out)
{
	return (size_t)snprintf(out, TEXT_MAX, "$TTL 3600\n%.*s", (int)t.n, t.p);
}

static bool set_read(struct piece t, const uint8_t *origin, struct set *out)
{
	static char text[TEXT_MAX];
	const struct master_sink sink = { take_wanted, out, &report };
	out->n = 0;
	return t.n == 0 || master_read_text(text, with_ttl(t, text), "example", origin, &sink) == 0;
}

/* ---- responses ---- */

/* Uncompresses an rdata; only the types of RFC 1035 may be compressed (RFC 3597
 * section 4).  Returns its length, 0 when it is malformed. */
static size_t rdata_expand(const uint8_t *msg, size_t len, size_t at, size_t n, uint16_t type, uint8_t *out)
{
	size_t to = at + n, w = 0;
	for (const char *f = rr_type_names(type); f && *f && at < to; f++) {
		if (*f == 'n') {
			size_t m = name_unpack(msg, len, &at, out + w);
			if (m == 0 || at > to)
				return 0;
			w += m;
			continue;
		}
		size_t m = *f == 'N' ? name_measure(msg + at, to - at) : *f == 's' ? msg[at] + 1u : (size_t)(*f - '0');
		if (m == 0 || m > to - at)
			return 0;
		memcpy(out + w, msg + at, m);
		w += m;
		at += m;
	}
	memcpy(out + w, msg + at, to - at);
	return w + to - at;
}

/* What a response says besides its records. */
struct seen {
	struct set section[4]; /* by enum section */
	const uint8_t *qname;    /* in the question's case */
	bool opt, dnssec_ok;
	unsigned rcode;
};

static bool take_rr(const uint8_t *msg, size_t len, size_t *off, unsigned sec, struct seen *out)
{
	static uint8_t rdata[65536 + NAME_MAX_LEN];
	uint8_t owner[NAME_MAX_LEN];
	if (!name_unpack(msg, len, off, owner))
		return false;
	struct rd r = rd_init(msg + *off, len - *off);
	uint16_t type = rd_u16(&r);
	uint16_t class = rd_u16(&r);
	uint32_t ttl = rd_u32(&r);
	size_t n = rd_u16(&r), at = *off + 10;
	if (!rd_take(&r, n))
		return false;
	*off = at + n;
	if (type == T_OPT) {
		bool good = !out->opt && sec == SEC_ADDITIONAL && *owner == 0 && class == 4096;
		out->opt = true;
		out->dnssec_ok = ttl & 0x8000;
		out->rcode |= ttl >> 24 << 4;
		return good && (ttl & 0x00ff7fff) == 0;
	}
	size_t w = rdata_expand(msg, len, at, n, type, rdata);
	if (name_equal(owner, out->qname) && memcmp(owner, out->qname, name_len(owner)) != 0)
		w = 0;
	if (w)
		set_add(&out->section[sec], owner, type, class, ttl, rdata, w);
	return w != 0;
}

static bool take_response(const uint8_t *msg, size_t len, size_t question, struct seen *out)
{
	size_t off = DNS_HEAD + question;
	out->qname = msg + DNS_HEAD;
	out->rcode = msg[3] & 15;
	for (unsigned sec = SEC_ANSWER; sec <= SEC_ADDITIONAL; sec++)
		for (unsigned i = get_u16(msg + 4 + 2 * sec); i > 0; i--)
			if (!take_rr(msg, len, &off, sec, out))
				return false;
	return off == len && get_u16(msg + 4) == 1;
}

/* ---- one example ---- */

static bool word(struct piece t, const char *w)
{
	size_t n = strlen(w);
	for (size_t i = 0; i + n <= t.n; i++)
		if (!memcmp(t.p + i, w, n) && (i == 0 || t.p[i - 1] == ' ') && (i + n == t.n || t.p[i + n] == ' '))
			return true;
	return false;
}

static unsigned number(struct piece t, const char *key, unsigned none)
{
	size_t n = strlen(key);
	for (size_t i = 0; i + n < t.n; i++)
		if (!memcmp(t.p + i, key, n))
			return (unsigned)strtoul(t.p + i + n, NULL, 10);
	return none;
}

static unsigned flag_words(struct piece t)
{
	static const struct { const char *word; unsigned flag; } flags[] = {
		{ "QR", 0x8000 }, { "AA", FLAG_AA }, { "TC", FLAG_TC }, { "RD", 0x0100 },
		{ "RA", 0x0080 }, { "AD", 0x0020 }, { "CD", 0x0010 },
	};
	unsigned f = 0;
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		f |= word(t, flags[i].word) ? flags[i].flag : 0;
	return f;
}

static int class_of(const char *text)
{
	static const struct { const char *text; int class; } classes[] = {
		{ "IN", 1 }, { "CH", 3 }, { "HS", 4 }, { "NONE", 254 }, { "ANY", 255 },
	};
	for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
		if (strcmp(text, classes[i].text) == 0)
			return classes[i].class;
	return -1;
}

/* The query's packet; 0: the question does not read.  *question: its octets. */
static size_t make_query(const struct example *e, const uint8_t *origin, uint8_t pkt[static 512], size_t *question)
{
	char line[1100], name[1024], class[16], type[16];
	uint8_t wire[NAME_MAX_LEN];
	struct piece t = e->section[QUESTION];
	snprintf(line, sizeof line, "%.*s", (int)(t.n < sizeof line ? t.n : sizeof line - 1), t.p);
	if (sscanf(line, "%1023s %15s %15s", name, class, type) != 3)
		return 0;
	size_t n = strcmp(name, "@") == 0 ? (memcpy(wire, origin, name_len(origin)), name_len(origin))
	                                  : name_parse(name, strlen(name), origin, wire);
	int t16 = rr_type_parse(type, strlen(type)), c16 = class_of(class);
	if (n == 0 || t16 < 0 || c16 < 0)
		return 0;
	bool dnssec_ok = word(e->header, "DO"), edns = dnssec_ok || word(e->header, "EDNS");
	struct wr w = wr_init(pkt, 512);
	wr_u16(&w, 0x1d5e);
	wr_u16(&w, flag_words(e->query));
	wr_u16(&w, 1);
	wr_u32(&w, 0);
	wr_u16(&w, edns);
	wr_bytes(&w, wire, n);
	wr_u16(&w, (uint32_t)t16);
	wr_u16(&w, (uint32_t)c16);
	*question = n + 4;
	if (edns) {
		wr_u8(&w, 0);
		wr_u16(&w, T_OPT);
		wr_u16(&w, number(e->query, "SIZE=", 4096));
		wr_u32(&w, dnssec_ok ? 0x8000 : 0);
		wr_u16(&w, 0);
	}
	return wr_len(&w);
}

/* Compares, and says what is different. */
static bool judge(const struct example *e, const uint8_t *origin, const uint8_t *pkt, size_t question,
                  const uint8_t *msg, size_t len)
{
	static const char *const names[] = { "", "answer", "authority", "additional" };
	static struct seen got;
	static struct set want;
	bool good = true;
	memset(&got, 0, sizeof got);
	if (!take_response(msg, len, question, &got) || memcmp(msg + DNS_HEAD, pkt + DNS_HEAD, question) != 0 ||
	    memcmp(msg, pkt, 2) != 0) {
		printf("# malformed, or of another question\n");
		good = false;
	}
	unsigned flags = flag_words(e->header), rcode = number(e->header, "RCODE=", 99);
	if ((get_u16(msg + 2) & 0xfff0u) != flags || got.rcode != rcode) {
		printf("# flags: %04x, not %04x; rcode: %u, not %u\n", get_u16(msg + 2) & 0xfff0u, flags, got.rcode, rcode);
		good = false;
	}
	if (got.dnssec_ok != word(e->header, "DO") || got.opt != (got.dnssec_ok || word(e->header, "EDNS"))) {
		printf("# OPT\n");
		good = false;
	}
	for (unsigned i = SEC_ANSWER; i <= SEC_ADDITIONAL; i++) {
		bool read = set_read(e->section[i], origin, &want);
		if (!read || !set_equal(&got.section[i], &want)) {
			printf("# %s:\n", names[i]);
			set_show("missing", &want, &got.section[i]);
			set_show("too much", &got.section[i], &want);
			good = false;
		}
		set_free(&want);
		set_free(&got.section[i]);
	}
	return good;
}

static void run(struct server *s, const char *file, struct example *e)
{
	static struct answer_job job;
	uint8_t pkt[512];
	size_t question = 0;
	if (!e->have)
		return;
	e->have = false;
	s->asked = true;
	size_t n = make_query(e, s->origin, pkt, &question);
	if (n == 0) {
		ok(false, "%s %s: a question", file, e->title);
		return;
	}
	job.kind = query_parse(pkt, n, &job.q);
	answer_view(&s->a);
	answer_begin(&s->a, &job);
	answer_fetch(&s->a, &job);
	size_t max = answer_limit(&s->a, &job.q, word(e->query, "TCP"));
	uint8_t *out = malloc(max);
	size_t len = answer_finish(&s->a, &job, out, max);
	ok(judge(e, s->origin, pkt, question, out, len), "%s %s", file, e->title);
	free(out);
}

/* ---- files ---- */

static bool begins(struct piece line, const char *with, struct piece *rest)
{
	size_t n = strlen(with);
	if (line.n < n || memcmp(line.p, with, n) != 0)
		return false;
	*rest = (struct piece){ line.p + n, line.n - n };
	while (rest->n && *rest->p == ' ')
		rest->p++, rest->n--;
	return true;
}

static void add_zone(struct server *s, const char *file, struct piece text)
{
	static char buf[TEXT_MAX];
	char name[NAME_TEXT_MAX];
	size_t n = with_ttl(text, buf);
	if (!served_add(zone_load_text(s->origin, buf, n, &report)))
		ok(false, "%s: zone %s is read", file, name_text(s->origin, name));
}

/* Which section a line begins, or -1. */
static int section_of(struct piece line)
{
	static const char *const heads[] = { ";; Question", ";; Answer", ";; Authority", ";; Additional", ";; Left out" };
	struct piece rest;
	for (int i = 0; i < NSECTIONS; i++)
		if (begins(line, heads[i], &rest) && (rest.n == 0 || i == LEFT_OUT))
			return i;
	return -1;
}

static void run_text(const char *file, const char *text, size_t n)
{
	static struct server s;
	struct example e = { .have = false };
	struct piece zone = { NULL, 0 }, *open = NULL, line, rest;
	server_new(&s);
	for (const char *p = text, *end = text + n; p < end; p = line.p + line.n + 1) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));
		line = (struct piece){ p, (size_t)((nl ? nl : end) - p) };
		int sec = section_of(line);
		if (sec >= 0) {
			open = &e.section[sec];
			*open = (struct piece){ line.p + line.n, 0 };
		} else if (begins(line, "==", &rest)) {
			if (zone.p)
				add_zone(&s, file, zone);
			run(&s, file, &e);
			zone.p = NULL;
			open = NULL;
			e = (struct example){ .have = !begins(line, "== zone ", &rest) };
			if (e.have) {
				snprintf(e.title, sizeof e.title, "%.*s", (int)rest.n, rest.p);
			} else {
				if (s.asked) {
					server_free(&s);
					server_new(&s);
				}
				name_parse(rest.p, rest.n, NULL, s.origin);
				zone = (struct piece){ line.p + line.n, 0 };
				open = &zone;
			}
		} else if (begins(line, ";; Header:", &rest)) {
			e.header = rest;
		} else if (begins(line, ";; Query:", &rest)) {
			e.query = rest;
		} else if (open) {
			open->n = (size_t)(line.p + line.n - open->p);
		}
	}
	run(&s, file, &e);
	server_free(&s);
}

static void run_file(const char *name)
{
	static char text[TEXT_MAX];
	char path[64];
	snprintf(path, sizeof path, "tests/rfc/%s.txt", name);
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
	if (f)
		fclose(f);
	text[n] = 0;
	unsigned before = tap_run;
	if (n)
		run_text(name, text, n);
	if (tap_run == before)
		ok(false, "%s has examples", path);
}

/* Behind crypto_init(). */
static int rfc_examples(void)
{
	static const char *const files[] = { "2308", "4035", "4592", "5155", "6672", "8482", "9460", "9471", "edge" };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		run_file(files[i]);
	return tap_done();
}

#endif
