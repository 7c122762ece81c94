/* park.c - queries that wait for the disk.
 *
 *   batch: cold -> parked, its errand with the store's helpers (store.h)
 *               -> back: in a batch again, from the beginning, as if it had just
 *                  come -> answered | cold once more
 *
 * Nothing of the store is held meanwhile.  An errand that has failed makes its
 * query SERVFAIL; one that was parked PARK_TRIES times (memory is so short that
 * what was brought in is gone again) is answered however long it takes.
 *
 * Threat: everyone.  PARKED queries at most wait for a worker, in memory laid out
 * at the start.  Who finds no room over UDP is told by TC to come over TCP, where
 * there is some (RFC 2181 section 9): a resolver does, and a forged sender's victim
 * gets no more octets than were sent, at a bounded rate (dns.c).  Over TCP his
 * connection ends.  Those whose names are in memory are served.
 * UDP never takes all of it, nor one network all of UDP's part: so who asks for
 * names at random leaves room for other networks, and who forges senders leaves
 * room for TCP.  Networks are told apart by a keyed hash of eight bits: a few share
 * one part, and nobody can choose with whom. */
#include "dns/worker.h"

#include <errno.h>
#include <sys/resource.h>

#define PARKED     1024      /* of a worker */
#define PARKED_UDP 768       /* of them, for UDP */
#define PARKED_NET 256       /* of those, for one network: IPv4 /24, IPv6 /56 */
#define PARKED_MSG 1024      /* octets; a longer query finds no room: only padding makes one */
#define LOOK_NS    100000000 /* between two looks at our faults */

struct parked {
	struct store_errand errand;
	struct parked *next;           /* free */
	const struct listener *asked;  /* over UDP: where; else NULL */
	struct conn *conn;             /* over TCP: whose; NULL: it has gone */
	unsigned tries;
	struct sockaddr_in6 peer;      /* or a sockaddr_in */
	socklen_t peer_len;
	uint8_t net;                   /* over UDP: the sender's place in `crowd` */
	uint16_t len;
	uint8_t msg[PARKED_MSG];
};

size_t park_size(void) { return PARKED * sizeof(struct parked); }

bool park_failed(const struct parked *p) { return p->errand.failed; }

static struct parked *slot_take(struct worker *w)
{
	struct park *k = &w->park;
	struct parked *p = k->free;
	if (p)
		k->free = p->next;
	else if (k->touched < PARKED)
		p = &k->slot[k->touched++];
	if (!p)
		return NULL;
	p->asked = NULL;
	p->conn = NULL;
	p->tries = 0;
	count(&w->stats->parked, 1);
	count(&w->stats->parked_now, 1);
	return p;
}

static void slot_give(struct worker *w, struct parked *p)
{
	p->next = w->park.free;
	w->park.free = p;
	if (p->asked) {
		w->park.crowd[p->net]--;
		w->park.udp--;
	}
	count(&w->stats->parked_now, (uint64_t)-1);
}

/* What the query just tried lacks is brought in. */
static void fetch(struct worker *w, struct parked *p)
{
	p->tries++;
	p->errand.range = w->answer.scratch.cold;
	p->errand.worker = w->id;
	store_cold_send(w->map, &p->errand);
}

/* The place of a sender's network in `crowd`. */
static uint8_t net_of(const struct park *k, const struct sockaddr_in6 *peer)
{
	uint8_t net[8] = { 0 };
	if (peer->sin6_family == AF_INET6)
		memcpy(net, &peer->sin6_addr, 7);
	else
		memcpy(net, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, 3);
	return (uint8_t)sip64(&k->key, net, sizeof net);
}

/* Keeps query q of rx; NULL: there is no room. */
static struct parked *keep(struct worker *w, unsigned q)
{
	struct park *k = &w->park;
	const struct msghdr *h = &w->rx[q].msg_hdr;
	size_t len = w->rx[q].msg_len;
	bool fits = len <= PARKED_MSG && h->msg_namelen <= sizeof(struct sockaddr_in6);
	uint8_t net = net_of(k, h->msg_name);
	struct parked *p = fits && k->udp < PARKED_UDP && k->crowd[net] < PARKED_NET ? slot_take(w) : NULL;
	if (!p) {
		count(&w->stats->parked_full, 1);
		return NULL;
	}
	k->udp++;
	k->crowd[net]++;
	p->net = net;
	p->asked = w->asked;
	p->len = (uint16_t)len;
	p->peer_len = h->msg_namelen;
	memcpy(&p->peer, h->msg_name, h->msg_namelen);
	memcpy(p->msg, h->msg_iov->iov_base, len);
	return p;
}

bool park_query(struct worker *w, unsigned q)
{
	struct parked *p = w->again ? w->rerun[q] : keep(w, q);
	if (w->again)
		w->rerun[q] = NULL;
	if (p)
		fetch(w, p);
	return p != NULL;
}

struct parked *park_conn(struct worker *w, struct conn *c)
{
	struct parked *p = slot_take(w);
	if (!p) {
		count(&w->stats->parked_full, 1);
		return NULL;
	}
	p->conn = c;
	fetch(w, p);
	return p;
}

void park_leave(struct parked *p) { p->conn = NULL; }

/* ---- those that are back ---- */

static bool is_patient(const struct parked *p) { return p->tries == PARK_TRIES; }

/* As number k of rx. */
static void put_back(struct worker *w, unsigned k, struct parked *p)
{
	struct msghdr *h = &w->rx[k].msg_hdr;
	memcpy(h->msg_iov->iov_base, p->msg, p->len);
	memcpy(h->msg_name, &p->peer, p->peer_len);
	h->msg_namelen = p->peer_len;
	w->rx[k].msg_len = p->len;
	w->rerun[k] = p;
}

/* Answers those of the n that are alike: of the first's listener, as patient. */
static void serve_alike(struct worker *w, struct parked **back, unsigned n, uint64_t now_ns)
{
	const struct listener *l = back[0]->asked;
	bool patient = is_patient(back[0]);
	unsigned k = 0;
	for (unsigned i = 0; i < n; i++) {
		if (!back[i] || back[i]->asked != l || is_patient(back[i]) != patient)
			continue;
		put_back(w, k++, back[i]);
		back[i] = NULL;
	}
	w->again = true;
	w->answer.scratch.patient = patient;
	serve_batch(w, l, k, now_ns);
	w->answer.scratch.patient = w->again = false;
	for (unsigned i = 0; i < k; i++) {
		if (!w->rerun[i])
			continue;
		count(&w->stats->faults, park_failed(w->rerun[i]));
		slot_give(w, w->rerun[i]);
	}
}

static void resume_conn(struct worker *w, struct parked *p, uint64_t now_ns)
{
	struct conn *c = p->conn;
	bool lost = park_failed(p);
	slot_give(w, p);
	if (!c)
		return;
	count(&w->stats->faults, lost);
	tcp_resume(c, lost, now_ns);
}

static void park_wake(struct src *s, uint32_t got, uint64_t now_ns)
{
	struct worker *w = SRC_OWNER(s, struct worker, park.src);
	struct store_errand *e[BATCH];
	struct parked *back[BATCH];
	unsigned n = store_cold_back(w->map, w->id, e, BATCH);
	(void)got;
	count(&w->stats->fetched, n);
	for (unsigned i = 0; i < n; i++) {
		back[i] = RING_OWNER(e[i], struct parked, errand);
		if (!back[i]->asked) {
			resume_conn(w, back[i], now_ns);
			back[i] = NULL;
		}
	}
	for (unsigned i = 0; i < n; i++)
		if (back[i])
			serve_alike(w, back + i, n - i, now_ns);
}

/* ---- a worker's life ---- */

static long faults_now(void)
{
	struct rusage r = { 0 };
	getrusage(RUSAGE_THREAD, &r);
	return r.ru_majflt;
}

int park_init(struct worker *w)
{
	struct park *k = &w->park;
	int fd = store_cold_fd(w->map, w->id);
	k->free = NULL;
	k->touched = k->udp = 0;
	memset(k->crowd, 0, sizeof k->crowd);
	sip_random(&k->key);
	k->looked_ns = 0;
	k->src.fd = -1;
	w->again = false;
	w->stats->parked_now = 0; /* a dead predecessor's are gone */
	if (fd < 0)
		return 0;
	k->faults = faults_now();
	k->src = (struct src){ fd, EPOLLIN, LOOP_NEVER, park_wake, NULL, NULL };
	return loop_add(&w->loop, &k->src);
}

void park_turn(struct worker *w, uint64_t now_ns)
{
	struct park *k = &w->park;
	if (k->src.fd < 0 || now_ns - k->looked_ns < LOOK_NS)
		return;
	long faults = faults_now();
	store_cold_age(w->map, faults > k->faults, now_ns);
	k->faults = faults;
	k->looked_ns = now_ns;
}

void park_end(struct worker *w) { store_cold_recall(w->map, w->id); }
