/* wire.h - bounded reading and writing of bytes.
 *
 * Everything that comes from outside goes through `struct rd`; everything
 * that leaves goes through `struct wr`.  Both latch the first mistake, so code
 * runs straight through and tests once.  Byte order is big-endian unless the
 * name says otherwise. */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Memory that is written before it is read, where the compiler's zeros (the
 * Makefile's -ftrivial-auto-var-init) would cost more than the work itself. */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define RAW __attribute__((uninitialized))
#endif
#endif
#ifndef RAW
#define RAW
#endif

/* memcpy() for the few octets that DNS is made of: overlapping words of a fixed
 * size, which compilers turn into single moves.  musl's starts a string
 * instruction, which costs more than copying a name. */
static inline void copy_short(void *restrict to, const void *restrict from, size_t n)
{
	uint8_t *t = to;
	const uint8_t *f = from;
	if (n >= 16) {
		for (; n > 16; n -= 16, t += 16, f += 16)
			memcpy(t, f, 16);
		/* the last 16, some of them again */
		memcpy(t + n - 16, f + n - 16, 16);
	} else if (n >= 8) {
		memcpy(t, f, 8);
		memcpy(t + n - 8, f + n - 8, 8);
	} else if (n >= 4) {
		memcpy(t, f, 4);
		memcpy(t + n - 4, f + n - 4, 4);
	} else {
		for (; n > 0; n--)
			*t++ = *f++;
	}
}

/* memcmp() == 0 likewise. */
static inline bool same_short(const void *a, const void *b, size_t n)
{
	const uint8_t *p = a, *q = b;
	uint64_t x, y;
	if (n < 8) {
		for (; n > 0; n--)
			if (*p++ != *q++)
				return false;
		return true;
	}
	for (; n > 8; n -= 8, p += 8, q += 8) {
		memcpy(&x, p, 8);
		memcpy(&y, q, 8);
		if (x != y)
			return false;
	}
	memcpy(&x, p + n - 8, 8);
	memcpy(&y, q + n - 8, 8);
	return x == y;
}

static inline uint16_t get_u16(const uint8_t *p) { return (uint16_t)(p[0] << 8 | p[1]); }
static inline uint32_t get_u24(const uint8_t *p)
{
	return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}
static inline uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static inline uint64_t get_u40(const uint8_t *p) { return (uint64_t)p[0] << 32 | get_u32(p + 1); }
static inline uint64_t get_u48(const uint8_t *p)
{
	return (uint64_t)get_u16(p) << 32 | get_u32(p + 2);
}
static inline uint64_t get_u64(const uint8_t *p)
{
	return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}
static inline void put_u16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}
static inline void put_u24(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 16);
	put_u16(p + 1, v & 0xffff);
}
static inline void put_u32(uint8_t *p, uint32_t v)
{
	put_u16(p, v >> 16);
	put_u16(p + 2, v & 0xffff);
}
static inline void put_u40(uint8_t *p, uint64_t v)
{
	p[0] = (uint8_t)(v >> 32);
	put_u32(p + 1, (uint32_t)v);
}
static inline void put_u48(uint8_t *p, uint64_t v)
{
	put_u16(p, (uint32_t)(v >> 32) & 0xffff);
	put_u32(p + 2, (uint32_t)v);
}
static inline void put_u64(uint8_t *p, uint64_t v)
{
	put_u32(p, (uint32_t)(v >> 32));
	put_u32(p + 4, (uint32_t)v);
}

/* As 2n hex digits and a NUL. */
static inline void hex_text(char *out, const uint8_t *p, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < n; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = 0;
}

/* The other way: n octets from 2n lower-case digits, and no look at what follows
 * them.  False at the first that is none, a NUL too; out is worth nothing then. */
static inline bool hex_read(uint8_t *out, const char *text, size_t n)
{
	for (size_t i = 0; i < 2 * n; i++) {
		char c = text[i];
		int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
		if (v < 0)
			return false;
		out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] << 4 | v : v);
	}
	return true;
}

/* A bounded view of bytes we did not write.  The first short read latches
 * `bad`; later reads yield zero and nothing moves, so a parser reads straight
 * through and tests `bad` once, before believing anything. */
struct rd {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct rd rd_init(const void *p, size_t n)
{
	return (struct rd){ p, (const uint8_t *)p + n, false };
}
static inline size_t rd_left(const struct rd *r) { return r->bad ? 0 : (size_t)(r->end - r->p); }
static inline const uint8_t *rd_take(struct rd *r, size_t n)
{
	if (r->bad || (size_t)(r->end - r->p) < n) {
		r->bad = true;
		return NULL;
	}
	r->p += n;
	return r->p - n;
}
static inline uint8_t rd_u8(struct rd *r)
{
	const uint8_t *b = rd_take(r, 1);
	return b ? b[0] : 0;
}
static inline uint16_t rd_u16(struct rd *r)
{
	const uint8_t *b = rd_take(r, 2);
	return b ? get_u16(b) : 0;
}
static inline uint32_t rd_u24(struct rd *r)
{
	const uint8_t *b = rd_take(r, 3);
	return b ? get_u24(b) : 0;
}
static inline uint32_t rd_u32(struct rd *r)
{
	const uint8_t *b = rd_take(r, 4);
	return b ? get_u32(b) : 0;
}
static inline uint64_t rd_u40(struct rd *r)
{
	const uint8_t *b = rd_take(r, 5);
	return b ? get_u40(b) : 0;
}
static inline uint64_t rd_u48(struct rd *r)
{
	const uint8_t *b = rd_take(r, 6);
	return b ? get_u48(b) : 0;
}
static inline uint64_t rd_u64(struct rd *r)
{
	const uint8_t *b = rd_take(r, 8);
	return b ? get_u64(b) : 0;
}
/* Copies n bytes out; zeroes `out` when they are not there. */
static inline void rd_copy(struct rd *r, void *out, size_t n)
{
	const uint8_t *b = rd_take(r, n);
	if (b)
		memcpy(out, b, n);
	else
		memset(out, 0, n);
}
/* The next n bytes as their own reader: a TLV can't run into its neighbour. */
static inline struct rd rd_sub(struct rd *r, size_t n)
{
	const uint8_t *b = rd_take(r, n);
	return b ? (struct rd){ b, b + n, false } : (struct rd){ .bad = true };
}

/* The mirror: writes into memory of a fixed size; the first overrun latches
 * `bad` and nothing more is written. */
struct wr {
	uint8_t *start, *p, *end;
	bool bad;
};

static inline struct wr wr_init(void *p, size_t n)
{
	return (struct wr){ p, p, (uint8_t *)p + n, false };
}
static inline size_t wr_len(const struct wr *w) { return (size_t)(w->p - w->start); }
static inline size_t wr_room(const struct wr *w) { return w->bad ? 0 : (size_t)(w->end - w->p); }
static inline uint8_t *wr_take(struct wr *w, size_t n)
{
	if (w->bad || (size_t)(w->end - w->p) < n) {
		w->bad = true;
		return NULL;
	}
	w->p += n;
	return w->p - n;
}
static inline void wr_u8(struct wr *w, unsigned v)
{
	uint8_t *b = wr_take(w, 1);
	if (b)
		b[0] = (uint8_t)v;
}
static inline void wr_u16(struct wr *w, uint32_t v)
{
	uint8_t *b = wr_take(w, 2);
	if (b)
		put_u16(b, v);
}
static inline void wr_u24(struct wr *w, uint32_t v)
{
	uint8_t *b = wr_take(w, 3);
	if (b)
		put_u24(b, v);
}
static inline void wr_u32(struct wr *w, uint32_t v)
{
	uint8_t *b = wr_take(w, 4);
	if (b)
		put_u32(b, v);
}
static inline void wr_u40(struct wr *w, uint64_t v)
{
	uint8_t *b = wr_take(w, 5);
	if (b)
		put_u40(b, v);
}
static inline void wr_u48(struct wr *w, uint64_t v)
{
	uint8_t *b = wr_take(w, 6);
	if (b)
		put_u48(b, v);
}
static inline void wr_u64(struct wr *w, uint64_t v)
{
	uint8_t *b = wr_take(w, 8);
	if (b)
		put_u64(b, v);
}
static inline void wr_bytes(struct wr *w, const void *p, size_t n)
{
	uint8_t *b = wr_take(w, n);
	if (b)
		copy_short(b, p, n);
}

#endif
