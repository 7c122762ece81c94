/* The policy of announcing, under a simulated clock: what withdraws and how soon,
 * what must not, how often in a quarter of an hour, and what survives a restart. */
#include "main/health.c"
#include "tests/tap.h"

#include <stdlib.h>

#define STEP (100 * MS)

/* A node as health sees it; what is false or 0 is well. */
struct sim {
	struct health h;
	uint64_t now, wall, turns, udp, tcp, head;
	bool still, udp_lost, tcp_lost, first_lost, clients, wrong, list_old, busy, journal_dead;
	unsigned places, announcements, withdrawals;
	uint64_t announced_at[4096], withdrawn_at[4096];
};

static void begin(struct sim *s, const struct health_memory *m, unsigned addresses)
{
	struct health_memory none = { 0 };
	uint64_t now = s->now ? s->now : 5000 * BGP_SEC, wall = s->wall ? s->wall : 1700000000;
	memset(s, 0, sizeof *s);
	s->now = now;
	s->wall = wall;
	health_init(&s->h, now, wall, m ? m : &none, 2, 300);
	for (unsigned i = 0; i < addresses; i++) {
		health_add_place(&s->h, false);
		health_add_place(&s->h, true);
	}
	s->places = 2 * addresses;
	s->h.control_alive = s->h.have_list = true;
	s->h.zones = 3;
	health_dns(&s->h, true);
}

static void step(struct sim *s)
{
	enum bgp_level before = s->h.level;
	s->now += STEP;
	s->turns++;
	s->udp += s->clients ? 100 : 0;
	s->tcp += s->clients ? 10 : 0;
	if (s->turns % 2 == 0) {
		health_answers(&s->h, false, s->udp);
		health_answers(&s->h, true, s->tcp);
	}
	for (unsigned i = 0; s->turns % 2 == 0 && s->h.dns_alive && i < s->places; i++) {
		bool tcp = i & 1, lost = tcp ? s->tcp_lost : s->udp_lost || (s->first_lost && i == 0);
		*(tcp ? &s->tcp : &s->udp) += !lost;
		health_asked(&s->h, tcp, 1);
		health_round(&s->h, i, lost);
	}
	health_wrong(&s->h, s->wrong ? "example. over UDP: REFUSED" : NULL);
	if (s->h.control_alive) {
		s->head += !s->journal_dead && s->turns % 100 == 0;
		health_pulse(&s->h, s->head, !s->list_old && !s->busy, s->list_old ? 0 : (uint32_t)(s->turns / 10));
	}
	for (unsigned i = 0; i < 2; i++)
		health_beats(&s->h, i, s->still && i == 1 ? 7 : s->turns);
	health_judge(&s->h, s->now);
	if (before != BGP_SILENT && s->h.level == BGP_SILENT && s->withdrawals < 4096)
		s->withdrawn_at[s->withdrawals++] = s->now;
	if (before == BGP_SILENT && s->h.level != BGP_SILENT && s->announcements < 4096)
		s->announced_at[s->announcements++] = s->now;
}

static void run(struct sim *s, uint64_t ms)
{
	for (uint64_t t = 0; t < ms; t += 100)
		step(s);
}

/* How long until the level is reached; UINT64_MAX: not within `ms`. */
static uint64_t until(struct sim *s, enum bgp_level level, uint64_t ms)
{
	for (uint64_t t = 0; t <= ms; t += 100) {
		if (s->h.level == level)
			return t;
		step(s);
	}
	return UINT64_MAX;
}

static struct sim s;

static void start_up(void)
{
	begin(&s, NULL, 1);
	health_dns(&s.h, false);
	run(&s, 2000);
	ok(s.h.level == BGP_SILENT && strstr(s.h.why, "does not run"), "nothing is announced without encdns-dns");
	health_dns(&s.h, true);
	s.h.unasked = 3;
	run(&s, 5000);
	ok(s.h.level == BGP_SILENT && strstr(s.h.why, "asked"), "nor before every zone has been asked");
	s.h.unasked = 0;
	ok(until(&s, BGP_FULL, 200) <= 100, "then at once: a start is no flap");
	s.h.unasked = 1;
	run(&s, 60000);
	ok(s.h.level == BGP_FULL, "a new zone that was not asked yet changes nothing");
	s.h.zones = 0;
	ok(until(&s, BGP_SILENT, 1000) <= 100 && strstr(s.h.why, "no zone"), "without zones nothing is announced");
	begin(&s, NULL, 1);
	s.h.have_list = false;
	run(&s, 5000);
	ok(s.h.level == BGP_SILENT && strstr(s.h.why, "told"), "nor before control has said which there are");
}

/* Announced for a while, then this; when and what follows? */
static uint64_t fault(void (*f)(void), bool clients, enum bgp_level level, uint64_t ms)
{
	begin(&s, NULL, 2);
	s.clients = clients;
	run(&s, 30000);
	if (s.h.level != BGP_FULL)
		return UINT64_MAX;
	f();
	return until(&s, level, ms);
}

static void die(void)
{
	health_dns(&s.h, false);
	health_judge(&s.h, s.now);
}
static void stand_still(void) { s.still = true; }
static void lose_udp(void) { s.udp_lost = true; }
static void lose_tcp(void) { s.tcp_lost = true; }
static void lose_all(void) { s.udp_lost = s.tcp_lost = true; }
static void lose_first(void) { s.first_lost = true; }
static void be_wrong(void) { s.wrong = true; }
static void be_wrong_with_old_list(void) { s.wrong = s.list_old = true; }
static void be_wrong_while_busy(void) { s.wrong = s.busy = true; }
static void be_wrong_alone(void)
{
	s.wrong = s.list_old = true;
	s.h.control_alive = false;
}
static void stop_journal(void) { s.journal_dead = true; }
static void lose_control(void) { s.h.control_alive = false; }
static void be_damaged(void) { health_damage(&s.h, 1); }
static void fail_zone(void) { s.h.failed = 1; }

static void faults(void)
{
	ok(fault(die, true, BGP_SILENT, 0) == 0, "encdns-dns dies: withdrawn at once");
	ok(fault(stand_still, true, BGP_SILENT, 5000) <= 1000, "a worker stands still: withdrawn within 1 s");
	ok(fault(lose_udp, false, BGP_SILENT, 5000) <= 1000, "no answer over UDP, and nobody gets one: within 1 s");
	ok(fault(lose_tcp, false, BGP_SILENT, 5000) <= 1000, "the same over TCP");
	ok(fault(be_wrong, true, BGP_SILENT, 5000) <= 1000 && strstr(s.h.why, "REFUSED"), "a wrong answer: within 1 s, and the reason says which");
	ok(fault(be_wrong_alone, true, BGP_SILENT, 5000) <= 1000, "also when control is gone");
	ok(fault(be_wrong_while_busy, true, BGP_SILENT, 5000) <= 1300, "and when zones change all the time: once control has looked again");
	uint64_t late = fault(be_wrong_with_old_list, true, BGP_SILENT, 10000);
	ok(late > 1500 && late <= 3500, "not before control has had time to say that the zone has gone");
	ok(fault(lose_first, true, BGP_SILENT, 10000) <= 5000, "one address of two is deaf, though others are answered");

	ok(fault(lose_all, true, BGP_LESS, 5000) <= 1000, "losses while others are answered: second choice");
	run(&s, 600000);
	ok(s.h.level == BGP_LESS && s.withdrawals == 0 && strstr(s.h.why, "overload"), "never more than that, for as long as it lasts");
	s.udp_lost = s.tcp_lost = false;
	uint64_t calm = until(&s, BGP_FULL, 60000);
	ok(calm >= 9000 && calm <= 11000 && s.h.memory.flaps == 0, "first choice again after 10 s, and no flap");
	s.clients = false;
	s.udp_lost = true;
	ok(until(&s, BGP_SILENT, 5000) <= 1500, "losses without progress are no overload");

	uint64_t stale_after = fault(stop_journal, true, BGP_LESS, 600000);
	ok(stale_after > 280000 && stale_after <= 310000, "a journal that stands still: second choice after 300 s");
	run(&s, 86400000);
	ok(s.h.level == BGP_LESS && s.withdrawals == 0, "and never more, for a day");
	ok(fault(lose_control, true, BGP_LESS, 250000) == UINT64_MAX && s.h.level == BGP_FULL, "control is gone: nothing changes at once");
	run(&s, 86400000);
	ok(s.withdrawals == 0, "and nothing is withdrawn, for a day");
	ok(fault(be_damaged, true, BGP_LESS, 1000) <= 200, "damage in the store: second choice");
	ok(until(&s, BGP_FULL, 120000) > 55000 && s.h.level == BGP_FULL, "for a minute after the last");
	ok(fault(fail_zone, true, BGP_LESS, 1000) <= 200, "a zone that has failed: second choice");
}

static void harmless(void)
{
	begin(&s, NULL, 1);
	run(&s, 10000);
	for (unsigned i = 0; i < 120; i++) { /* an hour */
		s.h.control_alive = false;
		run(&s, 1000);
		s.h.control_alive = true;
		run(&s, 29000);
	}
	ok(s.withdrawals == 0 && s.announcements == 1 && s.h.level == BGP_FULL, "control killed every 30 s causes no cycle");
	s.now += 20 * BGP_SEC; /* this process got no processor */
	health_judge(&s.h, s.now);
	ok(s.h.level == BGP_FULL, "time in which we ourselves stood still accuses nobody");
	s.udp_lost = true;
	run(&s, 300);
	s.udp_lost = false;
	run(&s, 10000);
	ok(s.withdrawals == 0, "two lost rounds are none");
	s.h.planned = true;
	health_dns(&s.h, false);
	run(&s, 1000);
	health_dns(&s.h, true);
	run(&s, 600000);
	ok(s.h.memory.flaps == 0 && s.h.level == BGP_SILENT, "a planned stop is no flap, and nothing is announced any more");
}

/* The most of these times in any quarter of an hour. */
static unsigned most_of(const uint64_t *at, unsigned n)
{
	unsigned most = 0;
	for (unsigned i = 0; i < n; i++) {
		unsigned k = i;
		while (k < n && at[k] - at[i] < HEALTH_SPAN_S * BGP_SEC)
			k++;
		most = k - i > most ? k - i : most;
	}
	return most;
}

/* Of announcing, and of withdrawing, whatever is more. */
static unsigned most_cycles(void)
{
	unsigned a = most_of(s.announced_at, s.announcements), w = most_of(s.withdrawn_at, s.withdrawals);
	return a > w ? a : w;
}

/* What comes and goes, for a quarter of an hour after some in peace: `bad` of every
 * `period` ms.  A control that starts again knows nothing, and takes two
 * seconds until it has told which zones there are. */
struct comer { const char *what; void (*set)(bool bad); uint64_t bad, period; };

static void flap_control(bool bad)
{
	s.h.control_alive = !bad;
	s.list_old = s.h.control_alive && s.turns % 300 < 30;
}
static void flap_worker(bool bad) { s.still = bad; }
static void flap_answers(bool bad) { s.udp_lost = s.tcp_lost = bad; }
static void flap_truth(bool bad) { s.wrong = bad; }
static void flap_dns(bool bad)
{
	if (bad == s.h.dns_alive)
		health_dns(&s.h, !bad);
}

static void flapping_for_a_quarter(void)
{
	static const struct comer t[] = {
		{ "control is killed every 30 s", flap_control, 1000, 30000 },
		{ "control is killed every 2 s", flap_control, 500, 2000 },
		{ "a worker stands still for 1 s every 30 s", flap_worker, 1000, 30000 },
		{ "... every 3 s", flap_worker, 1000, 3000 },
		{ "no answers for 1 s every 30 s", flap_answers, 1000, 30000 },
		{ "... every 2 s", flap_answers, 1000, 2000 },
		{ "every other round is lost", flap_answers, 200, 400 },
		{ "encdns-dns is killed every 30 s", flap_dns, 300, 30000 },
		{ "... every second", flap_dns, 300, 1000 },
		{ "a wrong answer for 2 s every 30 s", flap_truth, 2000, 30000 },
	};
	for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
		begin(&s, NULL, 2);
		run(&s, 1200000);
		uint64_t from = s.now;
		for (uint64_t ms = 0; ms < HEALTH_SPAN_S * 1000; ms += 100) {
			t[i].set(ms % t[i].period < t[i].bad);
			step(&s);
		}
		bool harmless = t[i].set == flap_control || t[i].period == 400;
		ok(harmless ? s.withdrawals == 0 && s.announcements == 1
		            : s.withdrawals >= 1 && s.withdrawals <= HEALTH_CYCLES && s.announcements <= 1 + HEALTH_CYCLES,
		   "15 minutes of: %s: withdrawn %u times, announced again %u times", t[i].what, s.withdrawals, s.announcements - 1);
		t[i].set(false);
		s.list_old = false;
		ok(until(&s, BGP_FULL, 1000000) != UINT64_MAX && s.now - from <= 2 * HEALTH_SPAN_S * BGP_SEC, "and then served again");
	}
}

static void flapping(void)
{
	begin(&s, NULL, 1);
	run(&s, 1000);
	for (uint64_t t = 0; t < 6 * 36000; t++) { /* six hours: it dies as soon as it is announced */
		if (s.h.level != BGP_SILENT) {
			health_dns(&s.h, false);
			step(&s);
			health_dns(&s.h, true);
		}
		step(&s);
	}
	ok(s.announcements >= 3, "a node that always dies again is tried %u times in six hours", s.announcements);
	ok(s.announced_at[1] - s.announced_at[0] >= 10 * BGP_SEC && s.announced_at[2] - s.announced_at[1] >= 20 * BGP_SEC,
	   "the second time after 10 s, the third after 20 s");
	ok(most_cycles() <= HEALTH_CYCLES, "never more than two cycles in a quarter of an hour");
	unsigned flaps = s.h.memory.flaps;
	ok(until(&s, BGP_FULL, 2 * HEALTH_STABLE_MAX_S * 1000) != UINT64_MAX, "once it lives it is announced, within an hour");
	run(&s, HEALTH_SPAN_S * 1000 + 1000);
	ok(s.h.memory.flaps == flaps - 1, "a quarter of an hour in service forgives a flap");
	run(&s, flaps * HEALTH_SPAN_S * 1000);
	ok(s.h.memory.flaps == 0, "in the end all");
}

/* Anything may happen; what must hold always does. */
static void random_faults(unsigned seed)
{
	unsigned unlike = 0, late = 0, bad = 0;
	srand(seed);
	begin(&s, NULL, 2);
	s.clients = true;
	for (uint64_t t = 0; t < 5 * 864000; t++) {
		switch (rand() % 60000) {
		case 0: health_dns(&s.h, false); break;
		case 1: s.still = true; break;
		case 2: s.wrong = true; break;
		case 3: s.udp_lost = true; break;
		case 4: s.clients = !s.clients; break;
		case 5: s.h.control_alive = !s.h.control_alive; break;
		case 6: s.journal_dead = !s.journal_dead; break;
		case 7: s.tcp_lost = true; break;
		}
		if (rand() % 200 == 0) {
			s.still = s.wrong = s.udp_lost = s.tcp_lost = false;
			if (!s.h.dns_alive)
				health_dns(&s.h, true);
		}
		step(&s);
		bad = !s.h.dns_alive || s.still || s.wrong ? bad + 1 : 0;
		late += bad > 11 && s.h.level != BGP_SILENT;
		unlike += (s.h.level == BGP_SILENT) == s.h.memory.announced;
	}
	ok(late == 0, "five days of random faults (%u): every fault was withdrawn for within 1 s", seed);
	ok(most_cycles() <= HEALTH_CYCLES && s.announcements > 10, "in %u announcements never more than two cycles in a quarter of an hour", s.announcements);
	ok(unlike == 0, "what is remembered is what is announced");
}

static void restarts(void)
{
	begin(&s, NULL, 1);
	run(&s, 5000);
	struct health_memory m = s.h.memory;
	ok(m.announced && m.flaps == 0, "announced: remembered");
	begin(&s, &m, 1);
	ok(s.h.memory.flaps == 1, "who finds that at the start has crashed");
	uint64_t t = until(&s, BGP_FULL, 60000);
	ok(t >= 10000 && t <= 11000, "and waits");
	m = s.h.memory;
	s.wall += 20;
	begin(&s, &m, 1);
	t = until(&s, BGP_FULL, 2000000);
	ok(t > 800000 && t <= 900000, "a second crash waits for the quarter of an hour to end (%u s)", (unsigned)(t / 1000));
	m = s.h.memory;
	m.flap_s[0] = m.flap_s[1] = s.wall + 86400 * 365;
	m.announced = false;
	m.flaps = 1;
	begin(&s, &m, 1);
	t = until(&s, BGP_FULL, 2000000);
	ok(t >= 890000 && t <= 901000, "a memory from the future keeps us silent for no longer than that");
	m = (struct health_memory){ .flaps = UINT32_MAX - 1 };
	begin(&s, &m, 1);
	ok(until(&s, BGP_FULL, (HEALTH_STABLE_MAX_S + 2) * 1000) != UINT64_MAX, "nor does any number of flaps for more than an hour");
}

int main(void)
{
	start_up();
	faults();
	harmless();
	flapping();
	flapping_for_a_quarter();
	for (unsigned seed = 1; seed <= 3; seed++)
		random_faults(seed);
	restarts();
	return tap_done();
}
