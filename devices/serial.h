/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_SERIAL_H
#define SPMVM_DEVICES_SERIAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/device.h"
#include "vmm/base/counter.h"

/*
 * A 16550A UART (National Semiconductor PC16550D data sheet) with its interrupts: COM1, ports 0x3f8..0x3ff, GSI 4. The
 * transmitter is always empty: a byte goes straight to the sink from the vcpu's thread. Bytes for the guest wait in the receiver: a FIFO of 16 bytes, or one
 * byte while the guest has not turned the FIFO on.
 *
 * The peer honours RTS: while the guest's MCR has RTS clear (Linux: no process has the terminal open) or LOOP set, bytes are refused
 * and wait outside. A guest that polls must set RTS too. After that nothing is lost but by the guest's own clearing of the FIFO.
 *
 * The interrupt is an edge: a pulse when a cause arises that was not there before, and whenever bytes have come in. As with the
 * PC's cards, MCR's OUT2 connects the interrupt; raising OUT2 with a cause pending gives a pulse.
 */
#define SERIAL_COM1_PORT UINT64_C(0x3f8)
#define SERIAL_COM1_GSI  4u

enum { SERIAL_FIFO_SIZE = 16 };

struct serial {
	pthread_mutex_t lock; /* guards everything below */
	/* where the guest's bytes go; from a vcpu thread, without the lock: it may block */
	void (*transmit)(void *context, uint8_t byte);
	/*
	 * The guest listens and its receiver is empty, after serial_receive() had refused a byte. Called without the lock, from a
	 * vcpu thread; it may call serial_receive(). May be NULL.
	 */
	void (*drained)(void *context);
	void *context;
	struct dev_irq irq;
	uint8_t ier, lcr, mcr, scr, fcr;
	uint8_t lsr; /* only the error bits; the others follow from the receiver */
	uint8_t msr; /* only the "has changed" bits 0..3; the others follow from mcr */
	uint16_t divisor;
	uint8_t fifo[SERIAL_FIFO_SIZE];
	size_t fifo_head, fifo_count;
	bool thr_interrupt;                 /* "transmitter empty" is pending */
	struct counter in_bytes, out_bytes; /* SERIAL_COUNTERS */
	bool full;                          /* serial_receive() has refused a byte since drained() was called last */
};

/* Of struct serial: what has gone to the guest and come from it. */
extern const struct counter_table SERIAL_COUNTERS;

/*
 * Registers as after a reset, interrupt not connected. The callbacks and their context are borrowed. 0, or -errno of
 * pthread_mutex_init().
 */
int serial_init(struct serial *serial, void (*transmit)(void *, uint8_t), void (*drained)(void *), void *context);
/* Takes NULL, a zeroed serial and one released before. */
void serial_release(struct serial *serial);
/* The reset pin: registers to their defaults, received bytes dropped; callbacks and interrupt stay. Any thread. */
void serial_reset(struct serial *serial);
void serial_wants(struct dev_wants *wants);
/* Before the first vcpu runs. */
void serial_set_irq(struct serial *serial, struct dev_irq irq);

/*
 * Offers bytes to the guest; returns how many fitted. After less than count, drained() says when to offer the rest. Main
 * thread, or drained().
 */
size_t serial_receive(struct serial *serial, const uint8_t *bytes, size_t count);

#endif
