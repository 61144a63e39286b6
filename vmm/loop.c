/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "vmm/base/io.h"

enum { EVENTS_MAX = 16 };

int loop_init(struct loop *loop)
{
	*loop = (struct loop){.epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
	return loop->epoll_fd < 0 ? -errno : 0;
}

void loop_release(struct loop *loop)
{
	io_close(&loop->epoll_fd);
	free(loop->watches);
	loop->watches = NULL;
	loop->count = 0;
}

static struct loop_watch *find(struct loop *loop, int fd)
{
	for (size_t i = 0; i < loop->count; i++) {
		if (loop->watches[i].fd == fd)
			return &loop->watches[i];
	}
	return NULL;
}

int loop_add(struct loop *loop, int fd, void (*ready)(void *context, int fd), void *context)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	struct loop_watch *place = find(loop, -1);

	if (place == NULL) {
		struct loop_watch *watches = realloc(loop->watches, (loop->count + 1) * sizeof(*watches));

		if (watches == NULL)
			return -ENOMEM;
		loop->watches = watches;
		place = &watches[loop->count++];
		place->fd = -1;
	}
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	*place = (struct loop_watch){fd, ready, context};
	return 0;
}

void loop_remove(struct loop *loop, int fd)
{
	struct loop_watch *watch = find(loop, fd);

	if (fd < 0 || watch == NULL)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	watch->fd = -1;
}

int loop_wait(struct loop *loop)
{
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(loop->epoll_fd, events, EVENTS_MAX, -1);

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < count; i++) {
		/* a handler before this one may have removed it */
		const struct loop_watch *watch = find(loop, events[i].data.fd);

		if (watch != NULL)
			watch->ready(watch->context, watch->fd);
	}
	return 0;
}
