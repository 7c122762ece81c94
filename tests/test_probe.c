/* What encdns-route reads: answers to its own questions and the list of zones,
 * whole, cut at every octet, and wrong; what is asked after a new list. */
#include "main/health.c"
#include "main/probe.c"
#include "tests/tap.h"

static const uint8_t zone[] = "\7example\3org";
static const uint8_t other[] = "\7example\3com";

/* An answer with an SOA; flags as given. */
static size_t answer(uint8_t *m, uint16_t flags, uint32_t serial)
{
	static const struct probe_cookie none = { 0 };
	size_t n = 12 + sizeof zone + 4;
	probe_question(m, 0x1234, zone, &none);
	put_u16(m + 10, 0);
	struct wr w = wr_init(m + n, 200);
	put_u16(m + 2, flags);
	put_u16(m + 6, 1);
	wr_u16(&w, 0xc00c);
	wr_u16(&w, TYPE_SOA);
	wr_u16(&w, CLASS_IN);
	wr_u32(&w, 60);
	wr_u16(&w, 5 + 13 + 20);
	wr_bytes(&w, "\2ns\xc0\x0c", 5);
	wr_bytes(&w, "\12hostmaster\xc0\x0c", 13);
	wr_u32(&w, serial);
	wr_bytes(&w, "\0\0\0\1\0\0\0\1\0\0\0\1\0\0\0\1", 16);
	return n + wr_len(&w);
}

static void answers(void)
{
	uint8_t m[600];
	uint32_t serial = 0;
	unsigned rcode = 99;
	size_t n = answer(m, 0x8400, 2026);
	ok(probe_read(m, n, 0x1234, zone, &serial, &rcode) == PROBE_SERIAL && serial == 2026, "a serial is read behind compressed names");
	unsigned bad = 0;
	for (size_t i = 0; i < n - 16; i++) { /* what is behind the serial isn't looked at, but has to be there */
		uint8_t *cut = malloc(i ? i : 1);
		memcpy(cut, m, i);
		enum probe_said said = probe_read(cut, i, 0x1234, zone, &serial, &rcode);
		bad += said == PROBE_SERIAL || said == PROBE_BLANK;
		free(cut);
	}
	ok(bad == 0, "cut anywhere it is none");
	ok(probe_read(m, n, 0x1235, zone, &serial, &rcode) == PROBE_FOREIGN, "another id is somebody else's");
	ok(probe_read(m, n, 0x1234, other, &serial, &rcode) == PROBE_FOREIGN, "so is another name");
	answer(m, 0x0400, 1);
	ok(probe_read(m, n, 0x1234, zone, &serial, &rcode) == PROBE_FOREIGN, "and a question");
	answer(m, 0x8000, 1);
	ok(probe_read(m, n, 0x1234, zone, &serial, &rcode) == PROBE_REFUSING, "not authoritative: wrong");
	answer(m, 0x8605, 1);
	ok(probe_read(m, n, 0x1234, zone, &serial, &rcode) == PROBE_REFUSING && rcode == 5, "REFUSED: wrong");
	ok(probe_read(m, answer(m, 0x8200, 1), 0x1234, zone, &serial, &rcode) == PROBE_FOREIGN, "TC, not authoritative: the node had no room, which says nothing");
	ok(probe_read(m, answer(m, 0x8205, 1), 0x1234, zone, &serial, &rcode) == PROBE_REFUSING, "with another code: wrong");
	answer(m, 0x8600, 1);
	ok(probe_read(m, 12 + sizeof zone + 4, 0x1234, zone, &serial, &rcode) == PROBE_BLANK, "cut by the server: right, but no serial");
	n = answer(m, 0x8400, 1);
	put_u16(m + 12 + sizeof zone + 4 + 2, 1);
	ok(probe_read(m, n, 0x1234, zone, &serial, &rcode) == PROBE_REFUSING, "another type: wrong");
	for (unsigned i = 0; i < 200000; i++) { /* must not read beyond, nor loop */
		uint8_t *x = malloc(n);
		answer(m, 0x8400, 1);
		memcpy(x, m, n);
		for (int k = 0; k < 4; k++)
			x[rand() % n] = (uint8_t)rand();
		probe_read(x, n, 0x1234, zone, &serial, &rcode);
		free(x);
	}
	ok(true, "200,000 damaged answers are read");
}

/* Behind the answer, the OPT record with a cookie; upper: of the code. */
static size_t add_cookie(uint8_t *m, size_t n, uint8_t upper, const uint8_t *client, size_t len)
{
	struct wr w = wr_init(m + n, 100);
	put_u16(m + 10, 1);
	wr_bytes(&w, "\0\0\51\4\xd0", 5);
	wr_u32(&w, (uint32_t)upper << 24);
	wr_u16(&w, (uint32_t)(10 + len));
	wr_bytes(&w, "\0\3\0\2hi\0\12", 8);
	wr_u16(&w, (uint32_t)len);
	wr_bytes(&w, client, 8);
	for (size_t i = 8; i < len; i++)
		wr_u8(&w, (unsigned)i);
	return n + wr_len(&w);
}

static void cookies(void)
{
	uint8_t m[600], q[PROBE_QUESTION_MAX];
	uint32_t serial = 0;
	unsigned rcode = 0;
	const struct probe_cookie fresh = { 8, "octopus" };
	struct probe_cookie k = fresh;
	size_t n = probe_question(q, 1, zone, &k), at = 12 + sizeof zone + 4;
	ok(n == at + 15 + 8 && memcmp(q + at, "\0\0\51\4\xd0\0\0\0\0\0\14\0\12\0\10octopus", 23) == 0, "a question has our cookie");

	size_t bare = answer(m, 0x8400, 7);
	n = add_cookie(m, bare, 0, k.b, 24);
	ok(probe_read(m, n, 0x1234, zone, &serial, &rcode) == PROBE_SERIAL && serial == 7, "an answer with a cookie is read like another one");
	unsigned bad = 0;
	for (size_t i = 0; i < n; i++) {
		uint8_t *cut = malloc(i ? i : 1);
		memcpy(cut, m, i);
		probe_learn(cut, i, &k);
		bad += k.len != 8;
		free(cut);
	}
	ok(bad == 0, "cut anywhere nothing is learnt");
	probe_learn(m, n, &k);
	n = probe_question(q, 1, zone, &k);
	ok(k.len == 24 && k.b[23] == 23 && n == at + 15 + 24 && q[n - 1] == 23, "whole, the next question has what the server gave");
	k = fresh;
	probe_learn(m, add_cookie(m, bare, 0, (const uint8_t *)"octopod", 24), &k);
	ok(k.len == 8, "but nothing of an answer to somebody else's");
	probe_learn(m, add_cookie(m, bare, 0, k.b, 23), &k);
	ok(k.len == 8, "nor one of another length");
	bare = answer(m, 0x8407, 7);
	n = add_cookie(m, bare, 1, k.b, 24);
	ok(probe_read(m, n, 0x1234, zone, &serial, &rcode) == PROBE_BLANK, "BADCOOKIE is no wrong answer");
	n = add_cookie(m, bare, 0, k.b, 24);
	ok(probe_read(m, n, 0x1234, zone, &serial, &rcode) == PROBE_REFUSING && rcode == 7, "YXRRSET is");
}

/* A descriptor of such a list, sealed or not. */
static int list_fd(const void *p, size_t n, bool sealed)
{
	int fd = memfd_create("list", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (write(fd, p, n) != (ssize_t)n)
		return -1;
	if (sealed)
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	return fd;
}

static size_t list(uint8_t *b, uint32_t serial, bool both)
{
	struct wr w = wr_init(b, 200);
	wr_u8(&w, 1);
	wr_u32(&w, both ? 3 : 2);
	zone_list_put(&w, ZONE_LIST_SERVED, serial, zone);
	zone_list_put(&w, ZONE_LIST_FAILED, 9, (const uint8_t *)"\3bad");
	if (both)
		zone_list_put(&w, ZONE_LIST_SERVED, 5, other);
	return wr_len(&w);
}

static void settled(void *owner) { (void)owner; }

static void lists(void)
{
	static struct health h;
	struct loop loop;
	struct health_memory none = { 0 };
	struct conf_addrs service = { .n = 1, .at = { { "127.0.0.1", 9 } } };
	uint8_t b[200];
	loop_init(&loop);
	health_init(&h, 1, 1, &none, 1, 0);
	static struct probe *p; /* until the end of the process, as in encdns-route */
	p = probe_new(&loop, &service, &h, settled, NULL);
	ok(p && h.nplaces == 2, "an address is two places: UDP and TCP");
	size_t n = list(b, 7, true);
	ok(probe_zones(p, list_fd(b, n, false)) == -1, "memory that others can still change is no list");
	ok(probe_zones(p, list_fd(b, n, true)) == 0 && h.zones == 2 && h.failed == 1 && h.unasked == 2, "a list: two zones served, one failed, none asked");
	unsigned bad = 0;
	for (size_t i = 0; i < n; i++)
		bad += probe_zones(p, list_fd(b, i, true)) == 0;
	ok(bad == 0 && h.zones == 2, "cut anywhere it is none, and the old one stays");
	b[n] = 0;
	ok(probe_zones(p, list_fd(b, n + 1, true)) == -1, "nor is one with something behind it");
	b[0] = 2;
	ok(probe_zones(p, list_fd(b, n, true)) == -1, "nor one of another version");
	put_u32(b + 1, UINT32_MAX);
	b[0] = 1;
	ok(probe_zones(p, list_fd(b, n, true)) == -1, "nor one that promises too much");

	mark(p, &p->zones[0], true);
	mark(p, &p->zones[1], false);
	health_wrong(&h, "wrong");
	n = list(b, 7, true);
	probe_zones(p, list_fd(b, n, true));
	ok(h.unasked == 1 && p->nwrong == 1 && h.wrong_ns, "the same list again: what is known stays");
	n = list(b, 7, false);
	probe_zones(p, list_fd(b, n, true));
	ok(h.zones == 1, "a zone has gone");
	n = list(b, 8, false);
	probe_zones(p, list_fd(b, n, true));
	ok(p->nwrong == 0 && !h.wrong_ns, "another serial: the wrong answer is forgotten");
	probe_anew(p);
	ok(h.unasked == 1, "another encdns-dns: all are unasked");
}

int main(void)
{
	crypto_init();
	answers();
	cookies();
	lists();
	return tap_done();
}
