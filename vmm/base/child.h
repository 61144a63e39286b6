/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_CHILD_H
#define SPMVM_BASE_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"

/*
 * A helper process (virtiofsd, passt) that lives no longer than this one. It is the leader of a session and a process
 * group of its own, so the terminal's signals do not reach it, and what it forks is found again and ended with it. If
 * this process dies without a word, the kernel sends it SIGTERM (PR_SET_PDEATHSIG): that is tied to the *thread* that
 * started it, so the main thread does. What it writes to stdout and stderr comes here, line by line, to the log.
 */
enum { CHILD_FDS_MAX = 8 };

struct child_options {
	const char *name;        /* "virtiofsd", for messages; borrowed until child_release() */
	const char *option;      /* "--share /srv,tag=srv", for messages; borrowed until child_release() */
	const char *const *argv; /* argv[0] is the program's path, no $PATH is searched; NULL ends it */
	const int *fds;          /* fds[i] is descriptor 3 + i in the child; every other one is closed there */
	size_t fd_count;         /* at most CHILD_FDS_MAX */
	const char *setting;     /* "NAME=VALUE", in its environment beside this process's others; may be NULL */
	/*
	 * Called in the child before the program starts, for what it inherits (namespaces, limits). Only async-signal-safe functions: other
	 * threads may have held any lock when the process was forked. 0 or -errno, which child_start() reports as
	 * "cannot <preparation>". May be NULL.
	 */
	int (*prepare)(void *context);
	void *context;
	const char *preparation; /* "make the folder read-only" */
};

struct child {
	pid_t pid;  /* 0: there is none, or it was reaped */
	int pidfd;  /* readable once it has ended: for an event loop; -1 when there is none */
	int output; /* readable when there is something for child_log(); -1 once it was closed at the other end */
	const char *name, *option;
	int status; /* as of waitpid(2), once it was reaped */
	char line[256], last[256];
	size_t line_size; /* of the line that is not complete yet */
};

/*
 * Starts it and returns once the program runs (execve() has succeeded); SIGPIPE, signal masks and handlers are as at login. stdin is
 * /dev/null. EXIT_STATUS_HOST, with nothing left behind: -ENOENT, -EACCES, what prepare said. Main thread.
 */
int child_start(struct child *child, const struct child_options *options, struct error *err);

/*
 * Logs what it has written since, at level debug, a line each; the newest line is in child->last then (for an error's text). Never
 * blocks, and a child that writes without end does not keep it here. Main thread.
 */
void child_log(struct child *child, const struct log *log);

/* Whether it has ended; it is reaped then and child->status set. Never blocks. Takes a zeroed child: true. */
bool child_has_ended(struct child *child);

/*
 * How it ended, for a message: "ended with status 1", "was ended by signal 9", "runs".
 */
struct child_text {
	char text[48];
};
struct child_text child_ending(const struct child *child);

/*
 * Of one whose service was not to be had: gives it milliseconds to end by itself, and when it does, says how in *err, with its last words: EXIT_STATUS_HOST and code, a
 * positive errno. Whether it has ended; otherwise *err stays as it is. Main thread.
 */
bool child_ended_early(struct child *child, int milliseconds, int code, const struct log *log, struct error *err);

/*
 * Kills it and its group and waits until it is gone (a second at most); it stays to be reaped. Any thread, while the main thread
 * does not reap it.
 */
void child_kill(const struct child *child);

/*
 * Ends it: SIGTERM, then SIGKILL after milliseconds, to it and to all that is left of its process group. Reaps it and releases
 * the rest. To let it end by itself, close what it serves before. Takes NULL, a zeroed and a released child too.
 */
void child_release(struct child *child, int milliseconds);

#endif
