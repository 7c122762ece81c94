/* store.h - the fragment store: an append-only log of encrypted fragments, a
 * mapped hash index over it, and version chains (layout in store/format.h).
 *
 * One writer (encdns-control; the hub) and many readers (the workers of
 * encdns-dns; the writer itself), which share the file's mapping and a piece of
 * shared memory, the *root*.  A fragment carries the sequence it was written
 * at; a reader sees the newest version not above its view.  */
#ifndef STORE_H
#define STORE_H

#include <setjmp.h>
#include <stdatomic.h>

#include "base/ring.h"
#include "crypto.h"
#include "dns/rrset.h"

#define STORE_HOLDS   64 /* groups of zones that can be held at a time */
#define STORE_WORKERS 64
#define STORE_META    128 /* octets the journal keeps beside each commit */

/* What a fragment is; part of the key it is found by. */
enum frag_kind {
	FRAG_NAME = 1, /* all RRsets of an owner name */
	FRAG_NSEC3,    /* the NSEC3 RRset of a hashed owner */
	FRAG_TREE,     /* a node of an ordered tree */
	FRAG_ZONE,     /* a zone, or a marker for a suffix of a zone's name */
	FRAG_COMMIT,   /* log only: end of a group */
	FRAG_NEXT,     /* log only: the log goes on in another extent */
};

/* A decrypted fragment; everything points into the scratch it was taken to. */
struct frag {
	uint64_t seq;
	uint32_t inst;       /* zone instance */
	uint16_t flags;      /* enum node_flag */
	uint8_t cut;         /* see rrset.h */
	const uint8_t *owner; /* lower case */
	const uint8_t *body;
	uint32_t len;
};

/* Nodes of ordered trees that stay decrypted, each as one view sees it: inner
 * ones, which are on the way of every search, and leaves. */
#define MEMO_NODES  512
#define MEMO_KEYS   256
#define MEMO_LEAVES 2048
struct memo_node {
	uint64_t number, seq;
	uint32_t inst, chain;
	uint16_t len, count;       /* count 0: empty */
	uint64_t start[MEMO_KEYS]; /* the first octets of each key, as a number */
	uint16_t at[MEMO_KEYS];    /* where its entry stands in the body */
	uint8_t body[2048];
};
struct memo_leaf {
	uint64_t number, seq;
	uint32_t inst, chain;
	uint32_t len;              /* 0: empty */
	uint8_t body[768];
};
struct store_memo {
	struct memo_node node[MEMO_NODES];
	struct memo_leaf leaf[MEMO_LEAVES];
};

/* Octets of the store's file. */
struct store_range {
	uint64_t at;
	uint32_t len; /* 0: none */
};

/* Memory for decrypted fragments, emptied by its owner between queries. */
struct scratch {
	uint8_t *mem;
	size_t size, used;
	size_t top; /* octets that ever held something */
	struct store_memo *memo; /* NULL, or the owner's: zeroed at first */
	struct store_range cold; /* what the last cold look-up (below) lacks; the owner makes it none */
	bool patient;            /* look-ups are not cold, they wait for the disk */
};
int scratch_new(struct scratch *s, size_t size);
void scratch_free(struct scratch *s); /* wiped; a zeroed one is fine */

enum store_found {
	STORE_FOUND,
	STORE_ABSENT,
	STORE_DAMAGED, /* failed authentication or I/O error: SERVFAIL, never "absent" */
};

/* ---- reading ---- */
struct store_map; /* one per process: mapping, root, read keys */

/* What a reader may see, copied from the root once a batch. */
struct store_view {
	uint64_t visible;
	uint64_t turns; /* how often store_turn was called: with the same sequence, not the same data */
	uint64_t hold[STORE_HOLDS]; /* 0: not held */
};
void store_view_take(const struct store_map *m, struct store_view *v);

/* A zone as the catalog tells it. */
enum zone_state { ZONE_SERVING = 1, ZONE_LOADING, ZONE_FAILED, ZONE_EXPIRED };
struct store_zone {
	uint32_t inst;    /* instance id, never reused */
	uint32_t serial;
	uint32_t expire;  /* of its SOA, seconds */
	uint8_t state;    /* enum zone_state */
	uint8_t hold;     /* 0, or 1 + number of its hold */
	uint8_t labels;   /* of its name */
	bool leaf;        /* reading: no zone below it, so it encloses all names below it */
	uint64_t seq;     /* the view for this zone: visible, or its hold */
	uint8_t name[NAME_MAX_LEN];
};
/* The zone that encloses a (lower-case) name most closely.  nlabels =
 * name_labels(name).  With above: the closest one strictly above the name
 * (for DS queries at a zone's own apex). */
enum store_found store_zone_find(const struct store_map *m, const struct store_view *v,
                                 const uint8_t *name, unsigned nlabels, bool above,
                                 struct scratch *s, struct store_zone *out);

/* Look-up of a fragment in four stages, so that a batch can overlap its cache
 * misses: begin hashes and prefetches the directory's entry, seek reads it and
 * prefetches the bucket, fetch reads that and prefetches the fragment, take
 * verifies, decrypts and compares.  seek and fetch may be left out.  owner is
 * lower case and must live until take. */
struct probe {
	uint64_t hash[2];
	uint64_t seq;
	uint32_t inst;
	uint32_t keylen;
	const uint8_t *key;
	uint8_t kind;
};
void store_begin(const struct store_map *m, struct probe *p, enum frag_kind kind, uint32_t inst,
                 const uint8_t *owner, uint64_t seq);
void store_seek(const struct store_map *m, const struct probe *p);
void store_fetch(const struct store_map *m, const struct probe *p);
enum store_found store_take(const struct store_map *m, const struct probe *p, struct scratch *s,
                            struct frag *out);
/* Begin and take in a row. */
enum store_found store_get(const struct store_map *m, enum frag_kind kind, uint32_t inst,
                           const uint8_t *owner, uint64_t seq, struct scratch *s, struct frag *out);

/* What the disk does not give (SIGBUS under the mapping) must not end a reader:
 *	store_guard_enter(m, &g);
 *	if (sigsetjmp(g.to, 0) != 0)
 *		... a look-up since then was STORE_DAMAGED; the guard still holds
 *	... look-ups ...
 *	store_guard_leave(&g);
 * all in one function that has not returned.  Of its thread; guards may nest. */
struct store_guard {
	sigjmp_buf to;
	const struct store_map *map;
	struct store_guard *outer;
};
void store_guard_enter(const struct store_map *m, struct store_guard *g);
void store_guard_leave(struct store_guard *g);

/* Where the store is not in memory a look-up waits for the disk, and all that its
 * thread has to do waits with it.  So a reader process may have helpers: a look-up
 * that would wait is STORE_DAMAGED then, is not counted as such, and says in its
 * scratch what is cold.  Who sees that sends an errand, does something else until
 * it is back, and asks again from the beginning: the store may have changed.
 * What is in memory is remembered by a bit a page, so that this costs nothing
 * where all is. */
struct store_errand {
	struct ring link; /* the helpers', until it is back */
	struct store_range range;
	unsigned worker;
	bool failed;      /* back: the disk does not give it */
};
/* Begins helpers for so many workers, before threads are forbidden.  -1: errno,
 * ENOTSUP when the kernel does not tell what is in memory; look-ups wait. */
int store_cold_begin(struct store_map *m, unsigned workers);
/* Readable while errands of a worker are back; -1: there are no helpers. */
int store_cold_fd(const struct store_map *m, unsigned worker);
void store_cold_send(const struct store_map *m, struct store_errand *e);
/* Takes up to n errands of a worker that are back. */
unsigned store_cold_back(const struct store_map *m, unsigned worker, struct store_errand **out, unsigned n);
/* No errand of this worker is under way any more, none is back. */
void store_cold_recall(const struct store_map *m, unsigned worker);
/* From time to time, by each worker; faulted: it has waited for the disk since.
 * When pages may have left memory nothing is remembered any more. */
void store_cold_age(const struct store_map *m, bool faulted, uint64_t now_ns);

/* Denial: the link of a chain that matches or covers.  NSEC: the greatest
 * owner at or before `name` in the zone, wrapped round to the last; NSEC3: the
 * same for a hash under the given parameters, and only the link's owner: the
 * FRAG_NSEC3 of that name is there, or damaged.  STORE_ABSENT: no such chain.
 * *exact tells whether it is the name (hash) itself. */
enum store_found store_nsec(const struct store_map *m, const struct store_zone *z, const uint8_t *name,
                            struct scratch *s, struct frag *out, bool *exact);
enum store_found store_nsec3(const struct store_map *m, const struct store_zone *z,
                             const struct nsec3_params *p, const uint8_t hash[static 20],
                             struct scratch *s, uint8_t owner[static NAME_MAX_LEN], bool *exact);

/* Epochs (design section 4): a worker announces before it reads, and says idle
 * before it waits: in memory that the writer sees, a cache line for each. */
struct store_beat { _Alignas(64) _Atomic uint64_t epoch; };
void store_announce(struct store_map *m, unsigned worker);
void store_idle(struct store_map *m, unsigned worker);

/* The reader process's side: descriptors come from the supervisor and from the
 * writer.  file is read-only; reserve as in struct store_conf, and not below the
 * writer's. */
struct store_map *store_map_new(int file, uint64_t reserve, char *err, size_t n);
/* Where a worker announces, before it first does; what a dead predecessor
 * announced there counts no more.  It stays the caller's, beyond the map's end. */
void store_map_worker(struct store_map *m, unsigned worker, struct store_beat *beat);
/* Takes a new root (a descriptor, closed by the caller) and returns when every
 * worker has announced it or is idle; not to be called by a worker.  -1: err,
 * the old root stays in use. */
int store_map_root(struct store_map *m, int root, char *err, size_t n);
/* Keys for reading, from store_keys_send over a socketpair of SOCK_SEQPACKET. */
int store_keys_recv(struct store_map *m, int fd);
void store_map_free(struct store_map *m);
bool store_map_ready(const struct store_map *m); /* has a root and keys */

/* ---- writing ---- */
struct store;
/* The status that a writer's process ends with when the disk fails under a
 * change of the index: as after a failed write, nothing was acknowledged. */
#define STORE_EXIT_DAMAGED 4
struct store_conf {
	const char *path;  /* file or raw partition; for messages when fd is given */
	int fd;            /* -1, or a descriptor open for reading and writing; stays the caller's */
	uint64_t reserve;  /* octets of address space, 64 MiB or more; 0: a default for this machine */
	bool check;        /* to look only: nothing is written, the file may be read-only; no changes, no readers */
	bool ordered;      /* hub: keep every name in an ordered tree, for the walk */
	const int *old_roots; /* descriptors of roots that living readers may still use */
	unsigned nold_roots;
	const struct store_beat *const *beats; /* the readers', stays the caller's; untrusted */
	unsigned nbeats;   /* 0: no reader but ourselves */
};
/* Opens or creates.  NULL: err has one line, nothing was overwritten, and errno
 * is ESTALE when it can't be told what living readers use (without them the
 * store may well open), EBADMSG when it is ours, the key fits, and it is damaged,
 * ENOSPC when there is no room, else 0. */
struct store *store_open(const struct store_conf *c, const struct key *k, char *err, size_t n);
/* Whose is it?  By its first blocks alone; unless it is ours or nobody's, err says
 * what is wrong with the file of this name. */
enum store_owner {
	STORE_OURS,
	STORE_NOBODYS, /* nothing is in it yet */
	STORE_STRANGE, /* a store of another key or version, or its first blocks are damaged */
	STORE_OTHER,   /* something else */
};
enum store_owner store_whose(int fd, const char *name, const struct key *k, char *err, size_t n);
/* Clean stop: checkpoint, then free.  After a failure only frees. */
int store_close(struct store *st);
const struct store_map *store_reader(struct store *st); /* the writer's own eyes */
/* In the midst of changes, before these look: nobody is at work beside us any more.
 * -1: errno, the store has failed. */
int store_settle(struct store *st);

/* Where the last commit stood. */
uint64_t store_seq(const struct store *st);
uint64_t store_last_seq(const struct store *st); /* of the last change, committed or not */
const uint8_t *store_meta(const struct store *st); /* STORE_META octets */
int store_root_fd(const struct store *st); /* read-only; for the supervisor and dns */
int store_keys_send(struct store *st, int fd);

/* Changes between two commits carry the sequence of their transaction, never
 * falling.  A name's fragment is replaced as a whole.  -1: errno, and the
 * store takes no more changes until it is opened again (store_failed). */
int store_put(struct store *st, uint64_t seq, enum frag_kind kind, const struct store_zone *z,
              const uint8_t *owner, uint16_t flags, uint8_t cut, const uint8_t *body, uint32_t len,
              bool fresh /* the owner is known to be new in this instance */);
int store_delete(struct store *st, uint64_t seq, enum frag_kind kind, const struct store_zone *z,
                 const uint8_t *owner);
/* A name will soon be asked for or changed: where it lies is brought nearer. */
void store_soon(struct store *st, enum frag_kind kind, uint32_t inst, const uint8_t *owner);
/* A fragment as the writer sees it now, uncommitted changes included; valid until
 * the next change. */
enum store_found store_newest(struct store *st, enum frag_kind kind, uint32_t inst,
                              const uint8_t *owner, struct scratch *s, struct frag *out);
/* A new instance of a zone, invisible until store_zone_put names it. */
uint32_t store_new_instance(struct store *st);
/* One of an earlier run goes on being filled: before the first tick. */
int store_keep_instance(struct store *st, uint32_t inst);
/* One that no zone will be given: what it holds is swept.  A crash forgets that, up
 * to the next checkpoint.  -1: errno. */
int store_forget_instance(struct store *st, uint32_t inst);
/* What the owner wants to find again after a crash: a note by its number, changed
 * with everything else (body NULL: it goes). */
int store_note(struct store *st, uint64_t seq, uint32_t number, const uint8_t *body, uint32_t len);
enum store_found store_note_get(struct store *st, uint32_t number, struct scratch *s, struct frag *out);
/* Adds or changes a zone in the catalog (name, inst, serial, expire, state, hold). */
int store_zone_put(struct store *st, uint64_t seq, const struct store_zone *z);
int store_zone_drop(struct store *st, uint64_t seq, const uint8_t *name);
/* The exact zone, as the writer sees it now (uncommitted changes included). */
enum store_found store_zone_get(struct store *st, const uint8_t *name, struct store_zone *out);
/* The catalog in canonical order: the first zone behind `after` (NULL: the first). */
enum store_found store_zone_next(struct store *st, const uint8_t *after, struct store_zone *out);

/* The zone of an instance, by a walk through the catalog; STORE_ABSENT: it is not
 * in it (any more). */
enum store_found store_zone_of(struct store *st, uint32_t inst, struct store_zone *out);
/* Reads the whole catalog: STORE_DAMAGED, or STORE_FOUND. */
enum store_found store_catalog_look(struct store *st);

/* Makes everything up to seq durable (group commit), then visible. */
int store_commit(struct store *st, uint64_t seq, const uint8_t meta[static STORE_META]);
/* What was committed last has taken the place of damaged data at the same
 * sequence: readers forget what they have kept. */
void store_turn(struct store *st);
/* Space for changes of so many octets, so that they can't fail for want of it.
 * -1: errno, nothing has changed and the store goes on. */
int store_reserve(struct store *st, uint64_t bytes);
/* A pin keeps versions readable at the last sequence committed, or at one that
 * another pin keeps. */
int store_pin(struct store *st, uint64_t seq);  /* returns its number, or -1 */
void store_unpin(struct store *st, int pin);
uint64_t store_pin_seq(const struct store *st, int pin);
/* A whole checkpoint, now: between two groups.  -1: errno. */
int store_checkpoint(struct store *st);
/* Housekeeping from the owner's loop: checkpoint when due (outside a group),
 * compaction for a millisecond or two, space given back.  Returns in how many
 * milliseconds it should be called again.  -1: errno, the store has failed. */
int store_tick(struct store *st);
/* The readers have moved to this writer's root: the old one's blocks go free. */
void store_old_root_done(struct store *st);
bool store_failed(const struct store *st);

/* ---- listing all names of a zone: only in a store that is `ordered` ---- */

/* Keys of the list, in canonical order by memcmp, a prefix first. */
#define NAMES_KEY_MAX (NAME_KEY_MAX + 2)
size_t names_key(const uint8_t *owner, unsigned zone_labels, enum frag_kind kind,
                 uint8_t out[static NAMES_KEY_MAX]);
/* The way back; false: it is no key. */
bool names_owner(const struct store_zone *z, const uint8_t *key, size_t n, enum frag_kind *kind,
                 uint8_t out[static NAME_MAX_LEN]);
/* Some keys behind `key` (NULL: from the first on), each with its length 16 in
 * front; STORE_ABSENT at the end. */
#define STORE_RUN_MAX 4096 /* octets that a run needs at most */
enum store_found store_walk_run(const struct store_map *m, const struct store_zone *z, uint64_t seq,
                                const uint8_t *key, size_t n, struct scratch *s, struct wr *run);

/* Looks at everything in a store that was opened for `check`.  Returns how many
 * faults there are (each is said), or -1 with errno when it can't go on. */
struct store_report {
	uint64_t seq, zones, names, fragments, commits, segments, extents, slots, trees, keys, older;
};
struct store_check_calls {
	void (*fault)(void *owner, const char *what);  /* only so many of one kind are said */
	void (*progress)(void *owner, const char *doing, uint64_t done, uint64_t all);
};
int64_t store_check(struct store *st, const struct store_check_calls *calls, void *owner,
                    struct store_report *out);

struct store_stats {
	uint64_t names;      /* those of dropped zones until compaction has come past them */
	uint64_t log_bytes;  /* extents of the log, */
	uint64_t live_bytes; /* and the newest versions in it */
	uint64_t index_bytes;
	uint64_t file_bytes; /* what the file system has given */
	uint64_t checkpoints, damaged;
	uint64_t moved_bytes; /* copied by compaction since the store was opened */
};
void store_stats_get(struct store *st, struct store_stats *out);

#endif
