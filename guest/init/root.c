/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/init.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/*
 * The root of a command: the host's, read-only, under a layer in memory that takes what is written (overlayfs), so that the command may write anywhere and
 * the host sees none of it. The layers are in the initramfs's root, which nobody sees any more afterwards.
 */
#define HOST   "/host"
#define LAYER  "/layer"
#define MERGED "/merged"

static void fail(const char *what, const char *path) __attribute__((noreturn));
static void fail(const char *what, const char *path)
{
	say("cannot %s %s: %s", what, path, strerror(errno));
	machine_exit(GUEST_EXIT_NOT_STARTED);
}

static void mount_at(const char *source, const char *at, const char *type, unsigned long flags, const char *options)
{
	if (mkdir(at, 0755) < 0 && errno != EEXIST)
		fail("make", at);
	if (mount(source, at, type, flags, options) < 0)
		fail("mount", at);
}

static void merge(void)
{
	mount_at(GUEST_TAG_ROOT, HOST, "virtiofs", MS_RDONLY, NULL);
	mount_at("tmpfs", LAYER, "tmpfs", 0, "mode=0755");
	if (mkdir(LAYER "/upper", 0755) < 0 || mkdir(LAYER "/work", 0755) < 0)
		fail("make", LAYER);
	mount_at("overlay", MERGED, "overlay", 0, "lowerdir=" HOST ",upperdir=" LAYER "/upper,workdir=" LAYER "/work");
}

/* The host's /proc, /sys, /dev and /run tell of the host; these are the guest's. */
static void move_mounts(void)
{
	static const char *const moved[] = {"/proc", "/sys", "/dev", "/run"};

	for (size_t i = 0; i < sizeof(moved) / sizeof(moved[0]); i++) {
		char at[32];

		snprintf(at, sizeof(at), MERGED "%s", moved[i]);
		mount_at(moved[i], at, NULL, MS_MOVE, NULL);
	}
}

/* Those that the host shares for real, over what the overlay shows of them. */
static void mount_folders(char *const *folders)
{
	for (int i = 0; folders[i] != NULL; i++) {
		char tag[32];

		snprintf(tag, sizeof(tag), GUEST_TAG_RW "%d", i);
		mount_at(tag, folders[i], "virtiofs", 0, NULL);
	}
}

/* What programs that look into the kernel expect; a kernel without one of them is no fault. */
static void mount_views(void)
{
	mount("debugfs", "/sys/kernel/debug", "debugfs", 0, NULL);
	mount("cgroup2", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/* So that modprobe finds the modules of the guest's kernel, wherever the host has them. */
static void link_modules(const char *folder)
{
	struct utsname name;
	char link[128];

	if (folder == NULL || uname(&name) < 0)
		return;
	snprintf(link, sizeof(link), "/lib/modules/%.100s", name.release);
	if (access(link, F_OK) == 0)
		return;
	mkdir("/lib/modules", 0755);
	if (symlink(folder, link) < 0)
		say("cannot make %s: %s", link, strerror(errno));
}

void root_switch(const struct command *command)
{
	umask(0);
	merge();
	move_mounts();
	/* a first process in the initramfs's root cannot pivot_root(2): the root is what is mounted over it */
	if (chdir(MERGED) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0)
		fail("go to", MERGED);
	mount_folders(command->folders);
	mount_views();
	link_modules(command->modules);
	sethostname("spmvm", strlen("spmvm"));
	umask(022);
	if (chdir(command->cwd) < 0)
		fail("go to", command->cwd);
}
