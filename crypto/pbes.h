/* pbes.h - private keys under a passphrase (PKCS#8, PBES2).  Who reads or writes a
 * key goes by pass->open and pass->put: a node has no passphrase, and links none of this. */
#ifndef CRYPTO_PBES_H
#define CRYPTO_PBES_H

#include "crypto.h"
#include "crypto/der.h"

/* EncryptedPrivateKeyInfo around a PrivateKeyInfo.  d->bad: no room, no memory. */
void pbes_put(struct der *d, const struct pass *pass, const void *plain, size_t n);
/* The other way; plain has room for n octets.  The length, or 0: EINVAL: not of
 * that form; EACCES: pass is NULL; EKEYREJECTED: another passphrase, or damaged. */
size_t pbes_get(const void *der, size_t n, const struct pass *pass, uint8_t *plain);

#endif
