/* jfile.h - the hub's journal on disk: DIR/journal/NNNNNNNN, encrypted.
 *
 * A file: "encdns-j" | version 32 | salt 32 octets, then records
 *   length 32 | ciphertext | tag 16
 * sealed under HKDF(K_hub, "journal", salt), nonce = number of the record in
 * the file, additional data = the length.  Record 0 is
 *   journal id 16 | first sequence 64 | chain hash before it 32
 * and each other one part of a transaction (journal.h).  Every start and every
 * 64 MiB begin a new file; nothing is ever appended to an old one, so no nonce
 * comes twice.  A torn last transaction is dropped: it was never acknowledged. */
#ifndef HUB_JFILE_H
#define HUB_JFILE_H

#include "journal.h"

struct jfile;
/* Opens (makes) DIR/journal, checks every record's chain.  NULL: err. */
struct jfile *jfile_open(const char *dir, const struct key *k, char *err, size_t n);
/* Before anything that was found there is told to others: what lies behind seq, up to
 * which it is known to be durable, becomes so.  -1: errno. */
int jfile_settle(struct jfile *j, uint64_t seq);
void jfile_close(struct jfile *j);

const uint8_t *jfile_id(const struct jfile *j);     /* JOURNAL_ID octets */
uint64_t jfile_first(const struct jfile *j);        /* oldest sequence kept; last + 1 when none */
uint64_t jfile_last(const struct jfile *j);
const uint8_t *jfile_chain(const struct jfile *j);  /* behind the last */
uint64_t jfile_time(const struct jfile *j);         /* of the last transaction */
/* The chain hash behind a sequence, first - 1 included; false: not kept or unreadable. */
bool jfile_chain_at(struct jfile *j, uint64_t seq, uint8_t out[static CHAIN_LEN]);

/* One transaction: begin, parts of whole operations, end.  -1: errno; then
 * abort, which leaves the journal as it was before begin. */
int jfile_begin(struct jfile *j, uint64_t time);
int jfile_ops(struct jfile *j, const uint8_t *ops, size_t n);
int jfile_end(struct jfile *j);
void jfile_abort(struct jfile *j);
int jfile_sync(struct jfile *j); /* all ended transactions are durable; once failed it fails for good */

/* Reading part by part, from the first part of a sequence on.  jfile_read: 1 and
 * the part (the reader's buffer), 0 at the end of what is ended, -1: errno. */
struct jreader { uint64_t seq, off; uint32_t file, record; int fd; struct aead *key; struct buf buf; };
int jfile_seek(struct jfile *j, uint64_t seq, struct jreader *r);
int jfile_read(struct jfile *j, struct jreader *r, struct tx_part *out, const uint8_t **part, size_t *n);
/* The transaction whose operations another thread is writing, from its first part on:
 * before the thread begins, a new reader is opened with all that it needs (-1: errno);
 * then 1 and the part, 0 while the next is not written yet, -1: errno.  Begin and end
 * are ours; when it has ended, jfile_read goes on. */
int jfile_follow_begin(struct jfile *j, struct jreader *r);
int jfile_follow(struct jfile *j, struct jreader *r, struct tx_part *out);
void jreader_free(struct jreader *r);

#endif
