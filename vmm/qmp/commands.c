/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/qmp/commands.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vmm/base/buf.h"
#include "vmm/machine.h"
#include "vmm/metrics_json.h"

/* What the virtio-mem device of --maxmem is called here; the blocks have the user's ids. */
#define HOTPLUG_ID   "hotplug"
#define HOTPLUG_PATH "/machine/peripheral/" HOTPLUG_ID

void qmp_plain(char *text)
{
	for (; *text != '\0'; text++) {
		if (*text < 0x20 || *text > 0x7e)
			*text = '?';
	}
}

void *qmp_error_set(struct qmp_error *error, const char *class, const char *format, ...)
{
	va_list arguments;

	error->class = class;
	va_start(arguments, format);
	vsnprintf(error->text, sizeof(error->text), format, arguments);
	va_end(arguments);
	qmp_plain(error->text);
	return NULL;
}

static json_t *integer(uint64_t value)
{
	return json_integer((json_int_t)value);
}

/* A value of an argument that must be there; NULL with error set. */
static const json_t *argument(const json_t *arguments, const char *name, struct qmp_error *error)
{
	const json_t *value = json_object_get(arguments, name);

	return value != NULL ? value
			     : qmp_error_set(error, QMP_GENERIC_ERROR, "argument '%s' is missing; add it", name);
}

static const char *text_argument(const json_t *arguments, const char *name, struct qmp_error *error)
{
	const json_t *value = argument(arguments, name, error);

	if (value == NULL || json_is_string(value))
		return json_string_value(value);
	return qmp_error_set(error, QMP_GENERIC_ERROR, "argument '%s' is no text", name);
}

/* ---------------------------------------------------------------------------------------- the protocol's own */

json_t *qmp_version(void)
{
	int major = 0, minor = 0, micro = 0;

	/* clients expect the member "qemu": it has our numbers, and "package" says whose they are */
	(void)sscanf(SPMVM_VERSION, "%d.%d.%d", &major, &minor, &micro); /* NOLINT(cert-err34-c): our own text */
	return json_pack("{s:{s:i, s:i, s:i}, s:s}", "qemu", "major", major, "minor", minor, "micro", micro, "package",
			 "spmvm " SPMVM_VERSION);
}

static json_t *qmp_capabilities(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	const json_t *enable = json_object_get(arguments, "enable");

	(void)machine;
	if (enable != NULL && (!json_is_array(enable) || json_array_size(enable) > 0))
		return qmp_error_set(error, QMP_GENERIC_ERROR, "'enable' asks for what the greeting does not offer");
	return json_object();
}

static json_t *query_version(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	(void)machine;
	(void)arguments;
	(void)error;
	return qmp_version();
}

static json_t *query_commands(struct machine *machine, const json_t *arguments, struct qmp_error *error);

/* ------------------------------------------------------------------------------------------- what there is */

static json_t *query_status(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	static const char *const STATUSES[] = {
		[MACHINE_RUNNING] = "running", [MACHINE_PAUSED] = "paused", [MACHINE_ENDING] = "shutdown"};
	enum machine_state state = machine_state(machine);

	(void)arguments;
	(void)error;
	return json_pack("{s:b, s:s}", "running", state == MACHINE_RUNNING, "status", STATUSES[state]);
}

/* As in guest's CPUID: one package for each node with CPUs, cores of one thread each (vmm/board.h). */
static json_t *query_cpus_fast(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	const struct board *board = machine_board(machine);
	json_t *list = json_array();

	(void)arguments;
	(void)error;
	for (uint32_t i = 0; i < board->config->cpu_count; i++) {
		const struct board_cpu *cpu = &board->cpus[i];
		char path[32];

		snprintf(path, sizeof(path), "/machine/cpu[%u]", i);
		json_array_append_new(
			list, json_pack("{s:i, s:s, s:i, s:{s:i, s:i, s:i, s:i}, s:s}", "cpu-index", (int)i, "qom-path",
					path, "thread-id", (int)machine_vcpu_thread(machine, i), "props", "node-id",
					(int)cpu->node, "socket-id", (int)(cpu->apic_id >> board->core_bits), "core-id",
					(int)(cpu->apic_id & ((1u << board->core_bits) - 1)), "thread-id", 0, "target",
					"x86_64"));
	}
	return list;
}

static json_t *spm_device(const struct board *board, const struct mem_region *region)
{
	const struct config_memory *slot = board_owner(board, region);
	char memdev[sizeof("/objects/") + CONFIG_ID_MAX];

	snprintf(memdev, sizeof(memdev), "/objects/%s", slot->id);
	return json_pack("{s:s, s:{s:s, s:o, s:o, s:i, s:s}}", "type", "spm-memory", "data", "id", slot->id, "memaddr",
			 integer(region->gpa.start), "size", integer(region->gpa.size), "node", (int)region->node,
			 "memdev", memdev);
}

static json_t *hotplug_device(const struct machine_hotplug *hotplug)
{
	return json_pack("{s:s, s:{s:s, s:o, s:o, s:o, s:o, s:o, s:i, s:s}}", "type", "virtio-mem", "data", "id",
			 HOTPLUG_ID, "memaddr", integer(hotplug->region.start), "requested-size",
			 integer(hotplug->requested), "size", integer(hotplug->plugged), "max-size",
			 integer(hotplug->region.size), "block-size", integer(hotplug->block_size), "node",
			 (int)hotplug->node, "memdev", "/objects/" HOTPLUG_ID);
}

static json_t *query_memory_devices(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	const struct board *board = machine_board(machine);
	struct machine_hotplug hotplug;
	json_t *list = json_array();

	(void)arguments;
	(void)error;
	for (size_t i = 0; i < board->layout.region_count; i++) {
		if (board->layout.regions[i].kind == MEM_SPM)
			json_array_append_new(list, spm_device(board, &board->layout.regions[i]));
	}
	if (machine_hotplug(machine, &hotplug))
		json_array_append_new(list, hotplug_device(&hotplug));
	return list;
}

/* How much memory of a kind is in the machine, or in a node of it (UINT32_MAX: in all). */
static uint64_t memory_in(const struct board *board, enum mem_kind kind, uint32_t node)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < board->layout.region_count; i++) {
		const struct mem_region *region = &board->layout.regions[i];

		if (region->kind == kind && (node == UINT32_MAX || region->node == node))
			sum += region->gpa.size;
	}
	return sum;
}

static json_t *query_memory_size_summary(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	const struct board *board = machine_board(machine);
	struct machine_hotplug hotplug = {.plugged = 0};

	(void)arguments;
	(void)error;
	machine_hotplug(machine, &hotplug);
	return json_pack("{s:o, s:o}", "base-memory", integer(memory_in(board, MEM_RAM, UINT32_MAX)), "plugged-memory",
			 integer(memory_in(board, MEM_SPM, UINT32_MAX) + hotplug.plugged));
}

static json_t *query_numa(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	const struct board *board = machine_board(machine);
	const struct config *config = board->config;
	json_t *list = json_array();

	(void)arguments;
	(void)error;
	for (uint32_t node = 0; node < config->node_count; node++) {
		json_t *cpus = json_array(), *distances = json_array();

		for (uint32_t i = 0; i < config->cpu_count; i++) {
			if (config->cpu_nodes[i] == node)
				json_array_append_new(cpus, integer(i));
		}
		for (uint32_t to = 0; to < config->node_count; to++)
			json_array_append_new(distances,
					      integer(config->distances[(size_t)node * config->node_count + to]));
		json_array_append_new(list,
				      json_pack("{s:i, s:o, s:o, s:o, s:o}", "node-id", (int)node, "cpus", cpus,
						"base-memory", integer(memory_in(board, MEM_RAM, node)), "spm-memory",
						integer(memory_in(board, MEM_SPM, node)), "distances", distances));
	}
	return list;
}

/* -------------------------------------------------------------------------------------------- what is done */

static json_t *stop(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	(void)arguments;
	(void)error;
	machine_pause(machine);
	return json_object();
}

static json_t *cont(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	(void)arguments;
	(void)error;
	machine_resume(machine);
	return json_object();
}

static json_t *system_powerdown(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	(void)arguments;
	(void)error;
	machine_press_power_button(machine);
	return json_object();
}

/* A machine of ours ends where another would start again, as with QEMU's -no-reboot. */
static json_t *system_reset(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	(void)arguments;
	(void)error;
	machine_stop(machine, STOP_CONTROL_RESET, 0);
	return json_object();
}

static json_t *quit(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	(void)arguments;
	(void)error;
	machine_stop(machine, STOP_CONTROL_QUIT, 0);
	return json_object();
}

/* Every device here is there from the start: what the guest is told of them (SRAT, DSDT) is written once. */
static json_t *device_add(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	static const struct {
		const char *driver, *option;
	} KNOWN[] = {
		{"spm-memory", "spm"},      {"virtio-blk", "blk"},    {"virtio-net", "net"},
		{"vhost-user-fs", "share"}, {"vhost-vsock", "vsock"}, {"virtserialport", "port"},
		{"virtio-rng", "rng on"},   {"virtio-mem", "maxmem"},
	};
	const char *driver = text_argument(arguments, "driver", error);

	(void)machine;
	if (driver == NULL)
		return NULL;
	for (size_t i = 0; i < sizeof(KNOWN) / sizeof(KNOWN[0]); i++) {
		if (strcmp(KNOWN[i].driver, driver) == 0)
			return qmp_error_set(error, QMP_GENERIC_ERROR,
					     "device '%s' does not support hotplugging; start the machine with --%s",
					     driver, KNOWN[i].option);
	}
	return qmp_error_set(error, QMP_GENERIC_ERROR, "'%.40s' is no device of this machine", driver);
}

/* Whether path means the virtio-mem device, and it is there. */
static bool find_hotplug(struct machine *machine, const char *path, struct machine_hotplug *hotplug,
			 struct qmp_error *error)
{
	if ((strcmp(path, HOTPLUG_PATH) == 0 || strcmp(path, HOTPLUG_ID) == 0) && machine_hotplug(machine, hotplug))
		return true;
	qmp_error_set(error, QMP_DEVICE_NOT_FOUND,
		      "there is no '%.80s'; only --maxmem's " HOTPLUG_PATH " has properties", path);
	return false;
}

static json_t *qom_get(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	const char *path = text_argument(arguments, "path", error);
	const char *property = path != NULL ? text_argument(arguments, "property", error) : NULL;
	struct machine_hotplug hotplug;
	json_t *device, *value;

	if (property == NULL || !find_hotplug(machine, path, &hotplug, error))
		return NULL;
	device = hotplug_device(&hotplug);
	value = json_incref(json_object_get(json_object_get(device, "data"), property));
	json_decref(device);
	return value != NULL
		       ? value
		       : qmp_error_set(error, QMP_GENERIC_ERROR, "property '%.40s' not found; there is size", property);
}

static json_t *qom_set(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	const char *path = text_argument(arguments, "path", error);
	const char *property = path != NULL ? text_argument(arguments, "property", error) : NULL;
	const json_t *value = property != NULL ? argument(arguments, "value", error) : NULL;
	struct machine_hotplug hotplug;
	struct error err;

	if (value == NULL || !find_hotplug(machine, path, &hotplug, error))
		return NULL;
	if (strcmp(property, "requested-size") != 0)
		return qmp_error_set(error, QMP_GENERIC_ERROR, "property '%.40s' cannot be set; requested-size can",
				     property);
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return qmp_error_set(error, QMP_GENERIC_ERROR, "requested-size is a number of bytes, 0 or more");
	if (machine_set_hotplug(machine, (uint64_t)json_integer_value(value), &err) < 0)
		return qmp_error_set(error, QMP_GENERIC_ERROR, "%s", err.text);
	return json_object();
}

/* ------------------------------------------------------------------------------------------- what it has counted */

/* As in QEMU, with two targets of ours: its "vm" and "vcpu" are KVM's own counters. */
static json_t *query_stats(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	static const struct {
		const char *target;
		enum metrics_kind kind;
	} TARGETS[] = {{"vm", METRICS_MACHINE},
		       {"vcpu", METRICS_VCPU},
		       {"memory", METRICS_MEMORY},
		       {"device", METRICS_DEVICE}};
	const char *target = text_argument(arguments, "target", error);

	for (size_t i = 0; target != NULL && i < sizeof(TARGETS) / sizeof(TARGETS[0]); i++) {
		struct metrics metrics = {0};
		json_t *stats;

		if (strcmp(TARGETS[i].target, target) != 0)
			continue;
		machine_collect(machine, &metrics);
		stats = metrics_query_stats(&metrics, TARGETS[i].kind);
		metrics_release(&metrics);
		return stats != NULL ? stats : qmp_error_set(error, QMP_GENERIC_ERROR, "no memory for the answer");
	}
	if (target != NULL)
		qmp_error_set(error, QMP_GENERIC_ERROR, "target '%s' is unknown; use vm, vcpu, memory or device",
			      target);
	return NULL;
}

/* Ours: all of it, as --metrics writes it. */
static json_t *query_metrics(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	const char *format = "json";
	struct metrics metrics = {0};
	struct buf text = {0};
	json_t *answer = NULL;

	if (json_object_get(arguments, "format") != NULL)
		format = text_argument(arguments, "format", error);
	if (format == NULL)
		return NULL;
	if (strcmp(format, "json") != 0 && strcmp(format, "openmetrics") != 0)
		return qmp_error_set(error, QMP_GENERIC_ERROR, "format '%s' is unknown; use json or openmetrics",
				     format);
	machine_collect(machine, &metrics);
	if (strcmp(format, "json") == 0) {
		answer = metrics_json(&metrics);
	} else {
		metrics_text(&metrics, &text);
		answer = buf_failed(&text) ? NULL : json_stringn((const char *)text.data, text.size);
		buf_release(&text);
	}
	metrics_release(&metrics);
	return answer != NULL ? answer : qmp_error_set(error, QMP_GENERIC_ERROR, "no memory for the answer");
}

/* A new command is a line here and a function above. */
static const struct qmp_command COMMANDS[] = {
	{.name = "qmp_capabilities", .run = qmp_capabilities, .arguments = {"enable"}, .negotiates = true},
	{.name = "query-version", .run = query_version},
	{.name = "query-commands", .run = query_commands},
	{.name = "query-status", .run = query_status},
	{.name = "query-cpus-fast", .run = query_cpus_fast},
	{.name = "query-memory-devices", .run = query_memory_devices},
	{.name = "query-memory-size-summary", .run = query_memory_size_summary},
	{.name = "query-numa", .run = query_numa},
	{.name = "query-stats", .run = query_stats, .arguments = {"target"}},
	{.name = "query-metrics", .run = query_metrics, .arguments = {"format"}},
	{.name = "stop", .run = stop},
	{.name = "cont", .run = cont},
	{.name = "system_powerdown", .run = system_powerdown},
	{.name = "system_reset", .run = system_reset},
	{.name = "quit", .run = quit},
	{.name = "device_add", .run = device_add, .any_argument = true},
	{.name = "qom-get", .run = qom_get, .arguments = {"path", "property"}},
	{.name = "qom-set", .run = qom_set, .arguments = {"path", "property", "value"}},
};
enum { COMMAND_COUNT = sizeof(COMMANDS) / sizeof(COMMANDS[0]) };

static json_t *query_commands(struct machine *machine, const json_t *arguments, struct qmp_error *error)
{
	json_t *list = json_array();

	(void)machine;
	(void)arguments;
	(void)error;
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		json_array_append_new(list, json_pack("{s:s}", "name", COMMANDS[i].name));
	return list;
}

const struct qmp_command *qmp_command_find(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(COMMANDS[i].name, name) == 0)
			return &COMMANDS[i];
	}
	return NULL;
}
