/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/debug_exit.h"

static uint64_t debug_exit_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	(void)offset;
	(void)size;
	return 0;
}

static void debug_exit_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	const struct debug_exit *debug_exit = device;

	(void)size;
	/* The three ports behind the first are there for wide writes; alone they do nothing. */
	if (offset == 0)
		dev_sink_request(&debug_exit->sink, DEV_REQUEST_EXIT, value & 0xffff);
}

static const struct bus_ops debug_exit_ops = {
	.widths = 1 | 2 | 4,
	.read = debug_exit_read,
	.write = debug_exit_write,
};

void debug_exit_init(struct debug_exit *debug_exit, struct dev_sink sink)
{
	*debug_exit = (struct debug_exit){sink};
}

void debug_exit_wants(struct dev_wants *wants)
{
	*wants = (struct dev_wants){
		.io = {{BUS_PIO, {DEBUG_EXIT_PORT, 4}, &debug_exit_ops}},
		.io_count = 1,
	};
}
