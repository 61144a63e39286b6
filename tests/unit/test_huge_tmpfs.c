/* SPDX-License-Identifier: Apache-2.0 */
/* A tmpfs of our own on this host's kernel, whatever its administrator says of huge pages. */
#include "vmm/memory/huge_tmpfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/entries.h"
#include "tests/unit/unit.h"
#include "vmm/base/range.h"
#include "vmm/memory/backend.h"
#include "vmm/memory/host_memory.h"

static struct {
	enum host_huge huge;
	int fsopen, fsconfig, fsmount; /* the error, if any */
} host;

enum host_huge __wrap_host_memory_huge(const char *root);
int __real_fsopen(const char *name, unsigned flags);
int __wrap_fsopen(const char *name, unsigned flags);
int __real_fsconfig(int fd, unsigned command, const char *key, const void *value, int aux);
int __wrap_fsconfig(int fd, unsigned command, const char *key, const void *value, int aux);
int __real_fsmount(int fd, unsigned flags, unsigned attributes);
int __wrap_fsmount(int fd, unsigned flags, unsigned attributes);

enum host_huge __wrap_host_memory_huge(const char *root)
{
	assert_string_equal(root, "");
	return host.huge;
}

int __wrap_fsopen(const char *name, unsigned flags)
{
	errno = host.fsopen;
	return host.fsopen != 0 ? -1 : __real_fsopen(name, flags);
}

int __wrap_fsconfig(int fd, unsigned command, const char *key, const void *value, int aux)
{
	errno = host.fsconfig;
	return host.fsconfig != 0 ? -1 : __real_fsconfig(fd, command, key, value, aux);
}

int __wrap_fsmount(int fd, unsigned flags, unsigned attributes)
{
	errno = host.fsmount;
	return host.fsmount != 0 ? -1 : __real_fsmount(fd, flags, attributes);
}

static int reset(void **state)
{
	(void)state;
	memset(&host, 0, sizeof(host));
	host.huge = HOST_HUGE_TMPFS;
	return 0;
}

static bool has_huge_pages(void)
{
	return access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
}

/* Whether the mapping at has KiB of huge pages, and that name. */
static bool is_huge(const void *at, unsigned long kib, const char *name)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	char line[512], start[32];
	bool found = false, huge = false;
	unsigned long mapped;

	if (file == NULL)
		return false;
	snprintf(start, sizeof(start), "%lx-", (unsigned long)at);
	while (!huge && fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, start, strlen(start)) == 0)
			found = strstr(line, name) != NULL;
		huge = found && sscanf(line, "ShmemPmdMapped: %lu", &mapped) == 1 && mapped == kib;
	}
	fclose(file);
	return huge;
}

/* The number of the check that failed; 0 when memory on it is what it should be. By number, because a child process cannot assert. */
static int check_memory(int folder)
{
	static const struct backend_source ordinary = {.policy = HOST_POLICY_DEFAULT};
	struct mem_backend backend;
	struct stat status;
	struct statfs system;
	struct error err;
	char *room, *at;

	if (fstatfs(folder, &system) < 0 || system.f_type != TMPFS_MAGIC || fcntl(folder, F_GETFD) != FD_CLOEXEC)
		return 1;
	/* larger than this machine's memory: there is no limit but that */
	if (backend_open(&backend, "hbm0", "--spm id=hbm0", UINT64_C(1) << 40, &ordinary, folder, &err) < 0)
		return 2;
	if (fstat(backend.fd, &status) < 0 || status.st_size != INT64_C(1) << 40 || status.st_blocks != 0 ||
	    status.st_nlink != 0 || (status.st_mode & 0777) != 0600 || fcntl(backend.fd, F_GETFD) != FD_CLOEXEC)
		return 3;
	room = mmap(NULL, 6 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	at = room + (-(uintptr_t)room & (2 * MIB - 1));
	if (room == MAP_FAILED || backend_map(&backend, 2 * MIB, 4 * MIB, at, &err) < 0)
		return 4;
	at[0] = 'a';
	at[2 * MIB] = 'b';
	if (!is_huge(at, 4096, "/memfd:spmvm-hbm0 (deleted)"))
		return 5;
	if (backend_discard(&backend, 4 * MIB, 2 * MIB) < 0 || at[2 * MIB] != '\0' || at[0] != 'a')
		return 6;
	munmap(room, 6 * MIB);
	backend_release(&backend);
	return 0;
}

static void memory_is_in_huge_pages(void **state)
{
	size_t before = entries_in("/proc/self/fd");
	int folder;

	(void)state;
	if (geteuid() != 0 || !has_huge_pages())
		skip();
	folder = huge_tmpfs_open();
	assert_true(folder >= 0);
	assert_int_equal(entries_in("/proc/self/fd"), before + 1);
	assert_int_equal(check_memory(folder), 0);
	close(folder);
	assert_int_equal(entries_in("/proc/self/fd"), before);
}

/* In a process of its own, because it does not come back from that. 100 and more: the error of huge_tmpfs_open(). */
static int as_nobody(void)
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		size_t before = entries_in("/proc/self/fd");
		int folder;

		if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
			_exit(99);
		prctl(PR_SET_DUMPABLE, 1); /* or /proc/self stays root's, which execve() would have changed */
		folder = huge_tmpfs_open();
		if (entries_in("/proc/self/fd") != before + (folder >= 0))
			_exit(98);
		_exit(folder < 0 ? 100 - folder : check_memory(folder));
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void an_ordinary_user_has_them_too(void **state)
{
	int status;

	(void)state;
	if (geteuid() != 0 || !has_huge_pages())
		skip();
	status = as_nobody();
	if (status == 100 + EPERM || status == 100 + ENOSPC) {
		print_message("this host lets no ordinary user make a mount\n");
		skip();
	}
	assert_int_equal(status, 0);
	host.fsmount = ENOMEM;
	assert_int_equal(as_nobody(), 100 + ENOMEM);
}

static void what_the_host_says_is_heard(void **state)
{
	(void)state;
	host.huge = HOST_HUGE_MEMFD;
	assert_int_equal(huge_tmpfs_open(), -EOPNOTSUPP);
	host.huge = HOST_HUGE_NEVER;
	assert_int_equal(huge_tmpfs_open(), -EOPNOTSUPP);
}

static void nothing_is_left_of_a_failure(void **state)
{
	size_t before = entries_in("/proc/self/fd");

	(void)state;
	host.fsopen = ENOSYS;
	assert_int_equal(huge_tmpfs_open(), -ENOSYS);
	host.fsopen = 0;
	host.fsconfig = EINVAL;
	if (geteuid() == 0)
		assert_int_equal(huge_tmpfs_open(), -EINVAL);
	host.fsconfig = 0;
	host.fsmount = ENOMEM;
	if (geteuid() == 0 && has_huge_pages())
		assert_int_equal(huge_tmpfs_open(), -ENOMEM);
	assert_int_equal(entries_in("/proc/self/fd"), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(memory_is_in_huge_pages, reset),
		cmocka_unit_test_setup(an_ordinary_user_has_them_too, reset),
		cmocka_unit_test_setup(what_the_host_says_is_heard, reset),
		cmocka_unit_test_setup(nothing_is_left_of_a_failure, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
