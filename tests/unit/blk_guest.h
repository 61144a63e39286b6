/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_TESTS_UNIT_BLK_GUEST_H
#define SPMVM_TESTS_UNIT_BLK_GUEST_H

/* A guest with a disk, for the tests of devices/virtio/blk*.c: a file in the temporary folder, the device on it, and a driver that builds requests. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/virtio/blk.h"
#include "devices/virtio/blk_request.h"
#include "tests/unit/unit.h"
#include "tests/unit/virtio_driver.h"

enum { SECTOR = 512, DISK_SECTORS = 8192, RING = 256, NO_STATUS = 0xee };

struct blk_guest {
	char path[64];
	int log_fd; /* an unlinked file: what the device has said */
	struct log log;
	struct virtio_blk blk;
	struct virtio_driver driver;
	uint64_t pool; /* where allocations of a test start: blk_guest_restart() goes back to it */
};

/* A request that is made available, and where its parts are. */
struct blk_sent {
	int head;
	uint64_t data, status;
};

static inline void blk_guest_make_file(char *path, size_t room, uint64_t size)
{
	const char *folder = getenv("TMPDIR");
	int fd;

	snprintf(path, room, "%s/spmvm-blk-XXXXXX", folder != NULL && strlen(folder) < 32 ? folder : "/tmp");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

/* Everything but DRIVER_OK. Without options.path, on a new file of this size. */
static inline struct blk_guest *blk_guest_new(struct virtio_blk_options options, uint64_t size)
{
	struct blk_guest *guest = calloc(1, sizeof(*guest));
	struct error err = {0};

	assert_non_null(guest);
	if (options.path != NULL)
		snprintf(guest->path, sizeof(guest->path), "%s", options.path);
	else
		blk_guest_make_file(guest->path, sizeof(guest->path), size);
	guest->log_fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_true(guest->log_fd >= 0);
	guest->log = (struct log){.level = LOG_DEBUG, .fd = guest->log_fd};
	options.path = guest->path;
	if (virtio_blk_init(&guest->blk, &options, "--blk path=x", &guest->log, &err) != 0)
		fail_msg("%s", err.text);
	driver_init(&guest->driver, &guest->blk.device);
	return guest;
}

static inline void blk_guest_start(struct blk_guest *guest, uint64_t features)
{
	assert_true(driver_start(&guest->driver, features, RING));
	guest->pool = guest->driver.next;
}

static inline void blk_guest_free(struct blk_guest *guest)
{
	virtio_blk_release(&guest->blk);
	driver_release(&guest->driver);
	unlink(guest->path);
	close(guest->log_fd);
	free(guest);
}

static inline bool blk_guest_said(const struct blk_guest *guest, const char *text)
{
	static char said[65536];
	ssize_t got = pread(guest->log_fd, said, sizeof(said) - 1, 0);

	said[got > 0 ? got : 0] = '\0';
	return strstr(said, text) != NULL;
}

/* Waits, as the main loop does, until something is used in the queue. */
static inline void blk_guest_wait_used(struct blk_guest *guest, unsigned queue)
{
	for (unsigned rounds = 0; !driver_has_used(&guest->driver, queue); rounds++) {
		assert_true(rounds < 10000);
		driver_work_once(&guest->driver, 100);
	}
}

/* Header, then count pieces of size bytes of data, then the status; data is new zeroed memory. */
static inline struct blk_sent blk_guest_add(struct blk_guest *guest, unsigned queue, uint32_t type, uint64_t sector,
					    uint32_t size, unsigned pieces)
{
	struct driver_buffer buffers[VIRTQ_SIZE_MAX];
	struct virtio_driver *driver = &guest->driver;
	struct blk_sent sent;
	uint8_t header[16] = {0};
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;

	assert_true(pieces + 2 <= VIRTQ_SIZE_MAX);
	memcpy(header, &type, 4);
	memcpy(header + 8, &sector, 8);
	sent.data = driver_alloc(driver, (uint64_t)size * pieces + 1, 16);
	sent.status = driver_alloc(driver, 1, 1);
	*(uint8_t *)driver_at(driver, sent.status) = NO_STATUS;
	buffers[0] = (struct driver_buffer){driver_put(driver, header, sizeof(header)), sizeof(header), false};
	for (unsigned i = 0; i < pieces; i++)
		buffers[1 + i] = (struct driver_buffer){sent.data + (uint64_t)size * i, size, in};
	buffers[1 + pieces] = (struct driver_buffer){sent.status, 1, true};
	sent.head = driver_add_indirect(driver, queue, 0, buffers, pieces + 2);
	assert_true(sent.head >= 0);
	return sent;
}

static inline uint8_t blk_guest_status(const struct blk_guest *guest, const struct blk_sent *sent)
{
	return *(uint8_t *)driver_at(&guest->driver, sent->status);
}

/* Kicks, waits for the only request in flight and returns its status. */
static inline uint8_t blk_guest_finish(struct blk_guest *guest, const struct blk_sent *sent, uint32_t *written)
{
	driver_kick(&guest->driver, 0);
	blk_guest_wait_used(guest, 0);
	assert_int_equal(driver_take(&guest->driver, 0, written), sent->head);
	return blk_guest_status(guest, sent);
}

/* One request from start to end, its data copied from or to bytes. */
static inline uint8_t blk_guest_do(struct blk_guest *guest, uint32_t type, uint64_t sector, void *bytes, uint32_t size)
{
	uint64_t before = guest->driver.next;
	struct blk_sent sent = blk_guest_add(guest, 0, type, sector, size, size > 0 ? 1 : 0);
	bool in = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
	uint8_t status;

	if (!in && size > 0)
		memcpy(driver_at(&guest->driver, sent.data), bytes, size);
	status = blk_guest_finish(guest, &sent, NULL);
	if (in && size > 0)
		memcpy(bytes, driver_at(&guest->driver, sent.data), size);
	guest->driver.next = before;
	return status;
}

struct blk_range {
	uint64_t sector;
	uint32_t sectors, flags;
};

static inline uint8_t blk_guest_ranges(struct blk_guest *guest, uint32_t type, const struct blk_range *ranges,
				       unsigned count)
{
	uint8_t bytes[16 * 64];

	assert_true(count <= 64);
	for (unsigned i = 0; i < count; i++) {
		memcpy(bytes + 16 * i, &ranges[i].sector, 8);
		memcpy(bytes + 16 * i + 8, &ranges[i].sectors, 4);
		memcpy(bytes + 16 * i + 12, &ranges[i].flags, 4);
	}
	return blk_guest_do(guest, type, 0, bytes, 16 * count);
}

static inline void blk_fill(uint8_t *bytes, size_t size, struct prng *prng)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)prng_next(prng);
}

#endif
