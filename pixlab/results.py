"""The final scores of a run as HTML tables."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping, Sequence

_DIRECTIONS = (  # the first that matches a column's name, and what is better there
    (re.compile(r"error|loss|rmse"), "lower"),
    (re.compile(r"acc|auc|iou|psnr|ssim|delta|δ|pck|dice|within|repaired|\bf1|\biu\b|\ba[123]\b|\bm?ap\b"), "higher"),
    (re.compile(r"rel|log10|sc_inv|silog|mse|mae|epe|spoilt|mean|median"), "lower"),
)
_TABLES = (  # and of whole tables, whose columns are joints or classes
    (re.compile(r"^(pose_r\d|pose_pck|people_|iu/)"), "higher"),
    (re.compile(r"^pose_sigma"), "lower"),
)


def _direction(column: str, better: Mapping[str, str]) -> str | None:
    """Which way a column is better: as told, else by the names that the field uses, else unknown."""
    if column in better:
        return better[column]
    part = _part(column)
    name = column.removeprefix(part).lower().replace("_", " ")
    whole = next((way for words, way in _TABLES if words.search(part)), None)
    return whole or next((way for words, way in _DIRECTIONS if words.search(name)), None)


def _is_number(cell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool) and math.isfinite(cell)


def _cell(value, bold: bool) -> str:
    text = html.escape("-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value))
    return f"<td><b>{text}</b></td>" if bold else f"<td>{text}</td>"


def _part(column: str) -> str:
    """The first part of a path with its slash: `depth/` of `depth/rmse`, nothing of `rmse`."""
    return column[: column.find("/") + 1]


def _table(columns: Sequence[str], rows: Sequence[Sequence], better: Mapping[str, str], prefix: str) -> str:
    """One table of the columns whose first part is `prefix`; rows without any value there are left out."""
    chosen = [i for i, column in enumerate(columns) if i and _part(column) == prefix]
    rows = [[row[0], *(row[i] if i < len(row) else None for i in chosen)] for row in rows]
    rows = [row for row in rows if any(value is not None for value in row[1:])]
    heads, best = [], []
    for place, index in enumerate(chosen, 1):
        way = _direction(columns[index], better)
        numbers = [row[place] for row in rows if _is_number(row[place])]
        pick = {"higher": max, "lower": min}.get(way or "")
        best.append(pick(numbers) if pick and len(numbers) > 1 else None)
        arrow = {"higher": " ↑", "lower": " ↓"}.get(way or "", "")
        heads.append(f"<th>{html.escape(columns[index].removeprefix(prefix))}{arrow}</th>")
    body = []
    for row in rows:
        cells = (_cell(v, _is_number(v) and v == top) for v, top in zip(row[1:], best, strict=True))
        body.append(f'<tr><th scope="row">{html.escape(str(row[0]))}</th>{"".join(cells)}</tr>')
    title = html.escape(prefix.removesuffix("/"))
    return (
        f"<h3>{title}</h3>" * bool(title) + '<div class="wide results"><table>'
        f"<thead><tr><th></th>{''.join(heads)}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def results_html(result: Mapping) -> str:
    """The final tables: this run beside baselines and published figures, one for each first part of a column's name.

    `result` is {"columns": ["", "depth/rmse", ...], "rows": [["ours", 0.5, ...], ...], "better": {"depth/rmse":
    "lower", ...}, "notes": [...]}; the last two may be absent. Without `better` the direction of a column follows
    from its name where the field agrees on it. The best value of a column with a direction is bold.
    """
    if not result:
        return ""
    columns = [str(column) for column in result.get("columns", [])]
    rows, better = result.get("rows", []), result.get("better") or {}
    tables = [_table(columns, rows, better, part) for part in dict.fromkeys(map(_part, columns[1:]))]
    notes = "".join(f'<p class="note">{html.escape(str(note))}</p>' for note in result.get("notes", []))
    return f"<h2>Results</h2>{''.join(tables)}{notes}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as lines with columns of one width, the first to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *rest = widths
    return ["  ".join([row[0].ljust(first), *(c.rjust(w) for c, w in zip(row[1:], rest, strict=True))]) for row in rows]
