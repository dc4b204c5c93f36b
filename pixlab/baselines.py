"""Predictions that need no network: what a trained one has to beat."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from scipy.ndimage import gaussian_filter1d

from pixlab.core import Batch, Nets
from pixlab.data.pipeline import Data, Example, examples

BLUR = 2.0  # pixels: standard deviation of the Gaussian that photos are smoothed by before their slope is taken
AT_MOST = 1000  # training examples that a mean is taken over, evenly spread


def means(
    data: Data, *, rows: slice = slice(None), classes: int = 0, ignore: int = 0
) -> Mapping[str, Callable[[Nets, Nets, Batch], Batch]]:
    """The training set's mean of every map, everywhere ("mean") and for each image row ("mean per row").

    Depth in metres; normals brought to unit length again; labels, with `classes`, as `logits` that are their
    frequencies, without `ignore`. Over the valid pixels of at most 1000 unaugmented training examples; `rows` are the
    image rows that a prediction has. Knowing the row goes a long way in rooms: floors are near, walls far.
    """
    split, total, count = data.splits["train"], {}, {}
    for example in examples(split, step=-(-len(split.source) // AT_MOST)):
        for name, (sums, valid) in _rows(example, classes, ignore).items():
            total[name] = total.get(name, 0) + sums
            count[name] = count.get(name, 0) + valid
    everywhere, per_row = {}, {}
    for name in total:
        mean = total[name].sum(axis=0) / max(count[name].sum(), 1)
        everywhere[name] = _unit(name, np.broadcast_to(mean, total[name].shape))[rows]
        known = count[name] > 0
        per_row[name] = _unit(name, np.where(known, total[name] / np.where(known, count[name], 1), mean))[rows]
    return {"mean": _constant(everywhere), "mean per row": _constant(per_row)}


def steepness(params: Nets, carry: Nets, batch: Batch) -> Batch:
    """ "edge" [b, h, w, 1] in [0, 1] of batch["image"]: how steeply luminance rises under a Gaussian of two pixels.

    The root of the gradient's length, which is 1 at a step from black to white; the border goes on outside. In edge
    detection this is the least that is worth its name.
    """
    light = batch["image"] @ jnp.asarray([0.299, 0.587, 0.114])
    smooth, slope = (
        [
            jnp.asarray(gaussian_filter1d(np.eye(n), BLUR, 0, order, mode="nearest"), jnp.float32)
            for n in light.shape[1:]
        ]
        for order in (0, 1)
    )
    dy = jnp.einsum("ih,jw,bhw->bij", slope[0], smooth[1], light)
    dx = jnp.einsum("ih,jw,bhw->bij", smooth[0], slope[1], light)
    length = jnp.hypot(dx, dy) * BLUR * np.sqrt(2 * np.pi)
    return {"edge": jnp.sqrt(jnp.minimum(length, 1.0))[..., None]}


def _rows(example: Example, classes: int, ignore: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each map the sum over the valid pixels of each image row, [h, c], and their number, [h, 1]."""
    rows = {}
    for name, mask in (("depth", "valid"), ("normal", "normal_valid")):
        if name in example:
            values, valid = np.float64(example[name]), np.float64(example[mask])
            rows[name] = (values * valid).sum(axis=1), valid.sum(axis=1)
    if classes and "label" in example:
        label = example["label"][..., 0]
        known = (label >= 0) & (label < classes) & (label != ignore)
        cells = (np.arange(len(label))[:, None] * classes + label)[known]
        often = np.bincount(cells, minlength=len(label) * classes).reshape(len(label), classes).astype(float)
        rows["logits"] = often, often.sum(axis=1, keepdims=True)
    return rows


def _unit(name: str, rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True) if name == "normal" else rows


def _constant(maps: Mapping[str, np.ndarray]) -> Callable[[Nets, Nets, Batch], Batch]:
    """A prediction function: for each name the same rows [h, c] for every image, as a map of one column."""
    fixed = {name: jnp.asarray(rows, jnp.float32)[None, :, None] for name, rows in maps.items()}

    def predict(params: Nets, carry: Nets, batch: Batch) -> Batch:
        count, _, width, _ = batch["image"].shape
        rows = jax.lax.optimization_barrier(fixed)  # else XLA works the scores of constants out while it compiles
        return {name: jnp.broadcast_to(x, (count, x.shape[1], width, x.shape[3])) for name, x in rows.items()}

    return predict
