/* test_remote.c - the operator's side of port 22 (hub/remote.h) against a machine in
 * strange hands: it is a process of its own, on a socket of the loopback. */
#include "hub/remote.h"
#include "tests/minica.h"
#include "tests/tap.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct minica ca;
static struct cred *machine, *other, *operator;
static char host[64];

enum trick { HONEST, ENDLESS, OTHER_ID, ESCAPES, SILENT, FULL, DEAF };

/* ---- the machine ---- */

static bool swap(int fd, struct tls *t)
{
	const uint8_t *out;
	size_t n;

	while ((out = tls_wire_out(t, &n)) != NULL) {
		ssize_t w = send(fd, out, n, MSG_NOSIGNAL);
		if (w <= 0)
			return false;
		tls_wire_out_done(t, (size_t)w);
	}
	return true;
}

static bool shake(int fd, struct tls *t)
{
	size_t room;

	while (!tls_ready(t)) {
		uint8_t *in = tls_wire_in(t, &room);
		ssize_t n = in ? recv(fd, in, room, 0) : 0;
		if (n <= 0)
			return false;
		tls_wire_in_done(t, (size_t)n);
		if (!swap(fd, t))
			return false;
	}
	return true;
}

static bool give(int fd, struct tls *t, struct gate_buf *out)
{
	bool all;

	do {
		all = gate_buf_give(out, t);
		if (!swap(fd, t))
			return false;
	} while (!all);
	return true;
}

static void put_hello(struct gate_buf *out, enum trick how, const uint8_t exporter[static 32])
{
	static const char inventory[] = "cpu.count 4\n", escapes[] = "cpu.count \033[2J4\n";
	struct gate_hello h = { .state = GATE_RUNNING, .boots = 1, .inventory = how == ESCAPES ? escapes : inventory };

	h.inventory_len = strlen(h.inventory);
	machine_id(how == OTHER_ID ? other->key->pub : machine->key->pub, h.id);
	gate_put_hello(out, &h, machine, exporter);
}

static void serve(int fd, enum trick how)
{
	struct tls *t = tls_server(machine, ROLE_OPERATOR);
	struct gate_buf *out = gate_buf_new();
	struct gate_result r = { .code = GATE_DONE, .more = true };
	static char text[GATE_TEXT - 1];
	uint8_t exporter[32];

	if (!shake(fd, t) || tls_export(t, GATE_EXPORT, exporter) != 0)
		return;
	if (how == SILENT)
		pause();
	put_hello(out, how, exporter);
	memset(text, 'x', sizeof text);
	r.text = text;
	r.text_len = sizeof text;
	if (!give(fd, t, out))
		return;
	if (how == HONEST) {
		r.more = false;
		r.text_len = 3;
		gate_put_result(out, &r);
		give(fd, t, out);
		pause();
	}
	if (how == FULL || how == DEAF) { /* in the midst of what comes */
		static const char why[] = "the bundle can't be written: No space left on device";
		usleep(300000);
		gate_put_result(out, &(struct gate_result){ .code = GATE_FAILED, .text = why, .text_len = strlen(why) });
		give(fd, t, out);
		if (how == DEAF)
			pause();
	}
	while (how == ENDLESS && gate_put_result(out, &r) && give(fd, t, out))
		;
}

/* The same in every process: the pool of keys is its own. */
static void make_parties(void)
{
	if (crypto_init() != 0)
		abort();
	minica_init(&ca, 1);
	machine = minica_party(&ca, ROLE_MACHINE, "fra1", MINICA_FROM, MINICA_UNTIL);
	other = minica_party(&ca, ROLE_MACHINE, "fra2", MINICA_FROM, MINICA_UNTIL);
	operator = minica_party(&ca, ROLE_OPERATOR, "alice", MINICA_FROM, MINICA_UNTIL);
}

static pid_t start(enum trick how)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof a;
	int s = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(s, (struct sockaddr *)&a, sizeof a) != 0 || listen(s, 1) != 0 || getsockname(s, (struct sockaddr *)&a, &n) != 0)
		abort();
	snprintf(host, sizeof host, "127.0.0.1@%u", ntohs(a.sin_port));
	pid_t pid = fork();
	if (pid == 0) {
		alarm(60);
		make_parties();
		int fd = accept(s, NULL, NULL);
		close(s);
		serve(fd, how);
		_exit(0);
	}
	close(s);
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- the operator ---- */

static long memory_mib(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_maxrss / 1024;
}

static void test_honest(void)
{
	pid_t pid = start(HONEST);
	struct remote r;
	struct buf text = { 0 };
	enum gate_code code;

	ok(remote_open(&r, host, operator, machine->key->pub, 0) == 0 && r.hello.boots == 1, "an honest machine says who it is");
	ok(remote_result(&r, &code, &text) == 0 && code == GATE_DONE && strcmp((char *)text.p, "xxx") == 0, "and answers");
	buf_free(&text);
	remote_close(&r);
	stop(pid);
}

static void test_endless(void)
{
	pid_t pid = start(ENDLESS);
	struct remote r;
	struct buf text = { 0 };
	enum gate_code code;
	long before = memory_mib();

	ok(remote_open(&r, host, operator, machine->key->pub, 0) == 0, "another one talks");
	ok(remote_result(&r, &code, &text) == 1 && strstr(r.err, "no end"), "without end, and is cut off: %s", r.err);
	ok(text.n <= REMOTE_TEXT, "after %zu octets, at most %u", text.n, REMOTE_TEXT);
	ok(memory_mib() - before < 64, "it has cost %ld MiB", memory_mib() - before);
	buf_free(&text);
	remote_close(&r);
	stop(pid);
}

static void test_refused(enum trick how, const uint8_t *pin, const char *why, const char *name)
{
	pid_t pid = start(how);
	struct remote r;
	bool refused = remote_open(&r, host, operator, pin, 0) == 1;

	ok(refused && strstr(r.err, why), "%s: %s", name, r.err);
	remote_close(&r);
	stop(pid);
}

/* A machine that stops reading in the midst of a bundle has said why. */
static void test_full(enum trick how, const char *name)
{
	static uint8_t bundle[16 << 20];
	struct timespec from, to;
	pid_t pid = start(how);
	struct remote r;

	ok(remote_open(&r, host, operator, machine->key->pub, 0) == 0, "a machine without room");
	clock_gettime(CLOCK_MONOTONIC, &from);
	bool failed = remote_put_bundle(&r, bundle, sizeof bundle) == 1;
	clock_gettime(CLOCK_MONOTONIC, &to);
	ok(failed && strstr(r.err, "No space left"), "%s: its words are told: %s", name, r.err);
	ok(to.tv_sec - from.tv_sec < 5, "and not waited for (%ld s, bar 1 s)", (long)(to.tv_sec - from.tv_sec));
	remote_close(&r);
	stop(pid);
}

int main(void)
{
	make_parties();
	test_honest();
	test_endless();
	test_full(FULL, "hung up");
	test_full(DEAF, "reading no more");
	test_refused(OTHER_ID, machine->key->pub, "id is not its key's", "the id of another");
	test_refused(ESCAPES, machine->key->pub, "inventory is not of the form", "an inventory for the terminal's eyes");
	test_refused(HONEST, other->key->pub, "another key", "another machine in its place");
	test_refused(SILENT, machine->key->pub, "does not answer", "one that says nothing");
	cred_free(machine);
	cred_free(other);
	cred_free(operator);
	return tap_done();
}
