/* grant.c - bundles sealed, keys sent.  Contract in grant.h.
 * The order is such that the station never knows less than the machine: a ticket is on
 * its disk before it is sent, a bundle before it is delivered. */
#include "hub/grant.h"

#include "crypto/cred.h"
#include "crypto/issue.h"
#include "hub/ca.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LIFE_S 180 /* of an AUTH, since the machine's offer: it hangs up earlier on who ponders */

/* ---- files ---- */

void grant_files_free(struct grant_files *f)
{
	for (unsigned i = 0; i < f->n; i++) {
		crypto_wipe(f->at[i].b.p, f->at[i].b.n);
		buf_free(&f->at[i].b);
	}
	f->n = 0;
}

static struct buf *slot(struct grant_files *f, const char *name)
{
	for (unsigned i = 0; i < f->n; i++)
		if (strcmp(f->at[i].name, name) == 0) {
			f->at[i].b.n = 0;
			return &f->at[i].b;
		}
	if (f->n == GRANT_FILES || !cert_name_ok(name, strlen(name)))
		return NULL;
	snprintf(f->at[f->n].name, BUNDLE_NAME, "%s", name);
	f->at[f->n].b = (struct buf){ .n = 0 };
	return &f->at[f->n++].b;
}

static const struct buf *file_find(const struct grant_files *f, const char *name)
{
	for (unsigned i = 0; i < f->n; i++)
		if (strcmp(f->at[i].name, name) == 0)
			return &f->at[i].b;
	return NULL;
}

static int file_put(struct grant_files *f, const char *name, const void *p, size_t n)
{
	struct buf *b = slot(f, name);
	if (!b)
		return station_complain("%.80s: no name for a bundle's file, or too many of them", name);
	buf_put(b, p, n);
	return b->bad ? station_complain("no memory") : 0;
}

int grant_file_read(struct grant_files *f, const char *name, const char *path)
{
	struct buf *b = slot(f, name);
	if (!b)
		return station_complain("%.80s: no name for a bundle's file, or too many of them", name);
	return read_whole(path, b, BUNDLE_MAX) == 0 ? 0 : station_complain("%s: %s", path, strerror(errno));
}

int grant_file_word(const struct conf_key *k, void *at, const char *v, char *err, size_t n)
{
	struct grant_files *f = at;
	const char *eq = strchr(v, '=');
	if (!eq || (size_t)(eq - v) >= BUNDLE_NAME) {
		snprintf(err, n, "%s wants NAME=FILE, not \"%.80s\"", k->key, v);
		return -1;
	}
	if (f->words == GRANT_FILES) {
		snprintf(err, n, "%s: a bundle has at most %d files", k->key, GRANT_FILES);
		return -1;
	}
	f->word[f->words++] = v;
	return 0;
}

int grant_files_read(struct grant_files *f)
{
	for (unsigned i = 0; i < f->words; i++) {
		char name[BUNDLE_NAME];
		size_t n = strcspn(f->word[i], "=");
		memcpy(name, f->word[i], n);
		name[n] = 0;
		if (grant_file_read(f, name, f->word[i] + n + 1) != 0)
			return 1;
	}
	return 0;
}

/* The station's own copy; denied: whose bundles it refuses, NULL: nobody's. */
static struct bundle *open_bundle(const struct station *s, const struct machine_record *m,
                                  const struct denials *denied, const char **why)
{
	struct key *k = gate_key_system(s->master, m->salt, m->id);
	struct bundle_terms t = { .k_system = k, .id = m->id, .cred = s->cred };
	*why = "no memory for keys";
	cred_deny(s->cred, denied);
	struct bundle *b = k ? bundle_open(m->bundle.p, m->bundle.n, &t, why) : NULL;
	cred_deny(s->cred, s->denied.list);
	key_free(k);
	return b;
}

static bool opens(const struct station *s, const struct machine_record *m, const struct denials *denied)
{
	const char *why;
	struct bundle *b = open_bundle(s, m, denied, &why);
	bundle_free(b);
	return b != NULL;
}

bool grant_bundle_denied(const struct station *s, const struct machine_record *m)
{
	return !opens(s, m, s->denied.list) && opens(s, m, NULL);
}

int grant_files_merge(const struct station *s, const struct machine_record *m, struct grant_files *f,
                      bool *changed)
{
	struct bundle_file old;
	const char *why;
	unsigned had = f->n, same = 0;
	int r = 0;
	/* whoever sealed it may be denied meanwhile: it is opened to be sealed anew */
	struct bundle *b = open_bundle(s, m, NULL, &why);
	if (!b)
		return station_complain("%s's bundle: %s", m->name, why);
	for (unsigned i = 0; r == 0 && bundle_at(b, i, &old); i++) {
		const struct buf *new = file_find(f, old.name);
		if (!new)
			r = file_put(f, old.name, old.p, old.n);
		else
			same += new->n == old.n && memcmp(new->p, old.p, old.n) == 0;
	}
	bundle_free(b);
	*changed = same != had;
	return r;
}

/* The certificates and, in clear, the key: what the node reads. */
static int put_credentials(const struct cred *c, struct buf *out)
{
	uint8_t text[2 * CERT_MAX];
	int p[2];
	for (int i = 0; i < 3; i++) {
		struct wr w = wr_init(text, sizeof text);
		pem_put(&w, "CERTIFICATE", c->der[i], c->der_len[i]);
		buf_put(out, text, wr_len(&w));
	}
	if (pipe(p) != 0)
		return -1;
	bool good = issue_key_write(c->key, p[1]) == 0;
	close(p[1]);
	ssize_t n = good ? read(p[0], text, sizeof text) : -1;
	close(p[0]);
	buf_put(out, text, n > 0 ? (size_t)n : 0);
	crypto_wipe(text, sizeof text);
	return n > 0 && !out->bad ? 0 : -1;
}

int grant_credentials(const struct station *s, const struct machine_record *m, struct grant_files *f)
{
	char dir[PATH_MAX], path[PATH_MAX], err[PATH_MAX + 256];
	struct ca_order o = { .role = ROLE_NODE, .name = m->name, .pass = s->pass };
	struct buf b = { 0 };
	snprintf(dir, sizeof dir, "%.3900s/ca", s->dir);
	snprintf(path, sizeof path, "%.4000s/issued/node-%.63s.pem", dir, m->name);
	if (ca_issue(dir, s->pass, &o, err, sizeof err) != 0)
		return station_complain("%s", err);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct cred *c = fd >= 0 ? cred_read_pass(fd, s->pass, err, sizeof err) : NULL;
	int wrong = !c || put_credentials(c, &b) != 0 ? station_complain("%s: it can't be read", path)
	                                              : file_put(f, "credentials", b.p, b.n);
	if (fd >= 0)
		close(fd);
	cred_free(c);
	crypto_wipe(b.p, b.n);
	buf_free(&b);
	return wrong;
}

int grant_seal(const struct station *s, struct machine_record *m, const struct grant_files *f,
               uint64_t generation)
{
	struct bundle_file file[GRANT_FILES];
	struct bundle_head h = { .generation = generation, .sealed_at = (uint64_t)time(NULL) };
	const struct buf *conf = file_find(f, "conf");
	memcpy(h.id, m->id, MACHINE_ID);
	for (unsigned i = 0; i < f->n; i++)
		file[i] = (struct bundle_file){ f->at[i].name, f->at[i].b.p, f->at[i].b.n };
	size_t n = bundle_size(file, f->n, s->cred);
	uint8_t *p = n ? malloc(n) : NULL;
	struct key *k = gate_key_system(s->master, m->salt, m->id);
	bool good = p && k && bundle_seal(p, &h, k, file, f->n, s->cred) == 0;
	key_free(k);
	m->bundle.n = m->conf.n = 0;
	if (good) {
		buf_put(&m->bundle, p, n);
		buf_put(&m->conf, conf->p, conf->n);
	}
	free(p);
	return good && !m->bundle.bad && !m->conf.bad
	               ? 0
	               : station_complain("%s's bundle can't be sealed: %s", m->name,
	                                  n ? strerror(errno) : "a file in it is too large");
}

/* ---- keys ---- */

struct key *grant_key_data(const struct station *s, const struct machine_record *m)
{
	return gate_key_data(s->master, m->salt, m->id, m->epoch);
}

static int put_auth(const struct station *s, const struct machine_record *m, struct remote *r,
                    const struct grant *g, const uint8_t ticket[static GATE_TICKET])
{
	struct bundle_head head;
	uint64_t now = (uint64_t)time(NULL);
	struct gate_auth a = { .issued = now,
		               .time = now,
		               .expiry = now + LIFE_S,
		               .seq = g->seq,
		               .flags = g->flags,
		               .k_system = gate_key_system(s->master, m->salt, m->id),
		               .k_data = grant_key_data(s, m) };
	memcpy(a.id, m->id, MACHINE_ID);
	memcpy(a.nonce, r->nonce, GATE_NONCE);
	memcpy(a.ticket, ticket, GATE_TICKET);
	if (g->chain)
		memcpy(a.chain, g->chain, sizeof a.chain);
	if (bundle_peek(m->bundle.p, m->bundle.n, &head))
		a.generation = head.generation;
	bool good = a.k_system && a.k_data && gate_put_auth(r->out, &a, s->cred, r->exporter);
	gate_auth_free(&a);
	return good ? 0 : station_complain("the keys can't be sent: no memory");
}

/* What has changed with it. */
static int record_success(const struct station *s, struct machine_record *m, const struct remote *r,
                          const struct grant *g, const uint8_t (*ticket)[GATE_TICKET])
{
	char text[100], chain[65];
	static const uint8_t none[32];
	int n = snprintf(text, sizeof text, "%llu\n", (unsigned long long)r->hello.boots);
	int wrong = record_put_ticket(s, m, ticket, 1) | record_put(s, m, "boots", text, (size_t)n);
	if (m->inventory.n != r->inventory.n || memcmp(m->inventory.p, r->inventory.p, r->inventory.n) != 0)
		wrong |= record_put(s, m, "inventory", r->inventory.p, r->inventory.n);
	hex_text(chain, g->chain ? g->chain : none, 32);
	n = snprintf(text, sizeof text, "%llu %s\n", (unsigned long long)g->seq, chain);
	if (g->seq)
		wrong |= record_put(s, m, "minimum", text, (size_t)n);
	return wrong;
}

bool grant_ticket_shown(const uint8_t ticket[static GATE_TICKET], const uint8_t shown[static 32])
{
	static const uint8_t none[GATE_TICKET];
	uint8_t hash[32];
	if (memcmp(ticket, none, sizeof none) == 0)
		return memcmp(shown, none, sizeof none) == 0;
	sha256(ticket, GATE_TICKET, hash);
	return memcmp(hash, shown, sizeof hash) == 0;
}

/* What the machine has if the new ticket never reaches it: the one it shows. */
static void ticket_it_has(const struct machine_record *m, const uint8_t shown[static 32],
                          uint8_t out[static GATE_TICKET])
{
	unsigned i = m->tickets > 1 && grant_ticket_shown(m->ticket[1], shown);
	memset(out, 0, GATE_TICKET);
	if (m->tickets)
		memcpy(out, m->ticket[i], GATE_TICKET);
}

int grant_auth(const struct station *s, struct machine_record *m, struct remote *r, const struct grant *g,
               char *why, size_t n)
{
	uint8_t tickets[2][GATE_TICKET];
	struct buf text = { 0 };
	enum gate_code code;
	ticket_it_has(m, r->hello.ticket, tickets[0]);
	crypto_random(tickets[1], GATE_TICKET);
	if (record_put_ticket(s, m, tickets, 2) || put_auth(s, m, r, g, tickets[1]) || remote_flush(r) ||
	    remote_result(r, &code, &text)) {
		buf_free(&text);
		return 1;
	}
	snprintf(why, n, "%s", text.n > 1 ? (char *)text.p : "done");
	if (code != GATE_DONE)
		station_complain("%s: %s", m->name,
		                 code == GATE_NO ? "refused; its console says why" : (char *)text.p);
	buf_free(&text);
	if (code == GATE_DONE) {
		/* the machine is unlocked, whatever becomes of our note of it */
		if (record_success(s, m, r, g, tickets + 1) != 0)
			station_complain("%s is unlocked, but the station has no record of it: its "
			                 "next start looks changed", m->name);
		return 0;
	}
	return 1;
}

/* ---- people ---- */

bool grant_asked(const char *question)
{
	char line[80];
	printf("%s [yes/NO] ", question);
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		return putchar('\n'), false;
	line[strcspn(line, "\r\n")] = 0;
	return strcmp(line, "yes") == 0 || strcmp(line, "y") == 0;
}
