# SPDX-License-Identifier: Apache-2.0
# The figures of tests/bench/run as tables. Times are medians of interleaved runs unless said otherwise.

def left($width): tostring | . + (" " * ([0, $width - length] | max));
def right($width): tostring | (" " * ([0, $width - length] | max)) + .;
# Digits behind the point, as jq 1.6 has no format for numbers.
def fixed($digits):
  (pow(10; $digits)) as $scale
  | (. * $scale | round) as $n
  | (($n / $scale | floor | tostring)
     + (if $digits == 0 then "" else "." + ((($n % $scale) + $scale | tostring)[1:]) end));
def ms: . / 1000000 | fixed(if . < 100 then 1 else 0 end);
def ms_or_none: if . == null then "-" else ms end;
def times: fixed(2) + "x";
def median: sort | .[((length - 1) / 2 | floor)];
def line($cells; $widths): [range(0; $cells | length) as $i
  | $cells[$i] | if $i == 0 then left($widths[0]) else right($widths[$i]) end] | "  " + join("  ");

def blocks($kind): {
  "touching": "of 2G, side by side: 2 memslots",
  "apart": "of 256M, apart: a memslot each and RAM's",
  "one-large": "of 128G, as much as 64 of 2G",
  "built-in": "of 2G, and the initramfs built at start"}[$kind];

def start_table:
  . as $rows
  | [28, 8, 8, 8, 8, 8, 8, 10, 10, 8] as $w
  | (reduce $rows[] as $r ({}; .[$r.name] = $r)) as $by
  | [$rows[] | .name | split("|") | {kind: .[0], count: .[1]}] as $pairs
  | (reduce $pairs[] as $p ([]; if index([$p]) then . else . + [$p] end)) as $keys
  | "Exec to the first KVM_RUN, ms (\($rows[0].runs) runs in turns; RAM 1G, 1 CPU)",
    line(["blocks", "spmvm", "min", "p90", "bare", "min", "p90", "spmvm/bare", "to 1 block", "faults"]; [44] + $w[1:]),
    ($keys[] | . as $k
     | $by["\(.kind)|\(.count)|spmvm"] as $s | $by["\(.kind)|\(.count)|bare"] as $b | $by["\(.kind)|1|spmvm"] as $one
     | line(["\($k.count | right(3)) " + blocks($k.kind), ($s.ns.median | ms), ($s.ns.min | ms), ($s.ns.p90 | ms)]
            + (if $b then [($b.ns.median | ms), ($b.ns.min | ms), ($b.ns.p90 | ms), ($s.ns.median / $b.ns.median | times)]
               else ["", "", "", ""] end)
            + [if $k.kind == "touching" or $k.kind == "apart" then ($s.ns.median / $one.ns.median | times) else "" end,
               $s."page-faults".median]; [44] + $w[1:])),
    (def ratio($a; $c): "\($by[$a].ns.median / $by[$c].ns.median | times) (minima \($by[$a].ns.min / $by[$c].ns.min | times))";
     "  64 blocks against 1 (aim: at most 1.50x): touching \(ratio("touching|64|spmvm"; "touching|1|spmvm")), the bare program \(ratio("touching|64|bare"; "touching|1|bare"));",
     "  with the same total of 128G: \(ratio("touching|64|spmvm"; "one-large|1|spmvm")); of 256M apart: \(ratio("apart|64|spmvm"; "apart|1|spmvm"))");

def call_medians: .calls as $runs
  | ([$runs[] | keys[]] | unique) as $names
  | reduce $names[] as $n ({}; .[$n] = {
      ns: ([$runs[] | .[$n].ns // 0] | median), count: ([$runs[] | .[$n].count // 0] | median)});

def calls_table:
  [.[] | {name: (.name | split("|")), calls: call_medians, total: .ns.median}] as $columns
  | ([22] + [$columns[] | 12]) as $w
  | ([$columns[].calls | keys[]] | unique) as $names
  | [$names[] | . as $n | {name: $n, ns: [$columns[].calls[$n].ns // 0]} | select((.ns | max) >= 100000)] as $big
  | "Where that time goes, ms (calls counted and timed inside of the process; count in brackets)",
    line(["touching blocks of 2G"] + [$columns[] | .name[1] + " " + .name[2]]; $w),
    ($big | sort_by(-(.ns | max))[] | .name as $n
     | line([$n] + [$columns[] | .calls[$n] | if . == null then "-" else (.ns / 1000000 | fixed(2)) + " (\(.count))" end]; $w)),
    line(["all other calls"] + [$columns[] | .calls | [to_entries[] | select(.key as $k | $big | map(.name) | index($k) | not)
         | .value.ns] | add / 1000000 | fixed(2)]; $w),
    line(["total"] + [$columns[] | .total / 1000000 | fixed(2)]; $w),
    ([range(0; $columns | length; 2) as $i
      | ([$columns[$i, $i + 1].calls | keys[] | select(startswith("KVM_"))] | unique[]) as $n
      | {blocks: $columns[$i].name[1], call: $n, spmvm: ($columns[$i].calls[$n].count // 0),
         bare: ($columns[$i + 1].calls[$n].count // 0)} | select(.spmvm != .bare)]
     | if length == 0 then "  The two make the same KVM calls, as often."
       else "  NOT THE SAME KVM CALLS, so bench_bare_kvm needs an update: "
            + (map("\(.call) \(.spmvm) and \(.bare) (\(.blocks) blocks)") | join(", ")) end);

def boot_table($what):
  . as $rows
  | [26, 8, 8, 8, 12, 12, 12, 10, 10] as $w
  | "Exec to the guest's first process, ms (\($rows[0].runs) runs in turns; RAM 1G, 1 CPU, same kernel and initramfs\($what))",
    line(["", "median", "min", "p90", "to KVM_RUN", "to kernel", "its clock", "faults", "to spmvm"]; $w),
    ($rows[] | line([.name, (.ns.median | ms), (.ns.min | ms), (.ns.p90 | ms), (."run-ns".median | ms_or_none),
                     (."kernel-ns".median | ms_or_none), (."guest-clock-ns".median | ms_or_none),
                     ."page-faults".median, (.ns.median / $rows[0].ns.median | times)]; $w)),
    ($rows[] | select(.name == "spmvm -- COMMAND") | (.ns.median / $rows[0].ns.median) as $ratio
     | "  Aim: a command\u0027s first instruction after at most 1.50x a bare boot to a static init. "
       + (if $ratio <= 1.5 then "Held." else "Not held: \($ratio | times)." end));

# The in-process stages of spmvm's rows, of which main() is the first; what comes before it is exec and linking.
def stages_table:
  [.[] | select(."stages-us")] as $rows
  | select($rows | length > 0)
  | [$rows[] | ."stages-us" as $runs | {name, of: ($runs[0] | with_entries(.key as $k | .value = ([$runs[] | .[$k] // 0] | median)))}] as $medians
  | ([$rows[]."stages-us"[0] | keys_unsorted[]] | reduce .[] as $n ([]; if index([$n]) then . else . + [$n] end)) as $names
  | ([26] + [$names[] | [length, 7] | max]) as $w
  | "Stages from main() to the first KVM_RUN, us (medians; see vmm/base/stages.h)",
    line([""] + $names; $w),
    ($medians[] | .of as $of | line([.name] + [$names[] | $of[.] // "-"]; $w));

# Where the guest reads and writes ports; the most of any row first.
def ports_table:
  . as $rows
  | [$rows[].exits[0].ports // {} | keys[]] | unique
  | map(. as $p | {port: $p, counts: [$rows[] | [.exits[].ports[$p] // 0] | median]})
  | sort_by(-(.counts | max))[:16]
  | select(length > 0)
  | ([6] + [$rows[] | 9]) as $w
  | "Accesses to ports until then, each an exit (median)",
    (range(0; $rows | length) as $i | "  row \($i + 1): \($rows[$i].name | ltrimstr("  "))"),
    line(["port"] + [range(0; $rows | length) | "row \(. + 1)"]; $w),
    (.[] | line([.port] + .counts; $w));

def exits_table:
  [26, 10, 8, 8, 12, 8, 12, 10, 10] as $w
  | "Exits from KVM until then (median of \(.[0].runs) runs)",
    line(["", "to user", "io", "mmio", "interrupted", "other", "all exits", "4K pages", "2M pages"]; $w),
    (.[] | .exits as $e | def of($path): [$e[] | getpath($path) // 0] | median;
     line([.name, of(["to-user-space"]), of(["io"]), of(["mmio"]), of(["interrupted"]), of(["other"]), of(["kvm", "exits"]),
           of(["kvm", "pages_4k"]), of(["kvm", "pages_2m"])]; $w));

def memory_table:
  [26, 8, 8, 8, 12, 12, 10, 9] as $w
  | "Memory of the process beyond guest memory, KiB: the most of any sample (every 10 ms, until 1 s after the first process)",
    line(["", "Pss", "private", "Rss", "Pss at end", "page tables", "guest", "samples"]; $w),
    (.[] | ."memory-peak-kib" as $m | line([.name, $m.pss, $m.private, $m.rss, ."memory-at-end-kib".pss, $m."page-tables", $m.guest, ."memory-samples"]; $w)),
    ("  Aim: at most 1536 of Pss at the end, and 16 for each block. " + ([.[] | select(.name | startswith("spmvm"))
       | select(."memory-at-end-kib".pss > 1536 + 16 * ((.name | capture("(?<n>[0-9]+) blocks?").n | tonumber) // 0)) | .name]
       | if length == 0 then "Held by all of spmvm's rows." else "Not held by: " + join("; ") + "." end)),
    "  Page tables are those of the process for guest memory too; KVM's own are the host kernel's and not in here.";

# One line a part of the work: the medians of both, and spmvm against QEMU. "nothing" tells what the marks and the shell themselves cost in exits, which
# is taken off.
def part_median($row; $name; f): [$row.phases[$name][] | f // 0] | median;
def net($row; $name; f): part_median($row; $name; f) - part_median($row; "nothing"; f);
def per($total; $count): ([0, $total] | max) / $count;
def rate: if .bytes > 0 and (.bytes / .requests) > 4096 then (.bytes / 1048576) / (.ns / 1e9) else .requests / (.ns / 1e9) end;
def devices_table:
  [16, 10, 10, 8, 15, 9, 9, 9, 9, 10, 10] as $w
  | "Devices beside QEMU\u0027s microvm (medians of \(.[0].rows[0].runs) runs in turns; requests of 4K a second, else MiB a second)",
    line(["", "spmvm", "QEMU", "ratio", "spread", "to user", "QEMU", "mmio", "QEMU", "exits", "QEMU"]; $w),
    line(["", "", "", "", "min..max", "/request", "", "/request", "", "/request", ""]; $w),
    (.[] | .rows[0] as $a | .rows[1] as $b | ($a.phases | keys_unsorted[] | select(. != "nothing")) as $n
     | part_median($a; $n; .requests) as $count
     | ([$a.phases[$n][] | rate] | sort) as $ra | ([$b.phases[$n][] | rate] | sort) as $rb
     | line([$n, ($ra | median | fixed(0)), ($rb | median | fixed(0)), (($ra | median) / ($rb | median) | times),
             "\($ra[0] / ($rb | median) | times)..\($ra[-1] / ($rb | median) | times)"]
            + [per(net($a; $n; .exits["to-user-space"]); $count), per(net($b; $n; .exits["to-user-space"]); $count),
               per(net($a; $n; .exits.mmio); $count), per(net($b; $n; .exits.mmio); $count),
               per(net($a; $n; .exits.kvm.exits); $count), per(net($b; $n; .exits.kvm.exits); $count) | fixed(2)]; $w));

def steady_table:
  "A block of \(.[0].size / 1048576)M, everything touched: the same loops in a guest's ring 3 and in a process (medians of turns; MB/s, a step of the chase in ns)",
  line(["pages", "loop", "guest", "host", "guest/host", "in huge pages"]; [16, 8, 10, 10, 12, 14]),
  (.[] | (if .unit == "ns" then 1 else 0 end) as $digits
   | (.guest | median) as $guest | (.host | median) as $host
   | line([.pages, .loop, ($guest | fixed($digits)), ($host | fixed($digits)), ($guest / $host | times), "\(.huge * 100 / .size | fixed(0)) %"]; [16, 8, 10, 10, 12, 14]));

.places[]
| "",
  "=== \(.place): \(.kvm), Linux \(."host-kernel"), \(."host-cpus") CPUs, load \(.load) before; \(.spmvm); guest kernel \(."guest-kernel")"
  + (if .quick then "; --quick: NOT FIGURES TO QUOTE" else "" end),
  ((.start // empty) | "", start_table),
  ((.calls // empty) | "", calls_table),
  ((.steady // [] | select(length > 0)) | "", steady_table),
  ((.boot // empty) | "", boot_table("")),
  ((.boot // empty) | "", stages_table),
  ((."boot-small" // empty) | "", boot_table("; the host without huge pages")),
  ((.exits // empty) | "", exits_table),
  ((.exits // empty) | "", ports_table),
  ((.memory // empty) | "", memory_table),
  ((.devices // [] | select(length > 0)) | "", devices_table),
  (if ."boots-guests" then empty else "", "Nothing boots on this KVM, a software backend: boot, exits and memory are measured in the lab." end)
