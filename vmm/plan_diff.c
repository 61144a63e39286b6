/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/buf.h"
#include "vmm/base/io.h"
#include "vmm/config_figures.h"
#include "vmm/plan.h"

/*
 * What differs between two plans: each is turned into a list of facts, a name and a value, in an order in which two
 * lists can be merged. The files come from anywhere, so nothing is believed about them.
 */
enum part {
	PART_MACHINE,
	PART_REGIONS,
	PART_NODES,
	PART_DISTANCES,
	PART_FIGURES,
	PART_CACHES,
	PART_ACCELS,
	PART_DEVICES,
	PART_E820
};

struct fact {
	enum part part; /* facts of one part stand together */
	char *name;     /* "slot hbm0"; heap, owned, like the value */
	char *value;    /* "0x100000000-0x2ffffffff, node 1" */
	/* a value that goes without saying while the other plan has so many nodes; NULL when there is none */
	const char *usual;
	uint64_t usual_above;
};

struct facts {
	const char *path;
	json_t *plan;
	struct fact *list;
	size_t count;
	uint64_t nodes;
	struct error *err;
	int code; /* of the first failure; what follows does nothing then */
};

static void facts_release(struct facts *facts)
{
	for (size_t i = 0; i < facts->count; i++) {
		free(facts->list[i].name);
		free(facts->list[i].value);
	}
	free(facts->list);
	json_decref(facts->plan);
}

/* ------------------------------------------------------------------------------------------ reading members */

static void refuse(struct facts *facts, const char *list, size_t index, const char *key, const char *what)
{
	if (facts->code == 0)
		facts->code = error_set(facts->err, EXIT_STATUS_USAGE, EINVAL,
					"--diff: %s: %s[%zu].%s is no %s; compare what spmvm plan --format json writes",
					facts->path, list, index, key, what);
}

/* A member of the plan that is a list; an empty one with an error otherwise. */
static const json_t *list_of(struct facts *facts, const char *name)
{
	const json_t *list = json_object_get(facts->plan, name);

	if (!json_is_array(list) && facts->code == 0)
		facts->code = error_set(
			facts->err, EXIT_STATUS_USAGE, EINVAL,
			"--diff: %s: the list \"%s\" is missing; compare what spmvm plan --format json writes",
			facts->path, name);
	return list;
}

/* An element of a list while its members are read. */
struct element {
	struct facts *facts;
	const char *list;
	size_t index;
	const json_t *object;
};

static uint64_t number(const struct element *element, const char *key)
{
	const json_t *value = json_object_get(element->object, key);

	if (!json_is_integer(value) || json_integer_value(value) < 0) {
		refuse(element->facts, element->list, element->index, key, "whole number");
		return 0;
	}
	return (uint64_t)json_integer_value(value);
}

static const char *text(const struct element *element, const char *key)
{
	const json_t *value = json_object_get(element->object, key);

	if (!json_is_string(value)) {
		refuse(element->facts, element->list, element->index, key, "text");
		return "";
	}
	return json_string_value(value);
}

/* Numbers as "0,1,3"; "none" for an empty list. */
static void add_numbers(struct buf *buf, const struct element *element, const char *key, const json_t *list)
{
	if (!json_is_array(list))
		refuse(element->facts, element->list, element->index, key, "list");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *value = json_array_get(list, i);

		if (!json_is_integer(value))
			refuse(element->facts, element->list, element->index, key, "list of whole numbers");
		buf_printf(buf, "%s%" JSON_INTEGER_FORMAT, i > 0 ? "," : "", json_integer_value(value));
	}
	if (json_array_size(list) == 0)
		buf_text(buf, "none");
}

/* ------------------------------------------------------------------------------------------------ the facts */

/* Texts come out of a file and go to a terminal. */
static char *clean(char *string)
{
	for (char *c = string; c != NULL && *c != '\0'; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	return string;
}

static char *__attribute__((format(printf, 1, 2))) format(const char *form, ...)
{
	char *string;
	va_list args;

	va_start(args, form);
	if (vasprintf(&string, form, args) < 0)
		string = NULL;
	va_end(args);
	return clean(string);
}

/* Takes over the texts of a fact; NULL among them is for want of memory. */
static void add_fact(struct facts *facts, struct fact fact)
{
	bool good = fact.name != NULL && fact.value != NULL;

	/* doubles whenever the count is a power of two, so the capacity need not be kept */
	if (facts->code == 0 && good && (facts->count & (facts->count - 1)) == 0) {
		struct fact *list =
			reallocarray(facts->list, facts->count == 0 ? 1 : 2 * facts->count, sizeof(facts->list[0]));

		good = list != NULL;
		facts->list = good ? list : facts->list;
	}
	if (facts->code == 0 && !good)
		facts->code = error_set(facts->err, EXIT_STATUS_HOST, ENOMEM, "--diff: no memory");
	if (facts->code == 0 && facts->list != NULL) {
		facts->list[facts->count++] = fact;
		return;
	}
	free(fact.name);
	free(fact.value);
}

static char *finish(struct buf *buf)
{
	buf_u8(buf, '\0');
	return clean((char *)buf_steal(buf, &(size_t){0}));
}

static void add_machine(struct facts *facts)
{
	static const struct {
		const char *key, *name;
	} NUMBERS[] = {
		{"cpus", "CPUs"}, {"phys-bits", "physical address bits"}, {"memory-block-size", "memory block size"}};
	const struct element plan = {facts, "plan", 0, facts->plan};
	const struct element window = {facts, "window", 0, json_object_get(facts->plan, "window")};
	uint64_t start = number(&window, "start"), size = number(&window, "size");

	for (size_t i = 0; i < sizeof(NUMBERS) / sizeof(NUMBERS[0]); i++)
		add_fact(facts, (struct fact){.part = PART_MACHINE,
					      .name = format("%s", NUMBERS[i].name),
					      .value = format("%" PRIu64, number(&plan, NUMBERS[i].key))});
	if (size > 0)
		add_fact(facts, (struct fact){.part = PART_MACHINE,
					      .name = format("device-memory window"),
					      .value = format("0x%" PRIx64 "-0x%" PRIx64 "%s", start, start + size - 1,
							      json_is_true(json_object_get(window.object, "hotplug"))
								      ? ", for hotplug"
								      : "")});
}

static void add_region(const struct element *region)
{
	const struct element backing = {region->facts, "regions.backing", region->index,
					json_object_get(region->object, "backing")};
	bool is_spm = strcmp(text(region, "kind"), "spm") == 0;
	uint64_t start = number(region, "start"), size = number(region, "size"), offset = number(region, "offset");
	uint64_t hugetlb = number(&backing, "hugetlb");
	const char *policy = text(&backing, "policy");
	struct buf value = {0};

	buf_printf(&value, "0x%" PRIx64 "-0x%" PRIx64 " (%s), node %" PRIu64, start, start + size - 1,
		   plan_quantity(size).text, number(region, "node"));
	if (strcmp(policy, "default") != 0) {
		buf_printf(&value, ", %s host nodes ", policy);
		add_numbers(&value, &backing, "host-nodes", json_object_get(backing.object, "host-nodes"));
	}
	if (hugetlb != 0)
		buf_printf(&value, ", huge pages of %s", plan_quantity(hugetlb).text);
	if (json_is_true(json_object_get(backing.object, "prealloc")))
		buf_text(&value, ", populated before the guest starts");
	add_fact(region->facts,
		 (struct fact){.part = PART_REGIONS,
			       .name = offset > 0 ? format("RAM %s from its byte %s on", text(region, "id"),
							   plan_quantity(offset).text)
						  : format("%s %s", is_spm ? "slot" : "RAM", text(region, "id")),
			       .value = finish(&value)});
}

/* What is at its usual value is no fact: a matrix is large, and hardly anything in it is said. */
static void add_distances(struct facts *facts, const struct element *node, uint64_t from)
{
	const json_t *list = json_object_get(node->object, "distances");

	if (!json_is_array(list))
		refuse(facts, node->list, node->index, "distances", "list");
	for (size_t to = 0; facts->code == 0 && to < json_array_size(list); to++) {
		json_int_t usual = from == to ? CONFIG_DISTANCE_LOCAL : CONFIG_DISTANCE_DEFAULT;
		const json_t *distance = json_array_get(list, to);

		if (!json_is_integer(distance))
			refuse(facts, node->list, node->index, "distances", "list of whole numbers");
		if (json_integer_value(distance) == usual)
			continue;
		add_fact(facts, (struct fact){.part = PART_DISTANCES,
					      .name = format("distance %" PRIu64 ":%zu", from, to),
					      .value = format("%" JSON_INTEGER_FORMAT, json_integer_value(distance)),
					      .usual = from == to ? "10" : "20",
					      .usual_above = from > to ? from : to});
	}
}

static void add_node(const struct element *node)
{
	uint64_t name = number(node, "node");
	struct buf cpus = {0};

	buf_text(&cpus, "CPUs ");
	add_numbers(&cpus, node, "cpus", json_object_get(node->object, "cpus"));
	add_fact(node->facts,
		 (struct fact){.part = PART_NODES, .name = format("node %" PRIu64, name), .value = finish(&cpus)});
	add_distances(node->facts, node, name);
	node->facts->nodes++;
}

static void add_figures(const struct element *pair)
{
	uint64_t from = number(pair, "from"), to = number(pair, "to");

	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		const char *name = figure_name((enum acpi_figure)kind);
		uint64_t figure = number(pair, name);

		if (figure > UINT32_MAX)
			refuse(pair->facts, pair->list, pair->index, name, "figure");
		else if (figure != 0)
			add_fact(pair->facts,
				 (struct fact){
					 .part = PART_FIGURES,
					 .name = format("%s from node %" PRIu64 " to %" PRIu64, name, from, to),
					 .value = format("%s",
							 figure_text((enum acpi_figure)kind, (uint32_t)figure).text)});
	}
}

static void add_cache(const struct element *cache)
{
	add_fact(cache->facts,
		 (struct fact){.part = PART_CACHES,
			       .name = format("cache of node %" PRIu64, number(cache, "node")),
			       .value = format("%s, lines of %" PRIu64 ", %s, %s",
					       plan_quantity(number(cache, "size")).text, number(cache, "line"),
					       text(cache, "mapping"), text(cache, "policy"))});
}

static void add_accel(const struct element *accel)
{
	const json_t *block = json_object_get(accel->object, "block-node");

	add_fact(accel->facts,
		 (struct fact){.part = PART_ACCELS,
			       .name = format("accelerator %s", text(accel, "id")),
			       .value = json_is_integer(block)
						? format("node %" PRIu64 ", with node %" JSON_INTEGER_FORMAT,
							 number(accel, "node"), json_integer_value(block))
						: format("node %" PRIu64, number(accel, "node"))});
}

static void add_device(const struct element *device)
{
	const json_t *gsi = json_object_get(device->object, "gsi");

	add_fact(device->facts,
		 (struct fact){.part = PART_DEVICES,
			       .name = format("device %s", text(device, "name")),
			       .value = format("%s 0x%" PRIx64 ", GSI %" JSON_INTEGER_FORMAT, text(device, "space"),
					       number(device, "start"), json_integer_value(gsi))});
}

static void add_e820(const struct element *entry)
{
	uint64_t start = number(entry, "start"), size = number(entry, "size");

	add_fact(entry->facts, (struct fact){.part = PART_E820,
					     .name = format("E820 0x%" PRIx64 "-0x%" PRIx64, start, start + size - 1),
					     .value = format("%s", text(entry, "name"))});
}

/* By part and name, where numbers in names count as such; strverscmp() tells all texts apart that differ. */
static int compare_facts(const void *left, const void *right)
{
	const struct fact *a = left, *b = right;

	return a->part != b->part ? (a->part > b->part) - (a->part < b->part) : strverscmp(a->name, b->name);
}

static int find_facts(struct facts *facts, const char *bytes, size_t size, struct error *err)
{
	static const struct {
		const char *name;
		void (*add)(const struct element *element);
	} LISTS[] = {{"regions", add_region}, {"nodes", add_node},         {"performance", add_figures},
		     {"caches", add_cache},   {"accelerators", add_accel}, {"devices", add_device},
		     {"e820", add_e820}};
	json_error_t bad;

	facts->err = err;
	facts->plan = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &bad);
	if (facts->plan == NULL)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "--diff: %s: no JSON: line %d, column %d: %s",
				 facts->path, bad.line, bad.column, bad.text);
	for (size_t i = 0; facts->code == 0 && i < sizeof(LISTS) / sizeof(LISTS[0]); i++) {
		const json_t *list = list_of(facts, LISTS[i].name);

		for (size_t j = 0; facts->code == 0 && j < json_array_size(list); j++) {
			const struct element element = {facts, LISTS[i].name, j, json_array_get(list, j)};

			LISTS[i].add(&element);
		}
	}
	if (facts->code == 0)
		add_machine(facts);
	if (facts->code == 0 && facts->count > 0)
		qsort(facts->list, facts->count, sizeof(facts->list[0]), compare_facts);
	return facts->code;
}

/* --------------------------------------------------------------------------------------------- comparison */

/* A fact that the other plan, with so many nodes, does not have; before says that it is the first plan's. */
static void print_alone(FILE *out, const struct fact *fact, uint64_t other_nodes, bool before)
{
	if (fact->usual != NULL && other_nodes > fact->usual_above)
		fprintf(out, "changed: %s: %s -> %s\n", fact->name, before ? fact->value : fact->usual,
			before ? fact->usual : fact->value);
	else
		fprintf(out, "%s: %s: %s\n", before ? "removed" : "added", fact->name, fact->value);
}

static bool print_differences(const struct facts *a, const struct facts *b, FILE *out)
{
	bool differ = false;

	for (size_t i = 0, j = 0; i < a->count || j < b->count;) {
		int order = i == a->count ? 1 : j == b->count ? -1 : compare_facts(&a->list[i], &b->list[j]);

		differ = differ || order != 0 || strcmp(a->list[i].value, b->list[j].value) != 0;
		if (order < 0)
			print_alone(out, &a->list[i], b->nodes, true);
		else if (order > 0)
			print_alone(out, &b->list[j], a->nodes, false);
		else if (strcmp(a->list[i].value, b->list[j].value) != 0)
			fprintf(out, "changed: %s: %s -> %s\n", a->list[i].name, a->list[i].value, b->list[j].value);
		i += order <= 0;
		j += order >= 0;
	}
	return differ;
}

int plan_diff_texts(const struct plan_file files[2], FILE *out, bool *differ, struct error *err)
{
	struct facts facts[2] = {{.path = files[0].path}, {.path = files[1].path}};
	int code = 0;

	for (int i = 0; code == 0 && i < 2; i++)
		code = find_facts(&facts[i], files[i].text, files[i].size, err);
	if (code == 0)
		*differ = print_differences(&facts[0], &facts[1], out);
	facts_release(&facts[0]);
	facts_release(&facts[1]);
	return code;
}

int plan_diff(const char *const paths[2], FILE *out, bool *differ, struct error *err)
{
	enum { LIMIT = 256 << 20 };
	struct buf texts[2] = {{0}, {0}};
	struct plan_file files[2];
	int code = 0;

	if (strcmp(paths[0], "-") == 0 && strcmp(paths[1], "-") == 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "--diff - -: standard input can be one of the two only; name a file");
	for (int i = 0; code == 0 && i < 2; i++) {
		bool is_stdin = strcmp(paths[i], "-") == 0;

		code = io_read_file(is_stdin ? "/dev/stdin" : paths[i], LIMIT, &texts[i], EXIT_STATUS_USAGE, err);
		if (code < 0)
			error_prefix(err, "--diff: ");
		files[i] = (struct plan_file){paths[i], (const char *)texts[i].data, texts[i].size};
	}
	if (code == 0)
		code = plan_diff_texts(files, out, differ, err);
	buf_release(&texts[0]);
	buf_release(&texts[1]);
	return code;
}
