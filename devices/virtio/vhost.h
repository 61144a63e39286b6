/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_VHOST_H
#define SPMVM_DEVICES_VIRTIO_VHOST_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/virtio/virtio.h"
#include "vmm/base/error.h"

/*
 * A virtio data path inside of the host's kernel (linux/vhost.h): the kernel reads the rings itself, takes the guest's kicks from kick_fds and
 * interrupts through the eventfd of device->irq, so no frame passes through this process. What is common to vhost-net and vhost-vsock is here; what
 * starts and stops the work differs.
 *
 * The kernel checks every ring and every address against the memory table; a ring that it cannot work on makes error_fd readable.
 */
struct vhost {
	int fd;            /* /dev/vhost-...; -1 when closed */
	int error_fd;      /* eventfd: the kernel found a ring broken; for the event loop */
	uint64_t features; /* of the kernel's back end */
	const char *path;  /* for messages; borrowed */
};

/* How many runs of guest memory the kernel takes unless the module was loaded with another max_mem_regions (64: vhost.c). */
enum { VHOST_REGIONS_MAX = 64 };

/*
 * Opens path. module is what modprobe would have to load. option is for messages. EXIT_STATUS_HOST, with nothing
 * left behind: -ENOENT or -ENODEV without the device or its module, -EACCES. Main thread.
 */
int vhost_open(struct vhost *vhost, const char *path, const char *module, const char *option, struct error *err);

/* Closes it: the kernel lets go of the guest's memory. Takes NULL, a zeroed value and one released before. */
void vhost_release(struct vhost *vhost);

/*
 * Makes this process its owner and tells the kernel where guest memory is: one region for each run. EXIT_STATUS_CONFIG and -E2BIG when there are
 * more runs than it takes; EXIT_STATUS_HOST. Once, before the first queue runs, in struct virtio_class's begin: since Linux 6.4 the kernel
 * works in a thread of the owner's, made here, and a process with more than one cannot have a user namespace of its own (unshare(2)).
 */
int vhost_begin(const struct vhost *vhost, const struct guest_mem *mem, const char *option, struct error *err);

/* The features that the driver accepted, without those that the back end does not know (they are ours to serve). */
int vhost_set_features(const struct vhost *vhost, uint64_t accepted);

/*
 * Hands queue number index of the device, which is started and does not run yet, to the kernel: ring addresses, kick, interrupt and error
 * eventfds. -errno as of the ioctl that failed.
 */
int vhost_set_queue(const struct vhost *vhost, const struct virtio_device *device, unsigned index);

/*
 * After the back end was stopped: the kernel does not listen to the queue's kicks any more, and what it said of broken
 * rings is forgotten, or the loop would hear of it when the device runs again.
 */
void vhost_unset_queue(const struct vhost *vhost, unsigned index);

/*
 * The two back ends' own switches, -errno. vhost-net: gives a queue the tap to work with, or -1 to stop; vhost-vsock: starts and stops both
 * queues. When a stop returns the kernel does not touch the guest's memory any more.
 */
int vhost_net_set_back_end(const struct vhost *vhost, unsigned index, int fd);
int vhost_vsock_set_running(const struct vhost *vhost, bool running);
int vhost_vsock_set_cid(const struct vhost *vhost, uint64_t cid);

/* Empties error_fd; whether it was signalled. */
bool vhost_failed(const struct vhost *vhost);

#endif
