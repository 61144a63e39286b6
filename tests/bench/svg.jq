# SPDX-License-Identifier: Apache-2.0
# How a plot is drawn as SVG: bars and curves, for claims-svg.jq and boot-svg.jq.
include "figures";

# Colours that differ to those who see few of them, and that stand out on white and on black.
def colours: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
def colour($i): colours[$i % (colours | length)];
def geometry: {width: 720, height: 380, left: 70, right: 20, top: 96, bottom: 60};
def escaped: tostring | gsub("&"; "&amp;") | gsub("<"; "&lt;");
def at: fixed(1);

def svg_text($x; $y; $anchor; $class):
  "<text x=\"\($x | at)\" y=\"\($y | at)\" text-anchor=\"\($anchor)\" class=\"\($class)\">\(escaped)</text>";
def svg_line($x1; $y1; $x2; $y2; $class):
  "<line x1=\"\($x1 | at)\" y1=\"\($y1 | at)\" x2=\"\($x2 | at)\" y2=\"\($y2 | at)\" class=\"\($class)\"/>";
def svg_rect($x; $y; $width; $height; $i):
  "<rect x=\"\($x | at)\" y=\"\($y | at)\" width=\"\($width | at)\" height=\"\($height | at)\" fill=\"\(colour($i))\"/>";

def svg_style:
  "<style>text{font:12px sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:bold}.axis{stroke:#1f2328}.grid{stroke:#8c959f;stroke-opacity:.35}",
  ".curve{fill:none;stroke-width:2}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.axis{stroke:#e6edf3}}</style>";

# A whole file of that height: a title, and what is drawn.
def svg_page($height; $title; elements):
  geometry.width as $width
  | "<!-- SPDX-License-Identifier: Apache-2.0 -->",
    "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \($width) \($height)\" width=\"\($width)\" height=\"\($height)\" role=\"img\">",
    "<title>\($title | escaped)</title>",
    svg_style,
    elements,
    "</svg>";

# A plot: a title, what the vertical axis is, and the elements between the axes.
def svg_file($title; $vertical; elements):
  geometry as $g
  | svg_page($g.height; $title;
      ($title | svg_text($g.left; 22; "start"; "title")),
      ($vertical | svg_text($g.left; 86; "start"; "unit")),
      svg_line($g.left; $g.height - $g.bottom; $g.width - $g.right; $g.height - $g.bottom; "axis"),
      svg_line($g.left; $g.top; $g.left; $g.height - $g.bottom; "axis"),
      elements);

# Names with their colours, in rows below the title.
def legend($names):
  geometry as $g
  | reduce range(0; $names | length) as $i ({x: $g.left, y: 43, out: []};
      (34 + 7 * ($names[$i] | length)) as $width
      | (if .x > $g.left and .x + $width > $g.width then .x = $g.left | .y += 18 else . end)
      | .x as $x | .y as $y
      | .out += [svg_rect($x; $y - 9; 10; 10; $i), ($names[$i] | svg_text($x + 14; $y; "start"; "name"))]
      | .x += $width)
  | .out[];

# 1, 2 or 5 times a power of ten: about five steps to the most.
def step: (pow(10; (. / 5 | log10 | floor))) as $unit | (. / 5 / $unit) as $n | $unit * (if $n <= 1 then 1 elif $n <= 2 then 2 elif $n <= 5 then 5 else 10 end);
def tick_text: if . >= 10 or . == 0 then fixed(0) elif . >= 0.095 then fixed(1) else fixed(2) end;

def plot_height: geometry | .height - .top - .bottom;
def plot_width: geometry | .width - .left - .right;

# Groups of bars: [{name, bars: [{i (colour), value}]}].
def bars($groups):
  geometry as $g
  | ([$groups[].bars[].value] | max) as $most
  | ($most | step) as $step
  | ($most / $step | ceil * $step) as $top
  | (plot_height / $top) as $scale
  | (plot_width / ($groups | length)) as $slot
  | (range(1; $top / $step + 0.5) | . * $step
     | ($g.height - $g.bottom - . * $scale) as $y
     | svg_line($g.left; $y; $g.width - $g.right; $y; "grid"), (tick_text | svg_text($g.left - 6; $y + 4; "end"; "tick"))),
    (range(0; $groups | length) as $k
     | $groups[$k] as $group
     | ($group.bars | length) as $count
     | ([$slot * 0.8 / $count, 40] | min) as $width
     | ($g.left + $slot * ($k + 0.5) - $width * $count / 2) as $start
     | (range(0; $count) as $j
        | $group.bars[$j] as $bar
        | ($bar.value * $scale) as $height
        | svg_rect($start + $j * $width; $g.height - $g.bottom - $height; $width * 0.9; $height; $bar.i)),
       ($group.name | split("\n") | to_entries[] | . as $row
        | $row.value | svg_text($g.left + $slot * ($k + 0.5); $g.height - $g.bottom + 18 * (1 + $row.key); "middle"; "group")));

# Curves with both axes logarithmic (base 2 and 10): [{name, points: [[x, y], ...]}].
def curves($rows; $horizontal):
  geometry as $g
  | ([$rows[].points[][0]] | unique) as $xs
  | ([$rows[].points[][1]] | [(min | log10 | floor), (max | log10 | ceil)]) as [$low, $high]
  | (if $high > $low then $high else $low + 1 end) as $high
  | def x: $g.left + plot_width * (if ($xs | length) < 2 then 0.5 else ((. | log2) - ($xs[0] | log2)) / (($xs[-1] | log2) - ($xs[0] | log2)) end);
    def y: $g.height - $g.bottom - plot_height * (log10 - $low) / ($high - $low);
    ($xs[] | svg_text(x; $g.height - $g.bottom + 18; "middle"; "tick")),
    (range($low; $high + 1) | pow(10; .)
     | svg_line($g.left; y; $g.width - $g.right; y; "grid"), (y as $y | tick_text | svg_text($g.left - 6; $y + 4; "end"; "tick"))),
    ($horizontal | svg_text($g.left + plot_width / 2; $g.height - 14; "middle"; "unit")),
    (range(0; $rows | length) as $i
     | "<polyline class=\"curve\" stroke=\"\(colour($i))\" points=\"\([$rows[$i].points[] | "\(.[0] | x | at),\(.[1] | y | at)"] | join(" "))\"/>",
       ($rows[$i].points[] | "<circle cx=\"\(.[0] | x | at)\" cy=\"\(.[1] | y | at)\" r=\"3\" fill=\"\(colour($i))\"/>"));
