/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEMORY_HOST_MEMORY_H
#define SPMVM_MEMORY_HOST_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

#include "vmm/base/error.h"
#include "vmm/memory/backend.h"

/*
 * What the host says about its memory, read from /sys and /proc. For the backend only. root goes before every path: ""
 * is the host itself, tests give a folder of their own. Errors are EXIT_STATUS_HOST and start with option. Any thread.
 */

/* The nodes that have memory; empty when the kernel knows no NUMA. */
struct node_set host_memory_nodes(const char *root);

/*
 * Whether vm.overcommit_memory is 2: then a fault may fail for want of commit charge, which for a memfd means SIGBUS.
 */
bool host_memory_is_strict(const char *root);

/*
 * Whether shared memory can be had in huge pages by asking (madvise(MADV_HUGEPAGE)): a memfd's can, only that of a tmpfs which is mounted
 * for it, or none (/sys/kernel/mm/transparent_hugepage/). A host where no process gets huge pages ("enabled" is "never") wants none
 * here either.
 */
enum host_huge { HOST_HUGE_NEVER, HOST_HUGE_MEMFD, HOST_HUGE_TMPFS };

enum host_huge host_memory_huge(const char *root);

/* Every node of source->host_nodes is online and has memory, or an error that lists those that do. */
int host_memory_check_nodes(const char *root, const char *option, const struct backend_source *source,
			    struct error *err);

/*
 * The pool of source->hugetlb has pages for size more bytes that nobody has reserved, and so many are free on the nodes
 * of a HOST_POLICY_BIND; pages that the kernel may add by itself (nr_overcommit_hugepages) count. Or an error with
 * pool, nodes, need, have and the command that makes more. A snapshot: only a reservation makes it last.
 */
int host_memory_check_pool(const char *root, const char *option, uint64_t size, const struct backend_source *source,
			   struct error *err);

/* How much memory of 4 KiB pages can be had without swapping, and what limits it. */
struct host_room {
	uint64_t bytes;
	const char *where; /* "on the host", "on its host nodes", "in the control group"; static */
};

/*
 * The room for memory with this source: MemAvailable, for HOST_POLICY_BIND what is free or file cache on the nodes, and
 * memory.max of the process's control groups (version 2) if less. An estimate on the generous side. -errno when /proc
 * does not tell.
 */
int host_memory_room(const char *root, const struct backend_source *source, struct host_room *room);

/*
 * The alignment of a device-dax's mappings and its size, both in bytes, from /sys/dev/char/MAJOR:MINOR/. -ENODEV when
 * the device number is that of something else.
 */
int host_memory_dax(const char *root, dev_t number, uint64_t *align, uint64_t *size);

/* "0-1,3", cut off when it does not fit. */
void host_memory_nodes_text(const struct node_set *nodes, char *text, size_t size);

/* The lowest number in a set that is not empty. */
uint32_t host_memory_first_node(const struct node_set *nodes);

#endif
