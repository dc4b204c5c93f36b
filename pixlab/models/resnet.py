"""Bottleneck ResNets without classifier: He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition", CVPR
2016; the stride of a block sits in its 3x3 convolution, as in the weights that PyTorch publishes.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from pixlab.nn.conv import Conv
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD, normalise
from pixlab.nn.pool import max_pool

RESNET50 = (3, 4, 6, 3)  # blocks per stage
RESNET101 = (3, 4, 23, 3)
RESNET152 = (3, 8, 36, 3)


def batch_norm(
    train: bool,
    name: str,
    scale_init: jax.nn.initializers.Initializer = nn.initializers.ones,
    bias_init: jax.nn.initializers.Initializer = nn.initializers.zeros,
) -> nn.BatchNorm:
    """PyTorch's batch normalisation: eps 1e-5, running statistics keep 0.9."""
    options = {"momentum": 0.9, "epsilon": 1e-5, "scale_init": scale_init, "bias_init": bias_init}
    return nn.BatchNorm(use_running_average=not train, name=name, **options)


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride and the dilation), 1x1 to 4 times the channels; added to the input, or to its 1x1
    projection."""

    channels: int
    stride: int
    project: bool
    kernel_init: jax.nn.initializers.Initializer
    dilation: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h2 w2 c2"]:
        def conv(x, channels, window, stride, name):
            dilation = self.dilation if window > 1 else 1
            pad, size, init = window // 2 * dilation, (window, window), self.kernel_init
            layer = Conv(
                channels, size, stride, ((pad, pad), (pad, pad)), kernel_dilation=dilation, use_bias=False,
                kernel_init=init, name=f"conv{name}",
            )  # fmt: skip
            return layer(x)

        y = nn.relu(batch_norm(train, "bn1")(conv(x, self.channels, 1, 1, "1")))
        y = nn.relu(batch_norm(train, "bn2")(conv(y, self.channels, 3, self.stride, "2")))
        y = batch_norm(train, "bn3")(conv(y, 4 * self.channels, 1, 1, "3"))
        if self.project:
            x = batch_norm(train, "bn_skip")(conv(x, 4 * self.channels, 1, self.stride, "_skip"))
        return nn.relu(x + y)


class ResNet(nn.Module):
    """RGB in [0, 1] -> features by stride: 2 (stem, 64 channels), 4, 8, 16, 32 (256, 512, 1024, 2048).

    `blocks`: RESNET50 (23,508,032 parameters), RESNET101 (42,500,160) or RESNET152 (58,143,808). `width` scales all
    channel counts; `mean`, `std`: input normalisation. Batch statistics move with `train`.

    `dilations` of the four stages: one that is dilated keeps the resolution of the stage before, and its features keep
    the name of the stride they would have had: with (1, 1, 2, 4), 16 and 32 have stride 8. The first 3x3 convolution of
    such a stage, which would have strided, has the dilation of the stage before, so that the network gives what the
    strided one gives, at more places.
    """

    blocks: Sequence[int] = RESNET50
    width: float = 1.0
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    kernel_init: jax.nn.initializers.Initializer = nn.initializers.he_normal()
    dilations: Sequence[int] = (1, 1, 1, 1)

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> dict[int, Float[Array, "b _ _ _"]]:
        base = max(1, round(64 * self.width))
        x = normalise(image, self.mean, self.std)
        stem = Conv(base, (7, 7), 2, ((3, 3), (3, 3)), use_bias=False, kernel_init=self.kernel_init, name="conv1")
        x = nn.relu(batch_norm(train, "bn1")(stem(x)))
        features = {2: x}
        x = max_pool(x, 3, 2, padding=1)
        before = 1
        for stage, (count, dilation) in enumerate(zip(self.blocks, self.dilations, strict=False), 1):
            for index in range(count):
                first, channels, name = index == 0, base * 2 ** (stage - 1), f"layer{stage}_{index}"
                stride = 2 if first and stage > 1 and dilation == 1 else 1
                inside = before if first else dilation
                x = Bottleneck(channels, stride, first, self.kernel_init, inside, name=name)(x, train)
            features[2 ** (stage + 1)], before = x, dilation
        return features
