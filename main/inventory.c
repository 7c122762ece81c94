/* inventory.c - looks at this machine (inventory.h). */
#include "main/inventory.h"
#include "base/wire.h"
#include "crypto.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define VALUE 4096 /* octets read of a file */

/* What is looked at, and where it is put. */
struct look {
	const char *root;
	struct inventory inv;
};

static void put_text(struct look *l, bool loose, const char *key, const char *name, const char *text)
{
	inventory_put(&l->inv, loose, key, name, text, strlen(text));
}

/* Why something could not be read. */
static void put_error(struct look *l, const char *key, const char *name, int e)
{
	char text[128];

	snprintf(text, sizeof text, "? %s", strerror(e));
	put_text(l, false, key, name, text);
}

static ssize_t slurp(const struct look *l, const char *path, char *out, size_t n)
{
	char full[PATH_MAX];
	size_t have = 0;
	ssize_t got = -1;

	snprintf(full, sizeof full, "%s%s", l->root, path);
	int fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -1;
	while (have < n && (got = read(fd, out + have, n - have)) > 0)
		have += (size_t)got;
	int e = errno;
	close(fd);
	errno = e;
	return have > 0 || got == 0 ? (ssize_t)have : -1;
}

static void put_file(struct look *l, bool loose, const char *key, const char *name, const char *path)
{
	char text[VALUE];
	ssize_t n = slurp(l, path, text, sizeof text);

	if (n < 0 && errno != ENOENT && errno != ENOTDIR) /* not every machine has all */
		put_error(l, key, name, errno);
	else if (n >= 0)
		inventory_put(&l->inv, loose, key, name, text, (size_t)n);
}

/* Calls back for each entry of a folder. */
static void each(struct look *l, const char *path, void (*one)(struct look *l, const char *name))
{
	char full[PATH_MAX];
	struct dirent *e;

	snprintf(full, sizeof full, "%s%s", l->root, path);
	DIR *d = opendir(full);
	if (!d) {
		put_error(l, "missing", strrchr(path, '/') + 1, errno);
		return;
	}
	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			one(l, e->d_name);
	closedir(d);
}

static bool there(const struct look *l, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof full, "%s%s", l->root, path);
	return access(full, F_OK) == 0;
}

/* ---- the parts ---- */

static void look_firmware(struct look *l)
{
	static const char *const dmi[] = { "bios_date", "bios_vendor", "bios_version", "board_name",
		                           "board_serial", "board_vendor", "board_version", "chassis_serial",
		                           "chassis_type", "chassis_vendor", "product_name", "product_serial",
		                           "product_uuid", "product_version", "sys_vendor" };
	char path[128];
	bool any = there(l, "/sys/class/dmi/id");

	for (size_t i = 0; any && i < sizeof dmi / sizeof dmi[0]; i++) {
		snprintf(path, sizeof path, "/sys/class/dmi/id/%s", dmi[i]);
		put_file(l, false, "dmi", dmi[i], path);
	}
	if (!any)
		put_text(l, false, "dmi", NULL, "none");
	put_file(l, false, "board", "model", "/sys/firmware/devicetree/base/model");
	put_file(l, false, "board", "serial", "/sys/firmware/devicetree/base/serial-number");
}

/* The value of a line such as "model name	: X" or "MemTotal: X". */
static const char *field(char *line, const char *name)
{
	size_t n = strlen(name);
	char *colon = strchr(line, ':');

	if (!colon || strncmp(line, name, n) != 0)
		return NULL;
	for (char *p = line + n; p < colon; p++)
		if (*p != ' ' && *p != '\t')
			return NULL;
	colon[1 + strcspn(colon + 1, "\n")] = 0;
	return colon + 1 + strspn(colon + 1, " \t");
}

static FILE *open_text(const struct look *l, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof full, "%s%s", l->root, path);
	return fopen(full, "re");
}

/* Of the first processor; all others count. */
static void look_cpu(struct look *l)
{
	static const struct { const char *field, *name; } part[] = {
		{ "vendor_id", "vendor" },
		{ "cpu family", "family" },
		{ "model", "model" },
		{ "model name", "model-name" },
		{ "stepping", "stepping" },
		{ "CPU implementer", "implementer" }, /* ARM */
		{ "CPU part", "part" },
		{ "CPU revision", "revision" },
	};
	char line[1024], text[32];
	const char *v;
	unsigned count = 0;
	FILE *f = open_text(l, "/proc/cpuinfo");

	if (!f) {
		put_error(l, "cpu", NULL, errno);
		return;
	}
	while (fgets(line, sizeof line, f)) {
		if (field(line, "processor"))
			count++;
		else if (count == 1 && (v = field(line, "microcode")))
			put_text(l, true, "cpu", "microcode", v);
		for (size_t i = 0; count == 1 && i < sizeof part / sizeof part[0]; i++)
			if ((v = field(line, part[i].field)))
				put_text(l, false, "cpu", part[i].name, v);
	}
	fclose(f);
	snprintf(text, sizeof text, "%u", count);
	put_text(l, false, "cpu", "count", text);
}

/* To the next 256 MiB: what the kernel keeps for itself differs by a little. */
static void look_memory(struct look *l)
{
	char line[256], text[32];
	const char *v;
	FILE *f = open_text(l, "/proc/meminfo");

	if (!f) {
		put_error(l, "memory", NULL, errno);
		return;
	}
	while (fgets(line, sizeof line, f)) {
		if (!(v = field(line, "MemTotal")))
			continue;
		unsigned long long kib = strtoull(v, NULL, 10);
		snprintf(text, sizeof text, "%llu MiB", (kib / 1024 + 255) / 256 * 256);
		put_text(l, false, "memory", "size", text);
		put_text(l, true, "memory", "exact", v);
	}
	fclose(f);
}

/* One without hardware behind it comes and goes. */
static void look_interface(struct look *l, const char *name)
{
	char path[PATH_MAX];

	if (strcmp(name, "lo") == 0)
		return;
	snprintf(path, sizeof path, "/sys/class/net/%s/device", name);
	bool hardware = there(l, path);
	snprintf(path, sizeof path, "/sys/class/net/%s/address", name);
	put_file(l, !hardware, "mac", name, path);
}

static void look_disk(struct look *l, const char *name)
{
	static const struct { const char *key, *file; } part[] = {
		{ "disk-model", "device/model" },   { "disk-serial", "serial" },
		{ "disk-serial", "device/serial" }, { "disk-wwid", "wwid" },
		{ "disk-wwid", "device/wwid" },     { "disk-sectors", "size" },
	};
	char path[PATH_MAX];

	snprintf(path, sizeof path, "/sys/block/%s/device", name);
	if (!there(l, path))
		return; /* loop, ram, RAID: made of others */
	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		snprintf(path, sizeof path, "/sys/block/%s/%s", name, part[i].file);
		put_file(l, false, part[i].key, name, path);
	}
	/* SCSI's page "unit serial number": 4 octets, then text. */
	char page[256];
	snprintf(path, sizeof path, "/sys/block/%s/device/vpd_pg80", name);
	ssize_t n = slurp(l, path, page, sizeof page);
	if (n > 4)
		inventory_put(&l->inv, false, "disk-serial", name, page + 4, (size_t)n - 4);
}

static unsigned prefix(const struct sockaddr *mask, const uint8_t *p, size_t n)
{
	unsigned bits = 0;

	for (size_t i = 0; mask && i < n; i++)
		for (unsigned b = p[i]; b; b &= b - 1)
			bits++;
	return bits;
}

static void put_address(struct look *l, const struct ifaddrs *a)
{
	char host[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 8];
	bool v6 = a->ifa_addr->sa_family == AF_INET6;
	size_t n = v6 ? 16 : 4, off = v6 ? offsetof(struct sockaddr_in6, sin6_addr) : offsetof(struct sockaddr_in, sin_addr);
	const uint8_t *mask = a->ifa_netmask ? (const uint8_t *)a->ifa_netmask + off : NULL;

	if (!inet_ntop(a->ifa_addr->sa_family, (const uint8_t *)a->ifa_addr + off, host, sizeof host))
		return;
	snprintf(text, sizeof text, "%s/%u", host, prefix(a->ifa_netmask, mask, n));
	put_text(l, true, "address", a->ifa_name, text);
}

static void look_addresses(struct look *l)
{
	struct ifaddrs *all;

	if (getifaddrs(&all) != 0) {
		put_error(l, "address", NULL, errno);
		return;
	}
	for (struct ifaddrs *a = all; a; a = a->ifa_next)
		if (a->ifa_addr && !(a->ifa_flags & IFF_LOOPBACK) &&
		    (a->ifa_addr->sa_family == AF_INET || a->ifa_addr->sa_family == AF_INET6))
			put_address(l, a);
	freeifaddrs(all);
}

static void look_software(struct look *l, const uint8_t *image)
{
	struct utsname u;
	char hex[65] = "?";

	if (uname(&u) == 0) {
		put_text(l, false, "kernel", "release", u.release);
		put_text(l, false, "kernel", "version", u.version);
		put_text(l, false, "kernel", "machine", u.machine);
	}
	if (image)
		hex_text(hex, image, 32);
	put_text(l, false, "executable", "sha256", hex);
}

size_t inventory_collect(const char *root, const uint8_t *image, char out[static INVENTORY_MAX])
{
	static struct look l;

	memset(&l, 0, sizeof l);
	l.root = root;
	look_software(&l, image);
	look_firmware(&l);
	look_cpu(&l);
	look_memory(&l);
	each(&l, "/sys/block", look_disk);
	each(&l, "/sys/class/net", look_interface);
	look_addresses(&l);
	return inventory_write(&l.inv, out);
}

int inventory_image(uint8_t out[static 32])
{
	uint8_t b[16384];
	struct sha s;
	ssize_t n;
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	sha256_init(&s);
	while ((n = read(fd, b, sizeof b)) > 0 || (n < 0 && errno == EINTR))
		if (n > 0)
			sha_update(&s, b, (size_t)n);
	int e = errno;
	close(fd);
	errno = e;
	if (n != 0)
		return -1; /* no hash of a half */
	sha_out(&s, out);
	return 0;
}
