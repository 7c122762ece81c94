/* writer.h - the writer's state, shared by store.c and its writing rooms. */
#ifndef STORE_WRITER_H
#define STORE_WRITER_H

#include "store/internal.h"
#include "store/io.h"

#define LOG_BUFFER   (4u << 20)  /* holds any fragment beside what waits already */
#ifndef LOG_FLUSH
#define LOG_FLUSH    (1u << 20)  /* written to the file from here on */
#endif
#define PINS         (STORE_HOLDS + 16)
#define TAIL_OPS     10000000u   /* a checkpoint is due after so many operations */
#define TAIL_BYTES   (1ull << 30) /* or so much log */

struct segmeta { uint8_t depth; bool dirty; uint16_t count; }; /* dirty: made since the checkpoint */
struct extent { uint32_t block, nblocks; uint64_t serial; uint16_t salt; };
struct salt { uint16_t id; uint8_t octets[32]; };

/* A sealed fragment whose slot is set when its octets are in the file. */
struct pending {
	uint64_t hash[2];
	uint64_t unit, old_unit; /* old_unit: what the slot holds now, 0 = no slot */
	uint32_t next;           /* in the hash chain, 1 + index */
};
#define PENDING_LINES 4096u

/* Blocks that go free when no reader can reach them and no superblock refers to them. */
struct retired { uint32_t block; uint64_t epoch; };
struct retire_list { struct retired *at; size_t n, room; };

/* One version of a key, as it goes to the log. */
struct change {
	enum frag_kind kind;
	uint64_t seq;
	uint32_t inst;
	uint16_t flags;   /* enum node_flag, FRAG_GONE */
	uint8_t cut;
	const uint8_t *key;
	size_t keylen;
	const uint8_t *body;
	uint32_t len;
};

struct store {
	struct store_map map;
	const struct key *key;     /* K_data; the caller's */
	int fd;
	char name[128];            /* for messages */
	bool memory, ordered, fixed_size, failed;
	bool check;                /* in private memory: the file is not written */
	bool ours;                 /* a superblock with our key's MAC was found */
	bool hurt;                 /* it is ours, and can't be read */
	bool older_lost;           /* the last checkpoint but one can't be read (a new store has none) */
	uint8_t id[16];
	uint8_t *base;             /* writable view of map.base */
	struct store_root *root;
	int root_fd;
	const struct store_beat *const *beats; /* the readers'; untrusted */
	unsigned nbeats;
	struct segmeta *seg;       /* by block */
	uint8_t *avoid;            /* a bit a block: an old root's reader may be there */
	uint32_t cursor;           /* where the search for free blocks goes on */
	uint32_t used;             /* blocks in use */

	struct salt *salts;
	size_t nsalts;
	uint16_t salt_id;          /* the one written under */
	struct aead *table_key;
	struct key *super_key;

	struct extent *extents;    /* live ones, the last is being filled */
	size_t nextents, extent_room;
	uint64_t next_serial;
	uint64_t reached;          /* serial of the newest extent known to hold a durable commit */
	uint64_t at;               /* unit behind the last fragment */
	uint8_t *buf;              /* fragments from buf_unit on, not yet in the file */
	uint64_t buf_unit;
	uint32_t buf_len;          /* octets, a multiple of UNIT */
	bool unsynced;             /* something was written without being synced */

	struct pending *pend;
	size_t npend, pend_room;
	uint32_t pend_line[PENDING_LINES];

	uint64_t seq;              /* of the last commit */
	uint64_t last_seq;         /* of the last change */
	uint8_t meta[STORE_META];
	uint8_t commit_tag[TAG_LONG];
	uint32_t group;            /* fragments since the last commit */
	uint32_t next_inst;
	uint64_t names, log_bytes, tail_ops, tail_bytes;
	uint64_t pins[PINS];       /* 0: free; else 1 + sequence */

	uint64_t ckpt_serial;
	uint32_t *table;           /* blocks of the last checkpoint's table */
	size_t ntable;
	struct retire_list epoch_wait; /* dirty blocks replaced: readers only */
	struct retire_list ckpt_now, ckpt_prev; /* still in the last, the last but one checkpoint */
	uint64_t checkpoints;

	struct tree_cache *trees;
	struct scratch scratch;
};

/* space.c */
int space_alloc(struct store *st, uint32_t n, enum block_use use, uint32_t *out);
/* Makes sure that n more blocks can be had. */
int space_reserve(struct store *st, uint32_t n);
/* An extent's blocks: a row of EXTENT_BLOCKS, or when the disk is full of at
 * least `least`; *n tells. */
int space_extent(struct store *st, uint32_t least, uint32_t *out, uint32_t *n);
void space_free(struct store *st, uint32_t block);
int space_retire(struct retire_list *l, uint32_t block, uint64_t epoch);
void space_collect(struct store *st);           /* frees what no reader can reach any more */
void space_checkpointed(struct store *st);      /* one more checkpoint is durable */
int space_root(struct store *st, uint64_t nblocks, char *err, size_t n);
/* Is the file as long as it was?  -1: EIO; one that was cut short is not to be
 * written to: its lost part would come back as zeros. */
int space_whole(const struct store *st);
void space_use(struct store *st, uint32_t block, uint32_t n, uint64_t info);

/* log.c */
/* older: unit of the version before, 0 = none.  *unit: where this one lies. */
int log_append(struct store *st, const struct change *c, uint64_t older, uint64_t *unit);
int log_flush(struct store *st, bool sync);     /* octets to the file, then slots */
int log_commit(struct store *st, uint64_t seq, const uint8_t meta[static STORE_META]);
int log_extent(struct store *st);               /* begins the first extent of this writer */
int log_recover(struct store *st, char *err, size_t n); /* replays the tail behind the checkpoint */
bool log_reached_sound(const struct store *st, unsigned which); /* one of the two marks; unwritten is sound */
int store_fail(struct store *st);               /* latches the failure; -1 */

/* segment.c */
int segment_set(struct store *st, const uint64_t hash[static 2], uint64_t unit, uint64_t old_unit);
int segment_new(struct store *st, uint8_t depth, uint32_t *block);
/* A segment of that depth will be in the directory. */
void segment_depth(struct store *st, unsigned depth);
uint32_t segment_count(const struct store *st);

/* checkpoint.c */
int checkpoint_write(struct store *st);
int checkpoint_load(struct store *st, char *err, size_t n);
int salt_add(struct store *st, uint16_t id, const uint8_t octets[static 32]);
int salt_fresh(struct store *st);
void salt_prune(struct store *st);

#endif
