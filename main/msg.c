/* msg.c - messages between a node's own processes.
 * Threat: the other process, who may be taken over: a message is bounded, one
 * cut short is refused, and no descriptor it sends is left open unnoticed. */
#include "main/node.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* Keeps the first descriptor of all that came; the others are closed. */
static int take_fds(struct msghdr *m)
{
	int kept = -1, fd;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof fd <= h->cmsg_len; at += sizeof fd) {
			memcpy(&fd, (uint8_t *)h + at, sizeof fd);
			if (kept < 0)
				kept = fd;
			else
				close(fd);
		}
	}
	return kept;
}

int msg_recv(int fd, struct msg *out)
{
	uint8_t t;
	struct iovec v[2] = { { &t, 1 }, { out->p, MSG_MAX } };
	struct msghdr m;
	union control c;
	memset(&m, 0, sizeof m);
	m.msg_iov = v;
	m.msg_iovlen = 2;
	m.msg_control = c.room;
	m.msg_controllen = sizeof c.room;
	out->fd = -1;
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -1;
	out->fd = take_fds(&m);
	if (n > 0 && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		out->type = (enum node_msg)t;
		out->n = (size_t)n - 1;
		return 0;
	}
	msg_end(out);
	errno = n == 0 ? ECONNRESET : EBADMSG;
	return -1;
}

void msg_end(struct msg *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}
