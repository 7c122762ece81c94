/* probe.c - the questions to ourselves.  Contract in probe.h.
 *
 * Every 200 ms a round begins: to each service address, over UDP and TCP, a
 * question for the first zone (the canary); to one of them, in turn, also for up
 * to 16 zones in rotation, those first that were answered wrongly or never.
 * What is not answered by the next round is lost, and so is what is answered by a
 * bare TC: the node had no room for a cold name (dns/park.c).  As long as zones are unasked,
 * a batch follows the other without waiting (the sweep).
 * Every round comes from new ports, so that all workers meet some; questions to
 * addresses of this machine come from its loopback address, which is not rate
 * limited.  Where it is (rrl on), the cookie that the node gave us lifts us over the
 * limit like any other client; over TCP, where nothing is limited, it always comes.
 * Threat: whoever answers (encdns-dns may be taken over), and the list from
 * control: both are read with bounds. */
#include "main/probe.h"

#include "base/addr.h"
#include "base/log.h"
#include "crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUND_NS   200000000ull
#define ROTATION   16
#define ASKS       (1 + ROTATION)
#define ANSWER_MAX 4096
#define LIST_MAX   (32u << 20)
#define TYPE_SOA   6
#define TYPE_OPT   41
#define COOKIE     10
#define UDP_SIZE   1232
#define BADCOOKIE  23
#define CLASS_IN   1
#define NONE       UINT32_MAX

struct zone {
	const uint8_t *name;     /* in the list's memory */
	uint32_t serial;
	bool asked, wrong;
};

struct ask {
	uint32_t zone;           /* its place in the list */
	uint16_t id;
	bool open;
};

/* Questions by one socket. */
struct batch {
	struct src src;          /* fd -1: none */
	struct probe *p;
	unsigned address;        /* of the service addresses */
	unsigned place;          /* health's; NONE: the sweep's */
	bool tcp, connecting;
	unsigned n, answered;
	struct ask ask[ASKS];
	size_t in_len;           /* TCP */
	uint8_t in[ANSWER_MAX];
};

struct probe {
	struct loop *loop;
	struct health *health;
	const struct conf_addrs *service;
	void (*settled)(void *owner);
	void *owner;
	struct src timer;
	void *list;              /* mapped; NULL: none yet */
	size_t list_len;
	struct zone *zones;      /* by name; only those that are served */
	uint32_t nzones, nwrong, nunasked, next;
	struct probe_cookie *cookie; /* of each service address */
	unsigned rounds, nbatches;
	struct batch *batches;   /* UDP and TCP for each address, then the sweep */
	struct batch *sweep;
};

/* ---- the list ---- */

void zone_list_put(struct wr *w, uint8_t state, uint32_t serial, const uint8_t *name)
{
	wr_u8(w, state);
	wr_u32(w, serial);
	wr_bytes(w, name, name_len(name));
}

/* Served zones to `zones` (room for as many as the head says), how many others have
 * failed.  False: no list. */
static bool read_list(struct rd r, struct zone *zones, uint32_t *n, uint32_t *failed)
{
	rd_u8(&r);
	uint32_t count = rd_u32(&r);
	*n = *failed = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t state = rd_u8(&r);
		uint32_t serial = rd_u32(&r);
		size_t len = r.bad ? 0 : name_measure(r.p, rd_left(&r));
		const uint8_t *name = rd_take(&r, len);
		if (r.bad || len == 0)
			return false;
		*failed += state == ZONE_LIST_FAILED;
		if (state == ZONE_LIST_SERVED)
			zones[(*n)++] = (struct zone){ .name = name, .serial = serial };
	}
	return !r.bad && rd_left(&r) == 0;
}

static int by_name(const void *a, const void *b)
{
	const uint8_t *x = ((const struct zone *)a)->name, *y = ((const struct zone *)b)->name;
	size_t n = name_len(x), m = name_len(y);
	return n != m ? (n < m ? -1 : 1) : memcmp(x, y, n);
}

/* Sealed memory that can be mapped, or NULL. */
static void *map_list(int fd, size_t *len)
{
	struct stat sb;
	const int wanted = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	if ((fcntl(fd, F_GET_SEALS) & wanted) != wanted || fstat(fd, &sb) != 0 || sb.st_size < ZONE_LIST_HEAD ||
	    (uint64_t)sb.st_size > LIST_MAX)
		return NULL;
	*len = (size_t)sb.st_size;
	void *p = mmap(NULL, *len, PROT_READ, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

/* What is known of a zone stays so in the new list, unless it has changed. */
static void carry_over(struct probe *p, struct zone *zones, uint32_t n)
{
	p->nwrong = 0;
	p->nunasked = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct zone *z = &zones[i];
		const struct zone *old = p->nzones ? bsearch(z, p->zones, p->nzones, sizeof *z, by_name) : NULL;
		z->asked = old && old->asked;
		z->wrong = old && old->wrong && old->serial == z->serial;
		p->nwrong += z->wrong;
		p->nunasked += !z->asked;
	}
}

static void told(struct probe *p)
{
	p->health->unasked = p->nunasked;
	if (p->nwrong == 0)
		health_wrong(p->health, NULL);
}

static void abandon(struct probe *p);

int probe_zones(struct probe *p, int fd)
{
	size_t len = 0;
	uint32_t n, failed;
	uint8_t *list = map_list(fd, &len);
	close(fd);
	uint32_t room = list && list[0] == 1 ? get_u32(list + 1) : 0;
	if (room > (len - ZONE_LIST_HEAD) / 6) /* an entry has at least a root's name */
		room = 0;
	struct zone *zones = calloc((size_t)room + 1, sizeof *zones);
	if (!list || !zones || list[0] != 1 || (room == 0 && len != ZONE_LIST_HEAD) ||
	    !read_list(rd_init(list, len), zones, &n, &failed)) {
		free(zones);
		if (list)
			munmap(list, len);
		return -1;
	}
	abandon(p);
	qsort(zones, n, sizeof *zones, by_name);
	carry_over(p, zones, n);
	free(p->zones);
	if (p->list)
		munmap(p->list, p->list_len);
	p->list = list;
	p->list_len = len;
	p->zones = zones;
	p->nzones = n;
	p->next = n ? p->next % n : 0;
	p->health->have_list = true;
	p->health->zones = n;
	p->health->failed = failed;
	told(p);
	loop_due(p->loop, &p->timer, 0); /* a round at once */
	return 0;
}

void probe_anew(struct probe *p)
{
	for (uint32_t i = 0; i < p->nzones; i++)
		p->zones[i].asked = p->zones[i].wrong = false;
	p->nunasked = p->nzones;
	p->nwrong = 0;
	told(p);
}

/* ---- messages ---- */

size_t probe_question(uint8_t out[static PROBE_QUESTION_MAX], uint16_t id, const uint8_t *zone,
                      const struct probe_cookie *k)
{
	static const uint8_t head[12] = { [5] = 1, [11] = 1 };
	/* type, class; OPT (RFC 6891 section 6.1.2): root, type, size, TTL, length, option */
	static const uint8_t tail[] = { 0, TYPE_SOA, 0, CLASS_IN, 0, 0, TYPE_OPT, UDP_SIZE >> 8, UDP_SIZE & 255,
		0, 0, 0, 0, 0, 0, 0, COOKIE, 0, 0 };
	size_t len = name_len(zone);
	memcpy(out, head, sizeof head);
	put_u16(out, id);
	memcpy(out + 12, zone, len);
	uint8_t *t = out + 12 + len;
	memcpy(t, tail, sizeof tail);
	put_u16(t + 13, 4u + k->len);
	put_u16(t + 17, k->len);
	memcpy(t + sizeof tail, k->b, k->len);
	return 12 + len + sizeof tail + k->len;
}

/* Steps over a name, compressed or not. */
static void step_name(struct rd *r)
{
	for (unsigned i = 0; i < NAME_MAX_LABELS + 1 && !r->bad; i++) {
		uint8_t n = rd_u8(r);
		if (n == 0)
			return;
		if (n >= 0xc0) {
			rd_u8(r);
			return;
		}
		rd_take(r, n);
	}
	r->bad = true;
}

/* The next record's type, its TTL and its data. */
static uint16_t read_record(struct rd *r, uint32_t *ttl, struct rd *data)
{
	step_name(r);
	uint16_t type = rd_u16(r);
	rd_u16(r);
	*ttl = rd_u32(r);
	uint16_t len = rd_u16(r);
	*data = rd_sub(r, len);
	return type;
}

static void read_options(struct rd r, struct probe_cookie *k)
{
	while (rd_left(&r)) {
		uint16_t code = rd_u16(&r), len = rd_u16(&r);
		const uint8_t *b = rd_take(&r, len);
		if (!r.bad && code == COOKIE && len == sizeof k->b && memcmp(b, k->b, 8) == 0) {
			memcpy(k->b, b, len);
			k->len = sizeof k->b;
		}
	}
}

/* Comes to the OPT record; false: there is none.  r: behind the head. */
static bool find_opt(struct rd r, unsigned questions, unsigned records, uint32_t *ttl, struct rd *options)
{
	while (questions-- && !r.bad) {
		step_name(&r);
		rd_take(&r, 4);
	}
	while (records-- && !r.bad)
		if (read_record(&r, ttl, options) == TYPE_OPT && !r.bad)
			return true;
	return false;
}

/* The same for a whole message. */
static bool opt_of(const uint8_t *m, size_t n, uint32_t *ttl, struct rd *options)
{
	struct rd r = rd_init(m, n);
	unsigned count[4];
	rd_take(&r, 4);
	for (unsigned i = 0; i < 4; i++)
		count[i] = rd_u16(&r);
	return !r.bad && find_opt(r, count[0], count[1] + count[2] + count[3], ttl, options);
}

void probe_learn(const uint8_t *m, size_t n, struct probe_cookie *k)
{
	uint32_t ttl;
	struct rd options;
	if (opt_of(m, n, &ttl, &options))
		read_options(options, k);
}

/* The code with its upper eight bits (RFC 6891 section 6.1.3). */
static unsigned whole_rcode(const uint8_t *m, size_t n, unsigned low)
{
	uint32_t ttl;
	struct rd options;
	return opt_of(m, n, &ttl, &options) ? (ttl >> 24) << 4 | low : low;
}

/* The serial of the first record, which has to be the SOA. */
static bool read_soa(struct rd *r, uint32_t *serial)
{
	uint32_t ttl;
	struct rd rdata;
	uint16_t type = read_record(r, &ttl, &rdata);
	step_name(&rdata);
	step_name(&rdata);
	uint32_t s = rd_u32(&rdata);
	if (r->bad || rdata.bad || type != TYPE_SOA)
		return false;
	*serial = s;
	return true;
}

enum probe_said probe_read(const uint8_t *m, size_t n, uint16_t id, const uint8_t *zone, uint32_t *serial,
                           unsigned *rcode)
{
	struct rd r = rd_init(m, n);
	uint16_t got = rd_u16(&r), flags = rd_u16(&r), questions = rd_u16(&r), answers = rd_u16(&r);
	rd_take(&r, 4);
	size_t len = name_len(zone);
	const uint8_t *name = rd_take(&r, len);
	uint16_t type = rd_u16(&r), class = rd_u16(&r);
	if (r.bad || got != id || !(flags & 0x8000) || questions != 1 || memcmp(name, zone, len) != 0 ||
	    type != TYPE_SOA || class != CLASS_IN)
		return PROBE_FOREIGN;
	*rcode = flags & 15;
	if (*rcode == (BADCOOKIE & 15) && whole_rcode(m, n, *rcode) == BADCOOKIE)
		return PROBE_BLANK;
	bool aa = flags & 0x0400, tc = flags & 0x0200;
	if (*rcode == 0 && tc)
		return aa ? PROBE_BLANK : PROBE_FOREIGN;
	if (*rcode != 0 || !aa)
		return PROBE_REFUSING;
	return answers > 0 && read_soa(&r, serial) ? PROBE_SERIAL : PROBE_REFUSING;
}

/* ---- a batch ---- */

static void batch_close(struct batch *b)
{
	if (b->src.fd < 0)
		return;
	loop_del(b->p->loop, &b->src);
	close(b->src.fd);
	b->src.fd = -1;
}

static const struct conf_addr *address_of_batch(const struct batch *b)
{
	return &b->p->service->at[b->address];
}

static struct probe_cookie *cookie_of(const struct batch *b) { return &b->p->cookie[b->address]; }

static void accuse(struct batch *b, const struct zone *z, const char *what)
{
	char text[NAME_TEXT_MAX];
	const struct conf_addr *a = address_of_batch(b);
	char whole[sizeof b->p->health->wrong];
	snprintf(whole, sizeof whole, "%.60s at %s@%u over %s: %.20s", name_text(z->name, text), a->host,
	         a->port, b->tcp ? "TCP" : "UDP", what);
	health_wrong(b->p->health, whole);
}

static void mark(struct probe *p, struct zone *z, bool good)
{
	if (good) {
		p->nwrong -= z->wrong;
		p->nunasked -= !z->asked;
		z->asked = true;
	} else {
		p->nwrong += !z->wrong;
	}
	z->wrong = !good;
	told(p);
}

/* An answer to one of the questions; others are none of ours. */
static void hear(struct batch *b, const uint8_t *m, size_t n)
{
	static const char *const codes[16] = { "no SOA",   "FORMERR", "SERVFAIL",
		                               "NXDOMAIN", "NOTIMP",  "REFUSED" };
	uint32_t serial = 0;
	unsigned rcode = 0, i = 0;
	char text[60];
	while (i < b->n && !(b->ask[i].open && n >= 2 && b->ask[i].id == get_u16(m)))
		i++;
	if (i == b->n)
		return;
	struct zone *z = &b->p->zones[b->ask[i].zone];
	enum probe_said said = probe_read(m, n, b->ask[i].id, z->name, &serial, &rcode);
	if (said == PROBE_FOREIGN)
		return;
	b->ask[i].open = false;
	b->answered++;
	probe_learn(m, n, cookie_of(b));
	/* newer is right as well: the list is up to a second old; and while control is
	 * gone nobody can say what is the newest */
	bool old = said == PROBE_SERIAL && (int32_t)(serial - z->serial) < 0 && b->p->health->control_alive;
	if (old)
		snprintf(text, sizeof text, "serial %u, not %u", serial, z->serial);
	else
		snprintf(text, sizeof text, "%s", codes[rcode] ? codes[rcode] : "an error");
	if (old || said == PROBE_REFUSING)
		accuse(b, z, text);
	mark(b->p, z, !old && said != PROBE_REFUSING);
}

static void hear_udp(struct batch *b)
{
	uint8_t m[ANSWER_MAX];
	ssize_t n;
	for (unsigned i = 0; i < 2 * ASKS && (n = recv(b->src.fd, m, sizeof m, 0)) > 0; i++)
		hear(b, m, (size_t)n);
}

/* False: the connection is over. */
static bool hear_tcp(struct batch *b)
{
	ssize_t got = recv(b->src.fd, b->in + b->in_len, sizeof b->in - b->in_len, 0);
	if (got <= 0)
		return got < 0 && (errno == EAGAIN || errno == EINTR);
	b->in_len += (size_t)got;
	size_t at = 0, len;
	while (b->in_len - at >= 2 && b->in_len - at - 2 >= (len = get_u16(b->in + at))) {
		hear(b, b->in + at + 2, len);
		at += 2 + len;
	}
	memmove(b->in, b->in + at, b->in_len - at);
	b->in_len -= at;
	return b->in_len < sizeof b->in;
}

/* All questions at once: they fit into a new socket's buffer. */
static int send_all(struct batch *b)
{
	uint8_t out[ASKS * (2 + PROBE_QUESTION_MAX)], q[PROBE_QUESTION_MAX];
	struct wr w = wr_init(out, sizeof out);
	for (unsigned i = 0; i < b->n; i++) {
		size_t n = probe_question(q, b->ask[i].id, b->p->zones[b->ask[i].zone].name, cookie_of(b));
		if (!b->tcp && send(b->src.fd, q, n, MSG_NOSIGNAL) < 0)
			return -1;
		wr_u16(&w, (uint32_t)n);
		wr_bytes(&w, q, n);
	}
	return !b->tcp || send(b->src.fd, out, wr_len(&w), MSG_NOSIGNAL) == (ssize_t)wr_len(&w) ? 0 : -1;
}

static void begin_sweep(struct probe *p);

static void batch_wake(struct src *s, uint32_t got, uint64_t now)
{
	struct batch *b = SRC_OWNER(s, struct batch, src);
	(void)now;
	if (b->connecting) {
		b->connecting = false;
		if (got & (EPOLLERR | EPOLLHUP) || send_all(b) != 0)
			batch_close(b);
		else
			loop_want(b->p->loop, s, EPOLLIN);
		return;
	}
	if (!b->tcp)
		hear_udp(b);
	else if (!hear_tcp(b))
		batch_close(b);
	if (b->src.fd >= 0 && b->answered == b->n) {
		batch_close(b);
		begin_sweep(b->p);
	}
}

/* A socket of a new port.  To an address of this machine from its loopback
 * address, where that goes. */
static int open_towards(const struct conf_addr *a, bool tcp)
{
	struct sockaddr_storage to, from;
	struct conf_addr own = { .port = 0 };
	struct linger reset = { 1, 0 }; /* no connection lingers: there are many */
	socklen_t n = addr_of(a, &to);
	int one = 1,
	    fd = socket(to.ss_family, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (tcp) {
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	}
	snprintf(own.host, sizeof own.host, "%s", to.ss_family == AF_INET6 ? "::1" : "127.0.0.1");
	socklen_t m = addr_of(&own, &from);
	if (bind(fd, (struct sockaddr *)&from, m) != 0 && errno != EADDRNOTAVAIL)
		log_limited(LOG_WARNING, "questions to %s can't come from %s: %s", a->host, own.host,
		            strerror(errno));
	if (connect(fd, (struct sockaddr *)&to, n) == 0 || errno == EINPROGRESS)
		return fd;
	close(fd);
	return -1;
}

static void batch_begin(struct batch *b)
{
	uint16_t id;
	crypto_random(&id, sizeof id);
	for (unsigned i = 0; i < b->n; i++) {
		b->ask[i].id = (uint16_t)(id + i);
		b->ask[i].open = true;
	}
	b->answered = 0;
	b->in_len = 0;
	b->connecting = b->tcp;
	health_asked(b->p->health, b->tcp, b->n);
	int fd = open_towards(address_of_batch(b), b->tcp);
	if (fd < 0)
		return;
	b->src = (struct src){
		.fd = fd, .want = b->tcp ? EPOLLOUT : EPOLLIN, .due_ns = LOOP_NEVER, .wake = batch_wake
	};
	if (loop_add(b->p->loop, &b->src) != 0) {
		close(fd);
		b->src.fd = -1;
	} else if (!b->tcp && send_all(b) != 0) {
		batch_close(b);
	}
}

/* ---- what is asked ---- */

static void ask_for(struct batch *b, uint32_t zone) { b->ask[b->n++].zone = zone; }

static bool has(const struct batch *b, uint32_t zone)
{
	for (unsigned i = 0; i < b->n; i++)
		if (b->ask[i].zone == zone)
			return true;
	return false;
}

/* Zones of a kind, in rotation, until the batch has `most`. */
static void pick(struct probe *p, struct batch *b, unsigned most, bool (*kind)(const struct zone *))
{
	for (uint32_t i = 0; i < p->nzones && b->n < most; i++) {
		uint32_t k = p->next;
		p->next = k + 1 < p->nzones ? k + 1 : 0;
		if (kind(&p->zones[k]) && !has(b, k))
			ask_for(b, k);
	}
}

static bool is_wrong(const struct zone *z) { return z->wrong; }
static bool is_unasked(const struct zone *z) { return !z->asked; }
static bool is_any(const struct zone *z)
{
	(void)z;
	return true;
}

static void pick_all(struct probe *p, struct batch *b)
{
	if (p->nwrong)
		pick(p, b, ASKS / 2, is_wrong);
	if (p->nunasked)
		pick(p, b, ASKS, is_unasked);
	pick(p, b, ASKS, is_any);
}

static void begin_sweep(struct probe *p)
{
	struct batch *b = p->sweep;
	if (b->src.fd >= 0 || p->nunasked == 0 || p->nwrong || !p->health->dns_alive)
		return;
	b->n = 0;
	b->address = (b->address + 1) % p->service->n;
	pick(p, b, ASKS, is_unasked);
	batch_begin(b);
}

static void abandon(struct probe *p)
{
	for (unsigned i = 0; i < p->nbatches; i++) {
		batch_close(&p->batches[i]);
		p->batches[i].n = 0;
	}
}

/* The last round's end: the canary, question 0, tells of the place. */
static void batch_end(struct batch *b)
{
	if (b->n && b->place != NONE)
		health_round(b->p->health, b->place, b->ask[0].open);
	batch_close(b);
	b->n = 0;
}

static void on_round(struct src *s, uint32_t got, uint64_t now)
{
	struct probe *p = SRC_OWNER(s, struct probe, timer);
	(void)got;
	for (unsigned i = 0; i < p->nbatches; i++)
		batch_end(&p->batches[i]);
	p->settled(p->owner);
	unsigned full = p->rounds++ % (p->nbatches - 1);
	for (unsigned i = 0; p->nzones && p->health->dns_alive && i + 1 < p->nbatches; i++) {
		struct batch *b = &p->batches[i];
		ask_for(b, 0);
		if (i == full)
			pick_all(p, b);
		batch_begin(b);
	}
	loop_due(p->loop, s, now + ROUND_NS);
}

struct probe *probe_new(struct loop *l, const struct conf_addrs *service, struct health *h,
                        void (*settled)(void *owner), void *owner)
{
	struct probe *p = calloc(1, sizeof *p);
	if (!p || !(p->batches = calloc(2 * service->n + 1, sizeof *p->batches)) ||
	    !(p->cookie = calloc(service->n, sizeof *p->cookie)))
		return NULL;
	for (unsigned i = 0; i < service->n; i++) {
		p->cookie[i].len = 8;
		crypto_random(p->cookie[i].b, 8);
	}
	p->loop = l;
	p->health = h;
	p->service = service;
	p->settled = settled;
	p->owner = owner;
	p->nbatches = 2 * service->n + 1;
	for (unsigned i = 0; i < p->nbatches; i++) {
		struct batch *b = &p->batches[i];
		*b = (struct batch){ .src = { .fd = -1, .due_ns = LOOP_NEVER },
			             .p = p,
			             .address = i / 2 % service->n,
			             .tcp = i & 1 };
		b->place = i + 1 < p->nbatches ? health_add_place(h, b->tcp) : NONE;
	}
	p->sweep = &p->batches[p->nbatches - 1];
	p->sweep->tcp = false;
	p->timer = (struct src){ .fd = -1, .due_ns = LOOP_NEVER, .wake = on_round };
	if (loop_add(l, &p->timer) != 0)
		return NULL;
	return p;
}
