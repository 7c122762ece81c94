/* main.c - encdns-hub: the operator's command line, and the hub itself.
 *
 * The hub is one process with one loop.  What takes long (loading zones) is cut
 * into turns, and lets others have theirs in the midst of it (hub_breathe): nodes
 * are fed, heads go out, commands are answered.  One load at a time is at work;
 * only it changes journal and store.
 * Threat: the tunnel's port (feed.c), zone files (master.c), its own disk
 * (jfile.c, the store).  Its key comes by descriptor or is typed in. */
#include "base/conf.h"
#include "base/io.h"
#include "base/log.h"
#include "base/options.h"
#include "base/sandbox.h"
#include "crypto/denial.h"
#include "hub/ca.h"
#include "hub/grant.h"
#include "hub/hub.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef VERSION
#define VERSION "0.1"
#endif

#define TURN_ZONES    64 /* loaded before the others have their turn, and before one sync */
#define TICK_NS       1000000000ull
#define SMALL_FILE    (1 << 20) /* octets */
#define PASS_SALT_LEN 16

static const char usage[] =
	"encdns-hub: zones in, journal out\n"
	"\n"
	"  encdns-hub ca init --dir CADIR           make the private CA (at the operator's station)\n"
	"  encdns-hub ca issue|renew hub|node|operator NAME --dir CADIR [--out FILE] [--days N]\n"
	"  encdns-hub ca list|deny|passphrase ...   look after it: see encdns-hub ca --help\n"
	"  encdns-hub station init --station DIR    make an operator's station (with a CA)\n"
	"  encdns-hub enrol HOST NAME --station DIR --conf FILE\n"
	"                                           make a new machine known, and authorise it\n"
	"  encdns-hub authorise HOST|NAME --station DIR\n"
	"                                           look at a machine that has started, and unlock it\n"
	"  encdns-hub node HOST|NAME COMMAND --station DIR\n"
	"                                           status, log, withdraw, announce, restart, reboot ...\n"
	"                                           (these four, and ca: --help tells more)\n"
	"  encdns-hub run --dir DIR --conf FILE [--key fd:N]\n"
	"                                           run the hub; without --key it asks for a passphrase\n"
	"  encdns-hub load --dir DIR [--force] [--list FILE] [ORIGIN=ZONEFILE...]\n"
	"                                           read zones; only what has changed is sent on\n"
	"  encdns-hub drop --dir DIR ORIGIN...      serve these zones no longer\n"
	"  encdns-hub denials --dir DIR FILE        put the CA's denial list in force, here and at all nodes\n"
	"  encdns-hub status --dir DIR [--json]     where journal and nodes stand\n"
	"  encdns-hub stop --dir DIR                clean stop\n"
	"  encdns-hub stream ORIGIN=ZONEFILE...     zones to stdout, for: encdns run --ad-hoc\n"
	"  encdns-hub checkconf FILE                is this configuration right?\n"
	"  encdns-hub --help keys                   what a configuration file may say\n"
	"  encdns-hub --version\n";

struct conf { struct conf_addrs listen; int credentials; uint64_t import_memory; };

static const struct conf_key keys[] = {
	{ "listen", conf_addr, offsetof(struct conf, listen), "", "ADDRESS@PORT",
	  "Where nodes connect (TLS over TCP; port 840 by custom).", 0, 1, false },
	{ "credentials", conf_fd, offsetof(struct conf, credentials), "", "fd:N",
	  "Descriptor to read the hub's certificate, chain and private key (PEM) from.", 0, 0, false },
	{ "import-memory", conf_size, offsetof(struct conf, import_memory), "512M", "SIZE",
	  "Memory to read a zone in; a larger one is sorted on the disk, in DIR, sealed.", 16 << 20,
	  1ull << 46, false },
};
#define NKEYS (sizeof keys / sizeof *keys)

static int wrong_usage(const char *what)
{
	fprintf(stderr, "encdns-hub: %s\nTry: encdns-hub --help\n", what);
	return 2;
}

/* ---- loading zones, in turns ---- */

struct load {
	struct daemon *d;
	struct ctl_conn *c;
	char **argv;
	int argc, at, code;
	bool force, drop;
	const char *file;   /* being taken, */
	struct zone_report report;
	struct buf faults;  /* and what there is to say of it */
	unsigned taken, changed;
	struct buf said;    /* what is said once the turn's transactions are durable */
	struct src src;
	struct load *next;
};

struct daemon {
	struct hub hub;
	struct ctl *ctl;
	struct src signals, tick;
	struct load *loads;   /* in the order of their turns */
	struct load *at_work; /* the one whose turn it is, or NULL */
	uint64_t import_memory;
	_Atomic bool stop;
	struct cred *cred;
	struct src farewell;  /* our own certificate is denied: time for nodes to hear of it */
};

/* Gathered: the client is this thread's alone, and a file may be read by another. */
static void report_line(void *ctx, bool error, const char *file, unsigned line, const char *text)
{
	struct load *l = ctx;
	char said[4096];
	/* what concerns the whole file is said at its first line */
	int n = snprintf(said, sizeof said, "%s:%u: %s%s\n", file ? file : l->file, line ? line : 1,
	                 error ? "" : "warning: ", text);
	if ((size_t)n >= sizeof said) {
		n = sizeof said - 1;
		said[n - 1] = '\n';
	}
	buf_put(&l->faults, said, (size_t)n);
	if (error)
		l->code = 1;
}

/* Line by line, as ctl_print is bounded; then they are forgotten. */
static void print_lines(struct ctl_conn *c, int stream, struct buf *lines)
{
	for (size_t at = 0; at < lines->n;) {
		const uint8_t *nl = memchr(lines->p + at, '\n', lines->n - at);
		size_t n = (size_t)(nl - lines->p) + 1 - at;
		ctl_print(c, stream, "%.*s", (int)n, (const char *)lines->p + at);
		at += n;
	}
	lines->n = 0;
}

/* ORIGIN=FILE; false: said why not. */
static bool split_arg(struct load *l, char *arg, uint8_t origin[static NAME_MAX_LEN], const char **file)
{
	char *eq = strchr(arg, '=');
	size_t n = eq ? (size_t)(eq - arg) : strlen(arg);
	bool blank = strcspn(arg, " \t\r\n") < n; /* in a name it would be written \032 */
	if ((!eq && !l->drop) || blank || name_parse(arg, n, NULL, origin) == 0) {
		ctl_print(l->c, CTL_ERR, "%s: is no %s\n", arg, l->drop ? "origin" : "ORIGIN=ZONEFILE");
		l->code = 1;
		return false;
	}
	name_lower(origin, origin);
	*file = eq ? eq + 1 : NULL;
	return true;
}

static void say_later(struct load *l, const uint8_t *origin, const struct import_result *r)
{
	char text[NAME_TEXT_MAX], line[NAME_TEXT_MAX + 80];
	name_text(origin, text);
	int n = l->drop ? snprintf(line, sizeof line, "%s dropped sequence %llu\n", text,
	                           (unsigned long long)r->seq)
	                : snprintf(line, sizeof line, "%s serial %u sequence %llu\n", text, r->serial,
	                           (unsigned long long)r->seq);
	buf_put(&l->said, line, (size_t)n);
}

struct reading {
	const struct daemon *d;
	const uint8_t *origin;
	const char *file;
	const struct zone_report *report;
	struct zone *z;
};

static void read_zone(void *p)
{
	struct reading *r = p;
	r->z = zone_load_within(r->origin, r->file, (size_t)r->d->import_memory, r->d->hub.dir, r->report);
}

static struct zone *load_file(struct load *l, const uint8_t *origin, const char *file)
{
	struct reading r = { l->d, origin, file, &l->report, NULL };
	struct stat sb;
	l->file = file;
	l->report = (struct zone_report){ report_line, l, &l->d->stop };
	/* a thread costs more than a small file; a pipe may keep us waiting */
	if (stat(file, &sb) != 0 || (S_ISREG(sb.st_mode) && sb.st_size < SMALL_FILE))
		r.z = zone_load(origin, file, r.report);
	else
		hub_beside(&l->d->hub, read_zone, &r);
	print_lines(l->c, CTL_ERR, &l->faults);
	return r.z;
}

static void load_one(struct load *l, char *arg)
{
	uint8_t origin[NAME_MAX_LEN];
	const char *file;
	char err[1400], text[NAME_TEXT_MAX];
	struct import_result r;
	if (!split_arg(l, arg, origin, &file))
		return;
	struct hub *h = &l->d->hub;
	struct zone *z = l->drop ? NULL : load_file(l, origin, file);
	if (!z && !l->drop) {
		l->code = 1;
		return;
	}
	int done = l->drop ? hub_drop(h, origin, &r, err, sizeof err)
	                   : hub_import(h, z, l->force, &r, err, sizeof err);
	l->taken += done == 0;
	l->changed += done == 0 && r.changed;
	if (done == 0)
		say_later(l, origin, &r);
	else if (!z)
		ctl_print(l->c, CTL_ERR, "%s: %s\n", name_text(origin, text), err);
	else if (*err)
		report_line(l, true, file, zone_serial_line(z), err);
	print_lines(l->c, CTL_ERR, &l->faults);
	l->code |= done != 0;
	zone_free(z);
}

/* Has this turn seen the origin before?  Then it must be committed first. */
static bool seen(char **argv, int from, int to)
{
	const char *arg = argv[to];
	for (int i = from; i < to; i++) {
		const char *a = argv[i], *b = arg;
		while (*a && *a != '=' && name_fold((uint8_t)*a) == name_fold((uint8_t)*b))
			a++, b++;
		if ((*a == 0 || *a == '=' || *a == '.') && (*b == 0 || *b == '=' || *b == '.'))
			return true;
	}
	return false;
}

static void queue_take(struct load *l)
{
	struct load **at = &l->d->loads;
	while (*at != l)
		at = &(*at)->next;
	*at = l->next;
}

static void queue_put(struct load *l)
{
	struct load **at = &l->d->loads;
	while (*at)
		at = &(*at)->next;
	l->next = NULL;
	*at = l;
}

static void load_end(struct load *l, int code)
{
	queue_take(l);
	log_say(LOG_NOTICE, "%s: %d named, %u taken, %u of them changed; sequence %llu",
	        l->drop ? "drop" : "load", l->argc, l->taken, l->changed, (unsigned long long)l->d->hub.seq);
	loop_del(&l->d->hub.loop, &l->src);
	ctl_done(l->c, code);
	buf_free(&l->faults);
	buf_free(&l->said);
	free(l);
}

/* A turn has ended.  Whose time came in the midst of it is due now: the store's
 * housekeeping, then each load in its order. */
static void turn_over(struct daemon *d)
{
	uint64_t now = loop_now();
	d->at_work = NULL;
	if (d->tick.due_ns == LOOP_NEVER)
		loop_due(&d->hub.loop, &d->tick, now);
	for (struct load *l = d->loads; l; l = l->next)
		loop_due(&d->hub.loop, &l->src, now);
}

static void load_turn(struct src *s, uint32_t got, uint64_t now)
{
	struct load *l = SRC_OWNER(s, struct load, src);
	struct hub *h = &l->d->hub;
	struct daemon *d = l->d;
	char err[400];
	(void)got;
	(void)now;
	if (d->at_work) /* we are called from within another one's: turn_over */
		return;
	d->at_work = l;
	for (int from = l->at; l->at < l->argc && l->at - from < TURN_ZONES && !h->failed && !d->stop; l->at++) {
		if (seen(l->argv, from, l->at))
			break;
		load_one(l, l->argv[l->at]);
	}
	bool good = !h->failed && hub_commit(h, err, sizeof err) == 0, done = l->at == l->argc;
	if (good || h->cut)
		print_lines(l->c, CTL_OUT, &l->said);
	if (!good)
		ctl_print(l->c, CTL_ERR, "encdns-hub: %s\n", h->why);
	if (good && !done) {
		queue_take(l);
		queue_put(l);
	} else {
		load_end(l, good || (h->cut && done) ? l->code : 1);
	}
	turn_over(d);
}

static void begin_load(struct daemon *d, struct ctl_conn *c, int argc, char **argv, bool force, bool drop)
{
	struct load *l = calloc(1, sizeof *l);
	if (!l) {
		ctl_print(c, CTL_ERR, "encdns-hub: no memory\n");
		ctl_done(c, 1);
		return;
	}
	*l = (struct load){ .d = d, .c = c, .argv = argv, .argc = argc, .force = force, .drop = drop };
	l->src = (struct src){ .fd = -1, .due_ns = loop_now(), .wake = load_turn };
	queue_put(l);
	loop_add(&d->hub.loop, &l->src);
}

/* ---- the hub ---- */

static void status(struct daemon *d, struct ctl_conn *c, bool json)
{
	struct hub *h = &d->hub;
	struct store_stats s;
	char chain[CHAIN_LEN * 2 + 1], id[JOURNAL_ID * 2 + 1], pub[SIGN_PUB * 2 + 1];
	unsigned long long zones = 0;
	struct store_zone z;
	for (enum store_found r = store_zone_next(h->store, NULL, &z); r == STORE_FOUND; zones++)
		r = store_zone_next(h->store, z.name, &z);
	store_stats_get(h->store, &s);
	hex_text(chain, h->chain, CHAIN_LEN);
	hex_text(id, h->id, JOURNAL_ID);
	hex_text(pub, h->pub, SIGN_PUB);
	if (json) {
		ctl_print(c, CTL_OUT,
		          "{\"sequence\":%llu,\"chain\":\"%s\",\"journal\":\"%s\",\"journal_key\":\"%s\","
		          "\"zones\":%llu,\"names\":%llu,\"store_bytes\":%llu,\"denials\":%llu,\"nodes\":[",
		          (unsigned long long)h->seq, chain, id, pub, zones, (unsigned long long)s.names,
		          (unsigned long long)s.file_bytes, (unsigned long long)feeds_denials(h->feeds));
		feeds_print(h->feeds, c, true);
		ctl_print(c, CTL_OUT, "]}\n");
	} else {
		ctl_print(c, CTL_OUT,
		          "journal %s, sequence %llu, chain %.16s...\njournal key %s\n"
		          "%llu zones, %llu names, store %llu MiB\ndenial list %llu\n",
		          id, (unsigned long long)h->seq, chain, pub, zones, (unsigned long long)s.names,
		          (unsigned long long)s.file_bytes >> 20,
		          (unsigned long long)feeds_denials(h->feeds));
		feeds_print(h->feeds, c, false);
	}
	ctl_done(c, 0);
}

/* For authorise: where the journal stands, and what is known of a node. */
static void where(struct daemon *d, struct ctl_conn *c, const char *node)
{
	char chain[CHAIN_LEN * 2 + 1];
	bool connected = false;
	uint64_t acked = 0;
	hex_text(chain, d->hub.chain, CHAIN_LEN);
	feeds_know(d->hub.feeds, node, &connected, &acked);
	ctl_print(c, CTL_OUT, "%llu %s %d %llu\n", (unsigned long long)d->hub.seq, chain, connected,
	          (unsigned long long)acked);
	ctl_done(c, 0);
}

/* The whole file, for free(); NULL with errno. */
static uint8_t *read_list(const char *path, size_t *n)
{
	FILE *f = fopen(path, "re");
	uint8_t *p = f ? malloc(DENIALS_BYTES + 1) : NULL;
	if (!p) {
		if (f)
			fclose(f);
		return NULL;
	}
	*n = fread(p, 1, DENIALS_BYTES + 1, f);
	bool bad = ferror(f);
	fclose(f);
	if (!bad)
		return p;
	free(p);
	errno = EIO;
	return NULL;
}

static void stop_denied(struct src *s, uint32_t got, uint64_t now)
{
	struct daemon *d = SRC_OWNER(s, struct daemon, farewell);
	(void)got;
	(void)now;
	d->stop = true;
}

static int take_denials(struct daemon *d, struct ctl_conn *c, const char *path)
{
	struct feeds_denied got;
	char err[400];
	size_t n;
	uint8_t *p = read_list(path, &n);
	if (!p) {
		ctl_print(c, CTL_ERR, "encdns-hub: %s: %s\n", path, strerror(errno));
		return 1;
	}
	int r = feeds_deny(d->hub.feeds, p, n, &got, err, sizeof err);
	free(p);
	if (r < 0) {
		ctl_print(c, CTL_ERR, "encdns-hub: %s: %s\n", path, err);
		return 1;
	}
	if (r > 0 && *err)
		ctl_print(c, CTL_ERR, "encdns-hub: it is in force, but not at the next start: %s\n", err);
	ctl_print(c, CTL_OUT, "denial list %llu%s: %u certificates; %u nodes told, %u of them denied\n",
	          (unsigned long long)got.number, r ? "" : " is in force already", got.certificates, got.told,
	          got.ended);
	if (cred_denied(d->cred)) {
		log_say(LOG_ERROR, "this hub's own certificate is denied: stopping");
		loop_due(&d->hub.loop, &d->farewell, loop_now() + TICK_NS);
	}
	return r > 0 && *err;
}

static void command(void *owner, struct ctl_conn *c, int argc, char **argv)
{
	struct daemon *d = owner;
	const char *how = argc > 1 ? argv[1] : "plain";
	if (strcmp(argv[0], "status") == 0) {
		status(d, c, strcmp(how, "json") == 0);
	} else if (argc > 1 && (strcmp(argv[0], "load") == 0 || strcmp(argv[0], "drop") == 0)) {
		begin_load(d, c, argc - 2, argv + 2, strcmp(how, "force") == 0, argv[0][0] == 'd');
	} else if (argc > 1 && strcmp(argv[0], "where") == 0) {
		where(d, c, argv[1]);
	} else if (argc == 3 && strcmp(argv[0], "denials") == 0) {
		ctl_done(c, take_denials(d, c, argv[2]));
	} else if (strcmp(argv[0], "stop") == 0) {
		d->stop = true;
		ctl_done(c, 0);
	} else {
		ctl_print(c, CTL_ERR, "unknown command %s\n", argv[0]);
		ctl_done(c, 2);
	}
}

static void on_signal(struct src *s, uint32_t got, uint64_t now)
{
	struct daemon *d = SRC_OWNER(s, struct daemon, signals);
	struct signalfd_siginfo si;
	(void)got;
	(void)now;
	while (read(s->fd, &si, sizeof si) == sizeof si)
		d->stop = true;
}

static void on_tick(struct src *s, uint32_t got, uint64_t now)
{
	struct daemon *d = SRC_OWNER(s, struct daemon, tick);
	(void)got;
	if (d->at_work) /* turn_over */
		return;
	int ms = d->hub.failed ? -1 : store_tick(d->hub.store);
	if (ms < 0)
		d->stop = true;
	loop_due(&d->hub.loop, s, ms < 0 ? now + TICK_NS : now + (uint64_t)ms * 1000000u);
}

/* Timers alone can't fail. */
static void start_timers(struct daemon *d)
{
	d->tick = (struct src){ .fd = -1, .due_ns = loop_now() + TICK_NS, .wake = on_tick };
	d->farewell = (struct src){ .fd = -1, .due_ns = LOOP_NEVER, .wake = stop_denied };
	loop_add(&d->hub.loop, &d->tick);
	loop_add(&d->hub.loop, &d->farewell);
}

static int watch_signals(struct daemon *d)
{
	d->signals = (struct src){ .fd = loop_signals(0), .want = EPOLLIN, .due_ns = LOOP_NEVER,
		                   .wake = on_signal };
	return d->signals.fd < 0 || loop_add(&d->hub.loop, &d->signals) != 0;
}

/* A new salt, by one process at a time: whole or not there, also when the power goes. */
static int make_salt(const char *dir, uint8_t salt[static PASS_SALT_LEN])
{
	struct draft d;
	int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return -1;
	crypto_random(salt, PASS_SALT_LEN);
	int rc = flock(folder, LOCK_EX) == 0 ? draft_open(&d, folder, "salt", NULL, 0600) : -1;
	if (rc == 0)
		rc = draft_end(&d, io_write_all(d.fd, salt, PASS_SALT_LEN), false);
	int e = errno;
	close(folder);
	errno = e;
	return rc;
}

/* The salt of DIR.  One that is there is never written over: without it the
 * passphrase is not the key. */
static int get_salt(const char *dir, uint8_t salt[static PASS_SALT_LEN], char *err, size_t n)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%.4000s/salt", dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		if (errno == ENOENT && make_salt(dir, salt) == 0)
			return 0;
		snprintf(err, n, "%.200s: %s", path, strerror(errno));
		return -1;
	}
	ssize_t got = read(fd, salt, PASS_SALT_LEN);
	if (got != PASS_SALT_LEN)
		snprintf(err, n, "%.200s: %s", path,
		         got < 0 ? strerror(errno) : "it is cut short: bring back the whole one");
	close(fd);
	return got == PASS_SALT_LEN ? 0 : -1;
}

/* The key typed in: a passphrase, hardened with a salt that is no secret.  One
 * that nothing can check yet is asked for twice. */
static struct key *ask_key(const char *dir, char *err, size_t n)
{
	char path[PATH_MAX], prompt[PATH_MAX + 40], why[100];
	uint8_t salt[PASS_SALT_LEN];
	snprintf(path, sizeof path, "%.4000s/journal", dir);
	bool fresh = access(path, F_OK) != 0;
	snprintf(prompt, sizeof prompt,
	         fresh ? "new passphrase for the hub in %.4000s" : "passphrase of the hub in %.4000s", dir);
	struct pass *p = pass_ask(prompt, fresh ? "the same once more" : NULL, why, sizeof why);
	struct key *k = NULL;
	if (!p)
		snprintf(err, n, "no key: %s (or give --key fd:N)", why);
	else if (get_salt(dir, salt, err, n) == 0 && !(k = pass_key(p, salt, sizeof salt, PASS_ROUNDS)))
		snprintf(err, n, "no memory for keys");
	pass_free(p);
	return k;
}

static int serve(struct daemon *d, const char *dir, const struct conf *c, const struct key *k,
                 struct cred *cred)
{
	char err[1400];
	struct hub *h = &d->hub;
	d->cred = cred;
	if (loop_init(&h->loop) != 0 || watch_signals(d) != 0)
		return station_complain("signals can't be waited for: %s", strerror(errno));
	h->leaving = &d->stop;
	if (hub_open(h, dir, k, err, sizeof err) != 0) {
		if (!h->cut)
			return station_complain("%s", err);
		log_say(LOG_NOTICE, "%s", err);
		return 0;
	}
	start_timers(d);
	h->feeds = feeds_new(h, cred, c->listen.at[0].host, c->listen.at[0].port, err, sizeof err);
	d->ctl = h->feeds ? ctl_listen(&h->loop, dir, command, d, err, sizeof err) : NULL;
	int code = 0;
	if (d->ctl) {
		sandbox_enter(&(struct sandbox){ .who = SANDBOX_HUB, .dir = dir });
		log_say(LOG_NOTICE, "ready at sequence %llu", (unsigned long long)h->seq);
		if (loop_run(&h->loop, &d->stop) != 0)
			code = station_complain("what happens can't be waited for: %s", strerror(errno));
		else if (cred_denied(cred))
			code = EXIT_DENIED;
	} else {
		code = station_complain("%s", err);
	}
	while (d->loads) {
		ctl_print(d->loads->c, CTL_ERR, "encdns-hub: the hub is stopping: only what it has told of is changed\n");
		load_end(d->loads, 1);
	}
	if (h->cut) {
		log_say(LOG_NOTICE, "%s", h->why);
	} else if (h->failed || store_failed(h->store)) {
		log_say(LOG_ERROR,
		        "stopped: %s; what was acknowledged is safe: mend the disk and start again", h->why);
		code = 1;
	}
	ctl_close(d->ctl);
	feeds_free(h->feeds);
	hub_close(h);
	return code;
}

static struct cred *hub_cred(int fd)
{
	char err[300];
	struct cred *cred = cred_read(fd, err, sizeof err);
	if (cred && cred_role(cred) != ROLE_HUB) {
		snprintf(err, sizeof err, "the certificate is a %s's, not a hub's",
		         cert_role_text(cred_role(cred)));
		cred_free(cred);
		cred = NULL;
	}
	if (!cred)
		station_complain("credentials fd:%d: %s; nothing was started", fd, err);
	close(fd);
	return cred;
}

/* 0, or how many mistakes there are (said). */
static int read_conf(const char *path, struct conf *c)
{
	int wrong = conf_read(path, keys, NKEYS, c, &conf_say_stderr);
	if (wrong < 0)
		return wrong;
	if (c->listen.n == 0)
		wrong += conf_wrong(&conf_say_stderr, path, "a line \"listen ADDRESS@PORT\" is wanted");
	if (c->credentials < 0)
		wrong += conf_wrong(&conf_say_stderr, path, "a line \"credentials fd:N\" is wanted");
	return wrong;
}

static int checkconf(const char *path)
{
	struct conf c = { .credentials = -1 };
	if (read_conf(path, &c) != 0)
		return 1;
	printf("%s: all is right\n", path);
	return 0;
}

static int run(const char *dir, const char *conf, int key_fd)
{
	static struct daemon d;
	struct conf c = { .credentials = -1 };
	char err[300];
	if (read_conf(conf, &c) != 0)
		return station_complain("nothing was started");
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return station_complain("%s: %s", dir, strerror(errno));
	struct cred *cred = hub_cred(c.credentials);
	if (!cred)
		return 1;
	struct key *k = key_fd >= 0 ? key_read(key_fd) : ask_key(dir, err, sizeof err);
	if (!k)
		return station_complain("%s", key_fd >= 0 ? "--key: 64 hex digits or 32 octets are wanted on "
		                                            "that descriptor"
		                                          : err);
	if (key_fd >= 0)
		close(key_fd);
	d.import_memory = c.import_memory;
	crypto_lock_stack();
	if (crypto_not_locked(err, sizeof err))
		log_say(LOG_WARNING,
		        "this can't be locked in memory and may be swapped out: %s; raise the limit "
		        "RLIMIT_MEMLOCK (ulimit -l)",
		        err);
	int code = serve(&d, dir, &c, k, cred);
	key_free(k);
	cred_free(cred);
	crypto_end();
	return code;
}

/* ---- zones to stdout ---- */

static void stderr_report(void *ctx, bool error, const char *file, unsigned line, const char *text)
{
	fprintf(stderr, "%s:%u: %s%s\n", file ? file : (const char *)ctx, line ? line : 1,
	        error ? "" : "warning: ", text);
}

static int stream(int argc, char **argv)
{
	static struct hub h;
	char err[1400];
	uint8_t origin[NAME_MAX_LEN];
	struct import_result r;
	if (argc == 0)
		return wrong_usage("stream wants ORIGIN=ZONEFILE");
	if (isatty(1))
		return wrong_usage("stream writes octets for a pipe: encdns-hub stream ORIGIN=FILE | "
		                   "encdns run --ad-hoc");
	struct key *k = key_random();
	if (!k)
		return station_complain("no memory for keys");
	int code = hub_open(&h, NULL, k, err, sizeof err) != 0 ? station_complain("%s", err) : 0;
	for (int i = 0; i < argc && code == 0; i++) {
		char *eq = strchr(argv[i], '=');
		if (!eq || !name_parse(argv[i], (size_t)(eq - argv[i]), NULL, origin)) {
			code = wrong_usage("stream wants ORIGIN=ZONEFILE");
			break;
		}
		name_lower(origin, origin);
		struct zone_report report = { stderr_report, eq + 1, NULL };
		struct zone *z = zone_load(origin, eq + 1, &report);
		if (!z)
			code = 1;
		else if (hub_import(&h, z, true, &r, err, sizeof err) != 0 ||
		         hub_commit(&h, err, sizeof err) != 0)
			code = station_complain("%s", err);
		zone_free(z);
	}
	if (code == 0 && feed_plain(&h, 1, err, sizeof err) != 0)
		code = station_complain("%s", err);
	hub_close(&h);
	key_free(k);
	return code;
}

/* ---- the command line ---- */

struct args {
	const char *dir, *conf, *list;
	int key;
	bool force, json;
	int argc;
	char **argv; /* what is no option */
};

static const struct conf_key options[] = {
	{ .key = "--dir", .parse = option_word, .off = offsetof(struct args, dir) },
	{ .key = "--conf", .parse = option_word, .off = offsetof(struct args, conf) },
	{ .key = "--list", .parse = option_word, .off = offsetof(struct args, list) },
	{ .key = "--key", .parse = conf_fd, .off = offsetof(struct args, key) },
	{ .key = "--force", .off = offsetof(struct args, force) },
	{ .key = "--json", .off = offsetof(struct args, json) },
};

static int parse_args(int argc, char **argv, struct args *out)
{
	char err[200];
	*out = (struct args){ .key = -1, .argv = argv };
	if (options_help(argc, argv)) {
		fputs(usage, stdout);
		exit(0);
	}
	out->argc = options_read(argc, argv, options, sizeof options / sizeof *options, out, err, sizeof err);
	return out->argc < 0 ? wrong_usage(err) : 0;
}

/* The hub runs elsewhere: paths (behind a '=', if there is one) become absolute. */
static char *absolute(const char *arg, bool whole)
{
	const char *eq = strchr(arg, '='), *path = whole ? arg : eq ? eq + 1 : NULL;
	char cwd[PATH_MAX], *out = NULL;
	if (!path || *path == '/' || !getcwd(cwd, sizeof cwd))
		return strdup(arg);
	size_t n = strlen(arg) + strlen(cwd) + 2;
	out = malloc(n);
	if (out)
		snprintf(out, n, "%.*s%s/%s", (int)(path - arg), arg, cwd, path);
	return out;
}

/* The words of a request, a growing list. */
struct words { char **at; int n, room; };

static bool add_word(struct words *w, char *word)
{
	if (w->n == w->room) {
		int room = w->room ? w->room * 2 : 64;
		char **at = realloc(w->at, (size_t)room * sizeof *at);
		if (!at)
			return false;
		w->at = at;
		w->room = room;
	}
	w->at[w->n++] = word;
	return word != NULL;
}

/* The lines of a list that are neither empty nor comments. */
static int add_list(struct words *w, const char *path)
{
	char *line = NULL;
	size_t n = 0;
	FILE *f = fopen(path, "re");
	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	int code = 0;
	while (code == 0 && getline(&line, &n, f) > 0) {
		line[strcspn(line, "\r\n")] = 0;
		if (*line && *line != '#' && !add_word(w, absolute(line, false)))
			code = station_complain("no memory");
	}
	if (code == 0 && !feof(f)) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		code = 1;
	}
	free(line);
	fclose(f);
	return code;
}

static int call(const struct args *a, const char *verb, const char *how)
{
	struct words w = { 0 };
	bool good = add_word(&w, strdup(verb)) && add_word(&w, strdup(how));
	for (int i = 0; i < a->argc && good; i++)
		good = add_word(&w, absolute(a->argv[i], strcmp(verb, "denials") == 0));
	int code = good ? 0 : station_complain("no memory");
	if (code == 0 && a->list)
		code = add_list(&w, a->list);
	if (code == 0)
		code = ctl_call(a->dir, w.n, w.at);
	for (int i = 0; i < w.n; i++)
		free(w.at[i]);
	free(w.at);
	return code;
}

static int superfluous(const char *verb, const struct args *a)
{
	char text[200];
	snprintf(text, sizeof text, "%s: no word is wanted here: %.80s", verb, a->argv[0]);
	return wrong_usage(text);
}

static int local(const char *verb, const struct args *a)
{
	bool zones = strcmp(verb, "load") == 0 || strcmp(verb, "drop") == 0;
	if (!a->dir)
		return wrong_usage("--dir DIR is wanted");
	if (strcmp(verb, "denials") == 0 && a->argc != 1)
		return wrong_usage("denials wants one FILE");
	if (zones && a->argc == 0 && !a->list)
		return wrong_usage("no zone was named");
	if (!zones && strcmp(verb, "denials") != 0 && a->argc)
		return superfluous(verb, a);
	return call(a, verb, zones && a->force ? "force" : !zones && a->json ? "json" : "plain");
}

static int unknown(const char *what)
{
	char text[120];
	snprintf(text, sizeof text, "there is no \"%.80s\"", what);
	return wrong_usage(text);
}

static int help(const char *topic)
{
	if (!topic)
		return fputs(usage, stdout) < 0;
	if (strcmp(topic, "keys") != 0)
		return unknown(topic);
	conf_help(keys, NKEYS);
	return 0;
}

int main(int argc, char **argv)
{
	struct args a;
	const char *verb = argc > 1 ? argv[1] : "--help";
	log_name("encdns-hub");
	if (crypto_init() != 0)
		return station_complain("no memory for keys");
	crypto_harden();
	if (strcmp(verb, "--version") == 0)
		return printf("encdns-hub " VERSION "\n") < 0;
	if (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0 || strcmp(verb, "help") == 0)
		return help(argc > 2 ? argv[2] : NULL);
	static const struct { const char *verb; int (*main)(int argc, char **argv); } rooms[] = {
		{ "ca", ca_main }, { "station", station_main }, { "enrol", enrol_main }, { "authorise", authorise_main },
		{ "node", node_main },
	};
	for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
		if (strcmp(verb, rooms[i].verb) == 0)
			return rooms[i].main(argc - 1, argv + 1);
	int r = parse_args(argc - 2, argv + 2, &a);
	if (r != 0)
		return r;
	if (strcmp(verb, "run") == 0 && a.argc)
		return superfluous(verb, &a);
	if (strcmp(verb, "run") == 0)
		return a.dir && a.conf ? run(a.dir, a.conf, a.key)
		                       : wrong_usage("run wants --dir DIR and --conf FILE");
	if (strcmp(verb, "stream") == 0)
		return stream(a.argc, a.argv);
	if (strcmp(verb, "checkconf") == 0)
		return a.argc == 1 ? checkconf(a.argv[0]) : wrong_usage("checkconf wants one FILE");
	static const char *const verbs[] = { "load", "drop", "denials", "status", "stop" };
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (strcmp(verb, verbs[i]) == 0)
			return local(verb, &a);
	return unknown(verb);
}
