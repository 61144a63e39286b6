/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_GUEST_PROTOCOL_H
#define SPMVM_GUEST_PROTOCOL_H

#include <stdint.h>

/*
 * What spmvm and the first process of its guests (guest/init) agree on. Both include this file, and nothing else of each other.
 */

/* ---- files of the built-in initramfs */

#define GUEST_MODULE_LIST "/etc/spmvm/modules" /* paths, one a line, in loading order */
#define GUEST_SCRIPT      "/etc/spmvm/script"  /* run instead of a shell */

/*
 * The command to run on the host's files: "KEY=VALUE" records, each ended by a NUL.
 *
 *   arg=WORD            of the command, in order; at least one
 *   env=NAME=VALUE      of its environment
 *   cwd=PATH            where it starts
 *   rw=PATH             a folder that is the host's own; the share GUEST_TAG_RW followed by its number, from 0 on
 *   modules=PATH        where the host has this kernel's /lib/modules/VERSION
 *   size=ROWS COLUMNS   it has a terminal of that size; without this record it has pipes
 *   stderr=pipe         it has a terminal, but its stderr is a pipe
 */
#define GUEST_COMMAND "/etc/spmvm/command"

/* ---- devices */

#define GUEST_TAG_ROOT "spmvm-root" /* of the share that is the host's root */
#define GUEST_TAG_RW   "spmvm-rw"

/* Names of console ports. What the host has of a stream that ended is closed, which ends or breaks the command's. */
#define GUEST_PORT_STDIN   "spmvm.stdin"
#define GUEST_PORT_STDOUT  "spmvm.stdout"
#define GUEST_PORT_STDERR  "spmvm.stderr"
#define GUEST_PORT_CONTROL "spmvm.control"

/* What comes through the control port: records of this size, in the host's (x86's) byte order. */
enum guest_control_kind { GUEST_CONTROL_SIGNAL = 1, GUEST_CONTROL_SIZE = 2 };
struct guest_control {
	uint16_t kind;
	uint16_t values[3]; /* SIGNAL: Linux's number; SIZE: rows, columns */
};

/* ---- the end: a status in the low byte, and perhaps one of these, written to this I/O port as 16 bits (devices/debug_exit.h) */

enum {
	GUEST_EXIT_PORT = 0xf4,
	GUEST_MARK_PORT = 0xf5,           /* how far the start has come, a byte of enum guest_mark */
	GUEST_EXIT_NOT_STARTED = 0x100,   /* init failed; the command was not run */
	GUEST_EXIT_OUT_OF_MEMORY = 0x200, /* the guest's kernel killed the command for want of memory */
};

enum guest_mark {
	GUEST_MARK_INIT = 1,    /* the first process runs */
	GUEST_MARK_COMMAND = 2, /* the command, script or shell is started */
};

#endif
