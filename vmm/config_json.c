/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config_json.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/buf.h"
#include "vmm/base/keyval.h"

enum place {
	ONE,    /* "cpus": VALUE */
	LIST,   /* "spm": [VALUE, ...] */
	DEVICE, /* "devices": [{"blk": VALUE}, ...], whose order is that of the guest's devices */
};

/* The options of the description, in the order in which they are written. */
static const struct described {
	const char *name;
	enum place place;
	bool pairs;          /* VALUE is an object of keys and values; otherwise a text or a number */
	const char *implied; /* the key of a first part without one (keyval_parse) */
} DESCRIBED[] = {
	{"cpus", ONE, false, NULL},      {"mem", LIST, true, "size"},    {"spm", LIST, true, NULL},
	{"maxmem", ONE, false, NULL},    {"hotplug", ONE, false, NULL},  {"numa", LIST, true, NULL},
	{"distance", LIST, false, NULL}, {"perf", LIST, true, NULL},     {"accel", LIST, true, "id"},
	{"phys-bits", ONE, false, NULL}, {"blk", DEVICE, true, "path"},  {"net", DEVICE, true, "mode"},
	{"share", DEVICE, true, "path"}, {"vsock", DEVICE, true, "cid"}, {"port", DEVICE, true, "name"},
	{"rng", DEVICE, false, NULL},    {"hmat", ONE, false, NULL},
};
enum { DESCRIBED_COUNT = sizeof(DESCRIBED) / sizeof(DESCRIBED[0]) };

static const char DEVICES[] = "devices";

static const struct described *find_described(const char *name)
{
	for (size_t i = 0; i < DESCRIBED_COUNT; i++) {
		if (strcmp(DESCRIBED[i].name, name) == 0)
			return &DESCRIBED[i];
	}
	return NULL;
}

bool config_json_has(const char *option)
{
	return find_described(option) != NULL;
}

bool config_json_excludes(const char *option)
{
	const struct described *described = find_described(option);

	return described != NULL && described->place != DEVICE && strcmp(option, "phys-bits") != 0;
}

/* ---------------------------------------------------------------------------------------------- writing */

/* A text that is a plain decimal number becomes one. As a number it is read back as the same text. */
static json_t *value_of(const char *text)
{
	enum { DIGITS_MAX = 18 }; /* fit in 63 bits */
	size_t digits = strspn(text, "0123456789");

	if (digits > 0 && digits <= DIGITS_MAX && text[digits] == '\0' && (text[0] != '0' || digits == 1))
		return json_integer(strtoll(text, NULL, 10));
	return json_string(text);
}

/* NULL when memory runs out or a text is not UTF-8. */
static json_t *argument_json(const struct described *described, const char *argument)
{
	struct error ignored;
	struct keyval keyval;
	json_t *object;

	if (!described->pairs)
		return value_of(argument);
	/* it was parsed before, so it fails for want of memory only */
	if (keyval_parse(&keyval, argument, described->implied, &ignored) < 0)
		return NULL;
	object = json_object();
	for (size_t i = 0; i < keyval.count; i++) {
		if (json_object_set_new(object, keyval.pairs[i].key.text, value_of(keyval.pairs[i].value.text)) == 0)
			continue;
		json_decref(object);
		object = NULL;
		break;
	}
	keyval_release(&keyval);
	return object;
}

/* Appends to the list of this name, which the first one makes; takes value over. */
static int append(json_t *object, const char *name, json_t *value)
{
	json_t *list = json_object_get(object, name);

	if (list == NULL) {
		list = json_array();
		if (json_object_set_new(object, name, list) < 0) {
			json_decref(value);
			return -1;
		}
	}
	return json_array_append_new(list, value);
}

static int write_option(json_t *object, const struct described *described, const char *argument)
{
	json_t *value = argument_json(described, argument);

	if (value == NULL)
		return -1;
	switch (described->place) {
	case ONE:
		return json_object_set_new(object, described->name, value);
	case LIST:
		return append(object, described->name, value);
	case DEVICE:
		break;
	}
	return append(object, DEVICES, json_pack("{s:o}", described->name, value));
}

/* What is written of an option in this pass: all of one name, or all devices. */
static bool is_due(const struct described *pass, const char *name)
{
	return pass != NULL ? strcmp(pass->name, name) == 0 : find_described(name)->place == DEVICE;
}

struct json_t *config_json_write(const struct config *config, struct error *err)
{
	json_t *object = json_object();

	for (size_t pass = 0; pass <= DESCRIBED_COUNT; pass++) {
		const struct described *described = pass < DESCRIBED_COUNT ? &DESCRIBED[pass] : NULL;

		if (described != NULL && described->place == DEVICE)
			continue;
		for (size_t i = 0; i < config->described_count; i++) {
			const struct raw_option *option = &config->described[i];

			if (!is_due(described, option->name) ||
			    write_option(object, find_described(option->name), option->argument) == 0)
				continue;
			json_decref(object);
			error_set(err, EXIT_STATUS_CONFIG, EILSEQ,
				  "--%s %s: cannot be written as JSON, which holds UTF-8 only; use another name",
				  option->name, option->argument);
			return NULL;
		}
	}
	if (object == NULL)
		error_set(err, EXIT_STATUS_HOST, ENOMEM, "cannot make the plan's JSON");
	return object;
}

/* ---------------------------------------------------------------------------------------------- reading */

struct reader {
	config_json_enter *enter;
	void *context;
	struct buf text; /* the option's argument, reused */
};

/* Where in the file an error is: "config.spm[3]". */
struct spot {
	char text[64];
};

static struct spot spot_of(const char *name, size_t index, bool is_list)
{
	struct spot spot;

	if (is_list)
		snprintf(spot.text, sizeof(spot.text), "config.%.20s[%zu]", name, index);
	else
		snprintf(spot.text, sizeof(spot.text), "config.%.20s", name);
	return spot;
}

static int unknown_key(const char *where, const char *key, const char *remedy, struct error *err)
{
	return error_set(err, EXIT_STATUS_USAGE, EINVAL, "unknown key '%.40s' in %s; %s", key, where, remedy);
}

/* A text or a whole number; commas doubled where the argument is a list of pairs. */
static int add_value(struct buf *text, const json_t *value, bool in_pairs, const struct spot *spot, const char *key,
		     struct error *err)
{
	if (json_is_integer(value)) {
		buf_printf(text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		return 0;
	}
	if (!json_is_string(value))
		return error_set(
			err, EXIT_STATUS_USAGE, EINVAL,
			"%s%s%.40s is neither a text nor a whole number; write it as the option has it, such as "
			"\"8G\" or 1",
			spot->text, key != NULL ? "." : "", key != NULL ? key : "");
	for (const char *c = json_string_value(value); *c != '\0'; c++) {
		buf_u8(text, (uint8_t)*c);
		if (in_pairs && *c == ',')
			buf_u8(text, ',');
	}
	return 0;
}

static int add_pairs(struct buf *text, const json_t *object, const struct spot *spot, struct error *err)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "%s is no object; use {\"KEY\": VALUE, ...}",
				 spot->text);
	/* jansson's loop takes the object as one to be changed */
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		int code;

		/* what is no word would be taken apart differently from how it stands here */
		if (key[0] == '\0' || key[strspn(key, "abcdefghijklmnopqrstuvwxyz-")] != '\0')
			return unknown_key(spot->text, key, "its keys are those of the option", err);
		buf_printf(text, "%s%s=", text->size == 0 ? "" : ",", key);
		code = add_value(text, value, true, spot, key, err);
		if (code < 0)
			return code;
	}
	return 0;
}

static int enter_value(struct reader *reader, const struct described *described, const json_t *value,
		       const struct spot *spot, struct error *err)
{
	int code;

	reader->text.size = 0;
	code = described->pairs ? add_pairs(&reader->text, value, spot, err)
				: add_value(&reader->text, value, false, spot, NULL, err);
	if (code < 0)
		return code;
	buf_u8(&reader->text, '\0');
	if (buf_failed(&reader->text))
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for %s", spot->text);
	code = reader->enter(reader->context, described->name, (const char *)reader->text.data, err);
	if (code < 0)
		error_prefix(err, "%s: ", spot->text);
	return code;
}

static int enter_device(struct reader *reader, const json_t *object, const struct spot *spot, struct error *err)
{
	void *first = json_object_iter((json_t *)(uintptr_t)object);
	const struct described *described;

	if (json_object_size(object) != 1)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "%s is no object of one key; use the device's option, such as {\"blk\": {...}}",
				 spot->text);
	described = find_described(json_object_iter_key(first));
	if (described == NULL || described->place != DEVICE)
		return unknown_key(spot->text, json_object_iter_key(first), "use blk, net, share, vsock, port or rng",
				   err);
	return enter_value(reader, described, json_object_iter_value(first), spot, err);
}

/* One member of "config". */
static int enter_member(struct reader *reader, const char *name, const json_t *value, struct error *err)
{
	const struct described *described = find_described(name);
	bool is_device = strcmp(name, DEVICES) == 0;
	int code = 0;

	if (!is_device && (described == NULL || described->place == DEVICE))
		return unknown_key(
			"config", name,
			"use cpus, mem, spm, maxmem, hotplug, numa, distance, perf, accel, phys-bits or devices", err);
	if (!is_device && described->place == ONE) {
		struct spot spot = spot_of(name, 0, false);

		return enter_value(reader, described, value, &spot, err);
	}
	if (!json_is_array(value))
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "config.%s is no array; use [VALUE, ...]", name);
	for (size_t i = 0; code == 0 && i < json_array_size(value); i++) {
		struct spot spot = spot_of(name, i, true);
		const json_t *element = json_array_get(value, i);

		code = is_device ? enter_device(reader, element, &spot, err)
				 : enter_value(reader, described, element, &spot, err);
	}
	return code;
}

/* The other members of a plan follow from "config" and are not read; but a name that no plan has is a mistake. */
static int check_members(const json_t *plan, struct error *err)
{
	static const char *const MEMBERS[] = {
		"config",      "cpus",   "phys-bits",    "memory-block-size", "regions", "window", "e820",     "nodes",
		"performance", "caches", "accelerators", "memslots",          "devices", "blocks", "warnings",
	};
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)plan, key, value)
	{
		size_t i = 0;

		while (i < sizeof(MEMBERS) / sizeof(MEMBERS[0]) && strcmp(MEMBERS[i], key) != 0)
			i++;
		if (i == sizeof(MEMBERS) / sizeof(MEMBERS[0]))
			return unknown_key("the file", key, "what describes the machine stands in \"config\"", err);
	}
	if (!json_is_object(json_object_get(plan, "config")))
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "the object \"config\" is missing; spmvm plan --format json writes such a file");
	return 0;
}

int config_json_read(const char *text, size_t size, config_json_enter *enter, void *context, struct error *err)
{
	struct reader reader = {.enter = enter, .context = context};
	json_error_t bad;
	json_t *plan = json_loadb(text, size, JSON_REJECT_DUPLICATES, &bad);
	const char *name;
	json_t *value;
	int code;

	if (plan == NULL)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL, "no JSON: line %d, column %d: %s", bad.line,
				 bad.column, bad.text);
	code = check_members(plan, err);
	if (code == 0) {
		json_object_foreach(json_object_get(plan, "config"), name, value)
		{
			code = enter_member(&reader, name, value, err);
			if (code < 0)
				break;
		}
	}
	buf_release(&reader.text);
	json_decref(plan);
	return code;
}
