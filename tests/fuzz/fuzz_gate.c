/* fuzz_gate.c - a stream of port 22's frames, each read as its receiver does.
 *
 * Every signature holds here and every certificate is judged good, so that what
 * lies behind them is reached.  What a reader takes, put again, is the same
 * octets; what it refuses leaves nothing. */
#include "crypto/cert.h"
#include "crypto.h"

static bool any_verify(const uint8_t *pub, const struct part *parts, size_t n, const uint8_t *sig)
{
	(void)pub, (void)parts, (void)n, (void)sig;
	return true;
}

static int no_sign(const struct signer *s, const struct part *parts, size_t n, uint8_t *out)
{
	(void)s, (void)parts, (void)n;
	memset(out, 0, SIGN_SIG);
	return 0;
}

#define sign_verify_parts any_verify
#define signer_sign_parts no_sign
#define cert_judge(leaf, issuing, root, want, now) ((void)(issuing), (now) < 0 ? "early" : NULL)
#include "crypto/gate.c"
#undef sign_verify_parts
#undef signer_sign_parts
#undef cert_judge

#include "tests/minica.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct minica ca;
static struct cred *machine;
static struct gate_buf *in, *out;
static uint8_t exporter[32], id[MACHINE_ID];

/* What was put must be what was read, but for the signature. */
static void same_again(bool put, enum gate_type type, const uint8_t *p, size_t n, size_t sig)
{
	size_t len = out->len;
	const uint8_t *b = out->b;

	if (!put || len != HEAD + n || get_u24(b) != n || b[3] != type || memcmp(b + HEAD, p, n - sig) != 0)
		abort();
	gone(out, len);
}

static void untouched(const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((const uint8_t *)p)[i] != 0x5a)
			abort();
}

/* Reads into `v`, then puts it again, or sees that nothing was written. */
#define TRY(v, read, put, sig)                          \
	do {                                            \
		memset(&(v), 0x5a, sizeof(v));          \
		const char *why = read;                 \
		if (why)                                \
			untouched(&(v), sizeof(v));     \
		else                                    \
			same_again(put, type, copy, n, sig); \
	} while (0)

static void one(enum gate_type type, uint8_t *p, size_t n)
{
	static uint8_t copy[GATE_FRAME_MAX];
	struct gate_nonce nonce = { .fresh = true };
	struct gate_terms t = { machine->key->pub, exporter, id, &nonce, 0 };
	union {
		struct gate_hello hello;
		struct gate_identity identity;
		struct gate_chunk chunk;
		struct gate_auth auth;
		struct gate_command command;
		struct gate_result result;
	} v;

	memcpy(copy, p, n);
	switch (type) {
	case GATE_HELLO:
		TRY(v.hello, gate_read_hello(p, n, machine->key->pub, exporter, &v.hello),
		    gate_put_hello(out, &v.hello, machine, exporter), SIGN_SIG);
		break;
	case GATE_IDENTITY:
		TRY(v.identity, gate_read_identity(p, n, machine, 0, &v.identity), gate_put_identity(out, &v.identity), 0);
		break;
	case GATE_BUNDLE:
		TRY(v.chunk, gate_read_chunk(p, n, &v.chunk), gate_put_chunk(out, &v.chunk), 0);
		break;
	case GATE_AUTH: {
		bool good = false;
		TRY(v.auth, gate_read_auth(p, n, &t, &v.auth), (good = gate_put_auth(out, &v.auth, machine, exporter)),
		    SIGN_SIG);
		if (good)
			gate_auth_free(&v.auth);
		if (nonce.fresh || (n > 0 && (p[0] || memcmp(p, p + 1, n - 1) != 0)))
			abort();
		break;
	}
	case GATE_COMMAND:
		TRY(v.command, gate_read_command(p, n, &t, &v.command),
		    gate_put_command(out, &v.command, machine, exporter), SIGN_SIG);
		if (nonce.fresh)
			abort();
		break;
	case GATE_RESULT:
		TRY(v.result, gate_read_result(p, n, &v.result), gate_put_result(out, &v.result), 0);
		break;
	}
}

static void start(void)
{
	if (crypto_init() != 0)
		abort();
	minica_init(&ca, 1);
	machine = minica_party(&ca, ROLE_MACHINE, "fra1", MINICA_FROM, MINICA_UNTIL);
	machine_id(machine->key->pub, id);
	in = gate_buf_new();
	out = gate_buf_new();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	enum gate_type type;
	size_t room, len;
	uint8_t *p, *exact;
	int got = 0;

	if (!in)
		start();
	while (n > 0 && got >= 0) {
		uint8_t *to = room_in(in, &room);

		room = least(least(room, n), 4096);
		memcpy(to, data, room);
		added(in, room);
		data += room, n -= room;
		while ((got = gate_next(in, &type, &p, &len)) == 1) {
			/* memory of its own size, so that a sanitizer sees each overrun */
			exact = malloc(len + !len);
			memcpy(exact, p, len);
			one(type, exact, len);
			free(exact);
		}
	}
	gone(in, in->len);
	in->given = 0;
	return 0;
}
