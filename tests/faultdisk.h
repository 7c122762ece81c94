/* faultdisk.h - a disk that does what disks do at the worst moment.
 *
 * The store's objects are built a second time with STORE_FAULT, so that their
 * effects come here (store/io.h), and what they seal is recorded.  A test that
 * includes this file is linked with those objects.
 *
 * Three pictures of the file: what processes see (the page cache, a memfd that
 * the store also maps), what the kernel believes to be on the disk, and what is
 * there.  A page is dirty when it was written to or differs from what the
 * kernel believes; dirty pages reach the disk at any time, or not. */
#ifndef TESTS_FAULTDISK_H
#define TESTS_FAULTDISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- chance, by seed ---- */
struct rng { uint64_t s; };
uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n); /* 0 for n = 0 */
void fault_random(void *out, size_t n);        /* in the place of crypto_random */
void fault_seed(uint64_t seed);

/* ---- the disk ---- */
enum loss { /* what becomes of dirty pages when the power goes */
	LOSS_ALL, LOSS_NOTHING, LOSS_PAGES, LOSS_SECTORS, LOSS_ONE_PAGE, LOSS_ALL_BUT_ONE_PAGE,
	LOSS_ONE_SECTOR, LOSS_MODES,
};
enum plan_what { PLAN_NONE, PLAN_DIE, PLAN_ERROR };
struct plan {
	enum plan_what what;
	uint64_t at;   /* the how manieth effect, from 1 */
	int error;     /* PLAN_ERROR: errno */
	bool lasting;  /* and all writes and allocations that follow */
};
enum disk_op { OP_READ, OP_WRITE, OP_SYNC, OP_ALLOCATE, OP_TRUNCATE, OP_MAPPED, OPS };

struct disk;
struct disk *disk_new(void);          /* and it is the one in use */
void disk_use(struct disk *d);
void disk_clear(struct disk *d, uint64_t seed); /* empty, nothing planned */
int disk_fd(const struct disk *d);
void disk_plan(struct disk *d, struct plan p);
uint64_t disk_ops(const struct disk *d);        /* effects since the plan was set */
bool disk_dead(const struct disk *d);           /* the plan's end has come: no effect since */
int disk_failed(const struct disk *d);          /* the op that the plan let fail, or -1 */
/* The process was killed (or has closed): what it did stays in the page cache. */
void disk_killed(struct disk *d);
void disk_power_loss(struct disk *d, enum loss how);
/* A disk that says "synced" and has done nothing, to see that tests notice. */
void disk_lies(struct disk *d, bool lies);
/* The file's octets, for tampering; *n how many. */
uint8_t *disk_octets(struct disk *d, uint64_t *n);
void disk_resize(struct disk *d, uint64_t n);

/* Pages that are not in memory, for readers with helpers: what mincore() says, and
 * what happens in a helper before it touches them.  NULL: as it is. */
extern int (*fault_resident)(const uint8_t *p, size_t n, unsigned char *in);
extern void (*fault_fetch)(const uint8_t *p, size_t n);

/* ---- what was sealed ---- */
void seals_clear(void); /* between stores that have nothing in common, salts neither */
uint64_t seals_count(void); /* remembered */
uint64_t seals_reused(void); /* a key and nonce with another plaintext */

#endif
