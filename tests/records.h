/* records.h - the names and bodies that several tests fill a store with. */
#ifndef TESTS_RECORDS_H
#define TESTS_RECORDS_H

#include "dns/rrset.h"

#include <stdio.h>

/* name-I.example.; its length. */
static inline size_t numbered_name(unsigned i, uint8_t out[static NAME_MAX_LEN])
{
	char text[64];
	snprintf(text, sizeof text, "name-%u.example.", i);
	return name_parse(text, strlen(text), NULL, out);
}

/* One address, which tells a value; its length. */
static inline uint32_t address_body(uint32_t value, uint8_t *out, size_t room)
{
	struct wr w = wr_init(out, room);
	wr_u16(&w, T_A);
	wr_u32(&w, 60);
	wr_u16(&w, 1);
	wr_u16(&w, 0);
	wr_u32(&w, 6);
	wr_u16(&w, 4);
	wr_u32(&w, value);
	return (uint32_t)wr_len(&w);
}

#endif
