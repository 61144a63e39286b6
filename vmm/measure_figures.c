/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/measure_figures.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/range.h"
#include "vmm/config_figures.h"
#include "vmm/config_host.h"
#include "vmm/memory/measure.h"

static size_t memory_count(const struct config *config)
{
	return config->mem_count + config->spm_count;
}

static const struct config_memory *memory_at(const struct config *config, size_t i)
{
	return i < config->mem_count ? &config->mem[i] : &config->spm[i - config->mem_count];
}

static bool is_given(const struct config_memory *memory)
{
	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		if (memory->figures[kind] == 0)
			return false;
	}
	return true;
}

static bool same_source(const struct config_memory *a, const struct config_memory *b)
{
	return a->source.policy == b->source.policy && a->source.hugetlb == b->source.hugetlb &&
	       memcmp(&a->source.host_nodes, &b->source.host_nodes, sizeof(a->source.host_nodes)) == 0;
}

/* The first memory that is measured and has the same source; i itself when there is none before. */
static size_t first_alike(const struct config *config, size_t i)
{
	size_t first = 0;

	while (first < i &&
	       (is_given(memory_at(config, first)) || !same_source(memory_at(config, first), memory_at(config, i))))
		first++;
	return first;
}

/* The first node with CPUs that has the same host node behind it. */
static uint32_t first_initiator(const struct config *config, const struct host_nodes *host, uint32_t node)
{
	uint32_t first = 0;

	while (first < node && config_host_node(config, host, first) != config_host_node(config, host, node))
		first++;
	return first;
}

static uint32_t in_range(uint64_t figure)
{
	if (figure == 0)
		return 1; /* 0 would be "not known" */
	return figure < UINT32_MAX ? (uint32_t)figure : UINT32_MAX;
}

static struct memory_figures rounded(const struct memory_speed *speed)
{
	uint64_t ns = (speed->latency + 500) / 1000, rates[2] = {speed->read / MIB, speed->write / MIB};
	uint32_t latency = in_range(ns < UINT32_MAX / 1000 ? ns : UINT32_MAX / 1000) * 1000;

	for (int i = 0; i < 2; i++) {
		uint64_t digit = 1;

		while (rates[i] / digit >= 1000)
			digit *= 10;
		rates[i] = (rates[i] + digit / 2) / digit * digit;
	}
	return (struct memory_figures){{latency, latency, in_range(rates[0]), in_range(rates[1])}};
}

static int measure_row(struct memory_figures *row, const struct config *config, const struct host_node *node,
		       const struct log *log, struct error *err)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	if (node != NULL)
		cpus = node->cpus;
	for (size_t i = 0; i < memory_count(config); i++) {
		const struct config_memory *memory = memory_at(config, i);
		size_t alike = first_alike(config, i);
		struct memory_speed speed;
		int code;

		if (is_given(memory))
			continue;
		if (alike < i) {
			row[i] = row[alike];
		} else {
			code = memory_measure(&speed, &memory->source, memory->option, memory->size, &cpus, log, err);
			if (code < 0)
				return code;
			row[i] = rounded(&speed);
		}
	}
	return 0;
}

int measure_figures(struct memory_figures **measured, const struct config *config, const struct host_nodes *host,
		    const struct log *log, struct error *err)
{
	size_t count = memory_count(config);
	struct memory_figures *all = calloc(count * config->cpu_node_count, sizeof(*all));
	int code = 0;

	if (all == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the figures of memory");
	for (uint32_t from = 0; code == 0 && from < config->cpu_node_count; from++) {
		uint32_t alike = first_initiator(config, host, from);

		if (alike < from)
			memcpy(&all[from * count], &all[alike * count], count * sizeof(*all));
		else
			code = measure_row(&all[from * count], config, config_host_node(config, host, from), log, err);
	}
	if (code < 0)
		free(all);
	else
		*measured = all;
	return code;
}

void measure_tell(const struct config *config, const struct host_nodes *host, const struct log *log)
{
	for (uint32_t from = 0; from < config->cpu_node_count; from++) {
		for (size_t i = 0; i < memory_count(config) && first_initiator(config, host, from) == from; i++) {
			const struct config_memory *memory = memory_at(config, i);
			struct figure_text texts[ACPI_FIGURES];

			if (is_given(memory))
				continue;
			for (int kind = 0; kind < ACPI_FIGURES; kind++) {
				size_t pair = (size_t)from * config->node_count + memory->node;

				texts[kind] = figure_text((enum acpi_figure)kind, config->figures[kind][pair]);
			}
			log_info(log, "--hmat measure: %s from node %" PRIu32 ": %s=%s,%s=%s,%s=%s,%s=%s",
				 memory->option, from, figure_name(0), texts[0].text, figure_name(1), texts[1].text,
				 figure_name(2), texts[2].text, figure_name(3), texts[3].text);
		}
	}
}
