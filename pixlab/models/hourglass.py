"""Stacked hourglass network: Newell, Yang & Deng, "Stacked Hourglass Networks for Human Pose Estimation", ECCV 2016
(arXiv 1603.06937), laid out as in the authors' release.

An hourglass halves the resolution `order` times and comes back, with a residual unit on each level's way across: what
every joint's map sees is the whole person. Each of several hourglasses, one after the other, gives heat-maps that a
loss of its own judges; the next one starts from the features and from these maps.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.models.resnet import batch_norm
from pixlab.nn.conv import Conv
from pixlab.nn.pool import max_pool
from pixlab.nn.torch_init import KERNEL
from pixlab.nn.upsample import nearest_upsample

CELL = 4  # pixels from one cell of the heat-maps to the next
ORDER = 4  # halvings inside an hourglass


def conv(channels: int, name: str, window: int = 1, stride: int = 1) -> nn.Conv:
    """A convolution with bias that keeps the size, or divides it by its stride."""
    pad = ((window // 2, window // 2),) * 2
    return Conv(channels, (window, window), stride, pad, kernel_init=KERNEL, name=name)


class Residual(nn.Module):
    """x plus batch normalisation, ReLU, convolution three times: 1x1 and 3x3 at half the channels, 1x1 to `channels`.

    Where the number of channels changes, x goes through a bare 1x1 convolution.
    """

    channels: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h w c2"]:
        y = x
        for index, (channels, window) in enumerate(
            [(self.channels // 2, 1), (self.channels // 2, 3), (self.channels, 1)], 1
        ):
            y = conv(channels, f"conv{index}", window)(nn.relu(batch_norm(train, f"bn{index}")(y)))
        if x.shape[-1] != self.channels:
            x = conv(self.channels, "conv_skip")(x)
        return x + y


class Hourglass(nn.Module):
    """x [b, h, w, c] -> [b, h, w, c]: a residual unit across, and around it one at half the resolution, an hourglass of
    the next lower order (of order 0: a unit) and another one, enlarged by repeating cells; their sum."""

    order: int = ORDER

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h w c"]:
        channels = x.shape[-1]
        across = Residual(channels, name="across")(x, train)
        y = Residual(channels, name="down")(max_pool(x, 2, 2), train)
        inner = Hourglass(self.order - 1, name="inner") if self.order > 1 else Residual(channels, name="inner")
        y = Residual(channels, name="up")(inner(y, train), train)
        return across + nearest_upsample(y)


class StackedHourglass(nn.Module):
    """RGB image [b, h, w, 3] in [0, 1] -> heat-maps [b, stacks, h / 4, w / 4, joints] of every stack, linear.

    Stem: 7x7 convolution of stride 2, residual unit, 2x2 max-pool, two more units. Each stack: hourglass, residual
    unit, 1x1 convolution with batch normalisation and ReLU, 1x1 convolution to the maps; input, features and maps,
    the latter two through 1x1 convolutions, add up to the next stack's input. With 16 joints and width 256, 8 stacks
    have 25.43 million parameters and one has 3.43. Raises ValueError for sizes that 4 * 2^order does not divide.
    """

    joints: int
    stacks: int = 8
    width: int = 256
    order: int = ORDER

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b s h2 w2 k"]:
        if any(n % (unit := CELL * 2**self.order) for n in image.shape[1:3]):
            raise ValueError(f"an image of {image.shape[1]}x{image.shape[2]}: sides must be multiples of {unit}")
        x = nn.relu(batch_norm(train, "bn1")(conv(self.width // 4, "conv1", 7, 2)(image)))
        x = max_pool(Residual(self.width // 2, name="stem1")(x, train), 2, 2)
        x = Residual(self.width // 2, name="stem2")(x, train)
        x = Residual(self.width, name="stem3")(x, train)
        stages = []
        for index in range(1, self.stacks + 1):
            y = Hourglass(self.order, name=f"hourglass{index}")(x, train)
            y = Residual(self.width, name=f"residual{index}")(y, train)
            y = conv(self.width, f"features{index}")(y)
            y = nn.relu(batch_norm(train, f"features{index}_bn")(y))
            stages.append(maps := conv(self.joints, f"maps{index}")(y))
            if index < self.stacks:
                x = x + conv(self.width, f"features{index}_back")(y) + conv(self.width, f"maps{index}_back")(maps)
        return jnp.stack(stages, 1)
