/* loopback.c - service addresses that the machine doesn't have, on its loopback
 * interface: for an anycast address that is nobody's but the service's.
 *
 * Done by the supervisor, before the service sockets are bound; taken away when
 * all has stopped, and so after the route was withdrawn.  DIR/loopback says which
 * ones are ours, so that after a crash the next one knows.
 * Threat: the configuration and DIR are the operator's; the kernel answers. */
#include "main/node.h"

#include "base/addr.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
	struct nlmsghdr head;
	struct ifaddrmsg addr;
	uint8_t attributes[2 * (RTA_ALIGN(sizeof(struct rtattr)) + 16)];
};

static void put_attribute(struct request *q, unsigned short type, const void *p, size_t n)
{
	struct rtattr a = { .rta_len = (unsigned short)RTA_LENGTH(n), .rta_type = type };
	uint8_t *to = (uint8_t *)q + NLMSG_ALIGN(q->head.nlmsg_len);
	memcpy(to, &a, sizeof a);
	memcpy(to + RTA_LENGTH(0), p, n);
	q->head.nlmsg_len = (uint32_t)(NLMSG_ALIGN(q->head.nlmsg_len) + RTA_LENGTH(n));
}

/* The kernel's answer to the one request of a fresh socket: 0, or -1 with errno. */
static int acknowledged(int fd)
{
	union { struct nlmsghdr head; uint8_t room[1024]; } m;
	struct nlmsgerr e;
	ssize_t n = recv(fd, &m, sizeof m, 0);
	if (n < 0)
		return -1;
	errno = EPROTO;
	if ((size_t)n < NLMSG_LENGTH(sizeof e) || m.head.nlmsg_type != NLMSG_ERROR)
		return -1;
	memcpy(&e, m.room + NLMSG_LENGTH(0), sizeof e);
	errno = -e.error;
	return e.error ? -1 : 0;
}

static int change(const struct conf_addr *a, bool add)
{
	struct sockaddr_storage s;
	const bool v6 = addr_of(a, &s) == sizeof(struct sockaddr_in6);
	const void *raw = v6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)&s)->sin6_addr
	                     : (const void *)&((const struct sockaddr_in *)(const void *)&s)->sin_addr;
	struct request q;
	memset(&q, 0, sizeof q);
	q.head.nlmsg_len = NLMSG_LENGTH(sizeof q.addr);
	q.head.nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
	q.head.nlmsg_flags =
	    (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0));
	q.addr.ifa_family = v6 ? AF_INET6 : AF_INET;
	q.addr.ifa_prefixlen = v6 ? 128 : 32;
	q.addr.ifa_flags = v6 ? IFA_F_NODAD : 0;
	q.addr.ifa_index = if_nametoindex("lo");
	put_attribute(&q, IFA_LOCAL, raw, v6 ? 16 : 4);
	put_attribute(&q, IFA_ADDRESS, raw, v6 ? 16 : 4);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int r = fd < 0 || send(fd, &q, q.head.nlmsg_len, 0) < 0 ? -1 : acknowledged(fd);
	int e = errno;
	if (fd >= 0)
		close(fd);
	errno = e;
	return r;
}

static bool machine_has(const struct conf_addr *a)
{
	struct conf_addr any_port = *a;
	any_port.port = 0;
	int fd = addr_open(&any_port, SOCK_DGRAM, ADDR_V6ONLY);
	if (fd >= 0)
		close(fd);
	return fd >= 0 || errno != EADDRNOTAVAIL;
}

static void path_of(const struct node *n, char out[static PATH_MAX])
{
	snprintf(out, PATH_MAX, "%.4000s/loopback", n->dir);
}

/* Was it put there by us, before a crash? */
static bool noted(const struct node *n, const char *host)
{
	char path[PATH_MAX], line[80];
	bool found = false;
	path_of(n, path);
	FILE *f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		found = strcmp(line, host) == 0;
	}
	if (f)
		fclose(f);
	return found;
}

static int note_all(const struct node *n)
{
	char path[PATH_MAX];
	path_of(n, path);
	FILE *f = fopen(path, "we");
	if (!f)
		return -1;
	for (unsigned i = 0; i < n->conf.service.n; i++)
		if (n->lent & 1ull << i)
			fprintf(f, "%s\n", n->conf.service.at[i].host);
	return fclose(f) == 0 ? 0 : -1;
}

static int put(struct node *n, unsigned i)
{
	const struct conf_addr *a = &n->conf.service.at[i];
	bool there = machine_has(a);
	if (there && !noted(n, a->host))
		return 0;
	n->lent |= 1ull << i;
	if (there)
		return 0;
	if (note_all(n) == 0 && change(a, true) == 0) { /* noted first */
		log_say(LOG_NOTICE, "%s is on the loopback interface now", a->host);
		return 0;
	}
	n->lent &= ~(1ull << i);
	fprintf(stderr,
	        "encdns: bgp-loopback: %s can't be put on the loopback interface: %s; nothing was started\n",
	        a->host, strerror(errno));
	return -1;
}
_Static_assert(CONF_ADDRS <= 64, "a bit for each service address");

int loopback_add(struct node *n)
{
	if (!n->conf.route.loopback)
		return 0;
	for (unsigned i = 0; i < n->conf.service.n; i++)
		if (put(n, i) != 0) {
			loopback_remove(n);
			return 1;
		}
	if (n->lent && note_all(n) != 0)
		log_say(LOG_WARNING, "%s/loopback can't be written: %s", n->dir, strerror(errno));
	return 0;
}

void loopback_remove(struct node *n)
{
	char path[PATH_MAX];
	bool all = true;
	for (unsigned i = 0; i < n->conf.service.n; i++) {
		const char *host = n->conf.service.at[i].host;
		if (!(n->lent & 1ull << i) || change(&n->conf.service.at[i], false) == 0 ||
		    errno == EADDRNOTAVAIL)
			continue;
		log_say(LOG_WARNING, "%s can't be taken from the loopback interface: %s", host,
		        strerror(errno));
		all = false;
	}
	if (!n->conf.route.loopback || !all)
		return;
	n->lent = 0;
	path_of(n, path);
	unlink(path);
}
