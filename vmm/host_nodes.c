/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/host_nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/io.h"
#include "vmm/base/node_set.h"
#include "vmm/base/parse.h"
#include "vmm/base/range.h"

#define NODE_FOLDER "/sys/devices/system/node"

/* include/linux/topology.h: what a node is from itself, and what is out of reach. */
enum { DISTANCE_LOCAL = 10, DISTANCE_UNREACHABLE = 255 };

/* A file of NODE_FOLDER as text without its newline, "" when it cannot be read; free() it. NULL for want of memory. */
__attribute__((format(printf, 2, 3))) static char *read_text(const char *root, const char *format, ...)
{
	char path[PATH_MAX];
	struct error ignored;
	struct buf buf = {0};
	va_list args;
	size_t size;
	int used = snprintf(path, sizeof(path), "%s" NODE_FOLDER "/", root);

	if (used < 0 || (size_t)used >= sizeof(path))
		return strdup("");
	va_start(args, format);
	vsnprintf(path + used, sizeof(path) - (size_t)used, format, args);
	va_end(args);
	if (io_read_file(path, MIB, &buf, EXIT_STATUS_HOST, &ignored) < 0) {
		buf_release(&buf);
		return strdup("");
	}
	if (buf.size > 0 && buf.data[buf.size - 1] == '\n')
		buf.size--;
	buf_u8(&buf, 0);
	return (char *)buf_steal(&buf, &size);
}

static void add_node(void *context, uint32_t node)
{
	node_set_add(context, node);
}

static void add_cpu(void *context, uint32_t cpu)
{
	CPU_SET(cpu, (cpu_set_t *)context);
}

/* A row of distances, one for each node that is online; all 0 unless it has just as many that can be. */
static void read_distances(const char *text, uint8_t *row, size_t count)
{
	size_t seen = 0;

	for (; seen < count; seen++) {
		char *end;
		unsigned long distance;

		text += strspn(text, " ");
		if (*text < '0' || *text > '9')
			break;
		distance = strtoul(text, &end, 10);
		if (distance < DISTANCE_LOCAL || distance > DISTANCE_UNREACHABLE || (*end != ' ' && *end != '\0'))
			break;
		row[seen] = (uint8_t)distance;
		text = end;
	}
	if (seen < count || text[strspn(text, " ")] != '\0')
		memset(row, 0, count);
}

/* One class of a node: nanoseconds and MB/s of 2^20 bytes, as drivers/base/node.c shows what HMAT said. */
static int read_figures(const char *root, uint32_t node, int access, uint32_t figures[ACPI_FIGURES], struct error *err)
{
	static const char *const FILES[ACPI_FIGURES] = {"read_latency", "write_latency", "read_bandwidth",
							"write_bandwidth"};

	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		uint32_t factor = kind <= ACPI_WRITE_LATENCY ? 1000 : 1;
		char *text = read_text(root, "node%" PRIu32 "/access%d/initiators/%s", node, access, FILES[kind]);
		struct error ignored;
		uint64_t number = 0;

		if (text == NULL)
			return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the host's nodes");
		if (parse_number((struct token){text, 1}, 1, UINT32_MAX / factor, &number, &ignored) < 0)
			number = 0;
		figures[kind] = (uint32_t)number * factor;
		free(text);
	}
	return 0;
}

static bool has_any(const uint32_t figures[ACPI_FIGURES])
{
	return (figures[0] | figures[1] | figures[2] | figures[3]) != 0;
}

static int read_node(struct host_nodes *host, size_t index, const char *root, struct error *err)
{
	struct host_node *node = &host->nodes[index];
	char *distances = read_text(root, "node%" PRIu32 "/distance", node->number);
	char *cpus = read_text(root, "node%" PRIu32 "/cpulist", node->number);
	struct error ignored;
	int code = 0;

	if (distances == NULL || cpus == NULL) {
		code = error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the host's nodes");
	} else {
		read_distances(distances, &host->distances[index * host->count], host->count);
		if (parse_list((struct token){cpus, 1}, CPU_SETSIZE - 1, add_cpu, &node->cpus, &ignored) < 0)
			CPU_ZERO(&node->cpus);
		code = read_figures(root, node->number, 0, node->from_any, err);
	}
	if (code == 0)
		code = read_figures(root, node->number, 1, node->from_cpus, err);
	if (code == 0 && !has_any(node->from_cpus)) /* before Linux 5.11 */
		memcpy(node->from_cpus, node->from_any, sizeof(node->from_cpus));
	free(distances);
	free(cpus);
	return code;
}

int host_nodes_read(struct host_nodes *host, const char *root, struct error *err)
{
	char *text = read_text(root, "online");
	struct node_set online = {{0}};
	struct error ignored;
	int code = 0;

	*host = (struct host_nodes){0};
	if (text == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the host's nodes");
	if (parse_list((struct token){text, 1}, NODES_MAX - 1, add_node, &online, &ignored) < 0)
		online = (struct node_set){{0}};
	free(text);
	for (uint32_t number = 0; number < NODES_MAX; number++)
		host->count += node_set_has(&online, number);
	if (host->count == 0)
		return 0;
	host->nodes = calloc(host->count, sizeof(host->nodes[0]));
	host->distances = calloc(host->count, host->count);
	if (host->nodes == NULL || host->distances == NULL) {
		host_nodes_release(host);
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the host's nodes");
	}
	for (uint32_t number = 0, i = 0; number < NODES_MAX && code == 0; number++) {
		if (!node_set_has(&online, number))
			continue;
		host->nodes[i].number = number;
		code = read_node(host, i++, root, err);
	}
	if (code < 0)
		host_nodes_release(host);
	return code;
}

void host_nodes_release(struct host_nodes *host)
{
	free(host->nodes);
	free(host->distances);
	*host = (struct host_nodes){0};
}

const struct host_node *host_nodes_find(const struct host_nodes *host, uint32_t number)
{
	for (size_t i = 0; i < host->count; i++) {
		if (host->nodes[i].number == number)
			return &host->nodes[i];
	}
	return NULL;
}

uint8_t host_nodes_distance(const struct host_nodes *host, const struct host_node *from, const struct host_node *to)
{
	return host->distances[(size_t)(from - host->nodes) * host->count + (size_t)(to - host->nodes)];
}
