/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/machine.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "devices/virtio/mmio.h"
#include "vmm/base/clock.h"
#include "vmm/base/io.h"
#include "vmm/machine_state.h"
#include "vmm/memory/huge_tmpfs.h"

static int no_memory(struct error *err)
{
	return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory while building the machine");
}

bool machine_stop(struct machine *machine, enum stop_cause cause, uint32_t value)
{
	int none = STOP_NONE;

	if (!atomic_compare_exchange_strong(&machine->cause, &none, (int)cause))
		return false;
	machine->stop_value = value;
	io_raise(machine->wake_fd);
	return true;
}

/* ---------------------------------------------------------------------------------------------- memory */

struct mem_backend *machine_backend_of(const struct machine *machine, const struct mem_region *region)
{
	size_t first = region->kind == MEM_SPM ? machine->board->config->mem_count : 0;

	return &machine->backends[first + region->owner];
}

/*
 * The room for hotplug is guest memory from the start, sparse, and virtio-mem says which of it the guest may use. Its pages are
 * ordinary ones whatever --mem says: the pool's would have to be reserved for all of it, and a block be as large as they are.
 */
static int open_hotplug(struct machine *machine, int tmpfs, struct error *err)
{
	static const struct backend_source ORDINARY = {.policy = HOST_POLICY_DEFAULT};
	const uint64_t size = machine->board->hotplug.size;

	return size == 0 ? 0 : backend_open(&machine->hotplug, "hotplug", "--maxmem", size, &ORDINARY, tmpfs, err);
}

static int open_backends(struct machine *machine, int tmpfs, struct error *err)
{
	const struct config *config = machine->board->config;

	assert(config->mem_count > 0); /* there is RAM in every configuration */
	machine->backends = calloc(config->mem_count + config->spm_count, sizeof(machine->backends[0]));
	if (machine->backends == NULL)
		return no_memory(err);
	for (size_t i = 0; i < config->mem_count + config->spm_count; i++) {
		const struct config_memory *memory =
			i < config->mem_count ? &config->mem[i] : &config->spm[i - config->mem_count];
		int code = backend_open(&machine->backends[i], memory->id, memory->option, memory->size,
					&memory->source, tmpfs, err);

		if (code < 0)
			return code;
		machine->backend_count++;
	}
	return open_hotplug(machine, tmpfs, err);
}

static bool takes_tmpfs(const struct machine *machine)
{
	const struct config *config = machine->board->config;
	bool takes = machine->board->hotplug.size > 0;

	for (size_t i = 0; i < config->mem_count; i++)
		takes |= backend_takes_tmpfs(&config->mem[i].source);
	for (size_t i = 0; i < config->spm_count; i++)
		takes |= backend_takes_tmpfs(&config->spm[i].source);
	return takes;
}

static int open_memory(struct machine *machine, struct error *err)
{
	int tmpfs = takes_tmpfs(machine) ? huge_tmpfs_open() : -EOPNOTSUPP, code;

	if (tmpfs < 0 && tmpfs != -EOPNOTSUPP)
		log_debug(machine->log, "guest memory gets no huge pages: a tmpfs for it cannot be made: %s",
			  strerror(-tmpfs));
	code = open_backends(machine, tmpfs, err);
	io_close(&tmpfs);
	return code;
}

/* One run of touching regions: one reservation of address space, each backend mapped into its place, one memslot. */
static int map_run(struct machine *machine, size_t first, size_t count, struct range run, struct error *err)
{
	int code = guest_mem_reserve(&machine->memory, run, err);

	if (code < 0)
		return code;
	for (size_t i = first; i < first + count; i++) {
		const struct mem_region *region = &machine->board->layout.regions[i];
		const struct mem_backend *backend = machine_backend_of(machine, region);
		void *at = guest_mem_at(&machine->memory, region->gpa.start, region->gpa.size);

		assert(at != NULL);
		code = backend_map(backend, region->offset, region->gpa.size, at, err);
		if (code < 0)
			return code;
	}
	return kvm_add_memslot(machine->kvm, run, guest_mem_at(&machine->memory, run.start, run.size), err);
}

static int map_memory(struct machine *machine, struct error *err)
{
	const struct mem_layout *layout = &machine->board->layout;
	struct range run;
	size_t count;

	for (size_t first = 0; first < layout->region_count; first += count) {
		int code;

		count = layout_run(layout, first, &run);
		code = map_run(machine, first, count, run, err);
		if (code < 0)
			return code;
	}
	return 0;
}

static int map_hotplug(struct machine *machine, struct error *err)
{
	const struct range range = machine->board->hotplug;
	void *at;
	int code;

	if (range.size == 0)
		return 0;
	code = guest_mem_reserve(&machine->memory, range, err);
	if (code < 0)
		return code;
	at = guest_mem_at(&machine->memory, range.start, range.size);
	code = backend_map(&machine->hotplug, 0, range.size, at, err);
	return code < 0 ? code : kvm_add_memslot(machine->kvm, range, at, err);
}

/* Memory that must come from certain host nodes goes first, or what may come from anywhere could take its pages. */
static int populate_memory(struct machine *machine, struct error *err)
{
	const struct mem_layout *layout = &machine->board->layout;

	for (int bound = 1; bound >= 0; bound--) {
		for (size_t i = 0; i < layout->region_count; i++) {
			const struct mem_region *region = &layout->regions[i];
			const struct mem_backend *backend = machine_backend_of(machine, region);
			void *at = guest_mem_at(&machine->memory, region->gpa.start, region->gpa.size);
			int code = 0;

			if ((backend->source.policy == HOST_POLICY_BIND) == (bound == 1))
				code = backend_populate(backend, at, region->gpa.size, machine->log, err);
			if (code < 0)
				return code;
		}
	}
	return 0;
}

/* RAM comes first: a back end that takes only a few regions must have that (see vhost_user.h). */
static int list_shared_memory(struct machine *machine, struct error *err)
{
	const struct mem_layout *layout = &machine->board->layout;

	machine->shared = calloc(layout->region_count + 1, sizeof(machine->shared[0]));
	if (machine->shared == NULL)
		return no_memory(err);
	for (int kind = MEM_RAM; kind <= MEM_SPM; kind++) {
		for (size_t i = 0; i < layout->region_count; i++) {
			const struct mem_region *region = &layout->regions[i];

			if (region->kind != (enum mem_kind)kind)
				continue;
			machine->shared[machine->shared_count++] = (struct vhost_user_region){
				.gpa = region->gpa.start,
				.size = region->gpa.size,
				.fd = machine_backend_of(machine, region)->fd,
				.offset = region->offset,
				.hva = guest_mem_at(&machine->memory, region->gpa.start, region->gpa.size),
				.id = board_owner(machine->board, region)->id,
			};
		}
	}
	if (machine->board->hotplug.size > 0)
		machine->shared[machine->shared_count++] = (struct vhost_user_region){
			.gpa = machine->board->hotplug.start,
			.size = machine->board->hotplug.size,
			.fd = machine->hotplug.fd,
			.hva = guest_mem_at(&machine->memory, machine->board->hotplug.start,
					    machine->board->hotplug.size),
			.id = "hotplug",
		};
	return 0;
}

static int write_tables(struct machine *machine, struct error *err)
{
	struct acpi_blob blob;
	int code = board_build_acpi(machine->board, &blob, err);

	if (code < 0)
		return code;
	code = guest_mem_write(&machine->memory, machine->board->layout.acpi.start, blob.bytes.data, blob.bytes.size);
	if (code == 0)
		code = guest_mem_write(&machine->memory, LINUX_BOOT_GDT, KVM_BOOT_GDT, sizeof(KVM_BOOT_GDT));
	acpi_blob_release(&blob);
	if (code < 0)
		return error_set(err, EXIT_STATUS_INTERNAL, -code, "the tables' place is not in guest memory");
	return 0;
}

/* --------------------------------------------------------------------------------------------- devices */

static void on_request(void *context, enum dev_request request, uint32_t value)
{
	static const enum stop_cause CAUSES[] = {
		[DEV_REQUEST_POWEROFF] = STOP_POWEROFF,
		[DEV_REQUEST_RESET] = STOP_RESET,
		[DEV_REQUEST_PANICKED] = STOP_PANIC,
		[DEV_REQUEST_EXIT] = STOP_EXIT,
	};
	struct machine *machine = context;

	machine_stop(machine, CAUSES[request], value);
}

/*
 * On a vcpu's thread. The kick that stops a vcpu also interrupts a write to a pipe that nobody empties, so that the machine can
 * end; any other interruption goes on.
 */
static void on_transmit(void *context, uint8_t byte)
{
	struct machine *machine = context;
	int code;

	do {
		code = console_write(machine->console, byte);
	} while (code == -EINTR && !machine_is_stopping(machine));
	if (code < 0 && code != -EINTR)
		machine_stop(machine, STOP_CONSOLE, (uint32_t)-code);
}

static void on_drained(void *context)
{
	const struct machine *machine = context;

	io_raise(machine->room_fd);
}

/* Makes the device; *device is it as its bus handlers know it. */
static int create_device(struct machine *machine, const struct board_device *slot, void **device, struct error *err)
{
	const struct dev_sink sink = {on_request, machine};
	struct virtio_device *virtio;
	int code = 0;

	switch (slot->kind) {
	case BOARD_SERIAL:
		code = serial_init(&machine->serial, on_transmit, on_drained, machine);
		machine->serial_ready = code == 0;
		*device = &machine->serial;
		break;
	case BOARD_POWER:
		power_init(&machine->power, sink);
		*device = &machine->power;
		break;
	case BOARD_PCI_HOST:
		code = pci_host_init(&machine->pci_host);
		machine->pci_host_ready = code == 0;
		*device = &machine->pci_host;
		break;
	case BOARD_PVPANIC:
		pvpanic_init(&machine->pvpanic, sink);
		*device = &machine->pvpanic;
		break;
	case BOARD_DEBUG_EXIT:
		debug_exit_init(&machine->debug_exit, sink);
		*device = &machine->debug_exit;
		break;
	case BOARD_VIRTIO:
		code = machine_create_virtio(machine, slot->config, &virtio, err);
		*device = virtio;
		return code;
	case BOARD_DEVICE_KINDS:
		break;
	}
	return code < 0 ? no_memory(err) : 0;
}

/* The one place where a device gets what it wants: first its registers on the buses, then, from KVM, its interrupt. */
static int plug(struct machine *machine, const struct board_device *slot, void **device, struct error *err)
{
	int code = create_device(machine, slot, device, err);

	if (code < 0)
		return code;
	for (size_t i = 0; i < slot->wants.io_count; i++) {
		const struct dev_io *io = &slot->wants.io[i];

		code = bus_add(&machine->buses[io->space], io->range, io->ops, *device);
		if (code < 0)
			return error_set(err, EXIT_STATUS_INTERNAL, -code, "two devices want the register at 0x%llx",
					 (unsigned long long)io->range.start);
	}
	return 0;
}

static int connect_irq(struct machine *machine, size_t index, void *device, struct error *err)
{
	const struct board_device *slot = &machine->board->devices[index];
	struct dev_irq irq;
	int code;

	if (!slot->wants.irq)
		return 0;
	irq.eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (irq.eventfd < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "cannot make an eventfd: %s", strerror(errno));
	machine->irq_fds[index] = irq.eventfd;
	code = kvm_add_irqfd(machine->kvm, irq.eventfd, slot->wants.gsi, err);
	if (code == 0 && slot->kind == BOARD_SERIAL)
		serial_set_irq(&machine->serial, irq);
	if (code == 0 && slot->kind == BOARD_POWER)
		power_set_irq(&machine->power, irq);
	if (code == 0 && slot->kind == BOARD_VIRTIO)
		code = machine_connect_virtio(machine, device, slot->wants.io[0].range, irq, err);
	return code;
}

/*
 * Every memslot comes before the interrupt controllers and the devices' eventfds. From Linux 6.18 on, KVM frees the old
 * table of in-kernel devices after an unhurried grace period (call_srcu() in kvm_io_bus_register_dev()), and the next
 * memslot has to wait for that: 7 ms, each time that the two kinds of calls take turns.
 */
static int plug_devices(struct machine *machine, struct error *err)
{
	void *devices[BOARD_DEVICES_MAX] = {NULL};
	const struct board *board = machine->board;
	int code = 0;

	for (size_t i = 0; code == 0 && i < board->device_count; i++)
		code = plug(machine, &board->devices[i], &devices[i], err);
	if (code == 0)
		code = machine_map_registers(machine, err);
	if (code == 0)
		code = kvm_create_irqchip(machine->kvm, err);
	for (size_t i = 0; code == 0 && i < board->device_count; i++)
		code = connect_irq(machine, i, devices[i], err);
	return code;
}

/* ----------------------------------------------------------------------------------------------- vcpus */

static int create_vcpus(struct machine *machine, struct error *err)
{
	const struct board *board = machine->board;
	uint32_t count = board->config->cpu_count;

	if (count > machine->kvm->limits.max_vcpus)
		return error_set(err, EXIT_STATUS_HOST, EINVAL,
				 "--cpus %u: this host's KVM gives a guest at most %u; ask for fewer", count,
				 machine->kvm->limits.max_vcpus);
	machine->vcpus = calloc(count, sizeof(machine->vcpus[0]));
	if (machine->vcpus == NULL)
		return no_memory(err);
	for (uint32_t i = 0; i < count; i++) {
		const struct kvm_topology topology = {
			.apic_id = board->cpus[i].apic_id,
			.core_bits = board->core_bits,
			.package_cores = board->cpus[i].package_cores,
			.cpus = count,
		};
		struct machine_vcpu *vcpu = &machine->vcpus[i];
		int code;

		vcpu->machine = machine;
		kvm_vcpu_init(&vcpu->vcpu);
		machine->vcpu_count++;
		code = kvm_vcpu_create(&vcpu->vcpu, machine->kvm, i, &topology, err);
		if (code < 0)
			return code;
	}
	return 0;
}

int machine_set_start(struct machine *machine, const struct linux_boot *boot, struct error *err)
{
	const struct kvm_start start = {
		.long_mode = true,
		.entry = boot->entry,
		.stack = boot->stack,
		.page_table = boot->page_table,
		.rsi = boot->zero_page,
		.gdt = LINUX_BOOT_GDT,
		.gdt_limit = sizeof(KVM_BOOT_GDT) - 1,
	};

	return kvm_vcpu_set_start(&machine->vcpus[0].vcpu, &start, err);
}

/* ------------------------------------------------------------------------------------ build and teardown */

const struct guest_mem *machine_memory(const struct machine *machine)
{
	return &machine->memory;
}

/* In steps, as it takes a second or more for 4-KiB pages of some gigabytes. */
static int enter_region(struct machine *machine, const struct mem_region *region, const char *option)
{
	const uint64_t step = 256 * MIB;
	uint64_t logged = clock_ns(CLOCK_MONOTONIC);

	for (uint64_t done = 0, size; done < region->gpa.size; done += size) {
		int code;

		if (clock_ns(CLOCK_MONOTONIC) - logged >= UINT64_C(1000000000)) {
			logged = clock_ns(CLOCK_MONOTONIC);
			log_info(machine->log, "%s: %" PRIu64 " of %" PRIu64 " MiB in KVM's page tables", option,
				 done / MIB, region->gpa.size / MIB);
		}
		size = region->gpa.size - done < step ? region->gpa.size - done : step;
		code = kvm_vcpu_pre_fault(&machine->vcpus[0].vcpu, (struct range){region->gpa.start + done, size});
		if (code < 0)
			return code;
	}
	return 0;
}

/*
 * Memory with prealloc=on is paid for before the guest starts, and KVM's page tables are a part of the price: an exit for every page, which with pages of 4 KiB
 * costs the guest more than the host's own fault and the clearing do.
 */
static void enter_memory(struct machine *machine)
{
	const struct mem_layout *layout = &machine->board->layout;

	for (size_t i = 0; machine->kvm->limits.pre_fault && i < layout->region_count; i++) {
		const struct mem_region *region = &layout->regions[i];
		const struct mem_backend *backend = machine_backend_of(machine, region);
		int code = backend->source.prealloc ? enter_region(machine, region, backend->option) : 0;

		if (code < 0)
			log_debug(machine->log, "%s: its pages are not in KVM's page tables: %s", backend->option,
				  strerror(-code));
	}
}

static int build(struct machine *machine, struct error *err)
{
	int code;

	machine->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine->swallow_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine->room_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine->errand_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	machine->broken_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (machine->wake_fd < 0 || machine->swallow_fd < 0 || machine->room_fd < 0 || machine->errand_fd < 0 ||
	    machine->broken_fd < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "cannot make an eventfd: %s", strerror(errno));
	code = open_memory(machine, err);
	if (code == 0)
		code = kvm_create_vm(machine->kvm, err);
	if (code == 0) {
		stages_mark(machine->stages, STAGE_VM);
		code = map_memory(machine, err);
	}
	if (code == 0)
		code = map_hotplug(machine, err);
	if (code == 0) {
		stages_mark(machine->stages, STAGE_MEMORY);
		machine_watch_memory(machine);
	}
	if (code == 0)
		code = populate_memory(machine, err);
	if (code == 0)
		code = machine_report_placement(machine, err);
	if (code == 0)
		code = write_tables(machine, err);
	if (code == 0) {
		stages_mark(machine->stages, STAGE_POPULATED);
		code = list_shared_memory(machine, err);
	}
	if (code == 0)
		code = plug_devices(machine, err);
	if (code == 0) {
		stages_mark(machine->stages, STAGE_DEVICES);
		code = create_vcpus(machine, err);
	}
	if (code == 0) {
		enter_memory(machine);
		stages_mark(machine->stages, STAGE_VCPUS);
	}
	return code;
}

int machine_new(struct machine **machine, const struct board *board, struct kvm_vm *kvm, struct console *console,
		struct workbench *workbench, struct stages *stages, const struct log *log, struct error *err)
{
	struct machine *self = calloc(1, sizeof(*self));
	int code;

	if (self == NULL)
		return no_memory(err);
	self->board = board;
	self->kvm = kvm;
	self->console = console;
	self->workbench = workbench;
	self->stages = stages;
	self->log = log;
	self->hotplug.fd = -1;
	self->wake_fd = -1;
	self->files_fd = -1;
	self->swallow_fd = -1;
	self->room_fd = -1;
	self->errand_fd = -1;
	self->errand_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	self->errand_done = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	self->start_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	self->start_changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	self->broken_fd = -1;
	self->park_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	self->unparked = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
	for (int i = 0; i < BOARD_DEVICES_MAX; i++)
		self->irq_fds[i] = -1;
	code = build(self, err);
	if (code < 0) {
		machine_free(self);
		return code;
	}
	*machine = self;
	return 0;
}

void machine_free(struct machine *machine)
{
	if (machine == NULL)
		return;
	machine_release_metrics(machine);
	for (size_t i = 0; i < machine->vcpu_count; i++) {
		assert(!machine->vcpus[i].started);
		kvm_vcpu_release(&machine->vcpus[i].vcpu);
	}
	free(machine->vcpus);
	machine_release_virtio(machine);
	if (machine->serial_ready)
		serial_release(&machine->serial);
	if (machine->pci_host_ready)
		pci_host_release(&machine->pci_host);
	for (int i = 0; i < BOARD_DEVICES_MAX; i++)
		io_close(&machine->irq_fds[i]);
	kvm_release(machine->kvm);
	if (machine->registers != NULL)
		munmap(machine->registers, BOARD_DEVICES_MAX * VIRTIO_MMIO_PAGE);
	machine_unwatch_memory(machine);
	guest_mem_release(&machine->memory);
	for (size_t i = 0; i < machine->backend_count; i++)
		backend_release(&machine->backends[i]);
	free(machine->backends);
	backend_release(&machine->hotplug);
	free(machine->shared);
	io_close(&machine->wake_fd);
	io_close(&machine->files_fd);
	io_close(&machine->swallow_fd);
	io_close(&machine->room_fd);
	io_close(&machine->broken_fd);
	io_close(&machine->errand_fd);
	sandbox_release(&machine->sandbox);
	free(machine);
}
