/* speaker.c - the sockets and the clock of bgp.h: TCP connections of neighbours
 * in both directions, UDP of BFD.
 *
 * A neighbour has two connections at most, as bgp/fsm.h has it: slot 0 is ours,
 * slot 1 its own.  After each event everything that the machines ask for is done at
 * once (serve()), so a withdrawal waits for nothing.
 * Threat: strangers at our ports: only neighbours' addresses are let in, with MD5 and
 * GTSM the kernel drops the rest, and so does it with BFD from beyond the link before
 * that could fill the socket; neighbours, see bgp/fsm.c. */
#include "main/node.h"

#include "base/addr.h"
#include "base/log.h"

#include <errno.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PORT_FIRST 20000 /* of connections that we open */
#define PORT_LAST  40000
#define PORT_TRIES 64
#define BFD_PORT          3784 /* RFC 5881 section 4 */
#define BFD_PORT_MULTIHOP 4784 /* RFC 5883 section 5 */
#define BFD_PORT_FIRST    49152
#define READ_MAX   (16 * BGP_MAX) /* octets of a neighbour in one turn */
#define LAST_READS 16
#define BFD_BATCH  64
#define BFD_RETRY_NS BGP_SEC
#define STRANGER_NS 60000000000ull

struct neighbour;
/* A connection's socket. */
struct wire {
	struct src src;          /* fd -1: none */
	struct neighbour *nb;
	unsigned slot;
	bool connecting;
};

struct neighbour {
	struct speaker *sp;
	const struct route_peer *conf;
	struct bgp_peer *peer;
	const struct route_secret *secret;
	struct wire wire[2];
	int bfd_fd;              /* for sending; -1: none yet, or no BFD */
	uint64_t bfd_retry_ns;   /* when to try for one again; 0: not at all */
	struct bfd bfd;
	uint64_t since_wall;     /* Established, or not, since; seconds since 1970 */
	char trouble[100];       /* why the last attempt failed; "" */
	unsigned announced;      /* as last logged */
	char name[ADDR_TEXT];
};

struct door {
	struct src src;
	struct speaker *sp;
	bool multihop;           /* of BFD */
};

struct speaker {
	struct loop *loop;
	struct node *node;
	struct src timer;
	unsigned ndoors;
	struct door door[ROUTE_SOCKETS];
	struct neighbour nb[BGP_PEERS];
	struct bgp bgp;
	uint64_t stranger_ns;    /* when one was last mentioned */
	uint8_t in[READ_MAX];
};

/* ---- addresses ---- */

/* dev: the link of a link-local one. */
static socklen_t sockaddr_of(const struct bgp_addr *a, const char *dev, uint16_t port, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof *out);
	if (a->family == BGP_V6) {
		struct sockaddr_in6 *v6 = (void *)out;
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		memcpy(&v6->sin6_addr, a->b, 16);
		if (a->link) /* an interface that is not there: 0, and the kernel refuses */
			v6->sin6_scope_id = if_nametoindex(dev);
		return sizeof *v6;
	}
	struct sockaddr_in *v4 = (void *)out;
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	memcpy(&v4->sin_addr, a->b, 4);
	return sizeof *v4;
}

static struct bgp_addr addr_from(const struct sockaddr_storage *s)
{
	struct bgp_addr a = { 0 };
	if (s->ss_family == AF_INET6) {
		a.family = BGP_V6;
		memcpy(a.b, &((const struct sockaddr_in6 *)(const void *)s)->sin6_addr, 16);
	} else if (s->ss_family == AF_INET) {
		a.family = BGP_V4;
		memcpy(a.b, &((const struct sockaddr_in *)(const void *)s)->sin_addr, 4);
	}
	return a;
}

/* The neighbour's, with the number of its link where it is link-local. */
static struct bgp_addr neighbour_from(const struct route_peers *l, const struct sockaddr_storage *s)
{
	struct bgp_addr a = addr_from(s);
	char dev[IF_NAMESIZE];
	if (!bgp_addr_link_local(&a) || !if_indextoname(((const struct sockaddr_in6 *)(const void *)s)->sin6_scope_id, dev))
		return a;
	for (unsigned i = 0; i < l->n && !a.link; i++)
		if (strcmp(l->at[i].dev, dev) == 0)
			a.link = l->at[i].bgp.addr.link;
	return a;
}

static struct bgp_addr own_address(int fd)
{
	struct sockaddr_storage s = { .ss_family = AF_UNSPEC };
	socklen_t n = sizeof s;
	getsockname(fd, (struct sockaddr *)&s, &n);
	return addr_from(&s);
}

static uint64_t random64(void)
{
	uint64_t r;
	crypto_random(&r, sizeof r);
	return r;
}

/* ---- socket options ---- */

static int set_ttl(int fd, uint8_t family, int ttl, bool least)
{
	int r = family == BGP_V6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl, sizeof ttl)
	                         : setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
	if (r == 0 && least)
		r = family == BGP_V6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, &ttl, sizeof ttl)
		                     : setsockopt(fd, IPPROTO_IP, IP_MINTTL, &ttl, sizeof ttl);
	return r;
}

static int set_secret(int fd, const struct bgp_addr *peer, const struct route_secret *s)
{
	struct tcp_md5sig m;
	if (s->len == 0)
		return 0;
	memset(&m, 0, sizeof m);
	sockaddr_of(peer, "", 0, &m.tcpm_addr);
	m.tcpm_keylen = s->len;
	memcpy(m.tcpm_key, s->key, s->len);
	int r = setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &m, sizeof m);
	crypto_wipe(&m, sizeof m);
	return r;
}

/* What both directions have in common. */
static int prepare(int fd, const struct route_peer *p)
{
	int one = 1, class = IPTOS_CLASS_CS6; /* routing goes first */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (p->bgp.addr.family == BGP_V6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &class, sizeof class);
	else
		setsockopt(fd, IPPROTO_IP, IP_TOS, &class, sizeof class);
	if (p->gtsm)
		return set_ttl(fd, p->bgp.addr.family, 255, true);
	return p->ttl ? set_ttl(fd, p->bgp.addr.family, p->ttl, false) : 0;
}

/* Binds to our address and a port of the range that nobody has. */
static int bind_somewhere(int fd, const struct route_peer *p, unsigned first, unsigned last)
{
	struct bgp_addr any = { .family = p->bgp.addr.family };
	const struct bgp_addr *own = p->source.family ? &p->source : &any;
	struct sockaddr_storage s;
	for (unsigned i = 0; i < PORT_TRIES; i++) {
		socklen_t n = sockaddr_of(own, p->dev, (uint16_t)(first + random64() % (last - first + 1)), &s);
		if (bind(fd, (struct sockaddr *)&s, n) == 0)
			return 0;
		if (errno != EADDRINUSE)
			break;
	}
	return -1;
}

/* ---- before the fork ---- */

/* The secret is one line; the kernel takes up to 80 octets. */
static int read_secret(int fd, struct route_secret *out)
{
	uint8_t b[MD5_MAX + 2];
	size_t n = 0;
	ssize_t r;
	while (n < sizeof b && (r = read(fd, b + n, sizeof b - n)) != 0) {
		if (r < 0)
			return -1;
		n += (size_t)r;
	}
	n -= n && b[n - 1] == '\n';
	errno = EINVAL;
	if (n == 0 || n > MD5_MAX)
		return -1;
	out->len = (uint8_t)n;
	memcpy(out->key, b, n);
	crypto_wipe(b, sizeof b);
	return 0;
}

int route_read_secrets(struct node *n)
{
	const struct route_peers *l = &n->conf.route.peers;
	char text[ADDR_TEXT];
	if (l->n && !(n->route_secrets = calloc(l->n, sizeof *n->route_secrets))) {
		fprintf(stderr, "encdns: no memory\n");
		return 1;
	}
	crypto_lock(n->route_secrets, l->n * sizeof *n->route_secrets, "keys");
	for (unsigned i = 0; i < l->n; i++) {
		int fd = l->at[i].md5;
		if (fd < 0)
			continue;
		if (read_secret(fd, &n->route_secrets[i]) != 0) {
			fprintf(stderr, "encdns: bgp-peer %s, md5 fd:%d: %s; nothing was started\n",
			        route_peer_text(&l->at[i], text), fd,
			        errno == EINVAL ? "a line of 1 to 80 octets is wanted" : strerror(errno));
			return 1;
		}
		close(fd);
	}
	return 0;
}

/* What has passed a router (RFC 5881 section 5) never gets into the socket.  In vain on
 * a kernel without filters: bfd_receive() looks again. */
static void only_near(int fd, uint8_t family)
{
	struct sock_filter code[] = { { BPF_LD | BPF_B | BPF_ABS, 0, 0, (uint32_t)SKF_NET_OFF + (family == BGP_V6 ? 7 : 8) },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 255 },
		{ BPF_RET | BPF_K, 0, 0, UINT32_MAX },
		{ BPF_RET | BPF_K, 0, 0, 0 } };
	const struct sock_fprog filter = { sizeof code / sizeof *code, code };
	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

static int open_bound(const struct bgp_addr *a, const char *dev, uint16_t port, int type)
{
	struct sockaddr_storage s;
	socklen_t n = sockaddr_of(a, dev, port, &s);
	int one = 1, fd = socket(s.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (s.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	else if (s.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &one, sizeof one);
	else
		setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&s, n) == 0 && (type != SOCK_STREAM || listen(fd, 64) == 0))
		return fd;
	int e = errno;
	close(fd);
	errno = e;
	return -1;
}

static bool wants(const struct route_peer *p, int what)
{
	return what == ROUTE_LISTEN ? p->bgp.mode & BGP_LISTEN
	                            : p->bfd == (what == ROUTE_BFD ? BFD_ONE_HOP : BFD_MULTIHOP);
}

/* Where to wait for a neighbour: at its `source`; or at all addresses of the
 * family, as soon as one neighbour has no `source`. */
static struct bgp_addr place_for(const struct route_peers *l, const struct route_peer *p, int what)
{
	struct bgp_addr any = { .family = p->bgp.addr.family };
	for (unsigned i = 0; i < l->n; i++)
		if (wants(&l->at[i], what) && l->at[i].bgp.addr.family == any.family && !l->at[i].source.family)
			return any;
	return p->source;
}

/* Every neighbour's secret where it may knock; and where all of them are near, the
 * kernel lets nobody else knock. */
static int prepare_door(struct node *n, int fd, const struct bgp_addr *at)
{
	const struct route_peers *l = &n->conf.route.peers;
	bool near = false, far = false;
	for (unsigned i = 0; i < l->n; i++) {
		const struct route_peer *p = &l->at[i];
		if (p->bgp.addr.family != at->family)
			continue;
		if (set_secret(fd, &p->bgp.addr, &n->route_secrets[i]) != 0)
			return -1;
		near |= p->gtsm;
		far |= !p->gtsm;
	}
	if (near) /* the handshake's second packet has to pass the neighbour's check, too */
		set_ttl(fd, at->family, 255, !far);
	return 0;
}

static int open_one(struct node *n, unsigned which, int what, uint16_t port)
{
	const struct route_peers *l = &n->conf.route.peers;
	struct bgp_addr at = place_for(l, &l->at[which], what), other;
	for (unsigned i = 0; i < which; i++)
		if (wants(&l->at[i], what) &&
		    (other = place_for(l, &l->at[i], what), bgp_addr_same(&other, &at)))
			return 0; /* it's open already */
	int fd = open_bound(&at, l->at[which].dev, port, what == ROUTE_LISTEN ? SOCK_STREAM : SOCK_DGRAM);
	if (fd < 0)
		return -1;
	n->route_sockets[n->nroute_sockets++] = (struct route_socket){ fd, what };
	if (what == ROUTE_BFD)
		only_near(fd, at.family);
	return what == ROUTE_LISTEN ? prepare_door(n, fd, &at) : 0;
}

/* Is there a neighbour at this one's door that we may not call ourselves? */
static bool needs_door(const struct route_peers *l, const struct route_peer *p)
{
	struct bgp_addr at = place_for(l, p, ROUTE_LISTEN), other;
	for (unsigned i = 0; i < l->n; i++)
		if (l->at[i].bgp.mode == BGP_LISTEN &&
		    (other = place_for(l, &l->at[i], ROUTE_LISTEN), bgp_addr_same(&other, &at)))
			return true;
	return false;
}

/* A neighbour that we may call ourselves does without our listening. */
static int complain_open(const struct route_peers *l, const struct route_peer *p, int what, uint16_t port)
{
	char text[ADDR_TEXT];
	int e = errno;
	bool taken = e == EADDRINUSE || e == EACCES;
	bool fatal = what != ROUTE_LISTEN || needs_door(l, p) || !taken;
	route_peer_text(p, text);
	if (!fatal) {
		log_say(LOG_WARNING, "bgp-port %u: %s; so neighbour %s can't call us, we call it", port,
		        strerror(e), text);
		return 0;
	}
	fprintf(stderr, "encdns: bgp-peer %s, %s port %u: %s; nothing was started\n", text,
	        what == ROUTE_LISTEN ? "TCP" : "BFD, UDP", port, strerror(e));
	return 1;
}

int route_open(struct node *n)
{
	const struct route_peers *l = &n->conf.route.peers;
	const uint16_t port[] = { [ROUTE_LISTEN] = (uint16_t)n->conf.route.port, [ROUTE_BFD] = BFD_PORT,
		[ROUTE_BFD_MULTIHOP] = BFD_PORT_MULTIHOP };
	for (int what = ROUTE_LISTEN; what <= ROUTE_BFD_MULTIHOP; what++)
		for (unsigned i = 0; i < l->n; i++)
			if (wants(&l->at[i], what) && open_one(n, i, what, port[what]) != 0 &&
			    complain_open(l, &l->at[i], what, port[what]) != 0)
				return 1;
	return 0;
}

void route_close_sockets(struct node *n)
{
	for (unsigned i = 0; i < n->nroute_sockets; i++)
		close(n->route_sockets[i].fd);
	n->nroute_sockets = 0;
	if (n->route_secrets)
		crypto_wipe(n->route_secrets, n->conf.route.peers.n * sizeof *n->route_secrets);
}

/* ---- connections ---- */

static void wire_wake(struct src *s, uint32_t got, uint64_t now);

static void wire_close(struct wire *w)
{
	if (w->src.fd < 0)
		return;
	/* what is unread would turn the end into a reset, and our last words with it; but
	 * who goes on sending does not keep us */
	shutdown(w->src.fd, SHUT_WR);
	for (unsigned i = 0; i < LAST_READS; i++)
		if (recv(w->src.fd, w->nb->sp->in, sizeof w->nb->sp->in, MSG_DONTWAIT) <= 0)
			break;
	loop_del(w->nb->sp->loop, &w->src);
	close(w->src.fd);
	w->src.fd = -1;
	w->connecting = false;
}

static int wire_open(struct wire *w, int fd, uint32_t want)
{
	w->src.fd = fd;
	w->src.want = want;
	w->src.due_ns = LOOP_NEVER;
	w->src.wake = wire_wake;
	if (loop_add(w->nb->sp->loop, &w->src) == 0)
		return 0;
	w->src.fd = -1;
	return -1;
}

static int call(struct neighbour *nb)
{
	const struct route_peer *p = nb->conf;
	struct sockaddr_storage to;
	socklen_t n = sockaddr_of(&p->bgp.addr, p->dev, p->port, &to);
	int one = 1, fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (prepare(fd, p) == 0 && set_secret(fd, &p->bgp.addr, nb->secret) == 0 &&
	    bind_somewhere(fd, p, PORT_FIRST, PORT_LAST) == 0 &&
	    (connect(fd, (struct sockaddr *)&to, n) == 0 || errno == EINPROGRESS) &&
	    wire_open(&nb->wire[0], fd, EPOLLOUT) == 0) {
		nb->wire[0].connecting = true;
		return 0;
	}
	int e = errno;
	close(fd);
	errno = e;
	return -1;
}

static void say_up(struct neighbour *nb)
{
	char words[200];
	bgp_peer_words(nb->peer, words, sizeof words);
	nb->since_wall = (uint64_t)time(NULL);
	log_limited(LOG_NOTICE, "BGP neighbour %s is Established: %s", nb->name, words);
}

static void do_next(struct neighbour *nb, enum bgp_do what, unsigned slot, uint64_t now)
{
	switch (what) {
	case BGP_DO_CONNECT:
		*nb->trouble = 0;
		if (call(nb) != 0) {
			snprintf(nb->trouble, sizeof nb->trouble, "%s", strerror(errno));
			bgp_peer_failed(nb->peer, now, 0);
		}
		break;
	case BGP_DO_CLOSE:
		wire_close(&nb->wire[slot]);
		break;
	case BGP_WENT_UP:
		*nb->trouble = 0;
		say_up(nb);
		break;
	case BGP_WENT_DOWN:
		nb->since_wall = (uint64_t)time(NULL);
		nb->announced = 0;
		log_limited(LOG_WARNING, "BGP neighbour %s is down: %s", nb->name,
		            nb->peer->trouble ? nb->peer->trouble : nb->peer->last);
		break;
	case BGP_NOTHING:
		break;
	}
}

/* Writes what the socket takes; true: something has changed. */
static bool flush_wire(struct wire *w, uint64_t now)
{
	struct bgp_peer *p = w->nb->peer;
	const uint8_t *b;
	size_t n;
	bool moved = false;
	if (w->src.fd < 0 || w->connecting)
		return false;
	while ((n = bgp_peer_out(p, w->slot, &b)) > 0) {
		ssize_t r = send(w->src.fd, b, n, MSG_NOSIGNAL);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0 && errno == EAGAIN)
			break;
		if (r < 0) {
			bgp_peer_failed(p, now, w->slot);
			return true;
		}
		bgp_peer_sent(p, now, w->slot, (size_t)r);
		moved = true;
	}
	loop_want(w->nb->sp->loop, &w->src, EPOLLIN | (n ? (uint32_t)EPOLLOUT : 0));
	return moved;
}

static void send_bfd(struct neighbour *nb, uint64_t now)
{
	uint8_t b[BFD_LEN];
	size_t n;
	while (nb->bfd_fd >= 0 && (n = bfd_output(&nb->bfd, now, b)) > 0)
		send(nb->bfd_fd, b, n, MSG_NOSIGNAL); /* a loss is what BFD is for */
}

static void say_announced(struct neighbour *nb)
{
	unsigned n = bgp_peer_announced(nb->peer);
	if (n != nb->announced)
		log_limited(LOG_NOTICE, "BGP neighbour %s has now been told %u of our %u prefixes", nb->name,
		            n, nb->sp->bgp.set.n);
	nb->announced = n;
}

/* All that a neighbour's machines want done. */
static void serve_one(struct neighbour *nb, uint64_t now)
{
	bool moved;
	do {
		unsigned slot;
		enum bgp_do what;
		moved = false;
		while ((what = bgp_peer_next(nb->peer, &slot)) != BGP_NOTHING) {
			do_next(nb, what, slot, now);
			moved = true;
		}
		for (unsigned i = 0; i < 2; i++)
			moved |= flush_wire(&nb->wire[i], now);
	} while (moved);
	say_announced(nb);
	send_bfd(nb, now);
}

/* When BFD of this neighbour has something to do. */
static uint64_t bfd_wants(const struct neighbour *nb)
{
	if (nb->bfd_fd >= 0)
		return bfd_due(&nb->bfd);
	return nb->bfd_retry_ns ? nb->bfd_retry_ns : LOOP_NEVER;
}

static void serve(struct speaker *s, uint64_t now)
{
	uint64_t due;
	for (unsigned i = 0; i < s->bgp.npeers; i++)
		serve_one(&s->nb[i], now);
	due = bgp_due(&s->bgp);
	for (unsigned i = 0; i < s->bgp.npeers; i++)
		if (bfd_wants(&s->nb[i]) < due)
			due = bfd_wants(&s->nb[i]);
	loop_due(s->loop, &s->timer, due);
}

static void note_link(struct neighbour *nb, const struct bgp_addr *own)
{
	route_link(nb->conf->dev, own, &nb->conf->bgp.addr, &nb->peer->link_global, &nb->peer->link_local);
}

static void finish_call(struct wire *w, uint64_t now)
{
	struct neighbour *nb = w->nb;
	int e = 0;
	socklen_t n = sizeof e;
	if (getsockopt(w->src.fd, SOL_SOCKET, SO_ERROR, &e, &n) != 0)
		e = errno;
	w->connecting = false;
	if (e == 0) {
		struct bgp_addr own = own_address(w->src.fd);
		note_link(nb, &own);
		bgp_peer_connected(nb->peer, now, &own);
	} else {
		snprintf(nb->trouble, sizeof nb->trouble, "%s", strerror(e));
		bgp_peer_failed(nb->peer, now, w->slot);
	}
}

static void wire_wake(struct src *src, uint32_t got, uint64_t now)
{
	struct wire *w = SRC_OWNER(src, struct wire, src);
	struct speaker *s = w->nb->sp;
	if (w->connecting) {
		finish_call(w, now);
	} else if (got & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		ssize_t n = recv(src->fd, s->in, sizeof s->in, 0);
		if (n > 0)
			bgp_peer_received(w->nb->peer, now, w->slot, s->in, (size_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			bgp_peer_failed(w->nb->peer, now, w->slot);
	}
	serve(s, now);
}

static struct neighbour *neighbour_at(struct speaker *s, const struct bgp_addr *a)
{
	const struct bgp_peer *p = bgp_find_peer(&s->bgp, a);
	return p ? &s->nb[p - s->bgp.peer] : NULL;
}

/* Who is it?  NULL: nobody whom we know, which is said now and then. */
static struct neighbour *greet(struct speaker *s, const struct bgp_addr *a, uint64_t now)
{
	struct neighbour *nb = neighbour_at(s, a);
	char text[ADDR_TEXT];
	if (!nb && now - s->stranger_ns > STRANGER_NS) { /* not to drown what matters */
		log_say(LOG_WARNING, "BGP: %s is no neighbour of ours", bgp_addr_text(a, text));
		s->stranger_ns = now;
	}
	return nb;
}

/* The machine is asked also when its place is taken: an older connection that says
 * nothing gives way in time. */
static bool let_in(struct neighbour *nb, int fd, const struct bgp_addr *own, uint64_t now)
{
	bool here = !nb->conf->source.family || bgp_addr_same(own, &nb->conf->source);
	if (!here || prepare(fd, nb->conf) != 0 || !bgp_peer_incoming(nb->peer, now, own))
		return false;
	if (wire_open(&nb->wire[1], fd, EPOLLIN) != 0) {
		bgp_peer_failed(nb->peer, now, 1);
		return false;
	}
	if (bgp_peer_state(nb->peer) != BGP_ESTABLISHED)
		note_link(nb, own);
	return true;
}

static void knock_wake(struct src *src, uint32_t got, uint64_t now)
{
	struct speaker *s = SRC_OWNER(src, struct door, src)->sp;
	struct sockaddr_storage from = { .ss_family = AF_UNSPEC };
	socklen_t n = sizeof from;
	(void)got;
	int fd = accept4(src->fd, (struct sockaddr *)&from, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	struct bgp_addr a = neighbour_from(&s->node->conf.route.peers, &from), own = own_address(fd);
	struct neighbour *nb = greet(s, &a, now);
	own.link = a.link;
	if (!nb || !let_in(nb, fd, &own, now))
		close(fd);
	if (nb)
		serve(s, now);
}

/* ---- BFD ---- */

static unsigned ttl_of(struct msghdr *m)
{
	int ttl = 0;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h))
		if ((h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_TTL) ||
		    (h->cmsg_level == IPPROTO_IPV6 && h->cmsg_type == IPV6_HOPLIMIT))
			memcpy(&ttl, CMSG_DATA(h), sizeof ttl);
	return (unsigned)ttl;
}

/* By address; `yours` is checked by the session itself. */
static void hear_bfd(struct speaker *s, const struct bgp_addr *from, bool multihop, const uint8_t *b, size_t n,
                     unsigned ttl, uint64_t now)
{
	struct neighbour *nb = neighbour_at(s, from);
	if (!nb || nb->bfd_fd < 0 || nb->bfd.conf.multihop != multihop)
		return;
	switch (bfd_receive(&nb->bfd, now, b, n, ttl)) {
	case BFD_WENT_UP:
		log_limited(LOG_NOTICE, "BFD with %s is Up", nb->name);
		break;
	case BFD_FAILED:
		log_limited(LOG_WARNING, "BFD with %s is Down: %s", nb->name, bfd_diag_words(nb->bfd.diag));
		bgp_peer_bfd_down(nb->peer, now);
		break;
	case BFD_CLOSED:
		log_limited(LOG_NOTICE, "BFD with %s was shut down over there", nb->name);
		break;
	case BFD_NOTHING:
		break;
	}
}

static void bfd_wake(struct src *src, uint32_t got, uint64_t now)
{
	struct door *d = SRC_OWNER(src, struct door, src);
	union { struct cmsghdr head; uint8_t room[CMSG_SPACE(64)]; } control;
	(void)got;
	for (unsigned i = 0; i < BFD_BATCH; i++) {
		struct sockaddr_storage from = { .ss_family = AF_UNSPEC };
		uint8_t b[256];
		struct iovec v = { b, sizeof b };
		struct msghdr m;
		memset(&m, 0, sizeof m);
		m.msg_name = &from;
		m.msg_namelen = sizeof from;
		m.msg_iov = &v;
		m.msg_iovlen = 1;
		m.msg_control = control.room;
		m.msg_controllen = sizeof control.room;
		ssize_t n = recvmsg(src->fd, &m, MSG_DONTWAIT);
		if (n < 0)
			break;
		struct bgp_addr a = neighbour_from(&d->sp->node->conf.route.peers, &from);
		hear_bfd(d->sp, &a, d->multihop, b, (size_t)n, ttl_of(&m), now);
	}
	serve(d->sp, now);
}

/* A socket that sends to the neighbour, or -1. */
static int open_bfd(const struct route_peer *p)
{
	struct sockaddr_storage to;
	socklen_t n = sockaddr_of(&p->bgp.addr, p->dev, p->bfd == BFD_MULTIHOP ? BFD_PORT_MULTIHOP : BFD_PORT, &to);
	int class = IPTOS_CLASS_CS6, fd = socket(to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (p->bgp.addr.family == BGP_V6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &class, sizeof class);
	else
		setsockopt(fd, IPPROTO_IP, IP_TOS, &class, sizeof class);
	if (set_ttl(fd, p->bgp.addr.family, 255, false) == 0 &&
	    bind_somewhere(fd, p, BFD_PORT_FIRST, 65535) == 0 && connect(fd, (struct sockaddr *)&to, n) == 0)
		return fd;
	int e = errno;
	close(fd);
	errno = e;
	return -1;
}

/* Not 0, unique, and no stranger can guess it. */
static uint32_t choose_discriminator(const struct neighbour *nb)
{
	uint32_t d;
	do {
		d = (uint32_t)random64();
		for (unsigned i = 0; i < nb->sp->bgp.npeers; i++)
			if (&nb->sp->nb[i] != nb && nb->sp->nb[i].bfd.conf.discriminator == d)
				d = 0;
	} while (d == 0);
	return d;
}

/* As long as there is no way to the neighbour (its interface may come up after
 * us) again and again: a session without its BFD would not be what was asked for. */
static void start_bfd(struct neighbour *nb, uint64_t now)
{
	const struct route_peer *p = nb->conf;
	bool first = nb->bfd_retry_ns == 0;
	if (p->bfd == BFD_OFF)
		return;
	nb->bfd_fd = open_bfd(p);
	nb->bfd_retry_ns = nb->bfd_fd < 0 ? now + BFD_RETRY_NS : 0;
	if (nb->bfd_fd < 0) {
		if (first)
			log_say(LOG_WARNING, "BFD with %s can't begin yet: %s", nb->name, strerror(errno));
		return;
	}
	struct bfd_conf c = { .discriminator = choose_discriminator(nb), .min_tx_us = p->bfd_tx_ms * 1000,
		.min_rx_us = p->bfd_rx_ms * 1000, .mult = (uint8_t)p->bfd_mult,
		.multihop = p->bfd == BFD_MULTIHOP };
	bfd_init(&nb->bfd, &c, random64());
	bfd_start(&nb->bfd, now);
}

static void tick_bfd(struct neighbour *nb, uint64_t now)
{
	if (nb->bfd_retry_ns && now >= nb->bfd_retry_ns)
		start_bfd(nb, now);
	if (nb->bfd_fd < 0 || bfd_tick(&nb->bfd, now) != BFD_FAILED)
		return;
	log_limited(LOG_WARNING, "BFD with %s is Down: %s", nb->name, bfd_diag_words(nb->bfd.diag));
	bgp_peer_bfd_down(nb->peer, now);
}

/* ---- life ---- */

static void on_timer(struct src *src, uint32_t got, uint64_t now)
{
	struct speaker *s = SRC_OWNER(src, struct speaker, timer);
	(void)got;
	bgp_tick(&s->bgp, now);
	for (unsigned i = 0; i < s->bgp.npeers; i++)
		tick_bfd(&s->nb[i], now);
	serve(s, now);
}

static void add_neighbour(struct speaker *s, const struct route_peer *p, const struct route_secret *secret)
{
	unsigned i = s->bgp.npeers;
	struct neighbour *nb = &s->nb[i];
	const char *why = bgp_add_peer(&s->bgp, &p->bgp, random64());
	if (why)
		bug(why); /* route_check() has let it pass */
	*nb = (struct neighbour){ .sp = s, .conf = p, .peer = &s->bgp.peer[i], .secret = secret, .bfd_fd = -1 };
	for (unsigned k = 0; k < 2; k++)
		nb->wire[k] = (struct wire){ .src = { .fd = -1, .due_ns = LOOP_NEVER }, .nb = nb, .slot = k };
	route_peer_text(p, nb->name);
	nb->since_wall = (uint64_t)time(NULL);
}

struct speaker *speaker_new(struct loop *l, struct node *n)
{
	const struct route_conf *c = &n->conf.route;
	struct speaker *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	s->loop = l;
	s->node = n;
	bgp_init(&s->bgp);
	for (unsigned i = 0; i < c->prefixes.n; i++)
		bgp_add_prefix(&s->bgp, &c->prefixes.at[i]);
	for (unsigned i = 0; i < c->peers.n; i++)
		add_neighbour(s, &c->peers.at[i], &n->route_secrets[i]);
	s->timer = (struct src){ .fd = -1, .due_ns = LOOP_NEVER, .wake = on_timer };
	if (loop_add(l, &s->timer) != 0)
		return NULL;
	for (unsigned i = 0; i < n->nroute_sockets; i++) {
		const struct route_socket *r = &n->route_sockets[i];
		struct door *d = &s->door[s->ndoors++];
		*d = (struct door){ .sp = s, .multihop = r->what == ROUTE_BFD_MULTIHOP };
		d->src = (struct src){ .fd = r->fd,
			               .want = EPOLLIN,
			               .due_ns = LOOP_NEVER,
			               .wake = r->what == ROUTE_LISTEN ? knock_wake : bfd_wake };
		if (loop_add(l, &d->src) != 0)
			return NULL;
	}
	return s;
}

void speaker_start(struct speaker *s, uint64_t now)
{
	for (unsigned i = 0; i < s->bgp.npeers; i++)
		start_bfd(&s->nb[i], now);
	bgp_start(&s->bgp, now);
	serve(s, now);
}

void speaker_announce(struct speaker *s, uint64_t now, enum bgp_level level)
{
	bgp_announce_all(&s->bgp, now, level);
	serve(s, now);
}

void speaker_drain(struct speaker *s, uint64_t now, uint64_t wait_ns, const char *why)
{
	bgp_drain(&s->bgp, now, wait_ns, why);
	serve(s, now);
}

void speaker_stop(struct speaker *s, uint64_t now, const char *why)
{
	bgp_stop(&s->bgp, now, why);
	serve(s, now);
	speaker_stop_bfd(s, now);
}

/* BFD goes last: while it is Up the neighbour believes in our last words. */
bool speaker_over(const struct speaker *s) { return bgp_over(&s->bgp); }

void speaker_stop_bfd(struct speaker *s, uint64_t now)
{
	for (unsigned i = 0; i < s->bgp.npeers; i++)
		if (s->nb[i].bfd_fd >= 0)
			bfd_stop(&s->nb[i].bfd, now);
	serve(s, now);
}

static void tell_bfd(const struct neighbour *nb, char *out, size_t n)
{
	const struct bfd *b = &nb->bfd;
	if (nb->conf->bfd == BFD_OFF || nb->bfd_fd < 0)
		snprintf(out, n, "%s", nb->conf->bfd == BFD_OFF ? "" : "no way to the neighbour yet");
	else if (b->state == BFD_UP)
		snprintf(out, n, "Up, every %u ms, gone after %u ms", (unsigned)(bfd_interval_ns(b) / 1000000),
		         (unsigned)(bfd_detection_ns(b) / 1000000));
	else
		snprintf(out, n, "%s%s%s", bfd_state_name(b->state), b->diag ? ": " : "",
		         b->diag ? bfd_diag_words(b->diag) : "");
}

void speaker_tell(const struct speaker *s, struct route_told *out)
{
	out->npeers = s->bgp.npeers;
	out->nprefixes = s->bgp.set.n;
	for (unsigned i = 0; i < s->bgp.set.n; i++) {
		char text[ADDR_TEXT];
		struct bgp_addr a = { .family = s->bgp.set.prefix[i].family };
		memcpy(a.b, s->bgp.set.prefix[i].b, sizeof a.b);
		snprintf(out->prefix[i], sizeof out->prefix[i], "%s/%u", bgp_addr_text(&a, text),
		         s->bgp.set.prefix[i].len);
	}
	for (unsigned i = 0; i < s->bgp.npeers; i++) {
		const struct neighbour *nb = &s->nb[i];
		struct route_peer_told *t = &out->peer[i];
		memset(t, 0, sizeof *t);
		snprintf(t->peer, sizeof t->peer, "%s", nb->name);
		snprintf(t->state, sizeof t->state, "%s", bgp_state_name(bgp_peer_state(nb->peer)));
		bgp_peer_words(nb->peer, t->agreed, sizeof t->agreed);
		snprintf(t->last, sizeof t->last, "%s", nb->peer->last);
		if (nb->peer->trouble)
			snprintf(t->trouble, sizeof t->trouble, "%s%s%s", nb->peer->trouble,
			         *nb->trouble ? ": " : "", nb->trouble);
		tell_bfd(nb, t->bfd, sizeof t->bfd);
		t->as = nb->conf->bgp.peer_as;
		t->announced = bgp_peer_announced(nb->peer);
		t->since = nb->since_wall;
		t->up = bgp_peer_state(nb->peer) == BGP_ESTABLISHED;
	}
}
