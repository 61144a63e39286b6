# SPDX-License-Identifier: Apache-2.0
# One plot of `spmvm-bench claims` as SVG, --arg plot claims|parallel|touch|bandwidth|latency; nothing, if not measured.
include "figures";
include "svg";

def owner: if .vmm == "qemu" then " (QEMU)" else "" end;

def plot_claims:
  claim_figures("claim")
  | select(length > 0 and (.[0].counts | length) > 1)
  | map({name: (.method + owner), points: [.counts[] | select(.total > 0) | [.blocks, .total / 1000000]]}) as $rows
  | svg_file("Claiming blocks one after the other"; "ms"; (legend([$rows[].name]), curves($rows; "blocks")));

def plot_parallel:
  parallel_figures
  | select(length > 0)
  | map({name: (.method + owner), points: [.threads[] | select(.total > 0) | [.threads, .total / 1000000]]}) as $rows
  | svg_file("Claiming \(.[0].blocks) blocks by several processors"; "ms of wall time"; (legend([$rows[].name]), curves($rows; "processors")));

def plot_touch:
  touch_figures
  | select(length > 0)
  | distinct(.name) as $names
  | . as $rows
  | [distinct(.backing)[] as $backing
     | {name: "\($backing) pages", bars: [$rows[] | select(.backing == $backing) | .name as $n | {i: ($names | index($n)), value: (.first // 0)}]}] as $groups
  | svg_file("First touch: memset() of untouched memory"; "GB/s"; (legend($names), bars($groups)));

# places(f): bars for each backing and op, of the places for which there is a value f.
def plot_places($title; $unit; value; name):
  select(length > 0)
  | ([.[].places[] | select(value != null)] | distinct(.name)) as $names
  | map({name: name, bars: [.places[] | select(value != null) | .name as $n | {i: ($names | index($n)), value: value}]}) as $groups
  | svg_file($title; $unit; (legend($names), bars($groups)));

if $plot == "claims" then plot_claims
elif $plot == "parallel" then plot_parallel
elif $plot == "touch" then plot_touch
elif $plot == "bandwidth" then bandwidth_figures | plot_places("Bandwidth beside the host's bare memory"; "GB/s"; .value; "\(.op)\n\(.backing)")
elif $plot == "latency" then latency_figures | plot_places("Latency of dependent loads"; "ns"; .value; "\(.backing) pages")
else error("no plot \($plot)") end
