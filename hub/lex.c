/* lex.c - the words of a master file, and what a single one says.  Contract in lex.h.
 *
 * States of the lexer: before an entry, within one (`mid`), within parentheses (`depth`),
 * where a line's end is white space.
 * Withstands any octets: every word is bounded by the text at hand, and what a word
 * is turned into by the room there is for it. */
#include "hub/lex.h"

#include <arpa/inet.h>

/* ---- words ---- */

enum { C_PLAIN, C_SPACE, C_LINE, C_COMMENT, C_OPEN, C_CLOSE, C_QUOTE, C_ESCAPE };
static const uint8_t classes[256] = {
	[' '] = C_SPACE, ['\t'] = C_SPACE, ['\r'] = C_SPACE, ['\n'] = C_LINE, [';'] = C_COMMENT,
	['('] = C_OPEN, [')'] = C_CLOSE, ['"'] = C_QUOTE, ['\\'] = C_ESCAPE,
};
static unsigned class_of(char c) { return classes[(uint8_t)c]; }

void lex_init(struct lex *x, const char *text, size_t n, unsigned line)
{
	*x = (struct lex){ .p = text, .end = text + n, .line = line, .bol = true, .kind = LEX_END };
}

/* More text behind *p, while what begins at *start is kept. */
static bool refill(struct lex *x, const char **start, const char **p)
{
	size_t kept = (size_t)(*p - *start);
	x->p = *start;
	bool got = x->more && x->more(x);
	*start = x->p;
	*p = *start + kept;
	return got;
}

static enum lex_kind bad(struct lex *x, const char *p, const char *why)
{
	x->p = p;
	x->why = why;
	x->word = p;
	x->n = 0;
	x->mid = true;
	return LEX_BAD;
}

/* Steps over an escape's backslash and the octet behind it; false: nothing is there. */
static bool step_escape(struct lex *x, const char **start, const char **p)
{
	x->esc = true;
	++*p;
	if ((*p == x->end && !refill(x, start, p)) || **p == '\n')
		return false;
	++*p;
	return true;
}

/* *p stands behind an opening quote; moves to the closing one. */
static const char *scan_quoted(struct lex *x, const char **start, const char **p)
{
	for (;;) {
		while (*p < x->end && **p != '"' && **p != '\\' && **p != '\n')
			++*p;
		if (*p == x->end) {
			if (!refill(x, start, p))
				return "a quoted string is not closed";
		} else if (**p == '"') {
			return NULL;
		} else if (**p == '\n') {
			return "a quoted string is not closed on its line";
		} else if (!step_escape(x, start, p)) {
			return "nothing follows a backslash";
		}
	}
}

static enum lex_kind quoted(struct lex *x, const char *p)
{
	const char *start = ++p;
	x->esc = false;
	const char *why = scan_quoted(x, &start, &p);
	if (why)
		return bad(x, p, why);
	x->word = start;
	x->n = (size_t)(p - start);
	x->p = p + 1;
	x->mid = true;
	return LEX_QUOTED;
}

static enum lex_kind bare(struct lex *x, const char *p)
{
	const char *start = p, *why;
	x->esc = false;
	for (;;) {
		while (p < x->end && class_of(*p) == C_PLAIN)
			p++;
		if (p == x->end) {
			if (refill(x, &start, &p))
				continue;
			break;
		}
		if (*p == '\\') {
			if (!step_escape(x, &start, &p))
				return bad(x, p, "nothing follows a backslash");
		} else if (*p == '"' && x->pairs && p > start && p[-1] == '=') {
			p++;
			why = scan_quoted(x, &start, &p);
			if (why)
				return bad(x, p, why);
			p++;
		} else {
			break;
		}
	}
	x->word = start;
	x->n = (size_t)(p - start);
	x->p = p;
	x->mid = true;
	return LEX_WORD;
}

/* p is behind the last octet. */
static enum lex_kind at_end(struct lex *x, const char *p)
{
	x->p = p;
	if (x->depth) {
		x->depth = 0;
		x->word_line = x->open_line;
		return bad(x, p, "a parenthesis is not closed");
	}
	if (!x->mid)
		return LEX_EOF;
	x->mid = false;
	x->bol = true;
	x->blank = false;
	return LEX_END;
}

static bool skip_comment(struct lex *x, const char **p)
{
	for (;;) {
		const char *nl = memchr(*p, '\n', (size_t)(x->end - *p));
		*p = nl ? nl : x->end;
		if (nl)
			return true;
		if (!refill(x, p, p))
			return false;
	}
}

static enum lex_kind scan(struct lex *x)
{
	const char *p = x->p;
	if (!x->mid && x->kind == LEX_END) {
		x->bol = true;
		x->blank = false;
	}
	for (;;) {
		if (p == x->end && !refill(x, &p, &p)) {
			x->word_line = x->line;
			return at_end(x, p);
		}
		unsigned c = class_of(*p);
		x->word_line = x->line;
		if (x->bol && !x->mid)
			x->blank = c == C_SPACE;
		x->bol = false;
		switch (c) {
		case C_SPACE:
			p++;
			break;
		case C_LINE:
			p++;
			x->line++;
			if (x->depth)
				break;
			x->bol = true;
			if (x->mid) {
				x->mid = false;
				x->p = p;
				return LEX_END;
			}
			break;
		case C_COMMENT:
			skip_comment(x, &p);
			break;
		case C_OPEN:
			if (x->depth++ == 0)
				x->open_line = x->line;
			p++;
			break;
		case C_CLOSE:
			p++;
			if (x->depth == 0)
				return bad(x, p, "a ) without its (");
			x->depth--;
			break;
		case C_QUOTE:
			return quoted(x, p);
		default:
			return bare(x, p);
		}
	}
}

enum lex_kind lex_next(struct lex *x)
{
	if (x->back)
		x->back = false;
	else
		x->kind = scan(x);
	return x->kind;
}

void lex_skip(struct lex *x)
{
	x->back = false;
	while (x->kind != LEX_END && x->kind != LEX_EOF)
		lex_next(x);
}

/* ---- text of single words ---- */

bool text_number(const char *s, size_t n, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	if (n == 0 || n > 19)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!is_digit(s[i]))
			return false;
		v = v * 10 + (uint64_t)(s[i] - '0');
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}

static uint32_t unit_seconds(char c)
{
	switch (c | 32) {
	case 's': return 1;
	case 'm': return 60;
	case 'h': return 3600;
	case 'd': return 86400;
	case 'w': return 604800;
	}
	return 0;
}

bool ttl_parse(const char *text, size_t n, uint32_t *out)
{
	uint64_t sum = 0, v = 0;
	bool digits = false, units = false;
	if (n == 0 || n > 40)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (is_digit(text[i])) {
			v = v * 10 + (uint64_t)(text[i] - '0');
			digits = true;
		} else {
			uint32_t unit = unit_seconds(text[i]);
			if (!unit || !digits)
				return false;
			sum += v * unit;
			v = 0;
			digits = false;
			units = true;
		}
		if (v > UINT32_MAX || sum > UINT32_MAX)
			return false;
	}
	sum += v;
	if (sum > UINT32_MAX || (digits && units))
		return false;
	*out = (uint32_t)sum;
	return true;
}

int text_unescape(const char *text, size_t n, uint8_t *out, size_t max)
{
	size_t at = 0;
	for (size_t i = 0; i < n; at++) {
		if (at == max)
			return -1;
		if (text[i] != '\\') {
			out[at] = (uint8_t)text[i++];
			continue;
		}
		if (++i == n)
			return -1;
		if (!is_digit(text[i])) {
			out[at] = (uint8_t)text[i++];
			continue;
		}
		uint64_t v;
		if (n - i < 3 || !text_number(text + i, 3, 255, &v))
			return -1;
		out[at] = (uint8_t)v;
		i += 3;
	}
	return (int)at;
}

size_t text_name(const char *text, size_t n, const uint8_t *origin, uint8_t out[static NAME_MAX_LEN])
{
	if (n == 1 && *text == '@') {
		size_t len = name_len(origin);
		memcpy(out, origin, len);
		return len;
	}
	/* plain text, which almost all is: each dot becomes the next length octet */
	if (n == 0 || n > NAME_MAX_LEN - 2 || memchr(text, '\\', n))
		return name_parse(text, n, origin, out);
	size_t label = 0;
	for (size_t i = 0; i < n; i++) {
		if (text[i] != '.') {
			out[i + 1] = (uint8_t)text[i];
			continue;
		}
		if (i == label || i - label > 63)
			return n == 1 ? (out[0] = 0, 1) : 0;
		out[label] = (uint8_t)(i - label);
		label = i + 1;
	}
	if (label == n) {
		out[n] = 0;
		return n + 1;
	}
	size_t tail = name_len(origin);
	if (n - label > 63 || n + 1 + tail > NAME_MAX_LEN)
		return 0;
	out[label] = (uint8_t)(n - label);
	memcpy(out + n + 1, origin, tail);
	return n + 1 + tail;
}

bool text_ip4(const char *s, size_t n, uint8_t out[static 4])
{
	const char *end = s + n;
	for (unsigned k = 0; k < 4; k++) {
		const char *from = s;
		unsigned v = 0;
		while (s < end && is_digit(*s) && s - from < 4)
			v = v * 10 + (unsigned)(*s++ - '0');
		if (s == from || v > 255 || (s - from > 1 && *from == '0'))
			return false;
		out[k] = (uint8_t)v;
		if (k < 3 && (s == end || *s++ != '.'))
			return false;
	}
	return s == end;
}

bool text_ip6(const char *s, size_t n, uint8_t out[static 16])
{
	char text[INET6_ADDRSTRLEN];
	if (n >= sizeof text || memchr(s, 0, n))
		return false;
	memcpy(text, s, n);
	text[n] = 0;
	return inet_pton(AF_INET6, text, out) == 1;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (is_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool text_base64(struct base64 *b, const char *s, size_t n, struct wr *w)
{
	for (size_t i = 0; i < n; i++) {
		if (s[i] == '=') {
			if (++b->pads > 2)
				return false;
			continue;
		}
		int v = base64_value(s[i]);
		if (v < 0 || b->pads)
			return false;
		b->acc = b->acc << 6 | (unsigned)v;
		if (++b->digits % 4 == 0)
			wr_u24(w, b->acc & 0xffffff);
	}
	return true;
}

bool text_base64_end(struct base64 *b, struct wr *w)
{
	unsigned left = b->digits % 4;
	if (left == 0)
		return b->pads == 0;
	if (left == 1 || b->pads != 4 - left || (b->acc & (left == 2 ? 15 : 3)))
		return false;
	if (left == 2) {
		wr_u8(w, b->acc >> 4 & 255);
	} else {
		wr_u16(w, b->acc >> 2 & 0xffff);
	}
	return true;
}

bool text_same(const char *word, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (!text[i] || name_fold((uint8_t)word[i]) != name_fold((uint8_t)text[i]))
			return false;
	return text[n] == 0;
}

const char *text_show(const char *text, size_t n, char out[static 64])
{
	size_t cut = n > 48 ? 48 : n, at = 0;
	out[at++] = '"';
	for (size_t i = 0; i < cut; i++)
		out[at++] = text[i] < ' ' || text[i] > '~' ? '?' : text[i];
	if (cut < n) {
		memcpy(out + at, "...", 3);
		at += 3;
	}
	out[at++] = '"';
	out[at] = 0;
	return out;
}
