/* test_inventory.c - the inventory: its form, how two differ, what is collected
 * from a machine made of files, and from this one. */
#include "main/inventory.c"

#include "tests/tap.h"

#include <stdint.h>

static char text[INVENTORY_MAX], text2[INVENTORY_MAX];

/* ---- form ---- */

static void test_form(void)
{
	static const struct { const char *text; bool good; } form[] = {
		{ "", true },
		{ "a 1\n", true },
		{ "a 1\na 1\na 2\na.b 1\nb 1\n~a 1\n", true },
		{ "a 1", false },             /* no newline */
		{ "b 1\na 1\n", false },      /* out of order */
		{ "a 2\na 1\n", false },
		{ "a.b 1\na 1\n", false },
		{ "a\n", false },             /* no value */
		{ "a \n", false },
		{ " 1\n", false },            /* no key */
		{ "~ 1\n", false },
		{ "\n", false },
		{ "a 1\n\n", false },
		{ "a \t\n", false },          /* not printable */
		{ "a \303\244\n", false },
	};

	for (size_t i = 0; i < sizeof form / sizeof form[0]; i++)
		ok(inventory_valid(form[i].text, strlen(form[i].text)) == form[i].good, "form %zu is %s", i,
		   form[i].good ? "right" : "wrong");
	memset(text, 'x', INVENTORY_LINE);
	text[1] = ' ';
	text[INVENTORY_LINE] = '\n';
	ok(!inventory_valid(text, INVENTORY_LINE + 1), "a line of 512 octets is too long");
	text[INVENTORY_LINE - 1] = '\n';
	ok(inventory_valid(text, INVENTORY_LINE), "one of 511 is not");
}

/* ---- differences ---- */

static char seen[4096];

static void note(void *owner, const struct inventory_diff *d)
{
	static const char sign[] = { '+', '-', '!' };
	size_t n = strlen(seen);

	(void)owner;
	snprintf(seen + n, sizeof seen - n, "%s%c%s %s>%s;", d->is_volatile ? "~" : "", sign[d->kind], d->key,
	         d->was ? d->was : "", d->is ? d->is : "");
}

static void differ(const char *was, const char *is, int count, const char *want)
{
	seen[0] = 0;
	int n = inventory_compare(was, strlen(was), is, strlen(is), note, NULL);
	if (!ok(n == count && strcmp(seen, want) == 0, "differences: %s", *want ? want : "none"))
		printf("# %d: %s\n", n, seen);
}

static void test_differences(void)
{
	differ("", "", 0, "");
	differ("a 1\nb 2\n", "a 1\nb 2\n", 0, "");
	differ("a 1\nc 3\n", "a 1\nb 2\nc 3\n", 1, "+b >2;");
	differ("a 1\nb 2\nc 3\n", "a 1\nc 3\n", 1, "-b 2>;");
	differ("a 1\nb 2\n", "a 1\nb 3 4\n", 1, "!b 2>3 4;");
	differ("", "a 1\nb 2\n", 2, "+a >1;+b >2;");
	differ("a 1\nb 2\n", "", 2, "-a 1>;-b 2>;");
	differ("a 1\na 2\na 3\n", "a 2\na 4\n", 2, "!a 1>4;-a 3>;");
	differ("a 1\na 1\n", "a 1\n", 1, "-a 1>;");
	differ("a 2\n", "a 1\na 2\na 3\n", 2, "+a >1;+a >3;");
	differ("a 1\na.b 1\n", "a 1\na.b 2\n", 1, "!a.b 1>2;");
	differ("b 1\n", "a 1\nc 1\n", 3, "+a >1;-b 1>;+c >1;");
	differ("a 1\n~x 1\n", "a 1\n~x 2\n~y 3\n", 0, "~!x 1>2;~+y >3;");
	differ("x 1\n", "~x 1\n", 1, "-x 1>;~+x >1;");
	ok(inventory_compare("a", 1, "", 0, note, NULL) == -1 && inventory_compare("", 0, "a", 1, note, NULL) == -1,
	   "what is no inventory can't be compared");
	ok(inventory_compare("a 1\n", 4, "", 0, NULL, NULL) == 1, "they can be counted alone");
}

/* Against the plain way: what is told, done to one text, gives the other. */
struct many { int balance[3][4]; };

static void tally(void *owner, const struct inventory_diff *d)
{
	struct many *m = owner;
	int key = d->key[0] - 'a';

	if (d->was)
		m->balance[key][d->was[0] - '0']++;
	if (d->is)
		m->balance[key][d->is[0] - '0']--;
}

static size_t random_text(char *out, struct many *m, int sign, unsigned *seed)
{
	size_t n = 0;

	for (int k = 0; k < 3; k++)
		for (int v = 0; v < 4; v++)
			for (*seed = *seed * 1103515245 + 12345; *seed >> 28 > 9; *seed = *seed * 1103515245 + 12345) {
				n += (size_t)sprintf(out + n, "%c %d\n", 'a' + k, v);
				m->balance[k][v] += sign;
			}
	return n;
}

static void test_random(void)
{
	unsigned wrong = 0, seed = 1, changes = 0;

	for (unsigned i = 0; i < 20000; i++) {
		struct many m = { { { 0 } } };
		static const struct many zero;
		size_t a = random_text(text, &m, -1, &seed), b = random_text(text2, &m, 1, &seed);
		int n = inventory_compare(text, a, text2, b, tally, &m);

		wrong += n < 0 || memcmp(&m, &zero, sizeof m) != 0;
		changes += (unsigned)n;
	}
	ok(wrong == 0 && changes > 20000, "20,000 random pairs: what is told leads from one to the other");
}

/* ---- writing ---- */

static struct inventory inv;

static void put(bool loose, const char *key, const char *name, const char *v)
{
	inventory_put(&inv, loose, key, name, v, strlen(v));
}

static void test_writing(void)
{
	memset(&inv, 0, sizeof inv);
	put(true, "z", NULL, "9");
	put(false, "b", "x y", "  a\tb\\c \n");
	put(false, "a", NULL, "\303\244");
	put(false, "empty", NULL, " \n");
	inventory_put(&inv, false, "c", NULL, "v\0\0", 3);
	size_t n = inventory_write(&inv, text);
	static const char want[] = "a \\xc3\\xa4\nb.x\\x20y a\\x09b\\x5cc\nc v\n~z 9\n";
	ok(n == strlen(want) && memcmp(text, want, n) == 0 && inventory_valid(text, n),
	   "lines are escaped, trimmed and sorted");
}

static unsigned lines_of(const char *p, size_t n, char begin)
{
	unsigned count = 0;

	for (size_t i = 0; i < n; i++)
		count += (i == 0 || p[i - 1] == '\n') && p[i] == begin;
	return count;
}

static void test_full(void)
{
	char name[32], longest[2000];

	memset(&inv, 0, sizeof inv);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "veth%04u", i);
		put(true, "address", name, "2001:db8::1/64");
		if (i % 4 == 0)
			put(false, "mac", name, "52:54:00:12:34:56");
	}
	size_t n = inventory_write(&inv, text);
	ok(n <= INVENTORY_MAX && inventory_valid(text, n) && lines_of(text, n, 'm') == 250 && memmem(text, n, "\n~lost ", 7) &&
	           !memmem(text, n, "\nlost ", 6),
	   "what is too much loses volatile lines and says so: %zu octets", n);
	memset(&inv, 0, sizeof inv);
	for (unsigned i = 0; i < 100000; i++)
		put(false, "mac", NULL, "52:54:00:12:34:56");
	n = inventory_write(&inv, text);
	ok(n <= INVENTORY_MAX && inventory_valid(text, n) && memmem(text, n, "lost 98", 7), "100,000 lines are no harm");
	memset(&inv, 0, sizeof inv);
	memset(longest, 1, sizeof longest - 1);
	longest[sizeof longest - 1] = 0;
	put(false, longest, longest, longest);
	put(true, "a", longest, "1");
	n = inventory_write(&inv, text);
	ok(n > 600 && inventory_valid(text, n), "nor are long ones: %zu octets", n);
}

/* ---- a machine made of files ---- */

static char root[] = "/tmp/encdns-inventory-XXXXXX";

static void make(const char *path, const char *content, size_t n)
{
	char full[512];

	snprintf(full, sizeof full, "%s%s", root, path);
	for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = 0;
		mkdir(full, 0755);
		*p = '/';
	}
	FILE *f = fopen(full, "w");
	if (!f || fwrite(content, 1, n, f) != n || fclose(f) != 0)
		abort();
}

static void file(const char *path, const char *content) { make(path, content, strlen(content)); }

static bool has(size_t n, const char *line)
{
	char want[256];

	snprintf(want, sizeof want, "%s\n", line);
	char *at = memmem(text, n, want, strlen(want));
	bool good = at && (at == text || at[-1] == '\n');
	if (!good)
		printf("# no line: %s\n", line);
	return good;
}

static void test_files(void)
{
	uint8_t image[32] = { 0xab };

	if (!mkdtemp(root))
		abort();
	file("/sys/class/dmi/id/product_name", "PowerEdge R640\n");
	file("/sys/class/dmi/id/product_serial", "  ABC\n");
	file("/proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel\t\t: 85\nmodel name\t: Xeon\n"
	                      "microcode\t: 0x1\n\nprocessor\t: 1\nmodel name\t: Xeon B\n");
	file("/proc/meminfo", "MemTotal:       16373468 kB\nMemFree: 1 kB\n");
	file("/sys/class/net/eth0/address", "52:54:00:00:00:01\n");
	file("/sys/class/net/eth0/device/x", "");
	file("/sys/class/net/veth1/address", "52:54:00:00:00:02\n");
	file("/sys/class/net/lo/address", "00:00:00:00:00:00\n");
	file("/sys/block/sda/device/model", "Disk\n");
	make("/sys/block/sda/device/vpd_pg80", "\0\x80\0\4S123", 8);
	file("/sys/block/sda/size", "1000\n");
	file("/sys/block/nvme0n1/device/serial", "N1   \n");
	file("/sys/block/loop0/size", "8\n");
	size_t n = inventory_collect(root, image, text);
	ok(inventory_valid(text, n), "an inventory of files is of the right form");
	ok(has(n, "dmi.product_name PowerEdge R640") && has(n, "dmi.product_serial ABC") &&
	           has(n, "cpu.count 2") && has(n, "cpu.model-name Xeon") && has(n, "cpu.model 85") &&
	           has(n, "~cpu.microcode 0x1") && has(n, "memory.size 16128 MiB") && has(n, "~memory.exact 16373468 kB"),
	   "firmware, processors and memory");
	ok(has(n, "mac.eth0 52:54:00:00:00:01") && has(n, "~mac.veth1 52:54:00:00:00:02") && !memmem(text, n, "mac.lo", 6),
	   "interfaces: those without hardware are volatile");
	ok(has(n, "disk-model.sda Disk") && has(n, "disk-serial.sda S123") && has(n, "disk-sectors.sda 1000") &&
	           has(n, "disk-serial.nvme0n1 N1") && !memmem(text, n, "loop0", 5),
	   "disks, not what is made of them");
	ok(has(n, "executable.sha256 ab00000000000000000000000000000000000000000000000000000000000000"), "the executable");
	memcpy(text2, text, n);
	file("/sys/block/sda/device/model", "Other\n");
	file("/sys/class/net/veth2/address", "52:54:00:00:00:03\n");
	size_t m = inventory_collect(root, image, text);
	seen[0] = 0;
	ok(inventory_compare(text2, n, text, m, note, NULL) == 1 && strstr(seen, "!disk-model.sda Disk>Other;") &&
	           strstr(seen, "~+mac.veth2 >52:54:00:00:00:03;"),
	   "another disk is a difference, another virtual interface is shown and is none");
	char cmd[600];
	snprintf(cmd, sizeof cmd, "rm -r '%s'", root);
	ok(system(cmd) == 0, "cleared away");
}

/* An empty machine: what is missing stands in it. */
static void test_nothing(void)
{
	size_t n = inventory_collect("/nonexistent", NULL, text);

	ok(inventory_valid(text, n) && has(n, "dmi none") && has(n, "cpu ? No such file or directory") &&
	           has(n, "memory ? No such file or directory") && has(n, "missing.block ? No such file or directory") &&
	           has(n, "missing.net ? No such file or directory") && has(n, "executable.sha256 ?"),
	   "what can't be read says so");
}

static void test_this_machine(void)
{
	uint8_t image[32], want[32];
	static uint8_t exe[64 << 20];
	struct utsname u;
	char line[256];

	FILE *f = fopen("/proc/self/exe", "r");
	size_t len = f ? fread(exe, 1, sizeof exe, f) : 0;
	if (f)
		fclose(f);
	sha256(exe, len, want);
	ok(inventory_image(image) == 0 && len > 0 && memcmp(image, want, 32) == 0, "the executable's hash");
	size_t n = inventory_collect("", image, text);
	uname(&u);
	snprintf(line, sizeof line, "kernel.release %s", u.release);
	ok(inventory_valid(text, n) && has(n, line) && memmem(text, n, "memory.size ", 12), "this machine: %zu octets", n);
	memcpy(text2, text, n);
	size_t m = inventory_collect("", image, text);
	ok(inventory_compare(text2, n, text, m, NULL, NULL) == 0, "twice: unchanged");
}

int main(void)
{
	if (crypto_init() != 0)
		return 1;
	test_form();
	test_differences();
	test_random();
	test_writing();
	test_full();
	test_files();
	test_nothing();
	test_this_machine();
	return tap_done();
}
