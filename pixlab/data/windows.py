"""All windows of a small set of photos, as super-resolution's first papers cut them."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pixlab.data.degrade import Kind, modcrop, seen, truth
from pixlab.data.pipeline import Example, Readable, Source
from pixlab.errors import UserError
from pixlab.nn.imresize import imresize_uint8


@dataclasses.dataclass(frozen=True)
class Cut:
    """How windows are cut. Lengths are pixels of what the network sees."""

    size: int  # rows and columns
    stride: int
    border: int = 0  # pixels of high resolution that the truth lacks on each side, for networks that do not pad
    downsizes: tuple[float, ...] = (1.0,)  # factors that each photo is brought to first, by bicubic interpolation
    turns: bool = False  # turned by 0, 90, 180 or 270 degrees at random
    flips: bool = False  # mirrored at random


class Pair(NamedTuple):
    """A photo, as it is shrunk first and then degraded."""

    photo: int
    downsize: float
    scale: int
    rows: int  # of windows
    columns: int


class Windows:
    """The windows of photos: "image" float32 [n, n, c] in [0, 1], and the truth "high" uint8 [m, m, c].

    What the network sees is made of whole photos, which are kept in memory, when the first of their windows is read;
    then a window is a slice. A photo that is smaller than a window has none: `left_out` counts them. Raises UserError
    where no photo has any.
    """

    def __init__(self, photos: Source, cut: Cut, scales: Sequence[int], kind: Kind):
        if len(scales) > 1 and kind != "enlarged":
            raise UserError("windows of several scales have one size only where the network sees photos enlarged again")
        readable = Readable(photos)
        self._cut, self._kind, self._pairs, self._ready = cut, kind, [], {}
        self._photos = [readable[i] for i in range(len(photos))]
        used = set()
        for number, photo in enumerate(self._photos):
            for downsize, scale in itertools.product(cut.downsizes, scales):
                unit = 1 if kind == "enlarged" else scale
                sizes = (int(np.ceil(n * downsize - 1e-9)) // scale * scale // unit for n in photo["image"].shape[:2])
                rows, columns = (max(0, (n - cut.size) // cut.stride + 1) for n in sizes)
                if rows and columns:
                    self._pairs.append(Pair(number, downsize, scale, rows, columns))
                    used.add(number)
        self._ends = list(itertools.accumulate(pair.rows * pair.columns for pair in self._pairs))
        self.left_out = len(self._photos) - len(used)
        if not self._pairs:
            side = cut.size * (1 if kind == "enlarged" else min(scales))
            raise UserError(f"none of the {len(photos)} photos has {side}x{side} pixels, which a window takes")

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = bisect.bisect_right(self._ends, index)
        pair, cut = self._pairs[which], self._cut
        first = self._ends[which] - pair.rows * pair.columns
        row, column = (n * cut.stride for n in divmod(index - first, pair.columns))
        image, high = self._ready.get(which) or self._degraded(which)
        unit = 1 if self._kind == "enlarged" else pair.scale
        top, left, side = row * unit + cut.border, column * unit + cut.border, cut.size * unit - 2 * cut.border
        return {
            "image": image[row : row + cut.size, column : column + cut.size],
            "high": high[top : top + side, left : left + side],
        }

    def _degraded(self, which: int) -> tuple[np.ndarray, np.ndarray]:
        """What is seen and the truth of a whole photo; several threads at once come to the same."""
        pair = self._pairs[which]
        photo = self._photos[pair.photo]
        if pair.downsize != 1:
            photo = photo | {"image": imresize_uint8(photo["image"], pair.downsize)}
        high = np.ascontiguousarray(modcrop(truth(photo, self._kind), pair.scale))
        self._ready[which] = done = seen(high, pair.scale, self._kind).astype(np.float32), high
        return done

    def record_name(self, index: int) -> str:
        """What to call a window in messages."""
        return f"window {index} of {len(self)}"


def whole(window: Example) -> Example:
    """The window as an example: "image" and "high" float32 in [0, 1]."""
    return {"image": window["image"], "high": window["high"].astype(np.float32) / np.float32(255)}


def turned(window: Example, rng: np.random.Generator, *, turns: bool, flips: bool) -> Example:
    """The window as an example, turned by a multiple of 90 degrees and mirrored at random, image and truth alike.

    Each call draws the same number of random numbers.
    """
    quarters, mirror = rng.integers(4) * turns, rng.integers(2) * flips
    window = {name: np.rot90(x, quarters)[:, :: -1 if mirror else 1] for name, x in window.items()}
    return {name: np.ascontiguousarray(x) for name, x in whole(window).items()}
