"""Soft edge maps to lines of one pixel: non-maximum suppression and thinning, as boundaries are scored.

Suppression is that of Dollár & Zitnick, "Fast Edge Detection Using Structured Forests", TPAMI 2015, and its toolbox
(edgesDetect, edgesNmsMex); thinning is Guo & Hall, "Parallel Thinning with Two-Subiteration Algorithms", CACM 1989,
which MATLAB's bwmorph calls "thin".
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Shaped
from scipy.ndimage import correlate1d

from pixlab.errors import UserError

NORMAL_BLUR = 4  # pixels: the triangle's radius under the direction
_RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))  # (row, column), clockwise from above


def triangle_blur(image: Shaped[np.ndarray, "h w"], radius: int) -> Float64[np.ndarray, "h w"]:
    """Means with weights 1, 2, ..., radius + 1, ..., 2, 1 along rows and columns; the picture is mirrored outside."""
    weights = np.minimum(np.arange(1, 2 * radius + 2), np.arange(2 * radius + 1, 0, -1)) / (radius + 1) ** 2
    for axis in (0, 1):
        image = correlate1d(np.asarray(image, np.float64), weights, axis, mode="reflect")
    return np.asarray(image, np.float64)


def edge_normal(edges: Shaped[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
    """Direction across the edge at each pixel, in radians from 0 to pi: 0 along a row, pi / 2 along a column.

    From second differences of the map blurred by a triangle of radius 4, by the toolbox's formula. For the tangent of a
    ridge's normal it takes the square with its sign: exact at multiples of 45 degrees, up to 13 off between them. Where
    the mixed difference is exactly 0 the toolbox takes any ridge for an upright one; here one along a row stays so.
    """
    dy, dx = np.gradient(triangle_blur(edges, NORMAL_BLUR))
    dxx = np.gradient(dx, axis=1)
    dyy, dxy = np.gradient(dy)
    return np.mod(np.arctan(dyy * np.where(dxy > 0, -1, 1) / (dxx + 1e-5)), np.pi)


def suppress_non_maxima(
    edges: Shaped[np.ndarray, "h w"], *, blur: int = 1, radius: int = 1, border: int = 5, multiplier: float = 1.01
) -> Float64[np.ndarray, "h w"]:
    """The edge map [h, w] in [0, 1], blurred by a triangle of radius `blur`, where no edge beside it is stronger.

    A pixel becomes 0 if, `multiplier` times, it is below the map at 1, ..., `radius` pixels along `edge_normal` on
    either side (bilinear). Within `border` pixels of the frame edges fade to 0. The blur is part of the scores that
    papers report, which set it to 1. Raises UserError for a map of less than 2x2 pixels.
    """
    height, width = edges.shape
    if min(height, width) < 2:
        raise UserError(f"an edge map of {height}x{width} pixels has no edges: take one of at least 2x2")
    soft = triangle_blur(edges, blur)
    normal = edge_normal(soft)
    rows, columns = np.nonzero(soft)
    strength, angle = soft[rows, columns], normal[rows, columns]
    kept = np.ones(len(rows), bool)
    for step in (s for s in range(-radius, radius + 1) if s):
        beside = _bilinear(soft, rows + step * np.sin(angle), columns + step * np.cos(angle))
        kept &= multiplier * strength >= beside
    thin = np.zeros_like(soft)
    thin[rows[kept], columns[kept]] = strength[kept]
    fade = min(border, height // 2, width // 2)
    if fade:
        down, across = (np.minimum(np.minimum(np.arange(n), np.arange(n)[::-1]) / fade, 1) for n in (height, width))
        thin *= down[:, None] * across[None]
    return thin


def thin_lines(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Thin a binary map [h, w] until nothing changes: lines of one pixel, connected (8 neighbours) as before."""
    width = mask.shape[1] + 2
    flat = np.pad(mask, 1).ravel()
    ring = np.array([row * width + column for row, column in _RING])
    left = np.flatnonzero(flat)
    while True:
        before = len(left)
        for removed in _REMOVED:
            code = flat[left[:, None] + ring[None]] @ (1 << np.arange(8))
            flat[left[removed[code]]] = False
            left = left[~removed[code]]
        if len(left) == before:
            return flat.reshape(-1, width)[1:-1, 1:-1].copy()


def _removed(second: bool) -> Bool[np.ndarray, " 256"]:
    """Which of the 256 neighbourhoods, bit k for _RING[k], a subiteration takes the pixel from."""
    n = (np.arange(256)[:, None] >> np.arange(8)[None] & 1).astype(bool)
    follow, after = np.roll(n, -1, 1), np.roll(n, -2, 1)
    crossings = (~n & (follow | after))[:, ::2].sum(1)
    pairs = n | follow
    fewest = np.minimum(pairs[:, ::2].sum(1), pairs[:, 1::2].sum(1))
    north, north_east, east, south_east, south, south_west, west, north_west = n.T
    if second:
        held = (south | south_west | ~north_west) & west
    else:
        held = (north | north_east | ~south_east) & east
    return (crossings == 1) & (fewest >= 2) & (fewest <= 3) & ~held


_REMOVED = (_removed(False), _removed(True))


def _bilinear(image, y, x):
    """Values of [h, w] at rows y and columns x, held inside the picture as the toolbox holds them."""
    height, width = image.shape
    y, x = np.clip(y, 0, height - 1.001), np.clip(x, 0, width - 1.001)
    top, left = y.astype(int), x.astype(int)
    down, right = y - top, x - left
    above = image[top, left] * (1 - right) + image[top, left + 1] * right
    below = image[top + 1, left] * (1 - right) + image[top + 1, left + 1] * right
    return above * (1 - down) + below * down
