/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_DEVICES_VIRTIO_BLK_REQUEST_H
#define SPMVM_DEVICES_VIRTIO_BLK_REQUEST_H

#include "devices/virtio/blk.h"

/* The life of one request of a disk, for devices/virtio/blk.c only. The device's lock is held. */

/* §5.2.3 */
#define VIRTIO_BLK_FEATURE_SIZE_MAX     (UINT64_C(1) << 1)
#define VIRTIO_BLK_FEATURE_SEG_MAX      (UINT64_C(1) << 2)
#define VIRTIO_BLK_FEATURE_RO           (UINT64_C(1) << 5)
#define VIRTIO_BLK_FEATURE_BLK_SIZE     (UINT64_C(1) << 6)
#define VIRTIO_BLK_FEATURE_FLUSH        (UINT64_C(1) << 9)
#define VIRTIO_BLK_FEATURE_TOPOLOGY     (UINT64_C(1) << 10)
#define VIRTIO_BLK_FEATURE_CONFIG_WCE   (UINT64_C(1) << 11)
#define VIRTIO_BLK_FEATURE_MQ           (UINT64_C(1) << 12)
#define VIRTIO_BLK_FEATURE_DISCARD      (UINT64_C(1) << 13)
#define VIRTIO_BLK_FEATURE_WRITE_ZEROES (UINT64_C(1) << 14)

/* §5.2.6 */
enum {
	VIRTIO_BLK_T_IN = 0,
	VIRTIO_BLK_T_OUT = 1,
	VIRTIO_BLK_T_FLUSH = 4,
	VIRTIO_BLK_T_GET_ID = 8,
	VIRTIO_BLK_T_DISCARD = 11,
	VIRTIO_BLK_T_WRITE_ZEROES = 13,
	VIRTIO_BLK_S_OK = 0,
	VIRTIO_BLK_S_IOERR = 1,
	VIRTIO_BLK_S_UNSUPP = 2,
};

/* Whether completed writes may still be in the host's cache: what the configuration's field writeback says (§5.2.5). */
bool blk_writes_back(const struct virtio_blk *blk);

/*
 * Takes the chain in blk->chain apart and starts it, or returns it to the driver at once. There is a free request. Returns how many bytes of work it is,
 * for the turn's budget; -EPROTO for a chain that has no room for header and status: it is not returned.
 */
int64_t blk_request_begin(struct virtio_blk *blk, unsigned queue);

/* The step of request tag has ended: the next one is started, or the request is returned to the driver. */
void blk_request_step_done(struct virtio_blk *blk, uint32_t tag, int32_t value);

#endif
