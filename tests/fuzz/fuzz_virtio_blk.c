/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk under a driver that does what the input says. Two bytes choose engine, features and the disk; then each step builds a chain whose
 * header, range bytes and buffers come from the input (right more often than not, or nothing but the first check would be seen), or kicks,
 * resets, touches the configuration or lets the main loop run. In the end nothing is in flight, all requests are free and the disk has its size.
 */
#include <sys/mman.h>

#include "devices/virtio/blk.h"
#include "devices/virtio/blk_request.h"
#include "tests/unit/virtio_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SECTORS = 64, RING = 16, BUFFERS_MAX = 6, AREA = 64 * 1024 };

struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t next(struct input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->at++;
}

static uint32_t next_u32(struct input *input)
{
	uint32_t value = next(input);

	value |= (uint32_t)next(input) << 8;
	value |= (uint32_t)next(input) << 16;
	return value | (uint32_t)next(input) << 24;
}

/* Small numbers mostly, now and then any. */
static uint64_t next_sector(struct input *input)
{
	uint8_t how = next(input);

	if (how < 224)
		return how % (SECTORS + 4);
	return (uint64_t)next_u32(input) << (how & 31);
}

static void add_request(struct virtio_driver *driver, struct input *input, uint64_t area)
{
	static const uint8_t TYPES[] = {0, 1, 4, 8, 11, 13};
	uint8_t bytes[16 + 32] = {0};
	struct driver_buffer buffers[BUFFERS_MAX];
	uint8_t shape = next(input), kind = next(input);
	unsigned count = 1 + shape % (BUFFERS_MAX - 1);
	uint32_t type = kind < 240 ? TYPES[kind % sizeof(TYPES)] : next_u32(input);
	uint64_t sector = next_sector(input), header = area + (next(input) % 16) * 64u;

	memcpy(bytes, &type, 4);
	memcpy(bytes + 8, &sector, 8);
	if (type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES) {
		uint32_t sectors = next(input) % (SECTORS + 2), flags = next(input) % 3;

		sector = next_sector(input);
		memcpy(bytes + 16, &sector, 8);
		memcpy(bytes + 24, &sectors, 4);
		memcpy(bytes + 28, &flags, 4);
		bytes[40] = next(input);
	}
	memcpy(driver_at(driver, header), bytes, sizeof(bytes));
	buffers[0] = (struct driver_buffer){header, (shape & 0x80) != 0 ? next(input) % 64u : 16, false};
	for (unsigned i = 1; i < count; i++) {
		uint8_t how = next(input);
		bool write =
			type != VIRTIO_BLK_T_OUT && type != VIRTIO_BLK_T_DISCARD && type != VIRTIO_BLK_T_WRITE_ZEROES;

		buffers[i] = (struct driver_buffer){area + 512u * next(input), 512u * (how % 8), write ^ (how == 255)};
		if (!write && type != VIRTIO_BLK_T_OUT)
			buffers[i] = (struct driver_buffer){header + 16, how % 2 ? 16 : 32, false};
		if ((how & 0xf0) == 0xf0)
			buffers[i].size = next_u32(input) >> (how & 15);
		if (how == 0xef)
			buffers[i].gpa = (uint64_t)next_u32(input) << 12;
	}
	buffers[count++] =
		(struct driver_buffer){area + 4096 + next(input), (shape & 0x40) != 0 ? next(input) % 4 : 1, true};
	if ((shape & 0x20) != 0)
		driver_add_indirect(driver, 0, area + AREA - 16 * BUFFERS_MAX, buffers, count);
	else
		driver_add(driver, 0, buffers, count);
}

static void step(struct virtio_driver *driver, struct input *input, uint64_t area, uint64_t features)
{
	uint8_t what = next(input);

	switch (what % 16) {
	case 0:
		if ((what & 0x70) != 0)
			break;
		driver->next = area + AREA;
		driver_start(driver, features, RING);
		break;
	case 1:
		VIRTIO_MMIO_OPS.write(driver->device, DRIVER_REG_CONFIG + next(input) % 64, 1u << (what >> 4 & 3),
				      next(input));
		break;
	case 2:
		VIRTIO_MMIO_OPS.read(driver->device, DRIVER_REG_CONFIG + next(input) % 64, 1u << (what >> 4 & 3));
		break;
	case 3:
	case 4:
		driver_kick_always(driver, 0);
		driver_work_once(driver, 0);
		break;
	case 5:
		while (driver_take(driver, 0, NULL) >= 0)
			;
		break;
	case 6:
		if (what == 0xf6)
			driver_publish(driver, 0, next(input));
		break;
	default:
		add_request(driver, input, area);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t engine = next(&input), choice = next(&input);
	struct virtio_blk_options options = {
		.engine = engine % 8 == 0 ? BLK_ENGINE_AUTO : BLK_ENGINE_SYNC,
		.read_only = choice % 8 == 0,
		.step_max = choice % 4 == 1 ? 1 + choice * 7u : 0,
	};
	struct virtio_blk *blk = calloc(1, sizeof(*blk));
	int fd = memfd_create("disk", MFD_CLOEXEC);
	uint64_t features = (choice & 0x40) != 0 ? ~(uint64_t)next_u32(&input) : DRIVER_ALL_FEATURES, area;
	struct virtio_driver driver;
	struct error err;
	char path[64];

	driver_require(blk != NULL && fd >= 0 && ftruncate(fd, SECTORS * 512) == 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	options.path = path;
	driver_require(virtio_blk_init(blk, &options, "--blk", NULL, &err) == 0);
	driver_init(&driver, &blk->device);
	area = driver_alloc(&driver, AREA, 4096);
	if (driver_start(&driver, features | VIRTIO_FEATURE_VERSION_1, RING)) {
		while (input.left > 0)
			step(&driver, &input, area, features | VIRTIO_FEATURE_VERSION_1);
		driver_kick_always(&driver, 0);
		driver_work_once(&driver, 0);
	}
	driver_reset(&driver);
	driver_require(blk->io.in_flight == 0 && blk->free_count == VIRTIO_BLK_REQUESTS_MAX);
	driver_require(lseek(fd, 0, SEEK_END) == SECTORS * 512);
	virtio_blk_release(blk);
	driver_release(&driver);
	close(fd);
	free(blk);
	return 0;
}
