/* bfd.c - one BFD session, RFC 5880.
 *
 *   Down --peer Down--> Init --peer Init, Up--> Up
 *   Down --peer Init------------------------->  Up
 *   Init, Up --silence, peer AdminDown; Up --peer Down--> Down
 *
 * Two intervals are negotiated, one for each direction: the greater of what one
 * side likes to send and the other can take.  A change while Up is confirmed by a
 * Poll Sequence (P, answered by F); until then the more patient value holds.
 * Threat: off-path forgery is kept out by the TTL of 255 (single hop), by our
 * discriminator and by nothing else: there is no authentication.  So over several
 * hops, where the TTL says nothing, a packet without our discriminator does not end a
 * session that is Up: a neighbour that has lost us and so forgotten it (section 6.8.1)
 * is missed after one more detection time.  A forger on the link can take the route
 * down, and could do so with ARP as well. */
#include "bgp/bfd.h"

#define US        UINT64_C(1000)
#define SLOW_US   1000000u /* section 6.8.3: not faster unless Up */

/* version (3 bits) diag (5) | state (2) P F C A D M | mult | length
 * my discriminator | your discriminator | desired min TX | required min RX | required min echo RX */
enum { POLL = 0x20, FINAL = 0x10, INDEPENDENT = 8, AUTH = 4, DEMAND = 2, MULTIPOINT = 1 };

void bfd_write(struct wr *w, const struct bfd_packet *p)
{
	wr_u8(w, 1u << 5 | p->diag);
	wr_u8(w, (unsigned)p->state << 6 | (p->poll ? POLL : 0u) | (p->final ? FINAL : 0u) |
	                 (p->independent ? INDEPENDENT : 0u) | (p->demand ? DEMAND : 0u));
	wr_u8(w, p->mult);
	wr_u8(w, BFD_LEN);
	wr_u32(w, p->mine);
	wr_u32(w, p->yours);
	wr_u32(w, p->min_tx);
	wr_u32(w, p->min_rx);
	wr_u32(w, p->min_echo);
}

bool bfd_parse(const uint8_t *b, size_t n, struct bfd_packet *out)
{
	struct rd r = rd_init(b, n);
	uint8_t first = rd_u8(&r), flags = 0;
	flags = rd_u8(&r);
	struct bfd_packet p = { .diag = first & 31, .state = (enum bfd_state)(flags >> 6) };
	p.mult = rd_u8(&r);
	unsigned len = rd_u8(&r);
	p.mine = rd_u32(&r);
	p.yours = rd_u32(&r);
	p.min_tx = rd_u32(&r);
	p.min_rx = rd_u32(&r);
	p.min_echo = rd_u32(&r);
	p.poll = flags & POLL;
	p.final = flags & FINAL;
	p.independent = flags & INDEPENDENT;
	p.demand = flags & DEMAND;
	if (r.bad || first >> 5 != 1 || len < BFD_LEN || len > n)
		return false;
	if (p.mult == 0 || p.mine == 0 || flags & (MULTIPOINT | AUTH))
		return false;
	if (p.yours == 0 && p.state != BFD_DOWN && p.state != BFD_ADMIN_DOWN)
		return false;
	*out = p;
	return true;
}

/* ---- times ---- */

static uint32_t greater(uint32_t a, uint32_t b) { return a > b ? a : b; }

/* splitmix64: for jitter only */
static uint64_t draw(struct bfd *s)
{
	uint64_t z = s->random += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Section 6.8.3: a slower rate counts only once the neighbour has confirmed it. */
static uint32_t tx_in_force(const struct bfd *s)
{
	return s->polling && s->old_tx < s->min_tx ? s->old_tx : s->min_tx;
}

/* ... and so does a shorter detection time. */
static uint32_t rx_in_force(const struct bfd *s)
{
	return s->polling && s->old_rx > s->min_rx ? s->old_rx : s->min_rx;
}

uint64_t bfd_interval_ns(const struct bfd *s) { return greater(tx_in_force(s), s->remote_min_rx) * US; }

uint64_t bfd_detection_ns(const struct bfd *s)
{
	return s->remote_mult * (greater(rx_in_force(s), s->remote_min_tx) * US);
}

/* Section 6.8.7: less by 0 to 25%, with a multiplier of 1 by 10 to 25%. */
static uint64_t jittered(struct bfd *s)
{
	uint64_t ns = bfd_interval_ns(s), least = s->conf.mult == 1 ? ns / 10 : 0;
	return ns - least - draw(s) % (ns / 4 - least + 1);
}

static void plan(struct bfd *s, uint64_t now)
{
	uint64_t next = s->last_tx_ns + jittered(s);
	s->next_tx_ns = next < now ? now : next;
}

/* ---- state ---- */

/* Begins a Poll Sequence for new intervals; they hold at once when not Up. */
static void set_intervals(struct bfd *s, uint64_t now, uint32_t tx, uint32_t rx)
{
	if (s->min_tx == tx && s->min_rx == rx)
		return;
	if (s->state != BFD_UP) {
		s->polling = false;
	} else if (s->polling) {
		/* a Final under way may answer the older values: ask once more, and keep
		 * the most patient */
		s->old_tx = tx_in_force(s);
		s->old_rx = rx_in_force(s);
		s->poll_again = true;
	} else {
		s->old_tx = s->min_tx;
		s->old_rx = s->min_rx;
		s->polling = true;
	}
	s->min_tx = tx;
	s->min_rx = rx;
	plan(s, now);
}

static void enter(struct bfd *s, uint64_t now, enum bfd_state state, enum bfd_diag diag)
{
	s->state = state;
	s->diag = diag;
	s->polling = s->poll_again = false;
	uint32_t tx = state == BFD_UP ? s->conf.min_tx_us : greater(s->conf.min_tx_us, SLOW_US);
	set_intervals(s, now, tx, s->conf.min_rx_us);
	s->next_tx_ns = now; /* the news at once */
}

void bfd_init(struct bfd *s, const struct bfd_conf *c, uint64_t random)
{
	*s = (struct bfd){ .conf = *c, .state = BFD_ADMIN_DOWN, .remote_state = BFD_DOWN };
	s->remote_min_rx = 1;
	s->random = random;
	s->min_tx = greater(c->min_tx_us, SLOW_US);
	s->min_rx = c->min_rx_us;
	s->next_tx_ns = s->dead_ns = BFD_NEVER;
}

void bfd_start(struct bfd *s, uint64_t now)
{
	if (s->state == BFD_ADMIN_DOWN)
		enter(s, now, BFD_DOWN, BFD_NO_DIAG);
}

void bfd_stop(struct bfd *s, uint64_t now)
{
	if (s->state != BFD_ADMIN_DOWN)
		enter(s, now, BFD_ADMIN_DOWN, BFD_BY_ADMIN);
	s->dead_ns = BFD_NEVER;
}

void bfd_change(struct bfd *s, uint64_t now, uint32_t min_tx_us, uint32_t min_rx_us)
{
	s->conf.min_tx_us = min_tx_us;
	s->conf.min_rx_us = min_rx_us;
	set_intervals(s, now, s->state == BFD_UP ? min_tx_us : greater(min_tx_us, SLOW_US), min_rx_us);
}

static enum bfd_event go_down(struct bfd *s, uint64_t now, enum bfd_diag diag, enum bfd_event event)
{
	bool was_up = s->state == BFD_UP;
	enter(s, now, BFD_DOWN, diag);
	if (!was_up)
		return BFD_NOTHING;
	s->failures += event == BFD_FAILED;
	return event;
}

/* Section 6.8.6, from "If bfd.SessionState is AdminDown". */
static enum bfd_event follow(struct bfd *s, uint64_t now, enum bfd_state theirs)
{
	if (theirs == BFD_ADMIN_DOWN)
		return s->state == BFD_DOWN ? BFD_NOTHING : go_down(s, now, BFD_NEIGHBOR_DOWN, BFD_CLOSED);
	if (s->state == BFD_DOWN && theirs == BFD_DOWN) {
		enter(s, now, BFD_INIT, s->diag);
	} else if ((s->state == BFD_DOWN && theirs == BFD_INIT) ||
	           (s->state == BFD_INIT && theirs >= BFD_INIT)) {
		enter(s, now, BFD_UP, BFD_NO_DIAG);
		return BFD_WENT_UP;
	} else if (s->state == BFD_UP && theirs == BFD_DOWN) {
		return go_down(s, now, BFD_NEIGHBOR_DOWN, BFD_FAILED);
	}
	return BFD_NOTHING;
}

static void end_poll(struct bfd *s, uint64_t now)
{
	s->polling = s->poll_again;
	s->poll_again = false;
	plan(s, now);
}

enum bfd_event bfd_receive(struct bfd *s, uint64_t now, const uint8_t *b, size_t n, unsigned ttl)
{
	struct bfd_packet p;
	if ((!s->conf.multihop && ttl != 255) || !bfd_parse(b, n, &p) ||
	    (p.yours ? p.yours != s->conf.discriminator : s->conf.multihop && s->state == BFD_UP)) {
		s->discarded++;
		return BFD_NOTHING;
	}
	s->in++;
	uint64_t interval = bfd_interval_ns(s);
	s->remote = p.mine;
	s->remote_state = p.state;
	s->remote_diag = (enum bfd_diag)p.diag;
	s->remote_demand = p.demand;
	s->remote_min_rx = p.min_rx;
	s->remote_min_tx = p.min_tx;
	s->remote_mult = p.mult;
	if (p.final && s->polling)
		end_poll(s, now);
	if (s->state == BFD_ADMIN_DOWN)
		return BFD_NOTHING;
	enum bfd_event e = follow(s, now, p.state);
	if (bfd_interval_ns(s) != interval && s->next_tx_ns != now)
		plan(s, now);
	s->answer |= p.poll;
	s->dead_ns = now + bfd_detection_ns(s);
	return e;
}

enum bfd_event bfd_tick(struct bfd *s, uint64_t now)
{
	if (now < s->dead_ns)
		return BFD_NOTHING;
	s->dead_ns = BFD_NEVER;
	s->remote = 0; /* section 6.8.1: it may come back as somebody else */
	s->remote_state = BFD_DOWN;
	s->remote_min_rx = 1;
	s->remote_demand = s->answer = false;
	if (s->state != BFD_INIT && s->state != BFD_UP)
		return BFD_NOTHING;
	return go_down(s, now, BFD_EXPIRED, BFD_FAILED);
}

/* Section 6.8.7: when nothing may be sent by the clock. */
static bool silent(const struct bfd *s)
{
	if (s->conf.passive && s->remote == 0)
		return true;
	if (s->remote_min_rx == 0)
		return true;
	return s->remote_demand && s->state == BFD_UP && s->remote_state == BFD_UP && !s->polling;
}

static size_t emit(struct bfd *s, bool final, uint8_t *out)
{
	struct wr w = wr_init(out, BFD_LEN);
	struct bfd_packet p = { .diag = (uint8_t)s->diag, .state = s->state, .mult = s->conf.mult };
	p.mine = s->conf.discriminator;
	p.yours = s->remote;
	p.min_tx = s->min_tx;
	p.min_rx = s->min_rx;
	p.final = final;
	p.poll = s->polling && !final; /* never both, section 6.5 */
	bfd_write(&w, &p);
	s->out++;
	return BFD_LEN;
}

size_t bfd_output(struct bfd *s, uint64_t now, uint8_t out[static BFD_LEN])
{
	if (s->answer) { /* without regard to the clock */
		s->answer = false;
		return emit(s, true, out);
	}
	if (now < s->next_tx_ns || silent(s))
		return 0;
	s->last_tx_ns = now;
	plan(s, now);
	return emit(s, false, out);
}

uint64_t bfd_due(const struct bfd *s)
{
	if (s->answer)
		return 0;
	uint64_t tx = silent(s) ? BFD_NEVER : s->next_tx_ns;
	return tx < s->dead_ns ? tx : s->dead_ns;
}

const char *bfd_state_name(enum bfd_state st)
{
	static const char *const names[] = { "AdminDown", "Down", "Init", "Up" };
	return names[st & 3];
}

const char *bfd_diag_words(unsigned diag)
{
	static const char *const words[] = { "none", "Control Detection Time Expired", "Echo Function Failed",
		"Neighbor Signaled Session Down", "Forwarding Plane Reset", "Path Down",
		"Concatenated Path Down",
		"Administratively Down", "Reverse Concatenated Path Down" };
	return diag < sizeof words / sizeof *words ? words[diag] : "unknown";
}
