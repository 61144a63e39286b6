/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/scratch_folder.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "vmm/base/range.h"
#include "vmm/memory/backend.h"
#include "vmm/memory/host_memory.h"

/* The host as this test wants it; what is left at zero is as it is. */
static struct {
	long magic, block_size;   /* the file system's */
	uint64_t space;           /* bytes left on it, plus one */
	uint64_t align, dax_size; /* every character device is a device-dax */
} host;

int __wrap_fstatfs(int fd, struct statfs *system);
int __real_fstatfs(int fd, struct statfs *system);
int __wrap_fstatvfs(int fd, struct statvfs *space);
int __real_fstatvfs(int fd, struct statvfs *space);
int __wrap_host_memory_dax(const char *root, dev_t number, uint64_t *align, uint64_t *size);
int __real_host_memory_dax(const char *root, dev_t number, uint64_t *align, uint64_t *size);

int __wrap_fstatfs(int fd, struct statfs *system)
{
	int code = __real_fstatfs(fd, system);

	if (host.magic != 0) {
		system->f_type = host.magic;
		system->f_bsize = host.block_size;
	}
	return code;
}

int __wrap_fstatvfs(int fd, struct statvfs *space)
{
	int code = __real_fstatvfs(fd, space);

	if (host.space > 0) {
		space->f_blocks = 1 << 20;
		space->f_frsize = 4096;
		space->f_bavail = (host.space - 1) / 4096;
	}
	return code;
}

int __wrap_host_memory_dax(const char *root, dev_t number, uint64_t *align, uint64_t *size)
{
	if (host.align == 0)
		return __real_host_memory_dax(root, number, align, size);
	assert_true(number == makedev(1, 3)); /* /dev/null */
	*align = host.align;
	*size = host.dax_size;
	return 0;
}

static struct scratch scratch;

static int set_up(void **state)
{
	(void)state;
	memset(&host, 0, sizeof(host));
	scratch_new(&scratch);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	scratch_remove(&scratch);
	return 0;
}

static struct backend_source in_file(const char *name)
{
	return (struct backend_source){.path = scratch_path(&scratch, name)};
}

static struct mem_backend opened(uint64_t size, const struct backend_source *source)
{
	struct error err = {.text = ""};
	struct mem_backend backend;
	int code = backend_open(&backend, "hbm0", "--spm", size, source, -1, &err);

	assert_string_equal(err.text, "");
	assert_int_equal(code, 0);
	assert_int_equal(fcntl(backend.fd, F_GETFD), FD_CLOEXEC);
	return backend;
}

/* what: text behind "--spm: mem-path=PATH: " or "--spm: fd=N: " */
static void refused(uint64_t size, const struct backend_source *source, int code, const char *what)
{
	struct error err = {.text = ""};
	struct mem_backend backend;
	char text[600];

	assert_int_equal(backend_open(&backend, "hbm0", "--spm", size, source, -1, &err), -code);
	if (source->path != NULL)
		snprintf(text, sizeof(text), "--spm: mem-path=%s: %s", source->path, what);
	else
		snprintf(text, sizeof(text), "--spm: fd=%d: %s", source->inherited, what);
	assert_string_equal(err.text, text);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_int_equal(backend.fd, -1);
}

static uint64_t size_of(const char *name)
{
	struct stat status;

	assert_int_equal(stat(scratch_path(&scratch, name), &status), 0);
	return (uint64_t)status.st_size;
}

static bool is_there(const char *name)
{
	return access(scratch_path(&scratch, name), F_OK) == 0;
}

/* A file of that size with nothing in it. */
static void sparse(const char *name, uint64_t size)
{
	scratch_text(&scratch, name, "");
	assert_int_equal(truncate(scratch_path(&scratch, name), (off_t)size), 0);
}

static uint8_t *mapped(const struct mem_backend *backend, uint64_t size)
{
	uint8_t *at = mmap(NULL, size + 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct error err = {.text = ""};

	assert_ptr_not_equal(at, MAP_FAILED);
	at += -(uintptr_t)at & (2 * MIB - 1);
	assert_int_equal(backend_map(backend, 0, size, at, &err), 0);
	return at;
}

/* ------------------------------------------------------------------------------------------------------- files */

static void a_new_file_is_made_and_stays(void **state)
{
	struct backend_source source = in_file("new");
	struct mem_backend backend = opened(4 * MIB, &source);
	struct stat status;
	uint8_t *at = mapped(&backend, 4 * MIB);

	(void)state;
	assert_int_equal(size_of("new"), 4 * MIB);
	assert_int_equal(stat(source.path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	memcpy(at + 3 * MIB, "kept", sizeof("kept"));
	munmap(at, 4 * MIB);
	backend_keep(&backend);
	backend_release(&backend);

	backend = opened(4 * MIB, &source); /* unlocked again, and the same bytes */
	at = mapped(&backend, 4 * MIB);
	assert_memory_equal(at + 3 * MIB, "kept", 4);
	munmap(at, 4 * MIB);
	backend_release(&backend);
}

static void a_new_file_goes_with_a_machine_that_never_ran(void **state)
{
	struct backend_source source = in_file("new");
	struct mem_backend backend = opened(4 * MIB, &source);

	(void)state;
	backend_release(&backend);
	assert_false(is_there("new"));
}

static void a_file_keeps_its_size(void **state)
{
	struct backend_source source = in_file("large");
	struct mem_backend backend;

	(void)state;
	sparse("large", 8 * MIB);
	backend = opened(4 * MIB, &source);
	backend_release(&backend);
	assert_int_equal(size_of("large"), 8 * MIB);
	refused(16 * MIB, &source, ENOSPC,
		"the file has 8 MiB, 16 are needed, and a file that has something in it is never changed; use size=8M "
		"or make it larger (truncate -s 16M)");
	assert_int_equal(size_of("large"), 8 * MIB);
	sparse("empty", 0);
	source = in_file("empty");
	backend = opened(4 * MIB, &source);
	backend_release(&backend);
	assert_int_equal(size_of("empty"), 4 * MIB);
}

static void what_cannot_be_opened(void **state)
{
	struct backend_source source = in_file("no/file");

	(void)state;
	refused(2 * MIB, &source, ENOENT, "cannot open it for reading and writing: No such file or directory");
	source.path = scratch.path;
	refused(2 * MIB, &source, EISDIR, "it is a folder; name a file in it, which may be new");
	assert_int_equal(mkfifo(scratch_path(&scratch, "fifo"), 0600), 0);
	source = in_file("fifo");
	refused(2 * MIB, &source, EINVAL,
		"it is neither a regular file nor a device-dax; only these can be guest memory");
	source.path = "/dev/null";
	refused(2 * MIB, &source, ENODEV, "it is a character device, but no device-dax; use a file or /dev/daxX.Y");
}

static const char BUSY[] =
	"it is in use: another spmvm or another option has locked it; use one of its own for each, or wait";

static void one_user_at_a_time(void **state)
{
	struct backend_source source = in_file("shared");
	struct mem_backend first = opened(2 * MIB, &source), second;

	(void)state;
	refused(2 * MIB, &source, EBUSY, BUSY);
	backend_release(&first);
	second = opened(2 * MIB, &source);
	backend_release(&second);
}

static void space_is_looked_at_first(void **state)
{
	struct backend_source source = in_file("big");
	struct mem_backend backend;
	uint8_t page[4096] = {1};

	(void)state;
	host.space = 3 * MIB + 1;
	refused(4 * MIB, &source, ENOSPC,
		"its file system has 3 MiB left, 4 are needed; make room there, use a smaller size= or another file "
		"system");
	assert_false(is_there("big")); /* what was made is taken back */
	scratch_file(&scratch, "big", page, sizeof(page));
	assert_int_equal(truncate(source.path, 4 * MIB), 0);
	refused(4 * MIB, &source, ENOSPC,
		"its file system has 3 MiB left, 3 are needed; make room there, use a smaller size= or another file "
		"system");
	host.space = 4 * MIB - 4096 + 1; /* one page is there already */
	backend = opened(4 * MIB, &source);
	backend_release(&backend);
}

static void the_file_size_limit_is_an_error(void **state)
{
	struct backend_source source = in_file("limited");
	struct rlimit before, limit;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	limit = before;
	limit.rlim_cur = 3 * MIB;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	refused(4 * MIB, &source, EFBIG,
		"4 MiB is more than this process's file size limit of 3 MiB; lift it (ulimit -f unlimited)");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void the_file_system_decides(void **state)
{
	struct backend_source source = in_file("file");
	struct mem_backend backend;

	(void)state;
	source.hugetlb = 2 * MIB;
	refused(4 * MIB, &source, EINVAL,
		"it is on no hugetlbfs, so hugetlb= cannot be had; use a file on one (mount -t hugetlbfs -o "
		"pagesize=2M none DIR) or leave hugetlb= out");
	host.magic = HUGETLBFS_MAGIC;
	host.block_size = GIB;
	refused(4 * MIB, &source, EINVAL,
		"its hugetlbfs has pages of 1024 MiB, hugetlb= says 2; leave hugetlb= out or use a hugetlbfs mounted "
		"with pagesize=2M");
	source.hugetlb = 0;
	refused(GIB + 2 * MIB, &source, EINVAL,
		"it is mapped in pages of 1024 MiB, of which the size, 1026 MiB, is no multiple; use size=2048M");

	source.policy = HOST_POLICY_BIND;
	source.host_nodes.words[0] = 1;
	host.magic = EXT4_SUPER_MAGIC;
	refused(4 * MIB, &source, EINVAL,
		"host-nodes= has no effect on a file of this file system; use a file on tmpfs or hugetlbfs, or leave "
		"it out");
	host.magic = TMPFS_MAGIC;
	backend = opened(4 * MIB, &source);
	assert_int_equal(backend.kind, BACKEND_MEMORY);
	backend_release(&backend);
}

/* -------------------------------------------------------------------------------------------------- device-dax */

static void a_device_dax(void **state)
{
	struct backend_source source = {.path = "/dev/null"};
	struct mem_backend backend;
	struct error err;

	(void)state;
	host.align = GIB;
	host.dax_size = 3 * GIB;
	backend = opened(2 * GIB, &source);
	assert_int_equal(backend.kind, BACKEND_DAX);
	assert_int_equal(backend_page_size(&backend), GIB);
	assert_false(backend.populate);
	/* where the layout put it does not suit the device */
	assert_int_equal(backend_map(&backend, 0, GIB, (void *)(uintptr_t)(2 * MIB), &err), -EINVAL);
	assert_string_equal(err.text, "--spm: it is mapped in pages of 1024 MiB, and its place in guest memory is no "
				      "multiple of them; use addr= a multiple, or for a file on hugetlbfs say "
				      "hugetlb=1024M");
	backend_release(&backend);
	refused(4 * GIB, &source, ENOSPC,
		"the device has 3072 MiB, 4096 are needed; use size=3072M or a larger device");
	refused(GIB + 2 * MIB, &source, EINVAL,
		"it is mapped in pages of 1024 MiB, of which the size, 1026 MiB, is no multiple; use size=2048M");
	source.hugetlb = 2 * MIB;
	refused(GIB, &source, EINVAL, "a device-dax has pages of its own (1048576 KiB here); leave hugetlb= out");
	source.hugetlb = 0;
	source.policy = HOST_POLICY_PREFERRED;
	source.host_nodes.words[0] = 1;
	refused(GIB, &source, EINVAL,
		"host-nodes= has no effect on a device-dax; use a file on tmpfs or hugetlbfs, or leave it out");
}

/* --------------------------------------------------------------------------------------------------- descriptors */

static void a_descriptor_that_was_passed(void **state)
{
	int fd = memfd_create("theirs", MFD_ALLOW_SEALING); /* as execve() leaves it: without FD_CLOEXEC */
	struct backend_source source = {.inherited = fd};
	struct mem_backend backend = opened(4 * MIB, &source);
	uint8_t *at = mapped(&backend, 4 * MIB);
	struct stat status;
	char text[200];

	(void)state;
	assert_int_equal(backend.fd, fd);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_size, 4 * MIB);
	munmap(at, 4 * MIB);
	snprintf(
		text, sizeof(text),
		"spmvm was not started with this descriptor, or another option has it; pass an open one, such as fd=%d "
		"with %d<>FILE in a shell",
		fd, fd);
	refused(4 * MIB, &source, EBADF, text);
	backend_release(&backend);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* Two descriptors of one open file share its flock(2), in one process and in two. */
static void one_user_of_a_passed_file(void **state)
{
	int fd = memfd_create("theirs", MFD_ALLOW_SEALING), copy = dup(fd), status;
	struct backend_source source = {.inherited = fd}, again = {.inherited = copy};
	struct mem_backend backend = opened(2 * MIB, &source);
	pid_t other;

	(void)state;
	refused(2 * MIB, &again, EBUSY, BUSY);
	/* the refused one was closed, and with it the record lock: in spmvm that is the end anyway */
	backend_release(&backend);
	fd = memfd_create("theirs", MFD_ALLOW_SEALING);
	copy = dup(fd);
	source.inherited = fd;
	again.inherited = copy;
	backend = opened(2 * MIB, &source);
	other = fork();
	assert_true(other >= 0);
	if (other == 0) {
		struct mem_backend theirs;
		struct error err;

		_exit(backend_open(&theirs, "x", "--spm", 2 * MIB, &again, -1, &err) == -EBUSY ? 0 : 1);
	}
	assert_int_equal(waitpid(other, &status, 0), other);
	assert_int_equal(status, 0);
	close(copy);
	backend_release(&backend);
}

static void descriptors_that_cannot_be_memory(void **state)
{
	struct backend_source source;

	(void)state;
	scratch_text(&scratch, "file", "");
	source = (struct backend_source){.inherited = open(scratch_path(&scratch, "file"), O_RDONLY)};
	refused(2 * MIB, &source, EACCES, "the descriptor is not open for reading and writing; open it with O_RDWR");
	close(source.inherited);
	source.inherited = memfd_create("sealed", MFD_ALLOW_SEALING);
	assert_int_equal(fcntl(source.inherited, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	refused(2 * MIB, &source, EPERM,
		"the memfd is sealed against writing; pass one without F_SEAL_WRITE and F_SEAL_FUTURE_WRITE");
	close(source.inherited);
	source.inherited = memfd_create("fixed", MFD_ALLOW_SEALING);
	assert_int_equal(fcntl(source.inherited, F_ADD_SEALS, F_SEAL_GROW), 0);
	refused(2 * MIB, &source, EPERM, "cannot give it its size of 2 MiB: Operation not permitted");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_new_file_is_made_and_stays, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_new_file_goes_with_a_machine_that_never_ran, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_file_keeps_its_size, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_be_opened, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_user_at_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(space_is_looked_at_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_file_size_limit_is_an_error, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_file_system_decides, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_device_dax, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_descriptor_that_was_passed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_user_of_a_passed_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(descriptors_that_cannot_be_memory, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
