# SPDX-License-Identifier: Apache-2.0
unit_test(virtio_blk virtio)
unit_test(virtio_blk_faults virtio)
unit_test(virtio_blk_file virtio)
unit_test(virtio_threads virtio Threads::Threads)
