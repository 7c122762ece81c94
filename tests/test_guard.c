/* test_guard.c - a store's file that is cut short under the
 * readers' and the writer's mapping: damage, never a crash and never "absent"; a
 * SIGBUS anywhere else stays fatal. */
#include "store/writer.h"
#include "tests/records.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMES 3000

static struct key *k;
static char dir[64], err[256];
static const struct store_zone zone = { .inst = 7, .labels = 1 };

static const char *at(const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static int put(struct store *st, uint64_t seq, unsigned i)
{
	uint8_t o[NAME_MAX_LEN], b[64];
	numbered_name(i, o);
	return store_put(st, seq, FRAG_NAME, &zone, o, 0, 0, b, address_body(i, b, sizeof b), false);
}

static struct store *open_at(const char *path)
{
	struct store_conf c = { .path = path, .fd = -1, .reserve = 1ull << 30 };
	return store_open(&c, k, err, sizeof err);
}

static struct store *make(const char *path)
{
	uint8_t meta[STORE_META] = { 0 };
	struct store *st = open_at(path);
	for (unsigned i = 0; st && i < NAMES; i++)
		if (put(st, 1, i) != 0)
			return NULL;
	return st && store_commit(st, 1, meta) == 0 ? st : NULL;
}

static enum store_found look(const struct store_map *m, unsigned i, struct scratch *s)
{
	uint8_t o[NAME_MAX_LEN];
	struct frag f;
	struct store_guard g;
	enum store_found r;
	numbered_name(i, o);
	s->used = 0;
	store_guard_enter(m, &g);
	if (sigsetjmp(g.to, 0) == 0)
		r = store_get(m, FRAG_NAME, zone.inst, o, 1, s, &f);
	else
		r = STORE_DAMAGED;
	store_guard_leave(&g);
	return r;
}

struct looks { const struct store_map *m; unsigned found, absent, damaged; };

static void *look_all(void *p)
{
	struct looks *l = p;
	struct scratch s;
	scratch_new(&s, 1 << 20);
	for (unsigned i = 0; i < NAMES; i++) {
		enum store_found r = look(l->m, i, &s);
		l->found += r == STORE_FOUND;
		l->absent += r == STORE_ABSENT;
		l->damaged += r == STORE_DAMAGED;
	}
	scratch_free(&s);
	return NULL;
}

static void test_cut(void)
{
	struct store *st = make(at("cut"));
	struct looks l[4] = { { 0 } };
	struct store_stats stats;
	pthread_t t[4];
	struct stat sb;
	ok(st != NULL, "a store");
	stat(at("cut"), &sb);
	for (unsigned i = 0; i < 4; i++)
		l[i].m = store_reader(st);
	look_all(&l[0]);
	ok(l[0].found == NAMES, "all is found");
	/* behind block 0: the index, the log and the table lie there */
	ok(truncate(at("cut"), BLOCK) == 0, "cut short under the mapping");
	memset(l, 0, sizeof l);
	for (unsigned i = 0; i < 4; i++) {
		l[i].m = store_reader(st);
		pthread_create(&t[i], NULL, look_all, &l[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	unsigned damaged = 0, absent = 0;
	for (unsigned i = 0; i < 4; i++)
		damaged += l[i].damaged, absent += l[i].absent;
	ok(damaged == 4 * NAMES && absent == 0, "four threads: damage at every name, none is absent (%u damaged, %u absent)", damaged, absent);
	store_stats_get(st, &stats);
	ok(stats.damaged == 4 * NAMES, "each is counted");
	struct store_zone z;
	uint8_t name[NAME_MAX_LEN];
	numbered_name(1, name);
	ok(store_zone_get(st, name, &z) == STORE_DAMAGED, "the writer's own look-up too");
	ok(put(st, 2, 5) == -1 && errno == EBADMSG && store_failed(st), "a change is refused: %s", strerror(errno));
	store_close(st);
}

/* Runs in a child; its wait status. */
static int child(void (*f)(void))
{
	int status = -1;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		unlink(at("other"));
		/* keys don't come along */
		if (crypto_init() == 0 && (k = key_random()) != NULL && freopen("/dev/null", "w", stderr))
			f();
		_exit(99);
	}
	waitpid(pid, &status, 0);
	return status;
}

static void other_memory(void)
{
	struct store *st = make(at("other"));
	int fd = open(at("else"), O_RDWR | O_CREAT, 0600);
	const volatile char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	struct store_guard g;
	store_guard_enter(store_reader(st), &g);
	if (sigsetjmp(g.to, 0) == 0)
		_exit(p[0]); /* an empty file */
	_exit(98);
}

static void unguarded(void)
{
	struct store *st = make(at("other"));
	struct scratch s;
	uint8_t o[NAME_MAX_LEN];
	struct frag f;
	scratch_new(&s, 1 << 20);
	/* as a process that only reads */
	int fd = open(at("other"), O_RDONLY);
	struct store_map *m = store_map_new(fd, 1ull << 30, err, sizeof err);
	store_map_root(m, store_root_fd(st), err, sizeof err);
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) || store_keys_send(st, pair[0]) || store_keys_recv(m, pair[1]) || truncate(at("other"), 0))
		_exit(97);
	numbered_name(1, o);
	_exit((int)store_get(m, FRAG_NAME, zone.inst, o, 1, &s, &f));
}

static void killed(void)
{
	struct store *st = make(at("other"));
	struct store_guard g;
	store_guard_enter(store_reader(st), &g);
	if (sigsetjmp(g.to, 0) == 0)
		raise(SIGBUS);
	_exit(98);
}

static void half_way(void)
{
	struct store *st = make(at("other"));
	const uint64_t hash[2] = { 0x123456789abcdef, 1 };
	if (truncate(at("other"), BLOCK) != 0)
		_exit(97);
	segment_set(st, hash, 1, 0);
	_exit(96);
}

/* Writing behind the new end would make the lost part come back as zeros, which
 * an index takes for "no such name". */
static void test_holes(void)
{
	uint8_t meta[STORE_META] = { 0 };
	struct stat sb;
	struct store *st = make(at("holes"));
	for (unsigned i = 0; i < NAMES; i++)
		put(st, 2, NAMES + i);
	truncate(at("holes"), BLOCK);
	ok(store_commit(st, 2, meta) == -1 && store_failed(st), "no commit into a file cut short: %s", strerror(errno));
	stat(at("holes"), &sb);
	ok(sb.st_size == BLOCK, "and it did not grow: %lld", (long long)sb.st_size);
	store_close(st);
	st = make(at("holes2"));
	truncate(at("holes2"), BLOCK);
	ok(store_close(st) == -1, "no checkpoint either");
	stat(at("holes2"), &sb);
	ok(sb.st_size == BLOCK, "it did not grow: %lld", (long long)sb.st_size);
}

static void test_fatal(void)
{
	int s = child(other_memory);
	ok(WIFSIGNALED(s) && WTERMSIG(s) == SIGBUS, "SIGBUS in other memory is fatal, guard or not");
	s = child(unguarded);
	ok(WIFSIGNALED(s) && WTERMSIG(s) == SIGBUS, "so it is without a guard");
	s = child(killed);
	ok(WIFSIGNALED(s) && WTERMSIG(s) == SIGBUS, "so is a SIGBUS that somebody sends");
	s = child(half_way);
	ok(WIFEXITED(s) && WEXITSTATUS(s) == STORE_EXIT_DAMAGED, "in the midst of a change the writer ends with its status (%x)", (unsigned)s);
}

int main(void)
{
	if (crypto_init() != 0)
		return 1;
	k = key_random();
	snprintf(dir, sizeof dir, "/tmp/encdns-guard-XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	test_cut();
	test_fatal();
	test_holes();
	static const char *const files[] = { "cut", "other", "else", "holes", "holes2" };
	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		unlink(at(files[i]));
	rmdir(dir);
	return tap_done();
}
