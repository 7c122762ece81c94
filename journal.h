/* journal.h - transactions: their octets, their chain, the session that brings
 * them, and their way into a store.
 *
 * The journal is a row of transactions, each made of operations on zones.  A
 * transaction's chain hash is SHA-256(chain hash before | sequence 64 | time 64
 * | operations).  The origin signs heads; a node believes a transaction when a
 * signed head covers its chain hash. */
#ifndef JOURNAL_H
#define JOURNAL_H

#include "base/conf.h"
#include "base/loop.h"
#include "crypto.h"
#include "store.h"

#define JOURNAL_VERSION 1 /* of what is kept, */
#define LINK_VERSION    3 /* and of what is said */
#define JOURNAL_ID      16
#define CHAIN_LEN       32
#define FRAME_MAX       (2u << 20) /* octets of a frame's content */
#define PART_MAX        (256u << 10) /* a transaction or chunk is cut into parts of about this */

/* ---- frames: length 24 | type 8 | content, both ways on a link ---- */
enum frame_type {
	FRAME_HELLO = 1, /* hub: LINK_VERSION 8 | journal id 16 | origin's key 65 */
	FRAME_RESUME,    /* node: journal id 16 (zero: none) | sequence 64 | chain 32 | snapshot begun:
	                  * sequence 64 (zero: none) | chunks 32 */
	FRAME_STREAM,    /* hub: what follows continues the node's sequence */
	FRAME_SNAPSHOT,  /* hub: sequence 64 | chain 32 | time 64 | chunks 32 that the node has; the others follow */
	FRAME_CHUNK,     /* hub: operations */
	FRAME_MANIFEST,  /* hub: see struct manifest; the snapshot is complete */
	FRAME_TX,        /* hub: part of a transaction, see struct tx_part */
	FRAME_HEAD,      /* hub: a signed head */
	FRAME_ACK,       /* node: sequence 64 is durable here */
	FRAME_DIVERGED,  /* hub: this node's history is not ours */
	FRAME_PING,      /* either */
	FRAME_AGAIN,     /* node, streaming: a zone's name: its data here is damaged, send it again */
	FRAME_ZONE,      /* hub: sequence 64 | chain 32 | time 64 | zone's name; where the stream stands:
	                  * chunks with this zone alone and a manifest that says so follow */
	FRAME_DENIALS,   /* hub, at any time: the signed denial list (crypto/denial.h).  To a node that
	                  * is on it: in place of HELLO, and nothing more */
};

/* ---- operations: op 8 | length 24 | content ---- */
enum op {
	OP_ZONE = 1, /* name: the following operations are about this zone */
	OP_ADD,      /* a new instance: what the zone held is gone */
	OP_DROP,
	OP_SERIAL,   /* serial 32 | expire 32 | set hash 32 octets (zero: none); ends a zone's changes */
	OP_EDIT,     /* kind 8 | flags 16 | cut 8 | owner | edits: see below */
	OP_DELETE,   /* kind 8 | owner: the name has gone */
	OP_CONF,     /* node configuration */
	OP_STAGE,    /* group 32 | hold 8 | zones: what follows for them waits */
	OP_ACTIVATE, /* group 32 | time 64 */
	OP_UNSTAGE,  /* group 32 */
};
/* OP_EDIT's edits, in rising order of type:  1 | set (rrset.h)  puts an RRset
 * with its RRSIGs in place of the type's;  2 | type 16  removes one. */
enum { EDIT_PUT = 1, EDIT_REMOVE = 2 };

/* A growing piece of memory for what is being written. */
struct buf { uint8_t *p; size_t n, room; bool bad; };
void buf_put(struct buf *b, const void *p, size_t n);
void buf_free(struct buf *b);

void op_zone(struct buf *b, const uint8_t *name);
void op_plain(struct buf *b, enum op op); /* OP_ADD, OP_DROP */
void op_serial(struct buf *b, uint32_t serial, uint32_t expire);
void op_delete(struct buf *b, uint8_t kind, const uint8_t *owner);
/* Opens an edit, takes edits, closes it. */
size_t op_edit_begin(struct buf *b, uint8_t kind, uint16_t flags, uint8_t cut, const uint8_t *owner);
void op_edit_put(struct buf *b, const uint8_t *set, size_t n);
void op_edit_remove(struct buf *b, uint16_t type);
void op_edit_end(struct buf *b, size_t at);
/* A whole edit that puts all sets of a body. */
void op_edit_body(struct buf *b, uint8_t kind, uint16_t flags, uint8_t cut, const uint8_t *owner,
                  const uint8_t *body, size_t n);

/* One operation, checked as far as it can be without a store. */
struct op_view {
	enum op op;
	uint8_t kind, cut;
	uint16_t flags;
	uint8_t name[NAME_MAX_LEN]; /* zone or owner */
	uint32_t serial, expire;
	struct rd edits;
};
bool op_next(struct rd *r, struct op_view *out); /* false: the end, or r->bad */

/* ---- transactions ---- */
/* Parts: flags 8 (1 first, 2 last) | first: sequence 64 | time 64 | whole
 * operations | last: chain hash 32. */
#define PART_FIRST 1
#define PART_LAST  2
struct tx_part {
	uint8_t flags;
	uint64_t seq, time;
	const uint8_t *ops;
	size_t len;
	const uint8_t *chain;
};
bool tx_part_parse(const uint8_t *p, size_t n, struct tx_part *out);
/* The running hash of a transaction. */
void tx_chain_begin(struct sha *s, const uint8_t before[static CHAIN_LEN], uint64_t seq, uint64_t time);

struct head { uint32_t term; uint64_t seq, time; uint8_t chain[CHAIN_LEN]; };
#define HEAD_LEN (4 + 8 + CHAIN_LEN + 8 + SIGN_SIG)
int head_sign(const struct signer *s, const uint8_t id[static JOURNAL_ID], const struct head *h,
              uint8_t out[static HEAD_LEN]);
bool head_open(const uint8_t pub[static SIGN_PUB], const uint8_t id[static JOURNAL_ID],
               const uint8_t *p, size_t n, struct head *out);

/* manifest: sequence 64 | chain 32 | time 64 | zones 32 | chunks 32 |
 * SHA-256 over the SHA-256 of each chunk | signature 64 (over the journal id too, and for one
 * zone alone its name, under a label of its own: neither passes for the other) */
struct manifest {
	const uint8_t *zone; /* NULL: all */
	uint64_t seq, time;
	uint8_t chain[CHAIN_LEN];
	uint32_t zones, chunks;
	uint8_t sum[32];
};
int manifest_sign(const struct signer *s, const uint8_t id[static JOURNAL_ID], const struct manifest *m,
                  struct buf *out);
/* Of all zones (NULL), or of this one. */
bool manifest_open(const uint8_t pub[static SIGN_PUB], const uint8_t id[static JOURNAL_ID], const uint8_t *zone,
                   const uint8_t *p, size_t n, struct manifest *out);

/* What a store keeps beside its commits. */
struct journal_meta {
	uint8_t id[JOURNAL_ID], chain[CHAIN_LEN], pub[SIGN_PUB];
	uint64_t time;
	uint32_t behind; /* instance whose zone lacks changes and has to come again, 0: none */
};
void meta_write(const struct journal_meta *m, uint8_t out[static STORE_META]);
void meta_read(const uint8_t in[static STORE_META], struct journal_meta *m);

/* ---- operations into a store (node and hub alike) ---- */
struct applier {
	struct store *st;
	uint64_t seq, names;       /* names: edits and deletions so far */
	struct store_zone zone;
	bool have_zone, fresh;     /* fresh: the instance is new, nothing to merge with */
	uint8_t last_kind, last[NAME_MAX_LEN]; /* fresh: the last name edited; kind 0: none yet */
	uint32_t zones;            /* zones ended by OP_SERIAL or OP_DROP */
	bool made;                 /* the instance at hand is this applier's: its names carry */
	uint64_t base;             /* this sequence, which the store has already */
	struct bulk *bulk;         /* NULL, or the load that zones end in */
	uint32_t skip;             /* instance that is damaged: its changes are left out, 0: none */
	bool skipping, skipped;    /* the zone at hand is that one; some were left out */
	const uint8_t *only;       /* NULL, or the one zone that comes; its turn waits for applier_turn */
	bool have_turn;
	struct store_zone turn;
	enum harm { HARM_NONE, HARM_ZONE, HARM_STORE } harm; /* after a failure: what of the store is damaged */
	uint8_t *body;             /* BODY_MAX, for merging */
	struct scratch scratch;
};
int applier_init(struct applier *a, struct store *st);
void applier_free(struct applier *a);
void applier_begin(struct applier *a, uint64_t seq);
/* Whole operations.  -1: err has one line; the store takes no more. */
int applier_ops(struct applier *a, const uint8_t *p, size_t n, char *err, size_t errn);
/* Operations that will come soon, looked at only for the names in them. */
void applier_soon(struct applier *a, const uint8_t *p, size_t n);
/* Names the new instance of the zone `only` in the catalog: -1: errno. */
int applier_turn(struct applier *a);

/* ---- a long load that a crash does not throw back to its beginning (bulk.c) ---- */
enum bulk_what { BULK_NONE, BULK_SNAPSHOT, BULK_TRANSACTION };
#define BULK_STEP (32u << 20) /* octets from one commit on the way to the next */
struct bulk {
	enum bulk_what what;
	uint8_t id[JOURNAL_ID];
	struct head at;            /* where it leads */
	uint32_t first_inst;       /* its instances are from here on */
	uint32_t parts;            /* applied; noted, when it was just taken up */
	uint64_t step;             /* 0, or octets in BULK_STEP's place */
	/* bulk.c's own: */
	struct store *st;
	uint64_t since;            /* octets since the last commit, */
	uint64_t all, kept;        /* in all, and at the last housekeeping */
	uint32_t notes;
	struct buf hashes, ended;  /* since the last note: of parts; zones that wait for the end */
	uint32_t zones;            /* taken up: the applier's */
	struct store_zone zone;
	uint8_t last_kind, last[NAME_MAX_LEN];
};
/* Begins one, in place of whatever was noted.  -1: errno. */
int bulk_begin(struct bulk *l, struct store *st, enum bulk_what what, const uint8_t id[static JOURNAL_ID],
               const struct head *at, uint32_t first_inst);
/* A zone has ended: it is shown at the end. */
void bulk_zone(struct bulk *l, const struct store_zone *z);
/* A part was applied (hash NULL: nobody asks for it): commits when it is time and can be done.  -1: errno, the store has failed. */
int bulk_part(struct bulk *l, const struct applier *a, const uint8_t *hash, size_t octets);
/* After opening the store, before its first tick: what was noted last; the parts'
 * hashes to `hashes` (NULL: not wanted).  False: nothing. */
bool bulk_take_up(struct bulk *l, struct store *st, struct buf *hashes);
void bulk_resume(struct bulk *l, struct applier *a); /* after applier_begin */
/* All has come: the catalog shows the zones, the notes go.  -1: errno. */
int bulk_end(struct bulk *l);
int bulk_forget(struct bulk *l); /* it is given up */
void bulk_free(struct bulk *l);

/* ---- links: frames over TLS on TCP, or over a plain descriptor ---- */
struct link;
struct link_calls {
	void (*ready)(struct link *l); /* both sides certified (plain: at once) */
	void (*frame)(struct link *l, uint8_t type, const uint8_t *p, size_t n, uint64_t now);
	/* A frame that is here, and will be handed over after some others; may be NULL. */
	void (*ahead)(struct link *l, uint8_t type, const uint8_t *p, size_t n);
	void (*room)(struct link *l);  /* the queue to send has run low */
	void (*closed)(struct link *l, const char *why); /* the link is gone after this */
};
/* Takes over the descriptor (closed with the link) and the TLS context (NULL:
 * plain).  NULL: errno, both are closed.  The peer is silent for at most
 * LINK_DEAD; every LINK_PING something is sent. */
#define LINK_PING_NS 3000000000ull
#define LINK_DEAD_NS 10000000000ull
struct link *link_new(struct loop *loop, int fd, struct tls *tls, bool keepalive,
                      const struct link_calls *calls, void *owner);
void *link_owner(const struct link *l);
const struct tls *link_tls(const struct link *l);
/* Queues a frame; false: no memory or more than FRAME_MAX, the link will close. */
bool link_send(struct link *l, uint8_t type, const struct part *parts, size_t n);
/* Says that we are alive, from within long work that keeps the loop waiting. */
void link_ping(struct link *l);
size_t link_queued(const struct link *l);
/* May be called from a call-back; closed() is not called. */
void link_close(struct link *l);
void link_fail(struct link *l, const char *why); /* the same with closed() */

/* ---- the node's session with its hubs ---- */
#define JOURNAL_HUBS 8
struct journal_conf {
	struct conf_addr hub[JOURNAL_HUBS]; /* in order of preference */
	unsigned nhubs;
	const struct cred *cred;
	int plain_fd;           /* -1, or a descriptor to read a stream from (ad hoc) */
	const uint8_t *pub;     /* NULL, or the origin's key it must be */
	uint32_t damaged;       /* instance in which our predecessor met damage, 0: none */
	uint64_t least_seq;     /* where the operator has named the history's hash, */
	const uint8_t *least_chain; /* CHAIN_LEN octets; NULL or zero: not said */
	uint64_t bulk_step;     /* as in struct bulk */
};
enum journal_state { JOURNAL_IDLE, JOURNAL_CONNECTING, JOURNAL_GREETING, JOURNAL_SNAPSHOT, JOURNAL_STREAMING,
	JOURNAL_DIVERGED, JOURNAL_REPAIR };
const char *journal_state_text(enum journal_state s);
struct journal;
struct journal_calls {
	void (*committed)(void *owner, uint64_t seq, const uint8_t chain[static CHAIN_LEN]);
	/* The store can't go on; the process must be started anew. */
	void (*broken)(void *owner, const char *why);
	void (*ended)(void *owner); /* a plain stream has come to its end */
	/* What is being applied met damage in this instance (0: it is not one
	 * zone's alone); broken() follows. */
	void (*harmed)(void *owner, uint32_t inst);
	/* A repair has begun (why NULL, done false), come to its end (done), or did not
	 * succeed (why). */
	void (*repair)(void *owner, const uint8_t *zone, bool done, const char *why);
	/* A denial list has come, from whoever.  NULL: they are refused. */
	void (*denials)(void *owner, const uint8_t *p, size_t n);
};
struct journal *journal_new(struct loop *loop, struct store *st, const struct journal_conf *c,
                            const struct journal_calls *calls, void *owner);
void journal_free(struct journal *j);
/* Hangs up and connects anew; false: not in the middle of a group. */
bool journal_reconnect(struct journal *j);
/* A zone is damaged: has the hub send it again, beside what there is, as soon as
 * there is a stream.  False: another one's turn. */
bool journal_repair(struct journal *j, uint32_t inst);
/* Where it stands. */
struct journal_status {
	enum journal_state state;
	uint64_t seq, origin_seq;  /* ours; the origin's by its last head */
	uint64_t head_time;        /* of that head, seconds since 1970 */
	uint8_t chain[CHAIN_LEN];
	char hub[80];              /* the one in use */
	uint64_t transactions, names;
	bool full;                 /* the disk has no room for what comes */
	uint32_t wanted, behind;   /* instance that is to come again; that lacks changes; 0: none */
};
void journal_status_get(const struct journal *j, struct journal_status *out);

#endif
