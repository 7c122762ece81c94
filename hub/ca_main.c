/* ca_main.c - encdns-hub ca: the command line of the operator's private CA.
 *
 * Where a passphrase is wanted and no option says where from, it is asked for at
 * the terminal; without one nothing is done, so that no key lies in clear because
 * somebody forgot an option. */
#include "base/options.h"
#include "hub/ca.h"
#include "hub/cafile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char USAGE[] =
        "usage: encdns-hub ca init --dir DIR\n"
        "       encdns-hub ca issue hub|node|operator NAME --dir DIR [--out FILE] [--days N]\n"
        "       encdns-hub ca renew hub|node|operator|machine NAME --dir DIR [--out FILE] [--days N]\n"
        "       encdns-hub ca list --dir DIR [--json]\n"
        "       encdns-hub ca deny ROLE NAME|SERIAL --dir DIR [--reason TEXT]\n"
        "       encdns-hub ca passphrase --dir DIR\n";
static const char HELP[] = "\n"
        "init   makes a private CA in DIR: a root, and issuing CAs for hubs, nodes, operators and\n"
        "       machines.  A CA that is there already stays as it is, but gets what it lacks.\n"
        "issue  makes a key and a certificate for NAME and writes both, with the certificates\n"
        "       above, to FILE (default DIR/issued/ROLE-NAME.pem).  Valid for N days (365).\n"
        "renew  the same for who has one; the old certificate stays good to its end.  A\n"
        "       machine's key is not here: it gets a certificate for the key it has.\n"
        "list   what was issued, and where each stands.\n"
        "deny   writes DIR/denials anew, with all certificates of ROLE NAME, or the one with that\n"
        "       SERIAL.  Final.  In force once a hub has it: encdns-hub denials --dir HUBDIR FILE\n"
        "passphrase  puts all keys of the CA under another passphrase.\n"
        "\n"
        "  --passphrase fd:N       the passphrase of the CA's keys: all of this descriptor, one line\n"
        "  --new-passphrase fd:N   that of an operator's new key (issue, renew), or the CA's next one\n"
        "  --no-passphrase         leave what is written in clear (init, issue, renew, passphrase)\n"
        "Without these, passphrases are asked for at the terminal.  Keys of hubs and nodes are\n"
        "always in clear: they are handed to a machine where nobody types.\n"
        "DIR holds the keys of the whole fleet: keep it at the operator's station.\n";

struct args {
	const char *dir, *out, *reason, *pass, *next;
	uint64_t days; /* 0: not said */
	bool plain, json;
	const char *word[3]; /* what is not an option */
	int words;
	char err[PATH_MAX + 256];
};

static const struct conf_key options[] = {
	{ .key = "--dir", .parse = option_word, .off = offsetof(struct args, dir) },
	{ .key = "--out", .parse = option_word, .off = offsetof(struct args, out) },
	{ .key = "--days",
	  .parse = conf_number,
	  .off = offsetof(struct args, days),
	  .min = 1,
	  .max = CA_DAYS },
	{ .key = "--reason", .parse = option_word, .off = offsetof(struct args, reason) },
	{ .key = "--passphrase", .parse = option_word, .off = offsetof(struct args, pass) },
	{ .key = "--new-passphrase", .parse = option_word, .off = offsetof(struct args, next) },
	{ .key = "--no-passphrase", .off = offsetof(struct args, plain) },
	{ .key = "--json", .off = offsetof(struct args, json) },
};

static int misuse(const char *what)
{
	fprintf(stderr, "encdns-hub: ca: %s\n%sTry: encdns-hub ca --help\n", what, USAGE);
	return 2;
}

static int wrong_usage(void) { return misuse("these words are not understood"); }

/* 0, 2 on wrong usage (said), -1 when help was asked for (given). */
static int parse_args(int argc, char **argv, struct args *a)
{
	if (options_help(argc, argv)) {
		printf("%s%s", USAGE, HELP);
		return -1;
	}
	a->words =
		options_read(argc, argv, options, sizeof options / sizeof *options, a, a->err, sizeof a->err);
	if (a->words < 0)
		return misuse(a->err);
	for (int i = 0; i < a->words && i < 3; i++)
		a->word[i] = argv[i];
	if (a->words == 0)
		return misuse("a command is wanted");
	if (!a->dir)
		return misuse("--dir DIR is wanted");
	if (a->plain && a->next)
		return misuse("--new-passphrase or --no-passphrase, not both");
	return a->words <= 3 ? 0 : wrong_usage();
}

/* ---- passphrases ---- */

/* 0 with *out, which may be NULL where none is wanted; 1: said why not. */
static int from_fd(struct args *a, const char *option, const char *text, struct pass **out)
{
	struct conf_key k = { .key = option };
	int fd;

	if (conf_fd(&k, &fd, text, a->err, sizeof a->err) != 0)
		return 1;
	*out = pass_read(fd);
	if (*out)
		return 0;
	snprintf(a->err, sizeof a->err, "%s %s: %s", option, text, pass_error(errno));
	return 1;
}

static int ask(struct args *a, const char *prompt, const char *what, bool new, struct pass **out)
{
	char text[PATH_MAX + 60], why[100];

	snprintf(text, sizeof text, "%s %.4000s", prompt, what);
	*out = pass_ask(text, new ? "the same once more" : NULL, why, sizeof why);
	if (*out)
		return 0;
	snprintf(a->err, sizeof a->err, "%s: give %s", why,
	         new ? "--new-passphrase fd:N, or --no-passphrase to have the key in clear"
	             : "--passphrase fd:N");
	return 1;
}

/* What the CA's key for this role is under. */
static int ca_pass(struct args *a, unsigned role, struct pass **out)
{
	if (a->pass)
		return from_fd(a, "--passphrase", a->pass, out);
	return ca_locked(a->dir, role) ? ask(a, "passphrase of the CA in", a->dir, false, out) : 0;
}

/* What something new is to be under. */
static int next_pass(struct args *a, const char *prompt, const char *what, struct pass **out)
{
	if (a->plain)
		return 0;
	if (a->next)
		return from_fd(a, "--new-passphrase", a->next, out);
	return ask(a, prompt, what, true, out);
}

/* ---- the commands; each returns 0, 1 with a->err, or 2 (wrong usage, said) ---- */

static int init(struct args *a)
{
	struct pass *p = NULL;
	unsigned added;
	bool fresh = ca_lacks(a->dir, 0), some = false;
	int rc = 0;

	if (a->words != 1 || a->out || a->days || a->reason)
		return wrong_usage();
	if (a->plain && a->pass)
		return misuse("--passphrase or --no-passphrase, not both");
	for (enum cert_role r = ROLE_HUB; r <= ROLE_LAST; r++)
		some |= ca_lacks(a->dir, r);
	if (fresh && a->pass && !a->next) { /* either option says it */
		a->next = a->pass;
		a->pass = NULL;
	}
	if (fresh)
		rc = next_pass(a, "new passphrase for the CA in", a->dir, &p);
	else if (some)
		rc = ca_pass(a, 0, &p);
	if (rc == 0 && ca_init(a->dir, p, &added, a->err, sizeof a->err) == 0)
		printf(added ? "the CA in %s issues for all roles now\n" : "a new CA lies in %s\n", a->dir);
	else
		rc = 1;
	pass_free(p);
	return rc;
}

static int issue(struct args *a, bool renew)
{
	struct ca_order o = { .name = a->word[2],
		              .outfile = a->out,
		              .days = a->days ? (unsigned)a->days : CA_LEAF_DAYS };
	struct pass *p = NULL, *q = NULL;

	if (a->words != 3 || a->reason || !cert_role_parse(a->word[1], strlen(a->word[1]), &o.role))
		return wrong_usage();
	if (o.role == ROLE_MACHINE && o.outfile)
		return wrong_usage();
	int rc = ca_pass(a, o.role, &p);
	if (rc == 0 && o.role == ROLE_OPERATOR)
		rc = next_pass(a, "new passphrase for operator", o.name, &q);
	o.pass = q;
	if (rc == 0)
		rc = (renew ? ca_renew : ca_issue)(a->dir, p, &o, a->err, sizeof a->err) != 0;
	if (rc == 0 && a->out)
		printf("%s\n", a->out);
	else if (rc == 0)
		printf("%s/issued/%s-%s.pem\n", a->dir, cert_role_text(o.role), o.name);
	pass_free(p);
	pass_free(q);
	return rc;
}

/* Printable ASCII inside a JSON string. */
static void print_json(const char *text)
{
	for (; *text; text++)
		printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
}

static void print_one(const struct ca_listed *l, bool json, const char *sep)
{
	char serial[2 * CERT_SERIAL + 1], from[32], until[32], denied[32];

	hex_text(serial, l->e.serial, CERT_SERIAL);
	register_time(l->e.from, from);
	register_time(l->e.until, until);
	register_time(l->denied_at, denied);
	if (!json) {
		printf("%s %-8s %-20s until %s  %s%s%s%s%s\n", serial, cert_role_text(l->e.role), l->e.name,
		       until, ca_state_text(l->state), l->denied ? " " : "", l->denied ? denied : "",
		       *l->reason ? ": " : "", l->reason);
		return;
	}
	printf("%s{\"serial\":\"%s\",\"role\":\"%s\",\"name\":\"%s\",\"from\":\"%s\",\"until\":\"%s\","
	       "\"state\":\"%s\"", sep, serial, cert_role_text(l->e.role), l->e.name, from, until,
	       ca_state_text(l->state));
	if (l->denied) {
		printf(",\"denied\":\"%s\",\"reason\":\"", denied);
		print_json(l->reason);
		printf("\"");
	}
	printf("}");
}

static int list(struct args *a)
{
	struct ca_listed *all;
	size_t n;
	uint64_t number;

	if (a->words != 1)
		return wrong_usage();
	if (ca_list(a->dir, &all, &n, &number, a->err, sizeof a->err) != 0)
		return 1;
	if (a->json)
		printf("{\"denials\":%llu,\"certificates\":[", (unsigned long long)number);
	for (size_t i = 0; i < n; i++)
		print_one(&all[i], a->json, i ? "," : "");
	if (a->json)
		printf("]}\n");
	free(all);
	return 0;
}

static int deny(struct args *a)
{
	uint8_t serial[CERT_SERIAL];
	struct ca_denial d = { .name = a->word[2], .reason = a->reason };
	struct pass *p = NULL;
	unsigned count;
	uint64_t number;

	if (a->words == 2 && register_serial(a->word[1], serial))
		d.serial = serial;
	else if (a->words != 3 || !cert_role_parse(a->word[1], strlen(a->word[1]), &d.role))
		return wrong_usage();
	int rc = ca_pass(a, 0, &p);
	if (rc == 0)
		rc = ca_deny(a->dir, p, &d, &count, &number, a->err, sizeof a->err) != 0;
	pass_free(p);
	if (rc == 0)
		printf("%u denied: list %llu is %s/denials\n"
		       "in force with: encdns-hub denials --dir HUBDIR %s/denials\n",
		       count, (unsigned long long)number, a->dir, a->dir);
	return rc;
}

static int passphrase(struct args *a)
{
	struct pass *p = NULL, *q = NULL;

	if (a->words != 1)
		return wrong_usage();
	int rc = ca_pass(a, ROLE_HUB, &p);
	if (rc == 0)
		rc = next_pass(a, "new passphrase for the CA in", a->dir, &q);
	if (rc == 0)
		rc = ca_passphrase(a->dir, p, q, a->err, sizeof a->err) != 0;
	if (rc == 0)
		printf("the keys of the CA in %s are %s\n", a->dir,
		       q ? "under the new passphrase" : "in clear");
	pass_free(p);
	pass_free(q);
	return rc;
}

int ca_main(int argc, char **argv)
{
	struct args a = { 0 };
	int rc = parse_args(argc - 1, argv + 1, &a);

	if (rc != 0)
		return rc < 0 ? 0 : rc;
	const char *verb = a.word[0];
	if (strcmp(verb, "init") == 0)
		rc = init(&a);
	else if (strcmp(verb, "issue") == 0 || strcmp(verb, "renew") == 0)
		rc = issue(&a, *verb == 'r');
	else if (strcmp(verb, "list") == 0)
		rc = list(&a);
	else if (strcmp(verb, "deny") == 0)
		rc = deny(&a);
	else if (strcmp(verb, "passphrase") == 0)
		rc = passphrase(&a);
	else
		rc = wrong_usage();
	if (rc == 1)
		fprintf(stderr, "encdns-hub: ca: %s\n", a.err);
	return rc;
}
