/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_METRICS_JSON_H
#define SPMVM_METRICS_JSON_H

#include <jansson.h>

#include "vmm/metrics.h"

/*
 * All of it as one object: "time_ns", "final", "machine" and "boot" (objects), "vcpus", "memory" and "devices" (arrays
 * of objects with their "id"). A value's key is its name and unit (_bytes, _ns), its value a number, or with labels an
 * object of numbers; KVM's own are in an object "kvm". The caller owns the result; NULL when memory runs out.
 */
json_t *metrics_json(const struct metrics *metrics);

/*
 * The objects of a kind in the shape in which QEMU answers query-stats (qapi/stats.json, StatsResult): "provider",
 * "stats" of "name" and "value", and "qom-path" for vcpus, "id" for memory and devices. For vcpus and the machine
 * KVM's own values alone, provider "kvm"; for the others ours, provider "spmvm", a label in the name as
 * "requests.read". The caller owns it; NULL when memory runs out.
 */
json_t *metrics_query_stats(const struct metrics *metrics, enum metrics_kind kind);

#endif
