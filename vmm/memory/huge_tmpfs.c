/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory/huge_tmpfs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/base/user_namespace.h"
#include "vmm/memory/host_memory.h"

/* No limit of its own: what is in it counts as the memory of whoever touches it, like a memfd. Async-signal-safe. */
static int make(void)
{
	int context = fsopen("tmpfs", FSOPEN_CLOEXEC), folder = -1, code;

	if (context < 0)
		return -errno;
	if (fsconfig(context, FSCONFIG_SET_STRING, "huge", "advise", 0) == 0 &&
	    fsconfig(context, FSCONFIG_SET_STRING, "size", "0", 0) == 0 &&
	    fsconfig(context, FSCONFIG_SET_STRING, "mode", "0700", 0) == 0 &&
	    fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		folder = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	code = folder < 0 ? -errno : folder;
	close(context);
	return code;
}

/* The child's: its table of descriptors is this process's too, so it closes what is not wanted. */
_Noreturn static void make_in_namespace(const struct user_namespace *space, int place)
{
	int code = user_namespace_enter(space, CLONE_NEWNS), folder;

	if (code < 0)
		_exit(-code);
	folder = make();
	if (folder < 0)
		_exit(-folder);
	code = dup3(folder, place, O_CLOEXEC) < 0 ? errno : 0;
	close(folder);
	_exit(code);
}

/* A process that enters a namespace stays there, so another one does; what it mounts takes the place of a descriptor that is open. */
static int make_by_child(void)
{
	const struct user_namespace space = user_namespace_of_self(false);
	int place = open("/", O_PATH | O_CLOEXEC), status = 0, code = 0;
	sigset_t all, before;
	pid_t child;

	if (place < 0)
		return -errno;
	/* for the child's sake, in which no handler must run; and nothing interrupts the wait */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	/* as fork(), but for the descriptors; no SIGCHLD, which others wait for */
	child = (pid_t)syscall(SYS_clone, CLONE_FILES, 0, 0, 0, 0);
	if (child == 0)
		make_in_namespace(&space, place);
	if (child < 0 || waitpid(child, &status, __WALL) < 0)
		code = -errno;
	else if (status != 0)
		code = WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code < 0)
		io_close(&place);
	return code < 0 ? code : place;
}

int huge_tmpfs_open(void)
{
	int folder;

	if (host_memory_huge("") != HOST_HUGE_TMPFS)
		return -EOPNOTSUPP;
	folder = make();
	return folder == -EPERM ? make_by_child() : folder;
}
