"""How well the outlines of classes fit: the semantic contour score of Csurka, Larlus & Perronnin, BMVC 2013, as
Badrinarayanan, Kendall & Cipolla report it ("BF" of SegNet, TPAMI 2017, arXiv 1511.00561, section 3.3).

The authors' script pairs boundary pixels one to one, as the Berkeley benchmark does; here each is a hit when any pixel
of the other boundary is near enough. That is never less, and more where boundaries run close together.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from pixlab.core import Batch, Metric, Tree
from pixlab.metrics.segmentation import predicted_label


def boundary_f1(classes: int, *, ignore: int | None = 0, tolerance: float = 0.0075) -> Metric:
    """boundary_f1, a fraction: the mean over images of the mean over classes of the F-measure of a class's boundary.

    example["label"] is [h, w, 1] integer, the prediction as in `segmentation_metrics`, of the same size. Precision is
    the share of the predicted boundary within `tolerance` times the image's diagonal of the true one, recall the share
    of the true one near the predicted one; F is their harmonic mean, 0 where a class has only one of the two or nothing
    fits. Classes without any boundary in an image do not count in it, images without one do not count at all (the
    authors' script counts such an image as 0). `ignore` is no class, nor are labels outside 0..classes-1: all pixels
    are looked at, and where a class meets unlabelled ones it has a boundary, as in that script. Without an image that
    counts the score is NaN.
    """
    kept = np.array([c for c in range(classes) if c != ignore])

    def stats(prediction: Batch, example: Batch) -> Tree:
        true, predicted = (
            class_boundaries(example["label"][..., 0], kept),
            class_boundaries(predicted_label(prediction), kept),
        )
        radius = tolerance * math.hypot(*true.shape[:2])
        precision = _share(predicted, dilate(true, radius))
        recall = _share(true, dilate(predicted, radius))
        both = precision + recall
        f1 = jnp.where(both > 0, 2 * precision * recall / jnp.where(both > 0, both, 1), 0)
        count = jnp.sum(jnp.any(true | predicted, axis=(0, 1)))
        return {"f1": jnp.sum(f1) / jnp.maximum(count, 1), "images": (count > 0).astype(jnp.float32)}

    def result(total: Tree) -> dict[str, float]:
        return {"boundary_f1": float(total["f1"] / total["images"]) if total["images"] else float("nan")}

    return Metric(stats, result)


def class_boundaries(label: Int[Array, "h w"], classes: Int[np.ndarray, " c"]) -> Bool[Array, "h w c"]:
    """True where a pixel and its neighbours to the right, below and right below are not all of a class or all not.

    The Berkeley benchmark's boundary of a segment; one pixel wide along straight lines.
    """
    inside = label[..., None] == jnp.asarray(classes)[None, None]
    padded = jnp.pad(inside, ((0, 1), (0, 1), (0, 0)), mode="edge")
    return (inside != padded[:-1, 1:]) | (inside != padded[1:, :-1]) | (inside != padded[1:, 1:])


def dilate(mask: Bool[Array, "h w c"], radius: float) -> Bool[Array, "h w c"]:
    """True within `radius` pixels of a true one. A disc is a stack of rows: first it widens rows, then stacks them."""
    height, width = mask.shape[:2]
    reach, square = int(radius + 1e-6), radius**2 * (1 + 1e-9)
    padded = jnp.pad(mask, ((reach, reach), (reach, reach), (0, 0)))
    rows = [padded[:, reach : reach + width]]  # [k]: true within k columns
    for k in range(1, reach + 1):
        rows.append(rows[-1] | padded[:, reach - k : reach - k + width] | padded[:, reach + k : reach + k + width])
    out = jnp.zeros_like(mask)
    for k in range(-reach, reach + 1):
        wide = rows[math.isqrt(max(0, int(square - k * k)))]
        out |= jax.lax.slice_in_dim(wide, reach + k, reach + k + height, axis=0)
    return out


def _share(of: jax.Array, near: jax.Array) -> jax.Array:
    """Share of the pixels `of` that are `near`, for each class; 0 of none."""
    return jnp.sum(of & near, axis=(0, 1)) / jnp.maximum(jnp.sum(of, axis=(0, 1)), 1)
