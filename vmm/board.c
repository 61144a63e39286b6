/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/board.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/debug_exit.h"
#include "devices/pci_host.h"
#include "devices/power.h"
#include "devices/pvpanic.h"
#include "devices/serial.h"
#include "devices/virtio/mmio.h"

#define LAPIC_ADDRESS  0xfee00000u /* where KVM's in-kernel local APICs and IOAPIC are, as on every PC */
#define IOAPIC_ADDRESS 0xfec00000u
/* Without interrupt remapping, Linux 6.1 takes no processor whose id is wider (arch/x86/kernel/apic/apic.c, try_to_enable_x2apic). */
#define APIC_ID_END 255u

static int no_memory(struct error *err)
{
	return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory while planning the machine");
}

/* Proximity domains are the user's node numbers: Linux then gives its nodes the same ones (see acpi_check). */
static uint32_t pxm_of_node(uint32_t node)
{
	return node;
}

/*
 * One package for each node with CPUs: Linux complains about a last-level cache or package that spans nodes. The APIC id is package << core_bits | core (Intel
 * SDM vol. 3 §9.9.1).
 */
static int place_cpus(struct board *board, struct error *err)
{
	const struct config *config = board->config;
	uint32_t largest = 1;

	board->cpus = calloc(config->cpu_count, sizeof(board->cpus[0]));
	if (board->cpus == NULL)
		return no_memory(err);
	for (uint32_t i = 0; i < config->cpu_count; i++) {
		struct board_cpu *cpu = &board->cpus[i];

		cpu->node = config->cpu_nodes[i];
		for (uint32_t j = 0; j < config->cpu_count; j++) {
			if (config->cpu_nodes[j] != cpu->node)
				continue;
			cpu->package_cores++;
			if (j < i)
				cpu->apic_id++;
		}
		if (cpu->package_cores > largest)
			largest = cpu->package_cores;
	}
	while ((1u << board->core_bits) < largest)
		board->core_bits++;
	for (uint32_t i = 0; i < config->cpu_count; i++) {
		struct board_cpu *cpu = &board->cpus[i];

		cpu->apic_id |= cpu->node << board->core_bits;
		if (cpu->apic_id >= APIC_ID_END)
			return error_set(
				err, EXIT_STATUS_CONFIG, ERANGE,
				"--numa: CPU %u of node %u would have APIC id %u, and Linux leaves out CPUs with "
				"ids from %u on: each node takes as many ids as the largest, %u; spread the CPUs "
				"more evenly",
				i, cpu->node, cpu->apic_id, APIC_ID_END, 1u << board->core_bits);
	}
	return 0;
}

static void place_virtio(struct board_device *device, const struct config_device *config, unsigned index)
{
	device->kind = BOARD_VIRTIO;
	device->config = config;
	snprintf(device->name, sizeof(device->name), "VR%02X", index & 0xff);
	device->wants = (struct dev_wants){
		.io = {{BUS_MMIO, {BOARD_VIRTIO_BASE + index * VIRTIO_MMIO_PAGE, VIRTIO_MMIO_PAGE}, &VIRTIO_MMIO_OPS}},
		.io_count = 1,
		.irq = true,
		.gsi = BOARD_VIRTIO_GSI + index % BOARD_VIRTIO_GSIS,
		.acpi_name = device->name,
		/* the id that Linux's virtio_mmio driver binds to */
		.acpi_hid = "LNRO0005",
		.acpi_uid = index,
	};
}

static void place_devices(struct board *board)
{
	static void (*const WANTS[BOARD_VIRTIO])(struct dev_wants *) = {
		[BOARD_SERIAL] = serial_wants,         [BOARD_POWER] = power_wants,
		[BOARD_PCI_HOST] = pci_host_wants,     [BOARD_PVPANIC] = pvpanic_wants,
		[BOARD_DEBUG_EXIT] = debug_exit_wants,
	};
	bool has_ports = false;
	unsigned index = 0;

	for (int kind = 0; kind < BOARD_VIRTIO; kind++) {
		struct board_device *device = &board->devices[board->device_count];

		if (kind == BOARD_DEBUG_EXIT && board->config->script == NULL && board->config->command == NULL)
			continue;
		device->kind = (enum board_device_kind)kind;
		WANTS[kind](&device->wants);
		board->device_count++;
	}
	for (size_t i = 0; i < board->config->device_count; i++) {
		const struct config_device *config = &board->config->devices[i];

		/* the first --port stands for the console device that they all are ports of */
		if (config->kind != CONFIG_PORT || !has_ports)
			place_virtio(&board->devices[board->device_count++], config, index++);
		has_ports = has_ports || config->kind == CONFIG_PORT;
	}
}

static int plan_memory(struct board *board, struct error *err)
{
	const struct config *config = board->config;
	const struct acpi_counts counts = {
		.cpus = config->cpu_count,
		/* RAM makes at most four pieces of each --mem: it flows around three holes */
		.memory = 4 * config->mem_count + 2 * config->spm_count + 4,
		.devices = board->device_count + config->accel_count,
		.accelerators = config->accel_count,
		.caches = config->mem_count + config->spm_count,
		.localities = config->node_count,
		.initiators = config->figures[0] != NULL ? config->initiator_count : 0,
	};
	struct layout_request request = {
		.ram_count = config->mem_count,
		.spm_count = config->spm_count,
		.maxmem = config->maxmem,
		.phys_bits = board->phys_bits,
		.acpi_budget = acpi_size_bound(&counts),
	};
	struct layout_ram *ram = calloc(config->mem_count, sizeof(*ram));
	struct layout_spm *spm = calloc(config->spm_count + 1, sizeof(*spm));
	int code;

	if (ram == NULL || spm == NULL) {
		code = no_memory(err);
		goto out;
	}
	for (size_t i = 0; i < config->mem_count; i++)
		ram[i] = (struct layout_ram){
			.size = config->mem[i].size,
			.page_size = config->mem[i].source.hugetlb,
			.node = config->mem[i].node,
		};
	for (size_t i = 0; i < config->spm_count; i++)
		spm[i] = (struct layout_spm){
			.size = config->spm[i].size,
			.page_size = config->spm[i].source.hugetlb,
			.address = config->spm[i].address,
			.has_address = config->spm[i].has_address,
			.node = config->spm[i].node,
			.id = config->spm[i].id,
		};
	request.ram = ram;
	request.spm = spm;
	code = layout_plan(&board->layout, &request, err);
out:
	free(ram);
	free(spm);
	return code;
}

static int make_e820(struct board *board, struct error *err)
{
	const struct range legacy = range_between(LAYOUT_LOW_RAM_END, LAYOUT_HIGH_RAM_START);
	int code = 0;

	for (size_t i = 0; code == 0 && i < board->layout.region_count; i++) {
		const struct mem_region *region = &board->layout.regions[i];

		if (region->kind == MEM_SPM) {
			code = e820_add(&board->e820, region->gpa, E820_SOFT_RESERVED);
		} else if (range_overlaps(region->gpa, legacy)) {
			/* the first RAM region: it always reaches beyond 1 MiB, since sizes are multiples of 2 MiB */
			code = e820_add(&board->e820, range_between(region->gpa.start, legacy.start), E820_RAM);
			if (code == 0)
				code = e820_add(&board->e820, range_between(range_end(legacy), range_end(region->gpa)),
						E820_RAM);
		} else {
			code = e820_add(&board->e820, region->gpa, E820_RAM);
		}
	}
	if (code == 0)
		code = e820_carve(&board->e820, board->layout.acpi, E820_ACPI);
	if (code < 0)
		return error_set(err, EXIT_STATUS_INTERNAL, -code, "the E820 map does not take the layout: %s",
				 strerror(-code));
	e820_seal(&board->e820);
	return 0;
}

/* The node of the region that an E820 entry lies in. */
static uint32_t node_at(const struct board *board, uint64_t address)
{
	for (size_t i = 0; i < board->layout.region_count; i++) {
		if (range_holds(board->layout.regions[i].gpa, address))
			return board->layout.regions[i].node;
	}
	assert(!"an E820 entry without a region");
	return 0;
}

static int by_pxm_then_address(const void *a, const void *b)
{
	const struct acpi_memory *one = a, *other = b;

	if (one->pxm != other->pxm)
		return one->pxm < other->pxm ? -1 : 1;
	if (one->range.start != other->range.start)
		return one->range.start < other->range.start ? -1 : 1;
	return 0;
}

/*
 * SRAT's memory: each E820 RAM and soft-reserved entry is one ENABLED range, byte for byte. With --maxmem, what is free in the device-memory
 * window is announced as ENABLED and HOTPLUGGABLE at the highest node, never overlapping a block. Windows needs a hotpluggable
 * entry to enable memory hotplug at all and works better with the highest node; Linux sizes what it may have to address
 * (swiotlb, the highest page frame) by it when it is booted with little RAM.
 */
static int make_srat(struct board *board, struct error *err)
{
	const struct mem_window *window = &board->layout.window;
	struct mem_chunk chunk;
	size_t count = 0, room = board->e820.count + 2 * window->count + 1;
	uint64_t at = window->span.start;

	board->acpi_memory = calloc(room, sizeof(board->acpi_memory[0]));
	if (board->acpi_memory == NULL)
		return no_memory(err);
	for (size_t i = 0; i < board->e820.count; i++) {
		const struct e820_entry *entry = &board->e820.entries[i];

		if (entry->type != E820_RAM && entry->type != E820_SOFT_RESERVED)
			continue;
		board->acpi_memory[count++] = (struct acpi_memory){
			.range = entry->range,
			.pxm = pxm_of_node(node_at(board, entry->range.start)),
		};
	}
	while (board->layout.hotplug && window_next(window, &at, &chunk)) {
		if (chunk.kind == MEM_CHUNK_FREE)
			board->acpi_memory[count++] = (struct acpi_memory){
				.range = chunk.range,
				.pxm = pxm_of_node(board->config->node_count - 1),
				.hotpluggable = true,
			};
	}
	assert(count <= room);
	qsort(board->acpi_memory, count, sizeof(board->acpi_memory[0]), by_pxm_then_address);
	board->acpi.memory = board->acpi_memory;
	board->acpi.memory_count = count;
	return 0;
}

uint32_t board_attached(const struct board *board, uint32_t node)
{
	const struct config *config = board->config;

	if (node < config->cpu_node_count)
		return node;
	for (size_t i = 0; i < config->accel_count; i++) {
		const struct config_accel *accel = &config->accels[i];
		size_t at = (size_t)accel->node * config->node_count + node;

		/*
		 * Linux shows the attached initiator's figures alone, so one without any would hide what the CPUs have
		 */
		for (int kind = 0; accel->has_block && accel->block_node == node && kind < ACPI_FIGURES; kind++) {
			if (config->figures[kind] != NULL && config->figures[kind][at] != 0)
				return accel->node;
		}
	}
	return ACPI_NOT_ATTACHED;
}

static void add_cache(struct board *board, const struct config_memory *memory)
{
	if (memory->cache.size == 0)
		return;
	board->acpi_caches[board->acpi.cache_count++] = (struct acpi_cache){
		.pxm = pxm_of_node(memory->node),
		.size = memory->cache.size,
		.level = 1,
		.levels = 1,
		.mapping = memory->cache.complex ? 2 : 1,
		.policy = memory->cache.write_through ? 2 : 1,
		.line = (uint16_t)memory->cache.line,
	};
}

static int make_hmat(struct board *board, struct error *err)
{
	const struct config *config = board->config;

	board->acpi.initiators = config->initiator_count;
	board->acpi.hmat = config->figures[0] != NULL;
	if (!board->acpi.hmat)
		return 0;
	board->acpi_attached = calloc(config->node_count, sizeof(board->acpi_attached[0]));
	board->acpi_caches = calloc(config->mem_count + config->spm_count, sizeof(board->acpi_caches[0]));
	if (board->acpi_attached == NULL || board->acpi_caches == NULL)
		return no_memory(err);
	for (uint32_t node = 0; node < config->node_count; node++)
		board->acpi_attached[pxm_of_node(node)] = board_attached(board, node);
	for (size_t i = 0; i < config->mem_count; i++)
		add_cache(board, &config->mem[i]);
	for (size_t i = 0; i < config->spm_count; i++)
		add_cache(board, &config->spm[i]);
	for (int kind = 0; kind < ACPI_FIGURES; kind++)
		board->acpi.figures[kind] = config->figures[kind];
	board->acpi.attached = board->acpi_attached;
	board->acpi.caches = board->acpi_caches;
	return 0;
}

static void add_accel(struct board *board, size_t index)
{
	const struct config_accel *accel = &board->config->accels[index];

	snprintf(board->accel_names[index], sizeof(board->accel_names[index]), "AC%02X", (unsigned)index & 0xff);
	board->acpi_devices[board->acpi.device_count++] = (struct acpi_device){
		.name = board->accel_names[index],
		.hid = BOARD_ACCEL_HID,
		.uid = (uint32_t)index,
		.is_initiator = true,
		.pxm = pxm_of_node(accel->node),
		.description = accel->id,
	};
}

static int make_acpi_inputs(struct board *board, struct error *err)
{
	const struct config *config = board->config;
	int code = make_srat(board, err);

	if (code == 0)
		code = make_hmat(board, err);
	if (code < 0)
		return code;
	board->acpi_cpus = calloc(config->cpu_count, sizeof(board->acpi_cpus[0]));
	board->acpi_devices = calloc(board->device_count + config->accel_count, sizeof(board->acpi_devices[0]));
	board->accel_names = calloc(config->accel_count + 1, sizeof(board->accel_names[0]));
	if (board->acpi_cpus == NULL || board->acpi_devices == NULL || board->accel_names == NULL)
		return no_memory(err);
	for (uint32_t i = 0; i < config->cpu_count; i++)
		board->acpi_cpus[i] = (struct acpi_cpu){board->cpus[i].apic_id, pxm_of_node(board->cpus[i].node)};
	for (size_t i = 0; i < board->device_count; i++) {
		const struct dev_wants *wants = &board->devices[i].wants;
		struct acpi_device *device = &board->acpi_devices[board->acpi.device_count];

		if (wants->acpi_hid == NULL)
			continue;
		*device = (struct acpi_device){
			.name = wants->acpi_name,
			.hid = wants->acpi_hid,
			.uid = wants->acpi_uid,
			.has_irq = wants->irq,
			.gsi = wants->gsi,
		};
		if (wants->io[0].space == BUS_PIO)
			device->io = wants->io[0].range;
		else
			device->mmio = wants->io[0].range;
		board->acpi.device_count++;
	}
	for (size_t i = 0; i < config->accel_count; i++)
		add_accel(board, i);
	board->acpi.cpus = board->acpi_cpus;
	board->acpi.cpu_count = config->cpu_count;
	board->acpi.devices = board->acpi_devices;
	board->acpi.distances = config->distances;
	board->acpi.localities = config->node_count;
	board->acpi.lapic_address = LAPIC_ADDRESS;
	board->acpi.ioapic_address = IOAPIC_ADDRESS;
	board->acpi.ioapic_id = 0;
	board->acpi.sleep_control_port = POWER_SLEEP_CONTROL_PORT;
	board->acpi.sleep_status_port = POWER_SLEEP_STATUS_PORT;
	board->acpi.reset_port = POWER_RESET_PORT;
	board->acpi.reset_value = POWER_RESET_VALUE;
	board->acpi.sleep_type_s5 = POWER_SLEEP_TYPE_S5;
	board->acpi.button_gsi = POWER_BUTTON_GSI;
	return 0;
}

/* virtio-mem has one region: the largest free chunk, as far as --maxmem goes. */
static void place_hotplug(struct board *board)
{
	const struct mem_window *window = &board->layout.window;
	uint64_t at = window->span.start;
	struct mem_chunk chunk;

	while (board->layout.hotplug && window_next(window, &at, &chunk)) {
		if (chunk.kind == MEM_CHUNK_FREE && chunk.range.size > board->hotplug.size)
			board->hotplug = chunk.range;
	}
	if (board->hotplug.size > board->config->room)
		board->hotplug.size = board->config->room;
}

int board_make(struct board *board, const struct config *config, unsigned phys_bits, struct error *err)
{
	int code;

	memset(board, 0, sizeof(*board));
	board->config = config;
	board->phys_bits = phys_bits;
	place_devices(board);
	code = place_cpus(board, err);
	if (code == 0)
		code = plan_memory(board, err);
	if (code == 0)
		code = make_e820(board, err);
	if (code == 0)
		code = make_acpi_inputs(board, err);
	if (code == 0)
		place_hotplug(board);
	else
		board_release(board);
	return code;
}

void board_release(struct board *board)
{
	if (board == NULL)
		return;
	layout_release(&board->layout);
	free(board->cpus);
	free(board->acpi_cpus);
	free(board->acpi_memory);
	free(board->acpi_devices);
	free(board->acpi_attached);
	free(board->acpi_caches);
	free(board->accel_names);
	board->cpus = NULL;
	board->acpi_cpus = NULL;
	board->acpi_memory = NULL;
	board->acpi_devices = NULL;
	board->acpi_attached = NULL;
	board->acpi_caches = NULL;
	board->accel_names = NULL;
}

int board_build_acpi(const struct board *board, struct acpi_blob *blob, struct error *err)
{
	int code = acpi_build(blob, &board->acpi, board->layout.acpi.start, err);

	if (code < 0)
		return code;
	if (blob->bytes.size > board->layout.acpi.size) {
		acpi_blob_release(blob);
		return error_set(err, EXIT_STATUS_INTERNAL, ENOSPC,
				 "the ACPI tables outgrew the place set aside for them");
	}
	return 0;
}

const char *board_device_name(const struct board_device *device)
{
	static const char *const NAMES[BOARD_VIRTIO] = {
		[BOARD_SERIAL] = "COM1",
		[BOARD_POWER] = "power button, sleep and reset registers",
		[BOARD_PCI_HOST] = "PCI host bridge",
		[BOARD_PVPANIC] = "pvpanic",
		[BOARD_DEBUG_EXIT] = "debug exit",
	};

	if (device->kind != BOARD_VIRTIO)
		return NAMES[device->kind];
	return device->config->title != NULL ? device->config->title : device->config->option;
}

const struct config_memory *board_owner(const struct board *board, const struct mem_region *region)
{
	return region->kind == MEM_SPM ? &board->config->spm[region->owner] : &board->config->mem[region->owner];
}

uint64_t board_onlinable(const struct board *board, struct range block)
{
	uint64_t start = align_up(block.start, board->layout.block_size);
	uint64_t end = align_down(range_end(block), board->layout.block_size);

	return end > start ? end - start : 0;
}
