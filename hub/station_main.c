/* station_main.c - encdns-hub station: the command line of the operator's station. */
#include "hub/grant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char usage[] =
	"encdns-hub station init --station DIR [--operator NAME] [--passphrase fd:N | --no-passphrase]\n"
	"    makes an operator's station: the private CA, the master key that all machines' keys are\n"
	"    derived from, and the operator's own credentials, all under one passphrase\n"
	"encdns-hub station list --station DIR\n"
	"    the machines that are enrolled; no passphrase is wanted\n"
	"encdns-hub station key NAME --station DIR\n"
	"    the key of NAME's store to stdout, for: encdns check --key fd:N\n"
	"encdns-hub station passphrase --station DIR [--new-passphrase fd:N | --no-passphrase]\n"
	"    puts the master key, the operator's and the CA's keys under another passphrase (in clear:\n"
	"    --no-passphrase).  After an interruption once more, with the same new one.  A copy elsewhere\n"
	"    keeps its own.\n"
	"The passphrase is asked for at the terminal, or read from a descriptor: --passphrase fd:N\n";

static int show_key(const struct station *s, const char *name)
{
	struct machine_record m;
	uint8_t raw[32];
	char text[66];
	int pair[2];
	if (record_open(s, name, &m) != 0)
		return 1;
	struct key *k = grant_key_data(s, &m);
	record_close(&m);
	bool good = k && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0 &&
	            key_send(k, pair[0]) == 0 && read(pair[1], raw, sizeof raw) == sizeof raw;
	key_free(k);
	if (!good)
		return station_complain("no memory for keys");
	hex_text(text, raw, sizeof raw);
	text[64] = '\n';
	good = write(1, text, 65) == 65;
	crypto_wipe(raw, sizeof raw);
	crypto_wipe(text, sizeof text);
	return !good;
}

static void list_one(const struct machine_record *m, void *owner)
{
	struct bundle_head h = { .generation = 0 };
	char id[2 * MACHINE_ID + 1];
	(void)owner;
	bundle_peek(m->bundle.p, m->bundle.n, &h);
	hex_text(id, m->id, MACHINE_ID);
	printf("%s %s machine %s boots %llu bundle %llu minimum %llu\n", m->name, m->host, id,
	       (unsigned long long)m->boots, (unsigned long long)h.generation, (unsigned long long)m->seq);
}

struct args { const char *dir, *operator, *pass, *next; bool plain; };

static const struct conf_key options[] = {
	{ .key = "--station", .parse = option_word, .off = offsetof(struct args, dir) },
	{ .key = "--operator", .parse = option_word, .off = offsetof(struct args, operator) },
	{ .key = "--passphrase", .parse = option_word, .off = offsetof(struct args, pass) },
	{ .key = "--new-passphrase", .parse = option_word, .off = offsetof(struct args, next) },
	{ .key = "--no-passphrase", .off = offsetof(struct args, plain) },
};

static int make(const struct args *a)
{
	const char *operator = a->operator ? a->operator : getenv("USER");
	bool good = operator && cert_name_ok(operator, strlen(operator));
	if (a->operator && !good)
		return station_misuse("station",
		                      "--operator: a name has 1 to 63 letters, digits, dots, dashes or "
		                      "underscores, not \"%.80s\"", operator);
	if (!good)
		operator = "operator";
	if (a->next)
		return station_misuse("station", "init wants --passphrase, not --new-passphrase");
	if (a->plain && a->pass)
		return station_misuse("station", "--passphrase or --no-passphrase, not both");
	if (station_make(a->dir, operator, a->pass, a->plain) != 0)
		return 1;
	printf("a new station lies in %s, its operator is %s; machines want %s/ca/root.pem\n",
	       a->dir, operator, a->dir);
	return 0;
}

static int list(const struct args *a)
{
	struct station s;
	return station_look(&s, a->dir) != 0 ? 1 : record_each(&s, list_one, NULL);
}

static int key(const struct args *a, const char *name)
{
	struct station s;
	if (station_open(&s, a->dir, a->pass) != 0)
		return 1;
	int r = show_key(&s, name);
	station_close(&s);
	return r;
}

static int passphrase(const struct args *a)
{
	if (a->plain && a->next)
		return station_misuse("station", "--new-passphrase or --no-passphrase, not both");
	if (station_passphrase(a->dir, a->pass, a->next, a->plain) != 0)
		return 1;
	printf("the keys of the station in %s are %s\n", a->dir,
	       a->plain ? "in clear" : "under the new passphrase");
	return 0;
}

int station_main(int argc, char **argv)
{
	struct args a = { .dir = NULL };
	char err[200];
	if (argc < 2 || options_help(argc, argv)) {
		fputs(usage, argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	char **word = argv + 1;
	int words = options_read(argc - 1, word, options, sizeof options / sizeof *options, &a, err,
	                         sizeof err);
	if (words < 0)
		return station_misuse("station", "%s", err);
	static int (*const verbs[])(const struct args *) = { make, list, passphrase };
	static const char *const names[] = { "init", "list", "passphrase" };
	int (*verb)(const struct args *) = NULL;
	for (size_t i = 0; i < sizeof names / sizeof *names && words; i++)
		if (strcmp(word[0], names[i]) == 0)
			verb = verbs[i];
	if (!verb && (!words || strcmp(word[0], "key") != 0))
		return station_misuse("station", "init, list, key or passphrase is wanted");
	if (!a.dir)
		return station_misuse("station", "--station DIR is wanted");
	if (words > (verb ? 1 : 2))
		return station_misuse("station", "%.80s: no name is wanted here", word[verb ? 1 : 2]);
	if (!verb && words < 2)
		return station_misuse("station", "key wants the NAME of a machine");
	return verb ? verb(&a) : key(&a, word[1]);
}
