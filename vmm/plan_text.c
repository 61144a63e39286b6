/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "vmm/config_figures.h"
#include "vmm/plan.h"

struct plan_quantity plan_quantity(uint64_t bytes)
{
	static const char *const UNITS[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
	struct plan_quantity size;
	size_t unit = 0;

	while (unit + 1 < sizeof(UNITS) / sizeof(UNITS[0]) && bytes != 0 && bytes % 1024 == 0) {
		bytes /= 1024;
		unit++;
	}
	snprintf(size.text, sizeof(size.text), "%" PRIu64 " %s", bytes, UNITS[unit]);
	return size;
}

static void print_range(FILE *out, struct range range)
{
	fprintf(out, "  0x%011" PRIx64 "-0x%011" PRIx64 "  %10s  ", range.start, range_end(range) - 1,
		plan_quantity(range.size).text);
}

static void print_head(const struct board *board, FILE *out)
{
	const struct config *config = board->config;
	uint64_t ram = 0, spm = 0;

	for (size_t i = 0; i < config->mem_count; i++)
		ram += config->mem[i].size;
	for (size_t i = 0; i < config->spm_count; i++)
		spm += config->spm[i].size;
	fprintf(out, "Machine: %" PRIu32 " CPU%s, %s of RAM, %zu SPM block%s", config->cpu_count,
		config->cpu_count == 1 ? "" : "s", plan_quantity(ram).text, config->spm_count,
		config->spm_count == 1 ? "" : "s");
	if (spm > 0)
		fprintf(out, " of %s%s", plan_quantity(spm).text, config->spm_count == 1 ? "" : " together");
	fprintf(out, ", %" PRIu32 " NUMA node%s; physical addresses of %u bits\n", config->node_count,
		config->node_count == 1 ? "" : "s", board->phys_bits);
}

void plan_print_source(FILE *out, const struct config_memory *memory)
{
	static const char *const POLICIES[] = {
		[HOST_POLICY_DEFAULT] = "",
		[HOST_POLICY_BIND] = ", bound to host nodes",
		[HOST_POLICY_PREFERRED] = ", host nodes preferred:",
		[HOST_POLICY_INTERLEAVE] = ", interleaved over host nodes",
	};

	if (memory->source.hugetlb != 0)
		fprintf(out, ", huge pages of %s", plan_quantity(memory->source.hugetlb).text);
	fputs(POLICIES[memory->source.policy], out);
	for (uint32_t node = 0; node < NODES_MAX; node++) {
		if (node_set_has(&memory->source.host_nodes, node))
			fprintf(out, " %" PRIu32, node);
	}
	if (memory->source.path != NULL)
		fprintf(out, ", in %s", memory->source.path);
	if (memory->source.inherited > 0)
		fprintf(out, ", in descriptor %d", memory->source.inherited);
	if (memory->source.prealloc)
		fputs(", populated before the guest starts", out);
}

static void print_regions(const struct board *board, FILE *out)
{
	fputs("\nGuest-physical memory\n", out);
	for (size_t i = 0; i < board->layout.region_count; i++) {
		const struct mem_region *region = &board->layout.regions[i];
		const struct config_memory *memory = board_owner(board, region);

		print_range(out, region->gpa);
		fprintf(out, "%s  node %" PRIu32 "  %s", region->kind == MEM_SPM ? "SPM" : "RAM", region->node,
			memory->id);
		if (region->offset > 0)
			fprintf(out, " from its byte %s on", plan_quantity(region->offset).text);
		plan_print_source(out, memory);
		fputc('\n', out);
	}
}

static void print_window(const struct board *board, FILE *out)
{
	const struct mem_window *window = &board->layout.window;
	uint64_t at = window->span.start;
	struct mem_chunk chunk;

	if (window->span.size == 0)
		return;
	fprintf(out, "\nDevice-memory window (%s)\n",
		board->layout.hotplug ? "with --maxmem: what is free can be hot-plugged" : "no --maxmem: no hotplug");
	while (window_next(window, &at, &chunk)) {
		print_range(out, chunk.range);
		if (chunk.kind == MEM_CHUNK_OWNED)
			fprintf(out, "%s\n", board->config->spm[chunk.owner].id);
		else if (chunk.kind == MEM_CHUNK_FORBIDDEN)
			fputs("reserved for HyperTransport on AMD processors\n", out);
		else if (board->layout.hotplug)
			fprintf(out, "free, SRAT: hotpluggable at node %" PRIu32 "%s\n", board->config->node_count - 1,
				chunk.range.start == board->hotplug.start ? "; virtio-mem's" : "");
		else
			fputs("free (alignment)\n", out);
	}
}

static void print_e820(const struct board *board, FILE *out)
{
	fprintf(out, "\nE820 map (%zu entries%s)\n", board->e820.count,
		board->e820.count > 128 ? ", those from the 129th on in setup_data" : "");
	for (size_t i = 0; i < board->e820.count; i++) {
		print_range(out, board->e820.entries[i].range);
		fprintf(out, "%s\n", e820_type_name(board->e820.entries[i].type));
	}
}

void plan_print_cpus(const struct board *board, uint32_t node, FILE *out)
{
	const struct config *config = board->config;
	const char *separator = "CPUs ";
	bool any = false;

	for (uint32_t first = 0; first < config->cpu_count; first++) {
		uint32_t last = first;

		if (config->cpu_nodes[first] != node)
			continue;
		while (last + 1 < config->cpu_count && config->cpu_nodes[last + 1] == node)
			last++;
		fprintf(out, "%s%" PRIu32, separator, first);
		if (last > first)
			fprintf(out, "-%" PRIu32, last);
		separator = ",";
		any = true;
		first = last;
	}
	if (!any)
		fputs("no CPU", out);
}

static void print_nodes(const struct board *board, FILE *out)
{
	const struct config *config = board->config;

	fputs("\nNUMA nodes\n", out);
	for (uint32_t node = 0; node < config->node_count; node++) {
		fprintf(out, "  node %-4" PRIu32 " ", node);
		plan_print_cpus(board, node, out);
		for (size_t i = 0; i < config->mem_count; i++) {
			if (config->mem[i].node == node)
				fprintf(out, "; RAM %s", plan_quantity(config->mem[i].size).text);
		}
		for (size_t i = 0; i < config->spm_count; i++) {
			if (config->spm[i].node == node)
				fprintf(out, "; SPM %s %s", config->spm[i].id, plan_quantity(config->spm[i].size).text);
		}
		fputc('\n', out);
	}
}

/* A matrix while it fits a screen; beyond that, the distances that are not the usual ones. */
static void print_distances(const struct board *board, FILE *out)
{
	enum { MATRIX_MAX = 24 };
	const struct config *config = board->config;
	bool matrix = config->node_count <= MATRIX_MAX, any = false;

	if (config->node_count == 1)
		return;
	fputs("\nDistances (from the row's node to the column's)\n", out);
	for (uint32_t from = 0; matrix && from <= config->node_count; from++) {
		/* the first row holds the column's numbers */
		if (from == 0)
			fputs("       ", out);
		else
			fprintf(out, "  %4" PRIu32 " ", from - 1);
		for (uint32_t to = 0; to < config->node_count; to++)
			fprintf(out, "%4u", from == 0 ? to : config->distances[(from - 1) * config->node_count + to]);
		fputc('\n', out);
	}
	if (matrix)
		return;
	fprintf(out, "  %u to itself, %u to any other", CONFIG_DISTANCE_LOCAL, CONFIG_DISTANCE_DEFAULT);
	for (uint32_t from = 0; from < config->node_count; from++) {
		for (uint32_t to = 0; to < config->node_count; to++) {
			unsigned distance = config->distances[(size_t)from * config->node_count + to];

			if (from == to || distance == CONFIG_DISTANCE_DEFAULT)
				continue;
			fprintf(out, "%s %" PRIu32 ":%" PRIu32 "=%u", any ? "" : ", except", from, to, distance);
			any = true;
		}
	}
	fputc('\n', out);
}

bool plan_same_figures(const struct config *config, uint32_t from, uint32_t other, uint32_t to)
{
	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		const uint32_t *column = config->figures[kind] + to;

		if (column[(size_t)from * config->node_count] != column[(size_t)other * config->node_count])
			return false;
	}
	return true;
}

void plan_print_figures(const struct config *config, uint32_t from, uint32_t to, FILE *out)
{
	static const char *const NAMES[] = {"latency", "bandwidth"};
	static const char *const EACH[] = {"", "/s"};

	for (int i = 0; i < 2; i++) {
		enum acpi_figure read = i == 0 ? ACPI_READ_LATENCY : ACPI_READ_BANDWIDTH;
		enum acpi_figure write = i == 0 ? ACPI_WRITE_LATENCY : ACPI_WRITE_BANDWIDTH;
		size_t at = (size_t)from * config->node_count + to;
		uint32_t figures[] = {config->figures[read][at], config->figures[write][at]};

		fprintf(out, "%s%s ", i == 0 ? "" : ", ", NAMES[i]);
		if (figures[0] == 0)
			fputc('?', out);
		else
			fprintf(out, "%s%s", figure_text(read, figures[0]).text, EACH[i]);
		if (figures[1] != figures[0] && figures[1] == 0)
			fputs(" (writes: ?)", out);
		else if (figures[1] != figures[0])
			fprintf(out, " (writes: %s%s)", figure_text(write, figures[1]).text, EACH[i]);
	}
}

bool plan_knows_figures(const struct config *config, uint32_t from, uint32_t to)
{
	bool known = false;

	for (int kind = 0; kind < ACPI_FIGURES; kind++)
		known = known || config->figures[kind][(size_t)from * config->node_count + to] != 0;
	return known;
}

/* One line for each node's memory and the initiators side by side that have the same figures for it. */
static void print_performance(const struct board *board, FILE *out)
{
	const struct config *config = board->config;

	if (config->figures[0] == NULL)
		return;
	fputs("\nPerformance (HMAT)\n", out);
	for (uint32_t to = 0; to < config->node_count; to++) {
		for (uint32_t from = 0, last; from < config->initiator_count; from = last + 1) {
			last = from;
			while (last + 1 < config->initiator_count && plan_same_figures(config, from, last + 1, to))
				last++;
			if (!plan_knows_figures(config, from, to))
				continue;
			fprintf(out, "  to node %" PRIu32 " from node %" PRIu32, to, from);
			if (last > from)
				fprintf(out, "-%" PRIu32, last);
			fputs(": ", out);
			plan_print_figures(config, from, to, out);
			fputc('\n', out);
		}
	}
	for (size_t i = 0; i < board->acpi.cache_count; i++) {
		const struct acpi_cache *cache = &board->acpi.caches[i];

		fprintf(out, "  node %" PRIu32 " is behind a cache of %s: %s, %s, lines of %u bytes\n", cache->pxm,
			plan_quantity(cache->size).text, cache->mapping == 2 ? "complex" : "direct mapped",
			cache->policy == 2 ? "write-through" : "write-back", cache->line);
	}
}

static void print_accels(const struct board *board, FILE *out)
{
	const struct config *config = board->config;

	for (size_t i = 0; i < config->accel_count; i++) {
		fprintf(out, "  %-8s accelerator %s on node %" PRIu32, BOARD_ACCEL_HID, config->accels[i].id,
			config->accels[i].node);
		if (config->accels[i].has_block)
			fprintf(out, ", with the block of node %" PRIu32, config->accels[i].block_node);
		fputc('\n', out);
	}
}

static void print_memslots(const struct board *board, FILE *out)
{
	size_t count, number = 0;
	struct range run;

	fputs("\nKVM memslots (one for each run of touching regions)\n", out);
	for (size_t first = 0; first < board->layout.region_count; first += count) {
		count = layout_run(&board->layout, first, &run);
		print_range(out, run);
		fprintf(out, "memslot %zu: %zu region%s\n", number++, count, count == 1 ? "" : "s");
	}
	if (board->hotplug.size > 0) {
		print_range(out, board->hotplug);
		fprintf(out, "memslot %zu: virtio-mem's region\n", number);
	}
}

static void print_devices(const struct board *board, FILE *out)
{
	fputs("\nDevices\n", out);
	for (size_t i = 0; i < board->device_count; i++) {
		const struct board_device *device = &board->devices[i];
		const struct dev_io *io = &device->wants.io[0];

		fprintf(out, "  %-8s %s 0x%" PRIx64 "-0x%" PRIx64,
			device->wants.acpi_hid != NULL ? device->wants.acpi_hid : "-",
			io->space == BUS_PIO ? "ports" : "memory", io->range.start, range_end(io->range) - 1);
		if (device->wants.irq)
			fprintf(out, ", GSI %" PRIu32, device->wants.gsi);
		fprintf(out, ": %s\n", board_device_name(device));
	}
	print_accels(board, out);
}

static void print_blocks(const struct board *board, FILE *out)
{
	if (board->config->spm_count == 0)
		return;
	fputs("\nWhat Linux makes of each block (dax_hmem; names as on 6.1)\n", out);
	for (size_t i = 0; i < board->config->spm_count; i++) {
		struct plan_block block = plan_block_at(board, i);

		fprintf(out,
			"  %s: /dev/dax%zu.0 on node %" PRIu32 ", %s; online as system RAM: %s of it; struct pages: %s",
			block.memory->id, block.dax, block.node, plan_quantity(block.gpa.size).text,
			block.onlinable == block.gpa.size ? "all" : plan_quantity(block.onlinable).text,
			plan_quantity(block.vmemmap_2m).text);
		fprintf(out, " (align 2 MiB) or %s (align 4 KiB)\n", plan_quantity(block.vmemmap_4k).text);
	}
}

static void print_warning(void *context, const char *text)
{
	fprintf(context, "warning: %s\n", text);
}

void plan_text(const struct board *board, FILE *out)
{
	print_head(board, out);
	print_regions(board, out);
	print_window(board, out);
	print_e820(board, out);
	print_nodes(board, out);
	print_distances(board, out);
	print_performance(board, out);
	print_memslots(board, out);
	print_devices(board, out);
	print_blocks(board, out);
	fputc('\n', out);
	plan_warnings(board, print_warning, out);
}
