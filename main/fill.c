/* fill.c - the supervisor's half of repair: a store that can't be mended in its
 * place is filled anew from the hub.
 *
 * Beside the old one when there is room for both: encdns-dns goes on with what it
 * can read of the old file, control fills PATH.new, and when that stands where the
 * old one stood it takes its name, and encdns-dns is started on it.  Without room:
 * encdns-dns is stopped, the old one is dropped, and the same place is filled.
 * Only a store that was opened with our key is ever dropped by itself, and only by
 * damage; another machine's, or one of another history, when an operator says so.
 * Pauses grow, so that a failing disk does not keep hub and disk busy.
 * Threat: the disk; control, who may be taken over: it could as well damage the
 * store itself. */
#include "main/node.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define PAUSE_MIN_NS 10000000000ull
#define PAUSE_MAX_NS 3600000000000ull
#define HEAD_LEN_MAX 16384 /* superblocks and marks: zeros there make a partition new */

static void new_path(const struct node *n, char out[static PATH_MAX + 8])
{
	snprintf(out, PATH_MAX + 8, "%s.new", n->conf.store);
}

/* Room for as much again as the old one takes up? */
static bool room_beside(const struct node *n)
{
	struct stat st;
	struct statvfs fs;
	if (fstat(n->store_ro, &st) != 0 || !S_ISREG(st.st_mode) || fstatvfs(n->store_ro, &fs) != 0)
		return false;
	return (uint64_t)fs.f_bavail * fs.f_frsize > (uint64_t)st.st_blocks * 512;
}

static bool begin_beside(struct fill *f, struct node *n)
{
	char path[PATH_MAX + 8];
	new_path(n, path);
	if (!room_beside(n))
		return false;
	unlink(path); /* what an earlier try has left */
	int rw = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	int ro = rw >= 0 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (ro < 0) {
		log_say(LOG_ERROR, "%s: %s", path, strerror(errno));
		if (rw >= 0)
			close(rw);
		return false;
	}
	close(n->store_rw);
	n->store_rw = rw;
	f->ro = ro;
	f->beside = true;
	log_say(LOG_ERROR,
	        "ALARM: %s is damaged, and not one zone alone: filling a new store beside it from the hub; "
	        "what can be read of the old one is served meanwhile",
	        n->conf.store);
	return true;
}

/* The readers have gone. */
static bool drop(struct node *n)
{
	static const uint8_t zeros[HEAD_LEN_MAX];
	struct stat st;
	if (fstat(n->store_rw, &st) != 0)
		return false;
	if (S_ISBLK(st.st_mode))
		return pwrite(n->store_rw, zeros, sizeof zeros, 0) == (ssize_t)sizeof zeros &&
		       fdatasync(n->store_rw) == 0;
	return ftruncate(n->store_rw, 0) == 0;
}

bool fill_begin(struct fill *f, struct node *n, uint64_t now)
{
	if (n->ad_hoc || now < f->next_ns)
		return false;
	if (!f->pause_ns || now - f->next_ns > PAUSE_MAX_NS)
		f->pause_ns = PAUSE_MIN_NS;
	f->next_ns = now + f->pause_ns;
	f->pause_ns = f->pause_ns * 2 < PAUSE_MAX_NS ? f->pause_ns * 2 : PAUSE_MAX_NS;
	n->damaged = 0;
	n->filling = true;
	f->root = -1;
	f->beside = f->dropped = false;
	if (!begin_beside(f, n))
		fill_full(f, n);
	return true;
}

void fill_full(struct fill *f, struct node *n)
{
	char path[PATH_MAX + 8];
	if (f->beside) {
		new_path(n, path);
		unlink(path);
		close(n->store_rw);
		close(f->ro);
		n->store_rw = open(n->conf.store, O_RDWR | O_CLOEXEC);
		f->beside = false;
	}
	f->dropped = true;
	log_say(LOG_ERROR,
	        "ALARM: %s is damaged, and there is no room for a new store beside it: it is dropped and "
	        "filled again from the hub; nothing is answered meanwhile",
	        n->conf.store);
}

void fill_strange(struct fill *f, struct node *n)
{
	f->root = -1;
	f->beside = false;
	f->dropped = true;
	n->filling = true;
	n->damaged = 0;
	n->seq = 0;
	log_say(LOG_ERROR, "%s is dropped and filled again from the hub; nothing is answered meanwhile",
	        n->conf.store);
}

bool fill_drop(struct fill *f, struct node *n)
{
	if (!f->dropped)
		return true;
	f->dropped = false;
	if (drop(n))
		return true;
	log_say(LOG_ERROR, "%s can't be dropped: %s", n->conf.store, strerror(errno));
	return false;
}

bool fill_done(struct fill *f, struct node *n)
{
	char path[PATH_MAX + 8], dir[PATH_MAX];
	n->filling = false;
	if (!f->beside)
		return false;
	new_path(n, path);
	if (rename(path, n->conf.store) != 0)
		log_say(LOG_ERROR, "%s can't take the place of %s: %s; it is used until the node stops", path,
		        n->conf.store, strerror(errno));
	snprintf(dir, sizeof dir, "%s", n->conf.store);
	int d = open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d >= 0) {
		fsync(d); /* should it be lost: the damaged one is there again, and replaced again */
		close(d);
	}
	close(n->store_ro);
	n->store_ro = f->ro;
	f->beside = false;
	return true;
}
