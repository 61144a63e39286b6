# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # repo, work, say() and die() are those of who sources it
#
# What tests/bench/run and tests/bench/scale begin with; sourced by them.

hardware=yes
"$repo/tests/lab/have-kvm" 2>/dev/null || hardware=no

# find_build TARGET...: the folder of the spmvm that is measured, in $build: the one that was named, or a release build of it and these.
find_build() {
	if [[ -z $build ]]; then
		build=$repo/build-bench
		say "building a release in ${build##*/}/"
		{ cmake -S "$repo" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSPMVM_STATIC_LIBRARIES=ON &&
			ninja -C "$build" spmvm bench_launch "$@"; } >"$repo/build.log" 2>&1 ||
			{ tail -n 20 "$repo/build.log" >&2; die "the build failed"; }
		mv "$repo/build.log" "$build/build.log"
	fi
	build=$(cd "$build" && pwd)
	[[ -x $build/spmvm && -x $build/tests/bench/bench_launch ]] || die "$build has no spmvm and bench_launch: ninja -C $build"
}

# pack_init FILE: an initramfs with nothing but this program, as its init, in $work/initrd.
pack_init() {
	mkdir "$work/tree"
	cp "$1" "$work/tree/init"
	(cd "$work/tree" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"
}

# force: one more option of the array spmvm where KVM is a software backend.
force() {
	[[ $hardware == yes ]] || spmvm+=(--force)
}
