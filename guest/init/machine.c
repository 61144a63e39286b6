/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/init.h"

#include <errno.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static void mount_all(void)
{
	static const struct {
		const char *type, *at, *options;
		unsigned long flags;
	} mounts[] = {
		{"proc", "/proc", "", MS_NOSUID | MS_NODEV | MS_NOEXEC},
		{"sysfs", "/sys", "", MS_NOSUID | MS_NODEV | MS_NOEXEC},
		{"devtmpfs", "/dev", "mode=0755", MS_NOSUID},
		{"devpts", "/dev/pts", "mode=0620,ptmxmode=0666", MS_NOSUID | MS_NOEXEC},
		{"tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV},
		{"tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV},
		{"tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV},
	};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i].at, 0755);
		if (mount(mounts[i].type, mounts[i].at, mounts[i].type, mounts[i].flags, mounts[i].options) < 0 &&
		    errno != EBUSY)
			say("cannot mount %s: %s", mounts[i].at, strerror(errno));
	}
}

/* What is there already stays: the user may have brought it. */
static void make_places(void)
{
	static const char *const folders[] = {"/bin", "/sbin", "/usr", "/usr/bin", "/usr/sbin", "/etc", "/root"};
	static const struct {
		const char *link, *target;
	} links[] = {
		{"/dev/fd", "/proc/self/fd"},       {"/dev/stdin", "/proc/self/fd/0"},
		{"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"},
		{"/etc/mtab", "/proc/self/mounts"},
	};

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		mkdir(folders[i], 0755);
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		if (symlink(links[i].target, links[i].link) < 0 && errno != EEXIST)
			say("cannot make %s: %s", links[i].link, strerror(errno));
	}
}

static void bring_up_loopback(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return; /* a kernel without a network */
	if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
		request.ifr_flags |= IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &request) < 0)
			say("cannot bring up lo: %s", strerror(errno));
	}
	close(fd);
}

void machine_prepare(void)
{
	umask(0);
	mount_all();
	make_places();
	umask(022);
	bring_up_loopback();
	/* Ctrl-Alt-Del comes to this process as SIGINT instead of resetting the machine at once. */
	reboot(RB_DISABLE_CAD);
}

void machine_mark(enum guest_mark mark)
{
	if (ioperm(GUEST_MARK_PORT, 1, 1) < 0)
		return;
	outb((unsigned char)mark, GUEST_MARK_PORT);
	ioperm(GUEST_MARK_PORT, 1, 0);
}

/* KiB of files that are in memory only, or on their way to where they belong. */
static unsigned long unwritten(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long sum = 0, kib;
	char line[128];

	while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "Dirty: %lu", &kib) == 1 || sscanf(line, "Writeback: %lu", &kib) == 1)
			sum += kib;
	}
	if (file != NULL)
		fclose(file);
	return sum;
}

/*
 * sync(), but not for ever: a share whose virtiofsd has died never answers, and must not keep the machine from ending.
 * It is given up when in ten seconds nothing more was written. SIGCHLD is blocked here (run_prepare()).
 */
static void write_back(void)
{
	const struct timespec patience = {.tv_sec = 10};
	unsigned long before = unwritten(), left;
	sigset_t child;
	pid_t pid = fork();

	if (pid == 0) {
		sync();
		_exit(0);
	}
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	while (pid > 0 && waitpid(pid, NULL, WNOHANG) == 0) {
		if (sigtimedwait(&child, NULL, &patience) >= 0 || errno != EAGAIN)
			continue;
		left = unwritten();
		if (left >= before) {
			say("a file system does not answer: ending without it");
			return;
		}
		before = left;
	}
}

void machine_off(int how)
{
	write_back();
	tcdrain(STDOUT_FILENO);
	reboot(how);
	/* Not reached where the kernel can power off or reset. */
	say("cannot end the machine: %s", strerror(errno));
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

void machine_exit(int value)
{
	write_back();
	tcdrain(STDOUT_FILENO);
	/* Nobody listens at the port unless spmvm was told to; then the write does nothing. */
	if (ioperm(GUEST_EXIT_PORT, 2, 1) == 0)
		outw((unsigned short)value, GUEST_EXIT_PORT);
	machine_off(RB_POWER_OFF);
}
