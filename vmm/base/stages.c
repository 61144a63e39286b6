/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/base/stages.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "vmm/base/clock.h"

static const char *const NAMES[STAGE_COUNT] = {
	[STAGE_MAIN] = "main",           [STAGE_OPTIONS] = "options", [STAGE_CONFIG] = "config",
	[STAGE_KERNEL] = "kernel",       [STAGE_KVM] = "kvm",         [STAGE_BOARD] = "board",
	[STAGE_INITRAMFS] = "initramfs", [STAGE_VM] = "vm",           [STAGE_MEMORY] = "memory",
	[STAGE_POPULATED] = "populated", [STAGE_DEVICES] = "devices", [STAGE_VCPUS] = "vcpus",
	[STAGE_LOADED] = "loaded",       [STAGE_RUN] = "run",
};

const char *stage_name(enum stage stage)
{
	return NAMES[stage];
}

void stages_mark(struct stages *stages, enum stage stage)
{
	assert(stages->at[stage] == 0);
	stages->at[stage] = clock_ns(CLOCK_MONOTONIC);
}

uint64_t stages_took(const struct stages *stages, enum stage stage)
{
	for (int before = (int)stage - 1; before >= 0 && stages->at[stage] != 0; before--) {
		if (stages->at[before] != 0)
			return stages->at[stage] - stages->at[before];
	}
	return 0;
}

void stages_log(const struct stages *stages, const struct log *log)
{
	char text[STAGE_COUNT * 32];
	uint64_t sum = 0;
	size_t used = 0;

	if (log->level < LOG_DEBUG)
		return;
	text[0] = '\0';
	for (int i = STAGE_MAIN + 1; i < STAGE_COUNT; i++) {
		uint64_t took = stages_took(stages, (enum stage)i);

		if (stages->at[i] == 0)
			continue;
		sum += took;
		used += (size_t)snprintf(text + used, sizeof(text) - used, " %s %" PRIu64, NAMES[i], took / 1000);
	}
	log_debug(log, "start, us:%s; %" PRIu64 " since main()", text, sum / 1000);
}
