/* spill.c - runs of items in a nameless, sealed file.  Contract in spill.h.
 *
 * The file is a row of blocks, BLOCK octets each: ciphertext and tag 16, nonce =
 * the block's number.  Plain: octets used 32, then items, each its length 32 and
 * its octets; a run begins a block of its own and knows its first and last.
 * States: writing, then reading, as often as wanted.
 * Threat: a disk read or changed by others while the hub runs: a block that was
 * changed or exchanged does not open (EBADMSG).  The key dies with the process. */
#include "hub/spill.h"

#include "base/wire.h"
#include "crypto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

#define BLOCK (256u << 10)
#define ROOM  (BLOCK - 16)
#define HEAD  4

struct run {
	uint64_t block, end; /* the next block to read; behind the last */
	uint64_t first;
	uint8_t *mem;        /* BLOCK octets, wiped and freed by spill_free; NULL: not yet */
	size_t at, used;     /* in mem */
};

struct spill {
	int fd;
	struct aead *key;
	uint64_t blocks;     /* written so far */
	uint8_t *out;        /* BLOCK octets: the block being filled */
	size_t out_n;
	struct run *run;
	unsigned nruns, room;
};

static int open_nameless(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
		return fd;
	char path[4096]; /* no such files here: one whose name is gone at once */
	snprintf(path, sizeof path, "%.4000s/spill-XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		unlink(path);
	return fd;
}

struct spill *spill_new(const char *dir)
{
	struct spill *s = calloc(1, sizeof *s);
	struct key *k = s ? key_random() : NULL;
	if (!s)
		return NULL;
	s->fd = open_nameless(dir);
	s->key = k ? aead_new(k) : NULL;
	s->out = malloc(BLOCK);
	int e = s->fd < 0 ? errno : ENOMEM;
	key_free(k);
	if (s->fd >= 0 && s->key && s->out)
		return s;
	spill_free(s);
	errno = e;
	return NULL;
}

static void drop_block(uint8_t *mem)
{
	if (mem)
		crypto_wipe(mem, BLOCK);
	free(mem);
}

void spill_free(struct spill *s)
{
	if (!s)
		return;
	if (s->fd >= 0)
		close(s->fd);
	aead_free(s->key);
	for (unsigned i = 0; i < s->nruns; i++)
		drop_block(s->run[i].mem);
	free(s->run);
	drop_block(s->out);
	free(s);
}

static void block_nonce(uint8_t out[static 12], uint64_t block)
{
	memset(out, 0, 4);
	put_u64(out + 4, block);
}

/* ---- writing ---- */

static int put_block(struct spill *s)
{
	uint8_t nonce[12];
	size_t done = 0;
	put_u32(s->out, (uint32_t)s->out_n);
	memset(s->out + s->out_n, 0, ROOM - s->out_n);
	block_nonce(nonce, s->blocks);
	aead_seal(s->key, nonce, NULL, 0, s->out, ROOM, s->out + ROOM, 16);
	while (done < BLOCK) {
		ssize_t w = pwrite(s->fd, s->out + done, BLOCK - done, (off_t)(s->blocks * BLOCK + done));
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			errno = w ? errno : ENOSPC;
			return -1;
		}
		done += (size_t)w;
	}
	s->blocks++;
	s->out_n = HEAD;
	return 0;
}

int spill_begin(struct spill *s)
{
	if (s->nruns == s->room) {
		unsigned room = s->room ? s->room * 2 : 16;
		struct run *r = realloc(s->run, room * sizeof *r);
		if (!r)
			return -1;
		s->run = r;
		s->room = room;
	}
	s->run[s->nruns++] = (struct run){ .first = s->blocks };
	s->out_n = HEAD;
	return 0;
}

int spill_put(struct spill *s, const void *head, size_t headn, const void *rest, size_t restn)
{
	size_t n = headn + restn;
	if (n > SPILL_ITEM) {
		errno = EMSGSIZE;
		return -1;
	}
	if (s->out_n + 4 + n > ROOM && put_block(s) != 0)
		return -1;
	put_u32(s->out + s->out_n, (uint32_t)n);
	memcpy(s->out + s->out_n + 4, head, headn);
	memcpy(s->out + s->out_n + 4 + headn, rest, restn);
	s->out_n += 4 + n;
	return 0;
}

int spill_end(struct spill *s)
{
	if (s->out_n > HEAD && put_block(s) != 0)
		return -1;
	s->run[s->nruns - 1].end = s->blocks;
	return 0;
}

unsigned spill_runs(const struct spill *s) { return s->nruns; }

/* ---- reading ---- */

int spill_rewind(struct spill *s)
{
	for (unsigned i = 0; i < s->nruns; i++) {
		struct run *r = s->run + i;
		if (!r->mem && !(r->mem = malloc(BLOCK)))
			return -1;
		r->block = r->first;
		r->at = r->used = HEAD;
	}
	return 0;
}

static int get_block(struct spill *s, struct run *r)
{
	uint8_t nonce[12];
	size_t done = 0;
	while (done < BLOCK) {
		ssize_t n = pread(s->fd, r->mem + done, BLOCK - done, (off_t)(r->block * BLOCK + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n ? errno : EBADMSG;
			return -1;
		}
		done += (size_t)n;
	}
	block_nonce(nonce, r->block);
	if (!aead_open(s->key, nonce, NULL, 0, r->mem, ROOM, r->mem + ROOM, 16, r->mem)) {
		errno = EBADMSG;
		return -1;
	}
	r->block++;
	r->at = HEAD;
	r->used = get_u32(r->mem);
	return 0;
}

int spill_next(struct spill *s, unsigned run, const uint8_t **p, size_t *n)
{
	struct run *r = s->run + run;
	if (r->at == r->used) {
		if (r->block == r->end)
			return 0;
		if (get_block(s, r) != 0)
			return -1;
	}
	*n = get_u32(r->mem + r->at);
	*p = r->mem + r->at + 4;
	r->at += 4 + *n;
	return 1;
}
