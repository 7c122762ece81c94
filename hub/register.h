/* register.h - what the CA has issued, one line a certificate in DIR/register:
 *
 *   SERIAL ROLE NAME NOTBEFORE NOTAFTER     (hex, text, text, RFC 3339 twice)
 *
 * and why some were denied, in DIR/reasons: SERIAL TIME TEXT.  Both are only
 * appended to. */
#ifndef HUB_REGISTER_H
#define HUB_REGISTER_H

#include "crypto/cert.h"

#define REASON_MAX 200 /* octets, printable ASCII */

struct entry {
	uint8_t serial[CERT_SERIAL];
	enum cert_role role;
	char name[CERT_NAME];
	int64_t from, until;
};

/* On the disk when it returns 0. */
int register_add(const char *dir, const struct entry *e);
/* All of them, oldest first; free(*out).  -1: err says file and line. */
int register_read(const char *dir, struct entry **out, size_t *n, char *err, size_t errn);
int register_add_reason(const char *dir, const uint8_t serial[static CERT_SERIAL], int64_t at, const char *reason);
/* All that were given, oldest first. */
void register_reasons(const char *dir, void (*each)(void *owner, const uint8_t *serial, const char *text),
                      void *owner);
/* RFC 3339, in UTC. */
void register_time(int64_t at, char out[static 32]);
/* 2 * CERT_SERIAL hex digits and nothing else. */
bool register_serial(const char *text, uint8_t out[static CERT_SERIAL]);

#endif
