/* test_cold.c - a worker and queries for what is not in memory: which pages are,
 * and how long a helper needs for one, is said here (tests/faultdisk.h). */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns/answer.h"
#include "dns.h"
#include "store/internal.h"
#include "tests/faultdisk.h"
#include "tests/records.h"
#include "tests/tap.h"

#define NAMES   4000u
#define OTHER   NAMES /* one more, in a zone of its own */
#define RESERVE (1ull << 30)
#define PAGE    4096u
#define PAGES   (RESERVE / PAGE)
#define WAIT_MS 20000 /* for what must come */
#define SHORT_MS 100  /* for what must not */

static struct store_zone zone = { .inst = 7, .labels = 1, .serial = 1, .state = ZONE_SERVING, .name = "\7example" };
static struct store_zone other = { .labels = 1, .serial = 1, .state = ZONE_SERVING, .name = "\5other" };
static struct key *secret;
static struct store *st;
static struct store_map *map;
static struct store_beat beat;
static char err[256];

/* ---- the disk ---- */

static _Atomic bool cold[PAGES]; /* not in memory */
static _Atomic bool held;        /* the disk does nothing */
static _Atomic bool failing;     /* it gives nothing */
static _Atomic bool short_of;    /* what it gives is gone again at once */
static _Atomic unsigned fetches;

static uint64_t page_of(const uint8_t *p) { return (uint64_t)(p - map->base) / PAGE; }

static _Atomic unsigned asked;   /* how often what is in memory was */

static int resident(const uint8_t *p, size_t n, unsigned char *in)
{
	atomic_fetch_add(&asked, 1);
	for (size_t i = 0; i < n / PAGE; i++)
		in[i] = page_of(p) + i < PAGES - 1 && !cold[page_of(p) + i];
	return 0;
}

static void fetch(const uint8_t *p, size_t n)
{
	atomic_fetch_add(&fetches, 1);
	while (held)
		usleep(1000);
	if (failing) /* behind the file's end */
		(void)*(const volatile uint8_t *)(map->base + RESERVE - PAGE);
	for (size_t i = 0; i < n && !short_of; i += PAGE)
		cold[page_of(p + i)] = false;
}

/* ---- the store ---- */

/* The zone of name i, which comes in o. */
static const struct store_zone *zone_of(unsigned i, uint8_t o[static NAME_MAX_LEN])
{
	if (i != OTHER)
		return numbered_name(i, o), &zone;
	return memcpy(o, other.name, name_len(other.name)), &other;
}

static int put(unsigned i)
{
	uint8_t o[NAME_MAX_LEN], b[64];
	const struct store_zone *z = zone_of(i, o);
	return store_put(st, 1, FRAG_NAME, z, o, 0, 0, b, address_body(i, b, sizeof b), false);
}

static struct disk *disk;

static bool make_store(void)
{
	static const struct store_beat *const beats[] = { &beat };
	uint8_t meta[STORE_META] = { 0 };
	secret = key_random();
	disk = disk_new();
	struct store_conf c = { .path = "faultdisk", .fd = disk_fd(disk), .reserve = RESERVE, .beats = beats, .nbeats = 1 };
	st = store_open(&c, secret, err, sizeof err);
	if (!st)
		return false;
	zone.inst = store_new_instance(st);
	if (store_zone_put(st, 1, &zone) != 0)
		return false;
	other.inst = store_new_instance(st);
	if (store_zone_put(st, 1, &other) != 0 || put(OTHER) != 0) /* far from the catalog, which comes last */
		return false;
	for (unsigned i = 0; i < NAMES; i++)
		if (put(i) != 0)
			return false;
	return store_commit(st, 1, meta) == 0;
}

static bool make_reader(void)
{
	int pair[2];
	map = store_map_new(disk_fd(disk), RESERVE, err, sizeof err);
	if (!map || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0)
		return false;
	store_map_worker(map, 0, &beat);
	bool good = store_keys_send(st, pair[0]) == 0 && store_keys_recv(map, pair[1]) == 0 &&
	            store_map_root(map, store_root_fd(st), err, sizeof err) == 0 && store_cold_begin(map, 1) == 0;
	close(pair[0]);
	close(pair[1]);
	return good;
}

/* The page where a name's fragment begins. */
static uint64_t page_of_name(unsigned i)
{
	static uint8_t mem[1 << 16];
	struct scratch s = { .mem = mem, .size = sizeof mem, .patient = true };
	uint8_t o[NAME_MAX_LEN];
	struct probe p;
	struct raw r = { 0 };
	store_begin(map, &p, FRAG_NAME, zone_of(i, o)->inst, o, 1);
	frag_find(map, map->root, &p, &s, &r);
	return r.unit * UNIT / PAGE;
}

/* A name of another page than those that are cold. */
static unsigned warm_name(unsigned from)
{
	uint64_t page;
	do {
		page = page_of_name(++from % NAMES);
	} while (cold[page] || cold[page + 1]);
	return from % NAMES;
}

static bool any_known(void)
{
	for (uint64_t i = 0; i < PAGES / 64; i++)
		if (map->known[i] != 0)
			return true;
	return false;
}

/* From now on, and forgotten by those who knew better: by a helper, once it has a
 * processor. */
static void chill(unsigned name)
{
	cold[page_of_name(name)] = true;
	store_cold_age(map, true, 0);
	for (unsigned i = 0; i < WAIT_MS && any_known(); i++)
		usleep(1000);
}

/* ---- look-ups ---- */

static enum store_found look(unsigned i, struct scratch *s, struct frag *f)
{
	uint8_t o[NAME_MAX_LEN];
	numbered_name(i, o);
	s->used = 0;
	s->cold.len = 0;
	return store_get(map, FRAG_NAME, zone.inst, o, 1, s, f);
}

static bool readable(int fd, int ms) { return poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, ms) == 1; }

static void test_looks(void)
{
	struct scratch s;
	struct frag f;
	struct store_errand e = { .worker = 0 }, *back;
	scratch_new(&s, 1 << 16);
	ok(look(1, &s, &f) == STORE_FOUND, "a name in memory is found");
	unsigned near = 2, so_far = asked;
	while (near < NAMES && (page_of_name(near) == page_of_name(1) || page_of_name(near) / 64 != page_of_name(1) / 64))
		near++;
	ok(near < NAMES && look(near, &s, &f) == STORE_FOUND && asked == so_far, "and what is around it is known then");
	unsigned found = 0; /* some lie in two pages */
	for (unsigned i = 0; i < 2 * NAMES; i++) {
		so_far = i == NAMES ? asked : so_far;
		found += look(i % NAMES, &s, &f) == STORE_FOUND;
	}
	ok(found == 2 * NAMES && asked == so_far, "nobody asks for what is known (%u times)", asked - so_far);
	chill(1);
	ok(look(1, &s, &f) == STORE_DAMAGED && s.cold.len > 0 && s.cold.at / PAGE == page_of_name(1), "a cold one is not, and it says where");
	ok(atomic_load(map->damaged) == 0, "which is not counted as damage");
	unsigned before = fetches;
	s.patient = true;
	ok(look(1, &s, &f) == STORE_FOUND && s.cold.len == 0 && fetches == before, "who is patient finds it himself");
	s.patient = false;
	e.range = (look(1, &s, &f), s.cold);
	ok(!readable(store_cold_fd(map, 0), 0), "nothing is back");
	store_cold_send(map, &e);
	ok(readable(store_cold_fd(map, 0), WAIT_MS) && store_cold_back(map, 0, &back, 1) == 1 && back == &e && !e.failed, "an errand comes back");
	ok(!readable(store_cold_fd(map, 0), 0), "once");
	ok(look(1, &s, &f) == STORE_FOUND, "and the name is found");
	failing = true;
	store_cold_send(map, &e);
	ok(readable(store_cold_fd(map, 0), WAIT_MS) && store_cold_back(map, 0, &back, 1) == 1 && e.failed, "one that the disk fails comes back too");
	failing = false;
	held = true;
	static struct store_errand many[100];
	for (unsigned i = 0; i < 100; i++) {
		many[i].range = e.range;
		store_cold_send(map, &many[i]);
	}
	usleep(SHORT_MS * 1000);
	held = false;
	store_cold_recall(map, 0);
	ok(!readable(store_cold_fd(map, 0), 0) && store_cold_back(map, 0, &back, 1) == 0, "after a recall none is on its way");
	scratch_free(&s);
}

/* ---- a worker ---- */

static struct dns_conf conf = { .workers = 1, .udp_size = 1232, .tcp_max = 16, .tcp_per_client = 16, .tcp_idle_ms = 60000 };
static struct dns_stats stats;
static struct dns_socket sockets[2];
static struct sockaddr_in at[2];
static _Atomic bool stop;
static int udp = -1;
static pthread_t thread;

static void *serve(void *mem)
{
	return dns_run(map, &conf, 0, sockets, 2, mem, &stats, &stop) == 0 ? mem : NULL;
}

static bool start_worker(void)
{
	static void *mem;
	for (unsigned i = 0; i < 2; i++) {
		socklen_t n = sizeof at[i];
		at[i] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		sockets[i] = (struct dns_socket){ socket(AF_INET, (i ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK, 0), i };
		if (bind(sockets[i].fd, (struct sockaddr *)&at[i], n) != 0 || (i && listen(sockets[i].fd, 16) != 0) ||
		    getsockname(sockets[i].fd, (struct sockaddr *)&at[i], &n) != 0)
			return false;
	}
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	int room = 4 << 20; /* for 1024 answers at once */
	if (setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0)
		setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
	if (connect(udp, (struct sockaddr *)&at[0], sizeof at[0]) != 0)
		return false;
	if (!mem)
		mem = dns_memory_map(&conf);
	stop = false;
	return mem && pthread_create(&thread, NULL, serve, mem) == 0;
}

/* True: it ended well. */
static bool end_worker(void)
{
	void *r = NULL;
	stop = true;
	pthread_join(thread, &r);
	for (unsigned i = 0; i < 2; i++)
		close(sockets[i].fd);
	close(udp);
	return r != NULL;
}

static size_t question(unsigned id, unsigned name, uint8_t *out)
{
	uint8_t o[NAME_MAX_LEN];
	static const uint8_t tail[4] = { 0, T_A, 0, 1 };
	memset(out, 0, 12);
	put_u16(out, id);
	out[5] = 1;
	zone_of(name, o);
	memcpy(out + 12, o, name_len(o));
	memcpy(out + 12 + name_len(o), tail, 4);
	return 12 + name_len(o) + 4;
}

static void ask(unsigned id, unsigned name)
{
	uint8_t m[512];
	size_t n = question(id, name, m);
	if (send(udp, m, n, 0) != (ssize_t)n)
		abort();
}

/* The same with an option of so many octets. */
static void ask_option(unsigned id, unsigned name, unsigned code, unsigned len)
{
	uint8_t m[4096] = { 0 };
	size_t n = question(id, name, m);
	m[11] = 1;
	memcpy(m + n, "\0\0\x29\4\xd0\0\0\0", 9);
	put_u16(m + n + 9, len + 4);
	put_u16(m + n + 11, code);
	put_u16(m + n + 13, len);
	n += 15 + len;
	if (n > sizeof m || send(udp, m, n, 0) != (ssize_t)n)
		abort();
}

/* Is it the address of that name? */
static bool is_answer(const uint8_t *m, ssize_t n, unsigned name)
{
	return n > 16 && (m[3] & 15) == RCODE_NOERROR && get_u16(m + 6) == 1 && get_u32(m + n - 4) == name;
}

/* The next answer's id, -1: none comes; *rcode, 16: not what that name has. */
static int heard(unsigned name, int ms, unsigned *rcode)
{
	uint8_t m[4096];
	ssize_t n = readable(udp, ms) ? recv(udp, m, sizeof m, 0) : -1;
	if (n < 12)
		return -1;
	*rcode = (m[3] & 15) != RCODE_NOERROR || is_answer(m, n, name) ? m[3] & 15u : 16;
	return get_u16(m);
}

static bool answered(unsigned id, unsigned name)
{
	unsigned rcode;
	return heard(name, WAIT_MS, &rcode) == (int)id && rcode == RCODE_NOERROR;
}

/* Is what comes next TC and nothing else, with that id and so many octets? */
static bool told_tc(unsigned id, size_t len)
{
	uint8_t m[4096];
	ssize_t n = readable(udp, WAIT_MS) ? recv(udp, m, sizeof m, 0) : -1;
	return n == (ssize_t)len && get_u16(m) == id && get_u16(m + 2) == (0x8000 | FLAG_TC) && get_u32(m + 6) == 0;
}

static bool wait_for(const _Atomic uint64_t *n, uint64_t is)
{
	for (unsigned i = 0; i < WAIT_MS && *n != is; i++)
		usleep(1000);
	return *n == is;
}

static void test_udp(void)
{
	unsigned rcode, warm = 0, good = 0;
	chill(100);
	held = true;
	ask(1, 100);
	for (unsigned i = 0; i < 50; i++)
		ask(2 + i, warm = warm_name(warm + 60));
	warm = 0;
	for (unsigned i = 0; i < 50; i++)
		good += answered(2 + i, warm = warm_name(warm + 60));
	ok(good == 50, "a cold query in front of 50 warm ones: these are answered (%u)", good);
	ok(wait_for(&stats.parked_now, 1) && stats.parked == 1, "it waits alone");
	ok(heard(100, SHORT_MS, &rcode) < 0, "as long as the disk does nothing");
	held = false;
	ok(answered(1, 100), "then it is answered right");
	ok(wait_for(&stats.parked_now, 0) && stats.damaged == 0 && stats.rcode[RCODE_SERVFAIL] == 0 && stats.queries[0][0] == 51 &&
	   stats.rcode[RCODE_NOERROR] == 51, "and counted once, no damage");
}

/* The index, too. */
static void test_index(void)
{
	uint64_t was = stats.fetched;
	struct probe p;
	uint8_t o[NAME_MAX_LEN];
	numbered_name(500, o);
	store_begin(map, &p, FRAG_NAME, zone.inst, o, 1);
	struct place place = place_of(p.hash[0]);
	uint64_t bucket = (uint64_t)map->root->dir[dir_index(&place)] * BLOCK + (uint64_t)place.home * SLOTS * 8;
	cold[bucket / PAGE] = true;
	chill(500);
	ask(1, 500);
	ok(answered(1, 500), "a cold bucket and a cold fragment");
	ok(stats.fetched == was + 2, "two errands (%u)", (unsigned)(stats.fetched - was));
}

static void test_failed(void)
{
	unsigned rcode = 0;
	uint64_t faults = stats.faults;
	chill(300);
	failing = true;
	ask(1, 300);
	ok(heard(300, WAIT_MS, &rcode) == 1 && rcode == RCODE_SERVFAIL, "what the disk doesn't give is SERVFAIL");
	ok(wait_for(&stats.faults, faults + 1) && stats.damaged == 1, "and counted as damage");
	ok(stats.damaged_where == zone.inst, "of its zone");
	failing = false;
	ask(2, 300);
	ok(answered(2, 300), "the next time it may");
	short_of = true;
	chill(300);
	uint64_t fetched = stats.fetched;
	ask(3, 300);
	ok(answered(3, 300), "when memory is too short it is answered all the same");
	ok(stats.fetched - fetched == 64, "after %u errands", (unsigned)(stats.fetched - fetched));
	short_of = false;
	cold[page_of_name(300)] = false;
}

static void test_root(void)
{
	chill(400);
	held = true;
	uint64_t parked = stats.parked;
	ask(1, 400);
	ok(wait_for(&stats.parked, parked + 1), "one waits");
	ok(store_map_root(map, store_root_fd(st), err, sizeof err) == 0, "another root does not wait for it");
	held = false;
	ok(answered(1, 400), "it is answered from there");
}

/* ---- TCP ---- */

static int dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	return connect(fd, (struct sockaddr *)&at[1], sizeof at[1]) == 0 ? fd : -1;
}

static void tcp_ask(int fd, unsigned id, unsigned name)
{
	uint8_t m[514];
	size_t n = question(id, name, m + 2);
	put_u16(m, (uint32_t)n);
	if (send(fd, m, n + 2, MSG_NOSIGNAL) != (ssize_t)n + 2)
		abort();
}

static bool tcp_answered(int fd, unsigned id, unsigned name, int ms)
{
	uint8_t m[2 + 4096];
	if (!readable(fd, ms) || recv(fd, m, 2, MSG_WAITALL) != 2)
		return false;
	ssize_t n = recv(fd, m + 2, get_u16(m), MSG_WAITALL);
	return n == get_u16(m) && get_u16(m + 2) == id && is_answer(m + 2, n, name);
}

/* As ask(), n times, as slowly as the worker takes them. */
static void ask_often(unsigned n, unsigned name)
{
	uint64_t taken = stats.parked + stats.parked_full;
	for (unsigned i = 0; i < n; i++) {
		ask(i, name);
		for (unsigned k = 0; i % 32 == 31 && k < WAIT_MS && stats.parked + stats.parked_full - taken <= i; k++)
			usleep(1000);
	}
}

/* From now on we ask from another network. */
static void move_to(uint32_t ip)
{
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(ip) };
	close(udp);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(udp, (struct sockaddr *)&from, sizeof from) != 0 || connect(udp, (struct sockaddr *)&at[0], sizeof at[0]) != 0)
		abort();
}

static void test_room(void)
{
	enum { NET = 256, UDP = 768, MORE = 300 };
	unsigned rcode, good = 0, warm = warm_name(0);
	uint64_t dropped = stats.dropped, truncated = stats.truncated, noerror = stats.rcode[RCODE_NOERROR];
	uint8_t m[512];
	size_t len = question(0, 200, m);
	chill(200);
	held = true;
	ask_often(MORE, 200);
	ok(wait_for(&stats.parked_full, MORE - NET) && stats.parked_now == NET, "of %u cold queries of one network %u wait", MORE, NET);
	while (good < MORE - NET && told_tc(NET + good, len))
		good++;
	ok(good == MORE - NET, "the others get TC at once, as long as the query (%u)", good);
	ok(wait_for(&stats.truncated, truncated + good) && stats.rcode[RCODE_NOERROR] == noerror + good && stats.dropped == dropped,
	   "which is counted as an answer; nothing is dropped");
	good = 0;
	/* of networks that have one place by the hash, too few would wait */
	for (uint32_t net = 1; net < 40 && stats.parked_now < UDP; net++) {
		move_to(INADDR_LOOPBACK + (net << 8));
		ask_often(MORE, 200);
	}
	ok(wait_for(&stats.parked_now, UDP), "of others as many, but over UDP not more than %u", UDP);
	int fd = dial();
	tcp_ask(fd, 1, 200);
	ok(wait_for(&stats.parked_now, UDP + 1), "over TCP there is room");
	move_to(INADDR_LOOPBACK + (1 << 8));
	ask(5000, warm);
	ok(answered(5000, warm), "a warm one is answered meanwhile");
	held = false;
	ok(tcp_answered(fd, 1, 200, WAIT_MS), "and then who waited over TCP");
	ok(wait_for(&stats.parked_now, 0), "none is left");
	close(fd);
	move_to(INADDR_LOOPBACK);
	chill(200);
	held = true;
	ask_often(NET, 200);
	ok(wait_for(&stats.parked_now, NET), "and there is room again");
	held = false;
	while (good < NET && heard(200, WAIT_MS / 10, &rcode) >= 0)
		good += rcode == RCODE_NOERROR;
	/* our own socket may have less room than a worker */
	ok(good >= NET / 4 && wait_for(&stats.parked_now, 0), "whoever waited is answered (%u)", good);
}

/* Longer than a place, whether there is one or not. */
static void test_long(void)
{
	enum { PADDING = 12 }; /* RFC 7830 */
	uint8_t m[512];
	size_t len = question(0, 250, m) + 11;
	unsigned warm = warm_name(0);
	uint64_t parked = stats.parked, full = stats.parked_full;
	chill(250);
	held = true;
	ask_option(1, 250, PADDING, 1500);
	ok(told_tc(1, len), "a padded query for a cold name gets TC");
	ask_option(2, 250, PADDING, 4000 - (unsigned)len);
	ok(told_tc(2, len) && stats.parked == parked && stats.parked_full == full + 2, "however long it is");
	ask_option(3, warm, PADDING, 0);
	ask_option(4, warm, PADDING, 1500);
	for (unsigned i = 3; i < 5; i++) {
		ssize_t n = readable(udp, WAIT_MS) ? recv(udp, m, sizeof m, 0) : -1;
		ok(n > 12 && get_u16(m) == i && get_u16(m + 6) == 1, "one for a warm name is answered");
	}
	int fd = dial();
	tcp_ask(fd, 1, 250);
	ok(wait_for(&stats.parked_now, 1), "over TCP it waits");
	held = false;
	ok(tcp_answered(fd, 1, 250, WAIT_MS) && wait_for(&stats.parked_now, 0), "and is answered");
	close(fd);
}

static void test_tcp(void)
{
	int a = dial(), b = dial();
	unsigned w1 = warm_name(0), w2 = warm_name(700);
	uint64_t parked = stats.parked;
	chill(600);
	held = true;
	tcp_ask(a, 1, w1);
	tcp_ask(a, 2, 600);
	tcp_ask(a, 3, w2);
	ok(tcp_answered(a, 1, w1, WAIT_MS), "what came before a cold query is answered");
	ok(wait_for(&stats.parked, parked + 1), "it waits");
	tcp_ask(b, 1, w2);
	ok(tcp_answered(b, 1, w2, WAIT_MS), "another connection does not");
	ok(!readable(a, SHORT_MS), "what came behind it does");
	held = false;
	ok(tcp_answered(a, 2, 600, WAIT_MS) && tcp_answered(a, 3, w2, WAIT_MS), "then both are answered in order");
	chill(600);
	held = true;
	tcp_ask(a, 4, 600);
	tcp_ask(b, 2, 600);
	ok(wait_for(&stats.parked_now, 2), "two wait");
	struct linger at_once = { 1, 0 };
	setsockopt(a, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	close(a);
	ok(wait_for(&stats.tcp_open, 1), "one of them leaves");
	held = false;
	ok(tcp_answered(b, 2, 600, WAIT_MS) && wait_for(&stats.parked_now, 0), "the other one is answered");
	failing = true;
	chill(600);
	tcp_ask(b, 3, 600);
	uint8_t m[4096];
	ok(readable(b, WAIT_MS) && recv(b, m, sizeof m, 0) > 12 && (m[5] & 15) == RCODE_SERVFAIL, "what the disk doesn't give is SERVFAIL here too");
	failing = false;
	tcp_ask(b, 4, 600);
	ok(tcp_answered(b, 4, 600, WAIT_MS), "and no more than that");
	close(b);
}

static void *release(void *none)
{
	usleep(SHORT_MS * 1000);
	held = false;
	return none;
}

static void test_end(void)
{
	pthread_t t;
	chill(800);
	held = true;
	uint64_t parked = stats.parked;
	for (unsigned i = 0; i < 100; i++)
		ask(i, 800);
	ok(wait_for(&stats.parked, parked + 100), "a hundred wait");
	pthread_create(&t, NULL, release, NULL);
	ok(end_worker(), "the worker ends");
	pthread_join(t, NULL);
	ok(start_worker(), "and another one begins");
	ask(1, 800);
	ok(answered(1, 800) && wait_for(&stats.parked_now, 0), "with nothing of its");
	end_worker();
}

/* With the limiter what is left of a batch is put together elsewhere. */
static void test_limited(void)
{
	unsigned warm = warm_name(0), good = 0;
	conf.rrl = (struct rrl_conf){ .rate = 1000000, .zone_rate = 1000000, .slip = 2, .bits4 = 24, .bits6 = 56, .accounts = 1000,
		                      .workers = 1, .loopback = true };
	ok(start_worker(), "a worker with a limiter");
	chill(900);
	held = true;
	ask(1, warm);
	ask(2, 900);
	ask(3, warm);
	good += answered(1, warm);
	good += answered(3, warm);
	held = false;
	ok(good == 2 && answered(2, 900), "the same");
	end_worker();
}

/* So many at most at RATE a second, and a second's worth at once. */
enum { RATE = 100, NET = 256, MORE = 2000 };
static double most_since(const struct timespec *from)
{
	struct timespec to;
	clock_gettime(CLOCK_MONOTONIC, &to);
	return RATE * (1.1 + (double)(to.tv_sec - from->tv_sec) + (double)(to.tv_nsec - from->tv_nsec) / 1e9);
}

/* TC for want of room is limited by the network, whatever names and zones are asked
 * for: a flood under a forged address is not reflected as it comes. */
static void test_limited_room(void)
{
	struct timespec from;
	conf.rrl.zone_rate = RATE;
	conf.rrl.slip = 0;
	ok(start_worker(), "a worker with little to say to one network");
	chill(1000);
	chill(OTHER);
	held = true;
	ask_often(NET, 1000);
	ok(wait_for(&stats.parked_now, NET), "all its places are taken");
	uint64_t tc = stats.truncated, dropped = stats.rrl_dropped;
	clock_gettime(CLOCK_MONOTONIC, &from);
	ask_often(MORE / 2, 1000);
	ask_often(MORE / 2, OTHER);
	for (unsigned i = 0; i < WAIT_MS && stats.truncated - tc + stats.rrl_dropped - dropped != MORE; i++)
		usleep(1000);
	double most = most_since(&from);
	tc = stats.truncated - tc;
	ok(tc + stats.rrl_dropped - dropped == MORE && tc >= RATE && (double)tc <= most,
	   "of %u queries for names of two zones %u get TC, %u to %.0f; the others are dropped", MORE, (unsigned)tc, RATE, most);
	held = false;
	ok(wait_for(&stats.parked_now, 0) && end_worker(), "who waits is answered");
}

/* What is beyond the limit and not dropped is the same TC. */
static void test_slipped_room(void)
{
	static const struct sip key = { 1, 2 };
	struct timespec from;
	uint8_t m[512];
	uint64_t slipped = stats.rrl_slipped;
	size_t len = question(0, 1000, m) + 11;
	unsigned good = 0;
	conf.rrl.slip = 1;
	conf.cookie_keys[0] = key;
	conf.ncookie_keys = 1;
	ok(start_worker(), "one that drops nothing");
	chill(1000);
	held = true;
	ask_often(NET, 1000);
	ok(wait_for(&stats.parked_now, NET), "all places are taken");
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (unsigned i = 0; i < MORE; i++) {
		ask_option(i, 1000, OPTION_COOKIE, 8);
		good += told_tc(i, len);
	}
	double most = most_since(&from);
	ok(good == MORE && (double)(stats.rrl_slipped - slipped) >= MORE - most,
	   "TC within the limit and beyond, and no cookie that the query had no room for (%u)", good);
	held = false;
	ok(wait_for(&stats.parked_now, 0) && end_worker(), "who waits is answered");
}

int main(void)
{
	if (crypto_init() != 0)
		return 1;
	fault_resident = resident;
	fault_fetch = fetch;
	if (!ok(make_store() && make_reader(), "a store and its reader (%s)", err))
		return tap_done();
	test_looks();
	if (!ok(start_worker(), "a worker"))
		return tap_done();
	test_udp();
	test_index();
	test_room();
	test_long();
	test_failed();
	test_root();
	test_tcp();
	test_end();
	test_limited();
	test_limited_room();
	test_slipped_room();
	store_map_free(map);
	store_close(st);
	key_free(secret);
	return tap_done();
}
