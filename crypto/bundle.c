/* bundle.c - sealing and opening bundles (bundle.h). */
#include "crypto/bundle.h"
#include "crypto/cred.h"
#include "crypto/denial.h"
#include "crypto/internal.h"

#include <errno.h>
#include <string.h>

#define SALT 16
#define TAG  16
#define TIME_MAX 253402300799u /* the end of the year 9999 */
static const uint8_t MAGIC[8] = { 'e', 'n', 'c', 'd', 'n', 's', 'B', 1 };
static const uint8_t NONCE[12]; /* the key seals once */
_Static_assert(sizeof MAGIC + MACHINE_ID + 8 + 8 + SALT + 4 == BUNDLE_HEAD, "the head");

struct bundle {
	size_t room; /* octets of all this */
	unsigned nfiles;
	struct { char name[BUNDLE_NAME]; size_t at, n; } file[BUNDLE_FILES];
	size_t n;
	uint8_t plain[];
};

/* ---- head ---- */

/* Of the ciphertext its length; false: it isn't a bundle's head. */
static bool read_head(struct rd *r, struct bundle_head *out, uint8_t salt[static SALT], size_t *len)
{
	const uint8_t *magic = rd_take(r, sizeof MAGIC);
	struct bundle_head h;

	rd_copy(r, h.id, sizeof h.id);
	h.generation = rd_u64(r);
	h.sealed_at = rd_u64(r);
	rd_copy(r, salt, SALT);
	*len = rd_u32(r);
	if (r->bad || memcmp(magic, MAGIC, sizeof MAGIC) != 0 || h.generation == 0 ||
	    h.sealed_at > TIME_MAX || *len > BUNDLE_MAX)
		return false;
	*out = h;
	return true;
}

bool bundle_peek(const void *p, size_t n, struct bundle_head *out)
{
	struct rd r = rd_init(p, n);
	uint8_t salt[SALT];
	size_t len;

	return read_head(&r, out, salt, &len);
}

/* ---- files ---- */

static struct bundle *bundle_new(size_t n)
{
	struct bundle *b = pool_alloc(sizeof *b + n);

	if (b) {
		b->room = sizeof *b + n;
		b->n = n;
	}
	return b;
}

void bundle_free(struct bundle *b)
{
	if (b)
		pool_free(b, b->room);
}

/* Finds the files in the plain text. */
static bool index_files(struct bundle *b)
{
	struct rd r = rd_init(b->plain, b->n);
	struct bundle_file twice;

	while (rd_left(&r) > 0) {
		size_t len = rd_u8(&r);
		const uint8_t *name = rd_take(&r, len);
		size_t n = rd_u32(&r);
		const uint8_t *p = rd_take(&r, n);

		if (r.bad || b->nfiles == BUNDLE_FILES || !cert_name_ok((const char *)name, len))
			return false;
		memcpy(b->file[b->nfiles].name, name, len);
		if (bundle_find(b, b->file[b->nfiles].name, &twice))
			return false;
		b->file[b->nfiles].at = (size_t)(p - b->plain);
		b->file[b->nfiles++].n = n;
	}
	return true;
}

bool bundle_at(const struct bundle *b, unsigned i, struct bundle_file *out)
{
	if (i >= b->nfiles)
		return false;
	*out = (struct bundle_file){ b->file[i].name, b->plain + b->file[i].at, b->file[i].n };
	return true;
}

bool bundle_find(const struct bundle *b, const char *name, struct bundle_file *out)
{
	for (unsigned i = 0; i < b->nfiles; i++)
		if (strcmp(b->file[i].name, name) == 0)
			return bundle_at(b, i, out);
	return false;
}

/* ---- sealing ---- */

/* Octets of the plain text; 0: these can't be in a bundle. */
static size_t plain_size(const struct bundle_file *f, unsigned nfiles)
{
	size_t n = 0;

	if (nfiles == 0 || nfiles > BUNDLE_FILES)
		return 0;
	for (unsigned i = 0; i < nfiles; i++) {
		if (!cert_name_ok(f[i].name, strlen(f[i].name)) || f[i].n > BUNDLE_MAX)
			return 0;
		for (unsigned j = 0; j < i; j++)
			if (strcmp(f[i].name, f[j].name) == 0)
				return 0;
		n += 1 + strlen(f[i].name) + 4 + f[i].n;
	}
	return n;
}

size_t bundle_size(const struct bundle_file *f, unsigned nfiles, const struct cred *operator)
{
	size_t plain = plain_size(f, nfiles), n = BUNDLE_HEAD + plain + TAG + SIGN_SIG;

	n += 2 + operator->der_len[CERT_LEAF] + 2 + operator->der_len[CERT_ISSUING];
	return plain && n <= BUNDLE_MAX ? n : 0;
}

static void put_head(struct wr *w, const struct bundle_head *h, const uint8_t salt[static SALT], size_t len)
{
	wr_bytes(w, MAGIC, sizeof MAGIC);
	wr_bytes(w, h->id, sizeof h->id);
	wr_u64(w, h->generation);
	wr_u64(w, h->sealed_at);
	wr_bytes(w, salt, SALT);
	wr_u32(w, (uint32_t)len);
}

static void put_files(struct wr *w, const struct bundle_file *f, unsigned nfiles)
{
	for (unsigned i = 0; i < nfiles; i++) {
		wr_u8(w, (unsigned)strlen(f[i].name));
		wr_bytes(w, f[i].name, strlen(f[i].name));
		wr_u32(w, (uint32_t)f[i].n);
		wr_bytes(w, f[i].p, f[i].n);
	}
}

static struct aead *aead_of(const struct key *k_system, const uint8_t salt[static SALT])
{
	struct key *k = key_derive(k_system, "bundle/v1", salt, SALT);
	struct aead *a = k ? aead_new(k) : NULL;

	key_free(k);
	return a;
}

static void put_cert(struct wr *w, const struct cred *c, enum cert_kind kind)
{
	wr_u16(w, (uint32_t)c->der_len[kind]);
	wr_bytes(w, c->der[kind], c->der_len[kind]);
}

int bundle_seal(void *out, const struct bundle_head *h, const struct key *k_system,
                const struct bundle_file *f, unsigned nfiles, const struct cred *operator)
{
	size_t size = bundle_size(f, nfiles, operator), n = plain_size(f, nfiles);
	struct wr w = wr_init(out, size);
	uint8_t salt[SALT], tag[TAG], sig[SIGN_SIG];

	if (size == 0 || h->generation == 0 || h->sealed_at > TIME_MAX)
		return errno = EINVAL, -1;
	crypto_random(salt, sizeof salt);
	uint8_t *plain = pool_alloc(n);
	struct aead *a = plain ? aead_of(k_system, salt) : NULL;
	int rc = a ? 0 : -1, e = errno;
	if (a) {
		struct wr files = wr_init(plain, n);

		put_files(&files, f, nfiles);
		put_head(&w, h, salt, n);
		aead_seal(a, NONCE, out, wr_len(&w), plain, n, tag, TAG);
		wr_bytes(&w, plain, n);
		wr_bytes(&w, tag, TAG);
		put_cert(&w, operator, CERT_LEAF);
		put_cert(&w, operator, CERT_ISSUING);
		rc = signer_sign(operator->key, out, wr_len(&w), sig);
		e = errno;
		wr_bytes(&w, sig, sizeof sig);
	}
	aead_free(a);
	pool_free(plain, n);
	errno = e;
	return rc;
}

/* ---- opening ---- */

/* The parts of a sealed bundle. */
struct sealed {
	struct bundle_head head;
	uint8_t salt[SALT];
	struct rd cipher, leaf, issuing;
	const uint8_t *tag, *sig;
	size_t signed_len;
};

static bool split(const void *p, size_t n, struct sealed *s)
{
	struct rd r = rd_init(p, n);
	size_t len;

	if (n > BUNDLE_MAX || !read_head(&r, &s->head, s->salt, &len))
		return false;
	s->cipher = rd_sub(&r, len);
	s->tag = rd_take(&r, TAG);
	len = rd_u16(&r);
	s->leaf = rd_sub(&r, len);
	len = rd_u16(&r);
	s->issuing = rd_sub(&r, len);
	s->signed_len = n - rd_left(&r);
	s->sig = rd_take(&r, SIGN_SIG);
	return !r.bad && rd_left(&r) == 0;
}

static const char *judge(const void *p, const struct sealed *s, const struct bundle_terms *t)
{
	struct cert leaf, issuing;
	const char *why;

	if (cert_parse(s->leaf.p, rd_left(&s->leaf), &leaf, &why) != 0 ||
	    cert_parse(s->issuing.p, rd_left(&s->issuing), &issuing, &why) != 0)
		return why;
	if (!sign_verify(leaf.pub, p, s->signed_len, s->sig))
		return "it was altered after it was signed";
	why = cert_judge(&leaf, &issuing, &t->cred->cert[CERT_ROOT], ROLE_OPERATOR, (int64_t)s->head.sealed_at);
	if (why)
		return why;
	if (denials_have(t->cred->denied, leaf.serial.p))
		return "the operator who sealed it is denied";
	if (memcmp(s->head.id, t->id, MACHINE_ID) != 0)
		return "it is another machine's";
	if (s->head.generation < t->least)
		return "it is older than the operator demands";
	return NULL;
}

static const char *decrypt(const void *p, const struct sealed *s, const struct key *k_system, struct bundle *b)
{
	struct aead *a = aead_of(k_system, s->salt);

	if (!a)
		return "no memory for keys";
	bool good = aead_open(a, NONCE, p, BUNDLE_HEAD, s->cipher.p, b->n, s->tag, TAG, b->plain);
	aead_free(a);
	if (!good)
		return "it does not open with the key that was sent";
	return index_files(b) ? NULL : "its files are not of the form we know";
}

struct bundle *bundle_open(const void *p, size_t n, const struct bundle_terms *t, const char **why)
{
	struct sealed s;

	*why = "it is cut short, or not a bundle";
	if (!split(p, n, &s) || (*why = judge(p, &s, t)))
		return NULL;
	struct bundle *b = bundle_new(rd_left(&s.cipher));
	if (!b) {
		*why = "no memory for the bundle";
		return NULL;
	}
	if ((*why = decrypt(p, &s, t->k_system, b))) {
		bundle_free(b);
		return NULL;
	}
	return b;
}
