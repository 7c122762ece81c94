/* gate.h - the messages on port 22, by which a machine is enrolled, unlocked and
 * told what to do.  Bytes: encoding, reading, signing, judging; no clock, no
 * descriptor.
 *
 * TLS first: the machine is the server and asks for an operator's certificate; the
 * operator knows the machine by its public key (tls_client_machine).  Then frames,
 * length 24 | type 8 | content, within the TLS session:
 *
 *   HELLO     machine   version 8 | state 8 | machine id 20 | nonce 32 | boots 64 | salt 32 |
 *                       image 32 | ticket 32 | generation 64 | clock 64 | store 8 |
 *                       inventory length 16, text | signature 64
 *   IDENTITY  operator  leaf length 16, DER | issuing certificate's length 16, DER
 *   BUNDLE    operator  flags 8 (1 first, 2 last) | up to GATE_CHUNK octets of a sealed bundle
 *   AUTH      operator  machine id 20 | nonce 32 | issued 64 | expiry 64 | time 64 | sequence 64 |
 *                       chain 32 | generation 64 | ticket 32 | flags 8 | K_system 32 | K_data 32 |
 *                       signature 64
 *   COMMAND   operator  nonce 32 | issued 64 | words, each ended by a NUL | signature 64
 *   RESULT    machine   code 8 | nonce 32 | more 8 | text
 *
 * A signature is ECDSA (crypto.h) over label | exporter 32 | content before it.  The
 * exporter (tls_export) binds it to this session, the nonce to this machine's
 * offer: a nonce is good for one message, whatever that message turns out to be.
 *
 * Lifetimes don't depend on the machine's clock, which may be dead: between issued
 * and expiry are at most GATE_LIFE_MAX seconds, and no more than that may have
 * passed, by a clock that only counts, since the machine made the nonce.
 *
 * Threat: the operator's side reads what a machine in strange hands sends, the
 * machine's side what a certified operator sends.  Readers are bounded, refuse what
 * isn't exactly ours, and leave *out alone then.  They return NULL, or why not in
 * words for the own console; the peer is told GATE_REFUSED and nothing else. */
#ifndef CRYPTO_GATE_H
#define CRYPTO_GATE_H

#include "base/wire.h"
#include "crypto.h"
#include "crypto/cert.h"
#include "crypto/identity.h"

#define GATE_VERSION   1
#define GATE_NONCE     32
#define GATE_TICKET    32
#define GATE_SALT      32
#define GATE_EPOCH     32
#define GATE_INVENTORY 32768u /* octets of inventory */
#define GATE_CHUNK     32768u
#define GATE_TEXT      32768u /* octets of a RESULT's text */
#define GATE_WORDS     1024u  /* octets of a COMMAND's words, NULs included */
#define GATE_WORD_MAX  16u    /* words */
#define GATE_LIFE_MAX  600u   /* seconds */
#define GATE_REFUSED   "refused"
#define GATE_EXPORT    "EXPERIMENTAL-encdns-gate" /* for tls_export */

enum gate_type { GATE_HELLO = 1, GATE_IDENTITY, GATE_BUNDLE, GATE_AUTH, GATE_COMMAND, GATE_RESULT };
enum gate_state { GATE_NEW = 1, GATE_WAITING, GATE_RUNNING };
const char *gate_state_text(enum gate_state s); /* "new", "waiting", "running" */

/* ---- the two keys of a machine ---- */
/* K_system = HKDF(master, salt, "system/v1" | id): opens its bundles. */
struct key *gate_key_system(const struct key *master, const uint8_t salt[static GATE_SALT],
                            const uint8_t id[static MACHINE_ID]);
/* K_data = HKDF(master, salt, "data/v1" | id | epoch): opens its store. */
struct key *gate_key_data(const struct key *master, const uint8_t salt[static GATE_SALT],
                          const uint8_t id[static MACHINE_ID], const uint8_t epoch[static GATE_EPOCH]);

/* ---- nonces: one message each ---- */
struct gate_nonce {
	uint8_t v[GATE_NONCE];
	uint64_t made_ns; /* by a clock that only counts */
	bool fresh;       /* no message has named it yet */
};
void gate_nonce_make(struct gate_nonce *n, uint64_t now_ns);
/* Is it v, fresh, and at most life_s seconds old?  It is used up by this in any case. */
const char *gate_nonce_take(struct gate_nonce *n, const uint8_t v[static GATE_NONCE], uint64_t life_s,
                            uint64_t now_ns);

/* ---- frames in the pool: messages may hold keys ---- */
#define GATE_FRAME_MAX (34u << 10) /* content; each type has a limit of its own below it */
struct gate_buf; /* octets that came, or that wait to go: room for two frames */
struct gate_buf *gate_buf_new(void);
void gate_buf_free(struct gate_buf *b);
/* Takes what has come over TLS, as far as there is room; gives what waits, as far as
 * the session takes it, and flushes: true when nothing waits any more. */
void gate_buf_take(struct gate_buf *in, struct tls *t);
bool gate_buf_give(struct gate_buf *out, struct tls *t);
/* The next whole frame: 1; 0: more has to come; -1: no frame of ours, end the
 * session.  The content stays until the next call, which wipes it. */
int gate_next(struct gate_buf *in, enum gate_type *type, uint8_t **p, size_t *n);

/* ---- the messages.  gate_put_* appends a whole frame to what waits; false when
 * there is no room for it, it is beyond the limits above, or can't be signed. ---- */

struct gate_hello {
	enum gate_state state;
	uint8_t id[MACHINE_ID];
	uint8_t nonce[GATE_NONCE];
	uint64_t boots;
	uint8_t salt[GATE_SALT];
	uint8_t image[32];     /* SHA-256 of the executable; zero: not known */
	uint8_t ticket[32];    /* SHA-256 of the last ticket; zero: none */
	uint64_t generation;   /* of the bundle; 0: none */
	uint64_t clock;        /* seconds since 1970, as the machine believes */
	bool store;            /* there is one */
	const char *inventory; /* lines of printable ASCII (base/inventory.h) */
	size_t inventory_len;
};
bool gate_put_hello(struct gate_buf *out, const struct gate_hello *h, const struct cred *machine,
                    const uint8_t exporter[static 32]);
/* pub: what the TLS peer showed.  The inventory points into p. */
const char *gate_read_hello(const uint8_t *p, size_t n, const uint8_t pub[static SIGN_PUB],
                            const uint8_t exporter[static 32], struct gate_hello *out);

/* The views point to DER of others. */
struct gate_identity { struct rd leaf, issuing; };
bool gate_put_identity(struct gate_buf *out, const struct gate_identity *i);
/* Both parse; role machine, of our root at `now`, for our key, and not denied. */
const char *gate_read_identity(const uint8_t *p, size_t n, const struct cred *machine, int64_t now,
                               struct gate_identity *out);

struct gate_chunk { bool first, last; struct rd data; };
bool gate_put_chunk(struct gate_buf *out, const struct gate_chunk *c);
const char *gate_read_chunk(const uint8_t *p, size_t n, struct gate_chunk *out);

#define GATE_TICKET_WRONG 1 /* the ticket shown was not the last one; accepted all the same */
#define GATE_STORE_REFILL 2 /* a foreign store may be dropped and filled again */
struct gate_auth {
	uint8_t id[MACHINE_ID];
	uint8_t nonce[GATE_NONCE];
	uint64_t issued, expiry, time; /* the operator's clock, seconds since 1970; issued <= time <= expiry */
	uint64_t seq;             /* not to be served below it */
	uint8_t chain[32];        /* of that sequence; zero: none */
	uint64_t generation;      /* no bundle below it */
	uint8_t ticket[GATE_TICKET];
	uint8_t flags;
	struct key *k_system, *k_data; /* reading: new ones, for gate_auth_free() */
};
bool gate_put_auth(struct gate_buf *out, const struct gate_auth *a, const struct cred *operator,
                   const uint8_t exporter[static 32]);
/* What an operator's message is judged by. */
struct gate_terms {
	const uint8_t *pub;       /* SIGN_PUB: the leaf that TLS judged (tls_peer) */
	const uint8_t *exporter;  /* 32 */
	const uint8_t *id;        /* MACHINE_ID, ours */
	struct gate_nonce *nonce; /* offered last; used up by either reader, whatever it finds */
	uint64_t now_ns;
};
/* Wipes p, whatever it finds. */
const char *gate_read_auth(uint8_t *p, size_t n, const struct gate_terms *t, struct gate_auth *out);
void gate_auth_free(struct gate_auth *a); /* both keys, and wipes the rest */

struct gate_command {
	uint8_t nonce[GATE_NONCE];
	uint64_t issued; /* the operator's clock, for the log */
	int argc;        /* 1 to GATE_WORD_MAX */
	char *argv[GATE_WORD_MAX + 1]; /* printable ASCII, none empty; reading: they point into p */
};
bool gate_put_command(struct gate_buf *out, const struct gate_command *c, const struct cred *operator,
                      const uint8_t exporter[static 32]);
const char *gate_read_command(uint8_t *p, size_t n, const struct gate_terms *t, struct gate_command *out);

enum gate_code { GATE_DONE, GATE_NO, GATE_FAILED }; /* done; refused; the command failed */
struct gate_result {
	enum gate_code code;
	uint8_t nonce[GATE_NONCE]; /* for the next message */
	bool more;                 /* another RESULT with more text follows */
	const char *text;          /* printable ASCII, newlines, tabs; reading: points into p, no NUL */
	size_t text_len;
};
/* Puts '?' for what is not printable. */
bool gate_put_result(struct gate_buf *out, const struct gate_result *r);
const char *gate_read_result(const uint8_t *p, size_t n, struct gate_result *out);

#endif
