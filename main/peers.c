/* peers.c - the configuration of encdns-route: the words of a neighbour's line,
 * by one table, and what the keys mean together.
 * Threat: mistakes only; the file is the operator's. */
#include "main/route.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOLD_S      90
#define RETRY_S     5
#define RETRY_MAX_S 120
#define BFD_MS      300
#define BFD_MULT    3
#define BFD_MS_MAX  60000
#define OWN_MAX     64 /* addresses of this machine that are looked at */

const char *bgp_addr_text(const struct bgp_addr *a, char out[static ADDR_TEXT])
{
	*out = 0;
	if (a->family)
		inet_ntop(a->family == BGP_V4 ? AF_INET : AF_INET6, a->b, out, ADDR_TEXT);
	return out;
}

bool bgp_addr_same(const struct bgp_addr *a, const struct bgp_addr *b)
{
	return a->family == b->family && a->link == b->link && memcmp(a->b, b->b, a->family == BGP_V4 ? 4 : 16) == 0;
}

bool bgp_addr_link_local(const struct bgp_addr *a)
{
	return a->family == BGP_V6 && a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

const char *route_peer_text(const struct route_peer *p, char out[static ADDR_TEXT])
{
	bgp_addr_text(&p->bgp.addr, out);
	size_t n = strlen(out);
	if (*p->dev)
		snprintf(out + n, ADDR_TEXT - n, "%%%s", p->dev);
	return out;
}

static bool parse_addr(const char *v, struct bgp_addr *out)
{
	struct bgp_addr a = { 0 };
	a.family = inet_pton(AF_INET, v, a.b) == 1 ? BGP_V4 : inet_pton(AF_INET6, v, a.b) == 1 ? BGP_V6 : 0;
	if (a.family)
		*out = a;
	return a.family != 0;
}

/* Digits up to `end`'s character; false: none, too many, or out of range. */
static bool parse_digits(const char **v, char end, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t x = 0;
	const char *p = *v;
	for (; *p >= '0' && *p <= '9' && x <= max; p++)
		x = x * 10 + (uint64_t)(*p - '0');
	if (p == *v || *p != end || x < min || x > max)
		return false;
	*v = end ? p + 1 : p;
	*out = x;
	return true;
}

int take_bgp_id(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	struct bgp_addr a = { 0 }, none = { 0 };
	if (*v && (!parse_addr(v, &a) || a.family != BGP_V4 || memcmp(a.b, none.b, 4) == 0)) {
		snprintf(err, n, "%s wants an IPv4 address, not \"%.80s\"", k->key, v);
		return -1;
	}
	*(struct bgp_addr *)at = a;
	return 0;
}

static bool same_prefix(const struct bgp_prefix *a, const struct bgp_prefix *b)
{
	return a->family == b->family && a->len == b->len && memcmp(a->b, b->b, sizeof a->b) == 0;
}

static bool covers(const struct bgp_prefix *p, const uint8_t *b)
{
	for (unsigned bit = 0; bit < p->len; bit++)
		if ((p->b[bit / 8] ^ b[bit / 8]) & (0x80 >> bit % 8))
			return false;
	return true;
}

int take_bgp_prefix(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	struct route_prefixes *l = at;
	struct bgp_prefix p = { 0 };
	struct bgp_addr a = { 0 };
	char host[64];
	uint64_t len;
	if (*v == 0) { /* the default: an empty list */
		l->n = 0;
		return 0;
	}
	const char *bits = strchr(v, '/');
	if (bits)
		snprintf(host, sizeof host, "%.*s", (int)(bits++ - v < 63 ? bits - v - 1 : 63), v);
	if (!bits || !parse_addr(host, &a) || !parse_digits(&bits, 0, 0, a.family == BGP_V4 ? 32 : 128, &len)) {
		snprintf(err, n, "%s wants PREFIX/BITS, not \"%.80s\"", k->key, v);
		return -1;
	}
	p.family = a.family;
	p.len = (uint8_t)len;
	memcpy(p.b, a.b, sizeof p.b);
	for (unsigned bit = p.len; bit < 128; bit++)
		if (p.b[bit / 8] & (0x80 >> bit % 8)) {
			snprintf(err, n, "%s: %.80s has bits beyond its length", k->key, v);
			return -1;
		}
	for (unsigned i = 0; i < l->n; i++)
		if (same_prefix(&l->at[i], &p)) {
			snprintf(err, n, "%s: %.80s comes a second time", k->key, v);
			return -1;
		}
	if (l->n == BGP_PREFIXES) {
		snprintf(err, n, "%s: no more than %u of them", k->key, BGP_PREFIXES);
		return -1;
	}
	l->at[l->n++] = p;
	return 0;
}

/* ---- a neighbour's words ---- */

struct word {
	const char *name;
	/* False: v is not what `wants` says. */
	bool (*take)(const struct word *w, struct route_peer *p, const char *v);
	const char *wants;
	size_t off;          /* of a number: where it goes, its size and range */
	size_t size;
	uint64_t min, max;
	bool many;
};

static bool word_number(const struct word *w, struct route_peer *p, const char *v)
{
	uint64_t x;
	uint8_t *at = (uint8_t *)p + w->off;
	if (!parse_digits(&v, 0, w->min, w->max, &x))
		return false;
	if (w->size == 1)
		*at = (uint8_t)x;
	else if (w->size == 2)
		memcpy(at, &(uint16_t){ (uint16_t)x }, 2);
	else
		memcpy(at, &(uint32_t){ (uint32_t)x }, 4);
	return true;
}

static bool word_hold(const struct word *w, struct route_peer *p, const char *v)
{
	return word_number(w, p, v) && p->bgp.hold_s != 1 && p->bgp.hold_s != 2;
}

static bool word_med(const struct word *w, struct route_peer *p, const char *v)
{
	p->bgp.has_med = true;
	return word_number(w, p, v);
}

static bool word_flag(const struct word *w, struct route_peer *p, const char *v)
{
	bool on = strcmp(v, "on") == 0;
	*((bool *)(void *)((uint8_t *)p + w->off)) = on;
	return on || strcmp(v, "off") == 0;
}

static bool word_mode(const struct word *w, struct route_peer *p, const char *v)
{
	(void)w;
	p->bgp.mode = strcmp(v, "dial") == 0     ? BGP_DIAL
	              : strcmp(v, "listen") == 0 ? BGP_LISTEN
	              : strcmp(v, "both") == 0   ? BGP_DIAL | BGP_LISTEN
	                                         : 0;
	return p->bgp.mode != 0;
}

static bool word_families(const struct word *w, struct route_peer *p, const char *v)
{
	(void)w;
	p->bgp.families = strcmp(v, "v4") == 0   ? BGP_V4
	                  : strcmp(v, "v6") == 0 ? BGP_V6
	                  : strcmp(v, "v4,v6") == 0 || strcmp(v, "v6,v4") == 0 ? BGP_V4 | BGP_V6
	                                                                       : 0;
	return p->bgp.families != 0;
}

static bool word_md5(const struct word *w, struct route_peer *p, const char *v)
{
	char err[200];
	(void)w;
	p->md5 = conf_source("md5", v, err, sizeof err);
	return p->md5 >= 0;
}

static bool word_source(const struct word *w, struct route_peer *p, const char *v)
{
	(void)w;
	return parse_addr(v, &p->source) && p->source.family == p->bgp.addr.family &&
	       bgp_addr_link_local(&p->source) == bgp_addr_link_local(&p->bgp.addr);
}

static bool word_next_hop(const struct word *w, struct route_peer *p, const char *v)
{
	struct bgp_addr a, *to;
	(void)w;
	if (!parse_addr(v, &a))
		return false;
	to = a.family == BGP_V4 ? &p->bgp.hop4 : bgp_addr_link_local(&a) ? &p->bgp.link_local : &p->bgp.hop6;
	if (to->family)
		return false;
	*to = a;
	return true;
}

static bool word_community(const struct word *w, struct route_peer *p, const char *v)
{
	uint64_t a, b;
	(void)w;
	if (p->bgp.ncommunities == BGP_COMMUNITIES - 1 || !parse_digits(&v, ':', 0, 65535, &a) ||
	    !parse_digits(&v, 0, 0, 65535, &b))
		return false;
	p->bgp.community[p->bgp.ncommunities++] = (uint32_t)(a << 16 | b);
	return true;
}

static bool word_large(const struct word *w, struct route_peer *p, const char *v)
{
	uint64_t x[3];
	(void)w;
	if (p->bgp.nlarge == BGP_COMMUNITIES || !parse_digits(&v, ':', 0, UINT32_MAX, &x[0]) ||
	    !parse_digits(&v, ':', 0, UINT32_MAX, &x[1]) || !parse_digits(&v, 0, 0, UINT32_MAX, &x[2]))
		return false;
	p->bgp.large[p->bgp.nlarge++] = (struct bgp_large){ (uint32_t)x[0], (uint32_t)x[1], (uint32_t)x[2] };
	return true;
}

static bool word_role(const struct word *w, struct route_peer *p, const char *v)
{
	static const char *const roles[] = { [BGP_PROVIDER] = "provider", [BGP_ROUTE_SERVER] = "rs",
		[BGP_RS_CLIENT] = "rs-client", [BGP_CUSTOMER] = "customer", [BGP_PEER] = "peer" };
	(void)w;
	for (uint8_t i = 0; i < sizeof roles / sizeof *roles; i++)
		if (strcmp(v, roles[i]) == 0) {
			p->bgp.role = i;
			return true;
		}
	return false;
}

static bool word_bfd(const struct word *w, struct route_peer *p, const char *v)
{
	static const char *const uses[] = {
		[BFD_OFF] = "off", [BFD_ONE_HOP] = "on", [BFD_MULTIHOP] = "multihop"
	};
	(void)w;
	for (unsigned i = 0; i < 3; i++)
		if (strcmp(v, uses[i]) == 0) {
			p->bfd = i;
			return true;
		}
	return false;
}

#define AT(field) offsetof(struct route_peer, field), sizeof((struct route_peer *)0)->field
static const struct word words[] = {
	{ "as", word_number, "the neighbour's number, 1 to 4294967295", AT(bgp.peer_as), 1, UINT32_MAX,
	  false },
	{ "port", word_number, "a port, 1 to 65535", AT(port), 1, 65535, false },
	{ "mode", word_mode, "dial, listen or both", 0, 0, 0, 0, false },
	{ "hold", word_hold, "seconds, 0 or 3 to 65535", AT(bgp.hold_s), 0, 65535, false },
	{ "retry", word_number, "seconds, 1 to 3600", AT(bgp.retry_s), 1, 3600, false },
	{ "gtsm", word_flag, "on or off", AT(gtsm), 0, 0, false },
	{ "ttl", word_number, "1 to 255", AT(ttl), 1, 255, false },
	{ "md5", word_md5, "a descriptor to read the secret from, fd:N, or bundle:NAME", 0, 0, 0, 0, false },
	{ "source", word_source, "an address of ours, of the neighbour's kind", 0, 0, 0, 0, false },
	{ "families", word_families, "v4, v6 or v4,v6", 0, 0, 0, 0, false },
	{ "v4-by-v6", word_flag, "on or off", AT(bgp.v4_by_v6), 0, 0, false },
	{ "med", word_med, "0 to 4294967295", AT(bgp.med), 0, UINT32_MAX, false },
	{ "prepend", word_number, "0 to 30", AT(bgp.prepend), 0, 30, false },
	{ "less-prepend", word_number, "0 to 30", AT(bgp.less_prepend), 0, 30, false },
	{ "local-pref", word_number, "0 to 4294967295", AT(bgp.local_pref), 0, UINT32_MAX, false },
	{ "less-local-pref", word_number, "0 to 4294967295", AT(bgp.less_local_pref), 0, UINT32_MAX, false },
	{ "community", word_community, "A:B, each up to 65535, and at most 31 of them", 0, 0, 0, 0, true },
	{ "large", word_large, "A:B:C, and at most 32 of them", 0, 0, 0, 0, true },
	{ "next-hop", word_next_hop, "an address, one of a family (and one that is link-local)", 0, 0, 0, 0,
	  true },
	{ "role", word_role, "customer, provider, peer, rs or rs-client: what we are", 0, 0, 0, 0, false },
	{ "role-strict", word_flag, "on or off", AT(bgp.role_strict), 0, 0, false },
	{ "bfd", word_bfd, "on, off or multihop", 0, 0, 0, 0, false },
	{ "bfd-tx", word_number, "milliseconds, 10 to 60000", AT(bfd_tx_ms), 10, BFD_MS_MAX, false },
	{ "bfd-rx", word_number, "milliseconds, 10 to 60000", AT(bfd_rx_ms), 10, BFD_MS_MAX, false },
	{ "bfd-mult", word_number, "2 to 50", AT(bfd_mult), 2, 50, false },
};
#define WORDS (sizeof words / sizeof *words)
_Static_assert(WORDS <= 32, "a bit each");

static int take_words(struct route_peer *p, char *v, char *err, size_t n)
{
	uint32_t seen = 0;
	char *save = NULL;
	for (char *name = strtok_r(v, " \t", &save); name; name = strtok_r(NULL, " \t", &save)) {
		size_t i = 0;
		while (i < WORDS && strcmp(words[i].name, name) != 0)
			i++;
		char *value = strtok_r(NULL, " \t", &save);
		if (i == WORDS) {
			snprintf(err, n, "a neighbour has no \"%.40s\"", name);
			return -1;
		}
		if (!words[i].many && seen & 1u << i) {
			snprintf(err, n, "%s comes a second time", name);
			return -1;
		}
		seen |= 1u << i;
		if (!value || !words[i].take(&words[i], p, value)) {
			snprintf(err, n, "%s wants %s", name, words[i].wants);
			return -1;
		}
	}
	return 0;
}

/* ADDRESS, or a link-local one with its interface, ADDRESS%INTERFACE. */
static bool parse_neighbour(char *text, const struct route_peers *l, struct route_peer *p)
{
	char *dev = strchr(text, '%');
	if (dev)
		*dev = 0;
	bool good = parse_addr(text, &p->bgp.addr) && bgp_addr_link_local(&p->bgp.addr) == (dev != NULL);
	if (!dev)
		return good;
	*dev++ = '%';
	if (!good || *dev == 0 || strlen(dev) >= sizeof p->dev)
		return false;
	snprintf(p->dev, sizeof p->dev, "%s", dev);
	unsigned i = 0;
	while (i < l->n && strcmp(l->at[i].dev, dev) != 0)
		i++;
	p->bgp.addr.link = (uint8_t)(i < l->n ? l->at[i].bgp.addr.link : 1 + l->n);
	return true;
}
_Static_assert(BGP_PEERS < 255, "a number for each link");

int take_bgp_peer(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	struct route_peers *l = at;
	char text[1024];
	if (*v == 0) { /* the default: an empty list */
		l->n = 0;
		return 0;
	}
	size_t len = strcspn(v, " \t");
	snprintf(text, sizeof text, "%s", v);
	char *rest = text + len + (text[len] != 0);
	text[len] = 0;
	struct route_peer p = {
		.port = 179, .md5 = -1, .bfd_tx_ms = BFD_MS, .bfd_rx_ms = BFD_MS, .bfd_mult = BFD_MULT
	};
	p.bgp.hold_s = HOLD_S;
	p.bgp.retry_s = RETRY_S;
	p.bgp.mode = BGP_DIAL | BGP_LISTEN;
	p.bgp.role = BGP_NO_ROLE;
	p.bgp.less_prepend = 3;
	p.bgp.local_pref = 100;
	p.bgp.less_local_pref = 50;
	if (!parse_neighbour(text, l, &p)) {
		snprintf(err, n, "%s wants a neighbour's address first (a link-local one as fe80::1%%eth0), not \"%.80s\"",
		         k->key, text);
		return -1;
	}
	for (unsigned i = 0; i < l->n; i++)
		if (bgp_addr_same(&l->at[i].bgp.addr, &p.bgp.addr)) {
			snprintf(err, n, "%s: %.80s comes a second time", k->key, text);
			return -1;
		}
	if (take_words(&p, rest, err, n) != 0)
		return -1;
	p.source.link = p.bgp.addr.link;
	if (p.bgp.peer_as == 0) {
		snprintf(err, n, "%s %.80s lacks its \"as NUMBER\"", k->key, text);
		return -1;
	}
	if (p.gtsm && p.ttl) {
		snprintf(err, n, "%s %.80s: either gtsm on or ttl, not both", k->key, text);
		return -1;
	}
	if (l->n == BGP_PEERS) {
		snprintf(err, n, "%s: no more than %u of them", k->key, BGP_PEERS);
		return -1;
	}
	l->at[l->n++] = p;
	return 0;
}

/* ---- together ---- */

static bool is_service(const struct conf_addrs *service, const struct bgp_addr *a)
{
	struct bgp_addr x;
	for (unsigned i = 0; i < service->n; i++)
		if (parse_addr(service->at[i].host, &x) && bgp_addr_same(&x, a))
			return true;
	return false;
}

/* IPv4 addresses of this machine's interfaces but loopback, in the kernel's
 * order; how many. */
static unsigned own_addresses(struct bgp_addr *out, unsigned max)
{
	struct ifaddrs *all, *i;
	unsigned n = 0;
	if (getifaddrs(&all) != 0)
		return 0;
	for (i = all; i && n < max; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || i->ifa_flags & IFF_LOOPBACK)
			continue;
		out[n] = (struct bgp_addr){ .family = BGP_V4 };
		memcpy(out[n++].b, &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr, 4);
	}
	freeifaddrs(all);
	return n;
}

/* The identifier where none is configured: an address of this node alone, if there
 * is one (a neighbour's `source`, an interface's), as all nodes of an anycast
 * address have that; else the first service address that is IPv4. */
static void choose_id(struct route_conf *c, const struct conf_addrs *service, const struct bgp_addr *own,
                      unsigned nown)
{
	for (unsigned i = 0; i < c->peers.n && !c->id.family; i++) {
		const struct bgp_addr *a = &c->peers.at[i].source;
		if (a->family == BGP_V4 && a->b[0] != 127 && !is_service(service, a))
			c->id = *a;
	}
	for (unsigned i = 0; i < nown && !c->id.family; i++)
		if (!is_service(service, &own[i]))
			c->id = own[i];
	for (unsigned i = 0; i < service->n && !c->id.family; i++) {
		struct bgp_addr a;
		if (parse_addr(service->at[i].host, &a) && a.family == BGP_V4)
			c->id = a;
	}
}

/* Routers take two nodes of one identifier for one, or refuse the second. */
static void note_shared_id(const struct route_conf *c, const struct conf_addrs *service, const char *path,
                           const struct conf_say *say)
{
	char text[ADDR_TEXT];
	if (c->id.b[0] != 127 && is_service(service, &c->id))
		conf_note(say, path,
		          "the BGP identifier is %s, a service address, which other nodes have as well: "
		          "give each node a line \"bgp-id ADDRESS\" with an address of its own",
		          bgp_addr_text(&c->id, text));
}

static void common(struct route_conf *c, struct route_peer *p)
{
	p->bgp.as = (uint32_t)c->as;
	p->bgp.id = get_u32(c->id.b);
	p->bgp.retry_max_s = p->bgp.retry_s > RETRY_MAX_S ? p->bgp.retry_s : RETRY_MAX_S;
	for (unsigned i = 0; i < c->prefixes.n && p->bgp.families == 0; i++)
		for (unsigned k = 0; k < c->prefixes.n; k++)
			p->bgp.families |= c->prefixes.at[k].family;
	if (c->port == 0 && p->bgp.mode == (BGP_DIAL | BGP_LISTEN))
		p->bgp.mode = BGP_DIAL;
}

/* The kernel keeps a secret for an address, whatever its link. */
static bool secret_clashes(const struct route_peers *l, unsigned which)
{
	const struct route_peer *p = &l->at[which];
	for (unsigned i = 0; i < which; i++)
		if (p->bgp.addr.link && l->at[i].bgp.addr.link && memcmp(l->at[i].bgp.addr.b, p->bgp.addr.b, 16) == 0 &&
		    (p->md5 >= 0 || l->at[i].md5 >= 0))
			return true;
	return false;
}

/* Nobody would be sent here for a service address outside all prefixes. */
static void note_uncovered(const struct route_conf *c, const struct conf_addrs *service, const char *path,
                           const struct conf_say *say)
{
	for (unsigned i = 0; i < c->prefixes.n; i++) {
		const struct bgp_prefix *p = &c->prefixes.at[i];
		bool any = false;
		for (unsigned k = 0; k < service->n; k++) {
			struct bgp_addr a;
			any |= parse_addr(service->at[k].host, &a) && a.family == p->family && covers(p, a.b);
		}
		if (!any) {
			char text[ADDR_TEXT];
			struct bgp_addr a = { .family = p->family };
			memcpy(a.b, p->b, sizeof a.b);
			conf_note(say, path, "no service address lies in bgp-prefix %s/%u",
			          bgp_addr_text(&a, text), p->len);
		}
	}
}

int route_check(struct route_conf *c, const struct conf_addrs *service, const char *path,
                const struct conf_say *say)
{
	int bad = 0;
	struct bgp_addr own[OWN_MAX];
	if (c->peers.n == 0)
		return 0;
	if (!c->id.family)
		choose_id(c, service, own, own_addresses(own, OWN_MAX));
	note_shared_id(c, service, path, say);
	if (c->as == 0)
		bad += conf_wrong(say, path, "with bgp-peer, a line \"bgp-as NUMBER\" is wanted");
	if (c->prefixes.n == 0)
		bad += conf_wrong(say, path,
		                  "with bgp-peer, at least one line \"bgp-prefix PREFIX/BITS\" is wanted");
	if (!c->id.family)
		bad += conf_wrong(say, path,
		                  "this machine has no IPv4 address, so a line \"bgp-id ADDRESS\" is wanted");
	if (bad)
		return bad;
	for (unsigned i = 0; i < c->peers.n; i++) {
		struct route_peer *p = &c->peers.at[i];
		char text[ADDR_TEXT];
		common(c, p);
		const char *why = c->port == 0 && p->bgp.mode == BGP_LISTEN ? "mode listen, but bgp-port is 0"
		                  : secret_clashes(&c->peers, i) ? "no md5 where two links have the same address"
		                                                 : bgp_conf_wrong(&p->bgp);
		if (why)
			bad += conf_wrong(say, path, "bgp-peer %s: %s", route_peer_text(p, text), why);
	}
	note_uncovered(c, service, path, say);
	return bad;
}
