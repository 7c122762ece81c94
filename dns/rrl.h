/* rrl.h - response rate limiting: how often a network is told the same thing.
 * Pure: memory, clock and key are the caller's. */
#ifndef DNS_RRL_H
#define DNS_RRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto.h"

/* Addresses that begin alike. */
struct rrl_net {
	uint8_t ip[16];
	uint8_t len;  /* octets of an address: 4 or 16 */
	uint8_t bits; /* that count */
};
#define RRL_ALLOW_MAX 64

struct rrl_conf {
	struct sip key;     /* random; by it accounts are found */
	unsigned rate;      /* answers a second for one name; 0: no limits at all */
	unsigned zone_rate; /* for what many names of a zone share, see rrl_class */
	unsigned total_rate; /* for everything together; 0: no such limit */
	unsigned slip;      /* one of so many over a limit is told to try otherwise; 0: none is */
	uint8_t bits4, bits6; /* a client's network: 1 to 32, 1 to 64 */
	unsigned accounts;  /* of a worker */
	unsigned workers;   /* that share the rates: at most 256 */
	bool loopback;      /* 127.0.0.0/8 and ::1, whom nobody can make a victim, are limited too */
	const struct rrl_net *allow; /* who is never limited */
	unsigned nallow;    /* at most RRL_ALLOW_MAX */
};

/* What is counted apart. */
enum rrl_class {
	RRL_NAME,     /* by the name asked for, at rate: */
	RRL_ANY,      /* ANY and RRSIG, so that they take nothing from the name's other questions */
	RRL_DNSKEY,   /* likewise: large */
	RRL_REFERRAL, /* by the cut */
	RRL_WILDCARD, /* by the name above the wildcard, or the DNAME's; at zone_rate, as the others from here: */
	RRL_NODATA,   /* by zone */
	RRL_NXDOMAIN, /* by zone */
	RRL_ERROR,    /* by zone, if there is one */
	RRL_TOTAL,    /* not for callers */
};

struct rrl_set;
struct rrl {
	struct sip key;
	uint64_t dice;
	uint64_t mask4, mask6;   /* of an address's first 8 octets */
	struct rrl_set *set;
	uint32_t last;           /* number of sets less one; a power of two less one */
	uint32_t burst;          /* how far ahead of the clock an account may be */
	uint32_t price[RRL_TOTAL + 1];
	unsigned slip, nallow;
	bool loopback;
	const struct rrl_net *allow;
};

/* Where an answer is counted. */
struct rrl_account {
	struct rrl_set *set[2]; /* its class's, the total's or NULL */
	uint32_t tag[2];
	enum rrl_class class;
};

/* Octets of a worker's accounts. */
size_t rrl_memory(const struct rrl_conf *c);
/* mem: rrl_memory() octets, zeroed, at a multiple of 64. */
void rrl_init(struct rrl *r, const struct rrl_conf *c, void *mem);

/* Clocks: nanoseconds of a monotonic one to the ticks of this one, which wraps. */
static inline uint32_t rrl_ticks(uint64_t ns) { return (uint32_t)(ns >> 12); }

/* Finds the account of an answer to ip[0..iplen), 4 or 16 octets, about
 * what[0..n): a name, or the number of a zone, always of as many octets.  Begins
 * to fetch it, so let some time pass before rrl_take(). */
void rrl_find(const struct rrl *r, enum rrl_class class, const uint8_t *ip, size_t iplen, const uint8_t *what,
              size_t n, struct rrl_account *out);
/* May it be sent?  Then it is counted. */
bool rrl_take(struct rrl *r, const struct rrl_account *a, uint32_t now);
/* Of those that may not: is it this one that is told to try otherwise? */
bool rrl_slip(struct rrl *r);
/* Is the client one of those that are never limited? */
bool rrl_allowed(const struct rrl *r, const uint8_t *ip, size_t iplen);

#endif
