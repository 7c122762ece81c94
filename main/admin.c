/* admin.c - the admin addresses: the machine's own, at which it is managed and
 * calls the hub, and at which nothing must show that it is a name server.
 *
 * Without a socket there, the kernel would answer each query over UDP with
 * "port unreachable", as long as nobody filters that.  So the service's ports are
 * bound there to sockets whose filter drops everything before it takes memory.
 * TCP is left alone: the kernel refuses, as at any other port.
 * Threat: nothing is read here. */
#include "main/node.h"

#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool same_host(const struct conf_addr *a, const struct conf_addr *b)
{
	uint8_t x[16], y[16];
	if (inet_pton(AF_INET, a->host, x) == 1)
		return inet_pton(AF_INET, b->host, y) == 1 && memcmp(x, y, 4) == 0;
	return inet_pton(AF_INET6, a->host, x) == 1 && inet_pton(AF_INET6, b->host, y) == 1 &&
	       memcmp(x, y, 16) == 0;
}

int admin_check(const struct node_conf *c, const char *path, const struct conf_say *say)
{
	int wrong = 0;
	for (unsigned i = 0; i < c->admin.n; i++)
		for (unsigned k = 0; k < c->service.n; k++)
			if (same_host(&c->admin.at[i], &c->service.at[k]))
				wrong += conf_wrong(say, path, "%s can't be both service and admin address",
				                    c->admin.at[i].host);
	return wrong;
}

/* A bound socket that nothing ever comes out of, or -1 with errno. */
static int open_silent(const struct conf_addr *a)
{
	static struct sock_filter nothing[] = { { BPF_RET | BPF_K, 0, 0, 0 } };
	const struct sock_fprog filter = { 1, nothing };
	struct sockaddr_storage to;
	socklen_t n = addr_of(a, &to);
	int one = 1, fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (to.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) == 0 &&
	    bind(fd, (struct sockaddr *)&to, n) == 0)
		return fd;
	int e = errno;
	close(fd);
	errno = e;
	return -1;
}

static bool port_before(const struct conf_addrs *l, unsigned i)
{
	for (unsigned k = 0; k < i; k++)
		if (l->at[k].port == l->at[i].port)
			return true;
	return false;
}

int admin_open(struct node *n)
{
	const struct conf_addrs *s = &n->conf.service, *l = &n->conf.admin;
	n->silent = calloc((size_t)l->n * s->n + 1, sizeof *n->silent);
	if (!n->silent) {
		fprintf(stderr, "encdns: no memory\n");
		return 1;
	}
	for (unsigned i = 0; i < l->n * s->n; i++) {
		struct conf_addr a = l->at[i / s->n];
		if (port_before(s, i % s->n))
			continue;
		a.port = s->at[i % s->n].port;
		int fd = open_silent(&a);
		if (fd < 0) {
			fprintf(stderr, "encdns: admin %s, port %u: %s; nothing was started\n", a.host,
			        a.port, strerror(errno));
			return 1;
		}
		n->silent[n->nsilent++] = fd;
	}
	return 0;
}
