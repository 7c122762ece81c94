/* session.h - one certified operator at port 22: messages, without a socket.
 *
 * States: HELLO put -> (IDENTITY, BUNDLE...) -> AUTH -> unlocked, or commands one
 * by one; an error of the operator's ends it after a RESULT. */
#ifndef MAIN_SESSION_H
#define MAIN_SESSION_H

#include "main/gate.h"

struct session;
struct session_conf {
	const struct gate_conf *gate;
	const struct gate_calls *calls;
	void *owner;
	void (*wake)(void *conn); /* there is something to be given */
};
/* The handshake is through.  NULL: no memory. */
struct session *session_new(const struct session_conf *c, struct tls *t, const char *from, void *conn, uint64_t now);
void session_free(struct session *s); /* NULL is fine */
/* Takes what has come and answers it; puts what waits into the TLS session.  True
 * when nothing waits there any more. */
bool session_turn(struct session *s, uint64_t now);
/* When it last got on: its beginning, its last whole message, the answer to that, or
 * the beginning of its end.  Octets alone are none of these. */
uint64_t session_since(const struct session *s);
bool session_ending(const struct session *s);   /* to be closed once nothing waits */
bool session_failed(const struct session *s);   /* it did something that is counted against its certificate */
bool session_unlocked(const struct session *s); /* the machine is unlocked by it */
const char *session_who(const struct session *s);
const struct tls_peer *session_peer(const struct session *s);
/* One RESULT, and the end. */
void session_turn_away(struct session *s, const char *text);

#endif
