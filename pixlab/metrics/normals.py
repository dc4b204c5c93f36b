"""Scores of surface normals: mean and median angle, and the shares of small angles."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pixlab.core import Batch, Metric, Tree
from pixlab.metrics.crops import Crop, inside, onto_frame

WITHIN = (11.25, 22.5, 30.0)  # degrees
BIN = 0.01  # degrees per bin of the histogram that gives the median


def normal_metrics(*, crop: Crop | None = None, resize: str = "nearest", covers: Crop | None = None) -> Metric:
    """mean and median angle in degrees, and per cent of angles below 11.25, 22.5 and 30 degrees ("within_11.25" ...).

    prediction["normal"] and example["normal"] are [h, w, 3], of any length; a pixel counts if example["normal_valid"]
    is not 0 (without that entry: the true normal is not zero) and if it lies in `crop` and in `covers`. A prediction of
    another size is resized by `resize` ("nearest" or "bilinear") to the part of the frame that it `covers` (None: all).
    All pixels of the split are pooled. A zero prediction is 90 degrees off. Without a pixel every score is NaN.

    The mean and the shares are exact to float32; the median comes from an additive histogram and lies within 0.01
    degree (the width of a bin) of the exact one. Raises UserError for an unknown `resize`.
    Fouhey, Gupta & Hebert, ICCV 2013; Eigen & Fergus, ICCV 2015 (arXiv 1411.4734), table 2.
    """

    def stats(prediction: Batch, example: Batch) -> Tree:
        true = example["normal"]
        height, width = true.shape[:2]
        predicted = onto_frame(prediction["normal"], height, width, resize=resize, covers=covers)
        known = example["normal_valid"] > 0 if "normal_valid" in example else jnp.any(true != 0, axis=-1, keepdims=True)
        scored = (known & (inside(crop, height, width) * inside(covers, height, width) > 0)).astype(jnp.float32)
        angle = jnp.where(scored > 0, angles(predicted, true), 0.0)
        bins = jnp.clip(jnp.floor(angle / BIN).astype(jnp.int32), 0, round(180 / BIN) - 1)
        return {
            "pixels": jnp.sum(scored),
            "angle": jnp.sum(angle),
            "within": jnp.stack([jnp.sum(scored * (angle < limit)) for limit in WITHIN]),
            "histogram": jnp.zeros(round(180 / BIN)).at[bins.ravel()].add(scored.ravel()),
        }

    def result(total: Tree) -> dict[str, float]:
        count = float(total["pixels"])
        if not count:
            return dict.fromkeys(["mean", "median", *(f"within_{limit:g}" for limit in WITHIN)], float("nan"))
        shares = {f"within_{limit:g}": float(100 * n / count) for limit, n in zip(WITHIN, total["within"], strict=True)}
        return {"mean": float(total["angle"] / count), "median": histogram_median(total["histogram"], BIN)} | shares

    return Metric(stats, result)


def angles(a: Float[Array, "*n 3"], b: Float[Array, "*n 3"]) -> Float[Array, "*n 1"]:
    """Angle in degrees between vectors of any length; 90 if one of them is zero.

    By the arc tangent of cross and dot product, because the arc cosine of a float32 is 0.02 degrees off near 0.
    """
    cross = jnp.linalg.norm(jnp.cross(a, b), axis=-1, keepdims=True)
    dot = jnp.sum(a * b, axis=-1, keepdims=True)
    return jnp.degrees(jnp.where((cross == 0) & (dot == 0), jnp.pi / 2, jnp.arctan2(cross, dot)))


def histogram_median(histogram: np.ndarray, width: float) -> float:
    """Median of values >= 0 from their counts in bins of `width` from 0, less than `width` off `numpy.median`.

    Each of the middle two values is placed in its own bin, which holds it, evenly among the values of that bin.
    """
    below = np.concatenate([[0], np.cumsum(histogram)])
    count = below[-1]
    middle = []
    for rank in ((count - 1) // 2, count // 2):
        index = int(np.searchsorted(below, rank, side="right")) - 1
        middle.append(width * (index + (rank - below[index] + 0.5) / histogram[index]))
    return float(np.mean(middle))
