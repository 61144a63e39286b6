/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_QMP_EVENTS_H
#define SPMVM_QMP_EVENTS_H

#include "vmm/machine.h"

struct json_t; /* of jansson.h */

/*
 * An event of the machine as QMP tells it, with the time of day: a new value, or NULL when memory runs out. Reasons of
 * SHUTDOWN are QEMU's (qapi/run-state.json, ShutdownCause) where it has one, and host-timeout of --timeout besides;
 * DEVICE_NEEDS_RESET is ours. There is no RESET: a machine of ours ends then.
 */
struct json_t *qmp_event(const struct machine_event *event);

#endif
