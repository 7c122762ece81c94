/* der.h - writing DER, from the back to the front: contents first, then the
 * header that needs their length. */
#ifndef CRYPTO_DER_H
#define CRYPTO_DER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Grows downwards in a buffer; the first overrun latches `bad`. */
struct der {
	uint8_t *start, *p, *end;
	bool bad;
};

static inline size_t der_mark(const struct der *d)
{
	return (size_t)(d->end - d->p);
}

static inline void der_put(struct der *d, const void *b, size_t n)
{
	if (d->bad || (size_t)(d->p - d->start) < n) {
		d->bad = true;
		return;
	}
	d->p -= n;
	memcpy(d->p, b, n);
}

static inline void der_byte(struct der *d, uint8_t b)
{
	der_put(d, &b, 1);
}

/* The header of all that was put since `since`. */
static inline void der_head(struct der *d, uint8_t tag, size_t since)
{
	size_t n = der_mark(d) - since;

	der_byte(d, (uint8_t)n);
	if (n >= 0x100)
		der_byte(d, (uint8_t)(n >> 8));
	if (n >= 0x80)
		der_byte(d, n >= 0x100 ? 0x82 : 0x81);
	der_byte(d, tag);
}

static inline void der_tlv(struct der *d, uint8_t tag, const void *b, size_t n)
{
	size_t m = der_mark(d);

	der_put(d, b, n);
	der_head(d, tag, m);
}

#endif
