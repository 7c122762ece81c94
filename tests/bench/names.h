/* names.h - names told apart by their number, as those of a registry: 7 to 14
 * letters. Those of 7 are 35 bits of a walk with even steps, so none comes twice. */
#include <stdint.h>

/* The label, without its length; returns that. */
static unsigned letters(uint64_t i, uint8_t out[static 14])
{
	uint64_t h = i * 0x9e3779b97f4a7c15ull;
	unsigned n = 7 + i % 8;
	for (unsigned k = 0; k < n; k++, h = h << 5 | h >> 59) /* 45 bits of it are there at 9 letters */
		out[k] = (uint8_t)("abcdefghijklmnopqrstuvwxyz012345"[h >> 59]);
	return n;
}
