/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/user_namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/base/io.h"

struct user_namespace user_namespace_of_self(bool as_root)
{
	const unsigned user = geteuid(), group = getegid();
	struct user_namespace space;

	snprintf(space.uid_map, sizeof(space.uid_map), "%u %u 1", as_root ? 0 : user, user);
	snprintf(space.gid_map, sizeof(space.gid_map), "%u %u 1", as_root ? 0 : group, group);
	return space;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int code = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		code = -errno;
	io_close(&fd);
	return code;
}

int user_namespace_enter(const struct user_namespace *space, int others)
{
	int code;

	if (unshare(CLONE_NEWUSER | others) < 0)
		return -errno;
	code = write_text("/proc/self/setgroups", "deny");
	if (code == 0)
		code = write_text("/proc/self/uid_map", space->uid_map);
	if (code == 0)
		code = write_text("/proc/self/gid_map", space->gid_map);
	return code;
}
