/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config_host.h"

#include <errno.h>
#include <inttypes.h>

#include "vmm/config_figures.h"
#include "vmm/config_nodes.h"

enum { DISTANCE_REMOTE_MIN = 11, DISTANCE_REMOTE_MAX = 254 }; /* ACPI 6.5 §5.2.17 */

static size_t memory_count(const struct config *config)
{
	return config->mem_count + config->spm_count;
}

static const struct config_memory *memory_at(const struct config *config, size_t i)
{
	return i < config->mem_count ? &config->mem[i] : &config->spm[i - config->mem_count];
}

/* What is known of where a node's memory comes from. */
struct backing {
	const struct config_memory *memory; /* the node's first; NULL when it has none */
	uint32_t number;                    /* of the host node */
	bool single;                        /* all of the node's memory comes from there */
};

/* The one node of a set; false when there are none or several. */
static bool only_node(const struct node_set *set, uint32_t *number)
{
	unsigned count = 0;

	for (uint32_t node = 0; node < NODES_MAX; node++) {
		if (node_set_has(set, node)) {
			*number = node;
			count++;
		}
	}
	return count == 1;
}

static struct backing backing_of(const struct config *config, const struct host_nodes *host, uint32_t node)
{
	struct backing it = {.single = true};

	for (size_t i = 0; i < memory_count(config); i++) {
		const struct config_memory *memory = memory_at(config, i);
		uint32_t number = 0;

		if (memory->node != node)
			continue;
		if (memory->source.policy == HOST_POLICY_DEFAULT && host->count == 1)
			number = host->nodes[0].number;
		else if (!only_node(&memory->source.host_nodes, &number))
			it.single = false;
		if (it.memory == NULL) {
			it.memory = memory;
			it.number = number;
		}
		it.single = it.single && number == it.number;
	}
	it.single = it.single && it.memory != NULL;
	return it;
}

const struct host_node *config_host_node(const struct config *config, const struct host_nodes *host, uint32_t node)
{
	struct backing backing = backing_of(config, host, node);

	return backing.single ? host_nodes_find(host, backing.number) : NULL;
}

static int check_host(const struct host_nodes *host, const char *option, const char *remedy, struct error *err)
{
	if (host != NULL && host->count > 0)
		return 0;
	return error_set(err, EXIT_STATUS_HOST, ENODEV,
			 "%s: this host's kernel shows no NUMA nodes in /sys/devices/system/node; %s instead", option,
			 remedy);
}

static int not_online(const char *option, const struct backing *backing, struct error *err)
{
	return error_set(err, EXIT_STATUS_HOST, ENODEV,
			 "%s: %s: this host has no node %" PRIu32
			 "; look at /sys/devices/system/node/online and use another host-nodes=",
			 option, backing->memory->option, backing->number);
}

/* ------------------------------------------------------------------------------------------------------ distances */

static uint8_t *distance_at(struct config *config, uint32_t from, uint32_t to)
{
	return &config->distances[(size_t)from * config->node_count + to];
}

static bool is_given(struct config *config, uint32_t a, uint32_t b)
{
	return *distance_at(config, a, b) != 0 || *distance_at(config, b, a) != 0;
}

static int enter_distance(struct config *config, const struct host_nodes *host, uint32_t from, uint32_t to,
			  struct error *err)
{
	const struct host_node *here = config_host_node(config, host, from);
	const struct host_node *there = config_host_node(config, host, to);
	uint8_t distance = host_nodes_distance(host, here, there);

	if (distance == 0)
		return error_set(err, EXIT_STATUS_HOST, ENODATA,
				 "--distance host: /sys/devices/system/node/node%" PRIu32
				 "/distance does not say how far the host's nodes are; give --distance %" PRIu32
				 ":%" PRIu32 "=DISTANCE instead",
				 here->number, from, to);
	/* two nodes of the guest on one of the host's: as close as different nodes can be */
	if (distance < DISTANCE_REMOTE_MIN)
		distance = DISTANCE_REMOTE_MIN;
	if (distance > DISTANCE_REMOTE_MAX)
		distance = DISTANCE_REMOTE_MAX;
	*distance_at(config, from, to) = distance;
	return 0;
}

/* A node from which some distance is still open needs a host node behind it. */
static int check_backing(struct config *config, const struct host_nodes *host, uint32_t node, struct error *err)
{
	struct backing backing = backing_of(config, host, node);
	bool open = false;

	for (uint32_t other = 0; other < config->node_count; other++)
		open = open || (other != node && !is_given(config, node, other));
	if (!open)
		return 0;
	if (backing.single)
		return host_nodes_find(host, backing.number) != NULL ? 0 : not_online("--distance host", &backing, err);
	if (backing.memory == NULL)
		return config_warn(config, err,
				   "--distance host: node %" PRIu32 " has no memory, so no host node is behind it and "
				   "its distances are %u; give them with --distance %" PRIu32 ":N=DISTANCE",
				   node, CONFIG_DISTANCE_DEFAULT, node);
	return config_warn(config, err,
			   "--distance host: the memory of node %" PRIu32
			   " may come from more than one host node, so its distances are %u; add host-nodes=N to %s",
			   node, CONFIG_DISTANCE_DEFAULT, backing.memory->option);
}

int config_enter_host_distances(struct config *config, const struct config_raw *raw, struct error *err)
{
	const struct host_nodes *host = raw->host;
	int code = check_host(host, "--distance host", "give --distance FROM:TO=DISTANCE", err);

	for (uint32_t node = 0; code == 0 && node < config->node_count; node++)
		code = check_backing(config, host, node, err);
	for (uint32_t from = 0; code == 0 && from < config->node_count; from++) {
		if (config_host_node(config, host, from) == NULL)
			continue;
		for (uint32_t to = from + 1; code == 0 && to < config->node_count; to++) {
			if (is_given(config, from, to) || config_host_node(config, host, to) == NULL)
				continue;
			code = enter_distance(config, host, from, to, err);
			if (code == 0)
				code = enter_distance(config, host, to, from, err);
		}
	}
	return code;
}

/* -------------------------------------------------------------------------------------------------------- figures */

static uint32_t *figure_at(struct config *config, int kind, uint32_t from, uint32_t to)
{
	return &config->figures[kind][(size_t)from * config->node_count + to];
}

static void enter_figures(struct config *config, uint32_t from, uint32_t to, const uint32_t figures[ACPI_FIGURES])
{
	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		uint32_t *entry = figure_at(config, kind, from, to);

		if (*entry == 0)
			*entry = figures[kind];
	}
}

/* Whether some figure from a CPU to the node is still open. */
static bool is_open(struct config *config, uint32_t node)
{
	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		for (uint32_t from = 0; from < config->cpu_node_count; from++) {
			if (*figure_at(config, kind, from, node) == 0)
				return true;
		}
	}
	return false;
}

/* Nothing of the host for a node: a block without is not what was asked for, RAM gets figures from its distances. */
static int lack(struct config *config, const struct backing *backing, const struct host_node *node, struct error *err)
{
	const struct config_memory *memory = backing->memory;
	bool is_block = memory >= config->spm && memory < config->spm + config->spm_count;
	const char *ram = is_block ? "" : ", so its figures come from its distances";

	if (node != NULL && is_block)
		return error_set(err, EXIT_STATUS_HOST, ENODATA,
				 "--hmat host: %s: the host does not say how fast its node %" PRIu32
				 " is (/sys/devices/system/node/node%" PRIu32
				 "/access0/initiators/read_latency and others); use --hmat measure, or give latency= "
				 "and bandwidth=",
				 memory->option, node->number, node->number);
	if (node != NULL)
		return config_warn(config, err,
				   "--hmat host: %s: the host does not say how fast its node %" PRIu32 " is%s",
				   memory->option, node->number, ram);
	if (is_block)
		return error_set(err, EXIT_STATUS_HOST, ENODATA,
				 "--hmat host: %s may come from more than one host node; add host-nodes=N, use --hmat "
				 "measure, or give latency= and bandwidth=",
				 memory->option);
	return config_warn(config, err,
			   "--hmat host: %s may come from more than one host node%s; add host-nodes=N to it",
			   memory->option, ram);
}

static int enter_node(struct config *config, const struct host_nodes *host, uint32_t node, struct error *err)
{
	struct backing backing = backing_of(config, host, node);
	const struct host_node *behind;

	if (backing.memory == NULL || !is_open(config, node))
		return 0;
	behind = backing.single ? host_nodes_find(host, backing.number) : NULL;
	if (backing.single && behind == NULL)
		return not_online("--hmat host", &backing, err);
	for (uint32_t from = 0; behind != NULL && from < config->cpu_node_count; from++)
		enter_figures(config, from, node, behind->from_cpus);
	for (size_t i = 0; behind != NULL && i < config->accel_count; i++) {
		if (config->accels[i].has_block && config->accels[i].block_node == node)
			enter_figures(config, config->accels[i].node, node, behind->from_any);
	}
	return is_open(config, node) ? lack(config, &backing, behind, err) : 0;
}

/* Memory by memory; what the first of a node has is the node's. */
static void enter_measured(struct config *config, const struct memory_figures *measured)
{
	for (uint32_t from = 0; from < config->cpu_node_count; from++) {
		for (size_t i = 0; i < memory_count(config); i++)
			enter_figures(config, from, memory_at(config, i)->node,
				      measured[from * memory_count(config) + i].figures);
	}
}

int config_enter_host_figures(struct config *config, const struct config_raw *raw, struct error *err)
{
	int code;

	if (raw->hmat == HMAT_GIVEN)
		return 0;
	if (raw->hmat == HMAT_MEASURE) {
		if (raw->measured != NULL)
			enter_measured(config, raw->measured);
		return 0;
	}
	code = check_host(raw->host, "--hmat host", "use --hmat measure, or give latency= and bandwidth=", err);
	for (uint32_t node = 0; code == 0 && node < config->node_count; node++)
		code = enter_node(config, raw->host, node, err);
	return code;
}
