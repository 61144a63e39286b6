#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What tests/demo runs inside the guest.
set -eu

echo
echo "--- /proc/iomem: the block, kept from the page allocator"
grep -A1 'Soft Reserved' /proc/iomem
echo
echo "--- the dax device that a driver has claimed it as"
for device in /sys/bus/dax/devices/dax*; do
	echo "$(basename "$device"): node $(cat "$device/target_node"), $(cat "$device/size") bytes at $(cat "$device/resource")"
done
echo
echo "--- numactl -H: node 1 is not there while its memory is a driver's"
numactl -H
echo
echo "--- daxctl reconfigure-device --mode=system-ram dax0.0, and numactl -H again"
daxctl reconfigure-device --mode=system-ram dax0.0
numactl -H
numactl -H | grep -q '^node 1 size: [1-9]'
