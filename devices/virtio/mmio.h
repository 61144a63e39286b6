/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_MMIO_H
#define SPMVM_DEVICES_VIRTIO_MMIO_H

#include "devices/virtio/virtio.h"

/*
 * virtio over MMIO (virtio 1.2 §4.2), version 2 registers only. Each device has a page of its own; Linux finds it through the DSDT
 * (LNRO0005).
 */
#define VIRTIO_MMIO_PAGE         UINT64_C(0x1000)
#define VIRTIO_MMIO_QUEUE_NOTIFY 0x050 /* where a kick is written: KVM turns it into the queue's eventfd */

/* The registers of struct virtio_device, for the bus. Any vcpu thread. */
extern const struct bus_ops VIRTIO_MMIO_OPS;

#endif
