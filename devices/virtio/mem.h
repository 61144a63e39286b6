/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_MEM_H
#define SPMVM_DEVICES_VIRTIO_MEM_H

#include <stdint.h>

#include "devices/virtio/virtio.h"
#include "vmm/base/error.h"

/*
 * Memory that grows and shrinks while the guest runs (virtio 1.2 §5.15): a region of guest-physical addresses, cut into blocks. The
 * driver plugs blocks until there is as much as is requested, and unplugs blocks that it can spare when there is more. An unplugged
 * block's host memory is given back.
 *
 * The region is guest memory from the start (mapped, in the memslots), so a guest that breaks VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE and
 * touches unplugged blocks harms nobody but makes the host spend that memory, the region's size at most.
 */
#define VIRTIO_MEM_BLOCK_SIZE UINT64_C(0x200000) /* 2 MiB, a transparent huge page */

struct virtio_mem_options {
	const char *option; /* "--maxmem 8G", for messages; borrowed until release */
	const struct log *log;
	uint64_t gpa, size; /* the region; multiples of block_size */
	uint64_t
		block_size; /* 0: VIRTIO_MEM_BLOCK_SIZE; a power of two, at least that, a multiple of the backend's pages */
	uint64_t requested; /* to start with, as of virtio_mem_set_requested() */
	uint16_t node;      /* proximity domain (VIRTIO_MEM_F_ACPI_PXM) */
	/*
	 * Gives the host memory at offset of the region back; the next read sees zeros. Main thread, device locked. -errno: the blocks stay
	 * plugged, and the driver tries again later.
	 */
	int (*discard)(void *context, uint64_t offset, uint64_t size);
	void *context;
};

struct virtio_mem {
	struct virtio_device device;
	struct virtio_mem_options options;
	uint64_t *plugged; /* a bit for each block; heap, owned */
	uint64_t block_count;
	struct counter plugged_bytes, requested_bytes, requests, refused;
};

/* EXIT_STATUS_CONFIG for sizes that do not fit each other, EXIT_STATUS_HOST for a lack of memory; then nothing is left behind. */
int virtio_mem_init(struct virtio_mem *mem, const struct virtio_mem_options *options, struct error *err);

/* The region's memory stays as it is. Takes NULL, a zeroed and a released one too. */
void virtio_mem_release(struct virtio_mem *mem);

/*
 * Asks the guest for so many bytes from now on: it is told, and follows when and as far as it can. A multiple of the block size,
 * 0 included, at most the region's. -EINVAL, -ERANGE (EXIT_STATUS_CONFIG). Main thread.
 */
int virtio_mem_set_requested(struct virtio_mem *mem, uint64_t bytes, struct error *err);

/* How many bytes are plugged now. Any thread. */
uint64_t virtio_mem_plugged(const struct virtio_mem *mem);

#endif
