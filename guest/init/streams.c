/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/init/streams.h"

#include <errno.h>
#include <unistd.h>

/* How long a terminal may take to hand over what its other side has written (the kernel does it in the background). */
enum { TERMINAL_MS = 100 };

static void end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void break_off(struct stream *stream)
{
	end(&stream->from);
	end(&stream->to);
	stream->start = stream->end = 0;
}

void stream_wants(const struct stream *stream, struct pollfd fds[2])
{
	bool full = stream->end > 0;

	/* the other end's going away is told without being asked for, so what is not wanted is left out */
	fds[0] = (struct pollfd){.fd = full ? -1 : stream->from, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = full || !stream->keep_to ? stream->to : -1, .events = full ? POLLOUT : 0};
}

/* Whether something was read or the end was seen. */
static bool take(struct stream *stream)
{
	ssize_t got = read(stream->from, stream->bytes, sizeof(stream->bytes));

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got > 0) {
		stream->start = 0;
		stream->end = (size_t)got;
		return true;
	}
	/* the end; for a terminal EIO, when no process has its other side open */
	end(&stream->from);
	if (!stream->keep_to)
		end(&stream->to);
	return true;
}

/* Whether something was written or the reader's end was seen. */
static bool give(struct stream *stream)
{
	ssize_t put = write(stream->to, stream->bytes + stream->start, stream->end - stream->start);

	if (put < 0 && errno == EINTR)
		return true;
	if (put < 0 && errno == EAGAIN) {
		/* a port whose host side is gone says EAGAIN for ever, and this */
		struct pollfd gone = {.fd = stream->to};

		if (poll(&gone, 1, 0) != 1 || (gone.revents & (POLLHUP | POLLERR)) == 0)
			return false;
	}
	if (put < 0) {
		break_off(stream);
		return true;
	}
	stream->start += (size_t)put;
	if (stream->start == stream->end)
		stream->start = stream->end = 0;
	return true;
}

static bool reader_is_gone(const struct stream *stream)
{
	struct pollfd gone = {.fd = stream->to};

	return stream->to >= 0 && poll(&gone, 1, 0) == 1 && (gone.revents & (POLLHUP | POLLERR)) != 0;
}

void stream_move(struct stream *stream)
{
	if (!stream->keep_to && reader_is_gone(stream))
		break_off(stream);
	if (stream->end == 0 && stream->from >= 0)
		take(stream);
	while (stream->end > 0 && stream->to >= 0 && give(stream))
		;
}

void stream_drain(struct stream *stream)
{
	while (stream->to >= 0) {
		struct pollfd fds[2];

		stream_wants(stream, fds);
		if (fds[0].fd < 0 && stream->end == 0)
			break;
		/* whoever else holds the writing side does not keep the machine from ending */
		if (poll(fds, 2, stream->end > 0 ? -1 : TERMINAL_MS) == 0)
			break;
		stream_move(stream);
	}
}
