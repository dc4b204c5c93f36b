"""DeepLab v2 on ResNet-101, without its CRF: Chen, Papandreou, Kokkinos, Murphy & Yuille, TPAMI 2018 (arXiv
1606.00915).

The published network strides in the first 1x1 convolution of a stage, and dilates all of its 3x3 convolutions by 2 and
4. Ours strides in the 3x3 convolution, as PyTorch's weights want it; hence the first one of a stage has the dilation of
the stage before (see `resnet.ResNet`).
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
from jaxtyping import Array, Float

from pixlab.models.deeplab import ASPP_L, classifier
from pixlab.models.resnet import RESNET101, ResNet
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD


class DeepLabResNet(nn.Module):
    """RGB in [0, 1] [b, h, w, 3] -> class scores [b, ceil(h / 8), ceil(w / 8), classes], linear; 321 gives 41.

    The last stage's features, 2048 channels of stride 8, go through a 3x3 classifier for each of `rates`, dilated by
    it; their scores are summed. 44,048,532 parameters with 21 classes at width 1. `frozen`: batch statistics stay as
    they are in training too, as the paper has it, which needs published weights. `width`, `mean`, `std`: as in ResNet.
    """

    classes: int
    rates: Sequence[int] = ASPP_L
    blocks: Sequence[int] = RESNET101
    frozen: bool = True
    width: float = 1.0
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h2 w2 classes"]:
        trunk = ResNet(self.blocks, self.width, self.mean, self.std, dilations=(1, 1, 2, 4), name="trunk")
        x = trunk(image, train and not self.frozen)[32]
        return sum(classifier(self.classes, 3, rate, name=f"rate{rate}")(x) for rate in self.rates)
