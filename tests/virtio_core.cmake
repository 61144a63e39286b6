# SPDX-License-Identifier: Apache-2.0
# The virtio core, and the two devices that need nothing of the host.
foreach(name queue mmio notify rng console console_stream)
  unit_test(virtio_${name} virtio Threads::Threads)
endforeach()
