"""VGG networks without their classifier: Simonyan & Zisserman, ICLR 2015, configurations D (VGG-16) and E (VGG-19)."""

from collections.abc import Sequence

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from pixlab.nn.conv import Conv
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD, normalise
from pixlab.nn.pool import max_pool

# (channels, convolutions) of each block; a 2x2 max pool follows each
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
BLOCKS_19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


class VGG(nn.Module):
    """RGB in [0, 1] -> features by stride: what the last convolution of each block gives, and the last pool's output.

    `mean`, `std`: the input normalisation, which must be that of the weights used (`pretrained.imagenet` rescales).
    `first`: padding of the first block; Eigen & Fergus 2015 take "VALID", which trims 2 pixels a side.
    `width` scales all channel counts.
    """

    width: float = 1.0
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    first: str = "SAME"
    kernel_init: jax.nn.initializers.Initializer = nn.initializers.he_normal()
    blocks: Sequence[tuple[int, int]] = BLOCKS

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> dict[int, Float[Array, "b _ _ _"]]:
        x, features = normalise(image, self.mean, self.std), {}
        for block, (channels, convs) in enumerate(self.blocks, 1):
            for conv in range(1, convs + 1):
                padding = self.first if block == 1 else "SAME"
                name, n = f"conv{block}_{conv}", max(1, round(channels * self.width))
                x = nn.relu(Conv(n, (3, 3), padding=padding, kernel_init=self.kernel_init, name=name)(x))
            features[2 ** (block - 1)] = x
            x = max_pool(x, 2, 2)
        return features | {2 ** len(self.blocks): x}


class VGG16(VGG):
    """VGG-16: 1 relu1_2, 2 relu2_2, 4 relu3_3, 8 relu4_3, 16 relu5_3, 32 pool5; 14,714,688 parameters at width 1."""
