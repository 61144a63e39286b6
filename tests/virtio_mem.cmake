# SPDX-License-Identifier: Apache-2.0
unit_test(virtio_mem virtio Threads::Threads)
