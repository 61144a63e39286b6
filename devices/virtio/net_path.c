/* SPDX-License-Identifier: Apache-2.0 */
/* The data path of a network card in this process: between the rings and a tap or a stream socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "devices/virtio/net.h"
#include "vmm/base/io.h"

/* BUDGET: frames in one go, so that a busy card leaves the main loop to others */
enum { RECEIVE = 0, TRANSMIT = 1, BUDGET = 256, HELD_SIZE = NET_HEADER_SIZE + NET_FRAME_MAX };

static int back_end_fd(const struct net *net)
{
	return net->back_end == NET_STREAM ? net->passt.stream.fd : net->tap.fd;
}

int net_path_init(struct net *net)
{
	if (net->back_end == NET_PLAIN_TAP) {
		net->held = malloc(HELD_SIZE);
		if (net->held == NULL)
			return -ENOMEM;
	}
	net->epoll = epoll_create1(EPOLL_CLOEXEC);
	return net->epoll < 0 ? -errno : 0;
}

void net_path_release(struct net *net)
{
	io_close(&net->epoll);
	free(net->held);
	net->held = NULL;
}

/*
 * Watches for input only while the guest has room for it, for output only while something waits to go. The peer's end is always told of, so
 * between these the descriptor is not watched at all: the loop would turn for nothing.
 */
static void watch(struct net *net, bool in, bool out)
{
	bool was = net->wants_in || net->wants_out, is = in || out;
	struct epoll_event event = {.events = (in ? EPOLLIN : 0u) | (out ? EPOLLOUT : 0u)};
	int fd = back_end_fd(net);

	if (fd >= 0 && (in != net->wants_in || out != net->wants_out))
		epoll_ctl(net->epoll, !is ? EPOLL_CTL_DEL : was ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
	net->wants_in = in;
	net->wants_out = out;
}

/* What of the socket's buffer must still go out goes whether a driver is there or not, or the stream would break off in a frame. */
static bool has_unsent(const struct net *net)
{
	const struct net_stream *stream = &net->passt.stream;

	return net->back_end == NET_STREAM && stream->out_start < stream->out_end;
}

void net_path_start(struct net *net)
{
	net->running = true;
	watch(net, true, has_unsent(net));
	/* kicks for receive buffers matter only while a frame waits for one */
	virtq_disable_kicks(&net->device.queues[RECEIVE]);
	/* something may have been read into our own buffer already, which no descriptor tells of */
	virtio_kick_again(&net->device, RECEIVE);
}

void net_path_stop(struct net *net)
{
	net->running = false;
	net->out_full = false;
	net->held_size = 0;
	watch(net, false, has_unsent(net));
}

void net_path_close(struct net *net)
{
	watch(net, false, false);
	net->out_full = false;
	net->held_size = 0;
	if (net->back_end == NET_STREAM)
		net_stream_close(&net->passt.stream);
	else
		tap_release(&net->tap);
}

static void count(struct net_counters *counters, size_t size)
{
	counter_add(&counters->frames, 1);
	counter_add(&counters->bytes, size);
}

/* ---- to the guest */

/* The next frame of a tap, with the kernel's header: 1, 0 when there is none, or -errno. */
static int next_from_tap(struct net *net, struct net_header *header, const uint8_t **frame, size_t *size)
{
	if (net->held_size == 0) {
		ssize_t got = read(net->tap.fd, net->held, HELD_SIZE);

		if (got < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -EPIPE;
		if (got <= NET_HEADER_SIZE)
			return got == 0 ? -EPIPE : 0;
		net->held_size = (size_t)got;
	}
	memcpy(header, net->held, NET_HEADER_SIZE);
	*frame = net->held + NET_HEADER_SIZE;
	*size = net->held_size - NET_HEADER_SIZE;
	return 1;
}

static int next_from_stream(struct net *net, struct net_header *header, const uint8_t **frame, size_t *size)
{
	int code = net_stream_peek(&net->passt.stream, frame, size);

	while (code == 0) {
		code = net_stream_receive(&net->passt.stream);
		if (code != 1)
			return code;
		code = net_stream_peek(&net->passt.stream, frame, size);
	}
	/*
	 * passt makes packets out of what the host's kernel has checked, and they came here without a wire: the driver need not check them
	 * again, if it can leave that out (§5.1.6.4)
	 */
	*header =
		(struct net_header){.flags = (net->device.accepted & NET_FEATURE_GUEST_CSUM) != 0 ? NET_DATA_VALID : 0};
	return code;
}

static void taken(struct net *net, size_t size)
{
	if (net->back_end == NET_STREAM)
		net_stream_take(&net->passt.stream, size);
	else
		net->held_size = 0;
}

/* One frame: 1 when it is done with, 0 when there is none, -EAGAIN when the guest has no room for it, or another -errno. */
static int receive_one(struct net *net)
{
	struct virtq *queue = &net->device.queues[RECEIVE];
	struct net_header header;
	const uint8_t *frame;
	size_t size;
	int code = net->back_end == NET_STREAM ? next_from_stream(net, &header, &frame, &size)
					       : next_from_tap(net, &header, &frame, &size);

	if (code <= 0)
		return code == -EPROTO ? -EPIPE : code;
	code = net_deliver(queue, &net->chain, &header, frame, size,
			   (net->device.accepted & NET_FEATURE_MRG_RXBUF) != 0);
	if (code < 0 || code == NET_NO_ROOM)
		return code < 0 ? code : -EAGAIN;
	if (code == NET_DELIVERED)
		count(&net->received, size);
	else
		counter_add(&net->received.dropped, 1);
	taken(net, size);
	return 1;
}

int net_path_receive(struct net *net)
{
	struct virtq *queue = &net->device.queues[RECEIVE];
	unsigned budget = BUDGET;
	int code = 1;

	if (!net->running || !queue->ready || queue->broken || back_end_fd(net) < 0)
		return 0;
	while (code == 1 && budget > 0) {
		code = receive_one(net);
		budget--;
		/* room may have come before the driver knew that we wait for it */
		if (code == -EAGAIN && virtq_enable_kicks(queue))
			code = 1;
	}
	virtio_interrupt(&net->device, RECEIVE);
	if (code == -EPROTO) {
		net_path_stop(net);
		virtio_needs_reset(&net->device, "a buffer to receive into cannot be one");
		return 0;
	}
	if (code < 0 && code != -EAGAIN)
		return -EPIPE;
	if (code == 1)
		virtio_kick_again(&net->device, RECEIVE);
	/* without room, the driver's kick is what goes on */
	if (code != -EAGAIN)
		virtq_disable_kicks(queue);
	watch(net, code != -EAGAIN, net->wants_out);
	return 0;
}

/* ---- from the guest */

/* 0 when the frame is gone (or dropped by the kernel, which takes none for a tap that is down), -EAGAIN, -EPIPE. */
static int send_to_tap(struct net *net, size_t size)
{
	ssize_t sent = writev(net->tap.fd, net->chain.iov, (int)net->chain.readable);

	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (sent < 0 && errno == EBADFD)
		return -EPIPE;
	if (sent < 0)
		counter_add(&net->sent.dropped, 1);
	else
		count(&net->sent, size);
	return 0;
}

static int send_to_stream(struct net *net, const struct net_header *header, size_t size)
{
	struct net_stream *stream = &net->passt.stream;
	uint8_t *frame;
	int code;

	if (size > NET_STREAM_FRAME_MAX) {
		counter_add(&net->sent.dropped, 1);
		return 0;
	}
	frame = net_stream_room(stream, size);
	if (frame == NULL) {
		code = net_stream_send(stream);
		if (code < 0)
			return -EPIPE;
		frame = net_stream_room(stream, size);
		if (frame == NULL)
			return -EAGAIN;
	}
	/* finished in our copy: the guest's memory is not ours to write, and cannot change under it any more */
	virtq_read(&net->chain, NET_HEADER_SIZE, frame, size);
	if (net_finish(header, frame, size) < 0) {
		counter_add(&net->sent.dropped, 1);
		return 0;
	}
	net_stream_queue(stream, size);
	count(&net->sent, size);
	return 0;
}

/* The chain that was popped: 0 when it is done with, -EAGAIN when the back end is full, -EPROTO, -EPIPE. */
static int transmit_one(struct net *net)
{
	struct net_header header;
	size_t size;
	int code = net_check(&net->chain, &header, &size);

	if (code == -EMSGSIZE || (code == 0 && back_end_fd(net) < 0)) {
		counter_add(&net->sent.dropped, 1);
		return 0;
	}
	if (code < 0)
		return code;
	return net->back_end == NET_STREAM ? send_to_stream(net, &header, size) : send_to_tap(net, size);
}

/* Until the queue is empty, the back end full or the budget used up: 1 for the last, 0, or -errno. */
static int transmit_some(struct net *net)
{
	struct virtq *queue = &net->device.queues[TRANSMIT];

	for (unsigned i = 0; i < BUDGET; i++) {
		int code = virtq_pop(queue, &net->chain);

		if (code == 0 && !virtq_enable_kicks(queue))
			return 0;
		if (code == 0)
			continue;
		if (code == 1)
			code = transmit_one(net);
		if (code == -EAGAIN || code == -EPIPE)
			virtq_unpop(queue);
		if (code < 0)
			return code;
		virtq_push(queue, net->chain.head, 0);
	}
	return 1;
}

int net_path_transmit(struct net *net)
{
	struct virtq *queue = &net->device.queues[TRANSMIT];
	int code = 0, sent = 1;

	if (net->running && queue->ready && !queue->broken) {
		virtq_disable_kicks(queue);
		code = transmit_some(net);
	}
	if (net->back_end == NET_STREAM && net->passt.stream.fd >= 0 && code != -EPIPE)
		sent = net_stream_send(&net->passt.stream);
	virtio_interrupt(&net->device, TRANSMIT);
	if (code == -EPROTO) {
		net_path_stop(net);
		virtio_needs_reset(&net->device, "a frame to send has no header, or buffers to write to");
		return 0;
	}
	if (code == -EPIPE || sent < 0)
		return -EPIPE;
	net->out_full = code == -EAGAIN;
	watch(net, net->wants_in, net->out_full || sent == 0);
	if (code == 1)
		virtio_kick_again(&net->device, TRANSMIT);
	return 0;
}

int net_path_ready(struct net *net)
{
	struct epoll_event event;
	int code = 0;

	if (epoll_wait(net->epoll, &event, 1, 0) != 1)
		return 0;
	if (net->wants_out && (event.events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0)
		code = net_path_transmit(net);
	if (code == 0 && net->wants_in && (event.events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0)
		code = net_path_receive(net);
	/* an end that neither of the two has met (the guest gave no room to read up to it) */
	if (code == 0 && (event.events & (EPOLLERR | EPOLLHUP)) != 0 && (event.events & EPOLLIN) == 0)
		code = -EPIPE;
	return code;
}
