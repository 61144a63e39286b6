/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "devices/virtio/console_port.h"
#include "vmm/base/io.h"

/* §5.3.3 */
#define FEATURE_MULTIPORT (UINT64_C(1) << 1)

/* §5.3.2, §5.3.6.2 */
enum {
	CONTROL_RECEIVE = 2,
	CONTROL_TRANSMIT = 3,
	DEVICE_READY = 0,
	PORT_ADD = 1,
	PORT_READY = 3,
	PORT_OPEN = 6,
	PORT_NAME = 7,
	CONTROL_SIZE = 8, /* of a message: id (32 bits), event (16), value (16) */
	CONTROLS_A_TURN = 64,
};

/* The messages that a port may owe the guest, in the order in which they are sent. */
static const uint16_t EVENTS[] = {PORT_ADD, PORT_NAME, PORT_OPEN};

enum { DUE_ADD = 1, DUE_NAME = 2, DUE_OPEN = 4, DUE_COUNT = 3 };

static struct virtio_console *console_of(struct virtio_device *device)
{
	return (struct virtio_console *)device;
}

/* §5.3.4: cols and rows (without a terminal 0), max_nr_ports. */
static void read_config(struct virtio_device *device, size_t offset, uint8_t *bytes, size_t size)
{
	const uint8_t config[8] = {[4] = (uint8_t)console_of(device)->count};

	memcpy(bytes, config + offset, size);
}

/* ---- control messages to the guest */

static size_t make_message(const struct virtio_console *console, unsigned number, uint16_t event,
			   uint8_t bytes[CONTROL_SIZE + VIRTIO_CONSOLE_NAME_MAX])
{
	const struct virtio_console_port *port = &console->ports[number];
	uint32_t id = number;
	uint16_t value = event != PORT_OPEN || port->host_open;
	size_t name_size = event == PORT_NAME ? strlen(port->name) : 0; /* without its NUL (§5.3.6.2) */

	memcpy(bytes, &id, 4);
	memcpy(bytes + 4, &event, 2);
	memcpy(bytes + 6, &value, 2);
	memcpy(bytes + CONTROL_SIZE, port->name, name_size);
	return CONTROL_SIZE + name_size;
}

/* 1 when it was sent, 0 when the guest has no buffer for it (the next one is a kick), -EPROTO. */
static int send_message(struct virtio_console *console, unsigned number, uint16_t event)
{
	uint8_t bytes[CONTROL_SIZE + VIRTIO_CONSOLE_NAME_MAX];
	size_t size = make_message(console, number, event, bytes);
	struct virtq *queue = &console->device.queues[CONTROL_RECEIVE];
	int code;

	do {
		code = virtq_pop(queue, &console->chain);
	} while (code == 0 && virtq_enable_kicks(queue));
	if (code <= 0)
		return code;
	if (console->chain.readable > 0 || console->chain.writable_bytes < size)
		return -EPROTO;
	virtq_write(&console->chain, 0, bytes, size);
	virtq_push(queue, console->chain.head, (uint32_t)size);
	return 1;
}

/* Sends what is due, as far as the guest has buffers. */
static void send_due(struct virtio_console *console)
{
	int code = 1;

	for (unsigned i = 0; code > 0 && i < console->count; i++) {
		for (unsigned bit = 0; code > 0 && bit < DUE_COUNT; bit++) {
			if ((console->ports[i].due & 1u << bit) == 0)
				continue;
			code = send_message(console, i, EVENTS[bit]);
			if (code > 0)
				console->ports[i].due &= ~(1u << bit);
		}
	}
	if (code < 0)
		virtio_needs_reset(&console->device, "a broken buffer for control messages");
	else
		virtio_interrupt(&console->device, CONTROL_RECEIVE);
}

/* A turn for a stream; when the host's side ended in it, the guest hears of that. */
static void move(struct virtio_console *console, unsigned number, enum virtio_console_side side)
{
	struct virtio_console_port *port = &console->ports[number];
	bool was_open = port->host_open;

	console_port_move(console, number, side);
	if (was_open == port->host_open || !port->guest_ready)
		return;
	port->due |= DUE_OPEN;
	send_due(console);
}

/* ---- control messages from the guest */

static void take_message(struct virtio_console *console, uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_port *port;

	if (event == DEVICE_READY && value == 1) {
		for (unsigned i = 0; i < console->count; i++)
			console->ports[i].due |= DUE_ADD;
	}
	if (event == DEVICE_READY || id >= console->count)
		return;
	port = &console->ports[id];
	if (event == PORT_READY) {
		port->guest_ready = value == 1;
		port->due = value == 1 ? DUE_NAME | (port->host_open ? DUE_OPEN : 0) : 0;
	} else if (event == PORT_OPEN) {
		port->guest_open = value == 1;
		move(console, id, VIRTIO_CONSOLE_IN);
	}
}

static void take_messages(struct virtio_console *console)
{
	struct virtq *queue = &console->device.queues[CONTROL_TRANSMIT];
	unsigned turn;
	int code = 1;

	virtq_disable_kicks(queue);
	for (turn = 0; code > 0 && turn < CONTROLS_A_TURN; turn++) {
		uint8_t bytes[CONTROL_SIZE];
		uint32_t id;
		uint16_t event, value;

		code = virtq_pop(queue, &console->chain);
		if (code == 0)
			code = virtq_enable_kicks(queue);
		else if (code > 0 && virtq_read(&console->chain, 0, bytes, sizeof(bytes)) < sizeof(bytes))
			code = -EPROTO;
		else if (code > 0) {
			virtq_push(queue, console->chain.head, 0);
			memcpy(&id, bytes, 4);
			memcpy(&event, bytes + 4, 2);
			memcpy(&value, bytes + 6, 2);
			take_message(console, id, event, value);
		}
	}
	if (code < 0) {
		virtio_needs_reset(&console->device, "a broken control message");
		return;
	}
	virtio_interrupt(&console->device, CONTROL_TRANSMIT);
	if (code > 0)
		virtio_kick_again(&console->device, CONTROL_TRANSMIT);
	send_due(console);
}

/* ---- the device */

static int activate(struct virtio_device *device)
{
	/* a driver without MULTIPORT has port 0 alone, always open (§5.3.5) */
	if ((device->accepted & FEATURE_MULTIPORT) == 0)
		console_of(device)->ports[0].guest_open = true;
	return 0;
}

static void reset(struct virtio_device *device)
{
	struct virtio_console *console = console_of(device);

	for (unsigned i = 0; i < console->count; i++) {
		console_port_reset(console, i);
		console->ports[i].guest_ready = false;
		console->ports[i].guest_open = false;
		console->ports[i].due = 0;
	}
}

static void kick(struct virtio_device *device, unsigned index)
{
	struct virtio_console *console = console_of(device);

	if (index == CONTROL_RECEIVE)
		send_due(console);
	else if (index == CONTROL_TRANSMIT)
		take_messages(console);
	else
		move(console, index < CONTROL_RECEIVE ? 0 : index / 2 - 1,
		     index % 2 == 0 ? VIRTIO_CONSOLE_IN : VIRTIO_CONSOLE_OUT);
}

static void readable(struct virtio_device *device, int fd)
{
	struct epoll_event events[2 * VIRTIO_CONSOLE_PORTS_MAX];
	int count;

	pthread_mutex_lock(&device->lock);
	count = epoll_wait(fd, events, sizeof(events) / sizeof(events[0]), 0);
	for (int i = 0; i < count; i++)
		move(console_of(device), events[i].data.u32 / 2, events[i].data.u32 % 2);
	pthread_mutex_unlock(&device->lock);
}

static const struct counter_field FIELDS[] = {
	{"in", offsetof(struct virtio_console_port, in_bytes), COUNTER_TOTAL, UNIT_BYTES, "Bytes to the guest"},
	{"out", offsetof(struct virtio_console_port, out_bytes), COUNTER_TOTAL, UNIT_BYTES, "Bytes from the guest"},
};
static const struct counter_table COUNTERS = {"port", FIELDS, sizeof(FIELDS) / sizeof(FIELDS[0])};

static void counters(const struct virtio_device *device, const struct counter_sink *sink)
{
	const struct virtio_console *console = (const struct virtio_console *)device;

	for (unsigned i = 0; i < console->count; i++)
		counter_show(sink, &COUNTERS, &console->ports[i], console->ports[i].name);
}

static const struct virtio_class CLASS = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.config_size = 8,
	.read_config = read_config,
	.activate = activate,
	.reset = reset,
	.kick = kick,
	.readable = readable,
	.counters = counters,
};

/* ---- our own side */

/* Checks a side's descriptor and makes it non-blocking. */
static int check_fd(const char *option, const char *name, int fd, int wrong_mode, struct error *err)
{
	int flags;

	if (fd < 0)
		return 0;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "%s: port %s: descriptor %d: %s", option, name, fd,
				 strerror(errno));
	if ((flags & O_ACCMODE) == wrong_mode)
		return error_set(err, EXIT_STATUS_USAGE, EBADF, "%s: port %s: descriptor %d is not open for %s", option,
				 name, fd, wrong_mode == O_RDONLY ? "writing" : "reading");
	return 0;
}

/*
 * Checks both sides of a port and fills fds: each direction has a descriptor of its own, and is watched and closed on its own. After an error
 * nothing is open that was not before.
 */
static int take_sides(const char *option, const char *name, int in_fd, int out_fd, int fds[2], struct error *err)
{
	int code = check_fd(option, name, in_fd, O_WRONLY, err);

	if (code == 0)
		code = check_fd(option, name, out_fd, O_RDONLY, err);
	if (code < 0)
		return code;
	fds[VIRTIO_CONSOLE_IN] = in_fd;
	fds[VIRTIO_CONSOLE_OUT] = out_fd;
	if (out_fd >= 0 && out_fd == in_fd)
		fds[VIRTIO_CONSOLE_OUT] = fcntl(in_fd, F_DUPFD_CLOEXEC, 0);
	if (out_fd >= 0 && fds[VIRTIO_CONSOLE_OUT] < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "%s: port %s: cannot duplicate its descriptor: %s",
				 option, name, strerror(errno));
	return 0;
}

static void put_sides(struct virtio_console_port *port, const int fds[2])
{
	port->fds[VIRTIO_CONSOLE_IN] = fds[VIRTIO_CONSOLE_IN];
	port->fds[VIRTIO_CONSOLE_OUT] = fds[VIRTIO_CONSOLE_OUT];
	port->host_open = fds[VIRTIO_CONSOLE_IN] >= 0 || fds[VIRTIO_CONSOLE_OUT] >= 0;
}

int virtio_console_attach(struct virtio_console *console, unsigned number, int in_fd, int out_fd, struct error *err)
{
	struct virtio_console_port *port = &console->ports[number];
	int fds[2];
	int code = take_sides(console->device.option, port->name, in_fd, out_fd, fds, err);

	if (code < 0)
		return code;
	pthread_mutex_lock(&console->device.lock);
	console_port_close(console, number, VIRTIO_CONSOLE_IN);
	console_port_close(console, number, VIRTIO_CONSOLE_OUT);
	put_sides(port, fds);
	if (port->guest_ready)
		port->due |= DUE_OPEN;
	send_due(console);
	move(console, number, VIRTIO_CONSOLE_OUT);
	move(console, number, VIRTIO_CONSOLE_IN);
	pthread_mutex_unlock(&console->device.lock);
	return 0;
}

bool virtio_console_is_open(struct virtio_console *console, unsigned number)
{
	bool open;

	pthread_mutex_lock(&console->device.lock);
	open = console->ports[number].guest_open;
	pthread_mutex_unlock(&console->device.lock);
	return open;
}

/* Whether the guest has sent something that is still here, after everything was moved that could be moved without waiting. */
static bool is_held_up(struct virtio_console *console)
{
	bool held_up = false;

	for (unsigned i = 0; i < console->count; i++) {
		while (console_port_move(console, i, VIRTIO_CONSOLE_OUT))
			;
		held_up = held_up || console->ports[i].sending;
	}
	return held_up;
}

void virtio_console_flush(struct virtio_console *console, int signal_fd, int timeout_fd)
{
	struct pollfd fds[] = {{.fd = console->epoll_fd, .events = POLLIN},
			       {.fd = signal_fd, .events = POLLIN},
			       {.fd = timeout_fd, .events = POLLIN}};

	pthread_mutex_lock(&console->device.lock);
	for (unsigned i = 0; i < console->count; i++)
		console_port_close(console, i, VIRTIO_CONSOLE_IN);
	while (is_held_up(console) && (poll(fds, 3, -1) < 0 || (fds[1].revents == 0 && fds[2].revents == 0)))
		;
	pthread_mutex_unlock(&console->device.lock);
}

/* udev makes a file of the name (/dev/virtio-ports/NAME). */
static int check_name(const struct virtio_console_options *options, unsigned number, struct error *err)
{
	const char *name = options->ports[number].name;
	size_t size = strlen(name);

	if (size == 0 || size > VIRTIO_CONSOLE_NAME_MAX)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "%s: port name '%s' has %zu bytes; give it 1 to %d",
				 options->option, name, size, VIRTIO_CONSOLE_NAME_MAX);
	for (size_t i = 0; i < size; i++) {
		if (name[i] <= ' ' || name[i] == 0x7f || name[i] == '/')
			return error_set(
				err, EXIT_STATUS_USAGE, EINVAL,
				"%s: port name '%s' has a bad character (column %zu); use letters, digits, '.', '-'",
				options->option, name, i + 1);
	}
	for (unsigned i = 0; i < number; i++) {
		if (strcmp(options->ports[i].name, name) == 0)
			return error_set(err, EXIT_STATUS_USAGE, EEXIST, "%s: two ports have the name '%s'; rename one",
					 options->option, name);
	}
	return 0;
}

/* One descriptor is watched for one port; a socket in both directions of one port is fine. */
static int check_shared(const struct virtio_console_options *options, unsigned number, struct error *err)
{
	const struct virtio_console_port_options *port = &options->ports[number];

	for (unsigned i = 0; i < number; i++) {
		const int other[] = {options->ports[i].in_fd, options->ports[i].out_fd};

		for (unsigned side = 0; side < 2; side++) {
			if (other[side] >= 0 && (other[side] == port->in_fd || other[side] == port->out_fd))
				return error_set(err, EXIT_STATUS_USAGE, EEXIST,
						 "%s: ports %s and %s share descriptor %d; give each its own",
						 options->option, options->ports[i].name, port->name, other[side]);
		}
	}
	return 0;
}

static int check_options(const struct virtio_console_options *options, struct error *err)
{
	int code = 0;

	if (options->count == 0 || options->count > VIRTIO_CONSOLE_PORTS_MAX)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "%s: %u ports; the device has 1 to %d",
				 options->option, options->count, VIRTIO_CONSOLE_PORTS_MAX);
	for (unsigned i = 0; code == 0 && i < options->count; i++) {
		code = check_name(options, i, err);
		if (code == 0)
			code = check_shared(options, i, err);
	}
	return code;
}

static int take_all_sides(const struct virtio_console_options *options, int fds[VIRTIO_CONSOLE_PORTS_MAX][2],
			  struct error *err)
{
	unsigned taken;
	int code = 0;

	for (taken = 0; taken < options->count; taken++) {
		const struct virtio_console_port_options *port = &options->ports[taken];

		code = take_sides(options->option, port->name, port->in_fd, port->out_fd, fds[taken], err);
		if (code < 0)
			break;
	}
	while (code < 0 && taken-- > 0) {
		if (fds[taken][VIRTIO_CONSOLE_OUT] != options->ports[taken].out_fd)
			io_close(&fds[taken][VIRTIO_CONSOLE_OUT]);
	}
	return code;
}

int virtio_console_init(struct virtio_console *console, const struct virtio_console_options *options,
			const struct log *log, struct error *err)
{
	int fds[VIRTIO_CONSOLE_PORTS_MAX][2];
	int code;

	memset(console, 0, sizeof(*console));
	code = check_options(options, err);
	if (code < 0)
		return code;
	code = virtio_init(&console->device, &CLASS, 2 * (options->count + 1), FEATURE_MULTIPORT);
	if (code == 0) {
		console->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		code = console->epoll_fd < 0 ? -errno : 0;
	}
	if (code < 0) {
		virtio_release(&console->device);
		return error_set(err, EXIT_STATUS_HOST, -code, "%s: cannot make its event descriptors: %s",
				 options->option, strerror(-code));
	}
	console->device.watch_fds[0] = console->epoll_fd;
	console->device.option = options->option;
	console->device.log = log;
	code = take_all_sides(options, fds, err);
	if (code < 0) {
		virtio_console_release(console);
		return code;
	}
	console->count = options->count;
	for (unsigned i = 0; i < options->count; i++) {
		console->ports[i].name = options->ports[i].name;
		console->ports[i].open_after_eof = options->ports[i].open_after_eof;
		put_sides(&console->ports[i], fds[i]);
	}
	return 0;
}

void virtio_console_release(struct virtio_console *console)
{
	if (console == NULL || console->device.class == NULL)
		return;
	for (unsigned i = 0; i < console->count; i++) {
		console_port_close(console, i, VIRTIO_CONSOLE_IN);
		console_port_close(console, i, VIRTIO_CONSOLE_OUT);
	}
	virtio_release(&console->device);
	io_close(&console->epoll_fd);
	console->device.watch_fds[0] = -1;
}
