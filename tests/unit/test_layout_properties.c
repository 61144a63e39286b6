/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "vmm/memory/layout.h"

/* What every layout must be, whatever was asked for. */
enum { RAM_MOST = 6, SPM_MOST = 12 };

struct sample {
	struct layout_ram ram[RAM_MOST];
	struct layout_spm spm[SPM_MOST];
	struct layout_request request;
};

static uint64_t some_page(struct prng *prng)
{
	static const uint64_t pages[] = {0, 4 * KIB, 2 * MIB, GIB};

	return pages[prng_below(prng, 4)];
}

/* From 2 MiB to about 2 TiB, small ones as often as large ones. */
static uint64_t some_size(struct prng *prng, uint64_t page)
{
	uint64_t unit = page > 2 * MIB ? page : 2 * MIB;
	unsigned bits = (unsigned)prng_below(prng, page > 2 * MIB ? 8 : 20);

	return unit * (1 + prng_below(prng, UINT64_C(1) << bits));
}

static void make_sample(struct sample *sample, struct prng *prng)
{
	struct layout_request *request = &sample->request;
	uint64_t sum = 0;

	/* one call a statement: C does not say in which order arguments are evaluated */
	*request = (struct layout_request){.ram = sample->ram, .spm = sample->spm};
	request->ram_count = 1 + prng_below(prng, RAM_MOST);
	request->spm_count = prng_below(prng, SPM_MOST + 1);
	for (size_t i = 0; i < request->ram_count; i++) {
		uint64_t page = some_page(prng);

		sample->ram[i] = (struct layout_ram){.size = some_size(prng, page), .page_size = page};
		sample->ram[i].node = (uint32_t)prng_below(prng, 4);
		sum += sample->ram[i].size;
	}
	for (size_t i = 0; i < request->spm_count; i++) {
		uint64_t page = some_page(prng);

		sample->spm[i] = (struct layout_spm){
			.size = some_size(prng, page), .page_size = page, .node = 4 + (uint32_t)i, .id = "s"};
		sum += sample->spm[i].size;
		if (prng_below(prng, 8) == 0) {
			sample->spm[i].has_address = true;
			sample->spm[i].address = prng_below(prng, 8 * TIB) & ~(GIB - 1);
		}
	}
	if (prng_below(prng, 3) == 0)
		request->maxmem = sum + prng_below(prng, 2 * TIB);
	request->phys_bits = 36 + (unsigned)prng_below(prng, 17);
	request->acpi_budget = 4 * KIB * prng_below(prng, 512);
}

static void check_owner(const struct mem_layout *layout, enum mem_kind kind, size_t owner, uint64_t size, uint64_t page,
			uint32_t node)
{
	uint64_t offset = 0;
	size_t pieces = 0;

	for (size_t i = 0; i < layout->region_count; i++) {
		const struct mem_region *region = &layout->regions[i];

		if (region->kind != kind || region->owner != owner)
			continue;
		assert_int_equal(region->offset, offset);
		assert_int_equal(region->node, node);
		assert_int_equal(region->gpa.start % (page != 0 ? page : 4 * KIB), 0);
		offset += region->gpa.size;
		pieces++;
	}
	assert_int_equal(offset, size);
	assert_true(kind == MEM_RAM || pieces == 1);
}

static void check_regions(const struct sample *sample, const struct mem_layout *layout)
{
	const struct range hole = range_between(LAYOUT_HOLE_START, LAYOUT_HOLE_END);
	const struct range ht = range_between(LAYOUT_HT_START, LAYOUT_HT_END);
	const struct layout_request *request = &sample->request;
	uint64_t end = 0, ram_end = 0;
	uint32_t node = 0;

	for (size_t i = 0; i < layout->region_count; i++) {
		const struct mem_region *region = &layout->regions[i];

		assert_true(region->gpa.size > 0 && region->gpa.start >= end);
		end = range_end(region->gpa);
		assert_false(range_overlaps(region->gpa, hole) || range_overlaps(region->gpa, ht));
		if (region->kind == MEM_SPM) {
			assert_true(region->gpa.start >= layout->ram_end && region->gpa.start >= 4 * GIB);
			continue;
		}
		assert_true(region->node >= node);
		node = region->node;
		ram_end = end;
	}
	assert_int_equal(layout->ram_end, ram_end);
	assert_true(end <= UINT64_C(1) << request->phys_bits);
	for (size_t i = 0; i < request->ram_count; i++)
		check_owner(layout, MEM_RAM, i, request->ram[i].size, request->ram[i].page_size, request->ram[i].node);
	for (size_t i = 0; i < request->spm_count; i++)
		check_owner(layout, MEM_SPM, i, request->spm[i].size, request->spm[i].page_size, request->spm[i].node);
}

static void check_acpi(const struct sample *sample, const struct mem_layout *layout)
{
	size_t hosts = 0;

	assert_int_equal(layout->acpi.size, sample->request.acpi_budget);
	assert_true(range_end(layout->acpi) <= LAYOUT_HOLE_START);
	for (size_t i = 0; i < layout->region_count; i++) {
		if (layout->regions[i].kind == MEM_RAM &&
		    range_end(layout->regions[i].gpa) == range_end(layout->acpi) &&
		    range_contains(layout->regions[i].gpa, layout->acpi))
			hosts++;
	}
	assert_int_equal(hosts, 1);
}

static void check_window(const struct sample *sample, const struct mem_layout *layout)
{
	const struct layout_request *request = &sample->request;
	const struct mem_window *window = &layout->window;
	uint64_t expected = window->span.start, at = expected, available = 0, used = 0;
	struct mem_chunk chunk;
	size_t blocks = 0;

	while (window_next(window, &at, &chunk)) {
		assert_int_equal(chunk.range.start, expected);
		expected = range_end(chunk.range);
		if (chunk.kind == MEM_CHUNK_FREE) {
			assert_false(range_overlaps(chunk.range, range_between(LAYOUT_HT_START, LAYOUT_HT_END)));
			available += chunk.range.size;
		} else if (chunk.kind == MEM_CHUNK_OWNED) {
			const struct layout_spm *spm = &request->spm[chunk.owner];

			assert_int_equal(chunk.range.size, spm->size);
			assert_int_equal(chunk.range.start % (spm->has_address ? 2 * MIB : 2 * GIB), 0);
			if (spm->has_address)
				assert_int_equal(chunk.range.start, spm->address);
			blocks++;
		}
	}
	assert_int_equal(expected, range_end(window->span));
	assert_true(expected <= UINT64_C(1) << request->phys_bits);
	assert_int_equal(blocks, request->spm_count);
	assert_true(window->span.size == 0 || window->span.start >= layout->ram_end);
	for (size_t i = 0; i < layout->region_count; i++)
		used += layout->regions[i].gpa.size;
	assert_true(request->maxmem == 0 || available >= align_up(request->maxmem - used, 2 * GIB));
	assert_int_equal(layout->hotplug, request->maxmem > used);
	if (!layout->hotplug && blocks > 0)
		assert_int_equal(expected, range_end(layout->regions[layout->region_count - 1].gpa));
}

static void layouts_keep_their_promises(void **state)
{
	struct prng prng = prng_new(__func__);
	struct sample sample;
	int planned = 0;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct error err = {.text = ""};
		struct mem_layout layout;

		make_sample(&sample, &prng);
		if (layout_plan(&layout, &sample.request, &err) < 0) {
			assert_int_equal(err.status, EXIT_STATUS_CONFIG);
			assert_true(strlen(err.text) > 20 && strlen(err.text) < sizeof(err.text) - 1);
			assert_null(layout.regions);
			assert_null(layout.window.children);
			continue;
		}
		planned++;
		check_regions(&sample, &layout);
		check_acpi(&sample, &layout);
		check_window(&sample, &layout);
		layout_release(&layout);
	}
	print_message("%d of 20000 requests could be planned\n", planned);
	assert_true(planned > 5000 && planned < 19500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layouts_keep_their_promises),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
