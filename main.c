/* main.c - encdns: the command line, the supervisor, the run levels.
 *
 * `encdns run` becomes encdns-super.  It reads the configuration and the keys,
 * opens the store's descriptors and the service sockets, forks encdns-control
 * and encdns-dns and starts each again when it dies.  It parses nothing from
 * the network.
 *
 * States of a child: running -> dead -> running, after a pause that grows while
 * it dies before it was of use.  Stop: TERM to all, KILL after 5 s.
 * Threat: the children, who may be taken over: what they say is only believed
 * to be a sequence, a descriptor or a wish to stop. */
#include "main/node.h"

#include "base/ctl.h"
#include "base/log.h"

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
#define PAUSE_MIN_NS   20000000ull
#define PAUSE_MAX_NS   5000000000ull

static const char usage[] =
	"encdns: an authoritative DNS server that keeps its zones encrypted\n"
	"\n"
	"  encdns run --dir DIR --conf FILE --key fd:N   run a node in the foreground\n"
	"  encdns run --ad-hoc [--port PORT]             answer from a stream on stdin, in memory:\n"
	"                encdns-hub stream ORIGIN=ZONEFILE... | encdns run --ad-hoc --port 5300\n"
	"  encdns status --dir DIR [--json]              where a running node stands\n"
	"  encdns checkconf FILE                         is this configuration right?\n"
	"  encdns --help keys                            what a configuration file may say\n"
	"  encdns --version\n"
	"\n"
	"The key is 64 hex digits or 32 octets, read from the descriptor to its end.\n";

/* ---- configuration ---- */

static int rrl_off(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	bool on;
	if (conf_yes(k, &on, v, err, n) != 0)
		return -1;
	if (on) {
		snprintf(err, n, "rrl: there is no rate limiter in this version; it can only be off");
		return -1;
	}
	memcpy(at, &on, sizeof on);
	return 0;
}

const struct conf_key node_keys[] = {
	{ "service", conf_addr, offsetof(struct node_conf, service), "", "ADDRESS@PORT",
	  "Address that queries are answered at, over UDP and TCP.", 0, CONF_ADDRS, true },
	{ "hub", conf_addr, offsetof(struct node_conf, hub), "", "ADDRESS@PORT",
	  "Journal server, in order of preference.", 0, JOURNAL_HUBS, true },
	{ "credentials", conf_fd, offsetof(struct node_conf, credentials), "", "fd:N",
	  "Descriptor to read the node's certificate, chain and private key (PEM) from.", 0, 0, false },
	{ "workers", conf_number, offsetof(struct node_conf, workers), "0", "NUMBER",
	  "Threads that answer; 0: one for each processor the process may use.", 0, WORKERS_MAX, false },
	{ "udp-size", conf_number, offsetof(struct node_conf, udp_size), "1232", "OCTETS",
	  "Largest answer over UDP to clients that speak EDNS.", 512, DNS_UDP_MAX, false },
	{ "tcp-connections", conf_number, offsetof(struct node_conf, tcp_connections), "256", "NUMBER",
	  "TCP connections of one worker; when all are in use the longest idle one is closed.", 1, 65536, false },
	{ "tcp-idle", conf_number, offsetof(struct node_conf, tcp_idle), "10", "SECONDS",
	  "Time after which a TCP connection without a whole query is closed.", 1, 3600, false },
	{ "rrl", rrl_off, offsetof(struct node_conf, rrl), "off", "off",
	  "Response rate limiting; not in this version.", 0, 0, false },
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

static void conf_line(void *ctx, const char *path, unsigned line, const char *text)
{
	(void)ctx;
	if (line)
		fprintf(stderr, "%s:%u: %s\n", path, line, text);
	else
		fprintf(stderr, "%s: %s\n", path, text);
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
	struct conf_say say = { conf_line, NULL };
	memset(c, 0, sizeof *c);
	int wrong = conf_read(path, node_keys, node_nkeys, c, &say);
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
	return wrong;
}

/* ---- what is made before the children ---- */

static int open_socket(const struct conf_addr *a, bool tcp)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(a->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(a->port) };
	bool is4 = inet_pton(AF_INET, a->host, &v4.sin_addr) == 1;
	if (!is4)
		inet_pton(AF_INET6, a->host, &v6.sin6_addr);
	int one = 1, buf = 4 << 20;
	int fd = socket(is4 ? AF_INET : AF_INET6, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (!is4)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	if (tcp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	else
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buf, sizeof buf);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	const struct sockaddr *sa = is4 ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
	if (bind(fd, sa, is4 ? sizeof v4 : sizeof v6) == 0 && (!tcp || listen(fd, 1024) == 0))
		return fd;
	int e = errno;
	close(fd);
	errno = e;
	return -1;
}

/* Another server on the port would share it silently (SO_REUSEPORT): ask first. */
static bool port_taken(const struct conf_addr *a)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(a->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(a->port) };
	bool is4 = inet_pton(AF_INET, a->host, &v4.sin_addr) == 1;
	if (!is4)
		inet_pton(AF_INET6, a->host, &v6.sin6_addr);
	int one = 1, fd = socket(is4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	if (!is4)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	const struct sockaddr *sa = is4 ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
	bool taken = bind(fd, sa, is4 ? sizeof v4 : sizeof v6) != 0 && errno == EADDRINUSE;
	close(fd);
	return taken;
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
			int fd = taken ? -1 : open_socket(a, w & 1);
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

static int shared(const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		return fd;
	return -1;
}

/* ---- the supervisor ---- */

struct super;
struct child {
	struct src src;          /* its channel */
	struct super *super;
	const char *name;
	pid_t pid;               /* 0: not running */
	bool ready;              /* it has done something useful since it was born */
	uint64_t pause_ns, again; /* again: when to start it, 0 = running */
};
enum { CONTROL, DNS, CHILDREN };

struct super {
	struct node node;
	struct loop loop;
	struct child child[CHILDREN];
	struct src signals, timer;
	struct key *key;
	struct blob *cred;
	char *title;             /* argv's memory, for names */
	size_t title_len;
	uint64_t kill_at;        /* stopping: when patience ends */
	_Atomic bool stop;
	bool stopping;
	int code;
};

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
	if (!s->child[CONTROL].pid || !s->child[DNS].pid || channel(pair) != 0)
		return;
	for (int i = 0; i < CHILDREN; i++) {
		msg_send(s->child[i].src.fd, MSG_PEER, NULL, 0, pair[i]);
		close(pair[i]);
	}
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
	for (int i = 0; i < CHILDREN; i++)
		if (s->child[i].src.fd >= 0)
			close(s->child[i].src.fd);
	if (which == DNS) {
		close(s->node.store_rw);
		s->node.store_rw = -1;
		if (s->node.ad_hoc)
			close(0);
		forget_roots(&s->node, 0);
	} else {
		close(s->node.store_ro);
		s->node.store_ro = -1;
		for (size_t i = 0; i < s->node.nsockets; i++)
			close(s->node.sockets[i].fd);
	}
	if (crypto_init() != 0)
		_exit(1);
}

static void from_child(struct src *src, uint32_t got, uint64_t now);

static int give_secrets(struct super *s, int key_fd, int cred_fd)
{
	if (key_send(s->key, key_fd) != 0)
		return -1;
	return cred_fd >= 0 ? blob_send(s->cred, cred_fd) : 0;
}

static void start(struct super *s, int which, uint64_t now)
{
	struct child *c = s->child + which;
	int up[2] = { -1, -1 }, key[2] = { -1, -1 }, cred[2] = { -1, -1 };
	bool control = which == CONTROL;
	pid_t self = getpid();
	c->again = 0;
	if (channel(up) != 0 || (control && channel(key) != 0) || (control && s->cred && pipe2(cred, O_CLOEXEC) != 0)) {
		log_say(LOG_ERROR, "%s can't be started: %s", c->name, strerror(errno));
		c->again = now + PAUSE_MAX_NS;
		return;
	}
	pid_t pid = fork();
	if (pid == 0) {
		become(s, which, self);
		close(up[0]);
		if (!control)
			_exit(service_main(&s->node, up[1]));
		close(key[0]);
		if (cred[1] >= 0)
			close(cred[1]);
		_exit(control_main(&s->node, up[1], key[1], cred[0]));
	}
	close(up[1]);
	c->src = (struct src){ .fd = up[0], .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = from_child };
	c->pid = pid > 0 ? pid : 0;
	c->ready = false;
	loop_add(&s->loop, &c->src);
	if (control) {
		close(key[1]);
		if (cred[0] >= 0)
			close(cred[0]);
		if (pid > 0 && give_secrets(s, key[0], cred[1]) != 0)
			log_say(LOG_ERROR, "%s did not take its keys", c->name);
		close(key[0]);
		if (cred[1] >= 0)
			close(cred[1]);
	}
	introduce(s);
}

static void begin_stop(struct super *s, uint64_t now)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->kill_at = now + STOP_NS;
	for (int i = 0; i < CHILDREN; i++)
		if (s->child[i].pid)
			kill(s->child[i].pid, SIGTERM);
	loop_due(&s->loop, &s->timer, s->kill_at);
}

static void restart_dns(struct super *s)
{
	if (s->child[DNS].pid)
		kill(s->child[DNS].pid, SIGKILL);
	forget_roots(&s->node, 0);
}

static void from_child(struct src *src, uint32_t got, uint64_t now)
{
	struct child *c = (struct child *)(void *)((char *)src - offsetof(struct child, src));
	struct super *s = c->super;
	uint8_t p[MSG_MAX];
	enum node_msg type;
	int passed;
	(void)got;
	ssize_t n = msg_recv(src->fd, &type, p, &passed);
	if (n < 0) {
		loop_want(&s->loop, src, 0); /* dying; SIGCHLD tells the rest */
		return;
	}
	c->ready = true; /* only control speaks, and only when its store is open */
	if (type == MSG_COMMITTED && c == &s->child[CONTROL] && n == 8 + CHAIN_LEN) {
		s->node.seq = get_u64(p);
		memcpy(s->node.chain, p + 8, CHAIN_LEN);
	} else if (type == MSG_ROOT && c == &s->child[CONTROL] && passed >= 0) {
		if (s->node.nroots == ROOTS_MAX) /* dns takes no new ones: it is stuck */
			restart_dns(s);
		s->node.roots[s->node.nroots++] = passed;
		passed = -1;
	} else if (type == MSG_MOVED && c == &s->child[CONTROL]) {
		s->child[DNS].ready = true;
		forget_roots(&s->node, 1);
	} else if (type == MSG_END) {
		s->code = 1;
		begin_stop(s, now);
	}
	if (passed >= 0)
		close(passed);
}

static void buried(struct super *s, struct child *c, int status, uint64_t now)
{
	c->pid = 0;
	loop_del(&s->loop, &c->src);
	close(c->src.fd);
	c->src.fd = -1;
	if (s->stopping)
		return;
	if (c->ready) /* a crash in service is mended at once; who can't begin waits ever longer */
		c->pause_ns = PAUSE_MIN_NS;
	c->again = now + c->pause_ns;
	if (c == &s->child[DNS])
		forget_roots(&s->node, s->child[CONTROL].pid ? 1 : 0);
	else if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_DOUBT)
		restart_dns(s);
	if (WIFSIGNALED(status))
		log_say(LOG_WARNING, "%s was ended by signal %d; starting it again", c->name, WTERMSIG(status));
	else
		log_say(LOG_WARNING, "%s ended with status %d; starting it again", c->name, WEXITSTATUS(status));
	c->pause_ns = c->pause_ns * 2 + PAUSE_MIN_NS;
	if (c->pause_ns > PAUSE_MAX_NS)
		c->pause_ns = PAUSE_MAX_NS;
}

/* Starts what is due; when everything has stopped, ends. */
static void look_after(struct super *s, uint64_t now)
{
	uint64_t due = s->stopping ? s->kill_at : LOOP_NEVER;
	bool alive = false;
	for (int i = 0; i < CHILDREN; i++) {
		struct child *c = s->child + i;
		if (!s->stopping && c->again && c->again <= now)
			start(s, i, now);
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

static void on_timer(struct src *src, uint32_t got, uint64_t now)
{
	(void)got;
	look_after((struct super *)(void *)((char *)src - offsetof(struct super, timer)), now);
}

static void on_signal(struct src *src, uint32_t got, uint64_t now)
{
	struct super *s = (struct super *)(void *)((char *)src - offsetof(struct super, signals));
	struct signalfd_siginfo si;
	int status;
	pid_t pid;
	(void)got;
	while (read(src->fd, &si, sizeof si) == sizeof si)
		if (si.ssi_signo != SIGCHLD)
			begin_stop(s, now);
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < CHILDREN; i++)
			if (s->child[i].pid == pid)
				buried(s, s->child + i, status, now);
	look_after(s, now);
}

static int supervise(struct super *s)
{
	static const char *const names[] = { "encdns-control", "encdns-dns" };
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->signals = (struct src){ .fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .want = EPOLLIN,
		                   .due_ns = LOOP_NEVER, .wake = on_signal };
	s->timer = (struct src){ .fd = -1, .due_ns = LOOP_NEVER, .wake = on_timer };
	if (loop_init(&s->loop) != 0 || s->signals.fd < 0 || loop_add(&s->loop, &s->signals) != 0 ||
	    loop_add(&s->loop, &s->timer) != 0)
		return complain(strerror(errno));
	for (int i = 0; i < CHILDREN; i++)
		s->child[i] = (struct child){ .src = { .fd = -1 }, .super = s, .name = names[i] };
	log_say(LOG_NOTICE, "Entering run level 2");
	for (int i = 0; i < CHILDREN; i++)
		start(s, i, loop_now());
	if (loop_run(&s->loop, &s->stop) != 0)
		return complain(strerror(errno));
	log_say(LOG_NOTICE, "stopped");
	return s->code;
}

struct args { const char *dir, *conf; int key; uint16_t port; bool ad_hoc, json; };

static void ad_hoc_conf(struct super *s, uint16_t port)
{
	static const char *const hosts[] = { "127.0.0.1", "::1" };
	struct conf_addrs *l = &s->node.conf.service;
	for (unsigned i = 0; i < 2; i++) {
		snprintf(l->at[i].host, sizeof l->at[i].host, "%s", hosts[i]);
		l->at[i].port = port;
	}
	l->n = 2;
}

static int read_secrets(struct super *s, const struct args *a)
{
	if (a->ad_hoc) {
		s->key = key_random(); /* gone with the process */
		return s->key ? 0 : complain("no memory for keys");
	}
	s->key = key_read(a->key);
	if (!s->key)
		return complain("--key: 64 hex digits or 32 octets are wanted on that descriptor");
	close(a->key);
	s->cred = blob_read(s->node.conf.credentials, PEM_MAX);
	if (!s->cred)
		return complain("credentials: the descriptor can't be read");
	close(s->node.conf.credentials);
	return 0;
}

static int run(const struct args *a, char **argv)
{
	static struct super s;
	s.node.ad_hoc = a->ad_hoc;
	s.node.dir = a->dir ? strdup(a->dir) : NULL; /* argv is written over */
	if (read_conf(a->conf, &s.node.conf) != 0)
		return complain("nothing was started");
	if (a->ad_hoc)
		ad_hoc_conf(&s, a->port);
	if (a->dir && mkdir(a->dir, 0700) != 0 && errno != EEXIST)
		return complain(strerror(errno));
	s.node.beats = shared("encdns-beats", sizeof(uint64_t) * 8 * STORE_WORKERS);
	s.node.stats = shared("encdns-stats", sizeof(struct dns_stats) * WORKERS_MAX);
	if (s.node.beats < 0 || s.node.stats < 0)
		return complain(strerror(errno));
	if (open_sockets(&s.node) != 0 || open_store(&s.node) != 0 || read_secrets(&s, a) != 0)
		return 1;
	struct rlimit no_core = { 0, 0 };
	setrlimit(RLIMIT_CORE, &no_core);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	s.title = argv[0];
	for (char **p = argv; *p; p++) /* the words lie in a row */
		if (*p == s.title + s.title_len)
			s.title_len += strlen(*p) + 1;
	prctl(PR_SET_NAME, "encdns-super", 0, 0, 0);
	log_name("encdns-super");
	return supervise(&s);
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
		bool valued = strcmp(a, "--dir") == 0 || strcmp(a, "--conf") == 0 || strcmp(a, "--key") == 0 ||
		              strcmp(a, "--port") == 0;
		if (valued && !v)
			return wrong_usage("an option lacks its value");
		if (strcmp(a, "--dir") == 0) {
			out->dir = v;
		} else if (strcmp(a, "--conf") == 0) {
			out->conf = v;
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
			return wrong_usage("unknown option");
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
	char *words[] = { "status", a.json ? "+" : "-" };
	return ctl_call(a.dir, 2, words);
}

static int command_checkconf(int argc, char **argv)
{
	struct node_conf c;
	if (argc != 3)
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
	if (strcmp(verb, "run") == 0)
		return command_run(argc, argv);
	if (strcmp(verb, "status") == 0)
		return command_status(argc, argv);
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
