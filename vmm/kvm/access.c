/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/kvm/access.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_CHARS = 64 };

static void user_name(uid_t uid, char name[NAME_MAX_CHARS])
{
	const struct passwd *user = getpwuid(uid);

	if (user != NULL)
		snprintf(name, NAME_MAX_CHARS, "%s", user->pw_name);
	else
		snprintf(name, NAME_MAX_CHARS, "%u", (unsigned)uid);
}

/*
 * Why the permission is missing depends on who owns the device: a group to join, or an administrator's mistake to mend.

 */
static int permission_denied(const char *device, int code, struct error *err)
{
	struct stat facts;
	char user[NAME_MAX_CHARS], owner[NAME_MAX_CHARS];

	if (stat(device, &facts) != 0)
		return error_set(err, EXIT_STATUS_HOST, code, "%s: %s: run as root, or give your user access to it",
				 device, strerror(code));
	user_name(geteuid(), user);
	user_name(facts.st_uid, owner);
	if ((facts.st_mode & (S_IRGRP | S_IWGRP)) == (S_IRGRP | S_IWGRP)) {
		const struct group *group = getgrgid(facts.st_gid);

		if (group != NULL)
			return error_set(err, EXIT_STATUS_HOST, code,
					 "%s: %s for user %s; it belongs to group %s: add yourself to group %s "
					 "(adduser %s %s) and log in again",
					 device, strerror(code), user, group->gr_name, group->gr_name, user,
					 group->gr_name);
		return error_set(
			err, EXIT_STATUS_HOST, code,
			"%s: %s for user %s; it belongs to group %u, which has no name here: run with that group",
			device, strerror(code), user, (unsigned)facts.st_gid);
	}
	return error_set(err, EXIT_STATUS_HOST, code,
			 "%s: %s for user %s; its mode %04o lets only %s use it: run as %s, or as root chgrp kvm %s "
			 "and chmod 660 %s",
			 device, strerror(code), user, (unsigned)(facts.st_mode & 07777), owner, owner, device, device);
}

int kvm_device_open(const char *device, struct error *err)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);
	int code = errno;

	if (fd >= 0)
		return fd;
	switch (code) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: %s: load KVM with modprobe kvm_amd or modprobe kvm_intel; if that fails, turn on "
				 "virtualization in the firmware or in the hypervisor around this machine",
				 device, strerror(code));
	case EACCES:
	case EPERM:
		return permission_denied(device, code, err);
	case EBUSY:
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: %s: another hypervisor holds the processor's virtualization; stop it", device,
				 strerror(code));
	default:
		return error_set(err, EXIT_STATUS_HOST, code, "%s: %s", device, strerror(code));
	}
}

bool kvm_backend_find(const char *modules, char *name, size_t size)
{
	DIR *folder = opendir(modules);
	const struct dirent *entry;
	bool hardware = false;

	snprintf(name, size, "unknown");
	if (folder == NULL)
		return false;
	while (!hardware && (entry = readdir(folder)) != NULL) {
		if (strncmp(entry->d_name, "kvm_", 4) != 0)
			continue;
		hardware = strcmp(entry->d_name, "kvm_amd") == 0 || strcmp(entry->d_name, "kvm_intel") == 0;
		snprintf(name, size, "%s", entry->d_name);
	}
	closedir(folder);
	return hardware;
}
