"""Convolution, faster on CPUs: the same function everywhere, computed by other formulas where XLA:CPU gains by them.

Wide 3x3 convolutions go by Winograd's minimal filtering F(2x2, 3x3) (Lavin & Gray, CVPR 2016): each 2x2 of outputs
takes 16 multiplications per pair of channels instead of 36. The kernel's gradient is a convolution of the image with
the output's gradient or the other way round, whichever has fewer channels goes first: XLA:CPU is up to ten times
faster that way. TPUs and GPUs get `lax.conv_general_dilated` as it is.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from pixlab.nn.platform import choose

Pads = tuple[tuple[int, int], tuple[int, int]]
WIDE = 64  # channels in and out from which Winograd's transforms cost less than the multiplications that they save


def conv_general_dilated(x, kernel, strides, padding, **options):
    """For `nn.Conv(conv_general_dilated=...)`: `lax.conv_general_dilated`, by the formulas below where it is on a CPU,
    float32, two-dimensional, and without strides, dilation and groups."""
    plain = functools.partial(lax.conv_general_dilated, window_strides=strides, padding=padding, **options)
    once = (*strides, *options["lhs_dilation"], *options["rhs_dilation"], options["feature_group_count"])
    if x.ndim != 4 or x.dtype != jnp.float32 or set(once) != {1} or options["precision"] is not None:
        return plain(x, kernel)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    pads = tuple(map(tuple, padding))
    return choose(x, kernel, cpu=lambda x, kernel: conv(x, kernel, pads), default=plain)


Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)
"""`flax.linen.Conv` with this convolution."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: Float[Array, "b h w c"], kernel: Float[Array, "n m c c2"], pads: Pads) -> Float[Array, "b h2 w2 c2"]:
    """Convolution [b,h,w,c] * [n,m,c,c2] of stride 1 with zeros around, pads ((top, bottom), (left, right))."""
    if _wide(kernel.shape):
        return winograd(x, kernel, pads)
    return lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _gradients(pads, saved, grad):
    x, kernel = saved
    turned, opposite = kernel[::-1, ::-1], _opposite(pads, kernel.shape)
    if _wide(kernel.shape):
        return winograd(grad, turned, opposite, back=True), winograd_kernel_gradient(x, grad, pads)
    return conv(grad, turned.swapaxes(2, 3), opposite), kernel_gradient(x, grad, pads, kernel.shape)


conv.defvjp(lambda x, kernel, pads: (conv(x, kernel, pads), (x, kernel)), _gradients)


def _wide(shape: tuple[int, ...]) -> bool:
    return shape[:2] == (3, 3) and min(shape[2:]) >= WIDE


def _opposite(pads: Pads, window: tuple[int, ...]) -> Pads:
    """The pads with which the output's gradient takes the input's place."""
    return tuple((n - 1 - before, n - 1 - after) for n, (before, after) in zip(window, pads, strict=False))


def kernel_gradient(
    x: Float[Array, "b h w c"], grad: Float[Array, "b h2 w2 c2"], pads: Pads, window: tuple[int, ...]
) -> Float[Array, "n m c c2"]:
    """Gradient [n,m,c,c2] of the kernel of `conv` from its input and its output's gradient."""
    if x.shape[3] <= grad.shape[3]:
        return _correlate(x, grad, pads, (2, 3, 0, 1))
    return _correlate(grad, x, _opposite(pads, window), (3, 2, 0, 1))[::-1, ::-1]


def _correlate(image, kernel, pads, out):
    """Convolution whose batch is the channels of `image` and whose channels are its batch."""
    numbers = lax.ConvDimensionNumbers((3, 0, 1, 2), (3, 0, 1, 2), out)
    return lax.conv_general_dilated(image, kernel, (1, 1), pads, dimension_numbers=numbers)


def winograd(
    x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 _ _"], pads: Pads, *, back: bool = False
) -> Float[Array, "b h2 w2 c2"]:
    """3x3 convolution [b,h,w,c] * [3,3,c,c2] with zeros around, by F(2x2, 3x3): Lavin & Gray 2016, section 4.1.

    With `back` the kernel is [3,3,c2,c], as the gradient of the input wants it.
    """
    b, h, w = x.shape[0], *(n + sum(p) - 2 for n, p in zip(x.shape[1:3], pads, strict=True))
    terms = _both(_kernel_terms, kernel).reshape(16, *kernel.shape[2:])
    products = jnp.einsum("ktc,kdc->ktd" if back else "ktc,kcd->ktd", _tiles(x, pads), terms)
    cells = _both(_outputs, products.reshape(4, 4, b, -(-h // 2), -(-w // 2), -1)).transpose(2, 3, 0, 4, 1, 5)
    return cells.reshape(b, 2 * cells.shape[1], 2 * cells.shape[3], -1)[:, :h, :w]


def winograd_kernel_gradient(
    x: Float[Array, "b h w c"], grad: Float[Array, "b h2 w2 c2"], pads: Pads
) -> Float[Array, "3 3 c c2"]:
    """Gradient of the kernel of `winograd` from its input and its output's gradient."""
    grad = jnp.pad(grad, ((0, 0), *((0, n % 2) for n in grad.shape[1:3]), (0, 0)))
    b, h, w, d = grad.shape
    cells = grad.reshape(b, h // 2, 2, w // 2, 2, d).transpose(2, 4, 0, 1, 3, 5)
    products = jnp.einsum("ktc,ktd->kcd", _tiles(x, pads), _both(_output_gradients, cells).reshape(16, -1, d))
    return _both(_kernel_gradient, products.reshape(4, 4, -1, d))


def _tiles(x, pads):
    """The transform [16,tiles,c] of the 4x4 tiles of x, padded, that start at every other row and column."""
    even = [(before, after + (n + before + after) % 2) for n, (before, after) in zip(x.shape[1:3], pads, strict=True)]
    x = jnp.pad(x, ((0, 0), *even, (0, 0)))
    rows = jnp.stack(_tile_terms(*_every_other(x, 1)))
    return jnp.stack(_tile_terms(*_every_other(rows, 3)), axis=1).reshape(16, -1, x.shape[3])


def _every_other(x, axis):
    """Four slices of x from its indices 0, 1, 2 and 3 on: what the tiles hold there."""
    return (lax.slice_in_dim(x, i, x.shape[axis] - 3 + i, 2, axis) for i in range(4))


def _both(transform, x):
    """A one-dimensional transform of the first axis of x and then of the second."""
    x = jnp.stack(transform(*x))
    return jnp.stack(transform(*x.swapaxes(0, 1)), axis=1)


def _tile_terms(a, b, c, d):
    return a - c, b + c, c - b, b - d


def _kernel_terms(a, b, c):
    return a, (a + b + c) / 2, (a - b + c) / 2, c


def _kernel_gradient(a, b, c, d):
    return a + (b + c) / 2, (b - c) / 2, (b + c) / 2 + d


def _outputs(a, b, c, d):
    return a + b + c, b - c - d


def _output_gradients(even, odd):
    return even, even + odd, even - odd, -odd
