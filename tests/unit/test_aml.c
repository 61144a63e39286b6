/* SPDX-License-Identifier: Apache-2.0 */
#include "acpi/aml.h"
#include "tests/unit/unit.h"

/* Compares the bytes with those given, and empties the buffer for the next case. */
static void assert_bytes(struct buf *aml, const char *bytes, size_t size)
{
	assert_false(buf_failed(aml));
	assert_int_equal(aml->size, size);
	assert_memory_equal(aml->data, bytes, size);
	buf_release(aml);
}

#define ASSERT_BYTES(aml, literal) assert_bytes(aml, literal, sizeof(literal) - 1)

static void integers_take_the_shortest_form(void **state)
{
	struct buf aml = {0};

	(void)state;
	aml_integer(&aml, 0);
	aml_integer(&aml, 1);
	aml_integer(&aml, 2);
	aml_integer(&aml, 0xff);
	aml_integer(&aml, 0x100);
	aml_integer(&aml, 0xffff);
	ASSERT_BYTES(&aml, "\x00\x01\x0a\x02\x0a\xff\x0b\x00\x01\x0b\xff\xff");
	aml_integer(&aml, 0x10000);
	aml_integer(&aml, 0xffffffff);
	aml_integer(&aml, 0x100000000);
	aml_integer(&aml, UINT64_MAX);
	ASSERT_BYTES(&aml, "\x0c\x00\x00\x01\x00\x0c\xff\xff\xff\xff\x0e\x00\x00\x00\x00\x01\x00\x00\x00\xff");
}

static void names_are_padded_and_prefixed(void **state)
{
	struct buf aml = {0};

	(void)state;
	aml_name(&aml, "_S5");
	aml_name(&aml, "A");
	ASSERT_BYTES(&aml, "\x08_S5_\x08"
			   "A___");
	aml_name(&aml, "\\_SB.PC0");
	ASSERT_BYTES(&aml, "\x08\\\x2e_SB_PC0_");
	aml_name(&aml, "\\_SB.PC0.DEV1");
	ASSERT_BYTES(&aml, "\x08\\\x2f\x03_SB_PC0_DEV1");
}

static void strings_and_buffers(void **state)
{
	struct buf aml = {0}, content = {0}, broken = {.failed = true};

	(void)state;
	aml_string(&aml, "hi");
	ASSERT_BYTES(&aml, "\x0dhi\x00");
	aml_buffer(&aml, &content);
	ASSERT_BYTES(&aml, "\x11\x02\x00");
	buf_u8(&content, 7);
	aml_buffer(&aml, &content);
	ASSERT_BYTES(&aml, "\x11\x03\x01\x07");
	buf_zeros(&content, 59);
	aml_buffer(&aml, &content);
	assert_int_equal(aml.size, 1 + 1 + 2 + 60);
	assert_memory_equal(aml.data, "\x11\x3f\x0a\x3c\x07", 5);
	buf_release(&aml);
	/* the length is its own 64th byte */
	buf_zeros(&content, 1);
	aml_buffer(&aml, &content);
	assert_int_equal(aml.size, 1 + 2 + 2 + 61);
	assert_memory_equal(aml.data, "\x11\x41\x04\x0a\x3d\x07", 6);
	buf_release(&aml);
	buf_release(&content);
	aml_buffer(&aml, &broken);
	assert_true(buf_failed(&aml));
	buf_release(&aml);
}

static void blocks_nest(void **state)
{
	struct buf aml = {0};
	size_t scope, device, method, package;

	(void)state;
	scope = aml_scope_begin(&aml, "\\_SB");
	device = aml_device_begin(&aml, "DEV0");
	aml_name(&aml, "_PRW");
	package = aml_package_begin(&aml, 2);
	aml_integer(&aml, 1);
	aml_integer(&aml, 3);
	aml_end(&aml, package);
	aml_end(&aml, device);
	method = aml_method_begin(&aml, "_OFF", 2, true);
	aml_end(&aml, method);
	method = aml_method_begin(&aml, "_ON", 7, false);
	aml_end(&aml, method);
	aml_end(&aml, scope);
	ASSERT_BYTES(&aml, "\x10\x26\\_SB_"
			   "\x5b\x82\x10"
			   "DEV0\x08_PRW\x12\x05\x02\x01\x0a\x03"
			   "\x14\x06_OFF\x0a"
			   "\x14\x06_ON_\x07");
}

/* §20.2.4, decoded here the other way round: total length from the lead byte and those that follow. */
static size_t decode_length(const uint8_t *bytes, size_t *width)
{
	size_t more = bytes[0] >> 6, length = more == 0 ? bytes[0] & 0x3f : bytes[0] & 0xf;

	if (more > 0)
		assert_int_equal(bytes[0] & 0x30, 0);
	for (size_t i = 1; i <= more; i++)
		length |= (size_t)bytes[i] << (8 * i - 4);
	*width = more + 1;
	return length;
}

static void lengths_are_the_shortest_at_every_boundary(void **state)
{
	/* content behind the length, and how many bytes the length then takes */
	const struct {
		size_t content, width;
	} cases[] = {{4, 1},     {62, 1},      {63, 2},      {64, 2},       {0xffd, 2},    {0xffe, 3},
		     {0xfff, 3}, {0xffffc, 3}, {0xffffd, 4}, {0x100000, 4}, {0x1000000, 4}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buf aml = {0};
		size_t scope, width;

		buf_u8(&aml, 0xcc);
		scope = aml_scope_begin(&aml, "ABCD");
		for (size_t j = 4; j < cases[i].content; j++)
			buf_u8(&aml, (uint8_t)(j * 31));
		aml_end(&aml, scope);
		assert_int_equal(decode_length(aml.data + 2, &width), cases[i].content + cases[i].width);
		assert_int_equal(width, cases[i].width);
		assert_int_equal(aml.size, 2 + width + cases[i].content);
		assert_memory_equal(aml.data + 2 + width, "ABCD", 4);
		for (size_t j = 4; j < cases[i].content; j += 61)
			assert_int_equal(aml.data[2 + width + j], (uint8_t)(j * 31));
		buf_release(&aml);
	}
}

static void ids_are_packed_or_kept(void **state)
{
	static const char *const eisa[] = {"PNP0501", "ABCFFFF"}, *const acpi[] = {"ACPI0007", "LNRO0005", "0QE1ABCD"},
				 *const neither[] = {"",          "PNP",      "PNP050",   "PNP050111",
						     "pnp0501",   "PN10501",  "PNP050G",  "LNRO000",
						     "LNRO00051", "lnro0005", "LNRO000x", "AC-I0007"};
	struct buf aml = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(eisa) / sizeof(eisa[0]); i++) {
		assert_true(aml_is_eisa_id(eisa[i]));
		assert_false(aml_is_acpi_id(eisa[i]));
	}
	for (size_t i = 0; i < sizeof(acpi) / sizeof(acpi[0]); i++) {
		assert_true(aml_is_acpi_id(acpi[i]));
		assert_false(aml_is_eisa_id(acpi[i]));
	}
	for (size_t i = 0; i < sizeof(neither) / sizeof(neither[0]); i++) {
		assert_false(aml_is_acpi_id(neither[i]));
		assert_false(aml_is_eisa_id(neither[i]));
	}
	/* "PNP0501" is 0x0105d041 in every DSDT with a serial port, and "PNP0A03" 0x030ad041 in every one with a PCI bus */
	aml_hid(&aml, "PNP0501");
	aml_hid(&aml, "PNP0A03");
	ASSERT_BYTES(&aml, "\x0c\x41\xd0\x05\x01\x0c\x41\xd0\x0a\x03");
	aml_hid(&aml, "LNRO0005");
	ASSERT_BYTES(&aml, "\x0dLNRO0005\x00");
}

static void resources_follow_their_clauses(void **state)
{
	struct buf aml = {0};

	(void)state;
	aml_resource_io(&aml, 0x3f8, 8);
	ASSERT_BYTES(&aml, "\x47\x01\xf8\x03\xf8\x03\x01\x08");
	aml_resource_memory32(&aml, 0xd0000200, 0x1000);
	ASSERT_BYTES(&aml, "\x86\x09\x00\x01\x00\x02\x00\xd0\x00\x10\x00\x00");
	aml_resource_interrupt(&aml, 0x104, true);
	ASSERT_BYTES(&aml, "\x89\x06\x00\x01\x01\x04\x01\x00\x00");
	aml_resource_interrupt(&aml, 4, false);
	ASSERT_BYTES(&aml, "\x89\x06\x00\x03\x01\x04\x00\x00\x00");
	aml_resource_end(&aml);
	ASSERT_BYTES(&aml, "\x79\x00");
}

static void a_notification_depends_on_an_argument(void **state)
{
	struct buf aml = {0};
	size_t equal;

	(void)state;
	/* §20.2.5.3: If (LEqual (Arg0, 3)) { Notify (PWRB, 0x80) } */
	equal = aml_if_equal_begin(&aml);
	aml_arg0(&aml);
	aml_integer(&aml, 3);
	aml_notify(&aml, "PWRB", 0x80);
	aml_end(&aml, equal);
	ASSERT_BYTES(&aml, "\xa0\x0c\x93\x68\x0a\x03\x86PWRB\x0a\x80");
}

static void a_failed_buffer_stays_failed(void **state)
{
	struct buf aml = {.failed = true};
	size_t scope;

	(void)state;
	scope = aml_scope_begin(&aml, "\\_SB");
	aml_integer(&aml, 5);
	aml_end(&aml, scope);
	assert_true(buf_failed(&aml));
	assert_int_equal(aml.size, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_take_the_shortest_form),
		cmocka_unit_test(names_are_padded_and_prefixed),
		cmocka_unit_test(strings_and_buffers),
		cmocka_unit_test(blocks_nest),
		cmocka_unit_test(lengths_are_the_shortest_at_every_boundary),
		cmocka_unit_test(ids_are_packed_or_kept),
		cmocka_unit_test(resources_follow_their_clauses),
		cmocka_unit_test(a_notification_depends_on_an_argument),
		cmocka_unit_test(a_failed_buffer_stays_failed),
	};

	return cmocka_run_group_tests_name("aml", tests, NULL, NULL);
}
