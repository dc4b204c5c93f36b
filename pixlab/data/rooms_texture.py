"""Textures of the procedural rooms: brick, planks, tiles, stripes, wood, fabric, pictures and a view from the window.

Everything is computed with operations that IEEE 754 rounds exactly (+ - * / floor min max) and integer hashing, so
that a texture is the same bits on every machine. Patterns are box-filtered to the footprint of a pixel.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt

PLAIN, BRICK, PLANKS, TILES, STRIPES, DOTS, PICTURE, SKY = range(8)

Colour = tuple[float, float, float]


class Material(NamedTuple):
    """What a surface looks like. Lengths in metres on the surface (u, v), colours are linear reflectances in [0, 1]."""

    kind: int  # one of PLAIN ... SKY
    colour: Colour
    second: Colour  # mortar, gaps, the other stripe ...
    cell: tuple[float, float] = (1.0, 1.0)  # one brick, board, tile, period of stripes; the whole surface for pictures
    grain: tuple[float, float] = (0.1, 0.1)  # cell of the noise; unequal sides give wood grain
    mottle: float = 0.15  # relative strength of the noise
    vary: float = 0.0  # relative spread of brightness from brick to brick, board to board
    gap: float = 0.004  # half the width of mortar and gaps
    seed: int = 0
    glow: float = 0.0  # light that the surface gives off, relative to its colour


def hash01(
    x: Int[np.ndarray, " n"], y: Int[np.ndarray, " n"], seed: UInt[np.ndarray, " n"] | int
) -> Float[np.ndarray, " n"]:
    """A number in [0, 1) for each lattice point and seed: 32-bit multiply-xorshift mixing, exact on every machine."""
    h = x.astype(np.uint32) * np.uint32(0x9E3779B1) ^ y.astype(np.uint32) * np.uint32(0x85EBCA77)
    h ^= np.asarray(seed, np.uint32) * np.uint32(0xC2B2AE3D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return h * (1.0 / 4294967296.0)


def value_noise(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], seed: UInt[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Value noise in [-1, 1]: hashed lattice values, interpolated with 3t^2 - 2t^3; coordinates in lattice cells."""
    x0, y0 = np.floor(x), np.floor(y)
    fx, fy = x - x0, y - y0
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    ix, iy = x0.astype(np.int64), y0.astype(np.int64)
    v00, v10 = hash01(ix, iy, seed), hash01(ix + 1, iy, seed)
    v01, v11 = hash01(ix, iy + 1, seed), hash01(ix + 1, iy + 1, seed)
    low, high = v00 + fx * (v10 - v00), v01 + fx * (v11 - v01)
    return 2 * (low + fy * (high - low)) - 1


def fade(cell, footprint):
    """1 where a cell is well resolved, 0 where a pixel covers more than one and a half."""
    return np.clip(1.5 - footprint / cell, 0, 1)


def line(distance, half_width, footprint):
    """Share of a pixel (box filter) that a line covers, seen at `distance` from its middle; all in metres."""
    reach = 0.5 * footprint
    cover = np.minimum(half_width, distance + reach) - np.maximum(-half_width, distance - reach)
    return np.clip(cover / footprint, 0, 1)


def grid(u, v, cell_u, cell_v, gap, footprint, shift):
    """Cells of a wall of bricks: (column, row, share of the pixel that is gap); odd rows move by `shift` cells."""
    row = np.floor(v / cell_v)
    across = u / cell_u + shift(row.astype(np.int64))
    column = np.floor(across)
    fu, fv = across - column, v / cell_v - row
    du, dv = np.minimum(fu, 1 - fu) * cell_u, np.minimum(fv, 1 - fv) * cell_v
    wide, tall = np.minimum(footprint, cell_u), np.minimum(footprint, cell_v)
    gaps = np.maximum(line(du, gap, wide), line(dv, gap, tall))
    return column.astype(np.int64), row.astype(np.int64), gaps


class Textures:
    """A table of materials, evaluated for many surface points at once."""

    def __init__(self, materials: list[Material]):
        self.kind = np.array([m.kind for m in materials])
        self.colour = np.array([m.colour for m in materials], np.float64).T
        self.second = np.array([m.second for m in materials], np.float64).T
        self.scalar = np.array([(*m.cell, *m.grain, m.mottle, m.vary, m.gap, m.glow) for m in materials], np.float64).T
        self.seed = np.array([m.seed for m in materials], np.uint32)

    def __call__(
        self,
        index: Int[np.ndarray, " n"],
        u: Float[np.ndarray, " n"],
        v: Float[np.ndarray, " n"],
        footprint: Float[np.ndarray, " n"],
    ) -> tuple[Float[np.ndarray, "3 n"], Float[np.ndarray, " n"]]:
        """Reflectance and glow of points (u, v) metres of materials `index`; `footprint` is a pixel's size."""
        cell_u, cell_v, grain_u, grain_v, mottle, vary, gap, glow = self.scalar[:, index]
        seed, kind = self.seed[index], self.kind[index]
        coarse = value_noise(u / grain_u, v / grain_v, seed) * fade(np.minimum(grain_u, grain_v), footprint)
        fine_u, fine_v = 0.37 * grain_u, 0.37 * grain_v
        fine = value_noise(u / fine_u, v / fine_v, seed + np.uint32(1)) * fade(np.minimum(fine_u, fine_v), footprint)
        bright = 1 + mottle * (0.6 * coarse + 0.4 * fine)
        mix = np.zeros_like(u)  # how much of the second colour

        def part(*kinds):
            at = np.flatnonzero(functools.reduce(np.logical_or, [kind == k for k in kinds]))
            return at, u[at], v[at], cell_u[at], cell_v[at], footprint[at]

        at, pu, pv, cu, cv, f = part(BRICK, PLANKS, TILES)
        if at.size:
            k, s = kind[at], seed[at]

            def shift(row):
                # bricks: half a brick on odd rows; boards: any amount, board by board; tiles: none
                return np.where(k == BRICK, 0.5 * (row & 1), np.where(k == PLANKS, hash01(row, row, s), 0.0))

            column, row, mix[at] = grid(pu, pv, cu, cv, gap[at], f, shift)
            tone = 2 * hash01(column, row, s + np.uint32(2)) - 1
            checker = np.where(k == TILES, ((column + row) & 1) - 0.5, 0.0)
            bright[at] *= 1 + vary[at] * fade(np.minimum(cu, cv), f) * (tone + checker)
        at, pu, pv, cu, cv, f = part(STRIPES)
        if at.size:
            phase = pu / cu - np.floor(pu / cu)
            mix[at] = line(np.abs(phase - 0.5) * cu, 0.25 * cu, np.minimum(f, cu))
        at, pu, pv, cu, cv, f = part(DOTS)
        if at.size:
            row = np.floor(pv / cv)
            across = pu / cu + 0.5 * (row.astype(np.int64) & 1)
            du, dv = (across - np.floor(across) - 0.5) * cu, (pv / cv - row - 0.5) * cv
            radius = 0.25 * cu
            edge = np.clip(0.5 + (radius - np.sqrt(du * du + dv * dv)) / f, 0, 1)
            fading = fade(cu, f)
            mix[at] = edge * fading + 0.2 * (1 - fading)
        colour = self.colour[:, index]
        colour = (colour + mix * (self.second[:, index] - colour)) * bright
        at, pu, pv, cu, cv, f = part(PICTURE)
        if at.size:
            colour[:, at] = self.painting(index[at], pu / cu, pv / cv)
        at, pu, pv, cu, cv, f = part(SKY)
        if at.size:
            colour[:, at] = self.view(index[at], pu, pv / cv, coarse[at])
        return np.clip(colour, 0.0, 1.0), glow

    def painting(self, index, x, y):
        """An abstract picture on the unit square: a horizon, blobs and a bar, in colours that the seed chooses."""
        seed, one = self.seed[index], np.ones(index.shape, np.int64)
        ground, figure = self.colour[:, index], self.second[:, index]
        bumps = value_noise(3 * x, 3 * y, seed) + 0.5 * value_noise(7 * x, 7 * y, seed + np.uint32(1))
        horizon = 0.25 + 0.5 * hash01(one, 0 * one, seed)
        out = np.where(y < horizon + 0.08 * bumps, 0.55 * ground, ground)
        out = np.where(bumps > 0.35 + 0.4 * hash01(one, 2 * one, seed), figure, out)
        bar = hash01(one, 3 * one, seed)
        third = np.stack([hash01(one, (4 + c) * one, seed) for c in range(3)])
        return np.where((x > bar) & (x < bar + 0.15) & (y > 0.2), third, out)

    def view(self, index, u, y, clouds):
        """What a window shows: ground, trees up to a ragged line, then a sky that pales towards the horizon."""
        trees = 0.3 + 0.08 * value_noise(u / 0.13, 0 * u, self.seed[index])
        sky = self.colour[:, index]
        sky = sky + (0.97 - sky) * np.clip(0.7 - 0.6 * y + 0.35 * clouds, 0, 1)
        return np.where(y < trees, self.second[:, index] * (1 + 0.4 * clouds), sky)
