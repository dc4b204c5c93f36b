"""Starts at which a network interpolates already, so that what is left to learn is the detail.

Where a network for luminance has no skip connection, its first filters pass the image on and a transposed convolution
enlarges it bilinearly. FCN's deconvolutions enlarge every map so.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from pixlab.errors import UserError

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
        return init(key, shape, dtype).at[:, :, 0, 0].set(_bilinear(shape[:2], stride, padding))

    return start


def enlarging(stride: int, padding: int) -> Initializer:
    """For a TransposedConv of as many channels as it gets: every channel is enlarged bilinearly, to itself.

    How "deconvolution" starts in Long, Shelhamer & Darrell, CVPR 2015 (arXiv 1411.4038). The initializer raises
    UserError for more or fewer channels out than in.
    """

    def start(key, shape, dtype=jnp.float32) -> jax.Array:
        if shape[2] != shape[3]:
            raise UserError(
                f"a bilinear enlargement gives as many channels as it gets: {shape[2]} cannot become {shape[3]}"
            )
        own = jnp.eye(*shape[2:], dtype=dtype)
        return jnp.asarray(_bilinear(shape[:2], stride, padding), dtype)[:, :, None, None] * own[None, None]

    return start


def _bilinear(window: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    rows, columns = (np.maximum(0, 1 - np.abs(np.arange(n) - padding - (stride - 1) / 2) / stride) for n in window)
    return np.outer(rows, columns)
