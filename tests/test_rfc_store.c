/* The RFCs' examples from a real store, filled as a node fills its own: by
 * operations of the journal.  It finds the links of NSEC and NSEC3 chains by
 * its trees, which the mock store does not have. */
#include "tests/rfc.h"

#include <sys/mman.h>
#include <unistd.h>

#include "journal.h"

static struct store *store;
static struct applier applier;
static struct key *key;
static char err[512];

static const struct store_map *served_new(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	struct store_conf c = { .fd = fd, .reserve = 8ull << 30 };
	store = store_open(&c, key, err, sizeof err);
	close(fd);
	if (!store || applier_init(&applier, store) != 0)
		abort();
	return store_reader(store);
}

static void served_free(void)
{
	applier_free(&applier);
	store_close(store);
}

/* One zone, one transaction. */
static bool served_add(struct zone *z)
{
	static const uint8_t meta[STORE_META];
	struct zone_cursor c;
	struct zone_node n;
	struct buf ops = { 0 };
	if (!z || zone_open(&c, z) < 0)
		return false;
	op_zone(&ops, zone_origin(z));
	op_plain(&ops, OP_ADD);
	while (zone_next(&c, &n))
		op_edit_body(&ops, n.flags & NODE_NSEC3 ? FRAG_NSEC3 : FRAG_NAME, n.flags, n.cut, n.owner, n.body,
		             n.len);
	op_serial(&ops, zone_serial(z), 1209600);
	zone_close(&c);
	zone_free(z);
	uint64_t seq = store_seq(store) + 1;
	applier_begin(&applier, seq);
	bool good = !ops.bad && applier_ops(&applier, ops.p, ops.n, err, sizeof err) == 0 &&
	            store_commit(store, seq, meta) == 0;
	if (!good)
		printf("# %s\n", err);
	buf_free(&ops);
	return good;
}

int main(void)
{
	if (crypto_init() < 0)
		return 1;
	key = key_random();
	int r = rfc_examples();
	key_free(key);
	return r;
}
