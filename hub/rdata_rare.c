/* rdata_rare.c - fields that one rare type has: LOC, APL, IPSECKEY, WKS, NXT, NSAP,
 * X25, ATMA, A6, HIP, AMTRELAY, NID and L64, IPN.  Contract in rdata_internal.h.
 *
 * Where one of the two forms is a plain one (X25 as text; NSAP, NID, L64 and IPN as
 * octets), rdata.c or rdata_check.c has it.
 * Withstands any text and any octets: words are bounded by the text at hand, what is
 * written by struct wr, what is read by struct rd. */
#include "hub/rdata_internal.h"

/* ---- as text ---- */

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

/* ---- as octets ---- */

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

/* ---- one field ---- */

bool rdata_put_rare(struct parse *p, char f)
{
	switch (f) {
	case 'L': return put_loc(p);
	case 'P': return put_apl(p);
	case 'I': return put_ipseckey(p);
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

const char *rdata_check_rare(struct rd *r, char f)
{
	switch (f) {
	case 'L': return check_loc(r);
	case 'P': return check_apl(r);
	case 'I': return check_ipseckey(r);
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
