/* cert.c - reading and judging certificates.  Pure functions over bytes, but
 * for the clock; the profile stands in cert.h.
 *
 * Threat: everything parsed here comes from a stranger, before he is known.
 * All views are bounded, nothing is allocated, and what the profile does not
 * say is refused. */
#include "crypto/cert.h"
#include "crypto/internal.h"

#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* The clock is never before this; the Makefile may give a later one. */
#ifndef BUILD_EPOCH
#define BUILD_EPOCH 1767225600 /* 2026-01-01 */
#endif

enum {
	DER_BOOL = 0x01,
	DER_INT = 0x02,
	DER_BITS = 0x03,
	DER_OCTETS = 0x04,
	DER_OID = 0x06,
	DER_UTF8 = 0x0c,
	DER_UTCTIME = 0x17,
	DER_GENTIME = 0x18,
	DER_SEQ = 0x30,
	DER_SET = 0x31,
	DER_URI = 0x86,
	DER_CTX0 = 0xa0,
	DER_CTX3 = 0xa3,
};

/* ---- DER ---- */

/* A definite length in its shortest form, at most 65535. */
static size_t der_len(struct rd *r)
{
	uint8_t b = rd_u8(r);
	size_t n = b;

	if (b == 0x81) {
		n = rd_u8(r);
		if (n < 0x80)
			r->bad = true;
	} else if (b == 0x82) {
		n = rd_u16(r);
		if (n < 0x100)
			r->bad = true;
	} else if (b >= 0x80) {
		r->bad = true;
	}
	return n;
}

struct rd der_get(struct rd *r, uint8_t tag)
{
	if (rd_u8(r) != tag)
		r->bad = true;
	size_t n = der_len(r);
	return rd_sub(r, n);
}

bool der_next_is(const struct rd *r, uint8_t tag)
{
	return rd_left(r) > 0 && *r->p == tag;
}

/* The next element, header included. */
static struct rd der_whole(struct rd *r, uint8_t tag)
{
	const uint8_t *start = r->p;
	struct rd body = der_get(r, tag);

	if (r->bad || body.bad)
		return (struct rd){ .bad = true };
	return rd_init(start, (size_t)(r->p - start));
}

static bool same(const struct rd *a, const void *b, size_t n)
{
	return rd_left(a) == n && !a->bad && memcmp(a->p, b, n) == 0;
}

static bool same_rd(const struct rd *a, const struct rd *b)
{
	return !b->bad && same(a, b->p, rd_left(b));
}

/* ---- names and roles ---- */

const char *cert_role_text(enum cert_role r)
{
	switch (r) {
	case ROLE_HUB:
		return "hub";
	case ROLE_NODE:
		return "node";
	case ROLE_OPERATOR:
		return "operator";
	case ROLE_MACHINE:
		return "machine";
	}
	return "nobody";
}

bool cert_role_parse(const void *p, size_t n, enum cert_role *out)
{
	for (enum cert_role r = ROLE_HUB; r <= ROLE_LAST; r++) {
		const char *t = cert_role_text(r);

		if (strlen(t) == n && memcmp(t, p, n) == 0) {
			*out = r;
			return true;
		}
	}
	return false;
}

bool cert_name_ok(const char *name, size_t n)
{
	if (n == 0 || n >= CERT_NAME)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = name[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '.' || c == '_' || c == '-'))
			return false;
	}
	return true;
}

/* One RDN of one attribute 2.5.4.type; its value. */
static struct rd name_part(struct rd *r, uint8_t type)
{
	const uint8_t oid[3] = { 0x55, 0x04, type };
	struct rd set = der_get(r, DER_SET);
	struct rd seq = der_get(&set, DER_SEQ);
	struct rd id = der_get(&seq, DER_OID);
	struct rd value = der_get(&seq, DER_UTF8);

	if (!same(&id, oid, 3) || rd_left(&set) || rd_left(&seq) || value.bad || set.bad || seq.bad)
		r->bad = true;
	return value;
}

/* O=encdns, OU=, CN=, in this order and nothing else. */
static bool parse_name(const struct rd *whole, struct rd *ou, struct rd *cn)
{
	struct rd r = *whole;
	struct rd seq = der_get(&r, DER_SEQ);
	struct rd o = name_part(&seq, 10);

	*ou = name_part(&seq, 11);
	*cn = name_part(&seq, 3);
	return !seq.bad && rd_left(&seq) == 0 && same(&o, "encdns", 6);
}

/* ---- time ---- */

static int digits(struct rd *r, int n)
{
	int v = 0;

	while (n-- > 0) {
		uint8_t c = rd_u8(r);

		if (c < '0' || c > '9')
			r->bad = true;
		v = v * 10 + (c - '0');
	}
	return r->bad ? 0 : v;
}

/* Days from 1970-01-01 in the Gregorian calendar. */
static int64_t days_of(int year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t m = month > 2 ? month - 3 : month + 9;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

#define CLOCK_AHEAD ((int64_t)20 * 365 * 86400) /* no root lives that long */

static int64_t parse_time(struct rd *r)
{
	static const uint8_t month_days[12] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool utc = der_next_is(r, DER_UTCTIME);
	struct rd t = der_get(r, utc ? DER_UTCTIME : DER_GENTIME);
	int year = utc ? digits(&t, 2) : digits(&t, 4);

	if (utc)
		year += year < 50 ? 2000 : 1900;
	int month = digits(&t, 2);
	int day = digits(&t, 2);
	int hour = digits(&t, 2);
	int minute = digits(&t, 2);
	int second = digits(&t, 2);
	if (rd_u8(&t) != 'Z' || t.bad || rd_left(&t) || month < 1 || month > 12 || day < 1 ||
	    day > month_days[month - 1] || hour > 23 || minute > 59 || second > 59) {
		r->bad = true;
		return 0;
	}
	return days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
}

static _Atomic int64_t newest = BUILD_EPOCH;
static int64_t told, told_at; /* before there are threads; 0: nobody has */

static int64_t counted(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec;
}

int64_t cert_clock(int64_t system, int64_t least)
{
	return system < least || system > least + CLOCK_AHEAD ? least : system;
}

int64_t cert_now(void)
{
	if (told)
		return told + counted() - told_at;
	return cert_clock((int64_t)time(NULL), atomic_load(&newest));
}

void cert_told(int64_t now)
{
	told_at = counted();
	told = now;
	cert_seen(now);
}

void cert_seen(int64_t from)
{
	int64_t had = atomic_load(&newest);

	while (from > had && !atomic_compare_exchange_weak(&newest, &had, from))
		;
}

/* ---- extensions ---- */

struct ext {
	unsigned seen; /* bit of the last octet of 2.5.29.N, minus 14 */
	bool bad;
	bool ca;
	int pathlen;    /* -1: none */
	unsigned usage; /* first octet of keyUsage */
	struct rd uri;  /* the only name in the SAN */
};

enum { EXT_KEY_ID = 14, EXT_USAGE = 15, EXT_SAN = 17, EXT_BASIC = 19, EXT_ISSUER_ID = 35 };

static bool has(const struct ext *e, unsigned n)
{
	return e->seen >> (n - 14) & 1;
}

static bool parse_basic(struct rd v, struct ext *e)
{
	struct rd seq = der_get(&v, DER_SEQ);

	e->pathlen = -1;
	if (der_next_is(&seq, DER_BOOL)) {
		struct rd b = der_get(&seq, DER_BOOL);

		e->ca = true;
		if (rd_u8(&b) != 0xff || b.bad || rd_left(&b))
			return false;
	}
	if (der_next_is(&seq, DER_INT)) {
		struct rd i = der_get(&seq, DER_INT);

		e->pathlen = rd_u8(&i);
		if (i.bad || rd_left(&i) || e->pathlen > 1)
			return false;
	}
	return !v.bad && !seq.bad && !rd_left(&v) && !rd_left(&seq);
}

static bool parse_usage(struct rd v, struct ext *e)
{
	struct rd bits = der_get(&v, DER_BITS);
	uint8_t unused = rd_u8(&bits);

	e->usage = rd_u8(&bits);
	return !v.bad && !bits.bad && !rd_left(&v) && !rd_left(&bits) && unused < 8;
}

static bool parse_san(struct rd v, struct ext *e)
{
	struct rd seq = der_get(&v, DER_SEQ);

	e->uri = der_get(&seq, DER_URI);
	return !v.bad && !seq.bad && !e->uri.bad && !rd_left(&v) && !rd_left(&seq);
}

static void parse_extension(struct rd *r, struct ext *e)
{
	struct rd seq = der_get(r, DER_SEQ);
	struct rd id = der_get(&seq, DER_OID);
	bool critical = false;

	if (der_next_is(&seq, DER_BOOL)) {
		struct rd b = der_get(&seq, DER_BOOL);

		critical = true;
		if (rd_u8(&b) != 0xff || rd_left(&b))
			seq.bad = true;
	}
	struct rd value = der_get(&seq, DER_OCTETS);
	unsigned n = rd_left(&id) == 3 && id.p[0] == 0x55 && id.p[1] == 0x1d ? id.p[2] : 0;

	if (id.bad || seq.bad || value.bad || rd_left(&seq)) {
		e->bad = true;
		return;
	}
	if (n >= 14 && n < 46) {
		if (has(e, n))
			e->bad = true; /* twice */
		e->seen |= 1u << (n - 14);
	}
	if (n == EXT_BASIC)
		e->bad |= !parse_basic(value, e);
	else if (n == EXT_USAGE)
		e->bad |= !parse_usage(value, e);
	else if (n == EXT_SAN)
		e->bad |= !parse_san(value, e);
	else if (critical)
		e->bad = true;
}

static struct ext parse_extensions(struct rd *tbs)
{
	struct ext e = { .pathlen = -1 };
	struct rd wrap = der_get(tbs, DER_CTX3);
	struct rd seq = der_get(&wrap, DER_SEQ);

	while (rd_left(&seq) > 0 && !e.bad)
		parse_extension(&seq, &e);
	if (tbs->bad || wrap.bad || seq.bad || rd_left(&wrap))
		e.bad = true;
	return e;
}

/* ---- a certificate ---- */

/* SEQUENCE { OID ecdsa-with-SHA256 }, without the header */
static const uint8_t ALG[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02 };
/* SubjectPublicKeyInfo's contents before the point: ecPublicKey, prime256v1 */
static const uint8_t SPKI[] = { 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d,
	                        0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
	                        0x03, 0x01, 0x07, 0x03, 0x42, 0x00 };

static void parse_spki(struct rd *tbs, struct cert *c)
{
	struct rd spki = der_get(tbs, DER_SEQ);
	const uint8_t *head = rd_take(&spki, sizeof SPKI);

	c->pub = rd_take(&spki, SIGN_PUB);
	if (!head || !c->pub || memcmp(head, SPKI, sizeof SPKI) != 0 || c->pub[0] != 4 ||
	    rd_left(&spki))
		tbs->bad = true;
}

/* Tells the kind by what the extensions say and checks them and the subject
 * against it; NULL or why not. */
static const char *classify(struct cert *c, const struct ext *e)
{
	enum { SIGN_DATA = 0x80, SIGN_CERT = 0x04 };
	struct rd ou, cn;
	char text[128];

	if (!parse_name(&c->subject, &ou, &cn))
		return "its subject is not one of ours";
	if (!has(e, EXT_USAGE))
		return "it has no key usage";
	if (e->ca) {
		c->kind = e->pathlen == 1 ? CERT_ROOT : CERT_ISSUING;
		if (e->pathlen < 0 || !(e->usage & SIGN_CERT) || (e->usage & SIGN_DATA))
			return "its extensions are not those of a CA of ours";
		if (c->kind == CERT_ROOT) {
			if (!same(&ou, "root", 4) || !same_rd(&c->subject, &c->issuer) ||
			    rd_left(&cn) >= sizeof c->name)
				return "it is not a root of ours";
			memcpy(c->name, cn.p, rd_left(&cn));
			return NULL;
		}
		if (!cert_role_parse(ou.p, rd_left(&ou), &c->role))
			return "its role is unknown";
		return NULL;
	}
	c->kind = CERT_LEAF;
	if (e->usage != SIGN_DATA || e->pathlen >= 0)
		return "its extensions are not those of a party";
	if (!cert_role_parse(ou.p, rd_left(&ou), &c->role))
		return "its role is unknown";
	if (!cert_name_ok((const char *)cn.p, rd_left(&cn)))
		return "its name is not one of ours";
	memcpy(c->name, cn.p, rd_left(&cn));
	const char *parts[] = { "encdns:", cert_role_text(c->role), ":", c->name };
	struct wr w = wr_init(text, sizeof text);
	for (size_t i = 0; i < 4; i++)
		wr_bytes(&w, parts[i], strlen(parts[i]));
	if (!has(e, EXT_SAN) || !same(&e->uri, text, wr_len(&w)))
		return "its alternative name does not agree with its subject";
	return NULL;
}

int cert_parse(const void *der, size_t n, struct cert *out, const char **why)
{
	struct rd all = rd_init(der, n);
	struct rd body = der_get(&all, DER_SEQ);
	struct cert c = { .tbs = der_whole(&body, DER_SEQ) };
	struct rd alg = der_get(&body, DER_SEQ);
	struct rd bits = der_get(&body, DER_BITS);
	uint8_t unused = rd_u8(&bits);
	struct rd view = c.tbs;

	c.sig = bits;
	*why = "it is not a certificate of the form we use";
	if (n > CERT_MAX || body.bad || c.tbs.bad || bits.bad || rd_left(&all) || rd_left(&body) ||
	    unused != 0 || !same(&alg, ALG, sizeof ALG))
		return -1;
	struct rd tbs = der_get(&view, DER_SEQ);
	struct rd wrap = der_get(&tbs, DER_CTX0);
	struct rd version = der_get(&wrap, DER_INT);
	c.serial = der_get(&tbs, DER_INT);
	struct rd inner = der_get(&tbs, DER_SEQ);
	c.issuer = der_whole(&tbs, DER_SEQ);
	struct rd validity = der_get(&tbs, DER_SEQ);
	c.from = parse_time(&validity);
	c.until = parse_time(&validity);
	c.subject = der_whole(&tbs, DER_SEQ);
	parse_spki(&tbs, &c);
	struct ext e = parse_extensions(&tbs);
	if (tbs.bad || validity.bad || rd_left(&validity) || rd_left(&tbs) || e.bad ||
	    !same(&version, "\x02", 1) || rd_left(&wrap) || !same(&inner, ALG, sizeof ALG) ||
	    rd_left(&c.serial) != CERT_SERIAL || c.serial.p[0] == 0 || c.serial.p[0] & 0x80 || c.issuer.bad || c.subject.bad)
		return -1;
	const char *wrong = classify(&c, &e);
	if (wrong) {
		*why = wrong;
		return -1;
	}
	*out = c;
	return 0;
}

/* ---- judging ---- */

bool cert_signed_by(const struct cert *c, const struct cert *by)
{
	uint8_t hash[32], q[SIGN_PUB];
	br_ec_public_key pk = { BR_EC_secp256r1, q, sizeof q };

	if (!same_rd(&c->issuer, &by->subject))
		return false;
	memcpy(q, by->pub, sizeof q);
	sha256(c->tbs.p, rd_left(&c->tbs), hash);
	return br_ecdsa_i31_vrfy_asn1(crypto_ec(), hash, sizeof hash, &pk, c->sig.p,
	                              rd_left(&c->sig)) == 1;
}

const char *cert_judge(const struct cert *leaf, const struct cert *issuing,
                       const struct cert *root, enum cert_role want, int64_t now)
{
	if (leaf->kind != CERT_LEAF || issuing->kind != CERT_ISSUING || root->kind != CERT_ROOT)
		return "the chain is not party, issuing CA, root";
	if (!cert_signed_by(issuing, root))
		return "the issuing CA is not of our root";
	if (!cert_signed_by(leaf, issuing))
		return "the certificate is not signed by its issuing CA";
	if (issuing->role != leaf->role)
		return "the issuing CA may not certify this role";
	if (leaf->role != want)
		return "the certificate is for another role";
	if (now < issuing->from)
		now = issuing->from;
	if (now < leaf->from)
		now = leaf->from;
	if (now > leaf->until)
		return "the certificate has expired";
	if (now > issuing->until)
		return "the issuing CA's certificate has expired";
	if (now > root->until)
		return "the root certificate has expired";
	return NULL;
}
