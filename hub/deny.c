/* deny.c - the CA's look back: who was issued what, and who is denied.
 *
 * The denial list is read, lengthened and written while DIR is locked, so that two
 * who deny at a time don't lose each other's entries. */
#include "hub/ca.h"
#include "hub/cafile.h"

#include "base/io.h"
#include "crypto/denial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define DAY 86400

/* NULL and 0: there is none. */
static int load_denials(const char *dir, const struct ca *root, struct denials **out, struct said err)
{
	const char *why;

	return denials_load(dir, root->cert.pub, out, &why) == 0 ? 0
	                                                         : ca_fail(err, "%s/denials: %s", dir, why);
}

/* ---- denying ---- */

struct change {
	struct denial *at; /* the new list */
	size_t n, had;
};

static bool matches(const struct entry *e, const struct ca_denial *d)
{
	if (d->serial)
		return memcmp(e->serial, d->serial, CERT_SERIAL) == 0;
	return e->role == d->role && strcmp(e->name, d->name) == 0;
}

/* Both together in c->at; -1: no memory. */
static int collect(struct change *c, const struct denials *old, const struct entry *all, size_t n,
                   const struct ca_denial *d, int64_t now)
{
	struct denials_at at = { 0 };

	c->at = calloc(denials_count(old) + n + 1, sizeof *c->at);
	if (!c->at)
		return -1;
	while (denials_next(old, &at, &c->at[c->n]))
		c->n++;
	c->had = c->n;
	for (size_t i = 0; i < n; i++) {
		if (!matches(&all[i], d) || denials_have(old, all[i].serial))
			continue;
		struct denial *new = &c->at[c->n++];
		new->role = all[i].role;
		new->time = (uint64_t)now;
		memcpy(new->serial, all[i].serial, CERT_SERIAL);
		memcpy(new->name, all[i].name, sizeof new->name);
	}
	return 0;
}

static int write_list(const char *dir, const struct change *c, uint64_t number, const struct signer *root,
                      int64_t now, struct said err)
{
	uint8_t *p = malloc(DENIALS_BYTES);
	size_t n = p ? denials_write(p, c->at, c->n, number, (uint64_t)now, root) : 0;
	int rc = 0;

	if (n == 0)
		rc = ca_fail(err, "the denial list can't be written: more than %u certificates, or no memory",
		             DENIALS_MAX);
	else if (io_save(dir, "denials", p, n, 0644) != 0)
		rc = ca_fail(err, "cannot write %s/denials: %s", dir, strerror(errno));
	free(p);
	return rc;
}

static int add_reasons(const char *dir, const struct change *c, const char *reason, int64_t now,
                       struct said err)
{
	for (size_t i = c->had; reason && i < c->n; i++)
		if (register_add_reason(dir, c->at[i].serial, now, reason) != 0)
			return ca_fail(err, "cannot write %s/reasons: %s", dir, strerror(errno));
	return 0;
}

static int nobody(const char *dir, const struct denials *old, const struct ca_denial *d, struct said err)
{
	if (d->serial && denials_have(old, d->serial))
		return ca_fail(err, "that certificate is denied already");
	if (d->serial)
		return ca_fail(err, "no certificate with that serial number is in %s/register", dir);
	return ca_fail(err, "no certificate of %s %s is in %s/register that is not denied already",
	               cert_role_text(d->role), d->name, dir);
}

static int deny_locked(const char *dir, const struct ca *root, const struct ca_denial *d, unsigned *count,
                       uint64_t *number, struct said err)
{
	struct denials *old = NULL;
	struct entry *all = NULL;
	struct change c = { 0 };
	size_t n = 0;
	int64_t now = cert_now();
	int rc = load_denials(dir, root, &old, err);

	if (rc == 0)
		rc = register_read(dir, &all, &n, err.text, err.n);
	if (rc == 0 && collect(&c, old, all, n, d, now) != 0)
		rc = ca_fail(err, "no memory");
	if (rc == 0 && c.n == c.had)
		rc = nobody(dir, old, d, err);
	*number = denials_number(old) + 1;
	*count = (unsigned)(c.n - c.had);
	if (rc == 0)
		rc = add_reasons(dir, &c, d->reason, now, err);
	if (rc == 0)
		rc = write_list(dir, &c, *number, root->key, now, err);
	free(c.at);
	free(all);
	denials_free(old);
	return rc;
}

static bool reason_ok(const char *text)
{
	size_t n = text ? strlen(text) : 0;

	for (size_t i = 0; i < n; i++)
		if (text[i] < ' ' || text[i] > '~')
			return false;
	return n <= REASON_MAX;
}

int ca_deny(const char *dir, const struct pass *pass, const struct ca_denial *d, unsigned *count,
            uint64_t *number, char *errtext, size_t n)
{
	struct said err = { errtext, n };
	struct ca root = { 0 };
	int rc = -1, fd;

	if (!reason_ok(d->reason))
		return ca_fail(err, "a reason is one line of at most %d printable ASCII characters",
		               REASON_MAX);
	if (ca_load(dir, 0, &root, err) == 0 && ca_load_key(dir, pass, 0, &root, err) == 0) {
		fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || flock(fd, LOCK_EX) != 0)
			ca_fail(err, "%s: %s", dir, strerror(errno));
		else
			rc = deny_locked(dir, &root, d, count, number, err);
		if (fd >= 0)
			close(fd);
	}
	signer_free(root.key);
	return rc;
}

/* ---- the list of all ---- */

const char *ca_state_text(enum ca_state s)
{
	static const char *const text[] = { "valid", "expiring", "renewed", "expired", "denied" };

	return s <= CA_DENIED ? text[s] : "unknown";
}

/* The whole list: in the register's order, and sorted. */
struct list {
	struct ca_listed *all, **by;
	size_t n;
};

static int by_serial(const void *a, const void *b)
{
	const struct ca_listed *const *x = a, *const *y = b;

	return memcmp((*x)->e.serial, (*y)->e.serial, CERT_SERIAL);
}

/* Those that are denied last, the others by their party, and of each the latest last. */
static int by_party(const void *a, const void *b)
{
	const struct ca_listed *x = *(struct ca_listed *const *)a, *y = *(struct ca_listed *const *)b;
	int name;

	if (x->denied != y->denied)
		return x->denied ? 1 : -1;
	if (x->e.role != y->e.role)
		return x->e.role < y->e.role ? -1 : 1;
	if ((name = strcmp(x->e.name, y->e.name)) != 0)
		return name;
	if (x->e.until != y->e.until)
		return x->e.until < y->e.until ? -1 : 1;
	return x < y ? -1 : 1;
}

static void take_reason(void *owner, const uint8_t *serial, const char *text)
{
	struct list *l = owner;
	struct ca_listed want, *key = &want;

	memcpy(want.e.serial, serial, sizeof want.e.serial);
	struct ca_listed **at = bsearch(&key, l->by, l->n, sizeof *l->by, by_serial);
	if (at && (*at)->denied)
		snprintf((*at)->reason, sizeof (*at)->reason, "%s", text);
}

/* Sorted by party: is the next one a later one of the same role and name that is good? */
static bool renewed(const struct list *l, size_t i)
{
	const struct ca_listed *a = l->by[i], *b = i + 1 < l->n ? l->by[i + 1] : NULL;

	return b && !b->denied && a->e.role == b->e.role && strcmp(a->e.name, b->e.name) == 0;
}

static enum ca_state judge(const struct list *l, size_t i, int64_t now)
{
	if (l->by[i]->denied)
		return CA_DENIED;
	if (l->by[i]->e.until < now)
		return CA_EXPIRED;
	if (renewed(l, i))
		return CA_RENEWED;
	return l->by[i]->e.until - now < CA_SOON_DAYS * DAY ? CA_EXPIRING : CA_VALID;
}

static void judge_all(const char *dir, struct list *l, const struct entry *all, const struct denials *denials)
{
	int64_t now = cert_now();
	struct denial d;

	for (size_t i = 0; i < l->n; i++) {
		l->by[i] = &l->all[i];
		l->all[i].e = all[i];
		l->all[i].denied = denials_find(denials, all[i].serial, &d);
		if (l->all[i].denied)
			l->all[i].denied_at = (int64_t)d.time;
	}
	qsort(l->by, l->n, sizeof *l->by, by_serial);
	register_reasons(dir, take_reason, l);
	qsort(l->by, l->n, sizeof *l->by, by_party);
	for (size_t i = 0; i < l->n; i++)
		l->by[i]->state = judge(l, i, now);
}

int ca_list(const char *dir, struct ca_listed **out, size_t *count, uint64_t *number, char *errtext, size_t n)
{
	struct said err = { errtext, n };
	struct ca root = { 0 };
	struct denials *denials = NULL;
	struct entry *all = NULL;

	*out = NULL;
	if (ca_load(dir, 0, &root, err) != 0 || load_denials(dir, &root, &denials, err) != 0)
		return -1;
	int rc = register_read(dir, &all, count, errtext, n);
	struct list l = { .n = *count };
	if (rc == 0) {
		l.all = calloc(l.n + 1, sizeof *l.all);
		l.by = calloc(l.n + 1, sizeof *l.by);
	}
	if (l.all && l.by)
		judge_all(dir, &l, all, denials);
	else if (rc == 0)
		rc = ca_fail(err, "no memory");
	*number = denials_number(denials);
	if (rc == 0)
		*out = l.all;
	else
		free(l.all);
	free(l.by);
	free(all);
	denials_free(denials);
	return rc;
}

int ca_count(const char *dir, enum cert_role role, const char *name, unsigned *issued, unsigned *good,
             char *err, size_t n)
{
	struct ca_listed *all;
	uint64_t number;
	size_t count;

	*issued = *good = 0;
	if (ca_list(dir, &all, &count, &number, err, n) != 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		if (all[i].e.role == role && strcmp(all[i].e.name, name) == 0) {
			++*issued;
			*good += all[i].state != CA_DENIED;
		}
	free(all);
	return 0;
}
