/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/machine_line.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/plan.h"

/* Two nodes with CPUs and RAM that crosses the hole, blocks out of order, room for hotplug, distances, host sources. */
static const char EVERYTHING[] = "--cpus 4 --numa node=0,cpus=0-1,3 --numa node=1,cpus=2 --mem size=2G,prealloc=on "
				 "--mem size=4G,node=1,host-nodes=0-1,policy=interleave "
				 "--spm size=4G,node=3,id=hbm1,addr=0x400000000,hugetlb=1G,host-nodes=1 "
				 "--spm size=8G,node=2,id=hbm0,addr=0x200000000 --spm size=200M,node=4,id=odd "
				 "--spm size=2M,node=0,mixed=on,id=mixed,mem-path=/mnt/file "
				 "--distance 0:2=15 --distance 2:0=16 --distance 1:3=99 --maxmem 24G";

/* Figures from CPUs and from an accelerator, where one direction is not known, and a cache. */
static const char FIGURES[] =
	"--cpus 2 --numa node=0,cpus=0 --numa node=1,cpus=1 --accel gpu0,node=2,node-of=hbm0 --accel a,node=0 "
	"--spm size=1G,node=3,id=hbm0,latency=60,bandwidth=800G --perf from=2,to=3,read-latency=20500ps "
	"--spm size=1G,node=4,read-latency=1us,write-latency=1001ns,write-bandwidth=8G,cache=16M "
	"--perf from=1,to=4,bandwidth=9G";

/* ------------------------------------------------------------------------------------------------- JSON */

static json_t *json_of(const struct board *board)
{
	struct error err = {0};
	json_error_t bad;
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	json_t *plan;

	assert_non_null(out);
	assert_int_equal(plan_json(board, out, &err), 0);
	fclose(out);
	assert_int_equal(text[size - 1], '\n');
	plan = json_loads(text, JSON_REJECT_DUPLICATES, &bad);
	if (plan == NULL)
		fail_msg("line %d: %s", bad.line, bad.text);
	free(text);
	return plan;
}

static uint64_t number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		fail_msg("no integer '%s'", key);
	return (uint64_t)json_integer_value(value);
}

static const char *string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (text == NULL)
		fail_msg("no string '%s'", key);
	return text;
}

static const json_t *list(const json_t *object, const char *key, size_t count)
{
	const json_t *array = json_object_get(object, key);

	if (!json_is_array(array) || json_array_size(array) != count)
		fail_msg("'%s' is no list of %zu", key, count);
	return array;
}

static void assert_range(const json_t *object, struct range range)
{
	assert_true(number(object, "start") == range.start);
	assert_true(number(object, "size") == range.size);
}

static void check_regions(const struct board *board, const json_t *plan)
{
	const json_t *regions = list(plan, "regions", board->layout.region_count);

	for (size_t i = 0; i < board->layout.region_count; i++) {
		static const char *const POLICIES[] = {"default", "bind", "preferred", "interleave"};
		const struct mem_region *region = &board->layout.regions[i];
		const struct config_memory *memory = region->kind == MEM_SPM ? &board->config->spm[region->owner]
									     : &board->config->mem[region->owner];
		const json_t *object = json_array_get(regions, i), *backing = json_object_get(object, "backing");
		const json_t *nodes = json_object_get(backing, "host-nodes");
		size_t at = 0;

		assert_range(object, region->gpa);
		assert_string_equal(string(object, "kind"), region->kind == MEM_SPM ? "spm" : "ram");
		assert_string_equal(string(object, "id"), memory->id);
		assert_int_equal(number(object, "node"), memory->node);
		assert_true(number(object, "offset") == region->offset);
		assert_string_equal(string(backing, "policy"), POLICIES[memory->source.policy]);
		assert_true(number(backing, "hugetlb") == memory->source.hugetlb);
		assert_int_equal(json_is_true(json_object_get(backing, "prealloc")), memory->source.prealloc);
		if (memory->source.path != NULL)
			assert_string_equal(string(backing, "mem-path"), memory->source.path);
		else
			assert_true(json_is_null(json_object_get(backing, "mem-path")));
		for (uint32_t node = 0; node < NODES_MAX; node++) {
			if (node_set_has(&memory->source.host_nodes, node))
				assert_int_equal(json_integer_value(json_array_get(nodes, at++)), node);
		}
		assert_int_equal(json_array_size(nodes), at);
	}
}

/* The partition covers the window once, in ascending order, and its owned chunks are the blocks. */
static void check_window(const struct board *board, const json_t *plan)
{
	const json_t *window = json_object_get(plan, "window"), *chunks = json_object_get(window, "partition");
	uint64_t at = number(window, "start");
	size_t owned = 0;

	assert_range(window, board->layout.window.span);
	assert_int_equal(json_is_true(json_object_get(window, "hotplug")), board->layout.hotplug);
	for (size_t i = 0; i < json_array_size(chunks); i++) {
		const json_t *chunk = json_array_get(chunks, i);

		assert_true(number(chunk, "start") == at);
		at += number(chunk, "size");
		if (strcmp(string(chunk, "kind"), "spm") != 0) {
			assert_null(json_object_get(chunk, "id"));
			continue;
		}
		owned++;
		for (size_t j = 0; j < board->layout.region_count; j++) {
			const struct mem_region *region = &board->layout.regions[j];

			if (region->kind == MEM_SPM && region->gpa.start == number(chunk, "start"))
				assert_string_equal(string(chunk, "id"), board->config->spm[region->owner].id);
		}
	}
	assert_true(at == range_end(board->layout.window.span));
	assert_int_equal(owned, board->config->spm_count);
}

static void check_e820(const struct board *board, const json_t *plan)
{
	const json_t *entries = list(plan, "e820", board->e820.count);

	for (size_t i = 0; i < board->e820.count; i++) {
		const json_t *object = json_array_get(entries, i);

		assert_range(object, board->e820.entries[i].range);
		assert_true(number(object, "type") == (uint32_t)board->e820.entries[i].type);
		assert_string_equal(string(object, "name"), e820_type_name(board->e820.entries[i].type));
	}
}

static void check_nodes(const struct board *board, const json_t *plan)
{
	const struct config *config = board->config;
	const json_t *nodes = list(plan, "nodes", config->node_count);
	size_t cpus = 0;

	for (uint32_t node = 0; node < config->node_count; node++) {
		const json_t *object = json_array_get(nodes, node);
		const json_t *distances = list(object, "distances", config->node_count);
		const json_t *here = json_object_get(object, "cpus");

		assert_int_equal(number(object, "node"), node);
		for (uint32_t to = 0; to < config->node_count; to++)
			assert_int_equal(json_integer_value(json_array_get(distances, to)),
					 config->distances[node * config->node_count + to]);
		for (size_t i = 0; i < json_array_size(here); i++)
			assert_int_equal(config->cpu_nodes[json_integer_value(json_array_get(here, i))], node);
		cpus += json_array_size(here);
	}
	assert_int_equal(cpus, config->cpu_count);
}

/* Memslots: regions that touch are one, so every edge between two memslots is a gap. */
static void check_memslots(const struct board *board, const json_t *plan)
{
	const json_t *memslots = json_object_get(plan, "memslots");
	size_t region = 0;

	for (size_t i = 0; i < json_array_size(memslots); i++) {
		const json_t *object = json_array_get(memslots, i);
		uint64_t at = number(object, "start"), end = at + number(object, "size");

		/* virtio-mem's, behind all others, holds no region of the layout */
		if (number(object, "regions") == 0) {
			assert_range(object, board->hotplug);
			assert_int_equal(i + 1, json_array_size(memslots));
			continue;
		}
		for (uint64_t j = number(object, "regions"); j > 0; j--) {
			assert_true(board->layout.regions[region].gpa.start == at);
			at = range_end(board->layout.regions[region++].gpa);
		}
		assert_true(at == end);
		assert_true(region == board->layout.region_count || board->layout.regions[region].gpa.start > end);
	}
	assert_int_equal(region, board->layout.region_count);
}

/* One block for each --spm, by address, as dax_hmem counts them. */
static void check_blocks(const struct board *board, const json_t *plan)
{
	const json_t *blocks = list(plan, "blocks", board->config->spm_count);
	size_t dax = 0;

	for (size_t i = 0; i < board->layout.region_count; i++) {
		const struct mem_region *region = &board->layout.regions[i];
		const json_t *object;

		if (region->kind != MEM_SPM)
			continue;
		object = json_array_get(blocks, dax);
		assert_range(object, region->gpa);
		assert_string_equal(string(object, "id"), board->config->spm[region->owner].id);
		assert_int_equal(number(object, "dax"), dax++);
		assert_int_equal(number(object, "node"), region->node);
		assert_true(number(object, "onlinable") == board_onlinable(board, region->gpa));
		assert_int_equal(number(object, "struct-pages-2m"), (region->gpa.size * 4 + GIB - 1) / GIB * MIB);
		assert_int_equal(number(object, "struct-pages-4k"), (region->gpa.size * 16 + GIB - 1) / GIB * MIB);
	}
}

/* Every device with its first registers and its interrupt, in the board's order. */
static void check_devices(const struct board *board, const json_t *plan)
{
	const json_t *devices = list(plan, "devices", board->device_count);

	for (size_t i = 0; i < board->device_count; i++) {
		const struct board_device *device = &board->devices[i];
		const json_t *object = json_array_get(devices, i);

		assert_range(object, device->wants.io[0].range);
		assert_string_equal(string(object, "name"), board_device_name(device));
		assert_string_equal(string(object, "space"), device->wants.io[0].space == BUS_PIO ? "ports" : "memory");
		assert_int_equal(json_integer_value(json_object_get(object, "gsi")),
				 device->wants.irq ? (int)device->wants.gsi : -1);
	}
}

/* Every pair of which something is known, once. */
static void check_performance(const struct board *board, const json_t *plan)
{
	static const char *const NAMES[] = {"read-latency", "write-latency", "read-bandwidth", "write-bandwidth"};
	const struct config *config = board->config;
	const json_t *pairs = json_object_get(plan, "performance");
	size_t known = 0;

	assert_true(json_is_array(pairs));
	for (size_t i = 0; i < json_array_size(pairs); i++) {
		const json_t *pair = json_array_get(pairs, i);
		size_t at = number(pair, "from") * config->node_count + number(pair, "to");

		assert_true(number(pair, "from") < config->initiator_count && number(pair, "to") < config->node_count);
		for (int kind = 0; kind < ACPI_FIGURES; kind++)
			assert_int_equal(number(pair, NAMES[kind]), config->figures[kind][at]);
	}
	for (size_t i = 0; config->figures[0] != NULL && i < (size_t)config->initiator_count * config->node_count; i++)
		known += (config->figures[0][i] | config->figures[1][i] | config->figures[2][i] |
			  config->figures[3][i]) != 0;
	assert_int_equal(json_array_size(pairs), known);
}

static void check_accelerators(const struct board *board, const json_t *plan)
{
	const json_t *accels = list(plan, "accelerators", board->config->accel_count);
	const json_t *caches = list(plan, "caches", board->acpi.cache_count);

	for (size_t i = 0; i < board->config->accel_count; i++) {
		const struct config_accel *accel = &board->config->accels[i];
		const json_t *object = json_array_get(accels, i), *block = json_object_get(object, "block-node");

		assert_string_equal(string(object, "id"), accel->id);
		assert_string_equal(string(object, "hid"), "SPMV0001");
		assert_int_equal(number(object, "uid"), i);
		assert_int_equal(number(object, "node"), accel->node);
		assert_true(accel->has_block ? json_integer_value(block) == accel->block_node : json_is_null(block));
	}
	for (size_t i = 0; i < board->acpi.cache_count; i++) {
		const json_t *object = json_array_get(caches, i);

		assert_int_equal(number(object, "node"), board->acpi.caches[i].pxm);
		assert_int_equal(number(object, "size"), board->acpi.caches[i].size);
		assert_int_equal(number(object, "line"), board->acpi.caches[i].line);
		assert_string_equal(string(object, "mapping"),
				    board->acpi.caches[i].mapping == 2 ? "complex" : "direct");
		assert_string_equal(string(object, "policy"),
				    board->acpi.caches[i].policy == 2 ? "write-through" : "write-back");
	}
}

static void check_json(const char *line)
{
	struct machine_line machine = line_new(line);
	const struct board *board = machine.board;
	json_t *plan = json_of(board);

	assert_int_equal(number(plan, "cpus"), board->config->cpu_count);
	assert_int_equal(number(plan, "phys-bits"), board->phys_bits);
	assert_true(number(plan, "memory-block-size") == board->layout.block_size);
	check_regions(board, plan);
	check_window(board, plan);
	check_e820(board, plan);
	check_nodes(board, plan);
	check_memslots(board, plan);
	check_blocks(board, plan);
	check_devices(board, plan);
	check_performance(board, plan);
	check_accelerators(board, plan);
	json_decref(plan);
	line_release(&machine);
}

static void json_is_the_board(void **state)
{
	(void)state;
	check_json("");
	check_json("--spm size=8G,node=1");
	check_json(EVERYTHING);
	check_json(FIGURES);
	check_json("--mem size=1G,cache=2M,cache-mapping=complex,cache-policy=write-through");
	check_json("--maxmem 5G");
	check_json(
		"--blk disk.img,id=a --net user --share /srv,tag=srv --vsock cid=7 --maxmem 9G --hotplug 1G --rng off");
	check_json("--mem 70G --spm size=1G,node=1 --phys-bits 52");
}

/* 256 blocks on nodes of their own, which is more E820 entries than the zero page holds. */
static void many_blocks_are_planned(void **state)
{
	char *line = malloc(16384), *text = NULL;
	size_t length = 0, size = 0;
	struct machine_line machine;
	FILE *out;

	(void)state;
	assert_non_null(line);
	for (int i = 1; i <= 256; i++)
		length += (size_t)sprintf(line + length, "--spm size=2G,node=%d ", i);
	check_json(line);
	machine = line_new(line);
	assert_int_equal(machine.board->e820.count, 3 + 256);
	/* they touch: one memslot for RAM, one for all of them */
	out = open_memstream(&text, &size);
	plan_text(machine.board, out);
	fclose(out);
	assert_non_null(strstr(text, "memslot 1: 256 regions\n"));
	assert_null(strstr(text, "memslot 2"));
	assert_non_null(strstr(text, "E820 map (259 entries, those from the 129th on in setup_data)\n"));
	assert_non_null(strstr(text, "  spm255: /dev/dax255.0 on node 256, 2 GiB; online as system RAM: all of it"));
	/* no matrix of 257 columns */
	assert_non_null(strstr(text, "  10 to itself, 20 to any other\n"));
	free(text);
	free(line);
	line_release(&machine);
}

static void json_that_nobody_takes_is_an_error(void **state)
{
	struct machine_line machine = line_new("");
	FILE *out = fopen("/dev/full", "w");
	struct error err = {0};

	(void)state;
	assert_non_null(out);
	setvbuf(out, NULL, _IONBF, 0);
	assert_true(plan_json(machine.board, out, &err) < 0);
	assert_int_equal(err.status, EXIT_STATUS_HOST);
	assert_true(err.text[0] != '\0');
	fclose(out);
	line_release(&machine);
}

/* ------------------------------------------------------------------------------------------------- text */

/* Each line of expected is a line of what plan prints for the machine; a remark behind a semicolon may follow. */
static void check_text(const char *line, const char *const expected[])
{
	struct machine_line machine;
	struct error err = {0};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	line_config(&machine, line);
	machine.board = NULL;
	machine.config->phys_bits = 46;
	if (plan_machine(machine.config, PLAN_TEXT, NULL, out, &err) < 0)
		fail_msg("%s", err.text);
	fclose(out);
	for (size_t i = 0; expected[i] != NULL; i++) {
		const char *found = strstr(text, expected[i]);
		size_t length = strlen(expected[i]);

		if (found == NULL || (found > text && found[-1] != '\n') ||
		    (found[length] != '\n' && found[length] != ';'))
			fail_msg("no line '%s' in:\n%s", expected[i], text);
	}
	free(text);
	line_release(&machine);
}

static void text_tells_a_person(void **state)
{
	static const char *const SMALL[] = {
		"Machine: 1 CPU, 1 GiB of RAM, 0 SPM blocks, 1 NUMA node; physical addresses of 46 bits",
		"  0x00000000000-0x0003fffffff       1 GiB  RAM  node 0  ram0",
		"E820 map (3 entries)",
		"  node 0    CPUs 0; RAM 1 GiB",
		"  0x00000000000-0x0003fffffff       1 GiB  memslot 0: 1 region",
		NULL,
	};
	static const char *const ALL[] = {
		"Machine: 4 CPUs, 6 GiB of RAM, 4 SPM blocks of 12490 MiB together, 5 NUMA nodes; physical addresses of "
		"46 bits",
		"  0x00000000000-0x0007fffffff       2 GiB  RAM  node 0  ram0, populated before the guest starts",
		"  0x00080000000-0x000bfffffff       1 GiB  RAM  node 1  ram1, interleaved over host nodes 0 1",
		"  0x00100000000-0x001bfffffff       3 GiB  RAM  node 1  ram1 from its byte 1 GiB on, interleaved over "
		"host nodes 0 1",
		"  0x00400000000-0x004ffffffff       4 GiB  SPM  node 3  hbm1, huge pages of 1 GiB, bound to host nodes 1",
		"Device-memory window (with --maxmem: what is free can be hot-plugged)",
		"  0x00200000000-0x003ffffffff       8 GiB  hbm0",
		"  0x00200000000-0x003ffffffff       8 GiB  soft reserved",
		"  0x000bffff000-0x000bfffffff       4 KiB  ACPI data",
		"  node 0    CPUs 0-1,3; RAM 2 GiB; SPM mixed 2 MiB",
		"  node 2    no CPU; SPM hbm0 8 GiB",
		"     0   10  20  15  20  20",
		"     2   16  20  10  20  20",
		"     3   20  99  20  10  20",
		"  hbm0: /dev/dax0.0 on node 2, 8 GiB; online as system RAM: all of it; struct pages: 32 MiB (align 2 "
		"MiB) or 128 MiB (align 4 KiB)",
		"  hbm1: /dev/dax1.0 on node 3, 4 GiB; online as system RAM: all of it; struct pages: 16 MiB (align 2 "
		"MiB) or 64 MiB (align 4 KiB)",
		NULL,
	};
	static const char *const ROOM[] = {
		"Device-memory window (with --maxmem: what is free can be hot-plugged)",
		"  0x00100000000-0x001ffffffff       4 GiB  free, SRAT: hotpluggable at node 0",
		NULL,
	};
	static const char *const GAP[] = {
		"Device-memory window (no --maxmem: no hotplug)",
		"  0x00120000000-0x0017fffffff    1536 MiB  free (alignment)",
		"  0x0fc00000000-0x0fcffffffff       4 GiB  spm2",
		"  0x0fd00000000-0x0ffffffffff      12 GiB  reserved for HyperTransport on AMD processors",
		NULL,
	};

	static const char *const FAST[] = {
		"Performance (HMAT)",
		"  to node 0 from node 0: latency 100ns, bandwidth 100G/s",
		"  to node 0 from node 1: latency 200ns, bandwidth 100G/s",
		"  to node 3 from node 0-1: latency 60ns, bandwidth 800G/s",
		"  to node 3 from node 2: latency 20500ps (writes: ?), bandwidth ?",
		"  to node 4 from node 0: latency 1000ns (writes: 1001ns), bandwidth ? (writes: 8G/s)",
		"  to node 4 from node 1: latency 1000ns (writes: 1001ns), bandwidth 9G/s",
		"  node 4 is behind a cache of 16 MiB: direct mapped, write-back, lines of 64 bytes",
		"  SPMV0001 accelerator a on node 0",
		"  SPMV0001 accelerator gpu0 on node 2, with the block of node 3",
		NULL,
	};

	(void)state;
	check_text(FIGURES, FAST);
	check_text("", SMALL);
	check_text(EVERYTHING, ALL);
	check_text("--maxmem 5G", ROOM);
	check_text("--spm size=512M,node=1 --spm size=512M,node=2 --spm size=4G,node=3,addr=0xfc00000000 "
		   "--spm size=1G,node=4,addr=0x10000000000",
		   GAP);
}

/* Beyond a screen's width only the distances that are not the usual ones are told. */
static void unusual_distances_of_many_nodes_are_told(void **state)
{
	static const char *const LINES[] = {
		"  10 to itself, 20 to any other, except 0:7=15 3:4=33 4:3=44 7:0=15",
		NULL,
	};
	char line[2048];
	size_t length = (size_t)sprintf(line, "--distance 0:7=15 --distance 3:4=33 --distance 4:3=44");

	(void)state;
	for (int i = 1; i <= 24; i++)
		length += (size_t)sprintf(line + length, " --spm size=2G,node=%d", i);
	check_text(line, LINES);
}

/* --------------------------------------------------------------------------------------------- warnings */

enum { WARNINGS_MAX = 8 };

struct warnings {
	char *texts[WARNINGS_MAX];
	size_t count;
};

static void keep(void *context, const char *text)
{
	struct warnings *warnings = context;

	assert_true(warnings->count < WARNINGS_MAX);
	warnings->texts[warnings->count++] = strdup(text);
}

/* The warnings for a line are these, in any view. */
static void check_warnings(const char *line, size_t count, const char *const expected[])
{
	struct machine_line machine = line_new(line);
	struct warnings warnings = {0};
	json_t *plan = json_of(machine.board);
	const json_t *told = list(plan, "warnings", count);
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	plan_text(machine.board, out);
	fclose(out);
	plan_warnings(machine.board, keep, &warnings);
	assert_int_equal(warnings.count, count);
	for (size_t i = 0; i < count; i++) {
		char printed[700];

		assert_string_equal(warnings.texts[i], expected[i]);
		assert_string_equal(json_string_value(json_array_get(told, i)), expected[i]);
		snprintf(printed, sizeof(printed), "warning: %s\n", expected[i]);
		assert_non_null(strstr(text, printed));
		free(warnings.texts[i]);
	}
	if (count == 0)
		assert_null(strstr(text, "warning"));
	free(text);
	json_decref(plan);
	line_release(&machine);
}

static void warns_of_what_linux_will_strand(void **state)
{
	static const char *const PART[] = {
		"--spm: Linux can put 128 of its 200 MiB online, as whole memory blocks of 128 MiB; make base and size "
		"multiples of 128 MiB to use all",
	};
	static const char *const NOTHING[] = {
		"--spm: Linux can put 0 of its 2 MiB online, as whole memory blocks of 128 MiB; make base and size "
		"multiples of 128 MiB to use all",
	};
	static const char *const BASE[] = {
		"--spm: Linux can put 128 of its 256 MiB online, as whole memory blocks of 128 MiB; make base and size "
		"multiples of 128 MiB to use all",
	};
	static const char *const LARGE[] = {
		"--spm: Linux can put 2048 of its 3072 MiB online, as whole memory blocks of 2048 MiB; make base and "
		"size multiples of 2048 MiB to use all",
	};
	static const char *const PAGES[] = {
		"--spm: device-dax needs 1024 MiB of the guest's 1024 MiB of RAM for its struct pages; give the guest "
		"more RAM (--mem)",
	};
	static const char *const MIXED[] = {
		"node 0 is shared by --spm and the default --mem (1G of RAM) (mixed=on): the guest cannot tell their "
		"performance apart, and a driver that looks for its block by node finds more than one",
	};

	(void)state;
	check_warnings("", 0, NULL);
	check_warnings("--spm size=128M,node=1", 0, NULL);
	check_warnings("--spm size=128G,node=1", 0, NULL); /* half of RAM for struct pages */
	check_warnings("--spm size=200M,node=1", 1, PART);
	check_warnings("--spm size=2M,node=1", 1, NOTHING);
	check_warnings("--spm size=256M,node=1,addr=0x100200000", 1, BASE);
	check_warnings("--mem 65G --spm size=3G,node=1", 1, LARGE);
	check_warnings("--spm size=256G,node=1", 1, PAGES);
	check_warnings("--spm size=128M,node=0,mixed=on", 1, MIXED);
}

static void each_block_is_warned_of(void **state)
{
	static const char *const TEXTS[] = {
		"--spm id=a: Linux can put 0 of its 4 MiB online, as whole memory blocks of 128 MiB; make base and size "
		"multiples of 128 MiB to use all",
		"--spm number 2: Linux can put 0 of its 2 MiB online, as whole memory blocks of 128 MiB; make base and "
		"size multiples of 128 MiB to use all",
	};

	(void)state;
	check_warnings("--spm size=4M,node=1,id=a --spm size=2M,node=2", 2, TEXTS);
}

/* ----------------------------------------------------------------------------------------------- tables */

static int try_tables(const char *line, const char *folder, struct error *err)
{
	struct machine_line machine;
	FILE *out = fopen("/dev/null", "w");
	int code;

	assert_non_null(out);
	line_config(&machine, line);
	machine.board = NULL;
	machine.config->phys_bits = 46;
	code = plan_machine(machine.config, PLAN_TEXT, folder, out, err);
	fclose(out);
	line_release(&machine);
	return code;
}

/* Writes the tables of a line and compares each file with the blob, to its last byte. */
static void check_tables(const char *line, const char *folder)
{
	static const char *const NAMES[] = {"rsdp", "dsdt", "facp", "apic", "srat", "slit", "xsdt"};
	struct machine_line machine = line_new(line);
	struct error err = {0};
	struct acpi_blob blob;
	char path[96];

	assert_int_equal(try_tables(line, folder, &err), 0);
	assert_int_equal(board_build_acpi(machine.board, &blob, &err), 0);
	assert_int_equal(blob.table_count, sizeof(NAMES) / sizeof(NAMES[0]));
	for (size_t i = 0; i < blob.table_count; i++) {
		struct buf file = {0};

		snprintf(path, sizeof(path), "%s/%s.dat", folder, NAMES[i]);
		assert_int_equal(io_read_file(path, MIB, &file, EXIT_STATUS_HOST, &err), 0);
		assert_int_equal(file.size, blob.tables[i].size);
		assert_memory_equal(file.data, blob.bytes.data + blob.tables[i].offset, file.size);
		buf_release(&file);
	}
	acpi_blob_release(&blob);
	line_release(&machine);
}

static void tables_are_written_as_files(void **state)
{
	static const char *const NAMES[] = {"rsdp", "dsdt", "facp", "apic", "srat", "slit", "xsdt"};
	char parent[] = "/tmp/test_plan.XXXXXX", folder[64], path[96];

	(void)state;
	assert_non_null(mkdtemp(parent));
	snprintf(folder, sizeof(folder), "%s/tables", parent); /* not there yet */
	check_tables(EVERYTHING, folder);
	/* over longer ones, and over shorter ones */
	check_tables("", folder);
	check_tables(EVERYTHING, folder);
	for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s.dat", folder, NAMES[i]);
		assert_int_equal(unlink(path), 0);
	}
	/* nothing else was there */
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(rmdir(parent), 0);
}

static void a_folder_that_cannot_be_is_refused(void **state)
{
	char longest[4200];
	struct error err = {0};

	(void)state;
	assert_int_equal(try_tables("", "/nowhere/tables", &err), -ENOENT);
	assert_string_equal(err.text, "--tables /nowhere/tables: cannot make the folder: No such file or directory");
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	assert_int_equal(try_tables("", "/dev/null", &err), -ENOTDIR);
	assert_string_equal(err.text, "--tables: cannot write /dev/null/rsdp.dat: Not a directory");
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	memset(longest, '/', sizeof(longest) - 1);
	memcpy(longest, "/tmp", 4);
	longest[4090] = '\0'; /* a path by itself, none with a name behind it */
	assert_int_equal(try_tables("", longest, &err), -ENAMETOOLONG);
	assert_int_equal(strncmp(err.text, "--tables /tmp/////", 18), 0);
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
}

static void a_machine_that_cannot_be_is_refused(void **state)
{
	struct error err = {0};

	(void)state;
	assert_int_equal(try_tables("--spm size=64T,node=1", NULL, &err), -ENOSPC);
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	assert_non_null(strstr(err.text, "46 physical address bits"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_the_board),
		cmocka_unit_test(many_blocks_are_planned),
		cmocka_unit_test(json_that_nobody_takes_is_an_error),
		cmocka_unit_test(text_tells_a_person),
		cmocka_unit_test(unusual_distances_of_many_nodes_are_told),
		cmocka_unit_test(warns_of_what_linux_will_strand),
		cmocka_unit_test(each_block_is_warned_of),
		cmocka_unit_test(tables_are_written_as_files),
		cmocka_unit_test(a_folder_that_cannot_be_is_refused),
		cmocka_unit_test(a_machine_that_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
