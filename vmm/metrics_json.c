/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/metrics_json.h"

#include <stdio.h>

enum { KEY_SIZE = 2 * METRICS_ID_SIZE };

static const char *key_of(const struct metrics_value *value, char key[KEY_SIZE])
{
	static const char *const SUFFIXES[] = {[UNIT_NONE] = "", [UNIT_BYTES] = "_bytes", [UNIT_NANOSECONDS] = "_ns"};

	snprintf(key, KEY_SIZE, "%s%s", value->name, SUFFIXES[value->unit]);
	return key;
}

/* jansson's numbers have a sign; no counter comes that far, and a mistaken one should not look small. */
static json_t *number(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

/* The object of that name in another one, made when it is not there; borrowed. NULL when memory runs out. */
static json_t *inner(json_t *object, const char *key)
{
	json_t *found = json_object_get(object, key);

	if (found == NULL && json_object_set_new(object, key, json_object()) == 0)
		found = json_object_get(object, key);
	return found;
}

/* -1 when memory runs out, as json_object_set_new() says it. */
static int put_value(json_t *object, const struct metrics_value *value)
{
	char key[KEY_SIZE];
	json_t *place = object;
	const char *name = key_of(value, key);

	if (value->of_kvm) {
		place = inner(object, "kvm");
	} else if (value->label != NULL) {
		place = inner(object, name);
		name = value->label_value;
	}
	return json_object_set_new(place, name, number(value->value));
}

static int put_values(const struct metrics *metrics, const struct metrics_object *object, json_t *json)
{
	int code = 0;

	for (size_t i = object->first; code == 0 && i < object->first + object->count; i++)
		code = put_value(json, &metrics->values[i]);
	return code;
}

static int put_object(json_t *root, const struct metrics *metrics, const struct metrics_object *object)
{
	static const char *const LISTS[] = {
		[METRICS_VCPU] = "vcpus", [METRICS_MEMORY] = "memory", [METRICS_DEVICE] = "devices"};
	json_t *json;
	int code;

	if (object->kind == METRICS_MACHINE || object->kind == METRICS_BOOT) {
		json = inner(root, object->kind == METRICS_MACHINE ? "machine" : "boot");
		return json == NULL ? -1 : put_values(metrics, object, json);
	}
	json = json_object();
	code = json_array_append_new(json_object_get(root, LISTS[object->kind]), json);
	if (code == 0)
		code = json_object_set_new(json, "id", json_string(object->id));
	if (code == 0 && object->class != NULL)
		code = json_object_set_new(json, "class", json_string(object->class));
	/* as typed: bytes that are no UTF-8 cannot be told in JSON, and the id tells the device all the same */
	if (code == 0 && object->option != NULL)
		(void)json_object_set_new(json, "option", json_string(object->option));
	return code == 0 ? put_values(metrics, object, json) : code;
}

json_t *metrics_json(const struct metrics *metrics)
{
	json_t *root = json_pack("{s:I, s:b, s:{}, s:{}, s:[], s:[], s:[]}", "time_ns", (json_int_t)metrics->time,
				 "final", metrics->final, "machine", "boot", "vcpus", "memory", "devices");
	int code = root == NULL || metrics->failed ? -1 : 0;

	for (size_t i = 0; code == 0 && i < metrics->object_count; i++)
		code = put_object(root, metrics, &metrics->objects[i]);
	if (code == 0)
		return root;
	json_decref(root);
	return NULL;
}

/* ---- as QEMU shows statistics */

static json_t *stats_of(const struct metrics *metrics, const struct metrics_object *object, bool of_kvm)
{
	json_t *stats = json_array();
	int code = stats == NULL ? -1 : 0;

	for (size_t i = object->first; code == 0 && i < object->first + object->count; i++) {
		const struct metrics_value *value = &metrics->values[i];
		char key[KEY_SIZE], name[2 * KEY_SIZE];

		if (value->of_kvm != of_kvm)
			continue;
		snprintf(name, sizeof(name), "%s%s%s", key_of(value, key), value->label != NULL ? "." : "",
			 value->label_value);
		code = json_array_append_new(stats,
					     json_pack("{s:s, s:o}", "name", name, "value", number(value->value)));
	}
	if (code == 0)
		return stats;
	json_decref(stats);
	return NULL;
}

json_t *metrics_query_stats(const struct metrics *metrics, enum metrics_kind kind)
{
	bool of_kvm = kind == METRICS_MACHINE || kind == METRICS_VCPU;
	json_t *results = json_array();
	int code = results == NULL || metrics->failed ? -1 : 0;

	for (size_t i = 0; code == 0 && i < metrics->object_count; i++) {
		const struct metrics_object *object = &metrics->objects[i];
		char path[2 * METRICS_ID_SIZE];
		json_t *result;

		if (object->kind != kind)
			continue;
		result = json_pack("{s:s, s:o}", "provider", of_kvm ? "kvm" : "spmvm", "stats",
				   stats_of(metrics, object, of_kvm));
		snprintf(path, sizeof(path), kind == METRICS_VCPU ? "/machine/cpu[%s]" : "%s", object->id);
		code = json_array_append_new(results, result);
		if (code == 0 && object->id[0] != '\0')
			code = json_object_set_new(result, kind == METRICS_VCPU ? "qom-path" : "id", json_string(path));
	}
	if (code == 0)
		return results;
	json_decref(results);
	return NULL;
}
