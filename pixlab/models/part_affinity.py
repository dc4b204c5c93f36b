"""The network of Cao, Simon, Wei & Sheikh, "Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields", CVPR
2017 (arXiv 1611.08050).

    features F:  the first ten convolutions of VGG-19, c3-256, c3-128: a cell for 8x8 pixels
    stage 1:     F -> two branches of 3 x c3-128, c1-512, c1-out: confidence maps S and affinity fields L
    stage t > 1: S, L and F joined -> two branches of 5 x c7-128, c1-128, c1-out

A ReLU follows every convolution but a branch's last. Every stage is answered for in the loss, the last one is used.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.models.vgg import BLOCKS_19, VGG
from pixlab.nn.conv import Conv

CELL = 8  # pixels from one cell to the next
BLOCKS = (*BLOCKS_19[:3], (512, 2))  # of VGG-19 up to conv4_2
HE = nn.initializers.he_normal()


class Branch(nn.Module):
    """One branch of a stage: [b, h, w, c] -> [b, h, w, out], linear; `first` tells stage 1 from the others."""

    out: int
    first: bool
    width: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c2"]:
        count, window, before_last = (3, 3, 512) if self.first else (5, 7, 128)
        layers = [(128, window)] * count + [(before_last, 1)]
        for index, (channels, size) in enumerate(layers, 1):
            n = max(1, round(channels * self.width))
            x = nn.relu(Conv(n, (size, size), kernel_init=HE, name=f"conv{index}")(x))
        near_0 = nn.initializers.normal(0.01)
        return Conv(self.out, (1, 1), kernel_init=near_0, name=f"conv{len(layers) + 1}")(x)


class PartAffinity(nn.Module):
    """RGB image [b, h, w, 3] in [0, 1] -> (S [b, stages, h/8, w/8, joints + 1], L [b, stages, h/8, w/8, 2 limbs]).

    S has a map for each joint and, last, one for the background; L has (x, y) of limb 0, of limb 1, ... Rows and
    columns that fill no whole cell are dropped. `width` scales the inner channels. 52,311,446 parameters with the 18
    joints and 19 limbs of COCO. Raises ValueError for an image of less than a cell.
    """

    joints: int
    limbs: int
    stages: int = 6
    width: float = 1.0

    @nn.compact
    def __call__(
        self, image: Float[Array, "b h w 3"], train: bool = False
    ) -> tuple[Float[Array, "b t h2 w2 k"], Float[Array, "b t h2 w2 c"]]:
        if min(image.shape[1:3]) < CELL:
            raise ValueError(f"an image of {image.shape[1]}x{image.shape[2]}: at least {CELL}x{CELL} are needed")
        x = VGG(self.width, blocks=BLOCKS, name="trunk")(image)[CELL]
        for name, channels in (("features1", 256), ("features2", 128)):
            n = max(1, round(channels * self.width))
            x = nn.relu(Conv(n, (3, 3), kernel_init=HE, name=name)(x))
        answers = []
        for stage in range(1, self.stages + 1):
            given = jnp.concatenate([*answers[-1], x], -1) if answers else x
            outs = {"maps": self.joints + 1, "fields": 2 * self.limbs}
            branches = [Branch(n, stage == 1, self.width, name=f"stage{stage}_{name}") for name, n in outs.items()]
            answers.append([branch(given) for branch in branches])
        maps, fields = (jnp.stack(each, 1) for each in zip(*answers, strict=True))
        return maps, fields
