/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line under libFuzzer: the input is split at its zero bytes into argv, parsed, and checked as a machine. What must hold
 * beyond "no crash": a failure has a text of one line and a status of the user's, and a machine that passed keeps config.h's promises.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/options.h"

enum { WORDS_MAX = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(const struct error *err)
{
	assert(err->text[0] != '\0');
	assert(strchr(err->text, '\n') == NULL);
	assert(err->status == EXIT_STATUS_USAGE || err->status == EXIT_STATUS_CONFIG ||
	       err->status == EXIT_STATUS_HOST);
}

static void check_config(const struct config *config)
{
	size_t nodes = config->node_count;

	assert(config->mem_count > 0 && config->cpu_count > 0 && nodes > 0 && nodes <= NODES_MAX);
	for (uint32_t cpu = 0; cpu < config->cpu_count; cpu++)
		assert(config->cpu_nodes[cpu] < nodes);
	for (size_t i = 0; i < config->mem_count; i++)
		assert(config->mem[i].size > 0 && config->mem[i].node < nodes);
	for (size_t i = 0; i < config->spm_count; i++)
		assert(config->spm[i].size > 0 && config->spm[i].node < nodes);
	for (size_t i = 0; i < nodes * nodes; i++)
		assert(i % (nodes + 1) == 0 ? config->distances[i] == 10
					    : config->distances[i] > 10 && config->distances[i] < 255);
	assert(config->cpu_node_count > 0 && config->cpu_node_count <= config->initiator_count &&
	       config->initiator_count <= nodes);
	for (int kind = 0; config->figures[0] != NULL && kind < ACPI_FIGURES; kind++)
		assert(acpi_figure_unit(config->figures[kind], nodes * config->initiator_count) != 0);
	for (size_t i = 0; i < config->accel_count; i++)
		assert(config->accels[i].node < config->initiator_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char name[] = "spmvm";
	char *words = calloc(size + 1, 1);
	char *argv[WORDS_MAX + 1] = {name};
	struct options options;
	struct error err = {0};
	int argc = 1;

	if (words == NULL)
		return 0;
	if (size > 0)
		memcpy(words, data, size);
	for (char *at = words; at < words + size && argc < WORDS_MAX; at += strlen(at) + 1)
		argv[argc++] = at;
	if (options_parse(&options, argc, argv, &err) < 0) {
		check_error(&err);
	} else {
		struct config config;

		if (config_from(&config, &options.raw, &err) < 0) {
			check_error(&err);
		} else {
			check_config(&config);
			config_release(&config);
		}
		options_release(&options);
	}
	free(words);
	return 0;
}
