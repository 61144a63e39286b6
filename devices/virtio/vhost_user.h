/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_VHOST_USER_H
#define SPMVM_DEVICES_VIRTIO_VHOST_USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/virtio/virtio.h"
#include "vmm/base/error.h"
#include "vmm/base/log.h"

/*
 * The front end of vhost-user (QEMU docs/interop/vhost-user.rst): another process, the back end, serves a device's virtqueues in guest memory that it maps
 * itself. Kicks and interrupts go between KVM and it by eventfd; here are only the control messages, over a Unix socket.
 *
 * The back end is trusted with guest memory and with nothing else. Each reply has the very request, flags and size that belong to it; whatever else
 * comes, or nothing within the time-out, makes the connection dead: it is shut down, every later call fails at once with
 * -ENOTCONN, and its descriptor becomes readable, so that vhost_user_readable() tells the guest.
 *
 * Between init and release the caller holds the device's lock, or is the only thread.
 */
enum {
	VHOST_USER_TABLE_MAX = 8,      /* memory regions without CONFIGURE_MEM_SLOTS */
	VHOST_USER_CONFIG_MAX = 256,   /* bytes of configuration in one message */
	VHOST_USER_TIMEOUT_MS = 10000, /* for one call here, all of its messages together */
	VHOST_USER_WATCH_SOCKET = 0,   /* places in watch_fds */
	VHOST_USER_WATCH_ERROR = 1,
	VHOST_USER_WATCH_NEXT = 2 /* free for the class from here on */
};

/* One piece of guest memory, one descriptor. */
struct vhost_user_region {
	uint64_t gpa, size; /* bytes */
	int fd;             /* borrowed */
	uint64_t offset;    /* of the region in fd */
	void *hva;          /* where it is in this process; the name by which messages speak of rings */
	const char *id;     /* "ram0", "hbm0", for messages; borrowed */
};

struct vhost_user_options {
	const char *option;    /* "--share /srv,tag=srv", for messages; borrowed */
	const char *peer;      /* "virtiofsd" or the socket's path, for messages; borrowed */
	const struct log *log; /* not NULL */
	unsigned queue_count;  /* the device's; checked where the back end offers MQ */
	unsigned timeout_ms;   /* 0: VHOST_USER_TIMEOUT_MS */
};

struct vhost_user {
	struct vhost_user_options options;
	int fd;       /* the socket, non-blocking; owned */
	int error_fd; /* an eventfd that the back end signals when it gives a ring up (SET_VRING_ERR); owned */
	bool dead;
	char why[200];                           /* what went wrong last */
	uint64_t deadline;                       /* CLOCK_MONOTONIC milliseconds, for the call that runs */
	uint64_t features;                       /* virtio features that the back end offers */
	uint64_t protocol;                       /* protocol features that were negotiated */
	uint64_t slots;                          /* memory regions that it takes */
	const struct vhost_user_region *regions; /* those that it has; borrowed */
	size_t region_count;
	uint32_t started; /* rings, one bit each */
};

/*
 * Connects to the socket of a back end that runs. *fd is the caller's. EXIT_STATUS_HOST: -ENAMETOOLONG, -ENOENT, -ECONNREFUSED, -EAGAIN (it
 * does not accept connections).
 */
int vhost_user_connect(const char *path, const char *option, int *fd, struct error *err);

/*
 * Takes the connected socket fd, which belongs to it from here on (on failure too), and negotiates protocol features. vu->features
 * is what the device may offer of its own and of the rings' features. EXIT_STATUS_HOST: -ETIMEDOUT, -ENOTCONN, -EPROTO, -ENOTSUP (no
 * VIRTIO_F_VERSION_1, too few queues).
 */
int vhost_user_init(struct vhost_user *vu, const struct vhost_user_options *options, int fd, struct error *err);

/* Closes the connection: the back end drops the guest's memory. Takes NULL, a zeroed and a released one too. */
void vhost_user_release(struct vhost_user *vu);

/*
 * Gives guest memory to the back end: regions, the most important first, borrowed until vhost_user_release(). Those behind the
 * first vu->region_count did not fit: each is named in a warning, because a guest that does I/O to them with this device loses the device.
 * Once, before the first vcpu runs. EXIT_STATUS_HOST.
 */
int vhost_user_set_memory(struct vhost_user *vu, const struct vhost_user_region *regions, size_t count,
			  struct error *err);

/*
 * Device configuration (virtio 1.2 §2.5): size bytes, at most VHOST_USER_CONFIG_MAX, from offset. -ENOTSUP when the back end has none.
 */
int vhost_user_get_config(struct vhost_user *vu, uint32_t offset, void *bytes, uint32_t size, struct error *err);

/*
 * For class->activate and class->reset: hands the rings that are ready to the back end; takes them all back, after which
 * the back end does not touch them (or is dead). A ring that lies in memory out of the back end's reach is an error: -EFAULT.
 */
int vhost_user_start(struct vhost_user *vu, struct virtio_device *device);
int vhost_user_stop(struct vhost_user *vu);

/* Puts the descriptors to be watched into device->watch_fds. */
void vhost_user_watch(const struct vhost_user *vu, struct virtio_device *device);

/*
 * For class->readable, without the lock: a descriptor of vhost_user_watch() is readable. When the back end has died, or says what it was not asked for,
 * the device needs a reset (its class->stop sees to the rings) and is not watched any more. Other descriptors are
 * ignored.
 */
void vhost_user_readable(struct vhost_user *vu, struct virtio_device *device, int fd);

#endif
