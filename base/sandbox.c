/* sandbox.c - capabilities, Landlock and the system call filters.
 *
 * Each process keeps what its work needs and gives up all else, in this order:
 * no rights by exec (the others need it), capabilities, the end with the
 * parent, files (Landlock), system calls (seccomp, for all threads at once).
 * Children inherit the supervisor's filter and put their own above it, so its
 * list has all of theirs.
 *
 * Threat: a process that was taken over.  It has what its list names, with the
 * descriptors it holds: encdns-dns can't open, connect, start or map as code
 * anything; encdns-route has sockets and no files; nobody starts a program or
 * reads another process; who waits at port 22 calls nobody, and writes nothing
 * but DIR. */
#include "base/sandbox.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* their runtimes do what no list of ours has */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* ---- the lists ---- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__i386__)
#define ARCH AUDIT_ARCH_I386
#elif defined(__aarch64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCH AUDIT_ARCH_AARCH64
#elif defined(__arm__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCH AUDIT_ARCH_ARM
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH AUDIT_ARCH_RISCV64
#elif defined(__riscv)
#define ARCH AUDIT_ARCH_RISCV32
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCH AUDIT_ARCH_PPC64LE
#elif defined(__powerpc64__)
#define ARCH AUDIT_ARCH_PPC64
#elif defined(__s390x__)
#define ARCH AUDIT_ARCH_S390X
#elif defined(__loongarch64)
#define ARCH AUDIT_ARCH_LOONGARCH64
#elif defined(__mips64) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ARCH AUDIT_ARCH_MIPSEL64
#elif defined(__mips64)
#define ARCH AUDIT_ARCH_MIPS64
#endif

#ifdef __s390x__
#define CLONE_FLAGS 1 /* clone()'s argument */
#else
#define CLONE_FLAGS 0
#endif

#include "base/syscalls.h" /* ABSENT for those that this machine hasn't */

/* Who may: control, dns and route descend from the supervisor; who waits at port 22
 * does so before that has its own list. */
enum { S = 1, C = S | 2, D = S | 4, R = S | 8, H = 16, U = 32, FILES = C | H | U, ALL = C | D | R | H | U };
static const uint8_t own[] = { [SANDBOX_SUPER] = S, [SANDBOX_CONTROL] = 2, [SANDBOX_DNS] = 4,
	                       [SANDBOX_ROUTE] = 8, [SANDBOX_HUB] = H, [SANDBOX_UNLOCK] = U };

/* Of a call only this: the argument has none of these bits, has that one, or is one
 * of those. */
struct limit {
	uint8_t arg, n;
	bool self;   /* or is the process's own id */
	int fails;   /* or: not allowed, but it fails with this and doesn't end us */
	uint32_t never, always;
	uint32_t one_of[6];
};
static const struct limit no_code = { .arg = 2, .never = PROT_EXEC };
static const struct limit no_namespace = {
	.arg = CLONE_FLAGS,
	.never = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP
};
static const struct limit threads = { .arg = CLONE_FLAGS, .always = CLONE_THREAD };
static const struct limit any_family = { .n = 4, .one_of = { AF_UNIX, AF_INET, AF_INET6, AF_NETLINK } };
static const struct limit local_or_inet = { .n = 3, .one_of = { AF_UNIX, AF_INET, AF_INET6 } };
static const struct limit local_or_netlink = { .n = 2, .one_of = { AF_UNIX, AF_NETLINK } };
static const struct limit looks = {
	.arg = 1, .n = 6,
	.one_of = { TIOCOUTQ, BLKGETSIZE64, BLKROGET, TIOCGWINSZ, SIOCGIFINDEX, SIOCGIFNAME }
};
static const struct limit interfaces = { .arg = 1, .n = 2, .one_of = { SIOCGIFINDEX, SIOCGIFNAME } };
static const struct limit of_connections = { .arg = 2, .n = 2, .one_of = { TCP_NODELAY, SO_LINGER } };
static const struct limit unsent = { .arg = 1, .n = 1, .one_of = { TIOCOUTQ } };
static const struct limit starts_anew = { .arg = 2, .n = 2, .one_of = { RB_AUTOBOOT, RB_POWER_OFF } };
static const struct limit myself = { .self = true };
static const struct limit not_here = { .fails = ENOSYS };

/* fstat() is another call in some C libraries and on 32-bit machines. */
#if defined(__GLIBC__) || __SIZEOF_LONG__ == 4
#define FSTAT ALL
#else
#define FSTAT FILES
#endif

static const struct call { int nr; uint8_t who; const struct limit *limit; } calls[] = {
	/* answering: the most frequent first */
	{ SYS_epoll_pwait, ALL, NULL },          { SYS_epoll_wait, ALL, NULL },
	{ SYS_recvmmsg, D, NULL },               { SYS_recvmmsg_time64, D, NULL },
	{ SYS_sendmmsg, D, NULL },               { SYS_recvfrom, ALL, NULL },
	{ SYS_sendto, ALL, NULL },               { SYS_clock_gettime, ALL, NULL },
	{ SYS_clock_gettime64, ALL, NULL },      { SYS_accept4, ALL, NULL },
	{ SYS_close, ALL, NULL },                { SYS_epoll_ctl, ALL, NULL },
	/* descriptors that are there, the channels between our processes, the log */
	{ SYS_read, ALL, NULL },                 { SYS_write, ALL, NULL },
	{ SYS_readv, ALL, NULL },                { SYS_writev, ALL, NULL },
	{ SYS_recvmsg, ALL, NULL },              { SYS_sendmsg, ALL, NULL },
	{ SYS_poll, ALL, NULL },                 { SYS_ppoll, ALL, NULL },
	{ SYS_ppoll_time64, ALL, NULL },         { SYS_epoll_create1, ALL, NULL },
	{ SYS_signalfd4, ALL, NULL },            { SYS_fcntl, ALL, NULL },
	{ SYS_fcntl64, ALL, NULL },              { SYS_getsockname, ALL, NULL },
	{ SYS_getpeername, ALL, NULL },          { SYS_shutdown, ALL, NULL },
	{ SYS_fstat, ALL, NULL },                { SYS_fstat64, ALL, NULL },
	/* memory, never of code; the pool of keys grows, and locks what it has */
	{ SYS_mmap, ALL, &no_code },             { SYS_mmap2, ALL, &no_code },
	{ SYS_munmap, ALL, NULL },               { SYS_mremap, ALL, NULL },
	{ SYS_madvise, ALL, NULL },              { SYS_brk, ALL, NULL },
	{ SYS_mlock, ALL, NULL },                { SYS_mlock2, ALL, NULL },
	{ SYS_memfd_secret, ALL, NULL },         { SYS_ftruncate, ALL, NULL },
	{ SYS_ftruncate64, ALL, NULL },          { SYS_getrandom, ALL, NULL },
	{ SYS_sysinfo, C | H, NULL },
	/* threads that are there, signals, time, the end */
	{ SYS_futex, ALL, NULL },                { SYS_futex_time64, ALL, NULL },
	{ SYS_mincore, D, NULL },                { SYS_getrusage, D, NULL },
	{ SYS_membarrier, ALL, NULL },           { SYS_sched_yield, ALL, NULL },
	{ SYS_rt_sigaction, ALL, NULL },         { SYS_rt_sigprocmask, ALL, NULL },
	{ SYS_rt_sigreturn, ALL, NULL },         { SYS_sigreturn, ALL, NULL },
	{ SYS_restart_syscall, ALL, NULL },      { SYS_getpid, ALL, NULL },
	{ SYS_gettid, ALL, NULL },               { SYS_gettimeofday, ALL, NULL },
	{ SYS_time, ALL, NULL },                 { SYS_nanosleep, ALL, NULL },
	{ SYS_clock_nanosleep, ALL, NULL },      { SYS_clock_nanosleep_time64, ALL, NULL },
	{ SYS_exit, ALL, NULL },                 { SYS_exit_group, ALL, NULL },
	/* abort(): of the first thread */
	{ SYS_tkill, S | H, NULL },              { SYS_tkill, C | D | R | U, &myself },
	{ SYS_tgkill, S | H, NULL },             { SYS_tgkill, C | D | R | U, &myself },
	/* does a connection still hold unsent answers?  How large is a partition, which
	 * number has the loopback interface? */
	{ SYS_ioctl, FILES, &looks },            { SYS_ioctl, D, &unsent },
	/* names of interfaces, which the C library asks for by a local socket */
	{ SYS_ioctl, 8, &interfaces },
	/* sockets: the hub, neighbours, our own questions, the control socket */
	{ SYS_socket, R, &any_family },          { SYS_socket, C | H, &local_or_inet },
	{ SYS_socket, U, &local_or_netlink },
	{ SYS_connect, C | R | H, NULL },        { SYS_bind, C | R | H | U, NULL },
	{ SYS_listen, FILES, NULL },             { SYS_setsockopt, C | R | H, NULL },
	{ SYS_setsockopt, D | U, &of_connections }, { SYS_getsockopt, C | R | H, NULL },
	/* files: the store, the journal, what is beside them */
	{ SYS_open, FILES, NULL },               { SYS_openat, FILES, NULL },
	{ SYS_openat2, FILES, NULL },            { SYS_pread64, FILES, NULL },
	{ SYS_pwrite64, FILES, NULL },           { SYS_preadv, FILES, NULL },
	{ SYS_pwritev, FILES, NULL },            { SYS_preadv2, FILES, NULL },
	{ SYS_pwritev2, FILES, NULL },           { SYS_lseek, FILES, NULL },
	{ SYS__llseek, FILES, NULL },            { SYS_fsync, FILES, NULL },
	{ SYS_fdatasync, FILES, NULL },          { SYS_sync_file_range, FILES, NULL },
	{ SYS_sync_file_range2, FILES, NULL },   { SYS_msync, FILES, NULL },
	{ SYS_fallocate, FILES, NULL },          { SYS_fadvise64, FILES, NULL },
	{ SYS_fadvise64_64, FILES, NULL },       { SYS_copy_file_range, FILES, NULL },
	{ SYS_flock, FILES, NULL },              { SYS_memfd_create, FILES, NULL },
	{ SYS_umask, FILES, NULL },              { SYS_chdir, FILES, NULL },
	{ SYS_fchdir, FILES, NULL },             { SYS_getcwd, FILES, NULL },
	{ SYS_stat, FILES, NULL },               { SYS_stat64, FILES, NULL },
	{ SYS_lstat, FILES, NULL },              { SYS_lstat64, FILES, NULL },
	{ SYS_newfstatat, FSTAT, NULL },         { SYS_fstatat64, FILES, NULL },
	{ SYS_statx, FSTAT, NULL },              { SYS_statfs, FILES, NULL },
	{ SYS_statfs64, FILES, NULL },           { SYS_fstatfs, FILES, NULL },
	{ SYS_fstatfs64, FILES, NULL },          { SYS_access, FILES, NULL },
	{ SYS_faccessat, FILES, NULL },          { SYS_unlink, FILES, NULL },
	{ SYS_unlinkat, FILES, NULL },           { SYS_rename, FILES, NULL },
	{ SYS_renameat, FILES, NULL },           { SYS_renameat2, FILES, NULL },
	{ SYS_mkdir, FILES, NULL },              { SYS_mkdirat, FILES, NULL },
	{ SYS_getdents64, FILES, NULL },         { SYS_dup, FILES, NULL },
	{ SYS_uname, U, NULL },
	/* threads yet to come: encdns-dns's before its filter, control's that writes the log,
	 * the hub's readers of zones; the first steps of one, in some C libraries */
	{ SYS_clone, S | H, &no_namespace },     { SYS_clone, 2, &threads },
	{ SYS_clone3, C | H, &not_here },        { SYS_mprotect, C | H, &no_code },
	{ SYS_set_robust_list, C | D | H, NULL }, { SYS_rseq, C | D | H, NULL },
	{ SYS_sched_setaffinity, S, NULL },      { SYS_sched_getaffinity, S | H | U, NULL },
	{ SYS_prlimit64, S | H, NULL },
	/* processes, and what each does before it enters its own list */
	{ SYS_fork, S, NULL },                   { SYS_set_tid_address, S, NULL },
	{ SYS_kill, S, NULL },                   { SYS_wait4, S, NULL },
	{ SYS_waitid, S, NULL },                 { SYS_getppid, S, NULL },
	{ SYS_geteuid, S | H, NULL },            { SYS_geteuid32, S | H, NULL },
	{ SYS_pipe2, S | U, NULL },              { SYS_eventfd2, S, NULL },
	{ SYS_socketpair, S, NULL },
	{ SYS_prctl, S, NULL },                  { SYS_capget, S, NULL },
	{ SYS_capset, S, NULL },                 { SYS_seccomp, S, NULL },
	{ SYS_landlock_create_ruleset, S, NULL }, { SYS_landlock_add_rule, S, NULL },
	{ SYS_landlock_restrict_self, S, NULL }, { SYS_setpriority, S, NULL },
	{ SYS_mlockall, S, NULL },
	/* an operator's orders, when it is the machine's init */
	{ SYS_sync, S, NULL },                   { SYS_reboot, S, &starts_anew },
};

/* ---- the filter ---- */

#ifdef ARCH

#define PROGRAM_MAX 800

struct program { struct sock_filter at[PROGRAM_MAX]; unsigned short n; };

static void add(struct program *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
	if (p->n < PROGRAM_MAX)
		p->at[p->n] = (struct sock_filter){ code, yes, no, k };
	p->n++;
}

static void load(struct program *p, size_t off) { add(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)off, 0, 0); }
static void end(struct program *p, uint32_t verdict) { add(p, BPF_RET | BPF_K, verdict, 0, 0); }
/* Goes on behind the next `yes` or `no` instructions. */
static void equal(struct program *p, uint32_t k, uint8_t yes, uint8_t no) { add(p, BPF_JMP | BPF_JEQ | BPF_K, k, yes, no); }

/* The kernel takes 32 bits of each argument that has a limit. */
static size_t low_half(unsigned arg)
{
	return offsetof(struct seccomp_data, args) + arg * 8 + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0);
}

static void add_call(struct program *p, const struct call *c)
{
	const struct limit *l = c->limit;
	equal(p, (uint32_t)c->nr, 0, (uint8_t)(!l || l->fails ? 1 : l->never || l->always || l->self ? 4 : 3 + l->n));
	if (!l || l->fails) {
		end(p, l ? SECCOMP_RET_ERRNO | (uint32_t)l->fails : SECCOMP_RET_ALLOW);
		return;
	}
	load(p, low_half(l->arg));
	if (l->never)
		add(p, BPF_JMP | BPF_JSET | BPF_K, l->never, 0, 1);
	if (l->always)
		add(p, BPF_JMP | BPF_JSET | BPF_K, l->always, 1, 0);
	if (l->self)
		equal(p, (uint32_t)getpid(), 1, 0);
	for (unsigned i = 0; i < l->n; i++)
		equal(p, l->one_of[i], (uint8_t)(l->n - i), 0);
	end(p, SECCOMP_RET_KILL_PROCESS);
	end(p, SECCOMP_RET_ALLOW);
}

static void build(struct program *p, enum sandbox_process who)
{
	p->n = 0;
	load(p, offsetof(struct seccomp_data, arch));
	equal(p, ARCH, 1, 0);
	end(p, SECCOMP_RET_KILL_PROCESS);
	load(p, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (calls[i].nr != ABSENT && calls[i].who & own[who])
			add_call(p, &calls[i]);
	end(p, SECCOMP_RET_KILL_PROCESS);
}

static void filter(enum sandbox_process who)
{
	struct program p;
	build(&p, who);
	struct sock_fprog f = { p.n, p.at };
	long r = p.n > PROGRAM_MAX ? (errno = E2BIG, -1)
	                           : syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &f);
	if (r != 0)
		log_say(LOG_WARNING, "the kernel takes no system call filter: %s; a process that is taken over could do more than it should",
		        r > 0 ? "a thread has another one" : strerror(errno));
}

#else

static void filter(enum sandbox_process who)
{
	(void)who;
	log_say(LOG_WARNING, "there is no system call filter for this processor: a process that is taken over could do more than it should");
}

#endif

/* ---- files ---- */

/* Of Landlock's interface, whatever headers there are. */
struct ruleset { uint64_t fs, net, scope; };
struct beneath { uint64_t allowed; int32_t parent; } __attribute__((packed));
enum { FS_WRITE = 1 << 1, FS_READ = 1 << 2, FS_READ_DIR = 1 << 3, FS_REMOVE = 1 << 5, FS_MAKE_REG = 1 << 8,
       FS_MAKE_SOCK = 1 << 9, FS_TRUNCATE = 1 << 14 };
enum { NET_BIND = 1, NET_CONNECT = 2 };

/* The version of its interface; -1: there is none. */
static int landlock_version(void) { return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1); }

/* What this version knows, all of it refused. */
static struct ruleset everything(int version, bool connects, size_t *size)
{
	static const uint8_t rights[] = { 13, 14, 15, 15, 16 }; /* of files, in versions 1 to 5 */
	struct ruleset r = { .fs = ((uint64_t)1 << rights[version < 5 ? version - 1 : 4]) - 1 };
	*size = version >= 6 ? sizeof r : version >= 4 ? 16 : 8;
	r.net = version >= 4 ? connects ? NET_BIND : NET_BIND | NET_CONNECT : 0;
	r.scope = version >= 6 ? 3 : 0; /* signals and abstract sockets: nobody else's */
	return r;
}

#define FS_ALL (FS_WRITE | FS_READ | FS_READ_DIR | FS_REMOVE | FS_MAKE_REG | FS_MAKE_SOCK | FS_TRUNCATE)

static int allow(int rules, const char *dir, uint64_t rights)
{
	struct beneath b = { .allowed = rights };
	b.parent = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (b.parent < 0)
		return -1;
	int r = (int)syscall(SYS_landlock_add_rule, rules, 1, &b, 0);
	close(b.parent);
	return r;
}

/* Who waits at port 22 looks at the machine, and at a store that may be a disk. */
static int allow_files(const struct sandbox *s, int rules, uint64_t known)
{
	bool unlock = s->who == SANDBOX_UNLOCK;
	if (unlock && allow(rules, "/", FS_READ | FS_READ_DIR) != 0)
		return -1;
	return (unlock || s->who == SANDBOX_CONTROL) && s->dir ? allow(rules, s->dir, FS_ALL & known) : 0;
}

static void restrict_files(const struct sandbox *s)
{
	size_t size;
	int version = landlock_version();
	if (version < 1)
		return;
	/* BGP binds what it calls from to the neighbour's source address */
	bool route = s->who == SANDBOX_ROUTE;
	struct ruleset all = everything(version, s->who != SANDBOX_DNS && s->who != SANDBOX_UNLOCK, &size);
	if (route)
		all.net = 0;
	int rules = (int)syscall(SYS_landlock_create_ruleset, &all, size, 0);
	if (rules < 0 || allow_files(s, rules, all.fs) != 0 ||
	    syscall(SYS_landlock_restrict_self, rules, 0) != 0)
		log_say(LOG_WARNING, "files can't be shut off by Landlock: %s", strerror(errno));
	if (rules >= 0)
		close(rules);
}

/* ---- capabilities ---- */

#define CAP(c) ((uint64_t)1 << (c))

/* Root that works in a folder of somebody else's. */
static uint64_t to_write(const char *dir)
{
	struct stat st;
	return dir && stat(dir, &st) == 0 && st.st_uid != geteuid() ? CAP(CAP_DAC_OVERRIDE) : 0;
}

static uint64_t needed(const struct sandbox *s)
{
	switch (s->who) {
	case SANDBOX_SUPER: /* route's priority when it is started again */
		return CAP(CAP_IPC_LOCK) | CAP(CAP_SYS_NICE) | (s->addresses ? CAP(CAP_NET_ADMIN) : 0) |
		       (s->init ? CAP(CAP_SYS_BOOT) : 0) | to_write(s->dir);
	case SANDBOX_CONTROL:
	case SANDBOX_UNLOCK:
		return CAP(CAP_IPC_LOCK) | to_write(s->dir);
	case SANDBOX_DNS: /* the pool of keys may grow */
		return CAP(CAP_IPC_LOCK);
	case SANDBOX_HUB: /* it reads the zone files it is told to */
		return CAP(CAP_IPC_LOCK) | CAP(CAP_DAC_READ_SEARCH) | to_write(s->dir);
	case SANDBOX_ROUTE:
		break;
	}
	return 0;
}

static void drop_capabilities(uint64_t keep)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	for (int c = 0; c < 64 && prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
		if (!(keep & CAP(c)))
			prctl(PR_CAPBSET_DROP, c, 0, 0, 0); /* only who may set capabilities can */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	int r = (int)syscall(SYS_capget, &head, d);
	for (unsigned i = 0; i < 2 && r == 0; i++) {
		d[i].permitted &= (uint32_t)(keep >> 32 * i);
		d[i].effective = d[i].permitted;
		d[i].inheritable = 0;
	}
	if (r != 0 || syscall(SYS_capset, &head, d) != 0)
		log_say(LOG_WARNING, "capabilities can't be given up: %s", strerror(errno));
}

/* ---- all of it ---- */

void sandbox_rights(const struct sandbox *s)
{
	bool child = s->who != SANDBOX_SUPER && s->who != SANDBOX_HUB;
	if (SANITIZED)
		return;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	drop_capabilities(needed(s));
	if (child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* forgotten when rights change */
		restrict_files(s);
	} else if (s->who == SANDBOX_SUPER && landlock_version() < 1) {
		log_say(LOG_NOTICE, "the kernel has no Landlock: files are shut off by ownership and system call filters alone");
	}
}

void sandbox_calls(const struct sandbox *s)
{
	if (!SANITIZED)
		filter(s->who);
}

void sandbox_enter(const struct sandbox *s)
{
	sandbox_rights(s);
	sandbox_calls(s);
}
