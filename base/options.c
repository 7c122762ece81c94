/* options.c - the words of a command line.  Contract in options.h.
 * Threat: none beyond mistakes, as they are the operator's own. */
#include "base/options.h"

#include <stdio.h>
#include <string.h>

int option_word(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	if (*v == 0) {
		snprintf(err, n, "%s wants a value, not an empty one", k->key);
		return -1;
	}
	memcpy(at, &v, sizeof v);
	return 0;
}

bool options_help(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

/* Which option is it?  *value: what stands behind '=', or NULL. */
static const struct conf_key *find(const struct conf_key *t, size_t n, const char *word, const char **value)
{
	size_t len = strcspn(word, "=");
	*value = word[len] ? word + len + 1 : NULL;
	for (const struct conf_key *k = t; k < t + n; k++)
		if (strlen(k->key) == len && memcmp(k->key, word, len) == 0)
			return k;
	return NULL;
}

int options_read(int argc, char **argv, const struct conf_key *table, size_t n, void *out, char *err,
                 size_t errn)
{
	int words = 0;
	for (int i = 0; i < argc; i++) {
		const char *v;
		if (argv[i][0] != '-' || argv[i][1] == 0) {
			argv[words++] = argv[i];
			continue;
		}
		const struct conf_key *k = find(table, n, argv[i], &v);
		const char *wrong = !k                                ? "unknown option"
		                    : !k->parse && v                  ? "no value is wanted here:"
		                    : k->parse && !v && i + 1 == argc ? "a value is lacking behind"
		                                                      : NULL;
		if (wrong) {
			snprintf(err, errn, "%s %.80s", wrong, argv[i]);
			return -1;
		}
		void *at = (char *)out + k->off;
		if (!k->parse)
			*(bool *)at = true;
		else if (k->parse(k, at, v ? v : argv[++i], err, errn) != 0)
			return -1;
	}
	return words;
}
