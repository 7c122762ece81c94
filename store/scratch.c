/* scratch.c - memory for decrypted fragments.  What was ever in it is wiped
 * before it goes back: `top` is kept by those that decrypt and unpack (read.c, pack.c). */
#include "store.h"

#include <stdlib.h>

int scratch_new(struct scratch *s, size_t size)
{
	*s = (struct scratch){ .mem = malloc(size), .size = size };
	return s->mem ? 0 : -1;
}

void scratch_free(struct scratch *s)
{
	if (s->mem)
		crypto_wipe(s->mem, s->top);
	free(s->mem);
	*s = (struct scratch){ 0 };
}
