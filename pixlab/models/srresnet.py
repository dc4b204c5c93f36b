"""SRResNet, the generator of SRGAN: Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative
Adversarial Network", CVPR 2017 (arXiv 1609.04802), figure 4.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from pixlab.models.resnet import batch_norm
from pixlab.nn.conv import Conv
from pixlab.nn.pixel_shuffle import pixel_shuffle, shuffles
from pixlab.nn.prelu import PReLU

HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")  # the paper names no initialisation


def conv(channels: int, window: int, name: str, use_bias: bool = True) -> nn.Conv:
    """A convolution that keeps the size, zeros around; without bias where a batch normalisation follows."""
    return Conv(channels, (window, window), use_bias=use_bias, kernel_init=HE, name=name)


class Block(nn.Module):
    """x plus 3x3 convolution, batch normalisation, PReLU, convolution, batch normalisation."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h w c"]:
        y = batch_norm(train, "bn1")(conv(x.shape[-1], 3, "conv1", False)(x))
        y = conv(x.shape[-1], 3, "conv2", False)(PReLU(name="prelu")(y))
        return x + batch_norm(train, "bn2")(y)


class SRResNet(nn.Module):
    """Image at low resolution [b, h, w, c] in [0, 1] -> [b, scale h, scale w, c], linear, near [0, 1].

    9x9 convolution, PReLU; `blocks` residual blocks, 3x3 convolution and batch normalisation, added to what the first
    PReLU gave; for every factor of 2 (or once for 3) a 3x3 convolution, pixel shuffle, PReLU; 9x9 convolution to y,
    a picture of [-1, 1] as in the paper. The answer is (y + 1) / 2; its mean squared error is a quarter of y's. Raises
    UserError for a scale that is neither 3 nor a power of 2.
    """

    scale: int = 4
    blocks: int = 16
    width: int = 64

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h2 w2 c"]:
        channels = x.shape[-1]
        x = first = PReLU(name="prelu1")(conv(self.width, 9, "conv1")(x))
        for index in range(1, self.blocks + 1):
            x = Block(name=f"block{index}")(x, train)
        x = first + batch_norm(train, "bn2")(conv(self.width, 3, "conv2", False)(x))
        for index, factor in enumerate(shuffles(self.scale), 1):
            x = pixel_shuffle(conv(self.width * factor**2, 3, f"up{index}")(x), factor)
            x = PReLU(name=f"up{index}_prelu")(x)
        return (conv(channels, 9, "conv3")(x) + 1) / 2
