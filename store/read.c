/* read.c - the readers' half of the store: from a key to a decrypted fragment.
 *
 * Lock-free.  A reader announces an epoch, takes the root and a view, and may
 * then follow any slot it finds: what it reaches stays in place until it has
 * announced a later epoch or idle.
 * Threat: the disk.  Nothing is believed before its tag is checked: segments
 * on first touch, fragments each time; a failure is STORE_DAMAGED, which the
 * caller must not turn into "absent". */
#include "store/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void frag_hash(const struct store_map *m, enum frag_kind kind, uint32_t inst, const uint8_t *key,
               size_t keylen, uint64_t out[static 2])
{
	uint8_t in[5 + FRAG_KEY_MAX] RAW;
	put_u32(in, inst);
	in[4] = (uint8_t)kind;
	copy_short(in + 5, key, keylen);
	sip128(&m->sip, in, 5 + keylen, out);
}

void segment_mac(const struct aead *a, const uint8_t *seg, uint32_t block, uint64_t serial,
                 uint8_t mac[static 16])
{
	uint8_t nonce[12], none;
	put_u48(nonce, serial);
	put_u48(nonce + 6, block);
	aead_seal(a, nonce, seg, BLOCK, &none, 0, mac, 16);
}

static bool segment_verified(const struct store_map *m, uint32_t block)
{
	return __atomic_load_n(m->verified + (block >> 3), __ATOMIC_RELAXED) >> (block & 7) & 1;
}

bool segment_verify(const struct store_map *m, const struct store_root *root, uint32_t block)
{
	uint8_t mac[16];
	if (segment_verified(m, block))
		return true;
	const struct segmac *sm = root_macs(root) + block;
	uint64_t serial = __atomic_load_n(&sm->serial, __ATOMIC_ACQUIRE);
	/* 0: made in this run, never out of the writer's sight */
	if (serial) {
		const struct aead *a = m->salt[sm->salt].seg;
		if (!a)
			return false;
		segment_mac(a, m->base + (uint64_t)block * BLOCK, block, serial, mac);
		if (!crypto_equal(mac, sm->mac, 16))
			return false;
	}
	__atomic_or_fetch(m->verified + (block >> 3), (uint8_t)(1u << (block & 7)), __ATOMIC_RELAXED);
	return true;
}

static const uint8_t *frag_bytes(const struct store_map *m, uint64_t unit)
{
	if (unit >= m->pending_unit && unit - m->pending_unit < m->pending_units)
		return m->pending + (unit - m->pending_unit) * UNIT;
	return m->base + unit * UNIT;
}

enum store_found frag_open(const struct store_map *m, const struct store_root *root, uint64_t unit,
                           struct scratch *s, struct raw *out)
{
	uint64_t block = unit / BLOCK_UNITS;
	uint64_t blocks = atomic_load_explicit(&root->blocks, memory_order_acquire);
	if (block >= blocks || block >= root->nblocks)
		return STORE_DAMAGED;
	uint64_t info = atomic_load_explicit(root_info(root) + block, memory_order_relaxed);
	const struct aead *a = m->salt[info_salt(info)].frag;
	const uint8_t *c = frag_bytes(m, unit);
	uint8_t nonce[12], head[FRAG_CLEAR];
	if (!is_near(m, unit * UNIT, FRAG_CLEAR, s))
		return STORE_DAMAGED;
	memcpy(head, c, sizeof head); /* once: the file may change under our eyes */
	uint8_t kind = head[0];
	uint32_t len = get_u24(head + 1);
	if (info_use(info) != USE_LOG || !a || len < FRAG_LEAST || len > FRAG_PLAIN_MAX ||
	    unit + frag_units(kind, len) > blocks * BLOCK_UNITS || s->size - s->used < len)
		return STORE_DAMAGED;
	if (!is_near(m, unit * UNIT, FRAG_CLEAR + len + frag_taglen(kind), s))
		return STORE_DAMAGED;
	frag_nonce(nonce, info_serial(info), unit);
	uint8_t *plain = s->mem + s->used;
	scratch_take(s, len);
	if (!aead_open(a, nonce, head, FRAG_CLEAR, c + FRAG_CLEAR, len, c + FRAG_CLEAR + len,
	               frag_taglen(kind), plain))
		return STORE_DAMAGED;
	out->unit = unit;
	out->units = (uint32_t)frag_units(kind, len);
	out->kind = kind;
	return frag_head(plain, len, out) ? STORE_FOUND : STORE_DAMAGED;
}

void probe_init(const struct store_map *m, struct probe *p, enum frag_kind kind, uint32_t inst,
                const uint8_t *key, size_t keylen, uint64_t seq)
{
	*p = (struct probe){ .seq = seq, .inst = inst, .keylen = (uint32_t)keylen, .key = key,
		             .kind = (uint8_t)kind };
	frag_hash(m, kind, inst, key, keylen, p->hash);
}

static bool is_key(const struct raw *r, const struct probe *p)
{
	return r->kind == p->kind && r->f.inst == p->inst && r->keylen == p->keylen &&
	       same_short(r->f.owner, p->key, p->keylen);
}

/* One candidate slot: FOUND, or ABSENT when it is another name's. */
static enum store_found try_slot(const struct store_map *m, const struct store_root *root,
                                 const struct probe *p, uint64_t v, struct scratch *s,
                                 struct raw *out)
{
	size_t mark = s->used;
	enum store_found f = frag_open(m, root, slot_unit(v), s, out);
	if (f == STORE_FOUND && is_key(out, p))
		return STORE_FOUND;
	s->used = mark;
	return f == STORE_FOUND ? STORE_ABSENT : f;
}

/* A bucket: *full tells whether the search must go on elsewhere. */
static enum store_found try_bucket(const struct store_map *m, const struct store_root *root,
                                   const struct probe *p, const uint64_t *b, bool displaced,
                                   uint32_t tag, struct scratch *s, struct raw *out, bool *full)
{
	uint64_t want = (uint64_t)displaced << TAG_BITS | tag;
	*full = true;
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t v = slot_load(b + i);
		if (v == 0) {
			*full = false;
		} else if ((v & ((2ull << TAG_BITS) - 1)) == want && slot_unit(v)) {
			enum store_found f = try_slot(m, root, p, v, s, out);
			if (f != STORE_ABSENT)
				return f;
		}
	}
	return STORE_ABSENT;
}

static enum store_found try_overflow(const struct store_map *m, const struct store_root *root,
                                     const struct probe *p, const uint64_t *o,
                                     const struct place *at, struct scratch *s, struct raw *out)
{
	for (unsigned i = 0; i < OVERFLOWS; i++, o += 2) {
		uint64_t v = slot_load(o);
		if (v == 0)
			break;
		if (slot_tag(v) == at->tag && slot_load(o + 1) == at->home && slot_unit(v)) {
			enum store_found f = try_slot(m, root, p, v, s, out);
			if (f != STORE_ABSENT)
				return f;
		}
	}
	return STORE_ABSENT;
}

/* The block of a place's segment.  A split between the two looks at the depth may
 * have moved the place elsewhere. */
static uint32_t segment_of(const struct store_root *root, const struct place *p)
{
	uint32_t now = atomic_load_explicit(&root->depth, memory_order_acquire);
	while (now <= DIR_BITS) {
		uint32_t depth = now;
		uint32_t block = atomic_load_explicit(dir_entry(root, p, depth), memory_order_acquire);
		now = atomic_load_explicit(&root->depth, memory_order_acquire);
		if (now <= depth)
			return block;
	}
	return 0; /* no root that we know */
}

/* Where a bucket lies in the file; behind the last one the overflow. */
static uint64_t bucket_at(uint32_t block, uint32_t bucket)
{
	return (uint64_t)block * BLOCK + (uint64_t)bucket * SLOTS * 8;
}

/* One whose MAC is to be checked is read whole. */
static bool segment_near(const struct store_map *m, const struct store_root *root, uint32_t block,
                         struct scratch *s)
{
	return !m->cold || segment_verified(m, block) ||
	       __atomic_load_n(&root_macs(root)[block].serial, __ATOMIC_ACQUIRE) == 0 ||
	       is_near(m, (uint64_t)block * BLOCK, BLOCK, s);
}

enum store_found frag_find(const struct store_map *m, const struct store_root *root,
                           const struct probe *p, struct scratch *s, struct raw *out)
{
	struct place at = place_of(p->hash[0]);
	uint32_t block = segment_of(root, &at);
	if (block == 0 || block >= root->nblocks || !segment_near(m, root, block, s) ||
	    !segment_verify(m, root, block))
		return STORE_DAMAGED;
	const uint64_t *seg = (const uint64_t *)(const void *)(m->base + (uint64_t)block * BLOCK);
	bool full;
	if (!is_near(m, bucket_at(block, at.home), SLOTS * 8, s))
		return STORE_DAMAGED;
	enum store_found f = try_bucket(m, root, p, seg + (size_t)at.home * SLOTS, false, at.tag, s, out, &full);
	if (f != STORE_ABSENT || !full)
		return f;
	if (!is_near(m, bucket_at(block, at.other), SLOTS * 8, s))
		return STORE_DAMAGED;
	f = try_bucket(m, root, p, seg + (size_t)at.other * SLOTS, true, at.tag, s, out, &full);
	if (f != STORE_ABSENT || !full)
		return f;
	if (!is_near(m, bucket_at(block, BUCKETS), OVERFLOWS * 16, s))
		return STORE_DAMAGED;
	return try_overflow(m, root, p, seg + (size_t)BUCKETS * SLOTS, &at, s, out);
}

enum store_found frag_at(const struct store_map *m, const struct store_root *root,
                         const struct probe *p, size_t mark, struct raw *r, struct scratch *s)
{
	while (r->f.seq > p->seq) {
		uint64_t newer = r->f.seq;
		if (r->older == 0)
			return STORE_ABSENT;
		s->used = mark; /* however long the chain, one version lies in the scratch */
		enum store_found f = frag_open(m, root, r->older, s, r);
		/* an older version is the same name's, and really older */
		if (f != STORE_FOUND)
			return f;
		if (r->f.seq >= newer || !is_key(r, p))
			return STORE_DAMAGED;
	}
	return r->gone ? STORE_ABSENT : STORE_FOUND;
}

static void begin(const struct store_map *m, struct probe *p, enum frag_kind kind, uint32_t inst,
                  const uint8_t *key, size_t keylen, uint64_t seq)
{
	probe_init(m, p, kind, inst, key, keylen, seq);
	const struct store_root *root = atomic_load_explicit(&m->root, memory_order_acquire);
	struct place at = place_of(p->hash[0]);
	uint32_t depth = atomic_load_explicit(&root->depth, memory_order_relaxed);
	if (depth <= DIR_BITS)
		__builtin_prefetch((const void *)(uintptr_t)dir_entry(root, &at, depth));
}

void store_begin(const struct store_map *m, struct probe *p, enum frag_kind kind, uint32_t inst,
                 const uint8_t *owner, uint64_t seq)
{
	begin(m, p, kind, inst, owner, name_len(owner), seq);
}

void store_seek(const struct store_map *m, const struct probe *p)
{
	const struct store_root *root = atomic_load_explicit(&m->root, memory_order_acquire);
	struct place at = place_of(p->hash[0]);
	uint64_t bucket = bucket_at(segment_of(root, &at), at.home);
	__builtin_prefetch(m->base + bucket);
	page_ask(m, bucket);
}

void store_fetch(const struct store_map *m, const struct probe *p)
{
	const struct store_root *root = atomic_load_explicit(&m->root, memory_order_acquire);
	struct place at = place_of(p->hash[0]);
	uint32_t block = segment_of(root, &at);
	const uint64_t *b = (const uint64_t *)(const void *)(m->base + (uint64_t)block * BLOCK) +
	                    (size_t)at.home * SLOTS;
	if (block == 0 || (m->cold && !page_known(m, bucket_at(block, at.home))))
		return;
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t v = slot_load(b + i);
		if (slot_unit(v) && slot_tag(v) == at.tag) {
			const uint8_t *c = m->base + slot_unit(v) * UNIT;
			page_ask(m, slot_unit(v) * UNIT);
			if (slot_unit(v) / BLOCK_UNITS < root->nblocks)
				__builtin_prefetch((const void *)(uintptr_t)(root_info(root) + slot_unit(v) / BLOCK_UNITS));
			__builtin_prefetch(c);
			__builtin_prefetch(c + 64);
			return;
		}
	}
}

enum store_found store_take(const struct store_map *m, const struct probe *p, struct scratch *s,
                            struct frag *out)
{
	const struct store_root *root = atomic_load_explicit(&m->root, memory_order_acquire);
	struct raw f;
	size_t mark = s->used;
	enum store_found r = frag_find(m, root, p, s, &f);
	if (r == STORE_FOUND)
		r = frag_at(m, root, p, mark, &f, s);
	if (r == STORE_FOUND && !frag_unpack_body(s, &f))
		r = STORE_DAMAGED;
	if (r == STORE_FOUND)
		*out = f.f;
	if (r == STORE_DAMAGED && s->cold.len == 0)
		atomic_fetch_add_explicit(m->damaged, 1, memory_order_relaxed);
	return r;
}

enum store_found store_get(const struct store_map *m, enum frag_kind kind, uint32_t inst,
                           const uint8_t *owner, uint64_t seq, struct scratch *s, struct frag *out)
{
	struct probe p;
	store_begin(m, &p, kind, inst, owner, seq);
	return store_take(m, &p, s, out);
}

/* Tree nodes, for tree.c. */
enum store_found tree_node(const struct store_map *m, uint32_t inst, uint32_t chain, uint64_t number,
                           uint64_t seq, struct scratch *s, struct frag *out)
{
	uint8_t key[9];
	struct probe p;
	begin(m, &p, FRAG_TREE, inst, key, tree_node_key(key, chain, number), seq);
	return store_take(m, &p, s, out);
}

size_t tree_node_key(uint8_t out[static 9], uint32_t chain, uint64_t number)
{
	put_u32(out, chain);
	put_u40(out + 4, number);
	return 9;
}

void store_view_take(const struct store_map *m, struct store_view *v)
{
	const struct store_root *root = atomic_load_explicit(&m->root, memory_order_acquire);
	/* holds first: a hold is set before the sequence it stops at is passed */
	for (unsigned i = 0; i < STORE_HOLDS; i++)
		v->hold[i] = atomic_load_explicit(&root->hold[i], memory_order_acquire);
	v->turns = atomic_load_explicit(&root->turns, memory_order_acquire);
	v->visible = atomic_load_explicit(&root->visible, memory_order_acquire);
}

/* ---- epochs and roots ---- */

void store_announce(struct store_map *m, unsigned worker)
{
	_Atomic uint64_t *mine = &m->beat[worker]->epoch;
	/* the oldest epoch first: from here on no root is taken away from us */
	atomic_store_explicit(mine, 1, memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
	const struct store_root *root = atomic_load_explicit(&m->root, memory_order_acquire);
	atomic_store_explicit(mine, root ? atomic_load_explicit(&root->epoch, memory_order_acquire) : 0,
	                      memory_order_seq_cst);
	atomic_thread_fence(memory_order_seq_cst);
}

void store_idle(struct store_map *m, unsigned worker)
{
	atomic_store_explicit(&m->beat[worker]->epoch, 0, memory_order_release);
}

#ifndef STORE_RESERVE
#define STORE_RESERVE (sizeof(void *) > 4 ? 1ull << 40 : 1ull << 30)
#endif

#define RESERVE_LEAST (64ull << 20)

/* Maps the file over the reserved range; takes less where the system gives less. */
static void *map_reserve(int fd, int prot, int sharing, uint64_t *reserve)
{
	uint64_t most = SIZE_MAX / 2, want = *reserve ? *reserve : STORE_RESERVE;
	for (want = want < most ? want : most; want >= RESERVE_LEAST; want /= 2) {
		void *p = mmap(NULL, (size_t)want, prot, sharing | MAP_NORESERVE, fd, 0);
		if (p != MAP_FAILED) {
			*reserve = want;
			return p;
		}
	}
	return NULL;
}

void *map_zeros(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static size_t verified_size(const struct store_map *m) { return (size_t)(m->reserve / BLOCK / 8 + 1); }

void *map_open(struct store_map *m, int file, enum map_use use, char *err, size_t n)
{
	if (m->reserve && m->reserve < RESERVE_LEAST) {
		snprintf(err, n, "the store's reserve of addresses must be 64 MiB at least");
		return NULL;
	}
	m->damaged = &m->damaged_here;
	void *base = map_reserve(file, use == MAP_READER ? PROT_READ : PROT_READ | PROT_WRITE,
	                         use == MAP_CHECK ? MAP_PRIVATE : MAP_SHARED, &m->reserve);
	if (!base) {
		snprintf(err, n, "the store can't be mapped: %s", strerror(errno));
		return NULL;
	}
	m->base = base;
	guard_map(m, use == MAP_WRITER);
	m->salt = map_zeros(SALTS * sizeof *m->salt);
	m->verified = map_zeros(verified_size(m));
	if (m->salt && m->verified)
		return base;
	snprintf(err, n, "no memory for the store: %s", strerror(errno));
	return NULL;
}

void map_close(struct store_map *m)
{
	for (unsigned i = 0; m->salt && i < SALTS; i++) {
		if (!m->salt[i].frag)
			continue;
		aead_free(m->salt[i].frag);
		aead_free(m->salt[i].seg);
	}
	if (m->salt)
		munmap(m->salt, SALTS * sizeof *m->salt);
	if (m->verified)
		munmap(m->verified, verified_size(m));
	guard_unmap(m);
	if (m->base)
		munmap((void *)(uintptr_t)m->base, (size_t)m->reserve);
	if (m->root)
		munmap((void *)(uintptr_t)m->root, m->root_size);
	crypto_wipe(&m->sip, sizeof m->sip);
}

struct store_map *store_map_new(int file, uint64_t reserve, char *err, size_t n)
{
	struct store_map *m = calloc(1, sizeof *m);
	if (!m) {
		snprintf(err, n, "no memory");
		return NULL;
	}
	m->reserve = reserve;
	if (map_open(m, file, MAP_READER, err, n))
		return m;
	store_map_free(m);
	return NULL;
}

void store_map_worker(struct store_map *m, unsigned worker, struct store_beat *beat)
{
	m->beat[worker] = beat;
	store_idle(m, worker);
}

/* Is it a root, and does all that it can name lie in our mapping? */
static bool root_fits(const struct store_map *m, const struct store_root *r, size_t size, char *err, size_t n)
{
	if (r->magic != ROOT_MAGIC || root_bytes(r->nblocks) > size) {
		snprintf(err, n, "the writer's root can't be used");
		return false;
	}
	if (r->nblocks <= m->reserve / BLOCK)
		return true;
	snprintf(err, n, "the store's writer has reserved %llu MiB of addresses, this process got only %llu",
	         (unsigned long long)(r->nblocks * BLOCK >> 20), (unsigned long long)(m->reserve >> 20));
	return false;
}

int store_map_root(struct store_map *m, int fd, char *err, size_t n)
{
	struct stat st;
	if (fstat(fd, &st) != 0 || (size_t)st.st_size < sizeof(struct store_root)) {
		snprintf(err, n, "the writer's root is too short");
		return -1;
	}
	const struct store_root *r = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (r == MAP_FAILED) {
		snprintf(err, n, "the writer's root can't be mapped: %s", strerror(errno));
		return -1;
	}
	if (!root_fits(m, r, (size_t)st.st_size, err, n)) {
		munmap((void *)(uintptr_t)r, (size_t)st.st_size);
		return -1;
	}
	madvise(m->verified, verified_size(m), MADV_DONTNEED); /* all zero again */
	const struct store_root *old = m->root;
	size_t old_size = m->root_size;
	uint64_t since = atomic_load(&r->epoch);
	atomic_store(&m->root, r);
	m->root_size = (size_t)st.st_size;
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned i = 0; old && i < STORE_WORKERS; i++)
		for (uint64_t e; m->beat[i] && (e = atomic_load(&m->beat[i]->epoch)) != 0 && e < since;)
			usleep(100);
	if (old)
		munmap((void *)(uintptr_t)old, old_size);
	return 0;
}

/* Keys travel as messages: the index key, then for each salt its id 16 and two
 * keys; the id 0 ends them. */
int store_keys_recv(struct store_map *m, int fd)
{
	uint8_t id[2];
	struct key *k = key_recv(fd);
	if (!k)
		return -1;
	crypto_lock(&m->sip, sizeof m->sip, "keys");
	sip_key(k, &m->sip);
	key_free(k);
	while (recv(fd, id, sizeof id, 0) == sizeof id && get_u16(id) != 0) {
		struct salt_keys *sk = m->salt + get_u16(id);
		struct key *f = key_recv(fd), *g = key_recv(fd);
		if (f && g && !sk->frag) {
			struct aead *seg = aead_new(g);
			sk->seg = seg;
			__atomic_store_n(&sk->frag, aead_new(f), __ATOMIC_RELEASE);
		}
		key_free(f);
		key_free(g);
		if (!sk->frag)
			return -1;
	}
	atomic_store_explicit(&m->keyed, true, memory_order_release);
	return 0;
}

bool store_map_ready(const struct store_map *m)
{
	return atomic_load_explicit(&m->keyed, memory_order_acquire) &&
	       atomic_load_explicit(&m->root, memory_order_acquire) != NULL;
}

void store_map_free(struct store_map *m)
{
	cold_end(m);
	map_close(m);
	free(m);
}
