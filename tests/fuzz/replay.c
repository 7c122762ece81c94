/* replay.c - runs a fuzz target over its corpus, as a test.
 *
 * replay_NAME [FILE...] feeds LLVMFuzzerTestOneInput() with the files, by default
 * all of tests/fuzz/corpus/NAME, each whole and, when it is small, cut short
 * at every octet. A crash is the failure. */
#include "tests/tap.h"

#include <dirent.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CUT_MAX 2048 /* files up to this size are cut at every octet */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* In memory of its exact size, so that a sanitizer sees each overrun. */
static void feed(const uint8_t *data, size_t n)
{
	uint8_t *exact = malloc(n ? n : 1);

	if (!exact)
		abort();
	memcpy(exact, data, n);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
}

static void replay(const char *path)
{
	static uint8_t b[1 << 20];
	FILE *f = fopen(path, "rb");
	size_t n = f ? fread(b, 1, sizeof b, f) : 0;

	if (f)
		fclose(f);
	feed(b, n);
	for (size_t cut = 0; n <= CUT_MAX && cut < n; cut++)
		feed(b, cut);
	ok(f != NULL, "%s", path);
}

static void replay_folder(const char *name)
{
	char dir[256], path[512];
	snprintf(dir, sizeof dir, "tests/fuzz/corpus/%s", name);

	DIR *d = opendir(dir);
	ok(d != NULL, "%s: a corpus is there", dir);
	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] != '.' && snprintf(path, sizeof path, "%s/%s", dir, e->d_name) < (int)sizeof path)
			replay(path);
	if (d)
		closedir(d);
}

int main(int argc, char **argv)
{
	const char *name = strstr(argv[0], "replay_");

	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	if (argc < 2)
		replay_folder(name ? name + strlen("replay_") : "");
	return tap_done();
}
