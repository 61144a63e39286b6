/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_POWER_H
#define SPMVM_DEVICES_POWER_H

#include "devices/device.h"

/*
 * The ways in which a guest ends the machine: the sleep and reset registers of hardware-reduced ACPI (ACPI 6.5
 * §4.8.3.7, §4.8.3.6), and the reset line of the PC's keyboard controller for a guest without ACPI. FADT and DSDT name
 * these very ports. All are one byte wide. And the button by which it is asked to.
 */
#define POWER_PORTS_START        UINT64_C(0x600)
#define POWER_SLEEP_CONTROL_PORT 0x600 /* SLP_TYP in bits 2..4, SLP_EN bit 5; reads 0 */
#define POWER_SLEEP_STATUS_PORT  0x601 /* WAK_STS bit 7, reads 0 */
#define POWER_RESET_PORT         0x602 /* POWER_RESET_VALUE resets, other values do nothing; reads 0 */
#define POWER_RESET_VALUE        0x01
#define POWER_SLEEP_TYPE_S5      5
#define POWER_KEYBOARD_PORT      0x64 /* the 8042's command port: 0xfe pulses reset; what Linux tries when ACPI fails */
#define POWER_KEYBOARD_RESET     0xfe

/*
 * The power button needs no register: hardware-reduced ACPI tells of it by an interrupt of its own, at the generic
 * event device (ACPI 6.5 §4.8.3.3.1.2 and §5.6.9). COM2's line on a PC, which has no other use here.
 */
#define POWER_BUTTON_GSI 3u

struct power {
	struct dev_sink sink;
	struct dev_irq button;
};

void power_init(struct power *power, struct dev_sink sink);
void power_wants(struct dev_wants *wants);

/* The button's interrupt. Before the first press. */
void power_set_irq(struct power *power, struct dev_irq irq);

/* Any thread. */
void power_press(const struct power *power);

#endif
