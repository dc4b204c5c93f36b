"""SegNet-Basic and the decoders that it is compared with: Badrinarayanan, Kendall & Cipolla, "SegNet", TPAMI 2017
(arXiv 1511.00561), sections 3.1 to 3.3 and table 1.

All share one encoder. SegNet's decoders put values back where their maxima were and then convolve; FCN's learn to
enlarge. SegNet-Basic is as in the authors' release; the paper tells the others in words, and these choices are ours:

- A map that is added is the encoder's after pooling (figure 3 says so of FCN), so the last decoder's output gets none.
- FCN's decoders have neither batch normalisation nor ReLU. Their 8x8 kernels start as interpolation by the factor 2
  from each channel to itself. 1x1 convolutions that reduce have biases; without reduction a 1x1 classifier comes last.
- What is fixed enlarges the reduced lowest map four times by 2.
- Convolutions have biases and the image is normalised by local responses, as in the release; the paper's text says no
  biases, and local contrast.

Parameters with 11 classes in millions, here and in table 1: SegNet-Basic 1.417 and 1.425, single-channel decoders 0.626
and 0.625, FCN-Basic 0.646 and 0.65, without reduction 1.662 and 1.625. As for SegNet (segnet.py), the statistics to
test with were averaged over the training set.
"""

from typing import Literal

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from pixlab.models.segnet import he, norm
from pixlab.nn.conv import Conv
from pixlab.nn.convt import TransposedConv
from pixlab.nn.interpolating_init import enlarging
from pixlab.nn.lrn import local_response_norm
from pixlab.nn.unpool import max_pool_places, unpool

LEVELS = 4


class SegNetBasic(nn.Module):
    """RGB [b, h, w, c] in [0, 1] -> class scores [b, h, w, classes], linear, for images of any size.

    Local response normalisation of 255 times the image; four encoders (7x7 convolution to `width` channels, batch
    normalisation, ReLU, 2x2 pool); four decoders (unpool, 7x7 convolution, batch normalisation); 1x1 classifier.
    1,416,587 parameters with 11 classes. With `add`, the encoder's map of the same size is added to what a decoder
    gives (SegNet-Basic-EncoderAddition); with `single`, a decoder's filters see their own channel alone
    (SegNet-Basic-SingleChannelDecoder).
    """

    classes: int
    width: int = 64
    add: bool = False
    single: bool = False

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h w classes"]:
        maps, places, sizes = encode(image, self.width, train)
        x = maps[-1]
        for level in reversed(range(LEVELS)):
            x = unpool(x, places[level], sizes[level])
            groups, name = self.width if self.single else 1, f"conv_decode{level + 1}"
            x = Conv(self.width, (7, 7), feature_group_count=groups, kernel_init=he, name=name)(x)
            x = norm(train, f"{name}_bn")(x)
            if self.add and level:
                x = x + maps[level - 1]
        return Conv(self.classes, (1, 1), kernel_init=he, name="out")(x)


class FCNBasic(nn.Module):
    """RGB [b, h, w, c] in [0, 1] -> class scores [b, h, w, classes], linear, for images of any size.

    SegNet-Basic's encoder; 1x1 convolutions reduce its maps to the classes, unless `reduce` is off
    (FCN-Basic-NoDimReduction: they keep their channels, and the classifier comes last); four times the lowest map is
    doubled by an 8x8 transposed convolution and the encoder's map of that size added, unless `add` is off
    (FCN-Basic-NoAddition). `enlarge` is "learned" or "fixed": bilinear interpolation without parameters
    (Bilinear-Interpolation is "fixed" with `add` off).
    """

    classes: int
    width: int = 64
    add: bool = True
    reduce: bool = True
    enlarge: Literal["learned", "fixed"] = "learned"

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h w classes"]:
        maps, _, sizes = encode(image, self.width, train)

        def side(level: int) -> jax.Array:
            if not self.reduce:
                return maps[level]
            return Conv(self.classes, (1, 1), kernel_init=he, name=f"reduce{level + 1}")(maps[level])

        x = side(LEVELS - 1)
        for level in reversed(range(LEVELS)):
            b, h, w, c = x.shape
            if self.enlarge == "fixed":
                x = jax.image.resize(x, (b, 2 * h, 2 * w, c), "bilinear")
            else:
                x = TransposedConv(c, 8, 2, 3, kernel_init=enlarging(2, 3), name=f"up{level + 1}")(x)
            x = x[:, : sizes[level][0], : sizes[level][1]]
            if self.add and level:
                x = x + side(level - 1)
        return x if self.reduce else Conv(self.classes, (1, 1), kernel_init=he, name="out")(x)


def encode(image: jax.Array, width: int, train: bool) -> tuple[list[jax.Array], list[jax.Array], list[tuple[int, int]]]:
    """(maps after each pool, their places, sizes before the pools), in the method of a module."""
    x, maps, places, sizes = local_response_norm(255 * image), [], [], []
    for level in range(1, LEVELS + 1):
        x = Conv(width, (7, 7), kernel_init=he, name=f"conv{level}")(x)
        x = nn.relu(norm(train, f"conv{level}_bn")(x))
        sizes.append(x.shape[1:3])
        x, place = max_pool_places(x)
        maps.append(x)
        places.append(place)
    return maps, places, sizes
