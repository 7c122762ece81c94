/* codec.h - the octets of BGP: messages to and from structures.  Pure: no
 * socket, clock, memory of its own or global.
 *
 * What is here, and by which document: messages, attributes, NOTIFICATIONs (RFC
 * 4271); capabilities (5492, extended parameters 9072); IPv6 and IPv4 in
 * MP_REACH_NLRI (4760, 2545), IPv4 with an IPv6 next hop (8950); four octets for an AS
 * (6793); route refresh (2918, 7313); End-of-RIB (4724); communities (1997, 8092, graceful
 * shutdown 8326); roles (9234); errors in UPDATEs (7606); the reasons of a Cease (4486,
 * 9003, 9384). */
#ifndef BGP_CODEC_H
#define BGP_CODEC_H

#include "base/wire.h"

#define BGP_HEAD 19
#define BGP_MAX  4096 /* octets of a message, RFC 4271 section 4.1 */

enum bgp_type { BGP_OPEN = 1, BGP_UPDATE, BGP_NOTIFICATION, BGP_KEEPALIVE, BGP_ROUTE_REFRESH };

/* What a NOTIFICATION says: code << 8 | subcode (RFC 4271 section 4.5). */
#define BGP_ERR(code, sub) ((code) << 8 | (sub))

enum { BGP_CEASE = 6 };
/* The subcodes of a Cease that we send (RFC 4486, 9384). */
enum { BGP_SHUTDOWN = 2, BGP_REMOVED = 3, BGP_RESET = 4, BGP_REJECTED = 5, BGP_CHANGED = 6, BGP_COLLISION = 7,
       BGP_BFD_DOWN = 10 };

struct bgp_message {
	enum bgp_type type;
	struct rd body;
};

/* Families, unicast.  As bits of a set, and the numbers of RFC 4760 at once. */
enum { BGP_V4 = 1, BGP_V6 = 2 };

struct bgp_addr {
	uint8_t family; /* BGP_V4, BGP_V6; 0: none */
	uint8_t b[16];  /* IPv4: the first four */
	uint8_t link;   /* of a link-local one: the owner's number for its link; else 0 */
};

struct bgp_prefix {
	uint8_t family;
	uint8_t len;   /* <= 32 or 128 */
	uint8_t b[16]; /* zero beyond len bits */
};

/* ---- the frame ---- */

/* Takes one message from what has been received.  Returns 0 and fills *out, -1
 * when more octets are needed, or the NOTIFICATION to send (RFC 4271 section
 * 6.1); only in the first case the reader moves. */
int bgp_take_message(struct rd *in, struct bgp_message *out);
/* Begins a message in w, to be ended by bgp_end_message with what this returned. */
uint8_t *bgp_begin_message(struct wr *w, enum bgp_type type);
void bgp_end_message(struct wr *w, uint8_t *start);

void bgp_write_keepalive(struct wr *w);

/* ---- OPEN ---- */

#define BGP_AS_TRANS 23456u /* stands for an AS that needs four octets, RFC 6793 */

/* RFC 9234 section 4.1. */
enum { BGP_PROVIDER, BGP_ROUTE_SERVER, BGP_RS_CLIENT, BGP_CUSTOMER, BGP_PEER, BGP_NO_ROLE = 255 };

struct bgp_open {
	uint32_t as;       /* of the capability where there is one */
	uint32_t id;       /* not 0 */
	uint16_t hold;     /* seconds; 0 or at least 3 */
	bool plain;        /* without any optional parameter */
	/* capabilities */
	uint8_t families;  /* a peer that names none means IPv4 (RFC 4760 section 8) */
	bool refresh, enhanced_refresh;
	bool as4;
	bool v4_by_v6;     /* IPv4 with an IPv6 next hop, RFC 8950 */
	bool restart;      /* RFC 4724: it likes to see an End-of-RIB */
	uint8_t role;      /* BGP_NO_ROLE: not told */
	bool role_clash;   /* two roles at once */
};

void bgp_write_open(struct wr *w, const struct bgp_open *o);
/* Returns 0 and fills *out, or the NOTIFICATION to send (RFC 4271 section 6.2)
 * and leaves *out alone. */
int bgp_parse_open(struct rd body, struct bgp_open *out);

/* The capabilities for MP-BGP of these families, as an OPEN has them: what a
 * NOTIFICATION 2/7 carries (RFC 5492 section 5). */
void bgp_write_families(struct wr *w, uint8_t families);

/* May these two be neighbours?  RFC 9234 section 4.2. */
bool bgp_roles_fit(uint8_t mine, uint8_t theirs);

/* ---- UPDATE, written ---- */

#define BGP_PREFIXES    64 /* of an UPDATE, and of a node */
#define BGP_TIMES_MAX   32 /* own AS in a path */
#define BGP_COMMUNITIES 32 /* of each kind */
#define BGP_GRACEFUL_SHUTDOWN 0xffff0000u /* RFC 8326 */
#define BGP_UPDATE_MAX  2048 /* holds an UPDATE of all that the limits allow */

struct bgp_large { uint32_t admin, one, two; }; /* RFC 8092 */

/* What is told with prefixes: the attributes. */
struct bgp_route {
	uint32_t as;                /* our own */
	bool external;              /* else: empty path, and local_pref */
	bool as4;                   /* the peer reads paths of four octets */
	bool in_mp;                 /* IPv4, too, in MP_REACH_NLRI; implied by an IPv6 next hop */
	uint8_t times;              /* own AS in the path: 1 to BGP_TIMES_MAX */
	bool has_med;
	bool shutting_down;         /* adds the community of RFC 8326 */
	uint8_t ncommunities, nlarge;
	struct bgp_addr next_hop;
	struct bgp_addr link_local; /* behind an IPv6 next hop, RFC 2545; family 0: none */
	uint32_t med, local_pref;
	uint32_t only_to_customer;  /* 0: absent (RFC 9234) */
	uint32_t community[BGP_COMMUNITIES];
	struct bgp_large large[BGP_COMMUNITIES];
};

/* One UPDATE for n prefixes of one family, 1 to BGP_PREFIXES: at most
 * BGP_UPDATE_MAX octets.  An IPv6 prefix needs an IPv6 next hop. */
void bgp_write_update(struct wr *w, const struct bgp_route *r, const struct bgp_prefix *p, unsigned n);
/* in_mp: as the prefixes had been announced; always so for IPv6. */
void bgp_write_withdraw(struct wr *w, const struct bgp_prefix *p, unsigned n, bool in_mp);
void bgp_write_end_of_rib(struct wr *w, uint8_t family);

/* ---- UPDATE, read without keeping anything ---- */

/* What of a session decides how an UPDATE reads. */
struct bgp_reading {
	bool external, as4, v4_by_v6;
	uint8_t families;
};

/* RFC 7606 section 2, the worst of all attributes. */
enum bgp_verdict { BGP_FINE, BGP_ATTRIBUTE_DISCARDED, BGP_TREAT_AS_WITHDRAW };

struct bgp_seen {
	enum bgp_verdict verdict;
	unsigned announced, withdrawn; /* prefixes; treated as withdrawn: all in withdrawn */
	uint8_t end_of_rib;            /* the family it ends */
};

/* Returns 0 and fills *out; or, where RFC 7606 leaves no other way, the
 * NOTIFICATION to send, with its data in *data (a view of the body). */
int bgp_check_update(struct rd body, const struct bgp_reading *s, struct bgp_seen *out, struct rd *data);

/* ---- ROUTE-REFRESH ---- */

enum { BGP_REFRESH_ASK, BGP_REFRESH_BEGIN, BGP_REFRESH_END }; /* RFC 7313 section 3.2 */

struct bgp_refresh {
	uint8_t family; /* 0: one that we don't know */
	uint8_t what;   /* BGP_REFRESH_..., or one to ignore */
};

void bgp_write_refresh(struct wr *w, uint8_t family, uint8_t what);
/* 0, or the NOTIFICATION (RFC 7313 section 5; its data is the whole message). */
int bgp_parse_refresh(struct rd body, struct bgp_refresh *out);

/* ---- NOTIFICATION ---- */

void bgp_write_notification(struct wr *w, unsigned err, const void *data, size_t n);
/* A Cease with a reason in words (RFC 9003), cut to 255 octets at a character's
 * edge; NULL: none. */
void bgp_write_cease(struct wr *w, unsigned sub, const char *why);

struct bgp_note {
	unsigned err;   /* BGP_ERR */
	struct rd data; /* a view of the body */
};
/* False when it is too short to say anything; there is no answer to that. */
bool bgp_parse_notification(struct rd body, struct bgp_note *out);

#define BGP_WORDS 400 /* holds the longest words */
/* "Cease, Administrative Shutdown: \"disk swap\"".  Printable UTF-8 whatever
 * the peer has sent; `room` octets with the NUL, cut short at will. */
void bgp_note_words(char *out, size_t room, const struct bgp_note *n);

#endif
