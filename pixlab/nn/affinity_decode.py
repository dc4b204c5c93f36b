"""From confidence maps and part affinity fields to people: Cao, Simon, Wei & Sheikh, CVPR 2017 (arXiv 1611.08050),
in arrays of fixed size, so that it runs on any device.

Each joint's map gives candidates; each limb's field says which candidates of its two joints belong together; people are
put together limb by limb. Places are (x, y) in cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Int

from pixlab.nn.assignment import greedy_pairs
from pixlab.nn.peaks import local_peaks

Limbs = Sequence[tuple[int, int]]
LEAST, PASSES, PART = 0.1, 0.05, 0.8  # a peak's value, a sample's, and the part of the samples: the release's
SAMPLES = 10


class People(NamedTuple):
    """The `m` people of highest score in each picture, highest first; where there are fewer, the rest has no joints."""

    places: Float[Array, "b m k 2"]  # 0 where a joint was not found
    values: Float[Array, "b m k"]  # of the joints' peaks; 0 where a joint was not found
    score: Float[Array, "b m"]  # peaks' values and limbs' scores together


def decode(
    maps: Float[Array, "b h w k"],
    fields: Float[Array, "b h w c"],
    limbs: Limbs,
    *,
    people: int = 8,
    candidates: int = 8,
    least_joints: int = 3,
) -> People:
    """The people that the joints' maps (without background) and the limbs' fields, (x, y) of limb 0, of 1, ..., show.

    A joint has at most `candidates` candidates, a picture at most `people` people, each of at least `least_joints`
    joints. Raises ValueError for fields that do not fit the limbs.
    """
    if fields.shape[-1] != 2 * len(limbs):
        raise ValueError(f"{len(limbs)} limbs have fields of {2 * len(limbs)} channels, not of {fields.shape[-1]}")
    places, values = (x.swapaxes(1, 2) for x in local_peaks(maps, candidates, LEAST))  # [b, k, n, ...]
    one = lambda *of: _people(*of, tuple(limbs), people, least_joints)  # noqa: E731
    return People(*jax.vmap(one)(places, values, fields))


def _people(places, values, fields, limbs, count, least_joints):
    """`decode` of one picture's candidates: places [k, n, 2], values [k, n]."""
    k, n = values.shape
    pairs = jnp.asarray(limbs)
    fields = jnp.moveaxis(fields.reshape(*fields.shape[:2], len(limbs), 2), 2, 0)
    score = jax.vmap(limb_scores)(fields, places[pairs[:, 0]], places[pairs[:, 1]])  # [c, n, n]
    there = values > 0
    score = jnp.where(there[pairs[:, 0], :, None] & there[pairs[:, 1], None, :], score, 0)
    partner = jax.vmap(greedy_pairs)(score)
    label = assemble(partner, limbs, k)
    limb_score = jnp.where(partner >= 0, jnp.take_along_axis(score, jnp.maximum(partner, 0)[..., None], 2)[..., 0], 0)
    member = label[None] == jnp.arange(k * n)[:, None, None]  # [person, k, n]
    member &= there[None]
    total = jnp.where(member, values[None], 0).sum((1, 2))
    total += jnp.where(member[:, pairs[:, 0]], limb_score[None], 0).sum((1, 2))
    total = jnp.where(member.any(2).sum(1) >= least_joints, total, 0)
    best, who = jax.lax.top_k(total, min(count, k * n))
    chosen = member[who] & (best > 0)[:, None, None]  # [m, k, n]
    found = jnp.where(chosen[..., None], places[None], 0).sum(2)
    out = found, jnp.where(chosen, values[None], 0).sum(2), best
    rest = count - len(who)
    return tuple(jnp.pad(x, ((0, rest), *((0, 0) for _ in x.shape[1:]))) for x in out)


def line_samples(
    field: Float[Array, "h w 2"], start: Float[Array, "n 2"], end: Float[Array, "m 2"]
) -> Float[Array, "n m s"]:
    """The field along each segment: at SAMPLES places from start to end, both included, its component in
    the segment's direction; the field is bilinear between cells. 0 for a segment without length."""
    way = end[None] - start[:, None]
    length = jnp.sqrt(jnp.maximum((way**2).sum(-1), 1e-12))
    unit = jnp.where((length > 1e-6)[..., None], way / length[..., None], 0)
    at = start[:, None, None] + jnp.linspace(0, 1, SAMPLES)[None, None, :, None] * way[:, :, None]  # [n, m, s, 2]
    sampled = [map_coordinates(field[..., i], [at[..., 1], at[..., 0]], order=1, mode="nearest") for i in (0, 1)]
    return sampled[0] * unit[..., None, 0] + sampled[1] * unit[..., None, 1]


def limb_scores(
    field: Float[Array, "h w 2"], start: Float[Array, "n 2"], end: Float[Array, "m 2"]
) -> Float[Array, "n m"]:
    """What speaks for each segment as a limb; 0 for one that is none.

    As the release decides: the mean of the samples above PASSES, less what half the picture's height falls short of the
    segment's length, min(height / length - 1, 0); it must be above 0 and more than PART of the samples above PASSES.
    """
    samples = line_samples(field, start, end)
    passes = samples > PASSES
    mean = jnp.where(passes, samples, 0).sum(-1) / jnp.maximum(passes.sum(-1), 1)
    length = jnp.linalg.norm(end[None] - start[:, None], axis=-1)
    score = mean + jnp.minimum(field.shape[0] / 2 / jnp.maximum(length, 1e-6) - 1, 0)
    return jnp.where((score > 0) & (passes.mean(-1) > PART), score, 0)


def assemble(partner: Int[Array, "c n"], limbs: Limbs, joints: int) -> Int[Array, "k n"]:
    """Whose each candidate is: the number of a person, the same for all candidates of one person.

    `partner` is, for each limb, the number of the second joint's candidate that each of the first joint's goes with, or
    -1. Every candidate starts as a person of its own; limb by limb, a pair makes two people one, unless they have a
    joint in common. Where limbs form a tree, they never have.
    """
    _, n = partner.shape
    first, second = (jnp.asarray([limb[end] for limb in limbs]) for end in (0, 1))

    def join(step, label):
        limb, index = step // n, step % n
        other = partner[limb, index]
        one, two = label[first[limb], index], label[second[limb], jnp.maximum(other, 0)]
        both = ((label == one).any(1) & (label == two).any(1)).any()
        return jnp.where((other >= 0) & ~both & (label == two), one, label)

    return jax.lax.fori_loop(0, partner.size, join, jnp.arange(joints * n).reshape(joints, n))
