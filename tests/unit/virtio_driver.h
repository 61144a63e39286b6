/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_VIRTIO_DRIVER_H
#define SPMVM_TESTS_UNIT_VIRTIO_DRIVER_H

/*
 * A guest for tests of virtio devices: memory, and a driver that does what Linux's virtio_mmio and virtio_ring do. It talks to the device through
 * VIRTIO_MMIO_OPS, its kicks go into the device's eventfds as KVM's would, interrupts are counted, and driver_work() stands for the main loop.
 * Rings are built by the book (driver_add()) or field by field (driver_set_descriptor(), driver_publish()) for a driver that breaks rules.
 * Header only; link devices/virtio, devices/device.c, vmm/memory/guest_mem.c and vmm/base.
 *
 *	struct virtio_driver driver;
 *
 *	driver_init(&driver, &blk.device);                     // memory and interrupt; before the device is used
 *	driver_start(&driver, DRIVER_ALL_FEATURES, 16);        // reset .. DRIVER_OK, every queue with 16 descriptors
 *	gpa = driver_alloc(&driver, 512, 16);
 *	head = driver_add(&driver, 0, (struct driver_buffer[]){{gpa, 16, false}, {gpa + 16, 1, true}}, 2);
 *	driver_kick(&driver, 0);
 *	driver_work(&driver, 1000);                            // device->class->kick, ->readable until there is nothing to do
 *	assert_int_equal(driver_take(&driver, 0, &written), head);
 *	driver_release(&driver);
 *
 * What cannot fail in a good test aborts with a line that says where, so any thread may use it. No function here is for two threads
 * at once on one queue; driver_work() may run in a thread of its own.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "devices/virtio/mmio.h"
#include "devices/virtio/virtio.h"
#include "vmm/memory/guest_mem.h"

#define DRIVER_GPA          UINT64_C(0x100000) /* where the guest's memory starts; there is none below and behind */
#define DRIVER_MEMORY       UINT64_C(0x1000000)
#define DRIVER_ALL_FEATURES UINT64_MAX

enum {
	DRIVER_DESC_NEXT = 1,
	DRIVER_DESC_WRITE = 2,
	DRIVER_DESC_INDIRECT = 4,
};

/* The registers of virtio 1.2 §4.2.2, once more and on purpose not the device's own names. */
enum {
	DRIVER_REG_MAGIC = 0x000,
	DRIVER_REG_VERSION = 0x004,
	DRIVER_REG_DEVICE_ID = 0x008,
	DRIVER_REG_VENDOR_ID = 0x00c,
	DRIVER_REG_DEVICE_FEATURES = 0x010,
	DRIVER_REG_DEVICE_FEATURES_SEL = 0x014,
	DRIVER_REG_DRIVER_FEATURES = 0x020,
	DRIVER_REG_DRIVER_FEATURES_SEL = 0x024,
	DRIVER_REG_QUEUE_SEL = 0x030,
	DRIVER_REG_QUEUE_NUM_MAX = 0x034,
	DRIVER_REG_QUEUE_NUM = 0x038,
	DRIVER_REG_QUEUE_READY = 0x044,
	DRIVER_REG_INTERRUPT_STATUS = 0x060,
	DRIVER_REG_INTERRUPT_ACK = 0x064,
	DRIVER_REG_STATUS = 0x070,
	DRIVER_REG_QUEUE_DESC = 0x080, /* low half; the high one is 4 above */
	DRIVER_REG_QUEUE_DRIVER = 0x090,
	DRIVER_REG_QUEUE_DEVICE = 0x0a0,
	DRIVER_REG_SHM_LEN = 0x0b0,
	DRIVER_REG_CONFIG_GENERATION = 0x0fc,
	DRIVER_REG_CONFIG = 0x100,
};

struct driver_buffer {
	uint64_t gpa;
	uint32_t size;
	bool write; /* by the device */
};

struct driver_queue {
	uint16_t size; /* 0: not set up */
	uint64_t descriptors, available, used;
	uint16_t next_available; /* idx that was published last */
	uint16_t kicked;         /* idx at the last driver_kick() */
	uint16_t next_used;      /* the next used entry to look at */
	uint16_t free_count;
	bool is_free[VIRTQ_SIZE_MAX];
};

struct virtio_driver {
	struct virtio_device *device; /* borrowed */
	struct guest_mem mem;
	int memfd;     /* behind the memory, for devices that hand it to a process of their own */
	uint64_t next; /* where driver_alloc() goes on */
	int irq;       /* device->irq.eventfd */
	uint64_t features;
	struct driver_queue queues[VIRTIO_QUEUES_MAX];
	uint64_t interrupts, used_interrupts, config_interrupts, kicks; /* counted so far */
};

#define driver_require(condition) driver_require_at((condition), #condition, __FILE__, __LINE__)

static inline void driver_require_at(bool condition, const char *text, const char *file, int line)
{
	if (condition)
		return;
	fprintf(stderr, "%s:%d: the fake driver needs: %s\n", file, line, text);
	abort();
}

/* ------------------------------------------------------------------------------------------------- memory */

static inline void *driver_at(const struct virtio_driver *driver, uint64_t gpa)
{
	void *at = guest_mem_at(&driver->mem, gpa, 1);

	driver_require(at != NULL);
	return at;
}

/* Zeroed guest memory; it comes back only with driver_release(). */
static inline uint64_t driver_alloc(struct virtio_driver *driver, uint64_t size, uint64_t alignment)
{
	uint64_t gpa = align_up(driver->next, alignment);

	driver_require(size <= DRIVER_MEMORY && gpa + size <= DRIVER_GPA + DRIVER_MEMORY);
	driver->next = gpa + size;
	return gpa;
}

/* The same with bytes in it. */
static inline uint64_t driver_put(struct virtio_driver *driver, const void *bytes, size_t size)
{
	uint64_t gpa = driver_alloc(driver, size, 16);

	memcpy(driver_at(driver, gpa), bytes, size);
	return gpa;
}

/* From here on it drives this device, which is initialised. */
static inline void driver_attach(struct virtio_driver *driver, struct virtio_device *device)
{
	driver->device = device;
	device->mem = &driver->mem;
	device->irq.eventfd = driver->irq;
}

/* device may be NULL when there is none without the memory: then driver_attach() it before the rest. */
static inline void driver_init(struct virtio_driver *driver, struct virtio_device *device)
{
	struct range range = {DRIVER_GPA, DRIVER_MEMORY};
	struct error err;
	void *at;

	*driver = (struct virtio_driver){.next = DRIVER_GPA};
	driver->memfd = memfd_create("guest", MFD_CLOEXEC);
	driver->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	driver_require(driver->memfd >= 0 && driver->irq >= 0);
	driver_require(ftruncate(driver->memfd, (off_t)DRIVER_MEMORY) == 0);
	driver_require(guest_mem_reserve(&driver->mem, range, &err) == 0);
	at = mmap(driver->mem.runs[0].hva, DRIVER_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, driver->memfd,
		  0);
	driver_require(at == driver->mem.runs[0].hva);
	if (device != NULL)
		driver_attach(driver, device);
}

/* The device must not use the memory any more: release it first, or reset it. */
static inline void driver_release(struct virtio_driver *driver)
{
	guest_mem_release(&driver->mem);
	close(driver->memfd);
	close(driver->irq);
}

/* ------------------------------------------------------------------------------------------------- registers */

static inline uint32_t driver_read(const struct virtio_driver *driver, uint64_t offset)
{
	return (uint32_t)VIRTIO_MMIO_OPS.read(driver->device, offset, 4);
}

static inline void driver_write(const struct virtio_driver *driver, uint64_t offset, uint32_t value)
{
	VIRTIO_MMIO_OPS.write(driver->device, offset, 4, value);
}

/* Device configuration, byte by byte as Linux reads arrays. */
static inline void driver_read_config(const struct virtio_driver *driver, size_t offset, void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)bytes)[i] =
			(uint8_t)VIRTIO_MMIO_OPS.read(driver->device, DRIVER_REG_CONFIG + offset + i, 1);
}

static inline void driver_add_status(const struct virtio_driver *driver, uint32_t bits)
{
	driver_write(driver, DRIVER_REG_STATUS, driver_read(driver, DRIVER_REG_STATUS) | bits);
}

static inline uint64_t driver_offered(const struct virtio_driver *driver)
{
	uint64_t low;

	driver_write(driver, DRIVER_REG_DEVICE_FEATURES_SEL, 0);
	low = driver_read(driver, DRIVER_REG_DEVICE_FEATURES);
	driver_write(driver, DRIVER_REG_DEVICE_FEATURES_SEL, 1);
	return low | (uint64_t)driver_read(driver, DRIVER_REG_DEVICE_FEATURES) << 32;
}

static inline void driver_accept(struct virtio_driver *driver, uint64_t features)
{
	driver_write(driver, DRIVER_REG_DRIVER_FEATURES_SEL, 1);
	driver_write(driver, DRIVER_REG_DRIVER_FEATURES, (uint32_t)(features >> 32));
	driver_write(driver, DRIVER_REG_DRIVER_FEATURES_SEL, 0);
	driver_write(driver, DRIVER_REG_DRIVER_FEATURES, (uint32_t)features);
	driver->features = features;
}

/* Resets the device; the queues are forgotten, memory is not. */
static inline void driver_reset(struct virtio_driver *driver)
{
	driver_write(driver, DRIVER_REG_STATUS, 0);
	driver_require(driver_read(driver, DRIVER_REG_STATUS) == 0);
	memset(driver->queues, 0, sizeof(driver->queues));
}

/* §3.1.1 steps 1 to 6: reset, ACKNOWLEDGE, DRIVER, those of the wanted features that are offered. Whether FEATURES_OK was granted. */
static inline bool driver_probe(struct virtio_driver *driver, uint64_t wanted)
{
	driver_reset(driver);
	driver_add_status(driver, VIRTIO_STATUS_ACKNOWLEDGE);
	driver_add_status(driver, VIRTIO_STATUS_DRIVER);
	driver_accept(driver, wanted & driver_offered(driver));
	driver_add_status(driver, VIRTIO_STATUS_FEATURES_OK);
	return (driver_read(driver, DRIVER_REG_STATUS) & VIRTIO_STATUS_FEATURES_OK) != 0;
}

static inline void driver_write_address(const struct virtio_driver *driver, uint64_t offset, uint64_t gpa)
{
	driver_write(driver, offset, (uint32_t)gpa);
	driver_write(driver, offset + 4, (uint32_t)(gpa >> 32));
}

/* Tells the device what is in driver->queues[index] and whether it took it (QueueReady reads 1). */
static inline bool driver_announce_queue(const struct virtio_driver *driver, unsigned index)
{
	const struct driver_queue *queue = &driver->queues[index];

	driver_write(driver, DRIVER_REG_QUEUE_SEL, index);
	driver_write(driver, DRIVER_REG_QUEUE_NUM, queue->size);
	driver_write_address(driver, DRIVER_REG_QUEUE_DESC, queue->descriptors);
	driver_write_address(driver, DRIVER_REG_QUEUE_DRIVER, queue->available);
	driver_write_address(driver, DRIVER_REG_QUEUE_DEVICE, queue->used);
	driver_write(driver, DRIVER_REG_QUEUE_READY, 1);
	return driver_read(driver, DRIVER_REG_QUEUE_READY) == 1;
}

/* Allocates a queue's rings without telling the device. */
static inline void driver_make_queue(struct virtio_driver *driver, unsigned index, uint16_t size)
{
	struct driver_queue *queue = &driver->queues[index];

	*queue = (struct driver_queue){.size = size, .free_count = size};
	queue->descriptors = driver_alloc(driver, 16u * size, 16);
	queue->available = driver_alloc(driver, 6u + 2u * size, 2);
	queue->used = driver_alloc(driver, 6u + 8u * size, 4);
	for (unsigned i = 0; i < size; i++)
		queue->is_free[i] = true;
}

static inline void driver_setup_queue(struct virtio_driver *driver, unsigned index, uint16_t size)
{
	driver_make_queue(driver, index, size);
	driver_require(driver_announce_queue(driver, index));
}

/* The whole of §3.1.1, all queues of the device with size descriptors each. Whether the device runs in the end. */
static inline bool driver_start(struct virtio_driver *driver, uint64_t wanted, uint16_t size)
{
	if (!driver_probe(driver, wanted))
		return false;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
		driver_write(driver, DRIVER_REG_QUEUE_SEL, i);
		if (driver_read(driver, DRIVER_REG_QUEUE_NUM_MAX) >= size)
			driver_setup_queue(driver, i, size);
	}
	driver_add_status(driver, VIRTIO_STATUS_DRIVER_OK);
	return driver_read(driver, DRIVER_REG_STATUS) == 15;
}

static inline bool driver_needs_reset(const struct virtio_driver *driver)
{
	return (driver_read(driver, DRIVER_REG_STATUS) & VIRTIO_STATUS_NEEDS_RESET) != 0;
}

/* ------------------------------------------------------------------------------------------------- rings */

static inline uint16_t *driver_u16(const struct virtio_driver *driver, uint64_t gpa)
{
	return (uint16_t *)driver_at(driver, gpa);
}

static inline uint16_t driver_load(const struct virtio_driver *driver, uint64_t gpa)
{
	return __atomic_load_n(driver_u16(driver, gpa), __ATOMIC_ACQUIRE);
}

static inline void driver_store(const struct virtio_driver *driver, uint64_t gpa, uint16_t value)
{
	__atomic_store_n(driver_u16(driver, gpa), value, __ATOMIC_RELEASE);
}

/* Writes descriptor number place of the table at gpa (the queue's own, or an indirect one). */
static inline void driver_write_descriptor(const struct virtio_driver *driver, uint64_t table, unsigned place,
					   uint64_t gpa, uint32_t size, uint16_t flags, uint16_t next)
{
	uint8_t *at = driver_at(driver, table + 16u * place);

	memcpy(at, &gpa, 8);
	memcpy(at + 8, &size, 4);
	memcpy(at + 12, &flags, 2);
	memcpy(at + 14, &next, 2);
}

static inline void driver_set_descriptor(const struct virtio_driver *driver, unsigned index, unsigned place,
					 uint64_t gpa, uint32_t size, uint16_t flags, uint16_t next)
{
	driver_write_descriptor(driver, driver->queues[index].descriptors, place, gpa, size, flags, next);
}

/* Puts a head into the available ring and moves idx on, whatever it is. */
static inline void driver_publish(struct virtio_driver *driver, unsigned index, uint16_t head)
{
	struct driver_queue *queue = &driver->queues[index];

	driver_store(driver, queue->available + 4 + 2u * (queue->next_available % queue->size), head);
	queue->next_available++;
	driver_store(driver, queue->available + 2, queue->next_available);
}

static inline int driver_take_free(struct driver_queue *queue)
{
	for (unsigned i = 0; i < queue->size; i++) {
		if (queue->is_free[i]) {
			queue->is_free[i] = false;
			queue->free_count--;
			return (int)i;
		}
	}
	return -1;
}

/* Makes a chain of count buffers available; its head, or -1 when there are not enough descriptors. Does not kick. */
static inline int driver_add(struct virtio_driver *driver, unsigned index, const struct driver_buffer *buffers,
			     unsigned count)
{
	struct driver_queue *queue = &driver->queues[index];
	int places[VIRTQ_SIZE_MAX + 1];

	driver_require(count > 0 && count <= VIRTQ_SIZE_MAX);
	if (queue->free_count < count)
		return -1;
	for (unsigned i = 0; i < count; i++)
		places[i] = driver_take_free(queue);
	places[count] = 0;
	for (unsigned i = 0; i < count; i++) {
		uint16_t flags =
			(uint16_t)((i + 1 < count ? DRIVER_DESC_NEXT : 0) | (buffers[i].write ? DRIVER_DESC_WRITE : 0));

		driver_set_descriptor(driver, index, (unsigned)places[i], buffers[i].gpa, buffers[i].size, flags,
				      (uint16_t)places[i + 1]);
	}
	driver_publish(driver, index, (uint16_t)places[0]);
	return places[0];
}

/* The same through one indirect descriptor; table has room for count descriptors, 0 allocates it. */
static inline int driver_add_indirect(struct virtio_driver *driver, unsigned index, uint64_t table,
				      const struct driver_buffer *buffers, unsigned count)
{
	int head = driver_take_free(&driver->queues[index]);

	if (head < 0)
		return -1;
	if (table == 0)
		table = driver_alloc(driver, 16u * count, 16);
	for (unsigned i = 0; i < count; i++) {
		uint16_t flags =
			(uint16_t)((i + 1 < count ? DRIVER_DESC_NEXT : 0) | (buffers[i].write ? DRIVER_DESC_WRITE : 0));

		driver_write_descriptor(driver, table, i, buffers[i].gpa, buffers[i].size, flags, (uint16_t)(i + 1));
	}
	driver_set_descriptor(driver, index, (unsigned)head, table, 16u * count, DRIVER_DESC_INDIRECT, 0);
	driver_publish(driver, index, (uint16_t)head);
	return head;
}

/* Kicks as if KVM had taken a write to QueueNotify, whether the device wants it or not. */
static inline void driver_kick_always(struct virtio_driver *driver, unsigned index)
{
	const uint64_t one = 1;

	driver->kicks++;
	driver_require(write(driver->device->kick_fds[index], &one, sizeof(one)) == sizeof(one));
}

/* Kicks if the device wants to know of what was added since this was asked last (§2.7.7, §2.7.10); whether it did. */
static inline bool driver_kick(struct virtio_driver *driver, unsigned index)
{
	struct driver_queue *queue = &driver->queues[index];
	uint16_t previous = queue->kicked, added = queue->next_available, event;

	queue->kicked = added;
	atomic_thread_fence(memory_order_seq_cst);
	if ((driver->features & VIRTIO_FEATURE_EVENT_IDX) != 0) {
		event = driver_load(driver, queue->used + 4 + 8u * queue->size);
		if ((uint16_t)(added - event - 1) >= (uint16_t)(added - previous))
			return false;
	} else if ((driver_load(driver, queue->used) & 1) != 0) {
		return false;
	}
	driver_kick_always(driver, index);
	return true;
}

static inline bool driver_has_used(const struct virtio_driver *driver, unsigned index)
{
	const struct driver_queue *queue = &driver->queues[index];

	return driver_load(driver, queue->used + 2) != queue->next_used;
}

/* Gives the descriptors of a chain back, as far as its links go. */
static inline void driver_free_chain(struct virtio_driver *driver, unsigned index, unsigned head)
{
	struct driver_queue *queue = &driver->queues[index];

	for (unsigned place = head; place < queue->size && !queue->is_free[place];) {
		const uint8_t *at = driver_at(driver, queue->descriptors + 16u * place);
		uint16_t flags, next;

		memcpy(&flags, at + 12, 2);
		memcpy(&next, at + 14, 2);
		queue->is_free[place] = true;
		queue->free_count++;
		if ((flags & DRIVER_DESC_NEXT) == 0)
			return;
		place = next;
	}
}

/* Takes the next used chain: its head, or -1 when there is none. *written (may be NULL): what the device says it has written. */
static inline int driver_take(struct virtio_driver *driver, unsigned index, uint32_t *written)
{
	struct driver_queue *queue = &driver->queues[index];
	const uint8_t *at;
	uint32_t id, size;

	if (!driver_has_used(driver, index))
		return -1;
	at = driver_at(driver, queue->used + 4 + 8u * (queue->next_used % queue->size));
	memcpy(&id, at, 4);
	memcpy(&size, at + 4, 4);
	driver_require(id < queue->size);
	queue->next_used++;
	driver_free_chain(driver, index, id);
	if (written != NULL)
		*written = size;
	return (int)id;
}

/* Interrupts off and on as Linux does it. On: whether something is there already, and then the caller takes it first. */
static inline void driver_disable_interrupts(struct virtio_driver *driver, unsigned index)
{
	if ((driver->features & VIRTIO_FEATURE_EVENT_IDX) == 0)
		driver_store(driver, driver->queues[index].available, 1);
}

static inline bool driver_enable_interrupts(struct virtio_driver *driver, unsigned index)
{
	const struct driver_queue *queue = &driver->queues[index];

	if ((driver->features & VIRTIO_FEATURE_EVENT_IDX) == 0)
		driver_store(driver, queue->available, 0);
	else
		driver_store(driver, queue->available + 4 + 2u * queue->size, queue->next_used);
	atomic_thread_fence(memory_order_seq_cst);
	return driver_has_used(driver, index);
}

/* ------------------------------------------------------------------------------------------------- interrupts, main loop */

/*
 * Waits up to timeout_ms for an interrupt (0: only looks), acknowledges it as Linux's handler does and counts its causes. The causes (§4.2.2,
 * InterruptStatus), or 0 when none came.
 */
static inline uint32_t driver_wait_interrupt(struct virtio_driver *driver, int timeout_ms)
{
	struct pollfd wait = {.fd = driver->irq, .events = POLLIN};
	uint64_t pulses;
	uint32_t causes;

	if (poll(&wait, 1, timeout_ms) <= 0 || read(driver->irq, &pulses, sizeof(pulses)) != sizeof(pulses))
		return 0;
	causes = driver_read(driver, DRIVER_REG_INTERRUPT_STATUS);
	driver_write(driver, DRIVER_REG_INTERRUPT_ACK, causes);
	driver->interrupts += pulses;
	driver->used_interrupts += causes & 1;
	driver->config_interrupts += causes >> 1 & 1;
	return causes;
}

/*
 * The main loop, for one round: waits up to timeout_ms for a kick or a watched descriptor and lets the device serve what is there. Whether there
 * was something.
 */
static inline bool driver_work_once(const struct virtio_driver *driver, int timeout_ms)
{
	struct virtio_device *device = driver->device;
	struct pollfd wait[VIRTIO_QUEUES_MAX + VIRTIO_WATCH_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		wait[count++] = (struct pollfd){device->class->kick != NULL ? device->kick_fds[i] : -1, POLLIN, 0};
	for (unsigned i = 0; i < VIRTIO_WATCH_MAX; i++)
		wait[count++] = (struct pollfd){device->watch_fds[i], POLLIN, 0};
	if (poll(wait, count, timeout_ms) <= 0)
		return false;
	for (unsigned i = 0; i < count; i++) {
		if (wait[i].revents == 0)
			continue;
		if (i < VIRTIO_QUEUES_MAX)
			virtio_kicked(device, i);
		else if (device->watch_fds[i - VIRTIO_QUEUES_MAX] == wait[i].fd)
			device->class->readable(device, wait[i].fd);
	}
	return true;
}

/* Rounds until nothing happens for idle_ms; aborts after a million, which only a device that never rests takes. */
static inline void driver_work(const struct virtio_driver *driver, int idle_ms)
{
	for (unsigned rounds = 0; driver_work_once(driver, idle_ms); rounds++)
		driver_require(rounds < 1000000);
}

#endif
