/* test_tree.c - ordered trees against a sorted array: thousands of keys that
 * share beginnings, put in and taken out in any order, four levels deep. */
#define tree_node mock_node /* nodes lie in an array here, not in a log */
#include "store/tree.c"

#include "tests/tap.h"

#define NODES 65536u
#define KEYS  60000u

static struct { uint8_t *body; uint32_t len; } nodes[NODES];
static unsigned used;

enum store_found mock_node(const struct store_map *m, uint32_t inst, uint32_t chain, uint64_t number, uint64_t seq,
                           struct scratch *s, struct frag *out)
{
	(void)m, (void)inst, (void)chain, (void)seq, (void)s;
	if (number >= NODES || !nodes[number].body)
		return STORE_ABSENT;
	*out = (struct frag){ .body = nodes[number].body, .len = nodes[number].len };
	return STORE_FOUND;
}

/* The writer's doors to the store: the key ends in the node's number. */
enum store_found store_get_newest(struct store *st, enum frag_kind kind, uint32_t inst, const uint8_t *key,
                                  size_t keylen, struct scratch *s, struct frag *out)
{
	(void)st, (void)kind;
	return mock_node(NULL, inst, 0, get_u40(key + keylen - 5), 0, s, out);
}

int store_append_tree(struct store *st, uint64_t seq, uint32_t inst, const uint8_t *key, size_t keylen,
                      const uint8_t *body, uint32_t len)
{
	uint64_t number = get_u40(key + keylen - 5);
	(void)st, (void)seq, (void)inst;
	if (number >= NODES)
		return -1;
	used += !nodes[number].body;
	nodes[number].body = realloc(nodes[number].body, len);
	nodes[number].len = len;
	memcpy(nodes[number].body, body, len);
	return 0;
}

size_t tree_node_key(uint8_t out[static 9], uint32_t chain, uint64_t number)
{
	put_u32(out, chain);
	put_u40(out + 4, number);
	return 9;
}

/* ---- the model ---- */

struct key { uint8_t n, k[40]; bool in; };
static struct key key[KEYS]; /* sorted, each once */
static unsigned nkeys;
static uint32_t chain; /* of hashes: all keys have 20 octets */
static uint32_t state = 1;

static uint32_t rnd(uint32_t below)
{
	state = state * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)state * below >> 32);
}

static int by_key(const void *a, const void *b)
{
	const struct key *x = a, *y = b;
	return key_cmp(x->k, x->n, y->k, y->n);
}

/* Few letters, so that beginnings are shared; some are a beginning of others. */
static void make_keys(void)
{
	unsigned n = 0;
	for (unsigned i = 0; i < KEYS; i++) {
		bool hashed = chain & CHAIN_HASHED;
		key[i].n = (uint8_t)(hashed ? 20 : 6 + rnd(34));
		for (unsigned j = 0; j < key[i].n; j++)
			key[i].k[j] = hashed ? (uint8_t)rnd(256) : (uint8_t)"abz"[j < 4 ? rnd(3) : rnd(2) * rnd(3)];
		key[i].in = false;
	}
	qsort(key, KEYS, sizeof *key, by_key);
	for (unsigned i = 0; i < KEYS; i++)
		if (i == 0 || by_key(&key[i], &key[n - 1]) != 0)
			key[n++] = key[i];
	nkeys = n;
}

static struct scratch scratch;
static struct store_memo memo;

/* Every key there, and what lies at or before it. */
static unsigned wrong_finds(uint64_t seq)
{
	unsigned bad = 0;
	int last = -1, before = -1;
	for (unsigned i = 0; i < nkeys; i++)
		if (key[i].in)
			last = (int)i;
	for (unsigned i = 0; i < nkeys; i++) {
		uint8_t out[TREE_KEY_MAX];
		size_t n;
		bool exact;
		if (key[i].in)
			before = (int)i;
		const struct key *want = before >= 0 ? &key[before] : last >= 0 ? &key[last] : NULL;
		enum store_found r = tree_find(NULL, 1, chain, seq, key[i].k, key[i].n, &scratch, out, &n, &exact);
		if (!want)
			bad += r != STORE_ABSENT;
		else
			bad += r != STORE_FOUND || exact != key[i].in || key_cmp(out, n, want->k, want->n) != 0;
	}
	return bad;
}

/* The whole list, a run at a time. */
static unsigned wrong_list(uint64_t seq)
{
	static uint8_t mem[STORE_RUN_MAX];
	uint8_t at[TREE_KEY_MAX];
	size_t n = 0;
	unsigned bad = 0, i = 0;
	bool first = true;
	for (;;) {
		struct wr run = wr_init(mem, sizeof mem);
		if (tree_run(NULL, 1, chain, seq, first ? NULL : at, n, &scratch, &run) != STORE_FOUND)
			break;
		struct rd r = rd_init(mem, wr_len(&run));
		while (rd_left(&r) > 0) {
			n = rd_u16(&r);
			memcpy(at, rd_take(&r, n), n);
			while (i < nkeys && !key[i].in)
				i++;
			if (i == nkeys || key_cmp(at, n, key[i].k, key[i].n) != 0)
				return bad + 1;
			i++;
		}
		first = false;
	}
	while (i < nkeys)
		bad += key[i++].in;
	return bad;
}

static bool change(struct tree_cache *c, unsigned i, bool in)
{
	key[i].in = in;
	return (in ? tree_insert : tree_remove)(c, 1, chain, key[i].k, key[i].n) == 0;
}

int main(void)
{
	uint64_t seq = 1;
	scratch_new(&scratch, 1 << 20);
	scratch.memo = &memo;
	for (unsigned way = 0; way < 4; way++) {
		chain = way == 3 ? CHAIN_HASHED | 5 : 2 + way;
		struct tree_cache *c = tree_cache_new(NULL);
		bool good = true;
		for (unsigned i = 0; i < NODES; i++) {
			free(nodes[i].body);
			nodes[i].body = NULL;
		}
		used = 0;
		make_keys();
		for (unsigned k = 0; k < nkeys; k++) /* in order, backward, anyhow */
			good &= change(c, way == 0 ? k : way == 1 ? nkeys - 1 - k : rnd(nkeys), true);
		good &= tree_flush(c, ++seq) == 0;
		ok(good && wrong_list(seq) == 0 && wrong_finds(seq) == 0, "%s: %u keys, %u nodes, root of level %u",
		   way == 0 ? "in order" : way == 1 ? "backward" : way == 2 ? "at random" : "hashes", nkeys, used, nodes[0].body[0]);
		for (unsigned turn = 0; turn < 4; turn++) {
			for (unsigned k = 0; k < nkeys / 2; k++)
				good &= change(c, rnd(nkeys), rnd(turn + 1) == 0);
			good &= tree_flush(c, ++seq) == 0;
			ok(good && wrong_list(seq) == 0 && wrong_finds(seq) == 0, "after changes, the %u.", turn + 1);
		}
		for (unsigned k = 0; k < nkeys; k++)
			good &= change(c, k, false);
		good &= tree_flush(c, ++seq) == 0;
		ok(good && wrong_list(seq) == 0 && wrong_finds(seq) == 0, "and when all are gone");
		tree_cache_free(c);
	}
	for (unsigned i = 0; i < NODES; i++)
		free(nodes[i].body);
	scratch.memo = NULL;
	scratch_free(&scratch);
	return tap_done();
}
