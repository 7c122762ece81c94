/* station.h - the operator's station: a folder with everything by which machines
 * are enrolled and authorised.  It may be copied for a second operator; it lies on no
 * hub and no machine.
 *
 *   DIR/ca/           the private CA (ca.h)
 *   DIR/master.key    what all machines' keys are derived from: 64 hex digits, or under
 *                     the station's passphrase, as the CA's keys and the operator's are:
 *                     "encdns-master 1 ROUNDS SALT SEALED" (PBKDF2, AES-256-GCM; hex)
 *   DIR/operator.pem  this operator's credentials
 *   DIR/audit.log     who did what to which machine, when, and what had changed
 *   DIR/machines/NAME/
 *       host          ADDRESS@PORT, where it was last reached
 *       pub           its identity, 130 hex digits
 *       salt epoch    64 hex digits each: with the master key, its two keys
 *       ticket        64 hex digits, zeros: none yet; a second line is one that was sent, and
 *                     never confirmed
 *       boots         its counter of starts, when it was last authorised
 *       inventory     what it is made of, as it was accepted last
 *       minimum       SEQUENCE CHAIN: what it must not serve below
 *       bundle        the newest one, sealed
 *       conf          the configuration in it */
#ifndef HUB_STATION_H
#define HUB_STATION_H

#include "crypto/bundle.h"
#include "crypto/denial.h"
#include "crypto/gate.h"
#include "crypto/identity.h"
#include "journal.h"

#include <limits.h>

struct station {
	char dir[PATH_MAX];
	struct key *master;
	struct cred *cred;
	struct denied denied; /* the CA's list: machines on it are refused */
	struct pass *pass; /* what its keys are under; NULL: nothing */
};
/* pass: "fd:N" to read the passphrase from; NULL: it is asked for when one is wanted.
 * 0, or 1 and it is said why not. */
int station_open(struct station *s, const char *dir, const char *pass);
void station_close(struct station *s);
/* For who reads records only: without keys, and nothing to close.  0, or 1 (said). */
int station_look(struct station *s, const char *dir);
/* All keys under another passphrase: next is "fd:N", or NULL: it is asked for; plain: none
 * from now on.  After an interruption it is called again.  0, or 1 (said). */
int station_passphrase(const char *dir, const char *pass, const char *next, bool plain);
/* plain: without a passphrase. */
int station_make(const char *dir, const char *operator, const char *pass, bool plain);
int station_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* 1 */
/* What is wrong with the words after VERB, and where help is; 2. */
int station_misuse(const char *verb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

struct machine_record {
	char name[64], host[300];
	uint8_t pub[SIGN_PUB], id[MACHINE_ID];
	uint8_t salt[GATE_SALT], epoch[GATE_EPOCH];
	uint8_t ticket[2][GATE_TICKET];
	unsigned tickets;
	uint64_t boots, seq;
	uint8_t chain[32];      /* of seq */
	struct buf inventory, bundle, conf;
	int lock;               /* the folder, ours alone; 0: not */
};
/* By its name, or by the address it was last reached at (a port left out is 22).
 * 0, or 1 and it is said why not. */
int record_open(const struct station *s, const char *what, struct machine_record *m);
/* The same for who will change it: another command that does is refused until record_close(). */
int record_open_alone(const struct station *s, const char *what, struct machine_record *m);
/* Every machine that is enrolled, by name. */
int record_each(const struct station *s, void (*found)(const struct machine_record *m, void *owner), void *owner);
bool record_there(const struct station *s, const char *name);
void record_close(struct machine_record *m);
/* Writes one of its files; 0, or 1 and it is said why not. */
int record_put(const struct station *s, const struct machine_record *m, const char *file, const void *p, size_t n);
int record_put_ticket(const struct station *s, const struct machine_record *m, const uint8_t (*ticket)[GATE_TICKET],
                      unsigned n);
/* Its folder, ours alone, and its files as they stand in m. */
int record_make(const struct station *s, struct machine_record *m);

/* One line for audit.log, durable.  0, or 1 and it is said why not. */
int station_audit(const struct station *s, const char *verb, const char *machine, const char *outcome,
                  const char *details);

/* ADDRESS or ADDRESS@PORT. */
bool host_split(const char *what, char host[static 256], char port[static 8]);
/* All of a file; -1 with errno. */
int read_whole(const char *path, struct buf *out, size_t max);

#endif
