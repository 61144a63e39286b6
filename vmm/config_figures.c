/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config_figures.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/parse.h"
#include "vmm/base/range.h"
#include "vmm/config_host.h"
#include "vmm/config_nodes.h"

static bool is_latency(enum acpi_figure kind)
{
	return kind <= ACPI_WRITE_LATENCY;
}

const char *figure_name(enum acpi_figure kind)
{
	static const char *const NAMES[ACPI_FIGURES] = {"read-latency", "write-latency", "read-bandwidth",
							"write-bandwidth"};

	return NAMES[kind];
}

struct figure_text figure_text(enum acpi_figure kind, uint32_t figure)
{
	struct figure_text it;

	if (!is_latency(kind))
		snprintf(it.text, sizeof(it.text), "%s", size_text(figure * MIB).text);
	else if (figure % 1000 == 0)
		snprintf(it.text, sizeof(it.text), "%" PRIu32 "ns", figure / 1000);
	else
		snprintf(it.text, sizeof(it.text), "%" PRIu32 "ps", figure);
	return it;
}

static uint32_t *figure_at(struct config *config, int kind, uint32_t from, uint32_t to)
{
	return &config->figures[kind][(size_t)from * config->node_count + to];
}

static size_t memory_count(const struct config *config)
{
	return config->mem_count + config->spm_count;
}

static const struct config_memory *memory_at(const struct config *config, size_t i)
{
	return i < config->mem_count ? &config->mem[i] : &config->spm[i - config->mem_count];
}

static const struct config_memory *memory_of_node(const struct config *config, uint32_t node)
{
	for (size_t i = 0; i < memory_count(config); i++) {
		if (memory_at(config, i)->node == node)
			return memory_at(config, i);
	}
	return NULL;
}

static bool has_any(const uint32_t *figures)
{
	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		if (figures[kind] != 0)
			return true;
	}
	return false;
}

static bool is_wanted(const struct config *config, const struct config_raw *raw)
{
	for (size_t i = 0; i < memory_count(config); i++) {
		if (has_any(memory_at(config, i)->figures) || memory_at(config, i)->cache.size != 0)
			return true;
	}
	return raw->perf_count > 0 || raw->hmat == HMAT_HOST || raw->measured != NULL;
}

/* What --mem and --spm say holds from every node with CPUs. */
static int enter_memory(struct config *config, const struct config_memory *memory, struct error *err)
{
	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		for (uint32_t from = 0; memory->figures[kind] != 0 && from < config->cpu_node_count; from++) {
			uint32_t *entry = figure_at(config, kind, from, memory->node);

			if (*entry != 0 && *entry != memory->figures[kind])
				return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
						 "%s: %s=%s, but other memory of node %" PRIu32
						 " has %s: figures belong to nodes; say it once or use another node",
						 memory->option, figure_name((enum acpi_figure)kind),
						 figure_text((enum acpi_figure)kind, memory->figures[kind]).text,
						 memory->node, figure_text((enum acpi_figure)kind, *entry).text);
			*entry = memory->figures[kind];
		}
	}
	return 0;
}

static int check_perf(const struct config *config, const struct raw_perf *perf, struct error *err)
{
	uint32_t unknown = perf->from >= config->node_count ? perf->from : perf->to;

	if (unknown >= config->node_count)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "--perf %s: node %" PRIu32 " does not exist: nodes are 0 to %" PRIu32
				 "; nodes come from --mem, --spm, --numa and --accel",
				 perf->argument, unknown, config->node_count - 1);
	if (perf->from >= config->initiator_count)
		return error_set(
			err, EXIT_STATUS_CONFIG, EINVAL,
			"--perf %s: node %" PRIu32
			" has neither CPUs nor an accelerator, so nothing there uses memory; use a node from 0 "
			"to %" PRIu32 " or add --accel",
			perf->argument, perf->from, config->initiator_count - 1);
	if (memory_of_node(config, perf->to) == NULL)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "--perf %s: node %" PRIu32 " has no memory; use one that --mem or --spm names",
				 perf->argument, perf->to);
	return 0;
}

/* --perf is more precise than what the memory's own option says; two for a pair must agree. */
static int enter_perfs(struct config *config, const struct config_raw *raw, struct error *err)
{
	for (size_t i = 0; i < raw->perf_count; i++) {
		const struct raw_perf *perf = &raw->perfs[i];
		int code = check_perf(config, perf, err);

		if (code < 0)
			return code;
		for (int kind = 0; kind < ACPI_FIGURES; kind++) {
			uint32_t figure = perf->figures[kind];

			for (size_t j = 0; figure != 0 && j < i; j++) {
				const struct raw_perf *other = &raw->perfs[j];

				if (other->from == perf->from && other->to == perf->to && other->figures[kind] != 0 &&
				    other->figures[kind] != figure)
					return error_set(
						err, EXIT_STATUS_CONFIG, EINVAL,
						"--perf %s: another --perf says %s=%s for the same nodes; keep one",
						perf->argument, figure_name((enum acpi_figure)kind),
						figure_text((enum acpi_figure)kind, other->figures[kind]).text);
			}
			if (figure != 0)
				*figure_at(config, kind, perf->from, perf->to) = figure;
		}
	}
	return 0;
}

/*
 * RAM of which nothing is said. Linux's memory tiers measure all memory by the nodes that have CPUs and RAM, and use no
 * figures when those have none. A distance is a latency in units of a tenth of the local one (ACPI 6.5 §5.2.17).
 */
static void complete_ram(struct config *config)
{
	for (size_t i = 0; i < config->mem_count; i++) {
		uint32_t to = config->mem[i].node;

		for (uint32_t from = 0; from < config->cpu_node_count; from++) {
			uint32_t distance = config->distances[(size_t)from * config->node_count + to];

			for (int kind = 0; kind < ACPI_FIGURES; kind++) {
				uint32_t *entry = figure_at(config, kind, from, to);

				if (*entry == 0)
					*entry = is_latency((enum acpi_figure)kind) ? distance * CONFIG_RAM_LATENCY_STEP
										    : CONFIG_RAM_BANDWIDTH;
			}
		}
	}
}

/*
 * The finest step, of those that a person would choose, in which largest can still be told: 1, 2, 5, 10 ... ps; 1, 2, 4
 * ... MB/s.
 */
static uint64_t step_for(enum acpi_figure kind, uint32_t largest)
{
	uint64_t step = 1;

	for (unsigned i = 0; step * ACPI_ENTRY_MAX < largest; i++)
		step = is_latency(kind) && i % 3 == 1 ? step / 2 * 5 : step * 2;
	return step;
}

/* One unit for all of a kind. When there is none, some figure is no multiple of the step that the largest leaves. */
static int check_unit(const struct config *config, enum acpi_figure kind, struct error *err)
{
	const uint32_t *figures = config->figures[kind];
	size_t count = (size_t)config->initiator_count * config->node_count, odd = 0;
	uint32_t largest = 0;
	uint64_t step;

	if (acpi_figure_unit(figures, count) != 0)
		return 0;
	for (size_t i = 0; i < count; i++)
		largest = figures[i] > largest ? figures[i] : largest;
	step = step_for(kind, largest);
	while (odd + 1 < count && figures[odd] % step == 0)
		odd++;
	return error_set(
		err, EXIT_STATUS_CONFIG, ERANGE,
		"%s=%s of node %zu is no multiple of %s: beside the largest, %s, HMAT's 16 bits tell steps of that; "
		"round it, or lower the largest",
		figure_name(kind), figure_text(kind, figures[odd]).text, odd % config->node_count,
		figure_text(kind, (uint32_t)step).text, figure_text(kind, largest).text);
}

/* What the options say is exact or refused; what the host says or was completed is rounded down where it must be. */
static void round_kind(const struct config *config, enum acpi_figure kind, const uint32_t *given)
{
	size_t count = (size_t)config->initiator_count * config->node_count;
	uint32_t *figures = config->figures[kind], largest = 0;
	uint64_t step;

	if (acpi_figure_unit(figures, count) != 0)
		return;
	for (size_t i = 0; i < count; i++)
		largest = figures[i] > largest ? figures[i] : largest;
	step = step_for(kind, largest);
	for (size_t i = 0; i < count; i++) {
		uint64_t rounded = figures[i] - figures[i] % step;

		if (given[i] == 0 && figures[i] != 0)
			figures[i] = (uint32_t)(rounded != 0 ? rounded : step); /* 0 would be "not known" */
	}
}

/* Figures that no option gives: of the host, and RAM's. */
static int complete(struct config *config, const struct config_raw *raw, struct error *err)
{
	size_t count = (size_t)config->initiator_count * config->node_count;
	uint32_t *given = calloc(count, ACPI_FIGURES * sizeof(*given));
	int code;

	if (given == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the machine's description");
	for (size_t kind = 0; kind < ACPI_FIGURES; kind++)
		memcpy(&given[kind * count], config->figures[kind], count * sizeof(*given));
	code = config_enter_host_figures(config, raw, err);
	if (code == 0)
		complete_ram(config);
	for (size_t kind = 0; code == 0 && raw->hmat != HMAT_GIVEN && kind < ACPI_FIGURES; kind++)
		round_kind(config, (enum acpi_figure)kind, &given[kind * count]);
	free(given);
	return code;
}

/* One cache a node: it lies before all of the node's memory. */
static int check_caches(const struct config *config, struct error *err)
{
	struct node_set seen = {{0}};

	for (size_t i = 0; i < memory_count(config); i++) {
		const struct config_memory *memory = memory_at(config, i);

		if (memory->cache.size == 0)
			continue;
		if (node_set_has(&seen, memory->node))
			return error_set(err, EXIT_STATUS_CONFIG, EEXIST,
					 "%s: node %" PRIu32
					 " has a cache already: it lies before all memory of a node; give it once",
					 memory->option, memory->node);
		node_set_add(&seen, memory->node);
	}
	return 0;
}

/* Whether any CPU has a figure of one of two kinds for the node. */
static bool is_known(struct config *config, int kind, int other, uint32_t node)
{
	for (uint32_t from = 0; from < config->cpu_node_count; from++) {
		if (*figure_at(config, kind, from, node) != 0 || *figure_at(config, other, from, node) != 0)
			return true;
	}
	return false;
}

static int warn_of_half(struct config *config, struct error *err)
{
	int code = 0;

	for (size_t i = 0; code == 0 && i < config->spm_count; i++) {
		const struct config_memory *block = &config->spm[i];
		bool latency = is_known(config, ACPI_READ_LATENCY, ACPI_WRITE_LATENCY, block->node);
		bool bandwidth = is_known(config, ACPI_READ_BANDWIDTH, ACPI_WRITE_BANDWIDTH, block->node);

		if (latency != bandwidth)
			code = config_warn(config, err,
					   "%s: a %s without a %s: Linux's memory tiers need both and take it for slow "
					   "memory; add %s=",
					   block->option, latency ? "latency" : "bandwidth",
					   latency ? "bandwidth" : "latency", latency ? "bandwidth" : "latency");
	}
	return code;
}

/*
 * mm/memory-tiers.c measures by the first node with CPUs and RAM, and gives up when another one differs by more than a
 * tenth.
 */
static int warn_of_unequal_ram(struct config *config, struct error *err)
{
	const struct config_memory *first = NULL;

	for (uint32_t node = 0; node < config->cpu_node_count; node++) {
		const struct config_memory *memory = memory_of_node(config, node);

		if (memory == NULL)
			continue;
		if (first == NULL)
			first = memory;
		for (int kind = 0; kind < ACPI_FIGURES; kind++) {
			uint64_t one = *figure_at(config, kind, first->node, first->node);
			uint64_t other = *figure_at(config, kind, node, node);

			if ((one > other ? one - other : other - one) * 10 > one)
				return config_warn(
					config, err,
					"%s and %s: their %s differs by more than a tenth, and Linux's memory "
					"tiers then use no figures at all; bring them together",
					first->option, memory->option, figure_name((enum acpi_figure)kind));
		}
	}
	return 0;
}

int config_fill_figures(struct config *config, const struct config_raw *raw, struct error *err)
{
	size_t count = (size_t)config->initiator_count * config->node_count;
	int code = 0;

	if (raw->hmat == HMAT_MEASURE && raw->measured == NULL)
		code = config_warn(
			config, err,
			"--hmat measure: the figures are measured at the start; here are only those that are "
			"given");
	if (code < 0 || !is_wanted(config, raw))
		return code;
	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		config->figures[kind] = calloc(count, sizeof(uint32_t));
		if (config->figures[kind] == NULL)
			return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the machine's description");
	}
	for (size_t i = 0; code == 0 && i < memory_count(config); i++)
		code = enter_memory(config, memory_at(config, i), err);
	if (code == 0)
		code = enter_perfs(config, raw, err);
	if (code == 0)
		code = complete(config, raw, err);
	for (int kind = 0; code == 0 && kind < ACPI_FIGURES; kind++)
		code = check_unit(config, (enum acpi_figure)kind, err);
	if (code == 0)
		code = check_caches(config, err);
	if (code == 0)
		code = warn_of_half(config, err);
	if (code == 0)
		code = warn_of_unequal_ram(config, err);
	return code;
}
