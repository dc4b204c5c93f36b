"""What super-resolution's networks see of a photo: luminance or colour, at low resolution or enlarged again.

Three kinds of input, as the papers' own code makes them:

"enlarged": luminance (BT.601, rounded to 8 bits), shrunk and enlarged again by bicubic interpolation, unrounded
    between and after (Dong et al., arXiv 1501.00092; Kim et al., arXiv 1511.04587).
"low": the same luminance, shrunk, unrounded (Dong et al., arXiv 1608.00367).
"colour": RGB, shrunk to an 8-bit image, rounded after each direction as MATLAB does (Lim et al., arXiv 1707.02921).

A grey file is its own luminance, as there: not squeezed into 16..235.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float64, Shaped, UInt8

from pixlab.data.pipeline import Example
from pixlab.errors import UserError
from pixlab.nn.colour import luminance
from pixlab.nn.imresize import imresize, imresize_uint8

Kind = Literal["enlarged", "low", "colour"]
MARGIN = 4  # pixels of low resolution around a piece: what its own, shrunk and enlarged again, depend on


def modcrop(image: Shaped[np.ndarray, "h w *c"], scale: int) -> Shaped[np.ndarray, "h2 w2 *c"]:
    """The image without its last rows and columns, so that both sizes are multiples of `scale`.

    Raises UserError where nothing is left.
    """
    height, width = (n - n % scale for n in image.shape[:2])
    if not height or not width:
        raise UserError(f"a photo of {image.shape[1]}x{image.shape[0]} pixels is too small for x{scale}; take it out")
    return image[:height, :width]


def truth(photo: Example, kind: Kind) -> UInt8[np.ndarray, "h w c"]:
    """What is to be predicted of a photo ("image" uint8 [h, w, 3], "grey"): luminance [h, w, 1], or RGB [h, w, 3]."""
    image = photo["image"]
    if kind == "colour":
        return image
    if photo.get("grey", False):
        return image[..., :1]
    y = luminance(image.astype(np.float64) / 255)
    return np.floor(255 * y + 0.5).astype(np.uint8)


def seen(high: UInt8[np.ndarray, "h w c"], scale: int, kind: Kind) -> Float64[np.ndarray, "h2 w2 c"]:
    """What a network sees of the truth, both sizes multiples of `scale`, in [0, 1] but for overshoot."""
    if kind == "colour":
        return imresize_uint8(high, 1 / scale) / 255.0
    low = imresize(high, 1 / scale) / 255
    return imresize(low, float(scale)) if kind == "enlarged" else low


def piece(
    photo: Example, scale: int, kind: Kind, *, top: int, left: int, size: int
) -> tuple[Float64[np.ndarray, "n n c"], UInt8[np.ndarray, "m m c"]]:
    """(what is seen, truth) of a square of `size` pixels of low resolution at (top, left) of a photo.

    The same as that square of the whole photo, cut to multiples of `scale`, without the work for the rest.
    """
    image = modcrop(photo["image"], scale)
    (y, x), (height, width) = (max(0, at - MARGIN) for at in (top, left)), (n // scale for n in image.shape[:2])
    bottom, right = min(height, top + size + MARGIN), min(width, left + size + MARGIN)
    high = truth(photo | {"image": image[y * scale : bottom * scale, x * scale : right * scale]}, kind)
    y, x, unit = top - y, left - x, scale if kind == "enlarged" else 1
    low = seen(high, scale, kind)[y * unit : (y + size) * unit, x * unit : (x + size) * unit]
    return low, high[y * scale : (y + size) * scale, x * scale : (x + size) * scale]


def enlarged(image: Float64[np.ndarray, "h w c"], scale: int, kind: Kind) -> Float64[np.ndarray, "h2 w2 c"]:
    """What bicubic interpolation makes of what a network sees, at high resolution; of 8-bit colours as MATLAB does."""
    if kind == "enlarged":
        return image
    if kind == "colour":
        return imresize_uint8(np.rint(255 * image).astype(np.uint8), float(scale)) / 255.0
    return imresize(image, float(scale))
