/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_GUEST_INIT_INIT_H
#define SPMVM_GUEST_INIT_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest/protocol.h"

/*
 * The first process of a guest that spmvm gave its own initramfs. It mounts the usual file systems, loads the modules that
 * spmvm picked, shows the memory slots, and runs the user's script or a shell; or it goes to the host's root file system and runs a command there. Then the
 * machine ends.
 *
 * A first process that exits or crashes makes the kernel panic, so nothing here gives up: what fails is a line on the console, and
 * every way ends in machine_off().
 */

#define BUSYBOX "/bin/busybox"
#define SHELL   "/bin/sh"

#define DAX_DEVICES "/sys/bus/dax/devices"

/* A line on stderr: "spmvm-init: ...". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Opens the console as stdin, stdout and stderr, and makes it this process's controlling terminal. */
void console_open(void);

/* Reads a file of /proc or /sys, or its first size - 1 bytes, into text without the closing newline. False when there is none. */
bool read_text(const char *path, char *text, size_t size);

/* Mounts the kernel's file systems and makes the folders and links that programs expect. */
void machine_prepare(void);

/* Tells spmvm, where it listens, how far the start has come. */
void machine_mark(enum guest_mark mark);

/* Ends the machine; how is one of the RB_ values of reboot(2). */
void machine_off(int how) __attribute__((noreturn));

/* Ends the machine with a value for spmvm (guest/protocol.h), where spmvm listens for it; powers off otherwise. */
void machine_exit(int value) __attribute__((noreturn));

/* Loads the modules listed in MODULE_LIST. */
void modules_load(void);

/* Powers off when a power button is pressed, where programs can hear of one (evdev); a process of its own listens. */
void button_watch(void);

/* Makes /dev/virtio-ports/NAME for each named port of a console device, as udev does it. */
void ports_link(void);

/* Reads what the user calls the slots, from the machine's device tree. Returns how many slots it has. */
size_t names_read(void);

/* The name of the slot that starts at an address; NULL when there is none. */
const char *names_of(uint64_t start);

/*
 * Makes /dev/spm/NAME for each slot that has a dax device. While a slot is system RAM, its device is not there, and
 * the link leads nowhere.
 */
void names_link(void);

/* Waits until the slots have their devices, and gives them their names. */
void slots_name(void);

/* Prints what the guest sees of its slots. */
void slots_show(void);

/* Signals that a first process has to take (children that end, requests to end the machine) wait until it looks for them. */
void run_prepare(void);

/* In a child: lets these signals through again and becomes the program, found as execvp(3) does it; ends with 126 or 127 when it cannot. */
void run_exec(const char *program, char *const arguments[]) __attribute__((noreturn));

/*
 * What one of those signals means: true when it says that the child has ended, with its exit status as a shell gives it, 128 + n when signal
 * n ended it. Takes every other child that has ended. Ends the machine when one of them asks for it.
 */
bool run_take_signal(int signal, pid_t child, int *status);

/* Another look at the signals that run_prepare() holds back: a signalfd(2), or -1. */
int run_signals(void);

/*
 * Runs a program to its end and takes the exit status, 126 or 127 when it could not be started. quiet: without a terminal and
 * without output.
 */
int run_program(const char *path, char *const arguments[], bool quiet);

/* ---- a command on the host's files */

/* GUEST_COMMAND, taken apart. Lives as long as the process. */
struct command {
	char **arguments, **environment; /* NULL-terminated */
	char **folders;                  /* of the rw= records, NULL-terminated */
	const char *cwd, *modules;       /* modules: NULL when there are none */
	bool terminal, stderr_apart;
	unsigned short rows, columns;
};

/* False when there is none. What is wrong with it is said, and ends the machine. */
bool command_read(struct command *command);

/* Mounts the host's root with a throw-away layer on top, moves to it what machine_prepare() made, and makes it this process's root. Ends the machine when it cannot. */
void root_switch(const struct command *command);

/* Runs it, its streams and signals connected to the console ports; ends the machine with its status. The ports are opened before the root is switched. */
void command_open_ports(void);
void command_run(const struct command *command) __attribute__((noreturn));

#endif
