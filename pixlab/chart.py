"""A curve as inline SVG, drawn without a plotting library."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from .pictures import ticks

_W, _H, _LEFT, _RIGHT, _TOP, _BOTTOM = 420, 220, 52, 12, 12, 26  # the drawing in its own units
_POINTS = 300  # a longer curve is drawn as the lowest and highest value of each of this many stretches


def short(value: float) -> str:
    """A number in few letters."""
    if value and not 1e-3 <= abs(value) < 1e5:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def is_log(values: Float[np.ndarray, " n"]) -> bool:
    """Whether a curve wants a logarithmic axis: all positive, and most of it within a tenth of its height."""
    low, high = values.min(), values.max()
    return bool(low > 0 and high / low > 20 and np.median(values) < low + (high - low) / 10)


def log_ticks(low: float, high: float) -> list[float]:
    """Values of 1, 2 and 5 times powers of ten where there is room for them, else powers of ten."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 4)):
        marks = [f * 10.0**d for d in decades for f in factors if d % every == 0 and low <= f * 10.0**d <= high]
        if len(marks) <= 6:
            break
    return marks if len(marks) > 1 else [low, high]


def _thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(steps) <= 2 * _POINTS:
        return steps, values
    keep = {0, len(steps) - 1}
    for part in np.array_split(np.arange(len(steps)), _POINTS):
        keep |= {int(part[values[part].argmin()]), int(part[values[part].argmax()])}
    chosen = np.array(sorted(keep))
    return steps[chosen], values[chosen]


def _smooth(values: np.ndarray) -> np.ndarray:
    """Mean over a window that shrinks at the ends, so that it neither lags nor is pulled to zero there."""
    half = len(values) // 25
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    reach = np.minimum(np.minimum(at, len(values) - 1 - at), half)
    return (total[at + reach + 1] - total[at - reach]) / (2 * reach + 1)


def curve(
    points: Mapping[int, float],
    *,
    label: str,
    first: int,
    last: int,
    stages: Sequence[tuple[str, int]] = (),
) -> str:
    """SVG of the curve through {step: value} on an axis of steps from `first` to `last`.

    `stages` are (name, first step); a line marks the start of each but the first. Values that are not finite are
    left out and counted. Colours come from the page's style sheet (classes grid, axis, raw, line, dot, stage).
    """
    steps, values = np.array(sorted(points.items()), np.float64).T
    finite = np.isfinite(values)
    bad = int((~finite).sum())
    steps, values = steps[finite], values[finite]
    if not len(steps):
        return f'<p class="note">{html.escape(label)}: {bad} values, none finite</p>'
    logarithmic = is_log(values)
    scale = np.log10 if logarithmic else np.asarray
    low, high = float(scale(values.min())), float(scale(values.max()))
    margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
    low, high = low - margin, high + margin
    last = max(last, first + 1)

    def across(step):
        return _LEFT + (step - first) / (last - first) * (_W - _LEFT - _RIGHT)

    def down(value):
        return _TOP + (high - scale(value)) / (high - low) * (_H - _TOP - _BOTTOM)

    def path(s, v):
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across(s), down(v), strict=True))

    parts = []
    for mark in log_ticks(10**low, 10**high) if logarithmic else ticks(low, high, 6):
        y = float(down(np.float64(mark)))
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(mark)}</text>')
    for mark in ticks(float(first), float(last), 6):
        x = across(mark)
        anchor = "end" if x > _W - 30 else "middle"
        parts.append(f'<text class="axis" x="{x:.1f}" y="{_H - 8}" text-anchor="{anchor}">{mark:g}</text>')
    for name, begin in stages[1:]:
        if first < begin < last:
            x = across(begin)
            parts.append(f'<line class="stage" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_H - _BOTTOM}"/>')
            anchor, shift = ("end", -4) if x > _W * 0.8 else ("start", 4)
            name = html.escape(name)
            parts.append(f'<text class="stage" x="{x + shift:.1f}" y="{_TOP + 9}" text-anchor="{anchor}">{name}</text>')
    if len(steps) == 1:
        parts.append(f'<circle class="dot" cx="{across(steps[0]):.1f}" cy="{float(down(values[0])):.1f}" r="4"/>')
    elif len(steps) < 60:
        parts.append(f'<polyline class="line" points="{path(steps, values)}"/>')
        parts += [
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
            for x, y in zip(across(steps), down(values), strict=True)
        ]
    else:
        smooth = 10 ** _smooth(np.log10(values)) if logarithmic else _smooth(values)
        parts.append(f'<polyline class="raw" points="{path(*_thin(steps, values))}"/>')
        parts.append(f'<polyline class="line" points="{path(*_thin(steps, smooth))}"/>')
    near, seen = _thin(steps, values)
    hover = [
        f"{s:.0f},{short(v)},{x:.0f},{y:.0f}" for s, v, x, y in zip(near, seen, across(near), down(seen), strict=True)
    ]
    words = [f"last {short(values[-1])}"]
    if logarithmic:
        words.append("log scale")
    if bad:
        words.append(f"{bad} not finite")
    name, more = html.escape(label), " · ".join(words)
    return (
        f'<figure class="curve"><figcaption><b>{name}</b> <span>{more}</span></figcaption>'
        f'<svg viewBox="0 0 {_W} {_H}" role="img" aria-label="{name}: {more}" data-points="{" ".join(hover)}">'
        f"{''.join(parts)}</svg></figure>"
    )
