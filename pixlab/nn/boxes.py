"""Square parts of images, wherever they lie. Places are (x, y) in pixels, the centre of the first pixel at (0, 0)."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def box_crops(
    image: Float[Array, "b h w c"], centre: Float[Array, "b n 2"], side: Float[Array, "b n"], size: int
) -> Float[Array, "b n {size} {size} c"]:
    """The squares of `side` pixels around each `centre`, resampled bilinearly to `size` cells each way.

    Cell i lies at centre + ((i + 1/2) / size - 1/2) side. Outside is black, and fades in over the last pixel. Nothing
    is averaged: a side of more than 2 `size` skips pixels.
    """
    at = ((jnp.arange(size, dtype=jnp.float32) + 0.5) / size - 0.5)[None, None] * side[..., None]

    def weights(axis, count):
        where = centre[..., axis, None] + at
        away = jnp.abs(where[..., None] - jnp.arange(count, dtype=jnp.float32)[None, None, None])
        return jnp.maximum(0, 1 - away).astype(image.dtype)

    rows, columns = weights(1, image.shape[1]), weights(0, image.shape[2])
    return jnp.einsum("bnjw,bniwc->bnijc", columns, jnp.einsum("bnih,bhwc->bniwc", rows, image))
