/* compose.h - writing a DNS message: whole RRsets, names compressed. */
#ifndef DNS_COMPOSE_H
#define DNS_COMPOSE_H

#include "dns/cookie.h"
#include "dns/query.h"

/* Sections, as their counters stand in the header. */
enum section { SEC_ANSWER = 1, SEC_AUTHORITY, SEC_ADDITIONAL };

/* What goes into the OPT of an answer. */
struct options {
	const char *nsid;   /* NULL: none; its text, IDENTITY_MAX octets at most */
	bool have_cookie;
	uint8_t cookie[COOKIE_LEN];
	bool have_version;  /* of the zone, RFC 9660: */
	uint8_t zone_labels;
	uint32_t zone_serial;
	int keepalive;      /* RFC 7828, in units of 100 ms; -1: none */
	int error;          /* extended DNS error, RFC 8914; -1: none */
};
#define IDENTITY_MAX 63

#define COMPOSE_SLOTS 256 /* power of two; at most half of it is used */

/* A message being written.  Nothing of a set that does not fit stays behind:
 * neither its octets nor the names it offered for compression. */
struct compose {
	struct wr w;              /* w.end is the limit, less what is reserved for OPT */
	size_t reserved;          /* for OPT and TSIG */
	const struct query *q;    /* what is answered */
	const struct options *options;
	uint16_t count[4];
	uint32_t slot[COMPOSE_SLOTS];         /* names by hash: hash16 offset16; 0: free */
	uint8_t used[COMPOSE_SLOTS / 2];      /* slots in the order they were taken */
	unsigned nused;
};

enum composed {
	COMPOSED,
	COMPOSE_FULL, /* did not fit, nothing was written */
	COMPOSE_BAD,  /* the rdata is damaged, nothing was written */
};

/* Once, before the first message. */
void compose_init(struct compose *c);
/* Starts a message of at most max octets in buf: header (zero counters and
 * flags) and the question, echoed octet by octet.  Options go along when the
 * query has EDNS and no TSIG; *q and *o stay until the end.  All but the error
 * are settled and get their room here; the error may come later, with an
 * answer that has no records: there always is room for it. */
void compose_begin(struct compose *c, uint8_t *buf, size_t max, const struct query *q,
                   const struct options *o);
/* A set with owner name (any case; best a pointer into q->qname, if that is
 * where it stands) in the section; sigs: with its RRSIGs. */
enum composed compose_set(struct compose *c, enum section sec, const uint8_t *owner,
                          const struct rrset *s, uint32_t ttl, bool sigs);
/* Only the signatures of a set. */
enum composed compose_sigs(struct compose *c, enum section sec, const uint8_t *owner,
                           const struct rrset *s);
/* One record whose rdata is a name that was made up here: a CNAME. */
enum composed compose_cname(struct compose *c, const uint8_t *owner, uint32_t ttl, const uint8_t *target);
/* A TXT record of class CH and one string, 255 octets at most, for the question's name. */
enum composed compose_chaos(struct compose *c, const char *text);
/* Where the message stands, and back there. */
struct compose_mark { uint8_t *p; unsigned nused; uint16_t count[4]; };
struct compose_mark compose_mark(const struct compose *c);
void compose_back(struct compose *c, const struct compose_mark *m);
/* Takes everything back but the header and the question. */
void compose_clear(struct compose *c, const struct query *q);
/* Writes OPT and TSIG as the query asks for and completes the header.  flags:
 * AA and TC; RD, opcode and id are the query's.  Returns the message's length. */
#define FLAG_AA 0x0400
#define FLAG_TC 0x0200
size_t compose_end(struct compose *c, const struct query *q, unsigned flags, unsigned rcode,
                   unsigned our_size);

#endif
