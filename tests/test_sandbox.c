/* What each process may still do behind its filter, and that everything else
 * ends it: in children, one attempt each. */
#include "base/sandbox.h"
#include "tests/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FILTERED 0
#else
#define FILTERED 1
#endif

static char dir[] = "/tmp/encdns-sandbox-XXXXXX";
static char inside[64], outside[64], beside[64];
static int udp = -1; /* opened before */
static pid_t parent;
static const char *const names[] = { "super", "control", "dns", "route", "hub", "unlock" };

/* ---- attempts: true when it worked; what is forbidden doesn't come back ---- */

static bool worked(long r) { return r >= 0; }
static bool try_open(void) { return worked(open(inside, O_RDWR | O_CREAT | O_CLOEXEC, 0600)); }
static bool try_open_elsewhere(void) { return worked(open(outside, O_RDONLY | O_CLOEXEC)); }
static bool try_create_elsewhere(void) { return worked(open(beside, O_RDWR | O_CREAT | O_CLOEXEC, 0600)); }
static bool try_socket(void) { return worked(socket(AF_INET, SOCK_STREAM, 0)); }
static bool try_unix(void) { return worked(socket(AF_UNIX, SOCK_STREAM, 0)); }
static bool try_netlink(void) { return worked(socket(AF_NETLINK, SOCK_RAW, 0)); }
static bool try_packet(void) { return worked(socket(AF_PACKET, SOCK_RAW, 0)); }
static bool try_exec(void)
{
	char *const argv[] = { "true", NULL };
	return worked(execv("/bin/true", argv));
}
static bool try_fork(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	return worked(pid) && waitpid(pid, NULL, 0) == pid;
}
static bool try_ptrace(void) { return worked(ptrace(PTRACE_ATTACH, parent, NULL, NULL)); }
static bool try_peek(void) { return worked(syscall(SYS_process_vm_readv, parent, NULL, 0, NULL, 0, 0)); }
static bool try_kill(void) { return worked(kill(parent, 0)); }
static bool try_tkill(void) { return worked(syscall(SYS_tkill, parent, 0)); }
static bool map(int prot) { return mmap(NULL, 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED; }
static bool try_map(void) { return map(PROT_READ | PROT_WRITE); }
static bool try_map_code(void) { return map(PROT_READ | PROT_EXEC); }
static bool protect(int prot)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p != MAP_FAILED && mprotect(p, 4096, prot) == 0;
}
static bool try_protect(void) { return protect(PROT_READ | PROT_WRITE); }
static bool try_protect_code(void) { return protect(PROT_READ | PROT_EXEC); }
static bool try_unsent(void)
{
	int n;
	return worked(ioctl(udp, TIOCOUTQ, &n));
}
static bool try_terminal(void)
{
	char c = 'x'; /* types into the terminal */
	return worked(ioctl(udp, TIOCSTI, &c)) || errno == ENOTTY;
}
static bool try_option(void)
{
	struct linger l = { 0, 0 };
	return worked(setsockopt(udp, SOL_SOCKET, SO_LINGER, &l, sizeof l));
}
static bool try_filter_option(void)
{
	int none = 0;
	return worked(setsockopt(udp, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none)) || errno == ENOENT;
}
static bool try_mincore(void)
{
	unsigned char in;
	return worked(syscall(SYS_mincore, (uintptr_t)inside & ~(uintptr_t)4095, 1, &in));
}
static bool try_sysinfo(void)
{
	struct sysinfo s;
	return worked(sysinfo(&s));
}
static bool try_bind(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	return worked(bind(udp, (struct sockaddr *)&a, sizeof a)) || errno == EINVAL; /* it is, already */
}
static void *nothing(void *p) { return p; }
static bool try_thread(void)
{
	pthread_t t;
	return pthread_create(&t, NULL, nothing, NULL) == 0 && pthread_join(t, NULL) == 0;
}
static bool try_namespace(void) { return worked(syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL)); }
static bool try_unshare(void) { return worked(unshare(CLONE_NEWUSER)); }
static bool try_mount(void) { return worked(syscall(SYS_mount, "none", "/", NULL, 0, NULL)); }
static bool try_setuid(void) { return worked(syscall(SYS_setuid, 1)); }
static bool try_link(void) { return worked(syscall(SYS_linkat, AT_FDCWD, outside, AT_FDCWD, inside, 0)); }

enum { S = 1, C = 2, D = 4, R = 8, H = 16, U = 32, EACH = 63 };
static const struct attempt { const char *what; bool (*how)(void); unsigned allowed; } attempts[] = {
	{ "opens a file of its folder", try_open, S | C | H | U },
	{ "makes an IP socket", try_socket, S | C | R | H },
	{ "makes a local socket", try_unix, S | C | R | H | U },
	{ "makes a netlink socket", try_netlink, S | R | U },
	{ "makes a packet socket", try_packet, 0 },
	{ "binds a socket", try_bind, S | C | R | H | U },
	{ "sets an option of connections", try_option, EACH },
	{ "sets any option", try_filter_option, S | C | R | H },
	{ "asks what is in memory", try_mincore, S | D },
	{ "asks how much memory there is", try_sysinfo, S | C | H },
	{ "asks what is unsent", try_unsent, EACH & ~R },
	{ "types into a terminal", try_terminal, 0 },
	{ "maps memory", try_map, EACH },
	{ "maps code", try_map_code, 0 },
	{ "makes memory writable", try_protect, S | C | H },
	{ "makes memory code", try_protect_code, 0 },
	{ "starts a thread", try_thread, S | C | H },
	{ "forks", try_fork, S },
	{ "starts a program", try_exec, 0 },
	{ "traces a process", try_ptrace, 0 },
	{ "reads another's memory", try_peek, 0 },
	{ "signals a process", try_kill, S },
	{ "signals a thread", try_tkill, S | H },
	{ "makes a namespace by clone", try_namespace, 0 },
	{ "makes a namespace", try_unshare, 0 },
	{ "mounts", try_mount, 0 },
	{ "becomes another user", try_setuid, 0 },
	{ "links a file", try_link, 0 },
};

/* ---- the children ---- */

enum outcome { WORKED, FAILED, KILLED, STRANGE };

static enum outcome in_box(const struct sandbox *box, bool (*how)(void))
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		sandbox_enter(box);
		_exit(how() ? WORKED : FAILED);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return STRANGE;
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : STRANGE;
	return (enum outcome)WEXITSTATUS(status);
}

static const char *text(enum outcome o)
{
	static const char *const words[] = { "it works", "it fails", "SIGSYS", "something else" };
	return words[o <= STRANGE ? o : STRANGE];
}

static bool has_dir(unsigned who) { return who == SANDBOX_CONTROL || who == SANDBOX_UNLOCK; }

static void lists(void)
{
	for (unsigned who = SANDBOX_SUPER; who <= SANDBOX_UNLOCK; who++)
		for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++) {
			const struct attempt *a = &attempts[i];
			struct sandbox box = { .who = (enum sandbox_process)who, .dir = has_dir(who) ? dir : NULL };
			enum outcome want = a->allowed & 1u << who ? WORKED : KILLED, got = in_box(&box, a->how);
			ok(got == want, "%s %s: %s%s", names[who], a->what, text(want), got == want ? "" : text(got));
		}
}

/* A child of the supervisor has both filters: its own list must fit into its. */
static bool (*inner_how)(void);
static const struct sandbox *inner_box;
static bool nested(void)
{
	return in_box(inner_box, inner_how) == WORKED;
}
static void below_the_supervisor(void)
{
	const struct sandbox super = { .who = SANDBOX_SUPER };
	for (unsigned who = SANDBOX_CONTROL; who <= SANDBOX_ROUTE; who++) {
		struct sandbox box = { .who = (enum sandbox_process)who, .dir = has_dir(who) ? dir : NULL };
		inner_box = &box;
		for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
			if (attempts[i].allowed & 1u << who) {
				inner_how = attempts[i].how;
				ok(in_box(&super, nested) == WORKED, "%s below the supervisor %s", names[who], attempts[i].what);
			}
	}
}

/* ---- threads that run already ---- */

static _Atomic bool go;
static void *open_late(void *p)
{
	while (!go)
		sched_yield();
	_exit(try_open() ? WORKED : FAILED);
	return p;
}
static bool try_from_thread(void)
{
	static const struct sandbox box = { .who = SANDBOX_DNS };
	pthread_t t;
	if (pthread_create(&t, NULL, open_late, NULL) != 0)
		return false;
	sandbox_calls(&box);
	go = true;
	pthread_join(t, NULL);
	return true;
}

static void threads(void)
{
	int status = 0;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		_exit(try_from_thread());
	}
	waitpid(pid, &status, 0);
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "the filter is also that of threads that were there before");
}

/* ---- files and capabilities ---- */

static bool no_capabilities(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	return syscall(SYS_capget, &head, d) == 0 && d[0].permitted == 0 && d[0].effective == 0 && d[1].permitted == 0 &&
	       prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
}

/* Rights alone: the questions are not in any list. */
static bool rights_of_route(void)
{
	sandbox_rights(&(struct sandbox){ .who = SANDBOX_ROUTE });
	return no_capabilities();
}

static void rights(void)
{
	int status = 0;
	struct sandbox control = { .who = SANDBOX_CONTROL, .dir = dir }, unlock = { .who = SANDBOX_UNLOCK, .dir = dir };
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		_exit(rights_of_route() ? WORKED : FAILED);
	waitpid(pid, &status, 0);
	ok(status == 0, "route has no capability, and exec would bring none");
	if (syscall(444, NULL, 0, 1) >= 1) { /* Landlock's version */
		ok(in_box(&control, try_open_elsewhere) == FAILED, "control opens no file of another folder");
		ok(in_box(&unlock, try_create_elsewhere) == FAILED, "unlock makes no file in another folder");
	} else {
		ok(true, "control opens no file of another folder # SKIP the kernel has no Landlock");
		ok(true, "unlock makes no file in another folder # SKIP the kernel has no Landlock");
	}
	ok(in_box(&unlock, try_open_elsewhere) == WORKED, "unlock reads files of other folders");
	if (chmod(dir, 0700) == 0 && chown(dir, 65534, 65534) == 0) { /* by root only */
		ok(in_box(&control, try_open) == WORKED, "as root, control may write to a folder of another user");
		if (chown(dir, 0, 0) != 0 || chmod(dir, 0) != 0)
			ok(false, "the folder is ours again");
		ok(in_box(&control, try_open) == FAILED, "but its own rights count in its own");
		chmod(dir, 0700);
	}
}

int main(void)
{
	if (!FILTERED) {
		printf("1..0 # SKIP sanitizers do what no list has\n");
		return 0;
	}
	if (!mkdtemp(dir))
		return 1;
	snprintf(inside, sizeof inside, "%s/file", dir);
	snprintf(outside, sizeof outside, "/etc/passwd");
	snprintf(beside, sizeof beside, "%s.beside", dir);
	parent = getpid();
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	lists();
	below_the_supervisor();
	threads();
	rights();
	unlink(inside);
	unlink(beside);
	rmdir(dir);
	return tap_done();
}
