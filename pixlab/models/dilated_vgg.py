"""VGG-16 that halves rows and columns three times only: the later pools keep the resolution or are left out, and the
convolutions of block 5 are dilated by 2, which is what the fourth pool's stride was for. The trunk of DeepLab (Chen et
al., ICLR 2015, arXiv 1412.7062) and of the front end of Yu & Koltun (ICLR 2016, arXiv 1511.07122)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import flax.linen as nn
from jaxtyping import Array, Float

from pixlab.models.vgg import BLOCKS
from pixlab.nn.conv import Conv
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD, normalise
from pixlab.nn.pool import max_pool

he = nn.initializers.he_normal()
HALVE = functools.partial(max_pool, window=3, stride=2, padding=1)  # cell j is centred on the pixel 2j
KEEP = functools.partial(max_pool, window=3, stride=1, padding=1)
HALVE_UNPADDED = functools.partial(max_pool, window=2, stride=2, ceil=True)


class DilatedVGG16(nn.Module):
    """RGB in [0, 1] [b, h, w, 3] -> features of stride 8 [b, h2, w2, 512]; 14,714,688 parameters at width 1.

    `pools` follow the five blocks (None: no pool there); `padding` of all convolutions: "SAME" pads with zeros, "VALID"
    does not. Parameters are named as those of `vgg.VGG16`, so that `pretrained.imagenet.vgg16` fills them. `mean`,
    `std`: input normalisation. `width` scales all channel counts.
    """

    pools: Sequence[Callable | None] = (HALVE, HALVE, HALVE, KEEP, KEEP)
    padding: Literal["SAME", "VALID"] = "SAME"
    width: float = 1.0
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h2 w2 c"]:
        x = normalise(image, self.mean, self.std)
        for block, ((channels, convs), pool) in enumerate(zip(BLOCKS, self.pools, strict=True), 1):
            dilation = 2 if block == 5 else 1
            for index in range(1, convs + 1):
                n, name = max(1, round(channels * self.width)), f"conv{block}_{index}"
                conv = Conv(n, (3, 3), 1, self.padding, kernel_dilation=dilation, kernel_init=he, name=name)
                x = nn.relu(conv(x))
            x = pool(x) if pool else x
        return x
