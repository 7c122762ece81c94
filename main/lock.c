/* lock.c - keeps what a process knows of secrets outside the pool (crypto.h) from
 * being swapped out or dumped.  Each process locks its own: fork hands on none. */
#include "main/node.h"

#include "base/log.h"

void lock_memory(const struct node *n)
{
	crypto_lock(n->cookie_keys, sizeof n->cookie_keys, "keys");
	crypto_lock_stack();
}

void say_not_locked(void)
{
	char what[100];
	if (crypto_not_locked(what, sizeof what))
		log_say(LOG_WARNING,
		        "this can't be locked in memory and may be swapped out: %s; raise the limit "
		        "RLIMIT_MEMLOCK (ulimit -l)",
		        what);
}

void wipe_memory(struct node *n)
{
	crypto_wipe(n->cookie_keys, sizeof n->cookie_keys);
	if (n->route_secrets)
		crypto_wipe(n->route_secrets, n->conf.route.peers.n * sizeof *n->route_secrets);
	crypto_end();
}
