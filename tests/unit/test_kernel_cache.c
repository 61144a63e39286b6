/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/scratch_folder.h"

#include "tests/unit/kernel_image.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>

#include "vmm/base/io.h"
#include "vmm/boot/kernel_cache.h"

enum { PLAIN_SIZE = 16, NOBODY = 65534 };

/* ------------------------------------------------------------------------------- what the cache asks the system for */

int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __wrap_fstatfs(int fd, struct statfs *system);
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
void __real_nettle_sha256_update(void *context, size_t size, const uint8_t *bytes);
void __wrap_nettle_sha256_update(void *context, size_t size, const uint8_t *bytes);

static struct {
	time_t ahead;         /* the clock's */
	long file_system;     /* that the kernels are on */
	int write_left;       /* this many of the cache's writes succeed; -1: all */
	int write_error;      /* of the next one; 0: the process is killed there */
	bool taken_for_stale; /* what the cache writes next, before it is locked */
	unsigned hashed;
} with;

int __wrap_flock(int fd, int operation)
{
	char link[64], path[300];
	ssize_t length;

	if (with.taken_for_stale) {
		with.taken_for_stale = false;
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		length = readlink(link, path, sizeof(path) - 1);
		assert_true(length > 0);
		path[length] = '\0';
		assert_int_equal(unlink(path), 0);
	}
	return __real_flock(fd, operation);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
	int code = __real_clock_gettime(clock, time);

	time->tv_sec += with.ahead;
	return code;
}

int __wrap_fstatfs(int fd, struct statfs *system)
{
	(void)fd;
	*system = (struct statfs){.f_type = with.file_system};
	return 0;
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
	if (with.write_left == 0) {
		with.write_left = -1;
		if (with.write_error == 0)
			kill(getpid(), SIGKILL);
		errno = with.write_error;
		return -1;
	}
	with.write_left -= with.write_left > 0;
	return __real_write(fd, bytes, size);
}

void __wrap_nettle_sha256_update(void *context, size_t size, const uint8_t *bytes)
{
	with.hashed++;
	__real_nettle_sha256_update(context, size, bytes);
}

/* ----------------------------------------------------------------------------------------------- the tests' tools */

/* A scratch folder with kernels in it and room for the cache, and what was logged. */
struct place {
	struct scratch scratch;
	struct log log;
};

static int place_new(void **state)
{
	struct place *place = calloc(1, sizeof(*place));

	assert_non_null(place);
	with.ahead = 0;
	with.file_system = EXT4_SUPER_MAGIC;
	with.write_left = -1;
	with.hashed = 0;
	scratch_new(&place->scratch);
	place->log = (struct log){.level = LOG_DEBUG, .fd = memfd_create("log", MFD_CLOEXEC)};
	*state = place;
	return 0;
}

static void become_root(void)
{
	if (getuid() == 0)
		assert_int_equal(seteuid(0), 0);
}

static int place_remove(void **state)
{
	struct place *place = *state;

	become_root();
	close(place->log.fd);
	scratch_remove(&place->scratch);
	free(place);
	return 0;
}

#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_new, place_remove)

/* Whether a text was logged since the last call. */
static bool logged(struct place *place, const char *text)
{
	char lines[4096] = "";

	assert_true(pread(place->log.fd, lines, sizeof(lines) - 1, 0) >= 0);
	assert_int_equal(ftruncate(place->log.fd, 0), 0);
	lseek(place->log.fd, 0, SEEK_SET);
	return strstr(lines, text) != NULL;
}

/* The kernel that unpacks to 16 times the letter: one lz4 block of literals, the size behind it. */
static void put_kernel(struct place *place, const char *name, char letter)
{
	uint8_t packed[30] = {0x02, 0x21, 0x4c, 0x18, 18, 0, 0, 0, 0xf0, 1};
	struct kernel_image image;

	memset(packed + 10, letter, PLAIN_SIZE);
	packed[26] = PLAIN_SIZE;
	image = image_new_payload(packed, sizeof(packed));
	scratch_file(&place->scratch, name, image.bytes, image.size);
	image_free(&image);
}

static int get(struct place *place, struct unpacked_kernel *kernel, const char *name, const char *folder,
	       struct error *err)
{
	struct bzimage image;
	int cache, code;

	*kernel = (struct unpacked_kernel){0};
	code = kernel_cache_open(&cache, folder, &place->log, err);
	if (code < 0) {
		assert_int_equal(cache, -1);
		return code;
	}
	assert_int_equal(bzimage_open(&image, scratch_path(&place->scratch, name), err), 0);
	code = unpacked_kernel_get(kernel, &image, cache, &place->log, err);
	bzimage_release(&image);
	io_close(&cache);
	return code;
}

static bool is_kernel_of(const struct unpacked_kernel *kernel, char letter)
{
	uint8_t plain[PLAIN_SIZE];

	memset(plain, letter, sizeof(plain));
	return kernel->size == PLAIN_SIZE && memcmp(kernel->bytes, plain, PLAIN_SIZE) == 0;
}

/* Gets the kernel, checks it, and says whether the cache had it; folder is within the scratch folder, or NULL. */
static bool hit(struct place *place, const char *name, char letter, const char *folder)
{
	struct unpacked_kernel kernel;
	struct error err = {.text = ""};
	bool cached;

	if (get(place, &kernel, name, folder == NULL ? NULL : scratch_path(&place->scratch, folder), &err) != 0)
		fail_msg("%s", err.text);
	assert_true(is_kernel_of(&kernel, letter));
	cached = kernel.cached;
	unpacked_kernel_release(&kernel);
	return cached;
}

/* How many files in the folder start so, and the name of the last one. */
static unsigned count(struct place *place, const char *folder, const char *prefix, char last[256])
{
	DIR *list = opendir(scratch_path(&place->scratch, folder));
	unsigned found = 0;

	assert_non_null(list);
	for (const struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list)) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		found++;
		if (last != NULL)
			snprintf(last, 256, "%s", entry->d_name);
	}
	closedir(list);
	return found;
}

/* The path of the only kernel in the cache. */
static const char *kept(struct place *place)
{
	char name[256], path[300];

	assert_int_equal(count(place, "cache", "spmvm-kernel-1-", name), 1);
	snprintf(path, sizeof(path), "cache/%s", name);
	return scratch_path(&place->scratch, path);
}

static void set_changed(const char *path, time_t when)
{
	const struct timespec times[2] = {{when, 0}, {when, 0}};

	assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

/* The user whose folder others cannot write to: root would pass every check of a mode. */
static void become_nobody(struct place *place)
{
	if (geteuid() != 0)
		return;
	assert_int_equal(chown(place->scratch.path, NOBODY, NOBODY), 0);
	assert_int_equal(seteuid(NOBODY), 0);
}

/* ------------------------------------------------------------------------------------------------------- the tests */

static void the_second_start_takes_what_the_first_unpacked(void **state)
{
	struct place *place = *state;
	struct stat status;

	put_kernel(place, "a", 'a');
	put_kernel(place, "copy", 'a');
	put_kernel(place, "b", 'b');
	assert_false(hit(place, "a", 'a', "cache"));
	assert_int_equal(stat(scratch_path(&place->scratch, "cache"), &status), 0);
	assert_int_equal(status.st_mode & 0777, 0700);
	assert_int_equal(stat(kept(place), &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_true(hit(place, "a", 'a', "cache"));
	/* it is the contents that count */
	assert_true(hit(place, "copy", 'a', "cache"));
	assert_false(hit(place, "b", 'b', "cache"));
	assert_true(hit(place, "b", 'b', "cache"));
	assert_true(hit(place, "a", 'a', "cache"));
	assert_int_equal(count(place, "cache", "spmvm-kernel-1-", NULL), 2);
	assert_int_equal(count(place, "cache", "spmvm-new-", NULL), 0);
}

static void every_wrong_byte_is_noticed(void **state)
{
	struct place *place = *state;
	struct stat status;

	put_kernel(place, "a", 'a');
	assert_false(hit(place, "a", 'a', "cache"));
	assert_int_equal(stat(kept(place), &status), 0);
	for (off_t i = 0; i < status.st_size; i++) {
		int fd = open(kept(place), O_RDWR | O_CLOEXEC);
		uint8_t byte;

		assert_int_equal(pread(fd, &byte, 1, i), 1);
		byte ^= (uint8_t)(1 << i % 8);
		assert_int_equal(pwrite(fd, &byte, 1, i), 1);
		close(fd);
		assert_false(hit(place, "a", 'a', "cache"));
		assert_true(logged(place, "is damaged; the kernel is unpacked and kept anew"));
		assert_true(hit(place, "a", 'a', "cache"));
		assert_false(logged(place, "damaged"));
	}
}

static void every_wrong_length_is_noticed(void **state)
{
	struct place *place = *state;
	struct stat status;

	put_kernel(place, "a", 'a');
	assert_false(hit(place, "a", 'a', "cache"));
	assert_int_equal(stat(kept(place), &status), 0);
	for (off_t size = 0; size < status.st_size + 3; size++) {
		bool right = size == status.st_size;

		assert_int_equal(truncate(kept(place), size), 0);
		assert_int_equal(hit(place, "a", 'a', "cache"), right);
		assert_int_equal(logged(place, "damaged"), !right);
		assert_true(hit(place, "a", 'a', "cache"));
	}
	assert_int_equal(truncate(kept(place), (off_t)1 << 40), 0);
	assert_false(hit(place, "a", 'a', "cache"));
}

/* Something else has the kernel's name: it is neither used nor followed, and replaced where rename() can. */
static void only_a_file_of_ones_own_is_taken(void **state)
{
	struct place *place = *state;
	char path[300], other[300];

	snprintf(other, sizeof(other), "%s", scratch_path(&place->scratch, "other"));
	put_kernel(place, "a", 'a');
	assert_false(hit(place, "a", 'a', "cache"));
	snprintf(path, sizeof(path), "%s", kept(place));

	assert_int_equal(chmod(path, 0620), 0);
	assert_false(hit(place, "a", 'a', "cache"));
	assert_int_equal(chmod(path, 0602), 0);
	assert_false(hit(place, "a", 'a', "cache"));
	assert_true(hit(place, "a", 'a', "cache"));
	if (geteuid() == 0) {
		assert_int_equal(chown(path, NOBODY, NOBODY), 0);
		assert_false(hit(place, "a", 'a', "cache"));
		assert_true(hit(place, "a", 'a', "cache"));
	}
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(symlink(other, path), 0);
	assert_false(hit(place, "a", 'a', "cache"));
	assert_true(hit(place, "a", 'a', "cache"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_false(hit(place, "a", 'a', "cache"));
	assert_true(hit(place, "a", 'a', "cache"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_false(hit(place, "a", 'a', "cache"));
	assert_true(logged(place, "cannot keep the kernel: Is a directory"));
	assert_false(hit(place, "a", 'a', "cache"));
	assert_int_equal(count(place, "cache", "spmvm-new-", NULL), 0);
}

static void assert_folder_refused(struct place *place, const char *folder, int code, const char *why)
{
	struct unpacked_kernel kernel;
	struct error err = {.text = ""};
	char text[5000];

	assert_int_equal(get(place, &kernel, "a", folder, &err), code);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	snprintf(text, sizeof(text), "--kernel-cache %s: %s; name a folder that you alone may write to, or off", folder,
		 why);
	assert_string_equal(err.text, text);
	unpacked_kernel_release(&kernel);
}

/* A folder that was named must do; the default one is left out when it does not. */
static void folders_that_will_not_do(void **state)
{
	static const char OTHERS[] = "it is not yours, or others may write to it";
	struct place *place = *state;
	char folder[300];

	put_kernel(place, "a", 'a');
	snprintf(folder, sizeof(folder), "%s", scratch_path(&place->scratch, "spmvm"));
	assert_folder_refused(place, scratch_path(&place->scratch, "a"), -ENOTDIR, "Not a directory");
	assert_folder_refused(place, scratch_path(&place->scratch, "no/folder"), -ENOENT, "No such file or directory");
	if (geteuid() == 0) {
		assert_int_equal(mkdir(folder, 0700), 0);
		assert_int_equal(chown(folder, NOBODY, NOBODY), 0);
		assert_folder_refused(place, folder, -EPERM, OTHERS);
		assert_int_equal(rmdir(folder), 0);
	}
	become_nobody(place);
	assert_int_equal(mkdir(folder, 0700), 0);
	setenv("XDG_CACHE_HOME", place->scratch.path, 1);
	for (size_t i = 0; i < 3; i++) {
		static const struct {
			mode_t mode;
			int code;
		} CASES[] = {{0770, -EPERM}, {0702, -EPERM}, {0500, -EACCES}};

		assert_int_equal(chmod(folder, CASES[i].mode), 0);
		assert_folder_refused(place, folder, CASES[i].code, i < 2 ? OTHERS : "Permission denied");
		assert_false(logged(place, "kernel cache"));
		assert_false(hit(place, "a", 'a', NULL));
		assert_true(logged(place, "no kernel cache: "));
		assert_int_equal(count(place, "spmvm", "spmvm", NULL), 0);
	}
}

static void the_default_folder_is_where_xdg_says(void **state)
{
	struct place *place = *state;

	put_kernel(place, "a", 'a');
	scratch_parents(&place->scratch, "home/");
	setenv("HOME", scratch_path(&place->scratch, "home"), 1);
	setenv("XDG_CACHE_HOME", scratch_path(&place->scratch, "xdg"), 1);
	assert_false(hit(place, "a", 'a', NULL));
	assert_true(hit(place, "a", 'a', "xdg/spmvm"));
	setenv("XDG_CACHE_HOME", "relative", 1);
	assert_false(hit(place, "a", 'a', NULL));
	assert_true(hit(place, "a", 'a', "home/.cache/spmvm"));
	unsetenv("XDG_CACHE_HOME");
	assert_true(hit(place, "a", 'a', NULL));
	unsetenv("HOME");
	assert_false(hit(place, "a", 'a', NULL));
	/* a home that is not there is not made */
	setenv("HOME", scratch_path(&place->scratch, "nobody"), 1);
	assert_false(hit(place, "a", 'a', NULL));
	assert_int_equal(access(scratch_path(&place->scratch, "nobody"), F_OK), -1);
	/* nor is anything in the home of another */
	if (geteuid() == 0) {
		scratch_parents(&place->scratch, "other/");
		setenv("HOME", scratch_path(&place->scratch, "other"), 1);
		assert_int_equal(chown(scratch_path(&place->scratch, "other"), NOBODY, NOBODY), 0);
		assert_false(hit(place, "a", 'a', NULL));
		assert_int_equal(rmdir(scratch_path(&place->scratch, "other")), 0);
	}
}

static void off_leaves_no_trace(void **state)
{
	struct unpacked_kernel kernel;
	struct place *place = *state;
	struct error err;

	put_kernel(place, "a", 'a');
	setenv("XDG_CACHE_HOME", place->scratch.path, 1);
	assert_int_equal(get(place, &kernel, "a", "off", &err), 0);
	assert_true(is_kernel_of(&kernel, 'a') && !kernel.cached);
	unpacked_kernel_release(&kernel);
	unpacked_kernel_release(&kernel);
	unpacked_kernel_release(NULL);
	assert_int_equal(count(place, ".", "spmvm", NULL), 0);
	assert_int_equal(with.hashed, 0);
}

static void a_kernel_that_cannot_be_unpacked_is_an_error_and_not_kept(void **state)
{
	struct unpacked_kernel kernel;
	struct place *place = *state;
	struct error err;
	int fd;

	put_kernel(place, "a", 'a');
	fd = open(scratch_path(&place->scratch, "a"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "PK\3\4", 4, IMAGE_CODE + IMAGE_ENTRY_64), 4);
	close(fd);
	assert_int_equal(get(place, &kernel, "a", scratch_path(&place->scratch, "cache"), &err), -ENOTSUP);
	assert_int_equal(err.status, EXIT_STATUS_IMAGE);
	unpacked_kernel_release(&kernel);
	assert_int_equal(count(place, "cache", "spmvm", NULL), 0);
}

/* The header, the kernel: each write may be the one for which there is no room. */
static void a_full_disk_is_a_warning(void **state)
{
	struct rlimit before, small;
	struct place *place = *state;

	put_kernel(place, "a", 'a');
	for (int i = 0; i < 2; i++) {
		with.write_left = i;
		with.write_error = ENOSPC;
		assert_false(hit(place, "a", 'a', "cache"));
		assert_true(logged(place, "cannot keep the kernel: No space left on device; make room"));
		assert_int_equal(count(place, "cache", "spmvm", NULL), 0);
	}
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small = (struct rlimit){100, before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	close(place->log.fd); /* a file, too */
	place->log.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	assert_false(hit(place, "a", 'a', "cache"));
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	assert_int_equal(count(place, "cache", "spmvm", NULL), 0);
	assert_false(hit(place, "a", 'a', "cache"));
	assert_true(hit(place, "a", 'a', "cache"));
}

/* What is held stays as it is, whatever becomes of the file. */
static void a_held_kernel_survives_its_file(void **state)
{
	struct unpacked_kernel kernel;
	struct place *place = *state;
	struct error err;
	int fd;

	put_kernel(place, "a", 'a');
	assert_false(hit(place, "a", 'a', "cache"));
	/* mapped: others wait with writing */
	assert_int_equal(get(place, &kernel, "a", scratch_path(&place->scratch, "cache"), &err), 0);
	assert_true(kernel.cached);
	assert_non_null(kernel.mapped);
	fd = open(kept(place), O_WRONLY | O_TRUNC | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd < 0 && errno == EWOULDBLOCK);
	assert_true(is_kernel_of(&kernel, 'a'));
	assert_int_equal(unlink(kept(place)), 0);
	assert_true(is_kernel_of(&kernel, 'a'));
	unpacked_kernel_release(&kernel);
	/* read, because somebody has it open for writing already */
	assert_false(hit(place, "a", 'a', "cache"));
	fd = open(kept(place), O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(get(place, &kernel, "a", scratch_path(&place->scratch, "cache"), &err), 0);
	assert_true(kernel.cached);
	assert_null(kernel.mapped);
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	assert_true(is_kernel_of(&kernel, 'a'));
	unpacked_kernel_release(&kernel);
}

/* How often the next start looks at the image's contents. */
static unsigned hashes(struct place *place, const char *name, char letter)
{
	with.hashed = 0;
	assert_true(hit(place, name, letter, "cache"));
	return with.hashed;
}

static void a_settled_image_is_hashed_once(void **state)
{
	struct place *place = *state;

	put_kernel(place, "a", 'a');
	assert_false(hit(place, "a", 'a', "cache"));
	assert_int_equal(hashes(place, "a", 'a'), 1);
	assert_int_equal(count(place, "cache", "spmvm-known-", NULL), 0);
	with.ahead = 55;
	assert_int_equal(hashes(place, "a", 'a'), 1);
	assert_int_equal(count(place, "cache", "spmvm-known-", NULL), 0);
	with.ahead = 120;
	assert_int_equal(hashes(place, "a", 'a'), 1);
	assert_int_equal(count(place, "cache", "spmvm-known-", NULL), 1);
	assert_int_equal(hashes(place, "a", 'a'), 0);
	/* evicted: the key that is remembered leads nowhere */
	assert_int_equal(unlink(kept(place)), 0);
	assert_false(hit(place, "a", 'a', "cache"));
	assert_int_equal(hashes(place, "a", 'a'), 0);
	/* any change of the inode will do, the same bytes written once more among them */
	assert_int_equal(chmod(scratch_path(&place->scratch, "a"), 0600), 0);
	assert_int_equal(hashes(place, "a", 'a'), 1);
	assert_int_equal(hashes(place, "a", 'a'), 0);
	put_kernel(place, "a", 'b');
	assert_false(hit(place, "a", 'b', "cache"));
	assert_int_equal(hashes(place, "a", 'b'), 0);
	/* where mmap() changes a file without a trace */
	with.file_system = TMPFS_MAGIC;
	assert_int_equal(hashes(place, "a", 'b'), 1);
	assert_int_equal(hashes(place, "a", 'b'), 1);
}

/* The links are bounded, and one that says something odd is not believed. */
static void what_is_known_is_little_and_checked(void **state)
{
	char link[256], path[300], text[400];
	struct place *place = *state;
	ssize_t length;

	with.ahead = 120;
	put_kernel(place, "a", 'a');
	assert_false(hit(place, "a", 'a', "cache"));
	assert_int_equal(count(place, "cache", "spmvm-known-", link), 1);
	snprintf(path, sizeof(path), "%s/%s", scratch_path(&place->scratch, "cache"), link);
	length = readlink(path, text, sizeof(text) - 1);
	assert_true(length > 80);
	text[length] = '\0';
	for (size_t i = 0; i < 3; i++) {
		static const char *const ENDS[] = {"/", "", "0/../../../../../../../../etc/passwd"};
		char odd[500];

		snprintf(odd, sizeof(odd), "%.*s%s", (int)length - 1, text, ENDS[i]);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(symlink(odd, path), 0);
		assert_int_equal(hashes(place, "a", 'a'), 1);
		assert_int_equal(hashes(place, "a", 'a'), 0);
	}
	for (int i = 0; i < 2000; i++) {
		set_changed(scratch_path(&place->scratch, "a"), 1700000000 + i);
		assert_true(hit(place, "a", 'a', "cache"));
	}
	assert_int_equal(count(place, "cache", "spmvm-known-", NULL), 64);
	/* every link is there now, and says something about what was in the file before */
	put_kernel(place, "a", 'b');
	set_changed(scratch_path(&place->scratch, "a"), 1800000000);
	assert_false(hit(place, "a", 'b', "cache"));
}

static void parallel_cold_starts_leave_one_kernel(void **state)
{
	enum { STARTS = 8, ROUNDS = 10 };
	struct place *place = *state;

	put_kernel(place, "a", 'a');
	for (int round = 0; round < ROUNDS; round++) {
		int barrier[2];
		pid_t children[STARTS];
		char byte;

		assert_int_equal(pipe(barrier), 0);
		for (int i = 0; i < STARTS; i++) {
			children[i] = fork();
			assert_true(children[i] >= 0);
			if (children[i] > 0)
				continue;
			close(barrier[1]);
			/* until the parent closes its end */
			if (read(barrier[0], &byte, 1) == 0)
				hit(place, "a", 'a', "cache");
			_exit(0);
		}
		close(barrier[0]);
		close(barrier[1]);
		for (int i = 0; i < STARTS; i++) {
			int status;

			assert_int_equal(waitpid(children[i], &status, 0), children[i]);
			assert_int_equal(status, 0);
		}
		assert_false(logged(place, "cannot keep"));
		assert_true(hit(place, "a", 'a', "cache"));
		assert_int_equal(count(place, "cache", "spmvm-new-", NULL), 0);
		assert_int_equal(unlink(kept(place)), 0);
	}
}

static void one_that_was_killed_while_writing_is_cleared_away(void **state)
{
	struct place *place = *state;
	char name[256], path[300];
	int status, fd;
	pid_t child;

	put_kernel(place, "a", 'a');
	put_kernel(place, "b", 'b');
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		with.write_left = 1; /* the header is written */
		with.write_error = 0;
		hit(place, "a", 'a', "cache");
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_int_equal(count(place, "cache", "spmvm-new-", name), 1);
	assert_int_equal(count(place, "cache", "spmvm-kernel-", NULL), 0);
	/* as long as it is written, it stays */
	snprintf(path, sizeof(path), "%s/%s", scratch_path(&place->scratch, "cache"), name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_false(hit(place, "a", 'a', "cache"));
	assert_int_equal(count(place, "cache", "spmvm-new-", NULL), 1);
	close(fd);
	assert_false(hit(place, "b", 'b', "cache"));
	assert_int_equal(count(place, "cache", "spmvm-new-", NULL), 0);
}

static void a_file_that_another_took_for_stale_is_no_loss(void **state)
{
	struct place *place = *state;

	put_kernel(place, "a", 'a');
	with.taken_for_stale = true;
	assert_false(hit(place, "a", 'a', "cache"));
	assert_false(with.taken_for_stale);
	assert_false(logged(place, "cannot keep"));
	assert_int_equal(count(place, "cache", "spmvm-", NULL), 0);
	assert_false(hit(place, "a", 'a', "cache"));
	assert_true(hit(place, "a", 'a', "cache"));
}

static void those_used_longest_ago_go(void **state)
{
	struct place *place = *state;
	char name[2] = "a";

	scratch_text(&place->scratch, "cache/spmvm-kernel-1-mine", "a file of the user's");
	assert_int_equal(chmod(scratch_path(&place->scratch, "cache"), 0700), 0);
	for (; name[0] <= 'e'; name[0]++)
		put_kernel(place, name, name[0]);
	for (name[0] = 'a'; name[0] <= 'd'; name[0]++) {
		DIR *list;

		assert_false(hit(place, name, name[0], "cache"));
		/* all that are there become older */
		list = opendir(scratch_path(&place->scratch, "cache"));
		for (const struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list)) {
			struct stat status;

			if (strlen(entry->d_name) > 40 && fstatat(dirfd(list), entry->d_name, &status, 0) == 0) {
				const struct timespec times[2] = {{1, 0}, {status.st_mtim.tv_sec - 100, 0}};

				assert_int_equal(utimensat(dirfd(list), entry->d_name, times, 0), 0);
			}
		}
		closedir(list);
	}
	assert_true(hit(place, "a", 'a', "cache")); /* which makes b the oldest */
	assert_false(hit(place, "e", 'e', "cache"));
	assert_int_equal(count(place, "cache", "spmvm-kernel-1-", NULL), KERNEL_CACHE_KERNELS + 1);
	for (name[0] = 'a'; name[0] <= 'e'; name[0]++) {
		if (name[0] != 'b')
			assert_true(hit(place, name, name[0], "cache"));
	}
	assert_false(hit(place, "b", 'b', "cache"));
	assert_int_equal(access(scratch_path(&place->scratch, "cache/spmvm-kernel-1-mine"), F_OK), 0);
}

static void the_bytes_are_bounded_too(void **state)
{
	struct place *place = *state;
	char path[200];

	put_kernel(place, "a", 'a');
	put_kernel(place, "b", 'b');
	assert_false(hit(place, "a", 'a', "cache"));
	/* two sparse ones: the older one is enough to make room, the other may stay */
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "cache/spmvm-kernel-1-%064d", i);
		scratch_text(&place->scratch, path, "");
		assert_int_equal(truncate(scratch_path(&place->scratch, path), (off_t)KERNEL_CACHE_BYTES / 2), 0);
		set_changed(scratch_path(&place->scratch, path), 1000 + i);
	}
	assert_false(hit(place, "b", 'b', "cache"));
	assert_int_equal(access(scratch_path(&place->scratch, path), F_OK), 0);
	assert_int_equal(count(place, "cache", "spmvm-kernel-1-", NULL), 3);
	assert_true(hit(place, "a", 'a', "cache"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLACED(the_second_start_takes_what_the_first_unpacked),
		PLACED(every_wrong_byte_is_noticed),
		PLACED(every_wrong_length_is_noticed),
		PLACED(only_a_file_of_ones_own_is_taken),
		PLACED(folders_that_will_not_do),
		PLACED(the_default_folder_is_where_xdg_says),
		PLACED(off_leaves_no_trace),
		PLACED(a_kernel_that_cannot_be_unpacked_is_an_error_and_not_kept),
		PLACED(a_full_disk_is_a_warning),
		PLACED(a_held_kernel_survives_its_file),
		PLACED(a_settled_image_is_hashed_once),
		PLACED(what_is_known_is_little_and_checked),
		PLACED(parallel_cold_starts_leave_one_kernel),
		PLACED(one_that_was_killed_while_writing_is_cleared_away),
		PLACED(a_file_that_another_took_for_stale_is_no_loss),
		PLACED(those_used_longest_ago_go),
		PLACED(the_bytes_are_bounded_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
