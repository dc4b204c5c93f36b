"""How alike two partitions of pixels into segments are: Rand error, V_rand and variation of information, and the scores
of membranes at ISBI 2012.

Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics", Frontiers in
Neuroanatomy 2015; Rand, JASA 1971; Meila, Journal of Multivariate Analysis 2007. Pixels whose truth is 0, background,
do not count. Labels are names: only which pixels share one matters.

V_rand counts ordered pairs of pixels, a pixel with itself included, as the paper and TuragaLab's malis do;
scikit-image's adapted_rand_error leaves those out, which shows on tiny pictures alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer
from scipy.ndimage import generate_binary_structure, label
from scipy.sparse import coo_matrix, csr_matrix

from pixlab.errors import UserError

THRESHOLDS = tuple(k / 100 for k in range(1, 100))


class VRand(NamedTuple):
    """V_rand of two partitions, as fractions; 1 - score is the adapted Rand error."""

    score: float  # harmonic mean of the two
    split: float  # of pairs in one true segment, the part that stays together: falls when segments are split
    merge: float  # of pairs that the prediction has in one segment, the part that belongs together: falls with merges


class Information(NamedTuple):
    """Variation of information in bits: the sum is a distance between partitions."""

    split: float  # H(prediction | truth): grows when true segments are split
    merge: float  # H(truth | prediction): grows when true segments are merged


def overlap(truth: Integer[np.ndarray, "*size"], prediction: Integer[np.ndarray, "*size2"]) -> csr_matrix:
    """How many pixels each true segment (rows, without 0) shares with each predicted one (columns, with 0).

    Raises UserError for label maps of different sizes, or without any true segment.
    """
    if truth.shape != prediction.shape:
        raise UserError(f"truth {truth.shape} and prediction {prediction.shape}: compare label maps of one size")
    there = truth != 0
    if not there.any():
        raise UserError("the truth is background (0) everywhere: it needs at least one segment")
    (true, i), (found, j) = (np.unique(x[there], return_inverse=True) for x in (truth, prediction))
    table = coo_matrix((np.ones(len(i)), (i, j)), shape=(len(true), len(found)))
    table.sum_duplicates()
    return table.tocsr()


def rand_error(truth: Integer[np.ndarray, "*size"], prediction: Integer[np.ndarray, "*size2"]) -> float:
    """The part of all pairs of pixels that are together in one partition and apart in the other, as a fraction.

    0 for a single pixel, which has no pairs. Raises UserError as `overlap` does.
    """
    both, true, found = _squares(overlap(truth, prediction))
    pixels = np.count_nonzero(truth)
    return float((true + found - 2 * both) / max(pixels * (pixels - 1), 1))


def v_rand(truth: Integer[np.ndarray, "*size"], prediction: Integer[np.ndarray, "*size2"]) -> VRand:
    """V_rand: sums of squares of the overlaps, divided by those of the segments' sizes.

    Raises UserError as `overlap` does. Arganda-Carreras et al. 2015; what TuragaLab's malis returns as "split" divides
    by the prediction's sizes and is called merge here.
    """
    both, true, found = _squares(overlap(truth, prediction))
    return VRand(float(2 * both / (true + found)), float(both / true), float(both / found))


def adapted_rand_error(truth: Integer[np.ndarray, "*size"], prediction: Integer[np.ndarray, "*size2"]) -> float:
    """1 - the score of `v_rand`."""
    return 1 - v_rand(truth, prediction).score


def variation_of_information(
    truth: Integer[np.ndarray, "*size"], prediction: Integer[np.ndarray, "*size2"]
) -> Information:
    """Conditional entropies of the two partitions, in bits. Raises UserError as `overlap` does."""
    table = overlap(truth, prediction)
    whole = table.sum()
    joint, true, found = (_entropy(np.asarray(x).ravel() / whole) for x in (table.data, table.sum(1), table.sum(0)))
    return Information(joint - true, joint - found)


def isbi_rand_error(
    truth: Integer[np.ndarray, "h w"],
    interior: Float[np.ndarray, "h2 w2"],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    diagonal: bool = False,
) -> float:
    """1 - the best V_rand over `thresholds` of the parts in which `interior` [h, w], the probability of not being
    membrane, is above the threshold; of one slice what the challenge of 2012 called foreground-restricted Rand error.

    The true segments are the connected parts of truth [h, w], which is not 0 inside cells; membrane does not count.
    Pixels are connected to 4 neighbours, or with `diagonal` to 8. A pixel that is predicted to be membrane is in no
    segment but its own, as in the challenge's program (RandError of Fiji's Trainable Segmentation). Raises UserError
    for other sizes, no truth or no threshold.
    """
    return 1 - best_f(pairs_by_threshold(truth, interior, thresholds, diagonal=diagonal))


def pairs_by_threshold(
    truth: Integer[np.ndarray, "h w"],
    interior: Float[np.ndarray, "h2 w2"],
    thresholds: Sequence[float],
    *,
    diagonal: bool = False,
) -> Float64[np.ndarray, "n 3"]:
    """Of `isbi_rand_error` at each threshold the ordered pairs of pixels, each with itself too, that are together in
    both partitions, in the truth, in the prediction."""
    if not len(thresholds):
        raise UserError("no thresholds to score the membranes at: give at least one")
    cells, alone = segments(truth != 0, diagonal=diagonal), -1 - np.arange(interior.size).reshape(interior.shape)
    found = (segments(interior > t, diagonal=diagonal) for t in thresholds)
    return np.array([_squares(overlap(cells, np.where(parts, parts, alone))) for parts in found])


def hits_by_threshold(
    truth: Integer[np.ndarray, "h w"], interior: Float[np.ndarray, "h w"], thresholds: Sequence[float]
) -> Float64[np.ndarray, "n 3"]:
    """Pixels that are cell in both, in the truth, and where `interior` is above each threshold."""
    inside = truth != 0
    found = (interior > t for t in thresholds)
    return np.array([(np.sum(inside & x), np.sum(inside), np.sum(x)) for x in found], np.float64)


def best_f(counts: Float64[np.ndarray, "n 3"]) -> float:
    """The largest harmonic mean of precision and recall, where rows count what is in both, true, and found; NaN where
    nothing is true."""
    both, true, found = counts.T
    return float(np.max(2 * both / (true + found))) if true.any() else float("nan")


def pixel_error(truth: Integer[np.ndarray, "h w"], interior: Float[np.ndarray, "h w"], threshold: float = 0.5) -> float:
    """The part of all pixels, membranes included, where `interior` above `threshold` is not what the truth says."""
    return float(np.mean((truth != 0) != (interior > threshold)))


def segments(inside: Bool[np.ndarray, "h w"], *, diagonal: bool = False) -> Integer[np.ndarray, "h w"]:
    """Connected parts by number, 1, 2, ..., of a mask, 0 elsewhere; pixels have 4 neighbours, with `diagonal` 8."""
    return label(inside, generate_binary_structure(2, 1 + diagonal))[0]


def _squares(table: csr_matrix) -> tuple[float, float, float]:
    """Ordered pairs of pixels together in both partitions, in the truth, in the prediction."""
    return tuple(float((np.asarray(x, np.float64) ** 2).sum()) for x in (table.data, table.sum(1), table.sum(0)))


def _entropy(p: Float64[np.ndarray, " n"]) -> float:
    return float(-(p * np.log2(p)).sum())
