"""VDSR: Kim, Lee & Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", CVPR 2016 (arXiv
1511.04587).
"""

import flax.linen as nn
from jaxtyping import Array, Float

from pixlab.nn.conv import Conv

HE = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


class VDSR(nn.Module):
    """Luminance enlarged by bicubic interpolation [b, h, w, c] in [0, 1] -> the same plus a residual, linear.

    `depth` 3x3 convolutions with zeros around, a ReLU after all but the last. 665,921 parameters for one channel.
    """

    depth: int = 20
    width: int = 64

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h w c"]:
        y = x
        for index in range(1, self.depth):
            y = nn.relu(Conv(self.width, (3, 3), kernel_init=HE, name=f"conv{index}")(y))
        return x + Conv(x.shape[-1], (3, 3), kernel_init=HE, name=f"conv{self.depth}")(y)
