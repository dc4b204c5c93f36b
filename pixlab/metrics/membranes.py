"""Scores of membranes over a stack of slices: pixel error, Rand error, and the best V_rand of ISBI 2012.

Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics", Frontiers in
Neuroanatomy 2015. Slices are scored one by one, in two dimensions, and their scores averaged; one threshold is chosen
for all of them. The challenge's warping error, and the thinning of borders that it later took up, are not here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pixlab.core import Batch, Metric, Tree
from pixlab.metrics.host import host_metric
from pixlab.metrics.partition import pixel_error, rand_error, segments, v_rand_by_threshold

THRESHOLDS = tuple(k / 20 for k in range(1, 20))


def membrane_scores(thresholds: Sequence[float] = THRESHOLDS) -> Metric:
    """pixel_error and rand_error at a threshold of 0.5, the other two at the best of `thresholds`, all fractions.

    prediction["interior"] [h, w, 1] is the probability of not being membrane, example["label"] [h, w, 1] is 0 on
    membrane. Scores are means over slices; those without any cell count in the pixel errors alone. isbi_rand_error is
    1 - V_rand at the one threshold at which its mean is largest, best_pixel_error the mean at the threshold where that
    is smallest: losses that weigh membranes more than cells shift probabilities. Parts are found on the host.
    """

    def given(prediction: Batch, example: Batch) -> Tree:
        return {"interior": prediction["interior"][..., 0], "label": example["label"][..., 0]}

    def score(maps: Tree) -> Tree:
        truth, interior = np.asarray(maps["label"]).astype(np.int32), np.asarray(maps["interior"])
        errors = np.array([pixel_error(truth, interior, t) for t in thresholds])
        sums = {"slices": 1, "pixel_error": pixel_error(truth, interior), "errors": errors}
        if not (truth != 0).any():
            return sums | {"with_cells": 0, "rand_error": 0.0, "v_rand": np.zeros(len(thresholds))}
        pairs = rand_error(segments(truth != 0), segments(interior > 0.5))
        return sums | {"with_cells": 1, "rand_error": pairs, "v_rand": v_rand_by_threshold(truth, interior, thresholds)}

    def result(sums: Tree) -> dict[str, float]:
        count = sums["with_cells"] or np.nan
        return {
            "pixel_error": float(sums["pixel_error"] / sums["slices"]),
            "best_pixel_error": float(np.min(sums["errors"]) / sums["slices"]),
            "rand_error": float(sums["rand_error"] / count),
            "isbi_rand_error": float(1 - np.max(sums["v_rand"]) / count),
        }

    return host_metric(given, score, result)
