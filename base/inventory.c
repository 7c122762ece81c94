/* inventory.c - form and comparison of inventories (inventory.h). */
#include "base/inventory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of which two are kept for what was lost. */
#define LINES (sizeof((struct inventory *)0)->at / sizeof(const char *))

static bool printable(char c) { return c >= ' ' && c <= '~'; }
static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* ---- lines of a finished text ---- */

struct line {
	const char *p; /* key, blank, value */
	size_t n;      /* without the newline; 0: there are no more */
	size_t key;    /* octets of the key, the ~ included */
};

static struct line first(const char *p, const char *end)
{
	const char *nl = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;

	if (!nl)
		return (struct line){ p, 0, 0 };
	const char *blank = memchr(p, ' ', (size_t)(nl - p));
	return (struct line){ p, (size_t)(nl - p), (size_t)((blank ? blank : nl) - p) };
}

static struct line next(struct line l, const char *end) { return first(l.p + l.n + 1, end); }

static int compare(const char *a, size_t na, const char *b, size_t nb)
{
	int c = memcmp(a, b, least(na, nb));

	return c ? c : (na > nb) - (na < nb);
}

static int by_key(struct line a, struct line b) { return compare(a.p, a.key, b.p, b.key); }
static int by_line(struct line a, struct line b)
{
	int c = by_key(a, b);

	return c ? c : compare(a.p, a.n, b.p, b.n);
}

static bool line_ok(struct line l)
{
	if (l.n >= INVENTORY_LINE || l.key == 0 || l.key + 1 >= l.n || (l.key == 1 && *l.p == '~'))
		return false;
	for (size_t i = 0; i < l.n; i++)
		if (!printable(l.p[i]))
			return false;
	return true;
}

bool inventory_valid(const char *text, size_t n)
{
	const char *end = text + n;

	if (n == 0)
		return true;
	if (n > INVENTORY_MAX || end[-1] != '\n')
		return false;
	struct line l = first(text, end), before = { 0 };
	for (;;) {
		if (!line_ok(l) || (before.n && by_line(before, l) > 0))
			return false;
		if (l.p + l.n + 1 == end)
			return true;
		before = l;
		l = next(l, end);
	}
}

/* ---- comparing ---- */

/* Walks over one side's lines beside the other's. */
struct cursor { struct line mine, other; const char *mine_end, *other_end; };

/* The next line of this key that stands on this side alone; n 0: none, and `mine`
 * is behind that key. */
static struct line alone(struct cursor *c, struct line key)
{
	while (c->mine.n && by_key(c->mine, key) == 0) {
		struct line l = c->mine;

		while (c->other.n && by_line(c->other, l) < 0)
			c->other = next(c->other, c->other_end);
		bool both = c->other.n && by_line(c->other, l) == 0;
		c->mine = next(l, c->mine_end);
		if (!both)
			return l;
		c->other = next(c->other, c->other_end);
	}
	return (struct line){ 0 };
}

struct teller { void (*found)(void *owner, const struct inventory_diff *d); void *owner; };

static const char *value(struct line l, char out[static INVENTORY_LINE])
{
	if (!l.n)
		return NULL;
	snprintf(out, INVENTORY_LINE, "%.*s", (int)(l.n - l.key - 1), l.p + l.key + 1);
	return out;
}

static void tell(const struct teller *t, struct line was, struct line is)
{
	char key[INVENTORY_LINE], a[INVENTORY_LINE], b[INVENTORY_LINE];
	struct line l = is.n ? is : was;
	bool loose = *l.p == '~';
	struct inventory_diff d = { .is_volatile = loose, .key = key, .was = value(was, a), .is = value(is, b) };

	d.kind = !was.n ? INVENTORY_ADDED : !is.n ? INVENTORY_REMOVED : INVENTORY_CHANGED;
	snprintf(key, sizeof key, "%.*s", (int)(l.key - loose), l.p + loose);
	if (t->found)
		t->found(t->owner, &d);
}

int inventory_compare(const char *was, size_t nwas, const char *is, size_t nis,
                      void (*found)(void *owner, const struct inventory_diff *d), void *owner)
{
	const char *was_end = was + nwas, *is_end = is + nis;
	struct teller t = { found, owner };
	int count = 0;

	if (!inventory_valid(was, nwas) || !inventory_valid(is, nis))
		return -1;
	struct cursor a = { first(was, was_end), first(is, is_end), was_end, is_end };
	struct cursor b = { a.other, a.mine, is_end, was_end };
	while (a.mine.n || b.mine.n) {
		struct line key = !b.mine.n || (a.mine.n && by_key(a.mine, b.mine) < 0) ? a.mine : b.mine;

		for (;;) {
			struct line x = alone(&a, key), y = alone(&b, key);

			if (!x.n && !y.n)
				break;
			tell(&t, x, y);
			count += *key.p != '~';
		}
	}
	return count;
}

/* ---- writing ---- */

/* Appends a line to `text`, whatever is in it. */
struct text { char *p; size_t n, room; };

static void put_escaped(struct text *t, const char *p, size_t n, bool blanks)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < n && t->n + 4 <= t->room; i++) {
		uint8_t c = (uint8_t)p[i];

		if (printable(p[i]) && c != '\\' && (blanks || c != ' ')) {
			t->p[t->n++] = p[i];
			continue;
		}
		const char odd[4] = { '\\', 'x', hex[c >> 4], hex[c & 15] };
		memcpy(t->p + t->n, odd, 4);
		t->n += 4;
	}
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || c == 0; }

void inventory_put(struct inventory *i, bool is_volatile, const char *key, const char *name,
                   const void *value_, size_t n)
{
	char line[INVENTORY_LINE];
	const char *v = value_;
	/* Of a key at most half a line, so that there is room for a value. */
	struct text t = { line, 0, INVENTORY_LINE / 2 };

	while (n > 0 && is_space(v[n - 1]))
		n--;
	while (n > 0 && is_space(*v))
		v++, n--;
	if (n == 0)
		return;
	if (is_volatile)
		line[t.n++] = '~';
	put_escaped(&t, key, strlen(key), false);
	if (name) {
		line[t.n++] = '.';
		put_escaped(&t, name, strlen(name), false);
	}
	line[t.n++] = ' ';
	t.room = sizeof line - 2;
	put_escaped(&t, v, n, true);
	line[t.n++] = 0;
	if (t.n > sizeof i->text - i->n || i->lines == LINES - 2) {
		i->lost[is_volatile]++;
		return;
	}
	i->at[i->lines++] = memcpy(i->text + i->n, line, t.n);
	i->n += t.n;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void sort(struct inventory *i) { qsort(i->at, i->lines, sizeof i->at[0], by_text); }

/* Takes lines away from the end until the rest, and two lines more, have room. */
static void cut(struct inventory *i)
{
	size_t n = 0;

	for (unsigned j = 0; j < i->lines; j++)
		n += strlen(i->at[j]) + 1;
	while (n > INVENTORY_MAX - 64) {
		const char *l = i->at[--i->lines];

		n -= strlen(l) + 1;
		i->lost[*l == '~']++;
	}
}

static size_t join(const struct inventory *i, char *out)
{
	size_t n = 0;

	for (unsigned j = 0; j < i->lines; j++) {
		size_t len = strlen(i->at[j]);

		memcpy(out + n, i->at[j], len);
		out[n + len] = '\n';
		n += len + 1;
	}
	return n;
}

size_t inventory_write(struct inventory *i, char out[static INVENTORY_MAX])
{
	char lost[2][32];

	sort(i);
	cut(i);
	for (unsigned j = 0; j < 2; j++) {
		if (!i->lost[j])
			continue;
		snprintf(lost[j], sizeof lost[j], "%slost %u", j ? "~" : "", i->lost[j]);
		i->at[i->lines++] = lost[j];
	}
	sort(i);
	return join(i, out);
}
