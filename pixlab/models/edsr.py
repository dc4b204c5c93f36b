"""EDSR: Lim, Son, Kim, Nah & Lee, "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR Workshops
2017 (arXiv 1707.02921), as in the authors' PyTorch release.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.nn import torch_init
from pixlab.nn.conv import Conv
from pixlab.nn.normalise import normalise
from pixlab.nn.pixel_shuffle import pixel_shuffle, shuffles

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)  # RGB


def centred(image: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """[0, 1] -> 0..255 minus DIV2K's mean colour."""
    return normalise(image, DIV2K_MEAN, (1 / 255,) * 3)


def restored(x: Float[Array, "b h w 3"]) -> Float[Array, "b h w 3"]:
    """The inverse of `centred`."""
    return x / 255 + jnp.asarray(DIV2K_MEAN, x.dtype)[None, None, None]


def conv(inputs: int, outputs: int, name: str, window: int = 3) -> nn.Conv:
    """A convolution that keeps the size, zeros around, started as PyTorch starts it."""
    bias = torch_init.bias(window**2 * inputs)
    return Conv(outputs, (window, window), kernel_init=torch_init.KERNEL, bias_init=bias, name=name)


class Block(nn.Module):
    """x plus `residual_scale` times convolution, ReLU, convolution."""

    residual_scale: float = 1.0
    window: int = 3

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        n = x.shape[-1]
        y = nn.relu(conv(n, n, "conv1", self.window)(x))
        return x + self.residual_scale * conv(n, n, "conv2", self.window)(y)


class Enlarge(nn.Module):
    """[b, h, w, c] -> [b, scale h, scale w, c]: 3x3 convolution and pixel shuffle for each factor of 2, once for 3."""

    scale: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        n = x.shape[-1]
        for index, factor in enumerate(shuffles(self.scale), 1):
            x = pixel_shuffle(conv(n, n * factor**2, f"conv{index}")(x), factor)
        return x


class EDSR(nn.Module):
    """RGB image at low resolution [b, h, w, 3] in [0, 1] -> [b, scale h, scale w, 3], linear, near [0, 1].

    3x3 convolution; `blocks` residual blocks without normalisation and a 3x3 convolution, added to what the first one
    gave; enlargement; 3x3 convolution; all in units of 1/255, around DIV2K's mean. The defaults are the baseline, with
    1,369,859 parameters at x2 and 1,517,571 at x4; EDSR(scale, 32, 256, 0.1) is the paper's, with 40,729,603 and
    43,089,923. Raises UserError for a scale that is neither 3 nor a power of 2.
    """

    scale: int
    blocks: int = 16
    width: int = 64
    residual_scale: float = 1.0

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h2 w2 3"]:
        x = head = conv(3, self.width, "head")(centred(image))
        for index in range(1, self.blocks + 1):
            x = Block(self.residual_scale, name=f"block{index}")(x)
        x = head + conv(self.width, self.width, "body")(x)
        x = Enlarge(self.scale, name="enlarge")(x)
        return restored(conv(self.width, 3, "tail")(x))
