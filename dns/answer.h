/* answer.h - from a parsed query and the store to a response. */
#ifndef DNS_ANSWER_H
#define DNS_ANSWER_H

#include "dns/compose.h"
#include "store.h"

#define CHAIN_MAX  16  /* CNAMEs followed for one query */
#define LINKS_MAX  (CHAIN_MAX + 8) /* NSEC or NSEC3 records of one answer */
#define GLUE_GROUP 16  /* addresses looked up at a time */
#define EXTRA_TARGETS 64 /* names of one set whose addresses are added */
#define NSEC3_ITERATIONS_MAX 2500 /* beyond: no proofs (RFC 5155 section 10.3) */
#define ANSWER_SCRATCH (8u << 20)

/* The NSEC3 that most answers of a zone need: that of the name right below the
 * zone's.  Found before it is known whether this answer is one of them, so that
 * its cache misses overlap with the others. */
struct guess {
	const uint8_t *name;     /* within the name asked for; NULL: there is none */
	bool begun;
	bool exact;              /* the link matches; else it covers */
	struct probe probe;      /* for the link */
	uint8_t owner[NAME_MAX_LEN]; /* the link's */
};

/* A query on its way through a batch. */
struct answer_job {
	enum query_kind kind;
	enum store_found zone_found;
	uint32_t spoiled;        /* instance of the zone in which answer_spoil met it, 0: none */
	bool lost;               /* the asker's: what it needs can't be read, so it is spoiled at once */
	struct store_range cold; /* what zone_found lacks, if it is damaged */
	const struct store_zone *child; /* DS: zone is one above, the one of that name serves too */
	struct probe probe;      /* for the name asked for, or what follows of it: */
	uint8_t probed;          /* so many labels */
	struct guess guess;
	const struct store_zone *zone; /* lies in the struct answer */
	struct query q;
	const uint8_t *peer;     /* the client's address: 4 or 16 octets */
	uint8_t peer_len;        /* 0: not known, it gets no cookie */
	bool tcp;
	uint16_t keepalive;      /* over TCP: told who asks, in units of 100 ms */
};

/* An NSEC or NSEC3 set that has to go to the authority section. */
struct link {
	const uint8_t *owner;
	struct rrset set;
};

#define JOBS_MAX     64 /* begun and not yet finished */
#define ZONES_KEPT   (3 * JOBS_MAX) /* a job finds two at most; see zone_find() */
#define RECENT_ZONES 4  /* looked at before the catalog */
#define CUTS_SURE    8
#define KEPT_APEX    4096 /* octets; a larger one is decrypted each time */
#define KEPT_LINK    1024

enum denial_mode { DENIAL_UNKNOWN, DENIAL_NONE, DENIAL_NSEC, DENIAL_NSEC3 };

/* A link that the proofs of a zone take again and again. */
struct kept_link {
	bool have;
	bool exact;              /* it matches; else it covers */
	struct link link;        /* lies in mem */
	uint8_t mem[KEPT_LINK];
};

/* A zone asked lately that has none below it, as this view sees it: what all
 * its negative answers need, decrypted once. */
struct known {
	const struct store_zone *zone; /* NULL: none */
	int cuts;                /* above 0: names end at a cut right below it */
	int guesses;             /* above 0: a guess is right as a rule */
	bool have_apex;
	struct frag apex;        /* lies in apex_mem */
	enum denial_mode mode;
	struct nsec3_params n3;
	struct kept_link top[2]; /* of the apex, and of "*" below it */
	uint8_t apex_mem[KEPT_APEX];
};

/* A worker's answering state; about 90 KiB, no part of it outlives a batch but
 * the first group. */
struct answer {
	const struct store_map *map;
	struct store_view view;
	struct store_zone zones[ZONES_KEPT];   /* a ring: found for the jobs */
	unsigned next_zone;
	struct known recent[RECENT_ZONES];
	struct known *known;                   /* of the zone at hand, or NULL */
	unsigned next_recent;
	struct scratch scratch;
	struct compose c;
	unsigned udp_size;

	/* Set behind answer_init(), which leaves them empty. */
	const char *identity, *version; /* at most IDENTITY_MAX octets; NULL: not told */
	const struct sip *cookie_keys;  /* the first makes cookies, all are good */
	unsigned ncookie_keys;          /* 0: no cookies */
	uint32_t now_s;                 /* the time of day: of each batch */
	bool need_cookie;               /* who sends a cookie has to have ours (RFC 7873 section 5.2.3) */

	struct options options;
	bool cookie_good;        /* the query's came from us */
	const struct query *q;
	const struct guess *guess; /* the job's; NULL once another zone is looked into */
	bool guess_right;        /* its link was wanted, begun or not */
	const struct store_zone *zone;
	unsigned flags;          /* AA, TC */
	unsigned rcode;
	bool damaged;            /* SERVFAIL, because of the store */
	uint32_t damaged_inst;   /* of the zone that was looked into; 0: the catalog */
	bool have_apex;
	struct frag apex;

	unsigned nnames;         /* name[0] is the name asked for, then CNAME targets */
	const uint8_t *name[CHAIN_MAX + 1];
	uint8_t target_name[CHAIN_MAX][NAME_MAX_LEN];
	unsigned ndnames;        /* DNAME owners in the answer */
	const uint8_t *dname[CHAIN_MAX + 1];

	enum denial_mode mode;
	const struct nsec3_params *n3;
	struct nsec3_params n3_here; /* when the zone is not known */
	unsigned nlinks;
	struct link link[LINKS_MAX];

	struct rrset extra;      /* the set whose targets' addresses are added */
	const uint8_t *cut;      /* its owner when it is a referral, else NULL */
	const uint8_t *wild;     /* the name above the wildcard that was used, or NULL */
	bool have_extra;
	uint16_t only;           /* of the addresses only this type; 0: all */
	struct probe probe[GLUE_GROUP];
	uint8_t target[GLUE_GROUP][NAME_MAX_LEN];
};

/* mem: scratch of the worker; memo: zeroed, or NULL; udp_size: ours, 512 to 65535. */
void answer_init(struct answer *a, const struct store_map *m, void *mem, size_t size,
                 struct store_memo *memo, unsigned udp_size);
/* What of the store the queries from now on see. */
void answer_view(struct answer *a);
/* The four stages: a batch goes through each as a whole, so that its cache
 * misses overlap.  job->q and job->kind are query_parse()'s, kind is not
 * QUERY_DROP; the job stays where it is until it is finished, and JOBS_MAX of
 * them may be under way. */
void answer_begin(struct answer *a, struct answer_job *job);
void answer_seek(struct answer *a, struct answer_job *job);
void answer_fetch(struct answer *a, struct answer_job *job);
/* Writes the response and returns its length; max is at least 512.
 * a->rcode, a->flags and a->damaged tell what it was.  When a->scratch.cold is
 * some, it is none: the query is to be asked again (store.h). */
size_t answer_finish(struct answer *a, struct answer_job *job, uint8_t *out, size_t max);
/* The job met a page that can't be read, at whatever stage: answer_finish will
 * answer SERVFAIL. */
void answer_spoil(struct answer_job *job);
/* The same query answered without an answer: TC, or BADCOOKIE when it had a
 * cookie that is not ours; what is refused as it stands is refused.  Little more
 * than the query, none of what it asks. */
size_t answer_slip(struct answer *a, struct answer_job *job, uint8_t *out, size_t max);
/* TC and nothing else, for a QUERY_OK that there is no room for.  Never longer than
 * the query: a cookie is only in it where the query's was as long. */
size_t answer_tc(struct answer *a, struct answer_job *job, uint8_t *out, size_t max);
/* How long a response may be: over UDP what client and we agree on. */
size_t answer_limit(const struct answer *a, const struct query *q, bool tcp);

/* ---- between answer.c and denial.c ---- */

static inline bool set_find(const struct frag *f, uint16_t type, struct rrset *out)
{
	return rrset_find(f->body, f->len, type, out);
}

/* The fragment of the zone's own name; NULL: damaged. */
const struct frag *answer_apex(struct answer *a);

/* Each collects what proves its case, if the zone is signed and the query asks
 * for it.  n = name_labels(name); ce: labels of the closest encloser.  False:
 * the store is damaged. */
bool denial_nxdomain(struct answer *a, const uint8_t *name, unsigned n, unsigned ce);
bool denial_nodata(struct answer *a, const uint8_t *name, unsigned n, const struct frag *node);
bool denial_wildcard(struct answer *a, const uint8_t *name, unsigned n, unsigned ce);
bool denial_wildcard_nodata(struct answer *a, const uint8_t *name, unsigned n, unsigned ce,
                            const struct frag *wild);
bool denial_referral(struct answer *a, const uint8_t *cut, unsigned n, const struct frag *node);
/* Begins a guess, if the zone is one that makes it worth while. */
void denial_guess(struct answer *a, struct answer_job *job, const struct known *k);
/* Writes what was collected, the first `from` left out. */
enum composed denial_write(struct answer *a, enum section sec, unsigned from);

#endif
