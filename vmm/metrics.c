/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/metrics.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void metrics_release(struct metrics *metrics)
{
	if (metrics == NULL)
		return;
	free(metrics->objects);
	free(metrics->values);
	*metrics = (struct metrics){0};
}

/* Room for one more behind count elements: the arrays grow by doubling. NULL when memory has run out, now or before. */
static void *grown(struct metrics *metrics, void *array, size_t count, size_t size)
{
	void *more = array;

	if (metrics->failed)
		return NULL;
	if (count == 0 || (count >= 16 && (count & (count - 1)) == 0))
		more = realloc(array, (count < 16 ? 16 : 2 * count) * size);
	if (more == NULL)
		metrics->failed = true;
	return more;
}

void metrics_object(struct metrics *metrics, enum metrics_kind kind, const char *class, const char *id,
		    const char *option)
{
	struct metrics_object *objects =
		grown(metrics, metrics->objects, metrics->object_count, sizeof(metrics->objects[0]));
	struct metrics_object *object;

	if (objects == NULL)
		return;
	metrics->objects = objects;
	object = &objects[metrics->object_count++];
	*object =
		(struct metrics_object){.kind = kind, .class = class, .option = option, .first = metrics->value_count};
	snprintf(object->id, sizeof(object->id), "%s", id != NULL ? id : "");
}

static void add(struct metrics *metrics, const struct metrics_value *value)
{
	struct metrics_value *values =
		grown(metrics, metrics->values, metrics->value_count, sizeof(metrics->values[0]));

	if (values == NULL)
		return;
	assert(metrics->object_count > 0);
	metrics->values = values;
	values[metrics->value_count++] = *value;
	metrics->objects[metrics->object_count - 1].count++;
}

void metrics_labelled(struct metrics *metrics, const struct counter_field *field, const char *label,
		      const char *label_value, uint64_t value)
{
	struct metrics_value entry = {
		.name = field->name,
		.kind = field->kind,
		.unit = field->unit,
		.help = field->help,
		.label = label,
		.value = value,
	};

	snprintf(entry.label_value, sizeof(entry.label_value), "%s", label_value != NULL ? label_value : "");
	add(metrics, &entry);
}

void metrics_value(struct metrics *metrics, const struct counter_field *field, uint64_t value)
{
	metrics_labelled(metrics, field, NULL, NULL, value);
}

void metrics_kvm(struct metrics *metrics, const char *name, enum counter_kind kind, uint64_t value)
{
	const struct metrics_value entry = {
		.name = name,
		.kind = kind,
		.unit = UNIT_NONE,
		.help = "KVM's own statistic of this name",
		.of_kvm = true,
		.value = value,
	};

	add(metrics, &entry);
}

static void add_table(void *context, const struct counter_table *table, const void *counters, const char *label)
{
	for (size_t i = 0; i < table->count; i++) {
		const void *counter = (const char *)counters + table->fields[i].offset;

		metrics_labelled(context, &table->fields[i], table->label, label, counter_read(counter));
	}
}

struct counter_sink metrics_sink(struct metrics *metrics)
{
	return (struct counter_sink){add_table, metrics};
}
