"""FSRCNN: Dong, Loy & Tang, "Accelerating the Super-Resolution Convolutional Neural Network", ECCV 2016 (arXiv
1608.00367). All but the last layer work at low resolution; a transposed convolution enlarges.
"""

import flax.linen as nn
from jaxtyping import Array, Float

from pixlab.nn.conv import Conv
from pixlab.nn.convt import TransposedConv
from pixlab.nn.interpolating_init import interpolating, passing
from pixlab.nn.prelu import PReLU

MSRA = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
small = nn.initializers.normal(0.001)


class FSRCNN(nn.Module):
    """Luminance at low resolution [b, h, w, c] in [0, 1] -> [b, scale h, scale w, c], linear.

    5x5 to `d` feature maps, 1x1 to `s`, `m` times 3x3, 1x1 to `d`, each with a PReLU; 9x9 transposed convolution of
    stride `scale`. Zeros around. FSRCNN(56, 12, 4) has 12,464 weights beside its biases and slopes, at any scale.
    Before it has learnt anything it makes noise, as in the paper, or with `interpolates` bilinear interpolation.
    """

    scale: int
    d: int = 56
    s: int = 12
    m: int = 4
    interpolates: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h2 w2 c"]:
        channels = x.shape[-1]
        middle = [(f"map{index}", self.s, 3) for index in range(1, self.m + 1)]
        layers = [("extract", self.d, 5), ("shrink", self.s, 1), *middle, ("expand", self.d, 1)]
        init, last = MSRA, small
        if self.interpolates:
            init, last = passing(MSRA), interpolating(small, self.scale, padding=4)
        for name, n, window in layers:
            x = Conv(n, (window, window), kernel_init=init, name=name)(x)
            x = PReLU(name=f"{name}_prelu")(x)
        return TransposedConv(channels, 9, self.scale, 4, self.scale - 1, kernel_init=last, name="enlarge")(x)
