/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "devices/virtio/mem.h"
#include "tests/unit/counted.h"
#include "tests/unit/virtio_driver.h"

#include <errno.h>
#include <linux/virtio_mem.h>

#define REGION   UINT64_C(0x100000000)
#define BLOCK    VIRTIO_MEM_BLOCK_SIZE
#define BLOCKS   100u
#define NO_STATE 0xffff

struct fixture {
	struct virtio_mem mem;
	struct virtio_driver driver;
	uint64_t request, response; /* where in the guest */
	uint64_t discarded, last_offset, last_size;
	int discard_fails;
};

static int discard(void *context, uint64_t offset, uint64_t size)
{
	struct fixture *f = context;

	assert_true(size > 0 && offset % BLOCK == 0 && size % BLOCK == 0);
	assert_true(offset + size <= BLOCKS * BLOCK);
	f->last_offset = offset;
	f->last_size = size;
	if (f->discard_fails != 0)
		return f->discard_fails;
	f->discarded += size;
	return 0;
}

static struct virtio_mem_options good_options(struct fixture *f)
{
	return (struct virtio_mem_options){.option = "--maxmem 8G",
					   .gpa = REGION,
					   .size = BLOCKS * BLOCK,
					   .requested = 10 * BLOCK,
					   .node = 3,
					   .discard = discard,
					   .context = f};
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct virtio_mem_options options;
	struct error err;

	assert_non_null(f);
	options = good_options(f);
	assert_int_equal(virtio_mem_init(&f->mem, &options, &err), 0);
	driver_init(&f->driver, &f->mem.device);
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
	f->request = driver_alloc(&f->driver, 64, 16);
	f->response = driver_alloc(&f->driver, 64, 16);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtio_mem_release(&f->mem);
	driver_release(&f->driver);
	free(f);
	return 0;
}

/* Sends a request; the type of the response, and the state through *state (may be NULL). */
static int ask(struct fixture *f, uint16_t type, uint64_t address, uint16_t count, uint16_t *block_state)
{
	struct virtio_mem_req request = {.type = type, .u.plug = {.addr = address, .nb_blocks = count}};
	struct virtio_mem_resp response = {.type = 77, .u.state.state = NO_STATE};
	uint32_t written = 0;

	memcpy(driver_at(&f->driver, f->request), &request, sizeof(request));
	memcpy(driver_at(&f->driver, f->response), &response, sizeof(response));
	assert_true(driver_add(&f->driver, 0,
			       (struct driver_buffer[]){{f->request, sizeof(request), false},
							{f->response, sizeof(response), true}},
			       2) >= 0);
	driver_kick(&f->driver, 0);
	driver_work(&f->driver, 0);
	assert_true(driver_take(&f->driver, 0, &written) >= 0);
	assert_int_equal(written, 10);
	memcpy(&response, driver_at(&f->driver, f->response), sizeof(response));
	if (block_state != NULL)
		*block_state = response.u.state.state;
	return response.type;
}

static struct virtio_mem_config config(struct fixture *f)
{
	struct virtio_mem_config c;

	driver_read_config(&f->driver, 0, &c, sizeof(c));
	return c;
}

static void tells_its_configuration(void **state)
{
	struct fixture *f = *state;
	struct virtio_mem_config c = config(f);

	assert_int_equal(driver_read(&f->driver, DRIVER_REG_DEVICE_ID), 24);
	assert_int_equal(driver_offered(&f->driver) & 0xffffff, 3);
	assert_int_equal(c.block_size, BLOCK);
	assert_int_equal(c.node_id, 3);
	assert_int_equal(c.addr, REGION);
	assert_int_equal(c.region_size, BLOCKS * BLOCK);
	assert_int_equal(c.usable_region_size, BLOCKS * BLOCK);
	assert_int_equal(c.plugged_size, 0);
	assert_int_equal(c.requested_size, 10 * BLOCK);
	for (size_t i = 0; i < sizeof(c.padding); i++)
		assert_int_equal(c.padding[i], 0);
}

static void plugs_and_unplugs(void **state)
{
	struct fixture *f = *state;
	uint16_t what;

	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION + 4 * BLOCK, 6, NULL), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(config(f).plugged_size, 6 * BLOCK);
	assert_int_equal(virtio_mem_plugged(&f->mem), 6 * BLOCK);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_STATE, REGION + 4 * BLOCK, 6, &what), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(what, VIRTIO_MEM_STATE_PLUGGED);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_STATE, REGION + 3 * BLOCK, 2, &what), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(what, VIRTIO_MEM_STATE_MIXED);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_STATE, REGION, 4, &what), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(what, VIRTIO_MEM_STATE_UNPLUGGED);

	assert_int_equal(ask(f, VIRTIO_MEM_REQ_UNPLUG, REGION + 5 * BLOCK, 2, NULL), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(f->last_offset, 5 * BLOCK);
	assert_int_equal(f->last_size, 2 * BLOCK);
	assert_int_equal(config(f).plugged_size, 4 * BLOCK);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0, NULL), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(f->last_size, BLOCKS * BLOCK);
	assert_int_equal(config(f).plugged_size, 0);
	assert_int_equal(counted(&f->mem.device, "plugged", NULL), 0);
	assert_int_equal(driver_wait_interrupt(&f->driver, 1000), 1);
}

static void refuses_what_is_no_block_of_its(void **state)
{
	struct fixture *f = *state;
	const struct {
		uint64_t address;
		uint16_t count;
	} bad[] = {
		{REGION, 0},
		{REGION + 1, 1},
		{REGION + BLOCK / 2, 1},
		{REGION - BLOCK, 1},
		{REGION - BLOCK, 2},
		{REGION + BLOCKS * BLOCK, 1},
		{REGION + (BLOCKS - 1) * BLOCK, 2},
		{REGION, BLOCKS + 1},
		{REGION, UINT16_MAX},
		{0, 1},
		{UINT64_MAX - BLOCK + 1, 1},
		{UINT64_MAX - BLOCK + 1, UINT16_MAX},
		{REGION + (UINT64_C(1) << 63), 1},
	};
	struct error err;

	assert_int_equal(virtio_mem_set_requested(&f->mem, BLOCKS * BLOCK, &err), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, bad[i].address, bad[i].count, NULL),
				 VIRTIO_MEM_RESP_ERROR);
		assert_int_equal(ask(f, VIRTIO_MEM_REQ_UNPLUG, bad[i].address, bad[i].count, NULL),
				 VIRTIO_MEM_RESP_ERROR);
		assert_int_equal(ask(f, VIRTIO_MEM_REQ_STATE, bad[i].address, bad[i].count, NULL),
				 VIRTIO_MEM_RESP_ERROR);
	}
	assert_int_equal(ask(f, 4, REGION, 1, NULL), VIRTIO_MEM_RESP_ERROR);
	assert_int_equal(ask(f, UINT16_MAX, REGION, 1, NULL), VIRTIO_MEM_RESP_ERROR);
	assert_int_equal(config(f).plugged_size, 0);
	assert_int_equal(f->discarded, 0);
	assert_false(driver_needs_reset(&f->driver));
}

static void plugs_no_more_than_requested_and_nothing_twice(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION, 11, NULL), VIRTIO_MEM_RESP_NACK);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION, 9, NULL), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION + 8 * BLOCK, 1, NULL), VIRTIO_MEM_RESP_ERROR);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION + 9 * BLOCK, 2, NULL), VIRTIO_MEM_RESP_NACK);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION + 9 * BLOCK, 1, NULL), VIRTIO_MEM_RESP_ACK);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION + 10 * BLOCK, 1, NULL), VIRTIO_MEM_RESP_NACK);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_UNPLUG, REGION + 9 * BLOCK, 2, NULL), VIRTIO_MEM_RESP_ERROR);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_UNPLUG, REGION + 10 * BLOCK, 1, NULL), VIRTIO_MEM_RESP_ERROR);
	assert_int_equal(config(f).plugged_size, 10 * BLOCK);
	assert_int_equal(counted(&f->mem.device, "plugged", NULL), 10 * BLOCK);
	assert_int_equal(counted(&f->mem.device, "requested", NULL), 10 * BLOCK);
	assert_int_equal(counted(&f->mem.device, "requests", NULL), 8);
	assert_int_equal(counted(&f->mem.device, "refused", NULL), 6);
}

static void a_failing_discard_keeps_the_blocks(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION, 4, NULL), VIRTIO_MEM_RESP_ACK);
	f->discard_fails = -EINTR;
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_UNPLUG, REGION, 2, NULL), VIRTIO_MEM_RESP_BUSY);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_UNPLUG_ALL, 0, 0, NULL), VIRTIO_MEM_RESP_BUSY);
	assert_int_equal(config(f).plugged_size, 4 * BLOCK);
	f->discard_fails = 0;
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_UNPLUG, REGION, 4, NULL), VIRTIO_MEM_RESP_ACK);
}

static void the_request_can_change(void **state)
{
	struct fixture *f = *state;
	uint32_t generation = driver_read(&f->driver, DRIVER_REG_CONFIG_GENERATION);
	struct error err;

	assert_int_equal(virtio_mem_set_requested(&f->mem, 20 * BLOCK, &err), 0);
	assert_int_equal(driver_wait_interrupt(&f->driver, 1000), 2);
	assert_int_not_equal(driver_read(&f->driver, DRIVER_REG_CONFIG_GENERATION), generation);
	assert_int_equal(config(f).requested_size, 20 * BLOCK);
	assert_int_equal(virtio_mem_set_requested(&f->mem, 20 * BLOCK, &err), 0); /* nothing new: no interrupt */
	assert_int_equal(driver_wait_interrupt(&f->driver, 0), 0);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION, 20, NULL), VIRTIO_MEM_RESP_ACK);
	/* less than what is plugged: nothing more, until the driver has given some back */
	assert_int_equal(virtio_mem_set_requested(&f->mem, 5 * BLOCK, &err), 0);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION + 20 * BLOCK, 1, NULL), VIRTIO_MEM_RESP_NACK);
	assert_int_equal(virtio_mem_set_requested(&f->mem, 0, &err), 0);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION + 20 * BLOCK, 1, NULL), VIRTIO_MEM_RESP_NACK);

	assert_int_equal(virtio_mem_set_requested(&f->mem, BLOCK + 4096, &err), -EINVAL);
	assert_string_equal(err.text, "--maxmem 8G: the requested size 2052K is no multiple of 2M; use one");
	assert_int_equal(virtio_mem_set_requested(&f->mem, 101 * BLOCK, &err), -ERANGE);
	assert_string_equal(err.text, "--maxmem 8G: 202M of memory are requested and the region has 200M; ask for less "
				      "or start with more");
	assert_int_equal(config(f).requested_size, 0);
}

static void survives_a_reset(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION, 4, NULL), VIRTIO_MEM_RESP_ACK);
	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
	assert_int_equal(config(f).plugged_size, 4 * BLOCK);
	assert_int_equal(ask(f, VIRTIO_MEM_REQ_PLUG, REGION, 1, NULL), VIRTIO_MEM_RESP_ERROR);
}

static void a_chain_that_is_no_request_needs_a_reset(void **state)
{
	struct fixture *f = *state;
	struct driver_buffer chains[][2] = {
		{{f->request, 23, false}, {f->response, 10, true}},
		{{f->request, 24, false}, {f->response, 9, true}},
		{{f->request, 24, true}, {f->response, 10, true}},
		{{f->request, 24, false}, {f->response, 10, false}},
	};

	for (size_t i = 0; i < 4; i++) {
		assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 16));
		assert_true(driver_add(&f->driver, 0, chains[i], 2) >= 0);
		driver_kick(&f->driver, 0);
		driver_work(&f->driver, 0);
		assert_true(driver_needs_reset(&f->driver));
		assert_false(driver_has_used(&f->driver, 0));
	}
}

/* More in one kick than is served at once, in split buffers. */
static void serves_many_at_once(void **state)
{
	struct fixture *f = *state;
	struct virtio_mem_req request = {.type = VIRTIO_MEM_REQ_STATE, .u.plug = {.addr = REGION, .nb_blocks = 1}};
	int count = 0;

	assert_true(driver_start(&f->driver, DRIVER_ALL_FEATURES, 256));
	memcpy(driver_at(&f->driver, f->request), &request, sizeof(request));
	for (int i = 0; i < 85; i++) {
		assert_true(driver_add(&f->driver, 0,
				       (struct driver_buffer[]){{f->request, 7, false},
								{f->request + 7, 17, false},
								{f->response, 40, true}},
				       3) >= 0);
	}
	driver_kick(&f->driver, 0);
	driver_work(&f->driver, 0);
	while (driver_take(&f->driver, 0, NULL) >= 0)
		count++;
	assert_int_equal(count, 85);
}

/* Random requests beside a model that keeps a bool for each block. */
static void agrees_with_a_model(void **state)
{
	struct fixture *f = *state;
	struct prng prng = prng_new(__func__);
	bool model[BLOCKS] = {false};
	uint64_t requested = 10, plugged = 0;
	struct error err;

	for (int step = 0; step < 20000; step++) {
		uint64_t first = prng_below(&prng, BLOCKS + 2), count = prng_below(&prng, 12);
		uint16_t type = (uint16_t)prng_below(&prng, 4), what = NO_STATE;
		uint64_t in = 0;
		bool valid = first < BLOCKS && count > 0 && first + count <= BLOCKS;
		int expected = VIRTIO_MEM_RESP_ACK, expected_state = 0;

		if (prng_below(&prng, 20) == 0) {
			requested = prng_below(&prng, BLOCKS + 1);
			assert_int_equal(virtio_mem_set_requested(&f->mem, requested * BLOCK, &err), 0);
		}
		if (type == VIRTIO_MEM_REQ_UNPLUG_ALL && prng_below(&prng, 50) != 0)
			type = VIRTIO_MEM_REQ_PLUG;
		for (uint64_t i = first; valid && i < first + count; i++)
			in += model[i];
		if (type == VIRTIO_MEM_REQ_UNPLUG_ALL) {
			memset(model, 0, sizeof(model));
			plugged = 0;
		} else if (!valid) {
			expected = VIRTIO_MEM_RESP_ERROR;
		} else if (type == VIRTIO_MEM_REQ_PLUG) {
			expected = in > 0                        ? VIRTIO_MEM_RESP_ERROR
				   : plugged + count > requested ? VIRTIO_MEM_RESP_NACK
								 : VIRTIO_MEM_RESP_ACK;
		} else if (type == VIRTIO_MEM_REQ_UNPLUG) {
			expected = in < count ? VIRTIO_MEM_RESP_ERROR : VIRTIO_MEM_RESP_ACK;
		} else {
			expected_state = in == 0       ? VIRTIO_MEM_STATE_UNPLUGGED
					 : in == count ? VIRTIO_MEM_STATE_PLUGGED
						       : VIRTIO_MEM_STATE_MIXED;
		}
		assert_int_equal(ask(f, type, REGION + first * BLOCK, (uint16_t)count, &what), expected);
		if (type == VIRTIO_MEM_REQ_STATE && expected == VIRTIO_MEM_RESP_ACK)
			assert_int_equal(what, expected_state);
		if (type <= VIRTIO_MEM_REQ_UNPLUG && expected == VIRTIO_MEM_RESP_ACK) {
			for (uint64_t i = first; i < first + count; i++)
				model[i] = type == VIRTIO_MEM_REQ_PLUG;
			plugged = type == VIRTIO_MEM_REQ_PLUG ? plugged + count : plugged - count;
		}
		assert_int_equal(virtio_mem_plugged(&f->mem), plugged * BLOCK);
		assert_true(plugged <= BLOCKS);
	}
	assert_int_equal(config(f).plugged_size, plugged * BLOCK);
}

static void checks_its_options(void **state)
{
	struct virtio_mem_options good = good_options(NULL), bad;
	struct virtio_mem mem;
	struct error err;

	(void)state;
	bad = good;
	bad.block_size = 3 * BLOCK;
	assert_int_equal(virtio_mem_init(&mem, &bad, &err), -EINVAL);
	bad.block_size = BLOCK / 2;
	assert_int_equal(virtio_mem_init(&mem, &bad, &err), -EINVAL);
	assert_string_equal(err.text, "--maxmem 8G: blocks of 1M; use a power of two from 2M on");
	bad = good;
	bad.gpa += 4096;
	assert_int_equal(virtio_mem_init(&mem, &bad, &err), -EINVAL);
	bad = good;
	bad.size = 0;
	assert_int_equal(virtio_mem_init(&mem, &bad, &err), -EINVAL);
	bad = good;
	bad.gpa = UINT64_MAX - BLOCK + 1;
	assert_int_equal(virtio_mem_init(&mem, &bad, &err), -EINVAL);
	bad = good;
	bad.requested = bad.size + BLOCK;
	assert_int_equal(virtio_mem_init(&mem, &bad, &err), -ERANGE);
	assert_int_equal(err.status, EXIT_STATUS_CONFIG);
	bad = good;
	virtio_mem_release(NULL);
	memset(&mem, 0, sizeof(mem));
	virtio_mem_release(&mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tells_its_configuration, set_up, tear_down),
		cmocka_unit_test_setup_teardown(plugs_and_unplugs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refuses_what_is_no_block_of_its, set_up, tear_down),
		cmocka_unit_test_setup_teardown(plugs_no_more_than_requested_and_nothing_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_failing_discard_keeps_the_blocks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_request_can_change, set_up, tear_down),
		cmocka_unit_test_setup_teardown(survives_a_reset, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_chain_that_is_no_request_needs_a_reset, set_up, tear_down),
		cmocka_unit_test_setup_teardown(serves_many_at_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(agrees_with_a_model, set_up, tear_down),
		cmocka_unit_test(checks_its_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
