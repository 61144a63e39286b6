/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_GUEST_INIT_INIT_H
#define SPMVM_GUEST_INIT_INIT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The first process of a guest that spmvm gave its own initramfs. It mounts the usual file systems, loads the modules that
 * spmvm picked, shows the memory slots, and runs the user's script or a shell; then the machine ends.
 *
 * A first process that exits or crashes makes the kernel panic, so nothing here gives up: what fails is a line on the console, and
 * every way ends in machine_off().
 */

/* What vmm/boot/initramfs.c puts where. */
#define MODULE_LIST "/etc/spmvm/modules"
#define SCRIPT_PATH "/etc/spmvm/script"
#define BUSYBOX     "/bin/busybox"
#define SHELL       "/bin/sh"

/* A line on the console: "spmvm-init: ...". */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Opens the console as stdin, stdout and stderr, and makes it this process's controlling terminal. */
void console_open(void);

/* Reads a file of /proc or /sys, or its first size - 1 bytes, into text without the closing newline. False when there is none. */
bool read_text(const char *path, char *text, size_t size);

/* Mounts the kernel's file systems and makes the folders and links that programs expect. */
void machine_prepare(void);

/* Ends the machine; how is one of the RB_ values of reboot(2). */
void machine_off(int how) __attribute__((noreturn));

/* Ends the machine with an exit status for spmvm, where spmvm listens for it; powers off otherwise. */
void machine_exit(int status) __attribute__((noreturn));

/* Loads the modules listed in MODULE_LIST. */
void modules_load(void);

/* Makes /dev/virtio-ports/NAME for each named port of a console device, as udev does it. */
void ports_link(void);

/* Prints what the guest sees of its slots. */
void slots_show(void);

/* Signals that a first process has to take (children that end, requests to end the machine) wait until run_program() looks. */
void run_prepare(void);

/*
 * Runs a program to its end and takes the exit status as a shell gives it: 128 + n when signal n ended it, 126 or 127 when
 * it could not be started. quiet: without a terminal and without output. Ends the machine when one of its children asks for it.
 */
int run_program(const char *path, char *const arguments[], bool quiet);

#endif
