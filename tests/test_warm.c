/* What a worker remembers must never show: random zones in a real store change
 * in every way a journal can change them, and an answering state that lives
 * through all of it (its zones, links and tree nodes remembered) has to answer
 * octet by octet as one that knows nothing. The memory answers are written to
 * holds other octets for each, so that what is left unwritten differs too. */
#include <stdlib.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dns/answer.h"
#include "hub/zone.h"
#include "journal.h"
#include "tests/tap.h"

#define ZONES  8
#define NODES  512
#define TEXT   (1u << 18)
#define GROUP  16
#define ROUNDS 400

static const char *const origins[ZONES] = { ".", "o.", "a.o.", "b.a.o.", "c.b.a.o.", "t.", "x.y.t.", "a." };

struct node { uint8_t owner[NAME_MAX_LEN]; uint8_t kind; };
static struct { struct node node[NODES]; unsigned n; bool here; } held[ZONES];

static struct store *store;
static struct applier applier;
static const struct store_map *map;
static char err[512], text[TEXT];
static size_t at;
static uint64_t state = 1;

static unsigned pick(unsigned n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(state >> 33) % n;
}

__attribute__((format(printf, 1, 2))) static void line(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	at += (size_t)vsnprintf(text + at, at < TEXT ? TEXT - at : 0, fmt, ap);
	va_end(ap);
	if (at >= TEXT)
		abort();
}

static void say(void *ctx, bool error, const char *file, unsigned l, const char *what)
{
	(void)ctx, (void)error, (void)file, (void)l, (void)what; /* another is made */
}
static const struct zone_report report = { say, NULL, NULL };

/* ---- names ---- */

static void some_name(char *out, unsigned depth)
{
	static const char *const label[] = { "a", "b", "c", "d", "*", "e", "x", "y", "cut", "ns" };
	*out = 0;
	for (unsigned i = 0; i < depth; i++) {
		if (pick(5))
			strcat(out, label[pick(10)]);
		else
			sprintf(out + strlen(out), "n%u", pick(40));
		if (i + 1 < depth)
			strcat(out, ".");
	}
}

static void full_name(char *out, unsigned zone, unsigned depth)
{
	some_name(out, depth);
	if (depth && zone)
		strcat(out, ".");
	if (zone || !depth)
		strcat(out, origins[zone]);
	else
		strcat(out, ".");
}

static const char *target(unsigned zone)
{
	static char name[128];
	full_name(name, pick(4) ? zone : pick(ZONES), pick(4));
	return name;
}

/* ---- a zone ---- */

static void sig(const char *type, unsigned zone)
{
	if (pick(4))
		line("  RRSIG %s 5 1 60 20400509183619 20040409183619 1 %s AAAA\n", type, origins[zone]);
}

static void some_sets(unsigned zone)
{
	switch (pick(14)) {
	case 0:
		line(" CNAME %s\n", target(zone));
		sig("CNAME", zone);
		break;
	case 1:
		line(" DNAME %s\n", target(zone));
		sig("DNAME", zone);
		break;
	case 2: case 3:
		line(" NS %s\n", target(zone));
		line(" NS %s\n", target(zone));
		if (pick(2)) {
			line(" DS 1 5 1 B6DCD485719ADCA18E5F3D48A2331627FDD3636B\n");
			sig("DS", zone);
		}
		break;
	case 4:
		line(" MX 1 %s\n", target(zone));
		line(" MX 2 %s\n", target(zone));
		sig("MX", zone);
		break;
	case 5:
		line(" HTTPS %u %s\n", pick(2), target(zone));
		line(" A 192.0.2.%u\n", pick(250));
		sig("HTTPS", zone);
		break;
	case 6:
		line(" SRV 1 1 1 %s\n TXT \"%u\"\n", target(zone), pick(1000));
		sig("TXT", zone);
		break;
	default:
		line(" A 192.0.2.%u\n", pick(250));
		sig("A", zone);
		if (pick(2))
			line(" AAAA 2001:db8::%u\n", pick(250));
	}
}

struct hashed { char text[33]; };
static int hashed_cmp(const void *a, const void *b) { return strcmp(((const struct hashed *)a)->text, ((const struct hashed *)b)->text); }

static void hash_name(const uint8_t *name, const uint8_t *salt, unsigned saltlen, unsigned iterations, char out[33])
{
	uint8_t h[20];
	struct sha s;
	sha1_init(&s);
	sha_update(&s, name, name_len(name));
	sha_update(&s, salt, saltlen);
	sha_out(&s, h);
	while (iterations--) {
		sha1_init(&s);
		sha_update(&s, h, 20);
		sha_update(&s, salt, saltlen);
		sha_out(&s, h);
	}
	base32hex_encode(h, 20, (uint8_t *)out);
	out[32] = 0;
}

static void add_chain(struct zone *z, unsigned zone)
{
	static char owners[NODES][NAME_TEXT_MAX];
	static struct hashed hashes[NODES];
	struct zone_cursor c;
	struct zone_node n;
	unsigned k = 0;
	unsigned mode = pick(4), iterations = pick(3), optout = pick(2);
	uint8_t salt[1] = { (uint8_t)(0x10 + pick(2)) };
	if (mode == 0 || zone_open(&c, z) < 0)
		return;
	if (mode >= 2)
		line("%s NSEC3PARAM 1 0 %u %02x\n", origins[zone], iterations, salt[0]);
	while (zone_next(&c, &n) && k < NODES) {
		if ((n.flags & NODE_GLUE) || (mode == 1 && (n.flags & NODE_ENT)) || (mode >= 2 && optout && (n.flags & NODE_CUT)))
			continue;
		hash_name(n.owner, salt, 1, iterations, hashes[k].text);
		name_text(n.owner, owners[k++]);
	}
	zone_close(&c);
	unsigned gap = pick(8) ? NODES : pick(k); /* a broken chain */
	if (mode == 1) {
		for (unsigned i = 0; i < k; i++)
			if (i != gap) {
				line("%s NSEC %s A NSEC\n", owners[i], owners[(i + 1) % k]);
				sig("NSEC", zone);
			}
		return;
	}
	qsort(hashes, k, sizeof *hashes, hashed_cmp);
	for (unsigned i = 0; i < k; i++)
		if (i != gap) {
			line("%s.%s NSEC3 1 %u %u %02x %s A RRSIG\n", hashes[i].text, zone ? origins[zone] : "", optout, iterations, salt[0], hashes[(i + 1) % k].text);
			sig("NSEC3", zone);
		}
}

static struct zone *load(unsigned zone)
{
	uint8_t origin[NAME_MAX_LEN];
	name_parse(origins[zone], strlen(origins[zone]), NULL, origin);
	return zone_load_text(origin, text, at, &report);
}

/* Two kinds of sets at one name are mostly refused. */
static bool seen(const char *name, bool first)
{
	static char names[NODES][128];
	static unsigned n;
	if (first)
		n = 0;
	for (unsigned i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	snprintf(names[n++], sizeof *names, "%s", name);
	return false;
}

static struct zone *make_zone(unsigned zone)
{
	static unsigned serial;
	for (;;) {
		at = 0;
		line("$ORIGIN %s\n$TTL 60\n@ SOA @ @ %u 1 1 1 60\n", origins[zone], ++serial);
		sig("SOA", zone);
		line(" NS %s\n", target(zone));
		if (pick(16) == 0)
			line(" DNAME %s\n", target(zone));
		unsigned count = pick(3) ? 1 + pick(12) : pick(150), style = pick(3);
		for (unsigned i = 0; i < count; i++) {
			char name[128];
			some_name(name, 1 + (pick(3) ? 0 : pick(4)));
			if (seen(name, i == 0))
				continue;
			line("%s", name);
			if (style == 0 && pick(8)) /* mostly cuts */
				line(" NS %s\n NS %s\n", target(zone), target(zone));
			else
				some_sets(zone);
		}
		struct zone *z = load(zone);
		if (!z)
			continue;
		add_chain(z, zone);
		zone_free(z);
		z = load(zone);
		if (z)
			return z;
	}
}

/* ---- changes ---- */

static void put_all(struct buf *ops, unsigned zone, struct zone *z, bool add)
{
	struct zone_cursor c;
	struct zone_node n;
	if (add)
		op_plain(ops, OP_ADD);
	else
		for (unsigned i = 0; i < held[zone].n; i++)
			op_delete(ops, held[zone].node[i].kind, held[zone].node[i].owner);
	held[zone].n = 0;
	if (zone_open(&c, z) < 0)
		abort();
	while (zone_next(&c, &n)) {
		uint8_t kind = n.flags & NODE_NSEC3 ? FRAG_NSEC3 : FRAG_NAME;
		op_edit_body(ops, kind, n.flags, n.cut, n.owner, n.body, n.len);
		struct node *h = &held[zone].node[held[zone].n++];
		if (held[zone].n == NODES)
			abort();
		h->kind = kind;
		memcpy(h->owner, n.owner, name_len(n.owner));
	}
	zone_close(&c);
	op_serial(ops, zone_serial(z), 1209600);
	held[zone].here = true;
}

static void change_zone(struct buf *ops, unsigned zone)
{
	uint8_t origin[NAME_MAX_LEN];
	name_parse(origins[zone], strlen(origins[zone]), NULL, origin);
	unsigned what = pick(6);
	if (held[zone].here && what < 2) {
		op_zone(ops, origin);
		op_plain(ops, OP_DROP);
		held[zone].here = false;
		held[zone].n = 0;
		if (what == 0)
			return;
	}
	struct zone *z = make_zone(zone);
	op_zone(ops, origin);
	put_all(ops, zone, z, !held[zone].here || what < 4);
	zone_free(z);
}

static bool change(void)
{
	static const uint8_t meta[STORE_META];
	uint64_t seq = store_seq(store);
	for (unsigned txs = 1 + pick(3); txs > 0; txs--) {
		struct buf ops = { 0 };
		for (unsigned k = 1 + pick(2); k > 0; k--)
			change_zone(&ops, pick(ZONES));
		applier_begin(&applier, ++seq);
		bool good = !ops.bad && applier_ops(&applier, ops.p, ops.n, err, sizeof err) == 0;
		buf_free(&ops);
		if (!good) {
			printf("# %s\n", err);
			return false;
		}
	}
	if (store_commit(store, seq, meta) != 0)
		return false;
	return store_tick(store) >= 0;
}

/* ---- questions ---- */

static size_t make_query(uint8_t pkt[static 512])
{
	static const uint16_t types[] = { T_A, T_AAAA, T_NS, T_SOA, T_DS, T_MX, T_TXT, T_ANY, T_RRSIG, T_NSEC, T_CNAME,
		T_DNAME, T_HTTPS, T_SRV, T_NSEC3, T_NSEC3PARAM, T_DNSKEY, T_A, T_A, T_A, T_HTTPS, T_DS };
	char name[256];
	uint8_t wire[NAME_MAX_LEN];
	do
		full_name(name, pick(ZONES), pick(5));
	while (!name_parse(name, strlen(name), NULL, wire));
	size_t len = name_len(wire);
	if (pick(4) == 0)
		for (size_t i = 0; i < len; i++)
			if (wire[i] >= 'a' && wire[i] <= 'z' && pick(2))
				wire[i] ^= 32;
	struct wr w = wr_init(pkt, 512);
	bool edns = pick(8) != 0;
	wr_bytes(&w, "\0\7\0\0\0\1\0\0\0\0\0", 11);
	wr_u8(&w, edns);
	wr_bytes(&w, wire, len);
	wr_u16(&w, types[pick(sizeof types / sizeof *types)]);
	wr_u16(&w, CLASS_IN);
	if (edns) {
		wr_u8(&w, 0);
		wr_u16(&w, T_OPT);
		wr_u16(&w, pick(2) ? 1232 : 512 + pick(500));
		wr_u32(&w, pick(4) ? 0x8000 : 0);
		bool version = pick(3) == 0, nsid = pick(4) == 0, cookie = pick(4) == 0;
		wr_u16(&w, version * 4u + nsid * 4u + cookie * 12u);
		if (version)
			wr_u32(&w, OPTION_VERSION << 16);
		if (nsid)
			wr_u32(&w, OPTION_NSID << 16);
		if (cookie) {
			wr_u32(&w, OPTION_COOKIE << 16 | 8);
			wr_u64(&w, 42);
		}
	}
	return wr_len(&w);
}

static const struct sip cookie_key = { 1, 2 };

static void dress(struct answer *a)
{
	a->identity = "node";
	a->cookie_keys = &cookie_key;
	a->ncookie_keys = 1;
	a->now_s = 1000;
}

static uint64_t asked, rcodes[32];
static unsigned shown;

/* A batch as a worker has it; how many answers differ. */
static unsigned batch(struct answer *warm, struct answer *cold, void *cold_mem)
{
	static struct answer_job jobs[JOBS_MAX], alone;
	static uint8_t pkt[JOBS_MAX][512], a[65535], b[65535];
	static const uint8_t ip[4] = { 192, 0, 2, 1 };
	size_t n[JOBS_MAX];
	unsigned wrong = 0, count = 1 + pick(JOBS_MAX);
	answer_view(warm);
	for (unsigned k = 0; k < count; k++)
		n[k] = make_query(pkt[k]);
	for (unsigned from = 0; from < count; from += GROUP) {
		unsigned to = from + GROUP < count ? from + GROUP : count;
		for (unsigned k = from; k < to; k++) {
			jobs[k].kind = query_parse(pkt[k], n[k], &jobs[k].q);
			jobs[k].peer = ip;
			jobs[k].peer_len = 4;
			answer_begin(warm, &jobs[k]);
		}
		for (unsigned k = from; k < to; k++)
			answer_fetch(warm, &jobs[k]);
		for (unsigned k = from; k < to; k++) {
			size_t max = answer_limit(warm, &jobs[k].q, pick(4) == 0);
			size_t most = max < 4096 ? max : 4096;
			memset(a, 0xaa, most);
			memset(b, 0x55, most);
			size_t na = answer_finish(warm, &jobs[k], a, max);
			answer_init(cold, map, cold_mem, ANSWER_SCRATCH, NULL, 1232);
			memset(cold->scratch.mem, 0x55, 65536);
			dress(cold);
			answer_view(cold);
			alone.kind = query_parse(pkt[k], n[k], &alone.q);
			alone.peer = ip;
			alone.peer_len = 4;
			answer_begin(cold, &alone);
			answer_fetch(cold, &alone);
			size_t nb = answer_finish(cold, &alone, b, max);
			asked++;
			rcodes[cold->rcode & 31]++;
			if (na == nb && memcmp(a, b, na) == 0)
				continue;
			char name[NAME_TEXT_MAX];
			wrong++;
			if (shown++ < 5)
				printf("# %s type %u: %zu octets code %u, %zu octets code %u\n", name_text(jobs[k].q.qname, name), jobs[k].q.qtype, na, warm->rcode, nb, cold->rcode);
		}
		if (pick(4) == 0)
			answer_slip(warm, &jobs[from + pick(to - from)], a, 512);
	}
	return wrong;
}

int main(void)
{
	static struct answer warm, cold;
	static struct store_memo memo;
	if (crypto_init() < 0)
		return 1;
	if (getenv("SEED"))
		state = strtoull(getenv("SEED"), NULL, 10);
	unsigned rounds = getenv("ROUNDS") ? (unsigned)atoi(getenv("ROUNDS")) : ROUNDS;
	struct key *key = key_random();
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct store_conf c = { .fd = fd, .reserve = 8ull << 30 };
	store = store_open(&c, key, err, sizeof err);
	close(fd);
	if (!store || applier_init(&applier, store) != 0)
		return 1;
	map = store_reader(store);
	void *mem = malloc(ANSWER_SCRATCH), *cold_mem = malloc(ANSWER_SCRATCH);
	answer_init(&warm, map, mem, ANSWER_SCRATCH, &memo, 1232);
	dress(&warm);
	unsigned wrong = 0, failed = 0;
	for (unsigned i = 0; i < rounds && !failed; i++) {
		failed += !change();
		for (unsigned k = 1 + pick(4); k > 0; k--)
			wrong += batch(&warm, &cold, cold_mem);
	}
	for (unsigned i = 0; i < 32; i++)
		if (rcodes[i])
			printf("# code %u: %llu\n", i, (unsigned long long)rcodes[i]);
	ok(failed == 0, "%u changes", rounds);
	ok(rcodes[RCODE_SERVFAIL] == 0, "no SERVFAIL");
	if (!ok(wrong == 0, "%llu questions: what is remembered does not show", (unsigned long long)asked))
		printf("# %u answers differ\n", wrong);
	applier_free(&applier);
	store_close(store);
	key_free(key);
	free(mem);
	free(cold_mem);
	return tap_done();
}
