/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/acpi.h"
#include "acpi/tables.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* §5.2.5.1 wants the RSDP on 16 bytes; the tables follow it at the same alignment, which the specification does not ask for. */
enum { ALIGNMENT = 16, PAGE = 4096 };

/* The table that was just appended at start gets its line in the list, and the next one starts aligned. */
static void finish(struct acpi_blob *blob, const char *signature, size_t start)
{
	struct acpi_table *table = &blob->tables[blob->table_count++];

	assert(blob->table_count <= ACPI_TABLES_MAX);
	memcpy(table->signature, signature, sizeof(table->signature));
	table->offset = start;
	table->size = blob->bytes.size - start;
	buf_align(&blob->bytes, ALIGNMENT);
}

/* The XSDT lists each table that nothing else points to: the RSDP and the DSDT have their own ways. */
static void append_xsdt(struct acpi_blob *blob, uint64_t base)
{
	uint64_t addresses[ACPI_TABLES_MAX];
	size_t count = 0, start = blob->bytes.size;

	for (size_t i = 0; i < blob->table_count; i++) {
		const struct acpi_table *table = &blob->tables[i];

		if (strcmp(table->signature, "RSDP") != 0 && strcmp(table->signature, "DSDT") != 0)
			addresses[count++] = base + table->offset;
	}
	xsdt_append(&blob->bytes, addresses, count);
	finish(blob, "XSDT", start);
}

/* Pointed to before pointing: DSDT, then FADT; all of them, then XSDT; the RSDP is first in memory and linked last. */
static void append_all(struct acpi_blob *blob, const struct acpi_inputs *inputs, uint64_t base)
{
	struct buf *bytes = &blob->bytes;
	size_t rsdp, dsdt, start;

	rsdp = rsdp_append(bytes);
	finish(blob, "RSDP", rsdp);
	dsdt = bytes->size;
	dsdt_append(bytes, inputs);
	finish(blob, "DSDT", dsdt);
	start = bytes->size;
	fadt_append(bytes, inputs, base + dsdt);
	finish(blob, "FACP", start);
	start = bytes->size;
	madt_append(bytes, inputs);
	finish(blob, "APIC", start);
	start = bytes->size;
	srat_append(bytes, inputs);
	finish(blob, "SRAT", start);
	start = bytes->size;
	slit_append(bytes, inputs);
	finish(blob, "SLIT", start);
	start = bytes->size;
	if (inputs->hmat) {
		hmat_append(bytes, inputs);
		finish(blob, "HMAT", start);
		start = bytes->size;
	}
	append_xsdt(blob, base);
	rsdp_link(bytes, rsdp, base + start);
}

static size_t count_accelerators(const struct acpi_inputs *inputs)
{
	size_t count = 0;

	for (size_t i = 0; i < inputs->device_count; i++)
		count += inputs->devices[i].is_initiator;
	return count;
}

int acpi_build(struct acpi_blob *blob, const struct acpi_inputs *inputs, uint64_t base, struct error *err)
{
	uint64_t bound;
	int rc = acpi_check(inputs, err);

	if (rc < 0)
		return rc;
	bound = acpi_size_bound(&(struct acpi_counts){
		.cpus = inputs->cpu_count,
		.memory = inputs->memory_count,
		.devices = inputs->device_count,
		.accelerators = count_accelerators(inputs),
		.caches = inputs->hmat ? inputs->cache_count : 0,
		.localities = inputs->localities,
		.initiators = inputs->hmat ? inputs->initiators : 0,
	});
	if (!is_aligned(base, ALIGNMENT))
		return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
				 "ACPI tables: address 0x%" PRIx64 " is not a multiple of %d, as the RSDP must be",
				 base, ALIGNMENT);
	if (!range_is_valid((struct range){base, bound}))
		return error_set(err, EXIT_STATUS_INTERNAL, EINVAL,
				 "ACPI tables: %" PRIu64 " bytes at 0x%" PRIx64 " reach behind 2^64", bound, base);

	*blob = (struct acpi_blob){0};
	append_all(blob, inputs, base);
	if (buf_failed(&blob->bytes)) {
		acpi_blob_release(blob);
		return error_set(err, EXIT_STATUS_HOST, ENOMEM,
				 "ACPI tables: no memory for up to %" PRIu64 " bytes; free some on the host", bound);
	}
	assert(blob->bytes.size <= bound);
	return 0;
}

void acpi_blob_release(struct acpi_blob *blob)
{
	if (blob == NULL)
		return;
	buf_release(&blob->bytes);
	*blob = (struct acpi_blob){0};
}

uint64_t acpi_size_bound(const struct acpi_counts *counts)
{
	uint64_t size = RSDP_SIZE + XSDT_SIZE_MAX + FADT_SIZE + DSDT_SIZE_FIXED + MADT_SIZE_FIXED + SRAT_SIZE_FIXED +
			SLIT_SIZE_FIXED;
	uint64_t initiators = counts->initiators, localities = counts->localities;

	size += counts->cpus * (uint64_t)(DSDT_SIZE_CPU + MADT_SIZE_CPU + SRAT_SIZE_CPU);
	size += counts->memory * (uint64_t)SRAT_SIZE_MEMORY;
	size += localities * localities;
	size += counts->devices * (uint64_t)DSDT_SIZE_DEVICE;
	size += counts->accelerators * (uint64_t)(DSDT_SIZE_INITIATOR + SRAT_SIZE_INITIATOR);
	if (initiators > 0) {
		size += HMAT_SIZE_FIXED + localities * HMAT_SIZE_MEMORY + counts->caches * (uint64_t)HMAT_SIZE_CACHE;
		size += ACPI_FIGURES *
			(HMAT_SIZE_LOCALITY + 4 * (initiators + localities) + 2 * initiators * localities);
	}
	size += ACPI_TABLES_MAX * ALIGNMENT; /* gaps between tables */
	return align_up(size, PAGE);
}
