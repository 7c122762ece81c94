/* pump.h - two ends of TLS in memory. */
#ifndef TESTS_PUMP_H
#define TESTS_PUMP_H

#include "crypto.h"

#include <string.h>

/* Moves octets between the two until nothing moves, at most `step` at a time (0: any
 * number).  `flip` counts the octets of the wire and changes that one (SIZE_MAX: none).
 * How many were moved. */
static inline size_t pump(struct tls *a, struct tls *b, size_t step, size_t flip)
{
	size_t total = 0;

	for (bool moved = true; moved;) {
		moved = false;
		for (int dir = 0; dir < 2; dir++) {
			struct tls *from = dir ? b : a, *to = dir ? a : b;
			size_t have, room;
			const uint8_t *p = tls_wire_out(from, &have);
			uint8_t *q = tls_wire_in(to, &room);

			if (!p || !q)
				continue;
			size_t n = have < room ? have : room;
			if (step && n > step)
				n = step;
			memcpy(q, p, n);
			if (flip >= total && flip < total + n)
				q[flip - total] ^= 1;
			total += n;
			tls_wire_out_done(from, n);
			tls_wire_in_done(to, n);
			moved = true;
		}
	}
	return total;
}

#endif
