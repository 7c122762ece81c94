/* machine.c - a machine's folder.  Contract in machine.h.
 * Threat: whoever has the disk, or can write to it: nothing here is a secret of
 * others, and whatever is believed beyond this machine is signed or sealed. */
#include "main/machine.h"

#include "base/io.h"
#include "base/wire.h"
#include "main/inventory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int take_foreign(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	bool *refill = at;
	*refill = strcmp(v, "refill") == 0;
	if (*refill || strcmp(v, "refuse") == 0)
		return 0;
	snprintf(err, n, "%s wants refuse or refill, not \"%.80s\"", k->key, v);
	return -1;
}

const struct conf_key boot_keys[] = {
	{ "unlock", conf_addr, offsetof(struct boot_conf, unlock), "", "ADDRESS@PORT",
	  "Where operators reach this machine (TCP; port 22 by custom).", 0, BOOT_ADDRS, true },
	{ "contact", conf_text, offsetof(struct boot_conf, contact), "", "TEXT",
	  "Whom to call: shown on the console below the clock.", 0, 200, false },
	{ "tamper-reboot", conf_yes, offsetof(struct boot_conf, tamper_reboot), "no", "yes|no",
	  "Start anew when something that is no operator's program speaks to the port before it is unlocked.",
	  0, 0, false },
	{ "store-foreign", take_foreign, offsetof(struct boot_conf, refill), "refuse", "refuse|refill",
	  "What becomes of a store that another key or machine has made.", 0, 0, false },
};
const size_t boot_nkeys = sizeof boot_keys / sizeof *boot_keys;

/* ---- files ---- */

static int write_file(const struct machine *m, const char *name, const void *p, size_t n)
{
	return io_save_at(m->dir, name, p, n, 0600);
}

int machine_write_hex(const struct machine *m, const char *name, const uint8_t v[static 32])
{
	char text[66];
	hex_text(text, v, 32);
	text[64] = '\n';
	return write_file(m, name, text, 65);
}

static ssize_t read_small(const struct machine *m, const char *name, char *text, size_t n)
{
	int fd = openat(m->dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, n - 1);
	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = 0;
	return got;
}

bool machine_read_hex(const struct machine *m, const char *name, uint8_t v[static 32])
{
	char text[80];
	uint8_t out[32];
	if (read_small(m, name, text, sizeof text) < 64 || (text[64] != 0 && text[64] != '\n') ||
	    !hex_read(out, text, sizeof out))
		return false;
	memcpy(v, out, sizeof out);
	return true;
}

const uint8_t *machine_map(const struct machine *m, const char *name, size_t *n)
{
	struct stat st;
	int fd = openat(m->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	void *p = MAP_FAILED;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0) {
		errno = EFBIG;
		if (S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= BUNDLE_MAX)
			p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	}
	int e = errno;
	close(fd);
	errno = e;
	if (p == MAP_FAILED)
		return NULL;
	*n = (size_t)st.st_size;
	return p;
}

void machine_unmap(const uint8_t *p, size_t n)
{
	if (p)
		munmap((void *)(uintptr_t)p, n);
}

int machine_take_bundle(const struct machine *m)
{
	return renameat(m->dir, "bundle.new", m->dir, "bundle") == 0 ? io_sync_dir(m->dir) : -1;
}

/* ---- opening ---- */

static int fail(const struct machine *m, const char *what, const char *why)
{
	fprintf(stderr, "encdns: %s/%s: %s\n", m->path, what, why);
	return 1;
}

static int read_boot(struct machine *m)
{
	char path[4200];
	snprintf(path, sizeof path, "%.4000s/boot", m->path);
	if (access(path, F_OK) != 0)
		return fail(m, "boot",
		            "it is missing; a line \"unlock ADDRESS@PORT\" is wanted in it, or start with "
		            "--conf and --key");
	int wrong = conf_read(path, boot_keys, boot_nkeys, &m->boot, &conf_say_stderr);
	if (wrong == 0 && m->boot.unlock.n == 0)
		return fail(m, "boot", "at least one line \"unlock ADDRESS@PORT\" is wanted");
	return wrong != 0;
}

/* A salt that is there is never written over: the keys of the store hang on it. */
static int get_salt(struct machine *m)
{
	if (machine_read_hex(m, "salt", m->salt))
		return 0;
	if (faccessat(m->dir, "salt", F_OK, 0) == 0)
		return fail(m, "salt",
		            "it is damaged: bring back the right one, or remove it and enrol the "
		            "machine again");
	crypto_random(m->salt, sizeof m->salt);
	return machine_write_hex(m, "salt", m->salt) == 0 ? 0 : fail(m, "salt", strerror(errno));
}

/* How often it was started; start: once more now. */
static int count_starts(struct machine *m, bool start)
{
	char text[32];
	if (read_small(m, "boots", text, sizeof text) > 0)
		m->boots = strtoull(text, NULL, 10);
	if (!start)
		return 0;
	int n = snprintf(text, sizeof text, "%llu\n", (unsigned long long)++m->boots);
	return write_file(m, "boots", text, (size_t)n) == 0 ? 0 : fail(m, "boots", strerror(errno));
}

int machine_reopen(struct machine *m)
{
	char err[300];
	m->cred = identity_read(m->dir, err, sizeof err);
	if (!m->cred) {
		fprintf(stderr, "encdns: %s: %s\n", m->path, err);
		return 1;
	}
	if (denied_open(&m->denied, m->path, m->cred, err, sizeof err) != 0)
		fprintf(stderr, "encdns: %s: who is denied is not known until the hub says so\n", err);
	return 0;
}

void machine_look(struct machine *m)
{
	m->inventory = malloc(INVENTORY_MAX);
	m->inventory_len = m->inventory ? inventory_collect("", m->image, m->inventory) : 0;
}

int machine_open(struct machine *m, const char *dir, bool start)
{
	char err[300];
	uint8_t pub[SIGN_PUB];
	m->path = dir;
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return fail(m, "", strerror(errno));
	m->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->dir < 0)
		return fail(m, "", strerror(errno));
	if (read_boot(m) != 0)
		return 1;
	if (identity_make(m->dir, err, sizeof err) < 0) {
		fprintf(stderr, "encdns: %s: %s\n", dir, err);
		return 1;
	}
	if (get_salt(m) != 0 || machine_reopen(m) != 0)
		return 1;
	signer_pub(cred_signer(m->cred), pub);
	machine_id(pub, m->id);
	return count_starts(m, start);
}
