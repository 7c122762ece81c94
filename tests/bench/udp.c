/* udp.c - two ends of a measurement: a bare echo, and a client with a clock.
 *
 *   udp echo PORT                             on 127.0.0.1, in batches, the floor of
 *                                             any server that works this way
 *   udp latency PORT FILE RATE SECONDS [do]   asks what dnsperf's FILE says at a steady
 *                                             rate, whatever the answers do; prints
 *                                             "asked answered p50 p90 p99 p99.9", in us
 *   udp zipf PORT ORIGIN NAMES HOT RATE SECONDS [SEED]
 *                                             asks for NS of so many names (names.h) by
 *                                             Zipf's law; prints "asked answered p50 p99
 *                                             p99.9" of the HOT most popular, the same of
 *                                             the others, and how many were wrong
 *   udp uniform PORT ORIGIN NAMES SECONDS [SEED]
 *                                             the same, all names as often, 256 of them on
 *                                             their way at a time; prints a row a second:
 *                                             "seconds answered", and at last "all answered
 *                                             lost wrong"
 */
#include "names.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64
#define SIZE  4096

static int udp(int port, int server)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	int r = fd < 0 ? -1 : server ? bind(fd, (struct sockaddr *)&a, sizeof a) : connect(fd, (struct sockaddr *)&a, sizeof a);
	if (r < 0) {
		perror("udp");
		exit(1);
	}
	return fd;
}

_Noreturn static void echo(int port)
{
	static uint8_t buf[BATCH][SIZE];
	static struct sockaddr_in peer[BATCH];
	static struct iovec iov[BATCH];
	static struct mmsghdr m[BATCH];
	int fd = udp(port, 1);
	for (;;) {
		for (int i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){ buf[i], SIZE };
			m[i].msg_hdr = (struct msghdr){ &peer[i], sizeof peer[i], &iov[i], 1, NULL, 0, 0 };
		}
		struct pollfd p = { fd, POLLIN, 0 };
		int n = recvmmsg(fd, m, BATCH, MSG_DONTWAIT, NULL);
		if (n <= 0) {
			poll(&p, 1, -1);
			continue;
		}
		for (int i = 0; i < n; i++) {
			iov[i].iov_len = m[i].msg_len;
			buf[i][2] |= 0x80;
		}
		for (int at = 0, r; at < n; at += r)
			if ((r = sendmmsg(fd, m + at, (unsigned)(n - at), 0)) <= 0)
				break;
	}
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* One line "name TYPE" as a message; 0: it is none. */
static size_t question(const char *line, int dnssec, uint8_t *out)
{
	static const struct { const char *name; int number; } types[] = {
		{ "A", 1 }, { "NS", 2 }, { "SOA", 6 }, { "MX", 15 }, { "TXT", 16 }, { "AAAA", 28 },
		{ "DS", 43 }, { "DNSKEY", 48 }, { "HTTPS", 65 },
	};
	static const uint8_t opt[] = { 0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0 };
	char name[300], type[20];
	if (sscanf(line, "%299s %19s", name, type) != 2)
		return 0;
	memset(out, 0, 12);
	out[5] = 1;
	out[11] = dnssec ? 1 : 0;
	size_t at = 12;
	for (char *l = strtok(name, "."); l; l = strtok(NULL, ".")) {
		size_t n = strlen(l);
		if (n > 63 || at + n > 260)
			return 0;
		out[at++] = (uint8_t)n;
		memcpy(out + at, l, n);
		at += n;
	}
	out[at++] = 0;
	int number = 0;
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (strcmp(types[i].name, type) == 0)
			number = types[i].number;
	if (number == 0)
		return 0;
	uint8_t tail[4] = { 0, (uint8_t)number, 0, 1 };
	memcpy(out + at, tail, 4);
	at += 4;
	if (dnssec) {
		memcpy(out + at, opt, sizeof opt);
		at += sizeof opt;
	}
	return at;
}

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static int latency(int port, const char *path, double rate, double seconds, int dnssec)
{
	enum { MOST = 200000 };
	static struct { uint8_t len, msg[299]; } q[MOST];
	static uint64_t sent[65536];
	uint8_t buf[SIZE];
	char line[512];
	size_t n = 0, asked = 0, got = 0, most = (size_t)(rate * seconds) + 1;
	uint32_t *took = calloc(most, sizeof *took);
	FILE *f = fopen(path, "r");
	if (!f || !took) {
		perror(path);
		return 1;
	}
	while (n < MOST && fgets(line, sizeof line, f))
		n += (q[n].len = (uint8_t)question(line, dnssec, q[n].msg)) > 0;
	fclose(f);
	if (n == 0)
		return 1;
	int fd = udp(port, 0);
	uint64_t start = now(), end = start + (uint64_t)(seconds * 1e9), t;
	while ((t = now()) < end + 200000000u) {
		/* what is due, a few at a time, is not kept back by answers */
		for (int burst = 0; t < end && asked < (double)(t - start) * rate / 1e9 && burst < 16; burst++) {
			uint8_t *m = q[asked % n].msg;
			uint16_t id = (uint16_t)asked;
			m[0] = (uint8_t)(id >> 8);
			m[1] = (uint8_t)id;
			sent[id] = now();
			if (send(fd, m, q[asked % n].len, MSG_DONTWAIT) > 0)
				asked++;
		}
		for (int i = 0; i < 32 && recv(fd, buf, sizeof buf, MSG_DONTWAIT) >= 12; i++) {
			uint16_t id = (uint16_t)(buf[0] << 8 | buf[1]);
			if (sent[id] && got < most)
				took[got++] = (uint32_t)(now() - sent[id]);
			sent[id] = 0;
		}
	}
	if (got == 0)
		return 1;
	qsort(took, got, sizeof *took, by_size);
	printf("%zu %zu %.1f %.1f %.1f %.1f\n", asked, got, took[got / 2] / 1e3, took[got * 9 / 10] / 1e3,
	       took[got * 99 / 100] / 1e3, took[got * 999 / 1000] / 1e3);
	return 0;
}

/* ---- Zipf ---- */

static uint64_t seed = 88172645463325252ull;
static double uniform(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

/* A rank from 1 to n by 1/rank: the exact law in the middle of each step of the
 * harmonic series, by its integral. */
static uint64_t rank_of(uint64_t n)
{
	static double head[1000];
	static double all;
	if (all == 0) {
		for (unsigned i = 0; i < 1000; i++)
			head[i] = (i ? head[i - 1] : 0) + 1.0 / (i + 1);
		all = n > 1000 ? head[999] + log((double)n / 1000) : head[n - 1];
	}
	double u = uniform() * all;
	if (u > head[999])
		return (uint64_t)(1000 * exp(u - head[999]));
	unsigned low = 0, high = 999;
	while (low < high) {
		unsigned mid = (low + high) / 2;
		if (head[mid] < u)
			low = mid + 1;
		else
			high = mid;
	}
	return low + 1;
}

/* Asks for NS of a name by its number; octets. */
static size_t ask_for(uint64_t i, const char *origin, uint8_t *out)
{
	uint8_t label[14];
	char line[300];
	snprintf(line, sizeof line, "%.*s.%s NS", (int)letters(i, label), (char *)label, origin);
	return question(line, 0, out);
}

struct times { size_t asked, got; uint32_t *us; };

static void show_times(struct times *t)
{
	qsort(t->us, t->got, sizeof *t->us, by_size);
	size_t n = t->got ? t->got : 1;
	printf("%zu %zu %.1f %.1f %.1f ", t->asked, t->got, t->us[n / 2] / 1e3, t->us[n * 99 / 100] / 1e3,
	       t->us[n * 999 / 1000] / 1e3);
}

/* An asker that never sleeps stood still when its loop took so long, as a machine
 * shared with others does: what was under way then says nothing of who answers. */
#define STILL 5000000u /* ns */

static int zipf(int port, const char *origin, uint64_t names, uint64_t hot, double rate, double seconds)
{
	static struct { uint64_t at; int group; } sent[65536];
	size_t most = (size_t)(rate * seconds) + 1, asked = 0, wrong = 0;
	struct times t[2] = { { 0, 0, calloc(most, 4) }, { 0, 0, calloc(most, 4) } };
	uint8_t m[512], buf[SIZE];
	int fd = udp(port, 0);
	uint64_t start = now(), end = start + (uint64_t)(seconds * 1e9), at, turn = start, still = 0, lost = 0;
	for (; (at = now()) < end + 1000000000u; turn = at) {
		if (at - turn > STILL) {
			still = at;
			lost += at - turn;
			start += at - turn;
			end += at - turn;
		}
		for (int burst = 0; at < end && (double)asked < (double)(at - start) * rate / 1e9 && burst < 16; burst++) {
			uint64_t rank = rank_of(names);
			uint16_t id = (uint16_t)asked;
			int group = rank > hot;
			/* popular names lie anywhere */
			size_t n = ask_for(rank * 2654435761u % names, origin, m);
			m[0] = (uint8_t)(id >> 8);
			m[1] = (uint8_t)id;
			sent[id].at = now();
			sent[id].group = group;
			if (send(fd, m, n, MSG_DONTWAIT) > 0)
				asked++, t[group].asked++;
		}
		for (int i = 0; i < 32 && recv(fd, buf, sizeof buf, MSG_DONTWAIT) >= 12; i++) {
			uint16_t id = (uint16_t)(buf[0] << 8 | buf[1]);
			struct times *g = &t[sent[id].group];
			if (sent[id].at && sent[id].at <= still)
				g->asked--;
			else if (sent[id].at && g->got < most)
				g->us[g->got++] = (uint32_t)(now() - sent[id].at);
			wrong += (buf[3] & 15) != 0;
			sent[id].at = 0;
		}
	}
	show_times(&t[0]);
	show_times(&t[1]);
	printf("%zu %.0f\n", wrong, (double)lost / 1e6);
	return 0;
}

/* ---- as fast as it answers ---- */

#define WINDOW 256 /* questions on their way */

/* The next question, for NS of any name; octets.  Without the ways of text that
 * ask_for() takes: it must cost less than an answer. */
static size_t any_question(uint64_t names, const uint8_t *rest, size_t n, uint8_t *out)
{
	static const uint8_t head[12] = { 0, 0, 0, 0, 0, 1 };
	memcpy(out, head, 12);
	out[12] = (uint8_t)letters((uint64_t)(uniform() * (double)names), out + 13);
	memcpy(out + 13 + out[12], rest, n);
	return 13 + out[12] + n;
}

/* A batch's messages, of which each has one buffer. */
static struct mmsghdr *batch(uint8_t (*buf)[512], struct iovec *iov)
{
	static struct mmsghdr m[BATCH];
	for (int i = 0; i < BATCH; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
	for (int i = 0; i < BATCH; i++)
		iov[i].iov_base = buf[i];
	return m;
}

static int as_fast(int port, const char *origin, uint64_t names, double seconds)
{
	static uint8_t buf[BATCH][512];
	static struct iovec iov[BATCH];
	struct mmsghdr *m = batch(buf, iov);
	uint8_t rest[64];
	char line[80];
	snprintf(line, sizeof line, "%.60s NS", origin);
	size_t n = question(line, 0, buf[0]) - 12;
	memcpy(rest, buf[0] + 12, n);
	int fd = udp(port, 0);
	uint64_t start = now(), end = start + (uint64_t)(seconds * 1e9), row = 1, t;
	uint64_t asked = 0, got = 0, given_up = 0, wrong = 0, last = 0; /* last: of got, when the row began */
	while ((t = now()) < end || asked > got + given_up) {
		if (t > start + row * 1000000000u) {
			printf("%llu %llu\n", (unsigned long long)row++, (unsigned long long)(got - last));
			fflush(stdout);
			last = got;
		}
		if (t < end && asked <= got + given_up + WINDOW - BATCH) {
			for (int i = 0; i < BATCH; i++)
				iov[i].iov_len = any_question(names, rest, n, buf[i]);
			int sent = sendmmsg(fd, m, BATCH, 0);
			asked += sent > 0 ? (uint64_t)sent : 0;
		}
		for (int i = 0; i < BATCH; i++)
			iov[i].iov_len = sizeof buf[i];
		int r = recvmmsg(fd, m, BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < r; i++) /* a referral to two servers */
			wrong += (buf[i][3] & 15) != 0 || buf[i][9] != 2;
		got += r > 0 ? (uint64_t)r : 0;
		struct pollfd p = { fd, POLLIN, 0 };
		if (r <= 0 && poll(&p, 1, 1000) == 0 && asked > got)
			given_up = asked - got;
	}
	printf("all %llu %lld %llu\n", (unsigned long long)got, (long long)(asked - got), (unsigned long long)wrong);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "echo") == 0)
		echo(atoi(argv[2]));
	if (argc >= 6 && strcmp(argv[1], "latency") == 0)
		return latency(atoi(argv[2]), argv[3], atof(argv[4]), atof(argv[5]), argc > 6);
	if (argc >= 8 && strcmp(argv[1], "zipf") == 0) {
		seed ^= argc > 8 ? strtoull(argv[8], NULL, 10) * 0x9e3779b97f4a7c15ull : 0;
		return zipf(atoi(argv[2]), argv[3], strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10), atof(argv[6]), atof(argv[7]));
	}
	if (argc >= 6 && strcmp(argv[1], "uniform") == 0) {
		seed ^= argc > 6 ? strtoull(argv[6], NULL, 10) * 0x9e3779b97f4a7c15ull : 0;
		return as_fast(atoi(argv[2]), argv[3], strtoull(argv[4], NULL, 10), atof(argv[5]));
	}
	fputs("udp echo PORT | udp latency PORT FILE RATE SECONDS [do] |\n"
	      "udp zipf PORT ORIGIN NAMES HOT RATE SECONDS [SEED] |\n"
	      "udp uniform PORT ORIGIN NAMES SECONDS [SEED]\n", stderr);
	return 2;
}
