"""The network of Zhang, Isola & Efros, "Colorful Image Colorization", ECCV 2016 (arXiv 1603.08511), as in the authors'
Caffe release: no pooling and no skips, resolution falls by strides and features are kept wide by dilation."""

from __future__ import annotations

import flax.linen as nn
from jaxtyping import Array, Float

from pixlab.models.eigen2014 import scaled
from pixlab.nn.ab_bins import BINS
from pixlab.nn.conv import Conv
from pixlab.nn.convt import TransposedConv, he_transposed

UNIT = 8  # sides of the image are multiples of it
he = nn.initializers.he_normal()

# Blocks: channels of the convolutions, stride of the last one, dilation of all
BLOCKS = {
    "conv1": ((64, 64), 2, 1),
    "conv2": ((128, 128), 2, 1),
    "conv3": ((256, 256, 256), 2, 1),
    "conv4": ((512, 512, 512), 1, 1),
    "conv5": ((512, 512, 512), 1, 2),
    "conv6": ((512, 512, 512), 1, 2),
    "conv7": ((512, 512, 512), 1, 1),
}


class Colorizer(nn.Module):
    """Lightness L - 50 [b, h, w, 1] in [-50, 50] -> [b, h / 4, w / 4, outputs], linear: scores of the bins of ab.

    3x3 convolutions and ReLUs, and after the last ReLU of each of the blocks 1 to 7 batch normalisation without scale
    and shift; block 8 enlarges by a transposed convolution. 32,230,393 parameters at width 1, which scales all channels
    but the outputs. Each step running statistics keep `momentum` of themselves, Caffe's default. Each block's features
    are sown as "intermediates". Raises ValueError for sides that 8 does not divide.
    """

    width: float = 1.0
    outputs: int = BINS
    momentum: float = 0.999

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 1"], train: bool = False) -> Float[Array, "b h2 w2 q"]:
        if any(n % UNIT for n in x.shape[1:3]):
            raise ValueError(f"an image of {x.shape[1]}x{x.shape[2]}: sides must be multiples of {UNIT}")
        for block, (channels, stride, dilation) in BLOCKS.items():
            for index, count in enumerate(channels, 1):
                step = stride if index == len(channels) else 1
                x = nn.relu(self._conv(count, f"{block}_{index}", step, dilation)(x))
            x = nn.BatchNorm(
                not train, momentum=self.momentum, epsilon=1e-5, use_scale=False, use_bias=False, name=f"{block}_norm"
            )(x)
            self.sow("intermediates", block, x)
        x = nn.relu(TransposedConv(scaled(256, self.width), 4, 2, 1, kernel_init=he_transposed(2), name="conv8_1")(x))
        for index in (2, 3):
            x = nn.relu(self._conv(256, f"conv8_{index}")(x))
        self.sow("intermediates", "conv8", x)
        return Conv(self.outputs, (1, 1), name="out")(x)

    def _conv(self, channels: int, name: str, stride: int = 1, dilation: int = 1) -> nn.Conv:
        pads = ((dilation, dilation),) * 2
        channels = scaled(channels, self.width)
        return Conv(channels, (3, 3), stride, pads, kernel_dilation=dilation, kernel_init=he, name=name)
