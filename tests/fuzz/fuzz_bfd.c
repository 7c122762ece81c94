/* fuzz_bfd.c - BFD packets from anybody.
 *
 * The input is pieces: one octet for what to do (time that passes, changes), then a
 * packet of 24 octets or the rest. Whatever comes, time goes on: nothing is
 * due again and again, and what is said can be read. */
#include "bgp/bfd.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool good)
{
	if (!good)
		abort();
}

static void serve(struct bfd *s, uint64_t now)
{
	uint8_t out[BFD_LEN];
	struct bfd_packet p;
	bfd_tick(s, now);
	for (unsigned i = 0; bfd_output(s, now, out); i++) {
		need(i < 2); /* a Final and a periodic one */
		need(bfd_parse(out, sizeof out, &p) || (p.yours == 0 && s->remote == 0));
	}
	need(bfd_due(s) > now);
	need((unsigned)s->state <= BFD_UP && (s->state != BFD_UP || s->remote != 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct bfd_conf c = { .discriminator = 2, .min_tx_us = 50000, .min_rx_us = 50000, .mult = 3 };
	struct bfd s;
	uint64_t now = 1000000000;
	struct rd r = rd_init(data, n);

	bfd_init(&s, &c, 1);
	bfd_start(&s, now);
	serve(&s, now);
	while (rd_left(&r)) {
		uint8_t what = rd_u8(&r);
		size_t len = rd_left(&r) < BFD_LEN || what & 1 ? rd_left(&r) : BFD_LEN;
		const uint8_t *b = rd_take(&r, len);
		now += (what >> 4) * UINT64_C(10000000);
		bfd_receive(&s, now, b, len, what & 2 ? 254 : 255);
		serve(&s, now);
		if ((what & 12) == 4)
			bfd_change(&s, now, 1000u + (what << 12), 1000u + (what << 10));
		if ((what & 12) == 8) {
			now = bfd_due(&s) == BFD_NEVER ? now : bfd_due(&s);
			serve(&s, now);
		}
		if ((what & 12) == 12 && s.state == BFD_ADMIN_DOWN)
			bfd_start(&s, now);
		else if ((what & 12) == 12)
			bfd_stop(&s, now);
		serve(&s, now);
	}
	return 0;
}
