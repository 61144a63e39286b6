/* SPDX-License-Identifier: Apache-2.0 */
/* What the sandbox has to know of a machine: what it has, and how it ends. */
#include <errno.h>
#include <stdlib.h>

#include "vmm/console.h"
#include "vmm/machine_state.h"

/* On whatever thread the violation was. The terminal would stay raw otherwise. */
static void at_end(void *context)
{
	console_stop(context);
}

static int take_inherited(const struct machine *machine, int **fds, size_t *count, struct error *err)
{
	*count = 0;
	*fds = calloc(machine->backend_count + 1, sizeof(**fds));
	if (*fds == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory while building the machine");
	for (size_t i = 0; i < machine->backend_count; i++) {
		if (machine->backends[i].source.inherited > 0)
			(*fds)[(*count)++] = machine->backends[i].source.inherited;
	}
	return 0;
}

int machine_enter_sandbox(struct machine *machine, struct error *err)
{
	const struct config *config = machine->board->config;
	struct sandbox_options options = {
		.mode = config->sandbox,
		.log = machine->log,
		.at_end = at_end,
		.context = machine->console,
	};
	int *inherited, code;

	code = take_inherited(machine, &inherited, &options.inherited_count, err);
	if (code < 0)
		return code;
	options.inherited = inherited;
	if (machine->control != NULL) {
		options.needs |= SANDBOX_CONTROL;
		if (machine->control->folder >= 0)
			options.folder = &machine->control->folder;
	}
	if (machine_writes_metrics(machine))
		options.needs |= SANDBOX_METRICS;
	if (machine_has_plain_disk(machine))
		options.needs |= SANDBOX_PLAIN_IO;
	for (size_t i = 0; i < config->device_count; i++)
		options.needs |= 1u << config->devices[i].kind;
	code = sandbox_enter(&machine->sandbox, &options, err);
	free(inherited);
	return code;
}
