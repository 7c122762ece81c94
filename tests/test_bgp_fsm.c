/* test_bgp_fsm.c - the state machine of a BGP neighbour under a simulated clock:
 * each event in each state, timers, what is told, two of our own speakers with each order of
 * events in a collision, and mutated messages. */
#include "tests/bgphex.h"
#include "tests/tap.h"

#include <stdio.h>

#define MS (BGP_SEC / 1000)

static const struct bgp_peer_conf base_conf = {
	.addr = { .family = BGP_V4, .b = { 192, 0, 2, 2 } }, .as = 65001, .peer_as = 65002, .id = 10, .hold_s = 30, .retry_s = 5,
	.retry_max_s = 120, .mode = BGP_DIAL | BGP_LISTEN, .families = BGP_V4, .role = BGP_CUSTOMER,
	.local_pref = 100, .less_local_pref = 50, .less_prepend = 2,
};
static const struct bgp_addr here = { .family = BGP_V4, .b = { 192, 0, 2, 1 } };

/* ---- one machine, its owner played by hand ---- */

struct host {
	struct bgp_peer_conf conf;
	struct bgp_peer p;
	uint64_t now;
	unsigned slot;             /* that messages are fed to */
	unsigned connects, closes, ups, downs;
	unsigned said[6];          /* messages by type */
	unsigned note;             /* the last NOTIFICATION */
	bool broken;               /* it has said what can't be read */
	uint8_t last[BGP_MAX];     /* the last message's body */
	size_t last_len;
	bool blocked;              /* the socket takes nothing */
};
static struct host H;

static void hear_out(struct host *h, unsigned slot)
{
	const uint8_t *b;
	size_t n = bgp_peer_out(&h->p, slot, &b);
	struct rd r = rd_init(b, n);
	struct bgp_message m;
	while (rd_left(&r)) {
		if (bgp_take_message(&r, &m) != 0) {
			h->broken = true;
			break;
		}
		h->said[m.type]++;
		h->last_len = rd_left(&m.body);
		memcpy(h->last, m.body.p, h->last_len);
		struct bgp_note note;
		if (m.type == BGP_NOTIFICATION && bgp_parse_notification(m.body, &note))
			h->note = note.err;
	}
	bgp_peer_sent(&h->p, h->now, slot, n);
	if (n) /* what was sent has made room for more */
		hear_out(h, slot);
}

/* Does what the machine asks for. */
static void serve(struct host *h)
{
	unsigned slot;
	for (;;) {
		for (unsigned i = 0; i < 2 && !h->blocked; i++)
			hear_out(h, i);
		enum bgp_do d = bgp_peer_next(&h->p, &slot);
		if (d == BGP_NOTHING)
			return;
		h->connects += d == BGP_DO_CONNECT;
		h->closes += d == BGP_DO_CLOSE;
		h->ups += d == BGP_WENT_UP;
		h->downs += d == BGP_WENT_DOWN;
	}
}

static void begin(struct host *h, const struct bgp_peer_conf *c)
{
	memset(h, 0, sizeof *h);
	h->conf = *c;
	h->now = 1000 * BGP_SEC;
	bgp_peer_init(&h->p, &h->conf, 42);
}

static void feed(struct host *h, const uint8_t *b, size_t n)
{
	bgp_peer_received(&h->p, h->now, h->slot, b, n);
	serve(h);
}

static void feed_hex(struct host *h, const char *hex)
{
	uint8_t b[BGP_MAX];
	feed(h, b, unhex(b, hex));
}

static struct bgp_open their_open(const struct host *h)
{
	struct bgp_open o = { .as = h->conf.peer_as, .id = 20, .hold = 30, .families = h->conf.families,
		              .role = BGP_NO_ROLE };
	o.refresh = o.as4 = o.v4_by_v6 = true;
	return o;
}

static void feed_open(struct host *h, const struct bgp_open *o)
{
	uint8_t b[256];
	struct wr w = wr_init(b, sizeof b);
	bgp_write_open(&w, o);
	feed(h, b, wr_len(&w));
}

static void feed_keepalive(struct host *h) { feed_hex(h, "M 0013 04"); }

static void tick_to(struct host *h, uint64_t t)
{
	for (;;) {
		uint64_t due = bgp_peer_due(&h->p);
		if (due > t)
			break;
		if (due > h->now)
			h->now = due;
		bgp_peer_tick(&h->p, h->now);
		serve(h);
	}
	h->now = t;
}

static void start(struct host *h)
{
	bgp_peer_start(&h->p, h->now);
	serve(h);
}

static void connected(struct host *h)
{
	bgp_peer_connected(&h->p, h->now, &here);
	serve(h);
}

static bool incoming(struct host *h)
{
	bool yes = bgp_peer_incoming(&h->p, h->now, &here);
	serve(h);
	return yes;
}

static void failed(struct host *h, unsigned slot)
{
	bgp_peer_failed(&h->p, h->now, slot);
	serve(h);
}

static void establish_with(struct host *h, const struct bgp_open *o)
{
	start(h);
	connected(h);
	feed_open(h, o);
	feed_keepalive(h);
}

static enum bgp_state state(const struct host *h) { return bgp_peer_state(&h->p); }

/* ---- each event in each state ---- */

enum { ST, RE, CO, AC, OS, OC, ES, STATES }; /* stopped, resting, and those of the RFC */
static const char *const state_words[] = { "Idle (stopped)", "Idle (resting)", "Connect", "Active",
   "OpenSent",
	                                   "OpenConfirm", "Established" };

static void reach(struct host *h, unsigned st, unsigned slot)
{
	struct bgp_peer_conf c = base_conf;
	if (slot)
		c.mode = BGP_LISTEN;
	begin(h, &c);
	h->slot = slot;
	if (st == ST)
		return;
	start(h);
	if (st == CO)
		return;
	if (st == AC) {
		failed(h, 0);
		return;
	}
	if (slot)
		incoming(h);
	else
		connected(h);
	if (st == RE) {
		feed_hex(h, "M 0013 04");
		h->note = 0;
		return;
	}
	if (st == OS)
		return;
	struct bgp_open o = their_open(h);
	feed_open(h, &o);
	if (st == ES)
		feed_keepalive(h);
}

static void ev_start(struct host *h) { start(h); }
static void ev_stop(struct host *h)
{
	bgp_peer_stop(&h->p, h->now, BGP_SHUTDOWN, "bye");
	serve(h);
}
static void ev_connected(struct host *h) { connected(h); }
static void ev_failed(struct host *h) { failed(h, h->slot); }
static void ev_incoming(struct host *h) { incoming(h); }
static void ev_bfd(struct host *h)
{
	bgp_peer_bfd_down(&h->p, h->now);
	serve(h);
}
static void ev_drain(struct host *h)
{
	bgp_peer_drain(&h->p, h->now, 60 * BGP_SEC, "bye");
	serve(h);
}
static void ev_open(struct host *h)
{
	struct bgp_open o = their_open(h);
	feed_open(h, &o);
}
static void ev_open_as(struct host *h)
{
	struct bgp_open o = their_open(h);
	o.as = 65003;
	feed_open(h, &o);
}
static void ev_open_id(struct host *h)
{
	struct bgp_open o = their_open(h);
	o.id = 0;
	feed_open(h, &o);
}
static void ev_open_hold(struct host *h)
{
	struct bgp_open o = their_open(h);
	o.hold = 2;
	feed_open(h, &o);
}
static void ev_open_role(struct host *h)
{
	struct bgp_open o = their_open(h);
	o.role = BGP_CUSTOMER;
	feed_open(h, &o);
}
static void ev_open_family(struct host *h)
{
	struct bgp_open o = their_open(h);
	o.families = BGP_V6;
	feed_open(h, &o);
}
static void ev_version(struct host *h) { feed_hex(h, "M 001d 01 03 fdea 001e 00000014 00"); }
static void ev_parameter(struct host *h) { feed_hex(h, "M 0020 01 04 fdea 001e 00000014 03 010100"); }
static void ev_keepalive(struct host *h) { feed_keepalive(h); }
static void ev_update(struct host *h) { feed_hex(h, "M 0017 02 0000 0000"); }
static void ev_update_bad(struct host *h) { feed_hex(h, "M 0017 02 0001 0000"); }
static void ev_update_mended(struct host *h) { feed_hex(h, "M 001b 02 0000 0000 18c00002"); }
static void ev_notification(struct host *h) { feed_hex(h, "M 0015 03 0602"); }
static void ev_refresh(struct host *h) { feed_hex(h, "M 0017 05 0001 00 01"); }
static void ev_refresh_bad(struct host *h) { feed_hex(h, "M 0018 05 0001 01 01 00"); }
static void ev_marker(struct host *h) { feed_hex(h, "ffffffffffffffffffffffffffffff7f 0013 04"); }
static void ev_length(struct host *h) { feed_hex(h, "M 0014 04 00"); }
static void ev_type(struct host *h) { feed_hex(h, "M 0013 06"); }
static void ev_part(struct host *h) { feed_hex(h, "M 00"); }
static void ev_now(struct host *h)
{
	bgp_peer_tick(&h->p, h->now);
	serve(h);
}
static void ev_ten(struct host *h)
{
	h->now += 10 * BGP_SEC;
	ev_now(h);
}
static void ev_long(struct host *h)
{
	h->now += 241 * BGP_SEC;
	ev_now(h);
}

#define E(c, s) BGP_ERR(c, s)
struct cell { uint8_t state; unsigned note; };
#define I    { BGP_IDLE, 0 }
#define C    { BGP_CONNECT, 0 }
#define A    { BGP_ACTIVE, 0 }
#define S    { BGP_OPENSENT, 0 }
#define O    { BGP_OPENCONFIRM, 0 }
#define U    { BGP_ESTABLISHED, 0 }
#define N(c, s) { BGP_IDLE, E(c, s) }

struct event_row { const char *what; void (*event)(struct host *); struct cell want[STATES]; };
static const struct event_row events[] = {
	/*                                          ST RE C  A  OpenSent OpenConfirm Established */
	{ "start", ev_start,                      { C, I, C, A, S, O, U } },
	{ "stop", ev_stop,                        { I, I, I, I, N(6, 2), N(6, 2), N(6, 2) } },
	{ "connected", ev_connected,              { I, I, S, A, S, O, U } },
	{ "transport failed", ev_failed,          { I, I, A, A, A, I, I } },
	{ "incoming connection", ev_incoming,     { I, I, S, S, S, O, { BGP_ESTABLISHED, E(6, 7) } } },
	{ "BFD down", ev_bfd,                     { I, I, C, A, N(6, 10), N(6, 10), N(6, 10) } },
	{ "drain", ev_drain,                      { I, I, I, I, N(6, 2), N(6, 2), U } },
	{ "OPEN", ev_open,                        { I, I, C, A, O, N(5, 2), N(5, 3) } },
	{ "OPEN of another AS", ev_open_as,       { I, I, C, A, N(2, 2), N(5, 2), N(5, 3) } },
	{ "OPEN of identifier 0", ev_open_id,     { I, I, C, A, N(2, 3), N(5, 2), N(5, 3) } },
	{ "OPEN of hold time 2", ev_open_hold,    { I, I, C, A, N(2, 6), N(5, 2), N(5, 3) } },
	{ "OPEN of a wrong role", ev_open_role,   { I, I, C, A, N(2, 11), N(5, 2), N(5, 3) } },
	{ "OPEN without our family", ev_open_family, { I, I, C, A, N(2, 7), N(5, 2), N(5, 3) } },
	{ "OPEN of version 3", ev_version,        { I, I, C, A, N(2, 1), N(5, 2), N(5, 3) } },
	{ "OPEN with a parameter", ev_parameter,  { I, I, C, A, N(2, 4), N(5, 2), N(5, 3) } },
	{ "KEEPALIVE", ev_keepalive,              { I, I, C, A, N(5, 1), U, U } },
	{ "UPDATE", ev_update,                    { I, I, C, A, N(5, 1), N(5, 2), U } },
	{ "UPDATE, malformed", ev_update_bad,     { I, I, C, A, N(5, 1), N(5, 2), N(3, 1) } },
	{ "UPDATE, forgiven", ev_update_mended,   { I, I, C, A, N(5, 1), N(5, 2), U } },
	{ "NOTIFICATION", ev_notification,        { I, I, C, A, I, I, I } },
	{ "ROUTE-REFRESH", ev_refresh,            { I, I, C, A, N(5, 1), N(5, 2), U } },
	{ "ROUTE-REFRESH, malformed", ev_refresh_bad, { I, I, C, A, N(5, 1), N(5, 2), N(7, 1) } },
	{ "a broken marker", ev_marker,           { I, I, C, A, N(1, 1), N(1, 1), N(1, 1) } },
	{ "a wrong length", ev_length,            { I, I, C, A, N(1, 2), N(1, 2), N(1, 2) } },
	{ "an unknown type", ev_type,             { I, I, C, A, N(1, 3), N(1, 3), N(1, 3) } },
	{ "part of a header", ev_part,            { I, I, C, A, S, O, U } },
	{ "the clock, nothing due", ev_now,       { I, I, C, A, S, O, U } },
	{ "ten seconds", ev_ten,                  { I, C, C, C, S, O, U } },
	{ "241 seconds", ev_long,                 { I, C, A, C, N(4, 0), N(4, 0), N(4, 0) } },
};
#undef I
#undef C
#undef A
#undef S
#undef O
#undef U

static void test_cell(const struct event_row *e, unsigned st, unsigned slot)
{
	reach(&H, st, slot);
	bool there = state(&H) == (enum bgp_state)(st <= RE ? BGP_IDLE : st - 1) && H.note == 0;
	unsigned closes = H.closes, keepalives = H.said[BGP_KEEPALIVE];
	e->event(&H);
	const struct cell *w = &e->want[st];
	bool good = there && state(&H) == (enum bgp_state)w->state && H.note == w->note && !H.broken;
	/* what has ended is closed, told once, and leaves nothing due but a new try */
	if (st >= OS && w->state < BGP_OPENSENT)
		good &= H.closes == closes + 1 && H.p.conn[slot].state == BGP_IDLE;
	good &= H.ups - H.downs == (state(&H) == BGP_ESTABLISHED);
	if (e->event == ev_ten && st >= OC)
		good &= H.said[BGP_KEEPALIVE] == keepalives + 1;
	if (!good)
		printf("# in %s: %s, NOTIFICATION %u/%u, closed %u\n", state_words[st], bgp_state_name(state(&H)),
		       H.note >> 8, H.note & 255, H.closes);
	ok(good, "%s in %s%s", e->what, state_words[st], slot ? ", their connection" : "");
}

static void test_table(void)
{
	for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
		for (unsigned st = 0; st < STATES; st++)
			test_cell(&events[i], st, 0);
		for (unsigned st = OS; st < STATES; st++)
			if (events[i].event != ev_incoming)
				test_cell(&events[i], st, 1);
	}
}

/* The data that goes with a NOTIFICATION. */
static bool last_is(const char *hex)
{
	uint8_t b[256];
	size_t n = unhex(b, hex);
	return n == H.last_len && memcmp(b, H.last, n) == 0;
}

static void test_data(void)
{
	struct { void (*event)(struct host *); unsigned st; const char *want, *what; } t[] = {
		{ ev_version, OS, "0201 0004", "2/1: our version" },
		{ ev_open_family, OS, "0207 010400010001", "2/7: the family we need" },
		{ ev_length, OC, "0102 0014", "1/2: the length" },
		{ ev_type, ES, "0103 06", "1/3: the type" },
		{ ev_keepalive, OS, "0501 04", "5/1: the message's type (RFC 6608)" },
		{ ev_refresh_bad, ES, "0701 ffffffffffffffffffffffffffffffff 0018 05 0001 01 01 00", "7/1: the message" },
		{ ev_stop, ES, "0602 03 627965", "6/2: the reason" },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		reach(&H, t[i].st, 0);
		t[i].event(&H);
		ok(last_is(t[i].want), "NOTIFICATION %s", t[i].what);
	}
	reach(&H, ES, 0);
	feed_hex(&H, "M 001b 02 0000 0004 40fe0100");
	ok(last_is("0302 40fe0100"), "NOTIFICATION 3/2: the attribute");
	ok(strcmp(H.p.last, "sent: UPDATE Message Error, Unrecognized Well-known Attribute") == 0,
	   "in words: %s", H.p.last);
	reach(&H, ES, 0);
	ev_stop(&H);
	ok(strcmp(H.p.last, "sent: Cease, Administrative Shutdown: \"bye\"") == 0, "in words: %s", H.p.last);
	reach(&H, ES, 0);
	failed(&H, 0);
	ok(!*H.p.last && strcmp(H.p.trouble, "connection closed by the neighbour") == 0, "without one: %s",
	   H.p.trouble);
	reach(&H, ES, 0);
	ok(!H.p.trouble, "and nothing while all is well");
	feed_hex(&H, "M 0019 03 0602 03 627965");
	ok(strcmp(H.p.last, "received: Cease, Administrative Shutdown: \"bye\"") == 0, "in words: %s",
	   H.p.last);
}

/* ---- who it is ---- */

static void test_identity(void)
{
	struct bgp_peer_conf c = base_conf;
	struct bgp_open o;

	c.peer_as = c.as;
	begin(&H, &c);
	start(&H);
	connected(&H);
	ok(H.said[BGP_OPEN] == 1, "iBGP: an OPEN");
	struct bgp_open mine;
	ok(bgp_parse_open(rd_init(H.last, H.last_len), &mine) == 0 && mine.role == BGP_NO_ROLE,
	   "without a role");
	o = their_open(&H);
	o.id = c.id;
	feed_open(&H, &o);
	ok(H.note == E(2, 3), "iBGP: our own identifier");

	begin(&H, &base_conf);
	o = their_open(&H);
	o.id = base_conf.id;
	establish_with(&H, &o);
	ok(state(&H) == BGP_ESTABLISHED, "eBGP: identifiers may be alike (RFC 6286)");

	begin(&H, &base_conf);
	o.role = BGP_PROVIDER;
	establish_with(&H, &o);
	ok(state(&H) == BGP_ESTABLISHED, "a provider for a customer");
	c = base_conf;
	c.role_strict = true;
	begin(&H, &c);
	o.role = BGP_NO_ROLE;
	establish_with(&H, &o);
	ok(H.note == E(2, 11), "strict: the neighbour must tell its role");
	begin(&H, &base_conf);
	start(&H);
	connected(&H);
	feed_hex(&H, "M 002b 01 04 fdea 001e 00000014 0e 020c 010400010001 090100 090103");
	ok(H.note == E(2, 11), "two roles at once");

	/* a neighbour that knows no capabilities: once more without them */
	begin(&H, &base_conf);
	start(&H);
	connected(&H);
	feed_hex(&H, "M 0015 03 0204");
	ok(state(&H) == BGP_IDLE && H.note == 0, "it refuses optional parameters");
	tick_to(&H, H.now + 6 * BGP_SEC);
	ok(state(&H) == BGP_CONNECT, "a pause later");
	connected(&H);
	ok(last_is("04 fde9 001e 0000000a 00"), "our OPEN has none");
	feed_hex(&H, "M 001d 01 04 fdea 001e 00000014 00");
	feed_keepalive(&H);
	ok(state(&H) == BGP_ESTABLISHED && !H.p.conn[0].agreed.as4 && !H.p.conn[0].agreed.refresh,
	   "and that is enough");
	char words[128];
	bgp_peer_words(&H.p, words, sizeof words);
	ok(strcmp(words, "IPv4, 2-octet AS, hold 30 s") == 0, "%s", words);
	failed(&H, 0);
	tick_to(&H, H.now + 20 * BGP_SEC);
	connected(&H);
	ok(H.last_len > 10 && H.last[9] != 0, "the next attempt has them again");
}

/* ---- timers ---- */

static void test_hold(void)
{
	static const uint16_t ours[] = { 0, 3, 30, 90, 65535 }, theirs[] = { 0, 3, 20, 90, 65535 };
	bool agreed = true, jitter = true, expiry = true;
	for (size_t i = 0; i < 5; i++) {
		for (size_t j = 0; j < 5; j++) {
			struct bgp_peer_conf c = base_conf;
			c.hold_s = ours[i];
			begin(&H, &c);
			struct bgp_open o = their_open(&H);
			o.hold = theirs[j];
			establish_with(&H, &o);
			uint64_t hold = ours[i] < theirs[j] ? ours[i] : theirs[j];
			const struct bgp_conn *s = bgp_peer_session(&H.p);
			agreed &= s && s->agreed.hold_s == hold;
			if (hold == 0) {
				agreed &= bgp_peer_due(&H.p) == BGP_NEVER;
				continue;
			}
			uint64_t from = H.now, n = H.said[BGP_KEEPALIVE];
			tick_to(&H, H.now + hold * BGP_SEC - 1);
			n = H.said[BGP_KEEPALIVE] - n;
			jitter &= n >= 2 && n <= 4 && state(&H) == BGP_ESTABLISHED;
			tick_to(&H, from + hold * BGP_SEC);
			expiry &= H.note == E(4, 0) && state(&H) == BGP_IDLE;
		}
	}
	ok(agreed, "hold time: the lesser of both, 0 turns it off");
	ok(jitter, "two to four KEEPALIVEs in a hold time");
	ok(expiry, "and its end to the nanosecond");

	reach(&H, ES, 0);
	uint64_t least = BGP_NEVER, most = 0;
	for (int i = 0; i < 1000; i++) {
		uint64_t due = bgp_peer_due(&H.p) - H.now;
		least = due < least ? due : least;
		most = due > most ? due : most;
		H.now += due;
		ev_now(&H);
		feed_keepalive(&H);
	}
	ok(least >= 7500 * MS && least < 7600 * MS && most <= 10 * BGP_SEC && most > 9900 * MS,
	   "KEEPALIVEs between %.3f and %.3f s", (double)least / 1e9, (double)most / 1e9);
	ok(state(&H) == BGP_ESTABLISHED, "each of theirs begins the hold time again");
}

/* Attempts that fail in each way: never less than a second apart, and fewer and fewer. */
static void test_retry(void)
{
	static const char *const how[] = { "refused", "no answer", "closed in OpenSent", "a wrong AS",
	   "Cease at once" };
	for (unsigned k = 0; k < 5; k++) {
		begin(&H, &base_conf);
		start(&H);
		uint64_t from = H.now, last = 0, least = BGP_NEVER, longest = 0;
		while (H.now < from + 3600 * BGP_SEC) {
			unsigned n = H.connects;
			if (last)
				least = H.now - last < least ? H.now - last : least;
			if (last && H.now - last > longest)
				longest = H.now - last;
			last = H.now;
			if (k >= 2)
				connected(&H);
			if (k == 0 || k == 2)
				failed(&H, 0);
			else if (k == 3)
				ev_open_as(&H);
			else if (k == 4)
				feed_hex(&H, "M 0015 03 0602");
			while (H.connects == n)
				tick_to(&H, bgp_peer_due(&H.p));
		}
		uint64_t most = k < 2 ? 30 : 120, attempt = k == 1 ? 30 : 0;
		ok(least >= BGP_SEC && longest > (attempt + most * 2 / 3) * BGP_SEC &&
		   longest <= (attempt + most) * BGP_SEC && H.connects < 5400 / most,
		   "%s: %u attempts in an hour, %.1f to %.1f s apart", how[k], H.connects, (double)least / 1e9,
		   (double)longest / 1e9);
	}
	/* the owner's own haste */
	begin(&H, &base_conf);
	unsigned n = 0;
	for (uint64_t t = H.now, end = t + 10 * BGP_SEC; t < end; t += 10 * MS) {
		tick_to(&H, t);
		start(&H);
		n = H.connects;
		ev_stop(&H);
	}
	ok(n <= 11, "start and stop 1000 times in 10 s: %u attempts", n);
	/* a session that has held clears the count */
	begin(&H, &base_conf);
	struct bgp_open o = their_open(&H);
	o.hold = 0;
	establish_with(&H, &o);
	H.p.failures = 6;
	failed(&H, 0);
	uint64_t pause = bgp_peer_due(&H.p) - H.now;
	ok(pause > 80 * BGP_SEC, "a short session does not clear the count (%.1f s)", (double)pause / 1e9);
	tick_to(&H, bgp_peer_due(&H.p));
	connected(&H);
	feed_open(&H, &o);
	feed_keepalive(&H);
	tick_to(&H, H.now + 121 * BGP_SEC);
	failed(&H, 0);
	pause = bgp_peer_due(&H.p) - H.now;
	ok(pause <= 5 * BGP_SEC && pause >= BGP_SEC, "a long one does (%.1f s)", (double)pause / 1e9);
}

/* What clears which count. */
static void test_recovery(void)
{
	static const unsigned hold[] = { 0, 3, 30, 90, 200 }, held[] = { 30, 30, 30, 90, 120 };
	bool before = true, after = true;
	for (size_t i = 0; i < 5; i++) {
		for (unsigned late = 0; late < 2; late++) {
			struct bgp_peer_conf c = base_conf;
			c.hold_s = 200;
			begin(&H, &c);
			H.p.failures = 6;
			struct bgp_open o = their_open(&H);
			o.hold = (uint16_t)hold[i];
			establish_with(&H, &o);
			H.p.failures = 6;
			for (unsigned s = 1; s < held[i] + late; s++) {
				tick_to(&H, H.now + BGP_SEC);
				feed_keepalive(&H);
			}
			failed(&H, 0);
			uint64_t pause = H.p.retry_ns - H.now;
			*(late ? &after : &before) &= late ? pause <= 5 * BGP_SEC : pause > 80 * BGP_SEC;
		}
	}
	ok(before, "a session that was shorter than its hold time (30 to 120 s) leaves the long pause");
	ok(after, "one that has outlived it brings back the first one");

	begin(&H, &base_conf);
	start(&H);
	uint64_t end = H.now + 3600 * BGP_SEC;
	while (H.now < end) {
		failed(&H, 0);
		tick_to(&H, bgp_peer_due(&H.p));
	}
	ok(H.p.failures == 0, "an hour without anybody there counts as no failure of a connection");
	connected(&H);
	ev_open_as(&H);
	uint64_t pause = H.p.retry_ns - H.now;
	ok(pause <= 5 * BGP_SEC, "the pause after the first error is the first pause (%.1f s)", (double)pause / 1e9);
	tick_to(&H, H.p.retry_ns);
	failed(&H, 0);
	pause = H.p.retry_ns - H.now;
	ok(pause <= 5 * BGP_SEC && pause >= BGP_SEC, "and a connection has cleared the count of attempts (%.1f s)", (double)pause / 1e9);

	struct bgp_peer_conf c = base_conf;
	c.retry_s = c.retry_max_s = 200;
	begin(&H, &c);
	start(&H);
	failed(&H, 0);
	pause = H.p.retry_ns - H.now;
	ok(pause >= 150 * BGP_SEC && pause <= 200 * BGP_SEC, "a longer retry time of the configuration stays (%.1f s)", (double)pause / 1e9);
}

static void test_modes(void)
{
	struct bgp_peer_conf c = base_conf;
	c.mode = BGP_LISTEN;
	begin(&H, &c);
	start(&H);
	tick_to(&H, H.now + 3600 * BGP_SEC);
	ok(H.connects == 0 && state(&H) == BGP_ACTIVE, "passive: never connects");
	H.slot = 1;
	ok(incoming(&H), "but takes a connection");
	struct bgp_open o = their_open(&H);
	feed_open(&H, &o);
	feed_keepalive(&H);
	ok(state(&H) == BGP_ESTABLISHED, "which comes up");
	failed(&H, 1);
	ok(state(&H) == BGP_IDLE && !incoming(&H), "rests after its loss");
	tick_to(&H, H.now + 6 * BGP_SEC);
	ok(state(&H) == BGP_ACTIVE && incoming(&H), "and listens again");
	ok(!incoming(&H), "one at a time");
	H.now += 6 * BGP_SEC;
	ok(!incoming(&H) && H.note == E(6, 7) && incoming(&H), "a silent one gives way to the next but one");
	c.mode = BGP_DIAL;
	begin(&H, &c);
	start(&H);
	failed(&H, 0);
	ok(!incoming(&H) && state(&H) == BGP_ACTIVE, "active only: takes none");
}

/* ---- what is told ---- */

static struct bgp_set set_of(unsigned n, enum bgp_level level)
{
	struct bgp_set s = { .n = n };
	for (unsigned i = 0; i < n; i++) {
		s.prefix[i] = i % 2 ? prefix(v6(0x20010db8, i), 128) : prefix(v4(10, 0, i, 0), 24);
		s.level[i] = (uint8_t)level;
	}
	return s;
}

static void set(const struct bgp_set *s)
{
	bgp_peer_set(&H.p, H.now, s);
	serve(&H);
}

static struct bgp_seen last_seen(void)
{
	struct bgp_reading r = { H.conf.as == H.conf.peer_as, true, true, BGP_V4 | BGP_V6 };
	struct bgp_seen seen = { 0 };
	struct rd data;
	if (bgp_check_update(rd_init(H.last, H.last_len), &r, &seen, &data) != 0)
		H.broken = true;
	return seen;
}

static bool last_has(const char *hex)
{
	uint8_t b[256];
	return memmem(H.last, H.last_len, b, unhex(b, hex)) != NULL;
}

static void test_levels(void)
{
	reach(&H, ES, 0);
	struct bgp_set s = set_of(1, BGP_FULL);
	ok(H.said[BGP_UPDATE] == 0, "nothing to tell, nothing said");
	set(&s);
	ok(H.said[BGP_UPDATE] == 1 &&
	   last_is("0000 0014 40010100 400206 0201 0000fde9 400304 c0000201 180a0000"),
	   "a prefix, with our own address as next hop");
	set(&s);
	ok(H.said[BGP_UPDATE] == 1, "said once");
	s.level[0] = BGP_LESS;
	set(&s);
	ok(H.said[BGP_UPDATE] == 2 && last_has("40020e 0203 0000fde9 0000fde9 0000fde9"),
	   "as second choice: a longer path");
	s.level[0] = BGP_LEAVING;
	set(&s);
	ok(H.said[BGP_UPDATE] == 3 && last_has("400206 0201 0000fde9") && last_has("c00804 ffff0000"),
	   "leaving: the community of RFC 8326");
	s.level[0] = BGP_SILENT;
	set(&s);
	ok(H.said[BGP_UPDATE] == 4 && last_is("0004 180a0000 0000"), "withdrawn");
	s.level[0] = BGP_FULL;
	set(&s);
	s.n = 0;
	set(&s);
	ok(H.said[BGP_UPDATE] == 6 && last_is("0004 180a0000 0000") && H.p.ntold == 0,
	   "a prefix that leaves the set, too");
	ok(bgp_peer_announced(&H.p) == 0 && !H.broken, "nothing is left");

	struct bgp_peer_conf c = base_conf;
	c.peer_as = c.as;
	begin(&H, &c);
	s = set_of(1, BGP_FULL);
	set(&s);
	struct bgp_open o = their_open(&H);
	o.restart = true;
	establish_with(&H, &o);
	ok(last_is("0000 0015 40010100 400200 400304 c0000201 400504 00000064 180a0000") &&
	   H.said[BGP_UPDATE] == 1,
	   "iBGP: an empty path and LOCAL_PREF");
	s.level[0] = BGP_LESS;
	set(&s);
	ok(last_has("400504 00000032"), "second choice: the lesser preference");
	s.level[0] = BGP_LEAVING;
	set(&s);
	ok(last_has("400504 00000000"), "leaving: none");
}

static void test_end_of_rib(void)
{
	struct bgp_peer_conf c = base_conf;
	c.families = BGP_V4 | BGP_V6;
	c.hop6 = v6(0x20010db8, 1);
	begin(&H, &c);
	start(&H);
	connected(&H);
	struct bgp_set s = set_of(4, BGP_FULL);
	set(&s);
	/* MP for both, refresh, enhanced refresh, AS4, graceful restart */
	feed_hex(&H, "M 0039 01 04 fdea 001e 00000014 1c 021a 010400010001 010400020001 0200 4600 41040000fdea 40020078");
	feed_keepalive(&H);
	ok(H.said[BGP_UPDATE] == 4 && last_seen().end_of_rib == BGP_V6 && !H.broken,
	   "two UPDATEs, and two End-of-RIB for who restarts gracefully");
	char words[128];
	bgp_peer_words(&H.p, words, sizeof words);
	ok(strcmp(words, "IPv4, IPv6, 4-octet AS, route refresh, enhanced refresh, hold 30 s") == 0, "%s",
	   words);
	feed_hex(&H, "M 0017 05 0002 00 01");
	ok(H.said[BGP_UPDATE] == 5 && H.said[BGP_ROUTE_REFRESH] == 2 && last_is("0002 02 01"),
	   "a refresh of one family, framed");
	feed_hex(&H, "M 0017 05 0002 01 01");
	feed_hex(&H, "M 0017 05 0002 07 01");
	feed_hex(&H, "M 0017 05 0019 00 46");
	ok(H.said[BGP_UPDATE] == 5 && H.said[BGP_ROUTE_REFRESH] == 2,
	   "theirs, unknown ones, other families: nothing");
	H.blocked = true;
	H.now += 2 * BGP_SEC;
	for (int i = 0; i < 1000; i++)
		feed_hex(&H, "M 0017 05 0002 00 01");
	const uint8_t *b;
	size_t waits = bgp_peer_out(&H.p, 0, &b);
	ok(waits <= BGP_OUT - BGP_MAX && state(&H) == BGP_ESTABLISHED,
	   "1000 refreshes and none read: %zu octets wait", waits);
	H.blocked = false;
	serve(&H);
	ok(H.said[BGP_ROUTE_REFRESH] % 2 == 0 && last_is("0002 02 01") && !H.broken,
	   "later the last one is whole");
	unsigned n = H.said[BGP_UPDATE];
	s.level[0] = s.level[1] = BGP_SILENT;
	set(&s);
	ok(H.said[BGP_UPDATE] == n + 2 && bgp_peer_announced(&H.p) == 2, "one of each family withdrawn");

	/* who asks all the time is answered once a second, and to the last */
	tick_to(&H, H.now + 2 * BGP_SEC);
	n = H.said[BGP_UPDATE];
	unsigned most = 0;
	for (int i = 0; i < 10000; i++) {
		unsigned before = H.said[BGP_UPDATE];
		feed_hex(&H, i & 1 ? "M 0017 05 0001 00 01" : "M 0017 05 0002 00 01");
		tick_to(&H, H.now + MS);
		most = H.said[BGP_UPDATE] - before > most ? H.said[BGP_UPDATE] - before : most;
	}
	unsigned told = H.said[BGP_UPDATE] - n;
	ok(told >= 18 && told <= 22 && most <= 2, "10000 refreshes in 10 s: %u UPDATEs", told);
	feed_hex(&H, "M 0017 05 0001 00 01");
	n = H.said[BGP_UPDATE];
	tick_to(&H, H.now + BGP_SEC);
	ok(H.said[BGP_UPDATE] > n && H.p.refresh == 0 && state(&H) == BGP_ESTABLISHED, "the last one is answered, too, a second later");
}

static void test_next_hops(void)
{
	struct bgp_peer_conf c = base_conf;
	char words[160];
	struct bgp_set s = set_of(2, BGP_FULL);
	c.families = BGP_V4 | BGP_V6;

	begin(&H, &c);
	set(&s);
	struct bgp_open o = their_open(&H);
	establish_with(&H, &o);
	ok(bgp_peer_announced(&H.p) == 1 && H.said[BGP_UPDATE] == 1,
	   "IPv6 by IPv4 without a next hop: not told");
	bgp_peer_words(&H.p, words, sizeof words);
	ok(strstr(words, "IPv6 without a next hop") != NULL, "%s", words);

	c.hop6 = v6(0x20010db8, 1);
	c.link_local = v6(0xfe800000, 1);
	begin(&H, &c);
	set(&s);
	establish_with(&H, &o);
	ok(bgp_peer_announced(&H.p) == 2 &&
	           last_has("0002 01 20 20010db8000000000000000000000001 fe800000000000000000000000000001 00 80"),
	   "IPv6 by IPv4 with both next hops");

	/* over IPv6 */
	struct bgp_addr at = v6(0xfe800000, 9);
	c = base_conf;
	c.families = BGP_V4;
	for (unsigned offered = 0; offered < 2; offered++) {
		c.v4_by_v6 = offered;
		begin(&H, &c);
		set(&s);
		start(&H);
		bgp_peer_connected(&H.p, H.now, &at);
		serve(&H);
		feed_open(&H, &o);
		feed_keepalive(&H);
		bgp_peer_words(&H.p, words, sizeof words);
		if (offered)
			ok(last_has("800e29 0001 01 20 fe800000000000000000000000000009 fe800000000000000000000000000009 00") &&
			           strstr(words, "IPv4 by IPv6 next hop"),
			   "IPv4 over a link-local session (RFC 8950)");
		else
			ok(bgp_peer_announced(&H.p) == 0 && strstr(words, "IPv4 without a next hop"),
			   "not without the capability");
	}
	s.level[0] = BGP_SILENT;
	set(&s);
	ok(last_is("0000 000a 800f07 0001 01 180a0000"), "and withdrawn the same way");
	c.families = BGP_V4 | BGP_V6;
	begin(&H, &c);
	o.families = BGP_V4;
	establish_with(&H, &o);
	bgp_peer_words(&H.p, words, sizeof words);
	ok(strstr(words, "no IPv6 there") != NULL, "%s", words);
	c = base_conf;
	c.role = BGP_PEER;
	c.has_med = true;
	c.med = 7;
	c.prepend = 1;
	c.ncommunities = c.nlarge = 1;
	c.community[0] = 0xfde90005;
	c.large[0] = (struct bgp_large){ 1, 2, 3 };
	c.as = 4200000001u;
	begin(&H, &c);
	s = set_of(1, BGP_FULL);
	set(&s);
	o.as4 = false;
	establish_with(&H, &o);
	ok(last_is("0000 0045 40010100 400206 0202 5ba0 5ba0 400304 c0000201 800404 00000007 c00804 fde90005"
	           "c0110a 0202 fa56ea01 fa56ea01 c0200c 000000010000000200000003 c02304 fa56ea01 180a0000"),
	   "a policy, to a neighbour of two octets");
}

/* RFC 2545 section 3: which addresses go as the next hop of IPv6, by what we have on
 * the neighbour's link. */
static void test_link_hops(void)
{
	static const char *const global = "20010db8000000000000000000000007", *const local = "fe800000000000000000000000000009",
		                *const other = "20010db8000000000000000000000001";
	struct bgp_addr g = v6(0x20010db8, 7), l = v6(0xfe800000, 9), none = { 0 };
	const struct { const char *what; struct bgp_addr session, global, local; bool configured; const char *first, *second; } t[] = {
		{ "a link-local session with a global address there", l, g, l, false, global, local },
		{ "a link-local session without one", l, none, l, false, local, local },
		{ "a global session on a link", g, g, l, false, global, local },
		{ "a global session over several hops", g, none, none, false, global, NULL },
		{ "a configured next hop on a link", g, g, l, true, other, NULL },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		struct bgp_peer_conf c = base_conf;
		char hex[200];
		c.families = BGP_V6;
		if (t[i].configured)
			c.hop6 = v6(0x20010db8, 1);
		begin(&H, &c);
		struct bgp_set s = set_of(2, BGP_FULL);
		set(&s);
		struct bgp_open o = their_open(&H);
		H.p.link_global = t[i].global;
		H.p.link_local = t[i].local;
		start(&H);
		bgp_peer_connected(&H.p, H.now, &t[i].session);
		serve(&H);
		feed_open(&H, &o);
		feed_keepalive(&H);
		snprintf(hex, sizeof hex, "0002 01 %s %s %s 00 80", t[i].second ? "20" : "10", t[i].first, t[i].second ? t[i].second : "");
		ok(last_has(hex), "next hop of %s: %s octets", t[i].what, t[i].second ? "32" : "16");
	}
}

/* More changes than a neighbour that reads nothing can be told. */
static void test_blocked(void)
{
	struct bgp_peer_conf c = base_conf;
	c.families = BGP_V4 | BGP_V6;
	c.hop6 = v6(0x20010db8, 1);
	c.hold_s = 0;
	begin(&H, &c);
	struct bgp_set s = set_of(BGP_PREFIXES, BGP_FULL);
	set(&s);
	struct bgp_open o = their_open(&H);
	establish_with(&H, &o);
	ok(bgp_peer_announced(&H.p) == BGP_PREFIXES && H.said[BGP_UPDATE] == 2, "64 prefixes in two UPDATEs");
	bool fits = true;
	const uint8_t *b;
	unsigned most = 0;
	for (unsigned round = 0; round < 4000; round++) {
		H.blocked = round % 40 != 39;
		s.n = H.blocked ? 1 + roll(BGP_PREFIXES) : BGP_PREFIXES;
		for (unsigned i = 0; i < s.n; i++)
			s.prefix[i] = prefix(v4(20 + round / 100, round % 100, i, 0), 24);
		set(&s);
		unsigned listed = 0;
		for (unsigned i = 0; i < H.p.ntold; i++)
			listed += H.p.told[i].listed && H.p.told[i].want == BGP_FULL;
		fits &= listed == s.n && bgp_peer_announced(&H.p) <= BGP_PREFIXES;
		fits &= bgp_peer_out(&H.p, 0, &b) <= BGP_OUT - BGP_MAX;
		fits &= H.blocked || (H.p.ntold == BGP_PREFIXES && bgp_peer_announced(&H.p) == BGP_PREFIXES);
		most = H.p.ntold > most ? H.p.ntold : most;
	}
	ok(fits && most > 2 * BGP_PREFIXES - 16 && state(&H) == BGP_ESTABLISHED && !H.broken &&
	   last_has("183b6300"),
	   "4000 changes of all, read now and then: all wait, bounded (%u at most)", most);
	H.blocked = true;
	s.prefix[0] = prefix(v4(99, 0, 0, 0), 8);
	while (bgp_peer_out(&H.p, 0, &b) <= 4096 - 2048) {
		s.level[1] ^= BGP_FULL ^ BGP_LESS;
		bgp_peer_set(&H.p, H.now, &s);
	}
	ev_keepalive(&H);
	ev_update_bad(&H);
	H.blocked = false;
	serve(&H);
	ok(H.note == E(3, 1) && !H.broken, "a NOTIFICATION has room behind a full buffer");

	/* the send hold timer: they speak, but do not read */
	begin(&H, &base_conf);
	o.families = BGP_V4;
	establish_with(&H, &o);
	H.blocked = true;
	uint64_t from = 0;
	while (state(&H) == BGP_ESTABLISHED && H.now < 5000 * BGP_SEC) {
		feed_keepalive(&H);
		tick_to(&H, H.now + BGP_SEC);
		if (!from && bgp_peer_out(&H.p, 0, &b))
			from = H.now;
	}
	ok(H.now - from >= 479 * BGP_SEC && H.now - from <= 482 * BGP_SEC && H.closes == 1 && H.note == 0,
	   "a neighbour that reads nothing is left after %.0f s (RFC 9687)", (double)(H.now - from) / 1e9);
	ok(strcmp(H.p.last, "not sent: Send Hold Timer Expired") == 0, "in words: %s", H.p.last);
	begin(&H, &base_conf);
	establish_with(&H, &o);
	H.blocked = true;
	for (int i = 0; i < 2000; i++) {
		feed_keepalive(&H);
		tick_to(&H, H.now + BGP_SEC);
		if (i % 100 == 0)
			bgp_peer_sent(&H.p, H.now, 0, bgp_peer_out(&H.p, 0, &b) ? 1 : 0);
	}
	ok(state(&H) == BGP_ESTABLISHED, "one that reads slowly is not");
	/* last words into a socket that takes nothing */
	ev_stop(&H);
	ok(!bgp_peer_over(&H.p), "a Cease waits");
	tick_to(&H, H.now + 2 * BGP_SEC);
	ok(bgp_peer_over(&H.p) && H.closes == 1, "but not for long");
}

static void test_drain(void)
{
	reach(&H, ES, 0);
	struct bgp_set s = set_of(1, BGP_FULL);
	set(&s);
	bgp_peer_drain(&H.p, H.now, 5 * BGP_SEC, "disk swap");
	serve(&H);
	ok(last_has("c00804 ffff0000") && bgp_peer_announced(&H.p) == 1, "drain: graceful shutdown first");
	s.level[0] = BGP_LESS;
	set(&s);
	ok(bgp_peer_announced(&H.p) == 1 && H.said[BGP_UPDATE] == 2,
	   "levels above that are not told any more");
	tick_to(&H, H.now + 4999 * MS);
	ok(bgp_peer_announced(&H.p) == 1, "for the whole wait");
	tick_to(&H, H.now + 1 * MS);
	ok(last_is("0004 180a0000 0000") && state(&H) == BGP_ESTABLISHED,
	   "then withdrawn, the session still up");
	tick_to(&H, H.now + 1000 * MS);
	ok(last_is("0602 09 6469736b2073776170") && bgp_peer_over(&H.p), "then the Cease, with its reason");
	tick_to(&H, H.now + 3600 * BGP_SEC);
	ok(H.connects == 1 && bgp_peer_due(&H.p) == BGP_NEVER, "and nothing more");
	start(&H);
	ok(state(&H) == BGP_CONNECT, "until it is started again");
	reach(&H, ES, 0);
	set(&s);
	ev_drain(&H);
	failed(&H, 0);
	ok(bgp_peer_over(&H.p), "a session lost while draining is not tried again");
}

/* ---- two of us ---- */

/* A connection between A (0) and B (1); number k is opened by host k: slot 0
 * there, slot 1 at the other. */
enum { NONE, SYN, ACCEPTED, REFUSED };
struct wire {
	int phase;
	bool told;               /* the opener knows */
	bool open[2], heard[2];  /* this host has its end; it has heard of the other's end */
	uint16_t len[2];         /* octets under way to host i */
	uint8_t q[2][384];
};
struct world {
	struct bgp_peer p[2];
	struct wire w[2];
	bool started[2];
};
static struct bgp_peer_conf two[2];
static uint64_t clock2 = 1000 * BGP_SEC;

static unsigned slot_at(unsigned host, unsigned k) { return host != k; }

static void world_serve(struct world *x, unsigned h)
{
	unsigned slot;
	for (;;) {
		for (unsigned k = 0; k < 2; k++) {
			const uint8_t *b;
			struct wire *w = &x->w[k];
			size_t n = bgp_peer_out(&x->p[h], slot_at(h, k), &b);
			if (n && w->open[h] && w->len[!h] + n <= sizeof w->q[0]) {
				memcpy(w->q[!h] + w->len[!h], b, n);
				w->len[!h] += (uint16_t)n;
			}
			bgp_peer_sent(&x->p[h], clock2, slot_at(h, k), n);
		}
		enum bgp_do d = bgp_peer_next(&x->p[h], &slot);
		if (d == BGP_NOTHING)
			return;
		struct wire *w = &x->w[slot ? !h : h];
		if (d == BGP_DO_CONNECT) {
			memset(w, 0, sizeof *w);
			w->phase = SYN;
			w->open[h] = true;
		} else if (d == BGP_DO_CLOSE) {
			w->open[h] = false;
		}
	}
}

enum { EV_START, EV_ARRIVE, EV_TELL, EV_DELIVER, EV_FIN, EV_KINDS };

/* Can event `kind` happen on connection k toward host h? */
static bool possible(const struct world *x, unsigned kind, unsigned k, unsigned h)
{
	const struct wire *w = &x->w[k];
	switch (kind) {
	case EV_START:
		return k == h && !x->started[h];
	case EV_ARRIVE: /* also one that was broken off meanwhile */
		return h != k && w->phase == SYN;
	case EV_TELL:
		return h == k && w->phase >= ACCEPTED && !w->told && w->open[k];
	case EV_DELIVER:
		return w->len[h] && (h != k || w->told);
	case EV_FIN:
		return w->phase == ACCEPTED && !w->open[!h] && !w->heard[h] && !w->len[h] &&
		       (h != k || w->told || !w->open[h]);
	default:
		return false;
	}
}

static void happen(struct world *x, unsigned kind, unsigned k, unsigned h)
{
	struct wire *w = &x->w[k];
	unsigned o = !k; /* the host that connection k comes to */
	switch (kind) {
	case EV_START:
		x->started[h] = true;
		bgp_peer_start(&x->p[h], clock2);
		break;
	case EV_ARRIVE:
		w->phase = bgp_peer_incoming(&x->p[o], clock2, &here) ? ACCEPTED : REFUSED;
		w->open[o] = w->phase == ACCEPTED;
		break;
	case EV_TELL:
		w->told = true;
		if (w->phase == ACCEPTED)
			bgp_peer_connected(&x->p[k], clock2, &here);
		else
			bgp_peer_failed(&x->p[k], clock2, 0);
		break;
	case EV_DELIVER: {
		unsigned n = get_u16(w->q[h] + 16);
		uint8_t m[384];
		memcpy(m, w->q[h], n);
		memmove(w->q[h], w->q[h] + n, w->len[h] - n);
		w->len[h] -= (uint16_t)n;
		memset(w->q[h] + w->len[h], 0, n);
		if (w->open[h])
			bgp_peer_received(&x->p[h], clock2, slot_at(h, k), m, n);
		break;
	}
	case EV_FIN:
		w->heard[h] = true;
		if (w->open[h])
			bgp_peer_failed(&x->p[h], clock2, slot_at(h, k));
		break;
	}
	world_serve(x, h);
}

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ h >> 29;
}

static uint64_t world_hash(const struct world *x)
{
	uint64_t h = 1;
	for (unsigned i = 0; i < 2; i++) {
		const struct bgp_peer *p = &x->p[i];
		h = mix(h, (uint64_t)p->phase << 8 | (uint64_t)(p->retry_ns != BGP_NEVER) << 1 | x->started[i]);
		for (unsigned s = 0; s < 2; s++)
			h = mix(h, (uint64_t)p->conn[s].state << 1 | p->conn[s].closing);
		const struct wire *w = &x->w[i];
		h = mix(h, (uint64_t)w->phase << 8 | (uint64_t)w->told << 4 | (uint64_t)w->open[0] << 3 |
		                   (uint64_t)w->open[1] << 2 | (uint64_t)w->heard[0] << 1 | w->heard[1]);
		for (unsigned d = 0; d < 2; d++)
			for (unsigned j = 0; j <= w->len[d]; j++)
				h = mix(h, j == w->len[d] ? 999 : w->q[d][j]);
	}
	return h ? h : 1;
}

#define DEPTH 64
static uint64_t seen_worlds[1 << 20];
static unsigned nworlds, nquiet, nboth_dead, nsplit, max_depth;

static bool new_world(const struct world *x)
{
	uint64_t h = world_hash(x);
	for (uint64_t i = h;; i++) {
		uint64_t *at = &seen_worlds[i & ((1 << 20) - 1)];
		if (*at == h)
			return false;
		if (*at == 0) {
			*at = h;
			nworlds++;
			return true;
		}
	}
}

/* Nothing under way any more: one session, the same on both sides? */
static void judge_quiet(const struct world *x)
{
	nquiet++;
	const struct bgp_conn *a = bgp_peer_session(&x->p[0]), *b = bgp_peer_session(&x->p[1]);
	if (!a && !b)
		nboth_dead++;
	else if (!a || !b || (a == x->p[0].conn) == (b == x->p[1].conn))
		nsplit++;
	else if (x->p[0].conn[a == x->p[0].conn].state != BGP_IDLE || x->p[1].conn[b == x->p[1].conn].state != BGP_IDLE)
		nsplit++;
}

static void explore(unsigned depth)
{
	static struct world stack[DEPTH];
	bool quiet = true;
	if (depth > max_depth)
		max_depth = depth;
	if (depth + 1 == DEPTH) {
		nsplit++; /* no end: as bad */
		return;
	}
	if (depth == 0) {
		memset(&stack[0], 0, sizeof stack[0]);
		for (unsigned i = 0; i < 2; i++)
			bgp_peer_init(&stack[0].p[i], &two[i], i);
	}
	for (unsigned e = 0; e < EV_KINDS * 4; e++) {
		if (!possible(&stack[depth], e / 4, e / 2 % 2, e % 2))
			continue;
		quiet = false;
		memcpy(&stack[depth + 1], &stack[depth], sizeof stack[0]);
		happen(&stack[depth + 1], e / 4, e / 2 % 2, e % 2);
		if (new_world(&stack[depth + 1]))
			explore(depth + 1);
	}
	if (quiet)
		judge_quiet(&stack[depth]);
}

static void set_two(uint32_t as_a, uint32_t id_a, uint32_t as_b, uint32_t id_b)
{
	two[0] = two[1] = base_conf;
	two[0].role = two[1].role = BGP_NO_ROLE;
	two[0].as = two[1].peer_as = as_a;
	two[1].as = two[0].peer_as = as_b;
	two[0].id = id_a;
	two[1].id = id_b;
}

/* A neighbour that is not of our kind may confirm one while the other is young. */
static void test_late_collision(void)
{
	reach(&H, OC, 0);
	ok(incoming(&H) && H.note == 0, "the greater identifier connects, too");
	feed_keepalive(&H);
	ok(state(&H) == BGP_ESTABLISHED && H.note == E(6, 7) && H.closes == 1 &&
	   H.p.conn[1].state == BGP_IDLE,
	   "too late: ours is established");
	reach(&H, OC, 0);
	incoming(&H);
	H.slot = 1;
	ev_open(&H);
	ok(state(&H) == BGP_OPENCONFIRM && H.note == E(6, 7) && H.p.conn[0].state == BGP_IDLE,
	   "in time: ours gives way");
}

static void test_collisions(void)
{
	static const struct { const char *what; uint32_t v[4]; } t[] = {
		{ "A's identifier greater", { 65001, 20, 65002, 10 } },
		{ "B's identifier greater", { 65001, 10, 65002, 20 } },
		{ "identifiers alike, B's AS greater", { 65001, 10, 65002, 10 } },
		{ "iBGP", { 65001, 10, 65001, 20 } },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		memset(seen_worlds, 0, sizeof seen_worlds);
		nworlds = nquiet = nboth_dead = nsplit = max_depth = 0;
		set_two(t[i].v[0], t[i].v[1], t[i].v[2], t[i].v[3]);
		explore(0);
		ok(nquiet > 3 && nworlds > 100 && nsplit == 0,
		   "%s: in %u worlds, %u ends, at most one session", t[i].what,
		   nworlds, nquiet);
		ok(nboth_dead == 0, "and always one (%u without, depth %u)", nboth_dead, max_depth);
	}
}

/* With a clock, random orders, losses of connections: they always come back. */
static bool random_life(unsigned steps)
{
	static struct world x;
	memset(&x, 0, sizeof x);
	clock2 = 1000 * BGP_SEC;
	for (unsigned i = 0; i < 2; i++) {
		bgp_peer_init(&x.p[i], &two[i], roll(1000000));
		struct bgp_set s = set_of(4, BGP_FULL);
		bgp_peer_set(&x.p[i], clock2, &s);
	}
	unsigned calm = 0;
	for (unsigned n = 0; n < steps + 4000; n++) {
		bool wild = n < steps;
		bool any = false;
		for (unsigned tries = 0; tries < 40 && !any; tries++) {
			unsigned e = roll(EV_KINDS * 4);
			any = possible(&x, e / 4, e / 2 % 2, e % 2);
			if (any)
				happen(&x, e / 4, e / 2 % 2, e % 2);
		}
		if (wild && roll(200) == 0) { /* a connection breaks */
			unsigned k = roll(2), h = roll(2);
			if (x.w[k].open[h]) {
				bgp_peer_failed(&x.p[h], clock2, slot_at(h, k));
				world_serve(&x, h);
			}
		}
		if (!any || (wild && roll(20) == 0)) {
			uint64_t a = bgp_peer_due(&x.p[0]), b = bgp_peer_due(&x.p[1]);
			uint64_t due = a < b ? a : b;
			if (due != BGP_NEVER && due > clock2)
				clock2 = due;
			for (unsigned h = 0; h < 2; h++) {
				bgp_peer_tick(&x.p[h], clock2);
				world_serve(&x, h);
			}
		}
		bool both = bgp_peer_session(&x.p[0]) && bgp_peer_session(&x.p[1]);
		calm = both && !wild ? calm + 1 : 0;
		if (calm > 300)
			return bgp_peer_announced(&x.p[0]) == 2 && bgp_peer_announced(&x.p[1]) == 2;
	}
	return false;
}

static void test_lives(void)
{
	unsigned good = 0;
	for (unsigned i = 0; i < 200; i++) {
		set_two(65001, 10 + roll(2) * 20, 65002, 20);
		two[0].mode = (uint8_t)(i % 3 == 1 ? BGP_DIAL : BGP_DIAL | BGP_LISTEN);
		good += random_life(1000);
	}
	ok(good == 200, "%u of 200 troubled lives end in a session, with all prefixes told", good);
}

/* ---- mutated messages ---- */

/* A message for any state, then a few octets of it changed. */
static size_t random_message(uint8_t *b)
{
	static const char *const seeds[] = {
		"M 0035 01 04 fdea 001e 00000014 18 0216 010400010001 010400020001 0200 41040000fdea 4600",
		"M 001d 01 04 fdea 001e 00000014 00",
		"M 002d 01 04 fdea 001e 00000014 10 ff 000d 02 000a 010400010001 0506000100010002 090100",
		"M 002f 02 0000 0014 40010100 400206 0201 0000fdea 400304 c0000202 18c00002",
		"M 0063 02 0000 0048 40010100 400208 0203 5ba0 5ba0 5ba0 400304 c6336401 800404 00000064"
		"c00808 fde90001 ffff0000 c0110e 0203 fa56ea01 fa56ea01 fa56ea01 c0200c 0000fde9 00000001 00000002 18c00002",
		"M 0051 02 0000 003a 800e2a 0002 01 20 20010db8000000000000000000000001"
		"fe800000000000000000000000000001 00 2020010db8 40010100 400206 0201 0000fdea",
		"M 0022 02 0000 000b 800f08 0002 01 2020010db8",
		"M 0013 04",
		"M 0017 05 0001 00 01",
		"M 0019 03 0602 03627965",
	};
	size_t n = unhex(b, seeds[roll(sizeof seeds / sizeof *seeds)]);
	for (unsigned i = roll(4); i; i--) {
		size_t at = roll(6) ? 16 + roll((uint32_t)n - 16) : roll(16);
		b[at] = roll(2) ? (uint8_t)roll(256) : (uint8_t)(b[at] ^ 1u << roll(8));
	}
	return n;
}

static bool prefixes_fit(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p <= 32)
		p += 1 + (*p + 7) / 8;
	return p == end;
}

/* Does RFC 7606 leave no other way than the end of the session?  Sections 3, 4 and 5.3:
 * it must be where lengths hide prefixes or these can't be read; it may be where
 * attributes carry some (14 and 15: whatever is wrong there) or one is unknown and
 * well-known; never else. */
enum { NEVER, MAY, MUST };
static int reset_due(const uint8_t *b)
{
	static const uint64_t known = UINT64_C(1) << 32 | UINT64_C(1) << 35 | 0x7c7fe;
	const uint8_t *p = b + 19, *end = b + get_u16(b + 16);
	if (end - p < 4 || get_u16(p) > end - p - 4 || get_u16(p + 2 + get_u16(p)) > end - p - 4 - get_u16(p))
		return MUST;
	const uint8_t *a = p + 4 + get_u16(p), *last = a + get_u16(a - 2);
	if (!prefixes_fit(p + 2, a - 2) || !prefixes_fit(last, end))
		return MUST;
	while (last - a >= 2) {
		unsigned head = a[0] & 0x10 ? 4 : 3;
		if (a[1] == 14 || a[1] == 15 || (!(a[0] & 0x80) && (a[1] > 35 || !(known >> a[1] & 1))))
			return MAY;
		if (last - a < head || last - a - head < (head == 4 ? get_u16(a + 2) : a[2]))
			return NEVER; /* the total length still holds */
		a += head + (head == 4 ? get_u16(a + 2) : a[2]);
	}
	return NEVER;
}

/* May this NOTIFICATION answer this message in this state? */
static bool right_answer(enum bgp_state st, const uint8_t *b, size_t n, unsigned note)
{
	static const uint8_t ff[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		                        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	unsigned len = get_u16(b + 16), type = b[18];
	if (memcmp(b, ff, 16) != 0)
		return note == E(1, 1);
	if (len < 19 || len > 4096)
		return note == E(1, 2);
	if (type < 1 || type > 5)
		return note == E(1, 3);
	static const uint8_t least[] = { 0, 29, 23, 21, 19, 23 };
	if (len < least[type] || (type == 4 && len != 19))
		return note == E(1, 2);
	if (len > n)
		return note == 0; /* it waits */
	if (len < n && note >> 8 == 1)
		return true; /* rest of the message is no header */
	if (type == 3)
		return note == 0;
	if (st == BGP_OPENSENT)
		return type == 1 ? note == 0 || note >> 8 == 2 : note == E(5, 1);
	if (st == BGP_OPENCONFIRM)
		return type == 4 ? note == 0 : note == E(5, 2);
	return type == 2   ? (note == 0 ? reset_due(b) != MUST : note >> 8 == 3 && reset_due(b) != NEVER)
	       : type == 5 ? note == 0 || note >> 8 == 7
	       : type == 4 ? note == 0
	                   : note == E(5, 3);
}

static void test_mutants(void)
{
	unsigned wrong = 0, notes = 0, alive = 0, mended = 0;
	static struct host fresh[3];
	for (unsigned i = 0; i < 3; i++) {
		reach(&fresh[i], OS + i, 0);
		fresh[i].p.conf = &H.conf;
	}
	H.conf = fresh[0].conf;
	for (unsigned i = 0; i < 100000; i++) {
		unsigned k = roll(3);
		H = fresh[k];
		enum bgp_state st = state(&H);
		uint8_t b[512];
		size_t n = random_message(b);
		/* in memory of its size, in one piece or two */
		uint8_t *exact = malloc(n);
		memcpy(exact, b, n);
		size_t part = roll((uint32_t)n + 1);
		feed(&H, exact, part);
		feed(&H, exact + part, n - part);
		free(exact);
		bool end = H.closes != fresh[k].closes;
		bool good = !H.broken && right_answer(st, b, n, H.note);
		/* an end has a reason: ours, or theirs */
		if (end != (H.note != 0 || (b[18] == 3 && get_u16(b + 16) >= 21 && get_u16(b + 16) <= n &&
		   b[0] == 0xff)))
			good = false;
		if (!good && wrong++ < 5) {
			printf("# in %s, NOTIFICATION %u/%u after ", bgp_state_name(st), H.note >> 8, H.note & 255);
			for (size_t j = 0; j < n; j++)
				printf("%02x", b[j]);
			printf("\n");
		}
		notes += H.note != 0;
		alive += !end;
		mended += !end && H.p.counts.mended;
	}
	ok(wrong == 0 && notes > 10000 && alive > 10000,
	   "100000 mutated messages: %u answered, %u taken, %u wrong", notes,
	   alive, wrong);
	ok(mended > 1000, "%u UPDATEs with errors that RFC 7606 forgives ended no session", mended);
}

/* ---- the speaker ---- */

static struct bgp speaker;

static void test_speaker(void)
{
	struct bgp_peer_conf c = { .addr = v4(192, 0, 2, 1), .as = 65001, .peer_as = 65002, .id = 1,
	   .hold_s = 90,
		                   .retry_s = 5, .retry_max_s = 120, .mode = BGP_DIAL | BGP_LISTEN,
		                   .families = BGP_V4, .role = BGP_NO_ROLE };
	struct bgp_prefix p = prefix(v4(192, 0, 2, 0), 24), q = prefix(v6(0x20010db8, 1), 128);
	bgp_init(&speaker);
	ok(!bgp_add_prefix(&speaker, &p) && !bgp_add_prefix(&speaker, &q) && speaker.set.n == 2, "prefixes");
	ok(bgp_add_prefix(&speaker, &p) != NULL, "not one twice");
	p = prefix(v4(192, 0, 2, 1), 24);
	ok(bgp_add_prefix(&speaker, &p) != NULL, "none with bits beyond its length");
	p = prefix(v4(192, 0, 2, 1), 33);
	ok(bgp_add_prefix(&speaker, &p) != NULL, "none of 33 bits");
	for (unsigned i = 2; i < BGP_PREFIXES; i++) {
		p = prefix(v4(10, i, 0, 0), 16);
		bgp_add_prefix(&speaker, &p);
	}
	p = prefix(v4(11, 0, 0, 0), 8);
	ok(speaker.set.n == BGP_PREFIXES && bgp_add_prefix(&speaker, &p) != NULL, "no more than %d",
	   BGP_PREFIXES);

	for (unsigned i = 0; i < BGP_PEERS; i++) {
		c.addr = v4(192, 0, 2, i);
		if (bgp_add_peer(&speaker, &c, i))
			ok(false, "a neighbour");
	}
	c.addr = v4(192, 0, 3, 0);
	ok(bgp_add_peer(&speaker, &c, 1) != NULL, "no more than %d neighbours", BGP_PEERS);
	struct bgp_addr a = v4(192, 0, 2, 17), none = v4(192, 0, 3, 0), other = v6(0xc0000211, 0);
	ok(bgp_find_peer(&speaker, &a) == &speaker.peer[17] && !bgp_find_peer(&speaker, &none) &&
	           !bgp_find_peer(&speaker, &other),
	   "found by address");
	speaker.npeers = 5;
	c.addr = v4(192, 0, 2, 1);
	ok(bgp_add_peer(&speaker, &c, 1) != NULL, "no neighbour twice");
	ok(bgp_over(&speaker) && bgp_due(&speaker) == BGP_NEVER, "nothing to do before the start");
	bgp_start(&speaker, 1000);
	ok(!bgp_over(&speaker) && bgp_due(&speaker) == 1000 + 30 * BGP_SEC, "attempts after it");
	bgp_announce_all(&speaker, 1000, BGP_FULL);
	bgp_announce(&speaker, 1000, 3, BGP_SILENT);
	ok(speaker.peer[4].ntold == BGP_PREFIXES && speaker.peer[4].told[3].want == BGP_SILENT &&
	           speaker.peer[4].told[2].want == BGP_FULL,
	   "levels reach the neighbours");
	bgp_drain(&speaker, 2000, BGP_SEC, "moving");
	bgp_tick(&speaker, 2000);
	ok(bgp_over(&speaker) && bgp_due(&speaker) == BGP_NEVER,
	   "and a drain without a session is over at once");
}

struct wrong_row { const char *what; struct bgp_peer_conf c; };
#define GOOD .as = 1, .peer_as = 2, .id = 1, .hold_s = 90, .retry_s = 5, .retry_max_s = 120, .mode = BGP_DIAL, \
	     .families = BGP_V4, .role = BGP_NO_ROLE
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static const struct wrong_row wrongs[] = {
	{ "AS 0", { GOOD, .as = 0 } },
	{ "the neighbour's AS 0", { GOOD, .peer_as = 0 } },
	{ "AS 23456", { GOOD, .as = BGP_AS_TRANS } },
	{ "identifier 0", { GOOD, .id = 0 } },
	{ "hold time 2", { GOOD, .hold_s = 2 } },
	{ "retry time 0", { GOOD, .retry_s = 0 } },
	{ "a falling retry time", { GOOD, .retry_max_s = 4 } },
	{ "no mode", { GOOD, .mode = 0 } },
	{ "no family", { GOOD, .families = 0 } },
	{ "a third family", { GOOD, .families = 4 } },
	{ "role 5", { GOOD, .role = 5 } },
	{ "a path of 33", { GOOD, .prepend = 16, .less_prepend = 16 } },
	{ "32 communities", { GOOD, .ncommunities = 32 } },
	{ "a next hop of another family", { GOOD, .hop4 = { .family = BGP_V6, .b = { 0 } } } },
};
#pragma GCC diagnostic pop

static void test_conf(void)
{
	static const struct bgp_peer_conf good = { GOOD };
	ok(!bgp_conf_wrong(&good), "a good configuration");
	for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++)
		ok(bgp_conf_wrong(&wrongs[i].c) != NULL, "refused: %s", wrongs[i].what);
}

int main(void)
{
	test_table();
	test_data();
	test_identity();
	test_hold();
	test_retry();
	test_recovery();
	test_modes();
	test_levels();
	test_end_of_rib();
	test_next_hops();
	test_link_hops();
	test_blocked();
	test_drain();
	test_late_collision();
	test_collisions();
	test_lives();
	test_mutants();
	test_speaker();
	test_conf();
	return tap_done();
}
