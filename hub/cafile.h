/* cafile.h - what the rooms of the CA share: its files. */
#ifndef HUB_CAFILE_H
#define HUB_CAFILE_H

#include "base/io.h"
#include "crypto/issue.h"

#include <limits.h>

/* Where a line for people goes. */
struct said {
	char *text;
	size_t n;
};
__attribute__((format(printf, 2, 3))) int ca_fail(struct said err, const char *fmt, ...); /* always -1 */

/* DIR/NAMESUFFIX; -1 with ENAMETOOLONG. */
int ca_path(char out[static PATH_MAX], const char *dir, const char *name, const char *suffix);
/* Names of files; role 0 is the root. */
const char *ca_file(unsigned role);

/* The root, or an issuing CA. */
struct ca {
	uint8_t der[CERT_MAX];
	size_t len;
	struct cert cert; /* views into der */
	struct signer *key; /* NULL: not read; freed by who read it */
};
/* Reads what belongs to a role (0: the root) and checks that it does. */
int ca_load(const char *dir, unsigned role, struct ca *ca, struct said err);
/* errno EKEYREJECTED: it is another passphrase. */
int ca_load_key(const char *dir, const struct pass *pass, unsigned role, struct ca *ca, struct said err);
/* Has this CA neither key nor certificate for the role (0: the root)? */
bool ca_lacks(const char *dir, unsigned role);

/* A file on its way to its place (base/io.h), several at a time if need be.  Write to
 * file.fd.  Both: 0, or -1 with errno. */
struct ca_draft {
	struct draft file;
	int folder;
};
int ca_draft_open(struct ca_draft *d, const char *path);
int ca_draft_end(struct ca_draft *d, int rc, bool replace);
/* The same credentials with their key, which is under `pass` or under `next` already, under
 * `next` (NULL: nothing); clear: also one that is under nothing, which stays otherwise. */
int ca_reseal(const char *path, const struct pass *pass, const struct pass *next, bool clear,
              struct said err);
int ca_write_cert(int fd, const uint8_t *der, size_t n); /* as PEM; 0, or -1 with errno */

#endif
