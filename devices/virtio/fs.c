/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/base/buf.h"
#include "vmm/base/io.h"
#include "vmm/base/user_namespace.h"

/* places in watch_fds, behind vhost-user's */
enum { WATCH_OUTPUT = VHOST_USER_WATCH_NEXT, WATCH_END };

/* from the end of its service to its own */
enum { END_MS = 1000 };

/* ---- what virtiofsd inherits; in the child, between fork() and execve() */

struct surroundings {
	bool user_namespace, read_only;
	struct user_namespace space;
};

/*
 * In a user namespace whose maps an ordinary user wrote, setgroups() is denied (user_namespaces(7)), and virtiofsd, which drops its supplementary groups with it,
 * would end. They give it nothing that the user who started it does not have: so setgroups() does nothing, and says 0.
 */
static int ignore_setgroups(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setgroups, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return -errno;
	return 0;
}

static int surround(void *context)
{
	const struct surroundings *surroundings = context;
	struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY, .propagation = MS_PRIVATE};
	int code = 0;

	if (surroundings->user_namespace) {
		code = user_namespace_enter(&surroundings->space, CLONE_NEWNS);
		if (code == 0)
			code = ignore_setgroups();
	} else if (surroundings->read_only && unshare(CLONE_NEWNS) < 0) {
		return -errno;
	}
	/*
	 * Every mount that it can see: the folder, what is mounted below it, and the rest, which it has no need to write to. Private, so that
	 * what is mounted there later does not turn up, writable.
	 */
	if (code == 0 && surroundings->read_only &&
	    syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &read_only, sizeof(read_only)) < 0)
		code = -errno;
	return code;
}

/* ---- virtiofsd: finding and starting it */

/* virtiofsd_preload.c, built; virtiofsd_preload_image.S */
extern const uint8_t virtiofsd_preload_start[], virtiofsd_preload_end[];

/* One attempt to start it. */
struct launch {
	const struct virtio_fs_options *options;
	const char *program;
	const char *sandbox;
	char *folder; /* absolute; heap */
	bool legacy;  /* QEMU's own virtiofsd (up to QEMU 7.2), with options of FUSE's kind */
};

/* "/usr/lib/qemu/virtiofsd" is QEMU's own. */
static bool is_legacy(const char *program)
{
	return strstr(program, "/qemu/") != NULL;
}

const char *virtio_fs_find_program(void)
{
	static const char *const PLACES[] = {"/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"};

	for (size_t i = 0; i < sizeof(PLACES) / sizeof(PLACES[0]); i++) {
		if (access(PLACES[i], X_OK) == 0)
			return PLACES[i];
	}
	return NULL;
}

static int find_program(struct launch *launch, struct error *err)
{
	launch->program = launch->options->program;
	if (launch->program == NULL)
		launch->program = virtio_fs_find_program();
	if (launch->program == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOENT,
				 "%s: there is no virtiofsd (/usr/libexec/virtiofsd, /usr/lib/qemu/virtiofsd); install "
				 "Debian's package virtiofsd, on Debian 12 qemu-system-common",
				 launch->options->option);
	launch->legacy = is_legacy(launch->program);
	return 0;
}

static int find_folder(struct launch *launch, struct error *err)
{
	const struct virtio_fs_options *options = launch->options;
	struct stat status;

	launch->folder = realpath(options->path, NULL);
	if (launch->folder == NULL || stat(launch->folder, &status) < 0)
		return error_set(err, errno == EACCES ? EXIT_STATUS_HOST : EXIT_STATUS_CONFIG, errno,
				 "%s: cannot share %s: %s", options->option, options->path, strerror(errno));
	if (!S_ISDIR(status.st_mode))
		return error_set(err, EXIT_STATUS_CONFIG, ENOTDIR,
				 "%s: %s is not a folder; share the one that it is in", options->option, options->path);
	return 0;
}

/*
 * A socket that listens, and the one connection that it will ever have. Its name is an abstract one of the kernel's choice (unix(7), autobind), so
 * no file is left however we end. Others may connect to it too: but it has room for a single connection, and who comes before
 * us makes ours fail, and the start with it.
 */
static int make_sockets(int *listening, int *connected, const char *option, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t size = sizeof(address);
	int code;

	*listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*listening >= 0 && *connected >= 0 &&
	    bind(*listening, (const struct sockaddr *)&address, sizeof(address.sun_family)) == 0 &&
	    getsockname(*listening, (struct sockaddr *)&address, &size) == 0 && listen(*listening, 0) == 0 &&
	    connect(*connected, (const struct sockaddr *)&address, size) == 0)
		return 0;
	code = error_set(err, EXIT_STATUS_HOST, errno, "%s: cannot make a socket for virtiofsd: %s", option,
			 strerror(errno));
	io_close(listening);
	io_close(connected);
	return code;
}

/* Options of FUSE's kind are separated by commas; a backslash takes that meaning away. */
static void add_escaped(struct buf *buf, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == ',' || *text == '\\')
			buf_u8(buf, '\\');
		buf_u8(buf, (uint8_t)*text);
	}
}

/*
 * Our shared object for QEMU's virtiofsd without privileges, in memory: preloaded by the number that it has there. In
 * *fd, the caller's to close; 0 or -errno.
 */
static int make_preload(int *fd)
{
	*fd = memfd_create("virtiofsd-preload", MFD_CLOEXEC);
	if (*fd < 0)
		return -errno;
	return io_write_all(*fd, virtiofsd_preload_start, (size_t)(virtiofsd_preload_end - virtiofsd_preload_start));
}

static int start_program(struct virtio_fs *fs, const struct launch *launch, int listening, struct error *err)
{
	int fds[2] = {listening, -1};
	const char *argv[9] = {launch->program, "--fd=3"};
	unsigned next = 4; /* place in argv */
	struct surroundings surroundings = {.user_namespace = geteuid() != 0,
					    .space = user_namespace_of_self(true),
					    .read_only = launch->options->ro};
	struct child_options child = {.name = "virtiofsd",
				      .option = launch->options->option,
				      .argv = argv,
				      .fds = fds,
				      .fd_count = 1,
				      .prepare = surround,
				      .context = &surroundings,
				      .preparation = "give virtiofsd a user namespace"};
	struct buf folder = {0};
	char sandbox[48], files[48] = "";
	struct rlimit limit;
	int code;

	if (launch->options->ro)
		child.preparation = "make the folder read-only for virtiofsd (CAP_SYS_ADMIN or a user namespace)";
	snprintf(sandbox, sizeof(sandbox), "%s%s", launch->legacy ? "-osandbox=" : "--sandbox=", launch->sandbox);
	if (launch->legacy) {
		buf_text(&folder, "-osource=");
		add_escaped(&folder, launch->folder);
		/* it wants more open files than an ordinary user may have, and ends when it does not get them */
		if (surroundings.user_namespace && getrlimit(RLIMIT_NOFILE, &limit) == 0)
			snprintf(files, sizeof(files), "--rlimit-nofile=%llu", (unsigned long long)limit.rlim_max);
	} else {
		buf_text(&folder, "--shared-dir=");
		buf_text(&folder, launch->folder);
	}
	buf_u8(&folder, 0);
	argv[2] = (const char *)folder.data;
	argv[3] = sandbox;
	if (launch->options->overlaid)
		argv[next++] = launch->legacy ? "-ocache=always" : "--cache=always";
	if (launch->options->overlaid && !launch->legacy) /* QEMU's says nothing by itself */
		argv[next++] = "--no-announce-submounts";
	if (files[0] != '\0')
		argv[next] = files;
	code = buf_failed(&folder) ? -ENOMEM : 0;
	if (code == 0 && launch->legacy && surroundings.user_namespace) {
		code = make_preload(&fds[1]);
		child.setting = "LD_PRELOAD=/proc/self/fd/4";
		child.fd_count = 2;
	}
	if (code < 0)
		code = error_set(err, EXIT_STATUS_HOST, -code, "%s: cannot start virtiofsd: %s", child.option,
				 strerror(-code));
	else
		code = child_start(&fs->child, &child, err);
	io_close(&fds[1]);
	buf_release(&folder);
	return code;
}

static int set_up_vhost(struct virtio_fs *fs, const struct virtio_fs_options *options, const char *peer, int fd,
			const struct vhost_user_region *regions, size_t count, struct error *err)
{
	const struct vhost_user_options vhost = {.option = options->option,
						 .peer = peer,
						 .log = options->log,
						 .queue_count = VIRTIO_FS_QUEUES,
						 .timeout_ms = options->timeout_ms};
	int code = vhost_user_init(&fs->vhost, &vhost, fd, err);

	if (code == 0)
		code = vhost_user_set_memory(&fs->vhost, regions, count, err);
	return code;
}

/*
 * Isolation that works everywhere comes second: containers often forbid namespaces, and some roots cannot be left by pivot_root(). "/" is such a root: it cannot
 * take its own place.
 */
static int launch_and_connect(struct virtio_fs *fs, struct launch *launch, const struct vhost_user_region *regions,
			      size_t count, struct error *err)
{
	static const char *const SANDBOXES[] = {"namespace", "chroot"};
	const struct virtio_fs_options *options = launch->options;
	int code = 0;

	for (int i = strcmp(launch->folder, "/") == 0 ? 1 : 0; i < 2; i++) {
		int listening, connected;
		bool ended;

		launch->sandbox = SANDBOXES[i];
		code = make_sockets(&listening, &connected, options->option, err);
		if (code < 0)
			return code;
		code = start_program(fs, launch, listening, err);
		io_close(&listening);
		if (code < 0) {
			io_close(&connected);
			return code;
		}
		code = set_up_vhost(fs, options, "virtiofsd", connected, regions, count, err);
		if (code == 0) {
			child_log(&fs->child, options->log);
			return 0;
		}
		ended = code != -ETIMEDOUT && child_ended_early(&fs->child, END_MS, -code, options->log, err);
		vhost_user_release(&fs->vhost);
		child_release(&fs->child, 0);
		if (!ended)
			break;
		log_debug(options->log, "%s (sandbox %s)", err->text, launch->sandbox);
	}
	return code;
}

static int start_virtiofsd(struct virtio_fs *fs, const struct virtio_fs_options *options,
			   const struct vhost_user_region *regions, size_t count, struct error *err)
{
	struct launch launch = {.options = options};
	int code = find_folder(&launch, err);

	if (code == 0)
		code = find_program(&launch, err);
	if (code == 0)
		code = launch_and_connect(fs, &launch, regions, count, err);
	free(launch.folder);
	return code;
}

/* ---- the device */

/* §5.11.4: the tag, padded with zeros, then the number of request queues */
static void read_config(struct virtio_device *device, size_t offset, uint8_t *bytes, size_t size)
{
	const struct virtio_fs *fs = (const struct virtio_fs *)device;
	uint8_t config[VIRTIO_FS_TAG_SIZE + 4] = {[VIRTIO_FS_TAG_SIZE] = VIRTIO_FS_QUEUES - 1};

	memcpy(config, fs->tag, sizeof(fs->tag));
	memcpy(bytes, config + offset, size);
}

static int activate(struct virtio_device *device)
{
	return vhost_user_start(&((struct virtio_fs *)device)->vhost, device);
}

static void reset(struct virtio_device *device)
{
	struct virtio_fs *fs = (struct virtio_fs *)device;

	/* one that does not say that it has stopped is made to: the guest may use this memory for something else now */
	if (vhost_user_stop(&fs->vhost) < 0 || fs->vhost.dead)
		child_kill(&fs->child);
}

static void readable(struct virtio_device *device, int fd)
{
	struct virtio_fs *fs = (struct virtio_fs *)device;

	if (fd >= 0 && fd == device->watch_fds[WATCH_OUTPUT]) {
		child_log(&fs->child, device->log);
		device->watch_fds[WATCH_OUTPUT] = fs->child.output;
	} else if (fd >= 0 && fd == device->watch_fds[WATCH_END]) {
		child_log(&fs->child, device->log);
		pthread_mutex_lock(&device->lock);
		if (child_has_ended(&fs->child)) {
			log_warn(device->log, "%s: virtiofsd %s", device->option, child_ending(&fs->child).text);
			device->watch_fds[WATCH_END] = -1;
			io_close(&fs->child.pidfd);
		}
		pthread_mutex_unlock(&device->lock);
	} else {
		vhost_user_readable(&fs->vhost, device, fd);
	}
}

static const struct virtio_class FS_CLASS = {
	.name = "fs",
	.id = VIRTIO_ID_FS,
	.config_size = VIRTIO_FS_TAG_SIZE + 4,
	.read_config = read_config,
	.activate = activate,
	.reset = reset,
	.stop = reset,
	.readable = readable,
};

static int check_options(const struct virtio_fs_options *options, struct error *err)
{
	size_t length = strlen(options->tag);

	if (length == 0 || length > VIRTIO_FS_TAG_SIZE)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "%s: a tag of %zu bytes; the guest mounts by it, and it has 1 to %d", options->option,
				 length, VIRTIO_FS_TAG_SIZE);
	if ((options->path == NULL) == (options->socket == NULL))
		return error_set(
			err, EXIT_STATUS_CONFIG, EINVAL,
			"%s: either a folder, which spmvm starts virtiofsd for, or socket= of a virtiofsd that "
			"runs",
			options->option);
	if (options->socket != NULL && options->ro)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "%s: ro=on is nothing that spmvm can see to with socket=; start that virtiofsd "
				 "read-only and leave ro=on out",
				 options->option);
	return 0;
}

int virtio_fs_init(struct virtio_fs *fs, const struct virtio_fs_options *options,
		   const struct vhost_user_region *regions, size_t region_count, struct error *err)
{
	int fd, code;

	memset(fs, 0, sizeof(*fs));
	code = check_options(options, err);
	if (code < 0)
		return code;
	memcpy(fs->tag, options->tag, strlen(options->tag));
	code = virtio_init(&fs->device, &FS_CLASS, VIRTIO_FS_QUEUES, 0);
	if (code < 0)
		return error_set(err, EXIT_STATUS_HOST, -code, "%s: %s", options->option, strerror(-code));
	fs->device.option = options->option;
	fs->device.log = options->log;
	if (options->socket != NULL) {
		code = vhost_user_connect(options->socket, options->option, &fd, err);
		if (code == 0)
			code = set_up_vhost(fs, options, options->socket, fd, regions, region_count, err);
	} else {
		code = start_virtiofsd(fs, options, regions, region_count, err);
	}
	if (code < 0) {
		virtio_fs_release(fs);
		return code;
	}
	/* what it offers of the rings' features; VIRTIO_FS_F_NOTIFICATION (§5.11.3) is not for us */
	fs->device.offered &= fs->vhost.features;
	fs->device.always_used = true;
	vhost_user_watch(&fs->vhost, &fs->device);
	if (fs->child.name != NULL) {
		fs->device.watch_fds[WATCH_OUTPUT] = fs->child.output;
		fs->device.watch_fds[WATCH_END] = fs->child.pidfd;
	}
	return 0;
}

void virtio_fs_release(struct virtio_fs *fs)
{
	if (fs == NULL)
		return;
	virtio_release(&fs->device);
	/* with the connection gone virtiofsd ends by itself; two seconds are for a disk that is slow to give a request back */
	vhost_user_release(&fs->vhost);
	child_release(&fs->child, 2000);
}
