/* SPDX-License-Identifier: Apache-2.0 */
/* A machine that is steered from outside while it runs: it pauses and goes on, its button is pressed, its events are
 * told. */
#include <errno.h>
#include <time.h>

#include "devices/virtio/mem.h"
#include "vmm/base/clock.h"
#include "vmm/base/io.h"
#include "vmm/loop.h"
#include "vmm/machine_state.h"

const struct board *machine_board(const struct machine *machine)
{
	return machine->board;
}

pid_t machine_vcpu_thread(const struct machine *machine, size_t index)
{
	return atomic_load(&machine->vcpus[index].thread_id);
}

enum machine_state machine_state(const struct machine *machine)
{
	if (machine_is_stopping(machine))
		return MACHINE_ENDING;
	return atomic_load(&machine->paused) ? MACHINE_PAUSED : MACHINE_RUNNING;
}

void machine_tell(const struct machine *machine, const struct machine_event *event)
{
	if (machine->control != NULL)
		machine->control->event(machine->control->context, event);
}

/* ------------------------------------------------------------------------------------------------ pause */

/*
 * The vcpu first says that it runs and then looks whether it may; who pauses it first says that it may not and then
 * looks whether it runs. So one of them sees the other, whichever comes first.
 */
void machine_enter_guest(struct machine_vcpu *self)
{
	struct machine *machine = self->machine;

	atomic_store(&self->runs, true);
	while (atomic_load(&machine->paused) && !machine_is_stopping(machine)) {
		atomic_store(&self->runs, false);
		pthread_mutex_lock(&machine->park_lock);
		while (atomic_load(&machine->paused) && !machine_is_stopping(machine))
			pthread_cond_wait(&machine->unparked, &machine->park_lock);
		pthread_mutex_unlock(&machine->park_lock);
		kvm_vcpu_was_paused(&self->vcpu);
		atomic_store(&self->runs, true);
	}
}

void machine_leave_guest(struct machine_vcpu *self)
{
	atomic_store(&self->runs, false);
}

void machine_unpark(struct machine *machine)
{
	pthread_mutex_lock(&machine->park_lock);
	pthread_cond_broadcast(&machine->unparked);
	pthread_mutex_unlock(&machine->park_lock);
}

/* A kick may come just before the vcpu's system call and is then lost to it, so it is repeated. */
static void wait_until_out(struct machine *machine)
{
	enum { RETRY_NS = 50 * 1000 };

	for (size_t i = 0; i < machine->vcpu_count; i++) {
		while (atomic_load(&machine->vcpus[i].runs)) {
			machine_kick(&machine->vcpus[i]);
			clock_pause(RETRY_NS);
		}
	}
}

bool machine_pause(struct machine *machine)
{
	struct error err;

	if (machine_state(machine) != MACHINE_RUNNING)
		return false;
	atomic_store(&machine->paused, true);
	for (size_t i = 0; i < machine->vcpu_count; i++)
		machine_kick(&machine->vcpus[i]);
	wait_until_out(machine);
	machine->has_clock = kvm_get_clock(machine->kvm, &machine->clock, &err) == 0;
	if (!machine->has_clock)
		log_warn(machine->log, "the guest's clock goes on while it is stopped: %s", err.text);
	machine_tell(machine, &(struct machine_event){.kind = MACHINE_EVENT_PAUSED});
	return true;
}

bool machine_resume(struct machine *machine)
{
	struct error err;

	if (machine_state(machine) != MACHINE_PAUSED)
		return false;
	if (machine->has_clock && kvm_set_clock(machine->kvm, machine->clock, &err) < 0)
		log_warn(machine->log, "the guest's clock went on while it was stopped: %s", err.text);
	atomic_store(&machine->paused, false);
	machine_unpark(machine);
	machine_tell(machine, &(struct machine_event){.kind = MACHINE_EVENT_RESUMED});
	return true;
}

/* --------------------------------------------------------------------------------------------- devices */

void machine_press_power_button(struct machine *machine)
{
	power_press(&machine->power);
	machine_tell(machine, &(struct machine_event){.kind = MACHINE_EVENT_POWERDOWN});
}

bool machine_hotplug(const struct machine *machine, struct machine_hotplug *hotplug)
{
	struct virtio_mem *mem = (struct virtio_mem *)machine_find_virtio(machine, VIRTIO_ID_MEM);

	if (mem == NULL)
		return false;
	*hotplug = (struct machine_hotplug){
		.region = {mem->options.gpa, mem->options.size},
		.block_size = mem->options.block_size,
		.node = mem->options.node,
		.requested = counter_read(&mem->requested_bytes),
		.plugged = virtio_mem_plugged(mem),
	};
	return true;
}

int machine_set_hotplug(struct machine *machine, uint64_t bytes, struct error *err)
{
	struct virtio_mem *mem = (struct virtio_mem *)machine_find_virtio(machine, VIRTIO_ID_MEM);

	if (mem == NULL)
		return error_set(err, EXIT_STATUS_CONFIG, ENODEV,
				 "there is no room for hotplug; start with a larger --maxmem");
	return virtio_mem_set_requested(mem, bytes, err);
}

/* A device came to need a reset, on whichever thread. */
static void on_broken(void *context, int fd)
{
	struct machine *machine = context;

	io_lower(fd);
	for (size_t i = 0; i < machine->virtio_count; i++) {
		struct virtio_device *device = machine->virtio[i];
		uint64_t count = counter_read(&device->counters.needs_resets);

		if (count != machine->broken_told[i])
			machine_tell(machine,
				     &(struct machine_event){
					     .kind = MACHINE_EVENT_NEEDS_RESET,
					     .device = device->option != NULL ? device->option : device->class->name,
				     });
		machine->broken_told[i] = count;
	}
}

static void on_control(void *context, int fd)
{
	struct machine *machine = context;

	(void)fd;
	machine->control->ready(machine->control->context, machine);
}

int machine_watch_control(struct machine *machine, struct loop *loop)
{
	int code;

	if (machine->control == NULL)
		return 0;
	code = loop_add(loop, machine->broken_fd, on_broken, machine);
	return code < 0 ? code : loop_add(loop, machine->control->fd, on_control, machine);
}
