/* SPDX-License-Identifier: Apache-2.0 */
/* The virtio devices of a machine: made from its configuration, connected to KVM, looked after by the event loop. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "devices/virtio/blk.h"
#include "devices/virtio/console.h"
#include "devices/virtio/fs.h"
#include "devices/virtio/mem.h"
#include "devices/virtio/mmio.h"
#include "devices/virtio/net.h"
#include "devices/virtio/rng.h"
#include "devices/virtio/vsock.h"
#include "vmm/base/io.h"
#include "vmm/loop.h"
#include "vmm/machine_state.h"

/* Each device's own struct starts with its struct virtio_device; this is where the kinds are told apart, once for making and once for releasing. */
static void destroy(struct virtio_device *device)
{
	switch (device->class->id) {
	case VIRTIO_ID_BLOCK:
		virtio_blk_release((struct virtio_blk *)device);
		break;
	case VIRTIO_ID_NET:
		net_release((struct net *)device);
		break;
	case VIRTIO_ID_FS:
		virtio_fs_release((struct virtio_fs *)device);
		break;
	case VIRTIO_ID_VSOCK:
		vsock_release((struct vsock *)device);
		break;
	case VIRTIO_ID_CONSOLE:
		virtio_console_release((struct virtio_console *)device);
		break;
	case VIRTIO_ID_MEM:
		virtio_mem_release((struct virtio_mem *)device);
		break;
	case VIRTIO_ID_RNG:
		virtio_rng_release((struct virtio_rng *)device);
		break;
	default:
		assert(!"a virtio device of an unknown kind");
	}
	free(device);
}

static int init_blk(struct virtio_blk *blk, const struct machine *machine, const struct config_device *config,
		    struct error *err)
{
	const struct virtio_blk_options options = {
		.path = config->path,
		.read_only = config->read_only,
		.id = config->name,
		/* one queue a vcpu, as Linux would use them */
		.queues = machine->board->config->cpu_count < VIRTIO_QUEUES_MAX ? machine->board->config->cpu_count
										: VIRTIO_QUEUES_MAX,
	};

	return virtio_blk_init(blk, &options, config->option, machine->log, err);
}

/* Which card of the machine this is: default addresses differ by it. */
static unsigned net_index(const struct machine *machine, const struct config_device *config)
{
	unsigned index = 0;

	for (const struct config_device *other = machine->board->config->devices; other < config; other++)
		index += other->kind == CONFIG_NET;
	return index;
}

static int init_net(struct net *net, const struct machine *machine, const struct config_device *config,
		    struct error *err)
{
	const struct net_memory memory = {&machine->memory, machine->shared, machine->shared_count};
	struct net_options options = *config->net;

	options.option = config->option;
	options.tap = config->name;
	options.index = net_index(machine, config);
	return net_init(net, &options, &memory, machine->log, err);
}

static int init_fs(struct virtio_fs *fs, const struct machine *machine, const struct config_device *config,
		   struct error *err)
{
	const struct virtio_fs_options options = {
		.option = config->option,
		.log = machine->log,
		.tag = config->name,
		.path = config->path,
		.ro = config->read_only,
		.overlaid = config->overlaid,
		.socket = config->socket,
	};

	return virtio_fs_init(fs, &options, machine->shared, machine->shared_count, err);
}

static int init_vsock(struct vsock *vsock, const struct machine *machine, const struct config_device *config,
		      struct error *err)
{
	const struct vsock_options options = {.option = config->option, .cid = config->cid};

	return vsock_init(vsock, &options, &machine->memory, machine->log, err);
}

static int socket_error(const struct config_device *config, int code, struct error *err)
{
	return error_set(err, EXIT_STATUS_HOST, code,
			 "%s: cannot connect to %s: %s; start the program that listens there first", config->option,
			 config->socket, strerror(code));
}

static int connect_port(const struct config_device *config, int *fd, struct error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(config->socket);

	if (length >= sizeof(address.sun_path))
		return socket_error(config, ENAMETOOLONG, err);
	memcpy(address.sun_path, config->socket, length);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*fd < 0 || connect(*fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return socket_error(config, errno, err);
	return 0;
}

/* A FIFO is opened for both directions, so that nothing waits here for its other end. */
static int open_port_file(const struct config_device *config, const char *path, int flags, int *fd, struct error *err)
{
	struct stat status;

	if (path == NULL)
		return 0;
	if (stat(path, &status) == 0 && S_ISFIFO(status.st_mode))
		flags = O_RDWR;
	*fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0666);
	if (*fd >= 0)
		return 0;
	return error_set(err, errno == EACCES ? EXIT_STATUS_HOST : EXIT_STATUS_CONFIG, errno, "%s: cannot open %s: %s",
			 config->option, path, strerror(errno));
}

static int open_port(const struct machine *machine, const struct config_device *config,
		     struct virtio_console_port_options *port, struct error *err)
{
	int code;

	port->name = config->name;
	if (config->stream != STREAM_FILES) {
		int *fd = config->stream == STREAM_STDOUT || config->stream == STREAM_STDERR ? &port->out_fd
											     : &port->in_fd;

		*fd = workbench_take(machine->workbench, config->stream);
		return 0;
	}
	if (config->socket != NULL) {
		code = connect_port(config, &port->in_fd, err);
		port->out_fd = port->in_fd;
		return code;
	}
	/* what comes out must not end where a file of input does */
	port->open_after_eof = config->out != NULL;
	code = open_port_file(config, config->in, O_RDONLY, &port->in_fd, err);
	if (code == 0)
		code = open_port_file(config, config->out, O_WRONLY | O_CREAT | O_TRUNC, &port->out_fd, err);
	return code;
}

/* Every --port of the configuration is a port of this one device. */
static int init_console(struct virtio_console *console, const struct machine *machine, struct error *err)
{
	const struct config *config = machine->board->config;
	struct virtio_console_port_options ports[CONFIG_PORTS_MAX];
	struct virtio_console_options options = {.option = "--port", .ports = ports};
	int code = 0;

	for (size_t i = 0; i < CONFIG_PORTS_MAX; i++)
		ports[i] = (struct virtio_console_port_options){.in_fd = -1, .out_fd = -1};
	for (size_t i = 0; code == 0 && i < config->device_count; i++) {
		if (config->devices[i].kind == CONFIG_PORT)
			code = open_port(machine, &config->devices[i], &ports[options.count++], err);
	}
	if (code == 0)
		code = virtio_console_init(console, &options, machine->log, err);
	for (size_t i = 0; code < 0 && i < options.count; i++) {
		if (ports[i].out_fd == ports[i].in_fd)
			ports[i].out_fd = -1;
		io_close(&ports[i].in_fd);
		io_close(&ports[i].out_fd);
	}
	return code;
}

struct virtio_device *machine_find_virtio(const struct machine *machine, uint32_t id)
{
	for (size_t i = 0; i < machine->virtio_count; i++) {
		if (machine->virtio[i]->class->id == id)
			return machine->virtio[i];
	}
	return NULL;
}

static struct virtio_console *console_of(const struct machine *machine)
{
	return (struct virtio_console *)machine_find_virtio(machine, VIRTIO_ID_CONSOLE);
}

bool machine_command_listens(struct machine *machine)
{
	const struct config *config = machine->board->config;
	struct virtio_console *console = console_of(machine);
	unsigned number = 0;

	for (size_t i = 0; console != NULL && i < config->device_count; i++) {
		if (config->devices[i].stream == STREAM_CONTROL)
			return virtio_console_is_open(console, number);
		number += config->devices[i].kind == CONFIG_PORT;
	}
	return false;
}

void machine_flush_ports(struct machine *machine, int signal_fd, int timeout_fd)
{
	struct virtio_console *console = console_of(machine);

	if (console != NULL)
		virtio_console_flush(console, signal_fd, timeout_fd);
}

static int discard_hotplug(void *context, uint64_t offset, uint64_t size)
{
	const struct machine *machine = context;

	return backend_discard(&machine->hotplug, offset, size);
}

static int init_mem(struct virtio_mem *mem, struct machine *machine, const struct config_device *config,
		    struct error *err)
{
	const struct virtio_mem_options options = {
		.option = config->option,
		.log = machine->log,
		.gpa = machine->board->hotplug.start,
		.size = machine->board->hotplug.size,
		/* of 2 MiB: the room has ordinary pages, also beside RAM of larger ones (map_hotplug) */
		.block_size = VIRTIO_MEM_BLOCK_SIZE,
		.requested = machine->board->config->hotplug,
		.discard = discard_hotplug,
		.context = machine,
	};

	return virtio_mem_init(mem, &options, err);
}

void machine_request_memory(struct machine *machine, uint64_t bytes)
{
	struct virtio_mem *mem = (struct virtio_mem *)machine_find_virtio(machine, VIRTIO_ID_MEM);
	struct error err;

	if (mem != NULL && virtio_mem_set_requested(mem, bytes, &err) < 0)
		log_warn(machine->log, "%s", err.text);
}

int machine_begin_virtio(const struct machine *machine, struct error *err)
{
	int code = 0;

	for (size_t i = 0; code == 0 && i < machine->virtio_count; i++) {
		struct virtio_device *device = machine->virtio[i];

		if (device->class->begin != NULL)
			code = device->class->begin(device, err);
	}
	return code;
}

bool machine_has_plain_disk(const struct machine *machine)
{
	bool plain = false;

	for (size_t i = 0; i < machine->virtio_count; i++) {
		const struct virtio_device *device = machine->virtio[i];

		plain |= device->class->id == VIRTIO_ID_BLOCK && ((const struct virtio_blk *)device)->io.ring == NULL;
	}
	return plain;
}

/* The size of each kind's struct. */
static size_t size_of(enum config_device_kind kind)
{
	static const size_t SIZES[] = {
		[CONFIG_BLK] = sizeof(struct virtio_blk),      [CONFIG_NET] = sizeof(struct net),
		[CONFIG_SHARE] = sizeof(struct virtio_fs),     [CONFIG_VSOCK] = sizeof(struct vsock),
		[CONFIG_PORT] = sizeof(struct virtio_console), [CONFIG_MEM] = sizeof(struct virtio_mem),
		[CONFIG_RNG] = sizeof(struct virtio_rng),
	};

	return SIZES[kind];
}

int machine_create_virtio(struct machine *machine, const struct config_device *config, struct virtio_device **device,
			  struct error *err)
{
	void *self = calloc(1, size_of(config->kind));
	int code = 0;

	*device = NULL;
	if (self == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory while building the machine");
	switch (config->kind) {
	case CONFIG_BLK:
		code = init_blk(self, machine, config, err);
		break;
	case CONFIG_NET:
		code = init_net(self, machine, config, err);
		break;
	case CONFIG_SHARE:
		code = init_fs(self, machine, config, err);
		break;
	case CONFIG_VSOCK:
		code = init_vsock(self, machine, config, err);
		break;
	case CONFIG_PORT:
		code = init_console(self, machine, err);
		break;
	case CONFIG_MEM:
		code = init_mem(self, machine, config, err);
		break;
	case CONFIG_RNG:
		code = virtio_rng_init(self, config->option, machine->log, err);
		break;
	}
	if (code < 0) {
		free(self);
		return code;
	}
	*device = self;
	machine->virtio[machine->virtio_count++] = self;
	return 0;
}

int machine_connect_virtio(struct machine *machine, struct virtio_device *device, struct range registers,
			   struct dev_irq irq, struct error *err)
{
	int code = 0;

	device->mem = &machine->memory;
	device->irq = irq;
	device->hand_over = machine_hand_over;
	device->hand_over_context = machine;
	device->broken_irq.eventfd = machine->broken_fd;
	for (unsigned i = 0; code == 0 && i < device->queue_count; i++)
		code = kvm_add_ioeventfd(machine->kvm, device->kick_fds[i], registers.start + VIRTIO_MMIO_QUEUE_NOTIFY,
					 i, err);
	/* see devices/virtio/mmio.h */
	device->always_used = true;
	if (device->registers != NULL) {
		pthread_mutex_lock(&device->lock);
		virtio_mmio_publish(device);
		pthread_mutex_unlock(&device->lock);
	}
	if (code == 0)
		code = kvm_add_ioeventfd(machine->kvm, machine->swallow_fd, registers.start + VIRTIO_MMIO_INTERRUPT_ACK,
					 VIRTIO_MMIO_ACK_USED, err);
	return code;
}

/* Pages side by side are one memslot: making one can take long. The devices' pages are in the order in which they were made. */
int machine_map_registers(struct machine *machine, struct error *err)
{
	size_t count = machine->virtio_count, next;
	int code = 0;

	if (count == 0 || !machine->kvm->limits.readonly_memory)
		return 0;
	/* shared, so that starting a process does not make a copy of it */
	machine->registers = mmap(NULL, BOARD_DEVICES_MAX * VIRTIO_MMIO_PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (machine->registers == MAP_FAILED) {
		machine->registers = NULL;
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory while building the machine");
	}
	for (size_t first = 0; code == 0 && first < count; first = next + 1) {
		for (next = first; next < count && !machine->virtio[next]->class->wide_config; next++)
			machine->virtio[next]->registers = machine->registers + next * VIRTIO_MMIO_PAGE;
		if (next > first)
			code = kvm_add_readonly_memslot(machine->kvm,
							(struct range){BOARD_VIRTIO_BASE + first * VIRTIO_MMIO_PAGE,
								       (next - first) * VIRTIO_MMIO_PAGE},
							machine->registers + first * VIRTIO_MMIO_PAGE, err);
	}
	return code;
}

static void on_kick(void *context, int fd)
{
	struct virtio_device *device = context;

	for (unsigned i = 0; i < device->queue_count; i++) {
		if (device->kick_fds[i] == fd)
			virtio_kicked(device, i);
	}
}

static void on_readable(void *context, int fd)
{
	struct virtio_device *device = context;

	device->class->readable(device, fd);
}

int machine_watch_virtio(struct machine *machine, struct loop *loop)
{
	int code = 0;

	for (size_t i = 0; i < machine->virtio_count; i++) {
		struct virtio_device *device = machine->virtio[i];

		for (unsigned q = 0; code == 0 && device->class->kick != NULL && q < device->queue_count; q++)
			code = loop_add(loop, device->kick_fds[q], on_kick, device);
		for (unsigned w = 0; code == 0 && w < VIRTIO_WATCH_MAX; w++) {
			if (device->watch_fds[w] >= 0)
				code = loop_add(loop, device->watch_fds[w], on_readable, device);
		}
	}
	return code;
}

void machine_release_virtio(struct machine *machine)
{
	while (machine->virtio_count > 0)
		destroy(machine->virtio[--machine->virtio_count]);
}
