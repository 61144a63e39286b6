/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/kaslr.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static const char SPACES[] = " \t\n\v\f\r";

static bool word_starts(const char *word, size_t length, const char *start)
{
	return length >= strlen(start) && memcmp(word, start, strlen(start)) == 0;
}

struct kaslr_wish kaslr_wish_of(const char *cmdline)
{
	static const char *const MEMORY[] = {"mem=", "memmap=", "efi_fake_mem=", "hugepages", "default_hugepages"};
	struct kaslr_wish wish = {true, true};

	while (*cmdline != '\0') {
		size_t length = strcspn(cmdline, SPACES);

		if (length == strlen("nokaslr") && word_starts(cmdline, length, "nokaslr"))
			wish.randomise = false;
		for (size_t i = 0; i < sizeof(MEMORY) / sizeof(MEMORY[0]); i++) {
			if (word_starts(cmdline, length, MEMORY[i]))
				wish.physical = false;
		}
		cmdline += length;
		cmdline += strspn(cmdline, SPACES);
	}
	wish.physical = wish.physical && wish.randomise;
	return wish;
}

/* How many places an entry of the map has, and the first one. */
static uint64_t places_in(const struct e820_entry *entry, struct range span, uint64_t size, uint64_t alignment,
			  uint64_t *first)
{
	uint64_t start = entry->range.start, end = range_end(entry->range);

	if (start < span.start)
		start = span.start;
	if (end > range_end(span))
		end = range_end(span);
	if (entry->type != E820_RAM || start > UINT64_MAX - alignment)
		return 0;
	*first = align_up(start, alignment);
	if (end < *first || end - *first < size)
		return 0;
	return (end - *first - size) / alignment + 1;
}

int kaslr_physical(const struct e820_table *e820, struct range span, uint64_t size, uint64_t alignment, uint64_t random,
		   uint64_t *start)
{
	uint64_t count = 0, first;

	for (size_t i = 0; i < e820->count; i++)
		count += places_in(&e820->entries[i], span, size, alignment, &first);
	if (count == 0)
		return -ENOENT;
	random %= count;
	for (size_t i = 0;; i++) {
		count = places_in(&e820->entries[i], span, size, alignment, &first);
		if (random < count)
			break;
		random -= count;
	}
	*start = first + random * alignment;
	return 0;
}

uint64_t kaslr_virtual_delta(uint64_t link, uint64_t size, uint64_t alignment, uint64_t random)
{
	uint64_t used = link - VMLINUX_MAP + size;

	if (used > VMLINUX_MAP_SIZE)
		return 0;
	return random % ((VMLINUX_MAP_SIZE - used) / alignment + 1) * alignment;
}

int kaslr_choose(const struct kaslr_request *request, struct kaslr_place *place)
{
	const struct vmlinux *vmlinux = request->vmlinux;
	const struct kaslr_wish wish = kaslr_wish_of(request->cmdline);
	const uint64_t size = request->size + request->behind, link = vmlinux->physical;
	uint64_t alignment = request->alignment;
	struct range span;

	if (alignment < VMLINUX_ALIGNMENT)
		alignment = VMLINUX_ALIGNMENT;
	*place = (struct kaslr_place){.physical = link, .randomised = wish.randomise};
	if (link >= request->limit)
		return -ENOENT;
	/* below 1 MiB is what the boot needs */
	span = range_between(link > MIB ? link : MIB, request->limit);
	/* a kernel that was built without KASLR cannot move in virtual memory, and knows nothing of its flag */
	if (relocations_none(&vmlinux->relocations))
		place->randomised = false;
	if (place->randomised)
		place->delta = kaslr_virtual_delta(vmlinux->virtual, request->size, alignment, request->random[1]);
	place->random_physical = place->randomised && wish.physical && request->relocatable;
	if (place->random_physical)
		return kaslr_physical(request->e820, span, size, alignment, request->random[0], &place->physical);
	if (range_contains(span, (struct range){link, size}) && e820_is_ram(request->e820, (struct range){link, size}))
		return 0;
	return request->relocatable ? e820_find_ram_within(request->e820, span, size, alignment, &place->physical)
				    : -ENOENT;
}
