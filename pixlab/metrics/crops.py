"""The parts of an NYU frame that papers score, by name, and putting a prediction onto a frame."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.errors import UserError


class Crop(NamedTuple):
    """Rows top..bottom and columns left..right (0-based, the ends excluded) of a frame of `height` x `width`.

    Edges may lie within a pixel: those of a map's cells around the pixels that it answers for do.
    """

    top: float
    bottom: float
    left: float
    right: float
    height: int = 480
    width: int = 640

    def slices(self, height: int, width: int) -> tuple[slice, slice]:
        """Row and column slices for a frame of this size, edges scaled and rounded to whole pixels."""
        y, x = height / self.height, width / self.width
        rows = slice(round(self.top * y), round(self.bottom * y))
        return rows, slice(round(self.left * x), round(self.right * x))

    def in_middle_of(self, size: tuple[int, int]) -> Crop:
        """The same part of a larger frame (height, width), in whose middle, rounded up-left, this crop's frame lies."""
        top, left = (size[0] - self.height) // 2, (size[1] - self.width) // 2
        return Crop(self.top + top, self.bottom + top, self.left + left, self.right + left, *size)


# Several of these go by the name "Eigen crop" in the literature.
TOOLBOX = Crop(44, 471, 40, 601)  # NYU toolbox, get_projection_mask: MATLAB rows 45..471, columns 41..601; 427x561
PYTHON_PORT = Crop(45, 471, 41, 601)  # the same numbers read as Python slices, as BTS and its heirs do; 426x560
GUPTA = Crop(45, 470, 40, 600)  # Gupta et al. 2013: MATLAB rows 46..470, columns 41..600; 425x560
EIGEN_REGION = Crop(20, 460, 24, 616)  # what the network of Eigen et al. 2014 covers, as DenseDepth scores it; 440x592
EIGEN_REGION_SHORT = Crop(20, 459, 24, 615)  # the same with the last row and column lost; 439x591
EIGEN_FERGUS = Crop(11, 227, 13, 305, 240, 320)  # what the last scale of Eigen & Fergus 2015 covers; of a 240x320 frame


def inside(crop: Crop | None, height: int, width: int) -> Float[Array, "{height} {width} 1"]:
    """1 in the crop and 0 around it; all 1 without a crop."""
    if crop is None:
        return jnp.ones((height, width, 1))
    return jnp.zeros((height, width, 1)).at[crop.slices(height, width)].set(1.0)


def onto_frame(
    prediction: Float[Array, "h w c"], height: int, width: int, *, resize: str = "nearest", covers: Crop | None = None
) -> Float[Array, "{height} {width} c"]:
    """A predicted map at the size of the frame: resized to the part that it `covers` (None: all), edges repeated.

    `resize` is "nearest" or "bilinear", half-pixel centres, no smoothing. Raises UserError for another one.
    """
    if resize not in ("nearest", "bilinear"):
        raise UserError(f"resize is {resize!r}: use 'nearest' or 'bilinear'")
    rows, columns = (slice(0, height), slice(0, width)) if covers is None else covers.slices(height, width)
    shape = (rows.stop - rows.start, columns.stop - columns.start, prediction.shape[-1])
    if prediction.shape != shape:
        prediction = jax.image.resize(prediction, shape, resize, antialias=False)
    around = ((rows.start, height - rows.stop), (columns.start, width - columns.stop), (0, 0))
    return jnp.pad(prediction, around, mode="edge") if covers else prediction
