/* journal.c - a node's session with its journal servers.
 *
 * States: idle -> connecting -> greeting (HELLO, RESUME) -> streaming, or
 * snapshot -> streaming; every end leads back to idle and, after a pause that
 * grows, to the next hub in order.  DIVERGED is said and tried again: only a
 * person can mend it, and the zones are served meanwhile.
 *
 * Transactions are applied as they come, unseen, and committed when a signed
 * head covers them.  What was applied without its head can't be taken back one
 * by one, so a link lost in between ends the process (broken): its successor
 * starts from the last commit, and nobody notices but the lag.
 *
 * A damaged zone comes again between two transactions: streaming -> repair ->
 * streaming.  It fills a new instance at the sequence where the stream stands, and
 * takes its place in the catalog once its manifest is verified; given up, it
 * leaves nothing but an instance that nobody names.  While changes can't be applied
 * to what is damaged, they are left out: the zone stays where it is, and the store
 * remembers that it has to come again.
 *
 * Threat: a hub or a relay that lies or rewrites: chain, signature and pinned
 * origin's key decide; nothing else it says is believed. */
#include "journal.h"

#include "base/addr.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MIN_NS 100000000ull
#define PAUSE_MAX_NS 5000000000ull
#define CHUNKS_AHEAD 16 /* of a snapshot: room is made at once for so many at most, */
#define OCTETS_AHEAD (128u << 10) /* and for so many octets of transactions */
#define PORT_LOW     20000u /* our end of every connection, as firewalls expect it */
#define PORT_SPAN    20001u

struct journal {
	struct loop *loop;
	struct store *st;
	struct journal_conf conf;
	const struct journal_calls *calls;
	void *owner;

	struct src timer;             /* the next attempt */
	uint64_t pause_ns;
	unsigned hub;
	struct link *link;
	enum journal_state state;
	bool dead;                    /* broken: nothing more is taken */

	struct journal_meta meta;     /* of the last commit */
	uint64_t seq;                 /* committed */
	struct applier applier;
	uint64_t applied;             /* last transaction applied whole */
	uint8_t chain[CHAIN_LEN];     /* behind it */
	struct sha running;           /* of the one that is arriving */
	uint64_t tx_time;
	bool in_tx;

	struct head snap;             /* what the snapshot claims to be */
	struct bulk bulk;              /* of it, or of one that was cut off */
	struct buf snap_hashes;
	size_t room;                  /* octets of what comes next that the store has room for */

	uint32_t wanted;              /* instance whose zone is to come again, 0: none */
	bool asked;                   /* the hub was asked, over this connection */
	uint8_t zone[NAME_MAX_LEN];   /* its name, once asked */

	struct head last_head;
	uint64_t transactions;
	bool full;
};

const char *journal_state_text(enum journal_state s)
{
	static const char *const text[] = { "waiting to connect", "connecting", "greeting", "snapshot",
		"streaming", "diverged", "repair" };
	return text[s];
}

static void pause_then_connect(struct journal *j)
{
	uint32_t jitter;
	crypto_random(&jitter, sizeof jitter);
	if (j->state != JOURNAL_DIVERGED)
		j->state = JOURNAL_IDLE;
	uint64_t wait = j->pause_ns + j->pause_ns * (jitter % 256) / 512;
	loop_due(j->loop, &j->timer, loop_now() + wait);
	j->pause_ns = j->pause_ns * 2 < PAUSE_MAX_NS ? j->pause_ns * 2 : PAUSE_MAX_NS;
}

/* The store holds what can't be taken back: the process starts anew, and until
 * it ends nothing more is applied or committed. */
static void give_up(struct journal *j, const char *why)
{
	j->dead = true;
	j->calls->broken(j->owner, why);
}

/* Is something applied that no commit covers? */
static bool halfway(const struct journal *j)
{
	return j->in_tx || j->applied != j->seq || j->state == JOURNAL_SNAPSHOT;
}

static bool abandon(struct journal *j, const char *why);

static void on_closed(struct link *l, const char *why)
{
	struct journal *j = link_owner(l);
	bool half = halfway(j);
	j->link = NULL;
	j->asked = false;
	if (j->dead)
		return;
	if (j->conf.plain_fd >= 0) {
		if (j->state != JOURNAL_STREAMING)
			give_up(j, "stdin ended before a complete snapshot, or is no stream of encdns-hub");
		else
			j->calls->ended(j->owner);
		return;
	}
	log_limited(LOG_NOTICE, "hub %s@%u: %s", j->conf.hub[j->hub].host, j->conf.hub[j->hub].port, why);
	if (j->state == JOURNAL_REPAIR && !abandon(j, why))
		return;
	if (half) {
		give_up(j, "the connection was lost inside a group; going on from the last commit");
		return;
	}
	j->hub = (j->hub + 1) % j->conf.nhubs;
	pause_then_connect(j);
}

/* One zone can be left behind until it comes again; a second one is too much. */
static void harmed(struct journal *j)
{
	const struct applier *a = &j->applier;
	bool alone = a->harm == HARM_ZONE && (!a->skip || a->skip == a->zone.inst);
	j->calls->harmed(j->owner, alone ? a->zone.inst : 0);
}

/* What was said of a snapshot is wrong somewhere: nobody goes on behind it. */
static void forget_bulk(struct journal *j)
{
	uint8_t meta[STORE_META];
	memcpy(meta, store_meta(j->st), sizeof meta);
	if (store_last_seq(j->st) == store_seq(j->st) && bulk_forget(&j->bulk) == 0)
		store_commit(j->st, store_seq(j->st), meta);
}

/* The hub said something that can't be right. */
static void refuse(struct journal *j, const char *why)
{
	bool half = halfway(j);
	if (j->state == JOURNAL_SNAPSHOT && !j->full)
		forget_bulk(j);
	log_say(LOG_ERROR, "journal refused: %s", why);
	if (j->applier.harm != HARM_NONE)
		harmed(j);
	if (j->state == JOURNAL_REPAIR && (j->applier.harm != HARM_NONE || !abandon(j, why))) {
		if (!j->dead)
			give_up(j, why);
		return;
	}
	if (half) {
		give_up(j, "it was refused inside a group; going on from the last commit");
		return;
	}
	j->pause_ns = PAUSE_MAX_NS;
	link_fail(j->link, "closed by us: refused");
}

/* ---- committing ---- */

static void ack(struct journal *j)
{
	uint8_t p[8];
	put_u64(p, j->seq);
	if (j->conf.plain_fd < 0)
		link_send(j->link, FRAME_ACK, &(struct part){ p, 8 }, 1);
}

/* Is this the history that the operator has named? */
static bool is_named(const struct journal *j, uint64_t seq, const uint8_t chain[static CHAIN_LEN])
{
	static const uint8_t none[CHAIN_LEN];
	const uint8_t *want = j->conf.least_chain;
	return seq != j->conf.least_seq || !want || memcmp(want, none, CHAIN_LEN) == 0 || memcmp(want, chain, CHAIN_LEN) == 0;
}

static bool commit(struct journal *j, uint64_t seq, uint64_t time)
{
	uint8_t meta[STORE_META];
	struct journal_meta m = j->meta;
	memcpy(m.chain, j->chain, CHAIN_LEN);
	m.time = time;
	m.behind = j->applier.skipped ? j->applier.skip : 0;
	meta_write(&m, meta);
	if (store_commit(j->st, seq, meta) != 0) {
		j->full = errno == ENOSPC;
		give_up(j, errno == ENOSPC ? "the disk is full" : strerror(errno));
		return false;
	}
	j->meta = m;
	j->seq = j->applied = seq;
	j->room = 0; /* others may take what is free now */
	j->calls->committed(j->owner, seq, j->chain);
	ack(j);
	return true;
}

/* ---- a zone again ---- */

static void repair_over(struct journal *j, bool done, const char *why)
{
	j->wanted = 0;
	j->asked = false;
	j->calls->repair(j->owner, j->zone, done, why);
}

/* What has come is nobody's.  False: the store can't go on. */
static bool abandon(struct journal *j, const char *why)
{
	j->state = JOURNAL_STREAMING;
	j->applier.only = NULL;
	if (!commit(j, j->seq, j->meta.time))
		return false;
	repair_over(j, false, why);
	return true;
}

/* Asks the hub, when that is possible. */
static void ask_again(struct journal *j)
{
	struct store_zone z;
	if (!j->wanted || j->asked || j->dead || j->state != JOURNAL_STREAMING || halfway(j) || !j->link || j->conf.plain_fd >= 0)
		return;
	enum store_found r = store_zone_of(j->st, j->wanted, &z);
	if (r == STORE_DAMAGED) {
		j->calls->harmed(j->owner, 0);
		give_up(j, "the catalog of zones is damaged");
		return;
	}
	if (r == STORE_ABSENT) { /* dropped, or loaded anew: nothing is damaged any more */
		j->wanted = 0;
		j->applier.skip = 0;
		j->applier.skipped = false;
		return;
	}
	memcpy(j->zone, z.name, sizeof j->zone);
	j->asked = true;
	j->calls->repair(j->owner, j->zone, false, NULL);
	link_send(j->link, FRAME_AGAIN, &(struct part){ j->zone, name_len(j->zone) }, 1);
}

bool journal_repair(struct journal *j, uint32_t inst)
{
	if (j->wanted)
		return j->wanted == inst;
	j->wanted = inst;
	ask_again(j);
	return true;
}

static void on_zone(struct journal *j, struct rd r)
{
	uint8_t chain[CHAIN_LEN], name[NAME_MAX_LEN];
	uint64_t seq = rd_u64(&r);
	rd_copy(&r, chain, CHAIN_LEN);
	uint64_t time = rd_u64(&r);
	if (!name_read(&r, name) || rd_left(&r) || !j->asked || j->state != JOURNAL_STREAMING || halfway(j) || seq != j->seq ||
	    memcmp(chain, j->chain, CHAIN_LEN) != 0 || !name_equal(name, j->zone)) {
		refuse(j, "a zone that was not asked for");
		return;
	}
	j->state = JOURNAL_REPAIR;
	j->snap = (struct head){ .seq = seq, .time = time };
	memcpy(j->snap.chain, chain, CHAIN_LEN);
	j->snap_hashes.n = j->room = 0;
	applier_begin(&j->applier, seq);
	j->applier.only = j->zone;
}

/* All of it is here and verified: its turn. */
static void on_zone_complete(struct journal *j)
{
	uint32_t skip = j->applier.skip;
	bool skipped = j->applier.skipped;
	if (skip == j->wanted) {
		j->applier.skip = 0;
		j->applier.skipped = false;
	}
	if (applier_turn(&j->applier) != 0) {
		j->applier.skip = skip;
		j->applier.skipped = skipped;
		refuse(j, errno == ENOSPC ? "the disk is full" : "a zone without an end, or the store is damaged");
		return;
	}
	j->applier.only = NULL;
	j->state = JOURNAL_STREAMING;
	if (!commit(j, j->seq, j->meta.time))
		return;
	store_turn(j->st);
	repair_over(j, true, NULL);
}

/* ---- frames ---- */

static void on_hello(struct journal *j, struct rd r)
{
	static const uint8_t none[SIGN_PUB];
	uint8_t id[JOURNAL_ID], pub[SIGN_PUB], p[JOURNAL_ID + 8 + CHAIN_LEN + 8 + 4];
	uint8_t version = rd_u8(&r);
	rd_copy(&r, id, sizeof id);
	rd_copy(&r, pub, sizeof pub);
	if (r.bad || version != LINK_VERSION) {
		refuse(j, "it speaks another version of the journal");
		return;
	}
	bool known = memcmp(j->meta.pub, none, SIGN_PUB) != 0;
	if (known && memcmp(j->meta.id, id, JOURNAL_ID) != 0) {
		refuse(j, "the hub keeps another journal than the one in our store (to take it, start with an empty store)");
		return;
	}
	const uint8_t *want = known ? j->meta.pub : j->conf.pub;
	if (want && memcmp(want, pub, SIGN_PUB) != 0) {
		refuse(j, "the hub's journal is signed by another key than the one we know");
		return;
	}
	memcpy(j->meta.id, id, sizeof id);
	memcpy(j->meta.pub, pub, sizeof pub);
	struct wr w = wr_init(p, sizeof p);
	wr_bytes(&w, known ? id : none, JOURNAL_ID);
	wr_u64(&w, j->seq);
	wr_bytes(&w, j->chain, CHAIN_LEN);
	bool begun = j->bulk.what == BULK_SNAPSHOT && memcmp(j->bulk.id, id, JOURNAL_ID) == 0;
	wr_u64(&w, begun ? j->bulk.at.seq : 0);
	wr_u32(&w, begun ? j->bulk.parts : 0);
	if (j->conf.plain_fd < 0)
		link_send(j->link, FRAME_RESUME, &(struct part){ p, sizeof p }, 1);
}

/* From the beginning, or behind what an earlier life has noted. */
static int begin_bulk(struct journal *j, uint32_t have)
{
	if (have) {
		log_say(LOG_NOTICE, "going on with the snapshot at sequence %llu behind chunk %u", (unsigned long long)j->snap.seq, have);
		bulk_resume(&j->bulk, &j->applier);
	} else {
		log_say(LOG_NOTICE, "receiving a snapshot at sequence %llu", (unsigned long long)j->snap.seq);
		j->snap_hashes.n = 0;
		if (bulk_begin(&j->bulk, j->st, BULK_SNAPSHOT, j->meta.id, &j->snap, store_new_instance(j->st)) != 0)
			return -1;
	}
	j->applier.bulk = &j->bulk;
	return 0;
}

static void on_snapshot(struct journal *j, struct rd r)
{
	j->snap.seq = rd_u64(&r);
	rd_copy(&r, j->snap.chain, CHAIN_LEN);
	j->snap.time = rd_u64(&r);
	uint32_t have = rd_u32(&r);
	bool ours = have == 0 || (j->bulk.what == BULK_SNAPSHOT && j->bulk.parts == have && j->bulk.at.seq == j->snap.seq &&
	                          memcmp(j->bulk.at.chain, j->snap.chain, CHAIN_LEN) == 0 &&
	                          memcmp(j->bulk.id, j->meta.id, JOURNAL_ID) == 0);
	if (r.bad || rd_left(&r) || halfway(j) || !ours || j->snap.seq < j->seq) {
		refuse(j, "a snapshot out of place");
		return;
	}
	j->state = JOURNAL_SNAPSHOT;
	j->room = 0;
	applier_begin(&j->applier, j->snap.seq);
	if (begin_bulk(j, have) != 0)
		refuse(j, strerror(errno));
}

/* Room for what is about to be applied, and so much behind it if it can be had?
 * When the disk is full nothing more is taken; what is served stays. */
static bool room_for(struct journal *j, size_t n, size_t ahead)
{
	if (n <= j->room) {
		j->room -= n;
		return true;
	}
	j->room = store_reserve(j->st, n + ahead) == 0 ? ahead : 0;
	if (j->room || store_reserve(j->st, n) == 0)
		return true;
	j->full = errno == ENOSPC;
	refuse(j, errno == ENOSPC ? "the disk is full: nothing more is applied until there is room; serving on"
	                          : strerror(errno));
	return false;
}

static void on_chunk(struct journal *j, const uint8_t *p, size_t n)
{
	uint8_t hash[32];
	char err[1200];
	if (j->state != JOURNAL_SNAPSHOT && j->state != JOURNAL_REPAIR) {
		refuse(j, "a snapshot's chunk out of place");
		return;
	}
	/* the more has come, the more at once: a small store stays small */
	size_t ahead = j->snap_hashes.n / 32 / 4;
	if (!room_for(j, n, n * (ahead < CHUNKS_AHEAD ? ahead : CHUNKS_AHEAD)))
		return;
	sha256(p, n, hash);
	buf_put(&j->snap_hashes, hash, sizeof hash);
	if (j->snap_hashes.bad || applier_ops(&j->applier, p, n, err, sizeof err) != 0)
		refuse(j, j->snap_hashes.bad ? "no memory" : err);
	else if (j->state == JOURNAL_SNAPSHOT && bulk_part(&j->bulk, &j->applier, hash, n) != 0)
		refuse(j, strerror(errno));
}

/* Zones that the snapshot doesn't have are gone. */
static int drop_others(struct journal *j)
{
	struct store_zone z;
	enum store_found r = store_zone_next(j->st, NULL, &z);
	while (r == STORE_FOUND) {
		if (z.inst < j->bulk.first_inst && store_zone_drop(j->st, j->snap.seq, z.name) != 0)
			return -1;
		r = store_zone_next(j->st, z.name, &z);
	}
	return r == STORE_ABSENT ? 0 : -1;
}

/* Are the chunks that have come those of the manifest? */
static bool chunks_fit(const struct journal *j, const struct manifest *m)
{
	uint8_t sum[32];
	sha256(j->snap_hashes.p, j->snap_hashes.n, sum);
	return m->chunks * 32ull == j->snap_hashes.n && memcmp(m->sum, sum, sizeof sum) == 0;
}

static void on_manifest(struct journal *j, const uint8_t *p, size_t n)
{
	struct manifest m;
	bool zone = j->state == JOURNAL_REPAIR;
	if ((!zone && j->state != JOURNAL_SNAPSHOT) || !manifest_open(j->meta.pub, j->meta.id, zone ? j->zone : NULL, p, n, &m) ||
	    m.seq != j->snap.seq || memcmp(m.chain, j->snap.chain, CHAIN_LEN) != 0 || !chunks_fit(j, &m) ||
	    m.zones != j->applier.zones) {
		refuse(j, "a snapshot that its manifest does not fit");
		return;
	}
	if (zone) {
		on_zone_complete(j);
		return;
	}
	if (!is_named(j, m.seq, m.chain)) {
		refuse(j, "ALARM: a snapshot of another history than the operator has named");
		return;
	}
	if (bulk_end(&j->bulk) != 0) {
		j->applier.harm = errno == EBADMSG ? HARM_STORE : HARM_NONE;
		refuse(j, errno == EBADMSG ? "the store is damaged" : strerror(errno));
		return;
	}
	if (drop_others(j) != 0) {
		j->applier.harm = HARM_STORE;
		refuse(j, "the store is damaged");
		return;
	}
	j->applier.bulk = NULL;
	memcpy(j->chain, m.chain, CHAIN_LEN);
	if (!commit(j, m.seq, m.time))
		return;
	j->state = JOURNAL_STREAMING;
	j->pause_ns = PAUSE_MIN_NS;
	j->last_head = (struct head){ .seq = m.seq, .time = m.time };
	log_say(LOG_NOTICE, "snapshot complete: %u zones, sequence %llu", m.zones, (unsigned long long)m.seq);
}

static void on_tx(struct journal *j, const uint8_t *p, size_t n)
{
	struct tx_part t;
	uint8_t chain[CHAIN_LEN];
	char err[1200];
	if (j->state != JOURNAL_STREAMING || !tx_part_parse(p, n, &t) ||
	    (t.flags & PART_FIRST ? j->in_tx || t.seq != j->applied + 1 : !j->in_tx)) {
		refuse(j, "a transaction out of order");
		return;
	}
	if (!room_for(j, n, OCTETS_AHEAD))
		return;
	if (t.flags & PART_FIRST) {
		tx_chain_begin(&j->running, j->chain, t.seq, t.time);
		applier_begin(&j->applier, t.seq);
		j->tx_time = t.time;
		j->in_tx = true;
	}
	sha_update(&j->running, t.ops, t.len);
	if (applier_ops(&j->applier, t.ops, t.len, err, sizeof err) != 0) {
		refuse(j, err);
		return;
	}
	if (!(t.flags & PART_LAST))
		return;
	sha_out(&j->running, chain);
	if (memcmp(chain, t.chain, CHAIN_LEN) != 0) {
		refuse(j, "a transaction that breaks the chain");
		return;
	}
	if (!is_named(j, j->applier.seq, chain)) {
		refuse(j, "ALARM: another history than the operator has named");
		return;
	}
	memcpy(j->chain, chain, CHAIN_LEN);
	j->applied = j->applier.seq;
	j->in_tx = false;
	j->transactions++;
}

static void on_head(struct journal *j, const uint8_t *p, size_t n)
{
	struct head h;
	if (j->state != JOURNAL_STREAMING || j->in_tx || !head_open(j->meta.pub, j->meta.id, p, n, &h)) {
		refuse(j, "a head out of place or not signed by the origin");
		return;
	}
	if (h.seq != j->applied || memcmp(h.chain, j->chain, CHAIN_LEN) != 0) {
		refuse(j, "a signed head that contradicts what was sent: two histories");
		return;
	}
	j->last_head = h;
	if (j->applied > j->seq)
		commit(j, h.seq, h.time);
	ask_again(j);
}

/* No transaction: it is the root's, not the origin's, and must reach nodes whose
 * journal waits for a disk, for a snapshot, or for nothing any more. */
static void on_denials(struct journal *j, const uint8_t *p, size_t n)
{
	if (j->conf.plain_fd >= 0 || !j->calls->denials) {
		refuse(j, "a denial list out of place");
		return;
	}
	j->calls->denials(j->owner, p, n);
	if (j->link && tls_peer_denied(link_tls(j->link)))
		link_fail(j->link, "the hub's certificate is denied");
}

static void on_frame(struct link *l, uint8_t type, const uint8_t *p, size_t n, uint64_t now)
{
	struct journal *j = link_owner(l);
	(void)now;
	if (j->dead)
		return;
	if (type == FRAME_DENIALS) {
		on_denials(j, p, n);
		return;
	}
	if ((type == FRAME_HELLO) != (j->state == JOURNAL_CONNECTING)) {
		refuse(j, "a frame out of order");
		return;
	}
	switch (type) {
	case FRAME_HELLO:
		j->state = JOURNAL_GREETING;
		on_hello(j, rd_init(p, n));
		break;
	case FRAME_STREAM:
		if (j->state == JOURNAL_GREETING) {
			j->state = JOURNAL_STREAMING;
			j->pause_ns = PAUSE_MIN_NS;
			log_say(LOG_NOTICE, "journal: streaming from sequence %llu", (unsigned long long)j->seq);
			ask_again(j);
		}
		break;
	case FRAME_ZONE:
		on_zone(j, rd_init(p, n));
		break;
	case FRAME_SNAPSHOT:
		on_snapshot(j, rd_init(p, n));
		break;
	case FRAME_CHUNK:
		on_chunk(j, p, n);
		break;
	case FRAME_MANIFEST:
		on_manifest(j, p, n);
		break;
	case FRAME_TX:
		on_tx(j, p, n);
		break;
	case FRAME_HEAD:
		on_head(j, p, n);
		break;
	case FRAME_DIVERGED:
		log_say(LOG_ERROR, "ALARM: the hub does not know our history (sequence %llu): serving on unchanged; compare hub and node",
		        (unsigned long long)j->seq);
		j->state = JOURNAL_DIVERGED;
		j->pause_ns = PAUSE_MAX_NS;
		link_fail(l, "our journal and the hub's have diverged");
		break;
	default:
		refuse(j, "a frame of an unknown type");
	}
}

/* What the next transactions are about is on its way into the cache while those
 * before them are applied. */
static void on_ahead(struct link *l, uint8_t type, const uint8_t *p, size_t n)
{
	struct journal *j = link_owner(l);
	struct tx_part t;
	if (type == FRAME_TX && j->state == JOURNAL_STREAMING && !j->dead && tx_part_parse(p, n, &t))
		applier_soon(&j->applier, t.ops, t.len);
}

static const struct link_calls calls = { .frame = on_frame, .ahead = on_ahead, .closed = on_closed };

/* ---- connecting ---- */

/* Binds to a port of ours; gives up quietly: the kernel chooses one then. */
static void bind_client_port(int fd, sa_family_t family)
{
	for (unsigned tries = 0; tries < 32; tries++) {
		struct sockaddr_in6 a = { 0 };
		uint16_t r;
		crypto_random(&r, sizeof r);
		uint16_t port = htons((uint16_t)(PORT_LOW + r % PORT_SPAN));
		a.sin6_family = family;
		if (family == AF_INET6)
			a.sin6_port = port;
		else
			((struct sockaddr_in *)(void *)&a)->sin_port = port;
		socklen_t n = family == AF_INET6 ? sizeof a : sizeof(struct sockaddr_in);
		if (bind(fd, (struct sockaddr *)&a, n) == 0 || errno != EADDRINUSE)
			return;
	}
}

static int dial(const struct conf_addr *h)
{
	struct sockaddr_storage a;
	socklen_t n = addr_of(h, &a);
	int fd = socket(a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1;
	if (fd < 0)
		return -1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	bind_client_port(fd, a.ss_family);
	if (connect(fd, (struct sockaddr *)&a, n) == 0 || errno == EINPROGRESS)
		return fd;
	int e = errno;
	close(fd);
	errno = e;
	return -1;
}

static void attempt(struct src *s, uint32_t got, uint64_t now)
{
	struct journal *j = SRC_OWNER(s, struct journal, timer);
	(void)got;
	(void)now;
	loop_due(j->loop, &j->timer, LOOP_NEVER);
	bool plain = j->conf.plain_fd >= 0;
	struct tls *tls = NULL;
	int fd = plain ? fcntl(j->conf.plain_fd, F_DUPFD_CLOEXEC, 3) : dial(&j->conf.hub[j->hub]);
	if (fd >= 0 && plain)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (fd >= 0 && !plain && !(tls = tls_client(j->conf.cred, ROLE_HUB))) {
		close(fd);
		fd = -1;
		errno = ENOMEM;
	}
	j->state = JOURNAL_CONNECTING;
	j->link = fd >= 0 ? link_new(j->loop, fd, tls, !plain, &calls, j) : NULL;
	if (j->link)
		return;
	if (plain) {
		give_up(j, "stdin is no pipe or socket");
		return;
	}
	log_limited(LOG_NOTICE, "hub %s@%u: %s", j->conf.hub[j->hub].host, j->conf.hub[j->hub].port, strerror(errno));
	j->hub = (j->hub + 1) % j->conf.nhubs;
	pause_then_connect(j);
}

struct journal *journal_new(struct loop *loop, struct store *st, const struct journal_conf *c,
                            const struct journal_calls *jc, void *owner)
{
	struct journal *j = calloc(1, sizeof *j);
	if (!j || applier_init(&j->applier, st) != 0) {
		free(j);
		return NULL;
	}
	j->loop = loop;
	j->st = st;
	j->conf = *c;
	j->calls = jc;
	j->owner = owner;
	j->pause_ns = PAUSE_MIN_NS;
	j->seq = j->applied = store_seq(st);
	meta_read(store_meta(st), &j->meta);
	memcpy(j->chain, j->meta.chain, CHAIN_LEN);
	j->wanted = j->applier.skip = j->meta.behind ? j->meta.behind : c->damaged;
	j->applier.skipped = j->meta.behind != 0;
	j->bulk.step = c->bulk_step;
	bulk_take_up(&j->bulk, st, &j->snap_hashes);
	j->timer = (struct src){ .fd = -1, .due_ns = loop_now(), .wake = attempt };
	if (loop_add(loop, &j->timer) != 0) {
		journal_free(j);
		return NULL;
	}
	return j;
}

bool journal_reconnect(struct journal *j)
{
	if (halfway(j) || j->state == JOURNAL_REPAIR)
		return false;
	j->pause_ns = PAUSE_MIN_NS;
	if (j->link)
		link_fail(j->link, "an operator wants it anew");
	else
		loop_due(j->loop, &j->timer, loop_now());
	return true;
}

void journal_free(struct journal *j)
{
	if (!j)
		return;
	if (j->link)
		link_close(j->link);
	loop_del(j->loop, &j->timer);
	applier_free(&j->applier);
	buf_free(&j->snap_hashes);
	bulk_free(&j->bulk);
	free(j);
}

void journal_status_get(const struct journal *j, struct journal_status *out)
{
	memset(out, 0, sizeof *out);
	out->state = j->state;
	out->seq = j->seq;
	out->origin_seq = j->last_head.seq > j->seq ? j->last_head.seq : j->seq;
	out->head_time = j->last_head.time ? j->last_head.time : j->meta.time;
	memcpy(out->chain, j->meta.chain, CHAIN_LEN);
	if (j->conf.nhubs)
		snprintf(out->hub, sizeof out->hub, "%s@%u", j->conf.hub[j->hub].host, j->conf.hub[j->hub].port);
	out->transactions = j->transactions;
	out->names = j->applier.names;
	out->full = j->full;
	out->wanted = j->wanted;
	out->behind = j->applier.skip;
}
