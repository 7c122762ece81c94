/* test_port.c - port 22 (main/gate.c with main/session.c) by a clock of the test's: who
 * keeps a place for how long, and what is said of whom.  There is no disk here. */
#include "main/gate.c"
#include "main/session.c"

#include "tests/minica.h"
#include "tests/tap.h"

/* ---- the machine's folder ---- */

const uint8_t *machine_map(const struct machine *m, const char *name, size_t *n)
{
	(void)m, (void)name, (void)n;
	return NULL;
}
void machine_unmap(const uint8_t *p, size_t n) { (void)p, (void)n; }
bool machine_read_hex(const struct machine *m, const char *name, uint8_t v[static 32])
{
	(void)m, (void)name, (void)v;
	return false;
}
size_t inventory_collect(const char *root, const uint8_t *image, char out[static INVENTORY_MAX])
{
	(void)root, (void)image, (void)out;
	return 0;
}

/* ---- the port ---- */

#define MS (SEC / 1000)

static struct minica ca;
static struct cred *alice, *bob;
static struct machine machine;
static struct loop loop;
static struct gate *gate;
static uint64_t now;
static unsigned tampered;

static void on_stranger(void *owner) { (void)owner, tampered++; }
static const struct gate_calls calls = { .stranger = on_stranger };

static void make_machine(void)
{
	static char inventory[INVENTORY_MAX];
	size_t n = 0;
	for (unsigned i = 0; n < 20000; i++)
		n += (size_t)sprintf(inventory + n, "disk.%u a disk as there are many\n", i);
	machine.cred = minica_party(&ca, ROLE_MACHINE, "fra1", MINICA_FROM, MINICA_UNTIL);
	machine.inventory = inventory;
	machine.inventory_len = n;
	machine.path = "/nonexistent";
	machine.dir = -1;
	machine_id(machine.cred->key->pub, machine.id);
}

/* ---- who comes ---- */

struct guest {
	int fd;
	struct conn *conn;
	struct tls *tls;
	struct gate_buf *in, *out;
};

/* The connection that a call from there has become; small: it takes no more than a few octets. */
static struct conn *call(int fd, bool small)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) };
	struct sockaddr_storage from = { 0 };
	int room = 1;
	memcpy(&from, &a, sizeof a);
	if (small)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
	newcomer(gate, fd, &from, now);
	for (struct conn *c = gate->conn; c < gate->conn + HANDSHAKES + SESSIONS; c++)
		if (c->src.fd == fd)
			return c;
	abort();
}

static struct guest arrive(const struct cred *who, bool small)
{
	int pair[2];
	struct guest g = { .in = gate_buf_new(), .out = gate_buf_new() };
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0 || !g.in || !g.out)
		abort();
	g.fd = pair[0];
	g.conn = call(pair[1], small);
	g.tls = who ? tls_client_machine(who, machine.cred->key->pub) : NULL;
	return g;
}

static void leave(struct guest *g)
{
	close(g->fd);
	tls_free(g->tls);
	gate_buf_free(g->in);
	gate_buf_free(g->out);
}

static bool stays(const struct guest *g) { return g->conn->src.fd >= 0; }

static void turn(struct guest *g)
{
	if (stays(g))
		wake(&g->conn->src, EPOLLIN, now);
}

/* Octets both ways until nothing moves; deaf: after the handshake nothing is read. */
static void exchange(struct guest *g, bool deaf)
{
	for (bool moved = true; moved;) {
		size_t n;
		const uint8_t *p;
		moved = false;
		gate_buf_give(g->out, g->tls);
		while ((p = tls_wire_out(g->tls, &n)) != NULL) {
			ssize_t w = send(g->fd, p, n, MSG_NOSIGNAL);
			if (w <= 0)
				break;
			tls_wire_out_done(g->tls, (size_t)w);
			moved = true;
		}
		turn(g);
		uint8_t *to = deaf && tls_ready(g->tls) ? NULL : tls_wire_in(g->tls, &n);
		ssize_t r = to ? recv(g->fd, to, n, 0) : -1;
		if (r > 0) {
			tls_wire_in_done(g->tls, (size_t)r);
			moved = true;
		}
		gate_buf_take(g->in, g->tls);
	}
}

/* A whole record with these octets of a message; the message itself need not be whole. */
static void say(struct guest *g, const void *p, size_t n)
{
	size_t room;
	uint8_t *to = tls_app_in(g->tls, &room);
	if (!to || room < n)
		abort();
	memcpy(to, p, n);
	tls_app_in_done(g->tls, n);
	tls_flush(g->tls);
}

static void pass(uint64_t ns)
{
	for (uint64_t until = now + ns; now < until; on_tick(&gate->tick, 0, now))
		now += 250 * MS;
}

/* ---- tests ---- */

/* An operator who sends a piece of a message every 10 s, and never the whole. */
static void test_drip(void)
{
	struct guest g = arrive(alice, false), other;
	static const uint8_t head[] = { 0, 0x40, 0, GATE_BUNDLE }, some[] = { 0 };
	exchange(&g, false);
	ok(stays(&g) && gate->one == g.conn, "an operator is listened to");
	say(&g, head, sizeof head);
	exchange(&g, false);
	for (unsigned i = 0; i < 11; i++) {
		pass(10 * SEC);
		say(&g, some, sizeof some);
		exchange(&g, false);
	}
	ok(stays(&g), "who is at a message for 110 s is waited for");
	other = arrive(bob, false);
	exchange(&other, false);
	ok(stays(&g) && gate->one == g.conn && !stays(&other), "and another is turned away");
	leave(&other);
	pass(10 * SEC + SEC);
	ok(!stays(&g) && !gate->one, "after 120 s without a whole one it has to go, whatever drips in");
	leave(&g);
}

static void put_chunk(struct guest *g, bool first)
{
	struct gate_chunk c = { first, false, rd_init("some", 4) };
	gate_put_chunk(g->out, &c);
	exchange(g, false);
}

/* One whose messages come whole, though slowly. */
static void test_whole(void)
{
	struct guest g = arrive(alice, false);
	char name[] = "/tmp/port-test-XXXXXX", file[40];
	if (!mkdtemp(name))
		abort();
	machine.dir = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	exchange(&g, false);
	for (unsigned i = 0; i < 4; i++) {
		put_chunk(&g, i == 0);
		pass(100 * SEC);
	}
	ok(stays(&g), "whose messages come whole, one in 100 s, stays");
	pass(21 * SEC);
	ok(!stays(&g), "until none comes for 120 s");
	leave(&g);
	close(machine.dir);
	machine.dir = -1;
	snprintf(file, sizeof file, "%s/bundle.new", name);
	unlink(file);
	rmdir(name);
}

/* Refused, it reads nothing of that, and talks on. */
static void test_ending(void)
{
	struct guest g = arrive(alice, true);
	static const uint8_t wrong[] = { 0xff, 0xff, 0xff, 0xff }, some[] = { 0 };
	exchange(&g, true);
	ok(stays(&g) && g.conn->session, "an operator who reads nothing");
	say(&g, wrong, sizeof wrong);
	exchange(&g, true);
	ok(stays(&g) && session_ending(g.conn->session), "is refused, and the answer does not go out");
	for (unsigned i = 0; i < 5 && stays(&g); i++) {
		pass(SEC / 2);
		say(&g, some, sizeof some);
		exchange(&g, true);
	}
	ok(!stays(&g), "what drips in does not keep it for more than 2 s");
	leave(&g);
}

static void test_strangers(void)
{
	char path[] = "/tmp/port-log-XXXXXX", text[4000];
	int err = dup(2), to = mkstemp(path);
	unlink(path);
	dup2(to, 2);
	struct guest silent = arrive(NULL, false), half = arrive(NULL, false), late = arrive(NULL, false),
	             garbage = arrive(NULL, false);
	shutdown(silent.fd, SHUT_RDWR);
	turn(&silent);
	send(half.fd, "\x16\x03", 2, 0);
	turn(&half);
	shutdown(half.fd, SHUT_RDWR);
	turn(&half);
	unsigned before = tampered;
	send(late.fd, "\x16\x03", 2, 0);
	turn(&late);
	send(garbage.fd, "SSH-2.0-OpenSSH\r\n", 17, 0);
	turn(&garbage);
	pass(11 * SEC);
	dup2(err, 2);
	close(err);
	ssize_t n = pread(to, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = 0;
	close(to);
	ok(!stays(&silent) && !stays(&half) && !stays(&late) && !stays(&garbage), "four strangers are gone");
	ok(before == 0 && tampered == 1, "one has tampered: the one who spoke something else");
	unsigned lines = 0;
	for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
		lines++;
	ok(lines == 3 && strstr(text, "is no operator") && strstr(text, "broke off") && strstr(text, "too slow"),
	   "who said something has a line, who said nothing has none:\n%s", text);
	leave(&silent), leave(&half), leave(&late), leave(&garbage);
}

int main(void)
{
	if (crypto_init() != 0 || loop_init(&loop) != 0)
		return 1;
	minica_init(&ca, 1);
	alice = minica_party(&ca, ROLE_OPERATOR, "alice", MINICA_FROM, MINICA_UNTIL);
	bob = minica_party(&ca, ROLE_OPERATOR, "bob", MINICA_FROM, MINICA_UNTIL);
	make_machine();
	now = loop_now();
	gate = gate_new(&loop, &(struct gate_conf){ .machine = &machine }, &calls, NULL);
	if (!gate)
		return 1;
	test_drip();
	test_whole();
	test_ending();
	test_strangers();
	gate_free(gate);
	loop_close(&loop);
	cred_free(machine.cred);
	cred_free(alice);
	cred_free(bob);
	return tap_done();
}
