/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a disk: what is refused, in which words, and the lock. */
#include "tests/unit/blk_guest.h"

#include <linux/loop.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static char path[64];

static int set_up(void **state)
{
	(void)state;
	blk_guest_make_file(path, sizeof(path), 4096);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

/* Fails with this status, and with every one of the texts in its line. */
static void refused(struct virtio_blk_options options, enum exit_status status, const char *first, const char *second)
{
	struct virtio_blk blk;
	struct error err = {0};

	assert_true(virtio_blk_init(&blk, &options, "--blk path=x", NULL, &err) < 0);
	assert_int_equal(err.status, status);
	if (strncmp(err.text, "--blk path=x: ", 14) != 0 || strstr(err.text, first) == NULL ||
	    strstr(err.text, second) == NULL)
		fail_msg("%s", err.text);
	/* takes what was left */
	virtio_blk_release(&blk);
}

static void test_refusals(void **state)
{
	struct rlimit old, limit;
	char fifo[80];
	bool limited;
	struct virtio_blk blk;
	struct error err = {0};

	(void)state;
	refused((struct virtio_blk_options){.path = "/nonexistent/disk"}, EXIT_STATUS_CONFIG, "no such file",
		"truncate -s 10G /nonexistent/disk");
	refused((struct virtio_blk_options){.path = "/tmp"}, EXIT_STATUS_CONFIG, "is a folder", "--share");
	refused((struct virtio_blk_options){.path = "/tmp", .read_only = true}, EXIT_STATUS_CONFIG, "is a folder", "");
	refused((struct virtio_blk_options){.path = "/dev/full"}, EXIT_STATUS_CONFIG, "neither a file nor a block",
		"raw image");
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	refused((struct virtio_blk_options){.path = fifo, .read_only = true}, EXIT_STATUS_CONFIG, "neither a file", "");
	unlink(fifo);
	assert_int_equal(truncate(path, 1000), 0);
	refused((struct virtio_blk_options){.path = path}, EXIT_STATUS_CONFIG, "1000 bytes, is not a multiple of 512",
		"truncate -s %512");
	assert_int_equal(truncate(path, 0), 0);
	refused((struct virtio_blk_options){.path = path, .read_only = true}, EXIT_STATUS_CONFIG, "is empty",
		"truncate -s 10G");
	assert_int_equal(truncate(path, 1024 * 1024), 0);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit){4096, old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	limited = virtio_blk_init(&blk, &(struct virtio_blk_options){.path = path}, "x", NULL, &err) < 0;
	setrlimit(RLIMIT_FSIZE, &old);
	assert_true(limited);
	assert_non_null(strstr(err.text, "ulimit -f unlimited"));
	refused((struct virtio_blk_options){.path = path, .id = "123456789012345678901"}, EXIT_STATUS_USAGE,
		"has 21 characters", "at most 20");
	refused((struct virtio_blk_options){.path = path, .id = "a b"}, EXIT_STATUS_USAGE, "character 2", "");
	refused((struct virtio_blk_options){.path = path, .id = "a/b"}, EXIT_STATUS_USAGE, "'/'", "");
	refused((struct virtio_blk_options){.path = path, .id = "\xc3\xa4"}, EXIT_STATUS_USAGE, "ASCII", "");
}

static void test_too_many_queues(void **state)
{
	struct virtio_blk blk;
	struct error err = {0};

	(void)state;
	assert_true(virtio_blk_init(&blk, &(struct virtio_blk_options){.path = path, .queues = 17}, "--blk", NULL,
				    &err) < 0);
	assert_non_null(strstr(err.text, "queues=17"));
	virtio_blk_release(&blk);
	virtio_blk_release(NULL);
}

/* Root may do everything, so a child gives that up. */
static void test_permissions(void **state)
{
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(chmod(path, 0444), 0);
	child = fork();
	if (child == 0) {
		struct virtio_blk_options options = {.path = path};
		struct virtio_blk blk;
		struct error err = {0};

		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(77);
		if (virtio_blk_init(&blk, &options, "--blk path=x", NULL, &err) == 0 ||
		    err.status != EXIT_STATUS_HOST || strstr(err.text, "use ro=on") == NULL)
			_exit(1);
		options.read_only = true;
		_exit(virtio_blk_init(&blk, &options, "--blk path=x", NULL, &err) == 0 ? 0 : 2);
	}
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_int_equal(chmod(path, 0200), 0);
	child = fork();
	if (child == 0) {
		struct virtio_blk blk;
		struct error err = {0};

		if (geteuid() == 0 && setuid(65534) != 0)
			_exit(77);
		if (virtio_blk_init(&blk, &(struct virtio_blk_options){.path = path, .read_only = true}, "x", NULL,
				    &err) == 0 ||
		    strstr(err.text, "Permission denied") == NULL)
			_exit(1);
		_exit(0);
	}
	waitpid(child, &status, 0);
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_lock(void **state)
{
	struct virtio_blk_options writer = {.path = path}, reader = {.path = path, .read_only = true};
	struct virtio_blk first, second;
	struct error err = {0};
	char owner[64];

	(void)state;
	snprintf(owner, sizeof(owner), "is in use by process %d (", (int)getpid());
	assert_int_equal(virtio_blk_init(&first, &writer, "x", NULL, &err), 0);
	refused(writer, EXIT_STATUS_HOST, owner, "ro=on in both");
	refused(reader, EXIT_STATUS_HOST, owner, "");
	virtio_blk_release(&first);
	/* at once: an io_uring that is being torn down must not hold the lock */
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(virtio_blk_init(&first, &writer, "x", NULL, &err), 0);
		virtio_blk_release(&first);
	}
	/* two readers, then no writer */
	assert_int_equal(virtio_blk_init(&first, &reader, "x", NULL, &err), 0);
	assert_int_equal(virtio_blk_init(&second, &reader, "x", NULL, &err), 0);
	refused(writer, EXIT_STATUS_HOST, "is in use", "");
	virtio_blk_release(&second);
	virtio_blk_release(&first);
	virtio_blk_release(&first);
}

/* No descriptor is left after failures of all kinds. */
static unsigned count_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* Lets this process open just so many more descriptors. */
static void leave_room_for(unsigned count, struct rlimit *old)
{
	struct rlimit limit;
	int fd = 0;

	for (unsigned free = 0; free < count; fd++)
		free += fcntl(fd, F_GETFD) < 0;
	getrlimit(RLIMIT_NOFILE, old);
	limit = (struct rlimit){(rlim_t)fd, old->rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void test_nothing_is_left_open(void **state)
{
	struct virtio_blk blk;
	struct error err;
	struct rlimit old;
	unsigned before = count_descriptors(), failures = 0;

	(void)state;
	/* one more descriptor each time: every step of the construction fails once */
	for (unsigned room = 0; room < 12; room++) {
		int code;

		leave_room_for(room, &old);
		code = virtio_blk_init(
			&blk, &(struct virtio_blk_options){.path = path, .queues = 3, .engine = BLK_ENGINE_URING}, "x",
			NULL, &err);
		setrlimit(RLIMIT_NOFILE, &old);
		failures += code < 0;
		if (code == 0)
			virtio_blk_release(&blk);
		assert_int_equal(count_descriptors(), before);
	}
	assert_int_equal(failures, 6); /* three queues, the file, the engine's eventfd, io_uring */
}

/* Without descriptors for io_uring, system calls do it, and a line says why. */
static void test_falls_back(void **state)
{
	struct virtio_blk blk;
	struct error err = {0};
	struct rlimit old;
	char said[1024] = "";
	int log_fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), code;
	struct log log = {.level = LOG_INFO, .fd = log_fd};

	(void)state;
	/* the queue's eventfd, the file, the engine's eventfd */
	leave_room_for(3, &old);
	code = virtio_blk_init(&blk, &(struct virtio_blk_options){.path = path}, "--blk path=x", &log, &err);
	setrlimit(RLIMIT_NOFILE, &old);
	assert_int_equal(code, 0);
	assert_null(blk.io.ring);
	assert_true(pread(log_fd, said, sizeof(said) - 1, 0) > 0);
	assert_non_null(strstr(said, "no io_uring"));
	virtio_blk_release(&blk);
	close(log_fd);
}

/* A block device on path, that goes away with the last descriptor of it; -1 where there are none for us. */
static int make_loop(char *device, size_t size)
{
	struct loop_config config = {.block_size = 4096, .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = -1;

	config.fd = (uint32_t)open(path, O_RDWR | O_CLOEXEC);
	for (unsigned tries = 0; control >= 0 && fd < 0 && tries < 10; tries++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		if (number < 0)
			break;
		snprintf(device, size, "/dev/loop%d", number);
		fd = open(device, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
			close(fd);
			fd = -1;
		}
	}
	close((int)config.fd);
	if (control >= 0)
		close(control);
	return fd;
}

/* How much of the file behind the loop device is allocated, in units of 512 bytes; what is in its byte at offset. */
static uint64_t blocks_behind(off_t offset, uint8_t *byte)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(pread(fd, byte, 1, offset), 1);
	close(fd);
	return (uint64_t)status.st_blocks;
}

/*
 * A loop device's cache is apart from the file behind it, as a disk's content is from the host's cache: a flush takes what was
 * written there, and a discard empties it, in both ways.
 */
static void test_flush_and_discard_reach_the_device(void **state)
{
	uint8_t bytes[16 * SECTOR], behind;
	struct blk_guest *guest;
	uint64_t before;
	char device[32];
	int loop;

	(void)state;
	assert_int_equal(truncate(path, 4 * 1024 * 1024), 0);
	loop = make_loop(device, sizeof(device));
	if (loop < 0)
		skip();
	guest = blk_guest_new((struct virtio_blk_options){.path = device}, 0);
	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	for (unsigned direct = 0; direct < 2; direct++) {
		memset(bytes, 0xaa, sizeof(bytes));
		before = blocks_behind(0, &behind);
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 64, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
		assert_true(blocks_behind(64 * SECTOR, &behind) > before);
		assert_int_equal(behind, 0xaa);
		if (direct)
			assert_int_equal(blk_file_discard(&guest->blk.file, 64 * SECTOR, sizeof(bytes)), 0);
		else
			assert_int_equal(
				blk_guest_ranges(guest, VIRTIO_BLK_T_DISCARD, &(struct blk_range){64, 16, 0}, 1),
				VIRTIO_BLK_S_OK);
		assert_int_equal(blocks_behind(64 * SECTOR, &behind), before);
		assert_int_equal(behind, 0);
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 64, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
		assert_int_equal(bytes[0], 0);
	}
	assert_int_equal(blk_file_discard(&(struct blk_file){.fd = loop}, 0, 4096), -EOPNOTSUPP);
	snprintf(guest->path, sizeof(guest->path), "%s", "/nonexistent");
	blk_guest_free(guest);
	close(loop);
}

static void test_block_device(void **state)
{
	uint8_t bytes[8192], zeroes[8192] = {0};
	struct blk_guest *guest;
	char device[32];
	int loop, holder, excluded;
	struct virtio_blk blk;
	struct error err = {0};

	(void)state;
	assert_int_equal(truncate(path, 4 * 1024 * 1024), 0);
	loop = make_loop(device, sizeof(device));
	if (loop < 0)
		skip();
	for (int engine = BLK_ENGINE_AUTO; engine <= BLK_ENGINE_SYNC; engine += BLK_ENGINE_SYNC) {
		guest = blk_guest_new((struct virtio_blk_options){.path = device, .engine = (enum blk_engine)engine},
				      0);
		assert_true(guest->blk.file.block_device);
		assert_int_equal(guest->blk.file.size, 4 * 1024 * 1024);
		assert_int_equal(guest->blk.file.logical, 4096);
		blk_guest_start(guest, DRIVER_ALL_FEATURES);
		memset(bytes, 0xff, sizeof(bytes));
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 16, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
		for (uint32_t unmap = 0; unmap < 2; unmap++) {
			/* also where blocks of 4096 bytes are cut: then zeroes are written */
			assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_WRITE_ZEROES,
							  &(struct blk_range){17 - unmap, 8, unmap}, 1),
					 VIRTIO_BLK_S_OK);
		}
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 16, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
		assert_memory_equal(bytes, zeroes, 9 * SECTOR);
		assert_int_equal(bytes[9 * SECTOR], 0xff);
		if ((guest->driver.features & VIRTIO_BLK_FEATURE_DISCARD) != 0)
			assert_int_equal(
				blk_guest_ranges(guest, VIRTIO_BLK_T_DISCARD, &(struct blk_range){16, 16, 0}, 1),
				VIRTIO_BLK_S_OK);
		/* blk_guest_free() would unlink the device's node */
		snprintf(guest->path, sizeof(guest->path), "%s", "/nonexistent");
		blk_guest_free(guest);
	}
	/* what the host uses (as a mounted file system does) is refused for writing */
	holder = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);
	assert_true(holder >= 0);
	excluded = virtio_blk_init(&blk, &(struct virtio_blk_options){.path = device}, "x", NULL, &err);
	assert_true(excluded < 0);
	assert_non_null(strstr(err.text, "mounted"));
	assert_int_equal(
		virtio_blk_init(&blk, &(struct virtio_blk_options){.path = device, .read_only = true}, "x", NULL, &err),
		0);
	virtio_blk_release(&blk);
	close(holder);
	close(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refusals, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_many_queues, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_permissions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_lock, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nothing_is_left_open, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_flush_and_discard_reach_the_device, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_block_device, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_falls_back, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
