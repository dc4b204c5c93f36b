"""FCN-32s, 16s and 8s: Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015
(arXiv 1411.4038) and Shelhamer, Long & Darrell, TPAMI 2017 (arXiv 1605.06211), as in the authors' Caffe release.

VGG-16, its fully connected layers as convolutions, and scores of the classes every 32 pixels, which a fixed bilinear
deconvolution enlarges. The image lies in a margin of 100 zeros so that the 7x7 window of fc6 fits; each crop takes off
the part of the margin that is left at its stride. Deviation: no parameters for the deconvolutions that stay fixed, and
fc6 and fc7 start at He's distribution where no published weights replace them.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from pixlab.errors import UserError
from pixlab.models.vgg import VGG16
from pixlab.nn.conv import Conv
from pixlab.nn.convt import TransposedConv
from pixlab.nn.interpolating_init import enlarging
from pixlab.nn.normalise import CAFFE_STD, CAFFENET_MEAN
from pixlab.nn.upsample import triangle_upsample

MARGIN = 100  # zeros around the image, with the one that the first convolution pads anyway
CROP = {32: 19, 16: 27, 8: 31}  # pixels of the last deconvolution that lie before the image, by its stride
POOL4_CROP, POOL3_CROP = 5, 9  # cells of pool4 and pool3 that lie before the doubled scores
AT_ONCE = (0.01, 0.0001)  # of pool4 and pool3, whose values are larger than fc7's


class FCN(nn.Module):
    """RGB [b, h, w, 3] in [0, 1] -> class scores [b, h, w, classes], linear, for images of any size.

    `stride` 32 scores fc7 alone, 16 adds scores of pool4 to those, doubled, and 8 scores of pool3 too. All scores start
    at zero. The parameters of a finer network are those of the coarser one and one score layer more: training goes on
    from `fresh_of_16 | trained_of_32`. `at_once` is the 8s that is trained in one go: pool4 and pool3 are scaled down.
    `learn`: the deconvolutions that double start bilinear and learn; the last is always fixed. `fixed`: no gradient
    reaches fc7, so that the score layers alone learn (give the other layers no decay). Dropout `rate` after fc6 and
    fc7, which have `units` channels; `width` scales all channel counts but the classes. 134,346,581 parameters at
    stride 32, 134,362,751 at 8, for 21 classes. `padded`: the image has no margin, fc6 pads its input instead, which is
    a quarter of the work for pictures of 180x240 and not the paper's. Raises UserError for another stride.
    """

    classes: int
    stride: int = 32
    at_once: bool = False
    learn: bool = False
    fixed: bool = False
    rate: float = 0.5
    width: float = 1.0
    units: int = 4096
    padded: bool = False
    mean: Sequence[float] = CAFFENET_MEAN
    kernel_init: nn.initializers.Initializer = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h w classes"]:
        if self.stride not in CROP:
            raise UserError(f"FCN-{self.stride}s: the stride is 32, 16 or 8")
        around = 0 if self.padded else MARGIN - 1
        trunk = VGG16(
            self.width, self.mean, CAFFE_STD, kernel_init=self.kernel_init, around=around, ceil=True, name="trunk"
        )
        maps = trunk.maps(image)
        pool4, pool3 = maps["pool4"], maps["pool3"]
        if self.at_once:
            pool4, pool3 = AT_ONCE[0] * pool4, AT_ONCE[1] * pool3
        padding = "SAME" if self.padded else "VALID"
        units = max(1, round(self.units * self.width))
        x = fully_connected(maps["pool5"], 7, self.rate, self.kernel_init, train, units=units, padding=padding)
        scores = self._score(x, "score_fr")
        if self.stride <= 16:
            scores = self._fuse(scores, "upscore2", self._score(pool4, "score_pool4"), POOL4_CROP)
        if self.stride <= 8:
            scores = self._fuse(scores, "upscore_pool4", self._score(pool3, "score_pool3"), POOL3_CROP)
        crop = self.stride // 2 if self.padded else CROP[self.stride]
        return triangle_upsample(scores, image.shape[1:3], factor=self.stride, window=2 * self.stride, crop=crop)

    def _score(self, x: jax.Array, name: str) -> jax.Array:
        x = jax.lax.stop_gradient(x) if self.fixed else x
        return Conv(self.classes, (1, 1), kernel_init=nn.initializers.zeros, name=name)(x)

    def _fuse(self, scores: jax.Array, name: str, skip: jax.Array, crop: int) -> jax.Array:
        """The scores, doubled, and the skip's cells at the same pixels."""
        if self.padded:  # cell i of the skip is cell i + 1 of the doubled scores
            first, (h, w) = 1, skip.shape[1:3]
        else:
            first, (h, w) = 0, (2 * n + 2 for n in scores.shape[1:3])
            skip = skip[:, crop : crop + h, crop : crop + w]
        if self.learn:
            scores = TransposedConv(self.classes, 4, 2, use_bias=False, kernel_init=enlarging(2, 1), name=name)(scores)
            scores = scores[:, first : first + h, first : first + w]
        else:
            scores = triangle_upsample(scores, (h, w), factor=2, window=4, crop=first)
        return scores + skip


def fully_connected(
    x: Float[Array, "b h w c"],
    window: int,
    rate: float,
    kernel_init: nn.initializers.Initializer,
    train: bool,
    *,
    units: int,
    padding: str = "VALID",
) -> Float[Array, "b h2 w2 c2"]:
    """A classifier's first two layers of `units`, "fc6" and "fc7", at every window of pool5.

    With ReLUs and dropout. Called in the method of a module, whose layers they become.
    """
    for name, size in (("fc6", window), ("fc7", 1)):
        x = nn.relu(Conv(units, (size, size), padding=padding, kernel_init=kernel_init, name=name)(x))
        x = nn.Dropout(rate, deterministic=not train)(x)
    return x
