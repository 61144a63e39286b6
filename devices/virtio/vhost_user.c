/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/vhost_user.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/buf.h"
#include "vmm/base/io.h"
#include "vmm/base/range.h"

/* vhost-user.rst, "Front-end message types" */
enum request {
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
};

static const char *const REQUEST_NAMES[] = {
	[GET_FEATURES] = "GET_FEATURES",
	[SET_FEATURES] = "SET_FEATURES",
	[SET_OWNER] = "SET_OWNER",
	[SET_MEM_TABLE] = "SET_MEM_TABLE",
	[SET_VRING_NUM] = "SET_VRING_NUM",
	[SET_VRING_ADDR] = "SET_VRING_ADDR",
	[SET_VRING_BASE] = "SET_VRING_BASE",
	[GET_VRING_BASE] = "GET_VRING_BASE",
	[SET_VRING_KICK] = "SET_VRING_KICK",
	[SET_VRING_CALL] = "SET_VRING_CALL",
	[SET_VRING_ERR] = "SET_VRING_ERR",
	[GET_PROTOCOL_FEATURES] = "GET_PROTOCOL_FEATURES",
	[SET_PROTOCOL_FEATURES] = "SET_PROTOCOL_FEATURES",
	[GET_QUEUE_NUM] = "GET_QUEUE_NUM",
	[SET_VRING_ENABLE] = "SET_VRING_ENABLE",
	[GET_CONFIG] = "GET_CONFIG",
	[GET_MAX_MEM_SLOTS] = "GET_MAX_MEM_SLOTS",
	[ADD_MEM_REG] = "ADD_MEM_REG",
};

/* "Header": version 1 in bits 0 and 1 */
enum { FLAGS_VERSION = 1, FLAGS_REPLY = 4, FLAGS_NEED_REPLY = 8 };

/* a feature bit beside virtio's own, and what it unlocks ("Protocol features") */
#define F_PROTOCOL_FEATURES            (UINT64_C(1) << 30)
#define PROTOCOL_F_MQ                  (UINT64_C(1) << 0)
#define PROTOCOL_F_REPLY_ACK           (UINT64_C(1) << 3)
#define PROTOCOL_F_CONFIG              (UINT64_C(1) << 9)
#define PROTOCOL_F_CONFIGURE_MEM_SLOTS (UINT64_C(1) << 15)
#define PROTOCOL_UNDERSTOOD            (PROTOCOL_F_MQ | PROTOCOL_F_REPLY_ACK | PROTOCOL_F_CONFIG | PROTOCOL_F_CONFIGURE_MEM_SLOTS)

/* SET_VRING_KICK, CALL and ERR: the ring's number and "there is no descriptor" */
#define VRING_NO_FD UINT64_C(0x100)

/* Messages, all in the host's byte order and without padding of the compiler's. */
struct header {
	uint32_t request, flags, size;
};

struct vring_state {
	uint32_t index, number;
};

struct vring_address {
	uint32_t index, flags;
	uint64_t descriptors, used, available, log;
};

struct region {
	uint64_t gpa, size, user_address, offset;
};

struct mem_table {
	uint32_t count, padding;
	struct region regions[VHOST_USER_TABLE_MAX];
};

struct mem_region {
	uint64_t padding;
	struct region region;
};

struct config {
	uint32_t offset, size, flags;
	uint8_t bytes[VHOST_USER_CONFIG_MAX];
};

_Static_assert(sizeof(struct header) == 12 && sizeof(struct vring_address) == 40, "as on the wire");
_Static_assert(sizeof(struct mem_table) == 8 + 8 * 32 && sizeof(struct mem_region) == 40, "as on the wire");
_Static_assert(sizeof(struct config) == 12 + VHOST_USER_CONFIG_MAX, "as on the wire");

/* ---- one message and its reply */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Each public call has its time, however many messages it takes. */
static void begin(struct vhost_user *vu)
{
	vu->deadline = now_ms() + vu->options.timeout_ms;
}

__attribute__((format(printf, 3, 4))) static int failed(struct vhost_user *vu, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(vu->why, sizeof(vu->why), format, args);
	va_end(args);
	return -code;
}

/* What comes next over this connection could not be told from what is late: the end of it. Returns code. */
static int dead(struct vhost_user *vu, int code)
{
	vu->dead = true;
	vu->started = 0;
	/* not closed: the main loop watches it, and hears of it this way */
	shutdown(vu->fd, SHUT_RDWR);
	return code;
}

static int wait_until(struct vhost_user *vu, short events, enum request request)
{
	for (;;) {
		struct pollfd socket = {.fd = vu->fd, .events = events};
		uint64_t now = now_ms();
		int code;

		if (now >= vu->deadline)
			return dead(vu, failed(vu, ETIMEDOUT, "%s gives no answer to %s within %u ms", vu->options.peer,
					       REQUEST_NAMES[request], vu->options.timeout_ms));
		code = poll(&socket, 1, (int)(vu->deadline - now));
		if (code > 0)
			return 0;
		if (code < 0 && errno != EINTR)
			return dead(vu, failed(vu, errno, "poll: %s", strerror(errno)));
	}
}

/* Nothing came, or nothing went: wait and try again (0), or the end. */
static int again(struct vhost_user *vu, ssize_t moved, short events, enum request request)
{
	if (moved < 0 && errno == EINTR)
		return 0;
	if (moved < 0 && errno == EAGAIN)
		return wait_until(vu, events, request);
	if (moved == 0 || errno == ECONNRESET || errno == EPIPE)
		return dead(vu, failed(vu, ENOTCONN, "%s has closed the connection (at %s)", vu->options.peer,
				       REQUEST_NAMES[request]));
	return dead(vu, failed(vu, errno, "%s: %s: %s", vu->options.peer, REQUEST_NAMES[request], strerror(errno)));
}

struct message {
	enum request request;
	const void *payload;
	uint32_t size;
	const int *fds;
	size_t fd_count; /* at most VHOST_USER_TABLE_MAX */
	void *reply;     /* NULL: none, or an acknowledgement */
	uint32_t reply_size;
};

static int send_message(struct vhost_user *vu, const struct message *message, uint32_t flags)
{
	struct header header = {message->request, flags, message->size};
	union {
		const void *in;
		void *out;
	} payload = {.in = message->payload}; /* sendmsg() only reads it */
	struct iovec iov[2] = {{&header, sizeof(header)}, {payload.out, message->size}};
	union {
		char bytes[CMSG_SPACE(sizeof(int) * VHOST_USER_TABLE_MAX)];
		struct cmsghdr alignment;
	} control = {.bytes = {0}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	assert(message->fd_count <= VHOST_USER_TABLE_MAX);
	if (message->fd_count > 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * message->fd_count);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * message->fd_count);
		memcpy(CMSG_DATA(cmsg), message->fds, sizeof(int) * message->fd_count);
	}
	while (iov[0].iov_len + iov[1].iov_len > 0) {
		ssize_t put = sendmsg(vu->fd, &msg, MSG_NOSIGNAL);

		if (put <= 0) {
			int code = again(vu, put, POLLOUT, message->request);

			if (code < 0)
				return code;
			continue;
		}
		/* the descriptors went with the first byte */
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
		for (int i = 0; i < 2; i++) {
			size_t part = (size_t)put < iov[i].iov_len ? (size_t)put : iov[i].iov_len;

			if (part == 0)
				continue;
			iov[i].iov_base = (uint8_t *)iov[i].iov_base + part;
			iov[i].iov_len -= part;
			put -= (ssize_t)part;
		}
	}
	return 0;
}

static int receive(struct vhost_user *vu, void *bytes, size_t size, enum request request)
{
	uint8_t *at = bytes;

	while (size > 0) {
		/* not recvmsg(): descriptors that come along uninvited are dropped by the kernel */
		ssize_t got = read(vu->fd, at, size);

		if (got <= 0) {
			int code = again(vu, got, POLLIN, request);

			if (code < 0)
				return code;
			continue;
		}
		at += got;
		size -= (size_t)got;
	}
	return 0;
}

/* The reply to this very request, of this very size. */
static int receive_reply(struct vhost_user *vu, enum request request, void *reply, uint32_t size)
{
	struct header header;
	int code = receive(vu, &header, sizeof(header), request);

	if (code < 0)
		return code;
	if (header.request != request || header.flags != (FLAGS_VERSION | FLAGS_REPLY) || header.size != size)
		return dead(vu, failed(vu, EPROTO,
				       "%s answers %s wrongly: request %" PRIu32 ", flags 0x%" PRIx32 ", size %" PRIu32
				       " instead of %d, 0x5, %" PRIu32,
				       vu->options.peer, REQUEST_NAMES[request], header.request, header.flags,
				       header.size, (int)request, size));
	return receive(vu, reply, size, request);
}

/* One message, and its reply if there is one. A request that the back end refuses is -EREMOTEIO: the connection lives on. */
static int exchange(struct vhost_user *vu, const struct message *message)
{
	bool acknowledge = message->reply == NULL && (vu->protocol & PROTOCOL_F_REPLY_ACK) != 0;
	uint64_t status = 0;
	int code;

	if (vu->dead || vu->fd < 0)
		return -ENOTCONN;
	code = send_message(vu, message, FLAGS_VERSION | (acknowledge ? FLAGS_NEED_REPLY : 0));
	if (code == 0 && message->reply != NULL)
		code = receive_reply(vu, message->request, message->reply, message->reply_size);
	if (code < 0 || !acknowledge)
		return code;
	code = receive_reply(vu, message->request, &status, sizeof(status));
	if (code == 0 && status != 0)
		code = failed(vu, EREMOTEIO, "%s refuses %s (status %" PRIu64 ")", vu->options.peer,
			      REQUEST_NAMES[message->request], status);
	return code;
}

static int get_u64(struct vhost_user *vu, enum request request, uint64_t *value)
{
	return exchange(vu, &(struct message){.request = request, .reply = value, .reply_size = sizeof(*value)});
}

static int set_u64(struct vhost_user *vu, enum request request, uint64_t value)
{
	return exchange(vu, &(struct message){.request = request, .payload = &value, .size = sizeof(value)});
}

static int set_vring(struct vhost_user *vu, enum request request, uint32_t index, uint32_t number)
{
	struct vring_state state = {index, number};

	return exchange(vu, &(struct message){.request = request, .payload = &state, .size = sizeof(state)});
}

static int set_vring_fd(struct vhost_user *vu, enum request request, uint32_t index, int fd)
{
	uint64_t value = index | (fd < 0 ? VRING_NO_FD : 0);

	return exchange(vu, &(struct message){.request = request,
					      .payload = &value,
					      .size = sizeof(value),
					      .fds = &fd,
					      .fd_count = fd < 0 ? 0 : 1});
}

/* The error of a call before the guest runs. */
static int report(const struct vhost_user *vu, int code, struct error *err)
{
	return error_set(err, EXIT_STATUS_HOST, -code, "%s: %s", vu->options.option, vu->why);
}

/* ---- connecting */

int vhost_user_connect(const char *path, const char *option, int *fd, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int code, socket_fd;

	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, EXIT_STATUS_HOST, ENAMETOOLONG,
				 "%s: the socket's path %s is longer than %zu bytes, Linux's limit", option, path,
				 sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (socket_fd < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "%s: cannot make a socket: %s", option, strerror(errno));
	/* a Unix socket connects at once or not at all */
	if (connect(socket_fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		code = errno;
		close(socket_fd);
		return error_set(err, EXIT_STATUS_HOST, code,
				 "%s: cannot connect to %s: %s; start the back end that listens there first", option,
				 path, code == EAGAIN ? "it is busy with others" : strerror(code));
	}
	*fd = socket_fd;
	return 0;
}

static int negotiate(struct vhost_user *vu)
{
	uint64_t offered = 0, queues;
	int code;

	begin(vu);
	code = get_u64(vu, GET_FEATURES, &vu->features);
	if (code == 0 && (vu->features & F_PROTOCOL_FEATURES) != 0) {
		code = get_u64(vu, GET_PROTOCOL_FEATURES, &offered);
		if (code == 0)
			code = set_u64(vu, SET_PROTOCOL_FEATURES, offered & PROTOCOL_UNDERSTOOD);
		/* REPLY_ACK holds from the next message on */
		if (code == 0)
			vu->protocol = offered & PROTOCOL_UNDERSTOOD;
	}
	if (code == 0 && (vu->protocol & PROTOCOL_F_MQ) != 0) {
		code = get_u64(vu, GET_QUEUE_NUM, &queues);
		if (code == 0 && queues < vu->options.queue_count)
			code = failed(vu, ENOTSUP, "%s serves %" PRIu64 " queues, and the device has %u",
				      vu->options.peer, queues, vu->options.queue_count);
	}
	if (code == 0 && (vu->protocol & PROTOCOL_F_CONFIGURE_MEM_SLOTS) != 0)
		code = get_u64(vu, GET_MAX_MEM_SLOTS, &vu->slots);
	if (code == 0)
		code = exchange(vu, &(struct message){.request = SET_OWNER});
	if (code == 0 && (vu->features & VIRTIO_FEATURE_VERSION_1) == 0)
		code = failed(vu, ENOTSUP, "%s does not speak virtio 1.0 (VIRTIO_F_VERSION_1)", vu->options.peer);
	return code;
}

int vhost_user_init(struct vhost_user *vu, const struct vhost_user_options *options, int fd, struct error *err)
{
	int code;

	*vu = (struct vhost_user){.options = *options, .fd = fd, .error_fd = -1, .slots = VHOST_USER_TABLE_MAX};
	if (vu->options.timeout_ms == 0)
		vu->options.timeout_ms = VHOST_USER_TIMEOUT_MS;
	vu->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vu->error_fd < 0)
		code = failed(vu, errno, "cannot make an eventfd: %s", strerror(errno));
	else
		code = negotiate(vu);
	if (code < 0) {
		code = report(vu, code, err);
		vhost_user_release(vu);
	}
	return code;
}

void vhost_user_release(struct vhost_user *vu)
{
	if (vu == NULL || vu->options.option == NULL)
		return;
	io_close(&vu->fd);
	io_close(&vu->error_fd);
	*vu = (struct vhost_user){.fd = -1, .error_fd = -1};
}

/* ---- memory */

static struct region region_of(const struct vhost_user_region *region)
{
	return (struct region){region->gpa, region->size, (uint64_t)(uintptr_t)region->hva, region->offset};
}

static int set_table(struct vhost_user *vu, const struct vhost_user_region *regions, size_t count)
{
	struct mem_table table = {.count = (uint32_t)count};
	int fds[VHOST_USER_TABLE_MAX];

	for (size_t i = 0; i < count; i++) {
		table.regions[i] = region_of(&regions[i]);
		fds[i] = regions[i].fd;
	}
	return exchange(vu, &(struct message){.request = SET_MEM_TABLE,
					      .payload = &table,
					      .size = (uint32_t)(offsetof(struct mem_table, regions) +
								 count * sizeof(struct region)),
					      .fds = fds,
					      .fd_count = count});
}

static int add_regions(struct vhost_user *vu, const struct vhost_user_region *regions, size_t count)
{
	int code = 0;

	for (size_t i = 0; code == 0 && i < count; i++) {
		struct mem_region message = {.region = region_of(&regions[i])};

		code = exchange(vu, &(struct message){.request = ADD_MEM_REG,
						      .payload = &message,
						      .size = sizeof(message),
						      .fds = &regions[i].fd,
						      .fd_count = 1});
	}
	return code;
}

/* Names every region that is out of the back end's reach, in lines short enough that the log does not cut them. */
static void warn_unreachable(const struct vhost_user *vu, const struct vhost_user_region *regions, size_t count)
{
	enum { LINE_MAX_ = 600 };
	struct buf names = {0};

	for (size_t i = 0; i < count; i++) {
		buf_printf(&names, "%s%s", names.size > 0 ? ", " : "", regions[i].id);
		if (names.size < LINE_MAX_ && i + 1 < count)
			continue;
		buf_u8(&names, 0);
		log_warn(vu->options.log,
			 "%s: %s takes %" PRIu64 " memory regions; I/O with this device does not reach %s",
			 vu->options.option, vu->options.peer, vu->slots,
			 buf_failed(&names) ? "the others" : (const char *)names.data);
		buf_release(&names);
	}
}

int vhost_user_set_memory(struct vhost_user *vu, const struct vhost_user_region *regions, size_t count,
			  struct error *err)
{
	size_t taken = count < vu->slots ? count : (size_t)vu->slots;
	int code;

	assert(count > 0);
	begin(vu);
	if (taken == 0)
		code = failed(vu, EPROTO, "%s takes no memory region at all", vu->options.peer);
	else if ((vu->protocol & PROTOCOL_F_CONFIGURE_MEM_SLOTS) != 0)
		code = add_regions(vu, regions, taken);
	else
		code = set_table(vu, regions, taken);
	/* without acknowledgements, an answer to anything at all says that it came through */
	if (code == 0 && (vu->protocol & PROTOCOL_F_REPLY_ACK) == 0)
		code = get_u64(vu, GET_FEATURES, &(uint64_t){0});
	if (code < 0)
		return report(vu, code, err);
	vu->regions = regions;
	vu->region_count = taken;
	if (taken < count)
		warn_unreachable(vu, regions + taken, count - taken);
	return 0;
}

int vhost_user_get_config(struct vhost_user *vu, uint32_t offset, void *bytes, uint32_t size, struct error *err)
{
	struct config request = {.offset = offset, .size = size}, reply = {0};
	uint32_t message_size = (uint32_t)offsetof(struct config, bytes) + size;
	int code;

	assert(size <= VHOST_USER_CONFIG_MAX);
	begin(vu);
	if ((vu->protocol & PROTOCOL_F_CONFIG) == 0)
		code = failed(vu, ENOTSUP, "%s has no configuration to tell", vu->options.peer);
	else
		code = exchange(vu, &(struct message){.request = GET_CONFIG,
						      .payload = &request,
						      .size = message_size,
						      .reply = &reply,
						      .reply_size = message_size});
	if (code == 0 && (reply.offset != offset || reply.size != size))
		code = dead(vu, failed(vu, EPROTO, "%s answers GET_CONFIG with another part of it", vu->options.peer));
	if (code < 0)
		return report(vu, code, err);
	memcpy(bytes, reply.bytes, size);
	return 0;
}

/* ---- rings */

/* Whether the back end has the whole of it in one mapping: some only look at where it starts, and would run over the end. */
static bool in_reach(const struct vhost_user *vu, uint64_t gpa, uint64_t size)
{
	for (size_t i = 0; i < vu->region_count; i++) {
		struct range region = {vu->regions[i].gpa, vu->regions[i].size};

		if (range_contains(region, (struct range){gpa, size}))
			return true;
	}
	return false;
}

static int start_ring(struct vhost_user *vu, const struct virtio_device *device, unsigned i)
{
	const struct virtq *queue = &device->queues[i];
	struct vring_address address = {
		.index = i,
		.descriptors = (uint64_t)(uintptr_t)queue->descriptor_table,
		.used = (uint64_t)(uintptr_t)queue->used_ring,
		.available = (uint64_t)(uintptr_t)queue->available_ring,
	};
	uint64_t size = queue->size;
	int code;

	/* sizes as of virtio 1.2 §2.7, the event indices included */
	if (!in_reach(vu, queue->descriptors, 16 * size) || !in_reach(vu, queue->available, 6 + 2 * size) ||
	    !in_reach(vu, queue->used, 6 + 8 * size))
		return failed(vu, EFAULT, "virtqueue %u lies where %s does not reach", i, vu->options.peer);
	code = set_vring(vu, SET_VRING_NUM, i, queue->size);
	if (code == 0)
		code = set_vring(vu, SET_VRING_BASE, i, queue->next_available);
	if (code == 0)
		code = exchange(
			vu, &(struct message){.request = SET_VRING_ADDR, .payload = &address, .size = sizeof(address)});
	/* where to report before the kick, which starts the ring */
	if (code == 0)
		code = set_vring_fd(vu, SET_VRING_ERR, i, vu->error_fd);
	if (code == 0)
		code = set_vring_fd(vu, SET_VRING_CALL, i, device->irq.eventfd);
	if (code == 0)
		vu->started |= UINT32_C(1) << i;
	if (code == 0)
		code = set_vring_fd(vu, SET_VRING_KICK, i, device->kick_fds[i]);
	return code;
}

int vhost_user_start(struct vhost_user *vu, struct virtio_device *device)
{
	uint64_t protocol_features = vu->features & F_PROTOCOL_FEATURES;
	int code;

	begin(vu);
	/* what it does not know of is about the configuration, and that is ours */
	code = set_u64(vu, SET_FEATURES, (device->accepted & vu->features) | protocol_features);
	for (unsigned i = 0; code == 0 && i < device->queue_count; i++) {
		if (device->queues[i].ready)
			code = start_ring(vu, device, i);
	}
	for (unsigned i = 0; code == 0 && protocol_features != 0 && i < device->queue_count; i++) {
		if ((vu->started >> i & 1) != 0)
			code = set_vring(vu, SET_VRING_ENABLE, i, 1);
	}
	/* a back end that has died meanwhile is found out now, not at the guest's first request */
	if (code == 0 && (vu->protocol & PROTOCOL_F_REPLY_ACK) == 0)
		code = get_u64(vu, GET_FEATURES, &(uint64_t){0});
	if (code == 0)
		return 0;
	if (device->log != NULL)
		log_limited(device->log, &device->log_limit, LOG_WARN, "%s: %s", vu->options.option, vu->why);
	vhost_user_stop(vu);
	return code;
}

int vhost_user_stop(struct vhost_user *vu)
{
	uint32_t started = vu->started;
	int code = 0;

	vu->started = 0;
	begin(vu);
	for (unsigned i = 0; code == 0 && started >> i != 0; i++) {
		struct vring_state request = {.index = i}, reply = {0};

		if ((started >> i & 1) == 0)
			continue;
		code = exchange(vu, &(struct message){.request = GET_VRING_BASE,
						      .payload = &request,
						      .size = sizeof(request),
						      .reply = &reply,
						      .reply_size = sizeof(reply)});
		if (code == 0 && (reply.index != i || reply.number > UINT16_MAX))
			code = dead(vu,
				    failed(vu, EPROTO, "%s stops virtqueue %" PRIu32 " at %" PRIu32 " instead of %u",
					   vu->options.peer, reply.index, reply.number, i));
	}
	/* of a ring that was broken until now; the next ones are not */
	if (started != 0)
		io_lower(vu->error_fd);
	return code;
}

/* ---- watching */

void vhost_user_watch(const struct vhost_user *vu, struct virtio_device *device)
{
	device->watch_fds[VHOST_USER_WATCH_SOCKET] = vu->fd;
	device->watch_fds[VHOST_USER_WATCH_ERROR] = vu->error_fd;
}

/* Lock held. Nothing is to come over the socket now: whoever asked has taken the answer before the lock was free. */
static void check_socket(struct vhost_user *vu, struct virtio_device *device)
{
	uint8_t byte;
	ssize_t got = read(vu->fd, &byte, 1);

	if (!vu->dead && got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (!vu->dead && got > 0)
		(void)dead(vu, failed(vu, EPROTO, "%s says what it was not asked for", vu->options.peer));
	else if (!vu->dead)
		(void)dead(vu, failed(vu, ENOTCONN, "%s has closed the connection", vu->options.peer));
	device->watch_fds[VHOST_USER_WATCH_SOCKET] = -1;
	io_close(&vu->fd);
	virtio_needs_reset(device, vu->why);
}

void vhost_user_readable(struct vhost_user *vu, struct virtio_device *device, int fd)
{
	uint64_t count;

	if (fd < 0)
		return;
	pthread_mutex_lock(&device->lock);
	if (fd == vu->fd)
		check_socket(vu, device);
	else if (fd == vu->error_fd && read(fd, &count, sizeof(count)) > 0 && vu->started != 0)
		virtio_needs_reset(device, "its back end found a virtqueue broken");
	pthread_mutex_unlock(&device->lock);
}
