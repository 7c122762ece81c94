/* tree.c - ordered trees: B+trees whose nodes are fragments of the log.
 *
 * A tree is (instance, chain): the catalog (0, CHAIN_CATALOG), a zone's NSEC
 * chain, an NSEC3 chain for each set of parameters, the hub's list of names.
 * Its root is node 0 and stays it; other numbers are given once and never
 * again.  A node's body:
 *   level 8 (0 = leaf) | count 16 | next free number 40 (root) | entry*
 *   entry: child number 40 (inner nodes) | length 16 | key
 * An inner entry's key is above all keys below the child before and not above
 * any below its own; it need not be one of them.  The first entry's stands for
 * "everything smaller".  Only an empty tree has an empty leaf.
 *
 * The writer changes nodes in a cache and writes each once a flush; readers see
 * a tree at their view like any other fragment.
 * Threat: bodies are authenticated; still every length is checked (a damaged
 * node is STORE_DAMAGED). */
#include "store/internal.h"

#include <errno.h>
#include <stdlib.h>

#define NODE_HEAD  8
#define NODE_SPLIT 1536 /* octets at which an inner node is split in two */
#define LEAF_SPLIT 512  /* a leaf: searches decrypt one each, and few inner nodes */
#define HASH_LEN   20   /* keys of an NSEC3 chain */
#define LEVELS     32
#define ROOT_NODE  0
#define CHAIN_HASHED 0x80000000u /* NSEC3, apart from the fixed chains */

struct entry { uint64_t child; const uint8_t *key; size_t n; };
struct node_rd { struct rd r; unsigned level, count; };

static bool node_read(const uint8_t *body, size_t len, struct node_rd *out)
{
	out->r = rd_init(body, len);
	out->level = rd_u8(&out->r);
	out->count = rd_u16(&out->r);
	rd_u40(&out->r);
	return !out->r.bad && out->level < LEVELS;
}

static bool entry_next(struct node_rd *n, struct entry *e)
{
	if (rd_left(&n->r) == 0)
		return false;
	e->child = n->level ? rd_u40(&n->r) : 0;
	e->n = rd_u16(&n->r);
	e->key = rd_take(&n->r, e->n);
	return e->key && e->n <= TREE_KEY_MAX;
}

static int key_cmp(const uint8_t *a, size_t an, const uint8_t *b, size_t bn)
{
	size_t n = an < bn ? an : bn;
	if (n >= 8) { /* hashes differ early */
		uint64_t x = get_u64(a), y = get_u64(b);
		if (x != y)
			return x > y ? 1 : -1;
	}
	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i])
			return a[i] > b[i] ? 1 : -1;
	return (an > bn) - (an < bn);
}

/* A search, level by level; `dir` says where to go on when a subtree has
 * nothing: -1 for the greatest key <= key, 1 for the smallest > key. */
struct search {
	const struct store_map *m;
	uint32_t inst, chain;
	uint64_t seq;
	const uint8_t *key; /* NULL: -1 the last, 1 the first */
	size_t n;
	struct scratch *s;
	uint8_t *out;
	size_t *outn;
	struct wr *run; /* up: the rest of the leaf, each key with its length 16 */
};

static bool at_most(const struct search *q, const struct entry *e)
{
	return !q->key || key_cmp(e->key, e->n, q->key, q->n) <= 0;
}

static enum store_found found_key(const struct search *q, const struct entry *e)
{
	copy_short(q->out, e->key, e->n);
	*q->outn = e->n;
	return STORE_FOUND;
}

/* The key and all behind it in its leaf. */
static enum store_found found_run(const struct search *q, struct node_rd *n, struct entry *e)
{
	do {
		wr_u16(q->run, (uint32_t)e->n);
		wr_bytes(q->run, e->key, e->n);
	} while (entry_next(n, e));
	return q->run->bad || n->r.bad ? STORE_DAMAGED : STORE_FOUND;
}

/* ---- the memo ---- */

static uint64_t memo_hash(const struct search *q, uint64_t number)
{
	uint64_t h = ((uint64_t)q->inst << 32 ^ q->chain) * 0x9e3779b97f4a7c15u + number;
	return h ^ h >> 29;
}

static struct memo_node *memo_place(const struct search *q, uint64_t number)
{
	return &q->s->memo->node[memo_hash(q, number) % MEMO_NODES];
}

static struct memo_leaf *memo_leaf(const struct search *q, uint64_t number)
{
	return &q->s->memo->leaf[memo_hash(q, number) % MEMO_LEAVES];
}

static bool leaf_has(const struct memo_leaf *m, const struct search *q, uint64_t number)
{
	return m->len && m->number == number && m->inst == q->inst && m->chain == q->chain && m->seq == q->seq;
}

/* Keeps a leaf, if it fits. */
static void leaf_put(struct memo_leaf *m, const struct search *q, uint64_t number, const struct frag *f)
{
	if (f->len > sizeof m->body)
		return;
	m->number = number;
	m->seq = q->seq;
	m->inst = q->inst;
	m->chain = q->chain;
	m->len = f->len;
	memcpy(m->body, f->body, f->len);
}

static bool memo_has(const struct memo_node *m, const struct search *q, uint64_t number)
{
	return m->count && m->number == number && m->inst == q->inst && m->chain == q->chain && m->seq == q->seq;
}

/* The first octets of a key, zeros behind a short one: keys in order have them
 * in order, and equal ones need a look at the rest. */
static uint64_t key_start(const uint8_t *key, size_t n)
{
	uint8_t b[8] = { 0 };
	if (n >= sizeof b)
		return get_u64(key);
	copy_short(b, key, n);
	return get_u64(b);
}

/* Keeps an inner node, if it fits; else the place is empty. */
static void memo_put(struct memo_node *m, const struct search *q, uint64_t number, const struct frag *f)
{
	struct node_rd n;
	struct entry e;
	unsigned count = 0;
	m->count = 0;
	if (f->len > sizeof m->body || !node_read(f->body, f->len, &n) || n.level == 0)
		return;
	memcpy(m->body, f->body, f->len);
	node_read(m->body, f->len, &n);
	for (;;) {
		size_t at = (size_t)(n.r.p - m->body);
		if (!entry_next(&n, &e))
			break;
		if (count == MEMO_KEYS)
			return;
		m->start[count] = key_start(e.key, e.n);
		m->at[count++] = (uint16_t)at;
	}
	if (n.r.bad)
		return;
	m->number = number;
	m->inst = q->inst;
	m->chain = q->chain;
	m->seq = q->seq;
	m->len = (uint16_t)f->len;
	m->count = (uint16_t)count;
}

static void memo_entry(const struct memo_node *m, unsigned i, struct entry *e)
{
	struct node_rd n = { .r = rd_init(m->body + m->at[i], m->len - (size_t)m->at[i]), .level = m->body[0] };
	entry_next(&n, e);
}

/* The last entry whose key is not above ours, and the one before it, like
 * scan(). */
static unsigned memo_scan(const struct memo_node *m, const struct search *q, struct entry best[static 2])
{
	unsigned low = 1, high = m->count; /* entry 0 stands for all that is smaller */
	if (q->key) {
		uint64_t start = key_start(q->key, q->n);
		while (low < high) {
			unsigned mid = (low + high) / 2;
			struct entry e;
			bool above = m->start[mid] > start;
			if (m->start[mid] == start) {
				memo_entry(m, mid, &e);
				above = !at_most(q, &e);
			}
			if (above)
				high = mid;
			else
				low = mid + 1;
		}
	} else {
		low = m->count;
	}
	memo_entry(m, low - 1, &best[0]);
	if (low == 1)
		return 1;
	memo_entry(m, low - 2, &best[1]);
	return 2;
}

/* ---- searches ---- */

/* Walks a node's entries for the last whose key is not above ours, and the one
 * before it; how many of the two there are. */
static unsigned scan(struct node_rd *n, const struct search *q, struct entry best[static 2])
{
	struct entry e;
	unsigned have = 0;
	while (entry_next(n, &e)) {
		if (!at_most(q, &e) && !(n->level && have == 0))
			break;
		best[1] = best[0];
		best[0] = e;
		have += have < 2;
	}
	return have;
}

/* The same in a leaf of an NSEC3 chain, whose keys are all hashes. */
static unsigned scan_hashes(const struct node_rd *n, const struct search *q, struct entry best[static 2])
{
	unsigned low = 0, high = n->count;
	while (low < high) {
		unsigned mid = (low + high) / 2;
		if (key_cmp(n->r.p + mid * (2u + HASH_LEN) + 2, HASH_LEN, q->key, HASH_LEN) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0)
		return 0;
	best[0] = (struct entry){ 0, n->r.p + (low - 1) * (2u + HASH_LEN) + 2, HASH_LEN };
	return 1;
}

static bool all_hashes(const struct node_rd *n, const struct search *q)
{
	return q->chain & CHAIN_HASHED && n->level == 0 && q->key && q->n == HASH_LEN && n->count > 0 &&
	       rd_left(&n->r) == n->count * (2u + HASH_LEN) && get_u16(n->r.p) == HASH_LEN;
}

/* The body of a node that is not in the memo, or is a leaf there.  A leaf's is
 * kept in the memo, an inner node's in *f. */
static enum store_found node_body(const struct search *q, uint64_t number, struct frag *f)
{
	struct memo_leaf *leaf = q->s->memo ? memo_leaf(q, number) : NULL;
	if (leaf && leaf_has(leaf, q, number)) {
		f->body = leaf->body;
		f->len = leaf->len;
		return STORE_FOUND;
	}
	enum store_found r = tree_node(q->m, q->inst, q->chain, number, q->seq, q->s, f);
	if (r != STORE_FOUND)
		return number == ROOT_NODE ? r : STORE_DAMAGED;
	if (leaf && f->len && f->body[0] == 0)
		leaf_put(leaf, q, number, f);
	return STORE_FOUND;
}

/* Greatest key <= q->key below a node. */
static enum store_found search_down(const struct search *q, uint64_t number, unsigned above)
{
	struct frag f;
	struct node_rd n;
	struct entry best[2] = { { 0 } };
	unsigned have, level;
	struct memo_node *memo = q->s->memo ? memo_place(q, number) : NULL;
	if (memo && memo_has(memo, q, number)) {
		have = memo_scan(memo, q, best);
		level = memo->body[0];
	} else {
		enum store_found r = node_body(q, number, &f);
		if (r != STORE_FOUND)
			return r;
		if (!node_read(f.body, f.len, &n))
			return STORE_DAMAGED;
		have = all_hashes(&n, q) ? scan_hashes(&n, q, best) : scan(&n, q, best);
		level = n.level;
		if (n.r.bad)
			return STORE_DAMAGED;
		if (memo && level)
			memo_put(memo, q, number, &f);
	}
	if (level >= above)
		return STORE_DAMAGED;
	if (have == 0)
		return STORE_ABSENT;
	if (level == 0)
		return found_key(q, &best[0]);
	/* the subtree's keys may all be above ours; then its left neighbour's are not */
	enum store_found r = search_down(q, best[0].child, level);
	return r == STORE_ABSENT && have == 2 ? search_down(q, best[1].child, level) : r;
}

/* Smallest key > q->key below a node. */
static enum store_found search_up(const struct search *q, uint64_t number, unsigned above)
{
	struct frag f;
	struct node_rd n;
	struct entry e, last = { 0 };
	bool have = false;
	enum store_found r = tree_node(q->m, q->inst, q->chain, number, q->seq, q->s, &f);
	if (r != STORE_FOUND)
		return number == ROOT_NODE ? r : STORE_DAMAGED;
	if (!node_read(f.body, f.len, &n) || n.level >= above)
		return STORE_DAMAGED;
	while (entry_next(&n, &e)) {
		bool smaller = q->key && at_most(q, &e);
		if (n.level == 0 && !smaller)
			return q->run ? found_run(q, &n, &e) : found_key(q, &e);
		if (n.level && have && !smaller) {
			r = search_up(q, last.child, n.level);
			if (r != STORE_ABSENT)
				return r;
		}
		last = e;
		have = true;
	}
	if (n.r.bad)
		return STORE_DAMAGED;
	return n.level && have ? search_up(q, last.child, n.level) : STORE_ABSENT;
}

enum store_found tree_find(const struct store_map *m, uint32_t inst, uint32_t chain, uint64_t seq,
                           const uint8_t *key, size_t n, struct scratch *s,
                           uint8_t out[static TREE_KEY_MAX], size_t *outn, bool *exact)
{
	struct search q = { m, inst, chain, seq, key, n, s, out, outn, NULL };
	size_t mark = s->used;
	enum store_found r = search_down(&q, ROOT_NODE, LEVELS);
	if (r == STORE_ABSENT && key) { /* before the first: the chain is a ring */
		s->used = mark;
		q.key = NULL;
		r = search_down(&q, ROOT_NODE, LEVELS);
	}
	s->used = mark;
	*exact = r == STORE_FOUND && key && key_cmp(out, *outn, key, n) == 0;
	return r;
}

enum store_found tree_after(const struct store_map *m, uint32_t inst, uint32_t chain, uint64_t seq,
                            const uint8_t *key, size_t n, struct scratch *s,
                            uint8_t out[static TREE_KEY_MAX], size_t *outn)
{
	struct search q = { m, inst, chain, seq, key, n, s, out, outn, NULL };
	size_t mark = s->used;
	enum store_found r = search_up(&q, ROOT_NODE, LEVELS);
	s->used = mark;
	return r;
}

enum store_found tree_run(const struct store_map *m, uint32_t inst, uint32_t chain, uint64_t seq,
                          const uint8_t *key, size_t n, struct scratch *s, struct wr *run)
{
	struct search q = { m, inst, chain, seq, key, n, s, NULL, NULL, run };
	size_t mark = s->used;
	enum store_found r = search_up(&q, ROOT_NODE, LEVELS);
	s->used = mark;
	return r;
}

uint32_t tree_nsec3_chain(const struct store_map *m, const struct nsec3_params *p)
{
	uint8_t in[4 + 255];
	uint64_t h[2];
	in[0] = p->alg;
	put_u16(in + 1, p->iterations);
	in[3] = p->saltlen;
	memcpy(in + 4, p->salt, p->saltlen);
	sip128(&m->sip, in, 4u + p->saltlen, h);
	return (uint32_t)h[0] | CHAIN_HASHED;
}

/* ---- the writer's side ---- */

/* A node in memory, in its encoded form, with room to grow. */
struct node {
	struct node *next; /* in its hash chain */
	uint32_t inst, chain;
	uint64_t number;
	uint32_t len;
	bool dirty;
	uint8_t body[NODE_HEAD + NODE_SPLIT + 2 * (TREE_KEY_MAX + 7)];
};
#define CACHE_LINES 1024u
#define CACHE_MAX   8192u

/* Where a tree ends: its last leaf, and the greatest key in it.  A key behind
 * that one is appended without a look at anything else. */
struct tail { uint32_t inst, chain; struct node *leaf; size_t last; /* offset of its entry */ };
#define TAILS 4u /* names, NSEC3 and catalog may take turns */

struct tree_cache {
	struct store *st;
	size_t count;
	struct node *line[CACHE_LINES];
	struct tail tail[TAILS]; /* leaf NULL: none */
	unsigned next_tail;      /* the one to be replaced */
	struct scratch scratch;
};

struct tree_cache *tree_cache_new(struct store *st)
{
	struct tree_cache *c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->st = st;
	if (scratch_new(&c->scratch, 2u << 20) != 0) {
		free(c);
		return NULL;
	}
	return c;
}

static void drop_nodes(struct tree_cache *c)
{
	for (unsigned i = 0; i < CACHE_LINES; i++)
		for (struct node *n = c->line[i], *next; n; n = next) {
			next = n->next;
			crypto_wipe(n->body, n->len);
			free(n);
		}
	memset(c->line, 0, sizeof c->line);
	memset(c->tail, 0, sizeof c->tail);
	c->count = 0;
}

void tree_cache_free(struct tree_cache *c)
{
	if (!c)
		return;
	drop_nodes(c);
	scratch_free(&c->scratch);
	free(c);
}

static struct node **node_line(struct tree_cache *c, uint32_t inst, uint32_t chain, uint64_t number)
{
	uint64_t h = (inst * 0x9e3779b97f4a7c15ull) ^ (chain * 0xbf58476d1ce4e5b9ull) ^
	             (number * 0x94d049bb133111ebull);
	return &c->line[(h >> 32 ^ h) % CACHE_LINES];
}

static struct node *node_add(struct tree_cache *c, uint32_t inst, uint32_t chain, uint64_t number)
{
	struct node *n = malloc(sizeof *n);
	if (!n)
		return NULL;
	struct node **at = node_line(c, inst, chain, number);
	*n = (struct node){ .next = *at, .inst = inst, .chain = chain, .number = number, .len = NODE_HEAD };
	memset(n->body, 0, NODE_HEAD);
	*at = n;
	c->count++;
	return n;
}

/* The node for changing; an absent root is an empty leaf. */
static struct node *node_get(struct tree_cache *c, uint32_t inst, uint32_t chain, uint64_t number)
{
	for (struct node *n = *node_line(c, inst, chain, number); n; n = n->next)
		if (n->inst == inst && n->chain == chain && n->number == number)
			return n;
	uint8_t key[9];
	struct frag f;
	c->scratch.used = 0;
	enum store_found r = store_get_newest(c->st, FRAG_TREE, inst, key,
	                                      tree_node_key(key, chain, number), &c->scratch, &f);
	if (r == STORE_ABSENT && number == ROOT_NODE) {
		struct node *n = node_add(c, inst, chain, number);
		if (n)
			put_u40(n->body + 3, ROOT_NODE + 1);
		return n;
	}
	struct node_rd check;
	if (r != STORE_FOUND || f.len > sizeof((struct node *)0)->body || !node_read(f.body, f.len, &check)) {
		errno = EIO;
		return NULL;
	}
	struct node *n = node_add(c, inst, chain, number);
	if (n) {
		memcpy(n->body, f.body, f.len);
		n->len = f.len;
	}
	return n;
}

/* Where in a node a key belongs. */
struct spot {
	size_t at;          /* offset of the first entry above the key */
	bool here;          /* the entry before is the key itself */
	size_t prev;        /* offset of the entry before; 0: none */
	uint64_t child;     /* inner: where to go down */
	size_t child_at;    /* and its entry */
};

static void node_spot(const struct node *n, const uint8_t *key, size_t kn, struct spot *out)
{
	struct node_rd r;
	struct entry e;
	memset(out, 0, sizeof *out);
	out->at = NODE_HEAD;
	if (!node_read(n->body, n->len, &r))
		return;
	for (;;) {
		size_t at = (size_t)(r.r.p - n->body);
		if (!entry_next(&r, &e))
			break;
		int d = key_cmp(e.key, e.n, key, kn);
		if (d > 0 && !(r.level && out->prev == 0))
			break;
		out->here = d == 0;
		out->prev = out->child_at = at;
		out->child = e.child;
		out->at = (size_t)(r.r.p - n->body);
	}
}

static void entry_put(struct node *n, size_t at, uint64_t child, const uint8_t *key, size_t kn)
{
	bool inner = n->body[0] != 0;
	size_t need = (inner ? 5u : 0u) + 2 + kn;
	memmove(n->body + at + need, n->body + at, n->len - at);
	uint8_t *p = n->body + at;
	if (inner) {
		put_u40(p, child);
		p += 5;
	}
	put_u16(p, (uint32_t)kn);
	memcpy(p + 2, key, kn);
	n->len += (uint32_t)need;
	put_u16(n->body + 1, get_u16(n->body + 1) + 1u);
	n->dirty = true;
}

static void entry_cut(struct node *n, size_t at)
{
	size_t kat = at + (n->body[0] ? 5 : 0);
	size_t end = kat + 2 + get_u16(n->body + kat);
	memmove(n->body + at, n->body + end, n->len - end);
	n->len -= (uint32_t)(end - at);
	put_u16(n->body + 1, get_u16(n->body + 1) - 1u);
	n->dirty = true;
}

/* Offset of the entry from which on a full node's entries move to a new one:
 * the middle, or the end when keys arrive in order (then nodes stay full). */
static size_t split_point(const struct node *n, bool appended)
{
	struct node_rd r;
	struct entry e;
	size_t at = NODE_HEAD, last = NODE_HEAD;
	node_read(n->body, n->len, &r);
	for (;;) {
		size_t here = (size_t)(r.r.p - n->body);
		if (!entry_next(&r, &e))
			break;
		last = here;
		if (here <= n->len / 2)
			at = here;
	}
	return appended || at == NODE_HEAD ? last : at;
}

static void move_tail(struct node *from, size_t at, struct node *to)
{
	struct node_rd r;
	struct entry e;
	unsigned moved = 0;
	to->body[0] = from->body[0];
	memcpy(to->body + NODE_HEAD, from->body + at, from->len - at);
	to->len = (uint32_t)(NODE_HEAD + from->len - at);
	from->len = (uint32_t)at;
	node_read(to->body, to->len, &r);
	while (entry_next(&r, &e))
		moved++;
	put_u16(to->body + 1, moved);
	put_u16(from->body + 1, get_u16(from->body + 1) - moved);
	from->dirty = to->dirty = true;
}

static bool full(const struct node *n) { return n->len > NODE_HEAD + (n->body[0] ? NODE_SPLIT : LEAF_SPLIT); }

static struct node *new_node(struct tree_cache *c, struct node *root)
{
	uint64_t number = get_u40(root->body + 3);
	put_u40(root->body + 3, number + 1);
	root->dirty = true;
	return node_add(c, root->inst, root->chain, number);
}

/* The root's entries go to a new node, the root becomes its parent. */
static struct node *grow_root(struct tree_cache *c, struct node *root)
{
	struct node *child = new_node(c, root);
	if (!child)
		return NULL;
	move_tail(root, NODE_HEAD, child);
	root->body[0] = (uint8_t)(child->body[0] + 1);
	entry_put(root, NODE_HEAD, child->number, (const uint8_t *)"", 0);
	return child;
}

/* How much of a node's first key tells it from all keys of the one before: what
 * the parent needs to know.  Short entries make for few levels. */
static size_t separator_len(const struct node *before, const uint8_t *key, size_t n)
{
	struct node_rd r;
	struct entry e, last = { 0 };
	size_t same = 0;
	if (before->body[0] != 0)
		return n; /* below an inner node's last entry are keys that it does not show */
	node_read(before->body, before->len, &r);
	while (entry_next(&r, &e))
		last = e;
	while (same < n && same < last.n && key[same] == last.key[same])
		same++;
	return same < n ? same + 1 : n;
}

/* Splits path[depth], and upward as long as the parents are full.  The new node. */
static struct node *split(struct tree_cache *c, struct node **path, unsigned depth, bool appended)
{
	struct node *n = path[depth], *root = path[0];
	if (n == root) {
		n = grow_root(c, root);
		if (!n)
			return NULL;
		depth = 1;
	}
	struct node *parent = path[depth - 1], *half = new_node(c, root);
	if (!half)
		return NULL;
	move_tail(n, split_point(n, appended), half);
	size_t kat = NODE_HEAD + (half->body[0] ? 5 : 0);
	const uint8_t *key = half->body + kat + 2;
	size_t kn = separator_len(n, key, get_u16(half->body + kat));
	struct spot s;
	node_spot(parent, key, kn, &s);
	entry_put(parent, s.at, half->number, key, kn);
	return full(parent) && !split(c, path, depth - 1, appended) ? NULL : half;
}

/* Goes down to the leaf of a key; path[0] is the root. Returns the depth or -1. */
static int descend(struct tree_cache *c, uint32_t inst, uint32_t chain, const uint8_t *key, size_t n,
                   struct node **path, struct spot *spots)
{
	uint64_t number = ROOT_NODE;
	for (unsigned depth = 0; depth < LEVELS; depth++) {
		path[depth] = node_get(c, inst, chain, number);
		if (!path[depth])
			return -1;
		node_spot(path[depth], key, n, &spots[depth]);
		if (path[depth]->body[0] == 0)
			return (int)depth;
		number = spots[depth].child;
	}
	errno = EIO;
	return -1;
}

/* ---- where a tree ends ---- */

static struct tail *tail_of(struct tree_cache *c, uint32_t inst, uint32_t chain)
{
	for (unsigned i = 0; i < TAILS; i++)
		if (c->tail[i].leaf && c->tail[i].inst == inst && c->tail[i].chain == chain)
			return &c->tail[i];
	return NULL;
}

/* Any change but an appended key makes it void. */
static void tail_forget(struct tree_cache *c, uint32_t inst, uint32_t chain)
{
	struct tail *t = tail_of(c, inst, chain);
	if (t)
		t->leaf = NULL;
}

/* Keeps a tree's last leaf; `last`: its last entry. */
static void tail_keep(struct tree_cache *c, struct node *leaf, size_t last)
{
	c->tail[c->next_tail] = (struct tail){ leaf->inst, leaf->chain, leaf, last };
	c->next_tail = (c->next_tail + 1) % TAILS;
}

/* Does the way down end behind all other keys? */
static bool at_end(struct node *const *path, const struct spot *spots, unsigned depth)
{
	for (unsigned i = 0; i <= depth; i++)
		if (spots[i].at != path[i]->len)
			return false;
	return true;
}

/* Behind all others?  Then there; false: it is not, or the leaf is full. */
static bool tail_append(struct tree_cache *c, uint32_t inst, uint32_t chain, const uint8_t *key, size_t n)
{
	struct tail *t = tail_of(c, inst, chain);
	if (!t || t->leaf->len + 2 + n > NODE_HEAD + LEAF_SPLIT)
		return false;
	const uint8_t *last = t->leaf->body + t->last;
	if (key_cmp(last + 2, get_u16(last), key, n) >= 0)
		return false;
	t->last = t->leaf->len;
	entry_put(t->leaf, t->leaf->len, 0, key, n);
	return true;
}

int tree_insert(struct tree_cache *c, uint32_t inst, uint32_t chain, const uint8_t *key, size_t n)
{
	if (tail_append(c, inst, chain, key, n))
		return 0;
	tail_forget(c, inst, chain);
	struct node *path[LEVELS];
	struct spot spots[LEVELS] RAW;
	int depth = descend(c, inst, chain, key, n, path, spots);
	if (depth < 0)
		return -1;
	struct node *leaf = path[depth];
	if (spots[depth].here)
		return 0;
	size_t at = spots[depth].at;
	bool appended = at == leaf->len, last = at_end(path, spots, (unsigned)depth);
	entry_put(leaf, at, 0, key, n);
	if (full(leaf)) {
		leaf = split(c, path, (unsigned)depth, appended);
		if (!leaf)
			return -1;
		at = NODE_HEAD; /* the appended key alone is in the new leaf */
	}
	if (last)
		tail_keep(c, leaf, at);
	return 0;
}

int tree_remove(struct tree_cache *c, uint32_t inst, uint32_t chain, const uint8_t *key, size_t n)
{
	struct node *path[LEVELS];
	struct spot spots[LEVELS] RAW;
	tail_forget(c, inst, chain);
	int depth = descend(c, inst, chain, key, n, path, spots);
	if (depth < 0)
		return -1;
	if (!spots[depth].here)
		return 0;
	entry_cut(path[depth], spots[depth].prev);
	/* an emptied node leaves its parent; the root becomes an empty leaf */
	while (depth > 0 && get_u16(path[depth]->body + 1) == 0) {
		depth--;
		entry_cut(path[depth], spots[depth].child_at);
	}
	if (get_u16(path[0]->body + 1) == 0)
		path[0]->body[0] = 0;
	return 0;
}

int tree_flush(struct tree_cache *c, uint64_t seq)
{
	for (unsigned i = 0; i < CACHE_LINES; i++)
		for (struct node *n = c->line[i]; n; n = n->next) {
			uint8_t key[9];
			if (!n->dirty)
				continue;
			/* an empty one that is not the root has left its parent for good */
			bool gone = n->number != ROOT_NODE && get_u16(n->body + 1) == 0;
			if (store_append_tree(c->st, seq, n->inst, key, tree_node_key(key, n->chain, n->number),
			                      gone ? NULL : n->body, gone ? 0 : n->len) != 0)
				return -1;
			n->dirty = false;
		}
	if (c->count > CACHE_MAX)
		drop_nodes(c);
	return 0;
}

int tree_trim(struct tree_cache *c, uint64_t seq) { return c->count > CACHE_MAX ? tree_flush(c, seq) : 0; }
