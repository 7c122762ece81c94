/* fuzz_denial.c - the denial list.
 *
 * The octets are read as a list.  One whose entries are in order gets a good
 * signature, is read again, and must then be what it says and come out the same
 * when it is written anew. */
#include "crypto/denial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct signer *root;
static uint8_t pub[SIGN_PUB];

static void begin(void)
{
	const uint8_t seed[32] = { 7 };
	struct key *k = crypto_init() == 0 ? key_from(seed) : NULL;

	root = k ? signer_from(k) : NULL;
	if (!root)
		abort();
	signer_pub(root, pub);
	key_free(k);
}

static void sign(uint8_t *p, size_t n)
{
	static const char label[] = "encdns denials v1";
	uint8_t hash[32];
	struct sha s;

	sha256_init(&s);
	sha_update(&s, label, sizeof label);
	sha_update(&s, p, n - SIGN_SIG);
	sha_out(&s, hash);
	if (signer_sign(root, hash, sizeof hash, p + n - SIGN_SIG) != 0)
		abort();
}

static void check(const struct denials *l, const uint8_t *p, size_t n)
{
	static struct denial all[DENIALS_MAX];
	static uint8_t again[DENIALS_BYTES];
	struct denials_at at = { 0 };
	uint32_t count = 0;

	while (denials_next(l, &at, &all[count])) {
		if (!cert_name_ok(all[count].name, strlen(all[count].name)) || !denials_have(l, all[count].serial) ||
		    all[count].role < ROLE_HUB || all[count].role > ROLE_LAST)
			abort();
		count++;
	}
	if (count != denials_count(l) || !denials_follow(l, l))
		abort();
	uint64_t time = get_u64(p + 16);
	if (denials_write(again, all, count, denials_number(l), time, root) != n || memcmp(again, p, n - SIGN_SIG) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *why;

	if (!root)
		begin();
	struct denials *l = denials_read(data, n, pub, &why);
	if (!l && !strstr(why, "signed"))
		return 0;
	denials_free(l);
	uint8_t *p = malloc(n);
	if (!p)
		return 0;
	memcpy(p, data, n);
	sign(p, n);
	l = denials_read(p, n, pub, &why);
	if (!l)
		abort();
	check(l, p, n);
	denials_free(l);
	free(p);
	return 0;
}
