"""The networks of Johnson, Alahi & Fei-Fei, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", ECCV
2016 (arXiv 1603.08155).

Both take and give pictures around VGG's mean colour, in units of 1/255, and end with 150 tanh: the answers in [0, 1]
are mean + 150 / 255 tanh(...), which reaches a little beyond 0 and 1 for most colours.
"""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.errors import UserError
from pixlab.models.resnet import batch_norm
from pixlab.nn.conv import Conv
from pixlab.nn.convt import TransposedConv
from pixlab.nn.instance_norm import instance_norm
from pixlab.nn.normalise import CAFFE_MEAN, CAFFE_STD, normalise
from pixlab.nn.torch_init import KERNEL

Norm = Literal["instance", "batch"]
REACH = 150 / 255  # of the answer around the mean colour


def normed(norm: Norm, train: bool, name: str) -> nn.Module:
    """The normalisation that was asked for; its scales start between 0 and 1, as Torch's do."""
    start = nn.initializers.uniform(1.0)
    return instance_norm(name, start) if norm == "instance" else batch_norm(train, name, start)


def conv(channels: int, window: int, name: str, stride: int = 1, pad: bool = True, use_bias: bool = False) -> nn.Conv:
    """A convolution, with zeros around if `pad`; without bias where a normalisation follows."""
    pads = ((window // 2, window // 2),) * 2 if pad else "VALID"
    return Conv(channels, (window, window), stride, pads, use_bias=use_bias, kernel_init=KERNEL, name=name)


def enlarging(channels: int, name: str) -> TransposedConv:
    """3x3 transposed convolution to twice the size."""
    return TransposedConv(channels, 3, 2, 1, 1, use_bias=False, kernel_init=KERNEL, name=name)


def answer(x: Float[Array, "b h w c"]) -> Float[Array, "b h w 3"]:
    """9x9 convolution, tanh, and the mean colour (in the method of a module)."""
    x = jnp.tanh(conv(3, 9, "out", use_bias=True)(x))
    return REACH * x + jnp.asarray(CAFFE_MEAN, x.dtype)[None, None, None]


class Block(nn.Module):
    """x plus 3x3 convolution, normalisation, ReLU, convolution, normalisation.

    Unless `pad`, the convolutions take two cells off each side, and so does the sum of x.
    """

    norm: Norm
    pad: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h2 w2 c"]:
        y = normed(self.norm, train, "norm1")(conv(x.shape[-1], 3, "conv1", pad=self.pad)(x))
        y = normed(self.norm, train, "norm2")(conv(x.shape[-1], 3, "conv2", pad=self.pad)(nn.relu(y)))
        return y + (x if self.pad else x[:, 2:-2, 2:-2])


class StyleNet(nn.Module):
    """RGB image [b, h, w, 3] in [0, 1] -> the same in the style it was trained for, near [0, 1].

    The image is reflected by 40 pixels on each side, which the residual blocks use up. 9x9 convolution to 32 maps, two
    3x3 ones of stride 2 to 64 and 128, five residual blocks, two transposed ones to 64 and 32, 9x9 to the colours; a
    normalisation and a ReLU after each but the last. Instance normalisation is the release's, batch normalisation the
    paper's. `width` is that of the first layer. Sizes that 4 does not divide are filled up by reflection and cut off.
    Raises UserError for images of up to 8 pixels per block.
    """

    blocks: int = 5
    width: int = 32
    norm: Norm = "instance"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h w 3"]:
        def layer(x: jax.Array, module: nn.Module) -> jax.Array:
            return nn.relu(normed(self.norm, train, f"{module.name}_norm")(module(x)))

        n, (h, w), pad = self.width, image.shape[1:3], 8 * self.blocks
        if min(h, w) <= pad + 3:
            raise UserError(f"an image of {h}x{w}: at least {pad + 4}x{pad + 4} are needed to reflect its border")
        pads = ((0, 0), (pad, pad + -h % 4), (pad, pad + -w % 4), (0, 0))
        x = normalise(jnp.pad(image, pads, mode="reflect"), CAFFE_MEAN, CAFFE_STD)
        for name, channels, window, stride in (("conv1", n, 9, 1), ("down1", 2 * n, 3, 2), ("down2", 4 * n, 3, 2)):
            x = layer(x, conv(channels, window, name, stride))
        for index in range(1, self.blocks + 1):
            x = Block(self.norm, pad=False, name=f"block{index}")(x, train)
        for name, channels in (("up1", 2 * n), ("up2", n)):
            x = layer(x, enlarging(channels, name))
        return answer(x)[:, :h, :w]


class SuperResolutionNet(nn.Module):
    """RGB image at low resolution [b, h, w, 3] in [0, 1] -> [b, scale h, scale w, 3], near [0, 1].

    9x9 convolution to 64 maps, `blocks` residual blocks, a transposed convolution for each factor of 2, 9x9 to the
    colours; zeros around, batch normalisation and ReLU after each but the last. Raises UserError unless `scale` is 4
    or 8.
    """

    scale: int = 4
    blocks: int = 4
    width: int = 64
    norm: Norm = "batch"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h2 w2 3"]:
        if self.scale not in (4, 8):
            raise UserError(f"enlargement {self.scale}: this network enlarges 4 or 8 times")
        x = conv(self.width, 9, "conv1")(normalise(image, CAFFE_MEAN, CAFFE_STD))
        x = nn.relu(normed(self.norm, train, "conv1_norm")(x))
        for index in range(1, self.blocks + 1):
            x = Block(self.norm, pad=True, name=f"block{index}")(x, train)
        for index in range(1, self.scale.bit_length()):
            x = enlarging(self.width, f"up{index}")(x)
            x = nn.relu(normed(self.norm, train, f"up{index}_norm")(x))
        return answer(x)
