/* denial.h - the denial list: certificates that are good no longer.
 *
 *   magic "encdnsD" and version 1, 8 octets | number 64 | time 64 | count 32 |
 *   count times { role 8 | serial 16 | time 64 | length 8 | name } |
 *   signature 64: ECDSA by the root's key over "encdns denials v1", a NUL, and all
 *   of the above
 *
 * Entries stand in rising order of their serials, none twice.  Numbers rise, and a
 * list holds whatever an older one held: a denial is final.
 *
 * The root signs, not the operators' issuing CA: every key below the root may be
 * in the hands of somebody who is to be denied (stations share issuing keys), and
 * the root is the one key that no list can be about.  It may lie locked away, and
 * whoever judges a certificate has the root's at hand, and needs nothing else.
 *
 * The list is public.  Why somebody is denied is not in it. */
#ifndef CRYPTO_DENIAL_H
#define CRYPTO_DENIAL_H

#include "crypto/cert.h"

#define DENIALS_MAX   16384u /* certificates */
#define DENIALS_HEAD  28u
#define DENIAL_BYTES  (1u + CERT_SERIAL + 8u + 1u + CERT_NAME - 1u) /* of one, at most */
#define DENIALS_BYTES (DENIALS_HEAD + DENIALS_MAX * DENIAL_BYTES + SIGN_SIG)

struct denial {
	enum cert_role role;
	uint8_t serial[CERT_SERIAL];
	uint64_t time;        /* when it was denied, seconds since 1970 */
	char name[CERT_NAME];
};

/* A list whose signature was good; NULL stands for one that denies nobody, with
 * number 0. */
struct denials;
/* NULL: why not, in words. */
struct denials *denials_read(const void *p, size_t n, const uint8_t root[static SIGN_PUB], const char **why);
void denials_free(struct denials *d);
uint64_t denials_number(const struct denials *d);
uint32_t denials_count(const struct denials *d);
const void *denials_octets(const struct denials *d, size_t *n);
bool denials_have(const struct denials *d, const uint8_t serial[static CERT_SERIAL]);
/* False: it is not on the list, and out is worth nothing. */
bool denials_find(const struct denials *d, const uint8_t serial[static CERT_SERIAL], struct denial *out);
/* One after the other; at is a zeroed cursor in the beginning.  False: no more. */
struct denials_at { size_t off; };
bool denials_next(const struct denials *d, struct denials_at *at, struct denial *out);
/* May `next` take the place of `have`?  NULL, or why not. */
const char *denials_follow(const struct denials *have, const struct denials *next);

/* The octets of a list with these entries, in any order; out has room for
 * DENIALS_BYTES.  How many, 0: too many entries, one twice, or no memory. */
size_t denials_write(uint8_t *out, const struct denial *entries, size_t n, uint64_t number, uint64_t time,
                     const struct signer *root);

/* What a process ends with whose own certificate is denied: it is not to be started
 * again with that one. */
#define EXIT_DENIED 77

/* ---- denied.c: the list that a process goes by, kept in DIR/denials ---- */

/* DIR/denials; 0 with NULL: there is none.  -1: why not, in words. */
int denials_load(const char *dir, const uint8_t root[static SIGN_PUB], struct denials **out, const char **why);

struct denied {
	const char *dir;
	struct cred *cred;    /* whose root signs, and whose sessions refuse who is on the list */
	struct denials *list;
};
/* Reads DIR/denials, if there is one.  -1: err has one line, and nobody is denied. */
int denied_open(struct denied *d, const char *dir, struct cred *cred, char *err, size_t n);
/* 1: it is newer, and in force from now on.  0: it is the one we have.  -1: refused,
 * err says why. */
int denied_take(struct denied *d, const void *p, size_t n, char *err, size_t errn);
/* What is in force to DIR/denials: 0, or -1 with errno. */
int denied_save(const struct denied *d);
void denied_close(struct denied *d);

#endif
