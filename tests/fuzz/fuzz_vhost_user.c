/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: what a vhost-user back end may answer, any bytes, while the front end goes all the way: features, memory, configuration, start,
 * stop, words out of turn. The first byte says how many regions of memory there are and which features the guest's driver accepts. Half of the inputs
 * are taken as payloads that get the right headers, or the fuzzer would rarely come past the first reply.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/vhost_user.h"

enum { RAM_SIZE = 1 << 16, REGIONS = 12, REPLY_MAX = 1 << 15 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void no_config(struct virtio_device *device, size_t offset, uint8_t *bytes, size_t size)
{
	(void)device;
	(void)offset;
	(void)bytes;
	(void)size;
}

static const struct virtio_class CLASS = {.name = "fuzz", .id = VIRTIO_ID_FS, .read_config = no_config};

static void add_reply(int fd, uint32_t request, const uint8_t *bytes, uint32_t size)
{
	const uint32_t header[3] = {request, 5, size};

	(void)!write(fd, header, sizeof(header));
	(void)!write(fd, bytes, size);
}

/* The replies of one run with every protocol feature, with payloads from the input as long as it lasts. */
static void well_formed(int fd, const uint8_t *data, size_t size)
{
	static const struct {
		uint8_t request, size;
	} REPLIES[] = {{1, 8},   {15, 8}, {17, 8}, {36, 8}, {3, 8},  {37, 8}, {37, 8}, {37, 8}, {37, 8},
		       {24, 28}, {2, 8},  {8, 8},  {10, 8}, {9, 8},  {14, 8}, {13, 8}, {12, 8}, {8, 8},
		       {10, 8},  {9, 8},  {14, 8}, {13, 8}, {12, 8}, {18, 8}, {18, 8}, {11, 8}, {11, 8}};
	size_t at = 0;

	for (size_t i = 0; i < sizeof(REPLIES) / sizeof(REPLIES[0]); i++) {
		uint8_t payload[32] = {0};
		size_t part = size - at < REPLIES[i].size ? size - at : REPLIES[i].size;

		memcpy(payload, data + at, part);
		at += part;
		add_reply(fd, REPLIES[i].request, payload, REPLIES[i].size);
	}
	(void)!write(fd, data + at, size - at);
}

static void drive(struct vhost_user *vu, struct virtio_device *device, unsigned count, uint8_t *ram)
{
	struct vhost_user_region regions[REGIONS];
	struct error err;
	uint8_t config[16];

	for (unsigned i = 0; i < count; i++)
		regions[i] = (struct vhost_user_region){
			.gpa = i * (RAM_SIZE / count), .size = RAM_SIZE / count, .fd = 0, .hva = ram, .id = "ram"};
	if (vhost_user_set_memory(vu, regions, count, &err) < 0)
		return;
	assert(vu->region_count > 0 && vu->region_count <= count);
	(void)!vhost_user_get_config(vu, 0, config, sizeof(config), &err);
	for (unsigned i = 0; i < 2; i++)
		device->queues[i] = (struct virtq){.ready = true,
						   .size = 8,
						   .descriptors = 0,
						   .available = 256,
						   .used = 512,
						   .descriptor_table = ram};
	if (vhost_user_start(vu, device) == 0)
		assert(vu->started == 3);
	else
		assert(vu->started == 0);
	(void)!vhost_user_stop(vu);
	assert(vu->started == 0);
	vhost_user_watch(vu, device);
	for (int i = 0; i < 3; i++)
		vhost_user_readable(vu, device, device->watch_fds[VHOST_USER_WATCH_SOCKET]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t ram[RAM_SIZE];
	static const struct log LOG = {.level = LOG_ERROR, .fd = 2};
	const struct vhost_user_options options = {
		.option = "--share", .peer = "peer", .log = &LOG, .queue_count = 2, .timeout_ms = 1000};
	struct virtio_device device;
	struct vhost_user vu;
	struct error err;
	int pair[2];

	if (size < 1 || size > REPLY_MAX || virtio_init(&device, &CLASS, 2, 0) < 0)
		return 0;
	device.accepted = data[0];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	if ((data[0] & 1) != 0)
		(void)!write(pair[1], data + 1, size - 1);
	else
		well_formed(pair[1], data + 1, size - 1);
	/* nothing more will come: no reply is waited for */
	shutdown(pair[1], SHUT_WR);
	if (vhost_user_init(&vu, &options, pair[0], &err) == 0)
		drive(&vu, &device, 1 + data[0] / 2 % REGIONS, ram);
	vhost_user_release(&vu);
	virtio_release(&device);
	close(pair[1]);
	return 0;
}
