"""Where a heat-map is highest, to less than a cell. Places are (x, y) in cells."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Finer = Literal["fit", "quarter", "none"]
Places = Float[Array | np.ndarray, "*n 2"]
LEAST = 1e-6  # what logarithms are taken of at least


def cells(pixels: Places, stride: int) -> Places:
    """Places in pixels as places on a map with one cell for stride x stride pixels, the first cell on the first."""
    return (pixels + 0.5) / stride - 0.5


def pixels(cells: Places, stride: int) -> Places:
    """The inverse of `cells`."""
    return (cells + 0.5) * stride - 0.5


def peaks(maps: Float[Array, "b h w k"], finer: Finer = "fit") -> tuple[Float[Array, "b k 2"], Float[Array, "b k"]]:
    """((x, y) of each map's highest cell, made finer, and its value); of equal cells the first, row by row.

    "fit" puts a parabola through the logarithms of the cell and its neighbours along each axis, which is exact for a
    Gaussian; "quarter" moves by 1/4 towards the higher neighbour, as Newell, Yang & Deng, ECCV 2016, do. Neither moves
    by more than half a cell, nor along an axis on whose border the cell lies.
    """
    b, h, w, k = maps.shape
    at = jnp.argmax(maps.reshape(b, h * w, k), 1)
    places, values = _around(maps, at[:, None], finer)
    return places[:, 0], values[:, 0]


def local_peaks(
    maps: Float[Array, "b h w k"], count: int, least: float, finer: Finer = "fit"
) -> tuple[Float[Array, "b n k 2"], Float[Array, "b n k"]]:
    """((x, y) of each map's `count` highest local peaks, made finer as by `peaks`, and their values), highest first.

    A local peak is above `least`, no lower than its 8 neighbours, and higher than those of them that come before it
    row by row, so that two equal neighbours are one. Where there are fewer, the rest has value 0 and any place.
    """
    b, h, w, k = maps.shape
    around = jnp.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    shifts = [(dy, dx) for dy in range(3) for dx in range(3)]
    near = [around[:, dy : dy + h, dx : dx + w] for dy, dx in shifts]
    before, after = jnp.stack(near[:4]).max(0), jnp.stack(near[5:]).max(0)
    value = jnp.where((maps > before) & (maps >= after) & (maps > least), maps, -jnp.inf)
    most = min(count, h * w)
    top, at = jax.lax.top_k(value.reshape(b, h * w, k).swapaxes(1, 2), most)  # [b, k, n]
    places, values = _around(maps, at.swapaxes(1, 2), finer)
    values = jnp.where(jnp.isfinite(top.swapaxes(1, 2)), values, 0)
    rest = count - most
    return jnp.pad(places, ((0, 0), (0, rest), (0, 0), (0, 0))), jnp.pad(values, ((0, 0), (0, rest), (0, 0)))


def _around(maps, at, finer):
    """(places, made finer, values) of the cells numbered `at` [b, n, k], row by row."""
    b, h, w, k = maps.shape
    flat = maps.reshape(b, h * w, k)
    y, x = at // w, at % w
    value = jnp.take_along_axis(flat, at, 1)

    def cell(dy, dx):
        index = jnp.clip(y + dy, 0, h - 1) * w + jnp.clip(x + dx, 0, w - 1)
        return jnp.take_along_axis(flat, index, 1)

    def move(before, after, n, index):
        if finer == "none":
            return 0.0
        if finer == "quarter":
            by = 0.25 * jnp.sign(after - before)
        else:
            low, middle, high = (jnp.log(jnp.maximum(v, LEAST)) for v in (before, value, after))
            bend = low - 2 * middle + high
            by = jnp.where(bend < 0, (low - high) / jnp.where(bend < 0, 2 * bend, 1), 0)
        return jnp.where((index > 0) & (index < n - 1), jnp.clip(by, -0.5, 0.5), 0)

    finer_x, finer_y = x + move(cell(0, -1), cell(0, 1), w, x), y + move(cell(-1, 0), cell(1, 0), h, y)
    return jnp.stack([finer_x, finer_y], -1).astype(jnp.float32), value
