/* jfile.c - the hub's journal on disk.  Layout and contract in jfile.h.
 * Threads: the parts of one transaction may be written by one, and read behind it by
 * the one that began it and will end it (jfile_follow).  Who reads meanwhile looks
 * at nothing that changes then but `ready`.
 * Threat: crashes at any octet, a disk read or changed by others: a record
 * counts only with its tag, a transaction only with its chain hash. */
#include "hub/jfile.h"

#include "base/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_HEAD  44
#define FIRST_LEN  (JOURNAL_ID + 8 + CHAIN_LEN)
#define FILE_MAX   (64u << 20)
#define RECORD_MAX (FRAME_MAX + 64)
#define REWRITE    (1u << 20)

static const uint8_t magic[8] = "encdns-j";

/* Where a transaction begins. */
struct place { uint64_t off; uint32_t file, record; };

struct jfile {
	int dir;
	const struct key *key;
	uint8_t id[JOURNAL_ID];
	bool have_id;
	uint8_t base[CHAIN_LEN];  /* chain before the first */
	uint8_t chain[CHAIN_LEN]; /* behind the last */
	uint64_t first, last, time;
	struct place *at;         /* of sequences first..last */
	size_t room;
	uint32_t newest;          /* number of the newest file */
	/* the file being written */
	int fd;
	struct aead *aead;
	uint32_t record;
	uint64_t off;
	bool lost;                /* a sync of it failed: its pages may be clean and yet not on the disk */
	/* the transaction being written */
	bool in_tx, wrote;
	uint64_t tx_time;
	struct sha running;
	struct place tx_at;
	_Atomic uint32_t ready;   /* its records before this one may be read (jfile_follow) */
	struct buf part;
	size_t hashed;            /* octets of part that `running` has seen, or that it doesn't cover */
};

static void file_name(uint32_t number, char out[static 16]) { snprintf(out, 16, "%08u", number); }

static struct aead *file_key(const struct key *k, const uint8_t salt[static 32])
{
	struct key *f = key_derive(k, "journal", salt, 32);
	struct aead *a = f ? aead_new(f) : NULL;
	key_free(f);
	return a;
}

static void record_nonce(uint8_t out[static 12], uint32_t record)
{
	memset(out, 0, 12);
	put_u32(out + 8, record);
}

/* All of it, or -1 with the reason: a short write alone doesn't tell why. */
static int write_all(int fd, const void *p, size_t n, uint64_t off)
{
	for (const uint8_t *b = p; n;) {
		ssize_t w = pwrite(fd, b, n, (off_t)off);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			errno = w ? errno : ENOSPC;
			return -1;
		}
		b += w;
		off += (uint64_t)w;
		n -= (size_t)w;
	}
	return 0;
}

/* Opens a file for reading and makes its key. */
static int file_open(int dir, const struct key *k, uint32_t number, struct aead **key)
{
	char name[16];
	uint8_t head[FILE_HEAD];
	file_name(number, name);
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (pread(fd, head, sizeof head, 0) != FILE_HEAD || memcmp(head, magic, 8) != 0 ||
	    get_u32(head + 8) != JOURNAL_VERSION) {
		close(fd);
		errno = EBADMSG;
		return -1;
	}
	*key = file_key(k, head + 12);
	if (!*key) {
		close(fd);
		errno = ENOMEM;
		return -1;
	}
	return fd;
}

static int record_room(struct buf *b, uint32_t n)
{
	if (b->room >= n + 16)
		return 0;
	uint8_t *p = realloc(b->p, n + 16);
	if (!p)
		return -1;
	b->p = p;
	b->room = n + 16;
	return 0;
}

/* One record at *off into buf: 1, 0 at the end or a torn tail, -1. */
static int record_read(int fd, const struct aead *key, uint64_t *off, uint32_t record, struct buf *buf)
{
	uint8_t head[4], nonce[12];
	ssize_t got = pread(fd, head, 4, (off_t)*off);
	if (got < 0)
		return -1;
	uint32_t n = got == 4 ? get_u32(head) : 0;
	if (got != 4 || n > RECORD_MAX)
		return 0;
	buf->n = 0;
	if (record_room(buf, n) != 0)
		return -1;
	if (pread(fd, buf->p, n + 16, (off_t)*off + 4) != (ssize_t)n + 16)
		return 0;
	record_nonce(nonce, record);
	if (!aead_open(key, nonce, head, 4, buf->p, n, buf->p + n, 16, buf->p))
		return 0;
	buf->n = n;
	*off += 4 + n + 16;
	return 1;
}

/* ---- opening ---- */

static int remember(struct jfile *j, struct place at)
{
	size_t n = j->last + 1 - j->first;
	if (n >= j->room) {
		size_t room = j->room ? j->room * 2 : 1024;
		struct place *p = realloc(j->at, room * sizeof *p);
		if (!p)
			return -1;
		j->at = p;
		j->room = room;
	}
	j->at[n] = at;
	j->last++;
	return 0;
}

/* Record 0: does the file follow what we have read? */
static int check_first(struct jfile *j, const struct buf *b, const char *name, char *err, size_t n)
{
	struct rd r = rd_init(b->p, b->n);
	uint8_t id[JOURNAL_ID], chain[CHAIN_LEN];
	rd_copy(&r, id, sizeof id);
	uint64_t first = rd_u64(&r);
	rd_copy(&r, chain, sizeof chain);
	if (!r.bad && !j->have_id) {
		memcpy(j->id, id, sizeof id);
		memcpy(j->base, chain, sizeof chain);
		memcpy(j->chain, chain, sizeof chain);
		j->have_id = true;
		j->first = first;
		j->last = first - 1;
		return 0;
	}
	if (!r.bad && memcmp(id, j->id, sizeof id) == 0 && first == j->last + 1 &&
	    memcmp(chain, j->chain, sizeof chain) == 0)
		return 0;
	snprintf(err, n, "journal/%s: does not follow the file before it: one is damaged or missing", name);
	return -1;
}

/* Record 0; *at moves behind it. */
static int read_first(struct jfile *j, int fd, const struct aead *key, struct place *at, struct buf *b,
                      const char *name, char *err, size_t n)
{
	int r = record_read(fd, key, &at->off, at->record++, b);
	if (r == 1)
		return check_first(j, b, name, err, n);
	snprintf(err, n, "journal/%s: %s", name,
	         r == 0 ? "the key does not fit, or the file is damaged" : strerror(errno));
	return -1;
}

/* A whole transaction has been read: 1, 0 when its chain hash is another, -1. */
static int end_read(struct jfile *j, const struct tx_part *t, struct place at)
{
	uint8_t chain[CHAIN_LEN];
	sha_out(&j->running, chain);
	if (memcmp(chain, t->chain, CHAIN_LEN) != 0)
		return 0;
	if (remember(j, at) != 0)
		return -1;
	memcpy(j->chain, chain, CHAIN_LEN);
	j->time = j->tx_time;
	return 1;
}

/* The transactions from `at` on, as far as they are whole. */
static int read_transactions(struct jfile *j, int fd, const struct aead *key, struct place at, struct buf *b)
{
	struct place next = at;
	bool in_tx = false;
	int r;
	while ((r = record_read(fd, key, &next.off, next.record, b)) == 1) {
		struct tx_part t;
		next.record++;
		if (!tx_part_parse(b->p, b->n, &t))
			return 0;
		bool first = t.flags & PART_FIRST;
		if (first == in_tx || (first && t.seq != j->last + 1))
			return 0;
		if (first) {
			tx_chain_begin(&j->running, j->chain, t.seq, t.time);
			j->tx_time = t.time;
		}
		in_tx = !(t.flags & PART_LAST);
		sha_update(&j->running, t.ops, t.len);
		if (in_tx)
			continue;
		r = end_read(j, &t, at);
		if (r != 1)
			return r;
		at = next;
	}
	return r;
}

/* Did a crash come while it was made?  Then nothing was written to it yet. */
static bool unborn(const struct jfile *j, uint32_t number, const char *name)
{
	struct stat sb;
	return number == j->newest && fstatat(j->dir, name, &sb, 0) == 0 &&
	       sb.st_size < FILE_HEAD + 4 + FIRST_LEN + 16;
}

static int read_file(struct jfile *j, uint32_t number, struct buf *b, char *err, size_t n)
{
	char name[16];
	struct aead *key = NULL;
	struct place at = { FILE_HEAD, number, 0 };
	file_name(number, name);
	if (unborn(j, number, name)) {
		if (unlinkat(j->dir, name, 0) == 0) {
			j->newest--;
			return 0;
		}
		snprintf(err, n, "journal/%s: %s", name, strerror(errno));
		return -1;
	}
	int fd = file_open(j->dir, j->key, number, &key);
	if (fd < 0) {
		snprintf(err, n, "journal/%s: %s", name, errno == EBADMSG ? "is no journal of this version" : strerror(errno));
		return -1;
	}
	int r = read_first(j, fd, key, &at, b, name, err, n);
	if (r == 0) {
		r = read_transactions(j, fd, key, at, b);
		if (r != 0)
			snprintf(err, n, "journal/%s: %s", name, strerror(errno));
	}
	aead_free(key);
	close(fd);
	return r;
}

int jfile_sync(struct jfile *j)
{
	if (j->fd < 0)
		return 0;
	if (j->lost) {
		errno = EIO;
		return -1;
	}
	if (fdatasync(j->fd) == 0)
		return 0;
	j->lost = true;
	return -1;
}

/* A new file becomes the one written to. */
static int new_file(struct jfile *j)
{
	char name[16];
	uint8_t head[FILE_HEAD], first[FIRST_LEN + 16], len[4], nonce[12];
	/* what was ended in the old file must not be left behind unsynced */
	if (jfile_sync(j) != 0)
		return -1;
	file_name(j->newest + 1, name);
	int fd = openat(j->dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	memcpy(head, magic, 8);
	put_u32(head + 8, JOURNAL_VERSION);
	crypto_random(head + 12, 32);
	struct aead *key = file_key(j->key, head + 12);
	struct wr w = wr_init(first, sizeof first);
	wr_bytes(&w, j->id, JOURNAL_ID);
	wr_u64(&w, j->last + 1);
	wr_bytes(&w, j->chain, CHAIN_LEN);
	put_u32(len, FIRST_LEN);
	record_nonce(nonce, 0);
	if (key)
		aead_seal(key, nonce, len, 4, first, FIRST_LEN, first + FIRST_LEN, 16);
	if (!key || write_all(fd, head, sizeof head, 0) != 0 || write_all(fd, len, 4, FILE_HEAD) != 0 ||
	    write_all(fd, first, sizeof first, FILE_HEAD + 4) != 0 || fdatasync(fd) != 0 || io_sync_dir(j->dir) != 0) {
		int e = key ? errno : ENOMEM;
		unlinkat(j->dir, name, 0);
		close(fd);
		aead_free(key);
		errno = e;
		return -1;
	}
	if (j->fd >= 0)
		close(j->fd);
	aead_free(j->aead);
	j->fd = fd;
	j->aead = key;
	j->record = 1;
	j->off = FILE_HEAD + 4 + FIRST_LEN + 16;
	j->newest++;
	return 0;
}

/* Numbers of the oldest and newest file (newest 0: none). */
static int find_files(const struct jfile *j, uint32_t *oldest, uint32_t *newest)
{
	char name[16];
	int fd = openat(j->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
	if (!d) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	*oldest = UINT32_MAX;
	*newest = 0;
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		uint32_t number = (uint32_t)strtoul(e->d_name, NULL, 10);
		file_name(number, name);
		if (number == 0 || strcmp(name, e->d_name) != 0)
			continue;
		*oldest = number < *oldest ? number : *oldest;
		*newest = number > *newest ? number : *newest;
	}
	closedir(d);
	return 0;
}

/* The journal is one process's: another one's new file would fork it. */
static int open_dir(const char *dir)
{
	int base = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return -1;
	mkdirat(base, "journal", 0700);
	int fd = openat(base, "journal", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* what is synced in a folder is lost when the folder itself is */
	bool ok = fd >= 0 && io_sync_dir(base) == 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
	int e = errno;
	close(base);
	if (ok)
		return fd;
	if (fd >= 0)
		close(fd);
	errno = e;
	return -1;
}

struct jfile *jfile_open(const char *dir, const struct key *k, char *err, size_t n)
{
	struct jfile *j = calloc(1, sizeof *j);
	struct buf b = { 0 };
	uint32_t oldest = 1, newest = 0;
	if (!j) {
		snprintf(err, n, "no memory");
		return NULL;
	}
	j->key = k;
	j->fd = -1;
	j->dir = open_dir(dir);
	if (j->dir < 0 || find_files(j, &oldest, &newest) != 0) {
		snprintf(err, n, "%s/journal: %s", dir, errno == EWOULDBLOCK ? "in use by another process" : strerror(errno));
		if (j->dir >= 0)
			close(j->dir);
		free(j);
		return NULL;
	}
	j->newest = newest;
	int r = 0;
	for (uint32_t i = oldest; i <= newest && r == 0; i++)
		r = read_file(j, i, &b, err, n);
	buf_free(&b);
	/* the next transaction begins a new file; a hub with a full disk can
	 * still serve what it has */
	j->off = FILE_MAX + 1u;
	if (r == 0 && !j->have_id) { /* but the name of a new journal is kept at once */
		crypto_random(j->id, sizeof j->id);
		j->have_id = true;
		j->first = 1;
		r = new_file(j);
		if (r != 0)
			snprintf(err, n, "%s/journal: %s", dir, strerror(errno));
	}
	if (r == 0)
		return j;
	jfile_close(j);
	return NULL;
}

/* Writes a file where it lies once more, from off to its end. */
static int rewrite(int fd, uint64_t off)
{
	uint8_t *b = malloc(REWRITE);
	ssize_t n = 0;
	if (!b) {
		errno = ENOMEM;
		return -1;
	}
	while ((n = pread(fd, b, REWRITE, (off_t)off)) > 0 && write_all(fd, b, (size_t)n, off) == 0)
		off += (uint64_t)n;
	int e = errno;
	free(b);
	errno = e;
	return n == 0 ? 0 : -1;
}

/* Who wrote it may have died before its sync, or of a sync that failed: then its
 * pages may be clean in memory and yet not on the disk, and only what is written
 * anew is part of what the next sync promises.  Only the newest file is in doubt:
 * each is synced before the next one is made. */
int jfile_settle(struct jfile *j, uint64_t seq)
{
	char name[16];
	bool doubt = seq < j->last;
	if (j->fd >= 0) /* we made it */
		return jfile_sync(j);
	const struct place *p = doubt ? &j->at[seq < j->first ? 0 : seq + 1 - j->first] : NULL;
	file_name(j->newest, name);
	int fd = openat(j->dir, name, (doubt ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return -1;
	int r = doubt ? rewrite(fd, p->file == j->newest ? p->off : 0) : 0;
	if (r == 0 && (fdatasync(fd) != 0 || io_sync_dir(j->dir) != 0))
		r = -1;
	int e = errno;
	close(fd);
	errno = e;
	return r;
}

void jfile_close(struct jfile *j)
{
	if (!j)
		return;
	if (j->fd >= 0)
		close(j->fd);
	close(j->dir);
	aead_free(j->aead);
	free(j->at);
	buf_free(&j->part);
	free(j);
}

const uint8_t *jfile_id(const struct jfile *j) { return j->id; }
uint64_t jfile_first(const struct jfile *j) { return j->first; }
uint64_t jfile_last(const struct jfile *j) { return j->last; }
const uint8_t *jfile_chain(const struct jfile *j) { return j->chain; }
uint64_t jfile_time(const struct jfile *j) { return j->time; }

/* ---- writing ---- */

/* Operations come in small pieces; they are hashed in large ones. */
static void hash_part(struct jfile *j)
{
	if (!j->part.bad)
		sha_update(&j->running, j->part.p + j->hashed, j->part.n - j->hashed);
	j->hashed = j->part.n;
}

static int put_part(struct jfile *j)
{
	uint8_t head[4], nonce[12];
	uint32_t n = (uint32_t)j->part.n;
	buf_put(&j->part, (uint8_t[16]){ 0 }, 16);
	if (j->part.bad) {
		errno = ENOMEM;
		return -1;
	}
	put_u32(head, n);
	record_nonce(nonce, j->record);
	aead_seal(j->aead, nonce, head, 4, j->part.p, n, j->part.p + n, 16);
	/* the nonce is spent, whatever becomes of the write */
	j->record++;
	if (write_all(j->fd, head, 4, j->off) != 0 || write_all(j->fd, j->part.p, n + 16, j->off + 4) != 0)
		return -1;
	j->off += 4 + n + 16;
	j->part.n = 0;
	j->wrote = true;
	j->ready = j->record;
	return 0;
}

int jfile_begin(struct jfile *j, uint64_t time)
{
	uint8_t p[17] = { PART_FIRST };
	if (j->off > FILE_MAX && new_file(j) != 0)
		return -1;
	j->in_tx = true;
	j->wrote = false;
	j->tx_time = time;
	j->tx_at = (struct place){ j->off, j->newest, j->record };
	j->ready = j->record;
	tx_chain_begin(&j->running, j->chain, j->last + 1, time);
	put_u64(p + 1, j->last + 1);
	put_u64(p + 9, time);
	j->part.n = 0;
	buf_put(&j->part, p, sizeof p);
	j->hashed = j->part.n;
	return 0;
}

int jfile_ops(struct jfile *j, const uint8_t *ops, size_t n)
{
	if (j->part.n > 32 && j->part.n + n > PART_MAX) {
		hash_part(j);
		if (put_part(j) != 0)
			return -1;
		buf_put(&j->part, &(uint8_t){ 0 }, 1);
		j->hashed = 1;
	}
	if (j->part.n + n + CHAIN_LEN > FRAME_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	buf_put(&j->part, ops, n);
	return j->part.bad ? -1 : 0;
}

int jfile_end(struct jfile *j)
{
	uint8_t chain[CHAIN_LEN];
	hash_part(j);
	sha_out(&j->running, chain);
	buf_put(&j->part, chain, sizeof chain);
	if (j->part.bad)
		return -1;
	j->part.p[0] |= PART_LAST;
	if (put_part(j) != 0 || remember(j, j->tx_at) != 0)
		return -1;
	memcpy(j->chain, chain, CHAIN_LEN);
	j->time = j->tx_time;
	j->in_tx = false;
	return 0;
}

void jfile_abort(struct jfile *j)
{
	if (!j->in_tx)
		return;
	j->in_tx = false;
	j->part.n = 0;
	j->part.bad = false;
	if (!j->wrote && j->record == j->tx_at.record)
		return;
	/* its nonces are spent: a new file takes over where the last one ended */
	if (ftruncate(j->fd, (off_t)j->tx_at.off) != 0 || new_file(j) != 0)
		j->off = FILE_MAX + 1u; /* tried again before the next transaction */
}

/* ---- reading ---- */

bool jfile_chain_at(struct jfile *j, uint64_t seq, uint8_t out[static CHAIN_LEN])
{
	struct jreader r = { .fd = -1 };
	struct tx_part t;
	const uint8_t *p;
	size_t n;
	if (seq == j->last || (seq + 1 == j->first && j->last + 1 == j->first)) {
		memcpy(out, j->chain, CHAIN_LEN);
		return true;
	}
	if (seq + 1 == j->first) {
		memcpy(out, j->base, CHAIN_LEN);
		return true;
	}
	bool found = false;
	if (jfile_seek(j, seq, &r) == 0)
		while (!found && jfile_read(j, &r, &t, &p, &n) == 1)
			if (t.flags & PART_LAST) {
				memcpy(out, t.chain, CHAIN_LEN);
				found = true;
			}
	jreader_free(&r);
	return found;
}

/* Its file is no longer open. */
static void reader_leave(struct jreader *r)
{
	if (r->fd >= 0)
		close(r->fd);
	aead_free(r->key);
	r->fd = -1;
	r->key = NULL;
}

void jreader_free(struct jreader *r)
{
	reader_leave(r);
	buf_free(&r->buf);
}

static int reader_at(struct jfile *j, struct jreader *r, struct place at)
{
	if (r->fd < 0 || r->file != at.file) {
		reader_leave(r);
		r->fd = file_open(j->dir, j->key, at.file, &r->key);
		if (r->fd < 0)
			return -1;
	}
	r->file = at.file;
	r->record = at.record;
	r->off = at.off;
	return 0;
}

/* The reader's seq is the transaction whose parts come next. */
int jfile_seek(struct jfile *j, uint64_t seq, struct jreader *r)
{
	r->seq = seq;
	if (seq > j->last) { /* nothing there yet: its place is found when it comes */
		reader_leave(r);
		return 0;
	}
	if (seq < j->first) {
		errno = ENOENT;
		return -1;
	}
	return reader_at(j, r, j->at[seq - j->first]);
}

/* The part at which the reader stands: 1, or -1 with errno. */
static int next_part(struct jreader *r, struct tx_part *out)
{
	int got = record_read(r->fd, r->key, &r->off, r->record, &r->buf);
	if (got != 1 || !tx_part_parse(r->buf.p, r->buf.n, out)) {
		errno = got < 0 ? errno : EBADMSG;
		return -1;
	}
	r->record++;
	if (out->flags & PART_LAST)
		r->seq++;
	return 1;
}

int jfile_follow_begin(struct jfile *j, struct jreader *r)
{
	r->seq = j->last + 1;
	return record_room(&r->buf, RECORD_MAX) == 0 ? reader_at(j, r, j->tx_at) : -1;
}

int jfile_follow(struct jfile *j, struct jreader *r, struct tx_part *out)
{
	r->seq = j->last + 1;
	return r->record < j->ready ? next_part(r, out) : 0;
}

int jfile_read(struct jfile *j, struct jreader *r, struct tx_part *out, const uint8_t **part, size_t *n)
{
	if (r->seq > j->last)
		return 0;
	struct place want = j->at[r->seq - j->first];
	/* between transactions: the place may be in another file */
	if ((r->fd < 0 || r->file != want.file) && reader_at(j, r, want) != 0)
		return -1;
	if (next_part(r, out) != 1)
		return -1;
	*part = r->buf.p;
	*n = r->buf.n;
	return 1;
}
