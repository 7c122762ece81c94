/* gate.c - port 22: connections and limits.  Contract in gate.h; what a certified
 * operator says is session.c's.
 *
 * States of a connection: handshake -> session -> ending -> free.
 * Threat: strangers.  Everything is of a fixed size: so many handshakes at a time,
 * so many from one network, each with so much time; a newcomer takes the place of
 * one that has said nothing yet, else of any, chosen by lot.  What they send is read
 * by TLS alone.  Only one operator at a time is listened to, and whose certificate
 * comes with wrong messages has to wait. */
#include "main/gate.h"

#include "base/log.h"
#include "main/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEC            1000000000ull
#define HANDSHAKES     64u
#define SESSIONS       4u          /* certified at a time: one is listened to, the others are turned away */
#define PER_NET        8u          /* handshakes from one /24 or /56 */
#define HANDSHAKE_NS   (10 * SEC)
#define CROWDED_NS     (7 * SEC / 4) /* the same while others wait: with a tick, 2 s */
#define IDLE_NS        (120 * SEC) /* of a session, without a whole message */
#define ENDING_NS      (2 * SEC)   /* for its last words to go out */
#define TICK_NS        (SEC / 4)
#define ACCEPTS        64u         /* in one turn */
#define TURN_OCTETS    65536u
#define FAILURES       5u          /* of one certificate, */
#define FAILURE_NS     (60 * SEC)  /* and then it waits so long */
#define CULPRITS       32u

struct conn {
	struct src src;          /* fd -1: free */
	struct gate *gate;
	struct tls *tls;
	struct session *session; /* NULL: handshake */
	uint8_t net[16];         /* of the client: /24 or /56 */
	char from[64];
	uint64_t born_ns;
	bool spoke;              /* something came */
	bool closing;            /* close_notify is on its way */
	bool counted;            /* its failure is on record */
};

struct listener {
	struct src src;
	struct gate *gate;
};

struct culprit { uint8_t who[32]; unsigned failures; uint64_t last_ns; };

struct gate {
	struct loop *loop;
	struct gate_conf conf;
	const struct gate_calls *calls;
	void *owner;
	struct listener listener[BOOT_ADDRS];
	struct src tick;
	struct conn conn[HANDSHAKES + SESSIONS];
	struct conn *one;        /* who is listened to */
	struct culprit culprit[CULPRITS];
};

static void wake(struct src *s, uint32_t got, uint64_t now);

/* ---- ends ---- */

static void drop(struct conn *c)
{
	if (c->src.fd < 0)
		return;
	struct gate *g = c->gate;
	bool unlocked = c->session && session_unlocked(c->session);
	loop_del(g->loop, &c->src);
	close(c->src.fd);
	session_free(c->session);
	tls_free(c->tls);
	if (g->one == c)
		g->one = NULL;
	*c = (struct conn){ .src = { .fd = -1 }, .gate = g };
	if (unlocked)
		g->calls->unlocked(g->owner);
}

/* Its handshake came to nothing: it is said, if it spoke at all.  Whose line broke, or who
 * was slow, may be an operator: only what no operator's program says is a stranger(). */
static void lost(struct conn *c, const char *how)
{
	if (!c->session && c->spoke)
		log_limited(LOG_WARNING, "%s %s before it was known who it is", c->from, how);
	drop(c);
}

/* It spoke, and is not certified. */
static void stranger(struct conn *c, const char *why)
{
	struct gate *g = c->gate;
	char from[sizeof c->from];
	bool spoke = c->spoke;
	memcpy(from, c->from, sizeof from);
	drop(c);
	if (!spoke)
		return;
	log_limited(LOG_WARNING, "%s is no operator: %s", from, why);
	if (g->calls->stranger)
		g->calls->stranger(g->owner);
}

/* ---- failures ---- */

static struct culprit *culprit_of(struct gate *g, const uint8_t pub[static SIGN_PUB], bool make)
{
	uint8_t who[32];
	struct culprit *oldest = g->culprit;
	sha256(pub, SIGN_PUB, who);
	for (struct culprit *c = g->culprit; c < g->culprit + CULPRITS; c++) {
		if (c->failures && memcmp(c->who, who, sizeof who) == 0)
			return c;
		if (c->last_ns < oldest->last_ns)
			oldest = c;
	}
	if (!make)
		return NULL;
	*oldest = (struct culprit){ .failures = 0 };
	memcpy(oldest->who, who, sizeof who);
	return oldest;
}

static void count_failure(struct gate *g, const struct tls_peer *p, uint64_t now)
{
	struct culprit *c = culprit_of(g, p->pub, true);
	if (now - c->last_ns > FAILURE_NS)
		c->failures = 0;
	c->failures++;
	c->last_ns = now;
	if (c->failures == FAILURES)
		log_say(LOG_WARNING, "operator %s has failed %u times: not listened to for %llu s", p->name,
		        FAILURES, FAILURE_NS / SEC);
}

static bool has_to_wait(struct gate *g, const struct tls_peer *p, uint64_t now)
{
	const struct culprit *c = culprit_of(g, p->pub, false);
	return c && c->failures >= FAILURES && now - c->last_ns < FAILURE_NS;
}

/* ---- a connection's turn ---- */

static void wake_session(void *conn)
{
	struct conn *c = conn;
	loop_due(c->gate->loop, &c->src, loop_now());
}

/* The handshake is through, and it is an operator's certificate. */
static bool begin_session(struct conn *c, uint64_t now)
{
	struct gate *g = c->gate;
	struct session_conf sc = { &g->conf, g->calls, g->owner, wake_session };
	const struct tls_peer *peer = tls_peer(c->tls);
	unsigned sessions = 0;
	for (struct conn *o = g->conn; o < g->conn + HANDSHAKES + SESSIONS; o++)
		sessions += o->src.fd >= 0 && o->session;
	c->session = sessions < SESSIONS ? session_new(&sc, c->tls, c->from, c, now) : NULL;
	if (!c->session) {
		drop(c);
		return false;
	}
	bool waits = has_to_wait(g, peer, now);
	if (!waits && g->one && strcmp(session_peer(g->one->session)->name, peer->name) == 0)
		drop(g->one); /* the same person once more */
	if (waits) {
		session_turn_away(c->session, "too many failures: wait a minute");
	} else if (g->one) {
		char text[200];
		snprintf(text, sizeof text, "busy with %.180s", session_who(g->one->session));
		session_turn_away(c->session, text);
	} else {
		g->one = c;
		log_limited(LOG_NOTICE, "%s is connected", session_who(c->session));
	}
	return true;
}

/* Octets of the wire into TLS; false: the connection is gone. */
static bool take_wire(struct conn *c)
{
	for (size_t taken = 0; taken < TURN_OCTETS;) {
		size_t room;
		uint8_t *to = tls_wire_in(c->tls, &room);
		if (!to)
			return true;
		ssize_t n = recv(c->src.fd, to, room, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0) {
			lost(c, "broke off");
			return false;
		}
		c->spoke = true;
		taken += (size_t)n;
		tls_wire_in_done(c->tls, (size_t)n);
		if (tls_closed(c->tls) || (!c->session && tls_ready(c->tls)))
			return true;
	}
	return true;
}

static bool send_wire(struct conn *c)
{
	const uint8_t *p;
	size_t n;
	while ((p = tls_wire_out(c->tls, &n)) != NULL) {
		ssize_t w = send(c->src.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return errno == EAGAIN;
		tls_wire_out_done(c->tls, (size_t)w);
	}
	return true;
}

static void set_want(struct conn *c)
{
	size_t n;
	uint32_t want = (tls_wire_in(c->tls, &n) ? (uint32_t)EPOLLIN : 0) |
	                (tls_wire_out(c->tls, &n) ? (uint32_t)EPOLLOUT : 0);
	if (want != c->src.want)
		loop_want(c->gate->loop, &c->src, want);
}

static void wake(struct src *s, uint32_t got, uint64_t now)
{
	struct conn *c = SRC_OWNER(s, struct conn, src);
	size_t n;
	loop_due(c->gate->loop, s, LOOP_NEVER);
	if (got && !take_wire(c))
		return;
	if (!send_wire(c)) { /* the handshake ends with our own last words */
		lost(c, "broke off");
		return;
	}
	if (!c->session && tls_ready(c->tls) && !begin_session(c, now))
		return;
	bool idle = c->session && session_turn(c->session, now);
	if (!send_wire(c)) {
		drop(c);
		return;
	}
	if (c->session && session_failed(c->session) && !c->counted) {
		c->counted = true;
		count_failure(c->gate, session_peer(c->session), now);
	}
	if (tls_closed(c->tls)) {
		const char *why = tls_error(c->tls);
		if (c->session)
			drop(c);
		else
			stranger(c, why ? why : "it ended the session");
		return;
	}
	if (c->session && idle && session_ending(c->session) && !tls_wire_out(c->tls, &n)) {
		if (!c->closing)
			tls_close(c->tls);
		c->closing = true;
		if (!send_wire(c) || !tls_wire_out(c->tls, &n)) {
			drop(c);
			return;
		}
	}
	set_want(c);
}

/* ---- newcomers ---- */

static unsigned below(unsigned n)
{
	uint32_t r;
	crypto_random(&r, sizeof r);
	return r % n;
}

/* One of the handshakes by lot, from this network (NULL: any), and of those who
 * have said nothing yet, if there are any. */
static struct conn *victim(struct gate *g, const uint8_t *net)
{
	struct conn *of[2] = { NULL, NULL };
	unsigned n[2] = { 0, 0 };
	for (struct conn *c = g->conn; c < g->conn + HANDSHAKES + SESSIONS; c++)
		if (c->src.fd >= 0 && !c->session && (!net || memcmp(c->net, net, sizeof c->net) == 0) &&
		    below(++n[c->spoke]) == 0)
			of[c->spoke] = c;
	return of[0] ? of[0] : of[1];
}

static unsigned handshakes(const struct gate *g, const uint8_t *net)
{
	unsigned n = 0;
	for (const struct conn *c = g->conn; c < g->conn + HANDSHAKES + SESSIONS; c++)
		n += c->src.fd >= 0 && !c->session && (!net || memcmp(c->net, net, sizeof c->net) == 0);
	return n;
}

/* Who it is: its network in net, its address in words. */
static void name_peer(struct conn *c, const struct sockaddr_storage *a)
{
	char host[INET6_ADDRSTRLEN] = "?";
	unsigned port = 0;
	if (a->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)a;
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
		memcpy(c->net, &v4->sin_addr, 3);
		port = ntohs(v4->sin_port);
	} else {
		const struct sockaddr_in6 *v6 = (const void *)a;
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
		c->net[15] = 6; /* no IPv4 network */
		memcpy(c->net, &v6->sin6_addr, 7);
		port = ntohs(v6->sin6_port);
	}
	snprintf(c->from, sizeof c->from, "%s@%u", host, port);
}

static void newcomer(struct gate *g, int fd, const struct sockaddr_storage *a, uint64_t now)
{
	struct conn who = { .src = { .fd = fd, .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = wake },
		            .gate = g,
		            .born_ns = now };
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	name_peer(&who, a);
	if (handshakes(g, who.net) >= PER_NET)
		drop(victim(g, who.net));
	else if (handshakes(g, NULL) >= HANDSHAKES)
		drop(victim(g, NULL));
	struct conn *c = g->conn;
	while (c->src.fd >= 0)
		c++;
	who.tls = tls_server(g->conf.machine->cred, ROLE_OPERATOR);
	if (who.tls) {
		*c = who;
		if (loop_add(g->loop, &c->src) == 0)
			return;
		*c = (struct conn){ .src = { .fd = -1 }, .gate = g };
	}
	tls_free(who.tls);
	close(fd);
}

static void on_accept(struct src *s, uint32_t got, uint64_t now)
{
	struct listener *l = SRC_OWNER(s, struct listener, src);
	(void)got;
	for (unsigned i = 0; i < ACCEPTS; i++) {
		struct sockaddr_storage a = { 0 };
		socklen_t n = sizeof a;
		int fd = accept4(s->fd, (struct sockaddr *)&a, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		newcomer(l->gate, fd, &a, now);
	}
}

/* ---- time ---- */

static bool overdue(const struct conn *c, bool crowded, uint64_t now)
{
	if (!c->session)
		return now - c->born_ns > (crowded ? CROWDED_NS : HANDSHAKE_NS);
	return now - session_since(c->session) > (session_ending(c->session) ? ENDING_NS : IDLE_NS);
}

static void expire(struct conn *c)
{
	if (c->session && !session_ending(c->session))
		log_limited(LOG_NOTICE, "%s: no whole message for %llu s: the session is over",
		            session_who(c->session), IDLE_NS / SEC);
	lost(c, "was too slow");
}

static void on_tick(struct src *s, uint32_t got, uint64_t now)
{
	struct gate *g = SRC_OWNER(s, struct gate, tick);
	bool crowded = handshakes(g, NULL) >= HANDSHAKES;
	(void)got;
	for (struct conn *c = g->conn; c < g->conn + HANDSHAKES + SESSIONS; c++)
		if (c->src.fd >= 0 && now > c->born_ns && overdue(c, crowded, now))
			expire(c);
	loop_due(g->loop, s, now + TICK_NS);
}

/* ---- life ---- */

struct gate *gate_new(struct loop *l, const struct gate_conf *c, const struct gate_calls *calls, void *owner)
{
	struct gate *g = calloc(1, sizeof *g);
	if (!g)
		return NULL;
	g->loop = l;
	g->conf = *c;
	g->calls = calls;
	g->owner = owner;
	for (unsigned i = 0; i < HANDSHAKES + SESSIONS; i++)
		g->conn[i] = (struct conn){ .src = { .fd = -1 }, .gate = g };
	g->tick = (struct src){ .fd = -1, .due_ns = loop_now() + TICK_NS, .wake = on_tick };
	loop_add(l, &g->tick); /* a timer alone can't fail */
	for (unsigned i = 0; i < BOOT_ADDRS; i++)
		g->listener[i] = (struct listener){ .src = { .fd = -1 }, .gate = g };
	for (unsigned i = 0; i < c->nsocks && i < BOOT_ADDRS; i++) {
		g->listener[i].src = (struct src){
			.fd = c->socks[i], .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = on_accept
		};
		if (loop_add(l, &g->listener[i].src) != 0) {
			int e = errno;
			g->listener[i].src.fd = -1;
			gate_free(g);
			errno = e;
			return NULL;
		}
	}
	return g;
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	for (unsigned i = 0; i < BOOT_ADDRS; i++)
		if (g->listener[i].src.fd >= 0)
			loop_del(g->loop, &g->listener[i].src);
	loop_del(g->loop, &g->tick);
	for (unsigned i = 0; i < HANDSHAKES + SESSIONS; i++)
		drop(g->conn + i);
	free(g);
}
