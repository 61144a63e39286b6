# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # the variables are tests/bench/run's
#
# The devices beside QEMU's microvm, sourced by tests/bench/run: the same kernel, initramfs, memory, CPU, disk, tap, passt and
# virtiofsd, in turns. Everything runs in a network namespace of its own with a tap and the loopback interface.
# With --back-ends, passt works by vhost-user for both.
# QEMU has its best too: modern virtio, io_uring, vhost-net, memory that is shared with virtiofsd.

device_modules=(virtio_mmio virtio_blk virtio_net virtiofs)
stream_port=7700

# The guest's initramfs: busybox, the drivers in the order in which they are loaded, the work and how much of it.
make_device_guest() {
	local root=$work/device-tree module order=()
	mkdir -p "$root"/{bin,dev,proc,sys,modules}
	cp "$(command -v busybox)" "$root/bin/busybox"
	cp "$work/bench_work" "$root/bin/work"
	install -m 755 "$bench/devices_init.sh" "$root/init"
	echo "$reads $sequential $stream" >"$root/counts"
	for module in "${device_modules[@]}"; do
		mapfile -t -O "${#order[@]}" order < <(modprobe -d "$kernel_folder" -S "$release" --show-depends "$module" |
			sed -n 's/^insmod \([^ ]*\).*/\1/p')
	done
	mapfile -t order < <(printf '%s\n' "${order[@]}" | awk '!seen[$0]++')
	printf '%s\n' "${order[@]##*/}" >"$root/modules/order"
	cp "${order[@]}" "$root/modules/"
	(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/device-initrd"
}

# What QEMU needs beside it is started first; it ends when QEMU, which this shell becomes, lets go of its socket.
# qemu_with FILE START COMMAND...: makes the script FILE that runs the line START and then is the command.
qemu_with() {
	local file=$1 start=$2
	shift 2
	{
		printf '#!/bin/bash\n%s\n' "$start"
		printf 'exec '
		printf '%q ' "$@"
		printf '\n'
	} >"$file"
	chmod +x "$file"
}

# For those scripts, which expand it.
# shellcheck disable=SC2016
wait_for='for ((i = 0; i < 200; i++)); do [[ ! -S $socket ]] || break; sleep 0.05; done
[[ -S $socket ]] || { echo "no $socket" >&2; exit 1; }'

virtiofsd_start() {
	local program
	for program in /usr/libexec/virtiofsd /usr/lib/virtiofsd /usr/lib/qemu/virtiofsd; do
		[[ ! -x $program ]] || break
	done
	case $program in
	*/qemu/*) echo "$program --socket-path=\$socket -osource=$work/share -osandbox=chroot" ;;
	*) echo "$program --socket-path=\$socket --shared-dir=$work/share --sandbox=chroot" ;;
	esac
}

# measure_device KIND START SPMVM-OPTION... -- QEMU-OPTION...: both machines with one kind of devices; the script of QEMU's runs
# START before.
measure_device() {
	local kind=$1 start=$2 ours=() theirs=()
	shift 2
	while [[ $1 != -- ]]; do
		ours+=("$1")
		shift
	done
	theirs=("${@:2}")
	qemu_with "$work/qemu-$kind" "$start" "${device_qemu[@]}" -append "$qemu_append bench=$kind" "${theirs[@]}"
	say "devices: $kind"
	launch --phases --until @done --timeout 900 --runs "$device_runs" --warmup 0 --json "$out/devices-$kind.json" \
		--row spmvm "${device_spmvm[@]}" --append "bench=$kind" "${ours[@]}" --row 'QEMU microvm' "$work/qemu-$kind"
	# both have done all of the work, and the same
	jq -e 'map(.runs as $runs | .phases | map_values(map([.requests, .bytes]) | select(length == $runs))) |
		.[0] == .[1] and (.[0] | length > 1) and ([.[0][][][]] | all(. != null))' "$out/devices-$kind.json" >/dev/null ||
		die "the two machines have not done the same work: $(jq -c 'map(.phases)' "$out/devices-$kind.json")"
}

# shellcheck disable=SC2016 # the scripts that are made expand it
measure_devices() {
	local reads=2000 sequential=128 stream=64000000 file_mib=64 tool server device_spmvm device_qemu passt_way=''
	# shellcheck disable=SC2054 # the commas are QEMU's
	local qemu_net=(-netdev stream,id=net,server=off,addr.type=unix,addr.path="$work/passt" -device virtio-net-device,netdev=net,host_mtu=65520)
	[[ $quick == no ]] || { reads=200 sequential=16 stream=4000000 file_mib=8; }
	for tool in ip modprobe passt; do
		command -v "$tool" >/dev/null || die "$tool is missing: tests/setup run test"
	done
	# where spmvm looks for them; the lab's / is gone with it
	if [[ -n $back_ends ]]; then
		[[ -n ${SPMVM_BENCH_PLACE-} ]] || die "--back-ends is the lab's"
		mkdir -p /usr/libexec
		ln -sf "$back_ends/host/virtiofsd" /usr/libexec/virtiofsd
		PATH=$back_ends/host:$PATH
		passt_way=--vhost-user
		# shellcheck disable=SC2054 # the same
		qemu_net=(-chardev socket,id=passt,path="$work/passt" -netdev vhost-user,id=net,chardev=passt -device virtio-net-device,netdev=net)
	fi
	make_device_guest
	device_spmvm=("$work/spmvm" --kernel "$work/vmlinuz" --initrd "$work/device-initrd" --mem 512M --rng off)
	# shellcheck disable=SC2054 # the commas are QEMU's
	device_qemu=("$(command -v qemu-system-x86_64)"
		-M microvm,accel=kvm,x-option-roms=off,pit=off,pic=off,rtc=on,memory-backend=ram -m 512M
		-object memory-backend-memfd,id=ram,size=512M,share=on -cpu host -smp 1
		-nodefaults -no-user-config -display none -serial stdio -global virtio-mmio.force-legacy=false -kernel "$work/vmlinuz" -initrd "$work/device-initrd")
	# passt gives root up before it makes its socket
	chmod 711 "$work"
	mkdir -m 1777 "$work/sockets"
	mkdir "$work/share"
	head -c $((file_mib << 20)) /dev/urandom >"$work/share/large"
	head -c 1048576 /dev/urandom >"$work/share/warm"
	head -c $((256 << 20)) /dev/zero >"$work/disk"
	ip tuntap add dev bench0 mode tap vnet_hdr
	ip addr add 10.77.0.1/24 dev bench0
	ip link set bench0 up
	ip link set lo up
	"$work/bench_work" serve "$stream_port" 2>"$work/serve.log" &
	server=$!

	measure_device disk : --blk "$work/disk" -- \
		-drive "file=$work/disk,if=none,id=disk,format=raw,aio=io_uring,cache=writeback" -device virtio-blk-device,drive=disk
	measure_device tap : --net tap=bench0 -- \
		-netdev tap,id=net,ifname=bench0,script=no,downscript=no,vhost=on -device virtio-net-device,netdev=net
	measure_device user "socket=$work/sockets/passt-\$\$
		passt --foreground --quiet $passt_way --one-off --socket \$socket --mtu 65520 --ipv4-only --interface lo \\
			--address 10.0.2.15 --netmask 24 --gateway 10.0.2.2 -M 52:55:0a:00:02:02 </dev/null &
		$wait_for
		ln -sf \$socket $work/passt" \
		--net user -- "${qemu_net[@]}"
	measure_device share "socket=$work/sockets/virtiofsd-\$\$
		$(virtiofsd_start) </dev/null &
		$wait_for
		ln -sf \$socket $work/virtiofsd" \
		--share "$work/share,tag=share" -- \
		-chardev socket,id=fs,path="$work/virtiofsd" -device vhost-user-fs-device,chardev=fs,tag=share
	kill "$server"
	wait "$server" || true
}
