/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"
#include "vmm/base/buf.h"

static void starts_empty_and_stays_so(void **state)
{
	struct buf buf = {0};
	size_t size = 7;

	(void)state;
	buf_add(&buf, "", 0);
	buf_zeros(&buf, 0);
	buf_text(&buf, "");
	buf_printf(&buf, "%s", "");
	buf_align(&buf, 4096);
	assert_false(buf_failed(&buf));
	assert_int_equal(buf.size, 0);
	assert_null(buf_steal(&buf, &size));
	assert_int_equal(size, 0);
	buf_release(&buf);
	buf_release(NULL);
}

static void integers_are_little_endian(void **state)
{
	static const uint8_t WANT[] = {0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0f,
				       0x0e, 0x0d, 0x0c, 0x0b, 0x0a, 0x09, 0x08};
	struct buf buf = {0};

	(void)state;
	buf_u8(&buf, 0x01);
	buf_u16(&buf, 0x0203);
	buf_u32(&buf, 0x04050607);
	buf_u64(&buf, UINT64_C(0x08090a0b0c0d0e0f));
	assert_int_equal(buf.size, sizeof(WANT));
	assert_memory_equal(buf.data, WANT, sizeof(WANT));
	buf_release(&buf);
}

static void a_reserve_keeps_the_bytes_where_they_are(void **state)
{
	enum { LARGE = 5 << 20 };
	struct buf buf = {0};
	const uint8_t *data;

	(void)state;
	buf_text(&buf, "ab");
	buf_reserve(&buf, LARGE);
	assert_int_equal(buf.size, 2);
	data = buf.data;
	buf_text(&buf, "c");
	buf_zeros(&buf, LARGE - 1);
	assert_ptr_equal(buf.data, data);
	assert_int_equal(buf.size, LARGE + 2);
	assert_memory_equal(buf.data, "abc\0", 4);
	buf_reserve(&buf, SIZE_MAX);
	assert_true(buf_failed(&buf));
	buf_release(&buf);
}

static void overwrites_in_place(void **state)
{
	static const uint8_t WANT[] = {0xff, 0x44, 0x33, 0x22, 0x11, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1};
	struct buf buf = {0};

	(void)state;
	buf_zeros(&buf, 16);
	buf_set_u8(&buf, 0, 0xff);
	buf_set_u32(&buf, 1, 0x11223344);
	buf_set_u64(&buf, 8, UINT64_C(0x0102030405060708));
	assert_int_equal(buf.size, sizeof(WANT));
	assert_memory_equal(buf.data, WANT, sizeof(WANT));
	buf_release(&buf);
}

static void aligns_with_zeros(void **state)
{
	struct buf buf = {0};

	(void)state;
	buf_text(&buf, "abcde");
	buf_align(&buf, 4);
	assert_int_equal(buf.size, 8);
	assert_memory_equal(buf.data, "abcde\0\0", 8);
	buf_align(&buf, 4);
	assert_int_equal(buf.size, 8);
	buf_release(&buf);
}

static void prints_without_the_closing_zero(void **state)
{
	struct buf buf = {0};

	(void)state;
	buf_text(&buf, "a=");
	buf_printf(&buf, "%d,%s", 42, "x");
	buf_u8(&buf, '!');
	assert_int_equal(buf.size, 7);
	assert_memory_equal(buf.data, "a=42,x!", 7);
	buf_release(&buf);
}

static void grows_and_keeps_its_bytes(void **state)
{
	struct buf buf = {0};

	(void)state;
	for (uint32_t i = 0; i < 100000; i++)
		buf_u32(&buf, i);
	assert_int_equal(buf.size, 400000);
	for (uint32_t i = 0; i < 100000; i += 997) {
		uint32_t got;

		memcpy(&got, buf.data + 4 * (size_t)i, 4);
		assert_int_equal(got, i);
	}
	buf_release(&buf);
	assert_null(buf.data);
	assert_int_equal(buf.size, 0);
}

static void stealing_empties_the_buffer(void **state)
{
	struct buf buf = {0};
	size_t size;
	uint8_t *bytes;

	(void)state;
	buf_text(&buf, "mine");
	bytes = buf_steal(&buf, &size);
	assert_int_equal(size, 4);
	assert_memory_equal(bytes, "mine", 4);
	free(bytes);
	assert_null(buf.data);
	buf_text(&buf, "again");
	assert_int_equal(buf.size, 5);
	buf_release(&buf);
}

static void failure_is_sticky(void **state)
{
	struct buf buf = {0};
	size_t size = 7;

	(void)state;
	buf_text(&buf, "abc");
	/* no machine has this much, and neither has size_t once three bytes are there */
	assert_null(buf_extend(&buf, SIZE_MAX));
	assert_true(buf_failed(&buf));
	assert_null(buf_extend(&buf, 1));
	buf_u64(&buf, 1);
	buf_zeros(&buf, 10);
	buf_align(&buf, 64);
	buf_printf(&buf, "%d", 1);
	buf_set_u8(&buf, 1000, 1); /* would be out of bounds, but does nothing now */
	assert_int_equal(buf.size, 3);
	assert_null(buf_steal(&buf, &size));
	assert_int_equal(size, 0);
	/* stealing or releasing makes it ready again */
	assert_false(buf_failed(&buf));
	buf_text(&buf, "ok");
	assert_int_equal(buf.size, 2);
	buf_release(&buf);
}

/* malloc() refuses what cannot be addressed before it looks for it, so nothing is really asked of the host. */
static void allocation_failure_is_kept(void **state)
{
	struct buf buf = {0};

	(void)state;
	assert_null(buf_extend(&buf, SIZE_MAX / 2 + 2));
	assert_true(buf_failed(&buf));
	buf_release(&buf);
	assert_false(buf_failed(&buf));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_empty_and_stays_so),
		cmocka_unit_test(integers_are_little_endian),
		cmocka_unit_test(a_reserve_keeps_the_bytes_where_they_are),
		cmocka_unit_test(overwrites_in_place),
		cmocka_unit_test(aligns_with_zeros),
		cmocka_unit_test(prints_without_the_closing_zero),
		cmocka_unit_test(grows_and_keeps_its_bytes),
		cmocka_unit_test(stealing_empties_the_buffer),
		cmocka_unit_test(failure_is_sticky),
		cmocka_unit_test(allocation_failure_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
