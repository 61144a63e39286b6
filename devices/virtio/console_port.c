/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/console_port.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include "vmm/base/io.h"

enum {
	PARTS = 64,         /* buffers in one call */
	REQUEST_COST = 256, /* bytes that a call counts for in a turn's budget, if it moves fewer */
};

static void watch(struct virtio_console *console, unsigned number, enum virtio_console_side side, bool on)
{
	struct virtio_console_port *port = &console->ports[number];
	struct epoll_event event = {.events = side == VIRTIO_CONSOLE_IN ? EPOLLIN : EPOLLOUT,
				    .data = {.u32 = 2 * number + side}};

	if (port->fds[side] < 0 || port->watched[side] == on)
		return;
	if (epoll_ctl(console->epoll_fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, port->fds[side], &event) == 0)
		port->watched[side] = on;
	else if (on) /* a host short of memory: asking all the time beats standing still */
		virtio_kick_again(&console->device, console_port_queue(number, side));
}

void console_port_close(struct virtio_console *console, unsigned number, enum virtio_console_side side)
{
	watch(console, number, side, false);
	console->ports[number].watched[side] = false;
	io_close(&console->ports[number].fds[side]);
}

void console_port_reset(struct virtio_console *console, unsigned number)
{
	watch(console, number, VIRTIO_CONSOLE_IN, false);
	watch(console, number, VIRTIO_CONSOLE_OUT, false);
	console->ports[number].sending = false;
}

/* At most PARTS buffers with at most limit bytes, from the offset skip in iov on. How many buffers that makes. */
static int cut(struct iovec parts[PARTS], const struct iovec *iov, unsigned count, uint64_t skip, size_t limit)
{
	int made = 0;

	for (unsigned i = 0; i < count && made < PARTS && limit > 0; i++) {
		size_t size;

		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size = iov[i].iov_len - (size_t)skip < limit ? iov[i].iov_len - (size_t)skip : limit;
		parts[made++] = (struct iovec){(uint8_t *)iov[i].iov_base + skip, size};
		limit -= size;
		skip = 0;
	}
	return made;
}

static int cost(ssize_t moved)
{
	return moved > REQUEST_COST ? (int)moved : REQUEST_COST;
}

static void host_side_gone(struct virtio_console *console, unsigned number, enum virtio_console_side side, int code)
{
	struct virtio_console_port *port = &console->ports[number];

	/* a reader that has had enough is nothing to tell of */
	if (code != 0 && code != EPIPE && console->device.log != NULL)
		log_limited(console->device.log, &console->device.log_limit, LOG_WARN, "%s: port %s %s: %s",
			    console->device.option, port->name,
			    side == VIRTIO_CONSOLE_IN ? "cannot be read" : "cannot be written", strerror(code));
	if (side == VIRTIO_CONSOLE_IN && port->open_after_eof) {
		console_port_close(console, number, side);
		return;
	}
	port->host_open = false;
	console_port_close(console, number, VIRTIO_CONSOLE_IN);
	/* what the guest has sent before it heard of the end still has its way out */
	if (side == VIRTIO_CONSOLE_OUT)
		console_port_close(console, number, VIRTIO_CONSOLE_OUT);
}

/* ---- from the host */

/*
 * One buffer of the guest's: read into and given back. The bytes that were moved; 0 when there is nothing to be had now (the descriptor is
 * watched), or never again; -EPROTO when the guest has broken the queue.
 */
static int receive(struct virtio_console *console, unsigned number, size_t limit)
{
	struct virtio_console_port *port = &console->ports[number];
	struct virtq *queue = &console->device.queues[console_port_queue(number, VIRTIO_CONSOLE_IN)];
	const struct virtq_chain *chain = &console->chain;
	struct iovec parts[PARTS];
	ssize_t got;

	if (chain->readable > 0 || chain->writable == 0)
		return -EPROTO;
	do {
		got = readv(port->fds[VIRTIO_CONSOLE_IN], parts, cut(parts, chain->iov, chain->writable, 0, limit));
	} while (got < 0 && errno == EINTR);
	if (got > 0) {
		counter_add(&port->in_bytes, (uint64_t)got);
		virtq_push(queue, chain->head, (uint32_t)got);
		return (int)got;
	}
	virtq_unpop(queue);
	if (got < 0 && errno == EAGAIN)
		watch(console, number, VIRTIO_CONSOLE_IN, true);
	else /* Linux: the other end of a terminal's pair is gone when reading says EIO */
		host_side_gone(console, number, VIRTIO_CONSOLE_IN, got < 0 && errno != EIO ? errno : 0);
	return 0;
}

/* Whether the turn ended before its work did. */
static bool move_in(struct virtio_console *console, unsigned number)
{
	const struct virtio_console_port *port = &console->ports[number];
	unsigned index = console_port_queue(number, VIRTIO_CONSOLE_IN);
	struct virtq *queue = &console->device.queues[index];
	int left = VIRTIO_CONSOLE_TURN_MAX, code = 1;

	virtq_disable_kicks(queue);
	while (code > 0 && left > 0 && port->guest_open && port->fds[VIRTIO_CONSOLE_IN] >= 0) {
		code = virtq_pop(queue, &console->chain);
		if (code > 0) {
			code = receive(console, number, (size_t)left);
			left -= cost(code);
		} else if (code == 0) {
			/* the guest has no room: its next buffer is a kick */
			watch(console, number, VIRTIO_CONSOLE_IN, false);
			code = virtq_enable_kicks(queue);
		}
	}
	if (!port->guest_open || code < 0)
		watch(console, number, VIRTIO_CONSOLE_IN, false);
	if (code < 0) {
		virtio_needs_reset(&console->device, "a broken receive buffer");
		return false;
	}
	virtio_interrupt(&console->device, index);
	if (left <= 0)
		virtio_kick_again(&console->device, index);
	return left <= 0;
}

/* ---- to the host */

/* Writes what is left of the port's request. 1 when it was given back, 0 when the host or the turn (*left bytes) has no more room. */
static int transmit(struct virtio_console *console, unsigned number, int *left)
{
	struct virtio_console_port *port = &console->ports[number];
	struct virtq *queue = &console->device.queues[console_port_queue(number, VIRTIO_CONSOLE_OUT)];

	*left -= REQUEST_COST;
	while (port->sent < port->out.readable_bytes && port->fds[VIRTIO_CONSOLE_OUT] >= 0) {
		struct iovec parts[PARTS];
		ssize_t put;

		if (*left <= 0)
			return 0;
		put = writev(port->fds[VIRTIO_CONSOLE_OUT], parts,
			     cut(parts, port->out.iov, port->out.readable, port->sent, (size_t)*left));
		if (put >= 0) {
			port->sent += (uint64_t)put;
			counter_add(&port->out_bytes, (uint64_t)put);
			*left -= cost(put);
		} else if (errno == EAGAIN) {
			return 0;
		} else if (errno != EINTR) {
			host_side_gone(console, number, VIRTIO_CONSOLE_OUT, errno);
		}
	}
	port->sending = false;
	virtq_push(queue, port->out.head, 0);
	return 1;
}

static bool move_out(struct virtio_console *console, unsigned number)
{
	struct virtio_console_port *port = &console->ports[number];
	unsigned index = console_port_queue(number, VIRTIO_CONSOLE_OUT);
	struct virtq *queue = &console->device.queues[index];
	int left = VIRTIO_CONSOLE_TURN_MAX, code = 1;

	virtq_disable_kicks(queue);
	while (code > 0 && left > 0) {
		if (!port->sending) {
			code = virtq_pop(queue, &port->out);
			if (code == 0)
				code = virtq_enable_kicks(queue);
			else if (code > 0)
				port->sending = true;
			port->sent = 0;
		}
		if (code > 0 && port->sending)
			code = transmit(console, number, &left);
	}
	/* a request in hand and some budget left: the host has no room */
	watch(console, number, VIRTIO_CONSOLE_OUT, code == 0 && port->sending && left > 0);
	if (code < 0) {
		virtio_needs_reset(&console->device, "a broken transmit buffer");
		return false;
	}
	virtio_interrupt(&console->device, index);
	if (left <= 0)
		virtio_kick_again(&console->device, index);
	return left <= 0;
}

bool console_port_move(struct virtio_console *console, unsigned number, enum virtio_console_side side)
{
	return side == VIRTIO_CONSOLE_IN ? move_in(console, number) : move_out(console, number);
}
