/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory/backend.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/base/range.h"
#include "vmm/memory/backend_file.h"
#include "vmm/memory/host_memory.h"

/* memfd_create(2), "MFD_HUGETLB": the page size's binary logarithm, from bit 26 on. */
#define MEMFD_HUGE_SHIFT 26

/* The masks are read as unsigned longs, and the kernel takes one bit less than it is told (mbind(2), "Bugs"). */
#define MASK_BITS ((unsigned long)NODES_MAX + 1)

uint64_t backend_page_size(const struct mem_backend *backend)
{
	if (backend->kind == BACKEND_DAX)
		return backend->align;
	return backend->source.hugetlb != 0 ? backend->source.hugetlb : 4 * KIB;
}

void backend_release(struct mem_backend *backend)
{
	if (backend == NULL)
		return;
	if (backend->made && backend->source.path != NULL)
		unlink(backend->source.path);
	if (backend->size > 0) /* a zeroed backend has no descriptor, least of all 0 */
		io_close(&backend->fd);
	*backend = (struct mem_backend){.fd = -1};
}

void backend_keep(struct mem_backend *backend)
{
	backend->made = false;
}

/* Whether this process may have memory from some of the host's nodes only (numactl --membind, cpusets). */
static bool is_confined(void)
{
	struct node_set allowed = {0}, present = host_memory_nodes("");
	int mode = MPOL_DEFAULT;

	if (syscall(SYS_get_mempolicy, &mode, NULL, 0UL, NULL, 0UL) == 0 && (mode & ~MPOL_MODE_FLAGS) == MPOL_BIND)
		return true;
	if (syscall(SYS_get_mempolicy, NULL, allowed.words, MASK_BITS, NULL, (unsigned long)MPOL_F_MEMS_ALLOWED) < 0)
		return false; /* a kernel without NUMA */
	for (int i = 0; i < NODES_MAX / 64; i++) {
		if ((present.words[i] & ~allowed.words[i]) != 0)
			return true;
	}
	return false;
}

/*
 * Whether only populating at the start makes a SIGBUS in the running guest impossible. A reservation of huge pages
 * counts pages of the whole pool (Linux Documentation/mm/hugetlbfs_reserv.rst): when the pages must come from some
 * nodes, these may be empty though the reservation holds. A memfd of ordinary pages has no reservation at all, which
 * strict overcommit may refuse later.
 */
static bool must_populate(const struct mem_backend *backend)
{
	const struct backend_source *source = &backend->source;

	if (backend->kind != BACKEND_MEMORY)
		return false;
	if (source->hugetlb == 0)
		return host_memory_is_strict("");
	return source->policy == HOST_POLICY_BIND || is_confined();
}

/* ftruncate() beyond RLIMIT_FSIZE would end the process by SIGXFSZ. */
static int check_file_limit(const char *option, uint64_t size, struct error *err)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur)
		return 0;
	return error_set(err, EXIT_STATUS_HOST, EFBIG,
			 "%s: %" PRIu64 " MiB is more than this process's file size limit of %" PRIu64
			 " MiB; lift it (ulimit -f unlimited)",
			 option, size / MIB, (uint64_t)limit.rlim_cur / MIB);
}

/* What new memory it takes, at most. */
static uint64_t missing(const struct mem_backend *backend)
{
	return backend->size - (backend->present < backend->size ? backend->present : backend->size);
}

/*
 * Takes the pages out of the pool for good: the reservation that mmap() makes for a shared mapping belongs to the file
 * and outlives the mapping. So backends that draw on one pool cannot promise the same page twice.
 */
static int reserve_huge_pages(const struct mem_backend *backend, struct error *err)
{
	void *at = mmap(NULL, backend->size, PROT_READ | PROT_WRITE, MAP_SHARED, backend->fd, 0);
	int code = errno;

	if (at != MAP_FAILED) {
		munmap(at, backend->size);
		return 0;
	}
	/* Another process may have been faster; then the numbers say so. */
	if (host_memory_check_pool("", backend->option, missing(backend), &backend->source, err) < 0)
		return -code;
	return error_set(err, EXIT_STATUS_HOST, code,
			 "%s: the kernel refuses to reserve %" PRIu64 " huge pages of %" PRIu64
			 " MiB though they are free: %s; look at this process's cpuset and hugetlb control group",
			 backend->option, backend->size / backend->source.hugetlb, backend->source.hugetlb / MIB,
			 strerror(code));
}

static int make_memfd(const struct mem_backend *backend, const char *name)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	char label[240]; /* memfd_create(2): at most 249 bytes */

	if (backend->source.hugetlb != 0)
		flags |= MFD_HUGETLB | (unsigned)__builtin_ctzll(backend->source.hugetlb) << MEMFD_HUGE_SHIFT;
	snprintf(label, sizeof(label), "spmvm-%s", name);
	return memfd_create(label, flags);
}

/* /proc/PID/maps and /proc/PID/fd call a memfd so, and what stands in for it is called the same. */
static int make_file(int tmpfs, const char *name)
{
	char label[240];
	int fd;

	snprintf(label, sizeof(label), "memfd:spmvm-%s", name);
	fd = openat(tmpfs, label, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0)
		(void)unlinkat(tmpfs, label, 0);
	return fd;
}

static int make_memory(struct mem_backend *backend, const char *name, int tmpfs, struct error *err)
{
	const bool sealed = tmpfs < 0 || !backend_takes_tmpfs(&backend->source);
	int code;

	backend->fd = sealed ? make_memfd(backend, name) : make_file(tmpfs, name);
	if (backend->fd < 0 || ftruncate(backend->fd, (off_t)backend->size) < 0 ||
	    (sealed && fcntl(backend->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)) {
		code = errno;
		return error_set(err, EXIT_STATUS_HOST, code, "%s: cannot make a memfd of %" PRIu64 " MiB: %s",
				 backend->option, backend->size / MIB, strerror(code));
	}
	return 0;
}

static int check_pool(const struct mem_backend *backend, struct error *err)
{
	if (backend->source.hugetlb == 0)
		return 0;
	return host_memory_check_pool("", backend->option, missing(backend), &backend->source, err);
}

static int open_memory(struct mem_backend *backend, const char *name, int tmpfs, struct error *err)
{
	int code = check_pool(backend, err);

	if (code == 0)
		code = check_file_limit(backend->option, backend->size, err);
	return code < 0 ? code : make_memory(backend, name, tmpfs, err);
}

static int open_file(struct mem_backend *backend, struct error *err)
{
	int code = backend_file_open(backend, err);

	return code < 0 ? code : check_pool(backend, err);
}

int backend_open(struct mem_backend *backend, const char *name, const char *option, uint64_t size,
		 const struct backend_source *source, int tmpfs, struct error *err)
{
	int code;

	*backend = (struct mem_backend){.fd = -1, .size = size, .source = *source, .option = option};
	assert(size > 0 && is_aligned(size, backend_page_size(backend)));
	assert(node_set_is_empty(&source->host_nodes) == (source->policy == HOST_POLICY_DEFAULT));
	code = host_memory_check_nodes("", option, source, err);
	if (code == 0)
		code = backend_is_named(source) ? open_file(backend, err) : open_memory(backend, name, tmpfs, err);
	if (code == 0 && backend->source.hugetlb != 0)
		code = reserve_huge_pages(backend, err);
	if (code < 0) {
		backend_release(backend);
		return code;
	}
	backend->populate = source->prealloc || must_populate(backend);
	return 0;
}

/* The policy of mbind(2) for several nodes; MPOL_PREFERRED takes the first of a mask only. */
static long bind_range(void *at, uint64_t size, int mode, const struct node_set *nodes)
{
	return syscall(SYS_mbind, at, (unsigned long)size, mode, nodes->words, MASK_BITS, 0U);
}

static int set_policy(const struct mem_backend *backend, void *at, uint64_t size, struct error *err)
{
	const struct node_set *nodes = &backend->source.host_nodes;
	char text[64];
	long result = 0;
	int code;

	switch (backend->source.policy) {
	case HOST_POLICY_DEFAULT:
		return 0;
	case HOST_POLICY_BIND:
		result = bind_range(at, size, MPOL_BIND, nodes);
		break;
	case HOST_POLICY_INTERLEAVE:
		result = bind_range(at, size, MPOL_INTERLEAVE, nodes);
		break;
	case HOST_POLICY_PREFERRED:
		result = bind_range(at, size, MPOL_PREFERRED_MANY, nodes);
		if (result < 0 && errno == EINVAL) /* before Linux 5.15 */
			result = bind_range(at, size, MPOL_PREFERRED, nodes);
		break;
	}
	if (result == 0)
		return 0;
	code = errno;
	host_memory_nodes_text(nodes, text, sizeof(text));
	return error_set(err, EXIT_STATUS_HOST, code,
			 "%s: the host refuses the NUMA policy for host-nodes=%s (mbind: %s); %s", backend->option,
			 text, strerror(code),
			 code == EPERM ? "a container's seccomp filter must allow mbind"
				       : "look at the nodes that this process may use (Mems_allowed_list in "
					 "/proc/self/status)");
}

int backend_map(const struct mem_backend *backend, uint64_t offset, uint64_t size, void *at, struct error *err)
{
	const uint64_t page = backend_page_size(backend);

	assert(range_contains((struct range){0, backend->size}, (struct range){offset, size}));
	/* The layout knows hugetlb=, but not what a file or a device turns out to be. */
	if (!is_aligned(offset | size | (uintptr_t)at, page)) {
		assert(backend_is_named(&backend->source));
		return error_set(err, EXIT_STATUS_HOST, EINVAL,
				 "%s: it is mapped in pages of %" PRIu64
				 " MiB, and its place in guest memory is no multiple of them; use addr= a multiple, or "
				 "for a file on hugetlbfs say hugetlb=%" PRIu64 "M",
				 backend->option, page / MIB, page / MIB);
	}
	if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, backend->fd, (off_t)offset) == MAP_FAILED) {
		int code = errno;

		return error_set(err, EXIT_STATUS_HOST, code, "%s: cannot map %" PRIu64 " MiB: %s", backend->option,
				 size / MIB, strerror(code));
	}
	/*
	 * Guest memory in a core dump is neither wanted nor, at this size, possible. Only advice, as the next one: no
	 * failure.
	 */
	madvise(at, size, MADV_DONTDUMP);
	/* Used for the files of huge_tmpfs.h, and for memfds where the administrator said "advise" (host_memory_huge()). */
	if (backend->source.hugetlb == 0)
		madvise(at, size, MADV_HUGEPAGE);
	return set_policy(backend, at, size, err);
}

int backend_discard(const struct mem_backend *backend, uint64_t offset, uint64_t size)
{
	if (fallocate(backend->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) < 0)
		return -errno;
	return 0;
}
