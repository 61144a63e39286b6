/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_LOOP_H
#define SPMVM_LOOP_H

#include <stdbool.h>
#include <stddef.h>

/*
 * The main thread's event loop: descriptors and who is told when one is readable or its other end is gone (epoll(7)). Main thread only.
 */
struct loop_watch {
	int fd; /* borrowed; -1: a free place */
	void (*ready)(void *context, int fd);
	void *context;
};

struct loop {
	int epoll_fd; /* owned; -1 when unset */
	struct loop_watch *watches;
	size_t count;
};

/* -errno when the kernel gives no epoll descriptor. A loop_release() is due only after success, and allowed always. */
int loop_init(struct loop *loop);
void loop_release(struct loop *loop);

/* Watches fd for input until loop_remove(). -EPERM for what epoll cannot watch (regular files), -ENOMEM, -EEXIST. */
int loop_add(struct loop *loop, int fd, void (*ready)(void *context, int fd), void *context);

/* Does nothing for a descriptor that is not watched. Handlers may add and remove, themselves too. */
void loop_remove(struct loop *loop, int fd);

/* Waits for events once and calls the handlers. 0 or -errno. */
int loop_wait(struct loop *loop);

#endif
