/* test_bulk.c - a long load that is cut off: a node's snapshot and the hub's own
 * replay go on where the last commit on their way stood, and end as if nothing
 * had happened.  A large new zone that the hub had begun, and whose transaction is not
 * in the journal, leaves nothing that the next one could take for its own. */
#include "hub/hub.h"
#include "tests/tap.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMES  40000u /* in the large zone: a dozen chunks or so */
#define STEP   (300u << 10)
#define CHUNKS 64
#define TRIES  60u

static char dir[64], err[1400];
static struct scratch scratch;

static struct key *the_key(void)
{
	static const uint8_t octets[32] = "kept over all lives of a test";
	return key_from(octets);
}

static const char *at(const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

/* ---- zones: a small one, a large one, another small one ---- */

static const char *const origins[] = { "first.", "large.", "small.", "other." };

static void say(void *ctx, bool error, const char *file, unsigned line, const char *text)
{
	(void)ctx, (void)file;
	if (error)
		printf("# line %u: %s\n", line, text);
}

static struct zone *make_zone(unsigned i)
{
	static const struct zone_report report = { .say = say };
	unsigned names = i == 1 ? NAMES : i == 3 ? NAMES - 5000 : 5;
	size_t room = 300 + names * 90u, n;
	char *text = malloc(room);
	uint8_t origin[NAME_MAX_LEN];
	name_parse(origins[i], strlen(origins[i]), NULL, origin);
	n = (size_t)snprintf(text, room, "@ 60 SOA a b 7 1 1 1 1\n@ 60 NS ns.elsewhere.\n");
	for (unsigned x = 0; x < names; x++)
		n += (size_t)snprintf(text + n, room - n, "n%x 60 NS ns1.of%u.elsewhere.\nn%x 60 NS ns2.of%u.elsewhere.\n", x * 40503u % 65536u, x % 9, x * 40503u % 65536u, x % 9);
	struct zone *z = zone_load_text(origin, text, n, &report);
	free(text);
	return z;
}

/* Does a store hold just what the zone says? */
static bool holds(struct store *st, struct zone *z)
{
	struct store_zone have;
	struct zone_cursor c;
	struct zone_node n;
	struct frag f;
	bool good = store_zone_get(st, zone_origin(z), &have) == STORE_FOUND && have.serial == zone_serial(z) &&
	            zone_open(&c, z) == 0;
	if (!good)
		return false;
	while (good && zone_next(&c, &n)) {
		scratch.used = 0;
		good = store_get(store_reader(st), FRAG_NAME, have.inst, n.owner, store_seq(st), &scratch, &f) == STORE_FOUND &&
		       f.len == n.len && f.flags == n.flags && memcmp(f.body, n.body, n.len) == 0;
	}
	zone_close(&c);
	return good;
}

/* names: how many there are, 0: not to be asked */
static bool holds_all(struct store *st, uint64_t names)
{
	struct store_stats s;
	bool good = true;
	for (unsigned i = 0; i < 3 && good; i++) {
		struct zone *z = make_zone(i);
		good = z && holds(st, z);
		zone_free(z);
	}
	store_stats_get(st, &s);
	return good && (names == 0 || s.names == names);
}

/* ---- a node, from a pipe ---- */

struct chunk { uint8_t *p; size_t n; uint8_t type; };
static struct chunk chunks[CHUNKS]; /* the last is the manifest */
static unsigned nchunks;
static uint8_t hello[1 + JOURNAL_ID + SIGN_PUB], head[8 + CHAIN_LEN + 8 + 4];

static void put_frame(FILE *to, uint8_t type, const uint8_t *p, size_t n)
{
	uint8_t h[4];
	put_u24(h, (uint32_t)n);
	h[3] = type;
	fwrite(h, 1, 4, to);
	fwrite(p, 1, n, to);
}

/* A child that says chunks [from, to) and ends; the descriptor to read it. */
static int talk(unsigned from, unsigned to)
{
	int fd[2];
	if (pipe(fd) != 0 || fflush(stdout) != 0)
		abort();
	if (fork() == 0) {
		FILE *out = fdopen(fd[1], "w");
		close(fd[0]);
		put_u32(head + sizeof head - 4, from);
		put_frame(out, FRAME_HELLO, hello, sizeof hello);
		put_frame(out, FRAME_SNAPSHOT, head, sizeof head);
		for (unsigned i = from; i < to; i++)
			put_frame(out, chunks[i].type, chunks[i].p, chunks[i].n);
		fclose(out);
		_exit(0);
	}
	close(fd[1]);
	return fd[0];
}

static _Atomic bool stop;
static bool complete;
static void committed(void *owner, uint64_t seq, const uint8_t chain[static CHAIN_LEN])
{
	(void)owner, (void)seq, (void)chain;
	stop = complete = true;
}
static void broken(void *owner, const char *why) { (void)owner, (void)why; stop = true; }
static void ended(void *owner) { (void)owner; stop = true; }
static void harmed(void *owner, uint32_t inst) { (void)owner, (void)inst; }
static void repair(void *owner, const uint8_t *zone, bool done, const char *why)
{
	(void)owner, (void)zone, (void)done, (void)why;
}

static bool listen_to(struct store *st, int fd)
{
	static const struct journal_calls calls = { committed, broken, ended, harmed, repair, NULL };
	struct journal_conf c = { .plain_fd = fd, .bulk_step = STEP };
	struct loop loop;
	stop = complete = false;
	struct journal *j = loop_init(&loop) == 0 ? journal_new(&loop, st, &c, &calls, NULL) : NULL;
	if (j)
		loop_run(&loop, &stop);
	journal_free(j);
	close(fd);
	wait(NULL);
	return complete;
}

static struct store *open_node(void)
{
	struct key *k = the_key();
	struct store_conf c = { .path = at("node"), .fd = -1, .reserve = 1ull << 30 };
	return store_open(&c, k, err, sizeof err); /* the key is the store's as long as it lives */
}

/* A life that hears chunks [from, to) and is killed. */
static void short_life(unsigned from, unsigned to)
{
	fflush(stdout);
	pid_t p = fork();
	if (p == 0) {
		struct store *st = crypto_init() == 0 ? open_node() : NULL;
		if (st)
			listen_to(st, talk(from, to));
		raise(SIGKILL);
	}
	waitpid(p, NULL, 0);
}

/* How many chunks the store has noted, without a trace of them to be seen. */
static unsigned noted(struct store *st, bool *hidden)
{
	struct bulk b = { 0 };
	struct buf hashes = { 0 };
	struct store_zone z;
	unsigned n = bulk_take_up(&b, st, &hashes) ? b.parts : 0;
	*hidden = store_seq(st) == 0 && store_zone_next(st, NULL, &z) == STORE_ABSENT;
	buf_free(&hashes);
	bulk_free(&b);
	return n;
}

static void test_node(struct snapshot *s, uint64_t names, unsigned cut)
{
	bool hidden[2];
	unlink(at("node"));
	short_life(0, cut);
	struct store *st = open_node();
	unsigned have = st ? noted(st, &hidden[0]) : 0;
	if (st)
		store_close(st);
	/* once more, behind what it has */
	unsigned second = have + 4 < nchunks ? have + 4 : nchunks - 1;
	short_life(have, second);
	st = open_node();
	unsigned more = st ? noted(st, &hidden[1]) : 0;
	bool good = st && listen_to(st, talk(more, nchunks)) && holds_all(st, names);
	ok(good && hidden[0] && hidden[1] && have <= cut && have + 2 >= cut && (more > have || second < have + 2),
	   "a snapshot cut off behind %u chunks: %u were kept, then %u of %u, then it is all there", cut, have, more, nchunks - 1);
	if (st)
		store_close(st);

	/* the hub's half: the rest is said again just as it was */
	struct buf b = { 0 };
	unsigned same = 0;
	good = snapshot_back(s, have);
	for (unsigned i = have; good && i + 1 < nchunks; i++)
		same += snapshot_next(s, &b) == 1 && b.n == chunks[i].n && memcmp(b.p, chunks[i].p, b.n) == 0;
	ok(good && same == nchunks - 1 - have && !snapshot_back(s, nchunks), "the hub goes back behind chunk %u and says the same", have);
	buf_free(&b);
}

/* What does not fit its manifest is not gone on with. */
static void test_wrong(void)
{
	bool hidden;
	unlink(at("node"));
	short_life(0, nchunks - 3);
	struct store *st = open_node();
	unsigned have = st ? noted(st, &hidden) : 0;
	if (st)
		store_close(st);
	uint8_t *octet = chunks[nchunks - 2].p + chunks[nchunks - 2].n - 60; /* in a name server's name, or a TTL */
	*octet ^= 1;
	short_life(have, nchunks);
	*octet ^= 1;
	st = open_node();
	unsigned after = st ? noted(st, &hidden) : 99;
	ok(st && have > 0 && after == 0 && hidden, "an octet changed on the way: %u chunks were kept, now %u are", have, after);
	ok(st && listen_to(st, talk(0, nchunks)) && holds_all(st, 0), "the next snapshot begins anew, and is taken");
	if (st)
		store_close(st);
}

static void test_nodes(void)
{
	static struct hub h;
	struct import_result r;
	struct buf b = { 0 };
	uint64_t names = 0;
	bool good = hub_open(&h, NULL, the_key(), err, sizeof err) == 0;
	for (unsigned i = 0; i < 3 && good; i++) {
		struct zone *z = make_zone(i);
		good = z && hub_import(&h, z, false, &r, err, sizeof err) == 0 && hub_commit(&h, err, sizeof err) == 0;
		names += z ? zone_names(z) : 0;
		zone_free(z);
	}
	struct snapshot *s = good ? snapshot_begin(&h, NULL) : NULL;
	for (int got = 1; s && got == 1 && nchunks < CHUNKS; nchunks++) {
		got = snapshot_next(s, &b);
		chunks[nchunks] = (struct chunk){ memcpy(malloc(b.n), b.p, b.n), b.n, got ? FRAME_CHUNK : FRAME_MANIFEST };
	}
	hello[0] = LINK_VERSION;
	memcpy(hello + 1, h.id, JOURNAL_ID);
	memcpy(hello + 1 + JOURNAL_ID, h.pub, SIGN_PUB);
	if (s)
		snapshot_header(s, head);
	ok(s && nchunks > 8, "a snapshot of %llu names, %u chunks", (unsigned long long)names, nchunks - 1);
	for (unsigned cut = 3; s && cut < nchunks; cut += 2)
		test_node(s, names, cut);
	snapshot_end(s);
	test_wrong();
	for (unsigned i = 0; i < nchunks; i++)
		free(chunks[i].p);
	buf_free(&b);
	hub_close(&h);
}

/* ---- the hub ---- */

static bool open_hub(struct hub *h)
{
	memset(h, 0, sizeof *h);
	h->bulk.step = STEP;
	return hub_open(h, at("hub"), the_key(), err, sizeof err) == 0;
}

/* A hub in a process of its own: killed after so much of the processor's time in the
 * midst of work(). */
static void killed_in(unsigned us, bool (*before)(struct hub *h), void (*work)(struct hub *h))
{
	struct itimerval t = { .it_value = { .tv_usec = (suseconds_t)us } };
	fflush(stdout);
	pid_t p = fork();
	if (p == 0) {
		static struct hub h;
		bool good = crypto_init() == 0 && open_hub(&h) && before(&h);
		setitimer(ITIMER_PROF, &t, NULL); /* SIGPROF ends it */
		if (good)
			work(&h);
		_exit(!good);
	}
	waitpid(p, NULL, 0);
}

static bool take(struct hub *h, struct zone *z)
{
	struct import_result r;
	return hub_import(h, z, false, &r, err, sizeof err) == 0;
}

/* The zones in the journal, then the store's half. */
static bool take_zones(struct hub *h)
{
	bool good = true;
	for (unsigned i = 0; i < 3 && good; i++)
		good = take(h, make_zone(i));
	return good;
}
static void commit_zones(struct hub *h) { hub_commit(h, err, sizeof err); }

static void test_hub(void)
{
	static struct hub h;
	unsigned wrong = 0, resumed = 0, cut = 0;
	uint32_t most = 0;
	uint64_t names = 0;
	for (unsigned i = 0; i < 3; i++) {
		struct zone *z = make_zone(i);
		names += zone_names(z);
		zone_free(z);
	}
	for (unsigned i = 0; i < TRIES && resumed < 4; i++) {
		char cmd[200];
		snprintf(cmd, sizeof cmd, "rm -rf %s/hub; mkdir -m 700 %s/hub", dir, dir);
		wrong += system(cmd) != 0;
		killed_in(4000 + 4000 * i, take_zones, commit_zones);
		if (!open_hub(&h)) {
			wrong++;
			continue;
		}
		cut++;
		resumed += h.resumed > 0;
		most = h.resumed > most ? h.resumed : most;
		/* a journal that was not synced has nothing: then there is nothing to hold */
		wrong += store_seq(h.store) != jfile_last(h.jfile) || (store_seq(h.store) && !holds_all(h.store, names));
		hub_close(&h);
	}
	ok(wrong == 0 && resumed > 0, "a hub killed %u times: %u times it went on in the midst of a transaction, at part %u (%u wrong) %s",
	   cut, resumed, most, wrong, wrong ? err : "");
}

/* A small zone, then the large one: journal and store at a time. */
static struct zone *second;
static bool take_first(struct hub *h)
{
	second = make_zone(1);
	bool good = take(h, make_zone(0)) && hub_commit(h, err, sizeof err) == 0;
	h->ahead_from = 1;
	return good;
}
static void take_large(struct hub *h) { take(h, second); }

/* How many parts of a transaction the hub's store has noted. */
static unsigned noted_by_hub(void)
{
	char path[160];
	struct bulk b = { 0 };
	snprintf(path, sizeof path, "%s/store", at("hub"));
	struct key *k = the_key(), *sk = key_derive(k, "hub store", NULL, 0);
	struct store_conf c = { .path = path, .fd = -1, .reserve = 1ull << 30, .ordered = true };
	struct store *st = store_open(&c, sk, err, sizeof err);
	unsigned n = st && bulk_take_up(&b, st, NULL) ? b.parts : 0;
	bulk_free(&b);
	if (st)
		store_close(st);
	key_free(sk);
	key_free(k);
	return n;
}

/* What is there is the first zone, and the large one whole or not at all. */
static bool whole(struct hub *h)
{
	struct store_zone z;
	struct zone *first = make_zone(0), *large = make_zone(1);
	bool good = h->seq == jfile_last(h->jfile) && h->bulk.what == BULK_NONE && holds(h->store, first);
	if (h->seq == 1)
		good = good && store_zone_get(h->store, zone_origin(large), &z) == STORE_ABSENT;
	else
		good = good && h->seq == 2 && holds(h->store, large);
	zone_free(first);
	zone_free(large);
	return good;
}

static void test_ahead(void)
{
	static struct hub h;
	struct import_result r;
	unsigned wrong = 0, half = 0, cut = 0;
	struct zone *other = make_zone(3);
	for (unsigned i = 0; i < TRIES && half < 4; i++) {
		char cmd[200];
		snprintf(cmd, sizeof cmd, "rm -rf %s/hub; mkdir -m 700 %s/hub", dir, dir);
		wrong += system(cmd) != 0;
		killed_in(4000 + 8000 * i, take_first, take_large);
		unsigned parts = noted_by_hub();
		if (!open_hub(&h)) {
			wrong++;
			continue;
		}
		cut++;
		half += parts > 0 && h.seq == 1;
		wrong += !whole(&h);
		/* another one takes its place, and its sequence */
		uint64_t seq = h.seq + 1;
		h.ahead_from = 1;
		wrong += hub_import(&h, other, false, &r, err, sizeof err) != 0 || h.seq != seq || !holds(h.store, other);
		hub_close(&h);
		wrong += !open_hub(&h) || h.seq != seq || !holds(h.store, other);
		hub_close(&h);
	}
	zone_free(other);
	ok(wrong == 0 && half > 0, "killed %u times while a large new zone was written, %u times with names of it in the store: whole or nothing (%u wrong) %s",
	   cut, half, wrong, wrong ? err : "");
}

int main(void)
{
	snprintf(dir, sizeof dir, "/tmp/bulk-test-XXXXXX");
	signal(SIGPIPE, SIG_IGN);
	if (crypto_init() != 0 || !mkdtemp(dir) || scratch_new(&scratch, 4u << 20) != 0)
		return 1;
	test_nodes();
	test_hub();
	test_ahead();
	scratch_free(&scratch);
	char cmd[100];
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	return system(cmd) != 0 ? 1 : tap_done();
}
