/* codec.h - the octets of BGP: so far the frame that every message comes in. */
#ifndef BGP_CODEC_H
#define BGP_CODEC_H

#include "base/wire.h"

#define BGP_HEAD 19
#define BGP_MAX  4096 /* octets of a message, RFC 4271 section 4.1 */

enum bgp_type { BGP_OPEN = 1, BGP_UPDATE, BGP_NOTIFICATION, BGP_KEEPALIVE, BGP_ROUTE_REFRESH };

/* What a NOTIFICATION says: code << 8 | subcode (RFC 4271 section 4.5). */
#define BGP_ERR(code, sub) ((code) << 8 | (sub))

struct bgp_message {
	enum bgp_type type;
	struct rd body;
};

/* Takes one message from what has been received.  Returns 0 and fills *out, -1
 * when more octets are needed, or the NOTIFICATION to send (RFC 4271 section
 * 6.1); only in the first case the reader moves. */
int bgp_take_message(struct rd *in, struct bgp_message *out);
/* Begins a message in w, to be ended by bgp_end_message with what this returned. */
uint8_t *bgp_begin_message(struct wr *w, enum bgp_type type);
void bgp_end_message(struct wr *w, uint8_t *start);

#endif
