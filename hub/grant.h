/* grant.h - what an operator gives a machine: its sealed bundle, its keys. */
#ifndef HUB_GRANT_H
#define HUB_GRANT_H

#include "base/options.h"
#include "hub/remote.h"

#define GRANT_FILES BUNDLE_FILES

/* Files for a bundle: what they are called there, and what is in them. */
struct grant_files {
	struct { char name[BUNDLE_NAME]; struct buf b; } at[GRANT_FILES];
	unsigned n;
	const char *word[GRANT_FILES]; /* NAME=FILE, not read yet */
	unsigned words;
};
void grant_files_free(struct grant_files *f);
/* From a file; one of that name is replaced.  0, or 1 and it is said why not. */
int grant_file_read(struct grant_files *f, const char *name, const char *path);
/* An option's value, NAME=FILE; read with all others of its kind by grant_files_read(). */
int grant_file_word(const struct conf_key *k, void *at, const char *v, char *err, size_t n);
int grant_files_read(struct grant_files *f);
/* Those of the record's bundle, where f has none of that name; *changed: f has others
 * than the bundle. */
int grant_files_merge(const struct station *s, const struct machine_record *m, struct grant_files *f, bool *changed);
/* New credentials for the node's tunnel. */
int grant_credentials(const struct station *s, const struct machine_record *m, struct grant_files *f);
/* Into m->bundle, and m->conf; the record's files are the caller's to write. */
int grant_seal(const struct station *s, struct machine_record *m, const struct grant_files *f, uint64_t generation);

struct grant { uint64_t seq; const uint8_t *chain; uint8_t flags; }; /* chain: NULL: not said */
/* Sends keys, minimum and a new ticket; 0: the machine is unlocked, and the record
 * says so; 1: it is not (said; also in why, or r->err). */
int grant_auth(const struct station *s, struct machine_record *m, struct remote *r, const struct grant *g,
               char *why, size_t n);
/* The machine shows the hash of this ticket (zeros: of none). */
bool grant_ticket_shown(const uint8_t ticket[static GATE_TICKET], const uint8_t shown[static 32]);
/* Has somebody sealed the station's copy who is denied by now? */
bool grant_bundle_denied(const struct station *s, const struct machine_record *m);
/* The key of its store. */
struct key *grant_key_data(const struct station *s, const struct machine_record *m);

/* An answer from stdin; anything but yes is no. */
bool grant_asked(const char *question);

/* The commands. */
int enrol_main(int argc, char **argv);
int authorise_main(int argc, char **argv);
int station_main(int argc, char **argv);
int node_main(int argc, char **argv);

#endif
