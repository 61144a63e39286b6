/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_VIRTIO_CONSOLE_DRIVER_H
#define SPMVM_TESTS_UNIT_VIRTIO_CONSOLE_DRIVER_H

/* A console device with three ports and a driver that does what Linux's virtio_console does. For tests, beside unit.h. */
#include <fcntl.h>
#include <sys/socket.h>

#include "devices/virtio/console.h"
#include "tests/unit/virtio_driver.h"

enum { QUEUE = 32, CTRL_IN = 2, CTRL_OUT = 3, BUFFER = 4096 };
enum { DEVICE_READY = 0, PORT_ADD = 1, PORT_READY = 3, PORT_OPEN = 6, PORT_NAME = 7 };

struct message {
	uint32_t id;
	uint16_t event, value;
	char text[80];
	uint32_t size;
};

struct guest {
	struct virtio_console console;
	struct virtio_driver driver;
	uint64_t buffers[VIRTIO_QUEUES_MAX][QUEUE]; /* of BUFFER bytes, by head */
	int host[2];                                /* our ends: a socket pair for port 0, "both" */
	int from_guest, to_guest;                   /* pipes of port 1, "pipes" */
};

static inline void init(struct guest *guest, bool open_after_eof)
{
	int in[2], out[2], both[2];
	struct error err;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both), 0);

	const struct virtio_console_port_options ports[] = {
		{.name = "both", .in_fd = both[1], .out_fd = both[1], .open_after_eof = open_after_eof},
		{.name = "pipes", .in_fd = in[0], .out_fd = out[1], .open_after_eof = open_after_eof},
		{.name = "later", .in_fd = -1, .out_fd = -1},
	};
	const struct virtio_console_options options = {.option = "--port", .ports = ports, .count = 3};

	assert_int_equal(virtio_console_init(&guest->console, &options, NULL, &err), 0);
	guest->host[0] = both[0];
	guest->host[1] = -1;
	guest->to_guest = in[1];
	guest->from_guest = out[0];
	assert_int_equal(fcntl(both[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(in[1], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
	driver_init(&guest->driver, &guest->console.device);
	for (unsigned i = 0; i < 8; i++) {
		for (unsigned j = 0; j < QUEUE; j++)
			guest->buffers[i][j] = driver_alloc(&guest->driver, BUFFER, 16);
	}
}

static inline int tear_down(void **state)
{
	struct guest *guest = *state;

	virtio_console_release(&guest->console);
	virtio_console_release(&guest->console);
	driver_release(&guest->driver);
	for (unsigned i = 0; i < 2; i++)
		close(guest->host[i]);
	close(guest->to_guest);
	close(guest->from_guest);
	free(guest);
	return 0;
}

/* ------------------------------------------------------------------------------------------------- the driver */

/* Makes every free descriptor of a receive queue available, each with its buffer. */
static inline void refill(struct guest *guest, unsigned index)
{
	struct virtio_driver *driver = &guest->driver;

	while (driver->queues[index].free_count > 0) {
		unsigned head = 0;

		while (!driver->queues[index].is_free[head])
			head++;
		driver_add(driver, index, (struct driver_buffer[]){{guest->buffers[index][head], BUFFER, true}}, 1);
	}
	driver_kick(driver, index);
}

/* Sends bytes that fit in one buffer; whether there was a descriptor for it. */
static inline bool guest_send(struct guest *guest, unsigned index, const void *bytes, uint32_t size)
{
	struct virtio_driver *driver = &guest->driver;
	unsigned head = 0;

	while (driver_take(driver, index, NULL) >= 0)
		;
	if (driver->queues[index].free_count == 0)
		return false;
	while (!driver->queues[index].is_free[head])
		head++;
	memcpy(driver_at(driver, guest->buffers[index][head]), bytes, size);
	driver_add(driver, index, (struct driver_buffer[]){{guest->buffers[index][head], size, false}}, 1);
	driver_kick(driver, index);
	return true;
}

/* Bytes of the next used receive buffer, which goes back into the queue; 0 when there is none. */
static inline uint32_t guest_receive(struct guest *guest, unsigned index, void *bytes, uint32_t room)
{
	uint32_t size = 0;
	int head = driver_take(&guest->driver, index, &size);

	if (head < 0)
		return 0;
	driver_require(size > 0 && size <= room);
	memcpy(bytes, driver_at(&guest->driver, guest->buffers[index][head]), size);
	refill(guest, index);
	return size;
}

static inline void tell(struct guest *guest, uint32_t id, uint16_t event, uint16_t value)
{
	struct message message = {.id = id, .event = event, .value = value};

	assert_true(guest_send(guest, CTRL_OUT, &message, 8));
	driver_work(&guest->driver, 0);
}

static inline void hear(struct guest *guest, uint32_t id, uint16_t event, uint16_t value, const char *text)
{
	struct message message = {0};
	uint32_t size;

	driver_work(&guest->driver, 0);
	size = guest_receive(guest, CTRL_IN, &message, 80);
	assert_int_equal(size, 8 + strlen(text));
	assert_int_equal(message.id, id);
	assert_int_equal(message.event, event);
	assert_int_equal(message.value, value);
	assert_memory_equal(message.text, text, strlen(text));
}

static inline void hear_nothing(struct guest *guest)
{
	struct message message;

	driver_work(&guest->driver, 0);
	assert_int_equal(guest_receive(guest, CTRL_IN, &message, 80), 0);
}

static inline unsigned in_queue(unsigned port)
{
	return port == 0 ? 0 : 2 * port + 2;
}

/* What virtcons_probe() and add_port() do; then a process opens ports 0 and 1. */
static inline void start(struct guest *guest, uint64_t features)
{
	assert_true(driver_start(&guest->driver, features, QUEUE));
	refill(guest, CTRL_IN);
	tell(guest, UINT32_MAX, DEVICE_READY, 1);
	for (unsigned i = 0; i < 3; i++)
		hear(guest, i, PORT_ADD, 1, "");
	for (unsigned i = 0; i < 3; i++) {
		refill(guest, in_queue(i));
		tell(guest, i, PORT_READY, 1);
		hear(guest, i, PORT_NAME, 1, guest->console.ports[i].name);
		if (guest->console.ports[i].host_open)
			hear(guest, i, PORT_OPEN, 1, "");
	}
	hear_nothing(guest);
	for (unsigned i = 0; i < 2; i++)
		tell(guest, i, PORT_OPEN, 1);
}

#endif
