/* msg.c - messages between a node's own processes. */
#include "main/node.h"

#include <errno.h>
#include <sys/socket.h>

union control { struct cmsghdr head; uint8_t room[CMSG_SPACE(sizeof(int))]; };

int msg_send(int fd, enum node_msg type, const void *p, size_t n, int pass)
{
	uint8_t t = (uint8_t)type;
	struct iovec v[2] = { { &t, 1 }, { (void *)(uintptr_t)p, n } };
	struct msghdr m;
	union control c;
	memset(&m, 0, sizeof m);
	memset(&c, 0, sizeof c);
	m.msg_iov = v;
	m.msg_iovlen = 2;
	if (pass >= 0) {
		m.msg_control = c.room;
		m.msg_controllen = sizeof c.room;
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(h), &pass, sizeof pass);
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

ssize_t msg_recv(int fd, enum node_msg *type, uint8_t p[static MSG_MAX], int *passed)
{
	uint8_t t;
	struct iovec v[2] = { { &t, 1 }, { p, MSG_MAX } };
	struct msghdr m;
	union control c;
	memset(&m, 0, sizeof m);
	m.msg_iov = v;
	m.msg_iovlen = 2;
	m.msg_control = c.room;
	m.msg_controllen = sizeof c.room;
	*passed = -1;
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	if (n <= 0) {
		if (n == 0)
			errno = ECONNRESET;
		return -1;
	}
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
		memcpy(passed, CMSG_DATA(h), sizeof *passed);
	*type = (enum node_msg)t;
	return n - 1;
}
