/* rrset.c - RR types and bodies: pure functions.  Contract in rrset.h.
 * Threat: a body comes from the journal or the store, authenticated but not
 * trusted: every length is checked before it is followed. */
#include "dns/rrset.h"

#include <stdio.h>

struct type { const char *text, *names; };
static const struct type types[T_IPN + 1] = {
	[T_A] = { "A", NULL }, [T_NS] = { "NS", "n" }, [T_MD] = { "MD", "n" }, [T_MF] = { "MF", "n" },
	[T_CNAME] = { "CNAME", "n" }, [T_SOA] = { "SOA", "nn" }, [T_MB] = { "MB", "n" },
	[T_MG] = { "MG", "n" }, [T_MR] = { "MR", "n" }, [T_NULL] = { "NULL", NULL },
	[T_WKS] = { "WKS", NULL }, [T_PTR] = { "PTR", "n" }, [T_HINFO] = { "HINFO", NULL },
	[T_MINFO] = { "MINFO", "nn" }, [T_MX] = { "MX", "2n" }, [T_TXT] = { "TXT", NULL },
	[T_RP] = { "RP", "NN" }, [T_AFSDB] = { "AFSDB", "2N" }, [T_X25] = { "X25", NULL },
	[T_ISDN] = { "ISDN", NULL }, [T_RT] = { "RT", "2N" }, [T_NSAP] = { "NSAP", NULL },
	[T_NSAP_PTR] = { "NSAP-PTR", "N" }, [T_SIG] = { "SIG", "99N" }, [T_KEY] = { "KEY", NULL },
	[T_PX] = { "PX", "2NN" }, [T_GPOS] = { "GPOS", NULL }, [T_AAAA] = { "AAAA", NULL },
	[T_LOC] = { "LOC", NULL }, [T_NXT] = { "NXT", "N" }, [T_EID] = { "EID", NULL },
	[T_NIMLOC] = { "NIMLOC", NULL }, [T_SRV] = { "SRV", "6N" }, [T_ATMA] = { "ATMA", NULL },
	[T_NAPTR] = { "NAPTR", "4sssN" }, [T_KX] = { "KX", "2N" }, [T_CERT] = { "CERT", NULL },
	[T_A6] = { "A6", NULL }, [T_DNAME] = { "DNAME", "N" }, [T_SINK] = { "SINK", NULL },
	[T_OPT] = { "OPT", NULL }, [T_APL] = { "APL", NULL }, [T_DS] = { "DS", NULL },
	[T_SSHFP] = { "SSHFP", NULL }, [T_IPSECKEY] = { "IPSECKEY", NULL }, [T_RRSIG] = { "RRSIG", "99N" },
	[T_NSEC] = { "NSEC", "N" }, [T_DNSKEY] = { "DNSKEY", NULL }, [T_DHCID] = { "DHCID", NULL },
	[T_NSEC3] = { "NSEC3", NULL }, [T_NSEC3PARAM] = { "NSEC3PARAM", NULL }, [T_TLSA] = { "TLSA", NULL },
	[T_SMIMEA] = { "SMIMEA", NULL }, [T_HIP] = { "HIP", NULL }, [T_NINFO] = { "NINFO", NULL },
	[T_RKEY] = { "RKEY", NULL }, [T_TALINK] = { "TALINK", "NN" }, [T_CDS] = { "CDS", NULL },
	[T_CDNSKEY] = { "CDNSKEY", NULL }, [T_OPENPGPKEY] = { "OPENPGPKEY", NULL },
	[T_CSYNC] = { "CSYNC", NULL }, [T_ZONEMD] = { "ZONEMD", NULL }, [T_SVCB] = { "SVCB", "2N" },
	[T_HTTPS] = { "HTTPS", "2N" }, [T_DSYNC] = { "DSYNC", "5N" }, [T_HHIT] = { "HHIT", NULL },
	[T_BRID] = { "BRID", NULL }, [T_UNECE] = { "UNECE", NULL }, [T_ISO] = { "ISO", NULL },
	[T_SPF] = { "SPF", NULL }, [T_UINFO] = { "UINFO", NULL }, [T_UID] = { "UID", NULL },
	[T_GID] = { "GID", NULL }, [T_UNSPEC] = { "UNSPEC", NULL }, [T_NID] = { "NID", NULL },
	[T_L32] = { "L32", NULL }, [T_L64] = { "L64", NULL }, [T_LP] = { "LP", "2N" },
	[T_EUI48] = { "EUI48", NULL }, [T_EUI64] = { "EUI64", NULL }, [T_NXNAME] = { "NXNAME", NULL },
	[T_TKEY] = { "TKEY", NULL }, [T_TSIG] = { "TSIG", NULL }, [T_IXFR] = { "IXFR", NULL },
	[T_AXFR] = { "AXFR", NULL }, [T_MAILB] = { "MAILB", NULL }, [T_MAILA] = { "MAILA", NULL },
	[T_ANY] = { "ANY", NULL }, [T_URI] = { "URI", NULL }, [T_CAA] = { "CAA", NULL },
	[T_AVC] = { "AVC", NULL }, [T_DOA] = { "DOA", NULL }, [T_AMTRELAY] = { "AMTRELAY", NULL },
	[T_RESINFO] = { "RESINFO", NULL }, [T_WALLET] = { "WALLET", NULL }, [T_CLA] = { "CLA", NULL },
	[T_IPN] = { "IPN", NULL },
};
static const struct type ta = { "TA", NULL }, dlv = { "DLV", NULL };

/* NULL: a type without a mnemonic. */
static const struct type *type_entry(uint16_t type)
{
	if (type <= T_IPN)
		return types[type].text ? &types[type] : NULL;
	return type == T_TA ? &ta : type == T_DLV ? &dlv : NULL;
}

static bool same_text(const char *a, const char *text, size_t n)
{
	for (; n && *a; a++, text++, n--)
		if (name_fold((uint8_t)*a) != name_fold((uint8_t)*text))
			return false;
	return n == 0 && *a == 0;
}

int rr_type_parse(const char *text, size_t n)
{
	/* what bitmaps and covered types name most */
	static const uint8_t usual[] = { T_A, T_NS, T_DS, T_RRSIG, T_NSEC, T_AAAA, T_TXT, T_MX, T_SOA,
		                         T_DNSKEY };
	if (n == 0 || (text[0] >= '0' && text[0] <= '9')) /* a TTL is asked too, and most often */
		return -1;
	for (size_t i = 0; i < sizeof usual; i++)
		if (same_text(types[usual[i]].text, text, n))
			return usual[i];
	for (int i = 0; i <= T_IPN; i++)
		if (types[i].text && same_text(types[i].text, text, n))
			return i;
	if (same_text(ta.text, text, n))
		return T_TA;
	if (same_text(dlv.text, text, n))
		return T_DLV;
	if (n < 5 || n > 9 || !same_text("TYPE", text, 4))
		return -1;
	unsigned v = 0;
	for (size_t i = 4; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		v = v * 10 + (unsigned)(text[i] - '0');
	}
	return v <= 65535 ? (int)v : -1;
}

const char *rr_type_text(uint16_t type, char buf[static 12])
{
	const struct type *t = type_entry(type);
	if (t)
		return t->text;
	snprintf(buf, 12, "TYPE%u", type);
	return buf;
}

const char *rr_type_names(uint16_t type)
{
	const struct type *t = type_entry(type);
	return t ? t->names : NULL;
}

/* Steps over n rrs inside r. */
static void skip_rrs(struct rd *r, unsigned n)
{
	while (n-- > 0 && !r->bad)
		rd_take(r, rd_u16(r));
}

bool rrset_next(struct rd *r, struct rrset *out)
{
	if (r->bad || r->p == r->end)
		return false;
	struct rrset s = { .start = r->p };
	s.type = rd_u16(r);
	s.ttl = rd_u32(r);
	s.nrr = rd_u16(r);
	s.nsig = rd_u8(r);
	s.flags = rd_u8(r);
	uint32_t len = rd_u32(r);
	struct rd in = rd_sub(r, len);
	s.rrs = in.p;
	skip_rrs(&in, s.nrr);
	s.sigs = in.p;
	skip_rrs(&in, s.nsig);
	if (in.bad || in.p != in.end) {
		r->bad = true;
		return false;
	}
	s.end = r->p;
	*out = s;
	return true;
}

bool rrset_find(const uint8_t *body, size_t len, uint16_t type, struct rrset *out)
{
	struct rd r = rd_init(body, len);
	struct rrset s;
	/* hop by the headers alone; the one that matches is checked in full */
	while (rd_left(&r) >= SET_HEAD) {
		if (get_u16(r.p) == type)
			return rrset_next(&r, &s) && s.nrr > 0 ? (*out = s, true) : false;
		rd_take(&r, SET_HEAD + (size_t)get_u32(r.p + 10));
	}
	return false;
}

bool nsec3_params_read(const uint8_t *rdata, size_t n, struct nsec3_params *out)
{
	struct rd r = rd_init(rdata, n);
	struct nsec3_params p = { .alg = rd_u8(&r) };
	p.flags = rd_u8(&r);
	p.iterations = rd_u16(&r);
	p.saltlen = rd_u8(&r);
	rd_copy(&r, p.salt, p.saltlen);
	if (r.bad)
		return false;
	*out = p;
	return true;
}

size_t base32hex_decode(const uint8_t *text, size_t n, uint8_t out[static 40])
{
	uint32_t acc = 0;
	unsigned bits = 0;
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		uint8_t c = name_fold(text[i]);
		unsigned v;
		if (c >= '0' && c <= '9')
			v = c - '0';
		else if (c >= 'a' && c <= 'v')
			v = c - 'a' + 10u;
		else
			return 0;
		acc = acc << 5 | v;
		bits += 5;
		if (bits >= 8) {
			bits -= 8;
			if (at == 40)
				return 0;
			out[at++] = (uint8_t)(acc >> bits);
		}
	}
	/* what is left over must be padding: less than an octet, all zero */
	return bits < 5 && (acc & ((1u << bits) - 1)) == 0 ? at : 0;
}

size_t base32hex_encode(const uint8_t *in, size_t n, uint8_t *out)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuv";
	uint32_t acc = 0;
	unsigned bits = 0;
	size_t at = 0;
	for (size_t i = 0; i < n; i++) {
		acc = acc << 8 | in[i];
		for (bits += 8; bits >= 5; bits -= 5)
			out[at++] = (uint8_t)digits[acc >> (bits - 5) & 31];
	}
	if (bits)
		out[at++] = (uint8_t)digits[acc << (5 - bits) & 31];
	return at;
}

bool nsec3_owner(const uint8_t *hash, size_t n, const uint8_t *zone, uint8_t out[static NAME_MAX_LEN])
{
	size_t label = (n * 8 + 4) / 5, len = name_len(zone);
	if (n == 0 || label > 63 || 1 + label + len > NAME_MAX_LEN)
		return false;
	out[0] = (uint8_t)base32hex_encode(hash, n, out + 1);
	copy_short(out + 1 + label, zone, len);
	return true;
}
