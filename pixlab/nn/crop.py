"""Windows of a map, each at a place of its own."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int


def crop(x: Float[Array, "b h w c"], corners: Int[Array, "b k 2"], size: int) -> Float[Array, "b k n n c"]:
    """k windows of size x size cells of each image, whose top left cells are (x, y) = `corners`; zeros outside of it.

    The gradient adds up where windows overlap.
    """
    h, w = x.shape[1:3]
    x = jnp.pad(x, ((0, 0), (size, size), (size, size), (0, 0)))
    corners = jnp.clip(corners, -size, jnp.array((w, h))[None, None]) + size  # beyond that, there are only zeros

    def one(image, corner):
        return lax.dynamic_slice(image, (corner[1], corner[0], 0), (size, size, image.shape[-1]))

    return jax.vmap(jax.vmap(one, (None, 0)))(x, corners)
