/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk does for a driver that keeps to the rules, with both engines: every test runs with io_uring and with system calls. */
#include "tests/unit/blk_guest.h"
#include "tests/unit/counted.h"

#include <sys/mman.h>
#include <sys/wait.h>

static struct blk_guest *new_guest(void **state, struct virtio_blk_options options)
{
	options.engine = **(const enum blk_engine *const *)state;
	return blk_guest_new(options, (uint64_t)DISK_SECTORS * SECTOR);
}

static uint64_t config(const struct blk_guest *guest, size_t offset, size_t size)
{
	uint64_t value = 0;

	driver_read_config(&guest->driver, offset, &value, size);
	return value;
}

static void test_configuration(void **state)
{
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){.queues = 3});
	uint64_t must = VIRTIO_BLK_FEATURE_SIZE_MAX | VIRTIO_BLK_FEATURE_SEG_MAX | VIRTIO_BLK_FEATURE_BLK_SIZE |
			VIRTIO_BLK_FEATURE_FLUSH | VIRTIO_BLK_FEATURE_TOPOLOGY | VIRTIO_BLK_FEATURE_CONFIG_WCE |
			VIRTIO_BLK_FEATURE_MQ | VIRTIO_BLK_FEATURE_WRITE_ZEROES;

	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	assert_int_equal(driver_read(&guest->driver, DRIVER_REG_DEVICE_ID), 2);
	assert_int_equal(guest->driver.features & must, must);
	assert_int_equal(guest->driver.features & VIRTIO_BLK_FEATURE_RO, 0);
	assert_int_equal(config(guest, 0, 8), DISK_SECTORS);
	assert_int_equal(config(guest, 8, 4), VIRTIO_BLK_SEGMENT_SIZE_MAX);
	assert_int_equal(config(guest, 12, 4), 254);
	assert_int_equal(config(guest, 20, 4), 512);
	assert_int_equal(config(guest, 32, 1), 1);
	assert_int_equal(config(guest, 33, 1), 0);
	assert_int_equal(config(guest, 34, 2), 3);
	assert_int_equal(config(guest, 52, 4), 1);
	/* every offset, also those at the end */
	for (size_t offset = 0; offset < 64; offset++)
		config(guest, offset, 1);
	blk_guest_free(guest);
}

static void test_reads_and_writes(void **state)
{
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){0});
	struct prng prng = prng_new(__func__);
	uint8_t out[4096], in[4096] = {0};
	uint32_t written = 0;
	struct blk_sent sent;
	int fd;

	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	blk_fill(out, sizeof(out), &prng);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 3, out, sizeof(out)), VIRTIO_BLK_S_OK);
	fd = open(guest->path, O_RDONLY);
	assert_int_equal(pread(fd, in, sizeof(in), 3 * SECTOR), sizeof(in));
	close(fd);
	assert_memory_equal(in, out, sizeof(in));
	memset(in, 0, sizeof(in));
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 3, in, sizeof(in)), VIRTIO_BLK_S_OK);
	assert_memory_equal(in, out, sizeof(in));
	/* the used length tells of data and status */
	sent = blk_guest_add(guest, 0, VIRTIO_BLK_T_IN, 0, 1024, 3);
	assert_int_equal(blk_guest_finish(guest, &sent, &written), VIRTIO_BLK_S_OK);
	assert_int_equal(written, 3 * 1024 + 1);
	sent = blk_guest_add(guest, 0, VIRTIO_BLK_T_OUT, 0, 1024, 3);
	assert_int_equal(blk_guest_finish(guest, &sent, &written), VIRTIO_BLK_S_OK);
	assert_int_equal(written, 1);
	/* the last sector, the one behind, across the end, and numbers that overflow */
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, DISK_SECTORS - 1, out, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, DISK_SECTORS, out, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, DISK_SECTORS - 1, in, 1024), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, UINT64_MAX, in, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, UINT64_MAX / SECTOR, in, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, UINT64_C(1) << 55, in, SECTOR), VIRTIO_BLK_S_IOERR);
	/* not whole sectors; nothing at all */
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 0, out, 511), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 0, in, 513), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, DISK_SECTORS, NULL, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_file_size_now(&guest->blk.file), DISK_SECTORS * SECTOR);
	assert_int_equal(counted(&guest->blk.device, "requests", "read"), 7);
	assert_int_equal(counted(&guest->blk.device, "transferred", "read"), 4096 + 3 * 1024);
	assert_int_equal(counted(&guest->blk.device, "refused", "read"), 4);
	assert_int_equal(counted(&guest->blk.device, "requests", "write"), 6);
	assert_int_equal(counted(&guest->blk.device, "transferred", "write"), 4096 + 3 * 1024 + SECTOR);
	assert_int_equal(counted(&guest->blk.device, "refused", "write"), 3);
	assert_int_equal(counted(&guest->blk.device, "errors", "write"), 0);
	assert_int_equal(counted(&guest->blk.device, "requests", NULL), NOT_COUNTED);
	blk_guest_free(guest);
}

/* Header and status share descriptors with the data, cut at odd places (§2.7.4: the framing is the driver's). */
static void test_any_framing(void **state)
{
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){0});
	struct virtio_driver *driver = &guest->driver;
	struct prng prng = prng_new(__func__);
	uint8_t request[16 + 1024 + 1] = {VIRTIO_BLK_T_OUT}, in[1024];
	uint64_t gpa, back;
	uint32_t written = 0;

	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	blk_fill(request + 16, 1024, &prng);
	request[8] = 7;
	gpa = driver_put(driver, request, sizeof(request));
	driver_add(driver, 0,
		   (struct driver_buffer[]){{gpa, 5, false},
					    {gpa + 5, 100, false},
					    {gpa + 105, 1, false},
					    {gpa + 106, 16 + 1024 - 106, false},
					    {gpa + 16 + 1024, 1, true}},
		   5);
	driver_kick(driver, 0);
	blk_guest_wait_used(guest, 0);
	driver_take(driver, 0, NULL);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 7, in, sizeof(in)), VIRTIO_BLK_S_OK);
	assert_memory_equal(in, request + 16, sizeof(in));
	/* read: data and status in one buffer, a byte of data in another */
	request[0] = VIRTIO_BLK_T_IN;
	memcpy(driver_at(driver, gpa), request, 16);
	back = driver_alloc(driver, 1025, 16);
	driver_add(driver, 0, (struct driver_buffer[]){{gpa, 16, false}, {back, 1, true}, {back + 1, 1024, true}}, 3);
	driver_kick(driver, 0);
	blk_guest_wait_used(guest, 0);
	driver_take(driver, 0, &written);
	assert_int_equal(written, 1025);
	assert_memory_equal(driver_at(driver, back), request + 16, 1024);
	assert_int_equal(*(uint8_t *)driver_at(driver, back + 1024), VIRTIO_BLK_S_OK);
	blk_guest_free(guest);
}

static void test_flush_id_and_unknown(void **state)
{
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){.id = "12345678901234567890"});
	uint8_t id[24];
	uint32_t written = 0;
	struct blk_sent sent;

	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
	memset(id, 'x', sizeof(id));
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_GET_ID, 0, id, 20), VIRTIO_BLK_S_OK);
	assert_memory_equal(id, "12345678901234567890", 20);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_GET_ID, 0, id, 3), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_GET_ID, 0, NULL, 0), VIRTIO_BLK_S_OK);
	/* a longer buffer: its end is left alone and not counted */
	sent = blk_guest_add(guest, 0, VIRTIO_BLK_T_GET_ID, 0, 24, 1);
	assert_int_equal(blk_guest_finish(guest, &sent, &written), VIRTIO_BLK_S_OK);
	assert_int_equal(written, 20);
	for (uint32_t type = 2; type < 64; type++) {
		if (type != VIRTIO_BLK_T_FLUSH && type != VIRTIO_BLK_T_GET_ID && type != VIRTIO_BLK_T_DISCARD &&
		    type != VIRTIO_BLK_T_WRITE_ZEROES)
			assert_int_equal(blk_guest_do(guest, type, 0, id, 16), VIRTIO_BLK_S_UNSUPP);
	}
	assert_int_equal(blk_guest_do(guest, UINT32_MAX, 0, NULL, 0), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(counted(&guest->blk.device, "requests", "flush"), 1);
	assert_int_equal(counted(&guest->blk.device, "requests", "other"), 4 + 58 + 1);
	assert_int_equal(counted(&guest->blk.device, "refused", "other"), 58 + 1);
	blk_guest_free(guest);
}

/* Writes ones over 16 MiB / 4 and takes them away again, in all ways. */
static void test_discard_and_write_zeroes(void **state)
{
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){0});
	static uint8_t bytes[64 * SECTOR], zeroes[64 * SECTOR];
	struct blk_range many[VIRTIO_BLK_RANGES_MAX + 1];
	struct stat before, after;

	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	for (int unmap = 0; unmap < 2; unmap++) {
		memset(bytes, 0xff, sizeof(bytes));
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 64, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
		stat(guest->path, &before);
		assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_WRITE_ZEROES,
						  &(struct blk_range){65, 62, (uint32_t)unmap}, 1),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 64, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
		assert_int_equal(bytes[SECTOR - 1], 0xff);
		assert_memory_equal(bytes + SECTOR, zeroes, 62 * SECTOR);
		assert_int_equal(bytes[63 * SECTOR], 0xff);
		stat(guest->path, &after);
		if (unmap && guest->blk.file.punches)
			assert_true(after.st_blocks < before.st_blocks);
		else
			assert_int_equal(after.st_blocks, before.st_blocks);
	}
	if ((guest->driver.features & VIRTIO_BLK_FEATURE_DISCARD) != 0) {
		assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_DISCARD,
						  (struct blk_range[]){{64, 32, 0}, {0, 0, 0}, {96, 32, 0}}, 3),
				 VIRTIO_BLK_S_OK);
		stat(guest->path, &after);
		assert_true(after.st_blocks < before.st_blocks);
		/* the guest may not count on it, but a hole in a file reads as zeroes: every range was heeded */
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 64, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
		assert_memory_equal(bytes, zeroes, sizeof(bytes));
	}
	assert_int_equal(counted(&guest->blk.device, "transferred", "write_zeroes"), UINT64_C(2) * 62 * SECTOR);
	if ((guest->driver.features & VIRTIO_BLK_FEATURE_DISCARD) != 0)
		assert_int_equal(counted(&guest->blk.device, "transferred", "discard"), 64 * SECTOR);
	assert_int_equal(after.st_size, DISK_SECTORS * SECTOR);
	for (unsigned i = 0; i < VIRTIO_BLK_RANGES_MAX + 1; i++)
		many[i] = (struct blk_range){i, 1, 0};
	assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_DISCARD, many, VIRTIO_BLK_RANGES_MAX), VIRTIO_BLK_S_OK);
	assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_DISCARD, many, VIRTIO_BLK_RANGES_MAX + 1),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_WRITE_ZEROES, many, 2), VIRTIO_BLK_S_IOERR);
	blk_guest_free(guest);
}

static void test_bad_ranges(void **state)
{
	static const struct {
		struct blk_range range;
		uint32_t type;
		uint8_t status;
	} CASES[] = {
		{{0, 1, 1}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_UNSUPP},
		{{0, 1, 2}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_UNSUPP},
		{{0, 1, 2}, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_UNSUPP},
		{{0, 1, UINT32_MAX}, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_UNSUPP},
		{{DISK_SECTORS, 1, 0}, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR},
		{{DISK_SECTORS - 1, 2, 0}, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR},
		{{UINT64_MAX, 1, 0}, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR},
		{{UINT64_MAX - 1, 2, 1}, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR},
		{{0, UINT32_MAX, 0}, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_S_IOERR},
		{{1, UINT32_MAX, 0}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR},
		{{DISK_SECTORS + 1, 0, 0}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_IOERR},
		{{DISK_SECTORS, 0, 0}, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_S_OK},
	};
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){0});
	uint8_t bytes[48] = {0};

	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
		if (CASES[i].type == VIRTIO_BLK_T_DISCARD && !guest->blk.file.punches)
			continue;
		if (blk_guest_ranges(guest, CASES[i].type, &CASES[i].range, 1) != CASES[i].status)
			fail_msg("case %zu", i);
	}
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_WRITE_ZEROES, 0, NULL, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_WRITE_ZEROES, 0, bytes, 15), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_WRITE_ZEROES, 0, bytes, 17), VIRTIO_BLK_S_IOERR);
	/* not negotiated */
	blk_guest_start(guest, ~(VIRTIO_BLK_FEATURE_DISCARD | VIRTIO_BLK_FEATURE_WRITE_ZEROES));
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_WRITE_ZEROES, 0, bytes, 16), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_DISCARD, 0, bytes, 16), VIRTIO_BLK_S_UNSUPP);
	blk_guest_free(guest);
}

/* Zeroes where fallocate(2) cannot give them: written, in steps and pieces of a page. */
static void test_zeroes_are_written(void **state)
{
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){0});
	static uint8_t bytes[1000 * SECTOR], zeroes[1000 * SECTOR];

	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	guest->blk.zero_range_missing = true;
	for (uint32_t step_max = 700; step_max <= VIRTIO_BLK_STEP_MAX; step_max *= 100) {
		guest->blk.step_max = step_max;
		memset(bytes, 0xff, sizeof(bytes));
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 0, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
		assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_WRITE_ZEROES, &(struct blk_range){1, 998, 0}, 1),
				 VIRTIO_BLK_S_OK);
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 0, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
		assert_int_equal(bytes[SECTOR - 1], 0xff);
		assert_memory_equal(bytes + SECTOR, zeroes, 998 * SECTOR);
		assert_int_equal(bytes[999 * SECTOR], 0xff);
	}
	blk_guest_free(guest);
}

/* A memfd has no FALLOC_FL_ZERO_RANGE: that is found out once, and zeroes are written from then on. */
static void test_without_zero_range(void **state)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	uint8_t bytes[8 * SECTOR], zeroes[8 * SECTOR] = {0};
	struct blk_guest *guest;
	char path[64];

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK_SECTORS * SECTOR), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	guest = new_guest(state, (struct virtio_blk_options){.path = path});
	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	for (unsigned i = 0; i < 4; i++) {
		memset(bytes, 0xff, sizeof(bytes));
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 0, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
		assert_int_equal(
			blk_guest_ranges(guest, VIRTIO_BLK_T_WRITE_ZEROES, &(struct blk_range){0, 8, i & 1}, 1),
			VIRTIO_BLK_S_OK);
		assert_true(guest->blk.zero_range_missing);
		assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 0, bytes, sizeof(bytes)), VIRTIO_BLK_S_OK);
		assert_memory_equal(bytes, zeroes, sizeof(bytes));
	}
	blk_guest_free(guest);
	close(fd);
}

static void test_read_only(void **state)
{
	struct blk_guest *guest;
	uint8_t bytes[SECTOR] = {1};

	guest = new_guest(state, (struct virtio_blk_options){.read_only = true});
	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	assert_int_not_equal(guest->driver.features & VIRTIO_BLK_FEATURE_RO, 0);
	assert_int_equal(guest->driver.features & (VIRTIO_BLK_FEATURE_DISCARD | VIRTIO_BLK_FEATURE_WRITE_ZEROES), 0);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 0, bytes, SECTOR), VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_DISCARD, &(struct blk_range){0, 1, 0}, 1),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_WRITE_ZEROES, &(struct blk_range){0, 1, 0}, 1),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, 0, bytes, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(bytes[0], 0);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_FLUSH, 0, NULL, 0), VIRTIO_BLK_S_OK);
	assert_true(blk_guest_said(guest, "the guest's request (type 1) is refused: the disk is read-only"));
	/* the guest's acceptance of RO does not matter */
	blk_guest_start(guest, ~VIRTIO_BLK_FEATURE_RO);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 0, bytes, SECTOR), VIRTIO_BLK_S_IOERR);
	blk_guest_free(guest);
}

/* §5.2.5, §5.2.6.2: who does not flush gets writes that are stable when they complete. */
static void test_cache_modes(void **state)
{
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){0});
	uint8_t bytes[SECTOR] = {1};

	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	assert_true(blk_writes_back(&guest->blk));
	VIRTIO_MMIO_OPS.write(&guest->blk.device, DRIVER_REG_CONFIG + 32, 1, 0);
	assert_int_equal(config(guest, 32, 1), 0);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 0, bytes, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(guest->blk.requests[guest->blk.free[guest->blk.free_count - 1]].op, BLK_SYNC);
	assert_int_equal(blk_guest_ranges(guest, VIRTIO_BLK_T_WRITE_ZEROES, &(struct blk_range){0, 8, 0}, 1),
			 VIRTIO_BLK_S_OK);
	assert_int_equal(guest->blk.requests[guest->blk.free[guest->blk.free_count - 1]].op, BLK_SYNC);
	VIRTIO_MMIO_OPS.write(&guest->blk.device, DRIVER_REG_CONFIG + 32, 1, 1);
	assert_int_equal(config(guest, 32, 1), 1);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 0, bytes, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(guest->blk.requests[guest->blk.free[guest->blk.free_count - 1]].op, BLK_WRITE);
	/* other fields cannot be written, nor this one when that was not negotiated; a reset forgets it */
	VIRTIO_MMIO_OPS.write(&guest->blk.device, DRIVER_REG_CONFIG, 8, 0);
	assert_int_equal(config(guest, 0, 8), DISK_SECTORS);
	VIRTIO_MMIO_OPS.write(&guest->blk.device, DRIVER_REG_CONFIG + 32, 1, 0);
	blk_guest_start(guest, ~VIRTIO_BLK_FEATURE_CONFIG_WCE);
	assert_true(blk_writes_back(&guest->blk));
	VIRTIO_MMIO_OPS.write(&guest->blk.device, DRIVER_REG_CONFIG + 32, 1, 0);
	assert_true(blk_writes_back(&guest->blk));
	blk_guest_start(guest, ~VIRTIO_BLK_FEATURE_FLUSH);
	assert_int_equal(config(guest, 32, 1), 0);
	assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_OUT, 0, bytes, SECTOR), VIRTIO_BLK_S_OK);
	assert_int_equal(guest->blk.requests[guest->blk.free[guest->blk.free_count - 1]].op, BLK_SYNC);
	blk_guest_free(guest);
}

/* As many as there can be in three queues at once; every one is answered exactly once, and the driver is interrupted. */
static void test_many_in_flight(void **state)
{
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){.queues = 3});
	struct virtio_driver *driver = &guest->driver;
	struct blk_sent(*sent)[RING] = calloc(3, sizeof(*sent));
	unsigned answered = 0;

	assert_non_null(sent);
	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	for (unsigned queue = 0; queue < 3; queue++) {
		for (unsigned i = 0; i < RING; i++) {
			uint64_t sector = queue * RING + i;

			sent[queue][i] = blk_guest_add(guest, queue, VIRTIO_BLK_T_OUT, sector, SECTOR, 1);
			memset(driver_at(driver, sent[queue][i].data), (int)(sector % 251 + 1), SECTOR);
		}
		driver_kick(driver, queue);
	}
	for (unsigned rounds = 0; answered < 3 * RING; rounds++) {
		assert_true(rounds < 10000);
		driver_work_once(driver, 100);
		for (unsigned queue = 0; queue < 3; queue++) {
			while (driver_take(driver, queue, NULL) >= 0)
				answered++;
			driver_enable_interrupts(driver, queue);
		}
	}
	assert_int_not_equal(driver_wait_interrupt(driver, 0), 0);
	driver_work(driver, 10);
	assert_int_equal(guest->blk.io.in_flight, 0);
	assert_int_equal(guest->blk.free_count, VIRTIO_BLK_REQUESTS_MAX);
	for (unsigned queue = 0; queue < 3; queue++) {
		assert_false(driver_has_used(driver, queue));
		for (unsigned i = 0; i < RING; i++) {
			uint8_t in[SECTOR];

			assert_int_equal(blk_guest_status(guest, &sent[queue][i]), VIRTIO_BLK_S_OK);
			driver->next = guest->pool + 12 * MIB;
			assert_int_equal(blk_guest_do(guest, VIRTIO_BLK_T_IN, queue * RING + i, in, SECTOR), 0);
			assert_int_equal(in[0], (queue * RING + i) % 251 + 1);
			assert_memory_equal(in, in + 1, SECTOR - 1);
		}
	}
	free(sent);
	blk_guest_free(guest);
}

/* Long requests go in steps, in pieces of whatever size, and short transfers are carried on. */
static void test_long_requests(void **state)
{
	static const uint32_t STEPS[] = {1, 700, 4096, 65537, VIRTIO_BLK_STEP_MAX};
	struct prng prng = prng_new(__func__);
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){0});
	struct virtio_driver *driver = &guest->driver;
	uint8_t *bytes = malloc(3 * MIB);
	struct blk_sent sent;

	assert_non_null(bytes);
	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	for (size_t i = 0; i < sizeof(STEPS) / sizeof(STEPS[0]); i++) {
		uint32_t piece = STEPS[i] == 1 ? 512 : 12 * 1024; /* 254 pieces fit */
		unsigned pieces = STEPS[i] == 1 ? 4 : 254;
		size_t size = (size_t)piece * pieces;

		guest->blk.step_max = STEPS[i];
		driver->next = guest->pool;
		blk_fill(bytes, size, &prng);
		sent = blk_guest_add(guest, 0, VIRTIO_BLK_T_OUT, 5, piece, pieces);
		memcpy(driver_at(driver, sent.data), bytes, size);
		assert_int_equal(blk_guest_finish(guest, &sent, NULL), VIRTIO_BLK_S_OK);
		sent = blk_guest_add(guest, 0, VIRTIO_BLK_T_IN, 5, piece, pieces);
		assert_int_equal(blk_guest_finish(guest, &sent, NULL), VIRTIO_BLK_S_OK);
		assert_memory_equal(driver_at(driver, sent.data), bytes, size);
		/* one buffer, longer than size_max: no harm */
		sent = blk_guest_add(guest, 0, VIRTIO_BLK_T_IN, 5, (uint32_t)size, 1);
		assert_int_equal(blk_guest_finish(guest, &sent, NULL), VIRTIO_BLK_S_OK);
		assert_memory_equal(driver_at(driver, sent.data), bytes, size);
	}
	free(bytes);
	blk_guest_free(guest);
}

/*
 * Thousands of mixed requests against an array, up to 16 of them in flight on sectors that do not overlap; in the end the file itself is
 * compared. What was discarded is written again before it is compared.
 */
enum { MODEL_SLOTS = 16, MODEL_SECTORS = 32, MODEL_ROUNDS = 200 };

struct model_slot {
	struct blk_sent sent;
	uint32_t type, sectors;
	uint64_t sector;
};

static void model_send(struct blk_guest *guest, struct model_slot *slot, unsigned index, uint8_t *model,
		       struct prng *prng)
{
	static const uint32_t TYPES[] = {VIRTIO_BLK_T_IN,  VIRTIO_BLK_T_IN,    VIRTIO_BLK_T_OUT,
					 VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_WRITE_ZEROES};
	struct virtio_driver *driver = &guest->driver;
	uint64_t area = (uint64_t)index * MODEL_SECTORS;
	uint8_t *at;

	/* flushes are slow on a real disk */
	slot->type = prng_below(prng, 100) == 0 ? (uint32_t)VIRTIO_BLK_T_FLUSH : TYPES[prng_below(prng, 3)];
	slot->sector = area + prng_below(prng, MODEL_SECTORS);
	slot->sectors = (uint32_t)(1 + prng_below(prng, area + MODEL_SECTORS - slot->sector));
	at = model + slot->sector * SECTOR;
	switch (slot->type) {
	case VIRTIO_BLK_T_FLUSH:
		slot->sent = blk_guest_add(guest, 0, slot->type, 0, 0, 0);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		slot->sent = blk_guest_add(guest, 0, slot->type, 0, 16, 1);
		memcpy(driver_at(driver, slot->sent.data), &slot->sector, 8);
		memcpy(driver_at(driver, slot->sent.data + 8), &slot->sectors, 4);
		memcpy(driver_at(driver, slot->sent.data + 12), &(uint32_t){(uint32_t)prng_below(prng, 2)}, 4);
		memset(at, 0, (size_t)slot->sectors * SECTOR);
		break;
	default:
		slot->sent = blk_guest_add(guest, 0, slot->type, slot->sector, SECTOR, slot->sectors);
		if (slot->type == VIRTIO_BLK_T_OUT) {
			blk_fill(at, (size_t)slot->sectors * SECTOR, prng);
			memcpy(driver_at(driver, slot->sent.data), at, (size_t)slot->sectors * SECTOR);
		}
		break;
	}
}

static void test_random_operations(void **state)
{
	struct prng prng = prng_new(__func__);
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){.step_max = 5000});
	struct virtio_driver *driver = &guest->driver;
	static uint8_t model[MODEL_SLOTS * MODEL_SECTORS * SECTOR], file[sizeof(model)];
	struct model_slot slots[MODEL_SLOTS];
	int fd;

	memset(model, 0, sizeof(model));
	blk_guest_start(guest, DRIVER_ALL_FEATURES);
	for (unsigned round = 0; round < MODEL_ROUNDS; round++) {
		unsigned answered = 0;

		driver->next = guest->pool;
		for (unsigned i = 0; i < MODEL_SLOTS; i++) {
			model_send(guest, &slots[i], i, model, &prng);
			if (prng_below(&prng, 4) == 0)
				driver_kick(driver, 0);
			if (prng_below(&prng, 4) == 0)
				driver_work_once(driver, 0);
		}
		driver_kick(driver, 0);
		for (unsigned tries = 0; answered < MODEL_SLOTS; tries++) {
			assert_true(tries < 10000);
			driver_work_once(driver, 100);
			while (driver_take(driver, 0, NULL) >= 0)
				answered++;
		}
		for (unsigned i = 0; i < MODEL_SLOTS; i++) {
			assert_int_equal(blk_guest_status(guest, &slots[i].sent), VIRTIO_BLK_S_OK);
			if (slots[i].type == VIRTIO_BLK_T_IN)
				assert_memory_equal(driver_at(driver, slots[i].sent.data),
						    model + slots[i].sector * SECTOR,
						    (size_t)slots[i].sectors * SECTOR);
		}
	}
	fd = open(guest->path, O_RDONLY);
	assert_int_equal(pread(fd, file, sizeof(file), 0), sizeof(file));
	close(fd);
	assert_memory_equal(file, model, sizeof(file));
	blk_guest_free(guest);
}

/* The process dies without any care; what was acknowledged is in the file, without a flush. */
static void test_acknowledged_writes_survive_sigkill(void **state)
{
	struct blk_guest *guest = new_guest(state, (struct virtio_blk_options){0});
	uint8_t bytes[SECTOR];
	int notes[2], status, fd;
	uint32_t last = 0, sector;
	pid_t child;

	virtio_blk_release(&guest->blk); /* and its lock: the child opens the file itself */
	assert_int_equal(pipe(notes), 0);
	child = fork();
	if (child == 0) {
		struct blk_guest *mine = calloc(1, sizeof(*mine));
		struct virtio_blk_options options = {.path = guest->path,
						     .engine = **(const enum blk_engine *const *)state};
		struct error err;

		if (mine == NULL || virtio_blk_init(&mine->blk, &options, "x", NULL, &err) != 0)
			_exit(1);
		driver_init(&mine->driver, &mine->blk.device);
		blk_guest_start(mine, DRIVER_ALL_FEATURES);
		for (sector = 1;; sector = sector % (DISK_SECTORS - 1) + 1) {
			memset(bytes, (int)(sector % 255 + 1), sizeof(bytes));
			if (blk_guest_do(mine, VIRTIO_BLK_T_OUT, sector, bytes, SECTOR) != VIRTIO_BLK_S_OK ||
			    write(notes[1], &sector, sizeof(sector)) != sizeof(sector))
				_exit(2);
		}
	}
	close(notes[1]);
	while (last < 200 && read(notes[0], &sector, sizeof(sector)) == sizeof(sector))
		last = sector;
	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status));
	while (read(notes[0], &sector, sizeof(sector)) == sizeof(sector))
		last = sector;
	close(notes[0]);
	fd = open(guest->path, O_RDONLY);
	for (sector = 1; sector <= last; sector++) {
		assert_int_equal(pread(fd, bytes, sizeof(bytes), (off_t)sector * SECTOR), SECTOR);
		assert_int_equal(bytes[0], sector % 255 + 1);
		assert_memory_equal(bytes, bytes + 1, SECTOR - 1);
	}
	close(fd);
	blk_guest_free(guest);
}

#define WITH(test, engine)                                                                                             \
	{                                                                                                              \
#test " (" #engine ")", (test), NULL, NULL, (void *)(uintptr_t) & (engine)                             \
	}
#define BOTH(test) WITH(test, uring), WITH(test, system_calls)

int main(void)
{
	static const enum blk_engine uring = BLK_ENGINE_AUTO, system_calls = BLK_ENGINE_SYNC;
	const struct CMUnitTest tests[] = {
		BOTH(test_configuration),
		BOTH(test_reads_and_writes),
		BOTH(test_any_framing),
		BOTH(test_flush_id_and_unknown),
		BOTH(test_discard_and_write_zeroes),
		BOTH(test_bad_ranges),
		BOTH(test_zeroes_are_written),
		BOTH(test_without_zero_range),
		BOTH(test_read_only),
		BOTH(test_cache_modes),
		BOTH(test_many_in_flight),
		BOTH(test_long_requests),
		BOTH(test_random_operations),
		BOTH(test_acknowledged_writes_survive_sigkill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
