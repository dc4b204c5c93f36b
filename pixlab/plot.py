"""Several lines in one plot, as an SVG file that stands alone: for documents, without a plotting library."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from pixlab.chart import log_ticks, short
from pixlab.pictures import ticks

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 380, 64, 150, 34, 46
LETTER = 7  # how wide one is, about
COLOURS = ("#2563c9", "#c2410c", "#15803d", "#7c3aed", "#b91c82", "#0e7490", "#a16207", "#475569")
Points = Sequence[tuple[float, float]]


def plot(
    lines: Mapping[str, Points],
    *,
    title: str,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    dashed: Sequence[str] = (),
) -> str:
    """SVG of named lines through (x, y), as wide as the legend at the right needs; `dashed` names those drawn so.

    Raises ValueError without a point, and for values that are not finite, or not positive on a logarithmic axis.
    """
    points = [point for line in lines.values() for point in line]
    if not points:
        raise ValueError("nothing to plot: no line has a point")
    across = _Axis([p[0] for p in points], log_x, LEFT, WIDTH - RIGHT)
    down = _Axis([p[1] for p in points], log_y, HEIGHT - BOTTOM, TOP)
    parts = [f'<text x="{LEFT}" y="20" font-size="15" font-weight="600">{html.escape(title)}</text>']
    for mark in down.marks:
        at = down(mark)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#e3e5e8"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{short(mark)}</text>')
    given = sorted({p[0] for p in points})
    for mark in given if len(given) <= 8 else across.marks:
        at, under = across(mark), HEIGHT - BOTTOM
        parts.append(f'<path d="M{at:.1f} {under}v5" stroke="#98a2ad"/>')
        parts.append(f'<text x="{at:.1f}" y="{under + 18}" text-anchor="middle">{short(mark)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(x)}</text>')
    turned = f'x="16" y="{(TOP + HEIGHT - BOTTOM) / 2}" text-anchor="middle"'
    parts.append(f'<text {turned} transform="rotate(-90 16 {(TOP + HEIGHT - BOTTOM) / 2})">{html.escape(y)}</text>')
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        dash = ' stroke-dasharray="5 4"' if name in dashed else ""
        path = " ".join(f"{across(a):.1f},{down(b):.1f}" for a, b in sorted(line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if len(line) <= 12:
            parts += [f'<circle cx="{across(a):.1f}" cy="{down(b):.1f}" r="3" fill="{colour}"/>' for a, b in line]
        at = TOP + 10 + 20 * number
        parts.append(f'<path d="M{WIDTH - RIGHT + 14} {at}h22" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 42}" y="{at + 4}">{html.escape(name)}</text>')
    style = 'font-family="system-ui,sans-serif" font-size="12" fill="#1d2125"'
    width = WIDTH - RIGHT + max(RIGHT, 50 + LETTER * max(map(len, lines)))
    paper = f'<rect width="{width}" height="{HEIGHT}" fill="#fff"/>'
    box = f'viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box} {style}>{paper}{"".join(parts)}</svg>\n'


class _Axis:
    """Where values lie between two places of the drawing, and the round ones among them."""

    def __init__(self, values: Sequence[float], logarithmic: bool, start: float, end: float):
        if not all(math.isfinite(value) and (value > 0 or not logarithmic) for value in values):
            raise ValueError(f"values that cannot be plotted: {[v for v in values if not math.isfinite(v) or v <= 0]}")
        self.scale = math.log10 if logarithmic else float
        low, high = min(values), max(values)
        if not logarithmic and 0 < low < high / 3:
            low = 0.0  # near enough to show it
        self.low, self.high = self.scale(low), self.scale(high)
        if self.low == self.high:
            self.low, self.high = self.low - 1, self.high + 1
        self.start, self.end = start, end
        self.marks = log_ticks(low, high) if logarithmic else ticks(self.low, self.high, 6)

    def __call__(self, value: float) -> float:
        part = (self.scale(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)
