/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "devices/virtio/mmio.h"
#include "vmm/base/io.h"

enum { INTERRUPT_USED = 1, INTERRUPT_CONFIG = 2 };

static const struct counter_field FIELDS[] = {
	{"resets", offsetof(struct virtio_counters, resets), COUNTER_TOTAL, UNIT_NONE, "Resets by the driver"},
	{"needs_resets", offsetof(struct virtio_counters, needs_resets), COUNTER_TOTAL, UNIT_NONE,
	 "Times that a broken rule or back end made the device need a reset"},
	{"config_changes", offsetof(struct virtio_counters, config_changes), COUNTER_TOTAL, UNIT_NONE,
	 "Changes of the device's configuration, which are interrupts to a driver that runs"},
};

static const struct counter_field QUEUE_FIELDS[] = {
	{"kicks", offsetof(struct virtio_counters, kicks), COUNTER_TOTAL, UNIT_NONE,
	 "Notifications of the driver's, and those by which the device has put off the rest of its work"},
	{"interrupts", offsetof(struct virtio_counters, interrupts), COUNTER_TOTAL, UNIT_NONE,
	 "Interrupts for used buffers"},
};

static const struct counter_table COUNTERS = {.fields = FIELDS, .count = sizeof(FIELDS) / sizeof(FIELDS[0])};
static const struct counter_table QUEUE_COUNTERS = {.fields = QUEUE_FIELDS,
						    .count = sizeof(QUEUE_FIELDS) / sizeof(QUEUE_FIELDS[0])};

void virtio_show_counters(const struct virtio_device *device, const struct counter_sink *sink)
{
	counter_show(sink, &COUNTERS, &device->counters, NULL);
	if (device->class->kick != NULL)
		counter_show(sink, &QUEUE_COUNTERS, &device->counters, NULL);
	if (device->class->counters != NULL)
		device->class->counters(device, sink);
}

int virtio_init(struct virtio_device *device, const struct virtio_class *class, unsigned queue_count, uint64_t features)
{
	int code = 0;

	assert(queue_count <= VIRTIO_QUEUES_MAX);
	*device = (struct virtio_device){
		.class = class,
		.queue_count = queue_count,
		.offered =
			features | VIRTIO_FEATURE_INDIRECT_DESC | VIRTIO_FEATURE_EVENT_IDX | VIRTIO_FEATURE_VERSION_1,
		.irq = {.eventfd = -1},
		.broken_irq = {.eventfd = -1},
	};
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		device->kick_fds[i] = -1;
	for (unsigned i = 0; i < VIRTIO_WATCH_MAX; i++)
		device->watch_fds[i] = -1;
	for (unsigned i = 0; code == 0 && i < queue_count; i++) {
		device->kick_fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (device->kick_fds[i] < 0)
			code = -errno;
	}
	if (code == 0)
		code = -pthread_mutex_init(&device->lock, NULL);
	if (code < 0) {
		for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
			io_close(&device->kick_fds[i]);
		device->class = NULL;
	}
	return code;
}

void virtio_release(struct virtio_device *device)
{
	if (device == NULL || device->class == NULL)
		return;
	if (device->class->reset != NULL) {
		pthread_mutex_lock(&device->lock);
		device->class->reset(device);
		pthread_mutex_unlock(&device->lock);
	}
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		io_close(&device->kick_fds[i]);
	pthread_mutex_destroy(&device->lock);
	device->class = NULL;
}

void virtio_kicked(struct virtio_device *device, unsigned queue)
{
	uint64_t count = 0;

	/* a vhost back end reads it */
	if (device->class->kick == NULL)
		return;
	/* EAGAIN: none came */
	(void)!read(device->kick_fds[queue], &count, sizeof(count));
	pthread_mutex_lock(&device->lock);
	counter_add(&device->counters.kicks, count);
	if ((device->status & VIRTIO_STATUS_DRIVER_OK) != 0 && device->queues[queue].ready &&
	    !device->queues[queue].broken)
		device->class->kick(device, queue);
	pthread_mutex_unlock(&device->lock);
}

void virtio_kick_again(struct virtio_device *device, unsigned queue)
{
	io_raise(device->kick_fds[queue]);
}

void virtio_interrupt(struct virtio_device *device, unsigned queue)
{
	if (!virtq_needs_interrupt(&device->queues[queue]))
		return;
	counter_add(&device->counters.interrupts, 1);
	atomic_fetch_or(&device->interrupt_status, INTERRUPT_USED);
	dev_irq_pulse(&device->irq);
}

void virtio_config_changed(struct virtio_device *device)
{
	bool runs = (device->status & VIRTIO_STATUS_DRIVER_OK) != 0;

	device->config_generation++;
	counter_add(&device->counters.config_changes, 1);
	if (runs)
		atomic_fetch_or(&device->interrupt_status, INTERRUPT_CONFIG);
	virtio_mmio_publish(device);
	if (runs)
		dev_irq_pulse(&device->irq);
}

void virtio_needs_reset(struct virtio_device *device, const char *why)
{
	if ((device->status & VIRTIO_STATUS_NEEDS_RESET) != 0)
		return;
	if (device->log != NULL)
		log_limited(device->log, &device->log_limit, LOG_WARN, "%s: %s; the device waits for a reset",
			    device->option != NULL ? device->option : device->class->name, why);
	counter_add(&device->counters.needs_resets, 1);
	for (unsigned i = 0; i < device->queue_count; i++)
		device->queues[i].broken = true;
	device->status |= VIRTIO_STATUS_NEEDS_RESET;
	dev_irq_pulse(&device->broken_irq);
	if (device->class->stop != NULL)
		device->class->stop(device);
	/* §2.1.2: a driver that is up hears of it as of a configuration change */
	virtio_config_changed(device);
}
