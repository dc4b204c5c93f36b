"""Scores of the joints of several people in a picture."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from pixlab.core import Batch, Metric, Tree
from pixlab.metrics.pose import both_sides
from pixlab.nn.assignment import greedy_pairs

LEAST_JOINTS = 3  # labelled joints of a person whom "count" expects to be found


def people_found(joints: Sequence[str], radius: float, *, size: str = "size") -> Metric:
    """Per cent of joints: "precision" of those found, "recall" of those labelled, their harmonic mean "f1", and that of
    each joint under its name ("wrist"), sides together; "count", per cent of pictures with as many people as there are.

    prediction["joints"] [m, k, 2] and ["value"] [m, k], 0 for a joint that was not found; example["joints"] [p, k, 2],
    ["known"] [p, k], 0 for one that nobody labelled, and [size] [p], all in one unit. As in MPII's multi-person
    protocol, as remembered, people are first paired one to one, here greedily by how many joints of the prediction
    lie within `radius` per cent of the true person's size; a joint is right if it does so in its pair. All other joints
    that are found are wrong, but for those whose true person has no label there. Without average precision, at the one
    threshold that the decoding has. A person without a size (0) counts as unlabelled; precision is 0 without any joint.
    """

    def stats(prediction: Batch, example: Batch) -> Tree:
        whole = example[size]
        known = (example["known"] > 0) & (whole > 0)[:, None]
        found = prediction["value"] > 0
        both = found[:, None] & known[None]  # [m, p, k]
        apart = jnp.where(both[..., None], prediction["joints"][:, None] - example["joints"][None], 0)
        near = both & (100 * jnp.linalg.norm(apart, axis=-1) <= radius * whole[None, :, None])
        partner = greedy_pairs(near.sum(-1).astype(jnp.float32))
        mine = (partner[:, None] == jnp.arange(len(whole))[None])[..., None]  # [m, p, 1]
        hits = (near & mine).any(1)
        spared = (mine & ~known[None]).any(1)
        there = (known.sum(1) >= LEAST_JOINTS).sum()
        counts = {"hits": hits, "found": found & ~spared, "known": known}
        right = found.any(1).sum() == there
        return {name: x.sum(0).astype(jnp.float32) for name, x in counts.items()} | {
            "right": right.astype(jnp.float32), "pictures": jnp.ones(()),
        }  # fmt: skip

    def result(total: Tree) -> dict[str, float]:
        sides = both_sides(joints)
        with np.errstate(invalid="ignore", divide="ignore"):
            hits, found, known = (
                np.array([total[name][at].sum() for at in sides.values()]) for name in ("hits", "found", "known")
            )
            each = dict(zip(sides, 200 * hits / (found + known), strict=True))
            precision, recall = 100 * hits.sum() / max(found.sum(), 1), 100 * hits.sum() / known.sum()
            f1 = 200 * hits.sum() / (found.sum() + known.sum())
            count = 100 * total["right"] / total["pictures"]
        each |= {"precision": precision, "recall": recall, "f1": f1, "count": count}
        return {name: float(value) for name, value in each.items()}

    return Metric(stats, result)
