/* test_cluster.c - how clients are shared out. */
#include "cluster.h"
#include "tests/tap.h"

int main(void)
{
	struct sip k = { 1, 2 }, other = { 3, 4 };
	uint8_t a[4] = { 192, 0, 2, 1 }, b[4] = { 192, 0, 2, 254 }, v6[16] = { 0x20, 1, 0xd, 0xb8, 0, 0, 7 };
	ok(cluster_bucket(&k, a, 4) == cluster_bucket(&k, b, 4), "one /24, one bucket");
	ok(cluster_bucket(&k, a, 4) != cluster_bucket(&other, a, 4), "another key, another bucket");
	unsigned before = cluster_bucket(&k, v6, 16);
	v6[7] = 1;
	ok(cluster_bucket(&k, v6, 16) == before, "one /56, one bucket");
	v6[6] = 8;
	ok(cluster_bucket(&k, v6, 16) != before, "another /56, another bucket");
	unsigned part[16] = { 0 }, worst = 0;
	for (unsigned i = 0; i < 160000; i++) {
		a[0] = (uint8_t)(i >> 16);
		a[1] = (uint8_t)(i >> 8);
		a[2] = (uint8_t)i;
		part[cluster_bucket(&k, a, 4) / (CLUSTER_BUCKETS / 16)]++;
	}
	for (unsigned i = 0; i < 16; i++) {
		unsigned off = part[i] > 10000 ? part[i] - 10000 : 10000 - part[i];
		worst = off > worst ? off : worst;
	}
	ok(worst < 500, "160,000 prefixes over 16 equal shares: at most %u from 10,000", worst);
	return tap_done();
}
