/* ca.h - the operator's private CA.
 *
 *   DIR/root.pem ROLE.pem                    certificates: the root's, and those that
 *                                            issue for hubs, nodes, operators, machines
 *   DIR/root.key ROLE.key                    their private keys, mode 0600
 *   DIR/register                             what was issued, one line each:
 *       SERIAL ROLE NAME NOTBEFORE NOTAFTER  (hex, text, text, RFC 3339 twice)
 *   DIR/issued/ROLE-NAME.pem                 credentials: own certificate, issuing
 *                                            certificate, root, and the private key
 *                                            (a machine's is not here: it stays there)
 *
 * DIR lies at the operator's station and nowhere else. */
#ifndef HUB_CA_H
#define HUB_CA_H

#include "crypto/cert.h"

#include <stddef.h>

#define CA_LEAF_DAYS 365
#define CA_DAYS 3653 /* ten years */

/* Makes DIR (mode 0700; it may be there) with a root and an issuing CA for each
 * role.  A CA of an earlier version gets the issuing CAs that it lacks: added (may
 * be NULL) is how many.  -1 with a line in err, and nothing overwritten, when there
 * is a whole CA already. */
int ca_init(const char *dir, unsigned *added, char *err, size_t n);
/* A new key and certificate for NAME ([a-zA-Z0-9._-]{1,63}), 365 days; outfile
 * NULL: DIR/issued/ROLE-NAME.pem.  An older file of that name is replaced. */
int ca_issue(const char *dir, enum cert_role role, const char *name, const char *outfile,
             char *err, size_t n);
/* The same with the days named: 1 to CA_DAYS, never beyond the CA's own end. */
int ca_issue_days(const char *dir, enum cert_role role, const char *name, const char *outfile,
                  unsigned days, char *err, size_t n);
/* A certificate for a key that is not ours to see (a machine's), and those above
 * it, by enum cert_kind. */
struct ca_chain {
	uint8_t der[3][CERT_MAX];
	size_t len[3];
};
int ca_certify(const char *dir, enum cert_role role, const char *name, const uint8_t pub[static SIGN_PUB],
               unsigned days, struct ca_chain *out, char *err, size_t n);
/* encdns-hub ca ARGS: argv[0] is "ca".  0, 1 on failure, 2 on wrong usage. */
int ca_main(int argc, char **argv);

#endif
