/* pem.c - PEM (RFC 7468) and the two forms of an EC private key, SEC1 (RFC
 * 5915) and PKCS#8 (RFC 5208).  Pure functions over bytes.  The text may hold
 * a private key: no table is indexed by it, and callers keep it in the pool. */
#include "crypto/cert.h"
#include "crypto/internal.h"

#include <errno.h>
#include <string.h>

static const char BEGIN[] = "-----BEGIN ", END[] = "-----END ", DASHES[] = "-----";

/* The next line without its end; false when the text is over. */
static bool next_line(struct rd *text, struct rd *line)
{
	size_t n = rd_left(text), len = 0;

	if (n == 0)
		return false;
	while (len < n && text->p[len] != '\n')
		len++;
	*line = rd_sub(text, len);
	if (len < n)
		(void)rd_u8(text);
	while (rd_left(line) > 0 && (line->end[-1] == '\r' || line->end[-1] == ' ' ||
	                             line->end[-1] == '\t'))
		line->end--;
	return true;
}

/* The label of a line such as -----BEGIN LABEL-----, if it is one. */
static bool marker(const struct rd *line, const char *start, char label[static 32])
{
	size_t n = rd_left(line), head = strlen(start), tail = sizeof DASHES - 1;

	if (n < head + tail + 1 || n - head - tail >= 32 || memcmp(line->p, start, head) != 0 ||
	    memcmp(line->end - tail, DASHES, tail) != 0)
		return false;
	memcpy(label, line->p + head, n - head - tail);
	label[n - head - tail] = 0;
	return true;
}

/* 0..63, or -1. */
static int b64_value(unsigned c)
{
	int v = -1;

	v = c - 'A' < 26 ? (int)(c - 'A') : v;
	v = c - 'a' < 26 ? (int)(c - 'a') + 26 : v;
	v = c - '0' < 10 ? (int)(c - '0') + 52 : v;
	v = c == '+' ? 62 : v;
	return c == '/' ? 63 : v;
}

struct b64 {
	uint32_t bits;
	unsigned have; /* characters in bits, 0..3 */
	unsigned pad;  /* '=' seen; nothing may follow */
};

static bool b64_line(struct b64 *b, const struct rd *line, struct wr *out)
{
	for (const uint8_t *p = line->p; p < line->end; p++) {
		int v = b64_value(*p);

		if (*p == '=' && (b->have == 2 || b->have == 3)) {
			b->pad++, v = 0;
		} else if (v < 0 || b->pad) {
			return false;
		}
		b->bits = b->bits << 6 | (uint32_t)v;
		if (++b->have < 4)
			continue;
		for (unsigned i = 0; i < 3 - b->pad; i++)
			wr_u8(out, b->bits >> (16 - 8 * i) & 0xff);
		b->have = 0, b->bits = 0;
	}
	return !out->bad;
}

int pem_next(struct rd *text, char label[static 32], struct wr *der)
{
	struct rd line;
	struct b64 b = { 0 };
	char ending[32];

	do {
		if (!next_line(text, &line))
			return 0;
	} while (!marker(&line, BEGIN, label));
	while (next_line(text, &line)) {
		if (marker(&line, END, ending))
			return strcmp(label, ending) == 0 && b.have == 0 ? 1 : -1;
		if (!b64_line(&b, &line, der))
			return -1;
	}
	return -1;
}

static char b64_char(unsigned v)
{
	unsigned c = v + 'A';

	c = v >= 26 ? v - 26 + 'a' : c;
	c = v >= 52 ? v - 52 + '0' : c;
	c = v == 62 ? '+' : c;
	return (char)(v == 63 ? '/' : c);
}

void pem_put(struct wr *w, const char *label, const void *der, size_t n)
{
	const uint8_t *p = der;

	wr_bytes(w, BEGIN, strlen(BEGIN));
	wr_bytes(w, label, strlen(label));
	wr_bytes(w, "-----\n", 6);
	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		uint32_t v = (uint32_t)p[i] << 16;

		v |= left > 1 ? (uint32_t)p[i + 1] << 8 : 0;
		v |= left > 2 ? p[i + 2] : 0;
		for (unsigned j = 0; j < 4; j++)
			wr_u8(w, j <= left ? (uint8_t)b64_char(v >> (18 - 6 * j) & 63) : '=');
		if (i % 48 == 45 || left <= 3)
			wr_u8(w, '\n');
	}
	wr_bytes(w, END, strlen(END));
	wr_bytes(w, label, strlen(label));
	wr_bytes(w, "-----\n", 6);
}

static bool holds(const struct rd *r, const void *p, size_t n)
{
	return !r->bad && rd_left(r) == n && memcmp(r->p, p, n) == 0;
}

static const uint8_t P256[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
static const uint8_t EC_KEY[] = { 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01 };

/* ECPrivateKey ::= { 1, OCTET STRING, [0] curve, [1] point }; the last two may
 * be left out within PKCS#8. */
static int sec1_scalar(struct rd r, bool inner, uint8_t x[static 32])
{
	struct rd seq = der_get(&r, 0x30);
	struct rd version = der_get(&seq, 0x02);
	struct rd secret = der_get(&seq, 0x04);

	if (!holds(&version, "\x01", 1) || secret.bad || rd_left(&secret) != 32 || rd_left(&r))
		return -1;
	if (der_next_is(&seq, 0xa0)) {
		struct rd wrap = der_get(&seq, 0xa0);
		struct rd curve = der_get(&wrap, 0x06);

		if (!holds(&curve, P256, sizeof P256))
			return -1;
	} else if (!inner) {
		return -1;
	}
	memcpy(x, secret.p, 32);
	return 0;
}

int pem_scalar(const char *label, const void *der, size_t n, uint8_t x[static 32])
{
	struct rd r = rd_init(der, n);

	if (strcmp(label, "EC PRIVATE KEY") == 0)
		return sec1_scalar(r, false, x);
	if (strcmp(label, "PRIVATE KEY") != 0)
		return -1;
	struct rd seq = der_get(&r, 0x30);
	struct rd version = der_get(&seq, 0x02);
	struct rd alg = der_get(&seq, 0x30);
	struct rd type = der_get(&alg, 0x06);
	struct rd curve = der_get(&alg, 0x06);
	struct rd body = der_get(&seq, 0x04);
	if (!holds(&version, "", 1) || !holds(&type, EC_KEY, sizeof EC_KEY) ||
	    !holds(&curve, P256, sizeof P256) || body.bad)
		return -1;
	return sec1_scalar(body, true, x);
}

int pem_key(const char *label, const void *der, size_t n, const struct pass *pass, uint8_t x[static 32])
{
	if (strcmp(label, "ENCRYPTED PRIVATE KEY") != 0)
		return pem_scalar(label, der, n, x) == 0 ? 0 : (errno = EINVAL, -1);
	uint8_t *plain = pass ? pool_alloc(n) : NULL;
	if (!plain)
		return errno = pass ? ENOMEM : EACCES, -1;
	size_t len = pass->open(der, n, pass, plain);
	int rc = len ? pem_scalar("PRIVATE KEY", plain, len, x) : -1;
	int e = len ? EKEYREJECTED : errno;
	pool_free(plain, n);
	errno = e;
	return rc;
}
