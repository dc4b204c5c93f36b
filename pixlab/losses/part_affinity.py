"""What confidence maps and part affinity fields should be, and the loss: Cao, Simon, Wei & Sheikh, CVPR 2017 (arXiv
1611.08050), section 2.

People's joints are padded to a fixed number of people: places [b, p, k, 2], (x, y) in cells, the centre of the top-left
cell at (0, 0), and known [b, p, k], 0 for joints that nobody labelled and for people that are not there. A limb is a
pair of joints' numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.losses.heatmap import gaussian_maps

Limbs = Sequence[tuple[int, int]]
SHORT = 1e-6  # cells: a limb whose ends are as close as this has no direction and no field


def confidence_maps(
    places: Float[Array, "b p k 2"], known: Float[Array, "b p k"], size: tuple[int, int], sigma: float
) -> Float[Array, "b h w k2"]:
    """Of each joint the largest of the people's exp(-d^2 / sigma^2), then the background, 1 - the joints' largest.

    The exponent is the paper's: sigma is the square root of 2 times a Gaussian's standard deviation.
    """
    b, p, k = known.shape
    maps = gaussian_maps(places.reshape(b, p * k, 2), known.reshape(b, p * k), size, sigma / 2**0.5)
    maps = maps.reshape(b, *size, p, k).max(3)
    return jnp.concatenate([maps, 1 - maps.max(-1, keepdims=True)], -1)


def affinity_fields(
    places: Float[Array, "b p k 2"], known: Float[Array, "b p k"], size: tuple[int, int], limbs: Limbs, width: float
) -> Float[Array, "b h w c"]:
    """The unit vector from a limb's first joint to its second, on the cells of the limb: (x, y) of limb 0, of 1, ...

    A cell is on a limb if it lies between its ends and at most `width` cells to its side; where several people's limbs
    cross, the field is the mean of their vectors.
    """
    first, second = (jnp.asarray([limb[end] for limb in limbs]) for end in (0, 1))
    there = (known[:, :, first] > 0) & (known[:, :, second] > 0)  # [b, p, c]
    start, end = (jnp.where(there[..., None], places[:, :, joint], 0.0) for joint in (first, second))
    length = jnp.sqrt(jnp.maximum(((end - start) ** 2).sum(-1), SHORT**2))
    there &= length > SHORT
    unit = (end - start) / length[..., None]
    grid = jnp.stack(jnp.meshgrid(*(jnp.arange(n, dtype=jnp.float32) for n in reversed(size))), -1)  # [h, w, 2]
    away = grid[None, :, :, None, None] - start[:, None, None]  # [b, h, w, p, c, 2]
    vx, vy = unit[:, None, None, ..., 0], unit[:, None, None, ..., 1]
    along, across = away[..., 0] * vx + away[..., 1] * vy, away[..., 1] * vx - away[..., 0] * vy
    on = there[:, None, None] & (along >= 0) & (along <= length[:, None, None]) & (jnp.abs(across) <= width)
    total = (on[..., None] * unit[:, None, None]).sum(3)
    field = total / jnp.maximum(on.sum(3), 1)[..., None]  # [b, h, w, c, 2]
    return field.reshape(*field.shape[:3], 2 * len(limbs))


def affinity_loss(
    maps: Float[Array, "b t h w k"],
    fields: Float[Array, "b t h w c"],
    true_maps: Float[Array, "b h w k"],
    true_fields: Float[Array, "b h w c"],
    annotated: Float[Array, "b h w"],
) -> Float[Array, ""]:
    """Squared errors of both branches, summed over stages, channels and cells; mean over the images.

    `annotated` is the paper's W: 0 on cells where people may stand whom nobody labelled.
    """
    weight = annotated[:, None, :, :, None]
    errors = ((weight * (made - true[:, None]) ** 2).sum() for made, true in ((maps, true_maps), (fields, true_fields)))
    return sum(errors) / maps.shape[0]
