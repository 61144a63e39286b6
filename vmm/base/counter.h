/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_BASE_COUNTER_H
#define SPMVM_BASE_COUNTER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A number that lives in the struct of the thing that it is about and that any thread may read at any time. It has one
 * writer at a time (a thread, or who holds the struct's lock), so counting is an ordinary addition: no locked
 * instruction, no fence. What belongs together is not read together: two counters may be an event apart.
 */
struct counter {
	_Atomic uint64_t value;
};

static inline uint64_t counter_read(const struct counter *counter)
{
	return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

/* For a figure that goes up and down. */
static inline void counter_set(struct counter *counter, uint64_t value)
{
	atomic_store_explicit(&counter->value, value, memory_order_relaxed);
}

static inline void counter_add(struct counter *counter, uint64_t amount)
{
	counter_set(counter, counter_read(counter) + amount);
}

/*
 * The one place where a counter gets its name: a table beside the struct, from which every report is made.
 */
enum counter_kind { COUNTER_TOTAL /* only ever rises */, COUNTER_GAUGE };
enum counter_unit { UNIT_NONE, UNIT_BYTES, UNIT_NANOSECONDS };

struct counter_field {
	const char *name; /* snake case, without the unit */
	size_t offset;    /* of the struct counter in the struct that the table is about */
	enum counter_kind kind;
	enum counter_unit unit;
	const char *help; /* one line, no full stop */
};

struct counter_table {
	const char *label; /* what tells several structs of one owner apart: "port"; NULL when there is one */
	const struct counter_field *fields;
	size_t count;
};

/*
 * Who wants to see counters: add is called for each struct that has some, with its value of the label (NULL without
 * one).
 */
struct counter_sink {
	void (*add)(void *context, const struct counter_table *table, const void *counters, const char *label);
	void *context;
};

static inline void counter_show(const struct counter_sink *sink, const struct counter_table *table,
				const void *counters, const char *label)
{
	sink->add(sink->context, table, counters, label);
}

#endif
