/* rrset.h - RR types, and the RRsets of one owner name as octets.
 *
 * A *body* is all RRsets of one name in one zone, as master files are read to,
 * journal operations carry and fragments hold them:
 *
 *   body = set*                       sets in rising order of type
 *   set  = type16 ttl32 nrr16 nsig8 flags8 len32  rr{nrr} sig{nsig}
 *   rr   = len16 rdata                uncompressed, case kept, in canonical
 *   sig  = len16 rdata                order (RFC 4034 6.3), no duplicates
 *
 * `len` counts the octets behind the set's header.  A sig is the rdata of an
 * RRSIG that covers `type`; its TTL is the set's (RFC 4034 section 3).  A set
 * with nrr 0 and nsig > 0 holds signatures whose set is missing. */
#ifndef DNS_RRSET_H
#define DNS_RRSET_H

#include "dns/name.h"

/* All that IANA has assigned (2026), but for 255, which it calls "*". */
enum rr_type {
	T_A = 1, T_NS = 2, T_MD = 3, T_MF = 4, T_CNAME = 5, T_SOA = 6, T_MB = 7, T_MG = 8, T_MR = 9,
	T_NULL = 10, T_WKS = 11, T_PTR = 12, T_HINFO = 13, T_MINFO = 14, T_MX = 15, T_TXT = 16, T_RP = 17,
	T_AFSDB = 18, T_X25 = 19, T_ISDN = 20, T_RT = 21, T_NSAP = 22, T_NSAP_PTR = 23, T_SIG = 24,
	T_KEY = 25, T_PX = 26, T_GPOS = 27, T_AAAA = 28, T_LOC = 29, T_NXT = 30, T_EID = 31, T_NIMLOC = 32,
	T_SRV = 33, T_ATMA = 34, T_NAPTR = 35, T_KX = 36, T_CERT = 37, T_A6 = 38, T_DNAME = 39, T_SINK = 40,
	T_OPT = 41, T_APL = 42, T_DS = 43, T_SSHFP = 44, T_IPSECKEY = 45, T_RRSIG = 46, T_NSEC = 47,
	T_DNSKEY = 48, T_DHCID = 49, T_NSEC3 = 50, T_NSEC3PARAM = 51, T_TLSA = 52, T_SMIMEA = 53,
	T_HIP = 55, T_NINFO = 56, T_RKEY = 57, T_TALINK = 58, T_CDS = 59, T_CDNSKEY = 60,
	T_OPENPGPKEY = 61, T_CSYNC = 62, T_ZONEMD = 63, T_SVCB = 64, T_HTTPS = 65, T_DSYNC = 66,
	T_HHIT = 67, T_BRID = 68, T_UNECE = 69, T_ISO = 70, T_SPF = 99, T_UINFO = 100, T_UID = 101,
	T_GID = 102, T_UNSPEC = 103, T_NID = 104, T_L32 = 105, T_L64 = 106, T_LP = 107, T_EUI48 = 108,
	T_EUI64 = 109, T_NXNAME = 128 /* only in bitmaps (RFC 9824) */, T_TKEY = 249, T_TSIG = 250,
	T_IXFR = 251, T_AXFR = 252, T_MAILB = 253, T_MAILA = 254, T_ANY = 255, T_URI = 256, T_CAA = 257,
	T_AVC = 258, T_DOA = 259, T_AMTRELAY = 260, T_RESINFO = 261, T_WALLET = 262, T_CLA = 263, T_IPN = 264,
	T_TA = 32768, T_DLV = 32769,
};

/* A type's number by mnemonic or TYPEnnn, case-insensitive; -1 if unknown. */
int rr_type_parse(const char *text, size_t n);
/* Its mnemonic, or TYPEnnn written into buf. */
const char *rr_type_text(uint16_t type, char buf[static 12]);

/* Where names stand in an rdata: the rdata is a row of `fixed` octets, then a
 * name, and so on, as the format string tells: a digit d = d octets, 'n' = a
 * name that compresses (RFC 1035 types only, RFC 3597 section 4), 'N' = a name
 * that does not, 's' = a character string; what follows is opaque.  NULL: opaque,
 * or where the names are is said by other fields (A6, HIP, IPSECKEY, AMTRELAY). */
const char *rr_type_names(uint16_t type);

#define SET_HEAD 14          /* octets of a set's header */
#define BODY_MAX (1u << 20)  /* octets of a body: what a fragment may hold */

/* A view into a body; owns nothing. */
struct rrset {
	uint16_t type, nrr;
	uint8_t nsig, flags;
	uint32_t ttl;
	const uint8_t *rrs, *sigs; /* first rr, first sig (len16 rdata) */
	const uint8_t *start, *end; /* the set as it stands, header included */
};

/* Reads the next set; false at the end, and when the body is damaged (then
 * r->bad).  Checks every inner length, not what is inside the rdata. */
bool rrset_next(struct rd *r, struct rrset *out);
/* Finds a type's set in a body; signatures alone are none. */
bool rrset_find(const uint8_t *body, size_t len, uint16_t type, struct rrset *out);
/* The rr behind this one (rrs or sigs): p + 2 + get_u16(p). */
static inline const uint8_t *rr_next(const uint8_t *p) { return p + 2 + get_u16(p); }

/* What an NSEC3 or NSEC3PARAM begins with (RFC 5155 sections 3.2 and 4.2). */
struct nsec3_params { uint8_t alg, flags; uint16_t iterations; uint8_t saltlen; uint8_t salt[255]; };
/* False: the rdata is too short; *out is left alone. */
bool nsec3_params_read(const uint8_t *rdata, size_t n, struct nsec3_params *out);

/* What a name is in its zone; travels with the body (journal, fragment). */
enum node_flag {
	NODE_APEX = 1,        /* the zone's own name */
	NODE_CUT = 2,         /* has NS, is not the apex: a delegation */
	NODE_GLUE = 4,        /* at or below a cut: only glue addresses (or an ENT above them) */
	NODE_ENT = 8,         /* no data of its own, names below it (RFC 4592 section 2.2.2) */
	NODE_WILD = 16,       /* "*" right below exists: wildcard source */
	NODE_DNAME = 32,      /* has DNAME */
	NODE_NSEC3 = 64,      /* an NSEC3 owner: no name for the answering code, only a link of the chain */
	NODE_NSEC = 128,      /* has NSEC: a link of that chain */
};
/* `cut` beside the flags: labels of the topmost cut or DNAME owner at or above
 * this name (its own included); 0 = none.  Nothing but glue is kept below it. */

/* The owner-hash labels of NSEC3: base32hex without padding (RFC 5155 section 3.3).
 * decode returns octets written (at most 40), 0 if it is none. */
size_t base32hex_decode(const uint8_t *text, size_t n, uint8_t out[static 40]);
size_t base32hex_encode(const uint8_t *in, size_t n, uint8_t *out);
/* The owner of an NSEC3: the label of hash[0..n), in front of the zone's name.
 * False: it would be no name. */
bool nsec3_owner(const uint8_t *hash, size_t n, const uint8_t *zone, uint8_t out[static NAME_MAX_LEN]);

#endif
