/* ca.h - the operator's private CA.
 *
 *   DIR/root.pem hub.pem node.pem operator.pem   certificates
 *   DIR/root.key hub.key node.key operator.key   private keys, mode 0600
 *   DIR/register                                 what was issued, one line each:
 *       SERIAL ROLE NAME NOTBEFORE NOTAFTER      (hex, text, text, RFC 3339 twice)
 *   DIR/issued/ROLE-NAME.pem                     credentials: own certificate, issuing
 *                                                certificate, root, private key
 *
 * DIR lies at the operator's station and nowhere else. */
#ifndef HUB_CA_H
#define HUB_CA_H

#include "crypto.h"

#include <stddef.h>

#define CA_LEAF_DAYS 365
#define CA_DAYS 3653 /* ten years */

/* Makes DIR (mode 0700; it may be there) with a root and three issuing CAs.
 * -1 with a line in err, and nothing overwritten, when there is a CA already. */
int ca_init(const char *dir, char *err, size_t n);
/* A new key and certificate for NAME ([a-zA-Z0-9._-]{1,63}), 365 days; outfile
 * NULL: DIR/issued/ROLE-NAME.pem.  An older file of that name is replaced. */
int ca_issue(const char *dir, enum cert_role role, const char *name, const char *outfile,
             char *err, size_t n);
/* The same with the days named: 1 to CA_DAYS, never beyond the CA's own end. */
int ca_issue_days(const char *dir, enum cert_role role, const char *name, const char *outfile,
                  unsigned days, char *err, size_t n);
/* encdns-hub ca ARGS: argv[0] is "ca".  0, 1 on failure, 2 on wrong usage. */
int ca_main(int argc, char **argv);

#endif
