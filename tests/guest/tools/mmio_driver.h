/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_GUEST_MMIO_DRIVER_H
#define SPMVM_TESTS_GUEST_MMIO_DRIVER_H

/*
 * A virtio driver in a process (virtio 1.2 §3.1, §4.2.2): registers through /dev/mem, rings and buffers in an SPM block
 * that is mapped through its dax device. The kernel's own driver must have been unbound. No interrupts: it polls.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum {
	REG_MAGIC = 0x00,
	REG_DEVICE_ID = 0x08,
	REG_DEVICE_FEATURES = 0x10,
	REG_DEVICE_FEATURES_SEL = 0x14,
	REG_DRIVER_FEATURES = 0x20,
	REG_DRIVER_FEATURES_SEL = 0x24,
	REG_QUEUE_SEL = 0x30,
	REG_QUEUE_NUM_MAX = 0x34,
	REG_QUEUE_NUM = 0x38,
	REG_QUEUE_READY = 0x44,
	REG_QUEUE_NOTIFY = 0x50,
	REG_STATUS = 0x70,
	REG_QUEUE_DESC = 0x80,
	REG_QUEUE_DRIVER = 0x90,
	REG_QUEUE_DEVICE = 0xa0,
	REG_CONFIG = 0x100,
};
enum { ACKNOWLEDGE = 1, DRIVER = 2, DRIVER_OK = 4, FEATURES_OK = 8, NEEDS_RESET = 64, SET_UP = 11, RUNS = 15 };
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

#define F_INDIRECT  (UINT64_C(1) << 28)
#define F_EVENT_IDX (UINT64_C(1) << 29)
#define F_VERSION_1 (UINT64_C(1) << 32)

/*
 * Each device has a share of the block, in which each queue has a page for each of its three areas, and buffers of a page
 * each behind them.
 */
enum { QUEUES = 16, SIZE = 64, PAGE = 4096, DATA_PAGES = 64, AREA = (3 + DATA_PAGES) * PAGE, SHARE = QUEUES * AREA };

struct memory {
	uint8_t *at;        /* here */
	uint64_t gpa, size; /* there */
};

struct device {
	volatile uint8_t *registers;
	const struct memory *memory;
	uint32_t id; /* virtio 1.2 §5 */
	unsigned number, queues;
};

static inline uint32_t get(const struct device *d, unsigned offset)
{
	return *(volatile uint32_t *)(volatile void *)(d->registers + offset);
}

static inline void set(const struct device *d, unsigned offset, uint32_t value)
{
	*(volatile uint32_t *)(volatile void *)(d->registers + offset) = value;
}

static inline uint64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Where the areas of a queue are in the block: part 0 descriptors, 1 available, 2 used, 3 and up buffers. */
static inline uint64_t place(const struct device *d, unsigned queue, unsigned part)
{
	return (uint64_t)d->number * SHARE + (uint64_t)queue * AREA + (uint64_t)part * PAGE;
}

static inline uint8_t *at(const struct device *d, unsigned queue, unsigned part)
{
	return d->memory->at + place(d, queue, part);
}

static inline uint64_t gpa(const struct device *d, unsigned queue, unsigned part)
{
	return d->memory->gpa + place(d, queue, part);
}

static inline bool reset(const struct device *d)
{
	set(d, REG_STATUS, 0);
	return get(d, REG_STATUS) == 0;
}

static inline uint64_t offered(const struct device *d)
{
	uint64_t features;

	set(d, REG_DEVICE_FEATURES_SEL, 1);
	features = (uint64_t)get(d, REG_DEVICE_FEATURES) << 32;
	set(d, REG_DEVICE_FEATURES_SEL, 0);
	return features | get(d, REG_DEVICE_FEATURES);
}

static inline void accept_features(const struct device *d, uint64_t features)
{
	set(d, REG_DRIVER_FEATURES_SEL, 1);
	set(d, REG_DRIVER_FEATURES, (uint32_t)(features >> 32));
	set(d, REG_DRIVER_FEATURES_SEL, 0);
	set(d, REG_DRIVER_FEATURES, (uint32_t)features);
}

static inline void set_address(const struct device *d, unsigned offset, uint64_t address)
{
	set(d, offset, (uint32_t)address);
	set(d, offset + 4, (uint32_t)(address >> 32));
}

/* Reset, features, all queues set up and empty; DRIVER_OK is the caller's. Whether the device agreed. */
static inline bool prepare(const struct device *d, uint64_t wanted)
{
	if (!reset(d))
		return false;
	memset(at(d, 0, 0), 0, SHARE);
	set(d, REG_STATUS, ACKNOWLEDGE);
	set(d, REG_STATUS, ACKNOWLEDGE | DRIVER);
	accept_features(d, wanted & offered(d));
	set(d, REG_STATUS, SET_UP);
	for (unsigned i = 0; i < d->queues; i++) {
		set(d, REG_QUEUE_SEL, i);
		set(d, REG_QUEUE_NUM, SIZE);
		set_address(d, REG_QUEUE_DESC, gpa(d, i, 0));
		set_address(d, REG_QUEUE_DRIVER, gpa(d, i, 1));
		set_address(d, REG_QUEUE_DEVICE, gpa(d, i, 2));
		set(d, REG_QUEUE_READY, 1);
	}
	return get(d, REG_STATUS) == SET_UP;
}

static inline bool start(const struct device *d, uint64_t wanted)
{
	if (!prepare(d, wanted))
		return false;
	set(d, REG_STATUS, RUNS);
	return get(d, REG_STATUS) == RUNS;
}

static inline void put16(uint8_t *bytes, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)bytes, value, __ATOMIC_RELEASE);
}

static inline uint16_t get16(const uint8_t *bytes)
{
	return __atomic_load_n((const uint16_t *)(const void *)bytes, __ATOMIC_ACQUIRE);
}

/* A descriptor of a table, the queue's own or an indirect one. */
static inline void describe(uint8_t *table, unsigned number, uint64_t address, uint32_t length, uint16_t flags,
			    uint16_t next)
{
	uint8_t *bytes = table + 16 * number;

	memcpy(bytes, &address, 8);
	memcpy(bytes + 8, &length, 4);
	memcpy(bytes + 12, &flags, 2);
	memcpy(bytes + 14, &next, 2);
}

static inline void notify(const struct device *d, unsigned queue)
{
	set(d, REG_QUEUE_NOTIFY, queue);
}

/* One more available head. */
static inline void publish(const struct device *d, unsigned queue, uint16_t head)
{
	uint8_t *ring = at(d, queue, 1);
	uint16_t index = get16(ring + 2);

	put16(ring + 4 + 2 * (index % SIZE), head);
	put16(ring + 2, (uint16_t)(index + 1));
	notify(d, queue);
}

/* Waits until the device has used count chains of the queue; false after three seconds. */
static inline bool wait_used(const struct device *d, unsigned queue, uint16_t count)
{
	uint64_t end = milliseconds() + 3000;

	while (get16(at(d, queue, 2) + 2) != count) {
		if (milliseconds() > end)
			return false;
	}
	return true;
}

/* What the device says that it has written into the queue's used chain number index. */
static inline uint32_t written(const struct device *d, unsigned queue, unsigned index)
{
	uint32_t size;

	memcpy(&size, at(d, queue, 2) + 4 + 8 * index + 4, 4);
	return size;
}

/*
 * A chain of readable bytes (buffer part 3) and room for writable ones (part 4), from descriptor 0 on. Either may be 0.
 */
static inline void ask(const struct device *d, unsigned queue, const void *bytes, uint32_t readable, uint32_t writable)
{
	uint8_t *table = at(d, queue, 0);

	memcpy(at(d, queue, 3), bytes, readable);
	if (readable > 0)
		describe(table, 0, gpa(d, queue, 3), readable, writable > 0 ? DESC_NEXT : 0, 1);
	if (writable > 0)
		describe(table, readable > 0, gpa(d, queue, 4), writable, DESC_WRITE, 0);
	publish(d, queue, 0);
}

#endif
