/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include <errno.h>

#include "vmm/memory/layout.h"

/* The fail_at-th allocation from now on fails; 0: none does. */
static unsigned fail_at;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__real_reallocarray(void *block, size_t count, size_t size);
void *__wrap_reallocarray(void *block, size_t count, size_t size);

void *__wrap_calloc(size_t count, size_t size)
{
	return fail_at > 0 && --fail_at == 0 ? NULL : __real_calloc(count, size);
}

void *__wrap_reallocarray(void *block, size_t count, size_t size)
{
	return fail_at > 0 && --fail_at == 0 ? NULL : __real_reallocarray(block, count, size);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct layout_request request_of(const struct layout_ram *ram, size_t ram_count, const struct layout_spm *spm,
					size_t spm_count)
{
	return (struct layout_request){.ram = ram,
				       .ram_count = ram_count,
				       .spm = spm,
				       .spm_count = spm_count,
				       .phys_bits = 46,
				       .acpi_budget = MIB};
}

static struct mem_layout plan(const struct layout_request *request)
{
	struct error err = {.text = ""};
	struct mem_layout layout;
	int code = layout_plan(&layout, request, &err);

	assert_string_equal(err.text, "");
	assert_int_equal(code, 0);
	return layout;
}

static void expect_error(const struct layout_request *request, int code, const char *text)
{
	struct error err = {.text = ""};
	struct mem_layout layout;

	assert_int_equal(layout_plan(&layout, request, &err), -code);
	assert_string_equal(err.text, text);
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	assert_null(layout.regions);
	assert_null(layout.window.children);
}

static void expect_region(const struct mem_layout *layout, size_t index, struct mem_region expected)
{
	const struct mem_region *region = &layout->regions[index];

	assert_true(index < layout->region_count);
	assert_int_equal(region->gpa.start, expected.gpa.start);
	assert_int_equal(region->gpa.size, expected.gpa.size);
	assert_int_equal(region->kind, expected.kind);
	assert_int_equal(region->node, expected.node);
	assert_int_equal(region->owner, expected.owner);
	assert_int_equal(region->offset, expected.offset);
}

/* ------------------------------------------------------------------------------------------------------ RAM */

static void small_ram_is_one_region(void **state)
{
	const struct layout_ram ram[] = {{.size = 64 * MIB + 2 * MIB}};
	const struct layout_request request = request_of(ram, 1, NULL, 0);
	struct mem_layout layout = plan(&request);

	(void)state;
	assert_int_equal(layout.region_count, 1);
	expect_region(&layout, 0, (struct mem_region){.gpa = {0, 66 * MIB}});
	assert_int_equal(layout.ram_end, 66 * MIB);
	assert_int_equal(layout.acpi.start, 65 * MIB);
	assert_int_equal(layout.acpi.size, MIB);
	assert_int_equal(layout.window.span.size, 0);
	assert_int_equal(layout.window.count, 0);
	assert_false(layout.hotplug);
	assert_int_equal(layout.block_size, 128 * MIB);
	layout_release(&layout);
	layout_release(&layout);
	layout_release(NULL);
}

static void ram_goes_by_node_and_flows_around_the_hole(void **state)
{
	const struct layout_ram ram[] = {{.size = 2 * GIB, .node = 2},
					 {.size = GIB, .node = 0},
					 {.size = 2 * GIB, .node = 2},
					 {.size = GIB, .node = 1}};
	const struct layout_request request = request_of(ram, COUNT(ram), NULL, 0);
	struct mem_layout layout = plan(&request);

	(void)state;
	assert_int_equal(layout.region_count, 5);
	expect_region(&layout, 0, (struct mem_region){.gpa = {0, GIB}, .node = 0, .owner = 1});
	expect_region(&layout, 1, (struct mem_region){.gpa = {GIB, GIB}, .node = 1, .owner = 3});
	expect_region(&layout, 2, (struct mem_region){.gpa = {2 * GIB, GIB}, .node = 2, .owner = 0});
	expect_region(&layout, 3, (struct mem_region){.gpa = {4 * GIB, GIB}, .node = 2, .owner = 0, .offset = GIB});
	expect_region(&layout, 4, (struct mem_region){.gpa = {5 * GIB, 2 * GIB}, .node = 2, .owner = 2});
	assert_int_equal(layout.ram_end, 7 * GIB);
	assert_int_equal(range_end(layout.acpi), 3 * GIB);
	layout_release(&layout);
}

static void ram_flows_around_hypertransport(void **state)
{
	const struct layout_ram ram[] = {{.size = 1000 * GIB}, {.size = 100 * GIB, .node = 1}};
	const struct layout_spm spm[] = {{.size = GIB, .id = "a"}};
	const struct layout_request request = request_of(ram, 2, spm, 1);
	struct mem_layout layout = plan(&request);

	(void)state;
	assert_int_equal(layout.region_count, 5);
	expect_region(&layout, 2,
		      (struct mem_region){.gpa = range_between(1001 * GIB, LAYOUT_HT_START), .node = 1, .owner = 1});
	expect_region(&layout, 3,
		      (struct mem_region){.gpa = {LAYOUT_HT_END, 89 * GIB}, .node = 1, .owner = 1, .offset = 11 * GIB});
	assert_int_equal(layout.ram_end, TIB + 89 * GIB);
	assert_int_equal(layout.regions[4].gpa.start, TIB + 90 * GIB);
	assert_int_equal(layout.window.count, 1); /* the range is below the window */
	layout_release(&layout);
}

static void large_pages_leave_a_hole_before_them(void **state)
{
	const struct layout_ram ram[] = {{.size = 512 * MIB}, {.size = 3 * GIB, .node = 1, .page_size = GIB}};
	const struct layout_request request = request_of(ram, 2, NULL, 0);
	struct mem_layout layout = plan(&request);
	struct range run;

	(void)state;
	assert_int_equal(layout.region_count, 3);
	expect_region(&layout, 1, (struct mem_region){.gpa = {GIB, 2 * GIB}, .node = 1, .owner = 1});
	expect_region(&layout, 2, (struct mem_region){.gpa = {4 * GIB, GIB}, .node = 1, .owner = 1, .offset = 2 * GIB});
	assert_int_equal(layout_run(&layout, 0, &run), 1);
	assert_int_equal(run.size, 512 * MIB);
	layout_release(&layout);
}

static void runs_join_what_touches(void **state)
{
	const struct layout_ram ram[] = {{.size = GIB}, {.size = 3 * GIB, .node = 1}};
	const struct layout_spm spm[] = {
		{.size = 2 * GIB, .id = "a"}, {.size = GIB, .id = "b"}, {.size = GIB, .id = "c"}};
	const struct layout_request request = request_of(ram, 2, spm, 3);
	struct mem_layout layout = plan(&request);
	struct range run;

	(void)state;
	assert_int_equal(layout.region_count, 6);
	assert_int_equal(layout_run(&layout, 0, &run), 2);
	assert_int_equal(run.start, 0);
	assert_int_equal(run.size, 3 * GIB);
	assert_int_equal(layout_run(&layout, 2, &run), 1); /* RAM from 4 to 5 GiB */
	assert_int_equal(layout_run(&layout, 3, &run), 2); /* a from 6, b from 8 to 9 GiB */
	assert_int_equal(run.start, 6 * GIB);
	assert_int_equal(run.size, 3 * GIB);
	assert_int_equal(layout_run(&layout, 5, &run), 1); /* c from 10 GiB */
	assert_int_equal(run.start, 10 * GIB);
	layout_release(&layout);
}

static void acpi_area_wants_a_region_larger_than_it(void **state)
{
	const struct layout_ram ram[] = {{.size = 128 * MIB}, {.size = 2 * MIB, .node = 1}};
	const struct layout_ram crumbs[] = {{.size = 64 * MIB}, {.size = 64 * MIB}, {.size = 64 * MIB}};
	struct layout_request request = request_of(ram, 2, NULL, 0);
	struct mem_layout layout;

	(void)state;
	request.acpi_budget = 2 * MIB;
	layout = plan(&request);
	assert_int_equal(layout.acpi.start, 126 * MIB);
	layout_release(&layout);
	request = request_of(crumbs, 3, NULL, 0);
	request.acpi_budget = 64 * MIB;
	expect_error(
		&request, ENOSPC,
		"--mem: no node has a piece below 3 GiB that is larger than the 65536 KiB of the ACPI tables; give one "
		"node more memory");
}

static void block_size_is_that_of_linux(void **state)
{
	/* the end of RAM and Linux's memory block; the 1 GiB hole below 4 GiB makes RAM 1 GiB less */
	static const uint64_t table[][2] = {
		{64 * GIB - 128 * MIB, 128 * MIB},
		{64 * GIB, 2 * GIB},
		{66 * GIB, 2 * GIB},
		{65 * GIB, GIB},
		{64 * GIB + 512 * MIB, 512 * MIB},
		{64 * GIB + 256 * MIB, 256 * MIB},
		{64 * GIB + 2 * MIB, 128 * MIB},
		{66 * GIB - 128 * MIB, 128 * MIB},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(table); i++) {
		const struct layout_ram ram[] = {{.size = table[i][0] - GIB}};
		const struct layout_request request = request_of(ram, 1, NULL, 0);
		struct mem_layout layout = plan(&request);

		assert_int_equal(layout.ram_end, table[i][0]);
		assert_int_equal(layout.block_size, table[i][1]);
		layout_release(&layout);
	}
}

/* --------------------------------------------------------------------------------------------------- blocks */

static void blocks_start_at_2g_in_command_line_order(void **state)
{
	const struct layout_ram ram[] = {{.size = 4 * GIB}};
	const struct layout_spm spm[] = {{.size = 8 * GIB, .node = 1, .id = "a"}, {.size = GIB, .node = 2, .id = "b"}};
	struct layout_request request = request_of(ram, 1, spm, 2);
	struct mem_layout layout = plan(&request);

	(void)state;
	assert_int_equal(layout.region_count, 4);
	expect_region(&layout, 2, (struct mem_region){.gpa = {6 * GIB, 8 * GIB}, .kind = MEM_SPM, .node = 1});
	expect_region(&layout, 3, (struct mem_region){.gpa = {14 * GIB, GIB}, .kind = MEM_SPM, .node = 2, .owner = 1});
	assert_int_equal(layout.window.span.start, 6 * GIB);
	assert_int_equal(layout.window.span.size, 9 * GIB);
	assert_false(layout.hotplug);
	layout_release(&layout);
}

static void blocks_with_an_address_come_first(void **state)
{
	const struct layout_ram ram[] = {{.size = GIB}};
	const struct layout_spm spm[] = {
		{.size = 4 * GIB, .id = "a"},
		{.size = 2 * MIB, .id = "b", .address = 6 * GIB + 2 * MIB, .has_address = true},
		{.size = 2 * GIB, .id = "c"},
	};
	struct layout_request request = request_of(ram, 1, spm, 3);
	struct mem_layout layout = plan(&request);

	(void)state;
	expect_region(&layout, 1, (struct mem_region){.gpa = {4 * GIB, 2 * GIB}, .kind = MEM_SPM, .owner = 2});
	expect_region(&layout, 2,
		      (struct mem_region){.gpa = {6 * GIB + 2 * MIB, 2 * MIB}, .kind = MEM_SPM, .owner = 1});
	expect_region(&layout, 3, (struct mem_region){.gpa = {8 * GIB, 4 * GIB}, .kind = MEM_SPM, .owner = 0});
	layout_release(&layout);
}

static void window_may_start_at_a_wanted_address(void **state)
{
	const struct layout_ram ram[] = {{.size = 4 * GIB}};
	const struct layout_spm spm[] = {
		{.size = MIB * 2, .id = "low", .address = 5 * GIB + 4 * MIB, .has_address = true},
		{.size = GIB, .id = "next"}};
	struct layout_request request = request_of(ram, 1, spm, 2);
	struct mem_layout layout = plan(&request);

	(void)state;
	assert_int_equal(layout.window.span.start, 5 * GIB + 4 * MIB);
	assert_int_equal(range_end(layout.window.span), 7 * GIB);
	layout_release(&layout);
	request.maxmem = 6 * GIB; /* room: 6 - 4 - 1 GiB - 2 MiB, rounded up to 2 GiB, behind the block at 6 GiB */
	layout = plan(&request);
	assert_int_equal(layout.window.span.start, 5 * GIB + 4 * MIB);
	assert_int_equal(range_end(layout.window.span), 10 * GIB);
	assert_true(layout.hotplug);
	layout_release(&layout);
}

static void blocks_do_not_straddle_hypertransport(void **state)
{
	const struct layout_ram ram[] = {{.size = GIB}};
	const struct layout_spm spm[] = {
		{.size = 1000 * GIB, .id = "a"}, {.size = 16 * GIB, .id = "b"}, {.size = 2 * GIB, .id = "c"}};
	struct layout_request request = request_of(ram, 1, spm, 3);
	struct mem_layout layout = plan(&request);

	(void)state;
	expect_region(&layout, 1, (struct mem_region){.gpa = {4 * GIB, 1000 * GIB}, .kind = MEM_SPM});
	expect_region(&layout, 2, (struct mem_region){.gpa = {1004 * GIB, 2 * GIB}, .kind = MEM_SPM, .owner = 2});
	expect_region(&layout, 3, (struct mem_region){.gpa = {TIB, 16 * GIB}, .kind = MEM_SPM, .owner = 1});
	assert_int_equal(layout.window.count, 4);
	assert_int_equal(layout.window.children[2].kind, MEM_CHUNK_FORBIDDEN);
	assert_int_equal(layout.window.children[2].range.start, LAYOUT_HT_START);
	assert_int_equal(range_end(layout.window.children[2].range), LAYOUT_HT_END);
	layout_release(&layout);
}

static void hotplug_room_follows_the_blocks(void **state)
{
	const struct layout_ram ram[] = {{.size = 4 * GIB}};
	const struct layout_spm spm[] = {{.size = 2 * GIB, .id = "a"}};
	struct layout_request request = request_of(ram, 1, spm, 1);
	struct mem_layout layout;

	(void)state;
	request.maxmem = 9 * GIB; /* 3 GiB more than there is: two blocks of 2 GiB */
	layout = plan(&request);
	assert_true(layout.hotplug);
	assert_int_equal(layout.window.span.start, 6 * GIB);
	assert_int_equal(layout.window.span.size, 6 * GIB);
	layout_release(&layout);
	request.maxmem = 6 * GIB; /* as much as there is: no room */
	layout = plan(&request);
	assert_false(layout.hotplug);
	assert_int_equal(layout.window.span.size, 2 * GIB);
	layout_release(&layout);
	request.spm_count = 0; /* a window without any block */
	layout = plan(&request);
	assert_true(layout.hotplug);
	assert_int_equal(layout.window.count, 0);
	assert_int_equal(layout.window.span.start, 6 * GIB);
	assert_int_equal(layout.window.span.size, 2 * GIB);
	layout_release(&layout);
}

static void hotplug_room_goes_around_hypertransport(void **state)
{
	const struct layout_ram ram[] = {{.size = 1011 * GIB}};
	struct layout_request request = request_of(ram, 1, NULL, 0);
	struct mem_layout layout;

	(void)state;
	request.maxmem = TIB; /* RAM ends where the range starts */
	layout = plan(&request);
	assert_int_equal(layout.ram_end, LAYOUT_HT_START);
	assert_int_equal(layout.window.span.start, LAYOUT_HT_END);
	assert_int_equal(layout.window.span.size, 14 * GIB);
	assert_int_equal(layout.window.count, 0);
	layout_release(&layout);
}

/* --------------------------------------------------------------------------------------------------- errors */

static void bad_ram_is_refused(void **state)
{
	struct layout_ram ram[] = {{.size = GIB}, {.size = 3 * MIB}};
	struct layout_request request = request_of(ram, 2, NULL, 0);

	(void)state;
	expect_error(&request, EINVAL, "--mem number 2: size 0x300000 must be a multiple of 2 MiB and not 0");
	ram[1] = (struct layout_ram){.size = 512 * MIB, .page_size = GIB};
	expect_error(&request, EINVAL, "--mem number 2: size 0x20000000 must be a multiple of 1024 MiB and not 0");
	ram[1] = (struct layout_ram){.size = TIB};
	request.phys_bits = 36;
	expect_error(
		&request, ENOSPC,
		"--mem number 2: 985088 of its 1048576 MiB do not fit below the end of the guest's 36 physical address bits "
		"(0x1000000000); give less memory");
	ram[1].size = UINT64_MAX & ~(2 * MIB - 1);
	expect_error(
		&request, ENOSPC,
		"--mem number 2: 17592185980926 of its 17592186044414 MiB do not fit below the end of the guest's 36 "
		"physical address bits (0x1000000000); give less memory");
	request.phys_bits = 31;
	expect_error(&request, ERANGE, "the guest's physical addresses cannot have 31 bits; use 32 to 52");
	request.phys_bits = 53;
	expect_error(&request, ERANGE, "the guest's physical addresses cannot have 53 bits; use 32 to 52");
	request = request_of(ram, 1, NULL, 0);
	ram[0].size = 64 * MIB;
	expect_error(
		&request, ENOSPC,
		"--mem: 64 MiB below 3 GiB is too little; the guest needs at least 66 MiB there (64 MiB of RAM and "
		"room for the ACPI tables)");
}

static void expect_block_error(struct layout_spm spm, int code, const char *text)
{
	/* node 1's pages of 1 GiB leave a hole in RAM from 4 GiB + 512 MiB to 5 GiB */
	const struct layout_ram ram[] = {{.size = 3 * GIB + 512 * MIB}, {.size = GIB, .node = 1, .page_size = GIB}};
	const struct layout_spm blocks[] = {spm,
					    {.size = 2 * GIB, .address = 8 * GIB, .has_address = true, .id = "other"}};
	const struct layout_request request = request_of(ram, 2, blocks, 2);

	expect_error(&request, code, text);
}

static void wanted_addresses_are_honoured_or_refused(void **state)
{
	struct layout_spm spm = {.size = 2 * GIB, .has_address = true, .id = "hbm1"};

	(void)state;
	spm.address = 16 * GIB + MIB;
	expect_block_error(spm, EINVAL,
			   "--spm id=hbm1: addr=0x400100000 is not a multiple of 2 MiB; the one below is 0x400000000");
	spm.address = 5 * GIB + 2 * MIB;
	expect_block_error(spm, EEXIST,
			   "--spm id=hbm1: addr=0x140200000 overlaps the RAM of node 1 at 0x140000000-0x17fffffff; use "
			   "addr=0x180000000 or above, or leave addr out");
	spm.address = 3 * GIB;
	spm.size = 512 * MIB;
	expect_block_error(spm, ERANGE,
			   "--spm id=hbm1: addr=0xc0000000 is below 4 GiB, where devices are; use addr=0x180000000 or "
			   "above, or leave addr out");
	spm.address = 4 * GIB + 512 * MIB;
	expect_block_error(
		spm, ERANGE,
		"--spm id=hbm1: addr=0x120000000 is below the end of RAM (0x180000000); use addr=0x180000000 or "
		"above, or leave addr out");
	spm.address = 0;
	expect_block_error(
		spm, EEXIST,
		"--spm id=hbm1: addr=0x0 overlaps the RAM of node 0 at 0x0-0xbfffffff; use addr=0x180000000 or "
		"above, or leave addr out");
	spm.address = 9 * GIB;
	expect_block_error(spm, EEXIST,
			   "--spm id=other: addr=0x200000000 and size 0x80000000 overlap --spm id=hbm1 at "
			   "0x240000000-0x25fffffff; move one of them or leave addr out");
	spm.address = LAYOUT_HT_START - 2 * MIB;
	expect_block_error(spm, EEXIST,
			   "--spm id=hbm1: addr=0xfcffe00000 overlaps AMD's HyperTransport range "
			   "0xfd00000000-0xffffffffff; end below it, start at 0x10000000000 or leave addr out");
	spm.address = 64 * TIB - 2 * MIB;
	expect_block_error(
		spm, ERANGE,
		"--spm id=hbm1: addr=0x3fffffe00000 and size 0x20000000 go beyond the end of the guest's 46 physical "
		"address bits (0x400000000000); use a lower address or leave addr out");
	spm.address = UINT64_MAX & ~(2 * MIB - 1);
	expect_block_error(
		spm, ERANGE,
		"--spm id=hbm1: addr=0xffffffffffe00000 and size 0x20000000 go beyond the end of the guest's 46 "
		"physical address bits (0x400000000000); use a lower address or leave addr out");
	spm.address = 64 * TIB;
	expect_block_error(
		spm, ERANGE,
		"--spm id=hbm1: addr=0x400000000000 and size 0x20000000 go beyond the end of the guest's 46 physical "
		"address bits (0x400000000000); use a lower address or leave addr out");
	spm = (struct layout_spm){.size = GIB, .has_address = true, .page_size = GIB, .id = "hbm1"};
	spm.address = 16 * GIB + 512 * MIB;
	expect_block_error(
		spm, EINVAL,
		"--spm id=hbm1: addr=0x420000000 is not a multiple of 1024 MiB; the one below is 0x400000000");
}

static void blocks_that_do_not_fit_are_refused(void **state)
{
	const struct layout_ram ram[] = {{.size = 4 * GIB}};
	struct layout_spm spm[] = {{.size = 40 * GIB, .id = "a"}, {.size = 32 * GIB, .id = "b"}};
	struct layout_request request = request_of(ram, 1, spm, 2);

	(void)state;
	request.phys_bits = 36;
	expect_error(
		&request, ENOSPC,
		"--spm id=b: its 32768 MiB do not fit: at 0xb80000000 they would go beyond the end of the guest's 36 "
		"physical address bits (0x1000000000); make the block or the RAM smaller");
	spm[1].size = UINT64_MAX & ~(2 * MIB - 1);
	expect_error(
		&request, ENOSPC,
		"--spm id=b: its 17592186044414 MiB do not fit: at 0xb80000000 they would go beyond the end of the "
		"guest's 36 physical address bits (0x1000000000); make the block or the RAM smaller");
	spm[1].size = 0;
	expect_error(&request, EINVAL, "--spm id=b: size 0x0 must be a multiple of 2 MiB and not 0");
	request.spm_count = 1;
	request.phys_bits = 32; /* and RAM that ends below the hole */
	request.ram_count = 1;
	{
		const struct layout_ram low[] = {{.size = GIB}};

		request.ram = low;
		expect_error(&request, ENOSPC,
			     "--spm id=a: its 40960 MiB do not fit: at 0x100000000 they would go beyond the end of the "
			     "guest's 32 physical address bits (0x100000000); make the block or the RAM smaller");
	}
}

static void maxmem_is_checked(void **state)
{
	const struct layout_ram ram[] = {{.size = 4 * GIB}};
	const struct layout_spm spm[] = {{.size = 2 * GIB, .id = "a"}};
	struct layout_request request = request_of(ram, 1, spm, 1);

	(void)state;
	request.maxmem = 6 * GIB - 1;
	expect_error(
		&request, ERANGE,
		"--maxmem: 6143 MiB is less than the 4096 MiB of RAM and 2048 MiB of SPM blocks; give at least 6144 "
		"MiB or leave it out");
	request.phys_bits = 36;
	request.maxmem = 64 * GIB;
	expect_error(
		&request, ENOSPC,
		"--maxmem: 2048 MiB of its room for hotplug do not fit below the end of the guest's 36 physical address "
		"bits (0x1000000000); give a smaller --maxmem");
	request.maxmem = UINT64_MAX;
	expect_error(
		&request, ENOSPC,
		"--maxmem: 17592185978880 MiB of its room for hotplug do not fit below the end of the guest's 36 physical "
		"address bits (0x1000000000); give a smaller --maxmem");
}

static void every_allocation_may_fail(void **state)
{
	const struct layout_ram ram[] = {{.size = GIB}};
	struct layout_spm spm[40] = {0};
	struct layout_request request = request_of(ram, 1, spm, COUNT(spm));
	struct error err = {.text = ""};
	struct mem_layout layout;
	unsigned nth = 1;

	(void)state;
	for (size_t i = 0; i < COUNT(spm); i++)
		spm[i] = (struct layout_spm){.size = GIB, .id = "x"};
	for (;; nth++) {
		int code;

		fail_at = nth;
		code = layout_plan(&layout, &request, &err);
		if (fail_at > 0)
			break;
		assert_int_equal(code, -ENOMEM);
		assert_int_equal(err.status, EXIT_STATUS_HOST);
		assert_string_equal(err.text, "out of memory while planning the memory layout");
		assert_null(layout.regions);
		assert_null(layout.window.children);
	}
	fail_at = 0;
	assert_true(nth > 4); /* regions, and the window's children at 1, 9, 17 and 33 */
	layout_release(&layout);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_ram_is_one_region),
		cmocka_unit_test(ram_goes_by_node_and_flows_around_the_hole),
		cmocka_unit_test(ram_flows_around_hypertransport),
		cmocka_unit_test(large_pages_leave_a_hole_before_them),
		cmocka_unit_test(runs_join_what_touches),
		cmocka_unit_test(acpi_area_wants_a_region_larger_than_it),
		cmocka_unit_test(block_size_is_that_of_linux),
		cmocka_unit_test(blocks_start_at_2g_in_command_line_order),
		cmocka_unit_test(blocks_with_an_address_come_first),
		cmocka_unit_test(window_may_start_at_a_wanted_address),
		cmocka_unit_test(blocks_do_not_straddle_hypertransport),
		cmocka_unit_test(hotplug_room_follows_the_blocks),
		cmocka_unit_test(hotplug_room_goes_around_hypertransport),
		cmocka_unit_test(bad_ram_is_refused),
		cmocka_unit_test(wanted_addresses_are_honoured_or_refused),
		cmocka_unit_test(blocks_that_do_not_fit_are_refused),
		cmocka_unit_test(maxmem_is_checked),
		cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
