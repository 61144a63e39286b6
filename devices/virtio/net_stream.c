/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/net_stream.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/base/io.h"

enum { PREFIX = 4, BATCH = 64 };

static uint32_t load_length(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

int net_stream_init(struct net_stream *stream, int fd)
{
	int flags = fcntl(fd, F_GETFL), code = -ENOMEM;

	*stream = (struct net_stream){.fd = fd};
	stream->in = malloc(NET_STREAM_BUFFER);
	stream->out = malloc(NET_STREAM_BUFFER);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		code = -errno;
	else if (stream->in != NULL && stream->out != NULL)
		return 0;
	io_close(&stream->fd);
	net_stream_release(stream);
	return code;
}

void net_stream_close(struct net_stream *stream)
{
	io_close(&stream->fd);
	stream->out_start = stream->out_end = stream->out_frame = 0;
}

void net_stream_release(struct net_stream *stream)
{
	if (stream == NULL)
		return;
	if (stream->in != NULL)
		net_stream_close(stream);
	free(stream->in);
	free(stream->out);
	*stream = (struct net_stream){.fd = -1};
}

/* ---- receiving */

int net_stream_peek(const struct net_stream *stream, const uint8_t **frame, size_t *size)
{
	size_t there = stream->in_end - stream->in_start;
	uint32_t length;

	if (there < PREFIX)
		return 0;
	length = load_length(stream->in + stream->in_start);
	if (length < NET_STREAM_FRAME_MIN || length > NET_STREAM_FRAME_MAX)
		return -EPROTO;
	if (there - PREFIX < length)
		return 0;
	*frame = stream->in + stream->in_start + PREFIX;
	*size = length;
	return 1;
}

void net_stream_take(struct net_stream *stream, size_t size)
{
	assert(size + PREFIX <= stream->in_end - stream->in_start);
	stream->in_start += PREFIX + size;
	if (stream->in_start == stream->in_end)
		stream->in_start = stream->in_end = 0;
}

int net_stream_receive(struct net_stream *stream)
{
	ssize_t got;

	/* a frame that is not there wholly moves to the front, so that its rest has room */
	if (stream->in_start > 0 && NET_STREAM_BUFFER - stream->in_end < PREFIX + NET_STREAM_FRAME_MAX) {
		memmove(stream->in, stream->in + stream->in_start, stream->in_end - stream->in_start);
		stream->in_end -= stream->in_start;
		stream->in_start = 0;
	}
	if (stream->in_end == NET_STREAM_BUFFER)
		return 0;
	do {
		got = read(stream->fd, stream->in + stream->in_end, NET_STREAM_BUFFER - stream->in_end);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? 0 : -errno;
	stream->in_end += (size_t)got;
	return got > 0 ? 1 : -EPIPE;
}

/* ---- sending */

uint8_t *net_stream_room(struct net_stream *stream, size_t size)
{
	assert(size <= NET_STREAM_FRAME_MAX);
	/* what was sent makes room only at whole frames: the one under way is still sliced from its start */
	if (NET_STREAM_BUFFER - stream->out_end < PREFIX + size && stream->out_frame > 0) {
		memmove(stream->out, stream->out + stream->out_frame, stream->out_end - stream->out_frame);
		stream->out_start -= stream->out_frame;
		stream->out_end -= stream->out_frame;
		stream->out_frame = 0;
	}
	if (NET_STREAM_BUFFER - stream->out_end < PREFIX + size)
		return NULL;
	return stream->out + stream->out_end + PREFIX;
}

void net_stream_queue(struct net_stream *stream, size_t size)
{
	uint8_t *prefix = stream->out + stream->out_end;

	prefix[0] = (uint8_t)(size >> 24);
	prefix[1] = (uint8_t)(size >> 16);
	prefix[2] = (uint8_t)(size >> 8);
	prefix[3] = (uint8_t)size;
	stream->out_end += PREFIX + size;
}

/* The frames that are queued, one message each; the first may be the rest of one. How many there are, at most BATCH. */
static unsigned gather(const struct net_stream *stream, struct mmsghdr *messages, struct iovec *parts)
{
	size_t frame = stream->out_frame, start = stream->out_start;
	unsigned count = 0;

	while (count < BATCH && start < stream->out_end) {
		size_t end = frame + PREFIX + load_length(stream->out + frame);

		parts[count] = (struct iovec){stream->out + start, end - start};
		messages[count] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[count], .msg_iovlen = 1}};
		count++;
		frame = start = end;
	}
	return count;
}

int net_stream_send(struct net_stream *stream)
{
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];

	while (stream->out_start < stream->out_end) {
		unsigned count = gather(stream, messages, parts);
		int sent = sendmmsg(stream->fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && (errno == EAGAIN || errno == ENOBUFS))
			return 0;
		if (sent < 0)
			return errno == ECONNRESET ? -EPIPE : -errno;
		for (int i = 0; i < sent; i++) {
			stream->out_start += messages[i].msg_len;
			/* only the last of a batch can be cut short; then the socket is full */
			if (messages[i].msg_len == parts[i].iov_len)
				stream->out_frame = stream->out_start;
		}
	}
	stream->out_start = stream->out_end = stream->out_frame = 0;
	return 1;
}
