"""Starts at which a network interpolates already, so that what is left to learn is the detail.

Where a network for luminance has no skip connection, its first filters pass the image on and a transposed convolution
enlarges it bilinearly. FCN's deconvolutions enlarge every map so.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pixlab.errors import UserError
from pixlab.nn.upsample import triangle_matrix

Initializer = nn.initializers.Initializer


def passing(init: Initializer) -> Initializer:
    """For convolutions with odd windows: kernels [row, column, in, out] from `init`, but the first channel goes out as
    it came in."""

    def start(key, shape, dtype=jnp.float32) -> jax.Array:
        rows, columns = shape[:2]
        return init(key, shape, dtype).at[..., 0].set(0).at[rows // 2, columns // 2, 0, 0].set(1)

    return start


def interpolating(init: Initializer, stride: int, padding: int) -> Initializer:
    """For a TransposedConv: kernels [row, column, in, out] from `init`, but the first channel is enlarged bilinearly.

    Tap r of input pixel i adds to output pixel o = stride i + r - padding, which lies o - (stride i + (stride - 1) / 2)
    pixels from i's centre. What a window narrower than 2 stride would need is missing.
    """

    def start(key, shape, dtype=jnp.float32) -> jax.Array:
        rows, columns = (
            np.maximum(0, 1 - np.abs(np.arange(n) - padding - (stride - 1) / 2) / stride) for n in shape[:2]
        )
        return init(key, shape, dtype).at[:, :, 0, 0].set(np.outer(rows, columns))

    return start


def bilinear(key, shape, dtype=jnp.float32) -> jax.Array:
    """For a TransposedConv from c to c channels: kernels [n, n, c, c] that enlarge every channel bilinearly, to itself.

    The stride is ceil(n / 2), and the taps are those of `upsample.triangle_upsample`. Initialises "deconvolution" in
    Long, Shelhamer & Darrell, CVPR 2015. Raises UserError for more or fewer channels out than in.
    """
    n, _, channels, out = shape
    if channels != out:
        raise UserError(f"a bilinear enlargement gives as many channels as it gets: {channels} cannot become {out}")
    taps = triangle_matrix(1, n, (n + 1) // 2, n, 0)[:, 0]
    return jnp.asarray(np.einsum("i,j,cd->ijcd", taps, taps, np.eye(channels)), dtype)
