/* station.c - the operator's station on its disk.  Contract in station.h.
 * Every file is replaced whole and synced; one command at a time changes a machine's
 * record (flock).
 * Threat: whoever gets the folder: the master key opens every machine's bundle and
 * store, the CA's keys make operators. */
#include "hub/station.h"

#include "base/conf.h"
#include "base/io.h"
#include "hub/ca.h"
#include "hub/cafile.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX (64u << 10)

int station_complain(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fputs("encdns-hub: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	return 1;
}

int station_misuse(const char *verb, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fprintf(stderr, "encdns-hub: %s: ", verb);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\nTry: encdns-hub %s --help\n", verb);
	va_end(ap);
	return 2;
}

/* ---- files ---- */

int read_whole(const char *path, struct buf *out, size_t max)
{
	uint8_t chunk[4096];
	ssize_t n;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	out->n = 0;
	if (fd < 0)
		return -1;
	while ((n = read(fd, chunk, sizeof chunk)) > 0 && out->n + (size_t)n <= max && !out->bad)
		buf_put(out, chunk, (size_t)n);
	int e = n < 0 ? errno : n > 0 ? EFBIG : ENOMEM;
	close(fd);
	crypto_wipe(chunk, sizeof chunk);
	errno = e;
	return n == 0 && !out->bad ? 0 : -1;
}

bool host_split(const char *what, char host[static 256], char port[static 8])
{
	const char *at = strchr(what, '@');
	size_t n = at ? (size_t)(at - what) : strlen(what);
	if (n == 0 || n > 255 || (at && (strlen(at + 1) == 0 || strlen(at + 1) > 5)))
		return false;
	memcpy(host, what, n);
	host[n] = 0;
	snprintf(port, 8, "%s", at ? at + 1 : "22");
	return strspn(port, "0123456789") == strlen(port);
}

/* ---- the passphrase, and what is under it ---- */

#define PASS_SALT   16
#define SEALED_LEN  (32 + 16)
#define MASTER_LINE "encdns-master 1 "

static int get_pass(const char *option, const char *how, const char *prompt, const char *again,
                    struct pass **out)
{
	char err[200];
	int fd = how ? conf_source(option, how, err, sizeof err) : -1;
	if (how && fd < 0)
		return station_complain("%s", err);
	*out = how ? pass_read(fd) : pass_ask(prompt, again, err, sizeof err);
	if (*out)
		return 0;
	return how ? station_complain("%s %s: %s", option, how, pass_error(errno))
	           : station_complain("%s (or give %s fd:N)", err, option);
}

static struct aead *master_cipher(const struct pass *pass, const uint8_t *salt, unsigned rounds)
{
	struct key *k = pass_key(pass, salt, PASS_SALT, rounds);
	struct aead *a = k ? aead_new(k) : NULL;
	key_free(k);
	return a;
}

/* "encdns-master 1 ROUNDS SALT SEALED"; the key to the front of b. */
static int unseal_master(const char *path, const char *text, const struct pass *pass,
                         uint8_t b[static SEALED_LEN])
{
	static const uint8_t nonce[12];
	uint8_t salt[PASS_SALT];
	const char *end;
	uint64_t rounds;
	if (conf_digits(text + strlen(MASTER_LINE), &rounds, &end) != 0 || rounds < 1 ||
	    rounds > PASS_ROUNDS_MAX || strlen(end) < 2 + 2 * PASS_SALT + 2 * SEALED_LEN ||
	    !hex_read(salt, end + 1, PASS_SALT) || !hex_read(b, end + 2 + 2 * PASS_SALT, SEALED_LEN))
		return station_complain("%s: it is damaged", path);
	struct aead *a = master_cipher(pass, salt, (unsigned)rounds);
	if (!a)
		return station_complain("%s: no memory for keys", path);
	bool good = aead_open(a, nonce, MASTER_LINE, strlen(MASTER_LINE), b, 32, b + 32, 16, b);
	aead_free(a);
	return good ? 0 : station_complain("%s: this is not its passphrase", path);
}

/* Its octets to the front of b, and what they are under. */
static int read_master(const char *dir, const char *how, struct pass **pass, uint8_t b[static SEALED_LEN])
{
	char path[PATH_MAX], prompt[PATH_MAX + 40];
	struct buf text = { 0 };
	int wrong = 0;
	snprintf(path, sizeof path, "%.4000s/master.key", dir);
	if (read_whole(path, &text, FILE_MAX) != 0)
		return station_complain("%s: %s%s", path, strerror(errno),
		                        errno == ENOENT ? " (encdns-hub station init makes one)" : "");
	buf_put(&text, "", 1);
	snprintf(prompt, sizeof prompt, "passphrase of the station in %s", dir);
	if (text.bad)
		wrong = station_complain("no memory");
	else if (strncmp((char *)text.p, MASTER_LINE, strlen(MASTER_LINE)) == 0)
		wrong = get_pass("--passphrase", how, prompt, NULL, pass) ||
		        unseal_master(path, (char *)text.p, *pass, b);
	else if (!hex_read(b, (char *)text.p, 32))
		wrong = station_complain("%s: it is no key", path);
	crypto_wipe(text.p, text.n);
	buf_free(&text);
	return wrong;
}

static int open_master(struct station *s, const char *how)
{
	uint8_t b[SEALED_LEN];
	int wrong = read_master(s->dir, how, &s->pass, b);
	if (!wrong && (s->master = key_from(b)) == NULL)
		wrong = station_complain("no memory for keys");
	crypto_wipe(b, sizeof b);
	return wrong;
}

static int read_operator(struct station *s)
{
	char path[PATH_MAX], err[300];
	snprintf(path, sizeof path, "%.4000s/operator.pem", s->dir);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return station_complain("%s: %s", path, strerror(errno));
	s->cred = cred_read_pass(fd, s->pass, err, sizeof err);
	close(fd);
	if (!s->cred)
		return station_complain("%s: %s", path, err);
	if (cred_role(s->cred) != ROLE_OPERATOR)
		return station_complain("%s: it is a %s's certificate, not an operator's", path,
		                        cert_role_text(cred_role(s->cred)));
	return 0;
}

/* Who is denied, by the CA's own list. */
static int read_denials(struct station *s)
{
	char ca[PATH_MAX], err[PATH_MAX + 100];
	snprintf(ca, sizeof ca, "%.4000s/ca", s->dir);
	int wrong = denied_open(&s->denied, ca, s->cred, err, sizeof err);
	s->denied.dir = NULL; /* it is the CA that writes there */
	if (wrong)
		return station_complain("%s", err);
	if (!cred_denied(s->cred))
		return 0;
	return station_complain("the certificate of operator %s is denied", cred_name(s->cred));
}

int station_open(struct station *s, const char *dir, const char *pass)
{
	*s = (struct station){ .master = NULL };
	snprintf(s->dir, sizeof s->dir, "%.4000s", dir);
	crypto_harden();
	if (open_master(s, pass) == 0 && read_operator(s) == 0 && read_denials(s) == 0)
		return 0;
	station_close(s);
	return 1;
}

int station_look(struct station *s, const char *dir)
{
	char path[PATH_MAX];
	*s = (struct station){ .master = NULL };
	snprintf(s->dir, sizeof s->dir, "%.4000s", dir);
	snprintf(path, sizeof path, "%.4000s/master.key", dir);
	if (access(path, F_OK) == 0)
		return 0;
	return station_complain("there is no station in %s: %s", dir, strerror(errno));
}

void station_close(struct station *s)
{
	key_free(s->master);
	denied_close(&s->denied);
	cred_free(s->cred);
	pass_free(s->pass);
	*s = (struct station){ .master = NULL };
}

/* The key lies at the front of b, which is used up. */
static int write_master(const char *dir, const struct pass *pass, uint8_t b[static SEALED_LEN])
{
	static const uint8_t nonce[12];
	uint8_t salt[PASS_SALT];
	char text[300], hex[2][2 * SEALED_LEN + 1];
	struct aead *a = NULL;
	crypto_random(salt, sizeof salt);
	if (pass && (a = master_cipher(pass, salt, PASS_ROUNDS)) == NULL)
		return station_complain("no memory for keys");
	if (a)
		aead_seal(a, nonce, MASTER_LINE, strlen(MASTER_LINE), b, 32, b + 32, 16);
	hex_text(hex[0], salt, sizeof salt);
	hex_text(hex[1], b, pass ? SEALED_LEN : 32);
	int n = pass ? snprintf(text, sizeof text, MASTER_LINE "%u %s %s\n", PASS_ROUNDS, hex[0], hex[1])
	             : snprintf(text, sizeof text, "%s\n", hex[1]);
	int r = io_save(dir, "master.key", text, (size_t)n, 0600);
	aead_free(a);
	crypto_wipe(b, SEALED_LEN);
	crypto_wipe(hex, sizeof hex);
	crypto_wipe(text, sizeof text);
	return r == 0 ? 0 : station_complain("%s/master.key: %s", dir, strerror(errno));
}

/* One that a station init which was broken off has left, or that was made by hand. */
static bool ca_whole(const char *ca)
{
	bool whole = true;
	for (unsigned role = 0; role <= ROLE_LAST; role++)
		whole &= !ca_lacks(ca, role);
	return whole;
}

static int make_all(const char *dir, const char *operator, const struct pass *pass)
{
	char path[PATH_MAX], out[PATH_MAX], err[PATH_MAX + 256];
	struct ca_order o = { .role = ROLE_OPERATOR, .name = operator, .outfile = out, .pass = pass };
	snprintf(path, sizeof path, "%.4000s/ca", dir);
	snprintf(out, sizeof out, "%.4000s/operator.pem", dir);
	if ((!ca_whole(path) && ca_init(path, pass, NULL, err, sizeof err) != 0) ||
	    ca_issue(path, pass, &o, err, sizeof err) != 0)
		return station_complain("%s", err);
	snprintf(path, sizeof path, "%.4000s/machines", dir);
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return station_complain("%s: %s", path, strerror(errno));
	uint8_t b[SEALED_LEN];
	crypto_random(b, 32);
	return write_master(dir, pass, b); /* last: with it the station is there */
}

int station_make(const char *dir, const char *operator, const char *how, bool plain)
{
	char path[PATH_MAX];
	struct pass *pass = NULL;
	snprintf(path, sizeof path, "%.4000s/master.key", dir);
	if (access(path, F_OK) == 0)
		return station_complain("there is a station in %s already: it stays as it is", dir);
	snprintf(path, sizeof path, "%.4000s/machines", dir);
	if (rmdir(path) != 0 && errno == ENOTEMPTY)
		return station_complain("%s has machines, whose keys hang on the %s/master.key that is "
		                        "missing: bring that back", path, dir);
	if (!plain && get_pass("--passphrase", how, "new passphrase for this station", "the same once more",
	                       &pass) != 0)
		return 1;
	crypto_harden();
	int r = mkdir(dir, 0700) != 0 && errno != EEXIST ? station_complain("%s: %s", dir, strerror(errno))
	                                                  : make_all(dir, operator, pass);
	pass_free(pass);
	return r;
}

/* ---- another passphrase ---- */

/* Is FILE, node-NAME.pem, of a machine that is enrolled here? */
static bool of_machine(const char *dir, const char *file)
{
	char path[PATH_MAX];
	int n = (int)strlen(file) - (int)strlen("node-.pem");
	snprintf(path, sizeof path, "%.4000s/machines/%.*s", dir, n > 0 ? n : 0, file + strlen("node-"));
	return n > 0 && strcmp(file + strlen("node-") + n, ".pem") == 0 && access(path, F_OK) == 0;
}

/* Credentials of nodes that the station has issued lie in the CA's folder, under what its
 * own keys are under; what somebody else has issued there is in clear, and stays. */
static int reseal_issued(const char *dir, const struct pass *pass, const struct pass *next)
{
	char folder[PATH_MAX], path[PATH_MAX + 300], err[PATH_MAX + 400];
	struct dirent *e;
	snprintf(folder, sizeof folder, "%.4000s/ca/issued", dir);
	DIR *d = opendir(folder);
	if (!d)
		return errno == ENOENT ? 0 : station_complain("%s: %s", folder, strerror(errno));
	while ((e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, "node-", 5) != 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
		bool clear = !pass && of_machine(dir, e->d_name);
		if (ca_reseal(path, pass, next, clear, (struct said){ err, sizeof err }) != 0)
			station_complain("%s; it is left as it is", err); /* nobody needs it any more */
	}
	closedir(d);
	return 0;
}

static int reseal_all(const char *dir, const struct pass *pass, const struct pass *next)
{
	char ca[PATH_MAX], path[PATH_MAX], err[PATH_MAX + 256];
	snprintf(ca, sizeof ca, "%.4000s/ca", dir);
	snprintf(path, sizeof path, "%.4000s/operator.pem", dir);
	if (ca_passphrase(ca, pass, next, err, sizeof err) != 0 ||
	    ca_reseal(path, pass, next, true, (struct said){ err, sizeof err }) != 0)
		return station_complain("%s", err);
	return reseal_issued(dir, pass, next);
}

static int change_passphrase(const char *dir, const char *how, const char *next, bool plain)
{
	uint8_t b[SEALED_LEN];
	struct pass *old = NULL, *new = NULL;
	/* the master key last: while it is under the old one, all this can be done once more */
	int wrong = read_master(dir, how, &old, b) ||
	            (!plain && get_pass("--new-passphrase", next, "new passphrase for this station",
	                                "the same once more", &new)) ||
	            reseal_all(dir, old, new) || write_master(dir, new, b);
	crypto_wipe(b, sizeof b);
	pass_free(old);
	pass_free(new);
	return wrong;
}

/* Two at a time would leave keys under one passphrase and keys under the other. */
int station_passphrase(const char *dir, const char *how, const char *next, bool plain)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), wrong;
	crypto_harden();
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		wrong = change_passphrase(dir, how, next, plain);
	else if (errno == EWOULDBLOCK)
		wrong = station_complain("%s: another command is changing its passphrase", dir);
	else
		wrong = station_complain("%s: %s", dir, strerror(errno));
	if (fd >= 0)
		close(fd);
	return wrong;
}

int station_audit(const struct station *s, const char *verb, const char *machine, const char *outcome,
                  const char *details)
{
	char path[PATH_MAX], line[4096], stamp[32];
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &tm);
	int n = snprintf(line, sizeof line - 1, "%s operator=%s %s machine=%s %s%s%s", stamp,
	                 cred_name(s->cred), verb, machine, outcome, *details ? ": " : "", details);
	if (n > (int)sizeof line - 2)
		n = (int)sizeof line - 2;
	for (char *p = line; *p; p++)
		if (*p == '\n')
			*p = ';';
	line[n++] = '\n';
	snprintf(path, sizeof path, "%.4000s/audit.log", s->dir);
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	bool good = fd >= 0 && io_write_all(fd, line, (size_t)n) == 0 && fdatasync(fd) == 0;
	int e = errno;
	if (fd >= 0)
		close(fd);
	return good ? 0 : station_complain("%s: %s", path, strerror(e));
}

/* ---- records ---- */

static void folder_of(const struct station *s, const char *name, char out[static PATH_MAX])
{
	snprintf(out, PATH_MAX, "%.4000s/machines/%.63s", s->dir, name);
}

static int read_file(const struct station *s, const struct machine_record *m, const char *file,
                     struct buf *out)
{
	char path[PATH_MAX + 32];
	folder_of(s, m->name, path);
	size_t n = strlen(path);
	snprintf(path + n, sizeof path - n, "/%s", file);
	return read_whole(path, out, BUNDLE_MAX);
}

/* A text file with a NUL behind it; NULL: it isn't there. */
static const char *read_text(const struct station *s, const struct machine_record *m, const char *file,
                             struct buf *b)
{
	if (read_file(s, m, file, b) != 0)
		return NULL;
	buf_put(b, "", 1);
	return b->bad ? NULL : (char *)b->p;
}

static bool read_hex(const struct station *s, const struct machine_record *m, const char *file, uint8_t *out,
                     size_t n, struct buf *b)
{
	const char *text = read_text(s, m, file, b);
	return text && hex_read(out, text, n);
}

static void read_tickets(const struct station *s, struct machine_record *m, struct buf *b)
{
	const char *text = read_text(s, m, "ticket", b);
	for (m->tickets = 0; text && m->tickets < 2 && hex_read(m->ticket[m->tickets], text, GATE_TICKET);) {
		m->tickets++;
		text += 2 * GATE_TICKET;
		text += *text == '\n';
	}
}

static int load(const struct station *s, const char *name, struct machine_record *m)
{
	struct buf b = { 0 };
	const char *text;
	memset(m, 0, sizeof *m);
	snprintf(m->name, sizeof m->name, "%s", name);
	bool good = read_hex(s, m, "pub", m->pub, SIGN_PUB, &b) &&
	            read_hex(s, m, "salt", m->salt, GATE_SALT, &b) &&
	            read_hex(s, m, "epoch", m->epoch, GATE_EPOCH, &b) &&
	            (text = read_text(s, m, "host", &b)) != NULL;
	if (good) {
		snprintf(m->host, sizeof m->host, "%.*s", (int)strcspn(text, "\n"), text);
		machine_id(m->pub, m->id);
		read_tickets(s, m, &b);
		if ((text = read_text(s, m, "boots", &b)) != NULL)
			m->boots = strtoull(text, NULL, 10);
		if ((text = read_text(s, m, "minimum", &b)) != NULL) {
			char *end;
			m->seq = strtoull(text, &end, 10);
			if (*end != ' ' || !hex_read(m->chain, end + 1, sizeof m->chain))
				m->seq = 0;
		}
		good = read_file(s, m, "inventory", &m->inventory) == 0 &&
		       read_file(s, m, "bundle", &m->bundle) == 0 && read_file(s, m, "conf", &m->conf) == 0;
	}
	buf_free(&b);
	if (good)
		return 0;
	record_close(m);
	return station_complain("%s/machines/%s: it is not complete", s->dir, name);
}

bool record_there(const struct station *s, const char *name)
{
	char path[PATH_MAX];
	folder_of(s, name, path);
	return access(path, F_OK) == 0;
}

static bool is_name(const char *name) { return cert_name_ok(name, strlen(name)) && name[0] != '.'; }

static int is_machine(const struct dirent *e) { return is_name(e->d_name); }

/* Their names in order; how many, or -1. */
static int names(const struct station *s, struct dirent ***list)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%.4000s/machines", s->dir);
	int n = scandir(path, list, is_machine, alphasort);
	return n < 0 ? -station_complain("%s: %s", path, strerror(errno)) : n;
}

int record_each(const struct station *s, void (*found)(const struct machine_record *m, void *owner),
                void *owner)
{
	struct dirent **list;
	struct machine_record m;
	int n = names(s, &list), wrong = n < 0;
	for (int i = 0; i < n; i++) {
		if (load(s, list[i]->d_name, &m) == 0) {
			found(&m, owner);
			record_close(&m);
		} else {
			wrong = 1;
		}
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return wrong;
}

/* Who was last reached there?  False: nobody. */
static bool name_of_host(const struct station *s, const char *what, char out[static 64])
{
	char host[256], port[8], want[300];
	struct machine_record m = { .seq = 0 };
	struct dirent **list;
	struct buf b = { 0 };
	bool found = false;
	if (!host_split(what, host, port))
		return false;
	snprintf(want, sizeof want, "%s@%s\n", host, port);
	int n = names(s, &list);
	for (int i = 0; i < n; i++) {
		snprintf(m.name, sizeof m.name, "%.63s", list[i]->d_name);
		const char *text = found ? NULL : read_text(s, &m, "host", &b);
		if (text && strcmp(text, want) == 0) {
			snprintf(out, 64, "%s", m.name);
			found = true;
		}
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	buf_free(&b);
	return found;
}

static int find(const struct station *s, const char *what, char name[static 64])
{
	if (is_name(what) && record_there(s, what))
		return snprintf(name, 64, "%s", what) < 0;
	if (name_of_host(s, what, name))
		return 0;
	return station_complain("%s: no machine of this name or address is enrolled (encdns-hub station "
	                        "list tells which are)", what);
}

int record_open(const struct station *s, const char *what, struct machine_record *m)
{
	char name[64];
	return find(s, what, name) || load(s, name, m);
}

/* A descriptor of its folder, or -1 and it is said why not. */
static int lock_record(const struct station *s, const char *name)
{
	char path[PATH_MAX];
	folder_of(s, name, path);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	station_complain("%s: %s", path,
	                 errno == EWOULDBLOCK ? "another command is at work with this machine"
	                                      : strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

int record_open_alone(const struct station *s, const char *what, struct machine_record *m)
{
	char name[64];
	int fd = find(s, what, name) == 0 ? lock_record(s, name) : -1;
	if (fd < 0)
		return 1;
	if (load(s, name, m) == 0) {
		m->lock = fd;
		return 0;
	}
	close(fd);
	return 1;
}

void record_close(struct machine_record *m)
{
	if (m->lock > 0)
		close(m->lock);
	buf_free(&m->inventory);
	buf_free(&m->bundle);
	buf_free(&m->conf);
	crypto_wipe(m, sizeof *m);
}

int record_put(const struct station *s, const struct machine_record *m, const char *file, const void *p,
               size_t n)
{
	char path[PATH_MAX];
	folder_of(s, m->name, path);
	if (io_save(path, file, p, n, 0600) == 0)
		return 0;
	return station_complain("%s/%s: %s", path, file, strerror(errno));
}

static int put_hex(const struct station *s, const struct machine_record *m, const char *file,
                   const uint8_t *p, size_t n)
{
	char text[2 * SIGN_PUB + 2];
	hex_text(text, p, n);
	text[2 * n] = '\n';
	return record_put(s, m, file, text, 2 * n + 1);
}

int record_put_ticket(const struct station *s, const struct machine_record *m,
                      const uint8_t (*ticket)[GATE_TICKET], unsigned n)
{
	char text[2 * (2 * GATE_TICKET + 1) + 1];
	for (unsigned i = 0; i < n; i++) {
		hex_text(text + i * (2 * GATE_TICKET + 1), ticket[i], GATE_TICKET);
		text[(i + 1) * (2 * GATE_TICKET + 1) - 1] = '\n';
	}
	return record_put(s, m, "ticket", text, n * (2 * GATE_TICKET + 1));
}

/* What is synced in a folder is lost when the folder itself is. */
static int make_folder(const struct station *s, const char *name)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%.4000s/machines", s->dir);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && (mkdirat(fd, name, 0700) == 0 || errno == EEXIST) && io_sync_dir(fd) == 0;
	int e = errno;
	if (fd >= 0)
		close(fd);
	return good ? 0 : station_complain("%s/%s: %s", path, name, strerror(e));
}

int record_make(const struct station *s, struct machine_record *m)
{
	char path[PATH_MAX], minimum[PATH_MAX + 16], host[304];
	folder_of(s, m->name, path);
	if (make_folder(s, m->name) != 0)
		return 1;
	static const uint8_t none[1][GATE_TICKET];
	if ((m->lock = lock_record(s, m->name)) < 0)
		return 1;
	snprintf(minimum, sizeof minimum, "%s/minimum", path);
	if (unlink(minimum) != 0 && errno != ENOENT) /* that of the machine before it */
		return station_complain("%s: %s", minimum, strerror(errno));
	int n = snprintf(host, sizeof host, "%s\n", m->host);
	return record_put_ticket(s, m, none, 1) || record_put(s, m, "boots", "0\n", 2) ||
	       record_put(s, m, "conf", m->conf.p, m->conf.n) ||
	       record_put(s, m, "bundle", m->bundle.p, m->bundle.n) ||
	       record_put(s, m, "inventory", m->inventory.p, m->inventory.n) ||
	       put_hex(s, m, "salt", m->salt, GATE_SALT) || put_hex(s, m, "epoch", m->epoch, GATE_EPOCH) ||
	       put_hex(s, m, "pub", m->pub, SIGN_PUB) || record_put(s, m, "host", host, (size_t)n);
}
