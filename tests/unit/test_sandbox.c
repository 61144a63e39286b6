/* SPDX-License-Identifier: Apache-2.0 */
/* vmm/sandbox*.c: the rules, and what becomes of a process that they hold for: one of its own for each attempt. */
#include "tests/unit/scratch_folder.h"
#include "vmm/sandbox_rules.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EVERYTHING = 0xfffff, DISK = 1 << CONFIG_BLK, WORKED = 42, FAILED = 43 };

/* ------------------------------------------------------------------------------------------------- the table */

static unsigned count(enum sandbox_thread thread, unsigned needs)
{
	bool seen[1024] = {false};
	unsigned total = 0;

	for (unsigned i = 0; i < SANDBOX_RULE_COUNT; i++) {
		const struct sandbox_rule *rule = &SANDBOX_RULES[i];

		if (!sandbox_rule_holds(rule, thread, needs))
			continue;
		total += !seen[rule->number];
		seen[rule->number] = true;
	}
	return total;
}

static void few_calls_are_left(void **state)
{
	(void)state;
	print_message("system calls: vcpu %u; main %u, with a disk %u, with --qmp %u, with everything %u\n",
		      count(SANDBOX_VCPU, EVERYTHING), count(SANDBOX_MAIN, 0), count(SANDBOX_MAIN, DISK),
		      count(SANDBOX_MAIN, SANDBOX_CONTROL | SANDBOX_FOLDER), count(SANDBOX_MAIN, EVERYTHING));
	/* README.md and docs/threat-model.md have these numbers too */
	assert_int_equal(count(SANDBOX_VCPU, EVERYTHING), 11);
	assert_int_equal(count(SANDBOX_VCPU, 0), 11);
	assert_int_equal(count(SANDBOX_MAIN, 0), 24);
	assert_int_equal(count(SANDBOX_MAIN, DISK), 27);
	assert_int_equal(count(SANDBOX_MAIN, SANDBOX_CONTROL | SANDBOX_FOLDER), 30);
	assert_int_equal(count(SANDBOX_MAIN, EVERYTHING), 47);
}

/* A line that another one covers would be read as a rule and be none. */
static void no_line_is_there_in_vain(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SANDBOX_RULE_COUNT; i++) {
		const struct sandbox_rule *rule = &SANDBOX_RULES[i];

		assert_true(rule->threads != 0 && rule->threads < 1 << SANDBOX_THREADS);
		assert_true(rule->argument < 6 && rule->count < 100);
		assert_int_equal(rule->count > 0, rule->check == SANDBOX_ONE_OF || rule->check == SANDBOX_WITHOUT);
		for (unsigned k = 0; k < i; k++) {
			const struct sandbox_rule *other = &SANDBOX_RULES[k];

			if (other->number == rule->number && (other->threads & rule->threads) != 0) {
				assert_int_not_equal(other->check, SANDBOX_ANY);
				assert_int_not_equal(rule->check, SANDBOX_ANY);
				assert_ptr_not_equal(other->values, rule->values);
			}
		}
	}
}

static void nothing_opens_makes_or_becomes(void **state)
{
	static const int NEVER[] = {SYS_open,
				    SYS_openat,
				    SYS_openat2,
				    SYS_creat,
				    SYS_socket,
				    SYS_connect,
				    SYS_bind,
				    SYS_execve,
				    SYS_execveat,
				    SYS_clone,
				    SYS_clone3,
				    SYS_fork,
				    SYS_vfork,
				    SYS_ptrace,
				    SYS_mprotect,
				    SYS_setuid,
				    SYS_unshare,
				    SYS_mount,
				    SYS_prctl,
				    SYS_seccomp,
				    SYS_memfd_create,
				    SYS_process_vm_writev,
				    SYS_io_uring_setup,
				    SYS_bpf,
				    SYS_perf_event_open,
				    SYS_userfaultfd,
				    SYS_ioperm};

	(void)state;
	for (unsigned i = 0; i < SANDBOX_RULE_COUNT; i++) {
		for (size_t k = 0; k < sizeof(NEVER) / sizeof(NEVER[0]); k++)
			assert_int_not_equal(SANDBOX_RULES[i].number, NEVER[k]);
	}
}

/* ----------------------------------------------------------------------------------------------- attempts */

static struct log to_stderr = {.level = LOG_WARN, .fd = STDERR_FILENO};

struct ending {
	int status; /* as waitpid() gives it */
	char told[512];
};

/* What a process of its own says and ends with that tries it under the filter of such a thread. */
static struct ending end_of(bool (*try)(void), enum sandbox_thread thread, unsigned needs)
{
	struct ending ending = {0};
	ssize_t got;
	int out[2];
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct sandbox_options options = {.log = &to_stderr};
		struct sock_fprog program;

		dup2(out[1], STDERR_FILENO);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		sandbox_watch_violations(&options);
		if (sandbox_make_filter(&program, thread, needs, false) < 0 || sandbox_install_filter(&program) < 0)
			_exit(FAILED);
		syscall(SYS_exit_group, try() ? WORKED : FAILED); /* see on_violation() */
	}
	close(out[1]);
	got = read(out[0], ending.told, sizeof(ending.told) - 1);
	close(out[0]);
	assert_true(got >= 0);
	assert_int_equal(waitpid(pid, &ending.status, 0), pid);
	return ending;
}

static void expect_end(bool (*try)(void), enum sandbox_thread thread, unsigned needs, const char *call)
{
	struct ending ending = end_of(try, thread, needs);
	char expected[64];

	if (call == NULL) {
		assert_string_equal(ending.told, "");
		assert_true(WIFEXITED(ending.status));
		assert_int_equal(WEXITSTATUS(ending.status), WORKED);
		return;
	}
	snprintf(expected, sizeof(expected), "spmvm: the sandbox ends this machine: system call %s", call);
	if (strncmp(ending.told, expected, strlen(expected)) != 0)
		fail_msg("%s: \"%s\", status 0x%x", call, ending.told, (unsigned)ending.status);
	assert_ptr_equal(strchr(ending.told, '\n'), ending.told + strlen(ending.told) - 1);
	assert_true(WIFEXITED(ending.status));
	assert_int_equal(WEXITSTATUS(ending.status), EXIT_STATUS_SANDBOX);
}

static bool open_file(void)
{
	return open("/dev/null", O_RDONLY) >= 0;
}

static bool execute(void)
{
	char *arguments[] = {NULL};

	return syscall(SYS_execve, "/bin/true", arguments, NULL) ==
	       0; /* as it is: the coverage build has an execv() of its own */
}

static bool make_socket(void)
{
	return socket(AF_INET, SOCK_STREAM, 0) >= 0;
}

static bool make_process(void)
{
	return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) >= 0;
}

static bool map(int protection)
{
	return mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static bool map_executable(void)
{
	return map(PROT_READ | PROT_EXEC);
}

static bool map_writable(void)
{
	return map(PROT_READ | PROT_WRITE);
}

static bool make_executable(void)
{
	return mprotect((void *)((uintptr_t)&to_stderr & ~(uintptr_t)4095), 4096, PROT_READ | PROT_EXEC) == 0;
}

static bool kill_another(void)
{
	return syscall(SYS_tgkill, getppid(), getppid(), 0) == 0;
}

static bool stop_another(void)
{
	return kill(getpid(), SIGCONT) == 0;
}

static bool signal_a_child(void)
{
	return kill(-0x7ffffff0, SIGKILL) < 0 && errno == ESRCH;
}

static bool create_vm(void)
{
	return ioctl(-1, KVM_CREATE_VM, 0) < 0;
}

static bool set_registers(void)
{
	return ioctl(-1, KVM_SET_REGS, NULL) < 0;
}

static bool run_guest(void)
{
	return ioctl(-1, KVM_RUN, 0) < 0 && errno == EBADF;
}

static bool read_parts(void)
{
	return preadv(-1, NULL, 0, 0) < 0 && errno == EBADF;
}

static bool enter_ring(void)
{
	return syscall(SYS_io_uring_enter, -1, 0, 0, 0, NULL, 0) < 0 && errno == EBADF;
}

static bool remove_file(void)
{
	return unlinkat(-1, "nothing", 0) < 0 && errno == EBADF;
}

static bool read_something(void)
{
	char byte;

	return read(-1, &byte, 1) < 0 && errno == EBADF;
}

static bool wait_for_nothing(void)
{
	struct timespec now;

	return poll(NULL, 0, 1) == 0 && syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now) == 0;
}

static bool unknown_call(void)
{
	return syscall(1000) < 0;
}

static void what_is_forbidden_ends_the_process(void **state)
{
	static const struct {
		bool (*try)(void);
		const char *call;
	} BOTH[] = {
		{open_file, "openat (257)"},        {execute, "execve (59)"},     {make_socket, "socket (41)"},
		{make_process, "clone (56)"},       {map_executable, "mmap (9)"}, {make_executable, "mprotect (10)"},
		{kill_another, "getppid (110)"},    {create_vm, "ioctl (16)"},    {set_registers, "ioctl (16)"},
		{unknown_call, "(unknown) (1000)"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(BOTH) / sizeof(BOTH[0]); i++) {
		expect_end(BOTH[i].try, SANDBOX_MAIN, EVERYTHING, BOTH[i].call);
		expect_end(BOTH[i].try, SANDBOX_VCPU, EVERYTHING, BOTH[i].call);
	}
	expect_end(map_writable, SANDBOX_VCPU, EVERYTHING, "mmap (9)");
	expect_end(read_something, SANDBOX_VCPU, EVERYTHING, "read (0)");
	expect_end(run_guest, SANDBOX_MAIN, EVERYTHING, "ioctl (16)");
	expect_end(stop_another, SANDBOX_MAIN, EVERYTHING, "kill (62)");
	/* what only some machines have */
	expect_end(enter_ring, SANDBOX_MAIN, 0, "io_uring_enter (426)");
	expect_end(read_parts, SANDBOX_MAIN, DISK, "preadv (295)");
	expect_end(signal_a_child, SANDBOX_MAIN, DISK, "kill (62)");
	expect_end(remove_file, SANDBOX_MAIN, DISK, "unlinkat (263)");
}

static void what_is_allowed_works(void **state)
{
	(void)state;
	expect_end(run_guest, SANDBOX_VCPU, 0, NULL);
	expect_end(wait_for_nothing, SANDBOX_VCPU, 0, NULL);
	expect_end(wait_for_nothing, SANDBOX_MAIN, 0, NULL);
	expect_end(map_writable, SANDBOX_MAIN, 0, NULL);
	expect_end(read_something, SANDBOX_MAIN, 0, NULL);
	expect_end(enter_ring, SANDBOX_MAIN, DISK, NULL);
	expect_end(read_parts, SANDBOX_MAIN, DISK | SANDBOX_PLAIN_IO, NULL);
	expect_end(signal_a_child, SANDBOX_MAIN, 1 << CONFIG_SHARE, NULL);
	expect_end(remove_file, SANDBOX_MAIN, SANDBOX_FOLDER, NULL);
}

static bool other_table(void)
{
	return syscall(0x40000000 + SYS_getpid) > 0;
}

/* x32's numbers are another table: without a word, as SIGSYS does not come through there everywhere */
static void another_architecture_is_no_way_round(void **state)
{
	struct ending ending = end_of(other_table, SANDBOX_MAIN, EVERYTHING);

	(void)state;
	assert_true(WIFSIGNALED(ending.status));
	assert_int_equal(WTERMSIG(ending.status), SIGSYS);
}

/* ------------------------------------------------------------------------------------------- the whole process */

/* The value of a line of /proc/self/status, which is open already. */
static uint64_t status_value(int fd, const char *name)
{
	char text[8192];
	ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
	const char *at;

	text[got > 0 ? got : 0] = '\0';
	at = strstr(text, name);
	return at == NULL ? UINT64_MAX : strtoull(at + strlen(name), NULL, 16);
}

static void in_child(void (*attempt)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		attempt();
		_exit(WORKED);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != WORKED)
		fail_msg("the child failed: status %d", WEXITSTATUS(status));
}

/* A failed assertion in the child must not go back to CMocka: it says its line and ends. */
#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			dprintf(STDERR_FILENO, "line %d: %s\n", __LINE__, #condition);                                 \
			_exit(FAILED);                                                                                 \
		}                                                                                                      \
	} while (0)

static struct scratch own, other; /* folders with a file "socket" each */

static void confine(void)
{
	const int status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	const int ours = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const int stray = dup(ours), inherited = dup(ours);
	const int folder = open(own.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const int elsewhere = open(other.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const int kept[1] = {inherited};
	const struct sandbox_options options = {
		.log = &to_stderr, .inherited = kept, .inherited_count = 1, .folder = &folder};
	struct rlimit limit;
	char missing[300];

	sandbox_confine_process(&options, missing, sizeof(missing));
	MUST(fcntl(stray, F_GETFD) < 0 && fcntl(inherited, F_GETFD) >= 0 && fcntl(ours, F_GETFD) >= 0);
	MUST(status_value(status, "NoNewPrivs:\t") == 1);
	MUST(status_value(status, "CapEff:\t") == 0 && status_value(status, "CapPrm:\t") == 0);
	MUST(status_value(status, "CapInh:\t") == 0 && status_value(status, "CapAmb:\t") == 0);
	MUST(getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0);
	MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < 64);
	/* a host that gives neither namespaces nor Landlock says so, and then files can be opened */
	MUST((open("/etc/passwd", O_RDONLY) < 0 && open("/proc/self/status", O_RDONLY) < 0) == (missing[0] == '\0'));
	MUST(unlinkat(folder, "socket", 0) == 0);
	if (sandbox_landlock_version() > 0)
		MUST(unlinkat(elsewhere, "socket", 0) < 0 && errno == EACCES);
}

static void the_process_gives_up_what_it_has(void **state)
{
	(void)state;
	scratch_new(&own);
	scratch_text(&own, "socket", "");
	scratch_new(&other);
	scratch_text(&other, "socket", "");
	in_child(confine);
	scratch_remove(&own);
	scratch_remove(&other);
}

/* ------------------------------------------------------------------------------------------------ both steps */

static void enter(void)
{
	const struct sandbox_options options = {.mode = SANDBOX_ON, .log = &to_stderr};
	struct sandbox sandbox;
	struct error err;

#ifdef SPMVM_INSTRUMENTED
	MUST(sandbox_enter(&sandbox, &options, &err) == -ENOTSUP && err.status == EXIT_STATUS_HOST);
	MUST(strncmp(err.text, "--sandbox on: this is a build for tests", 39) == 0);
#else
	if (sandbox_enter(&sandbox, &options, &err) < 0) /* a host that lacks something: named, and no half measures */
		MUST(err.status == EXIT_STATUS_HOST && strstr(err.text, "this host does not give: ") != NULL);
	else
		MUST(sandbox_confine(&sandbox, SANDBOX_VCPU, &err) == 0);
#endif
}

static void off(void)
{
	const struct sandbox_options options = {.mode = SANDBOX_OFF, .log = &to_stderr};
	struct sandbox sandbox;
	struct error err;

	MUST(sandbox_enter(&sandbox, &options, &err) == 0 && sandbox_confine(&sandbox, SANDBOX_VCPU, &err) == 0);
	MUST(open("/dev/null", O_RDONLY) >= 0);
	sandbox_release(&sandbox);
}

static void each_mode_does_what_it_says(void **state)
{
	(void)state;
	in_child(enter);
	in_child(off);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_calls_are_left),
		cmocka_unit_test(no_line_is_there_in_vain),
		cmocka_unit_test(nothing_opens_makes_or_becomes),
		cmocka_unit_test(what_is_forbidden_ends_the_process),
		cmocka_unit_test(what_is_allowed_works),
		cmocka_unit_test(another_architecture_is_no_way_round),
		cmocka_unit_test(the_process_gives_up_what_it_has),
		cmocka_unit_test(each_mode_does_what_it_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
