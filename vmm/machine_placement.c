/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the host gave the memory that was asked for: one line for each --mem and --spm that was populated. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/machine_state.h"

struct huge_pages {
	const struct machine *machine;
	uint64_t *of; /* bytes, by backend */
};

static void on_huge(void *context, uint64_t start, uint64_t bytes)
{
	const struct huge_pages *huge = context;
	const struct mem_layout *layout = &huge->machine->board->layout;

	for (size_t i = 0; i < layout->region_count; i++) {
		const struct range gpa = layout->regions[i].gpa;
		uintptr_t at = (uintptr_t)guest_mem_at(&huge->machine->memory, gpa.start, gpa.size);

		if (range_holds((struct range){at, gpa.size}, start))
			huge->of[machine_backend_of(huge->machine, &layout->regions[i]) - huge->machine->backends] +=
				bytes;
	}
}

int machine_count_huge(const struct machine *machine, int smaps, uint64_t *huge)
{
	return placement_huge_in(smaps, on_huge, &(struct huge_pages){machine, huge});
}

int machine_look(const struct machine *machine, const struct mem_backend *backend, uint64_t samples,
		 struct placement *placement)
{
	const struct mem_layout *layout = &machine->board->layout;
	int code = 0;

	for (size_t i = 0; i < layout->region_count && code == 0; i++) {
		const struct range gpa = layout->regions[i].gpa;

		if (machine_backend_of(machine, &layout->regions[i]) == backend)
			code = placement_look(placement, backend, guest_mem_at(&machine->memory, gpa.start, gpa.size),
					      gpa.size, samples);
	}
	return code;
}

static void report(const struct machine *machine, const struct mem_backend *backend, uint64_t huge)
{
	struct placement placement = {.huge = huge};
	int code = machine_look(machine, backend, PLACEMENT_SAMPLES, &placement);

	if (code < 0)
		log_debug(machine->log, "%s: where its pages are cannot be told (move_pages: %s)", backend->option,
			  strerror(-code));
	else
		placement_report(&placement, backend, machine->log);
}

int machine_report_placement(const struct machine *machine, struct error *err)
{
	uint64_t *huge;
	bool any = false;

	for (size_t i = 0; i < machine->backend_count; i++)
		any |= machine->backends[i].populate && machine->backends[i].kind != BACKEND_DAX;
	if (!any)
		return 0;
	huge = calloc(machine->backend_count, sizeof(huge[0]));
	if (huge == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory while building the machine");
	placement_huge("", on_huge, &(struct huge_pages){machine, huge});
	for (size_t i = 0; i < machine->backend_count; i++) {
		if (machine->backends[i].populate && machine->backends[i].kind != BACKEND_DAX)
			report(machine, &machine->backends[i], huge[i]);
	}
	free(huge);
	return 0;
}
