"""Scores of label maps from one confusion matrix, with the convention for absent classes by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from pixlab.core import Batch, Metric, Tree
from pixlab.errors import UserError

ABSENT = ("nanmean", "zero", "gt-present")


def predicted_label(prediction: Batch) -> Int[Array, "h w"]:
    """prediction["label"] [h, w, 1], or else the number of the largest of prediction["logits"] [h, w, classes]."""
    return prediction["label"][..., 0] if "label" in prediction else jnp.argmax(prediction["logits"], axis=-1)


def segmentation_metrics(
    classes: int, *, ignore: int | None = 0, absent: str = "nanmean", valid: str | None = None
) -> Metric:
    """pixel_accuracy, mean_accuracy, mean_iu and frequency_weighted_iu, as fractions.

    example["label"] is [h, w, 1] integer. prediction["label"], of the same size, or else the largest of
    prediction["logits"] [h, w, classes] is scored against it. True labels equal to `ignore` or outside 0..classes-1 do
    not count, nor do pixels where example[valid] is 0 if `valid` names such a mask. `ignore` is no class: the means do
    not run over it, though a pixel that is predicted so is wrong, like one that is predicted out of range.

    `absent` says what the means over classes do about classes that do not occur: "nanmean" leaves a class out where its
    score is 0/0, so that one that is predicted but never true has IU 0; "zero" counts 0/0 as 0 and divides by the
    number of classes; "gt-present" leaves out every class that is never true. Raises UserError for another name.
    Without a pixel every score is NaN.
    Long, Shelhamer & Darrell, CVPR 2015 (arXiv 1411.4038), section 5.
    """
    if absent not in ABSENT:
        raise UserError(f"absent is {absent!r}: use one of {', '.join(ABSENT)}")
    kept = np.array([c for c in range(classes) if c != ignore])

    def result(confusion: Tree) -> dict[str, float]:
        hit, true, union = _areas(confusion)
        total = true.sum()
        if not total:
            return dict.fromkeys(["pixel_accuracy", "mean_accuracy", "mean_iu", "frequency_weighted_iu"], float("nan"))

        def mean(part, whole):
            counted = {"nanmean": whole > 0, "zero": np.ones_like(whole, bool), "gt-present": true > 0}[absent][kept]
            return float(np.mean((part / np.maximum(whole, 1))[kept][counted]))

        return {
            "pixel_accuracy": float(hit.sum() / total),
            "mean_accuracy": mean(hit, true),
            "mean_iu": mean(hit, union),
            "frequency_weighted_iu": float(np.sum(true * hit / np.maximum(union, 1)) / total),
        }

    return Metric(_confusion(classes, ignore, valid), result)


def class_iu(names: Sequence[str], *, ignore: int | None = 0, valid: str | None = None) -> Metric:
    """{name: IU} of every class that is true or predicted somewhere, as fractions; their mean is `mean_iu`.

    Class i is `names[i]`; what is scored is as in `segmentation_metrics`, and so are `ignore` and `valid`. A class that
    is predicted but never true has 0.
    """

    def result(confusion: Tree) -> dict[str, float]:
        hit, _, union = _areas(confusion)
        return {name: float(hit[i] / union[i]) for i, name in enumerate(names) if union[i] and i != ignore}

    return Metric(_confusion(len(names), ignore, valid), result)


def _confusion(classes: int, ignore: int | None, valid: str | None) -> Callable[[Batch, Batch], Tree]:
    """Counts [classes, classes + 1] of pixels: rows are true, the last column is predicted to be no class."""

    def stats(prediction: Batch, example: Batch) -> Tree:
        true = example["label"][..., 0]
        predicted = predicted_label(prediction)
        scored = (true >= 0) & (true < classes)
        if ignore is not None:
            scored &= true != ignore
        if valid is not None:
            scored &= example[valid][..., 0] > 0
        predicted = jnp.where((predicted >= 0) & (predicted < classes), predicted, classes)
        cell = jnp.where(scored, true * (classes + 1) + predicted, 0)
        counts = jnp.zeros(classes * (classes + 1)).at[cell.ravel()].add(scored.astype(jnp.float32).ravel())
        return counts.reshape(classes, classes + 1)

    return stats


def _areas(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of each class that are hit, true, and either true or predicted."""
    hit, true = np.diag(confusion), confusion.sum(1)
    return hit, true, true + confusion[:, :-1].sum(0) - hit
