/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_PVPANIC_H
#define SPMVM_DEVICES_PVPANIC_H

#include "devices/device.h"

/*
 * The port by which a Linux guest says that it has panicked (QEMU docs/specs/pvpanic.rst; ACPI id QEMU0001, driver pvpanic-mmio): bit 0
 * panicked, bit 1 crash kernel loaded. Reads tell which bits are understood: bit 0 only, so a guest with a crash kernel boots
 * that instead of ending the machine.
 */
#define PVPANIC_PORT     UINT64_C(0x505)
#define PVPANIC_PANICKED 0x01

struct pvpanic {
	struct dev_sink sink;
};

void pvpanic_init(struct pvpanic *pvpanic, struct dev_sink sink);
void pvpanic_wants(struct dev_wants *wants);

#endif
