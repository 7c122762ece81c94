/* mockstore.c - the reading half of store.h over a list.  Contract in
 * mockstore.h.  Not fast and not careful about memory: for tests. */
#include "tests/mockstore.h"

#include <stdlib.h>

struct node {
	uint8_t *owner, *body;
	size_t len;
	uint32_t inst;
	uint16_t flags;
	uint8_t kind, cut;
	bool damaged;
};

struct store_map {
	struct node *node;
	size_t n, room;
	struct store_zone zone[16];
	unsigned nzones;
	bool sorted, in_place;
};

static void *copy(const void *p, size_t n)
{
	void *q = malloc(n ? n : 1);
	if (!q)
		abort();
	if (n)
		memcpy(q, p, n);
	return q;
}

struct store_map *mock_new(void)
{
	struct store_map *m = calloc(1, sizeof *m);
	if (!m)
		abort();
	return m;
}

void mock_free(struct store_map *m)
{
	for (size_t i = 0; i < m->n; i++) {
		free(m->node[i].owner);
		free(m->node[i].body);
	}
	free(m->node);
	free(m);
}

void mock_in_place(struct store_map *m) { m->in_place = true; }

uint32_t mock_zone(struct store_map *m, const uint8_t *name, enum zone_state state)
{
	if (m->nzones == sizeof m->zone / sizeof *m->zone)
		abort();
	struct store_zone *z = &m->zone[m->nzones++];
	z->inst = m->nzones;
	z->state = (uint8_t)state;
	z->labels = (uint8_t)name_labels(name);
	z->seq = 1;
	z->serial = 1000 + z->inst;
	name_lower(z->name, name);
	return z->inst;
}

void mock_put(struct store_map *m, uint32_t inst, enum frag_kind kind, const uint8_t *owner,
              uint16_t flags, uint8_t cut, const uint8_t *body, size_t len)
{
	if (m->n == m->room) {
		m->room = m->room ? 2 * m->room : 64;
		m->node = realloc(m->node, m->room * sizeof *m->node);
		if (!m->node)
			abort();
	}
	m->node[m->n++] = (struct node){ copy(owner, name_len(owner)), copy(body, len), len, inst,
		                         flags, (uint8_t)kind, cut, false };
	m->sorted = false;
}

uint32_t mock_load(struct store_map *m, struct zone *z)
{
	struct zone_cursor c;
	struct zone_node n;
	if (!z || zone_open(&c, z) < 0)
		return 0;
	uint32_t inst = mock_zone(m, zone_origin(z), ZONE_SERVING);
	while (zone_next(&c, &n))
		mock_put(m, inst, n.flags & NODE_NSEC3 ? FRAG_NSEC3 : FRAG_NAME, n.owner, n.flags, n.cut,
		         n.body, n.len);
	zone_close(&c);
	zone_free(z);
	return inst;
}

static int order(const void *a, const void *b)
{
	const struct node *x = a, *y = b;
	if (x->inst != y->inst)
		return x->inst < y->inst ? -1 : 1;
	if (x->kind != y->kind)
		return x->kind - y->kind;
	return name_cmp(x->owner, y->owner);
}

static void sort(const struct store_map *cm)
{
	struct store_map *m = (struct store_map *)(uintptr_t)cm;
	if (!m->sorted && m->n)
		qsort(m->node, m->n, sizeof *m->node, order);
	m->sorted = true;
}

/* Index of the first node not before the key. */
static size_t lower_bound(const struct store_map *m, const struct node *key)
{
	sort(m);
	size_t lo = 0, hi = m->n;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		if (order(&m->node[mid], key) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static uint8_t *unconst(const uint8_t *p) { return (uint8_t *)(uintptr_t)p; }

void mock_damage(struct store_map *m, const uint8_t *owner)
{
	for (size_t i = 0; i < m->n; i++)
		if (name_equal(m->node[i].owner, owner))
			m->node[i].damaged = true;
}

static enum store_found give(const struct store_map *m, const struct node *n, struct scratch *s,
                             struct frag *out)
{
	if (n->damaged)
		return STORE_DAMAGED;
	*out = (struct frag){ 1, n->inst, n->flags, n->cut, n->owner, n->body, (uint32_t)n->len };
	if (m->in_place)
		return STORE_FOUND;
	size_t own = name_len(n->owner);
	if (s->size - s->used < own + n->len)
		return STORE_DAMAGED;
	memcpy(s->mem + s->used, n->owner, own);
	memcpy(s->mem + s->used + own, n->body, n->len);
	out->owner = s->mem + s->used;
	out->body = s->mem + s->used + own;
	s->used += own + n->len;
	return STORE_FOUND;
}

void store_view_take(const struct store_map *m, struct store_view *v)
{
	memset(v, 0, sizeof *v);
	v->visible = m->nzones; /* a zone more is another view */
}

enum store_found store_zone_find(const struct store_map *m, const struct store_view *v,
                                 const uint8_t *name, unsigned nlabels, bool above,
                                 struct scratch *s, struct store_zone *out)
{
	const struct store_zone *best = NULL;
	(void)v, (void)s;
	for (unsigned i = 0; i < m->nzones; i++) {
		const struct store_zone *z = &m->zone[i];
		if (name_below(name, z->name) && z->labels + (above ? 1u : 0u) <= nlabels &&
		    (!best || z->labels > best->labels))
			best = z;
	}
	if (!best)
		return STORE_ABSENT;
	*out = *best;
	out->leaf = true;
	for (unsigned i = 0; i < m->nzones; i++)
		out->leaf &= &m->zone[i] == best || !name_below(m->zone[i].name, best->name);
	return STORE_FOUND;
}

void store_begin(const struct store_map *m, struct probe *p, enum frag_kind kind, uint32_t inst,
                 const uint8_t *owner, uint64_t seq)
{
	(void)m;
	*p = (struct probe){ .seq = seq, .inst = inst, .key = owner, .kind = (uint8_t)kind };
}

void store_seek(const struct store_map *m, const struct probe *p) { (void)m, (void)p; }
void store_fetch(const struct store_map *m, const struct probe *p) { (void)m, (void)p; }

enum store_found store_take(const struct store_map *m, const struct probe *p, struct scratch *s,
                            struct frag *out)
{
	struct node key = { .owner = unconst(p->key), .inst = p->inst, .kind = p->kind };
	size_t i = lower_bound(m, &key);
	if (i == m->n || order(&m->node[i], &key) != 0)
		return STORE_ABSENT;
	return give(m, &m->node[i], s, out);
}

enum store_found store_get(const struct store_map *m, enum frag_kind kind, uint32_t inst,
                           const uint8_t *owner, uint64_t seq, struct scratch *s, struct frag *out)
{
	struct probe p;
	store_begin(m, &p, kind, inst, owner, seq);
	return store_take(m, &p, s, out);
}

static bool in_chain(const struct node *n, uint32_t inst)
{
	struct rrset s;
	return n->inst == inst && n->kind == FRAG_NAME && rrset_find(n->body, n->len, T_NSEC, &s);
}

enum store_found store_nsec(const struct store_map *m, const struct store_zone *z, const uint8_t *name,
                            struct scratch *s, struct frag *out, bool *exact)
{
	struct node key = { .owner = unconst(name), .inst = z->inst, .kind = FRAG_NAME };
	const struct node *found = NULL;
	size_t at = lower_bound(m, &key);
	if (at < m->n && order(&m->node[at], &key) == 0)
		at++;
	for (size_t i = at; i-- > 0 && !found;)
		if (in_chain(&m->node[i], z->inst))
			found = &m->node[i];
	for (size_t i = m->n; i-- > at && !found;)
		if (in_chain(&m->node[i], z->inst))
			found = &m->node[i];
	if (!found)
		return STORE_ABSENT;
	*exact = name_equal(found->owner, name);
	return give(m, found, s, out);
}

/* Is it a link of the chain with these parameters? */
static bool in_chain3(const struct node *n, uint32_t inst, const struct nsec3_params *p)
{
	struct rrset s;
	if (n->inst != inst || n->kind != FRAG_NSEC3 || !rrset_find(n->body, n->len, T_NSEC3, &s) ||
	    s.nrr == 0)
		return false;
	struct rd r = rd_init(s.rrs + 2, get_u16(s.rrs));
	uint8_t alg = rd_u8(&r);
	rd_u8(&r);
	uint16_t iterations = rd_u16(&r);
	uint8_t saltlen = rd_u8(&r);
	const uint8_t *salt = rd_take(&r, saltlen);
	return salt && alg == p->alg && iterations == p->iterations && saltlen == p->saltlen &&
	       memcmp(salt, p->salt, saltlen) == 0;
}

enum store_found store_nsec3(const struct store_map *m, const struct store_zone *z,
                             const struct nsec3_params *p, const uint8_t hash[static 20],
                             struct scratch *s, uint8_t owner[static NAME_MAX_LEN], bool *exact)
{
	const struct node *found = NULL, *last = NULL;
	(void)s;
	if (!nsec3_owner(hash, 20, z->name, owner))
		return STORE_ABSENT;
	sort(m);
	for (size_t i = 0; i < m->n; i++) {
		if (!in_chain3(&m->node[i], z->inst, p))
			continue;
		last = &m->node[i];
		if (name_cmp(last->owner, owner) <= 0)
			found = last;
	}
	if (!found)
		found = last;
	if (!found)
		return STORE_ABSENT;
	*exact = name_equal(found->owner, owner);
	memcpy(owner, found->owner, name_len(found->owner));
	return STORE_FOUND;
}

void store_announce(struct store_map *m, unsigned worker) { (void)m, (void)worker; }
void store_idle(struct store_map *m, unsigned worker) { (void)m, (void)worker; }
