/* pass.c - passphrases, typed or from a descriptor; their octets lie in the pool.
 *
 * Threat: somebody who looks over the shoulder or at what is left on the
 * terminal: nothing is echoed, and whatever signal comes, the terminal is as
 * it was before anybody hears of it. */
#include "crypto/internal.h"
#include "crypto/pbes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* Takes off the end of the line; 0, or why it is no passphrase. */
static int check(struct pass *p)
{
	if (p->n > 0 && p->b[p->n - 1] == '\n')
		p->n--;
	if (p->n > 0 && p->b[p->n - 1] == '\r')
		p->n--;
	if (p->n == 0)
		return ENODATA;
	return p->n > PASS_MAX || memchr(p->b, '\n', p->n) ? EMSGSIZE : 0;
}

static struct pass *pass_new(void)
{
	struct pass *p = pool_alloc(sizeof *p);

	if (p) {
		p->open = pbes_get;
		p->put = pbes_put;
	}
	return p;
}

struct pass *pass_read(int fd)
{
	struct pass *p = pass_new();
	ssize_t n = p ? crypto_read_all(fd, p->b, sizeof p->b) : -1;
	int wrong = n < 0 ? (errno == EINVAL ? EMSGSIZE : errno) : 0;

	if (n >= 0) {
		p->n = (size_t)n;
		wrong = check(p);
	}
	if (!wrong)
		return p;
	pass_free(p);
	errno = wrong;
	return NULL;
}

void pass_free(struct pass *p) { pool_free(p, sizeof *p); }

struct key *pass_key(const struct pass *p, const uint8_t *salt, size_t saltn, unsigned rounds)
{
	return key_from_passphrase((const char *)p->b, p->n, salt, saltn, rounds);
}

/* ---- the terminal ---- */

static volatile sig_atomic_t caught;
static void on_signal(int n) { caught = n; }
static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
#define ENDS (sizeof ends / sizeof *ends)

/* One line, not echoed.  0 or errno. */
static int type_line(int tty, const char *prompt, struct pass *p)
{
	struct sigaction act = { .sa_handler = on_signal }, old[ENDS];
	struct termios was, quiet;
	caught = 0;
	if (tcgetattr(tty, &was) != 0)
		return errno;
	for (size_t i = 0; i < ENDS; i++)
		sigaction(ends[i], &act, &old[i]);
	quiet = was;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(tty, TCSAFLUSH, &quiet);
	dprintf(tty, "%s: ", prompt);
	ssize_t got = read(tty, p->b, sizeof p->b);
	int e = errno;
	tcsetattr(tty, TCSAFLUSH, &was); /* what else was typed is dropped */
	dprintf(tty, "\n");
	for (size_t i = 0; i < ENDS; i++)
		sigaction(ends[i], &old[i], NULL);
	if (caught)
		raise(caught);
	if (got < 0)
		return e;
	p->n = (size_t)got;
	return check(p);
}

static const char *words(int e)
{
	return e == ENODATA  ? "no passphrase was given" :
	       e == EMSGSIZE ? "a passphrase is one line, of at most 1023 octets" :
	                       strerror(e);
}

const char *pass_error(int e) { return words(e); }

struct pass *pass_ask(const char *prompt, const char *again, char *err, size_t n)
{
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	struct pass *p = pass_new(), *q = pass_new();
	const char *why = NULL;
	if (tty < 0 || !isatty(tty))
		why = "there is no terminal to ask for a passphrase at";
	else if (!p || !q)
		why = "no memory for keys";
	int e = why ? 0 : type_line(tty, prompt, p);
	if (!why && !e && again)
		e = type_line(tty, again, q);
	if (e)
		why = words(e);
	else if (!why && again && (p->n != q->n || memcmp(p->b, q->b, p->n) != 0))
		why = "the two passphrases differ";
	if (tty >= 0)
		close(tty);
	pass_free(q);
	if (!why)
		return p;
	snprintf(err, n, "%s", why);
	pass_free(p);
	return NULL;
}
