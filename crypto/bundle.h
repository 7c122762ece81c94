/* bundle.h - the sealed bundle: what a machine needs to run, on its disk, of use
 * only together with K_system.
 *
 *   magic "encdnsB" and version 1 | machine id 20 | generation 64 | sealed at 64 |
 *   salt 16 | length 32 | ciphertext | tag 16 | operator's leaf: length 16, DER |
 *   operators' issuing certificate: length 16, DER | signature 64 over all before
 *
 * The ciphertext is AES-256-GCM under HKDF(K_system, salt, "bundle/v1"), nonce zero
 * as that key seals once, all before it as additional data.  Plain: files, each
 *
 *   name length 8, name | size 32, octets
 *
 * The signature says who made it, K_system that the same operators wrote it for this
 * machine; the certificate has to have been valid when the bundle was sealed, so
 * that a machine starts after the operator's year is over; a denied operator's
 * bundles open nowhere.
 *
 * Threat: the disk's octets are anyone's.  The plain text lies in the pool and
 * nowhere else. */
#ifndef CRYPTO_BUNDLE_H
#define CRYPTO_BUNDLE_H

#include "crypto.h"
#include "crypto/cert.h"
#include "crypto/identity.h"

#define BUNDLE_MAX   (16u << 20) /* octets, sealed */
#define BUNDLE_FILES 32u
#define BUNDLE_NAME  64 /* [a-zA-Z0-9._-]{1,63} and a NUL */
#define BUNDLE_HEAD  64 /* octets before the ciphertext */

struct bundle_head {
	uint8_t id[MACHINE_ID];
	uint64_t generation; /* from 1 */
	uint64_t sealed_at;  /* seconds since 1970, to the year 9999 */
};
/* What the first BUNDLE_HEAD octets claim; nothing of it is proved. */
bool bundle_peek(const void *p, size_t n, struct bundle_head *out);

struct bundle_file { const char *name; const void *p; size_t n; };
/* Octets that a bundle of these files takes; 0: too many, too large, a name twice or not allowed. */
size_t bundle_size(const struct bundle_file *f, unsigned nfiles, const struct cred *operator);
/* Writes that many octets, under a salt of its own.  0, or -1 with errno. */
int bundle_seal(void *out, const struct bundle_head *h, const struct key *k_system,
                const struct bundle_file *f, unsigned nfiles, const struct cred *operator);

struct bundle_terms {
	const struct key *k_system;
	const uint8_t *id;       /* MACHINE_ID, ours */
	uint64_t least;          /* generation */
	const struct cred *cred; /* whose root and denial list (cred_deny) judge */
};
struct bundle; /* an opened one */
/* NULL and *why, words for the own console (the peer hears GATE_REFUSED). */
struct bundle *bundle_open(const void *p, size_t n, const struct bundle_terms *t, const char **why);
void bundle_free(struct bundle *b); /* wipes; NULL is fine */
/* The files in the order they were put; false: there are no more. */
bool bundle_at(const struct bundle *b, unsigned i, struct bundle_file *out);
bool bundle_find(const struct bundle *b, const char *name, struct bundle_file *out);

#endif
