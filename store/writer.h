/* writer.h - the writer's state, shared by store.c and its writing rooms. */
#ifndef STORE_WRITER_H
#define STORE_WRITER_H

#include "base/helper.h"
#include "store/internal.h"
#include "store/io.h"

#define LOG_BUFFER   (4u << 20)  /* holds any fragment beside what waits already */
#ifndef LOG_FLUSH
#define LOG_FLUSH    (1u << 20)  /* written to the file from here on */
#endif
#define SOON         16u         /* a name's bucket is asked for so many names before its fragment */
#define SLOTS_AHEAD  8u          /* slots whose cache lines are asked for before they are set */
#define PINS         (STORE_HOLDS + 16)
#define TAIL_OPS     10000000u   /* a checkpoint is due after so many operations */
#define TAIL_BYTES   (1ull << 30) /* or so much log, less in a small store */
#define TAIL_PART    20u         /* so great a part of what is live */

struct segmeta { uint32_t cut; uint16_t count; uint8_t depth; bool counted; }; /* cut: see struct checkpoint */
struct extent {
	uint32_t block, nblocks;
	uint64_t serial;
	uint64_t end;      /* unit behind its last fragment; the last extent's is st->at */
	uint64_t insts;    /* a bit for each instance it has fragments of (inst_bit) */
	uint16_t salt;
	bool suspect;      /* may hold fragments of instances that are gone */
	bool bad;          /* was found damaged: it stays, and what it holds */
};
/* By block.  Counted at the first block of an extent, in units; live: newest
 * versions that are no tombstones; held: older ones that pins were seen to
 * need, all forgotten when a pin goes; replaced: committed ones, by the group that
 * commit so-and-so many will end: readers need them until then. */
struct logmeta { uint32_t first, live, held, replaced, commit; };
struct salt { uint16_t id; uint8_t octets[32]; };

/* A sealed fragment whose slot is set when its octets are in the file. */
struct pending {
	uint64_t hash[2];
	uint64_t unit, old_unit; /* old_unit: what the slot holds now, 0 = no slot */
	uint32_t next;           /* in the hash chain, 1 + index */
	bool late;               /* may be set later (struct defer) */
};
#define PENDING_LINES 16384u

/* Fragments that are not in the file yet, and the slots that wait for them. */
struct filled {
	uint8_t *buf;            /* LOG_BUFFER octets, mapped */
	uint64_t unit, serial;   /* where they go; of the extent there */
	uint32_t len;            /* octets, a multiple of UNIT */
	struct pending *pend;
	size_t npend, room;
	uint64_t late;           /* instances (inst_bit) of those that may be set later */
};

/* Slots of a bulk load that wait to be set in order (defer.c): of names that are
 * new in an instance that no zone names.  No reader asks for them; who changes the
 * index, or looks for such a name in it, has them set first. */
#define DEFER_LOADS 8u
struct late { uint64_t hash, unit; }; /* hash: the first half */
#define DEFER_WAYS 256u
struct defer {
	struct late *at;         /* mapped; NULL: none */
	size_t n, room;          /* those that have come, from its beginning on */
	size_t done, sorted;     /* [done, sorted): those before them; while there are any, n <= done */
	size_t end[DEFER_WAYS];  /* of their parts, one for each first octet of the hash; */
	unsigned part;           /* the next of these to be set */
	uint64_t insts;          /* whose they are (inst_bit) */
	uint64_t grown_ns;       /* when it last did */
	uint64_t named;          /* instances (inst_bit) that the next commit shows */
	uint32_t loading[DEFER_LOADS]; /* the last ones given out that no zone names; 0: none */
	unsigned next;           /* there */
};

/* What compaction may cost and when it begins, and other bounds that tests change. */
struct tune {
	uint64_t tick_ns;    /* at most so long in one tick */
	uint32_t slice;      /* units paid for in one go between changes */
	uint32_t start;      /* percent of the live log that may be garbage, */
	uint32_t much;       /* and beyond it such that ticks come more often */
	uint32_t floor;      /* blocks of garbage that never matter */
	uint32_t slack;      /* free blocks that the file may keep in any case */
	uint64_t tail_least; /* octets of log that make no checkpoint due */
	uint64_t late_least; /* octets of index below which each slot is set at once */
	uint32_t late_part;  /* slots that wait take such a part of the index at most; 0: none wait */
};

/* The extent being emptied, from its first fragment to its end. */
struct compact {
	uint32_t block;    /* its first block; 0: none */
	bool sweep;        /* only what instances that are gone have left */
	bool again;        /* more instances have gone since its beginning */
	uint64_t unit, end; /* looked at next; behind its last fragment */
	uint64_t owed;     /* units of work that changes have made due */
	uint64_t moved, emptied, drift; /* since the start: units, extents, units wrongly counted */
};

/* An instance that the catalog no longer names from a sequence on. */
struct dropped { uint32_t inst; uint64_t seq; };
struct instances {
	uint8_t **page;       /* bits by id: named, or being loaded; see instance.c */
	uint32_t since;       /* first id given by this run */
	uint64_t opened;      /* the sequence at which it began */
	bool ready;           /* the catalog was read to its end */
	uint8_t after[NAME_MAX_LEN]; /* reading it: the zone before */
	bool begun;
	struct dropped *queue;
	size_t head, n, room;
};

/* A store whose making was cut off is no longer than this. */
#define UNBORN_MAX (64u * BLOCK)

/* Blocks that go free when no reader can reach them and no superblock refers to them. */
struct retired { uint32_t block; uint64_t epoch; };
struct retire_list { struct retired *at; size_t n, room; };

/* A checkpoint holds the state at its *cut*, a moment between two groups, and is
 * written in slices while the writer goes on: from the cut on no segment that
 * there was is changed any more (segment.c).
 * Phases: none -> segments (each made durable, its MAC set in the state) ->
 * table -> superblocks -> none, and only then is the one before forgotten. */
struct checkpoint {
	enum { CKPT_NONE, CKPT_SEGMENTS, CKPT_TABLE, CKPT_SUPERS } phase;
	uint64_t serial;
	uint8_t *state;            /* as in checkpoint.c */
	size_t room, len;
	struct made { uint32_t block, at; } *made; /* segments made since the cut before; where their MACs belong */
	size_t nmade;
	uint32_t *blocks;          /* of the table */
	size_t nblocks;
	size_t done;               /* of this phase's pieces, */
	size_t ahead;              /* segments with their MAC, on their way to the disk */
	struct retire_list wait;   /* retired before the cut: until this one is durable */
};

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
	bool fresh;       /* the key is new: nobody looks for it soon */
	bool packed;      /* the body is packed already */
};

/* The newest version of a name as store_newest found it in the log: who then
 * changes the name need not read it again.  Without owner and body. */
struct head { bool known; uint64_t hash[2]; struct raw r; };
/* The last key of a kind that was hashed: it is often asked for several times. */
struct hashed { uint32_t inst; size_t n; uint8_t key[FRAG_KEY_MAX]; uint64_t hash[2]; };

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
	uint32_t cursor, low;      /* where the search for free runs, and blocks, goes on */
	uint32_t used, holes;      /* blocks in use, and free ones without space */
	bool no_holes;             /* the file system can't punch any */
	struct tune tune;

	struct salt *salts;
	size_t nsalts;
	uint16_t salt_id;          /* the one written under */
	struct aead *table_key;
	struct key *super_key;

	struct extent *extents;    /* live ones, the last is being filled */
	size_t nextents, extent_room;
	struct logmeta *log;       /* by block */
	uint64_t log_blocks;       /* of all extents */
	uint64_t live_units, held_units;
	uint64_t replaced_units;
	uint32_t commits;          /* so far */
	uint64_t cut_live;         /* the former at the last checkpoint's cut */
	struct compact compact;
	struct instances insts;
	uint64_t next_serial;
	uint64_t reached;          /* serial of the newest extent known to hold a durable commit */
	uint64_t at;               /* unit behind the last fragment */
	struct filled fill;        /* what is being appended to */
	uint32_t plain_from;       /* octets of it that are sealed */
	uint32_t pend_line[PENDING_LINES]; /* fill's, by their hash */
	struct filled given;       /* the helper's, while `behind` */
	uint32_t given_plain;
	struct helper helper;
	bool behind;
	int behind_errno;          /* of its work, or 0 */
	bool unsynced;             /* something was written without being synced */
	struct defer defer;

	uint64_t seq;              /* of the last commit */
	uint64_t last_seq;         /* of the last change */
	uint8_t meta[STORE_META];
	uint8_t commit_tag[TAG_LONG];
	uint32_t group;            /* fragments since the last commit, */
	uint32_t changes;          /* and those of them that are no copies made by compaction */
	uint32_t next_inst;
	uint64_t names, tail_ops, tail_bytes;
	uint64_t pins[PINS];       /* 0: free; else 1 + sequence */
	uint64_t unpinned[PINS];   /* 0; else given back, and free from this epoch of all readers on */

	/* Whoever reads now sees view_low or later, or a pinned sequence (a hold
	 * has a pin).  The pinned ones again, in a row: */
	uint64_t view_low;
	uint64_t need[PINS], need_low;
	unsigned nneed;
	uint64_t mark_epoch, mark_seq; /* view_low is to become mark_seq; 0: no mark */

	uint64_t ckpt_serial;
	uint32_t *table;           /* blocks of the last checkpoint's table */
	size_t ntable;
	struct retire_list epoch_wait; /* until no reader can reach them */
	struct retire_list ckpt_wait;  /* until a checkpoint with a later cut, then the same */
	uint32_t log_waiting;          /* blocks of log among them */
	uint32_t cuts;                 /* so far */
	struct checkpoint ckpt;        /* the one under way */
	unsigned super;                /* which superblock is written first */
	uint64_t checkpoints;

	struct tree_cache *trees;
	struct hot *hot;           /* see hot.c; NULL: none yet */
	struct head head;          /* what was looked up last */
	struct hashed hashed[FRAG_ZONE + 1];
	struct probe soon[SOON];   /* names that will be asked for, in turn */
	unsigned nsoon;
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
void space_cut(struct store *st);               /* a checkpoint's cut: what is retired waits for it */
void space_checkpointed(struct store *st);      /* and now it is durable */
void space_doubt(struct store *st);             /* after opening: free blocks may have no space */
int space_give_back(struct store *st);          /* to the file system, when a lot is free */
uint64_t space_epoch(const struct store *st);   /* the oldest that a reader may still be in */
int space_root(struct store *st, uint64_t nblocks, char *err, size_t n);
/* Is the file as long as it was?  -1: EIO; one that was cut short is not to be
 * written to: its lost part would come back as zeros. */
int space_whole(const struct store *st);
void space_use(struct store *st, uint32_t block, uint32_t n, uint64_t info);

/* log.c */
/* older: unit of the version before, 0 = none.  *at: where this one lies. */
struct laid { uint64_t unit, units; };
int log_append(struct store *st, const struct change *c, uint64_t older, struct laid *at);
int log_commit(struct store *st, uint64_t seq, const uint8_t meta[static STORE_META]);
int log_extent(struct store *st);               /* begins the first extent of this writer */
int log_extent_add(struct store *st, struct extent e);
int log_recover(struct store *st, char *err, size_t n); /* replays the tail behind the checkpoint */
bool log_reached_sound(const struct store *st, unsigned which); /* one of the two marks; unwritten is sound */
int store_fail(struct store *st);               /* latches the failure; -1 */
void log_live(struct store *st, uint64_t unit, int64_t units); /* counts at its extent */
void log_replace(struct store *st, uint64_t unit, uint64_t units); /* the same, see struct logmeta */
static inline uint32_t log_replaced(const struct store *st, const struct logmeta *m)
{
	return m->commit == st->commits ? m->replaced : 0;
}

/* pack.c: the plain octets of a fragment, FRAG_HEAD_MAX + keylen + len at most.
 * Returns how many. */
size_t frag_pack(const struct change *c, uint64_t older, uint8_t *out);

/* behind.c */
int log_flush(struct store *st, bool sync);     /* octets to the file, then slots */
/* All that was appended can be looked at, and nobody else is at work: to be
 * called before anything but appending.  -1: errno, the store has failed. */
int log_settle(struct store *st);
int log_wait(struct store *st); /* only the latter */
int log_sync(struct store *st); /* what was written is durable */
void log_seal(struct store *st);                /* what was appended, and is still plain */
/* The buffer is full: nobody else at work, it is handed over, and the log goes on at `next`;
 * then the helper begins. */
void log_hand_over(struct store *st, uint64_t next);
void log_behind(struct store *st);

/* defer.c: slots that are set later.  All but the first three only when nobody else is
 * at work.  -1: errno, the store has failed (of defer_add: the caller fails it). */
void defer_instance(struct store *st, uint32_t inst); /* is being loaded */
void defer_named(struct store *st, uint32_t inst);    /* a zone names it, in this group, or none ever will */
/* May the slot of what was appended last be set later? */
void defer_mark(struct store *st, const struct change *c);
/* Before the slots of f are set: do those that may wait do so? */
bool defer_open(struct store *st, const struct filled *f);
int defer_add(struct store *st, const struct pending *p); /* then each of them */
int defer_settle(struct store *st); /* all are set, and their memory is given back */
/* The same if a key of this kind and instance may be among them. */
int defer_look(struct store *st, enum frag_kind kind, uint32_t inst);
int defer_show(struct store *st);   /* and at a commit that shows one's instance */
int defer_tick(struct store *st, uint64_t now_ns); /* and when a load stands still */
void defer_free(struct store *st);

/* store.c */
/* A packed body stays so (frag_open).  STORE_DAMAGED: errno, EBADMSG when it is the disk's content. */
enum store_found store_head(struct store *st, const struct probe *p, struct scratch *s, struct raw *f);
struct pending *store_pending(struct store *st, const uint64_t hash[static 2]);
int store_pending_add(struct store *st, const uint64_t hash[static 2], uint64_t unit, uint64_t old);
/* Appends a version behind what the log has of the key. */
int store_append(struct store *st, const struct change *c, const uint64_t hash[static 2]);
/* Does someone need the version of sequence `from` although `to` replaces it? */
bool view_needs(const struct store *st, uint64_t from, uint64_t to);
bool view_below(const struct store *st, uint64_t seq); /* does someone see less than seq? */
bool view_pinned(const struct store *st, uint64_t from, uint64_t to);
void view_advance(struct store *st); /* readers may have gone on */

/* hot.c */
bool hot_get(struct store *st, const struct probe *p, struct raw *out); /* valid until the next change */
/* A key that this group has changed before.  Not *taken: it is to be appended. */
int hot_put(struct store *st, const struct change *c, const struct probe *p, bool *taken);
int hot_flush(struct store *st); /* all of them to the log */
void hot_free(struct store *st);

/* compact.c */
/* Works off what changes have made due. */
int compact_pay(struct store *st, uint64_t units);
bool compact_much(const struct store *st); /* is there a lot to do, and no group open? */
/* Works until the clock says so; *more: there is more to do. */
int compact_run(struct store *st, uint64_t until_ns, bool *more);
uint64_t compact_clock(void);

/* instance.c: which instances of zones are gone. */
static inline uint64_t inst_bit(uint32_t inst)
{
	return inst ? 1ull << ((inst * 0x9e3779b1u) >> 26) : 0;
}
int inst_named(struct store *st, uint32_t inst);
int inst_dropped(struct store *st, uint32_t inst, uint64_t seq);
bool inst_gone(const struct store *st, uint32_t inst);
/* What no view sees any more becomes gone; reads on in the catalog. */
int inst_tick(struct store *st, uint64_t until_ns);
uint64_t inst_pending(const struct store *st); /* bits of those that some view may see */
void inst_free(struct store *st);

/* zone.c: a marker replaced another: the instance it no longer names is dropped. */
int zone_replayed(struct store *st, const struct raw *was, const struct raw *now);

/* segment.c */
int segment_set(struct store *st, const uint64_t hash[static 2], uint64_t unit, uint64_t old_unit);
int segment_new(struct store *st, uint8_t depth, uint32_t *block);
/* A segment of that depth will be in the directory. */
void segment_depth(struct store *st, unsigned depth);
/* Gives up the slot of a name that nobody looks for any more. */
int segment_unset(struct store *st, const uint64_t hash[static 2], uint64_t unit);
void segment_touch(const struct store *st, const uint64_t hash[static 2]); /* soon to be looked at */
bool segment_has(const struct store *st, const uint64_t hash[static 2], uint64_t unit);
uint32_t segment_count(const struct store *st);
/* Made since the last cut: it may be changed where it is, and no checkpoint, nor
 * one under way, refers to it. */
static inline bool segment_fresh(const struct store *st, uint32_t block) { return st->seg[block].cut == st->cuts; }

/* checkpoint.c */
int checkpoint_write(struct store *st); /* whole, of this moment, between groups */
/* Begins one, between groups, when none is under way.  -1: errno; there is none
 * still, and the store goes on. */
int checkpoint_cut(struct store *st);
static inline bool checkpoint_going(const struct store *st) { return st->ckpt.phase != CKPT_NONE; }
/* One slice of the one under way.  -1: errno, the store has failed. */
int checkpoint_step(struct store *st);
int checkpoint_run(struct store *st, uint64_t until_ns); /* one slice, and more until then */
/* As much of it as the log's growth makes due. */
int checkpoint_pay(struct store *st);
bool checkpoint_due(const struct store *st);
void checkpoint_free(struct store *st);
int checkpoint_load(struct store *st, char *err, size_t n);
int salt_add(struct store *st, uint16_t id, const uint8_t octets[static 32]);
int salt_fresh(struct store *st);
void salt_prune(struct store *st);

#endif
