/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_TAP_H
#define SPMVM_DEVICES_VIRTIO_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/error.h"

/*
 * A tap interface of the host (Linux Documentation/networking/tuntap.rst), which the administrator has made. Each read and write is one Ethernet
 * frame behind a virtio_net_hdr of 12 bytes (virtio 1.2 §5.1.6), so checksums and segmentation are left to the host's kernel.
 */
struct tap {
	int fd; /* non-blocking; -1 when closed */
	uint16_t mtu;
	bool up; /* at the time it was opened */
};

/*
 * Attaches to the interface. EXIT_STATUS_HOST with the remedy, nothing left behind: -ENODEV without the interface or /dev/net/tun, -EBUSY when somebody has
 * it, -EPERM when it is another user's, -EINVAL when it is no single-queue tap. Main thread.
 */
int tap_open(struct tap *tap, const char *name, const char *option, struct error *err);

/* Takes NULL, and a tap released before. */
void tap_release(struct tap *tap);

/* What the guest can take from the host, as virtio features (VIRTIO_NET_F_GUEST_*; others are ignored). -errno. Any thread. */
int tap_set_offloads(const struct tap *tap, uint64_t features);

#endif
