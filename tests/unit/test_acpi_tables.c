/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/acpi.h"
#include "acpi/tables.h"
#include "tests/unit/test_acpi_machines.h"
#include "tests/unit/unit.h"

/* What each table says, read back field by field at the specification's offsets. */

static void build(struct acpi_blob *blob, const struct acpi_inputs *inputs)
{
	struct error err;

	assert_int_equal(acpi_build(blob, inputs, MACHINE_BASE, &err), 0);
}

static void assert_zeros(const uint8_t *bytes, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		if (bytes[i] != 0)
			fail_msg("byte %zu is 0x%x and not 0", i, bytes[i]);
	}
}

static void assert_io_register(const uint8_t *gas, uint64_t port)
{
	assert_int_equal(gas[0], 1);
	assert_int_equal(gas[1], 8);
	assert_int_equal(gas[2], 0);
	assert_int_equal(gas[3], 1);
	assert_int_equal(read_le(gas + 4, 8), port);
}

static void fadt_is_hardware_reduced(void **state)
{
	struct acpi_inputs inputs = named_machines[0].inputs;
	struct acpi_blob blob;
	const uint8_t *fadt;
	size_t size;

	(void)state;
	inputs.reset_port = 0xcf9;
	inputs.reset_value = 0x06;
	inputs.sleep_control_port = 0x8601;
	inputs.sleep_status_port = 0x604;
	build(&blob, &inputs);
	fadt = find_table(&blob, "FACP", &size);
	assert_int_equal(size, 276);
	assert_int_equal(fadt[8], 6);
	assert_int_equal(fadt[131], 5);
	assert_zeros(fadt, 36, 109);
	/* neither VGA nor CMOS RTC; no 8042, no legacy devices */
	assert_int_equal(read_le(fadt + 109, 2), 1 << 2 | 1 << 5);
	assert_int_equal(fadt[111], 0);
	/* WBINVD, PROC_C1, PWR_BUTTON, SLP_BUTTON, RESET_REG_SUP, HW_REDUCED_ACPI */
	assert_int_equal(read_le(fadt + 112, 4), 1 << 0 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 10 | 1 << 20);
	assert_io_register(fadt + 116, 0xcf9);
	assert_int_equal(fadt[128], 0x06);
	assert_zeros(fadt, 129, 131);
	assert_zeros(fadt, 132, 140);
	assert_true(read_le(fadt + 140, 8) > MACHINE_BASE);
	assert_zeros(fadt, 148, 244);
	assert_io_register(fadt + 244, 0x8601);
	assert_io_register(fadt + 256, 0x604);
	assert_zeros(fadt, 268, 276);
	acpi_blob_release(&blob);
}

static void madt_lists_old_and_new_ids(void **state)
{
	static const uint8_t expected[] = {
		0x00, 0x00, 0xe0, 0xfe, 0,    0,    0,    0, /* local APICs at 0xfee00000; no flags */
		0,    8,    0,    0,    1,    0,    0,    0, /* _UID 0, APIC id 0, enabled */
		0,    8,    1,    1,    1,    0,    0,    0, /* 1, 1 */
		0,    8,    2,    254,  1,    0,    0,    0, /* 2, 254 */
		9,    16,   0,    0,    255,  0,    0,    0,    1, 0, 0, 0,
		3,    0,    0,    0, /* APIC id 255, enabled, _UID 3 */
		9,    16,   0,    0,    0,    1,    0,    0,    1, 0, 0, 0,
		4,    0,    0,    0, /* 256 */
		9,    16,   0,    0,    0xfe, 255,  255,  255,  1, 0, 0, 0,
		5,    0,    0,    0,                                        /* 0xfffffffe */
		1,    12,   9,    0,    0x00, 0x00, 0xc0, 0xfe, 0, 0, 0, 0, /* I/O APIC 9 at 0xfec00000, GSI 0 */
	};
	struct acpi_inputs inputs = named_machines[2].inputs;
	struct acpi_blob blob;
	const uint8_t *madt;
	size_t size;

	(void)state;
	inputs.ioapic_id = 9;
	build(&blob, &inputs);
	madt = find_table(&blob, "APIC", &size);
	assert_int_equal(madt[8], 6);
	assert_int_equal(size, 36 + sizeof(expected));
	assert_memory_equal(madt + 36, expected, sizeof(expected));
	acpi_blob_release(&blob);
}

static void srat_places_processors(void **state)
{
	static const uint8_t expected[] = {
		1, 0,  0, 0,   0, 0, 0, 0, 0,    0,   0,   0,               /* reserved to be 1 */
		0, 16, 0, 0,   1, 0, 0, 0, 0,    0,   0,   0,   0, 0, 0, 0, /* domain 0, APIC id 0 */
		0, 16, 0, 1,   1, 0, 0, 0, 0,    0,   0,   0,   0, 0, 0, 0, /* 0, 1 */
		0, 16, 0, 254, 1, 0, 0, 0, 0,    0,   0,   0,   0, 0, 0, 0, /* 0, 254 */
		2, 24, 0, 0,   1, 0, 0, 0, 255,  0,   0,   0,   1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		2, 24, 0, 0,   1, 0, 0, 0, 0,    1,   0,   0,   1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		2, 24, 0, 0,   1, 0, 0, 0, 0xfe, 255, 255, 255, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	};
	struct acpi_blob blob;
	const uint8_t *srat;
	size_t size;

	(void)state;
	build(&blob, &named_machines[2].inputs);
	srat = find_table(&blob, "SRAT", &size);
	assert_int_equal(srat[8], 3);
	assert_int_equal(size, 36 + sizeof(expected) + 2 * 40);
	assert_memory_equal(srat + 36, expected, sizeof(expected));
	acpi_blob_release(&blob);
}

/* The old structure has its proximity domain in two pieces. */
static void srat_splits_high_domains(void **state)
{
	struct grown_machine machine;
	struct acpi_blob blob;
	const uint8_t *srat;
	size_t size;

	(void)state;
	grown_new(&machine, 254, 1000, 1024, 0);
	/* acpi_check() wants each domain met in turn, so only domains below 254 are met by processors: ask the table itself */
	machine.cpus[7].pxm = 0x12345678;
	blob = (struct acpi_blob){0};
	srat_append(&blob.bytes, &machine.inputs);
	srat = blob.bytes.data;
	size = 36 + 12 + 7 * 16;
	assert_int_equal(srat[size + 2], 0x78);
	assert_int_equal(srat[size + 3], 7);
	assert_int_equal(srat[size + 8], 0);
	assert_int_equal(read_le(srat + size + 9, 3), 0x123456);
	acpi_blob_release(&blob);
	grown_free(&machine);
}

static void srat_memory_is_byte_exact(void **state)
{
	static const uint8_t slot[40] = {1, 40, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 4, 0, 0, 0, 0, 0, 0, 0,
					 4, 0,  0, 0, 0, 0, 0, 0, 1, 0, 0, 0,    0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t gap[40] = {1, 40, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 10, 0, 0, 0, 0, 0, 0, 0x80,
					1, 0,  0, 0, 0, 0, 0, 0, 3, 0, 0, 0,    0,  0, 0, 0, 0, 0, 0, 0};
	const struct acpi_inputs *inputs = &named_machines[1].inputs;
	struct acpi_blob blob;
	const uint8_t *srat;
	size_t size, at = 36 + 12 + 4 * 16;

	(void)state;
	build(&blob, inputs);
	srat = find_table(&blob, "SRAT", &size);
	assert_int_equal(size, at + 7 * 40);
	/* entry 2 is the slot at 17 GiB of 16 GiB on domain 1; entry 5 the window's gap at 42 GiB of 6 GiB */
	assert_memory_equal(srat + at + 2 * 40, slot, 40);
	assert_memory_equal(srat + at + 5 * 40, gap, 40);
	for (size_t i = 0; i < inputs->memory_count; i++, at += 40) {
		assert_int_equal(srat[at], 1);
		assert_int_equal(srat[at + 1], 40);
		assert_int_equal(read_le(srat + at + 2, 4), inputs->memory[i].pxm);
		assert_int_equal(read_le(srat + at + 8, 8), inputs->memory[i].range.start);
		assert_int_equal(read_le(srat + at + 16, 8), inputs->memory[i].range.size);
		assert_int_equal(read_le(srat + at + 28, 4), inputs->memory[i].hotpluggable ? 3 : 1);
		assert_zeros(srat + at, 6, 8);
		assert_zeros(srat + at, 24, 28);
		assert_zeros(srat + at, 32, 40);
	}
	acpi_blob_release(&blob);
}

static void srat_names_the_generic_initiators(void **state)
{
	static const uint8_t expected[] = {
		5, 32, 0, 0, 1, 0, 0, 0, 'S', 'P', 'M', 'V', '0', '0', '0', '1', /* domain 1, SPMV0001 */
		0, 0,  0, 0, 0, 0, 0, 0, 1,   0,   0,   0,   0,   0,   0,   0,   /* _UID 0, enabled */
		5, 32, 0, 0, 2, 0, 0, 0, 'S', 'P', 'M', 'V', '0', '0', '0', '1',
		1, 0,  0, 0, 0, 0, 0, 0, 1,   0,   0,   0,   0,   0,   0,   0,
	};
	struct acpi_blob blob;
	const uint8_t *srat;
	size_t size, at = 36 + 12 + 16;

	(void)state;
	build(&blob, &named_machines[3].inputs);
	srat = find_table(&blob, "SRAT", &size);
	assert_int_equal(size, at + sizeof(expected) + 5 * 40);
	assert_memory_equal(srat + at, expected, sizeof(expected));
	acpi_blob_release(&blob);
}

static void slit_is_the_matrix(void **state)
{
	struct grown_machine machine;
	struct acpi_blob blob;
	const uint8_t *slit;
	size_t size;

	(void)state;
	build(&blob, &named_machines[1].inputs);
	slit = find_table(&blob, "SLIT", &size);
	assert_int_equal(slit[8], 1);
	assert_int_equal(size, 44 + 16);
	assert_int_equal(read_le(slit + 36, 8), 4);
	assert_memory_equal(slit + 44, named_machines[1].inputs.distances, 16);
	acpi_blob_release(&blob);

	grown_new(&machine, 255, 2000, 1024, 0);
	build(&blob, &machine.inputs);
	slit = find_table(&blob, "SLIT", &size);
	assert_int_equal(size, 44 + 1024 * 1024);
	assert_int_equal(read_le(slit + 36, 8), 1024);
	assert_memory_equal(slit + 44, machine.distances, 1024 * 1024);
	acpi_blob_release(&blob);
	grown_free(&machine);
}

/* A reader of AML that knows what a DSDT of ours may hold, and fails on all else. */
struct aml_reader {
	const uint8_t *at, *end;
};

static uint8_t next(struct aml_reader *aml)
{
	assert_true(aml->at < aml->end);
	return *aml->at++;
}

static void expect(struct aml_reader *aml, const void *bytes, size_t size)
{
	assert_true((size_t)(aml->end - aml->at) >= size);
	assert_memory_equal(aml->at, bytes, size);
	aml->at += size;
}

/* §20.2.4: a length, and what it spans */
static struct aml_reader enter(struct aml_reader *aml)
{
	const uint8_t *start = aml->at;
	uint8_t lead = next(aml);
	size_t more = lead >> 6, length = more == 0 ? lead : lead & 0xf;
	struct aml_reader inner;

	for (size_t i = 0; i < more; i++)
		length |= (size_t)next(aml) << (4 + 8 * i);
	assert_in_range(length, aml->at - start, aml->end - start);
	inner = (struct aml_reader){aml->at, start + length};
	aml->at = inner.end;
	return inner;
}

static uint64_t integer(struct aml_reader *aml)
{
	uint8_t op = next(aml);
	size_t width = op == 0x0a ? 1 : op == 0x0b ? 2 : op == 0x0c ? 4 : 0;
	uint64_t value;

	if (op <= 1)
		return op;
	assert_int_not_equal(width, 0);
	assert_true((size_t)(aml->end - aml->at) >= width);
	value = read_le(aml->at, width);
	aml->at += width;
	return value;
}

static void named_integer(struct aml_reader *aml, const char *name, uint64_t value)
{
	expect(aml, "\x08", 1);
	expect(aml, name, 4);
	assert_int_equal(integer(aml), value);
}

static struct aml_reader enter_device(struct aml_reader *aml, const char *name)
{
	struct aml_reader device;

	expect(aml, "\x5b\x82", 2);
	device = enter(aml);
	expect(&device, name, 4);
	return device;
}

static void assert_processor(struct aml_reader *scope, uint32_t uid, uint32_t pxm)
{
	struct aml_reader device;
	char name[5];

	snprintf(name, sizeof(name), "C%03X", uid & 0xfff);
	device = enter_device(scope, name);
	expect(&device,
	       "\x08_HID\x0d"
	       "ACPI0007",
	       15);
	named_integer(&device, "_UID", uid);
	named_integer(&device, "_PXM", pxm);
	assert_ptr_equal(device.at, device.end);
}

static void assert_crs(struct aml_reader *device, const struct acpi_device *expected)
{
	struct aml_reader crs;
	uint64_t size;

	expect(device, "\x08_CRS\x11", 6);
	crs = enter(device);
	size = integer(&crs);
	assert_int_equal(size, crs.end - crs.at);
	if (expected->io.size > 0) {
		expect(&crs, "\x47\x01", 2);
		assert_int_equal(read_le(crs.at, 2), expected->io.start);
		assert_int_equal(read_le(crs.at + 2, 2), expected->io.start);
		assert_int_equal(crs.at[5], expected->io.size);
		crs.at += 6;
	}
	if (expected->mmio.size > 0) {
		expect(&crs, "\x86\x09\x00\x01", 4);
		assert_int_equal(read_le(crs.at, 4), expected->mmio.start);
		assert_int_equal(read_le(crs.at + 4, 4), expected->mmio.size);
		crs.at += 8;
	}
	if (expected->has_irq) {
		expect(&crs, expected->level ? "\x89\x06\x00\x01\x01" : "\x89\x06\x00\x03\x01", 5);
		assert_int_equal(read_le(crs.at, 4), expected->gsi);
		crs.at += 4;
	}
	expect(&crs, "\x79\x00", 2);
	assert_ptr_equal(crs.at, crs.end);
}

/* _STR: UTF-16 with a zero behind it */
static void assert_description(struct aml_reader *device, const char *expected)
{
	struct aml_reader text;
	size_t length = strlen(expected);

	expect(device, "\x08_STR\x11", 6);
	text = enter(device);
	assert_int_equal(integer(&text), 2 * (length + 1));
	for (size_t i = 0; i <= length; i++, text.at += 2)
		assert_int_equal(read_le(text.at, 2), expected[i]);
	assert_ptr_equal(text.at, text.end);
}

static void assert_device(struct aml_reader *scope, const struct acpi_device *expected)
{
	struct aml_reader device = enter_device(scope, expected->name);

	expect(&device, "\x08_HID", 5);
	if (strlen(expected->hid) == 8) {
		expect(&device, "\x0d", 1);
		expect(&device, expected->hid, 9);
	} else {
		assert_true(integer(&device) != 0);
	}
	named_integer(&device, "_UID", expected->uid);
	if (expected->is_initiator)
		named_integer(&device, "_PXM", expected->pxm);
	if (expected->description != NULL)
		assert_description(&device, expected->description);
	if (expected->io.size > 0 || expected->mmio.size > 0 || expected->has_irq)
		assert_crs(&device, expected);
	assert_ptr_equal(device.at, device.end);
}

/* The power button, and the generic event device whose interrupt notifies it. */
static void assert_button(struct aml_reader *scope, uint32_t gsi)
{
	const struct acpi_device interrupt = {.has_irq = true, .gsi = gsi};
	struct aml_reader device = enter_device(scope, "PWRB"), method, equal;

	expect(&device, "\x08_HID\x0c\x41\xd0\x0c\x0c", 10);
	assert_ptr_equal(device.at, device.end);
	device = enter_device(scope, "GED_");
	expect(&device,
	       "\x08_HID\x0d"
	       "ACPI0013",
	       15);
	assert_crs(&device, &interrupt);
	expect(&device, "\x14", 1);
	method = enter(&device);
	assert_ptr_equal(device.at, device.end);
	expect(&method, "_EVT\x09\xa0", 6);
	equal = enter(&method);
	assert_ptr_equal(method.at, method.end);
	expect(&equal, "\x93\x68", 2);
	assert_int_equal(integer(&equal), gsi);
	expect(&equal, "\x86PWRB\x0a\x80", 7);
	assert_ptr_equal(equal.at, equal.end);
}

static void assert_dsdt(const struct acpi_inputs *inputs)
{
	struct aml_reader dsdt, scope, package;
	struct acpi_blob blob;
	const uint8_t *table;
	size_t size;

	build(&blob, inputs);
	table = find_table(&blob, "DSDT", &size);
	assert_int_equal(table[8], 2);
	dsdt = (struct aml_reader){table + 36, table + size};
	expect(&dsdt, "\x08_S5_\x12", 6);
	package = enter(&dsdt);
	expect(&package, "\x04", 1);
	assert_int_equal(integer(&package), inputs->sleep_type_s5);
	expect(&package, "\0\0\0", 3);
	assert_ptr_equal(package.at, package.end);
	expect(&dsdt, "\x10", 1);
	scope = enter(&dsdt);
	assert_ptr_equal(dsdt.at, dsdt.end);
	expect(&scope, "_SB_", 4);
	for (size_t i = 0; i < inputs->cpu_count; i++)
		assert_processor(&scope, (uint32_t)i, inputs->cpus[i].pxm);
	for (size_t i = 0; i < inputs->device_count; i++)
		assert_device(&scope, &inputs->devices[i]);
	assert_button(&scope, inputs->button_gsi);
	assert_ptr_equal(scope.at, scope.end);
	acpi_blob_release(&blob);
}

static void dsdt_describes_the_devices(void **state)
{
	struct grown_machine machine;

	(void)state;
	for (size_t i = 0; i < NAMED_MACHINES; i++)
		assert_dsdt(&named_machines[i].inputs);
	grown_new(&machine, 4096, 0, 300, 200);
	assert_dsdt(&machine.inputs);
	grown_free(&machine);
}

/* The serial port as iasl compiles it too. */
static void dsdt_com1_is_byte_exact(void **state)
{
	static const char com1[] = "\x5b\x82\x31"
				   "COM1"
				   "\x08_HID\x0c\x41\xd0\x05\x01"
				   "\x08_UID\x00"
				   "\x08_CRS\x11\x16\x0a\x13"
				   "\x47\x01\xf8\x03\xf8\x03\x01\x08"
				   "\x89\x06\x00\x03\x01\x04\x00\x00\x00"
				   "\x79\x00";
	struct acpi_blob blob;
	const uint8_t *dsdt;
	size_t size;

	(void)state;
	build(&blob, &named_machines[0].inputs);
	dsdt = find_table(&blob, "DSDT", &size);
	assert_non_null(memmem(dsdt, size, com1, sizeof(com1) - 1));
	acpi_blob_release(&blob);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fadt_is_hardware_reduced),
		cmocka_unit_test(madt_lists_old_and_new_ids),
		cmocka_unit_test(srat_places_processors),
		cmocka_unit_test(srat_splits_high_domains),
		cmocka_unit_test(srat_memory_is_byte_exact),
		cmocka_unit_test(slit_is_the_matrix),
		cmocka_unit_test(dsdt_describes_the_devices),
		cmocka_unit_test(dsdt_com1_is_byte_exact),
		cmocka_unit_test(srat_names_the_generic_initiators),
	};

	return cmocka_run_group_tests_name("acpi_tables", tests, NULL, NULL);
}
