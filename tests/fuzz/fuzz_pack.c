/* Fragments as they lie in the log.  Input: how8, then: 0: a plain as if it had been
 * decrypted; else the octets of the key, which are how8 & 63 many, and a body,
 * which has to come back as it was. */
#include "store/writer.h"

#include <stdlib.h>

static void unpack(const uint8_t *data, size_t n, struct scratch *s)
{
	struct raw r;
	s->used = 0;
	if (frag_unpack(data, n, s, &r) && r.f.body + r.f.len > s->mem + s->size && r.f.body + r.f.len > data + n)
		abort();
}

static void both_ways(struct rd *r, uint8_t how, struct scratch *s)
{
	size_t keylen = how & 63;
	struct change c = { how & 64 ? FRAG_NSEC3 : FRAG_NAME, 77, 3, how & 128 ? FRAG_GONE | NODE_ENT : NODE_CUT, 2,
		            rd_take(r, keylen), keylen, r->p, 0, false, false };
	struct raw back;
	if (r->bad)
		return;
	c.body = r->p;
	c.len = (uint32_t)rd_left(r);
	uint8_t *plain = malloc(FRAG_HEAD_MAX + keylen + c.len);
	size_t n = frag_pack(&c, how, plain);
	s->used = 0;
	if (!frag_unpack(plain, n, s, &back) || back.f.len != c.len || (c.len && memcmp(back.f.body, c.body, c.len) != 0) ||
	    back.older != how || back.f.cut != 2 || back.keylen != keylen)
		abort();
	free(plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct scratch s;
	struct rd r = rd_init(data, n);
	if (n == 0 || n > 100000)
		return 0;
	if (!s.mem && (crypto_init() < 0 || scratch_new(&s, 1 << 20) != 0))
		abort();
	uint8_t how = rd_u8(&r);
	if (how == 0)
		unpack(r.p, rd_left(&r), &s);
	else
		both_ways(&r, how, &s);
	return 0;
}
