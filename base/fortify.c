/* fortify.c - three checked copies that musl does not have.
 *
 * The distribution's BearSSL is compiled with _FORTIFY_SOURCE and so calls
 * these by their glibc names; under glibc this file is empty. */
#include <stdlib.h>
#include <string.h>

#ifndef __GLIBC__

void *__memcpy_chk(void *to, const void *from, size_t n, size_t room);
void *__memmove_chk(void *to, const void *from, size_t n, size_t room);
void *__memset_chk(void *to, int c, size_t n, size_t room);

void *__memcpy_chk(void *to, const void *from, size_t n, size_t room)
{
	if (n > room)
		abort();
	return memcpy(to, from, n);
}

void *__memmove_chk(void *to, const void *from, size_t n, size_t room)
{
	if (n > room)
		abort();
	return memmove(to, from, n);
}

void *__memset_chk(void *to, int c, size_t n, size_t room)
{
	if (n > room)
		abort();
	return memset(to, c, n);
}

#endif
