/* zone.c - a zone's records: added, sorted, found.  Contract in zone.h.
 *
 * States: adding (zone_add), then finished; cursors point into the arena, so it
 * moves only while adding.
 * Withstands records in any order and number: beyond the memory there is (zone_bound)
 * they are spilled, or refused. */
#include "hub/zone_internal.h"
#include "hub/spill.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define ARENA_MIN (64u << 10)
#define REC_COST  (sizeof(uint64_t) + sizeof(struct item) * 3 / 2) /* beside the arena, while sorting */
#define IN_ORDER_FROM 20000u /* records: fewer stay in the processor's caches anyway */

/* What sorting needs of a record at hand: the first octets of its owner's order
 * (as name_key() has it, the origin left off). */
struct item { uint64_t key, off; };

/* ---- adding ---- */

/* Room for `need` more octets in a mapping of *size, `used` of them taken. */
static void *grow(void *map, size_t *size, size_t used, size_t need)
{
	size_t want = *size ? *size : ARENA_MIN;
	while (want - used < need)
		want *= 2;
	if (want == *size)
		return map;
	void *to = *size ? mremap(map, *size, want, MREMAP_MAYMOVE)
	                 : mmap(NULL, want, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED)
		return NULL;
	*size = want;
	return to;
}

bool zone_reserve(struct zone *z, size_t octets, size_t records)
{
	void *p;
	if (z->size - z->used < octets) {
		p = grow(z->arena, &z->size, z->used, octets);
		if (!p)
			return false;
		z->arena = p;
	}
	if (z->cap - z->n < records) {
		size_t size = z->cap * sizeof *z->recs;
		p = grow(z->recs, &size, z->n * sizeof *z->recs, records * sizeof *z->recs);
		if (!p)
			return false;
		z->recs = p;
		z->cap = size / sizeof *z->recs;
	}
	return true;
}

struct zone *zone_new(const uint8_t *origin)
{
	struct zone *z = calloc(1, sizeof *z);
	if (!z)
		return NULL;
	z->origin_len = name_lower(z->origin, origin);
	z->origin_labels = name_labels(origin);
	return z;
}

void zone_drop_arena(struct zone *z)
{
	if (z->size)
		munmap(z->arena, z->size);
	if (z->cap)
		munmap(z->recs, z->cap * sizeof *z->recs);
	z->n = z->used = z->safe = z->size = z->cap = 0;
}

void zone_free(struct zone *z)
{
	if (!z)
		return;
	helper_end(&z->helper);
	zone_drop_arena(z);
	if (z->twin)
		zone_drop_arena(z->twin);
	free(z->twin);
	for (unsigned i = 0; i < z->nfiles; i++)
		free(z->files[i]);
	spill_free(z->spill);
	free(z->sources);
	free(z->heap);
	free(z);
}

void zone_bound(struct zone *z, size_t memory, const char *dir)
{
	z->memory = memory;
	z->window = memory / 4 < WINDOW ? memory / 4 + 1 : WINDOW;
	z->dir = dir;
}

/* The number of a file's name; FILES_MAX when it has none, or there are too many. */
static unsigned file_number(struct zone *z, const char *file)
{
	if (!file)
		return FILES_MAX;
	for (unsigned i = z->nfiles; i-- > 0;)
		if (!strcmp(z->files[i], file))
			return i;
	if (z->nfiles == FILES_MAX || !(z->files[z->nfiles] = strdup(file)))
		return FILES_MAX;
	return z->nfiles++;
}

bool zone_append(struct zone *z, const uint8_t *owner, size_t len, bool same, const struct master_rr *rr, unsigned file)
{
	if (!zone_reserve(z, len + REC_HEAD + rr->len, 1))
		return false;
	/* back is 32 bits: after 4 GiB of one owner it is written again */
	if (!same || z->used - z->owner_off > UINT32_MAX) {
		z->owner_off = z->used;
		z->owner_len = len;
		memcpy(z->arena + z->used, owner, len);
		z->used += len;
	}
	uint8_t *r = z->arena + z->used;
	put_u16(r, rr->type);
	put_u32(r + 2, rr->ttl);
	put_u16(r + 6, rr->len);
	put_u32(r + 8, (uint32_t)(z->used - z->owner_off));
	put_u32(r + 12, rr->line);
	r[16] = (uint8_t)file;
	memcpy(r + REC_HEAD, rr->rdata, rr->len);
	z->recs[z->n++] = z->used;
	z->used += REC_HEAD + rr->len;
	return true;
}

const char *zone_add(struct zone *z, const struct master_rr *rr, bool check)
{
	uint8_t owner[NAME_MAX_LEN] RAW;
	size_t len = name_lower(owner, rr->owner);
	const char *fault = check ? rdata_fault(rr->type, rr->rdata, rr->len) : NULL;
	if (fault)
		return fault;
	bool same = same_as_last(z, owner, len);
	if (!same && !below(owner, len, z->origin, z->origin_len))
		return "the owner is outside the zone";
	if (rr->type == T_SOA && len != z->origin_len)
		return "an SOA elsewhere than at the apex";
	if (!rdata_storable(rr->type))
		return "no zone can hold records of this type";
	/* half of it is the twin's */
	if (z->memory && z->n && z->used + rr->len + z->n * REC_COST > z->memory / 2) {
		if (zone_spill_behind(z) != 0)
			return "no room on the hub's disk to sort a zone that is larger than import-memory";
		same = false;
	}
	z->records++;
	return zone_append(z, owner, len, same, rr, file_number(z, rr->file)) ? NULL : "out of memory";
}

/* ---- order ---- */

/* Rdata in canonical order (RFC 4034 section 6.3), names folded where 6.2 says. */
static int rdata_cmp(uint16_t type, const uint8_t *a, size_t an, const uint8_t *b, size_t bn)
{
	size_t af, at, bf, bt, n = an < bn ? an : bn;
	rdata_fold_span(type, a, an, &af, &at);
	if (at == af) {
		int d = memcmp(a, b, n);
		return d ? d : (an > bn) - (an < bn);
	}
	rdata_fold_span(type, b, bn, &bf, &bt);
	for (size_t i = 0; i < n; i++) {
		int x = i >= af && i < at ? name_fold(a[i]) : a[i];
		int y = i >= bf && i < bt ? name_fold(b[i]) : b[i];
		if (x != y)
			return x - y;
	}
	return (an > bn) - (an < bn);
}

int zone_rec_cmp(const uint8_t *a, const uint8_t *b)
{
	int d = rec_set(a) - rec_set(b);
	if (d == 0)
		d = rec_is_sig(a) - rec_is_sig(b);
	return d ? d : rdata_cmp(rec_type(a), rec_rdata(a), rec_len(a), rec_rdata(b), rec_len(b));
}

uint64_t zone_key_of(const struct zone *z, const uint8_t *owner)
{
	uint8_t key[8] = { 0 };
	size_t at = 0;
	for (unsigned left = name_labels(owner) - z->origin_labels; left-- > 0 && at < sizeof key;) {
		const uint8_t *l = name_skip(owner, left);
		for (unsigned i = 1; i <= *l && at < sizeof key; i++) {
			if (l[i] <= 1) {
				key[at++] = 1;
				if (at < sizeof key)
					key[at++] = l[i] + 1;
			} else {
				key[at++] = l[i];
			}
		}
		at++;
	}
	return get_u64(key);
}

int zone_rec_order(const uint8_t *ra, const uint8_t *rb)
{
	const uint8_t *oa = rec_owner(ra), *ob = rec_owner(rb);
	int d = same_owner(oa, ob) ? 0 : name_cmp(oa, ob);
	return d ? d : zone_rec_cmp(ra, rb);
}

static int item_cmp(const struct zone *z, const struct item *a, const struct item *b)
{
	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return zone_rec_order(z->arena + a->off, z->arena + b->off);
}

/* Merge sort: stable, and quick on what is almost in order; tmp holds n / 2. */
static void sort_items(const struct zone *z, struct item *a, size_t n, struct item *tmp)
{
	if (n <= 12) {
		for (size_t i = 1; i < n; i++) {
			struct item it = a[i];
			size_t j = i;
			for (; j && item_cmp(z, &a[j - 1], &it) > 0; j--)
				a[j] = a[j - 1];
			a[j] = it;
		}
		return;
	}
	size_t half = n / 2;
	sort_items(z, a, half, tmp);
	sort_items(z, a + half, n - half, tmp);
	if (item_cmp(z, &a[half - 1], &a[half]) <= 0)
		return;
	memcpy(tmp, a, half * sizeof *a);
	size_t l = 0, r = half, to = 0;
	while (l < half && r < n)
		a[to++] = item_cmp(z, &tmp[l], &a[r]) <= 0 ? tmp[l++] : a[r++];
	memcpy(a + to, tmp + l, (half - l) * sizeof *a);
}

static bool in_order(const struct zone *z)
{
	struct item last = { 0 };
	for (size_t i = 0; i < z->n; i++) {
		struct item it = { zone_key_of(z, owner_at(z, i)), z->recs[i] };
		if (i && item_cmp(z, &last, &it) > 0)
			return false;
		last = it;
	}
	return true;
}

int zone_sort(struct zone *z)
{
	if (in_order(z))
		return 0;
	size_t size = (z->n + z->n / 2 + 1) * sizeof(struct item);
	struct item *items = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (items == MAP_FAILED)
		return -1;
	for (size_t i = 0; i < z->n; i++)
		items[i] = (struct item){ zone_key_of(z, owner_at(z, i)), z->recs[i] };
	sort_items(z, items, z->n, items + z->n);
	for (size_t i = 0; i < z->n; i++)
		z->recs[i] = items[i].off;
	munmap(items, size);
	return 0;
}

void zone_lay_in_order(struct zone *z)
{
	size_t size = 0, used = 0, last = 0, last_len = 0;
	if (z->n < IN_ORDER_FROM || (z->memory && 2 * z->used + z->n * sizeof *z->recs > z->memory))
		return;
	uint8_t *to = grow(NULL, &size, 0, z->used);
	if (!to)
		return;
	for (size_t i = 0; i < z->n; i++) {
		const uint8_t *r = rec_at(z, i), *owner = rec_owner(r);
		size_t len = name_len(owner), n = REC_HEAD + (size_t)rec_len(r);
		fetch_ahead(z, i);
		/* an owner's name stands there once, as before: it can only get shorter */
		if (i == 0 || len != last_len || !same_short(owner, to + last, len) || used - last > UINT32_MAX) {
			last = used;
			last_len = len;
			copy_short(to + used, owner, len);
			used += len;
		}
		memcpy(to + used, r, n);
		put_u32(to + used + 8, (uint32_t)(used - last));
		z->recs[i] = used;
		used += n;
	}
	munmap(z->arena, z->size);
	z->arena = to;
	z->size = size;
	z->used = used;
}

/* ---- finding ---- */

size_t zone_find_from(const struct zone *z, size_t from, const uint8_t *name)
{
	size_t step = 1, lo = from;
	while (lo + step < z->n && name_cmp(owner_at(z, lo + step), name) < 0) {
		lo += step;
		step *= 2;
	}
	size_t hi = step < z->n - lo ? lo + step : z->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (name_cmp(owner_at(z, mid), name) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* ---- loading ---- */

static const char *add_rr(void *ctx, const struct master_rr *rr) { return zone_add(ctx, rr, false); }

/* What loading has in common: rc is the reader's. */
static struct zone *finish_load(struct zone *z, int rc, const struct zone_report *report)
{
	if (rc == 0 && zone_finish(z, (int64_t)time(NULL), report) == 0)
		return z;
	zone_free(z);
	return NULL;
}

struct zone *zone_load_within(const uint8_t *origin, const char *path, size_t memory, const char *dir,
                              const struct zone_report *report)
{
	struct zone *z = zone_new(origin);
	struct master_sink sink = { .emit = add_rr, .ctx = z, .report = report };
	if (!z) {
		if (report)
			report->say(report->ctx, true, path, 0, "out of memory");
		return NULL;
	}
	zone_bound(z, memory, dir);
	return finish_load(z, master_read(path, origin, &sink), report);
}

struct zone *zone_load(const uint8_t *origin, const char *path, const struct zone_report *report)
{
	return zone_load_within(origin, path, 0, NULL, report);
}

struct zone *zone_load_text(const uint8_t *origin, const char *text, size_t n,
                            const struct zone_report *report)
{
	struct zone *z = zone_new(origin);
	struct master_sink sink = { .emit = add_rr, .ctx = z, .report = report };
	return z ? finish_load(z, master_read_text(text, n, "(memory)", origin, &sink), report) : NULL;
}

const uint8_t *zone_origin(const struct zone *z) { return z->origin; }
uint32_t zone_serial(const struct zone *z) { return z->serial; }
unsigned zone_serial_line(const struct zone *z) { return z->serial_line; }
uint64_t zone_records(const struct zone *z) { return z->records; }
uint64_t zone_names(const struct zone *z) { return z->names; }
