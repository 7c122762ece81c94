/* ctl.c - the control socket.  Contract in ctl.h.
 * Threat: a local user who may open the socket is trusted with its commands;
 * still a request is bounded and a client that goes away harms nothing. */
#include "base/ctl.h"

#include "base/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUEST_MAX (64u << 20)
#define CONNS       16

struct ctl_conn {
	struct src src;
	struct ctl *ctl;
	char *in, **argv;
	size_t in_len, in_room;
	uint8_t *out;
	size_t out_at, out_len, out_room;
	bool asked, gone, done; /* gone: nobody listens; done: close when all is sent */
	const struct ctl_sink *sink; /* NULL: there is a socket */
	void *owner;                 /* the sink's */
};

struct ctl {
	struct src src;
	struct loop *loop;
	ctl_handler *handler;
	void *owner;
	unsigned conns;
	int dir;
};

/* Binds or connects to "control" in a folder, however long the folder's name
 * is: a socket's address has room for 107 octets, so it is named from inside. */
static int at_control(int dir, int fd, int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "control" };
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = fchdir(dir) == 0 ? call(fd, (struct sockaddr *)&a, sizeof a) : -1;
	int e = errno;
	if (here >= 0) {
		if (fchdir(here) != 0)
			e = errno; /* nothing here depends on the place */
		close(here);
	}
	errno = e;
	return r;
}

static void conn_free(struct ctl_conn *c)
{
	loop_del(c->ctl->loop, &c->src);
	close(c->src.fd);
	c->ctl->conns--;
	free(c->in);
	free(c->argv);
	free(c->out);
	free(c);
}

static void out(struct ctl_conn *c, int stream, const char *p, uint32_t n)
{
	uint8_t head[5] = { (uint8_t)stream };
	uint32_t len = stream ? n : 0;
	put_u32(head + 1, n);
	if (c->gone)
		return;
	if (c->out_room - c->out_len < 5 + len) {
		size_t room = (c->out_room + 5 + len) * 2;
		uint8_t *q = realloc(c->out, room);
		if (!q) {
			c->gone = true;
			return;
		}
		c->out = q;
		c->out_room = room;
	}
	memcpy(c->out + c->out_len, head, 5);
	if (len)
		memcpy(c->out + c->out_len + 5, p, len);
	c->out_len += 5 + len;
}

static void flush_out(struct ctl_conn *c)
{
	while (c->out_at < c->out_len && !c->gone) {
		ssize_t n = send(c->src.fd, c->out + c->out_at, c->out_len - c->out_at,
		                 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno != EINTR)
			c->gone = true;
		if (n > 0)
			c->out_at += (size_t)n;
	}
	if (c->out_at == c->out_len)
		c->out_at = c->out_len = 0;
	loop_want(c->ctl->loop, &c->src, c->out_len && !c->gone ? (uint32_t)EPOLLOUT : 0);
}

void ctl_print(struct ctl_conn *c, int stream, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof text)
		n = (int)sizeof text - 1;
	if (c->sink) {
		if (!c->gone)
			c->sink->out(c->owner, stream, text, (size_t)n);
		return;
	}
	out(c, stream, text, (uint32_t)n);
	flush_out(c);
}

void ctl_done(struct ctl_conn *c, int code)
{
	if (c->sink) {
		if (!c->gone)
			c->sink->done(c->owner, code);
		free(c);
		return;
	}
	out(c, 0, NULL, (uint32_t)code);
	c->done = true;
	flush_out(c);
	if (c->gone || c->out_len == 0)
		conn_free(c);
}

struct ctl_conn *ctl_sink_new(const struct ctl_sink *s, void *owner)
{
	struct ctl_conn *c = calloc(1, sizeof *c);
	if (c) {
		c->sink = s;
		c->owner = owner;
	}
	return c;
}

void ctl_sink_lost(struct ctl_conn *c) { c->gone = true; }

static void ask(struct ctl_conn *c)
{
	int argc = 0;
	for (size_t i = 0; i < c->in_len; i++)
		argc += c->in[i] == 0;
	c->argv = calloc((size_t)argc + 1, sizeof *c->argv);
	c->asked = true;
	if (!c->argv || argc == 0 || c->in[c->in_len - 1] != 0) {
		ctl_done(c, 2);
		return;
	}
	char *p = c->in;
	for (int i = 0; i < argc; i++, p += strlen(p) + 1)
		c->argv[i] = p;
	loop_want(c->ctl->loop, &c->src, 0);
	c->ctl->handler(c->ctl->owner, c, argc, c->argv);
}

static void read_request(struct ctl_conn *c)
{
	for (;;) {
		if (c->in_room - c->in_len < 4096) {
			char *p = c->in_room < REQUEST_MAX ? realloc(c->in, c->in_room * 2 + 8192) : NULL;
			if (!p) {
				conn_free(c);
				return;
			}
			c->in = p;
			c->in_room = c->in_room * 2 + 8192;
		}
		ssize_t n = read(c->src.fd, c->in + c->in_len, c->in_room - c->in_len);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			conn_free(c);
			return;
		}
		if (n == 0) {
			ask(c);
			return;
		}
		c->in_len += (size_t)n;
	}
}

static void conn_wake(struct src *s, uint32_t got, uint64_t now)
{
	struct ctl_conn *c = SRC_OWNER(s, struct ctl_conn, src);
	(void)now;
	if (!c->asked) {
		read_request(c);
		return;
	}
	if (got & (EPOLLERR | EPOLLHUP))
		c->gone = true;
	flush_out(c);
	if (c->done && (c->gone || c->out_len == 0)) {
		conn_free(c);
	} else if (c->gone) { /* the handler is still at work: nothing more to hear */
		loop_del(c->ctl->loop, &c->src);
		close(c->src.fd);
		c->src.fd = -1;
		c->src.due_ns = LOOP_NEVER;
		loop_add(c->ctl->loop, &c->src);
	}
}

static void accept_wake(struct src *s, uint32_t got, uint64_t now)
{
	struct ctl *ctl = SRC_OWNER(s, struct ctl, src);
	(void)got;
	(void)now;
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	struct ctl_conn *c = ctl->conns < CONNS ? calloc(1, sizeof *c) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->ctl = ctl;
	c->src = (struct src){ .fd = fd, .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = conn_wake };
	ctl->conns++;
	if (loop_add(ctl->loop, &c->src) != 0)
		conn_free(c);
}

struct ctl *ctl_listen(struct loop *loop, const char *dir, ctl_handler *h, void *owner, char *err, size_t n)
{
	struct ctl *c = calloc(1, sizeof *c);
	if (!c) {
		snprintf(err, n, "%s/control: %s", dir, strerror(errno));
		return NULL;
	}
	c->loop = loop;
	c->handler = h;
	c->owner = owner;
	c->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->dir >= 0)
		unlinkat(c->dir, "control", 0);
	mode_t old = umask(0177);
	bool good = c->dir >= 0 && fd >= 0 && at_control(c->dir, fd, bind) == 0 && listen(fd, 16) == 0;
	umask(old);
	c->src = (struct src){ .fd = fd, .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = accept_wake };
	if (good && loop_add(loop, &c->src) == 0)
		return c;
	snprintf(err, n, "%s/control: %s", dir, strerror(errno));
	if (fd >= 0)
		close(fd);
	if (c->dir >= 0)
		close(c->dir);
	free(c);
	return NULL;
}

void ctl_close(struct ctl *c)
{
	if (!c)
		return;
	loop_del(c->loop, &c->src);
	close(c->src.fd);
	unlinkat(c->dir, "control", 0);
	close(c->dir);
	free(c);
}

/* ---- the client ---- */

static bool send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return false;
		p += w;
		n -= (size_t)w;
	}
	return true;
}

static bool read_all(int fd, void *p, size_t n)
{
	uint8_t *b = p;
	while (n) {
		ssize_t r = read(fd, b, n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return false;
		b += r;
		n -= (size_t)r;
	}
	return true;
}

static void print(void *owner, int stream, const char *p, size_t n)
{
	FILE *to = stream == CTL_ERR ? stderr : stdout;
	(void)owner;
	fwrite(p, 1, n, to);
	fflush(to);
}

/* Hands over the answer; the exit code. */
static int take_answer(int fd, void (*got)(void *owner, int stream, const char *p, size_t n), void *owner)
{
	uint8_t head[5];
	char *text = NULL;
	while (read_all(fd, head, sizeof head)) {
		uint32_t n = get_u32(head + 1);
		if (head[0] == 0) {
			free(text);
			return (int)n;
		}
		char *p = n <= REQUEST_MAX ? realloc(text, n + 1) : NULL;
		text = p ? p : text;
		if (!p || !read_all(fd, p, n))
			break;
		got(owner, head[0], text, n);
	}
	free(text);
	fprintf(stderr, "the connection broke before the answer was complete\n");
	return 1;
}

int ctl_call(const char *dir, int argc, char **argv) { return ctl_ask(dir, argc, argv, print, NULL); }

int ctl_ask(const char *dir, int argc, char **argv,
            void (*got)(void *owner, int stream, const char *p, size_t n), void *owner)
{
	int d = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (d < 0 || fd < 0 || at_control(d, fd, connect) != 0) {
		fprintf(stderr, "%s/control: %s%s\n", dir, strerror(errno),
		        errno == ENOENT || errno == ECONNREFUSED ? " (is it running, with this --dir?)" : "");
		return 1;
	}
	for (int i = 0; i < argc; i++)
		if (!send_all(fd, argv[i], strlen(argv[i]) + 1)) {
			fprintf(stderr, "%s/control: %s\n", dir, strerror(errno));
			return 1;
		}
	shutdown(fd, SHUT_WR);
	int code = take_answer(fd, got, owner);
	close(fd);
	close(d);
	return code;
}
