/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>

#include "vmm/config_figures.h"
#include "vmm/config_json.h"
#include "vmm/plan.h"

/*
 * The plan as JSON (jansson). Addresses and sizes are integers in bytes. Running out of memory makes a value NULL, a NULL makes its array
 * or object NULL, and so the whole plan: one check at the end finds it.
 */
static void add(json_t **array, json_t *value)
{
	if (json_array_append_new(*array, value) < 0) {
		json_decref(*array);
		*array = NULL;
	}
}

static json_int_t integer(uint64_t value)
{
	return (json_int_t)value;
}

static json_t *host_source(const struct config_memory *memory)
{
	static const char *const POLICIES[] = {"default", "bind", "preferred", "interleave"};
	json_t *nodes = json_array();

	for (uint32_t node = 0; node < NODES_MAX; node++) {
		if (node_set_has(&memory->source.host_nodes, node))
			add(&nodes, json_integer(node));
	}
	return json_pack("{s:s, s:o, s:I, s:b, s:s?, s:o?}", "policy", POLICIES[memory->source.policy], "host-nodes",
			 nodes, "hugetlb", integer(memory->source.hugetlb), "prealloc", memory->source.prealloc ? 1 : 0,
			 "mem-path", memory->source.path, "fd",
			 memory->source.inherited > 0 ? json_integer(memory->source.inherited) : NULL);
}

static json_t *regions(const struct board *board)
{
	json_t *list = json_array();

	for (size_t i = 0; i < board->layout.region_count; i++) {
		const struct mem_region *region = &board->layout.regions[i];
		const struct config_memory *memory = board_owner(board, region);

		add(&list,
		    json_pack("{s:s, s:s, s:I, s:I, s:i, s:I, s:o}", "kind", region->kind == MEM_SPM ? "spm" : "ram",
			      "id", memory->id, "start", integer(region->gpa.start), "size", integer(region->gpa.size),
			      "node", (int)region->node, "offset", integer(region->offset), "backing",
			      host_source(memory)));
	}
	return list;
}

static json_t *window(const struct board *board)
{
	static const char *const KINDS[] = {"spm", "free", "forbidden"};
	const struct mem_window *window = &board->layout.window;
	json_t *list = json_array();
	uint64_t at = window->span.start;
	struct mem_chunk chunk;

	while (window_next(window, &at, &chunk)) {
		json_t *object = json_pack("{s:s, s:I, s:I}", "kind", KINDS[chunk.kind], "start",
					   integer(chunk.range.start), "size", integer(chunk.range.size));

		if (chunk.kind == MEM_CHUNK_OWNED)
			json_object_set_new(object, "id", json_string(board->config->spm[chunk.owner].id));
		add(&list, object);
	}
	return json_pack("{s:I, s:I, s:b, s:o}", "start", integer(window->span.start), "size",
			 integer(window->span.size), "hotplug", board->layout.hotplug ? 1 : 0, "partition", list);
}

static json_t *e820(const struct board *board)
{
	json_t *list = json_array();

	for (size_t i = 0; i < board->e820.count; i++) {
		const struct e820_entry *entry = &board->e820.entries[i];

		add(&list, json_pack("{s:I, s:I, s:I, s:s}", "start", integer(entry->range.start), "size",
				     integer(entry->range.size), "type", integer((uint32_t)entry->type), "name",
				     e820_type_name(entry->type)));
	}
	return list;
}

static json_t *nodes(const struct board *board)
{
	const struct config *config = board->config;
	json_t *list = json_array();

	for (uint32_t node = 0; node < config->node_count; node++) {
		json_t *cpus = json_array(), *distances = json_array();

		for (uint32_t cpu = 0; cpu < config->cpu_count; cpu++) {
			if (config->cpu_nodes[cpu] == node)
				add(&cpus, json_integer(cpu));
		}
		for (uint32_t to = 0; to < config->node_count; to++)
			add(&distances, json_integer(config->distances[(size_t)node * config->node_count + to]));
		add(&list, json_pack("{s:i, s:o, s:o}", "node", (int)node, "cpus", cpus, "distances", distances));
	}
	return list;
}

/*
 * One object for each pair of an initiator and memory with figures; latencies in ps, bandwidths in MB/s, and 0 for what
 * is not known.
 */
static json_t *performance(const struct board *board)
{
	const struct config *config = board->config;
	json_t *list = json_array();

	for (size_t i = 0; config->figures[0] != NULL && i < (size_t)config->initiator_count * config->node_count;
	     i++) {
		json_t *pair = json_pack("{s:I, s:I}", "from", (json_int_t)(i / config->node_count), "to",
					 (json_int_t)(i % config->node_count));
		bool known = false;

		for (int kind = 0; kind < ACPI_FIGURES; kind++) {
			known = known || config->figures[kind][i] != 0;
			json_object_set_new(pair, figure_name((enum acpi_figure)kind),
					    json_integer(config->figures[kind][i]));
		}
		if (known)
			add(&list, pair);
		else
			json_decref(pair);
	}
	return list;
}

static json_t *caches(const struct board *board)
{
	json_t *list = json_array();

	for (size_t i = 0; i < board->acpi.cache_count; i++) {
		const struct acpi_cache *cache = &board->acpi.caches[i];

		add(&list,
		    json_pack("{s:I, s:I, s:i, s:s, s:s}", "node", (json_int_t)cache->pxm, "size", integer(cache->size),
			      "line", (int)cache->line, "mapping", cache->mapping == 2 ? "complex" : "direct", "policy",
			      cache->policy == 2 ? "write-through" : "write-back"));
	}
	return list;
}

static json_t *accels(const struct board *board)
{
	json_t *list = json_array();

	for (size_t i = 0; i < board->config->accel_count; i++) {
		const struct config_accel *accel = &board->config->accels[i];

		add(&list, json_pack("{s:s, s:s, s:I, s:i, s:o}", "id", accel->id, "hid", BOARD_ACCEL_HID, "uid",
				     (json_int_t)i, "node", (int)accel->node, "block-node",
				     accel->has_block ? json_integer(accel->block_node) : json_null()));
	}
	return list;
}

static json_t *memslots(const struct board *board)
{
	json_t *list = json_array();
	struct range run;
	size_t count;

	for (size_t first = 0; first < board->layout.region_count; first += count) {
		count = layout_run(&board->layout, first, &run);
		add(&list, json_pack("{s:I, s:I, s:I}", "start", integer(run.start), "size", integer(run.size),
				     "regions", (json_int_t)count));
	}
	if (board->hotplug.size > 0)
		add(&list, json_pack("{s:I, s:I, s:I}", "start", integer(board->hotplug.start), "size",
				     integer(board->hotplug.size), "regions", (json_int_t)0));
	return list;
}

static json_t *devices(const struct board *board)
{
	json_t *list = json_array();

	for (size_t i = 0; i < board->device_count; i++) {
		const struct board_device *device = &board->devices[i];
		const struct dev_io *io = &device->wants.io[0];

		add(&list, json_pack("{s:s, s:s?, s:s, s:I, s:I, s:I}", "name", board_device_name(device), "hid",
				     device->wants.acpi_hid, "space", io->space == BUS_PIO ? "ports" : "memory",
				     "start", integer(io->range.start), "size", integer(io->range.size), "gsi",
				     device->wants.irq ? (json_int_t)device->wants.gsi : (json_int_t)-1));
	}
	return list;
}

static json_t *blocks(const struct board *board)
{
	json_t *list = json_array();

	for (size_t i = 0; i < board->config->spm_count; i++) {
		struct plan_block block = plan_block_at(board, i);

		add(&list,
		    json_pack("{s:s, s:I, s:i, s:I, s:I, s:I, s:I, s:I}", "id", block.memory->id, "dax",
			      (json_int_t)block.dax, "node", (int)block.node, "start", integer(block.gpa.start), "size",
			      integer(block.gpa.size), "onlinable", integer(block.onlinable), "struct-pages-2m",
			      integer(block.vmemmap_2m), "struct-pages-4k", integer(block.vmemmap_4k)));
	}
	return list;
}

static void add_warning(void *context, const char *text)
{
	add(context, json_string(text));
}

int plan_json(const struct board *board, FILE *out, struct error *err)
{
	json_t *warnings = json_array();
	json_t *config = config_json_write(board->config, err);
	json_t *plan;
	int code = 0;

	if (config == NULL) {
		json_decref(warnings);
		return -EINVAL;
	}
	plan_warnings(board, add_warning, &warnings);
	plan = json_pack("{s:o, s:i, s:i, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "config",
			 config, "cpus", (int)board->config->cpu_count, "phys-bits", (int)board->phys_bits,
			 "memory-block-size", integer(board->layout.block_size), "regions", regions(board), "window",
			 window(board), "e820", e820(board), "nodes", nodes(board), "performance", performance(board),
			 "caches", caches(board), "accelerators", accels(board), "memslots", memslots(board), "devices",
			 devices(board), "blocks", blocks(board), "warnings", warnings);
	if (plan == NULL || json_dumpf(plan, out, JSON_INDENT(2)) < 0)
		code = error_set(err, EXIT_STATUS_HOST, ENOMEM, "cannot make the plan's JSON");
	else
		fputc('\n', out);
	json_decref(plan);
	return code;
}
