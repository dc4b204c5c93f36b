"""Max pooling with the roundings and paddings of published networks."""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from pixlab.nn.platform import choose
from pixlab.nn.sizing import ceil_windows


def max_pool(
    x: Float[Array, "b h w c"], window: int, stride: int, *, padding: int = 0, ceil: bool = False
) -> Float[Array, "b h2 w2 c"]:
    """Max over `window` x `window` windows, `stride` apart.

    `padding` cells on every side never win. Without `ceil` the rows that fill no whole window are dropped (PyTorch,
    cuda-convnet as Eigen used it); with `ceil` the last window may hang over the end (Caffe).
    """
    sides = []
    for size in x.shape[1:3]:
        after = padding
        if ceil:
            count = ceil_windows(size + 2 * padding, window, stride)
            if (count - 1) * stride >= size + padding:  # a window that would start in the padding is dropped
                count -= 1
            after = (count - 1) * stride + window - size - padding
        sides.append((padding, max(after, 0)))
    plain = lambda x: nn.max_pool(x, window_shape=(window, window), strides=(stride, stride), padding=sides)  # noqa: E731
    return choose(x, cpu=lambda x: _by_slices(x, window, stride, sides), default=plain)


def _by_slices(x, window, stride, sides):
    """The same as the winner among strided slices, along columns and then rows: on CPUs the gradient of XLA's own
    pooling takes ten times as long. Both give it to the first winner of a window, row by row."""
    if any(map(any, sides)):
        x = lax.pad(x, jnp.array(-jnp.inf, x.dtype), ((0, 0, 0), *((a, b, 0) for a, b in sides), (0, 0, 0)))
    for axis in (2, 1):
        last = (x.shape[axis] - window) // stride * stride
        slices = (lax.slice_in_dim(x, i, i + last + 1, stride, axis) for i in range(window))
        x = functools.reduce(_first_winner, slices)
    return x


def _first_winner(a, b):
    return jnp.where((a >= b) | jnp.isnan(a), a, b)
