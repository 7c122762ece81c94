/* minica.h - a root, its issuing CAs and parties of them, in memory, the same in
 * every run: keys come from seeds, serials are counted. */
#ifndef TESTS_MINICA_H
#define TESTS_MINICA_H

#include "crypto/cred.h"
#include "crypto/denial.h"
#include "crypto/internal.h"
#include "crypto/issue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINICA_FROM  1735689600 /* 2025-01-01 */
#define MINICA_UNTIL 4070908800 /* 2099-01-01 */

struct minica {
	uint8_t seed, serial;
	struct signer *root, *issuing[ROLE_MACHINE + 1];
	struct cred base[ROLE_MACHINE + 1]; /* root and issuing certificate of each role */
};

static inline struct signer *minica_key(uint8_t a, uint8_t b)
{
	uint8_t seed[32] = { a, b };
	struct key *k = key_from(seed);
	struct signer *s = k ? signer_from(k) : NULL;

	key_free(k);
	if (!s)
		abort();
	return s;
}

static inline void minica_put(struct cred *c, enum cert_kind kind, const uint8_t *der, size_t n)
{
	const char *why = "it can't be made";

	if (n == 0 || n > CERT_MAX)
		abort();
	memcpy(c->der[kind], der, n);
	c->der_len[kind] = n;
	if (cert_parse(c->der[kind], n, &c->cert[kind], &why) != 0) {
		fprintf(stderr, "minica: %s\n", why);
		abort();
	}
}

static inline void minica_copy(struct cred *to, const struct cred *from, enum cert_kind kind)
{
	minica_put(to, kind, from->der[kind], from->der_len[kind]);
}

/* Two with different seeds have nothing in common. */
static inline void minica_init(struct minica *m, uint8_t seed)
{
	uint8_t der[CERT_MAX];
	struct issue i = { CERT_ROOT, 0, "00000000000000aa", MINICA_FROM, MINICA_UNTIL, { 0x40 } };

	memset(m, 0, sizeof *m);
	m->seed = seed;
	m->root = minica_key(seed, 0);
	size_t n = issue_cert(der, &i, m->root->pub, m->root, NULL);
	for (enum cert_role r = ROLE_HUB; r <= ROLE_MACHINE; r++)
		minica_put(&m->base[r], CERT_ROOT, der, n);
	i.kind = CERT_ISSUING;
	for (enum cert_role r = ROLE_HUB; r <= ROLE_MACHINE; r++) {
		i.role = r;
		i.serial[1] = (uint8_t)r;
		m->issuing[r] = minica_key(seed, (uint8_t)r);
		n = issue_cert(der, &i, m->issuing[r]->pub, m->root, &m->base[r].cert[CERT_ROOT]);
		minica_put(&m->base[r], CERT_ISSUING, der, n);
	}
}

/* A leaf for this key, into c. */
static inline void minica_leaf(struct minica *m, struct cred *c, enum cert_role role, const char *name,
                               const uint8_t *pub, int64_t from, int64_t until)
{
	uint8_t der[CERT_MAX];
	struct issue i = { CERT_LEAF, role, name, from, until, { 0x41 } };

	i.serial[15] = ++m->serial;
	minica_put(c, CERT_LEAF, der,
	           issue_cert(der, &i, pub, m->issuing[role], &m->base[role].cert[CERT_ISSUING]));
}

/* A party's credentials; cred_free(). */
static inline struct cred *minica_party(struct minica *m, enum cert_role role, const char *name,
                                        int64_t from, int64_t until)
{
	struct cred *c = pool_alloc(sizeof *c);

	if (!c)
		abort();
	c->key = minica_key(m->seed, (uint8_t)(100 + m->serial));
	minica_copy(c, &m->base[role], CERT_ROOT);
	minica_copy(c, &m->base[role], CERT_ISSUING);
	minica_leaf(m, c, role, name, c->key->pub, from, until);
	return c;
}

/* A machine before its enrolment, to whom this root is given. */
static inline struct cred *minica_fresh(struct minica *m)
{
	struct cred *c = pool_alloc(sizeof *c);
	uint8_t der[CERT_MAX];
	struct issue i = { CERT_LEAF, ROLE_MACHINE, "fresh", MINICA_FROM, MINICA_UNTIL, { 0x42 } };

	if (!c)
		abort();
	i.serial[15] = ++m->serial;
	c->key = minica_key(m->seed, (uint8_t)(100 + m->serial));
	minica_copy(c, &m->base[ROLE_MACHINE], CERT_ROOT);
	minica_put(c, CERT_LEAF, der, issue_cert(der, &i, c->key->pub, c->key, NULL));
	return c;
}

/* A list that denies c alone; denials_free(). */
static inline struct denials *minica_deny(const struct minica *m, const struct cred *c)
{
	uint8_t *b = malloc(DENIALS_BYTES);
	const struct cert *leaf = &c->cert[CERT_LEAF];
	struct denial d = { .role = leaf->role, .time = 1700000000 };
	const char *why;

	if (!b)
		abort();
	memcpy(d.serial, leaf->serial.p, sizeof d.serial);
	memcpy(d.name, leaf->name, sizeof d.name);
	size_t n = denials_write(b, &d, 1, 1, 1700000000, m->root);
	struct denials *l = denials_read(b, n, m->root->pub, &why);
	free(b);
	return l ? l : (abort(), NULL);
}

#endif
