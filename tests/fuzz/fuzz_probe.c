/* fuzz_probe.c - what encdns-route reads of its own node: answers to its questions
 * (first octet even) and the list of zones (odd), from processes that may have been
 * taken over.  Nothing is read beyond the end, and what is taken is a name. */
#include "main/health.c"
#include "main/probe.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool good)
{
	if (!good)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint8_t zone[] = "\7example\3org";
	uint32_t serial = 0, count = 0, failed = 0;
	unsigned rcode = 0;
	if (n < 1 + ZONE_LIST_HEAD)
		return 0;
	uint8_t *b = malloc(n - 1); /* its end is the sanitizer's to watch */
	memcpy(b, data + 1, n - 1);
	if (data[0] & 1) {
		uint32_t room = get_u32(b + 1);
		struct zone *zones = room <= n ? calloc((size_t)room + 1, sizeof *zones) : NULL;
		if (zones && read_list(rd_init(b, n - 1), zones, &count, &failed)) {
			need(count + failed <= room);
			for (uint32_t i = 0; i < count; i++)
				need(name_len(zones[i].name) <= NAME_MAX_LEN);
			qsort(zones, count, sizeof *zones, by_name);
		}
		free(zones);
	} else {
		enum probe_said said = probe_read(b, n - 1, get_u16(b), zone, &serial, &rcode);
		need(said == PROBE_FOREIGN || rcode <= 15);
		struct probe_cookie k = { 8, { 0 } };
		probe_learn(b, n - 1, &k);
		need(k.len == 8 || k.len == 24);
	}
	free(b);
	return 0;
}
