"""Joints as coordinates: how far they are from where they should be."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def joint_loss(
    places: Float[Array, "b k 2"], target: Float[Array, "b k 2"], known: Float[Array, "b k"]
) -> Float[Array, ""]:
    """Sum over the known joints of the squared distance, mean over images (Toshev & Szegedy, CVPR 2014).

    A joint that is not known (0) has no part in it and gets no gradient, whatever stands there.
    """
    away = jnp.where(known[..., None] > 0, places - target, 0.0)
    return jnp.mean(jnp.sum(away**2, (1, 2)))
