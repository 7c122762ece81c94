/* zone_internal.h - what the rooms of a zone share; nobody else includes it:
 *
 *   zone.c         its records: added, sorted, found
 *   zone_cursor.c  its nodes, as a cursor goes from one to the next
 *   zone_spill.c   what becomes of a zone larger than its memory: runs and windows
 *   zone_check.c   what is looked for in it, and what is said
 *
 * Records lie in an arena in the order they were read; `recs` holds their
 * offsets and, once finished, is sorted by (owner, type, signatures last,
 * canonical rdata), an RRSIG standing with the type it covers.  So an owner is
 * a run of offsets, and a set a run within it; nothing else is kept a name.
 *
 *   arena = record*     record = [owner] type16 ttl32 len16 back32 line32 file8 rdata
 *
 * `back` is the distance from the record's head to its owner's name (lower
 * case); records that follow each other with one owner share it. */
#ifndef HUB_ZONE_INTERNAL_H
#define HUB_ZONE_INTERNAL_H

#include "base/helper.h"
#include "hub/zone.h"

#define REC_HEAD  17
#define FILES_MAX 255
#define WINDOW    (4u << 20) /* octets of the arena: as much as the processor keeps at hand */

/* Faults that repeat: one line each, for the first. */
enum kind { W_TTL, W_GLUE, W_ALIAS, W_EXPIRED, W_ORPHAN, W_OCCLUDED, W_DS, W_SIGS, W_KINDS };

/* Of one walk; all but the first three begin anew with the next. */
struct check {
	struct zone *z;
	const struct zone_report *report;
	int64_t now;
	bool refused;
	unsigned errors;
	struct zone_some seen[W_KINDS];
	uint64_t records;
	uint64_t unlooked; /* name servers whose addresses may be anywhere in a spilled zone */
};

struct zone {
	uint8_t origin[NAME_MAX_LEN];
	size_t origin_len;
	unsigned origin_labels;
	uint8_t *arena;          /* mapped; unmapped by zone_free */
	size_t used, size;
	uint64_t *recs;          /* mapped; offsets of records */
	size_t n, cap;           /* records; room for so many */
	size_t owner_off, owner_len; /* the last owner added */
	char *files[FILES_MAX];  /* names of files; zone_free frees them */
	unsigned nfiles;
	size_t body_max;         /* the longest body a cursor will build */
	uint64_t names, records;
	uint32_t serial;
	unsigned serial_line;
	size_t safe;             /* records before this one may be walked */
	struct check check;      /* of the first whole walk, */
	bool due;                /* which is still to come */
	/* a zone that may be spilled, and one that is */
	size_t memory, window;   /* octets at most; of a window.  0: no limit */
	const char *dir;         /* the caller's */
	struct spill *spill;     /* NULL: all is in the arena */
	struct source *sources;  /* one a run */
	unsigned *heap, nheap;   /* sources that have records left, the first in order on top */
	bool coming;             /* the twin has the next records, or is getting them */
	struct zone *twin;       /* records in the helper's hands: a run being sorted, or a window */
	struct helper helper;    /* while it is busy, twin, spill, sources and heap are its own */
	int failed;              /* a twin's: errno of its work, or 0 */
};

/* ---- records ---- */

static inline const uint8_t *rec_at(const struct zone *z, size_t i) { return z->arena + z->recs[i]; }
static inline uint16_t rec_type(const uint8_t *r) { return get_u16(r); }
static inline uint32_t rec_ttl(const uint8_t *r) { return get_u32(r + 2); }
static inline uint16_t rec_len(const uint8_t *r) { return get_u16(r + 6); }
static inline const uint8_t *rec_owner(const uint8_t *r) { return r - get_u32(r + 8); }
static inline unsigned rec_line(const uint8_t *r) { return get_u32(r + 12); }
static inline const uint8_t *rec_rdata(const uint8_t *r) { return r + REC_HEAD; }
static inline bool rec_is_sig(const uint8_t *r) { return rec_type(r) == T_RRSIG; }
/* The type of the set a record belongs to. */
static inline uint16_t rec_set(const uint8_t *r) { return rec_is_sig(r) ? get_u16(rec_rdata(r)) : rec_type(r); }

static inline const uint8_t *owner_at(const struct zone *z, size_t i) { return rec_owner(rec_at(z, i)); }

/* Sorted records lie all over the arena: fetches one that is soon looked at. */
static inline void fetch_ahead(const struct zone *z, size_t i)
{
	if (i + 16 < z->n)
		__builtin_prefetch(z->arena + z->recs[i + 16]);
}

/* So many more of a kind; the first one is named. */
static inline void count_some(struct zone_some *s, const uint8_t *rec, uint64_t n)
{
	if (s->n == 0) {
		memcpy(s->owner, rec_owner(rec), name_len(rec_owner(rec)));
		s->file = rec[16];
		s->line = rec_line(rec);
	}
	s->n += n;
}

/* ---- owners ---- */

/* Of two lower-case names. */
static inline bool same_owner(const uint8_t *a, const uint8_t *b)
{
	if (a == b)
		return true;
	size_t n = name_len(a);
	return n == name_len(b) && !memcmp(a, b, n);
}

/* Is lower-case name, n octets, at or below lower-case zone? */
static inline bool below(const uint8_t *name, size_t n, const uint8_t *zone, size_t zn)
{
	if (n < zn || memcmp(name + n - zn, zone, zn) != 0)
		return false;
	const uint8_t *at = name + n - zn;
	while (name < at)
		name += *name + 1;
	return name == at;
}

/* The records of one owner, and what there is among them. */
struct owner {
	size_t from, to;       /* records */
	size_t n3, n3_to;      /* of them, the NSEC3 set */
	const uint8_t *name;
	bool ns, dname, nsec, nsec3, address, ordinary; /* ordinary: anything but the NSEC3 set */
};

static inline void look_at_owner(const struct zone *z, size_t from, struct owner *o)
{
	*o = (struct owner){ .from = from, .to = from, .name = owner_at(z, from) };
	for (; o->to < z->n; o->to++) {
		const uint8_t *r = rec_at(z, o->to);
		fetch_ahead(z, o->to);
		if (!same_owner(rec_owner(r), o->name))
			break;
		if (rec_set(r) == T_NSEC3) {
			if (o->n3_to == 0)
				o->n3 = o->to;
			o->n3_to = o->to + 1;
		} else {
			o->ordinary = true;
		}
		switch (rec_type(r)) {
		case T_NS: o->ns = true; break;
		case T_DNAME: o->dname = true; break;
		case T_NSEC: o->nsec = true; break;
		case T_NSEC3: o->nsec3 = true; break;
		case T_A:
		case T_AAAA: o->address = true; break;
		}
	}
}

/* ---- zone.c: records ---- */

/* Room for so many more octets and records; the arena may move.  False: no memory. */
bool zone_reserve(struct zone *z, size_t octets, size_t records);
/* Puts a record behind all others; only its type, TTL, length, line and rdata
 * are looked at.  same: its owner is the last one's; file: as in `files`.  False:
 * no memory. */
bool zone_append(struct zone *z, const uint8_t *owner, size_t len, bool same, const struct master_rr *rr, unsigned file);
/* Is it the last record's owner? */
static inline bool same_as_last(const struct zone *z, const uint8_t *owner, size_t len)
{
	return z->n && len == z->owner_len && !memcmp(owner, z->arena + z->owner_off, len);
}
/* Their memory goes, and they with it. */
void zone_drop_arena(struct zone *z);

/* The first octets of an owner's order, as name_key() has it, the origin left off. */
uint64_t zone_key_of(const struct zone *z, const uint8_t *owner);
/* Of two records whose keys don't tell: <0, 0, >0. */
int zone_rec_order(const uint8_t *ra, const uint8_t *rb);
/* Of two of one owner; 0: they are the same but for their TTLs. */
int zone_rec_cmp(const uint8_t *a, const uint8_t *b);
int zone_sort(struct zone *z); /* -1: errno */
/* Sorted records lie all over the arena, and each look at them waits for memory:
 * a copy in their order is made once and read many times.  Without the memory for
 * it all goes on as it is. */
void zone_lay_in_order(struct zone *z);

/* The first record in [from, n) whose owner is not before name. */
size_t zone_find_from(const struct zone *z, size_t from, const uint8_t *name);

/* ---- zone_cursor.c: nodes ---- */

/* As zone_open(), but from where the zone stands: neither windows nor the check
 * begin anew.  -1: errno. */
int zone_cursor_open(struct zone_cursor *c, struct zone *z);

/* ---- zone_spill.c: runs and windows ---- */

/* The records at hand become a run, while others are added.  -1: errno. */
int zone_spill_behind(struct zone *z);
/* All is added: the last run, then the first window.  -1: errno. */
int zone_spill_finish(struct check *k);

/* From the start: the first window, its owners checked.  What is in memory needs
 * nothing.  -1: errno. */
int zone_windows_begin(struct check *k);
/* The next one: the records before `safe` go.  -1: errno. */
int zone_window_next(struct check *k);
static inline bool more_windows(const struct zone *z) { return z->coming || z->safe < z->n; }

/* ---- zone_check.c: faults ---- */

/* Drops what is there twice; the lower TTL stays. */
void zone_drop_duplicates(struct check *k);
/* The owners of the records that may be walked. */
void zone_check_owners(struct check *k);
/* What only the node as it will be served tells. */
void zone_check_node(const struct zone_cursor *c, const struct zone_node *n);
/* A walk with a check has come to its end: all is said, and the next one has none. */
void zone_check_end(struct zone_cursor *c);

#endif
