# SPDX-License-Identifier: Apache-2.0
# Whether a JSON file of `spmvm-bench claims` is whole: a line for each thing that is wrong with it, or nothing.

def wants(condition; $text): if condition then empty else $text end;
# An emulated clock may stand still for a moment: a time may be 0.
def time: type == "number" and . >= 0;
def times($count): type == "array" and length == $count and all(.[]; time);
def has_all($names): . as $sample | all($names[]; . as $name | $sample | has($name));

def check_claim:
  wants(has_all(["vmm", "slots", "blocks", "threads", "method", "align", "each"]); "a \(.what) lacks a label: \(.)"),
  wants(.blocks as $n | .each | times($n); "a \(.what) of \(.blocks) blocks has not as many times: \(.each)"),
  wants(.method as $m | ["region", "memremap", "pages"] | index([$m]); "a \(.what) by an unknown method: \(.method)"),
  wants(([.each[]] | max) <= .ns; "a part of a \(.what) took longer than the whole: \(.)"),
  wants(.threads > 1 or ([.each[]] | add) <= .ns; "the parts of a \(.what) by one processor took longer than the whole: \(.)");

def check_sample:
  wants(.ns | time; "a time that is none: \(.)"),
  if .what == "claim" or .what == "release" then check_claim
  elif .what == "take" or .what == "give" then wants(.slots as $n | .each | times($n); "a \(.what) without its times")
  elif .what == "kmem" then wants((.add | time) and (.online | time) and .blocks >= 1; "a kmem without its parts: \(.)")
  elif .what == "touch" then wants(has_all(["backing", "vmm", "where", "prealloc", "pass"]) and (.bytes | time); "a touch lacks something: \(.)")
  elif .what == "steady" then wants(has_all(["backing", "vmm", "where", "op"]) and (.bytes | time); "a steady lacks something: \(.)")
  elif .what == "latency" then wants(has_all(["backing", "vmm", "where"]) and (.loads | time); "a latency lacks something: \(.)")
  else "a sample of nothing known: \(.what)" end;

# Each number of blocks was claimed and released by all four ways, as often; each place measured as often as others.
def even($what; keys):
  [.samples[] | select(.what == $what)] as $mine
  | wants(($mine | length) > 0; "nothing of \($what)"),
    wants([$mine | group_by(keys)[] | length] | unique | length <= 1; "\($what): not everything as often");

def whole:
  even("claim"; [.vmm, .slots, .blocks, .threads, .method, .align]), even("release"; [.vmm, .slots, .blocks, .threads, .method, .align]),
  even("take"; [.vmm, .slots]), even("give"; [.vmm, .slots]), wants(any(.samples[]; .what == "kmem"); "nothing of kmem"),
  even("touch"; [.backing, .vmm, .prealloc, .pass]), even("steady"; [.backing, .op, .vmm, .where]), even("latency"; [.backing, .vmm, .where]),
  ([.samples[] | select(.what == "claim" and .slots > 1) | "\(.method) \(.align)"] | unique
   | wants(. == ["memremap 4K", "pages 2M", "pages 4K", "region 4K"]; "claims not by every method: \(.)")),
  (.samples | group_by(.backing)[] | select(.[0].backing) | . as $mine
   | ($mine[0].backing) as $backing
   | (["write", "stream", "read", "copy"] - [$mine[].op] | wants(. == []; "\($backing): not measured: \(.)")),
     (["bare", "spm", "ram"] - [$mine[] | select(.what == "latency") | .where] | wants(. == []; "\($backing): no latency of \(.)")),
     wants([$mine[] | select(.what == "touch" and .vmm == "spmvm") | .prealloc] | unique == [false, true]; "\($backing): touch without one of prealloc on and off"));

wants(.benchmark == "claims" and .version == 1; "not a file of this benchmark, or of another version"),
wants((.place | type) == "string" and (.spmvm | type) == "string" and (."host-cpus" | time) and (.quick | type) == "boolean"; "where it was measured is missing"),
(.samples[] | check_sample),
whole
