/* io.h - whole writes. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stddef.h>

/* Writes all n octets to a blocking descriptor.  -1: errno (ENOSPC when it takes
 * none and says nothing); some may have been written. */
int io_write_all(int fd, const void *p, size_t n);

/* A file DIR/NAME with this content, mode 0600 or as it is said: written beside its
 * place (NAME.new), synced and put there in one step, so that whenever the power
 * goes there is the old one or the new one.  0, or -1 with errno. */
int io_save(const char *dir, const char *name, const void *p, size_t n, unsigned mode);

#endif
