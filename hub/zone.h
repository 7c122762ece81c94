/* zone.h - one zone, in memory or sorted on the disk: built, checked, then walked in
 * canonical order.  One thread at a time may use it; one on the disk has a helper
 * thread of its own until zone_free().
 *
 * A zone is refused for what would make its answers wrong or impossible: bad
 * syntax; no SOA or several, an SOA elsewhere than at the apex; no NS at the
 * apex; an owner outside the zone; CNAME beside other data (KEY and NSEC may
 * be, RFC 4035 section 2.5); several CNAME or DNAME at one owner; a ZONEMD that
 * does not fit (RFC 8976); an owner over BODY_MAX octets; an RRset that fits no
 * message.  Anything else is a warning, one line a kind. */
#ifndef HUB_ZONE_H
#define HUB_ZONE_H

#include "hub/master.h"

struct zone;

/* Read and check a zone; NULL when it is refused (the report says why), or there is no
 * memory to begin.  report: NULL is silence. */
struct zone *zone_load(const uint8_t *origin, const char *path, const struct zone_report *report);
struct zone *zone_load_text(const uint8_t *origin, const char *text, size_t n,
                            const struct zone_report *report);
/* The same in so many octets of memory at most: what is more is sorted in a
 * nameless, sealed file below dir.  Such a zone is checked in part only: the rest
 * is up to the first walk that goes to its end (zone_next), which may still refuse
 * it.  The report lives as long as the zone.  memory 0: without limit, dir is not
 * looked at. */
struct zone *zone_load_within(const uint8_t *origin, const char *path, size_t memory, const char *dir,
                              const struct zone_report *report);
void zone_free(struct zone *z); /* NULL is fine */

/* The same in steps, for records from elsewhere (a transfer): new, add each,
 * then finish.  zone_add() takes records in any order and checks the rdata only
 * if `check`; it returns NULL or why the record is refused.  zone_finish()
 * sorts and checks; on -1 the report has said why, and the zone can only be
 * freed.  now: seconds since 1970, for signatures' times. */
struct zone *zone_new(const uint8_t *origin); /* NULL: no memory */
/* Before the first zone_add(): as zone_load_within().  dir stays the caller's, until
 * zone_finish(). */
void zone_bound(struct zone *z, size_t memory, const char *dir);
const char *zone_add(struct zone *z, const struct master_rr *rr, bool check);
int zone_finish(struct zone *z, int64_t now, const struct zone_report *report);

const uint8_t *zone_origin(const struct zone *z); /* lower case */
uint32_t zone_serial(const struct zone *z);
unsigned zone_serial_line(const struct zone *z); /* where the SOA ended */
/* Once it is checked to the end: */
uint64_t zone_records(const struct zone *z); /* RRSIGs included, duplicates not (before: they too) */
uint64_t zone_names(const struct zone *z);   /* nodes zone_next() returns */

/* A node as journal and store want it; valid until the cursor moves.
 *   apex              NODE_APEX, all its sets
 *   cut               NODE_CUT: NS, DS and NSEC, and A and AAAA of its own name;
 *                     signatures of DS and NSEC only
 *   below a cut       NODE_GLUE: A and AAAA without signatures, nothing else
 *   below a DNAME     not there
 *   empty non-terminal NODE_ENT (and NODE_GLUE below a cut), no body
 *   NSEC3 owner       NODE_NSEC3: that set only; when the owner has more, an
 *                     ordinary node of the same name comes first */
struct zone_node {
	const uint8_t *owner;   /* lower case */
	const uint8_t *body;    /* rrset.h */
	size_t len;
	uint16_t flags;         /* enum node_flag */
	uint8_t cut;            /* labels, see rrset.h */
};

/* Some records: how many, and the first one's owner and place. */
struct zone_some {
	uint64_t n;
	uint8_t owner[NAME_MAX_LEN];
	uint8_t file;
	unsigned line;
};

struct zone_cursor {
	struct zone *z;
	struct check *check;    /* the zone's own: what this walk looks for, or NULL */
	bool bare;              /* for the check's sake alone: no bodies */
	uint8_t *body;          /* the cursor's own; zone_close() frees it */
	size_t room;            /* octets at body */
	bool bad;               /* zone_next() ended early: what was spilled can't be read (errno) */
	bool refused;           /* the zone can't be taken, as the report has said; more faults may follow */
	size_t from;            /* record the last ordinary node started at */
	size_t at;              /* record the next ordinary node starts at */
	size_t n3, n3_to;       /* records of the NSEC3 node that is due, if n3 < n3_to */
	const uint8_t *last;    /* last ordinary owner returned */
	const uint8_t *cut;     /* topmost cut or DNAME owner we are below, or NULL */
	uint8_t cut_labels;
	bool cut_dname;
	uint8_t names[2][NAME_MAX_LEN]; /* last and cut, once their records are gone */
	struct zone_some occluded; /* at and below cuts and DNAMEs */
	struct zone_some sigs;     /* signatures of a cut's NS and of glue */
};

/* Starts before the first node; -1: errno, and nothing to close.  A zone has one
 * cursor at a time; at the end, look at `refused` and `bad`. */
int zone_open(struct zone_cursor *c, struct zone *z);
bool zone_next(struct zone_cursor *c, struct zone_node *out);
void zone_close(struct zone_cursor *c);

#endif
