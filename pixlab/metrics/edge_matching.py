"""Which pixels of two maps of boundaries are the same boundary: Martin, Fowlkes & Malik, "Learning to Detect Natural
Image Boundaries Using Local Brightness, Color, and Texture Cues", TPAMI 2004 (correspondPixels).

Each pixel pairs with at most one of the other map, no further than a distance; of all such pairings the one of least
cost is taken. Asking whether anything is near (dilation) is not the same: it lets one boundary excuse many.

The benchmark's program rounds distances to 1/100 pixel and lets a pixel stay alone only by a few partners drawn at
random (Goldberg & Kennedy's CSA solver), so that its counts may differ a little from one run to the next. Here
distances are exact and each pixel has a partner of its own that stands for staying alone.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

ALONE = 100  # what staying alone costs, in largest distances: the benchmark's
_BATCH = 2000  # allowed pairs solved together: the solver is slow on large problems, and slow to start on small ones


def match_edges(
    one: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"], distance: float
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The pixels of `one` and those of `other`, [h, w] both, that have a partner at most `distance` pixels away.

    Pairs are one to one and minimise the sum of distances plus 100 `distance` for each pair that is missing: in
    practice as many pairs as can be, and of those the nearest. Which of several best pairings is taken is not defined.
    """
    matched = np.zeros(2 * one.size, bool)  # a pixel's number is its place, plus the map's size in `other`
    for rows, columns, apart in _problems(*_near(one, other, distance), one.size):
        for pixels in _pairs(rows, columns, apart, ALONE * distance):
            matched[pixels] = True
    return tuple(matched.reshape(2, *one.shape))


def _near(one, other, distance):
    """All pairs of pixels at most `distance` apart, as their numbers, and how far apart they are."""
    reach = max(int(distance), 0)
    offsets = np.argwhere(np.ones((2 * reach + 1,) * 2)) - reach
    length = np.hypot(*offsets.T)
    offsets, length = offsets[length <= distance], length[length <= distance]
    numbers = np.pad(np.where(one, np.arange(one.size).reshape(one.shape), -1), reach, constant_values=-1)
    rows, columns = np.nonzero(other)
    width = numbers.shape[1]
    beside = numbers.ravel()[((rows + reach) * width + columns + reach)[:, None] + (offsets @ [width, 1])[None]]
    pixel, offset = np.nonzero(beside >= 0)
    second = one.size + rows * one.shape[1] + columns
    return beside[pixel, offset], second[pixel], length[offset]


def _problems(first, second, apart, size):
    """The allowed pairs in batches of whole connected parts, row by row; a part's rows are its side of fewer pixels."""
    if not len(first):
        return
    nodes, (first, second) = np.unique(np.stack([first, second]), return_inverse=True)
    links = coo_matrix((np.ones(len(first), bool), (first, second)), shape=(len(nodes),) * 2)
    part = connected_components(links, directed=False)[1]
    more_of_one = np.bincount(part, np.where(nodes < size, 1, -1)) > 0
    swap = more_of_one[part[first]]
    rows, columns = np.where(swap, second, first), np.where(swap, first, second)
    order = np.lexsort((rows, part[rows]))
    pairs = np.bincount(part[rows])
    batch = ((np.cumsum(pairs) - pairs) // _BATCH)[part[rows[order]]]
    for at in np.split(order, np.flatnonzero(np.diff(batch)) + 1):
        yield nodes[rows[at]], nodes[columns[at]], apart[at]


def _pairs(
    rows: Int[np.ndarray, " n"], columns: Int[np.ndarray, " n"], apart: Float64[np.ndarray, " n"], alone: float
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Rows and columns of the pairing of least cost, out of the allowed pairs; equal rows follow one another."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    few, ends = len(starts), np.append(starts[1:], len(rows))
    names, column = np.unique(columns, return_inverse=True)
    # each row's last column is its own partner for staying alone; 1 is added since a cost of 0 would be no pair
    indices = np.insert(column, ends, len(names) + np.arange(few))
    cost = np.insert(apart, ends, alone) + 1
    allowed = csr_matrix((cost, indices, np.append(0, ends + np.arange(1, few + 1))), shape=(few, len(names) + few))
    row, column = min_weight_full_bipartite_matching(allowed)
    real = column < len(names)
    return rows[starts][row[real]], names[column[real]]
