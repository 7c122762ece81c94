/* unlock.c - run level 1.  Contract in unlock.h.
 *
 * Two processes.  The child, encdns-control, has the port, the console's clock and
 * the control socket.  When an operator has sent the keys it opens the bundle, looks
 * whether configuration and store are fit for use, keeps the ticket, answers, and
 * hands keys and minima to the supervisor, which has waited for that and for
 * signals only, and opens the bundle itself: it believes the operator's signature,
 * and nothing that came from the network.
 *
 * Threat: strangers at the port (gate.c); a child taken over, which gets the keys
 * when an operator sends them, and can't be kept from that: it holds nothing before. */
#include "main/unlock.h"

#include "base/ctl.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "main/gate.h"
#include "main/node.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SEC          1000000000ull
#define LINE_NS      (60 * SEC) /* between two lines where there is no terminal */
#define HANDED_MS    5000       /* patience with a child that ends */
#define PAUSE_MAX_MS 5000u
#define WRONG_MAX    8192
#define UNLOCKED_LEN (8 + 8 + 32 + 8 + 1)
#define EXIT_TAMPER  7          /* the child: something foreign spoke, and that is to have consequences */

/* ---- what is handed on ---- */

static int send_unlocked(int fd, const struct unlocked *u)
{
	uint8_t p[UNLOCKED_LEN];
	struct wr w = wr_init(p, sizeof p);
	wr_u64(&w, u->time);
	wr_u64(&w, u->seq);
	wr_bytes(&w, u->chain, sizeof u->chain);
	wr_u64(&w, u->generation);
	wr_u8(&w, u->refill);
	return msg_send(fd, MSG_UNLOCKED, p, sizeof p, -1) == 0 && key_send(u->k_system, fd) == 0 &&
	               key_send(u->k_data, fd) == 0
	           ? 0
	           : -1;
}

static int recv_unlocked(int fd, struct unlocked *u)
{
	struct msg m;
	if (msg_recv(fd, &m) != 0)
		return -1;
	struct rd r = rd_init(m.p, m.n);
	u->time = rd_u64(&r);
	u->seq = rd_u64(&r);
	rd_copy(&r, u->chain, sizeof u->chain);
	u->generation = rd_u64(&r);
	u->refill = rd_u8(&r) != 0;
	msg_end(&m);
	if (m.type == MSG_UNLOCKED && !r.bad && rd_left(&r) == 0 && (u->k_system = key_recv(fd)) != NULL &&
	    (u->k_data = key_recv(fd)) != NULL)
		return 0;
	unlocked_wipe(u);
	errno = EBADMSG;
	return -1;
}

void unlocked_wipe(struct unlocked *u)
{
	key_free(u->k_system);
	key_free(u->k_data);
	bundle_free(u->bundle);
	*u = (struct unlocked){ .k_system = NULL };
}

/* NULL and why: the bundle as these keys open it; m->cred knows who is denied. */
static struct bundle *open_bundle(const struct machine *m, const char *name, const struct key *k_system,
                                  uint64_t least, const char **why)
{
	size_t n;
	const uint8_t *p = machine_map(m, name, &n);
	struct bundle_terms t = { .k_system = k_system, .id = m->id, .least = least, .cred = m->cred };
	*why = "there is no sealed bundle yet: enrol this machine";
	struct bundle *b = p ? bundle_open(p, n, &t, why) : NULL;
	machine_unmap(p, n);
	return b;
}

/* ---- the child ---- */

struct waiting {
	struct machine *m;
	struct loop loop;
	struct gate *gate;
	struct ctl *ctl;
	struct src sup, signals, clock;
	struct unlocked got;
	uint64_t begun_ns, line_ns;
	bool terminal;
	char wrong[WRONG_MAX]; /* the mistakes in a configuration, a line each */
	unsigned left_out;     /* of them: there was no room */
	_Atomic bool stop;
	int code;
};

static void where(const struct waiting *w, char *out, size_t n)
{
	size_t len = 0;
	for (unsigned i = 0; i < w->m->boot.unlock.n && len < n; i++)
		len += (size_t)snprintf(out + len, n - len, "%s%s@%u", i ? ", " : "",
		                        w->m->boot.unlock.at[i].host, w->m->boot.unlock.at[i].port);
}

/* How many lines of a terminal a text takes; each octet that begins a character is one wide. */
static unsigned lines_of(const char *text, unsigned columns)
{
	unsigned n = 0;
	for (; *text; text++)
		n += ((uint8_t)*text & 0xc0) != 0x80;
	return n && columns ? (n + columns - 1) / columns : 1;
}

/* On a terminal one line that ticks, and below it whom to call; redrawn over itself, however
 * narrow the terminal is. */
static void draw(struct waiting *w)
{
	char at[400], id[3 * MACHINE_ID], line[900], text[500], clock[16];
	struct winsize size = { .ws_col = 0 };
	time_t t = time(NULL);
	struct tm tm;
	ioctl(2, TIOCGWINSZ, &size);
	gmtime_r(&t, &tm);
	strftime(clock, sizeof clock, "%H:%M:%S", &tm);
	where(w, at, sizeof at);
	machine_id_text(w->m->id, id);
	snprintf(text, sizeof text, "%s waiting for authorisation at %s", clock, at);
	unsigned up = lines_of(text, size.ws_col) + lines_of(w->m->boot.contact, size.ws_col) - 1;
	int n = snprintf(line, sizeof line, "\r\033[J%s\n", text);
	snprintf(text, sizeof text, "fingerprint %s", id);
	up += lines_of(text, size.ws_col);
	n += snprintf(line + n, sizeof line - (size_t)n, "%s\n%s\033[%uA\r", text, w->m->boot.contact, up);
	if (n >= (int)sizeof line)
		n = (int)sizeof line - 1;
	if (write(2, line, (size_t)n) < 0)
		return; /* nobody looks */
}

static void tick(struct src *s, uint32_t got, uint64_t now)
{
	struct waiting *w = SRC_OWNER(s, struct waiting, clock);
	char at[400], id[3 * MACHINE_ID];
	(void)got;
	if (w->terminal) {
		draw(w);
	} else if (now >= w->line_ns) {
		where(w, at, sizeof at);
		machine_id_text(w->m->id, id);
		log_say(LOG_NOTICE, "waiting for authorisation at %s for %llu min; fingerprint %s%s%s", at,
		        (unsigned long long)((now - w->begun_ns) / (60 * SEC)), id,
		        *w->m->boot.contact ? "; contact: " : "", w->m->boot.contact);
		w->line_ns = now + LINE_NS;
	}
	loop_due(&w->loop, s, now + SEC);
}

static void on_mistake(void *ctx, const char *path, unsigned line, const char *text)
{
	struct waiting *w = ctx;
	char *at = w->wrong + strlen(w->wrong), number[20] = "";
	size_t room = sizeof w->wrong - (size_t)(at - w->wrong) - 60; /* for how many had none */
	conf_say_stderr.line(NULL, path, line, text);
	if (line)
		snprintf(number, sizeof number, ", line %u", line);
	if (w->left_out ||
	    (size_t)snprintf(at, room, "%s%s%s: %s", at > w->wrong ? "\n" : "", path, number, text) >= room) {
		*at = 0;
		w->left_out++;
	}
}

static const struct bundle *opened; /* what conf_bundle reads of */

/* By a pipe, which holds as much as a secret has. */
static int bundle_pipe(const char *name)
{
	struct bundle_file f;
	int p[2];
	if (!bundle_find(opened, name, &f)) {
		errno = ENOENT;
		return -1;
	}
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	fcntl(p[1], F_SETPIPE_SZ, PEM_MAX);
	ssize_t n = write(p[1], f.p, f.n);
	int e = n < 0 ? errno : EFBIG;
	close(p[1]);
	if (n == (ssize_t)f.n && fcntl(p[0], F_SETFL, 0) == 0)
		return p[0];
	close(p[0]);
	errno = e;
	return -1;
}

static void close_secrets(const struct node_conf *c)
{
	if (c->credentials >= 0)
		close(c->credentials);
	if (c->cookie_secret >= 0)
		close(c->cookie_secret);
	for (unsigned i = 0; i < c->route.peers.n; i++)
		if (c->route.peers.at[i].md5 >= 0)
			close(c->route.peers.at[i].md5);
}

int unlocked_conf(const struct bundle *b, struct node_conf *c, const struct conf_say *say)
{
	struct bundle_file f;
	c->credentials = c->cookie_secret = -1;
	c->route.peers.n = 0;
	if (!bundle_find(b, "conf", &f)) {
		say->line(say->ctx, "the bundle", 0, "the file \"conf\" is missing");
		return 1;
	}
	opened = b;
	conf_bundle = bundle_pipe;
	int wrong = node_conf_text(f.p, f.n, c, say);
	conf_bundle = NULL;
	return wrong;
}

/* Can this machine run with it?  NULL, or why not, for the operator too. */
static const char *try_out(struct waiting *w, const struct bundle *b, const struct gate_auth *a)
{
	static struct node_conf c;
	struct conf_say say = { .line = on_mistake, .note = conf_say_stderr.note, .ctx = w };
	char path[PATH_MAX];
	w->left_out = 0;
	*w->wrong = 0;
	int wrong = unlocked_conf(b, &c, &say);
	close_secrets(&c);
	if (w->left_out)
		sprintf(w->wrong + strlen(w->wrong), "\nand %u more: its console has them", w->left_out);
	if (wrong)
		return w->wrong;
	snprintf(path, sizeof path, *c.store ? "%s" : "%.4000s/store", *c.store ? c.store : w->m->path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return NULL;
	if (fd < 0) {
		snprintf(w->wrong, sizeof w->wrong, "%s: %s", path, strerror(errno));
		return w->wrong;
	}
	enum store_owner o = store_whose(fd, path, a->k_data, w->wrong, sizeof w->wrong);
	close(fd);
	bool refill = w->m->boot.refill || a->flags & GATE_STORE_REFILL;
	if (o == STORE_OURS || o == STORE_NOBODYS || (o == STORE_STRANGE && refill))
		return NULL;
	size_t n = strlen(w->wrong);
	if (o == STORE_STRANGE)
		snprintf(w->wrong + n, sizeof w->wrong - n,
		         " (--refill: it is dropped, and filled again from the hub)");
	return w->wrong;
}

static const char *judge(void *owner, struct gate_auth *a, const char *name, const char *who, bool *failed)
{
	struct waiting *w = owner;
	const char *why;
	struct bundle *b = open_bundle(w->m, name, a->k_system, a->generation, &why);
	if (!b)
		return why;
	*failed = true;
	why = try_out(w, b, a);
	bundle_free(b);
	if (why)
		return why;
	const char *file = strcmp(name, "bundle") != 0 && machine_take_bundle(w->m) != 0 ? "bundle"
	                   : machine_write_hex(w->m, "ticket", a->ticket) != 0          ? "ticket"
	                                                                                : NULL;
	if (file) {
		snprintf(w->wrong, sizeof w->wrong, "%.4000s/%s: %s", w->m->path, file, strerror(errno));
		return w->wrong;
	}
	w->got = (struct unlocked){ .k_system = a->k_system, .k_data = a->k_data, .time = a->time,
		                    .seq = a->seq, .generation = a->generation,
		                    .refill = a->flags & GATE_STORE_REFILL };
	memcpy(w->got.chain, a->chain, sizeof w->got.chain);
	a->k_system = a->k_data = NULL;
	log_say(LOG_NOTICE, "authorised by %s%s", who,
	        a->flags & GATE_TICKET_WRONG ? ", who accepted a wrong ticket" : "");
	return NULL;
}

static void hand_over(void *owner)
{
	struct waiting *w = owner;
	if (send_unlocked(w->sup.fd, &w->got) != 0) {
		log_say(LOG_ERROR, "the supervisor does not take the keys: %s", strerror(errno));
		w->code = 1;
	}
	unlocked_wipe(&w->got);
	w->stop = true;
}

static void on_stranger(void *owner)
{
	struct waiting *w = owner;
	if (!w->m->boot.tamper_reboot || w->got.k_data)
		return;
	w->code = EXIT_TAMPER;
	w->stop = true;
}

static void on_end(struct src *s, uint32_t got, uint64_t now)
{
	struct waiting *w = SRC_OWNER(s, struct waiting, sup);
	(void)got;
	(void)now;
	w->stop = true;
}

static void on_signal(struct src *s, uint32_t got, uint64_t now)
{
	struct waiting *w = SRC_OWNER(s, struct waiting, signals);
	(void)got;
	(void)now;
	w->stop = true;
}

static void status(void *owner, struct ctl_conn *c, int argc, char **argv)
{
	const struct waiting *w = owner;
	char id[2 * MACHINE_ID + 1], zeros[65], at[400];
	memset(zeros, '0', 64);
	zeros[64] = 0;
	hex_text(id, w->m->id, MACHINE_ID);
	where(w, at, sizeof at);
	if (strcmp(argv[0], "status") != 0) {
		ctl_print(c, CTL_ERR, "this machine waits for authorisation: status is all it tells\n");
		ctl_done(c, 2);
		return;
	}
	if (argc > 1 && strcmp(argv[1], "json") == 0)
		ctl_print(c, CTL_OUT,
		          "{\"sequence\":0,\"chain\":\"%s\",\"run_level\":1,\"machine\":\"%s\","
		          "\"unlock\":\"%s\",\"bgp\":[],\"zones\":[]}\n", zeros, id, at);
	else
		ctl_print(c, CTL_OUT, "run level 1, waiting for authorisation at %s\nmachine %s\n", at, id);
	ctl_done(c, 0);
}

static const struct gate_calls gate_calls = { judge, hand_over, NULL, on_stranger };

static int begin(struct waiting *w, const int *socks, unsigned nsocks)
{
	char err[300], path[PATH_MAX];
	snprintf(path, sizeof path, "%.4000s/store", w->m->path);
	struct gate_conf gc = { .machine = w->m, .socks = socks, .nsocks = nsocks,
		                .store = access(path, F_OK) == 0 };
	w->sup.want = EPOLLIN;
	w->sup.due_ns = LOOP_NEVER;
	w->sup.wake = on_end;
	w->signals = (struct src){ .fd = loop_signals(0), .want = EPOLLIN, .due_ns = LOOP_NEVER,
		                   .wake = on_signal };
	w->begun_ns = loop_now();
	w->clock = (struct src){ .fd = -1, .due_ns = w->begun_ns, .wake = tick };
	if (machine_reopen(w->m) != 0)
		return -1;
	if (w->signals.fd < 0 || loop_init(&w->loop) != 0 || loop_add(&w->loop, &w->sup) != 0 ||
	    loop_add(&w->loop, &w->signals) != 0 || loop_add(&w->loop, &w->clock) != 0 ||
	    (w->gate = gate_new(&w->loop, &gc, &gate_calls, w)) == NULL) {
		log_say(LOG_ERROR, "can't wait: %s", strerror(errno));
		return -1;
	}
	w->ctl = ctl_listen(&w->loop, w->m->path, status, w, err, sizeof err);
	if (!w->ctl)
		log_say(LOG_WARNING, "%s", err);
	return 0;
}

static int child_main(struct machine *m, int sup, const int *socks, unsigned nsocks, bool terminal)
{
	static struct waiting w;
	crypto_lock_stack();
	sandbox_enter(&(struct sandbox){ .who = SANDBOX_UNLOCK, .dir = m->path });
	w.m = m;
	w.sup.fd = sup;
	w.terminal = terminal;
	w.code = 1;
	if (begin(&w, socks, nsocks) != 0)
		return 1;
	w.code = 0;
	if (loop_run(&w.loop, &w.stop) != 0)
		w.code = 1;
	gate_free(w.gate);
	ctl_close(w.ctl);
	if (terminal)
		(void)!write(2, "\r\033[J", 4);
	return w.code;
}

/* ---- the supervisor ---- */

struct watch {
	struct machine *m;
	const int *socks;
	unsigned nsocks;
	int signals, fd;
	pid_t pid;
	bool terminal, stopped; /* stopped: by a signal */
};

static int start(struct watch *w)
{
	int pair[2];
	struct timeval patience = { 2, 0 };
	pid_t self = getpid();
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return -1;
	setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(pair[1], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	w->pid = fork();
	if (w->pid == 0) {
		process_begin("encdns-control", self);
		close(pair[0]);
		close(w->signals);
		int code = 1;
		if (crypto_init() == 0)
			code = child_main(w->m, pair[1], w->socks, w->nsocks, w->terminal);
		crypto_end();
		_exit(code);
	}
	close(pair[1]);
	w->fd = pair[0];
	if (w->pid > 0)
		return 0;
	close(w->fd);
	w->fd = -1;
	return -1;
}

/* Its end; what it ended with, or -1 when it had to be ended. */
static int bury(struct watch *w, int patience_ms)
{
	int status = -1;
	pid_t r;
	while ((r = waitpid(w->pid, &status, WNOHANG)) == 0 && patience_ms-- > 0)
		usleep(1000);
	if (r == 0) {
		kill(w->pid, SIGKILL);
		waitpid(w->pid, &status, 0);
	}
	close(w->fd);
	w->fd = -1;
	w->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool stop_asked(struct watch *w)
{
	struct signalfd_siginfo si;
	while (read(w->signals, &si, sizeof si) == sizeof si)
		w->stopped |= si.ssi_signo != SIGCHLD;
	return w->stopped;
}

enum outcome { UNLOCKED, AGAIN, OVER };

/* One child's life. */
static enum outcome attend(struct watch *w, struct unlocked *out)
{
	const char *why;
	for (;;) {
		struct pollfd p[2] = { { w->signals, POLLIN, 0 }, { w->fd, POLLIN, 0 } };
		if (poll(p, 2, -1) < 0 && errno != EINTR) {
			log_say(LOG_ERROR, "encdns-control can't be watched, and is ended: %s",
			        strerror(errno));
			bury(w, 0);
			return AGAIN;
		}
		if (p[0].revents && stop_asked(w)) {
			kill(w->pid, SIGTERM);
			bury(w, HANDED_MS);
			return OVER;
		}
		if (!p[1].revents)
			continue;
		bool got = recv_unlocked(w->fd, out) == 0;
		int code = bury(w, HANDED_MS);
		if (code == EXIT_TAMPER) {
			log_say(LOG_WARNING, "tamper-reboot: starting anew");
			machine_reboot(false);
			return OVER;
		}
		if (!got) {
			log_say(LOG_WARNING, "encdns-control has died; starting it again");
			return AGAIN;
		}
		out->bundle = open_bundle(w->m, "bundle", out->k_system, out->generation, &why);
		if (out->bundle)
			return UNLOCKED;
		log_say(LOG_ERROR, "an operator has sent the keys, but not for %s/bundle: %s; waiting again",
		        w->m->path, why);
		unlocked_wipe(out);
		return AGAIN;
	}
}

/* All of that time, whatever the child's end signals; true: it is to be stopped. */
static bool rest(struct watch *w, unsigned ms)
{
	uint64_t until = loop_now() + ms * (SEC / 1000), now;
	struct pollfd p = { w->signals, POLLIN, 0 };
	while (!stop_asked(w) && (now = loop_now()) < until)
		poll(&p, 1, (int)((until - now) / (SEC / 1000) + 1));
	return w->stopped;
}

int unlock_wait(struct machine *m, const int *socks, unsigned nsocks, struct unlocked *out)
{
	struct watch w = { .m = m, .socks = socks, .nsocks = nsocks, .fd = -1, .terminal = isatty(2) };
	unsigned pause_ms = 20;
	enum outcome r = AGAIN;
	w.signals = loop_signals(SIGCHLD);
	if (w.signals < 0)
		return node_complain("signals can't be waited for: %s", strerror(errno));
	if (w.terminal)
		log_before("\r\033[J");
	log_say(LOG_NOTICE, "Entering run level 1");
	while (r == AGAIN) {
		uint64_t began = loop_now();
		if (start(&w) != 0)
			log_say(LOG_ERROR, "nobody can wait for authorisation: %s", strerror(errno));
		else
			r = attend(&w, out);
		if (r != AGAIN)
			break;
		if (loop_now() - began > 10 * SEC)
			pause_ms = 20;
		if (rest(&w, pause_ms))
			r = OVER;
		pause_ms = pause_ms * 2 < PAUSE_MAX_MS ? pause_ms * 2 : PAUSE_MAX_MS;
	}
	log_before(NULL);
	close(w.signals);
	if (r == OVER)
		log_say(LOG_NOTICE, "stopped");
	return r == UNLOCKED ? 0 : w.stopped ? -1 : 1;
}

/* ---- another executable ---- */

/* Keys, minima and sockets wait in the channel until the new one reads them. */
static int fill_channel(int fd, const int *socks, unsigned nsocks, const struct unlocked *u)
{
	if (send_unlocked(fd, u) != 0)
		return -1;
	for (unsigned i = 0; i < nsocks; i++)
		if (msg_send(fd, MSG_PEER, NULL, 0, socks[i]) != 0)
			return -1;
	return msg_send(fd, MSG_END, NULL, 0, -1);
}

int unlock_take(struct machine *m, int fd, int *socks, unsigned *nsocks, struct unlocked *out)
{
	struct msg msg;
	const char *why = "it was handed nothing";
	bool whole = false;
	if (recv_unlocked(fd, out) == 0)
		while (!whole && msg_recv(fd, &msg) == 0) {
			whole = msg.type == MSG_END;
			if (msg.fd >= 0 && *nsocks < BOOT_ADDRS)
				socks[(*nsocks)++] = msg.fd, msg.fd = -1;
			msg_end(&msg);
		}
	close(fd);
	if (whole)
		out->bundle = open_bundle(m, "bundle", out->k_system, out->generation, &why);
	if (out->bundle)
		return 0;
	unlocked_wipe(out);
	return node_complain("what the one before has handed on: %s", why);
}

static int executable(const struct bundle_file *f)
{
	int fd = memfd_create("encdns", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t at = 0;
	while (fd >= 0 && at < f->n) {
		ssize_t n = write(fd, (const uint8_t *)f->p + at, f->n - at);
		if (n <= 0) {
			close(fd);
			return -1;
		}
		at += (size_t)n;
	}
	if (fd >= 0)
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	return fd;
}

void unlock_become(const struct machine *m, const int *socks, unsigned nsocks, const struct unlocked *u)
{
	static const uint8_t unknown[32];
	struct bundle_file f;
	uint8_t image[32];
	char handed[24], dir[PATH_MAX];
	int pair[2] = { -1, -1 }, fd = -1;
	if (!bundle_find(u->bundle, "encdns", &f))
		return;
	sha256(f.p, f.n, image);
	if (memcmp(image, m->image, sizeof image) == 0)
		return;
	if (memcmp(m->image, unknown, sizeof unknown) == 0) {
		log_say(LOG_WARNING, "the bundle's executable is left alone: it can't be told whether it is "
		                     "the one that runs");
		return;
	}
	snprintf(dir, sizeof dir, "%s", m->path);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0 &&
	    fill_channel(pair[0], socks, nsocks, u) == 0 && (fd = executable(&f)) >= 0 &&
	    fcntl(pair[1], F_SETFD, 0) == 0) {
		char name[] = "encdns-super", run[] = "run", where_from[] = "--dir", by[] = "--handed";
		char *argv[] = { name, run, where_from, dir, by, handed, NULL };
		extern char **environ;
		snprintf(handed, sizeof handed, "fd:%d", pair[1]);
		log_say(LOG_NOTICE, "going on with the executable of the bundle");
		fexecve(fd, argv, environ);
	}
	log_say(LOG_ERROR, "the bundle's executable can't be run: %s; going on with this one",
	        strerror(errno));
	for (int i = 0; i < 2; i++)
		if (pair[i] >= 0)
			close(pair[i]);
	if (fd >= 0)
		close(fd);
}
