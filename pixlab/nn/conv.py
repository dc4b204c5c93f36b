"""Convolution, faster on CPUs: the same function everywhere, computed by other formulas where XLA:CPU gains by them.

Wide convolutions go by Winograd's minimal filtering (Lavin & Gray, CVPR 2016): tiles of 6x6 inputs are transformed, so
that 36 multiplications per pair of channels give 4x4 outputs of a 3x3 kernel (directly 144) or 2x2 of a 5x5 (100). In
float32 this rounds to 3e-6 of the largest output, where the direct sum rounds to 1e-6. The kernel's gradient is a
convolution of the image with the output's gradient or the other way round, whichever has fewer channels goes first:
XLA:CPU is up to ten times faster that way. TPUs and GPUs get `lax.conv_general_dilated` as it is.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from pixlab.nn.platform import choose

Pads = tuple[tuple[int, int], tuple[int, int]]
WIDE = {(3, 3): 32, (5, 5): 64}  # channels in and out from which the transforms cost less than what they save


def conv_general_dilated(x, kernel, strides, padding, **options):
    """For `nn.Conv(conv_general_dilated=...)`: `lax.conv_general_dilated`, by the formulas below where it is on a CPU,
    float32, two-dimensional, without strides, dilation and groups, and padded by less than the window."""
    plain = functools.partial(lax.conv_general_dilated, window_strides=strides, padding=padding, **options)
    once = (*strides, *options["lhs_dilation"], *options["rhs_dilation"], options["feature_group_count"])
    if x.ndim != 4 or x.dtype != jnp.float32 or set(once) != {1} or options["precision"] is not None:
        return plain(x, kernel)
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    pads = tuple(map(tuple, padding))
    if any(not 0 <= pad < n for both, n in zip(pads, kernel.shape, strict=False) for pad in both):
        return plain(x, kernel)
    return choose(x, kernel, cpu=lambda x, kernel: conv(x, kernel, pads), default=plain)


Conv = functools.partial(nn.Conv, conv_general_dilated=conv_general_dilated)
"""`flax.linen.Conv` with this convolution."""

TILE = 6
POINTS = np.array([0, 2 / 3, -2 / 3, 3 / 2, -3 / 2])
"""Where the polynomials of image and kernel are multiplied, beside infinity. Lavin & Gray's (0, 1, -1, 2, -2) round to
three times as much."""


def powers(n: int) -> np.ndarray:
    """[6,n]: the powers 0 to n - 1 of the points; of infinity, only the last counts."""
    return np.vstack([np.vander(POINTS, n, increasing=True), np.eye(n)[-1:]])


# Their G is powers(n) and their A is powers(7 - n), for any n; this is their B^T.
INPUT = np.linalg.inv(powers(TILE)).T.round(15)


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
        return winograd(grad, turned, opposite, back=True), winograd_kernel_gradient(x, grad, pads, len(kernel))
    return conv(grad, turned.swapaxes(2, 3), opposite), kernel_gradient(x, grad, pads, kernel.shape)


conv.defvjp(lambda x, kernel, pads: (conv(x, kernel, pads), (x, kernel)), _gradients)


def _wide(shape: tuple[int, ...]) -> bool:
    return min(shape[2:]) >= WIDE.get(shape[:2], np.inf)


def _opposite(pads: Pads, window: tuple[int, ...]) -> Pads:
    """The pads with which the output's gradient takes the input's place."""
    return tuple((n - 1 - before, n - 1 - after) for n, (before, after) in zip(window, pads, strict=False))


def kernel_gradient(
    x: Float[Array, "b h w c"], grad: Float[Array, "b h2 w2 c2"], pads: Pads, window: tuple[int, ...]
) -> Float[Array, "n m c c2"]:
    """Gradient [n,m,c,c2] of the kernel of `conv` from its input and its output's gradient."""
    if window[:2] == (1, 1):
        return jnp.einsum("bhwc,bhwd->cd", x, grad)[None, None]
    if x.shape[3] <= grad.shape[3]:
        return _correlate(x, grad, pads, (2, 3, 0, 1))
    pads = _opposite(pads, window)
    if any(m > n for n, m in zip(grad.shape[1:3], x.shape[1:3], strict=True)):
        # XLA:CPU takes ten times as long for windows that are larger than what they slide over
        grad, pads = jnp.pad(grad, ((0, 0), *pads, (0, 0))), ((0, 0), (0, 0))
    return _correlate(grad, x, pads, (3, 2, 0, 1))[::-1, ::-1]


def _correlate(image, kernel, pads, out):
    """Convolution whose batch is the channels of `image` and whose channels are its batch."""
    numbers = lax.ConvDimensionNumbers((3, 0, 1, 2), (3, 0, 1, 2), out)
    return lax.conv_general_dilated(image, kernel, (1, 1), pads, dimension_numbers=numbers)


def winograd(
    x: Float[Array, "b h w c"], kernel: Float[Array, "n n _ _"], pads: Pads, *, back: bool = False
) -> Float[Array, "b h2 w2 c2"]:
    """Convolution [b,h,w,c] * [n,n,c,c2], n = 3 or 5, with zeros around, by F(4x4, 3x3) or F(2x2, 5x5).

    With `back` the kernel is [n,n,c2,c], as the gradient of the input wants it.
    """
    n = kernel.shape[0]
    size = TILE + 1 - n
    b, h, w = x.shape[0], *(s + sum(p) + 1 - n for s, p in zip(x.shape[1:3], pads, strict=True))
    terms = _both(powers(n), kernel).reshape(TILE**2, *kernel.shape[2:])
    products = jnp.einsum("ktc,kdc->ktd" if back else "ktc,kcd->ktd", _tiles(x, pads, size), terms)
    products = products.reshape(TILE, TILE, b, -(-h // size), -(-w // size), -1)
    cells = _both(powers(size).T, products).transpose(2, 3, 0, 4, 1, 5)
    return cells.reshape(b, size * cells.shape[1], size * cells.shape[3], -1)[:, :h, :w]


def winograd_kernel_gradient(
    x: Float[Array, "b h w c"], grad: Float[Array, "b h2 w2 c2"], pads: Pads, n: int
) -> Float[Array, "n n c c2"]:
    """Gradient of the kernel of `winograd` from its input and its output's gradient."""
    size = TILE + 1 - n
    grad = jnp.pad(grad, ((0, 0), *((0, -s % size) for s in grad.shape[1:3]), (0, 0)))
    b, h, w, d = grad.shape
    cells = grad.reshape(b, h // size, size, w // size, size, d).transpose(2, 4, 0, 1, 3, 5)
    cells = _both(powers(size), cells).reshape(TILE**2, -1, d)
    products = jnp.einsum("ktc,ktd->kcd", _tiles(x, pads, size), cells).reshape(TILE, TILE, -1, d)
    return _both(powers(n).T, products)


def _tiles(x, pads, size):
    """The transform [36,tiles,c] of the 6x6 tiles of x, padded, that start `size` rows and columns apart."""
    sizes = zip(x.shape[1:3], pads, strict=True)
    whole = [(before, after + (TILE - s - before - after) % size) for s, (before, after) in sizes]
    x = jnp.pad(x, ((0, 0), *whole, (0, 0)))
    rows = jnp.stack(_times(INPUT, _slices(x, 1, size)))
    return jnp.stack(_times(INPUT, _slices(rows, 3, size)), axis=1).reshape(TILE**2, -1, x.shape[3])


def _slices(x, axis, size):
    """Slices of x from its indices 0 to 5 on, `size` apart: what the tiles hold there."""
    return [lax.slice_in_dim(x, i, x.shape[axis] - TILE + 1 + i, size, axis) for i in range(TILE)]


def _both(matrix, x):
    """A matrix times the first axis of x and then times the second."""
    x = jnp.stack(_times(matrix, x))
    return jnp.stack(_times(matrix, x.swapaxes(0, 1)), axis=1)


def _times(matrix, parts):
    """A small matrix times a vector of arrays, as sums that XLA fuses: half of the entries are zeros and ones."""
    pairs = (zip(row, parts, strict=True) for row in matrix.tolist())
    return [sum(part if c == 1 else c * part for c, part in row if c) for row in pairs]
