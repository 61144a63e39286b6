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

/*
 * An interrupt without an exit to this process. Linux's handler reads InterruptStatus and writes what it has read to InterruptACK, for each one.
 *
 * The read: no register changes by being read, so all of them can be a page of memory that the guest may read and not write (KVM_MEM_READONLY): writes
 * still come here, or to an eventfd. device->registers is that page; virtio_mmio_publish() brings it up to date, in whole words, with the lock held. A field
 * of 64 bits that changes could be read in halves then, as ConfigGeneration cannot change together with it: no page for such a class (wide_config).
 *
 * The write: with device->always_used, bit 0 of InterruptStatus stays set and acknowledging it does nothing, so KVM can drop the write of exactly this bit
 * (VIRTIO_MMIO_ACK_USED). That is right because nothing hangs on the bit: the interrupts are edges (the DSDT says so, irqfd pulses them), so there is no line to
 * take down, and an edge that comes between the handler's read and its write is kept by the APIC and runs the handler again. A bit that is set
 * without reason makes the driver look at its used rings, as a spurious interrupt does; Linux's vring_interrupt() returns when they are empty. Bit
 * 1, the configuration, is exact: a write with it comes here.
 */
#define VIRTIO_MMIO_INTERRUPT_ACK 0x064
#define VIRTIO_MMIO_ACK_USED      1u

void virtio_mmio_publish(struct virtio_device *device);

/* A write to a register that was handed over (see struct virtio_device). Main thread, lock not held. */
void virtio_mmio_perform(struct virtio_device *device, uint64_t offset, uint32_t value);

#endif
