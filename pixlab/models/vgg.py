"""VGG networks without their classifier: Simonyan & Zisserman, ICLR 2015, configurations D (VGG-16) and E (VGG-19)."""

from collections.abc import Iterator, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.errors import UserError
from pixlab.nn.conv import Conv
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD, normalise
from pixlab.nn.pool import max_pool

# (channels, convolutions) of each block; a 2x2 max pool follows each
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
BLOCKS_19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
Init = jax.nn.initializers.Initializer


def _maps(
    x: jax.Array, blocks: Sequence[tuple[int, int]], width: float, first: str, kernel_init: Init, ceil: bool = False
) -> Iterator[tuple[str, jax.Array]]:
    """Names and maps from a normalised image on: relu1_1, relu1_2, pool1, relu2_1 ... (in the method of a module)."""
    for block, (channels, convs) in enumerate(blocks, 1):
        for conv in range(1, convs + 1):
            padding = first if block == 1 else "SAME"
            name, n = f"conv{block}_{conv}", max(1, round(channels * width))
            x = nn.relu(Conv(n, (3, 3), padding=padding, kernel_init=kernel_init, name=name)(x))
            yield f"relu{block}_{conv}", x
        x = max_pool(x, 2, 2, ceil=ceil)
        yield f"pool{block}", x


class VGG(nn.Module):
    """RGB in [0, 1] -> features by stride: what the last convolution of each block gives, and the last pool's output.

    `mean`, `std`: the input normalisation, which must be that of the weights used (`pretrained.imagenet` rescales).
    `first`: padding of the first block; Eigen & Fergus 2015 take "VALID", which trims 2 pixels a side.
    `around`: zeros around the normalised image beside the one that the first convolution pads, and `ceil`: pools keep a
    last odd row and column, as in Caffe (both for FCN and HED). `width` scales all channel counts.
    """

    width: float = 1.0
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    first: str = "SAME"
    kernel_init: Init = nn.initializers.he_normal()
    blocks: Sequence[tuple[int, int]] = BLOCKS
    around: int = 0
    ceil: bool = False

    @nn.compact
    def maps(self, image: Float[Array, "b h w 3"]) -> dict[str, Float[Array, "b _ _ _"]]:
        """All maps by Caffe's names: relu1_1, relu1_2, pool1, relu2_1 ... pool5."""
        x = normalise(image, self.mean, self.std)
        x = jnp.pad(x, ((0, 0), *((self.around, self.around),) * 2, (0, 0))) if self.around else x
        return dict(_maps(x, self.blocks, self.width, self.first, self.kernel_init, self.ceil))

    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> dict[int, Float[Array, "b _ _ _"]]:
        maps = self.maps(image)
        features = {2 ** (block - 1): maps[f"relu{block}_{n}"] for block, (_, n) in enumerate(self.blocks, 1)}
        return features | {2 ** len(self.blocks): maps[f"pool{len(self.blocks)}"]}


class VGG16(VGG):
    """VGG-16: 1 relu1_2, 2 relu2_2, 4 relu3_3, 8 relu4_3, 16 relu5_3, 32 pool5; 14,714,688 parameters at width 1."""


class VGGFeatures(nn.Module):
    """RGB in [0, 1] -> {layer: features after the ReLU [b, _, _, _]}, to compare pictures by; ImageNet's normalisation.

    `depth` is 16 or 19, `layers` are named reluB_C, after the C-th convolution of block B. There are no parameters past
    the last of them. `pretrained.imagenet.vgg_features` has published ones. Raises UserError for another depth and for
    layers that the network does not have.
    """

    depth: int = 16
    layers: tuple[str, ...] = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    width: float = 1.0

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> dict[str, Float[Array, "b _ _ _"]]:
        if self.depth not in (16, 19):
            raise UserError(f"VGG-{self.depth}: the depth is 16 or 19")
        blocks = BLOCKS if self.depth == 16 else BLOCKS_19
        names = {f"relu{block}_{conv}" for block, (_, n) in enumerate(blocks, 1) for conv in range(1, n + 1)}
        if strange := [layer for layer in self.layers if layer not in names]:
            raise UserError(f"VGG-{self.depth} has no {', '.join(strange)}: its layers are {', '.join(sorted(names))}")
        start, found = normalise(image, IMAGENET_MEAN, IMAGENET_STD), {}
        for name, x in _maps(start, blocks, self.width, "SAME", nn.initializers.he_normal()):
            if name in self.layers:
                found[name] = x
            if len(found) == len(set(self.layers)):
                break
        return found
