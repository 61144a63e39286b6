/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/scratch_folder.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "vmm/base/range.h"
#include "vmm/memory/placement.h"

/* What move_pages() says here: the page's place in the mapping decides. */
static struct {
	uint64_t base, page;
	unsigned nodes;  /* pages alternate between so many, from 0 on */
	uint64_t absent; /* the first pages are not resident */
	uint64_t first;  /* pages before this one are on node 9 */
	uint64_t asked;  /* pages, together */
	uint64_t last;   /* the highest that was asked for */
	int fail;        /* errno */
	bool genuine;    /* the kernel answers */
} host;

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __real_syscall(long number, long a, long b, long c, long d, long e, long f);

/* NOLINTBEGIN(performance-no-int-to-ptr): syscall(2) passes pointers and numbers alike */
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	const uint64_t *pages = (const uint64_t *)c;
	int *statuses = (int *)e;

	assert_int_equal(number, SYS_move_pages);
	assert_int_equal(a, 0);
	assert_int_equal(d, 0); /* nothing is moved */
	if (host.genuine)
		return __real_syscall(number, a, b, c, d, e, f);
	if (host.fail != 0) {
		errno = host.fail;
		return -1;
	}
	for (long i = 0; i < b; i++) {
		uint64_t page = (pages[i] - host.base) / host.page;

		assert_int_equal((pages[i] - host.base) % host.page, 0);
		statuses[i] = page < host.absent ? -ENOENT : page < host.first ? 9 : (int)(page % host.nodes);
		host.last = page > host.last ? page : host.last;
	}
	host.asked += (uint64_t)b;
	return 0;
}
/* NOLINTEND(performance-no-int-to-ptr) */

static struct mem_backend backend;
static struct placement placement;

static int set_up(void **state)
{
	(void)state;
	memset(&host, 0, sizeof(host));
	memset(&placement, 0, sizeof(placement));
	host.base = 0x700000000000;
	host.page = 4 * KIB;
	host.nodes = 1;
	backend = (struct mem_backend){.fd = -1, .option = "--spm id=hbm0", .source.prealloc = true};
	return 0;
}

/* Nothing is read there. */
static const void *mapping(void)
{
	return (const void *)(uintptr_t)host.base; /* NOLINT(performance-no-int-to-ptr) */
}

static void look(uint64_t size)
{
	assert_int_equal(placement_look(&placement, &backend, mapping(), size, PLACEMENT_SAMPLES), 0);
}

/* What the report tells at level info. */
static void reports(const char *expected)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	const struct log log = {.level = LOG_INFO, .fd = fd};
	char text[2000] = "";

	placement_report(&placement, &backend, &log);
	assert_true(pread(fd, text, sizeof(text) - 1, 0) >= 0);
	assert_string_equal(text, expected);
	close(fd);
}

static void every_page_is_asked_for(void **state)
{
	(void)state;
	host.nodes = 2;
	look(GIB);
	assert_int_equal(host.asked, 262144);
	assert_false(placement.sampled);
	assert_int_equal(placement.on_node[0], GIB / 2);
	assert_int_equal(placement.on_node[1], GIB / 2);
	look(4 * KIB); /* a second mapping adds up */
	assert_int_equal(placement.size, GIB + 4 * KIB);
	placement.huge = 512 * MIB;
	reports("spmvm: --spm id=hbm0: 1048580 KiB resident, 524292 KiB on host node 0, 512 MiB on host node 1; 49% in "
		"huge pages\n");
}

static void a_large_one_is_sampled(void **state)
{
	const uint64_t size = 64 * GIB + 8 * KIB;

	(void)state;
	for (host.nodes = 1; host.nodes <= 4; host.nodes++) {
		memset(&placement, 0, sizeof(placement));
		host.asked = host.last = 0;
		look(size);
		assert_true(placement.sampled);
		assert_true(host.asked > PLACEMENT_SAMPLES / 2 && host.asked <= PLACEMENT_SAMPLES);
		assert_true(host.last < size / (4 * KIB));
		assert_int_equal(placement.size, size);
		/* pages that alternate are not all seen on one node */
		for (unsigned node = 0; node < host.nodes; node++) {
			assert_true(placement.on_node[node] > size / host.nodes * 9 / 10);
			assert_true(placement.on_node[node] < size / host.nodes * 11 / 10);
		}
	}
	/* who asks often asks for less */
	memset(&placement, 0, sizeof(placement));
	host.asked = 0;
	host.nodes = 1;
	assert_int_equal(placement_look(&placement, &backend, mapping(), size, 100), 0);
	assert_true(host.asked > 50 && host.asked <= 100);
	assert_int_equal(placement.on_node[0], size);
}

static void huge_pages_are_asked_for_once(void **state)
{
	(void)state;
	backend.source.hugetlb = host.page = 2 * MIB;
	look(64 * GIB);
	assert_int_equal(host.asked, 32768);
	reports("spmvm: --spm id=hbm0: 65536 MiB resident, 65536 MiB on host node 0; 100% in huge pages\n");
}

static void what_contradicts_is_a_warning(void **state)
{
	(void)state;
	backend.source.policy = HOST_POLICY_BIND;
	backend.source.host_nodes.words[0] = 1;
	host.first = 256;
	host.absent = 2;
	look(2 * MIB);
	reports("spmvm: --spm id=hbm0: 2040 KiB resident, 1 MiB on host node 0, 1016 KiB on host node 9; 0% in huge "
		"pages\n"
		"spmvm: warning: --spm id=hbm0: 1016 KiB are on host nodes 9, though host-nodes=0; the nodes asked for "
		"had no more memory\n"
		"spmvm: warning: --spm id=hbm0: 8 KiB are not resident although they were populated; the host has taken "
		"them away again\n");
	backend.source.prealloc = false; /* populated for another reason: nobody asked for a report */
	backend.present = MIB;
	placement.absent = 0;
	reports("spmvm: warning: --spm id=hbm0: 1016 KiB are on host nodes 9, though host-nodes=0; what a file had "
		"before stays where it is: start with a new one\n");
	backend.source.policy = HOST_POLICY_PREFERRED; /* a wish, not a promise */
	reports("");
}

static void a_kernel_that_does_not_tell(void **state)
{
	(void)state;
	host.fail = ENOSYS;
	assert_int_equal(placement_look(&placement, &backend, "", 4 * KIB, PLACEMENT_SAMPLES), -ENOSYS);
}

/* The kernel's own answer, where it has NUMA. */
static void the_kernel_tells(void **state)
{
	uint8_t *at = mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int code;

	(void)state;
	assert_ptr_not_equal(at, MAP_FAILED);
	memset(at, 1, 32 * KIB);
	host.genuine = true;
	code = placement_look(&placement, &backend, at, 64 * KIB, PLACEMENT_SAMPLES);
	munmap(at, 64 * KIB);
	if (code == -ENOSYS || code == -EPERM) {
		print_message("SKIPPED: move_pages() is not to be had here\n");
		skip();
	}
	assert_int_equal(code, 0);
	assert_int_equal(placement.absent, 32 * KIB);
	assert_int_equal(placement.size, 64 * KIB);
}

static void add_huge(void *context, uint64_t start, uint64_t bytes)
{
	uint64_t *sums = context;

	sums[0] += start;
	sums[1] += bytes;
}

static void transparent_huge_pages_are_found(void **state)
{
	struct scratch scratch;
	uint64_t sums[2] = {0};

	(void)state;
	scratch_new(&scratch);
	assert_int_equal(placement_huge(scratch.path, add_huge, sums), -ENOENT);
	scratch_text(&scratch, "proc/self/smaps",
		     "100000-200000 rw-s 00000000 00:01 1  /memfd:spmvm-ram0 (deleted)\nSize:  1024 kB\n"
		     "ShmemPmdMapped:        0 kB\nFilePmdMapped:         0 kB\nVmFlags: rd wr\n"
		     "7f0000200000-7f0000800000 rw-s 00000000 00:01 1  /mnt/ShmemPmdMapped: 8 kB\nSize:  6144 kB\n"
		     "Anonymous:             0 kB\nAnonHugePages:         0 kB\n"
		     "ShmemPmdMapped:     4096 kB\nFilePmdMapped:         0 kB\nVmFlags: rd wr\n");
	assert_int_equal(placement_huge(scratch.path, add_huge, sums), 0);
	assert_int_equal(sums[0], 0x7f0000200000);
	assert_int_equal(sums[1], 4 * MIB);
	scratch_remove(&scratch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(every_page_is_asked_for, set_up),
		cmocka_unit_test_setup(a_large_one_is_sampled, set_up),
		cmocka_unit_test_setup(huge_pages_are_asked_for_once, set_up),
		cmocka_unit_test_setup(what_contradicts_is_a_warning, set_up),
		cmocka_unit_test_setup(a_kernel_that_does_not_tell, set_up),
		cmocka_unit_test_setup(the_kernel_tells, set_up),
		cmocka_unit_test_setup(transparent_huge_pages_are_found, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
