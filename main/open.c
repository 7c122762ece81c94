/* open.c - what is looked at and made before the children: credentials, sockets, the
 * store's descriptors, the workers' pages. */
#include "main/node.h"

#include "base/addr.h"
#include "base/log.h"
#include "crypto/denial.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

int node_complain(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("encdns: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return 1;
}

/* ---- credentials ---- */

/* On the list that was kept the last time. */
static bool is_denied(struct cred *c, const char *dir)
{
	struct denied d;
	char err[300];
	bool out = denied_open(&d, dir, c, err, sizeof err) == 0 && cred_denied(c);
	if (out)
		fprintf(stderr,
		        "encdns: credentials: this certificate is denied (list %llu in %s/denials); "
		        "nothing was started\n",
		        (unsigned long long)denials_number(d.list), dir);
	denied_close(&d);
	return out;
}

int node_check_credentials(const struct blob *b, const char *dir)
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
		snprintf(err, sizeof err, "the certificate is a %s's, not a node's",
		         cert_role_text(cred_role(c)));
	bool out = good && is_denied(c, dir);
	cred_free(c);
	if (!good)
		fprintf(stderr, "encdns: credentials: %s; nothing was started\n", err);
	return out ? EXIT_DENIED : good ? 0 : 1;
}

/* ---- sockets ---- */

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
void node_fit_descriptors(struct node_conf *c)
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

int node_open_sockets(struct node *n)
{
	const struct conf_addrs *l = &n->conf.service;
	n->sockets = calloc(l->n * n->conf.workers * 2, sizeof *n->sockets);
	if (!n->sockets)
		return node_complain("no memory");
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
				fprintf(stderr, "encdns: service %s@%u: %s; nothing was started\n", a->host,
				        a->port, strerror(errno));
				return 1;
			}
			n->sockets[n->nsockets++] = (struct node_socket){ fd, w & 1, w / 2 };
		}
	}
	return 0;
}

int node_open_store(struct node *n)
{
	char fdpath[64];
	if (n->ad_hoc) {
		n->store_rw = memfd_create("encdns-store", MFD_CLOEXEC);
		snprintf(fdpath, sizeof fdpath, "/proc/self/fd/%d", n->store_rw);
		n->store_ro = open(fdpath, O_RDONLY | O_CLOEXEC);
		if (n->store_ro < 0) /* no /proc: the readers get the same descriptor */
			n->store_ro = dup(n->store_rw);
		return n->store_rw < 0 || n->store_ro < 0
		               ? node_complain("a store in memory can't be made: %s", strerror(errno))
		               : 0;
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
int node_make_pages(struct node *n)
{
	size_t size = n->conf.workers * WORKER_STEP;
	n->pages_fd = memfd_create("encdns-workers", MFD_CLOEXEC);
	if (n->pages_fd < 0 || ftruncate(n->pages_fd, (off_t)size) != 0)
		return node_complain("the workers' pages can't be made: %s", strerror(errno));
	n->pages = mmap(NULL, size, PROT_READ, MAP_SHARED, n->pages_fd, 0);
	return n->pages == MAP_FAILED
	               ? node_complain("the workers' pages can't be mapped: %s", strerror(errno))
	               : 0;
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
		fprintf(stderr, "encdns: cookie-secret fd:%d: %s\n", fd,
		        errno == EINVAL ? "one or two lines of 32 hex digits are wanted; nothing was started"
		                        : strerror(errno));
		return 1;
	}
	if (fd >= 0)
		close(fd);
	n->ncookie_keys = (unsigned)keys;
	return 0;
}

/* All descriptors are read before any other is opened: a number that nobody
 * opened for us is then surely closed. */
int node_read_secrets(struct node *n, int key_fd, struct key **key, struct blob **cred)
{
	int fd = n->conf.credentials;
	if (read_cookie_secret(n) != 0)
		return 1;
	if (n->ad_hoc) {
		*key = key_random(); /* gone with the process */
		return *key ? 0 : node_complain("no memory for keys");
	}
	if (!n->machine) {
		*key = key_read(key_fd);
		if (!*key)
			return node_complain("--key: 64 hex digits or 32 octets are wanted on "
			                     "that descriptor");
		close(key_fd);
	}
	*cred = blob_read(fd, PEM_MAX);
	if (!*cred) {
		fprintf(stderr, "encdns: credentials fd:%d: %s; nothing was started\n", fd, strerror(errno));
		return 1;
	}
	close(fd);
	return route_read_secrets(n) != 0 ? 1 : node_check_credentials(*cred, n->dir);
}
