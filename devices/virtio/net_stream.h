/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_NET_STREAM_H
#define SPMVM_DEVICES_VIRTIO_NET_STREAM_H

#include <stddef.h>
#include <stdint.h>

/*
 * Ethernet frames over a stream socket, each behind its length of 32 bits, big-endian (what QEMU's "-netdev stream" speaks, and passt with it). Both
 * directions go through a buffer of fixed size; nothing blocks and nothing grows. The caller locks.
 *
 * Each frame is a message of its own (sendmmsg): the kernel keeps it in one piece or two, and a cut never falls into the length. The passt of
 * Debian 12 loses its place in the stream otherwise.
 */
enum {
	NET_STREAM_FRAME_MIN = 14, /* an Ethernet header */
	NET_STREAM_FRAME_MAX = 65535,
	NET_STREAM_BUFFER = 256 * 1024,
};

struct net_stream {
	int fd;       /* non-blocking; -1 when closed */
	uint8_t *in;  /* NET_STREAM_BUFFER bytes received; those from in_start to in_end count */
	uint8_t *out; /* length and frame after each other, to be sent; those from out_start to out_end are left */
	size_t in_start, in_end;
	size_t out_start, out_end;
	size_t out_frame; /* where the frame starts that out_start is in */
};

/* Takes fd over, on failure too. -ENOMEM, or -errno of fcntl(2). */
int net_stream_init(struct net_stream *stream, int fd);
/* Takes NULL, a zeroed value and one released before. */
void net_stream_release(struct net_stream *stream);
/* The socket alone: what was received already can still be had. */
void net_stream_close(struct net_stream *stream);

/*
 * The frame that came first of those that are here, without taking it: 1 with *frame good until the next call of net_stream_receive(), 0 when it is not
 * there wholly, -EPROTO when its length is none (the stream cannot be followed any more).
 */
int net_stream_peek(const struct net_stream *stream, const uint8_t **frame, size_t *size);
/* Drops the frame that net_stream_peek() gave. */
void net_stream_take(struct net_stream *stream, size_t size);
/*
 * Reads once what the peer has sent, as far as there is room: more than nothing for sure when net_stream_peek() gives 0. 1 when something came, 0 when
 * there is nothing now, -EPIPE when the peer is gone, or another -errno.
 */
int net_stream_receive(struct net_stream *stream);

/*
 * Room for a frame of size bytes (at most NET_STREAM_FRAME_MAX), to be filled and then queued by net_stream_queue(), or NULL when the buffer is too
 * full now.
 */
uint8_t *net_stream_room(struct net_stream *stream, size_t size);
void net_stream_queue(struct net_stream *stream, size_t size);
/* Sends what is queued. 1 when all of it is sent, 0 when the socket is full, -EPIPE when the peer is gone, or another -errno. */
int net_stream_send(struct net_stream *stream);

#endif
