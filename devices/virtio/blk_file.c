/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/blk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/base/io.h"

enum {
	SECTOR = 512,
	LOCKS_FILE_MAX = 1 << 20,
	BUSY_ATTEMPTS = 50,
	BUSY_PAUSE_NS = 10 * 1000 * 1000,
	BLOCK_MAX = 64 * 1024
};

static int open_error(const char *path, bool read_only, const char *option, int code, struct error *err)
{
	if (code == ENOENT)
		return error_set(err, EXIT_STATUS_CONFIG, code,
				 "%s: no such file; an empty disk is made with: truncate -s 10G %s", option, path);
	if (code == EBUSY)
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: the host uses this block device (is it mounted?); unmount it, or use ro=on",
				 option);
	if ((code == EACCES || code == EPERM || code == EROFS) && !read_only && access(path, R_OK) == 0)
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: cannot be written (%s); use ro=on, or make it writable", option, strerror(code));
	return error_set(err, code == EACCES || code == EPERM ? EXIT_STATUS_HOST : EXIT_STATUS_CONFIG, code,
			 "%s: cannot be opened: %s", option, strerror(code));
}

/* What path is, checked before it is opened: opening a FIFO would wait for its other end. */
static int check_kind(const char *path, bool read_only, const char *option, struct stat *status, struct error *err)
{
	if (stat(path, status) < 0)
		return open_error(path, read_only, option, errno, err);
	if (S_ISDIR(status->st_mode))
		return error_set(
			err, EXIT_STATUS_CONFIG, EISDIR,
			"%s: is a folder; a disk is a raw image or a block device (--share gives a guest a folder)",
			option);
	if (!S_ISREG(status->st_mode) && !S_ISBLK(status->st_mode))
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "%s: is neither a file nor a block device; use a raw image", option);
	return 0;
}

/* Whether a line of /proc/locks, "1: FLOCK  ADVISORY  WRITE 4711 fe:00:131072 0 EOF", is about this inode; then *pid holds the lock. */
static bool is_lock_of(char *line, const struct stat *status, int *pid)
{
	char wanted[64], *rest = NULL, *fields[6];

	snprintf(wanted, sizeof(wanted), "%02x:%02x:%" PRIu64, major(status->st_dev), minor(status->st_dev),
		 (uint64_t)status->st_ino);
	for (unsigned i = 0; i < 6; i++) {
		fields[i] = strtok_r(i == 0 ? line : NULL, " ", &rest);
		if (fields[i] == NULL)
			return false;
	}
	if (strcmp(fields[1], "FLOCK") != 0 || strcmp(fields[5], wanted) != 0)
		return false;
	*pid = (int)strtol(fields[4], NULL, 10);
	return true;
}

/*
 * The process that /proc/locks (proc(5)) names as holder of a flock on this inode, or 0. On some file systems (btrfs, overlayfs)
 * the device numbers differ, and nobody is found.
 */
static int lock_owner(const struct stat *status)
{
	struct error ignored;
	struct buf text = {0};
	int owner = 0;

	if (io_read_file("/proc/locks", LOCKS_FILE_MAX, &text, EXIT_STATUS_HOST, &ignored) == 0)
		buf_u8(&text, 0);
	if (text.size > 0 && !buf_failed(&text)) {
		char *rest = NULL, *line = strtok_r((char *)text.data, "\n", &rest);

		while (line != NULL && !is_lock_of(line, status, &owner))
			line = strtok_r(NULL, "\n", &rest);
	}
	buf_release(&text);
	return owner;
}

/* " by process 4711 (spmvm)", or as much of it as is known. */
static void describe_owner(const struct stat *status, char *text, size_t size)
{
	struct error ignored;
	struct buf name = {0};
	char path[64];
	int pid = lock_owner(status);

	text[0] = '\0';
	if (pid <= 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (io_read_file(path, 64, &name, EXIT_STATUS_HOST, &ignored) == 0 && name.size > 1)
		snprintf(text, size, " by process %d (%.*s)", pid, (int)name.size - 1, (const char *)name.data);
	else
		snprintf(text, size, " by process %d", pid);
	buf_release(&name);
}

/*
 * Others' locks and exclusive openings are asked for a few times: those of a process that was killed are gone only when the kernel has taken down its
 * io_uring, which it does some time later, and a machine may be started again at once.
 */
static int open_patiently(const char *path, int flags)
{
	int fd = open(path, flags);

	for (unsigned attempts = 1; fd < 0 && errno == EBUSY && attempts < BUSY_ATTEMPTS; attempts++) {
		clock_pause(BUSY_PAUSE_NS);
		fd = open(path, flags);
	}
	return fd;
}

static int lock_patiently(int fd, int operation)
{
	int code = flock(fd, operation | LOCK_NB);

	for (unsigned attempts = 1; code < 0 && errno == EWOULDBLOCK && attempts < BUSY_ATTEMPTS; attempts++) {
		clock_pause(BUSY_PAUSE_NS);
		code = flock(fd, operation | LOCK_NB);
	}
	return code;
}

static int lock(const struct blk_file *file, const struct stat *status, const char *option, const struct log *log,
		struct error *err)
{
	char owner[128];

	if (lock_patiently(file->fd, file->read_only ? LOCK_SH : LOCK_EX) == 0)
		return 0;
	if (errno != EWOULDBLOCK) {
		if (log != NULL)
			log_warn(log, "%s: cannot be locked (%s); nothing else may write it while the machine runs",
				 option, strerror(errno));
		return 0;
	}
	describe_owner(status, owner, sizeof(owner));
	return error_set(err, EXIT_STATUS_HOST, EBUSY, "%s: is in use%s; stop that, use a copy, or ro=on in both",
			 option, owner);
}

static uint32_t power_of_two(uint64_t value, uint32_t otherwise)
{
	return value >= SECTOR && value <= BLOCK_MAX && (value & (value - 1)) == 0 ? (uint32_t)value : otherwise;
}

static int read_block_device(struct blk_file *file, const struct stat *status, const char *option, struct error *err)
{
	unsigned physical = 0, io_min = 0, io_best = 0;
	uint64_t discard = 0;
	char path[80];
	int logical = 0;

	if (ioctl(file->fd, BLKGETSIZE64, &file->size) < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "%s: cannot tell its size: %s", option, strerror(errno));
	(void)ioctl(file->fd, BLKSSZGET, &logical);
	(void)ioctl(file->fd, BLKPBSZGET, &physical);
	(void)ioctl(file->fd, BLKIOMIN, &io_min);
	(void)ioctl(file->fd, BLKIOOPT, &io_best);
	file->logical = power_of_two(logical > 0 ? (uint64_t)logical : 0, SECTOR);
	file->physical = power_of_two(physical, file->logical);
	if (file->physical < file->logical)
		file->physical = file->logical;
	file->io_min = io_min;
	file->io_best = io_best;
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/queue/discard_max_bytes", major(status->st_rdev),
		 minor(status->st_rdev));
	file->punches = io_read_number(path, &discard) == 0 && discard > 0;
	return 0;
}

static void read_file(struct blk_file *file, const struct stat *status)
{
	file->size = (uint64_t)status->st_size;
	file->logical = SECTOR;
	/* what the host's file system allocates and caches by; a guest that aligns to it saves read-modify-write cycles */
	file->physical = power_of_two((uint64_t)status->st_blksize, 4096);
	file->io_min = file->physical;
	/* a hole behind the end changes nothing, but tells whether there can be holes */
	file->punches = !file->read_only && fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						      status->st_size, file->physical) == 0;
}

/* A write behind RLIMIT_FSIZE raises SIGXFSZ, even where it only overwrites what is there: setrlimit(2). */
static int check_size(const struct blk_file *file, const char *path, const char *option, struct error *err)
{
	struct rlimit limit;

	if (file->size == 0)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "%s: is empty; give it a size with: truncate -s 10G %s", option, path);
	if (file->size % SECTOR != 0)
		return error_set(
			err, EXIT_STATUS_CONFIG, EINVAL,
			"%s: its size, %" PRIu64
			" bytes, is not a multiple of 512; is it a raw image? Pad it with: truncate -s %%512 %s",
			option, file->size, path);
	if (!file->read_only && !file->block_device && getrlimit(RLIMIT_FSIZE, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < file->size)
		return error_set(err, EXIT_STATUS_HOST, EFBIG,
				 "%s: its size, %" PRIu64
				 " bytes, is above the limit for files that are written, %" PRIu64
				 "; lift it (ulimit -f unlimited), or use ro=on",
				 option, file->size, (uint64_t)limit.rlim_cur);
	return 0;
}

int blk_file_open(struct blk_file *file, const char *path, bool read_only, const char *option, const struct log *log,
		  struct error *err)
{
	struct stat status;
	int code;

	*file = (struct blk_file){.fd = -1, .read_only = read_only};
	code = check_kind(path, read_only, option, &status, err);
	if (code < 0)
		return code;
	file->block_device = S_ISBLK(status.st_mode);
	file->fd = open_patiently(path, O_CLOEXEC | (read_only ? O_RDONLY : O_RDWR) |
						(file->block_device && !read_only ? O_EXCL : 0));
	if (file->fd < 0)
		return open_error(path, read_only, option, errno, err);
	if (io_status(file->fd, &status) < 0 || S_ISBLK(status.st_mode) != file->block_device ||
	    (!S_ISREG(status.st_mode) && !file->block_device)) {
		code = error_set(err, EXIT_STATUS_HOST, EAGAIN, "%s: was replaced while it was opened", option);
		goto fail;
	}
	code = lock(file, &status, option, log, err);
	if (code < 0)
		goto fail;
	if (file->block_device)
		code = read_block_device(file, &status, option, err);
	else
		read_file(file, &status);
	if (code == 0)
		code = check_size(file, path, option, err);
	if (code < 0)
		goto fail;
	return 0;
fail:
	blk_file_close(file);
	return code;
}

void blk_file_close(struct blk_file *file)
{
	/* an io_uring that is being torn down may keep the file open for a moment, but not its lock */
	if (file->fd >= 0)
		(void)flock(file->fd, LOCK_UN);
	io_close(&file->fd);
}

uint64_t blk_file_size_now(const struct blk_file *file)
{
	struct stat status;

	if (file->block_device || io_status(file->fd, &status) < 0)
		return file->size;
	return status.st_size > 0 ? (uint64_t)status.st_size : 0;
}

int blk_file_discard(const struct blk_file *file, uint64_t offset, uint64_t size)
{
	uint64_t range[2] = {offset, size};

	if (!file->block_device)
		return -EOPNOTSUPP;
	return ioctl(file->fd, BLKDISCARD, range) < 0 ? -errno : 0;
}
