"""Windows of a large photo, or of what a network sees of it, and the whole put together from what is kept of each.

An answer depends on the photo as far around it as the network sees, the halo. Windows overlap by two halos, and what
lies within a halo of an edge is kept of the neighbour instead. A window at the photo's border ends with the photo: the
network pads there as it pads the whole. So the whole is what the network gives of the photo in one piece, if an answer
depends on nothing further away than the halo, and on where it lies only by the border. Of a network that pools, it also
depends on where it lies in the grid of the pools: windows begin at multiples of the total stride `grid` if size and
halo are such.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from pixlab.errors import UserError


@dataclasses.dataclass(frozen=True)
class Tiles:
    """How photos that are larger than a window go through an experiment's networks.

    Raises ValueError where a window has no room for more than its halo, and for a scale below 1.
    """

    size: int  # rows and columns of a window in pixels of the photo, with its halo
    halo: int  # pixels of the photo, on each side, that an answer depends on
    scale: int = 1  # rows and columns of all maps and pictures for one of the photo
    grid: int = 1  # windows begin at multiples of this, where size and halo are such: the total stride of pools
    of: Literal["photo", "input"] = "photo"  # what is cut, and "photo" above stands for; input: what networks see of it

    def __post_init__(self):
        if self.halo < 0 or self.size <= 2 * self.halo or self.scale < 1:
            raise ValueError(f"{self}: needs a size above twice the halo, a halo of at least 0, a scale of at least 1")


class Window(NamedTuple):
    """A window of a photo and the part of the photo that is kept of it."""

    rows: slice
    columns: slice
    kept_rows: slice
    kept_columns: slice


def windows(height: int, width: int, tiles: Tiles) -> list[Window]:
    """The windows of a photo, row by row, all of one shape: `tiles.size`, up to `tiles.grid` - 1 more so that the last
    one begins at a multiple too, or the photo's where that is smaller.

    What is kept of them covers the photo once. Those at the right and at the bottom are shifted inwards.
    """
    down, across = (_along(length, tiles) for length in (height, width))
    return [Window(rows, columns, high, wide) for rows, high in down for columns, wide in across]


def _along(length: int, tiles: Tiles) -> list[tuple[slice, slice]]:
    """(seen, kept) of the windows along one axis."""
    size, halo = min(tiles.size, length), tiles.halo
    size += (length - size) % tiles.grid
    step = tiles.size - 2 * halo
    count = -(-(length - 2 * halo) // step) if length > size else 1
    starts = [min(index * step, length - size) for index in range(count)]
    ends = [start + size - halo for start in starts[:-1]] + [length]
    return [(slice(at, at + size), slice(*kept)) for at, *kept in zip(starts, [0, *ends[:-1]], ends, strict=True)]


def put(whole: dict[str, np.ndarray], parts: Mapping[str, Any], window: Window, size: tuple[int, int], scale: int):
    """Put what is kept of a window's `parts`, arrays [h, w] or [h, w, c], into those of the photo of `size` (h, w).

    Arrays of the whole are made when their first part comes. Raises ValueError for what is not `scale` times as large
    as the window, UserError where there is no memory for the whole.
    """
    seen = (window.rows, window.columns)
    there = tuple(slice(scale * kept.start, scale * kept.stop) for kept in window[2:])
    here = tuple(
        slice(scale * (kept.start - of.start), scale * (kept.stop - of.start))
        for of, kept in zip(seen, window[2:], strict=True)
    )
    expected = tuple(scale * (of.stop - of.start) for of in seen)
    for name, part in parts.items():
        if np.shape(part)[:2] != expected:
            raise ValueError(f"'{name}' of a window is {np.shape(part)}, not {expected}: scale {scale} in its Tiles")
        if name not in whole:
            shape = (scale * size[0], scale * size[1], *part.shape[2:])
            try:
                whole[name] = np.empty(shape, part.dtype)
            except MemoryError:
                gigabytes = np.prod(shape, dtype=float) * part.dtype.itemsize / 2**30
                raise UserError(
                    f"a photo of {size[1]}x{size[0]} becomes {shape[1]}x{shape[0]}, {gigabytes:.1f} GiB, more than "
                    "there is memory for: give a part of it"
                ) from None
        whole[name][there] = part[here]
