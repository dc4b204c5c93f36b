"""RefineNet: Lin, Milan, Shen & Reid, "RefineNet: Multi-Path Refinement Networks for High-Resolution Semantic
Segmentation", CVPR 2017 (arXiv 1611.06612), with the authors' release as the default.

A ResNet's features of strides 32, 16, 8 and 4 are merged coarse to fine, without dilation. What is enlarged has its
outer edges on those of the larger map, as in the release, whose interpolation is cubic. Deviations: here it is
bilinear, and its gradient the exact one, where the release interpolates the gradient down; a stage of the ResNet
strides in its 3x3 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from pixlab.errors import UserError
from pixlab.models.resnet import RESNET101, ResNet
from pixlab.nn.conv import Conv
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD
from pixlab.nn.pool import max_pool

CHANNELS = {32: 512, 16: 256, 8: 256, 4: 256}  # by stride of the path, in the order of their merging
RELEASE_OUTPUTS = (3, 3, 3, 3)  # residual units after each merging
PAPER_OUTPUTS = (1, 1, 1, 3)
normal = jax.nn.initializers.normal(0.01)


def conv3(channels: int, name: str, bias: bool = False) -> nn.Conv:
    """3x3, without a bias, from N(0, 0.01^2)."""
    return Conv(channels, (3, 3), use_bias=bias, kernel_init=normal, name=name)


class ResidualConvUnit(nn.Module):
    """[b, h, w, c] -> the same and what ReLU, 3x3, ReLU, 3x3 make of it; only the first convolution has a bias."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        y = conv3(x.shape[-1], "conv1", bias=True)(nn.relu(x))
        return x + conv3(x.shape[-1], "conv2")(nn.relu(y))


class Fusion(nn.Module):
    """Maps [b, _, _, _] -> the sum [b, h, w, c] of a 3x3 convolution of each to as many channels as the thinnest has,
    enlarged bilinearly to the rows and columns of the largest."""

    @nn.compact
    def __call__(self, maps: Sequence[Float[Array, "b _ _ _"]]) -> Float[Array, "b h w c"]:
        h, w, c = max(x.shape[1] for x in maps), max(x.shape[2] for x in maps), min(x.shape[3] for x in maps)
        paths = [conv3(c, f"conv{index}")(x) for index, x in enumerate(maps, 1)]
        return sum(
            x if x.shape[1:3] == (h, w) else jax.image.resize(x, (*x.shape[:1], h, w, c), "bilinear") for x in paths
        )


class ChainedPooling(nn.Module):
    """[b, h, w, c] -> y = ReLU of it, plus all that a chain of `pools` blocks gives that starts from y.

    A block is a 3x3 convolution and then a 5x5 max pool, both of stride 1 ("improved residual pooling", the release);
    with `pool_first` the pool comes before the convolution (the paper).
    """

    pools: int = 4
    pool_first: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        x = total = nn.relu(x)
        for index in range(1, self.pools + 1):
            conv = conv3(x.shape[-1], f"conv{index}")
            x = conv(_pool(x)) if self.pool_first else _pool(conv(x))
            total = total + x
        return total


def _pool(x):
    return max_pool(x, 5, 1, padding=2)


class RefineNet(nn.Module):
    """RGB in [0, 1] [b, h, w, 3] -> class scores [b, ceil(h / 4), ceil(w / 4), classes], linear.

    Each path: a 3x3 convolution to CHANNELS and two residual units. Each merging, from stride 32 to 4: fusion with the
    result so far (none at 32), chained pooling, residual units. Then dropout `rate` and a 3x3 classifier.

    `blocks`: RESNET50, RESNET101 or RESNET152. `outputs`: residual units after each merging, RELEASE_OUTPUTS or
    PAPER_OUTPUTS; `pools`, `pool_first`: of the chained pooling; the paper's form is 2 and pool first. `frozen`: batch
    statistics stay as they are in training too, as in the release, which needs published weights. `width` scales all
    channel counts but the classes; `mean`, `std`: as in ResNet. Raises UserError unless there are four `outputs`.
    """

    classes: int
    blocks: Sequence[int] = RESNET101
    outputs: Sequence[int] = RELEASE_OUTPUTS
    pools: int = 4
    pool_first: bool = False
    frozen: bool = True
    width: float = 1.0
    rate: float = 0.5
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h2 w2 classes"]:
        if len(self.outputs) != len(CHANNELS):
            raise UserError(f"RefineNet: outputs {tuple(self.outputs)} must be four numbers, for strides 32, 16, 8, 4")
        trunk = ResNet(self.blocks, self.width, self.mean, self.std, name="trunk")
        features = trunk(image, train and not self.frozen)
        x = None
        for (stride, channels), units in zip(CHANNELS.items(), self.outputs, strict=True):
            path = conv3(max(1, round(channels * self.width)), f"adapt{stride}")(features[stride])
            for index in (1, 2):
                path = ResidualConvUnit(name=f"path{stride}_{index}")(path)
            x = path if x is None else Fusion(name=f"fusion{stride}")([x, path])
            x = ChainedPooling(self.pools, self.pool_first, name=f"pooling{stride}")(x)
            for index in range(1, units + 1):
                x = ResidualConvUnit(name=f"output{stride}_{index}")(x)
        x = nn.Dropout(self.rate, deterministic=not train)(x)
        return conv3(self.classes, "classifier", bias=True)(x)
