"""Scores of joints: how many lie within a part of the body's size of where they are, and how far those are off."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pixlab.core import Batch, Metric, Tree

RADII = tuple(range(21))  # per cent of the torso: the axis of the published curves


def detection_rates(
    joints: Sequence[str], radius: float, *, size: str = "size", radii: Sequence[float] = RADII
) -> Metric:
    """Per cent of each joint's labelled examples within `radius` per cent of the body's size: "wrist", ..., "mean".

    prediction["joints"] and example["joints"] are [k, 2] places (x, y) in one unit, example["known"] [k] is 0 for a
    joint without a label, example[size] what is 100 in the same unit; without a size (0) the example counts nowhere.
    Joints called left_X and right_X are one, X; "mean" is the mean of the joints' rates. A joint that is never
    labelled has no rate. `curves` makes the whole curve of the same totals.

    With the distance from the left hip to the right shoulder as size, this is the measure of MODEC (Sapp & Taskar,
    CVPR 2013) and of Tompson et al. 2014 and 2015: r = 10 is the curves' middle, PCK@0.05 is r = 5, PCK@0.2 is r = 20.
    With the head's length as size, r = 50 is PCKh@0.5 (MPII's length is 0.6 of the head box's diagonal).
    Raises ValueError for a radius that is not among `radii`.
    """
    if radius not in radii:
        raise ValueError(f"no radius {radius} among those that are counted: {list(radii)}")

    def stats(prediction: Batch, example: Batch) -> Tree:
        whole = example[size]
        known = example["known"] * (whole > 0)
        error = 100 * distances(prediction["joints"], example["joints"], known) / jnp.where(whole > 0, whole, 1)
        hits = (error[:, None] <= jnp.asarray(radii, jnp.float32)[None]) * known[:, None]
        return {"hits": hits.astype(jnp.float32), "known": known}

    def result(total: Tree) -> dict[str, float]:
        at = list(radii).index(radius)
        rates = {name: float(curve[at]) for name, curve in curves(joints, total).items() if np.isfinite(curve[at])}
        return rates | {"mean": float(np.mean(list(rates.values()))) if rates else float("nan")}

    return Metric(stats, result)


def rate_curves(joints: Sequence[str]) -> Metric:
    """`detection_rates` at each of RADII: "wrist_0", ..., "wrist_20"; the published curves."""
    one = detection_rates(joints, RADII[0])

    def result(total: Tree) -> dict[str, float]:
        found = curves(joints, total)
        return {
            f"{name}_{r}": float(rate) for name, curve in found.items() for r, rate in zip(RADII, curve, strict=True)
        }

    return Metric(one.stats, result)


def curves(joints: Sequence[str], total: Tree) -> dict[str, np.ndarray]:
    """{joint: per cent within each radius} of the totals of `detection_rates`, sides taken together."""
    sides = both_sides(joints)
    with np.errstate(invalid="ignore"):
        return {name: 100 * total["hits"][at].sum(0) / total["known"][at].sum() for name, at in sides.items()}


def localisation_sigma(joints: Sequence[str], *, within: float = 20, size: str = "size") -> Metric:
    """How far joints that are found are off along an axis, in the unit of the places: "wrist", ..., "mean".

    sqrt(mean of (dx^2 + dy^2) / 2) over a joint's labelled examples that are found within `within` per cent of the
    body's size: the standard deviation of x and y, were errors without bias. Without a bound, the few joints that are
    taken for something else would be all that it measures. A joint that is never found has no value. Keys and joints
    that count are those of `detection_rates`.

    Tompson et al. 2015 compare this to what people disagree by, in pixels of images of 360x240; what they do about
    joints that are taken for something else is not known here.
    """

    def stats(prediction: Batch, example: Batch) -> Tree:
        known = example["known"] * (example[size] > 0)
        error = distances(prediction["joints"], example["joints"], known)
        found = known * (100 * error <= within * example[size])
        return {"square": found * error**2 / 2, "found": found}

    def result(total: Tree) -> dict[str, float]:
        sides = both_sides(joints).items()
        squares, counts = ({name: total[key][at].sum() for name, at in sides} for key in ("square", "found"))
        sigma = {name: float(np.sqrt(squares[name] / n)) for name, n in counts.items() if n > 0}
        return sigma | ({"mean": float(np.mean(list(sigma.values())))} if sigma else {})

    return Metric(stats, result)


def both_sides(joints: Sequence[str]) -> dict[str, list[int]]:
    """{name without its side: numbers of the joints that have it}."""
    sides = {}
    for index, joint in enumerate(joints):
        sides.setdefault(joint.removeprefix("left_").removeprefix("right_"), []).append(index)
    return sides


def distances(a: Float[Array, "k 2"], b: Float[Array, "k 2"], known: Float[Array, " k"]) -> Float[Array, " k"]:
    """Between two sets of places; 0 where they are not known, whatever stands there."""
    return jnp.linalg.norm(jnp.where(known[:, None] > 0, a - b, 0.0), axis=-1)
