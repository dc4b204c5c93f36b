"""The front end of Yu & Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016 (arXiv
1511.07122): VGG-16 as a scorer of every eighth pixel, without its last two pools and without any padding. What comes
after it is in context.py."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pixlab.errors import UserError
from pixlab.models.dilated_vgg import HALVE_UNPADDED, DilatedVGG16, he
from pixlab.nn.conv import Conv
from pixlab.nn.normalise import IMAGENET_MEAN, IMAGENET_STD

MARGIN = 186  # pixels a side that the convolutions eat
STRIDE = 8


def reflected(image: Float[Array, "b h w c"], margin: int = MARGIN) -> Float[Array, "b h2 w2 c"]:
    """The image with `margin` pixels more a side, reflected without repeating the edge, and again where it is small."""
    return jnp.pad(image, ((0, 0), (margin, margin), (margin, margin), (0, 0)), mode="reflect")


def reflected_part(
    image: Float[Array, "b h w c"], part: Int[Array, "b 2"], margin: int = MARGIN
) -> Float[Array, "b h2 w2 c"]:
    """`reflected` windows that hold, at their top left, an image of `part` rows and columns: it is reflected instead of
    what lies beyond it."""

    def places(size: int, n: Int[Array, ""]) -> Int[Array, " size2"]:
        period = jnp.maximum(2 * (n - 1), 1)
        at = jnp.mod(jnp.arange(-margin, size + margin), period)
        return jnp.minimum(at, period - at) * (n > 1)

    def one(image, part):
        rows, columns = (places(size, n) for size, n in zip(image.shape[:2], part, strict=True))
        return image[rows][:, columns]

    return jax.vmap(one)(image, part)


class FrontEnd(nn.Module):
    """RGB in [0, 1] [b, h, w, 3] -> class scores [b, ceil(h / 8), ceil(w / 8), classes], linear.

    Cell i, j is centred on the block of 8x8 pixels from (8 i, 8 j) on, whose first pixel's label the release learns
    (`losses.segmentation.strided_labels`) and answers with it. `margin`: the reflection around the image; 0 takes the
    image as one that has its margin already, a crop of 500 of a `reflected` image in training, whose cells are then
    (500 - 372) / 8 = 16. 134,346,581 parameters with 21 classes at width 1, which scales all channels but the classes;
    dropout `rate` after fc6 and fc7. Nothing is padded with zeros, so that `mean` and `std` only scale and shift what
    the first layer sees. Raises UserError where an image with its margin has no more than 372 rows or columns.
    """

    classes: int
    margin: int = MARGIN
    width: float = 1.0
    rate: float = 0.5
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    @nn.compact
    def __call__(self, image: Float[Array, "b h w 3"], train: bool = False) -> Float[Array, "b h2 w2 classes"]:
        if min(image.shape[1:3]) + 2 * self.margin <= 2 * MARGIN:
            h, w = image.shape[1:3]
            raise UserError(
                f"an image of {h}x{w} with a margin of {self.margin}: take {2 * MARGIN + STRIDE} pixels a side or "
                f"more, of which the outer {MARGIN} are margin, or let margin be {MARGIN}"
            )
        pools = (HALVE_UNPADDED, HALVE_UNPADDED, HALVE_UNPADDED, None, None)
        x = reflected(image, self.margin) if self.margin else image
        x = DilatedVGG16(pools, "VALID", self.width, self.mean, self.std, name="trunk")(x)
        for name, window, dilation in (("fc6", 7, 4), ("fc7", 1, 1)):
            n = max(1, round(4096 * self.width))
            conv = Conv(n, (window, window), 1, "VALID", kernel_dilation=dilation, kernel_init=he, name=name)
            x = nn.Dropout(self.rate, deterministic=not train)(nn.relu(conv(x)))
        return Conv(self.classes, (1, 1), kernel_init=jax.nn.initializers.normal(0.001), name="final")(x)
