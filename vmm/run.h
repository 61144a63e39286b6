/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_RUN_H
#define SPMVM_RUN_H

#include "vmm/base/error.h"
#include "vmm/base/stages.h"
#include "vmm/config.h"
#include "vmm/machine.h"

/*
 * The command "run": finds the kernel and its modules, builds the machine, boots it and stays until it stops. control
 * is that of machine_run(). Returns 0 with the process's exit status in *status, or -errno with err set and everything
 * undone. Marks the stages behind STAGE_CONFIG. Main thread.
 */
int run_machine(const struct config *config, const struct machine_control *control, struct stages *stages, int *status,
		struct error *err);

#endif
