/* rdata.c - words of master files, and rdata by one table.  Contract in rdata.h.
 *
 * `rdata_layouts` says for each type what its rdata is made of, a letter a field.
 * Two loops read it: parse_field() turns words into octets, check_field()
 * walks octets.  What holds between fields (a digest's length by its type,
 * the keys of SVCB) is in check_field() only; parsed rdata passes it too.
 * Threat: text and rdata come from people and from peers; every word is
 * bounded by the text at hand, every octet by struct wr or struct rd. */
#include "hub/rdata_internal.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

/* 1 2 4    a number of so many octets
 * t  seconds, units allowed       d  time of a signature
 * T  a type                       g  DNSSEC algorithm
 * c  certificate type             i  digest type
 * n  a name                       a A  IPv4, IPv6 address
 * s  a string                     S  strings to the end, one at least
 * q  a string without length, to the end (one octet at least)
 * h  hex to the end               b B  base64 to the end; B: may be empty
 * D Z  hex to the end, length by the digest type before it: of DS, of ZONEMD
 * z  length and salt              3  length and base32hex hash
 * m  bitmap of types              e E  EUI-48, EUI-64
 * f p  flags and protocol of a key  K  base64 to the end; none when the flags say NOKEY
 * y  scheme of DSYNC              l  64 bits as four groups of hex
 * o  a string, or the end         U  a string; a bare - is an empty one
 * Q  as q, may be empty           O  base64 to the end, or - for none
 * x  digits of X25                N  0x and hex, dots in it
 * M  ATM address                  8  64 bits, as one number or two of 32
 * W  protocol and ports of WKS    w  bitmap of NXT
 * C  CAA tag
 * L P I V 6 H R  all of LOC, APL, IPSECKEY, SVCB's keys, A6, HIP, AMTRELAY's relay
 *
 * NULL, UINFO, UID, GID and UNSPEC have no form of their own, only \#.  Of
 * SINK's drafts BIND's is meant (meaning, coding, subcoding); EID, NIMLOC, ATMA,
 * AVC, UNECE, ISO, WALLET and CLA, which no RFC describes, are as BIND's and NSD's. */
const char *const rdata_layouts[T_IPN + 1] = {
	[T_A] = "a", [T_NS] = "n", [T_MD] = "n", [T_MF] = "n", [T_CNAME] = "n", [T_SOA] = "nn4tttt",
	[T_MB] = "n", [T_MG] = "n", [T_MR] = "n", [T_WKS] = "aW", [T_PTR] = "n", [T_HINFO] = "ss",
	[T_MINFO] = "nn", [T_MX] = "2n", [T_TXT] = "S", [T_RP] = "nn", [T_AFSDB] = "2n", [T_X25] = "x",
	[T_ISDN] = "so", [T_RT] = "2n", [T_NSAP] = "N", [T_NSAP_PTR] = "n", [T_SIG] = "Tg1tdd2nb",
	[T_KEY] = "fpgK", [T_PX] = "2nn", [T_GPOS] = "sss", [T_AAAA] = "A", [T_LOC] = "L", [T_NXT] = "nw",
	[T_EID] = "h", [T_NIMLOC] = "h", [T_SRV] = "222n", [T_ATMA] = "M", [T_NAPTR] = "22sssn",
	[T_KX] = "2n", [T_CERT] = "c2gb", [T_A6] = "6", [T_DNAME] = "n", [T_SINK] = "111B",
	[T_APL] = "P", [T_DS] = "2giD", [T_SSHFP] = "11h", [T_IPSECKEY] = "I", [T_RRSIG] = "Tg1tdd2nb",
	[T_NSEC] = "nm", [T_DNSKEY] = "fpgb", [T_DHCID] = "b", [T_NSEC3] = "112z3m",
	[T_NSEC3PARAM] = "112z", [T_TLSA] = "111h", [T_SMIMEA] = "111h", [T_HIP] = "H", [T_NINFO] = "S",
	[T_RKEY] = "fpgb", [T_TALINK] = "nn", [T_CDS] = "2giD", [T_CDNSKEY] = "fpgb",
	[T_OPENPGPKEY] = "b", [T_CSYNC] = "42m", [T_ZONEMD] = "411Z", [T_SVCB] = "2nV",
	[T_HTTPS] = "2nV", [T_DSYNC] = "Ty2n", [T_HHIT] = "b", [T_BRID] = "b", [T_UNECE] = "sUsQ",
	[T_ISO] = "sUsQ", [T_SPF] = "S", [T_NID] = "2l", [T_L32] = "2a", [T_L64] = "2l", [T_LP] = "2n",
	[T_EUI48] = "e", [T_EUI64] = "E", [T_URI] = "22q", [T_CAA] = "1Cq", [T_AVC] = "S",
	[T_DOA] = "441sO", [T_AMTRELAY] = "1R", [T_RESINFO] = "S", [T_WALLET] = "S", [T_CLA] = "S",
	[T_IPN] = "8",
};

bool rdata_storable(uint16_t type) { return type != 0 && type != T_OPT && (type < 128 || type > 255); }

/* ---- words ---- */

enum { C_PLAIN, C_SPACE, C_LINE, C_COMMENT, C_OPEN, C_CLOSE, C_QUOTE, C_ESCAPE };
static const uint8_t classes[256] = {
	[' '] = C_SPACE, ['\t'] = C_SPACE, ['\r'] = C_SPACE, ['\n'] = C_LINE, [';'] = C_COMMENT,
	['('] = C_OPEN, [')'] = C_CLOSE, ['"'] = C_QUOTE, ['\\'] = C_ESCAPE,
};
static unsigned class_of(char c) { return classes[(uint8_t)c]; }

void lex_init(struct lex *x, const char *text, size_t n, unsigned line)
{
	*x = (struct lex){ .p = text, .end = text + n, .line = line, .bol = true, .kind = LEX_END };
}

/* More text behind *p, while what begins at *start is kept. */
static bool refill(struct lex *x, const char **start, const char **p)
{
	size_t kept = (size_t)(*p - *start);
	x->p = *start;
	bool got = x->more && x->more(x);
	*start = x->p;
	*p = *start + kept;
	return got;
}

static enum lex_kind bad(struct lex *x, const char *p, const char *why)
{
	x->p = p;
	x->why = why;
	x->word = p;
	x->n = 0;
	x->mid = true;
	return LEX_BAD;
}

/* Steps over an escape's backslash and the octet behind it; false: nothing is there. */
static bool step_escape(struct lex *x, const char **start, const char **p)
{
	x->esc = true;
	++*p;
	if ((*p == x->end && !refill(x, start, p)) || **p == '\n')
		return false;
	++*p;
	return true;
}

/* *p stands behind an opening quote; moves to the closing one. */
static const char *scan_quoted(struct lex *x, const char **start, const char **p)
{
	for (;;) {
		while (*p < x->end && **p != '"' && **p != '\\' && **p != '\n')
			++*p;
		if (*p == x->end) {
			if (!refill(x, start, p))
				return "a quoted string is not closed";
		} else if (**p == '"') {
			return NULL;
		} else if (**p == '\n') {
			return "a quoted string is not closed on its line";
		} else if (!step_escape(x, start, p)) {
			return "nothing follows a backslash";
		}
	}
}

static enum lex_kind quoted(struct lex *x, const char *p)
{
	const char *start = ++p;
	x->esc = false;
	const char *why = scan_quoted(x, &start, &p);
	if (why)
		return bad(x, p, why);
	x->word = start;
	x->n = (size_t)(p - start);
	x->p = p + 1;
	x->mid = true;
	return LEX_QUOTED;
}

static enum lex_kind bare(struct lex *x, const char *p)
{
	const char *start = p, *why;
	x->esc = false;
	for (;;) {
		while (p < x->end && class_of(*p) == C_PLAIN)
			p++;
		if (p == x->end) {
			if (refill(x, &start, &p))
				continue;
			break;
		}
		if (*p == '\\') {
			if (!step_escape(x, &start, &p))
				return bad(x, p, "nothing follows a backslash");
		} else if (*p == '"' && x->pairs && p > start && p[-1] == '=') {
			p++;
			why = scan_quoted(x, &start, &p);
			if (why)
				return bad(x, p, why);
			p++;
		} else {
			break;
		}
	}
	x->word = start;
	x->n = (size_t)(p - start);
	x->p = p;
	x->mid = true;
	return LEX_WORD;
}

/* p is behind the last octet. */
static enum lex_kind at_end(struct lex *x, const char *p)
{
	x->p = p;
	if (x->depth) {
		x->depth = 0;
		x->word_line = x->open_line;
		return bad(x, p, "a parenthesis is not closed");
	}
	if (!x->mid)
		return LEX_EOF;
	x->mid = false;
	x->bol = true;
	x->blank = false;
	return LEX_END;
}

static bool skip_comment(struct lex *x, const char **p)
{
	for (;;) {
		const char *nl = memchr(*p, '\n', (size_t)(x->end - *p));
		*p = nl ? nl : x->end;
		if (nl)
			return true;
		if (!refill(x, p, p))
			return false;
	}
}

static enum lex_kind scan(struct lex *x)
{
	const char *p = x->p;
	if (!x->mid && x->kind == LEX_END) {
		x->bol = true;
		x->blank = false;
	}
	for (;;) {
		if (p == x->end && !refill(x, &p, &p)) {
			x->word_line = x->line;
			return at_end(x, p);
		}
		unsigned c = class_of(*p);
		x->word_line = x->line;
		if (x->bol && !x->mid)
			x->blank = c == C_SPACE;
		x->bol = false;
		switch (c) {
		case C_SPACE:
			p++;
			break;
		case C_LINE:
			p++;
			x->line++;
			if (x->depth)
				break;
			x->bol = true;
			if (x->mid) {
				x->mid = false;
				x->p = p;
				return LEX_END;
			}
			break;
		case C_COMMENT:
			skip_comment(x, &p);
			break;
		case C_OPEN:
			if (x->depth++ == 0)
				x->open_line = x->line;
			p++;
			break;
		case C_CLOSE:
			p++;
			if (x->depth == 0)
				return bad(x, p, "a ) without its (");
			x->depth--;
			break;
		case C_QUOTE:
			return quoted(x, p);
		default:
			return bare(x, p);
		}
	}
}

enum lex_kind lex_next(struct lex *x)
{
	if (x->back)
		x->back = false;
	else
		x->kind = scan(x);
	return x->kind;
}

void lex_skip(struct lex *x)
{
	x->back = false;
	while (x->kind != LEX_END && x->kind != LEX_EOF)
		lex_next(x);
}

/* ---- text of single words ---- */

bool text_number(const char *s, size_t n, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	if (n == 0 || n > 19)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!is_digit(s[i]))
			return false;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}

static uint32_t unit_seconds(char c)
{
	switch (c | 32) {
	case 's': return 1;
	case 'm': return 60;
	case 'h': return 3600;
	case 'd': return 86400;
	case 'w': return 604800;
	}
	return 0;
}

bool ttl_parse(const char *text, size_t n, uint32_t *out)
{
	uint64_t sum = 0, v = 0;
	bool digits = false, units = false;
	if (n == 0 || n > 40)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (is_digit(text[i])) {
			v = v * 10 + (uint64_t)(text[i] - '0');
			digits = true;
		} else {
			uint32_t unit = unit_seconds(text[i]);
			if (!unit || !digits)
				return false;
			sum += v * unit;
			v = 0;
			digits = false;
			units = true;
		}
		if (v > UINT32_MAX || sum > UINT32_MAX)
			return false;
	}
	sum += v;
	if (sum > UINT32_MAX || (digits && units))
		return false;
	*out = (uint32_t)sum;
	return true;
}

int text_unescape(const char *text, size_t n, uint8_t *out, size_t max)
{
	size_t at = 0;
	for (size_t i = 0; i < n; at++) {
		if (at == max)
			return -1;
		if (text[i] != '\\') {
			out[at] = (uint8_t)text[i++];
			continue;
		}
		if (++i == n)
			return -1;
		if (!is_digit(text[i])) {
			out[at] = (uint8_t)text[i++];
			continue;
		}
		uint64_t v;
		if (n - i < 3 || !text_number(text + i, 3, 255, &v))
			return -1;
		out[at] = (uint8_t)v;
		i += 3;
	}
	return (int)at;
}

size_t text_name(const char *text, size_t n, const uint8_t *origin, uint8_t out[static NAME_MAX_LEN])
{
	if (n == 1 && *text == '@') {
		size_t len = name_len(origin);
		memcpy(out, origin, len);
		return len;
	}
	/* plain text, which almost all is: each dot becomes the next length octet */
	if (n == 0 || n > NAME_MAX_LEN - 2 || memchr(text, '\\', n))
		return name_parse(text, n, origin, out);
	size_t label = 0;
	for (size_t i = 0; i < n; i++) {
		if (text[i] != '.') {
			out[i + 1] = (uint8_t)text[i];
			continue;
		}
		if (i == label || i - label > 63)
			return n == 1 ? (out[0] = 0, 1) : 0;
		out[label] = (uint8_t)(i - label);
		label = i + 1;
	}
	if (label == n) {
		out[n] = 0;
		return n + 1;
	}
	size_t tail = name_len(origin);
	if (n - label > 63 || n + 1 + tail > NAME_MAX_LEN)
		return 0;
	out[label] = (uint8_t)(n - label);
	memcpy(out + n + 1, origin, tail);
	return n + 1 + tail;
}

const char *text_show(const char *text, size_t n, char out[static 64])
{
	size_t cut = n > 48 ? 48 : n, at = 0;
	out[at++] = '"';
	for (size_t i = 0; i < cut; i++)
		out[at++] = text[i] < ' ' || text[i] > '~' ? '?' : text[i];
	if (cut < n) {
		memcpy(out + at, "...", 3);
		at += 3;
	}
	out[at++] = '"';
	out[at] = 0;
	return out;
}

/* ---- from words to octets ---- */

bool rdata_fail(struct parse *p, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(p->why, WHY_MAX, fmt, ap);
	va_end(ap);
	return false;
}

bool rdata_wrong(struct parse *p, const char *what)
{
	char show[64];
	return rdata_fail(p, "%s is not %s", text_show(p->x->word, p->x->n, show), what);
}

static const struct mnemonic algorithms[] = {
	{ "DELETE", 0 }, { "RSAMD5", 1 }, { "DH", 2 }, { "DSA", 3 }, { "ECC", 4 }, { "RSASHA1", 5 },
	{ "DSA-NSEC3-SHA1", 6 },
	{ "NSEC3DSA", 6 }, { "RSASHA1-NSEC3-SHA1", 7 }, { "NSEC3RSASHA1", 7 }, { "RSASHA256", 8 },
	{ "RSASHA512", 10 }, { "ECC-GOST", 12 }, { "ECCGOST", 12 }, { "ECDSAP256SHA256", 13 },
	{ "ECDSA256", 13 }, { "ECDSAP384SHA384", 14 }, { "ECDSA384", 14 }, { "ED25519", 15 },
	{ "ED448", 16 }, { "SM2SM3", 17 }, { "ECC-GOST12", 23 }, { "INDIRECT", 252 }, { "PRIVATEDNS", 253 },
	{ "PRIVATEOID", 254 }, { 0 },
};
static const struct mnemonic cert_types[] = {
	{ "PKIX", 1 }, { "SPKI", 2 }, { "PGP", 3 }, { "IPKIX", 4 }, { "ISPKI", 5 }, { "IPGP", 6 },
	{ "ACPKIX", 7 }, { "IACPKIX", 8 }, { "URI", 253 }, { "OID", 254 }, { 0 },
};
static const struct mnemonic digests[] = {
	{ "SHA-1", 1 }, { "SHA1", 1 }, { "SHA-256", 2 }, { "SHA256", 2 }, { "GOST", 3 },
	{ "SHA-384", 4 }, { "SHA384", 4 }, { "SM3", 6 }, { 0 },
};
/* RFC 2535 section 3.1.3 */
static const struct mnemonic key_protocols[] = {
	{ "NONE", 0 }, { "TLS", 1 }, { "EMAIL", 2 }, { "DNSSEC", 3 }, { "IPSEC", 4 }, { "ALL", 255 }, { 0 },
};
static const struct mnemonic schemes[] = { { "NOTIFY", 1 }, { 0 } };

bool text_same(const char *word, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (!text[i] || name_fold((uint8_t)word[i]) != name_fold((uint8_t)text[i]))
			return false;
	return text[n] == 0;
}

const struct mnemonic *rdata_mnemonic(const struct mnemonic *names, const char *word, size_t n)
{
	for (; names && names->text; names++)
		if (text_same(word, n, names->text))
			return names;
	return NULL;
}

bool rdata_want_number(struct parse *p, uint64_t max, const char *what, uint64_t *out)
{
	return want(p, what) && (text_number(p->x->word, p->x->n, max, out) || rdata_wrong(p, what));
}

bool rdata_put_number(struct parse *p, unsigned octets, const struct mnemonic *names, const char *what)
{
	uint64_t v = 0;
	if (!want(p, what))
		return false;
	if (!text_number(p->x->word, p->x->n, (1ull << 8 * octets) - 1, &v)) {
		const struct mnemonic *m = rdata_mnemonic(names, p->x->word, p->x->n);
		if (!m)
			return rdata_wrong(p, what);
		v = m->value;
	}
	if (octets == 1)
		wr_u8(&p->w, (unsigned)v);
	else if (octets == 2)
		wr_u16(&p->w, (uint32_t)v);
	else
		wr_u32(&p->w, (uint32_t)v);
	return true;
}

static bool put_ttl(struct parse *p)
{
	uint32_t v;
	if (!want(p, "a time in seconds"))
		return false;
	if (!ttl_parse(p->x->word, p->x->n, &v))
		return rdata_wrong(p, "a time in seconds");
	wr_u32(&p->w, v);
	return true;
}

static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
	y -= m <= 2;
	int64_t era = y / 400, yoe = y - era * 400;
	int64_t doy = (153 * (int64_t)(m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* YYYYMMDDHHmmSS or seconds since 1970 (RFC 4034 section 3.2), modulo 2^32. */
static bool put_time(struct parse *p)
{
	static const uint8_t month_days[12] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	uint64_t v, f[6];
	if (!want(p, "a time"))
		return false;
	const char *s = p->x->word;
	if (p->x->n != 14) {
		if (p->x->n > 10 || !text_number(s, p->x->n, UINT32_MAX, &v))
			return rdata_wrong(p, "a time (YYYYMMDDHHmmSS or seconds)");
		wr_u32(&p->w, (uint32_t)v);
		return true;
	}
	bool ok = text_number(s, 4, 9999, &f[0]) && text_number(s + 4, 2, 12, &f[1]) && text_number(s + 6, 2, 31, &f[2]) &&
	          text_number(s + 8, 2, 23, &f[3]) && text_number(s + 10, 2, 59, &f[4]) && text_number(s + 12, 2, 60, &f[5]);
	if (!ok || f[0] < 1970 || f[1] < 1 || f[2] < 1 || f[2] > month_days[f[1] - 1])
		return rdata_wrong(p, "a time (YYYYMMDDHHmmSS)");
	uint64_t days = (uint64_t)days_from_civil((int64_t)f[0], (unsigned)f[1], (unsigned)f[2]);
	wr_u32(&p->w, (uint32_t)(days * 86400 + f[3] * 3600 + f[4] * 60 + f[5]));
	return true;
}

static bool put_type(struct parse *p)
{
	if (!want(p, "a record type"))
		return false;
	int t = rr_type_parse(p->x->word, p->x->n);
	if (t < 0)
		return rdata_wrong(p, "a record type");
	wr_u16(&p->w, (uint32_t)t);
	return true;
}

bool rdata_put_name(struct parse *p)
{
	uint8_t name[NAME_MAX_LEN];
	if (!want(p, "a name"))
		return false;
	size_t n = text_name(p->x->word, p->x->n, p->origin, name);
	if (n == 0)
		return rdata_wrong(p, "a domain name");
	wr_bytes(&p->w, name, n);
	return true;
}

bool text_ip4(const char *s, size_t n, uint8_t out[static 4])
{
	const char *end = s + n;
	for (unsigned k = 0; k < 4; k++) {
		const char *from = s;
		unsigned v = 0;
		while (s < end && is_digit(*s) && s - from < 4)
			v = v * 10 + (unsigned)(*s++ - '0');
		if (s == from || v > 255 || (s - from > 1 && *from == '0'))
			return false;
		out[k] = (uint8_t)v;
		if (k < 3 && (s == end || *s++ != '.'))
			return false;
	}
	return s == end;
}

bool text_ip6(const char *s, size_t n, uint8_t out[static 16])
{
	char text[INET6_ADDRSTRLEN];
	if (n >= sizeof text || memchr(s, 0, n))
		return false;
	memcpy(text, s, n);
	text[n] = 0;
	return inet_pton(AF_INET6, text, out) == 1;
}

bool rdata_put_ip4(struct parse *p)
{
	uint8_t a[4];
	if (!want(p, "an IPv4 address"))
		return false;
	if (!text_ip4(p->x->word, p->x->n, a))
		return rdata_wrong(p, "an IPv4 address");
	wr_bytes(&p->w, a, 4);
	return true;
}

bool rdata_put_ip6(struct parse *p)
{
	uint8_t a[16];
	if (!want(p, "an IPv6 address"))
		return false;
	if (!text_ip6(p->x->word, p->x->n, a))
		return rdata_wrong(p, "an IPv6 address");
	wr_bytes(&p->w, a, 16);
	return true;
}

/* The word at hand, unescaped, without or with (head 1) a length octet. */
static bool put_octets(struct parse *p, unsigned head)
{
	size_t max = head ? 255 : wr_room(&p->w);
	uint8_t *start = p->w.p;
	if (head)
		wr_u8(&p->w, 0);
	if (p->w.bad)
		return rdata_fail(p, "the record is over %d octets", RDATA_MAX);
	if (max > wr_room(&p->w))
		max = wr_room(&p->w);
	int n = text_unescape(p->x->word, p->x->n, p->w.p, max);
	if (n < 0 && head && p->x->n > 255)
		return rdata_fail(p, "a string is over 255 octets (or an escape in it is wrong): split it");
	if (n < 0)
		return rdata_wrong(p, "a string (at most 255 octets, escapes \\X or \\DDD)");
	if (head)
		*start = (uint8_t)n;
	wr_take(&p->w, (size_t)n);
	return true;
}

static bool put_strings(struct parse *p)
{
	do {
		if (!want(p, "a string") || !put_octets(p, 1))
			return false;
	} while (another(p));
	return true;
}

/* Hex in any number of words, up to the end of the entry. */
static bool put_hex(struct parse *p, bool may_be_empty)
{
	unsigned acc = 0;
	bool half = false;
	if (!may_be_empty && !another(p))
		return rdata_fail(p, "the record ends where hexadecimal digits should be");
	while (another(p)) {
		if (!want(p, "hexadecimal digits"))
			return false;
		for (size_t i = 0; i < p->x->n; i++) {
			int v = hex_value(p->x->word[i]);
			if (v < 0)
				return rdata_wrong(p, "hexadecimal");
			acc = acc << 4 | (unsigned)v;
			if (half)
				wr_u8(&p->w, acc & 255);
			half = !half;
		}
	}
	return half ? rdata_fail(p, "an odd number of hexadecimal digits") : true;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (is_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool text_base64(struct base64 *b, const char *s, size_t n, struct wr *w)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '=') {
			if (++b->pads > 2)
				return false;
			continue;
		}
		int v = base64_value(s[i]);
		if (v < 0 || b->pads)
			return false;
		b->acc = b->acc << 6 | (unsigned)v;
		if (++b->digits % 4 == 0)
			wr_u24(w, b->acc & 0xffffff);
	}
	return true;
}

bool text_base64_end(struct base64 *b, struct wr *w)
{
	unsigned left = b->digits % 4;
	if (left == 0)
		return b->pads == 0;
	if (left == 1 || b->pads != 4 - left || (b->acc & (left == 2 ? 15 : 3)))
		return false;
	if (left == 2) {
		wr_u8(w, b->acc >> 4 & 255);
	} else {
		wr_u16(w, b->acc >> 2 & 0xffff);
	}
	return true;
}

bool rdata_put_base64(struct parse *p, bool may_be_empty)
{
	struct base64 b = { 0 };
	if (!may_be_empty && !another(p))
		return rdata_fail(p, "the record ends where base64 should be");
	while (another(p)) {
		if (!want(p, "base64"))
			return false;
		if (!text_base64(&b, p->x->word, p->x->n, &p->w))
			return rdata_wrong(p, "base64");
	}
	return text_base64_end(&b, &p->w) ? true : rdata_fail(p, "the base64 is cut short, or wrong at its end");
}

static bool put_salt(struct parse *p)
{
	if (!want(p, "a salt"))
		return false;
	const char *s = p->x->word;
	size_t n = p->x->n;
	if (n == 1 && *s == '-')
		n = 0;
	else if (n == 0 || n % 2 || n > 510)
		return rdata_wrong(p, "a salt (- or hexadecimal)");
	wr_u8(&p->w, (unsigned)(n / 2));
	for (size_t i = 0; i < n; i += 2) {
		int v = hex_pair(s + i);
		if (v < 0)
			return rdata_wrong(p, "a salt (- or hexadecimal)");
		wr_u8(&p->w, (unsigned)v);
	}
	return true;
}

static bool put_hash(struct parse *p)
{
	uint8_t hash[40];
	if (!want(p, "a hash"))
		return false;
	size_t n = base32hex_decode((const uint8_t *)p->x->word, p->x->n, hash);
	if (n == 0)
		return rdata_wrong(p, "a hash in base32hex");
	wr_u8(&p->w, (unsigned)n);
	wr_bytes(&p->w, hash, n);
	return true;
}

static bool put_bitmap(struct parse *p)
{
	uint8_t map[8192] = { 0 };
	unsigned last = 0;
	while (another(p)) {
		if (!want(p, "a record type"))
			return false;
		int t = rr_type_parse(p->x->word, p->x->n);
		if (t < 0)
			return rdata_wrong(p, "a record type");
		map[t / 8] |= (uint8_t)(128 >> t % 8);
		if ((unsigned)t / 256 > last)
			last = (unsigned)t / 256;
	}
	for (unsigned window = 0; window <= last; window++) {
		unsigned n = 32;
		while (n && map[window * 32 + n - 1] == 0)
			n--;
		if (n == 0)
			continue;
		wr_u8(&p->w, window);
		wr_u8(&p->w, n);
		wr_bytes(&p->w, map + window * 32, n);
	}
	return true;
}

static bool put_eui(struct parse *p, unsigned octets)
{
	const char *what = octets == 6 ? "an EUI-48 (xx-xx-xx-xx-xx-xx)" : "an EUI-64 (xx-...-xx)";
	if (!want(p, what))
		return false;
	const char *s = p->x->word;
	if (p->x->n != octets * 3 - 1)
		return rdata_wrong(p, what);
	for (unsigned i = 0; i < octets; i++) {
		int v = hex_pair(s + 3 * i);
		if (v < 0 || (i + 1 < octets && s[3 * i + 2] != '-'))
			return rdata_wrong(p, what);
		wr_u8(&p->w, (unsigned)v);
	}
	return true;
}

/* A decimal with at most `places` behind the point, as an integer of that unit. */
static bool fixed_point(const char *s, size_t n, unsigned places, uint64_t *out)
{
	uint64_t v = 0;
	size_t i = 0;
	unsigned got = 0;
	for (; i < n && is_digit(s[i]) && i < 12; i++)
		v = v * 10 + (uint64_t)(s[i] - '0');
	if (i == 0)
		return false;
	if (i < n && s[i] == '.')
		for (i++; i < n && is_digit(s[i]) && got < places; i++, got++)
			v = v * 10 + (uint64_t)(s[i] - '0');
	for (; got < places; got++)
		v *= 10;
	*out = v;
	return i == n;
}

/* One angle of LOC (RFC 1876 section 3): d [m [s[.sss]]] and its hemisphere. */
static bool put_angle(struct parse *p, unsigned max, char plus, char minus)
{
	uint64_t part[3] = { 0 }, limit[3] = { max, 59, 59999 };
	for (unsigned k = 0; k < 4; k++) {
		if (!want(p, "a latitude or longitude"))
			return false;
		const char *s = p->x->word;
		char c = p->x->n == 1 ? (char)(*s & ~32) : 0;
		if (k > 0 && (c == plus || c == minus)) {
			uint64_t ms = part[0] * 3600000 + part[1] * 60000 + part[2];
			if (ms > max * 3600000ull)
				return rdata_fail(p, "a latitude or longitude beyond %u degrees", max);
			wr_u32(&p->w, (uint32_t)(c == plus ? (1ull << 31) + ms : (1ull << 31) - ms));
			return true;
		}
		if (k == 3 || !fixed_point(s, p->x->n, k == 2 ? 3 : 0, &part[k]) || part[k] > limit[k])
			return rdata_wrong(p, "a latitude or longitude");
	}
	return false;
}

/* Metres as centimetres; an "m" may follow. */
static bool loc_metres(struct parse *p, const char *s, size_t n, uint64_t max, uint64_t *cm)
{
	if (n && (s[n - 1] | 32) == 'm')
		n--;
	if (!fixed_point(s, n, 2, cm) || *cm > max)
		return rdata_wrong(p, "a length in metres that LOC can hold");
	return true;
}

static bool put_loc(struct parse *p)
{
	static const uint8_t defaults[3] = { 0x12, 0x16, 0x13 }; /* 1 m, 10 km, 10 m */
	uint8_t *head = wr_take(&p->w, 4);
	uint64_t cm;
	if (!put_angle(p, 90, 'N', 'S') || !put_angle(p, 180, 'E', 'W') || !want(p, "an altitude"))
		return false;
	bool minus = p->x->n && *p->x->word == '-';
	if (!loc_metres(p, p->x->word + minus, p->x->n - minus, minus ? 10000000 : 4284967295, &cm))
		return false;
	wr_u32(&p->w, (uint32_t)(minus ? 10000000 - cm : 10000000 + cm));
	head[0] = 0;
	for (unsigned k = 0; k < 3; k++) {
		head[1 + k] = defaults[k];
		if (!another(p))
			continue;
		if (!want(p, "a length") || !loc_metres(p, p->x->word, p->x->n, 9000000000, &cm))
			return false;
		unsigned power = 0;
		while (cm > 9) {
			cm /= 10;
			power++;
		}
		head[1 + k] = (uint8_t)(cm << 4 | power);
	}
	return true;
}

/* RFC 3123 section 5: [!]family:address/prefix, trailing zero octets dropped. */
static bool put_apl_item(struct parse *p)
{
	const char *what = "an APL item ([!]1:a.b.c.d/n or [!]2:a::b/n)";
	const char *s = p->x->word, *end = s + p->x->n;
	uint8_t a[16];
	uint64_t prefix;
	bool negated = s < end && *s == '!';
	s += negated;
	if (end - s < 2 || (*s != '1' && *s != '2') || s[1] != ':')
		return rdata_wrong(p, what);
	unsigned family = (unsigned)(*s - '0'), n = family == 1 ? 4 : 16;
	s += 2;
	const char *slash = memchr(s, '/', (size_t)(end - s));
	if (!slash || !text_number(slash + 1, (size_t)(end - slash - 1), n * 8, &prefix))
		return rdata_wrong(p, what);
	size_t len = (size_t)(slash - s);
	if (family == 1 ? !text_ip4(s, len, a) : !text_ip6(s, len, a))
		return rdata_wrong(p, what);
	while (n && a[n - 1] == 0)
		n--;
	wr_u16(&p->w, family);
	wr_u8(&p->w, (unsigned)prefix);
	wr_u8(&p->w, (negated ? 128u : 0) | n);
	wr_bytes(&p->w, a, n);
	return true;
}

static bool put_apl(struct parse *p)
{
	while (another(p))
		if (!want(p, "an APL item") || !put_apl_item(p))
			return false;
	return true;
}

/* RFC 4025 section 3: precedence, gateway type, algorithm, gateway, key. */
static bool put_ipseckey(struct parse *p)
{
	uint8_t *start = p->w.p;
	if (!rdata_put_number(p, 1, NULL, "a precedence (0-255)") || !rdata_put_number(p, 1, NULL, "a gateway type (0-3)") ||
	    !rdata_put_number(p, 1, NULL, "an algorithm (0-255)"))
		return false;
	bool ok;
	switch (start[1]) {
	case 0:
		ok = want(p, "a gateway") && ((p->x->n == 1 && *p->x->word == '.') || rdata_wrong(p, "\".\", as gateway type 0 asks"));
		break;
	case 1: ok = rdata_put_ip4(p); break;
	case 2: ok = rdata_put_ip6(p); break;
	case 3: ok = rdata_put_name(p); break;
	default: return rdata_fail(p, "gateway type %u is unknown", start[1]);
	}
	return ok && rdata_put_base64(p, true);
}

/* ---- rare types ---- */

/* RFC 2535 section 7.1; KSK is BIND's. */
static const struct mnemonic key_flags[] = {
	{ "NOCONF", 0x4000 }, { "NOAUTH", 0x8000 }, { "NOKEY", 0xc000 }, { "FLAG2", 0x2000 },
	{ "EXTEND", 0x1000 }, { "FLAG4", 0x0800 }, { "FLAG5", 0x0400 }, { "USER", 0 }, { "ZONE", 0x0100 },
	{ "HOST", 0x0200 }, { "NTYP3", 0x0300 }, { "FLAG8", 0x0080 }, { "FLAG9", 0x0040 },
	{ "FLAG10", 0x0020 }, { "FLAG11", 0x0010 }, { "SIG0", 0 }, { "SIG1", 1 }, { "SIG2", 2 },
	{ "SIG3", 3 }, { "SIG4", 4 }, { "SIG5", 5 }, { "SIG6", 6 }, { "SIG7", 7 }, { "SIG8", 8 },
	{ "SIG9", 9 }, { "SIG10", 10 }, { "SIG11", 11 }, { "SIG12", 12 }, { "SIG13", 13 },
	{ "SIG14", 14 }, { "SIG15", 15 }, { "KSK", 1 }, { 0 },
};

static bool put_flags(struct parse *p)
{
	const char *what = "a key's flags (0-65535, or names with | between them)";
	uint64_t v;
	unsigned flags = 0;
	if (!want(p, what))
		return false;
	const char *s = p->x->word, *end = s + p->x->n;
	if (text_number(s, p->x->n, 65535, &v)) {
		wr_u16(&p->w, (uint32_t)v);
		return true;
	}
	for (const char *bar; s <= end; s = bar + 1) {
		bar = memchr(s, '|', (size_t)(end - s));
		bar = bar ? bar : end;
		const struct mnemonic *m = rdata_mnemonic(key_flags, s, (size_t)(bar - s));
		if (!m)
			return rdata_wrong(p, what);
		flags |= m->value;
	}
	wr_u16(&p->w, flags);
	return true;
}

/* What RFC 1010 and its successors call protocols and ports.  A file means the
 * same everywhere: not what this machine's /etc/services says. */
static const struct mnemonic ip_protocols[] = {
	{ "icmp", 1 }, { "igmp", 2 }, { "ggp", 3 }, { "st", 5 }, { "tcp", 6 }, { "egp", 8 }, { "igp", 9 },
	{ "pup", 12 }, { "udp", 17 }, { "hmp", 20 }, { "xns-idp", 22 }, { "rdp", 27 }, { "iso-tp4", 29 },
	{ 0 },
};
static const struct mnemonic services[] = {
	{ "tcpmux", 1 }, { "rje", 5 }, { "echo", 7 }, { "discard", 9 }, { "systat", 11 }, { "daytime", 13 },
	{ "netstat", 15 }, { "qotd", 17 }, { "chargen", 19 }, { "ftp-data", 20 }, { "ftp", 21 },
	{ "ssh", 22 }, { "telnet", 23 }, { "smtp", 25 }, { "time", 37 }, { "rlp", 39 },
	{ "nameserver", 42 }, { "nicname", 43 }, { "whois", 43 }, { "domain", 53 }, { "bootps", 67 },
	{ "bootpc", 68 }, { "tftp", 69 }, { "gopher", 70 }, { "finger", 79 }, { "http", 80 },
	{ "www", 80 }, { "kerberos", 88 }, { "supdup", 95 }, { "hostnames", 101 }, { "iso-tsap", 102 },
	{ "pop2", 109 }, { "pop3", 110 }, { "sunrpc", 111 }, { "auth", 113 }, { "sftp", 115 },
	{ "uucp-path", 117 }, { "nntp", 119 }, { "ntp", 123 }, { "netbios-ns", 137 },
	{ "netbios-dgm", 138 }, { "netbios-ssn", 139 }, { "imap2", 143 }, { "imap", 143 },
	{ "snmp", 161 }, { "snmp-trap", 162 }, { "snmptrap", 162 }, { "xdmcp", 177 }, { "bgp", 179 },
	{ "irc", 194 }, { "z3950", 210 }, { "ldap", 389 }, { "https", 443 }, { "isakmp", 500 },
	{ "exec", 512 }, { "biff", 512 }, { "login", 513 }, { "who", 513 }, { "shell", 514 },
	{ "syslog", 514 }, { "printer", 515 }, { "talk", 517 }, { "ntalk", 518 }, { "route", 520 },
	{ "uucp", 540 }, { "klogin", 543 }, { "kshell", 544 }, { "submission", 587 }, { "ldaps", 636 },
	{ "rsync", 873 }, { "imaps", 993 }, { "pop3s", 995 }, { 0 },
};

/* RFC 1035 section 3.4.2, behind the address. */
static bool put_wks(struct parse *p)
{
	uint8_t ports[8192] = { 0 };
	size_t n = 0;
	uint64_t v;
	if (!rdata_put_number(p, 1, ip_protocols, "a protocol (tcp, udp or 0-255)"))
		return false;
	while (another(p)) {
		if (!want(p, "a port"))
			return false;
		const struct mnemonic *m = rdata_mnemonic(services, p->x->word, p->x->n);
		if (m)
			v = m->value;
		else if (!text_number(p->x->word, p->x->n, 65535, &v))
			return rdata_wrong(p, "a port (0-65535, or a well-known service's name)");
		ports[v / 8] |= (uint8_t)(128 >> v % 8);
		if (v / 8 >= n)
			n = v / 8 + 1;
	}
	wr_bytes(&p->w, ports, n);
	return true;
}

/* RFC 2535 section 5.2: types 1 to 127, a bit each. */
static bool put_nxt(struct parse *p)
{
	uint8_t map[16] = { 0 };
	size_t n = 0;
	while (another(p)) {
		if (!want(p, "a record type"))
			return false;
		int t = rr_type_parse(p->x->word, p->x->n);
		if (t < 0 || t > 127)
			return rdata_wrong(p, "a record type that NXT can hold");
		map[t / 8] |= (uint8_t)(128 >> t % 8);
		if ((size_t)t / 8 >= n)
			n = (size_t)t / 8 + 1;
	}
	wr_bytes(&p->w, map, n);
	return true;
}

/* Pairs of hex digits with dots between digits. */
static bool dotted_hex(struct parse *p, const char *s, size_t n, const char *what)
{
	unsigned acc = 0, digits = 0;
	for (size_t i = 0; i < n; i++) {
		int v = hex_value(s[i]);
		if (v < 0 && (s[i] != '.' || i == 0 || i + 1 == n || s[i - 1] == '.'))
			return rdata_wrong(p, what);
		if (v < 0)
			continue;
		acc = acc << 4 | (unsigned)v;
		if (++digits % 2 == 0)
			wr_u8(&p->w, acc & 255);
	}
	return digits == 0 || digits % 2 ? rdata_wrong(p, what) : true;
}

/* RFC 1706 section 7. */
static bool put_nsap(struct parse *p)
{
	const char *what = "an NSAP address (0x and pairs of hexadecimal digits, dots between them)";
	if (!want(p, what))
		return false;
	const char *s = p->x->word;
	if (p->x->n < 2 || s[0] != '0' || (s[1] | 32) != 'x')
		return rdata_wrong(p, what);
	return dotted_hex(p, s + 2, p->x->n - 2, what);
}

/* AF-DANS-0152.000: an AESA in hex, or + and the digits of an E.164 number. */
static bool put_atma(struct parse *p)
{
	const char *what = "an ATM address (hexadecimal digits, or + and digits, dots between them)";
	if (!want(p, what))
		return false;
	const char *s = p->x->word;
	size_t n = p->x->n;
	if (n == 0 || *s != '+') {
		wr_u8(&p->w, 0);
		return dotted_hex(p, s, n, what);
	}
	wr_u8(&p->w, 1);
	for (size_t i = 1; i < n; i++) {
		if (is_digit(s[i]))
			wr_u8(&p->w, (uint8_t)s[i]);
		else if (s[i] != '.' || i == 1 || i + 1 == n || s[i - 1] == '.')
			return rdata_wrong(p, what);
	}
	return n > 1 ? true : rdata_wrong(p, what);
}

/* RFC 2874 section 3.2.  What the prefix covers is not in the suffix: cleared. */
static bool put_a6(struct parse *p)
{
	uint64_t prefix;
	uint8_t a[16];
	if (!rdata_want_number(p, 128, "a prefix length (0-128)", &prefix))
		return false;
	wr_u8(&p->w, (unsigned)prefix);
	if (prefix < 128) {
		if (!want(p, "an IPv6 address"))
			return false;
		if (!text_ip6(p->x->word, p->x->n, a))
			return rdata_wrong(p, "an IPv6 address");
		a[prefix / 8] &= (uint8_t)(0xff >> prefix % 8);
		wr_bytes(&p->w, a + prefix / 8, 16 - prefix / 8);
	}
	return prefix ? rdata_put_name(p) : true;
}

/* The word at hand as hex or base64 without white space; octets, -1: it is none. */
static int put_word(struct parse *p, bool hex)
{
	struct base64 b = { 0 };
	const char *s = p->x->word;
	size_t n = p->x->n, room = wr_room(&p->w);
	if (!hex)
		return text_base64(&b, s, n, &p->w) && text_base64_end(&b, &p->w) ? (int)(room - wr_room(&p->w)) : -1;
	for (size_t i = 0; i + 1 < n; i += 2) {
		int v = hex_pair(s + i);
		if (v < 0)
			return -1;
		wr_u8(&p->w, (unsigned)v);
	}
	return n % 2 ? -1 : (int)(n / 2);
}

/* RFC 8005 section 6: algorithm, HIT, key, rendezvous servers. */
static bool put_hip(struct parse *p)
{
	uint8_t *start = wr_take(&p->w, 4);
	uint64_t algorithm;
	if (!rdata_want_number(p, 255, "an algorithm (0-255)", &algorithm) || !want(p, "a HIT in hexadecimal"))
		return false;
	int hit = put_word(p, true);
	if (hit < 1 || hit > 255)
		return rdata_wrong(p, "a HIT (1 to 255 octets in hexadecimal)");
	if (!want(p, "a key in base64"))
		return false;
	int key = put_word(p, false);
	if (key < 1 || p->w.bad)
		return rdata_wrong(p, "a key in base64");
	start[0] = (uint8_t)hit;
	start[1] = (uint8_t)algorithm;
	put_u16(start + 2, (uint32_t)key);
	while (another(p))
		if (!rdata_put_name(p))
			return false;
	return true;
}

/* RFC 8777 section 4.3.1, behind the precedence. */
static bool put_relay(struct parse *p)
{
	uint64_t optional, type;
	if (!rdata_want_number(p, 1, "the discovery-optional bit (0 or 1)", &optional) ||
	    !rdata_want_number(p, 3, "a relay type (0-3)", &type))
		return false;
	wr_u8(&p->w, (unsigned)(optional << 7 | type));
	switch (type) {
	case 0:
		if (!want(p, "a relay"))
			return false;
		return (p->x->n == 1 && *p->x->word == '.') || rdata_wrong(p, "\".\", as relay type 0 asks");
	case 1: return rdata_put_ip4(p);
	case 2: return rdata_put_ip6(p);
	default: return rdata_put_name(p);
	}
}

/* RFC 6742 sections 2.1.2 and 2.3.2: four groups of hex, none left out. */
static bool put_locator(struct parse *p)
{
	const char *what = "64 bits as four groups of hexadecimal digits (0:1:2:ffff)";
	unsigned v = 0, digits = 0, groups = 0;
	if (!want(p, what))
		return false;
	for (size_t i = 0; i <= p->x->n; i++) {
		bool ends = i == p->x->n || p->x->word[i] == ':';
		int d = ends ? 0 : hex_value(p->x->word[i]);
		if (ends ? !digits || ++groups > 4 : d < 0 || ++digits > 4)
			return rdata_wrong(p, what);
		if (ends) {
			wr_u16(&p->w, v);
			v = digits = 0;
		} else {
			v = v << 4 | (unsigned)d;
		}
	}
	return groups == 4 ? true : rdata_wrong(p, what);
}

/* draft-johnson-dns-ipn-cla section 3.1. */
static bool put_ipn(struct parse *p)
{
	const char *what = "a node number (0-18446744073709551615, or two numbers of 32 bits with a dot)";
	uint64_t v = 0, low;
	if (!want(p, what))
		return false;
	const char *s = p->x->word, *dot = memchr(s, '.', p->x->n);
	if (dot) {
		if (!text_number(s, (size_t)(dot - s), UINT32_MAX, &v) ||
		    !text_number(dot + 1, p->x->n - (size_t)(dot - s) - 1, UINT32_MAX, &low))
			return rdata_wrong(p, what);
		v = v << 32 | low;
	} else if (p->x->n == 0) {
		return rdata_wrong(p, what);
	} else {
		for (size_t i = 0; i < p->x->n; i++) {
			unsigned d = (unsigned)(s[i] - '0');
			if (d > 9 || v > (UINT64_MAX - d) / 10)
				return rdata_wrong(p, what);
			v = v * 10 + d;
		}
	}
	wr_u32(&p->w, (uint32_t)(v >> 32));
	wr_u32(&p->w, (uint32_t)v);
	return true;
}

/* Is the next word a bare "-", which means: nothing?  Takes it if so. */
static bool dash(struct parse *p)
{
	if (lex_next(p->x) == LEX_WORD && p->x->n == 1 && *p->x->word == '-')
		return true;
	lex_back(p->x);
	return false;
}

static bool put_quantity(struct parse *p)
{
	if (!dash(p))
		return want(p, "a quantity, or -") && put_octets(p, 1);
	wr_u8(&p->w, 0);
	return true;
}

static bool put_maybe_string(struct parse *p)
{
	return another(p) ? want(p, "a string") && put_octets(p, 1) : true;
}

/* ---- SVCB's keys (RFC 9460 section 2.1 and appendix A) ---- */

enum { K_MANDATORY, K_ALPN, K_NO_DEFAULT_ALPN, K_PORT, K_IPV4HINT, K_ECH, K_IPV6HINT, K_DOHPATH, K_OHTTP,
       K_GROUPS };
static const char *const svc_keys[] = { "mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech",
	                                "ipv6hint", "dohpath", "ohttp", "tls-supported-groups" };

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
	uint8_t val[RDATA_MAX];
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

/* ---- one field, one record ---- */

static bool parse_field(struct parse *p, char f)
{
	switch (f) {
	case '1': return rdata_put_number(p, 1, NULL, "a number (0-255)");
	case '2': return rdata_put_number(p, 2, NULL, "a number (0-65535)");
	case '4': return rdata_put_number(p, 4, NULL, "a number (0-4294967295)");
	case 'g': return rdata_put_number(p, 1, algorithms, "an algorithm");
	case 'c': return rdata_put_number(p, 2, cert_types, "a certificate type");
	case 'f': return put_flags(p);
	case 'p': return rdata_put_number(p, 1, key_protocols, "a key's protocol");
	case 'y': return rdata_put_number(p, 1, schemes, "a scheme (NOTIFY or 0-255)");
	case 'i': return rdata_put_number(p, 1, digests, "a digest type");
	case 't': return put_ttl(p);
	case 'd': return put_time(p);
	case 'T': return put_type(p);
	case 'n': return rdata_put_name(p);
	case 'a': return rdata_put_ip4(p);
	case 'A': return rdata_put_ip6(p);
	case 's': return want(p, "a string") && put_octets(p, 1);
	case 'S': return put_strings(p);
	case 'q':
	case 'Q': return want(p, "a string") && put_octets(p, 0);
	case 'o': return put_maybe_string(p);
	case 'U': return put_quantity(p);
	case 'x': return want(p, "a number of X.121") && put_octets(p, 1);
	case 'h':
	case 'D':
	case 'Z': return put_hex(p, false);
	case 'b': return rdata_put_base64(p, false);
	case 'B':
	case 'K': return rdata_put_base64(p, true);
	case 'O': return dash(p) || rdata_put_base64(p, false);
	case 'z': return put_salt(p);
	case '3': return put_hash(p);
	case 'm': return put_bitmap(p);
	case 'e': return put_eui(p, 6);
	case 'E': return put_eui(p, 8);
	case 'C': return want(p, "a tag") && put_octets(p, 1);
	case 'L': return put_loc(p);
	case 'P': return put_apl(p);
	case 'I': return put_ipseckey(p);
	case 'V': return rdata_put_svcb(p);
	case 'W': return put_wks(p);
	case 'w': return put_nxt(p);
	case 'N': return put_nsap(p);
	case 'M': return put_atma(p);
	case '6': return put_a6(p);
	case 'H': return put_hip(p);
	case 'R': return put_relay(p);
	case 'l': return put_locator(p);
	case '8': return put_ipn(p);
	}
	return rdata_fail(p, "no such field"); /* not reached: rdata_layouts has no other letter */
}

/* RFC 3597 section 5: \# length hex. */
static bool parse_generic(struct parse *p)
{
	uint64_t n;
	lex_next(p->x); /* the \# itself */
	if (!want(p, "the length of the rdata"))
		return false;
	if (!text_number(p->x->word, p->x->n, RDATA_MAX, &n))
		return rdata_wrong(p, "a length (0-65535)");
	if (!put_hex(p, true))
		return false;
	if (p->w.bad || wr_len(&p->w) != n)
		return rdata_fail(p, "\\# announces %u octets, %u follow", (unsigned)n, (unsigned)wr_len(&p->w));
	return true;
}

static bool parse_record(struct parse *p, uint16_t type)
{
	const char *f = layout_of(type);
	char buf[12];
	if (lex_next(p->x) == LEX_WORD && p->x->n == 2 && !memcmp(p->x->word, "\\#", 2)) {
		lex_back(p->x);
		if (!parse_generic(p))
			return false;
	} else if (f) {
		lex_back(p->x);
		for (; *f; f++)
			if (!parse_field(p, *f))
				return false;
	} else {
		return rdata_fail(p, "the rdata of type %s is written as \\# LENGTH HEX", rr_type_text(type, buf));
	}
	if (p->w.bad)
		return rdata_fail(p, "the record is over %d octets", RDATA_MAX);
	switch (lex_next(p->x)) {
	case LEX_END:
	case LEX_EOF: break;
	case LEX_BAD: return rdata_fail(p, "%s", p->x->why);
	default: return rdata_wrong(p, "expected: the record should have ended before it");
	}
	const char *fault = rdata_fault(type, p->w.start, wr_len(&p->w));
	return fault ? rdata_fail(p, "%s", fault) : true;
}

int rdata_parse(struct lex *x, uint16_t type, const uint8_t *origin, uint8_t out[static RDATA_MAX],
                char why[static WHY_MAX])
{
	struct parse p = { .x = x, .origin = origin, .w = wr_init(out, RDATA_MAX), .why = why };
	return parse_record(&p, type) ? (int)wr_len(&p.w) : -1;
}

/* ---- octets from elsewhere ---- */

static const char *check_bitmap(struct rd *r)
{
	int last = -1;
	while (rd_left(r)) {
		uint8_t window = rd_u8(r);
		uint8_t n = rd_u8(r);
		const uint8_t *b = rd_take(r, n);
		if (!b || n < 1 || n > 32 || window <= last || b[n - 1] == 0)
			return "the bitmap of types is malformed";
		last = window;
	}
	return NULL;
}

static const char *check_apl(struct rd *r)
{
	while (rd_left(r)) {
		uint16_t family = rd_u16(r);
		uint8_t prefix = rd_u8(r);
		uint8_t n = rd_u8(r) & 127;
		const uint8_t *b = rd_take(r, n);
		unsigned size = family == 1 ? 4 : family == 2 ? 16 : 127;
		if (!b || n > size || (size < 127 && prefix > size * 8))
			return "an APL item is malformed";
		if (n && b[n - 1] == 0)
			return "an APL address ends in a zero octet";
	}
	return NULL;
}

static const char *check_loc(struct rd *r)
{
	uint8_t version = rd_u8(r);
	if (r->bad)
		return "LOC is empty";
	if (version != 0) { /* RFC 1876: others are of unknown form */
		rd_take(r, rd_left(r));
		return NULL;
	}
	for (unsigned k = 0; k < 3; k++) {
		uint8_t v = rd_u8(r);
		if (v >> 4 > 9 || (v & 15) > 9)
			return "a size or precision of LOC is malformed";
	}
	int64_t lat = (int64_t)rd_u32(r) - (1ll << 31);
	int64_t lon = (int64_t)rd_u32(r) - (1ll << 31);
	rd_u32(r);
	if (r->bad)
		return NULL; /* too short: said by the caller */
	if (lat > 90 * 3600000 || lat < -90 * 3600000 || lon > 180 * 3600000 || lon < -180 * 3600000)
		return "LOC is beyond the globe";
	return NULL;
}

static const char *check_ipseckey(struct rd *r)
{
	uint8_t name[NAME_MAX_LEN];
	rd_u8(r);
	uint8_t gateway = rd_u8(r);
	rd_u8(r);
	if (gateway == 1)
		rd_take(r, 4);
	else if (gateway == 2)
		rd_take(r, 16);
	else if (gateway == 3)
		name_read(r, name);
	else if (gateway > 3)
		return "the gateway type is unknown";
	rd_take(r, rd_left(r));
	return NULL;
}

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

static const char *check_tag(struct rd *r)
{
	uint8_t n = rd_u8(r);
	const uint8_t *b = rd_take(r, n);
	if (!b || n == 0)
		return "the tag is empty";
	for (unsigned i = 0; i < n; i++) {
		uint8_t c = name_fold(b[i]);
		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z'))
			return "the tag has other octets than letters and digits";
	}
	return NULL;
}

/* DS (RFC 3658, 4509, 5933, 6605, 9558, 9563) and the "delete" form of CDS (RFC 8078 section 4):
 * the digest's type is the octet before it. */
static const char *check_ds(struct rd *r, const uint8_t *start)
{
	static const uint8_t size[7] = { 0, 20, 32, 32, 48, 32, 32 };
	size_t n = rd_left(r);
	uint8_t type = r->p[-1];
	if (get_u32(start) == 0)
		return rd_take(r, 1) ? NULL : "the digest is missing";
	if (n == 0 || (type < 7 && size[type] && n != size[type]))
		return "the digest's length does not fit its type";
	rd_take(r, n);
	return NULL;
}

/* RFC 8976 section 2.2; what other schemes mean by a hash is theirs. */
static const char *check_zonemd(struct rd *r)
{
	size_t n = rd_left(r);
	uint8_t scheme = r->p[-2], hash = scheme == 1 ? r->p[-1] : 0;
	if (n < 12 || (hash == 1 && n != 48) || (hash == 2 && n != 64))
		return "the digest's length does not fit its hash";
	rd_take(r, n);
	return NULL;
}

static const char *check_rest(struct rd *r, size_t min)
{
	size_t n = rd_left(r);
	if (n < min)
		r->bad = true;
	rd_take(r, n);
	return NULL;
}

static const char *check_strings(struct rd *r)
{
	do {
		rd_take(r, rd_u8(r));
	} while (rd_left(r));
	return NULL;
}

static const char *check_hash(struct rd *r)
{
	uint8_t n = rd_u8(r);
	rd_take(r, n);
	return n || r->bad ? NULL : "the hash is missing";
}

/* ---- octets of rare types ---- */

static const char *check_wks(struct rd *r)
{
	rd_take(r, 1);
	size_t n = rd_left(r);
	rd_take(r, n);
	return n > 8192 ? "WKS has ports beyond 65535" : NULL;
}

static const char *check_nxt(struct rd *r)
{
	size_t n = rd_left(r);
	const uint8_t *b = rd_take(r, n);
	if (!b || n == 0 || b[0] & 128) /* RFC 2535 section 5.2: bit 0 means another form */
		return NULL;
	return n > 16 || b[n - 1] == 0 ? "the bitmap of types is malformed" : NULL;
}

/* RFC 2535 section 3.1: no key if and only if the flags say NOKEY. */
static const char *check_key(struct rd *r, const uint8_t *start)
{
	size_t n = rd_left(r);
	if (r->bad)
		return NULL;
	rd_take(r, n);
	if ((start[0] & 0xc0) == 0xc0)
		return n ? "a key follows flags that say NOKEY" : NULL;
	return n ? NULL : "the key is missing";
}

static bool all_digits(const uint8_t *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_digit((char)b[i]))
			return false;
	return true;
}

/* RFC 1183 section 3.1: X.121, which begins with four digits of a network. */
static const char *check_x25(struct rd *r)
{
	uint8_t n = rd_u8(r);
	const uint8_t *b = rd_take(r, n);
	return b && (n < 4 || !all_digits(b, n)) ? "not four digits or more" : NULL;
}

static const char *check_atma(struct rd *r)
{
	uint8_t format = rd_u8(r);
	size_t n = rd_left(r);
	if (n == 0)
		r->bad = true;
	const uint8_t *b = rd_take(r, n);
	return b && format == 1 && !all_digits(b, n) ? "an E.164 number has only digits" : NULL;
}

static const char *check_a6(struct rd *r)
{
	uint8_t name[NAME_MAX_LEN];
	uint8_t prefix = rd_u8(r);
	if (prefix > 128)
		return "the prefix is longer than 128 bits";
	const uint8_t *b = rd_take(r, 16 - prefix / 8);
	if (b && prefix % 8 && b[0] & ~(0xff >> prefix % 8))
		return "bits of the prefix are in the suffix";
	if (prefix)
		name_read(r, name);
	return NULL;
}

static const char *check_hip(struct rd *r)
{
	uint8_t name[NAME_MAX_LEN];
	uint8_t hit = rd_u8(r);
	rd_u8(r);
	uint16_t key = rd_u16(r);
	if (!r->bad && (!hit || !key))
		return "the HIT or the key is missing";
	rd_take(r, hit);
	rd_take(r, key);
	while (rd_left(r))
		name_read(r, name);
	return NULL;
}

/* RFC 8777 section 4.2.3: relays of a type over 3 have a form yet to come. */
static const char *check_relay(struct rd *r)
{
	uint8_t name[NAME_MAX_LEN];
	switch (rd_u8(r) & 127) {
	case 0: break;
	case 1: rd_take(r, 4); break;
	case 2: rd_take(r, 16); break;
	case 3: name_read(r, name); break;
	default: rd_take(r, rd_left(r));
	}
	return NULL;
}

static const char *check_maybe_string(struct rd *r)
{
	if (rd_left(r))
		rd_take(r, rd_u8(r));
	return NULL;
}

/* NULL is well so far; a short read shows in r->bad. */
static const char *check_field(struct rd *r, char f, const uint8_t *start)
{
	uint8_t name[NAME_MAX_LEN];
	switch (f) {
	case '1': case 'g': case 'i': case 'p': case 'y': rd_take(r, 1); return NULL;
	case '2': case 'c': case 'T': case 'f': rd_take(r, 2); return NULL;
	case '4': case 't': case 'd': case 'a': rd_take(r, 4); return NULL;
	case 'e': rd_take(r, 6); return NULL;
	case 'E': case 'l': case '8': rd_take(r, 8); return NULL;
	case 'A': rd_take(r, 16); return NULL;
	case 'n': name_read(r, name); return NULL;
	case 's': case 'z': case 'U': rd_take(r, rd_u8(r)); return NULL;
	case '3': return check_hash(r);
	case 'S': return check_strings(r);
	case 'q': case 'h': case 'b': case 'N': return check_rest(r, 1);
	case 'B': case 'Q': case 'O': return check_rest(r, 0);
	case 'm': return check_bitmap(r);
	case 'C': return check_tag(r);
	case 'D': return r->bad ? NULL : check_ds(r, start);
	case 'Z': return r->bad ? NULL : check_zonemd(r);
	case 'L': return check_loc(r);
	case 'P': return check_apl(r);
	case 'I': return check_ipseckey(r);
	case 'V': return rdata_check_svcb(r);
	case 'K': return check_key(r, start);
	case 'o': return check_maybe_string(r);
	case 'x': return check_x25(r);
	case 'W': return check_wks(r);
	case 'w': return check_nxt(r);
	case 'M': return check_atma(r);
	case '6': return check_a6(r);
	case 'H': return check_hip(r);
	case 'R': return check_relay(r);
	}
	return "no such field";
}

const char *rdata_fault(uint16_t type, const uint8_t *rdata, size_t n)
{
	const char *f = layout_of(type);
	if (n > RDATA_MAX)
		return "the record is over 65535 octets";
	if (!f)
		return NULL;
	struct rd r = rd_init(rdata, n);
	for (; *f && !r.bad; f++) {
		const char *fault = check_field(&r, *f, rdata);
		if (fault)
			return fault;
	}
	if (r.bad)
		return "the rdata is too short, or a length or name in it is wrong";
	return rd_left(&r) ? "octets follow the rdata's last field" : NULL;
}

void rdata_fold_span(uint16_t type, const uint8_t *rdata, size_t n, size_t *from, size_t *to)
{
	*from = *to = 0;
	if (type > T_RRSIG || type == T_NSAP_PTR) /* not in that list */
		return;
	if (type == T_A6) {
		*from = n && rdata[0] ? 17u - rdata[0] / 8 : n;
		*to = n;
		return;
	}
	if (type == T_NS) {
		*to = n;
		return;
	}
	const char *f = rr_type_names(type);
	if (!f)
		return;
	struct rd r = rd_init(rdata, n);
	uint8_t name[NAME_MAX_LEN];
	bool first = true;
	for (; *f; f++) {
		if (*f == 'n' || *f == 'N') {
			if (first)
				*from = (size_t)(r.p - rdata);
			first = false;
			name_read(&r, name);
		} else if (*f == 's') {
			rd_take(&r, rd_u8(&r));
		} else {
			rd_take(&r, (size_t)(*f - '0'));
		}
	}
	*to = r.bad ? *from : (size_t)(r.p - rdata);
}
