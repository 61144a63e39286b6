/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory/host_memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/base/parse.h"
#include "vmm/base/range.h"

#define NODE_FOLDER "/sys/devices/system/node"

/* ---------------------------------------------------------------------------------------------------- small files */

/* A file's path below root. One that is too long for the kernel is cut off, and then names no file. */
struct path {
	char text[PATH_MAX];
};

__attribute__((format(printf, 2, 3))) static struct path path_of(const char *root, const char *format, ...)
{
	struct path path;
	va_list args;
	int used = snprintf(path.text, sizeof(path.text), "%s", root);

	assert(used >= 0 && (size_t)used < sizeof(path.text));
	va_start(args, format);
	vsnprintf(path.text + used, sizeof(path.text) - (size_t)used, format, args);
	va_end(args);
	return path;
}

/* Reads a file of /sys or /proc as text; free() it. NULL when it cannot be read. */
static char *read_text(struct path path)
{
	struct error ignored;
	struct buf buf = {0};
	size_t size;

	if (io_read_file(path.text, MIB, &buf, EXIT_STATUS_HOST, &ignored) == 0)
		buf_u8(&buf, 0);
	else
		buf_release(&buf);
	return (char *)buf_steal(&buf, &size);
}

/* The number behind key in a text such as /proc/meminfo; 0 when it is not there. */
static uint64_t number_after(const char *text, const char *key)
{
	const char *at = strstr(text, key);

	return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

/* The number in a file; 0 when there is none. */
static uint64_t read_number(struct path path)
{
	uint64_t number = 0;

	return io_read_number(path.text, &number) < 0 ? 0 : number;
}

static void add_node(void *context, uint32_t node)
{
	node_set_add(context, node);
}

/* A list of nodes such as NODE_FOLDER/has_memory; empty when the kernel has no NUMA. */
static struct node_set read_nodes(const char *root, const char *file)
{
	char *text = read_text(path_of(root, NODE_FOLDER "/%s", file));
	struct node_set nodes = {0};
	struct error ignored;

	if (text != NULL) {
		text[strcspn(text, "\n")] = '\0';
		parse_list((struct token){text, 1}, NODES_MAX - 1, add_node, &nodes, &ignored);
	}
	free(text);
	return nodes;
}

/* ---------------------------------------------------------------------------------------------------------- nodes */

uint32_t host_memory_first_node(const struct node_set *nodes)
{
	uint32_t node = 0;

	assert(!node_set_is_empty(nodes));
	while (!node_set_has(nodes, node))
		node++;
	return node;
}

void host_memory_nodes_text(const struct node_set *nodes, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t node = 0; node < NODES_MAX && used < size; node++) {
		uint32_t last = node;

		if (!node_set_has(nodes, node))
			continue;
		while (node_set_has(nodes, last + 1))
			last++;
		used += (size_t)snprintf(text + used, size - used, used > 0 ? ",%" PRIu32 : "%" PRIu32, node);
		if (last > node && used < size)
			used += (size_t)snprintf(text + used, size - used, "-%" PRIu32, last);
		node = last;
	}
}

struct node_set host_memory_nodes(const char *root)
{
	return read_nodes(root, "has_memory");
}

int host_memory_check_nodes(const char *root, const char *option, const struct backend_source *source,
			    struct error *err)
{
	struct node_set online, has_memory;
	char text[128];

	if (node_set_is_empty(&source->host_nodes))
		return 0;
	online = read_nodes(root, "online");
	has_memory = host_memory_nodes(root);
	if (node_set_is_empty(&has_memory)) {
		return error_set(
			err, EXIT_STATUS_HOST, ENODEV,
			"%s: host-nodes: this host's kernel knows no NUMA nodes; leave host-nodes and policy out",
			option);
	}
	host_memory_nodes_text(&has_memory, text, sizeof(text));
	for (uint32_t node = 0; node < NODES_MAX; node++) {
		if (!node_set_has(&source->host_nodes, node) || node_set_has(&has_memory, node))
			continue;
		return error_set(err, EXIT_STATUS_HOST, ENODEV,
				 node_set_has(&online, node) ? "%s: host-nodes: host node %" PRIu32
							       " has no memory; nodes with memory are %s"
							     : "%s: host-nodes: this host has no node %" PRIu32
							       "; its nodes with memory are %s",
				 option, node, text);
	}
	return 0;
}

/* --------------------------------------------------------------------------------------------------- huge pages */

/* Free pages on the nodes, reserved or not: the kernel reserves for the pool as a whole, not for a node. */
static uint64_t free_on_nodes(const char *root, const struct node_set *nodes, const char *pool)
{
	uint64_t sum = 0;

	for (uint32_t node = 0; node < NODES_MAX; node++) {
		if (node_set_has(nodes, node))
			sum += read_number(
				path_of(root, NODE_FOLDER "/node%" PRIu32 "/hugepages/%s/free_hugepages", node, pool));
	}
	return sum;
}

static int shortage(const char *root, const char *option, const struct backend_source *source, const char *pool,
		    uint64_t need, uint64_t have, struct error *err)
{
	char file[160] = "/sys/kernel/mm/hugepages", where[160] = "";

	if (source->policy == HOST_POLICY_BIND) {
		char nodes[64];

		host_memory_nodes_text(&source->host_nodes, nodes, sizeof(nodes));
		snprintf(where, sizeof(where), " on host nodes %s", nodes);
		snprintf(file, sizeof(file), NODE_FOLDER "/node%" PRIu32 "/hugepages",
			 host_memory_first_node(&source->host_nodes));
	}
	return error_set(err, EXIT_STATUS_HOST, ENOMEM,
			 "%s: needs %" PRIu64 " huge pages of %" PRIu64 " MiB%s, the pool %s has %" PRIu64
			 " to give; make more as root: echo %" PRIu64 " > %s/%s/nr_hugepages",
			 option, need, source->hugetlb / MIB, where, pool, have,
			 read_number(path_of(root, "%s/%s/nr_hugepages", file, pool)) + need - have, file, pool);
}

int host_memory_check_pool(const char *root, const char *option, uint64_t size, const struct backend_source *source,
			   struct error *err)
{
	uint64_t need = size / source->hugetlb, have, spare, reserved, surplus;
	char pool[40], *text;

	snprintf(pool, sizeof(pool), "hugepages-%" PRIu64 "kB", source->hugetlb / KIB);
	text = read_text(path_of(root, "/sys/kernel/mm/hugepages/%s/nr_hugepages", pool));
	if (text == NULL) {
		return error_set(err, EXIT_STATUS_HOST, ENODEV,
				 "%s: this host has no huge pages of %" PRIu64
				 " MiB (no /sys/kernel/mm/hugepages/%s); use another hugetlb size or leave it out",
				 option, source->hugetlb / MIB, pool);
	}
	free(text);
	have = read_number(path_of(root, "/sys/kernel/mm/hugepages/%s/free_hugepages", pool));
	reserved = read_number(path_of(root, "/sys/kernel/mm/hugepages/%s/resv_hugepages", pool));
	spare = read_number(path_of(root, "/sys/kernel/mm/hugepages/%s/nr_overcommit_hugepages", pool));
	surplus = read_number(path_of(root, "/sys/kernel/mm/hugepages/%s/surplus_hugepages", pool));
	have = have > reserved ? have - reserved : 0;
	spare = spare > surplus ? spare - surplus : 0;
	if (source->policy == HOST_POLICY_BIND) {
		uint64_t there = free_on_nodes(root, &source->host_nodes, pool);

		if (there < have)
			have = there;
	}
	if (have + spare < need)
		return shortage(root, option, source, pool, need, have + spare, err);
	return 0;
}

/* ------------------------------------------------------------------------------------------------- ordinary pages */

/*
 * MemAvailable is told for the host as a whole only; for a node its parts that can be had without swapping are added
 * up.
 */
static uint64_t room_on_nodes(const char *root, const struct node_set *nodes)
{
	uint64_t kib = 0;

	for (uint32_t node = 0; node < NODES_MAX; node++) {
		char *text;

		if (!node_set_has(nodes, node))
			continue;
		text = read_text(path_of(root, NODE_FOLDER "/node%" PRIu32 "/meminfo", node));
		if (text != NULL) {
			kib += number_after(text, "MemFree:") + number_after(text, "Active(file):") +
			       number_after(text, "Inactive(file):") + number_after(text, "SReclaimable:");
		}
		free(text);
	}
	return kib * KIB;
}

/* What one control group still allows, without its file cache; UINT64_MAX without a limit. */
static uint64_t room_in_group(const char *root, const char *path)
{
	char *max = read_text(path_of(root, "/sys/fs/cgroup%s/memory.max", path)), *stat;
	uint64_t used = read_number(path_of(root, "/sys/fs/cgroup%s/memory.current", path)), cache = 0,
		 limit = UINT64_MAX;

	if (max != NULL && max[0] >= '0' && max[0] <= '9') {
		limit = strtoull(max, NULL, 10);
		stat = read_text(path_of(root, "/sys/fs/cgroup%s/memory.stat", path));
		if (stat != NULL)
			cache = number_after(stat, "inactive_file ") + number_after(stat, "\nactive_file ");
		free(stat);
		used = used > cache ? used - cache : 0;
		limit = limit > used ? limit - used : 0;
	}
	free(max);
	return limit;
}

/*
 * The least that the process's control group and those around it allow: beyond it comes the OOM killer, not an error.
 */
static uint64_t room_in_groups(const char *root)
{
	char *text = read_text(path_of(root, "/proc/self/cgroup")), *path = text == NULL ? NULL : strstr(text, "0::/");
	uint64_t least = UINT64_MAX;

	if (path != NULL) { /* version 2, cgroups(7) */
		path += strlen("0::");
		path[strcspn(path, "\n")] = '\0';
		if (strcmp(path, "/") == 0)
			*path = '\0';
		for (char *end = path + strlen(path); end != NULL; end = strrchr(path, '/')) {
			uint64_t room;

			*end = '\0';
			room = room_in_group(root, path);
			if (room < least)
				least = room;
		}
	}
	free(text);
	return least;
}

bool host_memory_is_strict(const char *root)
{
	return read_number(path_of(root, "/proc/sys/vm/overcommit_memory")) == 2;
}

/* What a file such as "always [madvise] never" says, empty when it cannot be read; the choice that holds is in brackets. */
struct choices {
	char text[128];
};

static struct choices read_choices(const char *root, const char *file)
{
	int fd = open(path_of(root, "/sys/kernel/mm/transparent_hugepage/%s", file).text, O_RDONLY | O_CLOEXEC);
	struct choices choices = {""};

	if (fd < 0 || read(fd, choices.text, sizeof(choices.text) - 1) < 0)
		choices.text[0] = '\0';
	io_close(&fd);
	return choices;
}

enum host_huge host_memory_huge(const char *root)
{
	const struct choices shared = read_choices(root, "shmem_enabled");

	if (strchr(shared.text, '[') == NULL || strstr(shared.text, "[deny]") != NULL)
		return HOST_HUGE_NEVER;
	if (strstr(shared.text, "[never]") == NULL)
		return HOST_HUGE_MEMFD;
	return strstr(read_choices(root, "enabled").text, "[never]") != NULL ? HOST_HUGE_NEVER : HOST_HUGE_TMPFS;
}

int host_memory_room(const char *root, const struct backend_source *source, struct host_room *room)
{
	char *text = read_text(path_of(root, "/proc/meminfo"));
	uint64_t other;

	if (text == NULL || strstr(text, "MemAvailable:") == NULL) {
		free(text);
		return -ENOENT;
	}
	*room = (struct host_room){number_after(text, "MemAvailable:") * KIB, "on the host"};
	free(text);
	if (source->policy == HOST_POLICY_BIND) {
		other = room_on_nodes(root, &source->host_nodes);
		if (other < room->bytes)
			*room = (struct host_room){other, "on its host nodes"};
	}
	other = room_in_groups(root);
	if (other < room->bytes)
		*room = (struct host_room){other, "in the control group"};
	return 0;
}

/* -------------------------------------------------------------------------------------------------- device-dax */

int host_memory_dax(const char *root, dev_t number, uint64_t *align, uint64_t *size)
{
	struct path device = path_of(root, "/sys/dev/char/%u:%u", major(number), minor(number));
	struct path link = path_of(device.text, "/subsystem");
	char target[PATH_MAX];
	ssize_t length = readlink(link.text, target, sizeof(target) - 1);

	if (length < 0)
		return -ENODEV;
	target[length] = '\0';
	if (strcmp(target, "dax") != 0 && (length < 4 || strcmp(target + length - 4, "/dax") != 0))
		return -ENODEV;
	*align = read_number(path_of(device.text, "/align"));
	*size = read_number(path_of(device.text, "/size"));
	/* a device without memory says 0; nothing of it could be mapped */
	return *size == 0 || *align == 0 || (*align & (*align - 1)) != 0 ? -ENODEV : 0;
}
