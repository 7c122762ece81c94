/* issue.c - writing certificates and private keys. */
#include "crypto/issue.h"
#include "base/io.h"
#include "crypto/der.h"
#include "crypto/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- the parts, each from back to front ---- */

static void put_rdn(struct der *d, uint8_t type, const char *text)
{
	const uint8_t oid[3] = { 0x55, 0x04, type };
	size_t m = der_mark(d);

	der_tlv(d, 0x0c, text, strlen(text));
	der_tlv(d, 0x06, oid, sizeof oid);
	der_head(d, 0x30, m);
	der_head(d, 0x31, m);
}

static void put_subject(struct der *d, const struct issue *i)
{
	size_t m = der_mark(d);
	char ca[64];

	snprintf(ca, sizeof ca, "%s issuing CA", cert_role_text(i->role));
	put_rdn(d, 3, i->kind == CERT_ISSUING ? ca : i->name);
	put_rdn(d, 11, i->kind == CERT_ROOT ? "root" : cert_role_text(i->role));
	put_rdn(d, 10, "encdns");
	der_head(d, 0x30, m);
}

/* UTCTime to 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5). */
static void put_time(struct der *d, int64_t at)
{
	time_t t = (time_t)at;
	struct tm tm;
	char text[32];

	if (at < 946684800 || at > 253402300799 || !gmtime_r(&t, &tm)) {
		d->bad = true;
		return;
	}
	bool utc = tm.tm_year < 150;
	strftime(text, sizeof text, "%Y%m%d%H%M%SZ", &tm);
	const char *from = utc ? text + 2 : text; /* the year's last two digits */
	der_tlv(d, utc ? 0x17 : 0x18, from, strlen(from));
}

/* The value is what was put since `since`; wraps it up as extension 2.5.29.n. */
static void wrap_ext(struct der *d, uint8_t n, bool critical, size_t since)
{
	const uint8_t oid[3] = { 0x55, 0x1d, n };

	der_head(d, 0x04, since);
	if (critical)
		der_put(d, "\x01\x01\xff", 3);
	der_tlv(d, 0x06, oid, sizeof oid);
	der_head(d, 0x30, since);
}

static void key_id(const uint8_t pub[static SIGN_PUB], uint8_t out[static CERT_ID])
{
	uint8_t hash[32];

	sha256(pub, SIGN_PUB, hash);
	memcpy(out, hash, CERT_ID);
}

static void put_basic(struct der *d, enum cert_kind kind)
{
	size_t m = der_mark(d);
	uint8_t pathlen = kind == CERT_ROOT;

	if (kind != CERT_LEAF) {
		der_tlv(d, 0x02, &pathlen, 1);
		der_put(d, "\x01\x01\xff", 3);
	}
	der_head(d, 0x30, m);
	wrap_ext(d, 19, true, m);
}

static void put_leaf_exts(struct der *d, const struct issue *i)
{
	/* serverAuth, clientAuth: parties are both */
	static const uint8_t eku[] = { 0x30, 0x14, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05,
		                       0x05, 0x07, 0x03, 0x01, 0x06, 0x08, 0x2b, 0x06,
		                       0x01, 0x05, 0x05, 0x07, 0x03, 0x02 };
	char uri[128];
	size_t m = der_mark(d);

	der_put(d, eku, sizeof eku);
	wrap_ext(d, 37, false, m);
	m = der_mark(d);
	snprintf(uri, sizeof uri, "encdns:%s:%s", cert_role_text(i->role), i->name);
	der_tlv(d, 0x86, uri, strlen(uri));
	der_head(d, 0x30, m);
	wrap_ext(d, 17, false, m);
}

static void put_extensions(struct der *d, const struct issue *i,
                           const uint8_t pub[static SIGN_PUB],
                           const uint8_t issuer_pub[static SIGN_PUB])
{
	uint8_t id[CERT_ID];
	size_t all = der_mark(d), m;

	if (i->kind == CERT_LEAF)
		put_leaf_exts(d, i);
	m = der_mark(d);
	key_id(issuer_pub, id);
	der_tlv(d, 0x80, id, sizeof id);
	der_head(d, 0x30, m);
	wrap_ext(d, 35, false, m);
	m = der_mark(d);
	key_id(pub, id);
	der_tlv(d, 0x04, id, sizeof id);
	wrap_ext(d, 14, false, m);
	m = der_mark(d);
	if (i->kind == CERT_LEAF)
		der_put(d, "\x03\x02\x07\x80", 4); /* digitalSignature */
	else
		der_put(d, "\x03\x02\x01\x06", 4); /* keyCertSign, cRLSign */
	wrap_ext(d, 15, true, m);
	put_basic(d, i->kind);
	der_head(d, 0x30, all);
	der_head(d, 0xa3, all);
}

static void put_spki(struct der *d, const uint8_t pub[static SIGN_PUB])
{
	static const uint8_t ids[] = { 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48,
		                       0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
		                       0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
	size_t m = der_mark(d), bits = der_mark(d);

	der_put(d, pub, SIGN_PUB);
	der_byte(d, 0);
	der_head(d, 0x03, bits);
	der_put(d, ids, sizeof ids);
	der_head(d, 0x30, m);
}

/* ecdsa-with-SHA256 */
static const uint8_t ALG[] = { 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86,
	                       0x48, 0xce, 0x3d, 0x04, 0x03, 0x02 };

void issue_serial(uint8_t serial[static CERT_SERIAL])
{
	crypto_random(serial, CERT_SERIAL);
	serial[0] = (serial[0] & 0x3f) | 0x40;
}

static void put_tbs(struct der *d, const struct issue *i, const uint8_t pub[static SIGN_PUB],
                    const uint8_t issuer_pub[static SIGN_PUB], const struct cert *issuer)
{
	size_t all = der_mark(d), m;

	put_extensions(d, i, pub, issuer_pub);
	put_spki(d, pub);
	put_subject(d, i);
	m = der_mark(d);
	put_time(d, i->until);
	put_time(d, i->from);
	der_head(d, 0x30, m);
	if (issuer)
		der_put(d, issuer->subject.p, rd_left(&issuer->subject));
	else
		put_subject(d, i);
	der_put(d, ALG, sizeof ALG);
	der_tlv(d, 0x02, i->serial, sizeof i->serial);
	der_put(d, "\xa0\x03\x02\x01\x02", 5); /* v3 */
	der_head(d, 0x30, all);
}

size_t issue_cert(uint8_t out[static CERT_MAX], const struct issue *i,
                  const uint8_t pub[static SIGN_PUB], const struct signer *by,
                  const struct cert *issuer)
{
	uint8_t tbs[CERT_MAX], whole[CERT_MAX], sig[80];
	struct der t = { tbs, tbs + sizeof tbs, tbs + sizeof tbs, false };
	struct der w = { whole, whole + sizeof whole, whole + sizeof whole, false };

	if (i->kind == CERT_LEAF && !cert_name_ok(i->name, strlen(i->name)))
		return 0;
	put_tbs(&t, i, pub, by->pub, issuer);
	if (t.bad || signer_sign(by, t.p, der_mark(&t), sig) != 0)
		return 0;
	size_t n = br_ecdsa_raw_to_asn1(sig, SIGN_SIG);
	der_put(&w, sig, n);
	der_byte(&w, 0);
	der_head(&w, 0x03, 0);
	der_put(&w, ALG, sizeof ALG);
	der_put(&w, t.p, der_mark(&t));
	der_head(&w, 0x30, 0);
	if (w.bad)
		return 0;
	memcpy(out, w.p, der_mark(&w));
	return der_mark(&w);
}

/* ---- private keys ---- */

enum { KEY_TEXT = 512, KEY_FILE = 8192 };

/* ECPrivateKey (RFC 5915); within PKCS#8 the curve is said outside. */
static void put_sec1(struct der *d, const struct signer *s, bool inner)
{
	static const uint8_t curve[] = { 0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86,
		                         0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
	size_t all = der_mark(d);

	der_put(d, s->pub, SIGN_PUB);
	der_byte(d, 0);
	der_head(d, 0x03, all);
	der_head(d, 0xa1, all);
	if (!inner)
		der_put(d, curve, sizeof curve);
	der_tlv(d, 0x04, s->x, sizeof s->x);
	der_put(d, "\x02\x01\x01", 3);
	der_head(d, 0x30, all);
}

/* PrivateKeyInfo (RFC 5208). */
static void put_pkcs8(struct der *d, const struct signer *s)
{
	static const uint8_t head[] = { 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
		                        0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };

	put_sec1(d, s, true);
	der_head(d, 0x04, 0);
	der_put(d, head, sizeof head);
	der_head(d, 0x30, 0);
}

static void put_key(struct wr *w, const struct signer *s, const struct pass *pass, uint8_t *der, uint8_t *plain)
{
	struct der d = { der, der + KEY_TEXT, der + KEY_TEXT, false };
	struct der p = { plain, plain + KEY_TEXT, plain + KEY_TEXT, false };

	if (pass) {
		put_pkcs8(&p, s);
		pass->put(&d, pass, p.p, der_mark(&p));
	} else {
		put_sec1(&d, s, false);
	}
	pem_put(w, pass ? "ENCRYPTED PRIVATE KEY" : "EC PRIVATE KEY", d.p, der_mark(&d));
	w->bad |= d.bad || p.bad;
}

int issue_key_write(const struct signer *s, int fd) { return issue_key_seal(s, NULL, fd); }

int issue_key_seal(const struct signer *s, const struct pass *pass, int fd)
{
	uint8_t *text = pool_alloc(3 * KEY_TEXT);
	int rc = -1;

	if (!text)
		return -1;
	struct wr w = wr_init(text, KEY_TEXT);
	put_key(&w, s, pass, text + KEY_TEXT, text + 2 * KEY_TEXT);
	if (w.bad)
		errno = ENOMEM;
	else
		rc = io_write_all(fd, text, wr_len(&w));
	int e = errno;
	pool_free(text, 3 * KEY_TEXT);
	errno = e;
	return rc;
}

struct signer *issue_key_read(int fd) { return issue_key_open(fd, NULL); }

struct signer *issue_key_open(int fd, const struct pass *pass)
{
	uint8_t *text = pool_alloc(KEY_FILE), *der = pool_alloc(CERT_MAX), x[32];
	struct signer *s = NULL;
	ssize_t n = text && der ? crypto_read_all(fd, text, KEY_FILE) : -1;
	char label[32];
	int e = n < 0 ? errno : EINVAL;

	if (n >= 0) {
		struct rd r = rd_init(text, (size_t)n);
		struct wr w = wr_init(der, CERT_MAX);

		while (!s && pem_next(&r, label, &w) == 1) {
			if (pem_key(label, der, wr_len(&w), pass, x) == 0)
				s = signer_from_scalar(x);
			else if (errno != EINVAL)
				e = errno;
			w = wr_init(der, CERT_MAX);
		}
	}
	crypto_wipe(x, sizeof x);
	pool_free(text, KEY_FILE);
	pool_free(der, CERT_MAX);
	errno = e;
	return s;
}
