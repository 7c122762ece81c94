/* tls.c - our profile of TLS, over BearSSL's engine.
 *
 * TLS 1.2, ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 on P-256, signatures with
 * SHA-256 or SHA-384, both sides certified by the same root, no resumption,
 * no renegotiation, no server name sent.  Nothing else is compiled in, so
 * nothing else can be negotiated.
 *
 * BearSSL judges the handshake, we judge the chain: `struct chain` takes the
 * place of its X.509 engine, collects the peer's certificates and hands them
 * to cert_judge() with the role the caller asked for.  A peer of another role
 * fails the handshake as a stranger does.  A machine is known by its key, or at
 * enrolment not at all: its certificate is judged apart, judge_machine().
 *
 * States: handshake -> ready -> closed, or -> closed at any time; the first
 * error stays.  The whole context, buffers included, lies in the pool. */
#include "crypto/cred.h"
#include "crypto/denial.h"
#include "crypto/internal.h"

#include <errno.h>
#include <string.h>

/* Leaf and issuing certificate; a third one, the root, may be sent and is
 * passed over: the root that judges is our own. */
#define CHAIN_MAX 3

/* The peer's chain as it comes in.  The vtable is first: BearSSL's way. */
struct chain {
	const br_x509_class *vtable;
	const struct cred *cred; /* whose root judges */
	enum cert_role want;
	bool machine;            /* known by its key, not by our root */
	bool pinned;             /* its key is this */
	bool admit_denied;       /* who is denied gets through */
	uint8_t pin[SIGN_PUB];
	unsigned count;                /* certificates begun */
	size_t len[CHAIN_MAX];         /* of each, so far */
	uint8_t der[CHAIN_MAX][CERT_MAX];
	bool too_big;                  /* a certificate or the chain */
	const char *wrong;             /* the verdict; NULL: good, or not yet judged */
	struct tls_peer id;            /* of the peer, once judged good; name empty before */
	br_x509_pkey pkey;
};

struct tls {
	union {
		br_ssl_client_context client;
		br_ssl_server_context server;
	} u;
	br_ssl_engine_context *eng; /* within u */
	struct chain peer;
	br_x509_certificate own[2];
	size_t nown;           /* 1: signed by itself */
	br_ec_private_key key; /* points into the credentials */
	br_x500_name root;     /* what the server asks clients for */
	bool ready;
	uint8_t in[BR_SSL_BUFSIZE_INPUT];
	uint8_t out[BR_SSL_BUFSIZE_OUTPUT];
};

/* ---- the peer's chain ---- */

static struct chain *chain_of(const br_x509_class **ctx)
{
	return (struct chain *)(void *)ctx;
}

static void start_chain(const br_x509_class **ctx, const char *server_name)
{
	struct chain *c = chain_of(ctx);

	(void)server_name;
	c->count = 0;
	c->too_big = false;
	c->wrong = NULL;
	c->id.name[0] = 0;
}

static void start_cert(const br_x509_class **ctx, uint32_t length)
{
	struct chain *c = chain_of(ctx);

	if (c->count >= CHAIN_MAX || length > CERT_MAX) {
		c->too_big = true;
		return;
	}
	c->len[c->count++] = 0;
}

static void append(const br_x509_class **ctx, const unsigned char *buf, size_t n)
{
	struct chain *c = chain_of(ctx);

	if (c->too_big || c->count == 0)
		return;
	size_t i = c->count - 1;
	if (n > CERT_MAX - c->len[i]) {
		c->too_big = true;
		return;
	}
	memcpy(c->der[i] + c->len[i], buf, n);
	c->len[i] += n;
}

static void end_cert(const br_x509_class **ctx)
{
	(void)ctx;
}

static const char *judge_role(const struct chain *c, const struct cert *leaf)
{
	struct cert issuing;
	const char *why;

	if (c->count < 2)
		return "the peer sent no chain";
	if (cert_parse(c->der[1], c->len[1], &issuing, &why) != 0)
		return why;
	return cert_judge(leaf, &issuing, &c->cred->cert[CERT_ROOT], c->want, cert_now());
}

/* That it holds the key is the handshake's to show. */
static const char *judge_machine(const struct chain *c, const struct cert *leaf, bool own)
{
	if (leaf->kind != CERT_LEAF || leaf->role != ROLE_MACHINE)
		return "the peer is not a machine that waits to be authorised";
	if (c->pinned)
		return memcmp(leaf->pub, c->pin, SIGN_PUB) == 0 ? NULL :
		       "the machine shows another key than the one it was enrolled with";
	return own ? NULL : "the machine has been enrolled already";
}

_Static_assert(sizeof((struct tls_peer *)0)->serial == CERT_SERIAL, "a serial number's length");

static const char *judge(struct chain *c)
{
	struct cert leaf;
	const char *why;

	if (c->too_big)
		return "the peer's chain is too long";
	if (c->count < 1)
		return "the peer sent no chain";
	if (cert_parse(c->der[0], c->len[0], &leaf, &why) != 0)
		return why;
	bool own = c->machine && cert_signed_by(&leaf, &leaf);
	why = c->machine ? judge_machine(c, &leaf, own) : judge_role(c, &leaf);
	if (!why && !c->admit_denied && denials_have(c->cred->denied, leaf.serial.p))
		why = "the peer's certificate is denied";
	if (why)
		return why;
	c->id = (struct tls_peer){ .role = leaf.role, .own = own };
	memcpy(c->id.name, leaf.name, sizeof c->id.name);
	memcpy(c->id.pub, leaf.pub, sizeof c->id.pub);
	memcpy(c->id.serial, leaf.serial.p, sizeof c->id.serial);
	c->pkey.key_type = BR_KEYTYPE_EC;
	c->pkey.key.ec = (br_ec_public_key){ BR_EC_secp256r1, c->id.pub, sizeof c->id.pub };
	return NULL;
}

static unsigned end_chain(const br_x509_class **ctx)
{
	struct chain *c = chain_of(ctx);

	c->wrong = judge(c);
	return c->wrong ? BR_ERR_X509_NOT_TRUSTED : 0;
}

static const br_x509_pkey *get_pkey(const br_x509_class *const *ctx, unsigned *usages)
{
	const struct chain *c = (const struct chain *)(const void *)ctx;

	if (c->id.name[0] == 0)
		return NULL;
	if (usages)
		*usages = BR_KEYTYPE_SIGN;
	return &c->pkey;
}

static const br_x509_class CHAIN_CLASS = {
	sizeof(struct chain), start_chain, start_cert, append, end_cert, end_chain, get_pkey,
};

/* ---- the profile ---- */

static void set_profile(struct tls *t)
{
	static const uint16_t suite[1] = { BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 };
	uint8_t seed[48];

	br_ssl_engine_set_versions(t->eng, BR_TLS12, BR_TLS12);
	br_ssl_engine_set_suites(t->eng, suite, 1);
	br_ssl_engine_set_hash(t->eng, br_sha256_ID, crypto_sha256());
	br_ssl_engine_set_hash(t->eng, br_sha384_ID, &br_sha384_vtable);
	br_ssl_engine_set_prf_sha384(t->eng, &br_tls12_sha384_prf);
	br_ssl_engine_set_default_aes_gcm(t->eng);
	br_ssl_engine_set_ec(t->eng, crypto_ec());
	br_ssl_engine_set_ecdsa(t->eng, br_ecdsa_i31_vrfy_asn1);
	br_ssl_engine_set_x509(t->eng, &t->peer.vtable);
	br_ssl_engine_set_all_flags(t->eng, BR_OPT_NO_RENEGOTIATION);
	br_ssl_engine_set_buffers_bidi(t->eng, t->in, sizeof t->in, t->out, sizeof t->out);
	crypto_random(seed, sizeof seed);
	br_ssl_engine_inject_entropy(t->eng, seed, sizeof seed);
	crypto_wipe(seed, sizeof seed);
}

static struct tls *tls_new(const struct cred *c, enum cert_role peer)
{
	struct tls *t = pool_alloc(sizeof *t);

	if (!t)
		return NULL;
	t->peer.vtable = &CHAIN_CLASS;
	t->peer.cred = c;
	t->peer.want = peer;
	/* BearSSL's types are not const; it does not write to any of these. */
	t->own[0] = (br_x509_certificate){ (uint8_t *)(uintptr_t)c->der[CERT_LEAF],
		                           c->der_len[CERT_LEAF] };
	t->own[1] = (br_x509_certificate){ (uint8_t *)(uintptr_t)c->der[CERT_ISSUING],
		                           c->der_len[CERT_ISSUING] };
	t->nown = c->der_len[CERT_ISSUING] ? 2 : 1;
	t->key = (br_ec_private_key){ BR_EC_secp256r1, c->key->x, sizeof c->key->x };
	t->root = (br_x500_name){ (uint8_t *)(uintptr_t)c->cert[CERT_ROOT].subject.p,
		                  rd_left(&c->cert[CERT_ROOT].subject) };
	return t;
}

static struct tls *started(struct tls *t, int ok)
{
	if (!ok) {
		tls_free(t);
		errno = EIO;
		return NULL;
	}
	return t;
}

static struct tls *start_client(struct tls *t)
{
	br_ssl_client_zero(&t->u.client);
	t->eng = &t->u.client.eng;
	set_profile(t);
	br_ssl_client_set_single_ec(&t->u.client, t->own, t->nown, &t->key, BR_KEYTYPE_SIGN,
	                            BR_KEYTYPE_EC, crypto_ec(), br_ecdsa_i31_sign_asn1);
	return started(t, br_ssl_client_reset(&t->u.client, NULL, 0));
}

struct tls *tls_client(const struct cred *c, enum cert_role peer)
{
	struct tls *t = tls_new(c, peer);

	return t ? start_client(t) : NULL;
}

struct tls *tls_client_machine(const struct cred *c, const uint8_t *pub)
{
	struct tls *t = tls_new(c, ROLE_MACHINE);

	if (!t)
		return NULL;
	t->peer.machine = true;
	t->peer.pinned = pub != NULL;
	if (pub)
		memcpy(t->peer.pin, pub, SIGN_PUB);
	return start_client(t);
}

struct tls *tls_server(const struct cred *c, enum cert_role peer)
{
	struct tls *t = tls_new(c, peer);

	if (!t)
		return NULL;
	br_ssl_server_zero(&t->u.server);
	t->eng = &t->u.server.eng;
	set_profile(t);
	br_ssl_server_set_single_ec(&t->u.server, t->own, t->nown, &t->key, BR_KEYTYPE_SIGN,
	                            BR_KEYTYPE_EC, crypto_ec(), br_ecdsa_i31_sign_asn1);
	br_ssl_server_set_trust_anchor_names(&t->u.server, &t->root, 1);
	return started(t, br_ssl_server_reset(&t->u.server));
}

void tls_free(struct tls *t)
{
	pool_free(t, sizeof *t);
}

/* ---- octets in and out ---- */

/* After each step of the engine: application data moves only once the
 * handshake is through, and it is through only with a peer judged good. */
static void look(struct tls *t)
{
	if (br_ssl_engine_current_state(t->eng) & (BR_SSL_SENDAPP | BR_SSL_RECVAPP))
		t->ready = t->peer.id.name[0] != 0;
}

uint8_t *tls_wire_in(struct tls *t, size_t *n)
{
	return br_ssl_engine_recvrec_buf(t->eng, n);
}

void tls_wire_in_done(struct tls *t, size_t n)
{
	if (n > 0)
		br_ssl_engine_recvrec_ack(t->eng, n);
	look(t);
}

const uint8_t *tls_wire_out(struct tls *t, size_t *n)
{
	return br_ssl_engine_sendrec_buf(t->eng, n);
}

void tls_wire_out_done(struct tls *t, size_t n)
{
	if (n > 0)
		br_ssl_engine_sendrec_ack(t->eng, n);
	look(t);
}

uint8_t *tls_app_in(struct tls *t, size_t *n)
{
	if (!t->ready)
		return *n = 0, NULL;
	return br_ssl_engine_sendapp_buf(t->eng, n);
}

void tls_app_in_done(struct tls *t, size_t n)
{
	if (n > 0)
		br_ssl_engine_sendapp_ack(t->eng, n);
}

void tls_flush(struct tls *t)
{
	br_ssl_engine_flush(t->eng, 0);
}

const uint8_t *tls_app_out(struct tls *t, size_t *n)
{
	if (!t->ready)
		return *n = 0, NULL;
	return br_ssl_engine_recvapp_buf(t->eng, n);
}

void tls_app_out_done(struct tls *t, size_t n)
{
	if (n > 0)
		br_ssl_engine_recvapp_ack(t->eng, n);
}

void tls_close(struct tls *t)
{
	br_ssl_engine_close(t->eng);
}

bool tls_ready(const struct tls *t)
{
	return t->ready;
}

bool tls_closed(const struct tls *t)
{
	return br_ssl_engine_current_state(t->eng) == BR_SSL_CLOSED;
}

static const char *words(int e)
{
	switch (e) {
	case BR_ERR_UNSUPPORTED_VERSION:
	case BR_ERR_BAD_VERSION:
		return "the peer does not speak TLS 1.2";
	case BR_ERR_BAD_CIPHER_SUITE:
		return "no cipher suite in common";
	case BR_ERR_BAD_MAC:
		return "a record was altered on its way";
	case BR_ERR_BAD_FINISHED:
		return "the handshake was altered on its way";
	case BR_ERR_BAD_SIGNATURE:
		return "the peer does not hold its certificate's key";
	case BR_ERR_NO_CLIENT_AUTH:
		return "the peer showed no certificate";
	case BR_ERR_UNKNOWN_TYPE:
	case BR_ERR_UNEXPECTED:
	case BR_ERR_BAD_HANDSHAKE:
	case BR_ERR_BAD_LENGTH:
	case BR_ERR_TOO_LARGE:
		return "the peer does not speak TLS as we do";
	case BR_ERR_X509_NOT_TRUSTED:
		return "the peer's certificate is not of our root";
	default:
		return NULL;
	}
}

static const char *alert_sent(int n)
{
	switch (n) {
	case 40:
		return "no protocol, suite or curve in common with the peer";
	case 70:
		return "the peer does not speak TLS 1.2";
	case 100:
		return "the peer wanted to negotiate again";
	default:
		return "the peer does not speak TLS as we do";
	}
}

static const char *alert_received(int n)
{
	switch (n) {
	case 40:
		return "the peer found no parameters in common";
	case 42:
	case 43:
	case 46:
	case 48:
	case 49:
		return "the peer refused our certificate";
	case 44:
	case 45:
		return "the peer says that our certificate has expired or is denied";
	case 70:
		return "the peer does not speak TLS 1.2";
	default:
		return "the peer ended the connection with an error";
	}
}

const char *tls_error(const struct tls *t)
{
	int e = br_ssl_engine_last_error(t->eng);

	if (e == 0)
		return NULL;
	if (t->peer.wrong)
		return t->peer.wrong;
	if (e >= BR_ERR_RECV_FATAL_ALERT && e < BR_ERR_SEND_FATAL_ALERT)
		return alert_received(e - BR_ERR_RECV_FATAL_ALERT);
	if (e >= BR_ERR_SEND_FATAL_ALERT)
		return alert_sent(e - BR_ERR_SEND_FATAL_ALERT);
	const char *text = words(e);
	return text ? text : "the TLS session failed";
}

const char *tls_peer_name(const struct tls *t)
{
	return t->ready ? t->peer.id.name : NULL;
}

bool tls_peer_denied(const struct tls *t)
{
	return t->ready && denials_have(t->peer.cred->denied, t->peer.id.serial);
}

void tls_admit_denied(struct tls *t) { t->peer.admit_denied = true; }

const struct tls_peer *tls_peer(const struct tls *t)
{
	return t->ready ? &t->peer.id : NULL;
}

int tls_export(const struct tls *t, const char *label, uint8_t out[static 32])
{
	if (!t->ready || br_ssl_key_export(t->eng, out, 32, label, NULL, 0) != 1)
		return errno = EAGAIN, -1;
	crypto_burn_stack();
	return 0;
}
