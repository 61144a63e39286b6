/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/acpi.h"
#include "acpi/table.h"
#include "acpi/tables.h"

#include <stdbool.h>

/* §5.2.28.3, Table 5.146: the flag; §5.2.28.4, Table 5.147: the data types, in the order of enum acpi_figure */
enum { ATTACHED_INITIATOR_VALID = 1 << 0 };
static const uint8_t DATA_TYPES[ACPI_FIGURES] = {1, 2, 4, 5};

uint32_t acpi_figure_unit(const uint32_t *figures, size_t count)
{
	uint32_t unit = 0, largest = 0;

	/* Euclid's greatest common divisor; that of 0 and n is n */
	for (size_t i = 0; i < count; i++) {
		uint32_t rest = figures[i];

		largest = rest > largest ? rest : largest;
		while (rest != 0) {
			uint32_t next = unit % rest;

			unit = rest;
			rest = next;
		}
	}
	if (unit == 0)
		return 1;
	return largest / unit <= ACPI_ENTRY_MAX ? unit : 0;
}

/* SRAT's memory is sorted by domain: the first entry of each one stands for it, and gives true. */
static bool is_new_domain(const struct acpi_inputs *inputs, size_t i)
{
	return i == 0 || inputs->memory[i].pxm != inputs->memory[i - 1].pxm;
}

static uint32_t count_targets(const struct acpi_inputs *inputs)
{
	uint32_t targets = 0;

	for (size_t i = 0; i < inputs->memory_count; i++)
		targets += is_new_domain(inputs, i);
	return targets;
}

/* §5.2.28.3, memory proximity domain attributes structure */
static void memory_attributes(struct buf *bytes, uint32_t pxm, uint32_t attached)
{
	bool valid = attached != ACPI_NOT_ATTACHED;

	buf_u16(bytes, 0);  /* type */
	buf_u16(bytes, 0);  /* reserved */
	buf_u32(bytes, 40); /* length */
	buf_u16(bytes, valid ? ATTACHED_INITIATOR_VALID : 0);
	buf_u16(bytes, 0); /* reserved */
	buf_u32(bytes, valid ? attached : 0);
	buf_u32(bytes, pxm);
	buf_u32(bytes, 0); /* reserved */
	buf_u64(bytes, 0); /* reserved */
	buf_u64(bytes, 0); /* reserved */
}

/* §5.2.28.4, system locality latency and bandwidth information structure, of one data type */
static void locality_figures(struct buf *bytes, const struct acpi_inputs *inputs, enum acpi_figure kind)
{
	const uint32_t *figures = inputs->figures[kind];
	size_t count = (size_t)inputs->initiators * inputs->localities;
	uint32_t unit = acpi_figure_unit(figures, count), targets = count_targets(inputs);

	buf_u16(bytes, 1); /* type */
	buf_u16(bytes, 0); /* reserved */
	buf_u32(bytes, HMAT_SIZE_LOCALITY + 4 * (inputs->initiators + targets) + 2 * inputs->initiators * targets);
	buf_u8(bytes, 0); /* flags: of the memory itself, not of a cache before it */
	buf_u8(bytes, DATA_TYPES[kind]);
	buf_u8(bytes, 0); /* minimum transfer size: none */
	buf_u8(bytes, 0); /* reserved */
	buf_u32(bytes, inputs->initiators);
	buf_u32(bytes, targets);
	buf_u32(bytes, 0); /* reserved */
	buf_u64(bytes, unit);
	for (uint32_t from = 0; from < inputs->initiators; from++)
		buf_u32(bytes, from);
	for (size_t i = 0; i < inputs->memory_count; i++) {
		if (is_new_domain(inputs, i))
			buf_u32(bytes, inputs->memory[i].pxm);
	}
	for (uint32_t from = 0; from < inputs->initiators; from++) {
		const uint32_t *row = &figures[(size_t)from * inputs->localities];

		for (size_t i = 0; i < inputs->memory_count; i++) {
			if (is_new_domain(inputs, i))
				buf_u16(bytes, (uint16_t)(row[inputs->memory[i].pxm] / unit));
		}
	}
}

/* Whether there is any figure of a kind: a structure of nothing but "not provided" is left out. */
static bool has_figures(const struct acpi_inputs *inputs, int kind)
{
	for (size_t i = 0; i < (size_t)inputs->initiators * inputs->localities; i++) {
		if (inputs->figures[kind][i] != 0)
			return true;
	}
	return false;
}

/* §5.2.28.5, memory side cache information structure */
static void memory_side_cache(struct buf *bytes, const struct acpi_cache *cache)
{
	buf_u16(bytes, 2);               /* type */
	buf_u16(bytes, 0);               /* reserved */
	buf_u32(bytes, HMAT_SIZE_CACHE); /* length */
	buf_u32(bytes, cache->pxm);
	buf_u32(bytes, 0); /* reserved */
	buf_u64(bytes, cache->size);
	buf_u32(bytes, (uint32_t)cache->levels | (uint32_t)cache->level << 4 | (uint32_t)cache->mapping << 8 |
			       (uint32_t)cache->policy << 12 | (uint32_t)cache->line << 16);
	buf_u16(bytes, 0); /* reserved */
	buf_u16(bytes, 0); /* number of SMBIOS handles */
}

/* ACPI 6.5 §5.2.28, heterogeneous memory attribute table; revision 2: latencies in picoseconds, bandwidths in MB/s */
void hmat_append(struct buf *bytes, const struct acpi_inputs *inputs)
{
	size_t start = table_begin(bytes, "HMAT", 2);

	buf_u32(bytes, 0); /* reserved */
	for (size_t i = 0; i < inputs->memory_count; i++) {
		if (is_new_domain(inputs, i))
			memory_attributes(bytes, inputs->memory[i].pxm, inputs->attached[inputs->memory[i].pxm]);
	}
	for (int kind = 0; kind < ACPI_FIGURES; kind++) {
		if (has_figures(inputs, kind))
			locality_figures(bytes, inputs, (enum acpi_figure)kind);
	}
	for (size_t i = 0; i < inputs->cache_count; i++)
		memory_side_cache(bytes, &inputs->caches[i]);
	table_end(bytes, start);
}
