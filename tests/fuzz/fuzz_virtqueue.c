/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio core and three devices on it under a driver that does what the input's bytes say: they write registers, fill ring memory, kick. The
 * first byte chooses the device. Some steps are shortcuts to where it gets interesting (a device that runs, a descriptor, an entry of
 * the available ring), so that the fuzzer need not find the protocol first. Memory ends where the sanitizer watches.
 */
#include "devices/virtio/console.h"
#include "devices/virtio/mmio.h"
#include "devices/virtio/rng.h"
#include "tests/unit/virtio_echo.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GPA = 0x1000, MEMORY = 0x10000, STEPS_MAX = 4096 };

struct machine {
	union {
		struct virtio_device device;
		struct echo echo;
		struct virtio_rng rng;
		struct virtio_console console;
	};
	struct guest_mem_run run;
	struct guest_mem mem;
	int host; /* our end of the console's socket, or -1 */
};

struct input {
	const uint8_t *at;
	size_t left;
};

static void require(bool always)
{
	if (!always)
		abort();
}

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

static void make_console(struct machine *machine)
{
	struct virtio_console_port_options ports[] = {{"a", -1, -1, false}, {"b", -1, -1, true}};
	const struct virtio_console_options options = {"fuzz", ports, 2};
	struct error err;
	int pair[2];

	require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	ports[1].in_fd = ports[1].out_fd = pair[1];
	machine->host = pair[0];
	require(virtio_console_init(&machine->console, &options, NULL, &err) == 0);
}

static void make(struct machine *machine, unsigned kind)
{
	struct error err;
	void *memory;

	machine->host = -1;
	require(posix_memalign(&memory, 4096, MEMORY) == 0);
	memset(memory, 0, MEMORY);
	machine->run = (struct guest_mem_run){.gpa = {GPA, MEMORY}, .hva = memory};
	machine->mem = (struct guest_mem){.runs = &machine->run, .count = 1};
	if (kind % 3 == 0)
		require(echo_init(&machine->echo) == 0);
	else if (kind % 3 == 1)
		require(virtio_rng_init(&machine->rng, "fuzz", NULL, &err) == 0);
	else
		make_console(machine);
	machine->device.mem = &machine->mem;
}

static void put(struct machine *machine, uint64_t offset, uint32_t value)
{
	VIRTIO_MMIO_OPS.write(&machine->device, offset, 4, value);
}

/* Queue i has its rings at GPA + i * 0x1000. */
static void start(struct machine *machine, uint32_t features, unsigned order)
{
	put(machine, 0x070, 0);
	put(machine, 0x070, 3);
	put(machine, 0x024, 1);
	put(machine, 0x020, 1);
	put(machine, 0x024, 0);
	put(machine, 0x020, features & (uint32_t)machine->device.offered);
	put(machine, 0x070, 11);
	for (uint32_t i = 0; i < machine->device.queue_count; i++) {
		put(machine, 0x030, i);
		put(machine, 0x038, 1u << order % 6);
		put(machine, 0x080, GPA + i * 0x1000);
		put(machine, 0x084, 0);
		put(machine, 0x090, GPA + i * 0x1000 + 0x400);
		put(machine, 0x094, 0);
		put(machine, 0x0a0, GPA + i * 0x1000 + 0x600);
		put(machine, 0x0a4, 0);
		put(machine, 0x044, 1);
	}
	put(machine, 0x070, 15);
}

static void publish(struct machine *machine, unsigned queue, uint16_t head)
{
	const struct virtq *virtq = &machine->device.queues[queue];
	uint8_t *ring = machine->run.hva + queue * 0x1000 + 0x400;
	uint16_t index;

	memcpy(&index, ring + 2, 2);
	memcpy(ring + 4 + 2 * (index % (virtq->size > 0 ? virtq->size : 1u)), &head, 2);
	index++;
	memcpy(ring + 2, &index, 2);
}

static void touch_host(struct machine *machine, uint8_t what)
{
	uint8_t bytes[64] = {what};

	if (machine->host >= 0 && what % 4 == 0)
		(void)!write(machine->host, bytes, 1 + what / 4);
	else if (machine->host >= 0 && what % 4 == 1)
		(void)!read(machine->host, bytes, sizeof(bytes));
	else if (machine->host >= 0 && what == 0xff)
		(void)shutdown(machine->host, SHUT_RDWR);
	if (machine->device.class->readable != NULL)
		machine->device.class->readable(&machine->device, machine->device.watch_fds[0]);
}

static void take_step(struct machine *machine, struct input *input)
{
	uint8_t step = (uint8_t)next(input, 1);
	unsigned queue = (step >> 4) % machine->device.queue_count;
	uint64_t offset, length;

	switch (step & 7) {
	case 0:
		offset = next(input, 1);
		put(machine, offset * 4, (uint32_t)next(input, 4));
		break;
	case 1:
		offset = next(input, 2) % VIRTIO_MMIO_PAGE;
		length = 1u << (step >> 4 & 3);
		VIRTIO_MMIO_OPS.read(&machine->device, offset, (unsigned)length);
		VIRTIO_MMIO_OPS.write(&machine->device, offset, (unsigned)length, step >> 6);
		break;
	case 2:
		offset = next(input, 2) % (MEMORY - 8);
		length = next(input, 8);
		memcpy(machine->run.hva + offset, &length, 8);
		break;
	case 3:
		virtio_kicked(&machine->device, queue);
		break;
	case 4:
		offset = next(input, 1);
		start(machine, (uint32_t)next(input, 4), (unsigned)offset);
		break;
	case 5: /* a descriptor: 4 bytes of address, 4 of length, flags, next */
		offset = queue * 0x1000 + 16 * (next(input, 1) % 64);
		length = next(input, 4);
		memcpy(machine->run.hva + offset, &length, 8);
		length = next(input, 8);
		memcpy(machine->run.hva + offset + 8, &length, 8);
		break;
	case 6:
		publish(machine, queue, (uint16_t)next(input, 1));
		break;
	default:
		touch_host(machine, (uint8_t)next(input, 1));
		break;
	}
}

static void check(const struct machine *machine)
{
	for (unsigned i = 0; i < machine->device.queue_count; i++) {
		const struct virtq *queue = &machine->device.queues[i];
		unsigned in_flight = 0;

		for (unsigned head = 0; head < VIRTQ_SIZE_MAX; head++)
			in_flight += queue->in_flight[head];
		require(in_flight <= queue->size);
		require(queue->size <= VIRTQ_SIZE_MAX);
	}
	require((machine->device.accepted & ~machine->device.offered) == 0 ||
		(machine->device.status & VIRTIO_STATUS_FEATURES_OK) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine *machine = calloc(1, sizeof(*machine));
	struct input input = {data, size};

	require(machine != NULL);
	signal(SIGPIPE, SIG_IGN);
	make(machine, (unsigned)next(&input, 1));
	for (unsigned steps = 0; input.left > 0 && steps < STEPS_MAX; steps++) {
		take_step(machine, &input);
		check(machine);
	}
	if (machine->host >= 0)
		virtio_console_release(&machine->console);
	else
		virtio_release(&machine->device);
	if (machine->host >= 0)
		close(machine->host);
	free(machine->run.hva);
	free(machine);
	return 0;
}
