"""Encoder and decoder whose every halving and doubling can be chosen, for Odena, Dumoulin & Olah, "Deconvolution and
Checkerboard Artifacts", Distill 2016 (doi 10.23915/distill.00003).

A transposed convolution ("deconvolution") of stride 2 with a 3x3 kernel adds up 1, 2 or 4 products per input channel,
depending on where an output pixel lies: what it paints is uneven unless it learns otherwise. Kernels that the stride
divides (4x4) are even, but their four phases still have weights of their own. Repeating pixels and then convolving has
the same weights everywhere. Backwards, a strided convolution is a deconvolution, and the mean of 2x2 pixels repeats
them.
"""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.nn.conv import Conv
from pixlab.nn.convt import TransposedConv, he_transposed
from pixlab.nn.pool import max_pool
from pixlab.nn.upsample import nearest_upsample

he_normal = nn.initializers.he_normal()


class ResizeConv(nn.Module):
    """[b, h, w, c] -> [b, 2h, 2w, features]: repeats pixels, reflects the outermost, and convolves by 3x3."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 features"]:
        x = jnp.pad(nearest_upsample(x), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        return Conv(self.features, (3, 3), padding="VALID", kernel_init=he_normal, name="conv")(x)


class Decoder(nn.Module):
    """Code [b, h, w, c] -> image [b, h * 2^layers, w * 2^layers, features], linear.

    Every layer doubles rows and columns, then comes a ReLU (not after the last). The last `deconvs` layers are
    deconvolutions of stride 2 with `kernel` x `kernel` weights, the others resize-convolutions. `width` channels before
    the last layer, twice as many before each earlier one.
    """

    deconvs: int
    kernel: int = 3
    layers: int = 3
    width: int = 12
    features: int = 3

    @nn.compact
    def __call__(self, code: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h2 w2 features"]:
        x = code
        for layer in range(1, self.layers + 1):
            left = self.layers - layer
            channels = self.width * 2 ** (left - 1) if left else self.features
            if left < self.deconvs:
                x = deconv(channels, self.kernel, name=f"deconv{layer}")(x)
            else:
                x = ResizeConv(channels, name=f"resize{layer}")(x)
            x = nn.relu(x) if left else x
        return x


def deconv(channels: int, kernel: int, name: str | None = None) -> TransposedConv:
    """Transposed convolution of stride 2 that doubles rows and columns, as evenly padded as can be."""
    padding = (kernel - 1) // 2
    return TransposedConv(
        channels, kernel, 2, padding, 2 * padding + 2 - kernel, kernel_init=he_transposed(2), name=name
    )


class Encoder(nn.Module):
    """Image [b, h, w, c] -> code [b, h / 2^layers, w / 2^layers, features], linear.

    Every layer is a convolution, padded with zeros, with a ReLU (not the last). `down` halves rows and columns:
    "strided" by the convolution itself, with `window` x `window` weights; "max" after a 3x3 convolution by the maximum
    of `window` x `window` pixels, every other pixel; "mean" by the mean of 2x2 pixels. `width` channels after the first
    layer, then twice as many after each. Raises ValueError for sizes that 2^layers does not divide.
    """

    down: Literal["strided", "max", "mean"]
    window: int = 2
    layers: int = 3
    width: int = 12
    features: int = 24

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h2 w2 features"]:
        h, w = image.shape[1:3]
        if h % (unit := 2**self.layers) or w % unit:
            raise ValueError(f"an image of {h}x{w}: sides must be multiples of {unit}")
        before = (self.window - 1) // 2
        around = ((before, self.window - 2 - before),) * 2
        x = image
        for layer in range(1, self.layers + 1):
            left, name = self.layers - layer, f"conv{layer}"
            channels = self.width * 2 ** (layer - 1) if left else self.features
            if self.down == "strided":
                window = (self.window, self.window)
                x = Conv(channels, window, 2, around, kernel_init=he_normal, name=name)(x)
            else:
                x = Conv(channels, (3, 3), kernel_init=he_normal, name=name)(x)
            x = nn.relu(x) if left else x
            if self.down == "max":
                x = max_pool(x, self.window, 2, padding=before)
            elif self.down == "mean":
                x = nn.avg_pool(x, (2, 2), (2, 2))
        return x
