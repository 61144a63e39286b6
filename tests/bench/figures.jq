# SPDX-License-Identifier: Apache-2.0
# What the tables and the plots of spmvm-bench share: figures out of its samples.

def median: map(select(. != null)) | sort | if length == 0 then null else (.[((length - 1) / 2 | floor)] + .[(length / 2 | floor)]) / 2 end;
# Digits behind the point, as jq 1.6 has no format for numbers.
def fixed($digits):
  if . == null then "-" else
  (pow(10; $digits)) as $scale
  | (. * $scale | round) as $n
  | ((if $n < 0 then "-" else "" end) + ($n | fabs / $scale | floor | tostring)
     + (if $digits == 0 then "" else "." + ((($n | fabs % $scale) + $scale | tostring)[1:]) end)) end;
# An emulated clock may stand still for a moment, so a time may be 0: then there is no ratio.
def over($other): if . == null or $other == null or $other == 0 then null else . / $other end;
# In the order in which they come first.
def distinct(f): reduce .[] as $one ([]; ($one | f) as $value | if index([$value]) then . else . + [$value] end);

def rate: .ns as $ns | .bytes | over($ns); # GB/s: bytes a nanosecond
def per_load: .loads as $loads | .ns | over($loads);

def where_text: {
  "host bare": "bare host memory", "spmvm spm": "SPM of spmvm", "spmvm ram": "RAM of spmvm's guest",
  "qemu spm": "SPM of QEMU", "qemu ram": "RAM of QEMU's guest"}["\(.vmm) \(.where)"];
def method_text: if .method == "pages" then "pages, \(.align)" else .method end;

# Claims or releases, one processor: [{vmm, method, slots, counts: [{blocks, total, each}]}], of the machine with many slots.
def claim_figures($what):
  [.samples[] | select(.what == $what and .threads == 1 and .slots > 1)]
  | group_by([.vmm, .method, .align])
  | sort_by(.[0].vmm != "spmvm")
  | map({vmm: .[0].vmm, method: (.[0] | method_text), slots: .[0].slots,
         counts: (group_by(.blocks) | map({blocks: .[0].blocks, total: (map(.ns) | median),
                                           each: ((map(.ns) | median) / .[0].blocks)}))});

# Wall time of claiming all slots by several processors: [{vmm, method, threads: [{threads, total, speedup}]}]
def parallel_figures:
  [.samples[] | select(.what == "claim" and .slots > 1 and .blocks == .slots)]
  | group_by([.vmm, .method, .align])
  | sort_by(.[0].vmm != "spmvm")
  | map((map(select(.threads == 1) | .ns) | median) as $alone
        | {vmm: .[0].vmm, method: (.[0] | method_text), blocks: .[0].blocks,
           threads: (group_by(.threads) | map({threads: .[0].threads, total: (map(.ns) | median),
                                               speedup: ((map(.ns) | median) as $ns | $alone | over($ns))}))})
  | map(select(.threads | length > 1));

# The first pass over memory: [{backing, name, vmm, prealloc, first, again}] in GB/s.
def touch_figures:
  [.samples[] | select(.what == "touch")]
  | . as $all
  | distinct([.backing, .vmm, .prealloc])
  | map(. as [$backing, $vmm, $prealloc]
        | [$all[] | select(.backing == $backing and .vmm == $vmm and .prealloc == $prealloc)] as $mine
        | {backing: $backing, vmm: $vmm, prealloc: $prealloc,
           name: (($mine[0] | where_text) + (if $vmm == "host" then "" elif $prealloc then ", prealloc=on" else ", prealloc=off" end)),
           first: ([$mine[] | select(.pass == 1) | rate] | median),
           again: ([$mine[] | select(.pass == 2) | rate] | median)});

# Of samples in turns: [{backing, op, places: [{name, vmm, where, value, low, high, to_bare}]}]. to_bare is the median of the
# ratios of samples that were taken beside each other, so what has changed in the course of a run is not in it.
def side_by_side($what; value):
  [.samples[] | select(.what == $what)]
  | . as $all
  | distinct([.backing, .op])
  | map(. as [$backing, $op]
        | [$all[] | select(.backing == $backing and .op == $op)] as $mine
        | [$mine[] | select(.vmm == "host") | value] as $bare
        | {backing: $backing, op: $op,
           places: [$mine | distinct([.vmm, .where])[] as [$vmm, $where]
                    | [$mine[] | select(.vmm == $vmm and .where == $where) | value] as $values
                    | {vmm: $vmm, where: $where, name: ({vmm: $vmm, where: $where} | where_text),
                       value: ($values | median), low: ($values | map(select(. != null)) | min), high: ($values | max),
                       to_bare: ([range(0; [($values | length), ($bare | length)] | min) | $bare[.] as $beside | $values[.] | over($beside)] | median)}]});

def bandwidth_figures: side_by_side("steady"; rate);
def latency_figures: side_by_side("latency"; per_load);
