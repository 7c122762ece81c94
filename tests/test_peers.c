/* The lines bgp-...: what is taken, and the words for what is not. */
#include "main/peers.c"
#include "tests/tap.h"

static const struct conf_key keys[] = {
	{ .key = "bgp-as", .parse = conf_number, .off = offsetof(struct route_conf, as), .dflt = "0", .max = UINT32_MAX },
	{ .key = "bgp-port", .parse = conf_number, .off = offsetof(struct route_conf, port), .dflt = "179", .max = 65535 },
	{ .key = "bgp-id", .parse = take_bgp_id, .off = offsetof(struct route_conf, id), .dflt = "" },
	{ .key = "bgp-prefix", .parse = take_bgp_prefix, .off = offsetof(struct route_conf, prefixes), .dflt = "", .many = true },
	{ .key = "bgp-peer", .parse = take_bgp_peer, .off = offsetof(struct route_conf, peers), .dflt = "", .many = true },
};

static char said[2000];

static void say(void *ctx, const char *path, unsigned line, const char *text)
{
	(void)ctx;
	(void)path;
	snprintf(said, sizeof said, "%u: %s", line, text);
}

static int take(struct route_conf *c, const char *text)
{
	*said = 0;
	memset(c, 0, sizeof *c);
	return conf_read_text(text, strlen(text), "conf", keys, sizeof keys / sizeof *keys, c, &(struct conf_say){ .line = say });
}

static struct route_conf c;

static void refused(const char *line, const char *why)
{
	int wrong = take(&c, line);
	const char *last = strrchr(line, '\n');
	ok(wrong == 1 && strstr(said, why), "refused: %.60s (%s)", last ? last + 1 : line, said);
}

static void say_note(void *ctx, const char *path, const char *text)
{
	(void)ctx;
	snprintf(said, sizeof said, "%s: note: %s", path, text);
}

static int check(const struct conf_addrs *service)
{
	*said = 0;
	return route_check(&c, service, "conf", &(struct conf_say){ say, say_note, NULL });
}

/* What it says of these lines. */
static const char *noted(const char *lines, const struct conf_addrs *service)
{
	take(&c, lines);
	check(service);
	return said;
}

/* What is chosen when no identifier is configured, and what is said of it. */
static void identifiers(const struct conf_addrs *service)
{
#define LINES "bgp-as 1\nbgp-prefix 192.0.2.0/24\nbgp-peer 198.51.100.1 as 1\n"
	static const struct bgp_addr own[] = { { .family = BGP_V4, .b = { 192, 0, 2, 53 } }, { .family = BGP_V4, .b = { 10, 9, 8, 7 } } };
	const struct conf_addrs nowhere = { .n = 0 };
	take(&c, LINES);
	choose_id(&c, service, own, 2);
	ok(c.id.b[0] == 10 && c.id.b[3] == 7, "identifier: an address of the machine that is no service address");
	c.id.family = 0;
	choose_id(&c, service, own, 1);
	ok(c.id.b[0] == 192 && c.id.b[3] == 53, "without one: the service address");
	c.id.family = 0;
	choose_id(&c, &nowhere, own, 0);
	ok(!c.id.family, "no IPv4 anywhere: none");
	const char *said_of = noted(LINES "bgp-id 192.0.2.53\n", service);
	ok(strstr(said_of, "conf: note: ") && strstr(said_of, "192.0.2.53") && strstr(said_of, "\"bgp-id ADDRESS\""),
	   "a service address: it is said that others have it, too, and what to do");
	ok(!*noted(LINES "bgp-id 10.0.0.1\n", service), "and nothing of another one");
}

int main(void)
{
	struct conf_addrs service = { .n = 2, .at = { { "2001:db8::53", 53 }, { "192.0.2.53", 53 } } };
	ok(take(&c, "bgp-as 4200000000\nbgp-prefix 192.0.2.0/24\nbgp-prefix 2001:db8::/48\n"
	        "bgp-peer 198.51.100.1 hold 9 as 65010 port 1790 mode listen retry 200 gtsm on md5 fd:9 source 198.51.100.2 "
	        "families v6,v4 v4-by-v6 on med 0 prepend 1 less-prepend 4 local-pref 7 less-local-pref 6 community 65535:65281 "
	        "community 1:2 large 1:2:4294967295 next-hop 192.0.2.9 next-hop 2001:db8::9 next-hop fe80::1 role customer "
	        "bfd multihop bfd-tx 50 bfd-rx 60 bfd-mult 5\nbgp-peer 2001:db8::1 as 4200000000\n") == 0, "every word, in any order %s", said);
	const struct route_peer *p = &c.peers.at[0];
	const struct bgp_peer_conf *b = &p->bgp;
	ok(b->peer_as == 65010 && b->hold_s == 9 && p->port == 1790 && b->mode == BGP_LISTEN && b->retry_s == 200 && p->gtsm &&
	   p->md5 == 9 && p->source.b[3] == 2 && b->families == (BGP_V4 | BGP_V6) && b->v4_by_v6, "the session's words");
	ok(b->has_med && b->med == 0 && b->prepend == 1 && b->less_prepend == 4 && b->local_pref == 7 && b->less_local_pref == 6 &&
	   b->ncommunities == 2 && b->community[0] == 0xffffff01 && b->community[1] == 0x10002 && b->nlarge == 1 &&
	   b->large[0].two == UINT32_MAX, "the routes' words");
	ok(b->hop4.b[3] == 9 && b->hop6.b[15] == 9 && b->link_local.b[0] == 0xfe && b->role == BGP_CUSTOMER &&
	   p->bfd == BFD_MULTIHOP && p->bfd_tx_ms == 50 && p->bfd_rx_ms == 60 && p->bfd_mult == 5, "next hops, role, BFD");
	ok(check(&service) == 0 && b->as == 4200000000u && b->id == 0xc6336402 && b->retry_max_s == 200,
	   "together: our AS, and the address that we call from as identifier");
	p = &c.peers.at[1];
	ok(p->port == 179 && p->bgp.hold_s == 90 && p->bgp.retry_s == 5 && p->bgp.mode == (BGP_DIAL | BGP_LISTEN) && p->md5 == -1 &&
	   p->bgp.role == BGP_NO_ROLE && !p->bgp.has_med && p->bfd == BFD_OFF && p->bgp.families == (BGP_V4 | BGP_V6), "defaults");

	char text[ADDR_TEXT];
	ok(take(&c, "bgp-peer fe80::1%eth0 as 1 source fe80::2\nbgp-peer fe80::1%eth1 as 1\nbgp-peer fe80::3%eth0 as 1\n") == 0, "neighbours on links %s", said);
	ok(c.peers.at[0].bgp.addr.link == c.peers.at[2].bgp.addr.link && c.peers.at[0].bgp.addr.link != c.peers.at[1].bgp.addr.link &&
	   c.peers.at[0].source.link == c.peers.at[0].bgp.addr.link && strcmp(route_peer_text(&c.peers.at[1], text), "fe80::1%eth1") == 0,
	   "are told apart by their links");
	refused("bgp-peer fe80::1 as 1", "fe80::1%eth0");
	refused("bgp-peer fe80::1% as 1", "address first");
	refused("bgp-peer fe80::1%an-interface-name as 1", "address first");
	refused("bgp-peer 2001:db8::1%eth0 as 1", "address first");
	refused("bgp-peer 192.0.2.1%eth0 as 1", "address first");
	refused("bgp-peer fe80::1%eth0 as 1 source 2001:db8::1", "source wants");
	refused("bgp-peer 2001:db8::1 as 1 source fe80::1", "source wants");
	refused("bgp-peer fe80::1%eth0 as 1\nbgp-peer fe80::1%eth0 as 2", "2: bgp-peer: fe80::1%eth0 comes a second time");
	refused("bgp-peer example.org as 1", "address first");
	refused("bgp-peer 192.0.2.1", "lacks its \"as NUMBER\"");
	refused("\nbgp-peer 192.0.2.1 as 0", "2: as wants");
	refused("bgp-peer 192.0.2.1 as 4294967296", "as wants");
	refused("bgp-peer 192.0.2.1 as 1x", "as wants");
	refused("bgp-peer 192.0.2.1 as", "as wants");
	refused("bgp-peer 192.0.2.1 as 1 hold 2", "hold wants");
	refused("bgp-peer 192.0.2.1 as 1 as 2", "a second time");
	refused("bgp-peer 192.0.2.1 as 1 color red", "no \"color\"");
	refused("bgp-peer 192.0.2.1 as 1 source 2001:db8::1", "source wants");
	refused("bgp-peer 192.0.2.1 as 1 gtsm on ttl 3", "not both");
	refused("bgp-peer 192.0.2.1 as 1 gtsm maybe", "gtsm wants");
	refused("bgp-peer 192.0.2.1 as 1 mode passive", "mode wants");
	refused("bgp-peer 192.0.2.1 as 1 md5 secret", "md5 wants");
	refused("bgp-peer 192.0.2.1 as 1 community 65536:1", "community wants");
	refused("bgp-peer 192.0.2.1 as 1 large 1:2", "large wants");
	refused("bgp-peer 192.0.2.1 as 1 next-hop 192.0.2.2 next-hop 192.0.2.3", "next-hop wants");
	refused("bgp-peer 192.0.2.1 as 1 bfd-tx 9", "bfd-tx wants");
	refused("bgp-peer 192.0.2.1 as 1\nbgp-peer 192.0.2.1 as 2", "2: bgp-peer: 192.0.2.1 comes a second time");
	refused("bgp-prefix 192.0.2.1/24", "beyond its length");
	refused("bgp-prefix 192.0.2.0/33", "PREFIX/BITS");
	refused("bgp-prefix 192.0.2.0", "PREFIX/BITS");
	refused("bgp-prefix 192.0.2.0/24\nbgp-prefix 192.0.2.0/24", "a second time");
	refused("bgp-id 2001:db8::1", "IPv4");
	refused("bgp-id 0.0.0.0", "IPv4");

	identifiers(&service);

	char line[1024] = "bgp-peer 192.0.2.1 as 1";
	for (int i = 0; i < 32; i++)
		strcat(line, " community 1:1");
	refused(line, "at most 31");

	take(&c, "bgp-peer 192.0.2.1 as 1\n");
	ok(check(&service) == 2 && strstr(said, "bgp-prefix"), "AS and prefixes are wanted: %s", said);
	take(&c, "bgp-as 1\nbgp-prefix 192.0.2.0/24\nbgp-peer 192.0.2.1 as 1 mode listen\nbgp-port 0");
	ok(check(&service) == 1 && strstr(said, "bgp-port"), "who listens needs a port");
	const char *both = noted("bgp-as 1\nbgp-id 10.0.0.1\nbgp-prefix 192.0.2.0/24\nbgp-peer fe80::1%eth0 as 1 md5 fd:9\nbgp-peer fe80::1%eth1 as 1\n", &service);
	ok(strstr(both, "bgp-peer fe80::1%eth1: ") && strstr(both, "md5"), "one address on two links has no secret of its own");
	take(&c, "bgp-as 23456\nbgp-prefix 192.0.2.0/24\nbgp-peer 192.0.2.1 as 1");
	ok(check(&service) == 1 && *said, "AS_TRANS is nobody's");
	return tap_done();
}
