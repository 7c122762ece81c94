/* test_import.c - the way of a change against a model: random zones are
 * imported round by round, and the hub's store, a store that replays the
 * journal and one that takes a snapshot must all hold exactly what the zone's
 * own cursor yields. */
#include "hub/hub.h"
#include "hub/walk.h"
#include "tests/tap.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS 200
#define OWNERS 130
#define HASHES 12
#define ZONES  3

enum { R_A, R_AAAA, R_TXT, R_MX, R_SRV, R_NS, R_DS, R_CNAME, R_DNAME, R_NSEC, R_BIG, R_TYPES };

static char dir[64], err[1300];
static struct key *k;
static struct scratch scratch;
static char owners[OWNERS][64];
static uint64_t state = 88172645463325252u;

static uint32_t dice(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 32) % n;
}

/* ---- zones ---- */

/* What a zone should hold; 0: absent, else which of some values. */
struct model {
	const char *origin;
	uint8_t wire[NAME_MAX_LEN];
	uint32_t serial;
	bool here;              /* the hub holds it */
	uint8_t rec[OWNERS][R_TYPES], sig[OWNERS], n3[HASHES], n3txt[HASHES];
	struct zone *zone;      /* as last imported */
};
static struct model models[ZONES] = { { .origin = "example." }, { .origin = "b.a.example." }, { .origin = "." } };

static void make_owners(void)
{
	static const char *const label[] = { "a", "b", "!c", "*", "ns", "Up" }; /* one before the wildcard in order */
	unsigned n = 0;
	for (unsigned i = 0; i < 6; i++)
		snprintf(owners[n++], 64, "%s", label[i]);
	for (unsigned i = 0; i < 36; i++)
		snprintf(owners[n++], 64, "%s.%s", label[i % 6], label[i / 6]);
	while (n < OWNERS) {
		char deep[64];
		snprintf(deep, sizeof deep, "%s.%.40s", label[dice(6)], owners[6 + dice(n - 6)]);
		unsigned i = 0;
		while (i < n && strcmp(owners[i], deep) != 0)
			i++;
		if (i == n)
			snprintf(owners[n++], 64, "%s", deep);
	}
}

__attribute__((format(printf, 2, 3))) static void say(struct buf *b, const char *fmt, ...)
{
	char line[512];
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	buf_put(b, line, (size_t)n);
}

static void say_sig(struct buf *b, const char *owner, const char *type, const char *origin)
{
	say(b, "%s RRSIG %s 13 2 300 20370101000000 20200101000000 4711 %s AAECAwQF\n", owner, type, origin);
}

static void say_type(struct buf *b, const struct model *m, unsigned i, unsigned type)
{
	const char *o = owners[i];
	unsigned v = m->rec[i][type];
	switch (type) {
	case R_A:
		for (unsigned x = 0; x < v; x++)
			say(b, "%s A 192.0.2.%u\n", o, x * 7 + v);
		break;
	case R_AAAA: say(b, "%s %u AAAA 2001:db8::%u\n", o, 60 * v, v); break;
	case R_TXT: say(b, "%s TXT \"text %u\"\n", o, v); break;
	case R_MX: say(b, "%s MX %u Mail.%s\n%s MX 9 ns\n", o, v * 10, o, o); break;
	case R_SRV: say(b, "%s SRV 1 2 %u ns\n", o, v); break;
	case R_NS: say(b, "%s NS ns.%s\n%s NS ns%u.elsewhere.\n", o, o, o, v); break;
	case R_DS: say(b, "%s DS %u 13 2 %064u\n", o, v, v); break;
	case R_CNAME: say(b, "%s CNAME target%u\n", o, v); break;
	case R_DNAME: say(b, "%s DNAME other%u.\n", o, v); break;
	case R_NSEC: say(b, "%s NSEC %s A RRSIG NSEC%s\n", o, v > 2 ? "z" : "a", v & 1 ? " TXT" : ""); break;
	case R_BIG:
		for (unsigned x = 0; x < v * 60; x++)
			say(b, "%s TXT \"%0200u\"\n", o, x * 5 + v);
		break;
	}
}

static void say_owner(struct buf *b, const struct model *m, unsigned i)
{
	static const char *const names[] = { "A", "AAAA", "TXT", "MX", "SRV", "NS", "DS", "CNAME", "DNAME", "NSEC", "TXT" };
	for (unsigned t = 0; t < R_TYPES; t++) {
		bool alone = m->rec[i][R_CNAME];
		if (!m->rec[i][t] || (alone && t != R_CNAME && t != R_NSEC) ||
		    (t == R_NS && owners[i][0] == '*') || (t == R_DNAME && owners[i][0] == '*'))
			continue;
		say_type(b, m, i, t);
		if (m->sig[i] >> (t % 8) & 1)
			say_sig(b, owners[i], names[t], m->origin);
	}
}

static void text_of(const struct model *m, struct buf *b)
{
	b->n = 0;
	say(b, "$TTL 300\n@ SOA ns admin %u 3600 600 %u 300\n@ NS ns\n@ NS ns.elsewhere.\n", m->serial,
	    86400 + m->serial % 3);
	for (unsigned i = 0; i < OWNERS; i++)
		say_owner(b, m, i);
	for (unsigned i = 0; i < HASHES; i++) {
		if (m->n3[i])
			say(b, "%032x NSEC3 1 0 1 ab %032x A RRSIG\n", i * 97, i * 97 + m->n3[i]);
		if (m->n3txt[i])
			say(b, "%032x TXT \"odd %u\"\n", i * 97, m->n3txt[i]);
	}
}

static unsigned faults; /* told so far */

static void on_say(void *ctx, bool error, const char *file, unsigned line, const char *text)
{
	(void)ctx;
	(void)file;
	faults += error;
	if (error)
		printf("# line %u: %s\n", line, text);
}
static const struct zone_report report = { .say = on_say };

static const char *add_rr(void *ctx, const struct master_rr *rr) { return zone_add(ctx, rr, false); }

/* The same zone in so little memory that it is spilled. */
static struct zone *load_spilled(const struct model *m, const struct buf *b, size_t memory)
{
	struct zone *z = zone_new(m->wire);
	struct master_sink sink = { .emit = add_rr, .ctx = z, .report = &report };
	zone_bound(z, memory, dir);
	if (master_read_text((const char *)b->p, b->n, "test", m->wire, &sink) == 0 &&
	    zone_finish(z, 1700000000, &report) == 0)
		return z;
	zone_free(z);
	return NULL;
}

static unsigned compared, windows_wrong;

/* Do two zones show the same nodes, twice over? */
static bool same_nodes(struct zone *a, struct zone *b)
{
	struct zone_cursor c, d;
	struct zone_node m, n;
	bool good = zone_serial(a) == zone_serial(b);
	for (unsigned turn = 0; turn < 2 && good; turn++) {
		bool left = true, right = true;
		good = zone_open(&c, a) == 0 && zone_open(&d, b) == 0;
		while (good && left && right) {
			left = zone_next(&c, &m);
			right = zone_next(&d, &n);
			good = left == right;
			if (good && left)
				good = name_equal(m.owner, n.owner) && m.flags == n.flags && m.cut == n.cut && m.len == n.len &&
				       memcmp(m.body, n.body, m.len) == 0;
		}
		good &= !c.bad && !d.bad && !c.refused && !d.refused && c.occluded.n == d.occluded.n && c.sigs.n == d.sigs.n &&
		        zone_records(a) == zone_records(b) && zone_names(a) == zone_names(b);
		zone_close(&c);
		zone_close(&d);
	}
	return good;
}

/* In memory, or spilled and compared with what is in memory. */
static struct zone *load(const struct model *m)
{
	static struct buf b;
	text_of(m, &b);
	struct zone *z = b.bad ? NULL : zone_load_text(m->wire, (const char *)b.p, b.n, &report);
	if (z && dice(2)) {
		struct zone *spilled = load_spilled(m, &b, 1 + dice(20000));
		windows_wrong += !spilled || !same_nodes(z, spilled);
		compared++;
		zone_free(z);
		z = spilled;
	}
	buf_free(&b);
	return z;
}

static void change_one(struct model *m)
{
	static const uint8_t often[R_TYPES] = { 60, 40, 60, 20, 20, 12, 12, 10, 5, 30, 2 };
	unsigned i = dice(OWNERS), t = dice(R_TYPES);
	switch (dice(12)) {
	case 0: /* a name goes */
		memset(m->rec[i], 0, R_TYPES);
		break;
	case 1:
		m->n3[dice(HASHES)] = (uint8_t)dice(4);
		m->n3txt[dice(HASHES)] = (uint8_t)(dice(4) == 0);
		break;
	case 2:
		m->sig[i] = (uint8_t)dice(256);
		break;
	case 3: /* a delegation or DNAME comes or goes: names turn into glue and back */
		t = dice(3) ? R_NS : R_DNAME;
		i = dice(42);
		m->rec[i][t] = m->rec[i][t] ? 0 : 1;
		break;
	default:
		m->rec[i][t] = dice(100) < often[t] ? (uint8_t)(1 + dice(4)) : 0;
	}
}

static void change(struct model *m)
{
	unsigned n = dice(20) == 0 ? 400 : 1 + dice(60);
	if (dice(40) == 0) /* nearly all goes */
		memset(m->rec, 0, sizeof m->rec);
	while (n-- > 0)
		change_one(m);
	m->serial += 1 + dice(3);
}

/* ---- stores ---- */

/* 0 when a zone in the store is exactly the zone in memory. */
static unsigned differs(struct store *st, struct zone *z)
{
	struct store_zone have;
	struct zone_cursor c;
	struct zone_node n;
	struct walk w;
	struct walk_name o;
	struct frag f;
	unsigned bad = 0;
	if (store_zone_get(st, zone_origin(z), &have) != STORE_FOUND || have.serial != zone_serial(z) ||
	    have.expire != 86400 + have.serial % 3)
		return 1;
	walk_begin(&w, store_reader(st), &have, store_seq(st));
	if (zone_open(&c, z) != 0)
		return 1;
	enum store_found r = STORE_FOUND;
	while (zone_next(&c, &n)) {
		enum frag_kind kind = n.flags & NODE_NSEC3 ? FRAG_NSEC3 : FRAG_NAME;
		r = walk_next(&w, &scratch, &o);
		if (r != STORE_FOUND)
			break;
		bad += o.kind != kind || !name_equal(o.owner, n.owner) || o.frag.flags != n.flags ||
		       o.frag.cut != n.cut || o.frag.len != n.len || (n.len && memcmp(o.frag.body, n.body, n.len) != 0);
		scratch.used = 0;
		bad += store_get(store_reader(st), kind, have.inst, n.owner, store_seq(st), &scratch, &f) != STORE_FOUND;
	}
	zone_close(&c);
	bad += r != STORE_FOUND || walk_next(&w, &scratch, &o) != STORE_ABSENT;
	return bad;
}

static bool in_zone(struct zone *z, const uint8_t *owner)
{
	struct zone_cursor c;
	struct zone_node n;
	bool found = false;
	if (zone_open(&c, z) != 0)
		return false;
	while (!found && zone_next(&c, &n))
		found = !(n.flags & NODE_NSEC3) && name_equal(n.owner, owner);
	zone_close(&c);
	return found;
}

/* Names that the zone does not have are found by nobody. */
static unsigned ghosts(struct store *st, const struct model *m)
{
	struct store_zone have;
	unsigned bad = 0;
	if (store_zone_get(st, m->wire, &have) != STORE_FOUND)
		return 1;
	for (unsigned i = 0; i < OWNERS; i++) {
		uint8_t o[NAME_MAX_LEN];
		struct frag f;
		name_parse(owners[i], strlen(owners[i]), m->wire, o);
		name_lower(o, o);
		scratch.used = 0;
		enum store_found r = store_get(store_reader(st), FRAG_NAME, have.inst, o, store_seq(st), &scratch, &f);
		bad += (r == STORE_FOUND) != in_zone(m->zone, o);
	}
	return bad;
}

static unsigned all_differ(struct store *st)
{
	unsigned bad = 0;
	for (unsigned i = 0; i < ZONES; i++) {
		struct store_zone have;
		if (models[i].here)
			bad += differs(st, models[i].zone);
		else
			bad += store_zone_get(st, models[i].wire, &have) != STORE_ABSENT;
	}
	return bad;
}

static struct store *mem_store(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct store_conf c = { .fd = fd, .reserve = 8ull << 30, .ordered = true };
	struct store *st = store_open(&c, k, err, sizeof err);
	close(fd);
	return st;
}

/* ---- who follows ---- */

/* A store that replays the journal, as a node does. */
struct follower { struct store *st; struct applier a; uint8_t chain[CHAIN_LEN]; };

static int follower_open(struct follower *f)
{
	memset(f, 0, sizeof *f);
	f->st = mem_store();
	return f->st ? applier_init(&f->a, f->st) : -1;
}

static void follower_close(struct follower *f)
{
	applier_free(&f->a);
	store_close(f->st);
}

static int follow(struct follower *f, struct jfile *j)
{
	struct jreader r = { .fd = -1 };
	struct tx_part t;
	struct sha sum;
	const uint8_t *p;
	size_t n;
	uint8_t meta[STORE_META] = { 0 };
	int got = jfile_seek(j, store_seq(f->st) + 1, &r);
	while (got == 0 && (got = jfile_read(j, &r, &t, &p, &n)) == 1) {
		got = 0;
		if (t.flags & PART_FIRST) {
			tx_chain_begin(&sum, f->chain, t.seq, t.time);
			applier_begin(&f->a, t.seq);
		}
		sha_update(&sum, t.ops, t.len);
		if (applier_ops(&f->a, t.ops, t.len, err, sizeof err) != 0) {
			printf("# %s\n", err);
			got = -1;
		}
		if (!(t.flags & PART_LAST))
			continue;
		sha_out(&sum, f->chain);
		if (memcmp(f->chain, t.chain, CHAIN_LEN) != 0 || store_commit(f->st, f->a.seq, meta) != 0)
			got = -1;
	}
	jreader_free(&r);
	return got;
}

/* What is left of a snapshot into a store of its own; its manifest must fit. */
static struct store *take_snapshot(struct hub *h, struct snapshot *s, unsigned *chunks)
{
	struct store *st = mem_store();
	struct applier a;
	struct buf b = { 0 }, hashes = { 0 };
	struct manifest m;
	uint8_t meta[STORE_META] = { 0 }, sum[32];
	int r = applier_init(&a, st) == 0 ? 1 : -1;
	applier_begin(&a, snapshot_seq(s));
	for (*chunks = 0; r == 1 && (r = snapshot_next(s, &b)) == 1; ++*chunks) {
		sha256(b.p, b.n, sum);
		buf_put(&hashes, sum, sizeof sum);
		if (applier_ops(&a, b.p, b.n, err, sizeof err) != 0) {
			printf("# %s\n", err);
			r = -1;
		}
	}
	if (r != 0 || !manifest_open(h->pub, h->id, NULL, b.p, b.n, &m) || m.chunks != *chunks || m.zones != a.zones ||
	    m.seq != snapshot_seq(s) || (sha256(hashes.p, hashes.n, sum), memcmp(m.sum, sum, sizeof sum) != 0) ||
	    store_commit(st, m.seq, meta) != 0) {
		store_close(st);
		st = NULL;
	}
	applier_free(&a);
	buf_free(&b);
	buf_free(&hashes);
	return st;
}

/* ---- tests ---- */

static const char *below(const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static int take(struct hub *h, struct model *m, struct import_result *res)
{
	struct zone *z = load(m);
	if (!z || hub_import(h, z, false, res, err, sizeof err) != 0) {
		printf("# %s: %s\n", m->origin, z ? err : "refused");
		zone_free(z);
		return -1;
	}
	zone_free(m->zone);
	m->zone = z;
	m->here = true;
	return 0;
}

static int drop(struct hub *h, struct model *m)
{
	struct import_result res;
	if (!m->here)
		return 0;
	m->here = false;
	return hub_drop(h, m->wire, &res, err, sizeof err);
}

/* Opened again after a clean end, or from a copy made before the commit. */
static unsigned reopen(struct hub *h, const char *at)
{
	hub_close(h);
	memset(h, 0, sizeof *h);
	if (hub_open(h, at, k, err, sizeof err) == 0)
		return 0;
	printf("# %s\n", err);
	return 1;
}

static unsigned crash(const char *at, unsigned number)
{
	char cmd[300], copy[128];
	struct hub h = { 0 };
	snprintf(copy, sizeof copy, "%s/crash%u", dir, number);
	snprintf(cmd, sizeof cmd, "cp -r --sparse=always %s %s", at, copy);
	if (system(cmd) != 0)
		return 1;
	unsigned bad = 0;
	for (unsigned again = 0; again < 2 && bad == 0; again++) {
		if (hub_open(&h, copy, k, err, sizeof err) != 0) {
			printf("# %s\n", err);
			return 1;
		}
		bad += all_differ(h.store);
		hub_close(&h);
		memset(&h, 0, sizeof h);
	}
	snprintf(cmd, sizeof cmd, "rm -r %s", copy);
	return bad + (system(cmd) != 0);
}

static void test_rounds(void)
{
	struct hub h = { 0 };
	struct follower f;
	char at[128];
	snprintf(at, sizeof at, "%s", below("hub"));
	mkdir(at, 0700);
	if (!ok(hub_open(&h, at, k, err, sizeof err) == 0 && follower_open(&f) == 0, "a hub opens"))
		return;
	unsigned hub_bad = 0, follow_bad = 0, snap_bad = 0, crash_bad = 0, ghost = 0, idle = 0, snaps = 0, opens = 0;
	uint64_t puts = 0, deletes = 0;
	models[0].serial = 0xfffffff0u; /* wraps round */
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct import_result res = { 0 };
		h.ahead_from = round & 1; /* new zones go both ways */
		for (unsigned i = 0; i < ZONES; i++) {
			if (i && round && dice(3))
				continue;
			if (dice(30) == 0) {
				hub_bad += drop(&h, &models[i]) != 0;
				continue;
			}
			change(&models[i]);
			hub_bad += take(&h, &models[i], &res) != 0;
			puts += res.puts;
			deletes += res.deletes;
		}
		if (round % 20 == 13)
			crash_bad += jfile_sync(h.jfile) != 0 || crash(at, round) != 0;
		hub_bad += hub_commit(&h, err, sizeof err) != 0;
		hub_bad += all_differ(h.store);
		follow_bad += follow(&f, h.jfile) != 0 || all_differ(f.st) != 0 ||
		              memcmp(f.chain, jfile_chain(h.jfile), CHAIN_LEN) != 0 || store_seq(f.st) != h.seq;
		if (models[0].here && round % 4 == 0)
			ghost += ghosts(h.store, &models[0]) + ghosts(f.st, &models[0]);
		if (models[0].here) { /* the same once more */
			uint64_t last = jfile_last(h.jfile);
			idle += take(&h, &models[0], &res) != 0 || res.changed || jfile_last(h.jfile) != last;
		}
		if (round % 10 == 9) {
			unsigned chunks;
			struct snapshot *s = snapshot_begin(&h, NULL);
			struct store *st = take_snapshot(&h, s, &chunks);
			snapshot_end(s);
			snap_bad += !st || all_differ(st) != 0;
			if (st)
				store_close(st);
			snaps++;
		}
		if (round % 25 == 24) {
			crash_bad += reopen(&h, at) || all_differ(h.store) != 0;
			opens++;
		}
		hub_bad += store_tick(h.store) < 0;
		follow_bad += store_tick(f.st) < 0;
	}
	ok(hub_bad == 0, "%d rounds, %llu puts, %llu deletions: the hub's store is the zone (%u wrong)", ROUNDS,
	   (unsigned long long)puts, (unsigned long long)deletes, hub_bad);
	ok(follow_bad == 0, "who replays the journal has the same (%u wrong)", follow_bad);
	ok(snap_bad == 0, "%u snapshots have the same (%u wrong)", snaps, snap_bad);
	ok(ghost == 0, "names that are gone are found by nobody (%u wrong)", ghost);
	ok(idle == 0, "an unchanged zone makes no transaction (%u wrong)", idle);
	ok(crash_bad == 0, "%u restarts, and crashes between journal and store (%u wrong)", opens, crash_bad);
	/* from the very first transaction once more */
	follower_close(&f);
	ok(follower_open(&f) == 0 && follow(&f, h.jfile) == 0 && all_differ(f.st) == 0,
	   "all %llu transactions from the first", (unsigned long long)h.seq);
	/* as after a lost connection: the last one comes twice */
	struct jreader r = { .fd = -1 };
	struct tx_part t;
	const uint8_t *p;
	size_t n;
	int got = jfile_seek(h.jfile, h.seq, &r);
	applier_begin(&f.a, h.seq + 1);
	while (got == 0 && jfile_read(h.jfile, &r, &t, &p, &n) == 1)
		got = applier_ops(&f.a, t.ops, t.len, err, sizeof err);
	jreader_free(&r);
	ok(got == 0 && store_commit(f.st, h.seq + 1, (uint8_t[STORE_META]){ 0 }) == 0 && all_differ(f.st) == 0,
	   "the last transaction twice changes nothing");
	follower_close(&f);
	hub_close(&h);
}

static struct zone *small(const char *origin, uint32_t serial, const char *more)
{
	char text[2048];
	uint8_t wire[NAME_MAX_LEN];
	name_parse(origin, strlen(origin), NULL, wire);
	int n = snprintf(text, sizeof text, "$TTL 300\n@ SOA ns admin %u 3600 600 %u 300\n@ NS ns\nns A 192.0.2.1\n%s",
	                 serial, 86400 + serial % 3, more);
	return zone_load_text(wire, text, (size_t)n, &report);
}

static void test_serials(void)
{
	static const struct { uint32_t serial; const char *more; bool force; int want; bool changed; } table[] = {
		{ 100, "", false, 0, true },                   /* new */
		{ 100, "", false, 0, false },                  /* the same */
		{ 100, "x A 192.0.2.2\n", false, -1, false },  /* other content, same serial */
		{ 99, "", false, -1, false },                  /* back */
		{ 99, "x A 192.0.2.2\n", false, -1, false },
		{ 100 + 0x80000000u, "", false, -1, false },   /* neither forward nor back */
		{ 101, "", false, 0, true },                   /* only the serial */
		{ 101, "x A 192.0.2.2\n", true, 0, true },     /* forced */
		{ 50, "x A 192.0.2.2\n", true, 0, true },
		{ 50 + 0x7fffffffu, "y A 192.0.2.2\n", false, 0, true },
		{ 5, "", false, 0, true },                     /* round the end */
	};
	struct hub h = { 0 };
	char at[128];
	snprintf(at, sizeof at, "%s", below("serials"));
	mkdir(at, 0700);
	struct zone *now = NULL;
	struct import_result res;
	unsigned bad = hub_open(&h, at, k, err, sizeof err) != 0;
	for (unsigned i = 0; bad == 0 && i < sizeof table / sizeof *table; i++) {
		struct zone *z = small("example.", table[i].serial, table[i].more);
		uint64_t last = jfile_last(h.jfile);
		*err = 0;
		int r = hub_import(&h, z, table[i].force, &res, err, sizeof err);
		bool good = r == table[i].want && jfile_last(h.jfile) == last + table[i].changed &&
		            (r != 0 || res.changed == table[i].changed) && (r == 0) == (*err == 0) &&
		            hub_commit(&h, err, sizeof err) == 0 && (r == 0 || strstr(err, "--force"));
		if (r == 0) {
			zone_free(now);
			now = z;
		} else {
			zone_free(z);
		}
		if (!good || differs(h.store, now) != 0) {
			printf("# line %u of the table: %d %s\n", i, r, err);
			bad++;
		}
	}
	ok(bad == 0, "serials: forward only, unless forced");
	uint8_t wire[NAME_MAX_LEN];
	name_parse("absent.", 7, NULL, wire);
	ok(hub_drop(&h, wire, &res, err, sizeof err) == -1 && strstr(err, "not held"), "dropping what is not held: %s", err);
	zone_free(now);
	hub_close(&h);
}

/* A big zone: many names that tell a value. */
static struct zone *big(uint32_t serial, unsigned names, unsigned value)
{
	struct buf b = { 0 };
	say(&b, "$TTL 300\n@ SOA ns admin %u 3600 600 %u 300\n@ NS ns\n", serial, 86400 + serial % 3);
	for (unsigned i = 0; i < names; i++)
		say(&b, "name-%u.x%u TXT \"%0100u\"\n", i, i % 100, i + value);
	struct zone *z = zone_load_text((const uint8_t *)"\3big", (const char *)b.p, b.n, &report);
	buf_free(&b);
	return z;
}

/* A snapshot while the world moves on. */
static void test_moving(void)
{
	struct hub h = { 0 };
	struct import_result res;
	struct follower f;
	char at[128];
	snprintf(at, sizeof at, "%s", below("moving"));
	mkdir(at, 0700);
	struct zone *then = big(1, 6000, 1), *z;
	bool good = hub_open(&h, at, k, err, sizeof err) == 0 && hub_import(&h, then, false, &res, err, sizeof err) == 0 &&
	            hub_commit(&h, err, sizeof err) == 0;
	struct snapshot *s = good ? snapshot_begin(&h, NULL) : NULL;
	for (uint32_t v = 2; good && v < 5; v++) {
		z = big(v, v == 3 ? 10 : 6000, v);
		good = hub_import(&h, z, false, &res, err, sizeof err) == 0 && hub_commit(&h, err, sizeof err) == 0 &&
		       differs(h.store, z) == 0 && store_tick(h.store) >= 0;
		zone_free(z);
	}
	good = good && hub_drop(&h, zone_origin(then), &res, err, sizeof err) == 0 && hub_commit(&h, err, sizeof err) == 0;
	ok(good, "a zone changes and goes while a snapshot is open (%s)", good ? "" : err);
	unsigned chunks = 0;
	struct store *st = s ? take_snapshot(&h, s, &chunks) : NULL;
	ok(st && differs(st, then) == 0, "its %u chunks still tell what was", chunks);
	snapshot_end(s);
	if (st)
		store_close(st);
	struct store_zone have;
	ok(follower_open(&f) == 0 && follow(&f, h.jfile) == 0 && store_zone_get(f.st, zone_origin(then), &have) == STORE_ABSENT,
	   "large transactions replay");
	follower_close(&f);
	zone_free(then);
	hub_close(&h);
}

static rlim_t size_of(const char *at)
{
	struct stat sb;
	return stat(at, &sb) == 0 ? (rlim_t)sb.st_size : 0;
}

/* No room: refused, and nothing has changed. */
static void test_full(void)
{
	struct hub h = { 0 };
	struct import_result res;
	struct rlimit was, lim;
	char at[128], file[160];
	snprintf(at, sizeof at, "%s", below("full"));
	snprintf(file, sizeof file, "%s/journal/00000001", at);
	mkdir(at, 0700);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &was);
	struct zone *old = big(1, 50, 1), *large = big(2, 20000, 2), *next = big(3, 60, 3);
	bool good = hub_open(&h, at, k, err, sizeof err) == 0 && hub_import(&h, old, false, &res, err, sizeof err) == 0 &&
	            hub_commit(&h, err, sizeof err) == 0;
	/* the journal has no room: at several places of a record */
	unsigned bad = !good;
	for (unsigned i = 0; good && i < 12; i++) {
		uint64_t last = jfile_last(h.jfile);
		lim = was;
		snprintf(file, sizeof file, "%s/journal/%08u", at, i + 1);
		lim.rlim_cur = size_of(file) + (rlim_t)i * 40000 + i % 3;
		setrlimit(RLIMIT_FSIZE, &lim);
		errno = ENOENT; /* of something long ago */
		int r = hub_import(&h, large, false, &res, err, sizeof err);
		setrlimit(RLIMIT_FSIZE, &was);
		if (r != -1 || !strstr(err, strerror(EFBIG)) || jfile_last(h.jfile) != last ||
		    hub_commit(&h, err, sizeof err) != 0 || differs(h.store, old) != 0 || h.failed) {
			printf("# %u: %d %s\n", i, r, err);
			bad++;
		}
	}
	ok(bad == 0, "no room in the journal: refused, the old zone stays (%s)", err);
	/* the store has no room */
	lim = was;
	snprintf(file, sizeof file, "%s/store", at);
	rlim_t store_size = size_of(file);
	uint64_t before = h.uncommitted;
	lim.rlim_cur = store_size;
	setrlimit(RLIMIT_FSIZE, &lim);
	struct zone *huge = big(2, 30000, 2);
	int r = hub_import(&h, huge, false, &res, err, sizeof err);
	setrlimit(RLIMIT_FSIZE, &was);
	ok(r == -1 && !h.failed && differs(h.store, old) == 0, "no room in the store: refused (%s)", err);
	ok(h.uncommitted == before, "and what was refused waits for no room");
	zone_free(huge);
	good = hub_import(&h, next, false, &res, err, sizeof err) == 0 && hub_commit(&h, err, sizeof err) == 0 &&
	       differs(h.store, next) == 0;
	ok(good, "with room it goes on");
	ok(reopen(&h, at) == 0 && differs(h.store, next) == 0, "and opens again");
	zone_free(old);
	zone_free(large);
	zone_free(next);
	hub_close(&h);
}

/* A zone of so many names and what else it is to have, spilled. */
static struct zone *spilled_zone(const char *at, uint32_t serial, unsigned names, const char *more)
{
	char path[160];
	struct buf b = { 0 };
	snprintf(path, sizeof path, "%s/zone", at);
	say(&b, "$TTL 300\n@ SOA ns admin %u 3600 600 %u 300\n@ NS ns\n%s", serial, 86400 + serial % 3, more);
	for (unsigned i = 0; i < names; i++)
		say(&b, "name-%u.x%u TXT \"%0100u\"\n", i, i % 100, i);
	FILE *f = fopen(path, "w");
	fwrite(b.p, 1, b.n, f);
	fclose(f);
	buf_free(&b);
	return zone_load_within((const uint8_t *)"\3big", path, 2u << 20, at, &report);
}

/* The same; its block `spoilt` before the last one can't be read any more. */
static struct zone *spoilt_zone(const char *at, unsigned names, unsigned spoilt)
{
	char link[64], to[200];
	struct stat sb;
	struct zone *z = spilled_zone(at, 2, names, "");
	for (int fd = 3; z && fd < 64; fd++) {
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(link, to, sizeof to - 1);
		to[n > 0 ? n : 0] = 0;
		uint8_t octet;
		off_t where = fstat(fd, &sb) == 0 ? sb.st_size - (off_t)(spoilt + 1) * (256 << 10) : -1;
		if (strncmp(to, at, strlen(at)) != 0 || !strstr(to, "(deleted)") || pread(fd, &octet, 1, where) != 1)
			continue;
		octet ^= 1;
		if (pwrite(fd, &octet, 1, where) == 1)
			return z;
	}
	zone_free(z);
	return NULL;
}

/* A large new zone that comes to nothing: neither the journal nor the store has a
 * trace of it, and what it took of the store is swept. */
static void test_ahead(void)
{
	struct hub h = { 0 };
	struct import_result res;
	struct rlimit was, lim;
	struct store_zone have;
	struct store_stats stats = { 0 };
	char at[128], file[160];
	snprintf(at, sizeof at, "%s", below("ahead"));
	mkdir(at, 0700);
	unsigned bad = hub_open(&h, at, k, err, sizeof err) != 0, met = 0;
	for (unsigned i = 0; !bad && i < 8; i++) {
		struct zone *z = spoilt_zone(at, 40000, 2 * i);
		h.ahead_from = 1;
		h.bulk.step = 300u << 10;
		faults = 0;
		int r = z ? hub_import(&h, z, false, &res, err, sizeof err) : 0;
		zone_free(z);
		store_stats_get(h.store, &stats);
		met += stats.names > 0;
		if (r != -1 || faults != 1 || jfile_last(h.jfile) != 0 || h.failed || h.bulk.what != BULK_NONE ||
		    store_zone_get(h.store, (const uint8_t *)"\3big", &have) != STORE_ABSENT || hub_commit(&h, err, sizeof err) != 0) {
			printf("# %u: %d %s\n", i, r, err);
			bad++;
		}
		if (i == 5) /* nor does the next one who opens it find any */
			bad += reopen(&h, at) != 0 || h.bulk.what != BULK_NONE;
	}
	ok(bad == 0 && met > 2, "a large new zone can't be read to its end, %u times behind its first names: refused", met);
	for (unsigned i = 0; i < 3000 && stats.names; i++) {
		bad += store_tick(h.store) < 0;
		store_stats_get(h.store, &stats);
	}
	ok(!bad && stats.names == 0, "what it left is swept: %llu names", (unsigned long long)stats.names);
	struct zone *large = big(2, 40000, 2);
	h.ahead_from = 1;
	bad = hub_import(&h, large, false, &res, err, sizeof err) != 0 || res.seq != 1 || h.seq != 1 || differs(h.store, large) != 0;
	ok(bad == 0 && reopen(&h, at) == 0 && differs(h.store, large) == 0, "a whole one is taken, at once for good");
	zone_free(large);
	hub_close(&h);

	/* there is no room */
	snprintf(at, sizeof at, "%s", below("ahead-full"));
	mkdir(at, 0700);
	large = big(2, 40000, 2);
	bad = hub_open(&h, at, k, err, sizeof err) != 0;
	h.ahead_from = 1;
	getrlimit(RLIMIT_FSIZE, &was);
	snprintf(file, sizeof file, "%s/store", at);
	lim = was;
	lim.rlim_cur = size_of(file);
	setrlimit(RLIMIT_FSIZE, &lim);
	int r = hub_import(&h, large, false, &res, err, sizeof err);
	setrlimit(RLIMIT_FSIZE, &was);
	ok(!bad && r == -1 && !h.failed && jfile_last(h.jfile) == 0, "no room for a large new zone: refused (%s)", err);
	ok(hub_import(&h, large, false, &res, err, sizeof err) == 0 && differs(h.store, large) == 0, "with room it is taken");
	zone_free(large);
	hub_close(&h);
}

/* A spilled zone whose last names turn out to be wrong when all before them is written. */
static void test_refused_late(void)
{
	static const char wrong[] = "zz CNAME a\nzz TXT b\nzzz DNAME a\nzzz DNAME b\n";
	struct hub h = { 0 };
	struct import_result res;
	struct zone *good = NULL;
	char at[128];
	snprintf(at, sizeof at, "%s", below("late"));
	mkdir(at, 0700);
	unsigned bad = hub_open(&h, at, k, err, sizeof err) != 0;
	h.ahead_from = 1;
	for (uint32_t serial = 1; !bad && serial < 3; serial++) { /* it is new; it is there */
		struct zone *z = spilled_zone(at, serial, 40000, wrong);
		faults = 0;
		bad += !z || hub_import(&h, z, false, &res, err, sizeof err) != -1 || *err || faults != 2 || h.failed ||
		       jfile_last(h.jfile) != serial - 1 || (good && differs(h.store, good) != 0);
		zone_free(z);
		zone_free(good);
		good = spilled_zone(at, serial, 40000, "zz TXT b\n");
		bad += hub_import(&h, good, false, &res, err, sizeof err) != 0 || hub_commit(&h, err, sizeof err) != 0 ||
		       jfile_last(h.jfile) != serial || differs(h.store, good) != 0;
	}
	ok(bad == 0, "what is wrong at the end of a spilled zone is found while it is written: nothing has changed");
	zone_free(good);
	hub_close(&h);
}

/* There is no descriptor left to read the journal with. */
static void test_starved(void)
{
	struct hub h = { 0 };
	struct import_result res;
	struct rlimit was, lim;
	char at[128];
	snprintf(at, sizeof at, "%s", below("starved"));
	mkdir(at, 0700);
	struct zone *large = big(2, 40000, 2);
	bool good = hub_open(&h, at, k, err, sizeof err) == 0;
	h.ahead_from = 1;
	getrlimit(RLIMIT_NOFILE, &was);
	int next = dup(0);
	close(next);
	lim = was;
	lim.rlim_cur = (rlim_t)next;
	setrlimit(RLIMIT_NOFILE, &lim);
	int r = hub_import(&h, large, false, &res, err, sizeof err);
	setrlimit(RLIMIT_NOFILE, &was);
	ok(good && r == -1 && !h.failed && jfile_last(h.jfile) == 0, "no descriptor is left: this load alone is refused (%s)", err);
	ok(hub_import(&h, large, false, &res, err, sizeof err) == 0 && differs(h.store, large) == 0, "the next one is taken");
	zone_free(large);
	hub_close(&h);
}

static _Atomic bool stop;

static void asked_to_stop(struct src *s, uint32_t got, uint64_t now)
{
	(void)s;
	(void)got;
	(void)now;
	stop = true;
}

/* It is asked to stop: what can be given up is. */
static void test_leaving(void)
{
	struct src signal = { .fd = -1, .wake = asked_to_stop };
	struct hub h = { .leaving = &stop };
	struct import_result res;
	char at[128];
	snprintf(at, sizeof at, "%s", below("leaving"));
	mkdir(at, 0700);
	struct zone *large = big(2, 40000, 2);
	unsigned bad = hub_open(&h, at, k, err, sizeof err) != 0, refused = 0;
	for (h.ahead_from = 100000; !bad && refused < 2; h.ahead_from = 1, refused++) {
		stop = true;
		bad += hub_import(&h, large, false, &res, err, sizeof err) != -1 || !strstr(err, "stopping") || h.failed ||
		       jfile_last(h.jfile) != 0;
		stop = false;
	}
	ok(bad == 0, "a hub that is to stop gives up a load, one way and the other (%s)", err);
	ok(!bad && hub_import(&h, large, false, &res, err, sizeof err) == 0 && hub_commit(&h, err, sizeof err) == 0 &&
	   reopen(&h, at) == 0 && differs(h.store, large) == 0, "and is none the worse");
	struct zone *next = big(3, 40000, 3);
	h.leaving = &stop;
	bad = hub_import(&h, next, false, &res, err, sizeof err) != 0;
	stop = true;
	bad += hub_commit(&h, err, sizeof err) != -1 || !h.cut || !h.failed || !strstr(err, "safe in the journal") || h.seq != 1;
	bad += differs(h.store, large) != 0;
	hub_close(&h);
	h = (struct hub){ .leaving = &stop };
	stop = false;
	bad += loop_init(&h.loop) != 0 || loop_add(&h.loop, &signal) != 0 ||
	       hub_open(&h, at, k, err, sizeof err) != -1 || !h.cut || !strstr(err, "safe in the journal");
	ok(bad == 0, "a start is given up in its midst (%s)", err);
	loop_del(&h.loop, &signal);
	loop_close(&h.loop);
	h = (struct hub){ 0 };
	ok(bad == 0 && hub_open(&h, at, k, err, sizeof err) == 0 && h.seq == 2 && differs(h.store, next) == 0,
	   "one that is written but not yet in the store is taken at the next start (%s)", err);
	zone_free(next);
	zone_free(large);
	hub_close(&h);
}

int main(void)
{
	snprintf(dir, sizeof dir, "/tmp/import-test-XXXXXX");
	if (crypto_init() != 0 || !mkdtemp(dir))
		return 1;
	k = key_random();
	scratch.size = 4u << 20;
	scratch.mem = malloc(scratch.size);
	make_owners();
	for (unsigned i = 0; i < ZONES; i++)
		name_parse(models[i].origin, strlen(models[i].origin), NULL, models[i].wire);
	test_serials();
	test_full();
	test_ahead();
	test_refused_late();
	test_starved();
	test_leaving();
	test_moving();
	test_rounds();
	ok(compared > ROUNDS / 4 && windows_wrong == 0, "%u zones are the same piece by piece (%u are not)", compared, windows_wrong);
	for (unsigned i = 0; i < ZONES; i++)
		zone_free(models[i].zone);
	free(scratch.mem);
	key_free(k);
	char cmd[100];
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	if (system(cmd) != 0)
		return 1;
	return tap_done();
}
