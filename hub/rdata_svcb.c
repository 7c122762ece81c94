/* rdata_svcb.c - the keys of SVCB and HTTPS (RFC 9460).  Contract in rdata_internal.h.
 *
 * As text they come in any order; as octets they rise, so each is put in its place
 * as it is read.  What holds between keys is looked for in the octets only.
 * Withstands keys that nobody knows: their values are octets without a meaning. */
#include "hub/rdata_internal.h"

enum { K_MANDATORY, K_ALPN, K_NO_DEFAULT_ALPN, K_PORT, K_IPV4HINT, K_ECH, K_IPV6HINT, K_DOHPATH, K_OHTTP,
       K_GROUPS };
static const char *const svc_keys[] = { "mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech",
	                                "ipv6hint", "dohpath", "ohttp", "tls-supported-groups" };

/* ---- as text (RFC 9460 section 2.1 and appendix A) ---- */

/* A key's number, -1 if it is none; *raw: it was given as keyNNNNN. */
static int svc_key(const char *s, size_t n, bool *raw)
{
	uint64_t v;
	*raw = false;
	for (unsigned k = 0; k < sizeof svc_keys / sizeof *svc_keys; k++)
		if (text_same(s, n, svc_keys[k]))
			return (int)k;
	if (n < 4 || !text_same(s, 3, "key") || (n > 4 && s[3] == '0'))
		return -1;
	*raw = true;
	return text_number(s + 3, n - 3, 65534, &v) ? (int)v : -1;
}

/* The next item of a comma-separated list, "\," and "\\" undone in place.
 * Returns the octets behind it, or NULL at the end; *n is the item's length. */
static uint8_t *list_item(uint8_t *at, uint8_t *end, size_t *n)
{
	uint8_t *out = at, *p = at;
	if (at > end)
		return NULL;
	while (p < end && *p != ',') {
		if (*p == '\\' && p + 1 < end)
			p++;
		*out++ = *p++;
	}
	*n = (size_t)(out - at);
	return p + 1; /* one past the end when this was the last */
}

static bool put_svc_item(struct parse *p, int key, const char *s, size_t n)
{
	uint8_t a[16];
	bool raw;
	int k;
	uint64_t v;
	switch (key) {
	case K_MANDATORY:
		k = svc_key(s, n, &raw);
		if (k < 0)
			return rdata_wrong(p, "a list of SVCB keys");
		wr_u16(&p->w, (uint32_t)k);
		return true;
	case K_ALPN:
		if (n == 0 || n > 255)
			return rdata_wrong(p, "a list of protocols (1 to 255 octets each)");
		wr_u8(&p->w, (unsigned)n);
		wr_bytes(&p->w, s, n);
		return true;
	case K_IPV4HINT:
		if (!text_ip4(s, n, a))
			return rdata_wrong(p, "a list of IPv4 addresses");
		wr_bytes(&p->w, a, 4);
		return true;
	case K_IPV6HINT:
		if (!text_ip6(s, n, a))
			return rdata_wrong(p, "a list of IPv6 addresses");
		wr_bytes(&p->w, a, 16);
		return true;
	default: /* K_PORT, K_GROUPS */
		if (!text_number(s, n, 65535, &v))
			return rdata_wrong(p, "a number (0-65535)");
		wr_u16(&p->w, (uint32_t)v);
		return true;
	}
}

/* The keys of "mandatory" go in rising order. */
static void sort_keys(uint8_t *p, size_t n)
{
	for (size_t i = 2; i < n; i += 2)
		for (size_t j = i; j && get_u16(p + j) < get_u16(p + j - 2); j -= 2) {
			uint16_t k = get_u16(p + j);
			put_u16(p + j, get_u16(p + j - 2));
			put_u16(p + j - 2, k);
		}
}

/* val[0..n): the value, escapes of the string undone. */
static bool put_svc_value(struct parse *p, int key, bool raw, uint8_t *val, size_t n)
{
	struct base64 b = { 0 };
	uint8_t *start = p->w.p;
	if (raw || key > K_GROUPS || key == K_DOHPATH) {
		wr_bytes(&p->w, val, n);
		return true;
	}
	if (key == K_NO_DEFAULT_ALPN || key == K_OHTTP)
		return n == 0 ? true : rdata_wrong(p, "a key without a value");
	if (key == K_ECH) {
		if (!text_base64(&b, (const char *)val, n, &p->w) || !text_base64_end(&b, &p->w))
			return rdata_wrong(p, "base64");
		return true;
	}
	if (key == K_PORT)
		return put_svc_item(p, key, (const char *)val, n);
	size_t len;
	for (uint8_t *item = val, *next; (next = list_item(item, val + n, &len)); item = next)
		if (!put_svc_item(p, key, (const char *)item, len))
			return false;
	if (key == K_MANDATORY && !p->w.bad)
		sort_keys(start, (size_t)(p->w.p - start));
	return true;
}

static void reverse(uint8_t *a, uint8_t *b)
{
	while (a + 1 < b) {
		uint8_t c = *a;
		*a++ = *--b;
		*b = c;
	}
}

/* [from, end) is sorted by key but for the parameter at `last`: puts it in its place. */
static bool place_param(uint8_t *from, uint8_t *last, uint8_t *end)
{
	uint8_t *at = from;
	uint16_t key = get_u16(last);
	while (at < last && get_u16(at) < key)
		at += 4 + get_u16(at + 2);
	if (at < last && get_u16(at) == key)
		return false;
	reverse(at, last);
	reverse(last, end);
	reverse(at, end);
	return true;
}

static bool put_svc_param(struct parse *p, uint8_t *first)
{
	uint8_t val[RDATA_MAX] RAW;
	const char *s = p->x->word, *eq = memchr(s, '=', p->x->n);
	size_t klen = eq ? (size_t)(eq - s) : p->x->n, vlen = eq ? p->x->n - klen - 1 : 0;
	bool raw;
	int key = svc_key(s, klen, &raw);
	if (key < 0)
		return rdata_wrong(p, "an SVCB key");
	const char *text = eq ? eq + 1 : s;
	if (vlen >= 2 && text[0] == '"') {
		text++;
		vlen -= 2;
	}
	int n = text_unescape(text, vlen, val, sizeof val);
	if (n < 0)
		return rdata_wrong(p, "a key with a value of good escapes");
	uint8_t *start = p->w.p, *head = wr_take(&p->w, 4);
	if (!head || !put_svc_value(p, key, raw, val, (size_t)n) || p->w.bad)
		return p->w.bad ? rdata_fail(p, "the record is over %d octets", RDATA_MAX) : false;
	put_u16(head, (uint32_t)key);
	put_u16(head + 2, (uint32_t)(p->w.p - head - 4));
	return place_param(first, start, p->w.p) ? true : rdata_wrong(p, "a key given once");
}

bool rdata_put_svcb(struct parse *p)
{
	uint8_t *first = p->w.p;
	bool ok = true;
	p->x->pairs = true;
	while (ok && another(p))
		ok = want(p, "an SVCB key") && put_svc_param(p, first);
	p->x->pairs = false;
	return ok;
}

/* ---- as octets ---- */

/* A row of rising keys. */
static const char *check_mandatory(struct rd v)
{
	int last = 0; /* "mandatory" itself must not be there */
	if (!rd_left(&v))
		return "mandatory is empty";
	while (rd_left(&v)) {
		int k = rd_u16(&v);
		if (v.bad || k <= last)
			return "the keys of mandatory are not rising, or name mandatory itself";
		last = k;
	}
	return NULL;
}

static const char *check_svc_value(unsigned key, struct rd v)
{
	size_t n = rd_left(&v);
	switch (key) {
	case K_MANDATORY: return check_mandatory(v);
	case K_ALPN:
		if (n == 0)
			return "alpn is empty";
		while (rd_left(&v)) {
			uint8_t len = rd_u8(&v);
			rd_take(&v, len);
			if (v.bad || len == 0)
				return "alpn is malformed";
		}
		return NULL;
	case K_NO_DEFAULT_ALPN:
	case K_OHTTP: return n ? "a key that takes no value has one" : NULL;
	case K_PORT: return n != 2 ? "port is not two octets" : NULL;
	case K_IPV4HINT: return n == 0 || n % 4 ? "ipv4hint is malformed" : NULL;
	case K_IPV6HINT: return n == 0 || n % 16 ? "ipv6hint is malformed" : NULL;
	case K_ECH: return n == 0 ? "ech is empty" : NULL;
	case K_DOHPATH: return n == 0 ? "dohpath is empty" : NULL;
	case K_GROUPS: return n == 0 || n % 2 ? "tls-supported-groups is malformed" : NULL;
	}
	return NULL;
}

static bool svc_has(struct rd r, unsigned key)
{
	while (rd_left(&r)) {
		if (rd_u16(&r) == key)
			return true;
		rd_take(&r, rd_u16(&r));
	}
	return false;
}

const char *rdata_check_svcb(struct rd *r)
{
	struct rd all = *r, mandatory = { 0 };
	int last = -1;
	while (rd_left(r)) {
		uint16_t key = rd_u16(r);
		struct rd v = rd_sub(r, rd_u16(r));
		if (v.bad || key <= last || key == 65535)
			return "the keys are not rising, or a value is cut short";
		const char *fault = check_svc_value(key, v);
		if (fault)
			return fault;
		if (key == K_MANDATORY)
			mandatory = v;
		last = key;
	}
	while (rd_left(&mandatory))
		if (!svc_has(all, rd_u16(&mandatory)))
			return "a mandatory key is missing";
	if (svc_has(all, K_NO_DEFAULT_ALPN) && !svc_has(all, K_ALPN))
		return "no-default-alpn without alpn";
	return NULL;
}
