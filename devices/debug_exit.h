/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_DEBUG_EXIT_H
#define SPMVM_DEVICES_DEBUG_EXIT_H

#include <stdatomic.h>

#include "devices/device.h"

/*
 * A port by which the guest's init ends the machine with an exit status, without a power-off sequence: a write of n (1, 2 or 4 bytes; the low 16
 * bits count, guest/protocol.h says what they mean) to port 0xf4 asks for DEV_REQUEST_EXIT with n. Only there when the machine was asked for it; it
 * reads 0, and all ones when it is not there.
 *
 * A byte n from 1 to DEBUG_EXIT_MARKS written to the port behind it, 0xf5, says that the guest has come to point n of
 * its start; the time of the first such write is kept. That is what a guest says of itself, no more.
 */
#define DEBUG_EXIT_PORT UINT64_C(0xf4)
enum { DEBUG_EXIT_MARKS = 8 };

struct debug_exit {
	struct dev_sink sink;
	_Atomic uint64_t marks[DEBUG_EXIT_MARKS]; /* ns of CLOCK_MONOTONIC; 0 until the guest has said so */
};

void debug_exit_init(struct debug_exit *debug_exit, struct dev_sink sink);
/* When the guest said that it had come to point number, from 1 on; 0 when it has not. Any thread. */
uint64_t debug_exit_mark(const struct debug_exit *debug_exit, unsigned number);
void debug_exit_wants(struct dev_wants *wants);

#endif
