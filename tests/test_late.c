/* test_late.c - encdns-hub authorise, by an operator whose clock is an hour ahead of
 * everybody's.  tests/system/authorise_pid1.t runs it; alone it looks at its clock. */
#include "hub/grant.h"
#include "tests/tap.h"

#include <time.h>

/* For all that is linked with this. */
time_t time(time_t *out)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += 3600;
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return crypto_init() == 0 ? authorise_main(argc, argv) : 1;
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	time_t ahead = time(NULL) - t.tv_sec;
	ok(ahead >= 3600 && ahead <= 3601, "a clock that is %lld s ahead", (long long)ahead);
	return tap_done();
}
