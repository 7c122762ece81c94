/* fuzz_inventory.c - inventories as a strange machine tells them, and what a device
 * may say.  The input is two texts with a NUL between them: they are compared, and
 * both are written as a line. */
#include "base/inventory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct count { unsigned added, removed, steady; };

static void note(void *owner, const struct inventory_diff *d)
{
	struct count *c = owner;

	if (strlen(d->key) >= INVENTORY_LINE || (d->was && strlen(d->was) >= INVENTORY_LINE) ||
	    (d->is && strlen(d->is) >= INVENTORY_LINE) || !d->was != (d->kind == INVENTORY_ADDED) ||
	    !d->is != (d->kind == INVENTORY_REMOVED) || (d->was && d->is && strcmp(d->was, d->is) == 0))
		abort();
	c->added += d->is != NULL;
	c->removed += d->was != NULL;
	c->steady += !d->is_volatile;
}

static unsigned lines(const char *p, size_t n)
{
	unsigned count = 0;

	for (size_t i = 0; i < n; i++)
		count += p[i] == '\n';
	return count;
}

static void compare(const char *a, size_t na, const char *b, size_t nb)
{
	struct count c = { 0 };
	bool valid = inventory_valid(a, na) && inventory_valid(b, nb);
	int got = inventory_compare(a, na, b, nb, note, &c);

	if (valid ? got != (int)c.steady : got != -1)
		abort();
	if (valid && lines(a, na) + c.added != lines(b, nb) + c.removed)
		abort();
	if (inventory_compare(a, na, a, na, note, &c) > 0)
		abort();
}

static void writing(const char *a, size_t na, const char *b, size_t nb)
{
	static struct inventory inv;
	static char out[INVENTORY_MAX], name[4096];

	memset(&inv, 0, sizeof inv);
	size_t len = nb < sizeof name ? nb : sizeof name - 1;
	memcpy(name, b, len);
	name[len] = 0;
	inventory_put(&inv, false, "device", name, a, na);
	inventory_put(&inv, true, "a", NULL, b, nb);
	for (unsigned i = 0; na > 4096 && i < 200; i++)
		inventory_put(&inv, i & 1, "many", name, a + i, na - i);
	size_t n = inventory_write(&inv, out);
	if (!inventory_valid(out, n))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const uint8_t *nul = memchr(data, 0, n);
	size_t na = nul ? (size_t)(nul - data) : n;
	const char *a = (const char *)data, *b = nul ? a + na + 1 : a;
	size_t nb = nul ? n - na - 1 : na;

	compare(a, na, b, nb);
	writing(a, na, b, nb);
	return 0;
}
