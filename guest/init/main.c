/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/init.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/reboot.h>
#include <unistd.h>

/* The kernel gives TERM=linux, or what "TERM=" on its command line says; the rest is ours. */
static void set_environment(void)
{
	setenv("PATH", "/sbin:/usr/sbin:/bin:/usr/bin", 1);
	setenv("HOME", "/root", 1);
	setenv("USER", "root", 1);
	setenv("SHELL", SHELL, 1);
	if (chdir(getenv("HOME")) < 0)
		say("cannot go to /root");
}

/* A link for each of busybox's commands, where the user has not brought a program of that name. */
static void install_busybox(void)
{
	char *arguments[] = {BUSYBOX, "--install", "-s", NULL};

	if (access(BUSYBOX, X_OK) == 0)
		run_program(BUSYBOX, arguments, true);
}

static void run_script(void)
{
	char *arguments[] = {GUEST_SCRIPT, NULL};
	int status;

	machine_mark(GUEST_MARK_COMMAND);
	status = run_program(GUEST_SCRIPT, arguments, false);

	say("script ended with status %d", status);
	machine_exit(status);
}

static void run_shell(void)
{
	char *arguments[] = {"-sh", NULL}; /* '-' makes it a login shell */

	if (access(SHELL, X_OK) < 0) {
		say("no shell: install Debian's package busybox-static on the host");
		return;
	}
	machine_mark(GUEST_MARK_COMMAND);
	run_program(SHELL, arguments, false);
}

int main(void)
{
	struct command command;

	if (getpid() != 1) {
		say("this is the first process of a guest of spmvm; it does nothing here");
		return 2;
	}
	machine_mark(GUEST_MARK_INIT);
	run_prepare();
	machine_prepare();
	console_open();
	if (command_read(&command)) {
		modules_load();
		slots_name();
		command_open_ports();
		root_switch(&command);
		command_run(&command);
	}
	set_environment();
	install_busybox();
	modules_load();
	ports_link();
	slots_name();
	slots_show();
	button_watch();
	if (access(GUEST_SCRIPT, F_OK) == 0)
		run_script();
	else
		run_shell();
	machine_off(RB_POWER_OFF);
}
