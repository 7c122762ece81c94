/* feed.c - the nodes' sessions: who is where, and what it gets next.
 *
 * States of a session: handshake -> greeted (HELLO sent) -> snapshot ->
 * streaming, or greeted -> streaming; a zone that a node's disk has damaged is
 * sent again in between: streaming -> zone -> streaming.  Each reads the journal at its own pace;
 * what waits to be sent is bounded, so a slow node costs a buffer and no more.
 * Threat: strangers on the port: only so many unfinished handshakes, each with
 * 5 s in all, and a newcomer takes the place of any of them, so that idle
 * connections keep nobody out.  A node that lies about where it stands gets
 * DIVERGED and is closed; of two sessions of one node the newer stays.
 * A node that is denied gets the denial list and nothing else: that is how it
 * learns, and stops. */
#include "hub/hub.h"

#include "base/addr.h"
#include "base/io.h"
#include "base/log.h"
#include "crypto/denial.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNFINISHED    64          /* handshakes at a time */
#define QUEUE_MAX     (1u << 20)  /* octets waiting for one node */
#define HEAD_BYTES    (4u << 20)  /* of transactions before a head, at the latest */
#define HEAD_EVERY_NS 10000000000ull
#define TICK_NS       1000000000ull
#define AGAIN_NS      1000000000ull /* between two zones that a node wants again */
#define DENIED        16          /* told at a time that they are denied */
#define DENIED_NS     1000000000ull /* for a node that is denied, to hear of it and go */
#define PARK_NS       600000000000ull /* a snapshot that was cut off is kept so long, */
#define PARKED_MAX    16          /* and so many of them */
#define HANDSHAKE_NS  5000000000ull /* from accept to a certified node, whatever trickles in */

enum feed_state { FEED_HANDSHAKE, FEED_GREETED, FEED_SNAPSHOT, FEED_STREAMING, FEED_ZONE, FEED_DIVERGED, FEED_DENIED };

struct feed {
	struct feed *next;
	struct feeds *all;
	struct link *link;
	struct mark *mark;       /* who it is; NULL before, and for who is denied from the start */
	enum feed_state state;
	uint64_t born_ns;
	uint64_t acked, headed;  /* headed: the last sequence a head was sent for */
	uint64_t since_head;     /* octets */
	bool in_tx;
	struct jreader reader;
	struct snapshot *snap;
	struct buf buf;
	bool again;              /* this zone is asked for again */
	uint8_t zone[NAME_MAX_LEN];
	uint64_t again_ns;       /* when one was last */
};

/* What is known of a node beyond its sessions; kept in DIR/nodes, a line
 * "NAME SEQUENCE" each. */
struct mark {
	struct mark *next;
	char name[64];
	uint64_t acked;
	unsigned sessions;
	uint64_t below;          /* it came back at this sequence plus one, below acked; 0: no such thing */
	struct snapshot *parked; /* cut off: the node may come back for the rest */
	uint64_t parked_ns;
};

struct feeds {
	struct hub *h;
	const struct cred *cred;
	struct denied denied;    /* the list in force */
	struct src listener, timer;
	struct feed *first;
	struct mark *marks;
	bool marks_changed;
	unsigned unfinished;
	uint8_t head[HEAD_LEN];  /* the newest, signed once for all */
	uint64_t head_seq, head_ns;
	uint64_t next_heads_ns;
};

/* ---- heads ---- */

static bool sign_head(struct feeds *f, uint64_t seq, const uint8_t chain[static CHAIN_LEN],
                      uint8_t out[static HEAD_LEN])
{
	struct head h = { .term = 1, .seq = seq, .time = hub_now() };
	memcpy(h.chain, chain, CHAIN_LEN);
	return head_sign(f->h->signer, f->h->id, &h, out) == 0;
}

/* A head for where a session stands: the common one, or an older one. */
static void send_head(struct feed *s, const uint8_t *chain, uint64_t seq)
{
	struct feeds *f = s->all;
	uint8_t own[HEAD_LEN];
	const uint8_t *head = f->head;
	if (seq == f->h->seq) {
		if (f->head_seq != seq || f->head_ns == 0) {
			if (!sign_head(f, seq, f->h->chain, f->head))
				return;
			f->head_seq = seq;
			f->head_ns = loop_now();
		}
	} else {
		if (!sign_head(f, seq, chain, own))
			return;
		head = own;
	}
	link_send(s->link, FRAME_HEAD, &(struct part){ head, HEAD_LEN }, 1);
	s->headed = seq;
	s->since_head = 0;
}

/* ---- sending ---- */

static void unpark(struct mark *m)
{
	snapshot_end(m->parked);
	m->parked = NULL;
}

/* Its node has gone in the midst of a snapshot. */
static void park(struct feed *s)
{
	unsigned n = 0;
	for (struct mark *m = s->all->marks; m; m = m->next)
		n += m->parked != NULL && m != s->mark;
	if (n >= PARKED_MAX)
		return;
	unpark(s->mark);
	s->mark->parked = s->snap;
	s->mark->parked_ns = loop_now();
	s->snap = NULL;
}

static void feed_end(struct feed *s)
{
	struct feed **at = &s->all->first;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (s->state == FEED_HANDSHAKE)
		s->all->unfinished--;
	if (s->mark)
		s->mark->sessions--;
	if (s->snap && s->state == FEED_SNAPSHOT)
		park(s);
	snapshot_end(s->snap);
	jreader_free(&s->reader);
	buf_free(&s->buf);
	free(s);
}

static void give_up(struct feed *s, const char *why)
{
	link_fail(s->link, why);
}

/* The next piece of a snapshot; false: wait or gone. */
static bool push_snapshot(struct feed *s)
{
	int r = snapshot_next(s->snap, &s->buf);
	if (r < 0) {
		give_up(s, "the snapshot can't be read");
		return false;
	}
	link_send(s->link, r ? FRAME_CHUNK : FRAME_MANIFEST, &(struct part){ s->buf.p, s->buf.n }, 1);
	if (r)
		return true;
	uint64_t seq = snapshot_seq(s->snap);
	snapshot_end(s->snap);
	s->snap = NULL;
	buf_free(&s->buf);
	s->state = FEED_STREAMING;
	s->headed = seq;
	return jfile_seek(s->all->h->jfile, seq + 1, &s->reader) == 0;
}

/* The node has everything, and a head for it: the zone it asked for, as it
 * stands there.  False: wait or gone. */
static bool begin_zone(struct feed *s)
{
	uint8_t head[8 + CHAIN_LEN + 8];
	char text[NAME_TEXT_MAX];
	s->again = false;
	s->snap = snapshot_begin(s->all->h, s->zone);
	if (!s->snap) {
		log_limited(LOG_WARNING, "node %s wants zone %s again: it is not here, or there is no memory", s->mark->name,
		            name_text(s->zone, text));
		return true;
	}
	snapshot_header(s->snap, head);
	struct part p[] = { { head, sizeof head }, { s->zone, name_len(s->zone) } };
	link_send(s->link, FRAME_ZONE, p, 2);
	s->state = FEED_ZONE;
	log_limited(LOG_WARNING, "node %s has damaged data of zone %s: sending the zone again", s->mark->name,
	            name_text(s->zone, text));
	return true;
}

static bool push_tx(struct feed *s)
{
	struct hub *h = s->all->h;
	struct tx_part t;
	const uint8_t *p;
	size_t n;
	if (s->reader.seq > h->seq && !s->in_tx) { /* not committed yet, or nothing */
		if (s->headed != s->reader.seq - 1)
			send_head(s, h->chain, s->reader.seq - 1);
		return s->again && begin_zone(s);
	}
	if (jfile_read(h->jfile, &s->reader, &t, &p, &n) != 1) {
		give_up(s, "the journal can't be read");
		return false;
	}
	if (!link_send(s->link, FRAME_TX, &(struct part){ p, n }, 1))
		return false; /* the link ends by itself */
	s->since_head += n;
	s->in_tx = !(t.flags & PART_LAST);
	if (!s->in_tx && s->since_head > HEAD_BYTES)
		send_head(s, t.chain, s->reader.seq - 1);
	return true;
}

static void push(struct feed *s)
{
	while (link_queued(s->link) < QUEUE_MAX)
		if (s->state == FEED_SNAPSHOT || s->state == FEED_ZONE ? !push_snapshot(s) : s->state != FEED_STREAMING || !push_tx(s))
			return;
}

void feeds_wake(struct feeds *f)
{
	for (struct feed *s = f->first, *next; s; s = next) {
		next = s->next;
		push(s);
	}
}

void feeds_ping(struct feeds *f)
{
	for (struct feed *s = f->first; s; s = s->next)
		link_ping(s->link);
}

/* ---- the nodes' high-water marks ---- */

static struct mark *mark_of(struct feeds *f, const char *name)
{
	for (struct mark *m = f->marks; m; m = m->next)
		if (strcmp(m->name, name) == 0)
			return m;
	struct mark *m = calloc(1, sizeof *m);
	if (m) {
		snprintf(m->name, sizeof m->name, "%s", name);
		m->next = f->marks;
		f->marks = m;
	}
	return m;
}

static void read_marks(struct feeds *f)
{
	char path[4096], name[64];
	unsigned long long acked;
	snprintf(path, sizeof path, "%s/nodes", f->h->dir);
	FILE *in = fopen(path, "re");
	if (!in)
		return;
	while (fscanf(in, "%63s %llu", name, &acked) == 2) {
		struct mark *m = mark_of(f, name);
		if (m)
			m->acked = acked;
	}
	fclose(in);
}

/* A crash may lose the last seconds: a mark is a floor, and stays one. */
static void write_marks(struct feeds *f)
{
	struct buf text = { 0 };
	char line[sizeof f->marks->name + 24];
	if (!f->marks_changed)
		return;
	for (struct mark *m = f->marks; m; m = m->next)
		buf_put(&text, line, (size_t)snprintf(line, sizeof line, "%s %llu\n", m->name, (unsigned long long)m->acked));
	if (!text.bad && io_save(f->h->dir, "nodes", text.p, text.n, 0666) == 0)
		f->marks_changed = false;
	buf_free(&text);
}

/* ---- receiving ---- */

static void send_denials(struct feed *s)
{
	size_t n;
	const void *p = denials_octets(s->all->denied.list, &n);
	if (p)
		link_send(s->link, FRAME_DENIALS, &(struct part){ p, n }, 1);
}

/* It is on the list, which it gets; nothing more is heard, and soon it goes. */
static void turn_away(struct feed *s)
{
	log_limited(LOG_WARNING, "node %s is denied: it is told so, and gets nothing more", tls_peer_name(link_tls(s->link)));
	s->state = FEED_DENIED;
	s->born_ns = loop_now();
	send_denials(s);
}

static void on_ready(struct link *l)
{
	struct feed *s = link_owner(l);
	struct hub *h = s->all->h;
	uint8_t version = LINK_VERSION;
	s->all->unfinished--;
	if (tls_peer_denied(link_tls(l))) {
		unsigned others = 0;
		for (const struct feed *o = s->all->first; o; o = o->next)
			others += o->state == FEED_DENIED;
		if (others < DENIED)
			turn_away(s);
		else
			give_up(s, "it is denied, and so are too many others");
		return;
	}
	s->state = FEED_GREETED;
	s->mark = mark_of(s->all, tls_peer_name(link_tls(l)));
	if (!s->mark) {
		give_up(s, "no memory");
		return;
	}
	for (struct feed *o = s->all->first, *next; o; o = next) {
		next = o->next;
		if (o != s && o->mark == s->mark)
			give_up(o, "it has connected anew");
	}
	s->mark->sessions++;
	struct part p[] = { { &version, 1 }, { h->id, JOURNAL_ID }, { h->pub, SIGN_PUB } };
	link_send(l, FRAME_HELLO, p, 3);
	send_denials(s);
}

/* The rest of the one that was cut off, if it is the one that the node has begun
 * and all of it has been sent that the node has. */
static bool go_on(struct feed *s, uint64_t seq, uint32_t chunks)
{
	struct snapshot *p = s->mark->parked;
	if (!p || !chunks || snapshot_seq(p) != seq || !snapshot_back(p, chunks))
		return false;
	s->snap = p;
	s->mark->parked = NULL;
	return true;
}

/* begun, chunks: what the node has of one. */
static void begin_snapshot(struct feed *s, uint64_t begun, uint32_t chunks)
{
	uint8_t head[8 + CHAIN_LEN + 8 + 4];
	if (!go_on(s, begun, chunks)) {
		chunks = 0;
		unpark(s->mark);
		s->snap = snapshot_begin(s->all->h, NULL);
	}
	if (!s->snap) {
		give_up(s, "no snapshot can be begun (too many at once, or no memory)");
		return;
	}
	snapshot_header(s->snap, head);
	put_u32(head + sizeof head - 4, chunks);
	link_send(s->link, FRAME_SNAPSHOT, &(struct part){ head, sizeof head }, 1);
	s->state = FEED_SNAPSHOT;
	log_say(LOG_NOTICE, "node %s: snapshot at sequence %llu%s", s->mark->name, (unsigned long long)snapshot_seq(s->snap),
	        chunks ? ", what it lacks of it" : "");
	push(s);
}

static void diverged(struct feed *s, uint64_t seq)
{
	log_limited(LOG_ERROR, "ALARM: node %s stands at sequence %llu of a history that is not ours", s->mark->name,
	            (unsigned long long)seq);
	link_send(s->link, FRAME_DIVERGED, NULL, 0);
	s->state = FEED_DIVERGED; /* nothing more is heard; it goes by itself or in 5 s */
	s->born_ns = loop_now();
}

static void on_resume(struct feed *s, struct rd r)
{
	static const uint8_t none[JOURNAL_ID];
	struct hub *h = s->all->h;
	uint8_t id[JOURNAL_ID], chain[CHAIN_LEN], ours[CHAIN_LEN];
	rd_copy(&r, id, sizeof id);
	uint64_t seq = rd_u64(&r);
	rd_copy(&r, chain, sizeof chain);
	uint64_t begun = rd_u64(&r);
	uint32_t chunks = rd_u32(&r);
	if (r.bad || rd_left(&r) || s->state != FEED_GREETED) {
		give_up(s, "it sent a malformed RESUME");
		return;
	}
	bool fresh = memcmp(id, none, sizeof id) == 0;
	s->mark->below = !fresh && seq < s->mark->acked ? seq + 1 : 0;
	if (s->mark->below)
		log_limited(LOG_ERROR, "ALARM: node %s returns at sequence %llu but had acknowledged %llu: an older disk, or a copy",
		        s->mark->name, (unsigned long long)seq, (unsigned long long)s->mark->acked);
	if (fresh || (memcmp(id, h->id, sizeof id) == 0 && seq + 1 < jfile_first(h->jfile))) {
		begin_snapshot(s, begun, chunks);
		return;
	}
	if (memcmp(id, h->id, sizeof id) != 0 || seq > h->seq || !jfile_chain_at(h->jfile, seq, ours) ||
	    memcmp(chain, ours, CHAIN_LEN) != 0) {
		diverged(s, seq);
		return;
	}
	link_send(s->link, FRAME_STREAM, NULL, 0);
	s->state = FEED_STREAMING;
	s->acked = seq;
	s->headed = UINT64_MAX; /* a head at once: it tells that all is well */
	log_say(LOG_NOTICE, "node %s: streaming from sequence %llu", s->mark->name, (unsigned long long)seq);
	if (jfile_seek(h->jfile, seq + 1, &s->reader) != 0) {
		give_up(s, "the journal can't be read");
		return;
	}
	push(s);
}

static void on_again(struct feed *s, struct rd r)
{
	uint8_t name[NAME_MAX_LEN];
	uint64_t now = loop_now();
	if (!name_read(&r, name) || rd_left(&r) || (s->state != FEED_STREAMING && s->state != FEED_ZONE)) {
		give_up(s, "it sent a malformed AGAIN");
		return;
	}
	if (s->again || s->state == FEED_ZONE || (s->again_ns && now - s->again_ns < AGAIN_NS)) {
		give_up(s, "it wants zones again faster than a disk can fail");
		return;
	}
	name_lower(s->zone, name);
	s->again = true;
	s->again_ns = now;
	push(s);
}

static void on_frame(struct link *l, uint8_t type, const uint8_t *p, size_t n, uint64_t now)
{
	struct feed *s = link_owner(l);
	struct rd r = rd_init(p, n);
	(void)now;
	if (s->state == FEED_DIVERGED || s->state == FEED_DENIED)
		return;
	if (type == FRAME_RESUME) {
		on_resume(s, r);
	} else if (type == FRAME_ACK) {
		uint64_t seq = rd_u64(&r);
		if (!r.bad && seq <= s->all->h->seq && (s->state == FEED_STREAMING || s->state == FEED_ZONE)) {
			s->acked = seq;
			if (seq > s->mark->acked) {
				s->mark->acked = seq;
				s->all->marks_changed = true;
			}
		}
	} else if (type == FRAME_AGAIN) {
		on_again(s, r);
	} else {
		give_up(s, "it sent a frame of an unknown type");
	}
}

static void on_room(struct link *l) { push(link_owner(l)); }

static void on_closed(struct link *l, const char *why)
{
	struct feed *s = link_owner(l);
	if (s->mark)
		log_limited(LOG_NOTICE, "node %s: %s", s->mark->name, why);
	else if (s->state == FEED_DENIED)
		log_limited(LOG_NOTICE, "node %s, which is denied: %s", tls_peer_name(link_tls(l)), why);
	else
		log_limited(LOG_NOTICE, "a connection to the tunnel's port failed: %s", why);
	feed_end(s);
}

static const struct link_calls calls = { .ready = on_ready, .frame = on_frame, .room = on_room, .closed = on_closed };

/* Ends a random unfinished handshake: who waits long enough is found in the end,
 * an operator's node that is quick hardly ever. */
static void evict(struct feeds *f)
{
	uint32_t r;
	crypto_random(&r, sizeof r);
	r %= f->unfinished;
	for (struct feed *s = f->first; s; s = s->next)
		if (s->state == FEED_HANDSHAKE && r-- == 0) {
			give_up(s, "others are waiting");
			return;
		}
}

static void accept_wake(struct src *src, uint32_t got, uint64_t now)
{
	struct feeds *f = SRC_OWNER(src, struct feeds, listener);
	int one = 1, fd = accept4(src->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	(void)got;
	if (fd < 0)
		return;
	if (f->unfinished == UNFINISHED)
		evict(f);
	struct feed *s = calloc(1, sizeof *s);
	struct tls *tls = s ? tls_server(f->cred, ROLE_NODE) : NULL;
	if (!tls) {
		free(s);
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	tls_admit_denied(tls);
	s->all = f;
	s->born_ns = now;
	s->reader.fd = -1;
	s->link = link_new(&f->h->loop, fd, tls, true, &calls, s);
	if (!s->link) {
		free(s);
		return;
	}
	f->unfinished++;
	s->next = f->first;
	f->first = s;
}

/* Every second: who dawdles goes.  Every 10 s a fresh head for those who have
 * everything. */
static void tick_wake(struct src *src, uint32_t got, uint64_t now)
{
	struct feeds *f = SRC_OWNER(src, struct feeds, timer);
	(void)got;
	bool heads = now >= f->next_heads_ns;
	for (struct mark *m = f->marks; m; m = m->next)
		if (m->parked && now - m->parked_ns > PARK_NS)
			unpark(m);
	if (heads) {
		write_marks(f);
		f->head_ns = 0; /* signed anew, with the time */
		f->next_heads_ns = now + HEAD_EVERY_NS;
	}
	for (struct feed *s = f->first, *next; s; s = next) {
		bool begun = s->state == FEED_SNAPSHOT || s->state == FEED_STREAMING || s->state == FEED_ZONE;
		next = s->next;
		if (!begun && now - s->born_ns > HANDSHAKE_NS)
			give_up(s, "it took too long to say what it wants");
		else if (s->state == FEED_DENIED && now - s->born_ns > DENIED_NS)
			give_up(s, "it was told, and is sent away");
		else if (heads && s->state == FEED_STREAMING && s->headed == f->h->seq)
			send_head(s, f->h->chain, f->h->seq);
	}
	loop_due(&f->h->loop, &f->timer, now + TICK_NS);
}

/* ---- who is denied ---- */

int feeds_deny(struct feeds *f, const void *p, size_t n, struct feeds_denied *out, char *err, size_t errn)
{
	int r = denied_take(&f->denied, p, n, err, errn);
	*out = (struct feeds_denied){ denials_number(f->denied.list), denials_count(f->denied.list), 0, 0 };
	if (r <= 0)
		return r;
	*err = 0;
	if (denied_save(&f->denied) != 0)
		snprintf(err, errn, "%s/denials: %s", f->h->dir, strerror(errno));
	log_say(LOG_NOTICE, "denial list %llu is in force: %u certificates", (unsigned long long)out->number, out->certificates);
	for (struct feed *s = f->first, *next; s; s = next) {
		next = s->next;
		if (s->state == FEED_HANDSHAKE || s->state == FEED_DENIED)
			continue;
		out->told++;
		if (tls_peer_denied(link_tls(s->link))) {
			out->ended++;
			turn_away(s);
		} else {
			send_denials(s);
		}
	}
	return 1;
}

uint64_t feeds_denials(const struct feeds *f) { return f ? denials_number(f->denied.list) : 0; }

/* A hub that can't tell who is denied lets nobody in. */
static int open_denials(struct feeds *f, struct cred *cred, char *err, size_t n)
{
	char why[300];
	if (denied_open(&f->denied, f->h->dir, cred, why, sizeof why) != 0) {
		snprintf(err, n, "%s; put the CA's list in its place", why);
		return -1;
	}
	if (!cred_denied(cred))
		return 0;
	snprintf(err, n, "this hub's certificate is denied, and nodes refuse it: it needs another one");
	denied_close(&f->denied);
	return -1;
}

struct feeds *feeds_new(struct hub *h, struct cred *cred, const char *addr, uint16_t port, char *err, size_t n)
{
	struct feeds *f = calloc(1, sizeof *f);
	struct conf_addr a = { .port = port };
	snprintf(a.host, sizeof a.host, "%s", addr);
	int fd = f ? addr_open(&a, SOCK_STREAM, 0) : -1;
	if (fd < 0) {
		snprintf(err, n, "listen %s@%u: %s", addr, port, strerror(errno));
		free(f);
		return NULL;
	}
	f->h = h;
	f->cred = cred;
	f->listener = (struct src){ .fd = fd, .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = accept_wake };
	f->timer = (struct src){ .fd = -1, .due_ns = loop_now() + TICK_NS, .wake = tick_wake };
	if (open_denials(f, cred, err, n) != 0) {
		close(fd);
		free(f);
		return NULL;
	}
	read_marks(f);
	if (loop_add(&h->loop, &f->timer) == 0 && loop_add(&h->loop, &f->listener) == 0)
		return f;
	snprintf(err, n, "listen %s@%u: %s", addr, port, strerror(errno));
	feeds_free(f);
	return NULL;
}

void feeds_free(struct feeds *f)
{
	if (!f)
		return;
	while (f->first) {
		struct feed *s = f->first;
		link_close(s->link);
		feed_end(s);
	}
	loop_del(&f->h->loop, &f->timer);
	loop_del(&f->h->loop, &f->listener);
	close(f->listener.fd);
	denied_close(&f->denied);
	write_marks(f);
	for (struct mark *m = f->marks, *next; m; m = next) {
		next = m->next;
		unpark(m);
		free(m);
	}
	free(f);
}

void feeds_print(struct feeds *f, struct ctl_conn *c, bool json)
{
	const char *sep = "";
	for (struct mark *m = f ? f->marks : NULL; m; m = m->next) {
		if (json)
			ctl_print(c, CTL_OUT, "%s{\"name\":\"%s\",\"acknowledged\":%llu,\"connected\":%s,\"alarm\":%s}", sep, m->name,
			          (unsigned long long)m->acked, m->sessions ? "true" : "false", m->below ? "true" : "false");
		else
			ctl_print(c, CTL_OUT, "node %-24s acknowledged %llu%s%s\n", m->name, (unsigned long long)m->acked,
			          m->sessions ? "" : ", not connected", m->below ? ", ALARM: came back with an older store" : "");
		sep = ",";
	}
}

bool feeds_know(const struct feeds *f, const char *name, bool *connected, uint64_t *acked)
{
	for (const struct mark *m = f->marks; m; m = m->next)
		if (strcmp(m->name, name) == 0) {
			*connected = m->sessions > 0;
			*acked = m->acked;
			return true;
		}
	return false;
}

/* ---- ad hoc ---- */

static int send_plain(int fd, uint8_t type, const void *p, size_t n)
{
	uint8_t head[4];
	put_u24(head, (uint32_t)n);
	head[3] = type;
	return io_write_all(fd, head, sizeof head) != 0 ? -1 : io_write_all(fd, p, n);
}

int feed_plain(struct hub *h, int fd, char *err, size_t n)
{
	uint8_t hello[1 + JOURNAL_ID + SIGN_PUB] = { LINK_VERSION }, head[8 + CHAIN_LEN + 8 + 4] = { 0 };
	struct snapshot *s = snapshot_begin(h, NULL);
	struct buf b = { 0 };
	int r = s ? 1 : -1;
	memcpy(hello + 1, h->id, JOURNAL_ID);
	memcpy(hello + 1 + JOURNAL_ID, h->pub, SIGN_PUB);
	if (s) {
		snapshot_header(s, head);
		if (send_plain(fd, FRAME_HELLO, hello, sizeof hello) != 0 ||
		    send_plain(fd, FRAME_SNAPSHOT, head, sizeof head) != 0)
			r = -1;
	}
	while (r == 1) {
		r = snapshot_next(s, &b);
		if (r >= 0 && send_plain(fd, r ? FRAME_CHUNK : FRAME_MANIFEST, b.p, b.n) != 0)
			r = -1;
	}
	if (r != 0)
		snprintf(err, n, "the stream could not be written: %s", strerror(errno));
	snapshot_end(s);
	buf_free(&b);
	return r;
}
