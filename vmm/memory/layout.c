/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory/layout_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Where no memory may be, ascending. Every edge is a multiple of 1 GiB, the largest page: a split never cuts a page. */
static const struct range FORBIDDEN[] = {
	{LAYOUT_HOLE_START, LAYOUT_HOLE_END - LAYOUT_HOLE_START},
	{LAYOUT_HT_START, LAYOUT_HT_END - LAYOUT_HT_START},
};

enum { FORBIDDEN_COUNT = sizeof(FORBIDDEN) / sizeof(FORBIDDEN[0]) };

int plan_check_size(const char *option, const char *id, size_t number, uint64_t size, uint64_t page_size,
		    struct error *err)
{
	uint64_t alignment = larger(LAYOUT_SIZE_ALIGN, page_size);
	char name[32];

	assert((page_size & (page_size - 1)) == 0 && page_size <= GIB);
	if (size > 0 && is_aligned(size, alignment))
		return 0;
	snprintf(name, sizeof(name), "number %zu", number + 1);
	return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
			 "%s %s%s: size " HEX " must be a multiple of %" PRIu64 " MiB and not 0", option,
			 id != NULL ? "id=" : "", id != NULL ? id : name, size, alignment / MIB);
}

void plan_add_region(struct plan *plan, struct range gpa, enum mem_kind kind, size_t owner, uint64_t offset)
{
	uint32_t node = kind == MEM_RAM ? plan->request->ram[owner].node : plan->request->spm[owner].node;

	plan->layout->regions[plan->layout->region_count++] =
		(struct mem_region){.gpa = gpa, .kind = kind, .node = node, .owner = owner, .offset = offset};
}

/*
 * The first stretch at or behind cursor that RAM may have, from an aligned start to the next forbidden byte; empty at
 * the limit.
 */
static struct range next_ram_room(const struct plan *plan, uint64_t cursor, uint64_t alignment)
{
	uint64_t start = align_up(cursor, alignment), end = plan->limit;

	for (int i = 0; i < FORBIDDEN_COUNT; i++) {
		if (range_holds(FORBIDDEN[i], start)) {
			start = align_up(range_end(FORBIDDEN[i]), alignment);
		} else if (start < FORBIDDEN[i].start) {
			end = smaller(end, FORBIDDEN[i].start);
			break;
		}
	}
	return start < end ? range_between(start, end) : (struct range){start, 0};
}

/* Places one --mem at *cursor, in as many pieces as there are forbidden ranges on its way. */
static int place_one_ram(struct plan *plan, size_t index, uint64_t *cursor, struct error *err)
{
	const struct layout_ram *ram = &plan->request->ram[index];
	uint64_t alignment = larger(4 * KIB, ram->page_size), offset = 0;
	int code = plan_check_size("--mem", NULL, index, ram->size, ram->page_size, err);

	if (code < 0)
		return code;
	while (offset < ram->size) {
		struct range piece = next_ram_room(plan, *cursor, alignment);

		if (piece.size == 0) {
			return error_set(err, EXIT_STATUS_CONFIG, ENOSPC,
					 "--mem number %zu: %" PRIu64 " of its %" PRIu64
					 " MiB do not fit below the end of the guest's %u physical address bits (" HEX
					 "); give less memory",
					 index + 1, (ram->size - offset) / MIB, ram->size / MIB,
					 plan->request->phys_bits, plan->limit);
		}
		piece.size = smaller(piece.size, ram->size - offset);
		plan_add_region(plan, piece, MEM_RAM, index, offset);
		offset += piece.size;
		*cursor = range_end(piece);
	}
	plan->ram_bytes += ram->size;
	return 0;
}

/* The --mem that follows last in ascending (node, position); SIZE_MAX is before the first and behind the last. */
static size_t next_ram(const struct layout_request *request, size_t last)
{
	size_t best = SIZE_MAX;

	for (size_t i = 0; i < request->ram_count; i++) {
		uint32_t node = request->ram[i].node;
		bool follows = last == SIZE_MAX || node > request->ram[last].node ||
			       (node == request->ram[last].node && i > last);

		if (follows && (best == SIZE_MAX || node < request->ram[best].node))
			best = i;
	}
	return best;
}

static int place_ram(struct plan *plan, struct error *err)
{
	uint64_t cursor = 0;

	for (size_t i = next_ram(plan->request, SIZE_MAX); i != SIZE_MAX; i = next_ram(plan->request, i)) {
		int code = place_one_ram(plan, i, &cursor, err);

		if (code < 0)
			return code;
	}
	plan->layout->ram_end = cursor;
	return 0;
}

/*
 * The tables go below 4 GiB because the RSDT and the FADT's DSDT and FIRMWARE_CTRL fields hold 32-bit addresses (ACPI
 * 6.5 §5.2.7, §5.2.9), at the top of RAM so that they split it least. The last region that keeps memory of its own
 * beside them is taken.
 */
static int place_acpi(struct plan *plan, struct error *err)
{
	uint64_t budget = plan->request->acpi_budget, low = 0;
	const struct mem_region *host = NULL;

	for (size_t i = 0; i < plan->layout->region_count; i++) {
		const struct mem_region *region = &plan->layout->regions[i];

		if (region->gpa.start >= LAYOUT_HOLE_START)
			break;
		low += region->gpa.size;
		if (region->gpa.size > budget)
			host = region;
	}
	if (low < LAYOUT_RAM_MIN + budget) {
		return error_set(err, EXIT_STATUS_CONFIG, ENOSPC,
				 "--mem: %" PRIu64 " MiB below 3 GiB is too little; the guest needs at least %" PRIu64
				 " MiB there (%" PRIu64 " MiB of RAM and room for the ACPI tables)",
				 low / MIB, align_up(LAYOUT_RAM_MIN + budget, LAYOUT_SIZE_ALIGN) / MIB,
				 LAYOUT_RAM_MIN / MIB);
	}
	if (host == NULL) {
		return error_set(err, EXIT_STATUS_CONFIG, ENOSPC,
				 "--mem: no node has a piece below 3 GiB that is larger than the %" PRIu64
				 " KiB of the ACPI tables; give one node more memory",
				 budget / KIB);
	}
	plan->layout->acpi = (struct range){range_end(host->gpa) - budget, budget};
	return 0;
}

/*
 * Linux 6.1 arch/x86/mm/init_64.c, probe_memory_block_size(), on a hypervisor: 128 MiB while RAM ends below 64 GiB,
 * else the largest power of two from 2 GiB down that its end is a multiple of.
 */
static uint64_t linux_block_size(uint64_t ram_end)
{
	uint64_t size = 128 * MIB;

	if (ram_end < 64 * GIB)
		return size;
	while (size < 2 * GIB && is_aligned(ram_end, 2 * size))
		size *= 2;
	return size;
}

static int make_layout(struct plan *plan, struct error *err)
{
	const struct layout_request *request = plan->request;
	/* Each forbidden range splits at most one --mem; blocks are never split. */
	size_t most = request->ram_count + FORBIDDEN_COUNT + request->spm_count;
	int code;

	plan->layout->regions = calloc(most, sizeof(*plan->layout->regions));
	if (plan->layout->regions == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory while planning the memory layout");
	code = place_ram(plan, err);
	if (code == 0)
		code = place_acpi(plan, err);
	if (code == 0)
		code = plan_blocks(plan, err);
	plan->layout->block_size = linux_block_size(plan->layout->ram_end);
	return code;
}

int layout_plan(struct mem_layout *layout, const struct layout_request *request, struct error *err)
{
	struct plan plan = {.request = request, .layout = layout};
	int code;

	assert(request->ram_count > 0 && is_aligned(request->acpi_budget, 4 * KIB));
	*layout = (struct mem_layout){0};
	/*
	 * 52 bits are the most that x86 paging can address (Intel SDM vol. 3 §4.1.4); with fewer than 32 there is no
	 * 32-bit hole.
	 */
	if (request->phys_bits < 32 || request->phys_bits > 52) {
		return error_set(err, EXIT_STATUS_CONFIG, ERANGE,
				 "the guest's physical addresses cannot have %u bits; use 32 to 52",
				 request->phys_bits);
	}
	plan.limit = UINT64_C(1) << request->phys_bits;
	code = make_layout(&plan, err);
	if (code < 0)
		layout_release(layout);
	return code;
}

void layout_release(struct mem_layout *layout)
{
	if (layout == NULL)
		return;
	free(layout->regions);
	window_release(&layout->window);
	*layout = (struct mem_layout){0};
}

size_t layout_run(const struct mem_layout *layout, size_t first, struct range *run)
{
	size_t count = 1;

	assert(first < layout->region_count);
	*run = layout->regions[first].gpa;
	while (first + count < layout->region_count && layout->regions[first + count].gpa.start == range_end(*run)) {
		run->size += layout->regions[first + count].gpa.size;
		count++;
	}
	return count;
}
