"""Sums with a Gaussian kernel over points of many dimensions: the permutohedral lattice of Adams, Baek & Davis,
Computer Graphics Forum 29(2), 2010, as Krähenbühl & Koltun, NIPS 2011 (arXiv 1210.5644), use it.

Deviations: the lattice is found by sorting instead of hashing; sums are scaled so that the kernel of a point with
itself is 1 in the mean.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from pixlab.errors import UserError

ROW = 8  # points that a vertex sums at a time: adding them to vertices one by one takes CPUs four times as long


class Lattice(NamedTuple):
    """Where n points of d dimensions lie among m - 1 vertices and one that stays empty, the last.

    `vertices` and `weights` are the corners of each point's simplex and its barycentric coordinates there. `points`
    and `shares` are the same the other way round: rows of up to 8 points and their weights, each row of the vertex
    `owner`, owners ascending. `neighbours` holds the vertex a step ahead and a step back along each of the d + 1 axes.
    """

    vertices: Int[Array | np.ndarray, "n d+1"]
    weights: Float[Array | np.ndarray, "n d+1"]
    points: Int[Array | np.ndarray, "r 8"]
    shares: Float[Array | np.ndarray, "r 8"]
    owner: Int[Array | np.ndarray, "r"]  # noqa: UP037
    neighbours: Int[Array | np.ndarray, "d+1 2 m"]
    scale: Float[Array | np.ndarray, ""]


def permutohedral_lattice(features: Float[np.ndarray, "n d"]) -> Lattice:
    """The lattice of points whose kernel is exp(-|f_i - f_j|^2 / 2): divide coordinates by their sigma before.

    Runs in NumPy, outside jit. Numbers of vertices and rows are rounded up, with empty ones, so that images of one
    size mostly share a compiled program. Raises UserError for points that lie too far apart to be numbered.
    Adams et al. 2010, section 3.
    """
    n, d = features.shape
    base, rank, weights = _simplices(features)
    base -= base.min(0) - 1  # a step back from the first is no number of another
    spans = base.max(0) + 3
    if (d + 1) * np.prod(spans.astype(np.float64)) > 2**62:
        raise UserError("points are too many sigmas apart for a permutohedral lattice: take larger sigmas")
    strides = np.cumprod([d + 1, *spans[:-1]])
    corner = np.arange(d + 1)
    numbers = (base @ strides)[:, None] + corner
    for k in corner[1:]:
        numbers[:, k] -= (rank[:, :d] > d - k) @ strides

    order = np.argsort(numbers, axis=None)
    ordered = numbers.ravel()[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    known, counts = ordered[first], np.diff(first, append=len(ordered))
    m = _rounded(len(known) + 1)
    vertex = np.repeat(np.arange(len(known), dtype=np.int32), counts)
    vertices = np.empty((n, d + 1), np.int32)
    vertices.ravel()[order] = vertex

    rows = -(-counts // ROW)
    r = _rounded(rows.sum())
    place = (np.cumsum(rows) - rows)[vertex] * ROW + np.arange(len(order)) - first[vertex]
    points, shares = np.zeros((r, ROW), np.int32), np.zeros((r, ROW), np.float32)
    points.ravel()[place], shares.ravel()[place] = order // (d + 1), weights.ravel()[order]
    owner = np.full(r, m - 1, np.int32)
    owner[: rows.sum()] = np.repeat(np.arange(len(known)), rows)

    scale = np.float32(n / np.einsum("na,ab,nb", weights, _responses(d), weights, optimize=True))
    return Lattice(vertices, weights, points, shares, owner, _neighbours(known, strides, m), scale)


def lattice_sums(lattice: Lattice, values: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """About sum_j exp(-|f_i - f_j|^2 / 2) values_j for the lattice's points, i itself among the j.

    Splat onto the vertices, blur by [1 2 1] / 4 along each axis, slice. Adams et al. 2010, section 3.2.
    """
    c, m = values.shape[1], lattice.neighbours.shape[2]

    def gathered(table, index, weights):
        columns = range(index.shape[1])
        return sum(weights[:, k, None] * table.at[index[:, k]].get(mode="promise_in_bounds") for k in columns)

    rows = gathered(values, lattice.points, lattice.shares)
    splat = jnp.zeros((m, c), values.dtype).at[lattice.owner].add(rows, indices_are_sorted=True)

    def blur(x, neighbours):
        ahead, back = (x.at[index].get(mode="promise_in_bounds") for index in neighbours)
        return 0.5 * x + 0.25 * (ahead + back), None

    blurred, _ = lax.scan(blur, splat, jnp.asarray(lattice.neighbours))
    return lattice.scale * gathered(blurred, lattice.vertices, lattice.weights)


def _simplices(features):
    """Each point's simplex: its first vertex over d + 1, without the last coordinate [n, d]; the rank of its
    coordinates' remainders, the greatest 0 [n, d + 1]; its barycentric coordinates [n, d + 1]."""
    d = features.shape[1]
    plane = np.zeros((d, d + 1))  # an orthonormal basis of the plane where d + 1 coordinates sum to 0
    for i in range(d):
        plane[i, : i + 1], plane[i, i + 1] = 1, -(i + 1)
        plane[i] /= np.sqrt((i + 1) * (i + 2))
    # splat, blur and slice have the variance 2/3 (d + 1)^2
    lifted = features.astype(np.float32) @ (np.sqrt(2 / 3) * (d + 1) * plane).astype(np.float32)
    base = np.rint(lifted / (d + 1)).astype(np.int64)
    order = np.argsort(base * (d + 1) - lifted, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(d + 1)[None], 1)
    rank += base.sum(1, keepdims=True)  # rounding may leave the plane: walk back to it
    wrap = (rank < 0).astype(np.int64) - (rank > d)
    rank += (d + 1) * wrap
    base += wrap
    ascending = np.empty_like(lifted)
    np.put_along_axis(ascending, d - rank, lifted / (d + 1) - base, 1)
    weights = np.diff(ascending, axis=1, prepend=ascending[:, -1:] - 1)
    return base[:, :d], rank, weights.astype(np.float32)


def _neighbours(known, strides, m):
    """Vertices a step ahead and back along every axis [d + 1, 2, m]; the empty vertex m - 1 where there is none."""
    d = len(strides)
    corner = known % (d + 1)
    # a step adds 1 to all coordinates, which makes corner k corner k + 1, and takes d + 1 from that of the axis
    on = known + np.where(corner == d, strides.sum() - d, 1)
    found = np.full((d + 1, 2, m), m - 1, np.int32)
    for axis, stride in enumerate([*strides, 0]):  # the last coordinate is not numbered: it follows from the others
        ahead = on - stride
        at = np.searchsorted(known, ahead)
        at[at == len(known)] = 0
        there = np.flatnonzero(known[at] == ahead)
        found[axis, 0, there] = at[there]
        found[axis, 1, at[there]] = there
    return found


def _responses(d):
    """What the blur carries from corner a of a simplex to corner b [d + 1, d + 1]: they are |a - b| steps along as
    many axes apart, which are the other steps backwards as well, for a step along every axis leads home."""
    apart = np.abs(np.subtract.outer(np.arange(d + 1), np.arange(d + 1)))
    return 0.5 ** (d + 1 + apart) + 0.5 ** (2 * (d + 1) - apart) + np.where(apart == 0, 0.25 ** (d + 1), 0)


def _rounded(count):
    """Up to four leading binary digits: at most an eighth more."""
    step = 2 ** max(0, int(count).bit_length() - 4)
    return int(-(-count // step) * step)
