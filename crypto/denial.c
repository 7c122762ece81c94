/* denial.c - the denial list's octets.  Contract and layout in denial.h.
 *
 * Threat: a list comes from a hub that may be taken over, or from a disk in
 * strange hands: its signature is checked before anything of it is kept. */
#include "crypto/denial.h"
#include "crypto/internal.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t MAGIC[8] = { 'e', 'n', 'c', 'd', 'n', 's', 'D', 1 };
static const char LABEL[] = "encdns denials v1"; /* signed with its NUL */

struct denials {
	uint64_t number;
	uint32_t count;
	size_t n;
	uint8_t *p;      /* the whole list as it came */
	uint32_t at[];   /* where each entry begins; p lies behind them */
};

static void digest(const uint8_t *p, size_t n, uint8_t hash[static 32])
{
	struct sha s;

	sha256_init(&s);
	sha_update(&s, LABEL, sizeof LABEL);
	sha_update(&s, p, n);
	sha_out(&s, hash);
}

/* ---- reading ---- */

static bool entry(struct rd *r, struct denial *out)
{
	struct denial d = { .role = (enum cert_role)rd_u8(r) };

	rd_copy(r, d.serial, sizeof d.serial);
	d.time = rd_u64(r);
	size_t len = rd_u8(r);
	const uint8_t *name = rd_take(r, len);
	if (!name || !cert_name_ok((const char *)name, len) || d.role < ROLE_HUB || d.role > ROLE_LAST)
		return false;
	memcpy(d.name, name, len);
	*out = d;
	return true;
}

/* All entries, in their order, and nothing behind them; at (NULL: not wanted): where
 * each begins, counted from `from`. */
static bool entries_ok(struct rd r, uint32_t count, const uint8_t *from, uint32_t *at)
{
	uint8_t last[CERT_SERIAL] = { 0 };
	struct denial d;

	for (uint32_t i = 0; i < count; i++) {
		if (at)
			at[i] = (uint32_t)(r.p - from);
		if (!entry(&r, &d) || memcmp(d.serial, last, sizeof last) <= 0)
			return false;
		memcpy(last, d.serial, sizeof last);
	}
	return rd_left(&r) == 0;
}

struct denials *denials_read(const void *p, size_t n, const uint8_t root[static SIGN_PUB], const char **why)
{
	struct rd all = rd_init(p, n);
	struct rd r = rd_sub(&all, n > SIGN_SIG ? n - SIGN_SIG : 0);
	const uint8_t *sig = rd_take(&all, SIGN_SIG);
	const uint8_t *magic = rd_take(&r, sizeof MAGIC);
	uint64_t number = rd_u64(&r);
	(void)rd_u64(&r);
	uint32_t count = rd_u32(&r);
	uint8_t hash[32];

	*why = "it is not a denial list";
	if (!sig || !magic || r.bad || n > DENIALS_BYTES || memcmp(magic, MAGIC, sizeof MAGIC) != 0 ||
	    number == 0 || count > DENIALS_MAX || !entries_ok(r, count, p, NULL))
		return NULL;
	digest(p, n - SIGN_SIG, hash);
	*why = "the denial list is not signed by our root";
	if (!sign_verify(root, hash, sizeof hash, sig))
		return NULL;
	struct denials *d = malloc(sizeof *d + count * sizeof *d->at + n);
	*why = "no memory";
	if (!d)
		return NULL;
	*d = (struct denials){ .number = number, .count = count, .n = n, .p = (uint8_t *)(d->at + count) };
	memcpy(d->p, p, n);
	entries_ok(r, count, p, d->at);
	return d;
}

void denials_free(struct denials *d) { free(d); }

uint64_t denials_number(const struct denials *d) { return d ? d->number : 0; }

uint32_t denials_count(const struct denials *d) { return d ? d->count : 0; }

const void *denials_octets(const struct denials *d, size_t *n)
{
	*n = d ? d->n : 0;
	return d ? d->p : NULL;
}

bool denials_next(const struct denials *d, struct denials_at *at, struct denial *out)
{
	if (at->off == 0)
		at->off = DENIALS_HEAD;
	if (!d || at->off >= d->n - SIGN_SIG)
		return false;
	struct rd r = rd_init(d->p + at->off, d->n - SIGN_SIG - at->off);
	bool got = entry(&r, out);
	at->off = (size_t)(r.p - d->p);
	return got;
}

bool denials_find(const struct denials *d, const uint8_t serial[static CERT_SERIAL], struct denial *out)
{
	uint32_t low = 0, high = denials_count(d);

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		struct rd r = rd_init(d->p + d->at[mid], d->n - SIGN_SIG - d->at[mid]);
		if (!entry(&r, out))
			return false;
		int order = memcmp(out->serial, serial, CERT_SERIAL);
		if (order == 0)
			return true;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return false;
}

bool denials_have(const struct denials *d, const uint8_t serial[static CERT_SERIAL])
{
	struct denial e;

	return denials_find(d, serial, &e);
}

/* Both are sorted: is all of `have` in `next`? */
static bool holds(const struct denials *next, const struct denials *have)
{
	struct denials_at a = { 0 }, b = { 0 };
	struct denial old, new;

	while (denials_next(have, &a, &old)) {
		int order = -1;

		while (order < 0 && denials_next(next, &b, &new))
			order = memcmp(new.serial, old.serial, CERT_SERIAL);
		if (order != 0)
			return false;
	}
	return true;
}

const char *denials_follow(const struct denials *have, const struct denials *next)
{
	if (denials_number(next) < denials_number(have))
		return "it is older than the denial list in force";
	if (denials_number(next) == denials_number(have))
		return "it is another denial list than the one in force, with the same number: two stations "
		       "wrote one each";
	if (!holds(next, have))
		return "it lacks a certificate that the denial list in force has: it was not written with "
		       "that one at hand";
	return NULL;
}

/* ---- writing ---- */

static int by_serial(const void *a, const void *b)
{
	const struct denial *x = a, *y = b;

	return memcmp(x->serial, y->serial, CERT_SERIAL);
}

static void put_entry(struct wr *w, const struct denial *d)
{
	size_t len = strlen(d->name);

	wr_u8(w, d->role);
	wr_bytes(w, d->serial, CERT_SERIAL);
	wr_u64(w, d->time);
	wr_u8(w, (unsigned)len);
	wr_bytes(w, d->name, len);
}

size_t denials_write(uint8_t *out, const struct denial *entries, size_t n, uint64_t number, uint64_t time,
                     const struct signer *root)
{
	struct wr w = wr_init(out, DENIALS_BYTES);
	uint8_t hash[32], sig[SIGN_SIG];
	struct denial *sorted = n <= DENIALS_MAX ? malloc((n + 1) * sizeof *sorted) : NULL;
	bool twice = false;

	if (!sorted)
		return 0;
	if (n > 0)
		memcpy(sorted, entries, n * sizeof *sorted);
	qsort(sorted, n, sizeof *sorted, by_serial);
	wr_bytes(&w, MAGIC, sizeof MAGIC);
	wr_u64(&w, number);
	wr_u64(&w, time);
	wr_u32(&w, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		put_entry(&w, &sorted[i]);
		twice |= i > 0 && by_serial(&sorted[i - 1], &sorted[i]) == 0;
	}
	free(sorted);
	digest(out, wr_len(&w), hash);
	if (twice || signer_sign(root, hash, sizeof hash, sig) != 0)
		return 0;
	wr_bytes(&w, sig, sizeof sig);
	return w.bad ? 0 : wr_len(&w);
}
