/* health.c - is this node fit to be sent traffic?  Contract in health.h.
 *
 *   silent --nothing forbids, for the stable time--> less or full
 *   less, full --a fault--> silent (a flap)
 *
 * The stable time is 0 at first and doubles with each flap; whatever happens
 * there are no more than two cycles of announcing and withdrawing in a quarter of an
 * hour, so that routers don't damp us: after the second flap we stay silent until
 * the one before it is that old.
 * What isn't in the table changes nothing: that control is gone is no fault, as
 * encdns-dns goes on with what it has. */
#include "main/health.h"

#include <stdio.h>
#include <string.h>

#define MS UINT64_C(1000000)
#define FEEL_MAX_NS  (250 * MS)  /* of one turn */
#define STILL_NS     (600 * MS)  /* workers turn ten times a second */
#define LOST_ROUNDS  3           /* of 200 ms */
#define FOREIGN_NS   (700 * MS)
#define DEAF_NS      (3 * BGP_SEC)
#define WRONG_NS     (700 * MS)
#define WRONG_MAX_NS (3 * BGP_SEC)
#define LOOK_NS      (50 * MS)
#define DAMAGE_NS    (60 * BGP_SEC)
#define CALM_NS      (10 * BGP_SEC) /* before less becomes full again */

/* ---- the conditions ---- */

static bool held(const struct health *h) { return h->held; }
static bool dns_gone(const struct health *h) { return !h->dns_alive; }

static bool worker_still(const struct health *h)
{
	for (unsigned i = 0; i < h->nworkers; i++)
		if (h->felt_ns - h->beat_ns[i] >= STILL_NS)
			return true;
	return false;
}

static bool no_list(const struct health *h) { return !h->have_list; }
static bool no_zone(const struct health *h) { return h->zones == 0; }
/* Before the first announcement only: new zones come all the time. */
static bool unasked(const struct health *h) { return h->level == BGP_SILENT && h->unasked > 0; }

/* Until control has said that its list is the newest, or has looked once more
 * since then, a zone may just have gone. */
static bool wrong_answer(const struct health *h)
{
	uint64_t age = h->wrong_ns ? h->felt_ns - h->wrong_ns : 0;
	bool newest = h->list_current || !h->control_alive || (h->looked && h->looks != h->wrong_looks);
	return age >= WRONG_MAX_NS || (age >= WRONG_NS && newest);
}

static bool is_lost(const struct health_place *p) { return p->lost >= LOST_ROUNDS; }

/* Are others' questions answered over this transport meanwhile? */
static bool progress(const struct health *h, bool tcp)
{
	return h->foreign_ns[tcp] && h->felt_ns - h->foreign_ns[tcp] < FOREIGN_NS;
}

static bool no_progress(const struct health *h)
{
	for (unsigned i = 0; i < h->nplaces; i++)
		if (is_lost(&h->place[i]) && !progress(h, h->place[i].tcp))
			return true;
	return false;
}

/* Overload loses questions everywhere; one place alone that never answers while
 * others always do is broken. */
static bool deaf_place(const struct health *h)
{
	for (unsigned i = 0; i < h->nplaces; i++) {
		const struct health_place *p = &h->place[i];
		bool others = false;
		for (unsigned k = 0; k < h->nplaces; k++)
			others |= h->place[k].tcp == p->tcp && h->place[k].lost == 0;
		if (is_lost(p) && h->felt_ns - p->lost_ns >= DEAF_NS && others)
			return true;
	}
	return false;
}

static bool overload(const struct health *h)
{
	for (unsigned i = 0; i < h->nplaces; i++)
		if (is_lost(&h->place[i]))
			return true;
	return false;
}

static bool stale(const struct health *h)
{
	return h->stale_limit_s && h->felt_ns - h->news_ns >= h->stale_limit_s * BGP_SEC;
}

static bool damage(const struct health *h)
{
	return h->damaged_ns && h->felt_ns - h->damaged_ns < DAMAGE_NS;
}

static bool failed_zone(const struct health *h) { return h->failed > 0; }

/* In this order; the first that holds decides. */
static const struct condition {
	bool (*holds)(const struct health *h);
	enum bgp_level at_most;
	const char *why;
} conditions[] = {
	{ held,         BGP_SILENT, "withdrawn by an operator" },
	{ dns_gone,     BGP_SILENT, "encdns-dns does not run" },
	{ worker_still, BGP_SILENT, "a worker stands still" },
	{ no_progress,  BGP_SILENT, "our own questions get no answer, and nobody else's do" },
	{ deaf_place,   BGP_SILENT, "a service address never answers, while others do" },
	{ wrong_answer, BGP_SILENT, "a wrong answer" },
	{ no_list,      BGP_SILENT, "encdns-control has not yet told the zones" },
	{ no_zone,      BGP_SILENT, "no zone is served" },
	{ unasked,      BGP_SILENT, "not every zone has been asked yet" },
	{ overload,     BGP_LESS,   "our own questions are lost while others are answered: overload" },
	{ failed_zone,  BGP_LESS,   "a zone has failed or expired" },
	{ damage,       BGP_LESS,   "the store is damaged" },
	{ stale,        BGP_LESS,   "the journal stands still" },
};

static uint64_t wall_s(const struct health *h) { return h->start_s + (h->felt_ns - h->start_ns) / BGP_SEC; }

static void note_flap(struct health *h)
{
	uint64_t *t = h->memory.flap_s;
	memmove(t + 1, t, sizeof h->memory.flap_s - sizeof *t);
	t[0] = wall_s(h);
	h->memory.flaps += h->memory.flaps < UINT32_MAX;
}

/* ---- what is seen ---- */

void health_init(struct health *h, uint64_t now, uint64_t wall, const struct health_memory *m,
                 unsigned workers, uint64_t stale_limit_s)
{
	memset(h, 0, sizeof *h);
	h->last_ns = now;
	h->felt_ns = h->start_ns = h->news_ns = 1;
	h->start_s = wall;
	h->stale_limit_s = stale_limit_s;
	h->nworkers = workers < HEALTH_WORKERS ? workers : HEALTH_WORKERS;
	h->list_current = true;
	h->memory = *m;
	for (unsigned i = 0; i < HEALTH_CYCLES; i++)
		if (h->memory.flap_s[i] > wall)
			h->memory.flap_s[i] = wall; /* the clock went back */
	if (h->memory.announced)
		note_flap(h);
	h->memory.announced = false;
	h->why = "just started";
}

unsigned health_add_place(struct health *h, bool tcp)
{
	h->place[h->nplaces] = (struct health_place){ .tcp = tcp };
	return h->nplaces++;
}

void health_beats(struct health *h, unsigned worker, uint64_t beats)
{
	if (beats != h->beats[worker])
		h->beat_ns[worker] = h->felt_ns;
	h->beats[worker] = beats;
}

/* Ours are taken off: a node that answers itself alone makes no progress. */
void health_answers(struct health *h, bool tcp, uint64_t answers)
{
	if (h->counted && answers - h->answers[tcp] > h->own[tcp])
		h->foreign_ns[tcp] = h->felt_ns;
	h->own[tcp] = 0;
	h->answers[tcp] = answers;
	h->counted |= tcp;
}

void health_asked(struct health *h, bool tcp, unsigned n) { h->own[tcp] += n; }

void health_dns(struct health *h, bool alive)
{
	h->dns_alive = alive;
	health_wrong(h, NULL);
	for (unsigned i = 0; i < h->nplaces; i++)
		h->place[i].lost = 0;
	for (unsigned i = 0; i < h->nworkers; i++)
		h->beat_ns[i] = h->felt_ns;
}

void health_round(struct health *h, unsigned place, bool lost)
{
	struct health_place *p = &h->place[place];
	if (!lost) {
		p->lost = 0;
		return;
	}
	if (p->lost++ == 0)
		p->lost_ns = h->felt_ns;
}

void health_wrong(struct health *h, const char *text)
{
	if (!text) {
		h->wrong_ns = 0;
		h->looked = false;
		return;
	}
	if (h->wrong_ns == 0)
		h->wrong_ns = h->felt_ns;
	snprintf(h->wrong, sizeof h->wrong, "%s", text);
}

void health_pulse(struct health *h, uint64_t head_time, bool list_current, uint32_t looks)
{
	h->looks = looks;
	if (head_time != h->head_time)
		h->news_ns = h->felt_ns;
	h->head_time = head_time;
	h->list_current = list_current;
}

void health_damage(struct health *h, uint64_t damaged)
{
	if (damaged > h->damaged)
		h->damaged_ns = h->felt_ns;
	h->damaged = damaged;
}

/* ---- what follows ---- */

static const struct condition *first_condition(const struct health *h)
{
	for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++)
		if (conditions[i].holds(h))
			return &conditions[i];
	return NULL;
}

static uint64_t stable_ns(const struct health *h)
{
	uint64_t s = HEALTH_STABLE_S;
	if (h->memory.flaps == 0)
		return 0;
	for (uint32_t i = 1; i < h->memory.flaps && s < HEALTH_STABLE_MAX_S; i++)
		s *= 2;
	return (s < HEALTH_STABLE_MAX_S ? s : HEALTH_STABLE_MAX_S) * BGP_SEC;
}

/* Until the oldest of the last flaps is out of the span. */
static uint64_t cycles_wait_s(const struct health *h)
{
	uint64_t oldest = h->memory.flap_s[HEALTH_CYCLES - 1], now = wall_s(h);
	return oldest && h->memory.flaps && oldest + HEALTH_SPAN_S >= now ? oldest + HEALTH_SPAN_S + 1 - now
	                                                                  : 0;
}

uint64_t health_wait_s(const struct health *h)
{
	uint64_t cycles = cycles_wait_s(h), stable = stable_ns(h),
		 good = h->good_ns ? h->felt_ns - h->good_ns : 0;
	uint64_t left = stable > good ? (stable - good + BGP_SEC - 1) / BGP_SEC : 0;
	return h->level != BGP_SILENT ? 0 : cycles > left ? cycles : left;
}

static void announce(struct health *h, enum bgp_level level)
{
	h->level = level;
	h->forgive_ns = h->felt_ns + HEALTH_SPAN_S * BGP_SEC;
	h->memory.announced = true;
}

static void withdraw(struct health *h)
{
	h->level = BGP_SILENT;
	h->memory.announced = false;
	if (!h->planned && !h->held)
		note_flap(h);
}

static void forgive(struct health *h)
{
	if (h->level == BGP_SILENT || h->memory.flaps == 0 || h->felt_ns < h->forgive_ns)
		return;
	h->memory.flaps--;
	h->forgive_ns = h->felt_ns + HEALTH_SPAN_S * BGP_SEC;
}

static void feel(struct health *h, uint64_t now)
{
	uint64_t passed = now > h->last_ns ? now - h->last_ns : 0;
	h->felt_ns += passed < FEEL_MAX_NS ? passed : FEEL_MAX_NS;
	h->last_ns = now;
}

static void explain(struct health *h, const struct condition *c)
{
	if (c && c->holds == wrong_answer)
		snprintf(h->why_text, sizeof h->why_text, "%s: %s", c->why, h->wrong);
	else if (c)
		snprintf(h->why_text, sizeof h->why_text, "%s", c->why);
	else if (h->level == BGP_SILENT)
		snprintf(h->why_text, sizeof h->why_text, "all is well again; waiting, after %u flaps",
		         h->memory.flaps);
	else if (h->level == BGP_LESS)
		snprintf(h->why_text, sizeof h->why_text, "all is well again; waiting a little");
	else
		snprintf(h->why_text, sizeof h->why_text, "all is well");
	h->why = h->why_text;
}

/* A look that had begun before the wrong answer says nothing. */
static void note_looks(struct health *h)
{
	if (h->wrong_ns == 0 || h->looked || h->felt_ns - h->wrong_ns < LOOK_NS)
		return;
	h->looked = true;
	h->wrong_looks = h->looks;
}

enum bgp_level health_judge(struct health *h, uint64_t now)
{
	feel(h, now);
	note_looks(h);
	const struct condition *c = first_condition(h);
	enum bgp_level most = c ? c->at_most : BGP_FULL;
	if (most == BGP_SILENT)
		h->good_ns = 0;
	else if (h->good_ns == 0)
		h->good_ns = h->felt_ns;
	if (most < BGP_FULL)
		h->full_ns = 0;
	else if (h->full_ns == 0)
		h->full_ns = h->felt_ns;

	if (h->level == BGP_SILENT) {
		if (most != BGP_SILENT && !h->planned && health_wait_s(h) == 0)
			announce(h, most);
	} else if (most == BGP_SILENT) {
		withdraw(h);
	} else if (most < h->level || h->felt_ns - h->full_ns >= CALM_NS) {
		h->level = most;
	}
	forgive(h);
	explain(h, c);
	return h->level;
}
