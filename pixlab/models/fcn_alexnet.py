"""FCN-AlexNet: Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015 (arXiv
1411.4038), the smallest of the paper's three networks.

Deviation: the trunk is `alexnet.AlexNet`, whose published weights PyTorch has (64, 192, ... filters, without response
normalisation and groups), in place of Caffe's of 2012 (96, 256, ...). Margin, pools and windows are those of FCN.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from pixlab.models.alexnet import LAYERS, AlexNet
from pixlab.models.fcn import MARGIN, fully_connected
from pixlab.nn.conv import Conv
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD
from pixlab.nn.upsample import triangle_upsample

CROP = 18  # pixels of the deconvolution that lie before the image


class FCNAlexNet(nn.Module):
    """RGB [b, h, w, 3] in [0, 1] -> class scores [b, h, w, classes], linear, for images of any size.

    Scores every 32 pixels, which start at zero, enlarged by a fixed bilinear deconvolution (window 63, as the cells of
    a 6x6 fc6 lie on pixels). Dropout `rate` after fc6 and fc7; `width` scales all channel counts but the classes.
    """

    classes: int
    rate: float = 0.5
    width: float = 1.0
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    kernel_init: nn.initializers.Initializer = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h w classes"]:
        around = MARGIN - LAYERS[0][3]
        trunk = AlexNet(
            self.width, self.mean, self.std, kernel_init=self.kernel_init, around=around, ceil=True, name="trunk"
        )
        units = max(1, round(4096 * self.width))
        x = fully_connected(trunk(image)["pool5"], 6, self.rate, self.kernel_init, train, units=units)
        scores = Conv(self.classes, (1, 1), kernel_init=nn.initializers.zeros, name="score_fr")(x)
        return triangle_upsample(scores, image.shape[1:3], factor=32, window=63, crop=CROP)
