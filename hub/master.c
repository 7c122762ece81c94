/* master.c - reader of master files.  Contract in master.h.
 *
 * A source is a file read in blocks (or text in memory) and the lexer over it;
 * $INCLUDE stacks sources, $GENERATE makes text that is read as if it stood
 * there.  What lasts from entry to entry (origin, last owner, TTLs) is in
 * struct reader.  Nothing is allocated for a record.
 * Threat: files are written by people and tools; a wrong entry costs a message
 * and its own line, never more. */
#include "hub/master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCK   (512u << 10) /* what of a file is at hand; half of it is the longest word */
#define WAIT_MS 100          /* for a pipe, before we look whether to quit */
#define TTL_MAX 0x7fffffffu  /* RFC 2181 section 8 */

struct source {
	struct lex lex;
	const char *path;   /* as messages call it */
	bool memory;        /* no file: no folder to include from */
	char *block;        /* BLOCK octets, or NULL */
	int fd;
	const _Atomic bool *quit; /* of the report, or NULL */
	int error;          /* errno of a read that failed */
};

struct reader {
	const struct master_sink *sink;
	struct source *src;            /* what is read now */
	unsigned depth, errors;
	uint8_t origin[NAME_MAX_LEN];
	uint8_t owner[NAME_MAX_LEN];   /* the last one */
	bool has_owner, has_default, has_last, has_soa;
	bool warned_soa, warned_last;
	uint32_t ttl_default, ttl_last, ttl_soa; /* $TTL; last explicit; SOA's minimum */
	uint8_t rdata[RDATA_MAX];
};

/* What stands between owner and rdata. */
struct head {
	bool has_ttl;
	uint32_t ttl;
	uint16_t type;
};

__attribute__((format(printf, 4, 5))) static void say(struct reader *r, bool error, unsigned line,
                                                      const char *fmt, ...)
{
	char text[WHY_MAX + 128];
	va_list ap;
	if (error)
		r->errors++;
	if (!r->sink->report)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	r->sink->report->say(r->sink->report->ctx, error, r->src->path, line, text);
}

static bool given_up(const struct reader *r) { return r->errors >= MASTER_ERRORS; }

/* ---- files ---- */

/* A pipe may keep us waiting, even for its first writer; not when we are to quit. */
static ssize_t read_some(const struct source *s, void *p, size_t n)
{
	struct pollfd f = { .fd = s->fd, .events = POLLIN };
	for (;;) {
		if (s->quit && *s->quit) {
			errno = ECANCELED;
			return -1;
		}
		int ready = poll(&f, 1, WAIT_MS);
		ssize_t got = ready > 0 ? read(s->fd, p, n) : ready;
		if (ready > 0 ? got >= 0 || (errno != EINTR && errno != EAGAIN) : ready < 0 && errno != EINTR)
			return got;
	}
}

static bool more_of_file(struct lex *x)
{
	struct source *s = x->io;
	size_t kept = (size_t)(x->end - x->p);
	if (kept > BLOCK / 2) {
		s->error = EMSGSIZE;
		return false;
	}
	memmove(s->block, x->p, kept);
	ssize_t n = read_some(s, s->block + kept, BLOCK - kept);
	if (n < 0)
		s->error = errno;
	x->p = s->block;
	x->end = s->block + kept + (n > 0 ? (size_t)n : 0);
	return n > 0;
}

/* On failure errno tells. */
static int open_file(struct source *s, const char *path, const struct master_sink *sink)
{
	*s = (struct source){ .path = path, .fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) };
	s->quit = sink->report ? sink->report->quit : NULL;
	if (s->fd < 0)
		return -1;
	s->block = malloc(BLOCK);
	if (!s->block) {
		close(s->fd);
		errno = ENOMEM;
		return -1;
	}
	lex_init(&s->lex, s->block, 0, 1);
	s->lex.more = more_of_file;
	s->lex.io = s;
	return 0;
}

static void close_file(struct source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	free(s->block);
}

/* ---- entries ---- */

static bool is_class(const char *s, size_t n, bool *internet)
{
	static const char *const names[] = { "IN", "CLASS1", "CH", "HS", "CS", "NONE", "ANY" };
	char up[8];
	if (n > 7)
		n = n <= 10 ? 7 : 0; /* CLASSnnnnn: what tells it apart */
	for (size_t i = 0; i < n; i++)
		up[i] = s[i] >= 'a' && s[i] <= 'z' ? (char)(s[i] & ~32) : s[i];
	up[n] = 0;
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(up, names[i])) {
			*internet = i < 2;
			return true;
		}
	*internet = false;
	return !strncmp(up, "CLASS", 5) && up[5] >= '0' && up[5] <= '9';
}

/* The usual types first, and the usual class: rr_type_parse() searches. */
static int type_of(const char *s, size_t n)
{
	if (n == 2 && (s[0] | 32) == 'i' && (s[1] | 32) == 'n')
		return -1;
	if (n == 2 && (s[0] | 32) == 'n' && (s[1] | 32) == 's')
		return T_NS;
	if (n == 2 && (s[0] | 32) == 'd' && (s[1] | 32) == 's')
		return T_DS;
	if (n == 5 && !memcmp(s, "RRSIG", 5))
		return T_RRSIG;
	if (n == 5 && !memcmp(s, "NSEC3", 5))
		return T_NSEC3;
	return rr_type_parse(s, n);
}

/* TTL and class in either order, both optional, then the type, which is the word
 * at hand afterwards.  NULL, or what is wrong. */
static const char *read_head(struct reader *r, struct lex *x, struct head *h)
{
	bool has_class = false, internet;
	*h = (struct head){ 0 };
	for (;;) {
		enum lex_kind k = lex_next(x);
		if (k == LEX_BAD)
			return x->why;
		if (k == LEX_END || k == LEX_EOF)
			return "the entry ends before its type";
		if (!h->has_ttl && x->n && *x->word >= '0' && *x->word <= '9') {
			if (!ttl_parse(x->word, x->n, &h->ttl))
				return "the TTL is none (3600 or 1h30m, at most 2147483647)";
			h->has_ttl = true;
			continue;
		}
		int type = type_of(x->word, x->n);
		/* "ANY" is both; neither is of use here */
		if (type < 0 && !has_class && is_class(x->word, x->n, &internet)) {
			if (!internet)
				return "only class IN is served";
			has_class = true;
			continue;
		}
		if (type < 0)
			return "unknown record type";
		if (!rdata_storable((uint16_t)type))
			return "no zone can hold records of this type";
		if (h->has_ttl && h->ttl > TTL_MAX) {
			say(r, false, x->word_line, "a TTL over 2147483647 counts as 0 (RFC 2181 section 8)");
			h->ttl = 0;
		}
		h->type = (uint16_t)type;
		return NULL;
	}
}

/* RFC 2308 section 4, RFC 1035 section 5.1.  NULL, or what is wrong. */
static const char *choose_ttl(struct reader *r, const struct head *h, unsigned line, uint32_t *ttl)
{
	if (h->has_ttl) {
		r->ttl_last = *ttl = h->ttl;
		r->has_last = true;
	} else if (r->has_default) {
		*ttl = r->ttl_default;
	} else if (r->has_last) {
		*ttl = r->ttl_last;
		if (!r->warned_last)
			say(r, false, line, "no TTL and no $TTL: the last one given is used, here and below");
		r->warned_last = true;
	} else if (r->has_soa) {
		*ttl = r->ttl_soa;
		if (!r->warned_soa)
			say(r, false, line, "no TTL and no $TTL: the SOA's minimum is used, here and below");
		r->warned_soa = true;
	} else {
		return "no TTL: give one, or put $TTL at the top of the file";
	}
	return NULL;
}

/* Rdata and emission; owner and head are read.  NULL, or what is wrong. */
static const char *finish_entry(struct reader *r, struct lex *x, const struct head *h, unsigned line,
                                char why[static WHY_MAX])
{
	char buf[12], reason[WHY_MAX] RAW;
	struct master_rr rr = { .owner = r->owner, .rdata = r->rdata, .file = r->src->path, .line = line,
		                .type = h->type };
	int n = rdata_parse(x, h->type, r->origin, r->rdata, reason);
	if (n < 0) {
		snprintf(why, WHY_MAX, "%s: %.200s", rr_type_text(h->type, buf), reason);
		return why;
	}
	rr.len = (uint16_t)n;
	if (h->type == T_SOA && !r->has_soa) {
		r->ttl_soa = get_u32(r->rdata + n - 4);
		if (r->ttl_soa > TTL_MAX)
			r->ttl_soa = 0;
		r->has_soa = true;
	}
	const char *fault = choose_ttl(r, h, line, &rr.ttl);
	return fault ? fault : r->sink->emit(r->sink->ctx, &rr);
}

/* An entry that is a record; the lexer's word at hand is its owner, unless blank. */
static const char *read_record(struct reader *r, struct lex *x, char why[static WHY_MAX])
{
	unsigned line = x->word_line;
	char show[64] RAW;
	struct head h;
	if (x->blank) {
		lex_back(x);
		if (!r->has_owner)
			return "the first record has no owner";
	} else {
		if (text_name(x->word, x->n, r->origin, r->owner) == 0) {
			r->has_owner = false;
			snprintf(why, WHY_MAX, "%s is not a domain name", text_show(x->word, x->n, show));
			return why;
		}
		r->has_owner = true;
	}
	const char *fault = read_head(r, x, &h);
	if (fault) {
		if (x->kind != LEX_WORD)
			return fault;
		snprintf(why, WHY_MAX, "%s: %s", text_show(x->word, x->n, show), fault);
		return why;
	}
	return finish_entry(r, x, &h, line, why);
}

static void read_source(struct reader *r, struct source *s);

/* ---- directives ---- */

/* The word that a directive needs; NULL, or what is wrong. */
static const char *need_word(struct lex *x, const char *missing)
{
	enum lex_kind k = lex_next(x);
	return k == LEX_BAD ? x->why : k == LEX_END || k == LEX_EOF ? missing : NULL;
}

static const char *need_end(struct lex *x)
{
	enum lex_kind k = lex_next(x);
	return k == LEX_BAD ? x->why : k != LEX_END && k != LEX_EOF ? "more words than the directive takes" : NULL;
}

static const char *do_origin(struct reader *r, struct lex *x)
{
	uint8_t name[NAME_MAX_LEN];
	const char *fault = need_word(x, "$ORIGIN without a name");
	if (fault)
		return fault;
	size_t n = text_name(x->word, x->n, r->origin, name);
	if (n == 0)
		return "$ORIGIN: not a domain name";
	memcpy(r->origin, name, n);
	return need_end(x);
}

static const char *do_ttl(struct reader *r, struct lex *x)
{
	uint32_t ttl;
	const char *fault = need_word(x, "$TTL without a time");
	if (fault)
		return fault;
	if (!ttl_parse(x->word, x->n, &ttl))
		return "$TTL: not a time (3600 or 1h30m)";
	if (ttl > TTL_MAX) {
		say(r, false, x->word_line, "a TTL over 2147483647 counts as 0 (RFC 2181 section 8)");
		ttl = 0;
	}
	r->ttl_default = ttl;
	r->has_default = true;
	return need_end(x);
}

/* The path of an included file: relative to the folder of the one that includes. */
static bool include_path(const struct source *s, const struct lex *x, char *out, size_t max)
{
	char name[1024];
	int n = text_unescape(x->word, x->n, (uint8_t *)name, sizeof name - 1);
	if (n <= 0 || memchr(name, 0, (size_t)n))
		return false;
	name[n] = 0;
	const char *slash = strrchr(s->path, '/');
	int folder = name[0] != '/' && slash ? (int)(slash - s->path) + 1 : 0;
	int len = snprintf(out, max, "%.*s%s", folder, s->path, name);
	return len > 0 && (size_t)len < max;
}

static const char *do_include(struct reader *r, struct lex *x, char why[static WHY_MAX])
{
	uint8_t origin[NAME_MAX_LEN], owner[NAME_MAX_LEN], name[NAME_MAX_LEN];
	char path[2048], show[64];
	struct source *above = r->src, s;
	size_t n = 0;
	const char *fault = need_word(x, "$INCLUDE without a file");
	if (fault)
		return fault;
	if (above->memory)
		return "$INCLUDE is only possible in a file";
	if (!include_path(above, x, path, sizeof path))
		return "$INCLUDE: not a file name";
	enum lex_kind k = lex_next(x);
	if (k == LEX_WORD || k == LEX_QUOTED) {
		n = text_name(x->word, x->n, r->origin, name);
		if (n == 0)
			return "$INCLUDE: its second word is not a domain name";
		fault = need_end(x);
	} else if (k == LEX_BAD) {
		fault = x->why;
	}
	if (fault)
		return fault;
	if (r->depth >= MASTER_DEPTH)
		return "$INCLUDE goes too deep: does a file include itself?";
	if (open_file(&s, path, r->sink) != 0) {
		snprintf(why, WHY_MAX, "$INCLUDE: %s: %s", text_show(path, strlen(path), show), strerror(errno));
		return why;
	}
	memcpy(origin, r->origin, sizeof origin);
	memcpy(owner, r->owner, sizeof owner);
	bool has_owner = r->has_owner;
	if (n)
		memcpy(r->origin, name, n);
	r->depth++;
	read_source(r, &s);
	r->depth--;
	close_file(&s);
	r->src = above;
	memcpy(r->origin, origin, sizeof origin);
	memcpy(r->owner, owner, sizeof owner);
	r->has_owner = has_owner;
	return NULL;
}

/* ---- $GENERATE range owner [ttl] [class] type rdata ---- */

#define TEMPLATE_MAX  4096
#define GENERATED_MAX 16384

struct range { uint32_t start, stop, step; };

static bool range_number(const char **p, const char *end, uint32_t *out)
{
	uint64_t v = 0;
	const char *from = *p;
	for (; *p < end && **p >= '0' && **p <= '9' && *p - from < 11; ++*p)
		v = v * 10 + (uint64_t)(**p - '0');
	*out = (uint32_t)v;
	return *p > from && v <= TTL_MAX;
}

static bool parse_range(const char *p, size_t n, struct range *g)
{
	const char *end = p + n;
	g->step = 1;
	if (!range_number(&p, end, &g->start) || p == end || *p++ != '-' || !range_number(&p, end, &g->stop))
		return false;
	if (p < end && (*p++ != '/' || !range_number(&p, end, &g->step)))
		return false;
	return p == end && g->start <= g->stop && g->step > 0;
}

/* Nibbles from the lowest up, dots between, `width` characters at least. */
static void put_nibbles(struct wr *w, uint32_t v, unsigned width, bool upper)
{
	const char *hex = upper ? "0123456789ABCDEF" : "0123456789abcdef";
	do {
		wr_u8(w, (uint8_t)hex[v & 15]);
		v >>= 4;
		width -= width > 0;
		if (width || v) {
			wr_u8(w, '.');
			width -= width > 0;
		}
	} while (width || v);
}

/* {offset[,width[,base]]} behind a $; p stands behind the {.  Returns the octet
 * behind the }, or NULL. */
static const char *put_modified(struct wr *w, const char *p, const char *end, uint32_t value)
{
	char text[48], num[272], base[2] = "d";
	int offset = 0, used = 0;
	unsigned width = 0;
	const char *close = memchr(p, '}', (size_t)(end - p));
	if (!close || (size_t)(close - p) >= sizeof text)
		return NULL;
	memcpy(text, p, (size_t)(close - p));
	text[close - p] = 0;
	if (sscanf(text, "%9d%n,%3u%n,%1[doxXnN]%n", &offset, &used, &width, &used, base, &used) < 1 ||
	    text[used] || width > 255)
		return NULL;
	int64_t v = (int64_t)value + offset;
	if (v < 0 || v > TTL_MAX)
		return NULL;
	unsigned u = (unsigned)v;
	int n = 0;
	switch (base[0]) {
	case 'd': n = snprintf(num, sizeof num, "%0*u", (int)width, u); break;
	case 'o': n = snprintf(num, sizeof num, "%0*o", (int)width, u); break;
	case 'x': n = snprintf(num, sizeof num, "%0*x", (int)width, u); break;
	case 'X': n = snprintf(num, sizeof num, "%0*X", (int)width, u); break;
	default: put_nibbles(w, u, width, base[0] == 'N'); break;
	}
	wr_bytes(w, num, (size_t)n);
	return close + 1;
}

/* One turn of the template.  False: a ${...} is wrong, or it grows too long. */
static bool expand(const char *p, size_t n, uint32_t value, struct wr *w)
{
	const char *end = p + n;
	char num[16];
	while (p < end) {
		if (*p == '\\' && p + 1 < end) {
			wr_bytes(w, p, 2);
			p += 2;
		} else if (*p != '$') {
			wr_u8(w, (uint8_t)*p++);
		} else if (++p < end && *p == '$') {
			wr_u8(w, (uint8_t)*p++);
		} else if (p < end && *p == '{') {
			p = put_modified(w, p + 1, end, value);
			if (!p)
				return false;
		} else {
			wr_bytes(w, num, (size_t)snprintf(num, sizeof num, "%u", value));
		}
	}
	return !w->bad;
}

static void put_word(struct wr *w, const struct lex *x, bool quotes)
{
	if (quotes)
		wr_u8(w, '"');
	wr_bytes(w, x->word, x->n);
	if (quotes)
		wr_u8(w, '"');
	wr_u8(w, ' ');
}

/* Takes the quotes off a string put by put_word(); \" inside it becomes ".
 * Returns its new length. */
static size_t strip_quotes(uint8_t *s, size_t n)
{
	size_t to = 0;
	for (size_t i = 1; i + 2 < n; i++) {
		if (s[i] == '\\' && s[i + 1] != '"')
			s[to++] = s[i++];
		else if (s[i] == '\\')
			i++;
		s[to++] = s[i];
	}
	return to;
}

/* Gathers owner, head and rdata as text.  As in BIND, rdata that is one quoted
 * string stands for what is inside it.  NULL, or what is wrong. */
static const char *read_template(struct reader *r, struct lex *x, struct wr *w)
{
	static const char missing[] = "$GENERATE takes: start-stop[/step] owner [ttl] [class] type rdata";
	struct head h;
	char text[64];
	const char *fault = need_word(x, missing);
	if (fault)
		return fault;
	if (!x->n)
		return missing;
	put_word(w, x, false);
	fault = read_head(r, x, &h);
	if (fault)
		return fault;
	if (h.has_ttl)
		wr_bytes(w, text, (size_t)snprintf(text, sizeof text, "%u ", h.ttl));
	put_word(w, x, false);
	fault = need_word(x, missing);
	if (fault)
		return fault;
	bool was_quoted = x->kind == LEX_QUOTED;
	uint8_t *first = w->p;
	put_word(w, x, was_quoted);
	size_t len = w->bad ? 0 : (size_t)(w->p - first);
	x->pairs = true;
	unsigned words = 1;
	for (; lex_next(x) == LEX_WORD || x->kind == LEX_QUOTED; words++)
		put_word(w, x, x->kind == LEX_QUOTED);
	x->pairs = false;
	if (x->kind == LEX_BAD)
		return x->why;
	if (was_quoted && words == 1 && len)
		w->p = first + strip_quotes(first, len);
	return w->bad ? "$GENERATE: the line is too long" : NULL;
}

static const char *do_generate(struct reader *r, struct lex *x, char why[static WHY_MAX])
{
	uint8_t template[TEMPLATE_MAX], text[GENERATED_MAX], owner[NAME_MAX_LEN];
	struct wr t = wr_init(template, sizeof template);
	struct range g;
	unsigned line = x->word_line;
	const char *fault = need_word(x, "$GENERATE without a range");
	if (fault)
		return fault;
	if (!parse_range(x->word, x->n, &g))
		return "$GENERATE: the range is not start-stop[/step]";
	if ((g.stop - g.start) / g.step >= MASTER_GENERATE)
		return "$GENERATE: the range has over 16777216 steps";
	fault = read_template(r, x, &t);
	memcpy(owner, r->owner, sizeof owner);
	bool had_owner = r->has_owner;
	for (uint64_t v = g.start; !fault && v <= g.stop; v += g.step) {
		struct wr w = wr_init(text, sizeof text);
		struct lex sub;
		if (!expand((const char *)template, wr_len(&t), (uint32_t)v, &w))
			fault = "$GENERATE: a ${offset,width,base} is wrong, or it grows too long";
		lex_init(&sub, (const char *)text, wr_len(&w), line);
		if (!fault && (lex_next(&sub) == LEX_WORD || sub.kind == LEX_QUOTED))
			fault = read_record(r, &sub, why);
		if (!fault && sub.kind == LEX_BAD)
			fault = sub.why;
	}
	memcpy(r->owner, owner, sizeof owner);
	r->has_owner = had_owner;
	return fault;
}

static bool is_word(const struct lex *x, const char *text)
{
	size_t i = 0;
	for (; i < x->n && text[i]; i++)
		if (name_fold((uint8_t)x->word[i]) != name_fold((uint8_t)text[i]))
			return false;
	return i == x->n && !text[i];
}

static const char *read_directive(struct reader *r, struct lex *x, char why[static WHY_MAX])
{
	if (is_word(x, "$ORIGIN"))
		return do_origin(r, x);
	if (is_word(x, "$TTL"))
		return do_ttl(r, x);
	if (is_word(x, "$INCLUDE"))
		return do_include(r, x, why);
	if (is_word(x, "$GENERATE"))
		return do_generate(r, x, why);
	return "unknown directive (there are $ORIGIN, $TTL, $INCLUDE and $GENERATE)";
}

/* ---- sources ---- */

static void read_source(struct reader *r, struct source *s)
{
	struct lex *x = &s->lex;
	char why[WHY_MAX];
	r->src = s;
	while (!given_up(r) && lex_next(x) != LEX_EOF) {
		unsigned line = x->word_line;
		const char *fault = x->why;
		if (x->kind != LEX_BAD)
			fault = !x->blank && x->kind == LEX_WORD && *x->word == '$' ? read_directive(r, x, why)
			                                                             : read_record(r, x, why);
		if (s->error)
			break;
		if (fault)
			say(r, true, line, "%s", fault);
		lex_skip(x);
	}
	if (s->error == EMSGSIZE)
		say(r, true, x->line, "a word is too long for any record: is a quote missing?");
	else if (s->error == ECANCELED)
		say(r, true, x->line, "the rest was not read: the hub is stopping");
	else if (s->error)
		say(r, true, x->line, "%s", strerror(s->error));
}

static int read_all(struct source *s, const uint8_t *origin, const struct master_sink *sink)
{
	struct reader *r = calloc(1, sizeof *r);
	if (!r)
		return -1;
	r->sink = sink;
	memcpy(r->origin, origin, name_len(origin));
	read_source(r, s);
	int rc = r->errors ? -1 : 0;
	if (given_up(r))
		say(r, true, 0, "too many errors, the rest is not read");
	free(r);
	return rc;
}

int master_read(const char *path, const uint8_t *origin, const struct master_sink *sink)
{
	struct source s;
	if (open_file(&s, path, sink) != 0) {
		if (sink->report)
			sink->report->say(sink->report->ctx, true, path, 0, strerror(errno));
		return -1;
	}
	int rc = read_all(&s, origin, sink);
	close_file(&s);
	return rc;
}

int master_read_text(const char *text, size_t n, const char *name, const uint8_t *origin,
                     const struct master_sink *sink)
{
	struct source s = { .path = name, .memory = true, .fd = -1 };
	lex_init(&s.lex, text, n, 1);
	return read_all(&s, origin, sink);
}
