/* conf.c - the node's configuration: its keys, and what they need together. */
#include "main/node.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* Answers have to leave from the address they were asked at. */
static int take_service(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	const struct conf_addrs *l = at;
	uint8_t raw[16] = { 0 };
	static const uint8_t any[16], mapped[12] = { [10] = 0xff, [11] = 0xff };
	if (conf_addr(k, at, v, err, n) != 0)
		return -1;
	if (l->n == 0)
		return 0;
	const char *host = l->at[l->n - 1].host;
	bool six = inet_pton(AF_INET, host, raw) != 1 && inet_pton(AF_INET6, host, raw) == 1;
	if (memcmp(raw, any, 16) == 0) {
		snprintf(err, n, "%s wants one address, not %s for all: name each", k->key, host);
		return -1;
	}
	if (six && memcmp(raw, mapped, sizeof mapped) == 0) {
		snprintf(err, n, "%s wants an IPv4 address as such, not \"%s\"", k->key, host);
		return -1;
	}
	return 0;
}

/* An address without a port. */
static int take_host(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	char text[80];
	if (*v == 0)
		return conf_addr(k, at, v, err, n);
	if (strchr(v, '@') || snprintf(text, sizeof text, "%s@1", v) >= (int)sizeof text ||
	    take_service(k, at, text, err, n) != 0) {
		snprintf(err, n, "%s wants one IPv4 or IPv6 address, without a port, not \"%.80s\"", k->key, v);
		return -1;
	}
	return 0;
}

/* An address, or one with the number of bits that count, for an allow-list. */
static int take_net(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	struct net_list *l = at;
	struct rrl_net net = { .len = 4 };
	struct conf_key range = { .key = k->key, .min = 0 };
	char host[64] = "", *bits;
	uint64_t x;
	if (*v == 0) { /* the default: an empty list */
		l->n = 0;
		return 0;
	}
	snprintf(host, sizeof host, "%s", v);
	if ((bits = strchr(host, '/')) != NULL)
		*bits++ = 0;
	bool fits = strlen(v) < sizeof host;
	if (fits && inet_pton(AF_INET, host, net.ip) != 1 && inet_pton(AF_INET6, host, net.ip) == 1) {
		net.len = 16;
	} else if (!fits || inet_pton(AF_INET, host, net.ip) != 1) {
		snprintf(err, n, "%s wants an address or ADDRESS/BITS, not \"%.80s\"", k->key, v);
		return -1;
	}
	range.max = x = net.len * 8u;
	if (bits && conf_number(&range, &x, bits, err, n) != 0)
		return -1;
	if (l->n == RRL_ALLOW_MAX) {
		snprintf(err, n, "%s: no more than %u of them", k->key, RRL_ALLOW_MAX);
		return -1;
	}
	net.bits = (uint8_t)x;
	l->at[l->n++] = net;
	return 0;
}

static int take_rrl(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	static const char *const words[] = {
		[LIMIT_NOBODY] = "off", [LIMIT_REMOTE] = "remote", [LIMIT_ALL] = "on",
	};
	for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
		if (strcmp(v, words[i]) == 0) {
			*(enum rrl_scope *)at = (enum rrl_scope)i;
			return 0;
		}
	snprintf(err, n, "%s wants on, remote or off, not \"%.80s\"", k->key, v);
	return -1;
}

const struct conf_key node_keys[] = {
	{ "service", take_service, offsetof(struct node_conf, service), "", "ADDRESS@PORT",
	  "Address that queries are answered at, over UDP and TCP.", 0, CONF_ADDRS, true },
	{ "admin", take_host, offsetof(struct node_conf, admin), "", "ADDRESS",
	  "Address of this machine that must not look like a name server's: at the service's ports, "
	  "UDP is silent and TCP refused.", 0, CONF_ADDRS, true },
	{ "hub", conf_addr, offsetof(struct node_conf, hub), "", "ADDRESS@PORT",
	  "Journal server, in order of preference.", 0, JOURNAL_HUBS, true },
	{ "credentials", conf_fd, offsetof(struct node_conf, credentials), "", "fd:N|bundle:NAME",
	  "Descriptor, or file of the sealed bundle, to read the node's certificate, chain and private "
	  "key (PEM) from.", 0, 0, false },
	{ "workers", conf_number, offsetof(struct node_conf, workers), "0", "NUMBER",
	  "Threads that answer; 0: one for each processor the process may use.", 0, WORKERS_MAX, false },
	{ "pin", conf_yes, offsetof(struct node_conf, pin), "off", "on|off",
	  "Ties each worker to a processor of its own, when there are as many.", 0, 0, false },
	{ "udp-size", conf_number, offsetof(struct node_conf, udp_size), "1232", "OCTETS",
	  "Largest answer over UDP to clients that speak EDNS.", 512, DNS_UDP_MAX, false },
	{ "tcp-connections", conf_number, offsetof(struct node_conf, tcp_connections), "1024", "NUMBER",
	  "TCP connections of one worker; when all are in use "
	  "the longest idle one is closed.", 1, 65536, false },
	{ "tcp-per-client", conf_number, offsetof(struct node_conf, tcp_per_client), "64", "NUMBER",
	  "Of these, for one IPv4 address or IPv6 /56; one more takes "
	  "the place of its longest idle one.", 1, 65536, false },
	{ "tcp-idle", conf_number, offsetof(struct node_conf, tcp_idle), "10", "SECONDS",
	  "Time after which a TCP connection is closed that had no whole query, or whose answers are not "
	  "read.", 1, 3600, false },
	{ "identity", conf_text, offsetof(struct node_conf, identity), "", "TEXT",
	  "Which node this is, told by NSID and id.server. Without it nothing is told.", 0, 64, false },
	{ "version", conf_text, offsetof(struct node_conf, version), "", "TEXT",
	  "What version.server tells. Without it nothing is told.", 0, 64, false },
	{ "cookie-secret", conf_fd, offsetof(struct node_conf, cookie_secret), "", "fd:N|bundle:NAME",
	  "Descriptor, or file of the sealed bundle, to read the secret of DNS cookies from, 32 hex "
	  "digits; a second line is the previous one. Without it: random at each start.", 0, 0, false },
	{ "cookie-required", conf_yes, offsetof(struct node_conf, need_cookie), "off", "on|off",
	  "Answer a client that sends a cookie over UDP by BADCOOKIE until it is one of ours.", 0, 0, false },
	{ "rrl", take_rrl, offsetof(struct node_conf, rrl), "remote", "on|remote|off",
	  "Response rate limiting over UDP; remote: of all but this machine's own loopback. Clients with "
	  "a good cookie are not limited.", 0, 0, false },
	{ "rrl-rate", conf_number, offsetof(struct node_conf, rrl_rate), "200", "NUMBER",
	  "Answers a second to one network for one name or one referral; a second's worth may come at "
	  "once.", 1, 100000, false },
	{ "rrl-zone-rate", conf_number, offsetof(struct node_conf, rrl_zone_rate), "1000", "NUMBER",
	  "The same for what many names share: negative answers and errors of one zone, answers from one "
	  "wildcard or DNAME.", 1, 100000, false },
	{ "rrl-total-rate", conf_number, offsetof(struct node_conf, rrl_total_rate), "0", "NUMBER",
	  "The same for all answers to one network together; 0: no such limit.", 0, 100000, false },
	{ "rrl-slip", conf_number, offsetof(struct node_conf, rrl_slip), "2", "NUMBER",
	  "One of so many answers over a limit is replaced by TC, or BADCOOKIE; the others are dropped. "
	  "0: all are.", 0, 100, false },
	{ "rrl-ipv4-prefix", conf_number, offsetof(struct node_conf, rrl_bits4), "24", "BITS",
	  "How much of an IPv4 address is a network.", 1, 32, false },
	{ "rrl-ipv6-prefix", conf_number, offsetof(struct node_conf, rrl_bits6), "56", "BITS",
	  "How much of an IPv6 address is a network.", 1, 64, false },
	{ "rrl-accounts", conf_number, offsetof(struct node_conf, rrl_accounts), "131072", "NUMBER",
	  "What each worker counts at a time, in 8 octets each: networks times names.", 8, 1 << 27, false },
	{ "rrl-allow", take_net, offsetof(struct node_conf, rrl_allow), "", "ADDRESS[/BITS]",
	  "A network that is never limited.", 0, 0, true },
	{ "bgp-peer", take_bgp_peer, offsetof(struct node_conf, route.peers), "", "ADDRESS[%INTERFACE] as NUMBER [WORD VALUE]...",
	  "Neighbour that is told our prefixes, while this node answers. A link-local one has its interface behind it.\n"
	  "    In any order then:\n"
	  "      as NUMBER               its AS; ours: iBGP (needed)\n"
	  "      port N                  where it listens (179)\n"
	  "      mode dial|listen|both   who opens the connection (both)\n"
	  "      hold S, retry S         hold time (90), first pause after a failure (5)\n"
	  "      gtsm on|off, ttl N      TTL 255 both ways (off), or the TTL of what we send\n"
	  "      md5 fd:N|bundle:NAME    where to read the secret of TCP MD5 from\n"
	  "      source ADDRESS          our own address\n"
	  "      families v4,v6          what to speak of (those of the prefixes)\n"
	  "      v4-by-v6 on             IPv4 prefixes by an IPv6 next hop\n"
	  "      next-hop ADDRESS        instead of our own address; one of each family\n"
	  "      med N, prepend N, local-pref N (100), community A:B, large A:B:C\n"
	  "      less-prepend N (3), less-local-pref N (50)   while this node is not at its best\n"
	  "      role customer|provider|peer|rs|rs-client, role-strict on   what we are (RFC 9234)\n"
	  "      bfd on|off|multihop, bfd-tx MS (300), bfd-rx MS (300), bfd-mult N (3)",
	  0, 0, true },
	{ "bgp-as", conf_number, offsetof(struct node_conf, route.as), "0", "NUMBER",
	  "Our AS; needed with bgp-peer.", 0, UINT32_MAX, false },
	{ "bgp-id", take_bgp_id, offsetof(struct node_conf, route.id), "", "ADDRESS",
	  "Our BGP identifier, another one on each node; without it an IPv4 address of this machine that "
	  "is no service address.", 0, 0, false },
	{ "bgp-port", conf_number, offsetof(struct node_conf, route.port), "179", "NUMBER",
	  "TCP port at which neighbours may call us; 0: none may.", 0, 65535, false },
	{ "bgp-prefix", take_bgp_prefix, offsetof(struct node_conf, route.prefixes), "", "PREFIX/BITS",
	  "What neighbours are told while this node answers.", 0, 0, true },
	{ "bgp-loopback", conf_yes, offsetof(struct node_conf, route.loopback), "off", "on|off",
	  "Put service addresses that this machine lacks on its loopback interface, and take them away "
	  "at the end.", 0, 0, false },
	{ "bgp-stale", conf_number, offsetof(struct node_conf, route.stale), "300", "SECONDS",
	  "After so long without a sign of life of the journal, prefixes are announced as a second "
	  "choice only; 0: never.", 0, 1 << 30, false },
	{ "bgp-drain", conf_number, offsetof(struct node_conf, route.drain), "5", "SECONDS",
	  "At a planned stop: time between graceful shutdown (RFC 8326) and withdrawal.", 0, 600, false },
	{ "store", conf_text, offsetof(struct node_conf, store), "", "PATH",
	  "The store: a file, or a raw partition. Without it: DIR/store.", 0, PATH_MAX, false },
	{ "store-reserve", conf_size, offsetof(struct node_conf, store_reserve), "0", "SIZE",
	  "Address space set aside for the store, its largest size; "
	  "0: 1T (1G on 32-bit machines).", 0, UINT64_MAX, false },
};
const size_t node_nkeys = sizeof node_keys / sizeof *node_keys;

static unsigned processors(void)
{
	cpu_set_t set;
	unsigned n = 1;
	if (sched_getaffinity(0, sizeof set, &set) == 0)
		n = (unsigned)CPU_COUNT(&set);
	return n < WORKERS_MAX ? n : WORKERS_MAX;
}

/* What the lines need together.  Where there is a bundle, credentials are what it is for. */
static int complete(struct node_conf *c, const char *path, const struct conf_say *say)
{
	static const struct { const char *key; size_t off; } wanted[] = {
		{ "service", offsetof(struct node_conf, service) }, { "hub", offsetof(struct node_conf, hub) },
	};
	char text[100];
	int wrong = 0;
	if (c->credentials < 0 && conf_bundle)
		c->credentials = conf_source("credentials", "bundle:credentials", text, sizeof text);
	for (size_t i = 0; i < 2; i++)
		if (((struct conf_addrs *)(void *)((char *)c + wanted[i].off))->n == 0)
			wrong += conf_wrong(say, path, "at least one line \"%s ADDRESS@PORT\" is wanted",
			                    wanted[i].key);
	if (c->credentials < 0)
		wrong += conf_wrong(say, path, "a line \"credentials fd:N\" is wanted");
	return wrong + route_check(&c->route, &c->service, path, say) + admin_check(c, path, say);
}

int node_conf_read(const char *path, struct node_conf *c)
{
	memset(c, 0, sizeof *c);
	int wrong = conf_read(path, node_keys, node_nkeys, c, &conf_say_stderr);
	if (wrong < 0)
		return wrong;
	if (c->workers == 0)
		c->workers = processors();
	return wrong + (path ? complete(c, path, &conf_say_stderr) : 0);
}

int node_conf_text(const char *text, size_t n, struct node_conf *c, const struct conf_say *say)
{
	static const char path[] = "the bundle's conf";
	memset(c, 0, sizeof *c);
	int wrong = conf_read_text(text, n, path, node_keys, node_nkeys, c, say);
	if (c->workers == 0)
		c->workers = processors();
	return wrong + complete(c, path, say);
}
