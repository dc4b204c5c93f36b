"""N4, the pixel classifier of Ciresan, Giusti, Gambardella & Schmidhuber, "Deep Neural Networks Segment Neuronal
Membranes in Electron Microscopy Images", NIPS 2012, for windows and for whole images.

Windows of neighbouring pixels share nearly all of their convolutions. A whole image takes every step once: each pool is
taken at all four of its offsets, which are kept apart as images of their own, so that what follows is the same small
convolution (Giusti, Ciresan, Masci, Gambardella & Schmidhuber, "Fast Image Scanning with Deep Max-Pooling Convolutional
Neural Networks", ICIP 2013, arXiv 1302.1700). Nothing is interpolated: it is the window's answer at every pixel.
Deviation: ReLUs, unless `activation` says otherwise, and He's initialisation; the four networks' average, foveation and
the calibration of the outputs are not part of the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.errors import UserError
from pixlab.nn.conv import Conv
from pixlab.nn.pool import max_pool

WINDOW = 95  # pixels that an answer depends on, with itself in the middle
CONVS = (4, 5, 4, 4)  # windows of the convolutions; a 2x2 max pool follows each
STEP = 2 ** len(CONVS)  # offsets of the pools along an axis


def valid_size(size: int) -> int:
    """Rows (or columns) of scores for `size` unpadded rows: 16k for 16k + 94, 1 for 95. Raises UserError for others."""
    answer = size - WINDOW + 1
    if answer < 1 or (answer % STEP and answer > 1):
        raise UserError(f"unpadded N4: size {size} does not fit; take {WINDOW} or {STEP}*k + {WINDOW - 1}")
    return answer


class N4(nn.Module):
    """Grey values [b, h, w, c] in [0, 1] -> class scores [b, h, w, classes], linear (membrane or not).

    Beyond its border the image is mirrored, without its outermost pixels again; with `padding` "VALID" it is not, and
    16k + 94 rows or columns of it have 16k scores. Without `dense` the images are windows
    of 95x95 pixels, to train on, and the scores [b, 1, 1, classes] are those of the pixel in the middle; the parameters
    are the same. `width` scales the 48 filters of the convolutions and the 200 units of the fully connected layer;
    219,290 parameters for c = 1. Raises UserError for windows of another size, and for images that do not fit.
    """

    classes: int = 2
    dense: bool = True
    padding: Literal["MIRROR", "VALID"] = "MIRROR"
    width: float = 1.0
    activation: Callable[[jax.Array], jax.Array] = nn.relu
    kernel_init: nn.initializers.Initializer = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h2 w2 classes"]:
        h, w = image.shape[1:3]
        if self.dense and self.padding == "VALID":
            x, (h, w) = image, (valid_size(n) for n in (h, w))
            if 1 in (h, w):
                raise UserError(f"N4 learns from windows of {WINDOW}x{WINDOW} pixels: unset dense")
        elif self.dense:
            before = WINDOW // 2
            x = jnp.pad(image, ((0, 0), *((before, before + -n % STEP) for n in (h, w)), (0, 0)), mode="reflect")
        elif (h, w) != (WINDOW, WINDOW):
            raise UserError(f"N4 learns from windows of {WINDOW}x{WINDOW} pixels, got {h}x{w}: set dense for images")
        else:
            x = image
        for index, window in enumerate(CONVS, 1):
            x = self.activation(self._conv(48, window, f"conv{index}")(x))
            x = _fragments(max_pool(x, 2, 1)) if self.dense else max_pool(x, 2, 2)
        x = self.activation(self._conv(200, 3, "fc")(x))
        x = Conv(self.classes, (1, 1), kernel_init=self.kernel_init, name="out")(x)
        if not self.dense:
            return x
        for _ in CONVS:
            x = _together(x)
        return x[:, :h, :w]

    def _conv(self, channels: int, window: int, name: str) -> nn.Conv:
        channels = max(1, round(channels * self.width))
        return Conv(channels, (window, window), padding="VALID", kernel_init=self.kernel_init, name=name)


def _fragments(x: jax.Array) -> jax.Array:
    """[b, 2h, 2w, c] -> [4b, h, w, c]: the cells of even and odd rows and columns as images of their own."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(2, 4, 0, 1, 3, 5).reshape(4 * b, h // 2, w // 2, c)


def _together(x: jax.Array) -> jax.Array:
    """The inverse of `_fragments`."""
    b, h, w, c = x.shape
    return x.reshape(2, 2, b // 4, h, w, c).transpose(2, 3, 0, 4, 1, 5).reshape(b // 4, 2 * h, 2 * w, c)
