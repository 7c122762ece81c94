/* machine.h - a machine's folder: what lies on its disk in clear, and opens nothing.
 *
 *   boot                       addresses to be authorised at, whom to call, what to do
 *   root.pem                   the operator's root certificate
 *   identity.key identity.pem  who this machine is (crypto/identity.h)
 *   salt                       64 hex digits: what makes its two keys its own
 *   ticket                     64 hex digits, of the last authorisation
 *   boots                      how often it was started
 *   bundle                     the sealed bundle (crypto/bundle.h)
 *   denials                    the denial list, as it came last (crypto/denial.h)
 */
#ifndef MAIN_MACHINE_H
#define MAIN_MACHINE_H

#include "base/conf.h"
#include "crypto/bundle.h"
#include "crypto/denial.h"
#include "crypto/gate.h"
#include "crypto/identity.h"

#define BOOT_ADDRS 8

/* The file `boot`, behind boot_keys. */
struct boot_conf {
	struct conf_addrs unlock;
	char contact[200];
	bool tamper_reboot, refill;
};
extern const struct conf_key boot_keys[];
extern const size_t boot_nkeys;

struct machine {
	const char *path;
	int dir;               /* its descriptor */
	struct boot_conf boot;
	struct cred *cred;     /* of this process */
	struct denied denied;  /* who is no operator any more */
	uint8_t id[MACHINE_ID], salt[GATE_SALT];
	uint8_t image[32];     /* SHA-256 of the executable; zero: not known */
	uint64_t boots;
	char *inventory;       /* as machine_look() has found it; NULL: to be looked for each time */
	size_t inventory_len;
	bool refill;           /* a store that is another machine's may be filled anew */
};

/* Makes what is missing at the first start, reads the rest, and counts it when it is a
 * start.  0, or 1 and it is said why not. */
int machine_open(struct machine *m, const char *dir, bool start);
/* Again in a child, whose pool is another. */
int machine_reopen(struct machine *m);

/* Takes the inventory now, for processes that can't look later. */
void machine_look(struct machine *m);

/* Whole or not at all, and durable.  0, or -1 with errno. */
int machine_write_hex(const struct machine *m, const char *name, const uint8_t v[static 32]);
/* False: it isn't there, or isn't right. */
bool machine_read_hex(const struct machine *m, const char *name, uint8_t v[static 32]);

/* The bundle, or the one that is coming: `bundle`, `bundle.new`.  Maps it; NULL: errno. */
const uint8_t *machine_map(const struct machine *m, const char *name, size_t *n);
void machine_unmap(const uint8_t *p, size_t n);
/* The one that has come takes the other's place. */
int machine_take_bundle(const struct machine *m);

#endif
