/* rdata_check.c - rdata that is octets already: judged, and folded.  Contract in rdata.h.
 *
 * check_field() steps over a field, by the letters in rdata.c's table.  What holds
 * between fields (a digest's length by its type) is looked for here only; parsed
 * rdata passes it too.
 * Withstands octets from peers: each is read through struct rd. */
#include "hub/rdata_internal.h"

/* ---- one field ---- */

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

static const char *check_maybe_string(struct rd *r)
{
	if (rd_left(r))
		rd_take(r, rd_u8(r));
	return NULL;
}

static const char *check_field(struct rd *r, char f, const uint8_t *start)
{
	uint8_t name[NAME_MAX_LEN] RAW;
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
	case 'V': return rdata_check_svcb(r);
	case 'K': return check_key(r, start);
	case 'o': return check_maybe_string(r);
	default: return rdata_check_rare(r, f);
	}
}

/* ---- one record ---- */

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
	uint8_t name[NAME_MAX_LEN] RAW;
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
