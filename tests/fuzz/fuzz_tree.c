/* fuzz_tree.c - nodes of an ordered tree that nobody sane wrote: every search
 * ends, and yields a key that fits.
 * Input: number of nodes 8 | (length 16 | body) of each | the key asked for. */
#define tree_node mock_node /* ours instead of the store's */
#include "store/tree.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct { const uint8_t *p; size_t n; } nodes[256];
static unsigned count, looks;

enum store_found mock_node(const struct store_map *m, uint32_t inst, uint32_t chain, uint64_t number, uint64_t seq,
                           struct scratch *s, struct frag *out)
{
	(void)m;
	(void)inst;
	(void)chain;
	(void)seq;
	(void)s;
	looks++;
	if (number >= count)
		return STORE_ABSENT;
	*out = (struct frag){ .body = nodes[number].p, .len = (uint32_t)nodes[number].n };
	return STORE_FOUND;
}

static void check(enum store_found r, size_t n)
{
	if (r == STORE_FOUND && n > TREE_KEY_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[TREE_KEY_MAX], mem[64];
	struct scratch s = { .mem = mem, .size = sizeof mem };
	struct rd r = rd_init(data, size);
	size_t n = 0;
	bool exact;
	count = rd_u8(&r);
	for (unsigned i = 0; i < count; i++) {
		struct rd body = rd_sub(&r, rd_u16(&r));
		nodes[i].p = body.p;
		nodes[i].n = rd_left(&body);
	}
	if (r.bad)
		return 0;
	size_t len = rd_left(&r) < TREE_KEY_MAX ? rd_left(&r) : TREE_KEY_MAX;
	looks = 0;
	check(tree_find(NULL, 1, CHAIN_NSEC, 1, r.p, len, &s, out, &n, &exact), n);
	check(tree_find(NULL, 1, CHAIN_NSEC, 1, NULL, 0, &s, out, &n, &exact), n);
	check(tree_after(NULL, 1, CHAIN_NSEC, 1, r.p, len, &s, out, &n), n);
	enum store_found found = tree_after(NULL, 1, CHAIN_NSEC, 1, NULL, 0, &s, out, &n);
	for (unsigned i = 0; found == STORE_FOUND && i < 20; i++) {
		uint8_t at[TREE_KEY_MAX];
		check(found, n);
		memcpy(at, out, n);
		found = tree_after(NULL, 1, CHAIN_NSEC, 1, at, n, &s, out, &n);
	}
	return 0;
}
