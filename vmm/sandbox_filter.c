/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the table of rules to a program that the kernel runs at each system call (seccomp(2)). The programs are plain: a rule is
 * a comparison and a return, so they can be read in the order of the table. Classic BPF made here, and not by libseccomp,
 * because each start of a machine makes them, in some microseconds.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/sandbox_rules.h"

/* ------------------------------------------------------------------------------------------------- the program */

/* the first number of x32's calls, which are the others' with this bit (asm/unistd.h, __X32_SYSCALL_BIT) */
enum { X32_BIT = 0x40000000 };

struct program {
	struct sock_filter *code; /* NULL: only count */
	unsigned count;
};

static void add(struct program *program, struct sock_filter instruction)
{
	if (program->code != NULL)
		program->code[program->count] = instruction;
	program->count++;
}

static void load(struct program *program, size_t offset)
{
	add(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

static void answer(struct program *program, uint32_t action)
{
	add(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* Skips as many instructions when the comparison is true, and as many when it is not. */
static void jump(struct program *program, uint16_t comparison, uint32_t value, unsigned if_true, unsigned if_false)
{
	add(program, (struct sock_filter)BPF_JUMP((uint16_t)(BPF_JMP | comparison | BPF_K), value, (uint8_t)if_true,
						  (uint8_t)if_false));
}

static void add_rule(struct program *program, const struct sandbox_rule *rule)
{
	/* x86 is little-endian: the low half comes first */
	const size_t argument = offsetof(struct seccomp_data, args) + rule->argument * sizeof(uint64_t);
	unsigned length = 1; /* of what is skipped for another number */

	if (rule->check == SANDBOX_ONE_OF)
		length = 2 + 2 * rule->count;
	else if (rule->check != SANDBOX_ANY)
		length = 4;
	jump(program, BPF_JEQ, (uint32_t)rule->number, 0, length);
	if (rule->check != SANDBOX_ANY)
		load(program, argument);
	switch (rule->check) {
	case SANDBOX_ANY:
		break;
	case SANDBOX_ONE_OF:
		for (unsigned i = 0; i < rule->count; i++) {
			jump(program, BPF_JEQ, rule->values[i], 0, 1);
			answer(program, SECCOMP_RET_ALLOW);
		}
		break;
	case SANDBOX_WITHOUT:
		jump(program, BPF_JSET, rule->values[0], 1, 0);
		answer(program, SECCOMP_RET_ALLOW);
		break;
	case SANDBOX_OURSELF:
		jump(program, BPF_JEQ, (uint32_t)getpid(), 0, 1);
		answer(program, SECCOMP_RET_ALLOW);
		break;
	}
	if (rule->check == SANDBOX_ANY)
		answer(program, SECCOMP_RET_ALLOW);
	else /* the next line may be about the same number */
		load(program, offsetof(struct seccomp_data, nr));
}

static void add_all(struct program *program, enum sandbox_thread thread, unsigned needs, uint32_t otherwise)
{
	/* another architecture's numbers mean other calls */
	load(program, offsetof(struct seccomp_data, arch));
	jump(program, BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0);
	answer(program, SECCOMP_RET_KILL_PROCESS);
	load(program, offsetof(struct seccomp_data, nr));
	jump(program, BPF_JGE, X32_BIT, 0, 1);
	answer(program, SECCOMP_RET_KILL_PROCESS);
	for (unsigned i = 0; i < SANDBOX_RULE_COUNT; i++) {
		if (sandbox_rule_holds(&SANDBOX_RULES[i], thread, needs))
			add_rule(program, &SANDBOX_RULES[i]);
	}
	answer(program, otherwise);
}

int sandbox_make_filter(struct sock_fprog *program, enum sandbox_thread thread, unsigned needs, bool only_log)
{
	const uint32_t otherwise = only_log ? SECCOMP_RET_LOG : SECCOMP_RET_TRAP;
	struct program made = {0};

	add_all(&made, thread, needs, otherwise);
	made.code = calloc(made.count, sizeof(*made.code));
	if (made.code == NULL)
		return -ENOMEM;
	made.count = 0;
	add_all(&made, thread, needs, otherwise);
	*program = (struct sock_fprog){.len = (unsigned short)made.count, .filter = made.code};
	return 0;
}

/*
 * SPEC_ALLOW: kernels before 5.16 would turn speculation off for a filtered thread, and so for the guest in it. That is for programs that
 * run foreign code in their own address space; a guest's is in its own.
 */
int sandbox_install_filter(const struct sock_fprog *program)
{
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, program) < 0 ? -errno : 0;
}

bool sandbox_has_filters(void)
{
	const uint32_t action = SECCOMP_RET_TRAP;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

/* ---------------------------------------------------------------------------------------------- a violation */

/* made from the kernel's header by syscall_names.sh */
static const char *const NAMES[] = {
#include "syscall_names.inc"
};

/* asm-generic/siginfo.h; glibc has it not */
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1
#endif

/* What a signal's handler has no other way to know. */
static struct {
	int log_fd;
	void (*at_end)(void *context);
	void *context;
} ending;

struct line {
	char text[256];
	size_t size;
};

static void say(struct line *line, const char *text)
{
	while (*text != '\0' && line->size < sizeof(line->text))
		line->text[line->size++] = *text++;
}

static void say_number(struct line *line, unsigned number)
{
	char digits[12] = "", *at = digits + sizeof(digits) - 1;

	do {
		*--at = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	say(line, at);
}

/*
 * Only write() and the end from here on: the thread may have been anywhere, in malloc() too. The end is the whole
 * process's, because whoever made it do this is inside.
 */
static void on_violation(int signal, siginfo_t *info, void *context)
{
	const unsigned number = (unsigned)info->si_syscall;
	const char *name = number < sizeof(NAMES) / sizeof(NAMES[0]) ? NAMES[number] : NULL;
	struct line line = {.size = 0};

	(void)signal;
	(void)context;
	if (info->si_code != SYS_SECCOMP)
		return; /* kill(2) */
	if (ending.at_end != NULL)
		ending.at_end(ending.context);
	say(&line, "spmvm: the sandbox ends this machine: system call ");
	say(&line, name != NULL ? name : "(unknown)");
	say(&line, " (");
	say_number(&line, number);
	say(&line, ") is not for it; the guest may have broken out, or spmvm has a fault, which --sandbox log shows\n");
	(void)syscall(SYS_write, ending.log_fd, line.text, line.size); /* whoever has put himself before write() */
	syscall(SYS_exit_group, EXIT_STATUS_SANDBOX); /* as _exit(), around which sanitizers make calls of theirs */
}

void sandbox_watch_violations(const struct sandbox_options *options)
{
	const struct sigaction action = {.sa_sigaction = on_violation, .sa_flags = SA_SIGINFO};
	sigset_t violation;

	ending.log_fd = options->log->fd;
	ending.at_end = options->at_end;
	ending.context = options->context;
	sigaction(SIGSYS, &action, NULL);
	sigemptyset(&violation);
	sigaddset(&violation, SIGSYS);
	sigprocmask(SIG_UNBLOCK, &violation, NULL);
}

void sandbox_forget_end(void)
{
	ending.at_end = NULL;
}
