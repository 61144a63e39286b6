/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory/placement.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/base/range.h"
#include "vmm/memory/host_memory.h"

enum { BATCH = 1024 }; /* pages for one move_pages() */

/* ------------------------------------------------------------------------------------------------------ looking */

/*
 * Which page of part number part, of stride pages, is looked at. Spread by a multiplicative hash: a fixed place in each
 * part would see one node only where pages are interleaved.
 */
static uint64_t chosen(uint64_t part, uint64_t stride)
{
	return part * stride + (part * UINT64_C(0x9e3779b97f4a7c15) >> 32) % stride;
}

/* The part's pages are where its one page is. */
static void count(struct placement *placement, int status, uint64_t bytes)
{
	if (status >= 0 && status < NODES_MAX)
		placement->on_node[status] += bytes;
	else
		placement->absent += bytes;
	placement->size += bytes;
}

int placement_look(struct placement *placement, const struct mem_backend *backend, const void *at, uint64_t size,
		   uint64_t samples)
{
	const uint64_t page = backend_page_size(backend), pages = size / page;
	const uint64_t stride = (pages + samples - 1) / samples;
	const uint64_t parts = (pages + stride - 1) / stride;
	const void *addresses[BATCH];
	int statuses[BATCH];
	uint64_t batch;

	assert(backend->kind != BACKEND_DAX && pages > 0);
	placement->sampled |= stride > 1;
	for (uint64_t first = 0; first < parts; first += batch) {
		batch = parts - first < BATCH ? parts - first : BATCH;
		for (uint64_t i = 0; i < batch; i++) {
			uint64_t which = chosen(first + i, stride);

			addresses[i] = (const uint8_t *)at + (which < pages ? which : pages - 1) * page;
		}
		if (syscall(SYS_move_pages, 0, (unsigned long)batch, addresses, NULL, statuses, 0) < 0)
			return -errno;
		for (uint64_t i = 0; i < batch; i++) {
			uint64_t start = (first + i) * stride;

			count(placement, statuses[i], (pages - start < stride ? pages - start : stride) * page);
		}
	}
	return 0;
}

int placement_huge_in(int smaps, void (*found)(void *context, uint64_t start, uint64_t bytes), void *context)
{
	uint64_t start = 0, first, end, kib;
	struct buf text = {0};
	char *line, *rest;
	int code = io_pread_whole(smaps, &text);

	buf_u8(&text, 0);
	if (code == 0 && buf_failed(&text))
		code = -ENOMEM;
	for (line = code == 0 ? strtok_r((char *)text.data, "\n", &rest) : NULL; line != NULL;
	     line = strtok_r(NULL, "\n", &rest)) {
		/* "7f12a0000000-7f12b0000000 rw-s ...", then lines "ShmemPmdMapped:   2048 kB" */
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &first, &end) == 2) {
			start = first; /* not before: the A of "Anonymous:" is a number too */
			continue;
		}
		if ((sscanf(line, "ShmemPmdMapped: %" SCNu64, &kib) == 1 ||
		     sscanf(line, "FilePmdMapped: %" SCNu64, &kib) == 1) &&
		    kib > 0)
			found(context, start, kib * KIB);
	}
	buf_release(&text);
	return code;
}

int placement_huge(const char *root, void (*found)(void *context, uint64_t start, uint64_t bytes), void *context)
{
	char path[PATH_MAX];
	int fd, code;

	snprintf(path, sizeof(path), "%s/proc/self/smaps", root);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	code = placement_huge_in(fd, found, context);
	io_close(&fd);
	return code;
}

/* ---------------------------------------------------------------------------------------------------- reporting */

struct amount {
	char text[32];
};

static struct amount amount_of(uint64_t bytes)
{
	struct amount amount;
	bool whole = bytes % MIB == 0;

	snprintf(amount.text, sizeof(amount.text), "%" PRIu64 " %s", whole ? bytes / MIB : bytes / KIB,
		 whole ? "MiB" : "KiB");
	return amount;
}

/* ", 128 MiB on host node 0, ..."; cut off where a host has too many. */
static void nodes_text(const struct placement *placement, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t node = 0; node < NODES_MAX && used < size; node++) {
		if (placement->on_node[node] > 0)
			used += (size_t)snprintf(text + used, size - used, ", %s on host node %" PRIu32,
						 amount_of(placement->on_node[node]).text, node);
	}
}

static void warn_of_nodes(const struct placement *placement, const struct mem_backend *backend, const struct log *log)
{
	struct node_set others = {0};
	uint64_t outside = 0;
	char asked[64], seen[64];

	for (uint32_t node = 0; node < NODES_MAX; node++) {
		if (placement->on_node[node] > 0 && !node_set_has(&backend->source.host_nodes, node)) {
			node_set_add(&others, node);
			outside += placement->on_node[node];
		}
	}
	if (outside == 0)
		return;
	host_memory_nodes_text(&backend->source.host_nodes, asked, sizeof(asked));
	host_memory_nodes_text(&others, seen, sizeof(seen));
	log_warn(log, "%s: %s are on host nodes %s, though host-nodes=%s; %s", backend->option, amount_of(outside).text,
		 seen, asked,
		 backend->present > 0 ? "what a file had before stays where it is: start with a new one"
				      : "the nodes asked for had no more memory");
}

void placement_report(const struct placement *placement, const struct mem_backend *backend, const struct log *log)
{
	const enum log_level level = backend->source.prealloc ? LOG_INFO : LOG_DEBUG;
	const uint64_t resident = placement->size - placement->absent;
	const uint64_t huge = backend->source.hugetlb != 0 ? resident : placement->huge;
	char nodes[512];

	nodes_text(placement, nodes, sizeof(nodes));
	log_write(log, level, "%s: %s%s resident%s; %" PRIu64 "%% in huge pages", backend->option,
		  placement->sampled ? "by samples, " : "", amount_of(resident).text, nodes,
		  resident > 0 ? (huge < resident ? huge : resident) * 100 / resident : 0);
	if (backend->source.policy == HOST_POLICY_BIND || backend->source.policy == HOST_POLICY_INTERLEAVE)
		warn_of_nodes(placement, backend, log);
	if (placement->absent > 0)
		log_warn(log,
			 "%s: %s are not resident although they were populated; the host has taken them away again",
			 backend->option, amount_of(placement->absent).text);
}
