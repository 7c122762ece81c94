/* node.c - encdns-hub node: an operator's commands for a machine that runs.
 * Each is signed for this connection and this moment; the machine answers in words. */
#include "hub/grant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
	"encdns-hub node HOST[@PORT]|NAME COMMAND --station DIR [--wait SECONDS] [--passphrase fd:N]\n"
	"  status [--json]   what encdns status tells there\n"
	"  log               its last lines\n"
	"  withdraw          neighbours are told no prefix any more, until announce\n"
	"  announce          they are again, as soon as all is well\n"
	"  reconnect         the connection to the hub is made anew\n"
	"  check             reads its catalog of zones, and tells what damage it has met since it was\n"
	"                    started; no zone's content (encdns check does that in a stopped node)\n"
	"  restart dns|control\n"
	"                    one of its processes is started anew; its log says who wanted that\n"
	"  reboot, poweroff  the machine; only where encdns is its init\n"
	"  --wait SECONDS    try to reach it for so long (10)\n"
	"Exit status: 0 done; 1 not done, or not reached; 2 wrong usage.\n";

struct args {
	const char *station, *pass, *who;
	uint64_t wait;
	bool json;
	struct gate_command command;
};

static const struct conf_key options[] = {
	{ .key = "--station", .parse = option_word, .off = offsetof(struct args, station) },
	{ .key = "--passphrase", .parse = option_word, .off = offsetof(struct args, pass) },
	{ .key = "--wait", .parse = conf_number, .off = offsetof(struct args, wait), .max = REMOTE_WAIT_MAX },
	{ .key = "--json", .off = offsetof(struct args, json) },
};

static int parse(int argc, char **argv, struct args *a)
{
	static char json[] = "json";
	char err[200];
	*a = (struct args){ .wait = 10 };
	int words = options_read(argc, argv, options, sizeof options / sizeof *options, a, err, sizeof err);
	if (words < 0)
		return station_misuse("node", "%s", err);
	if (words > (int)GATE_WORD_MAX)
		return station_misuse("node", "too many words: %.80s", argv[GATE_WORD_MAX]);
	a->who = words ? argv[0] : NULL;
	for (int i = 1; i < words; i++)
		a->command.argv[a->command.argc++] = argv[i];
	const char *lacks = words == 0    ? "HOST or NAME"
	                    : words == 1  ? "a command"
	                    : !a->station ? "--station DIR"
	                                  : NULL;
	if (lacks)
		return station_misuse("node", "%s is wanted", lacks);
	if (a->json && (words != 2 || strcmp(argv[1], "status") != 0))
		return station_misuse("node", "--json goes with status only");
	if (a->json)
		a->command.argv[a->command.argc++] = json;
	return 0;
}

static int command(const struct station *s, const struct machine_record *m, struct args *a, struct remote *r)
{
	struct buf text = { 0 };
	enum gate_code code;
	bool silent = strcmp(a->command.argv[0], "status") == 0 || strcmp(a->command.argv[0], "log") == 0;
	if (r->hello.state != GATE_RUNNING)
		return station_complain("%s is %s: it has to be authorised first", m->name,
		                        gate_state_text(r->hello.state));
	memcpy(a->command.nonce, r->nonce, GATE_NONCE);
	a->command.issued = (uint64_t)time(NULL);
	if (!gate_put_command(r->out, &a->command, s->cred, r->exporter))
		return station_complain("too many words, or not in plain letters");
	int wrong = remote_flush(r) || remote_result(r, &code, &text);
	if (!wrong)
		fputs((char *)text.p, code == GATE_DONE ? stdout : stderr);
	if (!wrong && code == GATE_NO)
		fputc('\n', stderr);
	if (!silent)
		station_audit(s, a->command.argv[0], m->name, wrong || code != GATE_DONE ? "failed" : "done",
		              a->command.argc > 1 ? a->command.argv[1] : "");
	buf_free(&text);
	return wrong || code != GATE_DONE;
}

int node_main(int argc, char **argv)
{
	struct args a;
	struct station s;
	struct machine_record m;
	struct remote r;
	int wrong = 1;
	if (argc < 2 || options_help(argc, argv)) {
		fputs(usage, argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	if (parse(argc - 1, argv + 1, &a) != 0)
		return 2;
	if (station_open(&s, a.station, a.pass) != 0)
		return 1;
	if (record_open(&s, a.who, &m) == 0) {
		if (remote_open(&r, m.host, s.cred, m.pub, (unsigned)a.wait) == 0) {
			wrong = command(&s, &m, &a, &r);
			remote_close(&r);
		}
		record_close(&m);
	}
	station_close(&s);
	return wrong;
}
