/* bgp.h - the BGP speaker: so far the frame that every message comes in. */
#ifndef BGP_H
#define BGP_H

#include "bgp/codec.h"

#endif
