/* Bodies that nobody sane wrote: through rrset_next(), and as the fragments an
 * answer is composed from.  Input: flags16 of the node, cut8, how8 (which type
 * is asked for, DO, TCP), then the body; it stands at the apex, at a name below
 * it, at "*" and in both chains of denial. */
#include <stdlib.h>

#include "dns/answer.h"
#include "tests/mockstore.h"

static const uint16_t types[] = { T_A, T_NS, T_MX, T_SOA, T_CNAME, T_DNAME, T_DS, T_ANY, T_RRSIG,
	                          T_SRV, T_HTTPS, T_NSEC, T_TXT, T_NSEC3, T_AAAA, T_PTR };
static const char *const names[] = { "\2ex", "\1n\2ex", "\1x\1n\2ex", "\1z\1y\2ex" };

static uint8_t scratch[ANSWER_SCRATCH];

static size_t make_query(const char *name, uint16_t type, bool edns, uint8_t *pkt)
{
	size_t len = name_len((const uint8_t *)name);
	struct wr w = wr_init(pkt, 512);
	wr_bytes(&w, "\0\7\0\0\0\1\0\0\0\0\0", 11);
	wr_u8(&w, edns);
	wr_bytes(&w, name, len);
	wr_u16(&w, type);
	wr_u16(&w, CLASS_IN);
	if (edns)
		wr_bytes(&w, "\0\0\x29\4\xd0\0\0\x80\0\0\0", 11);
	return wr_len(&w);
}

static struct store_map *mock(struct rd r)
{
	uint16_t flags = rd_u16(&r);
	uint8_t cut = rd_u8(&r);
	rd_u8(&r);
	const uint8_t *ex = (const uint8_t *)"\2ex";
	struct store_map *m = mock_new();
	mock_in_place(m);
	uint32_t inst = mock_zone(m, ex, ZONE_SERVING);
	uint8_t n3[33 + 4] = { 32 };
	memset(n3 + 1, '0', 32);
	memcpy(n3 + 33, ex, 4);
	mock_put(m, inst, FRAG_NAME, ex, NODE_APEX | flags, cut > 1 ? 0 : cut, r.p, rd_left(&r));
	mock_put(m, inst, FRAG_NAME, (const uint8_t *)"\1n\2ex", flags, cut, r.p, rd_left(&r));
	mock_put(m, inst, FRAG_NAME, (const uint8_t *)"\1*\2ex", flags, cut, r.p, rd_left(&r));
	mock_put(m, inst, FRAG_NSEC3, n3, NODE_NSEC3, 0, r.p, rd_left(&r));
	return m;
}

/* Every name of a response must be one, every record must end in it. */
static void check(const uint8_t *out, size_t n, size_t max)
{
	uint8_t name[NAME_MAX_LEN];
	size_t off = DNS_HEAD;
	if (n < DNS_HEAD || n > max || !name_unpack(out, n, &off, name))
		abort();
	off += 4;
	unsigned records = get_u16(out + 6) + get_u16(out + 8) + get_u16(out + 10);
	for (; records > 0; records--) {
		if (!name_unpack(out, n, &off, name) || n - off < 10)
			abort();
		off += 10u + get_u16(out + off + 8);
	}
	if (off != n)
		abort();
}

static void ask(struct store_map *m, const char *name, uint8_t how)
{
	static struct answer a;
	static struct answer_job job;
	static uint8_t out[65535];
	uint8_t pkt[512];
	size_t n = make_query(name, types[how & 15], how & 16, pkt);
	answer_init(&a, m, scratch, sizeof scratch, NULL, 1232);
	answer_view(&a);
	job.kind = query_parse(pkt, n, &job.q);
	answer_begin(&a, &job);
	answer_fetch(&a, &job);
	size_t max = answer_limit(&a, &job.q, how & 32);
	n = answer_finish(&a, &job, out, max);
	check(out, n, max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct rd r = rd_init(data, n);
	struct rrset s;
	static bool ready;
	if (n < 4)
		return 0;
	if (!ready && crypto_init() < 0)
		abort();
	ready = true;
	rd_take(&r, 4);
	while (rrset_next(&r, &s))
		if (s.start < data || s.end > data + n || s.rrs > s.sigs || s.sigs > s.end)
			abort();
	struct store_map *m = mock(rd_init(data, n));
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		ask(m, names[i], data[3]);
	mock_free(m);
	return 0;
}
