/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_CONSOLE_H
#define SPMVM_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/config.h"

/*
 * The person's side of the serial port: a terminal in raw mode, a pipe, a file, or nothing. Ctrl-A is the escape key: Ctrl-A x
 * ends the machine, Ctrl-A Ctrl-A sends one Ctrl-A, anything else after it goes through as typed.
 */
struct console {
	int in, out; /* -1 when there is none; out is owned when owns_out */
	bool owns_out;
	bool terminal; /* in is a terminal that console_start() puts in raw mode */
	volatile int raw;
	bool escaped; /* the last byte typed was the escape key */
	struct termios saved;
};

enum { CONSOLE_READ_MAX = 256 };

/* Opens the file of --serial file:PATH or takes stdin and stdout. EXIT_STATUS_CONFIG. The console must not move in memory afterwards (struct log points to raw). */
int console_open(struct console *console, enum serial_mode mode, const char *path, struct error *err);

/* The terminal's keys are read although its output is not the guest's console: they are a command's. Before console_start(). */
void console_take_keys(struct console *console);

/*
 * From here on keys go to the guest: raw mode, and a line on the log's descriptor that says how to quit. A background job leaves the
 * terminal alone.
 */
void console_start(struct console *console, const struct log *log);

/* Gives the terminal back as it was. Also safe when console_start() was never called. */
void console_stop(struct console *console);

void console_release(struct console *console);

/*
 * Writes one byte of the guest's. Blocks while a pipe is full; -EINTR when a signal came in between (the caller decides whether to go on),
 * -EPIPE and the like when nobody will ever read it.
 */
int console_write(struct console *console, uint8_t byte);

/*
 * Reads what was typed, at most size bytes (up to CONSOLE_READ_MAX), with the escapes taken out. Returns the number of bytes for the guest (may be 0),
 * -EPIPE at the end of input, or -ECANCELED when the escape to quit was typed.
 */
int console_read(struct console *console, uint8_t *bytes, size_t size);

#endif
