/* test_base.c - configuration, the loop, the control socket, and links. */
#include "base/conf.h"
#include "base/ctl.h"
#include "base/io.h"
#include "base/options.h"
#include "base/wire.h"
#include "hub/ca.h"
#include "journal.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define SECOND 1000000000ull

static char dir[64];

/* ---- configuration ---- */

struct settings {
	uint64_t number, size;
	bool yes;
	char text[8];
	struct conf_addrs list, one;
	int fd;
};
static const struct conf_key table[] = {
	{ "number", conf_number, offsetof(struct settings, number), "5", "N", "a number", 1, 100, false },
	{ "size", conf_size, offsetof(struct settings, size), "64M", "SIZE", "a size", 1024, 1ull << 50, false },
	{ "yes", conf_yes, offsetof(struct settings, yes), "on", "on|off", "a switch", 0, 0, false },
	{ "text", conf_text, offsetof(struct settings, text), "abc", "TEXT", "a text", 0, 8, false },
	{ "list", conf_addr, offsetof(struct settings, list), "127.0.0.1@53", "ADDRESS@PORT", "some", 0, 3, true },
	{ "one", conf_addr, offsetof(struct settings, one), "", "ADDRESS@PORT", "one", 0, 1, false },
	{ "key", conf_fd, offsetof(struct settings, fd), "", "fd:N", "a secret", 0, 0, false },
};
#define NKEYS (sizeof table / sizeof *table)

static char said[4096];

static void on_line(void *ctx, const char *path, unsigned line, const char *text)
{
	size_t n = strlen(said);
	(void)ctx;
	snprintf(said + n, sizeof said - n, "%s%s:%u: %s", n ? "; " : "", path, line, text);
}
static const struct conf_say say = { .line = on_line };

static int read_text(const char *text, struct settings *s)
{
	memset(s, 0, sizeof *s);
	*said = 0;
	char *exact = malloc(strlen(text) + 1); /* without its NUL */
	memcpy(exact, text, strlen(text));
	int wrong = conf_read_text(exact, strlen(text), "file", table, NKEYS, s, &say);
	free(exact);
	return wrong;
}

static void test_conf_values(void)
{
	static const struct { const char *line; bool good; } lines[] = {
		{ "number 1", true }, { "number 100", true }, { "number 0", false }, { "number 101", false },
		{ "number 18446744073709551617", false }, { "number 1x", false }, { "number -1", false }, { "number", false },
		{ "number 0x10", false }, { "number +1", false }, { "number 1 2", false },
		{ "size 1024", true }, { "size 1k", true }, { "size 1K", true }, { "size 2G", true }, { "size 1T", true },
		{ "size 1023", false }, { "size 1P", false }, { "size 1KB", false }, { "size 1 K", false }, { "size K", false },
		{ "size 18446744073709551615T", false }, { "size 1\\", false },
		{ "yes on", true }, { "yes yes", true }, { "yes off", true }, { "yes no", true }, { "yes 1", false }, { "yes ON", false },
		{ "text 1234567", true }, { "text 12345678", false }, { "text a b", true },
		{ "list 192.0.2.1@53", true }, { "list 2001:db8::1@65535", true }, { "list 192.0.2.1", false },
		{ "list 192.0.2.1@0", false }, { "list 192.0.2.1@65536", false }, { "list 192.0.2.1@53x", false },
		{ "list 192.0.2.1@", false }, { "list @53", false }, { "list 192.0.2@53", false }, { "list ns.example@53", false },
		{ "list aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@53", false },
		{ "key fd:0", true }, { "key fd:65535", true }, { "key fd:65536", false }, { "key fd:", false }, { "key 5", false },
		{ "key /etc/key", false }, { "key fd:5x", false }, { "key 0123456789abcdef", false },
		{ "other 1", false }, { "Number 1", false }, { "", true }, { "   \t ", true }, { "# number 0", true },
		{ "\tnumber\t\t7 \t\r", true },
	};
	unsigned bad = 0;
	for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
		struct settings s;
		int wrong = read_text(lines[i].line, &s);
		if (wrong != !lines[i].good || !*said != lines[i].good) {
			printf("# \"%s\": %d %s\n", lines[i].line, wrong, said);
			bad++;
		}
	}
	ok(bad == 0, "%zu lines are taken or refused (%u wrong)", sizeof lines / sizeof *lines, bad);
	struct conf_key k = { .key = "size", .max = UINT64_MAX };
	uint64_t x;
	char err[100];
	ok(conf_size(&k, &x, "5 ", err, sizeof err) == -1, "a blank is no unit");
}

static void test_conf_file(void)
{
	struct settings s;
	ok(read_text("", &s) == 0 && s.number == 5 && s.size == 64 << 20 && s.yes && strcmp(s.text, "abc") == 0 &&
	   s.list.n == 1 && strcmp(s.list.at[0].host, "127.0.0.1") == 0 && s.list.at[0].port == 53 && s.one.n == 0 && s.fd == -1,
	   "defaults");
	ok(conf_read(NULL, table, NKEYS, &s, &say) == 0 && s.number == 5, "the same without a file");
	ok(read_text("# all\nnumber 7\nsize 3G\nyes off\ntext x y\nlist 192.0.2.1@1\nlist 2001:db8::2@2\none 192.0.2.3@3\nkey fd:9", &s) == 0 &&
	   s.number == 7 && s.size == 3ull << 30 && !s.yes && strcmp(s.text, "x y") == 0 && s.list.n == 2 && s.list.at[0].port == 1 &&
	   strcmp(s.list.at[1].host, "2001:db8::2") == 0 && s.one.n == 1 && s.fd == 9, "values replace defaults, lists too (%s)", said);
	ok(read_text("list 192.0.2.1@1\nlist 192.0.2.1@2\nlist 192.0.2.1@3\nlist 192.0.2.1@4\n", &s) == 1 && strstr(said, "file:4: "),
	   "a list has its end: %s", said);
	int wrong = read_text("number 0\n\nnumber 2\nnonsense 1\nyes\nsize 5x\n#\nkey /x\ntext 123456789", &s);
	ok(wrong == 7 && strstr(said, "file:1: ") && strstr(said, "file:3: ") && strstr(said, "file:4: ") && strstr(said, "file:5: ") &&
	   strstr(said, "file:6: ") && strstr(said, "file:8: ") && strstr(said, "file:9: "), "all mistakes are said, with their lines (%d)", wrong);
	char text[3000];
	memset(text, 'x', sizeof text);
	memcpy(text, "number 9\ntext ", 14);
	memcpy(text + 2990, "\nyes off", 9);
	ok(read_text(text, &s) == 1 && strstr(said, "file:2: ") && s.number == 9 && !s.yes, "a line too long: %s", said);
	memset(&s, 0, sizeof s);
	*said = 0;
	ok(conf_read_text("number 9\0 10\n", 13, "file", table, NKEYS, &s, &say) == 1, "a NUL is refused: %s", said);

	char path[100];
	snprintf(path, sizeof path, "%s/conf", dir);
	*said = 0;
	ok(conf_read(path, table, NKEYS, &s, &say) == -1 && strstr(said, "conf:0: No such file"), "no file: %s", said);
	FILE *f = fopen(path, "w");
	fputs("number 8\n", f);
	fclose(f);
	ok(conf_read(path, table, NKEYS, &s, &say) == 0 && s.number == 8, "a file");
	f = fopen(path, "w");
	for (unsigned i = 0; i < 100000; i++)
		fputs("# a comment\n", f);
	fputs("number 3\n", f);
	fclose(f);
	ok(conf_read(path, table, NKEYS, &s, &say) != 0 || s.number == 3, "a file is never cut short silently");
}

/* ---- the loop ---- */

struct watched { struct src src; unsigned order, woken; uint32_t got; struct watched *victim; };
static struct loop loop;
static unsigned order;

static void on_probe(struct src *s, uint32_t got, uint64_t now)
{
	struct watched *p = (struct watched *)(void *)s;
	(void)now;
	p->order = ++order;
	p->woken++;
	p->got = got;
	if (p->victim) {
		loop_del(&loop, &p->victim->src);
		memset(&p->victim->src, 0xee, sizeof p->victim->src);
		p->victim = NULL;
	}
}

static void turn(uint64_t ns)
{
	loop_wait(&loop, loop_now() + ns);
	loop_wake(&loop);
}

/* Each says when it was woken, and that it is not before what the one before it saw. */
static uint64_t seen;
static unsigned early;
static void on_time(struct src *s, uint32_t got, uint64_t now)
{
	(void)s;
	(void)got;
	early += now < seen;
	seen = loop_now();
}

static void test_time_passes(void)
{
	struct src s[6];
	int fd[2];
	loop_init(&loop);
	if (pipe(fd) != 0 || write(fd[1], "x", 1) != 1)
		return;
	for (unsigned i = 0; i < 6; i++) {
		s[i] = (struct src){ .fd = i < 3 ? dup(fd[0]) : -1, .want = i < 3 ? EPOLLIN : 0,
			             .due_ns = i < 3 ? LOOP_NEVER : loop_now(), .wake = on_time };
		loop_add(&loop, &s[i]);
	}
	turn(SECOND);
	ok(seen && early == 0, "nobody is woken at a time before what another has noted in the same turn (%u were)", early);
	for (unsigned i = 0; i < 3; i++)
		close(s[i].fd);
	close(fd[0]);
	close(fd[1]);
	loop_close(&loop);
}

static void test_timers(void)
{
	static struct watched p[100];
	unsigned bad = 0;
	uint64_t now = loop_now();
	loop_init(&loop);
	order = 0;
	for (unsigned i = 0; i < 50; i++) { /* past ones, in a strange order */
		p[i].src = (struct src){ .fd = -1, .due_ns = now - 1000 + i * 37 % 50, .wake = on_probe };
		loop_add(&loop, &p[i].src);
	}
	for (unsigned i = 0; i < 50; i += 5)
		loop_due(&loop, &p[i].src, LOOP_NEVER);
	for (unsigned i = 0; i < 50; i += 10)
		loop_due(&loop, &p[i].src, now - 2000 - i);
	loop_del(&loop, &p[7].src);
	turn(0);
	for (unsigned i = 0; i < 50; i++) {
		bool never = i == 7 || (i % 5 == 0 && i % 10);
		bad += p[i].woken != !never || (p[i].woken && p[i].got != 0);
		for (unsigned x = 0; x < 50; x++)
			if (p[i].woken && p[x].woken && i % 10 && x % 10 && i * 37 % 50 < x * 37 % 50)
				bad += p[i].order > p[x].order;
		bad += i && i % 10 == 0 && p[i].order > p[i - 10].order;
	}
	ok(bad == 0, "timers wake in the order of their times (%u wrong)", bad);
	turn(0);
	for (unsigned i = 0; i < 50; i++)
		bad += p[i].woken > 1;
	ok(bad == 0, "once each");
	/* one removes another that is due in the same turn */
	memset(p, 0, sizeof p);
	for (unsigned i = 0; i < 2; i++) {
		p[i].src = (struct src){ .fd = -1, .due_ns = now + i, .wake = on_probe };
		loop_add(&loop, &p[i].src);
	}
	p[0].victim = &p[1];
	turn(0);
	ok(p[0].woken == 1 && p[1].woken == 0 && !loop.first, "a timer removed by another is not woken");
	uint64_t from = loop_now();
	memset(p, 0, sizeof p);
	p[0].src = (struct src){ .fd = -1, .due_ns = from + 30000000, .wake = on_probe };
	loop_add(&loop, &p[0].src);
	while (p[0].woken == 0 && loop_now() - from < 5 * SECOND)
		turn(SECOND);
	uint64_t took = loop_now() - from;
	ok(p[0].woken == 1 && took >= 30000000 && took < 5 * SECOND, "a timer of 30 ms is never early (took %llu ms)",
	   (unsigned long long)took / 1000000);
	loop_close(&loop);
}

static void test_descriptors(void)
{
	enum { N = 150 };
	static struct watched p[N];
	static int fd[N][2];
	unsigned bad = 0;
	loop_init(&loop);
	for (unsigned i = 0; i < N; i++) {
		if (pipe(fd[i]) != 0)
			exit(1);
		p[i].src = (struct src){ .fd = fd[i][0], .want = EPOLLIN, .due_ns = LOOP_NEVER, .wake = on_probe };
		bad += loop_add(&loop, &p[i].src) != 0;
	}
	turn(0);
	for (unsigned i = 0; i < N; i++) {
		bad += p[i].woken != 0;
		bad += write(fd[i][1], "x", 1) != 1;
	}
	for (unsigned i = 0; i < 10; i++)
		turn(0);
	for (unsigned i = 0; i < N; i++)
		bad += p[i].woken < 2 || p[i].got != EPOLLIN; /* more than one batch; level-triggered */
	ok(bad == 0, "%d descriptors are woken, in turns, as long as they are ready (%u wrong)", N, bad);
	for (unsigned i = 0; i < N; i++) {
		p[i].woken = 0;
		if (i % 2)
			loop_want(&loop, &p[i].src, 0);
	}
	for (unsigned i = 0; i < 5; i++)
		turn(0);
	for (unsigned i = 0; i < N; i++)
		bad += (p[i].woken == 0) != (i % 2);
	ok(bad == 0, "who wants nothing is left alone (%u wrong)", bad);
	for (unsigned i = 0; i < N; i++) {
		loop_want(&loop, &p[i].src, EPOLLIN);
		p[i].woken = 0;
		if (i >= 2)
			loop_del(&loop, &p[i].src);
	}
	p[0].victim = &p[1];
	p[1].victim = &p[0];
	turn(0);
	ok(p[0].woken + p[1].woken == 1, "a source removed by another in the same turn is not woken");
	struct watched file = { .src = { .fd = open("/dev/null", O_RDONLY), .want = EPOLLIN, .due_ns = 1, .wake = on_probe } };
	ok(loop_add(&loop, &file.src) == -1 && errno == EPERM && !loop.first, "what can't be waited for is refused whole");
	close(file.src.fd);
	for (unsigned i = 0; i < N; i++) {
		close(fd[i][0]);
		close(fd[i][1]);
	}
	loop_close(&loop);
}

/* ---- the control socket ---- */

static struct ctl_conn *later;
static char asked[300];
static unsigned pieces;

static void on_request(void *owner, struct ctl_conn *c, int argc, char **argv)
{
	(void)owner;
	*asked = 0;
	for (int i = 0; i < argc; i++)
		snprintf(asked + strlen(asked), sizeof asked - strlen(asked), "%s|", argv[i]);
	pieces = 0;
	later = c;
	if (strcmp(argv[0], "now") != 0 || argv[argc])
		return;
	ctl_print(c, CTL_OUT, "one %d\n", 1);
	ctl_print(c, CTL_ERR, "two\n");
	ctl_done(c, 7);
	later = NULL;
}

struct call { int code, argc; char **argv; pthread_t t; _Atomic bool done; };

static void *call_thread(void *p)
{
	struct call *c = p;
	c->code = ctl_call(dir, c->argc, c->argv);
	c->done = true;
	return NULL;
}

/* Runs the loop, and an answer in `n` pieces when one is to come later. */
static int call(int argc, char **argv, unsigned n)
{
	struct call c = { .argc = argc, .argv = argv };
	uint64_t from = loop_now();
	pthread_create(&c.t, NULL, call_thread, &c);
	while (!c.done && loop_now() - from < 20 * SECOND) {
		turn(SECOND / 100);
		if (!later)
			continue;
		if (pieces++ < n) {
			ctl_print(later, CTL_OUT, "%04000u\n", pieces);
		} else {
			ctl_done(later, 3);
			later = NULL;
		}
	}
	pthread_join(c.t, NULL);
	return c.code;
}

static int raw_connect(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof a.sun_path, "%.80s/control", dir);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	close(fd);
	return -1;
}

/* The client's output goes to a file; its length. */
static off_t captured(int *code, int argc, char **argv, unsigned n)
{
	char path[100];
	struct stat sb;
	snprintf(path, sizeof path, "%s/out", dir);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600), out = dup(1), error = dup(2);
	fflush(stdout);
	dup2(fd, 1);
	dup2(fd, 2);
	*code = call(argc, argv, n);
	fflush(stdout);
	dup2(out, 1);
	dup2(error, 2);
	fstat(fd, &sb);
	close(fd);
	close(out);
	close(error);
	return sb.st_size;
}

/* A server that breaks off inside its answer. */
static void *broken_server(void *p)
{
	int s = *(int *)p, fd = accept(s, NULL, NULL);
	char b[100];
	while (read(fd, b, sizeof b) > 0)
		;
	uint8_t row[5 + 3000] = { CTL_OUT, 0, 0, 0, 10 }, big[5 + 10] = { CTL_OUT, 0, 1, 0, 0 };
	if (write(fd, row, 15) != 15 || write(fd, big, sizeof big) != sizeof big)
		exit(1);
	close(fd);
	return NULL;
}

static void test_ctl(void)
{
	char err[200];
	int code;
	loop_init(&loop);
	char *now[] = { "now", "", "x y" }, *slow[] = { "later" };
	ok(!ctl_listen(&loop, "/nowhere", on_request, NULL, err, sizeof err) && strstr(err, "/nowhere/control"), "no folder: %s", err);
	struct ctl *c = ctl_listen(&loop, dir, on_request, NULL, err, sizeof err);
	if (!ok(c != NULL, "the control socket opens"))
		return;
	struct stat sb;
	char path[100];
	snprintf(path, sizeof path, "%s/control", dir);
	ok(stat(path, &sb) == 0 && (sb.st_mode & 0777) == 0600, "only its owner may use it");
	off_t n = captured(&code, 3, now, 0);
	ok(code == 7 && n == 10 && strcmp(asked, "now||x y|") == 0, "a request, its answer and exit code (%d, %s)", code, asked);
	n = captured(&code, 1, slow, 300);
	ok(code == 3 && n == 300 * 4001, "an answer in 300 pieces, later (%d, %lld octets)", code, (long long)n);

	/* clients that go away: before asking, before the answer, in its midst */
	unsigned bad = 0;
	for (unsigned i = 0; i < 60; i++) {
		int fd = raw_connect();
		bad += fd < 0;
		if (i % 3 == 0 && write(fd, "lat", 3) != 3)
			bad++;
		if (i % 3) {
			bad += write(fd, "later", 6) != 6;
			shutdown(fd, SHUT_WR);
			for (unsigned x = 0; x < 5 && !later; x++)
				turn(SECOND / 100);
			bad += !later;
		}
		if (i % 3 == 2)
			for (unsigned x = 0; x < 200; x++)
				ctl_print(later, CTL_OUT, "%04000u\n", x); /* more than the socket takes */
		close(fd);
		for (unsigned x = 0; x < 3; x++)
			turn(0);
		if (later) {
			if (i % 2) {
				ctl_print(later, CTL_OUT, "to nobody\n");
				turn(0);
			}
			ctl_done(later, 0);
			later = NULL;
			turn(0);
		}
		turn(0);
	}
	ok(bad == 0, "60 clients that go away (%u wrong)", bad);
	n = captured(&code, 3, now, 0);
	ok(code == 7 && n == 10, "harm nobody else");
	int many[40];
	for (unsigned i = 0; i < 40; i++, turn(0))
		many[i] = raw_connect();
	for (unsigned i = 0; i < 50; i++)
		turn(0);
	for (unsigned i = 0; i < 40; i++)
		close(many[i]);
	for (unsigned i = 0; i < 50; i++)
		turn(0);
	n = captured(&code, 3, now, 0);
	ok(code == 7 && n == 10, "nor do 40 that say nothing");
	ctl_close(c);
	ok(stat(path, &sb) != 0, "the socket goes with its owner");
	n = captured(&code, 3, now, 0);
	ok(code == 1 && n > 20, "nobody there: exit code 1 and a message");
	loop_close(&loop);

	struct sockaddr_un a = { .sun_family = AF_UNIX };
	snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	pthread_t t;
	if (bind(s, (struct sockaddr *)&a, sizeof a) != 0 || listen(s, 1) != 0)
		exit(1);
	loop_init(&loop);
	pthread_create(&t, NULL, broken_server, &s);
	n = captured(&code, 3, now, 0);
	pthread_join(t, NULL);
	ok(code == 1, "an answer that breaks off: exit code 1");
	close(s);
	loop_close(&loop);
}

/* ---- links ---- */

struct end { /* one side */
	struct link *l;
	unsigned ready, frames, bad, room, closed;
	size_t octets;
	uint32_t next; /* number of the frame that must come */
	uint32_t seen, ahead; /* 1 + number of the last that was looked at before its turn; how many were */
	char why[200];
	bool close_in_frame, fail_in_frame, answer;
};

static void on_ready(struct link *l) { ((struct end *)link_owner(l))->ready++; }
static void on_room(struct link *l) { ((struct end *)link_owner(l))->room++; }

/* A frame's content: its number, and octets that follow from it. */
static size_t content(uint32_t number, size_t n, uint8_t *out)
{
	put_u32(out, number);
	for (size_t i = 4; i < n; i++)
		out[i] = (uint8_t)(number + i * 13);
	return n;
}

static uint8_t big[FRAME_MAX + 16], want[FRAME_MAX];

static bool send_number(struct end *e, uint32_t number, size_t n)
{
	content(number, n, big);
	size_t cut = n / 3;
	struct part p[3] = { { big, cut }, { big + cut, 0 }, { big + cut, n - cut } };
	return link_send(e->l, (uint8_t)(20 + number % 50), p, 3);
}

static void on_frame(struct link *l, uint8_t type, const uint8_t *p, size_t n, uint64_t now)
{
	struct end *e = link_owner(l);
	(void)now;
	e->frames++;
	e->octets += n;
	if (n < 4 || get_u32(p) != e->next || type != 20 + e->next % 50 || content(e->next, n, want) != n || memcmp(want, p, n) != 0)
		e->bad++;
	e->next++;
	if (e->answer)
		send_number(e, e->frames - 1, n);
	if (e->close_in_frame) {
		link_close(l);
		link_close(l);
		e->l = NULL;
	} else if (e->fail_in_frame) {
		link_fail(l, "enough");
		link_send(l, 1, NULL, 0);
	}
}

/* In order, each at most once, none whose turn has come. */
static void on_ahead(struct link *l, uint8_t type, const uint8_t *p, size_t n)
{
	struct end *e = link_owner(l);
	if (n < 4 || type < 20)
		return;
	e->bad += get_u32(p) < e->next || get_u32(p) < e->seen || content(get_u32(p), n, want) != n || memcmp(want, p, n) != 0;
	e->seen = get_u32(p) + 1;
	e->ahead++;
}

static void on_closed(struct link *l, const char *why)
{
	struct end *e = link_owner(l);
	e->closed++;
	snprintf(e->why, sizeof e->why, "%s", why);
	e->l = NULL;
}
static const struct link_calls calls = { .ready = on_ready, .frame = on_frame, .ahead = on_ahead, .room = on_room, .closed = on_closed };

static void pair(int fd[2])
{
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd) != 0)
		exit(1);
}

static void turns(unsigned n)
{
	while (n-- > 0)
		turn(0);
}

static void test_plain(void)
{
	uint8_t wire[2000];
	unsigned bad = 0;
	int fd[2];
	loop_init(&loop);
	/* four frames and a ping, in two pieces cut at each octet, and one by one */
	size_t n = 0;
	static const size_t sizes[4] = { 4, 5, 300, 77 };
	for (unsigned i = 0; i < 4; i++) {
		put_u24(wire + n, (uint32_t)sizes[i]);
		wire[n + 3] = (uint8_t)(20 + i);
		n += 4 + content(i, sizes[i], wire + n + 4);
		if (i == 1) {
			put_u24(wire + n, 3);
			wire[n + 3] = FRAME_PING;
			memcpy(wire + n + 4, "abc", 3);
			n += 7;
		}
	}
	for (size_t cut = 0; cut <= n; cut++) {
		struct end e = { 0 };
		pair(fd);
		e.l = link_new(&loop, fd[0], NULL, false, &calls, &e);
		for (size_t i = 0; i < n;) {
			size_t m = cut == n ? 1 : i < cut ? cut - i : n - i;
			if (write(fd[1], wire + i, m) != (ssize_t)m)
				bad++;
			i += m;
			turn(0);
		}
		bad += e.frames != 4 || e.ahead != 4 || e.bad || e.closed || e.octets != 386;
		close(fd[1]);
		turns(2);
		bad += e.closed != 1 || e.l;
	}
	ok(bad == 0, "frames split at every octet (%u wrong)", bad);

	struct end e = { 0 };
	pair(fd);
	e.l = link_new(&loop, fd[0], NULL, false, &calls, &e);
	put_u24(wire, FRAME_MAX + 1);
	wire[3] = 9;
	bad = write(fd[1], wire, 4) != 4;
	turns(2);
	ok(bad == 0 && e.closed == 1 && strstr(e.why, "too large") && read(fd[1], wire, 1) == 0, "a frame too large closes: %s", e.why);
	close(fd[1]);

	for (unsigned how = 0; how < 2; how++) {
		struct end a = { 0 }, b = { .close_in_frame = how == 0, .fail_in_frame = how == 1 };
		pair(fd);
		a.l = link_new(&loop, fd[0], NULL, false, &calls, &a);
		b.l = link_new(&loop, fd[1], NULL, false, &calls, &b);
		for (uint32_t i = 0; i < 5; i++)
			send_number(&a, i, 50);
		turns(5);
		ok(b.frames == 1 && !b.l && b.closed == how && a.closed == 1, "%s inside a frame's call ends it at once",
		   how ? "link_fail" : "link_close");
	}

	struct end a = { 0 }, b = { 0 };
	pair(fd);
	a.l = link_new(&loop, fd[0], NULL, false, &calls, &a);
	b.l = link_new(&loop, fd[1], NULL, false, &calls, &b);
	for (uint32_t i = 0; i < 3; i++) {
		send_number(&a, i, FRAME_MAX - i);
		send_number(&b, i, 1000000 + i);
	}
	bad = link_queued(a.l) < (1u << 20) || link_queued(b.l) < (1u << 20);
	for (unsigned i = 0; i < 20000 && (a.frames < 3 || b.frames < 3); i++)
		turn(SECOND / 1000);
	turns(3);
	ok(bad == 0 && a.frames == 3 && b.frames == 3 && a.bad + b.bad == 0 && a.room && link_queued(a.l) == 0 && link_queued(b.l) == 0,
	   "megabytes both ways, up to the largest frame");
	/* what can't be sent ends the link */
	struct part p = { big, FRAME_MAX + 1 };
	bad = link_send(a.l, 9, &p, 1);
	turns(3);
	ok(bad == 0 && a.closed == 1 && b.frames == 3, "a frame that is too large to send ends the link (%s)", a.why);
	if (a.l)
		link_close(a.l);
	if (b.l)
		link_close(b.l);
	turns(2);
	loop_close(&loop);
}

static void test_keepalive(void)
{
	static struct end quiet[2], busy[2];
	int fd[2], lone[2][2];
	loop_init(&loop);
	memset(quiet, 0, sizeof quiet);
	memset(busy, 0, sizeof busy);
	for (unsigned i = 0; i < 2; i++) { /* i: with keepalive; nobody answers */
		pair(lone[i]);
		quiet[i].l = link_new(&loop, lone[i][0], NULL, i, &calls, &quiet[i]);
	}
	pair(fd);
	for (unsigned i = 0; i < 2; i++)
		busy[i].l = link_new(&loop, fd[i], NULL, true, &calls, &busy[i]);
	/* answers inside the call: no ping is due */
	busy[1].answer = true;
	send_number(&busy[0], 0, 100);
	uint64_t from = loop_now(), dead = 0;
	uint8_t heard[200];
	ssize_t pings = 0;
	while (loop_now() - from < LINK_DEAD_NS + 2 * SECOND) {
		turn(SECOND / 4);
		if (quiet[1].closed && !dead)
			dead = loop_now() - from;
		ssize_t n = read(lone[1][1], heard, sizeof heard);
		pings += n > 0 ? n : 0;
	}
	ok(quiet[1].closed == 1 && dead >= LINK_DEAD_NS && strstr(quiet[1].why, "silent"), "a silent peer is given up: %s (after %llu ms)",
	   quiet[1].why, (unsigned long long)dead / 1000000);
	ok(pings >= 8 && pings <= 16 && pings % 4 == 0, "after %zd pings", pings / 4);
	ok(quiet[0].closed == 0 && read(lone[0][1], heard, sizeof heard) == -1, "without keepalive it may be silent, and hears nothing");
	ok(busy[0].closed + busy[1].closed == 0 && busy[0].frames == 1 && busy[1].frames == 1, "two that ping live on");
	link_close(quiet[0].l);
	link_close(busy[0].l);
	turns(2);
	close(lone[0][1]);
	close(lone[1][1]);
	loop_close(&loop);
}

/* Between frames nothing but frames: no ping follows an answer at once. */
static void test_no_needless_ping(void)
{
	struct end e = { .answer = true };
	uint8_t wire[4 + 10], back[100];
	int fd[2];
	loop_init(&loop);
	pair(fd);
	e.l = link_new(&loop, fd[0], NULL, true, &calls, &e);
	put_u24(wire, 10);
	wire[3] = 20;
	content(0, 10, wire + 4);
	bool sent = write(fd[1], wire, sizeof wire) == sizeof wire;
	turns(3);
	ok(sent && read(fd[1], back, sizeof back) == sizeof wire && memcmp(wire, back, sizeof wire) == 0, "an answer is not followed by a ping");
	link_close(e.l);
	close(fd[1]);
	loop_close(&loop);
}

static struct cred *issue(const char *ca, enum cert_role role, const char *name)
{
	char path[200], err[300];
	snprintf(path, sizeof path, "%s/%s.cred", dir, name);
	struct ca_order o = { .role = role, .name = name, .outfile = path };
	if (ca_issue(ca, NULL, &o, err, sizeof err) != 0)
		return NULL;
	int fd = open(path, O_RDONLY);
	struct cred *c = cred_read(fd, err, sizeof err);
	close(fd);
	return c;
}

static void test_tls(void)
{
	char ca[100], err[300];
	int fd[2];
	snprintf(ca, sizeof ca, "%s/ca", dir);
	loop_init(&loop);
	bool made = ca_init(ca, NULL, NULL, err, sizeof err) == 0;
	struct cred *hub = issue(ca, ROLE_HUB, "hub1"), *node = issue(ca, ROLE_NODE, "node1");
	if (!ok(made && hub && node, "credentials (%s)", made ? "" : err))
		return;
	static struct end a, b;
	memset(&a, 0, sizeof a);
	memset(&b, 0, sizeof b);
	pair(fd);
	a.l = link_new(&loop, fd[0], tls_server(hub, ROLE_NODE), true, &calls, &a);
	b.l = link_new(&loop, fd[1], tls_client(node, ROLE_HUB), true, &calls, &b);
	/* queued before the handshake has ended, both ways at once */
	for (uint32_t i = 0; i < 3; i++) {
		send_number(&a, i, 1500000 + i);
		send_number(&b, i, 1400000 + i);
	}
	uint64_t from = loop_now();
	while ((a.frames < 3 || b.frames < 3) && !a.closed && !b.closed && loop_now() - from < 20 * SECOND)
		turn(SECOND / 100);
	ok(a.frames == 3 && b.frames == 3 && a.bad + b.bad == 0 && a.ready == 1 && b.ready == 1, "TLS: megabytes both ways (%s%s)", a.why, b.why);
	for (uint32_t i = 3; i < 200 && a.l && b.l; i++) {
		send_number(&a, i, 4 + i * 7);
		send_number(&b, i, 4 + i * 11);
		if (i % 3 == 0)
			turn(0);
	}
	for (unsigned i = 0; i < 1000 && (a.frames < 200 || b.frames < 200); i++)
		turn(SECOND / 1000);
	ok(a.frames == 200 && b.frames == 200 && a.bad + b.bad == 0, "TLS: many small frames");
	ok(a.l && strcmp(tls_peer_name(link_tls(a.l)), "node1") == 0, "the peer's name is known");
	/* one stops while the other is sending */
	if (a.l && b.l) {
		for (uint32_t i = 200; i < 203; i++)
			send_number(&a, i, 1000000);
		link_close(a.l);
	}
	for (unsigned i = 0; i < 200 && !b.closed; i++)
		turn(SECOND / 1000);
	ok(b.closed == 1 && b.bad == 0, "a peer that leaves: %s", b.why);

	/* a wrong role, a stranger without TLS */
	memset(&a, 0, sizeof a);
	memset(&b, 0, sizeof b);
	pair(fd);
	a.l = link_new(&loop, fd[0], tls_server(hub, ROLE_NODE), true, &calls, &a);
	b.l = link_new(&loop, fd[1], tls_client(hub, ROLE_HUB), true, &calls, &b);
	send_number(&b, 0, 100);
	for (unsigned i = 0; i < 500 && !(a.closed && b.closed); i++)
		turn(SECOND / 1000);
	ok(a.closed == 1 && b.closed == 1 && a.ready == 0 && a.frames == 0, "a hub that calls a hub is refused: %s", a.why);
	memset(&a, 0, sizeof a);
	pair(fd);
	a.l = link_new(&loop, fd[0], tls_server(hub, ROLE_NODE), true, &calls, &a);
	memset(big, 0, 1000);
	bool sent = write(fd[1], big, 1000) == 1000;
	for (unsigned i = 0; i < 500 && !a.closed; i++)
		turn(SECOND / 1000);
	ok(sent && a.closed == 1 && a.frames == 0, "so is one without TLS: %s", a.why);
	close(fd[1]);
	cred_free(hub);
	cred_free(node);
	loop_close(&loop);
}

/* ---- memory ---- */

/* Through pointers, so that the compiler can't put its own in place. */
static void *(*volatile copy)(void *, const void *, size_t) = (void *(*)(void *, const void *, size_t))memcpy;
static void *(*volatile move)(void *, const void *, size_t) = memmove;
static int (*volatile compare)(const void *, const void *, size_t) = memcmp;

#define ROOM 2400u

static void fill(uint8_t *p)
{
	for (unsigned i = 0; i < ROOM; i++)
		p[i] = (uint8_t)(i * 7 + i / 251);
}

/* Moves n octets within a buffer and looks at all of it. */
static bool moved_well(size_t from, size_t to, size_t n)
{
	static uint8_t got[ROOM], due[ROOM], was[ROOM];
	fill(got);
	fill(due);
	fill(was);
	for (size_t i = 0; i < n; i++)
		due[to + i] = was[from + i];
	bool same = (from + n <= to || to + n <= from ? copy : move)(got + to, got + from, n) == got + to;
	for (size_t i = 0; i < ROOM && same; i++)
		same = got[i] == due[i];
	return same;
}

static void test_memory(void)
{
	static const size_t shift[] = { 0, 1, 3, 8, 15, 16, 17, 31, 32, 33, 64, 200, 1100 };
	unsigned wrong = 0;
	for (size_t n = 0; n <= 1200; n += n < 300 || n > 1000 ? 1 : 37)
		for (unsigned i = 0; i < sizeof shift / sizeof *shift; i++)
			wrong += !moved_well(5, 5 + shift[i], n) + !moved_well(5 + shift[i], 5, n);
	ok(wrong == 0, "octets are copied and moved whatever their number, apart or overlapping");
	uint8_t a[80], b[80];
	wrong = 0;
	for (size_t n = 0; n <= 70; n++)
		for (size_t at = 0; at < n + 2; at++) {
			memset(a, 'x', sizeof a);
			memset(b, 'x', sizeof b);
			b[3 + at] = 0xf0;
			b[3 + at + 1] = 'a'; /* behind the first difference: of no account */
			int d = compare(a + 3, b + 3, n), e = compare(b + 3, a + 3, n);
			wrong += at < n ? d >= 0 || e <= 0 : d != 0 || e != 0;
		}
	ok(wrong == 0, "they are compared as octets without a sign, the first difference decides");
}

/* ---- octets in hex ---- */

static void test_hex(void)
{
	static const char *const wrong[] = { "", "00ff1", "00ff1g", "00fF10", "00 ff1", "0x00ff" };
	uint8_t v[3];
	char text[7];
	ok(hex_read(v, "00ff1a and more", 3) && memcmp(v, "\0\xff\x1a", 3) == 0, "what follows the digits is not looked at");
	hex_text(text, v, 3);
	ok(strcmp(text, "00ff1a") == 0, "and back: %s", text);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		ok(!hex_read(v, wrong[i], 3), "\"%s\" is refused", wrong[i]);
}

/* ---- the words of a command line ---- */

struct words { const char *dir; uint64_t wait; int fd; bool yes; };

static const struct conf_key words[] = {
	{ .key = "--dir", .parse = option_word, .off = offsetof(struct words, dir) },
	{ .key = "--wait", .parse = conf_number, .off = offsetof(struct words, wait), .max = 100 },
	{ .key = "--key", .parse = conf_fd, .off = offsetof(struct words, fd) },
	{ .key = "--yes", .off = offsetof(struct words, yes) },
};

/* text is split at blanks. */
static int take_words(const char *text, struct words *w, char **argv, char *err)
{
	static char line[200];
	int argc = 0;
	snprintf(line, sizeof line, "%s", text);
	for (char *p = strtok(line, " "); p; p = strtok(NULL, " "))
		argv[argc++] = p;
	*w = (struct words){ .wait = 7 };
	return options_read(argc, argv, words, sizeof words / sizeof *words, w, err, 200);
}

static void test_options(void)
{
	static const struct { const char *text, *why; } wrong[] = {
		{ "--dir=", "--dir wants a value" },
		{ "--dir", "lacking behind --dir" }, { "--what", "unknown option --what" }, { "--di x", "unknown option --di" },
		{ "--dirs x", "unknown option --dirs" }, { "--wait ten", "--wait wants a number" }, { "--wait 101", "0 to 100" },
		{ "--wait=", "--wait wants a number" }, { "--key 3", "by a descriptor, fd:N (never" },
		{ "--yes=no", "no value" }, { "-x", "unknown" },
	};
	char *argv[20], err[200];
	struct words w;
	ok(take_words("a --dir x --wait=0 b --key fd:3 - --yes", &w, argv, err) == 3 && strcmp(argv[0], "a") == 0 &&
	           strcmp(argv[1], "b") == 0 && strcmp(argv[2], "-") == 0, "words that are no options come first");
	ok(strcmp(w.dir, "x") == 0 && w.wait == 0 && w.fd == 3 && w.yes, "options are taken");
	ok(take_words("--dir a --dir=b=c", &w, argv, err) == 0 && strcmp(w.dir, "b=c") == 0 && w.wait == 7 && !w.yes,
	   "the last one counts; what is not said stays");
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		ok(take_words(wrong[i].text, &w, argv, err) == -1 && strstr(err, wrong[i].why), "%s: %s", wrong[i].text, err);
}

/* ---- files put in their place ---- */

static bool holds(const char *name, const char *text)
{
	char path[200], have[100];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, have, sizeof have);
	if (fd >= 0)
		close(fd);
	return n == (ssize_t)strlen(text) && memcmp(have, text, (size_t)n) == 0;
}

static bool there(const char *name)
{
	char path[200];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

/* A file system without links; for all that is linked with this. */
static bool no_links;
int linkat(int from, const char *name, int to, const char *other, int flags)
{
	if (no_links)
		return errno = EPERM, -1;
	return (int)syscall(SYS_linkat, from, name, to, other, flags);
}

static void test_without_links(int folder)
{
	struct draft d;
	no_links = true;
	ok(draft_open(&d, folder, "file", "file.a", 0600) == 0 &&
	           draft_end(&d, io_write_all(d.fd, "four", 4), false) == -1 && errno == EEXIST &&
	           holds("file", "two") && !there("file.a"), "nor where there are no links");
	ok(draft_open(&d, folder, "fresh", "fresh.a", 0600) == 0 &&
	           draft_end(&d, io_write_all(d.fd, "five", 4), false) == 0 && holds("fresh", "five") &&
	           !there("fresh.a"), "where a new one is put all the same");
	no_links = false;
}

static void test_drafts(void)
{
	struct draft d, e;
	struct stat st;
	int folder = open(dir, O_RDONLY | O_DIRECTORY);
	ok(io_save(dir, "file", "one", 3, 0600) == 0 && holds("file", "one") && !there("file.new"), "a file is written");
	ok(fstatat(folder, "file", &st, 0) == 0 && (st.st_mode & 0777) == 0600, "for nobody else");
	ok(io_save_at(folder, "file", "two", 3, 0600) == 0 && holds("file", "two"), "and replaced");
	ok(draft_open(&d, folder, "file", "file.a", 0600) == 0 && draft_end(&d, io_write_all(d.fd, "three", 5), false) == -1 &&
	           errno == EEXIST && holds("file", "two") && !there("file.a"), "not when it is to stay");
	test_without_links(folder);
	ok(draft_open(&d, folder, "new", "new.a", 0600) == 0 && draft_open(&e, folder, "new", "new.b", 0600) == 0 &&
	           draft_end(&e, io_write_all(e.fd, "b", 1), false) == 0 && draft_end(&d, io_write_all(d.fd, "a", 1), false) == -1 &&
	           holds("new", "b") && !there("new.a") && !there("new.b"), "of two at a time the first one stays");
	ok(draft_open(&d, folder, "file", NULL, 0600) == 0 && (errno = ENOSPC) && draft_end(&d, -1, true) == -1 && errno == ENOSPC &&
	           holds("file", "two") && !there("file.new"), "what failed leaves the old one, and says why");
	ok(symlinkat("/etc/passwd", folder, "file.new") == 0 && io_save(dir, "file", "x", 1, 0600) == -1 && errno == ELOOP,
	   "a link in its way is not followed");
	unlinkat(folder, "file.new", 0);
	char longest[300];
	memset(longest, 'x', sizeof longest);
	longest[254] = 0;
	ok(io_save(dir, longest, "x", 1, 0600) == -1 && errno == ENAMETOOLONG, "a name without room for what stands beside it");
	ok(io_save("/nonexistent", "file", "x", 1, 0600) == -1 && errno == ENOENT, "no folder");
	close(folder);
}

int main(void)
{
	snprintf(dir, sizeof dir, "/tmp/base-test-XXXXXX");
	if (crypto_init() != 0 || !mkdtemp(dir))
		return 1;
	test_memory();
	test_hex();
	test_options();
	test_drafts();
	test_conf_values();
	test_conf_file();
	test_timers();
	test_time_passes();
	test_descriptors();
	test_ctl();
	test_plain();
	test_no_needless_ping();
	test_tls();
	test_keepalive();
	char cmd[100];
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	if (system(cmd) != 0)
		return 1;
	return tap_done();
}
