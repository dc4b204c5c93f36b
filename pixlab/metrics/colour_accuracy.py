"""How near predicted colours come: Zhang, Isola & Efros, "Colorful Image Colorization", ECCV 2016, section 3.1."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from pixlab.core import Batch, Metric, Tree
from pixlab.losses.colour import class_weights
from pixlab.nn.ab_bins import nearest_bin
from pixlab.nn.colour import lab_to_rgb, rounded

FARTHEST = 150  # units of ab
NEAR = 20


def colour_accuracy() -> Metric:
    """auc, auc_rebalanced, within_20 and within_20_rebalanced in per cent, and the mean image's psnr in dB.

    example: "image" [h, w, 1], lightness L - 50, and "ab" [h, w, 2]. prediction: "ab" of the same size, and "prior"
    [313], the probability of each bin's colour in the training set. Accuracy is the part of all images' pixels whose ab
    lie no farther than a threshold from the truth; auc is the area under it for thresholds 0, 1, ..., 150 by
    trapezoids, 100 where all are right. Rebalanced, a pixel counts by the inverse of the prior of its true colour's
    bin. psnr compares 8-bit RGB, both made with the true lightness.
    """

    def stats(prediction: Batch, example: Batch) -> Tree:
        true, found = example["ab"], prediction["ab"]
        away = jnp.sqrt(jnp.sum((found - true) ** 2, axis=-1)).ravel()
        weight = class_weights(prediction["prior"], uniform=0)[nearest_bin(true)].ravel()
        reached = away[:, None] <= jnp.arange(FARTHEST + 1, dtype=away.dtype)[None]
        light = example["image"] + 50
        pictures = [rounded(lab_to_rgb(jnp.concatenate([light, ab], axis=-1))) for ab in (found, true)]
        wrong = jnp.mean((pictures[0] - pictures[1]) ** 2)
        return {
            "reached": jnp.sum(reached, axis=0).astype(jnp.float32),
            "pixels": jnp.float32(away.size),
            "reached_rebalanced": jnp.sum(jnp.where(reached, weight[:, None], 0), axis=0),
            "pixels_rebalanced": jnp.sum(weight),
            "psnr": -10 * jnp.log10(jnp.maximum(wrong, 1e-10)),
            "images": jnp.float32(1),
        }

    def result(total: Tree) -> dict[str, float]:
        scores = {}
        for kind in ("", "_rebalanced"):
            accuracy = 100 * total[f"reached{kind}"] / total[f"pixels{kind}"]
            scores[f"auc{kind}"] = float(np.trapezoid(accuracy) / FARTHEST)
            scores[f"within_{NEAR}{kind}"] = float(accuracy[NEAR])
        return scores | {"psnr": float(total["psnr"] / total["images"])}

    return Metric(stats, result)
