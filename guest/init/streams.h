/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_GUEST_INIT_STREAMS_H
#define SPMVM_GUEST_INIT_STREAMS_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Bytes on their way from one descriptor to another, both non-blocking. A console port that is written to must be: Linux's driver otherwise spins in the
 * kernel until the host has taken the bytes, for as long as that takes.
 */
enum { STREAM_SIZE = 64 * 1024 };

struct stream {
	int from, to;      /* -1 once they are closed */
	bool keep_to;      /* the end of from does not close to: it is a terminal's */
	size_t start, end; /* of what is in bytes */
	char bytes[STREAM_SIZE];
};

/* What the stream waits for now, in two elements for poll(2). */
void stream_wants(const struct stream *stream, struct pollfd fds[2]);

/* Moves what can be moved without waiting. At the end of from, to is closed; when to is gone, from is, which breaks the writer's pipe. */
void stream_move(struct stream *stream);

/* Moves what is there until from has no more for now, waiting for room in to; for a writer that has ended. */
void stream_drain(struct stream *stream);

#endif
