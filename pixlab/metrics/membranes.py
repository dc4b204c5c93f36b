"""Scores of membranes over a stack of slices: pixel error, Rand error, and the best V_rand of ISBI 2012.

Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics", Frontiers in
Neuroanatomy 2015. Slices are scored one by one, in two dimensions, and their scores averaged; one threshold is chosen
for all of them. The challenge's warping error, and the thinning of borders that it later took up, are not here.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from pixlab.core import Batch, Metric, Tree
from pixlab.metrics.partition import pixel_error, rand_error, segments, v_rand_by_threshold
from pixlab.nn.on_host import on_host

THRESHOLDS = tuple(k / 20 for k in range(1, 20))


def membrane_scores(thresholds: Sequence[float] = THRESHOLDS) -> Metric:
    """pixel_error and rand_error at a threshold of 0.5, isbi_rand_error at the best of `thresholds`, all fractions.

    prediction["interior"] [h, w, 1] is the probability of not being membrane, example["label"] [h, w, 1] is 0 on
    membrane. Scores are means over slices; those without any cell count in the pixel error alone. isbi_rand_error is
    1 - V_rand at the one threshold at which its mean is largest.
    """

    def scores(truth: np.ndarray, interior: np.ndarray) -> tuple[np.ndarray, ...]:
        error = np.float32(pixel_error(truth, interior))
        if not (truth != 0).any():
            return error, np.float32(0), np.zeros(len(thresholds), np.float32), np.float32(0)
        pairs = np.float32(rand_error(segments(truth != 0), segments(interior > 0.5)))
        return error, pairs, v_rand_by_threshold(truth, interior, thresholds).astype(np.float32), np.float32(1)

    def stats(prediction: Batch, example: Batch) -> Tree:
        number = jax.ShapeDtypeStruct((), jnp.float32)
        shapes = number, number, jax.ShapeDtypeStruct((len(thresholds),), jnp.float32), number
        found = on_host(scores, shapes, example["label"][..., 0], prediction["interior"][..., 0])
        names = "pixel_error", "rand_error", "v_rand", "with_cells"
        return dict(zip(names, found, strict=True), slices=jnp.float32(1))

    def result(total: Tree) -> dict[str, float]:
        count = total["with_cells"] or np.nan
        return {
            "pixel_error": float(total["pixel_error"] / total["slices"]),
            "rand_error": float(total["rand_error"] / count),
            "isbi_rand_error": float(1 - np.max(total["v_rand"]) / count),
        }

    return Metric(stats, result)
