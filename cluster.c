/* cluster.c - the LAN cluster.  Members, beats and the controller have their
 * place here; until they exist a node stands alone, and no command or key
 * claims otherwise.
 * Threat: clients choose their addresses; the key keeps them from choosing a bucket. */
#include "cluster.h"

#include <string.h>

unsigned cluster_bucket(const struct sip *k, const uint8_t *addr, size_t n)
{
	uint8_t prefix[8] = { (uint8_t)n };
	uint64_t h[2];
	memcpy(prefix + 1, addr, n == 4 ? 3 : 7);
	sip128(k, prefix, sizeof prefix, h);
	return (unsigned)(h[0] % CLUSTER_BUCKETS);
}
