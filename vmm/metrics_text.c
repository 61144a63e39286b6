/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenMetrics 1.0 (https://github.com/prometheus/OpenMetrics, specification/OpenMetrics.md): all samples of a family
 * stand together behind its TYPE, UNIT and HELP; a counter's sample ends in _total; the last line is "# EOF".
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/metrics.h"

/* A value with the object that it belongs to, and the next one of its family. */
struct sample {
	const struct metrics_object *object;
	const struct metrics_value *value;
	struct sample *next;
};

struct family {
	struct sample *first, *last;
};

static const char *prefix_of(const struct metrics_object *object)
{
	static const char *const PREFIXES[] = {[METRICS_MACHINE] = "",
					       [METRICS_BOOT] = "boot_",
					       [METRICS_VCPU] = "vcpu_",
					       [METRICS_MEMORY] = "memory_"};

	return object->kind == METRICS_DEVICE ? object->class : PREFIXES[object->kind];
}

static int family_order(const struct sample *a, const struct sample *b)
{
	int order = (int)a->object->kind - (int)b->object->kind;

	if (order == 0)
		order = strcmp(prefix_of(a->object), prefix_of(b->object));
	if (order == 0)
		order = (int)a->value->of_kvm - (int)b->value->of_kvm;
	return order != 0 ? order : strcmp(a->value->name, b->value->name);
}

/*
 * Puts a sample behind the others of its family, or makes one for it; families are sorted. Not by qsort(): glibc's asks how much memory
 * the host has, which would be one more system call for the sandbox to leave open.
 */
static void enter(struct family *families, size_t *count, struct sample *sample)
{
	size_t low = 0, high = *count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = family_order(sample, families[middle].first);

		if (order == 0) {
			families[middle].last->next = sample;
			families[middle].last = sample;
			return;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	memmove(&families[low + 1], &families[low], (*count - low) * sizeof(families[0]));
	families[low] = (struct family){sample, sample};
	(*count)++;
}

static const char *unit_of(const struct metrics_value *value)
{
	static const char *const UNITS[] = {[UNIT_NONE] = NULL, [UNIT_BYTES] = "bytes", [UNIT_NANOSECONDS] = "seconds"};

	return UNITS[value->unit];
}

static void put_family(struct buf *text, const struct sample *sample)
{
	const char *unit = unit_of(sample->value);

	buf_printf(text, "spmvm_%s%s%s%s%s%s", prefix_of(sample->object),
		   sample->object->kind == METRICS_DEVICE ? "_" : "", sample->value->of_kvm ? "kvm_" : "",
		   sample->value->name, unit != NULL ? "_" : "", unit != NULL ? unit : "");
}

static void put_head(struct buf *text, const struct sample *sample)
{
	const char *unit = unit_of(sample->value);

	buf_text(text, "# TYPE ");
	put_family(text, sample);
	buf_text(text, sample->value->kind == COUNTER_TOTAL ? " counter\n" : " gauge\n");
	if (unit != NULL) {
		buf_text(text, "# UNIT ");
		put_family(text, sample);
		buf_printf(text, " %s\n", unit);
	}
	buf_text(text, "# HELP ");
	put_family(text, sample);
	buf_printf(text, " %s.\n", sample->value->help);
}

/*
 * "Escaping": a label's value has \\, \" and \n for the three that would end it. It is to be UTF-8, which an option of
 * the user's need not be: beyond ASCII it has ?, as in an event.
 */
static void put_label(struct buf *text, const char *name, const char *value, bool *any)
{
	buf_printf(text, "%c%s=\"", *any ? ',' : '{', name);
	*any = true;
	for (; *value != '\0'; value++) {
		if (*value == '\n')
			buf_text(text, "\\n");
		else if (*value == '\\' || *value == '"')
			buf_printf(text, "\\%c", *value);
		else
			buf_u8(text, *value >= 0x20 && *value < 0x7f ? (uint8_t)*value : '?');
	}
	buf_u8(text, '"');
}

static void put_id(struct buf *text, const struct metrics_object *object, bool *any)
{
	static const char *const NAMES[] = {
		[METRICS_VCPU] = "vcpu", [METRICS_MEMORY] = "memory", [METRICS_DEVICE] = "device"};

	if (object->id[0] != '\0')
		put_label(text, NAMES[object->kind], object->id, any);
}

static void put_sample(struct buf *text, const struct sample *sample)
{
	const struct metrics_value *value = sample->value;
	bool any = false;

	put_family(text, sample);
	if (value->kind == COUNTER_TOTAL)
		buf_text(text, "_total");
	put_id(text, sample->object, &any);
	if (value->label != NULL)
		put_label(text, value->label, value->label_value, &any);
	buf_text(text, any ? "} " : " ");
	if (value->unit == UNIT_NANOSECONDS)
		buf_printf(text, "%" PRIu64 ".%09" PRIu64 "\n", value->value / UINT64_C(1000000000),
			   value->value % UINT64_C(1000000000));
	else
		buf_printf(text, "%" PRIu64 "\n", value->value);
}

/* What the ids stand for, as a metric of type info. */
static void put_info(const struct metrics *metrics, enum metrics_kind kind, const char *name, struct buf *text)
{
	bool first = true;

	for (size_t i = 0; i < metrics->object_count; i++) {
		const struct metrics_object *object = &metrics->objects[i];
		bool any = false;

		if (object->kind != kind || object->option == NULL)
			continue;
		if (first)
			buf_printf(text, "# TYPE spmvm_%s info\n# HELP spmvm_%s The option that it comes from.\n", name,
				   name);
		first = false;
		buf_printf(text, "spmvm_%s_info", name);
		put_id(text, object, &any);
		put_label(text, "option", object->option, &any);
		buf_text(text, "} 1\n");
	}
}

void metrics_text(const struct metrics *metrics, struct buf *text)
{
	struct sample *samples = calloc(metrics->value_count + 1, sizeof(*samples)), *sample = samples;
	struct family *families = calloc(metrics->value_count + 1, sizeof(*families));
	size_t count = 0;

	if (samples == NULL || families == NULL || metrics->failed) {
		text->failed = true;
		free(samples);
		free(families);
		return;
	}
	for (size_t i = 0; i < metrics->object_count; i++) {
		const struct metrics_object *object = &metrics->objects[i];

		for (size_t j = 0; j < object->count; j++, sample++) {
			*sample = (struct sample){object, &metrics->values[object->first + j], NULL};
			enter(families, &count, sample);
		}
	}
	put_info(metrics, METRICS_MEMORY, "memory", text);
	put_info(metrics, METRICS_DEVICE, "device", text);
	for (size_t i = 0; i < count; i++) {
		put_head(text, families[i].first);
		for (sample = families[i].first; sample != NULL; sample = sample->next)
			put_sample(text, sample);
	}
	buf_text(text, "# EOF\n");
	free(samples);
	free(families);
}
