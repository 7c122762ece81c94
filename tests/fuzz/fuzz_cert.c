/* fuzz_cert.c - PEM, credentials and certificates from strangers.
 *
 * The input is read as PEM credentials, as one DER certificate and as private
 * keys; what parses must be consistent.  `make fuzz` builds it with libFuzzer; without,
 * main() replays files. */
#include "crypto/cred.h"
#include "crypto/internal.h"
#include "crypto/pbes.h"

#include <errno.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool within(const struct rd *r, const uint8_t *data, size_t n)
{
	return !r->bad && r->p >= data && r->end <= data + n && r->p <= r->end;
}

static void one_cert(const uint8_t *data, size_t n)
{
	struct cert c;
	const char *why = NULL;

	if (cert_parse(data, n, &c, &why) != 0) {
		if (!why)
			abort();
		return;
	}
	if (!within(&c.tbs, data, n) || !within(&c.sig, data, n) || !within(&c.issuer, data, n) ||
	    !within(&c.subject, data, n) || !within(&c.serial, data, n) || c.pub < data ||
	    c.pub + SIGN_PUB > data + n || !memchr(c.name, 0, sizeof c.name))
		abort();
	if (c.kind == CERT_LEAF && !cert_name_ok(c.name, strlen(c.name)))
		abort();
	if (c.kind != CERT_ROOT && (c.role < ROLE_HUB || c.role > ROLE_LAST))
		abort();
	(void)cert_judge(&c, &c, &c, ROLE_NODE, cert_now());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool ready;
	static struct cred c;
	uint8_t scratch[CERT_MAX], x[32];
	char label[32];
	struct rd text = rd_init(data, n);

	if (!ready && crypto_init() != 0)
		abort();
	ready = true;
	one_cert(data, n);
	(void)pem_scalar("EC PRIVATE KEY", data, n, x);
	(void)pem_scalar("PRIVATE KEY", data, n, x);
	/* read as far as the passphrase is wanted: its rounds are nothing for a fuzzer */
	errno = 0;
	if (pbes_get(data, n, NULL, NULL) != 0 || (errno != EINVAL && errno != EACCES))
		abort();
	for (;;) {
		struct wr w = wr_init(scratch, sizeof scratch);

		if (pem_next(&text, label, &w) != 1)
			break;
		if (w.bad || !memchr(label, 0, sizeof label))
			abort();
		one_cert(scratch, wr_len(&w));
		(void)pem_scalar(label, scratch, wr_len(&w), x);
	}
	memset(&c, 0, sizeof c);
	const char *wrong = cred_parse(&c, data, n, NULL, scratch);
	if (!wrong && (!c.key || c.cert[CERT_LEAF].kind != CERT_LEAF))
		abort();
	signer_free(c.key);
	return 0;
}
