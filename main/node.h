/* node.h - what the processes of a node share, and say to each other. */
#ifndef MAIN_NODE_H
#define MAIN_NODE_H

#include "base/conf.h"
#include "base/ctl.h"
#include "crypto.h"
#include "dns.h"
#include "journal.h"
#include "main/health.h"
#include "main/machine.h"
#include "main/route.h"
#include "store.h"

#include <limits.h>

#define WORKERS_MAX STORE_WORKERS
#define ROOTS_MAX   8
#define EXIT_FULL   5 /* control: the disk is full, and it can't go on */
#define EXIT_HARMED 6 /* control: the store is damaged, and no zone alone: another has to be filled */
#define EXIT_STRANGE 9 /* control: the store is another machine's, or of another history, and is to be filled anew */
#define EXIT_DOUBT  3 /* control: the readers' roots are doubtful, restart dns first */

/* The configuration file, behind node_keys. */
struct node_conf {
	struct conf_addrs service, hub, admin; /* admin: without ports */
	int credentials, cookie_secret;
	uint64_t workers, udp_size, tcp_connections, tcp_per_client, tcp_idle, store_reserve;
	bool need_cookie, pin;
	enum rrl_scope { LIMIT_NOBODY, LIMIT_REMOTE, LIMIT_ALL } rrl;
	uint64_t rrl_rate, rrl_zone_rate, rrl_total_rate, rrl_slip, rrl_bits4, rrl_bits6, rrl_accounts;
	struct net_list { struct rrl_net at[RRL_ALLOW_MAX]; unsigned n; } rrl_allow;
	char store[PATH_MAX];
	char identity[64], version[64]; /* empty: not told */
	struct route_conf route;
};
extern const struct conf_key node_keys[];
extern const size_t node_nkeys;
/* Reads and checks all; path NULL: the defaults.  The number of mistakes, each said. */
int node_conf_read(const char *path, struct node_conf *c);
/* The same with a sealed bundle's: without a line, its file `credentials` is used. */
int node_conf_text(const char *text, size_t n, struct node_conf *c, const struct conf_say *say);

/* What a worker tells the other processes: the only shared memory that
 * encdns-dns may write, and a page for each worker. */
struct worker_page {
	struct store_beat beat;
	struct dns_stats stats;
};
#define WORKER_STEP 65536 /* from one to the next: no machine's pages are larger */
_Static_assert(sizeof(struct worker_page) <= 4096, "a page of any machine");

struct node_socket { int fd; bool tcp; unsigned worker; };

/* Made by the supervisor before it forks, inherited by the others. */
struct node {
	struct node_conf conf;
	const char *dir;           /* NULL: ad hoc */
	bool ad_hoc;
	int store_rw, store_ro;    /* -1 in the process that has no business with it */
	int pages_fd;              /* dns only: to map them for writing */
	const uint8_t *pages;      /* of the workers, WORKER_STEP apart, for reading; not in dns */
	int roots[ROOTS_MAX];      /* roots that a living encdns-dns may be using, oldest first */
	unsigned nroots;
	struct node_socket *sockets;
	size_t nsockets;
	int *silent;               /* the admin addresses' sockets: held open, never read */
	size_t nsilent;
	struct sip cookie_keys[2]; /* current, previous; dns only */
	unsigned ncookie_keys;
	uint32_t damaged;          /* instance in which the last control met damage, 0: none */
	bool filling;              /* store_rw is a new store, to be filled from the hub */
	struct route_secret *route_secrets; /* of each neighbour; route only */
	struct route_socket route_sockets[ROUTE_SOCKETS];
	unsigned nroute_sockets;
	int route_fd;              /* route only: to map its page for writing */
	const struct route_page *route_page; /* for reading; NULL: no such process */
	uint64_t lent;             /* service addresses that we put on the loopback interface, a bit each */
	struct health_memory health; /* what route remembers from its predecessor */
	struct machine *machine;   /* NULL: its keys come by descriptors */
	int unlock[BOOT_ADDRS];    /* its port's sockets; control only */
	unsigned nunlock;
	bool init;                 /* the supervisor is the machine's init */
	int log_out, log_in;       /* lines of all processes for control, who keeps them; -1: nobody does */
	uint64_t least_seq;        /* the operator: nothing is served below it */
	uint8_t least_chain[CHAIN_LEN]; /* of that sequence; zero: not said */
	uint64_t seq;              /* acknowledged last; a successor must not be below it */
	uint8_t chain[CHAIN_LEN];
};

static inline const struct worker_page *worker_page(const struct node *n, unsigned worker)
{
	return (const void *)(n->pages + (size_t)worker * WORKER_STEP);
}

/* Between the supervisor and a child, and between control and dns: one message
 * a packet (SOCK_SEQPACKET): type 8, then what it says; a descriptor with some. */
enum node_msg {
	MSG_COMMITTED = 1, /* control to super: sequence 64 | chain 32 */
	MSG_ROOT,          /* control to super, then to dns: the root's descriptor */
	MSG_PEER,          /* super to control and dns: a new channel to the other */
	MSG_KEYS,          /* control to dns: store_keys_send() follows */
	MSG_MOVED,         /* dns to control, then to super: all workers use the new root */
	MSG_HARMED,        /* control to super: instance 32, that met damage; it ends now */
	MSG_DENIED,        /* control to super, then to route: our certificate is denied; withdraw, stop, now */
	MSG_END,           /* ad hoc: the stream could not be used; stop */
	MSG_ZONES,         /* control to super, then to route: the zone list's descriptor (probe.h) */
	MSG_PULSE,         /* control to super, then to route: four times a second */
	MSG_MEMORY,        /* route to super, then to control: what is to be remembered */
	MSG_CHILD,         /* super to route: which 8 (enum node_child) | alive 8 */
	MSG_ORDER,         /* control to super: an operator's order 8 (remote.h) | who */
	MSG_HELD,          /* super to route: is it withdrawn by an operator? 8 */
	MSG_UNLOCKED,      /* waiting control to super: the machine is unlocked; keys follow (unlock.c) */
};
/* Messages of route's, as they lie in struct msg. */
#define PULSE_LEN  13 /* head's time 64 | zone list is the newest 8 | looks at it 32 */
#define MEMORY_LEN (5 + 8 * HEALTH_CYCLES) /* flaps 32 | announced 8 | cycles 64 each */
enum node_child { CONTROL, DNS, ROUTE, CHILDREN };
#define MSG_MAX 64
int msg_send(int fd, enum node_msg type, const void *p, size_t n, int pass);
/* A message that came: what it says and a descriptor, or -1.  Who keeps the
 * descriptor puts -1 in its place; msg_end() closes it otherwise. */
struct msg { enum node_msg type; size_t n; uint8_t p[MSG_MAX]; int fd; };
/* 0, or -1 with errno (at the end: ECONNRESET) and nothing to be closed. */
int msg_recv(int fd, struct msg *m);
void msg_end(struct msg *m);

/* process.c */
#define PEM_MAX 65536 /* octets of a secret that comes by a descriptor */
/* Where names are put: argv, which is written over. */
void process_titles(char **argv);
/* As the kernel and the log call it; the supervisor keeps its words, so that ps tells
 * which node it is. */
void process_name(const char *name);
/* In a new child: ends with its parent, no signal blocked, its own name. */
void process_begin(const char *name, pid_t parent);
/* The whole machine, or power off; only as its init: -1 otherwise. */
int machine_reboot(bool off);

/* open.c: what is made before the children; 0, or 1 and it is said why not. */
int node_complain(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* says it; 1 */
/* Is it a node's certificate, with its key, and not denied?  Better said now than by
 * a child.  0; EXIT_DENIED or 1, and it is said why not. */
int node_check_credentials(const struct blob *b, const char *dir);
/* Credentials and secret settings, and the key unless an operator has sent it; n->machine
 * tells.  0, 1 or EXIT_DENIED, and it is said why. */
int node_read_secrets(struct node *n, int key_fd, struct key **key, struct blob **cred);
void node_fit_descriptors(struct node_conf *c);
int node_open_sockets(struct node *n);
int node_open_store(struct node *n);
int node_make_pages(struct node *n);

/* admin.c: is what the configuration says of admin addresses possible?  The
 * number of mistakes, each said. */
int admin_check(const struct node_conf *c, const char *path, const struct conf_say *say);
/* Makes them silent; 0, or 1 and it is said why not. */
int admin_open(struct node *n);

/* repair.c: a control's. */
struct repair {
	uint64_t seen[WORKERS_MAX]; /* damage that a worker had told of at the last look */
	uint32_t wanted;           /* instance whose zone is to come again, 0: none */
	bool fetching, asking, filling; /* filling: a new store takes the damaged one's place */
	uint64_t next_ns, pause_ns, begun_ns, now_ns;
	uint64_t begun, done, failed;
	char zone[NAME_TEXT_MAX];  /* the last one */
};
void repair_init(struct repair *r, const struct node *n);
/* At each tick.  False: the store as a whole is damaged. */
bool repair_look(struct repair *r, struct store *st, struct journal *j, const struct node *n, uint64_t now);
void repair_event(struct repair *r, const uint8_t *zone, bool done, const char *why, uint64_t now);
void repair_print(const struct repair *r, struct ctl_conn *c, bool json);

/* fill.c: the supervisor's. */
struct fill {
	uint64_t next_ns, pause_ns;
	int ro;               /* beside: the new file, for reading */
	int root;             /* the filling control's, -1: none yet */
	bool beside, dropped; /* dropped: before control begins, the old store goes */
};
/* The store is damaged: node->filling from now on, control is to be started on
 * store_rw.  False: not now. */
bool fill_begin(struct fill *f, struct node *n, uint64_t now);
/* The store is not to be served at all: dropped, and filled anew. */
void fill_strange(struct fill *f, struct node *n);
/* No room beside the old one. */
void fill_full(struct fill *f, struct node *n);
/* Before control starts, and when no reader is left: makes room if need be. */
bool fill_drop(struct fill *f, struct node *n);
/* The new store is complete.  True: it is in another file, readers must start anew. */
bool fill_done(struct fill *f, struct node *n);

/* check.c: looks at a store that no node is using; the exit status. */
int check_main(const char *path, const struct key *key, bool json);
/* loopback.c: puts service addresses there that the machine lacks; 0, or 1 and it is
 * said why not.  Takes them away again. */
int loopback_add(struct node *n);
void loopback_remove(struct node *n);

/* memory.c: struct health_memory as message, and in DIR/route. */
void memory_pack(const struct health_memory *m, uint8_t out[static MEMORY_LEN]);
bool memory_unpack(const uint8_t *p, size_t n, struct health_memory *out);
/* What isn't there or isn't right is forgotten. */
void memory_read(const char *dir, struct health_memory *out);
int memory_write(const char *dir, const struct health_memory *m); /* 0, or -1 with errno */

/* zonelist.c: control's side of the zone list. */
struct zone_list { struct buf last; uint64_t built_ns, cost_ns, seq; uint32_t looks; };
/* A descriptor to be sent and closed when the list has changed; -1: it hasn't, or
 * it is too early to look again, or errno. */
int zone_list_look(struct zone_list *l, struct store *st, uint64_t now_ns);

/* told.c: route's page, for `status`. */
struct ctl_conn;
void told_json(const struct node *n, struct ctl_conn *conn); /* "route":{...},"bgp":[...], */
void told_text(const struct node *n, struct ctl_conn *conn);

/* lock.c: what a process has of secrets outside the pool: locks what was there
 * before it began; says what could not be locked; wipes it, and the pool. */
void lock_memory(const struct node *n);
void say_not_locked(void);
void wipe_memory(struct node *n);

/* The children's mains: sup is the channel to the supervisor, key_fd where
 * control gets K_data and cred_fd its credentials. */
int control_main(struct node *n, int sup, int key_fd, int cred_fd);
int service_main(struct node *n, int sup);
int route_main(struct node *n, int sup);

#endif
