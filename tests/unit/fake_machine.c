/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/fake_machine.h"

#include <errno.h>

#include "vmm/metrics.h"

static void tell(const struct machine *machine, enum machine_event_kind kind)
{
	const struct machine_event event = {.kind = kind};

	if (machine->control != NULL)
		machine->control->event(machine->control->context, &event);
}

enum machine_state machine_state(const struct machine *machine)
{
	return machine->state;
}

const struct board *machine_board(const struct machine *machine)
{
	return machine->board;
}

pid_t machine_vcpu_thread(const struct machine *machine, size_t index)
{
	(void)machine;
	return (pid_t)(1000 + index);
}

bool machine_pause(struct machine *machine)
{
	if (machine->state != MACHINE_RUNNING)
		return false;
	machine->state = MACHINE_PAUSED;
	tell(machine, MACHINE_EVENT_PAUSED);
	return true;
}

bool machine_resume(struct machine *machine)
{
	if (machine->state != MACHINE_PAUSED)
		return false;
	machine->state = MACHINE_RUNNING;
	tell(machine, MACHINE_EVENT_RESUMED);
	return true;
}

void machine_press_power_button(struct machine *machine)
{
	machine->presses++;
	tell(machine, MACHINE_EVENT_POWERDOWN);
}

bool machine_stop(struct machine *machine, enum stop_cause cause, uint32_t value)
{
	(void)value;
	if (machine->state == MACHINE_ENDING)
		return false;
	machine->state = MACHINE_ENDING;
	machine->cause = cause;
	return true;
}

bool machine_hotplug(const struct machine *machine, struct machine_hotplug *hotplug)
{
	if (machine->has_hotplug)
		*hotplug = machine->hotplug;
	return machine->has_hotplug;
}

int machine_set_hotplug(struct machine *machine, uint64_t bytes, struct error *err)
{
	if (bytes > machine->hotplug.region.size)
		return error_set(err, EXIT_STATUS_CONFIG, ERANGE, "more than there is");
	machine->hotplug.requested = bytes;
	return 0;
}

void machine_collect(const struct machine *machine, struct metrics *metrics)
{
	static const struct counter_field REQUESTS = {"requests", 0, COUNTER_TOTAL, UNIT_NONE, "Requests"};
	static const struct counter_field FAULTS = {"faults", 0, COUNTER_TOTAL, UNIT_NONE, "Faults"};

	(void)machine;
	metrics->time = 1;
	metrics_object(metrics, METRICS_MACHINE, NULL, NULL, NULL);
	metrics_value(metrics, &FAULTS, 7);
	metrics_kvm(metrics, "remote_tlb_flush", COUNTER_TOTAL, 5);
	metrics_object(metrics, METRICS_VCPU, NULL, "1", NULL);
	metrics_kvm(metrics, "exits", COUNTER_TOTAL, 9);
	/* a path of the user's need not be UTF-8 */
	metrics_object(metrics, METRICS_MEMORY, NULL, "hbm0", "--spm path=\xff");
	metrics_object(metrics, METRICS_DEVICE, "blk", "blk0", "--blk disk");
	metrics_labelled(metrics, &REQUESTS, "operation", "read", 3);
}
