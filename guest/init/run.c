/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
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

int run_signals(void)
{
	sigset_t set;

	events(&set);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void run_exec(const char *program, char *const arguments[])
{
	char *script[] = {SHELL, arguments[0], NULL};
	sigset_t set;
	int code;

	events(&set);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	execvp(program, arguments);
	if (errno == ENOEXEC) /* a script without "#!" is the shell's */
		execv(SHELL, script);
	code = errno;
	if (code == ENOENT && access(program, F_OK) == 0)
		say("cannot run %s: the guest lacks the program of its #! line, or its loader; add it with --file",
		    program);
	else if (code == ENOENT && strchr(program, '/') == NULL)
		say("cannot run %s: no such command in PATH", program);
	else
		say("cannot run %s: %s", program, strerror(code));
	_exit(code == ENOENT ? NOT_FOUND : CANNOT_RUN);
}

static void child(const char *path, char *const arguments[], bool quiet) __attribute__((noreturn));
static void child(const char *path, char *const arguments[], bool quiet)
{
	if (quiet) {
		int null = open("/dev/null", O_RDWR);

		for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
			dup2(null, fd);
	} else {
		/* Ctrl-C is for the program and what it starts; this process's session stays that of the first one. */
		setpgid(0, 0);
		tcsetpgrp(STDIN_FILENO, getpid());
	}
	run_exec(path, arguments);
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

bool run_take_signal(int signal, pid_t child, int *status)
{
	switch (signal) {
	case SIGCHLD:
		return reap(child, status);
	case SIGUSR1: /* halt */
	case SIGUSR2: /* poweroff */
		machine_off(RB_POWER_OFF);
	case SIGTERM: /* reboot */
	case SIGINT:
		machine_off(RB_AUTOBOOT);
	default: /* interrupted, as by a debugger */
		return false;
	}
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
	while (!run_take_signal(sigwaitinfo(&set, NULL), pid, &status))
		;
	return status;
}
