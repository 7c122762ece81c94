/* remote.h - the operator's side of port 22: a session with one machine. */
#ifndef HUB_REMOTE_H
#define HUB_REMOTE_H

#include "hub/station.h"

struct remote {
	int fd;
	struct tls *tls;
	struct gate_buf *in, *out;
	const struct cred *cred;
	uint8_t exporter[32];
	uint8_t pub[SIGN_PUB];   /* the machine's */
	uint8_t nonce[GATE_NONCE]; /* for the next message */
	struct gate_hello hello; /* its inventory lies in `inventory` */
	struct buf inventory;
	uint64_t opened_ns;
	char err[300];           /* the first thing that went wrong */
};
#define REMOTE_WAIT_MAX 86400
/* Connects and takes its HELLO, again and again for wait_s seconds while nobody
 * listens or the connection breaks.  pub: who it must be, NULL: one that is not enrolled.
 * 0, or 1 and it is said why not. */
int remote_open(struct remote *r, const char *host, const struct cred *c, const uint8_t *pub, unsigned wait_s);
void remote_close(struct remote *r);
/* After an operator has had the time he wanted: the session as it was, or another
 * one when it has ended meanwhile, and the machine says the same as before. */
int remote_resume(struct remote *r, const char *host, unsigned wait_s);
/* What was put goes out.  0, or 1 and it is said why not. */
int remote_flush(struct remote *r);
int remote_put_bundle(struct remote *r, const void *p, size_t n);
#define REMOTE_TEXT (4u << 20) /* octets of an answer */
/* The answer; its text, of all pieces, with a NUL behind it.  0, or 1 (said). */
int remote_result(struct remote *r, enum gate_code *code, struct buf *text);

#endif
