/* memory.c - what encdns-route remembers across restarts: how often it had to
 * withdraw.  A file of one line, DIR/route; no secret.
 * encdns-route waits for no disk, so control writes it; the supervisor reads it
 * once.
 * Threat: whoever may write to DIR could make us announce sooner or later. */
#include "main/node.h"

#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void memory_pack(const struct health_memory *m, uint8_t out[static MEMORY_LEN])
{
	struct wr w = wr_init(out, MEMORY_LEN);
	wr_u32(&w, m->flaps);
	wr_u8(&w, m->announced);
	for (unsigned i = 0; i < HEALTH_CYCLES; i++)
		wr_u64(&w, m->flap_s[i]);
}

bool memory_unpack(const uint8_t *p, size_t n, struct health_memory *out)
{
	struct rd r = rd_init(p, n);
	struct health_memory m = { .flaps = rd_u32(&r) };
	m.announced = rd_u8(&r) != 0;
	for (unsigned i = 0; i < HEALTH_CYCLES; i++)
		m.flap_s[i] = rd_u64(&r);
	if (r.bad || rd_left(&r) != 0)
		return false;
	*out = m;
	return true;
}

void memory_read(const char *dir, struct health_memory *out)
{
	char path[PATH_MAX], text[200];
	unsigned flaps, announced;
	unsigned long long newest, older;
	memset(out, 0, sizeof *out);
	snprintf(path, sizeof path, "%.4000s/route", dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return;
	text[n] = 0;
	if (sscanf(text, "flaps %9u announced %1u cycles %19llu %19llu", &flaps, &announced, &newest, &older) != 4)
		return;
	*out = (struct health_memory){ .flaps = flaps, .announced = announced != 0, .flap_s = { newest, older } };
}
_Static_assert(HEALTH_CYCLES == 2, "as in the file");

int memory_write(const char *dir, const struct health_memory *m)
{
	char text[200];
	int n = snprintf(text, sizeof text, "flaps %u announced %u cycles %llu %llu\n", m->flaps, m->announced,
	                 (unsigned long long)m->flap_s[0], (unsigned long long)m->flap_s[1]);
	return io_save(dir, "route", text, (size_t)n, 0600);
}
