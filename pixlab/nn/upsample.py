"""Fixed enlargements."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pixlab.errors import UserError


def triangle_matrix(size: int, out: int, factor: int, window: int, crop: int) -> np.ndarray:
    """[out, size] weights of a 1-D transposed convolution: stride `factor`, `window` triangle taps, `crop` cut off.

    A triangle of that stride has 2*factor - 1 taps, or 2*factor where its peak falls between two of them: input cell j
    peaks at output factor*j + (window - 1)/2 - crop. Past the outermost peaks the result fades to zero. Raises
    UserError for another window.
    """
    if window not in (2 * factor - 1, 2 * factor):
        raise UserError(
            f"a triangle of stride {factor} has {2 * factor - 1} or {2 * factor} taps: the window cannot be {window}"
        )
    peaks = factor * np.arange(size)[None, :] + (window - 1) / 2 - crop
    return np.maximum(0.0, 1.0 - np.abs(np.arange(out)[:, None] - peaks) / factor).astype(np.float32)


def triangle_upsample(
    x: Float[Array, "b h w c"], size: tuple[int, int], *, factor: int = 4, window: int = 7, crop: int = 2
) -> Float[Array, "b h2 w2 c"]:
    """Bilinear enlargement by a transposed convolution with a fixed triangle kernel, cropped to `size` from `crop` on.

    Caffe's Deconvolution of kernel `window` and stride `factor` with the "bilinear" filler, each channel to itself.
    Eigen & Fergus 2015 enlarge the 14x19 maps of scale 1 to 55x74 so (factor 4, 7 taps, crop 2). Raises UserError for a
    window that is not 2*factor - 1 or 2*factor.
    """
    rows, cols = (
        jnp.asarray(triangle_matrix(n, out, factor, window, crop), x.dtype)
        for n, out in zip(x.shape[1:3], size, strict=True)
    )
    return jnp.einsum("ih,jw,bhwc->bijc", rows, cols, x)


def interpolation_matrix(positions: np.ndarray, size: int) -> np.ndarray:
    """[size, n] weights that interpolate n samples at ascending `positions` linearly at 0, 1, ..., size - 1.

    Outside the positions the nearest sample goes on.
    """
    columns = [np.interp(np.arange(size), positions, unit) for unit in np.eye(len(positions))]
    return np.stack(columns, axis=1).astype(np.float32)


def interpolated(
    x: Float[Array, "b h w c"], places: Sequence[np.ndarray], size: tuple[int, int]
) -> Float[Array, "b h2 w2 c"]:
    """Cells that lie on the rows and columns `places` ([h] and [w], ascending), linear at all pixels of `size`.

    Outside them the nearest cell goes on.
    """
    rows, cols = (jnp.asarray(interpolation_matrix(p, out), x.dtype) for p, out in zip(places, size, strict=True))
    return jnp.einsum("ih,jw,bhwc->bijc", rows, cols, x)


def nearest_upsample(x: Float[Array, "b h w c"], factor: int = 2) -> Float[Array, "b h2 w2 c"]:
    """Every cell repeated `factor` times along rows and columns."""
    return jnp.repeat(jnp.repeat(x, factor, axis=1), factor, axis=2)


def depth_to_space(x: Float[Array, "b h w c"], factor: int) -> Float[Array, "b h2 w2 c2"]:
    """Channels (row phase, column phase, c2) of every cell laid out as a `factor` x `factor` tile."""
    b, h, w, c = x.shape
    tiles = x.reshape(b, h, w, factor, factor, c // factor**2)
    return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(b, h * factor, w * factor, c // factor**2)


def resize_corners(x: Float[Array, "b h w c"], size: tuple[int, int]) -> Float[Array, "b h2 w2 c"]:
    """Linear interpolation to `size` that puts the outermost cells' centres on one another ("align corners").

    Cell j of h cells lies on row j (h2 - 1) / (h - 1): 41 cells come to lie 8 apart in 321. Nothing is smoothed before
    it shrinks.
    """
    return interpolated(x, [np.linspace(0, out - 1, n) for n, out in zip(x.shape[1:3], size, strict=True)], size)
