/* stream.c - a node's whole way of a transaction but TLS: a stream of small ones
 * comes over a pipe, frames are parsed, chained, proved by signed heads, applied,
 * committed and made durable.  Each changes one name of a zone, the zone's SOA and
 * its serial.  The hub's half is written before the clock starts.
 *
 * stream [names N] [transactions N] [group N] [dir DIR] */
#include "dns/rrset.h"
#include "journal.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

static uint64_t state = 88172645463325252ull;
static uint64_t xorshift(void) { state ^= state << 13; state ^= state >> 7; return state ^= state << 17; }

static double cpu_of(clockid_t c)
{
	struct timespec t;
	clock_gettime(c, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the hub's half ---- */

static const uint8_t apex[] = "\3tld";
static struct signer *signer;
static uint8_t id[JOURNAL_ID] = "bench";
static struct buf wire;            /* all that will be sent */

static void frame(uint8_t type, const struct buf *b)
{
	uint8_t head[4];
	put_u24(head, (uint32_t)b->n);
	head[3] = type;
	buf_put(&wire, head, sizeof head);
	buf_put(&wire, b->p, b->n);
}

static void owner(uint64_t i, uint8_t out[static NAME_MAX_LEN])
{
	uint8_t *p = out;
	uint64_t h = i * 0x9e3779b97f4a7c15ull;
	*p++ = 14;
	for (unsigned x = 0; x < 14; x++, h >>= 4)
		*p++ = (uint8_t)('a' + (h & 15));
	memcpy(p, apex, sizeof apex);
}

/* A set of one record of so many octets. */
static size_t one_set(uint16_t type, uint64_t value, unsigned len, uint8_t *out)
{
	struct wr w = wr_init(out, 256);
	wr_u16(&w, type);
	wr_u32(&w, 3600);
	wr_u16(&w, 1);
	wr_u16(&w, 0);
	wr_u32(&w, len + 2);
	wr_u16(&w, len);
	for (unsigned i = 0; i < len; i += 8)
		wr_u64(&w, value);
	return wr_len(&w);
}

static void edit(struct buf *b, const uint8_t *name, uint16_t flags, uint16_t type, uint64_t value, unsigned len)
{
	uint8_t set[256];
	size_t n = one_set(type, value, len, set), at = op_edit_begin(b, FRAG_NAME, flags, 0, name);
	op_edit_put(b, set, n);
	op_edit_end(b, at);
}

static uint8_t chain[CHAIN_LEN];
static uint64_t seq = 1;

static void hello(void)
{
	struct buf b = { 0 };
	uint8_t pub[SIGN_PUB];
	signer_pub(signer, pub);
	buf_put(&b, &(uint8_t){ LINK_VERSION }, 1);
	buf_put(&b, id, sizeof id);
	buf_put(&b, pub, sizeof pub);
	frame(FRAME_HELLO, &b);
	buf_free(&b);
}

static void snapshot(uint64_t names)
{
	struct buf b = { 0 }, hashes = { 0 };
	uint8_t p[8 + CHAIN_LEN + 8 + 4] = { 0 }, hash[32], name[NAME_MAX_LEN];
	put_u64(p, seq);
	buf_put(&b, p, sizeof p);
	frame(FRAME_SNAPSHOT, &b);
	b.n = 0;
	op_zone(&b, apex);
	op_plain(&b, OP_ADD);
	edit(&b, apex, NODE_APEX, T_SOA, 1, 64);
	for (uint64_t i = 0; i <= names; i++) {
		if (i < names) {
			owner(i, name);
			edit(&b, name, NODE_CUT, T_NS, i, 32);
		} else {
			op_serial(&b, 1, 86400);
		}
		if (b.n < PART_MAX && i < names)
			continue;
		sha256(b.p, b.n, hash);
		buf_put(&hashes, hash, sizeof hash);
		frame(FRAME_CHUNK, &b);
		b.n = 0;
	}
	struct manifest m = { .seq = seq, .zones = 1, .chunks = (uint32_t)(hashes.n / 32) };
	sha256(hashes.p, hashes.n, m.sum);
	manifest_sign(signer, id, &m, &b);
	frame(FRAME_MANIFEST, &b);
	buf_free(&b);
	buf_free(&hashes);
}

static void transaction(uint64_t name)
{
	struct buf b = { 0 }, f = { 0 };
	uint8_t head[17] = { PART_FIRST | PART_LAST }, o[NAME_MAX_LEN];
	struct sha s;
	put_u64(head + 1, ++seq);
	owner(name, o);
	op_zone(&b, apex);
	edit(&b, apex, NODE_APEX, T_SOA, seq, 64);
	edit(&b, o, NODE_CUT, T_NS, seq, 32);
	op_serial(&b, (uint32_t)seq, 86400);
	tx_chain_begin(&s, chain, seq, 0);
	sha_update(&s, b.p, b.n);
	sha_out(&s, chain);
	buf_put(&f, head, sizeof head);
	buf_put(&f, b.p, b.n);
	buf_put(&f, chain, sizeof chain);
	frame(FRAME_TX, &f);
	buf_free(&b);
	buf_free(&f);
}

static void covered(void)
{
	uint8_t p[HEAD_LEN];
	struct head h = { .seq = seq };
	memcpy(h.chain, chain, CHAIN_LEN);
	head_sign(signer, id, &h, p);
	frame(FRAME_HEAD, &(struct buf){ .p = p, .n = sizeof p });
}

struct sender { int fd; };
static void *send_all(void *arg)
{
	const struct sender *s = arg;
	prctl(PR_SET_NAME, "hub"); /* for perf */
	for (size_t at = 0; at < wire.n;) {
		ssize_t n = write(s->fd, wire.p + at, wire.n - at);
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	close(s->fd);
	return NULL;
}

/* ---- the node's ---- */

static struct store *st;
static uint64_t reached, commits;
static _Atomic bool stop;
static struct loop loop;
static bool failed;

static void committed(void *o, uint64_t s, const uint8_t c[static CHAIN_LEN])
{
	(void)o, (void)c;
	reached = s;
	commits++;
}
static void broken(void *o, const char *why)
{
	(void)o;
	fprintf(stderr, "broken: %s\n", why);
	failed = true;
	atomic_store(&stop, true);
}
static void ended(void *o)
{
	(void)o;
	atomic_store(&stop, true);
}
static void harmed(void *o, uint32_t inst) { (void)o, (void)inst; }
static void repair(void *o, const uint8_t *z, bool d, const char *w) { (void)o, (void)z, (void)d, (void)w; }

static void tick(struct src *s, uint32_t got, uint64_t now)
{
	(void)got;
	int ms = store_tick(st);
	loop_due(&loop, s, now + (uint64_t)(ms < 0 ? 1000 : ms) * 1000000u);
}

static void *signers_pub(void)
{
	static uint8_t pub[SIGN_PUB];
	signer_pub(signer, pub);
	return pub;
}

/* What waits in `wire` goes its way.  Seconds; *cpu: of the node's thread. */
static double run(double *cpu, bool first)
{
	static const struct journal_calls calls = { .committed = committed, .broken = broken, .ended = ended, .harmed = harmed,
		.repair = repair };
	int p[2];
	pthread_t t;
	if (pipe2(p, O_CLOEXEC) != 0)
		return 0;
	fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
	struct sender s = { p[1] };
	struct journal_conf jc = { .plain_fd = p[0], .pub = signers_pub() };
	struct src tick_src = { .fd = -1, .due_ns = loop_now(), .wake = tick };
	prctl(PR_SET_NAME, first ? "loading" : "node");
	atomic_store(&stop, false);
	struct journal *j = loop_init(&loop) == 0 && loop_add(&loop, &tick_src) == 0 ? journal_new(&loop, st, &jc, &calls, NULL) : NULL;
	if (!j || pthread_create(&t, NULL, send_all, &s) != 0)
		exit(1);
	double wall = cpu_of(CLOCK_MONOTONIC), had = cpu_of(CLOCK_THREAD_CPUTIME_ID);
	loop_run(&loop, &stop);
	wall = cpu_of(CLOCK_MONOTONIC) - wall;
	*cpu = cpu_of(CLOCK_THREAD_CPUTIME_ID) - had;
	pthread_join(t, NULL);
	journal_free(j);
	loop_del(&loop, &tick_src);
	loop_close(&loop);
	close(p[0]);
	return wall;
}

int main(int argc, char **argv)
{
	uint64_t names = 1000000, count = 1000000, group = 4096;
	const char *dir = "/tmp";
	char path[300], err[300];
	double cpu;
	for (int i = 1; i + 1 < argc; i += 2) {
		uint64_t v = strtoull(argv[i + 1], NULL, 10);
		if (strcmp(argv[i], "names") == 0)
			names = v;
		else if (strcmp(argv[i], "transactions") == 0)
			count = v;
		else if (strcmp(argv[i], "group") == 0)
			group = v;
		else if (strcmp(argv[i], "dir") == 0)
			dir = argv[i + 1];
	}
	if (crypto_init() != 0)
		return 1;
	struct key *k = key_random();
	signer = signer_new();
	snprintf(path, sizeof path, "%s/store", dir);
	struct store_conf c = { .path = path, .fd = -1 };
	if (!(st = store_open(&c, k, err, sizeof err))) {
		fprintf(stderr, "%s\n", err);
		return 1;
	}
	hello();
	snapshot(names);
	double load = run(&cpu, true), load_cpu = cpu;
	wire.n = 0;
	hello();
	frame(FRAME_STREAM, &(struct buf){ 0 });
	for (uint64_t i = 1; i <= count; i++) {
		transaction(xorshift() % names);
		if (i % group == 0 || i == count)
			covered();
	}
	commits = 0;
	double wall = run(&cpu, false);
	bool all = reached == seq && !failed;
	struct store_stats s;
	store_stats_get(st, &s);
	printf("stream names=%llu transactions=%llu group=%llu all=%d load_s=%.2f load_cpu_s=%.2f tx_per_s=%.0f cpu_us=%.2f "
	       "commits=%llu checkpoints=%llu moved_bytes=%llu space=%.3f\n",
	       (unsigned long long)names, (unsigned long long)count, (unsigned long long)group, all, load, load_cpu,
	       (double)count / wall, cpu / (double)count * 1e6, (unsigned long long)commits, (unsigned long long)s.checkpoints,
	       (unsigned long long)s.moved_bytes, (double)s.file_bytes / (double)(s.live_bytes + s.index_bytes));
	store_close(st);
	unlink(path);
	signer_free(signer);
	key_free(k);
	return !all;
}
