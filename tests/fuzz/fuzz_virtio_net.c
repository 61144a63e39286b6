/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: a network card on a stream socket, between a driver and a peer that both do what the input's bytes say: registers, descriptors, ring
 * entries, kicks; any bytes into the stream, and its end. What comes out of the stream must be whole frames of a legal length, whatever happens.
 * Guest memory ends where the sanitizer watches.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio/mmio.h"
#include "devices/virtio/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GPA = 0x1000, MEMORY = 0x20000, QUEUE = 16, RING = 0x1000, STEPS_MAX = 2048, ROUNDS_MAX = 100000 };

struct input {
	const uint8_t *at;
	size_t left;
};

struct world {
	struct net net;
	struct guest_mem_run run;
	struct guest_mem mem;
	int peer; /* -1 once closed */
	uint8_t prefix[4];
	size_t prefix_size, frame_left; /* of the stream that the peer reads */
};

/* The next number of the input, size bytes; zeroes behind its end. */
static uint64_t next(struct input *input, size_t size)
{
	uint64_t value = 0;

	size = size < input->left ? size : input->left;
	memcpy(&value, input->at, size);
	input->at += size;
	input->left -= size;
	return value;
}

static uint32_t reg_read(struct world *world, uint64_t offset)
{
	return (uint32_t)VIRTIO_MMIO_OPS.read(&world->net.device, offset, 4);
}

static void reg_write(struct world *world, uint64_t offset, uint64_t value)
{
	VIRTIO_MMIO_OPS.write(&world->net.device, offset, 4, (uint32_t)value);
}

/* Rings of queue i lie at GPA + i * RING: descriptors, available at 0x400, used at 0x800. */
static void start(struct world *world, uint64_t features)
{
	reg_write(world, 0x070, 0);
	reg_write(world, 0x070, 3);
	reg_write(world, 0x024, 0);
	reg_write(world, 0x010 + 4, 0);
	reg_write(world, 0x020, features & reg_read(world, 0x010));
	reg_write(world, 0x024, 1);
	reg_write(world, 0x020, 1);
	reg_write(world, 0x070, 11);
	for (unsigned i = 0; i < 2; i++) {
		reg_write(world, 0x030, i);
		reg_write(world, 0x038, QUEUE);
		reg_write(world, 0x080, GPA + i * RING);
		reg_write(world, 0x090, GPA + i * RING + 0x400);
		reg_write(world, 0x0a0, GPA + i * RING + 0x800);
		memset(world->run.hva + i * RING + 0x400, 0, 0x800);
		reg_write(world, 0x044, 1);
	}
	reg_write(world, 0x070, 15);
}

/* The main loop, until it rests. */
static void work(struct world *world)
{
	struct virtio_device *device = &world->net.device;

	for (unsigned rounds = 0;; rounds++) {
		struct pollfd wait[3] = {{device->kick_fds[0], POLLIN, 0},
					 {device->kick_fds[1], POLLIN, 0},
					 {device->watch_fds[0], POLLIN, 0}};

		assert(rounds < ROUNDS_MAX);
		if (poll(wait, 3, 0) <= 0)
			return;
		for (unsigned i = 0; i < 2; i++) {
			if (wait[i].revents != 0)
				virtio_kicked(device, i);
		}
		if (wait[2].revents != 0)
			device->class->readable(device, wait[2].fd);
	}
}

/* Reads what the card has sent and checks that it is frames. */
static void peer_read(struct world *world)
{
	static uint8_t bytes[65536];
	ssize_t got;

	if (world->peer < 0)
		return;
	while ((got = recv(world->peer, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0) {
		for (ssize_t i = 0; i < got;) {
			size_t part = (size_t)(got - i);

			if (world->frame_left == 0) {
				world->prefix[world->prefix_size++] = bytes[i++];
				if (world->prefix_size < 4)
					continue;
				world->prefix_size = 0;
				world->frame_left = (size_t)world->prefix[0] << 24 | (size_t)world->prefix[1] << 16 |
						    (size_t)world->prefix[2] << 8 | world->prefix[3];
				assert(world->frame_left >= NET_STREAM_FRAME_MIN &&
				       world->frame_left <= NET_STREAM_FRAME_MAX);
				continue;
			}
			part = part < world->frame_left ? part : world->frame_left;
			world->frame_left -= part;
			i += (ssize_t)part;
		}
	}
}

static void peer_write(struct world *world, struct input *input)
{
	size_t size = next(input, 2) % 4096;
	static const uint8_t zeroes[4096];
	bool framed = next(input, 1) % 4 != 0;
	uint8_t prefix[4] = {0, 0, (uint8_t)(size >> 8), (uint8_t)size};

	if (world->peer < 0)
		return;
	if (framed) {
		(void)!send(world->peer, prefix, 4, MSG_DONTWAIT | MSG_NOSIGNAL);
		(void)!send(world->peer, zeroes, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		return;
	}
	size = size < input->left ? size : input->left;
	(void)!send(world->peer, input->at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	input->at += size;
	input->left -= size;
}

static void descriptor(struct world *world, struct input *input)
{
	uint8_t *at = world->run.hva + next(input, 1) % 2 * RING + next(input, 1) % QUEUE * 16;
	uint64_t address = GPA + next(input, 3) % (MEMORY + 64);
	uint32_t length = (uint32_t)next(input, next(input, 1) % 5);
	uint16_t flags = (uint16_t)(next(input, 1) % 8), link = (uint16_t)(next(input, 1) % (QUEUE + 1));

	memcpy(at, &address, 8);
	memcpy(at + 8, &length, 4);
	memcpy(at + 12, &flags, 2);
	memcpy(at + 14, &link, 2);
}

static void publish(struct world *world, struct input *input)
{
	unsigned queue = next(input, 1) % 2;
	uint8_t *ring = world->run.hva + queue * RING + 0x400;
	uint16_t index, head = (uint16_t)(next(input, 1) % (QUEUE + 1));
	const uint64_t one = 1;

	memcpy(&index, ring + 2, 2);
	memcpy(ring + 4 + 2 * (index % QUEUE), &head, 2);
	index++;
	memcpy(ring + 2, &index, 2);
	(void)!write(world->net.device.kick_fds[queue], &one, sizeof(one));
}

static void step(struct world *world, struct input *input)
{
	switch (next(input, 1) % 10) {
	case 0:
	case 1:
		descriptor(world, input);
		break;
	case 2:
	case 3:
		publish(world, input);
		break;
	case 4:
		peer_write(world, input);
		break;
	case 5:
		peer_read(world);
		break;
	case 6:
		reg_write(world, next(input, 1) * 4 % 0x110, next(input, 4));
		break;
	case 7:
		world->run.hva[next(input, 3) % MEMORY] = (uint8_t)next(input, 1);
		break;
	case 8:
		start(world, next(input, 4) | (next(input, 1) % 2 != 0 ? 0xffffffff : 0));
		break;
	default:
		if (next(input, 1) == 0xee && world->peer >= 0) {
			close(world->peer);
			world->peer = -1;
		}
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct net_options options = {.option = "--net fuzz", .has_mac = true, .mac = {2, 0, 0, 0, 0, 1}};
	struct input input = {data, size};
	struct world *world = calloc(1, sizeof(*world));
	int pair[2], small = 4096;
	struct error err;

	if (world == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	/* so that the card meets a full socket */
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	world->peer = pair[1];
	world->run = (struct guest_mem_run){.gpa = {GPA, MEMORY}, .hva = calloc(1, MEMORY)};
	world->mem = (struct guest_mem){.runs = &world->run, .count = 1, .capacity = 1};
	if (world->run.hva == NULL || net_init_stream(&world->net, &options, pair[0], NULL, &err) < 0)
		abort();
	world->net.device.mem = &world->mem;
	start(world, UINT64_MAX);
	for (unsigned steps = 0; input.left > 0 && steps < STEPS_MAX; steps++) {
		step(world, &input);
		work(world);
	}
	net_release(&world->net);
	if (world->peer >= 0)
		close(world->peer);
	free(world->run.hva);
	free(world);
	return 0;
}
