/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/pvpanic.h"

static uint64_t pvpanic_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	(void)offset;
	(void)size;
	return PVPANIC_PANICKED;
}

static void pvpanic_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	const struct pvpanic *pvpanic = device;

	(void)offset;
	(void)size;
	if ((value & PVPANIC_PANICKED) != 0)
		dev_sink_request(&pvpanic->sink, DEV_REQUEST_PANICKED, 0);
}

static const struct bus_ops pvpanic_ops = {.widths = 1, .read = pvpanic_read, .write = pvpanic_write};

void pvpanic_init(struct pvpanic *pvpanic, struct dev_sink sink)
{
	*pvpanic = (struct pvpanic){sink};
}

void pvpanic_wants(struct dev_wants *wants)
{
	*wants = (struct dev_wants){
		.io = {{BUS_PIO, {PVPANIC_PORT, 1}, &pvpanic_ops}},
		.io_count = 1,
		.acpi_name = "PEVT",
		.acpi_hid = "QEMU0001",
	};
}
