#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-License-Identifier: Apache-2.0
#
# First process of the guest whose devices are measured (tests/bench/devices.sh), in spmvm and in QEMU. Each part of the work is done once
# before it is measured, so that every page it needs is there. The kernel's command line says which parts: bench=disk,tap,...
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
stty -echo
while read -r module; do
	insmod "/modules/$module"
done </modules/order

# measure NAME WARM-UP COUNT COMMAND...: "%" in the command is the count, of the warm-up and of what is measured. Work that does not end has
# no figures, and the benchmark says so.
measure() {
	name=$1 warm=$2 count=$3
	shift 3
	# shellcheck disable=SC2046 # words
	timeout 120 work $(echo "$*" | sed "s/%/$warm/") >/dev/null
	echo "@start $name"
	read -r _
	# shellcheck disable=SC2046
	result=$(timeout 240 work $(echo "$*" | sed "s/%/$count/"))
	echo "@end $name $result"
	read -r _
}

read -r reads sequential stream </counts

measure nothing '' '' nothing
case $(cat /proc/cmdline) in
*bench=disk*)
	for way in read write; do
		for depth in 1 16; do
			measure "$way-4k-$depth" 64 "$reads" disk /dev/vda $way random 4096 % $depth
		done
	done
	measure read-1m 4 "$sequential" disk /dev/vda read sequential 1048576 % 4
	;;
*bench=tap*)
	ip addr add 10.77.0.2/24 dev eth0
	ip link set eth0 up
	measure tap-send 1000000 "$stream" stream 10.77.0.1 7700 send %
	measure tap-receive 1000000 "$stream" stream 10.77.0.1 7700 receive %
	;;
*bench=user*)
	ip link set eth0 mtu 65520
	ip addr add 10.0.2.15/24 dev eth0
	ip link set eth0 up
	ip route add default via 10.0.2.2
	measure user-send 1000000 "$stream" stream 10.0.2.2 7700 send %
	measure user-receive 1000000 "$stream" stream 10.0.2.2 7700 receive %
	;;
*bench=share*)
	mkdir -p /mnt
	mount -t virtiofs share /mnt
	measure share-1m warm large file /mnt/% 1048576
	;;
esac
echo "@done"
sleep 1000
