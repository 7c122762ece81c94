/* Any packet through parsing and answering: no crash, and whatever is answered
 * is a response to it within its limit; TC for want of room is no longer than it.
 * Look-ups are the mock store's, one zone with NSEC and one with NSEC3. */
#include <stdlib.h>

#include "dns/answer.h"
#include "tests/mockstore.h"
#include "tests/rfc5155.h"

#define SIG(type) "  RRSIG " type " 5 1 60 20400509183619 20040409183619 1 example. AAAA\n"

static const char zone_text[] =
	"$ORIGIN ex.\n$TTL 60\n@ SOA ns h 1 1 1 1 1\n" SIG("SOA") "  NS ns\n  NSEC *.w NS SOA\n" SIG("NSEC")
	"ns A 192.0.2.1\n  AAAA 2001:db8::1\nc CNAME d.e\nd DNAME w\ne DNAME d\n*.w CNAME ns\n  NSEC @ CNAME\n"
	"cut NS ns.cut\n  NS ns\nns.cut A 192.0.2.2\nm MX 1 ns\n  MX 2 x.w\ns HTTPS 1 ns\na.b.en TXT t\n";

static struct answer answer;

static void say(void *ctx, bool error, const char *file, unsigned line, const char *text)
{
	(void)ctx, (void)error, (void)file, (void)line, (void)text;
}
static const struct zone_report quiet = { say, NULL, NULL };

static void setup(void)
{
	struct store_map *m = mock_new();
	if (crypto_init() < 0)
		abort();
	if (!mock_load(m, zone_load_text((const uint8_t *)"\2ex", zone_text, sizeof zone_text - 1, &quiet)))
		abort();
	if (!mock_load(m, zone_load_text((const uint8_t *)"\7example", nsec3_zone, sizeof nsec3_zone - 1, &quiet)))
		abort();
	mock_in_place(m);
	answer_init(&answer, m, malloc(ANSWER_SCRATCH), ANSWER_SCRATCH, NULL, 1232);
	static const struct sip key = { 1, 2 };
	answer.identity = "node";
	answer.version = "0";
	answer.cookie_keys = &key;
	answer.ncookie_keys = 1;
	answer_view(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct answer_job job;
	if (!answer.map)
		setup();
	job.kind = query_parse(data, n, &job.q);
	if (job.kind == QUERY_DROP)
		return 0;
	job.peer = (const uint8_t *)"\x7f\0\0\1";
	job.peer_len = 4;
	answer_begin(&answer, &job);
	answer_fetch(&answer, &job);
	for (unsigned tcp = 0; tcp < 2; tcp++) {
		size_t max = answer_limit(&answer, &job.q, tcp);
		uint8_t *out = malloc(max);
		size_t len = answer_finish(&answer, &job, out, max);
		if (len < DNS_HEAD || len > max || memcmp(out, data, 2) != 0 || !(out[2] & 0x80))
			abort();
		len = answer_slip(&answer, &job, out, max);
		if (len < DNS_HEAD || len > max || get_u32(out + 6) != 0)
			abort();
		len = job.kind == QUERY_OK ? answer_tc(&answer, &job, out, max) : 0;
		if (len > n || (len && get_u16(out + 2) != (0x8000 | FLAG_TC | (get_u16(data + 2) & 0x100))))
			abort();
		free(out);
	}
	return 0;
}
