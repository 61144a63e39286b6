/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_VHOST_USER_BACK_END_H
#define SPMVM_TESTS_UNIT_VHOST_USER_BACK_END_H

/*
 * The other end of vhost-user, written from vhost-user.rst alone: it keeps what it was told and, at one message, does something wrong.
 * Header only; for a thread or a process of its own:
 *
 *	struct back_end back = {.fd = socket, .features = ..., .protocol = EVERYTHING, .queues = 2, .slots = 32};
 *
 *	back_end_init(&back);
 *	while (back_end_answer(&back))
 *		;
 *	back_end_release(&back);
 */
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/virtio_driver.h"
#include "vmm/base/io.h"

enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_VRING_ERR = 14,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES = 16,
	GET_QUEUE_NUM = 17,
	SET_VRING_ENABLE = 18,
	GET_CONFIG = 24,
	GET_MAX_MEM_SLOTS = 36,
	ADD_MEM_REG = 37,
	REQUESTS = 40,
};

#define PROTOCOL      (UINT64_C(1) << 30)
#define MQ            (UINT64_C(1) << 0)
#define REPLY_ACK     (UINT64_C(1) << 3)
#define CONFIG        (UINT64_C(1) << 9)
#define RESET_DEVICE  (UINT64_C(1) << 13)
#define MEM_SLOTS     (UINT64_C(1) << 15)
#define EVERYTHING    (MQ | REPLY_ACK | CONFIG | RESET_DEVICE | MEM_SLOTS)
#define RING_FEATURES (VIRTIO_FEATURE_INDIRECT_DESC | VIRTIO_FEATURE_EVENT_IDX | VIRTIO_FEATURE_VERSION_1)

enum lie {
	HONEST,
	OTHER_REQUEST,
	NO_REPLY_FLAG,
	OTHER_VERSION,
	MORE_FLAGS,
	SHORTER,
	LONGER,
	HUGE,
	HALF_AND_CLOSE,
	HALF_HEADER_AND_CLOSE,
	CLOSE,
	STALL,
	TRICKLE,
	LIES,
};

enum { FDS_MAX = 8, REGIONS_SEEN = 64, RINGS = 4 };

struct wire_region {
	uint64_t gpa, size, user, offset;
};

struct ring {
	uint32_t number, base, enabled;
	uint64_t descriptors, used, available;
	int kick, call, err;
	bool running;
};

struct back_end {
	int fd;
	/* how it is */
	uint64_t features, protocol, queues, slots;
	enum lie lie;
	unsigned trickle_us;  /* between two bytes of TRICKLE's reply */
	uint32_t lie_at;      /* the request that it answers with its lie */
	uint32_t refuse;      /* the request that it acknowledges with an error */
	uint64_t base_answer; /* what GET_VRING_BASE says of the ring's number, in the upper half */
	bool send_fds;        /* beside each reply, uninvited */
	atomic_bool slow;     /* replies come byte by byte, but they come */
	/* what it was told */
	uint64_t accepted, accepted_protocol;
	unsigned seen[REQUESTS], owner;
	struct wire_region regions[REGIONS_SEEN];
	int region_fds[REGIONS_SEEN];
	size_t region_count;
	struct ring rings[RINGS];
};

struct wire_header {
	uint32_t request, flags, size;
};

/* Reads a message; false when the front end is gone. */
static inline bool read_message(struct back_end *b, struct wire_header *header, uint8_t *payload, int *fds,
				size_t *fd_count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
		struct cmsghdr alignment;
	} control;
	struct iovec iov = {header, sizeof(*header)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};

	*fd_count = 0;
	if (recvmsg(b->fd, &msg, MSG_WAITALL | MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*header))
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c)) {
		*fd_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), *fd_count * sizeof(int));
	}
	driver_require((header->flags & 7) == 1 && header->size <= 512);
	return header->size == 0 || recv(b->fd, payload, header->size, MSG_WAITALL) == (ssize_t)header->size;
}

static inline void put(struct back_end *b, const void *bytes, size_t size)
{
	size_t step = b->slow ? 1 : size;

	for (size_t at = 0; at < size; at += step) {
		if (step < size)
			usleep(100);
		(void)!send(b->fd, (const uint8_t *)bytes + at, step, MSG_NOSIGNAL);
	}
}

static inline void put_with_fds(struct back_end *b, const void *bytes, size_t size)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 2)];
		struct cmsghdr alignment;
	} control = {.bytes = {0}};
	struct wire_header copy;
	struct iovec iov = {&copy, size};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	int fds[2] = {b->fd, b->fd};

	memcpy(&copy, bytes, sizeof(copy));
	*c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(fds)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	(void)!sendmsg(b->fd, &msg, MSG_NOSIGNAL);
}

/* Waits until the front end has closed its end. */
static inline void wait_for_end(struct back_end *b)
{
	struct pollfd end = {.fd = b->fd, .events = POLLRDHUP};

	poll(&end, 1, 20000);
}

/* Replies, or lies. False: it is over. */
static inline bool reply(struct back_end *b, uint32_t request, const void *payload, uint32_t size)
{
	struct wire_header header = {request, 5, size};
	uint8_t garbage[64] = {0};
	enum lie lie = request == b->lie_at ? b->lie : HONEST;

	if (lie == OTHER_REQUEST)
		header.request++;
	else if (lie == NO_REPLY_FLAG)
		header.flags = 1;
	else if (lie == OTHER_VERSION)
		header.flags = 6;
	else if (lie == MORE_FLAGS)
		header.flags |= 0x80000000u;
	else if (lie == SHORTER)
		header.size = size - 1;
	else if (lie == LONGER)
		header.size = size + 1;
	else if (lie == HUGE)
		header.size = UINT32_MAX;
	if (lie == CLOSE)
		return false;
	if (lie == STALL) {
		wait_for_end(b);
		return false;
	}
	if (lie == HALF_HEADER_AND_CLOSE) {
		put(b, &header, 5);
		return false;
	}
	if (lie == TRICKLE) { /* each byte in time, the whole not */
		for (size_t i = 0; i < sizeof(header); i++) {
			put(b, (const uint8_t *)&header + i, 1);
			usleep(b->trickle_us);
		}
	} else if (b->send_fds) {
		put_with_fds(b, &header, sizeof(header));
	} else {
		put(b, &header, sizeof(header));
	}
	if (lie == HALF_AND_CLOSE)
		size /= 2;
	put(b, payload, size);
	if (lie == LONGER || lie == HUGE)
		put(b, garbage, sizeof(garbage));
	return lie != HALF_AND_CLOSE;
}

static inline bool reply_u64(struct back_end *b, uint32_t request, uint64_t value)
{
	return reply(b, request, &value, sizeof(value));
}

static inline void take_fd(int *place, int *fds, size_t *fd_count)
{
	io_close(place);
	if (*fd_count == 1)
		*place = fds[0];
	else
		driver_require(*fd_count == 0);
	*fd_count = 0;
}

/* SET_*: keeps what it says. */
static inline void set(struct back_end *b, const struct wire_header *header, const uint8_t *payload, int *fds,
		       size_t *fd_count)
{
	uint32_t words[10];
	uint64_t longs[33];
	struct ring *ring;

	memset(words, 0, sizeof(words));
	memset(longs, 0, sizeof(longs));
	memcpy(longs, payload, header->size < sizeof(longs) ? header->size : sizeof(longs));
	memcpy(words, payload, header->size < sizeof(words) ? header->size : sizeof(words));
	ring = &b->rings[words[0] % 256 % RINGS];
	switch (header->request) {
	case SET_FEATURES:
		b->accepted = longs[0];
		break;
	case SET_PROTOCOL_FEATURES:
		b->accepted_protocol = longs[0];
		break;
	case SET_OWNER:
		b->owner++;
		break;
	case SET_MEM_TABLE:
		driver_require(words[0] == *fd_count && header->size == 8 + 32 * *fd_count);
		b->region_count = *fd_count;
		memcpy(b->regions, payload + 8, 32 * *fd_count);
		memcpy(b->region_fds, fds, *fd_count * sizeof(int));
		*fd_count = 0;
		break;
	case ADD_MEM_REG:
		driver_require(*fd_count == 1 && header->size == 40 && b->region_count < REGIONS_SEEN);
		memcpy(&b->regions[b->region_count], payload + 8, 32);
		b->region_fds[b->region_count++] = fds[0];
		*fd_count = 0;
		break;
	case SET_VRING_NUM:
		ring->number = words[1];
		break;
	case SET_VRING_BASE:
		ring->base = words[1];
		break;
	case SET_VRING_ADDR:
		driver_require(header->size == 40);
		ring->descriptors = longs[1];
		ring->used = longs[2];
		ring->available = longs[3];
		break;
	case SET_VRING_KICK:
		take_fd(&ring->kick, fds, fd_count);
		ring->running = true;
		break;
	case SET_VRING_CALL:
		take_fd(&ring->call, fds, fd_count);
		break;
	case SET_VRING_ERR:
		take_fd(&ring->err, fds, fd_count);
		break;
	case SET_VRING_ENABLE:
		driver_require(ring->running);
		ring->enabled = words[1];
		break;
	default:
		driver_require(false);
	}
	for (size_t i = 0; i < *fd_count; i++)
		close(fds[i]);
}

static inline bool serve(struct back_end *b, const struct wire_header *header, const uint8_t *payload, int *fds,
			 size_t *fd_count)
{
	uint32_t state[2] = {0};
	uint8_t config[268];

	switch (header->request) {
	case GET_FEATURES:
		return reply_u64(b, GET_FEATURES, b->features);
	case GET_PROTOCOL_FEATURES:
		return reply_u64(b, GET_PROTOCOL_FEATURES, b->protocol);
	case GET_QUEUE_NUM:
		return reply_u64(b, GET_QUEUE_NUM, b->queues);
	case GET_MAX_MEM_SLOTS:
		return reply_u64(b, GET_MAX_MEM_SLOTS, b->slots);
	case GET_VRING_BASE:
		memcpy(state, payload, sizeof(state));
		b->rings[state[0] % RINGS].running = false;
		state[0] ^= (uint32_t)(b->base_answer >> 32);
		state[1] = (uint32_t)b->base_answer;
		return reply(b, GET_VRING_BASE, state, sizeof(state));
	case GET_CONFIG:
		memcpy(config, payload, 12);
		memset(config + 12, 0x5a, sizeof(config) - 12);
		return reply(b, GET_CONFIG, config, header->size);
	default:
		break;
	}
	set(b, header, payload, fds, fd_count);
	if ((header->flags & 8) != 0)
		return reply_u64(b, header->request, header->request == b->refuse);
	return header->request != b->lie_at || b->lie != CLOSE;
}

/* Takes one message and answers it; false when either end is through with the other. */
static inline bool back_end_answer(struct back_end *b)
{
	struct wire_header header;
	uint8_t payload[512];
	int fds[FDS_MAX];
	size_t fd_count;

	if (!read_message(b, &header, payload, fds, &fd_count))
		return false;
	driver_require(header.request < REQUESTS);
	b->seen[header.request]++;
	return serve(b, &header, payload, fds, &fd_count);
}

static inline void back_end_init(struct back_end *b)
{
	for (int i = 0; i < RINGS; i++)
		b->rings[i].kick = b->rings[i].call = b->rings[i].err = -1;
}

static inline void back_end_release(struct back_end *b)
{
	io_close(&b->fd);
	for (size_t i = 0; i < b->region_count; i++)
		close(b->region_fds[i]);
	for (int i = 0; i < RINGS; i++) {
		io_close(&b->rings[i].kick);
		io_close(&b->rings[i].call);
		io_close(&b->rings[i].err);
	}
}

#endif
