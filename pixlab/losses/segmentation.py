"""Losses on label maps, and the class weights that go with them."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

from pixlab.errors import UserError


def label_valid(label: Int[Array, "b h w 1"], *, classes: int, ignore: int | None = 0) -> Float[Array, "b h w 1"]:
    """1 where `label` is a class: in 0..classes-1 and not `ignore`."""
    known = (label >= 0) & (label < classes)
    return (known if ignore is None else known & (label != ignore)).astype(jnp.float32)


def strided_labels(maps: Shaped[Array, "b h w c"], stride: int = 8) -> Shaped[Array, "b h2 w2 c"]:
    """Every `stride`-th pixel of label or `valid` maps from the first on: [b, ceil(h / stride), ceil(w / stride), c].

    What scores of that stride learn whose cell i lies on pixel stride * i, as DeepLab's (Chen et al., arXiv 1412.7062):
    321 pixels, 41 labels at 0, 8, ... 320. A resize to the same size would take others.
    """
    return maps[:, ::stride, ::stride]


def softmax_cross_entropy(
    logits: Float[Array, "b h w c"],
    label: Int[Array, "b h w 1"],
    valid: Float[Array, "b h w 1"],
    *,
    class_weights: Sequence[float] | np.ndarray | None = None,
    normalisation: str = "pixels",
) -> Float[Array, ""]:
    """Softmax cross-entropy over the pixels of the batch where `valid` (0 or 1, see `label_valid`) is 1, in nats.

    With w the class weight of each pixel's label (1 without `class_weights`), the sum of w times the cross-entropy is
    divided, as `normalisation` says, by the number of valid pixels ("pixels", Caffe), by the sum of w ("weights",
    PyTorch), or not at all ("sum", as FCN was trained). With nothing valid the loss is 0 with a zero gradient. `valid`
    may be a weight of each pixel, such as U-Net's of borders, whose sum then stands for the number of pixels.
    Labels outside 0..c-1 are legal where `valid` is 0. Raises UserError for another `normalisation` or a wrong number
    of weights.
    """
    classes = logits.shape[-1]
    index = jnp.where(valid > 0, label, 0)
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), index, axis=-1)
    weight = valid
    if class_weights is not None:
        if len(class_weights) != classes:
            raise UserError(f"{len(class_weights)} class weights for logits of {classes} classes: give one per class")
        weight = valid * jnp.asarray(class_weights, jnp.float32)[index]
    total = -jnp.sum(weight * log_p)
    match normalisation:
        case "pixels":
            return total / jnp.maximum(jnp.sum(valid), 1.0)
        case "weights":
            whole = jnp.sum(weight)
            return total / jnp.where(whole > 0, whole, 1.0)
        case "sum":
            return total
    raise UserError(f"normalisation is {normalisation!r}: use 'pixels', 'weights' or 'sum'")


def class_counts(label: np.ndarray, *, classes: int, ignore: int | None = 0) -> np.ndarray:
    """What one label image adds to the counts of a data set: [2, classes] float64.

    Row 0 is the number of pixels of each class; row 1 is, for the classes that the image has, its number of labelled
    pixels (of any class), and 0 for the others. Labels that are `ignore` or outside 0..classes-1 are not labelled.
    """
    flat = np.ravel(label)
    known = (flat >= 0) & (flat < classes)
    if ignore is not None:
        known &= flat != ignore
    pixels = np.bincount(flat[known].astype(np.int64), minlength=classes).astype(np.float64)
    return np.stack([pixels, np.where(pixels > 0, pixels.sum(), 0.0)])


def median_frequency_weights(counts: np.ndarray) -> np.ndarray:
    """Class weights [classes] from the sum of `class_counts` over a data set: median frequency / frequency.

    A class's frequency is its pixels over all labelled pixels of the images that have it; the median is taken over the
    classes that occur. A class that never occurs gets 0. Raises UserError if none does.
    Eigen & Fergus, ICCV 2015 (arXiv 1411.4734), section 4.3.
    """
    pixels, present = counts
    seen = pixels > 0
    if not seen.any():
        raise UserError("no labelled pixel in these counts: class weights need at least one labelled image")
    frequency = pixels[seen] / present[seen]
    weights = np.zeros(len(pixels))
    weights[seen] = np.median(frequency) / frequency
    return weights
