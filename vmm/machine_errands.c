/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes that start or stop a device, carried out by the main thread while the vcpu waits. They are rare, a few for each
 * device, and take the system calls of every back end there is; a vcpu's thread, which is closest to the guest, can do
 * without all of these (sandbox_rules.c), and devices are started, served and stopped by one thread.
 */
#include <stddef.h>

#include "devices/virtio/mmio.h"
#include "vmm/base/io.h"
#include "vmm/machine_state.h"

void machine_hand_over(void *context, struct virtio_device *device, uint64_t offset, uint32_t value)
{
	struct errand errand = {.device = device, .offset = offset, .value = value};
	struct machine *machine = context;

	pthread_mutex_lock(&machine->errand_lock);
	errand.next = machine->errands;
	machine->errands = &errand;
	io_raise(machine->errand_fd);
	while (!errand.done)
		pthread_cond_wait(&machine->errand_done, &machine->errand_lock);
	pthread_mutex_unlock(&machine->errand_lock);
}

void machine_run_errands(struct machine *machine)
{
	struct errand *errand;

	/* order is no matter: a vcpu has one at a time, and two that write at once cannot tell who was first */
	pthread_mutex_lock(&machine->errand_lock);
	while ((errand = machine->errands) != NULL) {
		machine->errands = errand->next;
		pthread_mutex_unlock(&machine->errand_lock);
		virtio_mmio_perform(errand->device, errand->offset, errand->value);
		pthread_mutex_lock(&machine->errand_lock);
		errand->done = true;
		pthread_cond_broadcast(&machine->errand_done);
	}
	pthread_mutex_unlock(&machine->errand_lock);
}
