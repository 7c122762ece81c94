/* test_readers.c - readers beside a writer: through its death and its
 * successors, and in threads for a race detector (make tsan).
 *
 * What group `seq` changes is a function of seq alone, so a reader knows what
 * each view must show, whoever wrote it.
 * test_readers [--long]   SECONDS=N overrides how long each part runs */
#include "store/writer.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMES   3000u
#define GROUP   24u
#define SEQS    12000u
#define WORKERS 3u
#define RESERVE (1ull << 30)
#define LOADS   20u   /* every so many groups a zone is loaded anew, */
#define LOADED  6000u /* with so many names: more than the log's buffer holds */

struct shared {
	struct store_beat beat[WORKERS];
	_Atomic uint64_t looks, views, wrong, damaged, newest;
	_Atomic uint64_t roots_used;    /* how many roots the readers have taken so far */
	_Atomic uint64_t acknowledged;  /* sequence */
	_Atomic bool stop;
};
static struct shared *sh;
static const struct store_zone zone = { .inst = 1u << 30 /* none that the store gives out */, .labels = 1 };

/* ---- the model ---- */

static uint64_t mix(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}
static uint32_t touched(uint64_t seq, uint32_t j) { return (uint32_t)(mix(seq * GROUP + j) % NAMES); }
static bool deletes(uint64_t seq, uint32_t name) { return mix(seq << 20 ^ name) % 6 == 0; }

static uint64_t *times[NAMES]; /* sequences that touch a name, rising */
static uint32_t ntimes[NAMES];

static void make_times(void)
{
	for (uint32_t pass = 0; pass < 2; pass++) {
		memset(ntimes, 0, sizeof ntimes);
		for (uint64_t s = 1; s <= SEQS; s++)
			for (uint32_t j = 0; j < GROUP; j++) {
				uint32_t n = touched(s, j);
				if (pass)
					times[n][ntimes[n]] = s;
				ntimes[n]++;
			}
		for (uint32_t n = 0; n < NAMES && !pass; n++)
			if (!(times[n] = calloc(ntimes[n] + 1, sizeof *times[n])))
				abort();
	}
}

/* The sequence whose version a view shows, 0: none. */
static uint64_t shown(uint32_t name, uint64_t seq)
{
	uint32_t low = 0, high = ntimes[name];
	while (low < high) {
		uint32_t mid = (low + high) / 2;
		if (times[name][mid] <= seq)
			low = mid + 1;
		else
			high = mid;
	}
	return low && !deletes(times[name][low - 1], name) ? times[name][low - 1] : 0;
}

static void owner(uint32_t i, uint8_t out[static NAME_MAX_LEN])
{
	char text[64];
	snprintf(text, sizeof text, "r%u.example.", i);
	name_parse(text, strlen(text), NULL, out);
}

static uint32_t body(uint64_t seq, uint32_t name, uint8_t out[static 512])
{
	uint32_t n = 16 + (uint32_t)(mix(seq ^ name) % 200);
	memset(out, (int)(seq ^ name), n);
	put_u64(out, seq);
	put_u32(out + 8, name);
	return n;
}

/* In bulk, as a new instance that only its catalog entry shows. */
static int load(struct store *st, uint64_t seq)
{
	uint8_t o[NAME_MAX_LEN], b[512];
	struct store_zone z = { .inst = store_new_instance(st), .serial = (uint32_t)seq, .labels = 1, .state = ZONE_SERVING,
		                .name = "\6loaded" };
	int r = z.inst ? 0 : -1;
	for (uint32_t n = 0; n < LOADED && r == 0; n++) {
		owner(n, o);
		r = store_put(st, seq, FRAG_NAME, &z, o, 0, 0, b, body(seq, n, b), true);
	}
	return r == 0 ? store_zone_put(st, seq, &z) : -1;
}

static int group(struct store *st, uint64_t seq)
{
	uint8_t o[NAME_MAX_LEN], b[512], meta[STORE_META] = { 0 };
	if (seq % LOADS == 0 && load(st, seq) != 0)
		return -1;
	for (uint32_t j = 0; j < GROUP; j++) {
		uint32_t n = touched(seq, j);
		owner(n, o);
		if (deletes(seq, n) ? store_delete(st, seq, FRAG_NAME, &zone, o)
		                    : store_put(st, seq, FRAG_NAME, &zone, o, NODE_NSEC, 0, b, body(seq, n, b), false))
			return -1;
	}
	return store_commit(st, seq, meta);
}

/* ---- readers ---- */

static bool look(const struct store_map *m, uint32_t name, uint64_t seq, struct scratch *s)
{
	uint8_t o[NAME_MAX_LEN], b[512], key[NAME_KEY_MAX], got[TREE_KEY_MAX];
	struct frag f;
	size_t gotn;
	bool exact;
	uint64_t want = shown(name, seq);
	owner(name, o);
	s->used = 0;
	enum store_found r = store_get(m, FRAG_NAME, zone.inst, o, seq, s, &f);
	atomic_fetch_add(&sh->damaged, r == STORE_DAMAGED);
	if (want ? r != STORE_FOUND || f.len != body(want, name, b) || memcmp(b, f.body, f.len) != 0 : r != STORE_ABSENT)
		return false;
	if (name % 16 || seq == 0)
		return true;
	size_t n = zone_key(o, zone.labels, key);
	r = tree_find(m, zone.inst, CHAIN_NSEC, seq, key, n, s, got, &gotn, &exact);
	return r == STORE_FOUND && exact == (want != 0);
}

static bool look_loaded(const struct store_map *m, uint32_t name, const struct store_view *v, struct scratch *s)
{
	static const uint8_t zone_name[] = "\6loaded";
	uint8_t o[NAME_MAX_LEN], b[512];
	struct store_zone z;
	struct frag f;
	uint64_t seq = v->visible / LOADS * LOADS;
	owner(name, o);
	s->used = 0;
	enum store_found r = store_zone_find(m, v, zone_name, 1, false, s, &z);
	if (seq == 0 || r != STORE_FOUND)
		return seq == 0 && r == STORE_ABSENT;
	r = store_get(m, FRAG_NAME, z.inst, o, v->visible, s, &f);
	return r == STORE_FOUND && z.serial == seq && f.len == body(seq, name, b) && memcmp(b, f.body, f.len) == 0;
}

struct worker { struct store_map *m; unsigned number; };

static void *work(void *arg)
{
	struct worker *w = arg;
	struct scratch s;
	struct store_view v;
	uint64_t r = mix(w->number + 99);
	if (scratch_new(&s, 1u << 20) != 0)
		abort();
	while (!atomic_load(&sh->stop)) {
		store_announce(w->m, w->number);
		if (store_map_ready(w->m)) {
			store_view_take(w->m, &v);
			/* some batches last, so that the writer gets far ahead of the view */
			unsigned n = r % 64 == 0 ? 3000 : 40;
			for (unsigned i = 0; i < n; i++) {
				r = mix(r + 0x9e3779b97f4a7c15ull);
				if (i % 4 ? !look(w->m, (uint32_t)(r % NAMES), v.visible, &s)
				          : !look_loaded(w->m, (uint32_t)(r % LOADED), &v, &s))
					atomic_fetch_add(&sh->wrong, 1);
			}
			atomic_fetch_add(&sh->looks, n);
			atomic_fetch_add(&sh->views, v.visible > atomic_load(&sh->newest));
			if (v.visible > atomic_load(&sh->newest))
				atomic_store(&sh->newest, v.visible);
		}
		store_idle(w->m, w->number);
		if (r % 7 == 0)
			usleep(200);
	}
	scratch_free(&s);
	return NULL;
}

/* ---- descriptors between processes ---- */

static int fd_send(int to, int fd)
{
	char c = 'r';
	union { char b[CMSG_SPACE(sizeof(int))]; struct cmsghdr h; } u = { { 0 } };
	struct iovec v = { &c, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.b, .msg_controllen = sizeof u.b };
	u.h.cmsg_level = SOL_SOCKET;
	u.h.cmsg_type = SCM_RIGHTS;
	u.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&u.h), &fd, sizeof fd);
	return sendmsg(to, &m, 0) == 1 ? 0 : -1;
}

static int fd_recv(int from, int flags)
{
	char c;
	int fd = -1;
	union { char b[CMSG_SPACE(sizeof(int))]; struct cmsghdr h; } u = { { 0 } };
	struct iovec v = { &c, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.b, .msg_controllen = sizeof u.b };
	if (recvmsg(from, &m, flags) != 1 || m.msg_controllen < CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(&fd, CMSG_DATA(&u.h), sizeof fd);
	return fd;
}

/* ---- a reader process that outlives writers ---- */

/* Each writer connects anew: its own socket, handed to us, then keys and root
 * come there, and it is told when all workers have moved over. */
static void reader_process(const char *path, int control)
{
	char err[256];
	pthread_t t[WORKERS];
	struct worker w[WORKERS];
	int writer;
	if (crypto_init() != 0)
		_exit(3);
	make_times();
	struct store_map *m = store_map_new(open(path, O_RDONLY), RESERVE, err, sizeof err);
	if (!m)
		_exit(4);
	for (unsigned i = 0; i < WORKERS; i++) {
		store_map_worker(m, i, &sh->beat[i]);
		w[i] = (struct worker){ m, i };
		if (pthread_create(&t[i], NULL, work, &w[i]) != 0)
			_exit(5);
	}
	while ((writer = fd_recv(control, 0)) >= 0) {
		if (store_keys_recv(m, writer) == 0) {
			int root = fd_recv(writer, 0);
			if (root >= 0 && store_map_root(m, root, err, sizeof err) == 0) {
				atomic_fetch_add(&sh->roots_used, 1);
				if (write(writer, "k", 1) != 1)
					errno = 0; /* killed meanwhile */
			}
			close(root);
		}
		close(writer);
	}
	atomic_store(&sh->stop, true);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(t[i], NULL);
	_exit(0);
}

static struct store *open_store(const char *path, const int *roots, unsigned nroots, const struct key *k, char *err, size_t n)
{
	static const struct store_beat *beats[WORKERS]; /* the store keeps the address */
	for (unsigned i = 0; i < WORKERS; i++)
		beats[i] = &sh->beat[i];
	struct store_conf c = { .path = path, .fd = -1, .reserve = RESERVE, .old_roots = roots, .nold_roots = nroots,
		                .beats = beats, .nbeats = WORKERS };
	struct store *st = store_open(&c, k, err, n);
	if (st)
		st->tune.late_least = 0;
	return st;
}

static struct key *the_key(void)
{
	static const uint8_t octets[32] = "readers and writers";
	return key_from(octets);
}

/* Ends by being killed. Never less than what was acknowledged. */
static void writer_process(const char *path, int control, int keeper, const int *roots, unsigned nroots)
{
	char err[256], ack;
	int s[2];
	if (crypto_init() != 0)
		_exit(3);
	struct store *st = open_store(path, roots, nroots, the_key(), err, sizeof err);
	if (!st) {
		printf("# %s\n", err);
		fflush(stdout);
		_exit(4);
	}
	if (store_seq(st) < atomic_load(&sh->acknowledged))
		_exit(5);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) != 0 || fd_send(keeper, store_root_fd(st)) != 0 ||
	    fd_send(control, s[1]) != 0 || close(s[1]) != 0 || store_keys_send(st, s[0]) != 0 ||
	    fd_send(s[0], store_root_fd(st)) != 0)
		_exit(6);
	bool told = false;
	for (uint64_t seq = store_seq(st) + 1; seq <= SEQS; seq++) {
		if (!told && recv(s[0], &ack, 1, MSG_DONTWAIT) == 1) {
			store_old_root_done(st);
			told = true;
		}
		if (group(st, seq) != 0)
			_exit(7);
		atomic_store(&sh->acknowledged, seq);
		if ((seq % 40 == 0 && checkpoint_write(st) != 0) || store_tick(st) < 0)
			_exit(8);
		usleep(100);
	}
	for (;;)
		pause();
}

static void sleep_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };
	nanosleep(&t, NULL);
}

#define ROOTS 64
static void test_restarts(const char *dir, unsigned seconds)
{
	char path[128];
	int control[2], keeper[2], roots[ROOTS], status;
	unsigned nroots = 0, lives = 0, bad = 0;
	uint64_t got = 0, r = 1;
	time_t end = time(NULL) + seconds;
	snprintf(path, sizeof path, "%s/store", dir);
	close(open(path, O_CREAT | O_RDWR, 0600));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control) != 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, keeper) != 0)
		abort();
	fflush(stdout);
	pid_t reader = fork();
	if (reader == 0) {
		close(control[1]);
		reader_process(path, control[0]);
	}
	close(control[0]);
	while (time(NULL) < end && !bad) {
		pid_t w = fork();
		if (w == 0)
			writer_process(path, control[1], keeper[1], roots, nroots);
		lives++;
		uint64_t until = atomic_load(&sh->acknowledged) + r % 90;
		if (r % 3 == 0) /* anywhere, mostly while it opens */
			sleep_ms((unsigned)(r / 3 % 40));
		else
			for (unsigned i = 0; i < 3000 && atomic_load(&sh->acknowledged) < until && waitpid(w, &status, WNOHANG) == 0; i++)
				sleep_ms(1);
		r = mix(r + 1);
		kill(w, SIGKILL);
		if (waitpid(w, &status, 0) != w) /* waited for above: it ended by itself */
			bad++;
		bad += !WIFSIGNALED(status);
		if (!WIFSIGNALED(status))
			printf("# a writer ended with %d\n", WEXITSTATUS(status));
		/* roots before the one that readers use are nobody's any more */
		for (int fd; (fd = fd_recv(keeper[0], MSG_DONTWAIT)) >= 0; got++) {
			if (nroots == ROOTS)
				abort();
			roots[nroots++] = fd;
		}
		uint64_t first = got - nroots, used = atomic_load(&sh->roots_used);
		for (; nroots > 1 && first + 1 < used; first++) {
			close(roots[0]);
			memmove(roots, roots + 1, --nroots * sizeof *roots);
		}
	}
	sleep_ms(50);
	close(control[1]);
	waitpid(reader, &status, 0);
	ok(bad == 0 && status == 0, "%u writers killed, each successor opens with what was acknowledged (%llu groups)", lives,
	   (unsigned long long)atomic_load(&sh->acknowledged));
	ok(sh->wrong == 0 && sh->damaged == 0, "%u workers beside them: %llu look-ups, %llu wrong, %llu damaged", WORKERS,
	   (unsigned long long)sh->looks, (unsigned long long)sh->wrong, (unsigned long long)sh->damaged);
	ok(lives > 5 && sh->looks > 1000 && sh->views > 5 && sh->roots_used > 2, "and they saw %llu views under %llu roots",
	   (unsigned long long)sh->views, (unsigned long long)sh->roots_used);
}

/* ---- a batch in whose midst the next writer's root comes ---- */

static int load_group(struct store *st, uint64_t seq)
{
	uint8_t meta[STORE_META] = { 0 };
	return load(st, seq) != 0 || store_commit(st, seq, meta) != 0 ? -1 : 0;
}

/* He can be read from, and has been told to go on. */
static bool is_read(struct store *st, int to)
{
	char word;
	return store_keys_send(st, to) == 0 && fd_send(to, store_root_fd(st)) == 0 && recv(to, &word, 1, 0) == 1;
}

/* Loads a zone, then again, and dies. */
static void first_writer(const char *path, int to, bool checkpoint)
{
	char err[256];
	struct store *st = crypto_init() == 0 ? open_store(path, NULL, 0, the_key(), err, sizeof err) : NULL;
	if (!st || load_group(st, LOADS) != 0 || !is_read(st, to))
		_exit(1);
	_exit(load_group(st, 2 * LOADS) != 0 || (checkpoint && checkpoint_write(st) != 0));
}

/* His successor, with whatever ticks find to sweep. */
static void next_writer(const char *path, int to, int root)
{
	char err[256], word;
	struct store *st = crypto_init() == 0 ? open_store(path, &root, 1, the_key(), err, sizeof err) : NULL;
	if (!st || !is_read(st, to))
		_exit(1);
	for (unsigned i = 0; i < 300; i++) {
		if (store_tick(st) < 0)
			_exit(2);
		sleep_ms(1);
	}
	if (send(to, "d", 1, 0) != 1 || recv(to, &word, 1, 0) != 1)
		_exit(3);
	_exit(store_close(st) != 0);
}

struct mover { struct store_map *m; int root; };

static void *move_over(void *arg)
{
	const struct mover *v = arg;
	char err[256];
	return store_map_root(v->m, v->root, err, sizeof err) == 0 ? arg : NULL;
}

static unsigned wrong_in_batch(const struct store_map *m, const struct store_view *v, struct scratch *s)
{
	unsigned wrong = 0;
	for (uint32_t n = 0; n < LOADED; n++)
		wrong += !look_loaded(m, n, v, s);
	return wrong;
}

/* The batch began under a root whose writer went on, and died; it ends under his
 * successor's, and must see what it saw. */
static void test_batch(const char *dir, bool checkpoint)
{
	char path[128], err[256], word;
	int a[2], b[2], status[2];
	struct scratch s;
	struct store_view v;
	struct mover mover;
	pthread_t t;
	void *moved = NULL;
	memset(sh, 0, sizeof *sh);
	snprintf(path, sizeof path, "%s/batch%d", dir, checkpoint);
	close(open(path, O_CREAT | O_RDWR, 0600));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, a) != 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, b) != 0 ||
	    scratch_new(&s, 1u << 20) != 0)
		abort();
	fflush(stdout);
	pid_t first = fork();
	if (first == 0)
		first_writer(path, a[1], checkpoint);
	close(a[1]); /* nobody waits for who has died */
	struct store_map *m = store_map_new(open(path, O_RDONLY), RESERVE, err, sizeof err);
	store_map_worker(m, 0, &sh->beat[0]);
	int root = store_keys_recv(m, a[0]) == 0 ? fd_recv(a[0], 0) : -1;
	if (!ok(root >= 0 && store_map_root(m, root, err, sizeof err) == 0, "a writer has a reader"))
		return;
	store_announce(m, 0);
	store_view_take(m, &v);
	unsigned before = wrong_in_batch(m, &v, &s);
	if (send(a[0], "g", 1, 0) != 1 || waitpid(first, &status[0], 0) != first)
		abort();
	pid_t next = fork();
	if (next == 0)
		next_writer(path, b[1], root);
	close(b[1]);
	mover = (struct mover){ m, store_keys_recv(m, b[0]) == 0 ? fd_recv(b[0], 0) : -1 };
	if (!ok(mover.root >= 0, "he has a successor"))
		return;
	const struct store_root *old = m->root;
	pthread_create(&t, NULL, move_over, &mover);
	while (atomic_load(&m->root) == old)
		sleep_ms(1);
	if (send(b[0], "g", 1, 0) != 1 || recv(b[0], &word, 1, 0) != 1)
		abort();
	unsigned after = wrong_in_batch(m, &v, &s);
	store_idle(m, 0);
	pthread_join(t, &moved);
	if (send(b[0], "e", 1, 0) != 1 || waitpid(next, &status[1], 0) != next)
		abort();
	ok(status[0] == 0 && status[1] == 0 && moved, "he goes on, and dies; his successor has him too");
	ok(before == 0 && after == 0, "a batch sees what it saw, under one root (%u wrong) and the next (%u of %u)", before, after, LOADED);
	store_map_free(m);
	scratch_free(&s);
}

/* ---- threads over one mapping: what a race detector can see ---- */

static void test_threads(const char *dir, unsigned seconds)
{
	char path[128], err[256];
	pthread_t t[WORKERS];
	struct worker w[WORKERS];
	time_t end = time(NULL) + seconds;
	snprintf(path, sizeof path, "%s/threads", dir);
	memset(sh, 0, sizeof *sh);
	make_times();
	struct key *k = the_key();
	struct store *st = open_store(path, NULL, 0, k, err, sizeof err);
	if (!ok(st != NULL, "a store to read while it is written"))
		return;
	/* the writer's own mapping and root, but a reader's eyes: nothing unwritten */
	struct store_map m = *store_reader(st);
	m.pending_units = 0;
	m.pending_unit = UINT64_MAX;
	atomic_store(&m.keyed, true);
	for (unsigned i = 0; i < WORKERS; i++) {
		store_map_worker(&m, i, &sh->beat[i]);
		w[i] = (struct worker){ &m, i };
		if (pthread_create(&t[i], NULL, work, &w[i]) != 0)
			abort();
	}
	unsigned bad = 0;
	uint64_t seq = 1;
	for (; seq <= SEQS && time(NULL) < end && !bad; seq++) {
		bad += group(st, seq) != 0;
		bad += seq % 40 == 0 && checkpoint_write(st) != 0;
		bad += store_tick(st) < 0;
	}
	sleep_ms(20);
	atomic_store(&sh->stop, true);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(t[i], NULL);
	ok(bad == 0 && sh->wrong == 0 && sh->damaged == 0 && sh->looks > 1000 && sh->views > 5,
	   "%u threads beside the writer: %llu groups, %llu look-ups in %llu views, %llu wrong", WORKERS, (unsigned long long)seq - 1,
	   (unsigned long long)sh->looks, (unsigned long long)sh->views, (unsigned long long)sh->wrong);
	store_close(st);
	key_free(k);
}

int main(int argc, char **argv)
{
	char dir[] = "/dev/shm/readers-test-XXXXXX", cmd[64];
	bool lots = getenv("LONG") || (argc > 1 && strcmp(argv[1], "--long") == 0);
	unsigned seconds = getenv("SECONDS") ? (unsigned)atoi(getenv("SECONDS")) : lots ? 60 : 4;
	sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED || !mkdtemp(dir))
		return 1;
#ifdef __SANITIZE_THREAD__ /* sees threads only, and is slow */
	const bool processes = false;
#else
	const bool processes = true;
#endif
	if (processes)
		test_restarts(dir, seconds);
	if (crypto_init() != 0)
		return 1;
	for (unsigned i = 0; processes && i < 2; i++)
		test_batch(dir, i);
	test_threads(dir, seconds / 2);
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	return system(cmd) != 0 || tap_done();
}
