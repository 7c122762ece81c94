/* fsm.c - the state machine of one neighbour (RFC 4271 section 8).
 *
 *   stopped --start--> trying --error--> resting --pause--> trying
 *   trying: Connect (an attempt is under way) or Active (waiting, listening),
 *           until a connection is up:  OpenSent -> OpenConfirm -> Established
 *
 * As in the RFC each connection is a machine of its own from OpenSent on; the peer
 * shows the further one.  What is left to choose is chosen so:
 * - An attempt that fails leads to Active, not Idle, so that the neighbour can
 *   still reach us meanwhile; its pause doubles up to half a minute, counted for
 *   itself, so that a neighbour that was away for long is soon found again.  An error
 *   of the protocol leads to Idle for a pause that doubles (DampPeerOscillations), and
 *   back by itself.  A session that has outlived its hold time clears that count.
 *   Attempts are a second apart at least.
 * - Collisions (section 6.8, RFC 6286 section 2.3): the connection stays that the
 *   greater identifier has opened.  Whoever gets an OPEN breaks off an attempt
 *   of its own that is not connected yet, as it has said nothing there; and the
 *   greater one does not wait for the second OPEN, because the other side will
 *   keep the connection as well.  Two speakers of this kind never close both:
 *   the greater one confirms the lesser's connection only after giving up its own.
 * - Routes are damped by the health that sets their levels, not by
 *   MinRouteAdvertisementInterval: a withdrawal may never wait.
 * - The send hold timer (RFC 9687) watches the owner's writes; NOTIFICATION 8 can't be
 *   sent into a socket that takes nothing, so the connection is just closed.
 *
 * Threat: the neighbour: octets are bounded by one message in, and by BGP_OUT out; routes
 * that it asks for again and again it gets once a second, and once the last ones are gone. */
#include "bgp/machine.h"

#include <stdio.h>

#define OPEN_HOLD_NS    (240 * BGP_SEC) /* in OpenSent, RFC 4271 section 8.2.2 */
#define ATTEMPT_NS      (30 * BGP_SEC)  /* for a connection attempt */
#define CLOSE_NS        BGP_SEC         /* for the last words */
#define WITHDRAWN_NS    BGP_SEC         /* between withdrawal and Cease */
#define REPLACE_NS      (5 * BGP_SEC)   /* a silent incoming connection is kept so long */
#define SEND_HOLD_LEAST 480             /* seconds, RFC 9687 section 4 */
#define TRY_MAX_S       30              /* the longest pause between attempts that get no connection */
#define HELD_LEAST_S    30              /* a session that lasted so long has held */

/* ---- the little things ---- */

/* splitmix64: for jitter only */
static uint64_t draw(struct bgp_peer *p)
{
	uint64_t z = p->random += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Three quarters to all of it, RFC 4271 section 10. */
static uint64_t jitter(struct bgp_peer *p, uint64_t ns) { return ns - draw(p) % (ns / 4 + 1); }

/* A connection that counts. */
static bool live(const struct bgp_conn *c) { return c->state != BGP_IDLE && !c->closing; }
static bool up(const struct bgp_conn *c) { return live(c) && c->state >= BGP_OPENSENT; }

static unsigned slot_of(const struct bgp_peer *p, const struct bgp_conn *c) { return c != p->conn; }
static struct bgp_conn *other(struct bgp_peer *p, const struct bgp_conn *c)
{
	return &p->conn[!slot_of(p, c)];
}

static struct bgp_conn *session(struct bgp_peer *p)
{
	for (unsigned i = 0; i < 2; i++)
		if (live(&p->conn[i]) && p->conn[i].state == BGP_ESTABLISHED)
			return &p->conn[i];
	return NULL;
}

static void clear(struct bgp_conn *c)
{
	c->state = BGP_IDLE;
	c->closing = c->plain = false;
	c->hold_ns = c->keepalive_ns = c->stuck_ns = c->close_ns = BGP_NEVER;
	c->id = 0;
	c->agreed = (struct bgp_agreed){ 0 };
	c->in_len = c->out_at = c->out_len = 0;
}

const char *bgp_conf_wrong(const struct bgp_peer_conf *c)
{
	if (c->as == 0 || c->peer_as == 0)
		return "AS 0";
	if (c->as == BGP_AS_TRANS || c->peer_as == BGP_AS_TRANS)
		return "AS 23456 is nobody's";
	if (c->id == 0)
		return "identifier 0.0.0.0";
	if (c->hold_s == 1 || c->hold_s == 2)
		return "hold time below 3 seconds";
	if (c->retry_s == 0 || c->retry_max_s < c->retry_s)
		return "retry time";
	if (c->mode == 0 || c->mode > (BGP_DIAL | BGP_LISTEN))
		return "neither active nor passive";
	if (c->families == 0 || c->families > (BGP_V4 | BGP_V6))
		return "no address family";
	if (c->role > BGP_PEER && c->role != BGP_NO_ROLE)
		return "role";
	if (1 + c->prepend + c->less_prepend > BGP_TIMES_MAX)
		return "path prepended too often";
	if (c->ncommunities > BGP_COMMUNITIES - 1 || c->nlarge > BGP_COMMUNITIES)
		return "too many communities";
	if (c->hop4.family & ~BGP_V4 || c->hop6.family & ~BGP_V6 || c->link_local.family & ~BGP_V6)
		return "next hop of another family";
	return NULL;
}

/* ---- saying ---- */

static void say_keepalive(struct bgp_peer *p, struct bgp_conn *c)
{
	struct wr w = bgp_conn_writer(c);
	if (!bgp_conn_room(c, BGP_HEAD))
		return;
	bgp_write_keepalive(&w);
	bgp_conn_written(p, c, &w, BGP_KEEPALIVE);
}

static void rest_keepalive(struct bgp_peer *p, struct bgp_conn *c, uint64_t now)
{
	c->keepalive_ns = c->agreed.hold_s ? now + jitter(p, c->agreed.hold_s * BGP_SEC / 3) : BGP_NEVER;
}

/* Our OPEN.  In iBGP there are no roles (RFC 9234 section 4). */
static struct bgp_open our_open(const struct bgp_peer *p, bool plain)
{
	const struct bgp_peer_conf *k = p->conf;
	struct bgp_open o = { .as = k->as, .id = k->id, .hold = k->hold_s, .role = BGP_NO_ROLE };
	o.plain = plain;
	o.families = plain ? BGP_V4 : k->families;
	if (plain)
		return o;
	o.refresh = o.enhanced_refresh = o.as4 = true;
	o.v4_by_v6 = k->v4_by_v6 && (k->families & BGP_V4);
	if (bgp_peer_external(p))
		o.role = k->role;
	return o;
}

static void say_open(struct bgp_peer *p, struct bgp_conn *c)
{
	struct wr w = bgp_conn_writer(c);
	c->plain = p->plain;
	p->plain = false; /* once only: the next one asks anew */
	struct bgp_open o = our_open(p, c->plain);
	bgp_write_open(&w, &o);
	bgp_conn_written(p, c, &w, BGP_OPEN);
}

static void note_notification(struct bgp_peer *p, const char *way, unsigned err, struct rd data)
{
	char words[BGP_WORDS - 16];
	bgp_note_words(words, sizeof words, &(struct bgp_note){ err, data });
	snprintf(p->last, sizeof p->last, "%s: %s", way, words);
}

/* ---- ends ---- */

/* How long a session has to last to count as one that works: its hold time, so
 * that octets went both ways. */
static unsigned held_s(const struct bgp_peer *p, const struct bgp_conn *c)
{
	unsigned s = c->agreed.hold_s < HELD_LEAST_S ? HELD_LEAST_S : c->agreed.hold_s;
	return s < p->conf->retry_max_s ? s : p->conf->retry_max_s;
}

/* The connection has ended for us; the owner still writes what it has. */
static void drop(struct bgp_peer *p, struct bgp_conn *c, uint64_t now)
{
	if (c->state == BGP_CONNECT && p->want_connect) { /* nothing was opened yet */
		p->want_connect = false;
		clear(c);
		return;
	}
	if (c->state == BGP_ESTABLISHED) {
		if (now - c->since_ns >= held_s(p, c) * BGP_SEC)
			p->failures = 0;
		bgp_tell_end(p);
	}
	c->closing = true;
	c->hold_ns = c->keepalive_ns = c->stuck_ns = BGP_NEVER;
	c->close_ns = now + CLOSE_NS;
}

/* The same, and nothing more can be written. */
static void cut(struct bgp_peer *p, struct bgp_conn *c, uint64_t now)
{
	drop(p, c, now);
	c->out_at = c->out_len = 0;
}

/* After so many failures in a row: the first pause, doubled for each. */
static uint64_t pause_ns(struct bgp_peer *p, unsigned failures, unsigned max_s)
{
	uint64_t s = p->conf->retry_s;
	for (unsigned i = 0; i < failures && s < max_s; i++)
		s *= 2;
	uint64_t pause = jitter(p, (s < max_s ? s : max_s) * BGP_SEC);
	return pause < BGP_SEC ? BGP_SEC : pause;
}

/* The last connection has gone; false: there is still one, or we have stopped. */
static bool alone(struct bgp_peer *p)
{
	if (p->phase == BGP_STOPPED || live(&p->conn[0]) || live(&p->conn[1]))
		return false;
	if (p->drain == BGP_STAYING)
		return true;
	p->phase = BGP_STOPPED; /* what was to be withdrawn is gone */
	p->drain = BGP_STAYING;
	p->retry_ns = p->drain_ns = BGP_NEVER;
	return false;
}

/* A connection has gone; if it was the last, what now? */
static void lost(struct bgp_peer *p, uint64_t now, enum bgp_phase phase)
{
	if (!alone(p))
		return;
	p->phase = phase;
	p->retry_ns = now + pause_ns(p, p->failures, p->conf->retry_max_s);
	p->failures += p->failures < 16;
}

/* An attempt has got no connection. */
static void missed(struct bgp_peer *p, uint64_t now)
{
	unsigned most = p->conf->retry_max_s < TRY_MAX_S ? p->conf->retry_max_s : TRY_MAX_S;
	if (!alone(p))
		return;
	p->phase = BGP_TRYING;
	p->retry_ns = now + pause_ns(p, p->misses, most > p->conf->retry_s ? most : p->conf->retry_s);
	p->misses += p->misses < 16;
}

static void send_notification(struct bgp_peer *p, struct bgp_conn *c, unsigned err, const void *data,
   size_t n)
{
	struct wr w = bgp_conn_writer(c);
	bgp_write_notification(&w, err, data, n);
	bgp_conn_written(p, c, &w, BGP_NOTIFICATION);
}

/* An error: says so (once there is somebody to say it to) and ends the connection. */
static void fail_data(struct bgp_peer *p, struct bgp_conn *c, uint64_t now, unsigned err, const void *data,
                      size_t n)
{
	if (c->state >= BGP_OPENSENT)
		send_notification(p, c, err, data, n);
	note_notification(p, "sent", err, rd_init(data ? data : "", n));
	drop(p, c, now);
	lost(p, now, BGP_RESTING);
}

static void fail(struct bgp_peer *p, struct bgp_conn *c, uint64_t now, unsigned err)
{
	fail_data(p, c, now, err, NULL, 0);
}

/* One connection too many: no error of the peer. */
static void collide(struct bgp_peer *p, struct bgp_conn *c, uint64_t now)
{
	if (c->state >= BGP_OPENSENT)
		send_notification(p, c, BGP_ERR(BGP_CEASE, BGP_COLLISION), NULL, 0);
	drop(p, c, now);
}

/* ---- telling ---- */

static uint64_t send_hold_ns(const struct bgp_peer *p, const struct bgp_conn *c)
{
	unsigned s = 2u * c->agreed.hold_s;
	if (s < SEND_HOLD_LEAST)
		s = SEND_HOLD_LEAST;
	return (p->conf->send_hold_s ? p->conf->send_hold_s : s) * BGP_SEC;
}

/* After each event: what there is to tell goes to the buffer as far as it has room. */
static void settle(struct bgp_peer *p, uint64_t now)
{
	struct bgp_conn *c = session(p);
	if (!c)
		return;
	if (bgp_tell(p, c, now))
		rest_keepalive(p, c, now);
	if (c->out_at == c->out_len || !c->agreed.hold_s)
		c->stuck_ns = BGP_NEVER;
	else if (c->stuck_ns == BGP_NEVER)
		c->stuck_ns = now + send_hold_ns(p, c);
}

/* ---- coming up ---- */

/* Asks for a connection, or says when that may be done. */
static void try_connect(struct bgp_peer *p, uint64_t now)
{
	struct bgp_conn *c = &p->conn[0];
	p->retry_ns = BGP_NEVER;
	if (!(p->conf->mode & BGP_DIAL) || live(c) || live(&p->conn[1]))
		return;
	if (c->state != BGP_IDLE) { /* the last one isn't closed yet */
		p->retry_ns = now + BGP_SEC;
		return;
	}
	if (p->counts.attempts && now - p->asked_ns < BGP_SEC) {
		p->retry_ns = p->asked_ns + BGP_SEC;
		return;
	}
	clear(c);
	c->state = BGP_CONNECT;
	p->want_connect = true;
	p->asked_ns = now;
	p->counts.attempts++;
	p->retry_ns = now + ATTEMPT_NS;
}

static void begin_open(struct bgp_conn *c, uint64_t now, const struct bgp_addr *local)
{
	c->state = BGP_OPENSENT;
	c->local = *local;
	c->since_ns = now;
	c->hold_ns = now + OPEN_HOLD_NS;
}

static struct bgp_agreed agree(const struct bgp_open *mine, const struct bgp_open *theirs)
{
	struct bgp_agreed a = { .families = mine->families & theirs->families };
	a.as4 = mine->as4 && theirs->as4;
	a.refresh = mine->refresh && theirs->refresh;
	a.enhanced_refresh = mine->enhanced_refresh && theirs->enhanced_refresh;
	a.v4_by_v6 = mine->v4_by_v6 && theirs->v4_by_v6;
	a.end_of_rib = theirs->restart;
	a.hold_s = mine->hold < theirs->hold ? mine->hold : theirs->hold;
	return a;
}

/* 0 or the NOTIFICATION: is it who it should be? */
static unsigned check_open(const struct bgp_peer *p, const struct bgp_open *mine, const struct bgp_open *o)
{
	if (o->as != p->conf->peer_as)
		return BGP_ERR(2, 2);
	if (!bgp_peer_external(p) && o->id == p->conf->id) /* RFC 6286 section 2.2 */
		return BGP_ERR(2, 3);
	if (mine->role == BGP_NO_ROLE)
		return 0;
	if (o->role_clash || (o->role == BGP_NO_ROLE && p->conf->role_strict))
		return BGP_ERR(2, 11);
	if (o->role != BGP_NO_ROLE && !bgp_roles_fit(mine->role, o->role))
		return BGP_ERR(2, 11);
	return 0;
}

/* Does the connection stay that we have opened?  RFC 6286 section 2.3. */
static bool ours_stays(const struct bgp_peer *p, uint32_t id)
{
	return p->conf->id != id ? p->conf->id > id : p->conf->as > p->conf->peer_as;
}

/* c has got an OPEN from `id` while the other connection lives.  True: c stays. */
static bool win_collision(struct bgp_peer *p, struct bgp_conn *c, uint64_t now, uint32_t id)
{
	struct bgp_conn *o = other(p, c);
	if (!live(o))
		return true;
	unsigned keep = ours_stays(p, id) ? 0 : 1;
	if (o->state == BGP_CONNECT) {
		collide(p, o, now);
		return true;
	}
	if (o->state == BGP_ESTABLISHED)
		keep = slot_of(p, o);
	else if (o->state == BGP_OPENSENT && keep == 1 && slot_of(p, c) == 0)
		return true; /* it may be broken off: only its OPEN decides */
	if (keep == slot_of(p, c)) {
		collide(p, o, now);
		return true;
	}
	collide(p, c, now);
	return false;
}

static void on_open(struct bgp_peer *p, struct bgp_conn *c, uint64_t now, struct rd body)
{
	static const uint8_t version[2] = { 0, 4 };
	struct bgp_open mine = our_open(p, c->plain), o;
	unsigned err = (unsigned)bgp_parse_open(body, &o);
	if (!err)
		err = check_open(p, &mine, &o);
	if (err) {
		fail_data(p, c, now, err, version, err == BGP_ERR(2, 1) ? sizeof version : 0);
		return;
	}
	struct bgp_agreed a = agree(&mine, &o);
	if (!a.families) {
		uint8_t b[16];
		struct wr w = wr_init(b, sizeof b);
		bgp_write_families(&w, mine.families);
		fail_data(p, c, now, BGP_ERR(2, 7), b, wr_len(&w));
		return;
	}
	if (!win_collision(p, c, now, o.id))
		return;
	c->id = o.id;
	c->agreed = a;
	c->state = BGP_OPENCONFIRM;
	p->retry_ns = BGP_NEVER;
	say_keepalive(p, c);
	rest_keepalive(p, c, now);
	c->hold_ns = a.hold_s ? now + a.hold_s * BGP_SEC : BGP_NEVER;
}

static void establish(struct bgp_peer *p, struct bgp_conn *c, uint64_t now)
{
	if (live(other(p, c)))
		collide(p, other(p, c), now);
	c->state = BGP_ESTABLISHED;
	c->since_ns = now;
	p->counts.established++;
	p->trouble = NULL;
	bgp_tell_begin(p, c);
}

/* ---- messages ---- */

static void on_notification(struct bgp_peer *p, struct bgp_conn *c, uint64_t now, struct rd body)
{
	struct bgp_note n;
	if (!bgp_parse_notification(body, &n))
		return;
	note_notification(p, "received", n.err, n.data);
	/* a neighbour that is too old for capabilities: once without */
	p->plain = c->state == BGP_OPENSENT && n.err == BGP_ERR(2, 4) && !c->plain;
	cut(p, c, now);
	lost(p, now, BGP_RESTING);
}

static void on_update(struct bgp_peer *p, struct bgp_conn *c, uint64_t now, struct rd body)
{
	struct bgp_reading s = { bgp_peer_external(p), c->agreed.as4, c->agreed.v4_by_v6, c->agreed.families };
	struct bgp_seen seen;
	struct rd data;
	int err = bgp_check_update(body, &s, &seen, &data);
	if (err) {
		fail_data(p, c, now, (unsigned)err, data.p, rd_left(&data));
		return;
	}
	p->counts.announced += seen.announced;
	p->counts.withdrawn += seen.withdrawn;
	p->counts.mended += seen.verdict != BGP_FINE;
}

/* RFC 2918 section 4: what was not agreed is ignored. */
static void on_refresh(struct bgp_peer *p, struct bgp_conn *c, uint64_t now, struct rd body)
{
	struct bgp_refresh r;
	int err = bgp_parse_refresh(body, &r);
	if (err) { /* its data is the message */
		fail_data(p, c, now, (unsigned)err, body.p - BGP_HEAD,
		          (size_t)(body.end - body.p) + BGP_HEAD);
		return;
	}
	if (r.what == BGP_REFRESH_ASK && c->agreed.refresh)
		p->refresh |= r.family & c->agreed.families;
}

/* RFC 6608: a message out of its time; its type is the data. */
static void unexpected(struct bgp_peer *p, struct bgp_conn *c, uint64_t now, enum bgp_type type)
{
	uint8_t t = (uint8_t)type;
	fail_data(p, c, now, BGP_ERR(5u, (unsigned)(c->state - BGP_OPENSENT) + 1), &t, 1);
}

static void on_message(struct bgp_peer *p, struct bgp_conn *c, uint64_t now, const struct bgp_message *m)
{
	p->counts.in[m->type]++;
	if (m->type == BGP_NOTIFICATION) {
		on_notification(p, c, now, m->body);
		return;
	}
	if (c->state == BGP_OPENSENT && m->type == BGP_OPEN) {
		on_open(p, c, now, m->body);
		return;
	}
	if (c->state == BGP_OPENCONFIRM && m->type == BGP_KEEPALIVE)
		establish(p, c, now);
	else if (c->state != BGP_ESTABLISHED || m->type == BGP_OPEN) {
		unexpected(p, c, now, m->type);
		return;
	}
	if (c->agreed.hold_s)
		c->hold_ns = now + c->agreed.hold_s * BGP_SEC;
	if (m->type == BGP_UPDATE)
		on_update(p, c, now, m->body);
	else if (m->type == BGP_ROUTE_REFRESH)
		on_refresh(p, c, now, m->body);
}

/* RFC 4271 section 6.1: what goes with an error of the header. */
static void fail_header(struct bgp_peer *p, struct bgp_conn *c, uint64_t now, unsigned err)
{
	size_t n = err == BGP_ERR(1, 2) ? 2 : err == BGP_ERR(1, 3) ? 1 : 0;
	uint8_t data[2];
	memcpy(data, c->in + (n == 1 ? 18 : 16), sizeof data);
	fail_data(p, c, now, err, data, n);
}

/* Works off the whole messages in the buffer. */
static void read_messages(struct bgp_peer *p, struct bgp_conn *c, uint64_t now)
{
	struct rd r = rd_init(c->in, c->in_len);
	struct bgp_message m;
	int err = 0;
	while (!c->closing && (err = bgp_take_message(&r, &m)) == 0)
		on_message(p, c, now, &m);
	if (c->closing)
		return;
	c->in_len = (unsigned)(r.end - r.p);
	memmove(c->in, r.p, c->in_len);
	if (err > 0)
		fail_header(p, c, now, (unsigned)err);
}

/* ---- events ---- */

void bgp_peer_init(struct bgp_peer *p, const struct bgp_peer_conf *conf, uint64_t random)
{
	memset(p, 0, sizeof *p);
	p->conf = conf;
	p->random = random;
	p->retry_ns = p->drain_ns = BGP_NEVER;
	clear(&p->conn[0]);
	clear(&p->conn[1]);
}

void bgp_peer_start(struct bgp_peer *p, uint64_t now)
{
	if (p->phase != BGP_STOPPED)
		return;
	p->phase = BGP_TRYING;
	p->drain = BGP_STAYING;
	p->failures = p->misses = 0;
	p->plain = false;
	try_connect(p, now);
}

static void cease(struct bgp_peer *p, struct bgp_conn *c, uint64_t now, unsigned sub, const char *why)
{
	if (up(c)) {
		struct wr w = bgp_conn_writer(c);
		bgp_write_cease(&w, sub, why);
		bgp_conn_written(p, c, &w, BGP_NOTIFICATION);
		note_notification(p, "sent", BGP_ERR((unsigned)BGP_CEASE, sub),
		                  rd_init(w.start + BGP_HEAD + 2, wr_len(&w) - BGP_HEAD - 2));
	}
	if (live(c))
		drop(p, c, now);
}

void bgp_peer_stop(struct bgp_peer *p, uint64_t now, unsigned sub, const char *why)
{
	bool reason = sub == BGP_SHUTDOWN || sub == BGP_RESET;
	p->phase = BGP_STOPPED;
	p->drain = BGP_STAYING;
	p->retry_ns = p->drain_ns = BGP_NEVER;
	for (unsigned i = 0; i < 2; i++)
		cease(p, &p->conn[i], now, sub, reason ? why : NULL);
}

void bgp_peer_drain(struct bgp_peer *p, uint64_t now, uint64_t wait_ns, const char *why)
{
	if (p->phase == BGP_STOPPED || p->drain != BGP_STAYING)
		return;
	if (!session(p)) {
		bgp_peer_stop(p, now, BGP_SHUTDOWN, why);
		return;
	}
	snprintf(p->why_stop, sizeof p->why_stop, "%s", why ? why : "");
	p->drain = BGP_LEAVING_SOON;
	p->drain_ns = now + wait_ns;
	settle(p, now);
}

void bgp_peer_bfd_down(struct bgp_peer *p, uint64_t now)
{
	if (!up(&p->conn[0]) && !up(&p->conn[1]))
		return;
	for (unsigned i = 0; i < 2; i++)
		cease(p, &p->conn[i], now, BGP_BFD_DOWN, NULL);
	lost(p, now, BGP_RESTING);
}

void bgp_peer_connected(struct bgp_peer *p, uint64_t now, const struct bgp_addr *local)
{
	struct bgp_conn *c = &p->conn[0];
	if (!live(c) || c->state != BGP_CONNECT || p->want_connect)
		return;
	p->retry_ns = BGP_NEVER;
	p->misses = 0;
	begin_open(c, now, local);
	say_open(p, c);
}

bool bgp_peer_incoming(struct bgp_peer *p, uint64_t now, const struct bgp_addr *local)
{
	struct bgp_conn *c = &p->conn[1], *mine = &p->conn[0];
	if (p->phase != BGP_TRYING || !(p->conf->mode & BGP_LISTEN))
		return false;
	if (c->state != BGP_IDLE) {
		/* a neighbour that starts anew finds its old connection gone next time */
		if (live(c) && c->state == BGP_OPENSENT && now - c->since_ns >= REPLACE_NS) {
			collide(p, c, now);
			lost(p, now, BGP_TRYING);
		}
		return false;
	}
	if (!live(mine))
		p->retry_ns = BGP_NEVER; /* one at a time, until this has failed */
	clear(c);
	begin_open(c, now, local);
	if (up(mine) && (mine->state == BGP_ESTABLISHED ||
	                 (mine->state == BGP_OPENCONFIRM && ours_stays(p, mine->id))))
		collide(p, c, now); /* no OPEN could change that */
	else
		say_open(p, c);
	return true;
}

void bgp_peer_failed(struct bgp_peer *p, uint64_t now, unsigned slot)
{
	struct bgp_conn *c = &p->conn[slot];
	if (c->state == BGP_IDLE)
		return;
	if (c->closing) {
		c->out_at = c->out_len = 0;
		return;
	}
	/* before its own OPEN is answered a neighbour may just not be ready: listen on */
	enum bgp_phase phase = c->state == BGP_OPENSENT ? BGP_TRYING : BGP_RESTING;
	bool none = c->state == BGP_CONNECT;
	p->trouble = none ? "no connection" : "connection closed by the neighbour";
	if (slot == 0)
		p->want_connect = false;
	cut(p, c, now);
	if (none)
		missed(p, now);
	else
		lost(p, now, phase);
}

void bgp_peer_received(struct bgp_peer *p, uint64_t now, unsigned slot, const uint8_t *b, size_t n)
{
	struct bgp_conn *c = &p->conn[slot];
	while (n && up(c)) {
		size_t part = sizeof c->in - c->in_len;
		if (part > n)
			part = n;
		memcpy(c->in + c->in_len, b, part);
		c->in_len += (unsigned)part;
		b += part;
		n -= part;
		read_messages(p, c, now);
	}
	settle(p, now);
}

static void tick_conn(struct bgp_peer *p, struct bgp_conn *c, uint64_t now)
{
	if (c->closing) {
		if (now >= c->close_ns)
			c->out_at = c->out_len = 0;
		return;
	}
	if (now >= c->stuck_ns) {
		note_notification(p, "not sent", BGP_ERR(8, 0), rd_init("", 0)); /* there's no room */
		cut(p, c, now);
		lost(p, now, BGP_RESTING);
		return;
	}
	if (now >= c->hold_ns) {
		fail(p, c, now, BGP_ERR(4, 0));
		return;
	}
	if (now >= c->keepalive_ns) {
		say_keepalive(p, c);
		rest_keepalive(p, c, now);
	}
}

static void tick_drain(struct bgp_peer *p, uint64_t now)
{
	if (p->drain == BGP_LEAVING_SOON) {
		p->drain = BGP_WITHDRAWN;
		p->drain_ns = now + WITHDRAWN_NS;
	} else {
		bgp_peer_stop(p, now, BGP_SHUTDOWN, p->why_stop);
	}
}

/* The pause is over, or the attempt has taken too long. */
static void tick_retry(struct bgp_peer *p, uint64_t now)
{
	p->retry_ns = BGP_NEVER;
	if (p->phase == BGP_STOPPED)
		return;
	p->phase = BGP_TRYING;
	if (p->conn[0].state == BGP_CONNECT && live(&p->conn[0])) {
		p->trouble = "no answer to the connection attempt";
		drop(p, &p->conn[0], now);
		missed(p, now);
		return;
	}
	try_connect(p, now);
}

void bgp_peer_tick(struct bgp_peer *p, uint64_t now)
{
	tick_conn(p, &p->conn[0], now);
	tick_conn(p, &p->conn[1], now);
	if (now >= p->retry_ns)
		tick_retry(p, now);
	if (now >= p->drain_ns)
		tick_drain(p, now);
	settle(p, now);
}

void bgp_peer_set(struct bgp_peer *p, uint64_t now, const struct bgp_set *set)
{
	bgp_tell_set(p, set);
	settle(p, now);
}

/* ---- what is to be done ---- */

enum bgp_do bgp_peer_next(struct bgp_peer *p, unsigned *slot)
{
	bool is_up = session(p) != NULL;
	*slot = 0;
	if (p->told_up && !is_up) {
		p->told_up = false;
		return BGP_WENT_DOWN;
	}
	for (unsigned i = 0; i < 2; i++) {
		struct bgp_conn *c = &p->conn[i];
		if (c->closing && c->out_at == c->out_len) {
			clear(c);
			*slot = i;
			return BGP_DO_CLOSE;
		}
	}
	if (p->want_connect) {
		p->want_connect = false;
		return BGP_DO_CONNECT;
	}
	if (!p->told_up && is_up) {
		p->told_up = true;
		return BGP_WENT_UP;
	}
	return BGP_NOTHING;
}

size_t bgp_peer_out(const struct bgp_peer *p, unsigned slot, const uint8_t **b)
{
	const struct bgp_conn *c = &p->conn[slot];
	*b = c->out + c->out_at;
	return c->out_len - c->out_at;
}

void bgp_peer_sent(struct bgp_peer *p, uint64_t now, unsigned slot, size_t n)
{
	struct bgp_conn *c = &p->conn[slot];
	if (n == 0)
		return;
	c->out_at += n < c->out_len - c->out_at ? (unsigned)n : c->out_len - c->out_at;
	if (c->out_at == c->out_len)
		c->out_at = c->out_len = 0;
	c->stuck_ns = BGP_NEVER; /* it moves */
	settle(p, now);
}

static uint64_t sooner(uint64_t a, uint64_t b) { return a < b ? a : b; }

uint64_t bgp_peer_due(const struct bgp_peer *p)
{
	uint64_t due = sooner(p->retry_ns, p->drain_ns);
	if (p->refresh && bgp_peer_session(p))
		due = sooner(due, p->refresh_ns);
	for (unsigned i = 0; i < 2; i++) {
		const struct bgp_conn *c = &p->conn[i];
		due = sooner(due, sooner(c->hold_ns, c->keepalive_ns));
		due = sooner(due, sooner(c->stuck_ns, c->close_ns));
	}
	return due;
}

/* ---- what there is to know ---- */

enum bgp_state bgp_peer_state(const struct bgp_peer *p)
{
	enum bgp_state s = p->phase == BGP_TRYING ? BGP_ACTIVE : BGP_IDLE;
	for (unsigned i = 0; i < 2; i++) {
		const struct bgp_conn *c = &p->conn[i];
		if (live(c) && (c->state > s || (c->state == BGP_CONNECT && s == BGP_ACTIVE)))
			s = c->state;
	}
	return s;
}

const char *bgp_state_name(enum bgp_state s)
{
	static const char *const names[] = { "Idle", "Connect", "Active", "OpenSent", "OpenConfirm",
	   "Established" };
	return names[s];
}

bool bgp_peer_over(const struct bgp_peer *p)
{
	return p->phase == BGP_STOPPED && p->conn[0].state == BGP_IDLE && p->conn[1].state == BGP_IDLE;
}

unsigned bgp_peer_announced(const struct bgp_peer *p)
{
	unsigned n = 0;
	for (unsigned i = 0; i < p->ntold; i++)
		n += p->told[i].told != BGP_SILENT;
	return n;
}

const struct bgp_conn *bgp_peer_session(const struct bgp_peer *p)
{
	for (unsigned i = 0; i < 2; i++)
		if (live(&p->conn[i]) && p->conn[i].state == BGP_ESTABLISHED)
			return &p->conn[i];
	return NULL;
}

static const char *family_words(const struct bgp_peer *p, const struct bgp_conn *c, uint8_t family)
{
	bool v4 = family == BGP_V4;
	if (!(p->conf->families & family))
		return "";
	if (!(c->agreed.families & family))
		return v4 ? "no IPv4 there, " : "no IPv6 there, ";
	if (!p->hop[family].family)
		return v4 ? "IPv4 without a next hop, " : "IPv6 without a next hop, ";
	return v4 ? "IPv4, " : "IPv6, ";
}

void bgp_peer_words(const struct bgp_peer *p, char *out, size_t size)
{
	const struct bgp_conn *c = bgp_peer_session(p);
	if (size)
		*out = 0;
	if (!c)
		return;
	snprintf(out, size, "%s%s%s%s%s%shold %u s", family_words(p, c, BGP_V4), family_words(p, c, BGP_V6),
	         c->agreed.as4 ? "4-octet AS, " : "2-octet AS, ",
	         c->agreed.refresh ? "route refresh, " : "",
	         c->agreed.enhanced_refresh ? "enhanced refresh, " : "",
	         bgp_tell_v4_in_mp(p) ? "IPv4 by IPv6 next hop, " : "", c->agreed.hold_s);
}
