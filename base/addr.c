/* addr.c - contract in addr.h. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 1024

socklen_t addr_of(const struct conf_addr *a, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
	memset(out, 0, sizeof *out);
	if (inet_pton(AF_INET, a->host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(a->port);
		return sizeof *v4;
	}
	if (inet_pton(AF_INET6, a->host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(a->port);
		return sizeof *v6;
	}
	return 0;
}

int addr_open(const struct conf_addr *a, int type, unsigned how)
{
	struct sockaddr_storage to;
	socklen_t n = addr_of(a, &to);
	int one = 1;
	if (n == 0) {
		errno = EINVAL;
		return -1;
	}
	int fd = socket(to.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	if (to.ss_family == AF_INET6 && how & ADDR_V6ONLY)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (how & ADDR_SHARED)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&to, n) == 0 && (type != SOCK_STREAM || listen(fd, BACKLOG) == 0))
		return fd;
	int e = errno;
	close(fd);
	errno = e;
	return -1;
}
