/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_CONSOLE_H
#define SPMVM_DEVICES_VIRTIO_CONSOLE_H

#include "devices/virtio/virtio.h"
#include "vmm/base/error.h"

/*
 * A console device with named ports (virtio 1.2 §5.3, VIRTIO_CONSOLE_F_MULTIPORT): exact byte streams between descriptors of the host and
 * /dev/virtio-ports/NAME in a Linux guest. No port is a terminal (CONSOLE_PORT is never sent).
 *
 * Bytes go straight between the descriptors and the guest's buffers; nothing is stored here. So flow control is that of the two ends: while
 * the guest has no room (or no process has the port open) the host's bytes stay in its pipe, and while the host has no room the guest's request
 * stays in its queue. A descriptor is watched only when it is what we wait for. A turn of the main loop moves at most
 * VIRTIO_CONSOLE_TURN_MAX bytes a port and direction.
 *
 * Opening and closing: a driver that has added all ports hears of them in the order of their numbers (guest/init counts on it). The guest hears PORT_OPEN when a
 * host side is attached, and its end when that side is at its end of file (after the last of its bytes)
 * or does not take bytes any more. Linux then lets readers see end of file, and lets writers wait. What the guest has sent before that is still
 * delivered. While no host side can take bytes, those of the guest are dropped. A guest process that closes the port loses what it has not
 * read, as that is in the guest already.
 *
 * The process ignores SIGPIPE. One struct is some 120 KiB: not for the stack.
 */
enum {
	VIRTIO_CONSOLE_PORTS_MAX = VIRTIO_QUEUES_MAX / 2 - 1,
	VIRTIO_CONSOLE_NAME_MAX = 63, /* bytes */
	VIRTIO_CONSOLE_TURN_MAX = 256 * 1024,
};

enum virtio_console_side { VIRTIO_CONSOLE_IN, VIRTIO_CONSOLE_OUT };

/* What the user says of a port. */
struct virtio_console_port_options {
	const char *name; /* 1 to VIRTIO_CONSOLE_NAME_MAX printable bytes, no '/', each port another; borrowed */
	/*
	 * Where the guest's bytes come from and go to: pipes, sockets, terminals or files, of one direction or both (then the two are equal). -1: none. Taken over when the
	 * call succeeds, and made non-blocking: that holds for everybody who shares the open file.
	 */
	int in_fd, out_fd;
	/*
	 * The end of in_fd leaves the port open: for a file of input with output to come, or a client that shuts down its half. The guest sees no end
	 * of file then, as virtio has none for one direction.
	 */
	bool open_after_eof;
};

struct virtio_console_options {
	const char *option; /* "--port", for messages; borrowed */
	const struct virtio_console_port_options *ports;
	unsigned count; /* 1 to VIRTIO_CONSOLE_PORTS_MAX */
};

struct virtio_console_port {
	const char *name;
	int fds[2]; /* by side; -1 when there is none, or none any more */
	bool watched[2];
	bool open_after_eof;
	bool host_open;   /* what the guest is told */
	bool guest_ready; /* the driver knows the port */
	bool guest_open;  /* a process of the guest's has it open */
	unsigned due;     /* control messages that wait for a buffer, as bits */
	bool sending;     /* out is a request of the guest's, sent bytes of which are written */
	uint64_t sent;
	struct virtq_chain out;
	struct counter in_bytes, out_bytes; /* moved so far */
};

struct virtio_console {
	struct virtio_device device; /* first */
	/* everything below under the device's lock */
	unsigned count;
	int epoll_fd; /* in device.watch_fds: what the ports wait for */
	struct virtio_console_port ports[VIRTIO_CONSOLE_PORTS_MAX];
	struct virtq_chain chain; /* the one being worked on */
};

/*
 * log is borrowed, may be NULL. EXIT_STATUS_USAGE for what the user said wrong; EXIT_STATUS_HOST. After an error the descriptors are the
 * caller's still.
 */
int virtio_console_init(struct virtio_console *console, const struct virtio_console_options *options,
			const struct log *log, struct error *err);

/* Takes NULL, a zeroed one and one that was released. */
void virtio_console_release(struct virtio_console *console);

/* Whether a process of the guest's has the port open. Any thread. */
bool virtio_console_is_open(struct virtio_console *console, unsigned number);

/*
 * For the end of a machine: hands over everything that the guest has sent before, waiting where a descriptor is full, until all of it is gone or one of the two is
 * readable. No vcpu runs any more; nothing comes from the host from here on. Main thread.
 */
void virtio_console_flush(struct virtio_console *console, int signal_fd, int timeout_fd);

/*
 * A new host side for a port (number as in options), in place of the old one, as when a client has connected. Descriptors as in the options. When the old side's end has not
 * reached the guest yet, the guest does not hear of it. Main thread.
 */
int virtio_console_attach(struct virtio_console *console, unsigned number, int in_fd, int out_fd, struct error *err);

#endif
