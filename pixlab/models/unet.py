"""U-Net: Ronneberger, Fischer & Brox, MICCAI 2015 (LNCS 9351), and the padded form that keeps the image's size."""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.errors import UserError
from pixlab.nn.conv import Conv
from pixlab.nn.convt import UpConv
from pixlab.nn.pool import max_pool

he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")  # not truncated: the paper's N(0, sqrt(2/N))


def valid_size(size: int, levels: int = 4) -> int:
    """Output rows (or columns) of the unpadded network for `size` input rows: 388 for 572.

    Raises UserError where a pool would cut a row off or nothing would be left (levels 4: sizes 16k + 60, k >= 8).
    """
    n = size
    for _ in range(levels):
        n -= 4
        if n < 2 or n % 2:
            raise UserError(f"unpadded U-Net: size {size} does not halve evenly {levels} times; {_nearest(levels)}")
        n //= 2
    n -= 4
    for _ in range(levels):
        n = 2 * n - 4
    if n < 1:
        raise UserError(f"unpadded U-Net: size {size} is too small; {_nearest(levels)}")
    return n


def _nearest(levels: int) -> str:
    scale = 2**levels
    base = 4 * (scale - 1)  # what the unpadded contraction eats before the bottom level, in input pixels
    return f"take {scale}*k + {base} with k >= {4 + 4 * (scale - 1) // scale + 1}"


class UNet(nn.Module):
    """[b, h, w, c] -> [b, h2, w2, features], linear output (log-depth, class scores...).

    `padding`: "VALID" is the paper's network, h2 = `valid_size(h)`, centre-cropped skips; "SAME" pads every convolution
    and, where h or w is not a multiple of 2^levels, the image by reflection, so that h2 = h for every size from
    about a third of 2^levels up. `base` filters at the first level, doubled at each of `levels` pools; dropout `rate`
    at the end of the last two levels of the contraction. `release` is the authors' Caffe network: ReLU after each
    up-convolution, the last of which keeps 2*base channels, and the dropped-out map is also the skip. 31,030,658
    parameters (release 31,100,354) for 1 input channel and 2 features. `out_init` and `bias` start the output's
    kernel and bias. Raises UserError for sizes that do not fit.
    """

    features: int
    base: int = 64
    levels: int = 4
    padding: Literal["VALID", "SAME"] = "SAME"
    rate: float = 0.5
    release: bool = False
    bias: float = 0.0
    out_init: nn.initializers.Initializer = he_normal

    @nn.compact
    def __call__(self, image: Float[Array, "b h w c"], train: bool = False) -> Float[Array, "b h2 w2 features"]:
        def convs(x, channels, name):
            for index in (1, 2):
                conv = Conv(channels, (3, 3), padding=self.padding, kernel_init=he_normal, name=f"{name}_conv{index}")
                x = nn.relu(conv(x))
            return x

        x = image
        if self.padding == "VALID":
            for n in image.shape[1:3]:
                valid_size(n, self.levels)
        else:
            x = _pad(x, 2**self.levels)
        top, left = ((x.shape[i] - image.shape[i]) // 2 for i in (1, 2))

        skips = []
        for level in range(self.levels + 1):
            x = convs(x, self.base * 2**level, f"down{level}")
            skip = x
            if level >= self.levels - 1:
                x = nn.Dropout(self.rate, deterministic=not train)(x)
            if level < self.levels:
                skips.append(x if self.release else skip)
                x = max_pool(x, 2, 2)
        for level in reversed(range(self.levels)):
            channels = self.base * 2**level
            wide = 2 * channels if self.release and level == 0 else channels
            x = UpConv(wide, kernel_init=he_normal, name=f"up{level}")(x)
            x = nn.relu(x) if self.release else x
            x = convs(jnp.concatenate([x, _centre(skips[level], *x.shape[1:3])], axis=-1), channels, f"up{level}")
        bias = nn.initializers.constant(self.bias)
        x = Conv(self.features, (1, 1), kernel_init=self.out_init, bias_init=bias, name="out")(x)
        if self.padding == "SAME":
            x = x[:, top : top + image.shape[1], left : left + image.shape[2]]
        return x


def _centre(x: jax.Array, h: int, w: int) -> jax.Array:
    top, left = (x.shape[1] - h) // 2, (x.shape[2] - w) // 2
    return x[:, top : top + h, left : left + w]


def _pad(x: jax.Array, multiple: int) -> jax.Array:
    pads = []
    for n in x.shape[1:3]:
        extra = -n % multiple
        if extra - extra // 2 > n - 1:  # reflection does not repeat the edge
            least = -(-(multiple + 2) // 3)
            raise UserError(
                f"padded U-Net needs images of at least {least}x{least} pixels, got {x.shape[1]}x{x.shape[2]}"
            )
        pads.append((extra // 2, extra - extra // 2))
    return jnp.pad(x, ((0, 0), *pads, (0, 0)), mode="reflect") if any(map(any, pads)) else x
