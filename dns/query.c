/* query.c - a query packet, parsed.  Contract in query.h.
 *
 * Threat: every octet comes from a stranger.  The work is bounded by the
 * question, EXTRA_MAX further records and the packet's length; nothing is
 * allocated, logged or remembered.
 *
 * What is let through: one question, or none beside a cookie; no answer
 * records; authority records only below an IXFR (RFC 1995 section 3), which is
 * refused anyway; additional records of any type, OPT at most once and owned by
 * the root (RFC 6891 section 6.1.1), TSIG only as the last (RFC 8945 section
 * 5.1).  Messages of other opcodes are refused whatever is in them. */
#include "dns/query.h"

#define EXTRA_MAX 16 /* records behind the question */

/* A key's and its algorithm's name together: the answer that refuses them still
 * fits 512 octets behind the longest question, with an OPT. */
#define TSIG_NAMES_MAX (512 - DNS_HEAD - (NAME_MAX_LEN + 4) - 26 - 11)

#define FLAG_QR 0x8000
#define OPCODE(flags) ((flags) >> 11 & 15)
enum { OP_QUERY = 0, OP_NOTIFY = 4, OP_UPDATE = 5 };

#define OPT_DO 0x8000

static enum query_kind fail(struct query *q, uint16_t rcode)
{
	q->rcode = rcode;
	return QUERY_ERROR;
}

/* A client's part of 8 octets, and a server's of 8 to 32 (RFC 7873 section 4). */
static bool cookie_ok(size_t len) { return len == 8 || (len >= 16 && len <= 40); }

/* Options are {code16, len16, value}*.  Of several cookies the first counts
 * (RFC 7873 section 5.2); options nobody here knows are ignored. */
static bool take_options(struct query *q, struct rd r)
{
	while (rd_left(&r) > 0) {
		uint16_t code = rd_u16(&r);
		uint16_t len = rd_u16(&r);
		const uint8_t *value = rd_take(&r, len);
		if (r.bad)
			return false;
		if (code == OPTION_NSID)
			q->nsid = true;
		if (code == OPTION_VERSION && len != 0)
			return false; /* RFC 9660 section 3.1 */
		if (code == OPTION_VERSION)
			q->version = true;
		/* a client has no time to tell (RFC 7828 section 3.2.1) */
		if (code == OPTION_KEEPALIVE && q->keepalive != KEEPALIVE_BAD)
			q->keepalive = len == 0 ? KEEPALIVE_ASKED : KEEPALIVE_BAD;
		if (code != OPTION_COOKIE || q->cookie_len)
			continue;
		if (!cookie_ok(len))
			return false;
		q->cookie = value;
		q->cookie_len = (uint8_t)len;
	}
	return true;
}

static void forget_options(struct query *q)
{
	q->nsid = q->version = false;
	q->keepalive = KEEPALIVE_NONE;
	q->cookie_len = 0;
	q->cookie = NULL;
}

/* OPT's fixed part lies in a record's class and TTL (RFC 6891 section 6.1.2).
 * The answer to a malformed one has an OPT too (section 7). */
static bool take_opt(struct query *q, const uint8_t *owner, uint16_t class, uint32_t ttl, struct rd rdata)
{
	if (q->edns)
		return false;
	q->edns = true;
	q->udp_size = class < 512 ? 512 : class;
	q->dnssec_ok = ttl & OPT_DO;
	if ((ttl >> 16 & 0xff) == 0)
		return *owner == 0 && take_options(q, rdata);
	q->rcode = RCODE_BADVERS; /* its options may be of another form */
	return *owner == 0;
}

/* TSIG, RFC 8945 section 4.2.  There are no keys: what is kept is what a
 * BADKEY answer repeats. */
static bool take_tsig(struct query *q, const uint8_t *owner, uint16_t class, uint32_t ttl, struct rd r)
{
	uint8_t alg[NAME_MAX_LEN] RAW;
	size_t alg_len = name_read(&r, alg);
	const uint8_t *time = rd_take(&r, 8);
	rd_take(&r, rd_u16(&r)); /* MAC */
	rd_take(&r, 4);          /* original id, error */
	rd_take(&r, rd_u16(&r)); /* other data */
	if (r.bad || rd_left(&r) != 0 || class != CLASS_ANY || ttl != 0)
		return false;
	if (alg_len + name_len(owner) > TSIG_NAMES_MAX)
		return false;
	q->tsig_time = time;
	q->tsig_alg_len = (uint16_t)alg_len;
	name_lower(q->tsig_alg, alg);
	q->tsig_name_len = (uint16_t)name_lower(q->tsig_name, owner);
	return true;
}

/* One record behind the question, at *off; last: of the whole message. */
static bool take_record(struct query *q, const uint8_t *pkt, size_t len, size_t *off, bool additional,
                        bool last)
{
	uint8_t owner[NAME_MAX_LEN] RAW;
	if (!name_unpack(pkt, len, off, owner))
		return false;
	struct rd r = rd_init(pkt + *off, len - *off);
	uint16_t type = rd_u16(&r);
	uint16_t class = rd_u16(&r);
	uint32_t ttl = rd_u32(&r);
	struct rd rdata = rd_sub(&r, rd_u16(&r));
	if (r.bad)
		return false;
	*off = (size_t)(r.p - pkt);
	if (type == T_OPT)
		return additional && take_opt(q, owner, class, ttl, rdata);
	if (type == T_TSIG)
		return additional && last && take_tsig(q, owner, class, ttl, rdata);
	return true;
}

static bool take_question(struct query *q, const uint8_t *pkt, size_t len)
{
	const uint8_t *name = pkt + DNS_HEAD;
	size_t n = name_measure(name, len - DNS_HEAD);
	struct rd r = rd_init(name + n, len - DNS_HEAD - n);
	uint16_t qtype = rd_u16(&r);
	uint16_t qclass = rd_u16(&r);
	if (n == 0 || r.bad)
		return false;
	q->qtype = qtype;
	q->qclass = qclass;
	q->qname_len = (uint8_t)n;
	name_lower(q->qname, name);
	q->labels = (uint8_t)name_labels(name);
	q->question = name;
	q->question_len = (uint16_t)(n + 4);
	return true;
}

/* The records behind the question, whatever section they are in. */
static bool take_records(struct query *q, const uint8_t *pkt, size_t len)
{
	unsigned front = get_u16(pkt + 6) + get_u16(pkt + 8), all = front + get_u16(pkt + 10);
	size_t off = DNS_HEAD + (size_t)q->question_len;
	if (all > EXTRA_MAX)
		return false;
	for (unsigned i = 0; i < all; i++)
		if (!take_record(q, pkt, len, &off, i >= front, i + 1 == all))
			return false;
	return off == len;
}

/* Are there records that no query has? */
static bool out_of_place(const struct query *q, const uint8_t *pkt)
{
	return get_u16(pkt + 6) != 0 || (get_u16(pkt + 8) != 0 && q->qtype != T_IXFR);
}

/* What the options ask for does not count then; the OPT is answered by one (RFC
 * 6891 section 7). */
enum query_kind query_malformed(struct query *q)
{
	q->tsig_name_len = 0;
	forget_options(q);
	return fail(q, RCODE_FORMERR);
}

/* A query without a question asks for a cookie and nothing else (RFC 7873
 * section 5.4). */
static bool asks_for_cookie(const struct query *q)
{
	return q->cookie_len && !q->tsig_name_len;
}

/* A message of another opcode is refused, but what its answer repeats is taken
 * from it where it has the form of a query: the question, and that there was an
 * OPT (RFC 6891 section 6.1.1). */
static enum query_kind other_opcode(struct query *q, const uint8_t *pkt, size_t len, uint16_t rcode)
{
	if (get_u16(pkt + 4) == 1 && take_question(q, pkt, len) && !take_records(q, pkt, len))
		forget_options(q);
	q->tsig_name_len = 0;
	return q->rcode == RCODE_NOERROR ? fail(q, rcode) : QUERY_ERROR;
}

enum query_kind query_parse(const uint8_t *pkt, size_t len, struct query *q)
{
	if (len < DNS_HEAD || (get_u16(pkt + 2) & FLAG_QR))
		return QUERY_DROP;
	q->id = get_u16(pkt);
	q->flags = get_u16(pkt + 2);
	q->qtype = q->qclass = 0;
	q->rcode = RCODE_NOERROR;
	q->udp_size = 512;
	q->edns = q->dnssec_ok = false;
	q->labels = q->qname_len = 0;
	q->question_len = q->tsig_name_len = q->tsig_alg_len = 0;
	q->question = q->tsig_time = NULL;
	forget_options(q);

	unsigned op = OPCODE(q->flags);
	if (op != OP_QUERY)
		return other_opcode(q, pkt, len, op == OP_NOTIFY || op == OP_UPDATE ? RCODE_REFUSED : RCODE_NOTIMP);
	unsigned questions = get_u16(pkt + 4);
	if (questions > 1 || (questions == 1 && !take_question(q, pkt, len)))
		return fail(q, RCODE_FORMERR);
	if (!take_records(q, pkt, len) || out_of_place(q, pkt) || (questions == 0 && !asks_for_cookie(q)))
		return query_malformed(q);
	if (q->rcode != RCODE_NOERROR || questions == 0)
		return QUERY_ERROR;
	if (q->tsig_name_len)
		return fail(q, RCODE_NOTAUTH);
	if (q->qclass == CLASS_CH) {
		q->rcode = RCODE_REFUSED;
		return QUERY_CHAOS;
	}
	if (q->qclass != CLASS_IN && q->qclass != CLASS_ANY)
		return fail(q, RCODE_REFUSED);
	if (q->qtype == T_NXNAME) /* RFC 9824 section 3.5 */
		return fail(q, RCODE_FORMERR);
	/* there is no code for transfers */
	if (q->qtype == T_AXFR || q->qtype == T_IXFR)
		return fail(q, RCODE_REFUSED);
	return QUERY_OK;
}
