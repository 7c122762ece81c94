/* fuzz_master.c - any text as a master file, and as a zone that is walked.
 * The first octet chooses: 'r' and a type judges rdata, else all is text. */
#include "hub/zone.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t origin[] = "\7example";

/* $GENERATE may mean millions of records: a few are enough. */
static const char *count(void *ctx, const struct master_rr *rr)
{
	if (rdata_fault(rr->type, rr->rdata, rr->len) || rr->ttl > 0x7fffffff)
		abort();
	return ++*(unsigned *)ctx > 500 ? "enough" : NULL;
}

static void walk(struct zone *z)
{
	struct zone_cursor c;
	struct zone_node node;
	struct rrset set;
	uint8_t last[NAME_MAX_LEN];
	uint64_t n = 0;
	if (zone_open(&c, z) != 0)
		return;
	for (; zone_next(&c, &node); n++) {
		int order = n ? name_cmp(last, node.owner) : -1;
		if (order > 0 || (order == 0 && node.flags != NODE_NSEC3) || !name_below(node.owner, origin))
			abort();
		name_lower(last, node.owner);
		struct rd r = rd_init(node.body, node.len);
		while (rrset_next(&r, &set))
			;
		if (r.bad || (node.len == 0) != !!(node.flags & NODE_ENT))
			abort();
	}
	zone_close(&c);
	if (n != zone_names(z))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned records = 0;
	struct master_sink sink = { .emit = count, .ctx = &records };
	if (size > 3 && data[0] == 'r' && data[1] < 2) {
		uint16_t type = get_u16(data + 1);
		size_t from, to;
		if (size - 3 <= RDATA_MAX && !rdata_fault(type, data + 3, size - 3))
			rdata_fold_span(type, data + 3, size - 3, &from, &to);
		return 0;
	}
	master_read_text((const char *)data, size, "fuzz", origin, &sink);
	if (records < 500) {
		struct zone *z = zone_load_text(origin, (const char *)data, size, NULL);
		if (z)
			walk(z);
		zone_free(z);
	}
	return 0;
}
