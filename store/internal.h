/* internal.h - what the rooms of the store share. */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include "store/format.h"

#define SALTS 65536u

struct salt_keys { struct aead *frag, *seg; };

/* The readers' half; the writer's struct store holds one too. */
struct store_map {
	const uint8_t *base;         /* the file, mapped over the reserved range */
	uint64_t reserve;
	const struct store_root *_Atomic root;
	size_t root_size;
	struct store_beat *beat[STORE_WORKERS]; /* what each announces, 0 = idle; NULL: no such worker */
	struct sip sip;
	struct salt_keys *salt;      /* SALTS of them, by id; sparse */
	uint8_t *verified;           /* a bit a block: this process has checked its MAC */
	_Atomic bool keyed;
	_Atomic uint64_t *damaged;   /* failed authentications: damaged_here, also to who only reads */
	_Atomic uint64_t damaged_here;
	/* cold.c; NULL: its look-ups wait for the disk */
	struct store_cold *cold;
	_Atomic uint64_t *known;     /* a bit a page: it is in memory, as far as is known */
	unsigned page_bits;
	/* fragments the writer has sealed but not yet written to the file */
	const uint8_t *pending;
	uint64_t pending_unit, pending_units;
};

static inline _Atomic uint64_t *root_info(const struct store_root *r)
{
	return (_Atomic uint64_t *)(uintptr_t)(r + 1);
}
static inline struct segmac *root_macs(const struct store_root *r)
{
	return (struct segmac *)(uintptr_t)(root_info(r) + r->nblocks);
}
static inline uint64_t root_bytes(uint64_t nblocks)
{
	return sizeof(struct store_root) + nblocks * (sizeof(uint64_t) + sizeof(struct segmac));
}

/* Where a place stands in the directory.  All entries of one segment are alike, so
 * of those that the deepest can tell apart the first is read: what stays in the
 * cache is as small as the index allows. */
static inline const _Atomic uint32_t *dir_entry(const struct store_root *root, const struct place *p, uint32_t depth)
{
	uint32_t alike = (1u << (DIR_BITS - depth)) - 1;
	return &root->dir[dir_index(p) & ~alike];
}

/* Opens the mapping and what belongs to it over m->reserve octets (0: a default;
 * what was had is left there).  The writer may write to the file; a check writes
 * to memory of its own in the file's place.  Returns the file's memory.  NULL: err. */
enum map_use { MAP_READER, MAP_WRITER, MAP_CHECK };
void *map_open(struct store_map *m, int file, enum map_use use, char *err, size_t n);
void map_close(struct store_map *m); /* after a failure too */

/* guard.c: from when to when SIGBUS in this mapping is ours to handle; the
 * writer's is one for a process. */
void guard_map(const struct store_map *m, bool writes);
void guard_unmap(const struct store_map *m);
void *map_zeros(size_t n);           /* touched as needed; NULL: errno */

/* cold.c: the helpers' end. */
void cold_end(struct store_map *m);
/* Looks where no bit is set; false: s->cold says what is not there. */
bool cold_look(const struct store_map *m, uint64_t at, size_t n, struct scratch *s);
static inline bool page_known(const struct store_map *m, uint64_t at)
{
	uint64_t page = at >> m->page_bits;
	return atomic_load_explicit(&m->known[page / 64], memory_order_relaxed) >> page % 64 & 1;
}
/* It will be looked at. */
static inline void page_ask(const struct store_map *m, uint64_t at)
{
	if (m->cold)
		__builtin_prefetch((const void *)(uintptr_t)&m->known[at >> m->page_bits >> 6]);
}
/* May n octets of the file, one at least, be read without waiting? */
static inline bool is_near(const struct store_map *m, uint64_t at, size_t n, struct scratch *s)
{
	if (!m->cold || (page_known(m, at) && (at ^ (at + n - 1)) >> m->page_bits == 0))
		return true;
	return cold_look(m, at, n, s);
}

/* A key under which a fragment is found. */
#define FRAG_KEY_MAX NAME_MAX_LEN
void frag_hash(const struct store_map *m, enum frag_kind kind, uint32_t inst, const uint8_t *key,
               size_t keylen, uint64_t out[static 2]);
void probe_init(const struct store_map *m, struct probe *p, enum frag_kind kind, uint32_t inst,
                const uint8_t *key, size_t keylen, uint64_t seq);

/* read.c: a raw look at a fragment: verified and decrypted into the scratch. */
struct raw {
	struct frag f;
	uint64_t unit, older;
	uint32_t units; /* of the log */
	uint8_t kind, keylen;
	bool gone, packed; /* packed: the body still is */
};
/* pack.c: reads the plain octets of a fragment; a packed body stays as it is. */
bool frag_head(const uint8_t *p, size_t n, struct raw *out);
/* If it is packed: unpacked it goes to the scratch. */
bool frag_unpack_body(struct scratch *s, struct raw *out);
/* Both. */
static inline bool frag_unpack(const uint8_t *p, size_t n, struct scratch *s, struct raw *out)
{
	return frag_head(p, n, out) && frag_unpack_body(s, out);
}
static inline void scratch_take(struct scratch *s, size_t n)
{
	size_t end = s->used + n, next = (end + 7) & ~(size_t)7;
	if (s->top < end)
		s->top = end;
	s->used = next < s->size ? next : s->size;
}
/* A packed body stays so here and in the next two: most want the head alone. */
enum store_found frag_open(const struct store_map *m, const struct store_root *root, uint64_t unit,
                           struct scratch *s, struct raw *out);
/* Finds the newest version of a key that the index has. */
enum store_found frag_find(const struct store_map *m, const struct store_root *root,
                           const struct probe *p, struct scratch *s, struct raw *out);
/* Walks back to what p->seq may see; r is the newest, found with the scratch at
 * mark. */
enum store_found frag_at(const struct store_map *m, const struct store_root *root,
                         const struct probe *p, size_t mark, struct raw *r, struct scratch *s);
bool segment_verify(const struct store_map *m, const struct store_root *root, uint32_t block);
void segment_mac(const struct aead *a, const uint8_t *seg, uint32_t block, uint64_t serial,
                 uint8_t mac[static 16]);
enum store_found tree_node(const struct store_map *m, uint32_t inst, uint32_t chain, uint64_t number,
                           uint64_t seq, struct scratch *s, struct frag *out);
size_t tree_node_key(uint8_t out[static 9], uint32_t chain, uint64_t number);

/* index.c: one segment's memory; no files, no keys. */
enum index_result { INDEX_OK, INDEX_FULL };
/* Puts a new slot (its name is known to be absent).  move: entries may be
 * moved inside the segment, and the overflow used. */
enum index_result index_insert(uint64_t *seg, const struct place *p, uint64_t unit, bool move);
/* Entries of seg whose tag has the given bit go to `one`, the others to
 * `zero`; both are empty segments.  bit counts from the top of the tag. */
void index_split(const uint64_t *seg, unsigned bit, uint64_t *zero, uint64_t *one);
/* All entries of seg into `to`, which may hold some already and which no reader
 * sees.  False: they don't fit. */
bool index_gather(const uint64_t *seg, uint64_t *to);
unsigned index_count(const uint64_t *seg);
/* The address of the slot for (place, unit) as it stands, NULL if it is not there. */
uint64_t *index_slot(uint64_t *seg, const struct place *p, uint64_t unit);

/* tree.c: ordered trees (format in tree.c).  Keys compare by memcmp, a prefix first. */
#define TREE_KEY_MAX NAME_KEY_MAX
enum { CHAIN_NSEC = 0, CHAIN_CATALOG = 0, CHAIN_NAMES = 1 };
/* Greatest key <= key (wrapped to the last one when there is none).  For
 * key == NULL the last.  *exact: it is the key itself. */
enum store_found tree_find(const struct store_map *m, uint32_t inst, uint32_t chain, uint64_t seq,
                           const uint8_t *key, size_t n, struct scratch *s,
                           uint8_t out[static TREE_KEY_MAX], size_t *outn, bool *exact);
/* Smallest key > key (key NULL: the first); STORE_ABSENT at the end. */
enum store_found tree_after(const struct store_map *m, uint32_t inst, uint32_t chain, uint64_t seq,
                            const uint8_t *key, size_t n, struct scratch *s,
                            uint8_t out[static TREE_KEY_MAX], size_t *outn);
/* The same, and all keys behind it in the same leaf: each with its length 16
 * in front. */
enum store_found tree_run(const struct store_map *m, uint32_t inst, uint32_t chain, uint64_t seq,
                          const uint8_t *key, size_t n, struct scratch *s, struct wr *run);
uint32_t tree_nsec3_chain(const struct store_map *m, const struct nsec3_params *p);

/* The writer's side of the trees: nodes it has changed since the last flush. */
struct tree_cache;
struct tree_cache *tree_cache_new(struct store *st);
void tree_cache_free(struct tree_cache *c);
int tree_insert(struct tree_cache *c, uint32_t inst, uint32_t chain, const uint8_t *key, size_t n);
int tree_remove(struct tree_cache *c, uint32_t inst, uint32_t chain, const uint8_t *key, size_t n);
/* Writes the changed nodes as fragments of sequence seq. */
int tree_flush(struct tree_cache *c, uint64_t seq);
/* The same when the cache has grown large. */
int tree_trim(struct tree_cache *c, uint64_t seq);

/* store.c, for the rooms */
/* body NULL: the node is gone. */
int store_append_tree(struct store *st, uint64_t seq, uint32_t inst, const uint8_t *key, size_t keylen,
                      const uint8_t *body, uint32_t len);
enum store_found store_get_newest(struct store *st, enum frag_kind kind, uint32_t inst,
                                  const uint8_t *key, size_t keylen, struct scratch *s,
                                  struct frag *out);

/* zone.c: a key of a chain from an owner, relative to the zone's own, and back. */
size_t zone_key(const uint8_t *owner, unsigned zone_labels, uint8_t out[static NAME_KEY_MAX]);
bool zone_owner(const struct store_zone *z, const uint8_t *key, size_t n, uint8_t out[static NAME_MAX_LEN]);

#endif
