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
	size_t n = probe_question(m, 0x1234, zone);
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
	lists();
	return tap_done();
}
