/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory/layout_internal.h"

#include <assert.h>
#include <errno.h>

/* The lowest address that a block may have: RAM is below, and so is every address that 32-bit hardware can reach. */
static uint64_t block_floor(const struct plan *plan)
{
	return larger(LAYOUT_HOLE_END, plan->layout->ram_end);
}

static int place_block(struct plan *plan, size_t index, uint64_t start, struct error *err)
{
	const struct layout_spm *spm = &plan->request->spm[index];
	struct mem_window *window = &plan->layout->window;
	struct mem_chunk block = {.range = {start, spm->size}, .kind = MEM_CHUNK_OWNED, .owner = index};
	const struct mem_chunk *other;
	size_t conflict = 0;
	int code = window_insert(window, block, &conflict);

	if (code == 0) {
		plan->spm_bytes += spm->size;
		return 0;
	}
	if (code == -ENOMEM)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory while planning the memory layout");
	assert(code == -EEXIST);
	other = &window->children[conflict];
	if (other->kind == MEM_CHUNK_FORBIDDEN) {
		return error_set(err, EXIT_STATUS_CONFIG, EEXIST,
				 "--spm id=%s: addr=" HEX " overlaps AMD's HyperTransport range " HEX "-" HEX
				 "; end below it, start at " HEX " or leave addr out",
				 spm->id, start, LAYOUT_HT_START, LAYOUT_HT_END - 1, LAYOUT_HT_END);
	}
	return error_set(err, EXIT_STATUS_CONFIG, EEXIST,
			 "--spm id=%s: addr=" HEX " and size " HEX " overlap --spm id=%s at " HEX "-" HEX
			 "; move one of them or leave addr out",
			 spm->id, start, spm->size, plan->request->spm[other->owner].id, other->range.start,
			 range_end(other->range) - 1);
}

/* Refuses a wanted address below the window, saying what is there. */
static int check_above_ram(const struct plan *plan, const struct layout_spm *spm, uint64_t alignment, struct error *err)
{
	struct range wanted = {spm->address, smaller(spm->size, UINT64_MAX - spm->address)};
	uint64_t first = align_up(block_floor(plan), alignment);

	if (spm->address >= block_floor(plan))
		return 0;
	for (size_t i = 0; i < plan->layout->region_count; i++) {
		const struct mem_region *ram = &plan->layout->regions[i];

		if (!range_overlaps(ram->gpa, wanted))
			continue;
		return error_set(err, EXIT_STATUS_CONFIG, EEXIST,
				 "--spm id=%s: addr=" HEX " overlaps the RAM of node %" PRIu32 " at " HEX "-" HEX
				 "; use addr=" HEX " or above, or leave addr out",
				 spm->id, spm->address, ram->node, ram->gpa.start, range_end(ram->gpa) - 1, first);
	}
	if (spm->address < LAYOUT_HOLE_END) {
		return error_set(err, EXIT_STATUS_CONFIG, ERANGE,
				 "--spm id=%s: addr=" HEX " is below 4 GiB, where devices are; use addr=" HEX
				 " or above, or leave addr out",
				 spm->id, spm->address, first);
	}
	return error_set(err, EXIT_STATUS_CONFIG, ERANGE,
			 "--spm id=%s: addr=" HEX " is below the end of RAM (" HEX "); use addr=" HEX
			 " or above, or leave addr out",
			 spm->id, spm->address, plan->layout->ram_end, first);
}

static int check_address(const struct plan *plan, const struct layout_spm *spm, struct error *err)
{
	uint64_t alignment = larger(LAYOUT_SIZE_ALIGN, spm->page_size);
	int code;

	if (!is_aligned(spm->address, alignment)) {
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "--spm id=%s: addr=" HEX " is not a multiple of %" PRIu64
				 " MiB; the one below is " HEX,
				 spm->id, spm->address, alignment / MIB, align_down(spm->address, alignment));
	}
	code = check_above_ram(plan, spm, alignment, err);
	if (code < 0)
		return code;
	if (spm->address < plan->limit && spm->size <= plan->limit - spm->address)
		return 0;
	return error_set(err, EXIT_STATUS_CONFIG, ERANGE,
			 "--spm id=%s: addr=" HEX " and size " HEX
			 " go beyond the end of the guest's %u physical address bits (" HEX
			 "); use a lower address or leave addr out",
			 spm->id, spm->address, spm->size, plan->request->phys_bits, plan->limit);
}

/* First fit: the lowest aligned base whose whole block is free. */
static int place_anywhere(struct plan *plan, size_t index, struct error *err)
{
	const struct layout_spm *spm = &plan->request->spm[index];
	struct mem_window *window = &plan->layout->window;
	uint64_t start = align_up(block_floor(plan), LAYOUT_BLOCK_ALIGN);
	struct mem_chunk chunk;

	for (uint64_t at = window->span.start; window_next(window, &at, &chunk);) {
		uint64_t end = range_end(chunk.range);

		if (chunk.kind != MEM_CHUNK_FREE)
			continue;
		start = align_up(chunk.range.start, LAYOUT_BLOCK_ALIGN);
		if (start < end && spm->size <= end - start)
			return place_block(plan, index, start, err);
	}
	return error_set(err, EXIT_STATUS_CONFIG, ENOSPC,
			 "--spm id=%s: its %" PRIu64 " MiB do not fit: at " HEX
			 " they would go beyond the end of the guest's %u physical address bits (" HEX
			 "); make the block or the RAM smaller",
			 spm->id, spm->size / MIB, start, plan->request->phys_bits, plan->limit);
}

static int place_spm(struct plan *plan, struct error *err)
{
	const struct layout_request *request = plan->request;
	int code = 0;

	for (size_t i = 0; i < request->spm_count && code == 0; i++) {
		const struct layout_spm *spm = &request->spm[i];

		code = plan_check_size("--spm", spm->id, i, spm->size, spm->page_size, err);
		if (code == 0 && spm->has_address)
			code = check_address(plan, spm, err);
		if (code == 0 && spm->has_address)
			code = place_block(plan, i, spm->address, err);
	}
	for (size_t i = 0; i < request->spm_count && code == 0; i++) {
		if (!request->spm[i].has_address)
			code = place_anywhere(plan, i, err);
	}
	return code;
}

/* Opens the window over everything above RAM; it is cut to size when the blocks are in it. */
static int open_window(struct plan *plan, struct error *err)
{
	struct range ht = range_between(LAYOUT_HT_START, LAYOUT_HT_END);
	struct mem_chunk forbidden = {.range = ht, .kind = MEM_CHUNK_FORBIDDEN};
	uint64_t floor = block_floor(plan);

	window_init(&plan->layout->window, range_between(floor, larger(floor, plan->limit)));
	/*
	 * RAM never ends within the range, and a power of two never lies in it: it is in the span wholly or not at all.
	 */
	if (window_insert(&plan->layout->window, forbidden, NULL) == -ENOMEM)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory while planning the memory layout");
	return 0;
}

/*
 * Where the window must end to have room for hotplug in its free chunks. Only whole multiples of the block alignment
 * count: Linux adds memory in blocks of up to that size, so what is smaller is of no use to it.
 */
static int end_of_room(const struct plan *plan, uint64_t start, uint64_t room, uint64_t *end, struct error *err)
{
	const struct mem_window *window = &plan->layout->window;
	struct mem_chunk chunk;

	for (uint64_t at = window->span.start; window_next(window, &at, &chunk);) {
		uint64_t from = align_up(larger(chunk.range.start, start), LAYOUT_BLOCK_ALIGN);
		uint64_t to = align_down(range_end(chunk.range), LAYOUT_BLOCK_ALIGN);

		if (chunk.kind != MEM_CHUNK_FREE || from >= to)
			continue;
		if (room <= to - from) {
			*end = from + room;
			return 0;
		}
		room -= to - from;
	}
	return error_set(
		err, EXIT_STATUS_CONFIG, ENOSPC,
		"--maxmem: %" PRIu64
		" MiB of its room for hotplug do not fit below the end of the guest's %u physical address bits (" HEX
		"); give a smaller --maxmem",
		room / MIB, plan->request->phys_bits, plan->limit);
}

/* The room that --maxmem asks for beyond what is there, in whole blocks; 0 without one. */
static int hotplug_room(const struct plan *plan, uint64_t *room, struct error *err)
{
	uint64_t maxmem = plan->request->maxmem, used = plan->ram_bytes + plan->spm_bytes;

	*room = 0;
	if (maxmem == 0)
		return 0;
	if (maxmem < used) {
		return error_set(err, EXIT_STATUS_CONFIG, ERANGE,
				 "--maxmem: %" PRIu64 " MiB is less than the %" PRIu64 " MiB of RAM and %" PRIu64
				 " MiB of SPM blocks; give at least %" PRIu64 " MiB or leave it out",
				 maxmem / MIB, plan->ram_bytes / MIB, plan->spm_bytes / MIB, used / MIB);
	}
	if (maxmem > UINT64_MAX - LAYOUT_BLOCK_ALIGN)
		maxmem = UINT64_MAX - LAYOUT_BLOCK_ALIGN; /* does not fit either way */
	*room = align_up(maxmem - used, LAYOUT_BLOCK_ALIGN);
	return 0;
}

/* Cuts the window's span; what is forbidden outside of it needs no mention. */
static void cut_window(struct mem_window *window, struct range span)
{
	size_t kept = 0;

	for (size_t i = 0; i < window->count; i++) {
		if (range_contains(span, window->children[i].range))
			window->children[kept++] = window->children[i];
	}
	window->count = kept;
	window->span = span;
}

static int close_window(struct plan *plan, struct error *err)
{
	struct mem_window *window = &plan->layout->window;
	uint64_t first = UINT64_MAX, end = 0, room, start;
	int code = hotplug_room(plan, &room, err);

	if (code < 0)
		return code;
	for (size_t i = 0; i < window->count; i++) {
		const struct mem_chunk *child = &window->children[i];

		if (child->kind != MEM_CHUNK_OWNED)
			continue;
		first = smaller(first, child->range.start);
		end = range_end(child->range);
		plan_add_region(plan, child->range, MEM_SPM, child->owner, 0);
	}
	if (room > 0) {
		uint64_t room_end = 0;

		start = align_up(block_floor(plan), LAYOUT_BLOCK_ALIGN);
		if (start >= LAYOUT_HT_START && start < LAYOUT_HT_END)
			start = LAYOUT_HT_END;
		first = smaller(first, start);
		code = end_of_room(plan, first, room, &room_end, err);
		if (code < 0)
			return code;
		end = larger(end, room_end);
		plan->layout->hotplug = true;
	}
	cut_window(window, end == 0 ? (struct range){0} : range_between(first, end));
	return 0;
}

int plan_blocks(struct plan *plan, struct error *err)
{
	int code = open_window(plan, err);

	if (code == 0)
		code = place_spm(plan, err);
	if (code == 0)
		code = close_window(plan, err);
	return code;
}
