/* names.h - names told apart by their number, as those of a registry: 7 to 14
 * letters, five bits each of the number times the golden ratio.  Those of 7 are the
 * upper 35 bits of it: of the first 20,000,000,000 numbers no two have one name. */
#ifndef BENCH_NAMES_H
#define BENCH_NAMES_H

#include <stdint.h>

/* The label, without its length; returns that. */
static unsigned letters(uint64_t i, uint8_t out[static 14])
{
	uint64_t h = i * 0x9e3779b97f4a7c15ull;
	unsigned n = 7 + i % 8;
	for (unsigned k = 0; k < n; k++, h = h << 5 | h >> 59)
		out[k] = (uint8_t)("abcdefghijklmnopqrstuvwxyz012345"[h >> 59]);
	return n;
}

#endif
