/* test_bgp.c - the frame of BGP messages. */
#include "bgp.h"
#include "tests/tap.h"

struct row { const char *what; uint8_t type; uint16_t len, have; uint8_t mark; int want; };
static const struct row rows[] = {
	{ "KEEPALIVE", BGP_KEEPALIVE, 19, 19, 0xff, 0 },
	{ "a KEEPALIVE with a body", BGP_KEEPALIVE, 20, 20, 0xff, BGP_ERR(1, 2) },
	{ "OPEN of the least length", BGP_OPEN, 29, 29, 0xff, 0 },
	{ "OPEN too short", BGP_OPEN, 28, 28, 0xff, BGP_ERR(1, 2) },
	{ "UPDATE, another message behind it", BGP_UPDATE, 23, 60, 0xff, 0 },
	{ "UPDATE not yet whole", BGP_UPDATE, 60, 59, 0xff, -1 },
	{ "a broken marker", BGP_KEEPALIVE, 19, 19, 0xfe, BGP_ERR(1, 1) },
	{ "a length below the header's", BGP_UPDATE, 18, 30, 0xff, BGP_ERR(1, 2) },
	{ "a length above 4096", BGP_UPDATE, 4097, 60, 0xff, BGP_ERR(1, 2) },
	{ "an unknown type", 9, 19, 19, 0xff, BGP_ERR(1, 3) },
	{ "type 0", 0, 19, 19, 0xff, BGP_ERR(1, 3) },
};

int main(void)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint8_t b[64];
		memset(b, rows[i].mark, 16);
		put_u16(b + 16, rows[i].len);
		b[18] = rows[i].type;
		struct rd r = rd_init(b, rows[i].have);
		struct bgp_message m;
		int got = bgp_take_message(&r, &m);
		bool moved = r.p != b;
		ok(got == rows[i].want && moved == (got == 0), "%s", rows[i].what);
		if (got == 0)
			ok(m.type == rows[i].type && rd_left(&m.body) == rows[i].len - 19u, "its type and body");
	}
	uint8_t b[64];
	struct wr w = wr_init(b, sizeof b);
	uint8_t *start = bgp_begin_message(&w, BGP_NOTIFICATION);
	wr_u16(&w, BGP_ERR(6, 2));
	bgp_end_message(&w, start);
	bool short_ok = true;
	struct bgp_message m;
	for (size_t n = 0; n < wr_len(&w); n++) {
		struct rd r = rd_init(b, n);
		short_ok &= bgp_take_message(&r, &m) == -1 && r.p == b;
	}
	ok(short_ok, "every truncation of a NOTIFICATION waits for more");
	struct rd r = rd_init(b, wr_len(&w));
	ok(bgp_take_message(&r, &m) == 0 && rd_u16(&m.body) == BGP_ERR(6, 2) && rd_left(&r) == 0, "and whole it comes back");
	return tap_done();
}
