/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/protocol.h"
#include "vmm/base/parse.h"
#include "vmm/base/range.h"
#include "vmm/config_figures.h"
#include "vmm/config_nodes.h"
#include "vmm/memory/layout.h"

/* x86-64 has at most 52 bits of physical address (Intel SDM volume 3A §4.1.4), so nothing larger can be placed. */
#define SIZE_MAX_BITS 52

void config_raw_init(struct config_raw *raw)
{
	*raw = (struct config_raw){.log_level = LOG_INFO};
}

void config_device_release(struct config_device *device)
{
	free(device->option);
	free(device->title);
	free(device->path);
	free(device->name);
	free(device->socket);
	free(device->in);
	free(device->out);
	free(device->net);
	*device = (struct config_device){0};
}

void config_raw_release(struct config_raw *raw)
{
	if (raw == NULL)
		return;
	for (size_t i = 0; i < raw->device_count; i++)
		config_device_release(&raw->devices[i]);
	free(raw->devices);
	for (size_t i = 0; i < raw->mem_count; i++)
		free(raw->mem[i].path);
	for (size_t i = 0; i < raw->spm_count; i++)
		free(raw->spm[i].path);
	free(raw->mem);
	free(raw->spm);
	free(raw->numa);
	free(raw->distances);
	free(raw->perfs);
	free(raw->accels);
	free(raw->files);
	free((void *)raw->rw);
	for (size_t i = 0; i < raw->extra_module_count; i++)
		free(raw->extra_modules[i]);
	free(raw->extra_modules);
	free(raw->metrics.path);
	free(raw->qmp);
	free(raw->described);
	for (size_t i = 0; i < raw->text_count; i++)
		free(raw->texts[i]);
	free(raw->texts);
	config_raw_init(raw);
}

void config_release(struct config *config)
{
	if (config == NULL)
		return;
	free(config->mem);
	free(config->spm);
	free(config->cpu_nodes);
	free(config->distances);
	free(config->accels);
	for (int kind = 0; kind < ACPI_FIGURES; kind++)
		free(config->figures[kind]);
	free((void *)(uintptr_t)config->files);
	free(config->devices);
	for (size_t i = 0; i < config->warning_count; i++)
		free(config->warnings[i]);
	free(config->warnings);
	*config = (struct config){0};
}

static int no_memory(struct error *err)
{
	return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the machine's description");
}

int config_warn(struct config *config, struct error *err, const char *format, ...)
{
	char **warnings = realloc(config->warnings, (config->warning_count + 1) * sizeof(*warnings));
	va_list args;
	int length;

	if (warnings == NULL)
		return no_memory(err);
	config->warnings = warnings;
	va_start(args, format);
	length = vasprintf(&warnings[config->warning_count], format, args);
	va_end(args);
	if (length < 0)
		return no_memory(err);
	config->warning_count++;
	return 0;
}

/* One option's kind of memory: how messages and default ids call it. */
struct memory_kind {
	const char *option; /* "--mem" */
	const char *id;     /* "ram" */
};

static void name_memory(struct config_memory *memory, struct memory_kind kind, const struct raw_memory *raw,
			size_t position, size_t count)
{
	if (raw->id[0] != '\0')
		snprintf(memory->option, sizeof(memory->option), "%s id=%s", kind.option, raw->id);
	else if (count > 1)
		snprintf(memory->option, sizeof(memory->option), "%s number %zu", kind.option, position + 1);
	else
		snprintf(memory->option, sizeof(memory->option), "%s", kind.option);
	if (raw->id[0] != '\0')
		snprintf(memory->id, sizeof(memory->id), "%s", raw->id);
	else
		snprintf(memory->id, sizeof(memory->id), "%s%zu", kind.id, position);
}

/* The multiple that a size must be of, and who asks for it. */
static int check_multiple(const struct config_memory *memory, uint64_t multiple, const char *reason, struct error *err)
{
	uint64_t below = memory->size - memory->size % multiple;

	if (below == memory->size)
		return 0;
	if (below == 0)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL, "%s: size %s is not a multiple of %s (%s); use %s",
				 memory->option, size_text(memory->size).text, size_text(multiple).text, reason,
				 size_text(multiple).text);
	return error_set(err, EXIT_STATUS_CONFIG, EINVAL, "%s: size %s is not a multiple of %s (%s); use %s or %s",
			 memory->option, size_text(memory->size).text, size_text(multiple).text, reason,
			 size_text(below).text, size_text(below + multiple).text);
}

static int check_size_and_node(const struct config_memory *memory, struct error *err)
{
	uint64_t hugetlb = memory->source.hugetlb;
	uint64_t max = UINT64_C(1) << SIZE_MAX_BITS;
	int code;

	if (memory->size == 0 || memory->size > max)
		return error_set(err, EXIT_STATUS_CONFIG, ERANGE, "%s: size %s is out of range; use %s to %s",
				 memory->option, size_text(memory->size).text, size_text(LAYOUT_SIZE_ALIGN).text,
				 size_text(max).text);
	if (memory->node >= NODES_MAX)
		return error_set(err, EXIT_STATUS_CONFIG, ERANGE, "%s: node %" PRIu32 " is out of range; use 0 to %d",
				 memory->option, memory->node, NODES_MAX - 1);
	code = check_multiple(memory, LAYOUT_SIZE_ALIGN, "the smallest page that device-dax maps", err);
	if (code == 0 && hugetlb != 0)
		code = check_multiple(memory, hugetlb, "its hugetlb=", err);
	return code;
}

static int check_source(struct config_memory *memory, const struct raw_memory *raw, struct error *err)
{
	struct backend_source *source = &memory->source;
	bool has_nodes = !node_set_is_empty(&source->host_nodes);

	if (raw->has_policy && !has_nodes)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "%s: policy= says how to use host nodes, and none are given; add host-nodes=LIST",
				 memory->option);
	if (has_nodes && !raw->has_policy)
		source->policy = HOST_POLICY_BIND;
	if (source->path != NULL && source->inherited > 0)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "%s: mem-path= and fd= both say where the memory is; leave one of them out",
				 memory->option);
	if (source->hugetlb != 0 && source->hugetlb != 2 * MIB && source->hugetlb != GIB)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "%s: hugetlb=%s is no page size of x86-64; use 2M or 1G", memory->option,
				 size_text(source->hugetlb).text);
	return 0;
}

/* Completes count options of one kind into *out (heap; belongs to the caller even when this fails). */
static int fill_memory(struct config_memory **out, const struct raw_memory *raw, size_t count, struct memory_kind kind,
		       struct error *err)
{
	if (count == 0)
		return 0;
	*out = calloc(count, sizeof(**out));
	if (*out == NULL)
		return no_memory(err);
	for (size_t i = 0; i < count; i++) {
		struct config_memory *memory = &(*out)[i];
		int code;

		memory->size = raw[i].size;
		memory->node = raw[i].node;
		memory->source = raw[i].source;
		memory->address = raw[i].address;
		memory->has_address = raw[i].has_address;
		memory->mixed = raw[i].mixed;
		memory->cache = raw[i].cache;
		memcpy(memory->figures, raw[i].figures, sizeof(memory->figures));
		name_memory(memory, kind, &raw[i], i, count);
		code = check_source(memory, &raw[i], err);
		if (code == 0)
			code = check_size_and_node(memory, err);
		if (code < 0)
			return code;
	}
	return 0;
}

static int fill_all_memory(struct config *config, const struct config_raw *raw, struct error *err)
{
	struct raw_memory by_default = {.argument = "", .size = CONFIG_MEM_DEFAULT};
	const struct raw_memory *mem = raw->mem_count > 0 ? raw->mem : &by_default;
	size_t mem_count = raw->mem_count > 0 ? raw->mem_count : 1;
	int code;

	if (mem_count > CONFIG_MEM_MAX || raw->spm_count > CONFIG_SPM_MAX)
		return error_set(err, EXIT_STATUS_CONFIG, E2BIG,
				 "%zu --mem and %zu --spm are too many; use up to %u and %u", mem_count, raw->spm_count,
				 CONFIG_MEM_MAX, CONFIG_SPM_MAX);
	code = fill_memory(&config->mem, mem, mem_count, (struct memory_kind){"--mem", "ram"}, err);
	if (code < 0)
		return code;
	config->mem_count = mem_count;
	if (raw->mem_count == 0)
		snprintf(config->mem[0].option, sizeof(config->mem[0].option), "the default --mem");
	code = fill_memory(&config->spm, raw->spm, raw->spm_count, (struct memory_kind){"--spm", "spm"}, err);
	if (code < 0)
		return code;
	config->spm_count = raw->spm_count;
	return 0;
}

static const struct config_memory *memory_at(const struct config *config, size_t i)
{
	return i < config->mem_count ? &config->mem[i] : &config->spm[i - config->mem_count];
}

static int compare_ids(const void *left, const void *right)
{
	const struct config_memory *const *a = left;
	const struct config_memory *const *b = right;

	int order = strcmp((*a)->id, (*b)->id);

	return order != 0 ? order : strcmp((*a)->option, (*b)->option);
}

static int refuse_same_id(const struct config_memory *a, const struct config_memory *b, struct error *err)
{
	if (strcmp(a->id, b->id) != 0)
		return 0;
	if (strcmp(a->option, b->option) == 0)
		return error_set(err, EXIT_STATUS_CONFIG, EEXIST, "%s is there twice; use another id= for one of them",
				 a->option);
	return error_set(
		err, EXIT_STATUS_CONFIG, EEXIST,
		"the id '%s' is that of %s and of %s (without id= it comes from the position); use another id=", a->id,
		a->option, b->option);
}

static int check_ids(const struct config *config, struct error *err)
{
	size_t count = config->mem_count + config->spm_count;
	const struct config_memory **sorted = calloc(count, sizeof(struct config_memory *));
	int code = 0;

	if (sorted == NULL)
		return no_memory(err);
	for (size_t i = 0; i < count; i++)
		sorted[i] = memory_at(config, i);
	qsort((void *)sorted, count, sizeof(struct config_memory *), compare_ids);
	for (size_t i = 1; i < count && code == 0; i++)
		code = refuse_same_id(sorted[i - 1], sorted[i], err);
	free((void *)sorted);
	return code;
}

static int check_maxmem(struct config *config, const struct config_raw *raw, struct error *err)
{
	uint64_t sum = 0;

	/* no wrap: at most 1280 sizes of at most 2^52 */
	for (size_t i = 0; i < config->mem_count + config->spm_count; i++)
		sum += memory_at(config, i)->size;
	config->maxmem = raw->maxmem;
	if (raw->maxmem == 0)
		return 0;
	if (raw->maxmem > UINT64_C(1) << SIZE_MAX_BITS || raw->maxmem % LAYOUT_SIZE_ALIGN != 0)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL, "--maxmem %s: use a multiple of %s, at most %s",
				 size_text(raw->maxmem).text, size_text(LAYOUT_SIZE_ALIGN).text,
				 size_text(UINT64_C(1) << SIZE_MAX_BITS).text);
	if (raw->maxmem < sum)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "--maxmem %s is below the %s that --mem and --spm come to; use %s or more",
				 size_text(raw->maxmem).text, size_text(sum).text, size_text(sum).text);
	config->room = raw->maxmem - sum;
	return 0;
}

static int check_hotplug(struct config *config, const struct config_raw *raw, struct error *err)
{
	config->hotplug = raw->hotplug;
	if (raw->hotplug == 0)
		return 0;
	if (raw->hotplug > config->room)
		return error_set(err, EXIT_STATUS_CONFIG, ERANGE,
				 "--hotplug %s: --maxmem leaves room for %s; make it larger by what is missing",
				 size_text(raw->hotplug).text,
				 config->room > 0 ? size_text(config->room).text : "nothing");
	if (raw->hotplug % LAYOUT_SIZE_ALIGN != 0)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL, "--hotplug %s: use a multiple of %s",
				 size_text(raw->hotplug).text, size_text(LAYOUT_SIZE_ALIGN).text);
	return 0;
}

/* A command sees the host's files, and its streams are the user's. */
static int check_command(const struct config_raw *raw, struct error *err)
{
	const char *other = raw->initrd != NULL   ? "--initrd"
			    : raw->script != NULL ? "--script"
			    : raw->file_count > 0 ? "--file"
						  : NULL;

	if (raw->command == NULL && raw->rw_count > 0)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "--rw %s: it is for a command that runs on the host's files; end the line with -- "
				 "COMMAND, or use --share",
				 raw->rw[0]);
	if (raw->command == NULL)
		return 0;
	if (other != NULL)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "-- %s: %s and a command exclude each other, as the command runs on the host's own "
				 "files; leave one of them out",
				 raw->command[0], other);
	if (raw->serial == SERIAL_STDIO)
		return error_set(err, EXIT_STATUS_CONFIG, EINVAL,
				 "-- %s: --serial stdio and the command would share the terminal; use --console for "
				 "the kernel's messages on stderr, or --serial file:PATH",
				 raw->command[0]);
	return 0;
}

static enum serial_mode serial_of(const struct config_raw *raw)
{
	if (raw->serial != SERIAL_DEFAULT)
		return raw->serial;
	if (raw->command == NULL)
		return SERIAL_STDIO;
	return raw->console ? SERIAL_STDERR : SERIAL_NONE;
}

static int fill_boot(struct config *config, const struct config_raw *raw, struct error *err)
{
	const char *other = raw->modules != NULL          ? "--modules"
			    : raw->extra_module_count > 0 ? "--module"
			    : raw->script != NULL         ? "--script"
			    : raw->file_count > 0         ? "--file"
							  : NULL;

	if (raw->initrd != NULL && other != NULL)
		return error_set(
			err, EXIT_STATUS_CONFIG, EINVAL,
			"--initrd %s: %s goes into the built-in initramfs, which --initrd replaces; use one of them",
			raw->initrd, other);
	config->kernel = raw->kernel;
	config->kernel_cache = raw->kernel_cache;
	config->initrd = raw->initrd;
	config->append = raw->append;
	config->modules = raw->modules;
	config->extra_modules = raw->extra_modules;
	config->extra_module_count = raw->extra_module_count;
	config->script = raw->script;
	config->serial = serial_of(raw);
	config->serial_path = raw->serial_path;
	config->qmp = raw->qmp;
	config->log_level = raw->log_level;
	config->sandbox = raw->sandbox;
	config->phys_bits = raw->phys_bits;
	config->keep_packed = raw->keep_packed;
	config->force = raw->force;
	config->command = raw->command;
	config->rw = raw->rw;
	config->rw_count = raw->rw_count;
	config->timeout = raw->timeout;
	config->metrics = raw->metrics;
	config->console = raw->console;
	if (raw->file_count > 0) {
		const char **files = calloc(raw->file_count, sizeof(*files));

		if (files == NULL)
			return no_memory(err);
		for (size_t i = 0; i < raw->file_count; i++)
			files[i] = raw->files[i].argument;
		config->files = files;
		config->file_count = raw->file_count;
	}
	return 0;
}

/* Two devices of a kind with one name would be one to the guest. */
static int check_device_name(const struct config *config, const struct config_device *device, struct error *err)
{
	for (const struct config_device *other = config->devices; other < device; other++) {
		bool same_name = other->name != NULL && device->name != NULL && strcmp(other->name, device->name) == 0;

		if (other->kind == device->kind && (same_name || device->kind == CONFIG_VSOCK))
			return error_set(err, EXIT_STATUS_CONFIG, EEXIST, "%s: %s has %s already; %s", device->option,
					 other->option, same_name ? "this name" : "the guest's socket device",
					 same_name ? "give it another" : "leave one out");
	}
	return 0;
}

/* The folders that a command runs on, and its streams. */
static void add_command_devices(struct config *config, const struct config_raw *raw)
{
	static const char *const RW_TAGS[CONFIG_RW_MAX] = {
		GUEST_TAG_RW "0", GUEST_TAG_RW "1", GUEST_TAG_RW "2", GUEST_TAG_RW "3",
		GUEST_TAG_RW "4", GUEST_TAG_RW "5", GUEST_TAG_RW "6", GUEST_TAG_RW "7",
	};
	static const char *const PORTS[STREAM_END] = {
		[STREAM_STDIN] = GUEST_PORT_STDIN,
		[STREAM_STDOUT] = GUEST_PORT_STDOUT,
		[STREAM_STDERR] = GUEST_PORT_STDERR,
		[STREAM_CONTROL] = GUEST_PORT_CONTROL,
	};
	struct config_device *place = &config->devices[config->device_count];

	*place++ = (struct config_device){
		.kind = CONFIG_SHARE,
		.option = "the command's root",
		.path = "/",
		.name = GUEST_TAG_ROOT,
		.read_only = true,
		.overlaid = true,
	};
	for (size_t i = 0; i < raw->rw_count; i++)
		*place++ = (struct config_device){.kind = CONFIG_SHARE,
						  .option = "--rw",
						  .path = (char *)(uintptr_t)raw->rw[i],
						  .name = (char *)(uintptr_t)RW_TAGS[i]};
	for (enum config_stream stream = STREAM_STDIN; stream < STREAM_END; stream++)
		*place++ = (struct config_device){.kind = CONFIG_PORT,
						  .option = "the command's streams",
						  .name = (char *)(uintptr_t)PORTS[stream],
						  .stream = stream};
	config->device_count = (size_t)(place - config->devices);
}

static int fill_devices(struct config *config, const struct config_raw *raw, struct error *err)
{
	enum { OF_COMMAND = 1 + CONFIG_RW_MAX + STREAM_END, OTHERS = 2 };
	unsigned ports = 0, room = CONFIG_PORTS_MAX;

	if (raw->rw_count > CONFIG_RW_MAX)
		return error_set(err, EXIT_STATUS_CONFIG, E2BIG,
				 "%zu --rw: a guest has at most %u; share a folder above them", raw->rw_count,
				 CONFIG_RW_MAX);
	config->devices = calloc(raw->device_count + OF_COMMAND + OTHERS, sizeof(config->devices[0]));
	if (config->devices == NULL)
		return no_memory(err);
	for (size_t i = 0; i < raw->device_count; i++) {
		int code;

		config->devices[i] = raw->devices[i];
		code = check_device_name(config, &config->devices[i], err);
		if (code < 0)
			return code;
		ports += raw->devices[i].kind == CONFIG_PORT;
		config->device_count++;
	}
	if (raw->command != NULL)
		room -= STREAM_END - STREAM_STDIN;
	if (ports > room)
		return error_set(err, EXIT_STATUS_CONFIG, E2BIG, "%u --port: a guest%s has at most %u; use fewer",
				 ports, raw->command != NULL ? " that runs a command" : "", room);
	if (raw->command != NULL)
		add_command_devices(config, raw);
	if (config->room > 0)
		config->devices[config->device_count++] =
			(struct config_device){.kind = CONFIG_MEM, .option = "--maxmem"};
	if (!raw->no_rng)
		config->devices[config->device_count++] = (struct config_device){.kind = CONFIG_RNG, .option = "--rng"};
	return 0;
}

int config_from(struct config *config, const struct config_raw *raw, struct error *err)
{
	int code;

	*config = (struct config){.described = raw->described, .described_count = raw->described_count};
	code = fill_all_memory(config, raw, err);
	if (code == 0)
		code = check_ids(config, err);
	if (code == 0)
		code = config_place_cpus(config, raw, err);
	if (code == 0)
		code = config_place_accels(config, raw, err);
	if (code == 0)
		code = config_number_nodes(config, err);
	if (code == 0)
		code = config_check_sharing(config, err);
	if (code == 0)
		code = config_fill_distances(config, raw, err);
	if (code == 0)
		code = config_fill_figures(config, raw, err);
	if (code == 0)
		code = check_maxmem(config, raw, err);
	if (code == 0)
		code = check_hotplug(config, raw, err);
	if (code == 0)
		code = check_command(raw, err);
	if (code == 0)
		code = fill_devices(config, raw, err);
	if (code == 0)
		code = fill_boot(config, raw, err);
	if (code < 0)
		config_release(config);
	return code;
}
