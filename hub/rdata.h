/* rdata.h - rdata from text to octets, and judged.
 *
 * rdata_parse() turns the words of one entry into the octets of its rdata;
 * rdata_fault() judges octets that came from elsewhere by the same tables. */
#ifndef HUB_RDATA_H
#define HUB_RDATA_H

#include "dns/rrset.h"
#include "hub/lex.h"

#define RDATA_MAX 65535
#define WHY_MAX   256 /* octets of a message for people, its NUL included */

/* Reads the rdata of an entry up to and including its end, in the type's own
 * form or as \# (RFC 3597), and writes it to out, names uncompressed, case kept.
 * Returns its length, or -1 with a reason in why; lex_skip() then goes on. */
int rdata_parse(struct lex *x, uint16_t type, const uint8_t *origin, uint8_t out[static RDATA_MAX],
                char why[static WHY_MAX]);
/* Is this the uncompressed rdata of that type?  NULL if so, else the reason.
 * Types without a table entry are always fine. */
const char *rdata_fault(uint16_t type, const uint8_t *rdata, size_t n);
/* Can records of this type be in a zone (is it no QTYPE or meta type)? */
bool rdata_storable(uint16_t type);
/* RFC 4034 section 6.2, corrected by RFC 6840 section 5.1: the octets of the
 * rdata whose letters count as lower case, as [*from, *to); empty if none are.
 * The rdata is valid. */
void rdata_fold_span(uint16_t type, const uint8_t *rdata, size_t n, size_t *from, size_t *to);

#endif
