/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/option_values.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/keyval.h"
#include "vmm/base/parse.h"

static struct token whole(const char *argument)
{
	return (struct token){argument, 1};
}

int option_text(char **place, const char *text, struct error *err)
{
	*place = strdup(text);
	return *place != NULL ? 0 : error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the command line");
}

void *option_grow(void *array, size_t count, size_t element_size, struct error *err)
{
	unsigned char *elements;

	memcpy(&elements, array, sizeof(elements));
	/* doubles whenever count is a power of two, so the capacity need not be kept */
	if ((count & (count - 1)) == 0) {
		elements = reallocarray(elements, count == 0 ? 1 : 2 * count, element_size);
		if (elements == NULL) {
			error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the command line");
			return NULL;
		}
		memcpy(array, &elements, sizeof(elements));
	}
	memset(elements + count * element_size, 0, element_size);
	return elements + count * element_size;
}

int option_cpus(struct options *options, const char *argument, struct error *err)
{
	uint64_t cpus = 0;
	int code = parse_number(whole(argument), 1, CONFIG_CPUS_MAX, &cpus, err);

	options->raw.cpus = (uint32_t)cpus;
	return code;
}

static void add_cpu(void *context, uint32_t cpu)
{
	struct raw_numa *numa = context;

	numa->cpus.words[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}

static int enter_numa(struct raw_numa *numa, const struct keyval *keyval, struct error *err)
{
	bool has_node = false, has_cpus = false;

	for (size_t i = 0; i < keyval->count; i++) {
		struct token key = keyval->pairs[i].key, value = keyval->pairs[i].value;
		uint64_t node = 0;
		int code;

		if (strcmp(key.text, "node") == 0) {
			code = parse_number(value, 0, NODES_MAX - 1, &node, err);
			numa->node = (uint32_t)node;
			has_node = true;
		} else if (strcmp(key.text, "cpus") == 0) {
			code = parse_list(value, CONFIG_CPUS_MAX - 1, add_cpu, numa, err);
			has_cpus = true;
		} else {
			code = error_set(err, EXIT_STATUS_USAGE, EINVAL,
					 "unknown key '%.40s' (column %zu); use node or cpus", key.text, key.column);
		}
		if (code < 0)
			return code;
	}
	if (!has_node)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "node is missing; add node=N");
	if (!has_cpus)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "cpus is missing; add cpus=LIST, such as cpus=0-3");
	return 0;
}

int option_numa(struct options *options, const char *argument, struct error *err)
{
	struct config_raw *raw = &options->raw;
	struct raw_numa numa = {.argument = argument};
	struct raw_numa *place;
	struct keyval keyval;
	int code = keyval_parse(&keyval, argument, NULL, err);

	if (code < 0)
		return code;
	code = enter_numa(&numa, &keyval, err);
	keyval_release(&keyval);
	if (code < 0)
		return code;
	place = option_grow(&raw->numa, raw->numa_count, sizeof(*place), err);
	if (place == NULL)
		return -ENOMEM;
	*place = numa;
	raw->numa_count++;
	return 0;
}

/* Takes "A:B=D" apart in text, a copy of the argument that may be written to. */
static int read_distance(struct raw_distance *distance, char *text, struct error *err)
{
	char *colon = strchr(text, ':');
	char *equals = colon != NULL ? strchr(colon, '=') : NULL;
	struct token from = {text, 1}, to, value;
	uint64_t numbers[3] = {0};
	int code;

	if (equals == NULL)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "'%c' is missing; use FROM:TO=DISTANCE, such as 0:1=20, or host",
				 colon == NULL ? ':' : '=');
	*colon = '\0';
	*equals = '\0';
	to = (struct token){colon + 1, (size_t)(colon + 1 - text) + 1};
	value = (struct token){equals + 1, (size_t)(equals + 1 - text) + 1};
	code = parse_number(from, 0, NODES_MAX - 1, &numbers[0], err);
	if (code == 0)
		code = parse_number(to, 0, NODES_MAX - 1, &numbers[1], err);
	if (code == 0)
		code = parse_number(value, CONFIG_DISTANCE_LOCAL, 254, &numbers[2], err);
	distance->from = (uint32_t)numbers[0];
	distance->to = (uint32_t)numbers[1];
	distance->distance = (uint8_t)numbers[2];
	return code;
}

int option_distance(struct options *options, const char *argument, struct error *err)
{
	struct config_raw *raw = &options->raw;
	struct raw_distance distance = {.argument = argument};
	struct raw_distance *place;
	char *text;
	int code;

	if (strcmp(argument, "host") == 0) {
		raw->host_distances = true;
		return 0;
	}
	code = option_text(&text, argument, err);
	if (code < 0)
		return code;
	code = read_distance(&distance, text, err);
	free(text);
	if (code < 0)
		return code;
	place = option_grow(&raw->distances, raw->distance_count, sizeof(*place), err);
	if (place == NULL)
		return -ENOMEM;
	*place = distance;
	raw->distance_count++;
	return 0;
}

int option_maxmem(struct options *options, const char *argument, struct error *err)
{
	return parse_size(whole(argument), &options->raw.maxmem, err);
}

int option_hotplug(struct options *options, const char *argument, struct error *err)
{
	return parse_size(whole(argument), &options->raw.hotplug, err);
}

/* A path or another text that cannot be empty. */
static int enter_text(const char **out, const char *argument, const char *what, struct error *err)
{
	if (*argument == '\0')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "the value is empty; name %s or leave the option out",
				 what);
	*out = argument;
	return 0;
}

int option_kernel(struct options *options, const char *argument, struct error *err)
{
	return enter_text(&options->raw.kernel, argument, "a bzImage", err);
}

int option_kernel_unpack(struct options *options, const char *argument, struct error *err)
{
	bool on = true;
	int code = parse_on_off(whole(argument), &on, err);

	options->raw.keep_packed = !on;
	return code;
}

int option_kernel_cache(struct options *options, const char *argument, struct error *err)
{
	return enter_text(&options->raw.kernel_cache, argument, "a folder, or off,", err);
}

int option_initrd(struct options *options, const char *argument, struct error *err)
{
	return enter_text(&options->raw.initrd, argument, "an initramfs", err);
}

/* May be empty: then there is only what spmvm itself puts on the kernel's command line. */
int option_append(struct options *options, const char *argument, struct error *err)
{
	(void)err;
	options->raw.append = argument;
	return 0;
}

int option_modules(struct options *options, const char *argument, struct error *err)
{
	return enter_text(&options->raw.modules, argument, "a folder of kernel modules", err);
}

/* One name of a list. It goes into paths and onto the kernel's command line, so it is made of what modules' names are made of. */
static int enter_module(struct config_raw *raw, const char *name, size_t length, size_t column, struct error *err)
{
	char **place;

	for (size_t i = 0; i < length; i++) {
		char c = name[i];

		if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_')
			return error_set(err, EXIT_STATUS_USAGE, EINVAL,
					 "'%c' cannot stand in a module's name (column %zu); use letters, digits, '-' "
					 "and '_', no path and no .ko",
					 c, column + i);
	}
	if (length == 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "a name is empty (column %zu); use NAME[,NAME...], such as ext4", column);
	place = option_grow(&raw->extra_modules, raw->extra_module_count, sizeof(*place), err);
	if (place == NULL)
		return -ENOMEM;
	*place = strndup(name, length);
	if (*place == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the command line");
	raw->extra_module_count++;
	return 0;
}

int option_module(struct options *options, const char *argument, struct error *err)
{
	const char *name = argument;
	int code;

	do {
		size_t length = strcspn(name, ",");

		code = enter_module(&options->raw, name, length, (size_t)(name - argument) + 1, err);
		name += length;
	} while (code == 0 && *name++ == ',');
	return code;
}

int option_script(struct options *options, const char *argument, struct error *err)
{
	return enter_text(&options->raw.script, argument, "a script", err);
}

/* PATH or PATH:GUEST_PATH, kept as typed: the initramfs takes it apart when it reads the file. */
int option_file(struct options *options, const char *argument, struct error *err)
{
	struct config_raw *raw = &options->raw;
	struct raw_file *place;

	if (*argument == '\0' || *argument == ':' || argument[strlen(argument) - 1] == ':')
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "a path is empty; use PATH, or PATH:GUEST_PATH for another name in the guest");
	place = option_grow(&raw->files, raw->file_count, sizeof(*place), err);
	if (place == NULL)
		return -ENOMEM;
	place->argument = argument;
	raw->file_count++;
	return 0;
}

int option_rw(struct options *options, const char *argument, struct error *err)
{
	struct config_raw *raw = &options->raw;
	const char **place = option_grow(&raw->rw, raw->rw_count, sizeof(*place), err);
	int code;

	if (place == NULL)
		return -ENOMEM;
	code = enter_text(place, argument, "a folder", err);
	if (code == 0)
		raw->rw_count++;
	return code;
}

int option_timeout(struct options *options, const char *argument, struct error *err)
{
	return parse_number(whole(argument), 1, CONFIG_TIMEOUT_MAX, &options->raw.timeout, err);
}

int option_console(struct options *options, const char *argument, struct error *err)
{
	(void)argument;
	(void)err;
	options->raw.console = true;
	return 0;
}

int option_serial(struct options *options, const char *argument, struct error *err)
{
	static const char FILE_PREFIX[] = "file:";
	struct config_raw *raw = &options->raw;

	if (strcmp(argument, "stdio") == 0) {
		raw->serial = SERIAL_STDIO;
	} else if (strcmp(argument, "none") == 0) {
		raw->serial = SERIAL_NONE;
	} else if (strncmp(argument, FILE_PREFIX, strlen(FILE_PREFIX)) == 0) {
		raw->serial = SERIAL_FILE;
		return enter_text(&raw->serial_path, argument + strlen(FILE_PREFIX), "a file behind file:", err);
	} else {
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "unknown place; use stdio, file:PATH or none");
	}
	return 0;
}

int option_log(struct options *options, const char *argument, struct error *err)
{
	if (log_level_from(argument, &options->raw.log_level) < 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "unknown level; use error, warn, info or debug");
	return 0;
}

int option_sandbox(struct options *options, const char *argument, struct error *err)
{
	static const char *const MODES[] = {[SANDBOX_OFF] = "off", [SANDBOX_LOG] = "log", [SANDBOX_ON] = "on"};

	for (int mode = SANDBOX_OFF; mode <= SANDBOX_ON; mode++) {
		if (strcmp(argument, MODES[mode]) == 0) {
			options->raw.sandbox = (enum sandbox_mode)mode;
			return 0;
		}
	}
	return error_set(err, EXIT_STATUS_USAGE, EINVAL, "unknown mode; use on, log or off");
}

/* MAXPHYADDR: 36 is the least of any 64-bit processor, 52 the most that page tables hold (Intel SDM volume 3A §4.1.4). */
int option_phys_bits(struct options *options, const char *argument, struct error *err)
{
	uint64_t bits = 0;
	int code = parse_number(whole(argument), 36, 52, &bits, err);

	options->raw.phys_bits = (unsigned)bits;
	return code;
}

int option_force(struct options *options, const char *argument, struct error *err)
{
	(void)argument;
	(void)err;
	options->raw.force = true;
	return 0;
}

int option_format(struct options *options, const char *argument, struct error *err)
{
	static const char *const FORMATS[] = {
		[PLAN_TEXT] = "text", [PLAN_JSON] = "json", [PLAN_SVG] = "svg", [PLAN_DTS] = "dts", [PLAN_DTB] = "dtb"};
	bool doctor = options->command == COMMAND_DOCTOR;

	for (int i = PLAN_TEXT; i <= (doctor ? PLAN_JSON : PLAN_DTB); i++) {
		if (strcmp(argument, FORMATS[i]) == 0) {
			options->plan_format = (enum plan_format)i;
			return 0;
		}
	}
	return error_set(err, EXIT_STATUS_USAGE, EINVAL, "unknown format; use %s",
			 doctor ? "text or json" : "text, json, svg, dts or dtb");
}

/* options.c reads the file: what stands in it are options. */
int option_config(struct options *options, const char *argument, struct error *err)
{
	return enter_text(&options->config_path, argument, "a file that plan --format json wrote", err);
}

/* The first of two; options.c takes the second word. */
int option_diff(struct options *options, const char *argument, struct error *err)
{
	return enter_text(&options->plan_diff[0], argument, "two files that plan --format json wrote", err);
}

int option_tables(struct options *options, const char *argument, struct error *err)
{
	return enter_text(&options->plan_tables, argument, "a folder for the ACPI tables", err);
}
