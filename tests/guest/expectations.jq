# SPDX-License-Identifier: Apache-2.0
#
# From the JSON of `spmvm plan` to what a guest must see: lines "FILE<tab>LINE" for tests/guest/expectations.

# Hexadecimal, with at least this many digits; exact below 2^53.
def digits: if . < 16 then "0123456789abcdef"[.:. + 1] else (. / 16 | floor | digits) + (. - (. / 16 | floor) * 16 | digits) end;
def hex($width): digits | if length < $width then "0" * ($width - length) + . else . end;
def span($width): "\(.start | hex($width))-\(.start + .size - 1 | hex($width))";
def mem($width): "[mem 0x\(.start | hex($width))-0x\(.start + .size - 1 | hex($width))]";

# "0-1,3" of a list of numbers.
def list:
    sort | reduce .[] as $n ([]; if length > 0 and .[-1][1] + 1 == $n then .[-1][1] = $n else . + [[$n, $n]] end)
    | map(if .[0] == .[1] then "\(.[0])" else "\(.[0])-\(.[1])" end) | join(",");

def to($file): "\($file)\t\(.)";
def ram: .regions[] | select(.kind == "ram");
def spm: .regions[] | select(.kind == "spm");
def soft_reserved: ."e820"[] | select(.type == 4026531839);
# The map as Linux keeps it: neighbours of one type are one, but slots are not.
def merged_map:
    (reduce ."e820"[] as $e ([]; if length > 0 and .[-1].type == $e.type and .[-1].start + .[-1].size == $e.start
        and $e.type != 4026531839 then .[-1].size += $e.size else . + [$e] end))[];
def with_cpus: .nodes[] | select(.cpus | length > 0);

# The nodes that are online before any slot is: those with RAM, CPUs or accelerators.
def start_nodes: [ram.node, with_cpus.node, .accelerators[].node] | unique;

# What each of these nodes' distance file holds when these are the ones online.
def distances($online):
    .nodes[] | select(.node | IN($online[])) | "\(.node): " + ([.distances[$online[]] | tostring] | join(" "));

# The SRAT's memory entries, in the order of their nodes and addresses: each RAM range of the map, cut where the node changes; the
# slots; what --maxmem leaves free, at the last node.
def srat:
    [(ram as $r | ."e820"[] | select(.name == "RAM")
        | {node: $r.node, start: ([.start, $r.start] | max), end: ([.start + .size, $r.start + $r.size] | min)}
        | select(.start < .end) | .size = .end - .start),
     spm,
     ((.nodes | length - 1) as $last | .window | select(.hotplug) | .partition[] | select(.kind == "free")
        | .node = $last | .flag = " hotplug")]
    | sort_by(.node, .start)[] | "Node \(.node) PXM \(.node) \(mem(8))\(.flag // "")";

# Every name ends up as a file, empty or not.
("e820", "iomem", "claims", "dax", "srat", "distances", "distances-all", "cpulists", "cpus-online", "topology", "ram", "names" | "\(.)\t"),
(merged_map | "\(mem(16)) \(if .name == "RAM" then "usable" else .name end)" | to("e820")),
(if $iomem == "yes" then soft_reserved | span(8) | to("iomem") else "" | to("iomem.empty") end),
(.blocks | sort_by(.dax)[] | "\(span(8)) dax\(.dax).0" | to("claims")),
(.blocks | sort_by(.dax)[] | "dax\(.dax).0 \(.node) \(.start) \(.size)" | to("dax")),
(.blocks | sort_by(.id)[] | "\(.id) ../dax\(.dax).0" | to("names")),
(srat | to("srat")),
(start_nodes as $on | distances($on) | to("distances")),
((start_nodes + [spm.node] | unique) as $on | distances($on) | to("distances-all")),
(([spm.node] | unique[]) as $node | (start_nodes + [$node] | unique) as $on | distances($on) | to("distances-with-\($node)")),
(with_cpus | "\(.node): \(.cpus | list)" | to("cpulists")),
([range(.cpus)] | list | to("cpus-online")),
([with_cpus | .node as $node | (.cpus | list) as $all | .cpus[] | {cpu: ., text: "node \($node), package \($all), threads \(.)"}]
    | sort_by(.cpu)[] | "\(.cpu): \(.text)" | to("topology")),
([ram] | group_by(.node)[] | "\(.[0].node) \(map(.size) | add / 1048576)" | to("ram"))
