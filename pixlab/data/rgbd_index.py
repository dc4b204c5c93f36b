"""The index `frames.csv` of a folder of RGB-D images: which files make a frame and how its depth is stored.

One row a frame; columns `name,rgb,depth` and, as needed, `label,split,scale,offset,none,fx,fy,cx,cy`. Paths are
relative to the folder or absolute; an empty cell means the default (the name: the stem of the colour file).

Depth in metres is (stored value + offset) / scale. A pixel has no measurement where the stored value equals `none` (0
unless the row says otherwise) or where the result is not positive. For depth stored as
floor(255 * depth / maximum), one maximum a frame, give scale = 255 / maximum and offset = 0.5, the middle of the step;
the stored 0 then means "nearer than one step" (a few centimetres, less than any such camera measures), so that taking
it for "none" loses nothing.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pixlab.errors import UserError

INDEX = "frames.csv"
COLUMNS = ("name", "rgb", "depth", "label", "split", "scale", "offset", "none", "fx", "fy", "cx", "cy")
KNOWN = ",".join(COLUMNS)
NUMBERS = ("scale", "offset", "none", "fx", "fy", "cx", "cy")


class Row(NamedTuple):
    """One frame's files and how to read them."""

    name: str
    rgb: Path
    depth: Path
    label: Path | None = None
    split: str | None = None
    scale: float | None = None
    offset: float = 0.0
    none: int = 0
    intrinsics: tuple[float, ...] | None = None


def read_index(folder: str | os.PathLike) -> list[Row]:
    """The rows of `folder`/frames.csv. Raises UserError, naming the line, for whatever cannot be meant."""
    folder = Path(folder)
    file = folder / INDEX
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{file}: not UTF-8 text; save it as UTF-8") from None
    reader = csv.DictReader(lines)
    columns = reader.fieldnames or []
    if not {"rgb", "depth"} <= set(columns) <= set(COLUMNS):
        raise UserError(f"{file}: the columns are {','.join(columns)} but must be rgb, depth and others of {KNOWN}")
    rows = [_row(folder, f"{file} line {reader.line_num}", cells) for cells in reader]
    if not rows:
        raise UserError(f"{file}: no frames; write a row for each")
    seen = set()
    for row in rows:
        if row.name in seen:
            raise UserError(f"{file}: two frames are called '{row.name}'; give each its own name")
        seen.add(row.name)
    return rows


def _row(folder: Path, where: str, cells: Mapping[str, str]) -> Row:
    if None in cells or None in cells.values():
        raise UserError(f"{where}: not as many cells as columns; correct the line")
    cells = {column: cell.strip() for column, cell in cells.items() if cell.strip()}
    files = {}
    for column in ("rgb", "depth", "label"):
        if column in cells:
            files[column] = folder / cells[column]
            if not files[column].is_file():
                raise UserError(f"{where}: no such file {files[column]}; correct the {column} path")
        elif column != "label":
            raise UserError(f"{where}: the {column} path is missing; write it")
    numbers = {column: _number(where, column, cells[column]) for column in NUMBERS if column in cells}
    camera = tuple(numbers[c] for c in ("fx", "fy", "cx", "cy") if c in numbers)
    if len(camera) not in (0, 4):
        raise UserError(f"{where}: fx, fy, cx and cy must all be there or all be empty")
    scale = numbers.get("scale")
    if scale is not None and scale <= 0:
        raise UserError(f"{where}: scale is {scale:g} but must be positive: stored values per metre")
    return Row(
        name=cells.get("name", files["rgb"].stem),
        **files,
        split=cells.get("split"),
        scale=scale,
        offset=numbers.get("offset", 0.0),
        none=int(numbers.get("none", 0)),
        intrinsics=camera or None,
    )


def _number(where: str, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: {column} is '{cell}' but must be a number")
    return value


def write_index(folder: str | os.PathLike, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write frames.csv into `folder` (made if absent) and return its path.

    rows: one mapping a frame with keys among COLUMNS, "rgb" and "depth" at least, paths relative to the folder or
    absolute. Raises UserError for other keys.
    """
    rows = [dict(row) for row in rows]
    for row in rows:
        wrong = row.keys() - set(COLUMNS) or {"rgb", "depth"} - row.keys()
        if wrong:
            raise UserError(f"{INDEX}: row {row} has or lacks {sorted(wrong)}; columns are {KNOWN}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    columns = [c for c in COLUMNS if any(row.get(c) is not None for row in rows)]
    with (folder / INDEX).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([["" if row.get(c) is None else row[c] for c in columns] for row in rows])
    return folder / INDEX
