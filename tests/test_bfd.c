/* test_bfd.c - BFD under a simulated clock: packets against RFC 5880's figure, each state
 * by each received state, and two sessions against each other over a path
 * that delays, loses and breaks. */
#include "bgp/bfd.h"
#include "tests/bgphex.h"
#include "tests/tap.h"

#define MS  UINT64_C(1000000)
#define SEC (1000 * MS)

/* ---- packets ---- */

static const char good[] = "20 48 03 18 00000001 00000002 000186a0 000493e0 00000000";

struct row { const char *what, *hex; bool want; };
static const struct row rows[] = {
	{ "a packet", "20 48 03 18 00000001 00000002 000186a0 000493e0 00000000", true },
	{ "with octets behind it", "20 48 03 18 00000001 00000002 000186a0 000493e0 00000000 ffff", true },
	{ "a greater length that is there", "20 48 03 1a 00000001 00000002 000186a0 000493e0 00000000 ffff", true },
	{ "a greater length that is not", "20 48 03 19 00000001 00000002 000186a0 000493e0 00000000", false },
	{ "a lesser length", "20 48 03 17 00000001 00000002 000186a0 000493e0 00000000", false },
	{ "version 0", "00 48 03 18 00000001 00000002 000186a0 000493e0 00000000", false },
	{ "version 2", "40 48 03 18 00000001 00000002 000186a0 000493e0 00000000", false },
	{ "multiplier 0", "20 48 00 18 00000001 00000002 000186a0 000493e0 00000000", false },
	{ "multipoint", "20 49 03 18 00000001 00000002 000186a0 000493e0 00000000", false },
	{ "authentication, which we have not", "20 4c 03 1a 00000001 00000002 000186a0 000493e0 00000000 0102", false },
	{ "no discriminator of its own", "20 48 03 18 00000000 00000002 000186a0 000493e0 00000000", false },
	{ "none of ours, Down", "20 48 03 18 00000001 00000000 000186a0 000493e0 00000000", true },
	{ "none of ours, AdminDown", "20 08 03 18 00000001 00000000 000186a0 000493e0 00000000", true },
	{ "none of ours, Init", "20 88 03 18 00000001 00000000 000186a0 000493e0 00000000", false },
	{ "none of ours, Up", "20 c8 03 18 00000001 00000000 000186a0 000493e0 00000000", false },
};

static void test_packets(void)
{
	uint8_t b[64], out[BFD_LEN];
	struct bfd_packet p;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ok(bfd_parse(b, unhex(b, rows[i].hex), &p) == rows[i].want, "%s", rows[i].what);
	size_t n = unhex(b, good);
	bool all = true;
	for (size_t cut = 0; cut < n; cut++)
		all &= !bfd_parse(b, cut, &p);
	ok(all && n == BFD_LEN, "every truncation is refused");
	bfd_parse(b, n, &p);
	ok(p.state == BFD_DOWN && p.independent && !p.poll && !p.final && !p.demand && p.diag == 0 &&
	   p.mult == 3 &&
	           p.mine == 1 && p.yours == 2 && p.min_tx == 100000 && p.min_rx == 300000 && p.min_echo == 0,
	   "its fields");
	struct wr w = wr_init(out, sizeof out);
	bfd_write(&w, &p);
	ok(!w.bad && memcmp(out, b, BFD_LEN) == 0, "and written again");
	p = (struct bfd_packet){ .diag = 7, .state = BFD_UP, .poll = true, .demand = true, .mult = 5, .mine = 9 };
	w = wr_init(out, sizeof out);
	bfd_write(&w, &p);
	n = unhex(b, "27 e2 05 18 00000009 00000000 00000000 00000000 00000000");
	ok(memcmp(out, b, n) == 0, "poll, demand, diagnostic");
	ok(strcmp(bfd_diag_words(1), "Control Detection Time Expired") == 0 && strcmp(bfd_diag_words(31),
	   "unknown") == 0 &&
	           strcmp(bfd_state_name(BFD_ADMIN_DOWN), "AdminDown") == 0,
	   "words");
}

/* ---- one session ---- */

static const struct bfd_conf conf = { .discriminator = 2, .min_tx_us = 100000, .min_rx_us = 100000,
   .mult = 3 };

static struct bfd_packet theirs(enum bfd_state st)
{
	struct bfd_packet p = { .state = st, .mult = 3, .mine = 1, .yours = 2, .min_tx = 100000, .min_rx = 100000 };
	return p;
}

static enum bfd_event give_ttl(struct bfd *s, uint64_t now, const struct bfd_packet *p, unsigned ttl)
{
	uint8_t b[BFD_LEN];
	struct wr w = wr_init(b, sizeof b);
	bfd_write(&w, p);
	return bfd_receive(s, now, b, sizeof b, ttl);
}
static enum bfd_event give(struct bfd *s, uint64_t now, const struct bfd_packet *p)
{
	return give_ttl(s, now, p, 255);
}

/* In the state, by packets as they would come. */
static void reach(struct bfd *s, enum bfd_state st)
{
	struct bfd_packet p = theirs(BFD_DOWN);
	bfd_init(s, &conf, 7);
	if (st == BFD_ADMIN_DOWN)
		return;
	bfd_start(s, SEC);
	if (st == BFD_DOWN)
		return;
	give(s, SEC, &p);
	p.state = BFD_INIT;
	if (st == BFD_UP)
		give(s, SEC, &p);
}

struct step { enum bfd_state from, heard, to; enum bfd_event event; };
static const struct step steps[] = {
	{ BFD_ADMIN_DOWN, BFD_ADMIN_DOWN, BFD_ADMIN_DOWN, BFD_NOTHING },
	{ BFD_ADMIN_DOWN, BFD_DOWN, BFD_ADMIN_DOWN, BFD_NOTHING },
	{ BFD_ADMIN_DOWN, BFD_INIT, BFD_ADMIN_DOWN, BFD_NOTHING },
	{ BFD_ADMIN_DOWN, BFD_UP, BFD_ADMIN_DOWN, BFD_NOTHING },
	{ BFD_DOWN, BFD_ADMIN_DOWN, BFD_DOWN, BFD_NOTHING },
	{ BFD_DOWN, BFD_DOWN, BFD_INIT, BFD_NOTHING },
	{ BFD_DOWN, BFD_INIT, BFD_UP, BFD_WENT_UP },
	{ BFD_DOWN, BFD_UP, BFD_DOWN, BFD_NOTHING },
	{ BFD_INIT, BFD_ADMIN_DOWN, BFD_DOWN, BFD_NOTHING },
	{ BFD_INIT, BFD_DOWN, BFD_INIT, BFD_NOTHING },
	{ BFD_INIT, BFD_INIT, BFD_UP, BFD_WENT_UP },
	{ BFD_INIT, BFD_UP, BFD_UP, BFD_WENT_UP },
	{ BFD_UP, BFD_ADMIN_DOWN, BFD_DOWN, BFD_CLOSED },
	{ BFD_UP, BFD_DOWN, BFD_DOWN, BFD_FAILED },
	{ BFD_UP, BFD_INIT, BFD_UP, BFD_NOTHING },
	{ BFD_UP, BFD_UP, BFD_UP, BFD_NOTHING },
};

static void test_states(void)
{
	struct bfd s;
	uint8_t out[BFD_LEN];
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		const struct step *t = &steps[i];
		reach(&s, t->from);
		bool there = s.state == t->from;
		struct bfd_packet p = theirs(t->heard);
		enum bfd_event e = give(&s, SEC, &p);
		ok(there && s.state == t->to && e == t->event, "%s hears %s: %s", bfd_state_name(t->from),
		   bfd_state_name(t->heard), bfd_state_name(s.state));
	}
	reach(&s, BFD_UP);
	struct bfd_packet p = theirs(BFD_DOWN);
	give(&s, SEC, &p);
	ok(s.diag == BFD_NEIGHBOR_DOWN && s.failures == 1, "its diagnostic");
	ok(bfd_output(&s, SEC, out) == BFD_LEN && out[0] == (1 << 5 | 3) && out[1] >> 6 == BFD_DOWN,
	   "is told at once");

	reach(&s, BFD_UP);
	for (uint64_t t = SEC; bfd_output(&s, t, out); )
		;
	uint64_t dead = SEC + 300 * MS;
	ok(bfd_tick(&s, dead - 1) == BFD_NOTHING && s.state == BFD_UP, "silence: up to the detection time");
	ok(bfd_tick(&s, dead) == BFD_FAILED && s.state == BFD_DOWN && s.diag == BFD_EXPIRED && s.remote == 0,
	   "and not longer");
	ok(bfd_tick(&s, dead + SEC) == BFD_NOTHING, "once");

	reach(&s, BFD_UP);
	uint64_t n = s.in;
	p = theirs(BFD_DOWN);
	ok(give_ttl(&s, SEC, &p, 254) == BFD_NOTHING && s.state == BFD_UP && s.in == n && s.discarded == 1,
	   "a TTL of 254 comes from elsewhere");
	p.yours = 3;
	ok(give(&s, SEC, &p) == BFD_NOTHING && s.state == BFD_UP && s.discarded == 2,
	   "a discriminator not ours");
	s.conf.multihop = true;
	p.yours = 2;
	ok(give_ttl(&s, SEC, &p, 12) == BFD_FAILED, "several hops (RFC 5883): any TTL");

	reach(&s, BFD_UP);
	bfd_stop(&s, SEC);
	ok(s.state == BFD_ADMIN_DOWN && bfd_output(&s, SEC, out) && out[1] >> 6 == BFD_ADMIN_DOWN &&
	   (out[0] & 31) == 7 &&
	           bfd_tick(&s, 100 * SEC) == BFD_NOTHING,
	   "stopped by us: AdminDown, told");
	bfd_start(&s, 2 * SEC);
	ok(s.state == BFD_DOWN, "and started again");
}

static void test_sending(void)
{
	struct bfd s;
	uint8_t out[BFD_LEN];
	struct bfd_packet p;

	/* jitter: 75 to 100%; with a multiplier of 1, 75 to 90% */
	for (unsigned mult = 1; mult <= 3; mult += 2) {
		struct bfd_conf c = conf;
		c.mult = (uint8_t)mult;
		bfd_init(&s, &c, 1);
		bfd_start(&s, SEC);
		uint64_t last = 0, least = BFD_NEVER, most = 0;
		for (int i = 0; i < 2000; i++) {
			uint64_t t = bfd_due(&s);
			if (bfd_output(&s, t, out) != BFD_LEN || bfd_output(&s, t, out) != 0)
				ok(false, "one packet at a time");
			if (last && t - last < least)
				least = t - last;
			if (last && t - last > most)
				most = t - last;
			last = t;
		}
		uint64_t top = mult == 1 ? 900 * MS : SEC;
		ok(least >= 750 * MS && least < 755 * MS && most <= top && most > top - 5 * MS,
		   "not Up: %.3f to %.3f s apart (multiplier %u)", (double)least / 1e9, (double)most / 1e9, mult);
	}

	struct bfd_conf c = conf;
	c.passive = true;
	bfd_init(&s, &c, 1);
	bfd_start(&s, SEC);
	ok(bfd_due(&s) == BFD_NEVER && bfd_output(&s, 5 * SEC, out) == 0, "passive: silent");
	p = theirs(BFD_DOWN);
	p.yours = 0;
	give(&s, 6 * SEC, &p);
	ok(bfd_output(&s, 6 * SEC, out) == BFD_LEN && get_u32(out + 8) == 1, "until the neighbour speaks");

	reach(&s, BFD_UP);
	while (bfd_output(&s, SEC, out))
		;
	p = theirs(BFD_UP);
	p.min_rx = 0;
	give(&s, SEC, &p);
	ok(bfd_output(&s, 10 * SEC, out) == 0, "a required interval of 0: nothing periodic");
	struct bfd gone = s;
	ok(bfd_tick(&gone, 10 * SEC) == BFD_FAILED && bfd_output(&gone, 10 * SEC, out) == BFD_LEN,
	   "but again once it is lost");
	p.poll = true;
	give(&s, SEC, &p);
	ok(bfd_due(&s) == 0 && bfd_output(&s, SEC, out) == BFD_LEN && (out[1] & 0x30) == 0x10 &&
	   !bfd_output(&s, SEC, out),
	   "but a Final for a Poll");
	p = theirs(BFD_UP);
	p.final = true;
	give(&s, SEC, &p); /* our own Poll Sequence of coming up has ended */
	p.final = false;
	p.demand = true;
	give(&s, SEC, &p);
	ok(bfd_output(&s, SEC + 200 * MS, out) == 0, "demand mode there: nothing periodic");
	p.poll = true;
	give(&s, SEC, &p);
	ok(bfd_output(&s, SEC, out) == BFD_LEN && (out[1] & 0x12) == 0x10,
	   "but answers, and no demand of our own");
	ok(get_u32(out + 20) == 0, "echo is not offered");
	bfd_change(&s, SEC, 200000, 100000);
	ok(bfd_output(&s, SEC + 200 * MS, out) == BFD_LEN && out[1] & 0x20, "and a Poll of our own goes out");

	/* whose interval counts */
	reach(&s, BFD_UP);
	p = theirs(BFD_UP);
	p.min_rx = 250000;
	p.min_tx = 50000;
	p.mult = 5;
	give(&s, SEC, &p);
	ok(bfd_interval_ns(&s) == 250 * MS && bfd_detection_ns(&s) == 500 * MS,
	   "they take slower: we send slower");
	p.min_rx = 10000;
	p.min_tx = 400000;
	give(&s, SEC, &p);
	ok(bfd_interval_ns(&s) == 100 * MS && bfd_detection_ns(&s) == 2000 * MS,
	   "they send slower: we wait longer");
	p.min_rx = p.min_tx = UINT32_MAX;
	p.mult = 255;
	while (bfd_output(&s, SEC, out))
		;
	give(&s, SEC, &p);
	ok(bfd_detection_ns(&s) == 255 * (UINT32_MAX * UINT64_C(1000)) && bfd_due(&s) > SEC,
	   "the greatest values don't overflow");
}

static void test_poll(void)
{
	struct bfd s;
	uint8_t out[BFD_LEN];
	struct bfd_packet p = theirs(BFD_UP), f = theirs(BFD_UP);
	f.final = true;

	reach(&s, BFD_UP);
	ok(bfd_output(&s, SEC, out) && out[1] & 0x20 && get_u32(out + 12) == 100000 &&
	   bfd_interval_ns(&s) == 100 * MS,
	   "coming up: the fast interval at once, by a Poll Sequence");
	give(&s, SEC, &p);
	ok(s.polling, "it goes on without a Final");
	give(&s, SEC, &f);
	ok(!s.polling, "and ends with it");
	give(&s, SEC, &f);
	ok(!s.polling, "a Final too many is nothing");

	bfd_change(&s, SEC, 500000, 100000);
	bfd_output(&s, 2 * SEC, out);
	ok(get_u32(out + 12) == 500000 && out[1] & 0x20 && bfd_interval_ns(&s) == 100 * MS,
	   "slower sending is announced, but not done");
	give(&s, 2 * SEC, &f);
	ok(bfd_interval_ns(&s) == 500 * MS, "until it is confirmed");
	bfd_change(&s, 2 * SEC, 50000, 100000);
	ok(bfd_interval_ns(&s) == 100 * MS && s.polling, "faster at once, as far as they take it");
	give(&s, 2 * SEC, &f);

	p.min_tx = 10000;
	give(&s, 2 * SEC, &p);
	bfd_change(&s, 2 * SEC, 50000, 20000);
	ok(bfd_detection_ns(&s) == 300 * MS, "a shorter detection time waits for the Final");
	give(&s, 2 * SEC, &p);
	ok(bfd_detection_ns(&s) == 300 * MS, "whatever else comes");
	bfd_change(&s, 2 * SEC, 900000, 30000);
	f.min_tx = 10000;
	give(&s, 2 * SEC, &f);
	ok(s.polling && bfd_detection_ns(&s) == 300 * MS && bfd_interval_ns(&s) == 100 * MS,
	   "a change within the sequence: the first Final is not enough");
	give(&s, 2 * SEC, &f);
	ok(!s.polling && bfd_detection_ns(&s) == 90 * MS && bfd_interval_ns(&s) == 900 * MS, "the second is");
	bfd_change(&s, 2 * SEC, 900000, 30000);
	ok(!s.polling, "no change, no Poll");
	bfd_change(&s, 2 * SEC, 900000, 600000);
	ok(bfd_detection_ns(&s) == 1800 * MS, "a longer detection time counts at once");
}

/* ---- two sessions ---- */

#define ROOM 64
struct path {
	struct { uint64_t at; uint8_t to; uint8_t b[BFD_LEN]; } fly[ROOM];
	unsigned n;
	unsigned loss;     /* of 1000 */
	uint64_t delay;
	bool broken[2];    /* toward that side */
	unsigned late;     /* packets that found no room */
};
static struct bfd two[2];
static struct path path;
static uint64_t now;
static unsigned ups[2], fails[2], closes[2];

static void count(unsigned i, enum bfd_event e)
{
	ups[i] += e == BFD_WENT_UP;
	fails[i] += e == BFD_FAILED;
	closes[i] += e == BFD_CLOSED;
}

static void speak(unsigned i)
{
	uint8_t b[BFD_LEN];
	while (bfd_output(&two[i], now, b) == BFD_LEN) {
		if (path.broken[!i] || roll(1000) < path.loss)
			continue;
		if (path.n == ROOM) {
			path.late++;
			continue;
		}
		path.fly[path.n].at = now + path.delay;
		path.fly[path.n].to = !i;
		memcpy(path.fly[path.n++].b, b, BFD_LEN);
	}
}

static void run_to(uint64_t end)
{
	for (;;) {
		uint64_t due = BFD_NEVER;
		unsigned first = ROOM;
		for (unsigned k = 0; k < path.n; k++)
			if (path.fly[k].at < due) {
				due = path.fly[k].at;
				first = k;
			}
		for (unsigned i = 0; i < 2; i++)
			if (bfd_due(&two[i]) < due) {
				due = bfd_due(&two[i]);
				first = ROOM;
			}
		if (due > end)
			break;
		if (due > now)
			now = due;
		if (first < ROOM) {
			unsigned to = path.fly[first].to;
			count(to, bfd_receive(&two[to], now, path.fly[first].b, BFD_LEN, 255));
			memmove(&path.fly[first], &path.fly[first + 1], (--path.n - first) * sizeof path.fly[0]);
		}
		for (unsigned i = 0; i < 2; i++) {
			count(i, bfd_tick(&two[i], now));
			speak(i);
		}
	}
	now = end;
}

static void begin_two(const struct bfd_conf *a, const struct bfd_conf *b)
{
	memset(&path, 0, sizeof path);
	memset(ups, 0, sizeof ups);
	memset(fails, 0, sizeof fails);
	memset(closes, 0, sizeof closes);
	path.delay = 2 * MS;
	now = 50 * SEC;
	bfd_init(&two[0], a, 1);
	bfd_init(&two[1], b, 2);
	bfd_start(&two[0], now);
	bfd_start(&two[1], now);
}

static bool both_up(void) { return two[0].state == BFD_UP && two[1].state == BFD_UP; }

static void test_two(void)
{
	struct bfd_conf a = conf, b = { .discriminator = 99, .min_tx_us = 50000, .min_rx_us = 300000, .mult = 5 };
	begin_two(&a, &b);
	run_to(now + 3 * SEC);
	ok(both_up() && ups[0] == 1 && ups[1] == 1 && !fails[0] && !fails[1], "two sessions come up");
	ok(!two[0].polling && !two[1].polling && two[0].remote == 99 && two[1].remote == 2,
	   "their Poll Sequences end");
	ok(bfd_interval_ns(&two[0]) == 300 * MS && bfd_interval_ns(&two[1]) == 100 * MS &&
	           bfd_detection_ns(&two[0]) == 500 * MS && bfd_detection_ns(&two[1]) == 900 * MS,
	   "each direction has its own interval");
	uint64_t n = two[0].out;
	run_to(now + 300 * SEC);
	n = two[0].out - n;
	ok(n >= 1000 && n <= 1334 && ups[0] == 1 && !path.late, "%llu packets in 300 s",
	   (unsigned long long)n);

	/* one direction breaks: A hears no more, and tells B */
	path.broken[0] = true;
	uint64_t t = now;
	run_to(t + 600 * MS);
	ok(fails[0] == 1 && two[0].diag == BFD_EXPIRED, "one way broken: detected within the detection time");
	ok(fails[1] == 1 && two[1].diag == BFD_NEIGHBOR_DOWN, "and the other side hears of it");
	path.broken[0] = false;
	run_to(now + 5 * SEC);
	ok(both_up() && ups[0] == 2 && ups[1] == 2, "mended: up again");

	/* intervals change, nobody goes down */
	static const uint32_t us[] = { 10000, 2000000, 50000, 300000, 1000, 1000000, 100000 };
	bool kept = true;
	for (unsigned i = 0; i < 200; i++) {
		bfd_change(&two[i & 1], now, us[roll(7)], us[roll(7)]);
		run_to(now + roll(3) * 100 * MS);
		if (i % 10 == 9) {
			run_to(now + 10 * SEC);
			kept &= !two[0].polling && !two[1].polling;
		}
	}
	ok(both_up() && fails[0] == 1 && fails[1] == 1 && kept,
	   "200 changes of intervals, and no failure (%u, %u)", fails[0], fails[1]);

	bfd_change(&two[0], now, 100000, 100000);
	bfd_change(&two[1], now, 100000, 100000);
	run_to(now + 10 * SEC);
	bfd_stop(&two[1], now);
	run_to(now + SEC);
	ok(closes[0] == 1 && fails[0] == 1 && two[0].state == BFD_DOWN,
	   "taken down on purpose: no failure of the path");
	run_to(now + 10 * SEC);
	bfd_start(&two[1], now);
	run_to(now + 5 * SEC);
	ok(both_up(), "and up again");

	/* one side starts anew with another discriminator */
	b.discriminator = 100;
	bfd_init(&two[1], &b, 3);
	bfd_start(&two[1], now);
	run_to(now + 10 * SEC);
	ok(both_up() && two[0].remote == 100, "a neighbour that has started anew is found again");
}

/* Who doesn't know our discriminator may be anybody where the TTL says nothing. */
static void test_strangers(void)
{
	static const enum bfd_state st[] = { BFD_DOWN, BFD_ADMIN_DOWN };
	struct bfd s;
	for (unsigned i = 0; i < 4; i++) {
		reach(&s, BFD_UP);
		s.conf.multihop = i & 1;
		uint64_t dead = s.dead_ns;
		struct bfd_packet p = theirs(st[i >> 1]);
		p.yours = 0;
		p.mine = 77;
		enum bfd_event e = give_ttl(&s, 2 * SEC, &p, 255);
		if (i & 1)
			ok(e == BFD_NOTHING && s.state == BFD_UP && s.remote == 1 && s.dead_ns == dead && s.discarded == 1,
			   "Up, over several hops: %s from one who doesn't know us is not believed", bfd_state_name(p.state));
		else
			ok(e != BFD_NOTHING && s.state == BFD_DOWN, "Up, on one link: it is");
	}
	struct bfd_conf a = conf, b = conf;
	b.discriminator = 99;
	a.multihop = b.multihop = true;
	begin_two(&a, &b);
	run_to(now + 5 * SEC);
	path.broken[0] = true;
	run_to(now + 650 * MS);
	ok(fails[0] == 1 && fails[1] == 1, "one way broken over several hops: both know within two detection times");
	path.broken[0] = false;
	run_to(now + 5 * SEC);
	bfd_init(&two[1], &b, 3);
	two[1].conf.discriminator = 100;
	bfd_start(&two[1], now);
	run_to(now + 5 * SEC);
	ok(both_up() && two[0].remote == 100, "a neighbour there that has started anew is found again");
}

static void test_loss(void)
{
	struct bfd_conf a = conf, b = conf;
	b.discriminator = 1;
	begin_two(&a, &b);
	path.loss = 20;
	run_to(now + 3600 * SEC);
	ok(fails[0] + fails[1] <= 4, "2%% lost for an hour: %u failures of a multiplier of 3",
	   fails[0] + fails[1]);
	path.loss = 600;
	run_to(now + 600 * SEC);
	ok(fails[0] > 10 && ups[0] > 10, "60%%: down and up %u times", fails[0]);
	path.loss = 0;
	run_to(now + 10 * SEC);
	ok(both_up(), "afterwards up");
	path.delay = 70 * MS;
	run_to(now + 600 * SEC);
	ok(both_up(), "with a long way, too");
	unsigned was = fails[0];
	path.broken[0] = path.broken[1] = true;
	uint64_t t = now;
	while (fails[0] == was && now < t + 2 * SEC)
		run_to(now + MS);
	ok(now - t <= 370 * MS, "a dead path is seen after %.0f ms", (double)(now - t) / 1e6);
	run_to(now + 100 * SEC);
	ok(two[0].state == BFD_DOWN && two[1].state == BFD_DOWN, "both down while it lasts");
}

static void test_mutants(void)
{
	unsigned taken = 0, bad = 0;
	struct bfd s;
	for (unsigned i = 0; i < 100000; i++) {
		if (i % 10 == 0)
			reach(&s, (enum bfd_state)roll(4));
		uint8_t b[32], out[BFD_LEN];
		unhex(b, good);
		put_u32(b + 8, roll(4) ? 2 : 0);
		for (unsigned k = roll(5); k; k--)
			b[roll(BFD_LEN)] = (uint8_t)roll(256);
		size_t n = roll(8) ? BFD_LEN : roll(33);
		uint64_t in = s.in, t = SEC + i % 10 * 50 * MS;
		uint8_t *exact = malloc(n ? n : 1);
		if (n > BFD_LEN)
			memset(b + BFD_LEN, 0, n - BFD_LEN);
		memcpy(exact, b, n);
		bfd_receive(&s, t, exact, n, 255);
		free(exact);
		if (s.in != in) {
			taken++;
			bad += n < BFD_LEN || b[2] == 0 || b[0] >> 5 != 1 || b[1] & 5 || get_u32(b + 4) == 0;
		}
		bfd_tick(&s, t);
		unsigned packets = 0;
		while (bfd_output(&s, t, out) && packets < 5)
			packets++;
		bad += packets > 2 || (unsigned)s.state > BFD_UP;
	}
	ok(bad == 0 && taken > 20000 && taken < 90000, "100000 mutated packets: %u taken, %u wrong", taken,
	   bad);
}

int main(void)
{
	test_packets();
	test_states();
	test_sending();
	test_poll();
	test_two();
	test_strangers();
	test_loss();
	test_mutants();
	return tap_done();
}
