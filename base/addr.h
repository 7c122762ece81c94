/* addr.h - the configuration's addresses, for the socket calls. */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include "base/conf.h"

#include <sys/socket.h>

/* Returns its length, or 0 when it is no address. */
socklen_t addr_of(const struct conf_addr *a, struct sockaddr_storage *out);

/* A socket bound to the address (SOCK_STREAM: listening), closed on exec, not
 * blocking; or -1 with errno. */
enum { ADDR_SHARED = 1, /* others of ours may have the port too: SO_REUSEPORT */
       ADDR_V6ONLY = 2 };
int addr_open(const struct conf_addr *a, int type, unsigned how);

#endif
