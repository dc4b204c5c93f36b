"""Convolution by Winograd's minimal filtering: Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR
2016.

Tiles of 6x6 inputs are transformed, so that 36 multiplications per pair of channels give 4x4 outputs of a 3x3 kernel
(directly 144) or 2x2 of a 5x5 (100). In float32 this rounds to 3e-6 of the largest output, where the direct sum rounds
to 1e-6.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], tuple[int, int]]
TILE = 6
POINTS = np.array([0, 2 / 3, -2 / 3, 3 / 2, -3 / 2])
"""Where the polynomials of image and kernel are multiplied, beside infinity. Lavin & Gray's (0, 1, -1, 2, -2) round to
three times as much."""


def powers(n: int) -> np.ndarray:
    """[6,n]: the powers 0 to n - 1 of the points; of infinity, only the last counts."""
    return np.vstack([np.vander(POINTS, n, increasing=True), np.eye(n)[-1:]])


# Their G is powers(n) and their A is powers(7 - n), for any n; this is their B^T.
INPUT = np.linalg.inv(powers(TILE)).T.round(15)


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
