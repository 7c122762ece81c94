/* rdata.c - the table of types and their fields, and rdata from text.  Contract in rdata.h.
 *
 * `rdata_layouts` says for each type what its rdata is made of, a letter a field.
 * Two loops read it: parse_field() turns words into octets, check_field() in
 * rdata_check.c walks octets; what is parsed passes that too, so what holds
 * between fields is looked for there only.
 * Withstands any text: a word is bounded by the text at hand, an octet by struct wr. */
#include "hub/rdata_internal.h"

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
	uint8_t name[NAME_MAX_LEN] RAW;
	if (!want(p, "a name"))
		return false;
	size_t n = text_name(p->x->word, p->x->n, p->origin, name);
	if (n == 0)
		return rdata_wrong(p, "a domain name");
	wr_bytes(&p->w, name, n);
	return true;
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
	case 'V': return rdata_put_svcb(p);
	default: return rdata_put_rare(p, f);
	}
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
