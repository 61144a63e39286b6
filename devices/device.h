/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_DEVICE_H
#define SPMVM_DEVICES_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/bus.h"

/*
 * A device knows its own facts only. It says what it wants (registers, an interrupt, a line in the DSDT); the machine gives it to it
 * (machine_plug) and the device never sees the machine.
 *
 * Each device has x_init(), and x_release() when it owns something; x_wants() fills in the whole of *wants, with pointers
 * to constants. The handlers run in vcpu threads, several at once; init, wants and release in the main thread while no
 * vcpu runs.
 */
enum { DEVICE_IO_MAX = 4 };

struct dev_io {
	enum bus_space space;
	struct range range; /* fixed addresses of the PC's legacy and of our own devices */
	const struct bus_ops *ops;
};

struct dev_wants {
	struct dev_io io[DEVICE_IO_MAX];
	size_t io_count;
	bool irq;     /* one interrupt line, */
	uint32_t gsi; /* at this GSI */
	/* the device of the DSDT, when acpi_hid is not NULL; its _CRS is io[0] and the interrupt */
	const char *acpi_name, *acpi_hid;
	uint32_t acpi_uid;
};

/* An interrupt line, level of the wire left out: a pulse is all that an edge-triggered GSI needs. An eventfd behind KVM_IRQFD. */
struct dev_irq {
	int eventfd; /* borrowed; -1 swallows the pulses */
};

/* Any thread. Never blocks when the eventfd is non-blocking or KVM empties it. */
void dev_irq_pulse(const struct dev_irq *irq);

/* What a device asks of the machine's run loop. First cause wins; see vmm/machine.h. */
enum dev_request { DEV_REQUEST_POWEROFF, DEV_REQUEST_RESET, DEV_REQUEST_PANICKED, DEV_REQUEST_EXIT };

/*
 * Called from a vcpu thread, by several at once and as often as the guest likes. value: of DEV_REQUEST_EXIT, the status that the
 * guest asked for (0..255); else 0.
 */
struct dev_sink {
	void (*request)(void *context, enum dev_request request, uint32_t value);
	void *context;
};

static inline void dev_sink_request(const struct dev_sink *sink, enum dev_request request, uint32_t value)
{
	sink->request(sink->context, request, value);
}

#endif
