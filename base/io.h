/* io.h - whole writes. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stdbool.h>
#include <stddef.h>

/* Writes all n octets to a blocking descriptor.  -1: errno (ENOSPC when it takes
 * none and says nothing); some may have been written. */
int io_write_all(int fd, const void *p, size_t n);

/* What was made, put or removed in a folder is there when the power goes.  0, or -1 with
 * errno; a file system that can't do that is no error. */
int io_sync_dir(int folder);

/* A file DIR/NAME with this content, mode 0600 or as it is said: written beside its
 * place (NAME.new), synced and put there in one step, so that whenever the power
 * goes there is the old one or the new one.  0, or -1 with errno. */
int io_save(const char *dir, const char *name, const void *p, size_t n, unsigned mode);
int io_save_at(int folder, const char *name, const void *p, size_t n, unsigned mode);

/* The same for who writes it himself, to fd. */
struct draft {
	int folder, fd;
	char name[256], beside[256];
};
/* beside NULL: NAME.new, which one that was interrupted may have left; else a name that
 * nobody has, for several at a time.  The folder stays open to the end.  0, or -1 with errno. */
int draft_open(struct draft *d, int folder, const char *name, const char *beside, unsigned mode);
/* Puts it in its place when rc is 0, and drops it otherwise; with replace false a file that
 * is there stays, and it is an error (EEXIST).  0, or -1 with errno. */
int draft_end(struct draft *d, int rc, bool replace);

#endif
