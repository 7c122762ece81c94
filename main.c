/* main.c - encdns: the command line, the configuration, the supervisor, the run
 * levels.
 *
 * `encdns run` becomes encdns-super.  It reads the configuration and the keys,
 * opens the store's descriptors and all sockets, forks encdns-control,
 * encdns-dns and (with neighbours) encdns-route and starts each again when it
 * dies.  It parses nothing from the network.
 *
 * States of a child: running -> dead -> running, after a pause that grows while
 * it dies before it was of use.  A dns that stands still for 3 s is killed.  A
 * control that can't even begin at the very first start ends the node.
 * Stop: TERM to route, which leaves its neighbours in order; once it has gone (or
 * at the second signal, or too late) TERM to all, KILL after 5 s.
 * Threat: the children, who may be taken over: what they say is only believed
 * to be a sequence, a descriptor or a wish to stop. */
#include "main/node.h"

#include "base/addr.h"
#include "base/ctl.h"
#include "base/log.h"
#include "base/sandbox.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "0.1"
#endif

#define PEM_MAX        65536
#define STOP_NS        5000000000ull
#define WATCH_NS       500000000ull
#define STILL_LOOKS    6
#define PAUSE_MIN_NS   20000000ull
#define PAUSE_MAX_NS   5000000000ull

static const char usage[] =
	"encdns: an authoritative DNS server that keeps its zones encrypted\n"
	"\n"
	"  encdns run --dir DIR --conf FILE --key fd:N   run a node in the foreground\n"
	"  encdns run --ad-hoc [--port PORT]             answer from a stream on stdin, in memory:\n"
	"                encdns-hub stream ORIGIN=ZONEFILE... | encdns run --ad-hoc --port 5300\n"
	"  encdns status --dir DIR [--json]              where a running node stands\n"
	"  encdns check --dir DIR | --store PATH --key fd:N [--json]\n"
	"                is the store of a stopped node sound? 0: yes, 1: damaged, 2: it can't be told\n"
	"  encdns checkconf FILE                         is this configuration right?\n"
	"  encdns --help keys                            what a configuration file may say\n"
	"  encdns --version\n"
	"\n"
	"The key is 64 hex digits or 32 octets, read from the descriptor to its end.\n";

/* ---- configuration ---- */

/* Answers have to leave from the address they were asked at. */
static int take_service(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	const struct conf_addrs *l = at;
	uint8_t raw[16] = { 0 };
	static const uint8_t any[16], mapped[12] = { [10] = 0xff, [11] = 0xff };
	if (conf_addr(k, at, v, err, n) != 0)
		return -1;
	if (l->n == 0)
		return 0;
	const char *host = l->at[l->n - 1].host;
	bool six = inet_pton(AF_INET, host, raw) != 1 && inet_pton(AF_INET6, host, raw) == 1;
	if (memcmp(raw, any, 16) == 0) {
		snprintf(err, n, "%s wants one address, not %s for all: name each", k->key, host);
		return -1;
	}
	if (six && memcmp(raw, mapped, sizeof mapped) == 0) {
		snprintf(err, n, "%s wants an IPv4 address as such, not \"%s\"", k->key, host);
		return -1;
	}
	return 0;
}

/* An address without a port. */
static int take_host(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	char text[80];
	if (*v == 0)
		return conf_addr(k, at, v, err, n);
	if (strchr(v, '@') || snprintf(text, sizeof text, "%s@1", v) >= (int)sizeof text ||
	    take_service(k, at, text, err, n) != 0) {
		snprintf(err, n, "%s wants one IPv4 or IPv6 address, without a port, not \"%.80s\"", k->key, v);
		return -1;
	}
	return 0;
}

/* An address, or one with the number of bits that count, for an allow-list. */
static int take_net(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	struct net_list *l = at;
	struct rrl_net net = { .len = 4 };
	struct conf_key range = { .key = k->key, .min = 0 };
	char host[64] = "", *bits;
	uint64_t x;
	if (*v == 0) { /* the default: an empty list */
		l->n = 0;
		return 0;
	}
	snprintf(host, sizeof host, "%s", v);
	if ((bits = strchr(host, '/')) != NULL)
		*bits++ = 0;
	bool fits = strlen(v) < sizeof host;
	if (fits && inet_pton(AF_INET, host, net.ip) != 1 && inet_pton(AF_INET6, host, net.ip) == 1) {
		net.len = 16;
	} else if (!fits || inet_pton(AF_INET, host, net.ip) != 1) {
		snprintf(err, n, "%s wants an address or ADDRESS/BITS, not \"%.80s\"", k->key, v);
		return -1;
	}
	range.max = x = net.len * 8u;
	if (bits && conf_number(&range, &x, bits, err, n) != 0)
		return -1;
	if (l->n == RRL_ALLOW_MAX) {
		snprintf(err, n, "%s: no more than %u of them", k->key, RRL_ALLOW_MAX);
		return -1;
	}
	net.bits = (uint8_t)x;
	l->at[l->n++] = net;
	return 0;
}

static int take_rrl(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	static const char *const words[] = {
		[LIMIT_NOBODY] = "off", [LIMIT_REMOTE] = "remote", [LIMIT_ALL] = "on",
	};
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(v, words[i]) == 0) {
			*(enum rrl_scope *)at = (enum rrl_scope)i;
			return 0;
		}
	snprintf(err, n, "%s wants on, remote or off, not \"%.80s\"", k->key, v);
	return -1;
}

const struct conf_key node_keys[] = {
	{ "service", take_service, offsetof(struct node_conf, service), "", "ADDRESS@PORT",
	  "Address that queries are answered at, over UDP and TCP.", 0, CONF_ADDRS, true },
	{ "admin", take_host, offsetof(struct node_conf, admin), "", "ADDRESS",
	  "Address of this machine that must not look like a name server's: at the service's ports, "
	  "UDP is silent and TCP refused.", 0, CONF_ADDRS, true },
	{ "hub", conf_addr, offsetof(struct node_conf, hub), "", "ADDRESS@PORT",
	  "Journal server, in order of preference.", 0, JOURNAL_HUBS, true },
	{ "credentials", conf_fd, offsetof(struct node_conf, credentials), "", "fd:N",
	  "Descriptor to read the node's certificate, chain and private key (PEM) from.", 0, 0, false },
	{ "workers", conf_number, offsetof(struct node_conf, workers), "0", "NUMBER",
	  "Threads that answer; 0: one for each processor the process may use.", 0, WORKERS_MAX, false },
	{ "pin", conf_yes, offsetof(struct node_conf, pin), "off", "on|off",
	  "Ties each worker to a processor of its own, when there are as many.", 0, 0, false },
	{ "udp-size", conf_number, offsetof(struct node_conf, udp_size), "1232", "OCTETS",
	  "Largest answer over UDP to clients that speak EDNS.", 512, DNS_UDP_MAX, false },
	{ "tcp-connections", conf_number, offsetof(struct node_conf, tcp_connections), "1024", "NUMBER",
	  "TCP connections of one worker; when all are in use the longest idle one is closed.", 1, 65536, false },
	{ "tcp-per-client", conf_number, offsetof(struct node_conf, tcp_per_client), "64", "NUMBER",
	  "Of these, for one IPv4 address or IPv6 /56; one more takes the place of its longest idle one.", 1, 65536, false },
	{ "tcp-idle", conf_number, offsetof(struct node_conf, tcp_idle), "10", "SECONDS",
	  "Time after which a TCP connection is closed that had no whole query, or whose answers are not read.", 1, 3600, false },
	{ "identity", conf_text, offsetof(struct node_conf, identity), "", "TEXT",
	  "Which node this is, told by NSID and id.server. Without it nothing is told.", 0, 64, false },
	{ "version", conf_text, offsetof(struct node_conf, version), "", "TEXT",
	  "What version.server tells. Without it nothing is told.", 0, 64, false },
	{ "cookie-secret", conf_fd, offsetof(struct node_conf, cookie_secret), "", "fd:N",
	  "Descriptor to read the secret of DNS cookies from, 32 hex digits; a second line is the previous one. Without it: random at each start.", 0, 0, false },
	{ "cookie-required", conf_yes, offsetof(struct node_conf, need_cookie), "off", "on|off",
	  "Answer a client that sends a cookie over UDP by BADCOOKIE until it is one of ours.", 0, 0, false },
	{ "rrl", take_rrl, offsetof(struct node_conf, rrl), "remote", "on|remote|off",
	  "Response rate limiting over UDP; remote: of all but this machine's own loopback. Clients with a good cookie are not limited.", 0, 0, false },
	{ "rrl-rate", conf_number, offsetof(struct node_conf, rrl_rate), "200", "NUMBER",
	  "Answers a second to one network for one name or one referral; a second's worth may come at once.", 1, 100000, false },
	{ "rrl-zone-rate", conf_number, offsetof(struct node_conf, rrl_zone_rate), "1000", "NUMBER",
	  "The same for what many names share: negative answers and errors of one zone, answers from one wildcard or DNAME.", 1, 100000, false },
	{ "rrl-total-rate", conf_number, offsetof(struct node_conf, rrl_total_rate), "0", "NUMBER",
	  "The same for all answers to one network together; 0: no such limit.", 0, 100000, false },
	{ "rrl-slip", conf_number, offsetof(struct node_conf, rrl_slip), "2", "NUMBER",
	  "One of so many answers over a limit is replaced by TC, or BADCOOKIE; the others are dropped. 0: all are.", 0, 100, false },
	{ "rrl-ipv4-prefix", conf_number, offsetof(struct node_conf, rrl_bits4), "24", "BITS",
	  "How much of an IPv4 address is a network.", 1, 32, false },
	{ "rrl-ipv6-prefix", conf_number, offsetof(struct node_conf, rrl_bits6), "56", "BITS",
	  "How much of an IPv6 address is a network.", 1, 64, false },
	{ "rrl-accounts", conf_number, offsetof(struct node_conf, rrl_accounts), "131072", "NUMBER",
	  "What each worker counts at a time, in 8 octets each: networks times names.", 8, 1 << 27, false },
	{ "rrl-allow", take_net, offsetof(struct node_conf, rrl_allow), "", "ADDRESS[/BITS]",
	  "A network that is never limited.", 0, 0, true },
	{ "bgp-peer", take_bgp_peer, offsetof(struct node_conf, route.peers), "", "ADDRESS as NUMBER [WORD VALUE]...",
	  "Neighbour that is told our prefixes, while this node answers. In any order behind the address:\n"
	  "      as NUMBER               its AS; ours: iBGP (needed)\n"
	  "      port N                  where it listens (179)\n"
	  "      mode dial|listen|both   who opens the connection (both)\n"
	  "      hold S, retry S         hold time (90), first pause after a failure (5)\n"
	  "      gtsm on|off, ttl N      TTL 255 both ways (off), or the TTL of what we send\n"
	  "      md5 fd:N                descriptor to read the secret of TCP MD5 from\n"
	  "      source ADDRESS          our own address\n"
	  "      families v4,v6          what to speak of (those of the prefixes)\n"
	  "      v4-by-v6 on             IPv4 prefixes by an IPv6 next hop\n"
	  "      next-hop ADDRESS        instead of our own address; one of each family\n"
	  "      med N, prepend N, local-pref N (100), community A:B, large A:B:C\n"
	  "      less-prepend N (3), less-local-pref N (50)   while this node is not at its best\n"
	  "      role customer|provider|peer|rs|rs-client, role-strict on   what we are (RFC 9234)\n"
	  "      bfd on|off|multihop, bfd-tx MS (300), bfd-rx MS (300), bfd-mult N (3)",
	  0, 0, true },
	{ "bgp-as", conf_number, offsetof(struct node_conf, route.as), "0", "NUMBER",
	  "Our AS; needed with bgp-peer.", 0, UINT32_MAX, false },
	{ "bgp-id", take_bgp_id, offsetof(struct node_conf, route.id), "", "ADDRESS",
	  "Our BGP identifier; without it the first service address that is IPv4.", 0, 0, false },
	{ "bgp-port", conf_number, offsetof(struct node_conf, route.port), "179", "NUMBER",
	  "TCP port at which neighbours may call us; 0: none may.", 0, 65535, false },
	{ "bgp-prefix", take_bgp_prefix, offsetof(struct node_conf, route.prefixes), "", "PREFIX/BITS",
	  "What neighbours are told while this node answers.", 0, 0, true },
	{ "bgp-loopback", conf_yes, offsetof(struct node_conf, route.loopback), "off", "on|off",
	  "Put service addresses that this machine lacks on its loopback interface, and take them away at the end.", 0, 0, false },
	{ "bgp-stale", conf_number, offsetof(struct node_conf, route.stale), "300", "SECONDS",
	  "After so long without a sign of life of the journal, prefixes are announced as a second choice only; 0: never.", 0, 1 << 30, false },
	{ "bgp-drain", conf_number, offsetof(struct node_conf, route.drain), "5", "SECONDS",
	  "At a planned stop: time between graceful shutdown (RFC 8326) and withdrawal.", 0, 600, false },
	{ "store", conf_text, offsetof(struct node_conf, store), "", "PATH",
	  "The store: a file, or a raw partition. Without it: DIR/store.", 0, PATH_MAX, false },
	{ "store-reserve", conf_size, offsetof(struct node_conf, store_reserve), "0", "SIZE",
	  "Address space set aside for the store, its largest size; 0: 1T (1G on 32-bit machines).", 0, UINT64_MAX, false },
};
const size_t node_nkeys = sizeof node_keys / sizeof *node_keys;

static int complain(const char *what)
{
	fprintf(stderr, "encdns: %s\n", what);
	return 1;
}

static int wrong_usage(const char *what)
{
	fprintf(stderr, "encdns: %s\nTry: encdns --help\n", what);
	return 2;
}

static unsigned processors(void)
{
	cpu_set_t set;
	unsigned n = 1;
	if (sched_getaffinity(0, sizeof set, &set) == 0)
		n = (unsigned)CPU_COUNT(&set);
	return n < WORKERS_MAX ? n : WORKERS_MAX;
}

/* Reads and checks all; the number of mistakes, each said. */
static int read_conf(const char *path, struct node_conf *c)
{
	memset(c, 0, sizeof *c);
	int wrong = conf_read(path, node_keys, node_nkeys, c, &conf_say_stderr);
	static const struct { const char *key; size_t off; } wanted[] = {
		{ "service", offsetof(struct node_conf, service) }, { "hub", offsetof(struct node_conf, hub) },
	};
	for (size_t i = 0; path && i < 2; i++)
		if (((struct conf_addrs *)(void *)((char *)c + wanted[i].off))->n == 0) {
			fprintf(stderr, "%s: at least one line \"%s ADDRESS@PORT\" is wanted\n", path, wanted[i].key);
			wrong++;
		}
	if (path && c->credentials < 0) {
		fprintf(stderr, "%s: a line \"credentials fd:N\" is wanted\n", path);
		wrong++;
	}
	if (c->workers == 0)
		c->workers = processors();
	wrong += path ? route_check(&c->route, &c->service, path) : 0;
	return wrong + admin_check(c, path);
}

/* ---- what is made before the children ---- */

#define UNFRAGMENTED 1400 /* octets that pass everywhere but through odd tunnels */

/* Answers of the usual sizes are not to be fragmented, and what an ICMP message
 * says of the path is not believed (RFC 9715 section 3.1). */
static void no_fragments(int fd, uint64_t udp_size)
{
	int v4 = udp_size <= UNFRAGMENTED ? IP_PMTUDISC_PROBE : IP_PMTUDISC_OMIT;
	int v6 = udp_size <= UNFRAGMENTED ? IPV6_PMTUDISC_PROBE : IPV6_PMTUDISC_OMIT;
	/* that of the other family fails, and means nothing */
	setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &v6, sizeof v6);
	setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &v4, sizeof v4);
}

/* What the kernel keeps for a socket: room for bursts over UDP; over TCP an
 * answer or two for those who read slowly, and a client's few queries
 * (connections inherit it from the listener). */
static int open_socket(const struct conf_addr *a, bool tcp, uint64_t udp_size)
{
	int in = tcp ? 16 << 10 : 4 << 20, out = 64 << 10;
	int fd = addr_open(a, tcp ? SOCK_STREAM : SOCK_DGRAM, ADDR_SHARED | ADDR_V6ONLY);
	if (fd < 0)
		return fd;
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &in, sizeof in);
	if (tcp)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &out, sizeof out);
	else
		no_fragments(fd, udp_size);
	return fd;
}

/* Connections need descriptors: as many as we may have, and no more
 * connections than that. */
static void fit_descriptors(struct node_conf *c)
{
	struct rlimit l;
	uint64_t other = 64 + 2 * c->service.n * c->workers, want = c->tcp_connections * c->workers + other;
	if (getrlimit(RLIMIT_NOFILE, &l) != 0 || l.rlim_cur >= want)
		return;
	l.rlim_cur = l.rlim_max < want ? l.rlim_max : want;
	if (setrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur == want)
		return;
	uint64_t fit = l.rlim_cur > other ? (l.rlim_cur - other) / c->workers : 0;
	c->tcp_connections = fit ? fit : 1;
	log_say(LOG_WARNING, "tcp-connections is %llu: the limit of open files (ulimit -n) allows no more",
	        (unsigned long long)c->tcp_connections);
}

/* Another server on the port would share it silently (SO_REUSEPORT): ask first. */
static bool port_taken(const struct conf_addr *a)
{
	int fd = addr_open(a, SOCK_DGRAM, ADDR_V6ONLY);
	if (fd < 0)
		return errno == EADDRINUSE;
	close(fd);
	return false;
}

static int open_sockets(struct node *n)
{
	const struct conf_addrs *l = &n->conf.service;
	n->sockets = calloc(l->n * n->conf.workers * 2, sizeof *n->sockets);
	if (!n->sockets)
		return complain("no memory");
	for (unsigned i = 0; i < l->n; i++) {
		const struct conf_addr *a = &l->at[i];
		bool taken = port_taken(a);
		for (unsigned w = 0; w < n->conf.workers * 2; w++) {
			int fd = taken ? -1 : open_socket(a, w & 1, n->conf.udp_size);
			if (taken)
				errno = EADDRINUSE;
			if (fd < 0 && n->ad_hoc && strchr(a->host, ':') && errno != EADDRINUSE)
				break; /* a machine without IPv6 */
			if (fd < 0) {
				fprintf(stderr, "encdns: service %s@%u: %s; nothing was started\n", a->host, a->port, strerror(errno));
				return 1;
			}
			n->sockets[n->nsockets++] = (struct node_socket){ fd, w & 1, w / 2 };
		}
	}
	return 0;
}

static int open_store(struct node *n)
{
	char fdpath[64];
	if (n->ad_hoc) {
		n->store_rw = memfd_create("encdns-store", MFD_CLOEXEC);
		snprintf(fdpath, sizeof fdpath, "/proc/self/fd/%d", n->store_rw);
		n->store_ro = open(fdpath, O_RDONLY | O_CLOEXEC);
		if (n->store_ro < 0) /* no /proc: the readers get the same descriptor */
			n->store_ro = dup(n->store_rw);
		return n->store_rw < 0 || n->store_ro < 0 ? complain(strerror(errno)) : 0;
	}
	if (*n->conf.store == 0)
		snprintf(n->conf.store, sizeof n->conf.store, "%.4000s/store", n->dir);
	n->store_rw = open(n->conf.store, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	n->store_ro = open(n->conf.store, O_RDONLY | O_CLOEXEC);
	if (n->store_rw >= 0 && n->store_ro >= 0)
		return 0;
	fprintf(stderr, "encdns: %s: %s\n", n->conf.store, strerror(errno));
	return 1;
}

/* Only what is used of it is memory. */
static int make_pages(struct node *n)
{
	size_t size = n->conf.workers * WORKER_STEP;
	n->pages_fd = memfd_create("encdns-workers", MFD_CLOEXEC);
	if (n->pages_fd < 0 || ftruncate(n->pages_fd, (off_t)size) != 0)
		return complain(strerror(errno));
	n->pages = mmap(NULL, size, PROT_READ, MAP_SHARED, n->pages_fd, 0);
	return n->pages == MAP_FAILED ? complain(strerror(errno)) : 0;
}

/* ---- the supervisor ---- */

struct super;
struct child {
	struct src src;          /* its channel */
	struct super *super;
	const char *name;
	pid_t pid;               /* 0: not running */
	bool ready;              /* it has done something useful since it was born */
	uint64_t pause_ns, again; /* again: when to start it, 0: it runs */
};

struct super {
	struct node node;
	struct loop loop;
	struct child child[CHILDREN];
	struct src signals, timer;
	struct key *key;
	struct blob *cred;
	char *title;             /* argv's memory, for names */
	size_t title_len;
	struct src watch;
	uint64_t turns[WORKERS_MAX]; /* of the workers, when last looked at */
	uint64_t route_turns;
	unsigned route_still;
	int zones_fd;            /* the newest list of zones, for a new route; -1: none */
	bool remember;           /* node.health is news */
	unsigned still;          /* looks in a row at which a worker had not moved */
	bool begun;              /* control has opened its store at least once */
	struct fill fill;
	uint64_t kill_at;        /* stopping: when patience ends */
	_Atomic bool stop;
	bool stopping, leaving;  /* leaving: route says good-bye, then we stop */
	int code;
};

static int make_route_page(struct node *n)
{
	n->route_fd = -1;
	if (n->conf.route.peers.n == 0)
		return 0;
	n->route_fd = memfd_create("encdns-route", MFD_CLOEXEC);
	if (n->route_fd < 0 || ftruncate(n->route_fd, sizeof *n->route_page) != 0)
		return complain(strerror(errno));
	n->route_page = mmap(NULL, sizeof *n->route_page, PROT_READ, MAP_SHARED, n->route_fd, 0);
	return n->route_page == MAP_FAILED ? complain(strerror(errno)) : 0;
}

static void set_name(struct super *s, const char *name)
{
	memset(s->title, 0, s->title_len);
	snprintf(s->title, s->title_len, "%s", name);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	log_name(name);
}

static int channel(int out[2])
{
	struct timeval patience = { 2, 0 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, out) != 0)
		return -1;
	for (int i = 0; i < 2; i++) /* a stuck reader must not stop the other */
		setsockopt(out[i], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	return 0;
}

/* A channel from one child to the other, an end to each. */
static void introduce(struct super *s)
{
	int pair[2];
	if (!s->child[CONTROL].pid || !s->child[DNS].pid || s->node.filling || channel(pair) != 0)
		return;
	for (int i = CONTROL; i <= DNS; i++) {
		msg_send(s->child[i].src.fd, MSG_PEER, NULL, 0, pair[i]);
		close(pair[i]);
	}
}

static void to_route(struct super *s, enum node_msg type, const void *p, size_t n, int pass)
{
	if (s->child[ROUTE].pid)
		msg_send(s->child[ROUTE].src.fd, type, p, n, pass);
}

/* To route: does this child live? */
static void tell_route(struct super *s, enum node_child which)
{
	uint8_t p[2] = { (uint8_t)which, s->child[which].pid != 0 };
	to_route(s, MSG_CHILD, p, sizeof p, -1);
}

/* All that its predecessor knew. */
static void introduce_route(struct super *s)
{
	tell_route(s, CONTROL);
	if (s->zones_fd >= 0)
		to_route(s, MSG_ZONES, NULL, 0, s->zones_fd);
	tell_route(s, DNS);
}

static void tell_memory(struct super *s)
{
	uint8_t p[MEMORY_LEN];
	memory_pack(&s->node.health, p);
	if (s->child[CONTROL].pid)
		msg_send(s->child[CONTROL].src.fd, MSG_MEMORY, p, sizeof p, -1);
}

/* Keeps the newest `keep` roots only. */
static void forget_roots(struct node *n, unsigned keep)
{
	while (n->nroots > keep) {
		close(n->roots[0]);
		memmove(n->roots, n->roots + 1, --n->nroots * sizeof *n->roots);
	}
}

/* In the child: nothing of the supervisor's that it has no business with. */
static void become(struct super *s, int which, pid_t parent)
{
	sigset_t none;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	set_name(s, s->child[which].name);
	close(s->loop.ep);
	close(s->signals.fd);
	if (s->zones_fd >= 0)
		close(s->zones_fd);
	for (int i = 0; i < CHILDREN; i++)
		if (s->child[i].src.fd >= 0)
			close(s->child[i].src.fd);
	if (which != ROUTE) {
		crypto_wipe(s->node.route_secrets, s->node.conf.route.peers.n * sizeof *s->node.route_secrets);
		route_close_sockets(&s->node);
		close(s->node.route_fd);
	}
	if (which != CONTROL) {
		close(s->node.store_rw);
		s->node.store_rw = -1;
		forget_roots(&s->node, 0);
		if (s->node.ad_hoc)
			close(0);
	}
	if (which == DNS) {
		munmap((void *)(uintptr_t)s->node.pages, s->node.conf.workers * WORKER_STEP);
	} else {
		if (s->node.filling)
			forget_roots(&s->node, 0); /* of another file */
		close(s->node.pages_fd);
		close(s->node.store_ro);
		s->node.store_ro = -1;
		crypto_wipe(s->node.cookie_keys, sizeof s->node.cookie_keys);
		for (size_t i = 0; i < s->node.nsockets; i++)
			close(s->node.sockets[i].fd);
	}
	for (size_t i = 0; i < s->node.nsilent; i++)
		close(s->node.silent[i]);
	if (crypto_init() != 0)
		_exit(1);
	lock_memory(&s->node);
	if (which == DNS)
		crypto_wipe_on_crash(false);
}

static void from_child(struct src *src, uint32_t got, uint64_t now);

static int give_secrets(struct super *s, int key_fd, int cred_fd)
{
	if (key_send(s->key, key_fd) != 0)
		return -1;
	return cred_fd >= 0 ? blob_send(s->cred, cred_fd) : 0;
}

static void close_pair(const int p[2])
{
	for (int i = 0; i < 2; i++)
		if (p[i] >= 0)
			close(p[i]);
}

/* The next try comes ever later. */
static void put_off(struct child *c, uint64_t now)
{
	c->again = now + c->pause_ns;
	c->pause_ns = c->pause_ns * 2 + PAUSE_MIN_NS;
	if (c->pause_ns > PAUSE_MAX_NS)
		c->pause_ns = PAUSE_MAX_NS;
}

static _Noreturn void leave_child(struct node *n, int code)
{
	wipe_memory(n);
	_exit(code);
}

static void start(struct super *s, int which, uint64_t now)
{
	struct child *c = s->child + which;
	int up[2] = { -1, -1 }, key[2] = { -1, -1 }, cred[2] = { -1, -1 };
	bool control = which == CONTROL;
	pid_t self = getpid(), pid = -1;
	if (channel(up) == 0 && (!control || channel(key) == 0) &&
	    (!control || !s->cred || pipe2(cred, O_CLOEXEC) == 0))
		pid = fork();
	if (pid < 0) {
		log_say(LOG_ERROR, "%s can't be started: %s", c->name, strerror(errno));
		put_off(c, now);
		close_pair(up);
		close_pair(key);
		close_pair(cred);
		return;
	}
	if (pid == 0) {
		become(s, which, self);
		close(up[0]);
		if (!control)
			leave_child(&s->node, which == DNS ? service_main(&s->node, up[1]) : route_main(&s->node, up[1]));
		close(key[0]);
		if (cred[1] >= 0)
			close(cred[1]);
		leave_child(&s->node, control_main(&s->node, up[1], key[1], cred[0]));
	}
	close(up[1]);
	c->src = (struct src){ .fd = up[0], .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = from_child };
	c->pid = pid;
	c->again = 0;
	c->ready = false;
	if (loop_add(&s->loop, &c->src) != 0) {
		log_say(LOG_ERROR, "%s can't be heard: %s", c->name, strerror(errno));
		kill(pid, SIGKILL); /* and started again */
	}
	if (control) {
		close(key[1]);
		if (cred[0] >= 0)
			close(cred[0]);
		if (give_secrets(s, key[0], cred[1]) != 0)
			log_say(LOG_ERROR, "%s did not take its keys", c->name);
		close(key[0]);
		if (cred[1] >= 0)
			close(cred[1]);
	}
	if (which == ROUTE) {
		introduce_route(s);
	} else {
		tell_route(s, (enum node_child)which);
		introduce(s);
	}
	if (control && s->remember)
		tell_memory(s);
}

static void begin_stop(struct super *s, uint64_t now)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->leaving = false;
	s->kill_at = now + STOP_NS;
	for (int i = 0; i < CHILDREN; i++)
		if (s->child[i].pid)
			kill(s->child[i].pid, SIGTERM);
	loop_due(&s->loop, &s->timer, s->kill_at);
}

/* The planned stop: first nobody is sent here any more, then nothing is answered. */
static void leave(struct super *s, uint64_t now)
{
	if (s->stopping || s->leaving || !s->child[ROUTE].pid) {
		begin_stop(s, now);
		return;
	}
	s->leaving = true;
	s->kill_at = now + s->node.conf.route.drain * 1000000000ull + STOP_NS;
	kill(s->child[ROUTE].pid, SIGTERM);
	loop_due(&s->loop, &s->timer, s->kill_at);
}

static void restart_dns(struct super *s)
{
	if (s->child[DNS].pid)
		kill(s->child[DNS].pid, SIGKILL);
	forget_roots(&s->node, 0);
}

/* The new store stands where the damaged one stood. */
static void filled(struct super *s)
{
	struct node *n = &s->node;
	bool other = fill_done(&s->fill, n);
	forget_roots(n, 0);
	if (s->fill.root >= 0)
		n->roots[n->nroots++] = s->fill.root;
	s->fill.root = -1;
	log_say(LOG_NOTICE, "a new store was filled from the hub and is in use");
	if (other && s->child[DNS].pid)
		kill(s->child[DNS].pid, SIGTERM); /* what it has begun to answer goes out; its successor has the new file */
	else
		introduce(s);
}

/* A store that can't be mended in its place; true: control is to be started on
 * another one. */
static bool refill(struct super *s, int status, uint64_t now)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	if (s->node.filling && code == EXIT_FULL && s->fill.beside)
		fill_full(&s->fill, &s->node);
	else if (s->node.filling || (code != EXIT_HARMED && code != STORE_EXIT_DAMAGED) || !fill_begin(&s->fill, &s->node, now))
		return false;
	if (s->fill.dropped && s->child[DNS].pid)
		kill(s->child[DNS].pid, SIGKILL);
	return true;
}

/* False: nothing that control has to say. */
static bool hear_control(struct super *s, struct msg *m, uint64_t now)
{
	struct node *n = &s->node;
	if (m->type == MSG_COMMITTED && m->n == 8 + CHAIN_LEN) {
		if (n->filling && get_u64(m->p) < n->seq)
			return true; /* not where the old one stood */
		if (n->filling)
			filled(s);
		n->seq = get_u64(m->p);
		n->damaged = 0; /* control's store remembers what it has to */
		memcpy(n->chain, m->p + 8, CHAIN_LEN);
	} else if (m->type == MSG_ROOT && m->fd >= 0 && n->filling) {
		if (s->fill.root >= 0)
			close(s->fill.root);
		s->fill.root = m->fd;
		m->fd = -1;
	} else if (m->type == MSG_ROOT && m->fd >= 0) {
		if (n->nroots == ROOTS_MAX) /* dns takes no new ones: it is stuck */
			restart_dns(s);
		n->roots[n->nroots++] = m->fd;
		m->fd = -1;
	} else if (m->type == MSG_MOVED) {
		s->child[DNS].ready = true;
		forget_roots(n, 1);
	} else if (m->type == MSG_HARMED && m->n == 4) {
		n->damaged = get_u32(m->p);
	} else if (m->type == MSG_ZONES && m->fd >= 0) {
		to_route(s, MSG_ZONES, NULL, 0, m->fd);
		if (s->zones_fd >= 0)
			close(s->zones_fd);
		s->zones_fd = m->fd;
		m->fd = -1;
	} else if (m->type == MSG_PULSE && m->n == PULSE_LEN) {
		to_route(s, MSG_PULSE, m->p, m->n, -1);
	} else if (m->type == MSG_END && n->ad_hoc) {
		s->code = 1;
		begin_stop(s, now);
	} else {
		return false;
	}
	return true;
}

static void hear_route(struct super *s, const struct msg *m)
{
	s->child[ROUTE].ready = true;
	if (m->type != MSG_MEMORY || !memory_unpack(m->p, m->n, &s->node.health))
		return;
	s->remember = true;
	tell_memory(s);
}

static void from_child(struct src *src, uint32_t got, uint64_t now)
{
	struct child *c = SRC_OWNER(src, struct child, src);
	struct super *s = c->super;
	struct msg m;
	(void)got;
	if (msg_recv(src->fd, &m) != 0) { /* dying, or not ours any more: SIGCHLD tells the rest */
		loop_del(&s->loop, src);
		kill(c->pid, SIGKILL);
		return;
	}
	if (c == &s->child[ROUTE])
		hear_route(s, &m);
	else if (c == &s->child[CONTROL] && hear_control(s, &m, now))
		c->ready = s->begun = true; /* it speaks only when its store is open */
	msg_end(&m);
}

static void buried(struct super *s, struct child *c, int status, uint64_t now)
{
	c->pid = 0;
	loop_del(&s->loop, &c->src);
	close(c->src.fd);
	c->src.fd = -1;
	if (s->stopping)
		return;
	tell_route(s, (enum node_child)(c - s->child));
	if (s->leaving && c == &s->child[ROUTE]) {
		begin_stop(s, now);
		return;
	}
	if (c->ready) /* a crash in service is mended at once; who can't begin waits ever longer */
		c->pause_ns = PAUSE_MIN_NS;
	bool again = c == &s->child[CONTROL] && refill(s, status, now);
	if (!s->begun && !again && c == &s->child[CONTROL] && WIFEXITED(status)) {
		/* a mistake of the operator's, not a crash: it has said what */
		log_say(LOG_ERROR, "nothing was started");
		s->code = 1;
		begin_stop(s, now);
		return;
	}
	put_off(c, now);
	s->still = 0;
	if (c == &s->child[DNS])
		forget_roots(&s->node, s->child[CONTROL].pid ? 1 : 0);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DOUBT)
		restart_dns(s);
	if (WIFSIGNALED(status))
		log_say(LOG_WARNING, "%s was ended by signal %d%s; starting it again", c->name, WTERMSIG(status),
		        WTERMSIG(status) == SIGSYS ? " (a system call that it may not make)" : "");
	else
		log_say(LOG_WARNING, "%s ended with status %d; starting it again", c->name, WEXITSTATUS(status));
}

/* A store is dropped when its readers are gone and before its writer comes. */
static void start_one(struct super *s, int which, uint64_t now)
{
	if (s->fill.dropped && (which == DNS || s->child[DNS].pid || !fill_drop(&s->fill, &s->node)))
		put_off(&s->child[which], now);
	else
		start(s, which, now);
}

/* Starts what is due; when everything has stopped, ends. */
static void look_after(struct super *s, uint64_t now)
{
	bool alive = false;
	if (s->leaving && now >= s->kill_at)
		begin_stop(s, now);
	uint64_t due = s->stopping || s->leaving ? s->kill_at : LOOP_NEVER;
	for (int i = 0; i < CHILDREN; i++) {
		struct child *c = s->child + i;
		if (!s->stopping && c->again && c->again <= now)
			start_one(s, i, now);
		if (!s->stopping && c->again && c->again < due)
			due = c->again;
		alive |= c->pid != 0;
		if (s->stopping && c->pid && now >= s->kill_at)
			kill(c->pid, SIGKILL);
	}
	if (s->stopping && !alive)
		s->stop = true;
	if (s->stopping && now >= s->kill_at)
		due = now + STOP_NS;
	loop_due(&s->loop, &s->timer, due);
}

/* It turns ten times a second; standing still it would keep the neighbours
 * believing in us. */
static void watch_route(struct super *s)
{
	struct child *c = &s->child[ROUTE];
	if (!c->pid)
		return;
	uint64_t turns = atomic_load_explicit(&s->node.route_page->beats, memory_order_relaxed);
	s->route_still = turns == s->route_turns ? s->route_still + 1 : 0;
	s->route_turns = turns;
	if (s->route_still < STILL_LOOKS)
		return;
	log_say(LOG_ERROR, "%s stands still: starting it again", c->name);
	kill(c->pid, SIGKILL);
	s->route_still = 0;
}

/* A worker turns at least ten times a second; one that stands still for long
 * serves nobody and keeps space from being freed. */
static void on_watch(struct src *src, uint32_t got, uint64_t now)
{
	struct super *s = SRC_OWNER(src, struct super, watch);
	struct child *c = &s->child[DNS];
	bool still = false;
	(void)got;
	for (unsigned i = 0; i < s->node.conf.workers; i++) {
		const struct dns_stats *stats = &worker_page(&s->node, i)->stats;
		uint64_t turns = atomic_load_explicit(&stats->beats, memory_order_relaxed);
		still |= turns == s->turns[i];
		s->turns[i] = turns;
	}
	s->still = still && c->pid && c->ready ? s->still + 1 : 0;
	if (s->still >= STILL_LOOKS) {
		log_say(LOG_ERROR, "a worker of %s stands still: starting it again", c->name);
		kill(c->pid, SIGKILL);
		s->still = 0;
	}
	watch_route(s);
	loop_due(&s->loop, src, now + WATCH_NS);
}

static void on_timer(struct src *src, uint32_t got, uint64_t now)
{
	(void)got;
	look_after(SRC_OWNER(src, struct super, timer), now);
}

static void on_signal(struct src *src, uint32_t got, uint64_t now)
{
	struct super *s = SRC_OWNER(src, struct super, signals);
	struct signalfd_siginfo si;
	int status;
	pid_t pid;
	(void)got;
	while (read(src->fd, &si, sizeof si) == sizeof si)
		if (si.ssi_signo != SIGCHLD)
			leave(s, now);
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < CHILDREN; i++)
			if (s->child[i].pid == pid)
				buried(s, s->child + i, status, now);
	look_after(s, now);
}

static int supervise(struct super *s)
{
	static const char *const names[] = { "encdns-control", "encdns-dns", "encdns-route" };
	s->signals = (struct src){ .fd = loop_signals(SIGCHLD), .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = on_signal };
	s->watch = (struct src){ .fd = -1, .due_ns = loop_now() + WATCH_NS, .wake = on_watch };
	s->timer = (struct src){ .fd = -1, .due_ns = LOOP_NEVER, .wake = on_timer };
	if (s->signals.fd < 0 || loop_init(&s->loop) != 0 || loop_add(&s->loop, &s->signals) != 0 ||
	    loop_add(&s->loop, &s->timer) != 0 || loop_add(&s->loop, &s->watch) != 0)
		return complain(strerror(errno));
	for (int i = 0; i < CHILDREN; i++)
		s->child[i] = (struct child){ .src = { .fd = -1 }, .super = s, .name = names[i], .again = loop_now() };
	if (!s->node.route_page)
		s->child[ROUTE].again = 0; /* never */
	log_say(LOG_NOTICE, "Entering run level 2");
	look_after(s, loop_now());
	if (loop_run(&s->loop, &s->stop) != 0)
		return complain(strerror(errno));
	loopback_remove(&s->node);
	log_say(LOG_NOTICE, "stopped");
	return s->code;
}

struct args { const char *dir, *conf, *store; int key; uint16_t port; bool ad_hoc, json; };

static void ad_hoc_conf(struct super *s, uint16_t port)
{
	static const char *const hosts[] = { "127.0.0.1", "::1" };
	struct conf_addrs *l = &s->node.conf.service;
	for (unsigned i = 0; i < 2; i++) {
		snprintf(l->at[i].host, sizeof l->at[i].host, "%s", hosts[i]);
		l->at[i].port = port;
	}
	l->n = 2;
	s->node.conf.rrl = LIMIT_NOBODY; /* nobody else is to be had by asking from the loopback */
}

/* Is it a node's certificate, with its key?  Better said now than by a child. */
static int check_credentials(const struct blob *b)
{
	int p[2];
	char err[300] = "can't be read";
	struct cred *c = NULL;
	if (pipe2(p, O_CLOEXEC) == 0) {
		fcntl(p[1], F_SETPIPE_SZ, PEM_MAX);
		if (blob_send(b, p[1]) == 0) {
			close(p[1]);
			c = cred_read(p[0], err, sizeof err);
		} else {
			close(p[1]);
		}
		close(p[0]);
	}
	bool good = c && cred_role(c) == ROLE_NODE;
	if (c && !good)
		snprintf(err, sizeof err, "the certificate is a %s's, not a node's", cert_role_text(cred_role(c)));
	cred_free(c);
	if (!good)
		fprintf(stderr, "encdns: credentials: %s; nothing was started\n", err);
	return good ? 0 : 1;
}

/* Nodes that share an address share the secret; a lone one makes its own, and
 * keeps it while encdns-dns is started again. */
static int read_cookie_secret(struct node *n)
{
	int fd = n->conf.cookie_secret, keys = 1;
	if (fd < 0)
		sip_random(n->cookie_keys);
	else
		keys = sip_read(fd, n->cookie_keys, 2);
	if (keys < 0) {
		fprintf(stderr, "encdns: cookie-secret fd:%d: %s\n", fd, errno == EINVAL ? "one or two lines of 32 hex digits are wanted; nothing was started" : strerror(errno));
		return 1;
	}
	if (fd >= 0)
		close(fd);
	n->ncookie_keys = (unsigned)keys;
	return 0;
}

/* All descriptors are read before any other is opened: a number that nobody
 * opened for us is then surely closed. */
static int read_secrets(struct super *s, const struct args *a)
{
	if (read_cookie_secret(&s->node) != 0)
		return 1;
	if (a->ad_hoc) {
		s->key = key_random(); /* gone with the process */
		return s->key ? 0 : complain("no memory for keys");
	}
	s->key = key_read(a->key);
	if (!s->key)
		return complain("--key: 64 hex digits or 32 octets are wanted on that descriptor");
	close(a->key);
	s->cred = blob_read(s->node.conf.credentials, PEM_MAX);
	if (!s->cred) {
		fprintf(stderr, "encdns: credentials fd:%d: %s; nothing was started\n", s->node.conf.credentials, strerror(errno));
		return 1;
	}
	close(s->node.conf.credentials);
	if (route_read_secrets(&s->node) != 0)
		return 1;
	return check_credentials(s->cred);
}

static int run(const struct args *a, char **argv)
{
	static struct super s;
	s.zones_fd = -1;
	s.node.ad_hoc = a->ad_hoc;
	s.node.dir = a->dir ? strdup(a->dir) : NULL; /* argv is written over */
	if (read_conf(a->conf, &s.node.conf) != 0)
		return complain("nothing was started");
	if (a->ad_hoc)
		ad_hoc_conf(&s, a->port);
	/* by way of /proc/self, which is closed to an undumpable process */
	if (a->ad_hoc && open_store(&s.node) != 0)
		return 1;
	crypto_harden();
	crypto_wipe_on_crash(true);
	lock_memory(&s.node);
	if (read_secrets(&s, a) != 0)
		return 1;
	if (a->dir && mkdir(a->dir, 0700) != 0 && errno != EEXIST) {
		fprintf(stderr, "encdns: %s: %s\n", a->dir, strerror(errno));
		return 1;
	}
	fit_descriptors(&s.node.conf);
	if (a->dir && s.node.conf.route.peers.n)
		memory_read(a->dir, &s.node.health);
	if (make_pages(&s.node) != 0 || make_route_page(&s.node) != 0 || route_open(&s.node) != 0 || loopback_add(&s.node) != 0)
		return 1;
	if (open_sockets(&s.node) != 0 || admin_open(&s.node) != 0 || (!a->ad_hoc && open_store(&s.node) != 0)) {
		loopback_remove(&s.node);
		return 1;
	}
	s.title = argv[0];
	for (char **p = argv; *p; p++) /* the words lie in a row */
		if (*p == s.title + s.title_len)
			s.title_len += strlen(*p) + 1;
	prctl(PR_SET_NAME, "encdns-super", 0, 0, 0);
	log_name("encdns-super");
	say_unlocked();
	sandbox_enter(&(struct sandbox){ .who = SANDBOX_SUPER, .dir = s.node.dir, .addresses = s.node.lent != 0 });
	int code = supervise(&s);
	wipe_memory(&s.node);
	return code;
}

/* argv[0] becomes the process's name by starting anew under it, once. */
static void rename_process(char **argv)
{
	static const char name[] = "encdns-super";
	if (strcmp(argv[0], name) == 0)
		return;
	char *old = argv[0];
	argv[0] = (char *)(uintptr_t)name;
	execv("/proc/self/exe", argv);
	argv[0] = old; /* no /proc: go on as we are */
}

/* ---- the command line ---- */

static int parse_args(int argc, char **argv, struct args *out)
{
	char err[100];
	struct conf_key fd = { .key = "--key" }, number = { .key = "--port", .min = 1, .max = 65535 };
	uint64_t port;
	*out = (struct args){ .key = -1, .port = 5300 };
	for (int i = 0; i < argc; i++) {
		const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
		if (strcmp(a, "--help") == 0 || strcmp(a, "-h") == 0) {
			fputs(usage, stdout);
			exit(0);
		}
		bool valued = strcmp(a, "--dir") == 0 || strcmp(a, "--conf") == 0 || strcmp(a, "--key") == 0 ||
		              strcmp(a, "--port") == 0 || strcmp(a, "--store") == 0;
		if (valued && !v) {
			snprintf(err, sizeof err, "%s lacks its value", a);
			return wrong_usage(err);
		}
		if (strcmp(a, "--dir") == 0) {
			out->dir = v;
		} else if (strcmp(a, "--conf") == 0) {
			out->conf = v;
		} else if (strcmp(a, "--store") == 0) {
			out->store = v;
		} else if (strcmp(a, "--key") == 0) {
			if (conf_fd(&fd, &out->key, v, err, sizeof err) != 0)
				return wrong_usage(err);
		} else if (strcmp(a, "--port") == 0) {
			if (conf_number(&number, &port, v, err, sizeof err) != 0)
				return wrong_usage(err);
			out->port = (uint16_t)port;
		} else if (strcmp(a, "--ad-hoc") == 0) {
			out->ad_hoc = true;
		} else if (strcmp(a, "--json") == 0) {
			out->json = true;
		} else {
			snprintf(err, sizeof err, "unknown option %.80s", a);
			return wrong_usage(err);
		}
		i += valued;
	}
	return 0;
}

static int command_run(int argc, char **argv)
{
	struct args a;
	int r = parse_args(argc - 2, argv + 2, &a);
	if (r != 0)
		return r;
	if (a.ad_hoc ? a.dir || a.conf || a.key >= 0 : !a.dir || !a.conf || a.key < 0)
		return wrong_usage("run wants --dir DIR --conf FILE --key fd:N, or --ad-hoc [--port PORT]");
	if (a.ad_hoc && isatty(0))
		return wrong_usage("--ad-hoc reads a stream from stdin: encdns-hub stream ORIGIN=FILE | encdns run --ad-hoc");
	rename_process(argv);
	return run(&a, argv);
}

static int command_status(int argc, char **argv)
{
	struct args a;
	int r = parse_args(argc - 2, argv + 2, &a);
	if (r != 0)
		return r;
	if (!a.dir)
		return wrong_usage("status wants --dir DIR");
	char *words[] = { "status", a.json ? "json" : "plain" };
	return ctl_call(a.dir, 2, words);
}

static int command_check(int argc, char **argv)
{
	struct args a;
	char path[PATH_MAX];
	int r = parse_args(argc - 2, argv + 2, &a);
	if (r != 0)
		return r;
	if (!a.dir == !a.store || a.key < 0)
		return wrong_usage("check wants --dir DIR or --store PATH, and --key fd:N");
	crypto_harden();
	struct key *key = key_read(a.key);
	if (!key) {
		complain("--key: 64 hex digits or 32 octets are wanted on that descriptor");
		return 2;
	}
	close(a.key);
	snprintf(path, sizeof path, a.dir ? "%.4000s/store" : "%.4000s", a.dir ? a.dir : a.store);
	r = check_main(path, key, a.json);
	key_free(key);
	return r;
}

static int command_checkconf(int argc, char **argv)
{
	struct node_conf c;
	if (argc != 3 || argv[2][0] == '-')
		return wrong_usage("checkconf wants one FILE");
	if (read_conf(argv[2], &c) != 0)
		return 1;
	printf("%s: all is right\n", argv[2]);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "--help";
	if (crypto_init() != 0)
		return complain("no memory for keys");
	signal(SIGXFSZ, SIG_IGN); /* a limit of file sizes is an error like a full disk */
	if (strcmp(verb, "run") == 0)
		return command_run(argc, argv);
	if (strcmp(verb, "status") == 0)
		return command_status(argc, argv);
	if (strcmp(verb, "check") == 0)
		return command_check(argc, argv);
	if (strcmp(verb, "checkconf") == 0)
		return command_checkconf(argc, argv);
	if (strcmp(verb, "--version") == 0) {
		printf("encdns " VERSION "\n");
		return 0;
	}
	if (strcmp(verb, "--help") != 0)
		return wrong_usage("unknown command");
	if (argc > 2 && strcmp(argv[2], "keys") == 0)
		conf_help(node_keys, node_nkeys);
	else
		fputs(usage, stdout);
	return 0;
}
