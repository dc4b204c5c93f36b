"""Loss on surface normals."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def normal_loss(
    normal: Float[Array, "b h w 3"], target: Float[Array, "b h w 3"], valid: Float[Array, "b h w 1"]
) -> Float[Array, ""]:
    """Minus the mean dot product of predicted and true unit normals over the valid pixels of the batch, in [-1, 1].

    The network normalises its own output; `target` is ignored where `valid` is 0, and with nothing valid the loss is 0
    with a zero gradient. Eigen & Fergus, ICCV 2015 (arXiv 1411.4734), section 4.2.
    """
    dots = jnp.sum(normal * jnp.where(valid > 0, target, 0.0), axis=-1, keepdims=True)
    return -jnp.sum(dots * valid) / jnp.maximum(jnp.sum(valid), 1.0)
