/* pbes.c - private keys under a passphrase: EncryptedPrivateKeyInfo of PKCS#8
 * (RFC 5958) with PBES2 (RFC 8018), PBKDF2-HMAC-SHA256 and AES-256-CBC, which
 * is what openssl makes and reads.
 *
 *   SEQUENCE {
 *     SEQUENCE { OID PBES2, SEQUENCE {
 *       SEQUENCE { OID PBKDF2, SEQUENCE {
 *         OCTET STRING salt, INTEGER rounds, INTEGER 32 (may be left out),
 *         SEQUENCE { OID hmacWithSHA256, NULL } } }
 *       SEQUENCE { OID aes256-CBC, OCTET STRING (16) iv } } }
 *     OCTET STRING encrypted }
 *
 * Threat: whoever has the file guesses passphrases; the rounds make each guess
 * cost PASS_ROUNDS hashes.  The file itself is the operator's own, but a
 * damaged one must not keep us busy: rounds have a limit. */
#include "crypto/pbes.h"
#include "crypto/cert.h"
#include "crypto/internal.h"

#include <errno.h>
#include <string.h>

#define SALT_LEN   16
#define BLOCK      16u

static const uint8_t PBES2[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d };
static const uint8_t PBKDF2[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c };
static const uint8_t HMAC_SHA256[] = { 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x09 };
static const uint8_t AES_256_CBC[] = { 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2a };

/* ---- writing ---- */

static void put_parameters(struct der *d, const uint8_t *salt, const uint8_t *iv)
{
	uint8_t rounds[3] = { PASS_ROUNDS >> 16, PASS_ROUNDS >> 8 & 255, PASS_ROUNDS & 255 };
	size_t all = der_mark(d), scheme, m;
	_Static_assert(PASS_ROUNDS < 1 << 23 && PASS_ROUNDS >= 1 << 15, "three octets, and positive");

	der_tlv(d, 0x04, iv, BLOCK);
	der_tlv(d, 0x06, AES_256_CBC, sizeof AES_256_CBC);
	der_head(d, 0x30, all);
	scheme = m = der_mark(d);
	der_put(d, "\x05\x00", 2);
	der_tlv(d, 0x06, HMAC_SHA256, sizeof HMAC_SHA256);
	der_head(d, 0x30, m);
	der_tlv(d, 0x02, rounds, sizeof rounds);
	der_tlv(d, 0x04, salt, SALT_LEN);
	der_head(d, 0x30, m);
	der_tlv(d, 0x06, PBKDF2, sizeof PBKDF2);
	der_head(d, 0x30, scheme);
	der_head(d, 0x30, all);
	der_tlv(d, 0x06, PBES2, sizeof PBES2);
	der_head(d, 0x30, all);
}

void pbes_put(struct der *d, const struct pass *pass, const void *plain, size_t n)
{
	uint8_t salt[SALT_LEN], iv[BLOCK], run[BLOCK];
	size_t pad = BLOCK - n % BLOCK, m = der_mark(d);
	br_aes_ct64_cbcenc_keys keys;

	crypto_random(salt, sizeof salt);
	crypto_random(iv, sizeof iv);
	struct key *k = pass_key(pass, salt, sizeof salt, PASS_ROUNDS);
	if (!k) {
		d->bad = true;
		return;
	}
	for (size_t i = 0; i < pad; i++)
		der_byte(d, (uint8_t)pad);
	der_put(d, plain, n);
	if (!d->bad) {
		memcpy(run, iv, sizeof run);
		br_aes_ct64_cbcenc_init(&keys, k->b, sizeof k->b);
		br_aes_ct64_cbcenc_run(&keys, run, d->p, n + pad);
		crypto_wipe(&keys, sizeof keys);
		crypto_burn_stack();
	}
	key_free(k);
	der_head(d, 0x04, m);
	put_parameters(d, salt, iv);
	der_head(d, 0x30, m);
}

/* ---- reading ---- */

struct box {
	struct rd salt, iv, body;
	unsigned rounds;
};

static bool take_oid(struct rd *r, const uint8_t *want, size_t n)
{
	struct rd oid = der_get(r, 0x06);

	return !r->bad && rd_left(&oid) == n && memcmp(oid.p, want, n) == 0;
}

static bool take_kdf(struct rd alg, struct box *b)
{
	if (!take_oid(&alg, PBKDF2, sizeof PBKDF2))
		return false;
	struct rd p = der_get(&alg, 0x30);
	b->salt = der_get(&p, 0x04);
	struct rd rounds = der_get(&p, 0x02);
	if (der_next_is(&p, 0x02)) {
		struct rd len = der_get(&p, 0x02);
		if (rd_u8(&len) != 32 || rd_left(&len))
			return false;
	}
	struct rd prf = der_get(&p, 0x30);
	if (p.bad || rd_left(&p) || rd_left(&alg) || !take_oid(&prf, HMAC_SHA256, sizeof HMAC_SHA256) ||
	    rd_left(&rounds) == 0 || rd_left(&rounds) > 4 || *rounds.p & 0x80)
		return false;
	while (rd_left(&rounds))
		b->rounds = b->rounds << 8 | rd_u8(&rounds);
	return b->rounds >= 1 && b->rounds <= PASS_ROUNDS_MAX;
}

static bool parse(const void *der, size_t n, struct box *b)
{
	struct rd r = rd_init(der, n);
	struct rd all = der_get(&r, 0x30);
	struct rd alg = der_get(&all, 0x30);

	b->body = der_get(&all, 0x04);
	if (all.bad || rd_left(&all) || rd_left(&r) || !take_oid(&alg, PBES2, sizeof PBES2))
		return false;
	struct rd p = der_get(&alg, 0x30);
	struct rd kdf = der_get(&p, 0x30), enc = der_get(&p, 0x30);
	if (alg.bad || p.bad || rd_left(&alg) || rd_left(&p) || !take_oid(&enc, AES_256_CBC, sizeof AES_256_CBC))
		return false;
	b->iv = der_get(&enc, 0x04);
	return !enc.bad && rd_left(&enc) == 0 && rd_left(&b->iv) == BLOCK && rd_left(&b->body) > 0 &&
	       rd_left(&b->body) % BLOCK == 0 && take_kdf(kdf, b);
}

size_t pbes_get(const void *der, size_t n, const struct pass *pass, uint8_t *plain)
{
	struct box b = { .rounds = 0 };
	br_aes_ct64_cbcdec_keys keys;
	uint8_t iv[BLOCK];

	if (!parse(der, n, &b))
		return errno = EINVAL, 0;
	if (!pass)
		return errno = EACCES, 0;
	size_t len = rd_left(&b.body);
	struct key *k = pass_key(pass, b.salt.p, rd_left(&b.salt), b.rounds);
	if (!k)
		return 0;
	memcpy(plain, b.body.p, len);
	memcpy(iv, b.iv.p, sizeof iv);
	br_aes_ct64_cbcdec_init(&keys, k->b, sizeof k->b);
	br_aes_ct64_cbcdec_run(&keys, iv, plain, len);
	crypto_wipe(&keys, sizeof keys);
	crypto_burn_stack();
	key_free(k);
	uint8_t pad = plain[len - 1];
	bool good = pad >= 1 && pad <= BLOCK;
	for (size_t i = 1; good && i <= pad; i++)
		good = plain[len - i] == pad;
	return good ? len - pad : (errno = EKEYREJECTED, 0);
}
