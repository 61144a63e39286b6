/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/power.h"

enum {
	SLEEP_CONTROL_TYPE_SHIFT = 2,
	SLEEP_CONTROL_TYPE_MASK = 7,
	SLEEP_CONTROL_ENABLE = 1 << 5,
};

/* SLP_TYP and SLP_EN are write-only, and WAK_STS is never set because the only sleep here is S5 (ACPI 6.5 §4.8.3.7). */
static uint64_t power_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	(void)offset;
	(void)size;
	return 0;
}

static void power_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	const struct power *power = device;

	(void)size;
	if (offset == POWER_SLEEP_CONTROL_PORT - POWER_PORTS_START) {
		unsigned type = value >> SLEEP_CONTROL_TYPE_SHIFT & SLEEP_CONTROL_TYPE_MASK;

		/* Only S5 is in the DSDT; a guest that enters another state has made it up. */
		if ((value & SLEEP_CONTROL_ENABLE) != 0 && type == POWER_SLEEP_TYPE_S5)
			dev_sink_request(&power->sink, DEV_REQUEST_POWEROFF, 0);
	} else if (offset == POWER_RESET_PORT - POWER_PORTS_START) {
		if (value == POWER_RESET_VALUE)
			dev_sink_request(&power->sink, DEV_REQUEST_RESET, 0);
	}
}

/*
 * There is no keyboard, only the line to the processors' reset pin. The status register says "input buffer empty", because
 * that is what a guest waits for before each command, and "no data", so that nobody looks for the data port.
 */
static uint64_t keyboard_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	(void)offset;
	(void)size;
	return 0;
}

static void keyboard_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	const struct power *power = device;

	(void)offset;
	(void)size;
	if (value == POWER_KEYBOARD_RESET)
		dev_sink_request(&power->sink, DEV_REQUEST_RESET, 0);
}

static const struct bus_ops power_ops = {.widths = 1, .read = power_read, .write = power_write};
static const struct bus_ops keyboard_ops = {.widths = 1, .read = keyboard_read, .write = keyboard_write};

void power_init(struct power *power, struct dev_sink sink)
{
	*power = (struct power){sink, {.eventfd = -1}};
}

void power_wants(struct dev_wants *wants)
{
	*wants = (struct dev_wants){
		.io = {{BUS_PIO, {POWER_PORTS_START, POWER_RESET_PORT + 1 - POWER_PORTS_START}, &power_ops},
		       {BUS_PIO, {POWER_KEYBOARD_PORT, 1}, &keyboard_ops}},
		.io_count = 2,
		.irq = true,
		.gsi = POWER_BUTTON_GSI,
	};
}

void power_set_irq(struct power *power, struct dev_irq irq)
{
	power->button = irq;
}

void power_press(const struct power *power)
{
	dev_irq_pulse(&power->button);
}
