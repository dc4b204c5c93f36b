"""DenseNet without classifier: Huang, Liu, van der Maaten & Weinberger, "Densely Connected Convolutional Networks",
CVPR 2017 (the DenseNet-BC of its ImageNet experiments).
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.models.resnet import batch_norm
from pixlab.nn.conv import Conv
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD, normalise
from pixlab.nn.pool import max_pool

DENSENET169 = (6, 12, 32, 32)  # layers per block


class DenseLayer(nn.Module):
    """BN, ReLU, 1x1 to 4*growth, BN, ReLU, 3x3 to `growth` channels, appended to the input."""

    growth: int
    kernel_init: jax.nn.initializers.Initializer

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h w c2"]:
        conv1 = Conv(4 * self.growth, (1, 1), use_bias=False, kernel_init=self.kernel_init, name="conv1")
        conv2 = Conv(self.growth, (3, 3), use_bias=False, kernel_init=self.kernel_init, name="conv2")
        y = conv1(nn.relu(batch_norm(train, "norm1")(x)))
        y = conv2(nn.relu(batch_norm(train, "norm2")(y)))
        return jnp.concatenate([x, y], axis=-1)


class DenseNet(nn.Module):
    """RGB in [0, 1] -> features by stride, channels of DenseNet-169 in brackets.

    2: ReLU of the stem (64); 4: pool1 (64); 8 and 16: after the pooling of transitions 1 and 2 (128, 256), the skips
    that DenseDepth takes; 32: the last normalisation, without ReLU (1664). `layers`: DENSENET169 has 12,484,480
    parameters and 158,400 batch statistics, 12,642,880 in all. `growth` and `stem` scale it;
    `mean`, `std`: input normalisation.
    """

    layers: Sequence[int] = DENSENET169
    growth: int = 32
    stem: int = 64
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    kernel_init: jax.nn.initializers.Initializer = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> dict[int, Float[Array, "b _ _ _"]]:
        x = normalise(image, self.mean, self.std)
        stem = Conv(self.stem, (7, 7), 2, ((3, 3), (3, 3)), use_bias=False, kernel_init=self.kernel_init, name="conv0")
        x = nn.relu(batch_norm(train, "norm0")(stem(x)))
        features = {2: x}
        x = max_pool(x, 3, 2, padding=1)
        features[4] = x
        for block, count in enumerate(self.layers, 1):
            for index in range(1, count + 1):
                x = DenseLayer(self.growth, self.kernel_init, name=f"block{block}_layer{index}")(x, train)
            if block < len(self.layers):
                x = nn.relu(batch_norm(train, f"transition{block}_norm")(x))
                half = x.shape[-1] // 2
                conv = Conv(half, (1, 1), use_bias=False, kernel_init=self.kernel_init, name=f"transition{block}_conv")
                x = nn.avg_pool(conv(x), (2, 2), (2, 2))
                if block < 3:
                    features[2 ** (block + 2)] = x
        features[32] = batch_norm(train, "norm5")(x)
        return features
