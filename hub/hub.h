/* hub.h - the hub: zones in, journal out. */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include "base/ctl.h"
#include "hub/jfile.h"
#include "hub/zone.h"
#include "journal.h"

/* The journal's way into the store: begun, then part by part. */
struct replay {
	bool under_way;
	struct jreader r;
	struct journal_meta before; /* where the journal stood in front of the transaction at hand */
	uint32_t skip;              /* parts of it that the store has already */
	uint64_t octets;            /* of operations, in all parts so far */
};

/* What a hub keeps: the journal, and its own copy of the zones.  The journal
 * leads: a transaction is in it, synced, before anything else knows of it.  Only
 * the names of a large new zone go into the store while they are written: nobody
 * can see them there before the catalog names their instance, and what a crash
 * leaves of them is forgotten with the transaction that is not in the journal. */
struct hub {
	struct loop loop;
	struct jfile *jfile;      /* NULL: ad hoc, there is no journal */
	struct store *store;
	struct applier applier;
	struct signer *signer;
	struct key *store_key;
	uint8_t id[JOURNAL_ID], pub[SIGN_PUB];
	uint64_t seq;             /* committed: in journal and store, synced */
	uint8_t chain[CHAIN_LEN];
	uint64_t time;            /* of that transaction */
	uint64_t uncommitted;     /* octets in the journal that the store hasn't seen */
	const char *dir;
	struct replay replay;
	struct bulk bulk;         /* of a large transaction into the store; */
	uint32_t resumed;         /* parts of it that were found there already */
	uint64_t ahead_from;      /* records from which a new zone is large; 0: a default */
	struct feeds *feeds;
	uint64_t breath_ns, ping_ns; /* when others last had their turn, and nodes heard from us */
	const _Atomic bool *leaving; /* NULL, or becomes true: what takes long is given up, or cut short */
	bool failed;              /* the hub can't go on: stop, and start from what is durable */
	bool cut;                 /* it can't as it was asked to stop: what was imported is durable */
	char why[400];
};

/* hub.c: opening and what all share */
/* What the store lacks of the journal is replayed first.  leaving, where it is set,
 * needs h->loop, which is looked at meanwhile.  -1: err, nothing is open; h->cut
 * says whether that is because it is to stop. */
int hub_open(struct hub *h, const char *dir, const struct key *k, char *err, size_t n);
void hub_close(struct hub *h);
uint64_t hub_now(void); /* seconds since 1970 */
int hub_fail(struct hub *h, const char *why); /* it can't go on; -1 */
bool hub_leaving(const struct hub *h);        /* is it to stop? */
/* Everything imported so far becomes durable, then known.  -1: err, and h->failed. */
int hub_commit(struct hub *h, char *err, size_t n);
/* While another thread writes a transaction to the journal, this one follows it into
 * the store.  Begun before that thread is: -1: err, and all is as it was. */
int hub_follow_begin(struct hub *h, char *err, size_t n);
/* Its next part: 1; 0: it is not written yet; -1: err.  hub_commit goes on with it. */
int hub_follow(struct hub *h, char *err, size_t n);
/* That transaction will not be: nothing of it stays in the store.  -1: err. */
int hub_forsake(struct hub *h, char *err, size_t n);

/* Long work must not keep the nodes waiting.  Called often within it, this lets all
 * others have a turn of the loop; who would begin a change, or do the store's
 * housekeeping, sees to it that none is under way (main.c).  While the store's
 * catalog is half changed the nodes only hear that we are alive. */
void hub_breathe(struct hub *h);
/* The same around work done by a thread.  It touches nothing of the hub's that
 * another's turn may change. */
void hub_beside(struct hub *h, void (*work)(void *), void *arg);
/* The same, when there is nothing to do for a moment. */
void hub_pause(struct hub *h);

/* import.c */
struct import_result { bool changed; uint32_t serial; uint64_t seq, puts, deletes; };
/* Compares a zone with what was last committed of it and writes the difference
 * as one transaction, which hub_commit makes durable: a zone comes at most once
 * between two commits.  A large new zone is committed at once, with what came before
 * it.  force: a serial that does not go forward is taken all the same.  -1: err,
 * empty where the zone's report has said it; nothing has changed (or h->failed). */
int hub_import(struct hub *h, struct zone *z, bool force, struct import_result *out, char *err, size_t n);
int hub_drop(struct hub *h, const uint8_t *origin, struct import_result *out, char *err, size_t n);

/* snapshot.c: all zones as they are now, chunk by chunk; or only one (NULL also
 * when it is not here) */
struct snapshot;
struct snapshot *snapshot_begin(struct hub *h, const uint8_t *only);
/* 1: out holds the next chunk's operations; 0: out holds the signed manifest,
 * the snapshot is complete; -1. */
int snapshot_next(struct snapshot *s, struct buf *out);
uint64_t snapshot_seq(const struct snapshot *s);
/* The next chunk is the one behind so many; false: there are not so many yet. */
bool snapshot_back(struct snapshot *s, uint32_t chunks);
void snapshot_header(const struct snapshot *s, uint8_t out[static 8 + CHAIN_LEN + 8]);
void snapshot_end(struct snapshot *s); /* NULL is fine */

/* feed.c: the nodes' sessions */
struct feeds *feeds_new(struct hub *h, struct cred *cred, const char *addr, uint16_t port, char *err, size_t n);
void feeds_free(struct feeds *f);
void feeds_wake(struct feeds *f); /* there is something new */
void feeds_ping(struct feeds *f);
void feeds_print(struct feeds *f, struct ctl_conn *c, bool json);
/* Has this node a session now, and what has it acknowledged?  False: it was never here. */
bool feeds_know(const struct feeds *f, const char *name, bool *connected, uint64_t *acked);
/* A denial list: in force and in DIR/denials, then told to every node; who is on it
 * is told too, and its session ends.  1; 0: it is the one we have; -1: refused.  err
 * has a line unless it went well (after 1: it could not be written). */
struct feeds_denied { uint64_t number; uint32_t certificates; unsigned told, ended; };
int feeds_deny(struct feeds *f, const void *p, size_t n, struct feeds_denied *out, char *err, size_t errn);
/* The list in force; 0: none. */
uint64_t feeds_denials(const struct feeds *f);
/* One snapshot into a plain descriptor (ad hoc), until it is written. */
int feed_plain(struct hub *h, int fd, char *err, size_t n);

#endif
