"""VGG-16 without its classifier (Simonyan & Zisserman, ICLR 2015, configuration D)."""

from collections.abc import Sequence

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from pixlab.nn.conv import Conv
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD, normalise
from pixlab.nn.pool import max_pool

BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # (channels, convolutions); a 2x2 max pool after each


class VGG16(nn.Module):
    """RGB in [0, 1] -> features by stride: 1 relu1_2, 2 relu2_2, 4 relu3_3, 8 relu4_3, 16 relu5_3, 32 pool5.

    `mean`, `std`: the input normalisation, which must be that of the weights used (`pretrained.imagenet` rescales).
    `first`: padding of the first block; Eigen & Fergus 2015 take "VALID", which trims 2 pixels a side.
    `width` scales all channel counts. 14,714,688 parameters at width 1.
    """

    width: float = 1.0
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    first: str = "SAME"
    kernel_init: jax.nn.initializers.Initializer = nn.initializers.he_normal()

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> dict[int, Float[Array, "b _ _ _"]]:
        x, features = normalise(image, self.mean, self.std), {}
        for block, (channels, convs) in enumerate(BLOCKS, 1):
            for conv in range(1, convs + 1):
                padding = self.first if block == 1 else "SAME"
                name, n = f"conv{block}_{conv}", max(1, round(channels * self.width))
                x = nn.relu(Conv(n, (3, 3), padding=padding, kernel_init=self.kernel_init, name=name)(x))
            features[2 ** (block - 1)] = x
            x = max_pool(x, 2, 2)
        return features | {32: x}
