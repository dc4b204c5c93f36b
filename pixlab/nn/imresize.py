"""MATLAB's `imresize`: bicubic interpolation that smooths before it shrinks.

Published super-resolution tables rest on it; other libraries' bicubic differs at borders or everywhere.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from jaxtyping import Float64, Shaped

from pixlab.errors import UserError


def imresize(
    image: Shaped[np.ndarray, "h w *c"], scale: float | None = None, size: tuple[int, int] | None = None
) -> Float64[np.ndarray, "h2 w2 *c"]:
    """The image [h, w] or [h, w, c] in float64, unrounded, of size ceil(scale * (h, w)), or `size` (rows, columns).

    Bicubic with a = -0.5 (Keys 1981), widened by 1 / scale where it shrinks; beyond the border the image is mirrored,
    its edge repeated. Raises UserError unless exactly one of `scale` and `size` is given, and positive.
    """
    if (scale is None) == (size is None):
        raise UserError("imresize: give either scale or size")
    if size is None:
        if not (math.isfinite(scale) and scale > 0):
            raise UserError(f"imresize: scale must be positive, not {scale}")
        size, scales = tuple(_ceil(n * scale) for n in image.shape[:2]), (float(scale), float(scale))
    else:
        if min(size) < 1:
            raise UserError(f"imresize: size must be positive, not {size}")
        scales = tuple(new / old for new, old in zip(size, image.shape[:2], strict=True))
    image = image.astype(np.float64)
    for axis in sorted((0, 1), key=lambda axis: scales[axis]):  # the side that shrinks most comes first
        if size[axis] != image.shape[axis] or scales[axis] != 1:
            image = _along(image, axis, *_taps(image.shape[axis], size[axis], scales[axis]))
    return image


def imresize_uint8(image: Shaped[np.ndarray, "h w *c"], scale: float) -> Shaped[np.ndarray, "h2 w2 *c"]:
    """What MATLAB makes of uint8 images: like `imresize`, but rounded to uint8 after each of the two directions.

    Raises UserError as `imresize` does, and for other types than uint8.
    """
    if image.dtype != np.uint8:
        raise UserError(f"imresize_uint8: the image must be uint8, not {image.dtype}")
    if not (math.isfinite(scale) and scale > 0):
        raise UserError(f"imresize: scale must be positive, not {scale}")
    for axis in (0, 1):
        taps = _taps(image.shape[axis], _ceil(image.shape[axis] * scale), float(scale))
        image = np.clip(np.floor(_along(image.astype(np.float64), axis, *taps) + 0.5), 0, 255).astype(np.uint8)
    return image


def _ceil(length: float) -> int:
    return math.ceil(length - 1e-9)  # 49 * (1 / 7) is 7


def _cubic(x: np.ndarray) -> np.ndarray:
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


@functools.lru_cache(maxsize=256)
def _taps(length: int, new: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels [new, taps] each new pixel is made of, and their weights [new, taps]."""
    shrink = min(scale, 1.0)
    width = 4 / shrink
    centre = (np.arange(new) + 0.5) / scale - 0.5
    first = np.floor(centre - width / 2).astype(int)
    index = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = _cubic(shrink * (centre[:, None] - index))
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0, axis=0)
    index = np.mod(index[:, used], 2 * length)
    return np.minimum(index, 2 * length - 1 - index), weights[:, used]


def _along(image: np.ndarray, axis: int, index: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums of the pixels `index` along an axis, tap by tap: no more memory than two results."""
    image, total = np.moveaxis(image, axis, 0), 0.0
    tail = (1,) * (image.ndim - 1)
    for tap in range(index.shape[1]):
        total = total + image[index[:, tap]] * weights[:, tap].reshape(-1, *tail)
    return np.moveaxis(total, 0, axis)
