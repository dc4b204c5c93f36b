"""Convolution where one side has few channels, by matrix products: XLA:CPU is several times as fast
at them as at sliding windows.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from pixlab.nn.winograd import Pads


def few(shape: tuple[int, ...]) -> bool:
    """Whether of a kernel [n,m,c,c2] the windows of one side together have at most twice the channels of the other."""
    n, m, *channels = shape
    return n * m * min(channels) <= 2 * max(channels)


def to_few_channels(
    x: Float[Array, "b h w c"], kernel: Float[Array, "n m c c2"], pads: Pads
) -> Float[Array, "b h2 w2 c2"]:
    """Convolution [b,h,w,c] * [n,m,c,c2] with zeros around: what each tap makes of each pixel, moved into its place and
    added."""
    n, m, c, d = kernel.shape
    taps = lax.dot_general(kernel.swapaxes(2, 3).reshape(-1, c), x.reshape(-1, c), (((1,), (1,)), ((), ())))
    taps = jnp.pad(taps.reshape(n * m, d, *x.shape[:3]), (*((0, 0),) * 3, *pads))
    h, w = taps.shape[3] + 1 - n, taps.shape[4] + 1 - m
    parts = (taps[m * i + j, :, :, i : i + h, j : j + w] for i in range(n) for j in range(m))
    return sum(parts).transpose(1, 2, 3, 0)


def kernel_gradient_of_patches(
    x: Float[Array, "b h w c"], grad: Float[Array, "b h2 w2 c2"], pads: Pads, window: tuple[int, ...]
) -> Float[Array, "n m c c2"]:
    """Gradient [n,m,c,c2] of a kernel from its input and its output's gradient: the windows of whichever has fewer
    channels, as a matrix, times the other."""
    n, m, c, d = window
    if c <= d:
        return _patches_times(x, pads, n, m, grad).reshape(window)
    back = _patches_times(grad, opposite(pads, window), n, m, x).reshape(n, m, d, c)
    return back[::-1, ::-1].swapaxes(2, 3)


def opposite(pads: Pads, window: tuple[int, ...]) -> Pads:
    """The pads with which the output's gradient takes the input's place."""
    return tuple((n - 1 - before, n - 1 - after) for n, (before, after) in zip(window, pads, strict=False))


def _patches_times(x, pads, n, m, other):
    """[n m,c,c2]: the n m windows of x as a matrix times the other."""
    x = jnp.pad(x, ((0, 0), *pads, (0, 0))).transpose(3, 0, 1, 2)
    h, w = other.shape[1:3]
    patches = jnp.stack([x[:, :, i : i + h, j : j + w] for i in range(n) for j in range(m)])
    return lax.dot_general(patches, other, (((2, 3, 4), (0, 1, 2)), ((), ())))
