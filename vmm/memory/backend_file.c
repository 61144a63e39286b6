/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory/backend_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/base/range.h"
#include "vmm/memory/host_memory.h"

/* --------------------------------------------------------------------------------------------------- opening it */

static int open_path(struct mem_backend *backend, struct error *err)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK; /* whatever it is, do not wait for it */
	const char *path = backend->source.path;

	backend->fd = open(path, flags);
	if (backend->fd < 0 && errno == ENOENT) {
		/* what is in it is the guest's memory: nobody else's business */
		backend->fd = open(path, flags | O_CREAT | O_EXCL, 0600);
		backend->made = backend->fd >= 0;
	}
	if (backend->fd >= 0)
		return 0;
	if (errno == EISDIR)
		return error_set(err, EXIT_STATUS_HOST, EISDIR, "it is a folder; name a file in it, which may be new");
	return error_set(err, EXIT_STATUS_HOST, errno, "cannot open it for reading and writing: %s", strerror(errno));
}

/* Descriptors that come through execve() have no FD_CLOEXEC, and all that spmvm opens have it. */
static int take_inherited(struct mem_backend *backend, struct error *err)
{
	int fd = backend->source.inherited, flags = fcntl(fd, F_GETFD), seals;

	if (flags < 0 || (flags & FD_CLOEXEC) != 0)
		return error_set(err, EXIT_STATUS_HOST, EBADF,
				 "spmvm was not started with this descriptor, or another option has it; pass an open "
				 "one, such as fd=%d with %d<>FILE in a shell",
				 fd, fd);
	if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		return error_set(err, EXIT_STATUS_HOST, EACCES,
				 "the descriptor is not open for reading and writing; open it with O_RDWR");
	seals = fcntl(fd, F_GET_SEALS);
	if (seals >= 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) != 0)
		return error_set(err, EXIT_STATUS_HOST, EPERM,
				 "the memfd is sealed against writing; pass one without F_SEAL_WRITE and "
				 "F_SEAL_FUTURE_WRITE");
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "cannot set FD_CLOEXEC: %s", strerror(errno));
	backend->fd = fd;
	return 0;
}

/*
 * flock() keeps out who has opened the file on their own, but not who was passed the same open file. A record lock belongs to the process,
 * so it keeps out the other processes; and whether this one has it already shows a question that is asked on behalf of
 * the open file (F_OFD_GETLK). 0 also where a file system has no record locks.
 */
static int lock_record(const struct mem_backend *backend)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(backend->fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK)
		return -EBUSY;
	whole = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return fcntl(backend->fd, F_SETLK, &whole) < 0 && (errno == EAGAIN || errno == EACCES) ? -EBUSY : 0;
}

static int lock(struct mem_backend *backend, struct error *err)
{
	int code = flock(backend->fd, LOCK_EX | LOCK_NB) < 0 ? -errno : lock_record(backend);

	if (code == 0)
		return 0;
	/* another has opened the new file and locked it first: it is that one's */
	backend->made = false;
	if (code == -EWOULDBLOCK || code == -EBUSY)
		return error_set(err, EXIT_STATUS_HOST, EBUSY,
				 "it is in use: another spmvm or another option has locked it; use one of its own for "
				 "each, or wait");
	return error_set(err, EXIT_STATUS_HOST, -code, "cannot lock it (flock): %s", strerror(-code));
}

/* --------------------------------------------------------------------------------------------------- what it is */

static int check_dax(struct mem_backend *backend, const struct stat *status, struct error *err)
{
	uint64_t size;

	if (host_memory_dax("", status->st_rdev, &backend->align, &size) < 0)
		return error_set(err, EXIT_STATUS_HOST, ENODEV,
				 "it is a character device, but no device-dax; use a file or /dev/daxX.Y");
	backend->kind = BACKEND_DAX;
	if (backend->source.hugetlb != 0)
		return error_set(err, EXIT_STATUS_HOST, EINVAL,
				 "a device-dax has pages of its own (%" PRIu64 " KiB here); leave hugetlb= out",
				 backend->align / KIB);
	if (size < backend->size)
		return error_set(err, EXIT_STATUS_HOST, ENOSPC,
				 "the device has %" PRIu64 " MiB, %" PRIu64 " are needed; use size=%" PRIu64
				 "M or a larger device",
				 size / MIB, backend->size / MIB, size / (2 * MIB) * 2);
	return 0;
}

static int check_file_system(struct mem_backend *backend, struct error *err)
{
	uint64_t asked = backend->source.hugetlb;
	struct statfs system;

	if (fstatfs(backend->fd, &system) < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "cannot find out its file system: %s", strerror(errno));
	if (system.f_type == HUGETLBFS_MAGIC) {
		backend->source.hugetlb = (uint64_t)system.f_bsize;
		if (asked != 0 && asked != backend->source.hugetlb)
			return error_set(err, EXIT_STATUS_HOST, EINVAL,
					 "its hugetlbfs has pages of %" PRIu64 " MiB, hugetlb= says %" PRIu64
					 "; leave hugetlb= out or use a hugetlbfs mounted with pagesize=%" PRIu64 "M",
					 backend->source.hugetlb / MIB, asked / MIB, asked / MIB);
		return 0;
	}
	if (asked != 0)
		return error_set(err, EXIT_STATUS_HOST, EINVAL,
				 "it is on no hugetlbfs, so hugetlb= cannot be had; use a file on one (mount -t "
				 "hugetlbfs -o pagesize=%" PRIu64 "M none DIR) or leave hugetlb= out",
				 asked / MIB);
	backend->kind = system.f_type == TMPFS_MAGIC ? BACKEND_MEMORY : BACKEND_CACHE;
	return 0;
}

static int check_kind(struct mem_backend *backend, const struct stat *status, struct error *err)
{
	int code;

	if (S_ISCHR(status->st_mode))
		code = check_dax(backend, status, err);
	else if (S_ISREG(status->st_mode))
		code = check_file_system(backend, err);
	else
		return error_set(err, EXIT_STATUS_HOST, EINVAL,
				 "it is neither a regular file nor a device-dax; only these can be guest memory");
	if (code < 0)
		return code;
	/* the page cache is filled by the policy of whoever reads, and a device is where it is */
	if (backend->kind != BACKEND_MEMORY && backend->source.policy != HOST_POLICY_DEFAULT)
		return error_set(err, EXIT_STATUS_HOST, EINVAL,
				 "host-nodes= has no effect on %s; use a file on tmpfs or hugetlbfs, or leave it out",
				 backend->kind == BACKEND_DAX ? "a device-dax" : "a file of this file system");
	if (!is_aligned(backend->size, backend_page_size(backend)))
		return error_set(err, EXIT_STATUS_HOST, EINVAL,
				 "it is mapped in pages of %" PRIu64 " MiB, of which the size, %" PRIu64
				 " MiB, is no multiple; use size=%" PRIu64 "M",
				 backend_page_size(backend) / MIB, backend->size / MIB,
				 (backend->size / backend_page_size(backend) + 1) * backend_page_size(backend) / MIB);
	return 0;
}

/* -------------------------------------------------------------------------------------------------------- size */

/* A sparse file promises what its file system may not have; the guest would find out. */
static int check_space(const struct mem_backend *backend, struct error *err)
{
	uint64_t need = backend->size - (backend->present < backend->size ? backend->present : backend->size), have;
	struct statvfs space;

	if (fstatvfs(backend->fd, &space) < 0 || space.f_blocks == 0) /* a file system without a limit says 0 */
		return 0;
	have = (uint64_t)space.f_bavail * space.f_frsize;
	if (have >= need)
		return 0;
	return error_set(err, EXIT_STATUS_HOST, ENOSPC,
			 "its file system has %" PRIu64 " MiB left, %" PRIu64
			 " are needed; make room there, use a smaller size= or another file system",
			 have / MIB, need / MIB);
}

/* ftruncate() beyond RLIMIT_FSIZE would end the process by SIGXFSZ. */
static int grow(const struct mem_backend *backend, struct error *err)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && backend->size > limit.rlim_cur)
		return error_set(err, EXIT_STATUS_HOST, EFBIG,
				 "%" PRIu64 " MiB is more than this process's file size limit of %" PRIu64
				 " MiB; lift it (ulimit -f unlimited)",
				 backend->size / MIB, (uint64_t)limit.rlim_cur / MIB);
	if (ftruncate(backend->fd, (off_t)backend->size) < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "cannot give it its size of %" PRIu64 " MiB: %s",
				 backend->size / MIB, strerror(errno));
	return 0;
}

/*
 * Blocks of a disk are set aside now, without a change of what is in the file. Not on tmpfs, where they are memory, and
 * would come before its policy is set: there only prealloc=on makes sure.
 */
static int reserve_space(const struct mem_backend *backend, struct error *err)
{
	if (backend->kind != BACKEND_CACHE || fallocate(backend->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)backend->size) == 0)
		return 0;
	if (errno == EOPNOTSUPP) /* a file system without that */
		return 0;
	return error_set(err, EXIT_STATUS_HOST, errno, "its file system cannot set %" PRIu64 " MiB aside: %s",
			 backend->size / MIB, strerror(errno));
}

static int check_size(struct mem_backend *backend, const struct stat *status, struct error *err)
{
	uint64_t has = (uint64_t)status->st_size;
	int code;

	if (backend->kind == BACKEND_DAX)
		return 0;
	if (has > 0 && has < backend->size)
		return error_set(err, EXIT_STATUS_HOST, ENOSPC,
				 "the file has %" PRIu64 " MiB, %" PRIu64
				 " are needed, and a file that has something in it is never changed; use size=%" PRIu64
				 "M or make it larger (truncate -s %" PRIu64 "M)",
				 has / MIB, backend->size / MIB, has / (2 * MIB) * 2, backend->size / MIB);
	backend->present = (uint64_t)status->st_blocks * 512; /* stat(2): whatever the file system's blocks are */
	/* of huge pages, those that are free are looked at by name (host_memory_check_pool) */
	code = backend->source.hugetlb != 0 ? 0 : check_space(backend, err);
	if (code == 0 && has == 0)
		code = grow(backend, err);
	return code < 0 ? code : reserve_space(backend, err);
}

static int check_all(struct mem_backend *backend, struct error *err)
{
	struct stat status;
	int code = lock(backend, err);

	if (code < 0)
		return code;
	/* behind the lock: until then another spmvm may be giving it its size */
	if (fstat(backend->fd, &status) < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "cannot look at it: %s", strerror(errno));
	code = check_kind(backend, &status, err);
	return code < 0 ? code : check_size(backend, &status, err);
}

int backend_file_open(struct mem_backend *backend, struct error *err)
{
	const char *path = backend->source.path;
	int code = path != NULL ? open_path(backend, err) : take_inherited(backend, err);

	if (code == 0)
		code = check_all(backend, err);
	if (code == 0)
		return 0;
	if (path != NULL)
		error_prefix(err, "%s: mem-path=%.200s: ", backend->option, path);
	else
		error_prefix(err, "%s: fd=%d: ", backend->option, backend->source.inherited);
	return code;
}
