/* health.h - from what is seen to what is announced: a policy, without sockets,
 * clock or memory of its own.  The table of conditions is in health.c. */
#ifndef MAIN_HEALTH_H
#define MAIN_HEALTH_H

#include "bgp/fsm.h"

#define HEALTH_WORKERS 64
#define HEALTH_PLACES  128 /* service addresses, over UDP and over TCP */
#define HEALTH_CYCLES  2   /* announced and withdrawn for a fault, in HEALTH_SPAN_S */
#define HEALTH_SPAN_S  900u
#define HEALTH_STABLE_S 10u /* after the first flap; it doubles with each */
#define HEALTH_STABLE_MAX_S 3600u

/* What survives a restart; no secret. */
struct health_memory {
	uint32_t flaps;                 /* withdrawn for a fault; one is forgiven for each span in service */
	bool announced;                 /* a start that finds this set: the last one ended in a crash */
	uint64_t flap_s[HEALTH_CYCLES]; /* the last flaps, newest first, seconds since 1970; 0: none */
};

/* One place's answers: an address over UDP or TCP. */
struct health_place {
	bool tcp;
	unsigned lost;           /* rounds in a row without an answer */
	uint64_t lost_ns;        /* the first of them */
};

/* Times are felt times: what passes while this process itself gets no
 * processor counts for a quarter of a second at most, so that a machine that stood
 * still accuses nobody. */
struct health {
	uint64_t felt_ns, last_ns;      /* felt_ns starts at 1: 0 means never */

	/* as the owner has seen it; set at will */
	bool dns_alive, control_alive, have_list;
	unsigned zones, unasked, failed; /* served; not yet answered since dns began; failed or expired */
	bool list_current;              /* control says so, or there is no control */
	uint64_t stale_limit_s;         /* 0: never */
	char wrong[160];                /* what the wrong answer was */

	/* kept by the functions below */
	unsigned nworkers, nplaces;
	uint64_t beats[HEALTH_WORKERS], beat_ns[HEALTH_WORKERS];
	uint64_t answers[2], own[2];    /* by transport: counted last; questions of ours since then */
	uint64_t foreign_ns[2];         /* when others were seen to be answered */
	bool counted;
	struct health_place place[HEALTH_PLACES];
	uint64_t wrong_ns;              /* the first of unbroken wrong answers; 0: none */
	uint32_t looks, wrong_looks;    /* how often control has compared its list; the same shortly after wrong_ns */
	bool looked;                    /* wrong_looks is set */
	uint64_t news_ns, head_time;    /* the journal: when it was last heard to live */
	uint64_t damaged, damaged_ns;
	uint64_t good_ns;               /* since when nothing forbids announcing; 0: something does */
	uint64_t full_ns;               /* since when nothing asks for less */
	uint64_t forgive_ns;            /* when a flap is forgiven next */
	uint64_t start_ns, start_s;     /* felt, and seconds since 1970 */
	struct health_memory memory;
	bool held;                      /* an operator has withdrawn us */
	bool planned;                   /* leaving: what comes now is no flap */
	enum bgp_level level;
	const char *why;                /* of the level, for people */
	char why_text[240];
};

void health_init(struct health *h, uint64_t now_ns, uint64_t wall_s, const struct health_memory *m,
                 unsigned workers, uint64_t stale_limit_s);
/* A place is probed; returns its number. */
unsigned health_add_place(struct health *h, bool tcp);

/* What a worker counts as its turns. */
void health_beats(struct health *h, unsigned worker, uint64_t beats);
/* We have asked so many questions. */
void health_asked(struct health *h, bool tcp, unsigned n);
/* What all workers have taken in, by transport: between two rounds, when ours are
 * answered or lost. */
void health_answers(struct health *h, bool tcp, uint64_t answers);
/* encdns-dns has ended or begun: all is to be asked anew. */
void health_dns(struct health *h, bool alive);
/* A round of questions to a place is over; lost: the first one had no answer. */
void health_round(struct health *h, unsigned place, bool lost);
/* A wrong answer stands (text), or NULL: all are right. */
void health_wrong(struct health *h, const char *text);
/* Control's pulse: the newest head of the journal, and damage in the store. */
void health_pulse(struct health *h, uint64_t head_time, bool list_current, uint32_t looks);
void health_damage(struct health *h, uint64_t damaged);

/* What is to be announced from now on.  At least every 100 ms. */
enum bgp_level health_judge(struct health *h, uint64_t now_ns);
/* Until it may be announced again if nothing else forbids, seconds; 0: now. */
uint64_t health_wait_s(const struct health *h);

#endif
