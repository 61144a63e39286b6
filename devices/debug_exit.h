/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_DEBUG_EXIT_H
#define SPMVM_DEVICES_DEBUG_EXIT_H

#include "devices/device.h"

/*
 * A port by which the guest's init ends the machine with an exit status, without a power-off sequence: a write of n (1, 2 or 4 bytes; the low 16
 * bits count, guest/protocol.h says what they mean) to port 0xf4 asks for DEV_REQUEST_EXIT with n. Only there when the machine was asked for it; it
 * reads 0, and all ones when it is not there.
 */
#define DEBUG_EXIT_PORT UINT64_C(0xf4)

struct debug_exit {
	struct dev_sink sink;
};

void debug_exit_init(struct debug_exit *debug_exit, struct dev_sink sink);
void debug_exit_wants(struct dev_wants *wants);

#endif
