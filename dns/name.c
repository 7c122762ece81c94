/* name.c - DNS names as octets: pure functions, no state.  Contract in name.h.
 * Threat: names arrive from strangers; name_read and name_unpack are the only
 * doors, and both bound every step by the bytes at hand and by 255 octets. */
#include "dns/name.h"

void name_wildcard(const uint8_t *name, uint8_t out[static NAME_MAX_LEN + 2])
{
	out[0] = 1;
	out[1] = '*';
	memcpy(out + 2, name, name_len(name));
}

size_t name_read(struct rd *r, uint8_t out[static NAME_MAX_LEN])
{
	size_t at = 0;
	for (;;) {
		uint8_t n = rd_u8(r);
		const uint8_t *b = n <= 63 ? rd_take(r, n) : NULL;
		if (r->bad || !b || at + 1 + n + (n ? 1 : 0) > NAME_MAX_LEN) {
			r->bad = true;
			return 0;
		}
		out[at++] = n;
		memcpy(out + at, b, n);
		at += n;
		if (n == 0)
			return at;
	}
}

size_t name_unpack(const uint8_t *msg, size_t len, size_t *off, uint8_t out[static NAME_MAX_LEN])
{
	size_t at = 0, pos = *off, limit = *off, after = 0;
	for (;;) {
		if (pos >= len)
			return 0;
		uint8_t n = msg[pos];
		if (n >= 0xc0) {
			if (pos + 1 >= len)
				return 0;
			size_t to = (size_t)(n & 0x3f) << 8 | msg[pos + 1];
			if (!after)
				after = pos + 2;
			if (to >= limit)
				return 0;
			pos = limit = to;
			continue;
		}
		if (n > 63 || pos + 1 + n > len || at + 1 + n + (n ? 1 : 0) > NAME_MAX_LEN)
			return 0;
		memcpy(out + at, msg + pos, n + 1u);
		at += n + 1u;
		pos += n + 1u;
		if (n == 0) {
			*off = after ? after : pos;
			return at;
		}
	}
}

/* name_fold() of eight octets, whatever their order: bit 7 of each of `letter`
 * tells an octet from A to Z (sums of seven bits don't carry over). */
static uint64_t fold_word(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t low = w & (0x7f * ones);
	uint64_t letter = (low + (0x80 - 'A') * ones) & ~(low + (0x7f - 'Z') * ones) & ~w & (0x80 * ones);
	return w | letter >> 2;
}

size_t name_lower(uint8_t *dst, const uint8_t *src)
{
	size_t n = name_len(src), i = 0;
	uint64_t w;
	/* length octets are below 64 and so are never letters */
	for (; i + 8 <= n; i += 8) {
		memcpy(&w, src + i, 8);
		w = fold_word(w);
		memcpy(dst + i, &w, 8);
	}
	for (; i < n; i++)
		dst[i] = name_fold(src[i]);
	return n;
}

bool name_equal(const uint8_t *a, const uint8_t *b)
{
	for (;;) {
		uint8_t n = *a;
		if (n != *b)
			return false;
		if (n == 0)
			return true;
		for (unsigned i = 1; i <= n; i++)
			if (name_fold(a[i]) != name_fold(b[i]))
				return false;
		a += n + 1;
		b += n + 1;
	}
}

static int label_cmp(const uint8_t *a, const uint8_t *b)
{
	unsigned n = *a < *b ? *a : *b;
	for (unsigned i = 1; i <= n; i++) {
		int d = name_fold(a[i]) - name_fold(b[i]);
		if (d)
			return d;
	}
	return *a - *b;
}

int name_cmp(const uint8_t *a, const uint8_t *b)
{
	unsigned la = name_labels(a), lb = name_labels(b);
	unsigned common = la < lb ? la : lb;
	for (unsigned i = 1; i <= common; i++) {
		int d = label_cmp(name_skip(a, la - i), name_skip(b, lb - i));
		if (d)
			return d;
	}
	return (la > lb) - (la < lb);
}

bool name_below(const uint8_t *name, const uint8_t *zone)
{
	size_t ln = name_len(name), lz = name_len(zone);
	if (ln < lz)
		return false;
	const uint8_t *end = name + (ln - lz); /* where the zone's name would stand */
	while (name < end)
		name += *name + 1;
	return name == end && name_equal(name, zone);
}

size_t name_key_below(const uint8_t *name, unsigned above, uint8_t out[static NAME_KEY_MAX])
{
	size_t at = 0;
	for (unsigned left = name_labels(name) - above; left-- > 0;) {
		const uint8_t *l = name_skip(name, left);
		for (unsigned i = 1; i <= *l; i++) {
			uint8_t c = name_fold(l[i]);
			if (c <= 1) {
				out[at++] = 1;
				out[at++] = c + 1;
			} else {
				out[at++] = c;
			}
		}
		out[at++] = 0;
	}
	return at;
}

size_t name_key(const uint8_t *name, uint8_t out[static NAME_KEY_MAX]) { return name_key_below(name, 0, out); }

/* One label of a key, escapes undone, as a label; 0: it is none. */
static size_t key_label(const uint8_t **p, const uint8_t *end, uint8_t out[static 64])
{
	const uint8_t *k = *p;
	size_t n = 0;
	while (k < end && *k != 0) {
		uint8_t c = *k++;
		if (c == 1) {
			if (k == end || *k < 1 || *k > 2)
				return 0;
			c = *k++ - 1;
		}
		if (n == 63)
			return 0;
		out[++n] = c;
	}
	if (k == end || n == 0)
		return 0;
	out[0] = (uint8_t)n;
	*p = k + 1;
	return n + 1;
}

size_t name_from_key(const uint8_t *key, size_t len, uint8_t out[static NAME_MAX_LEN])
{
	uint8_t rev[NAME_MAX_LEN] RAW, label[64] RAW;
	const uint8_t *p = key, *end = key + len;
	size_t at = sizeof rev;          /* filled from the end: the key starts at the root */
	rev[--at] = 0;
	while (p < end) {
		size_t n = key_label(&p, end, label);
		if (n == 0 || at < n)
			return 0;
		at -= n;
		copy_short(rev + at, label, n);
	}
	copy_short(out, rev + at, sizeof rev - at);
	return sizeof rev - at;
}

static int digit(char c) { return c >= '0' && c <= '9' ? c - '0' : -1; }

/* One octet of text, escapes undone: its value, or -1; *dot tells an unescaped dot. */
static int text_octet(const char **p, const char *end, bool *dot)
{
	char c = *(*p)++;
	*dot = c == '.';
	if (c != '\\')
		return (uint8_t)c;
	if (*p == end)
		return -1;
	if (digit(**p) < 0)
		return (uint8_t)*(*p)++;
	if (end - *p < 3 || digit((*p)[1]) < 0 || digit((*p)[2]) < 0)
		return -1;
	int v = digit((*p)[0]) * 100 + digit((*p)[1]) * 10 + digit((*p)[2]);
	*p += 3;
	return v <= 255 ? v : -1;
}

size_t name_parse(const char *text, size_t n, const uint8_t *origin, uint8_t out[static NAME_MAX_LEN])
{
	uint8_t name[NAME_MAX_LEN + 64];
	const char *p = text, *end = text + n;
	size_t at = 0;
	bool dot = false;

	if (n == 0)
		return 0;
	if (n == 1 && *text == '.') {
		out[0] = 0;
		return 1;
	}
	while (p < end) {
		size_t label = at++, len = 0;
		dot = false;
		while (p < end) {
			int c = text_octet(&p, end, &dot);
			if (c < 0)
				return 0;
			if (dot)
				break;
			if (++len > 63)
				return 0;
			name[at++] = (uint8_t)c;
		}
		if (len == 0 || at > NAME_MAX_LEN - 1)
			return 0;
		name[label] = (uint8_t)len;
	}
	size_t tail = !dot && origin ? name_len(origin) : 1;
	if (at + tail > NAME_MAX_LEN)
		return 0;
	memcpy(out, name, at);
	if (!dot && origin)
		memcpy(out + at, origin, tail);
	else
		out[at] = 0;
	return at + tail;
}

char *name_text(const uint8_t *name, char out[static NAME_TEXT_MAX])
{
	char *o = out;
	if (*name == 0)
		*o++ = '.';
	for (; *name; name += *name + 1) {
		for (unsigned i = 1; i <= *name; i++) {
			uint8_t c = name[i];
			if (c <= 32 || c >= 127) {
				*o++ = '\\';
				*o++ = (char)('0' + c / 100);
				*o++ = (char)('0' + c / 10 % 10);
				*o++ = (char)('0' + c % 10);
			} else {
				if (strchr(".\\\"$@;()", c))
					*o++ = '\\';
				*o++ = (char)c;
			}
		}
		*o++ = '.';
	}
	*o = 0;
	return out;
}
