/* probe.h - encdns-route's questions to its own node, through the real service
 * sockets: is every zone answered, and with the serial that it ought to have? */
#ifndef MAIN_PROBE_H
#define MAIN_PROBE_H

#include "base/conf.h"
#include "base/loop.h"
#include "dns/name.h"
#include "main/health.h"

/* ---- the list of zones, from control ----
 * version 8 = 1 | count 32 | each: state 8 | serial 32 | name (uncompressed).
 * It lies in sealed memory, which nobody can change or shorten any more. */
#define ZONE_LIST_HEAD 5
enum { ZONE_LIST_SERVED = 1, ZONE_LIST_FAILED, ZONE_LIST_OTHER }; /* failed or expired; loading or held */
/* Writes one zone; the caller has written the head. */
void zone_list_put(struct wr *w, uint8_t state, uint32_t serial, const uint8_t *name);
#define ZONE_LIST_EACH_MAX (5 + NAME_MAX_LEN)

/* ---- an answer ---- */

enum probe_said {
	PROBE_FOREIGN,  /* no answer to this question: somebody else's, or there was no room for ours */
	PROBE_SERIAL,   /* an authoritative SOA; *serial is its */
	PROBE_BLANK,    /* authoritative, but cut: no serial to be seen */
	PROBE_REFUSING, /* anything else; *rcode says what */
};
/* A DNS cookie (RFC 7873): ours, and behind it what the server has given us. */
struct probe_cookie { uint8_t len, b[24]; }; /* len: 8 or 24 */
#define PROBE_QUESTION_MAX (16 + NAME_MAX_LEN + 15 + 24)
size_t probe_question(uint8_t out[static PROBE_QUESTION_MAX], uint16_t id, const uint8_t *zone,
                      const struct probe_cookie *k);
/* Takes the server's cookie from a message that answers a question with k. */
void probe_learn(const uint8_t *m, size_t n, struct probe_cookie *k);
enum probe_said probe_read(const uint8_t *m, size_t n, uint16_t id, const uint8_t *zone, uint32_t *serial,
                           unsigned *rcode);

/* ---- the asking ---- */

struct probe;
/* Its rounds begin with the first list; settled() is called between two of them,
 * when no question is under way.  NULL: errno. */
struct probe *probe_new(struct loop *l, const struct conf_addrs *service, struct health *h,
                        void (*settled)(void *owner), void *owner);
/* A new list, in place of the old; takes the descriptor.  -1: it is no list, and
 * the old one stays. */
int probe_zones(struct probe *p, int fd);
/* encdns-dns is another one: all zones are unasked. */
void probe_anew(struct probe *p);

#endif
