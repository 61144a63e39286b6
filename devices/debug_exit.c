/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/debug_exit.h"

#include "vmm/base/clock.h"

enum { MARK_OFFSET = 1 };

static uint64_t debug_exit_read(void *device, uint64_t offset, unsigned size)
{
	(void)device;
	(void)offset;
	(void)size;
	return 0;
}

/* The first time counts, whichever vcpu has it. */
static void set_mark(struct debug_exit *debug_exit, uint64_t number)
{
	uint64_t unset = 0;

	if (number == 0 || number > DEBUG_EXIT_MARKS)
		return;
	atomic_compare_exchange_strong(&debug_exit->marks[number - 1], &unset, clock_ns(CLOCK_MONOTONIC));
}

static void debug_exit_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
	struct debug_exit *debug_exit = device;

	/* The ports behind the first are there for wide writes too; alone they take marks and nothing else. */
	if (offset == 0)
		dev_sink_request(&debug_exit->sink, DEV_REQUEST_EXIT, value & 0xffff);
	else if (offset == MARK_OFFSET && size == 1)
		set_mark(debug_exit, value);
}

static const struct bus_ops debug_exit_ops = {
	.widths = 1 | 2 | 4,
	.read = debug_exit_read,
	.write = debug_exit_write,
};

void debug_exit_init(struct debug_exit *debug_exit, struct dev_sink sink)
{
	*debug_exit = (struct debug_exit){.sink = sink};
}

uint64_t debug_exit_mark(const struct debug_exit *debug_exit, unsigned number)
{
	return atomic_load(&debug_exit->marks[number - 1]);
}

void debug_exit_wants(struct dev_wants *wants)
{
	*wants = (struct dev_wants){
		.io = {{BUS_PIO, {DEBUG_EXIT_PORT, 4}, &debug_exit_ops}},
		.io_count = 1,
	};
}
