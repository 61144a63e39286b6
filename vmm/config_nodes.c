/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config_nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/parse.h"
#include "vmm/config_host.h"

/* ACPI 6.5 §5.2.17: 0 to 9 are reserved, 10 is local, 255 means that the other node cannot be reached. */
enum { DISTANCE_REMOTE_MIN = 11, DISTANCE_REMOTE_MAX = 254 };

/* Stands for "in no node yet". */
enum { NODE_NONE = NODES_MAX };

static bool numa_has_cpu(const struct raw_numa *numa, uint32_t cpu)
{
	return (numa->cpus.words[cpu / 64] >> (cpu % 64) & 1) != 0;
}

static int place_one(struct config *config, const struct raw_numa *numa, uint32_t cpu, struct error *err)
{
	if (cpu >= config->cpu_count)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "--numa %s: CPU %" PRIu32 " does not exist: CPUs are 0 to %" PRIu32
				 "; list fewer or give more with --cpus",
				 numa->argument, cpu, config->cpu_count - 1);
	if (config->cpu_nodes[cpu] != NODE_NONE)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "--numa %s: CPU %" PRIu32 " is in node %" PRIu32
				 " already and cannot be in node %" PRIu32 " too; list it once",
				 numa->argument, cpu, config->cpu_nodes[cpu], numa->node);
	config->cpu_nodes[cpu] = numa->node;
	return 0;
}

int config_place_cpus(struct config *config, const struct config_raw *raw, struct error *err)
{
	config->cpu_count = raw->cpus != 0 ? raw->cpus : 1;
	if (config->cpu_count > CONFIG_CPUS_MAX)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL, "--cpus %" PRIu32 ": use 1 to %u", config->cpu_count,
				 CONFIG_CPUS_MAX);
	config->cpu_nodes = calloc(config->cpu_count, sizeof(*config->cpu_nodes));
	if (config->cpu_nodes == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the machine's description");
	if (raw->numa_count == 0)
		return 0;
	for (uint32_t cpu = 0; cpu < config->cpu_count; cpu++)
		config->cpu_nodes[cpu] = NODE_NONE;
	for (size_t i = 0; i < raw->numa_count; i++) {
		if (raw->numa[i].node >= NODES_MAX)
			return error_set(err, EXIT_STATUS_CONFIG, ERANGE,
					 "--numa %s: node %" PRIu32 " is out of range; use 0 to %d",
					 raw->numa[i].argument, raw->numa[i].node, NODES_MAX - 1);
		for (uint32_t cpu = 0; cpu < 256; cpu++) {
			int code = 0;

			if (numa_has_cpu(&raw->numa[i], cpu))
				code = place_one(config, &raw->numa[i], cpu, err);
			if (code < 0)
				return code;
		}
	}
	for (uint32_t cpu = 0; cpu < config->cpu_count; cpu++) {
		if (config->cpu_nodes[cpu] == NODE_NONE)
			return error_set(
				err, EXIT_STATUS_CONFIG, EINVAL,
				"CPU %" PRIu32 " of 0 to %" PRIu32
				" is in no node: with --numa every CPU needs one; add --numa node=N,cpus=%" PRIu32,
				cpu, config->cpu_count - 1, cpu);
	}
	return 0;
}

/* What is on which node. */
struct occupancy {
	struct node_set cpus, accels, memory;
	uint32_t highest;
};

static void occupy(struct node_set *set, struct occupancy *occupancy, uint32_t node)
{
	node_set_add(set, node);
	if (node > occupancy->highest)
		occupancy->highest = node;
}

/*
 * Linux numbers its nodes in the order in which it meets them in SRAT, processors first: CPU 0 must be in node 0, and the first CPU of each
 * node must come after the first of the node before it.
 */
static int check_cpu_order(const struct config *config, struct error *err)
{
	uint32_t next = 0;

	for (uint32_t cpu = 0; cpu < config->cpu_count; cpu++) {
		uint32_t node = config->cpu_nodes[cpu];

		if (node > next)
			return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
					 "--numa: CPU %" PRIu32 " is in node %" PRIu32
					 " before any CPU is in node %" PRIu32
					 ": Linux numbers nodes in the order of their first CPUs, so the guest's "
					 "numbers would differ; exchange %" PRIu32 " and %" PRIu32,
					 cpu, node, next, next, node);
		if (node == next)
			next++;
	}
	return 0;
}

/* The kinds of nodes in the order in which Linux numbers them. */
enum node_kind { NODE_WITH_CPUS, NODE_WITH_ACCELS, NODE_OF_MEMORY, NODE_OF_NOTHING };

static enum node_kind kind_of(const struct occupancy *is, uint32_t node)
{
	if (node_set_has(&is->cpus, node))
		return NODE_WITH_CPUS;
	if (node_set_has(&is->accels, node))
		return NODE_WITH_ACCELS;
	return node_set_has(&is->memory, node) ? NODE_OF_MEMORY : NODE_OF_NOTHING;
}

int config_number_nodes(struct config *config, struct error *err)
{
	static const char *const KINDS[] = {"CPUs", "accelerators", "memory"};
	struct occupancy is = {0};

	for (uint32_t cpu = 0; cpu < config->cpu_count; cpu++)
		occupy(&is.cpus, &is, config->cpu_nodes[cpu]);
	for (size_t i = 0; i < config->accel_count; i++)
		occupy(&is.accels, &is, config->accels[i].node);
	for (size_t i = 0; i < config->mem_count; i++)
		occupy(&is.memory, &is, config->mem[i].node);
	for (size_t i = 0; i < config->spm_count; i++)
		occupy(&is.memory, &is, config->spm[i].node);
	for (uint32_t node = 0; node <= is.highest; node++) {
		enum node_kind kind = kind_of(&is, node);
		uint32_t first = 0; /* of a kind that should come behind this one */

		if (kind == NODE_OF_NOTHING)
			return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
					 "node %" PRIu32
					 " has neither CPUs nor memory: nodes are numbered without gaps, and node "
					 "%" PRIu32 " is in use; give node %" PRIu32
					 " something or lower the numbers above it",
					 node, is.highest, node);
		while (first < node && kind_of(&is, first) <= kind)
			first++;
		if (first < node)
			return error_set(
				err, EXIT_STATUS_CONFIG, EINVAL,
				"node %" PRIu32 " has no %s but node %" PRIu32
				" has: Linux numbers nodes with %s first, so the guest's numbers would differ; "
				"exchange %" PRIu32 " and %" PRIu32,
				first, KINDS[kind], node,
				kind == NODE_WITH_CPUS ? "CPUs" : "CPUs, then those with accelerators,", first, node);
		config->cpu_node_count += kind == NODE_WITH_CPUS;
		config->initiator_count += kind <= NODE_WITH_ACCELS;
	}
	config->node_count = is.highest + 1;
	return check_cpu_order(config, err);
}

static int by_node(const void *a, const void *b)
{
	const struct config_accel *one = a, *other = b;

	if (one->node != other->node)
		return one->node < other->node ? -1 : 1;
	return strcmp(one->id, other->id);
}

static int place_accel(struct config *config, const struct raw_accel *raw, struct error *err)
{
	struct config_accel *accel = &config->accels[config->accel_count];
	const struct config_memory *block = NULL;

	for (size_t i = 0; i < config->accel_count; i++) {
		if (strcmp(config->accels[i].id, raw->id) == 0)
			return error_set(err, EXIT_STATUS_CONFIG, EEXIST,
					 "--accel %s: another --accel has the id '%s'; use another one", raw->argument,
					 raw->id);
	}
	for (size_t i = 0; i < config->spm_count; i++) {
		if (strcmp(config->spm[i].id, raw->block) == 0)
			block = &config->spm[i];
	}
	if (raw->block[0] != '\0' && block == NULL)
		return error_set(err, EXIT_STATUS_CONFIG, ENOENT,
				 "--accel %s: no --spm has the id '%s'; name a block as its id= does", raw->argument,
				 raw->block);
	if (!raw->has_node && block == NULL)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "--accel %s: it is in no node; add node=N or node-of=SPM_ID", raw->argument);
	if (raw->has_node && raw->node >= NODES_MAX)
		return error_set(err, EXIT_STATUS_CONFIG, ERANGE,
				 "--accel %s: node %" PRIu32 " is out of range; use 0 to %d", raw->argument, raw->node,
				 NODES_MAX - 1);
	snprintf(accel->id, sizeof(accel->id), "%s", raw->id);
	accel->node = block != NULL && !raw->has_node ? block->node : raw->node;
	if (block != NULL) {
		accel->has_block = true;
		accel->block_node = block->node;
	}
	config->accel_count++;
	return 0;
}

int config_place_accels(struct config *config, const struct config_raw *raw, struct error *err)
{
	int code = 0;

	if (raw->accel_count == 0)
		return 0;
	config->accels = calloc(raw->accel_count, sizeof(*config->accels));
	if (config->accels == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the machine's description");
	for (size_t i = 0; code == 0 && i < raw->accel_count; i++)
		code = place_accel(config, &raw->accels[i], err);
	qsort(config->accels, config->accel_count, sizeof(*config->accels), by_node);
	return code;
}

/* Text for whatever else is on the node of a block: a CPU, RAM, or another block. Empty when the block is alone. */
struct owner {
	char text[CONFIG_ID_MAX + 64];
};

static struct owner other_owner(const struct config *config, const struct config_memory *block)
{
	struct owner owner = {""};

	for (size_t i = 0; i < config->mem_count; i++) {
		if (config->mem[i].node == block->node) {
			snprintf(owner.text, sizeof(owner.text), "%s (%s of RAM)", config->mem[i].option,
				 size_text(config->mem[i].size).text);
			return owner;
		}
	}
	for (uint32_t cpu = 0; cpu < config->cpu_count; cpu++) {
		if (config->cpu_nodes[cpu] == block->node) {
			snprintf(owner.text, sizeof(owner.text), "CPU %" PRIu32, cpu);
			return owner;
		}
	}
	for (size_t i = 0; i < config->spm_count; i++) {
		if (&config->spm[i] != block && config->spm[i].node == block->node) {
			snprintf(owner.text, sizeof(owner.text), "%s", config->spm[i].option);
			return owner;
		}
	}
	return owner;
}

int config_check_sharing(struct config *config, struct error *err)
{
	struct node_set warned = {{0}};

	for (size_t i = 0; i < config->spm_count; i++) {
		const struct config_memory *block = &config->spm[i];
		struct owner owner = other_owner(config, block);

		if (owner.text[0] != '\0' && !block->mixed)
			return error_set(
				err, EXIT_STATUS_CONFIG, EINVAL,
				"%s: node %" PRIu32
				" has %s already, and figures and drivers tell blocks apart by node; use a node "
				"of its own or add mixed=on to each block there",
				block->option, block->node, owner.text);
	}
	for (size_t i = 0; i < config->spm_count; i++) {
		const struct config_memory *block = &config->spm[i];
		struct owner owner = other_owner(config, block);
		int code;

		if (owner.text[0] == '\0' || node_set_has(&warned, block->node))
			continue;
		node_set_add(&warned, block->node);
		code = config_warn(
			config, err,
			"node %" PRIu32 " is shared by %s and %s (mixed=on): the guest cannot tell their "
			"performance apart, and a driver that looks for its block by node finds more than one",
			block->node, block->option, owner.text);
		if (code < 0)
			return code;
	}
	return 0;
}

static int check_distance(const struct config *config, const struct raw_distance *distance, struct error *err)
{
	uint32_t unknown = distance->from >= config->node_count ? distance->from : distance->to;
	bool is_local = distance->from == distance->to;

	if (unknown >= config->node_count)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "--distance %s: node %" PRIu32 " does not exist: nodes are 0 to %" PRIu32
				 "; nodes come from --mem, --spm and --numa",
				 distance->argument, unknown, config->node_count - 1);
	if (is_local && distance->distance != CONFIG_DISTANCE_LOCAL)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "--distance %s: a node is at distance %u of itself; leave the option out",
				 distance->argument, CONFIG_DISTANCE_LOCAL);
	if (!is_local && (distance->distance < DISTANCE_REMOTE_MIN || distance->distance > DISTANCE_REMOTE_MAX))
		return error_set(
			err, EXIT_STATUS_CONFIG, EINVAL,
			"--distance %s: %u is not a distance between two nodes (10 is local, 255 unreachable); use %d "
			"to %d",
			distance->argument, distance->distance, DISTANCE_REMOTE_MIN, DISTANCE_REMOTE_MAX);
	return 0;
}

/* Enters what was given; 0 stays where nothing was. */
static int enter_distances(struct config *config, const struct config_raw *raw, struct error *err)
{
	for (size_t i = 0; i < raw->distance_count; i++) {
		const struct raw_distance *distance = &raw->distances[i];
		int code = check_distance(config, distance, err);
		uint8_t *entry;

		if (code < 0)
			return code;
		entry = &config->distances[(size_t)distance->from * config->node_count + distance->to];
		if (*entry != 0 && *entry != distance->distance)
			return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
					 "--distance %s: another --distance says %u for the same direction; keep one",
					 distance->argument, *entry);
		*entry = distance->distance;
	}
	return 0;
}

int config_fill_distances(struct config *config, const struct config_raw *raw, struct error *err)
{
	size_t count = config->node_count;
	int code;

	config->distances = calloc(count * count, 1);
	if (config->distances == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the machine's description");
	code = enter_distances(config, raw, err);
	if (code == 0 && raw->host_distances)
		code = config_enter_host_distances(config, raw, err);
	if (code < 0)
		return code;
	for (size_t from = 0; from < count; from++) {
		config->distances[from * count + from] = CONFIG_DISTANCE_LOCAL;
		for (size_t to = from + 1; to < count; to++) {
			uint8_t *there = &config->distances[from * count + to];
			uint8_t *back = &config->distances[to * count + from];

			if (*there == 0)
				*there = *back != 0 ? *back : CONFIG_DISTANCE_DEFAULT;
			if (*back == 0)
				*back = *there;
		}
	}
	return 0;
}
