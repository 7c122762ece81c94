/* link.c - which addresses of ours lie on the link to a neighbour?
 * Threat: none; it is the kernel that is asked. */
#include "main/route.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

static bool take(const struct ifaddrs *i, struct bgp_addr *out)
{
	if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET6)
		return false;
	*out = (struct bgp_addr){ .family = BGP_V6 };
	memcpy(out->b, &((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr, 16);
	return true;
}

/* Is the neighbour in the subnet of this address? */
static bool shares(const struct ifaddrs *i, const struct bgp_addr *own, const struct bgp_addr *peer)
{
	if (!i->ifa_netmask)
		return false;
	const uint8_t *mask = ((const struct sockaddr_in6 *)(const void *)i->ifa_netmask)->sin6_addr.s6_addr;
	for (unsigned k = 0; k < 16; k++)
		if ((own->b[k] ^ peer->b[k]) & mask[k])
			return false;
	return true;
}

/* The name of the shared link; NULL: none. */
static const char *find(const struct ifaddrs *all, const char *dev, const struct bgp_addr *local,
                        const struct bgp_addr *peer)
{
	struct bgp_addr a;
	if (bgp_addr_link_local(local))
		return *dev ? dev : NULL;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		if (take(i, &a) && memcmp(a.b, local->b, 16) == 0 && shares(i, &a, peer))
			return i->ifa_name;
	return NULL;
}

void route_link(const char *dev, const struct bgp_addr *local, const struct bgp_addr *peer, struct bgp_addr *global,
                struct bgp_addr *link_local)
{
	struct ifaddrs *all;
	struct bgp_addr a;
	global->family = link_local->family = 0;
	if (local->family != BGP_V6 || getifaddrs(&all) != 0)
		return;
	const char *name = find(all, dev, local, peer);
	for (const struct ifaddrs *i = all; i && name; i = i->ifa_next) {
		if (strcmp(i->ifa_name, name) != 0 || !take(i, &a))
			continue;
		struct bgp_addr *to = bgp_addr_link_local(&a) ? link_local : global;
		if (!to->family)
			*to = a;
	}
	freeifaddrs(all);
}
