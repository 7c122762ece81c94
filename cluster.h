/* cluster.h - the LAN cluster: so far how clients are shared out. */
#ifndef CLUSTER_H
#define CLUSTER_H

#include "crypto.h"

#define CLUSTER_BUCKETS 65536u

/* The bucket of a client: by a keyed hash of its /24 (IPv4, n = 4) or /56
 * (IPv6, n = 16) prefix, so that a client always meets the same member. */
unsigned cluster_bucket(const struct sip *k, const uint8_t *addr, size_t n);

#endif
