/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/child.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/base/io.h"

enum { FIRST_FD = 3, READS_AT_ONCE = 16 };

/* How far the child came; it tells over a pipe that execve() closes. */
enum stage { STAGE_PREPARE, STAGE_EXEC };

struct failure {
	int stage, code;
};

/* pidfd_open(2), Linux 5.3; glibc 2.36 has no wrapper. */
static int pidfd_open_(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* ---- in the child: only async-signal-safe functions from here to execve() */

static void restore_signals(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t none;

	/* some of these numbers may not be changed; that is fine */
	for (int number = 1; number < NSIG; number++)
		sigaction(number, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * Descriptors 0, 1, 2, then fds, then report (closed by execve()). All are first copied above the numbers that they are to
 * get, so that none overwrites another. Returns the new number of report, or -1.
 */
static int place_fds(const struct child_options *options, int output, int report)
{
	int first_free = FIRST_FD + (int)options->fd_count + 1;
	int copies[CHILD_FDS_MAX];
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	null = null < 0 ? -1 : fcntl(null, F_DUPFD_CLOEXEC, first_free);
	output = fcntl(output, F_DUPFD_CLOEXEC, first_free);
	report = fcntl(report, F_DUPFD_CLOEXEC, first_free);
	if (null < 0 || output < 0 || report < 0)
		return -1;
	for (size_t i = 0; i < options->fd_count; i++) {
		copies[i] = fcntl(options->fds[i], F_DUPFD_CLOEXEC, first_free);
		if (copies[i] < 0)
			return -1;
	}
	if (dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
		return -1;
	for (size_t i = 0; i < options->fd_count; i++) {
		if (dup2(copies[i], FIRST_FD + (int)i) < 0)
			return -1;
	}
	if (dup3(report, first_free - 1, O_CLOEXEC) < 0 || close_range((unsigned)first_free, ~0u, 0) < 0)
		return -1;
	return first_free - 1;
}

static _Noreturn void give_up(int report, enum stage stage, int code)
{
	struct failure failure = {stage, code};

	(void)!write(report, &failure, sizeof(failure));
	_exit(127);
}

static _Noreturn void run(const struct child_options *options, char *const *environment, pid_t parent, int output,
			  int report)
{
	/* execve() does not change what argv points to; its type says otherwise for historical reasons (POSIX, execve) */
	union {
		const char *const *in;
		char *const *out;
	} argv = {.in = options->argv};
	int placed, code;

	restore_signals();
	setsid();
	placed = place_fds(options, output, report);
	if (placed < 0)
		give_up(report, STAGE_EXEC, errno);
	if (options->prepare != NULL) {
		code = options->prepare(options->context);
		if (code < 0)
			give_up(placed, STAGE_PREPARE, -code);
	}
	/* after prepare: entering a user namespace clears it. The parent may be gone already. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != parent)
		_exit(127);
	execve(argv.in[0], argv.out, environment);
	give_up(placed, STAGE_EXEC, errno);
}

/* ---- in this process */

/* The child's, of setting and this process's own others; the caller's to free, not what it points to. NULL: no memory. */
static char **make_environment(char *setting)
{
	size_t name = setting == NULL ? 0 : strcspn(setting, "=") + 1, count = 0, next = 0;
	char **environment;

	while (environ[count] != NULL)
		count++;
	environment = calloc(count + 2, sizeof(*environment));
	if (environment == NULL)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		if (setting == NULL || strncmp(environ[i], setting, name) != 0)
			environment[next++] = environ[i];
	}
	environment[next] = setting;
	return environment;
}

/* What the child said before it became the program: 0, or -errno with the error set. */
static int hear(int report, const struct child_options *options, struct error *err)
{
	struct failure failure;
	ssize_t got;

	do {
		got = read(report, &failure, sizeof(failure));
	} while (got < 0 && errno == EINTR);
	if (got != (ssize_t)sizeof(failure))
		return 0;
	if (failure.stage == STAGE_PREPARE)
		return error_set(err, EXIT_STATUS_HOST, failure.code, "%s: cannot %s: %s", options->option,
				 options->preparation, strerror(failure.code));
	return error_set(err, EXIT_STATUS_HOST, failure.code, "%s: cannot start %s: %s", options->option,
			 options->argv[0], strerror(failure.code));
}

int child_start(struct child *child, const struct child_options *options, struct error *err)
{
	int output[2] = {-1, -1}, report[2] = {-1, -1};
	char *setting = NULL, **environment = NULL;
	pid_t parent = getpid();
	int code = 0;

	assert(options->fd_count <= CHILD_FDS_MAX);
	*child = (struct child){.pidfd = -1, .output = -1, .name = options->name, .option = options->option};
	if (options->setting != NULL && (setting = strdup(options->setting)) == NULL)
		goto fail;
	environment = make_environment(setting);
	if (environment == NULL || pipe2(output, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0 ||
	    fcntl(output[0], F_SETFL, O_NONBLOCK) < 0)
		goto fail;
	child->pid = fork();
	if (child->pid == 0)
		run(options, environment, parent, output[1], report[1]);
	if (child->pid < 0) {
		child->pid = 0;
		goto fail;
	}
	child->pidfd = pidfd_open_(child->pid);
	if (child->pidfd < 0)
		goto fail;
	io_close(&report[1]);
	io_close(&output[1]);
	child->output = output[0];
	code = hear(report[0], options, err);
	io_close(&report[0]);
	if (code < 0)
		child_release(child, 0);
	goto done;

fail:
	code = error_set(err, EXIT_STATUS_HOST, errno, "%s: cannot start %s: %s", options->option, options->argv[0],
			 strerror(errno));
	for (int i = 0; i < 2; i++) {
		io_close(&output[i]);
		io_close(&report[i]);
	}
	child_release(child, 0);
done:
	free(environment);
	free(setting);
	return code;
}

static void end_line(struct child *child, const struct log *log)
{
	if (child->line_size == 0)
		return;
	child->line[child->line_size] = '\0';
	memcpy(child->last, child->line, child->line_size + 1);
	child->line_size = 0;
	if (log != NULL)
		log_debug(log, "%s: %s: %s", child->option, child->name, child->last);
}

void child_log(struct child *child, const struct log *log)
{
	/* bounded, because a child can write faster than we read */
	for (int i = 0; i < READS_AT_ONCE && child->output >= 0; i++) {
		char bytes[1024];
		ssize_t got = read(child->output, bytes, sizeof(bytes));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0) {
			end_line(child, log);
			io_close(&child->output);
			return;
		}
		for (ssize_t k = 0; k < got; k++) {
			if (bytes[k] == '\n' || child->line_size == sizeof(child->line) - 1)
				end_line(child, log);
			if (bytes[k] != '\n')
				child->line[child->line_size++] = bytes[k];
		}
	}
}

/* Waits for the end if need be. By waitid(), which looks without reaping too: one system call for both. */
static void reap(struct child *child)
{
	siginfo_t info = {0};

	while (waitid(P_PID, (id_t)child->pid, &info, WEXITED) < 0 && errno == EINTR)
		;
	child->status = info.si_code == CLD_EXITED ? W_EXITCODE(info.si_status, 0) : W_EXITCODE(0, info.si_status);
}

bool child_has_ended(struct child *child)
{
	siginfo_t info = {0};

	if (child->pid == 0)
		return true;
	/* not reaped yet, so that its number, and its group's, still are its own */
	if (waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
		return false;
	kill(-child->pid, SIGKILL);
	reap(child);
	child->pid = 0;
	return true;
}

struct child_text child_ending(const struct child *child)
{
	struct child_text ending;

	if (child->pid != 0)
		snprintf(ending.text, sizeof(ending.text), "runs");
	else if (WIFSIGNALED(child->status))
		snprintf(ending.text, sizeof(ending.text), "was ended by signal %d", WTERMSIG(child->status));
	else
		snprintf(ending.text, sizeof(ending.text), "ended with status %d", WEXITSTATUS(child->status));
	return ending;
}

bool child_ended_early(struct child *child, int milliseconds, int code, const struct log *log, struct error *err)
{
	struct pollfd end = {.fd = child->pidfd, .events = POLLIN};
	bool ended = poll(&end, 1, milliseconds) == 1 && child_has_ended(child);

	/* its last words come with its end */
	child_log(child, log);
	if (ended)
		error_set(err, EXIT_STATUS_HOST, code, "%s: %s %s: %s", child->option, child->name,
			  child_ending(child).text, child->last[0] != '\0' ? child->last : "it said nothing");
	return ended;
}

void child_kill(const struct child *child)
{
	struct pollfd ended = {.fd = child->pidfd, .events = POLLIN};

	if (child->pid == 0)
		return;
	kill(-child->pid, SIGKILL);
	poll(&ended, 1, 1000);
}

void child_release(struct child *child, int milliseconds)
{
	if (child == NULL || child->name == NULL)
		return;
	if (child->pid != 0 && child->pidfd >= 0 && milliseconds > 0) {
		struct pollfd ended = {.fd = child->pidfd, .events = POLLIN};

		kill(-child->pid, SIGTERM);
		/* a signal may cut the wait short: then it ends the hard way */
		poll(&ended, 1, milliseconds);
	}
	if (!child_has_ended(child)) {
		/*
		 * Itself too: it is not the leader of its group before setsid(). One that has taken another user's
		 * identity, as passt does for root, cannot be signalled once our privileges are gone: it ends with its
		 * socket, if not now then with this process.
		 */
		bool refused = kill(child->pid, SIGKILL) < 0 && errno == EPERM;

		kill(-child->pid, SIGKILL);
		if (!refused)
			reap(child);
	}
	io_close(&child->pidfd);
	io_close(&child->output);
	*child = (struct child){.pidfd = -1, .output = -1};
}
