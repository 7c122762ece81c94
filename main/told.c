/* told.c - what encdns-route tells of itself, for `encdns status`.
 * Threat: encdns-route may be taken over: its page is copied first, and every
 * text in it is cut at its room and escaped. */
#include "main/node.h"

#include "base/ctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRIES 1000

static const char *const levels[] = {
	[BGP_SILENT] = "silent", [BGP_LEAVING] = "leaving", [BGP_LESS] = "less", [BGP_FULL] = "full"
};

/* A copy that was not written to meanwhile, as far as that can be had. */
static struct route_told *copy(const struct node *n)
{
	struct route_told *t = n->route_page ? malloc(sizeof *t) : NULL;
	for (unsigned i = 0; t && i < TRIES; i++) {
		uint32_t before = atomic_load_explicit(&n->route_page->version, memory_order_acquire);
		memcpy(t, &n->route_page->told, sizeof *t);
		atomic_thread_fence(memory_order_acquire);
		if (!(before & 1) &&
		    before == atomic_load_explicit(&n->route_page->version, memory_order_relaxed))
			break;
	}
	if (!t)
		return NULL;
	t->npeers = t->npeers < BGP_PEERS ? t->npeers : BGP_PEERS;
	t->nprefixes = t->nprefixes < BGP_PREFIXES ? t->nprefixes : BGP_PREFIXES;
	t->level = t->level <= BGP_FULL ? t->level : BGP_SILENT;
	return t;
}

/* A text inside a JSON string, cut at its room; one buffer for each word of a line. */
static const char *quote(const char *s, size_t room, char *out, size_t size)
{
	char *o = out, *end = out + size - 8;
	for (size_t i = 0; i < room && s[i] && o < end; i++) {
		unsigned char c = (unsigned char)s[i];
		if (c == '"' || c == '\\')
			*o++ = '\\';
		if (c < 32 || c == 127)
			o += sprintf(o, "\\u%04x", c);
		else
			*o++ = (char)c;
	}
	*o = 0;
	return out;
}
#define QUOTED(field, buf) quote(field, sizeof(field), buf, sizeof(buf))

/* The same for a terminal. */
static const char *clean(const char *s, size_t room, char *out)
{
	size_t i = 0;
	for (; i + 1 < room && s[i]; i++)
		out[i] = (unsigned char)s[i] < 32 || s[i] == 127 ? '?' : s[i];
	out[i] = 0;
	return out;
}
/* buf: as large as the field */
#define CLEAN(field, buf) clean(field, sizeof(field), buf)

static void peer_json(const struct route_told *t, const struct route_peer_told *p, const char *sep,
                      struct ctl_conn *conn)
{
	char a[100], b[40], c[400], d[2 * BGP_WORDS], e[300], f[400];
	ctl_print(
	    conn, CTL_OUT,
	    "%s{\"peer\":\"%s\",\"as\":%u,\"state\":\"%s\",\"announced\":%u,\"level\":\"%s\",\"since\":%llu,",
	    sep, QUOTED(p->peer, a), p->as, QUOTED(p->state, b), p->announced,
	    levels[t->leaving && t->level ? BGP_LEAVING : t->level], (unsigned long long)p->since);
	ctl_print(
	    conn, CTL_OUT,
	    "\"negotiated\":\"%s\",\"last\":\"%s\",\"trouble\":\"%s\",\"bfd\":\"%s\",\"no_queries\":%s}",
	    QUOTED(p->agreed, c), QUOTED(p->last, d), QUOTED(p->trouble, f), QUOTED(p->bfd, e),
	    p->no_queries ? "true" : "false");
}

void told_json(const struct node *n, struct ctl_conn *conn)
{
	char why[500], prefix[2 * ADDR_TEXT];
	struct route_told *t = copy(n);
	if (!t) {
		ctl_print(conn, CTL_OUT, "\"bgp\":[],");
		return;
	}
	ctl_print(conn, CTL_OUT,
	          "\"route\":{\"level\":\"%s\",\"why\":\"%s\",\"since\":%llu,\"flaps\":%u,\"wait\":%llu,"
	          "\"prefixes\":[",
	          levels[t->level], QUOTED(t->why, why), (unsigned long long)t->since, t->flaps,
	          (unsigned long long)t->wait_s);
	for (uint32_t i = 0; i < t->nprefixes; i++)
		ctl_print(conn, CTL_OUT, "%s\"%s\"", i ? "," : "", QUOTED(t->prefix[i], prefix));
	ctl_print(conn, CTL_OUT, "]},\"bgp\":[");
	for (uint32_t i = 0; i < t->npeers; i++)
		peer_json(t, &t->peer[i], i ? "," : "", conn);
	ctl_print(conn, CTL_OUT, "],");
	free(t);
}

static void peer_text(const struct route_told *t, const struct route_peer_told *p, struct ctl_conn *conn)
{
	char a[ADDR_TEXT], b[sizeof p->state], c[sizeof p->agreed], d[sizeof p->last], e[sizeof p->trouble], f[sizeof p->bfd];
	ctl_print(conn, CTL_OUT, "bgp %s as %u: %s for %lld s", CLEAN(p->peer, a), p->as, CLEAN(p->state, b),
	          (long long)time(NULL) - (long long)p->since);
	if (p->up)
		ctl_print(conn, CTL_OUT, ", %u of %u prefixes announced, %s", p->announced, t->nprefixes, CLEAN(p->agreed, c));
	if (*p->bfd)
		ctl_print(conn, CTL_OUT, ", BFD %s", CLEAN(p->bfd, f));
	if (*p->trouble)
		ctl_print(conn, CTL_OUT, "; %s", CLEAN(p->trouble, e));
	if (*p->last)
		ctl_print(conn, CTL_OUT, "; last notification %s", CLEAN(p->last, d));
	ctl_print(conn, CTL_OUT, "\n");
	if (p->no_queries)
		ctl_print(conn, CTL_OUT, "    Established but no traffic: check the router's import policy\n");
}

void told_text(const struct node *n, struct ctl_conn *conn)
{
	static const char *const words[] = { [BGP_SILENT] = "nothing is announced", [BGP_LEAVING] = "leaving",
		[BGP_LESS] = "announced as second choice", [BGP_FULL] = "announced" };
	struct route_told *t = copy(n);
	if (!t)
		return;
	char why[sizeof t->why];
	ctl_print(conn, CTL_OUT, "route: %s: %s", t->leaving ? "leaving" : words[t->level], CLEAN(t->why, why));
	if (t->wait_s)
		ctl_print(conn, CTL_OUT, " (for %llu s more at least)", (unsigned long long)t->wait_s);
	ctl_print(conn, CTL_OUT, "\n");
	for (uint32_t i = 0; i < t->npeers; i++)
		peer_text(t, &t->peer[i], conn);
	free(t);
}
