/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_CONSOLE_PORT_H
#define SPMVM_DEVICES_VIRTIO_CONSOLE_PORT_H

#include "devices/virtio/console.h"

/*
 * The byte streams of devices/virtio/console.h, which knows nothing of control messages. All of it with the device's lock held.
 */

/* The queues of a port (§5.3.2): the control queues are numbers 2 and 3. */
static inline unsigned console_port_queue(unsigned port, enum virtio_console_side side)
{
	return (port == 0 ? 0 : 2 * port + 2) + (side == VIRTIO_CONSOLE_OUT);
}

/*
 * Moves a turn's bytes, and arranges for the next turn. A host side that has ended is closed; the port's host_open says so to the caller. True
 * when the turn ended before its work did.
 */
bool console_port_move(struct virtio_console *console, unsigned number, enum virtio_console_side side);

/* Ends watching and closes. */
void console_port_close(struct virtio_console *console, unsigned number, enum virtio_console_side side);

/* The guest's reset: a request in the middle is forgotten, nothing is watched. */
void console_port_reset(struct virtio_console *console, unsigned number);

#endif
