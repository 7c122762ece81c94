/* repair.c - what control does about damage in the store.
 *
 * States: sound -> waiting (damage was met; the pause since the last repair is not
 * over, or there is no hub to ask) -> fetching (the hub sends the zone again, into
 * a new instance beside the damaged one; all that can be read is answered) -> sound.
 * Pauses grow from 10 s to an hour, so that a disk that fails for good doesn't keep
 * hub and disk busy; an hour without damage makes them short again.
 * Damage that is not one zone's (catalog, index) can't be mended beside what there
 * is: the supervisor has a store filled anew.
 * Threat: encdns-dns, who may be taken over and cry wolf: a zone comes again at
 * most once a pause, and of the catalog only our own eyes are believed. */
#include "main/node.h"

#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define PAUSE_MIN_NS 10000000000ull
#define PAUSE_MAX_NS 3600000000000ull

/* Damage that workers met since the last look; *where: the last one's. */
static uint64_t met(struct repair *r, const struct node *n, uint64_t *where)
{
	uint64_t all = 0;
	for (unsigned i = 0; i < n->conf.workers; i++) {
		const struct dns_stats *s = &worker_page(n, i)->stats;
		uint64_t now = atomic_load_explicit(&s->damaged, memory_order_relaxed);
		if (now == r->seen[i])
			continue;
		all += now - r->seen[i];
		r->seen[i] = now;
		*where = atomic_load_explicit(&s->damaged_where, memory_order_relaxed);
	}
	return all;
}

void repair_init(struct repair *r, const struct node *n)
{
	uint64_t where;
	*r = (struct repair){ .filling = n->filling };
	met(r, n, &where); /* our predecessor's business; what matters comes again */
}

/* A worker may tell late of what has come again already. */
static void note(struct repair *r, struct store *st, uint32_t inst)
{
	struct store_zone z;
	if (inst != r->wanted && store_zone_of(st, inst, &z) != STORE_ABSENT)
		r->wanted = inst;
}

static void begin(struct repair *r, struct journal *j, uint32_t inst, uint64_t now)
{
	if (now < r->next_ns || !journal_repair(j, inst))
		return;
	if (!r->pause_ns || now - r->next_ns > PAUSE_MAX_NS)
		r->pause_ns = PAUSE_MIN_NS;
	r->next_ns = now + r->pause_ns;
	r->pause_ns = r->pause_ns * 2 < PAUSE_MAX_NS ? r->pause_ns * 2 : PAUSE_MAX_NS;
	r->wanted = 0;
}

bool repair_look(struct repair *r, struct store *st, struct journal *j, const struct node *n, uint64_t now)
{
	uint64_t where = 0, damaged = met(r, n, &where);
	struct journal_status js;
	journal_status_get(j, &js);
	if (damaged)
		log_limited(LOG_ERROR, "ALARM: %llu queries met damage in the store and got SERVFAIL%s",
		            (unsigned long long)damaged,
		            where == DAMAGED_CATALOG ? ", in the catalog of zones" : "");
	if (damaged && where == DAMAGED_CATALOG && store_catalog_look(st) == STORE_DAMAGED)
		return false;
	if (damaged && where && where < DAMAGED_CATALOG)
		note(r, st, (uint32_t)where);
	else if (js.behind && !js.wanted)
		r->wanted = js.behind;
	r->now_ns = now;
	r->asking = js.wanted != 0;
	if (r->wanted && !js.wanted)
		begin(r, j, r->wanted, now);
	return true;
}

void repair_event(struct repair *r, const uint8_t *zone, bool done, const char *why, uint64_t now)
{
	name_text(zone, r->zone);
	if (done) {
		r->done++;
		r->fetching = false;
		log_say(LOG_NOTICE,
		        "zone %s was fetched again from the hub, in %.1f s: what was damaged is whole",
		        r->zone, (double)(now - r->begun_ns) / 1e9);
	} else if (why) {
		r->failed++;
		r->fetching = false;
		log_say(LOG_ERROR,
		        "zone %s could not be fetched again: %s; what can be read of it is served, and it is "
		        "tried again later",
		        r->zone, why);
	} else {
		r->begun++;
		r->fetching = true;
		r->begun_ns = now;
		log_say(LOG_WARNING,
		        "data of zone %s is damaged on the disk: fetching the zone again from the hub; what "
		        "can be read is served meanwhile",
		        r->zone);
	}
}

static const char *state(const struct repair *r)
{
	if (r->filling)
		return "filling";
	return r->fetching ? "fetching" : r->wanted || r->asking ? "waiting" : "none";
}

static uint64_t wait_s(const struct repair *r)
{
	return r->wanted && r->next_ns > r->now_ns ? (r->next_ns - r->now_ns) / 1000000000 + 1 : 0;
}

void repair_print(const struct repair *r, struct ctl_conn *c, bool json)
{
	if (json) {
		char text[2 * NAME_TEXT_MAX], *o = text;
		for (const char *p = r->zone; *p; p++) {
			if (*p == '\\' || *p == '"')
				*o++ = '\\';
			*o++ = *p;
		}
		*o = 0;
		ctl_print(c, CTL_OUT,
		          "\"repair\":{\"state\":\"%s\",\"zone\":\"%s\",\"begun\":%llu,\"done\":%llu,"
		          "\"failed\":%llu,\"wait\":%llu},",
		          state(r), text, (unsigned long long)r->begun, (unsigned long long)r->done,
		          (unsigned long long)r->failed, (unsigned long long)wait_s(r));
	} else if (r->filling) {
		ctl_print(c, CTL_OUT,
		          "repair: the store was damaged; a new one is being filled from the hub\n");
	} else if (r->fetching) {
		ctl_print(c, CTL_OUT,
		          "repair: fetching zone %s again from the hub; what can be read is served\n",
		          r->zone);
	} else if (r->wanted || r->asking) {
		ctl_print(c, CTL_OUT,
		          "repair: a zone is damaged, and fetched again in %llu s or when a hub is there\n",
		          (unsigned long long)wait_s(r));
	} else if (r->begun) {
		ctl_print(c, CTL_OUT,
		          "repair: none now; %llu zones fetched again, %llu tries failed; the last: %s\n",
		          (unsigned long long)r->done, (unsigned long long)r->failed, r->zone);
	}
}
