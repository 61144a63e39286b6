/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_FAKE_MACHINE_H
#define SPMVM_TESTS_UNIT_FAKE_MACHINE_H

#include "vmm/machine.h"

/* A machine behind the part of vmm/machine.h that is for its control, linked in the place of the library. Nothing runs
 * in it. */
struct machine {
	const struct board *board;
	const struct machine_control *control; /* told of what happens; NULL: nobody */
	enum machine_state state;
	enum stop_cause cause; /* of its end */
	bool has_hotplug;
	struct machine_hotplug hotplug;
	unsigned presses; /* of the power button */
};

#endif
