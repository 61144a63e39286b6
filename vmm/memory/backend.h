/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_MEMORY_BACKEND_H
#define SPMVM_MEMORY_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/base/node_set.h"

/*
 * Host memory behind guest memory: a memfd of its own for each --mem and --spm, named after it, with its own page size
 * and NUMA policy (memfd_create(2), mbind(2)); or a file, a device-dax or a descriptor that the user names. Where that gives huge pages
 * and a memfd does not, a file of a tmpfs of our own stands in for the memfd (huge_tmpfs.h), under the same name.
 */
enum host_policy {
	HOST_POLICY_DEFAULT,   /* whatever the host does for this process */
	HOST_POLICY_BIND,      /* these nodes and no others */
	HOST_POLICY_PREFERRED, /* these nodes while they have memory (the first only, before Linux 5.15), then any */
	HOST_POLICY_INTERLEAVE /* page by page over these nodes, the next one when it is empty */
};

/* What the user asked for; the keys host-nodes, policy, hugetlb, prealloc, mem-path and fd of --mem and --spm. */
struct backend_source {
	enum host_policy policy;
	struct node_set host_nodes; /* empty with HOST_POLICY_DEFAULT only */
	uint64_t hugetlb;           /* 0, 2 MiB or 1 GiB */
	bool prealloc;
	const char *path; /* mem-path=: a file, or a device-dax; borrowed; NULL when not given */
	int inherited;    /* fd=: a descriptor that spmvm was started with, 3 or higher; 0 when not given */
};

/* Whether the user names what it is: then it may have something in it, and others may have it too. */
static inline bool backend_is_named(const struct backend_source *source)
{
	return source->path != NULL || source->inherited > 0;
}

/* Whether backend_open() would put it on a tmpfs: new memory of ordinary pages. */
static inline bool backend_takes_tmpfs(const struct backend_source *source)
{
	return !backend_is_named(source) && source->hugetlb == 0;
}

/* Where the pages come from. */
enum backend_kind {
	BACKEND_MEMORY, /* a memfd, or a file of tmpfs or hugetlbfs: NUMA policies hold */
	BACKEND_CACHE,  /* a file of another file system: pages of the page cache */
	BACKEND_DAX     /* a device-dax: the device's own memory */
};

struct mem_backend {
	int fd; /* owned here, O_CLOEXEC; -1 when unset */
	uint64_t size;
	struct backend_source source; /* hugetlb as it is: a file on hugetlbfs says it itself */
	enum backend_kind kind;
	uint64_t align;     /* of BACKEND_DAX: what its mappings are multiples of */
	uint64_t present;   /* bytes that a file had when it was opened: they need no new memory */
	bool made;          /* mem-path= was not there before: it goes with the release; see backend_keep() */
	bool populate;      /* asked for (prealloc) or needed to rule out a SIGBUS: backend_populate() */
	const char *option; /* "--spm id=hbm0", for messages; borrowed, outlives the backend */
};

/*
 * Opens the memory, size bytes of it, a multiple of the page size: the memfd "spmvm-NAME" (so /proc/self/maps shows
 * it; sealed, so that nobody makes it smaller), or what mem-path= or fd= name (backend_file.h). For what takes it, unless
 * tmpfs is negative, a file in that folder stands in for the memfd: no name of it stays there, and only a memfd can be
 * sealed. Checks before
 * anything is used: every host node exists and has memory, the huge page pool has enough free pages of the size (on the
 * bound nodes); an error names pool, nodes, need, have and the command that makes more. Huge pages are reserved here
 * and now, so that two backends never count on the same page; the reservation goes with the backend. EXIT_STATUS_HOST;
 * -ENODEV, -ENOMEM, -EFBIG or what the kernel said. On failure *backend is as released.
 */
int backend_open(struct mem_backend *backend, const char *name, const char *option, uint64_t size,
		 const struct backend_source *source, int tmpfs, struct error *err);

/*
 * Closes it; a memfd's memory goes when its last mapping does, and a file that backend_open() made goes too unless it was
 * kept. Takes NULL, a zeroed and a released backend too.
 */
void backend_release(struct mem_backend *backend);

/* The guest may have written to it: from here on a file that backend_open() made stays. */
void backend_keep(struct mem_backend *backend);

/* The size of the pages that it maps with: 4 KiB, 2 MiB or 1 GiB. Offsets and addresses are multiples of it. */
uint64_t backend_page_size(const struct mem_backend *backend);

/*
 * Maps size bytes at offset to the address at (MAP_SHARED | MAP_FIXED: the caller has reserved it), sets the NUMA
 * policy there before any page exists, keeps the memory out of core dumps (MADV_DONTDUMP). All three are multiples of
 * the page size; where they are not, because the layout did not know what a file or device would turn out to be, this
 * is an error. EXIT_STATUS_HOST; what was mapped then goes with the caller's reservation.
 *
 * With 4 KiB pages the policy belongs to the file, and other processes that map it get it too. With huge pages it
 * belongs to this mapping (Linux Documentation/admin-guide/mm/numa_memory_policy.rst): pages that a vhost-user back end
 * touches first come from anywhere.
 */
int backend_map(const struct mem_backend *backend, uint64_t offset, uint64_t size, void *at, struct error *err);

/*
 * Gives the memory at offset back to the host: the guest reads zeros there afterwards (fallocate(2), FALLOC_FL_PUNCH_HOLE). -errno. Any
 * thread.
 */
int backend_discard(const struct mem_backend *backend, uint64_t offset, uint64_t size);

/*
 * Touches every page of a mapping that backend_map() made (MADV_POPULATE_WRITE in steps, on up to eight threads,
 * progress on the log at level info when it takes longer than a second). Does nothing unless backend->populate: call it
 * for every mapping. It is set by prealloc, and also where the kernel's promise is too weak to rule out a SIGBUS later:
 * huge pages that must come from certain nodes (reservations are made for the pool, not for a node), and any memory
 * under vm.overcommit_memory=2.
 *
 * A shortage is an error, never a SIGBUS: -ENOMEM, EXIT_STATUS_HOST, with how far it got. For 4 KiB pages what the
 * host, its nodes and the control groups have left is looked at first, because beyond that is no error but the OOM
 * killer. A signal that ends the process ends this too; there is nothing to clean up. Pages that were touched stay; they go with the
 * backend.
 */
int backend_populate(const struct mem_backend *backend, void *at, uint64_t size, const struct log *log,
		     struct error *err);

#endif
