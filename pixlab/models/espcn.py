"""ESPCN: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
Neural Network", CVPR 2016 (arXiv 1609.05158).
"""

import flax.linen as nn
from jaxtyping import Array, Float

from pixlab.nn.conv import Conv
from pixlab.nn.pixel_shuffle import pixel_shuffle


class ESPCN(nn.Module):
    """Luminance at low resolution [b, h, w, c] in [0, 1] -> [b, scale h, scale w, c], linear.

    5x5 to 64 feature maps, tanh, 3x3 to 32, tanh, 3x3 to scale^2 values per channel, which a pixel shuffle lays out.
    Zeros around; LeCun's initialisation, as the paper names none.
    """

    scale: int
    filters: tuple[int, int] = (64, 32)

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h2 w2 c"]:
        last = x.shape[-1] * self.scale**2
        for index, (n, window) in enumerate(zip(self.filters, (5, 3), strict=True), 1):
            x = nn.tanh(Conv(n, (window, window), name=f"conv{index}")(x))
        return pixel_shuffle(Conv(last, (3, 3), name="conv3")(x), self.scale)
