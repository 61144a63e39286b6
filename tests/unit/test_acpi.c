/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/acpi.h"
#include "tests/unit/test_acpi_machines.h"
#include "tests/unit/unit.h"

#include <errno.h>

/*
 * The blob as a whole: what is in it, how it is linked, how large it is, and what happens when memory runs out. What the tables
 * say is for test_acpi_tables.c.
 */

/* The linker sends all of realloc() here (-Wl,--wrap): the call number fail_at fails, 0 for none. */
void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);
static unsigned int fail_at, calls;

void *__wrap_realloc(void *memory, size_t size)
{
	calls++;
	return calls == fail_at ? NULL : __real_realloc(memory, size);
}

static uint8_t sum(const uint8_t *bytes, size_t size)
{
	uint8_t total = 0;

	while (size-- > 0)
		total = (uint8_t)(total + *bytes++);
	return total;
}

/* §5.2.6: signature, length, checksum and the ids of every table but the RSDP */
static void assert_header(const uint8_t *table, size_t size, const char *signature)
{
	assert_memory_equal(table, signature, 4);
	assert_int_equal(read_le(table + 4, 4), size);
	assert_int_equal(sum(table, size), 0);
	assert_memory_equal(table + 10, "SPMVM ", 6);
	assert_memory_equal(table + 16, "SPMVM   ", 8);
	assert_int_equal(read_le(table + 24, 4), 1);
	assert_memory_equal(table + 28, "SPMV", 4);
	assert_int_equal(read_le(table + 32, 4), 1);
}

/* The table at a guest-physical address, which must be in the blob's list too. */
static const uint8_t *follow(const struct acpi_blob *blob, uint64_t base, uint64_t address, const char *signature)
{
	for (size_t i = 0; i < blob->table_count; i++) {
		const struct acpi_table *table = &blob->tables[i];

		if (base + table->offset == address) {
			assert_string_equal(table->signature, signature);
			assert_header(blob->bytes.data + table->offset, table->size, signature);
			return blob->bytes.data + table->offset;
		}
	}
	fail_msg("nothing at 0x%" PRIx64 " for %s", address, signature);
	return NULL;
}

/* From the RSDP on, as an operating system goes. */
static void assert_linked(const struct acpi_blob *blob, uint64_t base)
{
	static const char *const listed[] = {"FACP", "APIC", "SRAT", "SLIT", "HMAT"};
	/* all but RSDP, DSDT and the XSDT itself; HMAT is not always there */
	size_t count = blob->table_count - 3;
	const uint8_t *rsdp = blob->bytes.data, *xsdt, *fadt;

	assert_in_range(count, 4, sizeof(listed) / sizeof(listed[0]));
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	assert_memory_equal(rsdp + 9, "SPMVM ", 6);
	assert_int_equal(rsdp[15], 2);
	assert_int_equal(read_le(rsdp + 16, 4), 0);
	assert_int_equal(read_le(rsdp + 20, 4), 36);
	xsdt = follow(blob, base, read_le(rsdp + 24, 8), "XSDT");
	assert_int_equal(xsdt[8], 1);
	assert_int_equal(read_le(xsdt + 4, 4), 36 + 8 * count);
	for (size_t i = 0; i < count; i++)
		follow(blob, base, read_le(xsdt + 36 + 8 * i, 8), listed[i]);
	fadt = follow(blob, base, read_le(xsdt + 36, 8), "FACP");
	assert_int_equal(read_le(fadt + 40, 4), 0);
	follow(blob, base, read_le(fadt + 140, 8), "DSDT");
}

static void assert_list(const struct acpi_blob *blob)
{
	static const char *const signatures[] = {"RSDP", "DSDT", "FACP", "APIC", "SRAT", "SLIT", "HMAT", "XSDT"};
	size_t end = 0, left_out = 0;

	for (size_t i = 0; i < blob->table_count; i++) {
		if (i == 6 && strcmp(blob->tables[i].signature, "HMAT") != 0)
			left_out = 1;
		assert_string_equal(blob->tables[i].signature, signatures[i + left_out]);
		assert_int_equal(blob->tables[i].offset, (end + 15) / 16 * 16);
		end = blob->tables[i].offset + blob->tables[i].size;
	}
	assert_int_equal(blob->table_count + left_out, sizeof(signatures) / sizeof(signatures[0]));
	assert_int_equal(blob->bytes.size, (end + 15) / 16 * 16);
}

static void tables_are_linked_at_any_base(void **state)
{
	static const uint64_t bases[] = {0, MACHINE_BASE, 0xe0010, 5 * GIB, (UINT64_C(1) << 52) - 0x10000};

	(void)state;
	for (size_t m = 0; m < NAMED_MACHINES; m++) {
		for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
			struct acpi_blob blob;
			struct error err;

			assert_int_equal(acpi_build(&blob, &named_machines[m].inputs, bases[i], &err), 0);
			assert_list(&blob);
			assert_linked(&blob, bases[i]);
			acpi_blob_release(&blob);
		}
	}
}

static void the_same_inputs_give_the_same_bytes(void **state)
{
	struct acpi_blob a, b;
	struct error err;

	(void)state;
	assert_int_equal(acpi_build(&a, &named_machines[1].inputs, MACHINE_BASE, &err), 0);
	assert_int_equal(acpi_build(&b, &named_machines[1].inputs, MACHINE_BASE, &err), 0);
	assert_int_equal(a.bytes.size, b.bytes.size);
	assert_memory_equal(a.bytes.data, b.bytes.data, a.bytes.size);
	acpi_blob_release(&a);
	acpi_blob_release(&b);
}

static void assert_bound(size_t cpus, size_t memory, uint32_t localities, size_t devices, bool figures)
{
	struct acpi_counts counts = {.cpus = cpus, .memory = memory, .localities = localities, .devices = devices};
	struct grown_machine machine;
	struct acpi_blob blob;
	struct error err = {0};
	uint64_t bound;

	grown_new(&machine, cpus, memory, localities, devices);
	if (figures) {
		grown_with_figures(&machine);
		counts.initiators = machine.inputs.initiators;
		counts.caches = memory;
	}
	bound = acpi_size_bound(&counts);
	if (acpi_build(&blob, &machine.inputs, MACHINE_BASE, &err) != 0)
		fail_msg("%s", err.text);
	assert_linked(&blob, MACHINE_BASE);
	assert_int_equal(bound % 4096, 0);
	assert_in_range(blob.bytes.size, 1, bound);
	/*
	 * nor is it wasteful, if every domain has memory: a few bytes for each processor whose APIC id turned out to be
	 * short, and a page
	 */
	if (memory >= localities)
		assert_in_range(bound, blob.bytes.size, blob.bytes.size + 32 * cpus + devices + 4096 + 600);
	acpi_blob_release(&blob);
	grown_free(&machine);
}

static void the_bound_holds(void **state)
{
	struct prng prng = prng_new("the_bound_holds");

	(void)state;
	assert_bound(1, 0, 1, 0, false);
	assert_bound(255, 2000, 1024, 64, false);
	assert_bound(255, 2000, 1024, 64, true);
	assert_bound(4096, 0, 1, 0, false);
	assert_bound(1, 3000, 1, 0, false);
	assert_bound(1, 1, 1, 3000, false);
	assert_bound(1, 1, 1, 0, true);
	for (int i = 0; i < 300; i++) {
		size_t cpus = 1 + prng_below(&prng, 300), memory = prng_below(&prng, 200);
		uint32_t localities = 1 + (uint32_t)prng_below(&prng, cpus + memory);

		assert_bound(cpus, memory, localities < 1024 ? localities : 1024, prng_below(&prng, 60),
			     prng_below(&prng, 2));
	}
}

static void bad_addresses_are_refused(void **state)
{
	struct acpi_blob blob = {.table_count = 7};
	struct error err = {0};

	(void)state;
	assert_int_equal(acpi_build(&blob, &named_machines[0].inputs, 0xe0008, &err), -EINVAL);
	assert_int_equal(err.status, EXIT_STATUS_INTERNAL);
	assert_string_equal(err.text, "ACPI tables: address 0xe0008 is not a multiple of 16, as the RSDP must be");
	assert_int_equal(acpi_build(&blob, &named_machines[0].inputs, UINT64_MAX - 15, &err), -EINVAL);
	assert_int_equal(err.status, EXIT_STATUS_INTERNAL);
	assert_string_equal(err.text, "ACPI tables: 4096 bytes at 0xfffffffffffffff0 reach behind 2^64");
	assert_int_equal(blob.table_count, 7);
}

static void bad_inputs_are_refused(void **state)
{
	struct acpi_inputs inputs = named_machines[0].inputs;
	struct acpi_blob blob = {.table_count = 7};
	struct error err = {0};

	(void)state;
	inputs.cpu_count = 0;
	assert_int_equal(acpi_build(&blob, &inputs, MACHINE_BASE, &err), -EINVAL);
	assert_string_equal(err.text, "ACPI: 0 processors; from 1 to 4096 can be described");
	assert_int_equal(blob.table_count, 7);
}

static void memory_may_run_out_anywhere(void **state)
{
	struct acpi_blob blob;
	struct error err = {0};
	unsigned int failures = 0;

	(void)state;
	for (int rc = -ENOMEM; rc != 0; failures++) {
		calls = 0;
		fail_at = failures + 1;
		rc = acpi_build(&blob, &named_machines[1].inputs, MACHINE_BASE, &err);
		fail_at = 0;
		if (rc == 0)
			break;
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(err.status, EXIT_STATUS_HOST);
		assert_string_equal(err.text, "ACPI tables: no memory for up to 4096 bytes; free some on the host");
		assert_null(blob.bytes.data);
		assert_int_equal(blob.table_count, 0);
	}
	/* the blob grew from 256 bytes to 2048 in four steps, and each of the six _CRS asked once */
	assert_int_equal(failures, 4 + 6);
	acpi_blob_release(&blob);
}

static void release_takes_anything(void **state)
{
	struct acpi_blob blob = {0};

	(void)state;
	acpi_blob_release(NULL);
	acpi_blob_release(&blob);
	acpi_blob_release(&blob);
	assert_int_equal(blob.table_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_are_linked_at_any_base),
		cmocka_unit_test(the_same_inputs_give_the_same_bytes),
		cmocka_unit_test(the_bound_holds),
		cmocka_unit_test(bad_addresses_are_refused),
		cmocka_unit_test(bad_inputs_are_refused),
		cmocka_unit_test(memory_may_run_out_anywhere),
		cmocka_unit_test(release_takes_anything),
	};

	return cmocka_run_group_tests_name("acpi", tests, NULL, NULL);
}
