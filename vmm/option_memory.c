/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/option_values.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/keyval.h"
#include "vmm/base/parse.h"
#include "vmm/base/range.h"

/* --mem and --spm: KEY=VALUE lists. */

typedef int parse_key(struct raw_memory *memory, struct token value, struct error *err);

struct key {
	const char *name;
	parse_key *parse;
};

static int key_size(struct raw_memory *memory, struct token value, struct error *err)
{
	return parse_size(value, &memory->size, err);
}

static int key_node(struct raw_memory *memory, struct token value, struct error *err)
{
	uint64_t node = 0;
	int code = parse_number(value, 0, NODES_MAX - 1, &node, err);

	memory->node = (uint32_t)node;
	memory->has_node = code == 0;
	return code;
}

static void add_host_node(void *context, uint32_t node)
{
	node_set_add(context, node);
}

static int key_host_nodes(struct raw_memory *memory, struct token value, struct error *err)
{
	return parse_list(value, NODES_MAX - 1, add_host_node, &memory->source.host_nodes, err);
}

static int key_policy(struct raw_memory *memory, struct token value, struct error *err)
{
	if (strcmp(value.text, "bind") == 0)
		memory->source.policy = HOST_POLICY_BIND;
	else if (strcmp(value.text, "preferred") == 0)
		memory->source.policy = HOST_POLICY_PREFERRED;
	else if (strcmp(value.text, "interleave") == 0)
		memory->source.policy = HOST_POLICY_INTERLEAVE;
	else
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "unknown policy '%.40s' (column %zu); use bind, preferred or interleave", value.text,
				 value.column);
	memory->has_policy = true;
	return 0;
}

static int key_hugetlb(struct raw_memory *memory, struct token value, struct error *err)
{
	uint64_t size;
	int code = parse_size(value, &size, err);

	if (code < 0)
		return code;
	if (size != 2 * MIB && size != GIB)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "%.40s is no huge page size of x86-64 (column %zu); use 2M or 1G", value.text,
				 value.column);
	memory->source.hugetlb = size;
	return 0;
}

static int key_prealloc(struct raw_memory *memory, struct token value, struct error *err)
{
	return parse_on_off(value, &memory->source.prealloc, err);
}

static int key_mem_path(struct raw_memory *memory, struct token value, struct error *err)
{
	memory->path = strdup(value.text);
	if (memory->path == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory for the options");
	memory->source.path = memory->path;
	return 0;
}

/* The first three are spmvm's own streams. */
static int key_fd(struct raw_memory *memory, struct token value, struct error *err)
{
	uint64_t fd = 0;
	int code = parse_number(value, 3, INT_MAX, &fd, err);

	memory->source.inherited = (int)fd;
	return code;
}

static int key_cache(struct raw_memory *memory, struct token value, struct error *err)
{
	return parse_size(value, &memory->cache.size, err);
}

/* ACPI 6.5 §5.2.28.5 has sixteen bits for a line. */
static int key_cache_line(struct raw_memory *memory, struct token value, struct error *err)
{
	uint64_t line = 0;
	int code = parse_number(value, 1, UINT16_MAX, &line, err);

	memory->cache.line = (uint32_t)line;
	return code;
}

static int key_cache_mapping(struct raw_memory *memory, struct token value, struct error *err)
{
	memory->cache.complex = strcmp(value.text, "complex") == 0;
	if (!memory->cache.complex && strcmp(value.text, "direct") != 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "unknown mapping '%.40s' (column %zu); use direct or complex", value.text,
				 value.column);
	return 0;
}

static int key_cache_policy(struct raw_memory *memory, struct token value, struct error *err)
{
	memory->cache.write_through = strcmp(value.text, "write-through") == 0;
	if (!memory->cache.write_through && strcmp(value.text, "write-back") != 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "unknown policy '%.40s' (column %zu); use write-back or write-through", value.text,
				 value.column);
	return 0;
}

static int key_address(struct raw_memory *memory, struct token value, struct error *err)
{
	int code = parse_size(value, &memory->address, err);

	memory->has_address = code == 0;
	return code;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Ids stand in memfd names, messages and JSON, so they are made of what needs no quoting anywhere. */
int option_id(char *id, struct token value, struct error *err)
{
	size_t length = strlen(value.text);

	for (size_t i = 0; i < length; i++) {
		char c = value.text[i];

		if (is_letter(c) || (i > 0 && ((c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.')))
			continue;
		return error_set(
			err, EXIT_STATUS_USAGE, EINVAL,
			"'%c' cannot stand here in an id (column %zu); use a letter, then letters, digits, '-', "
			"'_' and '.'",
			c, value.column + i);
	}
	if (length > CONFIG_ID_MAX)
		return error_set(err, EXIT_STATUS_USAGE, ENAMETOOLONG,
				 "the id has %zu characters (column %zu); use at most %u", length, value.column,
				 CONFIG_ID_MAX);
	memcpy(id, value.text, length + 1);
	return 0;
}

static int key_id(struct raw_memory *memory, struct token value, struct error *err)
{
	return option_id(memory->id, value, err);
}

static int key_mixed(struct raw_memory *memory, struct token value, struct error *err)
{
	return parse_on_off(value, &memory->mixed, err);
}

/* The keys of --mem come first, those of --spm alone follow. Both have figures too (option_figure). */
enum { MEM_KEYS = 12 };
static const struct key KEYS[] = {
	{"size", key_size},
	{"node", key_node},
	{"host-nodes", key_host_nodes},
	{"policy", key_policy},
	{"hugetlb", key_hugetlb},
	{"prealloc", key_prealloc},
	{"mem-path", key_mem_path},
	{"fd", key_fd},
	{"cache", key_cache},
	{"cache-line", key_cache_line},
	{"cache-mapping", key_cache_mapping},
	{"cache-policy", key_cache_policy},
	{"addr", key_address},
	{"id", key_id},
	{"mixed", key_mixed},
};
enum { SPM_KEYS = sizeof(KEYS) / sizeof(KEYS[0]) };

static const struct key *find_key(const char *name, size_t key_count)
{
	for (size_t i = 0; i < key_count; i++) {
		if (strcmp(KEYS[i].name, name) == 0)
			return &KEYS[i];
	}
	return NULL;
}

static int unknown_key(struct token key, size_t key_count, struct error *err)
{
	char known[256] = "";

	for (size_t i = 0; i < key_count; i++) {
		size_t used = strlen(known);

		snprintf(known + used, sizeof(known) - used, "%s, ", KEYS[i].name);
	}
	if (find_key(key.text, SPM_KEYS) != NULL)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "'%s' is a key of --spm only (column %zu); use %s" OPTION_FIGURES, key.text,
				 key.column, known);
	return error_set(err, EXIT_STATUS_USAGE, EINVAL, "unknown key '%.40s' (column %zu); use %s" OPTION_FIGURES,
			 key.text, key.column, known);
}

/* The line's size is that of all processors unless it is given; a cache that has no size is none. */
static int check_cache(struct raw_memory *memory, const struct keyval *keyval, struct error *err)
{
	for (size_t i = 0; memory->cache.size == 0 && i < keyval->count; i++) {
		struct token key = keyval->pairs[i].key;

		if (strncmp(key.text, "cache-", strlen("cache-")) == 0)
			return error_set(err, EXIT_STATUS_USAGE, EINVAL,
					 "%s (column %zu) needs a cache; add cache=SIZE", key.text, key.column);
	}
	if (memory->cache.size != 0 && memory->cache.line == 0)
		memory->cache.line = CONFIG_CACHE_LINE;
	return 0;
}

static int enter_pairs(struct raw_memory *memory, const struct keyval *keyval, size_t key_count, struct error *err)
{
	for (size_t i = 0; i < keyval->count; i++) {
		const struct keyval_pair *pair = &keyval->pairs[i];
		const struct key *key = find_key(pair->key.text, key_count);
		int code;

		if (option_is_figure(pair->key.text))
			code = option_figure(memory->figures, pair->key, pair->value, err);
		else if (key != NULL)
			code = key->parse(memory, pair->value, err);
		else
			code = unknown_key(pair->key, key_count, err);
		if (code < 0)
			return code;
	}
	return check_cache(memory, keyval, err);
}

static int enter_memory(struct raw_memory *memory, const struct keyval *keyval, size_t key_count, struct error *err)
{
	int code = enter_pairs(memory, keyval, key_count, err);

	if (code < 0)
		return code;
	if (memory->size == 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "size is missing; add size=SIZE, such as size=8G");
	return 0;
}

static int parse_memory(struct raw_memory *memory, const char *argument, const char *implied_key, size_t key_count,
			struct error *err)
{
	struct keyval keyval;
	int code = keyval_parse(&keyval, argument, implied_key, err);

	if (code < 0)
		return code;
	memory->argument = argument;
	code = enter_memory(memory, &keyval, key_count, err);
	keyval_release(&keyval);
	if (code < 0)
		free(memory->path);
	return code;
}

/* Appends it to *list; when that fails, nothing of it is left. */
static int append(struct raw_memory **list, size_t *count, struct raw_memory *memory, struct error *err)
{
	struct raw_memory *place = option_grow(list, *count, sizeof(*place), err);

	if (place == NULL) {
		free(memory->path);
		return -ENOMEM;
	}
	*place = *memory;
	(*count)++;
	return 0;
}

int option_mem(struct options *options, const char *argument, struct error *err)
{
	struct config_raw *raw = &options->raw;
	struct raw_memory memory = {0};
	int code;

	if (raw->mem_count == CONFIG_MEM_MAX)
		return error_set(err, EXIT_STATUS_USAGE, E2BIG, "more than %u --mem; join those of one node",
				 CONFIG_MEM_MAX);
	code = parse_memory(&memory, argument, "size", MEM_KEYS, err);
	return code < 0 ? code : append(&raw->mem, &raw->mem_count, &memory, err);
}

int option_spm(struct options *options, const char *argument, struct error *err)
{
	struct config_raw *raw = &options->raw;
	struct raw_memory memory = {0};
	int code;

	if (raw->spm_count == CONFIG_SPM_MAX)
		return error_set(err, EXIT_STATUS_USAGE, E2BIG, "more than %u --spm; use larger ones", CONFIG_SPM_MAX);
	code = parse_memory(&memory, argument, NULL, SPM_KEYS, err);
	if (code < 0)
		return code;
	if (!memory.has_node) {
		free(memory.path);
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "node is missing; add node=N, a node of the block's own");
	}
	return append(&raw->spm, &raw->spm_count, &memory, err);
}
