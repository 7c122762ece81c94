/* format.h - the store on disk, and the root in shared memory.
 *
 * A file (or raw partition) is a row of *blocks* of 256 KiB; addresses inside
 * it count *units* of 16 octets.  Integers are big-endian except index slots.
 *
 * Below, a bare number behind a field counts its bits.
 *
 * Block 0: two superblocks, at 0 and 4096, 4096 octets each.  A checkpoint is
 * written to both, the second when the first is durable; so a torn one always
 * leaves the other, and once both are there nothing older is needed:
 *   0   magic "encdns-s" | version 32 | flags 32 | store id: 16 octets
 *   32  checkpoint serial 64 | salt id 16 | salt: 32 octets   key of the table
 *   74  first table block 32 | table blocks 32
 *   82  MAC: 16 octets    HMAC-SHA256(K_super, octets 0..82), cut
 *
 *   8192 and 12288, in turn: serial 64 | MAC 16 octets: the extent of this serial
 *   holds a durable commit.  Written after the first commit in each extent, so
 *   that a log which breaks off before it is known for damage and no torn tail.
 *
 * Table: blocks, each sealed whole under HKDF(K_data, "table", salt), nonce =
 * checkpoint serial 48 | number of the block in the table 48:
 *   next table block 32 | octets used 32 | octets ... | tag: 16 octets
 * The octets of all blocks in a row are the checkpoint (checkpoint.c).
 *
 * Log: extents of 1 to 16 blocks, filled with fragments from unit to unit:
 *   kind 8 | plain length 24 | ciphertext | tag: 8 octets, 16 for commit and next
 * sealed under HKDF(K_data, "frag", salt of the extent), nonce = serial of the
 * extent 56 | unit 40, additional data = the four octets in front.  Plain (pack.c):
 *   octets of the sequence less one 3 | there is an older version 1 | octets of the
 *   instance less one 2 | body is packed 1 | tombstone 1 | 0 4 | flags are: none,
 *   NODE_CUT, 8 bits, 16 bits 2 | cut is: 0, the owner's labels, told 2 |
 *   sequence | older version: unit 40 | instance | flags | cut 8 | key length 8 |
 *   key | body
 * where the key is the owner (lower-case wire form), or for a tree node
 * chain 32 | number 40, or for a note (a tree node of instance 0) number 32.  After
 * a tombstone the name is absent from this sequence on.  A packed body is a row of
 * sets:
 *   type 8, or 255 and 16 | signatures 2: 0 to 2, or 3 and 8 more bits | records 2:
 *   1 to 3, or 0 and 16 more bits | flags follow 1 | form of the signatures 1 and of
 *   the records 2 | TTL: its number among pack.c's 8, or 254 and 16, or 255 and 32 |
 *   records 16 | signatures 8 | flags 8 | records | signatures
 * A record in the forms of pack.c: with its length (7 bits, or 1 and 15 bits), or
 * in the fields of its type with names in labels that end with 0, or with 64 + n or
 * 49152 + n: what stands n octets behind the beginning of the key goes on.
 *   commit: sequence 64 | tag of the commit before: 16 octets | fragments 32 |
 *           next instance 32 | the journal's: 128 octets
 *   next:   block 32 | blocks 16 | serial 40
 *
 * Index: extendible hashing over segments of one block each: 4032 buckets of
 * eight 8-octet slots (little-endian), then 256 overflow pairs {slot, home}.
 *   slot = unit 36 | displaced 1 | tag 27          0 = empty
 * From the 128-bit hash h (SipHash-2-4 of instance 32 | kind 8 | key):
 *   x = top 32 bits of h[0];  y = x + x(1-x)(a - bx) in 32-bit fixed point; tag = top
 *   27 bits of y; its top 16 bits choose the segment by the directory.  The
 *   warp, near 2 - 2^(1-x), makes equal ranges of y hold from 1 to 2 times as many
 *   names, as many of each degree, so that segments split one after another and
 *   never all at once.
 *   home = low 32 bits of h[0] scaled to 4032;  other = mix(tag) - home mod 4032
 * A displaced slot lies in its other bucket.  Invariant: a slot is displaced
 * only while its home bucket is full, so a home with room ends a search; the
 * overflow is used only when both are full and the segment can't split.
 * A slot of unit 0 is given up: it names nothing and may be taken again, but
 * its bucket counts as full (what it displaced is still elsewhere).
 * A segment's MAC (GMAC under HKDF(K_data, "segment", salt), nonce = checkpoint
 * serial 48 | block 48) lies in the checkpoint.
 */
#ifndef STORE_FORMAT_H
#define STORE_FORMAT_H

#include "store.h"

#include <stdatomic.h>

#define STORE_VERSION  3
#define SUPER_SIZE     4096
#define SUPER_BODY     82
#define REACHED_AT     (2u * SUPER_SIZE)
#define REACHED_LEN    24

#define BLOCK          262144u
#define UNIT           16u
#define BLOCK_UNITS    (BLOCK / UNIT)
#ifndef EXTENT_BLOCKS
#define EXTENT_BLOCKS  16u
#endif
#define TABLE_ROOM     (BLOCK - 8 - 16)

#define BUCKETS        4032u
#define SLOTS          8u
#define OVERFLOWS      256u
#define DIR_BITS       16u
#define DIR_SIZE       (1u << DIR_BITS)
#define TAG_BITS       27u
#define WARP_A         0x62e42ff0u /* 2 ln 2 - 1 */
#define WARP_B         0x145647e7u /* 3 ln 2 - 2 */

#define FRAG_CLEAR     4
#define FRAG_LEAST     5  /* octets of the shortest plain, */
#define FRAG_HEAD_MAX  23 /* and of the longest head: up to the key's length */
#define FRAG_GONE      0x8000 /* beside enum node_flag */
#define TAG_SHORT      8
#define TAG_LONG       16
#define COMMIT_LEN     (8 + 16 + 4 + 4 + STORE_META)
#define NEXT_LEN       (4 + 2 + 5)
/* The longest fragment: it must lie in one extent together with a NEXT. */
#define FRAG_PLAIN_MAX (FRAG_HEAD_MAX + NAME_MAX_LEN + BODY_MAX)

static inline size_t frag_taglen(uint8_t kind)
{
	return kind == FRAG_COMMIT || kind == FRAG_NEXT ? TAG_LONG : TAG_SHORT;
}
static inline uint64_t frag_units(uint8_t kind, size_t len)
{
	return (FRAG_CLEAR + len + frag_taglen(kind) + UNIT - 1) / UNIT;
}

/* What a block is used for; kept in the root so that a new writer leaves alone
 * what a living reader may still reach.  USE_HOLE: free, but the file system
 * may not have space behind it. */
enum block_use { USE_FREE, USE_LOG, USE_SEGMENT, USE_TABLE, USE_HOLE };
static inline bool use_free(enum block_use u) { return u == USE_FREE || u == USE_HOLE; }

/* A segment's entry in the checkpoint; mac state in the root. */
struct segmac {
	uint64_t serial; /* of the checkpoint that made it; 0: nothing to verify */
	uint16_t salt;
	uint8_t mac[16];
};

/* The root: one piece of shared memory, written by the writer, read by the
 * readers.  Native byte order: it never leaves the machine.
 * The arrays behind it are as long as the reserved range has blocks. */
struct store_root {
	uint64_t magic;      /* ROOT_MAGIC once the rest is complete */
	uint64_t nblocks;    /* length of the arrays */
	_Atomic uint64_t blocks;  /* blocks the file has now */
	_Atomic uint64_t epoch;
	_Atomic uint64_t visible;
	_Atomic uint64_t turns;
	_Atomic uint64_t hold[STORE_HOLDS];
	_Atomic uint32_t depth;   /* of the deepest segment; raised before dir knows it */
	_Atomic uint32_t dir[DIR_SIZE]; /* block of the segment */
	/* _Atomic uint64_t info[nblocks]: extent serial 40 | salt 16 | use 8 */
	/* struct segmac mac[nblocks] */
};
#define ROOT_MAGIC 0x656e63646e735232ull

static inline uint64_t info_make(uint64_t serial, uint16_t salt, enum block_use use)
{
	return serial << 24 | (uint64_t)salt << 8 | (uint64_t)use;
}
static inline uint64_t info_serial(uint64_t i) { return i >> 24; }
static inline uint16_t info_salt(uint64_t i) { return (uint16_t)(i >> 8); }
static inline enum block_use info_use(uint64_t i) { return (enum block_use)(i & 0xff); }

/* ---- hashing ---- */
struct place { uint32_t tag, home, other; };
/* The bucket a slot's owner would lie in if it were not in this one. */
static inline uint32_t other_bucket(uint32_t tag, uint32_t bucket)
{
	uint32_t k = (uint32_t)((uint64_t)(tag * 0x9e3779b1u) * BUCKETS >> 32);
	return k >= bucket ? k - bucket : k + BUCKETS - bucket;
}
static inline struct place place_of(uint64_t h)
{
	uint32_t x = (uint32_t)(h >> 32);
	uint64_t bow = (uint64_t)x * (UINT32_MAX - x) >> 32;
	uint32_t y = x + (uint32_t)(bow * (WARP_A - ((uint64_t)x * WARP_B >> 32)) >> 32);
	struct place p;
	p.tag = y >> (32 - TAG_BITS);
	p.home = (uint32_t)((uint64_t)(uint32_t)h * BUCKETS >> 32);
	p.other = other_bucket(p.tag, p.home);
	return p;
}
/* The directory entry that names its segment. */
static inline uint32_t dir_index(const struct place *p) { return p->tag >> (TAG_BITS - DIR_BITS); }
static inline uint64_t slot_make(uint64_t unit, bool displaced, uint32_t tag)
{
	return unit << 28 | (uint64_t)displaced << TAG_BITS | tag;
}
static inline uint64_t slot_unit(uint64_t s) { return s >> 28; }
static inline bool slot_displaced(uint64_t s) { return s >> TAG_BITS & 1; }
/* What a slot becomes that is given up. */
#define SLOT_GIVEN_UP (1ull << TAG_BITS)
static inline bool slot_given_up(uint64_t s) { return s && slot_unit(s) == 0; }
static inline uint32_t slot_tag(uint64_t s) { return (uint32_t)s & ((1u << TAG_BITS) - 1); }

/* Slots are little-endian on disk. */
static inline uint64_t slot_swap(uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	return __builtin_bswap64(v);
#else
	return v;
#endif
}
static inline uint64_t slot_load(const uint64_t *s)
{
	return slot_swap(__atomic_load_n(s, __ATOMIC_ACQUIRE));
}
static inline void slot_store(uint64_t *s, uint64_t v)
{
	__atomic_store_n(s, slot_swap(v), __ATOMIC_RELEASE);
}

static inline void frag_nonce(uint8_t out[static 12], uint64_t serial, uint64_t unit)
{
	put_u24(out, (uint32_t)(serial >> 32));
	put_u32(out + 3, (uint32_t)serial);
	put_u40(out + 7, unit);
}

#endif
