/* codec.c - the octets of BGP: the header of every message (RFC 4271
 * section 4.1).  Sessions and announcements have their place here; until they
 * exist a node announces nothing, and no command or key claims it does.
 * Threat: a router, or whoever sits between: lengths are checked before they
 * are believed. */
#include "bgp/codec.h"

static const uint8_t marker[16] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	                            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

/* The least length of each type, header included. */
static unsigned least(unsigned type)
{
	static const uint8_t len[] = { 0, 29, 23, 21, BGP_HEAD, 23 };
	return type < sizeof len ? len[type] : 0;
}

int bgp_take_message(struct rd *in, struct bgp_message *out)
{
	struct rd r = *in;
	const uint8_t *m = rd_take(&r, sizeof marker);
	unsigned len = rd_u16(&r), type = rd_u8(&r);
	if (r.bad)
		return -1;
	if (memcmp(m, marker, sizeof marker) != 0)
		return BGP_ERR(1, 1);
	if (len < BGP_HEAD || len > BGP_MAX)
		return BGP_ERR(1, 2);
	if (least(type) == 0)
		return BGP_ERR(1, 3);
	if (len < least(type) || (type == BGP_KEEPALIVE && len != BGP_HEAD))
		return BGP_ERR(1, 2);
	struct rd body = rd_sub(&r, len - BGP_HEAD);
	if (body.bad)
		return -1;
	*in = r;
	*out = (struct bgp_message){ (enum bgp_type)type, body };
	return 0;
}

uint8_t *bgp_begin_message(struct wr *w, enum bgp_type type)
{
	uint8_t *start = w->p;
	wr_bytes(w, marker, sizeof marker);
	wr_u16(w, 0);
	wr_u8(w, type);
	return start;
}

void bgp_end_message(struct wr *w, uint8_t *start)
{
	if (!w->bad)
		put_u16(start + sizeof marker, (uint32_t)(w->p - start));
}
