/* fuzz_bgp.c - what a BGP neighbour may send.
 *
 * The first octet chooses a configuration and a state, the second how the rest
 * is cut into pieces. The rest is read as messages by each parser, and by the
 * machine of a neighbour in that state: what it says must be messages, and
 * nothing of it may be overdue. */
#include "bgp.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void need(bool good)
{
	if (!good)
		abort();
}

static void read_one(const struct bgp_message *m)
{
	struct bgp_open o;
	struct bgp_refresh f;
	struct bgp_note note;
	struct bgp_seen seen;
	struct rd data;
	char words[64];
	uint8_t again[BGP_MAX];
	struct wr w = wr_init(again, sizeof again);

	if (bgp_parse_open(m->body, &o) == 0) {
		need(o.id && o.as && o.hold != 1 && o.hold != 2);
		struct bgp_open back;
		bgp_write_open(&w, &o);
		need(!w.bad && bgp_parse_open(rd_init(again + BGP_HEAD, wr_len(&w) - BGP_HEAD), &back) == 0);
		need(back.as == o.as && back.id == o.id && back.hold == o.hold);
	}
	bgp_parse_refresh(m->body, &f);
	if (bgp_parse_notification(m->body, &note)) {
		bgp_note_words(words, sizeof words, &note);
		need(memchr(words, 0, sizeof words) != NULL);
	}
	for (unsigned i = 0; i < 16; i++) {
		struct bgp_reading s = { i & 1, i & 2, i & 4, i & 8 ? BGP_V4 : BGP_V4 | BGP_V6 };
		int err = bgp_check_update(m->body, &s, &seen, &data);
		need(err == 0 || err >> 8 == 3);
		need(!rd_left(&data) || (data.p >= m->body.p && data.end <= m->body.end));
	}
}

static void read_all(const uint8_t *b, size_t n)
{
	struct rd r = rd_init(b, n);
	struct bgp_message m;
	read_one(&(struct bgp_message){ BGP_UPDATE, r }); /* as a body, without a header */
	while (bgp_take_message(&r, &m) == 0)
		read_one(&m);
}

static struct bgp_peer p;
static uint64_t now;

static void serve(void)
{
	unsigned slot;
	for (;;) {
		for (unsigned i = 0; i < 2; i++) {
			const uint8_t *b;
			size_t len;
			while ((len = bgp_peer_out(&p, i, &b))) {
				struct rd r = rd_init(b, len);
				struct bgp_message m;
				while (rd_left(&r))
					need(bgp_take_message(&r, &m) == 0);
				bgp_peer_sent(&p, now, i, len);
			}
		}
		if (bgp_peer_next(&p, &slot) == BGP_NOTHING)
			break;
	}
	need(bgp_peer_due(&p) > now);
	need(memchr(p.last, 0, sizeof p.last) != NULL && bgp_peer_announced(&p) <= 2);
}

static void feed(unsigned slot, const uint8_t *b, size_t n)
{
	bgp_peer_received(&p, now, slot, b, n);
	serve();
}

static void bring_to(unsigned state, unsigned slot, const struct bgp_peer_conf *c)
{
	struct bgp_addr here = { .family = BGP_V4, .b = { 192, 0, 2, 1 } };
	struct bgp_open o = { .as = c->peer_as, .id = 20, .hold = 30, .families = BGP_V4 | BGP_V6,
	   .role = BGP_NO_ROLE };
	uint8_t b[128];
	struct wr w = wr_init(b, sizeof b);
	o.refresh = o.enhanced_refresh = o.v4_by_v6 = true;
	o.as4 = c->peer_as != 65003;
	bgp_peer_start(&p, now);
	serve();
	if (slot)
		need(bgp_peer_incoming(&p, now, &here));
	else
		bgp_peer_connected(&p, now, &here);
	serve();
	bgp_write_open(&w, &o);
	if (state > 0)
		feed(slot, b, wr_len(&w));
	w = wr_init(b, sizeof b);
	bgp_write_keepalive(&w);
	if (state > 1)
		feed(slot, b, wr_len(&w));
	need(bgp_peer_state(&p) == (enum bgp_state)(BGP_OPENSENT + state));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint32_t as[] = { 65001, 65002, 65003, 4200000000u };
	struct bgp_peer_conf c = { .as = 65001, .id = 10, .hold_s = 30, .retry_s = 5, .retry_max_s = 60,
		                   .mode = BGP_DIAL | BGP_LISTEN, .families = BGP_V4 | BGP_V6, .v4_by_v6 = true };
	struct bgp_set set = { .n = 2, .prefix = { { BGP_V4, 24, { 192, 0, 2 } }, { BGP_V6, 16, { 0x20,
	   1 } } },
		               .level = { BGP_FULL, BGP_LESS } };
	if (n < 2)
		return 0;
	read_all(data + 2, n - 2);
	c.peer_as = as[data[0] & 3];
	c.role = BGP_CUSTOMER;
	unsigned slot = data[0] >> 2 & 1, state = (data[0] >> 3 & 3) % 3;
	if (slot)
		c.mode = BGP_LISTEN;
	now = BGP_SEC;
	bgp_peer_init(&p, &c, 1);
	bgp_peer_set(&p, now, &set);
	bring_to(state, slot, &c);
	unsigned piece = data[1] ? data[1] : 4096;
	for (size_t at = 2; at < n; at += piece) {
		feed(slot, data + at, n - at < piece ? n - at : piece);
		if (data[0] & 0x40) {
			now = bgp_peer_due(&p) == BGP_NEVER ? now : bgp_peer_due(&p);
			bgp_peer_tick(&p, now);
			serve();
		}
		if (data[0] & 0x20) {
			set.level[at & 1] = (uint8_t)(set.level[at & 1] + 1) % 4;
			bgp_peer_set(&p, now, &set);
			serve();
		}
	}
	bgp_peer_stop(&p, now, BGP_SHUTDOWN, "done");
	serve();
	need(bgp_peer_over(&p));
	return 0;
}
