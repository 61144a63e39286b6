# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What the guest's half of a case uses; sourced by its script, run by busybox's shell. What should be is in files under /t/expect,
# written by the host's half (tests/guest/expectations) from the plan; the suite reads the verdicts, "@ok ID" and "@not ID REASON".
set -u
expect=/t/expect
mkdir -p /tmp/seen
seen=/tmp/seen

ok() { echo "@ok $1"; }
not() { echo "@not $*"; }

# check ID COMMAND...: the verdict is COMMAND's status; what it writes is in the transcript.
check() {
    check_id=$1
    shift
    if "$@"; then
        ok "$check_id"
    else
        not "$check_id" "status $? of: $*"
    fi
}

# same FILE [EXPECTATION]: what was seen is what was expected. An expectation that is empty checks nothing, and so it does not hold.
same() {
    wanted=$expect/${2:-$1}
    [ -s "$wanted" ] || [ -e "$wanted.empty" ] || { echo "the expectation $wanted is not there, or empty"; return 1; }
    diff -U 400 -L expected -L seen "$wanted" "$seen/$1"
}

# Tells the host's half something, and waits for its line.
tell() { echo "@host $*"; }
ask() {
    tell "$@"
    read -r answer
    [ "$answer" = go ]
}

# --- what there is

# "100000000-13fffffff", in the order of /proc/iomem.
iomem_as_planned() {
    sed -n 's/^ *\([0-9a-f]*-[0-9a-f]*\) : Soft Reserved$/\1/p' /proc/iomem >"$seen/iomem"
    same iomem
}

# The same for the ranges that dax devices have claimed: "100000000-13fffffff dax0.0".
claims_as_planned() {
    sed -n 's/^ *\([0-9a-f]*-[0-9a-f]*\) : \(dax[0-9.]*\)$/\1 \2/p' /proc/iomem >"$seen/claims"
    same claims
}

# The firmware's map as the kernel printed it: "[mem 0x...-0x...] usable".
e820_as_planned() {
    map=BIOS-e820
    ! dmesg | grep -q ' extended: \[mem' || map=extended # more than the zero page holds: printed once more, whole
    dmesg | sed -n "s/.* $map: \(\[mem .*\)/\1/p" | tr -s ' ' >"$seen/e820"
    same e820
}

# "Node 0 PXM 0 [mem 0x00000000-0x0009ffff]", with " hotplug" behind a placeholder.
srat_as_planned() {
    dmesg | sed -n 's/.*ACPI: SRAT: \(Node [0-9]* PXM [0-9]* \[mem .*\)/\1/p' >"$seen/srat"
    same srat
}

# "dax0.0 node address size", all numbers decimal.
dax_as_planned() {
    for dax in /sys/bus/dax/devices/dax*; do
        [ -e "$dax" ] || continue
        echo "${dax##*/} $(cat "$dax/target_node") $(($(cat "$dax/resource"))) $(cat "$dax/size")"
    done | sort -V >"$seen/dax"
    same dax
}

# The device tree, byte for byte, at the end of the boot parameters' list.
tree_as_planned() {
    for data in /sys/kernel/boot_params/setup_data/*; do
        echo "$data is of type $(cat "$data/type")"
        [ "$(cat "$data/type")" != 0x2 ] || cp "$data/data" "$seen/tree"
    done
    cmp "$expect/tree" "$seen/tree"
}

# "hbm0 ../dax0.0": what init has called the devices.
names_as_planned() {
    for link in /dev/spm/*; do
        echo "${link##*/} $(readlink "$link")"
    done | LC_ALL=C sort >"$seen/names"
    same names
}

# "node: distance distance ..." of each node that is online.
distances_as_planned() {
    for node in /sys/devices/system/node/node[0-9]*; do
        echo "${node##*/node}: $(cat "$node/distance")"
    done | sort -n >"$seen/distances"
    same distances "${1:-distances}"
}

# "node: cpu-list" of each node with a CPU.
cpus_as_planned() {
    for node in /sys/devices/system/node/node[0-9]*; do
        list=$(cat "$node/cpulist")
        [ -z "$list" ] || echo "${node##*/node}: $list"
    done | sort -n >"$seen/cpulists"
    same cpulists
}

# All CPUs run: each one does something.
cpus_run() {
    online=$(cat /sys/devices/system/cpu/online)
    [ "$online" = "$(cat "$expect/cpus-online")" ] || { echo "online: $online"; return 1; }
    for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
        number=${cpu##*/cpu}
        on=$(taskset -c "$number" cat /proc/self/stat | awk '{ print $39 }')
        [ "$on" = "$number" ] || { echo "a process bound to CPU $number ran on $on"; return 1; }
    done
}

# One package for each node with CPUs; its CPUs are cores of one thread each.
topology_as_planned() {
    for cpu in /sys/devices/system/cpu/cpu[0-9]*; do
        node=$(echo "$cpu"/node[0-9]*)
        echo "${cpu##*/cpu}: node ${node##*/node}, package $(cat "$cpu/topology/package_cpus_list")," \
            "threads $(cat "$cpu/topology/thread_siblings_list")"
    done | sort -n >"$seen/topology"
    same topology
}

# RAM of each node, "node MiB", to a MiB: the legacy hole and the ACPI tables are missing.
ram_as_planned() {
    while read -r node mib; do
        pages=$(awk -v node="$node," '/^Node/ { on = $2 == node } on && $1 == "present" { sum += $2 } END { print sum + 0 }' /proc/zoneinfo)
        echo "node $node: $pages pages of $mib MiB"
        [ "$pages" -le $((mib * 256)) ] && [ "$pages" -gt $((mib * 256 - 256)) ] || return 1
    done <"$expect/ram"
}

# numactl -H sees the nodes that are online, each with the plan's distances.
numactl_as_planned() {
    numactl -H >"$seen/numactl"
    awk '/^node distances:/ { on = 1; next } on && / *[0-9]+:/ { $1 = $1; print }' "$seen/numactl" >"$seen/distances"
    cat "$seen/numactl"
    same distances "${1:-distances}"
}

# --- memory

# node_mib NODE: the size that numactl -H shows, or nothing when the node is not there.
node_mib() { numactl -H | sed -n "s/^node $1 size: \([0-9]*\) MB\$/\1/p"; }

node_is_off() {
    if [ -n "$(node_mib "$1")" ] || [ -e "/sys/devices/system/node/node$1" ]; then
        numactl -H
        return 1
    fi
    # and nothing can be had from it
    ! numactl --membind="$1" true 2>/dev/null
}

node_has_mib() {
    [ "$(node_mib "$1")" = "$2" ] || { echo "node $1 has '$(node_mib "$1")' MiB, not $2"; numactl -H; return 1; }
}

# zone_of NODE: the zones in which the node has pages.
zone_of() {
    awk -v node="$1," '/^Node/ { zone = $2 == node ? $4 : "" } $1 == "managed" && $2 > 0 && zone != "" { print zone }' /proc/zoneinfo
}

node_is_in_zone() {
    [ "$(zone_of "$1")" = "$2" ] || { echo "node $1 is in zone '$(zone_of "$1")', not $2"; return 1; }
}

mode_of() { daxctl list -d "$1" | sed -n 's/.*"mode":"\(.*\)".*/\1/p'; }

# How a new dax device starts differs between kernels (expect/mode: devdax or system-ram).
starts_as_expected() {
    for dax in "$@"; do
        [ "$(mode_of "$dax")" = "$(cat "$expect/mode")" ] || { echo "$dax is $(mode_of "$dax")"; return 1; }
    done
}

# Where it is memory at once, what follows starts from a device as well.
all_to_devdax() {
    [ "$(cat "$expect/mode")" = system-ram ] || return 0
    for dax in "$@"; do
        to_devdax "$dax" || return 1
    done
}

# A line of /proc/meminfo, in MiB.
meminfo() { awk -v name="$1:" '$1 == name { print int($2 / 1024) }' /proc/meminfo; }
to_system_ram() { daxctl reconfigure-device --mode=system-ram "$1" && [ "$(mode_of "$1")" = system-ram ]; }
to_devdax() { daxctl reconfigure-device --mode=devdax --force "$1" && [ "$(mode_of "$1")" = devdax ]; }

fill() { numactl --membind="$2" /t/fill_node "$1" "$2"; }

# --- complaints

# What the kernel logged as a warning or worse (levels 0 to 4), and anything of our concern at any level. Known lines that are
# not the machine's fault are in /t/expect/harmless, one extended regular expression a line, each with its reason in
# tests/guest/expectations.
no_complaints() {
    dmesg -r >"$seen/dmesg"
    {
        grep '^<[0-4]>' "$seen/dmesg"
        grep -iE 'ACPI (BIOS )?(warning|error|exception)|firmware bug|turned off|WARNING:|BUG:|Oops|Call Trace|topology.*(bug|differ|broken|bogus)|(bug|broken|bogus).*topology|(numa|srat|slit|pxm).*(warn|error|fail|not used|invalid|bogus|mismatch|overlap)|soft lockup|rcu.*stall|hung task' "$seen/dmesg"
    } | grep -vE -f "$expect/harmless" | sort -u >"$seen/complaints"
    cat "$seen/complaints"
    [ -s "$seen/dmesg" ] && [ ! -s "$seen/complaints" ]
}
