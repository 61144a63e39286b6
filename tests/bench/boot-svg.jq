# SPDX-License-Identifier: Apache-2.0
# The way to the guest's first process as SVG: one place of tests/bench/run, a stacked bar a row.
include "figures";
include "svg";

# Labels to the left, so that a row's name has room; milliseconds to the right.
def left: 190;
def row_height: 26;
def segments:
  (."run-ns".median // 0) as $run
  | ([$run, (."kernel-ns".median // $run)] | max) as $kernel
  | [$run, ([0, $kernel - $run] | max), ([0, .ns.median - $kernel] | max)] | map(. / 1000000);

.boot
| select(. != null)
| . as $rows
| geometry as $g
| ([$rows[].ns.max] | max / 1000000) as $most
| ($most | step) as $step
| ($most / $step | ceil * $step) as $top
| (($g.width - left - $g.right) / $top) as $scale
| ($g.top + row_height * ($rows | length) + $g.bottom) as $height
| "From exec to the guest's first process" as $title
| svg_page($height; $title;
    ($title | svg_text(20; 22; "start"; "title")),
    ("ms, medians of \($rows[0].runs) runs in turns; the line is the spread" | svg_text(20; 80; "start"; "unit")),
    legend(["to the first KVM_RUN", "to the kernel's clock (where it is not told: to here)", "to the first process"]),
    (range(0; $top / $step + 0.5) | . * $step
     | (left + . * $scale) as $x
     | svg_line($x; $g.top; $x; $height - $g.bottom; "grid"), (tick_text | svg_text($x; $height - $g.bottom + 18; "middle"; "tick"))),
    (range(0; $rows | length) as $k
     | ($g.top + row_height * $k + 4) as $y
     | ($rows[$k] | segments) as $parts
     | ($rows[$k].name | svg_text(left - 8; $y + 13; "end"; "name")),
       (range(0; $parts | length) as $j
        | svg_rect(left + ($parts[:$j] | add // 0) * $scale; $y; $parts[$j] * $scale; row_height - 9; $j)),
       svg_line(left + $rows[$k].ns.min / 1000000 * $scale; $y + (row_height - 9) / 2;
                left + $rows[$k].ns.max / 1000000 * $scale; $y + (row_height - 9) / 2; "axis")))
