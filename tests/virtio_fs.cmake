# SPDX-License-Identifier: Apache-2.0
unit_test(child base)
unit_test(virtio_vhost_user virtio Threads::Threads)
# with Debian 12's virtiofsd (qemu-system-common) where it is installed
unit_test(virtio_fs virtio Threads::Threads)
