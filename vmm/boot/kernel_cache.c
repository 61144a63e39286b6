/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/kernel_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "vmm/base/io.h"
#include "vmm/boot/kernel_key.h"
#include "vmm/boot/payload.h"

static const char NEW_PREFIX[] = "spmvm-new-";

/*
 * What a kernel's file starts with. It is not parsed but compared with the one that belongs there, so no bit of the
 * file can be wrong unseen. The checksum guards against accidents only: a write that was cut off by a power failure,
 * a bad disk. XXH3 keeps up with the memory, which no cryptographic hash does.
 */
struct header {
	char key[KERNEL_KEY_SIZE];
	uint64_t size;               /* of what follows ... */
	XXH128_canonical_t checksum; /* ... and its XXH3 */
	uint8_t zero[24];            /* so that it starts on a cache line, as what copies it likes best */
};

static struct header header_for(const char *key, const uint8_t *bytes, size_t size)
{
	struct header header = {.size = size};

	memcpy(header.key, key, KERNEL_KEY_SIZE);
	XXH128_canonicalFromHash(&header.checksum, XXH3_128bits(bytes, size));
	return header;
}

/* ---------------------------------------------------------------------------------------------- the folder */

/* A folder of the user's own within parent, which is made if it is not there and should be; a descriptor or -errno. */
static int enter(int parent, const char *name, bool make)
{
	struct stat status;
	int fd;

	if (make && mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) == 0 && status.st_uid == geteuid())
		return fd;
	io_close(&fd);
	return -EPERM;
}

/* A folder that may have to be made, which is done in a folder of the user's own only. */
static int enter_new(const char *path)
{
	char parent[PATH_MAX];
	int at = enter(AT_FDCWD, path, false), above;

	if (at != -ENOENT || snprintf(parent, sizeof(parent), "%s", path) >= (int)sizeof(parent))
		return at;
	above = enter(AT_FDCWD, dirname(parent), false);
	if (above < 0)
		return above;
	io_close(&above);
	return enter(AT_FDCWD, path, true);
}

/* Each step is checked, so that root with a user's HOME (sudo) leaves nothing there that the user could not remove. */
static int enter_default(void)
{
	const char *base = getenv("XDG_CACHE_HOME");
	bool is_cache =
		base != NULL && base[0] == '/'; /* XDG Base Directory Specification: a relative path is ignored */
	int at, folder;

	if (!is_cache)
		base = getenv("HOME");
	if (base == NULL || base[0] != '/')
		return -ENOENT;
	at = is_cache ? enter_new(base) : enter(AT_FDCWD, base, false);
	if (at >= 0 && !is_cache) {
		folder = enter(at, ".cache", true);
		io_close(&at);
		at = folder;
	}
	if (at < 0)
		return at;
	folder = enter(at, "spmvm", true);
	io_close(&at);
	return folder;
}

/* What others may write to, they may fill with kernels of their own. */
static int check_folder(int folder)
{
	struct stat status;

	if (fstat(folder, &status) < 0)
		return -errno;
	if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return -EPERM;
	return faccessat(folder, ".", R_OK | W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

int kernel_cache_open(int *folder, const char *path, const struct log *log, struct error *err)
{
	const char *why;
	int code;

	*folder = -1;
	if (path != NULL && strcmp(path, "off") == 0)
		return 0;
	*folder = path != NULL ? enter(AT_FDCWD, path, true) : enter_default();
	code = *folder < 0 ? *folder : check_folder(*folder);
	if (code == 0)
		return 0;
	io_close(folder);
	why = code == -EPERM ? "it is not yours, or others may write to it" : strerror(-code);
	if (path != NULL)
		return error_set(err, EXIT_STATUS_HOST, -code,
				 "--kernel-cache %s: %s; name a folder that you alone may write to, or off", path, why);
	log_debug(log, "no kernel cache: spmvm in $XDG_CACHE_HOME or ~/.cache: %s", why);
	return 0;
}

/* ---------------------------------------------------------------------------------------------- reading */

/*
 * Gets at the file's bytes. Mapped, they cost no memory and no copy, but a file that is made shorter then ends us
 * with SIGBUS. A lease prevents that: whoever opens the file for writing, or truncates it, waits for us to let go
 * (fs.lease-break-time, 45 s) while the kernel sends us the signal that we ask for here, one that is ignored. Where
 * there are no leases (network file systems), or somebody has it open for writing, the file is read.
 */
static int hold(struct unpacked_kernel *kernel, int fd, uint64_t *size)
{
	bool leased = fcntl(fd, F_SETSIG, SIGURG) == 0 && fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return -EPERM;
	*size = (uint64_t)status.st_size;
	if (*size <= sizeof(struct header) || *size > PAYLOAD_UNPACKED_MAX + sizeof(struct header))
		return -EBADMSG;
	if (leased) {
		void *mapped = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);

		/* a bad disk is an error here, and SIGBUS where the pages are read one by one */
		if (mapped != MAP_FAILED && madvise(mapped, *size, MADV_POPULATE_READ) == 0) {
			kernel->mapped = mapped;
			kernel->mapped_size = *size;
			return 0;
		}
		if (mapped != MAP_FAILED)
			munmap(mapped, *size);
	}
	if (buf_extend(&kernel->unpacked, *size) == NULL)
		return -ENOMEM;
	return io_pread_all(fd, kernel->unpacked.data, *size, 0);
}

static int load(struct unpacked_kernel *kernel, int folder, const char *key)
{
	/* O_NONBLOCK: whatever has the name, it is not waited for */
	int fd = openat(folder, key, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	const uint8_t *file;
	struct header header;
	uint64_t size = 0;
	int code;

	if (fd < 0)
		return -errno;
	code = hold(kernel, fd, &size);
	if (code < 0)
		goto out;
	file = kernel->mapped != NULL ? kernel->mapped : kernel->unpacked.data;
	kernel->bytes = file + sizeof(header);
	kernel->size = size - sizeof(header);
	header = header_for(key, kernel->bytes, kernel->size);
	if (memcmp(file, &header, sizeof(header)) != 0) {
		code = -EBADMSG;
		goto out;
	}
	kernel->cached = true;
	futimens(fd, NULL); /* the time of use, for make_room() */
out:
	/* the lease ends with the descriptor */
	if (kernel->mapped != NULL)
		kernel->fd = fd;
	else
		io_close(&fd);
	if (code < 0)
		unpacked_kernel_release(kernel);
	return code;
}

/* ---------------------------------------------------------------------------------------------- writing */

/* What make_room() sees in the folder. */
struct survey {
	unsigned kernels;
	uint64_t bytes;
	char oldest[KERNEL_KEY_SIZE];
	struct timespec used; /* the oldest one, last */
};

static bool is_before(struct timespec a, struct timespec b)
{
	return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec < b.tv_nsec);
}

static void count_kernel(struct survey *survey, int folder, const char *name)
{
	struct stat status;

	if (fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(status.st_mode))
		return;
	if (survey->kernels == 0 || is_before(status.st_mtim, survey->used)) {
		survey->used = status.st_mtim;
		memcpy(survey->oldest, name, KERNEL_KEY_SIZE);
	}
	survey->kernels++;
	survey->bytes += (uint64_t)status.st_size;
}

/* Removes what somebody who was killed left behind; one that is still being written is locked. */
static void remove_if_stale(int folder, const char *name)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		unlinkat(folder, name, 0);
	io_close(&fd);
}

/* Of two that make room at once, each may remove one: the cache is a kernel smaller for a while then. */
static void make_room(int folder, uint64_t size)
{
	int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = again < 0 ? NULL : fdopendir(again);
	struct survey survey;

	if (list == NULL) {
		io_close(&again);
		return;
	}
	do {
		survey = (struct survey){0};
		rewinddir(list);
		for (const struct dirent *entry = readdir(list); entry != NULL; entry = readdir(list)) {
			if (kernel_key_is(entry->d_name))
				count_kernel(&survey, folder, entry->d_name);
			else if (strncmp(entry->d_name, NEW_PREFIX, strlen(NEW_PREFIX)) == 0)
				remove_if_stale(folder, entry->d_name);
		}
	} while (survey.kernels > 0 &&
		 (survey.kernels >= KERNEL_CACHE_KERNELS || survey.bytes + size > KERNEL_CACHE_BYTES) &&
		 unlinkat(folder, survey.oldest, 0) == 0);
	closedir(list);
}

static int write_kernel(int fd, const char *key, const struct buf *unpacked)
{
	struct header header = header_for(key, unpacked->data, unpacked->size);
	struct rlimit limit;
	int code;

	/* a write beyond this limit would end the process by SIGXFSZ */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < sizeof(header) + unpacked->size)
		return -EFBIG;
	code = io_write_all(fd, &header, sizeof(header));
	return code < 0 ? code : io_write_all(fd, unpacked->data, unpacked->size);
}

/*
 * A temporary file and rename(), rather than O_TMPFILE and linkat(), which has no such files to clear away: but it
 * does not work on all file systems (NFS, overlayfs before 6.3), and linkat() does not replace a damaged kernel.
 */
static int store(int folder, const char *key, const struct buf *unpacked)
{
	char temporary[32];
	uint64_t number;
	int fd, code;

	make_room(folder, unpacked->size + sizeof(struct header));
	if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
		return -EAGAIN;
	snprintf(temporary, sizeof(temporary), "%s%016jx", NEW_PREFIX, (uintmax_t)number);
	fd = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	code = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : write_kernel(fd, key, unpacked);
	if (code == 0 && renameat(folder, temporary, folder, key) < 0)
		code = -errno;
	if (code < 0)
		unlinkat(folder, temporary, 0);
	io_close(&fd);
	/*
	 * Another one that makes room took the file for stale before it was locked. That is no loss: of several that do
	 * so at once, the last has a file that none of them sees.
	 */
	return code == -EWOULDBLOCK || code == -ENOENT ? 0 : code;
}

/* ---------------------------------------------------------------------------------------------- all of it */

/* Whether the cache had it. key is empty when the image could not even be read. */
static bool look_up(struct unpacked_kernel *kernel, int folder, const struct bzimage *image, char key[KERNEL_KEY_SIZE],
		    const struct log *log)
{
	int code = -ENOENT;

	if (kernel_key_recall(folder, image, key))
		code = load(kernel, folder, key);
	if (code < 0 && kernel_key_hash(folder, image, key) == 0)
		code = load(kernel, folder, key);
	if (code == -EBADMSG || code == -EIO)
		log_warn(log, "kernel cache: %s is damaged; the kernel is unpacked and kept anew", key);
	else if (code < 0 && code != -ENOENT)
		log_debug(log, "kernel cache: %s: %s", key, strerror(-code));
	return code == 0;
}

int unpacked_kernel_get(struct unpacked_kernel *kernel, const struct bzimage *image, int folder, const struct log *log,
			struct error *err)
{
	char key[KERNEL_KEY_SIZE] = "";
	struct buf packed = {0};
	bool keep;
	int code;

	*kernel = (struct unpacked_kernel){0};
	if (folder >= 0 && look_up(kernel, folder, image, key, log)) {
		log_debug(log, "kernel cache: %s", key);
		return 0;
	}
	code = payload_read(image, &packed, err);
	if (code == 0)
		code = payload_unpack_read(image, &packed, &kernel->unpacked, err);
	/* the file may have changed since it was looked up: what is kept is named after the very bytes that it came from */
	keep = code == 0 && key[0] != '\0' && kernel->unpacked.size > 0 &&
	       kernel_key_matches(key, packed.data, packed.size);
	buf_release(&packed);
	if (code < 0)
		return code;
	kernel->bytes = kernel->unpacked.data;
	kernel->size = kernel->unpacked.size;
	if (keep)
		code = store(folder, key, &kernel->unpacked);
	if (code < 0)
		log_warn(log, "kernel cache: cannot keep the kernel: %s; make room, or use --kernel-cache off",
			 strerror(-code));
	return 0;
}

void unpacked_kernel_release(struct unpacked_kernel *kernel)
{
	if (kernel == NULL)
		return;
	buf_release(&kernel->unpacked);
	if (kernel->mapped != NULL) {
		munmap(kernel->mapped, kernel->mapped_size);
		io_close(&kernel->fd);
	}
	*kernel = (struct unpacked_kernel){0};
}
