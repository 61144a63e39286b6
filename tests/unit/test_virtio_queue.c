/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/virtio/queue.h"
#include "tests/unit/unit.h"
#include "tests/unit/virtio_driver.h"
#include "tests/unit/virtio_echo.h"

enum { SIZE = 8 };

struct guest {
	struct echo echo;
	struct virtio_driver driver;
	struct virtq_chain chain;
	struct virtq *queue; /* number 0, of SIZE descriptors */
	uint64_t page;       /* memory for buffers */
};

/* Everything runs, and the test plays the device with queue 0 in its hands. */
static void start(struct guest *guest, uint64_t features)
{
	assert_true(driver_start(&guest->driver, features, SIZE));
}

static int set_up(void **state)
{
	struct guest *guest = calloc(1, sizeof(*guest));

	assert_non_null(guest);
	assert_int_equal(echo_init(&guest->echo), 0);
	driver_init(&guest->driver, &guest->echo.device);
	guest->queue = &guest->echo.device.queues[0];
	guest->page = driver_alloc(&guest->driver, 4096, 4096);
	start(guest, DRIVER_ALL_FEATURES);
	*state = guest;
	return 0;
}

static int tear_down(void **state)
{
	struct guest *guest = *state;

	virtio_release(&guest->echo.device);
	driver_release(&guest->driver);
	free(guest);
	return 0;
}

/* ------------------------------------------------------------------------------------------------- good chains */

static void check_three_buffers(struct guest *guest, int head)
{
	const struct virtq_chain *chain = &guest->chain;

	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
	assert_int_equal(chain->head, head);
	assert_int_equal(chain->readable, 1);
	assert_int_equal(chain->writable, 2);
	assert_int_equal(chain->readable_bytes, 5);
	assert_int_equal(chain->writable_bytes, 3 + 100);
	assert_ptr_equal(chain->iov[0].iov_base, driver_at(&guest->driver, guest->page));
	assert_ptr_equal(chain->iov[1].iov_base, driver_at(&guest->driver, guest->page + 64));
	assert_ptr_equal(chain->iov[2].iov_base, driver_at(&guest->driver, guest->page + 128));
	assert_int_equal(chain->iov[2].iov_len, 100);
	virtq_push(guest->queue, chain->head, 7);
}

static void test_direct_and_indirect(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	const struct driver_buffer buffers[] = {{guest->page, 5, false},
						{guest->page + 64, 3, true},
						{guest->page + 96, 0, true}, /* empty ones are left out */
						{guest->page + 128, 100, true}};
	uint64_t table = driver_alloc(driver, 64, 16);
	uint32_t written;

	/* often enough for 16-bit indices to wrap */
	for (unsigned i = 0; i < 70000; i++) {
		int head = i % 2 == 0 ? driver_add(driver, 0, buffers, 4)
				      : driver_add_indirect(driver, 0, table, buffers, 4);

		assert_true(head >= 0);
		check_three_buffers(guest, head);
		assert_int_equal(driver_take(driver, 0, &written), head);
		assert_int_equal(written, 7);
	}
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 0);
}

/* §2.7.5.3.2: direct descriptors may come first, and WRITE of the descriptor that refers to the table means nothing. */
static void test_indirect_after_direct(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	uint64_t table = driver_alloc(driver, 32, 16);

	driver_set_descriptor(driver, 0, 3, guest->page, 5, DRIVER_DESC_NEXT, 6);
	driver_set_descriptor(driver, 0, 6, table, 32, DRIVER_DESC_INDIRECT | DRIVER_DESC_WRITE, 1);
	driver_write_descriptor(driver, table, 0, guest->page + 64, 3, DRIVER_DESC_NEXT | DRIVER_DESC_WRITE, 1);
	driver_write_descriptor(driver, table, 1, guest->page + 128, 100, DRIVER_DESC_WRITE, 0);
	driver_publish(driver, 0, 3);
	check_three_buffers(guest, 3);
}

static void test_out_of_order_and_full(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	const struct driver_buffer one = {guest->page, 1, true};

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < SIZE; i++)
			assert_true(driver_add(driver, 0, &one, 1) >= 0);
		assert_int_equal(driver_add(driver, 0, &one, 1), -1);
		for (unsigned i = 0; i < SIZE; i++)
			assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
		assert_int_equal(virtq_pop(guest->queue, &guest->chain), 0);
		for (unsigned i = SIZE; i-- > 0;)
			virtq_push(guest->queue, (uint16_t)i, i);
		for (unsigned i = SIZE; i-- > 0;) {
			uint32_t written;

			assert_int_equal(driver_take(driver, 0, &written), i);
			assert_int_equal(written, i);
		}
	}
}

static void test_read_and_write(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	const struct driver_buffer buffers[] = {{guest->page, 3, false},
						{guest->page + 16, 4, false},
						{guest->page + 32, 2, true},
						{guest->page + 48, 3, true}};
	char bytes[16] = "";
	char *page = driver_at(driver, guest->page);

	memcpy(page, "abc", 3);
	memcpy(page + 16, "defg", 4);
	driver_add(driver, 0, buffers, 4);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
	assert_int_equal(virtq_read(&guest->chain, 0, bytes, sizeof(bytes)), 7);
	assert_memory_equal(bytes, "abcdefg", 7);
	assert_int_equal(virtq_read(&guest->chain, 2, bytes, 2), 2);
	assert_memory_equal(bytes, "cd", 2);
	assert_int_equal(virtq_read(&guest->chain, 3, bytes, 1), 1);
	assert_int_equal(bytes[0], 'd');
	assert_int_equal(virtq_read(&guest->chain, 7, bytes, 9), 0);
	assert_int_equal(virtq_read(&guest->chain, SIZE_MAX, bytes, 9), 0);
	assert_int_equal(virtq_write(&guest->chain, 1, "XYZ!more", 8), 4);
	assert_memory_equal(page + 32, "\0X\0\0", 4);
	assert_memory_equal(page + 48, "YZ!\0", 4);
	assert_int_equal(virtq_write(&guest->chain, 5, "q", 1), 0);
	assert_int_equal(virtq_write(&guest->chain, 0, "q", 0), 0);
	assert_memory_equal(page, "abc\0", 4);
}

static void test_unpop(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	const struct driver_buffer one = {guest->page, 1, true};
	int first = driver_add(driver, 0, &one, 1), second = driver_add(driver, 0, &one, 1);

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
		assert_int_equal(guest->chain.head, first);
		assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
		assert_int_equal(guest->chain.head, second);
		virtq_unpop(guest->queue);
		virtq_unpop(guest->queue);
		/* nothing came in between, and a further buffer is worth a kick */
		assert_false(virtq_enable_kicks(guest->queue));
		if (i == 0)
			driver_kick(driver, 0);
	}
	assert_true(driver_add(driver, 0, &one, 1) >= 0);
	assert_true(driver_kick(driver, 0));
	assert_true(virtq_enable_kicks(guest->queue));
	for (int i = 0; i < 3; i++)
		assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 0);
	assert_false(virtq_enable_kicks(guest->queue));
}

/* ------------------------------------------------------------------------------------------------- broken chains */

/* The next chain is refused, and so is everything behind it; nothing is written into the used ring any more. */
static void refused(struct guest *guest)
{
	struct virtio_driver *driver = &guest->driver;

	assert_int_equal(virtq_pop(guest->queue, &guest->chain), -EPROTO);
	assert_true(guest->queue->broken);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), -EPROTO);
	virtq_push(guest->queue, 0, 1);
	virtq_unpop(guest->queue);
	assert_false(driver_has_used(driver, 0));
	assert_false(virtq_needs_interrupt(guest->queue));
	assert_false(virtq_enable_kicks(guest->queue));
	virtq_disable_kicks(guest->queue);
	start(guest, DRIVER_ALL_FEATURES);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 0);
}

static void test_loops(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	driver_set_descriptor(driver, 0, 0, guest->page, 1, DRIVER_DESC_NEXT, 0);
	driver_publish(driver, 0, 0);
	refused(guest);
	for (uint16_t i = 0; i < SIZE; i++)
		driver_set_descriptor(driver, 0, i, guest->page, 0, DRIVER_DESC_NEXT, (uint16_t)((i + 1) % SIZE));
	driver_publish(driver, 0, 5);
	refused(guest);
	/* the whole table without a loop is fine */
	for (uint16_t i = 0; i < SIZE; i++)
		driver_set_descriptor(driver, 0, i, guest->page, 1, i + 1 < SIZE ? DRIVER_DESC_NEXT : 0,
				      (uint16_t)(i + 1));
	driver_publish(driver, 0, 0);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
	assert_int_equal(guest->chain.readable, SIZE);
}

static void test_indices(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	static const uint16_t HEADS[] = {SIZE, SIZE + 1, 255, 256, 0x7fff, 0xffff};

	for (unsigned i = 0; i < sizeof(HEADS) / sizeof(HEADS[0]); i++) {
		driver_publish(driver, 0, HEADS[i]);
		refused(guest);
		driver_set_descriptor(driver, 0, 0, guest->page, 1, DRIVER_DESC_NEXT, HEADS[i]);
		driver_publish(driver, 0, 0);
		refused(guest);
	}
	/* more available than there are places, up to "one back" */
	for (unsigned jump = SIZE + 1; jump <= 0xffff; jump += jump < 20 || jump > 0xfff0 ? 1 : 997) {
		driver_store(driver, driver->queues[0].available + 2, (uint16_t)jump);
		refused(guest);
	}
}

/* A head that is in flight already: with it a device would have more requests than the queue has places. */
static void test_heads_in_flight(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	driver_set_descriptor(driver, 0, 4, guest->page, 1, 0, 0);
	driver_publish(driver, 0, 4);
	driver_publish(driver, 0, 4);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
	refused(guest);
	driver_set_descriptor(driver, 0, 4, guest->page, 1, 0, 0);
	driver_publish(driver, 0, 4);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
	virtq_push(guest->queue, 4, 0);
	driver_publish(driver, 0, 4);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
}

static void test_order_of_buffers(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	const struct driver_buffer wrong[][3] = {
		{{guest->page, 1, true}, {guest->page, 1, false}, {guest->page, 1, false}},
		{{guest->page, 1, false}, {guest->page, 1, true}, {guest->page, 1, false}},
		{{guest->page, 1, true}, {guest->page, 0, false}, {guest->page, 0, true}},
	};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		driver_add(driver, 0, wrong[i], 3);
		refused(guest);
		driver_add_indirect(driver, 0, 0, wrong[i], 3);
		refused(guest);
	}
}

static void test_addresses(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	const uint64_t end = DRIVER_GPA + DRIVER_MEMORY;
	const struct driver_buffer wrong[] = {
		{0, 1, false},
		{DRIVER_GPA - 1, 1, false},
		{DRIVER_GPA - 1, 2, true},
		{end, 1, true},
		{end - 1, 2, true},
		{end - 4096, 4097, false},
		{DRIVER_GPA, UINT32_MAX, true},
		{UINT64_MAX, 1, true},
		{UINT64_MAX, UINT32_MAX, false},
		{UINT64_MAX - 15, 16, false},
		{DRIVER_GPA | UINT64_C(1) << 63, 1, true},
		{DRIVER_GPA | UINT64_C(1) << 32, 1, true},
	};
	const struct driver_buffer right = {end - 1, 1, true};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		driver_add(driver, 0, &wrong[i], 1);
		refused(guest);
		/* the same place for an indirect table of whole descriptors */
		driver_set_descriptor(driver, 0, 0, wrong[i].gpa, (wrong[i].size + 15) & ~15u, DRIVER_DESC_INDIRECT, 0);
		driver_publish(driver, 0, 0);
		refused(guest);
	}
	/* only whole memory is checked: an empty buffer may point anywhere */
	driver_add(driver, 0, (struct driver_buffer[]){{UINT64_MAX, 0, false}, right}, 2);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
	assert_int_equal(guest->chain.writable, 1);
}

static void test_indirect_tables(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	uint64_t table = driver_alloc(driver, 64, 16);
	static const uint32_t LENGTHS[] = {0, 1, 15, 17, 31, 0xfffffff1};

	for (unsigned i = 0; i < sizeof(LENGTHS) / sizeof(LENGTHS[0]); i++) {
		driver_set_descriptor(driver, 0, 0, table, LENGTHS[i], DRIVER_DESC_INDIRECT, 0);
		driver_publish(driver, 0, 0);
		refused(guest);
	}
	/* INDIRECT with NEXT */
	driver_write_descriptor(driver, table, 0, guest->page, 1, 0, 0);
	driver_set_descriptor(driver, 0, 0, table, 16, DRIVER_DESC_INDIRECT | DRIVER_DESC_NEXT, 1);
	driver_set_descriptor(driver, 0, 1, guest->page, 1, 0, 0);
	driver_publish(driver, 0, 0);
	refused(guest);
	/* indirect in indirect, here in itself */
	driver_write_descriptor(driver, table, 0, table, 16, DRIVER_DESC_INDIRECT, 0);
	driver_set_descriptor(driver, 0, 0, table, 16, DRIVER_DESC_INDIRECT, 0);
	driver_publish(driver, 0, 0);
	refused(guest);
	/* next past its end, and a loop in it */
	for (uint16_t next = 0; next < 5; next++) {
		driver_write_descriptor(driver, table, 0, guest->page, 1, DRIVER_DESC_NEXT, next == 4 ? 0xffff : next);
		for (unsigned i = 1; i < 4; i++)
			driver_write_descriptor(driver, table, i, guest->page, 1, DRIVER_DESC_NEXT, 1);
		driver_set_descriptor(driver, 0, 0, table, next < 2 ? 64 : 32, DRIVER_DESC_INDIRECT, 0);
		driver_publish(driver, 0, 0);
		refused(guest);
	}
}

/* A table that fills memory is walked no further than the longest chain, with buffers in it or without. */
static void test_huge_indirect_tables(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	const unsigned count = 4 * VIRTQ_SEGMENTS_MAX;
	uint64_t table = driver_alloc(driver, 16u * count, 16);

	for (uint32_t length = 0; length < 2; length++) {
		for (unsigned i = 0; i < count; i++)
			driver_write_descriptor(driver, table, i, guest->page, length, DRIVER_DESC_NEXT,
						(uint16_t)(i + 1));
		driver_set_descriptor(driver, 0, 0, table, 16 * count, DRIVER_DESC_INDIRECT, 0);
		driver_publish(driver, 0, 0);
		refused(guest);
		driver_write_descriptor(driver, table, VIRTQ_SEGMENTS_MAX, guest->page, 1, 0, 0);
		driver_set_descriptor(driver, 0, 0, table, 16 * count, DRIVER_DESC_INDIRECT, 0);
		driver_publish(driver, 0, 0);
		refused(guest);
	}
	driver_write_descriptor(driver, table, VIRTQ_SEGMENTS_MAX - 1, guest->page, 1, 0, 0);
	driver_set_descriptor(driver, 0, 0, table, 16 * count, DRIVER_DESC_INDIRECT, 0);
	driver_publish(driver, 0, 0);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
	assert_int_equal(guest->chain.readable, VIRTQ_SEGMENTS_MAX);
	virtq_push(guest->queue, 0, 0);
	assert_int_equal(driver_take(driver, 0, NULL), 0);
	/* one direct buffer before it is one too many */
	driver_set_descriptor(driver, 0, 1, guest->page, 1, DRIVER_DESC_NEXT, 0);
	driver_publish(driver, 0, 1);
	refused(guest);
}

/* ------------------------------------------------------------------------------------------------- where rings may be */

static void test_ring_areas(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;
	const uint64_t end = DRIVER_GPA + DRIVER_MEMORY;
	const struct virtq good = {.size = SIZE,
				   .ready = true,
				   .descriptors = end - 16 * SIZE,
				   .available = end - 6 - 2 * SIZE,
				   .used = end - 8 - 8 * SIZE};
	struct virtq queue = good;
	uint64_t *const areas[] = {&queue.descriptors, &queue.available, &queue.used};
	static const unsigned ALIGNMENTS[] = {16, 2, 4};

	assert_int_equal(virtq_start(&queue, &driver->mem, true), 0);
	for (unsigned i = 0; i < 3; i++) {
		const uint64_t wrong[] = {0,
					  *areas[i] + ALIGNMENTS[i],
					  *areas[i] + 1,
					  *areas[i] - ALIGNMENTS[i] / 2,
					  DRIVER_GPA - ALIGNMENTS[i],
					  end,
					  UINT64_MAX,
					  UINT64_MAX & ~UINT64_C(15),
					  (uint64_t)1 << 63};
		for (unsigned j = 0; j < sizeof(wrong) / sizeof(wrong[0]); j++) {
			queue = good;
			*areas[i] = wrong[j];
			/* the used ring's end is not a multiple of its alignment: there is one place more behind "good" */
			assert_int_equal(virtq_start(&queue, &driver->mem, true), -EINVAL);
			assert_true(queue.broken);
			assert_int_equal(virtq_pop(&queue, &guest->chain), -EPROTO);
		}
	}
	for (unsigned size = 0; size <= 0xffff; size++) {
		bool right = size > 0 && size <= VIRTQ_SIZE_MAX && (size & (size - 1)) == 0;

		queue = (struct virtq){.size = (uint16_t)size,
				       .ready = true,
				       .descriptors = DRIVER_GPA,
				       .available = DRIVER_GPA,
				       .used = DRIVER_GPA};
		assert_int_equal(virtq_start(&queue, &driver->mem, false), right ? 0 : -EINVAL);
	}
}

/* Before DRIVER_OK nothing has been looked up, and a host side that wakes early finds an empty queue. */
static void test_not_started(void **state)
{
	struct guest *guest = *state;
	struct virtio_driver *driver = &guest->driver;

	assert_true(driver_probe(driver, DRIVER_ALL_FEATURES));
	driver_setup_queue(driver, 0, SIZE);
	driver_add(driver, 0, (struct driver_buffer[]){{guest->page, 1, true}}, 1);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 0);
	assert_false(virtq_enable_kicks(guest->queue));
	virtq_disable_kicks(guest->queue);
	virtq_unpop(guest->queue);
	virtq_push(guest->queue, 0, 0);
	assert_false(virtq_needs_interrupt(guest->queue));
	assert_false(driver_has_used(driver, 0));
	driver_add_status(driver, VIRTIO_STATUS_DRIVER_OK);
	assert_int_equal(virtq_pop(guest->queue, &guest->chain), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_direct_and_indirect, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_indirect_after_direct, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_out_of_order_and_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_read_and_write, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unpop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_loops, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_indices, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_heads_in_flight, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_order_of_buffers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_indirect_tables, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_huge_indirect_tables, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ring_areas, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_started, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
