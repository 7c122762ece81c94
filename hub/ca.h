/* ca.h - the operator's private CA.
 *
 *   DIR/root.pem ROLE.pem        certificates: the root's, and those that issue for
 *                                hubs, nodes, operators, machines
 *   DIR/root.key ROLE.key        their private keys, mode 0600, under a passphrase
 *                                (PKCS#8, PBES2: `openssl pkey` reads them) or not;
 *                                root.key may lie elsewhere and come back for `init`,
 *                                `deny` and `passphrase` only
 *   DIR/register, DIR/reasons    what was issued, and why denied (register.h)
 *   DIR/denials                  the signed denial list (crypto/denial.h)
 *   DIR/issued/ROLE-NAME.pem     credentials: own certificate, issuing certificate,
 *                                root, and the private key; a machine's key stays on
 *                                the machine, and is not in it
 *
 * DIR lies at the operator's station and nowhere else.
 *
 * Functions return 0, or -1 with a line in err.  pass is what the CA's keys are
 * under; NULL: nothing. */
#ifndef HUB_CA_H
#define HUB_CA_H

#include "crypto/cert.h"
#include "hub/register.h"

#include <stddef.h>

#define CA_LEAF_DAYS 365
#define CA_DAYS 3653 /* ten years */

/* Is the key of this role (0: of the root) under a passphrase? */
bool ca_locked(const char *dir, unsigned role);
/* Makes DIR (mode 0700; it may be there) with a root and an issuing CA for each
 * role.  A CA of an earlier version gets the issuing CAs that it lacks: added (may
 * be NULL) is how many.  Nothing is overwritten; a whole CA is an error. */
int ca_init(const char *dir, const struct pass *pass, unsigned *added, char *err, size_t n);
/* Puts every key under another passphrase (NULL: none).  After an interruption it
 * is called again. */
int ca_passphrase(const char *dir, const struct pass *pass, const struct pass *next, char *err, size_t n);

struct ca_order {
	enum cert_role role;
	const char *name;        /* [a-zA-Z0-9._-]{1,63} */
	unsigned days;           /* 1 to CA_DAYS, never beyond the CA's own end; 0: CA_LEAF_DAYS */
	const char *outfile;     /* NULL: DIR/issued/ROLE-NAME.pem; what is there is replaced */
	const struct pass *pass; /* for the new key; NULL: none */
};
/* A new key and a certificate for it; none for a machine, which has its own. */
int ca_issue(const char *dir, const struct pass *pass, const struct ca_order *o, char *err, size_t n);
/* The same for who has a certificate that is not denied, expired or not; the old
 * one stays as it is.  A machine gets a certificate for the key it has. */
int ca_renew(const char *dir, const struct pass *pass, const struct ca_order *o, char *err, size_t n);

/* A certificate for a key that is not ours to see (a machine's), and those above
 * it, by enum cert_kind.  outfile is not used; a machine's are kept in
 * DIR/issued/machine-NAME.pem. */
struct ca_chain {
	uint8_t der[3][CERT_MAX];
	size_t len[3];
};
int ca_certify(const char *dir, const struct pass *pass, const struct ca_order *o, const uint8_t pub[static SIGN_PUB],
               struct ca_chain *out, char *err, size_t n);

/* Whom to deny: the one with this serial or, NULL, all of this role and name. */
struct ca_denial {
	const uint8_t *serial;
	enum cert_role role;
	const char *name;
	const char *reason;      /* printable ASCII, at most REASON_MAX; NULL: none */
};
/* Writes DIR/denials anew; count: how many more it has.  An error when none has. */
int ca_deny(const char *dir, const struct pass *pass, const struct ca_denial *d, unsigned *count, uint64_t *number,
            char *err, size_t n);

/* How many certificates of this role were issued to the name, and how many of them are
 * not denied? */
int ca_count(const char *dir, enum cert_role role, const char *name, unsigned *issued, unsigned *good, char *err,
             size_t n);

/* Where a certificate stands. */
enum ca_state { CA_VALID, CA_EXPIRING, CA_RENEWED, CA_EXPIRED, CA_DENIED };
#define CA_SOON_DAYS 30 /* expiring: it ends within, and there is no later one */
const char *ca_state_text(enum ca_state s);
struct ca_listed {
	struct entry e;
	enum ca_state state;
	bool denied;
	int64_t denied_at;              /* seconds since 1970 */
	char reason[REASON_MAX + 1];
};
/* All that were issued, oldest first; free(*out).  number: the denial list's. */
int ca_list(const char *dir, struct ca_listed **out, size_t *count, uint64_t *number, char *err, size_t n);

/* encdns-hub ca ARGS: argv[0] is "ca".  0, 1 on failure, 2 on wrong usage. */
int ca_main(int argc, char **argv);

#endif
