"""Colours as classes: the 313 bins that the a and b of CIE Lab fall into, and the way from them back to a and b.

Zhang, Isola & Efros, "Colorful Image Colorization", ECCV 2016 (arXiv 1603.08511), sections 2.2 and 2.3. The bins are
the points of a grid of step 10 that the authors count as inside the colours of sRGB; which those are follows from no
rule that is known here, so they are a table.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

STRIDE = 4  # pixels from one cell, whose colour is a class, to the next
GREY = 5.0  # a colour without a larger |a| or |b| is none
LEAST = 1e-9  # what a prior gives to any bin at least: rarer, and float32 has no inverse of it
STEP = 10  # units of a and b from one bin to the next
LIMITS = {  # a: the smallest and the largest b
    -90: (50, 90), -80: (20, 90), -70: (0, 90), -60: (-20, 90), -50: (-30, 100), -40: (-40, 100), -30: (-50, 100),
    -20: (-50, 100), -10: (-60, 100), 0: (-70, 100), 10: (-80, 90), 20: (-80, 90), 30: (-90, 90), 40: (-100, 90),
    50: (-100, 80), 60: (-110, 80), 70: (-110, 80), 80: (-110, 70), 90: (-110, 70), 100: (-90, 0),
}  # fmt: skip
AB_BINS = np.array([(a, b) for a, (low, high) in LIMITS.items() for b in range(low, high + STEP, STEP)], np.float32)
"""float32 [313, 2]: a and b of each bin, in the order of the authors' file."""
BINS = len(AB_BINS)
GREY_BIN = int(np.flatnonzero((AB_BINS == 0).all(-1))[0])

CELL, REACH = 5, 120  # the plane of a and b, from -REACH to REACH, in cells of this side, for the search below


@functools.cache
def candidates(count: int) -> np.ndarray:
    """int32 [cells, cells, n]: for each cell of the plane of a and b every bin that is among the `count` nearest ones
    of any of its points; shorter lists are filled up with the bins that come next."""
    middle = np.arange(-REACH, REACH, CELL) + CELL / 2
    places = np.stack(np.meshgrid(middle, middle, indexing="ij"), -1)
    distance = np.linalg.norm(places[:, :, None] - AB_BINS, axis=-1)
    order = np.argsort(distance, axis=-1, kind="stable")
    ranked = np.take_along_axis(distance, order, axis=-1)
    reach = ranked[..., count - 1 : count] + CELL * 2**0.5  # a point lies half a diagonal from the middle
    return order[..., : (ranked <= reach + 1e-6).sum(-1).max()].astype(np.int32)


def nearest_bins(ab: Float[Array, "*n 2"], count: int) -> tuple[Int[Array, "*n {count}"], Float[Array, "*n {count}"]]:
    """The `count` nearest bins of each a, b, nearest first, and their squared distances. Between -120 and 120 the
    search is exact; no colour of sRGB lies outside."""
    table = candidates(count)
    cell = jnp.clip(jnp.floor((ab + REACH) / CELL).astype(jnp.int32), 0, len(table) - 1)
    near = jnp.asarray(table)[cell[..., 0], cell[..., 1]]
    away = jnp.asarray(AB_BINS, ab.dtype)[near] - ab[..., None, :]
    negative, place = jax.lax.top_k(-(away**2).sum(-1), count)
    return jnp.take_along_axis(near, place, axis=-1), -negative


def nearest_bin(ab: Float[Array, "*n 2"]) -> Int[Array, "*n"]:
    """The bin that a, b falls into."""
    return nearest_bins(ab, 1)[0][..., 0]


def soft_encode(
    ab: Float[Array, "*n 2"], neighbours: int = 10, sigma: float = 5.0
) -> tuple[Int[Array, "*n k"], Float[Array, "*n k"]]:
    """The `neighbours` nearest bins of each a, b, nearest first, and their weights, a Gaussian of the distance with
    deviation `sigma` in units of a and b; they sum to 1. (The paper says 5 neighbours; its code takes 10, and the
    authors call the 5 a misprint.)"""
    bins, squared = nearest_bins(ab, neighbours)
    return bins, jax.nn.softmax(-squared / (2 * sigma**2))


def annealed_mean(logits: Float[Array, "*n 313"], temperature: float) -> Float[Array, "*n 2"]:
    """a, b from scores of the bins: their mean under softmax(logits / temperature), equation 5. Temperature 1 is the
    mean, 0 the most likely bin; the paper's is 0.38."""
    bins = jnp.asarray(AB_BINS, logits.dtype)
    if temperature == 0:
        return bins[jnp.argmax(logits, axis=-1)]
    below = logits - logits.max(axis=-1, keepdims=True)  # divided first, scores of low temperatures overflow
    return jnp.matmul(jax.nn.softmax(below / temperature), bins, precision=jax.lax.Precision.HIGHEST)


def smoothed(counts: np.ndarray, sigma: float = 5.0) -> np.ndarray:
    """Probabilities of the bins, float64 [313], from counts: each count is shared among the bins by a Gaussian of
    deviation `sigma` in units of a and b, and each bin gets one more than it was seen, so that none is impossible."""
    squared = ((AB_BINS[:, None].astype(np.float64) - AB_BINS[None]) ** 2).sum(-1)
    share = np.exp(-squared / (2 * sigma**2))
    spread = share / share.sum(axis=0) @ np.asarray(counts, np.float64) + 1
    return spread / spread.sum()
