/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/machine_line.h"

#include <libfdt.h>
#include <stdbool.h>
#include <unistd.h>

#include "vmm/device_tree.h"

/* RAM on both sides of the hole and on two nodes, blocks out of order, distances by direction. */
static const char EVERYTHING[] =
	"--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --mem size=2G --mem size=4G,node=1 "
	"--spm size=4G,node=3,id=hbm1,addr=0x400000000 --spm size=8G,node=2,id=hbm0 "
	"--spm size=200M,node=4 --spm size=2M,node=0,mixed=on,id=mixed "
	"--distance 0:2=15 --distance 2:0=16 --distance 1:3=99 --maxmem 32G";

static struct buf tree_of(const struct board *board)
{
	struct error err = {0};
	struct buf tree = {0};

	if (device_tree_build(board, &tree, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(fdt_check_full(tree.data, tree.size), 0);
	assert_int_equal(fdt_totalsize(tree.data), tree.size);
	return tree;
}

static char *source_of(const struct buf *tree)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	device_tree_print(tree, out);
	assert_int_equal(fclose(out), 0);
	return text;
}

/* ------------------------------------------------------------------------------------------------ text */

static void source_of_a_small_machine(void **state)
{
	static const char EXPECTED[] = "/dts-v1/;\n"
				       "\n"
				       "/ {\n"
				       "        model = \"spmvm\";\n"
				       "        #address-cells = <0x2>;\n"
				       "        #size-cells = <0x2>;\n"
				       "        memory@0 {\n"
				       "                device_type = \"memory\";\n"
				       "                reg = <0x0 0x0 0x0 0xa0000>;\n"
				       "                numa-node-id = <0x0>;\n"
				       "        };\n"
				       "        memory@100000 {\n"
				       "                device_type = \"memory\";\n"
				       "                reg = <0x0 0x100000 0x0 0x3feff000>;\n"
				       "                numa-node-id = <0x0>;\n"
				       "        };\n"
				       "        spm@100000000 {\n"
				       "                compatible = \"spmvm,spm\";\n"
				       "                id = \"hbm0\";\n"
				       "                reg = <0x1 0x0 0x1 0x80000000>;\n"
				       "                size = <0x1 0x80000000>;\n"
				       "                numa-node-id = <0x1>;\n"
				       "        };\n"
				       "        distance-map {\n"
				       "                compatible = \"numa-distance-map-v1\";\n"
				       "                distance-matrix = <0 0 10>,\n"
				       "                        <0 1 17>,\n"
				       "                        <1 0 18>,\n"
				       "                        <1 1 10>;\n"
				       "        };\n"
				       "};\n";
	struct machine_line machine = line_new("--spm size=6G,node=1,id=hbm0 --distance 0:1=17 --distance 1:0=18");
	struct buf tree = tree_of(machine.board);
	char *source = source_of(&tree);

	(void)state;
	assert_string_equal(source, EXPECTED);
	free(source);
	buf_release(&tree);
	line_release(&machine);
}

/* ----------------------------------------------------------------------------------- every fact, read back */

static const void *property(const struct buf *tree, int node, const char *name, int size)
{
	int length;
	const void *value = fdt_getprop(tree->data, node, name, &length);

	if (value == NULL || (size >= 0 && length != size))
		fail_msg("%s: %d bytes of '%s', not %d", fdt_get_name(tree->data, node, NULL), length, name, size);
	return value;
}

static uint32_t cell(const struct buf *tree, int node, const char *name)
{
	return fdt32_ld(property(tree, node, name, 4));
}

static void assert_reg(const struct buf *tree, int node, const char *kind, struct range range)
{
	const fdt64_t *reg = property(tree, node, "reg", 16);
	char name[32];

	snprintf(name, sizeof(name), "%s@%" PRIx64, kind, range.start);
	assert_string_equal(fdt_get_name(tree->data, node, NULL), name);
	assert_true(fdt64_ld(&reg[0]) == range.start);
	assert_true(fdt64_ld(&reg[1]) == range.size);
}

/* The RAM of the E820 map, each piece on the node of its region. */
static int check_memory(const struct board *board, const struct buf *tree, int node)
{
	for (size_t i = 0; i < board->e820.count; i++) {
		const struct e820_entry *entry = &board->e820.entries[i];

		if (entry->type != E820_RAM)
			continue;
		assert_reg(tree, node, "memory", entry->range);
		assert_string_equal(property(tree, node, "device_type", 7), "memory");
		for (size_t j = 0; j < board->layout.region_count; j++) {
			if (range_contains(board->layout.regions[j].gpa, entry->range))
				assert_int_equal(cell(tree, node, "numa-node-id"), board->layout.regions[j].node);
		}
		node = fdt_next_subnode(tree->data, node);
	}
	return node;
}

static int check_slots(const struct board *board, const struct buf *tree, int node)
{
	for (size_t i = 0; i < board->layout.region_count; i++) {
		const struct mem_region *region = &board->layout.regions[i];

		if (region->kind != MEM_SPM)
			continue;
		assert_reg(tree, node, "spm", region->gpa);
		assert_int_equal(fdt_node_check_compatible(tree->data, node, DEVICE_TREE_SLOT), 0);
		assert_string_equal(property(tree, node, "id", -1), board->config->spm[region->owner].id);
		assert_true(fdt64_ld(property(tree, node, "size", 8)) == region->gpa.size);
		assert_int_equal(cell(tree, node, "numa-node-id"), region->node);
		node = fdt_next_subnode(tree->data, node);
	}
	return node;
}

/* As Linux reads it: in ascending order, and a triplet is the way back too until that has its own. */
static void check_distances(const struct config *config, const struct buf *tree, int node)
{
	size_t nodes = config->node_count;
	uint8_t *seen = calloc(nodes, nodes);
	const fdt32_t *cells;
	int64_t last = -1;
	int size;

	assert_string_equal(fdt_get_name(tree->data, node, NULL), "distance-map");
	assert_int_equal(fdt_node_check_compatible(tree->data, node, "numa-distance-map-v1"), 0);
	cells = fdt_getprop(tree->data, node, "distance-matrix", &size);
	assert_true(cells != NULL && seen != NULL && size % 12 == 0);
	for (int i = 0; i < size / 12; i++) {
		uint32_t from = fdt32_ld(&cells[3 * i]), to = fdt32_ld(&cells[3 * i + 1]);

		assert_true(from < nodes && to < nodes && (int64_t)(from * nodes + to) > last);
		last = (int64_t)(from * nodes + to);
		seen[from * nodes + to] = (uint8_t)fdt32_ld(&cells[3 * i + 2]);
		if (to > from)
			seen[to * nodes + from] = seen[from * nodes + to];
	}
	assert_memory_equal(seen, config->distances, nodes * nodes);
	free(seen);
}

static void check_tree(const char *line)
{
	struct machine_line machine = line_new(line);
	struct buf tree = tree_of(machine.board);
	int node;

	assert_int_equal(fdt_num_mem_rsv(tree.data), 0);
	assert_int_equal(fdt_address_cells(tree.data, 0), 2);
	assert_int_equal(fdt_size_cells(tree.data, 0), 2);
	/* with one, kernels that use device trees would take this one for the machine's description */
	assert_null(fdt_getprop(tree.data, 0, "compatible", NULL));
	node = check_memory(machine.board, &tree, fdt_first_subnode(tree.data, 0));
	node = check_slots(machine.board, &tree, node);
	check_distances(machine.config, &tree, node);
	assert_int_equal(fdt_next_subnode(tree.data, node), -FDT_ERR_NOTFOUND);
	buf_release(&tree);
	line_release(&machine);
}

/* A line with count blocks of the longest names, each on a node of its own. */
static char *line_of(int count)
{
	struct buf line = {0};
	size_t size;

	buf_text(&line, "--distance 0:1=33 --distance 1:0=34");
	for (int i = 0; i < count; i++)
		buf_printf(&line, " --spm size=2M,node=%d,id=a%062d", i + 1, i);
	buf_u8(&line, 0);
	assert_false(buf_failed(&line));
	return (char *)buf_steal(&line, &size);
}

static void the_tree_is_the_board(void **state)
{
	static const int COUNTS[] = {1, 64, 256, 300, 1023};

	(void)state;
	check_tree("--mem 66M");
	check_tree(EVERYTHING);
	for (size_t i = 0; i < sizeof(COUNTS) / sizeof(COUNTS[0]); i++) {
		char *line = line_of(COUNTS[i]);

		check_tree(line);
		free(line);
	}
}

/* ------------------------------------------------------------------------------------------------- dtc */

static void write_file(const char *name, const void *bytes, size_t size)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

/* dtc takes the blob and our source without a word, and for it they are the same tree. */
static void judge(const char *line)
{
	static const char DTC[] = "dtc -s -I dtb -O dts tree.dtb >from-blob.dts 2>said && [ ! -s said ] && "
				  "dtc -I dts -O dtb tree.dts >again.dtb 2>said && [ ! -s said ] && "
				  "dtc -s -I dtb -O dts again.dtb >from-source.dts && "
				  "grep -q distance-map from-blob.dts && cmp from-blob.dts from-source.dts";
	struct machine_line machine = line_new(line);
	struct buf tree = tree_of(machine.board);
	char *source = source_of(&tree);

	write_file("tree.dtb", tree.data, tree.size);
	write_file("tree.dts", source, strlen(source));
	if (system(DTC) != 0)
		fail_msg("dtc: %d", system("cat said >&2"));
	free(source);
	buf_release(&tree);
	line_release(&machine);
}

/* Without dtc the test fails: what was not judged has not passed. */
static void dtc_agrees(void **state)
{
	char folder[] = "/tmp/spmvm-dtc-XXXXXX";
	char *line = line_of(300);

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	judge("");
	judge(EVERYTHING);
	judge(line);
	free(line);
	assert_int_equal(system("rm tree.dtb tree.dts again.dtb from-blob.dts from-source.dts said"), 0);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(source_of_a_small_machine),
		cmocka_unit_test(the_tree_is_the_board),
		cmocka_unit_test(dtc_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
