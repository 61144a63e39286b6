/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_METRICS_H
#define SPMVM_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/base/buf.h"
#include "vmm/base/counter.h"

/*
 * What a machine has counted, at one moment: objects (the machine itself, vcpus, memory, devices) with values.
 * machine_collect() makes it from the counters' own tables; JSON (metrics_json.h) and OpenMetrics are views of it that
 * know no single counter.
 */
enum metrics_kind { METRICS_MACHINE, METRICS_BOOT, METRICS_VCPU, METRICS_MEMORY, METRICS_DEVICE };

enum { METRICS_ID_SIZE = 64 };

struct metrics_value {
	const char *name; /* of struct counter_field, or KVM's; borrowed, as help is */
	enum counter_kind kind;
	enum counter_unit unit;
	const char *help;
	const char *label;                 /* "operation", NULL without one; borrowed */
	char label_value[METRICS_ID_SIZE]; /* "read" */
	bool of_kvm;                       /* name and value are KVM's own */
	uint64_t value;
};

struct metrics_object {
	enum metrics_kind kind;
	const char *class;        /* of a device: "blk"; borrowed; NULL for others */
	const char *option;       /* that it comes from; borrowed; NULL where none is meant */
	char id[METRICS_ID_SIZE]; /* "hbm0", "blk0", the vcpu's number; empty where there is only one */
	size_t first, count;      /* its values */
};

struct metrics {
	uint64_t time; /* ns of CLOCK_REALTIME */
	bool final;    /* the machine has stopped: nothing will change any more */
	struct metrics_object *objects;
	size_t object_count;
	struct metrics_value *values;
	size_t value_count;
	bool failed; /* memory has run out: something is missing */
};

/* A zeroed one is empty and ready. Takes NULL too. */
void metrics_release(struct metrics *metrics);

/* Begins an object, to which values are added from here on. id may be NULL. */
void metrics_object(struct metrics *metrics, enum metrics_kind kind, const char *class, const char *id,
		    const char *option);

/* A value of the object begun last. label_value is copied and may be cut. */
void metrics_value(struct metrics *metrics, const struct counter_field *field, uint64_t value);
void metrics_labelled(struct metrics *metrics, const struct counter_field *field, const char *label,
		      const char *label_value, uint64_t value);
void metrics_kvm(struct metrics *metrics, const char *name, enum counter_kind kind, uint64_t value);

/* What adds everything that a table names to the object begun last. */
struct counter_sink metrics_sink(struct metrics *metrics);

/*
 * OpenMetrics 1.0 as text, appended: families sorted by name, "# EOF" last. A family is spmvm_, the object's kind (for
 * devices their class), kvm_ for KVM's own, the name and the unit; nanoseconds become seconds. text fails (buf_failed())
 * where metrics has: what is there is whole.
 */
void metrics_text(const struct metrics *metrics, struct buf *text);

#endif
