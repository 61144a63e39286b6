/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/device_tree.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <string.h>

enum {
	NODE_ROOM = 512, /* more than any node but the distance map takes, which is 240 bytes and an id */
	PAIR_CELLS = 3   /* from, to, distance */
};

/* A tree that is being written from front to back. What goes wrong first is kept; later calls do nothing. */
struct tree {
	void *blob;
	int code; /* libfdt's, 0 while all is well */
};

static void begin(struct tree *tree, const char *name)
{
	if (tree->code == 0)
		tree->code = fdt_begin_node(tree->blob, name);
}

static void begin_at(struct tree *tree, const char *name, uint64_t address)
{
	char text[32];

	snprintf(text, sizeof(text), "%s@%" PRIx64, name, address);
	begin(tree, text);
}

static void end(struct tree *tree)
{
	if (tree->code == 0)
		tree->code = fdt_end_node(tree->blob);
}

static void put_text(struct tree *tree, const char *name, const char *value)
{
	if (tree->code == 0)
		tree->code = fdt_property_string(tree->blob, name, value);
}

static void put_u32(struct tree *tree, const char *name, uint32_t value)
{
	if (tree->code == 0)
		tree->code = fdt_property_u32(tree->blob, name, value);
}

static void put_u64(struct tree *tree, const char *name, uint64_t value)
{
	if (tree->code == 0)
		tree->code = fdt_property_u64(tree->blob, name, value);
}

static void put_reg(struct tree *tree, struct range range)
{
	fdt64_t cells[] = {cpu_to_fdt64(range.start), cpu_to_fdt64(range.size)};

	if (tree->code == 0)
		tree->code = fdt_property(tree->blob, "reg", cells, sizeof(cells));
}

/* ----------------------------------------------------------------------------------------------- nodes */

/* The region that an E820 entry is part of. */
static const struct mem_region *region_at(const struct board *board, uint64_t address)
{
	const struct mem_region *region = board->layout.regions;

	while (!range_holds(region->gpa, address))
		region++;
	return region;
}

static void put_memory(struct tree *tree, const struct board *board)
{
	for (size_t i = 0; i < board->e820.count; i++) {
		const struct e820_entry *entry = &board->e820.entries[i];

		if (entry->type != E820_RAM)
			continue;
		begin_at(tree, "memory", entry->range.start);
		put_text(tree, "device_type", "memory");
		put_reg(tree, entry->range);
		put_u32(tree, "numa-node-id", region_at(board, entry->range.start)->node);
		end(tree);
	}
}

static void put_slots(struct tree *tree, const struct board *board)
{
	for (size_t i = 0; i < board->layout.region_count; i++) {
		const struct mem_region *region = &board->layout.regions[i];

		if (region->kind != MEM_SPM)
			continue;
		begin_at(tree, "spm", region->gpa.start);
		put_text(tree, "compatible", DEVICE_TREE_SLOT);
		put_text(tree, "id", board_owner(board, region)->id);
		put_reg(tree, region->gpa);
		put_u64(tree, "size", region->gpa.size);
		put_u32(tree, "numa-node-id", region->node);
		end(tree);
	}
}

static uint32_t distance(const struct config *config, uint32_t from, uint32_t to)
{
	return config->distances[(size_t)from * config->node_count + to];
}

/* The triplets, into cells unless it is NULL; returns how many there are. */
static size_t list_pairs(const struct config *config, fdt32_t *cells)
{
	size_t count = 0;

	for (uint32_t from = 0; from < config->node_count; from++) {
		for (uint32_t to = 0; to < config->node_count; to++) {
			if (to < from && distance(config, from, to) == distance(config, to, from))
				continue;
			if (cells != NULL) {
				cells[count * PAIR_CELLS] = cpu_to_fdt32(from);
				cells[count * PAIR_CELLS + 1] = cpu_to_fdt32(to);
				cells[count * PAIR_CELLS + 2] = cpu_to_fdt32(distance(config, from, to));
			}
			count++;
		}
	}
	return count;
}

static void put_distances(struct tree *tree, const struct config *config, size_t size)
{
	void *cells = NULL;

	begin(tree, "distance-map");
	put_text(tree, "compatible", "numa-distance-map-v1");
	if (tree->code == 0)
		tree->code = fdt_property_placeholder(tree->blob, "distance-matrix", (int)size, &cells);
	if (tree->code == 0)
		list_pairs(config, cells);
	end(tree);
}

/* ------------------------------------------------------------------------------------------------ tree */

int device_tree_build(const struct board *board, struct buf *blob, struct error *err)
{
	size_t matrix = list_pairs(board->config, NULL) * PAIR_CELLS * sizeof(fdt32_t);
	size_t room = (board->e820.count + 4) * NODE_ROOM + matrix;
	struct tree tree = {.blob = buf_extend(blob, room)};

	if (tree.blob == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory for the device tree");
	tree.code = fdt_create(tree.blob, (int)room);
	if (tree.code == 0)
		tree.code = fdt_finish_reservemap(tree.blob);
	begin(&tree, "");
	put_text(&tree, "model", "spmvm");
	put_u32(&tree, "#address-cells", 2);
	put_u32(&tree, "#size-cells", 2);
	put_memory(&tree, board);
	put_slots(&tree, board);
	put_distances(&tree, board->config, matrix);
	end(&tree);
	if (tree.code == 0)
		tree.code = fdt_finish(tree.blob);
	if (tree.code != 0) {
		buf_release(blob);
		return error_set(err, EXIT_STATUS_INTERNAL, EINVAL, "cannot make the device tree: %s",
				 fdt_strerror(tree.code));
	}
	blob->size = fdt_totalsize(tree.blob);
	return 0;
}

/* ---------------------------------------------------------------------------------------------- source */

static bool is_text(const char *property)
{
	static const char *const TEXTS[] = {"compatible", "device_type", "id", "model"};

	for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
		if (strcmp(property, TEXTS[i]) == 0)
			return true;
	}
	return false;
}

static void print_property(const void *blob, int offset, int depth, FILE *out)
{
	const char *name;
	int size;
	const char *value = fdt_getprop_by_offset(blob, offset, &name, &size);
	bool pairs = strcmp(name, "distance-matrix") == 0;

	fprintf(out, "%*s%s = ", 8 * depth, "", name);
	if (is_text(name)) {
		/* model and ids have no character that the source would have to escape */
		fprintf(out, "\"%s\";\n", value);
		return;
	}
	fputc('<', out);
	for (int i = 0; i < size; i += (int)sizeof(fdt32_t)) {
		uint32_t cell = fdt32_ld((const void *)(value + i));

		if (i > 0 && pairs && i % (PAIR_CELLS * (int)sizeof(fdt32_t)) == 0)
			fprintf(out, ">,\n%*s<", 8 * (depth + 1), "");
		else if (i > 0)
			fputc(' ', out);
		fprintf(out, pairs ? "%" PRIu32 : "0x%" PRIx32, cell);
	}
	fputs(">;\n", out);
}

void device_tree_print(const struct buf *blob, FILE *out)
{
	int offset = 0, next = 0, depth = 0;
	uint32_t tag;

	fputs("/dts-v1/;\n\n", out);
	while ((tag = fdt_next_tag(blob->data, offset, &next)) != FDT_END) {
		assert(next > 0); /* the tree is one of ours */
		if (tag == FDT_BEGIN_NODE)
			fprintf(out, "%*s%s {\n", 8 * depth++, "",
				offset == 0 ? "/" : fdt_get_name(blob->data, offset, NULL));
		else if (tag == FDT_PROP)
			print_property(blob->data, offset, depth, out);
		else if (tag == FDT_END_NODE)
			fprintf(out, "%*s};\n", 8 * --depth, "");
		offset = next;
	}
}
