/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/acpi.h"
#include "tests/unit/test_acpi_machines.h"
#include "tests/unit/unit.h"

/*
 * HMAT, read back as a guest reads it: each figure is looked for by its initiator, target and data type, and multiplied
 * as Linux does it in revision 2 of the table, in 32 bits and with nanoseconds rounded up.
 */
struct hmat {
	const uint8_t *data;
	size_t size;
};

static struct hmat hmat_of(const struct acpi_blob *blob)
{
	struct hmat hmat;

	hmat.data = find_table(blob, "HMAT", &hmat.size);
	assert_int_equal(hmat.data[8], 2);
	assert_int_equal(read_le(hmat.data + 36, 4), 0);
	return hmat;
}

/* The structure behind one of this type, or the first when there is none before; NULL at the end. */
static const uint8_t *next_structure(struct hmat hmat, const uint8_t *before, unsigned type)
{
	const uint8_t *at = before != NULL ? before + read_le(before + 4, 4) : hmat.data + 40;

	while (at < hmat.data + hmat.size && read_le(at, 2) != type) {
		assert_in_range(read_le(at + 4, 4), 8, hmat.size);
		at += read_le(at + 4, 4);
	}
	assert_true(at <= hmat.data + hmat.size);
	return at < hmat.data + hmat.size ? at : NULL;
}

static uint32_t place_in(const uint8_t *list, uint32_t count, uint32_t pxm)
{
	uint32_t i = 0;

	while (i < count && read_le(list + (size_t)4 * i, 4) != pxm)
		i++;
	return i;
}

/* What the guest makes of an entry: 0 for those that stand for nothing and for what 32 bits do not hold. */
static uint32_t decoded(uint64_t entry, uint64_t unit, bool is_latency)
{
	uint64_t product = entry * unit;

	if (entry == 0 || entry == 0xffff || unit > UINT32_MAX / entry)
		return 0;
	return (uint32_t)(is_latency ? (product + 999) / 1000 : product);
}

/* In ns or MB/s; 0 when the table does not say. */
static uint32_t guest_sees(struct hmat hmat, enum acpi_figure kind, uint32_t from, uint32_t to)
{
	static const uint8_t types[] = {1, 2, 4, 5};
	uint32_t value = 0;

	for (const uint8_t *at = NULL; (at = next_structure(hmat, at, 1)) != NULL;) {
		uint32_t initiators = (uint32_t)read_le(at + 12, 4), targets = (uint32_t)read_le(at + 16, 4);
		const uint8_t *rows = at + 32, *columns = rows + (size_t)4 * initiators;
		const uint8_t *entries = columns + (size_t)4 * targets;
		uint32_t row = place_in(rows, initiators, from), column = place_in(columns, targets, to);

		assert_int_equal(read_le(at + 4, 4), 32 + 4 * (initiators + targets) + 2 * initiators * targets);
		assert_int_equal(at[8], 0);
		assert_int_equal(at[10], 0);
		if (at[9] != types[kind] || row == initiators || column == targets)
			continue;
		/* Linux takes the last table of a type, so there must be one */
		assert_int_equal(value, 0);
		value = decoded(read_le(entries + 2 * ((size_t)row * targets + column), 2), read_le(at + 24, 8),
				kind <= ACPI_WRITE_LATENCY);
	}
	return value;
}

static void the_guest_sees_every_figure(void **state)
{
	const struct acpi_inputs *inputs = &named_machines[3].inputs;
	struct acpi_blob blob;
	struct error err;

	(void)state;
	assert_int_equal(acpi_build(&blob, inputs, MACHINE_BASE, &err), 0);
	for (uint32_t i = 0; i < inputs->initiators * inputs->localities; i++) {
		uint32_t from = i / inputs->localities, to = i % inputs->localities;

		for (int kind = 0; kind < ACPI_FIGURES; kind++) {
			uint32_t given = inputs->figures[kind][i];
			uint32_t expected = kind <= ACPI_WRITE_LATENCY ? given / 1000 + (given % 1000 != 0) : given;

			assert_int_equal(guest_sees(hmat_of(&blob), (enum acpi_figure)kind, from, to), expected);
		}
	}
	/* by eye: 80 ns, and 60.5 rounded up; nothing for what was not given */
	assert_int_equal(guest_sees(hmat_of(&blob), ACPI_READ_LATENCY, 0, 0), 80);
	assert_int_equal(guest_sees(hmat_of(&blob), ACPI_READ_LATENCY, 0, 3), 61);
	assert_int_equal(guest_sees(hmat_of(&blob), ACPI_WRITE_LATENCY, 0, 2), 4259710);
	assert_int_equal(guest_sees(hmat_of(&blob), ACPI_READ_BANDWIDTH, 0, 2), 819200);
	assert_int_equal(guest_sees(hmat_of(&blob), ACPI_WRITE_BANDWIDTH, 0, 2), 0);
	acpi_blob_release(&blob);
}

static void memory_is_attached(void **state)
{
	static const struct {
		unsigned pxm, flags, initiator;
	} expected[] = {{0, 1, 0}, {2, 1, 2}, {3, 0, 0}, {4, 0, 0}};
	struct acpi_blob blob;
	struct error err;
	const uint8_t *at = NULL;

	(void)state;
	assert_int_equal(acpi_build(&blob, &named_machines[3].inputs, MACHINE_BASE, &err), 0);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		at = next_structure(hmat_of(&blob), at, 0);
		assert_non_null(at);
		assert_int_equal(read_le(at + 4, 4), 40);
		assert_int_equal(read_le(at + 8, 2), expected[i].flags);
		assert_int_equal(read_le(at + 12, 4), expected[i].initiator);
		assert_int_equal(read_le(at + 16, 4), expected[i].pxm);
		for (size_t reserved = 20; reserved < 40; reserved++)
			assert_int_equal(at[reserved], 0);
	}
	assert_null(next_structure(hmat_of(&blob), at, 0));
	acpi_blob_release(&blob);
}

static void caches_are_byte_exact(void **state)
{
	static const uint8_t first[] = {2, 0, 0, 0,  32, 0, 0, 0, 3,    0,    0,  0, 0, 0, 0, 0,
					0, 0, 0, 16, 0,  0, 0, 0, 0x12, 0x11, 64, 0, 0, 0, 0, 0};
	static const uint8_t second[] = {2, 0, 0, 0, 32, 0, 0, 0, 3,    0,    0, 0,    0, 0, 0, 0,
					 0, 0, 0, 1, 0,  0, 0, 0, 0x22, 0x22, 0, 0x80, 0, 0, 0, 0};
	struct acpi_blob blob;
	struct error err;
	const uint8_t *at;

	(void)state;
	assert_int_equal(acpi_build(&blob, &named_machines[3].inputs, MACHINE_BASE, &err), 0);
	at = next_structure(hmat_of(&blob), NULL, 2);
	assert_non_null(at);
	assert_memory_equal(at, first, sizeof(first));
	at = next_structure(hmat_of(&blob), at, 2);
	assert_non_null(at);
	assert_memory_equal(at, second, sizeof(second));
	assert_null(next_structure(hmat_of(&blob), at, 2));
	acpi_blob_release(&blob);
}

static void nobody_asked_nothing_is_told(void **state)
{
	struct acpi_blob blob;
	struct error err;

	(void)state;
	assert_int_equal(acpi_build(&blob, &named_machines[1].inputs, MACHINE_BASE, &err), 0);
	for (size_t i = 0; i < blob.table_count; i++)
		assert_string_not_equal(blob.tables[i].signature, "HMAT");
	acpi_blob_release(&blob);
}

static void assert_unit(uint32_t expected, size_t count, const uint32_t *figures)
{
	assert_int_equal(acpi_figure_unit(figures, count), expected);
}

static void units(void **state)
{
	(void)state;
	assert_unit(1, 0, NULL);
	assert_unit(1, 2, (const uint32_t[]){0, 0});
	assert_unit(100, 1, (const uint32_t[]){100});
	assert_unit(UINT32_MAX, 1, (const uint32_t[]){UINT32_MAX});
	assert_unit(20000, 3, (const uint32_t[]){80000, 0, 60000});
	assert_unit(1, 2, (const uint32_t[]){1, 65534});
	assert_unit(0, 2, (const uint32_t[]){1, 65535});
	assert_unit(3, 2, (const uint32_t[]){3 * 65534, 3});
	assert_unit(0, 2, (const uint32_t[]){3 * 65534 + 1, 3});
}

/* Whatever has a unit comes out of the table as it went in; and what has none could not, with any unit. */
static void every_figure_survives(void **state)
{
	struct prng prng = prng_new("every_figure_survives");

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint32_t figures[6], unit, scale = 1 + (uint32_t)(prng_next(&prng) >> (32 + prng_below(&prng, 32)));
		size_t count = 1 + prng_below(&prng, 6);

		for (size_t i = 0; i < count; i++)
			figures[i] = prng_below(&prng, 8) == 0 ? 0 : scale * (uint32_t)prng_below(&prng, 80000);
		unit = acpi_figure_unit(figures, count);
		for (size_t i = 0; unit != 0 && i < count; i++) {
			assert_int_equal(decoded((uint16_t)(figures[i] / unit), unit, false), figures[i]);
			assert_int_equal(decoded((uint16_t)(figures[i] / unit), unit, true),
					 figures[i] / 1000 + (figures[i] % 1000 != 0));
		}
		for (uint32_t other = 1; unit == 0 && other < 300; other++) {
			bool fits = true;

			for (size_t i = 0; i < count; i++)
				fits = fits && figures[i] % other == 0 && figures[i] / other <= 0xfffe;
			assert_false(fits);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_sees_every_figure),
		cmocka_unit_test(memory_is_attached),
		cmocka_unit_test(caches_are_byte_exact),
		cmocka_unit_test(nobody_asked_nothing_is_told),
		cmocka_unit_test(units),
		cmocka_unit_test(every_figure_survives),
	};

	return cmocka_run_group_tests_name("acpi_hmat", tests, NULL, NULL);
}
