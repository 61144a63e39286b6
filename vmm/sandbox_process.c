/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process as a whole gives away. The order matters: /proc is needed for descriptors and for the maps of a user
 * namespace, then the root folder goes; capabilities are needed for all of that, and go after it.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/securebits.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/base/user_namespace.h"
#include "vmm/sandbox.h"

/* ---------------------------------------------------------------------------------------------- descriptors */

enum { SPARE_FDS = 16 }; /* what may still be opened: none by us, some by a server's clients */

static bool is_inherited(const struct sandbox_options *options, int fd)
{
	for (size_t i = 0; i < options->inherited_count; i++) {
		if (options->inherited[i] == fd)
			return true;
	}
	return fd <= STDERR_FILENO;
}

/*
 * Ours are all O_CLOEXEC. One that is not was left open by whoever started us, and is nobody's here. Returns the highest
 * number that is in use, or -1 when there is no /proc to tell.
 */
static int close_strays(const struct sandbox_options *options)
{
	DIR *folder = opendir("/proc/self/fd");
	const struct dirent *entry;
	int highest = STDERR_FILENO;

	if (folder == NULL)
		return -1;
	while ((entry = readdir(folder)) != NULL) {
		int fd = atoi(entry->d_name), flags;

		if (!isdigit((unsigned char)entry->d_name[0]) || fd == dirfd(folder))
			continue;
		flags = fcntl(fd, F_GETFD);
		if (flags >= 0 && (flags & FD_CLOEXEC) == 0 && !is_inherited(options, fd)) {
			log_debug(options->log, "sandbox: descriptor %d was left open for us; closed", fd);
			close(fd);
		} else if (fd > highest) {
			highest = fd;
		}
	}
	closedir(folder);
	return highest;
}

/* ------------------------------------------------------------------------------------------------ limits */

static void lower(int resource, rlim_t value)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) < 0 || limit.rlim_max < value)
		return;
	limit.rlim_cur = limit.rlim_max = value;
	(void)setrlimit(resource, &limit);
}

/*
 * No core: the guest's memory is MADV_DONTDUMP, and what the rest of it holds is nobody's business. Not RLIMIT_NPROC:
 * io_uring's kernel threads count as ours and must be made. The process stays dumpable (PR_SET_DUMPABLE): its user could look
 * into the guest in other ways, and debuggers, numastat and /proc/PID/smaps are for that user.
 */
static void lower_limits(int highest_fd)
{
	lower(RLIMIT_CORE, 0);
	if (highest_fd >= 0)
		lower(RLIMIT_NOFILE, (rlim_t)highest_fd + 1 + SPARE_FDS);
}

/* ---------------------------------------------------------------------------------------------- namespaces */

/*
 * Of files, System V IPC, host name and network. As root these need no user namespace; others get one, in which they are
 * still themselves. No PID namespace: it would hold for children alone, and there are none to come.
 */
static int leave_namespaces(void)
{
	const int spaces = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;
	const struct user_namespace space = user_namespace_of_self(false);

	return unshare(spaces) == 0 ? 0 : user_namespace_enter(&space, spaces);
}

/*
 * In a mount namespace of our own: an empty folder in the place of /. /proc is where it is put, because that folder is
 * always there. Where the root cannot be moved (that of an initramfs, or of a chroot), chroot() has to do.
 */
static int empty_root(void)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=0500") < 0 ||
	    chdir("/proc") < 0)
		return -errno;
	if (syscall(SYS_pivot_root, ".", ".") == 0) {
		if (umount2(".", MNT_DETACH) < 0)
			return -errno;
	} else if (chroot(".") < 0) {
		return -errno;
	}
	return chdir("/") < 0 || mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0 ? -errno : 0;
}

/* ---------------------------------------------------------------------------------------------- capabilities */

/* All sets of them, and the ways by which root would get them back. */
static int drop_capabilities(void)
{
	const unsigned long LOCKED = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
				     SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
				     SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	/* these two need CAP_SETPCAP: who lacks it has no more in the other sets than it has anyway */
	for (unsigned long capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++)
		;
	(void)prctl(PR_SET_SECUREBITS, LOCKED, 0, 0, 0);
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/* ------------------------------------------------------------------------------------------------ Landlock */

/* linux/landlock.h of Linux 6.12: Debian 12's ends at version 1. Later members are left out where the kernel is older. */
struct ruleset {
	uint64_t files, network, scoped;
};
enum {
	FILES_VERSION_1 = (1 << 13) - 1,
	FILES_REFER = 1 << 13,    /* version 2 */
	FILES_TRUNCATE = 1 << 14, /* 3 */
	FILES_IOCTL = 1 << 15,    /* 5: of devices */
	NETWORK_TCP = 3,          /* 4: bind and connect */
	SCOPED_SOCKETS = 1,       /* 6: abstract Unix sockets; not signals, which end our children */
};

int sandbox_landlock_version(void)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return version > 0 ? (int)version : 0;
}

static int allow_folder(int rules, int folder)
{
	const struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_REMOVE_FILE,
		.parent_fd = folder,
	};

	return syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

/* No path at all can be opened, made or removed, but for files of *options->folder. */
static int restrict_paths(const struct sandbox_options *options)
{
	const int version = sandbox_landlock_version();
	struct ruleset ruleset = {.files = FILES_VERSION_1};
	size_t size = sizeof(ruleset.files);
	int rules, code;

	if (version == 0)
		return -ENOSYS;
	ruleset.files |= version >= 2 ? FILES_REFER : 0;
	ruleset.files |= version >= 3 ? FILES_TRUNCATE : 0;
	ruleset.files |= version >= 5 ? FILES_IOCTL : 0;
	if (version >= 4) {
		ruleset.network = NETWORK_TCP;
		size = offsetof(struct ruleset, scoped);
	}
	if (version >= 6) {
		ruleset.scoped = SCOPED_SOCKETS;
		size = sizeof(ruleset);
	}
	rules = (int)syscall(SYS_landlock_create_ruleset, &ruleset, size, 0);
	if (rules < 0)
		return -errno;
	code = options->folder != NULL ? allow_folder(rules, *options->folder) : 0;
	if (code == 0 && syscall(SYS_landlock_restrict_self, rules, 0) < 0)
		code = -errno;
	close(rules);
	return code;
}

/* -------------------------------------------------------------------------------------------------- all of it */

/* Adds to what is missing. */
static void lack(char *missing, size_t size, const char *what, int code)
{
	size_t used = strlen(missing);

	snprintf(missing + used, size - used, "%s%s (%s)", used > 0 ? ", " : "", what, strerror(-code));
}

void sandbox_confine_process(const struct sandbox_options *options, char *missing, size_t size)
{
	int rooted, paths, code, highest = close_strays(options);

	missing[0] = '\0';
	lower_limits(highest);
	rooted = leave_namespaces();
	if (rooted == 0)
		rooted = empty_root();
	code = drop_capabilities();
	if (code < 0)
		lack(missing, size, "dropping capabilities", code);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		lack(missing, size, "no_new_privs", -errno);
	paths = restrict_paths(options);
	/* either of the two keeps the host's files out of reach */
	if (rooted < 0 && paths < 0) {
		lack(missing, size, "namespaces", rooted);
		lack(missing, size, "Landlock", paths);
	}
	log_debug(options->log, "sandbox: an empty root folder: %s; Landlock: %s",
		  rooted == 0 ? "yes" : strerror(-rooted), paths == 0 ? "yes" : strerror(-paths));
	/* an arena for each thread would take more of the address space, and more system calls, than all of ours together */
	(void)mallopt(M_ARENA_MAX, 1);
}
