/* identity.h - a machine's identity: the P-256 key by which its port 22 is known.
 *
 *   DIR/identity.key   what its private key is made from: 64 hex digits (mode 0600).
 *                      A stolen disk holds it, so it opens nothing: role `machine` is
 *                      refused by every tunnel.
 *   DIR/identity.pem   its certificate.  Until enrolment signed by itself, for the
 *                      NAME that is the machine's id in hex; then by the machine
 *                      issuing CA, whose certificate follows it in the file.
 *   DIR/root.pem       the operator's root: whose operators are obeyed.
 *
 * The machine's id is the first 20 octets of SHA-256 of its public key. */
#ifndef CRYPTO_IDENTITY_H
#define CRYPTO_IDENTITY_H

#include "crypto.h"

#define MACHINE_ID 20

void machine_id(const uint8_t pub[static SIGN_PUB], uint8_t out[static MACHINE_ID]);
/* The fingerprint: the id in hex, in groups, as people compare it at console and station. */
void machine_id_text(const uint8_t id[static MACHINE_ID], char out[static 3 * MACHINE_ID]);
/* Makes identity.key and a certificate signed by itself in the folder when there is
 * no key: 1; 0: there is one; -1: err has a line. */
int identity_make(int dir, char *err, size_t n);
/* Key, certificate and root as they lie in the folder, for tls_server(c,
 * ROLE_OPERATOR) and gate_put_hello().  The certificate is checked to be the key's
 * and, when it is not signed by itself, of our root; its end is not judged, as
 * operators know the machine by its key.  NULL: err has a line. */
struct cred *identity_read(int dir, char *err, size_t n);
/* Has a CA certified it? */
bool identity_enrolled(const struct cred *c);
/* Puts the certificates of an IDENTITY (gate_read_identity) in identity.pem's place.
 * identity_read() gives credentials that show them.  0, or -1 and a line. */
struct gate_identity;
int identity_certify(int dir, const struct gate_identity *i, char *err, size_t n);

#endif
