/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/mmio.h"

#include <string.h>

/* §4.2.2, table "MMIO Device Register Layout" */
enum {
	MAGIC_VALUE = 0x000,
	VERSION = 0x004,
	DEVICE_ID = 0x008,
	VENDOR_ID = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034,
	QUEUE_NUM = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = VIRTIO_MMIO_QUEUE_NOTIFY,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = VIRTIO_MMIO_INTERRUPT_ACK,
	STATUS = 0x070,
	QUEUE_DESC_LOW = 0x080,
	QUEUE_DESC_HIGH = 0x084,
	QUEUE_DRIVER_LOW = 0x090,
	QUEUE_DRIVER_HIGH = 0x094,
	QUEUE_DEVICE_LOW = 0x0a0,
	QUEUE_DEVICE_HIGH = 0x0a4,
	SHM_LEN_LOW = 0x0b0,
	SHM_BASE_HIGH = 0x0bc,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

#define MAGIC  0x74726976u /* "virt" */
#define VENDOR 0x4d505653u /* "SVPM": any number will do */

enum { MMIO_VERSION = 2, USED_BUFFER = VIRTIO_MMIO_ACK_USED };

/* The queue that the driver has selected, or NULL for one that is not there. */
static struct virtq *selected(struct virtio_device *device)
{
	return device->queue_select < device->queue_count ? &device->queues[device->queue_select] : NULL;
}

static uint32_t read_register(struct virtio_device *device, uint64_t offset)
{
	const struct virtq *queue = selected(device);

	switch (offset) {
	case MAGIC_VALUE:
		return MAGIC;
	case VERSION:
		return MMIO_VERSION;
	case DEVICE_ID:
		return device->class->id;
	case VENDOR_ID:
		return VENDOR;
	case DEVICE_FEATURES:
		if (device->device_features_select > 1)
			return 0;
		return (uint32_t)(device->offered >> (32 * device->device_features_select));
	case QUEUE_NUM_MAX:
		return queue != NULL ? VIRTQ_SIZE_MAX : 0;
	case QUEUE_READY:
		return queue != NULL && queue->ready;
	case INTERRUPT_STATUS:
		return atomic_load(&device->interrupt_status);
	case STATUS:
		return device->status;
	case CONFIG_GENERATION:
		return device->config_generation;
	default:
		/* a shared memory region that is not there has the length of all ones (§4.2.2, SHMLen) */
		return offset >= SHM_LEN_LOW && offset <= SHM_BASE_HIGH ? UINT32_MAX : 0;
	}
}

/* Whole words, because the guest reads them meanwhile. */
static void publish_word(struct virtio_device *device, uint64_t offset, uint32_t value)
{
	__atomic_store_n((uint32_t *)(void *)(device->registers + offset), value, __ATOMIC_RELEASE);
}

void virtio_mmio_publish(struct virtio_device *device)
{
	uint8_t config[VIRTIO_MMIO_PAGE - CONFIG] = {0};
	size_t size = device->class->config_size;
	uint32_t word;

	if (device->registers == NULL)
		return;
	if (size > 0)
		device->class->read_config(device, 0, config, size);
	for (size_t at = 0; at < size; at += sizeof(word)) {
		memcpy(&word, config + at, sizeof(word));
		publish_word(device, CONFIG + at, word);
	}
	/* registers that can only be written read as 0 */
	for (uint64_t offset = 0; offset < CONFIG; offset += sizeof(word))
		publish_word(device, offset, read_register(device, offset));
}

static void reset(struct virtio_device *device)
{
	counter_add(&device->counters.resets, 1);
	if (device->class->reset != NULL)
		device->class->reset(device);
	for (unsigned i = 0; i < device->queue_count; i++)
		virtq_reset(&device->queues[i]);
	device->accepted = 0;
	device->status = 0;
	device->device_features_select = 0;
	device->driver_features_select = 0;
	device->queue_select = 0;
	atomic_store(&device->interrupt_status, 0);
}

/* §3.1.1 step 8: from here on the device works. */
static void start(struct virtio_device *device)
{
	bool event_idx = (device->accepted & VIRTIO_FEATURE_EVENT_IDX) != 0;

	for (unsigned i = 0; i < device->queue_count; i++) {
		if (device->queues[i].ready && virtq_start(&device->queues[i], device->mem, event_idx) < 0) {
			virtio_needs_reset(device, "a virtqueue does not lie in the guest's memory");
			return;
		}
	}
	if (device->always_used)
		atomic_fetch_or(&device->interrupt_status, USED_BUFFER);
	if (device->class->activate != NULL && device->class->activate(device) < 0)
		virtio_needs_reset(device, "the device cannot start");
}

/* §2.1, §3.1: bits are only ever added, in order, until a reset. */
static void write_status(struct virtio_device *device, uint32_t value)
{
	uint8_t added = (uint8_t)(value & ~(uint32_t)device->status);

	if (value == 0) {
		reset(device);
		return;
	}
	if ((device->status & VIRTIO_STATUS_NEEDS_RESET) != 0)
		return;
	/* a driver that cannot do without the legacy interface, or accepts what was not offered, does not get FEATURES_OK */
	if ((added & VIRTIO_STATUS_FEATURES_OK) != 0 &&
	    ((device->accepted & ~device->offered) != 0 || (device->accepted & VIRTIO_FEATURE_VERSION_1) == 0))
		added &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
	if ((added & VIRTIO_STATUS_DRIVER_OK) != 0 && (device->status & VIRTIO_STATUS_FEATURES_OK) == 0)
		added &= (uint8_t)~VIRTIO_STATUS_DRIVER_OK;
	device->status |= added & (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK |
				   VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FAILED);
	if ((added & VIRTIO_STATUS_DRIVER_OK) != 0)
		start(device);
}

static void set_low(uint64_t *address, uint32_t value)
{
	*address = (*address & ~(uint64_t)UINT32_MAX) | value;
}

static void set_high(uint64_t *address, uint32_t value)
{
	*address = (*address & UINT32_MAX) | (uint64_t)value << 32;
}

/*
 * A write to QueueReady. 0 takes the queue back, and nothing touches its memory once the driver has read the 0 (§4.2.2.2). Linux does so
 * when it gives up half-way through its set-up, and never to a device that runs, where the queue would have to be drained alone:
 * there everything ends, and the device waits for its reset.
 */
static void write_queue_ready(struct virtio_device *device, struct virtq *queue, uint32_t value)
{
	bool live = (device->status & VIRTIO_STATUS_DRIVER_OK) != 0;

	if (value == 0 && queue->ready) {
		if (live) {
			if (device->class->reset != NULL)
				device->class->reset(device);
			virtio_needs_reset(device, "the driver stopped a queue of a running device");
		}
		queue->ready = false;
	} else if (value == 1 && !live) {
		queue->ready = queue->size > 0;
	}
}

/* The queue's other registers may be written only before it is ready (§4.2.2.2). */
static void write_queue_register(struct virtio_device *device, uint64_t offset, uint32_t value)
{
	struct virtq *queue = selected(device);

	if (queue != NULL && offset == QUEUE_READY)
		write_queue_ready(device, queue, value);
	if (queue == NULL || offset == QUEUE_READY || queue->ready || (device->status & VIRTIO_STATUS_DRIVER_OK) != 0)
		return;
	switch (offset) {
	case QUEUE_NUM:
		queue->size = value <= VIRTQ_SIZE_MAX && (value & (value - 1)) == 0 ? (uint16_t)value : 0;
		break;
	case QUEUE_DESC_LOW:
		set_low(&queue->descriptors, value);
		break;
	case QUEUE_DESC_HIGH:
		set_high(&queue->descriptors, value);
		break;
	case QUEUE_DRIVER_LOW:
		set_low(&queue->available, value);
		break;
	case QUEUE_DRIVER_HIGH:
		set_high(&queue->available, value);
		break;
	case QUEUE_DEVICE_LOW:
		set_low(&queue->used, value);
		break;
	default:
		set_high(&queue->used, value);
		break;
	}
}

static void write_features(struct virtio_device *device, uint32_t value)
{
	/* frozen once FEATURES_OK is set (§2.2.1) */
	if ((device->status & VIRTIO_STATUS_FEATURES_OK) != 0 || device->driver_features_select > 1)
		return;
	if (device->driver_features_select == 0)
		set_low(&device->accepted, value);
	else
		set_high(&device->accepted, value);
}

static void write_register(struct virtio_device *device, uint64_t offset, uint32_t value)
{
	switch (offset) {
	case DEVICE_FEATURES_SEL:
		device->device_features_select = value;
		break;
	case DRIVER_FEATURES:
		write_features(device, value);
		break;
	case DRIVER_FEATURES_SEL:
		device->driver_features_select = value;
		break;
	case QUEUE_SEL:
		device->queue_select = value;
		break;
	case QUEUE_NUM:
	case QUEUE_READY:
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH:
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH:
	case QUEUE_DEVICE_LOW:
	case QUEUE_DEVICE_HIGH:
		write_queue_register(device, offset, value);
		break;
	case STATUS:
		write_status(device, value);
		break;
	default: /* QUEUE_NOTIFY of a queue that is there never comes here: KVM takes it */
		break;
	}
}

/* Whether an access lies wholly in the device's configuration. */
static bool in_config(const struct virtio_device *device, uint64_t offset, unsigned size)
{
	return offset >= CONFIG && offset - CONFIG <= device->class->config_size &&
	       size <= device->class->config_size - (offset - CONFIG);
}

static uint64_t mmio_read(void *context, uint64_t offset, unsigned size)
{
	struct virtio_device *device = context;
	uint64_t value = 0;

	/* the two registers of an interrupt handler do not wait for the main thread, which may be at work for this device */
	if (offset == INTERRUPT_STATUS && size == 4)
		return atomic_load(&device->interrupt_status);
	pthread_mutex_lock(&device->lock);
	if (in_config(device, offset, size))
		device->class->read_config(device, (size_t)(offset - CONFIG), (uint8_t *)&value, size);
	else if (offset < CONFIG && size == 4)
		value = read_register(device, offset);
	pthread_mutex_unlock(&device->lock);
	return value;
}

/* Whether the write starts or stops the device: the class then talks to files, sockets and processes. */
static bool starts_or_stops(uint64_t offset, uint32_t value)
{
	return (offset == STATUS && (value == 0 || (value & VIRTIO_STATUS_DRIVER_OK) != 0)) ||
	       (offset == QUEUE_READY && value == 0);
}

static void perform(struct virtio_device *device, uint64_t offset, unsigned size, uint64_t value)
{
	pthread_mutex_lock(&device->lock);
	if (in_config(device, offset, size)) {
		if (device->class->write_config != NULL)
			device->class->write_config(device, (size_t)(offset - CONFIG), (const uint8_t *)&value, size);
	} else if (offset < CONFIG && size == 4) {
		write_register(device, offset, (uint32_t)value);
	}
	virtio_mmio_publish(device);
	pthread_mutex_unlock(&device->lock);
}

void virtio_mmio_perform(struct virtio_device *device, uint64_t offset, uint32_t value)
{
	perform(device, offset, sizeof(value), value);
}

static void mmio_write(void *context, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio_device *device = context;

	if (offset == INTERRUPT_ACK && size == 4) {
		if (device->always_used)
			value &= ~(uint64_t)USED_BUFFER;
		atomic_fetch_and(&device->interrupt_status, ~(uint32_t)value);
		if (device->registers == NULL)
			return;
	}
	if (device->hand_over != NULL && size == 4 && starts_or_stops(offset, (uint32_t)value)) {
		device->hand_over(device->hand_over_context, device, offset, (uint32_t)value);
		return;
	}
	perform(device, offset, size, value);
}

const struct bus_ops VIRTIO_MMIO_OPS = {.widths = 1 | 2 | 4 | 8, .read = mmio_read, .write = mmio_write};
