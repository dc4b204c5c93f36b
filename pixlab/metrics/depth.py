"""Scores of depth maps: the eight of Eigen et al. and log10, with every choice that changes them by name."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pixlab.core import Batch, Metric, Tree
from pixlab.errors import UserError
from pixlab.metrics.crops import Crop, inside, onto_frame

NAMES = ("delta1", "delta2", "delta3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10")
ROOTS = ("rmse", "rmse_log")  # means of squares until the very end
SC_INV = ("pixels", "root_of_mean", "mean_of_roots")


def depth_metrics(
    *,
    crop: Crop | None = None,
    cap: tuple[float, float] = (1e-3, 10.0),
    average: str = "pixels",
    median_scaling: bool = False,
    resize: str = "nearest",
    covers: Crop | None = None,
    sc_inv: str | None = None,
) -> Metric:
    """delta1..3, abs_rel, sq_rel, rmse, rmse_log, log10 and sc_inv of prediction["depth"] against example["depth"].

    Both are [h, w, 1] in metres; the prediction may have another size and is resized by `resize` ("nearest", as Eigen
    et al., or "bilinear") to the part of the frame that it `covers` (None: all of it). A pixel counts if it lies in
    `crop` and in `covers`, if example["valid"] is not 0 (without that entry: depth above 0), and if the true depth lies
    in the OPEN interval `cap`. Predictions are clipped to `cap` before they are scored; `median_scaling` first
    multiplies each one by median(truth) / median(prediction) over the pixels that count.

    With p predicted, g true: delta_k = share of max(p/g, g/p) < 1.25^k; abs_rel = mean |p-g|/g; sq_rel = mean
    (p-g)^2/g; rmse in metres; rmse_log in natural logarithms; log10 = mean |log10 p - log10 g|.

    `average` says what a mean runs over: "pixels", all pixels of the split together (Eigen, Laina, DenseDepth as it is
    now), or "images", each score (roots included) per image, then the mean of images (Godard, BTS). An image without a
    pixel that counts is left out; a split without any scores NaN.

    sc_inv is the ROOT of Eigen's eq. 1, as in the papers' tables, d = log p - log g, where each image has its own scale
    (so it is never the variance of d over the whole split). `sc_inv` says how images combine: "pixels", the root of
    the mean over all pixels of (d - mean of d in its image)^2; "root_of_mean", the root of the mean over images of
    eq. 1; "mean_of_roots", the mean over images of the roots. None: "pixels" or "mean_of_roots" after `average`. The
    papers do not say; the three are equal when there is one image.

    Sums of one image are float32 (relative error below 1e-5 for 480x640, counts exact below 2^24 pixels), sums over
    images float64 on the host. Raises UserError for an unknown name.
    Eigen, Puhrsch & Fergus, NIPS 2014 (arXiv 1406.2283), section 4.2 and eq. 1.
    """
    if average not in ("pixels", "images"):
        raise UserError(f"average is {average!r}: use 'pixels' or 'images'")
    sc_inv = sc_inv or {"pixels": "pixels", "images": "mean_of_roots"}[average]
    if sc_inv not in SC_INV:
        raise UserError(f"sc_inv is {sc_inv!r}: use one of {', '.join(SC_INV)}")
    low, high = cap

    def stats(prediction: Batch, example: Batch) -> Tree:
        true = example["depth"]
        height, width = true.shape[:2]
        predicted = onto_frame(prediction["depth"], height, width, resize=resize, covers=covers)
        known = example["valid"] > 0 if "valid" in example else true > 0
        scored = known & (true > low) & (true < high)
        scored &= inside(crop, height, width) * inside(covers, height, width) > 0
        if median_scaling:
            smallest = jnp.finfo(jnp.float32).tiny
            predicted *= masked_median(true, scored) / jnp.maximum(masked_median(predicted, scored), smallest)
        return _sums(jnp.clip(predicted, low, high), true, scored, average)

    def result(total: Tree) -> dict[str, float]:
        count = {"pixels": total["pixels"], "images": total["images"]}
        if not count["images"]:
            return dict.fromkeys([*NAMES, "sc_inv"], float("nan"))
        scores = {name: total["sums"][name] / count[average] for name in NAMES}
        if average == "pixels":
            scores |= {name: np.sqrt(scores[name]) for name in ROOTS}
        scores["sc_inv"] = {
            "pixels": np.sqrt(total["spread"] / count["pixels"]),
            "root_of_mean": np.sqrt(total["variance"] / count["images"]),
            "mean_of_roots": total["deviation"] / count["images"],
        }[sc_inv]
        return {name: float(value) for name, value in scores.items()}

    return Metric(stats, result)


def masked_median(x: Float[Array, "*shape"], mask: Bool[Array, "*shape"]) -> Float[Array, ""]:
    """Exact median of x where `mask` holds (the mean of the middle two for an even count); infinite if nowhere."""
    ordered = jnp.sort(jnp.where(mask, x, jnp.inf), axis=None)
    count = jnp.sum(mask)
    return (ordered[jnp.maximum(count - 1, 0) // 2] + ordered[jnp.minimum(count // 2, x.size - 1)]) / 2


def _sums(predicted: Array, true: Array, scored: Array, average: str) -> Tree:
    true, predicted = (jnp.where(scored, x, 1.0) for x in (true, predicted))  # elsewhere: no error, no infinity
    count = jnp.sum(scored.astype(jnp.float32))
    pixels = jnp.maximum(count, 1.0)
    error, log_error = predicted - true, jnp.log(predicted) - jnp.log(true)
    ratio = jnp.maximum(predicted / true, true / predicted)
    each = {f"delta{k}": jnp.where(scored, ratio < 1.25**k, False).astype(jnp.float32) for k in (1, 2, 3)} | {
        "abs_rel": jnp.abs(error) / true,
        "sq_rel": error**2 / true,
        "rmse": error**2,
        "rmse_log": log_error**2,
        "log10": jnp.abs(log_error) / jnp.log(10.0),
    }
    sums = {name: jnp.sum(value) for name, value in each.items()}
    if average == "images":
        sums = {name: value / pixels for name, value in sums.items()}
        sums |= {name: jnp.sqrt(sums[name]) for name in ROOTS}
    centred = jnp.where(scored, log_error - jnp.sum(log_error) / pixels, 0.0)  # two passes: no cancellation
    spread = jnp.sum(centred**2)
    return {
        "sums": sums,
        "pixels": count,
        "images": (count > 0).astype(jnp.float32),
        "spread": spread,
        "variance": spread / pixels,
        "deviation": jnp.sqrt(spread / pixels),
    }
