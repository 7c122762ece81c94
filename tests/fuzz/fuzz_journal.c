/* fuzz_journal.c - whatever a hub or a relay may send: operations, parts of
 * transactions, heads, manifests; and operations into a store.  The first
 * octet chooses. */
#include "journal.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define RUNS  3000 /* on one store */
#define AGAIN 64   /* refusals until it is opened again */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct signer *signer;
static uint8_t pub[SIGN_PUB];
static const uint8_t id[JOURNAL_ID];
static struct key *key;

static void start(void)
{
	static const uint8_t seed[32] = { 1 };
	if (crypto_init() < 0)
		abort();
	key = key_from(seed);
	signer = signer_from(key);
	if (!key || !signer)
		abort();
	signer_pub(signer, pub);
}

/* What is parsed must lie inside, and fit what the applier does with it. */
static void operations(const uint8_t *p, size_t n)
{
	struct rd r = rd_init(p, n);
	struct op_view o;
	while (op_next(&r, &o)) {
		if (o.op < OP_ZONE || o.op > OP_UNSTAGE || r.bad || r.p > r.end)
			abort();
		if ((o.op == OP_EDIT || o.op == OP_DELETE) && o.kind != FRAG_NAME && o.kind != FRAG_NSEC3)
			abort();
		if (o.op == OP_EDIT && (o.edits.p < p || o.edits.end > p + n))
			abort();
	}
}

static void part(const uint8_t *p, size_t n)
{
	struct tx_part t;
	if (!tx_part_parse(p, n, &t))
		return;
	if (t.flags > 3 || t.ops < p || t.ops + t.len > p + n || (t.flags & PART_LAST ? t.chain + CHAIN_LEN != p + n : t.chain != NULL))
		abort();
	operations(t.ops, t.len);
}

/* Nothing counts unless it is signed; signed here, all of it counts. */
static void head(const uint8_t *p, size_t n)
{
	struct head h = { .term = 1 }, out;
	uint8_t octets[HEAD_LEN];
	if (head_open(pub, id, p, n, &out))
		abort();
	if (n >= 16) {
		h.seq = get_u64(p);
		h.time = get_u64(p + 8);
	}
	if (head_sign(signer, id, &h, octets) != 0 || !head_open(pub, id, octets, sizeof octets, &out) || out.seq != h.seq || out.time != h.time)
		abort();
}

static void manifest(const uint8_t *p, size_t n)
{
	struct manifest m = { .zones = 1, .chunks = (uint32_t)(n / 32) }, out;
	struct buf b = { 0 };
	if (manifest_open(pub, id, NULL, p, n, &out))
		abort();
	if (manifest_sign(signer, id, &m, &b) != 0 || !manifest_open(pub, id, NULL, b.p, b.n, &out) || out.chunks != m.chunks)
		abort();
	buf_free(&b);
}

/* Transactions into a store, many on the same one.  A node starts anew after a
 * refusal; here only now and then, as that is slow: what was refused is then
 * committed with what follows, which must do no harm either. */
static void into_store(const uint8_t *p, size_t n)
{
	static struct store *st;
	static struct applier a;
	static int fd = -1;
	static unsigned runs, refused;
	static const uint8_t meta[STORE_META];
	char err[1300];
	if (runs++ % RUNS == 0) {
		if (st) {
			applier_free(&a);
			store_close(st);
			close(fd);
			st = NULL;
		}
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	}
	if (!st) {
		struct store_conf c = { .fd = fd, .reserve = 1ull << 30, .ordered = true };
		st = store_open(&c, key, err, sizeof err);
		if (!st || applier_init(&a, st) != 0)
			abort();
	}
	uint64_t seq = store_seq(st) + 1;
	applier_begin(&a, seq);
	*err = 0;
	bool good = applier_ops(&a, p, n, err, sizeof err) == 0;
	if (good && store_commit(st, seq, meta) != 0)
		abort();
	if (!good && !*err)
		abort();
	struct store_zone z;
	enum store_found r = store_zone_next(st, NULL, &z);
	for (unsigned i = 0; r == STORE_FOUND && i < 1000; i++)
		r = store_zone_next(st, z.name, &z);
	if (r == STORE_DAMAGED)
		abort();
	if (good || ++refused % AGAIN)
		return;
	applier_free(&a);
	store_close(st);
	struct store_conf c = { .fd = fd, .reserve = 1ull << 30, .ordered = true };
	st = store_open(&c, key, err, sizeof err);
	if (!st || store_seq(st) != seq - 1 || applier_init(&a, st) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!key)
		start();
	if (size == 0)
		return 0;
	switch (data[0]) {
	case 'p': part(data + 1, size - 1); break;
	case 'h': head(data + 1, size - 1); break;
	case 'm': manifest(data + 1, size - 1); break;
	case 'o': operations(data + 1, size - 1); break;
	default:
		operations(data, size);
		into_store(data, size);
	}
	return 0;
}
