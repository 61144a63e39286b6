/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CANNOT_RUN = 126, NOT_FOUND = 127 }; /* POSIX, Shell Command Language §2.8.2 */

/* Children that end; the signals by which busybox's halt, poweroff and reboot ask the first process; Ctrl-Alt-Del. */
static void events(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGUSR2);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	/* Without this, the terminal stops a process that is not in its foreground group from handing it on. */
	sigaddset(set, SIGTTOU);
}

void run_prepare(void)
{
	sigset_t set;

	events(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static void child(const char *path, char *const arguments[], bool quiet) __attribute__((noreturn));
static void child(const char *path, char *const arguments[], bool quiet)
{
	char *script[] = {SHELL, NULL, NULL};
	sigset_t set;
	int code;

	if (quiet) {
		int null = open("/dev/null", O_RDWR);

		for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
			dup2(null, fd);
	} else {
		/* Ctrl-C is for the program and what it starts; this process's session stays that of the first one. */
		setpgid(0, 0);
		tcsetpgrp(STDIN_FILENO, getpid());
	}
	events(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	execv(path, arguments);
	if (errno == ENOEXEC) { /* a script without "#!" is the shell's */
		script[1] = arguments[0];
		execv(SHELL, script);
	}
	code = errno;
	if (code == ENOENT && access(path, F_OK) == 0)
		say("cannot run %s: the guest lacks the program of its #! line, or its loader; add it with --file",
		    path);
	else
		say("cannot run %s: %s", path, strerror(code));
	_exit(code == ENOENT ? NOT_FOUND : CANNOT_RUN);
}

/* Takes every child that has ended, orphans of others too; true when the one waited for is among them. */
static bool reap(pid_t awaited, int *status)
{
	bool ended = false;
	pid_t pid;
	int how;

	while ((pid = waitpid(-1, &how, WNOHANG)) > 0) {
		if (pid != awaited)
			continue;
		ended = true;
		*status = WIFEXITED(how) ? WEXITSTATUS(how) : 128 + WTERMSIG(how);
	}
	return ended;
}

int run_program(const char *path, char *const arguments[], bool quiet)
{
	int status = CANNOT_RUN;
	sigset_t set;
	pid_t pid = fork();

	if (pid < 0) {
		say("cannot start %s: %s", path, strerror(errno));
		return status;
	}
	if (pid == 0)
		child(path, arguments, quiet);
	events(&set);
	for (;;) {
		switch (sigwaitinfo(&set, NULL)) {
		case SIGCHLD:
			if (reap(pid, &status))
				return status;
			break;
		case SIGUSR1: /* halt */
		case SIGUSR2: /* poweroff */
			machine_off(RB_POWER_OFF);
		case SIGTERM: /* reboot */
		case SIGINT:
			machine_off(RB_AUTOBOOT);
		default: /* interrupted, as by a debugger */
			break;
		}
	}
}
