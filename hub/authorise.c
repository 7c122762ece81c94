/* authorise.c - encdns-hub authorise: an operator looks at a machine that has started,
 * and unlocks it or not.
 *
 * What is looked at: its identity (TLS takes no other), the ticket of its last
 * authorisation, its counter of starts, its salt, its inventory.  A ticket that isn't
 * the last one means an older disk, or a copy; so does a counter that went back, or a
 * hub that sees the node at work.  Whatever isn't as it was is shown; the default is no.
 * Threat: a machine that lies.  Without a TPM an inventory is a statement, no proof. */
#include "hub/grant.h"

#include "base/ctl.h"
#include "base/inventory.h"
#include "hub/ca.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"encdns-hub authorise HOST[@PORT]|NAME --station DIR\n"
	"                     [--yes-if-unchanged] [--accept-ticket] [--refill] [--conf FILE] [--file NAME=FILE]...\n"
	"                     [--renew] [--minimum SEQUENCE:CHAIN | --hub HUBDIR] [--wait SECONDS] [--json]\n"
	"                     [--passphrase fd:N]\n"
	"    shows what has changed since the machine was enrolled or last authorised, asks, and unlocks it\n"
	"  --yes-if-unchanged  no question when nothing has changed.  The risk: what a machine says of itself\n"
	"                      is no proof, and nobody looks; whoever has stolen it whole, with its address,\n"
	"                      is let in at night.  For laboratories, and for who accepts that.\n"
	"  --accept-ticket     unlock it though its ticket is not the last one: after a disk was brought back from\n"
	"                      a copy on purpose.  Two machines with one identity must never be unlocked.\n"
	"  --refill            a store of another key or machine may be dropped and filled again from the hub\n"
	"  --conf, --file      what is different from now on: sealed anew, and delivered\n"
	"  --renew             new credentials for its tunnel, likewise\n"
	"  --minimum SEQ:CHAIN it serves nothing below this sequence, and its history must have this hash there\n"
	"  --hub HUBDIR        asks the hub on this machine: its sequence is the minimum, and a node that it sees\n"
	"                      connected is not authorised again\n"
	"  --wait SECONDS      try to reach it for so long (10)\n"
	"Exit status: 0 unlocked, or it runs already; 1 not; 2 wrong usage.\n";

struct args {
	const char *station, *pass, *conf, *minimum, *hub, *who;
	uint64_t wait;
	bool unchanged, accept, refill, renew, json;
	struct grant_files files;
};

static const struct conf_key options[] = {
	{ .key = "--station", .parse = option_word, .off = offsetof(struct args, station) },
	{ .key = "--passphrase", .parse = option_word, .off = offsetof(struct args, pass) },
	{ .key = "--conf", .parse = option_word, .off = offsetof(struct args, conf) },
	{ .key = "--file", .parse = grant_file_word, .off = offsetof(struct args, files) },
	{ .key = "--minimum", .parse = option_word, .off = offsetof(struct args, minimum) },
	{ .key = "--hub", .parse = option_word, .off = offsetof(struct args, hub) },
	{ .key = "--wait", .parse = conf_number, .off = offsetof(struct args, wait), .max = REMOTE_WAIT_MAX },
	{ .key = "--yes-if-unchanged", .off = offsetof(struct args, unchanged) },
	{ .key = "--accept-ticket", .off = offsetof(struct args, accept) },
	{ .key = "--refill", .off = offsetof(struct args, refill) },
	{ .key = "--renew", .off = offsetof(struct args, renew) },
	{ .key = "--json", .off = offsetof(struct args, json) },
};

/* 0, or 2 on wrong usage. */
static int parse(int argc, char **argv, struct args *a)
{
	char err[PATH_MAX + 200];
	*a = (struct args){ .wait = 10 };
	int words = options_read(argc, argv, options, sizeof options / sizeof *options, a, err, sizeof err);
	if (words < 0)
		return station_misuse("authorise", "%s", err);
	if (words > 1)
		return station_misuse("authorise", "one machine at a time, not %.80s too", argv[1]);
	a->who = words ? argv[0] : NULL;
	if (!a->who || !a->station)
		return station_misuse("authorise", "%s is wanted", a->who ? "--station DIR" : "HOST or NAME");
	return a->minimum && a->hub ? station_misuse("authorise", "--minimum or --hub, not both") : 0;
}

/* ---- what has changed ---- */

struct changes {
	const struct args *args;
	struct buf text;     /* what counts, a line each, for people and the audit */
	struct buf json;
	unsigned n;          /* of these */
	bool ticket;         /* one of them: an older disk, or a copy */
};

static void put_json(struct buf *b, const char *s)
{
	buf_put(b, "\"", 1);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			buf_put(b, "\\", 1);
		buf_put(b, *s >= ' ' ? s : " ", 1);
	}
	buf_put(b, "\"", 1);
}

static void add(struct changes *c, const char *line)
{
	if (c->n++)
		buf_put(&c->json, ",", 1);
	put_json(&c->json, line);
	buf_put(&c->text, line, strlen(line));
	buf_put(&c->text, "\n", 1);
	if (!c->args->json)
		printf("  ! %s\n", line);
}

static void found(void *owner, const struct inventory_diff *d)
{
	struct changes *c = owner;
	char line[2 * INVENTORY_LINE + 100];
	if (d->kind == INVENTORY_ADDED)
		snprintf(line, sizeof line, "%s: new: %s", d->key, d->is);
	else if (d->kind == INVENTORY_REMOVED)
		snprintf(line, sizeof line, "%s: gone: %s", d->key, d->was);
	else
		snprintf(line, sizeof line, "%s: was %s, is %s", d->key, d->was, d->is);
	if (!d->is_volatile)
		add(c, line);
	else if (!c->args->json)
		printf("    %s (may change)\n", line);
}

/* Does it show the ticket that it was given, or the one that was never confirmed? */
static bool ticket_fits(const struct machine_record *m, const uint8_t shown[static 32])
{
	static const uint8_t none[GATE_TICKET];
	bool fits = m->boots == 0 && grant_ticket_shown(none, shown); /* none was ever confirmed */
	for (unsigned i = 0; i < m->tickets; i++)
		fits |= grant_ticket_shown(m->ticket[i], shown);
	return fits;
}

/* 0, or 1: it can't be told. */
static int compare(struct changes *c, const struct machine_record *m, const struct remote *r)
{
	char line[200];
	if (!ticket_fits(m, r->hello.ticket)) {
		c->ticket = true;
		add(c, "ticket: it is not the one of the last authorisation: an older disk was put back, or "
		       "this is a copy");
	}
	if (r->hello.boots == m->boots && !c->ticket) {
		add(c, "starts: it was authorised in this start already, and waits again: its "
		       "console says why");
	} else if (r->hello.boots <= m->boots) {
		c->ticket = true;
		snprintf(line, sizeof line,
		         "starts: its counter went back from %llu to %llu: an older disk, or a copy",
		         (unsigned long long)m->boots, (unsigned long long)r->hello.boots);
		add(c, line);
	}
	if (memcmp(r->hello.salt, m->salt, GATE_SALT) != 0)
		return station_complain("%s: its salt is another one: its keys can't be made (enrol it "
		                        "again with --replace)", m->name);
	if (inventory_compare((char *)m->inventory.p, m->inventory.n, (char *)r->inventory.p, r->inventory.n,
	                      found, c) < 0)
		return station_complain("%s: its inventory is not of the form we know", m->name);
	return c->text.bad || c->json.bad ? station_complain("no memory") : 0;
}

/* ---- the minimum ---- */

struct minimum { uint64_t seq; uint8_t chain[32]; bool chained, connected; };

static void keep(void *owner, int stream, const char *p, size_t n)
{
	if (stream == CTL_OUT)
		buf_put(owner, p, n);
}

static int ask_hub(const struct args *a, const char *name, struct minimum *out)
{
	char *words[] = { (char *)(uintptr_t)"where", (char *)(uintptr_t)name };
	struct buf b = { 0 };
	unsigned long long seq;
	uint8_t chain[32];
	int code = ctl_ask(a->hub, 2, words, keep, &b), connected = 0, at = 0;
	buf_put(&b, "", 1);
	bool good = code == 0 && !b.bad && sscanf((char *)b.p, "%llu %n", &seq, &at) == 1 &&
	            hex_read(chain, (char *)b.p + at, sizeof chain) &&
	            sscanf((char *)b.p + at + 64, "%d", &connected) == 1;
	buf_free(&b);
	if (!good)
		return station_complain("the hub in %s does not tell where it stands", a->hub);
	*out = (struct minimum){ .seq = seq, .chained = seq > 0, .connected = connected != 0 };
	memcpy(out->chain, chain, sizeof chain);
	return 0;
}

/* What is said, what the hub says, or what it was the last time. */
static int get_minimum(const struct args *a, const struct machine_record *m, struct minimum *out)
{
	const char *end;
	*out = (struct minimum){ .seq = m->seq, .chained = m->seq > 0 };
	memcpy(out->chain, m->chain, sizeof out->chain);
	if (a->hub)
		return ask_hub(a, m->name, out);
	if (!a->minimum)
		return 0;
	out->chained = conf_digits(a->minimum, &out->seq, &end) == 0 && *end == ':' &&
	               hex_read(out->chain, end + 1, sizeof out->chain) && end[65] == 0;
	if (out->chained)
		return 0;
	return station_complain("--minimum wants SEQUENCE:CHAIN, as a hub's status shows them");
}

/* A hub whose disk was put back would have old zones served again. */
static void check_minimum(struct changes *c, const struct machine_record *m, const struct minimum *min)
{
	char line[160];
	if (!c->args->hub || min->seq >= m->seq)
		return;
	snprintf(line, sizeof line,
	         "minimum: the hub went back from sequence %llu to %llu: an older disk, or another hub",
	         (unsigned long long)m->seq, (unsigned long long)min->seq);
	add(c, line);
}

/* ---- what is new in the bundle ---- */

static int renew_bundle(const struct station *s, struct args *a, struct machine_record *m,
                        const struct remote *r)
{
	struct bundle_head h = { .generation = 0 };
	bool changed, anew = grant_bundle_denied(s, m);
	if (a->conf && grant_file_read(&a->files, "conf", a->conf) != 0)
		return 1;
	if (a->renew && grant_credentials(s, m, &a->files) != 0)
		return 1;
	if (a->files.n == 0 && !anew)
		return 0;
	if (grant_files_merge(s, m, &a->files, &changed) != 0)
		return 1;
	if (!changed && !anew)
		return 0;
	bundle_peek(m->bundle.p, m->bundle.n, &h);
	uint64_t last = h.generation > r->hello.generation ? h.generation : r->hello.generation;
	if (grant_seal(s, m, &a->files, last + 1) != 0)
		return 1;
	return record_put(s, m, "bundle", m->bundle.p, m->bundle.n) |
	       record_put(s, m, "conf", m->conf.p, m->conf.n);
}

/* It gets the newest bundle when it has an older one, or none. */
static int deliver(const struct machine_record *m, struct remote *r)
{
	struct bundle_head h;
	if (!bundle_peek(m->bundle.p, m->bundle.n, &h) || h.generation <= r->hello.generation)
		return 0;
	return remote_put_bundle(r, m->bundle.p, m->bundle.n);
}

/* ---- the decision ---- */

static void outcome(const struct args *a, const struct machine_record *m, const struct changes *c,
                    const char *what)
{
	if (!a->json) {
		printf("%s: %s\n", m->name, what);
		return;
	}
	printf("{\"machine\":\"%s\",\"host\":\"%s\",\"outcome\":\"%s\",\"changes\":[%.*s]}\n", m->name,
	       m->host, what, (int)c->json.n, c->json.n ? (char *)c->json.p : "");
}

/* NULL: it may be unlocked; else why not. */
static const char *decide(const struct args *a, const struct machine_record *m, const struct changes *c,
                          const struct minimum *min)
{
	char question[200];
	if (min->connected)
		return "not authorised: the hub sees this node at work, so this is a copy of it";
	if (c->ticket && !a->accept)
		return "not authorised: an older disk, or a copy (--accept-ticket)";
	if (a->unchanged)
		return c->n ? "not authorised: something has changed" : NULL;
	snprintf(question, sizeof question, "Authorise %s?%s", m->name, c->n ? "" : " Nothing has changed.");
	return grant_asked(question) ? NULL : "not authorised: the operator said no";
}

#define DETAILS 3000 /* octets of an audit line's end */

static void say_changes(const struct changes *c, const char *first, char out[static DETAILS])
{
	int n = c->text.n < DETAILS - 500 ? (int)c->text.n : DETAILS - 500;
	snprintf(out, DETAILS, "%s%s%.*s", first, *first ? "; " : "", n, (char *)c->text.p);
	if (c->n == 0)
		snprintf(out, DETAILS, "%s%sunchanged", first, *first ? "; " : "");
}

static int unlock(const struct station *s, struct args *a, struct machine_record *m, struct remote *r,
                  const struct changes *c, const struct minimum *min)
{
	char why[300] = "nothing was sent", details[DETAILS];
	struct grant g = { .seq = min->seq, .chain = min->chained ? min->chain : NULL,
		           .flags = (uint8_t)((c->ticket ? GATE_TICKET_WRONG : 0) |
		                              (a->refill ? GATE_STORE_REFILL : 0)) };
	int wrong = remote_resume(r, m->host, (unsigned)a->wait) || renew_bundle(s, a, m, r) ||
	            deliver(m, r) || grant_auth(s, m, r, &g, why, sizeof why);
	if (wrong)
		snprintf(details, sizeof details, "%s", *r->err ? r->err : why);
	else
		say_changes(c, "", details);
	station_audit(s, "authorise", m->name, wrong ? "failed" : "done", details);
	if (wrong)
		return 1;
	outcome(a, m, c, "authorised");
	return 0;
}

static int judge(const struct station *s, struct args *a, struct machine_record *m, struct remote *r)
{
	struct changes c = { .args = a };
	struct minimum min;
	int wrong = 1;
	if (!a->json)
		printf("%s at %s: %s, started %llu times\n", m->name, m->host,
		       gate_state_text(r->hello.state), (unsigned long long)r->hello.boots);
	if (r->hello.state == GATE_RUNNING) {
		bool lost = a->renew || a->conf || a->files.n;
		outcome(a, m, &c,
		        lost ? "it runs already: nothing new was delivered, its next start can take it"
		             : "it runs already");
		return lost;
	}
	if (r->hello.state == GATE_NEW && m->boots == 0) {
		outcome(a, m, &c, "not authorised: its enrolment was not finished: enrol it again");
		return 1;
	}
	if (compare(&c, m, r) == 0 && get_minimum(a, m, &min) == 0) {
		check_minimum(&c, m, &min);
		const char *no = decide(a, m, &c, &min);
		if (no) {
			char details[DETAILS];
			say_changes(&c, no, details);
			station_audit(s, "authorise", m->name, "refused", details);
			outcome(a, m, &c, no);
		} else {
			wrong = unlock(s, a, m, r, &c, &min);
		}
	}
	buf_free(&c.text);
	buf_free(&c.json);
	return wrong;
}

/* Its certificate's serial is not enough: it could show one that it signed itself.  A
 * station without a register can't tell. */
static int check_denied(const struct station *s, const struct machine_record *m)
{
	char ca[PATH_MAX], err[PATH_MAX + 256];
	unsigned issued, good;
	snprintf(ca, sizeof ca, "%.4000s/ca/register", s->dir);
	if (access(ca, F_OK) != 0)
		return 0;
	snprintf(ca, sizeof ca, "%.4000s/ca", s->dir);
	if (ca_count(ca, ROLE_MACHINE, m->name, &issued, &good, err, sizeof err) != 0)
		return station_complain("%s", err);
	if (!issued || good)
		return 0;
	return station_complain("machine %s is denied: enrol it again if it is to be unlocked", m->name);
}

static int run(struct args *a)
{
	struct machine_record m;
	struct station s;
	struct remote r;
	int wrong = 1;
	if (grant_files_read(&a->files) != 0 || station_open(&s, a->station, a->pass) != 0)
		return 1;
	if (record_open_alone(&s, a->who, &m) == 0) {
		if (check_denied(&s, &m) == 0 &&
		    remote_open(&r, m.host, s.cred, m.pub, (unsigned)a->wait) == 0) {
			wrong = judge(&s, a, &m, &r);
			remote_close(&r);
		}
		record_close(&m);
	}
	station_close(&s);
	return wrong;
}

int authorise_main(int argc, char **argv)
{
	struct args a;
	if (argc < 2 || options_help(argc, argv)) {
		fputs(usage, argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	int r = parse(argc - 1, argv + 1, &a);
	if (r == 0)
		r = run(&a);
	grant_files_free(&a.files);
	return r;
}
