/* enrol.c - encdns-hub enrol: a machine becomes known to the station.
 * A machine's first start is where somebody in between would be believed: so the
 * operator compares its fingerprint with the console. */
#include "hub/grant.h"

#include "base/inventory.h"
#include "hub/ca.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
	"encdns-hub enrol HOST[@PORT] NAME --station DIR --conf FILE [--file NAME=FILE]...\n"
	"                 [--fingerprint HEX | --yes] [--replace] [--wait SECONDS] [--json]\n"
	"                 [--passphrase fd:N]\n"
	"    makes the machine at HOST, which waits at its first start, known as NAME: certifies its\n"
	"    identity, seals its configuration and credentials for it, and authorises it\n"
	"  --conf FILE         its configuration (encdns --help keys); secrets in it are bundle:NAME\n"
	"  --file NAME=FILE    another file of the sealed bundle, for bundle:NAME\n"
	"  --fingerprint HEX   what its console shows, instead of a question\n"
	"  --yes               no question: only where nobody can be in between (the fingerprint is shown)\n"
	"  --replace           NAME is another machine from now on\n"
	"  --wait SECONDS      try to reach it for so long (10)\n"
	"Look at FILE before: encdns checkconf FILE.  What failed may be repeated.\n"
	"A machine that this or another station has enrolled is new again without DIR/identity.pem.\n";

struct args {
	const char *station, *pass, *conf, *fingerprint, *host, *name;
	uint64_t wait;
	bool yes, replace, json;
	struct grant_files files;
};

static const struct conf_key options[] = {
	{ .key = "--station", .parse = option_word, .off = offsetof(struct args, station) },
	{ .key = "--passphrase", .parse = option_word, .off = offsetof(struct args, pass) },
	{ .key = "--conf", .parse = option_word, .off = offsetof(struct args, conf) },
	{ .key = "--file", .parse = grant_file_word, .off = offsetof(struct args, files) },
	{ .key = "--fingerprint", .parse = option_word, .off = offsetof(struct args, fingerprint) },
	{ .key = "--wait", .parse = conf_number, .off = offsetof(struct args, wait), .max = REMOTE_WAIT_MAX },
	{ .key = "--yes", .off = offsetof(struct args, yes) },
	{ .key = "--replace", .off = offsetof(struct args, replace) },
	{ .key = "--json", .off = offsetof(struct args, json) },
};

/* 0, or 2 on wrong usage. */
static int parse(int argc, char **argv, struct args *a)
{
	char err[PATH_MAX + 200];
	*a = (struct args){ .wait = 10 };
	int words = options_read(argc, argv, options, sizeof options / sizeof *options, a, err, sizeof err);
	if (words < 0)
		return station_misuse("enrol", "%s", err);
	if (words > 2)
		return station_misuse("enrol", "one HOST and one NAME are wanted, not %.80s too", argv[2]);
	a->host = words > 0 ? argv[0] : NULL;
	a->name = words > 1 ? argv[1] : NULL;
	const char *lacks = !a->host      ? "HOST"
	                    : !a->name    ? "NAME"
	                    : !a->station ? "--station DIR"
	                    : !a->conf    ? "--conf FILE"
	                                  : NULL;
	return lacks ? station_misuse("enrol", "%s is wanted", lacks) : 0;
}

/* Is it the machine that the operator means? */
static bool is_it(const struct args *a, const struct remote *r)
{
	char shown[3 * MACHINE_ID], hex[2 * MACHINE_ID + 1], question[200];
	size_t n = 0;
	machine_id_text(r->hello.id, shown);
	if (!a->json) {
		printf("a machine at %s that is %s, started %llu times; its inventory:\n", a->host,
		       gate_state_text(r->hello.state), (unsigned long long)r->hello.boots);
		for (size_t at = 0; at < r->inventory.n; at++) {
			if (at == 0 || r->inventory.p[at - 1] == '\n')
				fputs("    ", stdout);
			putchar(r->inventory.p[at]);
		}
		printf("fingerprint %s\n", shown);
		fflush(stdout); /* before what goes wrong then */
	}
	if (a->fingerprint) {
		for (const char *p = a->fingerprint; *p && n < sizeof hex - 1; p++)
			if (*p != ' ' && *p != ':')
				hex[n++] = *p;
		hex[n] = 0;
		char want[2 * MACHINE_ID + 1];
		hex_text(want, r->hello.id, MACHINE_ID);
		if (strcmp(hex, want) == 0)
			return true;
		station_complain("its fingerprint is another one: %s", shown);
		return false;
	}
	snprintf(question, sizeof question, "Does its console show this fingerprint, and is it to be %s?",
	         a->name);
	return a->yes || grant_asked(question);
}

static int certify(const struct station *s, const struct args *a, struct remote *r)
{
	char dir[PATH_MAX], err[PATH_MAX + 256];
	struct ca_chain c;
	struct ca_order o = { .role = ROLE_MACHINE, .name = a->name, .days = CA_DAYS };
	snprintf(dir, sizeof dir, "%.4000s/ca", s->dir);
	if (ca_certify(dir, s->pass, &o, r->pub, &c, err, sizeof err) != 0)
		return station_complain("%s", err);
	struct gate_identity i = { rd_init(c.der[CERT_LEAF], c.len[CERT_LEAF]),
		                   rd_init(c.der[CERT_ISSUING], c.len[CERT_ISSUING]) };
	return gate_put_identity(r->out, &i) ? remote_flush(r) : station_complain("no memory");
}

static void describe(const struct args *a, const struct remote *r, struct machine_record *m)
{
	char host[256], port[8];
	snprintf(m->name, sizeof m->name, "%s", a->name);
	host_split(a->host, host, port);
	snprintf(m->host, sizeof m->host, "%s@%s", host, port);
	memcpy(m->pub, r->pub, SIGN_PUB);
	memcpy(m->id, r->hello.id, MACHINE_ID);
	memcpy(m->salt, r->hello.salt, GATE_SALT);
	crypto_random(m->epoch, sizeof m->epoch);
	buf_put(&m->inventory, r->inventory.p, r->inventory.n);
}

/* May the machine with this key (NULL: not known yet) have the name?  An enrolment that
 * failed may be repeated, by the machine that it began with. */
static bool name_free(const struct station *s, const struct args *a, const uint8_t *pub)
{
	struct machine_record old;
	bool begun = false;
	if (a->replace || !record_there(s, a->name))
		return true;
	if (record_open(s, a->name, &old) == 0) {
		begun = old.boots == 0 && (!pub || memcmp(old.pub, pub, SIGN_PUB) == 0);
		record_close(&old);
	}
	return begun || !station_complain("%s is enrolled already (--replace: it is another machine from "
	                                  "now on)", a->name);
}

static int enrol(const struct station *s, struct args *a, struct remote *r, struct machine_record *m)
{
	struct grant g = { .flags = a->replace ? GATE_STORE_REFILL : 0 };
	char why[300] = "nothing was sent";
	if (!name_free(s, a, r->pub)) /* since it was asked */
		return 1;
	describe(a, r, m);
	if (grant_credentials(s, m, &a->files) != 0 ||
	    grant_seal(s, m, &a->files, r->hello.generation + 1) != 0 || record_make(s, m) != 0)
		return 1;
	int wrong = remote_resume(r, a->host, (unsigned)a->wait) || certify(s, a, r) ||
	            remote_put_bundle(r, m->bundle.p, m->bundle.n) ||
	            grant_auth(s, m, r, &g, why, sizeof why);
	const char *details = !wrong ? m->host : *r->err ? r->err : why;
	station_audit(s, "enrol", m->name, wrong ? "failed" : "done", details);
	if (wrong)
		return station_complain("%s is not unlocked: mend that, and enrol it again; if it is "
		                        "enrolled already then, authorise it",
		                        m->name);
	if (a->json)
		printf("{\"machine\":\"%s\",\"host\":\"%s\",\"outcome\":\"enrolled\"}\n", m->name, m->host);
	else
		printf("%s is enrolled and authorised\n", m->name);
	return 0;
}

static int run(struct args *a)
{
	struct machine_record m = { .seq = 0 };
	struct station s;
	struct remote r;
	int wrong = 1;
	if (!cert_name_ok(a->name, strlen(a->name)) || a->name[0] == '.')
		return station_complain("%.80s: a name has 1 to 63 letters, digits, dots, dashes "
		                        "or underscores", a->name);
	if (station_open(&s, a->station, a->pass) != 0)
		return 1;
	if (name_free(&s, a, NULL) && grant_files_read(&a->files) == 0 &&
	    grant_file_read(&a->files, "conf", a->conf) == 0 &&
	    remote_open(&r, a->host, s.cred, NULL, (unsigned)a->wait) == 0) {
		if (r.hello.state != GATE_NEW)
			station_complain("%s: this machine is enrolled already", a->host);
		else if (name_free(&s, a, r.pub)) {
			wrong = is_it(a, &r) ? enrol(&s, a, &r, &m) : station_complain("nothing was done");
		}
		remote_close(&r);
	}
	record_close(&m);
	station_close(&s);
	return wrong;
}

int enrol_main(int argc, char **argv)
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
