/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vmm/base/range.h"
#include "vmm/memory/host_memory.h"

/* A host made of files: nodes 0-2 and 4 online, of which 2 has no memory; pools of 2 MiB pages, none of 1 GiB. */
static char root[] = "/tmp/spmvm-host-XXXXXX";

static void put(const char *file, const char *text)
{
	char path[PATH_MAX];
	FILE *out;

	snprintf(path, sizeof(path), "%s%s", root, file);
	for (char *slash = strchr(path + strlen(root) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	out = fopen(path, "w");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int set_up(void **state)
{
	(void)state;
	memcpy(strrchr(root, '-') + 1, "XXXXXX", sizeof("XXXXXX"));
	if (mkdtemp(root) == NULL)
		return -1;
	put("/sys/devices/system/node/online", "0-2,4\n");
	put("/sys/devices/system/node/has_memory", "0-1,4\n");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "100\n");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "80\n");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "20\n");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages", "0\n");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages", "0\n");
	put("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "70\n");
	put("/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "60\n");
	put("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "25\n");
	put("/sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "16\n");
	put("/sys/devices/system/node/node4/hugepages/hugepages-2048kB/nr_hugepages", "5\n");
	put("/sys/devices/system/node/node4/hugepages/hugepages-2048kB/free_hugepages", "4\n");
	put("/proc/meminfo", "MemTotal:  999999 kB\nMemFree:   111 kB\nMemAvailable:    500000 kB\n");
	put("/sys/devices/system/node/node1/meminfo",
	    "Node 1 MemTotal:  20000 kB\nNode 1 MemFree:   1000 kB\nNode 1 Active(file):  200 kB\n"
	    "Node 1 Inactive(file):    30 kB\nNode 1 SReclaimable:  4 kB\n");
	return 0;
}

static struct backend_source source_on(enum host_policy policy, uint64_t hugetlb, int first, int second)
{
	struct backend_source source = {.policy = policy, .hugetlb = hugetlb};

	if (first >= 0)
		node_set_add(&source.host_nodes, (uint32_t)first);
	if (second >= 0)
		node_set_add(&source.host_nodes, (uint32_t)second);
	return source;
}

/* ---------------------------------------------------------------------------------------------------------- nodes */

static void expect_nodes_error(struct backend_source source, const char *text)
{
	struct error err = {.text = ""};

	assert_int_equal(host_memory_check_nodes(root, "--spm id=hbm0", &source, &err), -ENODEV);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(err.text, text);
}

static void nodes_must_have_memory(void **state)
{
	struct backend_source source = source_on(HOST_POLICY_DEFAULT, 0, -1, -1);
	struct node_set nodes = host_memory_nodes(root);
	struct error err;

	(void)state;
	assert_int_equal(nodes.words[0], 0x13);
	assert_int_equal(host_memory_check_nodes(root, "--mem", &source, &err), 0);
	source = source_on(HOST_POLICY_BIND, 0, 4, 0);
	assert_int_equal(host_memory_check_nodes(root, "--mem", &source, &err), 0);
	expect_nodes_error(source_on(HOST_POLICY_BIND, 0, 0, 2),
			   "--spm id=hbm0: host-nodes: host node 2 has no memory; nodes with memory are 0-1,4");
	expect_nodes_error(source_on(HOST_POLICY_BIND, 0, 3, -1),
			   "--spm id=hbm0: host-nodes: this host has no node 3; its nodes with memory are 0-1,4");
	expect_nodes_error(source_on(HOST_POLICY_BIND, 0, 1023, -1),
			   "--spm id=hbm0: host-nodes: this host has no node 1023; its nodes with memory are 0-1,4");
	put("/sys/devices/system/node/has_memory", "\n");
	expect_nodes_error(source_on(HOST_POLICY_BIND, 0, 0, -1),
			   "--spm id=hbm0: host-nodes: this host's kernel knows no NUMA nodes; leave host-nodes and "
			   "policy out");
}

static void node_sets_become_text(void **state)
{
	struct node_set nodes = {0};
	char text[16];

	(void)state;
	host_memory_nodes_text(&nodes, text, sizeof(text));
	assert_string_equal(text, "");
	node_set_add(&nodes, 1023);
	assert_int_equal(host_memory_first_node(&nodes), 1023);
	node_set_add(&nodes, 7);
	node_set_add(&nodes, 8);
	node_set_add(&nodes, 3);
	assert_int_equal(host_memory_first_node(&nodes), 3);
	host_memory_nodes_text(&nodes, text, sizeof(text));
	assert_string_equal(text, "3,7-8,1023");
	host_memory_nodes_text(&nodes, text, 5);
	assert_string_equal(text, "3,7-");
	for (uint32_t node = 0; node < NODES_MAX; node++)
		node_set_add(&nodes, node);
	host_memory_nodes_text(&nodes, text, sizeof(text));
	assert_string_equal(text, "0-1023");
}

/* --------------------------------------------------------------------------------------------------- huge pages */

static int check_pool(uint64_t pages, struct backend_source source, struct error *err)
{
	err->text[0] = '\0';
	return host_memory_check_pool(root, "--mem number 1", pages * source.hugetlb, &source, err);
}

static void pool_must_have_unreserved_pages(void **state)
{
	struct backend_source source = source_on(HOST_POLICY_DEFAULT, 2 * MIB, -1, -1);
	struct error err;

	(void)state;
	assert_int_equal(check_pool(60, source, &err), 0);
	assert_int_equal(check_pool(61, source, &err), -ENOMEM);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_string_equal(
		err.text,
		"--mem number 1: needs 61 huge pages of 2 MiB, the pool hugepages-2048kB has 60 to give; make more as "
		"root: echo 101 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
	/* the kernel may add five by itself */
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages", "7\n");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages", "2\n");
	assert_int_equal(check_pool(65, source, &err), 0);
	assert_int_equal(check_pool(66, source, &err), -ENOMEM);
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages", "9\n");
	put("/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages", "90\n");
	assert_int_equal(check_pool(1, source, &err), -ENOMEM);
	assert_non_null(strstr(err.text, "has 0 to give; make more as root: echo 101 >"));
}

static void bound_nodes_must_have_the_pages(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(check_pool(16, source_on(HOST_POLICY_BIND, 2 * MIB, 1, -1), &err), 0);
	assert_int_equal(check_pool(20, source_on(HOST_POLICY_BIND, 2 * MIB, 1, 4), &err), 0);
	assert_int_equal(check_pool(20, source_on(HOST_POLICY_PREFERRED, 2 * MIB, 1, -1), &err), 0);
	assert_int_equal(check_pool(21, source_on(HOST_POLICY_BIND, 2 * MIB, 1, 4), &err), -ENOMEM);
	assert_string_equal(
		err.text,
		"--mem number 1: needs 21 huge pages of 2 MiB on host nodes 1,4, the pool hugepages-2048kB has 20 to "
		"give; make more as root: echo 26 > "
		"/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages");
	/* 76 are free on both, but only 60 are not promised to others */
	assert_int_equal(check_pool(60, source_on(HOST_POLICY_BIND, 2 * MIB, 0, 1), &err), 0);
	assert_int_equal(check_pool(61, source_on(HOST_POLICY_BIND, 2 * MIB, 0, 1), &err), -ENOMEM);
}

static void missing_pool_is_named(void **state)
{
	struct error err;

	(void)state;
	assert_int_equal(check_pool(1, source_on(HOST_POLICY_DEFAULT, GIB, -1, -1), &err), -ENODEV);
	assert_string_equal(err.text,
			    "--mem number 1: this host has no huge pages of 1024 MiB (no "
			    "/sys/kernel/mm/hugepages/hugepages-1048576kB); use another hugetlb size or leave it out");
}

/* ------------------------------------------------------------------------------------------------- ordinary pages */

static void expect_room(struct backend_source source, uint64_t bytes, const char *where)
{
	struct host_room room;

	assert_int_equal(host_memory_room(root, &source, &room), 0);
	assert_int_equal(room.bytes, bytes);
	assert_string_equal(room.where, where);
}

static void room_is_the_least_of_all_bounds(void **state)
{
	struct backend_source any = source_on(HOST_POLICY_DEFAULT, 0, -1, -1);
	struct backend_source bound = source_on(HOST_POLICY_BIND, 0, 1, 0);

	(void)state;
	expect_room(any, 500000 * KIB, "on the host");
	expect_room(source_on(HOST_POLICY_PREFERRED, 0, 1, -1), 500000 * KIB, "on the host");
	expect_room(bound, 1234 * KIB, "on its host nodes");
	put("/proc/self/cgroup", "1:cpu:/x\n0::/a/b\n");
	put("/sys/fs/cgroup/a/b/memory.max", "max\n");
	put("/sys/fs/cgroup/a/b/memory.current", "5000\n");
	expect_room(any, 500000 * KIB, "on the host");
	put("/sys/fs/cgroup/a/memory.max", "1000000\n");
	put("/sys/fs/cgroup/a/memory.current", "70000\n");
	expect_room(any, 930000, "in the control group");
	put("/sys/fs/cgroup/a/memory.stat", "anon 5\nfile 50000\ninactive_file 20000\nactive_file 10000\n");
	expect_room(any, 960000, "in the control group");
	put("/sys/fs/cgroup/a/b/memory.max", "4000\n"); /* below what is used already */
	expect_room(any, 0, "in the control group");
	put("/sys/fs/cgroup/a/b/memory.max", "max\n");
	put("/sys/fs/cgroup/memory.max", "77\n"); /* of a container's own root */
	expect_room(any, 77, "in the control group");
	put("/proc/self/cgroup", "0::/\n");
	expect_room(any, 77, "in the control group");
}

static void room_needs_meminfo(void **state)
{
	struct backend_source any = source_on(HOST_POLICY_DEFAULT, 0, -1, -1);
	struct host_room room;

	(void)state;
	put("/proc/meminfo", "MemTotal: 1 kB\n");
	assert_int_equal(host_memory_room(root, &any, &room), -ENOENT);
	assert_int_equal(host_memory_room("/nonexistent", &any, &room), -ENOENT);
}

static void strict_overcommit_is_seen(void **state)
{
	(void)state;
	assert_false(host_memory_is_strict(root));
	put("/proc/sys/vm/overcommit_memory", "1\n");
	assert_false(host_memory_is_strict(root));
	put("/proc/sys/vm/overcommit_memory", "2\n");
	assert_true(host_memory_is_strict(root));
}

static void device_dax(void **state)
{
	uint64_t align = 0, size = 0;
	char link[4096];

	(void)state;
	put("/sys/dev/char/252:1/align", "2097152\n");
	put("/sys/dev/char/252:1/size", "1073741824\n");
	assert_int_equal(host_memory_dax(root, makedev(252, 1), &align, &size), -ENODEV); /* of no subsystem */
	snprintf(link, sizeof(link), "%s/sys/dev/char/252:1/subsystem", root);
	assert_int_equal(symlink("../../../../bus/pdax", link), 0);
	assert_int_equal(host_memory_dax(root, makedev(252, 1), &align, &size), -ENODEV);
	unlink(link);
	assert_int_equal(symlink("../../../../bus/dax", link), 0);
	assert_int_equal(host_memory_dax(root, makedev(252, 1), &align, &size), 0);
	assert_int_equal(align, 2 * MIB);
	assert_int_equal(size, GIB);
	put("/sys/dev/char/252:1/size", "0\n");
	assert_int_equal(host_memory_dax(root, makedev(252, 1), &align, &size), -ENODEV);
	assert_int_equal(host_memory_dax(root, makedev(252, 2), &align, &size), -ENODEV);
}

static void put_huge(const char *all, const char *shared)
{
	put("/sys/kernel/mm/transparent_hugepage/enabled", all);
	put("/sys/kernel/mm/transparent_hugepage/shmem_enabled", shared);
}

static void huge_pages_of_shared_memory(void **state)
{
	(void)state;
	assert_int_equal(host_memory_huge(root), HOST_HUGE_NEVER); /* a kernel without them */
	put_huge("always [madvise] never\n", "always within_size advise [never] deny force\n");
	assert_int_equal(host_memory_huge(root), HOST_HUGE_TMPFS);
	put_huge("[always] madvise never\n", "always within_size advise [never] deny force\n");
	assert_int_equal(host_memory_huge(root), HOST_HUGE_TMPFS);
	put_huge("always madvise [never]\n", "always within_size advise [never] deny force\n");
	assert_int_equal(host_memory_huge(root), HOST_HUGE_NEVER);
	put_huge("always madvise [never]\n", "always within_size [advise] never deny force\n");
	assert_int_equal(host_memory_huge(root), HOST_HUGE_MEMFD);
	put_huge("[always] madvise never\n", "always within_size advise never [deny] force\n");
	assert_int_equal(host_memory_huge(root), HOST_HUGE_NEVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nodes_must_have_memory, set_up, tear_down),
		cmocka_unit_test(node_sets_become_text),
		cmocka_unit_test_setup_teardown(pool_must_have_unreserved_pages, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bound_nodes_must_have_the_pages, set_up, tear_down),
		cmocka_unit_test_setup_teardown(missing_pool_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(room_is_the_least_of_all_bounds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(room_needs_meminfo, set_up, tear_down),
		cmocka_unit_test_setup_teardown(strict_overcommit_is_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(device_dax, set_up, tear_down),
		cmocka_unit_test_setup_teardown(huge_pages_of_shared_memory, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
