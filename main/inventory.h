/* inventory.h - the inventory of this machine (base/inventory.h), from /sys and /proc. */
#ifndef MAIN_INVENTORY_H
#define MAIN_INVENTORY_H

#include "base/inventory.h"

#include <stdint.h>

/* SHA-256 of the running executable.  Before crypto_harden(), after which the
 * system may refuse to show it.  -1: errno. */
int inventory_image(uint8_t out[static 32]);
/* Looks at everything; its length.  root: "" or a folder in which sys and proc lie
 * (tests).  image: of inventory_image(), NULL: unknown.  What can't be read says
 * so in its line ("? Permission denied"), so that it works for any user. */
size_t inventory_collect(const char *root, const uint8_t *image, char out[static INVENTORY_MAX]);

#endif
