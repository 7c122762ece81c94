/* cookie.h - DNS cookies (RFC 7873) in their interoperable form (RFC 9018): pure. */
#ifndef DNS_COOKIE_H
#define DNS_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "crypto.h"

#define COOKIE_LEN 24 /* client's part 8, ours 16 */

/* What to answer to a cookie of len octets (8, or 16 to 40) from the address
 * ip[0..iplen), 4 or 16 octets, at the time of day now_s: the same again while
 * it is fresh, else a new one by key[0], n > 0.  True: it was one that we gave
 * to that client within the last hour. */
bool cookie_answer(const struct sip *key, unsigned n, const uint8_t *cookie, size_t len, const uint8_t *ip,
                   size_t iplen, uint32_t now_s, uint8_t out[static COOKIE_LEN]);

#endif
