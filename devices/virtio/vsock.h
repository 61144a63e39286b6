/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_VSOCK_H
#define SPMVM_DEVICES_VIRTIO_VSOCK_H

#include "devices/virtio/vhost.h"

/*
 * Sockets between guest and host (virtio 1.2 §5.10), in the host's kernel: /dev/vhost-vsock. The host's processes reach the guest as AF_VSOCK
 * address cid, the guest reaches them as cid 2.
 */
#define VSOCK_CID_MIN UINT64_C(3)          /* 0 hypervisor, 1 loopback, 2 host */
#define VSOCK_CID_MAX UINT64_C(0xfffffffe) /* 2^32 - 1 is VMADDR_CID_ANY */

struct vsock_options {
	const char *option; /* "--vsock cid=3", for messages; outlives the device */
	uint64_t cid;       /* unique on the host */
};

struct vsock {
	struct virtio_device device; /* first */
	struct vhost vhost;
	uint64_t cid;
	bool running; /* the kernel works on the queues; under device.lock */
};

/*
 * Claims the cid on the host. mem holds the guest's whole memory by now and outlives the device, as log does (it may be NULL). On failure nothing is
 * left behind: -ERANGE for the cid (EXIT_STATUS_CONFIG); EXIT_STATUS_HOST for -EADDRINUSE, a missing module and what else the host lacks.
 * Main thread, before the first vcpu runs. kick_fds are the kernel's: nobody else reads them.
 */
int vsock_init(struct vsock *vsock, const struct vsock_options *options, const struct guest_mem *mem,
	       const struct log *log, struct error *err);

/* Takes NULL, a zeroed value and one released before. */
void vsock_release(struct vsock *vsock);

#endif
