"""Scores of membranes over a stack of slices: pixel error, Rand error, and two errors of ISBI 2012.

Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics", Frontiers in
Neuroanatomy 2015. The two are those that the challenge ranked by at first, as its program has them (RandError and
PixelError of Fiji's Trainable Segmentation): slices are two-dimensional, their counts are added up, and one threshold
is chosen for all. The challenge's warping error, and the thinning of borders that it later took up, are not here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixlab.core import Batch, Metric, Tree
from pixlab.metrics.host import host_metric
from pixlab.metrics.partition import (
    best_f,
    hits_by_threshold,
    pairs_by_threshold,
    pixel_error,
    rand_error,
    segments,
)

THRESHOLDS = tuple(k / 20 for k in range(1, 20))


def membrane_scores(thresholds: Sequence[float] = THRESHOLDS) -> Metric:
    """pixel_error and rand_error at a threshold of 0.5, the other three at the best of `thresholds`, all fractions.

    prediction["interior"] [h, w, 1] is the probability of not being membrane, example["label"] [h, w, 1] is 0 on
    membrane. pixel_error and rand_error are means over slices, best_pixel_error the mean at the threshold where that is
    smallest: losses that weigh membranes more than cells shift probabilities. isbi_pixel_error is 1 - the best F of the
    pixels of cells, isbi_rand_error 1 - the best of the pairs of pixels in one cell. Slices without any cell count in
    pixel errors alone. Parts are found on the host.
    """

    def given(prediction: Batch, example: Batch) -> Tree:
        return {"interior": prediction["interior"][..., 0], "label": example["label"][..., 0]}

    def score(maps: Tree) -> Tree:
        truth, interior = np.asarray(maps["label"]).astype(np.int32), np.asarray(maps["interior"])
        errors = np.array([pixel_error(truth, interior, t) for t in thresholds])
        hits = hits_by_threshold(truth, interior, thresholds)
        sums = {"slices": 1, "pixel_error": pixel_error(truth, interior), "errors": errors, "hits": hits}
        if not (truth != 0).any():
            return sums | {"with_cells": 0, "rand_error": 0.0, "pairs": np.zeros((len(thresholds), 3))}
        error = rand_error(segments(truth != 0), segments(interior > 0.5))
        return sums | {"with_cells": 1, "rand_error": error, "pairs": pairs_by_threshold(truth, interior, thresholds)}

    def result(sums: Tree) -> dict[str, float]:
        return {
            "pixel_error": float(sums["pixel_error"] / sums["slices"]),
            "best_pixel_error": float(np.min(sums["errors"]) / sums["slices"]),
            "rand_error": float(sums["rand_error"] / (sums["with_cells"] or np.nan)),
            "isbi_pixel_error": 1 - best_f(sums["hits"]),
            "isbi_rand_error": 1 - best_f(sums["pairs"]),
        }

    return host_metric(given, score, result)
