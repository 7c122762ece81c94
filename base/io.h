/* io.h - whole writes. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stddef.h>

/* Writes all n octets to a blocking descriptor.  -1: errno (ENOSPC when it takes
 * none and says nothing); some may have been written. */
int io_write_all(int fd, const void *p, size_t n);

#endif
