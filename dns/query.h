/* query.h - a query packet, parsed: pure. */
#ifndef DNS_QUERY_H
#define DNS_QUERY_H

#include "dns/rrset.h"

#define DNS_HEAD 12 /* octets of a message's header */

/* Response codes, the extended ones included (IANA; RFC 6895 section 2.3). */
enum rcode {
	RCODE_NOERROR = 0, RCODE_FORMERR = 1, RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3,
	RCODE_NOTIMP = 4, RCODE_REFUSED = 5, RCODE_YXDOMAIN = 6, RCODE_NOTAUTH = 9,
	RCODE_BADVERS = 16, RCODE_BADCOOKIE = 23,
};

/* EDNS options (IANA). */
enum { OPTION_NSID = 3, OPTION_COOKIE = 10, OPTION_KEEPALIVE = 11, OPTION_ERROR = 15, OPTION_VERSION = 19 };

enum keepalive { KEEPALIVE_NONE, KEEPALIVE_ASKED, KEEPALIVE_BAD };

enum { CLASS_IN = 1, CLASS_CH = 3, CLASS_ANY = 255 };

/* Everything an answer needs of its query.  Pointers lead into the packet. */
struct query {
	uint16_t id;
	uint16_t flags;           /* second 16 bits of the header, as they came */
	uint16_t qtype, qclass;
	uint16_t rcode;           /* what to answer when it is not QUERY_OK */
	uint16_t udp_size;        /* the client's, at least 512; 512 without EDNS */
	bool edns;                /* there was an OPT: the answer gets one */
	bool dnssec_ok;
	bool nsid;                /* RFC 5001: who answers? */
	bool version;             /* RFC 9660: which version of the zone? */
	uint8_t keepalive;        /* RFC 7828, enum keepalive; over UDP without meaning */
	uint8_t cookie_len;       /* 8 or 16 to 40 octets; 0: none (RFC 7873) */
	uint8_t labels;           /* of the name asked for */
	uint8_t qname_len;
	uint16_t question_len;    /* octets behind the header to echo; 0: none */
	uint16_t tsig_name_len;   /* TSIG: to be refused with BADKEY; 0: none */
	uint16_t tsig_alg_len;
	const uint8_t *question;
	const uint8_t *cookie;
	const uint8_t *tsig_time; /* time signed and fudge, 8 octets */
	uint8_t qname[NAME_MAX_LEN];     /* lower case; the question keeps the case */
	uint8_t tsig_name[NAME_MAX_LEN]; /* lower case (RFC 8945 section 4.2) */
	uint8_t tsig_alg[NAME_MAX_LEN];
};

enum query_kind {
	QUERY_OK,    /* to be looked up */
	QUERY_CHAOS, /* about the server itself (RFC 4892), or q->rcode */
	QUERY_ERROR, /* to be answered with q->rcode and nothing else; NOERROR: no question, a cookie */
	QUERY_DROP,  /* not to be answered: too short for a header, or a response */
};

/* Parses pkt[0..len).  Fills *q as far as its kind says. */
enum query_kind query_parse(const uint8_t *pkt, size_t len, struct query *q);
/* To be refused as malformed: FORMERR, and nothing else that it asked for. */
enum query_kind query_malformed(struct query *q);

#endif
