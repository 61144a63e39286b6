/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_VIRTIO_H
#define SPMVM_DEVICES_VIRTIO_VIRTIO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"
#include "devices/virtio/queue.h"
#include "vmm/base/counter.h"
#include "vmm/base/log.h"

/*
 * A virtio device (virtio 1.2) is this state plus a class of functions; the registers that the guest sees are the transport's
 * (devices/virtio/mmio.h). Everything is guarded by the device's lock: the transport takes it for register accesses on vcpu
 * threads and for kicks on the main thread, and calls the class with it held. What a class does on other threads (an io_uring
 * completion, a vhost call) takes the lock itself.
 */
enum {
	VIRTIO_QUEUES_MAX = 16,
	VIRTIO_WATCH_MAX = 4,
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLOCK = 2,
	VIRTIO_ID_CONSOLE = 3,
	VIRTIO_ID_RNG = 4,
	VIRTIO_ID_VSOCK = 19,
	VIRTIO_ID_MEM = 24,
	VIRTIO_ID_FS = 26,
};

/*
 * §6: features of every device here; a class offers its own beside them. Masks; <linux/virtio_config.h> has VIRTIO_F_... of the same names, which are
 * the numbers of the bits.
 */
#define VIRTIO_FEATURE_INDIRECT_DESC (UINT64_C(1) << 28)
#define VIRTIO_FEATURE_EVENT_IDX     (UINT64_C(1) << 29)
#define VIRTIO_FEATURE_VERSION_1     (UINT64_C(1) << 32)

/* §2.1: device status */
enum {
	VIRTIO_STATUS_ACKNOWLEDGE = 1,
	VIRTIO_STATUS_DRIVER = 2,
	VIRTIO_STATUS_DRIVER_OK = 4,
	VIRTIO_STATUS_FEATURES_OK = 8,
	VIRTIO_STATUS_NEEDS_RESET = 64,
	VIRTIO_STATUS_FAILED = 128,
};

struct virtio_device;

/* What every device counts, under its lock (virtio_show_counters()). */
struct virtio_counters {
	struct counter resets, needs_resets, config_changes;
	/* not of a device whose queues are served elsewhere (vhost): nobody here sees these */
	struct counter kicks, interrupts;
};

struct virtio_class {
	const char *name; /* "blk": for messages */
	uint32_t id;
	/*
	 * Device configuration (§2.5): size bytes at offset, which lie within config_size. write may be NULL: writes are ignored.
	 */
	size_t config_size;
	/* fields of more than 32 bits change while the driver may read them: every read must come here (see registers) */
	bool wide_config;
	void (*read_config)(struct virtio_device *device, size_t offset, uint8_t *bytes, size_t size);
	void (*write_config)(struct virtio_device *device, size_t offset, const uint8_t *bytes, size_t size);
	/*
	 * The rest of the start, when the process has given up what it has no need of: threads that the host's kernel makes for it now are
	 * confined with it. Main thread, once, before the first vcpu runs; nothing can be opened any more. NULL: there is none.
	 */
	int (*begin)(struct virtio_device *device, struct error *err);
	/* DRIVER_OK: the queues that are ready were started. -errno makes the device NEEDS_RESET. May be NULL. */
	int (*activate)(struct virtio_device *device);
	/*
	 * Everything in flight ends; guest memory is not touched any more when it returns. On the main thread, as activate is. Also called before
	 * release, twice in a row, and without activate before it. May be NULL.
	 */
	void (*reset)(struct virtio_device *device);
	/*
	 * The device has come to need a reset (virtio_needs_reset()), and the driver may take long to see to it: who
	 * works on its rings elsewhere, a vhost back end, does not touch guest memory any more when this returns. In
	 * the middle of whatever the class, or the transport, found the reason in. NULL for a class that works in this
	 * process alone, whose broken queues yield nothing.
	 */
	void (*stop)(struct virtio_device *device);
	/*
	 * The driver kicked a ready queue, or may have. Main thread. A class does a bounded amount of work here, or a guest that adds buffers as
	 * fast as they are taken keeps the main loop for itself: virtio_kick_again() for the rest. NULL for devices whose kicks a
	 * vhost back end takes.
	 */
	void (*kick)(struct virtio_device *device, unsigned queue);
	/* One of watch_fds is readable, or its other end is gone. Main thread; called WITHOUT the lock. */
	void (*readable)(struct virtio_device *device, int fd);
	/* Shows what the class counts beside struct virtio_counters; without the lock, any thread. NULL: nothing. */
	void (*counters)(const struct virtio_device *device, const struct counter_sink *sink);
};

struct virtio_device {
	const struct virtio_class *class;
	const char *option; /* "--blk path=disk.img", for messages; borrowed */
	const struct log *log;
	struct log_limit log_limit;
	const struct guest_mem *mem; /* borrowed; set by the machine before the first vcpu runs */
	pthread_mutex_t lock;

	unsigned queue_count;
	struct virtq queues[VIRTIO_QUEUES_MAX];
	int kick_fds[VIRTIO_QUEUES_MAX]; /* eventfds that KVM signals; -1 when unset */
	/*
	 * What the main loop watches for input (level-triggered, class->readable), -1 when unset. Owned by the class; filled by its x_init(), and after that
	 * only ever closed and set to -1. A class that watches by turns, or for output, or many descriptors, puts an epoll descriptor of its own
	 * here: that one is readable when something in it is ready, and any thread may change what it watches.
	 */
	int watch_fds[VIRTIO_WATCH_MAX];
	uint64_t offered;  /* features of the class and of the transport */
	uint64_t accepted; /* by the driver, a subset of offered */
	uint8_t status;
	uint32_t config_generation;
	struct dev_irq broken_irq; /* pulsed each time that counters.needs_resets grows */

	struct dev_irq irq;
	atomic_uint interrupt_status; /* §4.2.2, InterruptStatus: 1 used buffer, 2 configuration change */
	/*
	 * Interrupts come from a vhost back end behind our back, or the driver's acknowledgement of them goes nowhere: from DRIVER_OK to the reset
	 * InterruptStatus says "used buffer". See devices/virtio/mmio.h.
	 */
	atomic_bool always_used;
	struct virtio_counters counters;
	uint8_t *registers; /* the page that the guest reads instead of asking us, or NULL; borrowed */
	/*
	 * Has another thread call virtio_mmio_perform() with the same arguments, and returns when that is done. For writes
	 * that take more system calls than a vcpu's thread has need of otherwise. NULL: they are done in place.
	 */
	void (*hand_over)(void *context, struct virtio_device *device, uint64_t offset, uint32_t value);
	void *hand_over_context;

	/* registers that select or are halves of something (§4.2.2) */
	uint32_t device_features_select, driver_features_select, queue_select;
};

/*
 * Makes the common part. features: those of the class; the transport's are added. kick eventfds are made here. -errno with nothing left behind. The
 * device must not move in memory afterwards.
 */
int virtio_init(struct virtio_device *device, const struct virtio_class *class, unsigned queue_count,
		uint64_t features);

/* Resets the device and releases the common part. Takes a zeroed device too. */
void virtio_release(struct virtio_device *device);

/* Main thread: a kick eventfd is readable. */
void virtio_kicked(struct virtio_device *device, unsigned queue);

/* Any thread: class->kick is called once more for this queue, after whatever else the main loop has to do. */
void virtio_kick_again(struct virtio_device *device, unsigned queue);

/* Any thread: shows all that the device counts. */
void virtio_show_counters(const struct virtio_device *device, const struct counter_sink *sink);

/* Lock held: interrupts the driver if it wants one for what was pushed to this queue. */
void virtio_interrupt(struct virtio_device *device, unsigned queue);

/* Lock held: the configuration has changed (§2.5.1: a new generation, then the interrupt). */
void virtio_config_changed(struct virtio_device *device);

/*
 * Lock held: the guest broke a rule, or a back end died. The driver finds DEVICE_NEEDS_RESET (§2.1.2), queues yield nothing until it resets the device. A
 * rate-limited line says what happened, and class->stop is called. Only the first call until then counts.
 */
void virtio_needs_reset(struct virtio_device *device, const char *why);

#endif
