/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/base/range.h"
#include "vmm/memory/backend.h"
#include "vmm/memory/host_memory.h"

/*
 * The host as this test wants it: huge pages come from ordinary memory, NUMA calls are recorded. What is left at zero does what
 * the host does.
 */
static struct {
	bool fake_pool;            /* the pool has pages enough, and a memfd of huge pages is one of ordinary pages */
	bool fake_nodes;           /* every node is there */
	bool strict;               /* vm.overcommit_memory=2 */
	bool pool_empties;         /* the second look at the pool finds it empty */
	int fail_mmap, fail_memfd; /* errno */
	int fail_mbind, fail_many; /* errno; the latter for MPOL_PREFERRED_MANY only */
	int task_policy;           /* what get_mempolicy() says of this thread */
	uint64_t forbidden_nodes;  /* nodes of the first 64 that the cpuset lacks */
	bool no_numa;              /* get_mempolicy() fails */

	unsigned memfd_flags, mbind_calls, pool_checks;
	int mbind_mode;
	uint64_t mbind_mask;
	void *mbind_at;
	unsigned long mbind_size;
} host;

int __wrap_host_memory_check_pool(const char *root, const char *option, uint64_t size,
				  const struct backend_source *source, struct error *err);
int __real_host_memory_check_pool(const char *root, const char *option, uint64_t size,
				  const struct backend_source *source, struct error *err);
int __wrap_host_memory_check_nodes(const char *root, const char *option, const struct backend_source *source,
				   struct error *err);
int __real_host_memory_check_nodes(const char *root, const char *option, const struct backend_source *source,
				   struct error *err);
bool __wrap_host_memory_is_strict(const char *root);
struct node_set __wrap_host_memory_nodes(const char *root);
void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_memfd_create(const char *name, unsigned flags);
int __real_memfd_create(const char *name, unsigned flags);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);

int __wrap_host_memory_check_pool(const char *root, const char *option, uint64_t size,
				  const struct backend_source *source, struct error *err)
{
	if (!host.fake_pool)
		return __real_host_memory_check_pool(root, option, size, source, err);
	if (host.pool_checks++ > 0 && host.pool_empties)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "%s: the pool is empty now", option);
	return 0;
}

int __wrap_host_memory_check_nodes(const char *root, const char *option, const struct backend_source *source,
				   struct error *err)
{
	return host.fake_nodes ? 0 : __real_host_memory_check_nodes(root, option, source, err);
}

bool __wrap_host_memory_is_strict(const char *root)
{
	assert_string_equal(root, "");
	return host.strict;
}

/* Node 0 and no other has memory. */
struct node_set __wrap_host_memory_nodes(const char *root)
{
	assert_string_equal(root, "");
	return (struct node_set){.words = {1}};
}

void *__wrap_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	if (host.fail_mmap != 0) {
		errno = host.fail_mmap;
		return MAP_FAILED;
	}
	return __real_mmap(at, size, protection, flags, fd, offset);
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
	host.memfd_flags = flags;
	if (host.fail_memfd != 0) {
		errno = host.fail_memfd;
		return -1;
	}
	return __real_memfd_create(name, host.fake_pool ? flags & (MFD_CLOEXEC | MFD_ALLOW_SEALING) : flags);
}

static long fake_mbind(void *at, unsigned long size, int mode, const uint64_t *mask, unsigned long bits)
{
	host.mbind_calls++;
	host.mbind_at = at;
	host.mbind_size = size;
	host.mbind_mode = mode;
	host.mbind_mask = mask[0];
	assert_int_equal(bits, NODES_MAX + 1);
	if (host.fail_mbind != 0 || (host.fail_many != 0 && mode == MPOL_PREFERRED_MANY)) {
		errno = host.fail_mbind != 0 ? host.fail_mbind : host.fail_many;
		return -1;
	}
	return 0;
}

/* NOLINTBEGIN(performance-no-int-to-ptr): syscall(2) passes pointers and numbers alike */
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	(void)f;
	if (number == SYS_mbind)
		return fake_mbind((void *)a, (unsigned long)b, (int)c, (const uint64_t *)d, (unsigned long)e);
	assert_int_equal(number, SYS_get_mempolicy);
	if (host.no_numa) {
		errno = ENOSYS;
		return -1;
	}
	if (e == MPOL_F_MEMS_ALLOWED)
		memset((void *)b, 0xff, NODES_MAX / 8), ((uint64_t *)b)[0] &= ~host.forbidden_nodes;
	else
		*(int *)a = host.task_policy;
	return 0;
}
/* NOLINTEND(performance-no-int-to-ptr) */

static int reset(void **state)
{
	(void)state;
	memset(&host, 0, sizeof(host));
	return 0;
}

static const struct backend_source ordinary = {.policy = HOST_POLICY_DEFAULT};

static struct backend_source huge(enum host_policy policy, uint64_t nodes)
{
	return (struct backend_source){.policy = policy, .host_nodes.words = {nodes}, .hugetlb = 2 * MIB};
}

static struct mem_backend open_one(const char *name, uint64_t size, const struct backend_source *source)
{
	struct error err = {.text = ""};
	struct mem_backend backend;
	int code = backend_open(&backend, name, "--spm id=hbm0", size, source, -1, &err);

	assert_string_equal(err.text, "");
	assert_int_equal(code, 0);
	return backend;
}

static void expect_open_error(uint64_t size, const struct backend_source *source, int code, const char *text)
{
	struct error err = {.text = ""};
	struct mem_backend backend;

	assert_int_equal(backend_open(&backend, "hbm0", "--spm id=hbm0", size, source, -1, &err), -code);
	assert_string_equal(err.text, text);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_int_equal(backend.fd, -1);
	assert_int_equal(backend.size, 0);
}

/* Address space for backend_map(), aligned to 2 MiB. */
static uint8_t *some_room(uint64_t size)
{
	uint8_t *at = __real_mmap(NULL, size + 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(at, MAP_FAILED);
	return at + (-(uintptr_t)at & (2 * MIB - 1));
}

static void map(const struct mem_backend *backend, uint64_t offset, uint64_t size, void *at)
{
	struct error err = {.text = ""};
	int code = backend_map(backend, offset, size, at, &err);

	assert_string_equal(err.text, "");
	assert_int_equal(code, 0);
}

/* The line of /proc/self/smaps that begins with key, of the mapping that starts at. */
static void read_smaps(const void *at, const char *key, char *line, size_t size)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	char start[32];
	bool found = false;

	assert_non_null(file);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)at);
	while (fgets(line, (int)size, file) != NULL) {
		found = found || strncmp(line, start, strlen(start)) == 0;
		if (found && (key == NULL || strncmp(line, key, strlen(key)) == 0))
			break;
	}
	assert_true(found);
	fclose(file);
}

/* ----------------------------------------------------------------------------------------------------- open, map */

static void backend_is_a_named_memfd(void **state)
{
	struct mem_backend backend = open_one("hbm0", 8 * MIB, &ordinary);
	uint8_t *at = some_room(8 * MIB);
	struct stat status;
	char line[512];

	(void)state;
	assert_int_equal(backend_page_size(&backend), 4 * KIB);
	assert_false(backend.populate);
	assert_int_equal(fcntl(backend.fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fstat(backend.fd, &status), 0);
	assert_int_equal(status.st_size, 8 * MIB);
	assert_int_equal(ftruncate(backend.fd, 4 * MIB), -1); /* nobody takes it away from the guest */
	map(&backend, 0, 8 * MIB, at);
	read_smaps(at, NULL, line, sizeof(line));
	assert_non_null(strstr(line, "rw-s"));
	assert_non_null(strstr(line, "/memfd:spmvm-hbm0"));
	read_smaps(at, "VmFlags:", line, sizeof(line));
	assert_non_null(strstr(line, " dd")); /* not in core dumps */
	assert_int_equal(host.mbind_calls, 0);
	munmap(at, 8 * MIB);
	backend_release(&backend);
}

static void pieces_are_windows_on_one_file(void **state)
{
	struct mem_backend backend = open_one("ram0", 6 * MIB, &ordinary);
	uint8_t *all = some_room(6 * MIB), *rest = some_room(4 * MIB);

	(void)state;
	map(&backend, 0, 6 * MIB, all);
	map(&backend, 2 * MIB, 4 * MIB, rest);
	rest[0] = 0x5a;
	rest[4 * MIB - 1] = 0xa5;
	assert_int_equal(all[2 * MIB], 0x5a);
	assert_int_equal(all[6 * MIB - 1], 0xa5);
	munmap(all, 6 * MIB);
	munmap(rest, 4 * MIB);
	backend_release(&backend);
}

static void release_takes_anything(void **state)
{
	struct mem_backend backend = {0};

	(void)state;
	backend_release(NULL);
	backend_release(&backend); /* fd 0 is not its own */
	assert_true(fcntl(0, F_GETFD) >= 0 || errno == EBADF);
	assert_int_equal(backend.fd, -1);
	backend = open_one("x", 2 * MIB, &ordinary);
	backend_release(&backend);
	backend_release(&backend);
	assert_int_equal(backend.fd, -1);
}

static void open_says_what_the_host_lacks(void **state)
{
	struct backend_source source = huge(HOST_POLICY_BIND, 0);
	struct rlimit before, small;
	struct error err = {.text = ""};
	struct mem_backend backend;

	(void)state;
	node_set_add(&source.host_nodes, 1023);
	assert_int_equal(backend_open(&backend, "x", "--mem number 1", 2 * MIB, &source, -1, &err), -ENODEV);
	assert_non_null(strstr(err.text, "--mem number 1: host-nodes: this host"));
	source = huge(HOST_POLICY_DEFAULT, 0);
	assert_int_equal(backend_open(&backend, "x", "--mem number 1", 1024 * TIB, &source, -1, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "--mem number 1: needs 536870912 huge pages of 2 MiB, the pool "
					 "hugepages-2048kB has "));
	host.fail_memfd = EMFILE;
	expect_open_error(2 * MIB, &ordinary, EMFILE,
			  "--spm id=hbm0: cannot make a memfd of 2 MiB: Too many open files");
	host.fail_memfd = 0;
	assert_int_equal(backend_open(&backend, "x", "--mem number 1", UINT64_C(1) << 63, &ordinary, -1, &err),
			 -EINVAL);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){.rlim_cur = 4 * MIB, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	expect_open_error(
		6 * MIB, &ordinary, EFBIG,
		"--spm id=hbm0: 6 MiB is more than this process's file size limit of 4 MiB; lift it (ulimit -f "
		"unlimited)");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void map_says_why_it_fails(void **state)
{
	struct mem_backend backend = open_one("hbm0", 2 * MIB, &ordinary);
	struct error err = {.text = ""};
	uint8_t *at = some_room(2 * MIB);

	(void)state;
	host.fail_mmap = ENOMEM;
	assert_int_equal(backend_map(&backend, 0, 2 * MIB, at, &err), -ENOMEM);
	assert_string_equal(err.text, "--spm id=hbm0: cannot map 2 MiB: Cannot allocate memory");
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	backend_release(&backend);
}

/* ---------------------------------------------------------------------------------------------------- NUMA policy */

static void expect_policy(enum host_policy policy, int mode, unsigned calls)
{
	struct backend_source source = {.policy = policy, .host_nodes.words = {0x5}};
	struct mem_backend backend = open_one("hbm0", 4 * MIB, &source);
	uint8_t *at = some_room(2 * MIB);

	host.mbind_calls = 0;
	map(&backend, 2 * MIB, 2 * MIB, at);
	assert_int_equal(host.mbind_calls, calls);
	assert_int_equal(host.mbind_mode, mode);
	assert_int_equal(host.mbind_mask, 0x5);
	assert_ptr_equal(host.mbind_at, at);
	assert_int_equal(host.mbind_size, 2 * MIB);
	munmap(at, 2 * MIB);
	backend_release(&backend);
}

static void policies_are_those_of_mbind(void **state)
{
	(void)state;
	host.fake_nodes = true;
	expect_policy(HOST_POLICY_BIND, MPOL_BIND, 1);
	expect_policy(HOST_POLICY_INTERLEAVE, MPOL_INTERLEAVE, 1);
	expect_policy(HOST_POLICY_PREFERRED, MPOL_PREFERRED_MANY, 1);
	host.fail_many = EINVAL; /* before Linux 5.15 */
	expect_policy(HOST_POLICY_PREFERRED, MPOL_PREFERRED, 2);
}

static void refused_policies_are_explained(void **state)
{
	struct backend_source source = {.policy = HOST_POLICY_BIND, .host_nodes.words = {0xd}};
	struct mem_backend backend;
	struct error err = {.text = ""};
	uint8_t *at = some_room(2 * MIB);

	(void)state;
	host.fake_nodes = true;
	backend = open_one("hbm0", 2 * MIB, &source);
	host.fail_mbind = EPERM;
	assert_int_equal(backend_map(&backend, 0, 2 * MIB, at, &err), -EPERM);
	assert_string_equal(err.text,
			    "--spm id=hbm0: the host refuses the NUMA policy for host-nodes=0,2-3 (mbind: Operation "
			    "not permitted); a container's seccomp filter must allow mbind");
	host.fail_mbind = EINVAL;
	assert_int_equal(backend_map(&backend, 0, 2 * MIB, at, &err), -EINVAL);
	assert_string_equal(err.text,
			    "--spm id=hbm0: the host refuses the NUMA policy for host-nodes=0,2-3 (mbind: Invalid "
			    "argument); look at the nodes that this process may use (Mems_allowed_list in "
			    "/proc/self/status)");
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	munmap(at, 2 * MIB);
	backend_release(&backend);
}

/* ----------------------------------------------------------------------------------------------------- huge pages */

static void huge_pages_ask_for_their_size(void **state)
{
	struct backend_source source = huge(HOST_POLICY_DEFAULT, 0);
	struct mem_backend backend;

	(void)state;
	host.fake_pool = true;
	backend = open_one("a", 4 * MIB, &source);
	assert_int_equal(host.memfd_flags, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | 21u << 26);
	assert_int_equal(backend_page_size(&backend), 2 * MIB);
	backend_release(&backend);
	source.hugetlb = GIB;
	backend = open_one("a", GIB, &source);
	assert_int_equal(host.memfd_flags, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | 30u << 26);
	assert_int_equal(backend_page_size(&backend), GIB);
	backend_release(&backend);
}

static void a_refused_reservation_is_explained(void **state)
{
	struct backend_source source = huge(HOST_POLICY_DEFAULT, 0);

	(void)state;
	host.fake_pool = true;
	host.fail_mmap = ENOMEM;
	expect_open_error(
		4 * MIB, &source, ENOMEM,
		"--spm id=hbm0: the kernel refuses to reserve 2 huge pages of 2 MiB though they are free: Cannot "
		"allocate memory; look at this process's cpuset and hugetlb control group");
	host.pool_checks = 0;
	host.pool_empties = true;
	expect_open_error(4 * MIB, &source, ENOMEM, "--spm id=hbm0: the pool is empty now");
}

static bool populates(const struct backend_source *source)
{
	struct mem_backend backend = open_one("a", 2 * MIB, source);
	bool populate = backend.populate;

	backend_release(&backend);
	return populate;
}

static void populating_is_implied_where_a_fault_could_fail(void **state)
{
	struct backend_source pool = huge(HOST_POLICY_DEFAULT, 0), bound = huge(HOST_POLICY_BIND, 1);
	struct backend_source interleaved = huge(HOST_POLICY_INTERLEAVE, 1), asked = {.prealloc = true};

	(void)state;
	host.fake_pool = host.fake_nodes = true;
	assert_false(populates(&ordinary));
	assert_true(populates(&asked));
	assert_false(populates(&pool));
	assert_false(populates(&interleaved));
	assert_true(populates(&bound));
	host.no_numa = true;
	assert_false(populates(&pool));
	host.no_numa = false;
	host.task_policy = MPOL_BIND | MPOL_F_STATIC_NODES; /* numactl --membind */
	assert_true(populates(&pool));
	assert_false(populates(&ordinary));
	host.task_policy = MPOL_PREFERRED;
	assert_false(populates(&pool));
	host.forbidden_nodes = 1; /* a cpuset without node 0 */
	assert_true(populates(&pool));
	host.forbidden_nodes = UINT64_C(1) << 63; /* a node without memory */
	assert_false(populates(&pool));
	host.strict = true;
	assert_true(populates(&ordinary));
}

/* The host's own pool, when it lets us have four pages more for a moment. */
#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static void set_pool(uint64_t pages)
{
	FILE *file = fopen(POOL "nr_hugepages", "we");

	if (file != NULL) {
		fprintf(file, "%" PRIu64 "\n", pages);
		fclose(file);
	}
}

static void reservations_keep_backends_apart(void **state)
{
	struct backend_source source = huge(HOST_POLICY_DEFAULT, 0);
	struct mem_backend first, second;
	uint64_t before, unused, reserved;
	struct error err = {.text = ""};
	uint8_t *at = some_room(6 * MIB);
	int code;

	(void)state;
	if (io_read_number(POOL "nr_hugepages", &before) < 0)
		before = 1;
	if (before == 0)
		set_pool(4);
	if (before > 0 || io_read_number(POOL "free_hugepages", &unused) < 0 || unused != 4) {
		print_message("SKIPPED: wants an unused pool of 2 MiB pages and the right to put 4 into it\n");
		if (before == 0)
			set_pool(0);
		skip();
	}
	code = backend_open(&first, "first", "--mem number 1", 6 * MIB, &source, -1, &err);
	io_read_number(POOL "resv_hugepages", &reserved);
	if (code == 0) {
		code = backend_open(&second, "second", "--mem number 2", 4 * MIB, &source, -1, &err);
		map(&first, 0, 6 * MIB, at);
		memset(at, 1, 6 * MIB); /* no SIGBUS */
		munmap(at, 6 * MIB);
		backend_release(&first);
	}
	io_read_number(POOL "free_hugepages", &unused);
	set_pool(0);
	assert_int_equal(reserved, 3);
	assert_int_equal(code, -ENOMEM);
	assert_string_equal(
		err.text,
		"--mem number 2: needs 2 huge pages of 2 MiB, the pool hugepages-2048kB has 1 to give; make more as "
		"root: echo 5 > " POOL "nr_hugepages");
	assert_int_equal(unused, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(backend_is_a_named_memfd, reset),
		cmocka_unit_test_setup(pieces_are_windows_on_one_file, reset),
		cmocka_unit_test_setup(release_takes_anything, reset),
		cmocka_unit_test_setup(open_says_what_the_host_lacks, reset),
		cmocka_unit_test_setup(map_says_why_it_fails, reset),
		cmocka_unit_test_setup(policies_are_those_of_mbind, reset),
		cmocka_unit_test_setup(refused_policies_are_explained, reset),
		cmocka_unit_test_setup(huge_pages_ask_for_their_size, reset),
		cmocka_unit_test_setup(a_refused_reservation_is_explained, reset),
		cmocka_unit_test_setup(populating_is_implied_where_a_fault_could_fail, reset),
		cmocka_unit_test_setup(reservations_keep_backends_apart, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
