# SPDX-License-Identifier: Apache-2.0
# The network card, its back ends, and vsock. The tests of tap, passt and the host's vhost need root, /dev/net/tun, ip, passt, /dev/vhost-net and
# /dev/vhost-vsock, and say when they skip (the lab has all but a route).
foreach(name net net_hostile net_options net_tap passt vhost vhost_kernel)
  unit_test(virtio_${name} virtio Threads::Threads)
endforeach()
target_link_options(test_virtio_vhost PRIVATE -Wl,--wrap=open,--wrap=ioctl,--wrap=if_nametoindex)
