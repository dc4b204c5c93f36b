"""Scores of joints: how many lie within a part of the body's size of where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pixlab.core import Batch, Metric, Tree

RADII = tuple(range(21))  # per cent of the torso: the axis of the published curves


def detection_rates(joints: Sequence[str], *, radii: Sequence[float] = RADII, report: Mapping[str, float]) -> Metric:
    """Per cent of each joint's labelled examples within r per cent of the body's size, for {name: r} of `report`.

    prediction["joints"] and example["joints"] are [k, 2] places (x, y) in one unit, example["known"] [k] is 0 for a
    joint without a label, example["size"] what is 100 in the same unit. Rates are named "joint_name" and "mean_name",
    the mean of the joints' rates; joints called left_X and right_X are one, X. A joint that is never labelled has no
    rate. `curves` makes the whole curve of the same totals.

    With the distance from the left hip to the right shoulder as size, this is the measure of MODEC (Sapp & Taskar,
    CVPR 2013) and of Tompson et al. 2014 and 2015: r = 10 is the curves' middle, PCK@0.05 is r = 5, PCK@0.2 is r = 20.
    With 0.6 of the head box's diagonal as size, r = 50 is MPII's PCKh@0.5.
    Raises ValueError for a radius of `report` that is not among `radii`.
    """
    if missing := [r for r in report.values() if r not in radii]:
        raise ValueError(f"no radius {missing[0]} among those that are counted: {list(radii)}")

    def stats(prediction: Batch, example: Batch) -> Tree:
        known = example["known"]
        error = 100 * distances(prediction["joints"], example["joints"], known) / example["size"]
        hits = (error[:, None] <= jnp.asarray(radii, jnp.float32)[None]) * known[:, None]
        return {"hits": hits.astype(jnp.float32), "known": known}

    def result(total: Tree) -> dict[str, float]:
        rates = {name: curve for name, curve in curves(joints, total).items() if np.isfinite(curve).all()}
        at = {name: list(radii).index(r) for name, r in report.items()}
        out = {}
        for name, index in at.items():
            out |= {f"{joint}_{name}": float(curve[index]) for joint, curve in rates.items()}
            out[f"mean_{name}"] = float(np.mean([curve[index] for curve in rates.values()])) if rates else float("nan")
        return out

    return Metric(stats, result)


def curves(joints: Sequence[str], total: Tree) -> dict[str, np.ndarray]:
    """{joint: per cent within each radius} of the totals of `detection_rates`, sides taken together."""
    sides = {}
    for index, joint in enumerate(joints):
        sides.setdefault(joint.removeprefix("left_").removeprefix("right_"), []).append(index)
    with np.errstate(invalid="ignore"):
        return {name: 100 * total["hits"][at].sum(0) / total["known"][at].sum() for name, at in sides.items()}


def distances(a: Float[Array, "k 2"], b: Float[Array, "k 2"], known: Float[Array, " k"]) -> Float[Array, " k"]:
    """Between two sets of places; 0 where they are not known, whatever stands there."""
    return jnp.linalg.norm(jnp.where(known[:, None] > 0, a - b, 0.0), axis=-1)
