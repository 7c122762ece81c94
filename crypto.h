/* crypto.h - all cryptography: the only module that sees BearSSL or a secret.
 *
 * Secrets are handles (`struct key *`, `struct aead *`, `struct tls *`).  Their
 * octets lie in one pool of pages that is locked, left out of core dumps and
 * not inherited by fork (crypto_init); they are wiped when the handle is
 * freed.  Nothing here logs.  Unless said otherwise functions return 0 or -1
 * with errno. */
#ifndef CRYPTO_H
#define CRYPTO_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Once per process, before anything else (again in a child after fork: the
 * pool is not inherited, handles of the parent are void there).  */
int crypto_init(void);
/* The end: the whole pool is wiped, all handles are void. */
void crypto_end(void);
/* The same on the way out by a fatal signal, or no longer so: for processes of
 * one thread, as others would go on with keys of zeros. */
void crypto_wipe_on_crash(bool on);
/* Memory outside the pool through which secrets pass (scratch, stacks): neither
 * swapped out nor dumped.  Whole pages, until they are unmapped; not inherited by
 * fork.  `what` names it in crypto_not_locked()'s answer and stays. */
void crypto_lock(const void *p, size_t n, const char *what);
#define STACK_LOCKED (192u << 10)
void crypto_lock_stack(void);           /* what this thread is going to use */
void crypto_lock_thread(pthread_t t);   /* all of a thread's that was started */
/* What the system refused to lock (RLIMIT_MEMLOCK), in words for people; NULL:
 * nothing, no secret is ever swapped out. */
const char *crypto_not_locked(char *out, size_t n);
/* No core file, no ptrace by the same user, from here on; before secrets are read. */
void crypto_harden(void);
/* Random octets from the kernel; never fails, aborts when there are none. */
void crypto_random(void *out, size_t n);
void crypto_wipe(void *p, size_t n);
bool crypto_equal(const void *a, const void *b, size_t n); /* constant time */
/* Does this processor do AES and carry-less multiplication itself? */
bool crypto_fast_aes(void);

/* ---- hashes ---- */
struct sha { uint64_t opaque[48]; }; /* a running hash; copy freely */
void sha256_init(struct sha *s);
void sha384_init(struct sha *s);
void sha512_init(struct sha *s);
void sha1_init(struct sha *s); /* NSEC3 owner hashes only (RFC 5155) */
void sha_update(struct sha *s, const void *p, size_t n);
void sha_out(const struct sha *s, void *out); /* the hash so far: 32, 48, 64 or 20 octets */
void sha256(const void *p, size_t n, uint8_t out[static 32]);

/* ---- keys ---- */
struct key; /* 32 secret octets */
struct key *key_random(void);
struct key *key_from(const uint8_t octets[static 32]);      /* caller wipes its copy */
/* Reads a key from a descriptor: 64 hex digits (white space around them
 * ignored) or exactly 32 raw octets, then end of file.  NULL: EINVAL. */
struct key *key_read(int fd);
/* PBKDF2-HMAC-SHA256 (RFC 8018). */
struct key *key_from_passphrase(const char *pass, size_t n, const uint8_t *salt, size_t saltn,
                                unsigned iterations);
/* HKDF-SHA256 (RFC 5869): extract with salt, expand with label. */
struct key *key_derive(const struct key *from, const char *label, const void *salt, size_t n);
/* The same with octets for a label. */
struct key *key_expand(const struct key *from, const void *info, size_t ninfo, const void *salt,
                       size_t n);
/* Over a socketpair between our own processes: the key's octets as one
 * message of 32 octets.  The octets never lie outside the pool. */
int key_send(const struct key *k, int fd);
struct key *key_recv(int fd);
void key_free(struct key *k); /* NULL is fine */
/* HMAC-SHA256 over parts. */
struct part { const void *p; size_t n; };
void key_mac(const struct key *k, const struct part *parts, size_t nparts, uint8_t out[static 32]);

/* ---- passphrases ---- */
#define PASS_MAX    1023    /* octets */
#define PASS_ROUNDS 600000u /* of PBKDF2-HMAC-SHA256, in all that we write, */
#define PASS_ROUNDS_MAX 10000000u /* and at most in what we read */
struct pass;
/* All of a descriptor, one line.  NULL: errno, for pass_error(). */
struct pass *pass_read(int fd);
/* Typed at the terminal, not echoed; a second time when `again` is a prompt too.
 * NULL: err has a line. */
struct pass *pass_ask(const char *prompt, const char *again, char *err, size_t n);
const char *pass_error(int e);
struct key *pass_key(const struct pass *p, const uint8_t *salt, size_t saltn, unsigned rounds);
void pass_free(struct pass *p);

/* Secret octets of any kind (a credentials file), kept to be handed on. */
struct blob;
struct blob *blob_read(int fd, size_t max);        /* to the end of file; NULL: errno */
int blob_send(const struct blob *b, int fd);        /* writes all, for a pipe of our own */
void blob_free(struct blob *b);

/* ---- AES-256-GCM (NIST SP 800-38D) ---- */
struct aead; /* round keys and H, precomputed: one per key, shared by threads once made */
struct aead *aead_new(const struct key *k);
void aead_free(struct aead *a);
/* Encrypts buf[0..n) in place and writes tag[0..taglen), taglen 8..16.  The
 * caller never uses a nonce twice under one key. */
void aead_seal(const struct aead *a, const uint8_t nonce[static 12], const void *aad, size_t aadn,
               void *buf, size_t n, uint8_t *tag, size_t taglen);
/* Checks, then decrypts from in to out (may be the same).  False: out is
 * zeroed, nothing was learned. */
bool aead_open(const struct aead *a, const uint8_t nonce[static 12], const void *aad, size_t aadn,
               const void *in, size_t n, const uint8_t *tag, size_t taglen, void *out);

/* ---- SipHash-2-4; 128 bits out: names of the index ---- */
struct sip { uint64_t k0, k1; }; /* a key for hiding, in the caller's locked page */
void sip_key(const struct key *k, struct sip *out); /* first 16 octets of the key */
void sip128(const struct sip *s, const void *p, size_t n, uint64_t out[static 2]);
/* The original, 64 bits out: DNS cookies. */
uint64_t sip64(const struct sip *s, const void *p, size_t n);
void sip_random(struct sip *out);
/* Reads up to max keys from a descriptor to its end: 32 hex digits each, with
 * white space between them.  How many, or -1 with errno. */
int sip_read(int fd, struct sip *out, unsigned max);

/* ---- ECDSA P-256 with SHA-256, raw r||s ---- */
#define SIGN_PUB 65 /* uncompressed point, 04 first */
#define SIGN_SIG 64
struct signer;
struct signer *signer_new(void);             /* a fresh key pair */
struct signer *signer_from(const struct key *seed); /* same seed, same pair */
void signer_pub(const struct signer *s, uint8_t out[static SIGN_PUB]);
int signer_sign(const struct signer *s, const void *msg, size_t n, uint8_t out[static SIGN_SIG]);
void signer_free(struct signer *s);
bool sign_verify(const uint8_t pub[static SIGN_PUB], const void *msg, size_t n,
                 const uint8_t sig[static SIGN_SIG]);
/* The message in parts. */
int signer_sign_parts(const struct signer *s, const struct part *parts, size_t n,
                      uint8_t out[static SIGN_SIG]);
bool sign_verify_parts(const uint8_t pub[static SIGN_PUB], const struct part *parts, size_t n,
                       const uint8_t sig[static SIGN_SIG]);

/* ---- certificates (X.509 v3, P-256, ecdsa-with-SHA256; RFC 5280) ---- */
/* A certificate's role is its issuer's and stands in its subject and SAN; TLS
 * peers must show the role that is asked for. */
enum cert_role {
	ROLE_HUB = 1,
	ROLE_NODE,     /* the tunnel's */
	ROLE_OPERATOR,
	ROLE_MACHINE,  /* the authorisation port's: its key lies on the machine's disk, so the tunnel takes none */
	ROLE_LAST = ROLE_MACHINE
};
const char *cert_role_text(enum cert_role r); /* "hub", "node", "operator", "machine" */

struct cred;  /* a certificate chain, its private key, and the root that judges the peer */
/* Reads a PEM file that holds: own certificate, issuing certificate(s), root,
 * and the private key (any order, told apart by content).  The descriptor may
 * be a pipe.  err gets one line for people. */
struct cred *cred_read(int fd, char *err, size_t errn);
/* The same with a private key under a passphrase.  NULL with EACCES: one is wanted. */
struct cred *cred_read_pass(int fd, const struct pass *pass, char *err, size_t errn);
void cred_free(struct cred *c);
const char *cred_name(const struct cred *c); /* the NAME it was issued to */
enum cert_role cred_role(const struct cred *c);
const struct signer *cred_signer(const struct cred *c); /* its private key, as long as c is there */
/* From now on sessions of c refuse who is on this list (crypto/denial.h), which
 * stays the caller's; NULL: nobody is. */
struct denials;
void cred_deny(struct cred *c, const struct denials *list);
bool cred_denied(const struct cred *c); /* is c itself on it? */

/* ---- TLS 1.2, ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, P-256, both sides
 * certified; no resumption, no renegotiation.  Sans I/O: octets of the wire in
 * and out, octets of the application in and out. ---- */
struct tls;
/* peer: the role the other side must have.  The credentials outlive the session. */
struct tls *tls_client(const struct cred *c, enum cert_role peer);
struct tls *tls_server(const struct cred *c, enum cert_role peer);
/* An operator's session with a machine (crypto/identity.h): pub names its key, and
 * it may show any certificate of role machine for that; NULL, for enrolment: one
 * that it signed itself, whose key is then asked for with tls_peer(). */
struct tls *tls_client_machine(const struct cred *c, const uint8_t *pub);
void tls_free(struct tls *t);
/* Each returns a buffer and its size, or NULL when it is not the time; the
 * `done` call says how much of it was used or filled. */
uint8_t *tls_wire_in(struct tls *t, size_t *n);   /* put received octets here */
void tls_wire_in_done(struct tls *t, size_t n);
const uint8_t *tls_wire_out(struct tls *t, size_t *n); /* send these */
void tls_wire_out_done(struct tls *t, size_t n);
uint8_t *tls_app_in(struct tls *t, size_t *n);    /* put plain octets to send here */
void tls_app_in_done(struct tls *t, size_t n);
void tls_flush(struct tls *t);                    /* what was put is to go now */
const uint8_t *tls_app_out(struct tls *t, size_t *n); /* received plain octets */
void tls_app_out_done(struct tls *t, size_t n);
void tls_close(struct tls *t);                    /* close_notify */
bool tls_ready(const struct tls *t);              /* handshake done, peer's role checked */
bool tls_closed(const struct tls *t);             /* ended, well or not */
const char *tls_error(const struct tls *t);       /* in words; NULL while all is well */
const char *tls_peer_name(const struct tls *t);   /* the NAME it was issued to; NULL before tls_ready */
bool tls_peer_denied(const struct tls *t);        /* by the list that is in force now */
/* Before the handshake: a peer that is denied gets through all the same, so that it
 * can be told; the caller asks tls_peer_denied(). */
void tls_admit_denied(struct tls *t);
struct tls_peer {
	enum cert_role role;
	char name[64];
	uint8_t pub[SIGN_PUB];
	uint8_t serial[16];
	bool own; /* signed by itself */
};
const struct tls_peer *tls_peer(const struct tls *t); /* of its leaf; NULL before tls_ready */
/* Keying material of this session (RFC 5705, no context).  0, or -1 with EAGAIN
 * before tls_ready. */
int tls_export(const struct tls *t, const char *label, uint8_t out[static 32]);

#endif
