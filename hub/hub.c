/* hub.c - opening what the hub keeps, committing to it, and turns for all others in
 * the midst of long work.
 *
 * The journal leads and the store follows: what the store lacks after a crash
 * is replayed from the journal.
 * States of the replay: none -> under way, when a large new zone is followed part by
 * part while its transaction is written (hub_follow) -> none, by hub_commit, which
 * replays the rest, or by hub_forsake, when the transaction will not be.
 * Turns: one loop's turn within a wake() of the same loop (loop.h).  What is begun in
 * it may read what was committed, and changes neither journal nor store.
 * Threat: a disk that was changed or exchanged: a store is taken up only if its chain
 * hash is the journal's at that sequence. */
#include "hub/hub.h"

#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BREATH_NS    50000000ull   /* from one turn of the others to the next */
#define PING_NS      1000000000ull /* from one sign of life to the next, where they have none */
#define MOMENT_NS    2000000u      /* a pause, when nobody has anything to do */
#define BESIDE_STACK (8u << 20)    /* octets; musl's own default is small */
#define SYNC_LONG    (8u << 20)    /* octets: syncing more may take its time */

uint64_t hub_now(void) { return (uint64_t)time(NULL); }

void hub_breathe(struct hub *h)
{
	uint64_t now = loop_now();
	if ((!h->feeds && !h->leaving) || now - h->breath_ns < BREATH_NS)
		return;
	/* what nodes are fed from must be what was committed last: it is, until the end of a long one */
	bool whole = !h->feeds || store_last_seq(h->store) == store_seq(h->store) || h->bulk.what != BULK_NONE;
	if (whole && store_settle(h->store) == 0 && loop_wait(&h->loop, now) == 0) {
		loop_wake(&h->loop);
	} else if (h->feeds && now - h->ping_ns >= PING_NS) {
		h->ping_ns = now;
		feeds_ping(h->feeds);
	}
	h->breath_ns = loop_now();
}

struct beside { void (*work)(void *); void *arg; _Atomic bool done; };

static void *run_beside(void *p)
{
	struct beside *b = p;
	b->work(b->arg);
	b->done = true;
	return NULL;
}

void hub_beside(struct hub *h, void (*work)(void *), void *arg)
{
	struct beside b = { work, arg, false };
	pthread_t t;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, BESIDE_STACK);
	if (!h->feeds || pthread_create(&t, &attr, run_beside, &b) != 0) {
		work(arg); /* nobody waits, or so they have to */
		return;
	}
	while (!b.done)
		hub_pause(h);
	pthread_join(t, NULL);
}

void hub_pause(struct hub *h)
{
	if (!h->feeds)
		usleep(MOMENT_NS / 1000);
	else if (store_settle(h->store) == 0 && loop_wait(&h->loop, loop_now() + MOMENT_NS) == 0)
		loop_wake(&h->loop);
}

int hub_fail(struct hub *h, const char *why)
{
	h->failed = true;
	snprintf(h->why, sizeof h->why, "%s", why);
	return -1;
}

static int store_error(char *err, size_t n)
{
	snprintf(err, n, "the hub's store: %s", strerror(errno));
	return -1;
}

static int store_meta_commit(struct hub *h, uint64_t seq, const uint8_t *chain, uint64_t time, char *err, size_t n)
{
	struct journal_meta m = { .time = time };
	uint8_t meta[STORE_META];
	memcpy(m.id, h->id, JOURNAL_ID);
	memcpy(m.pub, h->pub, SIGN_PUB);
	memcpy(m.chain, chain, CHAIN_LEN);
	meta_write(&m, meta);
	if (store_commit(h->store, seq, meta) != 0)
		return store_error(err, n);
	h->seq = seq;
	h->time = time;
	memcpy(h->chain, chain, CHAIN_LEN);
	return 0;
}

/* What the journal stands at, when the store has all of it. */
static int commit_last(struct hub *h, char *err, size_t n)
{
	return store_meta_commit(h, jfile_last(h->jfile), jfile_chain(h->jfile), jfile_time(h->jfile), err, n);
}

/* A transaction begins.  One of several parts may commit on its way: what comes
 * before it is committed first, and of one that was cut off some is there already. */
static int begin(struct hub *h, const struct tx_part *t, char *err, size_t n)
{
	const struct journal_meta *before = &h->replay.before;
	struct head at = { .seq = t->seq, .time = t->time };
	applier_begin(&h->applier, t->seq);
	if (t->flags & PART_LAST)
		return 0;
	if (h->bulk.what == BULK_TRANSACTION && h->bulk.at.seq == t->seq && memcmp(h->bulk.id, h->id, JOURNAL_ID) == 0) {
		h->resumed = h->replay.skip = h->bulk.parts;
		bulk_resume(&h->bulk, &h->applier);
		log_say(LOG_NOTICE, "going on with transaction %llu behind part %u", (unsigned long long)t->seq, h->resumed);
		return 0;
	}
	if (store_last_seq(h->store) != store_seq(h->store) &&
	    store_meta_commit(h, t->seq - 1, before->chain, before->time, err, n) != 0)
		return -1;
	return bulk_begin(&h->bulk, h->store, BULK_TRANSACTION, h->id, &at, 0) == 0 ? 0 : store_error(err, n);
}

/* One part into the store. */
static int replay_part(struct hub *h, const struct tx_part *t, char *err, size_t n)
{
	struct replay *p = &h->replay;
	hub_breathe(h);
	if (t->flags & PART_FIRST) {
		if (begin(h, t, err, n) != 0)
			return -1;
		p->before.time = t->time;
	}
	p->octets += t->len;
	if (p->skip) {
		p->skip--;
		return 0;
	}
	if (applier_ops(&h->applier, t->ops, t->len, err, n) != 0)
		return -1;
	bool last = t->flags & PART_LAST;
	if (last)
		memcpy(p->before.chain, t->chain, CHAIN_LEN);
	if (last && h->bulk.what == BULK_NONE)
		return 0;
	int r = last ? bulk_end(&h->bulk) : bulk_part(&h->bulk, &h->applier, NULL, t->len);
	return r == 0 ? 0 : store_error(err, n);
}

static void replay_begin(struct hub *h)
{
	h->replay = (struct replay){ .under_way = true, .r = { .fd = -1 } };
	meta_read(store_meta(h->store), &h->replay.before);
}

static void replay_end(struct hub *h)
{
	if (h->replay.under_way)
		jreader_free(&h->replay.r);
	h->replay.under_way = false;
}

static int unreadable(const struct hub *h, char *err, size_t n)
{
	snprintf(err, n, "journal: a transaction behind %llu can't be read: %s", (unsigned long long)store_seq(h->store),
	         strerror(errno));
	return -1;
}

bool hub_leaving(const struct hub *h) { return h->leaving && *h->leaving; }

/* The journal has all of it, so a start goes on where this ends. */
static int cut(struct hub *h, char *err, size_t n)
{
	h->cut = true;
	snprintf(err, n, "asked to stop: all up to sequence %llu is safe in the journal, and the store takes it at the next start",
	         (unsigned long long)jfile_last(h->jfile));
	return -1;
}

/* Brings the transactions that the store has not seen into it. */
static int replay(struct hub *h, char *err, size_t n)
{
	struct tx_part t;
	const uint8_t *p;
	size_t len;
	int got = 0, r = 0;
	if (!h->replay.under_way) {
		replay_begin(h);
		got = jfile_seek(h->jfile, store_seq(h->store) + 1, &h->replay.r);
	}
	while (r == 0 && got >= 0 && (got = jfile_read(h->jfile, &h->replay.r, &t, &p, &len)) == 1)
		r = hub_leaving(h) ? cut(h, err, n) : replay_part(h, &t, err, n);
	if (got < 0)
		r = unreadable(h, err, n);
	replay_end(h);
	if (r == 0)
		h->uncommitted = 0;
	return r;
}

int hub_follow_begin(struct hub *h, char *err, size_t n)
{
	replay_begin(h);
	if (jfile_follow_begin(h->jfile, &h->replay.r) == 0)
		return 0;
	snprintf(err, n, "journal: %s", strerror(errno));
	replay_end(h);
	return -1;
}

int hub_follow(struct hub *h, char *err, size_t n)
{
	struct tx_part t;
	int got = jfile_follow(h->jfile, &h->replay.r, &t);
	if (got < 0)
		return unreadable(h, err, n);
	return got && replay_part(h, &t, err, n) != 0 ? -1 : got;
}

/* That an instance is nobody's, for good. */
static int forget_instance(struct hub *h, uint32_t inst, const uint8_t *meta)
{
	return store_forget_instance(h->store, inst) != 0 || store_commit(h->store, store_seq(h->store), meta) != 0 ? -1
	     : store_checkpoint(h->store);
}

/* A bulk load of the store's that the journal has no transaction for; inst: its
 * instance, or 0.  The notes, by which a start knows of it, go last. */
static int forget_bulk(struct hub *h, uint32_t inst, char *err, size_t n)
{
	uint8_t meta[STORE_META];
	memcpy(meta, store_meta(h->store), sizeof meta);
	if ((inst && forget_instance(h, inst, meta) != 0) || bulk_forget(&h->bulk) != 0 ||
	    store_commit(h->store, store_seq(h->store), meta) != 0)
		return store_error(err, n);
	return 0;
}

int hub_forsake(struct hub *h, char *err, size_t n)
{
	bool begun = h->replay.octets > 0;
	replay_end(h);
	return begun ? forget_bulk(h, h->applier.made ? h->applier.zone.inst : 0, err, n) : 0;
}

/* Does the store belong to this journal? */
static int check_store(struct hub *h, char *err, size_t n)
{
	struct journal_meta m;
	uint8_t chain[CHAIN_LEN];
	uint64_t seq = store_seq(h->store);
	meta_read(store_meta(h->store), &m);
	if (seq == 0)
		return 0;
	if (memcmp(m.id, h->id, JOURNAL_ID) == 0 && jfile_chain_at(h->jfile, seq, chain) &&
	    memcmp(chain, m.chain, CHAIN_LEN) == 0)
		return 0;
	snprintf(err, n, "store and journal do not belong together (sequence %llu): one of them was restored or exchanged",
	         (unsigned long long)seq);
	return -1;
}

/* The store has come so far only with what was durable in the journal. */
static int settle(struct hub *h, char *err, size_t n)
{
	if (jfile_settle(h->jfile, store_seq(h->store)) == 0)
		return 0;
	snprintf(err, n, "journal: what was written last can't be made durable: %s", strerror(errno));
	return -1;
}

static int open_all(struct hub *h, const char *dir, const struct key *k, char *err, size_t n)
{
	char path[4096];
	struct store_conf c = { .fd = -1, .ordered = true };
	snprintf(path, sizeof path, "%s/store", dir ? dir : "");
	c.path = dir ? path : NULL;
	int mem = dir ? -1 : memfd_create("encdns-hub", MFD_CLOEXEC);
	c.fd = mem;
	struct key *sk = key_derive(k, "hub store", NULL, 0);
	struct key *seed = key_derive(k, "journal signer", NULL, 0);
	h->signer = seed ? signer_from(seed) : NULL;
	key_free(seed);
	h->store_key = sk;
	if (!h->signer || !sk) {
		snprintf(err, n, "no room for keys");
		return -1;
	}
	signer_pub(h->signer, h->pub);
	if (dir) {
		h->jfile = jfile_open(dir, k, err, n);
		if (!h->jfile)
			return -1;
		memcpy(h->id, jfile_id(h->jfile), JOURNAL_ID);
	} else {
		crypto_random(h->id, JOURNAL_ID);
	}
	h->store = store_open(&c, sk, err, n);
	if (mem >= 0)
		close(mem);
	return h->store && applier_init(&h->applier, h->store) == 0 ? 0 : -1;
}

int hub_open(struct hub *h, const char *dir, const struct key *k, char *err, size_t n)
{
	h->dir = dir;
	if (open_all(h, dir, k, err, n) != 0) {
		hub_close(h);
		return -1;
	}
	if (!h->jfile)
		return 0;
	/* of a transaction that a crash has cut off nothing is to be believed: another one
	 * will have its sequence */
	bool stale = bulk_take_up(&h->bulk, h->store, NULL) && h->bulk.at.seq > jfile_last(h->jfile);
	if (check_store(h, err, n) != 0 || settle(h, err, n) != 0 || (stale && forget_bulk(h, h->bulk.zone.inst, err, n) != 0) ||
	    replay(h, err, n) != 0 || commit_last(h, err, n) != 0) {
		hub_close(h);
		return -1;
	}
	return 0;
}

void hub_close(struct hub *h)
{
	replay_end(h);
	applier_free(&h->applier);
	bulk_free(&h->bulk);
	if (h->store && store_close(h->store) != 0)
		log_say(LOG_WARNING, "the store could not be closed cleanly: %s", strerror(errno));
	jfile_close(h->jfile);
	signer_free(h->signer);
	key_free(h->store_key);
	h->store = NULL;
	h->jfile = NULL;
	h->signer = NULL;
	h->store_key = NULL;
}

struct syncing { struct jfile *j; int failed; };

static void sync_work(void *p)
{
	struct syncing *s = p;
	s->failed = jfile_sync(s->j) != 0 ? errno : 0;
}

/* All that was imported, into the journal for good.  -1: errno. */
static int sync_journal(struct hub *h)
{
	struct syncing s = { h->jfile, 0 };
	if (h->uncommitted < SYNC_LONG)
		return jfile_sync(h->jfile);
	hub_beside(h, sync_work, &s);
	errno = s.failed;
	return s.failed ? -1 : 0;
}

int hub_commit(struct hub *h, char *err, size_t n)
{
	if (!h->jfile)
		return store_meta_commit(h, h->seq, h->chain, hub_now(), err, n);
	if (jfile_last(h->jfile) == h->seq)
		return 0;
	/* a failed sync is final: nothing behind it can be believed durable */
	if (sync_journal(h) != 0) {
		snprintf(err, n, "journal: %s", strerror(errno));
		return hub_fail(h, err);
	}
	if (replay(h, err, n) != 0 || commit_last(h, err, n) != 0)
		return hub_fail(h, err);
	if (h->feeds)
		feeds_wake(h->feeds);
	return 0;
}
