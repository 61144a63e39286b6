# SPDX-License-Identifier: Apache-2.0
# The figures of `spmvm-bench claims` as tables: medians, unless said otherwise.
include "figures";

def left($width): tostring | . + (" " * ([0, $width - length] | max));
def right($width): tostring | (" " * ([0, $width - length] | max)) + .;
def line($first; $cells; $width): "  " + ($first | left(34)) + ([$cells[] | right($width)] | join(""));
def us: . / 1000 | fixed(if . < 100 then 1 else 0 end);
def ms: . / 1000000 | fixed(if . < 100 then 2 else 0 end);
def ratio: if . == null then "-" else fixed(3) end;
def owner: if .vmm == "qemu" then " (QEMU)" else "" end;

def claim_table($what):
  claim_figures($what)
  | select(length > 0)
  | [.[0].counts[].blocks] as $counts
  | "\($what | if . == "claim" then "Claim" else "Release" end) one after the other, µs a block (of \(.[0].slots) slots; linear: time of all to that of as many times one)",
    line("blocks"; $counts + ["linear"]; 9),
    (.[] | . as $row
     | line(.method + owner; [$counts[] as $n | [$row.counts[] | select(.blocks == $n) | .each | us] | .[0] // "-"]
            + [.counts[0].each as $one | .counts[-1].each | over($one) | fixed(2)]; 9)),
    "";

def alone_table:
  . as $all
  | [.samples[] | select(.what == "claim" and .slots == 1)]
  | select(length > 0)
  | "Claim in a machine of one slot, µs",
    (group_by([.method, .align])[] | line(.[0] | method_text; [map(.ns) | median | us]; 9)),
    "";

def parallel_table:
  parallel_figures
  | select(length > 0)
  | "Claim of \(.[0].blocks) blocks by several processors, ms of wall time (speed-up)",
    line("processors"; [.[0].threads[].threads]; 16),
    (.[] | line(.method + owner; [.threads[] | "\(.total | ms) (\(.speedup | fixed(2)))"]; 16)),
    "";

def kmem_table:
  . as $all
  | [.samples[] | select(.what == "kmem")]
  | select(length > 0)
  | "The other way, ms a block of \($all["claim-block"]): dax_hmem's device to kmem, and online",
    line(""; ["add", "online", "both"]; 9),
    (group_by(.vmm)[] | line("kmem" + (.[0] | owner); [(map(.add), map(.online), map(.ns)) | median | ms]; 9)),
    ($all.samples | map(select((.what == "take" or .what == "give") and .slots > 1)) | group_by([.vmm, .what])[]
     | line("\(.[0].what) a block, dax_hmem and driver\(.[0] | owner)"; ["", "", ([.[].each[]] | median | ms)]; 9)),
    "";

def touch_table:
  touch_figures
  | select(length > 0)
  | . as $rows
  | "First touch, GB/s: memset() of memory that nobody has touched, and once more (host: the same of a memfd of its own)",
    line(""; ["first", "again", "to host's", "to host's"]; 11),
    line(""; ["", "", "first", "again"]; 11),
    (.[] | . as $row
     | ($rows[] | select(.vmm == "host" and .backing == $row.backing)) as $host
     | line("\(.backing)  \(.name)"; [(.first | fixed(3)), (.again | fixed(3))]
            + (if .vmm == "host" then ["", ""] else [(.first | over($host.first) | ratio), (.first | over($host.again) | ratio)] end); 11)),
    "";

def beside_table($title; $digits):
  select(length > 0)
  | $title,
    (.[] | "  behind it \(.backing), \(.op):",
     (.places[] | line("  " + .name; [(.value | fixed($digits)), "\(.low | fixed($digits))", "\(.high | fixed($digits))",
                                      if .vmm == "host" then "" else (.to_bare | ratio) end]; 11))),
    "";

"=== \(.place): \(.kvm), Linux \(."host-kernel"), \(."host-cpus") CPUs, load \(.load); \(.spmvm); guest kernel \(."guest-kernel")"
  + (if .quick then "; --quick: NOT FIGURES TO QUOTE" else "" end),
"",
claim_table("claim"), claim_table("release"), alone_table, parallel_table, kmem_table, touch_table,
(bandwidth_figures | beside_table("Bandwidth, GB/s: median, lowest, highest; and to the bare memory's (median of the ratios of neighbours in time)"; 3)),
(latency_figures | beside_table("Latency of a load that depends on the last one, ns: the same"; 1)),
(.skipped[] | "Left out: \(.what): \(.reason)")
